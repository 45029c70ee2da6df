// Adding up. The calling thread's arenas are booked first, so that its own figures are exact;
// everything else is read from what the other threads have published at their boundaries.
#include "meter.h"

#include <string.h>

static size_t smaller(size_t left, size_t right) {
    return left < right ? left : right;
}

// Bytes a thread has in use in frames and scratch arenas, as it published them.
static size_t live_bytes(fa__thread *thread) {
    size_t live = 0;
    uint32_t count = fa_tag_count(thread->context);
    for (int holder = 0; holder < FA__HOLDER_COUNT; holder++) {
        for (uint32_t id = 0; id < count; id++) {
            fa__account *account = fa__account_at(thread, (fa__holder)holder, id);
            live += account == NULL ? 0 : fa__load(&account->bytes);
        }
    }
    return live;
}

fa_result fa_stats_get(fa_context *ctx, fa_stats *out) {
    if (out == NULL) {
        return fa__fail_argument(ctx, "out");
    }
    (void)fa__settle(ctx);
    *out = (fa_stats){.frame_bytes = fa__load(&ctx->own_live),
                      .peak_bytes = fa__load(&ctx->own_peak),
                      .committed_bytes = fa__load(&ctx->pages->committed),
                      .allocations = fa__load(&ctx->own_allocations),
                      .refusals = fa__load(&ctx->own_refusals),
                      .reserved_bytes = fa__load(&ctx->pages->reserved),
                      .overhead_bytes = fa__load(&ctx->pages->overhead),
                      .arenas = fa__load(&ctx->arena_count)};
    fa__os_mutex_lock(&ctx->lock);
    for (fa__thread *thread = ctx->threads; thread != NULL; thread = thread->next) {
        out->frame_bytes += live_bytes(thread);
        out->peak_bytes += fa__load(&thread->peak_bytes);
        out->allocations += fa__load(&thread->allocations);
        out->refusals += fa__load(&thread->refusals);
        out->threads += thread->owner != 0 ? 1 : 0;
    }
    fa__os_mutex_unlock(&ctx->lock);
    out->total_bytes = out->frame_bytes + out->pool_bytes + out->heap_bytes;
    const fa__tag *root = fa__tag_get(ctx, FA_TAG_ROOT);
    out->peak_bytes = smaller(out->peak_bytes, fa__load(&root->charged_peak));
    return FA_OK;
}

static bool is_under(const fa__tag *tag, const fa__tag *ancestor) {
    while (tag != NULL && tag != ancestor) {
        tag = tag->parent;
    }
    return tag != NULL;
}

// Adds what one thread has booked for a tag.
static void add_accounts(fa__thread *thread, uint32_t id, fa_tag_stats_result *out) {
    for (int holder = 0; holder < FA__HOLDER_COUNT; holder++) {
        fa__account *account = fa__account_at(thread, (fa__holder)holder, id);
        if (account == NULL) {
            continue;
        }
        out->current_bytes += fa__load(&account->bytes);
        out->peak_bytes += fa__load(&account->peak);
        out->allocations += fa__load(&account->allocations);
        out->refusals += fa__load(&account->refusals);
        if (holder == FA__HOLDER_FRAME) {
            bool is_single = thread->context->config.frames_in_flight == 1;
            out->frame_bytes += fa__load(&account->bytes) - fa__load(&account->held);
            out->frame_peak_bytes += fa__load(is_single ? &account->peak : &account->frame_peak);
        }
    }
}

fa_result fa_tag_stats(fa_context *ctx, fa_tag tag, fa_tag_stats_result *out) {
    if (out == NULL) {
        return fa__fail_argument(ctx, "out");
    }
    *out = (fa_tag_stats_result){0};
    fa__tag *wanted = fa__tag_get(ctx, tag);
    if (wanted == NULL) {
        return fa__tag_fail(ctx, tag, FA_ERR_INVALID);
    }
    (void)fa__settle(ctx);
    uint32_t count = fa_tag_count(ctx);
    fa__os_mutex_lock(&ctx->lock);
    for (uint32_t id = 0; id < count; id++) {
        fa__tag *node = fa__tag_get(ctx, (fa_tag){id});
        if (!is_under(node, wanted)) {
            continue;
        }
        out->current_bytes += fa__load(&node->own_live);
        out->peak_bytes += fa__load(&node->own_peak);
        out->allocations += fa__load(&node->own_allocations);
        out->refusals += fa__load(&node->own_refusals);
        for (fa__thread *thread = ctx->threads; thread != NULL; thread = thread->next) {
            add_accounts(thread, id, out);
        }
    }
    fa__os_mutex_unlock(&ctx->lock);
    // What was charged bounds what was used.
    out->peak_bytes = smaller(out->peak_bytes, fa__load(&wanted->charged_peak));
    size_t hard = fa__load(&wanted->hard);
    out->budget = hard == SIZE_MAX ? 0 : hard;
    return FA_OK;
}

static void fill_thread_locked(fa__thread *thread, fa_thread_stats_result *out) {
    *out = (fa_thread_stats_result){.id = thread->id,
                                    .frame_index = fa__load(&thread->frame_index),
                                    .frame_bytes = live_bytes(thread),
                                    .frame_peak_bytes = fa__load(&thread->own_peak_bytes),
                                    .total_bytes = fa__load(&thread->total_bytes),
                                    .allocations = fa__load(&thread->allocations),
                                    .refusals = fa__load(&thread->refusals),
                                    .frame_budget = fa__load(&thread->frame_budget),
                                    .tag_depth = fa__load(&thread->published_depth)};
    memcpy(out->name, thread->name, sizeof out->name);
}

fa_result fa_thread_stats(fa_context *ctx, const char *name, fa_thread_stats_result *out) {
    if (out == NULL) {
        return fa__fail_argument(ctx, "out");
    }
    *out = (fa_thread_stats_result){0};
    const fa__thread *self = fa__settle(ctx);
    fa_result result = FA_ERR_NOT_FOUND;
    fa__os_mutex_lock(&ctx->lock);
    for (fa__thread *thread = ctx->threads; thread != NULL; thread = thread->next) {
        bool is_wanted = name == NULL ? thread == self : strcmp(thread->name, name) == 0;
        if (thread->owner != 0 && is_wanted) {
            fill_thread_locked(thread, out);
            result = FA_OK;
            break;
        }
    }
    fa__os_mutex_unlock(&ctx->lock);
    return result;
}

size_t fa_thread_stats_all(fa_context *ctx, fa_thread_stats_result *out, size_t max) {
    (void)fa__settle(ctx);
    size_t count = 0;
    fa__os_mutex_lock(&ctx->lock);
    for (fa__thread *thread = ctx->threads; thread != NULL; thread = thread->next) {
        if (thread->owner == 0) {
            continue;
        }
        if (count < max && out != NULL) {
            fill_thread_locked(thread, &out[count]);
        }
        count += 1;
    }
    fa__os_mutex_unlock(&ctx->lock);
    return count;
}

size_t fa_history(fa_context *ctx, fa_frame_record *out, size_t max) {
    const fa__thread *thread = fa__thread_find(ctx);
    if (thread == NULL || out == NULL) {
        return 0;
    }
    uint64_t last = fa__load(&thread->frame_index) - (fa__thread_has_frame(thread) ? 1 : 0);
    size_t kept = ctx->config.history_frames;
    size_t count = smaller(last < kept ? (size_t)last : kept, max);
    for (size_t i = 0; i < count; i++) {
        uint64_t index = last - count + 1 + i;
        fa__past past = thread->history[index & thread->history_mask];
        uint64_t bytes = past & (((uint64_t)1 << FA__PAST_BYTES_BITS) - 1);
        out[i] = (fa_frame_record){
            .index = index,
            .bytes = (size_t)bytes,
            .refusals = past >> FA__PAST_BYTES_BITS,
            .time_ns = thread->times == NULL ? 0 : thread->times[index & thread->history_mask]};
    }
    return count;
}

// Adding up. The calling thread's arenas are booked first, so that its own figures are exact;
// arenas of other threads are read as those have published them at their boundaries. Objects and
// blocks are charged one by one, so their accounts are read as they are.
#include "meter.h"

#include <string.h>

static size_t smaller(size_t left, size_t right) {
    return left < right ? left : right;
}

// Bytes a thread has in use in frames and scratch arenas, as it published them.
static size_t arena_bytes(fa__thread *thread) {
    size_t live = 0;
    uint32_t count = fa_tag_count(thread->context);
    for (int holder = 0; holder < FA__ARENA_HOLDERS; holder++) {
        for (uint32_t id = 0; id < count; id++) {
            fa__account *account = fa__account_at(thread, (fa__holder)holder, id);
            live += account == NULL ? 0 : fa__load(&account->bytes);
        }
    }
    return live;
}

// What is added up over object accounts. Bytes are signed numbers: only a sum over all threads is
// sure to be above zero.
typedef struct objects {
    size_t pool;
    size_t heap;
    uint64_t allocations;
} objects;

static size_t object_bytes(fa__account *account) {
    return account == NULL ? 0
                           : fa__load(&account->object_granted) - fa__load(&account->object_room);
}

static uint64_t object_allocations(fa__account *account) {
    return account == NULL ? 0 : fa__load(&account->allocations);
}

// Adds what a thread's accounts for one tag hold.
static void add_objects(fa__thread *thread, uint32_t id, objects *out) {
    fa__account *pool = fa__account_at(thread, FA__HOLDER_POOL, id);
    fa__account *heap = fa__account_at(thread, FA__HOLDER_HEAP, id);
    out->pool += object_bytes(pool);
    out->heap += object_bytes(heap);
    out->allocations += object_allocations(pool) + object_allocations(heap);
}

static objects thread_objects(fa__thread *thread) {
    objects all = {0, 0, 0};
    uint32_t count = fa_tag_count(thread->context);
    for (uint32_t id = 0; id < count; id++) {
        add_objects(thread, id, &all);
    }
    return all;
}

// A sum that is below zero was taken while somebody was between two accounts, or is that of a
// thread that has freed what others allocated.
static size_t not_below_zero(size_t sum) {
    return sum <= SIZE_MAX / 2 ? sum : 0;
}

// Of the bytes charged to a tag alone (UINT32_MAX: to all of them), takes off those in caches.
static void take_idle(fa_context *ctx, uint32_t id, objects *from) {
    for (size_t i = 0; i < FA__TIER_COUNT; i++) {
        const fa__tier *tier = fa__load_acquire(&ctx->tiers[i]);
        size_t bytes = tier == NULL || tier->idle_bytes == NULL ? 0 : tier->idle_bytes(ctx, id);
        *(i == FA__TIER_HEAP ? &from->heap : &from->pool) -= bytes;
    }
}

// What threads that are gone have left behind in the tags' object_bytes.
static void add_gone(fa_context *ctx, objects *out) {
    uint32_t count = fa_tag_count(ctx);
    for (uint32_t id = 0; id < count; id++) {
        fa__tag *tag = fa__tag_get(ctx, (fa_tag){id});
        out->pool += fa__load(&tag->object_bytes[0]);
        out->heap += fa__load(&tag->object_bytes[1]);
    }
}

fa_result fa_stats_get(fa_context *ctx, fa_stats *out) {
    if (out == NULL) {
        return fa__fail_argument(ctx, "out");
    }
    (void)fa__settle(ctx);
    const fa__tag *root = fa__tag_get(ctx, FA_TAG_ROOT);
    *out = (fa_stats){.frame_bytes = fa__load(&ctx->own_live),
                      .peak_bytes = fa__load(&ctx->own_peak) + fa__load(&root->object_peak),
                      .committed_bytes = fa__load(&ctx->pages->committed),
                      .allocations = fa__load(&ctx->own_allocations),
                      .frees = fa__load(&ctx->own_frees),
                      .refusals = fa__load(&ctx->own_refusals),
                      .reserved_bytes = fa__load(&ctx->pages->reserved),
                      .overhead_bytes = fa__load(&ctx->pages->overhead),
                      .arenas = fa__load(&ctx->arena_count)};
    objects all = {0, 0, 0};
    take_idle(ctx, UINT32_MAX, &all);
    fa__os_mutex_lock(&ctx->lock);
    for (fa__thread *thread = ctx->threads; thread != NULL; thread = thread->next) {
        objects own = thread_objects(thread);
        all.pool += own.pool;
        all.heap += own.heap;
        out->frame_bytes += arena_bytes(thread);
        out->peak_bytes += fa__load(&thread->peak_bytes);
        out->allocations += fa__load(&thread->allocations) + own.allocations;
        out->frees += fa__load(&thread->frees);
        out->refusals += fa__load(&thread->refusals);
        out->threads += thread->owner != 0 ? 1 : 0;
    }
    add_gone(ctx, &all);
    fa__os_mutex_unlock(&ctx->lock);
    out->pool_bytes = not_below_zero(all.pool);
    out->heap_bytes = not_below_zero(all.heap);
    out->total_bytes = out->frame_bytes + out->pool_bytes + out->heap_bytes;
    out->peak_bytes = smaller(out->peak_bytes, fa__load(&root->charged_peak));
    return FA_OK;
}

static bool is_under(const fa__tag *tag, const fa__tag *ancestor) {
    while (tag != NULL && tag != ancestor) {
        tag = tag->parent;
    }
    return tag != NULL;
}

// Adds what one thread has booked for a tag in its frames and scratch arenas, and what it was
// refused.
static void add_accounts(fa__thread *thread, uint32_t id, fa_tag_stats_result *out) {
    for (int holder = 0; holder < FA__HOLDER_COUNT; holder++) {
        fa__account *account = fa__account_at(thread, (fa__holder)holder, id);
        if (account == NULL) {
            continue;
        }
        out->refusals += fa__load(&account->refusals);
        if (holder >= FA__ARENA_HOLDERS) {
            continue;
        }
        out->current_bytes += fa__load(&account->bytes);
        out->peak_bytes += fa__load(&account->peak);
        out->allocations += fa__load(&account->allocations);
        if (holder == FA__HOLDER_FRAME) {
            bool is_single = thread->context->config.frames_in_flight == 1;
            out->frame_bytes += fa__load(&account->bytes) - fa__load(&account->held);
            out->frame_peak_bytes += fa__load(is_single ? &account->peak : &account->frame_peak);
        }
    }
}

// Adds what is known of one tag alone. Under the lock.
static void add_tag_locked(fa_context *ctx, fa__tag *tag, fa_tag_stats_result *out,
                           objects *object) {
    out->current_bytes += fa__load(&tag->own_live);
    out->peak_bytes += fa__load(&tag->own_peak);
    out->allocations += fa__load(&tag->own_allocations);
    out->refusals += fa__load(&tag->own_refusals);
    object->pool += fa__load(&tag->object_bytes[0]);
    object->heap += fa__load(&tag->object_bytes[1]);
    for (fa__thread *thread = ctx->threads; thread != NULL; thread = thread->next) {
        add_accounts(thread, tag->id, out);
        add_objects(thread, tag->id, object);
    }
}

// The same of a tag and its descendants.
static void take_idle_under(fa_context *ctx, const fa__tag *wanted, uint32_t count, objects *from) {
    if (wanted->parent == NULL) {
        take_idle(ctx, UINT32_MAX, from);
        return;
    }
    for (uint32_t id = wanted->id; id < count; id++) { // Parents come before their children.
        if (is_under(fa__tag_get(ctx, (fa_tag){id}), wanted)) {
            take_idle(ctx, id, from);
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
    objects object = {0, 0, 0};
    take_idle_under(ctx, wanted, count, &object);
    fa__os_mutex_lock(&ctx->lock);
    for (uint32_t id = wanted->id; id < count; id++) {
        fa__tag *node = fa__tag_get(ctx, (fa_tag){id});
        if (is_under(node, wanted)) {
            add_tag_locked(ctx, node, out, &object);
        }
    }
    fa__os_mutex_unlock(&ctx->lock);
    out->current_bytes += not_below_zero(object.pool) + not_below_zero(object.heap);
    out->allocations += object.allocations;
    // What was charged bounds what was used.
    out->peak_bytes += fa__load(&wanted->object_peak);
    out->peak_bytes = smaller(out->peak_bytes, fa__load(&wanted->charged_peak));
    size_t hard = fa__load(&wanted->hard);
    out->budget = hard == SIZE_MAX ? 0 : hard;
    return FA_OK;
}

static void fill_thread_locked(fa__thread *thread, fa_thread_stats_result *out) {
    const objects own = thread_objects(thread);
    *out = (fa_thread_stats_result){.id = thread->id,
                                    .frame_index = fa__load(&thread->frame_index),
                                    .frame_bytes = arena_bytes(thread),
                                    .frame_peak_bytes = fa__load(&thread->own_peak_bytes),
                                    .pool_bytes = not_below_zero(own.pool),
                                    .heap_bytes = not_below_zero(own.heap),
                                    .total_bytes = fa__load(&thread->total_bytes),
                                    .allocations = fa__load(&thread->allocations) + own.allocations,
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

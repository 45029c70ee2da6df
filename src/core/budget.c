// Budgets as the user sets them. How they hold is lease.c's business.
#include "meter.h"

#include <string.h>

static fa_result fail_field(fa_context *ctx, const char *field) {
    return fa__fail(&(fa__failure){
        .context = ctx, .code = FA__CODE_BAD_CONFIG, .result = FA_ERR_INVALID, .where = field});
}

static fa_result check(fa_context *ctx, const fa_budget *budget) {
    if (budget->soft != 0 && budget->hard != 0 && budget->soft > budget->hard) {
        return fail_field(ctx, "soft");
    }
    if (budget->policy != FA_BUDGET_FAIL && budget->policy != FA_BUDGET_WARN) {
        return fail_field(ctx, "policy");
    }
    return FA_OK;
}

// Recomputes the nearest line of every tag: parents come before their children.
static void update_lines_locked(fa_context *ctx) {
    uint32_t count = fa__load(&ctx->tag_count);
    for (uint32_t id = 0; id < count; id++) {
        fa__tag *tag = &ctx->tags[id / FA__TAG_CHUNK][id % FA__TAG_CHUNK];
        size_t line = fa__load(&tag->soft);
        if (fa__load(&tag->hard) < line) {
            line = fa__load(&tag->hard);
        }
        if (tag->parent != NULL && fa__load(&tag->parent->nearest_line) < line) {
            line = fa__load(&tag->parent->nearest_line);
        }
        fa__store(&tag->nearest_line, line);
    }
}

fa_result fa_budget_set(fa_context *ctx, fa_tag tag, const fa_budget *budget) {
    fa_budget lines = budget == NULL ? (fa_budget){0} : *budget;
    fa__tag *shared = fa__tag_get(ctx, tag);
    if (shared == NULL) {
        return fa__tag_fail(ctx, tag, FA_ERR_INVALID);
    }
    fa_result result = check(ctx, &lines);
    if (result != FA_OK) {
        return result;
    }
    fa__os_mutex_lock(&ctx->lock);
    shared->budget = lines;
    fa__store(&shared->policy, (uint32_t)lines.policy);
    fa__store(&shared->soft, lines.soft == 0 ? SIZE_MAX : lines.soft);
    fa__store(&shared->hard, lines.hard == 0 ? SIZE_MAX : lines.hard);
    fa__store(&shared->soft_crossed, 0);
    fa__store(&shared->hard_crossed, 0);
    update_lines_locked(ctx);
    fa__shared_add(&ctx->epoch, 1);
    fa__os_mutex_unlock(&ctx->lock);
    // What this thread has leased and not used comes back at once, so that the new line is exact
    // for it.
    fa__leases_return(ctx);
    return FA_OK;
}

fa_result fa_budget_get(fa_context *ctx, fa_tag tag, fa_budget *out) {
    if (out == NULL) {
        return fa__fail_argument(ctx, "out");
    }
    fa__tag *shared = fa__tag_get(ctx, tag);
    if (shared == NULL) {
        *out = (fa_budget){0};
        return fa__tag_fail(ctx, tag, FA_ERR_INVALID);
    }
    fa__os_mutex_lock(&ctx->lock);
    *out = shared->budget;
    fa__os_mutex_unlock(&ctx->lock);
    return FA_OK;
}

fa_result fa_budget_set_thread(fa_context *ctx, const fa_thread_budget *budget) {
    fa__thread *thread = fa__thread_get(ctx);
    if (thread == NULL) {
        return fa_last_error()->result;
    }
    thread->budget = budget == NULL ? (fa_thread_budget){0} : *budget;
    fa__store(&thread->frame_budget, thread->budget.frame_bytes);
    // Its frames and pools take the limit up, and start from what is in use.
    fa__leases_return(ctx);
    return FA_OK;
}

fa_result fa_budget_get_thread(fa_context *ctx, fa_thread_budget *out) {
    if (out == NULL) {
        return fa__fail_argument(ctx, "out");
    }
    const fa__thread *thread = fa__thread_get(ctx);
    *out = thread == NULL ? (fa_thread_budget){0} : thread->budget;
    return thread == NULL ? fa_last_error()->result : FA_OK;
}

size_t fa_budget_remaining(fa_context *ctx, fa_tag tag) {
    fa__tag *shared = fa__tag_get(ctx, tag);
    if (shared == NULL) {
        fa__tag_fail(ctx, tag, FA_ERR_INVALID);
        return 0;
    }
    fa__leases_return(ctx); // What this thread has leased and not used is still to be had.
    size_t remaining = SIZE_MAX;
    for (fa__tag *node = shared; node != NULL; node = node->parent) {
        size_t hard = fa__load(&node->hard);
        if (hard == SIZE_MAX || fa__load(&node->policy) != FA_BUDGET_FAIL) {
            continue;
        }
        size_t charged = fa__load(&node->charged);
        size_t left = hard > charged ? hard - charged : 0;
        remaining = left < remaining ? left : remaining;
    }
    return remaining;
}

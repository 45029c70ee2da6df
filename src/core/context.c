// Making and ending a context.
//
// The first block of bookkeeping memory holds, in this order: the context, its page source, the
// first chunk of tags, the first thread's state. Everything else hangs off it, so ending a context
// is walking the tiers, then the page source.
#include "meter.h"

#include <string.h>

static fa_result fail_create(fa_result result, fa__code code, size_t limit, const char *where) {
    return fa__fail(&(fa__failure){.code = code, .result = result, .limit = limit, .where = where});
}

static fa_result fail_memory(const fa_config *config, fa__denial denial) {
    if (denial == FA__DENIED_BY_LIMIT) {
        return fail_create(FA_ERR_LIMIT, FA__CODE_MEMORY_LIMIT, config->memory_limit, "context");
    }
    return fail_create(FA_ERR_OUT_OF_MEMORY, FA__CODE_OS_REFUSED, 0, "context");
}

fa_result fa_context_create(const fa_config *config, fa_context **out) {
    if (out == NULL) {
        return fail_create(FA_ERR_INVALID, FA__CODE_BAD_ARGUMENT, 0, "out");
    }
    *out = NULL;
    fa_config resolved;
    const char *field = NULL;
    if (fa__config_resolve(config, &resolved, &field) != FA_OK) {
        return fail_create(FA_ERR_INVALID, FA__CODE_BAD_CONFIG, 0, field);
    }
    fa__denial denial = FA__DENIED_BY_BACKEND;
    size_t limit = resolved.memory_limit == 0 ? SIZE_MAX : resolved.memory_limit;
    void *home = NULL;
    fa__pages *pages =
        fa__pages_create(resolved.backend, limit, sizeof(fa_context), &home, &denial);
    if (pages == NULL) {
        return fail_memory(&resolved, denial);
    }
    fa_context *ctx = home;
    ctx->pages = pages;
    ctx->config = resolved;
    ctx->config.backend = &pages->backend;
    fa__store(&ctx->checks, resolved.checks);
    if (!fa__tag_create_root(ctx) || !fa__os_mutex_init(&ctx->lock)) {
        fa__pages_destroy(pages);
        return fail_memory(&resolved, FA__DENIED_BY_BACKEND);
    }
    fa__context_enlist(ctx);
    *out = ctx;
    return FA_OK;
}

fa_result fa_context_destroy(fa_context *ctx) {
    if (ctx == NULL) {
        return FA_OK;
    }
    fa__context_delist(ctx); // From here on no exiting thread looks at it.
    size_t live = 0;
    for (size_t i = FA__TIER_COUNT; i > 0; i--) {
        const fa__tier *tier = fa__load_acquire(&ctx->tiers[i - 1]);
        if (tier != NULL && tier->context_destroy != NULL) {
            live += tier->context_destroy(ctx);
        }
    }
    fa__os_mutex_destroy(&ctx->lock);
    fa__pages_destroy(ctx->pages);
    return live == 0 ? FA_OK : FA_ERR_BUSY;
}

const fa_config *fa_context_config(const fa_context *ctx) {
    return &ctx->config;
}

void fa__tier_register(fa_context *ctx, fa__tier_index index, const fa__tier *tier) {
    fa__store_release(&ctx->tiers[index], tier);
    if (tier->quiet != NULL) {
        fa__store(&ctx->wants_quiet, 1);
    }
}

// True while the clock has not passed `until_ns`. Asks it only when there is an end.
static bool has_time(uint64_t until_ns) {
    return until_ns == UINT64_MAX || fa__os_clock_ns() < until_ns;
}

// Higher layers first: what they give back may empty what lower ones hold. False when time ran out.
static bool trim_until(fa_context *ctx, size_t keep, uint64_t until_ns) {
    fa__thread *thread = fa__thread_find(ctx);
    for (size_t i = FA__TIER_COUNT; i > 0; i--) {
        const fa__tier *tier = fa__load_acquire(&ctx->tiers[i - 1]);
        if (tier == NULL) {
            continue;
        }
        if (!has_time(until_ns)) {
            return false;
        }
        if (tier->trim != NULL && !tier->trim(ctx, thread, until_ns)) {
            return false;
        }
        if (thread != NULL && tier->thread_trim != NULL) {
            tier->thread_trim(thread, keep);
        }
    }
    if (!has_time(until_ns)) {
        return false;
    }
    fa__pages_trim(ctx->pages);
    return true;
}

fa_result fa_context_trim(fa_context *ctx, size_t keep) {
    (void)trim_until(ctx, keep, UINT64_MAX);
    return FA_OK;
}

fa_result fa_context_trim_for(fa_context *ctx, size_t keep, uint64_t max_ns) {
    uint64_t now = fa__os_clock_ns();
    uint64_t until = max_ns < UINT64_MAX - now ? now + max_ns : UINT64_MAX;
    return trim_until(ctx, keep, until) ? FA_OK : FA_ERR_TIMEOUT;
}

// Whether blocks exist, or may at any moment, whose layout depends on the checks.
static bool has_layout(fa_context *ctx) {
    return fa__load_acquire(&ctx->pools) != NULL || fa__load_acquire(&ctx->heap) != NULL;
}

fa_result fa_context_checks_set(fa_context *ctx, uint32_t checks) {
    if ((checks & ~FA__CHECKS_ALL) != 0) {
        return fa__fail_argument(ctx, "checks");
    }
    uint32_t changes = checks ^ fa__load(&ctx->checks);
    if ((changes & FA__CHECKS_LAYOUT) != 0 && has_layout(ctx)) {
        return fa__fail(&(fa__failure){.context = ctx,
                                       .code = FA__CODE_BAD_ARGUMENT,
                                       .result = FA_ERR_BUSY,
                                       .where = "checks"});
    }
    fa__store(&ctx->checks, checks);
    fa__shared_add(&ctx->epoch, 1);
    fa__leases_return(ctx);
    return FA_OK;
}

fa_result fa_report_set(fa_context *ctx, fa_report_fn fn, void *user) {
    fa__os_mutex_lock(&ctx->lock);
    ctx->report = fn;
    ctx->report_user = user;
    fa__os_mutex_unlock(&ctx->lock);
    return FA_OK;
}

fa_result fa_watch_set(fa_context *ctx, fa_watch_fn fn, void *user) {
    fa__os_mutex_lock(&ctx->lock);
    ctx->watch = fn;
    ctx->watch_user = user;
    fa__os_mutex_unlock(&ctx->lock);
    return FA_OK;
}

// Charging objects as pools and the heap do, without any memory behind them.
#pragma once

#include "../src/core/objects.h"
#include "core_fixture.h"

#define LEASE FA__OBJECT_LEASE
#define POOL FA__HOLDER_POOL
#define HEAP FA__HOLDER_HEAP

static inline fa__thread *self_in(fa_context *ctx) {
    fa__thread *thread = fa__thread_get(ctx);
    REQUIRE_NOT_NULL(thread);
    return thread;
}

static inline bool charge(fa_context *ctx, fa__holder holder, fa_tag tag, size_t bytes) {
    fa__thread *thread = self_in(ctx);
    fa__account *account = fa__object_of(thread, holder, tag.id);
    REQUIRE_NOT_NULL(account);
    return fa__object_charge(thread, account, bytes, "here");
}

static inline void uncharge(fa_context *ctx, fa__holder holder, fa_tag tag, size_t bytes) {
    fa__account *account = fa__object_of(self_in(ctx), holder, tag.id);
    REQUIRE_NOT_NULL(account);
    fa__object_uncharge(account, bytes);
}

// Charges objects of `size` until one is refused; returns how many were granted. A limit that does
// not hold is noticed at 64 MiB.
static inline size_t charge_up(fa_context *ctx, fa__holder holder, fa_tag tag, size_t size) {
    size_t count = 0;
    while (count * size < 64 * MIB && charge(ctx, holder, tag, size)) {
        count += 1;
    }
    return count;
}

// What is charged to a tag and its descendants, unused leases included.
static inline size_t charged_to(fa_context *ctx, fa_tag tag) {
    return fa__load(&fa__tag_get(ctx, tag)->charged);
}

static inline size_t current_of(fa_context *ctx, fa_tag tag) {
    return tag_stats_of(ctx, tag).current_bytes;
}

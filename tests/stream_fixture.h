// What the tests of streams share: assets in the state a test needs, and callbacks that remember
// what they were called with.
#pragma once

#include "core_fixture.h"

#include <framealloc/heap.h>
#include <framealloc/stream.h>

enum { EVICTIONS_KEPT = 64 };

// Answers and remembers. Used by one thread.
typedef struct eviction_log {
    size_t asked_count;
    fa_asset asked[EVICTIONS_KEPT];
    size_t told_count;
    fa_stream_eviction told[EVICTIONS_KEPT];
    size_t stubborn_count;
    fa_asset stubborn[EVICTIONS_KEPT]; // These may not go.
    unsigned char first_byte;          // Of the memory last told of.
} eviction_log;

static inline bool same_asset(fa_asset a, fa_asset b) {
    return a.index == b.index && a.generation == b.generation;
}

static inline bool log_may_evict(const fa_stream_eviction *eviction, void *user) {
    eviction_log *log = (eviction_log *)user;
    if (log->asked_count < EVICTIONS_KEPT) {
        log->asked[log->asked_count] = eviction->asset;
    }
    log->asked_count += 1;
    CHECK_EQ(fa_stream_state(eviction->stream, eviction->asset), FA_ASSET_READY);
    for (size_t i = 0; i < log->stubborn_count; i++) {
        if (same_asset(log->stubborn[i], eviction->asset)) {
            return false;
        }
    }
    return true;
}

static inline void log_evicted(const fa_stream_eviction *eviction, void *user) {
    eviction_log *log = (eviction_log *)user;
    if (log->told_count < EVICTIONS_KEPT) {
        log->told[log->told_count] = *eviction;
    }
    log->told_count += 1;
    log->first_byte = *(const unsigned char *)eviction->ptr;
    CHECK_EQ(fa_stream_state(eviction->stream, eviction->asset), FA_ASSET_GONE);
}

static inline fa_stream *stream_open(fa_context *ctx, const fa_stream_desc *desc) {
    fa_stream *stream = NULL;
    REQUIRE_EQ(fa_stream_create(ctx, desc, &stream), FA_OK);
    REQUIRE_NOT_NULL(stream);
    return stream;
}

// One with a budget and a log; the log may be NULL.
static inline fa_stream *stream_with(fa_context *ctx, size_t budget, eviction_log *log) {
    fa_stream_desc desc = {.name = "assets", .budget_bytes = budget};
    if (log != NULL) {
        memset(log, 0, sizeof(*log));
        desc.may_evict = log_may_evict;
        desc.evicted = log_evicted;
        desc.user = log;
    }
    return stream_open(ctx, &desc);
}

static inline fa_asset asset_reserve(fa_stream *stream, size_t size, uint8_t priority) {
    fa_asset asset;
    fa_asset_desc desc = {.size = size, .priority = priority};
    REQUIRE_EQ(fa_stream_reserve(stream, &desc, &asset), FA_OK);
    CHECK_EQ(fa_stream_state(stream, asset), FA_ASSET_RESERVED);
    return asset;
}

// A reservation that must be refused.
static inline void asset_refuse(fa_stream *stream, size_t size, uint8_t priority) {
    fa_asset asset = {7, 7};
    fa_asset_desc desc = {.size = size, .priority = priority};
    CHECK_EQ(fa_stream_reserve(stream, &desc, &asset), FA_ERR_BUDGET);
    CHECK_EQ(asset.index, 0);
    CHECK_EQ(asset.generation, 0);
}

static inline void asset_load(fa_stream *stream, fa_asset asset, size_t size) {
    void *to = fa_stream_load_begin(stream, asset);
    REQUIRE_NOT_NULL(to);
    memset(to, (int)(asset.index & 0x7F) + 1, size);
    CHECK_EQ(fa_stream_load_finish(stream, asset), FA_OK);
    CHECK_EQ(fa_stream_state(stream, asset), FA_ASSET_READY);
}

static inline fa_asset asset_ready(fa_stream *stream, size_t size, uint8_t priority) {
    fa_asset asset = asset_reserve(stream, size, priority);
    asset_load(stream, asset, size);
    return asset;
}

static inline fa_stream_stats_result stream_stats_of(fa_stream *stream) {
    fa_stream_stats_result stats;
    memset(&stats, 0xEE, sizeof(stats));
    CHECK_EQ(fa_stream_stats(stream, &stats), FA_OK);
    return stats;
}

static inline fa_asset_info asset_info_of(fa_stream *stream, fa_asset asset) {
    fa_asset_info info;
    memset(&info, 0xEE, sizeof(info));
    CHECK_EQ(fa_stream_get(stream, asset, &info), FA_OK);
    return info;
}

static inline bool is_ready(fa_stream *stream, fa_asset asset) {
    return fa_stream_state(stream, asset) == FA_ASSET_READY;
}

static inline bool is_gone(fa_stream *stream, fa_asset asset) {
    return fa_stream_state(stream, asset) == FA_ASSET_GONE;
}

// Frees what a test is done with, and ends the stream.
static inline void stream_close(fa_stream *stream) {
    fa_stream_stats_result stats = stream_stats_of(stream);
    CHECK_EQ(stats.reserved_bytes + stats.loading_bytes + stats.ready_bytes, stats.used_bytes);
    CHECK_EQ(stats.used_bytes, 0);
    CHECK_EQ(fa_stream_destroy(stream), FA_OK);
}

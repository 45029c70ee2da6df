// Streams: making and ending them, reservations, budgets, figures. What an asset is and how room is
// made: assets.h.
//
// A stream's record and the records of its assets stay with the context when it is destroyed, and
// are used by the next stream. Their generations go on, so handles of the old stream stay stale.
#include "assets.h"

#include <framealloc/heap.h>
#include <stdio.h>
#include <string.h>

static fa_result fail_memory(fa_context *ctx, fa__denial denial, size_t bytes, const char *where) {
    bool is_limit = denial == FA__DENIED_BY_LIMIT;
    return fa__fail(&(fa__failure){.context = ctx,
                                   .code = is_limit ? FA__CODE_MEMORY_LIMIT : FA__CODE_OS_REFUSED,
                                   .result = is_limit ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY,
                                   .bytes = bytes,
                                   .limit = is_limit ? ctx->config.memory_limit : 0,
                                   .where = where});
}

// Making and ending -------------------------------------------------------------------------------

static void link_locked(fa__lifetime *lifetime, fa_stream *stream) {
    stream->next = lifetime->streams;
    stream->link = &lifetime->streams;
    if (stream->next != NULL) {
        stream->next->link = &stream->next;
    }
    lifetime->streams = stream;
    fa__store(&stream->is_live, 1);
}

static void unlink_locked(fa_stream *stream) {
    *stream->link = stream->next;
    if (stream->next != NULL) {
        stream->next->link = stream->link;
    }
    fa__store(&stream->is_live, 0);
}

static void keep_record(fa_context *ctx, fa__lifetime *lifetime, fa_stream *stream) {
    fa__os_mutex_lock(&ctx->lock);
    stream->next = lifetime->free_streams;
    lifetime->free_streams = stream;
    fa__os_mutex_unlock(&ctx->lock);
}

// A record with a lock, that of a destroyed stream if there is one. NULL when refused.
static fa_stream *take_record(fa_context *ctx, fa__lifetime *lifetime, fa__denial *denial) {
    fa__os_mutex_lock(&ctx->lock);
    fa_stream *stream = lifetime->free_streams;
    if (stream != NULL) {
        lifetime->free_streams = stream->next;
    }
    fa__os_mutex_unlock(&ctx->lock);
    if (stream == NULL) {
        stream = fa__meta_alloc(ctx->pages, sizeof *stream, denial);
    }
    if (stream != NULL && !stream->has_lock) {
        stream->has_lock = fa__os_mutex_init(&stream->lock);
        if (!stream->has_lock) {
            *denial = FA__DENIED_BY_BACKEND;
            keep_record(ctx, lifetime, stream);
            return NULL;
        }
    }
    return stream;
}

// Fills everything in that does not stay with the record.
static void start(fa_stream *stream, fa_context *ctx, const fa_stream_desc *desc) {
    stream->context = ctx;
    fa__store(&stream->frame, 0);
    fa__store(&stream->latest, 0);
    stream->may_evict = desc->may_evict;
    stream->evicted = desc->evicted;
    stream->user = desc->user;
    stream->tag = desc->tag;
    snprintf(stream->name, sizeof stream->name, "%s", desc->name == NULL ? "stream" : desc->name);
    bool has_max = desc->max_assets != 0 && desc->max_assets < FA__ASSETS_MAX;
    stream->max_assets = has_max ? desc->max_assets : FA__ASSETS_MAX;
    stream->budget = desc->budget_bytes == 0 ? SIZE_MAX : desc->budget_bytes;
    stream->peak = 0;
    stream->evictions = 0;
    stream->evicted_bytes = 0;
    stream->refusals = 0;
}

fa_result fa_stream_create(fa_context *ctx, const fa_stream_desc *desc, fa_stream **out) {
    if (out == NULL) {
        return fa__fail_argument(ctx, "out");
    }
    *out = NULL;
    const fa_stream_desc wanted = desc == NULL ? (fa_stream_desc){0} : *desc;
    if (fa__tag_get(ctx, wanted.tag) == NULL) {
        return fa__tag_fail(ctx, wanted.tag, FA_ERR_INVALID);
    }
    fa__denial denial = FA__DENIED_BY_BACKEND;
    fa__lifetime *lifetime = fa__lifetime_get(ctx, &denial);
    fa_stream *stream = lifetime == NULL ? NULL : take_record(ctx, lifetime, &denial);
    if (stream == NULL) {
        return fail_memory(ctx, denial, sizeof *stream, "stream");
    }
    start(stream, ctx, &wanted);
    fa__os_mutex_lock(&ctx->lock);
    link_locked(lifetime, stream);
    fa__os_mutex_unlock(&ctx->lock);
    *out = stream;
    return FA_OK;
}

static void tell_live(fa_stream *stream) {
    fa__fail(&(fa__failure){.context = stream->context,
                            .code = FA__CODE_LIVE_AT_END,
                            .result = FA_ERR_BUSY,
                            .bytes = stream->used,
                            .tag = stream->tag,
                            .where = stream->name,
                            .count = stream->live});
}

static void free_asset(fa_stream *stream, fa__asset *asset) {
    uint64_t word = fa__load(&asset->word);
    if (fa__word_state(word) == FA_ASSET_GONE) {
        return;
    }
    fa__store(&asset->word, word & ~FA__WORD_PINS);
    fa__asset_end(stream, asset);
    fa_heap_free(stream->context, fa__load(&asset->ptr));
    fa__store(&asset->ptr, NULL);
    stream->used -= fa__load(&asset->size);
    fa__asset_recycle(stream, asset);
}

// Frees all assets, whatever their state.
static void free_assets(fa_stream *stream) {
    for (uint32_t i = 0; i < FA__ASSET_CHUNKS && stream->live != 0; i++) {
        fa__asset *chunk = fa__load(&stream->chunks[i]);
        uint32_t first = FA__ASSETS_FIRST * ((1u << i) - 1u);
        for (uint32_t at = 0; at < FA__ASSETS_FIRST << i && first + at < stream->places; at++) {
            free_asset(stream, &chunk[at]);
        }
    }
}

// For a stream that was destroyed already. Its record is still there.
static fa_result fail_ended(fa_stream *stream, fa__code code) {
    return fa__fail(&(fa__failure){.context = stream->context,
                                   .code = code,
                                   .result = FA_ERR_STALE,
                                   .tag = stream->tag,
                                   .where = stream->name});
}

fa_result fa_stream_destroy(fa_stream *stream) {
    if (stream == NULL) {
        return FA_OK;
    }
    fa_context *ctx = stream->context;
    fa__os_mutex_lock(&ctx->lock);
    bool was_live = fa__load(&stream->is_live) != 0;
    if (was_live) {
        unlink_locked(stream);
    }
    fa__os_mutex_unlock(&ctx->lock);
    if (!was_live) {
        return fail_ended(stream, FA__CODE_DOUBLE_FREE);
    }
    bool is_empty = stream->live == 0;
    if (!is_empty) {
        tell_live(stream);
        free_assets(stream);
    }
    keep_record(ctx, ctx->lifetime, stream);
    return is_empty ? FA_OK : FA_ERR_BUSY;
}

size_t fa__streams_end(fa_context *ctx, fa__lifetime *lifetime) {
    size_t count = 0;
    for (fa_stream *stream = lifetime->streams; stream != NULL; stream = lifetime->streams) {
        tell_live(stream);
        free_assets(stream);
        unlink_locked(stream);
        keep_record(ctx, lifetime, stream);
        count += 1;
    }
    for (fa_stream *stream = lifetime->free_streams; stream != NULL; stream = stream->next) {
        if (stream->has_lock) {
            fa__os_mutex_destroy(&stream->lock);
        }
    }
    return count;
}

// Reserving ---------------------------------------------------------------------------------------

// Checks a description and fills its defaults in. Reports what is wrong.
static fa_result resolve(fa_stream *stream, const fa_asset_desc *desc, fa_asset_desc *out) {
    fa_context *ctx = stream->context;
    *out = desc == NULL ? (fa_asset_desc){0} : *desc;
    out->align = out->align == 0 ? FA_ALIGNMENT : out->align;
    out->tag = out->tag.id == FA_TAG_ROOT.id ? stream->tag : out->tag;
    fa__failure failure = {.context = ctx,
                           .result = FA_ERR_INVALID,
                           .bytes = out->size,
                           .tag = stream->tag,
                           .where = stream->name};
    if (fa__tag_get(ctx, out->tag) == NULL) {
        return fa__tag_fail(ctx, out->tag, FA_ERR_INVALID);
    }
    if (out->size == 0) {
        failure.code = FA__CODE_BAD_SIZE;
        return fa__fail(&failure);
    }
    if ((out->align & (out->align - 1)) != 0 || out->align > FA_ALIGNMENT_MAX) {
        failure.code = FA__CODE_BAD_ALIGNMENT;
        return fa__fail(&failure);
    }
    const uint64_t size = out->size;
    if (size >> FA__ASSET_SIZE_BITS != 0) {
        failure.code = FA__CODE_SIZE_OVERFLOW;
        failure.result = FA_ERR_OVERFLOW;
        return fa__fail(&failure);
    }
    return FA_OK;
}

static fa_result fail_budget(fa_stream *stream, size_t bytes, size_t limit, fa_tag tag) {
    return fa__fail(&(fa__failure){.context = stream->context,
                                   .code = FA__CODE_STREAM_BUDGET,
                                   .result = FA_ERR_BUDGET,
                                   .bytes = bytes,
                                   .limit = limit,
                                   .tag = tag,
                                   .where = stream->name});
}

// Why a reservation was not made.
typedef struct refusal {
    fa_result result; // FA_OK: it was.
    fa__denial denial;
    size_t limit;
} refusal;

static void asset_start(fa_stream *stream, fa__asset *asset, const fa_asset_desc *desc) {
    uint64_t word = fa__load(&asset->word);
    fa__store(&asset->size, desc->size);
    fa__store(&asset->last_frame, 0);
    fa__store(&asset->ptr, NULL);
    fa__store(&asset->loaded, 0);
    stream->next_serial += 1;
    asset->serial = stream->next_serial;
    asset->align = desc->align;
    asset->tag = desc->tag;
    asset->priority = desc->priority;
    asset->user = desc->user;
    fa__asset_count_in(stream, asset, FA_ASSET_RESERVED);
    fa__store_release(&asset->word, word | FA_ASSET_RESERVED);
}

// Under the lock.
static refusal reserve(fa_stream *stream, const fa_asset_desc *desc, fa__eviction *plan,
                       fa_asset *out) {
    if (stream->live >= stream->max_assets) {
        stream->refusals += 1;
        return (refusal){.result = FA_ERR_LIMIT, .limit = stream->max_assets};
    }
    fa__denial denial = FA__DENIED_BY_BACKEND;
    fa__asset *asset = fa__asset_take(stream, &denial); // First: nothing may fail after evicting.
    if (asset == NULL) {
        bool is_full = stream->places == FA__ASSETS_MAX;
        return is_full ? (refusal){.result = FA_ERR_LIMIT, .limit = FA__ASSETS_MAX}
                       : (refusal){.result = FA_ERR_OUT_OF_MEMORY, .denial = denial};
    }
    if (!fa__evict(stream, plan)) {
        fa__asset_recycle(stream, asset);
        stream->refusals += 1;
        return (refusal){.result = FA_ERR_BUDGET, .limit = stream->budget};
    }
    asset_start(stream, asset, desc);
    *out = fa__asset_handle(asset);
    return (refusal){.result = FA_OK};
}

fa_result fa_stream_reserve(fa_stream *stream, const fa_asset_desc *desc, fa_asset *out) {
    if (out == NULL) {
        return fa__fail_argument(stream->context, "out");
    }
    *out = (fa_asset){0};
    if (fa__load(&stream->is_live) == 0) {
        return fail_ended(stream, FA__CODE_STALE_HANDLE);
    }
    fa_asset_desc wanted;
    fa_result result = resolve(stream, desc, &wanted);
    if (result != FA_OK) {
        return result;
    }
    fa__eviction plan = {
        .kind = FA__EVICT_REQUEST, .priority = wanted.priority, .size = wanted.size};
    fa__os_mutex_lock(&stream->lock);
    refusal refused = reserve(stream, &wanted, &plan, out);
    fa__os_mutex_unlock(&stream->lock);
    fa__asset_tell_retired(stream, plan.retired);
    switch (refused.result) {
    case FA_OK:
        return FA_OK;
    case FA_ERR_BUDGET:
        return fail_budget(stream, wanted.size, refused.limit, wanted.tag);
    case FA_ERR_LIMIT:
        return fa__fail(&(fa__failure){.context = stream->context,
                                       .code = FA__CODE_TOO_MANY,
                                       .result = FA_ERR_LIMIT,
                                       .bytes = wanted.size,
                                       .limit = refused.limit,
                                       .tag = wanted.tag,
                                       .where = stream->name});
    default:
        return fail_memory(stream->context, refused.denial, sizeof(fa__asset), stream->name);
    }
}

// Budgets and figures -----------------------------------------------------------------------------

fa_result fa_stream_set_budget(fa_stream *stream, size_t budget_bytes) {
    size_t budget = budget_bytes == 0 ? SIZE_MAX : budget_bytes;
    fa__eviction plan = {.kind = FA__EVICT_BUDGET, .priority = UINT8_MAX, .limit = budget};
    fa__os_mutex_lock(&stream->lock);
    bool is_done = fa__evict(stream, &plan);
    size_t used = stream->used;
    stream->refusals += is_done ? 0 : 1;
    fa__os_mutex_unlock(&stream->lock);
    fa__asset_tell_retired(stream, plan.retired);
    return is_done ? FA_OK : fail_budget(stream, used, budget, stream->tag);
}

size_t fa_stream_trim(fa_stream *stream, size_t keep) {
    fa__eviction plan = {.kind = FA__EVICT_TRIM, .priority = UINT8_MAX, .limit = keep};
    fa__os_mutex_lock(&stream->lock);
    fa__evict(stream, &plan);
    fa__os_mutex_unlock(&stream->lock);
    fa__asset_tell_retired(stream, plan.retired);
    return plan.evicted_bytes;
}

void fa_stream_frame(fa_stream *stream, uint64_t frame) {
    fa__store(&stream->frame, frame);
}

fa_result fa_stream_stats(fa_stream *stream, fa_stream_stats_result *out) {
    if (out == NULL) {
        return fa__fail_argument(stream->context, "out");
    }
    fa__os_mutex_lock(&stream->lock);
    const fa__asset_count *counts = stream->counts;
    *out = (fa_stream_stats_result){.budget_bytes = stream->budget == SIZE_MAX ? 0 : stream->budget,
                                    .used_bytes = stream->used,
                                    .peak_bytes = stream->peak,
                                    .reserved_bytes = counts[FA_ASSET_RESERVED].bytes,
                                    .loading_bytes = counts[FA_ASSET_LOADING].bytes,
                                    .ready_bytes = counts[FA_ASSET_READY].bytes,
                                    .reserved_assets = counts[FA_ASSET_RESERVED].assets,
                                    .loading_assets = counts[FA_ASSET_LOADING].assets,
                                    .ready_assets = counts[FA_ASSET_READY].assets,
                                    .retired_places = stream->retired,
                                    .evictions = stream->evictions,
                                    .evicted_bytes = stream->evicted_bytes,
                                    .refusals = stream->refusals};
    memcpy(out->name, stream->name, sizeof out->name);
    fa__os_mutex_unlock(&stream->lock);
    return FA_OK;
}

// Records of assets: where they lie, and what their words mean. See assets.h.
//
//   chunks[0] 64 records | chunks[1] 128 | chunks[2] 256 | ...      index 0, 1, 2 ... over all
//
// A place's generation is the one its asset has, or the one its next asset will have. It rises when
// the asset ends, so every handle made before is stale from that moment on. 0 is no generation: a
// place that comes to it is retired.
#include "assets.h"

// Where a place lies.
typedef struct place {
    uint32_t chunk;
    uint32_t at;
} place;

static place place_of(uint32_t index) {
    place found = {0, index};
    for (uint32_t count = FA__ASSETS_FIRST; found.at >= count; count *= 2) {
        found.at -= count;
        found.chunk += 1;
    }
    return found;
}

static fa__asset *asset_at(fa_stream *stream, uint32_t index) {
    if (index >= FA__ASSETS_MAX) {
        return NULL;
    }
    place where = place_of(index);
    fa__asset *chunk = fa__load_acquire(&stream->chunks[where.chunk]);
    return chunk == NULL ? NULL : &chunk[where.at];
}

static void wait_for_lock(fa_stream *stream) {
    fa__os_mutex_lock(&stream->lock);
    fa__os_mutex_unlock(&stream->lock);
}

fa__asset *fa__asset_find(fa_stream *stream, fa_asset handle, uint64_t *word) {
    fa__asset *asset = asset_at(stream, handle.index);
    if (asset == NULL || handle.generation == 0) {
        return NULL;
    }
    uint64_t found = fa__load_acquire(&asset->word);
    while (fa__word_state(found) == FA__ASSET_SEIZED) {
        wait_for_lock(stream);
        found = fa__load_acquire(&asset->word);
    }
    if (fa__word_generation(found) != handle.generation || fa__word_state(found) == FA_ASSET_GONE) {
        return NULL;
    }
    *word = found;
    return asset;
}

// Whether the handle may be stale because of an eviction. The last end of each place is known; of
// earlier ones only whether anything was ever evicted.
static bool may_be_evicted(fa_stream *stream, fa_asset handle) {
    fa__asset *asset = asset_at(stream, handle.index);
    if (asset == NULL || handle.generation == 0) {
        return false;
    }
    // Of a retired place this wraps to the last generation.
    uint32_t last_ended = fa__word_generation(fa__load(&asset->word)) - 1;
    if (handle.generation == last_ended) {
        return asset->was_evicted;
    }
    return handle.generation < last_ended && stream->evictions != 0;
}

fa_result fa__asset_fail_stale(fa_stream *stream, fa_asset handle, bool quiet) {
    bool is_expected = quiet;
    if (!quiet) {
        fa__os_mutex_lock(&stream->lock);
        is_expected = may_be_evicted(stream, handle);
        fa__os_mutex_unlock(&stream->lock);
    }
    return fa__fail(&(fa__failure){.context = stream->context,
                                   .code = FA__CODE_STALE_HANDLE,
                                   .result = FA_ERR_STALE,
                                   .tag = stream->tag,
                                   .where = stream->name,
                                   .quiet = is_expected});
}

// Taking and giving back --------------------------------------------------------------------------

static fa__asset *chunk_add(fa_stream *stream, uint32_t number, fa__denial *denial) {
    uint32_t count = FA__ASSETS_FIRST << number;
    fa__asset *chunk = fa__meta_alloc(stream->context->pages, count * sizeof(fa__asset), denial);
    if (chunk == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++) {
        chunk[i].index = count - FA__ASSETS_FIRST + i;
        fa__store(&chunk[i].word, UINT64_C(1) << FA__WORD_GENERATION_SHIFT);
    }
    fa__store_release(&stream->chunks[number], chunk);
    return chunk;
}

fa__asset *fa__asset_take(fa_stream *stream, fa__denial *denial) {
    fa__asset *asset = stream->free;
    if (asset != NULL) {
        stream->free = asset->next;
    } else if (stream->places == FA__ASSETS_MAX) {
        return NULL;
    } else {
        place where = place_of(stream->places);
        fa__asset *chunk = fa__load(&stream->chunks[where.chunk]);
        if (chunk == NULL) {
            chunk = chunk_add(stream, where.chunk, denial);
        }
        if (chunk == NULL) {
            return NULL;
        }
        asset = &chunk[where.at];
        stream->places += 1;
    }
    asset->next = NULL;
    stream->live += 1;
    return asset;
}

bool fa__asset_recycle(fa_stream *stream, fa__asset *asset) {
    stream->live -= 1;
    if (fa__word_generation(fa__load(&asset->word)) == 0) {
        stream->retired += 1;
        return true;
    }
    asset->next = stream->free;
    stream->free = asset;
    return false;
}

void fa__asset_tell_retired(fa_stream *stream, size_t count) {
    if (count != 0) {
        fa__fail(&(fa__failure){.context = stream->context,
                                .code = FA__CODE_SLOT_RETIRED,
                                .result = FA_OK,
                                .tag = stream->tag,
                                .where = stream->name,
                                .count = count});
    }
}

// States ------------------------------------------------------------------------------------------

static fa__asset_count *count_of(fa_stream *stream, uint32_t state) {
    return &stream->counts[state == FA_ASSET_FREEING ? FA_ASSET_LOADING : state];
}

void fa__asset_count_in(fa_stream *stream, const fa__asset *asset, uint32_t state) {
    fa__asset_count *count = count_of(stream, state);
    count->bytes += fa__load(&asset->size);
    count->assets += 1;
}

void fa__asset_count_out(fa_stream *stream, const fa__asset *asset, uint32_t state) {
    fa__asset_count *count = count_of(stream, state);
    count->bytes -= fa__load(&asset->size);
    count->assets -= 1;
}

void fa__asset_set_state(fa_stream *stream, fa__asset *asset, fa_asset_state state) {
    uint64_t word = fa__load(&asset->word);
    fa__asset_count_out(stream, asset, fa__word_state(word));
    fa__asset_count_in(stream, asset, state);
    while (!fa__swap(&asset->word, &word, (word & ~FA__WORD_STATE) | state)) {
    }
}

bool fa__asset_end(fa_stream *stream, fa__asset *asset) {
    uint64_t word = fa__load(&asset->word);
    uint64_t ended = 0;
    do {
        if ((word & FA__WORD_PINS) != 0) {
            return false;
        }
        ended = (uint64_t)(fa__word_generation(word) + 1u) << FA__WORD_GENERATION_SHIFT;
    } while (!fa__swap(&asset->word, &word, ended));
    fa__asset_count_out(stream, asset, fa__word_state(word));
    asset->was_evicted = false;
    if (asset->is_queued) {
        fa__queue_remove(stream, asset);
    } else if (asset->list != NULL) {
        fa__list_remove(asset);
    }
    return true;
}

uint64_t fa__stream_now(fa_stream *stream) {
    uint64_t said = fa__load(&stream->frame);
    if (said != 0) {
        return said;
    }
    const fa__thread *thread = fa__thread_find(stream->context);
    uint64_t own = thread == NULL ? 0 : fa__load(&thread->frame_index);
    uint64_t latest = fa__load(&stream->latest);
    if (own <= latest) {
        return latest;
    }
    fa__raise_u64(&stream->latest, own);
    return own;
}

// What is done with single assets: loading, access, pins, freeing. See assets.h.
//
// Memory is allocated and freed with no lock held, because budgets and checks may call functions of
// the user. Meanwhile the asset is LOADING with no pointer, or its handle is stale, so nobody else
// does anything with it.
#include "assets.h"

#include <framealloc/heap.h>

#define PINS_MAX (FA__WORD_PINS / FA__WORD_PIN)

static fa_result fail_quietly(fa_stream *stream, fa_result result, fa__code code) {
    return fa__fail(&(fa__failure){.context = stream->context,
                                   .code = code,
                                   .result = result,
                                   .tag = stream->tag,
                                   .where = stream->name,
                                   .quiet = true});
}

// For an asset that is in the wrong state for the call.
static fa_result fail_state(fa_stream *stream, fa_result result, fa__code code) {
    return fa__fail(&(fa__failure){.context = stream->context,
                                   .code = code,
                                   .result = result,
                                   .tag = stream->tag,
                                   .where = stream->name});
}

// Frees the memory of an asset that has ended, and uncharges it. Not under the lock.
static void asset_free(fa_stream *stream, fa__asset *asset) {
    fa_heap_free(stream->context, fa__load(&asset->ptr));
    fa__os_mutex_lock(&stream->lock);
    fa__store(&asset->ptr, NULL);
    stream->used -= fa__load(&asset->size);
    bool is_retired = fa__asset_recycle(stream, asset);
    fa__os_mutex_unlock(&stream->lock);
    fa__asset_tell_retired(stream, is_retired ? 1 : 0);
}

// Loading -----------------------------------------------------------------------------------------

static uint64_t loaded_word(fa_asset handle, size_t bytes) {
    return (uint64_t)handle.generation << FA__LOADED_SHIFT | (uint64_t)bytes;
}

// A LOADING asset has no memory any more, or got none: it is RESERVED again, or gone when it was
// freed meanwhile. True when it is gone.
static bool without_memory(fa_stream *stream, fa__asset *asset) {
    fa__os_mutex_lock(&stream->lock);
    bool was_freed = fa__word_state(fa__load(&asset->word)) == FA_ASSET_FREEING;
    if (was_freed) {
        fa__asset_end(stream, asset);
    } else {
        fa__store(&asset->loaded, 0);
        fa__asset_set_state(stream, asset, FA_ASSET_RESERVED);
    }
    fa__os_mutex_unlock(&stream->lock);
    if (was_freed) {
        asset_free(stream, asset);
    }
    return was_freed;
}

void *fa_stream_load_begin(fa_stream *stream, fa_asset handle) {
    uint64_t word = 0;
    fa__os_mutex_lock(&stream->lock);
    fa__asset *asset = fa__asset_find(stream, handle, &word);
    bool is_reserved = asset != NULL && fa__word_state(word) == FA_ASSET_RESERVED;
    if (is_reserved) {
        fa__store(&asset->loaded, loaded_word(handle, 0));
        fa__asset_set_state(stream, asset, FA_ASSET_LOADING);
    }
    fa__os_mutex_unlock(&stream->lock);
    if (asset == NULL) {
        fa__asset_fail_stale(stream, handle, false);
        return NULL;
    }
    if (!is_reserved) {
        fail_state(stream, FA_ERR_BUSY, FA__CODE_BAD_ARGUMENT);
        return NULL;
    }
    fa_allocator heap = fa_heap_allocator(stream->context, asset->tag);
    void *ptr = heap.alloc(heap.self, fa__load(&asset->size), asset->align);
    if (ptr == NULL) {
        without_memory(stream, asset);
        return NULL;
    }
    fa__os_mutex_lock(&stream->lock); // Those who free and finish look at it under the lock.
    fa__store(&asset->ptr, ptr);
    fa__os_mutex_unlock(&stream->lock);
    return ptr;
}

fa_result fa_stream_load_advance(fa_stream *stream, fa_asset handle, size_t bytes) {
    for (;;) {
        uint64_t word = 0;
        fa__asset *asset = fa__asset_find(stream, handle, &word);
        if (asset == NULL) {
            return fa__asset_fail_stale(stream, handle, false);
        }
        if (fa__word_state(word) == FA_ASSET_FREEING) {
            return fail_quietly(stream, FA_ERR_STALE, FA__CODE_STALE_HANDLE);
        }
        uint64_t before = fa__load(&asset->loaded);
        uint64_t loaded = before & FA__ASSET_SIZE_MAX;
        bool is_ours = before == loaded_word(handle, (size_t)loaded);
        size_t size = fa__load(&asset->size);
        if (fa__word_state(word) != FA_ASSET_LOADING || (is_ours && bytes > size - loaded)) {
            return fail_state(stream, FA_ERR_INVALID, FA__CODE_BAD_ARGUMENT);
        }
        if (is_ours && fa__shared_swap(&asset->loaded, &before, before + bytes)) {
            return FA_OK;
        }
    }
}

// The asset that a loader is done with; `result` says why there is none. Under the lock.
static fa__asset *loader_leaves(fa_stream *stream, fa_asset handle, fa_result *result) {
    uint64_t word = 0;
    fa__asset *asset = fa__asset_find(stream, handle, &word);
    uint32_t state = asset == NULL ? FA_ASSET_GONE : fa__word_state(word);
    *result = FA_OK;
    if (state == FA_ASSET_GONE) {
        *result = FA_ERR_STALE;
    } else if ((state != FA_ASSET_LOADING && state != FA_ASSET_FREEING) ||
               fa__load(&asset->ptr) == NULL) {
        *result = FA_ERR_INVALID;
    }
    return asset;
}

// Fails for a loader that has no asset to leave.
static fa_result fail_leave(fa_stream *stream, fa_asset handle, fa_result result) {
    return result == FA_ERR_STALE ? fa__asset_fail_stale(stream, handle, false)
                                  : fail_state(stream, result, FA__CODE_BAD_ARGUMENT);
}

// Ends a FREEING asset whose loader has left, if it is one. Under the lock, which is given up then.
static bool leave_freed(fa_stream *stream, fa__asset *asset) {
    if (fa__word_state(fa__load(&asset->word)) != FA_ASSET_FREEING) {
        return false;
    }
    fa__asset_end(stream, asset);
    fa__os_mutex_unlock(&stream->lock);
    asset_free(stream, asset);
    return true;
}

fa_result fa_stream_load_finish(fa_stream *stream, fa_asset handle) {
    uint64_t now = fa__stream_now(stream);
    fa_result result = FA_OK;
    fa__os_mutex_lock(&stream->lock);
    fa__asset *asset = loader_leaves(stream, handle, &result);
    if (result != FA_OK) {
        fa__os_mutex_unlock(&stream->lock);
        return fail_leave(stream, handle, result);
    }
    if (leave_freed(stream, asset)) {
        return fail_quietly(stream, FA_ERR_STALE, FA__CODE_STALE_HANDLE);
    }
    fa__store(&asset->loaded, loaded_word(handle, fa__load(&asset->size)));
    fa__raise_u64(&asset->last_frame, now);
    fa__asset_set_state(stream, asset, FA_ASSET_READY);
    fa__queue_add(stream, asset);
    fa__os_mutex_unlock(&stream->lock);
    return FA_OK;
}

fa_result fa_stream_load_fail(fa_stream *stream, fa_asset handle) {
    fa_result result = FA_OK;
    fa__os_mutex_lock(&stream->lock);
    fa__asset *asset = loader_leaves(stream, handle, &result);
    if (result != FA_OK) {
        fa__os_mutex_unlock(&stream->lock);
        return fail_leave(stream, handle, result);
    }
    if (leave_freed(stream, asset)) {
        return fail_quietly(stream, FA_ERR_STALE, FA__CODE_STALE_HANDLE);
    }
    // The memory goes first: as long as it is there nobody may begin anew.
    void *ptr = fa__load(&asset->ptr);
    fa__store(&asset->ptr, NULL);
    fa__os_mutex_unlock(&stream->lock);
    fa_heap_free(stream->context, ptr);
    return without_memory(stream, asset) ? fail_quietly(stream, FA_ERR_STALE, FA__CODE_STALE_HANDLE)
                                         : FA_OK;
}

// Access and pins ---------------------------------------------------------------------------------

void *fa_stream_access(fa_stream *stream, fa_asset handle) {
    uint64_t word = 0;
    fa__asset *asset = fa__asset_find(stream, handle, &word);
    if (asset == NULL || fa__word_state(word) == FA_ASSET_FREEING) {
        fa__asset_fail_stale(stream, handle, true);
        return NULL;
    }
    if (fa__word_state(word) != FA_ASSET_READY) {
        fail_quietly(stream, FA_ERR_BUSY, FA__CODE_NONE);
        return NULL;
    }
    // Should it be evicted here, the next asset in its place looks accessed: no harm.
    void *ptr = fa__load(&asset->ptr);
    fa__raise_u64(&asset->last_frame, fa__stream_now(stream));
    if (fa__asset_find(stream, handle, &word) == NULL) {
        fa__asset_fail_stale(stream, handle, true);
        return NULL;
    }
    return ptr;
}

fa_result fa_stream_pin(fa_stream *stream, fa_asset handle) {
    for (;;) {
        uint64_t word = 0;
        fa__asset *asset = fa__asset_find(stream, handle, &word);
        if (asset == NULL || fa__word_state(word) == FA_ASSET_FREEING) {
            return fa__asset_fail_stale(stream, handle, true);
        }
        if ((word & FA__WORD_PINS) == FA__WORD_PINS) {
            return fa__fail(&(fa__failure){.context = stream->context,
                                           .code = FA__CODE_TOO_MANY,
                                           .result = FA_ERR_LIMIT,
                                           .limit = PINS_MAX,
                                           .tag = stream->tag,
                                           .where = stream->name});
        }
        if (fa__swap(&asset->word, &word, word + FA__WORD_PIN)) {
            return FA_OK;
        }
    }
}

fa_result fa_stream_unpin(fa_stream *stream, fa_asset handle) {
    for (;;) {
        uint64_t word = 0;
        fa__asset *asset = fa__asset_find(stream, handle, &word);
        if (asset == NULL) {
            return fa__asset_fail_stale(stream, handle, false);
        }
        if ((word & FA__WORD_PINS) == 0) {
            return fail_state(stream, FA_ERR_INVALID, FA__CODE_BAD_ARGUMENT);
        }
        uint64_t after = word - FA__WORD_PIN;
        if (!fa__swap(&asset->word, &word, after)) {
            continue;
        }
        if ((after & FA__WORD_PARKED) != 0 && (after & FA__WORD_PINS) == 0) {
            fa__os_mutex_lock(&stream->lock);
            fa__queue_unpark(stream, asset, handle);
            fa__os_mutex_unlock(&stream->lock);
        }
        return FA_OK;
    }
}

// Freeing -----------------------------------------------------------------------------------------

// A LOADING asset becomes FREEING; false when it is pinned. Under the lock.
static bool defer_free(fa__asset *asset) {
    uint64_t word = fa__load(&asset->word);
    do {
        if ((word & FA__WORD_PINS) != 0) {
            return false;
        }
    } while (!fa__swap(&asset->word, &word, (word & ~FA__WORD_STATE) | FA_ASSET_FREEING));
    return true;
}

fa_result fa_stream_free(fa_stream *stream, fa_asset handle) {
    uint64_t word = 0;
    fa__os_mutex_lock(&stream->lock);
    fa__asset *asset = fa__asset_find(stream, handle, &word);
    uint32_t state = asset == NULL ? FA_ASSET_GONE : fa__word_state(word);
    bool is_pinned = false;
    if (state == FA_ASSET_LOADING) {
        is_pinned = !defer_free(asset);
    } else if (state == FA_ASSET_RESERVED || state == FA_ASSET_READY) {
        is_pinned = !fa__asset_end(stream, asset);
    }
    fa__os_mutex_unlock(&stream->lock);
    if (state == FA_ASSET_GONE) {
        return fa__asset_fail_stale(stream, handle, false);
    }
    if (state == FA_ASSET_FREEING) {
        return fail_state(stream, FA_ERR_STALE, FA__CODE_DOUBLE_FREE);
    }
    if (is_pinned) {
        return fail_state(stream, FA_ERR_BUSY, FA__CODE_PINNED);
    }
    if (state != FA_ASSET_LOADING) {
        asset_free(stream, asset);
    }
    return FA_OK;
}

// Looking -----------------------------------------------------------------------------------------

fa_asset_state fa_stream_state(fa_stream *stream, fa_asset handle) {
    uint64_t word = 0;
    fa__asset *asset = fa__asset_find(stream, handle, &word);
    return asset == NULL ? FA_ASSET_GONE : (fa_asset_state)fa__word_state(word);
}

size_t fa_stream_loaded(fa_stream *stream, fa_asset handle) {
    uint64_t word = 0;
    fa__asset *asset = fa__asset_find(stream, handle, &word);
    if (asset == NULL) {
        return 0;
    }
    uint64_t loaded = fa__load(&asset->loaded);
    size_t bytes = (size_t)(loaded & FA__ASSET_SIZE_MAX);
    return loaded == loaded_word(handle, bytes) ? bytes : 0;
}

fa_result fa_stream_get(fa_stream *stream, fa_asset handle, fa_asset_info *out) {
    if (out == NULL) {
        return fa__fail_argument(stream->context, "out");
    }
    uint64_t word = 0;
    fa__os_mutex_lock(&stream->lock);
    fa__asset *asset = fa__asset_find(stream, handle, &word);
    if (asset != NULL) {
        *out = (fa_asset_info){.state = (fa_asset_state)fa__word_state(word),
                               .priority = asset->priority,
                               .pins = (uint32_t)((word & FA__WORD_PINS) / FA__WORD_PIN),
                               .tag = asset->tag,
                               .size = fa__load(&asset->size),
                               .align = asset->align,
                               .last_frame = fa__load(&asset->last_frame),
                               .user = asset->user};
    }
    fa__os_mutex_unlock(&stream->lock);
    if (asset == NULL) {
        *out = (fa_asset_info){0};
        return fa__asset_fail_stale(stream, handle, true);
    }
    out->loaded = fa_stream_loaded(stream, handle);
    return FA_OK;
}

fa_result fa_stream_set_priority(fa_stream *stream, fa_asset handle, uint8_t priority) {
    uint64_t word = 0;
    fa__os_mutex_lock(&stream->lock);
    fa__asset *asset = fa__asset_find(stream, handle, &word);
    if (asset != NULL) {
        bool was_queued = asset->is_queued;
        if (was_queued) {
            fa__queue_remove(stream, asset);
        }
        asset->priority = priority;
        if (was_queued) {
            fa__queue_add(stream, asset);
        }
    }
    fa__os_mutex_unlock(&stream->lock);
    return asset == NULL ? fa__asset_fail_stale(stream, handle, false) : FA_OK;
}

// Making room. Nothing goes before it is certain that enough may go:
//
//   collect   claim assets, first to go first, until enough would fit      lock
//   ask       one after the other: agreed, or refused and back to collect  no lock
//   seize     take hold of those that agreed; one that was pinned          lock
//             meanwhile is let go: back to collect
//   evict     tell of each, free its memory, uncharge                      no lock, then lock
//
// A claimed asset stands in a list of its request instead of the queue, so that no other request
// claims it. All else goes on: it can be accessed, pinned and freed, and then it leaves the list.
// The request's own bytes are charged when the others are seized, so nobody takes the room away;
// the bytes of those that go are uncharged only when their memory is back with the heap.
#include "assets.h"

#include <framealloc/heap.h>

// Whether everything would fit if `going` bytes went.
static bool is_enough(const fa_stream *stream, const fa__eviction *plan, size_t going) {
    size_t limit = plan->kind == FA__EVICT_REQUEST ? stream->budget : plan->limit;
    size_t left = stream->used - going;
    return left <= limit && plan->size <= limit - left;
}

// Claims assets until enough would fit; false when there are not enough.
static bool collect(fa_stream *stream, fa__eviction *plan) {
    size_t claimed = plan->claimed.bytes + plan->agreed.bytes;
    if (is_enough(stream, plan, claimed)) {
        return true;
    }
    size_t candidates = 0;
    for (size_t i = 0; i <= plan->priority; i++) {
        candidates += stream->queued[i];
    }
    if (plan->kind != FA__EVICT_TRIM && !is_enough(stream, plan, claimed + candidates)) {
        return false;
    }
    fa__asset *asset = fa__queue_first(stream);
    while (asset != NULL && asset->priority <= plan->priority) {
        fa__queue_remove(stream, asset);
        fa__list_add(stream->may_evict == NULL ? &plan->agreed : &plan->claimed, asset);
        if (is_enough(stream, plan, plan->claimed.bytes + plan->agreed.bytes)) {
            return true;
        }
        asset = fa__queue_first(stream);
    }
    return false;
}

// Puts the assets of a list back into the queue.
static void release(fa_stream *stream, fa__asset_list *list) {
    while (list->first != NULL) {
        fa__asset *asset = list->first;
        fa__list_remove(asset);
        fa__queue_add(stream, asset);
    }
}

static fa_stream_eviction describe(fa_stream *stream, const fa__asset *asset, fa_asset handle) {
    return (fa_stream_eviction){.stream = stream,
                                .asset = handle,
                                .ptr = fa__load(&asset->ptr),
                                .size = fa__load(&asset->size),
                                .tag = asset->tag,
                                .priority = asset->priority,
                                .last_frame = fa__load(&asset->last_frame),
                                .user = asset->user};
}

// Asks about the first claimed asset. It may have been freed, even reserved anew and claimed again,
// by the time the answer is there.
static void ask(fa_stream *stream, fa__eviction *plan) {
    fa__asset *asset = plan->claimed.first;
    fa_asset handle = fa__asset_handle(asset);
    fa_stream_eviction eviction = describe(stream, asset, handle);
    fa__os_mutex_unlock(&stream->lock);
    bool may_go = stream->may_evict(&eviction, stream->user);
    fa__os_mutex_lock(&stream->lock);
    if (asset->list == &plan->claimed && fa__asset_handle(asset).generation == handle.generation) {
        fa__list_remove(asset);
        fa__list_add(may_go ? &plan->agreed : &plan->refused, asset);
    }
}

// Takes hold of an asset unless it was pinned or became too important.
static bool seize(const fa__eviction *plan, fa__asset *asset) {
    if (asset->priority > plan->priority) {
        return false;
    }
    uint64_t word = fa__load(&asset->word);
    do {
        if ((word & FA__WORD_PINS) != 0) {
            return false;
        }
    } while (!fa__swap(&asset->word, &word, word | FA__ASSET_SEIZED));
    return true;
}

static void unseize(fa__asset *asset) {
    uint64_t word = fa__load(&asset->word); // Nobody pins what is seized.
    fa__store_release(&asset->word, (word & ~FA__WORD_STATE) | FA_ASSET_READY);
}

// Takes hold of as many of those that agreed as are needed, the first to go first; the others go
// back. False, and nothing is seized, when they are not enough any more.
static bool seize_enough(fa_stream *stream, fa__eviction *plan) {
    fa__asset_list seized = {0};
    fa__asset_list spared = {0};
    while (plan->agreed.first != NULL) {
        fa__asset *asset = plan->agreed.first;
        fa__list_remove(asset);
        bool is_needed = !is_enough(stream, plan, seized.bytes);
        fa__list_add(is_needed && seize(plan, asset) ? &seized : &spared, asset);
    }
    bool is_done = plan->kind == FA__EVICT_TRIM || is_enough(stream, plan, seized.bytes);
    release(stream, &spared);
    while (seized.first != NULL) {
        fa__asset *asset = seized.first;
        fa__list_remove(asset);
        if (!is_done) {
            unseize(asset);
        }
        fa__list_add(&plan->agreed, asset);
    }
    return is_done;
}

// Makes the handles of what is seized stale, and charges the request.
static void commit(fa_stream *stream, fa__eviction *plan) {
    size_t going = plan->agreed.bytes;
    for (fa__asset *asset = plan->agreed.first; asset != NULL; asset = asset->next) {
        uint32_t generation = fa__word_generation(fa__load(&asset->word)) + 1u;
        fa__asset_count_out(stream, asset, FA_ASSET_READY);
        fa__store_release(&asset->word, (uint64_t)generation << FA__WORD_GENERATION_SHIFT);
        asset->was_evicted = true;
        stream->evictions += 1;
    }
    stream->evicted_bytes += going;
    if (plan->kind == FA__EVICT_BUDGET) {
        stream->budget = plan->limit;
    }
    if (plan->size > going) {
        stream->used += plan->size - going;
    }
    stream->peak = stream->used > stream->peak ? stream->used : stream->peak;
    plan->evicted_bytes = going;
}

// Frees the memory of what was committed. The lock is given up: nobody else knows these assets.
static void free_evicted(fa_stream *stream, fa__eviction *plan) {
    fa__os_mutex_unlock(&stream->lock);
    for (fa__asset *asset = plan->agreed.first; asset != NULL; asset = asset->next) {
        if (stream->evicted != NULL) {
            fa_asset handle = fa__asset_handle(asset);
            handle.generation -= 1; // The one it had.
            fa_stream_eviction eviction = describe(stream, asset, handle);
            stream->evicted(&eviction, stream->user);
        }
        fa_heap_free(stream->context, fa__load(&asset->ptr));
    }
    fa__os_mutex_lock(&stream->lock);
    if (plan->evicted_bytes > plan->size) {
        stream->used -= plan->evicted_bytes - plan->size;
    }
    while (plan->agreed.first != NULL) {
        fa__asset *asset = plan->agreed.first;
        fa__list_remove(asset);
        fa__store(&asset->ptr, NULL);
        plan->retired += fa__asset_recycle(stream, asset) ? 1 : 0;
    }
}

bool fa__evict(fa_stream *stream, fa__eviction *plan) {
    bool has_room = false;
    while (!has_room) {
        if (!collect(stream, plan) && plan->kind != FA__EVICT_TRIM) {
            break;
        }
        if (plan->claimed.first != NULL) {
            ask(stream, plan);
        } else {
            has_room = seize_enough(stream, plan);
        }
    }
    release(stream, &plan->claimed);
    release(stream, &plan->refused);
    if (!has_room) {
        release(stream, &plan->agreed);
        return false;
    }
    commit(stream, plan);
    if (plan->agreed.first != NULL) {
        free_evicted(stream, plan);
    }
    return true;
}

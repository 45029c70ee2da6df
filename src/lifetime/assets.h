// The assets of a stream: their records, the order in which they are evicted, and how room is made.
//
//   handle ──> chunks ──> fa__asset         records never move; their places are used again
//                           word ─────────  generation | pins | parked | state
//                           queue links     READY ones that may be evicted, least important first
//                           list links      claimed by a request that is asking about them
//
// Every change of state happens under the stream's lock; but pins come and go without it, so also
// those who hold the lock change the word by compare-and-swap. A pinned asset may stand in the
// queue. Where eviction comes across it, it is parked: taken out and marked in its word, and the
// last unpin sees the mark and puts it back.
//
// Accesses raise `last_frame` only. The queue is ordered by `listed_frame`, which is never later,
// so its first asset is really the first once the two agree; where they do not, it is put back at
// its later place.
//
// Charged bytes: an asset's size is in stream->used from before it can have memory until after its
// memory is back with the heap. So the memory in use never exceeds `used`, and that never the
// budget.
#pragma once

#include "lifetime.h"

#define FA__ASSET_CHUNKS 20u
#define FA__ASSETS_FIRST 64u // In the first chunk; each further chunk has twice as many.
#define FA__ASSETS_MAX (FA__ASSETS_FIRST * ((1u << FA__ASSET_CHUNKS) - 1u))
#define FA__ASSET_SIZE_BITS 48
#define FA__ASSET_SIZE_MAX (((uint64_t)1 << FA__ASSET_SIZE_BITS) - 1)

// In the word, beside the states of fa_asset_state: eviction has taken hold of it. Seen only by
// those who do not hold the lock: they wait for it and look again.
#define FA__ASSET_SEIZED 7u

#define FA__WORD_STATE UINT64_C(0x7)
#define FA__WORD_PARKED UINT64_C(0x8)
#define FA__WORD_PIN UINT64_C(0x100) // One pin.
#define FA__WORD_PINS UINT64_C(0xFFFFFF00)
#define FA__WORD_GENERATION_SHIFT 32

// Progress carries 16 bits of the generation, so that a loader that is too late finds another one.
#define FA__LOADED_SHIFT 48

typedef struct fa__asset fa__asset;

typedef struct fa__asset_list {
    fa__asset *first;
    fa__asset *last;
    size_t bytes; // Of all in it.
} fa__asset_list;

struct fa__asset {
    fa__u64 word;
    fa__u64 loaded; // Bytes, and 16 bits of the generation above them.
    fa__u64 last_frame;
    _Atomic(void *) ptr; // NULL while there is no memory.
    fa__size size;

    // Guarded by the stream's lock.
    uint64_t listed_frame; // What last_frame was when it was queued.
    uint64_t serial;       // Rises with each reservation.
    fa__asset *child;      // In the queue.
    fa__asset *sibling;
    fa__asset *back;      // The sibling before it, or the parent of the first.
    fa__asset_list *list; // Of the request that has claimed it.
    fa__asset *next;      // In that list, or in the list of free records.
    fa__asset *prev;
    size_t align;
    void *user;
    uint32_t index;
    fa_tag tag;
    uint8_t priority;
    bool is_queued;
    bool was_evicted; // How its last generation ended.
};

// Figures of the assets in one state.
typedef struct fa__asset_count {
    size_t bytes;
    uint32_t assets;
} fa__asset_count;

struct fa_stream {
    fa_context *context;
    fa__u64 frame;  // As said by fa_stream_frame(); 0: not said.
    fa__u64 latest; // The furthest frame that a thread was in when it used the stream.
    _Atomic(fa__asset *) chunks[FA__ASSET_CHUNKS];
    fa_stream_may_evict_fn may_evict;
    fa_stream_evicted_fn evicted;
    void *user;
    fa_tag tag;
    char name[FA__NAME_BYTES];
    uint32_t max_assets;

    fa__mutex lock; // Before the page source's; never together with the context's. Guards:
    size_t budget;  // SIZE_MAX: none.
    size_t used;
    size_t peak;
    fa__asset *queue;                         // The first to go.
    size_t queued[256];                       // Bytes in the queue by priority.
    fa__asset *free;                          // Places that may be used again.
    uint32_t places;                          // That have been used.
    uint32_t live;                            // Assets, those that are just going included.
    uint32_t retired;                         // Places with no generations left.
    uint64_t next_serial;                     // Never starts again, also not when the record does.
    fa__asset_count counts[FA_ASSET_FREEING]; // By state; FREEING counts as LOADING.
    uint64_t evictions;
    uint64_t evicted_bytes;
    uint64_t refusals;

    fa__u32 is_live; // 1 between create and destroy. Changed under context->lock, as are the links.
    bool has_lock;   // The lock is initialised.
    fa_stream *next; // In the context's list.
    fa_stream **link; // What points to it there.
};

// assets.c ----------------------------------------------------------------------------------------

static inline uint32_t fa__word_state(uint64_t word) {
    return (uint32_t)(word & FA__WORD_STATE);
}

static inline uint32_t fa__word_generation(uint64_t word) {
    return (uint32_t)(word >> FA__WORD_GENERATION_SHIFT);
}

// The asset's record if the handle is not stale, and its word as it was just now; else NULL. With
// or without the lock.
fa__asset *fa__asset_find(fa_stream *stream, fa_asset handle, uint64_t *word);

static inline fa_asset fa__asset_handle(const fa__asset *asset) {
    return (fa_asset){asset->index, fa__word_generation(fa__load(&asset->word))};
}

// Fails for a stale handle. Not reported when `quiet`, nor when the asset may have been evicted,
// which its user could not know. Takes
// the lock unless `quiet`.
fa_result fa__asset_fail_stale(fa_stream *stream, fa_asset handle, bool quiet);

// The rest of this part: under the lock.

// A record for a new asset; its word has the generation and no state. NULL when memory is refused,
// or when all places have been used.
fa__asset *fa__asset_take(fa_stream *stream, fa__denial *denial);

// Gives a record back, whose handle is stale. True when its place is retired: to be reported.
bool fa__asset_recycle(fa_stream *stream, fa__asset *asset);

// Reports FA407 if `count` is not 0. Not under the lock.
void fa__asset_tell_retired(fa_stream *stream, size_t count);

// Changes the state, keeping pins. Only between states that look-ups find.
void fa__asset_set_state(fa_stream *stream, fa__asset *asset, fa_asset_state state);

// Makes the handle stale and takes the asset out of the figures, the queue and lists. False while
// it is pinned, nothing having changed. Its size stays charged.
bool fa__asset_end(fa_stream *stream, fa__asset *asset);

// Notes that the figures of a state have changed by one asset.
void fa__asset_count_in(fa_stream *stream, const fa__asset *asset, uint32_t state);
void fa__asset_count_out(fa_stream *stream, const fa__asset *asset, uint32_t state);

// The present frame; see stream.h.
uint64_t fa__stream_now(fa_stream *stream);

// Raises a maximum that many threads write.
static inline void fa__raise_u64(fa__u64 *maximum, uint64_t value) {
    uint64_t present = fa__load(maximum);
    while (value > present && !fa__shared_swap(maximum, &present, value)) {
    }
}

// queue.c: under the lock -------------------------------------------------------------------------

// A READY asset becomes a candidate. O(1).
void fa__queue_add(fa_stream *stream, fa__asset *asset);
void fa__queue_remove(fa_stream *stream, fa__asset *asset);

// The asset that is to go first, NULL when there is none; parks pinned ones on the way. O(1), and
// O(log assets) for each that was accessed or pinned since it was last looked at.
fa__asset *fa__queue_first(fa_stream *stream);

// Puts an asset that was parked back when it is not pinned any more.
void fa__queue_unpark(fa_stream *stream, fa__asset *asset, fa_asset handle);

// Takes an asset out of a request's list.
void fa__list_remove(fa__asset *asset);
void fa__list_add(fa__asset_list *list, fa__asset *asset);

// evict.c -----------------------------------------------------------------------------------------

typedef enum fa__eviction_kind {
    FA__EVICT_REQUEST, // Room for `size` more bytes within the budget.
    FA__EVICT_BUDGET,  // `limit` becomes the budget.
    FA__EVICT_TRIM     // As much as may go of what is above `limit`.
} fa__eviction_kind;

typedef struct fa__eviction {
    fa__eviction_kind kind;
    uint8_t priority; // Assets above it stay.
    size_t size;
    size_t limit;
    fa__asset_list claimed; // To be asked about.
    fa__asset_list agreed;  // May go.
    fa__asset_list refused; // May not; kept here so that they are not asked about again.
    size_t evicted_bytes;   // What went.
    size_t retired;         // Places retired, to be reported.
} fa__eviction;

// Makes room, and charges plan->size. False when that is not possible: nothing has changed. Called
// with the lock held and returns so, but gives it up in between when there is somebody to ask or
// memory to free.
bool fa__evict(fa_stream *stream, fa__eviction *plan);

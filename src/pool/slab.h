// The slab engine under pools and the heap's small sizes.
//
//   thread cache   [ptr ptr ptr ... ]        pop and push, no lock, no atomic, touches no object
//        |  half a cache at a time, one lock for all of it
//   depot          [ptr ptr ptr ptr ... ]    free slots of any slab, freed by any thread
//        |  when the depot is full, or when it has been idle
//   slabs          runs of units; one bit per slot that is free and here; address order
//        |  slabs that are wholly free
//   space          units for anybody: space.h
//
// Nothing belongs to a thread but what lies in its cache, so a free from another thread is a push
// to that thread's cache, and travels to whoever needs it in a batch under one lock. When a thread
// exits, its cache goes to the depot. A cache holds at most FA__CACHE_BYTES of slots, a depot at
// most FA__DEPOT_BYTES, so memory stays bounded when one thread allocates and another frees.
//
// Slots are taken from the bitmaps in address order, a run of neighbours at a time. A slot that
// comes back is checked against its slab there: an address that is no slot's is refused (FA404), a
// slot that is free already too (FA403); either is reported, neither reaches the bitmap.
//
// What describes a slab (fa__slab, and the bitmap) lies apart from the objects.
#pragma once

#include "space.h"
#include <framealloc/pool.h>

#define FA__CACHE_SLOTS 128u               // Most slots in a thread's cache.
#define FA__CACHE_BYTES ((size_t)32 << 10) // Of slots, in a thread's cache.
#define FA__DEPOT_BYTES ((size_t)1 << 20)  // Of slots, in a depot.

typedef struct fa__slots fa__slots;

// How far apart the last slot of a slab and what follows are kept, at least.
#define FA__SLAB_GAP 64u

// What a source of slots is made from.
typedef struct fa__slots_desc {
    const char *name; // For reports. Must live as long as the source.
    size_t stride;    // Bytes from slot to slot: a multiple of align and of 8, at least 16.
    size_t align;     // Of every slot; a power of two, at most FA__UNIT.
    size_t side;      // Bytes kept per slot apart from the objects: a tag, a generation.
    bool has_owner;   // Units are marked as `number` (handles).
    uint32_t number;
    // Prepares slots that have never been handed out, and undoes it before their slab goes back.
    // NULL: nothing to do. Called with the source's lock held: must not use the source.
    void (*prepare)(void *self, char *slot, fa__run *run);
    void (*retire)(void *self, char *slot);
    // Told of a new slab, and before one goes. Called with the source's lock held. NULL: nobody is.
    void (*acquired)(void *self, fa__run *run);
    void (*released)(void *self, fa__run *run);
    // Told that so many of those that caches gave were no slots, or free already. Called without
    // the lock. NULL: nobody is.
    void (*wronged)(void *self, size_t count);
    void *self;
} fa__slots_desc;

// A thread's free slots of one source. Slots lie in [bottom, top), and a NULL stands below bottom,
// so that an empty cache pops NULL. `open` is what the inline functions of pool.h see.
typedef struct fa__cache {
    fa_slot_cache open; // top: written by its thread alone and read by others (FA_STORE_RELAXED).
    void **bottom;
    fa__slots *source;
    struct fa__cache *next; // In source->caches or free_caches. Guarded by its lock.
    fa__thread *thread;     // Whose it is.
    size_t room;            // Entries there is memory for: at most so many slots.
} fa__cache;

// The body of a slab's run.
typedef struct fa__slab {
    struct fa__slab *next; // In a list of the source.
    struct fa__slab *prev;
    struct fa__slab *next_of_all; // In source->all.
    struct fa__slab *prev_of_all;
    uint64_t *free;      // One bit a slot: it is free and here, not in a cache or the depot.
    unsigned char *side; // fa__slots_desc.side bytes per slot.
    uint32_t free_count; // Bits set.
    uint32_t prepared;   // Slots below this have been prepared.
    uint32_t capacity;
    uint32_t reciprocal; // Of the stride in steps of 8 bytes, in 32-bit fractions, rounded up.
    uint32_t first;      // Offset of the first slot from the run's memory.
    fa__u32 highest;     // No generation above this was in use in it: the run's floor when it goes.
    uint32_t retired;    // Slots that will never be handed out again.
    uint32_t hint;       // No word of `free` below this has a bit.
    uint8_t list;        // Which list it is in.
} fa__slab;

_Static_assert(sizeof(fa__slab) <= FA__RUN_BODY, "a slab fits the body of a run");

// The number of the lowest bit that is set. `bits` is not 0.
static inline uint32_t fa__lowest_bit(uint64_t bits) {
#if defined(__GNUC__)
    return (uint32_t)__builtin_ctzll(bits);
#else
    uint32_t index = 0;
    for (; (bits & 1) == 0; bits >>= 1) {
        index += 1;
    }
    return index;
#endif
}

static inline fa__slab *fa__slab_of(fa__run *run) {
    return (fa__slab *)(void *)run->body;
}

static inline fa__run *fa__slab_run(fa__slab *slab) {
    return (fa__run *)(void *)((char *)slab - offsetof(fa__run, body));
}

// The index of the slot that starts at `ptr`; UINT32_MAX when none starts there. One
// multiplication: the product's fraction is below the reciprocal exactly when nothing remains.
// (Strides are at most 64 KiB in slabs of at most 1 MiB, or there is one slot only.) A distance
// that is negative or no multiple of 8 turns into a large number of steps.
static inline uint32_t fa__slab_index(const fa__run *run, const fa__slab *slab, const void *ptr) {
    uint32_t distance = (uint32_t)((const char *)ptr - run->ptr) - slab->first;
    uint32_t steps = distance >> 3 | distance << 29;
    uint64_t product = (uint64_t)steps * slab->reciprocal;
    uint32_t index = (uint32_t)(product >> 32);
    return (uint32_t)product < slab->reciprocal && index < slab->capacity ? index : UINT32_MAX;
}

// A source is embedded in its owner and lives in bookkeeping memory.
struct fa__slots {
    fa__mutex lock; // After the context's, before the space's.
    fa__space *space;
    fa_context *context;
    fa__slots_desc desc;
    uint32_t units;       // Of a slab.
    uint32_t capacity;    // Slots a slab.
    uint32_t reciprocal;  // As in fa__slab.
    uint32_t cache_slots; // Slots a cache may hold.
    // Guarded by lock.
    void **depot;
    size_t depot_count;
    size_t depot_size;  // Entries there is room for.
    size_t depot_max;   // Entries there may be.
    size_t depot_least; // The fewest since the last quiet step: so many nobody needed.
    fa__slab *all;
    fa__slab *lists[3]; // Slabs with free slots here; wholly free; without.
    size_t slab_count;
    size_t empty_count;
    size_t empty_least;  // The fewest since the last quiet step.
    size_t kept_slots;   // fa__slots_reserve()'s: so many slots stay.
    uint32_t visitors;   // fa__slots_each() at work: no slab goes.
    fa__size slot_count; // In all slabs, those retired not counted.
    fa__size here_count; // Free in slabs and depot: slot_count - here - in caches = live.
    fa__size retired_count;
    fa__cache *caches;
    fa__cache *free_caches;
};

// Zeroed before its first use; one that was destroyed may be initialised again.
fa_result fa__slots_init(fa__slots *slots, fa_context *ctx, const fa__slots_desc *desc,
                         fa__denial *denial);
// Gives all slabs back, live slots included, without looking at a slot (but for `retire`).
void fa__slots_destroy(fa__slots *slots);

// A cache for a thread, empty. NULL when there is no memory. fa__cache_close() empties it into the
// depot and keeps it for the next thread. fa__cache_init() makes one whose `bottom` points to
// memory of the caller's: `room` entries, with a NULL before them. It may have more room than the
// source's cache_slots: then it is filled and emptied in small parts, at its top.
fa__cache *fa__cache_open(fa__slots *slots, fa__thread *thread, fa__denial *denial);
void fa__cache_init(fa__cache *cache, fa__slots *slots, fa__thread *thread, size_t room);
void fa__cache_close(fa__cache *cache);

// How many slots a cache may hold from now on: at least 2, at most what there is room for. Must not
// be fewer than it holds.
void fa__cache_limit(fa__cache *cache, size_t slots);

// How many slots are moved at a time: half of what a cache holds, or of what one commonly does.
static inline size_t fa__cache_batch(const fa__cache *cache) {
    size_t slots = (size_t)(cache->open.end - cache->bottom);
    size_t most = cache->source->cache_slots;
    return ((slots < most ? slots : most) + 1) / 2;
}

// Fetches up to `want` slots into an empty cache (at most fa__cache_batch(); at least one) and
// returns how many; 0 when there is no memory.
size_t fa__cache_refill(fa__cache *cache, size_t want, fa__denial *denial);
// Makes room in a full cache: returns how many slots went to the depot. The oldest, or in a cache
// with much room the newest, as moving the others down would take long.
size_t fa__cache_spill(fa__cache *cache);
static inline bool fa__cache_spills_newest(const fa__cache *cache) {
    return cache->room > cache->source->cache_slots;
}
// Empties it into the depot. Returns how many.
size_t fa__cache_flush(fa__cache *cache);

static inline size_t fa__cache_count(const fa__cache *cache) {
    return (size_t)(cache->open.top - cache->bottom);
}

// Without caches, under the lock: takes and gives slots by the array. What checking modes use:
// every free is then checked against its slab at once. give returns how many were taken back;
// what was refused has been reported.
size_t fa__slots_take(fa__slots *slots, void **out, size_t count, fa__denial *denial);
size_t fa__slots_give(fa__slots *slots, void *const *slots_given, size_t count);

// Makes sure that `count` slots can be had without asking the space, and keeps them.
fa_result fa__slots_reserve(fa__slots *slots, size_t count, fa__denial *denial);
// The depot's slots go to their slabs, and wholly free slabs beyond those reserved and `keep` slots
// to the space. Returns bytes.
size_t fa__slots_trim(fa__slots *slots, size_t keep);
// One step of the quiet clock: what the depot did not need since the last goes to the slabs, slabs
// that were wholly free then to the space. At most `max_slots` slots are moved.
void fa__slots_tick(fa__slots *slots, size_t max_slots);

// A slot that was handed out will never be free again.
void fa__slots_retire(fa__slots *slots, void *slot);

// Bytes of all slabs.
size_t fa__slots_committed(fa__slots *slots);

// Slots handed out and not free, as far as known: exact when no other thread is inside.
size_t fa__slots_live(fa__slots *slots);
// Of them, those lying in caches.
size_t fa__slots_cached(fa__slots *slots);

// Calls `visit` for every live slot in address order within a slab, until it returns false. No
// other thread may be inside the source: all caches are emptied first. `visit` may free the slot it
// is given, and no other.
void fa__slots_each(fa__slots *slots, bool (*visit)(void *user, char *slot, fa__run *run),
                    void *user);

// All invariants, for tests.
bool fa__slots_check(fa__slots *slots);

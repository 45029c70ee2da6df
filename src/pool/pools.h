// A pool as the library sees it; shared by pool.c and pool_manage.c.
#pragma once

#include "../core/objects.h"
#include "slab.h"

// Generations are odd while an object is live, and even while its slot is free.
#define FA__GENERATION_BITS 28
#define FA__GENERATION_SHIFT (64 - FA__GENERATION_BITS)
#define FA__GENERATION_MAX (((uint32_t)1 << FA__GENERATION_BITS) - 1)
#define FA__HOME_SLOTS 128u              // A home stack starts with this room,
#define FA__HOME_BYTES ((size_t)1 << 20) // and may grow to hold this many bytes of slots.
#define FA__CANARY_BYTES 16u
#define FA__CANARY_BYTE 0xFA
#define FA__FREED_BYTE 0xDD
#define FA__FRESH_BYTE 0xCD

typedef struct fa__pool {
    union {
        fa_pool open;
        fa__cache home; // The stack of `home_thread`. It grows: see fa__pool_grow().
    };
    size_t home_room; // Entries of the memory behind the home stack; kept with the record.
    void **home_bottom;
    size_t exchanges;       // Refills and spills of the home stack,
    size_t exchanges_noted; // and those by the last quiet step.

    fa_context *context;
    fa__slots slots;
    fa_pool_desc desc;
    char name[FA__NAME_BYTES];
    size_t stride;
    uint32_t canary_at; // Where canary and call site lie in a slot, while blocks are checked.
    uint32_t site_at;
    bool is_rich;    // Objects have a generation and a tag: FA__HEADER_BYTES before each.
    bool is_plain;   // Nothing has to be done with an object but pop and push it.
    bool is_swift;   // No more than a generation and a tag.
    bool is_careful; // FA_CHECK_BLOCKS: no stacks, every free checked.
    _Atomic(fa__thread *) home_thread;
    // Where objects need no more than a generation and a tag, what the home thread finds quickly:
    const void *swift;          // Its thread pointer; NULL: take the long way.
    const fa__account *current; // The frame account of the tag that was current last,
    uint16_t current_tag;       // and its number.
    fa__size live;              // With max_count only.
    fa__size peak;              // Slots handed out by the slot source.
    uint64_t serial;            // Never used twice in the process; 0: this record is free.
    uint32_t index;             // Of the thread's entry for it. Kept when the record is used again.
    uint32_t pins;              // Guarded by pools->lock: it must not go.
    struct fa__pool *next;      // Guarded by pools->lock: list of pools, or of free records.
} fa__pool;

_Static_assert(offsetof(fa_pool, rest) + sizeof(((fa_pool *)0)->rest) == sizeof(fa__cache),
               "the home cache lies inside the public part");

// What a context keeps of its pools.
typedef struct fa__pools {
    fa__mutex lock; // Before any source's.
    fa__pool *all;
    fa__pool *free;
    uint32_t next_index;
    uint32_t next_number;
} fa__pools;

// A thread's caches of all pools but those it is at home in, by index.
typedef struct fa__pool_entry {
    uint64_t serial;
    fa__cache *cache;
} fa__pool_entry;

typedef struct fa__thread_pools {
    uint32_t count;
    fa__pool_entry *entries;
} fa__thread_pools;

static inline fa__pool *fa__pool_open(fa_pool *pool) {
    return (fa__pool *)(void *)pool;
}

// Generations are noted per slab in steps of this many, so that few frees have to.
#define FA__GENERATION_STEP 64u

// Where an object lies.
typedef struct fa__place {
    fa__run *run; // NULL: it is no slot of the pool.
    fa__slab *slab;
    uint32_t index;
} fa__place;

fa__place fa__pool_find(const fa__pool *pool, const void *object);

// What lies before an object of a rich pool, in the last bytes of the slot before (the first slot
// of a slab has a gap before it).
typedef _Atomic(uint16_t) fa__u16;
#define FA__HEADER_BYTES 8u

static inline fa__u32 *fa__generation_of(const void *object) {
    return (fa__u32 *)((uintptr_t)object - sizeof(uint32_t));
}
static inline fa__u16 *fa__tag_of(const void *object) {
    return (fa__u16 *)((uintptr_t)object - FA__HEADER_BYTES);
}

// pool_stack.c ------------------------------------------------------------------------------------

// The calling thread's stack; NULL when there is no memory for one, nothing having been reported.
fa__cache *fa__pool_cache(fa__pool *pool, fa__thread *thread, fa__denial *denial);

// Gives the home stack room for `slots` entries, up to FA__HOME_BYTES of slots. False when there is
// no memory; nothing has changed then.
bool fa__pool_grow(fa__pool *pool, size_t slots, fa__denial *denial);

// Fills an empty stack and charges for it. False after a reported failure.
FA_COLD bool fa__pool_refill(fa__pool *pool, fa__thread *thread, fa__cache *cache);

// Makes room in a full stack, by growing or by sending some to the depot; sends some (returns how
// many); empties one.
FA_COLD void fa__pool_spill(fa__pool *pool, fa__cache *cache);
size_t fa__pool_send(fa__pool *pool, fa__cache *cache);
void fa__pool_flush(fa__pool *pool, fa__cache *cache);

// A slot straight from its slab, neither charged nor begun. NULL after a report.
void *fa__pool_take_unstacked(fa__pool *pool);

// Whom the next object of the pool is charged to. NULL after a report.
fa__account *fa__pool_account(fa__pool *pool, fa__thread *thread);

// Takes off what was charged: to a tag; for slots in a stack. `thread` may be NULL.
void fa__pool_uncharge(const fa__pool *pool, fa__thread *thread, uint32_t tag, size_t bytes);
void fa__pool_uncharge_slots(const fa__pool *pool, fa__thread *thread, void *const *slots,
                             size_t count);

// Slots in all stacks that are charged to a tag; to any: UINT32_MAX.
size_t fa__pool_cached(fa__pool *pool, uint32_t tag);

// A slot that has had all its lives is not to be handed out again. Reports it.
void fa__pool_retire(fa__pool *pool, void *slot);

// Reports that there is no memory.
FA_COLD void fa__pool_fail_memory(fa__pool *pool, fa__denial denial);

// pool.c ------------------------------------------------------------------------------------------

// Puts a free slot that is charged into the thread's stack, or to its slab where there is none.
void fa__pool_put(fa__pool *pool, fa__thread *thread, void *object);

// pool_check.c: what FA_CHECK_BLOCKS adds.
void fa__pool_check_prepare(fa__pool *pool, char *slot);
void fa__pool_check_taken(fa__pool *pool, char *object, const void *site);
void fa__pool_check_given(fa__pool *pool, char *object);

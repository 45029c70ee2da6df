// What slab.c gives to depot.c. Everything here is called with the source's lock held, unless said
// otherwise.
#pragma once

#include "slab.h"

#define FA__LIST_SOME 0u
#define FA__LIST_EMPTY 1u
#define FA__LIST_NONE 2u
#define FA__BAD_REMEMBERED 4u // Wrong frees told of one batch; further ones are refused silently.

// Frees that were wrong, told when no lock is held.
typedef struct fa__complaints {
    size_t total;
    size_t count; // Of those in the list.
    struct {
        void *ptr;
        fa__code code;
    } list[FA__BAD_REMEMBERED];
} fa__complaints;

// Tells of them. With no lock held.
void fa__slots_report(fa__slots *slots, const fa__complaints *bad);

// Fills out[0..count) from the depot or, when that is empty, from slabs; a new slab only when there
// is nothing else. What was taken lies at the end of `out`. Returns how many.
size_t fa__slots_take_locked(fa__slots *slots, void **out, size_t count, fa__denial *denial);

// Marks slots as free in their slabs. Returns how many were; here_count is the caller's.
size_t fa__slots_give_locked(fa__slots *slots, void *const *given, size_t count,
                             fa__complaints *bad);

// A new slab, wholly free. NULL when there is no memory.
fa__slab *fa__slab_acquire(fa__slots *slots, fa__denial *denial);

// Releases empty slabs but for `keep`, at most `most`; those that are reserved, or of which a slot
// is retired, stay. Returns how many. The other releases what is more than a few.
size_t fa__slots_release_empty(fa__slots *slots, size_t keep, size_t most);
void fa__slots_release_surplus(fa__slots *slots);

char *fa__slab_slot(const fa__slots *slots, fa__slab *slab, uint32_t index);

// Prepares a slot that is about to be handed out, if it is new. Free slots are taken in address
// order, so at most the one at `prepared` is.
void fa__slab_prepare(fa__slots *slots, fa__slab *slab, uint32_t index, char *slot);

// The address space of a context's slabs and blocks, in units of 64 KiB.
//
//   space   | run | run ........ | free ....... | run | free .............. | not yet used
//           ^ base                                                          ^ base + top
//   runs    one fa__run per unit, apart from the memory it describes: dense, found by a shift
//
// Unit 0 is never handed out, so that the number 0 means nothing. One large range is reserved on
// first use (256 GiB where that works, less where it does not), so "is this ours?" is one compare
// and the way from a pointer to what describes it is a subtraction and a shift. Nothing that a user
// can overrun lies beside a fa__run. Where no large range is to be had (a backend without commit,
// 32-bit address spaces that are full), or when it is used up, further sections are obtained one by
// one; they are found more slowly.
//
// A run is a stretch of units with one owner. Free runs join their free neighbours. The memory of
// freed runs stays committed, and is taken first, until it has been unused for a whole quiet
// period: two calls of fa__space_tick() with nothing of it used between them.
#pragma once

#include "../core/core.h"

#define FA__UNIT_SHIFT 16u
#define FA__UNIT ((size_t)1 << FA__UNIT_SHIFT)
#define FA__GRANULE_BYTES 8u // Places in the space are numbered in steps of this.
#define FA__RUN_BODY 88u     // Bytes of a run that belong to its owner.

typedef enum fa__run_kind {
    FA__RUN_FREE = 0,
    FA__RUN_SLAB,  // body is a fa__slab: slab.h.
    FA__RUN_LARGE, // body belongs to the heap: one block.
    FA__RUN_TABLE  // body belongs to a table of movable blocks.
} fa__run_kind;

// Describes one unit. What is marked (head) is kept in the first unit of a run only.
typedef struct fa__run {
    char *ptr;           // (head) The memory.
    void *owner;         // (head) Whoever acquired it: a fa__slots for slabs. NULL when free.
    uint32_t units;      // (head) Length of the run. A free run has it in its last unit too.
    uint32_t to_head;    // Units back to the first of the run: 0 in the first itself.
    uint32_t floor;      // Generations up to this were handed out in this unit; see fa_handle.
    uint16_t serial;     // Reserved for the owner.
    uint8_t kind;        // fa__run_kind, in every unit of the run.
    bool is_committed;   // This unit.
    uint32_t idle_since; // The tick at which this unit was freed.
    _Alignas(8) unsigned char body[FA__RUN_BODY]; // (head) The owner's; links of free runs.
} fa__run;

_Static_assert(sizeof(fa__run) <= 128, "a run is two cache lines");

typedef struct fa__space {
    char *base;      // Of the main section; its units are numbered from 0.
    fa__size top;    // Bytes of the main section that have been in use at some time: only grows.
    fa__run *runs;   // Of the main section; those below top may be read.
    fa__u32 *owners; // One a unit of the main section: who may resolve handles into it; 0: nobody.
    fa__pages *pages;
    // The rest is for space.c.
    fa__mutex lock;
    void *state;
} fa__space;

// The context's space, made on first use. NULL when there is no memory for it. Any thread.
fa__space *fa__space_get(fa_context *ctx, fa__denial *denial);

// Gives everything back. Called when the context is destroyed.
void fa__space_destroy(fa_context *ctx);

// `units` committed units whose address is a multiple of `align` (a power of two; at most
// FA__UNIT: no wish). Contents are unspecified, but zero where never used. The new head has kind,
// owner, ptr and units set and its body zeroed; `floor` keeps what it was. NULL when refused. Takes
// the space's lock: call with no lock that is taken inside it.
fa__run *fa__run_acquire(fa__space *space, size_t units, size_t align, fa__run_kind kind,
                         void *owner, fa__denial *denial);
void fa__run_release(fa__space *space, fa__run *run);

// Changes the length of a run where it stands: shrinking always works (units >= 1), growing when
// enough free units follow and can be committed. Nothing has changed when it returns false.
bool fa__run_resize(fa__space *space, fa__run *run, size_t units, fa__denial *denial);

// The head of the run that `ptr` points into, NULL when it is not in this space at all or in a free
// run. For a pointer that is wrong, into what the heap keeps of freed runs, it may be NULL or the
// head of another. The slow one takes the lock and looks through the further sections.
fa__run *fa__run_find_slow(fa__space *space, const void *ptr);
static inline fa__run *fa__run_find(fa__space *space, const void *ptr) {
    size_t offset = (size_t)((const char *)ptr - space->base);
    if (FA_LIKELY(offset < fa__load(&space->top))) {
        fa__run *run = &space->runs[offset >> FA__UNIT_SHIFT];
        run -= run->to_head;
        return FA_LIKELY(run->kind != FA__RUN_FREE && run->to_head == 0) ? run : NULL;
    }
    return fa__run_find_slow(space, ptr);
}

// A number for an address in the space, counting granules of 8 bytes from the start of its section,
// sections one after the other; and back (NULL for a number that was never handed out). Main
// section: inline, the granule is (ptr - base) / 8. The slow ones take the lock.
uint64_t fa__space_granule_slow(fa__space *space, const void *ptr);
char *fa__space_at_slow(fa__space *space, uint64_t granule);
// Sets or clears the owner number of the run's units, also outside the main section.
void fa__space_set_owner(fa__space *space, const fa__run *run, uint32_t number);
uint32_t fa__space_owner_slow(fa__space *space, uint64_t granule);

// One step of the quiet clock: decommits units that have been free for two steps, at most
// `max_units` of them (the next step goes on). Returns bytes given back. Takes the lock.
size_t fa__space_tick(fa__space *space, size_t max_units);

// Decommits free units at once until the clock (fa__os_clock_ns) passes `until_ns` (UINT64_MAX: no
// end). Further sections that are free go back whole. True when nothing is left to give.
bool fa__space_trim(fa__space *space, uint64_t until_ns, size_t *returned);

// For statistics and tests.
typedef struct fa__space_figures {
    size_t used_units;
    size_t free_units;      // Below top.
    size_t committed_units; // Of both.
    size_t sections;        // Beside the main one.
} fa__space_figures;
fa__space_figures fa__space_measure(fa__space *space);
// Checks every invariant: lengths, links, joins, counts. For tests. True when all hold.
bool fa__space_check(fa__space *space);

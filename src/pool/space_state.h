// What the files of the space share: space.c (runs and sections), space_gaps.c (free runs),
// space_idle.c (what has long been unused), space_check.c.
//
//   fa__section   a stretch of address space with the array of runs that describes it
//   gap           a free run; the body of its head is a fa__space_gap
//
// Every gap is in a bin by its length: one set of bins for gaps that are wholly committed, one for
// the others. Those with anything committed are in the list of warm gaps as well, the one that
// changed last in front.
#pragma once

#include "space.h"

#define FA__BINS_EXACT 32u // Gaps of 1 to 32 units have a bin for each length,
#define FA__BINS 59u       // longer ones one for each power of two.
#define FA__UNITS_MAX ((size_t)UINT32_MAX)

// What is committed of a gap.
typedef struct fa__warmth {
    uint32_t units;  // How many.
    uint32_t first;  // None before this one.
    uint32_t oldest; // None was freed before this tick.
} fa__warmth;

// The body of a free run.
typedef struct fa__space_gap {
    fa__run *next; // In its bin.
    fa__run *prev;
    fa__run *next_warm;
    fa__run *prev_warm;
    fa__warmth warmth;
} fa__space_gap;

_Static_assert(sizeof(fa__space_gap) <= FA__RUN_BODY, "a gap fits the body of a run");

typedef struct fa__section {
    char *base;
    fa__run *runs;
    fa__u32 *owners;
    size_t units;        // There is room for.
    size_t start;        // The first unit: 1 in the main section, 0 in others.
    size_t top;          // Described by `runs`: all but the main section have all their units.
    size_t used;         // Units of runs in use.
    size_t committed;    // Units.
    uint64_t first;      // Number of its first granule.
    size_t bookkeeping;  // Bytes of the block that this lies in; 0: the main one.
    uint32_t idle_since; // The tick at which `used` became 0.
} fa__section;

// An array that is committed as it grows.
typedef struct fa__array {
    char *base;
    size_t reserved; // Bytes.
    size_t committed;
} fa__array;

// Where a further section lies: an array sorted by address.
typedef struct fa__section_place {
    uintptr_t base;
    uintptr_t end;
    uint64_t first; // Granules.
    fa__section *section;
} fa__section_place;

typedef struct fa__space_state {
    fa__space space;
    fa__section main;
    fa__array runs; // Of the main section.
    fa__array owners;
    fa__section_place *places;
    size_t place_count;
    size_t place_room;
    uint64_t granules; // Handed out so far as numbers of sections.
    uint32_t tick;
    bool can_decommit;
    bool is_huge;          // Large pages are wished for.
    uint64_t clock_thread; // Whose quiet periods move the clock: its id.
    uint32_t clock_missed; // Quiet periods of others since its last one.
    size_t gap_count;
    size_t warm_count;
    fa__size used; // Units, of all sections; read without the lock.
    fa__size free;
    fa__size committed;
    uint64_t filled[2]; // One bit a bin.
    fa__run *bins[2][FA__BINS];
    fa__run *warm_newest;
    fa__run *warm_oldest;
} fa__space_state;

static inline fa__space_state *fa__space_state_of(fa__space *space) {
    return space->state;
}

static inline fa__space_gap *fa__space_gap_of(fa__run *run) {
    return (fa__space_gap *)(void *)run->body;
}

// Bytes as the page source counts them.
static inline size_t fa__units_bytes(size_t units) {
    return units << FA__UNIT_SHIFT;
}

// space_gaps.c ------------------------------------------------------------------------------------

unsigned fa__space_gap_bin(size_t units);
// How many of these units are committed.
size_t fa__units_warm(const fa__run *first, size_t units);

// A gap in which `units` units fit, `*offset` units from its start; NULL when none is found. Those
// that need no commit first.
fa__run *fa__space_gap_find(fa__space_state *state, size_t units, size_t align, size_t *offset);
// Whether they fit into this one, and where.
bool fa__space_gap_fits(const fa__run *gap, size_t units, size_t align, size_t *offset);

// Makes units free that belong to no gap: they are marked as such already. Joins them with their
// neighbours.
void fa__space_gap_give(fa__space_state *state, fa__section *section, size_t index, size_t units,
                        fa__warmth warmth);

// Commits part of a gap and takes it out; what is left of the gap stays free. The units are not yet
// marked. Nothing has changed when it returns false.
bool fa__space_gap_take(fa__space_state *state, fa__section *section, fa__run *gap, size_t offset,
                        size_t units, fa__denial *denial);

// Takes a gap out of its lists; puts it back after its length or what is committed has changed.
void fa__space_gap_unlink(fa__space_state *state, fa__run *gap);
void fa__space_gap_link(fa__space_state *state, fa__run *gap);
// Puts a gap in front of the other warm ones.
void fa__space_gap_refresh(fa__space_state *state, fa__run *gap);

// space_sections.c --------------------------------------------------------------------------------

// Reserves the main section, as large as may be; without one, `main.base` stays NULL.
void fa__main_open(fa__space_state *state);
// Grows the main section by `units` committed units from unit `from` on, which is not below its
// end; what lies between becomes free but is not committed. They join the gap at the end. There is
// room for them. Nothing has changed when it returns false.
bool fa__main_grow(fa__space_state *state, size_t from, size_t units, fa__denial *denial);

// A new section that is one gap of at least `units`. NULL when refused.
fa__section *fa__section_add(fa__space_state *state, size_t units, size_t align,
                             fa__denial *denial);
// Gives a section back that is one gap, and not the main one. Returns bytes.
size_t fa__section_release(fa__space_state *state, fa__section *section);
// Gives all sections back, in use or not.
void fa__sections_close(fa__space_state *state);

// The section that an address, a run, a granule lies in, used or not; NULL: none. A run: a head.
fa__section *fa__section_of(fa__space_state *state, const void *ptr);
fa__section *fa__section_of_run(fa__space_state *state, const fa__run *run);
fa__section *fa__section_of_granule(fa__space_state *state, uint64_t granule, uint64_t *offset);

// space_idle.c ------------------------------------------------------------------------------------

// Gives all that is free back. Returns bytes. Under the lock.
size_t fa__idle_give_all(fa__space_state *state);

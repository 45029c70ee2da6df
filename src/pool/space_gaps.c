// Free runs ("gaps") of the space.
//
//   bins[0]  gaps with something not committed   1 | 2 | 3 | ... | 32 | 33-63 | 64-127 | ...
//   bins[1]  gaps that are wholly committed      1 | 2 | 3 | ... | 32 | 33-63 | 64-127 | ...
//
// The gap that was freed last is the first of its bin. No two gaps are neighbours. A gap has its
// length in its first and in its last unit, so that whoever frees the run behind it finds its
// start; all its units have to_head 0 and kind FA__RUN_FREE, so that a look-up of a dead address
// ends there. Only units of the gap at hand are written to, never those of a run in use.
#include "space_state.h"

#include <string.h>

#define LOOK_MAX 64u // Gaps of one bin that are tried before longer ones are.
#define LOOK_WARM 8u // Gaps that are tried although only part of them is committed.

unsigned fa__space_gap_bin(size_t units) {
    if (units <= FA__BINS_EXACT) {
        return (unsigned)units - 1;
    }
    unsigned bin = FA__BINS_EXACT;
    for (size_t rest = units >> 6; rest != 0; rest >>= 1) {
        bin += 1;
    }
    return bin;
}

size_t fa__units_warm(const fa__run *first, size_t units) {
    size_t warm = 0;
    for (size_t i = 0; i < units; i++) {
        warm += first[i].is_committed;
    }
    return warm;
}

// Lists -------------------------------------------------------------------------------------------

static bool is_hot(fa__run *gap) {
    return fa__space_gap_of(gap)->warmth.units == gap->units;
}

static void warm_push(fa__space_state *state, fa__run *gap) {
    fa__space_gap *body = fa__space_gap_of(gap);
    body->prev_warm = NULL;
    body->next_warm = state->warm_newest;
    if (state->warm_newest != NULL) {
        fa__space_gap_of(state->warm_newest)->prev_warm = gap;
    } else {
        state->warm_oldest = gap;
    }
    state->warm_newest = gap;
    state->warm_count += 1;
}

static void warm_remove(fa__space_state *state, fa__run *gap) {
    const fa__space_gap *body = fa__space_gap_of(gap);
    if (body->prev_warm != NULL) {
        fa__space_gap_of(body->prev_warm)->next_warm = body->next_warm;
    } else {
        state->warm_newest = body->next_warm;
    }
    if (body->next_warm != NULL) {
        fa__space_gap_of(body->next_warm)->prev_warm = body->prev_warm;
    } else {
        state->warm_oldest = body->prev_warm;
    }
    state->warm_count -= 1;
}

void fa__space_gap_refresh(fa__space_state *state, fa__run *gap) {
    warm_remove(state, gap);
    warm_push(state, gap);
}

void fa__space_gap_link(fa__space_state *state, fa__run *gap) {
    fa__space_gap *body = fa__space_gap_of(gap);
    unsigned bin = fa__space_gap_bin(gap->units);
    fa__run **head = &state->bins[is_hot(gap)][bin];
    body->prev = NULL;
    body->next = *head;
    if (*head != NULL) {
        fa__space_gap_of(*head)->prev = gap;
    }
    *head = gap;
    state->filled[is_hot(gap)] |= (uint64_t)1 << bin;
    state->gap_count += 1;
    if (body->warmth.units != 0) {
        warm_push(state, gap);
    }
}

void fa__space_gap_unlink(fa__space_state *state, fa__run *gap) {
    const fa__space_gap *body = fa__space_gap_of(gap);
    unsigned bin = fa__space_gap_bin(gap->units);
    if (body->next != NULL) {
        fa__space_gap_of(body->next)->prev = body->prev;
    }
    if (body->prev != NULL) {
        fa__space_gap_of(body->prev)->next = body->next;
    } else {
        state->bins[is_hot(gap)][bin] = body->next;
        if (body->next == NULL) {
            state->filled[is_hot(gap)] &= ~((uint64_t)1 << bin);
        }
    }
    state->gap_count -= 1;
    if (body->warmth.units != 0) {
        warm_remove(state, gap);
    }
}

// Makes a gap of units that are marked free already, and lists it.
static void gap_make(fa__space_state *state, fa__section *section, size_t index, size_t units,
                     fa__warmth warmth) {
    fa__run *gap = &section->runs[index];
    gap->ptr = section->base + fa__units_bytes(index);
    gap->owner = NULL;
    gap->units = (uint32_t)units;
    gap[units - 1].units = (uint32_t)units;
    memset(gap->body, 0, sizeof gap->body);
    fa__space_gap_of(gap)->warmth = warmth;
    fa__space_gap_link(state, gap);
}

// Joining -----------------------------------------------------------------------------------------

// What is committed of two gaps, one after the other; the first has `units` units.
static fa__warmth warmth_join(fa__warmth left, size_t units, fa__warmth right, uint32_t tick) {
    if (left.units == 0) {
        right.first += (uint32_t)units;
        return right;
    }
    if (right.units != 0) {
        left.units += right.units;
        left.oldest = tick - left.oldest > tick - right.oldest ? left.oldest : right.oldest;
    }
    return left;
}

void fa__space_gap_give(fa__space_state *state, fa__section *section, size_t index, size_t units,
                        fa__warmth warmth) {
    fa__run *runs = section->runs;
    if (index + units < section->top && runs[index + units].kind == FA__RUN_FREE) {
        fa__run *right = &runs[index + units];
        fa__space_gap_unlink(state, right);
        warmth = warmth_join(warmth, units, fa__space_gap_of(right)->warmth, state->tick);
        units += right->units;
    }
    if (index > section->start && runs[index - 1].kind == FA__RUN_FREE) {
        size_t left_units = runs[index - 1].units;
        fa__run *left = &runs[index - left_units];
        fa__space_gap_unlink(state, left);
        warmth = warmth_join(fa__space_gap_of(left)->warmth, left_units, warmth, state->tick);
        units += left_units;
        index -= left_units;
    }
    gap_make(state, section, index, units, warmth);
}

// Finding -----------------------------------------------------------------------------------------

bool fa__space_gap_fits(const fa__run *gap, size_t units, size_t align, size_t *offset) {
    size_t skipped = 0;
    if (align > FA__UNIT) {
        skipped = (size_t)(0 - (uintptr_t)gap->ptr) & (align - 1);
        skipped >>= FA__UNIT_SHIFT;
    }
    *offset = skipped;
    return skipped <= gap->units && units <= gap->units - skipped;
}

// Where in a gap to take them from so that little has to be committed: at its start, at its end, or
// where what is committed starts. `*warm` is how many are committed there.
static size_t choose_offset(fa__run *gap, size_t units, size_t *warm) {
    fa__warmth warmth = fa__space_gap_of(gap)->warmth;
    size_t behind = gap->units - units;
    *warm = fa__units_warm(gap, units);
    if (*warm == units || warmth.units == 0) {
        return 0;
    }
    size_t inside = warmth.first;
    for (size_t looks = LOOK_MAX; looks > 0 && !gap[inside].is_committed; looks--) {
        inside += 1; // There is one: it ends.
    }
    size_t offset = 0;
    const size_t places[2] = {inside < behind ? inside : behind, behind};
    for (size_t i = 0; i < 2; i++) {
        size_t warm_there = fa__units_warm(gap + places[i], units);
        if (warm_there > *warm) {
            *warm = warm_there;
            offset = places[i];
        }
    }
    return offset;
}

// Of the gaps that changed last, one that need not be committed although it is not hot as a whole.
static fa__run *find_warm(const fa__space_state *state, size_t units, size_t *offset) {
    fa__run *gap = state->warm_newest;
    for (unsigned i = 0; gap != NULL && i < LOOK_WARM; i++) {
        if (gap->units >= units && fa__space_gap_of(gap)->warmth.units >= units) {
            size_t warm = 0;
            *offset = choose_offset(gap, units, &warm);
            if (warm == units) {
                return gap;
            }
        }
        gap = fa__space_gap_of(gap)->next_warm;
    }
    return NULL;
}

static fa__run *find_in(fa__space_state *state, bool hot, size_t units, size_t align,
                        size_t *offset) {
    uint64_t filled = state->filled[hot];
    for (unsigned bin = fa__space_gap_bin(units); bin < FA__BINS && filled >> bin != 0; bin++) {
        fa__run *gap = state->bins[hot][bin];
        for (unsigned i = 0; gap != NULL && i < LOOK_MAX; i++) {
            if (fa__space_gap_fits(gap, units, align, offset)) {
                return gap;
            }
            gap = fa__space_gap_of(gap)->next;
        }
    }
    return NULL;
}

fa__run *fa__space_gap_find(fa__space_state *state, size_t units, size_t align, size_t *offset) {
    fa__run *gap = find_in(state, true, units, align, offset);
    if (gap == NULL && align <= FA__UNIT) {
        gap = find_warm(state, units, offset);
    }
    if (gap == NULL) {
        gap = find_in(state, false, units, align, offset);
        if (gap != NULL && align <= FA__UNIT) {
            size_t warm = 0;
            *offset = choose_offset(gap, units, &warm);
        }
    }
    return gap;
}

// Taking ------------------------------------------------------------------------------------------

// The stretch of uncommitted units at or after `from`; false when there is none before `end`.
static bool next_cold(const fa__run *runs, size_t from, size_t end, size_t *start, size_t *stop) {
    while (from < end && runs[from].is_committed) {
        from += 1;
    }
    *start = from;
    while (from < end && !runs[from].is_committed) {
        from += 1;
    }
    *stop = from;
    return *start != *stop;
}

static void set_committed(fa__space_state *state, fa__section *section, size_t index, size_t units,
                          bool is_committed) {
    for (size_t i = index; i < index + units; i++) {
        section->runs[i].is_committed = is_committed;
    }
    section->committed += is_committed ? units : 0 - units;
    fa__store(&state->committed, fa__load(&state->committed) + (is_committed ? units : 0 - units));
}

// Commits those of the units that are not: one call for each stretch of them. All or none.
static bool units_commit(fa__space_state *state, fa__section *section, size_t index, size_t units,
                         fa__denial *denial) {
    fa__pages *pages = state->space.pages;
    size_t end = index + units;
    size_t start = 0;
    size_t stop = index;
    bool worked = true;
    while (worked && next_cold(section->runs, stop, end, &start, &stop)) {
        worked = fa__pages_commit(pages, section->base + fa__units_bytes(start),
                                  fa__units_bytes(stop - start), denial);
    }
    // They are marked only now, so that the same walk finds what has to be undone.
    size_t reached = worked ? end : start;
    stop = index;
    while (next_cold(section->runs, stop, reached, &start, &stop)) {
        if (worked || !state->can_decommit) {
            set_committed(state, section, start, stop - start, true);
        } else {
            fa__pages_decommit(pages, section->base + fa__units_bytes(start),
                               fa__units_bytes(stop - start));
        }
    }
    return worked;
}

// Counts anew what is committed of a gap, after a commit that could not be undone.
static void gap_recount(fa__space_state *state, fa__run *gap) {
    fa__space_gap_unlink(state, gap);
    fa__space_gap_of(gap)->warmth =
        (fa__warmth){.units = (uint32_t)fa__units_warm(gap, gap->units), .oldest = state->tick};
    fa__space_gap_link(state, gap);
}

bool fa__space_gap_take(fa__space_state *state, fa__section *section, fa__run *gap, size_t offset,
                        size_t units, fa__denial *denial) {
    size_t index = (size_t)(gap - section->runs);
    size_t behind = gap->units - offset - units;
    fa__warmth all = fa__space_gap_of(gap)->warmth;
    size_t taken = all.units == gap->units ? units : fa__units_warm(gap + offset, units);
    if (taken != units && !units_commit(state, section, index + offset, units, denial)) {
        if (!state->can_decommit) {
            gap_recount(state, gap);
        }
        return false;
    }
    fa__space_gap_unlink(state, gap);
    size_t left = behind == 0 ? all.units - taken : fa__units_warm(gap, offset);
    size_t right = all.units - taken - left;
    if (offset != 0) {
        fa__warmth warmth = {(uint32_t)left, all.first, all.oldest};
        gap_make(state, section, index, offset, warmth);
    }
    if (behind != 0) {
        size_t first = all.first > offset + units ? all.first - (offset + units) : 0;
        fa__warmth warmth = {(uint32_t)right, (uint32_t)first, all.oldest};
        gap_make(state, section, index + offset + units, behind, warmth);
    }
    return true;
}

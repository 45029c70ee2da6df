// Giving back what has long been unused.
//
//   tick        5            6            7
//   unit        | used | free ........... |        freed at tick 5: goes back at tick 7, when it
//                      ^ idle_since = 5            has been free for the whole step from 6 to 7
//
// Gaps with anything committed are looked at one after the other, the one that changed longest ago
// first; one that keeps something goes to the other end of the list, so that each gets its turn
// however little is given back at a time. A further section that is free goes back whole. Without
// decommit that is all that can go back.
#include "space_state.h"

#define STEPS_IDLE 2u       // Ticks after which unused memory goes back.
#define LOOKS_MORE 64u      // Gaps that a tick looks at beyond
#define LOOKS_PER_UNIT 4u   // this many for each unit it may give back.
#define TRIM_UNITS 16u      // Given back between two looks at the clock,
#define TRIM_UNITS_MAX 256u // or, without a time limit, between two releases of the lock.

// Decommits units of a gap that have been free for `age` ticks, at most `most`. Returns how many.
static size_t gap_cool(fa__space_state *state, fa__section *section, fa__run *gap, uint32_t age,
                       size_t most) {
    fa__warmth before = fa__space_gap_of(gap)->warmth;
    fa__warmth kept = {.units = 0, .first = 0, .oldest = state->tick};
    size_t given = 0;
    size_t i = before.first;
    fa__space_gap_unlink(state, gap);
    while (kept.units + given < before.units && given < most) {
        size_t start = i;
        while (i < gap->units && given + (i - start) < most && gap[i].is_committed &&
               state->tick - gap[i].idle_since >= age) {
            gap[i].is_committed = false;
            i += 1;
        }
        if (i != start) {
            char *ptr = gap->ptr + fa__units_bytes(start);
            fa__pages_decommit(state->space.pages, ptr, fa__units_bytes(i - start));
            given += i - start;
            continue;
        }
        if (gap[i].is_committed) {
            kept.first = kept.units == 0 ? (uint32_t)i : kept.first;
            kept.units += 1;
            kept.oldest = state->tick - gap[i].idle_since > state->tick - kept.oldest
                              ? gap[i].idle_since
                              : kept.oldest;
        }
        i += 1;
    }
    if (kept.units + given < before.units) { // It stopped early: the rest was not looked at.
        kept.first = kept.units == 0 ? (uint32_t)i : kept.first;
        kept.units = before.units - (uint32_t)given;
        kept.oldest = before.oldest;
    }
    fa__space_gap_of(gap)->warmth = kept;
    fa__space_gap_link(state, gap);
    section->committed -= given;
    fa__shared_sub(&state->committed, given);
    return given;
}

// A further section that is free and has been for `age` ticks.
static bool is_idle(const fa__space_state *state, const fa__section *section, uint32_t age) {
    return section->bookkeeping != 0 && section->used == 0 &&
           state->tick - section->idle_since >= age;
}

static size_t section_give(fa__space_state *state, fa__section *section, size_t *most) {
    *most -= *most < section->committed ? *most : section->committed;
    return fa__section_release(state, section);
}

// Gives back what has been free for `age` ticks of the gap that changed longest ago, and takes the
// units off `*most`. Returns bytes. A section that is free keeps something until it goes: its last
// units were freed when it became idle.
static size_t oldest_cool(fa__space_state *state, uint32_t age, size_t *most) {
    fa__run *gap = state->warm_oldest;
    fa__section *section = fa__section_of_run(state, gap);
    if (is_idle(state, section, age)) {
        return section_give(state, section, most);
    }
    if (state->tick - fa__space_gap_of(gap)->warmth.oldest < age) {
        fa__space_gap_refresh(state, gap);
        return 0;
    }
    size_t given = gap_cool(state, section, gap, age, *most);
    *most -= given;
    return fa__units_bytes(given);
}

// The same without decommit: sections only.
static size_t sections_cool(fa__space_state *state, uint32_t age, size_t *most) {
    size_t bytes = 0;
    for (size_t i = state->place_count; i > 0 && *most > 0; i--) {
        fa__section *section = state->places[i - 1].section;
        if (is_idle(state, section, age)) {
            bytes += section_give(state, section, most);
        }
    }
    return bytes;
}

size_t fa__idle_give_all(fa__space_state *state) {
    size_t most = SIZE_MAX;
    size_t bytes = 0;
    while (state->can_decommit && state->warm_oldest != NULL) {
        bytes += oldest_cool(state, 0, &most);
    }
    return state->can_decommit ? bytes : sections_cool(state, 0, &most);
}

size_t fa__space_tick(fa__space *space, size_t max_units) {
    fa__space_state *state = fa__space_state_of(space);
    size_t bytes = 0;
    size_t most = max_units;
    fa__os_mutex_lock(&space->lock);
    state->tick += 1;
    if (state->can_decommit) {
        size_t looks = state->warm_count;
        if (looks > LOOKS_MORE && (looks - LOOKS_MORE) / LOOKS_PER_UNIT > max_units) {
            looks = LOOKS_MORE + LOOKS_PER_UNIT * max_units;
        }
        for (; looks > 0 && most > 0 && state->warm_oldest != NULL; looks--) {
            bytes += oldest_cool(state, STEPS_IDLE, &most);
        }
    } else {
        bytes = sections_cool(state, STEPS_IDLE, &most);
    }
    fa__os_mutex_unlock(&space->lock);
    return bytes;
}

// Whether something is left that a trim could give back.
static bool has_idle(const fa__space_state *state) {
    if (state->can_decommit) {
        return state->warm_oldest != NULL;
    }
    for (size_t i = 0; i < state->place_count; i++) {
        if (is_idle(state, state->places[i].section, 0)) {
            return true;
        }
    }
    return false;
}

bool fa__space_trim(fa__space *space, uint64_t until_ns, size_t *returned) {
    fa__space_state *state = fa__space_state_of(space);
    bool has_end = until_ns != UINT64_MAX;
    bool is_left = true;
    size_t bytes = 0;
    while (is_left) {
        bool is_late = has_end && fa__os_clock_ns() >= until_ns;
        fa__os_mutex_lock(&space->lock);
        is_left = has_idle(state);
        if (is_left && !is_late) {
            size_t most = has_end ? TRIM_UNITS : TRIM_UNITS_MAX;
            bytes +=
                state->can_decommit ? oldest_cool(state, 0, &most) : sections_cool(state, 0, &most);
        }
        fa__os_mutex_unlock(&space->lock);
        if (is_late) {
            break;
        }
    }
    if (returned != NULL) {
        *returned = bytes;
    }
    return !is_left;
}

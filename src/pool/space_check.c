// Checks the whole of a space against what the other files promise of it: space_gaps.c has the
// picture of the bins, space_sections.c that of the sections.
#include "space_state.h"

// What a walk over the sections adds up.
typedef struct sums {
    size_t used;
    size_t free;
    size_t committed;
    size_t gaps;
    size_t warm_gaps;
} sums;

// What is said to be committed of a gap is.
static bool is_warmth_right(fa__space_state *state, fa__run *gap) {
    fa__warmth warmth = fa__space_gap_of(gap)->warmth;
    if (fa__units_warm(gap, gap->units) != warmth.units) {
        return false;
    }
    for (size_t i = 0; i < gap->units; i++) {
        bool is_old = state->tick - gap[i].idle_since > state->tick - warmth.oldest;
        if (gap[i].is_committed && (i < warmth.first || (is_old && state->can_decommit))) {
            return false;
        }
    }
    return true;
}

// It is in the lists that it belongs to: both neighbours know it.
static bool is_listed(fa__space_state *state, fa__run *gap) {
    const fa__space_gap *body = fa__space_gap_of(gap);
    fa__run *const *head =
        &state->bins[body->warmth.units == gap->units][fa__space_gap_bin(gap->units)];
    bool in_bin = body->prev != NULL ? fa__space_gap_of(body->prev)->next == gap : *head == gap;
    in_bin = in_bin && (body->next == NULL || fa__space_gap_of(body->next)->prev == gap);
    if (body->warmth.units == 0) {
        return in_bin;
    }
    bool in_warm = body->prev_warm != NULL ? fa__space_gap_of(body->prev_warm)->next_warm == gap
                                           : state->warm_newest == gap;
    return in_bin && in_warm &&
           (body->next_warm != NULL ? fa__space_gap_of(body->next_warm)->prev_warm == gap
                                    : state->warm_oldest == gap);
}

static bool gap_check(fa__space_state *state, const fa__section *section, fa__run *gap) {
    size_t index = (size_t)(gap - section->runs);
    if (gap->owner != NULL || gap[gap->units - 1].units != gap->units ||
        (index + gap->units < section->top && gap[gap->units].kind == FA__RUN_FREE)) {
        return false;
    }
    for (size_t i = 0; i < gap->units; i++) {
        if (gap[i].kind != FA__RUN_FREE || gap[i].to_head != 0 ||
            fa__load(&section->owners[index + i]) != 0) {
            return false;
        }
    }
    return is_warmth_right(state, gap) && is_listed(state, gap);
}

static bool run_check(const fa__run *run) {
    for (size_t i = 0; i < run->units; i++) {
        if (run[i].kind != run->kind || run[i].to_head != i || !run[i].is_committed) {
            return false;
        }
    }
    return true;
}

// Walks a section from run to run.
static bool section_check(fa__space_state *state, const fa__section *section, sums *all) {
    size_t used = 0;
    size_t committed = 0;
    size_t units = 0;
    for (size_t at = section->start; at < section->top; at += units) {
        fa__run *run = &section->runs[at];
        units = run->units;
        bool is_free = run->kind == FA__RUN_FREE;
        if (units == 0 || units > section->top - at ||
            run->ptr != section->base + fa__units_bytes(at) ||
            !(is_free ? gap_check(state, section, run) : run_check(run))) {
            return false;
        }
        used += is_free ? 0 : units;
        committed += fa__units_warm(run, units);
        all->gaps += is_free;
        all->warm_gaps += is_free && fa__space_gap_of(run)->warmth.units != 0;
    }
    all->used += used;
    all->free += section->top > section->start ? section->top - section->start - used : 0;
    all->committed += committed;
    return used == section->used && committed == section->committed;
}

// The bins hold as many gaps as there are, each list ends, and the bits say which are not empty.
static bool bins_check(const fa__space_state *state, size_t gaps) {
    size_t listed = 0;
    for (unsigned hot = 0; hot < 2; hot++) {
        for (unsigned bin = 0; bin < FA__BINS; bin++) {
            fa__run *gap = state->bins[hot][bin];
            if (((state->filled[hot] >> bin & 1) != 0) != (gap != NULL)) {
                return false;
            }
            for (; gap != NULL && listed <= gaps; gap = fa__space_gap_of(gap)->next) {
                listed += 1;
            }
        }
    }
    return listed == gaps && state->gap_count == gaps;
}

static bool warm_check(const fa__space_state *state, size_t warm_gaps) {
    size_t listed = 0;
    for (fa__run *gap = state->warm_newest; gap != NULL && listed <= warm_gaps;
         gap = fa__space_gap_of(gap)->next_warm) {
        listed += 1;
    }
    return listed == warm_gaps && state->warm_count == warm_gaps;
}

// Sorted by address, apart from each other and from the main section; a free one has something to
// give back, or it would never be looked at.
static bool place_check(const fa__space_state *state, size_t index) {
    const fa__section_place *place = &state->places[index];
    const fa__section *section = place->section;
    return place->base == (uintptr_t)section->base && place->first == section->first &&
           place->end - place->base == fa__units_bytes(section->units) &&
           (index == 0 || place[-1].end <= place->base) && section->top == section->units &&
           section->first >= (uint64_t)state->main.units * (FA__UNIT / FA__GRANULE_BYTES) &&
           section->first < state->granules && (section->used != 0 || section->committed != 0);
}

static bool check_locked(fa__space_state *state) {
    sums all = {0};
    const fa__section *main = &state->main;
    if (fa__load(&state->space.top) != fa__units_bytes(main->top) || main->top > main->units ||
        main->top * sizeof(fa__run) > state->runs.committed ||
        main->top * sizeof(fa__u32) > state->owners.committed ||
        !section_check(state, main, &all)) {
        return false;
    }
    for (size_t i = 0; i < state->place_count; i++) {
        if (!place_check(state, i) || !section_check(state, state->places[i].section, &all)) {
            return false;
        }
    }
    return bins_check(state, all.gaps) && warm_check(state, all.warm_gaps) &&
           all.used == fa__load(&state->used) && all.free == fa__load(&state->free) &&
           all.committed == fa__load(&state->committed);
}

bool fa__space_check(fa__space *space) {
    fa__os_mutex_lock(&space->lock);
    bool holds = check_locked(fa__space_state_of(space));
    fa__os_mutex_unlock(&space->lock);
    return holds;
}

// Runs of units: acquired, released, resized, found. See space.h for the picture.
//
// A request is met from a gap that is committed, then from any other, then at the top of the main
// section, then from a further section. When memory is refused, everything that is free is given
// back and the request is tried once more: what lies unused never makes one fail.
//
// Who writes what: under the lock, and only to units of a gap or of the run that is acquired,
// resized or released. So the units of a run in use may be read without the lock by whoever knows
// that it is in use.
#include "space_state.h"

#include <string.h>

#define QUIET_UNITS ((size_t)64) // Given back at most in a quiet period.
#define CLOCK_MISSED_MAX 16u     // Quiet periods of others until one of them moves the clock.

// Making and ending -------------------------------------------------------------------------------

// The clock moves once in a quiet period, however many threads have one: those of one thread count,
// and another takes its place when it has none any more.
static void on_quiet(fa_context *ctx, fa__thread *thread) {
    fa__space *space = fa__load_acquire(&ctx->space);
    fa__space_state *state = fa__space_state_of(space);
    uint64_t id = fa__os_thread_id();
    (void)thread;
    fa__os_mutex_lock(&space->lock);
    state->clock_missed = state->clock_thread == id ? 0 : state->clock_missed + 1;
    if (state->clock_thread == 0 || state->clock_missed > CLOCK_MISSED_MAX) {
        state->clock_thread = id;
        state->clock_missed = 0;
    }
    bool is_step = state->clock_thread == id;
    fa__os_mutex_unlock(&space->lock);
    if (is_step) {
        (void)fa__space_tick(space, QUIET_UNITS);
    }
}

static bool on_trim(fa_context *ctx, fa__thread *thread, uint64_t until_ns) {
    (void)thread;
    return fa__space_trim(fa__load_acquire(&ctx->space), until_ns, NULL);
}

static size_t on_context_destroy(fa_context *ctx) {
    fa__space_destroy(ctx);
    return 0;
}

// Whoever frees into the space does so before: its tier is the first, and taken down last.
static const fa__tier tier = {
    .context_destroy = on_context_destroy, .quiet = on_quiet, .trim = on_trim};

static fa__space *space_make(fa_context *ctx, fa__denial *denial) {
    fa__space_state *state = fa__meta_alloc(ctx->pages, sizeof *state, denial);
    if (state == NULL || !fa__os_mutex_init(&state->space.lock)) {
        return NULL;
    }
    state->space.pages = ctx->pages;
    state->space.state = state;
    state->can_decommit = fa__pages_can_commit(ctx->pages) && ctx->pages->backend.decommit != NULL;
    state->is_huge = ctx->config.huge_pages && ctx->pages->backend.advise_huge != NULL;
    fa__main_open(state);
    return &state->space;
}

fa__space *fa__space_get(fa_context *ctx, fa__denial *denial) {
    fa__space *space = fa__load_acquire(&ctx->space);
    if (FA_LIKELY(space != NULL)) {
        return space;
    }
    fa__denial ignored;
    fa__os_mutex_lock(&ctx->lock);
    space = fa__load(&ctx->space);
    if (space == NULL) {
        space = space_make(ctx, denial != NULL ? denial : &ignored);
        fa__store_release(&ctx->space, space);
        if (space != NULL) {
            fa__tier_register(ctx, FA__TIER_SPACE, &tier);
        }
    }
    fa__os_mutex_unlock(&ctx->lock);
    return space;
}

void fa__space_destroy(fa_context *ctx) {
    fa__space *space = fa__load_acquire(&ctx->space);
    if (space == NULL) {
        return;
    }
    fa__store_release(&ctx->space, NULL);
    fa__sections_close(fa__space_state_of(space));
    fa__os_mutex_destroy(&space->lock);
}

// Acquiring ---------------------------------------------------------------------------------------

// Marks units that were taken out of a gap as part of a run: units `from` to `to` of it.
static void run_mark(fa__run *run, size_t from, size_t to, uint8_t kind) {
    for (size_t i = from; i < to; i++) {
        run[i].to_head = (uint32_t)i;
        run[i].serial = 0;
        run[i].kind = kind;
    }
}

static void count_used(fa__space_state *state, fa__section *section, size_t units) {
    section->used += units;
    fa__shared_add(&state->used, units);
    fa__shared_sub(&state->free, units);
}

static void count_freed(fa__space_state *state, fa__section *section, size_t units) {
    section->used -= units;
    section->idle_since = state->tick;
    fa__shared_sub(&state->used, units);
    fa__shared_add(&state->free, units);
}

// Takes units out of a gap where they fit; only `ptr` of the run is set. NULL and nothing changed
// when memory is refused.
static fa__run *take(fa__space_state *state, fa__run *gap, size_t offset, size_t units,
                     fa__denial *denial) {
    fa__section *section = fa__section_of_run(state, gap);
    if (!fa__space_gap_take(state, section, gap, offset, units, denial)) {
        return NULL;
    }
    count_used(state, section, units);
    fa__run *run = gap + offset;
    run->ptr = section->base + fa__units_bytes((size_t)(run - section->runs));
    return run;
}

// The end of the main section, and where the gap there starts, if there is one.
static size_t main_end(const fa__section *main) {
    return main->top > main->start ? main->top : main->start;
}

static size_t main_tail(const fa__section *main) {
    size_t end = main_end(main);
    if (end == main->start || main->runs[end - 1].kind != FA__RUN_FREE) {
        return end;
    }
    return end - main->runs[end - 1].units;
}

// Takes units at the end of the main section, which grows as far as needed. Sets *is_full when it
// has no room, and returns NULL.
static fa__run *take_at_top(fa__space_state *state, size_t units, size_t align, bool *is_full,
                            fa__denial *denial) {
    fa__section *main = &state->main;
    size_t tail = main_tail(main);
    uintptr_t address = (uintptr_t)main->base + fa__units_bytes(tail);
    size_t skipped = align > FA__UNIT ? (size_t)((0 - address) & (align - 1)) : 0;
    size_t offset = skipped >> FA__UNIT_SHIFT;
    *is_full = offset > main->units - tail || units > main->units - tail - offset;
    if (*is_full) {
        return NULL;
    }
    size_t start = tail + offset;
    size_t end = start + units;
    if (end > main->top) {
        size_t from = start > main_end(main) ? start : main_end(main);
        if (!fa__main_grow(state, from, end - from, denial)) {
            return NULL;
        }
    }
    return take(state, &main->runs[tail], offset, units, denial);
}

static fa__run *take_from_section(fa__space_state *state, size_t units, size_t align,
                                  fa__denial *denial) {
    fa__section *section = fa__section_add(state, units, align, denial);
    if (section == NULL) {
        return NULL;
    }
    fa__run *run = take(state, section->runs, 0, units, denial);
    if (run == NULL) {
        (void)fa__section_release(state, section);
    }
    return run;
}

static fa__run *take_anywhere(fa__space_state *state, size_t units, size_t align,
                              fa__denial *denial) {
    size_t offset = 0;
    fa__run *gap = fa__space_gap_find(state, units, align, &offset);
    if (gap != NULL) {
        return take(state, gap, offset, units, denial);
    }
    bool is_full = true;
    fa__run *run = NULL;
    if (state->main.base != NULL) {
        run = take_at_top(state, units, align, &is_full, denial);
    }
    return is_full ? take_from_section(state, units, align, denial) : run;
}

fa__run *fa__run_acquire(fa__space *space, size_t units, size_t align, fa__run_kind kind,
                         void *owner, fa__denial *denial) {
    fa__denial ignored = FA__DENIED_BY_BACKEND;
    denial = denial != NULL ? denial : &ignored;
    *denial = FA__DENIED_BY_BACKEND;
    if (units == 0 || units > FA__UNITS_MAX || units > SIZE_MAX >> (FA__UNIT_SHIFT + 1)) {
        return NULL;
    }
    fa__space_state *state = fa__space_state_of(space);
    fa__os_mutex_lock(&space->lock);
    fa__run *run = take_anywhere(state, units, align, denial);
    bool is_hopeless = units > space->pages->limit >> FA__UNIT_SHIFT;
    if (run == NULL && !is_hopeless && fa__idle_give_all(state) != 0) {
        run = take_anywhere(state, units, align, denial);
    }
    if (run != NULL) {
        run_mark(run, 0, units, (uint8_t)kind);
        run->owner = owner;
        run->units = (uint32_t)units;
        memset(run->body, 0, sizeof run->body);
    }
    fa__os_mutex_unlock(&space->lock);
    return run;
}

// Releasing ---------------------------------------------------------------------------------------

// The run is in use and its first unit is given: what a second release of the same run is not.
static bool is_head_in_use(const fa__run *run) {
    return run->kind != FA__RUN_FREE && run->to_head == 0;
}

// Frees units of a run from unit `from` of it to `to`.
static void give(fa__space_state *state, fa__section *section, fa__run *run, size_t from,
                 size_t to) {
    size_t index = (size_t)(run - section->runs) + from;
    for (size_t i = index; i < index + (to - from); i++) {
        section->runs[i].to_head = 0;
        section->runs[i].kind = FA__RUN_FREE;
        section->runs[i].idle_since = state->tick;
        fa__store(&section->owners[i], 0);
    }
    count_freed(state, section, to - from);
    fa__warmth warmth = {(uint32_t)(to - from), 0, state->tick};
    fa__space_gap_give(state, section, index, to - from, warmth);
}

void fa__run_release(fa__space *space, fa__run *run) {
    fa__space_state *state = fa__space_state_of(space);
    fa__os_mutex_lock(&space->lock);
    if (is_head_in_use(run)) {
        give(state, fa__section_of_run(state, run), run, 0, run->units);
    }
    fa__os_mutex_unlock(&space->lock);
}

// Resizing ----------------------------------------------------------------------------------------

// Takes `more` units behind a run. False and nothing changed when they are not free, or memory is
// refused; then *is_refused.
static bool take_behind(fa__space_state *state, fa__section *section, fa__run *run, size_t more,
                        bool *is_refused, fa__denial *denial) {
    size_t end = (size_t)(run - section->runs) + run->units;
    bool is_free = end < section->top && section->runs[end].kind == FA__RUN_FREE;
    size_t free = is_free ? section->runs[end].units : 0;
    if (free < more) {
        bool is_last = end + free == section->top && section == &state->main;
        if (!is_last || more > section->units - end) {
            return false;
        }
        if (!fa__main_grow(state, section->top, more - free, denial)) {
            *is_refused = true;
            return false;
        }
    }
    *is_refused = take(state, &section->runs[end], 0, more, denial) == NULL;
    return !*is_refused;
}

static bool run_grow(fa__space_state *state, fa__section *section, fa__run *run, size_t units,
                     fa__denial *denial) {
    size_t present = run->units;
    bool is_refused = false;
    bool worked = take_behind(state, section, run, units - present, &is_refused, denial);
    if (is_refused && fa__idle_give_all(state) != 0) {
        worked = take_behind(state, section, run, units - present, &is_refused, denial);
    }
    if (!worked) {
        return false;
    }
    run_mark(run, present, units, run->kind);
    size_t index = (size_t)(run - section->runs);
    uint32_t number = fa__load(&section->owners[index]);
    for (size_t i = index + present; i < index + units; i++) {
        fa__store(&section->owners[i], number);
    }
    run->units = (uint32_t)units;
    return true;
}

bool fa__run_resize(fa__space *space, fa__run *run, size_t units, fa__denial *denial) {
    fa__denial ignored = FA__DENIED_BY_BACKEND;
    denial = denial != NULL ? denial : &ignored;
    *denial = FA__DENIED_BY_BACKEND;
    if (units == 0 || units > FA__UNITS_MAX) {
        return false;
    }
    fa__space_state *state = fa__space_state_of(space);
    bool worked = true;
    fa__os_mutex_lock(&space->lock);
    if (!is_head_in_use(run)) {
        worked = false;
    } else if (units > run->units) {
        worked = run_grow(state, fa__section_of_run(state, run), run, units, denial);
    } else if (units < run->units) {
        size_t before = run->units;
        run->units = (uint32_t)units;
        give(state, fa__section_of_run(state, run), run, units, before);
    }
    fa__os_mutex_unlock(&space->lock);
    return worked;
}

// Finding -----------------------------------------------------------------------------------------

fa__run *fa__run_find_slow(fa__space *space, const void *ptr) {
    fa__space_state *state = fa__space_state_of(space);
    fa__run *run = NULL;
    fa__os_mutex_lock(&space->lock);
    const fa__section *section = fa__section_of(state, ptr);
    if (section != NULL) {
        run = &section->runs[((uintptr_t)ptr - (uintptr_t)section->base) >> FA__UNIT_SHIFT];
        run = run->kind != FA__RUN_FREE ? run - run->to_head : NULL;
    }
    fa__os_mutex_unlock(&space->lock);
    return run;
}

uint64_t fa__space_granule_slow(fa__space *space, const void *ptr) {
    fa__space_state *state = fa__space_state_of(space);
    uint64_t granule = UINT64_MAX;
    fa__os_mutex_lock(&space->lock);
    const fa__section *section = fa__section_of(state, ptr);
    if (section != NULL) {
        granule = section->first + ((uintptr_t)ptr - (uintptr_t)section->base) / FA__GRANULE_BYTES;
    }
    fa__os_mutex_unlock(&space->lock);
    return granule;
}

char *fa__space_at_slow(fa__space *space, uint64_t granule) {
    fa__space_state *state = fa__space_state_of(space);
    uint64_t offset = 0;
    fa__os_mutex_lock(&space->lock);
    const fa__section *section = fa__section_of_granule(state, granule, &offset);
    char *ptr = section != NULL ? section->base + (size_t)offset * FA__GRANULE_BYTES : NULL;
    fa__os_mutex_unlock(&space->lock);
    return ptr;
}

void fa__space_set_owner(fa__space *space, const fa__run *run, uint32_t number) {
    fa__space_state *state = fa__space_state_of(space);
    fa__os_mutex_lock(&space->lock);
    if (is_head_in_use(run)) {
        const fa__section *section = fa__section_of_run(state, run);
        size_t index = (size_t)(run - section->runs);
        for (size_t i = index; i < index + run->units; i++) {
            fa__store(&section->owners[i], number);
        }
    }
    fa__os_mutex_unlock(&space->lock);
}

uint32_t fa__space_owner_slow(fa__space *space, uint64_t granule) {
    fa__space_state *state = fa__space_state_of(space);
    uint32_t number = 0;
    uint64_t offset = 0;
    fa__os_mutex_lock(&space->lock);
    const fa__section *section = fa__section_of_granule(state, granule, &offset);
    if (section != NULL) {
        number = fa__load(&section->owners[offset / (FA__UNIT / FA__GRANULE_BYTES)]);
    }
    fa__os_mutex_unlock(&space->lock);
    return number;
}

fa__space_figures fa__space_measure(fa__space *space) {
    fa__space_state *state = fa__space_state_of(space);
    fa__os_mutex_lock(&space->lock);
    fa__space_figures figures = {.used_units = fa__load(&state->used),
                                 .free_units = fa__load(&state->free),
                                 .committed_units = fa__load(&state->committed),
                                 .sections = state->place_count};
    fa__os_mutex_unlock(&space->lock);
    return figures;
}

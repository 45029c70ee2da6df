// Where the units of the space come from: the main section, which grows from the left, and further
// ones.
//
//   main     one reservation for the units, one for the runs, one for the owner numbers; all three
//            are committed as `top` grows
//   further  | units ...................... |   described from the start, committed as needed
//            | section | owners | runs |        another block, so that no overrun reaches it
//
// A backend without commit has no main section; there a further one is committed from the start.
#include "space_state.h"

#include <string.h>

#if SIZE_MAX > UINT32_MAX
#define MAIN_BYTES ((size_t)256 << 30)
#define MAIN_LEAST ((size_t)64 << 20)
#else
#define MAIN_BYTES ((size_t)256 << 20)
#define MAIN_LEAST ((size_t)16 << 20)
#endif
#define MAIN_ALIGN ((size_t)2 << 20) // So that large pages fit.
#define RUNS_STEP ((size_t)16 << 10) // Bytes of runs that are committed at a time.
#define AHEAD_UNITS ((size_t)16)     // Committed at a time at the top of a space
#define AHEAD_FROM ((size_t)64)      // of this many,
#define AHEAD_ROOM ((size_t)64)      // while the memory limit is this many units away.
#define SECTION_UNITS ((size_t)16)   // The least of a further section, if there is room for it.
#define SECTION_MOST ((size_t)1024)  // The most it gets unasked.
#define PLACES_FIRST ((size_t)32)
#define GRANULES_PER_UNIT (FA__UNIT / FA__GRANULE_BYTES)

static size_t round_up(size_t size, size_t step) {
    return (size + (step - 1)) & ~(step - 1);
}

// The main section --------------------------------------------------------------------------------

static bool array_reserve(fa__pages *pages, fa__array *array, size_t size, size_t step) {
    *array = (fa__array){.reserved = round_up(size, step)};
    array->base = fa__pages_reserve(pages, array->reserved, pages->backend.page_size);
    return array->base != NULL;
}

static void array_release(fa__pages *pages, fa__array *array) {
    if (array->base != NULL) {
        fa__pages_release(pages, array->base, array->reserved, array->committed);
    }
    *array = (fa__array){0};
}

// Makes sure that the first `size` bytes are committed. Nothing has changed when it returns false.
static bool array_commit(fa__pages *pages, fa__array *array, size_t size, fa__denial *denial) {
    if (size <= array->committed) {
        return true;
    }
    size_t more = size - array->committed;
    if (!fa__pages_commit(pages, array->base + array->committed, more, denial)) {
        return false;
    }
    array->committed = size;
    return true;
}

// Gives back what is committed beyond `size` bytes, where the backend can.
static void array_shorten(const fa__space_state *state, fa__array *array, size_t size) {
    if (state->can_decommit && array->committed > size) {
        fa__pages_decommit(state->space.pages, array->base + size, array->committed - size);
        array->committed = size;
    }
}

static size_t runs_step(const fa__pages *pages) {
    size_t page = pages->backend.page_size;
    return RUNS_STEP > page ? RUNS_STEP : page;
}

static void main_release(fa__space_state *state) {
    fa__pages *pages = state->space.pages;
    fa__section *main = &state->main;
    if (main->base != NULL) {
        fa__pages_release(pages, main->base, fa__units_bytes(main->units),
                          fa__units_bytes(main->committed));
    }
    array_release(pages, &state->runs);
    array_release(pages, &state->owners);
    *main = (fa__section){0};
}

static bool main_reserve(fa__space_state *state, size_t size) {
    fa__pages *pages = state->space.pages;
    fa__section *main = &state->main;
    size_t units = size >> FA__UNIT_SHIFT;
    main->units = units;
    main->start = 1; // Number 0 stays without a meaning.
    main->base = fa__pages_reserve(pages, size, MAIN_ALIGN);
    if (main->base == NULL ||
        !array_reserve(pages, &state->runs, units * sizeof(fa__run), runs_step(pages)) ||
        !array_reserve(pages, &state->owners, units * sizeof(fa__u32), pages->backend.page_size)) {
        main_release(state);
        return false;
    }
    main->runs = (fa__run *)(void *)state->runs.base;
    main->owners = (fa__u32 *)(void *)state->owners.base;
    return true;
}

static void main_find_room(fa__space_state *state) {
    size_t size = MAIN_BYTES;
    while (size >= MAIN_LEAST && !main_reserve(state, size)) {
        size /= 2;
    }
    if (size < MAIN_BYTES && size / 4 >= MAIN_LEAST) {
        // Address space is scarce: most of what is left stays free for the rest of the program.
        main_release(state);
        (void)main_reserve(state, size / 4);
    }
}

void fa__main_open(fa__space_state *state) {
    if (fa__pages_can_commit(state->space.pages)) {
        main_find_room(state);
    }
    state->space.base = state->main.base;
    state->space.runs = state->main.runs;
    state->space.owners = state->main.owners;
    size_t numbered = state->main.base != NULL ? state->main.units : 1;
    state->granules = (uint64_t)numbered * GRANULES_PER_UNIT;
    if (state->is_huge && state->main.base != NULL) {
        const fa_backend *backend = &state->space.pages->backend;
        backend->advise_huge(backend->self, state->main.base, fa__units_bytes(state->main.units));
    }
}

// Commits units from `from` on, and what describes all below `top`. All or nothing.
static bool main_commit(fa__space_state *state, size_t from, size_t top, fa__denial *denial) {
    fa__pages *pages = state->space.pages;
    size_t runs_before = state->runs.committed;
    size_t owners_before = state->owners.committed;
    size_t runs = round_up(top * sizeof(fa__run), runs_step(pages));
    size_t owners = round_up(top * sizeof(fa__u32), pages->backend.page_size);
    if (top - from > (pages->limit - fa__load(&pages->committed)) >> FA__UNIT_SHIFT) {
        *denial = FA__DENIED_BY_LIMIT; // Before any call is made for nothing.
        return false;
    }
    if (array_commit(pages, &state->runs, runs, denial) &&
        array_commit(pages, &state->owners, owners, denial) &&
        fa__pages_commit(pages, state->main.base + fa__units_bytes(from),
                         fa__units_bytes(top - from), denial)) {
        return true;
    }
    array_shorten(state, &state->runs, runs_before);
    array_shorten(state, &state->owners, owners_before);
    return false;
}

// Where to commit to, beyond `top`, so that the next units need no call.
static size_t top_ahead(const fa__space_state *state, size_t from, size_t top) {
    const fa__pages *pages = state->space.pages;
    size_t ahead = top;
    if (state->is_huge) {
        ahead = round_up(top, MAIN_ALIGN >> FA__UNIT_SHIFT);
    } else if (top - from < AHEAD_UNITS && from >= AHEAD_FROM) {
        ahead = from + AHEAD_UNITS;
    }
    size_t room = pages->limit - fa__load(&state->space.pages->committed);
    return ahead <= state->main.units && room >= fa__units_bytes(AHEAD_ROOM) ? ahead : top;
}

// Describes the units between two tops as free; those before `from` are not committed.
static void main_describe(fa__space_state *state, size_t before, size_t from, size_t top) {
    fa__section *main = &state->main;
    memset(&main->runs[before], 0, (top - before) * sizeof(fa__run));
    for (size_t i = before; i < top; i++) {
        main->runs[i].is_committed = i >= from;
        main->runs[i].idle_since = state->tick;
        fa__store(&main->owners[i], 0);
    }
    main->top = top;
    main->committed += top - from;
    fa__shared_add(&state->committed, top - from);
}

bool fa__main_grow(fa__space_state *state, size_t from, size_t units, fa__denial *denial) {
    fa__section *main = &state->main;
    size_t before = main->top;
    size_t first = before > main->start ? before : main->start;
    size_t top = from + units;
    size_t ahead = top_ahead(state, from, top);
    if (ahead != top && main_commit(state, from, ahead, denial)) {
        top = ahead;
    } else if (!main_commit(state, from, top, denial)) {
        return false;
    }
    main_describe(state, before, from, top);
    fa__shared_add(&state->free, top - first);
    fa__warmth warmth = {(uint32_t)(top - from), (uint32_t)(from - first), state->tick};
    fa__space_gap_give(state, main, first, top - first, warmth);
    fa__store_release(&state->space.top, fa__units_bytes(top));
    return true;
}

// Places ------------------------------------------------------------------------------------------

// The index of the last place that starts at or before an address, plus one.
static size_t place_after(const fa__space_state *state, uintptr_t address) {
    size_t low = 0;
    size_t high = state->place_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (state->places[middle].base <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

fa__section *fa__section_of(fa__space_state *state, const void *ptr) {
    uintptr_t address = (uintptr_t)ptr;
    if (state->main.base != NULL &&
        address - (uintptr_t)state->main.base < fa__units_bytes(state->main.top)) {
        return &state->main;
    }
    size_t after = place_after(state, address);
    if (after == 0 || address >= state->places[after - 1].end) {
        return NULL;
    }
    return state->places[after - 1].section;
}

fa__section *fa__section_of_run(fa__space_state *state, const fa__run *run) {
    uintptr_t offset = (uintptr_t)run - (uintptr_t)state->main.runs;
    if (state->main.runs != NULL && offset < state->main.top * sizeof(fa__run)) {
        return &state->main;
    }
    return fa__section_of(state, run->ptr);
}

fa__section *fa__section_of_granule(fa__space_state *state, uint64_t granule, uint64_t *offset) {
    if (granule < (uint64_t)state->main.top * GRANULES_PER_UNIT) {
        if (granule < (uint64_t)state->main.start * GRANULES_PER_UNIT) {
            return NULL;
        }
        *offset = granule;
        return &state->main;
    }
    for (size_t i = 0; i < state->place_count; i++) {
        fa__section *section = state->places[i].section;
        *offset = granule - state->places[i].first;
        if (*offset < (uint64_t)section->units * GRANULES_PER_UNIT) {
            return section;
        }
    }
    return NULL;
}

// Makes room for one more place. The array is bookkeeping memory: the old one is not given back,
// but as each is twice the one before, all of them are less than the present one.
static bool places_grow(fa__space_state *state, fa__denial *denial) {
    if (state->place_count < state->place_room) {
        return true;
    }
    size_t room = state->place_room == 0 ? PLACES_FIRST : 2 * state->place_room;
    fa__section_place *places = fa__meta_alloc(state->space.pages, room * sizeof *places, denial);
    if (places == NULL) {
        return false;
    }
    for (size_t i = 0; i < state->place_count; i++) {
        places[i] = state->places[i];
    }
    state->places = places;
    state->place_room = room;
    return true;
}

static void place_add(fa__space_state *state, fa__section *section) {
    uintptr_t base = (uintptr_t)section->base;
    size_t at = place_after(state, base);
    memmove(&state->places[at + 1], &state->places[at],
            (state->place_count - at) * sizeof *state->places);
    state->places[at] = (fa__section_place){.base = base,
                                            .end = base + fa__units_bytes(section->units),
                                            .first = section->first,
                                            .section = section};
    state->place_count += 1;
}

static void place_remove(fa__space_state *state, const fa__section *section) {
    size_t at = place_after(state, (uintptr_t)section->base) - 1;
    state->place_count -= 1;
    memmove(&state->places[at], &state->places[at + 1],
            (state->place_count - at) * sizeof *state->places);
}

// Further sections --------------------------------------------------------------------------------

// Memory on its own, committed if `is_committed` or if there is no other.
static char *block_obtain(fa__pages *pages, size_t size, size_t align, bool is_committed,
                          fa__denial *denial) {
    if (!fa__pages_can_commit(pages)) {
        fa__chunk chunk;
        return fa__chunk_acquire(pages, size, align, &chunk, denial) ? chunk.ptr : NULL;
    }
    char *ptr = fa__pages_reserve(pages, size, align);
    if (ptr == NULL) {
        *denial = FA__DENIED_BY_BACKEND;
    } else if (is_committed && !fa__pages_commit(pages, ptr, size, denial)) {
        fa__pages_release(pages, ptr, size, 0);
        ptr = NULL;
    }
    return ptr;
}

// Fills a section's block in: the section itself, owners, runs.
static fa__section *section_describe(fa__space_state *state, char *block, size_t bookkeeping,
                                     char *base, size_t units) {
    bool is_committed = !fa__pages_can_commit(state->space.pages);
    memset(block, 0, bookkeeping);
    fa__section *section = (fa__section *)(void *)block;
    size_t owners = round_up(sizeof *section, 64);
    size_t runs = round_up(owners + units * sizeof(fa__u32), 64);
    *section = (fa__section){.base = base,
                             .owners = (fa__u32 *)(void *)(block + owners),
                             .runs = (fa__run *)(void *)(block + runs),
                             .units = units,
                             .top = units,
                             .committed = is_committed ? units : 0,
                             .first = state->granules,
                             .bookkeeping = bookkeeping,
                             .idle_since = state->tick};
    for (size_t i = 0; i < units; i++) {
        section->runs[i].is_committed = is_committed;
        section->runs[i].idle_since = state->tick;
    }
    return section;
}

static fa__section *section_create(fa__space_state *state, size_t units, size_t align,
                                   fa__denial *denial) {
    fa__pages *pages = state->space.pages;
    size_t bookkeeping = sizeof(fa__section) + units * (sizeof(fa__u32) + sizeof(fa__run)) + 128;
    bookkeeping = round_up(bookkeeping, pages->backend.page_size);
    align = align > FA__UNIT ? align : FA__UNIT;
    char *base = block_obtain(pages, fa__units_bytes(units), align, false, denial);
    if (base == NULL) {
        return NULL;
    }
    char *block = block_obtain(pages, bookkeeping, pages->backend.page_size, true, denial);
    if (block == NULL) {
        bool is_committed = !fa__pages_can_commit(pages);
        fa__pages_release(pages, base, fa__units_bytes(units),
                          is_committed ? fa__units_bytes(units) : 0);
        return NULL;
    }
    fa__section *section = section_describe(state, block, bookkeeping, base, units);
    state->granules += (uint64_t)units * GRANULES_PER_UNIT;
    place_add(state, section);
    fa__shared_add(&state->committed, section->committed);
    fa__shared_add(&state->free, units);
    fa__warmth warmth = {(uint32_t)section->committed, 0, state->tick};
    fa__space_gap_give(state, section, 0, units, warmth);
    return section;
}

fa__section *fa__section_add(fa__space_state *state, size_t units, size_t align,
                             fa__denial *denial) {
    if (!places_grow(state, denial)) {
        return NULL;
    }
    size_t present = fa__load(&state->used) + fa__load(&state->free);
    size_t wish = present / 8 < SECTION_MOST ? present / 8 : SECTION_MOST;
    wish = wish > SECTION_UNITS ? wish : SECTION_UNITS;
    fa__section *section = NULL;
    if (wish > units) {
        section = section_create(state, wish, align, denial);
    }
    if (section == NULL && wish > SECTION_UNITS && SECTION_UNITS > units) {
        section = section_create(state, SECTION_UNITS, align, denial);
    }
    return section != NULL ? section : section_create(state, units, align, denial);
}

size_t fa__section_release(fa__space_state *state, fa__section *section) {
    fa__pages *pages = state->space.pages;
    size_t bookkeeping = section->bookkeeping;
    size_t units = section->units;
    size_t committed = section->committed;
    fa__space_gap_unlink(state, &section->runs[0]);
    place_remove(state, section);
    fa__shared_sub(&state->committed, committed);
    fa__shared_sub(&state->free, units);
    fa__pages_release(pages, section->base, fa__units_bytes(units), fa__units_bytes(committed));
    fa__pages_release(pages, (char *)section, bookkeeping, bookkeeping);
    return fa__units_bytes(committed) + bookkeeping;
}

void fa__sections_close(fa__space_state *state) {
    fa__pages *pages = state->space.pages;
    for (size_t i = 0; i < state->place_count; i++) {
        fa__section *section = state->places[i].section;
        size_t bookkeeping = section->bookkeeping;
        fa__pages_release(pages, section->base, fa__units_bytes(section->units),
                          fa__units_bytes(section->committed));
        fa__pages_release(pages, (char *)section, bookkeeping, bookkeeping);
    }
    main_release(state);
}

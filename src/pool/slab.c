// Slabs: where free slots lie when no thread keeps them at hand. See slab.h for the picture.
//
//   a slab's memory   | colour | free bits | side data | 64 B | slot 0 | slot 1 | ... | >= 64 B |
//
// The colour (0 to 7 cache lines, by address) keeps the first slots of all slabs from competing for
// the same cache sets. Nothing but slots lies within 64 bytes of a slot.
//
// Every slab of a source is in the list of all of them and in exactly one other:
//   SOME   has free slots here, and others that are not     NONE   has no free slot here
//   EMPTY  is wholly free: the candidates for going back
//
// Invariants under the lock: here_count = depot_count + sum of free_count;
//   slot_count + retired_count = sum of capacity; slots from `prepared` on are free here.
#include "slabs.h"

#include <string.h>

#define COLOURS 8u
#define LINE 64u

static size_t round_up(size_t size, size_t step) {
    return (size + (step - 1)) & ~(step - 1);
}

static size_t smaller(size_t left, size_t right) {
    return left < right ? left : right;
}

// Layout ------------------------------------------------------------------------------------------

static bool is_coloured(const fa__slots_desc *desc) {
    return desc->align <= LINE;
}

// Where the first of `capacity` slots can start, from the slab's memory, with the last colour.
static size_t first_slot(const fa__slots_desc *desc, size_t capacity) {
    size_t bits = round_up(capacity, 64) / 8;
    size_t colours = is_coloured(desc) ? (COLOURS - 1) * LINE : 0;
    return round_up(colours + bits + round_up(capacity * desc->side, 8) + FA__SLAB_GAP,
                    desc->align > LINE ? desc->align : LINE);
}

// Slots that fit into a slab of `units`.
static size_t capacity_of(const fa__slots_desc *desc, size_t units) {
    size_t bytes = units * FA__UNIT;
    size_t capacity = bytes / desc->stride;
    while (capacity != 0 &&
           first_slot(desc, capacity) + capacity * desc->stride + FA__SLAB_GAP > bytes) {
        capacity -= 1;
    }
    return capacity;
}

// The fewest units of which at most an eighth is lost; strides above a unit get a slab each.
static size_t choose_units(const fa__slots_desc *desc, size_t *capacity) {
    size_t units = 1;
    if (desc->stride > FA__UNIT) {
        while (capacity_of(desc, units) == 0) {
            units += 1;
        }
        *capacity = 1;
        return units;
    }
    size_t most = 16;
    while (units < most && capacity_of(desc, units) * desc->stride * 8 < units * FA__UNIT * 7) {
        units += 1;
    }
    *capacity = capacity_of(desc, units);
    return units;
}

fa_result fa__slots_init(fa__slots *slots, fa_context *ctx, const fa__slots_desc *desc,
                         fa__denial *denial) {
    fa__space *space = fa__space_get(ctx, denial);
    if (space == NULL || !fa__os_mutex_init(&slots->lock)) {
        return FA_ERR_OUT_OF_MEMORY;
    }
    size_t capacity = 0;
    slots->space = space;
    slots->context = ctx;
    slots->desc = *desc;
    slots->units = (uint32_t)choose_units(desc, &capacity);
    slots->capacity = (uint32_t)capacity;
    size_t steps = desc->stride / 8;
    slots->reciprocal = (uint32_t)((((uint64_t)1 << 32) + steps - 1) / steps);
    size_t cached = smaller(FA__CACHE_BYTES / desc->stride, FA__CACHE_SLOTS);
    slots->cache_slots = (uint32_t)(cached < 2 ? 2 : cached);
    size_t kept = FA__DEPOT_BYTES / desc->stride;
    slots->depot_max = kept < slots->cache_slots ? slots->cache_slots : kept;
    // The depot's memory and the free caches of an earlier life stay.
    slots->depot_count = 0;
    slots->depot_least = 0;
    slots->all = NULL;
    memset(slots->lists, 0, sizeof slots->lists);
    slots->slab_count = 0;
    slots->empty_count = 0;
    slots->empty_least = 0;
    slots->kept_slots = 0;
    slots->visitors = 0;
    fa__store(&slots->slot_count, 0);
    fa__store(&slots->here_count, 0);
    fa__store(&slots->retired_count, 0);
    slots->caches = NULL;
    return FA_OK;
}

// Lists of slabs ----------------------------------------------------------------------------------

static void list_add(fa__slots *slots, fa__slab *slab, unsigned list) {
    slab->list = (uint8_t)list;
    slab->prev = NULL;
    slab->next = slots->lists[list];
    if (slab->next != NULL) {
        slab->next->prev = slab;
    }
    slots->lists[list] = slab;
    slots->empty_count += list == FA__LIST_EMPTY ? 1 : 0;
}

static void list_remove(fa__slots *slots, fa__slab *slab) {
    if (slab->prev != NULL) {
        slab->prev->next = slab->next;
    } else {
        slots->lists[slab->list] = slab->next;
    }
    if (slab->next != NULL) {
        slab->next->prev = slab->prev;
    }
    if (slab->list == FA__LIST_EMPTY) {
        slots->empty_count -= 1;
        slots->empty_least = smaller(slots->empty_least, slots->empty_count);
    }
}

// Puts a slab where its count of free slots says.
static void list_settle(fa__slots *slots, fa__slab *slab) {
    unsigned list = FA__LIST_SOME;
    if (slab->free_count == 0) {
        list = FA__LIST_NONE;
    } else if (slab->free_count + slab->retired == slab->capacity) {
        list = FA__LIST_EMPTY;
    }
    if (list != slab->list) {
        list_remove(slots, slab);
        list_add(slots, slab, list);
    }
}

char *fa__slab_slot(const fa__slots *slots, fa__slab *slab, uint32_t index) {
    return fa__slab_run(slab)->ptr + slab->first + (size_t)index * slots->desc.stride;
}

// Slabs come and go -------------------------------------------------------------------------------

fa__slab *fa__slab_acquire(fa__slots *slots, fa__denial *denial) {
    fa__run *run =
        fa__run_acquire(slots->space, slots->units, FA__UNIT, FA__RUN_SLAB, slots, denial);
    if (run == NULL) {
        return NULL;
    }
    fa__slab *slab = fa__slab_of(run);
    uint32_t capacity = slots->capacity;
    size_t words = round_up(capacity, 64) / 64;
    bool has_colour = is_coloured(&slots->desc);
    size_t colour = has_colour ? ((uintptr_t)run->ptr >> FA__UNIT_SHIFT) % COLOURS * LINE : 0;
    size_t behind = has_colour ? (COLOURS - 1) * LINE - colour : 0;
    slab->capacity = capacity;
    slab->reciprocal = slots->reciprocal;
    slab->first = (uint32_t)(first_slot(&slots->desc, capacity) - behind);
    slab->free = (uint64_t *)(void *)(run->ptr + colour);
    slab->side = (unsigned char *)(slab->free + words);
    for (uint32_t i = 1; i < slots->units; i++) { // Units that belonged to different slabs.
        run->floor = run->floor < run[i].floor ? run[i].floor : run->floor;
    }
    fa__store(&slab->highest, run->floor);
    memset(slab->free, 0xFF, words * sizeof *slab->free);
    if (capacity % 64 != 0) {
        slab->free[words - 1] = ((uint64_t)1 << capacity % 64) - 1;
    }
    if (slots->desc.side != 0) {
        memset(slab->side, 0xFF, capacity * slots->desc.side);
    }
    slab->free_count = capacity;
    slab->next_of_all = slots->all;
    if (slots->all != NULL) {
        slots->all->prev_of_all = slab;
    }
    slots->all = slab;
    slots->slab_count += 1;
    list_add(slots, slab, FA__LIST_EMPTY);
    fa__own_add(&slots->slot_count, capacity);
    fa__own_add(&slots->here_count, capacity);
    if (slots->desc.acquired != NULL) {
        slots->desc.acquired(slots->desc.self, run);
    }
    if (slots->desc.has_owner) { // From here on handles may be resolved into it.
        fa__space_set_owner(slots->space, run, slots->desc.number);
    }
    return slab;
}

static void slab_forget(fa__slots *slots, fa__slab *slab) {
    fa__run *run = fa__slab_run(slab);
    if (slots->desc.retire != NULL) {
        for (uint32_t i = 0; i < slab->prepared; i++) {
            slots->desc.retire(slots->desc.self, fa__slab_slot(slots, slab, i));
        }
    }
    if (slots->desc.released != NULL) {
        slots->desc.released(slots->desc.self, run);
    }
    if (slots->desc.has_owner) {
        fa__space_set_owner(slots->space, run, 0);
    }
    for (uint32_t i = 0; i < slots->units; i++) {
        run[i].floor = fa__load(&slab->highest);
    }
    fa__run_release(slots->space, run);
}

// Gives a wholly free slab back.
static void slab_release(fa__slots *slots, fa__slab *slab) {
    list_remove(slots, slab);
    if (slab->prev_of_all != NULL) {
        slab->prev_of_all->next_of_all = slab->next_of_all;
    } else {
        slots->all = slab->next_of_all;
    }
    if (slab->next_of_all != NULL) {
        slab->next_of_all->prev_of_all = slab->prev_of_all;
    }
    slots->slab_count -= 1;
    fa__own_sub(&slots->slot_count, slab->capacity);
    fa__own_sub(&slots->here_count, slab->capacity);
    slab_forget(slots, slab);
}

// Releases empty slabs but for `keep`, as long as the reserved number of slots stays and no slot
// of theirs is retired (what its generations were is known only while it stays). At most `most`.
size_t fa__slots_release_empty(fa__slots *slots, size_t keep, size_t most) {
    size_t released = 0;
    fa__slab *next = NULL;
    for (fa__slab *slab = slots->lists[FA__LIST_EMPTY];
         slab != NULL && slots->empty_count > keep && released < most && slots->visitors == 0;
         slab = next) {
        next = slab->next;
        if (fa__load(&slots->slot_count) - slab->capacity < slots->kept_slots) {
            break; // All slabs hold the same number.
        }
        if (slab->retired == 0) {
            slab_release(slots, slab);
            released += 1;
        }
    }
    return released;
}

void fa__slots_destroy(fa__slots *slots) {
    fa__slab *next = NULL;
    for (fa__slab *slab = slots->all; slab != NULL; slab = next) {
        next = slab->next_of_all;
        if (slab->retired != 0) {
            fa__store(&slab->highest, UINT32_MAX); // Its generations are used up.
        }
        slab_forget(slots, slab);
    }
    slots->all = NULL;
    while (slots->caches != NULL) {
        fa__cache *cache = slots->caches;
        slots->caches = cache->next;
        cache->next = slots->free_caches;
        slots->free_caches = cache;
    }
    fa__os_mutex_destroy(&slots->lock);
}

// Taking ------------------------------------------------------------------------------------------

// Prepares slots up to and including `index`. Free slots are taken in address order, so at most the
// one at `prepared` is new.
void fa__slab_prepare(fa__slots *slots, fa__slab *slab, uint32_t index, char *slot) {
    if (index >= slab->prepared) {
        slab->prepared = index + 1;
        if (slots->desc.prepare != NULL) {
            slots->desc.prepare(slots->desc.self, slot, fa__slab_run(slab));
        }
    }
}

// Takes up to `count` slots from a slab's bits, lowest first. The first goes to out[count - 1],
// downwards, so that a stack hands them out in address order. Returns how many.
static size_t take_from_slab(fa__slots *slots, fa__slab *slab, void **out, size_t count) {
    size_t wanted = smaller(count, slab->free_count);
    size_t left = wanted;
    uint32_t word = slab->hint;
    while (left != 0) {
        uint64_t bits = slab->free[word];
        if (bits == 0) {
            word += 1;
            continue;
        }
        for (; bits != 0 && left != 0; bits &= bits - 1) {
            uint32_t index = word * 64 + fa__lowest_bit(bits);
            char *slot = fa__slab_slot(slots, slab, index);
            fa__slab_prepare(slots, slab, index, slot);
            left -= 1;
            out[count - wanted + left] = slot;
        }
        slab->free[word] = bits;
    }
    slab->hint = word;
    slab->free_count -= (uint32_t)wanted;
    return wanted;
}

// Fills out[0..count) from the depot or, when that is empty, from slabs; a new slab only when there
// is nothing else. What was taken lies at the end of `out`. Returns how many.
size_t fa__slots_take_locked(fa__slots *slots, void **out, size_t count, fa__denial *denial) {
    size_t taken = smaller(count, slots->depot_count);
    if (taken != 0) {
        slots->depot_count -= taken;
        slots->depot_least = smaller(slots->depot_least, slots->depot_count);
        memcpy(out + (count - taken), slots->depot + slots->depot_count, taken * sizeof *out);
    }
    while (taken < count) {
        fa__slab *slab = slots->lists[FA__LIST_SOME];
        if (slab == NULL) {
            slab = slots->lists[FA__LIST_EMPTY];
        }
        if (slab == NULL && taken == 0) {
            slab = fa__slab_acquire(slots, denial);
        }
        if (slab == NULL) {
            break;
        }
        taken += take_from_slab(slots, slab, out, count - taken);
        list_settle(slots, slab);
    }
    fa__own_sub(&slots->here_count, taken);
    return taken;
}

size_t fa__slots_take(fa__slots *slots, void **out, size_t count, fa__denial *denial) {
    size_t taken = 0;
    size_t got = 1;
    fa__os_mutex_lock(&slots->lock);
    // Each round may add a slab.
    while (taken < count && got != 0) {
        got = fa__slots_take_locked(slots, out + taken, count - taken, denial);
        if (got < count - taken) {
            memmove(out + taken, out + (count - got), got * sizeof *out);
        }
        taken += got;
    }
    fa__os_mutex_unlock(&slots->lock);
    return taken;
}

// Giving ------------------------------------------------------------------------------------------

static void complain(fa__complaints *bad, void *ptr, fa__code code) {
    bad->total += 1;
    if (bad->count < FA__BAD_REMEMBERED) {
        bad->list[bad->count].ptr = ptr;
        bad->list[bad->count].code = code;
        bad->count += 1;
    }
}

void fa__slots_report(fa__slots *slots, const fa__complaints *bad) {
    for (size_t i = 0; i < bad->count; i++) {
        fa__fail(&(fa__failure){.context = slots->context,
                                .code = bad->list[i].code,
                                .result = FA_ERR_INVALID,
                                .bytes = slots->desc.stride,
                                .ptr = bad->list[i].ptr,
                                .where = slots->desc.name});
    }
}

// Marks slots as free in their slabs. Returns how many were.
size_t fa__slots_give_locked(fa__slots *slots, void *const *given, size_t count,
                             fa__complaints *bad) {
    size_t taken_back = 0;
    for (size_t i = 0; i < count; i++) {
        if (given[i] == NULL) {
            continue;
        }
        fa__run *run = fa__run_find(slots->space, given[i]);
        fa__slab *slab = run == NULL || run->owner != slots ? NULL : fa__slab_of(run);
        uint32_t index = slab == NULL ? UINT32_MAX : fa__slab_index(run, slab, given[i]);
        if (index == UINT32_MAX) {
            complain(bad, given[i], FA__CODE_FOREIGN_POINTER);
            continue;
        }
        uint64_t bit = (uint64_t)1 << index % 64;
        uint32_t word = index / 64;
        if ((slab->free[word] & bit) != 0) {
            complain(bad, given[i], FA__CODE_DOUBLE_FREE);
            continue;
        }
        slab->free[word] |= bit;
        slab->hint = word < slab->hint ? word : slab->hint;
        slab->free_count += 1;
        taken_back += 1;
        list_settle(slots, slab);
    }
    return taken_back;
}

// Slabs that have just become empty go at once when there are many: the space keeps the memory.
void fa__slots_release_surplus(fa__slots *slots) {
    if (slots->empty_count > 4 + slots->slab_count / 4) {
        fa__slots_release_empty(slots, 2 + slots->slab_count / 8, SIZE_MAX);
    }
}

size_t fa__slots_give(fa__slots *slots, void *const *slots_given, size_t count) {
    fa__complaints bad = {0};
    fa__os_mutex_lock(&slots->lock);
    size_t taken_back = fa__slots_give_locked(slots, slots_given, count, &bad);
    fa__own_add(&slots->here_count, taken_back);
    fa__slots_release_surplus(slots);
    fa__os_mutex_unlock(&slots->lock);
    fa__slots_report(slots, &bad);
    return taken_back;
}

void fa__slots_retire(fa__slots *slots, void *slot) {
    fa__os_mutex_lock(&slots->lock);
    fa__run *run = fa__run_find(slots->space, slot);
    fa__slab *slab = fa__slab_of(run);
    slab->retired += 1;
    list_settle(slots, slab);
    fa__own_sub(&slots->slot_count, 1);
    fa__own_add(&slots->retired_count, 1);
    fa__os_mutex_unlock(&slots->lock);
}

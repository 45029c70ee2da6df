// What stands before a source's slabs: the depot of free slots, the threads' caches; and the
// upkeep of all three. See slab.h for the picture.
#include "slabs.h"

#include <string.h>

#define DEPOT_FIRST 256u // Entries a depot starts with.

static size_t smaller(size_t left, size_t right) {
    return left < right ? left : right;
}

// The depot ---------------------------------------------------------------------------------------

// Tells of slots that were believed to be free, wrongly. With no lock held.
static void tell(fa__slots *slots, const fa__complaints *bad) {
    if (bad->total != 0 && slots->desc.wronged != NULL) {
        slots->desc.wronged(slots->desc.self, bad->total);
    }
    fa__slots_report(slots, bad);
}

// Makes room for up to `count` more entries. Old arrays stay behind in the bookkeeping memory: all
// of them together are no more than the last.
static void depot_grow(fa__slots *slots, size_t count) {
    size_t needed = smaller(slots->depot_count + count, slots->depot_max);
    if (needed <= slots->depot_size) {
        return;
    }
    size_t size = slots->depot_size == 0 ? DEPOT_FIRST : slots->depot_size;
    while (size < needed) {
        size *= 2;
    }
    fa__denial denial = FA__DENIED_BY_BACKEND;
    void **depot = fa__meta_alloc(slots->context->pages, size * sizeof *depot, &denial);
    if (depot == NULL) {
        return; // What does not fit goes to its slab.
    }
    if (slots->depot_count != 0) {
        memcpy(depot, slots->depot, slots->depot_count * sizeof *depot);
    }
    slots->depot = depot;
    slots->depot_size = size;
}

// Takes slots in: as many as the depot may hold, the rest to their slabs.
static size_t deposit_locked(fa__slots *slots, void *const *given, size_t count,
                             fa__complaints *bad) {
    depot_grow(slots, count);
    size_t space = smaller(slots->depot_size, slots->depot_max) - slots->depot_count;
    size_t kept = smaller(count, space);
    if (kept != 0) {
        memcpy(slots->depot + slots->depot_count, given, kept * sizeof *given);
        slots->depot_count += kept;
    }
    size_t taken_back = kept + fa__slots_give_locked(slots, given + kept, count - kept, bad);
    fa__own_add(&slots->here_count, taken_back);
    fa__slots_release_surplus(slots);
    return taken_back;
}

// Moves the `count` oldest of the depot to their slabs. A wrong one was counted as here.
static void settle_depot(fa__slots *slots, size_t count, fa__complaints *bad) {
    if (count == 0) {
        return;
    }
    size_t settled = fa__slots_give_locked(slots, slots->depot, count, bad);
    slots->depot_count -= count;
    memmove(slots->depot, slots->depot + count, slots->depot_count * sizeof *slots->depot);
    slots->depot_least = smaller(slots->depot_least, slots->depot_count);
    fa__own_sub(&slots->here_count, count - settled);
}

// Caches ------------------------------------------------------------------------------------------

fa__cache *fa__cache_open(fa__slots *slots, fa__thread *thread, fa__denial *denial) {
    fa__os_mutex_lock(&slots->lock);
    fa__cache *cache = slots->free_caches;
    if (cache != NULL) {
        slots->free_caches = cache->next;
    }
    fa__os_mutex_unlock(&slots->lock);
    if (cache == NULL) {
        typedef struct with_slots {
            fa__cache cache;
            void *slots[1 + FA__CACHE_SLOTS];
        } with_slots;
        with_slots *memory = fa__meta_alloc(slots->context->pages, sizeof *memory, denial);
        if (memory == NULL) {
            return NULL;
        }
        cache = &memory->cache;
        cache->bottom = &memory->slots[1];
    }
    fa__cache_init(cache, slots, thread, slots->cache_slots);
    return cache;
}

void fa__cache_init(fa__cache *cache, fa__slots *slots, fa__thread *thread, size_t room) {
    FA_STORE_RELAXED(&cache->open.top, cache->bottom);
    cache->room = room;
    cache->open.end = cache->bottom + smaller(room, slots->cache_slots);
    cache->source = slots;
    cache->thread = thread;
    fa__os_mutex_lock(&slots->lock);
    cache->next = slots->caches;
    slots->caches = cache;
    fa__os_mutex_unlock(&slots->lock);
}

void fa__cache_close(fa__cache *cache) {
    fa__slots *slots = cache->source;
    fa__cache_flush(cache);
    fa__os_mutex_lock(&slots->lock);
    fa__cache **link = &slots->caches;
    while (*link != cache) {
        link = &(*link)->next;
    }
    *link = cache->next;
    cache->next = slots->free_caches;
    slots->free_caches = cache;
    fa__os_mutex_unlock(&slots->lock);
}

void fa__cache_limit(fa__cache *cache, size_t slots) {
    size_t limit = slots < 2 ? 2 : smaller(slots, cache->room);
    size_t held = fa__cache_count(cache);
    cache->open.end = cache->bottom + (limit < held ? held : limit);
}

size_t fa__cache_refill(fa__cache *cache, size_t want, fa__denial *denial) {
    fa__slots *slots = cache->source;
    size_t count = smaller(want, fa__cache_batch(cache));
    fa__os_mutex_lock(&slots->lock);
    size_t taken = fa__slots_take_locked(slots, cache->bottom, count, denial);
    if (taken < count) {
        memmove(cache->bottom, cache->bottom + (count - taken), taken * sizeof *cache->bottom);
    }
    FA_STORE_RELAXED(&cache->open.top, cache->bottom + taken); // Visible before the lock is free.
    fa__os_mutex_unlock(&slots->lock);
    return taken;
}

// Sends `count` slots of a cache, from `first` on, to the depot. Those above move down.
static size_t send(fa__cache *cache, void **first, size_t count) {
    fa__slots *slots = cache->source;
    fa__complaints bad = {0};
    void **behind = first + count;
    size_t above = (size_t)(cache->open.top - behind);
    fa__os_mutex_lock(&slots->lock);
    (void)deposit_locked(slots, first, count, &bad);
    memmove(first, behind, above * sizeof *first); // The other threads see only the top.
    FA_STORE_RELAXED(&cache->open.top, first + above);
    fa__os_mutex_unlock(&slots->lock);
    tell(slots, &bad);
    return count;
}

size_t fa__cache_spill(fa__cache *cache) {
    size_t count = smaller(fa__cache_batch(cache), fa__cache_count(cache));
    bool is_newest = fa__cache_spills_newest(cache);
    return send(cache, is_newest ? cache->open.top - count : cache->bottom, count);
}

size_t fa__cache_flush(fa__cache *cache) {
    return send(cache, cache->bottom, fa__cache_count(cache));
}

// Upkeep ------------------------------------------------------------------------------------------

// Touches the pages of a slab and prepares all its slots.
static void warm(fa__slots *slots, fa__slab *slab) {
    fa__run *run = fa__slab_run(slab);
    size_t bytes = run->units * FA__UNIT;
    size_t page = fa__os_page_size();
    uint32_t fresh = slab->prepared;
    for (size_t offset = slab->first + (size_t)fresh * slots->desc.stride; offset < bytes;
         offset += page) {
        *(volatile char *)(run->ptr + offset) = 0;
    }
    *(volatile char *)(run->ptr + bytes - 1) = 0;
    for (uint32_t i = fresh; i < slab->capacity; i++) {
        fa__slab_prepare(slots, slab, i, fa__slab_slot(slots, slab, i));
    }
}

fa_result fa__slots_reserve(fa__slots *slots, size_t count, fa__denial *denial) {
    fa_result result = FA_OK;
    fa__os_mutex_lock(&slots->lock);
    depot_grow(slots, count);
    while (fa__load(&slots->slot_count) < count && result == FA_OK) {
        result = fa__slab_acquire(slots, denial) == NULL ? FA_ERR_OUT_OF_MEMORY : FA_OK;
    }
    if (result == FA_OK) {
        for (fa__slab *slab = slots->all; slab != NULL; slab = slab->next_of_all) {
            warm(slots, slab);
        }
        slots->kept_slots = count > slots->kept_slots ? count : slots->kept_slots;
    }
    fa__os_mutex_unlock(&slots->lock);
    return result;
}

size_t fa__slots_trim(fa__slots *slots, size_t keep) {
    fa__complaints bad = {0};
    fa__os_mutex_lock(&slots->lock);
    settle_depot(slots, slots->depot_count, &bad);
    size_t kept = (keep + slots->capacity - 1) / slots->capacity;
    size_t released = fa__slots_release_empty(slots, kept, SIZE_MAX);
    fa__os_mutex_unlock(&slots->lock);
    tell(slots, &bad);
    return released * slots->units * FA__UNIT;
}

void fa__slots_tick(fa__slots *slots, size_t max_slots) {
    fa__complaints bad = {0};
    fa__os_mutex_lock(&slots->lock);
    settle_depot(slots, smaller(slots->depot_least, max_slots), &bad);
    size_t most = max_slots / slots->capacity;
    fa__slots_release_empty(slots, slots->empty_count - slots->empty_least, most < 1 ? 1 : most);
    slots->depot_least = slots->depot_count;
    slots->empty_least = slots->empty_count;
    fa__os_mutex_unlock(&slots->lock);
    tell(slots, &bad);
}

static size_t cached_locked(fa__slots *slots) {
    size_t cached = 0;
    for (fa__cache *cache = slots->caches; cache != NULL; cache = cache->next) {
        cached += (size_t)(FA_LOAD_RELAXED(&cache->open.top) - cache->bottom);
    }
    return cached;
}

size_t fa__slots_cached(fa__slots *slots) {
    fa__os_mutex_lock(&slots->lock);
    size_t cached = cached_locked(slots);
    fa__os_mutex_unlock(&slots->lock);
    return cached;
}

size_t fa__slots_live(fa__slots *slots) {
    fa__os_mutex_lock(&slots->lock);
    size_t free_slots = fa__load(&slots->here_count) + cached_locked(slots);
    size_t all = fa__load(&slots->slot_count);
    fa__os_mutex_unlock(&slots->lock);
    return all > free_slots ? all - free_slots : 0; // Another thread may be at work.
}

size_t fa__slots_committed(fa__slots *slots) {
    fa__os_mutex_lock(&slots->lock);
    size_t bytes = slots->slab_count * slots->units * FA__UNIT;
    fa__os_mutex_unlock(&slots->lock);
    return bytes;
}

// Looking at everything ---------------------------------------------------------------------------

// Visits the live slots of one slab. No lock is held: `visit` may free what it is given.
static bool visit_slab(fa__slots *slots, fa__slab *slab,
                       bool (*visit)(void *user, char *slot, fa__run *run), void *user) {
    for (uint32_t i = 0; i < slab->prepared; i++) {
        bool is_free = (slab->free[i / 64] >> i % 64 & 1) != 0;
        if (!is_free && !visit(user, fa__slab_slot(slots, slab, i), fa__slab_run(slab))) {
            return false;
        }
    }
    return true;
}

void fa__slots_each(fa__slots *slots, bool (*visit)(void *user, char *slot, fa__run *run),
                    void *user) {
    fa__complaints bad = {0};
    fa__os_mutex_lock(&slots->lock);
    for (fa__cache *cache = slots->caches; cache != NULL; cache = cache->next) {
        size_t held = fa__cache_count(cache);
        fa__own_add(&slots->here_count, fa__slots_give_locked(slots, cache->bottom, held, &bad));
        FA_STORE_RELAXED(&cache->open.top, cache->bottom);
    }
    settle_depot(slots, slots->depot_count, &bad);
    slots->visitors += 1;
    fa__os_mutex_unlock(&slots->lock);
    tell(slots, &bad);
    bool goes_on = true;
    for (fa__slab *slab = slots->all; slab != NULL && goes_on; slab = slab->next_of_all) {
        goes_on = visit_slab(slots, slab, visit, user);
    }
    fa__os_mutex_lock(&slots->lock);
    slots->visitors -= 1;
    fa__os_mutex_unlock(&slots->lock);
}

static bool slab_is_sound(const fa__slots *slots, fa__slab *slab) {
    uint32_t bits = 0;
    for (uint32_t i = 0; i < slab->capacity; i++) {
        bool is_free = (slab->free[i / 64] >> i % 64 & 1) != 0;
        bits += is_free ? 1 : 0;
        if (is_free ? i / 64 < slab->hint : i >= slab->prepared) {
            return false;
        }
    }
    bool is_none = bits == 0;
    bool is_empty = !is_none && bits + slab->retired == slab->capacity;
    unsigned list = is_none ? FA__LIST_NONE : is_empty ? FA__LIST_EMPTY : FA__LIST_SOME;
    return bits == slab->free_count && list == slab->list && fa__slab_run(slab)->owner == slots;
}

bool fa__slots_check(fa__slots *slots) {
    fa__os_mutex_lock(&slots->lock);
    size_t here = slots->depot_count;
    size_t all = 0;
    size_t slabs = 0;
    bool is_sound = slots->depot_count <= slots->depot_max;
    for (fa__slab *slab = slots->all; slab != NULL && is_sound; slab = slab->next_of_all) {
        is_sound = slab_is_sound(slots, slab);
        here += slab->free_count;
        all += slab->capacity;
        slabs += 1;
    }
    size_t retired = fa__load(&slots->retired_count);
    is_sound = is_sound && here == fa__load(&slots->here_count) && slabs == slots->slab_count &&
               all == fa__load(&slots->slot_count) + retired &&
               here + cached_locked(slots) <= all - retired;
    fa__os_mutex_unlock(&slots->lock);
    return is_sound;
}

// A thread's stack of free slots: whose it is, what its slots are charged to, how it is filled and
// emptied. pool.c takes from it and puts into it.
//
// Slots are charged when they enter a stack and uncharged when they leave it for the depot, so a
// pop and a push need not: to the pool's tag, or with object_tags to the tag that the slot carries,
// which is that of its last life. A pop compares it with the current tag and rarely finds another.
// What lies in stacks is taken off again in statistics.
#include "pools.h"

#include <string.h>

// Which stack -------------------------------------------------------------------------------------

// The thread's entry for a pool, NULL when its table is too short.
static fa__pool_entry *find_entry(const fa__pool *pool, const fa__thread *thread) {
    const fa__thread_pools *table = thread->pools;
    return table == NULL || pool->index >= table->count ? NULL : &table->entries[pool->index];
}

// Makes the thread's table long enough. Old tables stay behind: together they are no more than the
// last.
static fa__pool_entry *make_entry(fa__pool *pool, fa__thread *thread, fa__denial *denial) {
    fa__thread_pools *table = thread->pools;
    if (table == NULL) {
        table = fa__meta_alloc(pool->context->pages, sizeof *table, denial);
        if (table == NULL) {
            return NULL;
        }
        thread->pools = table;
    }
    uint32_t count = table->count == 0 ? 32 : table->count;
    while (count <= pool->index) {
        count *= 2;
    }
    fa__pool_entry *entries = fa__meta_alloc(pool->context->pages, count * sizeof *entries, denial);
    if (entries == NULL) {
        return NULL;
    }
    if (table->count != 0) {
        memcpy(entries, table->entries, table->count * sizeof *entries);
    }
    table->entries = entries;
    table->count = count;
    return &entries[pool->index];
}

// Makes the thread the pool's home if it has none.
static bool claim(fa__pool *pool, fa__thread *thread) {
    fa__thread *nobody = NULL;
    if (!atomic_compare_exchange_strong_explicit(&pool->home_thread, &nobody, thread,
                                                 memory_order_acquire, memory_order_relaxed)) {
        return false;
    }
    pool->home.thread = thread;
#ifdef FA_HAS_THREAD_POINTER
    if (pool->is_plain) {
        FA_STORE_RELAXED(&pool->open.cache.home, fa_thread_pointer());
    } else if (pool->is_swift) {
        FA_STORE_RELAXED(&pool->swift, fa_thread_pointer());
    }
#endif
    return true;
}

static FA_COLD fa__cache *make_cache(fa__pool *pool, fa__thread *thread, fa__denial *denial) {
    fa__pool_entry *entry = find_entry(pool, thread);
    bool has_cache = entry != NULL && entry->serial == pool->serial;
    if (!has_cache && fa__load(&pool->home_thread) == NULL && claim(pool, thread)) {
        return &pool->home;
    }
    if (has_cache) {
        return entry->cache;
    }
    if (entry == NULL) {
        entry = make_entry(pool, thread, denial);
        if (entry == NULL) {
            return NULL;
        }
    }
    fa__cache *cache = fa__cache_open(&pool->slots, thread, denial);
    if (cache != NULL) {
        *entry = (fa__pool_entry){.serial = pool->serial, .cache = cache};
    }
    return cache;
}

fa__cache *fa__pool_cache(fa__pool *pool, fa__thread *thread, fa__denial *denial) {
    if (fa__load(&pool->home_thread) == thread) {
        return &pool->home;
    }
    const fa__pool_entry *entry = find_entry(pool, thread);
    if (FA_LIKELY(entry != NULL && entry->serial == pool->serial)) {
        return entry->cache;
    }
    return make_cache(pool, thread, denial);
}

fa__place fa__pool_find(const fa__pool *pool, const void *object) {
    fa__place place = {.run = fa__run_find(pool->slots.space, object)};
    if (place.run == NULL || place.run->owner != &pool->slots) {
        return (fa__place){0};
    }
    place.slab = fa__slab_of(place.run);
    place.index = fa__slab_index(place.run, place.slab, object);
    return place.index == UINT32_MAX ? (fa__place){0} : place;
}

// Charging ----------------------------------------------------------------------------------------

void fa__pool_uncharge(const fa__pool *pool, fa__thread *thread, uint32_t tag, size_t bytes) {
    if (FA_UNLIKELY(tag >= fa_tag_count(pool->context))) {
        tag = pool->desc.tag.id; // Somebody has written over it.
    }
    fa__account *account = thread == NULL ? NULL : fa__object_of(thread, FA__HOLDER_POOL, tag);
    if (account != NULL) {
        fa__object_uncharge(account, bytes);
    } else if (bytes != 0) {
        fa__object_uncharge_orphan(pool->context, FA__HOLDER_POOL, tag, bytes);
    }
}

void fa__pool_uncharge_slots(const fa__pool *pool, fa__thread *thread, void *const *slots,
                             size_t count) {
    if (!pool->desc.object_tags) {
        fa__pool_uncharge(pool, thread, pool->desc.tag.id, count * pool->stride);
        return;
    }
    // Neighbours in a stack mostly carry the same tag.
    for (size_t i = 0, next = 0; i < count; i = next) {
        uint32_t tag = fa__load(fa__tag_of(slots[i]));
        do {
            next += 1;
        } while (next < count && fa__load(fa__tag_of(slots[next])) == tag);
        fa__pool_uncharge(pool, thread, tag, (next - i) * pool->stride);
    }
}

size_t fa__pool_cached(fa__pool *pool, uint32_t tag) {
    if (!pool->desc.object_tags) {
        bool is_asked_for = tag == UINT32_MAX || pool->desc.tag.id == tag;
        return is_asked_for ? fa__slots_cached(&pool->slots) : 0;
    }
    size_t count = 0;
    fa__os_mutex_lock(&pool->slots.lock);
    for (const fa__cache *cache = pool->slots.caches; cache != NULL; cache = cache->next) {
        void **top = FA_LOAD_RELAXED(&cache->open.top);
        for (void **slot = cache->bottom; slot < top; slot++) {
            bool is_asked_for =
                tag == UINT32_MAX || fa__load(fa__tag_of(FA_LOAD_RELAXED(slot))) == tag;
            count += is_asked_for ? 1 : 0;
        }
    }
    fa__os_mutex_unlock(&pool->slots.lock);
    return count;
}

void fa__pool_flush(fa__pool *pool, fa__cache *cache) {
    fa__pool_uncharge_slots(pool, cache->thread, cache->bottom, fa__cache_count(cache));
    fa__cache_flush(cache);
}

fa__account *fa__pool_account(fa__pool *pool, fa__thread *thread) {
    if (!pool->desc.object_tags) {
        return fa__object_of(thread, FA__HOLDER_POOL, pool->desc.tag.id);
    }
    fa__account *account = fa__object_current(thread, FA__HOLDER_POOL);
    if (account != NULL && fa__load(&pool->home_thread) == thread) {
        pool->current = thread->frame->run->account;
        pool->current_tag = (uint16_t)account->tag->id;
    }
    return account;
}

// Filling and emptying ----------------------------------------------------------------------------

FA_COLD void fa__pool_fail_memory(fa__pool *pool, fa__denial denial) {
    bool is_limit = denial == FA__DENIED_BY_LIMIT;
    fa__fail(&(fa__failure){.context = pool->context,
                            .code = is_limit ? FA__CODE_MEMORY_LIMIT : FA__CODE_OS_REFUSED,
                            .result = is_limit ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY,
                            .bytes = pool->stride,
                            .limit = is_limit ? pool->context->config.memory_limit : 0,
                            .tag = pool->desc.tag,
                            .where = pool->name});
}

static void note_peak(fa__pool *pool) {
    if (pool->desc.max_count == 0) {
        fa__raise(&pool->peak,
                  fa__load(&pool->slots.slot_count) - fa__load(&pool->slots.here_count));
    }
}

void fa__pool_retire(fa__pool *pool, void *slot) {
    fa__slots_retire(&pool->slots, slot);
    fa__fail(&(fa__failure){.context = pool->context,
                            .code = FA__CODE_SLOT_RETIRED,
                            .result = FA_OK,
                            .bytes = pool->stride,
                            .ptr = slot,
                            .where = pool->name});
}

// Looks at the slots that have come into a rich pool's empty stack: they carry `tag` from here on;
// those without a life left go.
static void receive(fa__pool *pool, fa__cache *cache, uint32_t tag) {
    void *used_up[FA__CACHE_SLOTS]; // A refill is never more.
    size_t used_up_count = 0;
    size_t count = fa__cache_count(cache);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        void *slot = cache->bottom[i];
        if (FA_UNLIKELY(fa__load(fa__generation_of(slot)) > FA__GENERATION_MAX)) {
            used_up[used_up_count] = slot;
            used_up_count += 1;
            continue;
        }
        fa__store(fa__tag_of(slot), (uint16_t)tag);
        FA_STORE_RELAXED(&cache->bottom[kept], slot);
        kept += 1;
    }
    FA_STORE_RELAXED(&cache->open.top, cache->bottom + kept);
    // Reports may use the pool: the stack is whole again.
    fa__pool_uncharge(pool, cache->thread, tag, used_up_count * pool->stride);
    for (size_t i = 0; i < used_up_count; i++) {
        fa__pool_retire(pool, used_up[i]);
    }
}

// A stack's idle slots are charged: near a budget's line it is to be short.
static size_t most_slots(const fa__pool *pool, const fa__account *account) {
    if (account == NULL) {
        return 0;
    }
    bool has_line = fa__load(&account->tag->nearest_line) != SIZE_MAX;
    return has_line ? account->keep / pool->stride : SIZE_MAX;
}

static size_t home_most(const fa__pool *pool) {
    size_t most = FA__HOME_BYTES / pool->stride;
    return most < 2 ? 2 : most;
}

bool fa__pool_grow(fa__pool *pool, size_t slots, fa__denial *denial) {
    size_t most = home_most(pool);
    size_t wanted = slots < most ? slots : most;
    size_t room = pool->home_room == 0 ? FA__HOME_SLOTS : pool->home_room;
    while (room < wanted) {
        room *= 2;
    }
    if (room == pool->home_room) {
        pool->home.room = room < most ? room : most;
        return true;
    }
    // A NULL below the bottom. The old array stays behind in the bookkeeping memory: all of them
    // together are no more than the last.
    void **memory = fa__meta_alloc(pool->context->pages, (1 + room) * sizeof *memory, denial);
    if (memory == NULL) {
        return false;
    }
    void **bottom = memory + 1;
    size_t held = pool->home_room == 0 ? 0 : fa__cache_count(&pool->home);
    if (held != 0) {
        memcpy(bottom, pool->home.bottom, held * sizeof *bottom);
    }
    // Others read top and bottom under the lock, for statistics.
    bool is_open = pool->home.source != NULL;
    if (is_open) {
        fa__os_mutex_lock(&pool->slots.lock);
    }
    pool->home_room = room;
    pool->home_bottom = bottom;
    pool->home.bottom = bottom;
    pool->home.room = room < most ? room : most;
    FA_STORE_RELAXED(&pool->home.open.top, bottom + held);
    if (is_open) {
        fa__os_mutex_unlock(&pool->slots.lock);
    }
    pool->home.open.end = bottom + (held < 2 ? 2 : held);
    return true;
}

// Lets a full home stack grow instead of being emptied, unless a budget's line is near.
static bool make_room(fa__pool *pool, fa__cache *cache, size_t most) {
    fa__denial denial = FA__DENIED_BY_BACKEND;
    size_t held = fa__cache_count(cache);
    bool may_grow = cache == &pool->home && most > held;
    if (may_grow && held == cache->room && held < home_most(pool)) {
        may_grow = fa__pool_grow(pool, 2 * held, &denial);
    }
    fa__cache_limit(cache, most);
    return may_grow && cache->open.top != cache->open.end;
}

FA_COLD bool fa__pool_refill(fa__pool *pool, fa__thread *thread, fa__cache *cache) {
    fa__denial denial = FA__DENIED_BY_BACKEND;
    fa__account *account = fa__pool_account(pool, thread);
    if (account == NULL) {
        return false;
    }
    fa__cache_limit(cache, most_slots(pool, account));
    size_t want = fa__cache_batch(cache);
    want = fa__object_charge_some(thread, account, pool->stride, want, pool->name);
    if (want == 0) {
        return false;
    }
    if (fa__cache_count(cache) != 0) { // A callback of the budget's has used the pool.
        fa__object_uncharge(account, want * pool->stride);
        return true;
    }
    size_t got = fa__cache_refill(cache, want, &denial);
    fa__object_uncharge(account, (want - got) * pool->stride);
    if (got == 0) {
        fa__pool_fail_memory(pool, denial);
        return false;
    }
    note_peak(pool);
    if (cache == &pool->home) { // Otherwise it is another thread's.
        pool->exchanges += 1;
    }
    if (pool->is_rich) {
        receive(pool, cache, account->tag->id);
        if (fa__cache_count(cache) == 0) {
            return fa__pool_refill(pool, thread, cache); // All of them were used up.
        }
    }
    return true;
}

size_t fa__pool_send(fa__pool *pool, fa__cache *cache) {
    size_t held = fa__cache_count(cache);
    size_t count = fa__cache_batch(cache) < held ? fa__cache_batch(cache) : held;
    void **first = fa__cache_spills_newest(cache) ? cache->open.top - count : cache->bottom;
    fa__pool_uncharge_slots(pool, cache->thread, first, count);
    fa__cache_spill(cache);
    return count;
}

FA_COLD void fa__pool_spill(fa__pool *pool, fa__cache *cache) {
    size_t most = most_slots(pool, fa__pool_account(pool, cache->thread));
    if (!make_room(pool, cache, most)) {
        fa__pool_send(pool, cache);
        if (cache == &pool->home) { // Otherwise it is another thread's.
            pool->exchanges += 1;
        }
        fa__cache_limit(cache, most);
    }
}

void *fa__pool_take_unstacked(fa__pool *pool) {
    fa__denial denial = FA__DENIED_BY_BACKEND;
    void *slot = NULL;
    while (fa__slots_take(&pool->slots, &slot, 1, &denial) == 1) {
        if (fa__load(fa__generation_of(slot)) <= FA__GENERATION_MAX) {
            note_peak(pool);
            return slot;
        }
        fa__pool_retire(pool, slot);
    }
    fa__pool_fail_memory(pool, denial);
    return NULL;
}

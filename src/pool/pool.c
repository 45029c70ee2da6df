// Taking and giving objects. See pool.h for what a thread sees and slab.h where slots come from.
//
// A pool whose objects need nothing done to them is plain: then the inline functions work on the
// stack of the pool's home thread, the first to use it, without asking. Everything else comes here.
//
// A rich pool has a generation and a tag per object, in the 8 bytes before it: a handle is resolved
// with one cache line. Its home thread has a short way of its own.
#include "pools.h"

#include <string.h>

// Allocating --------------------------------------------------------------------------------------

// Counts one more live object, or refuses.
static bool count_up(fa__pool *pool) {
    size_t live = fa__load(&pool->live);
    do {
        if (live >= pool->desc.max_count) {
            fa__fail(&(fa__failure){.context = pool->context,
                                    .code = FA__CODE_TOO_MANY,
                                    .result = FA_ERR_LIMIT,
                                    .bytes = pool->stride,
                                    .limit = pool->desc.max_count,
                                    .tag = pool->desc.tag,
                                    .where = pool->name});
            return false;
        }
    } while (!fa__shared_swap(&pool->live, &live, live + 1));
    fa__raise(&pool->peak, live + 1);
    return true;
}

static void count_down(fa__pool *pool) {
    if (pool->desc.max_count != 0) {
        fa__shared_sub(&pool->live, 1);
    }
}

// Makes a slot that lies in a stack carry the current tag: charges that and uncharges the other.
static bool change_tag(fa__pool *pool, fa__thread *thread, const void *slot) {
    fa__account *account = fa__pool_account(pool, thread);
    if (account == NULL) {
        return false;
    }
    uint32_t before = fa__load(fa__tag_of(slot));
    if (before != account->tag->id) {
        if (!fa__object_charge(thread, account, pool->stride, pool->name)) {
            return false;
        }
        fa__pool_uncharge(pool, thread, before, pool->stride);
        fa__store(fa__tag_of(slot), (uint16_t)account->tag->id);
    }
    return true;
}

// A slot from the thread's stack, charged to whom it is to be charged. NULL after a report.
static void *take(fa__pool *pool, fa__thread *thread) {
    fa__denial denial = FA__DENIED_BY_BACKEND;
    fa__cache *cache = fa__pool_cache(pool, thread, &denial);
    if (cache == NULL) {
        fa__pool_fail_memory(pool, denial);
        return NULL;
    }
    if (cache->open.top[-1] == NULL && !fa__pool_refill(pool, thread, cache)) {
        return NULL;
    }
    void **top = cache->open.top;
    void *object = top[-1];
    FA_STORE_RELAXED(&cache->open.top, top - 1);
    if (!pool->is_rich) {
        return object;
    }
    // Charging may call callbacks, which may use the pool: the slot is nobody's meanwhile.
    if (pool->desc.object_tags && !change_tag(pool, thread, object)) {
        fa__pool_put(pool, thread, object);
        return NULL;
    }
    fa__u32 *generation = fa__generation_of(object);
    fa__store(generation, fa__load(generation) + 1);
    return object;
}

// The same while every block is checked: from its slab, charged by itself.
static void *take_carefully(fa__pool *pool, fa__thread *thread, const void *site) {
    fa__account *account = fa__pool_account(pool, thread);
    if (account == NULL || !fa__object_charge(thread, account, pool->stride, pool->name)) {
        return NULL;
    }
    void *object = fa__pool_take_unstacked(pool);
    if (object == NULL) {
        fa__object_uncharge(account, pool->stride);
        return NULL;
    }
    fa__u32 *generation = fa__generation_of(object);
    fa__store(fa__tag_of(object), (uint16_t)account->tag->id);
    fa__store(generation, fa__load(generation) + 1);
    fa__pool_check_taken(pool, object, site);
    return object;
}

// The home thread's short way in a rich pool. NULL: take the long way, nothing has changed.
static inline void *take_swiftly(fa__pool *pool) {
    void **top = pool->home.open.top;
    void *object = top[-1];
    if (FA_UNLIKELY(object == NULL)) {
        return NULL;
    }
    if (pool->desc.object_tags &&
        (FA_UNLIKELY(pool->current != pool->home.thread->frame->run->account) ||
         FA_UNLIKELY(fa__load(fa__tag_of(object)) != pool->current_tag))) {
        return NULL;
    }
    fa__u32 *generation = fa__generation_of(object);
    fa__store(generation, fa__load(generation) + 1);
    FA_STORE_RELAXED(&pool->home.open.top, top - 1);
    return object;
}

static FA__NOINLINE void *take_slowly(fa__pool *pool, const void *site) {
    fa__thread *thread = fa__thread_get(pool->context);
    if (thread == NULL) {
        return NULL;
    }
    if (FA_LIKELY(pool->is_plain)) {
        return take(pool, thread);
    }
    if (pool->desc.max_count != 0 && !count_up(pool)) {
        return NULL;
    }
    void *object = pool->is_careful ? take_carefully(pool, thread, site) : take(pool, thread);
    if (object == NULL) {
        count_down(pool);
    } else if (pool->desc.zero) {
        memset(object, 0, pool->desc.size);
    }
    return object;
}

void *fa_pool_alloc_call(fa_pool *open) {
    fa__pool *pool = fa__pool_open(open);
#ifdef FA_HAS_THREAD_POINTER
    if (FA_LIKELY(fa_is_thread_pointer(FA_LOAD_RELAXED(&pool->swift)))) {
        void *object = take_swiftly(pool);
        if (FA_LIKELY(object != NULL)) {
            return object;
        }
    }
#endif
    return take_slowly(pool, FA__CALL_SITE());
}

size_t fa_pool_alloc_batch(fa_pool *open, void **out, size_t count) {
    fa__pool *pool = fa__pool_open(open);
    fa__thread *thread = fa__thread_get(pool->context);
    size_t taken = 0;
    while (thread != NULL && taken < count) {
        // What the stack has, all at once.
        fa__denial denial = FA__DENIED_BY_BACKEND;
        fa__cache *cache = pool->is_plain ? fa__pool_cache(pool, thread, &denial) : NULL;
        size_t held = cache == NULL ? 0 : fa__cache_count(cache);
        size_t run = held < count - taken ? held : count - taken;
        for (size_t i = 0; i < run; i++) {
            out[taken + i] = cache->open.top[-1 - (ptrdiff_t)i];
        }
        if (run != 0) {
            FA_STORE_RELAXED(&cache->open.top, cache->open.top - run);
        } else {
            out[taken] = fa_pool_alloc_call(open);
            run = out[taken] == NULL ? 0 : 1;
        }
        if (run == 0) {
            break;
        }
        taken += run;
    }
    return taken;
}

// Freeing -----------------------------------------------------------------------------------------

static FA_COLD void fail_free(fa__pool *pool, fa__code code, const void *object) {
    fa__fail(&(fa__failure){.context = pool->context,
                            .code = code,
                            .result = FA_ERR_INVALID,
                            .bytes = pool->stride,
                            .tag = pool->desc.tag,
                            .ptr = object,
                            .where = pool->name});
}

// Before a slot's generations leave the range that its slab has noted, notes the next range.
static void note_generation(fa__run *run, uint32_t ended) {
    if (ended % FA__GENERATION_STEP != FA__GENERATION_STEP - 1) {
        return;
    }
    fa__slab *slab = fa__slab_of(run);
    uint32_t next = ended + FA__GENERATION_STEP;
    uint32_t highest = fa__load(&slab->highest);
    while (next > highest && !fa__shared_swap(&slab->highest, &highest, next)) {
    }
}

// Ends the life of an object of a rich pool. False after a report when it is none, or is free.
static bool end_life(fa__pool *pool, void *object) {
    fa__place place = fa__pool_find(pool, object);
    if (place.run == NULL) {
        fail_free(pool, FA__CODE_FOREIGN_POINTER, object);
        return false;
    }
    fa__u32 *generation = fa__generation_of(object);
    uint32_t present = fa__load(generation);
    if (present % 2 == 0) {
        fail_free(pool, FA__CODE_DOUBLE_FREE, object);
        return false;
    }
    if (fa__load(fa__tag_of(object)) >= fa_tag_count(pool->context)) {
        fail_free(pool, FA__CODE_CORRUPTION, object); // By its neighbour, most likely.
        fa__store(fa__tag_of(object), (uint16_t)pool->desc.tag.id);
    }
    note_generation(place.run, present);
    fa__store(generation, present + 1);
    return true;
}

// Puts a free slot into the thread's stack, or to its slab where there is none.
void fa__pool_put(fa__pool *pool, fa__thread *thread, void *object) {
    fa__denial denial = FA__DENIED_BY_BACKEND;
    fa__cache *cache =
        thread == NULL || pool->is_careful ? NULL : fa__pool_cache(pool, thread, &denial);
    if (cache == NULL) {
        uint32_t tag = pool->is_rich ? fa__load(fa__tag_of(object)) : pool->desc.tag.id;
        size_t given = fa__slots_give(&pool->slots, &object, 1);
        fa__pool_uncharge(pool, thread, tag, given * pool->stride);
        return;
    }
    if (FA_UNLIKELY(cache->open.top == cache->open.end)) {
        fa__pool_spill(pool, cache);
    }
    void **top = cache->open.top;
    if (FA_UNLIKELY(top[-1] == object)) {
        fail_free(pool, FA__CODE_DOUBLE_FREE, object);
        return;
    }
    FA_STORE_RELAXED(top, object);
    FA_STORE_RELAXED(&cache->open.top, top + 1);
}

// Everything that follows when the life of an object has ended.
static void let_go(fa__pool *pool, fa__thread *thread, void *object) {
    if (pool->desc.reset != NULL) {
        pool->desc.reset(object, pool->desc.user);
    }
    if (pool->is_careful) {
        fa__pool_check_given(pool, object);
    }
    if (pool->is_rich && FA_UNLIKELY(fa__load(fa__generation_of(object)) > FA__GENERATION_MAX)) {
        uint32_t tag = fa__load(fa__tag_of(object));
        fa__pool_uncharge(pool, thread, tag, pool->stride);
        fa__pool_retire(pool, object);
    } else {
        fa__pool_put(pool, thread, object);
    }
    count_down(pool);
}

// The home thread's short way in a rich pool. False: take the long way, nothing has changed.
static inline bool put_swiftly(fa__pool *pool, void *object) {
    uint64_t offset = (uint64_t)((uintptr_t)object - (uintptr_t)pool->open.base);
    void **top = pool->home.open.top;
    if (FA_UNLIKELY(offset >= FA_LOAD_RELAXED(&pool->open.span) * FA__GRANULE_BYTES) ||
        FA_UNLIKELY(top == pool->home.open.end) ||
        FA_UNLIKELY(FA_LOAD_RELAXED(&pool->open.owners[offset >> FA__UNIT_SHIFT]) !=
                    pool->open.number)) {
        return false;
    }
    fa__u32 *generation = fa__generation_of(object);
    uint32_t next = fa__load(generation) + 1;
    if (FA_UNLIKELY(next % 2 != 0) || FA_UNLIKELY(next % FA__GENERATION_STEP == 0)) {
        return false; // Free already; or the slab is to be told.
    }
    fa__store(generation, next);
    FA_STORE_RELAXED(top, object);
    FA_STORE_RELAXED(&pool->home.open.top, top + 1);
    return true;
}

// False after a report.
static bool is_slot(fa__pool *pool, const void *object) {
    bool is_found = fa__pool_find(pool, object).run != NULL;
    if (!is_found) {
        fail_free(pool, FA__CODE_FOREIGN_POINTER, object);
    }
    return is_found;
}

static FA__NOINLINE void put_slowly(fa__pool *pool, void *object) {
    fa__thread *thread = fa__thread_get(pool->context);
    // A pool's `reset` is not to be given what is none of its objects.
    bool is_wrong = pool->is_rich ? !end_life(pool, object)
                                  : pool->desc.reset != NULL && !is_slot(pool, object);
    if (!is_wrong) {
        let_go(pool, thread, object);
    }
}

void fa_pool_free_call(fa_pool *open, void *object) {
    fa__pool *pool = fa__pool_open(open);
#ifdef FA_HAS_THREAD_POINTER
    if (FA_LIKELY(fa_is_thread_pointer(FA_LOAD_RELAXED(&pool->swift))) &&
        FA_LIKELY(put_swiftly(pool, object))) {
        return;
    }
#endif
    if (object != NULL) {
        put_slowly(pool, object);
    }
}

void fa_pool_free_batch(fa_pool *open, void **objects, size_t count) {
    for (size_t i = 0; i < count; i++) {
        fa_pool_free(open, objects[i]);
    }
}

// Handles -----------------------------------------------------------------------------------------

fa_handle fa_pool_handle_call(fa_pool *open, const void *object) {
    fa__pool *pool = fa__pool_open(open);
    if (!pool->desc.handles) {
        fa__fail(&(fa__failure){.context = pool->context,
                                .code = FA__CODE_BAD_CONFIG,
                                .result = FA_ERR_INVALID,
                                .where = "handles"});
        return (fa_handle){0};
    }
    fa__place found = fa__pool_find(pool, object);
    uint64_t generation = found.run == NULL ? 0 : fa__load(fa__generation_of(object));
    if (generation % 2 == 0) {
        fail_free(pool, FA__CODE_FOREIGN_POINTER, object);
        return (fa_handle){0};
    }
    // The place is that of the header: it lies in the pool's own units even where the object is the
    // first thing in one, so that resolving whatever number reads only what the pool owns.
    const char *header = (const char *)object - FA__HEADER_BYTES;
    uint64_t place = (uint64_t)(header - pool->open.base) / FA__GRANULE_BYTES;
    if (FA_UNLIKELY(place >= FA_LOAD_RELAXED(&pool->open.span))) {
        place = fa__space_granule_slow(pool->slots.space, header);
    }
    if (FA_UNLIKELY(place > FA_HANDLE_PLACE)) { // Half a terabyte of sections have come and gone.
        fail_free(pool, FA__CODE_TOO_MANY, object);
        return (fa_handle){0};
    }
    return (fa_handle){generation << FA__GENERATION_SHIFT | place};
}

void *fa_pool_resolve_call(const fa_pool *open, fa_handle handle) {
    const fa__pool *pool = (const fa__pool *)(const void *)open;
    uint64_t place = handle.value & FA_HANDLE_PLACE;
    if (handle.value == 0 || fa__space_owner_slow(pool->slots.space, place) != pool->open.number) {
        return NULL;
    }
    char *object = fa__space_at_slow(pool->slots.space, place) + FA__HEADER_BYTES;
    bool is_live = fa__load(fa__generation_of(object)) == handle.value >> FA__GENERATION_SHIFT;
    return is_live ? object : NULL;
}

fa_result fa_pool_free_handle(fa_pool *open, fa_handle handle) {
    fa__pool *pool = fa__pool_open(open);
    void *object = fa_pool_resolve(open, handle);
    fa__place place = object == NULL ? (fa__place){0} : fa__pool_find(pool, object);
    uint32_t present = (uint32_t)(handle.value >> FA__GENERATION_SHIFT);
    // Of several threads one ends this life, and frees the object.
    if (place.run == NULL || !fa__swap_once(fa__generation_of(object), present, present + 1)) {
        return fa__fail(&(fa__failure){.context = pool->context,
                                       .code = FA__CODE_STALE_HANDLE,
                                       .result = FA_ERR_STALE,
                                       .tag = pool->desc.tag,
                                       .where = pool->name});
    }
    note_generation(place.run, present);
    let_go(pool, fa__thread_get(pool->context), object);
    return FA_OK;
}

fa_tag fa_pool_tag(fa_pool *open, const void *object) {
    fa__pool *pool = fa__pool_open(open);
    fa__place place = fa__pool_find(pool, object);
    if (place.run == NULL) {
        return FA_TAG_ROOT;
    }
    return pool->desc.object_tags ? (fa_tag){fa__load(fa__tag_of(object))} : pool->desc.tag;
}

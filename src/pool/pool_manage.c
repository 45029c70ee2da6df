// The life of a pool: its making and its end, its figures, and what the context asks of all pools.
//
// Records of pools that ended are kept for the next ones, with the memory of their stacks and
// depots, so that pools that come and go take nothing new. A pool that the context works on by
// itself (giving unused memory back at the end of frames) is pinned meanwhile, and its end waits.
#include "pools.h"

#include <stdio.h>
#include <string.h>

#define SIZE_MAX_OF_OBJECT ((size_t)16 << 20)
#define QUIET_SLOTS 512u // Slots of a pool that one quiet step may move.

static fa__u64 next_serial = 1;

// The context's pools -----------------------------------------------------------------------------

static fa__pools *pools_of(fa_context *ctx) {
    return fa__load_acquire(&ctx->pools);
}

// The next pool after `pool` (the first after NULL), pinned; unpins `pool`. NULL at the end.
static fa__pool *pin_next(fa__pools *pools, fa__pool *pool) {
    fa__os_mutex_lock(&pools->lock);
    fa__pool *next = pool == NULL ? pools->all : pool->next;
    if (next != NULL) {
        next->pins += 1;
    }
    if (pool != NULL) {
        pool->pins -= 1;
    }
    fa__os_mutex_unlock(&pools->lock);
    return next;
}

// Gives up what a thread keeps of a pool.
static void leave(fa__pool *pool, fa__thread *thread) {
    if (fa__load(&pool->home_thread) == thread) {
        fa__pool_flush(pool, &pool->home);
        FA_STORE_RELAXED(&pool->open.cache.home, NULL);
        FA_STORE_RELAXED(&pool->swift, NULL);
        pool->current = NULL;
        fa__store_release(&pool->home_thread, NULL);
    }
    const fa__thread_pools *table = thread->pools;
    if (table != NULL && pool->index < table->count) {
        fa__pool_entry *entry = &table->entries[pool->index];
        if (entry->serial == pool->serial) {
            fa__pool_flush(pool, entry->cache);
            fa__cache_close(entry->cache);
        }
        *entry = (fa__pool_entry){0};
    }
}

// Empties what a thread keeps of a pool.
static void flush_own(fa__pool *pool, fa__thread *thread) {
    if (thread == NULL) {
        return;
    }
    if (fa__load(&pool->home_thread) == thread) {
        fa__pool_flush(pool, &pool->home);
    }
    const fa__thread_pools *table = thread->pools;
    if (table != NULL && pool->index < table->count &&
        table->entries[pool->index].serial == pool->serial) {
        fa__pool_flush(pool, table->entries[pool->index].cache);
    }
}

static void on_thread_detach(fa__thread *thread) {
    fa__pools *pools = pools_of(thread->context);
    for (fa__pool *pool = pin_next(pools, NULL); pool != NULL; pool = pin_next(pools, pool)) {
        leave(pool, thread);
    }
}

static void on_return_leases(fa_context *ctx) {
    fa__pools *pools = pools_of(ctx);
    fa__thread *thread = fa__thread_find(ctx);
    for (fa__pool *pool = pin_next(pools, NULL); pool != NULL; pool = pin_next(pools, pool)) {
        flush_own(pool, thread);
    }
}

static size_t on_idle_bytes(fa_context *ctx, uint32_t tag) {
    fa__pools *pools = pools_of(ctx);
    size_t bytes = 0;
    for (fa__pool *pool = pin_next(pools, NULL); pool != NULL; pool = pin_next(pools, pool)) {
        bytes += fa__pool_cached(pool, tag) * pool->stride;
    }
    return bytes;
}

// A long home stack that was neither filled nor emptied since the last step is longer than it need
// be: a part of it goes to the depot.
static void shorten_home(fa__pool *pool) {
    bool is_idle = pool->exchanges == pool->exchanges_noted;
    size_t moved = 0;
    while (is_idle && moved < QUIET_SLOTS && fa__cache_count(&pool->home) > FA__HOME_SLOTS) {
        moved += fa__pool_send(pool, &pool->home);
    }
    pool->exchanges_noted = pool->exchanges;
}

static void on_quiet(fa_context *ctx, fa__thread *thread) {
    fa__pools *pools = pools_of(ctx);
    for (fa__pool *pool = pin_next(pools, NULL); pool != NULL; pool = pin_next(pools, pool)) {
        if (thread != NULL && fa__load(&pool->home_thread) == thread) {
            shorten_home(pool);
        }
        fa__slots_tick(&pool->slots, QUIET_SLOTS);
    }
}

static bool on_trim(fa_context *ctx, fa__thread *thread, uint64_t until_ns) {
    fa__pools *pools = pools_of(ctx);
    bool is_in_time = true;
    for (fa__pool *pool = pin_next(pools, NULL); pool != NULL; pool = pin_next(pools, pool)) {
        is_in_time = is_in_time && (until_ns == UINT64_MAX || fa__os_clock_ns() < until_ns);
        if (is_in_time) {
            flush_own(pool, thread);
            (void)fa__slots_trim(&pool->slots, 0);
        }
    }
    return is_in_time; // The space is trimmed after all that lie in it.
}

static size_t on_context_destroy(fa_context *ctx);

static const fa__tier tier = {.thread_detach = on_thread_detach,
                              .return_leases = on_return_leases,
                              .idle_bytes = on_idle_bytes,
                              .quiet = on_quiet,
                              .trim = on_trim,
                              .context_destroy = on_context_destroy};

// The context's pools, made on first use; NULL when there is no memory.
static fa__pools *get_pools(fa_context *ctx, fa__denial *denial) {
    fa__pools *pools = pools_of(ctx);
    if (pools != NULL) {
        return pools;
    }
    fa__os_mutex_lock(&ctx->lock);
    pools = pools_of(ctx);
    if (pools == NULL) {
        pools = fa__meta_alloc(ctx->pages, sizeof *pools, denial);
        if (pools != NULL && fa__os_mutex_init(&pools->lock)) {
            fa__store_release(&ctx->pools, pools);
            fa__tier_register(ctx, FA__TIER_POOLS, &tier);
        } else {
            pools = NULL;
        }
    }
    fa__os_mutex_unlock(&ctx->lock);
    return pools;
}

// Making ------------------------------------------------------------------------------------------

static fa_result refuse(fa_context *ctx, fa__code code, const char *field, size_t value) {
    return fa__fail(&(fa__failure){
        .context = ctx, .code = code, .result = FA_ERR_INVALID, .bytes = value, .where = field});
}

static fa_result check_desc(fa_context *ctx, const fa_pool_desc *desc) {
    if (desc == NULL || desc->size == 0 || desc->size > SIZE_MAX_OF_OBJECT) {
        return refuse(ctx, FA__CODE_BAD_CONFIG, "size", desc == NULL ? 0 : desc->size);
    }
    if ((desc->align & (desc->align - 1)) != 0 || desc->align > FA__UNIT) {
        return refuse(ctx, FA__CODE_BAD_ALIGNMENT, "align", desc->align);
    }
    if (fa__tag_get(ctx, desc->tag) == NULL) {
        return fa__tag_fail(ctx, desc->tag, FA_ERR_INVALID);
    }
    return FA_OK;
}

static size_t round_up(size_t size, size_t step) {
    return (size + (step - 1)) & ~(step - 1);
}

// Lays a slot out: what lies behind the object, and how far slots are apart.
static void lay_out(fa__pool *pool) {
    fa_pool_desc *desc = &pool->desc;
    size_t end = desc->size;
    if (desc->align == 0) { // The most that the size allows.
        desc->align = desc->size % 16 == 0 ? 16 : 8;
    }
    pool->canary_at = 0;
    pool->site_at = 0;
    if (pool->is_careful) {
        pool->canary_at = (uint32_t)end;
        pool->site_at = (uint32_t)round_up(end + FA__CANARY_BYTES, 8);
        end = pool->site_at + sizeof(void *);
    }

    end += pool->is_rich ? FA__HEADER_BYTES : 0; // The next object's.
    size_t stride = round_up(end, desc->align > 8 ? desc->align : 8);
    pool->stride = stride < 16 ? 16 : stride;
}

// A slot that has not been handed out since its slab was acquired.
static void prepare(void *self, char *slot, fa__run *run) {
    fa__pool *pool = self;
    (void)run;
    if (pool->is_careful) {
        fa__pool_check_prepare(pool, slot);
    }
    if (pool->desc.construct != NULL) {
        pool->desc.construct(slot, pool->desc.user);
    }
}

static void retire(void *self, char *slot) {
    const fa__pool *pool = self;
    pool->desc.destruct(slot, pool->desc.user);
}

// Gives all slots of a new slab their first generation: what lies there may be anything, and must
// not look like a live object to a handle from before. It is above all generations that this place
// has had, and even, as the slot is free.
static void number_slots(fa__pool *pool, fa__run *run) {
    const fa__slab *slab = fa__slab_of(run);
    bool is_used_up = run->floor > FA__GENERATION_MAX - 2;
    uint32_t first = is_used_up ? FA__GENERATION_MAX + 1 : (run->floor + 1) & ~(uint32_t)1;
    char *slot = run->ptr + slab->first;
    for (uint32_t i = 0; i < slab->capacity; i++, slot += pool->stride) {
        fa__store(fa__generation_of(slot), first);
        fa__store(fa__tag_of(slot), (uint16_t)pool->desc.tag.id);
    }
}

// Lets the inline fa_pool_resolve() look as far as this slab, and notes its first generations.
static void acquired(void *self, fa__run *run) {
    fa__pool *pool = self;
    uint32_t floor = run->floor;
    uint32_t highest =
        floor > UINT32_MAX - 2 ? UINT32_MAX : (floor + 2) | (FA__GENERATION_STEP - 1);
    fa__store(&fa__slab_of(run)->highest, highest);
    number_slots(pool, run);
    const fa__space *space = pool->slots.space;
    uint64_t offset = (uint64_t)(run->ptr - space->base);
    // The inline functions look at less: while blocks are checked they are to find nothing.
    if (!pool->is_careful && space->base != NULL && offset < fa__load(&space->top)) {
        uint64_t end = (offset + run->units * FA__UNIT) / FA__GRANULE_BYTES;
        if (end > FA_LOAD_RELAXED(&pool->open.span)) {
            FA_STORE_RELAXED(&pool->open.span, end);
        }
    }
}

// What stacks gave was uncharged before it was found to be nothing of the pool's.
static void wronged(void *self, size_t count) {
    const fa__pool *pool = self;
    fa__object_uncharge_orphan(pool->context, FA__HOLDER_POOL, pool->desc.tag.id,
                               0 - count * pool->stride);
}

static fa_result start(fa__pool *pool, fa__denial *denial) {
    fa_context *ctx = pool->context;
    fa__slots_desc slots = {.name = pool->name,
                            .stride = pool->stride,
                            .align = pool->desc.align,
                            .has_owner = pool->is_rich,
                            .number = pool->open.number,
                            .wronged = wronged,
                            .self = pool};
    bool is_prepared = pool->is_careful || pool->desc.construct != NULL;
    slots.prepare = is_prepared ? prepare : NULL;
    slots.retire = pool->desc.destruct != NULL ? retire : NULL;
    slots.acquired = pool->is_rich ? acquired : NULL;
    pool->home.source = NULL; // The stack is not in use.
    if (!fa__pool_grow(pool, FA__HOME_SLOTS, denial)) {
        return FA_ERR_OUT_OF_MEMORY;
    }
    pool->home.bottom = pool->home_bottom;
    fa_result result = fa__slots_init(&pool->slots, ctx, &slots, denial);
    if (result != FA_OK) {
        return result;
    }
    pool->open.base = pool->slots.space->base;
    pool->open.span = 0;
    pool->open.owners = (const uint32_t *)(uintptr_t)pool->slots.space->owners;
    pool->open.cache.home = NULL;
    pool->swift = NULL;
    pool->current = NULL;
    fa__store(&pool->home_thread, NULL);
    fa__cache_init(&pool->home, &pool->slots, NULL, pool->home.room);
    fa__store(&pool->live, 0);
    fa__store(&pool->peak, 0);
    pool->serial = fa__shared_add(&next_serial, 1);
    return FA_OK;
}

// A record for a pool, not in any list. NULL when there is no memory.
static fa__pool *get_record(fa_context *ctx, fa__pools *pools, fa__denial *denial) {
    fa__os_mutex_lock(&pools->lock);
    fa__pool *pool = pools->free;
    if (pool != NULL) {
        pools->free = pool->next;
    }
    fa__os_mutex_unlock(&pools->lock);
    bool is_new = pool == NULL;
    if (is_new) {
        pool = fa__meta_alloc(ctx->pages, sizeof *pool, denial);
        if (pool == NULL) {
            return NULL;
        }
    }
    fa__os_mutex_lock(&pools->lock);
    if (is_new) {
        pool->index = pools->next_index;
        pools->next_index += 1;
    }
    pools->next_number += 1;
    pool->open.number = pools->next_number;
    fa__os_mutex_unlock(&pools->lock);
    return pool;
}

static void put_record(fa__pools *pools, fa__pool *pool) {
    fa__os_mutex_lock(&pools->lock);
    pool->serial = 0;
    pool->next = pools->free;
    pools->free = pool;
    fa__os_mutex_unlock(&pools->lock);
}

static fa_result fail_create(fa_context *ctx, const fa_pool_desc *desc, fa__denial denial) {
    bool is_limit = denial == FA__DENIED_BY_LIMIT;
    return fa__fail(&(fa__failure){.context = ctx,
                                   .code = is_limit ? FA__CODE_MEMORY_LIMIT : FA__CODE_OS_REFUSED,
                                   .result = is_limit ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY,
                                   .limit = is_limit ? ctx->config.memory_limit : 0,
                                   .tag = desc->tag,
                                   .where = desc->name == NULL ? "pool" : desc->name});
}

fa_result fa_pool_create(fa_context *ctx, const fa_pool_desc *desc, fa_pool **out) {
    if (out == NULL) {
        return fa__fail_argument(ctx, "out");
    }
    *out = NULL;
    fa_result result = check_desc(ctx, desc);
    if (result != FA_OK) {
        return result;
    }
    fa__denial denial = FA__DENIED_BY_BACKEND;
    fa__pools *pools = get_pools(ctx, &denial);
    fa__pool *pool = pools == NULL ? NULL : get_record(ctx, pools, &denial);
    if (pool == NULL) {
        return fail_create(ctx, desc, denial);
    }
    pool->context = ctx;
    pool->desc = *desc;
    snprintf(pool->name, sizeof pool->name, "%s", desc->name == NULL ? "pool" : desc->name);
    pool->desc.name = pool->name;
    pool->is_careful = (fa__load(&ctx->checks) & FA_CHECK_BLOCKS) != 0;
    // A count that is to be exact must not be taken down by a wrong free.
    pool->is_rich = desc->handles || desc->object_tags || desc->max_count != 0 || pool->is_careful;
    pool->is_swift =
        desc->reset == NULL && desc->max_count == 0 && !desc->zero && !pool->is_careful;
    pool->is_plain = pool->is_swift && !pool->is_rich;
    lay_out(pool);
    if (start(pool, &denial) != FA_OK) {
        put_record(pools, pool);
        return fail_create(ctx, desc, denial);
    }
    fa__os_mutex_lock(&pools->lock);
    pool->next = pools->all;
    pools->all = pool;
    fa__os_mutex_unlock(&pools->lock);
    *out = &pool->open;
    return FA_OK;
}

// Ending ------------------------------------------------------------------------------------------

// Uncharges what lies in all stacks, before they are emptied from outside.
static void uncharge_stacks(fa__pool *pool) {
    fa__thread *thread = fa__thread_find(pool->context);
    for (fa__cache *cache = pool->slots.caches; cache != NULL; cache = cache->next) {
        fa__pool_uncharge_slots(pool, thread, cache->bottom, fa__cache_count(cache));
    }
}

// Visits the live slots. No other thread is in the pool.
static void each(fa__pool *pool, bool (*visit)(void *user, char *slot, fa__run *run), void *user) {
    uncharge_stacks(pool);
    fa__slots_each(&pool->slots, visit, user);
}

// The address of the first live object, for the report.
static bool find_first(void *user, char *slot, fa__run *run) {
    (void)run;
    *(char **)user = slot;
    return false;
}

static void report_live(fa__pool *pool, size_t live) {
    char *first = NULL;
    const void *site = NULL;
    if (pool->is_careful) {
        each(pool, find_first, &first);
        if (first != NULL) {
            memcpy(&site, first + pool->site_at, sizeof site);
        }
    }
    fa__fail(&(fa__failure){.context = pool->context,
                            .code = FA__CODE_LIVE_AT_END,
                            .result = FA_ERR_BUSY,
                            .bytes = live * pool->stride,
                            .count = live,
                            .ptr = first,
                            .site = site,
                            .tag = pool->desc.tag,
                            .where = pool->name});
}

// A slot that is not free and not live: it has had all its lives.
static bool is_retired(const fa__pool *pool, const char *slot) {
    return pool->is_rich && fa__load(fa__generation_of(slot)) % 2 == 0;
}

static bool uncharge_one(void *user, char *slot, fa__run *run) {
    const fa__pool *pool = user;
    (void)run;
    if (!is_retired(pool, slot)) {
        uint32_t tag = fa__load(fa__tag_of(slot));
        fa__pool_uncharge(pool, fa__thread_find(pool->context), tag, pool->stride);
    }
    return true;
}

// Takes off what is charged for the pool: for what is live, and for what lies in stacks.
static void uncharge_all(fa__pool *pool, size_t live) {
    if (pool->desc.object_tags && live != 0) {
        each(pool, uncharge_one, pool);
        return;
    }
    uncharge_stacks(pool);
    fa__thread *thread = fa__thread_find(pool->context);
    fa__pool_uncharge(pool, thread, pool->desc.tag.id, live * pool->stride);
}

// Takes a pool down that is in no list. Returns how many objects were live.
static size_t finish(fa__pools *pools, fa__pool *pool) {
    size_t live = fa__slots_live(&pool->slots);
    if (live != 0) {
        report_live(pool, live);
    }
    uncharge_all(pool, live);
    // The home stack is part of this record: it must not be handed to another thread.
    fa__cache **link = &pool->slots.caches;
    while (*link != &pool->home) {
        link = &(*link)->next;
    }
    *link = pool->home.next;
    fa__slots_destroy(&pool->slots);
    put_record(pools, pool);
    return live;
}

fa_result fa_pool_destroy(fa_pool *open) {
    if (open == NULL) {
        return FA_OK;
    }
    fa__pool *pool = fa__pool_open(open);
    fa__pools *pools = pools_of(pool->context);
    fa__os_mutex_lock(&pools->lock);
    fa__pool **link = &pools->all;
    while (*link != NULL && *link != pool) {
        link = &(*link)->next;
    }
    bool is_found = *link == pool;
    if (is_found) {
        while (pool->pins != 0) { // A thread's frame has ended and looks after unused memory.
            fa__os_mutex_unlock(&pools->lock);
            fa__os_yield();
            fa__os_mutex_lock(&pools->lock);
        }
        link = &pools->all;
        while (*link != pool) {
            link = &(*link)->next;
        }
        *link = pool->next;
    }
    fa__os_mutex_unlock(&pools->lock);
    if (!is_found) {
        return fa__fail_argument(pool->context, "pool");
    }
    return finish(pools, pool) == 0 ? FA_OK : FA_ERR_BUSY;
}

static size_t on_context_destroy(fa_context *ctx) {
    fa__pools *pools = pools_of(ctx);
    size_t live = 0;
    while (pools->all != NULL) {
        fa__pool *pool = pools->all;
        pools->all = pool->next;
        live += finish(pools, pool);
    }
    fa__os_mutex_destroy(&pools->lock);
    return live;
}

// Memory ahead and back ---------------------------------------------------------------------------

fa_result fa_pool_reserve(fa_pool *open, size_t count) {
    fa__pool *pool = fa__pool_open(open);
    fa__denial denial = FA__DENIED_BY_BACKEND;
    if (pool->desc.max_count != 0 && count > pool->desc.max_count) {
        return fa__fail(&(fa__failure){.context = pool->context,
                                       .code = FA__CODE_TOO_MANY,
                                       .result = FA_ERR_LIMIT,
                                       .limit = pool->desc.max_count,
                                       .where = pool->name});
    }
    fa__thread *thread = fa__thread_get(pool->context);
    if (thread == NULL) {
        return fa_last_error()->result;
    }
    // What lies in stacks may be another thread's: beyond the count there is to be so much more.
    size_t spare = fa__slots_cached(&pool->slots) + pool->slots.cache_slots;
    fa__cache *cache = fa__pool_cache(pool, thread, &denial);
    bool is_possible = count <= SIZE_MAX / 4 / pool->stride;
    bool has_all = is_possible && cache != NULL && fa__pool_account(pool, thread) != NULL &&
                   (cache != &pool->home || fa__pool_grow(pool, count, &denial)) &&
                   fa__slots_reserve(&pool->slots, count + spare, &denial) == FA_OK;
    if (!has_all) {
        fa__pool_fail_memory(pool, denial);
        return fa_last_error()->result;
    }
    return FA_OK;
}

size_t fa_pool_trim(fa_pool *open, size_t keep) {
    fa__pool *pool = fa__pool_open(open);
    flush_own(pool, fa__thread_find(pool->context));
    fa__slots_trim(&pool->slots, keep);
    size_t returned = 0;
    (void)fa__space_trim(pool->slots.space, UINT64_MAX, &returned);
    return returned;
}

// Figures -----------------------------------------------------------------------------------------

typedef struct visit_all {
    const fa__pool *pool;
    bool (*visit)(void *object, void *user);
    void *user;
    size_t count;
} visit_all;

static bool visit_one(void *user, char *slot, fa__run *run) {
    visit_all *all = user;
    (void)run;
    if (is_retired(all->pool, slot)) {
        return true;
    }
    all->count += 1;
    return all->visit(slot, all->user);
}

size_t fa_pool_each(fa_pool *open, bool (*visit)(void *object, void *user), void *user) {
    fa__pool *pool = fa__pool_open(open);
    visit_all all = {.pool = pool, .visit = visit, .user = user};
    each(pool, visit_one, &all);
    return all.count;
}

fa_result fa_pool_stats(fa_pool *open, fa_pool_stats_result *out) {
    fa__pool *pool = fa__pool_open(open);
    if (out == NULL) {
        return fa__fail_argument(pool->context, "out");
    }
    fa__slots *slots = &pool->slots;
    *out = (fa_pool_stats_result){.live = fa__slots_live(slots),
                                  .peak = fa__load(&pool->peak),
                                  .capacity = fa__load(&slots->slot_count),
                                  .slot_bytes = pool->stride,
                                  .committed_bytes = fa__slots_committed(slots),
                                  .cached = fa__slots_cached(slots),
                                  .retired = fa__load(&slots->retired_count),
                                  .max_count = pool->desc.max_count};
    out->live_bytes = out->live * pool->stride;
    memcpy(out->name, pool->name, sizeof out->name);
    return FA_OK;
}

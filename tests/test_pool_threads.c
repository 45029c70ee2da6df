// Pools used by several threads: limits that hold for all together, objects that outlive their
// threads, memory that stays bounded however objects travel.
#include "../src/pool/pools.h"
#include "core_fixture.h"

#include <framealloc/frame.h>
#include <framealloc/pool.h>

enum { THREADS = 4 };

static fa_context *ctx;

static fa_pool *pool_open(const fa_pool_desc *desc) {
    fa_pool *pool = NULL;
    REQUIRE_EQ(fa_pool_create(ctx, desc, &pool), FA_OK);
    REQUIRE_NOT_NULL(pool);
    return pool;
}

static fa_pool_stats_result figures_of(fa_pool *pool) {
    fa_pool_stats_result stats;
    REQUIRE_EQ(fa_pool_stats(pool, &stats), FA_OK);
    return stats;
}

static void pool_close(fa_pool *pool) {
    CHECK_EQ(figures_of(pool).live, 0);
    CHECK_EQ(stats_of(ctx).pool_bytes, 0);
    CHECK(fa__slots_check(&fa__pool_open(pool)->slots));
    CHECK_EQ(fa_pool_destroy(pool), FA_OK);
}

// ---- Limits ------------------------------------------------------------------------------------

enum { LIMIT = 1000 };

typedef struct taker {
    fa_pool *pool;
    check_barrier *barrier;
    atomic_size_t *live; // Of all takers, counted outside.
    size_t taken;
    void *objects[LIMIT];
} taker;

static void take_until_refused(void *arg) {
    taker *t = arg;
    check_barrier_wait(t->barrier);
    for (t->taken = 0; t->taken < LIMIT; t->taken++) {
        t->objects[t->taken] = fa_pool_alloc(t->pool);
        if (t->objects[t->taken] == NULL) {
            CHECK(failed_as(409, FA_ERR_LIMIT));
            break;
        }
    }
    check_barrier_wait(t->barrier);
    fa_pool_free_batch(t->pool, t->objects, t->taken / 2); // The rest is freed by others.
}

static void max_count_is_reached_exactly(void) {
    for (uint32_t checks = 0; checks <= FA_CHECK_BLOCKS; checks += FA_CHECK_BLOCKS) {
        static taker takers[THREADS];
        ctx = context_open(&(fa_config){.checks = checks});
        fa_pool *pool = pool_open(&(fa_pool_desc){.size = 64, .max_count = LIMIT});
        check_barrier *barrier = check_barrier_create(THREADS);
        for (int round = 0; round < 5; round++) {
            for (size_t i = 0; i < THREADS; i++) {
                takers[i].pool = pool;
                takers[i].barrier = barrier;
            }
            check_threads_run(THREADS, take_until_refused, takers, sizeof(takers[0]));
            size_t taken = 0;
            for (size_t i = 0; i < THREADS; i++) {
                taken += takers[i].taken;
                size_t freed = takers[i].taken / 2;
                fa_pool_free_batch(pool, takers[i].objects + freed, takers[i].taken - freed);
            }
            CHECK_EQ(taken, LIMIT); // Idle slots of one thread refuse another nothing.
            CHECK_EQ(figures_of(pool).peak, LIMIT);
        }
        check_barrier_destroy(barrier);
        pool_close(pool);
        context_close(ctx);
    }
}

static void take_and_give(void *arg) {
    taker *t = arg;
    check_rng rng = check_rng_make(check_seed() ^ (uintptr_t)t);
    size_t held = 0;
    for (size_t i = 0; i < check_scale(20000); i++) {
        if (held < LIMIT && check_rng_chance(&rng, 55)) {
            void *object = fa_pool_alloc(t->pool);
            if (object != NULL) {
                CHECK_LE(atomic_fetch_add(t->live, 1) + 1, LIMIT);
                t->objects[held++] = object;
            }
        } else if (held != 0) {
            atomic_fetch_sub(t->live, 1);
            fa_pool_free(t->pool, t->objects[--held]);
        }
    }
    atomic_fetch_sub(t->live, held);
    fa_pool_free_batch(t->pool, t->objects, held);
}

static void max_count_is_never_passed(void) {
    static taker takers[THREADS];
    static atomic_size_t live;
    ctx = context_open(NULL);
    fa_pool *pool = pool_open(&(fa_pool_desc){.size = 64, .max_count = LIMIT});
    for (size_t i = 0; i < THREADS; i++) {
        takers[i] = (taker){.pool = pool, .live = &live};
    }
    check_threads_run(THREADS, take_and_give, takers, sizeof(takers[0]));
    CHECK_EQ(atomic_load(&live), 0);
    CHECK_LE(figures_of(pool).peak, LIMIT);
    pool_close(pool);
    context_close(ctx);
}

// ---- Threads that come and go ------------------------------------------------------------------

enum { VISITORS = 300, EACH = 50 };

typedef struct visitor {
    fa_pool *pool;
    void *objects[EACH];
} visitor;

static void visit(void *arg) {
    visitor *v = arg;
    for (size_t i = 0; i < EACH; i++) {
        void *gone = fa_pool_alloc(v->pool);
        v->objects[i] = fa_pool_alloc(v->pool);
        REQUIRE_NOT_NULL(v->objects[i]);
        memset(v->objects[i], (int)i, 64);
        fa_pool_free(v->pool, gone);
    }
}

static void objects_outlive_their_threads(void) {
    static const fa_pool_desc descs[] = {{.size = 64},
                                         {.size = 64, .handles = true, .object_tags = true}};
    for (size_t kind = 0; kind < 2; kind++) {
        static visitor visitors[VISITORS];
        ctx = context_open(NULL);
        fa_pool *pool = pool_open(&descs[kind]);
        fa_pool_free(pool, fa_pool_alloc(pool));
        fa_pool_trim(pool, 0);
        size_t base = stats_of(ctx).committed_bytes - stats_of(ctx).overhead_bytes;
        for (size_t i = 0; i < VISITORS; i++) {
            visitors[i].pool = pool;
            check_thread_join(check_thread_start(visit, &visitors[i]));
        }
        CHECK_EQ(figures_of(pool).live, VISITORS * EACH);
        CHECK_EQ(figures_of(pool).cached, 0); // Nothing stays with the dead.
        CHECK_LE(figures_of(pool).capacity, VISITORS * EACH + 2000);
        for (size_t i = 0; i < VISITORS; i++) {
            for (size_t k = 0; k < EACH; k++) {
                CHECK_EQ(((unsigned char *)visitors[i].objects[k])[63], k);
            }
            fa_pool_free_batch(pool, visitors[i].objects, EACH);
        }
        CHECK_EQ(figures_of(pool).live, 0);
        fa_pool_trim(pool, 0);
        CHECK_EQ(figures_of(pool).committed_bytes, 0);
        CHECK_LE(stats_of(ctx).committed_bytes - stats_of(ctx).overhead_bytes, base);
        pool_close(pool);
        context_close(ctx);
    }
}

static void be_home(void *arg) {
    fa_pool *pool = arg;
    void *object = fa_pool_alloc(pool);
    CHECK_NOT_NULL(object);
#ifdef FA_HAS_THREAD_POINTER
    CHECK_EQ(fa__pool_open(pool)->open.cache.home, fa_thread_pointer());
    void **top = fa__pool_open(pool)->home.open.top;
    fa_pool_free(pool, object);
    CHECK_EQ(fa__pool_open(pool)->home.open.top, top + 1);
#else
    fa_pool_free(pool, object);
#endif
}

static void the_next_thread_becomes_the_home(void) {
    ctx = context_open(NULL);
    fa_pool *pool = pool_open(&(fa_pool_desc){.size = 64});
    for (int i = 0; i < 10; i++) {
        check_thread_join(check_thread_start(be_home, pool));
        CHECK_NULL(fa__load(&fa__pool_open(pool)->home_thread));
        CHECK_NULL(fa__pool_open(pool)->open.cache.home);
        CHECK_EQ(figures_of(pool).cached, 0);
    }
    be_home(pool);
    pool_close(pool);
    context_close(ctx);
}

typedef struct survivor {
    fa_pool *pools[3];
    check_barrier *barrier;
} survivor;

// Keeps stacks of pools that are destroyed, and of those that take their places.
static void survive(void *arg) {
    survivor *s = arg;
    for (int round = 0; round < 20; round++) {
        check_barrier_wait(s->barrier);
        for (size_t i = 0; i < 3; i++) {
            void *objects[30];
            CHECK_EQ(fa_pool_alloc_batch(s->pools[i], objects, 30), 30);
            fa_pool_free_batch(s->pools[i], objects, 30);
        }
        check_barrier_wait(s->barrier);
    }
}

static void stacks_of_destroyed_pools_are_forgotten(void) {
    ctx = context_open(NULL);
    survivor s = {.barrier = check_barrier_create(THREADS + 1)};
    check_thread *threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        threads[i] = check_thread_start(survive, &s);
    }
    for (size_t round = 0; round < 20; round++) {
        for (size_t i = 0; i < 3; i++) {
            s.pools[i] = pool_open(
                &(fa_pool_desc){.size = 16 + 40 * (round % 4), .handles = (round + i) % 2 == 0});
        }
        check_barrier_wait(s.barrier);
        check_barrier_wait(s.barrier);
        CHECK_EQ(stats_of(ctx).pool_bytes, 0);
        for (size_t i = 0; i < 3; i++) {
            CHECK_EQ(figures_of(s.pools[i]).live, 0);
            CHECK_EQ(fa_pool_destroy(s.pools[i]), FA_OK);
        }
        CHECK_EQ(stats_of(ctx).pool_bytes, 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        check_thread_join(threads[i]);
    }
    check_barrier_destroy(s.barrier);
    context_close(ctx);
}

// ---- Objects that travel -----------------------------------------------------------------------

enum { RING = 1024 };

typedef struct pipeline {
    fa_pool *pool;
    _Atomic(void *) ring[RING];
    atomic_bool is_over;
    size_t items;
    size_t capacity_early;
    size_t capacity_late;
} pipeline;

static void produce(void *arg) {
    pipeline *p = arg;
    for (size_t i = 0; i < p->items; i++) {
        size_t *object = fa_pool_alloc(p->pool);
        REQUIRE_NOT_NULL(object);
        *object = i;
        while (atomic_load_explicit(&p->ring[i % RING], memory_order_acquire) != NULL) {
            check_thread_yield();
        }
        atomic_store_explicit(&p->ring[i % RING], object, memory_order_release);
        if (i == p->items / 4) {
            p->capacity_early = figures_of(p->pool).capacity;
        }
    }
    p->capacity_late = figures_of(p->pool).capacity;
}

static void consume(void *arg) {
    pipeline *p = arg;
    for (size_t i = 0; i < p->items; i++) {
        size_t *object = NULL;
        while (object == NULL) {
            object = atomic_exchange_explicit(&p->ring[i % RING], NULL, memory_order_acq_rel);
            if (object == NULL) {
                check_thread_yield();
            }
        }
        CHECK_EQ(*object, i);
        fa_pool_free(p->pool, object);
    }
}

static void memory_stays_bounded_when_one_allocates_and_another_frees(void) {
    static const fa_pool_desc descs[] = {
        {.size = 64}, {.size = 64, .handles = true}, {.size = 64, .object_tags = true}};
    for (size_t kind = 0; kind < 3; kind++) {
        static pipeline p;
        ctx = context_open(NULL);
        memset(&p, 0, sizeof(p));
        p.pool = pool_open(&descs[kind]);
        p.items = check_scale(400000);
        check_thread *producer = check_thread_start(produce, &p);
        check_thread *consumer = check_thread_start(consume, &p);
        check_thread_join(producer);
        check_thread_join(consumer);
        size_t depot = FA__DEPOT_BYTES / figures_of(p.pool).slot_bytes;
        // What is on its way, what stacks and the depot hold, and a slab or two.
        size_t bound = RING + 2 * FA__CACHE_SLOTS + depot + 2048;
        CHECK_LE(p.capacity_early, bound);
        CHECK_LE(p.capacity_late, bound);
        CHECK_EQ(figures_of(p.pool).live, 0);
        pool_close(p.pool);
        context_close(ctx);
    }
}

// ---- Making and ending -------------------------------------------------------------------------

static void make_and_end(void *arg) {
    (void)arg;
    for (size_t i = 0; i < check_scale(2000); i++) {
        fa_pool *pool = NULL;
        CHECK_EQ(fa_pool_create(
                     ctx, &(fa_pool_desc){.size = 16 + i % 5 * 32, .handles = i % 2 == 0}, &pool),
                 FA_OK);
        void *objects[100];
        CHECK_EQ(fa_pool_alloc_batch(pool, objects, 100), 100);
        fa_frame_end(fa_frame_begin(ctx)); // Now and then looks at all pools.
        fa_pool_free_batch(pool, objects, 100);
        (void)stats_of(ctx);
        CHECK_EQ(fa_pool_destroy(pool), FA_OK);
        if (i % 100 == 99) {
            CHECK_EQ(fa_thread_detach(ctx), FA_OK);
        }
    }
}

static void threads_make_and_end_pools_together(void) {
    ctx = context_open(&(fa_config){.decay_frames = 1});
    check_threads_run(THREADS, make_and_end, NULL, 0);
    CHECK_EQ(stats_of(ctx).pool_bytes, 0);
    context_close(ctx);
}

// ---- Constructors ------------------------------------------------------------------------------

typedef struct counted {
    atomic_size_t made;
    atomic_size_t ended;
} counted;

static void construct(void *object, void *user) {
    *(uint64_t *)object = 0xC0FFEE;
    atomic_fetch_add(&((counted *)user)->made, 1);
}

static void destruct(void *object, void *user) {
    CHECK_EQ(*(uint64_t *)object, 0xC0FFEE);
    atomic_fetch_add(&((counted *)user)->ended, 1);
}

static void use_constructed(void *arg) {
    fa_pool *pool = arg;
    void *objects[300];
    for (size_t round = 0; round < check_scale(100); round++) {
        CHECK_EQ(fa_pool_alloc_batch(pool, objects, 300), 300);
        for (size_t i = 0; i < 300; i++) {
            CHECK_EQ(*(uint64_t *)objects[i], 0xC0FFEE);
        }
        fa_pool_free_batch(pool, objects, 300);
        if (round % 10 == 9) {
            fa_pool_trim(pool, 0);
        }
    }
}

static void what_was_constructed_is_destructed_once(void) {
    for (uint32_t checks = 0; checks <= FA_CHECK_BLOCKS; checks += FA_CHECK_BLOCKS) {
        counted seen = {0};
        ctx = context_open(&(fa_config){.checks = checks});
        fa_pool *pool = pool_open(&(fa_pool_desc){
            .size = 64, .construct = construct, .destruct = destruct, .user = &seen});
        check_threads_run(THREADS, use_constructed, pool, 0);
        CHECK_GE(atomic_load(&seen.made), 300);
        CHECK_LE(atomic_load(&seen.ended), atomic_load(&seen.made));
        pool_close(pool);
        CHECK_EQ(atomic_load(&seen.ended), atomic_load(&seen.made));
        context_close(ctx);
    }
}

TEST_SUITE(pool_threads, TEST(max_count_is_reached_exactly), TEST(max_count_is_never_passed),
           TEST(objects_outlive_their_threads), TEST(the_next_thread_becomes_the_home),
           TEST(stacks_of_destroyed_pools_are_forgotten),
           TEST(memory_stays_bounded_when_one_allocates_and_another_frees),
           TEST(threads_make_and_end_pools_together),
           TEST(what_was_constructed_is_destructed_once));

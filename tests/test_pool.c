// Pools: what fa_pool_alloc() hands out, what a pool calls, counts and gives back.
#include "../src/pool/pools.h"
#include "core_fixture.h"

#include <framealloc/pool.h>

typedef struct particle {
    float position[4];
    float velocity[4];
    uint32_t id;
    uint32_t flags;
} particle;

static fa_context *ctx;

static void open_context(void) {
    ctx = context_open(NULL);
}

static fa_pool *pool_open(const fa_pool_desc *desc) {
    fa_pool *pool = NULL;
    REQUIRE_EQ(fa_pool_create(ctx, desc, &pool), FA_OK);
    REQUIRE_NOT_NULL(pool);
    return pool;
}

static void pool_close(fa_pool *pool) {
    CHECK_EQ(fa_pool_destroy(pool), FA_OK);
}

static fa_pool_stats_result figures_of(fa_pool *pool) {
    fa_pool_stats_result stats;
    REQUIRE_EQ(fa_pool_stats(pool, &stats), FA_OK);
    return stats;
}

static size_t pool_bytes(void) {
    fa_stats stats;
    REQUIRE_EQ(fa_stats_get(ctx, &stats), FA_OK);
    return stats.pool_bytes;
}

static bool is_sound(fa_pool *pool) {
    return fa__slots_check(&fa__pool_open(pool)->slots);
}

// ---- Objects -----------------------------------------------------------------------------------

#define MANY 5000

static void objects_are_aligned_and_apart(void) {
    open_context();
    static const struct {
        size_t size;
        size_t align;
    } shapes[] = {{1, 0},      {8, 8},         {24, 8},    {24, 16},     {64, 64},
                  {100, 4},    {200, 32},      {256, 256}, {1000, 1024}, {5000, 4096},
                  {65536, 16}, {40000, 65536}, {70000, 8}};
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        check_note("size %zu, align %zu", shapes[i].size, shapes[i].align);
        fa_pool *pool =
            pool_open(&(fa_pool_desc){.size = shapes[i].size, .align = shapes[i].align});
        size_t count = shapes[i].size > 1000 ? 40 : MANY;
        static unsigned char *objects[MANY];
        for (size_t k = 0; k < count; k++) {
            objects[k] = fa_pool_alloc(pool);
            REQUIRE_NOT_NULL(objects[k]);
            size_t align = shapes[i].align == 0 ? 8 : shapes[i].align;
            CHECK_EQ((uintptr_t)objects[k] % align, 0);
            memset(objects[k], (int)(k % 251), shapes[i].size);
        }
        for (size_t k = 0; k < count; k++) {
            size_t last = shapes[i].size - 1;
            bool is_intact = objects[k][0] == k % 251 && objects[k][last] == k % 251;
            if (!CHECK(is_intact)) {
                break;
            }
        }
        CHECK_EQ(figures_of(pool).live, count);
        CHECK(is_sound(pool));
        for (size_t k = 0; k < count; k++) {
            fa_pool_free(pool, objects[(k * 7919) % count]);
        }
        CHECK_EQ(figures_of(pool).live, 0);
        CHECK_EQ(pool_bytes(), 0);
        CHECK(is_sound(pool));
        pool_close(pool);
    }
    check_note("%s", "");
    context_close(ctx);
}

static void freed_objects_are_used_again(void) {
    open_context();
    fa_pool *pool = pool_open(&FA_POOL_OF(particle));
    CHECK_EQ(figures_of(pool).slot_bytes, sizeof(particle));
    void *first = fa_pool_alloc(pool);
    fa_pool_free(pool, first);
    CHECK_EQ(fa_pool_alloc(pool), first);
    size_t committed = figures_of(pool).committed_bytes;
    for (unsigned i = 0; i < 100000; i++) {
        fa_pool_free(pool, first);
        first = fa_pool_alloc(pool);
    }
    CHECK_EQ(figures_of(pool).committed_bytes, committed);
    fa_pool_free(pool, first);
    fa_pool_free(pool, NULL);
    pool_close(pool);
    context_close(ctx);
}

static void zeroed_objects_are_zero_every_time(void) {
    open_context();
    fa_pool *pool = pool_open(&FA_POOL_OF(particle, .zero = true));
    static const particle zero;
    for (unsigned i = 0; i < 300; i++) {
        particle *p = fa_pool_new(pool, particle);
        REQUIRE_NOT_NULL(p);
        CHECK_MEM_EQ(p, &zero, sizeof(zero));
        memset(p, 0xAB, sizeof(*p));
        fa_pool_free(pool, p);
    }
    pool_close(pool);
    context_close(ctx);
}

static void batches_take_and_give_many(void) {
    open_context();
    fa_pool *pool = pool_open(&FA_POOL_OF(particle, .max_count = 700));
    fa_pool *open_ended = pool_open(&FA_POOL_OF(particle));
    static void *objects[1000];
    CHECK_EQ(fa_pool_alloc_batch(open_ended, objects, 1000), 1000);
    CHECK_EQ(figures_of(open_ended).live, 1000);
    for (size_t i = 0; i < 1000; i++) {
        memset(objects[i], (int)(i % 251), sizeof(particle));
    }
    for (size_t i = 0; i < 1000; i++) {
        CHECK_EQ(*(unsigned char *)objects[i], i % 251);
    }
    objects[3] = NULL;
    fa_pool_free_batch(open_ended, objects, 1000);
    CHECK_EQ(figures_of(open_ended).live, 1);
    CHECK_EQ(fa_pool_alloc_batch(pool, objects, 1000), 700);
    CHECK(failed_as(409, FA_ERR_LIMIT));
    fa_pool_free_batch(pool, objects, 700);
    CHECK_EQ(figures_of(pool).live, 0);
    pool_close(pool);
    CHECK_EQ(fa_pool_destroy(open_ended), FA_ERR_BUSY);
    CHECK(failed_as(406, FA_ERR_BUSY));
    context_close(ctx);
}

// ---- What a pool calls -------------------------------------------------------------------------

typedef struct calls {
    unsigned constructed;
    unsigned reset;
    unsigned destructed;
} calls;

static void construct(void *object, void *user) {
    particle *p = object;
    *p = (particle){.id = 0xC0DE, .flags = 0};
    ((calls *)user)->constructed += 1;
}

static void reset(void *object, void *user) {
    particle *p = object;
    p->flags += 1; // State that outlives the free.
    ((calls *)user)->reset += 1;
}

static void destruct(void *object, void *user) {
    CHECK_EQ(((particle *)object)->id, 0xC0DE);
    ((calls *)user)->destructed += 1;
}

static void objects_are_constructed_once(void) {
    open_context();
    calls seen = {0};
    fa_pool *pool = pool_open(&FA_POOL_OF(particle, .construct = construct, .reset = reset,
                                          .destruct = destruct, .user = &seen));
    static particle *objects[3000];
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < 3000; i++) {
            objects[i] = fa_pool_alloc(pool);
            REQUIRE_NOT_NULL(objects[i]);
            CHECK_EQ(objects[i]->id, 0xC0DE);
        }
        for (size_t i = 0; i < 3000; i++) {
            fa_pool_free(pool, objects[i]);
        }
    }
    CHECK_EQ(seen.reset, 9000);
    CHECK_GE(seen.constructed, 3000);
    CHECK_LE(seen.constructed, 3000 + FA__CACHE_SLOTS); // Ahead of need, in small groups.
    CHECK_EQ(seen.destructed, 0);
    particle *again = fa_pool_alloc(pool);
    CHECK_GT(again->flags, 0); // Not constructed anew.
    fa_pool_free(pool, again);
    fa_pool_trim(pool, 0);
    CHECK_EQ(seen.destructed, seen.constructed);
    again = fa_pool_alloc(pool);
    CHECK_EQ(again->flags, 0);
    fa_pool_free(pool, again);
    pool_close(pool);
    context_close(ctx);
}

static void every_constructed_object_is_destructed(void) {
    open_context();
    calls seen = {0};
    fa_pool *pool = pool_open(
        &FA_POOL_OF(particle, .construct = construct, .destruct = destruct, .user = &seen));
    for (unsigned i = 0; i < 1500; i++) {
        REQUIRE_NOT_NULL(fa_pool_alloc(pool));
    }
    CHECK_EQ(fa_pool_destroy(pool), FA_ERR_BUSY);
    CHECK_EQ(seen.destructed, seen.constructed);
    context_close(ctx);
}

// ---- Limits ------------------------------------------------------------------------------------

static void max_count_is_exact(void) {
    open_context();
    fa_pool *pool = pool_open(&FA_POOL_OF(particle, .max_count = 100, .name = "few"));
    void *objects[100];
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < 100; i++) {
            objects[i] = fa_pool_alloc(pool);
            REQUIRE_NOT_NULL(objects[i]);
        }
        CHECK_NULL(fa_pool_alloc(pool));
        CHECK_STR_EQ(fa_last_error()->where, "few");
        CHECK_EQ(fa_last_error()->limit, 100);
        CHECK(failed_as(409, FA_ERR_LIMIT));
        CHECK_EQ(figures_of(pool).peak, 100);
        for (size_t i = 0; i < 100; i++) {
            fa_pool_free(pool, objects[i]);
        }
    }
    CHECK_EQ(fa_pool_reserve(pool, 101), FA_ERR_LIMIT);
    CHECK(failed_as(409, FA_ERR_LIMIT));
    pool_close(pool);
    context_close(ctx);
}

static void a_budget_refuses_exactly(void) {
    open_context();
    fa_tag tag = fa_tag_register(ctx, "contacts");
    for (unsigned kind = 0; kind < 3; kind++) {
        check_note("kind %u", kind);
        fa_pool *pool = pool_open(&(fa_pool_desc){.size = 64,
                                                  .tag = kind == 1 ? FA_TAG_ROOT : tag,
                                                  .object_tags = kind == 1,
                                                  .handles = kind == 2});
        size_t bytes = 100 * figures_of(pool).slot_bytes;
        CHECK_EQ(bytes, kind == 0 ? 6400 : 8000);
        REQUIRE_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = bytes}), FA_OK);
        REQUIRE_EQ(fa_tag_push(ctx, tag), FA_OK);
        void *objects[100];
        for (size_t i = 0; i < 100; i++) {
            objects[i] = fa_pool_alloc(pool);
            REQUIRE_NOT_NULL(objects[i]);
        }
        CHECK_EQ(pool_bytes(), bytes);
        CHECK_NULL(fa_pool_alloc(pool));
        CHECK(failed_as(302, FA_ERR_BUDGET));
        fa_pool_free(pool, objects[50]);
        objects[50] = fa_pool_alloc(pool);
        REQUIRE_NOT_NULL(objects[50]);
        fa_tag_stats_result figures;
        REQUIRE_EQ(fa_tag_stats(ctx, tag, &figures), FA_OK);
        CHECK_EQ(figures.current_bytes, bytes);
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        for (size_t i = 0; i < 100; i++) {
            fa_pool_free(pool, objects[i]);
        }
        CHECK_EQ(pool_bytes(), 0);
        REQUIRE_EQ(fa_tag_stats(ctx, tag, &figures), FA_OK);
        CHECK_EQ(figures.current_bytes, 0);
        CHECK(is_sound(pool));
        pool_close(pool);
    }
    check_note("%s", "");
    context_close(ctx);
}

static void one_threads_own_idle_slots_refuse_nothing(void) {
    open_context();
    fa_tag tag = fa_tag_register(ctx, "shared");
    REQUIRE_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = 64 * 1000}), FA_OK);
    fa_pool *first = pool_open(&(fa_pool_desc){.size = 64, .tag = tag});
    fa_pool *second = pool_open(&(fa_pool_desc){.size = 64, .tag = tag});
    static void *objects[1000];
    CHECK_EQ(fa_pool_alloc_batch(first, objects, 1000), 1000);
    fa_pool_free_batch(first, objects, 1000); // Idle in the first pool's stack, charged.
    CHECK_EQ(fa_pool_alloc_batch(second, objects, 1000), 1000);
    CHECK_NULL(fa_pool_alloc(first));
    CHECK(failed_as(302, FA_ERR_BUDGET));
    fa_pool_free_batch(second, objects, 1000);
    pool_close(first);
    pool_close(second);
    context_close(ctx);
}

static void object_tags_follow_the_current_tag(void) {
    open_context();
    fa_tag red = fa_tag_register(ctx, "red");
    fa_tag blue = fa_tag_register(ctx, "blue");
    fa_pool *pool = pool_open(&(fa_pool_desc){.size = 48, .object_tags = true});
    static void *objects[600];
    for (size_t i = 0; i < 600; i++) {
        REQUIRE_EQ(fa_tag_push(ctx, i % 3 == 0 ? red : blue), FA_OK);
        objects[i] = fa_pool_alloc(pool);
        REQUIRE_NOT_NULL(objects[i]);
        REQUIRE_EQ(fa_tag_pop(ctx), FA_OK);
        CHECK_EQ(fa_pool_tag(pool, objects[i]).id, i % 3 == 0 ? red.id : blue.id);
    }
    size_t slot = figures_of(pool).slot_bytes;
    fa_tag_stats_result figures;
    REQUIRE_EQ(fa_tag_stats(ctx, red, &figures), FA_OK);
    CHECK_EQ(figures.current_bytes, 200 * slot);
    REQUIRE_EQ(fa_tag_stats(ctx, blue, &figures), FA_OK);
    CHECK_EQ(figures.current_bytes, 400 * slot);
    for (size_t i = 0; i < 600; i += 3) {
        fa_pool_free(pool, objects[i]);
    }
    REQUIRE_EQ(fa_tag_stats(ctx, red, &figures), FA_OK);
    CHECK_EQ(figures.current_bytes, 0);
    CHECK_EQ(pool_bytes(), 400 * slot);
    CHECK_EQ(fa_pool_destroy(pool), FA_ERR_BUSY);
    fa_last_error_clear();
    REQUIRE_EQ(fa_tag_stats(ctx, blue, &figures), FA_OK);
    CHECK_EQ(figures.current_bytes, 0);
    CHECK_EQ(pool_bytes(), 0);
    context_close(ctx);
}

// ---- Memory ------------------------------------------------------------------------------------

static void trim_gives_memory_back(void) {
    open_context();
    fa_pool *pool = pool_open(&(fa_pool_desc){.size = 256});
    static void *objects[40000];
    CHECK_EQ(fa_pool_alloc_batch(pool, objects, 40000), 40000);
    CHECK_GE(figures_of(pool).committed_bytes, 10 * MIB - 256 * KIB);
    fa_pool_free_batch(pool, objects, 40000);
    CHECK_GE(fa_pool_trim(pool, 0), 9 * MIB);
    CHECK_LE(figures_of(pool).committed_bytes, 64 * KIB);
    fa_stats stats;
    fa_context_trim(ctx, 0);
    REQUIRE_EQ(fa_stats_get(ctx, &stats), FA_OK);
    CHECK_LE(stats.committed_bytes - stats.overhead_bytes, 512 * KIB);
    CHECK_EQ(fa_pool_alloc_batch(pool, objects, 100), 100);
    fa_pool_free_batch(pool, objects, 100);
    REQUIRE_EQ(fa_pool_reserve(pool, 4000), FA_OK);
    CHECK_GE(figures_of(pool).capacity, 4000);
    fa_pool_trim(pool, 0);
    CHECK_GE(figures_of(pool).capacity, 4000); // Reserved memory stays.
    pool_close(pool);
    context_close(ctx);
}

static void pools_that_come_and_go_take_nothing_new(void) {
    open_context();
    fa_stats before = {0};
    for (unsigned i = 0; i < 3000; i++) {
        fa_pool *pool = pool_open(&(fa_pool_desc){.size = 16 + i % 7 * 40, .handles = i % 2 == 0});
        void *objects[200];
        CHECK_EQ(fa_pool_alloc_batch(pool, objects, 200), 200);
        fa_pool_free_batch(pool, objects, 200);
        pool_close(pool);
        if (i == 100) {
            REQUIRE_EQ(fa_stats_get(ctx, &before), FA_OK);
        }
    }
    fa_stats after;
    REQUIRE_EQ(fa_stats_get(ctx, &after), FA_OK);
    CHECK_EQ(after.committed_bytes, before.committed_bytes);
    context_close(ctx);
}

typedef struct visited {
    size_t count;
    uint64_t sum;
    fa_pool *pool;
    bool frees;
} visited;

static bool visit(void *object, void *user) {
    visited *seen = user;
    seen->count += 1;
    seen->sum += ((particle *)object)->id;
    if (seen->frees) {
        fa_pool_free(seen->pool, object);
    }
    return true;
}

static void each_visits_what_is_live(void) {
    open_context();
    for (unsigned kind = 0; kind < 2; kind++) {
        fa_pool *pool = pool_open(&FA_POOL_OF(particle, .handles = kind == 1));
        static particle *objects[4000];
        uint64_t sum = 0;
        for (uint32_t i = 0; i < 4000; i++) {
            objects[i] = fa_pool_new(pool, particle);
            REQUIRE_NOT_NULL(objects[i]);
            objects[i]->id = i;
        }
        for (uint32_t i = 0; i < 4000; i++) {
            if (i % 3 != 0) {
                fa_pool_free(pool, objects[i]);
            } else {
                sum += i;
            }
        }
        visited seen = {.pool = pool};
        CHECK_EQ(fa_pool_each(pool, visit, &seen), 1334);
        CHECK_EQ(seen.count, 1334);
        CHECK_EQ(seen.sum, sum);
        CHECK_EQ(pool_bytes(), 1334 * figures_of(pool).slot_bytes);
        seen = (visited){.pool = pool, .frees = true};
        CHECK_EQ(fa_pool_each(pool, visit, &seen), 1334);
        CHECK_EQ(figures_of(pool).live, 0);
        CHECK_EQ(pool_bytes(), 0);
        CHECK(is_sound(pool));
        pool_close(pool);
    }
    context_close(ctx);
}

// ---- Mistakes ----------------------------------------------------------------------------------

static void bad_descriptors_are_refused(void) {
    open_context();
    static const struct {
        fa_pool_desc desc;
        int code;
        const char *where;
    } cases[] = {{{.size = 0}, 14, "size"},
                 {{.size = (size_t)17 << 20}, 14, "size"},
                 {{.size = 64, .align = 24}, 18, "align"},
                 {{.size = 64, .align = 131072}, 18, "align"},
                 {{.size = 64, .tag = {77}}, 802, NULL}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fa_pool *pool = (fa_pool *)&ctx;
        CHECK_EQ(fa_pool_create(ctx, &cases[i].desc, &pool), FA_ERR_INVALID);
        CHECK_NULL(pool);
        if (cases[i].where != NULL) {
            CHECK_STR_EQ(fa_last_error()->where, cases[i].where);
        }
        CHECK(failed_as(cases[i].code, FA_ERR_INVALID));
    }
    fa_pool *pool = NULL;
    CHECK_EQ(fa_pool_create(ctx, NULL, &pool), FA_ERR_INVALID);
    CHECK_EQ(fa_pool_create(ctx, &(fa_pool_desc){.size = 8}, NULL), FA_ERR_INVALID);
    CHECK_EQ(fa_pool_destroy(NULL), FA_OK);
    fa_last_error_clear();
    context_close(ctx);
}

static void a_context_takes_its_pools_down(void) {
    open_context();
    fa_pool *pool = pool_open(&FA_POOL_OF(particle));
    (void)pool_open(&FA_POOL_OF(particle));
    REQUIRE_NOT_NULL(fa_pool_alloc(pool));
    CHECK_EQ(fa_context_destroy(ctx), FA_ERR_BUSY);
    CHECK(failed_as(406, FA_ERR_BUSY));
}

TEST_SUITE(pool, TEST(objects_are_aligned_and_apart), TEST(freed_objects_are_used_again),
           TEST(zeroed_objects_are_zero_every_time), TEST(batches_take_and_give_many),
           TEST(objects_are_constructed_once), TEST(every_constructed_object_is_destructed),
           TEST(max_count_is_exact), TEST(a_budget_refuses_exactly),
           TEST(one_threads_own_idle_slots_refuse_nothing),
           TEST(object_tags_follow_the_current_tag), TEST(trim_gives_memory_back),
           TEST(pools_that_come_and_go_take_nothing_new), TEST(each_visits_what_is_live),
           TEST(bad_descriptors_are_refused), TEST(a_context_takes_its_pools_down));

// Handles of pools: which object they mean, that they never come to mean another, and that no
// number, however wrong, does harm.
#include "../src/pool/pools.h"
#include "core_fixture.h"
#include "fault_backend.h"

#include <framealloc/pool.h>

enum { MANY = 3000 };

static fa_context *ctx;

static fa_pool *pool_open(const fa_pool_desc *desc) {
    fa_pool *pool = NULL;
    REQUIRE_EQ(fa_pool_create(ctx, desc, &pool), FA_OK);
    REQUIRE_NOT_NULL(pool);
    return pool;
}

static fa_pool *handles_open(size_t size) {
    return pool_open(&(fa_pool_desc){.size = size, .handles = true, .name = "things"});
}

static void pool_close(fa_pool *pool) {
    CHECK_EQ(fa_pool_destroy(pool), FA_OK);
}

static bool is_sound(fa_pool *pool) {
    return fa__slots_check(&fa__pool_open(pool)->slots);
}

static fa_pool_stats_result figures_of(fa_pool *pool) {
    fa_pool_stats_result stats;
    REQUIRE_EQ(fa_pool_stats(pool, &stats), FA_OK);
    return stats;
}

// Both ways of looking give the same.
static void *resolve(fa_pool *pool, fa_handle handle) {
    void *object = fa_pool_resolve(pool, handle);
    CHECK_EQ(fa_pool_resolve_call(pool, handle), object);
    return object;
}

static fa_handle handle_of(fa_pool *pool, const void *object) {
    fa_handle handle = fa_pool_handle(pool, object);
    CHECK_NE(handle.value, 0);
    return handle;
}

// ---- What a handle means -----------------------------------------------------------------------

static void a_handle_finds_its_object(void) {
    static const size_t sizes[] = {1, 8, 24, 64, 100, 5000, 70000};
    static void *objects[MANY];
    static fa_handle handles[MANY];
    ctx = context_open(NULL);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        fa_pool *pool = handles_open(sizes[i]);
        size_t count = sizes[i] > 1000 ? 50 : MANY;
        for (size_t k = 0; k < count; k++) {
            objects[k] = fa_pool_alloc(pool);
            REQUIRE_NOT_NULL(objects[k]);
            memset(objects[k], 0xFF, sizes[i]);
            handles[k] = handle_of(pool, objects[k]);
        }
        for (size_t k = 0; k < count; k++) {
            CHECK_EQ(resolve(pool, handles[k]), objects[k]);
            CHECK_EQ(fa_pool_handle(pool, objects[k]).value, handles[k].value);
        }
        for (size_t k = 0; k < count; k += 2) {
            fa_pool_free(pool, objects[k]);
        }
        for (size_t k = 0; k < count; k++) {
            CHECK_EQ(resolve(pool, handles[k]), k % 2 == 0 ? NULL : objects[k]);
        }
        for (size_t k = 1; k < count; k += 2) {
            CHECK_EQ(fa_pool_free_handle(pool, handles[k]), FA_OK);
            CHECK_NULL(resolve(pool, handles[k]));
        }
        CHECK_EQ(figures_of(pool).live, 0);
        CHECK(nothing_failed());
        pool_close(pool);
    }
    context_close(ctx);
}

static void a_stale_handle_stays_stale(void) {
    ctx = context_open(NULL);
    fa_pool *pool = handles_open(40);
    static fa_handle old[MANY];
    void *first = fa_pool_alloc(pool);
    for (size_t i = 0; i < MANY; i++) {
        old[i] = handle_of(pool, first);
        fa_pool_free(pool, first);
        CHECK_EQ(fa_pool_alloc(pool), first); // The same slot again.
    }
    fa_handle present = handle_of(pool, first);
    for (size_t i = 0; i < MANY; i++) {
        CHECK_NULL(resolve(pool, old[i]));
    }
    CHECK_EQ(resolve(pool, present), first);
    CHECK_EQ(fa_pool_free_handle(pool, old[7]), FA_ERR_STALE);
    CHECK(failed_as(401, FA_ERR_STALE));
    CHECK_EQ(resolve(pool, present), first);
    CHECK_EQ(fa_pool_free_handle(pool, present), FA_OK);
    CHECK_EQ(fa_pool_free_handle(pool, present), FA_ERR_STALE);
    CHECK(failed_as(401, FA_ERR_STALE));
    pool_close(pool);
    context_close(ctx);
}

static void zero_is_no_handle(void) {
    ctx = context_open(NULL);
    fa_pool *pool = handles_open(40);
    fa_handle nothing = {0};
    CHECK_NULL(resolve(pool, nothing));
    void *object = fa_pool_alloc(pool);
    CHECK_NULL(resolve(pool, nothing));
    CHECK_EQ(fa_pool_free_handle(pool, nothing), FA_ERR_STALE);
    CHECK(failed_as(401, FA_ERR_STALE));
    fa_pool_free(pool, object);
    pool_close(pool);
    context_close(ctx);
}

static void find_no_handles(uint32_t checks) {
    ctx = context_open(&(fa_config){.checks = checks});
    fa_pool *pool = handles_open(40);
    fa_pool *other = handles_open(40);
    fa_pool *plain = pool_open(&(fa_pool_desc){.size = 40});
    char *object = fa_pool_alloc(pool);
    char *theirs = fa_pool_alloc(other);
    char *free_slot = fa_pool_alloc(pool);
    fa_pool_free(pool, free_slot);
    char *never = object + 20 * figures_of(pool).slot_bytes; // Was never handed out.
    memset(object, checks == 0 ? 0 : 0xFF, 40);              // Looks like a generation in use.
    const void *wrong[] = {NULL, &ctx, object + 8, object + 1, theirs, free_slot, never};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        check_note("pointer %zu", i);
        CHECK_EQ(fa_pool_handle(pool, wrong[i]).value, 0);
        CHECK(failed_as(404, FA_ERR_INVALID));
    }
    CHECK_EQ(fa_pool_handle(plain, object).value, 0);
    CHECK(failed_as(14, FA_ERR_INVALID));
    fa_pool_free(pool, object);
    fa_pool_free(other, theirs);
    pool_close(pool);
    pool_close(other);
    pool_close(plain);
    context_close(ctx);
}

static void only_live_objects_have_handles(void) {
    find_no_handles(0);
    find_no_handles(FA_CHECK_BLOCKS);
}

// ---- When the memory changes hands -------------------------------------------------------------

// Takes `count` objects and gives them back; their handles are stale then.
static void use(fa_pool *pool, void **objects, fa_handle *handles, size_t count) {
    for (size_t i = 0; i < count; i++) {
        objects[i] = fa_pool_alloc(pool);
        REQUIRE_NOT_NULL(objects[i]);
        handles[i] = handle_of(pool, objects[i]);
    }
    for (size_t i = 0; i < count; i++) {
        fa_pool_free(pool, objects[i]);
    }
}

static void check_all_stale(fa_pool *pool, const fa_handle *handles, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!CHECK_NULL(resolve(pool, handles[i]))) {
            return;
        }
    }
}

static void *objects[MANY];
static fa_handle handles[MANY];

static void handles_of_a_destroyed_pool_are_stale(void) {
    ctx = context_open(NULL);
    fa_pool *pool = handles_open(40);
    for (size_t i = 0; i < MANY; i++) {
        objects[i] = fa_pool_alloc(pool);
        handles[i] = handle_of(pool, objects[i]);
    }
    CHECK_EQ(fa_pool_destroy(pool), FA_ERR_BUSY);
    CHECK(failed_as(406, FA_ERR_BUSY));
    fa_pool *next = handles_open(40); // At the same address, its objects too.
    CHECK_EQ(next, pool);
    check_all_stale(next, handles, MANY);
    static void *again[MANY];
    for (size_t i = 0; i < MANY; i++) {
        again[i] = fa_pool_alloc(next);
    }
    check_all_stale(next, handles, MANY);
    for (size_t i = 0; i < MANY; i++) {
        fa_pool_free(next, again[i]);
    }
    pool_close(next);
    context_close(ctx);
}

static void handles_stay_stale_when_slabs_go_and_come(void) {
    ctx = context_open(NULL);
    fa_pool *pool = handles_open(40);
    for (int round = 0; round < 40; round++) {
        static void *now[MANY];
        static fa_handle fresh[MANY];
        use(pool, now, fresh, MANY);
        CHECK_GT(fa_pool_trim(pool, 0), 0);
        CHECK_EQ(figures_of(pool).capacity, 0);
        check_all_stale(pool, fresh, MANY); // The memory is gone.
        if (round == 0) {
            memcpy(handles, fresh, sizeof(handles));
        }
        for (size_t i = 0; i < MANY; i++) {
            now[i] = fa_pool_alloc(pool);
        }
        check_all_stale(pool, handles, MANY);
        check_all_stale(pool, fresh, MANY);
        fa_pool_free_batch(pool, now, MANY);
    }
    pool_close(pool);
    context_close(ctx);
}

// Slabs of one unit and of several: what was the second unit of one is the first of another.
static void handles_stay_stale_when_another_pool_has_the_memory(void) {
    ctx = context_open(NULL);
    fa_pool *wide = handles_open(24000);
    CHECK_GT(fa__pool_open(wide)->slots.units, 1);
    fa_pool *narrow = handles_open(56);
    CHECK_EQ(fa__pool_open(narrow)->slots.units, 1);
    for (int round = 0; round < 20; round++) {
        static void *now[MANY];
        static fa_handle narrow_handles[MANY];
        static fa_handle wide_handles[30];
        for (int i = 0; i <= round % 3; i++) {
            use(narrow, now, narrow_handles, MANY);
        }
        fa_pool_trim(narrow, 0);
        check_all_stale(wide, narrow_handles, MANY);
        use(wide, now, wide_handles, 30);
        for (size_t i = 0; i < 30; i++) {
            now[i] = fa_pool_alloc(wide);
        }
        check_all_stale(wide, wide_handles, 30);
        check_all_stale(narrow, wide_handles, 30);
        check_all_stale(narrow, narrow_handles, MANY);
        check_all_stale(wide, narrow_handles, MANY);
        fa_pool_free_batch(wide, now, 30);
        fa_pool_trim(wide, 0);
        check_all_stale(wide, wide_handles, 30);
    }
    pool_close(wide);
    pool_close(narrow);
    context_close(ctx);
}

// No unit of memory sees a generation again, whichever pools' slabs of whatever length it is in.
static void a_generation_is_given_to_a_place_once(void) {
    static const size_t sizes[] = {24000, 56, 100000, 56, 24000, 56, 30000, 56};
    static uint32_t tops[2][1024]; // By unit: before this round, and with it.
    ctx = context_open(NULL);
    memset(tops, 0, sizeof(tops));
    for (size_t round = 0; round < sizeof(sizes) / sizeof(sizes[0]); round++) {
        fa_pool *pool = handles_open(sizes[round]);
        size_t count = sizes[round] > 1000 ? 12 : MANY;
        for (size_t lives = 0; lives < 100; lives++) { // Beyond what a slab notes at first.
            // Some live on, so that units do not age alike.
            for (size_t i = lives == 0 ? 0 : count / 2; i < count; i++) {
                objects[i] = fa_pool_alloc(pool);
                REQUIRE_NOT_NULL(objects[i]);
                uint32_t generation = fa__load(fa__generation_of(objects[i]));
                size_t unit = (size_t)((char *)objects[i] - pool->base) / FA__UNIT;
                size_t last = unit + sizes[round] / FA__UNIT;
                REQUIRE_LT(last, 1024);
                for (; unit <= last; unit++) {
                    CHECK_GT(generation, tops[0][unit]);
                    tops[1][unit] = generation > tops[1][unit] ? generation : tops[1][unit];
                }
            }
            fa_pool_free_batch(pool, objects + count / 2, count - count / 2);
        }
        fa_pool_free_batch(pool, objects, count / 2);
        memcpy(tops[0], tops[1], sizeof(tops[0]));
        pool_close(pool);
    }
    context_close(ctx);
}

// What others have left in memory does not look like an object.
static void rubbish_in_a_new_slab_is_no_generation(void) {
    ctx = context_open(NULL);
    fa_pool *pool = handles_open(56);
    use(pool, objects, handles, MANY);
    fa_pool_trim(pool, 0);
    fa_pool *plain = pool_open(&(fa_pool_desc){.size = MIB});
    uint32_t *rubbish = fa_pool_alloc(plain);
    REQUIRE_NOT_NULL(rubbish);
    uint64_t generation = handles[0].value >> FA__GENERATION_SHIFT;
    for (size_t i = 0; i < MIB / sizeof(*rubbish); i++) {
        rubbish[i] = (uint32_t)generation;
    }
    fa_pool_free(plain, rubbish);
    pool_close(plain);
    char *one = NULL;
    size_t taken = 0;
    bool is_there = false;
    static void *others[MANY];
    for (; !is_there && taken < MANY; taken++) { // At least once in what the rubbish lies in.
        one = fa_pool_alloc(pool);
        others[taken] = one;
        uintptr_t offset = (uintptr_t)one - (uintptr_t)rubbish;
        is_there = offset < MIB;
    }
    CHECK(is_there);
    check_all_stale(pool, handles, MANY);
    fa_pool_free(pool, one + 300 * figures_of(pool).slot_bytes);
    CHECK(failed_as(403, FA_ERR_INVALID));
    fa_pool_free_batch(pool, others, taken);
    pool_close(pool);
    context_close(ctx);
}

// ---- Forged handles ----------------------------------------------------------------------------

static void forge(fa_pool *pool, fa_pool *other) {
    for (uint64_t place = 0; place < 40 * (FA__UNIT / FA__GRANULE_BYTES); place++) {
        fa_handle handle = {(uint64_t)0xABCDEF1 << FA__GENERATION_SHIFT | place};
        (void)fa_pool_resolve(pool, handle);
        (void)fa_pool_resolve_call(pool, handle);
        (void)fa_pool_resolve(other, handle);
    }
    check_rng rng = check_rng_make(check_seed());
    for (size_t i = 0; i < check_scale(300000); i++) {
        fa_handle handle = {check_rng_next(&rng) >> check_rng_below(&rng, 40)};
        void *object = fa_pool_resolve(pool, handle);
        CHECK_EQ(fa_pool_resolve_call(pool, handle), object);
        if (object == NULL && i % 64 == 0) {
            CHECK_EQ(fa_pool_free_handle(pool, handle), FA_ERR_STALE);
        }
    }
    fa_last_error_clear();
}

static void forged_handles_do_no_harm(void) {
    for (int kind = 0; kind < 3; kind++) {
        fault_backend faults;
        fault_backend_make(&faults, kind == 2 ? FAULT_BLOCKS : FAULT_PAGES);
        faults.reserve_most = kind == 1 ? MIB : 0;
        ctx = context_open(&(fa_config){.backend = &faults.backend});
        fa_pool *pool = handles_open(40); // In the first units there are.
        void *object = fa_pool_alloc(pool);
        fa_pool *wide = handles_open(24000);
        void *big = fa_pool_alloc(wide);
        fa_pool *huge = handles_open(1000000);
        fa_pool_free(huge, fa_pool_alloc(huge));
        fa_pool_trim(huge, 0);
        forge(pool, wide);
        forge(wide, huge);
        fa_pool_free(pool, object);
        fa_pool_free(wide, big);
        CHECK(is_sound(pool));
        CHECK(is_sound(wide));
        pool_close(pool);
        pool_close(wide);
        pool_close(huge);
        context_close(ctx);
        fault_backend_end(&faults);
    }
}

// ---- The end of generations --------------------------------------------------------------------

static report_log reports;

static void a_used_up_slot_is_retired(void) {
    for (int way = 0; way < 3; way++) {
        ctx = context_open(&(fa_config){.checks = way == 2 ? FA_CHECK_BLOCKS : 0});
        log_attach(ctx, &reports);
        fa_pool *pool = handles_open(40);
        void *last = fa_pool_alloc(pool);
        void *other = fa_pool_alloc(pool);
        fa__store(fa__generation_of(last), FA__GENERATION_MAX - 2);
        fa_handle before = handle_of(pool, last);
        CHECK_EQ(resolve(pool, before), last);
        fa_pool_free(pool, last);
        CHECK_EQ(fa_pool_alloc(pool), last); // Its last life.
        fa_handle handle = handle_of(pool, last);
        CHECK_EQ(handle.value >> FA__GENERATION_SHIFT, FA__GENERATION_MAX);
        CHECK_EQ(resolve(pool, handle), last);
        CHECK_NULL(resolve(pool, before));
        CHECK(log_empty(&reports));
        if (way == 1) {
            CHECK_EQ(fa_pool_free_handle(pool, handle), FA_OK);
        } else {
            fa_pool_free(pool, last);
        }
        log_single(&reports, 407);
        CHECK_NULL(resolve(pool, handle));
        fa_pool_stats_result stats = figures_of(pool);
        CHECK_EQ(stats.retired, 1);
        CHECK_EQ(stats.live, 1);
        CHECK_EQ(stats_of(ctx).pool_bytes, stats.slot_bytes);
        CHECK(is_sound(pool));
        static void *all[MANY];
        for (size_t i = 0; i < MANY; i++) {
            all[i] = fa_pool_alloc(pool);
            CHECK_NE(all[i], last);
        }
        fa_pool_free(pool, last); // Not a live object.
        log_single(&reports, 403);
        CHECK_NULL(resolve(pool, handle));
        fa_pool_free_batch(pool, all, MANY);
        fa_pool_free(pool, other);
        fa_pool_trim(pool, 0); // Its slab stays: what was used up there is not forgotten.
        CHECK_EQ(figures_of(pool).retired, 1);
        CHECK_EQ(fa_pool_alloc(pool) == last, false);
        CHECK(is_sound(pool));
        CHECK_EQ(fa_pool_destroy(pool), FA_ERR_BUSY);
        CHECK_EQ(stats_of(ctx).pool_bytes, 0);
        fa_last_error_clear();
        context_close(ctx);
    }
}

static bool count_object(void *object, void *user) {
    CHECK_NE(object, *(void **)user);
    return true;
}

static void a_retired_slot_is_not_live(void) {
    ctx = context_open(NULL);
    fa_pool *pool = pool_open(&(fa_pool_desc){.size = 40, .handles = true, .object_tags = true});
    void *last = fa_pool_alloc(pool);
    void *other = fa_pool_alloc(pool);
    fa__store(fa__generation_of(last), FA__GENERATION_MAX);
    fa_pool_free(pool, last);
    fa_last_error_clear();
    CHECK_EQ(fa_pool_each(pool, count_object, &last), 1);
    fa_pool_free(pool, other);
    CHECK_EQ(stats_of(ctx).pool_bytes, 0);
    pool_close(pool); // Nothing is live.
    CHECK_EQ(stats_of(ctx).pool_bytes, 0);
    context_close(ctx);
}

// Memory whose generations are used up gives a pool nothing, and another pool does not mind.
static void used_up_memory_is_passed_over(void) {
    ctx = context_open(NULL);
    fa_pool *pool = handles_open(24000);
    for (size_t i = 0; i < 8; i++) {
        objects[i] = fa_pool_alloc(pool);
        fa__store(fa__generation_of(objects[i]), FA__GENERATION_MAX);
        handles[i] = handle_of(pool, objects[i]);
    }
    fa_pool_free_batch(pool, objects, 8);
    CHECK_EQ(figures_of(pool).retired, 8);
    pool_close(pool);
    fa_last_error_clear();
    pool = handles_open(56);
    void *one = fa_pool_alloc(pool);
    REQUIRE_NOT_NULL(one);
    CHECK_LE(fa__load(fa__generation_of(one)), FA__GENERATION_MAX);
    for (size_t i = 0; i < 8; i++) {
        CHECK_NULL(resolve(pool, handles[i]));
    }
    CHECK(is_sound(pool));
    CHECK_EQ(figures_of(pool).live, 1);
    CHECK_EQ(stats_of(ctx).pool_bytes, figures_of(pool).slot_bytes);
    fa_pool_free(pool, one);
    pool_close(pool);
    context_close(ctx);
}

// ---- Threads -----------------------------------------------------------------------------------

typedef struct race {
    fa_pool *pool;
    check_barrier *barrier;
    size_t won;
} race;

static void free_all(void *arg) {
    race *r = arg;
    for (size_t i = 0; i < MANY; i++) {
        if (i % 500 == 0) {
            check_barrier_wait(r->barrier);
        }
        (void)fa_pool_resolve(r->pool, handles[i]);
        fa_result result = fa_pool_free_handle(r->pool, handles[i]);
        CHECK(result == FA_OK || result == FA_ERR_STALE);
        r->won += result == FA_OK ? 1 : 0;
    }
}

static void of_several_frees_of_a_handle_one_succeeds(void) {
    ctx = context_open(NULL);
    fa_pool *pool = handles_open(40);
    for (int round = 0; round < 5; round++) {
        race races[4];
        check_barrier *barrier = check_barrier_create(4);
        for (size_t i = 0; i < MANY; i++) {
            objects[i] = fa_pool_alloc(pool);
            handles[i] = handle_of(pool, objects[i]);
        }
        for (size_t i = 0; i < 4; i++) {
            races[i] = (race){pool, barrier, 0};
        }
        check_threads_run(4, free_all, races, sizeof(races[0]));
        CHECK_EQ(races[0].won + races[1].won + races[2].won + races[3].won, MANY);
        CHECK_EQ(figures_of(pool).live, 0);
        CHECK_EQ(stats_of(ctx).pool_bytes, 0);
        CHECK(is_sound(pool));
        check_barrier_destroy(barrier);
    }
    pool_close(pool);
    context_close(ctx);
}

TEST_SUITE(pool_handles, TEST(a_handle_finds_its_object), TEST(a_stale_handle_stays_stale),
           TEST(zero_is_no_handle), TEST(only_live_objects_have_handles),
           TEST(handles_of_a_destroyed_pool_are_stale),
           TEST(handles_stay_stale_when_slabs_go_and_come),
           TEST(handles_stay_stale_when_another_pool_has_the_memory),
           TEST(a_generation_is_given_to_a_place_once),
           TEST(rubbish_in_a_new_slab_is_no_generation), TEST(forged_handles_do_no_harm),
           TEST(a_used_up_slot_is_retired), TEST(a_retired_slot_is_not_live),
           TEST(used_up_memory_is_passed_over), TEST(of_several_frees_of_a_handle_one_succeeds));

// Mistakes with pools: each is reported as what it is, none harms the pool, its figures or its
// neighbours.
#include "../src/pool/pools.h"
#include "core_fixture.h"

#include <framealloc/heap.h>
#include <framealloc/pool.h>

static fa_context *ctx;
static report_log reports;

static void open_with(uint32_t checks) {
    ctx = context_open(&(fa_config){.checks = checks});
    log_attach(ctx, &reports);
}

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

enum { SOME = 500 };

// The pool goes on: what it hands out is whole, and figures are right.
static void check_goes_on(fa_pool *pool, size_t live) {
    static unsigned char *objects[SOME];
    size_t size = fa__pool_open(pool)->desc.size;
    atomic_store(&reports.count, 0);
    for (size_t i = 0; i < SOME; i++) {
        objects[i] = fa_pool_alloc(pool);
        REQUIRE_NOT_NULL(objects[i]);
        memset(objects[i], (int)(i % 251), size);
    }
    for (size_t i = 0; i < SOME; i++) {
        for (size_t at = 0; at < size; at++) {
            REQUIRE_EQ(objects[i][at], i % 251);
        }
    }
    for (size_t i = 0; i < SOME; i++) {
        fa_pool_free(pool, objects[(i * 7) % SOME]);
    }
    CHECK(log_empty(&reports));
    CHECK_EQ(figures_of(pool).live, live);
    CHECK_EQ(stats_of(ctx).pool_bytes, live * figures_of(pool).slot_bytes);
    CHECK(fa__slots_check(&fa__pool_open(pool)->slots));
    fa_last_error_clear();
}

// Kinds of pools that look at every free at once, and one that does not.
static const struct {
    const char *name;
    uint32_t checks;
    fa_pool_desc desc;
    bool at_once; // Mistakes are found at once, not when a slot leaves the thread's stack.
} kinds[] = {
    {"handles", 0, {.size = 40, .handles = true}, true},
    {"tags", 0, {.size = 40, .object_tags = true}, true},
    {"counted", 0, {.size = 40, .max_count = SOME + 10}, true},
    {"plain", 0, {.size = 40}, false},
    {"checked", FA_CHECK_BLOCKS, {.size = 40}, true},
    {"checked handles", FA_CHECK_BLOCKS, {.size = 40, .handles = true, .object_tags = true}, true},
    {"checked, counted", FA_CHECK_BLOCKS, {.size = 40, .max_count = SOME + 10}, true},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static fa_pool *kind_open(size_t kind) {
    check_note("%s", kinds[kind].name);
    open_with(kinds[kind].checks);
    return pool_open(&kinds[kind].desc);
}

static void kind_close(fa_pool *pool) {
    CHECK_EQ(fa_pool_destroy(pool), FA_OK);
    CHECK_EQ(stats_of(ctx).pool_bytes, 0);
    context_close(ctx);
}

// Reported by now, as this and nothing else.
static void check_told(size_t kind, fa_pool *pool, int code, const void *ptr) {
    if (!kinds[kind].at_once) {
        fa_pool_trim(pool, 0); // Empties the stack.
    }
    const seen_report *seen = log_single(&reports, code);
    CHECK_EQ(seen->result, FA_ERR_INVALID);
    CHECK_STR_EQ(seen->where, "pool");
    CHECK_EQ(fa_last_error()->code, code);
    (void)ptr;
}

static void a_double_free_is_reported(void) {
    for (size_t i = 0; i < KINDS; i++) {
        fa_pool *pool = kind_open(i);
        void *other = fa_pool_alloc(pool);
        void *object = fa_pool_alloc(pool);
        fa_pool_free(pool, object);
        fa_pool_free(pool, object); // In a row: found at once by every kind.
        log_single(&reports, 403);
        void *second = fa_pool_alloc(pool);
        object = fa_pool_alloc(pool);
        CHECK_NE(object, second);
        fa_pool_free(pool, object);
        fa_pool_free(pool, second);
        fa_pool_free(pool, object); // Later.
        check_told(i, pool, 403, object);
        check_goes_on(pool, 1);
        fa_pool_free(pool, other);
        kind_close(pool);
    }
}

static void foreign_pointers_are_reported(void) {
    static char somewhere[256];
    for (size_t i = 0; i < KINDS; i++) {
        fa_pool *pool = kind_open(i);
        fa_pool *theirs = pool_open(&kinds[i].desc);
        char *own = fa_pool_alloc(pool);
        void *alien = fa_pool_alloc(theirs);
        void *block = fa_heap_alloc(ctx, 40);
        void *foreign[] = {somewhere + 64, &ctx, alien, block, (void *)(uintptr_t)64};
        for (size_t k = 0; k < sizeof(foreign) / sizeof(foreign[0]); k++) {
            fa_pool_free(pool, foreign[k]);
            check_told(i, pool, 404, foreign[k]);
        }
        CHECK_EQ(figures_of(theirs).live, 1);
        fa_pool_free(theirs, alien);
        CHECK_EQ(fa_pool_destroy(theirs), FA_OK);
        fa_heap_free(ctx, block);
        check_goes_on(pool, 1);
        fa_pool_free(pool, own);
        kind_close(pool);
    }
}

static void interior_pointers_are_reported(void) {
    for (size_t i = 0; i < KINDS; i++) {
        fa_pool *pool = kind_open(i);
        char *object = fa_pool_alloc(pool);
        memset(object, 0, 40);
        static const size_t offsets[] = {1, 4, 16, 39};
        for (size_t k = 0; k < sizeof(offsets) / sizeof(offsets[0]); k++) {
            fa_pool_free(pool, object + offsets[k]);
            if (atomic_load(&reports.count) == 1) {
                int code = reports.seen[0].code;
                CHECK(code == 404 || code == 403);
                atomic_store(&reports.count, 0);
            } else {
                check_told(i, pool, 404, object + offsets[k]);
            }
        }
        check_goes_on(pool, 1);
        fa_pool_free(pool, object);
        kind_close(pool);
    }
}

// Words inside an object that look like a generation in use: the home thread of a pool with handles
// takes them for an object, and finds out when they leave its stack.
static void interior_pointers_that_look_live_do_no_harm(void) {
    for (size_t i = 0; i < KINDS; i++) {
        fa_pool *pool = kind_open(i);
        char *object = fa_pool_alloc(pool);
        memset(object, 0xFF, 40);
        fa_pool_free(pool, object + 16);
        if (atomic_load(&reports.count) == 0) {
            fa_pool_trim(pool, 0);
        }
        log_single(&reports, 404);
        check_goes_on(pool, 1);
        fa_pool_free(pool, object);
        kind_close(pool);
    }
}

static void a_slot_never_handed_out_is_not_freed(void) {
    for (size_t i = 0; i < KINDS; i++) {
        fa_pool *pool = kind_open(i);
        char *object = fa_pool_alloc(pool);
        void *never = object + 400 * figures_of(pool).slot_bytes;
        fa_pool_free(pool, never);
        check_told(i, pool, 403, never);
        check_goes_on(pool, 1);
        fa_pool_free(pool, object);
        kind_close(pool);
    }
}

static void a_pointer_into_a_slab_that_is_gone_is_reported(void) {
    for (size_t i = 0; i < KINDS; i++) {
        fa_pool *pool = kind_open(i);
        void *object = fa_pool_alloc(pool);
        fa_pool_free(pool, object);
        fa_pool_trim(pool, 0);
        fa_pool_free(pool, object);
        check_told(i, pool, 404, object);
        check_goes_on(pool, 0);
        kind_close(pool);
    }
}

static void count_reset(void *object, void *user) {
    (void)object;
    *(size_t *)user += 1;
}

static void only_objects_are_reset(void) {
    size_t count = 0;
    open_with(0);
    fa_pool *pool = pool_open(&(fa_pool_desc){.size = 40, .reset = count_reset, .user = &count});
    char *object = fa_pool_alloc(pool);
    void *wrong[] = {&ctx, object + 8, object + 1};
    for (size_t i = 0; i < 3; i++) {
        fa_pool_free(pool, wrong[i]);
        log_single(&reports, 404);
    }
    CHECK_EQ(count, 0);
    fa_pool_free(pool, object);
    CHECK_EQ(count, 1);
    check_goes_on(pool, 0);
    kind_close(pool);
}

static void many_double_frees_leave_the_figures_right(void) {
    for (size_t i = 0; i < KINDS; i++) {
        fa_pool *pool = kind_open(i);
        void *objects[60];
        CHECK_EQ(fa_pool_alloc_batch(pool, objects, 60), 60);
        fa_pool_free_batch(pool, objects, 60);
        fa_pool_free_batch(pool, objects, 60);
        fa_pool_trim(pool, 0);
        CHECK_GE(atomic_load(&reports.count), 1);
        check_goes_on(pool, 0);
        kind_close(pool);
    }
}

// ---- Writes ------------------------------------------------------------------------------------

static void an_overrun_is_reported(void) {
    for (size_t i = 0; i < KINDS; i++) {
        for (size_t at = 0; at < FA__CANARY_BYTES && kinds[i].checks != 0; at++) {
            fa_pool *pool = kind_open(i);
            char *object = fa_pool_alloc(pool);
            object[40 + at] = 1;
            fa_pool_free(pool, object);
            CHECK_EQ(log_single(&reports, 405)->bytes, 40);
            check_goes_on(pool, 0);
            kind_close(pool);
        }
    }
}

static void a_write_after_the_free_is_reported(void) {
    for (size_t i = 0; i < KINDS; i++) {
        for (size_t at = 0; at < 40 && kinds[i].checks != 0; at += 13) {
            fa_pool *pool = kind_open(i);
            char *object = fa_pool_alloc(pool);
            fa_pool_free(pool, object);
            object[at] = 1;
            CHECK(log_empty(&reports));
            CHECK_EQ(fa_pool_alloc(pool), object);
            log_single(&reports, 405);
            fa_pool_free(pool, object);
            check_goes_on(pool, 0);
            kind_close(pool);
        }
    }
}

static void fresh_and_freed_objects_are_filled(void) {
    open_with(FA_CHECK_BLOCKS);
    fa_pool *pool = pool_open(&(fa_pool_desc){.size = 40});
    unsigned char *object = fa_pool_alloc(pool);
    for (size_t i = 0; i < 40; i++) {
        CHECK_EQ(object[i], FA__FRESH_BYTE);
    }
    fa_pool_free(pool, object);
    for (size_t i = 0; i < 40; i++) {
        CHECK_EQ(object[i], FA__FREED_BYTE);
    }
    kind_close(pool);
}

// An overrun of a few bytes reaches the next object's generation and tag, not the allocator.
static void an_overrun_does_not_reach_the_allocator(void) {
    for (size_t kind = 0; kind < 3; kind++) {
        check_note("%s", kinds[kind].name);
        open_with(0);
        fa_pool *pool = pool_open(&kinds[kind].desc);
        char *objects[3];
        for (size_t i = 0; i < 3; i++) {
            objects[i] = fa_pool_alloc(pool);
        }
        memset(objects[0], 0xEF, figures_of(pool).slot_bytes); // Up to the second.
        fa_pool_free(pool, objects[1]);
        CHECK_GE(atomic_load(&reports.count) + 1, 1);
        fa_pool_free(pool, objects[0]);
        fa_pool_free(pool, objects[2]);
        fa_pool_trim(pool, 0);
        CHECK(fa__slots_check(&fa__pool_open(pool)->slots));
        for (size_t i = 0; i < 400; i++) {
            CHECK_NOT_NULL(fa_pool_alloc(pool));
        }
        CHECK(fa__slots_check(&fa__pool_open(pool)->slots));
        (void)fa_pool_destroy(pool);
        (void)fa_context_destroy(ctx);
        fa_last_error_clear();
    }
}

// A free slot whose tag was written over is charged to somebody.
static void a_tag_that_is_written_over_does_no_harm(void) {
    open_with(0);
    fa_pool *pool = pool_open(&(fa_pool_desc){.size = 40, .object_tags = true});
    void *objects[10];
    CHECK_EQ(fa_pool_alloc_batch(pool, objects, 10), 10);
    fa_pool_free_batch(pool, objects, 10);
    for (size_t i = 0; i < 10; i++) {
        fa__store(fa__tag_of(objects[i]), (uint16_t)0xEEEE);
    }
    CHECK_NOT_NULL(fa_pool_alloc(pool)); // One is charged anew, the others leave the stack.
    fa_pool_trim(pool, 0);
    CHECK_EQ(stats_of(ctx).pool_bytes, figures_of(pool).slot_bytes);
    (void)fa_pool_destroy(pool);
    CHECK_EQ(stats_of(ctx).pool_bytes, 0);
    fa_last_error_clear();
    context_close(ctx);
}

// ---- Counts ------------------------------------------------------------------------------------

static void a_wrong_free_does_not_loosen_max_count(void) {
    for (uint32_t checks = 0; checks <= FA_CHECK_BLOCKS; checks += FA_CHECK_BLOCKS) {
        open_with(checks);
        fa_pool *pool = pool_open(&(fa_pool_desc){.size = 40, .max_count = 3});
        void *a = fa_pool_alloc(pool);
        void *b = fa_pool_alloc(pool);
        fa_pool_free(pool, a);
        fa_pool_free(pool, b);
        fa_pool_free(pool, a);
        fa_pool_free(pool, b);
        fa_pool_free(pool, &ctx);
        CHECK_EQ(atomic_load(&reports.count), 3);
        void *objects[4];
        CHECK_EQ(fa_pool_alloc_batch(pool, objects, 4), 3);
        CHECK(failed_as(409, FA_ERR_LIMIT));
        fa_pool_free_batch(pool, objects, 3);
        kind_close(pool);
    }
}

static void reserving_too_much_is_refused(void) {
    open_with(0);
    fa_pool *pool = pool_open(&(fa_pool_desc){.size = 40});
    static const size_t counts[] = {SIZE_MAX, SIZE_MAX - 200, SIZE_MAX / 40};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        CHECK_EQ(fa_pool_reserve(pool, counts[i]), FA_ERR_OUT_OF_MEMORY);
        CHECK(failed_as(305, FA_ERR_OUT_OF_MEMORY));
    }
    check_goes_on(pool, 0);
    kind_close(pool);
}

static void what_is_still_live_is_reported(void) {
    for (size_t i = 0; i < KINDS; i++) {
        fa_pool *pool = kind_open(i);
        void *objects[7];
        CHECK_EQ(fa_pool_alloc_batch(pool, objects, 7), 7);
        size_t slot = figures_of(pool).slot_bytes;
        fa_pool_free(pool, objects[3]);
        CHECK_EQ(fa_pool_destroy(pool), FA_ERR_BUSY);
        CHECK_EQ(log_single(&reports, 406)->bytes, 6 * slot);
        CHECK_EQ(stats_of(ctx).pool_bytes, 0);
        context_close(ctx);
    }
}

static void a_pool_is_destroyed_once(void) {
    open_with(0);
    fa_pool *pool = pool_open(&(fa_pool_desc){.size = 40});
    CHECK_EQ(fa_pool_destroy(pool), FA_OK);
    CHECK_EQ(fa_pool_destroy(pool), FA_ERR_INVALID);
    CHECK_EQ(atomic_load(&reports.count), 1);
    fa_last_error_clear();
    context_close(ctx);
}

TEST_SUITE(pool_misuse, TEST(a_double_free_is_reported), TEST(foreign_pointers_are_reported),
           TEST(interior_pointers_are_reported), TEST(interior_pointers_that_look_live_do_no_harm),
           TEST(a_slot_never_handed_out_is_not_freed),
           TEST(a_pointer_into_a_slab_that_is_gone_is_reported), TEST(only_objects_are_reset),
           TEST(many_double_frees_leave_the_figures_right), TEST(an_overrun_is_reported),
           TEST(a_write_after_the_free_is_reported), TEST(fresh_and_freed_objects_are_filled),
           TEST(an_overrun_does_not_reach_the_allocator),
           TEST(a_tag_that_is_written_over_does_no_harm),
           TEST(a_wrong_free_does_not_loosen_max_count), TEST(reserving_too_much_is_refused),
           TEST(what_is_still_live_is_reported), TEST(a_pool_is_destroyed_once));

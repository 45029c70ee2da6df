// What the heap says of frees that are wrong and of memory that was overwritten, and that neither
// harms it: in release, where the slab's words find it, and with FA_CHECK_BLOCKS.
#include "core_fixture.h"

#include <framealloc/heap.h>
#include <stdio.h>

static report_log seen_log;

static fa_context *open_with(uint32_t checks) {
    fa_context *ctx = context_open(&(fa_config){.checks = checks});
    log_attach(ctx, &seen_log);
    return ctx;
}

// The heap works as before: allocates, keeps blocks apart, and its figures agree.
static void check_sound(fa_context *ctx, size_t live) {
    static char *blocks[200];
    for (size_t i = 0; i < 200; i++) {
        blocks[i] = fa_heap_alloc(ctx, 1 + i % 130);
        REQUIRE_NOT_NULL(blocks[i]);
        memset(blocks[i], (int)i, 1 + i % 130);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t at = 0; at < 1 + i % 130; at++) {
            REQUIRE_EQ((unsigned char)blocks[i][at], i);
        }
        fa_heap_free(ctx, blocks[i]);
    }
    fa_heap_stats_result stats;
    CHECK_EQ(fa_heap_stats(ctx, &stats), FA_OK);
    CHECK_EQ(stats.live_blocks, live);
    CHECK_EQ(stats.live_bytes, stats_of(ctx).heap_bytes);
    CHECK(log_empty(&seen_log));
}

static const uint32_t modes[] = {0, FA_CHECK_SITES, FA_CHECK_BLOCKS,
                                 FA_CHECK_BLOCKS | FA_CHECK_SITES};
enum { MODES = sizeof(modes) / sizeof(modes[0]) };

static void a_double_free_is_reported(void) {
    for (size_t i = 0; i < MODES; i++) {
        fa_context *ctx = open_with(modes[i]);
        char *other = fa_heap_alloc(ctx, 100);
        char *ptr = fa_heap_alloc(ctx, 100);
        fa_heap_free(ctx, ptr);
        fa_heap_free(ctx, ptr);
        CHECK_EQ(log_single(&seen_log, 403)->result, FA_ERR_INVALID);
        CHECK_EQ(fa_heap_usable_size(ctx, ptr), 0);
        log_single(&seen_log, 403);
        CHECK(!fa_heap_owns(ctx, ptr));
        CHECK_NULL(fa_heap_realloc(ctx, ptr, 10));
        log_single(&seen_log, 403);
        check_sound(ctx, 1);
        fa_heap_free(ctx, other);
        context_close(ctx);
    }
}

static void a_double_free_of_a_large_block_is_reported(void) {
    static const size_t sizes[] = {100000, 40 * MIB};
    for (size_t i = 0; i < 2 * MODES; i++) {
        fa_context *ctx = open_with(modes[i / 2]);
        char *ptr = fa_heap_alloc(ctx, sizes[i % 2]);
        REQUIRE_NOT_NULL(ptr);
        fa_heap_free(ctx, ptr);
        fa_heap_free(ctx, ptr);
        // The thread keeps a run, unless the heap is checked.
        log_single(&seen_log, i == 0 ? 403 : 404);
        check_sound(ctx, 0);
        context_close(ctx);
    }
}

static void foreign_pointers_are_reported(void) {
    static char somewhere[64];
    for (size_t i = 0; i < MODES; i++) {
        fa_context *ctx = open_with(modes[i]);
        fa_context *other = context_open(NULL);
        fa_heap_free(ctx, somewhere); // Before there is a heap.
        log_single(&seen_log, 404);
        char *own = fa_heap_alloc(ctx, 64);
        char *theirs = fa_heap_alloc(other, 64);
        fa_pool *pool = NULL;
        REQUIRE_EQ(fa_pool_create(ctx, &(fa_pool_desc){.size = 64}, &pool), FA_OK);
        void *object = fa_pool_alloc(pool);
        void *foreign[] = {somewhere,
                           &ctx,
                           theirs,
                           object,
                           (void *)(uintptr_t)16,
                           (void *)(uintptr_t)(UINTPTR_MAX - 15)};
        for (size_t k = 0; k < sizeof(foreign) / sizeof(foreign[0]); k++) {
            fa_heap_free(ctx, foreign[k]);
            log_single(&seen_log, 404);
            CHECK(!fa_heap_owns(ctx, foreign[k]));
        }
        check_sound(ctx, 1);
        fa_pool_free(pool, object);
        CHECK_EQ(fa_pool_destroy(pool), FA_OK);
        fa_heap_free(other, theirs);
        fa_heap_free(ctx, own);
        context_close(other);
        context_close(ctx);
    }
}

static void interior_pointers_are_reported(void) {
    static const size_t sizes[] = {16, 48, 100, 1000, 20000, 100000, 40 * MIB};
    for (size_t i = 0; i < MODES; i++) {
        fa_context *ctx = open_with(modes[i]);
        for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
            char *ptr = fa_heap_alloc(ctx, sizes[k]);
            static const size_t offsets[] = {1, 8, 15};
            for (size_t at = 0; at < 3; at++) {
                fa_heap_free(ctx, ptr + offsets[at]);
                log_single(&seen_log, 404);
            }
            fa_heap_free(ctx, ptr + sizes[k] / 2 + 1);
            log_single(&seen_log, 404);
            CHECK(fa_heap_owns(ctx, ptr));
            fa_heap_free(ctx, ptr);
        }
        check_sound(ctx, 0);
        context_close(ctx);
    }
}

static void a_pointer_into_a_slab_that_is_gone_is_reported(void) {
    fa_context *ctx = open_with(0);
    char *ptr = fa_heap_alloc(ctx, 100);
    fa_heap_free(ctx, ptr);
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    fa_heap_free(ctx, ptr);
    log_single(&seen_log, 404);
    check_sound(ctx, 0);
    context_close(ctx);
}

static void a_wrong_size_is_reported_and_the_block_freed(void) {
    for (size_t i = 0; i < MODES; i++) {
        fa_context *ctx = open_with(modes[i]);
        fa_heap_free_sized(ctx, fa_heap_alloc(ctx, 100), 100);
        fa_heap_free_sized(ctx, NULL, 100);
        CHECK(log_empty(&seen_log));
        fa_heap_free_sized(ctx, fa_heap_alloc(ctx, 100), 200);
        log_single(&seen_log, 404);
        if ((modes[i] & FA_CHECK_BLOCKS) != 0) {
            fa_heap_free_sized(ctx, fa_heap_alloc(ctx, 100), 99);
            log_single(&seen_log, 404);
        }
        check_sound(ctx, 0);
        context_close(ctx);
    }
}

// ---- FA_CHECK_BLOCKS ---------------------------------------------------------------------------

// Hidden from the compiler, which knows how long blocks are.
static void poke(char *at, char value) {
    char *volatile place = at;
    *place = value;
}

static void an_overrun_is_found_at_the_free(void) {
    static const size_t sizes[] = {0, 1, 24, 100, 1000, 60000, 100000, 40 * MIB};
    for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        for (size_t beyond = 0; beyond < 16; beyond += 5) {
            fa_context *ctx = open_with(FA_CHECK_BLOCKS);
            char *ptr = fa_heap_alloc(ctx, sizes[k]);
            CHECK_EQ(fa_heap_usable_size(ctx, ptr), sizes[k]);
            CHECK_EQ(fa_heap_check(ctx), 0);
            poke(ptr + sizes[k] + beyond, 1);
            CHECK_EQ(fa_heap_check(ctx), 1);
            log_single(&seen_log, 405);
            fa_heap_free(ctx, ptr);
            log_single(&seen_log, 405);
            check_sound(ctx, 0);
            context_close(ctx);
        }
    }
}

static void an_underrun_is_found_in_the_block_before(void) {
    fa_context *ctx = open_with(FA_CHECK_BLOCKS);
    char *blocks[4];
    for (size_t i = 0; i < 4; i++) {
        blocks[i] = fa_heap_alloc(ctx, 100);
    }
    char *later = blocks[1] > blocks[0] ? blocks[1] : blocks[0];
    poke(later - 1, 7);
    CHECK_EQ(fa_heap_check(ctx), 1);
    log_single(&seen_log, 405);
    for (size_t i = 0; i < 4; i++) {
        fa_heap_free(ctx, blocks[i]);
    }
    log_single(&seen_log, 405);
    check_sound(ctx, 0);
    context_close(ctx);
}

static void many_overruns_are_all_told(void) {
    enum { COUNT = 150 };
    static char *blocks[COUNT];
    fa_context *ctx = open_with(FA_CHECK_BLOCKS);
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = fa_heap_alloc(ctx, 40);
        poke(blocks[i] + 40, 1);
    }
    CHECK_EQ(fa_heap_check(ctx), COUNT);
    CHECK_EQ(atomic_load(&seen_log.count), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        fa_heap_free(ctx, blocks[i]);
    }
    CHECK_EQ(atomic_load(&seen_log.count), 2 * COUNT);
    context_close(ctx);
}

static void a_write_after_the_free_is_found_at_reuse(void) {
    fa_context *ctx = open_with(FA_CHECK_BLOCKS);
    char *ptr = fa_heap_alloc(ctx, 200);
    fa_heap_free(ctx, ptr);
    poke(ptr + 150, 1);
    char *again = fa_heap_alloc(ctx, 200);
    CHECK_EQ(again, ptr);
    log_single(&seen_log, 405);
    fa_heap_free(ctx, again);
    check_sound(ctx, 0);
    context_close(ctx);
}

static void fresh_memory_is_filled(void) {
    fa_context *ctx = open_with(FA_CHECK_BLOCKS);
    unsigned char *ptr = fa_heap_alloc(ctx, 50);
    CHECK_EQ(ptr[0], 0xCD);
    CHECK_EQ(ptr[49], 0xCD);
    memset(ptr, 1, 50);
    ptr = fa_heap_realloc(ctx, ptr, 52);
    CHECK_EQ(ptr[49], 1);
    CHECK_EQ(ptr[50], 0xCD);
    CHECK_EQ(fa_heap_usable_size(ctx, ptr), 52);
    CHECK_EQ(fa_heap_check(ctx), 0);
    fa_heap_free(ctx, ptr);
    context_close(ctx);
}

// ---- Sites -------------------------------------------------------------------------------------

typedef struct sites {
    size_t count;
    const void *site[2];
    uint64_t blocks[2];
} sites;

static void note_site(const fa_report *report, void *user) {
    sites *seen = user;
    CHECK_EQ(report->info->code, 406);
    if (seen->count < 2) {
        seen->site[seen->count] = report->site;
        seen->blocks[seen->count] = report->count;
    }
    seen->count += 1;
}

static void leaks_are_told_by_call_site(void) {
    for (size_t i = 1; i < MODES; i++) {
        sites seen = {0};
        fa_context *ctx = context_open(&(fa_config){.checks = modes[i]});
        CHECK_EQ(fa_report_set(ctx, note_site, &seen), FA_OK);
        // Volatile, so that each loop stays one call in the compiled code.
        for (volatile int k = 0; k < 5; k++) {
            CHECK_NOT_NULL(fa_heap_alloc(ctx, 10));
        }
        for (volatile int k = 0; k < 3; k++) {
            CHECK_NOT_NULL(fa_heap_alloc(ctx, 10));
        }
        CHECK_EQ(fa_context_destroy(ctx), FA_ERR_BUSY);
        CHECK_EQ(seen.count, 2);
        CHECK_NE(seen.site[0], seen.site[1]);
        CHECK_NOT_NULL(seen.site[0]);
        CHECK_EQ(seen.blocks[0] + seen.blocks[1], 8);
    }
}

// ---- Strict ------------------------------------------------------------------------------------

static void print_report(const fa_report *report, void *user) {
    char line[400];
    (void)user;
    fa_report_format(report, line, sizeof(line));
    fprintf(stderr, "%s\n", line);
}

static void free_twice(void *arg) {
    fa_context *ctx = NULL;
    (void)arg;
    REQUIRE_EQ(fa_context_create(&(fa_config){.strict = FA_STRICT_ERROR}, &ctx), FA_OK);
    fa_report_set(ctx, print_report, NULL);
    void *ptr = fa_heap_alloc(ctx, 32);
    fa_heap_free(ctx, ptr);
    fa_heap_free(ctx, ptr);
}

static void strict_mode_stops_the_program(void) {
    CHECK_DIES(free_twice, NULL, "FA403");
}

TEST_SUITE(heap_misuse, TEST(a_double_free_is_reported),
           TEST(a_double_free_of_a_large_block_is_reported), TEST(foreign_pointers_are_reported),
           TEST(interior_pointers_are_reported),
           TEST(a_pointer_into_a_slab_that_is_gone_is_reported),
           TEST(a_wrong_size_is_reported_and_the_block_freed),
           TEST(an_overrun_is_found_at_the_free), TEST(an_underrun_is_found_in_the_block_before),
           TEST(many_overruns_are_all_told), TEST(a_write_after_the_free_is_found_at_reuse),
           TEST(fresh_memory_is_filled), TEST(leaks_are_told_by_call_site),
           TEST(strict_mode_stops_the_program));

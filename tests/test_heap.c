// The heap's promises about small blocks, accounts, budgets, statistics and leaks.
#include "core_fixture.h"

#include <framealloc/heap.h>

static bool is_aligned(const void *ptr, size_t align) {
    return ((uintptr_t)ptr & (align - 1)) == 0;
}

static fa_heap_stats_result heap_stats_of(fa_context *ctx) {
    fa_heap_stats_result stats;
    memset(&stats, 0xEE, sizeof(stats));
    CHECK_EQ(fa_heap_stats(ctx, &stats), FA_OK);
    return stats;
}

// ---- Sizes -------------------------------------------------------------------------------------

static void classes_waste_at_most_an_eighth(void) {
    fa_context *ctx = context_open(NULL);
    for (size_t size = 0; size <= 65536; size += size < 4096 ? 1 : 61) {
        char *ptr = fa_heap_alloc(ctx, size);
        REQUIRE_NOT_NULL(ptr);
        size_t usable = fa_heap_usable_size(ctx, ptr);
        check_note("size %zu, usable %zu", size, usable);
        REQUIRE_GE(usable, size == 0 ? 1 : size);
        REQUIRE(usable - size <= 16 || (usable - size) * 8 <= usable);
        REQUIRE(is_aligned(ptr, 16));
        memset(ptr, 0x5A, usable);
        fa_heap_free(ctx, ptr);
    }
    check_note("%s", "");
    CHECK_EQ(heap_stats_of(ctx).live_blocks, 0);
    context_close(ctx);
}

static void alignment_is_kept_by_every_size(void) {
    fa_context *ctx = context_open(NULL);
    for (size_t align = 1; align <= FA_ALIGNMENT_MAX; align *= 2) {
        static const size_t sizes[] = {0, 1, 24, 100, 1000, 5000, 40000, 65536, 65537, 200000};
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            check_note("size %zu at %zu", sizes[i], align);
            char *ptr = fa_heap_alloc_aligned(ctx, sizes[i], align);
            REQUIRE_NOT_NULL(ptr);
            CHECK(is_aligned(ptr, align));
            CHECK_GE(fa_heap_usable_size(ctx, ptr), sizes[i]);
            memset(ptr, 0x77, sizes[i]);
            for (size_t size = 1; size < 300000; size = size * 3 + 1) {
                ptr = fa_heap_realloc(ctx, ptr, size);
                REQUIRE_NOT_NULL(ptr);
                REQUIRE(is_aligned(ptr, align));
            }
            ptr = fa_heap_realloc(ctx, ptr, 50);
            REQUIRE(is_aligned(ptr, align));
            fa_heap_free(ctx, ptr);
        }
    }
    CHECK_NULL(fa_heap_alloc_aligned(ctx, 100, 0));
    CHECK(failed_as(18, FA_ERR_INVALID));
    CHECK_NULL(fa_heap_alloc_aligned(ctx, 100, 48));
    CHECK(failed_as(18, FA_ERR_INVALID));
    CHECK_NULL(fa_heap_alloc_aligned(ctx, 100, 2 * FA_ALIGNMENT_MAX));
    CHECK(failed_as(18, FA_ERR_INVALID));
    context_close(ctx);
}

static void blocks_do_not_overlap(void) {
    enum { COUNT = 3000 };
    static unsigned char *blocks[COUNT];
    fa_context *ctx = context_open(NULL);
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = fa_heap_alloc(ctx, i % 700);
        REQUIRE_NOT_NULL(blocks[i]);
        memset(blocks[i], (int)(i % 251), i % 700);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t at = 0; at < i % 700; at++) {
            REQUIRE_EQ(blocks[i][at], i % 251);
        }
        fa_heap_free(ctx, blocks[i]);
    }
    context_close(ctx);
}

static void sizes_that_overflow_are_refused(void) {
    fa_context *ctx = context_open(NULL);
    volatile size_t huge = SIZE_MAX;
    CHECK_NULL(fa_heap_alloc(ctx, huge));
    CHECK(failed_as(13, FA_ERR_OVERFLOW));
    CHECK_NULL(fa_heap_alloc(ctx, huge - 15));
    CHECK(failed_as(13, FA_ERR_OVERFLOW));
    CHECK_NULL(fa_heap_alloc_aligned(ctx, huge - 4096, 4096));
    CHECK(failed_as(13, FA_ERR_OVERFLOW));
    CHECK_NULL(fa_heap_calloc(ctx, huge / 2, 3));
    CHECK(failed_as(13, FA_ERR_OVERFLOW));
    char *ptr = fa_heap_alloc(ctx, 100);
    memset(ptr, 1, 100);
    CHECK_NULL(fa_heap_realloc(ctx, ptr, huge));
    CHECK(failed_as(13, FA_ERR_OVERFLOW));
    CHECK_EQ(ptr[99], 1);
    CHECK_EQ(stats_of(ctx).refusals, 5);
    fa_heap_free(ctx, ptr);
    context_close(ctx);
}

static void calloc_zeroes_memory_that_was_used(void) {
    fa_context *ctx = context_open(NULL);
    static const size_t sizes[] = {1, 16, 100, 4000, 60000, 70000, 1000000, 40000000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *dirty = fa_heap_alloc(ctx, sizes[i]);
        REQUIRE_NOT_NULL(dirty);
        memset(dirty, 0xFF, sizes[i]);
        fa_heap_free(ctx, dirty);
        char *clean = fa_heap_calloc(ctx, sizes[i], 1);
        REQUIRE_NOT_NULL(clean);
        size_t set = 0;
        for (size_t at = 0; at < sizes[i]; at++) {
            set += clean[at] != 0 ? 1 : 0;
        }
        CHECK_EQ(set, 0);
        fa_heap_free(ctx, clean);
    }
    CHECK_NOT_NULL(fa_heap_calloc(ctx, 0, 8));
    CHECK_EQ(fa_context_destroy(ctx), FA_ERR_BUSY);
}

static void zero_size_is_a_block_of_its_own(void) {
    fa_context *ctx = context_open(NULL);
    char *a = fa_heap_alloc(ctx, 0);
    char *b = fa_heap_alloc(ctx, 0);
    REQUIRE_NOT_NULL(a);
    REQUIRE_NOT_NULL(b);
    CHECK_NE(a, b);
    a = fa_heap_realloc(ctx, a, 0);
    CHECK(fa_heap_owns(ctx, a));
    fa_heap_free(ctx, a);
    fa_heap_free(ctx, b);
    fa_heap_free(ctx, NULL);
    CHECK_EQ(fa_heap_usable_size(ctx, NULL), 0);
    CHECK(!fa_heap_owns(ctx, NULL));
    CHECK(nothing_failed());
    context_close(ctx);
}

// ---- Resizing ----------------------------------------------------------------------------------

static void realloc_stays_while_the_class_fits(void) {
    fa_context *ctx = context_open(NULL);
    char *ptr = fa_heap_realloc(ctx, NULL, 1000);
    REQUIRE_NOT_NULL(ptr);
    size_t usable = fa_heap_usable_size(ctx, ptr);
    CHECK_EQ(fa_heap_realloc(ctx, ptr, usable), ptr);
    CHECK_EQ(fa_heap_realloc(ctx, ptr, usable / 2 + 1), ptr);
    memset(ptr, 9, usable / 2);
    char *small = fa_heap_realloc(ctx, ptr, usable / 2 - 100);
    CHECK_NE(small, ptr);
    CHECK_EQ(small[usable / 2 - 101], 9);
    CHECK_EQ(heap_stats_of(ctx).live_blocks, 1);
    fa_heap_free(ctx, small);
    context_close(ctx);
}

static void realloc_keeps_the_tag_and_charges_exactly(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "assets");
    fa_tag_push(ctx, tag);
    char *ptr = fa_heap_alloc(ctx, 100);
    fa_tag_pop(ctx);
    static const size_t sizes[] = {5000, 70000, 300000, 90000, 3000, 10, 66000, 20};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        ptr = fa_heap_realloc(ctx, ptr, sizes[i]);
        REQUIRE_NOT_NULL(ptr);
        CHECK_EQ(fa_heap_tag(ctx, ptr).id, tag.id);
        CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, fa_heap_usable_size(ctx, ptr));
        CHECK_EQ(stats_of(ctx).heap_bytes, fa_heap_usable_size(ctx, ptr));
    }
    fa_heap_free(ctx, ptr);
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 0);
    context_close(ctx);
}

// ---- Accounts ----------------------------------------------------------------------------------

static void blocks_are_charged_to_the_current_tag(void) {
    enum { TAGS = 5, COUNT = 400 };
    static void *blocks[COUNT];
    static const char *const names[TAGS] = {"a", "b", "b/c", "d", "e"};
    fa_context *ctx = context_open(NULL);
    fa_tag tags[TAGS];
    size_t expected[TAGS] = {0};
    for (size_t i = 0; i < TAGS; i++) {
        tags[i] = fa_tag_register(ctx, names[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        FA_TAG_SCOPE(ctx, tags[i % TAGS]);
        blocks[i] = fa_heap_alloc(ctx, 40 + i % 90);
        expected[i % TAGS] += fa_heap_usable_size(ctx, blocks[i]);
        CHECK_EQ(fa_heap_tag(ctx, blocks[i]).id, tags[i % TAGS].id);
    }
    for (size_t i = 0; i < TAGS; i++) {
        size_t below = i == 1 ? expected[2] : 0;
        fa_tag_stats_result stats = tag_stats_of(ctx, tags[i]);
        CHECK_EQ(stats.current_bytes, expected[i] + below);
        CHECK_EQ(stats.allocations, i == 1 ? 2 * COUNT / TAGS : COUNT / TAGS);
    }
    CHECK_EQ(stats_of(ctx).allocations, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        fa_heap_free(ctx, blocks[i]);
    }
    for (size_t i = 0; i < TAGS; i++) {
        CHECK_EQ(tag_stats_of(ctx, tags[i]).current_bytes, 0);
    }
    CHECK_EQ(stats_of(ctx).frees, COUNT);
    CHECK_EQ(stats_of(ctx).heap_bytes, 0);
    context_close(ctx);
}

static void many_tags_are_charged_too(void) {
    enum { TAGS = 600 };
    static void *blocks[TAGS];
    fa_context *ctx = context_open(NULL);
    fa_tag tags[TAGS];
    for (size_t i = 0; i < TAGS; i++) {
        char name[16] = {'t', (char)('a' + i % 26), (char)('a' + i / 26), '\0'};
        tags[i] = fa_tag_register(ctx, name);
        FA_TAG_SCOPE(ctx, tags[i]);
        blocks[i] = fa_heap_alloc(ctx, 64);
    }
    for (size_t i = 0; i < TAGS; i++) {
        CHECK_EQ(fa_heap_tag(ctx, blocks[i]).id, tags[i].id);
        fa_heap_free(ctx, blocks[i]);
        CHECK_EQ(tag_stats_of(ctx, tags[i]).current_bytes, 0);
    }
    context_close(ctx);
}

static void a_hard_budget_is_never_passed_nor_refused_early(void) {
    enum { LIMIT = 200000 };
    static void *blocks[LIMIT];
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tight");
    fa_tag_push(ctx, tag);
    void *before = fa_heap_alloc(ctx, 48); // So that the thread's cache is charged ahead.
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = LIMIT}), FA_OK);
    size_t used = fa_heap_usable_size(ctx, before);
    size_t count = 0;
    while ((blocks[count] = fa_heap_alloc(ctx, 100 + count % 7 * 50)) != NULL) {
        used += fa_heap_usable_size(ctx, blocks[count]);
        count += 1;
        REQUIRE_LE(used, LIMIT);
    }
    CHECK(failed_as(302, FA_ERR_BUDGET));
    CHECK_GT(used, LIMIT - 448);
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, used);
    // A refused realloc leaves its block alone.
    CHECK_NULL(fa_heap_realloc(ctx, blocks[0], 50000));
    CHECK(failed_as(302, FA_ERR_BUDGET));
    CHECK(fa_heap_owns(ctx, blocks[0]));
    for (size_t i = 0; i < count; i++) {
        fa_heap_free(ctx, blocks[i]);
    }
    fa_heap_free(ctx, before);
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 0);
    void *again = fa_heap_alloc(ctx, LIMIT - 65536);
    CHECK_NOT_NULL(again);
    fa_heap_free(ctx, again);
    fa_tag_pop(ctx);
    context_close(ctx);
}

static void switching_tags_keeps_the_sums(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tags[2] = {fa_tag_register(ctx, "one"), fa_tag_register(ctx, "two")};
    void *kept[64];
    for (size_t i = 0; i < 64; i++) {
        FA_TAG_SCOPE(ctx, tags[i / 7 % 2]);
        void *gone = fa_heap_alloc(ctx, 64);
        kept[i] = fa_heap_alloc(ctx, 64);
        fa_heap_free(ctx, gone);
        size_t sum =
            tag_stats_of(ctx, tags[0]).current_bytes + tag_stats_of(ctx, tags[1]).current_bytes;
        REQUIRE_EQ(sum, (i + 1) * 64);
        REQUIRE_EQ(stats_of(ctx).heap_bytes, sum);
    }
    for (size_t i = 0; i < 64; i++) {
        fa_heap_free(ctx, kept[63 - i]);
    }
    CHECK_EQ(stats_of(ctx).heap_bytes, 0);
    context_close(ctx);
}

// ---- Figures -----------------------------------------------------------------------------------

typedef struct found {
    size_t blocks;
    size_t bytes;
    size_t stop_after;
} found;

static bool add_found(const fa_heap_block *block, void *user) {
    found *all = user;
    all->blocks += 1;
    all->bytes += block->charged;
    CHECK_NOT_NULL(block->ptr);
    CHECK_LE(block->size, block->charged);
    return all->blocks != all->stop_after;
}

static void every_live_block_is_shown(void) {
    enum { COUNT = 500 };
    static void *blocks[COUNT];
    fa_context *ctx = context_open(NULL);
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = fa_heap_alloc(ctx, i % 10 == 0 ? 100000 : 1 + i * 3);
    }
    for (size_t i = 0; i < COUNT; i += 2) {
        fa_heap_free(ctx, blocks[i]);
    }
    found all = {0};
    CHECK_EQ(fa_heap_each(ctx, add_found, &all), FA_OK);
    fa_heap_stats_result stats = heap_stats_of(ctx);
    CHECK_EQ(all.blocks, COUNT / 2);
    CHECK_EQ(all.blocks, stats.live_blocks);
    CHECK_EQ(all.bytes, stats.live_bytes);
    CHECK_EQ(all.bytes, stats_of(ctx).heap_bytes);
    CHECK_EQ(stats.live_bytes, stats.small_bytes + stats.large_bytes);
    CHECK_EQ(stats.committed_bytes, stats.live_bytes + stats.idle_bytes);
    found some = {.stop_after = 7};
    CHECK_EQ(fa_heap_each(ctx, add_found, &some), FA_OK);
    CHECK_EQ(some.blocks, 7);
    for (size_t i = 1; i < COUNT; i += 2) {
        fa_heap_free(ctx, blocks[i]);
    }
    CHECK_EQ(fa_heap_each(ctx, NULL, NULL), FA_ERR_INVALID);
    CHECK_EQ(fa_heap_stats(ctx, NULL), FA_ERR_INVALID);
    context_close(ctx);
}

static void trim_gives_everything_unused_back(void) {
    enum { COUNT = 20000 };
    static void *blocks[COUNT];
    fa_context *ctx = context_open(NULL);
    fa_heap_free(ctx, fa_heap_alloc(ctx, 100));
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    size_t base = stats_of(ctx).committed_bytes - stats_of(ctx).overhead_bytes;
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = fa_heap_alloc(ctx, 16 + i % 2000);
    }
    for (size_t i = 0; i < COUNT; i++) {
        fa_heap_free(ctx, blocks[i]);
    }
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    CHECK_EQ(heap_stats_of(ctx).committed_bytes, 0);
    CHECK_LE(stats_of(ctx).committed_bytes - stats_of(ctx).overhead_bytes, base + 65536);
    context_close(ctx);
}

static void two_contexts_share_nothing(void) {
    fa_context *left = context_open(NULL);
    fa_context *right = context_open(NULL);
    for (int i = 0; i < 100; i++) {
        void *a = fa_heap_alloc(left, 64);
        void *b = fa_heap_alloc(right, 64);
        CHECK(fa_heap_owns(left, a) && !fa_heap_owns(right, a));
        CHECK(fa_heap_owns(right, b) && !fa_heap_owns(left, b));
        fa_heap_free(right, b);
        fa_heap_free(left, a);
    }
    context_close(left);
    context_close(right);
}

// ---- Leaks -------------------------------------------------------------------------------------

static void leaks_are_listed_by_tag(void) {
    static report_log log;
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &log);
    fa_tag tags[3] = {fa_tag_register(ctx, "x"), fa_tag_register(ctx, "y"),
                      fa_tag_register(ctx, "z")};
    for (size_t i = 0; i < 30; i++) {
        FA_TAG_SCOPE(ctx, tags[i % 3]);
        CHECK_NOT_NULL(fa_heap_alloc(ctx, i % 3 == 2 ? 100000 : 64));
    }
    CHECK_EQ(fa_context_destroy(ctx), FA_ERR_BUSY);
    REQUIRE_EQ(atomic_load(&log.count), 3);
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(log.seen[i].code, 406);
        CHECK_EQ(log.seen[i].tag.id, tags[i].id);
        CHECK_EQ(log.seen[i].bytes, 10 * (i == 2 ? 102400 : 64));
    }
}

static void more_leaks_than_fit_a_list_are_all_told(void) {
    enum { TAGS = 300 };
    static report_log log;
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &log);
    for (size_t i = 0; i < TAGS; i++) {
        char name[16] = {'t', (char)('a' + i % 26), (char)('a' + i / 26), '\0'};
        FA_TAG_SCOPE(ctx, fa_tag_register(ctx, name));
        CHECK_NOT_NULL(fa_heap_alloc(ctx, 16));
        CHECK_NOT_NULL(fa_heap_alloc(ctx, 16));
    }
    CHECK_EQ(fa_context_destroy(ctx), FA_ERR_BUSY);
    CHECK_EQ(atomic_load(&log.count), TAGS);
}

TEST_SUITE(heap, TEST(classes_waste_at_most_an_eighth), TEST(alignment_is_kept_by_every_size),
           TEST(blocks_do_not_overlap), TEST(sizes_that_overflow_are_refused),
           TEST(calloc_zeroes_memory_that_was_used), TEST(zero_size_is_a_block_of_its_own),
           TEST(realloc_stays_while_the_class_fits),
           TEST(realloc_keeps_the_tag_and_charges_exactly),
           TEST(blocks_are_charged_to_the_current_tag), TEST(many_tags_are_charged_too),
           TEST(a_hard_budget_is_never_passed_nor_refused_early),
           TEST(switching_tags_keeps_the_sums), TEST(every_live_block_is_shown),
           TEST(trim_gives_everything_unused_back), TEST(two_contexts_share_nothing),
           TEST(leaks_are_listed_by_tag), TEST(more_leaks_than_fit_a_list_are_all_told));

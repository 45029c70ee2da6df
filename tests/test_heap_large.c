// Blocks above 64 KiB: runs of units, reservations of their own, growing and moving, and every kind
// of backend under them.
#include "core_fixture.h"
#include "fault_backend.h"

#include <framealloc/heap.h>

static void fill(char *ptr, size_t size, unsigned seed) {
    for (size_t at = 0; at < size; at += 509) {
        ptr[at] = (char)(at / 509 * 7 + seed);
    }
}

static bool holds(const char *ptr, size_t size, unsigned seed) {
    for (size_t at = 0; at < size; at += 509) {
        if (ptr[at] != (char)(at / 509 * 7 + seed)) {
            return CHECK_EQ(at, SIZE_MAX);
        }
    }
    return true;
}

static fa_heap_stats_result heap_stats_of(fa_context *ctx) {
    fa_heap_stats_result stats;
    CHECK_EQ(fa_heap_stats(ctx, &stats), FA_OK);
    return stats;
}

static void growing_keeps_what_is_in_it(fa_context *ctx) {
    char *ptr = fa_heap_alloc(ctx, 50000);
    char *other = NULL;
    size_t size = 50000;
    REQUIRE_NOT_NULL(ptr);
    fill(ptr, size, 3);
    while (size < 100 * MIB) {
        size_t more = size + size / 3;
        ptr = fa_heap_realloc(ctx, ptr, more);
        REQUIRE_NOT_NULL(ptr);
        REQUIRE_GE(fa_heap_usable_size(ctx, ptr), more);
        REQUIRE(holds(ptr, size, 3));
        size = more;
        fill(ptr, size, 3);
        fa_heap_free(ctx, other); // Something is always in the way.
        other = fa_heap_alloc(ctx, 70000);
        CHECK_EQ(stats_of(ctx).heap_bytes,
                 fa_heap_usable_size(ctx, ptr) + fa_heap_usable_size(ctx, other));
    }
    while (size > 1000) {
        size = size * 3 / 5;
        ptr = fa_heap_realloc(ctx, ptr, size);
        REQUIRE_NOT_NULL(ptr);
        REQUIRE(holds(ptr, size, 3));
        CHECK_LE(fa_heap_usable_size(ctx, ptr), 2 * size + 4096);
    }
    fa_heap_free(ctx, other);
    fa_heap_free(ctx, ptr);
    CHECK_EQ(heap_stats_of(ctx).live_blocks, 0);
    CHECK_EQ(heap_stats_of(ctx).large_bytes, 0);
}

static void growing_on_the_systems_pages(void) {
    fa_context *ctx = context_open(NULL);
    growing_keeps_what_is_in_it(ctx);
    context_close(ctx);
}

static void growing_without_resize(void) {
    fault_backend faults;
    fault_backend_make(&faults, FAULT_PAGES);
    faults.has_rubbish = true;
    fa_context *ctx = context_open(&(fa_config){.backend = &faults.backend});
    growing_keeps_what_is_in_it(ctx);
    context_close(ctx);
    fault_backend_end(&faults);
}

static void growing_on_blocks_of_malloc(void) {
    fault_backend faults;
    fault_backend_make(&faults, FAULT_BLOCKS);
    fa_context *ctx = context_open(&(fa_config){.backend = &faults.backend});
    growing_keeps_what_is_in_it(ctx);
    context_close(ctx);
    fault_backend_end(&faults);
}

static void growing_where_addresses_are_short(void) {
    fault_backend faults;
    fault_backend_make(&faults, FAULT_PAGES);
    faults.reserve_most = 256 * MIB;
    fa_context *ctx = context_open(&(fa_config){.backend = &faults.backend});
    growing_keeps_what_is_in_it(ctx);
    context_close(ctx);
    fault_backend_end(&faults);
}

// ---- Moving without copying --------------------------------------------------------------------

static size_t resizes;
static bool refuse_resize;

static void *count_resize(void *self, void *ptr, size_t old_size, size_t new_size) {
    resizes += 1;
    return refuse_resize ? NULL : fa_backend_os()->resize(self, ptr, old_size, new_size);
}

static void a_huge_block_moves_its_pages(void) {
    if (fa_backend_os()->resize == NULL) {
        SKIP("pages cannot be moved here");
    }
    fa_backend backend = *fa_backend_os();
    backend.resize = count_resize;
    for (int round = 0; round < 2; round++) {
        refuse_resize = round == 1;
        resizes = 0;
        fa_context *ctx = context_open(&(fa_config){.backend = &backend});
        size_t before = stats_of(ctx).reserved_bytes;
        char *ptr = fa_heap_alloc(ctx, 40 * MIB);
        REQUIRE_NOT_NULL(ptr);
        fill(ptr, 40 * MIB, 1);
        CHECK_EQ(fa_heap_realloc(ctx, ptr, 50 * MIB), ptr); // Room was reserved.
        CHECK_EQ(resizes, 0);
        ptr = fa_heap_realloc(ctx, ptr, 200 * MIB);
        REQUIRE_NOT_NULL(ptr);
        CHECK_EQ(resizes, 1);
        CHECK(holds(ptr, 40 * MIB, 1));
        CHECK(fa_heap_owns(ctx, ptr));
        CHECK_EQ(heap_stats_of(ctx).live_bytes, 200 * MIB);
        CHECK_EQ(stats_of(ctx).heap_bytes, 200 * MIB);
        fa_heap_free(ctx, ptr);
        CHECK_EQ(heap_stats_of(ctx).committed_bytes, 0);
        CHECK_GE(stats_of(ctx).reserved_bytes, before);
        context_close(ctx);
    }
}

static void a_limit_refuses_and_leaves_the_block(void) {
    fa_context *ctx = context_open(&(fa_config){.memory_limit = 64 * MIB});
    char *ptr = fa_heap_alloc(ctx, 36 * MIB);
    REQUIRE_NOT_NULL(ptr);
    fill(ptr, 36 * MIB, 9);
    CHECK_NULL(fa_heap_realloc(ctx, ptr, 80 * MIB));
    CHECK(failed_as(301, FA_ERR_LIMIT));
    CHECK_NULL(fa_heap_alloc(ctx, 40 * MIB));
    CHECK(failed_as(301, FA_ERR_LIMIT));
    CHECK(holds(ptr, 36 * MIB, 9));
    CHECK_EQ(stats_of(ctx).heap_bytes, 36 * MIB);
    CHECK_LE(stats_of(ctx).committed_bytes, 64 * MIB);
    fa_heap_free(ctx, ptr);
    context_close(ctx);
}

static void a_large_pair_stays_committed(void) {
    fault_backend faults;
    fault_backend_make(&faults, FAULT_PAGES);
    fa_context *ctx = context_open(&(fa_config){.backend = &faults.backend});
    fa_heap_free(ctx, fa_heap_alloc(ctx, 5 * MIB));
    uint64_t calls = faults.calls;
    for (int i = 0; i < 100; i++) {
        void *ptr = fa_heap_alloc(ctx, 4 * MIB + (size_t)i * 1000);
        CHECK_NOT_NULL(ptr);
        fa_heap_free(ctx, ptr);
    }
    CHECK_EQ(faults.calls, calls);
    context_close(ctx);
    fault_backend_end(&faults);
}

static void large_blocks_are_aligned(void) {
    fa_context *ctx = context_open(NULL);
    static const size_t sizes[] = {70000, 3 * MIB, 40 * MIB};
    for (size_t i = 0; i < 3; i++) {
        for (size_t align = 16; align <= FA_ALIGNMENT_MAX; align *= 4) {
            char *ptr = fa_heap_alloc_aligned(ctx, sizes[i], align);
            REQUIRE_NOT_NULL(ptr);
            CHECK_EQ((uintptr_t)ptr % align, 0);
            ptr = fa_heap_realloc(ctx, ptr, 3 * sizes[i]);
            REQUIRE_NOT_NULL(ptr);
            CHECK_EQ((uintptr_t)ptr % align, 0);
            fa_heap_free(ctx, ptr);
        }
    }
    context_close(ctx);
}

TEST_SUITE(heap_large, TEST(growing_on_the_systems_pages), TEST(growing_without_resize),
           TEST(growing_on_blocks_of_malloc), TEST(growing_where_addresses_are_short),
           TEST(a_huge_block_moves_its_pages), TEST(a_limit_refuses_and_leaves_the_block),
           TEST(a_large_pair_stays_committed), TEST(large_blocks_are_aligned));

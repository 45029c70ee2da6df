// Blocks above 64 KiB: runs of units, reservations of their own, growing and moving, and every kind
// of backend under them.
#include "core_fixture.h"
#include "fault_backend.h"

#include "../src/core/core.h"
#include "../src/pool/space.h"
#include <framealloc/frame.h>
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

// ---- Runs that a thread keeps ------------------------------------------------------------------

// Every unit says whose it is, which the heap leaves open for runs that are kept.
static void check_space(fa_context *ctx) {
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    CHECK_EQ(heap_stats_of(ctx).committed_bytes, heap_stats_of(ctx).live_bytes);
    CHECK(fa__space_check(fa__space_get(ctx, NULL)));
}

static void a_freed_run_is_cut_and_joined(void) {
    fa_context *ctx = context_open(NULL);
    char *whole = fa_heap_alloc(ctx, 5 * MIB);
    fa_heap_free(ctx, whole);
    for (int round = 0; round < 6; round++) {
        char *parts[5];
        for (size_t i = 0; i < 5; i++) {
            parts[i] = fa_heap_alloc(ctx, MIB - 100);
            CHECK_EQ(parts[i], whole + i * MIB);
            CHECK_EQ(fa_heap_usable_size(ctx, parts[i]), MIB);
            fill(parts[i], MIB, (unsigned)i);
        }
        CHECK_EQ(heap_stats_of(ctx).committed_bytes, 5 * MIB);
        CHECK_EQ(heap_stats_of(ctx).large_blocks, 5);
        for (size_t i = 0; i < 5; i++) {
            CHECK(holds(parts[i], MIB, (unsigned)i));
        }
        static const size_t orders[3][5] = {{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {0, 4, 2, 1, 3}};
        for (size_t i = 0; i < 5; i++) {
            fa_heap_free(ctx, parts[orders[round % 3][i]]);
        }
        CHECK_EQ(stats_of(ctx).heap_bytes, 0);
        CHECK_EQ(heap_stats_of(ctx).live_blocks, 0);
        CHECK_EQ(heap_stats_of(ctx).live_bytes, 0);
        char *again = fa_heap_alloc(ctx, 5 * MIB);
        CHECK_EQ(again, whole);
        CHECK(!fa_heap_owns(ctx, again + 2 * MIB)); // A block began there.
        fa_heap_free(ctx, again);
    }
    check_space(ctx);
    CHECK_EQ(heap_stats_of(ctx).committed_bytes, 0);
    context_close(ctx);
}

static void a_kept_run_is_not_freed_twice(void) {
    static report_log log;
    fa_context *ctx = context_open(NULL);
    char *ptr = fa_heap_alloc(ctx, 3 * MIB);
    char *parts[3] = {ptr, NULL, NULL};
    log_attach(ctx, &log);
    fa_heap_free(ctx, ptr);
    for (int round = 0; round < 2; round++) {
        fa_heap_free(ctx, ptr);
        log_single(&log, 403);
        fa_heap_free_sized(ctx, ptr, 100000);
        log_single(&log, 403);
        CHECK_NULL(fa_heap_realloc(ctx, ptr, 100));
        log_single(&log, 403);
        CHECK_EQ(fa_heap_usable_size(ctx, ptr), 0);
        log_single(&log, 403);
        CHECK(!fa_heap_owns(ctx, ptr));
        fa_heap_free(ctx, ptr + MIB); // Nothing has begun there, or what has is free.
        log_single(&log, round == 0 ? 404 : 403);
        for (size_t i = 0; i < 3; i++) {
            parts[i] = fa_heap_alloc(ctx, MIB);
            CHECK_EQ(parts[i], ptr + i * MIB);
            fa_heap_free(ctx, parts[i] + FA__UNIT);
            log_single(&log, 404);
        }
        for (size_t i = 0; i < 3; i++) {
            fa_heap_free(ctx, parts[2 - i]);
        }
    }
    CHECK_EQ(stats_of(ctx).heap_bytes, 0);
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    fa_heap_free(ctx, ptr);
    log_single(&log, 404);
    check_space(ctx);
    context_close(ctx);
}

static void a_kept_run_is_zeroed_by_calloc(void) {
    fa_context *ctx = context_open(NULL);
    char *ptr = fa_heap_alloc(ctx, 2 * MIB);
    memset(ptr, 0x5A, 2 * MIB);
    fa_heap_free(ctx, ptr);
    char *again = fa_heap_calloc(ctx, 2, MIB);
    CHECK_EQ(again, ptr);
    for (size_t i = 0; i < 2 * MIB; i++) {
        if (again[i] != 0) {
            CHECK_EQ(i, SIZE_MAX);
            break;
        }
    }
    fa_heap_free(ctx, again);
    context_close(ctx);
}

static void a_block_grows_into_a_kept_run(void) {
    fa_context *ctx = context_open(NULL);
    fa_heap_free(ctx, fa_heap_alloc(ctx, 8 * MIB));
    char *ptr = fa_heap_alloc(ctx, MIB);
    fill(ptr, MIB, 4);
    for (size_t size = 2 * MIB; size <= 16 * MIB; size *= 2) { // The last needs the space too.
        CHECK_EQ(fa_heap_realloc(ctx, ptr, size), ptr);
        CHECK(holds(ptr, MIB, 4));
        CHECK_EQ(fa_heap_usable_size(ctx, ptr), size);
        CHECK_EQ(stats_of(ctx).heap_bytes, size);
        CHECK(!fa_heap_owns(ctx, ptr + size / 2));
    }
    CHECK_EQ(fa_heap_realloc(ctx, ptr, 3 * MIB), ptr);
    CHECK_EQ(stats_of(ctx).heap_bytes, 3 * MIB);
    check_space(ctx);
    fa_heap_free(ctx, ptr);
    context_close(ctx);
}

// What a thread keeps has an end, in runs and in bytes.
static void no_more_is_kept_than_said(void) {
    enum { COUNT = 64 };
    static char *blocks[COUNT];
    fa_context *ctx = context_open(NULL);
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = fa_heap_alloc(ctx, MIB);
        REQUIRE_NOT_NULL(blocks[i]);
    }
    for (size_t i = 0; i < COUNT; i += 2) {
        fa_heap_free(ctx, blocks[i]);
        CHECK_LE(heap_stats_of(ctx).idle_bytes, 8 * MIB);
    }
    for (size_t i = 1; i < COUNT; i += 2) {
        fa_heap_free(ctx, blocks[i]);
        CHECK_LE(heap_stats_of(ctx).idle_bytes, 16 * MIB);
    }
    CHECK_GE(heap_stats_of(ctx).idle_bytes, 8 * MIB);
    check_space(ctx);
    context_close(ctx);
}

static void what_lies_unused_goes_back_when_it_is_quiet(void) {
    fa_context *ctx = context_open(&(fa_config){.decay_frames = 4});
    fa_heap_free(ctx, fa_heap_alloc(ctx, 4 * MIB));
    CHECK_EQ(heap_stats_of(ctx).committed_bytes, 4 * MIB);
    for (int i = 0; i < 4 * 8 * 4; i++) {
        fa_frame_end(fa_frame_begin(ctx));
    }
    CHECK_EQ(heap_stats_of(ctx).committed_bytes, 0);
    context_close(ctx);
}

// ---- Accounts ----------------------------------------------------------------------------------

static void what_stays_charged_is_in_no_figure(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tags[2] = {fa_tag_register(ctx, "a"), fa_tag_register(ctx, "b")};
    for (size_t i = 0; i < 40; i++) {
        FA_TAG_SCOPE(ctx, tags[i % 7 == 0]);
        size_t size = 70000 + i * 50000;
        char *ptr = fa_heap_alloc(ctx, size);
        REQUIRE_NOT_NULL(ptr);
        size_t usable = fa_heap_usable_size(ctx, ptr);
        CHECK_EQ(usable, (size + 4095) / 4096 * 4096);
        CHECK_EQ(tag_stats_of(ctx, tags[i % 7 == 0]).current_bytes, usable);
        CHECK_EQ(tag_stats_of(ctx, tags[i % 7 != 0]).current_bytes, 0);
        CHECK_EQ(stats_of(ctx).heap_bytes, usable);
        fa_heap_free(ctx, ptr);
        CHECK_EQ(tag_stats_of(ctx, tags[i % 7 == 0]).current_bytes, 0);
        CHECK_EQ(stats_of(ctx).heap_bytes, 0);
        CHECK_EQ(stats_of(ctx).allocations, i + 1);
        CHECK_EQ(stats_of(ctx).frees, i + 1);
    }
    context_close(ctx);
}

static void a_budget_is_exact_with_runs_kept(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "a");
    REQUIRE_EQ(fa_tag_push(ctx, tag), FA_OK);
    fa_heap_free(ctx, fa_heap_alloc(ctx, 6 * MIB)); // Stays charged until there is a line.
    REQUIRE_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = 4 * MIB}), FA_OK);
    for (int round = 0; round < 3; round++) {
        char *left = fa_heap_alloc(ctx, 3 * MIB);
        char *right = fa_heap_alloc(ctx, MIB);
        CHECK_NOT_NULL(left);
        CHECK_NOT_NULL(right);
        CHECK_NULL(fa_heap_alloc(ctx, 70000));
        CHECK(failed_as(302, FA_ERR_BUDGET));
        fa_heap_free(ctx, left);
        CHECK_NULL(fa_heap_alloc(ctx, 3 * MIB + 1));
        CHECK(failed_as(302, FA_ERR_BUDGET));
        CHECK_EQ(stats_of(ctx).heap_bytes, MIB);
        fa_heap_free(ctx, right);
        REQUIRE_EQ(fa_budget_set(ctx, FA_TAG_ROOT, &(fa_budget){.hard = 5 * MIB}), FA_OK);
    }
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    context_close(ctx);
}

static void take_as_much_as_is_left(void *arg) {
    fa_context *ctx = arg;
    fa_tag tag = fa_tag_register(ctx, "a");
    REQUIRE_EQ(fa_tag_push(ctx, tag), FA_OK);
    char *ptr = fa_heap_alloc(ctx, 2 * MIB + MIB / 2);
    CHECK_NOT_NULL(ptr);
    fa_heap_free(ctx, ptr);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
}

// What a thread frees after a line was set is there for others at once.
static void nothing_stays_charged_under_a_line(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "a");
    REQUIRE_EQ(fa_tag_push(ctx, tag), FA_OK);
    char *left = fa_heap_alloc(ctx, MIB);
    char *right = fa_heap_alloc(ctx, 2 * MIB);
    fa_heap_free(ctx, left);
    REQUIRE_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = 4 * MIB}), FA_OK);
    fa_heap_free(ctx, right);
    check_thread_join(check_thread_start(take_as_much_as_is_left, ctx));
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    context_close(ctx);
}

static size_t count_that_fit(fa_context *ctx) {
    static void *blocks[1024];
    size_t count = 0;
    do { // At an alignment for which runs that are kept are not used.
        blocks[count] = fa_heap_alloc_aligned(ctx, 120000, 2 * FA__UNIT);
    } while (blocks[count] != NULL && ++count < 1024);
    CHECK(failed_as(301, FA_ERR_LIMIT));
    for (size_t i = 0; i < count; i++) {
        fa_heap_free(ctx, blocks[i]);
    }
    return count;
}

static void a_limit_is_met_with_runs_that_are_kept(void) {
    fa_context *ctx = context_open(&(fa_config){.memory_limit = 64 * MIB});
    size_t count = count_that_fit(ctx);
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    CHECK_LE(count_that_fit(ctx), count); // All bookkeeping is there from here on.
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    count = count_that_fit(ctx);
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    fa_heap_free(ctx, fa_heap_alloc(ctx, 2 * MIB));
    CHECK_EQ(heap_stats_of(ctx).idle_bytes, 2 * MIB);
    CHECK_EQ(count_that_fit(ctx), count);
    context_close(ctx);
}

static bool count_block(const fa_heap_block *block, void *user) {
    (void)block;
    *(size_t *)user += 1;
    return true;
}

static void runs_that_are_kept_are_no_leaks(void) {
    static report_log log;
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &log);
    fa_heap_free(ctx, fa_heap_alloc(ctx, 5 * MIB));
    char *left = fa_heap_alloc(ctx, MIB);
    char *leaked = fa_heap_alloc(ctx, 2 * MIB);
    fa_heap_free(ctx, left);
    size_t seen = 0;
    CHECK_EQ(fa_heap_each(ctx, count_block, &seen), FA_OK);
    CHECK_EQ(seen, 1);
    fa_heap_free(ctx, fa_heap_alloc(ctx, MIB));
    CHECK_NOT_NULL(leaked);
    CHECK_EQ(fa_context_destroy(ctx), FA_ERR_BUSY);
    CHECK_EQ(log_single(&log, 406)->bytes, 2 * MIB);
}

// ---- Threads -----------------------------------------------------------------------------------

static void keep_some(void *arg) {
    fa_context *ctx = arg;
    fa_heap_free(ctx, fa_heap_alloc(ctx, 3 * MIB));
    fa_heap_free(ctx, fa_heap_alloc(ctx, 2 * MIB));
}

static void a_thread_that_ends_keeps_nothing(void) {
    fa_context *ctx = context_open(NULL);
    fa_heap_free(ctx, fa_heap_alloc(ctx, 10));
    for (int i = 0; i < 20; i++) {
        check_thread_join(check_thread_start(keep_some, ctx));
        CHECK_LE(heap_stats_of(ctx).committed_bytes, 65536);
        CHECK_EQ(stats_of(ctx).heap_bytes, 0);
    }
    check_space(ctx);
    context_close(ctx);
}

enum { PEERS = 4, RING = 16, SWAPS = 3000 };

typedef struct exchange {
    fa_context *ctx;
    _Atomic(char *) ring[RING];
} exchange;

typedef struct peer {
    exchange *with;
    uint64_t seed;
} peer;

// Leaves new blocks where others find them, and frees what it finds.
static void swap_blocks(void *arg) {
    peer *self = arg;
    fa_context *ctx = self->with->ctx;
    check_rng rng = check_rng_make(self->seed);
    for (int i = 0; i < SWAPS; i++) {
        size_t size = 65537 + check_rng_below(&rng, 2 * MIB);
        char *ptr = fa_heap_alloc(ctx, size);
        REQUIRE_NOT_NULL(ptr);
        if (check_rng_chance(&rng, 20)) {
            size += check_rng_below(&rng, MIB);
            ptr = fa_heap_realloc(ctx, ptr, size);
            REQUIRE_NOT_NULL(ptr);
        }
        memcpy(ptr, &size, sizeof(size));
        ptr[size - 1] = (char)size;
        char *other = atomic_exchange(&self->with->ring[check_rng_below(&rng, RING)], ptr);
        if (other != NULL) {
            memcpy(&size, other, sizeof(size));
            CHECK_EQ(other[size - 1], (char)size);
            CHECK_GE(fa_heap_usable_size(ctx, other), size);
            fa_heap_free(ctx, other);
        }
    }
}

static void threads_exchange_large_blocks(void) {
    static exchange with;
    peer peers[PEERS];
    check_thread *threads[PEERS];
    with.ctx = context_open(NULL);
    uint64_t seed = check_seed();
    for (size_t i = 0; i < PEERS; i++) {
        peers[i] = (peer){&with, seed + i};
        threads[i] = check_thread_start(swap_blocks, &peers[i]);
    }
    for (size_t i = 0; i < PEERS; i++) {
        check_thread_join(threads[i]);
    }
    size_t live = 0;
    size_t blocks = 0;
    for (size_t i = 0; i < RING; i++) {
        char *ptr = atomic_load(&with.ring[i]);
        blocks += ptr != NULL;
        live += fa_heap_usable_size(with.ctx, ptr);
    }
    CHECK_EQ(heap_stats_of(with.ctx).large_blocks, blocks);
    CHECK_EQ(heap_stats_of(with.ctx).large_bytes, live);
    CHECK_EQ(stats_of(with.ctx).heap_bytes, live);
    CHECK(fa__space_check(fa__space_get(with.ctx, NULL)));
    for (size_t i = 0; i < RING; i++) {
        fa_heap_free(with.ctx, atomic_exchange(&with.ring[i], NULL));
    }
    CHECK_EQ(stats_of(with.ctx).heap_bytes, 0);
    check_space(with.ctx);
    context_close(with.ctx);
}

TEST_SUITE(heap_large, TEST(growing_on_the_systems_pages), TEST(growing_without_resize),
           TEST(growing_on_blocks_of_malloc), TEST(growing_where_addresses_are_short),
           TEST(a_huge_block_moves_its_pages), TEST(a_limit_refuses_and_leaves_the_block),
           TEST(a_large_pair_stays_committed), TEST(large_blocks_are_aligned),
           TEST(a_freed_run_is_cut_and_joined), TEST(a_kept_run_is_not_freed_twice),
           TEST(a_kept_run_is_zeroed_by_calloc), TEST(a_block_grows_into_a_kept_run),
           TEST(no_more_is_kept_than_said), TEST(what_lies_unused_goes_back_when_it_is_quiet),
           TEST(what_stays_charged_is_in_no_figure), TEST(a_budget_is_exact_with_runs_kept),
           TEST(nothing_stays_charged_under_a_line), TEST(a_limit_is_met_with_runs_that_are_kept),
           TEST(runs_that_are_kept_are_no_leaks), TEST(a_thread_that_ends_keeps_nothing),
           TEST(threads_exchange_large_blocks));

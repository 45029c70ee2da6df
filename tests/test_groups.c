// Groups: many small arenas on chunks. They come and go without a system call, and cost no more
// memory than their chunks.
#define _GNU_SOURCE 1 // For what only Linux has.

#include "core_fixture.h"
#include "fault_backend.h"

enum { GROUPS = 10000, BLOCKS = 10, CHUNK = 4096 };

static const fa_arena_desc small_group = {.name = "group", .chunk_size = CHUNK};

static fa_arena *groups[GROUPS];

// Creates a group and fills it with ten blocks. NULL when something was refused.
static fa_arena *make_group(fa_context *ctx, size_t number) {
    fa_arena *group = NULL;
    if (fa_arena_create(ctx, &small_group, &group) != FA_OK) {
        return NULL;
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        unsigned char *block = fa_arena_alloc(group, 16 + (number + i * 37) % 300);
        if (block == NULL) {
            fa_arena_destroy(group);
            return NULL;
        }
        memset(block, (int)(number % 251), 16);
    }
    return group;
}

static void ten_thousand_groups_take_their_chunks_and_little_more(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *first = make_group(ctx, 0); // What the context and its thread need is there.
    size_t before = stats_of(ctx).committed_bytes;
    size_t overhead = stats_of(ctx).overhead_bytes;
    for (size_t i = 0; i < GROUPS; i++) {
        groups[i] = make_group(ctx, i);
        REQUIRE_NOT_NULL(groups[i]);
    }
    fa_stats stats = stats_of(ctx);
    CHECK_EQ(stats.arenas, GROUPS + 1);
    size_t records = stats.overhead_bytes - overhead;
    CHECK_LE(stats.committed_bytes - before - records, (size_t)GROUPS * CHUNK + 2 * MIB);
    CHECK_LE(records, (size_t)GROUPS * 1024);
    for (size_t i = 0; i < GROUPS; i++) {
        fa_arena_destroy(groups[i]);
    }
    fa_arena_destroy(first);
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    stats = stats_of(ctx);
    CHECK_EQ(stats.frame_bytes, 0);
    CHECK_LE(stats.committed_bytes - records,
             before); // Chunks are gone, records stay for the next.
    for (size_t i = 0; i < GROUPS; i++) {
        groups[i] = make_group(ctx, i);
        REQUIRE_NOT_NULL(groups[i]);
    }
    CHECK_EQ(stats_of(ctx).overhead_bytes, stats.overhead_bytes); // And are used again.
    for (size_t i = 0; i < GROUPS; i++) {
        fa_arena_destroy(groups[(i * 7919) % GROUPS]); // In another order.
    }
    context_close(ctx);
}

// Chunks are cut from regions of 2 MiB: once there is one, groups ask the backend for nothing.
static void groups_ask_the_backend_for_nothing(void) {
    fault_backend faults;
    fault_backend_make(&faults, FAULT_PAGES);
    fa_context *ctx = context_open(&(fa_config){.backend = &faults.backend});
    for (size_t i = 0; i < 100; i++) {
        groups[i] = make_group(ctx, i);
        REQUIRE_NOT_NULL(groups[i]);
    }
    for (size_t i = 0; i < 100; i++) {
        fa_arena_destroy(groups[i]);
    }
    uint64_t calls = faults.calls;
    fault_backend_set(&faults, FAULT_FROM, 1, 0, 0);
    check_rng rng = check_rng_make(check_seed());
    size_t live = 0;
    for (size_t i = 0; i < 10000; i++) {
        if (live < 100 && check_rng_chance(&rng, 52)) {
            groups[live] = make_group(ctx, i);
            REQUIRE_NOT_NULL(groups[live]);
            live += 1;
        } else if (live > 0) {
            size_t at = check_rng_below(&rng, live);
            fa_arena_destroy(groups[at]);
            live -= 1;
            groups[at] = groups[live];
        }
    }
    CHECK_EQ(faults.calls, calls);
    while (live > 0) {
        live -= 1;
        fa_arena_destroy(groups[live]);
    }
    context_close(ctx);
    fault_backend_end(&faults);
}

static size_t play(fa_context *ctx) {
    size_t failures = 0;
    for (size_t i = 0; i < 1500; i++) {
        groups[i] = make_group(ctx, i);
        failures += groups[i] == NULL ? 1 : 0;
    }
    for (size_t i = 0; i < 1500; i++) {
        fa_arena_destroy(groups[i]);
    }
    fa_stats stats = stats_of(ctx);
    CHECK_EQ(stats.frame_bytes, 0);
    CHECK_EQ(stats.arenas, 0);
    return failures;
}

static void every_refusal_is_survived(void) {
    uint64_t refusals = 1;
    for (uint64_t at = 1; refusals != 0; at += check_scale(10) < 10 ? 7 : 1) {
        fault_backend faults;
        fault_backend_make(&faults, FAULT_PAGES);
        fa_context *ctx = context_open(&(fa_config){.backend = &faults.backend});
        fault_backend_set(&faults, at % 2 == 0 ? FAULT_NTH : FAULT_FROM, faults.calls + at / 2, 0,
                          0);
        size_t failures = play(ctx);
        refusals = faults.refusals;
        CHECK(refusals != 0 || failures == 0);
        fault_backend_set(&faults, FAULT_NONE, 0, 0, 0);
        CHECK_EQ(play(ctx), 0);
        context_close(ctx);
        fault_backend_end(&faults);
    }
}

// Groups of several threads share the page source and the list of arenas.
static void make_and_drop(void *arg) {
    fa_context *ctx = arg;
    fa_arena *mine[20] = {NULL};
    check_rng rng = check_rng_make(check_seed() ^ (uintptr_t)&rng);
    for (size_t i = 0; i < check_scale(20000); i++) {
        size_t at = check_rng_below(&rng, 20);
        fa_arena_destroy(mine[at]);
        mine[at] = make_group(ctx, i);
        CHECK_NOT_NULL(mine[at]);
        if (i % 64 == 0) {
            (void)stats_of(ctx);
        }
    }
    for (size_t at = 0; at < 20; at++) {
        fa_arena_destroy(mine[at]);
    }
}

static void threads_have_groups_of_their_own(void) {
    fa_context *ctx = context_open(NULL);
    check_threads_run(4, make_and_drop, ctx, 0);
    CHECK_EQ(stats_of(ctx).frame_bytes, 0);
    CHECK_EQ(stats_of(ctx).arenas, 0);
    context_close(ctx);
}

#if defined(__linux__) && defined(FA_HAVE_COMMON) && !IS_SANITIZED

#include <common/syscall_count.h>

// A child process: makes 10,000 groups one after the other, then again by hundreds.
static int churn(void *arg) {
    (void)arg;
    fa_context *ctx = NULL;
    if (fa_context_create(NULL, &ctx) != FA_OK) {
        return 1;
    }
    for (size_t round = 0; round < 2; round++) {
        if (round == 1) {
            syscall_count_begin(0);
        }
        for (size_t i = 0; i < GROUPS; i++) {
            fa_arena *group = make_group(ctx, i);
            if (group == NULL) {
                return 2;
            }
            fa_arena_destroy(group);
        }
        for (size_t i = 0; i < GROUPS; i++) {
            if (i >= 100) {
                fa_arena_destroy(groups[i - 100]);
            }
            groups[i] = make_group(ctx, i);
            if (groups[i] == NULL) {
                return 3;
            }
        }
        for (size_t i = GROUPS - 100; i < GROUPS; i++) {
            fa_arena_destroy(groups[i]);
        }
        if (round == 1) {
            syscall_count_end(0);
        }
    }
    return fa_context_destroy(ctx) == FA_OK ? 0 : 4;
}

static void a_group_costs_no_system_call(void) {
    static syscall_count counts;
    (void)syscall_count_run(churn, NULL, &counts);
    REQUIRE(counts.started);
    CHECK_EQ(counts.exit_code, 0);
    CHECK_EQ(counts.regions[0].entered, 1);
    CHECK_EQ(counts.regions[0].minor_faults, 0);
    if (!counts.counted) {
        SKIP(counts.reason);
    }
    CHECK_EQ(counts.regions[0].calls, 0);
}

#else

static void a_group_costs_no_system_call(void) {
    SKIP("system calls and page faults are counted on Linux only, and not under a sanitizer");
}

#endif

TEST_SUITE(groups, TEST(ten_thousand_groups_take_their_chunks_and_little_more),
           TEST(groups_ask_the_backend_for_nothing), TEST(every_refusal_is_survived),
           TEST(threads_have_groups_of_their_own), TEST(a_group_costs_no_system_call));

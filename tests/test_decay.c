// A single huge frame among small ones: its memory goes back, theirs stays.
//
// Measured from outside: resident memory as the kernel reports it, and page faults as it counts
// them. Each test runs in a process of its own, so that nobody else's memory is in the figures.
#define _GNU_SOURCE 1 // For what only Linux has.

#include "harness/check.h"

#include <framealloc/framealloc.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#endif

#if defined(__linux__) && !defined(IS_SANITIZED)

#include <common/memory_usage.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static const size_t small_bytes = (size_t)512 << 10;
static const size_t spike_bytes = (size_t)256 << 20;

typedef struct decay_case {
    fa_config config;
    bool in_scratch; // The spike is in a scratch scope of a small frame.
} decay_case;

static uint64_t faults_now(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

// The kernel adds resident pages up lazily, per processor; this reads the settled figure as well as
// one can.
static size_t resident_now(void) {
    memory_usage usage;
    return memory_usage_get(&usage) ? (size_t)usage.resident_bytes : 0;
}

// Writes to every page. A compiler may drop a memset of memory that nobody reads.
static void fill(fa_arena *arena, size_t size) {
    volatile char *block = fa_arena_alloc(arena, size);
    CHECK_NOT_NULL(block);
    for (size_t at = 0; block != NULL && at < size; at += 4096) {
        block[at] = 1;
    }
}

static void small_frame(fa_context *ctx) {
    fa_arena *frame = fa_frame_begin(ctx);
    for (int i = 0; i < 32; i++) {
        fill(frame, small_bytes / 32);
    }
    fa_scratch scratch = fa_scratch_begin(ctx, &frame, 1);
    fill(scratch.arena, small_bytes / 4);
    fa_scratch_end(scratch);
    fa_frame_end(frame);
}

// Returns the resident bytes while the huge block is in use.
static size_t spike_frame(fa_context *ctx, bool in_scratch) {
    fa_arena *frame = fa_frame_begin(ctx);
    size_t resident = 0;
    if (in_scratch) {
        fa_scratch scratch = fa_scratch_begin(ctx, &frame, 1);
        fill(scratch.arena, spike_bytes);
        resident = resident_now();
        fa_scratch_end(scratch);
    } else {
        fill(frame, spike_bytes);
        resident = resident_now();
    }
    fa_frame_end(frame);
    return resident;
}

// `count` small frames, none of which may fault.
static void steady_frames(fa_context *ctx, uint32_t count) {
    uint64_t before = faults_now();
    for (uint32_t i = 0; i < count; i++) {
        small_frame(ctx);
    }
    CHECK_EQ(faults_now() - before, 0);
}

static void spike_and_settle(fa_context *ctx, const decay_case *what, size_t steady) {
    uint32_t decay = fa_context_config(ctx)->decay_frames;
    size_t spike = spike_frame(ctx, what->in_scratch);
    CHECK_GE(spike, steady + spike_bytes - spike_bytes / 8);
    steady_frames(ctx, 2 * decay);
    size_t settled = resident_now();
    check_note("steady %zu KiB, spike %zu KiB, settled %zu KiB after %u frames", steady >> 10,
               spike >> 10, settled >> 10, 2 * (unsigned)decay);
    CHECK_LE(settled, steady + steady / 2);
}

static void run_spikes(void *arg) {
    const decay_case *what = arg;
    fa_context *ctx = NULL;
    REQUIRE_EQ(fa_context_create(&what->config, &ctx), FA_OK);
    uint32_t decay = fa_context_config(ctx)->decay_frames;
    for (uint32_t i = 0; i < 4 * decay; i++) {
        small_frame(ctx);
    }
    size_t steady = resident_now();
    if (steady == 0) {
        return; // The parent finds no spike in the output, and skips.
    }
    steady_frames(ctx, 1000);
    // How long memory stays must not depend on when in a decay window the spike comes.
    for (uint32_t phase = 0; phase < 4; phase++) {
        steady_frames(ctx, decay / 4 + phase);
        spike_and_settle(ctx, what, steady);
        printf("spike was seen\n");
        steady_frames(ctx, 1000);
    }
    CHECK_EQ(fa_context_destroy(ctx), FA_OK);
}

static void check_decay(decay_case what) {
    static check_child child;
    check_child_run(run_spikes, &what, &child);
    if (!CHECK(!check_child_died(&child))) {
        FAIL("the child wrote:\n%s", child.text);
    }
    if (strstr(child.text, "spike was seen") == NULL && !check_child_died(&child)) {
        SKIP("the system does not say how much memory is resident");
    }
}

static void a_huge_frame_gives_its_memory_back(void) {
    check_decay((decay_case){.config = {0}});
}

static void a_huge_frame_of_three_in_flight_gives_its_memory_back(void) {
    check_decay((decay_case){.config = {.frames_in_flight = 3}});
}

static void a_huge_frame_gives_its_memory_back_after_few_frames(void) {
    check_decay((decay_case){.config = {.decay_frames = 4}});
}

static void a_huge_scratch_scope_gives_its_memory_back(void) {
    check_decay((decay_case){.in_scratch = true});
}

// More than the reservation: the huge block is one of its own.
static void an_oversize_block_gives_its_memory_back(void) {
    check_decay((decay_case){.config = {.frame_reserve = (size_t)16 << 20}});
}

TEST_SUITE(decay, TEST(a_huge_frame_gives_its_memory_back),
           TEST(a_huge_frame_of_three_in_flight_gives_its_memory_back),
           TEST(a_huge_frame_gives_its_memory_back_after_few_frames),
           TEST(a_huge_scratch_scope_gives_its_memory_back),
           TEST(an_oversize_block_gives_its_memory_back));

#else

static void huge_frames_give_their_memory_back(void) {
    SKIP("resident memory is measured on Linux only, without sanitizers");
}

TEST_SUITE(decay, TEST(huge_frames_give_their_memory_back));

#endif

// The memory of frames: growing, what is larger than the reservation, giving back what is not
// needed any more.
//
// test_decay.c measures the same from outside, in resident memory and page faults; here the
// context's own figures and the calls of its backend are counted.
#include "core_fixture.h"
#include "fault_backend.h"

static fault_backend pages;

static size_t committed(fa_context *ctx) {
    return stats_of(ctx).committed_bytes;
}

static void one_frame(fa_context *ctx, size_t bytes) {
    fa_arena *frame = fa_frame_begin(ctx);
    REQUIRE_NOT_NULL(frame);
    CHECK_NOT_NULL(fa_arena_alloc(frame, bytes));
    fa_frame_end(frame);
}

static void one_frame_with_scratch(fa_context *ctx, size_t bytes) {
    fa_arena *frame = fa_frame_begin(ctx);
    REQUIRE_NOT_NULL(frame);
    fa_scratch scratch = fa_scratch_begin(ctx, &frame, 1);
    CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, bytes));
    fa_scratch_end(scratch);
    fa_frame_end(frame);
}

// ---- Decay ----

// Runs frames of 64 KiB, one of 40 MiB at frame `at`, and checks that its memory is gone in time.
static void check_decay(const fa_config *config, unsigned at, void (*frame)(fa_context *, size_t)) {
    fa_context *ctx = context_open(config);
    uint32_t decay = fa_context_config(ctx)->decay_frames;
    check_note("%u in flight, decay %u, spike in frame %u", (unsigned)config->frames_in_flight,
               (unsigned)decay, at);
    for (unsigned i = 1; i < at; i++) {
        frame(ctx, 64 * KIB);
    }
    size_t before = committed(ctx);
    frame(ctx, 40 * MIB);
    CHECK_GE(committed(ctx), before + 39 * MIB);
    unsigned count = 0;
    while (committed(ctx) > before + MIB && count < 20 * decay) {
        frame(ctx, 64 * KIB);
        count += 1;
    }
    CHECK_LE(count, 2 * decay);
    CHECK_GE(count + 1, decay / 2); // Not at once: the next level may need it again.
    context_close(ctx);
}

static void a_spike_is_given_back_in_time_whenever_it_comes(void) {
    for (uint32_t n = 1; n <= 8; n++) {
        fa_config config = {.frames_in_flight = n, .decay_frames = 32};
        for (unsigned at = n + 1; at <= 100; at += 3 * n) {
            check_decay(&config, at, one_frame);
        }
    }
}

static void a_spike_in_scratch_is_given_back_in_time(void) {
    for (uint32_t n = 1; n <= 3; n += 2) {
        fa_config config = {.frames_in_flight = n, .decay_frames = 32, .scratch_reserve = 64 * MIB};
        for (unsigned at = 2; at <= 100; at += 7) {
            check_decay(&config, at, one_frame_with_scratch);
        }
    }
}

static void a_spike_is_given_back_with_the_default_too(void) {
    check_decay(&(fa_config){.frames_in_flight = 1}, 10, one_frame);
    check_decay(&(fa_config){.frames_in_flight = 1}, 64, one_frame);
    check_decay(&(fa_config){.frames_in_flight = 1}, 65, one_frame);
}

static void a_spike_on_chunks_is_given_back_in_time(void) {
    for (unsigned at = 2; at <= 60; at += 5) {
        fault_backend_make(&pages, FAULT_BLOCKS);
        fa_config config = {.backend = &pages.backend, .frames_in_flight = 1, .decay_frames = 16};
        check_note("spike in frame %u", at);
        fa_context *ctx = context_open(&config);
        for (unsigned i = 1; i < at; i++) {
            one_frame(ctx, 8 * KIB);
        }
        size_t before = committed(ctx);
        for (size_t i = 0; i < 2; i++) { // Many small blocks, so that the first chunk is replaced.
            fa_arena *frame = fa_frame_begin(ctx);
            for (size_t k = 0; k < 2000; k++) {
                CHECK_NOT_NULL(fa_arena_alloc(frame, 4 * KIB));
            }
            fa_frame_end(frame);
        }
        unsigned count = 0;
        while (committed(ctx) > before + MIB && count < 1000) {
            one_frame(ctx, 8 * KIB);
            count += 1;
        }
        CHECK_LE(count, 2 * 16);
        context_close(ctx);
        fault_backend_end(&pages);
    }
}

// What every frame needs stays, whatever it is: no commit, no decommit.
static void check_steady(uint32_t in_flight, size_t bytes, void (*frame)(fa_context *, size_t)) {
    fault_backend_make(&pages, FAULT_PAGES);
    fa_config config = {
        .backend = &pages.backend, .frames_in_flight = in_flight, .decay_frames = 8};
    fa_context *ctx = context_open(&config);
    for (unsigned i = 0; i < 3 * in_flight; i++) {
        frame(ctx, bytes);
    }
    size_t before = committed(ctx);
    uint64_t calls = pages.calls;
    for (unsigned i = 0; i < 100; i++) {
        frame(ctx, bytes);
        CHECK_EQ(committed(ctx), before);
    }
    CHECK_EQ(pages.calls, calls);
    context_close(ctx);
    fault_backend_end(&pages);
}

static void memory_that_every_frame_needs_is_kept(void) {
    check_steady(1, 5 * MIB, one_frame);
    check_steady(3, 5 * MIB, one_frame);
    check_steady(8, 100 * KIB, one_frame);
    check_steady(1, 3 * MIB, one_frame_with_scratch);
    check_steady(3, 3 * MIB, one_frame_with_scratch);
}

// A need that comes back within decay_frames is not paid for each time.
static void memory_that_is_needed_now_and_then_is_kept(void) {
    fault_backend_make(&pages, FAULT_PAGES);
    fa_config config = {.backend = &pages.backend, .decay_frames = 32};
    fa_context *ctx = context_open(&config);
    for (unsigned i = 0; i < 200; i++) {
        one_frame(ctx, i % 8 == 0 ? 5 * MIB : KIB);
    }
    uint64_t calls = pages.calls;
    for (unsigned i = 0; i < 400; i++) {
        one_frame(ctx, i % 8 == 0 ? 5 * MIB : KIB);
    }
    CHECK_EQ(pages.calls, calls);
    context_close(ctx);
    fault_backend_end(&pages);
}

static void frame_initial_is_never_given_back(void) {
    fa_config config = {.frame_initial = 2 * MIB, .decay_frames = 4};
    fa_context *ctx = context_open(&config);
    fa_frame_stats_result stats = {0};
    for (unsigned i = 0; i < 50; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_EQ(fa_frame_stats(frame, &stats), FA_OK);
        CHECK_EQ(stats.committed_bytes, 2 * MIB);
        fa_frame_end(frame);
    }
    context_close(ctx);
}

// ---- Larger than the reservation ----

static void a_request_above_the_reservation_gets_a_block_of_its_own(void) {
    fault_backend_make(&pages, FAULT_PAGES);
    fa_config config = {.backend = &pages.backend, .frame_reserve = 256 * KIB};
    fa_context *ctx = context_open(&config);
    one_frame(ctx, 100);
    size_t before = committed(ctx);
    size_t ranges = pages.range_count;
    for (int round = 0; round < 20; round++) {
        fa_arena *frame = fa_frame_begin(ctx);
        unsigned char *small = fa_arena_alloc(frame, 1000);
        unsigned char *large = fa_arena_alloc(frame, 3 * MIB);
        unsigned char *after = fa_arena_alloc(frame, 1000);
        REQUIRE(small != NULL && large != NULL && after != NULL);
        CHECK_EQ((uintptr_t)large % FA_ALIGNMENT, 0);
        CHECK_EQ(after, small + 1008); // The reservation goes on filling.
        memset(small, 1, 1000);
        memset(large, 2, 3 * MIB);
        memset(after, 3, 1000);
        CHECK_EQ(small[999], 1);
        CHECK_EQ(large[3 * MIB - 1], 2);
        fa_frame_stats_result stats = {0};
        CHECK_EQ(fa_frame_stats(frame, &stats), FA_OK);
        CHECK_EQ(stats.blocks, 1);
        CHECK_EQ(stats.used_bytes, 2 * 1008 + 3 * MIB);
        CHECK_GE(stats.committed_bytes, 3 * MIB);
        CHECK_EQ(stats_of(ctx).frame_bytes, 2 * 1008 + 3 * MIB);
        CHECK_GE(committed(ctx), before + 3 * MIB);
        fa_frame_end(frame);
        CHECK_EQ(committed(ctx), before); // Released at the frame's end.
        CHECK_EQ(pages.range_count, ranges);
    }
    context_close(ctx);
    fault_backend_end(&pages);
}

static void frames_that_outgrow_the_reservation_work_on(void) {
    fa_config config = {.frame_reserve = 128 * KIB, .frames_in_flight = 2};
    fa_context *ctx = context_open(&config);
    check_rng rng = check_rng_make(check_seed());
    for (size_t round = 0; round < check_scale(100); round++) {
        fa_arena *frame = fa_frame_begin(ctx);
        size_t used = 0;
        unsigned char *blocks[200];
        size_t sizes[200];
        for (size_t i = 0; i < 200; i++) {
            sizes[i] = check_rng_size(&rng, 60000) + 1;
            blocks[i] = fa_arena_alloc(frame, sizes[i]);
            REQUIRE_NOT_NULL(blocks[i]);
            memset(blocks[i], (int)i, sizes[i]);
            used += rounded(sizes[i]);
            CHECK_EQ(fa_arena_used(frame), used);
        }
        for (size_t i = 0; i < 200; i++) {
            REQUIRE_EQ(blocks[i][0], (unsigned char)i);
            REQUIRE_EQ(blocks[i][sizes[i] - 1], (unsigned char)i);
        }
        fa_frame_end(frame);
    }
    context_close(ctx);
}

static void a_refused_growth_leaves_the_frame_usable(void) {
    fault_backend_make(&pages, FAULT_PAGES);
    fa_config config = {.backend = &pages.backend};
    fa_context *ctx = context_open(&config);
    fa_arena *frame = fa_frame_begin(ctx);
    unsigned char *block = fa_arena_alloc(frame, 40000);
    REQUIRE_NOT_NULL(block);
    memset(block, 9, 40000);
    fault_backend_set(&pages, FAULT_FROM, 1, 0, 0);
    CHECK_NULL(fa_arena_alloc(frame, MIB));
    CHECK_EQ(fa_last_error()->bytes, MIB);
    failed_as(305, FA_ERR_OUT_OF_MEMORY);
    CHECK_EQ(fa_arena_used(frame), 40000);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 1000)); // What is committed can be used.
    fault_backend_set(&pages, FAULT_NONE, 0, 0, 0);
    CHECK_NOT_NULL(fa_arena_alloc(frame, MIB));
    CHECK_EQ(block[39999], 9);
    fa_frame_end(frame);
    context_close(ctx);
    fault_backend_end(&pages);
}

TEST_SUITE(frame_memory, TEST(a_spike_is_given_back_in_time_whenever_it_comes),
           TEST(a_spike_in_scratch_is_given_back_in_time),
           TEST(a_spike_is_given_back_with_the_default_too),
           TEST(a_spike_on_chunks_is_given_back_in_time),
           TEST(memory_that_every_frame_needs_is_kept),
           TEST(memory_that_is_needed_now_and_then_is_kept),
           TEST(frame_initial_is_never_given_back),
           TEST(a_request_above_the_reservation_gets_a_block_of_its_own),
           TEST(frames_that_outgrow_the_reservation_work_on),
           TEST(a_refused_growth_leaves_the_frame_usable));

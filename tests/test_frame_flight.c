// Frames in flight and fences: the memory of frame k is whole until frame k+N begins, and until its
// fence has passed.
#include "core_fixture.h"
#include "fault_backend.h"

static report_log reports;

// ---- Contents ----

enum { BLOCKS = 12, KEPT = 9 };

// What a frame holds, to be compared later.
typedef struct filled {
    uint64_t index;
    unsigned char *blocks[BLOCKS];
    size_t sizes[BLOCKS];
} filled;

static unsigned char pattern(uint64_t index, size_t block, size_t at) {
    return (unsigned char)(index * 31 + block * 7 + at * 3 + (at >> 8));
}

static void fill_frame(fa_arena *frame, filled *out, check_rng *rng) {
    out->index = fa_frame_index(frame);
    for (size_t i = 0; i < BLOCKS; i++) {
        // Now and then more than the reservation, so that it is a block of its own.
        out->sizes[i] = check_rng_chance(rng, 2) ? 300000 : check_rng_between(rng, 1, 3000);
        out->blocks[i] = fa_arena_alloc(frame, out->sizes[i]);
        REQUIRE_NOT_NULL(out->blocks[i]);
        for (size_t at = 0; at < out->sizes[i]; at++) {
            out->blocks[i][at] = pattern(out->index, i, at);
        }
    }
}

static void check_filled(const filled *held) {
    for (size_t i = 0; i < BLOCKS; i++) {
        for (size_t at = 0; at < held->sizes[i]; at++) {
            if (held->blocks[i][at] != pattern(held->index, i, at)) {
                FAIL("frame %u, block %u of %u bytes changed at %u", (unsigned)held->index,
                     (unsigned)i, (unsigned)held->sizes[i], (unsigned)at);
                return;
            }
        }
    }
}

static void check_contents(const fa_config *config) {
    static filled ring[KEPT];
    size_t n = config->frames_in_flight;
    check_rng rng = check_rng_make(check_seed());
    fa_context *ctx = context_open(config);
    for (size_t i = 0; i < 50; i++) {
        check_note("%u in flight, frame %u", (unsigned)n, (unsigned)(i + 1));
        // The last N frames are whole until the next begins; one in flight only until it ends.
        for (size_t k = n == 1 ? i : (i < n ? 0 : i - n); k < i; k++) {
            check_filled(&ring[k % KEPT]);
        }
        fa_arena *frame = fa_frame_begin(ctx);
        REQUIRE_NOT_NULL(frame);
        CHECK_EQ(fa_frame_index(frame), i + 1);
        CHECK_EQ(fa_arena_used(frame), 0);
        fill_frame(frame, &ring[i % KEPT], &rng);
        for (size_t k = i < n - 1 ? 0 : i - (n - 1); k <= i; k++) {
            check_filled(&ring[k % KEPT]);
        }
        fa_frame_end(frame);
    }
    nothing_failed();
    context_close(ctx);
}

static void contents_are_whole_until_frame_k_plus_n_begins(void) {
    fault_backend pages;
    for (uint32_t n = 1; n <= 8; n++) {
        fa_config config = {.frames_in_flight = n, .frame_reserve = 128 * KIB, .decay_frames = 3};
        check_contents(&config);
        fault_backend_make(&pages, FAULT_BLOCKS);
        config.backend = &pages.backend;
        check_contents(&config);
        fault_backend_end(&pages);
    }
}

static void bytes_of_frames_in_flight_count_as_in_use(void) {
    fa_config config = {.frames_in_flight = 3};
    fa_context *ctx = context_open(&config);
    fa_tag tag = fa_tag_register(ctx, "tag");
    const size_t in_use[] = {1600, 3200, 4800, 4800, 4800, 4800, 4800};
    const size_t ended[] = {1600, 3200, 4800, 4800, 4800, 4800, 4800};
    const size_t begun[] = {0, 1600, 3200, 3200, 3200, 3200, 3200};
    for (size_t i = 0; i < 7; i++) {
        CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_EQ(stats_of(ctx).frame_bytes, begun[i]);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 1600));
        CHECK_EQ(stats_of(ctx).frame_bytes, in_use[i]);
        CHECK_EQ(tag_stats_of(ctx, tag).frame_bytes, 1600); // In frames now open.
        fa_frame_end(frame);
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        CHECK_EQ(stats_of(ctx).frame_bytes, ended[i]);
        CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, ended[i]);
        CHECK_EQ(tag_stats_of(ctx, tag).frame_bytes, 0);
        CHECK_EQ(thread_stats_of(ctx, NULL).frame_bytes, ended[i]);
    }
    CHECK_EQ(stats_of(ctx).peak_bytes, 4800);
    CHECK_EQ(tag_stats_of(ctx, tag).frame_peak_bytes, 1600);
    CHECK_EQ(fa_thread_detach(ctx), FA_OK);
    CHECK_EQ(stats_of(ctx).frame_bytes, 0);
    context_close(ctx);
}

// ---- Cleanups ----

static uint64_t cleaned[64];
static size_t cleaned_count;

static void note_cleaned(void *arg) {
    cleaned[cleaned_count++] = fa_frame_index((const fa_arena *)arg);
}

static void cleanups_run_when_the_memory_is_given_up(void) {
    for (uint32_t n = 1; n <= 8; n++) {
        fa_config config = {.frames_in_flight = n};
        fa_context *ctx = context_open(&config);
        cleaned_count = 0;
        for (uint64_t i = 1; i <= 20; i++) {
            fa_arena *frame = fa_frame_begin(ctx);
            // With more than one in flight, frame i - N has just been given up.
            CHECK_EQ(cleaned_count, n == 1 ? i - 1 : (i <= n ? 0 : i - n));
            CHECK_EQ(fa_arena_defer(frame, note_cleaned, frame), FA_OK);
            fa_frame_end(frame);
            CHECK_EQ(cleaned_count, n == 1 ? i : (i <= n ? 0 : i - n));
        }
        context_close(ctx);
        REQUIRE_EQ(cleaned_count, 20);
        for (uint64_t i = 0; i < 20 - n; i++) {
            CHECK_EQ(cleaned[i], i + 1);
        }
    }
}

// ---- Fences ----

typedef struct device {
    uint64_t waited[64]; // Fences asked for.
    size_t waits;
    fa_result answer;
    const unsigned char *used[64]; // By frame: memory that must be whole while it is waited for.
} device;

enum { FENCE_OF_FRAME = 1000 };

static fa_result wait_for_device(void *user, uint64_t fence) {
    device *self = (device *)user;
    if (self->waits < 64) {
        self->waited[self->waits] = fence;
    }
    self->waits += 1;
    size_t frame = (size_t)(fence - FENCE_OF_FRAME);
    if (frame < 64 && self->used[frame] != NULL) {
        CHECK_EQ(*self->used[frame], frame);
    }
    return self->answer;
}

static void a_fenced_frame_is_waited_for_before_its_memory_is_used_again(void) {
    for (uint32_t n = 1; n <= 8; n++) {
        device gpu = {0};
        fa_config config = {
            .frames_in_flight = n, .frame_wait = wait_for_device, .frame_wait_user = &gpu};
        fa_context *ctx = context_open(&config);
        for (uint64_t i = 1; i <= 20; i++) {
            gpu.waits = 0;
            fa_arena *frame = fa_frame_begin(ctx);
            REQUIRE_NOT_NULL(frame);
            CHECK_EQ(gpu.waits, i <= n ? 0 : 1);
            CHECK_EQ(gpu.waited[0], i <= n ? 0 : FENCE_OF_FRAME + i - n);
            unsigned char *block = fa_arena_alloc(frame, 100);
            REQUIRE_NOT_NULL(block);
            *block = (unsigned char)i;
            gpu.used[i] = block;
            CHECK_EQ(fa_frame_fence(frame, FENCE_OF_FRAME + i), FA_OK);
            fa_frame_stats_result stats = {0};
            CHECK_EQ(fa_frame_stats(frame, &stats), FA_OK);
            CHECK_EQ(stats.fence, FENCE_OF_FRAME + i);
            fa_frame_end(frame);
        }
        context_close(ctx);
    }
}

static size_t cleanup_calls;

static void count_cleanup(void *arg) {
    (void)arg;
    cleanup_calls += 1;
}

static void check_failed_wait(uint32_t n) {
    device gpu = {0};
    fa_config config = {
        .frames_in_flight = n, .frame_wait = wait_for_device, .frame_wait_user = &gpu};
    fa_context *ctx = context_open(&config);
    log_attach(ctx, &reports);
    unsigned char *block = NULL;
    cleanup_calls = 0;
    for (uint32_t i = 0; i < n; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        if (i == 0) {
            block = fa_arena_alloc(frame, 5000);
            REQUIRE_NOT_NULL(block);
            memset(block, 0x3C, 5000);
            CHECK_EQ(fa_arena_defer(frame, count_cleanup, NULL), FA_OK);
            CHECK_EQ(fa_frame_fence(frame, 7), FA_OK);
        }
        fa_frame_end(frame);
    }
    size_t in_use = stats_of(ctx).frame_bytes;
    CHECK_EQ(in_use, 5008 + CLEANUP_BYTES);
    gpu.answer = FA_ERR_TIMEOUT;
    for (size_t i = 1; i <= 3; i++) {
        CHECK_NULL(fa_frame_begin(ctx));
        failed_as(16, FA_ERR_TIMEOUT);
        CHECK_EQ(log_single(&reports, 16)->result, FA_ERR_TIMEOUT);
        CHECK_EQ(gpu.waits, i);
        CHECK_NULL(fa_frame_current(ctx)); // Nothing has changed.
        CHECK_EQ(fa_context_frame_index(ctx), n);
        CHECK_EQ(stats_of(ctx).frame_bytes, in_use);
        CHECK_EQ(cleanup_calls, 0);
        for (size_t at = 0; at < 5000; at++) {
            REQUIRE_EQ(block[at], 0x3C);
        }
    }
    gpu.answer = FA_OK;
    fa_arena *frame = fa_frame_begin(ctx);
    REQUIRE_NOT_NULL(frame);
    CHECK_EQ(fa_frame_index(frame), n + 1);
    CHECK_EQ(cleanup_calls, 1);
    fa_frame_end(frame);
    gpu.waits = 0;
    for (uint32_t i = 0; i < 2 * n; i++) { // The fence went with the frame it was for.
        fa_frame_end(fa_frame_begin(ctx));
    }
    CHECK_EQ(gpu.waits, 0);
    context_close(ctx);
}

static void a_wait_that_fails_makes_begin_fail_and_changes_nothing(void) {
    check_failed_wait(1);
    check_failed_wait(2);
    check_failed_wait(5);
}

static void a_fence_may_come_late_change_and_go(void) {
    device gpu = {0};
    fa_config config = {
        .frames_in_flight = 3, .frame_wait = wait_for_device, .frame_wait_user = &gpu};
    fa_context *ctx = context_open(&config);
    fa_arena *frames[4];
    for (size_t i = 0; i < 3; i++) {
        frames[i] = fa_frame_begin(ctx);
        if (i == 1) {
            CHECK_EQ(fa_frame_fence(frames[1], 20), FA_OK);
            CHECK_EQ(fa_frame_fence(frames[1], 21), FA_OK); // Replaces.
        }
        fa_frame_end(frames[i]);
    }
    CHECK_EQ(fa_frame_fence(frames[0], 10), FA_OK); // After its end.
    CHECK_EQ(fa_frame_fence(frames[2], 30), FA_OK);
    CHECK_EQ(fa_frame_fence(frames[2], 0), FA_OK); // Removes.
    for (size_t i = 0; i < 3; i++) {
        fa_frame_end(fa_frame_begin(ctx));
    }
    CHECK_EQ(gpu.waits, 2);
    CHECK_EQ(gpu.waited[0], 10);
    CHECK_EQ(gpu.waited[1], 21);
    context_close(ctx);
}

static void fences_are_refused_where_they_make_no_sense(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_frame_fence(frame, 1), FA_ERR_UNSUPPORTED); // There is no frame_wait.
    CHECK_EQ(fa_last_error()->result, FA_ERR_UNSUPPORTED);
    fa_frame_end(frame);
    context_close(ctx);
    device gpu = {0};
    fa_config config = {.frame_wait = wait_for_device, .frame_wait_user = &gpu};
    ctx = context_open(&config);
    log_attach(ctx, &reports);
    frame = fa_frame_begin(ctx);
    fa_frame_end(frame);
    CHECK_EQ(fa_frame_fence(frame, 1), FA_ERR_NO_FRAME); // Its memory was given up at its end.
    CHECK_EQ(fa_last_error()->result, FA_ERR_NO_FRAME);
    fa_arena *own = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, NULL, &own), FA_OK);
    CHECK_EQ(fa_frame_fence(own, 1), FA_ERR_INVALID);
    CHECK_EQ(fa_frame_fence(NULL, 1), FA_ERR_INVALID);
    fa_arena_destroy(own);
    fa_frame_end(fa_frame_begin(ctx));
    CHECK_EQ(gpu.waits, 0);
    context_close(ctx);
}

static void memory_behind_a_fence_is_waited_for_at_the_end_too(void) {
    device gpu = {0};
    fa_config config = {
        .frames_in_flight = 2, .frame_wait = wait_for_device, .frame_wait_user = &gpu};
    for (int way = 0; way < 2; way++) {
        fa_context *ctx = context_open(&config);
        gpu.waits = 0;
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_EQ(fa_frame_fence(frame, 99), FA_OK);
        fa_frame_end(frame);
        if (way == 0) {
            CHECK_EQ(fa_thread_detach(ctx), FA_OK);
            CHECK_EQ(gpu.waits, 1);
        }
        context_close(ctx);
        CHECK_EQ(gpu.waits, 1);
        CHECK_EQ(gpu.waited[0], 99);
    }
}

TEST_SUITE(frame_flight, TEST(contents_are_whole_until_frame_k_plus_n_begins),
           TEST(bytes_of_frames_in_flight_count_as_in_use),
           TEST(cleanups_run_when_the_memory_is_given_up),
           TEST(a_fenced_frame_is_waited_for_before_its_memory_is_used_again),
           TEST(a_wait_that_fails_makes_begin_fail_and_changes_nothing),
           TEST(a_fence_may_come_late_change_and_go),
           TEST(fences_are_refused_where_they_make_no_sense),
           TEST(memory_behind_a_fence_is_waited_for_at_the_end_too));

// Frames one at a time: begin and end, what is refused, their numbers, their history. More than one
// in flight: test_frame_flight.c; their memory: test_frame_memory.c.
#include "core_fixture.h"
#include "fault_backend.h"

static report_log reports;

// ---- Begin and end ----

static void begin_opens_a_frame_and_end_closes_it(void) {
    fa_context *ctx = context_open(NULL);
    CHECK_NULL(fa_frame_current(ctx));
    for (uint64_t i = 1; i <= 100; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        REQUIRE_NOT_NULL(frame);
        CHECK_EQ(fa_frame_current(ctx), frame);
        CHECK_EQ(fa_frame_index(frame), i);
        CHECK_EQ(fa_arena_used(frame), 0);
        unsigned char *block = fa_arena_alloc(frame, 1000);
        REQUIRE_NOT_NULL(block);
        memset(block, 0xAB, 1000);
        fa_frame_stats_result stats = {0};
        CHECK_EQ(fa_frame_stats(frame, &stats), FA_OK);
        CHECK_EQ(stats.index, i);
        CHECK_EQ(stats.used_bytes, 1008);
        CHECK_EQ(stats.peak_bytes, 1008);
        CHECK_EQ(stats.blocks, 0);
        CHECK_EQ(stats.waste_bytes, 0);
        CHECK_EQ(stats.fence, 0);
        CHECK(stats.is_open);
        fa_frame_end(frame);
        CHECK_NULL(fa_frame_current(ctx));
        CHECK_EQ(fa_frame_index(frame), i); // Readable until the slot's next frame begins.
        CHECK_EQ(fa_frame_stats(frame, &stats), FA_OK);
        CHECK(!stats.is_open);
        CHECK_EQ(stats_of(ctx).frame_bytes, 0);
    }
    nothing_failed();
    context_close(ctx);
}

static void a_frame_starts_where_the_last_one_did(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *frame = fa_frame_begin(ctx);
    const void *first = fa_arena_alloc(frame, 100);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 10000));
    fa_frame_end(frame);
    frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_arena_alloc(frame, 5000), first);
    fa_frame_end(frame);
    context_close(ctx);
}

static void peak_is_the_most_any_frame_used(void) {
    fa_context *ctx = context_open(NULL);
    const size_t sizes[] = {100, 50000, 16, 3000};
    fa_frame_stats_result stats = {0};
    for (size_t i = 0; i < 4; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_NOT_NULL(fa_arena_alloc(frame, sizes[i]));
        CHECK_EQ(fa_frame_stats(frame, &stats), FA_OK);
        CHECK_EQ(stats.peak_bytes, i == 0 ? 112 : 50000);
        fa_frame_end(frame);
    }
    context_close(ctx);
}

// ---- What is refused ----

static void a_second_begin_is_refused_and_changes_nothing(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 100));
    CHECK_NULL(fa_frame_begin(ctx));
    failed_as(4, FA_ERR_FRAME_OPEN);
    const seen_report *seen = log_single(&reports, 4);
    CHECK_EQ(seen->result, FA_ERR_FRAME_OPEN);
    CHECK_EQ(seen->frame, 1);
    CHECK_EQ(fa_frame_current(ctx), frame);
    CHECK_EQ(fa_frame_index(frame), 1);
    CHECK_EQ(fa_arena_used(frame), 112);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 100));
    fa_frame_end(frame);
    frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_frame_index(frame), 2);
    fa_frame_end(frame);
    log_empty(&reports);
    context_close(ctx);
}

static void an_end_without_a_frame_is_refused(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_frame_end(NULL);
    failed_as(6, FA_ERR_NO_FRAME);
    log_empty(&reports); // Nobody knows whose it was.
    fa_arena *frame = fa_frame_begin(ctx);
    fa_frame_end(frame);
    fa_frame_end(frame); // Twice.
    failed_as(6, FA_ERR_NO_FRAME);
    CHECK_EQ(log_single(&reports, 6)->result, FA_ERR_NO_FRAME);
    fa_arena *own = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, NULL, &own), FA_OK);
    fa_frame_end(own);
    failed_as(6, FA_ERR_NO_FRAME);
    (void)log_single(&reports, 6);
    fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
    CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 100));
    fa_frame_end(scratch.arena);
    failed_as(6, FA_ERR_NO_FRAME);
    (void)log_single(&reports, 6);
    CHECK_EQ(fa_arena_used(scratch.arena), 112);
    fa_scratch_end(scratch);
    fa_arena_destroy(own);
    frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_frame_index(frame), 2);
    fa_frame_end(frame);
    context_close(ctx);
}

static void end_frame_of_another(void *arg) {
    fa_arena *frame = (fa_arena *)arg;
    fa_frame_end(frame);
    failed_as(205, FA_ERR_WRONG_THREAD);
}

static void another_thread_s_frame_cannot_be_ended(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 100));
    check_thread_join(check_thread_start(end_frame_of_another, frame));
    CHECK_EQ(log_single(&reports, 205)->result, FA_ERR_WRONG_THREAD);
    CHECK_EQ(fa_frame_current(ctx), frame);
    CHECK_EQ(fa_arena_used(frame), 112);
    fa_frame_end(frame);
    CHECK_NULL(fa_frame_current(ctx));
    log_empty(&reports);
    context_close(ctx);
}

static void an_allocation_with_no_frame_open_is_refused(void) {
    for (uint32_t in_flight = 1; in_flight <= 3; in_flight += 2) {
        fa_config config = {.frames_in_flight = in_flight};
        fa_context *ctx = context_open(&config);
        log_attach(ctx, &reports);
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 100));
        size_t room = (size_t)(frame->limit - frame->cursor);
        CHECK_GT(room, 1000);
        fa_frame_end(frame);
        CHECK_NULL(fa_arena_alloc(frame, 16));
        CHECK_EQ(fa_last_error()->bytes, 16);
        failed_as(1, FA_ERR_NO_FRAME);
        const seen_report *seen = log_single(&reports, 1);
        CHECK_EQ(seen->result, FA_ERR_NO_FRAME);
        CHECK_EQ(seen->bytes, 16);
        CHECK_EQ(seen->frame, 0);
        CHECK_NULL(fa_arena_alloc_aligned(frame, 64, 64));
        failed_as(1, FA_ERR_NO_FRAME);
        (void)log_single(&reports, 1);
        CHECK_NULL(fa_arena_calloc(frame, 3, 8, 8));
        failed_as(1, FA_ERR_NO_FRAME);
        (void)log_single(&reports, 1);
        CHECK_NULL(fa_arena_try_alloc(frame, 16));
        failed_as(1, FA_ERR_NO_FRAME);
        CHECK_EQ(fa_arena_rewind(frame, (fa_mark){0}), FA_ERR_NO_FRAME);
        (void)log_single(&reports, 1);
        CHECK_NULL(fa_tagged_alloc(fa_tagged_make(ctx, FA_TAG_ROOT), 16));
        failed_as(1, FA_ERR_NO_FRAME);
        (void)log_single(&reports, 1);
        CHECK_EQ(stats_of(ctx).refusals, 5);
        frame = fa_frame_begin(ctx);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
        fa_frame_end(frame);
        context_close(ctx);
    }
}

static void a_frame_left_with_scratch_open_closes_it_and_says_so(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_arena *frame = fa_frame_begin(ctx);
    fa_scratch first = fa_scratch_begin(ctx, NULL, 0);
    fa_scratch second = fa_scratch_begin(ctx, &first.arena, 1);
    CHECK_NOT_NULL(fa_arena_alloc(first.arena, 100));
    CHECK_NOT_NULL(fa_arena_alloc(second.arena, 100));
    fa_frame_end(frame);
    (void)log_single(&reports, 7);
    CHECK_EQ(stats_of(ctx).frame_bytes, 0);
    fa_scratch_end(second);
    (void)log_single(&reports, 7); // It is closed already.
    context_close(ctx);
}

static void a_scratch_scope_around_frames_is_left_alone(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_scratch outer = fa_scratch_begin(ctx, NULL, 0);
    unsigned char *block = fa_arena_alloc(outer.arena, 100);
    REQUIRE_NOT_NULL(block);
    memset(block, 0x77, 100);
    for (int i = 0; i < 5; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        fa_scratch inner = fa_scratch_begin(ctx, NULL, 0);
        CHECK_NOT_NULL(fa_arena_alloc(inner.arena, 100));
        fa_scratch_end(inner);
        fa_frame_end(frame);
    }
    CHECK_EQ(block[99], 0x77);
    CHECK_EQ(fa_arena_used(outer.arena), 112);
    fa_scratch_end(outer);
    log_empty(&reports);
    context_close(ctx);
}

static void the_first_frame_of_a_thread_may_find_no_memory(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_config config = {.backend = &pages.backend, .frames_in_flight = 2};
    fa_context *ctx = context_open(&config);
    CHECK_EQ(fa_thread_attach(ctx, NULL), FA_OK);
    fault_backend_set(&pages, FAULT_FROM, 1, 0, 0);
    for (int i = 0; i < 3; i++) {
        CHECK_NULL(fa_frame_begin(ctx));
        failed_as(305, FA_ERR_OUT_OF_MEMORY);
        CHECK_NULL(fa_frame_current(ctx));
    }
    fault_backend_set(&pages, FAULT_NONE, 0, 0, 0);
    fa_arena *frame = fa_frame_begin(ctx);
    REQUIRE_NOT_NULL(frame);
    CHECK_EQ(fa_frame_index(frame), 1);
    fa_frame_end(frame);
    context_close(ctx);
    fault_backend_end(&pages);
}

static void figures_of_what_is_no_frame_are_refused(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *own = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, NULL, &own), FA_OK);
    fa_frame_stats_result stats;
    CHECK_EQ(fa_frame_stats(own, &stats), FA_ERR_INVALID);
    CHECK_EQ(fa_frame_stats(NULL, &stats), FA_ERR_INVALID);
    CHECK_EQ(fa_frame_index(own), 0);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_frame_stats(frame, NULL), FA_ERR_INVALID);
    fa_frame_end(frame);
    fa_arena_destroy(own);
    context_close(ctx);
}

static void a_mark_of_an_earlier_frame_is_stale(void) {
    for (uint32_t in_flight = 1; in_flight <= 2; in_flight++) {
        fa_config config = {.frames_in_flight = in_flight};
        fa_context *ctx = context_open(&config);
        fa_mark marks[2];
        for (size_t i = 0; i < 8; i++) {
            fa_arena *frame = fa_frame_begin(ctx);
            const fa_mark at_start = fa_arena_mark(frame);
            CHECK_NOT_NULL(fa_arena_alloc(frame, 1600));
            for (size_t k = 0; i != 0 && k < 2; k++) {
                CHECK_EQ(fa_arena_rewind(frame, marks[k]), FA_ERR_STALE);
                failed_as(5, FA_ERR_STALE);
                CHECK_EQ(fa_arena_used(frame), 1600);
            }
            marks[0] = at_start;
            marks[1] = fa_arena_mark(frame);
            CHECK_NOT_NULL(fa_arena_alloc(frame, 1600));
            if (i % 2 == 0) {
                CHECK_EQ(fa_arena_rewind(frame, marks[1]), FA_OK);
                CHECK_EQ(fa_arena_used(frame), 1600);
            }
            fa_frame_end(frame);
        }
        context_close(ctx);
    }
}

// ---- Numbers ----

static void run_five_frames(void *arg) {
    fa_context *ctx = (fa_context *)arg;
    for (uint64_t i = 1; i <= 5; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_EQ(fa_frame_index(frame), i);
        fa_frame_end(frame);
    }
}

static void frames_are_numbered_per_thread_and_the_context_knows_the_furthest(void) {
    fa_context *ctx = context_open(NULL);
    CHECK_EQ(fa_context_frame_index(ctx), 0);
    for (uint64_t i = 1; i <= 3; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_EQ(fa_context_frame_index(ctx), i);
        fa_frame_end(frame);
    }
    check_threads_run(3, run_five_frames, ctx, 0);
    CHECK_EQ(fa_context_frame_index(ctx), 5); // Also of threads that are gone.
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_frame_index(frame), 4);
    CHECK_EQ(fa_context_frame_index(ctx), 5);
    fa_frame_end(frame);
    context_close(ctx);
}

// ---- Cleanups ----

static unsigned order[16];
static size_t order_count;

static void note_order(void *arg) {
    order[order_count++] = *(const unsigned *)arg;
}

static void cleanups_run_when_the_frame_ends_last_first(void) {
    fa_context *ctx = context_open(NULL);
    const unsigned numbers[4] = {0, 1, 2, 3};
    for (int round = 0; round < 3; round++) {
        fa_arena *frame = fa_frame_begin(ctx);
        order_count = 0;
        for (size_t i = 0; i < 4; i++) {
            CHECK_EQ(fa_arena_defer(frame, note_order, (void *)(uintptr_t)&numbers[i]), FA_OK);
            CHECK_NOT_NULL(fa_arena_alloc(frame, 100));
        }
        CHECK_EQ(order_count, 0);
        fa_frame_end(frame);
        REQUIRE_EQ(order_count, 4);
        for (size_t i = 0; i < 4; i++) {
            CHECK_EQ(order[i], 3 - i);
        }
    }
    fa_frame_end(fa_frame_begin(ctx));
    CHECK_EQ(order_count, 4);
    context_close(ctx);
}

static void use_own_frame(void *arg) {
    fa_arena *frame = (fa_arena *)arg;
    unsigned char *block = fa_arena_alloc(frame, 100);
    REQUIRE_NOT_NULL(block);
    memset(block, 1, 100);
    order_count += 1;
}

static void a_cleanup_may_use_the_frame_it_cleans_up(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *frame = fa_frame_begin(ctx);
    order_count = 0;
    CHECK_EQ(fa_arena_defer(frame, use_own_frame, frame), FA_OK);
    fa_frame_end(frame);
    CHECK_EQ(order_count, 1);
    CHECK_EQ(stats_of(ctx).frame_bytes, 0);
    context_close(ctx);
}

// ---- History ----

static void check_history(fa_context *ctx, uint64_t frames, size_t kept) {
    static fa_frame_record records[400];
    memset(records, 0xEE, sizeof(records));
    REQUIRE_EQ(fa_history(ctx, records, 400), kept);
    for (size_t i = 0; i < kept; i++) {
        uint64_t index = frames - kept + 1 + i; // Oldest first.
        CHECK_EQ(records[i].index, index);
        CHECK_EQ(records[i].bytes, 16 * (index % 50));
        CHECK_EQ(records[i].refusals, index % 3);
        CHECK_EQ(records[i].time_ns, 0);
    }
}

static void history_keeps_the_last_frames_exactly(void) {
    const uint32_t lengths[] = {0, 1, 2, 3, 7, 64, 300};
    for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
        check_note("history of %u", (unsigned)lengths[l]);
        fa_config config = {.history_frames = lengths[l]};
        size_t length = lengths[l] == 0 ? 300 : lengths[l];
        fa_context *ctx = context_open(&config);
        fa_frame_record none;
        CHECK_EQ(fa_history(ctx, &none, 1), 0);
        for (uint64_t i = 1; i <= 2 * length + 10; i++) {
            fa_arena *frame = fa_frame_begin(ctx);
            for (uint64_t k = 0; k < i % 50; k++) {
                CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
            }
            for (uint64_t k = 0; k < i % 3; k++) {
                CHECK_NULL(fa_arena_alloc(frame, 0));
            }
            fa_frame_end(frame);
            CHECK_NULL(fa_arena_try_alloc(frame, 16)); // Refused between frames: in none of them.
            if (i < 5 || i == length || i == length + 1 || i > 2 * length) {
                check_history(ctx, i, i < length ? (size_t)i : length);
            }
        }
        context_close(ctx);
    }
}

static void history_gives_the_newest_when_there_is_room_for_few(void) {
    fa_context *ctx = context_open(NULL);
    for (int i = 0; i < 20; i++) {
        fa_frame_end(fa_frame_begin(ctx));
    }
    fa_frame_record records[3];
    REQUIRE_EQ(fa_history(ctx, records, 3), 3);
    CHECK_EQ(records[0].index, 18);
    CHECK_EQ(records[2].index, 20);
    CHECK_EQ(fa_history(ctx, records, 0), 0);
    CHECK_EQ(fa_history(ctx, NULL, 3), 0);
    fa_arena *frame = fa_frame_begin(ctx); // An open frame has no record yet.
    REQUIRE_EQ(fa_history(ctx, records, 1), 1);
    CHECK_EQ(records[0].index, 20);
    fa_frame_end(frame);
    context_close(ctx);
}

TEST_SUITE(frame, TEST(begin_opens_a_frame_and_end_closes_it),
           TEST(a_frame_starts_where_the_last_one_did), TEST(peak_is_the_most_any_frame_used),
           TEST(a_second_begin_is_refused_and_changes_nothing),
           TEST(an_end_without_a_frame_is_refused), TEST(another_thread_s_frame_cannot_be_ended),
           TEST(an_allocation_with_no_frame_open_is_refused),
           TEST(a_frame_left_with_scratch_open_closes_it_and_says_so),
           TEST(a_scratch_scope_around_frames_is_left_alone),
           TEST(the_first_frame_of_a_thread_may_find_no_memory),
           TEST(figures_of_what_is_no_frame_are_refused), TEST(a_mark_of_an_earlier_frame_is_stale),
           TEST(frames_are_numbered_per_thread_and_the_context_knows_the_furthest),
           TEST(cleanups_run_when_the_frame_ends_last_first),
           TEST(a_cleanup_may_use_the_frame_it_cleans_up),
           TEST(history_keeps_the_last_frames_exactly),
           TEST(history_gives_the_newest_when_there_is_room_for_few));

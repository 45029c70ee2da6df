// Making and ending contexts: what is live at the end, memory_limit, trimming, and turning checks
// on and off.
#include "core_fixture.h"
#include "fault_backend.h"

static fault_backend pages;
static report_log reports;

// ---- Ending ----

static void ending_no_context_is_fine(void) {
    fa_last_error_clear();
    CHECK_EQ(fa_context_destroy(NULL), FA_OK);
    nothing_failed();
}

static void an_end_with_nothing_live_reports_nothing(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_arena *arena = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, NULL, &arena), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(arena, 100));
    fa_arena_destroy(arena);
    fa_frame_end(fa_frame_begin(ctx));
    fa_scratch_end(fa_scratch_begin(ctx, NULL, 0));
    CHECK_EQ(fa_thread_attach(ctx, "still attached"), FA_OK);
    CHECK_EQ(fa_context_destroy(ctx), FA_OK);
    log_empty(&reports);
}

typedef struct call_list {
    size_t count;
    int calls[8];
} call_list;

static call_list cleanups;

static void note_first(void *arg) {
    (void)arg;
    cleanups.calls[cleanups.count++] = 1;
}

static void note_second(void *arg) {
    (void)arg;
    cleanups.calls[cleanups.count++] = 2;
}

static void live_arenas_are_reported_cleaned_up_and_freed(void) {
    fault_backend_make(&pages, FAULT_PAGES);
    fa_config config = {.backend = &pages.backend};
    fa_context *ctx = context_open(&config);
    log_attach(ctx, &reports);
    fa_tag tag = fa_tag_register(ctx, "world/level");
    static char memory[1000];
    const fa_arena_desc descs[] = {
        {.name = "level", .tag = tag},
        {.name = "group", .chunk_size = 16 * KIB},
        {.name = "given", .memory = memory, .memory_size = sizeof(memory)},
    };
    fa_arena *arenas[3];
    for (size_t i = 0; i < 3; i++) {
        REQUIRE_EQ(fa_arena_create(ctx, &descs[i], &arenas[i]), FA_OK);
        CHECK_NOT_NULL(fa_arena_alloc(arenas[i], 160));
    }
    CHECK_NOT_NULL(fa_arena_alloc(arenas[1], 100 * KIB)); // A block of its own.
    cleanups.count = 0;
    CHECK_EQ(fa_arena_defer(arenas[0], note_first, NULL), FA_OK);
    CHECK_EQ(fa_arena_defer(arenas[0], note_second, NULL), FA_OK);
    CHECK_EQ(fa_context_destroy(ctx), FA_ERR_BUSY);
    fault_backend_end(&pages);
    CHECK_EQ(cleanups.count, 2);
    CHECK_EQ(cleanups.calls[0], 2);
    CHECK_EQ(cleanups.calls[1], 1);
    CHECK_EQ(atomic_load(&reports.count), 3);
    CHECK_EQ(log_count(&reports, 8), 3);
    for (size_t i = 0; i < 3; i++) {
        const seen_report *seen = &reports.seen[i];
        CHECK_EQ(seen->result, FA_ERR_BUSY);
        if (strcmp(seen->where, "level") == 0) {
            CHECK_STR_EQ(seen->tag_path, "world/level");
            CHECK_EQ(seen->bytes, 160 + 2 * CLEANUP_BYTES);
        } else {
            CHECK(strcmp(seen->where, "group") == 0 || strcmp(seen->where, "given") == 0);
        }
    }
}

static void an_open_frame_is_reported_cleaned_up_and_freed(void) {
    fault_backend_make(&pages, FAULT_PAGES);
    fa_config config = {.backend = &pages.backend};
    fa_context *ctx = context_open(&config);
    log_attach(ctx, &reports);
    CHECK_EQ(fa_thread_attach(ctx, "render"), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 4000));
    cleanups.count = 0;
    CHECK_EQ(fa_arena_defer(frame, note_first, NULL), FA_OK);
    (void)fa_scratch_begin(ctx, NULL, 0);
    CHECK_EQ(fa_context_destroy(ctx), FA_ERR_BUSY);
    fault_backend_end(&pages);
    CHECK_EQ(cleanups.count, 1);
    CHECK_EQ(log_count(&reports, 9), 1);
    CHECK_EQ(reports.seen[0].code, 9);
    CHECK_EQ(reports.seen[0].frame, 1);
    CHECK_EQ(reports.seen[0].bytes, 4000 + CLEANUP_BYTES);
    CHECK_STR_EQ(reports.seen[0].thread, "render");
}

typedef struct parked {
    fa_context *context;
    check_barrier *barrier;
} parked;

static void park_in_frame(void *arg) {
    const parked *where = (const parked *)arg;
    fa_arena *frame = fa_frame_begin(where->context);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 100 * KIB));
    check_barrier_wait(where->barrier);
    check_barrier_wait(where->barrier); // The context is gone.
}

static void other_threads_open_frames_are_reported_and_freed(void) {
    fault_backend_make(&pages, FAULT_PAGES);
    fa_config config = {.backend = &pages.backend, .frames_in_flight = 3};
    fa_context *ctx = context_open(&config);
    log_attach(ctx, &reports);
    parked where = {ctx, check_barrier_create(4)};
    check_thread *threads[3];
    for (size_t i = 0; i < 3; i++) {
        threads[i] = check_thread_start(park_in_frame, &where);
    }
    check_barrier_wait(where.barrier);
    CHECK_EQ(fa_context_destroy(ctx), FA_ERR_BUSY);
    CHECK_EQ(log_count(&reports, 9), 3);
    CHECK_EQ(atomic_load(&reports.count), 3);
    fault_backend_end(&pages);
    check_barrier_wait(where.barrier);
    for (size_t i = 0; i < 3; i++) {
        check_thread_join(threads[i]);
    }
    check_barrier_destroy(where.barrier);
}

static void frames_in_flight_are_cleaned_up_and_not_reported(void) {
    fa_config config = {.frames_in_flight = 3};
    fa_context *ctx = context_open(&config);
    log_attach(ctx, &reports);
    cleanups.count = 0;
    for (int i = 0; i < 2; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_EQ(fa_arena_defer(frame, i == 0 ? note_first : note_second, NULL), FA_OK);
        fa_frame_end(frame);
    }
    CHECK_EQ(cleanups.count, 0);
    CHECK_EQ(fa_context_destroy(ctx), FA_OK);
    CHECK_EQ(cleanups.count, 2);
    log_empty(&reports);
}

// ---- memory_limit ----

static void check_under(fa_context *ctx, size_t limit) {
    CHECK_LE(stats_of(ctx).committed_bytes, limit);
    CHECK_LE(pages.committed_peak, limit);
}

static void check_memory_limit(fault_source source, size_t limit) {
    fault_backend_make(&pages, source);
    fa_config config = {.backend = &pages.backend, .memory_limit = limit};
    fa_context *ctx = context_open(&config);
    log_attach(ctx, &reports);
    fa_arena *frame = fa_frame_begin(ctx);
    REQUIRE_NOT_NULL(frame);
    size_t granted = 0;
    while (granted <= limit && fa_arena_alloc(frame, 5000) != NULL) {
        granted += 5000;
        check_under(ctx, limit);
    }
    CHECK_EQ(fa_last_error()->bytes, 5000);
    CHECK_EQ(fa_last_error()->limit, limit);
    failed_as(301, FA_ERR_LIMIT);
    CHECK_EQ(log_single(&reports, 301)->limit, limit);
    CHECK_GT(granted, limit / 4);
    fa_arena *own = NULL;
    if (fa_arena_create(ctx, &(fa_arena_desc){.chunk_size = 64 * KIB}, &own) == FA_OK) {
        CHECK_NULL(fa_arena_alloc(own, limit));
        fa_arena_destroy(own);
    }
    CHECK_EQ(fa_last_error()->code, 301);
    fa_scratch scratch = fa_scratch_begin(ctx, &frame, 1);
    if (scratch.arena != NULL) {
        (void)fill_up(scratch.arena, 3000);
        fa_scratch_end(scratch);
    }
    check_under(ctx, limit);
    fa_frame_end(frame);
    // What the frame gave back can be used for something else.
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    frame = fa_frame_begin(ctx);
    REQUIRE_NOT_NULL(frame);
    CHECK_NOT_NULL(fa_arena_alloc(frame, granted / 2));
    fa_frame_end(frame);
    check_under(ctx, limit);
    CHECK_EQ(stats_of(ctx).committed_bytes, pages.committed_bytes);
    context_close(ctx);
    fault_backend_end(&pages);
}

static void memory_limit_is_never_passed(void) {
    const size_t limits[] = {MIB, 2 * MIB + 12345, 8 * MIB};
    for (size_t i = 0; i < 3; i++) {
        check_memory_limit(FAULT_PAGES, limits[i]);
        check_memory_limit(FAULT_BLOCKS, limits[i]);
    }
}

static void use_up(void *arg) {
    fa_context *ctx = (fa_context *)arg;
    check_rng rng = check_rng_make(check_seed());
    for (size_t i = 0; i < check_scale(60); i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        if (frame == NULL) {
            CHECK_EQ(fa_last_error()->code, 301);
            continue;
        }
        for (size_t k = 0; k < 8 * MIB / 15000; k++) { // About twice the limit.
            if (fa_arena_alloc(frame, 1 + check_rng_below(&rng, 30000)) == NULL) {
                break;
            }
        }
        CHECK_EQ(fa_last_error()->code, 301);
        fa_frame_end(frame);
        CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    }
}

static void memory_limit_is_never_passed_by_many_threads(void) {
    fault_backend_make(&pages, FAULT_PAGES);
    fa_config config = {.backend = &pages.backend, .memory_limit = 4 * MIB};
    fa_context *ctx = context_open(&config);
    check_threads_run(8, use_up, ctx, 0);
    CHECK_LE(pages.committed_peak, 4 * MIB);
    CHECK_GT(pages.committed_peak, 3 * MIB);
    CHECK_EQ(stats_of(ctx).committed_bytes, pages.committed_bytes);
    context_close(ctx);
    fault_backend_end(&pages);
}

static void memory_limit_refuses_a_thread_s_state_too(void) {
    // The history alone takes more.
    fa_config config = {.memory_limit = 256 * KIB, .history_frames = 65536};
    fa_context *ctx = context_open(&config);
    log_attach(ctx, &reports);
    CHECK_EQ(fa_thread_attach(ctx, "one"), FA_ERR_LIMIT);
    CHECK_EQ(fa_last_error()->limit, 256 * KIB);
    failed_as(301, FA_ERR_LIMIT);
    CHECK_EQ(log_single(&reports, 301)->result, FA_ERR_LIMIT);
    CHECK_NULL(fa_frame_begin(ctx));
    failed_as(301, FA_ERR_LIMIT);
    CHECK_NULL(fa_scratch_begin(ctx, NULL, 0).arena);
    failed_as(301, FA_ERR_LIMIT);
    CHECK_EQ(fa_tag_push(ctx, FA_TAG_ROOT), FA_ERR_LIMIT);
    CHECK_EQ(fa_tag_pop(ctx), FA_ERR_LIMIT);
    CHECK_EQ(fa_phase_begin(ctx, "phase"), FA_ERR_LIMIT);
    CHECK_NULL(fa_frame_current(ctx));
    CHECK_EQ(fa_tag_current(ctx).id, 0);
    CHECK_NULL(fa_tagged_alloc(fa_tagged_make(ctx, FA_TAG_ROOT), 16));
    CHECK_EQ(stats_of(ctx).threads, 0);
    fa_arena *own = NULL; // What needs no thread's state works.
    CHECK_EQ(fa_arena_create(ctx, NULL, &own), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(own, 1000));
    fa_arena_destroy(own);
    context_close(ctx);
}

// ---- Trimming ----

static void trim_gives_back_what_frames_and_scratch_hold_beyond_keep(void) {
    fault_backend_make(&pages, FAULT_PAGES);
    fa_config config = {.backend = &pages.backend};
    fa_context *ctx = context_open(&config);
    fa_frame_end(fa_frame_begin(ctx));
    fa_scratch_end(fa_scratch_begin(ctx, NULL, 0));
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    size_t empty = stats_of(ctx).committed_bytes;
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 8 * MIB));
    fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
    CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 8 * MIB));
    fa_scratch_end(scratch);
    fa_frame_end(frame);
    CHECK_GE(stats_of(ctx).committed_bytes, empty + 16 * MIB);
    CHECK_EQ(fa_context_trim(ctx, 2 * MIB), FA_OK);
    CHECK_EQ(stats_of(ctx).committed_bytes, empty + 2 * 2 * MIB);
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    CHECK_EQ(stats_of(ctx).committed_bytes, empty);
    CHECK_EQ(pages.committed_bytes, empty);
    context_close(ctx);
    fault_backend_end(&pages);
}

static void trim_keeps_what_is_in_use(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *frame = fa_frame_begin(ctx);
    unsigned char *block = fa_arena_alloc(frame, 3 * MIB);
    REQUIRE_NOT_NULL(block);
    memset(block, 7, 3 * MIB);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    CHECK_EQ(block[0], 7);
    CHECK_EQ(block[3 * MIB - 1], 7);
    unsigned char *next = fa_arena_alloc(frame, 3 * MIB);
    REQUIRE_NOT_NULL(next);
    memset(next, 8, 3 * MIB);
    CHECK_EQ(block[3 * MIB - 1], 7);
    fa_frame_end(frame);
    context_close(ctx);
}

static void trim_gives_free_chunks_back(void) {
    fa_context *ctx = context_open(NULL);
    CHECK_EQ(fa_thread_attach(ctx, NULL), FA_OK);
    fa_arena *arenas[8];
    for (size_t i = 0; i < 8; i++) {
        REQUIRE_EQ(fa_arena_create(ctx, &(fa_arena_desc){.chunk_size = 256 * KIB}, &arenas[i]),
                   FA_OK);
    }
    size_t full = stats_of(ctx).committed_bytes;
    for (size_t i = 1; i < 8; i++) {
        fa_arena_destroy(arenas[i]);
    }
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    CHECK_EQ(stats_of(ctx).committed_bytes, full - 7 * 256 * KIB);
    fa_arena_destroy(arenas[0]);
    context_close(ctx);
}

// ---- Checks at run time ----

typedef struct watched {
    size_t count;
    fa_watch_event last;
    char arena[32];
} watched;

static void note_watch(const fa_watch_event *event, void *user) {
    watched *seen = (watched *)user;
    seen->count += 1;
    seen->last = *event;
    text_copy(seen->arena, sizeof(seen->arena), event->arena);
}

static void watching_starts_and_stops_at_once_for_the_caller(void) {
    fa_context *ctx = context_open(NULL);
    watched seen = {0};
    CHECK_EQ(fa_watch_set(ctx, note_watch, &seen), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 100));
    CHECK_EQ(seen.count, 0);
    CHECK_EQ(fa_context_checks_set(ctx, FA_CHECK_WATCH), FA_OK);
    for (size_t i = 1; i <= 20; i++) {
        CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
        CHECK_EQ(seen.count, i);
    }
    CHECK_EQ(stats_of(ctx).allocations, 20);
    CHECK_EQ(fa_context_checks_set(ctx, 0), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
    CHECK_EQ(seen.count, 20);
    fa_frame_end(frame);
    CHECK_EQ(stats_of(ctx).allocations, 20);
    context_close(ctx);
}

static void a_watch_event_says_everything(void) {
    fa_config config = {.checks = FA_CHECK_WATCH};
    fa_context *ctx = context_open(&config);
    watched seen = {0};
    fa_tag tag = fa_tag_register(ctx, "ui");
    CHECK_EQ(fa_watch_set(ctx, note_watch, &seen), FA_OK);
    fa_frame_end(fa_frame_begin(ctx));
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    const void *ptr = fa_arena_alloc_aligned(frame, 77, 256);
    CHECK_EQ(seen.count, 1);
    CHECK_EQ(seen.last.context, ctx);
    CHECK_EQ(seen.last.ptr, ptr);
    CHECK_EQ(seen.last.size, 77);
    CHECK_EQ(seen.last.align, 256);
    CHECK_EQ(seen.last.tag.id, tag.id);
    CHECK_EQ(seen.last.frame, 2);
    CHECK_STR_EQ(seen.arena, "frame");
    fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
    CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 10));
    CHECK_EQ(seen.count, 2);
    CHECK_STR_EQ(seen.arena, "scratch");
    fa_scratch_end(scratch);
    fa_frame_end(frame);
    fa_arena *own = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, &(fa_arena_desc){.name = "level"}, &own), FA_OK);
    ptr = fa_arena_try_alloc(own, 33);
    CHECK_EQ(seen.count, 3);
    CHECK_EQ(seen.last.ptr, ptr);
    CHECK_EQ(seen.last.frame, 0);
    CHECK_EQ(seen.last.tag.id, 0);
    CHECK_STR_EQ(seen.arena, "level");
    CHECK_EQ(fa_watch_set(ctx, NULL, NULL), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(own, 33));
    CHECK_EQ(seen.count, 3);
    CHECK_EQ(stats_of(ctx).allocations, 4);
    fa_arena_destroy(own);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    context_close(ctx);
}

typedef struct watched_thread {
    fa_context *context;
    check_barrier *barrier;
    atomic_size_t seen;
} watched_thread;

static void count_watch(const fa_watch_event *event, void *user) {
    CHECK_NOT_NULL(event->ptr);
    atomic_fetch_add(&((watched_thread *)user)->seen, 1);
}

// Not by the statistics, because asking for them is a boundary too.
static void run_watched(void *arg) {
    watched_thread *self = (watched_thread *)arg;
    fa_context *ctx = self->context;
    fa_scratch_end(fa_scratch_begin(ctx, NULL, 0));
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 1000));
    check_barrier_wait(self->barrier);
    check_barrier_wait(self->barrier); // Watching is on now.
    fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
    CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 16));
    CHECK_EQ(atomic_load(&self->seen), 1);
    fa_scratch_end(scratch);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 16)); // The frame is watched as well.
    CHECK_EQ(atomic_load(&self->seen), 2);
    check_barrier_wait(self->barrier);
    check_barrier_wait(self->barrier); // And off.
    fa_frame_end(frame);
    frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
    CHECK_EQ(atomic_load(&self->seen), 2);
    check_barrier_wait(self->barrier);
    check_barrier_wait(self->barrier); // And on.
    fa_frame_end(frame);
    frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
    CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
    CHECK_EQ(atomic_load(&self->seen), 4);
    fa_frame_end(frame);
}

static void watching_reaches_other_threads_at_their_next_scope(void) {
    watched_thread other = {.context = context_open(NULL), .barrier = check_barrier_create(2)};
    CHECK_EQ(fa_watch_set(other.context, count_watch, &other), FA_OK);
    check_thread *thread = check_thread_start(run_watched, &other);
    for (uint32_t i = 0; i < 3; i++) {
        check_barrier_wait(other.barrier);
        uint32_t checks = i % 2 == 0 ? FA_CHECK_WATCH : 0;
        CHECK_EQ(fa_context_checks_set(other.context, checks), FA_OK);
        check_barrier_wait(other.barrier);
    }
    check_thread_join(thread);
    check_barrier_destroy(other.barrier);
    context_close(other.context);
}

static void unknown_checks_are_refused(void) {
    fa_context *ctx = context_open(NULL);
    CHECK_EQ(fa_context_checks_set(ctx, 8), FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "checks");
    CHECK_EQ(fa_context_checks_set(ctx, FA_CHECK_WATCH | 8), FA_ERR_INVALID);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
    CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
    fa_frame_end(frame);
    CHECK_EQ(stats_of(ctx).allocations, 0);
    context_close(ctx);
}

TEST_SUITE(context, TEST(ending_no_context_is_fine), TEST(an_end_with_nothing_live_reports_nothing),
           TEST(live_arenas_are_reported_cleaned_up_and_freed),
           TEST(an_open_frame_is_reported_cleaned_up_and_freed),
           TEST(other_threads_open_frames_are_reported_and_freed),
           TEST(frames_in_flight_are_cleaned_up_and_not_reported),
           TEST(memory_limit_is_never_passed), TEST(memory_limit_is_never_passed_by_many_threads),
           TEST(memory_limit_refuses_a_thread_s_state_too),
           TEST(trim_gives_back_what_frames_and_scratch_hold_beyond_keep),
           TEST(trim_keeps_what_is_in_use), TEST(trim_gives_free_chunks_back),
           TEST(watching_starts_and_stops_at_once_for_the_caller),
           TEST(a_watch_event_says_everything),
           TEST(watching_reaches_other_threads_at_their_next_scope),
           TEST(unknown_checks_are_refused));

// Phases: bytes, counts and time by name, per thread and over all of them.
#include "core_fixture.h"

#include <stdio.h>
#include <time.h>

static report_log reports;

// Goes on until the clock has moved, so that a phase that lasts as long has a duration.
static void let_time_pass(void) {
    clock_t start = clock();
    while (clock() == start) {
    }
}

static fa_phase_stats end_phase(fa_context *ctx) {
    fa_phase_stats stats;
    memset(&stats, 0xEE, sizeof(stats));
    CHECK_EQ(fa_phase_end(ctx, &stats), FA_OK);
    return stats;
}

static fa_phase_stats stats_by_name(fa_context *ctx, const char *name, bool all_threads) {
    fa_phase_stats stats;
    memset(&stats, 0xEE, sizeof(stats));
    CHECK_EQ(fa_phase_stats_get(ctx, name, all_threads, &stats), FA_OK);
    CHECK_STR_EQ(stats.name, name);
    return stats;
}

// ---- Bytes ----

static void a_phase_counts_the_bytes_allocated_in_it(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 5000)); // Before it.
    CHECK_EQ(fa_phase_begin(ctx, "work"), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 100));
    CHECK_NOT_NULL(fa_arena_alloc(frame, 200));
    fa_phase_stats stats = end_phase(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 5000)); // After it.
    CHECK_STR_EQ(stats.name, "work");
    CHECK_EQ(stats.bytes, 112 + 208);
    CHECK_EQ(stats.count, 1);
    CHECK_EQ(stats.frame_bytes, 320);
    CHECK_EQ(stats.frame_count, 1);
    CHECK_EQ(stats.total_bytes, 320);
    CHECK_EQ(stats.max_bytes, 320);
    fa_frame_end(frame);
    context_close(ctx);
}

static void what_is_undone_inside_a_phase_counts(void) {
    for (uint32_t in_flight = 1; in_flight <= 2; in_flight++) {
        fa_config config = {.frames_in_flight = in_flight, .frame_reserve = 128 * KIB};
        fa_context *ctx = context_open(&config);
        fa_tag tag = fa_tag_register(ctx, "tag");
        CHECK_EQ(fa_phase_begin(ctx, "work"), FA_OK);
        size_t want = 0;
        for (int i = 0; i < 5; i++) {
            fa_arena *frame = fa_frame_begin(ctx);
            CHECK_NOT_NULL(fa_arena_alloc(frame, 160));
            fa_mark mark = fa_arena_mark(frame);
            CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
            CHECK_NOT_NULL(fa_arena_alloc(frame, 1600));
            CHECK_NOT_NULL(fa_arena_alloc(frame, 320000)); // A block of its own.
            CHECK_EQ(fa_arena_rewind(frame, mark), FA_OK);
            void *block = fa_arena_alloc(frame, 800);
            CHECK_EQ(fa_arena_resize(frame, block, 800, 80), block);
            CHECK_EQ(fa_tag_pop(ctx), FA_OK);
            fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
            CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 3200));
            fa_scratch_end(scratch);
            fa_frame_end(frame);
            want += 160 + 1600 + 320000 + 800 + 3200;
        }
        fa_phase_stats stats = end_phase(ctx);
        CHECK_EQ(stats.bytes, want);
        CHECK_EQ(stats.total_bytes, want);
        context_close(ctx);
    }
}

static void own_arenas_and_other_threads_do_not_count(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *own = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, NULL, &own), FA_OK);
    CHECK_EQ(fa_phase_begin(ctx, "work"), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(own, 1000));
    CHECK_EQ(end_phase(ctx).bytes, 0);
    fa_arena_destroy(own);
    context_close(ctx);
}

static void phases_nest_and_the_outer_includes_the_inner(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_phase_begin(ctx, "outer"), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
    for (size_t i = 1; i <= 3; i++) {
        CHECK_EQ(fa_phase_begin(ctx, "inner"), FA_OK);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 160 * i));
        fa_phase_stats inner = end_phase(ctx);
        CHECK_STR_EQ(inner.name, "inner");
        CHECK_EQ(inner.bytes, 160 * i);
        CHECK_EQ(inner.count, i);
        CHECK_EQ(inner.total_bytes, 160 * (i * (i + 1) / 2));
        CHECK_EQ(inner.max_bytes, 160 * i);
    }
    CHECK_EQ(fa_phase_begin(ctx, "inner"), FA_OK); // Less than before: the maximum stays.
    fa_phase_stats inner = end_phase(ctx);
    CHECK_EQ(inner.bytes, 0);
    CHECK_EQ(inner.max_bytes, 480);
    fa_phase_stats outer = end_phase(ctx);
    CHECK_STR_EQ(outer.name, "outer");
    CHECK_EQ(outer.bytes, 16 + 960);
    CHECK_EQ(outer.count, 1);
    fa_frame_end(frame);
    context_close(ctx);
}

static void a_phase_may_be_inside_itself_and_outlast_frames(void) {
    fa_context *ctx = context_open(NULL);
    CHECK_EQ(fa_phase_begin(ctx, "again"), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_phase_begin(ctx, "again"), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 160));
    fa_frame_end(frame);
    CHECK_EQ(end_phase(ctx).bytes, 160);
    frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 32));
    fa_phase_stats stats = end_phase(ctx);
    CHECK_EQ(stats.bytes, 192);
    CHECK_EQ(stats.count, 2);
    CHECK_EQ(stats.total_bytes, 352);
    fa_frame_end(frame);
    context_close(ctx);
}

// ---- Frames ----

static void figures_of_a_frame_start_again_with_the_next(void) {
    fa_context *ctx = context_open(NULL);
    for (uint64_t round = 1; round <= 3; round++) {
        fa_arena *frame = fa_frame_begin(ctx);
        for (uint64_t i = 1; i <= 4; i++) {
            CHECK_EQ(fa_phase_begin(ctx, "work"), FA_OK);
            CHECK_NOT_NULL(fa_arena_alloc(frame, 160));
            fa_phase_stats stats = end_phase(ctx);
            CHECK_EQ(stats.bytes, 160);
            CHECK_EQ(stats.frame_count, i);
            CHECK_EQ(stats.frame_bytes, 160 * i);
            CHECK_EQ(stats.count, (round - 1) * 4 + i);
            CHECK_EQ(stats.total_bytes, 160 * stats.count);
            CHECK_GE(stats.total_time_ns, stats.frame_time_ns);
            CHECK_GE(stats.frame_time_ns, stats.time_ns);
        }
        fa_frame_end(frame);
    }
    fa_frame_end(fa_frame_begin(ctx));
    fa_phase_stats stats = stats_by_name(ctx, "work", false);
    CHECK_EQ(stats.frame_count, 0); // None in the last frame.
    CHECK_EQ(stats.frame_bytes, 0);
    CHECK_EQ(stats.count, 12);
    context_close(ctx);
}

// ---- Time ----

static void a_phase_takes_as_long_as_what_is_in_it(void) {
    fa_context *ctx = context_open(NULL);
    CHECK_EQ(fa_phase_begin(ctx, "outer"), FA_OK);
    CHECK_EQ(fa_phase_begin(ctx, "first"), FA_OK);
    let_time_pass();
    fa_phase_stats first = end_phase(ctx);
    CHECK_EQ(fa_phase_begin(ctx, "second"), FA_OK);
    let_time_pass();
    fa_phase_stats second = end_phase(ctx);
    fa_phase_stats outer = end_phase(ctx);
    CHECK_GT(first.time_ns, 0);
    CHECK_GT(second.time_ns, 0);
    CHECK_GE(outer.time_ns, first.time_ns + second.time_ns);
    CHECK_EQ(first.total_time_ns, first.time_ns);
    CHECK_EQ(first.max_time_ns, first.time_ns);
    CHECK_EQ(fa_phase_begin(ctx, "first"), FA_OK);
    let_time_pass();
    fa_phase_stats again = end_phase(ctx);
    CHECK_EQ(again.total_time_ns, first.time_ns + again.time_ns);
    CHECK_EQ(again.max_time_ns, first.time_ns > again.time_ns ? first.time_ns : again.time_ns);
    context_close(ctx);
}

// ---- Threads ----

typedef struct phase_thread {
    fa_context *context;
    size_t runs;
    size_t bytes;
    const char *name; // As the library gave it.
} phase_thread;

static void run_phases(void *arg) {
    phase_thread *self = (phase_thread *)arg;
    fa_context *ctx = self->context;
    fa_arena *frame = fa_frame_begin(ctx);
    for (size_t i = 0; i < self->runs; i++) {
        CHECK_EQ(fa_phase_begin(ctx, "shared"), FA_OK);
        CHECK_NOT_NULL(fa_arena_alloc(frame, self->bytes));
        fa_phase_stats stats = end_phase(ctx);
        CHECK_EQ(stats.count, i + 1); // The thread's own.
        CHECK_EQ(stats.total_bytes, (i + 1) * self->bytes);
        self->name = stats.name;
    }
    CHECK_EQ(stats_by_name(ctx, "shared", false).count, self->runs);
    fa_frame_end(frame);
}

static void phases_of_all_threads_add_up_also_of_those_that_are_gone(void) {
    phase_thread all[6];
    fa_context *ctx = context_open(NULL);
    uint64_t runs = 0;
    uint64_t bytes = 0;
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < 6; i++) {
            all[i] = (phase_thread){ctx, 10 * (i + 1) + round, 16 * (i + 1), NULL};
            runs += all[i].runs;
            bytes += all[i].runs * all[i].bytes;
        }
        check_threads_run(6, run_phases, all, sizeof(all[0]));
        fa_phase_stats sums = stats_by_name(ctx, "shared", true);
        CHECK_EQ(sums.count, runs);
        CHECK_EQ(sums.total_bytes, bytes);
        CHECK_EQ(sums.max_bytes, 96);
        CHECK_GE(sums.total_time_ns, sums.max_time_ns);
        CHECK_EQ(sums.bytes, 0); // There is no last run over all threads.
        CHECK_EQ(sums.time_ns, 0);
        for (size_t i = 0; i < 6; i++) {
            CHECK_STR_EQ(all[i].name, "shared"); // Valid as long as the context.
        }
    }
    fa_phase_stats none;
    CHECK_EQ(fa_phase_stats_get(ctx, "shared", false, &none), FA_ERR_NOT_FOUND);
    phase_thread here = {ctx, 5, 160, NULL};
    run_phases(&here);
    CHECK_EQ(stats_by_name(ctx, "shared", true).count, runs + 5);
    CHECK_EQ(stats_by_name(ctx, "shared", true).max_bytes, 160);
    context_close(ctx);
}

static void look_at_phases(void *arg) {
    phase_thread *self = (phase_thread *)arg;
    if (self->runs != 0) {
        run_phases(self);
        return;
    }
    uint64_t before = 0;
    for (size_t i = 0; i < 200; i++) {
        fa_phase_stats stats;
        if (fa_phase_stats_get(self->context, "shared", true, &stats) == FA_OK) {
            CHECK_GE(stats.count, before);
            before = stats.count;
        }
    }
}

static void phases_can_be_read_while_they_run(void) {
    phase_thread all[4];
    fa_context *ctx = context_open(NULL);
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < 4; i++) {
            all[i] = (phase_thread){ctx, i == 0 ? 0 : 300, 16, NULL};
        }
        check_threads_run(4, look_at_phases, all, sizeof(all[0]));
    }
    CHECK_EQ(stats_by_name(ctx, "shared", true).count, 5 * 3 * 300);
    context_close(ctx);
}

// ---- What is refused ----

static void an_end_without_a_begin_is_refused(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_phase_stats stats = {.name = "left over", .count = 7};
    CHECK_EQ(fa_phase_end(ctx, &stats), FA_ERR_INVALID);
    failed_as(804, FA_ERR_INVALID);
    (void)log_single(&reports, 804);
    CHECK_EQ(stats.count, 0);
    CHECK_EQ(fa_phase_begin(ctx, "work"), FA_OK);
    CHECK_EQ(fa_phase_end(ctx, NULL), FA_OK);
    CHECK_EQ(fa_phase_end(ctx, NULL), FA_ERR_INVALID);
    (void)log_single(&reports, 804);
    context_close(ctx);
}

static void bad_names_are_refused(void) {
    fa_context *ctx = context_open(NULL);
    char name[33];
    memset(name, 'n', 32);
    name[32] = '\0';
    const char *const bad[] = {NULL, "", name};
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(fa_phase_begin(ctx, bad[i]), FA_ERR_INVALID);
        CHECK_STR_EQ(fa_last_error()->where, "name");
        failed_as(17, FA_ERR_INVALID);
        CHECK_EQ(fa_phase_end(ctx, NULL), FA_ERR_INVALID);
    }
    name[31] = '\0'; // 31 bytes are allowed.
    CHECK_EQ(fa_phase_begin(ctx, name), FA_OK);
    CHECK_EQ(fa_phase_end(ctx, NULL), FA_OK);
    CHECK_EQ(stats_by_name(ctx, name, false).count, 1);
    fa_phase_stats stats;
    CHECK_EQ(fa_phase_stats_get(ctx, NULL, false, &stats), FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "name");
    CHECK_EQ(fa_phase_stats_get(ctx, name, false, NULL), FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "out");
    CHECK_EQ(fa_phase_stats_get(ctx, "never begun", false, &stats), FA_ERR_NOT_FOUND);
    CHECK_EQ(fa_phase_stats_get(ctx, "never begun", true, &stats), FA_ERR_NOT_FOUND);
    context_close(ctx);
}

static void the_name_is_copied(void) {
    fa_context *ctx = context_open(NULL);
    char name[8] = "first";
    CHECK_EQ(fa_phase_begin(ctx, name), FA_OK);
    memcpy(name, "other", 6);
    CHECK_STR_EQ(end_phase(ctx).name, "first");
    context_close(ctx);
}

static void at_most_depth_max_are_open(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    for (int i = 0; i < FA_PHASE_DEPTH_MAX; i++) {
        CHECK_EQ(fa_phase_begin(ctx, "deep"), FA_OK);
    }
    CHECK_EQ(fa_phase_begin(ctx, "deep"), FA_ERR_LIMIT);
    CHECK_EQ(fa_last_error()->limit, FA_PHASE_DEPTH_MAX);
    failed_as(804, FA_ERR_LIMIT);
    (void)log_single(&reports, 804);
    for (uint64_t i = 1; i <= FA_PHASE_DEPTH_MAX; i++) {
        CHECK_EQ(end_phase(ctx).count, i);
    }
    CHECK_EQ(fa_phase_end(ctx, NULL), FA_ERR_INVALID);
    context_close(ctx);
}

static void at_most_phase_max_are_named(void) {
    fa_context *ctx = context_open(NULL);
    char name[32];
    for (unsigned i = 0; i < FA_PHASE_MAX; i++) {
        snprintf(name, sizeof(name), "phase %u", i);
        CHECK_EQ(fa_phase_begin(ctx, name), FA_OK);
        CHECK_EQ(end_phase(ctx).count, 1);
    }
    CHECK_EQ(fa_phase_begin(ctx, "one too many"), FA_ERR_LIMIT);
    CHECK_EQ(fa_last_error()->limit, FA_PHASE_MAX);
    failed_as(804, FA_ERR_LIMIT);
    CHECK_EQ(fa_phase_end(ctx, NULL), FA_ERR_INVALID);
    for (unsigned i = 0; i < FA_PHASE_MAX; i++) { // All that are known still work.
        snprintf(name, sizeof(name), "phase %u", i);
        CHECK_EQ(fa_phase_begin(ctx, name), FA_OK);
        CHECK_EQ(end_phase(ctx).count, 2);
        CHECK_EQ(stats_by_name(ctx, name, true).count, 2);
    }
    context_close(ctx);
}

TEST_SUITE(phase, TEST(a_phase_counts_the_bytes_allocated_in_it),
           TEST(what_is_undone_inside_a_phase_counts),
           TEST(own_arenas_and_other_threads_do_not_count),
           TEST(phases_nest_and_the_outer_includes_the_inner),
           TEST(a_phase_may_be_inside_itself_and_outlast_frames),
           TEST(figures_of_a_frame_start_again_with_the_next),
           TEST(a_phase_takes_as_long_as_what_is_in_it),
           TEST(phases_of_all_threads_add_up_also_of_those_that_are_gone),
           TEST(phases_can_be_read_while_they_run), TEST(an_end_without_a_begin_is_refused),
           TEST(bad_names_are_refused), TEST(the_name_is_copied), TEST(at_most_depth_max_are_open),
           TEST(at_most_phase_max_are_named));

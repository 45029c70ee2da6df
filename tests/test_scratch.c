// Scratch scopes: which of the two arenas, nesting and its violations, whom they are charged to,
// their memory.
#include "arena_fixture.h"

static fa_scratch begin(fa_context *ctx) {
    fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
    REQUIRE_NOT_NULL(scratch.arena);
    return scratch;
}

static unsigned char *filled(fa_arena *arena, size_t size, unsigned char with) {
    unsigned char *ptr = fa_arena_alloc(arena, size);
    REQUIRE_NOT_NULL(ptr);
    memset(ptr, with, size);
    return ptr;
}

// ---- Which arena ----

static void a_scope_is_never_on_an_arena_that_conflicts(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *frame = fa_frame_begin(ctx);
    fa_scratch first = begin(ctx);
    fa_scratch same = begin(ctx);
    CHECK_EQ(same.arena, first.arena); // Without a conflict they share one.
    fa_scratch_end(same);
    fa_scratch second = fa_scratch_begin(ctx, &first.arena, 1);
    REQUIRE_NOT_NULL(second.arena);
    CHECK_NE(second.arena, first.arena);
    CHECK_NE(second.arena, frame);
    // The frame and a foreign arena are in nobody's way, wherever they stand in the list.
    fa_arena *own = arena_open(ctx, (fa_arena_desc){0});
    fa_arena *lists[][3] = {{frame, own, first.arena},
                            {first.arena, frame, own},
                            {frame, first.arena, own},
                            {frame, own, second.arena}};
    for (size_t i = 0; i < 4; i++) {
        fa_scratch scratch = fa_scratch_begin(ctx, lists[i], 3);
        CHECK_EQ(scratch.arena, i < 3 ? second.arena : first.arena);
        fa_scratch_end(scratch);
    }
    fa_scratch_end(second);
    fa_scratch_end(first);
    fa_frame_end(frame);
    fa_arena_destroy(own);
    nothing_failed();
    context_close(ctx);
}

static void a_conflict_counts_also_when_its_scope_is_not_open(void) {
    fa_context *ctx = context_open(NULL);
    fa_scratch first = begin(ctx);
    fa_arena *arena = first.arena;
    fa_scratch_end(first);
    fa_scratch second = fa_scratch_begin(ctx, &arena, 1);
    CHECK_NE(second.arena, arena);
    fa_scratch_end(second);
    context_close(ctx);
}

static void two_conflicts_are_refused(void) {
    fa_context *ctx = context_open(NULL);
    report_log log;
    fa_scratch first = begin(ctx);
    fa_scratch second = fa_scratch_begin(ctx, &first.arena, 1);
    fa_arena *both[] = {first.arena, second.arena};
    log_attach(ctx, &log);
    fa_scratch third = fa_scratch_begin(ctx, both, 2);
    CHECK_NULL(third.arena);
    failed_as(11, FA_ERR_INVALID);
    log_single(&log, 11);
    fa_scratch_end(third); // Ignored, so that no function needs to know.
    nothing_failed();
    log_empty(&log);
    CHECK_NOT_NULL(fa_arena_alloc(first.arena, 16));
    fa_scratch_end(second);
    fa_scratch_end(first);
    context_close(ctx);
}

// A helper that returns its result in the caller's scratch arena, and calls itself with it.
static unsigned *sums_below(fa_context *ctx, fa_arena *result, unsigned depth) {
    fa_scratch temp = fa_scratch_begin(ctx, &result, 1);
    REQUIRE_NOT_NULL(temp.arena);
    CHECK_NE(temp.arena, result);
    unsigned *sums = fa_arena_array(result, unsigned, depth + 1);
    filled(temp.arena, 100, (unsigned char)depth);
    if (depth != 0) {
        unsigned *below = sums_below(ctx, temp.arena, depth - 1);
        for (unsigned i = 0; i < depth; i++) {
            sums[i + 1] = below[i] + 1;
        }
    }
    fa_scratch_end(temp);
    return sums;
}

static void results_returned_in_the_callers_arena_survive_the_callees_scope(void) {
    fa_context *ctx = context_open(NULL);
    fa_scratch scratch = begin(ctx);
    unsigned *sums = sums_below(ctx, scratch.arena, 60);
    for (unsigned i = 0; i <= 60; i++) {
        CHECK_EQ(sums[i], i);
    }
    fa_scratch_end(scratch);
    nothing_failed();
    context_close(ctx);
}

// ---- Nesting ----

static void the_end_of_a_scope_undoes_what_was_allocated_in_it(void) {
    fa_context *ctx = context_open(NULL);
    fa_scratch outer = begin(ctx);
    unsigned char *kept = filled(outer.arena, 1000, 0x21);
    fa_scratch inner = begin(ctx);
    filled(inner.arena, 50000, 0x32);
    CHECK_EQ(fa_arena_used(outer.arena), 1008 + rounded(50000));
    fa_scratch_end(inner);
    CHECK_EQ(fa_arena_used(outer.arena), 1008);
    CHECK(is_filled(kept, 1000, 0x21));
    CHECK_EQ(fa_arena_alloc(outer.arena, 16), kept + 1008);
    fa_scratch_end(outer);
    CHECK_EQ(fa_arena_used(outer.arena), 0);
    CHECK_NULL(fa_arena_alloc(outer.arena, 16)); // It is nobody's now.
    failed_as(1, FA_ERR_NO_FRAME);
    context_close(ctx);
}

static void an_empty_scope_leaves_no_trace(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tags[2] = {fa_tag_register(ctx, "a"), fa_tag_register(ctx, "b")};
    fa_scratch outer = begin(ctx);
    size_t committed = stats_of(ctx).committed_bytes;
    for (int i = 0; i < 10000; i++) {
        CHECK_EQ(fa_tag_push(ctx, tags[i % 2]), FA_OK);
        fa_scratch inner = begin(ctx);
        fa_scratch_end(inner);
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    }
    CHECK_EQ(stats_of(ctx).committed_bytes, committed);
    fa_scratch_end(outer);
    context_close(ctx);
}

static void scopes_nest_a_thousand_deep(void) {
    fa_context *ctx = context_open(NULL);
    enum { DEPTH = 1000 };
    static fa_scratch scopes[DEPTH];
    static unsigned char *blocks[DEPTH];
    fa_tag tags[3] = {fa_tag_register(ctx, "a"), fa_tag_register(ctx, "b"), FA_TAG_ROOT};
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < DEPTH; i++) {
            CHECK_EQ(fa_tag_push(ctx, tags[i % 3]), FA_OK);
            // Now and then on the other arena.
            scopes[i] =
                fa_scratch_begin(ctx, &scopes[i == 0 ? 0 : i - 1].arena, i % 7 == 6 ? 1 : 0);
            REQUIRE_NOT_NULL(scopes[i].arena);
            CHECK_EQ(fa_tag_pop(ctx), FA_OK);
            blocks[i] = filled(scopes[i].arena, 100, (unsigned char)i);
        }
        CHECK_EQ(thread_stats_of(ctx, NULL).frame_bytes, DEPTH * 112);
        for (size_t i = DEPTH; i > 0; i--) {
            CHECK(is_filled(blocks[i - 1], 100, (unsigned char)(i - 1)));
            fa_scratch_end(scopes[i - 1]);
            CHECK_EQ(thread_stats_of(ctx, NULL).frame_bytes, (i - 1) * 112);
        }
    }
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(tag_stats_of(ctx, tags[i]).current_bytes, 0);
    }
    nothing_failed();
    context_close(ctx);
}

static void the_end_of_an_outer_scope_closes_those_inside(void) {
    fa_context *ctx = context_open(NULL);
    report_log log;
    fa_scratch scopes[5];
    for (size_t i = 0; i < 5; i++) {
        scopes[i] = begin(ctx);
        filled(scopes[i].arena, 16, (unsigned char)i);
    }
    fa_scratch_end(scopes[2]);
    CHECK_EQ(fa_arena_used(scopes[0].arena), 32);
    nothing_failed();
    log_attach(ctx, &log);
    for (size_t i = 2; i < 5; i++) { // They are over, also the one that was ended.
        fa_scratch_end(scopes[i]);
        failed_as(7, FA_ERR_STALE);
        log_single(&log, 7);
        CHECK_EQ(fa_arena_used(scopes[0].arena), 32);
    }
    fa_scratch_end(scopes[1]);
    fa_scratch_end(scopes[0]);
    nothing_failed();
    context_close(ctx);
}

static void ending_twice_is_refused_whatever_was_opened_since(void) {
    fa_context *ctx = context_open(NULL);
    fa_scratch first = begin(ctx);
    fa_scratch over = begin(ctx);
    fa_scratch_end(over);
    fa_scratch_end(over);
    failed_as(7, FA_ERR_STALE);
    fa_scratch second = begin(ctx); // At the depth of the one that is over.
    unsigned char *ptr = filled(second.arena, 100, 1);
    fa_scratch_end(over);
    failed_as(7, FA_ERR_STALE);
    fa_scratch third = begin(ctx); // Deeper.
    unsigned char *deep = filled(third.arena, 100, 2);
    fa_scratch_end(over);
    failed_as(7, FA_ERR_STALE);
    CHECK_EQ(fa_arena_used(first.arena), 224);
    CHECK(is_filled(ptr, 100, 1));
    CHECK(is_filled(deep, 100, 2));
    fa_scratch_end(third);
    fa_scratch_end(second);
    fa_scratch_end(first);
    nothing_failed();
    fa_scratch_end(first);
    failed_as(7, FA_ERR_STALE);
    // Nor does a later scope of the same depth and place revive it.
    fa_scratch again = begin(ctx);
    filled(again.arena, 16, 3);
    fa_scratch_end(first);
    failed_as(7, FA_ERR_STALE);
    CHECK_EQ(fa_arena_used(again.arena), 16);
    fa_scratch_end(again);
    context_close(ctx);
}

static void a_zero_scope_is_ignored(void) {
    fa_scratch_end((fa_scratch){0});
    fa_last_error_clear();
    fa_scratch_end((fa_scratch){0});
    nothing_failed();
}

static void what_is_no_scratch_arena_is_not_ended(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *frame = fa_frame_begin(ctx);
    filled(frame, 100, 1);
    fa_scratch scratch = begin(ctx);
    scratch.arena = frame;
    fa_scratch_end(scratch);
    CHECK_LT(fa_last_error()->result, FA_OK);
    CHECK_EQ(fa_arena_used(frame), 112);
    fa_frame_end(frame);
    context_close(ctx);
}

typedef struct other_thread {
    fa_context *context;
    fa_scratch scope;
    report_log log;
} other_thread;

static void end_from_here(void *arg) {
    other_thread *self = arg;
    fa_scratch_end(self->scope);
    failed_as(205, FA_ERR_WRONG_THREAD);
}

static void another_thread_may_not_end_a_scope(void) {
    fa_context *ctx = context_open(NULL);
    other_thread self = {.context = ctx, .scope = begin(ctx)};
    unsigned char *ptr = filled(self.scope.arena, 100, 0x43);
    log_attach(ctx, &self.log);
    check_thread_join(check_thread_start(end_from_here, &self));
    log_single(&self.log, 205);
    CHECK_EQ(fa_arena_used(self.scope.arena), 112);
    CHECK(is_filled(ptr, 100, 0x43));
    fa_scratch_end(self.scope);
    nothing_failed();
    context_close(ctx);
}

static void scope_elsewhere(void *arg) {
    other_thread *self = arg;
    fa_arena *arena = self->scope.arena;
    fa_scratch own = fa_scratch_begin(self->context, NULL, 0);
    CHECK_NE(own.arena, arena);
    filled(own.arena, 100, 9);
    fa_scratch_end(own);
}

static void each_thread_has_scratch_arenas_of_its_own(void) {
    fa_context *ctx = context_open(NULL);
    fa_scratch scratch = begin(ctx);
    unsigned char *ptr = filled(scratch.arena, 100, 0x43);
    other_thread self = {.context = ctx, .scope = scratch};
    check_thread_join(check_thread_start(scope_elsewhere, &self));
    CHECK(is_filled(ptr, 100, 0x43));
    fa_scratch_end(scratch);
    context_close(ctx);
}

// ---- Frames ----

static void scopes_work_without_a_frame_and_outlive_frames(void) {
    fa_context *ctx = context_open(NULL);
    fa_scratch scratch = begin(ctx);
    unsigned char *ptr = filled(scratch.arena, 100, 0x54);
    for (int i = 0; i < 3; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        filled(frame, 5000, 1);
        fa_scratch inner = begin(ctx);
        filled(inner.arena, 5000, 2);
        fa_scratch_end(inner);
        fa_frame_end(frame);
        CHECK_EQ(fa_arena_used(scratch.arena), 112);
    }
    CHECK(is_filled(ptr, 100, 0x54));
    fa_scratch_end(scratch);
    nothing_failed();
    CHECK_EQ(stats_of(ctx).frame_bytes, 0);
    context_close(ctx);
}

static void scopes_left_open_are_closed_with_their_frame_and_reported(void) {
    fa_context *ctx = context_open(NULL);
    report_log log;
    fa_scratch before = begin(ctx);
    unsigned char *kept = filled(before.arena, 100, 0x65);
    for (int round = 0; round < 3; round++) {
        fa_arena *frame = fa_frame_begin(ctx);
        fa_scratch first = begin(ctx);
        filled(first.arena, 100, 1);
        fa_scratch second = fa_scratch_begin(ctx, &before.arena, 1);
        filled(second.arena, 100, 2);
        fa_scratch third = begin(ctx);
        filled(third.arena, 100, 3);
        log_attach(ctx, &log);
        fa_frame_end(frame);
        const seen_report *report = log_single(&log, 7);
        CHECK_EQ(report->limit, 3);
        CHECK_EQ(report->result, FA_ERR_BUSY);
        CHECK_EQ(fa_arena_used(before.arena), 112);
        CHECK_EQ(fa_arena_used(second.arena), 0);
        CHECK(is_filled(kept, 100, 0x65));
        fa_last_error_clear();
        fa_scratch_end(third);
        failed_as(7, FA_ERR_STALE);
        fa_scratch_end(second);
        failed_as(7, FA_ERR_STALE);
    }
    CHECK_NOT_NULL(fa_arena_alloc(before.arena, 16));
    fa_scratch_end(before);
    nothing_failed();
    CHECK_EQ(stats_of(ctx).frame_bytes, 0);
    context_close(ctx);
}

// Scopes from before the frame end in it; what is opened in their place belongs to the frame.
static void an_outer_scope_may_end_inside_the_frame(void) {
    for (size_t left_open = 0; left_open <= 3; left_open++) {
        fa_context *ctx = context_open(NULL);
        report_log log;
        check_note("%zu left open", left_open);
        fa_scratch before = begin(ctx);
        filled(before.arena, 4096, 1);
        fa_arena *frame = fa_frame_begin(ctx);
        fa_scratch inner = begin(ctx);
        fa_scratch_end(inner);
        fa_scratch_end(before);
        log_attach(ctx, &log);
        for (size_t i = 0; i < left_open; i++) {
            filled(begin(ctx).arena, 16, 2);
        }
        fa_frame_end(frame);
        if (left_open == 0) {
            log_empty(&log);
        } else {
            CHECK_EQ(log_single(&log, 7)->limit, left_open);
        }
        CHECK_EQ(fa_arena_used(before.arena), 0);
        fa_scratch again = begin(ctx);
        CHECK_NOT_NULL(fa_arena_alloc(again.arena, 16));
        fa_scratch_end(again);
        context_close(ctx);
    }
}

static void a_scope_open_at_the_end_of_the_thread_or_context_is_closed(void) {
    fa_context *ctx = context_open(NULL);
    filled(begin(ctx).arena, 1000, 1);
    CHECK_EQ(fa_thread_detach(ctx), FA_OK);
    CHECK_EQ(stats_of(ctx).frame_bytes, 0);
    CHECK_EQ(tag_stats_of(ctx, FA_TAG_ROOT).current_bytes, 0);
    filled(begin(ctx).arena, 1000, 1);
    context_close(ctx);
}

// ---- Marks inside ----

static void a_rewind_inside_a_scope_may_reach_into_the_outer_one(void) {
    fa_context *ctx = context_open(NULL);
    fa_scratch outer = begin(ctx);
    filled(outer.arena, 100, 1);
    fa_mark mark = fa_arena_mark(outer.arena);
    filled(outer.arena, 1000, 2);
    fa_scratch inner = begin(ctx);
    filled(inner.arena, 100, 3);
    CHECK_EQ(fa_arena_rewind(inner.arena, mark), FA_OK);
    CHECK_EQ(fa_arena_used(inner.arena), 112);
    filled(inner.arena, 3000, 4);
    fa_scratch_end(inner); // All that was allocated in it goes, and no more.
    CHECK_EQ(fa_arena_used(outer.arena), 112);
    fa_scratch_end(outer);
    nothing_failed();
    context_close(ctx);
}

static void count_run(void *arg) {
    *(int *)arg += 1;
}

// The inner scope begins where the arena fell to, so that no cleanup of it is left behind half
// undone.
static void a_scope_begins_at_the_lowest_the_arena_fell_to(void) {
    fa_context *ctx = context_open(NULL);
    int ran = 0;
    fa_scratch outer = begin(ctx);
    void *block = filled(outer.arena, 208, 1);
    fa_scratch inner = begin(ctx);
    CHECK_EQ(fa_arena_resize(inner.arena, block, 208, 96), block);
    filled(inner.arena, 96, 2);
    CHECK_EQ(fa_arena_defer(inner.arena, count_run, &ran), FA_OK); // Lies over the old beginning.
    fa_scratch_end(inner);
    CHECK_EQ(ran, 1);
    CHECK_EQ(fa_arena_used(outer.arena), 96);
    filled(outer.arena, 500, 3);
    fa_scratch_end(outer);
    CHECK_EQ(ran, 1);
    context_close(ctx);
}

static void marks_end_with_their_scope(void) {
    fa_context *ctx = context_open(NULL);
    fa_scratch outer = begin(ctx);
    filled(outer.arena, 16, 1);
    fa_scratch inner = begin(ctx);
    filled(inner.arena, 16, 2);
    fa_mark mark = fa_arena_mark(inner.arena);
    fa_scratch_end(inner);
    CHECK_EQ(fa_arena_rewind(outer.arena, mark), FA_ERR_STALE);
    fa_scratch next = begin(ctx);
    filled(next.arena, 500, 3);
    CHECK_EQ(fa_arena_rewind(next.arena, mark), FA_ERR_STALE);
    CHECK_EQ(fa_arena_used(next.arena), 16 + 512);
    fa_scratch_end(outer);
    CHECK_EQ(fa_arena_rewind(outer.arena, mark), FA_ERR_NO_FRAME);
    fa_scratch other = begin(ctx);
    filled(other.arena, 500, 3);
    CHECK_EQ(fa_arena_rewind(other.arena, mark), FA_ERR_STALE);
    fa_scratch_end(other);
    context_close(ctx);
}

// ---- Tags ----

static void a_scope_is_charged_to_the_tag_that_was_current_when_it_opened(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag a = fa_tag_register(ctx, "a");
    fa_tag b = fa_tag_register(ctx, "b");
    CHECK_EQ(fa_tag_push(ctx, a), FA_OK);
    fa_scratch outer = begin(ctx);
    filled(outer.arena, 100, 1);
    CHECK_EQ(fa_tag_push(ctx, b), FA_OK);
    filled(outer.arena, 100, 1); // Still a's.
    CHECK_EQ(tag_stats_of(ctx, a).current_bytes, 224);
    CHECK_EQ(tag_stats_of(ctx, b).current_bytes, 0);
    fa_scratch inner = begin(ctx);
    filled(inner.arena, 100, 1);
    CHECK_EQ(tag_stats_of(ctx, a).current_bytes, 224);
    CHECK_EQ(tag_stats_of(ctx, b).current_bytes, 112);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    filled(inner.arena, 100, 1); // Still b's.
    CHECK_EQ(tag_stats_of(ctx, b).current_bytes, 224);
    fa_scratch_end(inner);
    CHECK_EQ(tag_stats_of(ctx, b).current_bytes, 0);
    filled(outer.arena, 100, 1); // a's again.
    CHECK_EQ(tag_stats_of(ctx, a).current_bytes, 336);
    CHECK_EQ(tag_stats_of(ctx, FA_TAG_ROOT).current_bytes, 336);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    fa_scratch_end(outer);
    CHECK_EQ(tag_stats_of(ctx, a).current_bytes, 0);
    CHECK_EQ(tag_stats_of(ctx, a).peak_bytes, 336);
    CHECK_EQ(tag_stats_of(ctx, b).peak_bytes, 224);
    context_close(ctx);
}

static void a_budget_of_its_tag_holds_in_a_scope(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag a = fa_tag_register(ctx, "a");
    CHECK_EQ(fa_budget_set(ctx, a, &(fa_budget){.hard = 4096}), FA_OK);
    CHECK_EQ(fa_tag_push(ctx, a), FA_OK);
    fa_scratch scratch = begin(ctx);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    CHECK_EQ(fill_up(scratch.arena, 16), 256);
    CHECK_NULL(fa_arena_alloc(scratch.arena, 16));
    CHECK_EQ(fa_last_error()->tag.id, a.id);
    refused_as(302, FA_ERR_BUDGET, 16, 4096);
    fa_scratch_end(scratch);
    fa_scratch free_of_it = begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(free_of_it.arena, 8192));
    fa_scratch_end(free_of_it);
    context_close(ctx);
}

// ---- Memory ----

static void scopes_keep_their_memory(void) {
    fa_context *ctx = context_open(NULL);
    fa_scratch scratch = begin(ctx);
    unsigned char *first = filled(scratch.arena, MIB, 1);
    fa_scratch_end(scratch);
    size_t committed = stats_of(ctx).committed_bytes;
    for (int i = 0; i < 10; i++) {
        scratch = begin(ctx);
        CHECK_EQ(filled(scratch.arena, MIB, 2), first);
        fa_scratch_end(scratch);
    }
    CHECK_EQ(stats_of(ctx).committed_bytes, committed);
    context_close(ctx);
}

static void a_spike_is_given_back_after_quiet_frames(void) {
    const uint32_t decay = 10;
    fa_context *ctx = context_open(&(fa_config){.decay_frames = decay});
    size_t steady = 0;
    size_t peak = 0;
    for (uint32_t i = 0; i < 10 * decay; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        fa_scratch scratch = begin(ctx);
        filled(scratch.arena, i == 4 * decay ? 8 * MIB : 50000, 1);
        fa_arena_stats_result stats = arena_stats_of(scratch.arena);
        fa_scratch_end(scratch);
        fa_frame_end(frame);
        if (i < 4 * decay) {
            steady = stats.committed_bytes > steady ? stats.committed_bytes : steady;
        } else if (i == 4 * decay) {
            peak = stats.committed_bytes;
        } else if (i > 6 * decay) {
            CHECK_LE(stats.committed_bytes, steady);
        }
    }
    CHECK_GE(peak, 8 * MIB);
    // A thread that opens no frames gives back when it is told to.
    fa_scratch scratch = begin(ctx);
    filled(scratch.arena, 8 * MIB, 1);
    fa_scratch_end(scratch);
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    CHECK_EQ(arena_stats_of(scratch.arena).committed_bytes, 0);
    scratch = begin(ctx);
    filled(scratch.arena, MIB, 1);
    fa_scratch_end(scratch);
    context_close(ctx);
}

static void the_reservation_is_as_configured(void) {
    fa_context *ctx = context_open(&(fa_config){.scratch_reserve = 65536});
    fa_scratch scratch = begin(ctx);
    CHECK_EQ(arena_stats_of(scratch.arena).reserved_bytes, 65536);
    unsigned char *large = filled(scratch.arena, 100000, 0x76); // Aside.
    CHECK_EQ(arena_stats_of(scratch.arena).blocks, 1);
    filled(scratch.arena, 60000, 1);
    CHECK(is_filled(large, 100000, 0x76));
    fa_scratch_end(scratch);
    CHECK_EQ(arena_stats_of(scratch.arena).blocks, 0);
    CHECK_EQ(arena_stats_of(scratch.arena).reserved_bytes, 65536);
    context_close(ctx);
}

TEST_SUITE(scratch, TEST(a_scope_is_never_on_an_arena_that_conflicts),
           TEST(a_conflict_counts_also_when_its_scope_is_not_open), TEST(two_conflicts_are_refused),
           TEST(results_returned_in_the_callers_arena_survive_the_callees_scope),
           TEST(the_end_of_a_scope_undoes_what_was_allocated_in_it),
           TEST(an_empty_scope_leaves_no_trace), TEST(scopes_nest_a_thousand_deep),
           TEST(the_end_of_an_outer_scope_closes_those_inside),
           TEST(ending_twice_is_refused_whatever_was_opened_since), TEST(a_zero_scope_is_ignored),
           TEST(what_is_no_scratch_arena_is_not_ended), TEST(another_thread_may_not_end_a_scope),
           TEST(each_thread_has_scratch_arenas_of_its_own),
           TEST(scopes_work_without_a_frame_and_outlive_frames),
           TEST(scopes_left_open_are_closed_with_their_frame_and_reported),
           TEST(an_outer_scope_may_end_inside_the_frame),
           TEST(a_scope_open_at_the_end_of_the_thread_or_context_is_closed),
           TEST(a_rewind_inside_a_scope_may_reach_into_the_outer_one),
           TEST(a_scope_begins_at_the_lowest_the_arena_fell_to), TEST(marks_end_with_their_scope),
           TEST(a_scope_is_charged_to_the_tag_that_was_current_when_it_opened),
           TEST(a_budget_of_its_tag_holds_in_a_scope), TEST(scopes_keep_their_memory),
           TEST(a_spike_is_given_back_after_quiet_frames), TEST(the_reservation_is_as_configured));

// Cleanups: when they run, in which order, how often, and what they may do meanwhile.
#include "arena_fixture.h"

enum { RUNS_KEPT = 64 };
static const size_t record_bytes = 4 * sizeof(void *);

// What ran, in order.
typedef struct run_log {
    fa_context *context;
    fa_arena *arena;
    int runs[RUNS_KEPT];
    size_t count;
} run_log;

typedef struct cleanup {
    run_log *log;
    int number;
} cleanup;

static void note_run(void *arg) {
    const cleanup *self = arg;
    REQUIRE_LT(self->log->count, RUNS_KEPT);
    self->log->runs[self->log->count++] = self->number;
}

static void defer(fa_arena *arena, cleanup *slot, run_log *log, int number) {
    *slot = (cleanup){log, number};
    CHECK_EQ(fa_arena_defer(arena, note_run, slot), FA_OK);
}

// The log holds `count` numbers that fall from `from`.
static void check_fell(const run_log *log, size_t count, int from) {
    CHECK_EQ(log->count, count);
    for (size_t i = 0; i < log->count; i++) {
        CHECK_EQ(log->runs[i], from - (int)i);
    }
}

static void the_last_registered_runs_first_and_each_once(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        run_log log = {0};
        cleanup slots[40];
        for (int i = 0; i < 40; i++) {
            defer(self.arena, &slots[i], &log, i);
            fa_arena_alloc(self.arena, 500); // They are spread over chunks.
            CHECK_EQ(arena_stats_of(self.arena).cleanups, (size_t)i + 1);
        }
        CHECK_EQ(log.count, 0);
        fa_arena_reset(self.arena);
        check_fell(&log, 40, 39);
        CHECK_EQ(arena_stats_of(self.arena).cleanups, 0);
        fa_arena_reset(self.arena);
        CHECK_EQ(log.count, 40);
        case_close(&self);
        CHECK_EQ(log.count, 40);
    }
}

static void registering_costs_32_bytes_where_pointers_have_8(void) {
    arena_case self = case_open(ON_RANGE);
    run_log log = {0};
    cleanup slot;
    fa_arena_alloc(self.arena, 1);
    defer(self.arena, &slot, &log, 0);
    CHECK_EQ(fa_arena_used(self.arena), 16 + record_bytes);
    case_close(&self);
    CHECK_EQ(log.count, 1);
}

static void a_rewind_runs_those_registered_since_the_mark(void) {
    arena_case self = case_open(ON_CHUNKS);
    run_log log = {0};
    cleanup slots[6];
    defer(self.arena, &slots[0], &log, 0);
    fa_mark first = fa_arena_mark(self.arena); // Right behind one, right before another.
    defer(self.arena, &slots[1], &log, 1);
    fa_arena_alloc(self.arena, 6000);
    defer(self.arena, &slots[2], &log, 2);
    fa_mark second = fa_arena_mark(self.arena);
    for (int i = 3; i < 6; i++) {
        fa_arena_alloc(self.arena, 900);
        defer(self.arena, &slots[i], &log, i);
    }
    CHECK_EQ(fa_arena_rewind(self.arena, second), FA_OK);
    check_fell(&log, 3, 5);
    CHECK_EQ(arena_stats_of(self.arena).cleanups, 3);
    CHECK_EQ(fa_arena_rewind(self.arena, second), FA_OK);
    CHECK_EQ(log.count, 3);
    CHECK_EQ(fa_arena_rewind(self.arena, first), FA_OK);
    check_fell(&log, 5, 5);
    case_close(&self);
    check_fell(&log, 6, 5);
}

static void a_refused_rewind_runs_none(void) {
    arena_case self = case_open(ON_RANGE);
    run_log log = {0};
    cleanup slot;
    fa_mark mark = fa_arena_mark(self.arena);
    fa_arena_reset(self.arena);
    defer(self.arena, &slot, &log, 0);
    CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_ERR_STALE);
    CHECK_EQ(log.count, 0);
    case_close(&self);
    CHECK_EQ(log.count, 1);
}

static void destroying_the_arena_runs_all(void) {
    fa_context *ctx = context_open(NULL);
    run_log log = {0};
    cleanup slots[3];
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){0});
    for (int i = 0; i < 3; i++) {
        defer(arena, &slots[i], &log, i);
    }
    fa_arena_destroy(arena);
    check_fell(&log, 3, 2);
    context_close(ctx);
    CHECK_EQ(log.count, 3);
}

static void the_end_of_a_frame_or_scratch_scope_runs_theirs(void) {
    fa_context *ctx = context_open(NULL);
    run_log log = {0};
    cleanup slots[4];
    fa_arena *frame = fa_frame_begin(ctx);
    defer(frame, &slots[0], &log, 0);
    fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
    defer(scratch.arena, &slots[1], &log, 1);
    fa_scratch inner = fa_scratch_begin(ctx, NULL, 0);
    defer(inner.arena, &slots[2], &log, 2);
    defer(inner.arena, &slots[3], &log, 3);
    fa_scratch_end(inner);
    check_fell(&log, 2, 3);
    fa_scratch_end(scratch);
    check_fell(&log, 3, 3);
    fa_frame_end(frame);
    check_fell(&log, 4, 3);
    frame = fa_frame_begin(ctx);
    fa_frame_end(frame);
    CHECK_EQ(log.count, 4);
    context_close(ctx);
}

static void cleanups_of_a_frame_in_flight_run_when_its_memory_comes_round(void) {
    fa_context *ctx = context_open(&(fa_config){.frames_in_flight = 3});
    run_log log = {0};
    cleanup slots[6];
    for (int i = 0; i < 6; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_EQ(log.count, i < 3 ? 0 : (size_t)i - 2);
        defer(frame, &slots[i], &log, i);
        fa_frame_end(frame);
        CHECK_EQ(log.count, i < 3 ? 0 : (size_t)i - 2);
    }
    context_close(ctx); // The last three.
    REQUIRE_EQ(log.count, 6);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(log.runs[i], i);
    }
}

// ---- What they may do ----

typedef struct witness {
    const unsigned char *ptr;
    size_t size;
    int seen;
} witness;

static void look_at_the_block(void *arg) {
    witness *self = arg;
    self->seen += is_filled(self->ptr, self->size, 0x3D) ? 1 : 100;
}

static void a_cleanup_still_sees_what_was_allocated_around_it(void) {
    arena_case self = case_open(ON_CHUNKS);
    witness before = {fa_arena_alloc(self.arena, 3000), 3000, 0};
    memset((void *)(uintptr_t)before.ptr, 0x3D, 3000);
    CHECK_EQ(fa_arena_defer(self.arena, look_at_the_block, &before), FA_OK);
    witness after = {fa_arena_alloc(self.arena, 9000), 9000, 0}; // A block of its own.
    memset((void *)(uintptr_t)after.ptr, 0x3D, 9000);
    CHECK_EQ(fa_arena_defer(self.arena, look_at_the_block, &after), FA_OK);
    fa_arena_reset(self.arena);
    CHECK_EQ(before.seen, 1);
    CHECK_EQ(after.seen, 1);
    case_close(&self);
}

static void allocate_meanwhile(void *arg) {
    run_log *log = arg;
    unsigned char *ptr = fa_arena_alloc(log->arena, 1000);
    CHECK_NOT_NULL(ptr);
    memset(ptr, 0xEE, ptr == NULL ? 0 : 1000);
    log->count += 1;
}

static void a_cleanup_may_allocate_and_it_is_undone_too(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        run_log log = {.arena = self.arena};
        unsigned char *kept = fa_arena_alloc(self.arena, 100);
        memset(kept, 0x2B, 100);
        fa_mark mark = fa_arena_mark(self.arena);
        for (int i = 0; i < 5; i++) {
            CHECK_EQ(fa_arena_defer(self.arena, allocate_meanwhile, &log), FA_OK);
        }
        CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_OK);
        CHECK_EQ(log.count, 5);
        CHECK_EQ(fa_arena_used(self.arena), 112);
        CHECK_EQ(arena_stats_of(self.arena).peak_bytes, 112 + 5 * record_bytes + 5 * 1008);
        CHECK_EQ(arena_stats_of(self.arena).blocks, 0);
        CHECK(is_filled(kept, 100, 0x2B));
        CHECK_EQ(fa_arena_alloc(self.arena, 16), kept + 112);
        case_close(&self);
    }
}

static void register_another(void *arg) {
    run_log *log = arg;
    static cleanup slots[3];
    log->runs[log->count] = 100 + (int)log->count;
    log->count += 1;
    if (log->count < 3) {
        CHECK_EQ(fa_arena_defer(log->arena, register_another, log), FA_OK);
    } else {
        for (int i = 0; i < 3; i++) {
            defer(log->arena, &slots[i], log, i);
        }
    }
}

static void what_a_cleanup_registers_runs_in_the_same_undoing(void) {
    arena_case self = case_open(ON_RANGE);
    run_log log = {.arena = self.arena};
    cleanup below;
    defer(self.arena, &below, &log, 7);
    fa_mark mark = fa_arena_mark(self.arena);
    CHECK_EQ(fa_arena_defer(self.arena, register_another, &log), FA_OK);
    CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_OK);
    const int want[] = {100, 101, 102, 2, 1, 0};
    REQUIRE_EQ(log.count, 6);
    CHECK_MEM_EQ(log.runs, want, sizeof(want));
    CHECK_EQ(arena_stats_of(self.arena).cleanups, 1);
    CHECK_EQ(fa_arena_used(self.arena), record_bytes);
    case_close(&self);
    CHECK_EQ(log.runs[6], 7);
}

static void reset_meanwhile(void *arg) {
    run_log *log = arg;
    log->count += 1;
    fa_arena_reset(log->arena);
}

static void a_cleanup_may_reset_the_arena(void) {
    arena_case self = case_open(ON_CHUNKS);
    run_log log = {.arena = self.arena};
    run_log others = {0};
    cleanup slots[2];
    defer(self.arena, &slots[0], &others, 0);
    unsigned char *first = fa_arena_alloc(self.arena, 100);
    fa_mark mark = fa_arena_mark(self.arena);
    fa_arena_alloc(self.arena, 6000);
    defer(self.arena, &slots[1], &others, 1);
    CHECK_EQ(fa_arena_defer(self.arena, reset_meanwhile, &log), FA_OK);
    CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_OK);
    CHECK_EQ(log.count, 1);
    check_fell(&others, 2, 1);
    CHECK_EQ(fa_arena_used(self.arena), 0);
    CHECK_EQ(arena_stats_of(self.arena).cleanups, 0);
    CHECK_EQ(arena_stats_of(self.arena).blocks, 0);
    CHECK_EQ(stats_of(self.context).frame_bytes, 0);
    CHECK_EQ(fa_arena_alloc(self.arena, 16), first - record_bytes);
    case_close(&self);
}

static void open_a_scope_meanwhile(void *arg) {
    run_log *log = arg;
    fa_scratch scratch = fa_scratch_begin(log->context, NULL, 0);
    CHECK_EQ(scratch.arena, log->arena);
    CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 500));
    fa_scratch_end(scratch);
    log->count += 1;
}

static void a_cleanup_may_use_scratch_scopes_of_the_same_arena(void) {
    fa_context *ctx = context_open(NULL);
    run_log log = {.context = ctx};
    fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
    log.arena = scratch.arena;
    CHECK_EQ(fa_arena_defer(scratch.arena, open_a_scope_meanwhile, &log), FA_OK);
    CHECK_EQ(fa_arena_defer(scratch.arena, open_a_scope_meanwhile, &log), FA_OK);
    fa_scratch_end(scratch);
    CHECK_EQ(log.count, 2);
    CHECK_EQ(fa_arena_used(log.arena), 0);
    nothing_failed();
    context_close(ctx);
}

// ---- Refusals ----

static void a_refused_registration_registers_nothing(void) {
    arena_case self = case_open_desc(ON_RANGE, (fa_arena_desc){.byte_limit = 64});
    run_log log = {0};
    cleanup slot;
    defer(self.arena, &slot, &log, 0);
    CHECK_EQ(fa_arena_defer(self.arena, NULL, &slot), FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "fn");
    failed_as(17, FA_ERR_INVALID);
    fa_arena_alloc(self.arena, 64 - record_bytes);
    CHECK_EQ(fa_arena_defer(self.arena, note_run, &slot), FA_ERR_LIMIT);
    refused_as(3, FA_ERR_LIMIT, record_bytes, 64);
    CHECK_EQ(arena_stats_of(self.arena).cleanups, 1);
    CHECK_EQ(fa_arena_used(self.arena), 64);
    case_close(&self);
    CHECK_EQ(log.count, 1);
}

static void a_frame_that_is_over_takes_no_more(void) {
    fa_context *ctx = context_open(NULL);
    run_log log = {0};
    cleanup slot = {&log, 0};
    fa_arena *frame = fa_frame_begin(ctx);
    fa_frame_end(frame);
    CHECK_EQ(fa_arena_defer(frame, note_run, &slot), FA_ERR_NO_FRAME);
    context_close(ctx);
    CHECK_EQ(log.count, 0);
}

static bool got_null;

static void expect_null(void *arg) {
    got_null = arg == NULL;
}

static void a_null_argument_is_passed_on(void) {
    arena_case self = case_open(ON_RANGE);
    CHECK_EQ(fa_arena_defer(self.arena, expect_null, NULL), FA_OK);
    got_null = false;
    case_close(&self);
    CHECK(got_null);
}

typedef struct marking {
    fa_arena *arena;
    fa_mark mark;
} marking;

static void allocate_and_mark(const fa_budget_event *event, void *user) {
    marking *self = user;
    if (!event->is_hard && self->mark.epoch == 0) {
        fa_arena_alloc(self->arena, 16);
        self->mark = fa_arena_mark(self->arena);
    }
}

// A soft budget's callback comes between the call and its record: a mark taken there lies before
// the record.
static void a_record_lies_behind_what_a_budgets_callback_marks(void) {
    fa_context *ctx = context_open(NULL);
    run_log log = {0};
    marking self = {0};
    cleanup slot;
    fa_tag tag = fa_tag_register(ctx, "a");
    fa_budget budget = {.soft = 1000, .callback = allocate_and_mark, .user = &self};
    CHECK_EQ(fa_budget_set(ctx, tag, &budget), FA_OK);
    self.arena = arena_open(ctx, (fa_arena_desc){.tag = tag});
    fa_arena_alloc(self.arena, 992);
    defer(self.arena, &slot, &log, 0);
    CHECK_EQ(self.mark.offset, 992 + 16);
    CHECK_EQ(fa_arena_rewind(self.arena, self.mark), FA_OK);
    CHECK_EQ(log.count, 1);
    CHECK_EQ(arena_stats_of(self.arena).cleanups, 0);
    fa_arena_destroy(self.arena);
    CHECK_EQ(log.count, 1);
    context_close(ctx);
}

TEST_SUITE(arena_defer, TEST(the_last_registered_runs_first_and_each_once),
           TEST(registering_costs_32_bytes_where_pointers_have_8),
           TEST(a_rewind_runs_those_registered_since_the_mark), TEST(a_refused_rewind_runs_none),
           TEST(destroying_the_arena_runs_all),
           TEST(the_end_of_a_frame_or_scratch_scope_runs_theirs),
           TEST(cleanups_of_a_frame_in_flight_run_when_its_memory_comes_round),
           TEST(a_cleanup_still_sees_what_was_allocated_around_it),
           TEST(a_cleanup_may_allocate_and_it_is_undone_too),
           TEST(what_a_cleanup_registers_runs_in_the_same_undoing),
           TEST(a_cleanup_may_reset_the_arena),
           TEST(a_cleanup_may_use_scratch_scopes_of_the_same_arena),
           TEST(a_refused_registration_registers_nothing), TEST(a_frame_that_is_over_takes_no_more),
           TEST(a_null_argument_is_passed_on),
           TEST(a_record_lies_behind_what_a_budgets_callback_marks));

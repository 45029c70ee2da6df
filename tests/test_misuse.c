// Every misuse that the library promises to report, each made twice: in a process of its own with
// strict mode on, which must end there with the report as its last words; and without strict mode,
// where the program goes on and nothing but the report has happened.
#include "misuse_stage.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

// Where a report arrives.
typedef enum reach {
    REACHES_BOTH,
    REACHES_ERROR, // fa_last_error() only: no context is known.
    REACHES_REPORT // The report function only: a line was passed, nothing refused.
} reach;

typedef struct misuse {
    int code;
    fa_result result; // In the report and in fa_last_error().
    void (*make)(stage *s);
    const char *what;
    const char *line; // What the report becomes.
    reach reaches;
} misuse;

static void print_report(const fa_report *report, void *user) {
    (void)user;
    char line[512];
    fa_report_format(report, line, sizeof(line));
    fprintf(stderr, "%s\n", line);
    fflush(stderr);
}

static void keep_report(const fa_report *report, void *user) {
    stage *s = user;
    s->reports += 1;
    s->code = report->info->code;
    fa_report_format(report, s->line, sizeof(s->line));
}

static void on_another_thread(stage *s, void (*run)(void *s)) {
    check_thread_join(check_thread_start(run, s));
}

// ---- FA0xx: frames and arenas ------------------------------------------------------------------

static void end_stage_frame(stage *s) {
    fa_frame_end(s->frame);
    s->frame = NULL;
}

static void alloc_tagged_without_frame(stage *s) {
    end_stage_frame(s);
    stage_note_null(s, fa_tagged_alloc(fa_tagged_make(s->ctx, s->tag), 100));
}

static void alloc_from_ended_frame(stage *s) {
    fa_arena *frame = s->frame;
    end_stage_frame(s);
    stage_note_null(s, fa_arena_alloc(frame, 200));
}

static void rewind_ended_frame(stage *s) {
    fa_arena *frame = s->frame;
    fa_mark mark = fa_arena_mark(frame);
    end_stage_frame(s);
    stage_note(s, fa_arena_rewind(frame, mark));
}

static void pass_byte_limit(stage *s) {
    stage_note_null(s, fa_arena_alloc(s->arena, 99000));
}

static void fill_callers_memory(stage *s) {
    static _Alignas(16) unsigned char memory[1024];
    const fa_arena_desc desc = {.name = "mine", .memory = memory, .memory_size = sizeof(memory)};
    fa_arena *arena = NULL;
    REQUIRE_EQ((int)fa_arena_create(s->ctx, &desc, &arena), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(arena, 1000));
    stage_note_null(s, fa_arena_alloc(arena, 32));
    fa_arena_destroy(arena);
}

static void begin_twice(stage *s) {
    stage_note_null(s, fa_frame_begin(s->ctx));
}

static void rewind_to_nothing(stage *s) {
    stage_note(s, fa_arena_rewind(s->arena, (fa_mark){0}));
}

static void rewind_to_mark_of_another(stage *s) {
    stage_note(s, fa_arena_rewind(s->arena, fa_arena_mark(s->frame)));
}

static void rewind_past_reset(stage *s) {
    fa_arena *arena = NULL;
    REQUIRE_EQ((int)fa_arena_create(s->ctx, NULL, &arena), FA_OK);
    fa_mark mark = fa_arena_mark(arena);
    fa_arena_reset(arena);
    stage_note(s, fa_arena_rewind(arena, mark));
    fa_arena_destroy(arena);
}

static void end_twice(stage *s) {
    fa_arena *frame = s->frame;
    end_stage_frame(s);
    fa_frame_end(frame);
    stage_note(s, FA_OK);
}

static void end_nothing(stage *s) {
    fa_frame_end(NULL);
    stage_note(s, FA_OK);
}

static void end_an_arena_as_frame(stage *s) {
    fa_frame_end(s->arena);
    stage_note(s, FA_OK);
}

static void end_scratch_twice(stage *s) {
    fa_scratch scratch = fa_scratch_begin(s->ctx, NULL, 0);
    fa_scratch_end(scratch);
    fa_scratch_end(scratch);
    stage_note(s, FA_OK);
}

static void end_frame_with_open_scratch(stage *s) {
    fa_scratch scratch = fa_scratch_begin(s->ctx, NULL, 0);
    CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 500));
    end_stage_frame(s);
    stage_note(s, FA_OK);
}

static void destroy_context_before_arena(stage *s) {
    end_stage_frame(s);
    stage_note(s, fa_context_destroy(s->ctx));
    s->ctx = NULL;
    s->error = *fa_last_error();
    CHECK_EQ((int)s->result, FA_ERR_BUSY);
}

static void destroy_context_with_open_frame(stage *s) {
    fa_arena_destroy(s->arena);
    stage_note(s, fa_context_destroy(s->ctx));
    s->ctx = NULL;
    CHECK_EQ((int)s->result, FA_ERR_BUSY);
}

static void detach_with_open_frame(stage *s) {
    CHECK_EQ((int)fa_thread_detach(s->ctx), FA_OK);
    stage_note(s, fa_last_error()->result);
    s->frame = NULL;
    CHECK_EQ((int)fa_thread_attach(s->ctx, "main"), FA_OK);
}

static void leave_thread_with_open_frame(void *stage_of) {
    stage *s = stage_of;
    CHECK_EQ((int)fa_thread_attach(s->ctx, "worker"), FA_OK);
    fa_arena *frame = fa_frame_begin(s->ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 640));
}

static void exit_thread_with_open_frame(stage *s) {
    on_another_thread(s, leave_thread_with_open_frame);
    // Nobody can ask that thread for its last error any more.
    s->error = (fa_error){.result = FA_ERR_BUSY, .code = 9};
    snprintf(s->text, sizeof(s->text), "%s", s->line);
    s->result = FA_ERR_BUSY;
}

static void destroy_frame(stage *s) {
    fa_arena_destroy(s->frame);
    stage_note(s, FA_OK);
}

static void reset_frame(stage *s) {
    fa_arena_reset(s->frame);
    stage_note(s, FA_OK);
}

static void claim_scratch(stage *s) {
    s->scratch = fa_scratch_begin(s->ctx, NULL, 0);
    stage_note(s, fa_arena_claim(s->scratch.arena));
}

static void conflict_with_both(stage *s) {
    fa_scratch first = fa_scratch_begin(s->ctx, NULL, 0);
    fa_scratch second = fa_scratch_begin(s->ctx, &first.arena, 1);
    fa_arena *conflicts[2] = {second.arena, first.arena};
    fa_scratch third = fa_scratch_begin(s->ctx, conflicts, 2);
    stage_note_null(s, third.arena);
    fa_scratch_end(third); // Ignored.
    fa_scratch_end(second);
    fa_scratch_end(first);
}

static void alloc_nothing(stage *s) {
    volatile size_t size = 0;
    stage_note_null(s, fa_arena_alloc(s->frame, size));
}

static void alloc_too_many(stage *s) {
    volatile size_t count = SIZE_MAX / 4;
    stage_note_null(s, fa_arena_array(s->frame, uint64_t, count));
}

static void alloc_everything(stage *s) {
    volatile size_t size = SIZE_MAX;
    stage_note_null(s, fa_arena_alloc(s->frame, size));
}

static void describe_badly(stage *s) {
    fa_arena *arena = s->arena;
    stage_note(s, fa_arena_create(s->ctx, &(fa_arena_desc){.chunk_size = 5000}, &arena));
    CHECK_NULL(arena);
}

static void budget_upside_down(stage *s) {
    stage_note(s, fa_budget_set(s->ctx, s->tag, &(fa_budget){.soft = 2, .hard = 1}));
}

static void configure_badly(stage *s) {
    fa_context *ctx = s->ctx;
    stage_note(s, fa_context_create(&(fa_config){.frames_in_flight = 9}, &ctx));
    CHECK_NULL(ctx);
}

static void index_beyond(stage *s) {
    FA_VEC(int) vec = {0};
    CHECK_EQ((int)fa_vec_push(s->frame, &vec, 1), FA_OK);
    stage_note_null(s, fa_vec_at(&vec, 1));
}

static void fail_to_wait(stage *s) {
    CHECK_EQ((int)fa_frame_fence(s->frame, 5), FA_OK);
    end_stage_frame(s);
    s->wait = FA_ERR_TIMEOUT;
    stage_note_null(s, fa_frame_begin(s->ctx));
}

static void copy_no_text(stage *s) {
    stage_note_null(s, fa_arena_strdup(s->frame, NULL));
}

static void defer_nothing(stage *s) {
    stage_note(s, fa_arena_defer(s->frame, NULL, s));
}

static void align_to_three(stage *s) {
    stage_note_null(s, fa_arena_alloc_aligned(s->frame, 64, 3));
}

static void align_to_two_megabytes(stage *s) {
    stage_note_null(s, fa_arena_alloc_aligned(s->frame, 64, 2 * MIB));
}

// ---- FA205: threads ----------------------------------------------------------------------------

static void end_foreign_frame(void *stage_of) {
    stage *s = stage_of;
    fa_frame_end(s->frame);
    stage_note(s, FA_OK);
}

static void end_frame_of_another_thread(stage *s) {
    on_another_thread(s, end_foreign_frame);
}

static void end_foreign_scratch(void *stage_of) {
    stage *s = stage_of;
    fa_scratch_end(s->scratch);
    stage_note(s, FA_OK);
}

static void end_scratch_of_another_thread(stage *s) {
    s->scratch = fa_scratch_begin(s->ctx, NULL, 0);
    on_another_thread(s, end_foreign_scratch);
}

// ---- FA3xx: limits -----------------------------------------------------------------------------

static void pass_memory_limit(stage *s) {
    stage_note_null(s, fa_arena_alloc(s->frame, 9 * MIB));
}

static void pass_tag_budget(stage *s) {
    CHECK_EQ((int)fa_budget_set(s->ctx, s->tag, &(fa_budget){.hard = 50000}), FA_OK);
    CHECK_EQ((int)fa_tag_push(s->ctx, s->tag), FA_OK);
    s->pushed = 1;
    stage_note_null(s, fa_arena_alloc(s->frame, 60000));
}

static void pass_thread_budget(stage *s) {
    CHECK_EQ((int)fa_budget_set_thread(s->ctx, &(fa_thread_budget){.frame_bytes = 5000}), FA_OK);
    stage_note_null(s, fa_arena_alloc(s->frame, 4000));
}

static void pass_soft_budget(stage *s) {
    CHECK_EQ((int)fa_budget_set(s->ctx, s->tag, &(fa_budget){.soft = 10000}), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(s->arena, 20000));
    CHECK_NOT_NULL(fa_arena_alloc(s->arena, 20000)); // Reported once.
    stage_note(s, FA_OK);
}

static void pass_warning_budget(stage *s) {
    const fa_budget budget = {.hard = 10000, .policy = FA_BUDGET_WARN};
    CHECK_EQ((int)fa_budget_set(s->ctx, s->tag, &budget), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(s->arena, 20000));
    CHECK_NOT_NULL(fa_arena_alloc(s->arena, 20000));
    stage_note(s, FA_OK);
}

static void be_refused_by_system(stage *s) {
    fault_backend_set(&s->faults, FAULT_FROM, 1, 0, 0);
    stage_note_null(s, fa_arena_alloc(s->frame, MIB));
}

// ---- FA8xx: tags and phases --------------------------------------------------------------------

static void push_unknown_tag(stage *s) {
    stage_note(s, fa_tag_push(s->ctx, (fa_tag){77}));
}

static void ask_about_unknown_tag(stage *s) {
    fa_tag_stats_result stats;
    stage_note(s, fa_tag_stats(s->ctx, (fa_tag){77}, &stats));
}

static void pop_too_often(stage *s) {
    stage_note(s, fa_tag_pop(s->ctx));
}

static void push_too_often(stage *s) {
    while (fa_tag_push(s->ctx, s->tag) == FA_OK && s->pushed <= FA_TAG_DEPTH_MAX) {
        s->pushed += 1;
    }
    CHECK_EQ(s->pushed, FA_TAG_DEPTH_MAX);
    stage_note(s, fa_last_error()->result);
}

static void end_no_phase(stage *s) {
    fa_phase_stats stats;
    stage_note(s, fa_phase_end(s->ctx, &stats));
}

static void begin_too_many_phases(stage *s) {
    size_t begun = 0;
    while (fa_phase_begin(s->ctx, "deep") == FA_OK && begun <= FA_PHASE_DEPTH_MAX) {
        begun += 1;
    }
    CHECK_EQ(begun, FA_PHASE_DEPTH_MAX);
    stage_note(s, fa_last_error()->result);
    for (; begun != 0; begun--) {
        CHECK_EQ((int)fa_phase_end(s->ctx, NULL), FA_OK);
    }
}

static void register_half_a_path(stage *s) {
    uint32_t count = fa_tag_count(s->ctx);
    CHECK_EQ(fa_tag_register(s->ctx, "ai//path").id, 0);
    CHECK_EQ(fa_tag_count(s->ctx), count);
    stage_note(s, fa_last_error()->result);
}

static void register_beyond_the_last(stage *s) {
    while (fa_tag_count(s->ctx) < FA_TAG_MAX - 1) {
        char path[32];
        snprintf(path, sizeof(path), "tag %u", (unsigned)fa_tag_count(s->ctx));
        REQUIRE_NE(fa_tag_register(s->ctx, path).id, 0);
    }
    CHECK_EQ(fa_tag_register(s->ctx, "two/more").id, 0);
    stage_note(s, fa_last_error()->result);
    CHECK_EQ(fa_tag_count(s->ctx), FA_TAG_MAX - 1);
    CHECK_NE(fa_tag_register(s->ctx, "game/last").id, 0); // There is room for one.
}

// ---- All of them -------------------------------------------------------------------------------

#define MAIN " on thread \"main\""
#define IN_FRAME MAIN ", frame 1"

// clang-format off
static const misuse misuses[] = {
#define MISUSE(number, returned, function, text, where)                                            \
    {.code = (number), .result = (returned), .make = (function), .what = #function,               \
     .line = text, .reaches = (where)}
    MISUSE(1, FA_ERR_NO_FRAME, alloc_tagged_without_frame,
           "FA001 error: allocation with no frame open: 100 bytes asked for by \"game\"" MAIN,
           REACHES_BOTH),
    MISUSE(1, FA_ERR_NO_FRAME, alloc_from_ended_frame,
           "FA001 error: allocation with no frame open: 200 bytes asked for" MAIN, REACHES_BOTH),
    MISUSE(1, FA_ERR_NO_FRAME, rewind_ended_frame,
           "FA001 error: allocation with no frame open:" MAIN, REACHES_BOTH),
    MISUSE(3, FA_ERR_LIMIT, pass_byte_limit,
           "FA003 error: arena exhausted: 99000 bytes asked for by \"game\"" IN_FRAME
           ", arena \"level\": limit 100000 bytes", REACHES_BOTH),
    MISUSE(3, FA_ERR_OUT_OF_MEMORY, fill_callers_memory,
           "FA003 error: arena exhausted: 32 bytes asked for" IN_FRAME
           ", arena \"mine\": limit 1024 bytes", REACHES_BOTH),
    MISUSE(4, FA_ERR_FRAME_OPEN, begin_twice, "FA004 error: frame begun twice:" IN_FRAME,
           REACHES_BOTH),
    MISUSE(5, FA_ERR_STALE, rewind_to_nothing, "FA005 error: stale mark:", REACHES_BOTH),
    MISUSE(5, FA_ERR_STALE, rewind_to_mark_of_another, "FA005 error: stale mark:", REACHES_BOTH),
    MISUSE(5, FA_ERR_STALE, rewind_past_reset, "FA005 error: stale mark:", REACHES_BOTH),
    MISUSE(6, FA_ERR_NO_FRAME, end_twice, "FA006 error: frame ended that is not open:" MAIN,
           REACHES_BOTH),
    MISUSE(6, FA_ERR_NO_FRAME, end_nothing, "FA006 error: frame ended that is not open",
           REACHES_ERROR),
    MISUSE(6, FA_ERR_NO_FRAME, end_an_arena_as_frame, "FA006 error: frame ended that is not open:",
           REACHES_BOTH),
    MISUSE(7, FA_ERR_STALE, end_scratch_twice, "FA007 error: scratch scope ended out of order:",
           REACHES_BOTH),
    MISUSE(7, FA_ERR_BUSY, end_frame_with_open_scratch,
           "FA007 error: scratch scope ended out of order:", REACHES_BOTH),
    MISUSE(8, FA_ERR_BUSY, destroy_context_before_arena,
           "FA008 warning: arena alive when its context was destroyed: 3008 bytes in use",
           REACHES_BOTH),
    MISUSE(9, FA_ERR_BUSY, destroy_context_with_open_frame,
           "FA009 warning: frame left open: 3008 bytes in use", REACHES_BOTH),
    MISUSE(9, FA_ERR_BUSY, detach_with_open_frame,
           "FA009 warning: frame left open: 3008 bytes in use", REACHES_BOTH),
    MISUSE(9, FA_ERR_BUSY, exit_thread_with_open_frame,
           "FA009 warning: frame left open: 640 bytes in use on thread \"worker\", frame 1",
           REACHES_BOTH),
    MISUSE(10, FA_ERR_INVALID, destroy_frame, "FA010 error: not allowed on this kind of arena:",
           REACHES_BOTH),
    MISUSE(10, FA_ERR_INVALID, reset_frame, "FA010 error: not allowed on this kind of arena:",
           REACHES_BOTH),
    MISUSE(10, FA_ERR_INVALID, claim_scratch, "FA010 error: not allowed on this kind of arena:",
           REACHES_BOTH),
    MISUSE(11, FA_ERR_INVALID, conflict_with_both,
           "FA011 error: both scratch arenas are in use by the caller:" IN_FRAME, REACHES_BOTH),
    MISUSE(12, FA_ERR_INVALID, alloc_nothing, "FA012 error: size is 0:" IN_FRAME, REACHES_BOTH),
    MISUSE(13, FA_ERR_OVERFLOW, alloc_too_many, "FA013 error: size does not fit into size_t:",
           REACHES_BOTH),
    MISUSE(13, FA_ERR_OVERFLOW, alloc_everything, "FA013 error: size does not fit into size_t:",
           REACHES_BOTH),
    MISUSE(14, FA_ERR_INVALID, describe_badly,
           "FA014 error: field of a configuration is not allowed:" IN_FRAME
           ", field \"chunk_size\"", REACHES_BOTH),
    MISUSE(14, FA_ERR_INVALID, budget_upside_down,
           "FA014 error: field of a configuration is not allowed:", REACHES_BOTH),
    MISUSE(14, FA_ERR_INVALID, configure_badly,
           "FA014 error: field of a configuration is not allowed: field \"frames_in_flight\"",
           REACHES_ERROR),
    MISUSE(15, FA_ERR_INVALID, index_beyond,
           "FA015 error: index outside the container: index 1, in fa_vec_at: length 1",
           REACHES_ERROR),
    MISUSE(16, FA_ERR_TIMEOUT, fail_to_wait,
           "FA016 error: waiting for a frame's fence failed:" MAIN, REACHES_BOTH),
    MISUSE(17, FA_ERR_INVALID, copy_no_text,
           "FA017 error: argument is not allowed:" IN_FRAME ", argument \"text\"", REACHES_BOTH),
    MISUSE(17, FA_ERR_INVALID, defer_nothing,
           "FA017 error: argument is not allowed:" IN_FRAME ", argument \"fn\"", REACHES_BOTH),
    MISUSE(18, FA_ERR_INVALID, align_to_three, "FA018 error: alignment is not allowed:",
           REACHES_BOTH),
    MISUSE(18, FA_ERR_INVALID, align_to_two_megabytes, "FA018 error: alignment is not allowed:",
           REACHES_BOTH),
    MISUSE(205, FA_ERR_WRONG_THREAD, end_frame_of_another_thread,
           "FA205 error: only the owning thread may do this: on thread \"thread 2\"", REACHES_BOTH),
    MISUSE(205, FA_ERR_WRONG_THREAD, end_scratch_of_another_thread,
           "FA205 error: only the owning thread may do this: on thread \"thread 2\"", REACHES_BOTH),
    MISUSE(301, FA_ERR_LIMIT, pass_memory_limit,
           "FA301 error: memory limit reached: 9437184 bytes asked for" IN_FRAME
           ", for \"frame\": limit 8388608 bytes", REACHES_BOTH),
    MISUSE(302, FA_ERR_BUDGET, pass_tag_budget,
           "FA302 error: tag budget reached: 60000 bytes asked for by \"game\"" IN_FRAME
           ", arena \"frame\": limit 50000 bytes", REACHES_BOTH),
    MISUSE(303, FA_ERR_BUDGET, pass_thread_budget,
           "FA303 error: thread budget reached: 4000 bytes asked for" IN_FRAME
           ", arena \"frame\": limit 5000 bytes", REACHES_BOTH),
    MISUSE(304, FA_OK, pass_soft_budget,
           "FA304 warning: soft budget passed: 20000 bytes asked for by \"game\"" IN_FRAME,
           REACHES_REPORT),
    MISUSE(305, FA_ERR_OUT_OF_MEMORY, be_refused_by_system,
           "FA305 error: operating system refused memory: 1048576 bytes asked for" IN_FRAME
           ", for \"frame\"", REACHES_BOTH),
    MISUSE(306, FA_OK, pass_warning_budget,
           "FA306 warning: tag budget passed: 20000 bytes asked for by \"game\"" IN_FRAME,
           REACHES_REPORT),
    MISUSE(802, FA_ERR_INVALID, push_unknown_tag, "FA802 error: unknown tag:", REACHES_BOTH),
    MISUSE(802, FA_ERR_INVALID, ask_about_unknown_tag, "FA802 error: unknown tag:", REACHES_BOTH),
    MISUSE(803, FA_ERR_INVALID, pop_too_often,
           "FA803 error: tags pushed and popped out of balance:" IN_FRAME ", in fa_tag_pop",
           REACHES_BOTH),
    MISUSE(803, FA_ERR_LIMIT, push_too_often,
           "FA803 error: tags pushed and popped out of balance: ", REACHES_BOTH),
    MISUSE(804, FA_ERR_INVALID, end_no_phase,
           "FA804 error: phases begun and ended out of balance:" IN_FRAME ", in fa_phase_end",
           REACHES_BOTH),
    MISUSE(804, FA_ERR_LIMIT, begin_too_many_phases,
           "FA804 error: phases begun and ended out of balance:" IN_FRAME
           ", in fa_phase_begin: limit 16", REACHES_BOTH),
    MISUSE(805, FA_ERR_INVALID, register_half_a_path,
           "FA805 error: tag cannot be registered:" IN_FRAME ", path \"ai//path\"", REACHES_BOTH),
    MISUSE(805, FA_ERR_LIMIT, register_beyond_the_last,
           "FA805 error: tag cannot be registered:" IN_FRAME ", path \"two/more\": limit 16384",
           REACHES_BOTH),
#undef MISUSE
};
// clang-format on

#define MISUSE_COUNT (sizeof(misuses) / sizeof(misuses[0]))

static stage the_stage;

// ---- With strict mode --------------------------------------------------------------------------

typedef struct trial {
    const misuse *misuse;
    fa_strict strict;
} trial;

static void run_in_child(void *trial_of) {
    const trial *tried = trial_of;
    stage_open(&the_stage, tried->strict, print_report);
    tried->misuse->make(&the_stage);
}

static bool is_warning(const misuse *made) {
    return fa_code_get(made->code)->severity == FA_SEVERITY_WARNING;
}

static void try_in_child(const misuse *made, fa_strict strict) {
    static check_child child;
    trial tried = {made, strict};
    check_note("%s, strict %d", made->what, (int)strict);
    check_child_run(run_in_child, &tried, &child);
    CHECK(!child.timed_out);
    bool must_die =
        made->reaches != REACHES_ERROR &&
        (strict == FA_STRICT_WARNING || (strict == FA_STRICT_ERROR && !is_warning(made)));
    if (must_die) {
        CHECK_EQ(child.signal, SIGABRT);
    } else {
        CHECK(child.exited);
        CHECK_EQ(child.status, 0);
    }
    if (made->reaches == REACHES_ERROR) {
        CHECK_STR_EQ(child.text, "");
        return;
    }
    CHECK_STR_HAS(child.text, made->line);
    // That is all that was written: one line, from its beginning.
    CHECK_EQ(strncmp(child.text, made->line, 5), 0);
    CHECK_EQ(strcspn(child.text, "\n") + 1, child.text_bytes);
}

static void strict_warning_ends_the_program_at_every_misuse(void) {
    for (size_t i = 0; i < MISUSE_COUNT; i++) {
        try_in_child(&misuses[i], FA_STRICT_WARNING);
    }
}

static void strict_error_ends_the_program_at_errors_only(void) {
    for (size_t i = 0; i < MISUSE_COUNT; i++) {
        if (is_warning(&misuses[i]) || i % 8 == 0) {
            try_in_child(&misuses[i], FA_STRICT_ERROR);
        }
    }
}

static void without_strict_mode_no_misuse_ends_the_program(void) {
    for (size_t i = 0; i < MISUSE_COUNT; i++) {
        try_in_child(&misuses[i], FA_STRICT_OFF);
    }
}

// ---- Without strict mode -----------------------------------------------------------------------

static void check_told(const misuse *made, const stage *s) {
    if (made->reaches == REACHES_ERROR) {
        CHECK_EQ(s->reports, 0);
    } else {
        CHECK_EQ(s->reports, 1);
        CHECK_EQ(s->code, made->code);
        CHECK_STR_HAS(s->line, made->line);
    }
    if (made->reaches == REACHES_REPORT) {
        CHECK_EQ((int)s->error.result, FA_OK);
        CHECK_EQ(s->error.code, 0);
        return;
    }
    CHECK_EQ(s->error.code, made->code);
    CHECK_EQ((int)s->error.result, (int)made->result);
    CHECK_STR_HAS(s->text, made->line);
    // Functions that return nothing, or a pointer, only record the result.
    CHECK(s->result == made->result || s->result == FA_OK);
}

static void every_misuse_is_recorded_and_changes_nothing(void) {
    for (size_t i = 0; i < MISUSE_COUNT; i++) {
        check_note("%s", misuses[i].what);
        stage_open(&the_stage, FA_STRICT_OFF, keep_report);
        misuses[i].make(&the_stage);
        check_told(&misuses[i], &the_stage);
        stage_check_sound(&the_stage);
        stage_close(&the_stage);
    }
}

static void a_misuse_with_nobody_listening_is_recorded_as_well(void) {
    for (size_t i = 0; i < MISUSE_COUNT; i++) {
        check_note("%s", misuses[i].what);
        stage_open(&the_stage, FA_STRICT_OFF, NULL);
        misuses[i].make(&the_stage);
        CHECK_EQ((int)the_stage.error.result, (int)misuses[i].result);
        stage_check_sound(&the_stage);
        stage_close(&the_stage);
    }
}

// ---- Completeness ------------------------------------------------------------------------------

// Codes of this range that nothing can emit yet.
static const struct {
    int code;
    const char *why;
} later[] = {
    {2, "seen by the checking modes, which poison and guard finished frames"},
    {201, "seen by the checking modes, which know the owner of memory"},
    {202, "there are no blocks to be freed one by one before pools and heap"},
    {203, "there are no barriers yet"},
    {204, "there are no transfers yet"},
};

static bool is_misused(int code) {
    for (size_t i = 0; i < MISUSE_COUNT; i++) {
        if (misuses[i].code == code) {
            return true;
        }
    }
    return false;
}

static bool is_later(int code) {
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
        if (later[i].code == code) {
            return true;
        }
    }
    return false;
}

static void every_code_the_library_emits_is_provoked_here(void) {
    size_t seen = 0;
    for (size_t i = 0; i < fa_code_count(); i++) {
        int code = fa_code_at(i)->code;
        if (code < 400 || (code >= 802 && code <= 805)) {
            check_note("%s", fa_code_at(i)->name);
            CHECK_NE(is_misused(code), is_later(code));
            seen += 1;
        }
    }
    CHECK_EQ(seen, 33);
}

TEST_SUITE(misuse, TEST(strict_warning_ends_the_program_at_every_misuse),
           TEST(strict_error_ends_the_program_at_errors_only),
           TEST(without_strict_mode_no_misuse_ends_the_program),
           TEST(every_misuse_is_recorded_and_changes_nothing),
           TEST(a_misuse_with_nobody_listening_is_recorded_as_well),
           TEST(every_code_the_library_emits_is_provoked_here));

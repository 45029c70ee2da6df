// What is reported, to whom, and when a report ends the program.
//
// A report that ends the program is tried in child processes, one for each combination of
// configuration, environment and severity.
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L // For setenv().
#endif

#include "core_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static report_log reports;

// ---- fa_last_error() ----

static void before_the_first_failure_there_is_an_empty_error(void) {
    fa_last_error_clear();
    const fa_error *error = fa_last_error();
    REQUIRE_NOT_NULL(error);
    CHECK_EQ(error->result, FA_OK);
    CHECK_EQ(error->code, 0);
    CHECK_EQ(error->bytes, 0);
    CHECK_EQ(error->limit, 0);
    CHECK_STR_EQ(error->tag_path, "");
    CHECK_STR_EQ(error->thread, "");
    CHECK_STR_EQ(error->where, "");
    CHECK_STR_EQ(error->text, fa_result_message(FA_OK));
}

static void the_last_error_says_everything_and_outlives_success(void) {
    fa_context *ctx = context_open(NULL);
    CHECK_EQ(fa_thread_attach(ctx, "main loop"), FA_OK);
    fa_tag tag = fa_tag_register(ctx, "ai/paths");
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = 1000}), FA_OK);
    fa_frame_end(fa_frame_begin(ctx));
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    CHECK_NULL(fa_arena_alloc(frame, 2345));
    CHECK_NOT_NULL(fa_arena_alloc(frame, 16)); // A success does not clear it.
    const fa_error *error = fa_last_error();
    CHECK_EQ(error->result, FA_ERR_BUDGET);
    CHECK_EQ(error->code, 302);
    CHECK_EQ(error->bytes, 2345);
    CHECK_EQ(error->limit, 1000);
    CHECK_EQ(error->tag.id, tag.id);
    CHECK_EQ(error->frame, 2);
    CHECK_STR_EQ(error->tag_path, "ai/paths");
    CHECK_STR_EQ(error->thread, "main loop");
    CHECK_STR_EQ(error->where, "frame");
    const char *const parts[] = {"FA302", "2345", "1000", "ai/paths", "main loop", "frame"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        CHECK_STR_HAS(error->text, parts[i]);
    }
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    fa_frame_end(frame);
    context_close(ctx);
    CHECK_STR_EQ(fa_last_error()->tag_path, "ai/paths"); // Also of a context that is gone.
}

static void fail_here(void *arg) {
    (void)arg;
    CHECK_EQ(fa_last_error()->result, FA_OK);
    fa_frame_end(NULL);
    CHECK_EQ(fa_last_error()->code, 6);
}

static void each_thread_has_its_own_last_error(void) {
    fa_last_error_clear();
    check_thread_join(check_thread_start(fail_here, NULL));
    nothing_failed();
}

// ---- The report function ----

static void a_report_says_everything(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    CHECK_EQ(fa_thread_attach(ctx, "loader"), FA_OK);
    fa_tag tag = fa_tag_register(ctx, "assets");
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = 640}), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    CHECK_NULL(fa_arena_alloc(frame, 641));
    const seen_report *seen = log_single(&reports, 302);
    CHECK_EQ(seen->result, FA_ERR_BUDGET);
    CHECK_EQ(seen->bytes, 641);
    CHECK_EQ(seen->limit, 640);
    CHECK_EQ(seen->tag.id, tag.id);
    CHECK_EQ(seen->frame, 1);
    CHECK_STR_EQ(seen->tag_path, "assets");
    CHECK_STR_EQ(seen->thread, "loader");
    CHECK_STR_EQ(seen->where, "frame");
    CHECK_NULL(fa_arena_try_alloc(frame, 641)); // Tells only fa_last_error().
    log_empty(&reports);
    CHECK_EQ(fa_report_set(ctx, NULL, NULL), FA_OK);
    CHECK_NULL(fa_arena_alloc(frame, 641));
    log_empty(&reports);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    fa_frame_end(frame);
    context_close(ctx);
}

typedef struct nested {
    fa_context *context;
    size_t calls;
} nested;

static void report_and_fail_again(const fa_report *report, void *user) {
    nested *self = (nested *)user;
    self->calls += 1;
    CHECK_EQ(report->info->code, 4);
    fa_arena *frame = fa_frame_current(self->context); // It may use the library.
    CHECK_NOT_NULL(fa_arena_alloc(frame, 100));
    CHECK_NULL(fa_arena_alloc(frame, 0)); // Its own problems are not reported.
    CHECK_EQ(fa_last_error()->code, 12);
    CHECK_EQ(stats_of(self->context).frame_bytes, 112);
}

static void a_report_function_may_use_the_library_and_fail(void) {
    fa_context *ctx = context_open(NULL);
    nested self = {ctx, 0};
    CHECK_EQ(fa_report_set(ctx, report_and_fail_again, &self), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NULL(fa_frame_begin(ctx));
    CHECK_EQ(self.calls, 1);
    fa_frame_end(frame);
    CHECK_EQ(fa_report_set(ctx, log_report, &reports), FA_OK);
    memset(&reports, 0, sizeof(reports));
    fa_frame_end(frame); // Reports work again afterwards.
    (void)log_single(&reports, 6);
    context_close(ctx);
}

static void a_context_is_not_told_of_another_s_problems(void) {
    fa_context *ctx = context_open(NULL);
    fa_context *other = context_open(NULL);
    log_attach(ctx, &reports);
    CHECK_EQ(fa_tag_pop(other), FA_ERR_INVALID);
    fa_frame_end(fa_frame_begin(other));
    log_empty(&reports);
    CHECK_EQ(fa_tag_pop(ctx), FA_ERR_INVALID);
    (void)log_single(&reports, 803);
    context_close(other);
    context_close(ctx);
}

#if !defined(_WIN32)

// ---- Strict mode ----

typedef enum problem { PROBLEM_ERROR, PROBLEM_WARNING, PROBLEM_QUIET } problem;

typedef struct strict_case {
    const char *environment; // NULL: not set.
    fa_strict config;
    problem problem;
    fa_strict in_force;
    bool aborts;
} strict_case;

static void print_report(const fa_report *report, void *user) {
    (void)user;
    printf("reported %s\n", report->info->name);
    fflush(stdout);
}

static void set_environment(const char *value) {
    if (value == NULL) {
        unsetenv("FRAMEALLOC_STRICT");
    } else {
        setenv("FRAMEALLOC_STRICT", value, 1);
    }
}

static void run_strict(void *arg) {
    const strict_case *what = (const strict_case *)arg;
    set_environment(what->environment);
    fa_config config = {.strict = what->config};
    fa_context *ctx = context_open(&config);
    CHECK_EQ(fa_context_config(ctx)->strict, what->in_force);
    set_environment("off"); // Read once, when the context was made.
    CHECK_EQ(fa_report_set(ctx, print_report, NULL), FA_OK);
    CHECK_EQ(fa_budget_set(ctx, FA_TAG_ROOT, &(fa_budget){.soft = 100}), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    if (what->problem == PROBLEM_ERROR) {
        CHECK_NULL(fa_frame_begin(ctx));
    } else if (what->problem == PROBLEM_WARNING) {
        CHECK_NOT_NULL(fa_arena_alloc(frame, 200));
    } else {
        CHECK_NULL(fa_arena_try_alloc(frame, 0));
        fa_frame_end(NULL); // No context is known, so nobody is strict about it.
        CHECK_EQ(fa_context_create(&(fa_config){.checks = 8}, &(fa_context *){NULL}),
                 FA_ERR_INVALID);
    }
    printf("went on\n");
    fa_frame_end(frame);
    context_close(ctx);
}

static const strict_case strict_cases[] = {
    {NULL, FA_STRICT_DEFAULT, PROBLEM_ERROR, FA_STRICT_OFF, false},
    {NULL, FA_STRICT_DEFAULT, PROBLEM_WARNING, FA_STRICT_OFF, false},
    {NULL, FA_STRICT_OFF, PROBLEM_ERROR, FA_STRICT_OFF, false},
    {NULL, FA_STRICT_OFF, PROBLEM_WARNING, FA_STRICT_OFF, false},
    {NULL, FA_STRICT_WARNING, PROBLEM_ERROR, FA_STRICT_WARNING, true},
    {NULL, FA_STRICT_WARNING, PROBLEM_WARNING, FA_STRICT_WARNING, true},
    {NULL, FA_STRICT_WARNING, PROBLEM_QUIET, FA_STRICT_WARNING, false},
    {NULL, FA_STRICT_ERROR, PROBLEM_ERROR, FA_STRICT_ERROR, true},
    {NULL, FA_STRICT_ERROR, PROBLEM_WARNING, FA_STRICT_ERROR, false},
    {NULL, FA_STRICT_ERROR, PROBLEM_QUIET, FA_STRICT_ERROR, false},
    {"off", FA_STRICT_ERROR, PROBLEM_ERROR, FA_STRICT_OFF, false},
    {"off", FA_STRICT_WARNING, PROBLEM_WARNING, FA_STRICT_OFF, false},
    {"warning", FA_STRICT_DEFAULT, PROBLEM_ERROR, FA_STRICT_WARNING, true},
    {"warning", FA_STRICT_ERROR, PROBLEM_WARNING, FA_STRICT_WARNING, true},
    {"warning", FA_STRICT_OFF, PROBLEM_QUIET, FA_STRICT_WARNING, false},
    {"error", FA_STRICT_DEFAULT, PROBLEM_ERROR, FA_STRICT_ERROR, true},
    {"error", FA_STRICT_OFF, PROBLEM_ERROR, FA_STRICT_ERROR, true},
    {"error", FA_STRICT_WARNING, PROBLEM_WARNING, FA_STRICT_ERROR, false},
    {"", FA_STRICT_ERROR, PROBLEM_ERROR, FA_STRICT_ERROR, true},
    {"loud", FA_STRICT_DEFAULT, PROBLEM_ERROR, FA_STRICT_OFF, false},
    {"loud", FA_STRICT_ERROR, PROBLEM_ERROR, FA_STRICT_ERROR, true},
};

static void strict_mode_aborts_on_the_severities_chosen(void) {
    static check_child child;
    static const char *const seen[] = {"reported FA004", "reported FA304", ""};
    for (size_t i = 0; i < sizeof(strict_cases) / sizeof(strict_cases[0]); i++) {
        strict_case what = strict_cases[i];
        check_child_run(run_strict, &what, &child);
        check_note("case %u: environment %s, config %d, problem %d: %s", (unsigned)i,
                   what.environment == NULL ? "unset" : what.environment, (int)what.config,
                   (int)what.problem, child.text);
        CHECK_STR_HAS(child.text, seen[what.problem]); // Reported first, also when it aborts.
        if (what.aborts) {
            CHECK_EQ(child.signal, SIGABRT);
            CHECK(strstr(child.text, "went on") == NULL);
        } else {
            CHECK(!check_child_died(&child));
            CHECK_STR_HAS(child.text, "went on");
        }
    }
}

#else

static void strict_mode_aborts_on_the_severities_chosen(void) {
    SKIP("needs an environment that can be set, and child processes");
}

#endif

TEST_SUITE(strict, TEST(before_the_first_failure_there_is_an_empty_error),
           TEST(the_last_error_says_everything_and_outlives_success),
           TEST(each_thread_has_its_own_last_error), TEST(a_report_says_everything),
           TEST(a_report_function_may_use_the_library_and_fail),
           TEST(a_context_is_not_told_of_another_s_problems),
           TEST(strict_mode_aborts_on_the_severities_chosen));

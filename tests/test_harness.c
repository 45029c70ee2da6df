// The harness itself. Suites that fail on purpose run in a child process, and the child's output
// and exit status are looked at.
#include "harness/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void outer_and_inner(void) {
    CHECK_NE(1, 2);
}

// ---- Running a suite in a child ----------------------------------------------------------------

typedef struct inner_run {
    const check_suite *const *suites;
    size_t suite_count;
    int argc;
    char **argv;
} inner_run;

static void inner_main(void *arg) {
    const inner_run *inner = (const inner_run *)arg;
    int status = check_main(inner->argc, inner->argv, inner->suites, inner->suite_count);
    fflush(NULL);
    _Exit(status);
}

/// An empty suite by default; its one test is there for patterns.
static const check_test other_tests[] = {TEST(outer_and_inner)};
static check_suite other_suite = {"other", other_tests, 0};

/// Runs `tests` as the suite "inner" with up to two arguments (NULL: none).
static void run_inner(const check_test *tests, size_t count, const char *first, const char *second,
                      check_child *out) {
    char words[3][64];
    char *argv[3] = {words[0], words[1], words[2]};
    snprintf(words[0], sizeof(words[0]), "inner");
    snprintf(words[1], sizeof(words[1]), "%s", first != NULL ? first : "");
    snprintf(words[2], sizeof(words[2]), "%s", second != NULL ? second : "");
    check_suite suite = {"inner", tests, count};
    const check_suite *suites[] = {&suite, &other_suite};
    inner_run inner = {suites, 2, 1 + (first != NULL) + (second != NULL), argv};
    check_child_run(inner_main, &inner, out);
    CHECK_EQ(out->signal, 0);
    CHECK(out->exited);
}

#define RUN_INNER(out, first, second, ...)                                                         \
    do {                                                                                           \
        static const check_test tests[] = {__VA_ARGS__};                                           \
        run_inner(tests, sizeof(tests) / sizeof(tests[0]), first, second, out);                    \
    } while (0)

/// The last line of a text, which ends with a line end.
static const char *last_line(check_child *child) {
    if (child->text_bytes > 0 && child->text[child->text_bytes - 1] == '\n') {
        child->text[--child->text_bytes] = '\0';
    }
    const char *end = strrchr(child->text, '\n');
    return end != NULL ? end + 1 : child->text;
}

// ---- Tests that behave on purpose in one way ---------------------------------------------------

static void passes(void) {
    CHECK_EQ(2 + 2, 4);
}

static void fails(void) {
    int apples = 3;
    CHECK_EQ(apples, 4);
}

static void fails_twice(void) {
    CHECK_EQ(1, 2);
    CHECK_EQ(3, 4);
}

static void requires_and_goes_on(void) {
    REQUIRE_EQ(1, 2);
    printf("unreachable\n");
}

static void checks_nothing(void) {
}

static void skips(void) {
    SKIP("no moon tonight");
}

static void fails_then_skips(void) {
    CHECK_EQ(1, 2);
    SKIP("too late");
}

static void fails_with_note(void) {
    check_note("step %d", 17);
    CHECK_EQ(1, 2);
}

static void fails_a_hundred_times(void) {
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(i, -1);
    }
}

static void scaled_by_a_tenth(void) {
    CHECK_EQ(check_scale(1000), 100);
    CHECK_EQ(check_scale(1), 1);
    CHECK_EQ(check_scale(0), 1);
}

static void seed_is_77(void) {
    CHECK_EQ(check_seed(), 77);
}

// ---- Counting ----------------------------------------------------------------------------------

static void failing_test_is_counted_and_stops_no_other(void) {
    check_child child;
    RUN_INNER(&child, NULL, NULL, TEST(fails), TEST(passes));
    CHECK_EQ(child.status, 1);
    CHECK_STR_HAS(child.text, "FAILED inner.fails");
    CHECK_STR_EQ(last_line(&child), "1 passed, 1 failed");
}

static void passing_tests_end_with_status_0(void) {
    check_child child;
    RUN_INNER(&child, NULL, NULL, TEST(passes));
    CHECK_EQ(child.status, 0);
    CHECK_STR_EQ(last_line(&child), "1 passed, 0 failed");
}

static void failure_shows_place_and_both_values(void) {
    check_child child;
    RUN_INNER(&child, NULL, NULL, TEST(fails));
    CHECK_STR_HAS(child.text, "test_harness.c:");
    CHECK_STR_HAS(child.text,
                  "inner.fails: apples == 4 does not hold\n    apples = 3\n    4 = 4\n");
    CHECK_STR_HAS(child.text, "FA_TEST_SEED=");
}

static void check_goes_on_and_require_leaves(void) {
    check_child child;
    RUN_INNER(&child, NULL, NULL, TEST(fails_twice), TEST(requires_and_goes_on));
    CHECK_STR_HAS(child.text, "FAILED inner.fails_twice: 2 failures");
    CHECK_STR_HAS(child.text, "FAILED inner.requires_and_goes_on: 1 failure (");
    CHECK_NULL(strstr(child.text, "unreachable"));
}

static void test_without_a_check_fails(void) {
    check_child child;
    RUN_INNER(&child, NULL, NULL, TEST(checks_nothing));
    CHECK_EQ(child.status, 1);
    CHECK_STR_HAS(child.text, "the test made no check");
    CHECK_STR_EQ(last_line(&child), "0 passed, 1 failed");
}

static void skipped_test_is_neither_passed_nor_failed(void) {
    check_child child;
    RUN_INNER(&child, NULL, NULL, TEST(skips), TEST(passes));
    CHECK_EQ(child.status, 0);
    CHECK_STR_HAS(child.text, "skipped inner.skips: no moon tonight");
    CHECK_STR_EQ(last_line(&child), "1 passed, 0 failed, 1 skipped");
}

static void skip_does_not_hide_a_failure(void) {
    check_child child;
    RUN_INNER(&child, NULL, NULL, TEST(fails_then_skips));
    CHECK_EQ(child.status, 1);
    CHECK_STR_EQ(last_line(&child), "0 passed, 1 failed");
}

static void note_is_printed_with_its_failure_only(void) {
    check_child child;
    RUN_INNER(&child, NULL, NULL, TEST(fails_with_note), TEST(fails));
    const char *first = strstr(child.text, "note: step 17");
    REQUIRE_NOT_NULL(first);
    CHECK_NULL(strstr(first + 1, "note: step"));
}

static void flood_of_failures_is_counted_not_printed(void) {
    check_child child;
    RUN_INNER(&child, NULL, NULL, TEST(fails_a_hundred_times));
    CHECK_STR_HAS(child.text, "    i = 9\n");
    CHECK_NULL(strstr(child.text, "    i = 11 "));
    CHECK_STR_HAS(child.text, "100 failures");
}

// ---- Arguments ---------------------------------------------------------------------------------

static void pattern_chooses_tests(void) {
    check_child child;
    RUN_INNER(&child, "inner.pass", NULL, TEST(passes), TEST(fails));
    CHECK_STR_EQ(last_line(&child), "1 passed, 0 failed");
    RUN_INNER(&child, "inner", NULL, TEST(passes), TEST(fails));
    CHECK_STR_EQ(last_line(&child), "1 passed, 1 failed");
}

static void name_of_a_suite_means_only_that_suite(void) {
    check_child child;
    other_suite.count = 1;
    RUN_INNER(&child, "inner", NULL, TEST(passes));
    CHECK_STR_EQ(last_line(&child), "1 passed, 0 failed");
    RUN_INNER(&child, "nner", NULL, TEST(passes));
    CHECK_STR_EQ(last_line(&child), "2 passed, 0 failed");
    other_suite.count = 0;
}

static void wrong_arguments_end_with_status_2(void) {
    check_child child;
    RUN_INNER(&child, "no_such_test", NULL, TEST(passes));
    CHECK_EQ(child.status, 2);
    RUN_INNER(&child, "--nonsense", NULL, TEST(passes));
    CHECK_EQ(child.status, 2);
    RUN_INNER(&child, "--seed", "many", TEST(passes));
    CHECK_EQ(child.status, 2);
    RUN_INNER(&child, "--scale", "0", TEST(passes));
    CHECK_EQ(child.status, 2);
    RUN_INNER(&child, "--repeat", NULL, TEST(passes));
    CHECK_EQ(child.status, 2);
}

static void list_names_every_test_and_runs_none(void) {
    check_child child;
    RUN_INNER(&child, "--list", NULL, TEST(passes), TEST(fails));
    CHECK_EQ(child.status, 0);
    CHECK_STR_EQ(child.text, "inner.passes\ninner.fails\n");
}

static void repeat_runs_again_and_again(void) {
    check_child child;
    RUN_INNER(&child, "--repeat", "3", TEST(passes), TEST(fails));
    CHECK_STR_EQ(last_line(&child), "3 passed, 3 failed");
}

static void seed_and_scale_can_be_given(void) {
    check_child child;
    RUN_INNER(&child, "--seed", "77", TEST(seed_is_77));
    CHECK_EQ(child.status, 0);
    CHECK_STR_HAS(child.text, "seed 77 ");
    RUN_INNER(&child, "--scale", "0.1", TEST(scaled_by_a_tenth));
    CHECK_EQ(child.status, 0);
}

// ---- Checks ------------------------------------------------------------------------------------

static void numbers_compare_by_value(void) {
    CHECK_LT(-1, 1U);
    CHECK_NE(-1, SIZE_MAX);
    CHECK_GT(UINT64_MAX, INT64_MIN);
    CHECK_LT(INT64_MIN, INT64_MIN + 1);
    CHECK_LE((signed char)-3, (unsigned char)253);
    CHECK_GE((short)7, 7.0F);
    CHECK_EQ(true, 1);
    CHECK_EQ(0.5, 0.5F);
    CHECK_EQ('a', (unsigned short)'a');
}

static void pointers_compare_by_address(void) {
    int numbers[2] = {0};
    const volatile int *second = &numbers[1];
    CHECK_EQ(numbers, &numbers[0]);
    CHECK_NE(numbers, second);
    CHECK_LT(&numbers[0], &numbers[1]);
    CHECK_NULL(NULL);
    CHECK_NOT_NULL(second);
    CHECK_STR_EQ((const char *)NULL, (const char *)NULL);
    CHECK_MEM_EQ(NULL, NULL, 0);
}

static void fail_eq(void) {
    CHECK_EQ(-1, UINT64_MAX);
}
static void fail_ne(void) {
    CHECK_NE(5, 5U);
}
static void fail_lt(void) {
    CHECK_LT(1U, -1);
}
static void fail_le(void) {
    CHECK_LE(2.0, 1);
}
static void fail_gt(void) {
    CHECK_GT(3, 3);
}
static void fail_ge(void) {
    CHECK_GE(-2, -1);
}
static void fail_nan(void) {
    CHECK_EQ((double)NAN, (double)NAN);
}
static void fail_null(void) {
    CHECK_NULL("x");
}
static void fail_not_null(void) {
    CHECK_NOT_NULL(NULL);
}
static void fail_string(void) {
    CHECK_STR_EQ("one", (const char *)NULL);
}
static void fail_part(void) {
    CHECK_STR_HAS("one", "two");
}
static void fail_memory(void) {
    CHECK_MEM_EQ("abcd", "abxd", 4);
}
static void fail_memory_of_null(void) {
    CHECK_MEM_EQ(NULL, "abxd", 4);
}
static void fail_condition(void) {
    CHECK(passes == NULL);
}
static void fail_with_text(void) {
    FAIL("%s has %d legs", "the dog", 5);
}
static void do_nothing(void *arg) {
    (void)arg;
}
static void fail_to_die(void) {
    CHECK_DIES(do_nothing, NULL, "");
}

static void every_kind_of_check_can_fail(void) {
    check_child child;
    RUN_INNER(&child, NULL, NULL, TEST(fail_eq), TEST(fail_ne), TEST(fail_lt), TEST(fail_le),
              TEST(fail_gt), TEST(fail_ge), TEST(fail_nan), TEST(fail_null), TEST(fail_not_null),
              TEST(fail_string), TEST(fail_part), TEST(fail_memory), TEST(fail_memory_of_null),
              TEST(fail_condition), TEST(fail_with_text), TEST(fail_to_die));
    CHECK_STR_HAS(child.text, "18446744073709551615 (0xffffffffffffffff)");
    CHECK_STR_HAS(child.text, "first at byte 2 of 4: 0x63 and 0x78");
    CHECK_STR_HAS(child.text, "the dog has 5 legs");
    CHECK_STR_HAS(child.text, "do_nothing should have ended its process");
    CHECK_STR_EQ(last_line(&child), "0 passed, 16 failed");
}

// ---- Random numbers ----------------------------------------------------------------------------

static void generator_repeats_and_has_known_numbers(void) {
    check_rng rng = check_rng_make(0);
    CHECK_EQ(check_rng_next(&rng), UINT64_C(0xE220A8397B1DCDAF));
    CHECK_EQ(check_rng_next(&rng), UINT64_C(0x6E789E6AA1B965F4));
    check_rng other = check_rng_make(1);
    CHECK_NE(check_rng_next(&other), UINT64_C(0xE220A8397B1DCDAF));
}

static void random_ranges_hold_and_are_reached(void) {
    check_rng rng = check_rng_make(check_seed());
    bool seen[3] = {false, false, false};
    bool size_seen[2] = {false, false};
    for (int i = 0; i < 2000; i++) {
        size_t number = check_rng_between(&rng, 4, 6);
        REQUIRE_GE(number, 4);
        REQUIRE_LE(number, 6);
        seen[number - 4] = true;
        REQUIRE_LT(check_rng_below(&rng, 7), 7);
        size_t size = check_rng_size(&rng, 9);
        REQUIRE_LE(size, 9);
        size_seen[0] = size_seen[0] || size == 0;
        size_seen[1] = size_seen[1] || size == 9;
        REQUIRE(!check_rng_chance(&rng, 0));
        REQUIRE(check_rng_chance(&rng, 100));
    }
    CHECK(seen[0] && seen[1] && seen[2]);
    CHECK(size_seen[0] && size_seen[1]);
    CHECK_EQ(check_rng_size(&rng, 0), 0);
    CHECK_EQ(check_rng_between(&rng, 5, 5), 5);
    CHECK_LE(check_rng_size(&rng, SIZE_MAX), SIZE_MAX);
}

/// Of three thirds of a range that is three quarters of all numbers, the first comes half of the
/// time where the remainder is taken without more ado.
static void large_bounds_are_fair(void) {
#if SIZE_MAX > 0xffffffff
    check_rng rng = check_rng_make(check_seed());
    unsigned first_third = 0;
    for (int i = 0; i < 3000; i++) {
        first_third += check_rng_below(&rng, UINT64_C(3) << 62) < (UINT64_C(1) << 62) ? 1U : 0U;
    }
    CHECK_GT(first_third, 800);
    CHECK_LT(first_third, 1200);
#else
    SKIP("size_t has 32 bits");
#endif
}

// ---- Child processes ---------------------------------------------------------------------------

static void write_to_both(void *arg) {
    (void)arg;
    printf("to output\n");
    fflush(stdout);
    fprintf(stderr, "to errors\n");
    _Exit(7);
}

static void abort_now(void *arg) {
    fprintf(stderr, "%s\n", (const char *)arg);
    abort();
}

static void flood(void *arg) {
    (void)arg;
    for (int i = 0; i < 100000; i++) {
        printf("0123456789");
    }
}

static void fails_before_its_child_passes(void) {
    check_child child;
    CHECK_EQ(1, 2);
    check_child_run(do_nothing, NULL, &child);
    printf("status of the child %d\n", child.status);
}

static void fail_in_child(void *arg) {
    (void)arg;
    REQUIRE_EQ(1, 2);
    _Exit(9);
}

static void child_reports_status_signal_and_output(void) {
    check_child child;
    check_child_run(write_to_both, NULL, &child);
    CHECK(child.exited);
    CHECK_EQ(child.status, 7);
    CHECK_STR_EQ(child.text, "to output\nto errors\n");
    CHECK_EQ(child.text_bytes, strlen(child.text));
    CHECK(check_child_died(&child));

    char last_words[] = "last words";
    check_child_run(abort_now, last_words, &child);
    CHECK(!child.exited);
    CHECK_NE(child.signal, 0);
    CHECK(check_child_died(&child));
    CHECK_DIES(abort_now, last_words, "last words");

    check_child_run(do_nothing, NULL, &child);
    CHECK(!check_child_died(&child));
}

static void long_output_is_cut_and_does_not_hang(void) {
    check_child child;
    check_child_run(flood, NULL, &child);
    CHECK_EQ(child.text_bytes, sizeof(child.text) - 1);
    CHECK_EQ(child.status, 0);
}

static void failed_check_in_a_child_is_its_status(void) {
    check_child child;
    check_child_run(fail_in_child, NULL, &child);
    CHECK_EQ(child.status, 1);
    CHECK_STR_HAS(child.text, "1 == 2 does not hold");
}

static void earlier_failures_are_not_the_childs(void) {
    check_child child;
    RUN_INNER(&child, NULL, NULL, TEST(fails_before_its_child_passes));
    CHECK_STR_HAS(child.text, "status of the child 0\n");
}

// ---- Threads -----------------------------------------------------------------------------------

enum { THREADS = 4, ROUNDS = 200 };

typedef struct meeting {
    check_barrier *barrier;
    int arrived[THREADS];
    int place;
    bool in_step;
} meeting;

typedef struct guest {
    meeting *meeting;
    size_t place;
    bool in_step;
} guest;

static void meet(void *arg) {
    guest *self = (guest *)arg;
    self->in_step = true;
    for (int round = 1; round <= ROUNDS; round++) {
        self->meeting->arrived[self->place] = round;
        check_barrier_wait(self->meeting->barrier);
        for (size_t i = 0; i < THREADS; i++) {
            self->in_step = self->in_step && self->meeting->arrived[i] == round;
        }
        check_barrier_wait(self->meeting->barrier);
        check_thread_yield();
    }
}

static void barrier_keeps_threads_in_step(void) {
    meeting shared = {0};
    guest guests[THREADS] = {{0}};
    if (!check_thread_supported()) {
        SKIP("there are no threads on this platform");
    }
    shared.barrier = check_barrier_create(THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        guests[i].meeting = &shared;
        guests[i].place = i;
    }
    check_threads_run(THREADS, meet, guests, sizeof(guests[0]));
    check_barrier_destroy(shared.barrier);
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(guests[i].in_step);
    }
}

static void set_flag(void *arg) {
    *(bool *)arg = true;
}

static void started_thread_runs_and_is_joined(void) {
    bool ran = false;
    check_thread *thread = check_thread_start(set_flag, &ran);
    check_thread_join(thread);
    CHECK(ran);
}

static void leave_early(void *arg) {
    REQUIRE_EQ(1, 2);
    set_flag(arg);
}

static void fails_in_threads(void) {
    bool reached = false;
    check_threads_run(3, leave_early, &reached, 0);
    printf("after the threads, reached %d\n", (int)reached);
}

static void require_in_a_thread_leaves_the_thread(void) {
    if (!check_thread_supported()) {
        SKIP("there are no threads on this platform");
    }
    check_child child;
    RUN_INNER(&child, NULL, NULL, TEST(fails_in_threads));
    CHECK_STR_HAS(child.text, "after the threads, reached 0");
    CHECK_STR_HAS(child.text, "FAILED inner.fails_in_threads: 3 failures");
}

static void leave_at_once(void *arg) {
    (void)arg;
    check_leave();
}

static void requires_after_a_guarded_call(void) {
    check_run_guarded(leave_at_once, NULL);
    REQUIRE_EQ(1, 2);
    printf("unreachable\n");
}

static void require_after_a_guarded_call_leaves_the_test(void) {
    check_child child;
    RUN_INNER(&child, NULL, NULL, TEST(requires_after_a_guarded_call), TEST(passes));
    CHECK_STR_EQ(last_line(&child), "1 passed, 1 failed");
    CHECK_NULL(strstr(child.text, "unreachable"));
}

static void guarded_call_says_whether_it_was_left(void) {
    bool ran = false;
    CHECK(check_run_guarded(set_flag, &ran));
    CHECK(ran);
    CHECK(!check_run_guarded(leave_at_once, NULL));
}

TEST_SUITE(harness, TEST(failing_test_is_counted_and_stops_no_other),
           TEST(passing_tests_end_with_status_0), TEST(failure_shows_place_and_both_values),
           TEST(check_goes_on_and_require_leaves), TEST(test_without_a_check_fails),
           TEST(skipped_test_is_neither_passed_nor_failed), TEST(skip_does_not_hide_a_failure),
           TEST(note_is_printed_with_its_failure_only),
           TEST(flood_of_failures_is_counted_not_printed), TEST(pattern_chooses_tests),
           TEST(name_of_a_suite_means_only_that_suite), TEST(wrong_arguments_end_with_status_2),
           TEST(list_names_every_test_and_runs_none), TEST(repeat_runs_again_and_again),
           TEST(seed_and_scale_can_be_given), TEST(numbers_compare_by_value),
           TEST(pointers_compare_by_address), TEST(every_kind_of_check_can_fail),
           TEST(generator_repeats_and_has_known_numbers), TEST(random_ranges_hold_and_are_reached),
           TEST(large_bounds_are_fair), TEST(child_reports_status_signal_and_output),
           TEST(long_output_is_cut_and_does_not_hang), TEST(failed_check_in_a_child_is_its_status),
           TEST(earlier_failures_are_not_the_childs), TEST(barrier_keeps_threads_in_step),
           TEST(started_thread_runs_and_is_joined), TEST(require_in_a_thread_leaves_the_thread),
           TEST(guarded_call_says_whether_it_was_left),
           TEST(require_after_a_guarded_call_leaves_the_test));

// Picks tests by name, runs them one after the other, counts, and prints the last line everybody
// looks at:
//
//     123 passed, 0 failed, 2 skipped
#include "check.h"
#include "check_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

typedef struct options {
    bool list;
    bool help;
    unsigned repeat;
    char **patterns;
    int pattern_count;
} options;

typedef struct totals {
    unsigned passed;
    unsigned failed;
    unsigned skipped;
} totals;

static const char usage[] =
    "usage: %s [--list] [--verbose] [--seed N] [--scale X] [--repeat N] [PATTERN...]\n"
    "\n"
    "  PATTERN      a suite (arena), a test (arena.reset_keeps_newest_block), or a part of a "
    "name;\n"
    "               without one everything runs\n"
    "  --list       print the names of the tests and end\n"
    "  --verbose    print every test with its time\n"
    "  --seed N     seed of the random tests; also FA_TEST_SEED\n"
    "  --scale X    length of the long tests, 1 = full; also FA_TEST_SCALE\n"
    "  --repeat N   run everything N times\n";

// ---- Settings ----------------------------------------------------------------------------------

/// Nanoseconds of some clock that goes on while the test waits.
static uint64_t now_ns(void) {
#if defined(TIME_UTC)
    struct timespec now = {0};
    (void)timespec_get(&now, TIME_UTC);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
#else
    // C libraries of Windows without timespec_get(): there clock() counts elapsed time.
    return (uint64_t)clock() * (UINT64_C(1000000000) / (uint64_t)CLOCKS_PER_SEC);
#endif
}

static bool seed_set(const char *text) {
    char *end = NULL;
    check_state.seed = strtoull(text, &end, 0);
    return end != text && *end == '\0';
}

static bool scale_set(const char *text) {
    char *end = NULL;
    check_state.scale = strtod(text, &end);
    return end != text && *end == '\0' && check_state.scale > 0.0 && check_state.scale <= 1e6;
}

static bool settings_from_environment(void) {
    const char *seed = getenv("FA_TEST_SEED");
    const char *scale = getenv("FA_TEST_SCALE");
    check_rng clock_mix = check_rng_make(now_ns() ^ ((uint64_t)time(NULL) << 32));
    check_state.seed = check_rng_next(&clock_mix) >> 32; // Short enough to be typed.
    check_state.scale = UNDER_SANITIZER ? 0.1 : 1.0;
    if (seed != NULL && seed[0] != '\0' && !seed_set(seed)) {
        fprintf(stderr, "FA_TEST_SEED is not a number: %s\n", seed);
        return false;
    }
    if (scale != NULL && scale[0] != '\0' && !scale_set(scale)) {
        fprintf(stderr, "FA_TEST_SCALE is not a number above 0: %s\n", scale);
        return false;
    }
    return true;
}

static bool count_set(const char *text, unsigned *out) {
    char *end = NULL;
    unsigned long value = strtoul(text, &end, 10);
    *out = (unsigned)value;
    return end != text && *end == '\0' && value >= 1 && value <= 1000000;
}

/// One option that takes a value. False when there is none by this name or the value is bad.
static bool option_with_value(const char *name, const char *value, options *out) {
    if (value == NULL) {
        return false;
    }
    if (strcmp(name, "--seed") == 0) {
        return seed_set(value);
    }
    if (strcmp(name, "--scale") == 0) {
        return scale_set(value);
    }
    return strcmp(name, "--repeat") == 0 && count_set(value, &out->repeat);
}

static bool options_parse(int argc, char **argv, options *out) {
    *out = (options){.repeat = 1};
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            out->list = true;
        } else if (strcmp(argv[i], "--help") == 0) {
            out->help = true;
        } else if (strcmp(argv[i], "--verbose") == 0) {
            check_state.verbose = true;
        } else if (option_with_value(argv[i], i + 1 < argc ? argv[i + 1] : NULL, out)) {
            i++;
        } else {
            fprintf(stderr, "unknown option or bad value: %s (--help lists the options)\n",
                    argv[i]);
            return false;
        }
    }
    out->patterns = argv + i;
    out->pattern_count = argc - i;
    return true;
}

// ---- Choosing ----------------------------------------------------------------------------------

static bool is_suite(const check_suite *const *suites, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(suites[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/// A pattern that is the name of a suite means that suite, even where it is part of other names.
static bool is_chosen(const options *chosen, const check_suite *const *suites, size_t count,
                      const char *suite, const char *test) {
    if (chosen->pattern_count == 0) {
        return true;
    }
    char full[256];
    snprintf(full, sizeof(full), "%s.%s", suite, test);
    for (int i = 0; i < chosen->pattern_count; i++) {
        const char *pattern = chosen->patterns[i];
        bool hit = is_suite(suites, count, pattern) ? strcmp(pattern, suite) == 0
                                                    : strstr(full, pattern) != NULL;
        if (hit) {
            return true;
        }
    }
    return false;
}

// ---- Running -----------------------------------------------------------------------------------

static void call_test(void *arg) {
    const check_test *const *test = (const check_test *const *)arg;
    (*test)->run();
}

static void test_begin(const char *suite, const check_test *test) {
    check_state.suite = suite;
    check_state.test = test->name;
    check_state.skipped = false;
    atomic_store(&check_state.checks, 0);
    atomic_store(&check_state.failures, 0);
    check_note_clear();
    if (check_state.verbose) {
        printf("%s.%s ...", suite, test->name);
        fflush(stdout);
    }
}

static void test_count(const char *suite, const check_test *test, double seconds, totals *sums) {
    unsigned failures = atomic_load(&check_state.failures);
    if (failures == 0 && check_state.skipped) {
        sums->skipped++;
        if (check_state.verbose) {
            printf(" skipped: %s\n", check_state.skip_reason);
        } else {
            printf("skipped %s.%s: %s\n", suite, test->name, check_state.skip_reason);
        }
        return;
    }
    if (failures == 0 && atomic_load(&check_state.checks) == 0) {
        check_fail("", 0, "the test made no check");
        failures = 1;
    }
    if (failures != 0) {
        sums->failed++;
        printf("FAILED %s.%s: %u failure%s (FA_TEST_SEED=%" PRIu64 ")\n", suite, test->name,
               failures, failures == 1 ? "" : "s", check_state.seed);
    } else {
        sums->passed++;
        if (check_state.verbose) {
            printf(" ok %.2f s\n", seconds);
        }
    }
    fflush(stdout);
}

static void run_suite(const check_suite *suite, const options *chosen,
                      const check_suite *const *suites, size_t count, totals *sums) {
    for (size_t i = 0; i < suite->count; i++) {
        const check_test *test = &suite->tests[i];
        if (!is_chosen(chosen, suites, count, suite->name, test->name)) {
            continue;
        }
        if (chosen->list) {
            printf("%s.%s\n", suite->name, test->name);
            sums->passed++;
            continue;
        }
        uint64_t start = now_ns();
        test_begin(suite->name, test);
        check_run_guarded(call_test, &test);
        test_count(suite->name, test, (double)(now_ns() - start) * 1e-9, sums);
    }
}

int check_main(int argc, char **argv, const check_suite *const *suites, size_t count) {
    options chosen;
    totals sums = {0};
    check_state.verbose = false;
    if (!settings_from_environment() || !options_parse(argc, argv, &chosen)) {
        return 2;
    }
    if (chosen.help) {
        printf(usage, argv[0]);
        return 0;
    }
    if (!chosen.list) {
        printf("seed %" PRIu64 " (FA_TEST_SEED=%" PRIu64 " repeats this run), scale %g\n",
               check_state.seed, check_state.seed, check_state.scale);
    }
    for (unsigned round = 0; round < chosen.repeat; round++) {
        for (size_t i = 0; i < count; i++) {
            run_suite(suites[i], &chosen, suites, count, &sums);
        }
    }
    if (sums.passed + sums.failed + sums.skipped == 0) {
        fprintf(stderr, "no test has such a name (--list shows them)\n");
        return 2;
    }
    if (chosen.list) {
        return 0;
    }
    printf("%u passed, %u failed", sums.passed, sums.failed);
    if (sums.skipped != 0) {
        printf(", %u skipped", sums.skipped);
    }
    printf("\n");
    fflush(stdout);
    return sums.failed != 0 ? 1 : 0;
}

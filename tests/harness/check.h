/// @file check.h
/// The test harness: checks that print both values, suites, random numbers, child processes,
/// threads.
///
/// It needs nothing but the C library, so that the same tests run wherever the library does. Child
/// processes and threads exist only where the platform has them; a test that asks for them
/// elsewhere is skipped.
///
///     static void reset_keeps_newest_block(void) {
///         fa_arena *arena = make_arena();
///         REQUIRE_NOT_NULL(arena);
///         CHECK_EQ(fa_arena_alloc(arena, 16), first);
///     }
///
///     TEST_SUITE(arena, TEST(reset_keeps_newest_block), TEST(rewind_refuses_a_stale_mark));
///
/// One file, tests/test_<concept>.c, is one suite, and its name stands in tests/suites.def as
/// SUITE(arena). A test is a claim: it fails when a check in it fails, and also when it made no
/// check at all.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__MINGW32__) && !defined(__clang__)
#define CHECK_PRINTF(text, first) __attribute__((format(gnu_printf, text, first)))
#elif defined(__GNUC__)
#define CHECK_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define CHECK_PRINTF(text, first)
#endif

#ifdef __cplusplus
#define CHECK_NORETURN [[noreturn]]
extern "C" {
#else
#define CHECK_NORETURN _Noreturn
#endif

// ---- Suites ------------------------------------------------------------------------------------

typedef struct check_test {
    const char *name;
    void (*run)(void);
} check_test;

typedef struct check_suite {
    const char *name;
    const check_test *tests;
    size_t count;
} check_suite;

/// Names a test function inside TEST_SUITE().
// clang-format off
#define TEST(function) {#function, function}
// clang-format on

/// Defines the suite of a file, last thing in it: TEST_SUITE(arena, TEST(a), TEST(b));
#define TEST_SUITE(suite, ...)                                                                     \
    static const check_test suite##_tests[] = {__VA_ARGS__};                                       \
    CHECK_EXTERN_C const check_suite suite##_suite;                                                \
    const check_suite suite##_suite = {#suite, suite##_tests,                                      \
                                       sizeof(suite##_tests) / sizeof(suite##_tests[0])}
#ifdef __cplusplus
#define CHECK_EXTERN_C extern "C"
#else
#define CHECK_EXTERN_C extern
#endif

/// Runs suites as a program does: `check_main(argc, argv, suites, count)`; `--help` lists the
/// options. Returns the exit status: 0 all passed, 1 something failed, 2 the arguments are wrong.
int check_main(int argc, char **argv, const check_suite *const *suites, size_t count);

// ---- Checks ------------------------------------------------------------------------------------
//
// CHECK_x goes on after a failure and is an expression, true when it held: `if (!CHECK_EQ(a, b)) {
// break; }`. REQUIRE_x leaves the test (in a thread of the harness: the thread's function) after a
// failure. Leaving jumps over everything, C++ destructors included. Every argument is evaluated
// once. EQ, NE, LT, LE, GT and GE take integers of any signedness, floating point numbers, and
// object pointers, and compare by value: -1 < 1u holds.

#define CHECK(condition) check_true(__FILE__, __LINE__, #condition, (condition))
#define CHECK_EQ(a, b) CHECK_COMPARE(CHECK_OP_EQ, a, b)
#define CHECK_NE(a, b) CHECK_COMPARE(CHECK_OP_NE, a, b)
#define CHECK_LT(a, b) CHECK_COMPARE(CHECK_OP_LT, a, b)
#define CHECK_LE(a, b) CHECK_COMPARE(CHECK_OP_LE, a, b)
#define CHECK_GT(a, b) CHECK_COMPARE(CHECK_OP_GT, a, b)
#define CHECK_GE(a, b) CHECK_COMPARE(CHECK_OP_GE, a, b)
#define CHECK_NULL(a) check_null(__FILE__, __LINE__, #a, (uintptr_t)(a), true)
#define CHECK_NOT_NULL(a) check_null(__FILE__, __LINE__, #a, (uintptr_t)(a), false)
/// Strings are equal; NULL equals only NULL.
#define CHECK_STR_EQ(a, b) check_strings(__FILE__, __LINE__, #a, #b, (a), (b), true)
/// The first string contains the second.
#define CHECK_STR_HAS(a, b) check_strings(__FILE__, __LINE__, #a, #b, (a), (b), false)
/// `size` bytes are equal; a failure shows the first place that differs.
#define CHECK_MEM_EQ(a, b, size) check_memory(__FILE__, __LINE__, #a, #b, (a), (b), (size))
/// Counts a failure with a text in the manner of printf.
#define FAIL(...) check_fail(__FILE__, __LINE__, __VA_ARGS__)

#define REQUIRE(condition) CHECK_OR_LEAVE(CHECK(condition))
#define REQUIRE_EQ(a, b) CHECK_OR_LEAVE(CHECK_EQ(a, b))
#define REQUIRE_NE(a, b) CHECK_OR_LEAVE(CHECK_NE(a, b))
#define REQUIRE_LT(a, b) CHECK_OR_LEAVE(CHECK_LT(a, b))
#define REQUIRE_LE(a, b) CHECK_OR_LEAVE(CHECK_LE(a, b))
#define REQUIRE_GT(a, b) CHECK_OR_LEAVE(CHECK_GT(a, b))
#define REQUIRE_GE(a, b) CHECK_OR_LEAVE(CHECK_GE(a, b))
#define REQUIRE_NULL(a) CHECK_OR_LEAVE(CHECK_NULL(a))
#define REQUIRE_NOT_NULL(a) CHECK_OR_LEAVE(CHECK_NOT_NULL(a))
#define REQUIRE_STR_EQ(a, b) CHECK_OR_LEAVE(CHECK_STR_EQ(a, b))
#define REQUIRE_MEM_EQ(a, b, size) CHECK_OR_LEAVE(CHECK_MEM_EQ(a, b, size))

/// Ends the test as skipped: SKIP("no child processes here").
#define SKIP(why) check_skip(why)

/// Remembers a text that is printed with this thread's failures until the next note or the end of
/// the test: the step of a random test, the case of a table. "" forgets it.
void check_note(const char *format, ...) CHECK_PRINTF(1, 2);

// ---- Random numbers and the size of long tests -------------------------------------------------

/// The seed of this run: FA_TEST_SEED when it is set, otherwise from the clock. It is printed at
/// the start and with every failure, and is the same for every test whatever else runs.
uint64_t check_seed(void);

/// A small generator of good quality for tests; the same seed gives the same numbers on every
/// platform.
typedef struct check_rng {
    uint64_t state;
} check_rng;

check_rng check_rng_make(uint64_t seed);
uint64_t check_rng_next(check_rng *rng);
/// A number from 0 to bound - 1; `bound` is above 0, and bound - 1 fits into a size_t.
size_t check_rng_below(check_rng *rng, uint64_t bound);
/// A number from `low` to `high`, both included.
size_t check_rng_between(check_rng *rng, size_t low, size_t high);
/// A size from 0 to `max` whose number of bits is even likely: mostly small, now and then large.
size_t check_rng_size(check_rng *rng, size_t max);
/// True `percent` times in 100.
bool check_rng_chance(check_rng *rng, unsigned percent);

/// `count` steps scaled to this run, at least 1: by FA_TEST_SCALE (1 = all of it, 0.1 = a tenth)
/// where it is set, otherwise by a tenth under a sanitizer and by 1 elsewhere.
size_t check_scale(size_t count);

// ---- Child processes ---------------------------------------------------------------------------

/// How a child process ended and what it wrote.
typedef struct check_child {
    bool exited;    ///< It ended by itself, with `status`.
    int status;     ///< Its exit status when it exited: 0 when every check in it held, 1 when not.
    int signal;     ///< The signal that ended it, or 0.
    bool timed_out; ///< It ran for over a minute and was killed.
    size_t text_bytes; ///< Bytes of `text`, without the terminator.
    char text[8192];   ///< What it wrote to its output and its error output, the first part of it.
} check_child;

/// Whether check_child_run() works here.
bool check_child_supported(void);

/// Runs `run(arg)` in a copy of this process, waits for it, and fills `out`. Checks in the child
/// count for its exit status only: look at `out`. Skips the test where there are no such processes.
void check_child_run(void (*run)(void *arg), void *arg, check_child *out);

/// True when the child was ended by a signal or with a status other than 0.
bool check_child_died(const check_child *child);

/// Checks that `run(arg)` ends a process of its own, and that `text` is part of what it writes.
#define CHECK_DIES(run, arg, text) check_dies(__FILE__, __LINE__, #run, (run), (arg), (text))

// ---- Threads -----------------------------------------------------------------------------------

typedef struct check_thread check_thread;
typedef struct check_barrier check_barrier;

/// Whether check_thread_start() works here.
bool check_thread_supported(void);

/// Starts a thread that runs `run(arg)`. Skips the test where there are no threads, ends it as
/// failed when no thread could be made; never returns NULL.
check_thread *check_thread_start(void (*run)(void *arg), void *arg);

/// Waits for the thread's end and frees it.
void check_thread_join(check_thread *thread);

/// Starts `count` threads that run `run(&args[i * arg_size])`, lets them all begin at the same
/// moment, and waits for all. `arg_size` 0 gives all of them `args` itself.
void check_threads_run(size_t count, void (*run)(void *arg), void *args, size_t arg_size);

/// A meeting point for `count` threads that can be used again and again.
check_barrier *check_barrier_create(size_t count);
void check_barrier_destroy(check_barrier *barrier);
/// Waits until all threads of the barrier wait here.
void check_barrier_wait(check_barrier *barrier);

/// Gives the rest of the thread's time slice to others.
void check_thread_yield(void);

/// Runs `run(arg)`; REQUIRE and SKIP in it return from it instead of leaving the test. False when
/// it was left.
bool check_run_guarded(void (*run)(void *arg), void *arg);

// ---- What the macros call ----------------------------------------------------------------------

typedef enum check_op {
    CHECK_OP_EQ,
    CHECK_OP_NE,
    CHECK_OP_LT,
    CHECK_OP_LE,
    CHECK_OP_GT,
    CHECK_OP_GE
} check_op;

typedef enum check_kind {
    CHECK_IS_SIGNED,
    CHECK_IS_UNSIGNED,
    CHECK_IS_REAL,
    CHECK_IS_POINTER
} check_kind;

/// One side of a comparison. A signed number is kept as its two's complement in `bits`.
typedef struct check_value {
    check_kind kind;
    uint64_t bits;
    double real;
} check_value;

check_value check_value_signed(int64_t value);
check_value check_value_unsigned(uint64_t value);
check_value check_value_float(float value);
check_value check_value_double(double value);
check_value check_value_address(uintptr_t value);

bool check_true(const char *file, int line, const char *text, bool held);
bool check_compare(const char *file, int line, check_op op, const char *a_text, const char *b_text,
                   check_value a, check_value b);
bool check_null(const char *file, int line, const char *text, uintptr_t address, bool want_null);
bool check_strings(const char *file, int line, const char *a_text, const char *b_text,
                   const char *a, const char *b, bool whole);
bool check_memory(const char *file, int line, const char *a_text, const char *b_text, const void *a,
                  const void *b, size_t size);
bool check_dies(const char *file, int line, const char *name, void (*run)(void *arg), void *arg,
                const char *text);
bool check_fail(const char *file, int line, const char *format, ...) CHECK_PRINTF(3, 4);
CHECK_NORETURN void check_skip(const char *why);
CHECK_NORETURN void check_leave(void);

#ifdef __cplusplus
}
#endif

#define CHECK_COMPARE(op, a, b)                                                                    \
    check_compare(__FILE__, __LINE__, op, #a, #b, CHECK_VALUE(a), CHECK_VALUE(b))
#define CHECK_OR_LEAVE(check)                                                                      \
    do {                                                                                           \
        if (!(check)) {                                                                            \
            check_leave();                                                                         \
        }                                                                                          \
    } while (0)

#ifdef __cplusplus
#define CHECK_VALUE(a) check_value_of(a)
#define CHECK_VALUE_OF(type, make)                                                                 \
    static inline check_value check_value_of(type value) {                                         \
        return make(value);                                                                        \
    }
CHECK_VALUE_OF(bool, check_value_unsigned)
CHECK_VALUE_OF(char, check_value_signed)
CHECK_VALUE_OF(signed char, check_value_signed)
CHECK_VALUE_OF(short, check_value_signed)
CHECK_VALUE_OF(int, check_value_signed)
CHECK_VALUE_OF(long, check_value_signed)
CHECK_VALUE_OF(long long, check_value_signed)
CHECK_VALUE_OF(unsigned char, check_value_unsigned)
CHECK_VALUE_OF(unsigned short, check_value_unsigned)
CHECK_VALUE_OF(unsigned, check_value_unsigned)
CHECK_VALUE_OF(unsigned long, check_value_unsigned)
CHECK_VALUE_OF(unsigned long long, check_value_unsigned)
CHECK_VALUE_OF(float, check_value_float)
CHECK_VALUE_OF(double, check_value_double)
#undef CHECK_VALUE_OF
static inline check_value check_value_of(const volatile void *value) {
    return check_value_address((uintptr_t)value);
}
#else
// Pointers are passed on as numbers: gcc takes a pointer to something constant for one that is read
// through, and warns when what it points to has no value yet.
// clang-format off
#define CHECK_VALUE(a)                                                                             \
    _Generic((a),                                                                                  \
        bool: check_value_unsigned, char: check_value_signed, signed char: check_value_signed,     \
        short: check_value_signed, int: check_value_signed, long: check_value_signed,              \
        long long: check_value_signed, unsigned char: check_value_unsigned,                        \
        unsigned short: check_value_unsigned, unsigned: check_value_unsigned,                      \
        unsigned long: check_value_unsigned, unsigned long long: check_value_unsigned,             \
        float: check_value_float, double: check_value_double,                                      \
        default: check_value_address)                                                              \
    (_Generic((a),                                                                                 \
        bool: (a), char: (a), signed char: (a), short: (a), int: (a), long: (a), long long: (a),   \
        unsigned char: (a), unsigned short: (a), unsigned: (a), unsigned long: (a),                \
        unsigned long long: (a), float: (a), double: (a), default: (uintptr_t)(a)))
// clang-format on
#endif

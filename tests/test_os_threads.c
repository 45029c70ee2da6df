// The contract of src/os/os.h about the clock, threads and locks, line by line.
#if !defined(_WIN32) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE // clock_gettime() in strict C.
#endif

#include "harness/check.h"

#include "../src/os/os.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <time.h>
#endif

#if defined(__SANITIZE_THREAD__)
#define HAS_THREAD_SANITIZER 1
#elif defined(__has_feature)
#define HAS_THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define HAS_THREAD_SANITIZER 0
#endif

// ---- The clock ---------------------------------------------------------------------------------

static void the_clock_never_goes_back(void) {
    uint64_t last = fa__os_clock_ns();
    size_t steps_back = 0;
    for (size_t i = 0; i < check_scale(1000000); i++) {
        const uint64_t now = fa__os_clock_ns();
        steps_back += now < last;
        last = now;
    }
    CHECK_EQ(steps_back, 0);
}

static void the_clock_moves(void) {
    const uint64_t start = fa__os_clock_ns();
    CHECK_NE(start, 0);
    uint64_t now = start;
    for (size_t i = 0; i < 100000000 && now < start + 1000000; i++) {
        now = fa__os_clock_ns();
    }
    CHECK_GE(now, start + 1000000);
}

#if defined(__unix__) || defined(__APPLE__)

static uint64_t system_clock_ns(void) {
    struct timespec now;
    REQUIRE_EQ(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void the_clock_counts_nanoseconds(void) {
    for (size_t i = 0; i < 1000; i++) {
        const uint64_t before = system_clock_ns();
        const uint64_t now = fa__os_clock_ns();
        CHECK_LE(before, now);
        CHECK_LE(now, system_clock_ns());
    }
}

#define POSIX_TESTS TEST(the_clock_counts_nanoseconds), TEST(a_later_destructor_may_ask_again),

#else
#define POSIX_TESTS
#endif

// ---- Threads -----------------------------------------------------------------------------------

enum { THREADS = 16 };

typedef struct thread_ids {
    uint64_t first;
    uint64_t second;
    check_barrier *all_alive;
} thread_ids;

static void note_thread_id(void *arg) {
    thread_ids *ids = arg;
    ids->first = fa__os_thread_id();
    check_barrier_wait(ids->all_alive); // Nobody ends before everybody has a number.
    ids->second = fa__os_thread_id();
    check_barrier_wait(ids->all_alive);
}

static void living_threads_have_different_numbers(void) {
    thread_ids ids[THREADS] = {0};
    check_barrier *all_alive = check_barrier_create(THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        ids[i].all_alive = all_alive;
    }
    check_threads_run(THREADS, note_thread_id, ids, sizeof(ids[0]));
    check_barrier_destroy(all_alive);
    const uint64_t own = fa__os_thread_id();
    CHECK_NE(own, 0);
    CHECK_EQ(fa__os_thread_id(), own);
    for (size_t i = 0; i < THREADS; i++) {
        CHECK_NE(ids[i].first, 0);
        CHECK_EQ(ids[i].first, ids[i].second);
        CHECK_NE(ids[i].first, own);
        for (size_t other = 0; other < i; other++) {
            CHECK_NE(ids[i].first, ids[other].first);
        }
    }
}

// What a thread's exit function has seen. One function serves the process, so one record does.
static struct exit_record {
    atomic_int calls;
    atomic_int ask_again;    // Times the function asks for another call.
    _Atomic uint64_t thread; // On which it was called last.
} exits;

static void at_exit_of_thread(void) {
    atomic_fetch_add(&exits.calls, 1);
    atomic_store(&exits.thread, fa__os_thread_id());
    if (atomic_load(&exits.ask_again) > 0) {
        atomic_fetch_sub(&exits.ask_again, 1);
        CHECK(fa__os_at_thread_exit(at_exit_of_thread));
    }
}

static void start_exit_record(int ask_again) {
    atomic_store(&exits.calls, 0);
    atomic_store(&exits.thread, 0);
    atomic_store(&exits.ask_again, ask_again);
}

typedef struct asking_thread {
    int times;
    uint64_t id;
    int calls_before_exit;
} asking_thread;

static void ask_and_exit(void *arg) {
    asking_thread *asking = arg;
    for (int i = 0; i < asking->times; i++) {
        CHECK(fa__os_at_thread_exit(at_exit_of_thread));
    }
    asking->id = fa__os_thread_id();
    asking->calls_before_exit = atomic_load(&exits.calls);
}

static void run_asking_thread(asking_thread *asking) {
    check_thread_join(check_thread_start(ask_and_exit, asking));
}

static void a_thread_that_asks_is_told_once_at_its_exit(void) {
    for (int times = 1; times <= 3; times++) {
        asking_thread asking = {.times = times};
        start_exit_record(0);
        run_asking_thread(&asking);
        CHECK_EQ(asking.calls_before_exit, 0);
        CHECK_EQ(atomic_load(&exits.calls), 1);
        CHECK_EQ(atomic_load(&exits.thread), asking.id);
    }
}

static void a_thread_that_does_not_ask_is_not_told(void) {
    asking_thread asking = {.times = 0};
    start_exit_record(0);
    run_asking_thread(&asking);
    CHECK_EQ(atomic_load(&exits.calls), 0);
}

static void asking_from_inside_is_told_again(void) {
    for (int again = 1; again <= 2; again++) {
        asking_thread asking = {.times = 1};
        start_exit_record(again);
        run_asking_thread(&asking);
        CHECK_EQ(atomic_load(&exits.calls), 1 + again);
        CHECK_EQ(atomic_load(&exits.thread), asking.id);
    }
}

static void asking_for_ever_does_not_keep_a_thread_alive(void) {
    if (HAS_THREAD_SANITIZER) {
        SKIP("the thread sanitizer takes itself down in the last round of destructors");
    }
    asking_thread asking = {.times = 1};
    start_exit_record(1000000);
    run_asking_thread(&asking);
    CHECK_GE(atomic_load(&exits.calls), 2);
    CHECK_LT(atomic_load(&exits.calls), 1000);
}

static void ask_quietly(void *arg) {
    asking_thread *asking = arg;
    asking->calls_before_exit = fa__os_at_thread_exit(at_exit_of_thread) ? 0 : -1;
}

static void every_thread_is_told(void) {
    asking_thread asking[THREADS] = {0};
    start_exit_record(0);
    check_threads_run(THREADS, ask_quietly, asking, sizeof(asking[0]));
    CHECK_EQ(atomic_load(&exits.calls), THREADS);
}

static void tell_on_error_output(void) {
    fputs("told", stderr);
    fflush(stderr);
}

static void ask_and_end_process(void *unused) {
    (void)unused;
    if (fa__os_at_thread_exit(tell_on_error_output)) {
        fputs("asked", stderr);
    }
    exit(0);
}

static void the_end_of_the_process_tells_nobody(void) {
    static check_child child;
    check_child_run(ask_and_end_process, NULL, &child);
    CHECK(child.exited);
    CHECK_STR_EQ(child.text, "asked");
}

#if defined(__unix__) || defined(__APPLE__)

static pthread_key_t late_key;
static atomic_int late_rounds;

// A destructor of another library: it uses ours in its second round, after our function has run.
static void late_destructor(void *value) {
    if (atomic_fetch_add(&late_rounds, 1) == 0) {
        CHECK_EQ(pthread_setspecific(late_key, value), 0);
        return;
    }
    CHECK_EQ(atomic_load(&exits.calls), 1);
    CHECK(fa__os_at_thread_exit(at_exit_of_thread));
}

static void ask_with_a_late_destructor(void *arg) {
    CHECK_EQ(pthread_setspecific(late_key, arg), 0);
    CHECK(fa__os_at_thread_exit(at_exit_of_thread));
}

static void a_later_destructor_may_ask_again(void) {
    REQUIRE_EQ(pthread_key_create(&late_key, late_destructor), 0);
    start_exit_record(0);
    atomic_store(&late_rounds, 0);
    check_thread_join(check_thread_start(ask_with_a_late_destructor, &exits));
    CHECK_EQ(atomic_load(&late_rounds), 2);
    CHECK_EQ(atomic_load(&exits.calls), 2);
    pthread_key_delete(late_key);
}

#endif

// ---- Locks -------------------------------------------------------------------------------------

typedef struct shared_count {
    fa__mutex mutex;
    size_t value; // Not atomic: only the lock protects it.
    size_t copy;
} shared_count;

static shared_count counted;

static void count_under_mutex(void *arg) {
    shared_count *shared = arg;
    for (size_t i = 0; i < check_scale(20000); i++) {
        fa__os_mutex_lock(&shared->mutex);
        const size_t value = shared->value;
        if (i % 64 == 0) {
            check_thread_yield();
        }
        shared->value = value + 1;
        shared->copy++;
        fa__os_mutex_unlock(&shared->mutex);
    }
}

static void count_under_global_lock(void *arg) {
    shared_count *shared = arg;
    for (size_t i = 0; i < check_scale(20000); i++) {
        fa__os_global_lock();
        const size_t value = shared->value;
        if (i % 64 == 0) {
            check_thread_yield();
        }
        shared->value = value + 1;
        shared->copy++;
        fa__os_global_unlock();
    }
}

static void a_mutex_lets_one_thread_in(void) {
    counted = (shared_count){0};
    REQUIRE(fa__os_mutex_init(&counted.mutex));
    check_threads_run(8, count_under_mutex, &counted, 0);
    CHECK_EQ(counted.value, 8 * check_scale(20000));
    CHECK_EQ(counted.copy, counted.value);
    fa__os_mutex_destroy(&counted.mutex);
}

static void the_global_lock_lets_one_thread_in(void) {
    counted = (shared_count){0};
    check_threads_run(8, count_under_global_lock, &counted, 0);
    CHECK_EQ(counted.value, 8 * check_scale(20000));
    CHECK_EQ(counted.copy, counted.value);
}

static void mutexes_are_independent_and_can_be_made_again(void) {
    fa__mutex first;
    fa__mutex second;
    for (int i = 0; i < 100; i++) {
        memset(&first, i, sizeof(first)); // What was there before does not matter.
        memset(&second, i, sizeof(second));
        REQUIRE(fa__os_mutex_init(&first));
        REQUIRE(fa__os_mutex_init(&second));
        fa__os_mutex_lock(&first);
        fa__os_mutex_lock(&second); // Would hang were they one.
        fa__os_global_lock();
        fa__os_global_unlock();
        fa__os_mutex_unlock(&first);
        fa__os_mutex_unlock(&second);
        fa__os_mutex_destroy(&first);
        fa__os_mutex_destroy(&second);
    }
    CHECK_GE(sizeof(first), sizeof(void *));
}

// The numbers of threads come first: the first number given must not be 0 either.
TEST_SUITE(os_threads, TEST(living_threads_have_different_numbers), TEST(the_clock_never_goes_back),
           TEST(the_clock_moves), POSIX_TESTS TEST(a_thread_that_asks_is_told_once_at_its_exit),
           TEST(a_thread_that_does_not_ask_is_not_told), TEST(asking_from_inside_is_told_again),
           TEST(asking_for_ever_does_not_keep_a_thread_alive), TEST(every_thread_is_told),
           TEST(the_end_of_the_process_tells_nobody), TEST(a_mutex_lets_one_thread_in),
           TEST(the_global_lock_lets_one_thread_in),
           TEST(mutexes_are_independent_and_can_be_made_again));

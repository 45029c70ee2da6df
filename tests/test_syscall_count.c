// Counting system calls and page faults: exactly those between the marks, by whichever thread, and
// nothing else.
#if defined(__linux__)
#define _GNU_SOURCE 1 // -std=c17 hides syscall() otherwise.
#endif

#include "harness/check.h"

#if defined(FA_HAVE_COMMON) && defined(__linux__)

#include <common/child.h>
#include <common/clock.h>
#include <common/syscall_count.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 64 };

static void call(int times) {
    for (int i = 0; i < times; i++) {
        (void)syscall(SYS_getppid);
    }
}

// Runs `fn` and leaves the test when calls cannot be counted here.
static void count(int (*fn)(void *arg), void *arg, syscall_count *out) {
    bool ok = syscall_count_run(fn, arg, out);
    REQUIRE(out->started);
    CHECK_EQ(ok, out->counted && out->exit_code >= 0);
    if (!out->counted) {
        CHECK_NE(out->reason[0], '\0');
        SKIP(out->reason);
    }
}

static int calls_around_marks(void *arg) {
    (void)arg;
    call(5);
    syscall_count_begin(0);
    syscall_count_end(0);
    call(5);
    syscall_count_begin(1);
    call(7);
    (void)syscall(SYS_getuid);
    syscall_count_end(1);
    call(5);
    syscall_count_begin(3);
    call(2);
    syscall_count_end(3);
    return 0;
}

static void counts_exactly_what_lies_between_the_marks(void) {
    static syscall_count counts;
    count(calls_around_marks, NULL, &counts);
    CHECK_EQ(counts.regions[0].calls, 0);
    CHECK_EQ(counts.regions[0].minor_faults, 0);
    CHECK_EQ(counts.regions[1].calls, 8);
    CHECK_EQ(counts.regions[1].by_number[SYS_getppid], 7);
    CHECK_EQ(counts.regions[1].by_number[SYS_getuid], 1);
    CHECK_EQ(counts.regions[2].calls, 0);
    CHECK_EQ(counts.regions[2].entered, 0);
    CHECK_EQ(counts.regions[3].calls, 2);
    CHECK_EQ(counts.regions[3].entered, 1);
}

static int calls_in_pairs(void *arg) {
    for (int i = 0; i < 10; i++) {
        syscall_count_begin(2);
        call(*(int *)arg);
        syscall_count_end(2);
        call(1);
    }
    return 0;
}

static void adds_up_the_pairs_of_a_region(void) {
    static syscall_count counts;
    int times = 3;
    count(calls_in_pairs, &times, &counts);
    CHECK_EQ(counts.regions[2].calls, 30);
    CHECK_EQ(counts.regions[2].entered, 10);
}

static void *thread_main(void *arg) {
    call(11);
    return arg;
}

static int calls_in_a_thread(void *arg) {
    (void)arg;
    pthread_t thread;
    syscall_count_begin(0);
    int failed = pthread_create(&thread, NULL, thread_main, NULL);
    if (failed == 0) {
        pthread_join(thread, NULL);
    }
    syscall_count_end(0);
    return failed;
}

static void counts_the_calls_of_every_thread(void) {
    static syscall_count counts;
    count(calls_in_a_thread, NULL, &counts);
    CHECK_EQ(counts.exit_code, 0);
    CHECK_EQ(counts.regions[0].by_number[SYS_getppid], 11);
    CHECK_GT(counts.regions[0].calls, 11);
}

static void touch(volatile unsigned char *bytes) {
    for (int i = 0; i < PAGES; i++) {
        bytes[i * PAGE] = 1;
    }
}

static int faults_around_marks(void *arg) {
    (void)arg;
    int access = PROT_READ | PROT_WRITE;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    unsigned char *bytes = mmap(NULL, (size_t)4 * PAGES * PAGE, access, flags, -1, 0);
    if (bytes == MAP_FAILED) {
        return 1;
    }
    (void)madvise(bytes, (size_t)4 * PAGES * PAGE, MADV_NOHUGEPAGE);
    touch(bytes);
    syscall_count_begin(0);
    touch(bytes);
    syscall_count_end(0);
    syscall_count_begin(1);
    touch(bytes + (ptrdiff_t)PAGES * PAGE);
    syscall_count_end(1);
    touch(bytes + (ptrdiff_t)2 * PAGES * PAGE);
    syscall_count_begin(2);
    touch(bytes + (ptrdiff_t)3 * PAGES * PAGE);
    syscall_count_end(2);
    return 0;
}

// Faults are known even where calls are not. A sanitizer may touch pages of its own beside each of
// ours.
static void counts_page_faults_between_the_marks(void) {
    static syscall_count counts;
    (void)syscall_count_run(faults_around_marks, NULL, &counts);
    REQUIRE_EQ(counts.exit_code, 0);
    CHECK_LT(counts.regions[0].minor_faults, 4);
    CHECK_GE(counts.regions[1].minor_faults, PAGES);
    CHECK_LT(counts.regions[1].minor_faults, counts.regions[2].minor_faults + PAGES / 2);
    CHECK_EQ(counts.regions[1].calls, 0);
}

static int returns_a_number(void *arg) {
    return *(int *)arg;
}

static int kills_itself(void *arg) {
    (void)arg;
    syscall_count_begin(0);
    call(4);
    (void)signal(SIGTERM, SIG_DFL);
    (void)raise(SIGTERM);
    return 0;
}

static void says_how_the_child_ended(void) {
    static syscall_count counts;
    int number = 42;
    (void)syscall_count_run(returns_a_number, &number, &counts);
    CHECK_EQ(counts.exit_code, 42);
    CHECK_EQ(counts.signal, 0);
    CHECK(!syscall_count_run(kills_itself, NULL, &counts));
    CHECK_EQ(counts.exit_code, -1);
    CHECK_EQ(counts.signal, SIGTERM);
}

static int marks_that_are_no_regions(void *arg) {
    (void)arg;
    syscall_count_begin(0);
    syscall_count_begin(1000000);
    call(1);
    syscall_count_end(1000000);
    call(1);
    syscall_count_end(0);
    return 0;
}

static void marks_that_mean_nothing_do_nothing(void) {
    syscall_count_begin(0);
    syscall_count_end(0);
    static syscall_count counts;
    count(marks_that_are_no_regions, NULL, &counts);
    CHECK_EQ(counts.regions[0].calls, 2);
    CHECK_EQ(counts.regions[0].entered, 1);
}

static void describes_what_was_called(void) {
    static syscall_region region;
    char text[64];
    syscall_describe(&region, text, sizeof text);
    CHECK_STR_EQ(text, "none");
    region.by_number[SYS_munmap] = 2;
    region.by_number[SYS_mremap] = 5;
    region.by_number[SYSCALL_NUMBERS - 1] = 1;
    syscall_describe(&region, text, sizeof text);
    CHECK_STR_EQ(text, "5 mremap, 2 munmap, 1 number 511");
    char shorter[12];
    syscall_describe(&region, shorter, sizeof shorter);
    CHECK_EQ(strlen(shorter), 11);
}

// ---- child.h, on which the measurements stand ----

static int writes_to_shared_memory(void *arg) {
    *(int *)arg = 5;
    return 3;
}

static void a_child_shares_only_what_is_shared(void) {
    int *shared = child_shared_alloc(sizeof *shared);
    REQUIRE_NOT_NULL(shared);
    CHECK_EQ(*shared, 0);
    int own = 0;
    child_end end = child_run(writes_to_shared_memory, shared, NULL, NULL);
    CHECK(end.started);
    CHECK_EQ(end.exit_code, 3);
    CHECK_EQ(*shared, 5);
    end = child_run(writes_to_shared_memory, &own, NULL, NULL);
    CHECK_EQ(end.exit_code, 3);
    CHECK_EQ(own, 0);
    end = child_run(kills_itself, NULL, NULL, NULL);
    CHECK_EQ(end.exit_code, -1);
    CHECK_EQ(end.signal, SIGTERM);
    child_shared_free(shared, sizeof *shared);
}

static void count_tick(void *user) {
    ++*(int *)user;
}

static int sleeps(void *arg) {
    uint64_t until = clock_ns() + UINT64_C(100000000);
    while (clock_ns() < until) {
        (void)usleep(1000);
    }
    (void)arg;
    return 0;
}

static void the_parent_is_called_while_a_child_runs(void) {
    int ticks = 0;
    child_end end = child_run(sleeps, NULL, count_tick, &ticks);
    CHECK_EQ(end.exit_code, 0);
    CHECK_GE(ticks, 1);
}

TEST_SUITE(syscall_count, TEST(counts_exactly_what_lies_between_the_marks),
           TEST(adds_up_the_pairs_of_a_region), TEST(counts_the_calls_of_every_thread),
           TEST(counts_page_faults_between_the_marks), TEST(says_how_the_child_ended),
           TEST(marks_that_mean_nothing_do_nothing), TEST(describes_what_was_called),
           TEST(a_child_shares_only_what_is_shared), TEST(the_parent_is_called_while_a_child_runs));

#else

static void needs_linux(void) {
    SKIP("system calls are counted on Linux only");
}

TEST_SUITE(syscall_count, TEST(needs_linux));

#endif

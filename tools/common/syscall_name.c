// Names for the system calls a quiet program should not make. Not all of them exist on every
// processor.

#include "syscall_count.h"

#include <stdio.h>
#include <string.h>

#if defined(__linux__)

#include <sys/syscall.h>

typedef struct name_entry {
    long number;
    const char *name;
} name_entry;

static const name_entry names[] = {
#ifdef SYS_brk
    {SYS_brk, "brk"},
#endif
#ifdef SYS_mmap
    {SYS_mmap, "mmap"},
#endif
#ifdef SYS_mmap2
    {SYS_mmap2, "mmap2"},
#endif
    {SYS_munmap, "munmap"},
    {SYS_mremap, "mremap"},
    {SYS_mprotect, "mprotect"},
    {SYS_madvise, "madvise"},
#ifdef SYS_futex
    {SYS_futex, "futex"},
#endif
#ifdef SYS_clock_gettime
    {SYS_clock_gettime, "clock_gettime"},
#endif
#ifdef SYS_gettimeofday
    {SYS_gettimeofday, "gettimeofday"},
#endif
    {SYS_read, "read"},
    {SYS_write, "write"},
    {SYS_openat, "openat"},
    {SYS_close, "close"},
    {SYS_getpid, "getpid"},
    {SYS_gettid, "gettid"},
    {SYS_getrandom, "getrandom"},
    {SYS_rt_sigprocmask, "rt_sigprocmask"},
    {SYS_sched_yield, "sched_yield"},
#ifdef SYS_nanosleep
    {SYS_nanosleep, "nanosleep"},
#endif
#ifdef SYS_clone
    {SYS_clone, "clone"},
#endif
#ifdef SYS_clone3
    {SYS_clone3, "clone3"},
#endif
};

const char *syscall_name(unsigned number) {
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].number == (long)number) {
            return names[i].name;
        }
    }
    return NULL;
}

#else

const char *syscall_name(unsigned number) {
    (void)number;
    return NULL;
}

#endif

// The most frequent number below `bound` occurrences (equal ones in order of number), or
// SYSCALL_NUMBERS.
static unsigned next_frequent(const syscall_region *region, const bool *done) {
    unsigned best = SYSCALL_NUMBERS;
    for (unsigned i = 0; i < SYSCALL_NUMBERS; i++) {
        bool is_more = best == SYSCALL_NUMBERS || region->by_number[i] > region->by_number[best];
        if (region->by_number[i] > 0 && !done[i] && is_more) {
            best = i;
        }
    }
    return best;
}

void syscall_describe(const syscall_region *region, char *buffer, size_t size) {
    bool done[SYSCALL_NUMBERS] = {false};
    size_t used = 0;
    snprintf(buffer, size, "none");
    for (;;) {
        unsigned number = next_frequent(region, done);
        if (number == SYSCALL_NUMBERS) {
            return;
        }
        done[number] = true;
        char name[32];
        snprintf(name, sizeof name, "number %u", number);
        const char *known = syscall_name(number);
        int length = snprintf(buffer + used, size - used, "%s%u %s", used > 0 ? ", " : "",
                              (unsigned)region->by_number[number], known != NULL ? known : name);
        if (length < 0 || (size_t)length >= size - used) {
            return;
        }
        used += (size_t)length;
    }
}

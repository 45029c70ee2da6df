/// @file syscall_count.h
/// Counts system calls and page faults between two marks.
///
///     static int work(void *arg) {
///         warm_up();
///         syscall_count_begin(0);
///         quiet_part();
///         syscall_count_end(0);
///         return 0;
///     }
///
///     syscall_count counts;
///     syscall_count_run(work, NULL, &counts);
///     // counts.regions[0].calls
///
/// The function runs in a child process that this process traces (Linux, ptrace). Page faults come
/// from the kernel's own count and are there even where tracing is not permitted.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// How many regions can be told apart, and how many system call numbers.
enum { SYSCALL_REGIONS = 4, SYSCALL_NUMBERS = 512 };

/// What happened in a region, summed over all its begin-end pairs.
typedef struct syscall_region {
    uint64_t entered;      ///< How often it was begun.
    uint64_t calls;        ///< System calls, by any thread of the child.
    uint64_t minor_faults; ///< Page faults that needed no reading from disk: first touches.
    uint64_t major_faults; ///< Page faults that did.
    uint32_t by_number
        [SYSCALL_NUMBERS]; ///< `calls` by number; numbers beyond the last are counted as the last.
} syscall_region;

/// What syscall_count_run() found.
typedef struct syscall_count {
    bool counted;    ///< False where tracing is not possible: all `calls` are then 0.
    char reason[96]; ///< Why not.
    bool started;    ///< False when no child could be made.
    int exit_code;   ///< What the function returned, 0 to 255; -1: it did not return.
    int signal;      ///< The signal that ended it; 0: none.
    syscall_region regions[SYSCALL_REGIONS]; ///< By region number.
} syscall_count;

/// Runs `fn(arg)` in a child process and fills `*out`. True when the function ran and the calls
/// were counted. The child leaves by _exit(). The caller must not have several threads. What else
/// `fn` finds out travels in memory of child_shared_alloc().
bool syscall_count_run(int (*fn)(void *arg), void *arg, syscall_count *out);

/// Marks the beginning and end of region 0 to SYSCALL_REGIONS - 1. Regions do not nest. Outside a
/// function run by syscall_count_run() they do nothing. The marks themselves are not counted.
void syscall_count_begin(unsigned region);
void syscall_count_end(unsigned region);

/// The name of a system call that has to do with memory, time, files or threads, or NULL.
const char *syscall_name(unsigned number);

/// Writes "3 mmap, 2 munmap" into `buffer`, the most frequent first, as much as fits; "none" when
/// there was none.
void syscall_describe(const syscall_region *region, char *buffer, size_t size);

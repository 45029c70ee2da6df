/// @file child.h
/// Work done in a child process: its memory, its crash and its counters are its own.
#pragma once

#include <stdbool.h>
#include <stddef.h>

/// How a child ended.
typedef struct child_end {
    bool started;  ///< False when no child could be made.
    int exit_code; ///< What the function returned, 0 to 255; -1 when a signal ended it.
    int signal;    ///< The signal that ended it; 0: none.
} child_end;

/// Called about every 20 ms while a child runs.
typedef void (*child_tick_fn)(void *user);

/// Runs `fn(arg)` in a forked child and waits for its end. The child leaves without running the
/// parent's exit handlers. With `tick` NULL the parent sleeps until then. What `fn` finds out
/// travels in child_shared_alloc() memory.
child_end child_run(int (*fn)(void *arg), void *arg, child_tick_fn tick, void *user);

/// Zeroed memory that a parent and the children it makes afterwards both see, already resident.
/// NULL without memory.
void *child_shared_alloc(size_t size);

/// NULL is allowed; `size` is what was asked for.
void child_shared_free(void *memory, size_t size);

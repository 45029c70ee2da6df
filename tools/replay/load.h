/// @file load.h
/// From a trace file to a plan, without leaving a mark on this process.
///
/// The file is read and planned in a child process, and the plan comes back in shared memory. So
/// the processes that are measured later inherit a heap in which nothing was ever allocated or
/// freed for the trace (glibc for one changes its ways after a large free), and a hostile file can
/// hurt only the child.
#pragma once

#include "../common/progress.h"
#include "plan.h"

/// A plan in shared, read-only memory.
typedef struct loaded_plan {
    plan plan;        ///< Valid until plan_unload().
    void *memory;     ///< Private.
    size_t size;      ///< Private.
    uint64_t load_ns; ///< How long reading, checking and planning took.
} loaded_plan;

/// Reads `path`. False when it cannot be replayed: `error` then says why, beginning with the file
/// and the line ("data/x.fatrace:12: ...").
bool plan_load(const char *path, const trace_limits *limits, frame_range range, progress *bar,
               loaded_plan *out, char *error, size_t error_size);

/// Gives the memory back. A plan that was never loaded is ignored.
void plan_unload(loaded_plan *loaded);

/// @file phase.h
/// Named stretches of a frame, with the bytes and the time they took.
///
///     fa_phase_begin(ctx, "broad phase");
///     ...
///     fa_phase_stats spent;
///     fa_phase_end(ctx, &spent);
#pragma once

#include "base.h"

FA_BEGIN_DECLS

/// Most phases open at once per thread, and most names per thread.
#define FA_PHASE_DEPTH_MAX 16
#define FA_PHASE_MAX 256

/// What one phase took, and what all of that name have taken.
typedef struct fa_phase_stats {
    const char *name;   ///< As given; valid as long as the context.
    size_t bytes;       ///< Frame and scratch bytes allocated by this run, inner phases included.
    uint64_t time_ns;   ///< Nanoseconds of this run, inner phases included.
    uint64_t count;     ///< Runs so far.
    size_t frame_bytes; ///< Bytes of all runs in the frame of this run.
    uint64_t frame_time_ns; ///< Nanoseconds of all runs in the frame of this run.
    uint64_t frame_count;   ///< Runs in the frame of this run.
    uint64_t total_bytes;   ///< Bytes of all runs.
    uint64_t total_time_ns; ///< Nanoseconds of all runs.
    size_t max_bytes;       ///< The most bytes one run took.
    uint64_t max_time_ns;   ///< The longest run, in nanoseconds.
} fa_phase_stats;

/// Begins a phase on the calling thread; phases nest. `name` is at most 31 bytes, copied on its
/// first use. FA_ERR_INVALID for a bad name, FA_ERR_LIMIT when too many are open or named. One
/// clock reading, no lock.
FA_API fa_result fa_phase_begin(fa_context *ctx, const char *name);

/// Ends the innermost phase; fills `out` when it is not NULL. FA_ERR_INVALID (FA804) when none is
/// open.
FA_API fa_result fa_phase_end(fa_context *ctx, fa_phase_stats *out);

/// The figures of a phase by name: those of the calling thread when `all_threads` is false, their
/// sums over all threads otherwise (the last run's own fields are then 0). FA_ERR_NOT_FOUND. Takes
/// a lock for all threads.
FA_API fa_result fa_phase_stats_get(fa_context *ctx, const char *name, bool all_threads,
                                    fa_phase_stats *out);

FA_END_DECLS

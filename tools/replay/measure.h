/// @file measure.h
/// Runs the passes of a replay, each in a process of its own, and collects the figures.
///
/// For each allocator: one verified pass, one counted pass (system calls, page faults), and
/// `repeat` timed passes. The timed passes of the allocators take turns, every other round
/// backwards, so that a change of the machine's speed meets all of them, and figures of one round
/// can be compared as pairs.
#pragma once

#include "../common/progress.h"
#include "../common/syscall_count.h"
#include "allocator.h"
#include "load.h"

/// The most allocators and repeats one run can have.
enum { MEASURE_ALLOCATORS_MAX = 8, MEASURE_REPEAT_MAX = 1000 };

/// Times of the frames of a part. The percentile is by nearest rank.
typedef struct frame_figures {
    uint64_t median_ns; ///< The middle one.
    uint64_t p99_ns;    ///< 99 in 100 took at most this.
    uint64_t max_ns;    ///< The slowest.
} frame_figures;

/// One timed pass.
typedef struct run_figures {
    uint64_t part_ns[PART_COUNT];    ///< Time in each part.
    uint64_t total_ns;               ///< The sum.
    frame_figures frame[PART_COUNT]; ///< The frames of each part.
    bool memory_known;               ///< False where the system does not say.
    uint64_t peak_bytes;             ///< Resident memory the replay added, at most.
    uint64_t final_bytes;   ///< Resident memory it had added at its end, nothing being freed.
    replay_account account; ///< The allocator's own figures.
} run_figures;

/// A time over all runs.
typedef struct time_figures {
    uint64_t min_ns;    ///< The fastest run.
    uint64_t median_ns; ///< The middle run.
} time_figures;

/// All about one allocator.
typedef struct allocator_figures {
    const allocator *allocator;
    bool ok;                         ///< False: a pass failed.
    char error[320];                 ///< Which and why.
    char version[32];                ///< Of the allocator; "" when it is not known.
    uint32_t run_count;              ///< Timed passes.
    run_figures *runs;               ///< Each of them.
    uint64_t *section_min_ns;        ///< For each section the fastest of all runs.
    time_figures part[PART_COUNT];   ///< Time in each part.
    time_figures total;              ///< Time of the whole replay.
    frame_figures frame[PART_COUNT]; ///< Frames of each part, each counted with its fastest run.
    uint64_t worst_ns[PART_COUNT];   ///< The slowest frame of each part in any run.
    bool memory_known;               ///< False where the system does not say.
    uint64_t peak_bytes;             ///< Middle of the runs.
    uint64_t final_bytes;            ///< Middle of the runs.
    replay_account account;          ///< Of the last run.
    syscall_count counts;            ///< Region k is part k.
} allocator_figures;

/// What to measure.
typedef struct measure_request {
    const plan *plan;
    const allocator *allocators[MEASURE_ALLOCATORS_MAX];
    uint32_t allocator_count;
    uint32_t repeat; ///< 1 to MEASURE_REPEAT_MAX.
    progress *bar;
} measure_request;

/// What came out.
typedef struct measure_result {
    allocator_figures figures[MEASURE_ALLOCATORS_MAX];
    uint32_t count;    ///< Allocators.
    uint64_t clock_ns; ///< What reading the clock costs; it is part of every frame's time.
    bool ok;           ///< Every pass of every allocator succeeded.
} measure_result;

/// Measures everything asked for. False without memory. What `out` holds is given back by
/// measure_clear().
bool measure_run(const measure_request *request, measure_result *out);

/// Frees what measure_run() allocated.
void measure_clear(measure_result *result);

/// Whether any frame belongs to a part.
bool measure_has_frames(const plan *p, plan_part part);

/// Sorts `values` and returns the one at `percent` (nearest rank); 0 when there are none.
uint64_t percentile(uint64_t *values, size_t count, unsigned percent);

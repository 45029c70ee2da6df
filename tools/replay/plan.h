/// @file plan.h
/// What a replay does, worked out from a trace beforehand, so that the timed loop only executes it.
///
/// What each block is for, and so where its memory comes from: see objects.h.
///
/// Sections. The replay runs in sections, each with one clock reading at its end:
///
///     0               what was live when the first replayed frame began (empty for frame 0)
///     1 .. n          the n frames
///     n + 1           what follows the last frame's end in the recording (empty unless the last
///                     frame is replayed)
#pragma once

#include "objects.h"
#include "trace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// What to do. The order matters: making, then resizing, then freeing.
typedef enum plan_kind {
    PLAN_ALLOC_FRAME,
    PLAN_ALLOC_FRAME_ALIGNED,
    PLAN_ALLOC_SCOPED,
    PLAN_ALLOC_SCOPED_ALIGNED,
    PLAN_ALLOC_POOLED,
    PLAN_ALLOC_HEAP,
    PLAN_ALLOC_HEAP_ALIGNED,
    PLAN_RESIZE_FRAME,
    PLAN_RESIZE_HEAP,
    PLAN_FREE_FRAME,
    PLAN_FREE_SCOPED,
    PLAN_FREE_POOLED,
    PLAN_FREE_HEAP
} plan_kind;

/// One step, 16 bytes.
typedef struct plan_op {
    uint32_t slot; ///< Where the object's address is kept meanwhile; used again after its end.
    uint32_t
        size; ///< Bytes, at least 1: a request for 0 bytes is replayed as one for 1. 0 for a free.
    uint32_t block; ///< Which block of the trace, for the pattern written to it and for messages.
    uint8_t kind;   ///< A plan_kind.
    uint8_t align_log2; ///< For the aligned kinds: the alignment, as a power of two; above 4.
    uint16_t pool;      ///< For the pooled kinds: an index of plan.pool_bytes.
} plan_op;

/// A plan. Everything is an index, so it can be used at any address.
typedef struct plan {
    const plan_op *ops;          ///< All steps.
    const uint32_t *section_end; ///< Index of the step after the last one of each section.
    const uint64_t *slot_bytes;  ///< The largest block that is ever in each slot.
    const uint8_t
        *slot_align;          ///< The largest alignment in each slot, as a power of two, 4 or more.
    const uint64_t *ids;      ///< The trace's number of each block.
    uint32_t op_count;        ///< Steps.
    uint32_t section_count;   ///< Frames + 2.
    uint32_t slot_count;      ///< Objects alive at once, at most.
    uint32_t block_count;     ///< Blocks of the trace.
    uint32_t first_frame;     ///< The first frame replayed, counted from 0.
    uint32_t last_frame;      ///< The last frame replayed.
    uint32_t steady_frame;    ///< First frame of the steady part; last_frame + 1 if there is none.
    uint32_t frames_recorded; ///< Frames in the trace.
    uint32_t sites;           ///< Call sites in the trace.
    uint32_t threads;         ///< Threads in the trace.
    uint32_t frame_objects;   ///< Objects replayed with INTENT_FRAME.
    uint32_t scoped_objects;  ///< Objects replayed with INTENT_SCOPED.
    uint32_t pooled_objects;  ///< Objects replayed with INTENT_POOLED.
    uint32_t heap_objects;    ///< Objects replayed with INTENT_HEAP.
    uint32_t pool_count;      ///< Pools.
    uint16_t pool_bytes[OBJECT_POOLS]; ///< The object size of each.
    uint32_t scope_depth;              ///< Scoped objects alive at once, at most.
    uint64_t peak_bytes;               ///< The most bytes live at once, as asked for.
    uint64_t final_bytes;              ///< Bytes live after the last step.
    uint64_t
        peak_frame_bytes; ///< The most bytes of frame objects in a frame, rounded like an arena.
} plan;

/// Which frames to replay. Zero-initialised with `all` set it is everything.
typedef struct frame_range {
    bool all;       ///< Every frame; first and last are ignored.
    uint32_t first; ///< Counted from 0.
    uint32_t last;  ///< Included.
} frame_range;

/// Works out the plan for frames `range` of `t` and returns it as one block of memory to free()
/// with its size in `*size`: see plan_view(). NULL without memory, or when the range is not in the
/// trace: `error` says which.
void *plan_build(const trace *t, frame_range range, size_t *size, char *error, size_t error_size);

/// Looks at a block made by plan_build(), or at a copy of it anywhere. The result points into
/// `block`.
plan plan_view(const void *block);

/// The parts a replay is reported in.
typedef enum plan_part {
    PART_LOAD,   ///< Section 0, and frame 0 when it is replayed.
    PART_WARMUP, ///< The first half of the frames, without what is load.
    PART_STEADY, ///< The second half of the frames: from steady_frame on.
    PART_TAIL,   ///< What follows the last frame's end.
    PART_COUNT
} plan_part;

/// Which part a section belongs to.
plan_part plan_part_of(const plan *p, uint32_t section);

/// The steps of a part: those that came from events of the trace.
uint32_t plan_part_ops(const plan *p, plan_part part);

/// The frame of a step, counted from 0; for messages.
uint32_t plan_frame_of(const plan *p, uint32_t op);

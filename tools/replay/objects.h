/// @file objects.h
/// What each block of a trace is for.
///
/// A block and what it is reallocated into are one object. Its intent follows from the trace alone,
/// the way a programmer knows it from the code:
///
///   frame     it is freed in the frame that made it: frame memory, as long as that frame has made
///             less than OBJECT_FRAME_BYTES of such objects: a load that goes on making temporaries
///             in a single frame gives them back one by one;
///   scoped    the same, of a page to 64 KiB, never reallocated, and freed in stack order: the
///             large temporary of a function, memory from a scratch scope, which is given back at
///             once. Larger ones are for the heap, where others can have the memory afterwards;
///   pooled    one of the others that is small, never reallocated, of the default alignment, and of
///             a size that is asked for again and again: a typed pool of that size;
///   heap      everything else.
#pragma once

#include "trace.h"

/// What an object is for.
typedef enum intent { INTENT_FRAME, INTENT_SCOPED, INTENT_POOLED, INTENT_HEAP } intent;

/// "It lives on": the frame of an object's end.
#define OBJECT_NEVER_GONE UINT32_MAX

/// The smallest object worth a scope of its own, and the largest, in bytes.
#define OBJECT_SCOPED_BYTES 4096
#define OBJECT_SCOPED_MAX ((uint32_t)64 * 1024)

/// How much frame memory a single frame uses: what it makes beyond that is freed one by one.
#define OBJECT_FRAME_BYTES ((uint32_t)64 * 1024)

/// Pools: the largest object, what sizes are rounded up to, and how many objects of a rounded size
/// there are at least.
#define OBJECT_POOLED_BYTES 256
#define OBJECT_POOLED_STEP 16
#define OBJECT_POOLED_COUNT 64

/// How many pools there can be.
#define OBJECT_POOLS (OBJECT_POOLED_BYTES / OBJECT_POOLED_STEP)

/// An object. What follows the last frame's end in the recording counts as one more frame.
typedef struct trace_object {
    uint32_t born_frame; ///< The frame that made it.
    uint32_t gone_frame; ///< The frame that freed it, or OBJECT_NEVER_GONE.
    uint32_t size;       ///< The size it was made with; the planner keeps the present one here.
    uint32_t slot;       ///< For the planner.
    uint8_t intent;      ///< An `intent`.
    bool is_resized;     ///< It was reallocated at least once.
    uint8_t align_log2;  ///< For the planner.
    uint16_t pool;       ///< For INTENT_POOLED: an index of object_list.pool_bytes.
} trace_object;

/// All objects of a trace. Zero-initialised it is empty.
typedef struct object_list {
    trace_object *objects;             ///< In the order they were made.
    uint32_t *by_block;                ///< The object of each block.
    uint32_t count;                    ///< Objects.
    uint32_t pool_count;               ///< Pools.
    uint16_t pool_bytes[OBJECT_POOLS]; ///< The object size of each, ascending.
} object_list;

/// Finds the objects of `t` and their intents. False without memory. O(events).
bool objects_find(const trace *t, object_list *out);

/// The object an event belongs to.
static inline trace_object *object_of(const object_list *list, const trace_event *event) {
    return &list->objects[list->by_block[event->block]];
}

/// Frees everything.
void objects_clear(object_list *list);

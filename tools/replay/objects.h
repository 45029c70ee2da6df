/// @file objects.h
/// What each block of a trace is for.
///
/// A block and what it is reallocated into are one object. Its intent follows from the trace alone,
/// the way a programmer knows it from the code:
///
///   lasting   it is freed in a later frame than the one that made it, or never;
///   frame     it is freed in the frame that made it: frame memory;
///   scoped    the same, of a page or more, never reallocated, and freed in stack order: the large
///             temporary of a function, memory from a scratch scope, which is given back at once.
#pragma once

#include "trace.h"

/// What an object is for.
typedef enum intent { INTENT_LASTING, INTENT_FRAME, INTENT_SCOPED } intent;

/// "It lives on": the frame of an object's end.
#define OBJECT_NEVER_GONE UINT32_MAX

/// The smallest object worth a scope of its own, in bytes.
#define OBJECT_SCOPED_BYTES 4096

/// An object. What follows the last frame's end in the recording counts as one more frame.
typedef struct trace_object {
    uint32_t born_frame; ///< The frame that made it.
    uint32_t gone_frame; ///< The frame that freed it, or OBJECT_NEVER_GONE.
    uint32_t size;       ///< The size it was made with; the planner keeps the present one here.
    uint32_t slot;       ///< For the planner.
    uint8_t intent;      ///< An `intent`.
    bool is_resized;     ///< It was reallocated at least once.
    uint8_t align_log2;  ///< For the planner.
} trace_object;

/// All objects of a trace. Zero-initialised it is empty.
typedef struct object_list {
    trace_object *objects; ///< In the order they were made.
    uint32_t *by_block;    ///< The object of each block.
    uint32_t count;        ///< Objects.
} object_list;

/// Finds the objects of `t` and their intents. False without memory. O(events).
bool objects_find(const trace *t, object_list *out);

/// The object an event belongs to.
static inline trace_object *object_of(const object_list *list, const trace_event *event) {
    return &list->objects[list->by_block[event->block]];
}

/// Frees everything.
void objects_clear(object_list *list);

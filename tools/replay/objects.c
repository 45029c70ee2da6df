// Three passes over the events. The first follows each object from its beginning to its end. The
// last counts each frame's memory. The one between picks the scoped ones with a stack of open
// candidates:
//
//   made: pushed
//   freed on top: popped, it nests in whatever is below
//   freed below the top: something must go
//
// In the third case either the object, or all that were made after it and outlive it, become
// ordinary frame objects, whichever costs the frame less. One that has to go while others are above
// it stays on the stack until it is on top.
//
// Afterwards the sizes of those that are freed one by one are counted, and the frequent ones get
// pools.

#include "objects.h"

#include <stdlib.h>

// How many candidates above a freed one are looked at; a trace made to waste time cannot make more
// of it.
enum { LOOK_MAX = 16, DEFAULT_ALIGN_LOG2 = 4, ARENA_ROUNDING = 16 };

static void follow(const trace *t, object_list *list) {
    uint32_t frame = 0;
    for (size_t i = 0; i < t->event_count; i++) {
        const trace_event *event = &t->events[i];
        while (frame < t->frame_count && i >= t->frame_end[frame]) {
            frame++;
        }
        if (event->kind == TRACE_ALLOC) {
            list->by_block[event->block] = list->count;
            list->objects[list->count++] = (trace_object){.born_frame = frame,
                                                          .gone_frame = OBJECT_NEVER_GONE,
                                                          .size = event->size,
                                                          .align_log2 = event->align_log2};
        } else if (event->kind == TRACE_RESIZE) {
            list->by_block[event->block] = list->by_block[event->old_block];
            object_of(list, event)->is_resized = true;
        } else {
            object_of(list, event)->gone_frame = frame;
        }
    }
}

static void assign_intents(object_list *list) {
    for (uint32_t i = 0; i < list->count; i++) {
        trace_object *o = &list->objects[i];
        if (o->gone_frame != o->born_frame) {
            o->intent = INTENT_HEAP; // Or a pool.
        } else if (o->is_resized || o->size < OBJECT_SCOPED_BYTES) {
            o->intent = INTENT_FRAME;
        } else if (o->size > OBJECT_SCOPED_MAX) {
            o->intent = INTENT_HEAP;
        } else {
            o->intent = INTENT_SCOPED; // Until the stack says otherwise.
        }
    }
}

typedef struct scope_stack {
    trace_object **open;
    size_t count;
} scope_stack;

static void drop_demoted(scope_stack *stack) {
    while (stack->count > 0 && stack->open[stack->count - 1]->intent != INTENT_SCOPED) {
        stack->count--;
    }
}

// Takes a freed candidate off the stack, or out of the candidates.
static void close_scope(scope_stack *stack, trace_object *freed) {
    drop_demoted(stack);
    uint64_t above = 0;
    size_t at = stack->count - 1;
    for (int looked = 0; stack->open[at] != freed; at--, looked++) {
        bool is_candidate = stack->open[at]->intent == INTENT_SCOPED;
        above += is_candidate ? stack->open[at]->size : 0;
        if (looked == LOOK_MAX || above > freed->size) {
            freed->intent = INTENT_FRAME;
            return;
        }
    }
    while (stack->count > at + 1) {
        stack->open[--stack->count]->intent = INTENT_FRAME;
    }
    stack->count = at;
}

// Candidates never outlive their frame, so one stack serves all frames.
static void pick_scoped(const trace *t, const object_list *list, scope_stack *stack) {
    for (size_t i = 0; i < t->event_count; i++) {
        const trace_event *event = &t->events[i];
        trace_object *o = object_of(list, event);
        if (o->intent != INTENT_SCOPED) {
            continue;
        }
        if (event->kind == TRACE_ALLOC) {
            stack->open[stack->count++] = o;
        } else {
            close_scope(stack, o);
        }
    }
}

// The frame memory of each frame, as far as it goes.
static void limit_frames(const trace *t, const object_list *list) {
    uint32_t frame = 0;
    uint64_t used = 0;
    for (size_t i = 0; i < t->event_count; i++) {
        const trace_event *event = &t->events[i];
        trace_object *o = object_of(list, event);
        if (o->intent != INTENT_FRAME || event->kind == TRACE_FREE) {
            continue;
        }
        if (o->born_frame != frame) {
            frame = o->born_frame;
            used = 0;
        }
        uint64_t size =
            ((uint64_t)event->size + ARENA_ROUNDING - 1) & ~(uint64_t)(ARENA_ROUNDING - 1);
        if (event->kind == TRACE_ALLOC && used + size > OBJECT_FRAME_BYTES) {
            o->intent = INTENT_HEAP;
        } else {
            used += size;
        }
    }
}

static bool may_be_pooled(const trace_object *o) {
    return o->intent == INTENT_HEAP && !o->is_resized && o->size > 0 &&
           o->size <= OBJECT_POOLED_BYTES && o->align_log2 <= DEFAULT_ALIGN_LOG2;
}

static void assign_pools(object_list *list) {
    uint32_t counts[OBJECT_POOLS] = {0};
    uint16_t pools[OBJECT_POOLS] = {0};
    for (uint32_t i = 0; i < list->count; i++) {
        const trace_object *o = &list->objects[i];
        if (may_be_pooled(o)) {
            counts[(o->size - 1) / OBJECT_POOLED_STEP]++;
        }
    }
    for (uint32_t i = 0; i < OBJECT_POOLS; i++) {
        if (counts[i] >= OBJECT_POOLED_COUNT) {
            pools[i] = (uint16_t)list->pool_count;
            list->pool_bytes[list->pool_count++] = (uint16_t)((i + 1) * OBJECT_POOLED_STEP);
        }
    }
    for (uint32_t i = 0; i < list->count; i++) {
        trace_object *o = &list->objects[i];
        uint32_t step = may_be_pooled(o) ? (o->size - 1) / OBJECT_POOLED_STEP : OBJECT_POOLS;
        if (step < OBJECT_POOLS && counts[step] >= OBJECT_POOLED_COUNT) {
            o->intent = INTENT_POOLED;
            o->pool = pools[step];
        }
    }
}

bool objects_find(const trace *t, object_list *out) {
    *out = (object_list){0};
    size_t blocks = t->block_count + 1; // Never 0.
    out->objects = malloc(blocks * sizeof *out->objects);
    out->by_block = malloc(blocks * sizeof *out->by_block);
    scope_stack stack = {.open = malloc(blocks * sizeof(trace_object *))};
    bool ok = out->objects != NULL && out->by_block != NULL && stack.open != NULL;
    if (ok) {
        follow(t, out);
        assign_intents(out);
        pick_scoped(t, out, &stack);
        limit_frames(t, out);
        assign_pools(out);
    } else {
        objects_clear(out);
    }
    free(stack.open);
    return ok;
}

void objects_clear(object_list *list) {
    free(list->objects);
    free(list->by_block);
    *list = (object_list){0};
}

// What the two parts of the program count_ops share: see count_ops.c.
#pragma once

#include "floor.h"

#include <framealloc/framealloc.h>

enum { COUNT_TAGS = 40 };

typedef FA_VEC(uint32_t) number_vec;
typedef struct object_state object_state;

typedef struct bench_state {
    fa_context *context;
    fa_arena *frame;
    fa_tag tags[COUNT_TAGS];
    number_vec vector;
    floor_arena floor;
    fa_arena *group;
    object_state *objects;
} bench_state;

typedef struct operation {
    const char *name;
    const char *baseline; // Name of the operation whose cost is taken off.
    size_t count;
    bool in_frame; // A frame is open around the loop.
    void (*run)(bench_state *state, size_t count);
    void (*before)(bench_state *state, size_t count); // Not counted; may be NULL.
    void (*after)(bench_state *state, size_t count);
    // So many runs of `count` in a row instead, between one before() and one after(): what counts
    // is the costliest of them, less what `count` - 1 operations take in the cheapest.
    size_t worst_of;
} operation;

// Makes the compiler forget what it knows about a value, at the cost of no instruction.
#define FORGET(value) __asm__ volatile("" : "+r"(value))
#define OPERATION static __attribute__((noinline)) void

// Those of count_objects.c, and what they need: false when it could not be made.
extern const operation object_operations[];
extern const size_t object_operation_count;
bool objects_open(bench_state *state);
void objects_close(bench_state *state);

// GNU obstack, from the C library: one chunk large enough for every workload, emptied at the end of
// a frame.
#include "bench.h"

#include <obstack.h>
#include <stdlib.h>
#include <string.h>

#define obstack_chunk_alloc malloc
#define obstack_chunk_free free

typedef struct obstack rival_arena;

typedef struct rival_state {
    struct obstack arena;
    void *first; // Freeing it empties the obstack and keeps its chunk.
} rival_state;

BENCH_INLINE rival_arena *rival_begin(rival_state *state) {
    return &state->arena;
}

BENCH_INLINE void *rival_alloc(rival_arena *arena, size_t size) {
    return obstack_alloc(arena, (int)size);
}

BENCH_INLINE void *rival_array(rival_arena *arena, size_t count, size_t size) {
    return obstack_alloc(arena, (int)(count * size));
}

BENCH_INLINE void rival_keep(rival_arena *arena, size_t index, void *ptr) {
    (void)arena;
    (void)index;
    (void)ptr;
}

BENCH_INLINE uint64_t rival_end(rival_state *state, rival_arena *arena, size_t count) {
    (void)count;
    size_t used = (size_t)((char *)obstack_base(arena) - (char *)state->first);
    obstack_free(arena, state->first);
    return used;
}

// Freeing an object frees all that came after it: an object is a mark.
static uint64_t scope_mark(void *state, size_t frames, unsigned entry) {
    (void)entry;
    struct obstack *arena = &((rival_state *)state)->arena;
    for (size_t frame = 0; frame < frames; ++frame) {
        for (size_t i = 0; i < 1000; ++i) {
            void *ptr = obstack_alloc(arena, 64);
            BENCH_BARRIER(ptr);
            obstack_free(arena, ptr);
            BENCH_BARRIER(arena);
        }
    }
    return 0;
}

// An obstack can grow its last object: that is what it has instead of a vector.
static uint64_t scope_vector(void *state, size_t frames, unsigned entry) {
    (void)entry;
    rival_state *mine = (rival_state *)state;
    for (size_t frame = 0; frame < frames; ++frame) {
        for (int i = 0; i < 128; ++i) {
            obstack_int_grow(&mine->arena, i);
            BENCH_BARRIER(&mine->arena);
        }
        const int *data = (const int *)obstack_finish(&mine->arena);
        if (data[127] != 127) {
            bench_ledger_fault("growing object of obstack");
        }
        obstack_free(&mine->arena, mine->first);
    }
    return 0;
}

#define scope_tag_1 NULL
#define scope_tag_10 NULL
#define scope_scratch NULL
#define scope_map NULL
#include "workloads.inc"

static void *state_open(void) {
    rival_state *state = (rival_state *)calloc(1, sizeof(*state));
    if (state == NULL) {
        return NULL;
    }
    obstack_begin(&state->arena, (int)BENCH_ROOM);
    state->first = obstack_alloc(&state->arena, 0);
    void *room = obstack_alloc(&state->arena, (int)BENCH_ROOM - 4096);
    memset(room, 0, BENCH_ROOM - 4096);
    obstack_free(&state->arena, state->first);
    state->first = obstack_alloc(&state->arena, 0);
    return state;
}

static void state_close(void *state) {
    obstack_free(&((rival_state *)state)->arena, NULL);
    free(state);
}

const bench_rival bench_rival_obstack = {
    .id = "obstack",
    .label = "GNU obstack",
    .open = state_open,
    .close = state_close,
    .runs = rival_runs,
};

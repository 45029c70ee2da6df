// The floor with a check that no size can defeat: what a hand-written arena costs when it is right.
#include "floor.h"

#include <stdlib.h>

typedef floor_arena rival_state;
typedef floor_arena rival_arena;

BENCH_INLINE rival_arena *rival_begin(rival_state *state) {
    return state;
}

BENCH_INLINE void *rival_alloc(rival_arena *arena, size_t size) {
    return floor_alloc_safe(arena, size);
}

BENCH_INLINE void *rival_array(rival_arena *arena, size_t count, size_t size) {
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return NULL;
    }
    return floor_alloc_safe(arena, bytes);
}

BENCH_INLINE void rival_keep(rival_arena *arena, size_t index, void *ptr) {
    (void)arena;
    (void)index;
    (void)ptr;
}

BENCH_INLINE uint64_t rival_end(rival_state *state, rival_arena *arena, size_t count) {
    (void)state;
    (void)count;
    size_t used = (size_t)(arena->cursor - arena->base);
    arena->cursor = arena->base;
    return used;
}

#define scope_tag_1 NULL
#define scope_tag_10 NULL
#define scope_scratch NULL
#define scope_mark NULL
#define scope_vector NULL
#define scope_map NULL
#include "workloads.inc"

static void *state_open(void) {
    rival_state *state = (rival_state *)calloc(1, sizeof(*state));
    if (state == NULL || !floor_open(state, BENCH_ROOM)) {
        free(state);
        return NULL;
    }
    return state;
}

static void state_close(void *state) {
    floor_close((floor_arena *)state);
    free(state);
}

const bench_rival bench_rival_safe = {
    .id = "floor-safe",
    .label = "hand-written bump, overflow-safe",
    .open = state_open,
    .close = state_close,
    .runs = rival_runs,
};

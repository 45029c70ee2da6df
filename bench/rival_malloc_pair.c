// The C library in its best case: each block is freed as soon as it was used, so that the next
// malloc finds it.
#include "bench.h"

#include <stdlib.h>

typedef struct rival_state {
    size_t unused;
} rival_state;

typedef rival_state rival_arena;

BENCH_INLINE rival_arena *rival_begin(rival_state *state) {
    return state;
}

BENCH_INLINE void *rival_alloc(rival_arena *arena, size_t size) {
    (void)arena;
    return malloc(size);
}

#define RIVAL_HAS_ALIGNED
BENCH_INLINE void *rival_alloc_aligned(rival_arena *arena, size_t size, size_t align) {
    (void)arena;
    return aligned_alloc(align, (size + align - 1) & ~(align - 1));
}

BENCH_INLINE void *rival_array(rival_arena *arena, size_t count, size_t size) {
    (void)arena;
    return malloc(count * size);
}

BENCH_INLINE void rival_keep(rival_arena *arena, size_t index, void *ptr) {
    (void)arena;
    (void)index;
    free(ptr);
}

BENCH_INLINE uint64_t rival_end(rival_state *state, rival_arena *arena, size_t count) {
    (void)state;
    (void)arena;
    (void)count;
    return 0;
}

#define scope_frame NULL
#define scope_tag_1 NULL
#define scope_tag_10 NULL
#define scope_scratch NULL
#define scope_mark NULL
#define scope_vector NULL
#define scope_map NULL
#define RIVAL_NO_FRAMES
#define RIVAL_FREES_AT_ONCE
#include "workloads.inc"

static void *state_open(void) {
    return calloc(1, sizeof(rival_state));
}

static void state_close(void *state) {
    free(state);
}

const bench_rival bench_rival_malloc_pair = {
    .id = "malloc-pair",
    .label = "malloc, free at once",
    .open = state_open,
    .close = state_close,
    .runs = rival_runs,
};

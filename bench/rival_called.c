// framealloc without its inline functions: every allocation is a call into another object file.
#include "bench.h"
#include "called.h"

#include <framealloc/framealloc.h>

typedef struct rival_state {
    fa_context *context; // First, as in rival_framealloc.c, which makes the state.
} rival_state;

typedef fa_arena rival_arena;

BENCH_INLINE rival_arena *rival_begin(rival_state *state) {
    return fa_frame_begin(state->context);
}

BENCH_INLINE void *rival_alloc(rival_arena *arena, size_t size) {
    return called_alloc(arena, size);
}

#define RIVAL_HAS_ALIGNED
BENCH_INLINE void *rival_alloc_aligned(rival_arena *arena, size_t size, size_t align) {
    return called_alloc_aligned(arena, size, align);
}

BENCH_INLINE void *rival_array(rival_arena *arena, size_t count, size_t size) {
    return fa_arena_alloc_array(arena, count, size, 16);
}

BENCH_INLINE void rival_keep(rival_arena *arena, size_t index, void *ptr) {
    (void)arena;
    (void)index;
    (void)ptr;
}

BENCH_INLINE uint64_t rival_end(rival_state *state, rival_arena *arena, size_t count) {
    (void)state;
    size_t used = count > 0 ? fa_arena_used(arena) : 0;
    fa_frame_end(arena);
    return used;
}

#define scope_frame NULL
#define scope_tag_1 NULL
#define scope_tag_10 NULL
#define scope_scratch NULL
#define scope_mark NULL
#define scope_vector NULL
#define scope_map NULL
#define RIVAL_NO_FRAMES
#include "workloads.inc"

static void *state_open(void) {
    return bench_rival_framealloc.open();
}

static void state_close(void *state) {
    bench_rival_framealloc.close(state);
}

const bench_rival bench_rival_called = {
    .id = "framealloc-called",
    .label = "framealloc, not inlined",
    .open = state_open,
    .close = state_close,
    .runs = rival_runs,
};

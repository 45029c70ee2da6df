// The C library: blocks of a frame allocated one after the other, and freed in the same order at
// its end.
#include "bench.h"

#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCKS_MAX = 10000 };

typedef struct rival_state {
    void *blocks[BLOCKS_MAX];
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
    arena->blocks[index] = ptr;
}

BENCH_INLINE uint64_t rival_end(rival_state *state, rival_arena *arena, size_t count) {
    (void)arena;
    for (size_t i = 0; i < count; ++i) {
        free(state->blocks[i]);
    }
    return 0;
}

static uint64_t scope_vector(void *state, size_t frames, unsigned entry) {
    (void)entry;
    (void)state;
    for (size_t frame = 0; frame < frames; ++frame) {
        uint32_t *data = NULL;
        size_t count = 0;
        size_t capacity = 0;
        for (uint32_t i = 0; i < 128; ++i) {
            if (count == capacity) {
                capacity = capacity == 0 ? 8 : capacity * 2;
                uint32_t *bigger = (uint32_t *)realloc(data, capacity * sizeof(uint32_t));
                if (bigger == NULL) {
                    break;
                }
                data = bigger;
            }
            data[count++] = i;
            BENCH_BARRIER(data);
        }
        if (count != 128 || data[127] != 127) {
            bench_ledger_fault("vector on malloc");
        }
        free(data);
    }
    return 0;
}

#define scope_frame NULL
#define scope_tag_1 NULL
#define scope_tag_10 NULL
#define scope_scratch NULL
#define scope_mark NULL
#define scope_map NULL
#define RIVAL_NO_FRAMES
#include "workloads.inc"

static void *state_open(void) {
    return calloc(1, sizeof(rival_state));
}

static void state_close(void *state) {
    free(state);
}

static size_t state_version(char *buffer, size_t size) {
    return (size_t)snprintf(buffer, size, "glibc %s", gnu_get_libc_version());
}

const bench_rival bench_rival_malloc = {
    .id = "malloc",
    .label = "malloc all, then free all",
    .open = state_open,
    .close = state_close,
    .runs = rival_runs,
    .version = state_version,
};

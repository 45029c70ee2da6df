// Pools of the Apache Portable Runtime: one pool, cleared at the end of a frame.
#include "bench.h"

#include <apr_general.h>
#include <apr_pools.h>
#include <apr_version.h>
#include <stdio.h>
#include <string.h>

typedef apr_pool_t rival_state;
typedef apr_pool_t rival_arena;
#define RIVAL_ALIGNMENT 8

BENCH_INLINE rival_arena *rival_begin(rival_state *state) {
    return state;
}

BENCH_INLINE void *rival_alloc(rival_arena *arena, size_t size) {
    return apr_palloc(arena, size);
}

BENCH_INLINE void *rival_array(rival_arena *arena, size_t count, size_t size) {
    return apr_palloc(arena, count * size);
}

BENCH_INLINE void rival_keep(rival_arena *arena, size_t index, void *ptr) {
    (void)arena;
    (void)index;
    (void)ptr;
}

BENCH_INLINE uint64_t rival_end(rival_state *state, rival_arena *arena, size_t count) {
    (void)state;
    (void)count;
    apr_pool_clear(arena);
    return 0;
}

#define scope_tag_1 NULL
#define scope_tag_10 NULL
#define scope_scratch NULL
#define scope_mark NULL
#define scope_vector NULL
#define scope_map NULL
#include "workloads.inc"

// A pool cannot be given its size: it is filled once, and keeps its memory when it is cleared.
static void *state_open(void) {
    apr_pool_t *pool = NULL;
    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        return NULL;
    }
    for (size_t filled = 0; filled < BENCH_ROOM; filled += 4000) {
        memset(apr_palloc(pool, 4000), 0, 4000);
    }
    apr_pool_clear(pool);
    return pool;
}

static void state_close(void *state) {
    apr_pool_destroy((apr_pool_t *)state);
    apr_terminate();
}

static size_t state_version(char *buffer, size_t size) {
    return (size_t)snprintf(buffer, size, "APR %s", apr_version_string());
}

const bench_rival bench_rival_apr = {
    .id = "apr",
    .label = "APR pool",
    .open = state_open,
    .close = state_close,
    .runs = rival_runs,
    .version = state_version,
};

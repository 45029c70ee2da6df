// The paths of pools, handles and the heap that count_ops counts.
//
// The fast ones run within what a thread has at hand, about half a stack of free slots. The worst
// ones run on long after warm-up: every slot of thousands is taken, or given back in random order,
// so all there is to do for the next ones falls into some of the runs.
#include "count.h"

#include <framealloc/handles.h>
#include <framealloc/heap.h>
#include <framealloc/pool.h>
#include <stdlib.h>
#include <string.h>

// Twice FEW fit into half of a thread's stack. Runs of a BATCH meet at most one refill or spill.
enum { FEW = 25, BATCH = 60, WORST_RUNS = 350, MANY = BATCH * WORST_RUNS };

struct object_state {
    fa_pool *pool;
    fa_pool *tagged; // With generations, every object charged to the current tag.
    fa_table *table;
    fa_handle handles[2 * FEW];
    fa_block blocks[2 * FEW];
    void *held[MANY];
    size_t done; // Of held, in a worst operation.
};

// ---- Before and after --------------------------------------------------------------------------

static void pool_take(fa_pool *pool, void **out, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        out[i] = fa_pool_alloc(pool);
        if (out[i] == NULL) {
            abort();
        }
        memset(out[i], 1, 64);
    }
}

static void pool_give(fa_pool *pool, void *const *held, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        fa_pool_free(pool, held[i]);
    }
}

static void heap_take(bench_state *state, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        state->objects->held[i] = fa_heap_alloc(state->context, 64);
        if (state->objects->held[i] == NULL) {
            abort();
        }
        memset(state->objects->held[i], 1, 64);
    }
}

static void heap_give(bench_state *state, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        fa_heap_free(state->context, state->objects->held[i]);
    }
}

static void shuffle(void **held, size_t count) {
    uint64_t random = 88172645463325252u;
    for (size_t i = count; i > 1; --i) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t other = (size_t)(random >> 33) % i;
        void *kept = held[i - 1];
        held[i - 1] = held[other];
        held[other] = kept;
    }
}

// So that the thread has as many slots at hand as it takes, and room for as many.
static void pool_warm(bench_state *state, size_t count) {
    pool_take(state->objects->pool, state->objects->held, count);
    pool_give(state->objects->pool, state->objects->held, count);
}

static void pool_held(bench_state *state, size_t count) {
    pool_take(state->objects->pool, state->objects->held, count);
}

static void pool_return(bench_state *state, size_t count) {
    pool_give(state->objects->pool, state->objects->held, count);
}

static void tagged_warm(bench_state *state, size_t count) {
    pool_take(state->objects->tagged, state->objects->held, count);
    pool_give(state->objects->tagged, state->objects->held, count);
}

static void tagged_held(bench_state *state, size_t count) {
    pool_take(state->objects->tagged, state->objects->held, count);
    for (size_t i = 0; i < count; ++i) {
        state->objects->handles[i] =
            fa_pool_handle(state->objects->tagged, state->objects->held[i]);
    }
}

static void tagged_return(bench_state *state, size_t count) {
    pool_give(state->objects->tagged, state->objects->held, count);
}

static void heap_warm(bench_state *state, size_t count) {
    heap_take(state, count);
    heap_give(state, count);
}

static void blocks_make(bench_state *state, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        state->objects->blocks[i] = fa_block_alloc(state->objects->table, 64, 16);
    }
}

static void blocks_drop(bench_state *state, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        fa_block_free(state->objects->table, state->objects->blocks[i]);
    }
}

// For the worst: all has been in use once, and is free again.
static void pool_worst_before(bench_state *state, size_t count) {
    pool_take(state->objects->pool, state->objects->held, count);
    shuffle(state->objects->held, count);
    pool_give(state->objects->pool, state->objects->held, count);
    state->objects->done = 0;
}

static void pool_worst_held(bench_state *state, size_t count) {
    pool_take(state->objects->pool, state->objects->held, count);
    shuffle(state->objects->held, count);
    state->objects->done = 0;
}

static void heap_worst_before(bench_state *state, size_t count) {
    heap_take(state, count);
    shuffle(state->objects->held, count);
    heap_give(state, count);
    state->objects->done = 0;
}

static void heap_worst_held(bench_state *state, size_t count) {
    heap_take(state, count);
    shuffle(state->objects->held, count);
    state->objects->done = 0;
}

// ---- The operations ----------------------------------------------------------------------------

OPERATION run_pool_pair(bench_state *state, size_t count) {
    fa_pool *pool = state->objects->pool;
    for (size_t i = 0; i < count; ++i) {
        void *object = fa_pool_alloc(pool);
        BENCH_BARRIER(object);
        fa_pool_free(pool, object);
        BENCH_BARRIER(object);
    }
}

OPERATION run_pool_alloc(bench_state *state, size_t count) {
    fa_pool *pool = state->objects->pool;
    void **held = state->objects->held;
    for (size_t i = 0; i < count; ++i) {
        held[i] = fa_pool_alloc(pool);
        BENCH_BARRIER(held);
    }
}

OPERATION run_pool_free(bench_state *state, size_t count) {
    fa_pool *pool = state->objects->pool;
    void **held = state->objects->held;
    for (size_t i = 0; i < count; ++i) {
        fa_pool_free(pool, held[i]);
        BENCH_BARRIER(held);
    }
}

OPERATION run_tagged_pair(bench_state *state, size_t count) {
    fa_pool *pool = state->objects->tagged;
    for (size_t i = 0; i < count; ++i) {
        void *object = fa_pool_alloc(pool);
        BENCH_BARRIER(object);
        fa_pool_free(pool, object);
        BENCH_BARRIER(object);
    }
}

OPERATION run_handle_make(bench_state *state, size_t count) {
    fa_pool *pool = state->objects->tagged;
    void **held = state->objects->held;
    for (size_t i = 0; i < count; ++i) {
        BENCH_BARRIER(fa_pool_handle(pool, held[i]).value);
    }
}

OPERATION run_handle_resolve(bench_state *state, size_t count) {
    const fa_pool *pool = state->objects->tagged;
    const fa_handle *handles = state->objects->handles;
    for (size_t i = 0; i < count; ++i) {
        BENCH_BARRIER(fa_pool_resolve(pool, handles[i]));
    }
}

OPERATION run_block_resolve(bench_state *state, size_t count) {
    const fa_table *table = state->objects->table;
    const fa_block *blocks = state->objects->blocks;
    for (size_t i = 0; i < count; ++i) {
        BENCH_BARRIER(fa_block_resolve(table, blocks[i]));
    }
}

OPERATION run_heap_pair(bench_state *state, size_t count) {
    fa_context *context = state->context;
    for (size_t i = 0; i < count; ++i) {
        void *ptr = fa_heap_alloc(context, 64);
        BENCH_BARRIER(ptr);
        fa_heap_free(context, ptr);
        BENCH_BARRIER(ptr);
    }
}

OPERATION run_heap_alloc(bench_state *state, size_t count) {
    fa_context *context = state->context;
    void **held = state->objects->held;
    for (size_t i = 0; i < count; ++i) {
        held[i] = fa_heap_alloc(context, 64);
        BENCH_BARRIER(held);
    }
}

OPERATION run_heap_free(bench_state *state, size_t count) {
    fa_context *context = state->context;
    void **held = state->objects->held;
    for (size_t i = 0; i < count; ++i) {
        fa_heap_free(context, held[i]);
        BENCH_BARRIER(held);
    }
}

// The worst ones go through held.
OPERATION run_pool_alloc_on(bench_state *state, size_t count) {
    void **held = state->objects->held + state->objects->done;
    for (size_t i = 0; i < count; ++i) {
        held[i] = fa_pool_alloc(state->objects->pool);
        BENCH_BARRIER(held);
    }
    state->objects->done += count;
}

OPERATION run_pool_free_on(bench_state *state, size_t count) {
    void **held = state->objects->held + state->objects->done;
    for (size_t i = 0; i < count; ++i) {
        fa_pool_free(state->objects->pool, held[i]);
        BENCH_BARRIER(held);
    }
    state->objects->done += count;
}

OPERATION run_heap_alloc_on(bench_state *state, size_t count) {
    void **held = state->objects->held + state->objects->done;
    for (size_t i = 0; i < count; ++i) {
        held[i] = fa_heap_alloc(state->context, 64);
        BENCH_BARRIER(held);
    }
    state->objects->done += count;
}

OPERATION run_heap_free_on(bench_state *state, size_t count) {
    void **held = state->objects->held + state->objects->done;
    for (size_t i = 0; i < count; ++i) {
        fa_heap_free(state->context, held[i]);
        BENCH_BARRIER(held);
    }
    state->objects->done += count;
}

static void heap_held(bench_state *state, size_t count) {
    heap_take(state, count);
}

static void heap_return(bench_state *state, size_t count) {
    heap_give(state, count);
}

const operation object_operations[] = {
    {"pool_pair", "loop", FEW, false, run_pool_pair, pool_warm, NULL, 0},
    {"pool_alloc", "loop", FEW, false, run_pool_alloc, pool_warm, pool_return, 0},
    {"pool_free", "loop", FEW, false, run_pool_free, pool_held, NULL, 0},
    {"tagged_pair", "loop", FEW, false, run_tagged_pair, tagged_warm, NULL, 0},
    {"handle_make", "loop", FEW, false, run_handle_make, tagged_held, tagged_return, 0},
    {"handle_resolve", "loop", FEW, false, run_handle_resolve, tagged_held, tagged_return, 0},
    {"block_resolve", "loop", FEW, false, run_block_resolve, blocks_make, blocks_drop, 0},
    {"heap_pair", "loop", FEW, false, run_heap_pair, heap_warm, NULL, 0},
    {"heap_alloc", "loop", FEW, false, run_heap_alloc, heap_warm, heap_return, 0},
    {"heap_free", "loop", FEW, false, run_heap_free, heap_held, NULL, 0},
    {"pool_alloc_worst", NULL, BATCH, false, run_pool_alloc_on, pool_worst_before, pool_return,
     WORST_RUNS},
    {"pool_free_worst", NULL, BATCH, false, run_pool_free_on, pool_worst_held, NULL, WORST_RUNS},
    {"heap_alloc_worst", NULL, BATCH, false, run_heap_alloc_on, heap_worst_before, heap_return,
     WORST_RUNS},
    {"heap_free_worst", NULL, BATCH, false, run_heap_free_on, heap_worst_held, NULL, WORST_RUNS},
};
const size_t object_operation_count = sizeof(object_operations) / sizeof(object_operations[0]);

bool objects_open(bench_state *state) {
    object_state *objects = (object_state *)calloc(1, sizeof(*objects));
    state->objects = objects;
    fa_pool_desc plain = {.name = "plain", .size = 64, .tag = state->tags[0]};
    fa_pool_desc tagged = {
        .name = "tagged", .size = 64, .align = 8, .handles = true, .object_tags = true};
    return objects != NULL && fa_pool_create(state->context, &plain, &objects->pool) == FA_OK &&
           fa_pool_create(state->context, &tagged, &objects->tagged) == FA_OK &&
           fa_table_create(state->context, NULL, &objects->table) == FA_OK &&
           fa_pool_reserve(objects->pool, MANY + 200) == FA_OK;
}

void objects_close(bench_state *state) {
    fa_table_destroy(state->objects->table);
    fa_pool_destroy(state->objects->tagged);
    fa_pool_destroy(state->objects->pool);
    free(state->objects);
}

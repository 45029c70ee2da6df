// framealloc, twice: with everything on (a memory limit on the context, a tag with a hard budget
// pushed, a thread budget), and as it comes. Statistics cannot be turned off. Both run the same
// code.
#include "bench.h"

#include <framealloc/framealloc.h>
#include <stdlib.h>
#include <string.h>

typedef struct rival_state {
    fa_context *context;
    fa_tag outer;
    fa_tag inner;
} rival_state;

typedef fa_arena rival_arena;

BENCH_INLINE rival_arena *rival_begin(rival_state *state) {
    return fa_frame_begin(state->context);
}

BENCH_INLINE void *rival_alloc(rival_arena *arena, size_t size) {
    return fa_arena_alloc(arena, size);
}

#define RIVAL_HAS_ALIGNED
BENCH_INLINE void *rival_alloc_aligned(rival_arena *arena, size_t size, size_t align) {
    return fa_arena_alloc_aligned(arena, size, align);
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

// ---- Tags, scratch and marks -------------------------------------------------------------------

// `scopes` times: a tag pushed, `blocks` blocks allocated under it, the tag popped.
BENCH_INLINE uint64_t run_tags(rival_state *state, size_t frames, size_t scopes, size_t blocks) {
    uint64_t used = 0;
    for (size_t frame = 0; frame < frames; ++frame) {
        fa_arena *arena = rival_begin(state);
        for (size_t i = 0; i < scopes; ++i) {
            fa_tag_push(state->context, state->inner);
            for (size_t block = 0; block < blocks; ++block) {
                BENCH_BARRIER(fa_arena_alloc(arena, 64));
            }
            fa_tag_pop(state->context);
            BENCH_BARRIER(state);
        }
        used += rival_end(state, arena, scopes);
    }
    return used;
}

static uint64_t scope_tag_1(void *state, size_t frames, unsigned entry) {
    (void)entry;
    return run_tags((rival_state *)state, frames, 1000, 1);
}

static uint64_t scope_tag_10(void *state, size_t frames, unsigned entry) {
    (void)entry;
    return run_tags((rival_state *)state, frames, 100, 10);
}

static uint64_t scope_scratch(void *state, size_t frames, unsigned entry) {
    (void)entry;
    rival_state *mine = (rival_state *)state;
    for (size_t frame = 0; frame < frames; ++frame) {
        fa_arena *arena = rival_begin(mine);
        for (size_t i = 0; i < 1000; ++i) {
            fa_scratch scratch = fa_scratch_begin(mine->context, &arena, 1);
            BENCH_BARRIER(fa_arena_alloc(scratch.arena, 64));
            fa_scratch_end(scratch);
            BENCH_BARRIER(arena);
        }
        rival_end(mine, arena, 0);
    }
    return 0;
}

static uint64_t scope_mark(void *state, size_t frames, unsigned entry) {
    (void)entry;
    rival_state *mine = (rival_state *)state;
    for (size_t frame = 0; frame < frames; ++frame) {
        fa_arena *arena = rival_begin(mine);
        for (size_t i = 0; i < 1000; ++i) {
            fa_mark mark = fa_arena_mark(arena);
            BENCH_BARRIER(fa_arena_alloc(arena, 64));
            if (fa_arena_rewind(arena, mark) < 0) {
                bench_ledger_fault("rewind of framealloc");
            }
            BENCH_BARRIER(arena);
        }
        rival_end(mine, arena, 0);
    }
    return 0;
}

// ---- Containers --------------------------------------------------------------------------------

static uint64_t scope_vector(void *state, size_t frames, unsigned entry) {
    (void)entry;
    rival_state *mine = (rival_state *)state;
    for (size_t frame = 0; frame < frames; ++frame) {
        fa_arena *arena = rival_begin(mine);
        FA_VEC(uint32_t) vector = {0};
        for (uint32_t i = 0; i < 128; ++i) {
            fa_vec_push(arena, &vector, i);
            BENCH_BARRIER(&vector);
        }
        if (vector.count != 128 || vector.data[127] != 127) {
            bench_ledger_fault("vector of framealloc");
        }
        rival_end(mine, arena, 0);
    }
    return 0;
}

typedef FA_MAP(uint64_t, uint64_t) number_map;

static uint64_t scope_map(void *state, size_t frames, unsigned entry) {
    (void)entry;
    rival_state *mine = (rival_state *)state;
    for (size_t frame = 0; frame < frames; ++frame) {
        fa_arena *arena = rival_begin(mine);
        number_map map = {0};
        for (uint64_t i = 1; i <= 1000; ++i) {
            fa_map_put(arena, &map, i * 7919, i);
            BENCH_BARRIER(&map);
        }
        if (map.count != 1000) {
            bench_ledger_fault("map of framealloc");
        }
        rival_end(mine, arena, 0);
    }
    return 0;
}

// ---- The rivals --------------------------------------------------------------------------------

#include "workloads.inc"

// One frame that touches more memory than any workload needs, so that no page is new while time is
// taken.
static bool state_warm(rival_state *state) {
    fa_arena *arena = fa_frame_begin(state->context);
    void *room = arena != NULL ? fa_arena_alloc(arena, BENCH_ROOM) : NULL;
    if (room == NULL) {
        return false;
    }
    memset(room, 0, BENCH_ROOM);
    fa_frame_end(arena);
    return true;
}

static void state_close(void *state) {
    fa_context_destroy(((rival_state *)state)->context);
    free(state);
}

// A context with two tags; budgets and pages come later.
static rival_state *state_open(const fa_config *config) {
    rival_state *state = (rival_state *)calloc(1, sizeof(*state));
    if (state == NULL) {
        return NULL;
    }
    if (fa_context_create(config, &state->context) < 0) {
        free(state);
        return NULL;
    }
    state->outer = fa_tag_register(state->context, "bench");
    state->inner = fa_tag_register(state->context, "bench/inner");
    return state;
}

static void *plain_open(void) {
    // So many frames without decay that the memory touched now is still there for the largest
    // workload.
    fa_config config = {.decay_frames = 65536};
    rival_state *state = state_open(&config);
    if (state != NULL && !state_warm(state)) {
        state_close(state);
        return NULL;
    }
    return state;
}

static void *budgets_open(void) {
    fa_config config = {.decay_frames = 65536, .memory_limit = (size_t)1 << 30};
    rival_state *state = state_open(&config);
    if (state == NULL) {
        return NULL;
    }
    fa_budget budget = {.soft = (size_t)192 << 20, .hard = (size_t)256 << 20};
    fa_thread_budget thread = {.frame_bytes = (size_t)128 << 20};
    bool ready = fa_budget_set(state->context, state->outer, &budget) == FA_OK &&
                 fa_budget_set(state->context, state->inner, &budget) == FA_OK &&
                 fa_budget_set_thread(state->context, &thread) == FA_OK &&
                 fa_tag_push(state->context, state->outer) == FA_OK && state_warm(state);
    if (!ready) {
        state_close(state);
        return NULL;
    }
    return state;
}

static size_t state_version(char *buffer, size_t size) {
    const char *version = fa_version();
    size_t length = strlen(version);
    if (length < size) {
        memcpy(buffer, version, length + 1);
    }
    return length;
}

const bench_rival bench_rival_framealloc = {
    .id = "framealloc",
    .label = "framealloc, tag + budgets + limit",
    .open = budgets_open,
    .close = state_close,
    .runs = rival_runs,
    .version = state_version,
};

const bench_rival bench_rival_plain = {
    .id = "framealloc-plain",
    .label = "framealloc, no budget",
    .open = plain_open,
    .close = state_close,
    .runs = rival_runs,
};

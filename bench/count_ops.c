// The program that instructions.sh runs under callgrind: every fast path in a loop of n and of 2n
// operations.
//
// The difference of two runs is n operations, whatever it costs to get into and out of the loop;
// the same difference of a baseline loop is taken off it. Run without valgrind it does the same and
// prints nothing.
#include "floor.h"

#include <framealloc/framealloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

// Few enough that all blocks of a run fit into one lease of a budget: leases are the slow path.
enum { COUNT = 100, FRAMES = 640, DEPTH = 20, TAGS = 2 * DEPTH };

typedef FA_VEC(uint32_t) number_vec;

typedef struct bench_state {
    fa_context *context;
    fa_arena *frame;
    fa_tag tags[TAGS];
    number_vec vector;
    floor_arena floor;
} bench_state;

typedef struct operation {
    const char *name;
    const char *baseline; // Name of the operation whose cost is taken off.
    size_t count;
    bool in_frame; // A frame is open around the loop.
    void (*run)(bench_state *state, size_t count);
    void (*before)(bench_state *state, size_t count); // Not counted; may be NULL.
    void (*after)(bench_state *state, size_t count);
} operation;

// Makes the compiler forget what it knows about a value, at the cost of no instruction.
#define FORGET(value) __asm__ volatile("" : "+r"(value))
#define OPERATION static __attribute__((noinline)) void

OPERATION run_loop(bench_state *state, size_t count) {
    fa_arena *arena = state->frame;
    for (size_t i = 0; i < count; ++i) {
        BENCH_BARRIER(arena);
    }
}

OPERATION run_floor16(bench_state *state, size_t count) {
    floor_arena *arena = &state->floor;
    for (size_t i = 0; i < count; ++i) {
        BENCH_BARRIER(floor_alloc(arena, 16));
    }
}

OPERATION run_const16(bench_state *state, size_t count) {
    fa_arena *arena = state->frame;
    for (size_t i = 0; i < count; ++i) {
        BENCH_BARRIER(fa_arena_alloc(arena, 16));
    }
}

OPERATION run_const64(bench_state *state, size_t count) {
    fa_arena *arena = state->frame;
    for (size_t i = 0; i < count; ++i) {
        BENCH_BARRIER(fa_arena_alloc(arena, 64));
    }
}

OPERATION run_variable(bench_state *state, size_t count) {
    fa_arena *arena = state->frame;
    size_t size = 40;
    for (size_t i = 0; i < count; ++i) {
        FORGET(size);
        BENCH_BARRIER(fa_arena_alloc(arena, size));
    }
}

OPERATION run_aligned64(bench_state *state, size_t count) {
    fa_arena *arena = state->frame;
    for (size_t i = 0; i < count; ++i) {
        BENCH_BARRIER(fa_arena_alloc_aligned(arena, 48, 64));
    }
}

OPERATION run_try16(bench_state *state, size_t count) {
    fa_arena *arena = state->frame;
    for (size_t i = 0; i < count; ++i) {
        BENCH_BARRIER(fa_arena_try_alloc(arena, 16));
    }
}

OPERATION run_array(bench_state *state, size_t count) {
    fa_arena *arena = state->frame;
    for (size_t i = 0; i < count; ++i) {
        BENCH_BARRIER(fa_arena_array_uninit(arena, uint64_t, 8));
    }
}

OPERATION run_tagged16(bench_state *state, size_t count) {
    fa_tagged tagged = fa_tagged_make(state->context, state->tags[0]);
    for (size_t i = 0; i < count; ++i) {
        BENCH_BARRIER(fa_tagged_alloc(tagged, 16));
    }
}

OPERATION run_current(bench_state *state, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        BENCH_BARRIER(fa_frame_current(state->context));
    }
}

OPERATION run_frame_empty(bench_state *state, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        fa_arena *arena = fa_frame_begin(state->context);
        BENCH_BARRIER(arena);
        fa_frame_end(arena);
    }
}

OPERATION run_frame_used(bench_state *state, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        fa_arena *arena = fa_frame_begin(state->context);
        BENCH_BARRIER(fa_arena_alloc(arena, 16));
        fa_frame_end(arena);
    }
}

OPERATION run_tag_push(bench_state *state, size_t count) {
    fa_arena *arena = state->frame;
    for (size_t i = 0; i < count; ++i) {
        fa_tag_push(state->context, state->tags[i]);
        BENCH_BARRIER(fa_arena_alloc(arena, 16));
    }
}

OPERATION run_tag_pop(bench_state *state, size_t count) {
    fa_arena *arena = state->frame;
    for (size_t i = 0; i < count; ++i) {
        fa_tag_pop(state->context);
        BENCH_BARRIER(fa_arena_alloc(arena, 16));
    }
}

static void push_all(bench_state *state, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        fa_tag_push(state->context, state->tags[i]);
    }
}

static void pop_all(bench_state *state, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        fa_tag_pop(state->context);
    }
}

OPERATION run_scratch(bench_state *state, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        fa_scratch scratch = fa_scratch_begin(state->context, &state->frame, 1);
        BENCH_BARRIER(fa_arena_alloc(scratch.arena, 16));
        fa_scratch_end(scratch);
    }
}

OPERATION run_mark(bench_state *state, size_t count) {
    fa_arena *arena = state->frame;
    for (size_t i = 0; i < count; ++i) {
        fa_mark mark = fa_arena_mark(arena);
        BENCH_BARRIER(fa_arena_alloc(arena, 16));
        fa_arena_rewind(arena, mark);
    }
}

static void floor_empty(bench_state *state, size_t count) {
    (void)count;
    state->floor.cursor = state->floor.base;
}

static void vector_reserve(bench_state *state, size_t count) {
    state->vector = (number_vec){0};
    if (fa_vec_reserve(state->frame, &state->vector, count) < 0) {
        abort();
    }
}

OPERATION run_vec_push(bench_state *state, size_t count) {
    fa_arena *arena = state->frame;
    for (size_t i = 0; i < count; ++i) {
        fa_vec_push(arena, &state->vector, 7);
        BENCH_BARRIER(state);
    }
}

static const operation operations[] = {
    {"loop", NULL, COUNT, true, run_loop, NULL, NULL},
    {"floor16", "loop", COUNT, true, run_floor16, floor_empty, NULL},
    {"const16", "loop", COUNT, true, run_const16, NULL, NULL},
    {"const64", "loop", COUNT, true, run_const64, NULL, NULL},
    {"variable", "loop", COUNT, true, run_variable, NULL, NULL},
    {"aligned64", "loop", COUNT, true, run_aligned64, NULL, NULL},
    {"try16", "loop", COUNT, true, run_try16, NULL, NULL},
    {"array", "loop", COUNT, true, run_array, NULL, NULL},
    {"tagged16", "loop", COUNT, true, run_tagged16, NULL, NULL},
    {"current", "loop", COUNT, true, run_current, NULL, NULL},
    {"vec_push", "loop", COUNT, true, run_vec_push, vector_reserve, NULL},
    {"frame_empty", "loop", FRAMES, false, run_frame_empty, NULL, NULL},
    {"frame_used", "const16", FRAMES, false, run_frame_used, NULL, NULL},
    {"tag_push", "const16", DEPTH, true, run_tag_push, NULL, pop_all},
    {"tag_pop", "const16", DEPTH, true, run_tag_pop, push_all, NULL},
    {"scratch", "const16", COUNT, true, run_scratch, NULL, NULL},
    {"mark", "const16", COUNT, true, run_mark, NULL, NULL},
};

// One counted run. The dump is called "name baseline variant count".
static void run_counted(const operation *what, bench_state *state, const char *variant,
                        size_t count) {
    char title[96];
    snprintf(title, sizeof(title), "%s %s %s %zu", what->name,
             what->baseline != NULL ? what->baseline : "-", variant, count);
    if (what->in_frame) {
        state->frame = fa_frame_begin(state->context);
        BENCH_BARRIER(fa_arena_alloc(state->frame, 16));
    }
    if (what->before != NULL) {
        what->before(state, count);
    }
    CALLGRIND_ZERO_STATS;
    what->run(state, count);
    CALLGRIND_DUMP_STATS_AT(title);
    if (what->after != NULL) {
        what->after(state, count);
    }
    if (what->in_frame) {
        fa_frame_end(state->frame);
    }
}

static void run_variant(bench_state *state, const char *variant) {
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); ++i) {
        run_counted(&operations[i], state, "warm", 2 * operations[i].count);
        run_counted(&operations[i], state, variant, operations[i].count);
        run_counted(&operations[i], state, variant, 2 * operations[i].count);
    }
}

static void fail(const char *what) {
    fprintf(stderr, "count_ops: %s: %s\n", what, fa_last_error()->text);
    exit(1);
}

static void tags_register(bench_state *state) {
    for (size_t i = 0; i < TAGS; ++i) {
        char path[32];
        snprintf(path, sizeof(path), "count/%zu", i);
        state->tags[i] = fa_tag_register(state->context, path);
    }
}

// A memory limit, a thread budget, and hard budgets on the pushed tag and all others.
static void budgets_set(bench_state *state) {
    fa_budget budget = {.soft = (size_t)192 << 20, .hard = (size_t)256 << 20};
    fa_thread_budget thread = {.frame_bytes = (size_t)128 << 20};
    fa_tag outer = fa_tag_register(state->context, "count");
    bool ready = fa_budget_set(state->context, outer, &budget) == FA_OK &&
                 fa_budget_set_thread(state->context, &thread) == FA_OK;
    for (size_t i = 0; i < TAGS; ++i) {
        ready = ready && fa_budget_set(state->context, state->tags[i], &budget) == FA_OK;
    }
    if (!ready || fa_tag_push(state->context, outer) < 0) {
        fail("budgets");
    }
}

int main(void) {
    static bench_state plain;
    static bench_state limited;
    if (fa_context_create(NULL, &plain.context) < 0 ||
        fa_context_create(&(fa_config){.memory_limit = (size_t)1 << 30}, &limited.context) < 0) {
        fail("fa_context_create");
    }
    if (!floor_open(&plain.floor, BENCH_ROOM) || !floor_open(&limited.floor, BENCH_ROOM)) {
        fail("no memory for the hand-written arena");
    }
    tags_register(&plain);
    tags_register(&limited);
    budgets_set(&limited);
    run_variant(&plain, "plain");
    run_variant(&limited, "budgets");
    if (fa_last_error()->result != FA_OK) {
        fail("a call failed while instructions were counted");
    }
    fa_context_destroy(limited.context);
    fa_context_destroy(plain.context);
    return 0;
}

// The program that instructions.sh runs under callgrind: every fast path in a loop of n and of 2n
// operations.
//
// The difference of two runs is n operations, whatever it costs to get into and out of the loop;
// the same difference of a baseline loop is taken off it. Run without valgrind it does the same and
// prints nothing.
#include "count.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

// Few enough that all blocks of a run fit into one lease of a budget: leases are the slow path.
enum { COUNT = 100, FRAMES = 640, DEPTH = COUNT_TAGS / 2 };

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

// A small arena of which others exist: made, filled with ten blocks, and destroyed.
OPERATION run_group(bench_state *state, size_t count) {
    fa_arena_desc desc = {.chunk_size = 4096};
    for (size_t i = 0; i < count; ++i) {
        fa_arena *group = NULL;
        if (fa_arena_create(state->context, &desc, &group) < 0) {
            abort();
        }
        for (size_t block = 0; block < 10; ++block) {
            BENCH_BARRIER(fa_arena_alloc(group, 48));
        }
        fa_arena_destroy(group);
    }
}

static void group_open(bench_state *state, size_t count) {
    (void)count;
    fa_arena_desc desc = {.chunk_size = 4096};
    if (fa_arena_create(state->context, &desc, &state->group) < 0 ||
        fa_arena_alloc(state->group, 48) == NULL) {
        abort();
    }
}

static void group_close(bench_state *state, size_t count) {
    (void)count;
    fa_arena_destroy(state->group);
}

static const operation operations[] = {
    {"loop", NULL, COUNT, true, run_loop, NULL, NULL, 0},
    {"floor16", "loop", COUNT, true, run_floor16, floor_empty, NULL, 0},
    {"const16", "loop", COUNT, true, run_const16, NULL, NULL, 0},
    {"const64", "loop", COUNT, true, run_const64, NULL, NULL, 0},
    {"variable", "loop", COUNT, true, run_variable, NULL, NULL, 0},
    {"aligned64", "loop", COUNT, true, run_aligned64, NULL, NULL, 0},
    {"try16", "loop", COUNT, true, run_try16, NULL, NULL, 0},
    {"array", "loop", COUNT, true, run_array, NULL, NULL, 0},
    {"tagged16", "loop", COUNT, true, run_tagged16, NULL, NULL, 0},
    {"current", "loop", COUNT, true, run_current, NULL, NULL, 0},
    {"vec_push", "loop", COUNT, true, run_vec_push, vector_reserve, NULL, 0},
    {"frame_empty", "loop", FRAMES, false, run_frame_empty, NULL, NULL, 0},
    {"frame_used", "const16", FRAMES, false, run_frame_used, NULL, NULL, 0},
    {"tag_push", "const16", DEPTH, true, run_tag_push, NULL, pop_all, 0},
    {"tag_pop", "const16", DEPTH, true, run_tag_pop, push_all, NULL, 0},
    {"scratch", "const16", COUNT, true, run_scratch, NULL, NULL, 0},
    {"mark", "const16", COUNT, true, run_mark, NULL, NULL, 0},
    {"group", "loop", COUNT, false, run_group, group_open, group_close, 0},
};

// The dump is called "name baseline variant count".
static void run_dumped(const operation *what, bench_state *state, const char *variant,
                       size_t count) {
    char title[96];
    snprintf(title, sizeof(title), "%s %s %s %zu", what->name,
             what->baseline != NULL ? what->baseline : "-", variant, count);
    CALLGRIND_ZERO_STATS;
    what->run(state, count);
    CALLGRIND_DUMP_STATS_AT(title);
}

static void run_counted(const operation *what, bench_state *state, const char *variant,
                        size_t count) {
    if (what->in_frame) {
        state->frame = fa_frame_begin(state->context);
        BENCH_BARRIER(fa_arena_alloc(state->frame, 16));
    }
    size_t runs = what->worst_of > 0 ? what->worst_of : 1;
    if (what->before != NULL) {
        what->before(state, runs * count);
    }
    for (size_t run = 0; run < runs; ++run) {
        run_dumped(what, state, variant, count);
    }
    if (what->after != NULL) {
        what->after(state, runs * count);
    }
    if (what->in_frame) {
        fa_frame_end(state->frame);
    }
}

static void run_operations(bench_state *state, const char *variant, const operation *list,
                           size_t length) {
    for (size_t i = 0; i < length; ++i) {
        if (list[i].worst_of > 0) {
            run_counted(&list[i], state, variant, list[i].count);
            continue;
        }
        run_counted(&list[i], state, "warm", 2 * list[i].count);
        run_counted(&list[i], state, variant, list[i].count);
        run_counted(&list[i], state, variant, 2 * list[i].count);
    }
}

static void fail(const char *what) {
    fprintf(stderr, "count_ops: %s: %s\n", what, fa_last_error()->text);
    exit(1);
}

// Frames are counted in a context that has neither pools nor a heap: looking after those is done at
// the end of some frames, and is none of the frame's own instructions.
static void run_variant(bench_state *state, const char *variant) {
    run_operations(state, variant, operations, sizeof(operations) / sizeof(operations[0]));
    if (!objects_open(state)) {
        fail("objects");
    }
    run_operations(state, variant, object_operations, object_operation_count);
    objects_close(state);
}

static void tags_register(bench_state *state) {
    for (size_t i = 0; i < COUNT_TAGS; ++i) {
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
    for (size_t i = 0; i < COUNT_TAGS; ++i) {
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
    if (fa_context_destroy(limited.context) < 0 || fa_context_destroy(plain.context) < 0) {
        fail("fa_context_destroy");
    }
    return 0;
}

// The floor: a hand-written bump pointer with a check, and hand-written forms of everything built
// on it.
#include "floor.h"

#include <stdlib.h>
#include <string.h>

// A tag as one would write it by hand: bytes from how far the cursor moved, a peak, and a budget
// that becomes the arena's limit while the tag is current.
typedef struct floor_tag {
    size_t bytes;
    size_t peak;
    size_t budget;
} floor_tag;

typedef struct rival_state {
    floor_arena arena;
    char *end;   // End of the memory, which the limit never passes.
    char *since; // Where the cursor stood when the current tag became current.
    floor_tag *stack[8];
    size_t depth;
    floor_tag tags[2];
} rival_state;

typedef floor_arena rival_arena;

BENCH_INLINE rival_arena *rival_begin(rival_state *state) {
    return &state->arena;
}

BENCH_INLINE void *rival_alloc(rival_arena *arena, size_t size) {
    return floor_alloc(arena, size);
}

#define RIVAL_HAS_ALIGNED
BENCH_INLINE void *rival_alloc_aligned(rival_arena *arena, size_t size, size_t align) {
    return floor_alloc_aligned(arena, size, align);
}

BENCH_INLINE void *rival_array(rival_arena *arena, size_t count, size_t size) {
    return floor_alloc(arena, count * size);
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

// ---- Tags --------------------------------------------------------------------------------------

// Books what was allocated since the last switch to the tag that was current.
BENCH_INLINE void tag_settle(rival_state *state) {
    floor_tag *tag = state->stack[state->depth];
    tag->bytes += (size_t)(state->arena.cursor - state->since);
    if (tag->bytes > tag->peak) {
        tag->peak = tag->bytes;
    }
    state->since = state->arena.cursor;
}

// Turns what is left of the current budget into the limit of the arena.
BENCH_INLINE void tag_arm(rival_state *state) {
    const floor_tag *tag = state->stack[state->depth];
    size_t room = (size_t)(state->end - state->arena.cursor);
    size_t left = tag->budget > tag->bytes ? tag->budget - tag->bytes : 0;
    state->arena.limit = state->arena.cursor + (left < room ? left : room);
}

BENCH_INLINE void tag_push(rival_state *state, floor_tag *tag) {
    tag_settle(state);
    state->stack[++state->depth] = tag;
    tag_arm(state);
}

BENCH_INLINE void tag_pop(rival_state *state) {
    tag_settle(state);
    --state->depth;
    tag_arm(state);
}

BENCH_INLINE uint64_t run_tags(rival_state *state, size_t frames, size_t scopes, size_t blocks) {
    uint64_t used = 0;
    for (size_t frame = 0; frame < frames; ++frame) {
        state->since = state->arena.base;
        state->tags[0].bytes = 0;
        state->tags[1].bytes = 0;
        for (size_t i = 0; i < scopes; ++i) {
            tag_push(state, &state->tags[1]);
            for (size_t block = 0; block < blocks; ++block) {
                BENCH_BARRIER(floor_alloc(&state->arena, 64));
            }
            tag_pop(state);
            BENCH_BARRIER(state);
        }
        used += rival_end(state, &state->arena, 0);
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

// ---- Scratch and marks -------------------------------------------------------------------------

// By hand a mark is the cursor, and a rewind is an assignment.
static uint64_t scope_mark(void *state, size_t frames, unsigned entry) {
    (void)entry;
    floor_arena *arena = &((rival_state *)state)->arena;
    for (size_t frame = 0; frame < frames; ++frame) {
        for (size_t i = 0; i < 1000; ++i) {
            char *mark = arena->cursor;
            BENCH_BARRIER(floor_alloc(arena, 64));
            arena->cursor = mark;
            BENCH_BARRIER(arena);
        }
    }
    return 0;
}

static uint64_t scope_scratch(void *state, size_t frames, unsigned entry) {
    (void)entry;
    return scope_mark(state, frames, entry);
}

// ---- Containers --------------------------------------------------------------------------------

typedef struct floor_vector {
    uint32_t *data;
    size_t count;
    size_t capacity;
} floor_vector;

// Doubles; in place when nothing was allocated behind the vector.
static __attribute__((noinline)) bool vector_grow(floor_arena *arena, floor_vector *vector) {
    size_t capacity = vector->capacity == 0 ? 8 : vector->capacity * 2;
    char *end = (char *)(vector->data + vector->capacity);
    if (vector->data != NULL && end == arena->cursor) {
        if (floor_alloc(arena, (capacity - vector->capacity) * sizeof(uint32_t)) == NULL) {
            return false;
        }
        vector->capacity = capacity;
        return true;
    }
    uint32_t *data = (uint32_t *)floor_alloc(arena, capacity * sizeof(uint32_t));
    if (data == NULL) {
        return false;
    }
    if (vector->count > 0) {
        memcpy(data, vector->data, vector->count * sizeof(uint32_t));
    }
    vector->data = data;
    vector->capacity = capacity;
    return true;
}

BENCH_INLINE bool vector_push(floor_arena *arena, floor_vector *vector, uint32_t value) {
    if (vector->count == vector->capacity && !vector_grow(arena, vector)) {
        return false;
    }
    vector->data[vector->count++] = value;
    return true;
}

static uint64_t scope_vector(void *state, size_t frames, unsigned entry) {
    (void)entry;
    rival_state *mine = (rival_state *)state;
    for (size_t frame = 0; frame < frames; ++frame) {
        floor_vector vector = {0};
        for (uint32_t i = 0; i < 128; ++i) {
            vector_push(&mine->arena, &vector, i);
            BENCH_BARRIER(&vector);
        }
        if (vector.count != 128 || vector.data[127] != 127) {
            bench_ledger_fault("vector of the floor");
        }
        rival_end(mine, &mine->arena, 0);
    }
    return 0;
}

// Open addressing with linear probing, key 0 meaning an empty slot, at most half full.
typedef struct floor_map {
    uint64_t *slots; // Key, value, key, value ...
    size_t count;
    size_t capacity;
} floor_map;

static void map_put(floor_map *map, uint64_t key, uint64_t value) {
    size_t mask = map->capacity - 1;
    size_t slot = (size_t)((key * 0x9e3779b97f4a7c15u) >> 32) & mask;
    while (map->slots[2 * slot] != 0 && map->slots[2 * slot] != key) {
        slot = (slot + 1) & mask;
    }
    map->count += map->slots[2 * slot] == 0;
    map->slots[2 * slot] = key;
    map->slots[2 * slot + 1] = value;
}

// Doubles and puts every entry into its new place; the old slots stay behind in the arena.
static bool map_grow(floor_arena *arena, floor_map *map) {
    floor_map bigger = {.capacity = map->capacity == 0 ? 16 : map->capacity * 2};
    size_t bytes = bigger.capacity * 2 * sizeof(uint64_t);
    bigger.slots = (uint64_t *)floor_alloc(arena, bytes);
    if (bigger.slots == NULL) {
        return false;
    }
    memset(bigger.slots, 0, bytes);
    for (size_t slot = 0; slot < map->capacity; ++slot) {
        if (map->slots[2 * slot] != 0) {
            map_put(&bigger, map->slots[2 * slot], map->slots[2 * slot + 1]);
        }
    }
    *map = bigger;
    return true;
}

static uint64_t scope_map(void *state, size_t frames, unsigned entry) {
    (void)entry;
    rival_state *mine = (rival_state *)state;
    for (size_t frame = 0; frame < frames; ++frame) {
        floor_map map = {0};
        for (uint64_t i = 1; i <= 1000; ++i) {
            if (2 * map.count >= map.capacity && !map_grow(&mine->arena, &map)) {
                break;
            }
            map_put(&map, i * 7919, i);
            BENCH_BARRIER(&map);
        }
        if (map.count != 1000) {
            bench_ledger_fault("map of the floor");
        }
        rival_end(mine, &mine->arena, 0);
    }
    return 0;
}

// ---- The rival ---------------------------------------------------------------------------------

#include "workloads.inc"

static void *state_open(void) {
    rival_state *state = (rival_state *)calloc(1, sizeof(*state));
    if (state == NULL || !floor_open(&state->arena, BENCH_ROOM)) {
        free(state);
        return NULL;
    }
    state->end = state->arena.limit;
    state->stack[0] = &state->tags[0];
    state->tags[0].budget = BENCH_ROOM;
    state->tags[1].budget = BENCH_ROOM;
    return state;
}

static void state_close(void *state) {
    floor_close(&((rival_state *)state)->arena);
    free(state);
}

const bench_rival bench_rival_floor = {
    .id = "floor",
    .label = "hand-written bump, checked",
    .open = state_open,
    .close = state_close,
    .runs = rival_runs,
};

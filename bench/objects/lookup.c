// Finding an object of a pool, or a movable block, by its handle, in random order, and reading its
// first bytes; against an index into an array whose elements begin with their generation, written
// by hand.
#include "measures.h"
#include "sources.h"

#include <framealloc/handles.h>

#include <stdio.h>
#include <stdlib.h>

enum { LOOKUPS = 10000, OBJECT_BYTES = 64 };

typedef struct written_slot {
    uint32_t generation;
    uint32_t unused;
    uint64_t object[OBJECT_BYTES / sizeof(uint64_t)];
} written_slot;

// 32 bits of index, 32 of generation.
typedef struct written_table {
    written_slot *slots;
    uint64_t count;
} written_table;

typedef struct lookup_state {
    fa_pool *pool;
    fa_table *blocks;
    written_table table;
    uint64_t *handles; // Shuffled. Of the pool or of the table.
    size_t count;
    size_t step;
    uint64_t sum; // Of what was read: the same for both.
} lookup_state;

BENCH_INLINE uint64_t *written_resolve(const written_table *table, uint64_t handle) {
    uint64_t index = handle & UINT32_MAX;
    if (__builtin_expect(index >= table->count, 0)) {
        return NULL;
    }
    written_slot *slot = &table->slots[index];
    return __builtin_expect(slot->generation == handle >> 32, 1) ? slot->object : NULL;
}

static uint64_t written_run(void *any, size_t rounds, unsigned entry) {
    (void)entry;
    lookup_state *state = (lookup_state *)any;
    uint64_t sum = 0;
    for (size_t round = 0; round < rounds; ++round) {
        const uint64_t *handles = state->handles + state->step;
        state->step = (state->step + LOOKUPS) % state->count;
        for (size_t i = 0; i < LOOKUPS; ++i) {
            const uint64_t *object = written_resolve(&state->table, handles[i]);
            BENCH_BARRIER(object);
            sum += object != NULL ? object[0] : 0;
        }
    }
    state->sum += sum;
    return sum;
}

static uint64_t pool_run(void *any, size_t rounds, unsigned entry) {
    (void)entry;
    lookup_state *state = (lookup_state *)any;
    const fa_pool *pool = state->pool;
    uint64_t sum = 0;
    for (size_t round = 0; round < rounds; ++round) {
        const uint64_t *handles = state->handles + state->step;
        state->step = (state->step + LOOKUPS) % state->count;
        for (size_t i = 0; i < LOOKUPS; ++i) {
            const uint64_t *object =
                (const uint64_t *)fa_pool_resolve(pool, (fa_handle){handles[i]});
            BENCH_BARRIER(object);
            sum += object != NULL ? object[0] : 0;
        }
    }
    state->sum += sum;
    return sum;
}

static uint64_t blocks_run(void *any, size_t rounds, unsigned entry) {
    (void)entry;
    lookup_state *state = (lookup_state *)any;
    const fa_table *blocks = state->blocks;
    uint64_t sum = 0;
    for (size_t round = 0; round < rounds; ++round) {
        const uint64_t *handles = state->handles + state->step;
        state->step = (state->step + LOOKUPS) % state->count;
        for (size_t i = 0; i < LOOKUPS; ++i) {
            const uint64_t *object =
                (const uint64_t *)fa_block_resolve(blocks, (fa_block){handles[i]});
            BENCH_BARRIER(object);
            sum += object != NULL ? object[0] : 0;
        }
    }
    state->sum += sum;
    return sum;
}

// ---- Setting up --------------------------------------------------------------------------------

// Object i holds i + 1.
static bool written_open(lookup_state *state) {
    state->table.slots = (written_slot *)calloc(state->count, sizeof(written_slot));
    if (state->table.slots == NULL) {
        return false;
    }
    state->table.count = state->count;
    for (size_t i = 0; i < state->count; ++i) {
        state->table.slots[i].generation = 1;
        state->table.slots[i].object[0] = i + 1;
        state->handles[i] = (uint64_t)1 << 32 | i;
    }
    return true;
}

static bool pool_open(lookup_state *state) {
    state->pool = source_pool_open(
        &(fa_pool_desc){.name = "lookup", .size = OBJECT_BYTES, .align = 8, .handles = true});
    for (size_t i = 0; state->pool != NULL && i < state->count; ++i) {
        uint64_t *object = (uint64_t *)fa_pool_alloc(state->pool);
        if (object == NULL) {
            return false;
        }
        object[0] = i + 1;
        state->handles[i] = fa_pool_handle(state->pool, object).value;
    }
    return state->pool != NULL;
}

static bool blocks_open(lookup_state *state) {
    fa_context *context = source_context_open();
    if (context == NULL || fa_table_create(context, NULL, &state->blocks) < 0) {
        return false;
    }
    for (size_t i = 0; i < state->count; ++i) {
        fa_block block = fa_block_alloc(state->blocks, OBJECT_BYTES, 16);
        uint64_t *object = (uint64_t *)fa_block_resolve(state->blocks, block);
        if (object == NULL) {
            return false;
        }
        object[0] = i + 1;
        state->handles[i] = block.value;
    }
    return true;
}

// The same order for everybody.
static void handles_shuffle(uint64_t *handles, size_t count) {
    uint64_t random = 0x9e3779b97f4a7c15u;
    for (size_t i = count; i > 1; --i) {
        size_t other = (size_t)(random_next(&random) % i);
        uint64_t kept = handles[i - 1];
        handles[i - 1] = handles[other];
        handles[other] = kept;
    }
}

static bool lookup_open(lookup_state *state, size_t count, bool (*open)(lookup_state *)) {
    *state = (lookup_state){.count = count};
    state->handles = (uint64_t *)malloc(count * sizeof(*state->handles));
    if (state->handles == NULL || !open(state)) {
        fprintf(stderr, "fa_bench_objects: look-up: no memory\n");
        return false;
    }
    handles_shuffle(state->handles, count);
    return true;
}

// All of it once: every object is found, each once.
static bool lookup_is_right(lookup_state *state, contest_run_fn run) {
    state->sum = 0;
    run(state, state->count / LOOKUPS, 0);
    bool is_right = state->sum == (uint64_t)state->count * (state->count + 1) / 2;
    if (!is_right) {
        fprintf(stderr, "fa_bench_objects: look-up: an object was not found\n");
    }
    return is_right;
}

// After frees in random order and new objects in their places, old handles find nothing.
static bool stale_handles_find_nothing(lookup_state *state) {
    for (size_t i = 0; i < state->count; i += 2) {
        void *object = fa_pool_resolve(state->pool, (fa_handle){state->handles[i]});
        fa_pool_free(state->pool, object);
        if (fa_pool_alloc(state->pool) == NULL) {
            return false;
        }
    }
    size_t found = 0;
    for (size_t i = 0; i < state->count; ++i) {
        found += fa_pool_resolve(state->pool, (fa_handle){state->handles[i]}) != NULL;
    }
    if (found != state->count / 2) {
        fprintf(stderr, "fa_bench_objects: look-up: %zu handles found something, not %zu\n", found,
                state->count / 2);
    }
    return found == state->count / 2;
}

static bool lookup_contest(size_t count, object_table *table, const object_options *options) {
    static const struct {
        const char *id;
        contest_run_fn run;
        bool (*open)(lookup_state *state);
    } rivals[] = {{"written", written_run, written_open},
                  {"pool", pool_run, pool_open},
                  {"blocks", blocks_run, blocks_open}};
    enum { RIVALS = sizeof(rivals) / sizeof(rivals[0]) };
    lookup_state states[RIVALS];
    contestant contestants[RIVALS];
    contest_rules rules = {.sample_ns = count > LOOKUPS ? 1000000 : 100000,
                           .entries = 1,
                           .seconds = options->seconds,
                           .repeats_min = 9,
                           .repeats_max = TABLE_SAMPLES};
    for (size_t i = 0; i < RIVALS; ++i) {
        if (!lookup_open(&states[i], count, rivals[i].open) ||
            !lookup_is_right(&states[i], rivals[i].run)) {
            return false;
        }
        object_table_rival(table, rivals[i].id);
        contestants[i] =
            (contestant){.run = rivals[i].run, .state = &states[i], .samples = table->samples[i]};
        contestant_calibrate(&contestants[i], &rules);
        contestants[i].rounds = contestants[0].rounds; // All look up the same ones.
        states[i].step = 0;
    }
    table->repeats = contest_run(contestants, RIVALS, &rules);
    for (size_t rival = 0; rival < RIVALS; ++rival) {
        for (size_t i = 0; i < table->repeats; ++i) {
            table->samples[rival][i] /= LOOKUPS;
        }
    }
    return stale_handles_find_nothing(&states[1]);
}

bool lookup_few(object_table *tables, const object_options *options) {
    return lookup_contest(LOOKUPS, tables, options);
}

bool lookup_many(object_table *tables, const object_options *options) {
    return lookup_contest(100 * LOOKUPS, tables, options);
}

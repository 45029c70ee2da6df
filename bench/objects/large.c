// Large blocks: 64 KiB to 8 MiB, one at a time and a set of which one after the other is replaced;
// and an array that grows to 16 MiB, push by push.
#include "measures.h"
#include "sources.h"

#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 256, LIVE = 32, RIVALS = 5 };
enum { GROWN_BYTES = 16 << 20, FIRST_BYTES = 64 };

typedef struct large_state {
    object_source source;
    void *live[LIVE];
    size_t step;
    bool failed;
} large_state;

static size_t sizes[STEPS];
static size_t places[STEPS];

// Each power of two is as likely as the next; within it, all sizes are.
static void sizes_init(void) {
    uint64_t random = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < STEPS; ++i) {
        size_t base = (size_t)65536 << (random_next(&random) % 7);
        sizes[i] = base + (size_t)(random_next(&random) % base);
        places[i] = (size_t)(random_next(&random) % LIVE);
    }
}

// Allocates, and writes at both ends.
static void *large_alloc(large_state *state, size_t size) {
    char *ptr = (char *)state->source.alloc(state->source.self, size);
    if (ptr == NULL) {
        state->failed = true;
        return NULL;
    }
    ptr[0] = 1;
    ptr[size - 1] = 1;
    BENCH_BARRIER(ptr);
    return ptr;
}

static uint64_t pair_run(void *any, size_t rounds, unsigned entry) {
    (void)entry;
    large_state *state = (large_state *)any;
    for (size_t round = 0; round < rounds; ++round) {
        for (size_t i = 0; i < STEPS; ++i) {
            void *ptr = large_alloc(state, sizes[i]);
            state->source.free(state->source.self, ptr);
        }
    }
    return 0;
}

static uint64_t live_run(void *any, size_t rounds, unsigned entry) {
    (void)entry;
    large_state *state = (large_state *)any;
    for (size_t round = 0; round < rounds; ++round) {
        for (size_t i = 0; i < STEPS; ++i) {
            void **place = &state->live[places[i]];
            if (*place != NULL) {
                state->source.free(state->source.self, *place);
            }
            *place = large_alloc(state, sizes[i]);
        }
    }
    return 0;
}

// An array of 8-byte elements that doubles when it is full. All is written.
static uint64_t growth_run(void *any, size_t rounds, unsigned entry) {
    (void)entry;
    large_state *state = (large_state *)any;
    object_source *source = &state->source;
    for (size_t round = 0; round < rounds; ++round) {
        uint64_t *data = NULL;
        size_t capacity = 0;
        for (size_t count = 0; count < GROWN_BYTES / sizeof(*data); ++count) {
            if (count == capacity) {
                capacity = capacity == 0 ? FIRST_BYTES / sizeof(*data) : capacity * 2;
                size_t bytes = capacity * sizeof(*data);
                data = (uint64_t *)(data == NULL ? source->alloc(source->self, bytes)
                                                 : source->resize(source->self, data, bytes));
                if (data == NULL) {
                    state->failed = true;
                    return 0;
                }
            }
            data[count] = count;
            BENCH_BARRIER(data);
        }
        for (size_t i = 0; i < GROWN_BYTES / sizeof(*data); i += 4099) {
            state->failed = state->failed || data[i] != i;
        }
        source->free(source->self, data);
    }
    return 0;
}

static bool large_contest(object_table *table, const object_options *options, contest_run_fn run,
                          size_t operations, uint64_t sample_ns) {
    static const char *const rivals[RIVALS] = {"heap", "mimalloc", "jemalloc", "tcmalloc", "glibc"};
    static large_state states[RIVALS];
    contestant contestants[RIVALS];
    contest_rules rules = {.sample_ns = sample_ns,
                           .entries = 1,
                           .seconds = options->seconds,
                           .repeats_min = 9,
                           .repeats_max = TABLE_SAMPLES};
    size_t count = 0;
    sizes_init();
    for (size_t i = 0; i < RIVALS; ++i) {
        if (!source_is_here(rivals[i]) || !source_open(rivals[i], &states[count].source)) {
            continue;
        }
        object_table_rival(table, rivals[i]);
        contestants[count] =
            (contestant){.run = run, .state = &states[count], .samples = table->samples[count]};
        contestant_calibrate(&contestants[count++], &rules);
    }
    table->repeats = contest_run(contestants, count, &rules);
    bool failed = false;
    for (size_t rival = 0; rival < count; ++rival) {
        failed = failed || states[rival].failed;
        for (size_t i = 0; i < table->repeats; ++i) {
            table->samples[rival][i] /= (double)operations;
        }
        for (size_t i = 0; i < LIVE; ++i) {
            if (states[rival].live[i] != NULL) {
                states[rival].source.free(states[rival].source.self, states[rival].live[i]);
            }
        }
        states[rival].source.close(states[rival].source.self);
    }
    if (failed) {
        fprintf(stderr, "fa_bench_objects: large blocks: an allocation failed or lost its bytes\n");
    }
    return !failed;
}

bool large_pair_contest(object_table *tables, const object_options *options) {
    return large_contest(tables, options, pair_run, STEPS, 300000);
}

bool large_live_contest(object_table *tables, const object_options *options) {
    return large_contest(tables, options, live_run, STEPS, 1000000);
}

bool growth_contest(object_table *tables, const object_options *options) {
    return large_contest(tables, options, growth_run, GROWN_BYTES / sizeof(uint64_t), 5000000);
}

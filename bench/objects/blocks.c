// Single blocks: checks every rival, then lets them run in turn.
#include "objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const blocks_rival *const rivals[] = {
    &blocks_rival_list,      &blocks_rival_stack,         &blocks_rival_pool,
    &blocks_rival_pool_tags, &blocks_rival_pool_handles,  &blocks_rival_pool_called,
    &blocks_rival_heap,      &blocks_rival_mimalloc_heap, &blocks_rival_mimalloc,
    &blocks_rival_jemalloc,  &blocks_rival_tcmalloc,      &blocks_rival_glibc,
};
enum { RIVALS = sizeof(rivals) / sizeof(rivals[0]), CHECK_ROUNDS = 40 };

static const struct {
    size_t operations;
    uint64_t sample_ns;
    unsigned entries;
    bool is_mixed;
} workloads[BLOCKS_COUNT] = {
#define BLOCKS(id, title, operations, sample_us, entries, is_mixed)                                \
    {operations, (sample_us)*1000u, entries, is_mixed},
#include "blocks.def"
};

const uint16_t blocks_sizes[8] = {16, 32, 48, 64, 96, 128, 256, 512};

// ---- What the loops run on ---------------------------------------------------------------------

static uint32_t order[BLOCKS_SOME];
static uint32_t churn[BLOCKS_STEPS];
static uint16_t sizes[BLOCKS_STEPS];

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void orders_init(void) {
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (uint32_t i = 0; i < BLOCKS_SOME; ++i) {
        order[i] = i;
    }
    for (uint32_t i = BLOCKS_SOME; i > 1; --i) {
        uint32_t other = (uint32_t)(random_next(&state) % i);
        uint32_t kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
    for (uint32_t i = 0; i < BLOCKS_STEPS; ++i) {
        churn[i] = (uint32_t)(random_next(&state) % BLOCKS_LIVE_MAX);
        sizes[i] = blocks_sizes[random_next(&state) % 8];
    }
}

// ---- Checking ----------------------------------------------------------------------------------

static unsigned char pattern_of(uint32_t seed, size_t at) {
    return (unsigned char)(seed * 167u + (seed >> 8) * 59u + at);
}

void blocks_fill(void *ptr, uint32_t size, uint32_t seed, size_t align) {
    if (ptr == NULL || (uintptr_t)ptr % align != 0) {
        bench_ledger_fault(ptr == NULL ? "an allocation returned NULL" : "a block is misaligned");
        return;
    }
    for (size_t i = 0; i < size; ++i) {
        ((unsigned char *)ptr)[i] = pattern_of(seed, i);
    }
}

void blocks_verify(const void *ptr, uint32_t size, uint32_t seed) {
    for (size_t i = 0; ptr != NULL && i < size; ++i) {
        if (((const unsigned char *)ptr)[i] != pattern_of(seed, i)) {
            bench_ledger_fault("a block was written over while it was in use");
            return;
        }
    }
}

// ---- The contest -------------------------------------------------------------------------------

typedef struct participant {
    const blocks_rival *rival;
    blocks_state state;
} participant;

static bool participant_open(participant *out, const blocks_rival *rival, blocks_id what) {
    *out = (participant){.rival = rival, .state = {.order = order, .churn = churn, .sizes = sizes}};
    out->state.source = rival->open();
    if (out->state.source == NULL) {
        return false;
    }
    out->state.live = (live_block *)calloc(BLOCKS_LIVE_MAX, sizeof(live_block));
    out->state.blocks = (void **)calloc(BLOCKS_SOME, sizeof(void *));
    if (out->state.live == NULL || out->state.blocks == NULL ||
        !rival->loops[what].begin(&out->state)) {
        bench_ledger_fault("no memory");
    }
    return true;
}

static void participant_close(participant *who, blocks_id what) {
    who->rival->loops[what].end(&who->state);
    who->rival->close(who->state.source);
    free(who->state.live);
    free(who->state.blocks);
}

static bool participant_is_right(participant *who, blocks_id what) {
    size_t bytes = 0;
    size_t blocks = 0;
    who->rival->loops[what].check(&who->state, CHECK_ROUNDS, 0);
    size_t faults = bench_ledger_clear(&bytes, &blocks);
    if (faults > 0) {
        fprintf(stderr, "fa_bench_objects: %s: %zu checks failed\n", who->rival->id, faults);
    }
    return faults == 0;
}

static void samples_store(object_table *table, const contestant *contestants, size_t count,
                          size_t repeats, size_t operations) {
    for (size_t i = 0; i < count; ++i) {
        for (size_t repeat = 0; repeat < repeats; ++repeat) {
            table->samples[i][repeat] = contestants[i].samples[repeat] / (double)operations;
        }
    }
    table->repeats = repeats;
}

bool blocks_contest(blocks_id what, object_table *table, const object_options *options) {
    static participant all[RIVALS];
    contestant contestants[RIVALS];
    contest_rules rules = {.sample_ns = workloads[what].sample_ns,
                           .entries = workloads[what].entries,
                           .seconds = options->seconds,
                           .repeats_min = 9,
                           .repeats_max = TABLE_SAMPLES};
    bool is_right = true;
    size_t count = 0;
    orders_init();
    for (size_t i = 0; i < RIVALS; ++i) {
        if ((workloads[what].is_mixed && !rivals[i]->has_sizes) ||
            !participant_open(&all[count], rivals[i], what)) {
            continue;
        }
        is_right = participant_is_right(&all[count], what) && is_right;
        object_table_rival(table, rivals[i]->id);
        contestants[count] = (contestant){.run = rivals[i]->loops[what].run,
                                          .state = &all[count].state,
                                          .samples = table->samples[count]};
        contestant_calibrate(&contestants[count++], &rules);
    }
    size_t repeats = contest_run(contestants, count, &rules);
    samples_store(table, contestants, count, repeats, workloads[what].operations);
    for (size_t i = 0; i < count; ++i) {
        participant_close(&all[i], what);
    }
    return is_right;
}

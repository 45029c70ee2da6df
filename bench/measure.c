// Measures one workload on all its rivals, interleaved (contest.h), after checking that they do it.
#include "bench.h"
#include "contest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RIVALS_MAX = 16, CHECK_FRAMES = 3 };

// ---- Checking ----------------------------------------------------------------------------------

// Runs a few checked frames and a timed one, and compares what was allocated with what should have
// been.
static bool rival_is_right(const bench_rival *rival, void *state, const bench_workload *workload,
                           const bench_run *run) {
    size_t bytes = 0;
    size_t blocks = 0;
    bench_ledger_clear(&bytes, &blocks);
    run->check(state, CHECK_FRAMES, 0);
    size_t faults = bench_ledger_clear(&bytes, &blocks);
    bool is_checked = run->check != run->run;
    if (is_checked && (bytes != CHECK_FRAMES * workload->bytes || blocks % CHECK_FRAMES != 0)) {
        fprintf(stderr, "fa_bench: %s, %s: %zu bytes in %zu blocks instead of %zu bytes\n",
                workload->id, rival->id, bytes, blocks, CHECK_FRAMES * workload->bytes);
        return false;
    }
    uint64_t used = 0;
    for (unsigned entry = 0; entry < BENCH_ENTRIES; ++entry) {
        used = run->run(state, CHECK_FRAMES, entry);
    }
    if (used != 0 && used < CHECK_FRAMES * workload->bytes) {
        fprintf(stderr, "fa_bench: %s, %s: says it used %llu bytes of %zu\n", workload->id,
                rival->id, (unsigned long long)used, CHECK_FRAMES * workload->bytes);
        return false;
    }
    faults += bench_ledger_clear(&bytes, &blocks);
    if (faults > 0) {
        fprintf(stderr, "fa_bench: %s, %s: %zu checks failed\n", workload->id, rival->id, faults);
    }
    return faults == 0;
}

// ---- Timing ------------------------------------------------------------------------------------

// A sample is long against one reading of the clock, and short against the scheduler's time slice.
static const contest_rules rules = {.sample_ns = 15000,
                                    .entries = BENCH_ENTRIES,
                                    .repeats_min = 15,
                                    .repeats_max = CONTEST_REPEATS_MAX};

// Who takes part in a workload, and which rival that is.
typedef struct field {
    contestant contestants[RIVALS_MAX];
    size_t rivals[RIVALS_MAX]; // Index into rivals and results.
    size_t count;
} field;

// The contestant that is the rival called `id`, or NULL.
static const contestant *field_find(const field *all, const bench_rival *const *rivals,
                                    const char *id) {
    for (size_t i = 0; i < all->count; ++i) {
        if (strcmp(rivals[all->rivals[i]]->id, id) == 0) {
            return &all->contestants[i];
        }
    }
    return NULL;
}

// Turns samples into results. Where malloc alone has no such workload, the containers on malloc
// stand in for it.
static void results_fill(const field *all, const bench_rival *const *rivals, size_t repeats,
                         size_t operations, double *room, bench_result *results) {
    const contestant *floor = field_find(all, rivals, "floor");
    const contestant *base = field_find(all, rivals, "malloc");
    if (base == NULL) {
        base = field_find(all, rivals, "std");
    }
    for (size_t i = 0; i < all->count; ++i) {
        const contestant *who = &all->contestants[i];
        bench_result *result = &results[all->rivals[i]];
        double best = min_of(who->samples, repeats);
        result->offered = true;
        result->min_ns = best / (double)operations;
        memcpy(room, who->samples, repeats * sizeof(*room));
        result->median_ns = median_of(room, repeats) / (double)operations;
        if (floor != NULL) {
            result->floor_ratio = median_ratio(who->samples, floor->samples, repeats, room);
            result->floor_ratio_of_min = best / min_of(floor->samples, repeats);
        }
        if (base != NULL) {
            result->malloc_ratio = median_ratio(who->samples, base->samples, repeats, room);
        }
    }
}

size_t bench_measure(bench_workload_id workload, const bench_rival *const *rivals,
                     void *const *states, size_t rival_count, const bench_options *options,
                     bench_result *results) {
    field all = {.count = 0};
    contest_rules timed = rules;
    timed.seconds = options->seconds;
    size_t most = timed.repeats_max;
    double *samples = (double *)malloc((RIVALS_MAX + 1) * most * sizeof(*samples));
    if (samples == NULL) {
        return 0;
    }
    for (size_t i = 0; i < rival_count; ++i) {
        const bench_run *run = &rivals[i]->runs[workload];
        results[i] = (bench_result){.rival = rivals[i]};
        if (run->run == NULL || all.count == RIVALS_MAX) {
            continue;
        }
        if (!rival_is_right(rivals[i], states[i], &bench_workloads[workload], run)) {
            free(samples);
            return 0;
        }
        contestant *who = &all.contestants[all.count];
        *who = (contestant){
            .run = run->run, .state = states[i], .samples = samples + all.count * most};
        all.rivals[all.count++] = i;
        contestant_calibrate(who, &timed);
    }
    size_t repeats = contest_run(all.contestants, all.count, &timed);
    results_fill(&all, rivals, repeats, bench_workloads[workload].count,
                 samples + RIVALS_MAX * most, results);
    free(samples);
    return repeats;
}

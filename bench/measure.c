// Measures one workload on all its rivals, interleaved: in every repeat each rival runs for a few
// frames, in an order that rotates. What the machine does meanwhile (clock speed, other programs)
// so hits all of them alike, and the ratio within one repeat stays meaningful when the times do
// not.
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RIVALS_MAX = 16, REPEATS_MAX = 8192, REPEATS_MIN = 15, CHECK_FRAMES = 3 };

// A sample is long against one reading of the clock, and short against the scheduler's time slice.
static const uint64_t sample_ns = 15000;

uint64_t bench_clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// The best of many tries: interrupts only ever make it longer.
double bench_clock_cost_ns(void) {
    enum { READINGS = 2000, TRIES = 50 };
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < TRIES; ++i) {
        uint64_t start = bench_clock_ns();
        for (int reading = 0; reading < READINGS; ++reading) {
            BENCH_BARRIER(bench_clock_ns());
        }
        uint64_t spent = bench_clock_ns() - start;
        best = spent < best ? spent : best;
    }
    return (double)best / READINGS;
}

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

typedef struct contestant {
    size_t index; // Into rivals and results.
    bench_run_fn run;
    void *state;
    size_t frames;   // Per sample.
    double *samples; // Nanoseconds per frame.
} contestant;

// Nanoseconds of one sample. The reading of the clock itself is in it: a few thousandths.
static uint64_t contestant_time(const contestant *who, unsigned entry) {
    uint64_t start = bench_clock_ns();
    who->run(who->state, who->frames, entry);
    return bench_clock_ns() - start;
}

// The fastest of the loop variants: the speed that the loop has when it is entered well. Luck with
// the way in would otherwise be most of the difference between rivals that need equally many
// instructions.
static uint64_t contestant_time_best(const contestant *who) {
    uint64_t best = UINT64_MAX;
    for (unsigned entry = 0; entry < BENCH_ENTRIES; ++entry) {
        uint64_t spent = contestant_time(who, entry);
        best = spent < best ? spent : best;
    }
    return best;
}

// Finds how many frames make a sample, and warms up on the way.
static void contestant_calibrate(contestant *who) {
    who->frames = 1;
    while (contestant_time(who, 0) < sample_ns && who->frames < ((size_t)1 << 24)) {
        who->frames *= 2;
    }
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 5; ++i) {
        uint64_t spent = contestant_time(who, 0);
        best = spent < best ? spent : best;
    }
    uint64_t frames = who->frames * sample_ns / (best > 0 ? best : 1);
    who->frames = frames > 0 ? (size_t)frames : 1;
}

// Takes samples until the time is up. In each repeat another rival is first, so that none always
// runs behind the same neighbour with its leftovers in the caches. Returns the number of repeats.
static size_t samples_take(contestant *contestants, size_t count, double seconds) {
    uint64_t end = bench_clock_ns() + (uint64_t)(seconds * 1e9);
    size_t repeat = 0;
    while (repeat < REPEATS_MAX && (repeat < REPEATS_MIN || bench_clock_ns() < end)) {
        for (size_t turn = 0; turn < count; ++turn) {
            contestant *who = &contestants[(turn + repeat) % count];
            who->samples[repeat] = (double)contestant_time_best(who) / (double)who->frames;
        }
        ++repeat;
    }
    return repeat;
}

// ---- Statistics --------------------------------------------------------------------------------

static int compare_doubles(const void *left, const void *right) {
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

// Sorts `values`.
static double median_of(double *values, size_t count) {
    qsort(values, count, sizeof(*values), compare_doubles);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static double min_of(const double *values, size_t count) {
    double best = values[0];
    for (size_t i = 1; i < count; ++i) {
        best = values[i] < best ? values[i] : best;
    }
    return best;
}

// The median over the repeats of how many times longer `samples` took than `base` in the same
// repeat.
static double median_ratio(const double *samples, const double *base, size_t count, double *room) {
    for (size_t i = 0; i < count; ++i) {
        room[i] = samples[i] / base[i];
    }
    return median_of(room, count);
}

// The contestant that is the rival called `id`, or NULL.
static const contestant *contestant_find(const contestant *contestants, size_t count,
                                         const bench_rival *const *rivals, const char *id) {
    for (size_t i = 0; i < count; ++i) {
        if (strcmp(rivals[contestants[i].index]->id, id) == 0) {
            return &contestants[i];
        }
    }
    return NULL;
}

// Turns samples into results. Where malloc alone has no such workload, the containers on malloc
// stand in for it.
static void results_fill(const contestant *contestants, size_t count,
                         const bench_rival *const *rivals, size_t repeats, size_t operations,
                         double *room, bench_result *results) {
    const contestant *floor = contestant_find(contestants, count, rivals, "floor");
    const contestant *base = contestant_find(contestants, count, rivals, "malloc");
    if (base == NULL) {
        base = contestant_find(contestants, count, rivals, "std");
    }
    for (size_t i = 0; i < count; ++i) {
        const contestant *who = &contestants[i];
        bench_result *result = &results[who->index];
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
    contestant contestants[RIVALS_MAX];
    size_t count = 0;
    double *samples = (double *)malloc((RIVALS_MAX + 1) * REPEATS_MAX * sizeof(*samples));
    if (samples == NULL) {
        return 0;
    }
    for (size_t i = 0; i < rival_count; ++i) {
        const bench_run *run = &rivals[i]->runs[workload];
        results[i] = (bench_result){.rival = rivals[i]};
        if (run->run == NULL || count == RIVALS_MAX) {
            continue;
        }
        if (!rival_is_right(rivals[i], states[i], &bench_workloads[workload], run)) {
            free(samples);
            return 0;
        }
        contestants[count] = (contestant){.index = i,
                                          .run = run->run,
                                          .state = states[i],
                                          .samples = samples + count * REPEATS_MAX};
        contestant_calibrate(&contestants[count++]);
    }
    size_t repeats = samples_take(contestants, count, options->seconds);
    results_fill(contestants, count, rivals, repeats, bench_workloads[workload].count,
                 samples + RIVALS_MAX * REPEATS_MAX, results);
    free(samples);
    return repeats;
}

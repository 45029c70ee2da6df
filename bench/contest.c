// Taking samples in turn, and what is computed from them.
#include "contest.h"

#include "bench.h"

#include <stdlib.h>
#include <time.h>

// ---- Time --------------------------------------------------------------------------------------

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

// ---- Samples -----------------------------------------------------------------------------------

// Nanoseconds of one sample. The reading of the clock itself is in it: a few thousandths.
static uint64_t contestant_time(const contestant *who, unsigned entry) {
    uint64_t start = bench_clock_ns();
    who->run(who->state, who->rounds, entry);
    return bench_clock_ns() - start;
}

// The fastest of the loop variants: the speed that the loop has when it is entered well. Luck with
// the way in would otherwise be most of the difference between rivals that need equally many
// instructions.
static uint64_t contestant_time_best(const contestant *who, unsigned entries) {
    uint64_t best = UINT64_MAX;
    for (unsigned entry = 0; entry < entries; ++entry) {
        uint64_t spent = contestant_time(who, entry);
        best = spent < best ? spent : best;
    }
    return best;
}

void contestant_calibrate(contestant *who, const contest_rules *rules) {
    who->rounds = 1;
    while (contestant_time(who, 0) < rules->sample_ns && who->rounds < ((size_t)1 << 24)) {
        who->rounds *= 2;
    }
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 5; ++i) {
        uint64_t spent = contestant_time(who, 0);
        best = spent < best ? spent : best;
    }
    uint64_t rounds = who->rounds * rules->sample_ns / (best > 0 ? best : 1);
    who->rounds = rounds > 0 ? (size_t)rounds : 1;
}

// In each repeat another contestant is first, so that none always runs behind the same neighbour
// with its leftovers in the caches.
size_t contest_run(contestant *contestants, size_t count, const contest_rules *rules) {
    uint64_t end = bench_clock_ns() + (uint64_t)(rules->seconds * 1e9);
    size_t repeat = 0;
    while (repeat < rules->repeats_max && (repeat < rules->repeats_min || bench_clock_ns() < end)) {
        for (size_t turn = 0; turn < count; ++turn) {
            contestant *who = &contestants[(turn + repeat) % count];
            uint64_t best = contestant_time_best(who, rules->entries);
            who->samples[repeat] = (double)best / (double)who->rounds;
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

double median_of(double *values, size_t count) {
    qsort(values, count, sizeof(*values), compare_doubles);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

double min_of(const double *values, size_t count) {
    double best = values[0];
    for (size_t i = 1; i < count; ++i) {
        best = values[i] < best ? values[i] : best;
    }
    return best;
}

double median_ratio(const double *samples, const double *base, size_t count, double *room) {
    for (size_t i = 0; i < count; ++i) {
        room[i] = samples[i] / base[i];
    }
    return median_of(room, count);
}

// A contest: the same work done by several contestants, interleaved. In every repeat each runs for
// one sample, in an order that rotates, so that what the machine does meanwhile (clock speed, other
// programs) hits all of them alike, and the ratio within one repeat stays meaningful when the times
// do not.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Most samples of one contestant.
#define CONTEST_REPEATS_MAX 8192

// Does the work `rounds` times, through the loop variant `entry`. See BENCH_ENTRIES in bench.h.
typedef uint64_t (*contest_run_fn)(void *state, size_t rounds, unsigned entry);

typedef struct contestant {
    contest_run_fn run;
    void *state;
    double *samples; // Nanoseconds per round; room for contest_rules.repeats_max.
    size_t rounds;   // Per sample; contestant_calibrate() finds it.
} contestant;

typedef struct contest_rules {
    uint64_t sample_ns; // How long one sample should take.
    unsigned entries;   // So many loop variants; the fastest of them is the sample.
    double seconds;     // For all contestants together.
    size_t repeats_min; // Taken even when the time is up.
    size_t repeats_max;
} contest_rules;

// Finds how many rounds make a sample, and warms up on the way.
void contestant_calibrate(contestant *who, const contest_rules *rules);
// Takes samples until the time is up. Returns the number of repeats.
size_t contest_run(contestant *contestants, size_t count, const contest_rules *rules);

// Statistics. `room` is for as many values; median_of() sorts its values.
double median_of(double *values, size_t count);
double min_of(const double *values, size_t count);
// The median over the repeats of how many times as much `samples` has as `base` in the same repeat.
double median_ratio(const double *samples, const double *base, size_t count, double *room);

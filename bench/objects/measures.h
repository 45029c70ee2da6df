// The measures that are no contest of single blocks, and what they share.
#pragma once

#include "objects.h"

// Xorshift: the same numbers in every run.
BENCH_INLINE uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

// Handles: lookup.c.
bool lookup_few(object_table *tables, const object_options *options);
bool lookup_many(object_table *tables, const object_options *options);

// A million objects at once: drop.c.
bool drop_figure(const char *rival, double *values, const object_options *options);

// Every operation for itself: latency.c.
bool latency_contest(object_table *tables, const object_options *options);

// Several threads: threads.c.
bool larson_figure(const char *rival, double *values, const object_options *options);
bool ring_figure(const char *rival, double *values, const object_options *options);
bool freeing_figure(const char *rival, double *values, const object_options *options);

// Large blocks: large.c.
bool large_pair_contest(object_table *tables, const object_options *options);
bool large_live_contest(object_table *tables, const object_options *options);
bool growth_contest(object_table *tables, const object_options *options);

// Resident memory: resident.c, crowd.c.
bool churned_figure(const char *rival, double *values, const object_options *options);
bool reloaded_figure(const char *rival, double *values, const object_options *options);
bool unloaded_figure(const char *rival, double *values, const object_options *options);
bool unloaded_assets_figure(const char *rival, double *values, const object_options *options);
bool crowd_figure(const char *rival, double *values, const object_options *options);
bool soak_figure(const char *rival, double *values, const object_options *options);

// A game from its trace: replay.c.
bool replay_contest(object_table *tables, const object_options *options);

// Bytes that this process holds now.
double resident_now(void);

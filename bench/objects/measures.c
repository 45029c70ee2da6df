// The list of everything that is measured, in the order of the tables.
#include "measures.h"

#define BLOCKS(id, title, operations, sample_us, entries, is_mixed)                                \
    static bool contest_##id(object_table *tables, const object_options *options) {                \
        return blocks_contest(BLOCKS_##id, tables, options);                                       \
    }
#include "blocks.def"

#define EVERYBODY                                                                                  \
    { "heap", "mimalloc", "jemalloc", "tcmalloc", "glibc" }
#define WITH_POOL                                                                                  \
    { "pool", "heap", "mimalloc", "jemalloc", "tcmalloc", "glibc" }

const object_measure object_measures[] = {
#define BLOCKS(id, title, operations, sample_us, entries, is_mixed)                                \
    {.metrics = {{#id, title, "ns"}}, .contest = contest_##id},
#include "blocks.def"
    {.metrics = {{"lookup", "handle look-up and first bytes, 10,000 in random order", "ns"}},
     .contest = lookup_few},
    {.metrics = {{"lookup_many", "handle look-up and first bytes, 1,000,000 in random order",
                  "ns"}},
     .contest = lookup_many},
    {.metrics = {{"drop", "1,000,000 objects of 64 B dropped at once, per object", "ns"}},
     .figure = drop_figure,
     .figure_rivals = {"pool", "mimalloc-heap"}},
    {.metrics = {{"latency_50", "one operation of 1,000,000, 64 B: half take at most", "ns"},
                 {"latency_99", "one operation: 99 % take at most", "ns"},
                 {"latency_99.9", "one operation: 99.9 % take at most", "ns"},
                 {"latency_99.99", "one operation: 99.99 % take at most", "ns"},
                 {"latency_max", "one operation: the worst", "ns"}},
     .contest = latency_contest},
    {.metrics = {{"larson", "larson, 2 threads, 8 to 1000 B", "million/s"}},
     .figure = larson_figure,
     .figure_rivals = EVERYBODY},
    {.metrics = {{"ring", "one thread allocates 64 B, another frees, per item", "ns"},
                 {"ring_growth", "the same: resident memory grown after a fifth of it", "MiB"}},
     .figure = ring_figure,
     .figure_rivals = WITH_POOL},
    {.metrics = {{"freeing", "two threads allocate, a third only frees: resident over live", "x"}},
     .figure = freeing_figure,
     .figure_rivals = WITH_POOL,
     .is_long = true},
    {.metrics = {{"large_pair", "64 KiB to 8 MiB, alloc + free, ends written", "ns"}},
     .contest = large_pair_contest},
    {.metrics = {{"large_live", "64 KiB to 8 MiB, one of 32 live replaced, ends written", "ns"}},
     .contest = large_live_contest},
    {.metrics = {{"growth", "an array grown to 16 MiB by pushes of 8 B, per push", "ns"}},
     .contest = growth_contest},
    {.metrics = {{"churned", "resident over live, 200,000 blocks churned", "x"}},
     .figure = churned_figure,
     .figure_rivals = EVERYBODY,
     .is_long = true},
    {.metrics = {{"reloaded", "resident over live, 90 % reloaded with other sizes", "x"}},
     .figure = reloaded_figure,
     .figure_rivals = EVERYBODY,
     .is_long = true},
    {.metrics = {{"unloaded", "resident over live, a random 90 % freed, trimmed", "x"}},
     .figure = unloaded_figure,
     .figure_rivals = {"blocks", "heap", "mimalloc", "jemalloc", "tcmalloc", "glibc"},
     .is_long = true},
    {.metrics = {{"unloaded_assets", "the same of 25,000 blocks of 64 B to 16 KiB", "x"}},
     .figure = unloaded_assets_figure,
     .figure_rivals = {"blocks", "heap", "mimalloc", "jemalloc", "tcmalloc", "glibc"},
     .is_long = true},
    {.metrics = {{"crowd", "500 threads came and went, all freed, trimmed: left of the peak", "%"},
                 {"crowd_again", "another 500 threads: resident memory grown by then", "MiB"},
                 {"crowd_peak", "the same, before anything was freed", "MiB"}},
     .figure = crowd_figure,
     .figure_rivals = EVERYBODY,
     .is_long = true},
    {.metrics = {{"soak", "frames of churn with shifting sizes: last quarter over second", "x"},
                 {"soak_resident", "the same: resident in the last quarter", "MiB"}},
     .figure = soak_figure,
     .figure_rivals = {"heap", "mimalloc", "glibc"},
     .is_long = true},
    {.metrics = {{"replay_total", "SuperTux replayed, all of it", "ms"},
                 {"replay_peak", "the same: most resident memory", "MiB"},
                 {"replay_frame", "the same: median steady frame", "us"}},
     .contest = replay_contest},
};

const size_t object_measure_count = sizeof(object_measures) / sizeof(object_measures[0]);

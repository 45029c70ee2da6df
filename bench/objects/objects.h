// What the parts of fa_bench_objects share: what is measured, by whom, and what came out.
//
// A measure fills tables; a table has one column of samples per rival. Everything is measured in
// child processes, so that no rival finds memory that another measure left behind: a contest runs
// all rivals in one child and interleaves them; a figure runs one rival in a child of its own.
#pragma once

#include "../bench.h"
#include "../contest.h"

enum { TABLE_RIVALS = 16, TABLE_SAMPLES = 1024, MEASURE_TABLES = 8 };

// One quantity of several rivals.
typedef struct object_table {
    const char *id;    // "pair8": for --only and the CSV file.
    const char *title; // For people.
    const char *unit;  // "ns".
    size_t repeats;    // Samples of each rival; 0: not measured.
    size_t rivals;
    const char *rival[TABLE_RIVALS]; // Their ids. Constants of the program.
    double samples[TABLE_RIVALS][TABLE_SAMPLES];
} object_table;

// What a measure is asked for.
typedef struct object_options {
    double seconds;  // For one contest.
    size_t repeats;  // Of one figure.
    size_t items;    // Handed from thread to thread.
    size_t soak;     // Frames.
    bool is_verbose; // The soak prints as it goes.
} object_options;

typedef struct object_metric {
    const char *id;
    const char *title;
    const char *unit;
} object_metric;

typedef struct object_measure {
    object_metric metrics[MEASURE_TABLES]; // Up to the first without an id.
    // All rivals at once: fills the tables, which have their ids, titles and units. False when
    // something was not as it should be; it has been said then.
    bool (*contest)(object_table *tables, const object_options *options);
    // Or one rival: a value per metric. False likewise.
    bool (*figure)(const char *rival, double *values, const object_options *options);
    const char *figure_rivals[TABLE_RIVALS];
    bool is_long; // One repeat will do.
} object_measure;

extern const object_measure object_measures[];
extern const size_t object_measure_count;

// Adds a rival to a table and returns its number; TABLE_RIVALS when there is no room.
size_t object_table_rival(object_table *table, const char *rival);
// Its number, or TABLE_RIVALS when it has none there.
size_t object_table_find(const object_table *table, const char *rival);

// ---- Single blocks: a contest for every line of blocks.def -------------------------------------

typedef enum blocks_id {
#define BLOCKS(id, title, operations, sample_us, entries, is_mixed) BLOCKS_##id,
#include "blocks.def"
    BLOCKS_COUNT
} blocks_id;

enum { BLOCKS_LIVE_MAX = 100000, BLOCKS_SOME = 10000, BLOCKS_HELD = 8, BLOCKS_STEPS = 1 << 17 };

// One live block, and what it was filled with where that is checked.
typedef struct live_block {
    void *ptr;
    uint32_t size;
    uint32_t seed;
} live_block;

// What a rival's loops run on.
typedef struct blocks_state {
    void *source;          // The rival's own.
    live_block *live;      // BLOCKS_LIVE_MAX.
    void **blocks;         // BLOCKS_SOME.
    const uint32_t *order; // BLOCKS_SOME positions, shuffled.
    const uint32_t *churn; // BLOCKS_STEPS of the same, of 100,000.
    const uint16_t *sizes; // BLOCKS_STEPS sizes.
    size_t step;
} blocks_state;

typedef struct blocks_loops {
    bool (*begin)(blocks_state *state); // What stays live. False: no memory.
    contest_run_fn run;
    contest_run_fn check; // The same; every block is filled, and compared before it is freed.
    void (*end)(blocks_state *state);
} blocks_loops;

typedef struct blocks_rival {
    const char *id;
    const char *label;
    bool has_sizes;      // Not only 64 bytes.
    void *(*open)(void); // NULL: not installed here, or no memory.
    void (*close)(void *source);
    const blocks_loops *loops; // BLOCKS_COUNT.
} blocks_rival;

extern const blocks_rival blocks_rival_list;
extern const blocks_rival blocks_rival_stack;
extern const blocks_rival blocks_rival_pool;
extern const blocks_rival blocks_rival_pool_called;
extern const blocks_rival blocks_rival_pool_tags;
extern const blocks_rival blocks_rival_pool_handles;
extern const blocks_rival blocks_rival_heap;
extern const blocks_rival blocks_rival_mimalloc_heap;
extern const blocks_rival blocks_rival_mimalloc;
extern const blocks_rival blocks_rival_jemalloc;
extern const blocks_rival blocks_rival_tcmalloc;
extern const blocks_rival blocks_rival_glibc;

// The 8 sizes of the churn.
extern const uint16_t blocks_sizes[8];

// Writes a pattern of its own over a block, or compares it. A NULL, a misaligned block or a changed
// pattern is counted as a fault. Overlapping blocks spoil each other's.
void blocks_fill(void *ptr, uint32_t size, uint32_t seed, size_t align);
void blocks_verify(const void *ptr, uint32_t size, uint32_t seed);

bool blocks_contest(blocks_id what, object_table *tables, const object_options *options);

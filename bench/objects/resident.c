// How much memory is resident per byte that is live: after a long churn, after most blocks made way
// for blocks of other sizes, and after most were freed.
//
// "Live" are the bytes asked for. Each runs in a process of its own; what was resident before the
// first block is taken off. Blocks are written whole.
#include "measures.h"
#include "sources.h"

#include <framealloc/handles.h>

#include <common/memory_usage.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 200000, CHURNS = 20 * BLOCKS, FRAMES = 600 };

// Sizes of two levels of a game: nothing of the one fits the other's places.
static const uint16_t first_sizes[8] = {16, 32, 48, 64, 96, 128, 256, 512};
static const uint16_t other_sizes[8] = {24, 40, 80, 112, 160, 224, 384, 768};

typedef struct block {
    void *ptr;
    size_t size;
} block;

// What a level is made of.
typedef struct level {
    size_t blocks;
    const uint16_t *sizes; // 8; NULL: from 64 B to 16 KiB, each power of two as likely as the next.
} level;

static const level objects_level = {BLOCKS, first_sizes};
static const level other_level = {BLOCKS, other_sizes};
static const level assets_level = {BLOCKS / 8, NULL};

static block blocks[BLOCKS];
static uint64_t random_state;
static size_t live_bytes;
static bool failed;

double resident_now(void) {
    memory_usage usage;
    return memory_usage_get(&usage) ? (double)usage.resident_bytes : 0;
}

// Makes the memory of this file resident before anything is measured.
static double resident_start(void) {
    memset(blocks, 1, sizeof(blocks));
    memset(blocks, 0, sizeof(blocks));
    random_state = 88172645463325252u;
    live_bytes = 0;
    failed = false;
    return resident_now();
}

static void block_make(const object_source *source, block *out, size_t size) {
    out->ptr = source->alloc(source->self, size);
    out->size = size;
    live_bytes += size;
    if (out->ptr == NULL) {
        failed = true;
        return;
    }
    memset(out->ptr, 1, size);
}

static void block_drop(const object_source *source, block *what) {
    if (what->ptr != NULL) {
        source->free(source->self, what->ptr);
        live_bytes -= what->size;
    }
    *what = (block){0};
}

static size_t level_size(const level *what) {
    uint64_t number = random_next(&random_state);
    if (what->sizes != NULL) {
        return what->sizes[number % 8];
    }
    size_t base = (size_t)64 << (number % 8);
    return base + (size_t)(number >> 32) % base;
}

// Fills every place that is empty.
static void level_load(const object_source *source, const level *what) {
    for (size_t i = 0; i < what->blocks; ++i) {
        if (blocks[i].ptr == NULL) {
            block_make(source, &blocks[i], level_size(what));
        }
    }
}

// Frees each block with this probability in hundredths.
static void level_thin(const object_source *source, unsigned percent) {
    for (size_t i = 0; i < BLOCKS; ++i) {
        if (random_next(&random_state) % 100 < percent) {
            block_drop(source, &blocks[i]);
        }
    }
}

// So many frames pass as a game has in ten seconds.
static void frames_pass(const object_source *source) {
    for (int i = 0; i < FRAMES; ++i) {
        source->frame(source->self);
    }
}

static double resident_over_live(double start) {
    return (resident_now() - start) / (double)live_bytes;
}

bool churned_figure(const char *rival, double *values, const object_options *options) {
    (void)options;
    object_source source;
    double start = resident_start();
    if (!source_open(rival, &source)) {
        return false;
    }
    level_load(&source, &objects_level);
    for (size_t i = 0; i < CHURNS; ++i) {
        block *what = &blocks[random_next(&random_state) % BLOCKS];
        block_drop(&source, what);
        block_make(&source, what, level_size(&objects_level));
    }
    values[0] = resident_over_live(start);
    return !failed;
}

bool reloaded_figure(const char *rival, double *values, const object_options *options) {
    (void)options;
    object_source source;
    double start = resident_start();
    if (!source_open(rival, &source)) {
        return false;
    }
    level_load(&source, &objects_level);
    level_thin(&source, 90);
    frames_pass(&source);
    level_load(&source, &other_level);
    values[0] = resident_over_live(start);
    return !failed;
}

// ---- A table of movable blocks -----------------------------------------------------------------

// The same unload behind handles, and the gaps closed in steps.
static bool table_unload(const level *what, double *values) {
    static fa_block handles[BLOCKS];
    memset(handles, 1, sizeof(handles));
    double start = resident_start();
    fa_context *context = source_context_open();
    fa_table *table = NULL;
    if (context == NULL || fa_table_create(context, NULL, &table) < 0) {
        return false;
    }
    for (size_t i = 0; i < what->blocks; ++i) {
        size_t size = level_size(what);
        handles[i] = fa_block_alloc(table, size, 16);
        blocks[i].size = size;
        void *ptr = fa_block_resolve(table, handles[i]);
        if (ptr == NULL) {
            return false;
        }
        memset(ptr, (int)(i % 251), size);
        live_bytes += size;
    }
    for (size_t i = 0; i < what->blocks; ++i) {
        if (random_next(&random_state) % 100 < 90) {
            failed = failed || fa_block_free(table, handles[i]) < 0;
            live_bytes -= blocks[i].size;
            handles[i] = FA_BLOCK_NONE;
        }
    }
    fa_defragment_result step = {0};
    for (size_t i = 0; i < 1000000 && !step.is_done; ++i) {
        failed = failed || fa_table_defragment(table, 65536, &step) < 0;
    }
    fa_context_trim(context, 0);
    values[0] = resident_over_live(start);
    for (size_t i = 0; i < what->blocks; ++i) {
        const unsigned char *ptr = (const unsigned char *)fa_block_resolve(table, handles[i]);
        bool should_live = handles[i].value != 0;
        failed = failed || (ptr != NULL) != should_live ||
                 (should_live && (ptr[0] != i % 251 || ptr[blocks[i].size - 1] != i % 251));
    }
    return !failed && step.is_done;
}

static bool unload(const level *what, const char *rival, double *values) {
    if (strcmp(rival, "blocks") == 0) {
        return table_unload(what, values);
    }
    object_source source;
    double start = resident_start();
    if (!source_open(rival, &source)) {
        return false;
    }
    level_load(&source, what);
    level_thin(&source, 90);
    frames_pass(&source);
    source.trim(source.self);
    values[0] = resident_over_live(start);
    return !failed;
}

bool unloaded_figure(const char *rival, double *values, const object_options *options) {
    (void)options;
    return unload(&objects_level, rival, values);
}

bool unloaded_assets_figure(const char *rival, double *values, const object_options *options) {
    (void)options;
    return unload(&assets_level, rival, values);
}

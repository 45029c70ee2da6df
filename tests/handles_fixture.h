// What the tests of movable blocks share: tables, and blocks whose contents are known.
#pragma once

#include "core_fixture.h"

#include <framealloc/handles.h>

#include "../src/pool/movable.h"

#include <stdlib.h>

static inline fa_table *table_open(fa_context *ctx, fa_table_desc desc) {
    fa_table *table = NULL;
    REQUIRE_EQ(fa_table_create(ctx, &desc, &table), FA_OK);
    REQUIRE_NOT_NULL(table);
    return table;
}

static inline fa_table_stats_result table_stats_of(fa_table *table) {
    fa_table_stats_result stats;
    memset(&stats, 0xEE, sizeof(stats));
    CHECK_EQ(fa_table_stats(table, &stats), FA_OK);
    return stats;
}

static inline bool table_is_sound(const fa_table *table) {
    return CHECK(fa__place_check((const fa__block_table *)table));
}

// Byte `at` of the contents that belong to a seed.
static inline unsigned char content_byte(uint32_t seed, size_t at) {
    return (unsigned char)((seed * 2654435761u >> 13) + at * 7 + (at >> 8));
}

static inline void content_write(void *ptr, size_t size, uint32_t seed) {
    unsigned char *bytes = (unsigned char *)ptr;
    for (size_t at = 0; at < size; at++) {
        bytes[at] = content_byte(seed, at);
    }
}

static inline bool content_is(const void *ptr, size_t size, uint32_t seed) {
    const unsigned char *bytes = (const unsigned char *)ptr;
    for (size_t at = 0; at < size; at++) {
        if (bytes[at] != content_byte(seed, at)) {
            return false;
        }
    }
    return ptr != NULL;
}

// A block with the contents of a seed. FA_BLOCK_NONE fails the test.
static inline fa_block block_make(fa_table *table, size_t size, size_t align, uint32_t seed) {
    fa_block block = fa_block_alloc(table, size, align);
    REQUIRE_NE(block.value, 0);
    content_write(fa_block_resolve(table, block), size, seed);
    return block;
}

// What a defragmentation in steps came to.
typedef struct compaction {
    size_t steps;
    size_t moved_bytes;
    size_t moved_blocks;
    size_t returned_bytes;
    size_t largest_step; // The most that one step moved.
} compaction;

// Steps until it is done.
static inline compaction compact_all(fa_table *table, size_t max_bytes) {
    compaction all = {0};
    fa_defragment_result step = {0};
    while (!step.is_done && all.steps < 10000000) {
        REQUIRE_EQ(fa_table_defragment(table, max_bytes, &step), FA_OK);
        all.steps += 1;
        all.moved_bytes += step.moved_bytes;
        all.moved_blocks += step.moved_blocks;
        all.returned_bytes += step.returned_bytes;
        all.largest_step =
            step.moved_bytes > all.largest_step ? step.moved_bytes : all.largest_step;
    }
    CHECK(step.is_done);
    return all;
}

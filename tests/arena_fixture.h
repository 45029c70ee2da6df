// What the tests of arenas and scratch scopes share: an arena of each backing, and what a refusal
// must leave alone.
#pragma once

#include "core_fixture.h"

#include <stdlib.h>
#include <string.h>

// The three backings an arena can have.
typedef enum arena_backing { ON_RANGE, ON_CHUNKS, ON_MEMORY, BACKINGS } arena_backing;

enum { BACKING_CHUNK = 4096, BACKING_MEMORY = 4 << 20 };

typedef struct arena_case {
    fa_context *context;
    fa_arena *arena;
    void *memory;
} arena_case;

static inline const char *backing_name(arena_backing backing) {
    return backing == ON_RANGE ? "range" : backing == ON_CHUNKS ? "chunks" : "memory";
}

// An arena of one backing in a context of its own, with `desc`'s other fields. Chunks are the
// smallest there are; the caller's memory is large enough for every alignment.
static inline arena_case case_open_desc(arena_backing backing, fa_arena_desc desc) {
    arena_case self = {0};
    check_note("on %s", backing_name(backing));
    self.context = context_open(NULL);
    if (backing == ON_CHUNKS) {
        desc.chunk_size = BACKING_CHUNK;
    } else if (backing == ON_MEMORY) {
        self.memory = malloc(BACKING_MEMORY);
        REQUIRE_NOT_NULL(self.memory);
        desc.memory = self.memory;
        desc.memory_size = BACKING_MEMORY;
    }
    REQUIRE_EQ(fa_arena_create(self.context, &desc, &self.arena), FA_OK);
    fa_last_error_clear();
    return self;
}

static inline arena_case case_open(arena_backing backing) {
    return case_open_desc(backing, (fa_arena_desc){0});
}

static inline void case_close(arena_case *self) {
    fa_arena_destroy(self->arena);
    context_close(self->context);
    free(self->memory);
    check_note("%s", "");
}

static inline fa_arena *arena_open(fa_context *ctx, fa_arena_desc desc) {
    fa_arena *arena = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, &desc, &arena), FA_OK);
    REQUIRE_NOT_NULL(arena);
    return arena;
}

static inline fa_arena_stats_result arena_stats_of(fa_arena *arena) {
    fa_arena_stats_result stats;
    memset(&stats, 0xEE, sizeof(stats));
    CHECK_EQ(fa_arena_stats(arena, &stats), FA_OK);
    return stats;
}

// The last call failed with exactly these figures. Forgets it.
static inline bool refused_as(int code, fa_result result, size_t bytes, size_t limit) {
    const fa_error *error = fa_last_error();
    bool as_expected = CHECK_EQ(error->bytes, bytes);
    as_expected = CHECK_EQ(error->limit, limit) && as_expected;
    return failed_as(code, result) && as_expected;
}

static inline bool is_filled(const void *ptr, size_t size, unsigned char with) {
    const unsigned char *bytes = (const unsigned char *)ptr;
    return size == 0 || (bytes[0] == with && memcmp(bytes, bytes + 1, size - 1) == 0);
}

// Everything about an arena that a refusal must leave as it was.
typedef struct arena_snapshot {
    fa_arena arena;
    fa_arena_stats_result stats;
    const unsigned char *from; // Its first block, in one piece up to the cursor.
    unsigned char *contents;
} arena_snapshot;

static inline arena_snapshot snapshot_take(fa_arena *arena, const void *from) {
    arena_snapshot shot = {.stats = arena_stats_of(arena), .from = (const unsigned char *)from};
    shot.arena = *arena;
    size_t size = shot.stats.used_bytes;
    shot.contents = (unsigned char *)malloc(size == 0 ? 1 : size);
    REQUIRE_NOT_NULL(shot.contents);
    if (size != 0) {
        memcpy(shot.contents, from, size);
    }
    return shot;
}

// Nothing has changed but the number of refusals, which grew by `refusals`.
static inline void snapshot_check(const arena_snapshot *shot, fa_arena *arena, uint64_t refusals) {
    CHECK_EQ(arena->cursor, shot->arena.cursor);
    CHECK_EQ(arena->limit, shot->arena.limit);
    CHECK_EQ(fa_arena_used(arena), shot->stats.used_bytes);
    fa_arena_stats_result stats = arena_stats_of(arena);
    CHECK_EQ(stats.used_bytes, shot->stats.used_bytes);
    CHECK_EQ(stats.peak_bytes, shot->stats.peak_bytes);
    CHECK_EQ(stats.committed_bytes, shot->stats.committed_bytes);
    CHECK_EQ(stats.reserved_bytes, shot->stats.reserved_bytes);
    CHECK_EQ(stats.waste_bytes, shot->stats.waste_bytes);
    CHECK_EQ(stats.blocks, shot->stats.blocks);
    CHECK_EQ(stats.cleanups, shot->stats.cleanups);
    CHECK_EQ(stats.refusals - shot->stats.refusals, refusals);
    CHECK_EQ(stats.name, shot->stats.name);
    if (shot->stats.used_bytes != 0) {
        CHECK_MEM_EQ(shot->from, shot->contents, shot->stats.used_bytes);
    }
}

static inline void snapshot_free(arena_snapshot *shot) {
    free(shot->contents);
}

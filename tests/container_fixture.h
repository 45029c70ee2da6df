// What the tests of vec, map, str and span share: an arena to put containers on.
#pragma once

#include <framealloc/arena.h>
#include <framealloc/context.h>

#include "harness/check.h"

#include <string.h>

typedef struct fixture {
    fa_context *context;
    fa_arena *arena;
} fixture;

static inline fixture fixture_open_desc(const fa_arena_desc *desc) {
    fixture fix = {NULL, NULL};
    REQUIRE_EQ((int)fa_context_create(NULL, &fix.context), FA_OK);
    REQUIRE_EQ((int)fa_arena_create(fix.context, desc, &fix.arena), FA_OK);
    fa_last_error_clear();
    return fix;
}

// An arena that never runs out here, and refuses what only a mistake would ask for.
static inline fixture fixture_open(void) {
    fa_arena_desc desc;
    memset(&desc, 0, sizeof(desc));
    desc.byte_limit = (size_t)64 << 20;
    return fixture_open_desc(&desc);
}

// An arena of exactly `size` bytes at `memory`, both multiples of 16: it never gets more.
static inline fixture fixture_open_memory(void *memory, size_t size) {
    fa_arena_desc desc;
    memset(&desc, 0, sizeof(desc));
    desc.memory = memory;
    desc.memory_size = size;
    return fixture_open_desc(&desc);
}

static inline void fixture_close(fixture *fix) {
    fa_arena_destroy(fix->arena);
    CHECK_EQ((int)fa_context_destroy(fix->context), FA_OK);
}

// The last call failed as this code and this result, with this index (or size) and limit.
static inline bool failed_with(int code, fa_result result, size_t bytes, size_t limit) {
    const fa_error *error = fa_last_error();
    bool as_expected = CHECK_EQ(error->code, code);
    as_expected = CHECK_EQ((int)error->result, (int)result) && as_expected;
    as_expected = CHECK_EQ(error->bytes, bytes) && as_expected;
    as_expected = CHECK_EQ(error->limit, limit) && as_expected;
    fa_last_error_clear();
    return as_expected;
}

// Nothing has failed since the last look.
static inline bool nothing_failed(void) {
    return CHECK_EQ((int)fa_last_error()->result, FA_OK);
}

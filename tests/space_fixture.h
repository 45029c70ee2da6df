// What the tests of the space share: a context over a source of pages that refuses, and memory that
// knows whose it is.
#pragma once

#include "core_fixture.h"
#include "fault_backend.h"

#include "../src/pool/space.h"

#define GRANULES_PER_UNIT ((uint64_t)(FA__UNIT / FA__GRANULE_BYTES))

typedef struct space_world {
    fault_backend faults;
    fa_context *ctx;
    fa__space *space;
} space_world;

// How the pages behave. Zero: as the system's do.
typedef struct space_desc {
    fault_source source;
    size_t limit;        // 0: none.
    size_t reserve_most; // 0: any size.
    size_t page_size;    // 0: the system's.
    bool cannot_decommit;
} space_desc;

static inline void space_open(space_world *world, space_desc desc) {
    memset(world, 0, sizeof(*world));
    fault_backend_make(&world->faults, desc.source);
    world->faults.has_rubbish = true;
    world->faults.reserve_most = desc.reserve_most;
    if (desc.page_size != 0) {
        world->faults.backend.page_size = desc.page_size;
    }
    if (desc.cannot_decommit) {
        world->faults.backend.decommit = NULL;
    }
    fa_config config = fa_config_default();
    config.backend = &world->faults.backend;
    config.memory_limit = desc.limit;
    world->ctx = context_open(&config);
    world->space = fa__space_get(world->ctx, NULL);
    REQUIRE_NOT_NULL(world->space);
}

static inline void space_close(space_world *world) {
    fa__space_destroy(world->ctx);
    context_close(world->ctx);
    fault_backend_end(&world->faults);
}

static inline size_t committed_now(const space_world *world) {
    return fa__load(&world->ctx->pages->committed);
}

// Every invariant holds, and the figures of the backend and of the page source agree.
static inline bool space_holds(space_world *world) {
    bool holds = CHECK(fa__space_check(world->space));
    holds = CHECK_EQ(committed_now(world), world->faults.committed_bytes) && holds;
    size_t reserved = fa__load(&world->ctx->pages->reserved);
    return CHECK_EQ(reserved, world->faults.reserved_bytes) && holds;
}

static inline fa__run *acquire(space_world *world, size_t units) {
    return fa__run_acquire(world->space, units, FA__UNIT, FA__RUN_LARGE, world, NULL);
}

static inline fa__run *must_acquire(space_world *world, size_t units) {
    fa__run *run = acquire(world, units);
    REQUIRE_NOT_NULL(run);
    return run;
}

// Acquires `count` runs of one unit that lie side by side.
static inline void acquire_row(space_world *world, fa__run **row, size_t count) {
    for (size_t i = 0; i < count; i++) {
        row[i] = must_acquire(world, 1);
        REQUIRE(i == 0 || row[i]->ptr == row[i - 1]->ptr + FA__UNIT);
    }
}

static inline void release_row(space_world *world, fa__run **row, size_t count) {
    for (size_t i = 0; i < count; i++) {
        fa__run_release(world->space, row[i]);
    }
}

static inline size_t free_committed(space_world *world) {
    fa__space_figures figures = fa__space_measure(world->space);
    return figures.committed_units - figures.used_units;
}

// Writes into every unit of a run whose it is; says whether it is still so.
static inline uint64_t *unit_word(const fa__run *run, size_t unit, size_t which) {
    static const size_t offsets[3] = {0, FA__UNIT / 2 + 8, FA__UNIT - 8};
    return (uint64_t *)(void *)(run->ptr + unit * FA__UNIT + offsets[which]);
}

static inline void run_fill(const fa__run *run, uint64_t id, size_t from) {
    for (size_t i = from; i < run->units; i++) {
        for (size_t which = 0; which < 3; which++) {
            *unit_word(run, i, which) = id << 24 | i << 2 | which;
        }
    }
}

static inline bool run_is_filled(const fa__run *run, uint64_t id, size_t units) {
    for (size_t i = 0; i < units; i++) {
        for (size_t which = 0; which < 3; which++) {
            if (*unit_word(run, i, which) != (id << 24 | i << 2 | which)) {
                return false;
            }
        }
    }
    return true;
}

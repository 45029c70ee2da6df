// The space against a naive model: runs that hold what was written into them, and for every unit
// when it was freed. After each step every invariant is checked.
#include "space_fixture.h"

#define LIVE_MAX 120
#define UNITS_SEEN 8192 // Units of the main section that the model follows.

typedef struct live_run {
    fa__run *run;
    size_t units;
    uint64_t id;
    uint32_t owner;
    uint8_t kind;
} live_run;

typedef struct model {
    space_world world;
    check_rng rng;
    live_run live[LIVE_MAX];
    size_t count;
    size_t units; // In use.
    uint64_t next_id;
    uint32_t tick;
    bool is_used[UNITS_SEEN];
    bool was_used[UNITS_SEEN];
    uint32_t freed[UNITS_SEEN]; // Tick.
    size_t most;                // Units of a run.
    bool is_refusing;
} model;

static model the_model;

// Notes units of the main section as used, or as freed now.
static void note_units(model *m, const char *ptr, size_t units, bool is_used) {
    size_t offset = (size_t)(ptr - m->world.space->base);
    if (m->world.space->base == NULL || offset >= fa__load(&m->world.space->top)) {
        return;
    }
    for (size_t i = offset / FA__UNIT; i < offset / FA__UNIT + units && i < UNITS_SEEN; i++) {
        CHECK_NE(m->is_used[i], is_used);
        m->is_used[i] = is_used;
        m->was_used[i] = true;
        m->freed[i] = m->tick;
    }
}

static void check_live(model *m, const live_run *live) {
    fa__space *space = m->world.space;
    const fa__run *run = live->run;
    CHECK_EQ(run->kind, live->kind);
    CHECK_EQ(run->units, live->units);
    CHECK_EQ(run->owner, m);
    CHECK(run_is_filled(run, live->id, live->units));
    for (size_t i = 0; i < live->units; i += 1 + live->units / 7) {
        const char *ptr = run->ptr + i * FA__UNIT + check_rng_below(&m->rng, FA__UNIT);
        CHECK_EQ(fa__run_find(space, ptr), run);
        CHECK_EQ(fa__run_find_slow(space, ptr), run);
        uint64_t granule = fa__space_granule_slow(space, ptr);
        CHECK_EQ((uintptr_t)fa__space_at_slow(space, granule), (uintptr_t)ptr & ~(uintptr_t)7);
        CHECK_EQ(fa__space_owner_slow(space, granule), live->owner);
    }
}

static void check_all(model *m) {
    space_holds(&m->world);
    fa__space_figures figures = fa__space_measure(m->world.space);
    CHECK_EQ(figures.used_units, m->units);
    CHECK_LE(figures.committed_units, figures.used_units + figures.free_units);
    CHECK_GE(figures.committed_units, figures.used_units);
}

static size_t random_units(model *m) {
    return check_rng_chance(&m->rng, 60) ? 1 : 1 + check_rng_size(&m->rng, m->most - 1);
}

static void step_acquire(model *m) {
    size_t units = random_units(m);
    size_t align = check_rng_chance(&m->rng, 85) ? 1 : FA__UNIT << check_rng_below(&m->rng, 8);
    uint8_t kind = (uint8_t)(FA__RUN_SLAB + check_rng_below(&m->rng, 3));
    uint64_t refusals = fault_refusals_here();
    fa__denial denial = FA__DENIED_BY_BACKEND;
    fa__run *run = fa__run_acquire(m->world.space, units, align, (fa__run_kind)kind, m, &denial);
    if (run == NULL) {
        CHECK(m->is_refusing || m->world.ctx->pages->limit != SIZE_MAX);
        CHECK(denial == FA__DENIED_BY_LIMIT || fault_refusals_here() != refusals ||
              m->world.faults.reserve_most != 0);
        return;
    }
    CHECK_EQ((uintptr_t)run->ptr % (align > FA__UNIT ? align : FA__UNIT), 0);
    CHECK_EQ(run->to_head, 0);
    unsigned char zero[FA__RUN_BODY] = {0};
    CHECK_MEM_EQ(run->body, zero, FA__RUN_BODY);
    memset(run->body, 0x5A, FA__RUN_BODY);
    m->next_id += 1;
    m->live[m->count] = (live_run){run, units, m->next_id, 0, kind};
    m->count += 1;
    m->units += units;
    note_units(m, run->ptr, units, true);
    run_fill(run, m->next_id, 0);
}

static void step_release(model *m, size_t index) {
    live_run live = m->live[index];
    check_live(m, &live);
    char *ptr = live.run->ptr;
    note_units(m, ptr, live.units, false);
    fa__run_release(m->world.space, live.run);
    for (size_t i = 0; i < live.units; i += 1 + live.units / 7) {
        CHECK_NULL(fa__run_find(m->world.space, ptr + i * FA__UNIT));
    }
    m->units -= live.units;
    m->count -= 1;
    m->live[index] = m->live[m->count];
}

static void step_resize(model *m, size_t index) {
    live_run *live = &m->live[index];
    size_t before = live->units;
    size_t units = check_rng_chance(&m->rng, 50) ? 1 + check_rng_below(&m->rng, before)
                                                 : before + random_units(m);
    bool worked = fa__run_resize(m->world.space, live->run, units, NULL);
    CHECK(worked || units > before);
    if (!worked) {
        check_live(m, live);
        return;
    }
    if (units < before) {
        note_units(m, live->run->ptr + units * FA__UNIT, before - units, false);
    } else {
        note_units(m, live->run->ptr + before * FA__UNIT, units - before, true);
        run_fill(live->run, live->id, before);
    }
    m->units = m->units - before + units;
    live->units = units;
    check_live(m, live);
}

static void step_owner(model *m, size_t index) {
    live_run *live = &m->live[index];
    live->owner = (uint32_t)check_rng_below(&m->rng, 1000);
    fa__space_set_owner(m->world.space, live->run, live->owner);
    check_live(m, live);
}

// What has been free for two ticks has gone, and what was freed in this step or the last is as it
// was.
static void check_ticked(model *m, size_t max_units) {
    const fa__run *runs = m->world.space->runs;
    size_t units = fa__load(&m->world.space->top) / FA__UNIT;
    bool can_decommit = m->world.faults.backend.decommit != NULL;
    for (size_t i = 0; i < units && i < UNITS_SEEN; i++) {
        bool is_old = m->was_used[i] && !m->is_used[i] && m->tick - m->freed[i] >= 2;
        if (is_old && max_units == SIZE_MAX && can_decommit && runs[i].is_committed) {
            FAIL("unit %zu is still committed", i);
        }
    }
}

static void step_tick(model *m) {
    size_t max_units = check_rng_chance(&m->rng, 50) ? SIZE_MAX : check_rng_below(&m->rng, 40);
    size_t before = m->world.faults.committed_bytes;
    size_t sections = fa__space_measure(m->world.space).sections;
    m->tick += 1;
    size_t returned = fa__space_tick(m->world.space, max_units);
    CHECK_EQ(returned, before - m->world.faults.committed_bytes);
    if (sections == 0 && max_units != SIZE_MAX) { // Sections go back whole.
        CHECK_LE(returned, max_units * FA__UNIT);
    }
    check_ticked(m, max_units);
}

static void step_trim(model *m) {
    size_t before = m->world.faults.committed_bytes;
    size_t returned = 1;
    uint64_t until = check_rng_chance(&m->rng, 50) ? UINT64_MAX : fa__os_clock_ns() + 100000000;
    bool is_done = fa__space_trim(m->world.space, until, &returned);
    CHECK(is_done || until != UINT64_MAX);
    CHECK_EQ(returned, before - m->world.faults.committed_bytes);
    fa__space_figures figures = fa__space_measure(m->world.space);
    if (is_done && m->world.faults.backend.decommit != NULL) {
        CHECK_EQ(figures.committed_units, m->units);
    }
    if (m->units == 0 && is_done) {
        CHECK_EQ(figures.sections, 0);
    }
}

static void step(model *m, size_t target) {
    size_t chosen = m->count != 0 ? check_rng_below(&m->rng, m->count) : 0;
    size_t dice = check_rng_below(&m->rng, 100);
    if (dice < 3) {
        step_tick(m);
    } else if (dice < 4) {
        step_trim(m);
    } else if (dice < 15 && m->count != 0) {
        step_resize(m, chosen);
    } else if (dice < 20 && m->count != 0) {
        step_owner(m, chosen);
    } else if (m->count < LIVE_MAX && check_rng_below(&m->rng, 2 * target + 1) > m->count) {
        step_acquire(m);
    } else if (m->count != 0) {
        step_release(m, chosen);
    }
    check_all(m);
}

static void run_random(space_desc desc, size_t most, unsigned refused) {
    model *m = &the_model;
    memset(m, 0, sizeof(*m));
    space_open(&m->world, desc);
    m->rng = check_rng_make(check_seed());
    m->most = most;
    m->is_refusing = refused != 0;
    fault_backend_set(&m->world.faults, FAULT_RANDOM, 0, refused, check_seed());
    size_t target = LIVE_MAX / 2;
    size_t steps = check_scale(4000);
    for (size_t i = 0; i < steps; i++) {
        check_note("step %zu", i);
        if (i % 300 == 0) { // From few runs to many and back.
            target = check_rng_below(&m->rng, LIVE_MAX / 2);
        }
        step(m, target);
    }
    for (size_t i = 0; i < m->count; i++) {
        check_live(m, &m->live[i]);
    }
    if (desc.limit != 0) {
        CHECK_LE(m->world.faults.committed_peak, desc.limit);
    }
    while (m->count > 0) {
        step_release(m, m->count - 1);
    }
    step_trim(m);
    check_all(m);
    space_close(&m->world);
}

static void runs_agree_with_a_naive_model(void) {
    run_random((space_desc){0}, 60, 0);
}

static void runs_agree_with_the_model_when_calls_are_refused(void) {
    run_random((space_desc){0}, 60, 20);
}

static void runs_agree_with_the_model_under_a_limit(void) {
    run_random((space_desc){.limit = 12 * MIB}, 40, 5);
}

static void runs_agree_with_the_model_on_large_pages(void) {
    run_random((space_desc){.page_size = 64 * KIB}, 60, 3);
}

static void runs_agree_with_the_model_in_many_sections(void) {
    run_random((space_desc){.reserve_most = 4 * MIB}, 60, 0);
    run_random((space_desc){.reserve_most = 4 * MIB}, 60, 10);
}

static void runs_agree_with_the_model_beyond_a_full_main_section(void) {
    run_random((space_desc){.reserve_most = 64 * MIB}, 200, 2);
}

static void runs_agree_with_the_model_without_commit(void) {
    run_random((space_desc){.source = FAULT_BLOCKS}, 40, 0);
    run_random((space_desc){.source = FAULT_BLOCKS, .limit = 16 * MIB}, 40, 5);
}

static void runs_agree_with_the_model_without_decommit(void) {
    run_random((space_desc){.cannot_decommit = true}, 60, 10);
    run_random((space_desc){.cannot_decommit = true, .reserve_most = 4 * MIB}, 60, 10);
}

TEST_SUITE(space_model, TEST(runs_agree_with_a_naive_model),
           TEST(runs_agree_with_the_model_when_calls_are_refused),
           TEST(runs_agree_with_the_model_under_a_limit),
           TEST(runs_agree_with_the_model_on_large_pages),
           TEST(runs_agree_with_the_model_in_many_sections),
           TEST(runs_agree_with_the_model_beyond_a_full_main_section),
           TEST(runs_agree_with_the_model_without_commit),
           TEST(runs_agree_with_the_model_without_decommit));

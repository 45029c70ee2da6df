// The space when memory is refused, between threads, and damaged.
#include "space_fixture.h"

static space_world the_world;

// ---- Failures ----------------------------------------------------------------------------------

// A little of everything. Every request that is refused is made again, and then works.
static void little_of_everything(space_world *world) {
    fa__run *runs[30];
    fault_mode mode = world->faults.mode;
    for (size_t i = 0; i < 30; i++) {
        size_t units = i == 20 ? 80 : 1 + i % 7;
        size_t align = i % 10 == 5 ? 32 * FA__UNIT : 1;
        fa__space_figures before = fa__space_measure(world->space);
        size_t committed = committed_now(world);
        runs[i] = fa__run_acquire(world->space, units, align, FA__RUN_SLAB, NULL, NULL);
        if (runs[i] == NULL) {
            CHECK_EQ(fa__space_measure(world->space).used_units, before.used_units);
            CHECK_LE(fa__space_measure(world->space).committed_units, before.committed_units);
            CHECK(committed_now(world) <= committed || world->faults.backend.decommit == NULL);
            space_holds(world);
            mode = fault_backend_switch(&world->faults, FAULT_NONE);
            runs[i] = fa__run_acquire(world->space, units, align, FA__RUN_SLAB, NULL, NULL);
            REQUIRE_NOT_NULL(runs[i]);
            (void)fault_backend_switch(&world->faults, mode);
        }
        run_fill(runs[i], i, 0);
        if (i % 6 == 3) {
            fa__run_release(world->space, runs[i - 1]);
            runs[i - 1] = NULL;
            size_t length = runs[i]->units;
            bool worked = fa__run_resize(world->space, runs[i], length + 4, NULL);
            CHECK_EQ(runs[i]->units, worked ? length + 4 : length);
            CHECK(run_is_filled(runs[i], i, length));
            (void)fa__space_trim(world->space, UINT64_MAX, NULL);
        }
        space_holds(world);
    }
    for (size_t i = 0; i < 30; i++) {
        if (runs[i] != NULL) {
            fa__run_release(world->space, runs[i]);
        }
    }
    space_holds(world);
    CHECK(fa__space_trim(world->space, UINT64_MAX, NULL) || world->faults.mode != FAULT_NONE);
}

static void every_call_fails_in_turn(space_desc desc) {
    space_world *world = &the_world;
    bool was_refused = true;
    for (uint64_t nth = 1; was_refused; nth++) {
        check_note("call %zu fails", (size_t)nth);
        space_open(world, desc);
        world->faults.has_rubbish = false; // Much memory is committed, and often.
        fault_backend_set(&world->faults, FAULT_NTH, world->faults.calls + nth, 0, 0);
        little_of_everything(world);
        was_refused = world->faults.refusals != 0;
        space_close(world);
        REQUIRE_LT(nth, 500);
    }
}

static void a_refused_call_changes_nothing(void) {
    every_call_fails_in_turn((space_desc){0});
    every_call_fails_in_turn((space_desc){.reserve_most = 64 * MIB});
}

static void a_refused_call_of_a_section_changes_nothing(void) {
    every_call_fails_in_turn((space_desc){.reserve_most = 32 * MIB - 1});
    every_call_fails_in_turn((space_desc){.source = FAULT_BLOCKS});
}

// A commit that cannot be undone is remembered: its memory is used and not committed again.
static void a_commit_that_cannot_be_undone_is_kept(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){.reserve_most = MIB, .cannot_decommit = true});
    fa__run *first = must_acquire(world, 1);
    fa__run *second = NULL;
    if (((uintptr_t)first->ptr / FA__UNIT) % 2 != 0) { // What is free starts at an odd unit.
        second = must_acquire(world, 1);
    }
    size_t rest = second != NULL ? 14 : 15;
    fa__run *middle = fa__run_acquire(world->space, 2, 2 * FA__UNIT, FA__RUN_SLAB, NULL, NULL);
    REQUIRE_NOT_NULL(middle);
    CHECK_EQ(middle->ptr, (second != NULL ? second : first)->ptr + 2 * FA__UNIT);
    fa__run_release(world->space, middle); // One unit not committed, two that are, then others not.
    fault_backend_set(&world->faults, FAULT_NTH, world->faults.calls + 2, 0, 0);
    CHECK_NULL(acquire(world, rest));
    CHECK_EQ(free_committed(world), 3);
    space_holds(world);
    CHECK_NOT_NULL(acquire(world, rest));
    space_holds(world);
    space_close(world);
}

static void a_refused_call_without_decommit_changes_nothing(void) {
    every_call_fails_in_turn((space_desc){.reserve_most = 32 * MIB - 1, .cannot_decommit = true});
}

// Making a space works at the latest when nothing is refused any more, and attempts add up to
// nothing.
static void making_one_can_be_tried_again(void) {
    size_t overhead = 0;
    for (uint64_t tries = 0; tries < 60; tries += 20) {
        space_world *world = &the_world;
        space_open(world, (space_desc){0});
        fa__space_destroy(world->ctx);
        CHECK_NULL(fa__load(&world->ctx->space));
        while (fa__meta_alloc(world->ctx->pages, 64, NULL) != NULL) { // Uses the rest up.
            if (fault_backend_switch(&world->faults, FAULT_FROM) == FAULT_NONE) {
                fault_backend_set(&world->faults, FAULT_FROM, 1, 0, 0);
            }
        }
        for (uint64_t i = 0; i < tries; i++) {
            fa__denial denial = FA__DENIED_BY_LIMIT;
            CHECK_NULL(fa__space_get(world->ctx, &denial));
            CHECK_EQ((int)denial, FA__DENIED_BY_BACKEND);
        }
        (void)fault_backend_switch(&world->faults, FAULT_NONE);
        world->space = fa__space_get(world->ctx, NULL);
        REQUIRE_NOT_NULL(world->space);
        CHECK_EQ(fa__space_get(world->ctx, NULL), world->space);
        overhead = tries == 0 ? committed_now(world) : overhead;
        CHECK_EQ(committed_now(world), overhead);
        CHECK_NOT_NULL(acquire(world, 1));
        space_close(world);
    }
}

// ---- Threads -----------------------------------------------------------------------------------

static void churn(void *arg) {
    space_world *world = arg;
    check_rng rng = check_rng_make(check_seed() ^ fa__os_thread_id());
    fa__run *runs[16] = {0};
    for (size_t i = 0; i < check_scale(20000); i++) {
        size_t which = check_rng_below(&rng, 16);
        if (runs[which] == NULL) {
            size_t units = check_rng_chance(&rng, 70) ? 1 : 1 + check_rng_below(&rng, 20);
            runs[which] = fa__run_acquire(world->space, units, 1, FA__RUN_SLAB, &rng, NULL);
            REQUIRE_NOT_NULL(runs[which]);
            run_fill(runs[which], fa__os_thread_id() << 8 | which, 0);
            continue;
        }
        fa__run *run = runs[which];
        size_t units = run->units;
        CHECK(run_is_filled(run, fa__os_thread_id() << 8 | which, units));
        CHECK_EQ(fa__run_find(world->space, run->ptr + units * FA__UNIT - 1), run);
        CHECK_EQ(run->owner, &rng);
        if (check_rng_chance(&rng, 30)) {
            (void)fa__run_resize(world->space, run, 1 + check_rng_below(&rng, 20), NULL);
            run_fill(run, fa__os_thread_id() << 8 | which, 0);
        } else {
            fa__run_release(world->space, run);
            runs[which] = NULL;
        }
    }
    for (size_t i = 0; i < 16; i++) {
        if (runs[i] != NULL) {
            fa__run_release(world->space, runs[i]);
        }
    }
}

static atomic_bool is_over;

static void tick_and_trim(void *arg) {
    space_world *world = arg;
    for (size_t i = 0; !atomic_load(&is_over); i++) {
        (void)fa__space_tick(world->space, 20);
        if (i % 16 == 0) {
            (void)fa__space_trim(world->space, fa__os_clock_ns() + 100000, NULL);
            CHECK(fa__space_check(world->space));
        }
        (void)fa__space_measure(world->space);
        check_thread_yield();
    }
}

static void threads_share_a_space(void) {
    static const space_desc descs[] = {{0}, {.reserve_most = 4 * MIB}, {.source = FAULT_BLOCKS}};
    for (size_t kind = 0; kind < 3; kind++) {
        space_world *world = &the_world;
        space_open(world, descs[kind]);
        atomic_store(&is_over, false);
        check_thread *other = check_thread_start(tick_and_trim, world);
        check_threads_run(4, churn, world, 0);
        atomic_store(&is_over, true);
        check_thread_join(other);
        space_holds(world);
        CHECK_EQ(fa__space_measure(world->space).used_units, 0);
        CHECK(fa__space_trim(world->space, UINT64_MAX, NULL));
        CHECK_EQ(fa__space_measure(world->space).committed_units, 0);
        space_close(world);
    }
}

static void *(*reserve_fast)(void *self, size_t size, size_t align);

// Takes so long that the other threads come meanwhile.
static void *reserve_slowly(void *self, size_t size, size_t align) {
    uint64_t end = fa__os_clock_ns() + 1000000;
    while (fa__os_clock_ns() < end) {
        check_thread_yield();
    }
    return reserve_fast(self, size, align);
}

static _Atomic(fa__space *) spaces[4];

static void get_one(void *arg) {
    const size_t *which = arg;
    atomic_store(&spaces[*which], fa__space_get(the_world.ctx, NULL));
}

static void threads_that_come_first_together_get_one_space(void) {
    for (size_t round = 0; round < 5; round++) {
        space_open(&the_world, (space_desc){0});
        fa__space_destroy(the_world.ctx);
        reserve_fast = the_world.ctx->pages->backend.reserve;
        the_world.ctx->pages->backend.reserve = reserve_slowly;
        size_t numbers[4] = {0, 1, 2, 3};
        check_threads_run(4, get_one, numbers, sizeof(size_t));
        fa__space *first = atomic_load(&spaces[0]);
        REQUIRE_NOT_NULL(first);
        for (size_t i = 1; i < 4; i++) {
            CHECK_EQ(atomic_load(&spaces[i]), first);
        }
        the_world.space = first;
        space_close(&the_world);
    }
}

// ---- The check itself --------------------------------------------------------------------------

static void the_check_finds_damage(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *row[8];
    acquire_row(world, row, 8);
    fa__run_release(world->space, row[3]);
    fa__run_release(world->space, row[4]);
    fa__space *space = world->space;
    CHECK(fa__space_check(space));
    row[1]->to_head = 1;
    CHECK(!fa__space_check(space));
    row[1]->to_head = 0;
    row[4]->units = 1; // The last unit of a gap.
    CHECK(!fa__space_check(space));
    row[4]->units = 2;
    row[4]->is_committed = false;
    CHECK(!fa__space_check(space));
    row[4]->is_committed = true;
    row[5]->kind = FA__RUN_FREE; // Two gaps side by side.
    CHECK(!fa__space_check(space));
    row[5]->kind = FA__RUN_LARGE;
    fa__store(&space->owners[4], 1);
    CHECK(!fa__space_check(space));
    fa__store(&space->owners[4], 0);
    row[6]->units = 100;
    CHECK(!fa__space_check(space));
    row[6]->units = 1;
    CHECK(fa__space_check(space));
    space_close(world);
}

TEST_SUITE(space_faults, TEST(a_refused_call_changes_nothing),
           TEST(a_refused_call_of_a_section_changes_nothing),
           TEST(a_commit_that_cannot_be_undone_is_kept),
           TEST(a_refused_call_without_decommit_changes_nothing),
           TEST(making_one_can_be_tried_again), TEST(threads_share_a_space),
           TEST(threads_that_come_first_together_get_one_space), TEST(the_check_finds_damage));

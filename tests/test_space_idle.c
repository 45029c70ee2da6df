// What the space gives back, and its further sections.
#include "space_fixture.h"

#define RUNS 200

static space_world the_world;

// ---- Giving back -------------------------------------------------------------------------------

static void memory_unused_for_a_whole_step_goes_back(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *row[50];
    acquire_row(world, row, 50);
    (void)fa__space_tick(world->space, SIZE_MAX);
    release_row(world, row, 50);
    CHECK_EQ(fa__space_tick(world->space, SIZE_MAX), 0);
    fa__run *used = must_acquire(world, 10); // Used between the two: stays for another step.
    fa__run_release(world->space, used);
    uint64_t decommits = world->faults.decommits;
    CHECK_EQ(fa__space_tick(world->space, SIZE_MAX), 40 * FA__UNIT);
    CHECK_LE(world->faults.decommits, decommits + 2);
    CHECK_EQ(free_committed(world), 10);
    space_holds(world);
    CHECK_EQ(fa__space_tick(world->space, SIZE_MAX), 10 * FA__UNIT);
    CHECK_EQ(free_committed(world), 0);
    CHECK_EQ(fa__space_tick(world->space, SIZE_MAX), 0);
    space_holds(world);
    space_close(world);
}

static void a_tick_gives_back_no_more_than_it_may(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *row[RUNS];
    acquire_row(world, row, RUNS);
    for (size_t i = 0; i < RUNS; i += 3) { // Gaps of two units.
        fa__run_release(world->space, row[i]);
        fa__run_release(world->space, row[i + 1 < RUNS ? i + 1 : i]);
    }
    size_t left = free_committed(world);
    CHECK_GT(left, 100);
    (void)fa__space_tick(world->space, SIZE_MAX);
    for (size_t ticks = 0; left != 0; ticks++) { // Each goes on where the last one stopped.
        size_t expected = left < 7 ? left : 7;
        CHECK_EQ(fa__space_tick(world->space, 7), expected * FA__UNIT);
        left -= expected;
        CHECK_EQ(free_committed(world), left);
        space_holds(world);
        REQUIRE_LT(ticks, 40);
    }
    CHECK_EQ(fa__space_tick(world->space, 0), 0);
    space_close(world);
}

// A tick looks at a part of the gaps only; those with memory that was used lately must not keep it
// from ever reaching the others.
static void every_gap_gets_its_turn(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    static fa__run *row[2000];
    acquire_row(world, row, 2000);
    for (size_t i = 0; i < 2000; i += 2) {
        fa__run_release(world->space, row[i]);
    }
    size_t before = free_committed(world);
    size_t returned = 0;
    for (size_t ticks = 0; ticks < 40; ticks++) {
        fa__run *lately[100];
        for (size_t i = 0; i < 100; i++) {
            lately[i] = must_acquire(world, 1);
        }
        release_row(world, lately, 100);
        returned += fa__space_tick(world->space, 50) / FA__UNIT;
    }
    CHECK_GE(returned, before - 100 - 16);
    space_holds(world);
    space_close(world);
}

static void trim_gives_everything_unused_back(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *row[RUNS];
    acquire_row(world, row, RUNS);
    for (size_t i = 0; i < RUNS; i++) {
        run_fill(row[i], i, 0);
    }
    for (size_t i = 0; i < RUNS; i += 2) {
        fa__run_release(world->space, row[i]);
    }
    size_t idle = free_committed(world);
    size_t returned = 0;
    CHECK(fa__space_trim(world->space, UINT64_MAX, &returned));
    CHECK_EQ(returned, idle * FA__UNIT);
    CHECK_EQ(free_committed(world), 0);
    for (size_t i = 1; i < RUNS; i += 2) {
        CHECK(run_is_filled(row[i], i, 1));
    }
    space_holds(world);
    CHECK(fa__space_trim(world->space, UINT64_MAX, &returned));
    CHECK_EQ(returned, 0);
    space_close(world);
}

static void trim_merges_its_calls(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *row[RUNS];
    acquire_row(world, row, RUNS);
    release_row(world, row, RUNS);
    CHECK(fa__space_trim(world->space, UINT64_MAX, NULL));
    CHECK_EQ(world->faults.decommits, 1);
    space_close(world);
}

static void (*decommit_fast)(void *self, void *ptr, size_t size);

static void decommit_slowly(void *self, void *ptr, size_t size) {
    uint64_t end = fa__os_clock_ns() + 1000000;
    while (fa__os_clock_ns() < end) {
    }
    decommit_fast(self, ptr, size);
}

static void trim_stops_when_its_time_is_over(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *run = must_acquire(world, 1000);
    fa__run_release(world->space, run);
    size_t returned = 1;
    CHECK(!fa__space_trim(world->space, 0, &returned));
    CHECK_EQ(returned, 0);
    // Each call takes a millisecond or more, so that few of them fit.
    decommit_fast = world->space->pages->backend.decommit;
    world->space->pages->backend.decommit = decommit_slowly;
    CHECK(!fa__space_trim(world->space, fa__os_clock_ns() + 3000000, &returned));
    CHECK_LE(returned, 4 * MIB);
    world->space->pages->backend.decommit = decommit_fast;
    space_holds(world);
    CHECK_EQ(free_committed(world), 1000 - returned / FA__UNIT);
    CHECK(fa__space_trim(world->space, UINT64_MAX, NULL));
    CHECK(fa__space_trim(world->space, 0, &returned)); // Nothing is left: no time is needed.
    CHECK_EQ(returned, 0);
    space_close(world);
}

// ---- Further sections --------------------------------------------------------------------------

static void without_a_large_range_runs_come_from_sections(void) {
    static const space_desc descs[] = {{.reserve_most = MIB}, {.source = FAULT_BLOCKS}};
    for (size_t kind = 0; kind < 2; kind++) {
        space_world *world = &the_world;
        space_open(world, descs[kind]);
        CHECK_NULL(world->space->base);
        CHECK_EQ(fa__load(&world->space->top), 0);
        fa__run *runs[RUNS];
        for (size_t i = 0; i < RUNS; i++) {
            runs[i] = must_acquire(world, 1 + i % 9);
            CHECK_EQ((uintptr_t)runs[i]->ptr % FA__UNIT, 0);
            run_fill(runs[i], i, 0);
            space_holds(world);
        }
        CHECK_GE(fa__space_measure(world->space).sections, kind == 0 ? 63 : 8);
        CHECK_LE(fa__space_measure(world->space).sections, kind == 0 ? 90 : 40);
        for (size_t i = 0; i < RUNS; i++) {
            CHECK(run_is_filled(runs[i], i, 1 + i % 9));
            CHECK_EQ(fa__run_find(world->space, runs[i]->ptr + (i % 9) * FA__UNIT), runs[i]);
            fa__run_release(world->space, runs[i]);
            space_holds(world);
        }
        CHECK(fa__space_trim(world->space, UINT64_MAX, NULL));
        CHECK_EQ(fa__space_measure(world->space).sections, 0);
        CHECK_EQ(fa__space_measure(world->space).free_units, 0);
        space_close(world);
    }
}

static void a_full_main_section_is_followed_by_others(void) {
    space_world *world = &the_world;
    size_t room = SIZE_MAX > UINT32_MAX ? 1024 : 256; // Units of the main section.
    size_t half = room / 2 - 12;
    space_open(world, (space_desc){.reserve_most = 64 * MIB});
    REQUIRE_NOT_NULL(world->space->base);
    fa__run *runs[3] = {must_acquire(world, half), must_acquire(world, half),
                        must_acquire(world, half)};
    CHECK_EQ(fa__load(&world->space->top), (1 + 2 * half) * FA__UNIT);
    CHECK_EQ(fa__space_measure(world->space).sections, 1);
    uint64_t granule = fa__space_granule_slow(world->space, runs[2]->ptr);
    CHECK_EQ(granule, room * GRANULES_PER_UNIT); // After all of the main one.
    CHECK_EQ(fa__run_find(world->space, runs[2]->ptr + (half - 1) * FA__UNIT), runs[2]);
    fa__run *last = must_acquire(world, 23); // The rest of the main one.
    CHECK(!fa__run_resize(world->space, last, 24, NULL));
    CHECK_EQ(fa__load(&world->space->top), room * FA__UNIT);
    CHECK(!fa__run_resize(world->space, runs[2], half + 1, NULL));
    space_holds(world);
    space_close(world);
}

static void free_sections_go_back_whole(void) {
    static const space_desc descs[] = {{.reserve_most = 8 * MIB},
                                       {.source = FAULT_BLOCKS},
                                       {.reserve_most = 8 * MIB, .cannot_decommit = true}};
    for (size_t kind = 0; kind < 3; kind++) {
        space_world *world = &the_world;
        space_open(world, descs[kind]);
        fa__run *kept = must_acquire(world, 4);
        fa__run *run = must_acquire(world, 100);
        CHECK_EQ(fa__space_measure(world->space).sections, 2);
        size_t before = world->faults.committed_bytes;
        fa__run_release(world->space, run);
        CHECK_EQ(fa__space_tick(world->space, SIZE_MAX), 0);
        CHECK_EQ(fa__space_measure(world->space).sections, 2);
        size_t returned = fa__space_tick(world->space, SIZE_MAX);
        CHECK_GE(returned, 100 * FA__UNIT);
        CHECK_EQ(world->faults.committed_bytes, before - returned);
        CHECK_EQ(fa__space_measure(world->space).sections, 1);
        CHECK_EQ(fa__run_find(world->space, kept->ptr), kept);
        space_holds(world);
        fa__run_release(world->space, kept);
        CHECK(fa__space_trim(world->space, UINT64_MAX, NULL));
        CHECK_EQ(fa__space_measure(world->space).sections, 0);
        space_close(world);
    }
}

static void a_section_given_back_by_parts_goes_in_the_end(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){.reserve_most = 8 * MIB});
    fa__run *run = must_acquire(world, 100);
    CHECK(fa__run_resize(world->space, run, 50, NULL));
    (void)fa__space_tick(world->space, SIZE_MAX);
    CHECK_EQ(fa__space_tick(world->space, 30), 30 * FA__UNIT);
    space_holds(world);
    fa__run_release(world->space, run);
    CHECK_EQ(fa__space_tick(world->space, SIZE_MAX), 20 * FA__UNIT);
    CHECK_EQ(fa__space_measure(world->space).sections, 1);
    CHECK_GE(fa__space_tick(world->space, SIZE_MAX), 50 * FA__UNIT);
    CHECK_EQ(fa__space_measure(world->space).sections, 0);
    space_holds(world);
    space_close(world);
}

static void numbers_of_sections_are_never_used_again(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){.reserve_most = MIB});
    uint64_t last = 0;
    for (size_t i = 0; i < 50; i++) {
        fa__run *run = must_acquire(world, 2);
        fa__space_set_owner(world->space, run, 1);
        uint64_t granule = fa__space_granule_slow(world->space, run->ptr);
        CHECK(i == 0 || granule > last);
        CHECK_EQ(fa__space_at_slow(world->space, granule), run->ptr);
        CHECK(i == 0 || fa__space_at_slow(world->space, last) == NULL);
        CHECK(i == 0 || fa__space_owner_slow(world->space, last) == 0);
        last = granule;
        fa__run_release(world->space, run);
        CHECK(fa__space_trim(world->space, UINT64_MAX, NULL));
    }
    space_close(world);
}

static void sections_that_come_and_go_leave_nothing_behind(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){.reserve_most = MIB});
    size_t committed = 0;
    for (size_t round = 0; round < 4; round++) {
        fa__run *runs[100];
        for (size_t i = 0; i < 100; i++) {
            runs[i] = must_acquire(world, 16);
        }
        CHECK_EQ(fa__space_measure(world->space).sections, 100);
        release_row(world, runs, 100);
        CHECK(fa__space_trim(world->space, UINT64_MAX, NULL));
        committed = round == 0 ? committed_now(world) : committed;
        CHECK_EQ(committed_now(world), committed);
    }
    space_close(world);
}

static void small_limits_are_enough_without_commit(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){.source = FAULT_BLOCKS, .limit = 256 * KIB});
    fa__run *run = must_acquire(world, 1);
    memset(run->ptr, 1, FA__UNIT);
    space_holds(world);
    space_close(world);
}

static void scarce_address_space_is_left_to_others(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){.reserve_most = 1024 * MIB});
    world->faults.has_rubbish = false;
    REQUIRE_NOT_NULL(world->space->base);
    CHECK_LE(world->faults.reserved_bytes, 300 * MIB);
    CHECK_NOT_NULL(acquire(world, 256 * MIB / FA__UNIT));
    space_close(world);
}

// ---- The context's tiers -----------------------------------------------------------------------

static void have_quiet_period(void *arg) {
    space_world *world = arg;
    const fa__tier *tier = fa__load_acquire(&world->ctx->tiers[FA__TIER_SPACE]);
    tier->quiet(world->ctx, NULL);
}

static void quiet_periods_move_the_clock(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run_release(world->space, must_acquire(world, 20));
    have_quiet_period(world);
    CHECK_EQ(free_committed(world), 20);
    have_quiet_period(world);
    CHECK_EQ(free_committed(world), 0);
    space_close(world);
}

// Otherwise many threads would make the clock run so fast that what is used in every frame goes
// back.
static void the_clock_runs_no_faster_with_more_threads(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    have_quiet_period(world);
    fa__run_release(world->space, must_acquire(world, 20));
    for (size_t i = 0; i < 4; i++) {
        check_threads_run(1, have_quiet_period, world, 0);
    }
    CHECK_EQ(free_committed(world), 20);
    for (size_t i = 0; i < 40; i++) { // This thread has none any more: another takes its place.
        check_threads_run(1, have_quiet_period, world, 0);
    }
    CHECK_EQ(free_committed(world), 0);
    space_close(world);
}

static void a_context_trims_and_ends_its_space(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    (void)must_acquire(world, 3);
    fa__run_release(world->space, must_acquire(world, 20));
    CHECK_EQ(fa_context_trim(world->ctx, 0), FA_OK);
    CHECK_EQ(free_committed(world), 0);
    context_close(world->ctx);
    fault_backend_end(&world->faults);
}

TEST_SUITE(space_idle, TEST(memory_unused_for_a_whole_step_goes_back),
           TEST(a_tick_gives_back_no_more_than_it_may), TEST(every_gap_gets_its_turn),
           TEST(trim_gives_everything_unused_back), TEST(trim_merges_its_calls),
           TEST(trim_stops_when_its_time_is_over),
           TEST(without_a_large_range_runs_come_from_sections),
           TEST(a_full_main_section_is_followed_by_others), TEST(free_sections_go_back_whole),
           TEST(a_section_given_back_by_parts_goes_in_the_end),
           TEST(numbers_of_sections_are_never_used_again),
           TEST(sections_that_come_and_go_leave_nothing_behind),
           TEST(small_limits_are_enough_without_commit),
           TEST(scarce_address_space_is_left_to_others), TEST(quiet_periods_move_the_clock),
           TEST(the_clock_runs_no_faster_with_more_threads),
           TEST(a_context_trims_and_ends_its_space));

// Runs of units: one test for each thing that acquiring, resizing and finding them promises. The
// random tests are in test_space_model.c.
#include "space_fixture.h"

static space_world the_world;

// ---- Acquiring and releasing -------------------------------------------------------------------

static void an_acquired_run_is_described(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *before = must_acquire(world, 3);
    fa__run *run = fa__run_acquire(world->space, 5, 1, FA__RUN_TABLE, &the_world.faults, NULL);
    REQUIRE_NOT_NULL(run);
    CHECK_EQ(run->kind, FA__RUN_TABLE);
    CHECK_EQ(run->owner, &the_world.faults);
    CHECK_EQ(run->units, 5);
    CHECK_EQ(run->serial, 0);
    CHECK_EQ(run->ptr, before->ptr + 3 * FA__UNIT);
    memset(run->ptr, 0x77, 5 * FA__UNIT);
    for (size_t i = 0; i < 5; i++) {
        CHECK_EQ(run[i].to_head, i);
        CHECK_EQ(run[i].kind, FA__RUN_TABLE);
        CHECK_EQ(fa__run_find(world->space, run->ptr + i * FA__UNIT + 12345), run);
    }
    space_holds(world);
    space_close(world); // Gives runs in use back as well.
}

static void the_body_is_zeroed_and_the_floor_kept(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *run = must_acquire(world, 4);
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_EQ(run[i].floor, 0);
        run[i].floor = 100 + i;
        run[i].serial = 7;
    }
    memset(run->body, 0xEE, sizeof run->body);
    fa__run_release(world->space, run);
    fa__run *again = must_acquire(world, 4);
    REQUIRE(again == run);
    static const unsigned char zero[FA__RUN_BODY];
    CHECK_MEM_EQ(again->body, zero, sizeof zero);
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_EQ(again[i].floor, 100 + i);
        CHECK_EQ(again[i].serial, 0);
    }
    space_close(world);
}

static void units_lie_at_the_alignment_asked_for(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *runs[12];
    for (unsigned shift = 16; shift < 28; shift++) {
        size_t align = (size_t)1 << shift;
        (void)must_acquire(world, 1);
        fa__run *run = fa__run_acquire(world->space, 3, align, FA__RUN_LARGE, NULL, NULL);
        REQUIRE_NOT_NULL(run);
        runs[shift - 16] = run;
        CHECK_EQ((uintptr_t)run->ptr % align, 0);
        run_fill(run, shift, 0);
        space_holds(world);
    }
    // What was passed over is free, was not committed, and is used next.
    CHECK_LE(fa__space_measure(world->space).committed_units, 12 * (4 + 16));
    size_t top = fa__load(&world->space->top);
    CHECK_LE(top, 2 * ((size_t)1 << 28));
    for (size_t i = 0; i < 200; i++) {
        (void)must_acquire(world, 2);
    }
    CHECK_EQ(fa__load(&world->space->top), top);
    for (unsigned i = 0; i < 12; i++) {
        CHECK(run_is_filled(runs[i], 16 + i, 3));
    }
    space_close(world);
}

static void an_aligned_run_that_comes_and_goes_takes_the_same_place(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    (void)must_acquire(world, 1);
    size_t top = 0;
    for (size_t i = 0; i < 20; i++) {
        fa__run *run = fa__run_acquire(world->space, 5, 64 * FA__UNIT, FA__RUN_LARGE, NULL, NULL);
        REQUIRE_NOT_NULL(run);
        fa__run_release(world->space, run);
        top = i == 0 ? fa__load(&world->space->top) : top;
    }
    CHECK_EQ(fa__load(&world->space->top), top);
    space_close(world);
}

static void freed_neighbours_join(void) {
    static const size_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                        {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t order = 0; order < 6; order++) {
        space_world *world = &the_world;
        space_open(world, (space_desc){0});
        (void)must_acquire(world, 1);
        fa__run *runs[3] = {must_acquire(world, 2), must_acquire(world, 40),
                            must_acquire(world, 3)};
        (void)must_acquire(world, 1);
        for (size_t i = 0; i < 3; i++) {
            fa__run_release(world->space, runs[orders[order][i]]);
            space_holds(world);
        }
        uint64_t calls = world->faults.calls;
        CHECK_EQ(must_acquire(world, 45), runs[0]);
        CHECK_EQ(world->faults.calls, calls);
        space_close(world);
    }
}

static void a_shorter_run_leaves_the_rest(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *run = must_acquire(world, 100);
    (void)must_acquire(world, 16);
    fa__run_release(world->space, run);
    size_t top = fa__load(&world->space->top);
    for (size_t i = 0; i < 10; i++) {
        CHECK_EQ(must_acquire(world, 10), run + 10 * i);
        space_holds(world);
    }
    CHECK_EQ(fa__load(&world->space->top), top);
    space_close(world);
}

static void free_units_at_the_end_are_part_of_a_longer_run(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    (void)must_acquire(world, 1);
    fa__run *last = must_acquire(world, 20);
    fa__run_release(world->space, last);
    CHECK_EQ(must_acquire(world, 50), last);
    CHECK_EQ(fa__load(&world->space->top), (1 + 51) * FA__UNIT);
    space_holds(world);
    space_close(world);
}

static void releasing_twice_changes_nothing(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *run = must_acquire(world, 4);
    fa__run *other = must_acquire(world, 4);
    fa__run_release(world->space, run);
    fa__space_figures before = fa__space_measure(world->space);
    fa__run_release(world->space, run);
    CHECK(!fa__run_resize(world->space, run, 2, NULL));
    CHECK(!fa__run_resize(world->space, run, 6, NULL));
    fa__space_set_owner(world->space, run, 5);
    CHECK_EQ(fa__load(&world->space->owners[1]), 0);
    fa__run_release(world->space, other + 2); // No head.
    CHECK_EQ(fa__space_measure(world->space).used_units, before.used_units);
    CHECK_EQ(fa__run_find(world->space, other->ptr), other);
    space_holds(world);
    space_close(world);
}

static void lengths_that_no_memory_has_are_refused(void) {
    static const size_t lengths[] = {
        0, SIZE_MAX, SIZE_MAX / 2, SIZE_MAX >> 16, SIZE_MAX >> 17, UINT32_MAX};
    space_world *world = &the_world;
    for (size_t kind = 0; kind < 2; kind++) {
        space_open(world, (space_desc){.reserve_most = kind == 0 ? 0 : MIB, .limit = 1024 * MIB});
        fa__run *run = must_acquire(world, 1);
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            CHECK_NULL(acquire(world, lengths[i]));
            CHECK(!fa__run_resize(world->space, run, lengths[i], NULL));
            if (SIZE_MAX > UINT32_MAX) { // Otherwise it is an address like others.
                size_t align = (SIZE_MAX >> 1) + 1;
                CHECK_NULL(fa__run_acquire(world->space, 1, align, FA__RUN_LARGE, NULL, NULL));
            }
            space_holds(world);
        }
        CHECK_EQ(fa__space_measure(world->space).used_units, 1);
        space_close(world);
    }
}

// ---- What is committed, and with how many calls ------------------------------------------------

static void the_first_use_commits_little(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){.limit = 256 * KIB});
    CHECK_LE(committed_now(world), 128 * KIB); // The context.
    fa__run *run = must_acquire(world, 1);
    memset(run->ptr, 1, FA__UNIT);
    CHECK_LE(committed_now(world), 128 * KIB + FA__UNIT + 32 * KIB);
    space_holds(world);
    space_close(world);
}

static void memory_that_was_freed_is_taken_first(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *row[40];
    acquire_row(world, row, 40);
    for (size_t i = 0; i < 40; i += 2) {
        fa__run_release(world->space, row[i]);
    }
    REQUIRE(fa__space_trim(world->space, UINT64_MAX, NULL)); // Every other one: nothing behind it.
    fa__run_release(world->space, row[21]);
    fa__run_release(world->space, row[31]);
    uint64_t calls = world->faults.calls;
    (void)must_acquire(world, 1);
    (void)must_acquire(world, 1);
    CHECK_EQ(world->faults.calls, calls);
    space_holds(world);
    space_close(world);
}

static void runs_that_come_and_go_make_no_call(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    uint64_t calls = 0;
    uint64_t decommits = 0;
    for (size_t round = 0; round < 100; round++) {
        fa__run *runs[20];
        for (size_t i = 0; i < 20; i++) {
            runs[i] = must_acquire(world, 1 + i * i % 17);
        }
        release_row(world, runs, 20);
        (void)fa__space_tick(world->space, SIZE_MAX);
        if (round == 1) {
            calls = world->faults.calls;
            decommits = world->faults.decommits;
        }
    }
    CHECK_EQ(world->faults.calls, calls);
    CHECK_EQ(world->faults.decommits, decommits);
    space_close(world);
}

static void a_stretch_is_committed_with_one_call(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *row[60];
    acquire_row(world, row, 60);
    (void)must_acquire(world, 1);
    release_row(world, row, 60);
    REQUIRE(fa__space_trim(world->space, UINT64_MAX, NULL));
    while (free_committed(world) != 0) {
        FAIL("units are still committed");
        break;
    }
    uint64_t calls = world->faults.calls;
    fa__run *run = must_acquire(world, 50);
    CHECK_EQ(world->faults.calls, calls + 1);
    // Units 20 to 29 stay committed between two stretches that are not.
    CHECK(fa__run_resize(world->space, run, 30, NULL));
    fa__run *rest = must_acquire(world, 30);
    fa__run_release(world->space, rest);
    REQUIRE(fa__space_trim(world->space, UINT64_MAX, NULL));
    CHECK(fa__run_resize(world->space, run, 20, NULL));
    calls = world->faults.calls;
    CHECK(fa__run_resize(world->space, run, 60, NULL));
    CHECK_EQ(world->faults.calls, calls + 1);
    fa__run_release(world->space, run);
    space_holds(world);
    space_close(world);
}

static void a_gap_is_used_where_it_is_committed(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *row[20];
    acquire_row(world, row, 20);
    (void)must_acquire(world, 1);
    release_row(world, row, 10);
    REQUIRE(fa__space_trim(world->space, UINT64_MAX, NULL));
    release_row(world, row + 10, 10); // One gap: ten units that are not committed, ten that are.
    uint64_t calls = world->faults.calls;
    for (size_t i = 0; i < 10; i++) {
        (void)must_acquire(world, 1);
        space_holds(world);
    }
    CHECK_EQ(world->faults.calls, calls);
    space_close(world);
}

static void a_gap_freed_long_ago_is_taken_before_new_memory(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *row[64];
    acquire_row(world, row, 64);
    release_row(world, row, 5);
    for (size_t i = 6; i < 64; i += 2) { // Many gaps that changed later, all too short.
        fa__run_release(world->space, row[i]);
    }
    uint64_t calls = world->faults.calls;
    CHECK_EQ(must_acquire(world, 5), row[0]);
    CHECK_EQ(world->faults.calls, calls);
    space_close(world);
}

static void as_little_as_possible_is_committed(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *row[20];
    acquire_row(world, row, 20);
    (void)must_acquire(world, 1);
    release_row(world, row, 10);
    REQUIRE(fa__space_trim(world->space, UINT64_MAX, NULL));
    release_row(world, row + 10, 10);
    size_t before = committed_now(world);
    CHECK_EQ(must_acquire(world, 15), row[5]); // Ten of its units are committed.
    CHECK_EQ(committed_now(world), before + 5 * FA__UNIT);
    space_holds(world);
    space_close(world);
}

static void what_describes_the_units_grows_with_them(void) {
    static const size_t lengths[] = {127, 128, 1023, 1024}; // Up to the end of a step, and beyond.
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        space_world *world = &the_world;
        space_open(world, (space_desc){0});
        world->faults.has_rubbish = false;
        fa__run *run = must_acquire(world, lengths[i]);
        fa__space_set_owner(world->space, run, 3);
        space_holds(world);
        space_close(world);
    }
}

static void single_units_at_the_top_are_committed_ahead(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    for (size_t i = 0; i < 1000; i++) {
        (void)must_acquire(world, 1);
        CHECK_LT(free_committed(world), 16);
    }
    CHECK_LE(world->faults.calls, 4 + 64 + 1000 / 16 + 1000 / 128 + 3);
    space_close(world);
}

static void the_limit_can_be_reached(void) {
    space_world *world = &the_world;
    size_t limit = 20 * MIB;
    space_open(world, (space_desc){.limit = limit});
    fa__denial denial = FA__DENIED_BY_BACKEND;
    size_t units = 0;
    while (fa__run_acquire(world->space, 1, 1, FA__RUN_SLAB, NULL, &denial) != NULL) {
        units += 1;
        REQUIRE_LT(units, 320);
        CHECK(free_committed(world) == 0 || committed_now(world) < limit - 3 * MIB);
    }
    CHECK_EQ((int)denial, FA__DENIED_BY_LIMIT);
    CHECK_EQ(fa__space_measure(world->space).used_units, units);
    CHECK_GT(units * FA__UNIT, limit - 320 * KIB);
    CHECK_GT(committed_now(world), limit - FA__UNIT - 16 * KIB);
    CHECK_LE(world->faults.committed_peak, limit);
    space_holds(world);
    space_close(world);
}

static void unused_memory_never_makes_a_request_fail(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){.limit = 10 * MIB});
    fa__run *row[140];
    acquire_row(world, row, 140);
    for (size_t i = 0; i < 140; i += 2) {
        fa__run_release(world->space, row[i]);
    }
    // Seventy units are free, but no two of them side by side.
    fa__run *run = must_acquire(world, 60);
    run_fill(run, 9, 0);
    space_holds(world);
    CHECK_NULL(acquire(world, 60));
    CHECK(!fa__run_resize(world->space, run, 100, NULL));
    CHECK(run_is_filled(run, 9, 60));
    for (size_t i = 1; i < 140; i += 2) {
        fa__run_release(world->space, row[i]);
    }
    CHECK(fa__run_resize(world->space, run, 120, NULL)); // Gives the others back.
    CHECK(run_is_filled(run, 9, 60));
    space_holds(world);
    space_close(world);
}

static void refusals_say_who_refused(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){.limit = 4 * MIB});
    fa__denial denial = FA__DENIED_BY_BACKEND;
    size_t committed = committed_now(world);
    uint64_t calls = world->faults.calls;
    CHECK_NULL(fa__run_acquire(world->space, 100, 1, FA__RUN_LARGE, NULL, &denial));
    CHECK_EQ((int)denial, FA__DENIED_BY_LIMIT);
    CHECK_EQ(world->faults.calls, calls);
    fault_backend_set(&world->faults, FAULT_FROM, 1, 0, 0);
    CHECK_NULL(fa__run_acquire(world->space, 1, 1, FA__RUN_LARGE, NULL, &denial));
    CHECK_EQ((int)denial, FA__DENIED_BY_BACKEND);
    CHECK_EQ(committed_now(world), committed);
    CHECK_EQ(fa__load(&world->space->top), 0);
    space_holds(world);
    space_close(world);
}

// ---- Resizing ----------------------------------------------------------------------------------

static void shrinking_always_works(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *run = must_acquire(world, 80);
    (void)must_acquire(world, 1);
    run_fill(run, 3, 0);
    fault_backend_set(&world->faults, FAULT_FROM, 1, 0, 0);
    static const size_t lengths[] = {80, 79, 40, 2, 1, 1};
    for (size_t i = 0; i < 6; i++) {
        CHECK(fa__run_resize(world->space, run, lengths[i], NULL));
        CHECK_EQ(run->units, lengths[i]);
        CHECK(run_is_filled(run, 3, lengths[i]));
        CHECK_NULL(fa__run_find(world->space, run->ptr + lengths[i] * FA__UNIT +
                                                  (lengths[i] == 80 ? FA__UNIT : 0)));
        space_holds(world);
    }
    CHECK(!fa__run_resize(world->space, run, 0, NULL));
    CHECK_EQ(run->units, 1);
    space_close(world);
}

static void a_run_grows_into_what_is_free_behind_it(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *run = must_acquire(world, 2);
    fa__run *behind = must_acquire(world, 10);
    fa__run *wall = must_acquire(world, 1);
    run_fill(run, 5, 0);
    fa__space_set_owner(world->space, run, 77);
    CHECK(!fa__run_resize(world->space, run, 3, NULL));
    fa__run_release(world->space, behind);
    CHECK(!fa__run_resize(world->space, run, 13, NULL));
    space_holds(world);
    uint64_t calls = world->faults.calls;
    CHECK(fa__run_resize(world->space, run, 9, NULL));
    CHECK_EQ(world->faults.calls, calls);
    CHECK_EQ(fa__run_find(world->space, run->ptr + 8 * FA__UNIT), run);
    CHECK_EQ(fa__load(&world->space->owners[1 + 8]), 77);
    CHECK_NULL(fa__run_find(world->space, run->ptr + 9 * FA__UNIT));
    CHECK(fa__run_resize(world->space, run, 12, NULL));
    CHECK_EQ(fa__run_find(world->space, wall->ptr), wall);
    CHECK(run_is_filled(run, 5, 2));
    space_holds(world);
    space_close(world);
}

static void the_last_run_grows_at_the_top(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *run = must_acquire(world, 2);
    for (size_t units = 4; units < 3000; units += units / 2) {
        uint64_t calls = world->faults.calls;
        CHECK(fa__run_resize(world->space, run, units, NULL));
        CHECK_LE(world->faults.calls, calls + 3);
        run_fill(run, units, 0);
        CHECK_EQ(fa__load(&world->space->top), (1 + units) * FA__UNIT);
        space_holds(world);
    }
    fault_backend_set(&world->faults, FAULT_FROM, 1, 0, 0);
    size_t units = run->units;
    CHECK(!fa__run_resize(world->space, run, units + 1000, NULL));
    CHECK_EQ(run->units, units);
    CHECK_EQ(fa__load(&world->space->top), (1 + units) * FA__UNIT);
    space_holds(world);
    space_close(world);
}

// ---- Finding -----------------------------------------------------------------------------------

static void addresses_of_others_find_nothing(void) {
    static const space_desc descs[] = {{0}, {.reserve_most = MIB}, {.source = FAULT_BLOCKS}};
    for (size_t i = 0; i < 3; i++) {
        space_world *world = &the_world;
        space_open(world, descs[i]);
        int local = 0;
        CHECK_NULL(fa__run_find(world->space, NULL));
        CHECK_NULL(fa__run_find(world->space, &local));
        fa__run *run = must_acquire(world, 2);
        char *ptr = run->ptr;
        CHECK_NULL(fa__run_find(world->space, NULL));
        CHECK_NULL(fa__run_find(world->space, &local));
        CHECK_NULL(fa__run_find(world->space, ptr - 1));
        CHECK_NULL(fa__run_find(world->space, ptr + 2 * FA__UNIT));
        CHECK_NULL(fa__run_find(world->space, (const void *)UINTPTR_MAX)); // NOLINT
        CHECK_EQ(fa__run_find(world->space, ptr + 2 * FA__UNIT - 1), run);
        CHECK(fa__space_granule_slow(world->space, &local) == UINT64_MAX);
        CHECK_NULL(fa__space_at_slow(world->space, UINT64_MAX));
        CHECK_EQ(fa__space_owner_slow(world->space, UINT64_MAX), 0);
        fa__run_release(world->space, run);
        CHECK_NULL(fa__run_find(world->space, ptr));
        CHECK_NULL(fa__run_find(world->space, ptr + FA__UNIT));
        space_close(world);
    }
}

static void owners_are_set_for_every_unit_and_cleared(void) {
    static const space_desc descs[] = {{0}, {.reserve_most = MIB}, {.source = FAULT_BLOCKS}};
    for (size_t i = 0; i < 3; i++) {
        space_world *world = &the_world;
        space_open(world, descs[i]);
        (void)must_acquire(world, 1);
        fa__run *run = must_acquire(world, 3);
        uint64_t granule = fa__space_granule_slow(world->space, run->ptr);
        fa__space_set_owner(world->space, run, 42);
        for (uint64_t unit = 0; unit < 3; unit++) {
            CHECK_EQ(fa__space_owner_slow(world->space, granule + unit * GRANULES_PER_UNIT), 42);
        }
        CHECK_EQ(fa__space_owner_slow(world->space, granule - 1), 0);
        CHECK_EQ(fa__space_owner_slow(world->space, granule + 3 * GRANULES_PER_UNIT), 0);
        CHECK_EQ(fa__space_at_slow(world->space, granule + 5),
                 run->ptr + 5 * (size_t)FA__GRANULE_BYTES);
        fa__run_release(world->space, run);
        CHECK_EQ(fa__space_owner_slow(world->space, granule), 0);
        space_holds(world);
        space_close(world);
    }
}

static void number_0_means_nothing(void) {
    static const space_desc descs[] = {{0}, {.reserve_most = MIB}, {.source = FAULT_BLOCKS}};
    for (size_t i = 0; i < 3; i++) {
        space_world *world = &the_world;
        space_open(world, descs[i]);
        fa__run *run = must_acquire(world, 3);
        fa__space_set_owner(world->space, run, 9);
        CHECK(fa__space_granule_slow(world->space, run->ptr) >= GRANULES_PER_UNIT);
        CHECK_NULL(fa__space_at_slow(world->space, 0));
        CHECK_NULL(fa__space_at_slow(world->space, GRANULES_PER_UNIT - 1));
        CHECK_EQ(fa__space_owner_slow(world->space, 0), 0);
        if (world->space->base != NULL) {
            CHECK_NULL(fa__run_find(world->space, world->space->base));
            CHECK_EQ(fa__load(&world->space->owners[0]), 0);
        }
        fa__run_release(world->space, run); // Joins nothing before it.
        space_holds(world);
        space_close(world);
    }
}

static void granules_of_the_main_section_count_from_its_start(void) {
    space_world *world = &the_world;
    space_open(world, (space_desc){0});
    fa__run *run = must_acquire(world, 3);
    CHECK_EQ(run->ptr, world->space->base + FA__UNIT);
    CHECK_EQ(
        fa__space_granule_slow(world->space, run->ptr + FA__UNIT + 3 * (size_t)FA__GRANULE_BYTES),
        2 * GRANULES_PER_UNIT + 3);
    CHECK_NULL(fa__space_at_slow(world->space, 4 * GRANULES_PER_UNIT)); // Never handed out.
    space_close(world);
}

static size_t advised_bytes;

static void note_advice(void *self, void *ptr, size_t size) {
    (void)self;
    (void)ptr;
    advised_bytes += size;
}

static void large_pages_are_committed_whole(void) {
    space_world *world = &the_world;
    size_t calls[2];
    for (size_t is_huge = 0; is_huge < 2; is_huge++) {
        space_open(world, (space_desc){0});
        fa__space_destroy(world->ctx);
        world->ctx->config.huge_pages = is_huge != 0;
        world->ctx->pages->backend.advise_huge = note_advice;
        advised_bytes = 0;
        world->space = fa__space_get(world->ctx, NULL);
        REQUIRE_NOT_NULL(world->space);
        CHECK_EQ(advised_bytes != 0, is_huge != 0);
        uint64_t before = world->faults.calls;
        for (size_t i = 0; i < 63; i++) {
            (void)must_acquire(world, 1);
        }
        calls[is_huge] = (size_t)(world->faults.calls - before);
        space_holds(world);
        space_close(world);
    }
    CHECK_EQ(calls[1], 2 + 2); // Of two large pages, and what describes them.
    CHECK_GE(calls[0], 48);
}

TEST_SUITE(space, TEST(an_acquired_run_is_described), TEST(the_body_is_zeroed_and_the_floor_kept),
           TEST(units_lie_at_the_alignment_asked_for),
           TEST(an_aligned_run_that_comes_and_goes_takes_the_same_place),
           TEST(freed_neighbours_join), TEST(a_shorter_run_leaves_the_rest),
           TEST(free_units_at_the_end_are_part_of_a_longer_run),
           TEST(releasing_twice_changes_nothing), TEST(lengths_that_no_memory_has_are_refused),
           TEST(the_first_use_commits_little), TEST(memory_that_was_freed_is_taken_first),
           TEST(runs_that_come_and_go_make_no_call), TEST(a_stretch_is_committed_with_one_call),
           TEST(a_gap_is_used_where_it_is_committed),
           TEST(a_gap_freed_long_ago_is_taken_before_new_memory),
           TEST(as_little_as_possible_is_committed), TEST(what_describes_the_units_grows_with_them),
           TEST(single_units_at_the_top_are_committed_ahead), TEST(the_limit_can_be_reached),
           TEST(unused_memory_never_makes_a_request_fail), TEST(refusals_say_who_refused),
           TEST(shrinking_always_works), TEST(a_run_grows_into_what_is_free_behind_it),
           TEST(the_last_run_grows_at_the_top), TEST(addresses_of_others_find_nothing),
           TEST(owners_are_set_for_every_unit_and_cleared), TEST(number_0_means_nothing),
           TEST(granules_of_the_main_section_count_from_its_start),
           TEST(large_pages_are_committed_whole));

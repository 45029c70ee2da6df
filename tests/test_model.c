// Random operations against the naive model of model.h: millions of steps, each predicted and
// compared.
#include "model.h"

#include <stdlib.h>

enum { STEPS_PER_WORLD = 20000, COMPARE_EVERY = 400 };

// Runs worlds of one kind, all numbers of frames in flight in turn, for so many steps in all.
static void run_worlds(model_setup setup, size_t steps) {
    uint64_t seed = check_seed();
    uint64_t kind = 1 + (uint64_t)setup.is_narrow + 2 * (uint64_t)setup.cannot_commit +
                    4 * (uint64_t)setup.has_budgets;
    check_rng rng = check_rng_make(seed + (kind << 32));
    model_world *world = malloc(sizeof(*world));
    REQUIRE_NOT_NULL(world);
    uint64_t granted = 0;
    uint64_t denied = 0;
    bool failed = false;
    for (size_t done = 0; done < steps && !failed; done += STEPS_PER_WORLD) {
        setup.seed = check_rng_next(&rng);
        setup.frames_in_flight = 1 + (uint32_t)(done / STEPS_PER_WORLD) % 8;
        model_open(world, &setup);
        size_t end = steps - done < STEPS_PER_WORLD ? steps - done : STEPS_PER_WORLD;
        for (size_t i = 0; i < end && !world->failed; i++) {
            model_step(world);
            if (world->step % COMPARE_EVERY == 0) {
                model_compare(world);
            }
        }
        granted += world->granted;
        denied += world->denied;
        model_close(world);
        failed = world->failed;
    }
    CHECK(!failed);
    CHECK_GT(granted, steps / 20);
    CHECK_GT(denied, steps / 2000);
    free(world);
}

static void arenas_do_what_the_model_does(void) {
    run_worlds((model_setup){0}, check_scale(800000));
}

static void arenas_with_budgets_do_what_the_model_does(void) {
    run_worlds((model_setup){.has_budgets = true}, check_scale(800000));
}

static void narrow_arenas_do_what_the_model_does(void) {
    run_worlds((model_setup){.is_narrow = true, .has_budgets = true}, check_scale(600000));
}

static void arenas_on_chunks_do_what_the_model_does(void) {
    run_worlds((model_setup){.cannot_commit = true, .has_budgets = true}, check_scale(300000));
}

static void narrow_arenas_on_chunks_do_what_the_model_does(void) {
    run_worlds((model_setup){.cannot_commit = true, .is_narrow = true}, check_scale(300000));
}

TEST_SUITE(model, TEST(arenas_do_what_the_model_does),
           TEST(arenas_with_budgets_do_what_the_model_does),
           TEST(narrow_arenas_do_what_the_model_does),
           TEST(arenas_on_chunks_do_what_the_model_does),
           TEST(narrow_arenas_on_chunks_do_what_the_model_does));

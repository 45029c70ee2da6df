// Memory that is refused: every single call of the backend in turn, every one from some point on,
// by chance, by memory_limit, and by the operating system itself. fault_world.h is the workload and
// knows what a refused call owes its caller.
#if !defined(_WIN32) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE // setrlimit() in strict C.
#endif

#include "fault_world.h"

#include <stdio.h>
#include <string.h>

#if defined(__linux__)
#include <sys/resource.h>
#endif

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static world the_world;
static fault_backend the_faults;

static world_plan usual_plan(void) {
    return (world_plan){.frames_in_flight = 1, .history_frames = 300, .tags = 130, .arenas = 60};
}

// One run of the workload `play` from beginning to end. Returns the number of calls it refused.
static uint64_t run_once(const world_plan *plan, void (*play)(world *w), fault_source source,
                         fault_mode mode, uint64_t at) {
    char label[64];
    snprintf(label, sizeof(label), "%s, mode %d at %llu",
             source == FAULT_PAGES ? "pages" : "blocks", (int)mode, (unsigned long long)at);
    fault_backend_make(&the_faults, source);
    the_faults.has_rubbish = at % 16 == 0;
    // For FAULT_RANDOM, `at` is the seed.
    fault_backend_set(&the_faults, mode, at, 8, check_seed() ^ at);
    world_create(&the_world, plan, &the_faults, label);
    play(&the_world);
    uint64_t refusals = the_faults.refusals;
    fault_backend_set(&the_faults, FAULT_NONE, 0, 0, 0);
    if (the_world.ctx == NULL) {
        // What could not even begin can be begun now.
        world_create(&the_world, plan, &the_faults, label);
        REQUIRE_NOT_NULL(the_world.ctx);
    }
    if (!plan->retries) {
        // Everything is usable: the same again, now that there is memory.
        the_world.failures = 0;
        play(&the_world);
        CHECK_EQ(the_world.failures, 0);
    }
    world_end(&the_world);
    fault_backend_end(&the_faults);
    return refusals;
}

// 1, or 10 under a sanitizer.
static size_t slow_stride(void) {
    size_t tenths = check_scale(10);
    return tenths >= 10 ? 1 : 10 / tenths;
}

// Which call of the workload makes which of the backend.
typedef struct call_log {
    uint64_t before[WORLD_LOG_MAX]; // Calls of the backend before each of the workload.
    uint64_t attempts;
    uint64_t calls;
} call_log;

// Runs the workload without a refusal to fill the log.
static const call_log *learn_calls(world_plan plan, void (*play)(world *w), fault_source source) {
    static call_log log;
    plan.log = log.before;
    plan.look_at = UINT64_MAX;
    plan.retries = true;
    CHECK_EQ(run_once(&plan, play, source, FAULT_NONE, 0), 0);
    log.attempts = the_faults.attempts;
    log.calls = the_faults.calls;
    return &log;
}

// The number of the last call of the workload that begins before call `at` of the backend.
static uint64_t attempt_of(const call_log *log, uint64_t at) {
    uint64_t number = 0;
    while (number + 1 < log->attempts && log->before[number + 1] < at) {
        number += 1;
    }
    return number;
}

// Runs the workload with the first call refused, then with the second, and so on to the last. Every
// `stride`-th of them is enough to go on with where everything is slow.
static void refuse_in_turn(world_plan plan, void (*play)(world *w), fault_source source,
                           fault_mode mode, size_t stride) {
    const call_log *log = learn_calls(plan, play, source);
    CHECK_GT(log->calls, 20);
    check_rng rng = check_rng_make(check_seed());
    size_t runs = 0;
    size_t refused = 0;
    for (uint64_t at = check_rng_between(&rng, 1, stride); at <= log->calls; at += stride) {
        // Reading statistics settles them, so every other run goes without.
        plan.look_at = runs % 2 == 0 ? attempt_of(log, at) : UINT64_MAX;
        refused += run_once(&plan, play, source, mode, at) != 0 ? 1 : 0;
        runs += 1;
    }
    // Where memory lies decides how much an alignment costs, so the last calls may not be made.
    CHECK_GE(refused + 2 + runs / 10, runs);
}

static void every_refusal_of_the_backend_is_survived(void) {
    world_plan plan = usual_plan();
    plan.retries = true;
    refuse_in_turn(plan, world_play, FAULT_PAGES, FAULT_NTH, slow_stride());
}

static void every_refusal_with_frames_in_flight_is_survived(void) {
    world_plan plan = usual_plan();
    plan.retries = true;
    plan.frames_in_flight = 3;
    plan.history_frames = (uint32_t)(1 + check_seed() % 2000);
    refuse_in_turn(plan, world_play, FAULT_PAGES, FAULT_NTH, 3 * slow_stride());
}

static void every_refusal_of_a_backend_without_commit_is_survived(void) {
    world_plan plan = usual_plan();
    plan.retries = true;
    plan.history_frames = (uint32_t)(1 + check_seed() % 2000);
    refuse_in_turn(plan, world_play, FAULT_BLOCKS, FAULT_NTH, 2 * slow_stride());
}

static void everything_works_again_when_memory_comes_back(void) {
    world_plan plan = usual_plan();
    refuse_in_turn(plan, world_play, FAULT_PAGES, FAULT_FROM, 7 * slow_stride());
    plan.frames_in_flight = 3;
    refuse_in_turn(plan, world_play, FAULT_BLOCKS, FAULT_FROM, 11 * slow_stride());
}

static void refusals_by_chance_are_survived(void) {
    world_plan plan = usual_plan();
    plan.retries = true;
    uint64_t refused = 0;
    for (size_t i = 0; i < check_scale(20); i++) {
        plan.frames_in_flight = (uint32_t)(1 + i % 8);
        plan.look_at = UINT64_MAX;
        plan.looks = 3;
        refused +=
            run_once(&plan, world_play, i % 2 == 0 ? FAULT_PAGES : FAULT_BLOCKS, FAULT_RANDOM, i);
    }
    CHECK_GT(refused, 0);
}

// Tables, accounts and records of tags grow by chunks: each growth is refused once.
static void every_growth_for_thousands_of_tags_is_survived(void) {
    const world_plan plan = {.frames_in_flight = 1,
                             .history_frames = 300,
                             .tags = slow_stride() == 1 ? 3000 : 1000,
                             .retries = true};
    refuse_in_turn(plan, world_use_all_tags, FAULT_PAGES, FAULT_NTH, slow_stride());
}

// ---- Threads -----------------------------------------------------------------------------------

enum { THREADS = 4 };

static void threads_are_refused_independently(void) {
    static world others[THREADS];
    const world_plan plan = {
        .frames_in_flight = 2, .history_frames = 300, .tags = 20, .is_shared = true, .looks = 30};
    uint64_t refused = 0;
    for (size_t round = 0; round < check_scale(20); round++) {
        fault_backend_make(&the_faults, round % 2 == 0 ? FAULT_PAGES : FAULT_BLOCKS);
        world_create(&the_world, &plan, &the_faults, "threads");
        REQUIRE_NOT_NULL(the_world.ctx);
        for (size_t i = 0; i < plan.tags; i++) {
            char path[32];
            snprintf(path, sizeof(path), "system %zu", i);
            the_world.tags[i] = fa_tag_register(the_world.ctx, path);
        }
        fault_backend_set(&the_faults, FAULT_RANDOM, 0, 5 + (unsigned)round % 40,
                          check_seed() + round);
        for (size_t i = 0; i < THREADS; i++) {
            world_join(&others[i], &the_world, "thread", check_seed() + i);
        }
        check_threads_run(THREADS, world_thread, others, sizeof(others[0]));
        for (size_t i = 0; i < THREADS; i++) {
            CHECK_EQ(others[i].undone, others[i].deferred);
            refused += others[i].failures;
        }
        fa_stats stats;
        CHECK_EQ((int)fa_stats_get(the_world.ctx, &stats), FA_OK);
        CHECK_EQ(stats.frame_bytes, 0);
        CHECK_EQ(stats.arenas, 0);
        CHECK_EQ(stats.threads, 0);
        CHECK_EQ(stats.committed_bytes, the_faults.committed_bytes);
        CHECK_EQ(stats.reserved_bytes, the_faults.reserved_bytes);
        world_end(&the_world);
        fault_backend_end(&the_faults);
    }
    CHECK_GT(refused, 0);
}

// ---- memory_limit ------------------------------------------------------------------------------

// One run under a limit. Returns how many calls it refused.
static uint64_t run_limited(size_t limit, fault_source source, size_t run) {
    char label[64];
    snprintf(label, sizeof(label), "limit %zu KiB", limit / KIB);
    world_plan plan = usual_plan();
    plan.memory_limit = limit;
    plan.looks = run % 4 == 0 ? 10 : 0;
    plan.history_frames = (uint32_t)(1 + run * 7919 % 1500);
    fault_backend_make(&the_faults, source);
    world_create(&the_world, &plan, &the_faults, label);
    REQUIRE_NOT_NULL(the_world.ctx);
    world_play(&the_world);
    CHECK_LE(the_faults.committed_peak, limit);
    // Small frames go on, once bookkeeping for all the tags is paid for.
    CHECK_EQ((int)fa_context_trim(the_world.ctx, 0), FA_OK);
    fa_arena *frame = fa_frame_begin(the_world.ctx);
    if (limit >= 512 * KIB && CHECK_NOT_NULL(frame)) {
        CHECK_NOT_NULL(fa_arena_alloc(frame, 1000));
    }
    if (frame != NULL) {
        fa_frame_end(frame);
    }
    world_end(&the_world);
    CHECK_LE(the_faults.committed_peak, limit);
    fault_backend_end(&the_faults);
    return the_world.failures;
}

static void the_smallest_memory_limit_is_enough_for_small_frames(void) {
    const fa_config config = {.memory_limit = 256 * KIB};
    fa_context *ctx = NULL;
    REQUIRE_EQ((int)fa_context_create(&config, &ctx), FA_OK);
    for (size_t i = 0; i < 200; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        REQUIRE_NOT_NULL(frame);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 16 * KIB));
        fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
        REQUIRE_NOT_NULL(scratch.arena);
        CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 16 * KIB));
        fa_scratch_end(scratch);
        fa_frame_end(frame);
    }
    fa_stats stats;
    CHECK_EQ((int)fa_stats_get(ctx, &stats), FA_OK);
    CHECK_LE(stats.committed_bytes, 256 * KIB);
    CHECK_EQ(stats.refusals, 0);
    CHECK_EQ((int)fa_context_destroy(ctx), FA_OK);
}

// The last step to the limit is as small as it needs to be.
static void a_memory_limit_can_be_used_to_its_last_page(void) {
    const fa_config config = {.memory_limit = MIB};
    fa_context *ctx = NULL;
    REQUIRE_EQ((int)fa_context_create(&config, &ctx), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    REQUIRE_NOT_NULL(frame);
    while (fa_arena_try_alloc(frame, 1008) != NULL) {
    }
    CHECK_EQ(fa_last_error()->code, 301);
    fa_stats stats;
    CHECK_EQ((int)fa_stats_get(ctx, &stats), FA_OK);
    CHECK_LE(stats.committed_bytes, MIB);
    CHECK_GT(stats.committed_bytes, MIB - fa_backend_os()->page_size);
    CHECK_GT(stats.frame_bytes, MIB - stats.overhead_bytes - 2000);
    fa_frame_end(frame);
    CHECK_EQ((int)fa_context_destroy(ctx), FA_OK);
}

static void sweep_limits(fault_source source) {
    uint64_t refused = 1;
    size_t limit = 256 * KIB;
    size_t run = 0;
    size_t step = 32 * KIB * slow_stride();
    for (; refused != 0; run++) {
        refused = run_limited(limit, source, run);
        limit += limit < MIB ? step : 8 * step;
    }
    CHECK_GT(limit, 2 * MIB);
}

// Bookkeeping counts as well, and each kind of it can be what does not fit any more.
static void bookkeeping_is_refused_by_the_limit_too(void) {
    uint64_t refused = 0;
    for (size_t run = 0; run < check_scale(60); run++) {
        world_plan plan = usual_plan();
        plan.memory_limit = (512 + 52 * (run % 7)) * KIB;
        plan.history_frames = (uint32_t)(1 + run * 7919 % 1500);
        plan.looks = run % 2 == 0 ? 5 : 0;
        fault_backend_make(&the_faults, FAULT_PAGES);
        world_create(&the_world, &plan, &the_faults, "full");
        REQUIRE_NOT_NULL(the_world.ctx);
        world_play_full(&the_world, run);
        refused += the_world.failures;
        CHECK_LE(the_faults.committed_peak, plan.memory_limit);
        world_end(&the_world);
        fault_backend_end(&the_faults);
    }
    CHECK_GT(refused, 0);
}

// A call of the backend or the one after it is refused, in turn. What is made all the same ends.
static void refuse_some_creations(fa_context *ctx, uint64_t later) {
    static const fa_arena_desc descs[3] = {
        {.name = "range"}, {.chunk_size = 65536}, {.initial = 1}};
    for (size_t i = 0; i < 3; i++) {
        fa_arena *arena = NULL;
        fault_backend_set(&the_faults, FAULT_NTH, the_faults.calls + 1 + later, 0, 0);
        (void)(fa_arena_create(ctx, &descs[i], &arena) == FA_OK);
        fa_arena_destroy(arena);
        fault_backend_set(&the_faults, FAULT_NONE, 0, 0, 0);
    }
    CHECK_EQ((int)fa_context_trim(ctx, 0), FA_OK);
}

// What is refused again and again does not take a little more bookkeeping each time.
static void refused_calls_leave_no_bookkeeping_behind(void) {
    const world_plan plan = {.frames_in_flight = 3, .history_frames = 300};
    fault_backend_make(&the_faults, FAULT_PAGES);
    world_create(&the_world, &plan, &the_faults, "again and again");
    fa_context *ctx = the_world.ctx;
    REQUIRE_NOT_NULL(ctx);
    size_t overhead = 0;
    for (uint64_t i = 0; i < 2000; i++) {
        // A frame's three slots are refused at the first, the second or the third.
        fault_backend_set(&the_faults, FAULT_NTH, the_faults.calls + 1 + i % 3 * 2, 0, 0);
        CHECK_NULL(fa_frame_begin(ctx));
        fault_backend_set(&the_faults, FAULT_FROM, 1, 0, 0);
        CHECK_NULL(fa_scratch_begin(ctx, NULL, 0).arena);
        refuse_some_creations(ctx, i % 4);
        fa_stats stats;
        CHECK_EQ((int)fa_stats_get(ctx, &stats), FA_OK);
        overhead = i <= 12 ? stats.overhead_bytes : overhead;
        CHECK_EQ(stats.overhead_bytes, overhead);
        CHECK_EQ(stats.committed_bytes, the_faults.committed_bytes);
        CHECK_EQ(stats.reserved_bytes, the_faults.reserved_bytes);
    }
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(frame);
    fa_frame_end(frame);
    world_end(&the_world);
    fault_backend_end(&the_faults);
}

static void a_memory_limit_holds_whatever_it_is(void) {
    sweep_limits(FAULT_PAGES);
    sweep_limits(FAULT_BLOCKS);
}

// ---- What a refused allocation leaves behind ---------------------------------------------------

static void alloc_most_of_the_budget(void *tag) {
    fa_arena *frame = fa_frame_begin(the_world.ctx);
    REQUIRE_NOT_NULL(frame);
    CHECK_EQ((int)fa_tag_push(the_world.ctx, *(const fa_tag *)tag), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 900 * KIB));
    fa_frame_end(frame);
}

// Memory that was refused by the backend is not charged to a budget, not even as a lease.
static void a_refused_allocation_takes_nothing_from_a_budget(void) {
    const world_plan plan = {.frames_in_flight = 1, .history_frames = 300};
    fault_backend_make(&the_faults, FAULT_PAGES);
    world_create(&the_world, &plan, &the_faults, "budget");
    fa_context *ctx = the_world.ctx;
    REQUIRE_NOT_NULL(ctx);
    fa_tag tag = fa_tag_register(ctx, "budgeted");
    CHECK_EQ((int)fa_budget_set(ctx, tag, &(fa_budget){.hard = MIB}), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    REQUIRE_NOT_NULL(frame);
    CHECK_EQ((int)fa_tag_push(ctx, tag), FA_OK);
    static const size_t sizes[] = {150 * KIB, 900 * KIB}; // By committing, and by a block aside.
    for (size_t i = 0; i < 2; i++) {
        fault_backend_set(&the_faults, FAULT_FROM, 1, 0, 0);
        CHECK_NULL(fa_arena_alloc(frame, sizes[i]));
        CHECK_EQ(fa_last_error()->code, 305);
        fault_backend_set(&the_faults, FAULT_NONE, 0, 0, 0);
        check_thread_join(check_thread_start(alloc_most_of_the_budget, &tag));
        CHECK_EQ((int)fa_context_trim(ctx, 0),
                 FA_OK); // No free block is left over for the next one.
    }
    CHECK_NOT_NULL(fa_arena_alloc(frame, 900 * KIB));
    CHECK_EQ((int)fa_tag_pop(ctx), FA_OK);
    fa_frame_end(frame);
    world_end(&the_world);
    fault_backend_end(&the_faults);
}

// ---- The operating system itself ---------------------------------------------------------------

#if defined(__SANITIZE_THREAD__)
#define HAS_THREAD_SANITIZER 1
#elif defined(__has_feature)
#define HAS_THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define HAS_THREAD_SANITIZER 0
#endif

#if defined(__linux__) && !HAS_THREAD_SANITIZER

static rlim_t at_most(rlim_t bytes, rlim_t max) {
    return bytes < max ? bytes : max;
}

static void limit_address_space(rlim_t bytes) {
    struct rlimit limit;
    REQUIRE_EQ(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = at_most(bytes, limit.rlim_max);
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &limit), 0);
}

static void limit_data(rlim_t bytes) {
    struct rlimit limit;
    REQUIRE_EQ(getrlimit(RLIMIT_DATA, &limit), 0);
    limit.rlim_cur = at_most(bytes, limit.rlim_max);
    REQUIRE_EQ(setrlimit(RLIMIT_DATA, &limit), 0);
}

static size_t address_space_bytes(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    size_t pages = 0;
    REQUIRE_NOT_NULL(file);
    CHECK_EQ(fscanf(file, "%zu", &pages), 1);
    fclose(file);
    return pages * fa_backend_os()->page_size;
}

#define SMALL_CONFIG                                                                               \
    ((fa_config){.frame_reserve = 4 * MIB, .scratch_reserve = 4 * MIB, .history_frames = 16})

// Arenas until there is no address space left; everything made so far goes on working.
static void run_out_of_address_space(void *unused) {
    (void)unused;
    enum { ARENAS = 64 };
    fa_arena *arenas[ARENAS] = {NULL};
    fa_context *ctx = NULL;
    REQUIRE_EQ((int)fa_context_create(&SMALL_CONFIG, &ctx), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    REQUIRE_NOT_NULL(frame);
    limit_address_space((rlim_t)(address_space_bytes() + 25 * MIB));
    const fa_arena_desc desc = {.reserve = 2 * MIB};
    size_t made = 0;
    while (made < ARENAS && fa_arena_create(ctx, &desc, &arenas[made]) == FA_OK) {
        made += 1;
    }
    CHECK_GT(made, 2);
    REQUIRE_LT(made, ARENAS);
    CHECK_NULL(arenas[made]);
    CHECK_EQ(fa_last_error()->code, 305);
    CHECK_EQ((int)fa_last_error()->result, FA_ERR_OUT_OF_MEMORY);
    CHECK_NULL(fa_arena_alloc(frame, 64 * MIB));
    CHECK_EQ(fa_last_error()->code, 305);
    CHECK_EQ(fa_last_error()->bytes, 64 * MIB);
    fa_context *other = NULL;
    CHECK_EQ((int)fa_context_create(&(fa_config){.frame_reserve = 4 * MIB}, &other), FA_OK);
    CHECK_NULL(fa_frame_begin(other));
    CHECK_EQ((int)fa_last_error()->result, FA_ERR_OUT_OF_MEMORY);
    for (size_t i = 0; i < made; i++) {
        unsigned char *block = fa_arena_alloc(arenas[i], 100 * KIB);
        REQUIRE_NOT_NULL(block);
        memset(block, 1, 100 * KIB);
    }
    fa_arena_destroy(arenas[0]);
    CHECK_EQ((int)fa_arena_create(ctx, &desc, &arenas[0]), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 3 * MIB));
    limit_address_space(RLIM_INFINITY);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 64 * MIB));
    CHECK_NOT_NULL(fa_frame_begin(other));
    CHECK_EQ((int)fa_context_destroy(other), FA_ERR_BUSY);
    fa_frame_end(frame);
    for (size_t i = 0; i < made; i++) {
        fa_arena_destroy(arenas[i]);
    }
    CHECK_EQ((int)fa_context_destroy(ctx), FA_OK);
}

// Reservations work, commits do not.
static void run_out_of_memory(void *unused) {
    (void)unused;
    fa_context *ctx = NULL;
    REQUIRE_EQ((int)fa_context_create(&SMALL_CONFIG, &ctx), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    REQUIRE_NOT_NULL(frame);
    unsigned char *first = fa_arena_alloc(frame, 10 * KIB);
    REQUIRE_NOT_NULL(first);
    memset(first, 42, 10 * KIB);
    size_t used = fa_arena_used(frame);
    limit_data((rlim_t)fa_backend_os()->page_size);
    CHECK_NULL(fa_arena_alloc(frame, MIB));
    CHECK_EQ(fa_last_error()->code, 305);
    CHECK_EQ(fa_arena_used(frame), used);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 100)); // What is committed is there.
    fa_arena *arena = NULL;
    CHECK_EQ((int)fa_arena_create(ctx, &(fa_arena_desc){.initial = MIB}, &arena),
             FA_ERR_OUT_OF_MEMORY);
    CHECK_NULL(arena);
    fa_scratch scratch = fa_scratch_begin(ctx, &frame, 1);
    if (scratch.arena != NULL) {
        CHECK_NULL(fa_arena_alloc(scratch.arena, MIB));
        CHECK_EQ(fa_last_error()->code, 305);
    }
    fa_scratch_end(scratch);
    limit_data(RLIM_INFINITY);
    CHECK_NOT_NULL(fa_arena_alloc(frame, MIB));
    CHECK_EQ(first[10 * KIB - 1], 42);
    fa_frame_end(frame);
    CHECK_EQ((int)fa_context_destroy(ctx), FA_OK);
}

static void check_child_succeeds(void (*run)(void *arg)) {
    static check_child child;
    check_child_run(run, NULL, &child);
    if (!CHECK(child.exited && child.status == 0)) {
        FAIL("the child wrote: %s", child.text);
    }
}

static void an_address_space_that_is_full_is_survived(void) {
    check_child_succeeds(run_out_of_address_space);
}

static void a_system_without_memory_is_survived(void) {
    check_child_succeeds(run_out_of_memory);
}

#else

static void an_address_space_that_is_full_is_survived(void) {
    SKIP("such a limit can be arranged on Linux only, and not for the thread sanitizer");
}

static void a_system_without_memory_is_survived(void) {
    SKIP("such a limit can be arranged on Linux only, and not for the thread sanitizer");
}

#endif

TEST_SUITE(
    faults, TEST(every_refusal_of_the_backend_is_survived),
    TEST(every_refusal_with_frames_in_flight_is_survived),
    TEST(every_refusal_of_a_backend_without_commit_is_survived),
    TEST(everything_works_again_when_memory_comes_back), TEST(refusals_by_chance_are_survived),
    TEST(every_growth_for_thousands_of_tags_is_survived), TEST(threads_are_refused_independently),
    TEST(the_smallest_memory_limit_is_enough_for_small_frames),
    TEST(a_memory_limit_can_be_used_to_its_last_page), TEST(a_memory_limit_holds_whatever_it_is),
    TEST(bookkeeping_is_refused_by_the_limit_too), TEST(refused_calls_leave_no_bookkeeping_behind),
    TEST(a_refused_allocation_takes_nothing_from_a_budget),
    TEST(an_address_space_that_is_full_is_survived), TEST(a_system_without_memory_is_survived));

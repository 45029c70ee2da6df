// Every field of fa_config: its default, what it does, and what it refuses.
#if defined(__linux__)
#define _GNU_SOURCE 1 // For RUSAGE_THREAD.
#endif

#include "core_fixture.h"
#include "fault_backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static fault_backend pages;

#if defined(__linux__)
#include <sys/resource.h>
#endif

#define TERA_EXISTS (SIZE_MAX > 0xFFFFFFFFu)
#if TERA_EXISTS
#define RESERVE_MAX ((size_t)1 << 40)
#else
#define RESERVE_MAX ((size_t)1 << 30)
#endif

static fa_result instant_wait(void *user, uint64_t fence) {
    (void)user;
    (void)fence;
    return FA_OK;
}

// ---- Defaults ----

// The environment may turn strict mode on for all tests.
static bool strict_is_ours(void) {
    return getenv("FRAMEALLOC_STRICT") == NULL;
}

static void check_in_force(const fa_config *got, const fa_config *want) {
    CHECK_EQ(got->frame_reserve, want->frame_reserve);
    CHECK_EQ(got->frame_initial, want->frame_initial);
    CHECK_EQ(got->frames_in_flight, want->frames_in_flight);
    CHECK_EQ(got->memory_limit, want->memory_limit);
    CHECK_EQ(got->history_frames, want->history_frames);
    CHECK_EQ(got->checks, want->checks);
    CHECK_EQ(got->scratch_reserve, want->scratch_reserve);
    CHECK_EQ(got->chunk_size, want->chunk_size);
    CHECK_EQ(got->decay_frames, want->decay_frames);
    CHECK_EQ(got->frame_times, want->frame_times);
    CHECK_EQ(got->prefault, want->prefault);
    CHECK_EQ(got->huge_pages, want->huge_pages);
    CHECK(got->frame_wait == want->frame_wait);
    CHECK_EQ(got->frame_wait_user, want->frame_wait_user);
    if (strict_is_ours()) {
        CHECK_EQ(got->strict, want->strict == FA_STRICT_DEFAULT ? FA_STRICT_OFF : want->strict);
    }
}

static void default_says_what_the_header_says(void) {
    fa_config config = fa_config_default();
    CHECK_EQ(config.frame_reserve, (TERA_EXISTS ? 1024 : 64) * MIB);
    CHECK_EQ(config.frame_initial, 64 * KIB);
    CHECK_EQ(config.frames_in_flight, 1);
    CHECK_EQ(config.memory_limit, 0);
    CHECK_EQ(config.history_frames, 300);
    CHECK_NULL(config.backend);
    CHECK(config.frame_wait == NULL);
    CHECK_EQ(config.checks, 0);
    CHECK_EQ(config.strict, FA_STRICT_DEFAULT);
    CHECK_EQ(config.scratch_reserve, (TERA_EXISTS ? 256 : 16) * MIB);
    CHECK_EQ(config.chunk_size, 64 * KIB);
    CHECK_EQ(config.decay_frames, 64);
    CHECK(!config.frame_times);
    CHECK(!config.prefault);
    CHECK(!config.huge_pages);
}

static void null_and_zero_mean_the_default(void) {
    const fa_config zero = {0};
    const fa_config written = fa_config_default();
    const fa_config *const ways[] = {NULL, &zero, &written};
    for (size_t i = 0; i < 3; i++) {
        fa_context *ctx = context_open(ways[i]);
        check_in_force(fa_context_config(ctx), &written);
        CHECK_EQ(fa_context_config(ctx)->backend->page_size, fa_backend_os()->page_size);
        context_close(ctx);
    }
}

static void presets_say_what_the_header_says(void) {
    fa_config small = fa_config_minimal();
    CHECK_EQ(small.frame_reserve, 16 * MIB);
    CHECK_EQ(small.frame_initial, 4 * KIB);
    CHECK_EQ(small.history_frames, 16);
    CHECK_EQ(small.decay_frames, 16);
    fa_config fast = fa_config_high_performance();
    CHECK_EQ(fast.frame_initial, 4 * MIB);
    CHECK(fast.prefault);
    CHECK(fast.huge_pages);
    CHECK_GT(fast.decay_frames, fa_config_default().decay_frames);
    fa_config debug = fa_config_debug();
    CHECK(debug.frame_times);
    CHECK_EQ(debug.checks, FA_CHECK_WATCH | FA_CHECK_BLOCKS | FA_CHECK_SITES);
    CHECK_EQ(debug.strict, FA_STRICT_ERROR);
}

static void check_works(fa_context *ctx) {
    fa_tag tag = fa_tag_register(ctx, "some/tag");
    for (unsigned i = 0; i < 40; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        REQUIRE_NOT_NULL(frame);
        CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
        size_t size = 100 + (size_t)i * 1000;
        unsigned char *block = fa_arena_array(frame, unsigned char, size);
        REQUIRE_NOT_NULL(block);
        CHECK_EQ(block[size - 1], 0);
        fa_scratch scratch = fa_scratch_begin(ctx, &frame, 1);
        REQUIRE_NOT_NULL(scratch.arena);
        CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 5000));
        CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, rounded(size) + rounded(5000));
        fa_scratch_end(scratch);
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        fa_frame_end(frame);
    }
    fa_arena *own = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, NULL, &own), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(own, 100000));
    fa_arena_destroy(own);
    nothing_failed();
}

static void presets_create_contexts_that_work(void) {
    const fa_config presets[] = {fa_config_default(), fa_config_minimal(),
                                 fa_config_high_performance(), fa_config_debug()};
    for (size_t i = 0; i < 4; i++) {
        check_note("preset %u", (unsigned)i);
        fa_context *ctx = context_open(&presets[i]);
        check_in_force(fa_context_config(ctx), &presets[i]);
        check_works(ctx);
        context_close(ctx);
    }
}

static void sizes_in_force_are_rounded_up(void) {
    size_t page = fa_backend_os()->page_size;
    fa_config config = {.frame_reserve = 300001, .frame_initial = 1, .scratch_reserve = 1};
    fa_context *ctx = context_open(&config);
    const fa_config *in_force = fa_context_config(ctx);
    CHECK_GE(in_force->frame_reserve, 300001);
    CHECK_LT(in_force->frame_reserve, 300001 + 64 * KIB);
    CHECK_EQ(in_force->frame_reserve % page, 0);
    CHECK_EQ(in_force->frame_initial, page);
    CHECK_GE(in_force->scratch_reserve, page);
    CHECK_EQ(in_force->scratch_reserve % page, 0);
    check_works(ctx);
    context_close(ctx);
}

static void a_small_frame_reserve_lowers_the_default_of_frame_initial(void) {
    fa_config config = {.frame_reserve = 16 * KIB};
    fa_context *ctx = context_open(&config);
    CHECK_LE(fa_context_config(ctx)->frame_initial, fa_context_config(ctx)->frame_reserve);
    check_works(ctx);
    context_close(ctx);
}

// ---- Refusals ----

static fa_backend whole_backend(void) {
    return *fa_backend_os();
}

static void check_refused(const char *field, const fa_config *config) {
    fa_context *ctx = (fa_context *)(uintptr_t)16;
    check_note("%s", field);
    CHECK_EQ(fa_context_create(config, &ctx), FA_ERR_INVALID);
    CHECK_NULL(ctx);
    CHECK_STR_EQ(fa_last_error()->where, field);
    CHECK_STR_HAS(fa_last_error()->text, field);
    failed_as(14, FA_ERR_INVALID);
}
#define CHECK_REFUSED(field, ...) check_refused(field, &(fa_config){__VA_ARGS__})

static void a_bad_value_is_refused_by_the_name_of_its_field(void) {
    CHECK_REFUSED("frame_reserve", .frame_reserve = RESERVE_MAX + 1);
    CHECK_REFUSED("frame_reserve", .frame_reserve = SIZE_MAX);
    CHECK_REFUSED("frame_initial", .frame_initial = fa_config_default().frame_reserve + 1);
    CHECK_REFUSED("frame_initial", .frame_initial = SIZE_MAX);
    CHECK_REFUSED("frame_initial", .frame_reserve = MIB, .frame_initial = MIB + 1);
    CHECK_REFUSED("frames_in_flight", .frames_in_flight = 9);
    CHECK_REFUSED("frames_in_flight", .frames_in_flight = UINT32_MAX);
    CHECK_REFUSED("memory_limit", .memory_limit = 1);
    CHECK_REFUSED("memory_limit", .memory_limit = 256 * KIB - 1);
    CHECK_REFUSED("history_frames", .history_frames = 65537);
    CHECK_REFUSED("decay_frames", .decay_frames = 65537);
    CHECK_REFUSED("checks", .checks = 8);
    CHECK_REFUSED("checks", .checks = 0x80000001u);
    CHECK_REFUSED("strict", .strict = (fa_strict)4);
    CHECK_REFUSED("scratch_reserve", .scratch_reserve = RESERVE_MAX + 1);
    CHECK_REFUSED("chunk_size", .chunk_size = 2 * KIB);
    CHECK_REFUSED("chunk_size", .chunk_size = 2 * MIB);
    CHECK_REFUSED("chunk_size", .chunk_size = 5000);
    CHECK_REFUSED("chunk_size", .chunk_size = 64 * KIB + 16);
}

static void a_backend_that_lacks_something_is_refused(void) {
    fa_backend backend = whole_backend();
    backend.reserve = NULL;
    CHECK_REFUSED("backend", .backend = &backend);
    backend = whole_backend();
    backend.release = NULL;
    CHECK_REFUSED("backend", .backend = &backend);
    const size_t bad_pages[] = {0, 1, 2 * KIB, 5000, 6 * KIB, 128 * KIB, SIZE_MAX};
    for (size_t i = 0; i < sizeof(bad_pages) / sizeof(bad_pages[0]); i++) {
        backend = whole_backend();
        backend.page_size = bad_pages[i];
        CHECK_REFUSED("backend", .backend = &backend);
    }
}

static void the_extreme_values_are_allowed(void) {
    const fa_config allowed[] = {
        {.frame_reserve = RESERVE_MAX},
        {.frame_reserve = 1},
        {.frame_reserve = MIB, .frame_initial = MIB},
        {.frames_in_flight = 1},
        {.frames_in_flight = 8},
        {.memory_limit = 256 * KIB},
        {.memory_limit = SIZE_MAX},
        {.history_frames = 1},
        {.history_frames = 65536},
        {.decay_frames = 1},
        {.decay_frames = 65536},
        {.strict = FA_STRICT_ERROR},
        {.scratch_reserve = RESERVE_MAX},
        {.chunk_size = 4 * KIB},
        {.chunk_size = MIB},
        {.frame_wait_user = &pages},
    };
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        check_note("value %u", (unsigned)i);
        context_close(context_open(&allowed[i]));
    }
}

static void a_context_needs_somewhere_to_go(void) {
    CHECK_EQ(fa_context_create(NULL, NULL), FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "out");
    failed_as(17, FA_ERR_INVALID);
}

// ---- What each field does ----

static fa_frame_stats_result first_frame(const fa_config *config) {
    fa_context *ctx = context_open(config);
    fa_arena *frame = fa_frame_begin(ctx);
    REQUIRE_NOT_NULL(frame);
    fa_frame_stats_result stats = {0};
    CHECK_EQ(fa_frame_stats(frame, &stats), FA_OK);
    fa_frame_end(frame);
    context_close(ctx);
    return stats;
}

static void frame_reserve_is_the_frame_s_address_space(void) {
    CHECK_EQ(first_frame(&(fa_config){.frame_reserve = MIB}).reserved_bytes, MIB);
    CHECK_EQ(first_frame(&(fa_config){.frame_reserve = 3 * MIB}).reserved_bytes, 3 * MIB);
    CHECK_EQ(first_frame(NULL).reserved_bytes, fa_config_default().frame_reserve);
}

static void frame_initial_is_committed_at_the_first_begin(void) {
    CHECK_EQ(first_frame(&(fa_config){.frame_initial = 128 * KIB}).committed_bytes, 128 * KIB);
    CHECK_EQ(first_frame(&(fa_config){.frame_initial = MIB}).committed_bytes, MIB);
    CHECK_EQ(first_frame(NULL).committed_bytes, 64 * KIB);
}

static void frames_in_flight_each_have_their_reservation(void) {
    size_t reserved[2];
    for (uint32_t i = 0; i < 2; i++) {
        fa_config config = {.frame_reserve = 4 * MIB, .frames_in_flight = i == 0 ? 1 : 5};
        fa_context *ctx = context_open(&config);
        size_t before = stats_of(ctx).reserved_bytes;
        fa_frame_end(fa_frame_begin(ctx));
        reserved[i] = stats_of(ctx).reserved_bytes - before;
        context_close(ctx);
    }
    CHECK_GE(reserved[1] - reserved[0], 4 * 4 * MIB);
    CHECK_LT(reserved[1] - reserved[0], 4 * 4 * MIB + MIB); // The rest is bookkeeping.
}

static void scratch_reserve_is_the_scratch_arena_s_address_space(void) {
    fa_config config = {.scratch_reserve = 2 * MIB};
    fa_context *ctx = context_open(&config);
    fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
    REQUIRE_NOT_NULL(scratch.arena);
    fa_arena_stats_result stats = {0};
    CHECK_EQ(fa_arena_stats(scratch.arena, &stats), FA_OK);
    CHECK_EQ(stats.reserved_bytes, 2 * MIB);
    fa_scratch_end(scratch);
    context_close(ctx);
}

static void history_frames_is_how_many_are_kept(void) {
    fa_config config = {.history_frames = 7};
    fa_context *ctx = context_open(&config);
    for (int i = 0; i < 20; i++) {
        fa_frame_end(fa_frame_begin(ctx));
    }
    fa_frame_record records[32];
    CHECK_EQ(fa_history(ctx, records, 32), 7);
    context_close(ctx);
}

static void frame_wait_gets_its_user_and_the_fence(void) {
    fa_config config = {.frame_wait = instant_wait, .frame_wait_user = &config};
    fa_context *ctx = context_open(&config);
    CHECK(fa_context_config(ctx)->frame_wait == instant_wait);
    CHECK_EQ(fa_context_config(ctx)->frame_wait_user, &config);
    context_close(ctx);
}

static void checks_watch_from_the_first_allocation_on(void) {
    const uint32_t checks[] = {0, FA_CHECK_WATCH};
    for (size_t i = 0; i < 2; i++) {
        fa_config config = {.checks = checks[i]};
        fa_context *ctx = context_open(&config);
        fa_arena *frame = fa_frame_begin(ctx);
        for (int k = 0; k < 10; k++) {
            CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
        }
        fa_frame_end(frame);
        CHECK_EQ(stats_of(ctx).allocations, i == 0 ? 0 : 10);
        context_close(ctx);
    }
}

static void chunk_size_is_the_step_where_nothing_can_be_committed(void) {
    const size_t sizes[] = {16 * KIB, 256 * KIB};
    for (size_t i = 0; i < 2; i++) {
        fault_backend_make(&pages, FAULT_BLOCKS);
        fa_config config = {.backend = &pages.backend, .chunk_size = sizes[i]};
        fa_context *ctx = context_open(&config);
        fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
        CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 16));
        fa_arena_stats_result stats = {0};
        CHECK_EQ(fa_arena_stats(scratch.arena, &stats), FA_OK);
        CHECK_EQ(stats.committed_bytes, sizes[i]);
        fa_scratch_end(scratch);
        context_close(ctx);
        fault_backend_end(&pages);
    }
}

// Frames after one that took 32 MiB until the context holds at most 4 MiB more than before it.
static unsigned frames_until_decayed(uint32_t decay_frames) {
    fa_config config = {.decay_frames = decay_frames};
    fa_context *ctx = context_open(&config);
    fa_frame_end(fa_frame_begin(ctx));
    size_t before = stats_of(ctx).committed_bytes;
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 32 * MIB));
    fa_frame_end(frame);
    unsigned count = 0;
    while (stats_of(ctx).committed_bytes > before + 4 * MIB && count < 10000) {
        fa_frame_end(fa_frame_begin(ctx));
        count += 1;
    }
    context_close(ctx);
    return count;
}

static void decay_frames_is_how_long_unneeded_memory_is_kept(void) {
    CHECK_LE(frames_until_decayed(4), 8);
    unsigned count = frames_until_decayed(100);
    CHECK_GE(count, 90);
    CHECK_LE(count, 200);
}

// Goes on until the clock has moved, so that a frame or phase that lasts as long has a duration.
static void let_time_pass(void) {
    clock_t start = clock();
    while (clock() == start) {
    }
}

static void frame_times_are_read_when_asked_for(void) {
    for (int i = 0; i < 2; i++) {
        fa_config config = {.frame_times = i == 1};
        fa_context *ctx = context_open(&config);
        fa_arena *frame = fa_frame_begin(ctx);
        let_time_pass();
        fa_frame_end(frame);
        fa_frame_record record = {0};
        REQUIRE_EQ(fa_history(ctx, &record, 1), 1);
        CHECK_EQ(record.time_ns != 0, i == 1);
        context_close(ctx);
    }
}

static unsigned advises;
static size_t advised_bytes;

static void count_advice(void *self, void *ptr, size_t size) {
    (void)self;
    CHECK_NOT_NULL(ptr);
    advises += 1;
    advised_bytes += size;
}

static void huge_pages_are_advised_for_frame_memory(void) {
    for (int i = 0; i < 2; i++) {
        fault_backend_make(&pages, FAULT_PAGES);
        pages.backend.advise_huge = count_advice;
        advises = 0;
        advised_bytes = 0;
        fa_config config = {.backend = &pages.backend,
                            .frame_reserve = 8 * MIB,
                            .frames_in_flight = 3,
                            .huge_pages = i == 1};
        fa_context *ctx = context_open(&config);
        fa_frame_end(fa_frame_begin(ctx));
        CHECK_EQ(advises, i == 0 ? 0 : 3);
        CHECK_EQ(advised_bytes, i == 0 ? 0 : 3 * 8 * MIB);
        context_close(ctx);
        fault_backend_end(&pages);
    }
}

#if defined(__linux__) && !IS_SANITIZED
static uint64_t faults_of_thread(void) {
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

// Page faults while the first frame's 8 MiB are written to.
static uint64_t faults_of_first_frame(bool prefault) {
    fa_config config = {.prefault = prefault, .frame_initial = 8 * MIB};
    fa_context *ctx = context_open(&config);
    fa_arena *frame = fa_frame_begin(ctx);
    volatile char *block = fa_arena_alloc(frame, 8 * MIB);
    REQUIRE_NOT_NULL(block);
    uint64_t before = faults_of_thread();
    for (size_t at = 0; at < 8 * MIB; at += 4 * KIB) {
        block[at] = 1;
    }
    uint64_t faults = faults_of_thread() - before;
    fa_frame_end(frame);
    context_close(ctx);
    return faults;
}

static void prefault_touches_what_is_committed(void) {
    CHECK_GT(faults_of_first_frame(false), 2); // The control: large pages make it a few at least.
    CHECK_EQ(faults_of_first_frame(true), 0);
}
#else
static void prefault_touches_what_is_committed(void) {
    SKIP("page faults are counted on Linux only, without sanitizers");
}
#endif

TEST_SUITE(config, TEST(default_says_what_the_header_says), TEST(null_and_zero_mean_the_default),
           TEST(presets_say_what_the_header_says), TEST(presets_create_contexts_that_work),
           TEST(sizes_in_force_are_rounded_up),
           TEST(a_small_frame_reserve_lowers_the_default_of_frame_initial),
           TEST(a_bad_value_is_refused_by_the_name_of_its_field),
           TEST(a_backend_that_lacks_something_is_refused), TEST(the_extreme_values_are_allowed),
           TEST(a_context_needs_somewhere_to_go), TEST(frame_reserve_is_the_frame_s_address_space),
           TEST(frame_initial_is_committed_at_the_first_begin),
           TEST(frames_in_flight_each_have_their_reservation),
           TEST(scratch_reserve_is_the_scratch_arena_s_address_space),
           TEST(history_frames_is_how_many_are_kept), TEST(frame_wait_gets_its_user_and_the_fence),
           TEST(checks_watch_from_the_first_allocation_on),
           TEST(chunk_size_is_the_step_where_nothing_can_be_committed),
           TEST(decay_frames_is_how_long_unneeded_memory_is_kept),
           TEST(frame_times_are_read_when_asked_for), TEST(huge_pages_are_advised_for_frame_memory),
           TEST(prefault_touches_what_is_committed));

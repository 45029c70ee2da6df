// After warm-up a frame makes no system call and touches no page for the first time.
//
// Frames of mixed work run in a child process that is traced: every system call between two marks
// is counted by the tracer, page faults by the kernel. Controls show that one call and one fault
// would have been seen.
#define _GNU_SOURCE 1 // For what only Linux has.

#include "harness/check.h"

#include <framealloc/framealloc.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#endif

#if defined(__linux__) && !defined(IS_SANITIZED)

#include <common/syscall_count.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WARM_FRAMES = 500, STEADY_FRAMES = 10000, ALL_FRAMES = WARM_FRAMES + STEADY_FRAMES };
enum { THREADS_MAX = 4, PAGE = 4096, TAG_COUNT = 8 };

// How a function of the child ended, as its exit status.
enum { ENDED_WELL = 0, SETUP_FAILED = 1, WARM_UP_FAILED = 2, STEADY_FAILED = 3, END_FAILED = 4 };

typedef struct quiet_case {
    fa_config config;
    uint32_t threads;
    uint32_t big_every; // Every so many frames one needs a lot more. 0: never.
    bool has_clock;     // Phases are used: reading the clock makes no system call here.
    bool uses_locks;    // Also what takes a lock: statistics and refusals. For one thread only.
    bool uses_arenas;   // Also small arenas that come and go. Takes a lock.
} quiet_case;

typedef FA_VEC(uint32_t) number_vec;
typedef FA_MAP(uint32_t, uint32_t) number_map;

typedef struct world {
    const quiet_case *what;
    fa_context *context;
    fa_tag tags[TAG_COUNT];
    fa_tag small_budget;
    uint64_t cleanups;
    bool failed;
} world;

// ---- One frame ---------------------------------------------------------------------------------

static void expect(world *w, bool held) {
    if (!held) {
        w->failed = true;
    }
}

static void touch(world *w, void *memory, size_t size) {
    expect(w, memory != NULL);
    for (size_t at = 0; memory != NULL && at < size; at += PAGE) {
        ((volatile char *)memory)[at] = 1;
    }
}

static void count_cleanup(void *arg) {
    ((world *)arg)->cleanups++;
}

static void use_tags(world *w, fa_arena *frame, uint32_t step) {
    for (uint32_t i = 0; i < TAG_COUNT; i++) {
        expect(w, fa_tag_push(w->context, w->tags[(i + step) % TAG_COUNT]) == FA_OK);
        touch(w, fa_arena_alloc(frame, 16 + (step * 37 + i * 101) % 500), 1);
        FA_TAG_SCOPE(w->context, w->tags[i]);
        touch(w, fa_arena_alloc_aligned(frame, 100, 64), 100);
    }
    for (uint32_t i = 0; i < TAG_COUNT; i++) {
        expect(w, fa_tag_pop(w->context) == FA_OK);
    }
    fa_tagged bound = fa_tagged_make(w->context, w->tags[step % TAG_COUNT]);
    touch(w, fa_tagged_alloc(bound, 48), 48);
}

static void use_containers(world *w, fa_arena *arena, uint32_t step) {
    number_vec numbers = {0};
    number_map map = {0};
    fa_string text = {0};
    for (uint32_t i = 0; i < 60 + step % 7; i++) {
        expect(w, fa_vec_push(arena, &numbers, i) == FA_OK);
        expect(w, fa_map_put(arena, &map, i * 7919, i) == FA_OK);
        expect(w, fa_string_append(arena, &text, "word ") == FA_OK);
    }
    expect(w, fa_string_append_printf(arena, &text, "%u", (unsigned)step) == FA_OK);
    const uint32_t *found = fa_map_get(&map, 7919 * 5);
    expect(w, found != NULL && *found == 5);
    expect(w, fa_arena_printf(arena, "frame %u", (unsigned)step) != NULL);
}

static void use_scratch(world *w, fa_arena *frame, uint32_t step) {
    fa_scratch outer = fa_scratch_begin(w->context, &frame, 1);
    touch(w, fa_arena_alloc(outer.arena, 1000 + step % 3000), 1000);
    fa_scratch inner = fa_scratch_begin(w->context, &outer.arena, 1);
    expect(w, inner.arena != outer.arena);
    use_containers(w, inner.arena, step);
    fa_scratch_end(inner);
    fa_scratch_end(outer);
}

static void use_marks(world *w, fa_arena *frame, uint32_t step) {
    fa_mark mark = fa_arena_mark(frame);
    expect(w, fa_arena_defer(frame, count_cleanup, w) == FA_OK);
    touch(w, fa_arena_array(frame, uint64_t, 100 + step % 50), 800);
    expect(w, fa_arena_rewind(frame, mark) == FA_OK);
    char *block = fa_arena_alloc(frame, 100);
    block = fa_arena_resize(frame, block, 100, 400);
    touch(w, block, 400);
    expect(w, fa_arena_defer(frame, count_cleanup, w) == FA_OK);
}

// What takes a lock: two threads at once would have to wait for each other.
static void use_locks(world *w, fa_arena *frame) {
    fa_stats stats;
    fa_tag_stats_result tag;
    fa_thread_stats_result thread;
    fa_frame_record records[4];
    expect(w, fa_stats_get(w->context, &stats) == FA_OK && stats.frame_bytes > 0);
    expect(w, fa_tag_stats(w->context, w->tags[1], &tag) == FA_OK);
    expect(w, fa_thread_stats(w->context, NULL, &thread) == FA_OK);
    (void)fa_history(w->context, records, 4);
    (void)fa_budget_remaining(w->context, w->tags[1]);

    expect(w, fa_tag_push(w->context, w->small_budget) == FA_OK);
    expect(w, fa_arena_alloc(frame, 100000) == NULL && fa_last_error()->code == 302);
    expect(w, fa_arena_try_alloc(frame, 100000) == NULL);
    expect(w, fa_tag_pop(w->context) == FA_OK);
}

static void use_small_arena(world *w) {
    fa_arena *small = NULL;
    expect(w, fa_arena_create(w->context, &(fa_arena_desc){.chunk_size = 16384}, &small) == FA_OK);
    for (int i = 0; i < 5; i++) {
        touch(w, fa_arena_alloc(small, 5000), 5000);
    }
    fa_arena_destroy(small);
}

static void mixed_frame(world *w, uint32_t step) {
    fa_arena *frame = fa_frame_begin(w->context);
    expect(w, frame != NULL && frame == fa_frame_current(w->context));
    if (frame == NULL) {
        return;
    }
    bool in_phase = w->what->has_clock && fa_phase_begin(w->context, "work") == FA_OK;
    for (uint32_t i = 0; i < 100; i++) {
        size_t size = 16 + (step * 13 + i * 29) % 900;
        touch(w, fa_arena_alloc(frame, size), size);
    }
    use_tags(w, frame, step);
    use_scratch(w, frame, step);
    use_marks(w, frame, step);
    use_containers(w, frame, step);
    if (w->what->uses_locks) {
        use_locks(w, frame);
    }
    if (w->what->uses_arenas) {
        use_small_arena(w);
    }
    if (w->what->big_every != 0 && step % w->what->big_every == 0) {
        touch(w, fa_arena_alloc(frame, (size_t)3 << 20), (size_t)3 << 20);
        fa_scratch scratch = fa_scratch_begin(w->context, NULL, 0);
        touch(w, fa_arena_alloc(scratch.arena, (size_t)2 << 20), (size_t)2 << 20);
        fa_scratch_end(scratch);
    }
    if (in_phase) {
        expect(w, fa_phase_end(w->context, NULL) == FA_OK);
    }
    fa_frame_end(frame);
}

// ---- The child process -------------------------------------------------------------------------

// Threads wait for each other without the kernel's help, which would count.
typedef struct crew {
    world worlds[THREADS_MAX];
    atomic_uint warm;
    atomic_uint done;
    atomic_bool go;
    atomic_bool leave;
    atomic_uint next;
} crew;

static void worker_run(crew *all, world *w) {
    for (uint32_t step = 0; step < WARM_FRAMES; step++) {
        mixed_frame(w, step);
    }
    atomic_fetch_add(&all->warm, 1);
    while (!atomic_load(&all->go)) {
    }
    for (uint32_t step = WARM_FRAMES; step < ALL_FRAMES; step++) {
        mixed_frame(w, step);
    }
    atomic_fetch_add(&all->done, 1);
    while (!atomic_load(&all->leave)) {
    }
}

static void other_thread(void *arg) {
    crew *all = arg;
    worker_run(all, &all->worlds[atomic_fetch_add(&all->next, 1)]);
}

static bool world_setup(world *w, const quiet_case *what, fa_context *ctx, uint32_t number) {
    *w = (world){.what = what, .context = ctx};
    for (uint32_t i = 0; i < TAG_COUNT; i++) {
        char path[32];
        snprintf(path, sizeof(path), "game/part%u", (unsigned)i);
        w->tags[i] = fa_tag_register(ctx, path);
        fa_budget budget = {.soft = (size_t)60 << 20, .hard = (size_t)64 << 20};
        if (number == 0 && i % 2 == 0 && fa_budget_set(ctx, w->tags[i], &budget) < 0) {
            return false;
        }
    }
    w->small_budget = fa_tag_register(ctx, "small");
    return fa_budget_set(ctx, w->small_budget, &(fa_budget){.hard = 8192}) == FA_OK;
}

// The first world belongs to the child's first thread, which also marks the beginning and the end.
static void first_worker_run(crew *all, uint32_t threads) {
    world *w = &all->worlds[0];
    for (uint32_t step = 0; step < WARM_FRAMES; step++) {
        mixed_frame(w, step);
    }
    while (atomic_load(&all->warm) + 1 < threads) {
    }
    syscall_count_begin(0);
    atomic_store(&all->go, true);
    for (uint32_t step = WARM_FRAMES; step < ALL_FRAMES; step++) {
        mixed_frame(w, step);
    }
    while (atomic_load(&all->done) + 1 < threads) {
    }
    syscall_count_end(0);
    atomic_store(&all->leave, true);
}

static int child_work(void *arg) {
    const quiet_case *what = arg;
    static crew all;
    fa_context *ctx = NULL;
    if (fa_context_create(&what->config, &ctx) < 0) {
        return SETUP_FAILED;
    }
    atomic_store(&all.next, 1);
    check_thread *threads[THREADS_MAX] = {0};
    for (uint32_t i = 0; i < what->threads; i++) {
        if (!world_setup(&all.worlds[i], what, ctx, i)) {
            return SETUP_FAILED;
        }
    }
    for (uint32_t i = 1; i < what->threads; i++) {
        threads[i] = check_thread_start(other_thread, &all);
    }
    first_worker_run(&all, what->threads);
    for (uint32_t i = 1; i < what->threads; i++) {
        check_thread_join(threads[i]);
    }
    for (uint32_t i = 0; i < what->threads; i++) {
        if (all.worlds[i].failed) {
            return STEADY_FAILED;
        }
    }
    return fa_context_destroy(ctx) == FA_OK ? ENDED_WELL : END_FAILED;
}

// ---- Counting ----------------------------------------------------------------------------------

static int read_clock(void *arg) {
    (void)arg;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    syscall_count_begin(0);
    clock_gettime(CLOCK_MONOTONIC, &now);
    syscall_count_end(0);
    return ENDED_WELL;
}

// Where the kernel has to be asked for the time, phases ask it too, and are left out.
static bool clock_is_quiet(void) {
    syscall_count counts;
    return syscall_count_run(read_clock, NULL, &counts) && counts.regions[0].calls == 0;
}

static void count_case(quiet_case *what, syscall_count *out) {
    what->has_clock = clock_is_quiet();
    syscall_count_run(child_work, what, out);
    REQUIRE(out->started);
    REQUIRE_EQ(out->signal, 0);
    REQUIRE_EQ(out->exit_code, ENDED_WELL);
    REQUIRE_EQ(out->regions[0].entered, 1);
}

static void check_quiet(quiet_case what) {
    static syscall_count counts;
    count_case(&what, &counts);
    CHECK_EQ(counts.regions[0].minor_faults, 0);
    CHECK_EQ(counts.regions[0].major_faults, 0);
    if (!counts.counted) {
        SKIP(counts.reason);
    }
    char calls[200];
    syscall_describe(&counts.regions[0], calls, sizeof(calls));
    CHECK_STR_EQ(calls, "none");
    CHECK_EQ(counts.regions[0].calls, 0);
}

// ---- Tests -------------------------------------------------------------------------------------

static void ten_thousand_frames_are_quiet(void) {
    check_quiet((quiet_case){.threads = 1, .uses_locks = true, .uses_arenas = true});
}

static void frames_with_budgets_and_limits_are_quiet(void) {
    fa_config config = {.memory_limit = (size_t)256 << 20, .frame_times = true};
    if (!clock_is_quiet()) {
        config.frame_times = false;
    }
    check_quiet(
        (quiet_case){.config = config, .threads = 1, .uses_locks = true, .uses_arenas = true});
}

static void three_frames_in_flight_are_quiet(void) {
    check_quiet((quiet_case){.config = {.frames_in_flight = 3},
                             .threads = 1,
                             .big_every = 15,
                             .uses_locks = true,
                             .uses_arenas = true});
}

static void two_threads_are_quiet(void) {
    check_quiet((quiet_case){.threads = 2, .big_every = 31});
}

// The largest of the last `decay_frames` frames is what a frame may need again: its memory stays.
static void large_frames_that_come_again_are_quiet(void) {
    check_quiet((quiet_case){.config = {.decay_frames = 64}, .threads = 1, .big_every = 60});
}

static void watched_frames_are_quiet(void) {
    check_quiet((quiet_case){.config = {.checks = FA_CHECK_WATCH}, .threads = 1});
}

// A backend whose memory is usable at once: frames sit on chunks instead of reserved ranges. There
// each chunk is a call of the backend, so arenas that come and go are not quiet; frames are.
static void *chunk_reserve(void *self, size_t size, size_t align) {
    (void)self;
    const fa_backend *os = fa_backend_os();
    void *ptr = os->reserve(os->self, size, align);
    if (ptr != NULL && !os->commit(os->self, ptr, size)) {
        os->release(os->self, ptr, size);
        return NULL;
    }
    return ptr;
}

static void chunk_release(void *self, void *ptr, size_t size) {
    (void)self;
    fa_backend_os()->release(fa_backend_os()->self, ptr, size);
}

static void frames_on_chunks_are_quiet(void) {
    fa_backend backend = {.reserve = chunk_reserve,
                          .release = chunk_release,
                          .page_size = fa_backend_os()->page_size};
    check_quiet((quiet_case){.config = {.backend = &backend}, .threads = 1, .uses_locks = true});
}

// ---- Controls ----------------------------------------------------------------------------------

static int one_call_and_one_fault(void *arg) {
    (void)arg;
    volatile char *pages =
        mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        return SETUP_FAILED;
    }
    (void)madvise((void *)(uintptr_t)pages, 16 * PAGE, MADV_NOHUGEPAGE);
    syscall_count_begin(0);
    (void)syscall(SYS_getppid);
    syscall_count_end(0);
    syscall_count_begin(1);
    pages[3 * PAGE] = 1;
    syscall_count_end(1);
    return ENDED_WELL;
}

static void control_one_call_and_one_fault_are_counted(void) {
    static syscall_count counts;
    syscall_count_run(one_call_and_one_fault, NULL, &counts);
    REQUIRE(counts.started);
    CHECK_EQ(counts.exit_code, ENDED_WELL);
    CHECK_EQ(counts.regions[0].minor_faults, 0);
    CHECK_EQ(counts.regions[1].minor_faults, 1);
    if (!counts.counted) {
        SKIP(counts.reason);
    }
    CHECK_EQ(counts.regions[0].calls, 1);
    CHECK_EQ(counts.regions[0].by_number[SYS_getppid], 1);
    CHECK_EQ(counts.regions[1].calls, 0);
}

// Large frames that come more rarely than decay waits lose their memory in between, and it is seen.
static void control_memory_that_decayed_is_seen_to_fault(void) {
    static syscall_count counts;
    quiet_case what = {.config = {.decay_frames = 4}, .threads = 1, .big_every = 100};
    count_case(&what, &counts);
    CHECK_GT(counts.regions[0].minor_faults, 0);
    if (!counts.counted) {
        SKIP(counts.reason);
    }
    CHECK_GT(counts.regions[0].calls, 0);
}

TEST_SUITE(quiet, TEST(ten_thousand_frames_are_quiet),
           TEST(frames_with_budgets_and_limits_are_quiet), TEST(three_frames_in_flight_are_quiet),
           TEST(two_threads_are_quiet), TEST(large_frames_that_come_again_are_quiet),
           TEST(watched_frames_are_quiet), TEST(frames_on_chunks_are_quiet),
           TEST(control_one_call_and_one_fault_are_counted),
           TEST(control_memory_that_decayed_is_seen_to_fault));

#else

static void frames_are_quiet(void) {
    SKIP("system calls are counted on Linux only, without sanitizers");
}

TEST_SUITE(quiet, TEST(frames_are_quiet));

#endif

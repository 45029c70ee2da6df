// Replaying: what is planned from a trace, that good allocators pass and that every kind of broken
// one is caught.
#include "harness/check.h"

#if defined(FA_HAVE_REPLAY)

#include "plan_text.h"

#include "common/child.h"
#include "replay/allocator.h"
#include "replay/interval_set.h"
#include "replay/measure.h"
#include "replay/report.h"
#include "replay/verify.h"

#include <framealloc/framealloc.h>
#include <framealloc/heap.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- Address ranges ----

// Against a table of all bytes of a small address range.
static void finds_every_overlap(void) {
    enum { SLOTS = 40, BYTES = 400, BASE = 1000 };
    interval_set set;
    REQUIRE(interval_set_init(&set, SLOTS));
    uint32_t owner[BYTES];
    size_t sizes[SLOTS] = {0};
    size_t begins[SLOTS] = {0};
    memset(owner, 0xFF, sizeof owner);
    check_rng rng = check_rng_make(check_seed());
    size_t overlaps = 0;
    size_t steps = check_scale(200000);
    for (size_t step = 0; step < steps; step++) {
        check_note("step %lu", (unsigned long)step);
        uint32_t slot = (uint32_t)check_rng_below(&rng, SLOTS);
        if (sizes[slot] != 0) {
            interval_set_remove(&set, slot);
            for (size_t i = 0; i < sizes[slot]; i++) {
                owner[begins[slot] + i] = INTERVAL_NONE;
            }
            sizes[slot] = 0;
            continue;
        }
        size_t begin = (size_t)check_rng_below(&rng, BYTES - 30);
        size_t size = check_rng_between(&rng, 1, 30);
        bool is_free = true;
        for (size_t i = 0; i < size; i++) {
            is_free = is_free && owner[begin + i] == INTERVAL_NONE;
        }
        uint32_t other = interval_set_add(&set, slot, BASE + begin, size);
        if (!CHECK_EQ(other == INTERVAL_NONE, is_free)) {
            break;
        }
        if (!is_free) {
            overlaps++;
            CHECK(begins[other] < begin + size && begin < begins[other] + sizes[other]);
            continue;
        }
        begins[slot] = begin;
        sizes[slot] = size;
        for (size_t i = 0; i < size; i++) {
            owner[begin + i] = slot;
        }
    }
    CHECK_GT(overlaps, 0);
    interval_set_clear(&set);
}

// ---- Allocators that keep their promises ----

// Blocks of two kinds, resized both ways, aligned, of no bytes and of many.
static const char busy_text[] = HEAD "a 1 0 0 0 0\na 2 5000 0 0 0\na 3 17 1024 0 0\nf 1 0\n"
                                     "a 4 1 0 0 0\nr 5 4 70000 0 0\nr 6 5 40 0 0\nF\n"
                                     "a 7 33 4096 0 0\na 8 16 0 0 0\nr 9 8 160 0 0\na 10 1 0 0 0\n"
                                     "r 11 9 20000 0 0\nr 12 11 3 0 0\nf 12 0\nf 7 0\nF\n"
                                     "r 13 6 90000 0 0\nf 10 0\nf 3 0\nF\nf 13 0\n";

// Blocks for every tier: frames, scopes, a pool of 48 bytes, the heap; some live at the end.
static char *all_tiers_text(void) {
    enum { TEXT_BYTES = 32768, POOLED = 2 * OBJECT_POOLED_COUNT };
    static char text[TEXT_BYTES];
    size_t used = (size_t)snprintf(text, sizeof text, HEAD "a 1 300000 0 0 0\na 2 70 0 0 0\n");
    for (unsigned i = 0; i < POOLED; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "a %u %u 0 0 0\n", 100 + i,
                                 33 + i % 16);
    }
    used += (size_t)snprintf(text + used, sizeof text - used,
                             "F\na 3 9000 0 0 0\na 4 10 0 0 0\nf 3 0\nf 4 0\nr 5 2 90 0 0\n");
    for (unsigned i = 0; i < POOLED; i += 2) {
        used += (size_t)snprintf(text + used, sizeof text - used, "f %u 0\na %u 40 0 0 0\n",
                                 100 + i, 1000 + i);
    }
    used += (size_t)snprintf(text + used, sizeof text - used, "F\nf 1 0\nF\n");
    return text;
}

typedef struct verify_job {
    const allocator *a;
    const plan *p;
    bool is_loaded;
    bool is_good;
    uint64_t done;
    char error[300];
} verify_job;

static int verify_main(void *arg) {
    verify_job *job = (verify_job *)arg;
    job->is_loaded = job->a->load == NULL || job->a->load(job->error, sizeof job->error);
    job->is_good = job->is_loaded &&
                   verify_allocator(job->a, job->p, &job->done, job->error, sizeof job->error);
    return 0;
}

// A foreign library is loaded in a child, so that what it keeps for itself is not this process's.
static void check_verifies(const char *text) {
    plan p = {0};
    void *block = plan_of(text, everything, &p);
    verify_job *job = (verify_job *)child_shared_alloc(sizeof *job);
    REQUIRE_NOT_NULL(job);
    for (size_t i = 0; allocator_at(i) != NULL; i++) {
        const allocator *a = allocator_at(i);
        check_note("%s", a->name);
        CHECK(allocator_find(a->name, strlen(a->name)) == a);
        *job = (verify_job){.a = a, .p = &p};
        if (a->load != NULL) {
            child_end end = child_run(verify_main, job, NULL, NULL);
            CHECK(end.started && end.exit_code == 0);
        } else {
            (void)verify_main(job);
        }
        CHECK_EQ(job->is_loaded, allocator_is_here(a));
        if (job->is_loaded && !CHECK(job->is_good)) {
            FAIL("%s", job->error);
        }
        CHECK_EQ(job->done, job->is_good ? p.section_count : 0);
    }
    child_shared_free(job, sizeof *job);
    free(block);
}

static void every_allocator_replays_a_small_trace(void) {
    check_verifies(busy_text);
    check_verifies(all_tiers_text());
    CHECK(allocator_is_here(&allocator_glibc) && allocator_is_here(&allocator_framealloc));
    CHECK(allocator_find("malloc", 6) == &allocator_glibc);
    CHECK_NULL(allocator_find("mallo", 5));
    CHECK_NULL(allocator_find("mallocs", 7));
    CHECK_NULL(allocator_find("glib", 4));
}

static void the_allocators_that_are_here_are_named(void) {
    char names[200];
    char expected[200] = "";
    for (size_t i = 0; allocator_at(i) != NULL; i++) {
        if (allocator_is_here(allocator_at(i))) {
            strcat(expected, expected[0] != '\0' ? ", " : "");
            strcat(expected, allocator_at(i)->name);
        }
    }
    allocator_names(names, sizeof names);
    CHECK_STR_EQ(names, expected);
    CHECK_STR_HAS(names, "glibc, framealloc");
    CHECK_STR_HAS(names, "none");
    memset(names, 'x', sizeof names);
    allocator_names(names, 9); // Cut off, not overrun.
    CHECK_STR_EQ(names, "glibc, f");
    for (size_t i = 9; i < sizeof names; i++) {
        CHECK_EQ(names[i], 'x');
    }
}

static void every_allocator_is_measured(void) {
    plan p = {0};
    void *block = plan_of(busy_text, everything, &p);
    progress bar = {0};
    measure_request request = {.plan = &p, .repeat = 3, .bar = &bar};
    for (size_t i = 0; allocator_at(i) != NULL; i++) {
        if (allocator_is_here(allocator_at(i))) {
            request.allocators[request.allocator_count++] = allocator_at(i);
        }
    }
    measure_result result;
    REQUIRE(measure_run(&request, &result));
    CHECK(result.ok);
    CHECK_EQ(result.count, request.allocator_count);
    for (uint32_t i = 0; i < result.count; i++) {
        const allocator_figures *figures = &result.figures[i];
        check_note("%s: %s", figures->allocator->name, figures->error);
        CHECK(figures->ok);
        CHECK_EQ(figures->run_count, 3);
        CHECK_EQ(figures->version[0] != '\0', figures->allocator != &allocator_none);
        CHECK_GT(figures->total.min_ns, 0);
        CHECK_LE(figures->total.min_ns, figures->total.median_ns);
        const frame_figures *steady = &figures->frame[PART_STEADY];
        CHECK_LE(steady->median_ns, steady->p99_ns);
        CHECK_LE(steady->p99_ns, steady->max_ns);
        CHECK_LE(steady->max_ns, figures->worst_ns[PART_STEADY]);
        CHECK_EQ(figures->counts.regions[PART_STEADY].entered, 1);
        CHECK_EQ(figures->counts.regions[PART_TAIL].entered, 1);
        uint64_t sum = 0;
        for (int part = 0; part < PART_COUNT; part++) {
            sum += figures->runs[1].part_ns[part];
        }
        CHECK_EQ(sum, figures->runs[1].total_ns);
    }
    measure_clear(&result);
    free(block);
}

// After all steps: what the library says each tier holds, beside what the plan put there.
static void every_tier_receives_its_blocks(void) {
    plan p = {0};
    void *block = plan_of(all_tiers_text(), everything, &p);
    CHECK_EQ(p.pool_count, 1);
    CHECK_EQ(p.pool_bytes[0], 48);
    CHECK_EQ(p.pooled_objects, 3 * OBJECT_POOLED_COUNT);
    CHECK_EQ(p.heap_objects, 2);
    CHECK_EQ(p.scoped_objects, 1);
    CHECK_EQ(p.frame_objects, 1);
    replay_slot *slots = calloc(p.slot_count, sizeof *slots);
    uint64_t stamps[16];
    char error[300] = "";
    REQUIRE_LT(p.section_count, 16);
    replay_session session = {.plan = &p};
    const allocator *a = &allocator_framealloc;
    REQUIRE(a->open(&session, error, sizeof error));
    replay_end end = a->run_timed(&session, slots, stamps);
    CHECK_EQ(end.status, REPLAY_DONE);
    fa_context *ctx = session.state;
    fa_stats stats;
    fa_heap_stats_result heap;
    REQUIRE_EQ(fa_stats_get(ctx, &stats), FA_OK);
    REQUIRE_EQ(fa_heap_stats(ctx, &heap), FA_OK);
    CHECK_EQ(stats.pool_bytes, 2 * OBJECT_POOLED_COUNT * 48);
    CHECK_EQ(heap.live_blocks, 1);
    CHECK_GE(heap.live_bytes, 90);
    CHECK_LE(heap.live_bytes, 96 + 16);
    CHECK_EQ(stats.heap_bytes, heap.live_bytes);
    CHECK_EQ(stats.allocations, p.heap_objects);
    CHECK_EQ(stats.frees, 1);
    fa_tag_stats_result root;
    fa_thread_stats_result thread;
    REQUIRE_EQ(fa_tag_stats(ctx, (fa_tag){0}, &root), FA_OK);
    REQUIRE_EQ(fa_thread_stats(ctx, NULL, &thread), FA_OK);
    CHECK_EQ(root.frame_peak_bytes, 16);
    CHECK_EQ(thread.frame_peak_bytes, 9008 + 16); // The most of the scope and of the frame.
    CHECK_EQ(stats.frame_bytes, 0);
    replay_account account;
    a->account(&session, &account);
    CHECK(account.is_known);
    CHECK_GE(account.peak_bytes, 300000);
    CHECK(!a->close(&session, error, sizeof error)); // Objects are live, and it says so.
    CHECK_STR_HAS(error, "the context reports at its end");
    free(slots);
    free(block);
}

// What is left in a pool is reported, not only what is left in the heap.
static void a_pool_s_rest_is_found_at_the_end(void) {
    plan p = {0};
    static char text[8192];
    size_t used = (size_t)snprintf(text, sizeof text, HEAD);
    for (unsigned i = 0; i < OBJECT_POOLED_COUNT; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "a %u 20 0 0 0\n", i + 1);
    }
    snprintf(text + used, sizeof text - used, "F\n");
    void *block = plan_of(text, everything, &p);
    REQUIRE_EQ(p.pooled_objects, p.slot_count);
    replay_slot *slots = calloc(p.slot_count, sizeof *slots);
    uint64_t stamps[16];
    char error[300] = "";
    replay_session session = {.plan = &p};
    REQUIRE(allocator_framealloc.open(&session, error, sizeof error));
    CHECK_EQ(allocator_framealloc.run_timed(&session, slots, stamps).status, REPLAY_DONE);
    CHECK(!allocator_framealloc.close(&session, error, sizeof error));
    free(slots);
    free(block);
}

// ---- Allocators that do not ----

// Hands out pieces of `piece_memory`, each behind the one before, until a fault is asked for.
typedef enum fault {
    FAULT_NONE,
    FAULT_OVERLAP,   // The second block begins inside of the first.
    FAULT_SAME,      // Every block is the same one.
    FAULT_ALIGN,     // Blocks begin at odd addresses.
    FAULT_BIG_ALIGN, // Alignments above 16 are forgotten.
    FAULT_NULL,      // The third request is refused.
    FAULT_SCRIBBLE,  // Each request writes to the one before.
    FAULT_RESIZE,    // A resize loses the last byte.
    FAULT_FREE,      // A free writes to the block behind.
    FAULT_NO_FRAME,  // No frame can be begun.
    FAULT_CLOSE      // Something is left behind.
} fault;

static fault wanted;
static _Alignas(4096) unsigned char piece_memory[1 << 19];
static size_t memory_used;
static size_t requests;
static unsigned char *newest;

static bool faulty_open(replay_session *session, char *error, size_t size) {
    (void)session;
    (void)error;
    (void)size;
    memory_used = 0;
    requests = 0;
    newest = NULL;
    return true;
}

static bool faulty_close(replay_session *session, char *error, size_t size) {
    (void)session;
    snprintf(error, size, "something was left behind");
    return wanted != FAULT_CLOSE;
}

static void *tier_frame_begin(replay_session *session) {
    return wanted == FAULT_NO_FRAME ? NULL : session;
}

static void tier_frame_end(replay_session *session, void *frame) {
    (void)session;
    (void)frame;
}

static void *faulty_piece(size_t size, size_t align) {
    requests++;
    if (wanted == FAULT_NULL && requests == 3) {
        return NULL;
    }
    if (wanted == FAULT_SCRIBBLE && newest != NULL) {
        newest[0] ^= 0x55;
    }
    if (wanted == FAULT_SAME) {
        return piece_memory;
    }
    if (wanted == FAULT_BIG_ALIGN && align > 16) {
        memory_used += 16;
        align = 16;
    }
    size_t begin = (memory_used + align - 1) & ~(align - 1);
    begin += wanted == FAULT_ALIGN ? 1 : 0;
    begin -= wanted == FAULT_OVERLAP && begin >= 16 ? 16 : 0;
    memory_used = begin + size;
    newest = piece_memory + begin;
    return memory_used <= sizeof piece_memory ? newest : NULL;
}

static void *tier_alloc_heap(replay_session *session, void *frame, const plan_op *op) {
    (void)session;
    (void)frame;
    return faulty_piece(op->size, 16);
}

static void *tier_alloc_heap_aligned(replay_session *session, void *frame, const plan_op *op) {
    (void)session;
    (void)frame;
    return faulty_piece(op->size, (size_t)1 << op->align_log2);
}

static void *tier_resize_heap(replay_session *session, void *frame, const plan_op *op, void *ptr,
                              size_t old_size) {
    (void)session;
    (void)frame;
    size_t kept = old_size < op->size ? old_size : op->size;
    unsigned char *piece = faulty_piece(op->size, 16);
    if (piece != NULL) {
        memmove(piece, ptr, kept);
        piece[wanted == FAULT_RESIZE ? kept - 1 : 0] ^= wanted == FAULT_RESIZE ? 1 : 0;
    }
    return piece;
}

static void tier_free_heap(replay_session *session, void *frame, const plan_op *op, void *ptr) {
    (void)session;
    (void)frame;
    (void)op;
    if (wanted == FAULT_FREE && (unsigned char *)ptr != newest) {
        newest[0] ^= 1;
    }
}

static void *tier_alloc_frame(replay_session *session, void *frame, const plan_op *op) {
    return tier_alloc_heap(session, frame, op);
}

static void *tier_alloc_frame_aligned(replay_session *session, void *frame, const plan_op *op) {
    return tier_alloc_heap_aligned(session, frame, op);
}

static void *tier_resize_frame(replay_session *session, void *frame, const plan_op *op, void *ptr,
                               size_t old_size) {
    return tier_resize_heap(session, frame, op, ptr, old_size);
}

static void tier_free_frame(replay_session *session, void *frame, const plan_op *op, void *ptr) {
    tier_free_heap(session, frame, op, ptr);
}

static void *tier_alloc_scoped(replay_session *session, void *frame, const plan_op *op) {
    return tier_alloc_heap(session, frame, op);
}

static void *tier_alloc_scoped_aligned(replay_session *session, void *frame, const plan_op *op) {
    return tier_alloc_heap_aligned(session, frame, op);
}

static void tier_free_scoped(replay_session *session, void *frame, const plan_op *op, void *ptr) {
    tier_free_heap(session, frame, op, ptr);
}

static void *tier_alloc_pooled(replay_session *session, void *frame, const plan_op *op) {
    return tier_alloc_heap(session, frame, op);
}

static void tier_free_pooled(replay_session *session, void *frame, const plan_op *op, void *ptr) {
    tier_free_heap(session, frame, op, ptr);
}

#include "replay/loop.h"

static const char *no_version(void) {
    return "";
}

static const allocator faulty = {
    .name = "faulty",
    .summary = "breaks a promise",
    .version = no_version,
    .open = faulty_open,
    .close = faulty_close,
    .run_timed = loop_timed,
    .run_counted = loop_counted,
    .frame_begin = tier_frame_begin,
    .frame_end = tier_frame_end,
    .alloc = loop_alloc,
    .resize = loop_resize,
    .free = loop_free,
};

typedef struct fault_case {
    fault fault;
    const char *error;
} fault_case;

static const fault_case fault_cases[] = {
    {FAULT_OVERLAP, "frame 0: block 2 of 5000 bytes overlaps the live block 1 of 1 bytes"},
    {FAULT_SAME, "overlaps the live block"},
    {FAULT_ALIGN, "frame 0: block 1 of 1 bytes is not at a multiple of 16"},
    {FAULT_BIG_ALIGN, "block 3 of 17 bytes is not at a multiple of 1024"},
    {FAULT_NULL, "frame 0: faulty returned NULL for block 3 of 17 bytes"},
    {FAULT_SCRIBBLE, "was overwritten at byte 0"},
    {FAULT_RESIZE, "was overwritten at byte 0: seen after it was resized"},
    {FAULT_FREE, "was overwritten at byte 0"},
    {FAULT_NO_FRAME, "faulty could not begin a frame"},
    {FAULT_CLOSE, "something was left behind"},
};

static void every_broken_promise_is_caught(void) {
    plan p = {0};
    void *block = plan_of(busy_text, everything, &p);
    char error[300] = "";
    wanted = FAULT_NONE;
    if (!CHECK(verify_allocator(&faulty, &p, NULL, error, sizeof error))) {
        FAIL("%s", error);
    }
    for (size_t i = 0; i < sizeof fault_cases / sizeof fault_cases[0]; i++) {
        wanted = fault_cases[i].fault;
        check_note("fault %d", (int)wanted);
        error[0] = '\0';
        CHECK(!verify_allocator(&faulty, &p, NULL, error, sizeof error));
        CHECK_STR_HAS(error, fault_cases[i].error);
    }
    // Only what is smaller than its alignment may be aligned less, and only where that is known.
    allocator lenient = faulty;
    lenient.aligns_less = true;
    wanted = FAULT_ALIGN;
    CHECK(!verify_allocator(&lenient, &p, NULL, error, sizeof error));
    CHECK_STR_HAS(error, "frame 0: block 2 of 5000 bytes is not at a multiple of 16");
    free(block);
}

// The timed loop checks less, but what it sees stops it at the step concerned.
static void the_timed_loop_stops_at_a_broken_promise(void) {
    static const struct {
        fault fault;
        replay_status status;
        uint32_t op;
    } cases[] = {{FAULT_NONE, REPLAY_DONE, 19},
                 {FAULT_NULL, REPLAY_REFUSED, 2},
                 {FAULT_SAME, REPLAY_DAMAGED, 3},
                 {FAULT_NO_FRAME, REPLAY_NO_FRAME, 0}};
    plan p = {0};
    void *block = plan_of(busy_text, everything, &p);
    REQUIRE_EQ(p.op_count, 19);
    replay_slot slots[16];
    uint64_t stamps[16];
    REQUIRE_LE(p.slot_count, 16);
    REQUIRE_LT(p.section_count, 16);
    char error[64];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wanted = cases[i].fault;
        check_note("fault %d", (int)wanted);
        replay_session session = {.plan = &p};
        faulty.open(&session, error, sizeof error);
        replay_end end = faulty.run_timed(&session, slots, stamps);
        CHECK_EQ(end.status, cases[i].status);
        CHECK_EQ(end.op, cases[i].op);
        faulty.open(&session, error, sizeof error);
        end = faulty.run_counted(&session, slots);
        CHECK_EQ(end.status, cases[i].status);
        CHECK_EQ(end.op, cases[i].op);
    }
    free(block);
}

static void measure_faulty(const plan *p, fault which, const char *text) {
    progress bar = {0};
    measure_request request = {.plan = p, .allocator_count = 2, .repeat = 1, .bar = &bar};
    request.allocators[0] = &faulty;
    request.allocators[1] = &allocator_glibc;
    wanted = which;
    measure_result result;
    REQUIRE(measure_run(&request, &result));
    CHECK(!result.ok);
    CHECK(!result.figures[0].ok);
    CHECK_STR_HAS(result.figures[0].error, text);
    CHECK(result.figures[1].ok);
    measure_clear(&result);
}

static bool crashing_open(replay_session *session, char *error, size_t size) {
    (void)session;
    (void)error;
    (void)size;
    (void)signal(SIGKILL, SIG_DFL);
    (void)raise(SIGKILL);
    return false;
}

// One allocator's failure is reported and hinders no other.
static void a_failing_allocator_is_reported_beside_the_others(void) {
    plan p = {0};
    void *block = plan_of(busy_text, everything, &p);
    measure_faulty(&p, FAULT_OVERLAP, "verified pass: frame 0: block 2");
    allocator crashing = faulty;
    crashing.name = "crashing";
    crashing.open = crashing_open;
    progress bar = {0};
    measure_request request = {.plan = &p, .allocator_count = 1, .repeat = 1, .bar = &bar};
    request.allocators[0] = &crashing;
    measure_result result;
    REQUIRE(measure_run(&request, &result));
    CHECK(!result.ok);
    CHECK_STR_HAS(result.figures[0].error, "verified pass: it was ended by signal 9");
    measure_clear(&result);
    free(block);
}

static void percentiles_are_ranks(void) {
    uint64_t values[200];
    for (size_t i = 0; i < 200; i++) {
        values[i] = 200 - i;
    }
    CHECK_EQ(percentile(values, 200, 50), 100);
    CHECK_EQ(percentile(values, 200, 99), 198);
    CHECK_EQ(percentile(values, 200, 100), 200);
    CHECK_EQ(percentile(values, 1, 99), 1);
    CHECK_EQ(percentile(values, 0, 50), 0);
    uint64_t three[] = {30, 10, 20};
    CHECK_EQ(percentile(three, 3, 50), 20);
}

TEST_SUITE(replay, TEST(finds_every_overlap), TEST(every_allocator_replays_a_small_trace),
           TEST(the_allocators_that_are_here_are_named), TEST(every_tier_receives_its_blocks),
           TEST(a_pool_s_rest_is_found_at_the_end), TEST(every_allocator_is_measured),
           TEST(every_broken_promise_is_caught), TEST(the_timed_loop_stops_at_a_broken_promise),
           TEST(a_failing_allocator_is_reported_beside_the_others), TEST(percentiles_are_ranks));

#else

static void needs_the_program(void) {
    SKIP("the program framealloc is not built here");
}

TEST_SUITE(replay, TEST(needs_the_program));

#endif

// Each thread's state in each context: made on first use, taken down at exit or detach or with the
// context, and shared with nobody.
#include "core_fixture.h"
#include "fault_backend.h"

#include <stdio.h>

static report_log reports;

// ---- Attaching ----

static void use_frame(fa_context *ctx) {
    fa_frame_end(fa_frame_begin(ctx));
}

static void use_scratch(fa_context *ctx) {
    fa_scratch_end(fa_scratch_begin(ctx, NULL, 0));
}

static void use_tag(fa_context *ctx) {
    CHECK_EQ(fa_tag_push(ctx, FA_TAG_ROOT), FA_OK);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
}

static void use_phase(fa_context *ctx) {
    CHECK_EQ(fa_phase_begin(ctx, "phase"), FA_OK);
    CHECK_EQ(fa_phase_end(ctx, NULL), FA_OK);
}

static void use_budget(fa_context *ctx) {
    CHECK_EQ(fa_budget_set_thread(ctx, &(fa_thread_budget){.frame_bytes = MIB}), FA_OK);
}

static void use_name(fa_context *ctx) {
    CHECK_EQ(fa_thread_attach(ctx, NULL), FA_OK);
}

static void a_thread_attaches_on_first_use_as_thread_n(void) {
    void (*const uses[])(fa_context *) = {use_frame, use_scratch, use_tag,
                                          use_phase, use_budget,  use_name};
    for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
        fa_context *ctx = context_open(NULL);
        check_note("use %u", (unsigned)i);
        CHECK_EQ(stats_of(ctx).threads, 0);
        fa_thread_stats_result stats;
        CHECK_EQ(fa_thread_stats(ctx, NULL, &stats), FA_ERR_NOT_FOUND);
        uses[i](ctx);
        CHECK_EQ(stats_of(ctx).threads, 1);
        CHECK_STR_EQ(thread_stats_of(ctx, NULL).name, "thread 1");
        CHECK_EQ(thread_stats_of(ctx, "thread 1").id, 1);
        context_close(ctx);
    }
}

static void attach_names_and_renames(void) {
    fa_context *ctx = context_open(NULL);
    CHECK_EQ(fa_thread_attach(ctx, "main"), FA_OK);
    CHECK_STR_EQ(thread_stats_of(ctx, NULL).name, "main");
    CHECK_EQ(fa_thread_attach(ctx, NULL), FA_OK); // Leaves the name.
    CHECK_STR_EQ(thread_stats_of(ctx, NULL).name, "main");
    char name[64] = "0123456789012345678901234567890-cut";
    CHECK_EQ(fa_thread_attach(ctx, name), FA_OK);
    memset(name, 'x', 31); // It was copied.
    CHECK_STR_EQ(thread_stats_of(ctx, NULL).name, "0123456789012345678901234567890");
    fa_thread_stats_result stats;
    CHECK_EQ(fa_thread_stats(ctx, "main", &stats), FA_ERR_NOT_FOUND);
    CHECK_EQ(stats_of(ctx).threads, 1);
    context_close(ctx);
}

static void detach_takes_the_state_down(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    CHECK_EQ(fa_thread_detach(ctx), FA_ERR_NOT_FOUND);
    CHECK_EQ(fa_thread_attach(ctx, "worker"), FA_OK);
    fa_tag tag = fa_tag_register(ctx, "tag");
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    for (int i = 0; i < 3; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 16000));
        CHECK_NULL(fa_arena_try_alloc(frame, 0));
        fa_frame_end(frame);
    }
    CHECK_EQ(fa_budget_set_thread(ctx, &(fa_thread_budget){.frame_bytes = 1000}), FA_OK);
    log_empty(&reports);
    CHECK_EQ(fa_thread_detach(ctx), FA_OK);
    log_empty(&reports);
    CHECK_EQ(stats_of(ctx).threads, 0);
    CHECK_EQ(fa_thread_detach(ctx), FA_ERR_NOT_FOUND);
    // What comes back is a new thread.
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_frame_index(frame), 1);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 5000));
    fa_thread_stats_result stats = thread_stats_of(ctx, NULL);
    CHECK_STR_EQ(stats.name, "thread 1");
    CHECK_EQ(stats.tag_depth, 0);
    CHECK_EQ(stats.frame_budget, 0);
    CHECK_EQ(stats.frame_peak_bytes, 5008);
    CHECK_EQ(stats.total_bytes, 0);
    CHECK_EQ(stats.refusals, 0);
    fa_thread_budget budget = {.frame_bytes = 1};
    CHECK_EQ(fa_budget_get_thread(ctx, &budget), FA_OK);
    CHECK_EQ(budget.frame_bytes, 0);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 5000));
    CHECK_EQ(fa_tag_current(ctx).id, 0);
    CHECK_EQ(fa_tag_pop(ctx), FA_ERR_INVALID);
    fa_frame_record record;
    CHECK_EQ(fa_history(ctx, &record, 1), 0);
    fa_frame_end(frame);
    context_close(ctx);
}

static size_t cleanups;

static void count_cleanup(void *arg) {
    cleanups += 1;
    CHECK_NULL(arg);
}

static void detach_ends_and_reports_an_open_frame(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    CHECK_EQ(fa_thread_attach(ctx, "worker"), FA_OK);
    use_frame(ctx);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 1000));
    cleanups = 0;
    CHECK_EQ(fa_arena_defer(frame, count_cleanup, NULL), FA_OK);
    fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
    CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 1000));
    CHECK_EQ(fa_arena_defer(scratch.arena, count_cleanup, NULL), FA_OK);
    CHECK_EQ(fa_thread_detach(ctx), FA_OK);
    const seen_report *seen = log_single(&reports, 9);
    CHECK_EQ(seen->frame, 2);
    CHECK_EQ(seen->bytes, 1008 + CLEANUP_BYTES);
    CHECK_STR_EQ(seen->thread, "worker");
    CHECK_EQ(cleanups, 2);
    CHECK_EQ(stats_of(ctx).frame_bytes, 0);
    CHECK_EQ(tag_stats_of(ctx, FA_TAG_ROOT).current_bytes, 0);
    CHECK_EQ(fa_context_frame_index(ctx), 2); // The furthest any thread has begun.
    context_close(ctx);
}

// ---- Exit ----

static void leave_frame_open(void *arg) {
    fa_context *ctx = (fa_context *)arg;
    CHECK_EQ(fa_thread_attach(ctx, "careless"), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 3000));
    CHECK_EQ(fa_arena_defer(frame, count_cleanup, NULL), FA_OK);
}

static void an_exiting_thread_s_open_frame_is_ended_and_reported(void) {
    const uint32_t in_flight[] = {1, 3};
    for (size_t i = 0; i < 2; i++) {
        fa_config config = {.frames_in_flight = in_flight[i]};
        fa_context *ctx = context_open(&config);
        log_attach(ctx, &reports);
        cleanups = 0;
        check_thread_join(check_thread_start(leave_frame_open, ctx));
        const seen_report *seen = log_single(&reports, 9);
        CHECK_STR_EQ(seen->thread, "careless");
        CHECK_EQ(seen->bytes, 3008 + CLEANUP_BYTES);
        CHECK_EQ(seen->frame, 1);
        CHECK_EQ(cleanups, 1);
        CHECK_EQ(stats_of(ctx).threads, 0);
        CHECK_EQ(stats_of(ctx).frame_bytes, 0);
        context_close(ctx);
    }
}

static void use_much(void *arg) {
    fa_context *ctx = (fa_context *)arg;
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_frame_index(frame), 1);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 2 * MIB));
    fa_frame_end(frame);
    fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
    CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 2 * MIB));
    fa_scratch_end(scratch);
    CHECK_STR_EQ(thread_stats_of(ctx, NULL).name, "thread 1");
}

static void the_next_thread_takes_over_what_an_exited_one_had(void) {
    fa_context *ctx = context_open(NULL);
    check_thread_join(check_thread_start(use_much, ctx));
    fa_stats first = stats_of(ctx);
    CHECK_EQ(first.threads, 0);
    CHECK_LT(first.committed_bytes, MIB); // An exited thread keeps little.
    for (int i = 0; i < 20; i++) {
        check_thread_join(check_thread_start(use_much, ctx));
    }
    fa_stats last = stats_of(ctx);
    CHECK_EQ(last.committed_bytes, first.committed_bytes);
    CHECK_EQ(last.reserved_bytes, first.reserved_bytes);
    CHECK_EQ(last.overhead_bytes, first.overhead_bytes);
    context_close(ctx);
}

typedef struct meeting {
    fa_context *context;
    check_barrier *barrier;
    uint32_t id;
} meeting;

static void attach_and_wait(void *arg) {
    meeting *self = (meeting *)arg;
    use_frame(self->context);
    self->id = thread_stats_of(self->context, NULL).id;
    check_barrier_wait(self->barrier);
}

static void threads_that_come_at_once_get_states_of_their_own(void) {
    fa_context *ctx = context_open(NULL);
    check_barrier *barrier = check_barrier_create(16);
    for (int round = 0; round < 10; round++) {
        meeting all[16];
        for (size_t i = 0; i < 16; i++) {
            all[i] = (meeting){ctx, barrier, 0};
        }
        check_threads_run(16, attach_and_wait, all, sizeof(all[0]));
        uint32_t seen = 0;
        for (size_t i = 0; i < 16; i++) {
            REQUIRE(all[i].id >= 1 && all[i].id <= 16); // Ids of exited threads are used again.
            seen |= (uint32_t)1 << all[i].id;
        }
        CHECK_EQ(seen, 0x1FFFE);
        CHECK_EQ(stats_of(ctx).threads, 0);
    }
    check_barrier_destroy(barrier);
    context_close(ctx);
}

// ---- Exit and end, in either order ----

static void outlive_the_context(void *arg) {
    meeting *self = (meeting *)arg;
    fa_context *own = context_open(NULL);
    use_frame(self->context);
    use_frame(own);
    check_barrier_wait(self->barrier);
    check_barrier_wait(self->barrier); // The shared context is gone.
    for (int i = 0; i < 3; i++) {
        use_frame(own);
    }
    CHECK_EQ(fa_context_frame_index(own), 4);
    context_close(own);
}

static void a_context_may_end_before_its_threads(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_config config = {.backend = &pages.backend};
    meeting all[4];
    check_barrier *barrier = check_barrier_create(5);
    check_thread *threads[4];
    fa_context *ctx = context_open(&config);
    for (size_t i = 0; i < 4; i++) {
        all[i] = (meeting){ctx, barrier, 0};
        threads[i] = check_thread_start(outlive_the_context, &all[i]);
    }
    check_barrier_wait(barrier);
    CHECK_EQ(stats_of(ctx).threads, 4);
    context_close(ctx);
    fault_backend_end(&pages);
    check_barrier_wait(barrier);
    for (size_t i = 0; i < 4; i++) {
        check_thread_join(threads[i]);
    }
    check_barrier_destroy(barrier);
}

static void exit_while_it_ends(void *arg) {
    meeting *self = (meeting *)arg;
    use_frame(self->context);
    check_barrier_wait(self->barrier); // From here on the context may end at any moment.
}

static void a_context_may_end_while_its_threads_exit(void) {
    check_barrier *barrier = check_barrier_create(5);
    for (size_t round = 0; round < check_scale(300); round++) {
        fa_context *ctx = context_open(NULL);
        meeting shared = {ctx, barrier, 0};
        check_thread *threads[4];
        for (size_t i = 0; i < 4; i++) {
            threads[i] = check_thread_start(exit_while_it_ends, &shared);
        }
        check_barrier_wait(barrier);
        context_close(ctx);
        for (size_t i = 0; i < 4; i++) {
            check_thread_join(threads[i]);
        }
    }
    check_barrier_destroy(barrier);
}

// The memory of an ended context may be used for the next one, at the same address.
static void nothing_of_an_ended_context_is_found_in_the_next(void) {
    for (int i = 0; i < 50; i++) {
        fa_context *ctx = context_open(NULL);
        CHECK_NULL(fa_frame_current(ctx));
        CHECK_EQ(fa_tag_current(ctx).id, 0);
        fa_tag tag = fa_tag_register(ctx, "tag");
        CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_EQ(fa_frame_index(frame), 1);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 100));
        fa_frame_end(frame);
        CHECK_EQ(stats_of(ctx).peak_bytes, 112);
        context_close(ctx);
    }
}

// ---- Several contexts ----

static void two_contexts_in_one_thread_share_nothing(void) {
    fa_config config = {.history_frames = 5, .frame_times = true};
    fa_context *a = context_open(NULL);
    fa_context *b = context_open(&config);
    log_attach(a, &reports);
    CHECK_EQ(fa_thread_attach(a, "in a"), FA_OK);
    CHECK_EQ(fa_thread_attach(b, "in b"), FA_OK);
    use_frame(a);
    // Tags: the same value means different tags, and pushing in one is not pushing in the other.
    fa_tag in_a = fa_tag_register(a, "only/in/a");
    fa_tag in_b = fa_tag_register(b, "b");
    CHECK_EQ(fa_tag_count(a), 4);
    CHECK_EQ(fa_tag_count(b), 2);
    CHECK_EQ(fa_tag_push(a, in_a), FA_OK);
    CHECK_EQ(fa_tag_current(b).id, 0);
    CHECK_EQ(fa_tag_push(b, in_b), FA_OK);
    CHECK_EQ(fa_tag_current(a).id, in_a.id);
    // Frames, with budgets of their own.
    CHECK_EQ(fa_budget_set(a, in_a, &(fa_budget){.hard = 1600}), FA_OK);
    CHECK_EQ(fa_budget_set_thread(b, &(fa_thread_budget){.frame_bytes = 3200}), FA_OK);
    fa_arena *frame_a = fa_frame_begin(a);
    fa_arena *frame_b = fa_frame_begin(b);
    CHECK_EQ(fa_frame_current(a), frame_a);
    CHECK_EQ(fa_frame_current(b), frame_b);
    CHECK_EQ(fa_frame_index(frame_a), 2);
    CHECK_EQ(fa_frame_index(frame_b), 1);
    CHECK_EQ(fill_up(frame_a, 16), 100);
    CHECK_EQ(fill_up(frame_b, 16), 200);
    CHECK_EQ(stats_of(a).frame_bytes, 1600);
    CHECK_EQ(stats_of(b).frame_bytes, 3200);
    CHECK_EQ(stats_of(a).refusals, 1);
    CHECK_EQ(tag_stats_of(a, in_a).refusals, 1);
    CHECK_EQ(tag_stats_of(b, in_b).current_bytes, 3200);
    CHECK_EQ(thread_stats_of(a, NULL).frame_budget, 0);
    // Phases.
    CHECK_EQ(fa_phase_begin(a, "work"), FA_OK);
    CHECK_EQ(fa_phase_end(b, NULL), FA_ERR_INVALID);
    CHECK_EQ(fa_phase_end(a, NULL), FA_OK);
    fa_phase_stats phase;
    CHECK_EQ(fa_phase_stats_get(b, "work", true, &phase), FA_ERR_NOT_FOUND);
    // Ends.
    fa_frame_end(frame_b);
    CHECK_EQ(fa_frame_current(a), frame_a);
    fa_frame_record records[4];
    CHECK_EQ(fa_history(a, records, 4), 1);
    CHECK_EQ(fa_history(b, records, 4), 1);
    CHECK_EQ(fa_thread_detach(b), FA_OK);
    CHECK_EQ(fa_frame_current(a), frame_a);
    CHECK_EQ(fa_tag_current(a).id, in_a.id);
    context_close(b);
    CHECK_EQ(fa_arena_used(frame_a), 1600);
    fa_frame_end(frame_a);
    log_empty(&reports);
    context_close(a);
}

enum { MANY = 11 };

typedef struct own_view {
    fa_context *context;
    fa_arena *frame;
    uint64_t frames;
    size_t used;
    fa_tag tags[8];
    size_t depth;
} own_view;

static void step_of_many(own_view *own, check_rng *rng) {
    size_t what = check_rng_below(rng, 5);
    CHECK_EQ(fa_frame_current(own->context), own->frame);
    if (what == 0 && own->frame == NULL) {
        own->frame = fa_frame_begin(own->context);
        own->frames += 1;
        CHECK_EQ(fa_frame_index(own->frame), own->frames);
    } else if (what == 1 && own->frame != NULL && own->depth == 0) {
        fa_frame_end(own->frame);
        own->frame = NULL;
        own->used = 0;
    } else if (what == 2 && own->depth < 8) {
        own->tags[own->depth] = (fa_tag){(uint32_t)check_rng_below(rng, 5)};
        CHECK_EQ(fa_tag_push(own->context, own->tags[own->depth]), FA_OK);
        own->depth += 1;
    } else if (what == 3 && own->depth > 0) {
        CHECK_EQ(fa_tag_current(own->context).id, own->tags[own->depth - 1].id);
        own->depth -= 1;
        CHECK_EQ(fa_tag_pop(own->context), FA_OK);
    } else if (own->frame != NULL) {
        size_t size = check_rng_between(rng, 1, 300);
        fa_tagged tagged = fa_tagged_make(own->context, FA_TAG_ROOT);
        CHECK_NOT_NULL(fa_tagged_alloc(tagged, size));
        own->used += rounded(size);
        CHECK_EQ(fa_arena_used(own->frame), own->used);
    }
}

// More contexts than a thread remembers: each is found again, in whatever order they come.
static void many_contexts_take_turns_in_one_thread(void) {
    own_view all[MANY];
    check_rng rng = check_rng_make(check_seed());
    for (size_t i = 0; i < MANY; i++) {
        all[i] = (own_view){.context = context_open(NULL)};
        for (unsigned k = 1; k < 5; k++) {
            char path[8];
            snprintf(path, sizeof(path), "tag%u", k);
            CHECK_EQ(fa_tag_register(all[i].context, path).id, k);
        }
    }
    for (size_t step = 0; step < check_scale(100000); step++) {
        step_of_many(&all[step < 5000 ? step % MANY : check_rng_below(&rng, MANY)], &rng);
    }
    for (size_t i = 0; i < MANY; i++) {
        CHECK_EQ(stats_of(all[i].context).threads, 1);
        CHECK_EQ(thread_stats_of(all[i].context, NULL).frame_index, all[i].frames);
        if (all[i].frame != NULL) {
            fa_frame_end(all[i].frame);
        }
        context_close(all[i].context);
    }
}

TEST_SUITE(thread, TEST(a_thread_attaches_on_first_use_as_thread_n), TEST(attach_names_and_renames),
           TEST(detach_takes_the_state_down), TEST(detach_ends_and_reports_an_open_frame),
           TEST(an_exiting_thread_s_open_frame_is_ended_and_reported),
           TEST(the_next_thread_takes_over_what_an_exited_one_had),
           TEST(threads_that_come_at_once_get_states_of_their_own),
           TEST(a_context_may_end_before_its_threads),
           TEST(a_context_may_end_while_its_threads_exit),
           TEST(nothing_of_an_ended_context_is_found_in_the_next),
           TEST(two_contexts_in_one_thread_share_nothing),
           TEST(many_contexts_take_turns_in_one_thread));

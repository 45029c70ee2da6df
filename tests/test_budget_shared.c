// Threads that share a budget: it is never passed, whatever they do at once, and nobody is refused
// earlier than budget.h says.
//
// What is held is counted a second time, by the test: each thread adds a block's bytes to an atomic
// counter after it was granted and takes them off before it is undone. So the counter is never
// above what the library has granted, and a counter above the budget proves that the budget was
// passed.
#include "core_fixture.h"

#include <stdio.h>

enum { THREADS = 8 };

typedef struct shared_budget {
    fa_context *context;
    fa_tag tag; // The one with the budget.
    size_t budget;
    fa_tag children[6];
    size_t allocations; // Per thread.
    atomic_size_t held;
    atomic_size_t held_peak;
    atomic_size_t granted;
    atomic_size_t refused;
} shared_budget;

typedef struct worker {
    shared_budget *shared;
    unsigned number;
    check_rng rng;
    fa_arena *own;
    size_t in_frame; // Bytes held.
    size_t in_own;
    size_t in_scratch;
} worker;

static void hold(worker *self, size_t bytes) {
    shared_budget *shared = self->shared;
    size_t held = atomic_fetch_add(&shared->held, bytes) + bytes;
    size_t peak = atomic_load(&shared->held_peak);
    while (held > peak && !atomic_compare_exchange_weak(&shared->held_peak, &peak, held)) {
    }
    if (held > shared->budget) {
        FAIL("%zu bytes are held, the budget is %zu", held, shared->budget);
    }
}

static void drop(worker *self, size_t *bytes) {
    atomic_fetch_sub(&self->shared->held, *bytes);
    *bytes = 0;
}

// Allocates once; checks what a refusal says.
static void take(worker *self, fa_arena *arena, size_t size, size_t *holder, fa_tag tag) {
    if (fa_arena_alloc(arena, size) != NULL) {
        *holder += rounded(size);
        atomic_fetch_add(&self->shared->granted, 1);
        hold(self, rounded(size));
        return;
    }
    atomic_fetch_add(&self->shared->refused, 1);
    const fa_error *error = fa_last_error();
    if (error->code != 302 || error->bytes != size || error->tag.id != tag.id ||
        error->limit != self->shared->budget) {
        FAIL("refused %zu bytes for tag %u: %s", size, (unsigned)tag.id, error->text);
    }
}

static void work_in_scratch(worker *self) {
    fa_context *ctx = self->shared->context;
    fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
    for (int i = 0; i < 3; i++) {
        size_t size = check_rng_size(&self->rng, 8000) + 1;
        take(self, scratch.arena, size, &self->in_scratch, fa_tag_current(ctx));
    }
    drop(self, &self->in_scratch);
    fa_scratch_end(scratch);
}

static size_t work_in_frame(worker *self) {
    shared_budget *shared = self->shared;
    fa_context *ctx = shared->context;
    fa_arena *frame = fa_frame_begin(ctx);
    REQUIRE_NOT_NULL(frame);
    size_t count = check_rng_between(&self->rng, 1, 300);
    fa_tag tag = shared->tag;
    fa_mark mark = fa_arena_mark(frame);
    size_t at_mark = 0;
    for (size_t i = 0; i < count; i++) {
        if (check_rng_chance(&self->rng, 5)) {
            tag = shared->children[check_rng_below(&self->rng, 6)];
            CHECK_EQ(fa_tag_pop(ctx), FA_OK);
            CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
        }
        size_t size = check_rng_size(&self->rng, 16000) + 1;
        take(self, frame, size, &self->in_frame, fa_tag_current(ctx));
        if (check_rng_chance(&self->rng, 1)) {
            size_t undone = self->in_frame - at_mark;
            self->in_frame = at_mark;
            drop(self, &undone);
            CHECK_EQ(fa_arena_rewind(frame, mark), FA_OK);
        } else if (check_rng_chance(&self->rng, 1)) {
            mark = fa_arena_mark(frame);
            at_mark = self->in_frame;
        } else if (check_rng_chance(&self->rng, 1)) {
            work_in_scratch(self);
        } else if (check_rng_chance(&self->rng, 1)) {
            check_thread_yield(); // So that frames of many threads are open at once.
        }
    }
    drop(self, &self->in_frame);
    fa_frame_end(frame);
    return count;
}

static void work(void *arg) {
    worker *self = (worker *)arg;
    shared_budget *shared = self->shared;
    self->rng = check_rng_make(check_seed() + self->number);
    fa_arena_desc desc = {.tag = shared->children[self->number % 6], .chunk_size = 64 * KIB};
    REQUIRE_EQ(fa_arena_create(shared->context, &desc, &self->own), FA_OK);
    REQUIRE_EQ(fa_tag_push(shared->context, shared->tag), FA_OK);
    for (size_t done = 0; done < shared->allocations;) {
        done += work_in_frame(self);
        take(self, self->own, check_rng_size(&self->rng, 5000) + 1, &self->in_own, desc.tag);
        if (check_rng_chance(&self->rng, 10)) {
            drop(self, &self->in_own);
            fa_arena_reset(self->own);
        }
    }
    drop(self, &self->in_own);
    fa_arena_destroy(self->own);
}

static void run_workers(size_t budget, size_t allocations, const fa_config *config,
                        bool use_children) {
    static shared_budget shared;
    static worker workers[THREADS];
    memset(&shared, 0, sizeof(shared));
    shared.context = context_open(config);
    shared.budget = budget;
    shared.allocations = check_scale(allocations) / THREADS;
    shared.tag = fa_tag_register(shared.context, "shared");
    for (unsigned i = 0; i < 6; i++) {
        char path[32];
        snprintf(path, sizeof(path), "shared/part%u", i);
        shared.children[i] = use_children ? fa_tag_register(shared.context, path) : shared.tag;
    }
    CHECK_EQ(fa_budget_set(shared.context, shared.tag, &(fa_budget){.hard = budget}), FA_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (worker){.shared = &shared, .number = i};
    }
    check_threads_run(THREADS, work, workers, sizeof(workers[0]));
    fa_tag_stats_result stats = tag_stats_of(shared.context, shared.tag);
    check_note("budget %zu, peak %zu held %zu, %zu granted, %zu refused", budget, stats.peak_bytes,
               atomic_load(&shared.held_peak), atomic_load(&shared.granted),
               atomic_load(&shared.refused));
    CHECK_LE(atomic_load(&shared.held_peak), budget);
    CHECK_LE(stats.peak_bytes, budget);
    CHECK_GE(stats.peak_bytes, atomic_load(&shared.held_peak));
    CHECK_EQ(stats.current_bytes, 0);
    CHECK_EQ(stats.refusals, atomic_load(&shared.refused));
    CHECK_EQ(stats_of(shared.context).refusals, atomic_load(&shared.refused));
    CHECK_EQ(atomic_load(&shared.held), 0);
    // The budget was worked against, not just never reached.
    CHECK_GT(atomic_load(&shared.refused), atomic_load(&shared.granted) / 1000);
    CHECK_GT(atomic_load(&shared.granted), atomic_load(&shared.refused) / 10);
    CHECK_EQ(fa_budget_remaining(shared.context, shared.tag), budget); // Nothing is lost.
    context_close(shared.context);
}

static void eight_threads_never_pass_a_shared_budget(void) {
    run_workers(300001, 1000000, NULL, false);
}

static void eight_threads_never_pass_their_tags_common_parent_s_budget(void) {
    run_workers(250000, 500000, NULL, true);
}

static void eight_threads_with_frames_in_flight_never_pass_a_shared_budget(void) {
    // What is held in flight is more than the test counts: it has dropped it at the end.
    run_workers(700000, 300000, &(fa_config){.frames_in_flight = 3}, true);
}

// ---- How early a refusal may come ----

typedef struct margin_thread {
    fa_context *context;
    check_barrier *barrier;
    const fa_tag *tags;
    size_t tag_count;
    size_t used;
} margin_thread;

// Uses little of every tag, so that as much as possible is leased and not used.
static void use_little(void *arg) {
    margin_thread *self = (margin_thread *)arg;
    fa_context *ctx = self->context;
    check_barrier_wait(
        self->barrier); // One after the other is not needed, but all before the rest.
    fa_arena *frame = fa_frame_begin(ctx);
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < self->tag_count; i++) {
            CHECK_EQ(fa_tag_push(ctx, self->tags[i]), FA_OK);
            CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
            fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
            CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 16));
            fa_scratch_end(scratch);
            CHECK_EQ(fa_tag_pop(ctx), FA_OK);
            self->used += 16;
        }
    }
    check_barrier_wait(self->barrier);
    check_barrier_wait(self->barrier); // The test has used the rest.
    fa_frame_end(frame);
    check_barrier_wait(self->barrier);
    check_barrier_wait(self->barrier); // Again, now that the frames have ended.
}

// Uses all there is, in pieces of 16 bytes.
static size_t use_the_rest(fa_context *ctx, fa_tag tag) {
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    size_t remaining = fa_budget_remaining(ctx, tag);
    size_t used = fill_up(frame, 16) * 16;
    CHECK_EQ(used, remaining / 16 * 16); // What it said before.
    fa_frame_end(frame);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    return used;
}

static void check_margin(size_t budget, size_t others, size_t tag_count) {
    fa_context *ctx = context_open(NULL);
    fa_tag tags[40];
    for (unsigned i = 0; i < tag_count; i++) {
        char path[32];
        snprintf(path, sizeof(path), "shared/part%u", i);
        tags[i] = fa_tag_register(ctx, path);
    }
    fa_tag shared = fa_tag_parent(ctx, tags[0]);
    CHECK_EQ(fa_budget_set(ctx, shared, &(fa_budget){.hard = budget}), FA_OK);
    margin_thread all[THREADS];
    check_thread *threads[THREADS];
    check_barrier *barrier = check_barrier_create(others + 1);
    for (size_t i = 0; i < others; i++) {
        all[i] = (margin_thread){ctx, barrier, tags, tag_count, 0};
        threads[i] = check_thread_start(use_little, &all[i]);
    }
    check_barrier_wait(barrier);
    check_barrier_wait(barrier);
    size_t in_use = 0;
    for (size_t i = 0; i < others; i++) {
        in_use += all[i].used;
    }
    size_t got = use_the_rest(ctx, shared);
    check_note("budget %zu, %zu other threads use %zu in %zu tags: got %zu", budget, others, in_use,
               tag_count, got);
    CHECK_LE(in_use + got, budget);
    CHECK_GE(in_use + got + others * (budget / 16) + 15, budget);
    check_barrier_wait(barrier);
    check_barrier_wait(barrier);
    got = use_the_rest(ctx, shared);
    CHECK_GE(got + others * (budget / 64) + 15, budget);
    check_barrier_wait(barrier);
    for (size_t i = 0; i < others; i++) {
        check_thread_join(threads[i]);
    }
    CHECK_EQ(use_the_rest(ctx, shared), budget / 16 * 16); // Threads that are gone hold nothing.
    check_barrier_destroy(barrier);
    context_close(ctx);
}

static void a_refusal_is_early_by_less_than_the_margin(void) {
    const size_t budgets[] = {64 * KIB, 300001, MIB, 16 * MIB};
    for (size_t i = 0; i < 4; i++) {
        check_margin(budgets[i], 1, 1);
        check_margin(budgets[i], 1, 40);
        check_margin(budgets[i], 7, 1);
        check_margin(budgets[i], 7, 10);
    }
}

// ---- Changing a budget that others use ----

static void use_before_and_after(void *arg) {
    margin_thread *self = (margin_thread *)arg;
    fa_context *ctx = self->context;
    CHECK_EQ(fa_tag_push(ctx, self->tags[0]), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 100));
    check_barrier_wait(self->barrier);
    check_barrier_wait(self->barrier); // The budget is set.
    fa_frame_end(frame);
    frame = fa_frame_begin(ctx);
    self->used = fill_up(frame, 16);
    CHECK_EQ(fa_last_error()->code, 302);
    fa_frame_end(frame);
}

static void a_new_budget_holds_for_other_threads_from_their_next_frame_on(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    check_barrier *barrier = check_barrier_create(2);
    margin_thread other = {ctx, barrier, &tag, 1, 0};
    check_thread *thread = check_thread_start(use_before_and_after, &other);
    check_barrier_wait(barrier);
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = 16000}), FA_OK);
    check_barrier_wait(barrier);
    check_thread_join(thread);
    CHECK_EQ(other.used, 1000);
    check_barrier_destroy(barrier);
    context_close(ctx);
}

typedef struct changer {
    fa_context *context;
    fa_tag tag;
    unsigned number;
    atomic_size_t *told;
} changer;

static void count_told(const fa_budget_event *event, void *user) {
    CHECK_STR_EQ(event->tag_path, "tag");
    atomic_fetch_add((atomic_size_t *)user, 1);
}

static void use_or_change(void *arg) {
    const changer *self = (const changer *)arg;
    fa_context *ctx = self->context;
    check_rng rng = check_rng_make(check_seed() + self->number);
    CHECK_EQ(fa_tag_push(ctx, self->tag), FA_OK);
    for (size_t i = 0; i < check_scale(3000); i++) {
        if (self->number == 0) {
            fa_budget budget = {.soft = check_rng_between(&rng, 1, 50000),
                                .hard = check_rng_between(&rng, 50000, 200000),
                                .callback = count_told,
                                .user = self->told};
            CHECK_EQ(fa_budget_set(ctx, self->tag, i % 5 == 0 ? NULL : &budget), FA_OK);
            (void)fa_budget_remaining(ctx, self->tag);
            (void)tag_stats_of(ctx, self->tag);
        }
        fa_arena *frame = fa_frame_begin(ctx);
        for (size_t k = 0; k < 20; k++) {
            (void)fa_arena_try_alloc(frame, check_rng_between(&rng, 1, 3000));
        }
        fa_frame_end(frame);
    }
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
}

static void budgets_may_change_while_threads_use_them(void) {
    atomic_size_t told = 0;
    changer all[4];
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    for (unsigned i = 0; i < 4; i++) {
        all[i] = (changer){ctx, tag, i, &told};
    }
    check_threads_run(4, use_or_change, all, sizeof(all[0]));
    CHECK_GT(atomic_load(&told), 0);
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 0);
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = 16000}), FA_OK);
    CHECK_EQ(fa_budget_remaining(ctx, tag), 16000); // Every lease has come back.
    context_close(ctx);
}

static void cross_and_meet(void *arg) {
    margin_thread *self = (margin_thread *)arg;
    fa_context *ctx = self->context;
    CHECK_EQ(fa_tag_push(ctx, self->tags[0]), FA_OK);
    for (int i = 0; i < 50; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 20000));
        check_barrier_wait(self->barrier); // All together are above the line now.
        fa_frame_end(frame);
        CHECK_EQ(fa_thread_detach(ctx), FA_OK); // So that nothing stays leased.
        CHECK_EQ(fa_tag_push(ctx, self->tags[0]), FA_OK);
        check_barrier_wait(self->barrier);
    }
}

static void a_soft_line_crossed_by_many_threads_is_told_once(void) {
    atomic_size_t told = 0;
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    fa_budget budget = {.soft = 100000, .callback = count_told, .user = &told};
    CHECK_EQ(fa_budget_set(ctx, tag, &budget), FA_OK);
    check_barrier *barrier = check_barrier_create(THREADS);
    margin_thread shared = {ctx, barrier, &tag, 1, 0};
    check_threads_run(THREADS, cross_and_meet, &shared, 0);
    CHECK_EQ(atomic_load(&told), 50);
    check_barrier_destroy(barrier);
    context_close(ctx);
}

TEST_SUITE(budget_shared, TEST(eight_threads_never_pass_a_shared_budget),
           TEST(eight_threads_never_pass_their_tags_common_parent_s_budget),
           TEST(eight_threads_with_frames_in_flight_never_pass_a_shared_budget),
           TEST(a_refusal_is_early_by_less_than_the_margin),
           TEST(a_new_budget_holds_for_other_threads_from_their_next_frame_on),
           TEST(budgets_may_change_while_threads_use_them),
           TEST(a_soft_line_crossed_by_many_threads_is_told_once));

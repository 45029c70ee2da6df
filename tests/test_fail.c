// What a failing call tells: fa_last_error() of the thread, the report function and what it may do,
// quiet variants, counters, and the function that watches allocations.
#include "core_fixture.h"

#include <framealloc/vec.h>

#include <stdio.h>
#include <stdlib.h>

static report_log reports;

// ---- fa_last_error() ---------------------------------------------------------------------------

#define TEN "0123456789"
#define LONGEST_PATH TEN TEN TEN TEN TEN TEN TEN TEN TEN "abcde" // 95 bytes.
#define LONGEST_NAME TEN TEN TEN "a"                             // 31 bytes.

static char whole_line[1024];

static void keep_line(const fa_report *report, void *user) {
    (void)user;
    CHECK_LT(fa_report_format(report, whole_line, sizeof(whole_line)), sizeof(whole_line));
}

// The longest names and numbers there are do not cut the sentence short.
static void the_text_is_whole_however_long_the_names_are(void) {
    fa_context *ctx = context_open(NULL);
    CHECK_EQ((int)fa_report_set(ctx, keep_line, NULL), FA_OK);
    CHECK_EQ((int)fa_thread_attach(ctx, LONGEST_NAME), FA_OK);
    fa_tag tag = fa_tag_register(ctx, LONGEST_PATH);
    CHECK_NE(tag.id, 0);
    fa_arena *arena = NULL;
    const fa_arena_desc desc = {.name = LONGEST_NAME, .tag = tag};
    REQUIRE_EQ((int)fa_arena_create(ctx, &desc, &arena), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    volatile size_t size = SIZE_MAX;
    CHECK_NULL(fa_arena_alloc(arena, size));
    const fa_error *error = fa_last_error();
    CHECK_STR_EQ(error->tag_path, LONGEST_PATH);
    CHECK_STR_EQ(error->thread, LONGEST_NAME);
    CHECK_STR_EQ(error->where, LONGEST_NAME);
    CHECK_EQ(error->bytes, SIZE_MAX);
    CHECK_STR_EQ(error->text, whole_line);
    CHECK_STR_HAS(error->text, LONGEST_PATH);
    fa_frame_end(frame);
    fa_arena_destroy(arena);
    context_close(ctx);
}

static void names_beyond_the_longest_are_cut(void) {
    fa_context *ctx = context_open(NULL);
    CHECK_EQ((int)fa_thread_attach(ctx, LONGEST_NAME "bcd"), FA_OK);
    fa_arena *arena = NULL;
    const fa_arena_desc desc = {.name = LONGEST_NAME "bcd"};
    REQUIRE_EQ((int)fa_arena_create(ctx, &desc, &arena), FA_OK);
    CHECK_NULL(fa_arena_alloc_aligned(arena, 16, 3));
    CHECK_STR_EQ(fa_last_error()->thread, LONGEST_NAME);
    CHECK_STR_EQ(fa_last_error()->where, LONGEST_NAME);
    CHECK_EQ(fa_tag_register(ctx, LONGEST_PATH "f").id, 0);
    CHECK_EQ(fa_last_error()->code, 805);
    CHECK_EQ(strlen(fa_last_error()->where), 31);
    fa_arena_destroy(arena);
    context_close(ctx);
}

// Until the next failing call the pointer and its strings stay, whatever else is called.
static void an_error_stays_as_it_is_until_the_next(void) {
    fa_context *ctx = context_open(NULL);
    CHECK_EQ((int)fa_thread_attach(ctx, "first"), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NULL(fa_arena_alloc_aligned(frame, 48, 24));
    const fa_error *error = fa_last_error();
    const fa_error before = *error;
    char text[512];
    text_copy(text, sizeof(text), error->text);
    CHECK_EQ((int)fa_thread_attach(ctx, "second"), FA_OK);
    fa_frame_end(frame);
    CHECK_NULL(fa_frame_current(ctx));
    frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 1000));
    CHECK_EQ(fa_last_error(), error);
    CHECK_EQ(error->code, 18);
    CHECK_EQ(error->bytes, before.bytes);
    CHECK_EQ(error->frame, 1);
    CHECK_EQ(error->text, before.text);
    CHECK_STR_EQ(error->thread, "first");
    CHECK_STR_EQ(error->text, text);
    CHECK_EQ((int)fa_tag_pop(ctx), FA_ERR_INVALID);
    CHECK_EQ(fa_last_error()->code, 803);
    CHECK_EQ(fa_last_error()->frame, 2);
    CHECK_STR_EQ(fa_last_error()->thread, "second");
    CHECK_STR_HAS(fa_last_error()->text, "FA803");
    fa_frame_end(frame);
    context_close(ctx);
}

// The sentence is made when it is asked for, out of what was known when the call failed.
static void the_text_is_about_the_moment_of_the_failure(void) {
    fa_context *ctx = context_open(NULL);
    CHECK_EQ((int)fa_thread_attach(ctx, "worker"), FA_OK);
    fa_arena *arena = NULL;
    const fa_arena_desc desc = {.name = "level", .tag = fa_tag_register(ctx, "game/level")};
    REQUIRE_EQ((int)fa_arena_create(ctx, &desc, &arena), FA_OK);
    CHECK_NULL(fa_arena_alloc_aligned(arena, 48, 24));
    fa_arena_destroy(arena);
    CHECK_EQ((int)fa_thread_attach(ctx, "renamed"), FA_OK);
    fa_frame_end(fa_frame_begin(ctx));
    context_close(ctx);
    CHECK_STR_HAS(fa_last_error()->text, "FA018 error: ");
    CHECK_STR_HAS(fa_last_error()->text, "\"game/level\"");
    CHECK_STR_HAS(fa_last_error()->text, "\"worker\"");
    CHECK_STR_HAS(fa_last_error()->text, "\"level\"");
}

static void clearing_forgets_everything(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NULL(fa_arena_alloc_aligned(frame, 48, 24));
    CHECK_EQ(fa_last_error()->code, 18);
    fa_last_error_clear();
    const fa_error *error = fa_last_error();
    CHECK_EQ((int)error->result, FA_OK);
    CHECK_EQ(error->code, 0);
    CHECK_EQ(error->bytes, 0);
    CHECK_EQ(error->limit, 0);
    CHECK_EQ(error->tag.id, 0);
    CHECK_EQ(error->frame, 0);
    CHECK_STR_EQ(error->tag_path, "");
    CHECK_STR_EQ(error->thread, "");
    CHECK_STR_EQ(error->where, "");
    CHECK_STR_EQ(error->text, fa_result_message(FA_OK));
    fa_frame_end(frame);
    context_close(ctx);
}

// ---- One error for each thread -----------------------------------------------------------------

enum { THREADS = 6 };

typedef struct failing_thread {
    fa_context *context;
    check_barrier *barrier;
    size_t number;
    size_t reports; // Only written by this thread.
} failing_thread;

static _Thread_local failing_thread *this_thread;

static void count_report(const fa_report *report, void *user) {
    (void)user;
    CHECK_EQ(report->bytes, this_thread->number + 1);
    CHECK_STR_EQ(report->thread, fa_last_error()->thread);
    this_thread->reports += 1;
}

static void fail_in_step(void *arg) {
    failing_thread *self = arg;
    char name[16];
    snprintf(name, sizeof(name), "worker %zu", self->number);
    this_thread = self;
    CHECK_EQ((int)fa_last_error()->result, FA_OK); // A new thread starts with none.
    CHECK_EQ((int)fa_thread_attach(self->context, name), FA_OK);
    fa_arena *frame = fa_frame_begin(self->context);
    REQUIRE_NOT_NULL(frame);
    size_t rounds = check_scale(200);
    for (size_t i = 0; i < rounds; i++) {
        check_barrier_wait(self->barrier);
        CHECK_NULL(fa_arena_alloc_aligned(frame, self->number + 1, 3));
        check_barrier_wait(self->barrier);
        // All others have failed since as well.
        CHECK_EQ(fa_last_error()->bytes, self->number + 1);
        CHECK_STR_EQ(fa_last_error()->thread, name);
        CHECK_STR_HAS(fa_last_error()->text, name);
    }
    fa_frame_end(frame);
    CHECK_EQ(self->reports, rounds);
}

static void threads_that_fail_together_see_their_own_errors(void) {
    failing_thread threads[THREADS];
    fa_context *ctx = context_open(NULL);
    check_barrier *barrier = check_barrier_create(THREADS);
    CHECK_EQ((int)fa_report_set(ctx, count_report, NULL), FA_OK);
    for (size_t i = 0; i < THREADS; i++) {
        threads[i] = (failing_thread){ctx, barrier, i, 0};
    }
    check_threads_run(THREADS, fail_in_step, threads, sizeof(threads[0]));
    CHECK_EQ((int)fa_last_error()->result, FA_OK); // None of them is ours.
    CHECK_EQ(stats_of(ctx).refusals, THREADS * check_scale(200));
    check_barrier_destroy(barrier);
    context_close(ctx);
}

// ---- What a report function may do -------------------------------------------------------------

static void fail_otherwise(const fa_report *report, void *user) {
    CHECK_EQ(report->info->code, 3);
    CHECK_EQ(fa_last_error()->code, 3); // What is reported is recorded already.
    CHECK_EQ((int)fa_tag_pop(user), FA_ERR_INVALID);
    CHECK_EQ(fa_last_error()->code, 803);
}

// What a report function does wrong is not taken for what the reported call did wrong.
static void a_failing_report_function_does_not_hide_the_failure(void) {
    static _Alignas(16) unsigned char memory[64];
    fa_context *ctx = context_open(NULL);
    CHECK_EQ((int)fa_report_set(ctx, fail_otherwise, ctx), FA_OK);
    fa_arena *arena = NULL;
    const fa_arena_desc desc = {.name = "full", .memory = memory, .memory_size = sizeof(memory)};
    REQUIRE_EQ((int)fa_arena_create(ctx, &desc, &arena), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(arena, 64));
    CHECK_NULL(fa_arena_alloc(arena, 32));
    CHECK_EQ(fa_last_error()->code, 3);
    CHECK_EQ(fa_last_error()->bytes, 32);
    CHECK_STR_EQ(fa_last_error()->where, "full");
    CHECK_STR_HAS(fa_last_error()->text, "FA003");
    // Functions that pass a result on pass on that of the allocation.
    CHECK_EQ((int)fa_arena_defer(arena, free, NULL), FA_ERR_OUT_OF_MEMORY);
    FA_VEC(int) vec = {0};
    CHECK_EQ((int)fa_vec_push(arena, &vec, 1), FA_ERR_OUT_OF_MEMORY);
    fa_arena_destroy(arena);
    context_close(ctx);
}

// A report function with a state of its own, which it gives up while it runs.
typedef struct last_words {
    fa_context *context;
    fa_report_fn next;
} last_words;

static void free_itself(const fa_report *report, void *user) {
    last_words *self = user;
    CHECK_EQ(report->info->code, 803);
    CHECK_EQ((int)fa_report_set(self->context, self->next, self->next == NULL ? NULL : &reports),
             FA_OK);
    memset(self, 0xDD, sizeof(*self));
    free(self);
}

static void set_last_words(fa_context *ctx, fa_report_fn next) {
    last_words *self = malloc(sizeof(*self));
    REQUIRE_NOT_NULL(self);
    *self = (last_words){ctx, next};
    CHECK_EQ((int)fa_report_set(ctx, free_itself, self), FA_OK);
}

static void a_report_function_may_end_or_replace_itself(void) {
    fa_context *ctx = context_open(NULL);
    memset(&reports, 0, sizeof(reports));
    set_last_words(ctx, NULL);
    CHECK_EQ((int)fa_tag_pop(ctx), FA_ERR_INVALID);
    CHECK_EQ((int)fa_tag_pop(ctx), FA_ERR_INVALID); // Nobody is there to be told.
    set_last_words(ctx, log_report);
    CHECK_EQ((int)fa_tag_pop(ctx), FA_ERR_INVALID);
    log_empty(&reports);
    CHECK_EQ((int)fa_tag_pop(ctx), FA_ERR_INVALID); // The next one is.
    (void)log_single(&reports, 803);
    context_close(ctx);
}

static void fail_in_another_context(const fa_report *report, void *user) {
    CHECK_EQ(report->info->code, 803);
    CHECK_EQ((int)fa_phase_end(user, NULL), FA_ERR_INVALID);
    CHECK_EQ(fa_last_error()->code, 804);
}

static void problems_inside_a_report_are_not_reported_by_any_context(void) {
    fa_context *ctx = context_open(NULL);
    fa_context *other = context_open(NULL);
    log_attach(other, &reports);
    CHECK_EQ((int)fa_report_set(ctx, fail_in_another_context, other), FA_OK);
    CHECK_EQ((int)fa_tag_pop(ctx), FA_ERR_INVALID);
    log_empty(&reports);
    CHECK_EQ((int)fa_phase_end(other, NULL), FA_ERR_INVALID); // Outside they are.
    (void)log_single(&reports, 804);
    context_close(other);
    context_close(ctx);
}

// A report function that takes its time holds nobody else's report back.
typedef struct slow_report {
    check_barrier *barrier;
    atomic_size_t count;
} slow_report;

static void wait_for_the_other(const fa_report *report, void *user) {
    slow_report *slow = user;
    CHECK_EQ(report->info->code, 803);
    atomic_fetch_add(&slow->count, 1);
    check_barrier_wait(slow->barrier); // Both are in here at once, or this never returns.
}

static void pop_nothing(void *ctx) {
    CHECK_EQ((int)fa_tag_pop(ctx), FA_ERR_INVALID);
}

static void threads_report_at_the_same_time(void) {
    fa_context *ctx = context_open(NULL);
    slow_report slow = {.barrier = check_barrier_create(2)};
    CHECK_EQ((int)fa_report_set(ctx, wait_for_the_other, &slow), FA_OK);
    check_threads_run(2, pop_nothing, ctx, 0);
    CHECK_EQ(atomic_load(&slow.count), 2);
    check_barrier_destroy(slow.barrier);
    context_close(ctx);
}

// ---- Quiet variants ----------------------------------------------------------------------------

static void a_quiet_refusal_is_counted_and_recorded(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_tag tag = fa_tag_register(ctx, "cache");
    CHECK_EQ((int)fa_budget_set(ctx, tag, &(fa_budget){.hard = 4096}), FA_OK);
    fa_arena *arena = NULL;
    const fa_arena_desc desc = {.name = "cache", .tag = tag};
    REQUIRE_EQ((int)fa_arena_create(ctx, &desc, &arena), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ((int)fa_tag_push(ctx, tag), FA_OK);
    fa_arena *const arenas[2] = {arena, frame};
    for (size_t i = 0; i < 2; i++) {
        fa_last_error_clear();
        CHECK_NULL(fa_arena_try_alloc(arenas[i], 5000));
        CHECK_EQ(fa_last_error()->code, 302);
        CHECK_EQ(fa_last_error()->bytes, 5000);
        CHECK_EQ(fa_last_error()->limit, 4096);
        CHECK_EQ(fa_last_error()->tag.id, tag.id);
        fa_arena_stats_result stats;
        CHECK_EQ((int)fa_arena_stats(arenas[i], &stats), FA_OK);
        CHECK_EQ(stats.refusals, 1);
        CHECK_EQ(stats_of(ctx).refusals, i + 1);
        CHECK_EQ(tag_stats_of(ctx, tag).refusals, i + 1);
    }
    CHECK_EQ(thread_stats_of(ctx, NULL).refusals, 1); // The arena is not the thread's.
    CHECK_NOT_NULL(fa_arena_try_alloc(frame, 1000));
    log_empty(&reports);
    CHECK_EQ((int)fa_tag_pop(ctx), FA_OK);
    fa_frame_end(frame);
    fa_arena_destroy(arena);
    context_close(ctx);
}

static void try_in_strict_mode(void *unused) {
    (void)unused;
    const fa_config config = {.strict = FA_STRICT_WARNING};
    fa_context *ctx = context_open(&config);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ((int)fa_budget_set(ctx, FA_TAG_ROOT, &(fa_budget){.hard = 100}), FA_OK);
    CHECK_NULL(fa_arena_try_alloc(frame, 200));
    CHECK_EQ(fa_last_error()->code, 302);
    fa_frame_end(frame);
    context_close(ctx);
    printf("survived\n");
}

static void a_quiet_refusal_never_ends_the_program(void) {
    static check_child child;
    check_child_run(try_in_strict_mode, NULL, &child);
    CHECK(child.exited);
    CHECK_EQ(child.status, 0);
    CHECK_STR_EQ(child.text, "survived\n");
}

// ---- Watching ----------------------------------------------------------------------------------

typedef struct watcher {
    size_t count;
    fa_watch_event last;
    char arena[32];
} watcher;

static void see(const fa_watch_event *event, void *user) {
    watcher *self = user;
    self->count += 1;
    self->last = *event;
    text_copy(self->arena, sizeof(self->arena), event->arena);
}

// A program whose every allocation is known.
typedef struct watched {
    fa_context *context;
    check_rng rng;
    watcher seen;
    bool is_on;
    uint64_t expected; // Allocations made while watched.
    fa_tag tag;
    fa_tag other_tag;
    fa_arena *frame;
    fa_arena *own;
    fa_arena *arena; // The one the next operation uses: frame, scratch, or own.
    const char *name;
} watched;

// Operations that give one block of a known size and alignment.
static void *known_alloc(watched *w, size_t *size, size_t *align) {
    static const char word[] = "a word of twenty-odd bytes";
    *size = 1 + check_rng_size(&w->rng, 3000);
    *align = 16;
    switch (check_rng_below(&w->rng, 7)) {
    case 0:
        return fa_arena_alloc(w->arena, *size);
    case 1:
        *align = (size_t)32 << check_rng_below(&w->rng, 8);
        return fa_arena_alloc_aligned(w->arena, *size, *align);
    case 2:
        *size = 24 * (1 + *size % 50);
        return fa_arena_calloc(w->arena, *size / 24, 24, 8);
    case 3:
        *size = 24 * (1 + *size % 50);
        *align = 64;
        return fa_arena_alloc_array(w->arena, *size / 24, 24, 64);
    case 4:
        return fa_arena_try_alloc(w->arena, *size);
    case 5:
        *size = sizeof(word);
        return fa_arena_strdup(w->arena, word);
    default:
        *size = 1 + 5 + *size % 60;
        return fa_arena_printf(w->arena, "%0*d", (int)*size - 1, 1);
    }
}

static void check_event(const watched *w, const void *ptr, size_t size, size_t align) {
    const fa_watch_event *event = &w->seen.last;
    CHECK_EQ(event->context, w->context);
    CHECK_EQ(event->ptr, ptr);
    CHECK_EQ(event->size, size);
    CHECK_EQ(event->align, align);
    CHECK_EQ(event->tag.id, w->tag.id);
    CHECK_STR_EQ(w->seen.arena, w->name);
    if (w->arena == w->frame) {
        CHECK_EQ(event->frame, fa_frame_index(w->frame));
    }
}

// Operations of which only the number of allocations is known.
static size_t other_allocs(watched *w) {
    switch (check_rng_below(&w->rng, 6)) {
    case 0: {
        char *block = fa_arena_alloc(w->arena, 100);
        CHECK_NOT_NULL(fa_arena_resize(w->arena, block, 100, 50));  // None.
        CHECK_NOT_NULL(fa_arena_resize(w->arena, block, 50, 3000)); // In place.
        CHECK_NOT_NULL(fa_arena_alloc(w->arena, 1));
        CHECK_NOT_NULL(fa_arena_resize(w->arena, block, 3000, 3100)); // By moving.
        return 4;
    }
    case 1:
        CHECK_EQ((int)fa_arena_defer(w->arena, free, NULL), FA_OK);
        return 1;
    case 2:
        CHECK_NOT_NULL(fa_tagged_alloc(fa_tagged_make(w->context, w->other_tag), 10));
        CHECK_EQ(w->is_on ? w->seen.last.tag.id : w->other_tag.id, w->other_tag.id);
        return 1;
    case 3: {
        FA_VEC(int) vec = {0};
        CHECK_EQ((int)fa_vec_push(w->arena, &vec, 1), FA_OK);
        CHECK_EQ((int)fa_vec_push(w->arena, &vec, 2), FA_OK);
        return 1;
    }
    case 4: // Refused ones are not seen.
        CHECK_NULL(fa_arena_alloc_aligned(w->arena, 16, 3));
        CHECK_NULL(fa_arena_calloc(w->arena, 0, 8, 8));
        return 0;
    default: {
        fa_mark mark = fa_arena_mark(w->arena);
        CHECK_EQ((int)fa_arena_rewind(w->arena, mark), FA_OK);
        return 0;
    }
    }
}

static void watched_step(watched *w) {
    size_t before = w->seen.count;
    if (check_rng_chance(&w->rng, 60)) {
        size_t size = 0;
        size_t align = 0;
        const void *ptr = known_alloc(w, &size, &align);
        REQUIRE_NOT_NULL(ptr);
        w->expected += w->is_on ? 1 : 0;
        CHECK_EQ(w->seen.count, before + (w->is_on ? 1 : 0));
        if (w->is_on) {
            check_event(w, ptr, size, align);
        }
        return;
    }
    size_t made = other_allocs(w);
    w->expected += w->is_on ? made : 0;
    CHECK_EQ(w->seen.count, before + (w->is_on ? made : 0));
}

static void toggle(watched *w) {
    w->is_on = !w->is_on;
    CHECK_EQ((int)fa_context_checks_set(w->context, w->is_on ? FA_CHECK_WATCH : 0), FA_OK);
    CHECK_EQ(stats_of(w->context).allocations, w->expected);
}

static void watched_frame(watched *w) {
    w->frame = fa_frame_begin(w->context);
    REQUIRE_NOT_NULL(w->frame);
    CHECK_EQ((int)fa_tag_push(w->context, w->tag), FA_OK);
    fa_scratch scratch = fa_scratch_begin(w->context, NULL, 0);
    fa_arena *const arenas[3] = {w->frame, scratch.arena, w->own};
    static const char *const names[3] = {"frame", "scratch", "own"};
    for (size_t i = 0; i < 60; i++) {
        size_t which = check_rng_below(&w->rng, 3);
        w->arena = arenas[which];
        w->name = names[which];
        watched_step(w);
        if (check_rng_chance(&w->rng, 5)) {
            toggle(w);
        }
    }
    fa_scratch_end(scratch);
    CHECK_EQ((int)fa_tag_pop(w->context), FA_OK);
    fa_frame_end(w->frame);
    fa_arena_reset(w->own);
}

static void every_allocation_is_seen_while_watched_and_none_otherwise(void) {
    watched w = {.context = context_open(NULL), .rng = check_rng_make(check_seed())};
    CHECK_EQ((int)fa_watch_set(w.context, see, &w.seen), FA_OK);
    w.tag = fa_tag_register(w.context, "watched");
    w.other_tag = fa_tag_register(w.context, "other");
    const fa_arena_desc desc = {.name = "own", .tag = w.tag, .chunk_size = 65536};
    REQUIRE_EQ((int)fa_arena_create(w.context, &desc, &w.own), FA_OK);
    for (size_t i = 0; i < check_scale(1000); i++) {
        check_note("frame %zu", i);
        watched_frame(&w);
    }
    CHECK_EQ(stats_of(w.context).allocations, w.expected);
    CHECK_EQ(w.seen.count, w.expected);
    fa_arena_destroy(w.own);
    context_close(w.context);
}

// ---- Watching from other threads ---------------------------------------------------------------

typedef struct watched_worker {
    fa_context *context;
    check_barrier *barrier;
    atomic_bool stop;
    size_t rounds;
} watched_worker;

static _Thread_local size_t seen_here;
static atomic_size_t seen_everywhere;

static void count_seen(const fa_watch_event *event, void *user) {
    (void)user;
    CHECK_NOT_NULL(event->ptr);
    seen_here += 1;
    atomic_fetch_add(&seen_everywhere, 1);
}

static void work_for_one_frame(fa_context *ctx, fa_arena *own) {
    fa_arena *frame = fa_frame_begin(ctx);
    REQUIRE_NOT_NULL(frame);
    fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
    for (size_t i = 0; i < 10; i++) {
        CHECK_NOT_NULL(fa_arena_alloc(frame, 64));
        CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 64));
        CHECK_NOT_NULL(fa_arena_alloc(own, 64));
    }
    fa_scratch_end(scratch);
    fa_frame_end(frame);
    fa_arena_reset(own);
}

static void work_in_step(void *arg) {
    watched_worker *self = arg;
    fa_arena *own = NULL;
    REQUIRE_EQ((int)fa_arena_create(self->context, NULL, &own), FA_OK);
    for (size_t i = 0; i < self->rounds; i++) {
        check_barrier_wait(self->barrier); // The main thread has switched.
        size_t before = seen_here;
        work_for_one_frame(self->context, own);
        CHECK_EQ(seen_here - before, i % 2 == 0 ? 30 : 0);
        check_barrier_wait(self->barrier);
    }
    fa_arena_destroy(own);
}

// What one thread switches, another follows from its next frame on, in all its arenas.
static void a_switch_reaches_another_thread_at_its_next_frame(void) {
    watched_worker worker = {.context = context_open(NULL),
                             .barrier = check_barrier_create(2),
                             .rounds = check_scale(400)};
    CHECK_EQ((int)fa_watch_set(worker.context, count_seen, NULL), FA_OK);
    check_thread *thread = check_thread_start(work_in_step, &worker);
    for (size_t i = 0; i < worker.rounds; i++) {
        uint32_t checks = i % 2 == 0 ? FA_CHECK_WATCH : 0;
        CHECK_EQ((int)fa_context_checks_set(worker.context, checks), FA_OK);
        check_barrier_wait(worker.barrier);
        check_barrier_wait(worker.barrier);
    }
    check_thread_join(thread);
    check_barrier_destroy(worker.barrier);
    context_close(worker.context);
}

static void work_until_stopped(void *arg) {
    watched_worker *self = arg;
    fa_arena *own = NULL;
    REQUIRE_EQ((int)fa_arena_create(self->context, NULL, &own), FA_OK);
    while (!atomic_load(&self->stop)) {
        work_for_one_frame(self->context, own);
    }
    fa_arena_destroy(own);
}

// Switches at any moment: what is counted is what was seen, and both ends are exact.
static void switching_while_threads_work_loses_no_count(void) {
    enum { WORKERS = 3 };
    watched_worker worker = {.context = context_open(NULL)};
    check_thread *threads[WORKERS];
    atomic_store(&seen_everywhere, 0);
    CHECK_EQ((int)fa_watch_set(worker.context, count_seen, NULL), FA_OK);
    for (size_t i = 0; i < WORKERS; i++) {
        threads[i] = check_thread_start(work_until_stopped, &worker);
    }
    check_rng rng = check_rng_make(check_seed());
    for (size_t i = 0; i < check_scale(600); i++) {
        uint32_t checks = check_rng_chance(&rng, 50) ? FA_CHECK_WATCH : 0;
        CHECK_EQ((int)fa_context_checks_set(worker.context, checks), FA_OK);
        if (check_rng_chance(&rng, 30)) {
            check_thread_yield();
        }
    }
    CHECK_EQ((int)fa_context_checks_set(worker.context, FA_CHECK_WATCH), FA_OK);
    while (atomic_load(&seen_everywhere) < 1000) {
        check_thread_yield(); // They all come to it.
    }
    atomic_store(&worker.stop, true);
    for (size_t i = 0; i < WORKERS; i++) {
        check_thread_join(threads[i]);
    }
    CHECK_EQ(stats_of(worker.context).allocations, atomic_load(&seen_everywhere));
    context_close(worker.context);
}

// ---- The watch function ------------------------------------------------------------------------

static void stop_seeing(const fa_watch_event *event, void *user) {
    size_t *count = user;
    *count += 1;
    CHECK_EQ((int)fa_watch_set(event->context, NULL, NULL), FA_OK);
}

static void a_watch_function_may_end_itself(void) {
    const fa_config config = {.checks = FA_CHECK_WATCH};
    fa_context *ctx = context_open(&config);
    size_t count = 0;
    CHECK_EQ((int)fa_watch_set(ctx, stop_seeing, &count), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    for (size_t i = 0; i < 5; i++) {
        CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
    }
    CHECK_EQ(count, 1);
    CHECK_EQ(stats_of(ctx).allocations, 5); // Counted with nobody looking.
    fa_frame_end(frame);
    context_close(ctx);
}

static void stop_watching(const fa_watch_event *event, void *user) {
    size_t *count = user;
    *count += 1;
    CHECK_EQ((int)fa_context_checks_set(event->context, 0), FA_OK);
}

static void a_watch_function_may_turn_watching_off(void) {
    const fa_config config = {.checks = FA_CHECK_WATCH};
    fa_context *ctx = context_open(&config);
    size_t count = 0;
    CHECK_EQ((int)fa_watch_set(ctx, stop_watching, &count), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    char *first = fa_arena_alloc(frame, 16);
    char *second = fa_arena_alloc(frame, 16);
    CHECK_EQ(second, first + 16);
    CHECK_EQ(count, 1);
    CHECK_EQ(stats_of(ctx).allocations, 1);
    CHECK_EQ(fa_arena_used(frame), 32);
    fa_frame_end(frame);
    context_close(ctx);
}

TEST_SUITE(fail, TEST(the_text_is_whole_however_long_the_names_are),
           TEST(names_beyond_the_longest_are_cut), TEST(an_error_stays_as_it_is_until_the_next),
           TEST(the_text_is_about_the_moment_of_the_failure), TEST(clearing_forgets_everything),
           TEST(threads_that_fail_together_see_their_own_errors),
           TEST(a_failing_report_function_does_not_hide_the_failure),
           TEST(a_report_function_may_end_or_replace_itself),
           TEST(problems_inside_a_report_are_not_reported_by_any_context),
           TEST(threads_report_at_the_same_time), TEST(a_quiet_refusal_is_counted_and_recorded),
           TEST(a_quiet_refusal_never_ends_the_program),
           TEST(every_allocation_is_seen_while_watched_and_none_otherwise),
           TEST(a_switch_reaches_another_thread_at_its_next_frame),
           TEST(switching_while_threads_work_loses_no_count), TEST(a_watch_function_may_end_itself),
           TEST(a_watch_function_may_turn_watching_off));

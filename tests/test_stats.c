// Figures: the calling thread's are exact at every moment, everybody's add up at boundaries, peaks
// are peaks.
#include "core_fixture.h"

#include <stdio.h>

enum { TAGS = 5, THREADS = 6 };

// ---- One thread ----

static void a_new_context_has_nothing_in_use(void) {
    fa_context *ctx = context_open(NULL);
    fa_stats stats = stats_of(ctx);
    CHECK_EQ(stats.frame_bytes, 0);
    CHECK_EQ(stats.pool_bytes, 0);
    CHECK_EQ(stats.heap_bytes, 0);
    CHECK_EQ(stats.total_bytes, 0);
    CHECK_EQ(stats.peak_bytes, 0);
    CHECK_EQ(stats.allocations, 0);
    CHECK_EQ(stats.frees, 0);
    CHECK_EQ(stats.refusals, 0);
    CHECK_EQ(stats.threads, 0);
    CHECK_EQ(stats.arenas, 0);
    CHECK_GT(stats.committed_bytes, 0); // Bookkeeping.
    CHECK_EQ(stats.overhead_bytes, stats.committed_bytes);
    CHECK_GE(stats.reserved_bytes, stats.committed_bytes);
    fa_thread_stats_result thread;
    CHECK_EQ(fa_thread_stats(ctx, NULL, &thread), FA_ERR_NOT_FOUND);
    CHECK_EQ(fa_thread_stats_all(ctx, &thread, 1), 0);
    context_close(ctx);
}

static void own_figures_are_exact_after_every_allocation(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    size_t used = 0;
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    for (size_t size = 1; size < 3000; size += 37) {
        CHECK_NOT_NULL(fa_arena_alloc(frame, size));
        used += rounded(size);
        fa_stats stats = stats_of(ctx);
        CHECK_EQ(stats.frame_bytes, used);
        CHECK_EQ(stats.total_bytes, used);
        CHECK_EQ(stats.peak_bytes, used);
        CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, used);
        CHECK_EQ(tag_stats_of(ctx, tag).peak_bytes, used);
        CHECK_EQ(tag_stats_of(ctx, tag).frame_peak_bytes, used);
        fa_thread_stats_result thread = thread_stats_of(ctx, NULL);
        CHECK_EQ(thread.frame_bytes, used);
        CHECK_EQ(thread.frame_peak_bytes, used);
        CHECK_EQ(thread.frame_index, 1);
        CHECK_EQ(thread.tag_depth, 1);
        CHECK_EQ(thread.total_bytes, 0); // Of finished frames.
    }
    fa_frame_end(frame);
    CHECK_EQ(stats_of(ctx).frame_bytes, 0);
    CHECK_EQ(stats_of(ctx).peak_bytes, used);
    CHECK_EQ(thread_stats_of(ctx, NULL).total_bytes, used);
    frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 160));
    fa_frame_end(frame);
    CHECK_EQ(thread_stats_of(ctx, NULL).total_bytes, used + 160);
    CHECK_EQ(stats_of(ctx).peak_bytes, used);
    CHECK_EQ(tag_stats_of(ctx, tag).frame_peak_bytes, used);
    context_close(ctx);
}

static void peaks_include_what_was_undone_since(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 160));
    fa_mark mark = fa_arena_mark(frame);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 16000));
    CHECK_EQ(fa_arena_rewind(frame, mark), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 320));
    fa_frame_end(frame);
    CHECK_EQ(stats_of(ctx).peak_bytes, 16160);
    CHECK_EQ(thread_stats_of(ctx, NULL).frame_peak_bytes, 16160);
    CHECK_EQ(tag_stats_of(ctx, tag).peak_bytes, 16160);
    CHECK_EQ(tag_stats_of(ctx, tag).frame_peak_bytes, 16160);
    frame = fa_frame_begin(ctx); // Undone by a resize.
    void *block = fa_arena_alloc(frame, 32000);
    CHECK_EQ(fa_arena_resize(frame, block, 32000, 16), block);
    fa_frame_end(frame);
    CHECK_EQ(stats_of(ctx).peak_bytes, 32000);
    CHECK_EQ(thread_stats_of(ctx, NULL).frame_peak_bytes, 32000);
    CHECK_EQ(tag_stats_of(ctx, tag).peak_bytes, 32000);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    context_close(ctx);
}

// Nobody looks while the frame is open, and an earlier frame used more.
static void peaks_of_tags_that_come_later_are_noted(void) {
    for (uint32_t in_flight = 1; in_flight <= 2; in_flight++) {
        fa_config config = {.frames_in_flight = in_flight};
        fa_context *ctx = context_open(&config);
        fa_tag tags[4];
        for (unsigned i = 0; i < 4; i++) {
            char path[16];
            snprintf(path, sizeof(path), "tag%u", i);
            tags[i] = fa_tag_register(ctx, path);
        }
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 32000));
        fa_frame_end(frame);
        for (size_t i = 0; i < 4; i++) { // A tag for the whole frame.
            CHECK_EQ(fa_tag_push(ctx, tags[i]), FA_OK);
            frame = fa_frame_begin(ctx);
            CHECK_NOT_NULL(fa_arena_alloc(frame, 1600 * (i + 1)));
            fa_frame_end(frame);
            CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        }
        frame = fa_frame_begin(ctx);
        for (size_t i = 0; i < 3; i++) { // Several in one.
            CHECK_EQ(fa_tag_push(ctx, tags[i]), FA_OK);
            CHECK_NOT_NULL(fa_arena_alloc(frame, 160 * (i + 20)));
            CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        }
        fa_frame_end(frame);
        const size_t want[4] = {3200, 3360, 4800, 6400};
        for (size_t i = 0; i < 4; i++) {
            CHECK_EQ(tag_stats_of(ctx, tags[i]).frame_peak_bytes, want[i]);
            if (in_flight == 1) {
                CHECK_EQ(tag_stats_of(ctx, tags[i]).peak_bytes, want[i]);
            }
        }
        context_close(ctx);
    }
}

static void scratch_within_a_frame_adds_to_the_peak(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 1600));
    fa_scratch outer = fa_scratch_begin(ctx, NULL, 0);
    CHECK_NOT_NULL(fa_arena_alloc(outer.arena, 3200));
    fa_scratch inner = fa_scratch_begin(ctx, &outer.arena, 1);
    CHECK_NOT_NULL(fa_arena_alloc(inner.arena, 6400));
    CHECK_EQ(stats_of(ctx).frame_bytes, 11200);
    CHECK_EQ(thread_stats_of(ctx, NULL).frame_bytes, 11200);
    fa_scratch_end(inner);
    fa_scratch_end(outer);
    CHECK_EQ(stats_of(ctx).frame_bytes, 1600);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 1600));
    fa_frame_end(frame);
    CHECK_EQ(stats_of(ctx).peak_bytes, 11200); // And not 3200 + 3200 + 6400.
    CHECK_EQ(thread_stats_of(ctx, NULL).frame_peak_bytes, 11200);
    context_close(ctx);
}

static void own_arenas_are_counted(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *arenas[4];
    for (uint32_t i = 0; i < 4; i++) {
        fa_arena_desc desc = {.chunk_size = i < 2 ? 0 : 16 * KIB};
        REQUIRE_EQ(fa_arena_create(ctx, &desc, &arenas[i]), FA_OK);
        CHECK_EQ(stats_of(ctx).arenas, i + 1);
        CHECK_NOT_NULL(fa_arena_alloc(arenas[i], 1600));
        CHECK_NOT_NULL(fa_arena_alloc(arenas[i], 1600));
    }
    CHECK_EQ(fa_thread_attach(ctx, NULL), FA_OK); // Arenas of the calling thread are exact.
    CHECK_EQ(stats_of(ctx).frame_bytes, 4 * 3200);
    CHECK_EQ(stats_of(ctx).peak_bytes, 4 * 3200);
    CHECK_EQ(thread_stats_of(ctx, NULL).frame_bytes, 0); // They belong to no thread.
    for (uint32_t i = 0; i < 4; i++) {
        fa_arena_destroy(arenas[i]);
        CHECK_EQ(stats_of(ctx).arenas, 3 - i);
        CHECK_EQ(stats_of(ctx).frame_bytes, (3 - i) * 3200);
    }
    CHECK_EQ(stats_of(ctx).peak_bytes, 4 * 3200);
    context_close(ctx);
}

static void refusals_of_every_kind_are_counted(void) {
    fa_config config = {.memory_limit = 4 * MIB};
    fa_context *ctx = context_open(&config);
    fa_tag tag = fa_tag_register(ctx, "tag");
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = 1600}), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    volatile size_t huge = SIZE_MAX / 2;              // Compilers warn of what they can see.
    CHECK_NULL(fa_arena_alloc(frame, 3200));          // Budget.
    CHECK_NULL(fa_arena_alloc(frame, 0));             // Size.
    CHECK_NULL(fa_arena_alloc_aligned(frame, 16, 3)); // Alignment.
    CHECK_NULL(fa_arena_calloc(frame, huge, 16, 16)); // Overflow.
    CHECK_NULL(fa_arena_try_alloc(frame, huge + 99)); // The same, quiet.
    CHECK_EQ(tag_stats_of(ctx, tag).refusals, 5);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    CHECK_NULL(fa_arena_alloc(frame, 64 * MIB)); // Memory.
    fa_frame_end(frame);
    CHECK_NULL(fa_arena_alloc(frame, 16)); // No frame.
    CHECK_EQ(thread_stats_of(ctx, NULL).refusals, 7);
    CHECK_EQ(stats_of(ctx).refusals, 7);
    CHECK_EQ(tag_stats_of(ctx, tag).refusals, 5);
    CHECK_EQ(tag_stats_of(ctx, FA_TAG_ROOT).refusals, 7);
    char memory[256];
    fa_arena *own = NULL;
    fa_arena_desc desc = {.memory = memory, .memory_size = sizeof(memory), .tag = tag};
    REQUIRE_EQ(fa_arena_create(ctx, &desc, &own), FA_OK);
    CHECK_NULL(fa_arena_alloc(own, 1000)); // Exhausted.
    CHECK_EQ(stats_of(ctx).refusals, 8);
    CHECK_EQ(tag_stats_of(ctx, tag).refusals, 6);
    CHECK_EQ(thread_stats_of(ctx, NULL).refusals, 7);
    fa_arena_destroy(own);
    CHECK_EQ(stats_of(ctx).refusals, 8);
    CHECK_EQ(fa_thread_detach(ctx), FA_OK); // Totals outlive threads.
    CHECK_EQ(stats_of(ctx).refusals, 8);
    CHECK_EQ(tag_stats_of(ctx, tag).refusals, 6);
    context_close(ctx);
}

static void watched_allocations_are_counted_everywhere(void) {
    fa_config config = {.checks = FA_CHECK_WATCH};
    fa_context *ctx = context_open(&config);
    fa_tag tag = fa_tag_register(ctx, "tag");
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    for (int i = 0; i < 7; i++) {
        CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
    }
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
    fa_frame_end(frame);
    fa_arena *own = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, &(fa_arena_desc){.tag = tag}, &own), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(own, 16));
    CHECK_EQ(tag_stats_of(ctx, tag).allocations, 8);
    CHECK_EQ(tag_stats_of(ctx, FA_TAG_ROOT).allocations, 9);
    CHECK_EQ(thread_stats_of(ctx, NULL).allocations, 8);
    CHECK_EQ(stats_of(ctx).allocations, 9);
    fa_arena_destroy(own);
    CHECK_EQ(fa_thread_detach(ctx), FA_OK);
    CHECK_EQ(stats_of(ctx).allocations, 9);
    CHECK_EQ(tag_stats_of(ctx, tag).allocations, 8);
    context_close(ctx);
}

static void missing_results_are_refused(void) {
    fa_context *ctx = context_open(NULL);
    CHECK_EQ(fa_stats_get(ctx, NULL), FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "out");
    CHECK_EQ(fa_tag_stats(ctx, FA_TAG_ROOT, NULL), FA_ERR_INVALID);
    CHECK_EQ(fa_thread_stats(ctx, NULL, NULL), FA_ERR_INVALID);
    fa_thread_stats_result stats;
    CHECK_EQ(fa_thread_stats(ctx, "nobody", &stats), FA_ERR_NOT_FOUND);
    context_close(ctx);
}

// ---- Several threads ----

typedef struct world {
    fa_context *context;
    check_barrier *barrier;
    fa_tag tags[TAGS]; // None is the parent of another.
    size_t rounds;
} world;

typedef struct member {
    world *world;
    unsigned number;
    check_rng rng;
    fa_arena *own;
    size_t by_tag[TAGS]; // What the thread has in use.
    size_t frames_by_tag[TAGS];
    size_t in_frames; // Without its own arena.
} member;

static void member_take(member *self, fa_arena *arena, size_t tag, bool is_frame) {
    size_t size = check_rng_between(&self->rng, 1, 2000);
    REQUIRE_NOT_NULL(fa_arena_alloc(arena, size));
    self->by_tag[tag] += rounded(size);
    self->in_frames += arena == self->own ? 0 : rounded(size);
    self->frames_by_tag[tag] += is_frame ? rounded(size) : 0;
}

// Everything is at a boundary twice: inside a frame, after a scratch scope has ended; and after the
// frame.
static void member_run(void *arg) {
    member *self = (member *)arg;
    world *w = self->world;
    fa_context *ctx = w->context;
    char name[32];
    snprintf(name, sizeof(name), "member %u", self->number);
    CHECK_EQ(fa_thread_attach(ctx, name), FA_OK);
    self->rng = check_rng_make(check_seed() * 31 + self->number);
    fa_arena_desc desc = {.tag = w->tags[self->number % TAGS]};
    REQUIRE_EQ(fa_arena_create(ctx, &desc, &self->own), FA_OK);
    for (size_t round = 0; round < w->rounds; round++) {
        size_t of_own = self->by_tag[self->number % TAGS]; // All that survives a frame.
        fa_arena *frame = fa_frame_begin(ctx);
        for (size_t i = 0; i < 50; i++) {
            size_t tag = check_rng_below(&self->rng, TAGS);
            CHECK_EQ(fa_tag_push(ctx, w->tags[tag]), FA_OK);
            member_take(self, frame, tag, true);
            CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        }
        member_take(self, self->own, self->number % TAGS, false);
        fa_thread_stats_result own = thread_stats_of(ctx, NULL); // Publishes what is the caller's.
        CHECK_EQ(own.frame_bytes, self->in_frames);
        check_barrier_wait(w->barrier);
        check_barrier_wait(w->barrier); // The test has looked.
        size_t frames = 0;
        for (size_t i = 0; i < TAGS; i++) {
            self->by_tag[i] -= self->frames_by_tag[i];
            frames += self->frames_by_tag[i];
            self->frames_by_tag[i] = 0;
        }
        CHECK_EQ(frames, self->in_frames);
        self->in_frames = 0;
        CHECK_GE(self->by_tag[self->number % TAGS], of_own);
        fa_frame_end(frame);
        check_barrier_wait(w->barrier);
        check_barrier_wait(w->barrier);
    }
    fa_arena_destroy(self->own);
}

// What the members say they hold is what the context, the tags, and the threads say.
static void check_sums(const world *w, const member *members) {
    size_t by_tag[TAGS] = {0};
    size_t frames_by_tag[TAGS] = {0};
    size_t total = 0;
    size_t in_frames = 0;
    for (size_t m = 0; m < THREADS; m++) {
        in_frames += members[m].in_frames;
        for (size_t i = 0; i < TAGS; i++) {
            by_tag[i] += members[m].by_tag[i];
            frames_by_tag[i] += members[m].frames_by_tag[i];
            total += members[m].by_tag[i];
        }
    }
    fa_stats stats = stats_of(w->context);
    CHECK_EQ(stats.frame_bytes, total);
    CHECK_EQ(stats.total_bytes, total);
    CHECK_GE(stats.peak_bytes, total);
    CHECK_EQ(tag_stats_of(w->context, FA_TAG_ROOT).current_bytes, total);
    for (size_t i = 0; i < TAGS; i++) {
        fa_tag_stats_result tag = tag_stats_of(w->context, w->tags[i]);
        CHECK_EQ(tag.current_bytes, by_tag[i]);
        CHECK_EQ(tag.frame_bytes, frames_by_tag[i]);
        CHECK_GE(tag.peak_bytes, by_tag[i]);
    }
    fa_thread_stats_result threads[THREADS + 2];
    size_t count = fa_thread_stats_all(w->context, threads, THREADS + 2);
    CHECK_EQ(count, THREADS);
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += threads[i].frame_bytes;
    }
    CHECK_EQ(sum, in_frames);
    for (size_t m = 0; m < THREADS; m++) {
        char name[32];
        snprintf(name, sizeof(name), "member %u", members[m].number);
        CHECK_EQ(thread_stats_of(w->context, name).frame_bytes, members[m].in_frames);
    }
}

static void tags_threads_and_total_add_up_at_boundaries(void) {
    static member members[THREADS];
    world w = {.context = context_open(NULL),
               .barrier = check_barrier_create(THREADS + 1),
               .rounds = check_scale(50)};
    check_thread *threads[THREADS];
    for (unsigned i = 0; i < TAGS; i++) {
        char path[32];
        snprintf(path, sizeof(path), "group/tag%u", i);
        w.tags[i] = fa_tag_register(w.context, path);
    }
    memset(members, 0, sizeof(members));
    for (unsigned i = 0; i < THREADS; i++) {
        members[i].world = &w;
        members[i].number = i;
        threads[i] = check_thread_start(member_run, &members[i]);
    }
    for (size_t i = 0; i < 2 * w.rounds; i++) {
        check_barrier_wait(w.barrier);
        check_note("round %u, %s", (unsigned)(i / 2), i % 2 == 0 ? "in frames" : "after frames");
        check_sums(&w, members);
        check_barrier_wait(w.barrier);
    }
    for (size_t i = 0; i < THREADS; i++) {
        check_thread_join(threads[i]);
    }
    CHECK_EQ(stats_of(w.context).frame_bytes, 0);
    CHECK_EQ(tag_stats_of(w.context, FA_TAG_ROOT).current_bytes, 0);
    CHECK_EQ(stats_of(w.context).threads, 0);
    check_barrier_destroy(w.barrier);
    context_close(w.context);
}

typedef struct parked {
    fa_context *context;
    check_barrier *barrier;
    fa_tag tag;
} parked;

// Each step ends at a boundary of its own kind.
static void stand_at_boundaries(void *arg) {
    const parked *self = (const parked *)arg;
    fa_context *ctx = self->context;
    CHECK_EQ(fa_tag_push(ctx, self->tag), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 1600));
    fa_mark mark = fa_arena_mark(frame);
    CHECK_EQ(fa_arena_rewind(frame, mark), FA_OK);
    check_barrier_wait(self->barrier); // 1600: a rewind, though of nothing.
    check_barrier_wait(self->barrier);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 1600));
    mark = fa_arena_mark(frame);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 1600));
    CHECK_EQ(fa_arena_rewind(frame, mark), FA_OK);
    check_barrier_wait(self->barrier); // 3200: a rewind.
    check_barrier_wait(self->barrier);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 16 * MIB));
    check_barrier_wait(self->barrier); // 3200 and 16 MiB: it had to ask.
    check_barrier_wait(self->barrier);
    fa_frame_end(frame);
    check_barrier_wait(self->barrier); // 0, or with two in flight the same: the frame has ended.
    check_barrier_wait(self->barrier);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
}

static void another_thread_s_figures_are_those_of_its_last_boundary(void) {
    for (uint32_t in_flight = 1; in_flight <= 2; in_flight++) {
        fa_config config = {.frames_in_flight = in_flight};
        parked other = {.context = context_open(&config), .barrier = check_barrier_create(2)};
        other.tag = fa_tag_register(other.context, "tag");
        check_thread *thread = check_thread_start(stand_at_boundaries, &other);
        const size_t all = 3200 + 16 * MIB;
        const size_t want[4] = {1600, 3200, all, in_flight == 1 ? 0 : all};
        for (size_t i = 0; i < 4; i++) {
            check_barrier_wait(other.barrier);
            check_note("%u in flight, boundary %u", (unsigned)in_flight, (unsigned)i);
            CHECK_EQ(stats_of(other.context).frame_bytes, want[i]);
            CHECK_EQ(tag_stats_of(other.context, other.tag).current_bytes, want[i]);
            CHECK_EQ(thread_stats_of(other.context, "thread 1").frame_bytes, want[i]);
            check_barrier_wait(other.barrier);
        }
        check_thread_join(thread);
        check_barrier_destroy(other.barrier);
        context_close(other.context);
    }
}

static void look_at_everything(void *arg) {
    const world *w = (const world *)arg;
    fa_context *ctx = w->context;
    check_rng rng = check_rng_make(check_seed());
    for (size_t i = 0; i < w->rounds; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_EQ(fa_tag_push(ctx, w->tags[i % TAGS]), FA_OK);
        for (size_t k = 0; k < 20; k++) {
            CHECK_NOT_NULL(fa_arena_alloc(frame, check_rng_between(&rng, 1, 3000)));
        }
        fa_stats stats = stats_of(ctx);
        CHECK_GE(stats.peak_bytes, fa_arena_used(frame));
        CHECK_GE(stats.frame_bytes, fa_arena_used(frame));
        CHECK_GE(tag_stats_of(ctx, w->tags[i % TAGS]).current_bytes, fa_arena_used(frame));
        fa_thread_stats_result threads[4];
        CHECK_GE(fa_thread_stats_all(ctx, threads, 4), 1);
        (void)fa_context_frame_index(ctx);
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        fa_frame_end(frame);
        if (i % 50 == 0) {
            CHECK_EQ(fa_thread_detach(ctx), FA_OK);
        }
    }
}

static void figures_can_be_read_while_others_work(void) {
    world w = {.context = context_open(NULL), .rounds = check_scale(1000)};
    for (unsigned i = 0; i < TAGS; i++) {
        char path[32];
        snprintf(path, sizeof(path), "tag%u", i);
        w.tags[i] = fa_tag_register(w.context, path);
    }
    check_threads_run(4, look_at_everything, &w, 0);
    CHECK_EQ(stats_of(w.context).frame_bytes, 0);
    context_close(w.context);
}

static void wait_there(void *arg) {
    const parked *self = (const parked *)arg;
    fa_frame_end(fa_frame_begin(self->context));
    check_barrier_wait(self->barrier);
    check_barrier_wait(self->barrier);
}

static void all_threads_are_listed_as_far_as_there_is_room(void) {
    parked other = {.context = context_open(NULL), .barrier = check_barrier_create(4)};
    check_thread *threads[3];
    for (size_t i = 0; i < 3; i++) {
        threads[i] = check_thread_start(wait_there, &other);
    }
    check_barrier_wait(other.barrier);
    fa_thread_stats_result stats[4];
    memset(stats, 0, sizeof(stats));
    CHECK_EQ(fa_thread_stats_all(other.context, stats, 4), 3);
    uint32_t ids = 0;
    for (size_t i = 0; i < 3; i++) {
        ids |= (uint32_t)1 << stats[i].id;
        CHECK_EQ(stats[i].frame_index, 1);
        CHECK_STR_HAS(stats[i].name, "thread ");
    }
    CHECK_EQ(ids, 2 + 4 + 8);
    CHECK_EQ(stats[3].id, 0);
    memset(stats, 0, sizeof(stats));
    CHECK_EQ(fa_thread_stats_all(other.context, stats, 1), 3);
    CHECK_NE(stats[0].id, 0);
    CHECK_EQ(stats[1].id, 0);
    CHECK_EQ(fa_thread_stats_all(other.context, NULL, 0), 3);
    check_barrier_wait(other.barrier);
    for (size_t i = 0; i < 3; i++) {
        check_thread_join(threads[i]);
    }
    CHECK_EQ(fa_thread_stats_all(other.context, stats, 4), 0); // Those that are gone are not.
    CHECK_EQ(fa_thread_stats(other.context, "thread 1", stats), FA_ERR_NOT_FOUND);
    check_barrier_destroy(other.barrier);
    context_close(other.context);
}

TEST_SUITE(stats, TEST(a_new_context_has_nothing_in_use),
           TEST(own_figures_are_exact_after_every_allocation),
           TEST(peaks_include_what_was_undone_since), TEST(peaks_of_tags_that_come_later_are_noted),
           TEST(scratch_within_a_frame_adds_to_the_peak), TEST(own_arenas_are_counted),
           TEST(refusals_of_every_kind_are_counted),
           TEST(watched_allocations_are_counted_everywhere), TEST(missing_results_are_refused),
           TEST(tags_threads_and_total_add_up_at_boundaries),
           TEST(another_thread_s_figures_are_those_of_its_last_boundary),
           TEST(figures_can_be_read_while_others_work),
           TEST(all_threads_are_listed_as_far_as_there_is_room));

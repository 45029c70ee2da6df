// Threads and contexts that come and go thousands of times: nothing is left behind, nothing that
// lives is disturbed.
#include "core_fixture.h"
#include "fault_backend.h"

#include <stdio.h>

enum { AT_ONCE = 16 };

// Resident bytes of this process; 0 where the system does not say, or a sanitizer makes it
// meaningless.
static size_t resident_bytes(void) {
    size_t resident_pages = 0;
    FILE *file = IS_SANITIZED ? NULL : fopen("/proc/self/statm", "r");
    if (file != NULL) {
        if (fscanf(file, "%*s %zu", &resident_pages) != 1) {
            resident_pages = 0;
        }
        fclose(file);
    }
    return resident_pages * fa_backend_os()->page_size;
}

static void check_resident(size_t before, size_t allowed) {
    size_t after = resident_bytes();
    if (before != 0 && after != 0) {
        CHECK_LE(after, before + allowed);
    }
}

// ---- Threads ----

typedef struct visitor {
    fa_context *context;
    const fa_tag *tags;
    unsigned number;
    bool leaves_frame_open;
    check_barrier *meeting; // Where all of a wave meet while they are attached, or NULL.
    uint32_t id;
} visitor;

static void visit(void *arg) {
    visitor *self = (visitor *)arg;
    fa_context *ctx = self->context;
    CHECK_EQ(fa_thread_attach(ctx, NULL), FA_OK);
    if (self->meeting != NULL) {
        check_barrier_wait(self->meeting);
    }
    for (unsigned i = 0; i < 3; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        REQUIRE_EQ(fa_frame_index(frame), i + 1);
        CHECK_EQ(fa_phase_begin(ctx, "visit"), FA_OK);
        CHECK_EQ(fa_tag_push(ctx, self->tags[(self->number + i) % 4]), FA_OK);
        size_t size = 1000 * ((self->number + i) % 50 + 1);
        unsigned char *block = fa_arena_alloc(frame, size);
        REQUIRE_NOT_NULL(block);
        memset(block, (int)self->number, size);
        fa_scratch scratch = fa_scratch_begin(ctx, &frame, 1);
        unsigned char *other = fa_arena_alloc(scratch.arena, 5000);
        REQUIRE_NOT_NULL(other);
        memset(other, 0xEE, 5000);
        CHECK_EQ(block[0], (unsigned char)self->number);
        CHECK_EQ(block[size - 1], (unsigned char)self->number);
        fa_scratch_end(scratch);
        CHECK_EQ(fa_phase_end(ctx, NULL), FA_OK);
        if (i == 2 && self->leaves_frame_open) {
            self->id = thread_stats_of(ctx, NULL).id;
            return;
        }
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        fa_frame_end(frame);
    }
    self->id = thread_stats_of(ctx, NULL).id;
}

typedef struct left_open {
    atomic_size_t frames; // FA009
    atomic_size_t others;
} left_open;

static void count_left_open(const fa_report *report, void *user) {
    left_open *count = (left_open *)user;
    atomic_fetch_add(report->info->code == 9 ? &count->frames : &count->others, 1);
}

// Sixteen threads at a time. Returns how many left a frame open.
static size_t one_wave(fa_context *ctx, const fa_tag *tags, unsigned wave, check_barrier *meeting) {
    visitor all[AT_ONCE];
    size_t open = 0;
    for (unsigned i = 0; i < AT_ONCE; i++) {
        bool leaves = (wave + i) % 7 == 0;
        all[i] = (visitor){ctx, tags, wave * AT_ONCE + i, leaves, meeting, 0};
        open += leaves ? 1 : 0;
    }
    check_threads_run(AT_ONCE, visit, all, sizeof(all[0]));
    for (size_t i = 0; i < AT_ONCE; i++) {
        CHECK(all[i].id >= 1 && all[i].id <= AT_ONCE); // No more states than threads at once.
    }
    return open;
}

static void ten_thousand_threads_leave_nothing_behind(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_config config = {
        .backend = &pages.backend, .frame_reserve = 16 * MIB, .scratch_reserve = 16 * MIB};
    fa_context *ctx = context_open(&config);
    left_open seen = {0};
    CHECK_EQ(fa_report_set(ctx, count_left_open, &seen), FA_OK);
    const fa_tag tags[4] = {fa_tag_register(ctx, "a"), fa_tag_register(ctx, "b/c"),
                            fa_tag_register(ctx, "b/d"), FA_TAG_ROOT};
    // At first all sixteen are there at the same moment, so that there are sixteen states.
    check_barrier *meeting = check_barrier_create(AT_ONCE);
    size_t open = 0;
    unsigned waves = (unsigned)check_scale(10000) / AT_ONCE;
    unsigned warm = 5;
    fa_stats before = {0};
    size_t resident = 0;
    for (unsigned wave = 0; wave < warm + waves; wave++) {
        open += one_wave(ctx, tags, wave, wave < warm ? meeting : NULL);
        if (wave + 1 == warm) {
            before = stats_of(ctx);
            resident = resident_bytes();
        }
    }
    check_barrier_destroy(meeting);
    fa_stats after = stats_of(ctx);
    CHECK_EQ(after.threads, 0);
    CHECK_EQ(after.frame_bytes, 0);
    CHECK_EQ(tag_stats_of(ctx, FA_TAG_ROOT).current_bytes, 0);
    CHECK_EQ(after.overhead_bytes, before.overhead_bytes);
    CHECK_EQ(after.committed_bytes, before.committed_bytes);
    CHECK_EQ(after.reserved_bytes, before.reserved_bytes);
    check_resident(resident, 4 * MIB);
    CHECK_EQ(atomic_load(&seen.frames), open);
    CHECK_EQ(atomic_load(&seen.others), 0);
    fa_phase_stats phase = {0};
    CHECK_EQ(fa_phase_stats_get(ctx, "visit", true, &phase), FA_OK);
    CHECK_EQ(phase.count, (uint64_t)(warm + waves) * AT_ONCE * 3);
    context_close(ctx);
    fault_backend_end(&pages);
}

typedef struct commuter {
    fa_context *context;
    size_t rounds;
} commuter;

static void attach_and_detach(void *arg) {
    const commuter *self = (const commuter *)arg;
    for (size_t i = 0; i < self->rounds; i++) {
        fa_arena *frame = fa_frame_begin(self->context);
        REQUIRE_EQ(fa_frame_index(frame), 1);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 200 * (i % 100 + 1)));
        CHECK_EQ(fa_thread_attach(self->context, "commuter"), FA_OK);
        fa_frame_end(frame);
        CHECK_EQ(fa_thread_detach(self->context), FA_OK);
    }
}

static void threads_that_attach_and_detach_for_ever_leave_nothing_behind(void) {
    fa_context *ctx = context_open(NULL);
    commuter all = {ctx, 10};
    check_threads_run(AT_ONCE, attach_and_detach, &all, 0);
    size_t resident = resident_bytes();
    all.rounds = check_scale(2000);
    check_threads_run(AT_ONCE, attach_and_detach, &all, 0);
    fa_stats after = stats_of(ctx);
    CHECK_EQ(after.threads, 0);
    CHECK_LE(after.overhead_bytes, 64 * KIB * (AT_ONCE + 1));
    check_resident(resident, 4 * MIB);
    context_close(ctx);
}

// ---- Contexts ----

static void ten_thousand_contexts_come_and_go_beside_living_ones(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_config living_config = {.backend = &pages.backend};
    fa_context *living = context_open(&living_config);
    fa_tag tag = fa_tag_register(living, "living");
    CHECK_EQ(fa_tag_push(living, tag), FA_OK);
    fa_arena *frame = fa_frame_begin(living);
    unsigned char *block = fa_arena_alloc(frame, 10000);
    REQUIRE_NOT_NULL(block);
    memset(block, 0x5A, 10000);
    fa_config config = fa_config_minimal();
    size_t resident = 0;
    size_t rounds = check_scale(10000);
    for (size_t i = 0; i < rounds; i++) {
        fa_context *ctx = context_open(&config);
        fa_arena *short_lived = fa_frame_begin(ctx);
        REQUIRE_EQ(fa_frame_index(short_lived), 1);
        CHECK_NOT_NULL(fa_arena_alloc(short_lived, 1000));
        if (i % 2 == 0) {
            fa_scratch_end(fa_scratch_begin(ctx, NULL, 0));
            CHECK_EQ(fa_frame_current(living), frame);
        }
        fa_frame_end(short_lived);
        context_close(ctx);
        if (i == rounds / 10) {
            resident = resident_bytes();
        }
    }
    check_resident(resident, 2 * MIB);
    CHECK_EQ(fa_tag_current(living).id, tag.id);
    CHECK_EQ(tag_stats_of(living, tag).current_bytes, 10000);
    for (size_t i = 0; i < 10000; i++) {
        REQUIRE_EQ(block[i], 0x5A);
    }
    fa_frame_end(frame);
    context_close(living);
    fault_backend_end(&pages);
}

typedef struct maker {
    fa_context *shared;
    size_t rounds;
} maker;

static void make_and_end_contexts(void *arg) {
    const maker *self = (const maker *)arg;
    fa_config config = fa_config_minimal();
    for (size_t i = 0; i < self->rounds; i++) {
        fa_context *ctx = context_open(&config);
        fa_arena *frame = fa_frame_begin(ctx);
        fa_arena *shared = fa_frame_begin(self->shared);
        REQUIRE_EQ(fa_frame_index(shared), i + 1);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 100));
        CHECK_NOT_NULL(fa_arena_alloc(shared, 100));
        fa_frame_end(frame);
        context_close(ctx);
        fa_frame_end(shared);
    }
}

static void threads_make_and_end_contexts_side_by_side(void) {
    maker all = {context_open(NULL), check_scale(200)};
    check_threads_run(8, make_and_end_contexts, &all, 0);
    CHECK_EQ(fa_context_frame_index(all.shared), all.rounds);
    CHECK_EQ(stats_of(all.shared).threads, 0);
    context_close(all.shared);
}

// ---- Reports at thread exit ----

typedef struct exit_report {
    fa_context *kept; // Made by the report function, used by the exiting thread, ended by the test.
    size_t calls;
} exit_report;

static void use_contexts_while_exiting(const fa_report *report, void *user) {
    exit_report *self = (exit_report *)user;
    CHECK_EQ(report->info->code, 9);
    self->calls += 1;
    fa_context *short_lived = context_open(NULL);
    fa_arena *frame = fa_frame_begin(short_lived);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 1000));
    fa_frame_end(frame);
    context_close(short_lived);
    self->kept = context_open(NULL);
    CHECK_NOT_NULL(fa_frame_begin(self->kept)); // Left open, too.
    CHECK_EQ(stats_of(self->kept).threads, 1);
}

static void leave_frame_open(void *arg) {
    CHECK_NOT_NULL(fa_frame_begin((fa_context *)arg));
}

static void a_report_at_thread_exit_may_make_and_end_contexts(void) {
    for (int i = 0; i < 20; i++) {
        fa_context *ctx = context_open(NULL);
        exit_report self = {0};
        CHECK_EQ(fa_report_set(ctx, use_contexts_while_exiting, &self), FA_OK);
        check_thread_join(check_thread_start(leave_frame_open, ctx));
        CHECK_EQ(self.calls, 1);
        REQUIRE_NOT_NULL(self.kept);
        CHECK_EQ(stats_of(ctx).threads, 0);
        CHECK_EQ(stats_of(self.kept).threads, 0); // The thread's state in it was taken down, too.
        context_close(self.kept);
        context_close(ctx);
    }
}

TEST_SUITE(thread_churn, TEST(ten_thousand_threads_leave_nothing_behind),
           TEST(threads_that_attach_and_detach_for_ever_leave_nothing_behind),
           TEST(ten_thousand_contexts_come_and_go_beside_living_ones),
           TEST(threads_make_and_end_contexts_side_by_side),
           TEST(a_report_at_thread_exit_may_make_and_end_contexts));

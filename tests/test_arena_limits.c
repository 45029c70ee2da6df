// What an arena refuses: its own limit, impossible sizes and alignments, no memory; and that a
// refusal changes nothing.
#include "arena_fixture.h"
#include "fault_backend.h"

#include <stdio.h>

// ---- byte_limit ----

static void the_byte_limit_holds_to_the_byte(void) {
    const size_t limits[] = {1, 15, 16, 17, 100, 1000, 4096, 5000, 100000};
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
            size_t limit = limits[i];
            arena_case self = case_open_desc(backing, (fa_arena_desc){.byte_limit = limit});
            check_note("%s, limit %zu", backing_name(backing), limit);
            fill_up(self.arena, 16);
            CHECK_EQ(fa_arena_used(self.arena), limit & ~(size_t)15);
            CHECK_NULL(fa_arena_alloc(self.arena, 1));
            refused_as(3, FA_ERR_LIMIT, 1, limit);
            fa_arena_reset(self.arena);
            CHECK_NULL(fa_arena_alloc(self.arena, (limit & ~(size_t)15) + 1));
            refused_as(3, FA_ERR_LIMIT, (limit & ~(size_t)15) + 1, limit);
            if (limit >= 16) {
                CHECK_NOT_NULL(fa_arena_alloc(self.arena, limit & ~(size_t)15));
            }
            CHECK_EQ(fa_arena_used(self.arena), limit & ~(size_t)15);
            case_close(&self);
        }
    }
}

static void what_is_undone_may_be_used_again(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open_desc(backing, (fa_arena_desc){.byte_limit = 9000});
        fa_arena_alloc(self.arena, 3000);
        fa_mark mark = fa_arena_mark(self.arena);
        for (int i = 0; i < 5; i++) {
            CHECK_EQ(fill_up(self.arena, 992), 6);
            CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_OK);
        }
        void *last = fa_arena_alloc(self.arena, 1000);
        CHECK_NULL(fa_arena_alloc(self.arena, 5000));
        CHECK_EQ(fa_arena_resize(self.arena, last, 1000, 100), last);
        CHECK_NOT_NULL(fa_arena_alloc(self.arena, 5000));
        case_close(&self);
    }
}

static void the_byte_limit_counts_padding_and_blocks_aside(void) {
    arena_case self = case_open_desc(ON_RANGE, (fa_arena_desc){.byte_limit = 1040});
    fa_arena_alloc(self.arena, 16);
    CHECK_NULL(fa_arena_alloc_aligned(self.arena, 32, 1024));
    refused_as(3, FA_ERR_LIMIT, 32, 1040);
    CHECK_NOT_NULL(fa_arena_alloc_aligned(self.arena, 16, 1024));
    CHECK_EQ(fa_arena_used(self.arena), 1040);
    case_close(&self);

    self = case_open_desc(ON_CHUNKS, (fa_arena_desc){.byte_limit = 20000});
    CHECK_NOT_NULL(fa_arena_alloc(self.arena, 9000));
    CHECK_NOT_NULL(fa_arena_alloc(self.arena, 9000));
    CHECK_NULL(fa_arena_alloc(self.arena, 2000 - 15));
    CHECK_NOT_NULL(fa_arena_alloc(self.arena, 20000 - 2 * rounded(9000)));
    CHECK_EQ(fa_arena_used(self.arena), 20000);
    CHECK_NULL(fa_arena_alloc(self.arena, 1));
    case_close(&self);
}

// ---- Sizes and alignments that cannot be ----

typedef void *(*request_fn)(fa_arena *arena, size_t size, size_t align);

static void *plain_request(fa_arena *arena, size_t size, size_t align) {
    (void)align;
    return fa_arena_alloc(arena, size);
}

static void *try_request(fa_arena *arena, size_t size, size_t align) {
    (void)align;
    return fa_arena_try_alloc(arena, size);
}

static void *calloc_request(fa_arena *arena, size_t size, size_t align) {
    return fa_arena_calloc(arena, 1, size, align);
}

static void *array_request(fa_arena *arena, size_t size, size_t align) {
    return fa_arena_alloc_array(arena, size, 1, align);
}

static void *resize_request(fa_arena *arena, size_t size, size_t align) {
    return fa_arena_resize_aligned(arena, NULL, 0, size, align);
}

static const request_fn requests[] = {plain_request,  try_request,   fa_arena_alloc_aligned,
                                      calloc_request, array_request, resize_request};
enum { REQUESTS = sizeof(requests) / sizeof(requests[0]) };

static bool takes_align(size_t request) {
    return requests[request] != plain_request && requests[request] != try_request;
}

typedef struct bad_request {
    size_t size;
    size_t align;
    int code;
    fa_result result;
    size_t limit;
} bad_request;

// Every kind of request with every bad size and alignment, on an arena with something in it.
static void check_all_refused(arena_case *self, const bad_request *bad, size_t count) {
    unsigned char *first = fa_arena_alloc(self->arena, 1000);
    memset(first, 0x29, 1000);
    CHECK_EQ(fa_arena_rewind(self->arena, fa_arena_mark(self->arena)), FA_OK);
    arena_snapshot shot = snapshot_take(self->arena, first);
    uint64_t refusals = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < REQUESTS; k++) {
            if (bad[i].align != 1 && !takes_align(k)) {
                continue;
            }
            check_note("request %zu: size %zx, align %zx", k, bad[i].size, bad[i].align);
            CHECK_NULL(requests[k](self->arena, bad[i].size, bad[i].align));
            refused_as(bad[i].code, bad[i].result, bad[i].size, bad[i].limit);
            refusals += 1;
            snapshot_check(&shot, self->arena, refusals);
        }
    }
    CHECK_EQ(fa_arena_alloc(self->arena, 16), first + 1008);
    snapshot_free(&shot);
}

static void impossible_sizes_and_alignments_change_nothing(void) {
    static const bad_request bad[] = {
        {0, 1, 12, FA_ERR_INVALID, 0},
        {0, 64, 12, FA_ERR_INVALID, 0},
        {SIZE_MAX, 1, 13, FA_ERR_OVERFLOW, SIZE_MAX / 2},
        {SIZE_MAX - 1, 16, 13, FA_ERR_OVERFLOW, SIZE_MAX / 2},
        {SIZE_MAX - 14, 1, 13, FA_ERR_OVERFLOW, SIZE_MAX / 2},
        {SIZE_MAX - 15, 1, 13, FA_ERR_OVERFLOW, SIZE_MAX / 2},
        {SIZE_MAX - 16, 1, 13, FA_ERR_OVERFLOW, SIZE_MAX / 2},
        {SIZE_MAX - 15, 4096, 13, FA_ERR_OVERFLOW, SIZE_MAX / 2},
        {SIZE_MAX - 4096, 4096, 13, FA_ERR_OVERFLOW, SIZE_MAX / 2},
        {SIZE_MAX - MIB, FA_ALIGNMENT_MAX, 13, FA_ERR_OVERFLOW, SIZE_MAX / 2},
        {SIZE_MAX / 2 + 1, 1, 13, FA_ERR_OVERFLOW, SIZE_MAX / 2},
        {SIZE_MAX / 2 + 1, 1024, 13, FA_ERR_OVERFLOW, SIZE_MAX / 2},
        {16, 0, 18, FA_ERR_INVALID, FA_ALIGNMENT_MAX},
        {16, 3, 18, FA_ERR_INVALID, FA_ALIGNMENT_MAX},
        {16, 12, 18, FA_ERR_INVALID, FA_ALIGNMENT_MAX},
        {16, 15, 18, FA_ERR_INVALID, FA_ALIGNMENT_MAX},
        {16, 17, 18, FA_ERR_INVALID, FA_ALIGNMENT_MAX},
        {16, 48, 18, FA_ERR_INVALID, FA_ALIGNMENT_MAX},
        {16, FA_ALIGNMENT_MAX + 16, 18, FA_ERR_INVALID, FA_ALIGNMENT_MAX},
        {16, 2 * FA_ALIGNMENT_MAX, 18, FA_ERR_INVALID, FA_ALIGNMENT_MAX},
        {16, SIZE_MAX / 2 + 1, 18, FA_ERR_INVALID, FA_ALIGNMENT_MAX},
        {16, SIZE_MAX, 18, FA_ERR_INVALID, FA_ALIGNMENT_MAX},
        {SIZE_MAX, 3, 18, FA_ERR_INVALID, FA_ALIGNMENT_MAX}};
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        check_all_refused(&self, bad, sizeof(bad) / sizeof(bad[0]));
        case_close(&self);
    }
}

static void possible_sizes_that_no_machine_has_change_nothing(void) {
    if (sizeof(size_t) < 8) {
        SKIP("half of a small address space may be had");
    }
    static const bad_request bad[] = {
        {SIZE_MAX / 2, 1, 305, FA_ERR_OUT_OF_MEMORY, 0},
        {SIZE_MAX / 2 - 15, 1, 305, FA_ERR_OUT_OF_MEMORY, 0},
        {SIZE_MAX / 2 - 15, FA_ALIGNMENT_MAX, 305, FA_ERR_OUT_OF_MEMORY, 0},
        {SIZE_MAX / 2, 64, 305, FA_ERR_OUT_OF_MEMORY, 0}};
    for (arena_backing backing = ON_RANGE; backing <= ON_CHUNKS; backing++) {
        arena_case self = case_open(backing);
        check_all_refused(&self, bad, sizeof(bad) / sizeof(bad[0]));
        CHECK_LE(tag_stats_of(self.context, FA_TAG_ROOT).peak_bytes, 1024);
        case_close(&self);
    }
}

static void the_callers_memory_refuses_what_it_does_not_hold(void) {
    arena_case self = case_open(ON_MEMORY);
    size_t holds = arena_stats_of(self.arena).reserved_bytes;
    const bad_request bad[] = {{holds - 1008 + 1, 1, 3, FA_ERR_OUT_OF_MEMORY, holds},
                               {holds, 1, 3, FA_ERR_OUT_OF_MEMORY, holds},
                               {SIZE_MAX / 2, 1, 3, FA_ERR_OUT_OF_MEMORY, holds},
                               {SIZE_MAX / 2, 65536, 3, FA_ERR_OUT_OF_MEMORY, holds}};
    check_all_refused(&self, bad, sizeof(bad) / sizeof(bad[0]));
    CHECK_NOT_NULL(fa_arena_alloc(self.arena, holds - 1008 - 16)); // To the last byte.
    CHECK_NULL(fa_arena_alloc(self.arena, 1));
    case_close(&self);
}

static void a_product_that_overflows_is_refused(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        unsigned char *first = fa_arena_alloc(self.arena, 100);
        memset(first, 0x3A, 100);
        arena_snapshot shot = snapshot_take(self.arena, first);
        const struct {
            size_t count;
            size_t size;
        } cases[] = {{SIZE_MAX, 2},
                     {2, SIZE_MAX},
                     {SIZE_MAX, SIZE_MAX},
                     {SIZE_MAX / 2 + 1, 2},   // Wraps to 0.
                     {SIZE_MAX / 16 + 2, 16}, // Wraps to 16.
                     {((size_t)1 << (sizeof(size_t) * 4)) + 1, (size_t)1 << (sizeof(size_t) * 4)}};
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            check_note("%s, %zx times %zx", backing_name(backing), cases[i].count, cases[i].size);
            CHECK_NULL(fa_arena_calloc(self.arena, cases[i].count, cases[i].size, 16));
            failed_as(13, FA_ERR_OVERFLOW);
            CHECK_NULL(fa_arena_alloc_array(self.arena, cases[i].count, cases[i].size, 4));
            failed_as(13, FA_ERR_OVERFLOW);
            snapshot_check(&shot, self.arena, 2 * (i + 1));
        }
        volatile size_t hidden = SIZE_MAX / 8 + 1; // From the compiler, which would warn.
        CHECK_NULL(fa_arena_array(self.arena, uint64_t, hidden));
        failed_as(13, FA_ERR_OVERFLOW);
        CHECK_NULL(fa_arena_array_uninit(self.arena, uint64_t, hidden + 1));
        failed_as(13, FA_ERR_OVERFLOW);
        CHECK_NULL(fa_arena_calloc(self.arena, 0, 8, 8));
        refused_as(12, FA_ERR_INVALID, 0, 0);
        CHECK_NULL(fa_arena_calloc(self.arena, 8, 0, 8));
        refused_as(12, FA_ERR_INVALID, 0, 0);
        CHECK_NULL(fa_arena_alloc_array(self.arena, 0, 0, 8));
        refused_as(12, FA_ERR_INVALID, 0, 0);
        snapshot_check(&shot, self.arena, 2 * 6 + 5);
        snapshot_free(&shot);
        case_close(&self);
    }
}

// ---- No memory ----

static void a_backend_that_refuses_is_told_and_asked_again(void) {
    for (arena_backing backing = ON_RANGE; backing <= ON_CHUNKS; backing++) {
        fault_backend pages;
        fault_backend_make(&pages, FAULT_PAGES);
        fa_context *ctx = context_open(&(fa_config){.backend = &pages.backend});
        fa_arena *arena = arena_open(
            ctx, (fa_arena_desc){.name = "poor", .chunk_size = backing == ON_RANGE ? 0 : 65536});
        fa_tag tag = {0};
        check_note("on %s", backing_name(backing));
        unsigned char *first = fa_arena_alloc(arena, 1000);
        memset(first, 0x4B, 1000);
        size_t remaining = fa_budget_remaining(ctx, tag);
        arena_snapshot shot = snapshot_take(arena, first);
        size_t committed = pages.committed_bytes;
        fault_backend_set(&pages, FAULT_FROM, 1, 0, 0);
        for (uint64_t i = 1; i <= 3; i++) {
            CHECK_NULL(fa_arena_alloc(arena, 3 * MIB));
            CHECK_STR_EQ(fa_last_error()->where, "poor");
            refused_as(305, FA_ERR_OUT_OF_MEMORY, 3 * MIB, 0);
            snapshot_check(&shot, arena, i);
            CHECK_EQ(pages.committed_bytes, committed);
            CHECK_EQ(fa_budget_remaining(ctx, tag), remaining);
        }
        CHECK_EQ(fa_arena_alloc(arena, 100), first + 1008); // What is there is still good.
        fault_backend_switch(&pages, FAULT_NONE);
        CHECK_NOT_NULL(fa_arena_alloc(arena, 3 * MIB));
        CHECK(is_filled(first, 1000, 0x4B));
        snapshot_free(&shot);
        fa_arena_destroy(arena);
        context_close(ctx);
        fault_backend_end(&pages);
    }
}

static void a_request_that_the_system_refused_is_charged_to_nobody(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_context *ctx = context_open(&(fa_config){.backend = &pages.backend});
    fa_tag tag = fa_tag_register(ctx, "a");
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = MIB}), FA_OK);
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){.tag = tag});
    fault_backend_set(&pages, FAULT_FROM, 1, 0, 0);
    CHECK_NULL(fa_arena_alloc(arena, 512 * KIB));
    failed_as(305, FA_ERR_OUT_OF_MEMORY);
    fault_backend_switch(&pages, FAULT_NONE);
    CHECK_EQ(fa_budget_remaining(ctx, tag), MIB);
    CHECK_NOT_NULL(fa_arena_alloc(arena, MIB));
    fa_arena_destroy(arena);
    context_close(ctx);
    fault_backend_end(&pages);
}

static void the_memory_limit_is_told_as_such(void) {
    fa_context *ctx = context_open(&(fa_config){.memory_limit = 2 * MIB});
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){0});
    unsigned char *first = fa_arena_alloc(arena, 1000);
    memset(first, 0x5C, 1000);
    arena_snapshot shot = snapshot_take(arena, first);
    CHECK_NULL(fa_arena_alloc(arena, 2 * MIB));
    refused_as(301, FA_ERR_LIMIT, 2 * MIB, 2 * MIB);
    snapshot_check(&shot, arena, 1);
    CHECK_NOT_NULL(fa_arena_alloc(arena, MIB));
    CHECK_LE(stats_of(ctx).committed_bytes, 2 * MIB);
    fa_arena *other = NULL;
    CHECK_EQ(fa_arena_create(ctx, &(fa_arena_desc){.chunk_size = MIB}, &other), FA_ERR_LIMIT);
    CHECK_NULL(other);
    refused_as(301, FA_ERR_LIMIT, MIB, 2 * MIB);
    snapshot_free(&shot);
    fa_arena_destroy(arena);
    context_close(ctx);
}

// ---- What is over ----

static void a_frame_or_scope_that_is_over_refuses(void) {
    fa_context *ctx = context_open(NULL);
    report_log log;
    fa_tag tag = fa_tag_register(ctx, "current");
    fa_arena *frame = fa_frame_begin(ctx);
    fa_arena_alloc(frame, 100);
    fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
    fa_arena_alloc(scratch.arena, 100);
    fa_scratch_end(scratch);
    fa_frame_end(frame);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    fa_arena *over[] = {frame, scratch.arena};
    const char *names[] = {"frame", "scratch"};
    for (size_t i = 0; i < 2; i++) {
        log_attach(ctx, &log);
        CHECK_NULL(fa_arena_alloc(over[i], 24));
        CHECK_STR_EQ(fa_last_error()->where, names[i]);
        CHECK_EQ(fa_last_error()->tag.id, tag.id); // That is who would have been charged.
        refused_as(1, FA_ERR_NO_FRAME, 24, 0);
        CHECK_EQ(log_single(&log, 1)->bytes, 24);
        CHECK_NULL(fa_arena_try_alloc(over[i], 24));
        refused_as(1, FA_ERR_NO_FRAME, 24, 0);
        log_empty(&log);
        CHECK_NULL(fa_arena_calloc(over[i], 3, 8, 8));
        refused_as(1, FA_ERR_NO_FRAME, 24, 0);
        CHECK_NULL(fa_arena_alloc_aligned(over[i], 24, 4096));
        refused_as(1, FA_ERR_NO_FRAME, 24, 0);
        CHECK_EQ(fa_arena_used(over[i]), 0);
        CHECK_EQ(arena_stats_of(over[i]).refusals, 4);
    }
    CHECK_EQ(tag_stats_of(ctx, tag).refusals, 8);
    CHECK_EQ(stats_of(ctx).refusals, 8);
    context_close(ctx);
}

static void a_watched_arena_refuses_the_same(void) {
    arena_case self = case_open_desc(ON_RANGE, (fa_arena_desc){.byte_limit = 256});
    CHECK_EQ(fa_context_checks_set(self.context, FA_CHECK_WATCH), FA_OK);
    CHECK_EQ(fill_up(self.arena, 16), 16);
    CHECK_NULL(fa_arena_alloc(self.arena, 0));
    refused_as(12, FA_ERR_INVALID, 0, 0);
    volatile size_t hidden = SIZE_MAX;
    CHECK_NULL(fa_arena_alloc(self.arena, hidden));
    refused_as(13, FA_ERR_OVERFLOW, SIZE_MAX, SIZE_MAX / 2);
    CHECK_NULL(fa_arena_alloc(self.arena, 1));
    refused_as(3, FA_ERR_LIMIT, 1, 256);
    CHECK_EQ(fa_context_checks_set(self.context, 0), FA_OK);
    CHECK_NULL(fa_arena_alloc(self.arena, 1));
    refused_as(3, FA_ERR_LIMIT, 1, 256);
    CHECK_EQ(fa_arena_used(self.arena), 256);
    case_close(&self);
}

TEST_SUITE(arena_limits, TEST(the_byte_limit_holds_to_the_byte),
           TEST(what_is_undone_may_be_used_again),
           TEST(the_byte_limit_counts_padding_and_blocks_aside),
           TEST(impossible_sizes_and_alignments_change_nothing),
           TEST(possible_sizes_that_no_machine_has_change_nothing),
           TEST(the_callers_memory_refuses_what_it_does_not_hold),
           TEST(a_product_that_overflows_is_refused),
           TEST(a_backend_that_refuses_is_told_and_asked_again),
           TEST(a_request_that_the_system_refused_is_charged_to_nobody),
           TEST(the_memory_limit_is_told_as_such), TEST(a_frame_or_scope_that_is_over_refuses),
           TEST(a_watched_arena_refuses_the_same));

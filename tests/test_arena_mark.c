// Marks and rewinds: what comes back, and every mark that must not be taken for good.
#include "arena_fixture.h"

// ---- Rewinding ----

static void a_rewind_goes_back_to_the_mark(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        unsigned char *kept = fa_arena_alloc(self.arena, 100);
        memset(kept, 0x12, 100);
        fa_arena before = *self.arena;
        fa_mark mark = fa_arena_mark(self.arena);
        CHECK_EQ(mark.offset, 112);
        CHECK_EQ(self.arena->cursor, before.cursor); // Taking it allocates nothing.
        for (int i = 0; i < 200; i++) {
            memset(fa_arena_alloc(self.arena, 100), 0xFF, 100);
        }
        CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_OK);
        CHECK_EQ(self.arena->cursor, before.cursor);
        CHECK_EQ(fa_arena_used(self.arena), 112);
        CHECK_EQ(arena_stats_of(self.arena).blocks, 0);
        CHECK_EQ(arena_stats_of(self.arena).waste_bytes, 0);
        CHECK_EQ(arena_stats_of(self.arena).peak_bytes, 201 * 112);
        CHECK(is_filled(kept, 100, 0x12));
        CHECK_EQ(fa_arena_alloc(self.arena, 16), kept + 112);
        case_close(&self);
    }
}

static void marks_nest_and_may_be_skipped(void) {
    arena_case self = case_open(ON_CHUNKS);
    fa_mark marks[8];
    for (int i = 0; i < 8; i++) {
        marks[i] = fa_arena_mark(self.arena);
        CHECK_NOT_NULL(fa_arena_alloc(self.arena, 1500)); // Two to a chunk, then aside.
    }
    CHECK_EQ(fa_arena_rewind(self.arena, marks[7]), FA_OK);
    CHECK_EQ(fa_arena_used(self.arena), 7 * 1504);
    CHECK_EQ(fa_arena_rewind(self.arena, marks[3]), FA_OK);
    CHECK_EQ(fa_arena_used(self.arena), 3 * 1504);
    for (int i = 4; i < 8; i++) {
        CHECK_EQ(fa_arena_rewind(self.arena, marks[i]), FA_ERR_STALE);
    }
    CHECK_EQ(fa_arena_rewind(self.arena, marks[0]), FA_OK);
    CHECK_EQ(fa_arena_used(self.arena), 0);
    case_close(&self);
}

static void a_mark_may_be_rewound_to_many_times(void) {
    arena_case self = case_open(ON_RANGE);
    fa_arena_alloc(self.arena, 16);
    fa_mark mark = fa_arena_mark(self.arena);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_OK); // Also when there is nothing to undo.
        CHECK_NOT_NULL(fa_arena_alloc(self.arena, 1 + 40 * (size_t)i));
        CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_OK);
        CHECK_EQ(fa_arena_used(self.arena), 16);
    }
    nothing_failed();
    case_close(&self);
}

static void a_mark_below_a_rewind_stays_good(void) {
    arena_case self = case_open(ON_RANGE);
    fa_mark marks[40];
    for (size_t i = 0; i < 40;
         i++) { // Each rewind goes a little less far back than the one before.
        marks[i] = fa_arena_mark(self.arena);
        fa_arena_alloc(self.arena, 32);
        fa_mark inner = fa_arena_mark(self.arena);
        fa_arena_alloc(self.arena, 500);
        CHECK_EQ(fa_arena_rewind(self.arena, inner), FA_OK);
    }
    for (size_t i = 40; i > 0; i--) {
        CHECK_EQ(fa_arena_rewind(self.arena, marks[i - 1]), FA_OK);
        CHECK_EQ(fa_arena_used(self.arena), 32 * (i - 1));
    }
    nothing_failed();
    case_close(&self);
}

static void a_rewind_over_chunks_restores_the_chunk_and_its_waste(void) {
    arena_case self = case_open(ON_CHUNKS);
    fa_arena_alloc(self.arena, 3500);
    fa_mark first = fa_arena_mark(self.arena);
    char *at_first = self.arena->cursor;
    CHECK_NOT_NULL(fa_arena_alloc(self.arena, 1000)); // Second chunk.
    CHECK_EQ(arena_stats_of(self.arena).waste_bytes, 4096 - 3504);
    fa_mark second = fa_arena_mark(self.arena);
    char *at_second = self.arena->cursor;
    for (int i = 0; i < 10; i++) {
        CHECK_NOT_NULL(fa_arena_alloc(self.arena, 1000));
    }
    CHECK_GE(arena_stats_of(self.arena).blocks, 3);
    CHECK_EQ(fa_arena_rewind(self.arena, second), FA_OK);
    CHECK_EQ(self.arena->cursor, at_second);
    CHECK_EQ(arena_stats_of(self.arena).blocks, 1);
    CHECK_EQ(arena_stats_of(self.arena).waste_bytes, 4096 - 3504);
    CHECK_EQ(arena_stats_of(self.arena).committed_bytes, 8192);
    CHECK_EQ(fa_arena_rewind(self.arena, first), FA_OK);
    CHECK_EQ(self.arena->cursor, at_first);
    CHECK_EQ(arena_stats_of(self.arena).blocks, 0);
    CHECK_EQ(arena_stats_of(self.arena).waste_bytes, 0);
    CHECK_EQ(arena_stats_of(self.arena).committed_bytes, 4096);
    CHECK_EQ(fa_arena_alloc(self.arena, 592), (void *)at_first); // To the chunk's last byte.
    case_close(&self);
}

static void a_rewind_undoes_tag_switches(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag a = fa_tag_register(ctx, "a");
    fa_tag b = fa_tag_register(ctx, "b");
    fa_arena *frame = fa_frame_begin(ctx);
    fa_mark start = fa_arena_mark(frame);
    CHECK_EQ(fa_tag_push(ctx, a), FA_OK);
    fa_arena_alloc(frame, 100);
    fa_mark mark = fa_arena_mark(frame);
    fa_arena_alloc(frame, 200);
    CHECK_EQ(fa_tag_push(ctx, b), FA_OK);
    fa_arena_alloc(frame, 300);
    CHECK_EQ(fa_tag_push(ctx, a), FA_OK);
    fa_arena_alloc(frame, 400);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    fa_arena_alloc(frame, 500);
    CHECK_EQ(fa_arena_rewind(frame, mark), FA_OK);
    CHECK_EQ(tag_stats_of(ctx, a).current_bytes, 112);
    CHECK_EQ(tag_stats_of(ctx, b).current_bytes, 0);
    CHECK_EQ(fa_tag_current(ctx).id, b.id); // What is current is not undone.
    fa_arena_alloc(frame, 16);
    CHECK_EQ(tag_stats_of(ctx, b).current_bytes, 16);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    CHECK_EQ(fa_tag_current(ctx).id, a.id);
    fa_arena_alloc(frame, 16);
    CHECK_EQ(tag_stats_of(ctx, a).current_bytes, 128);
    CHECK_EQ(fa_arena_rewind(frame, start), FA_OK);
    CHECK_EQ(tag_stats_of(ctx, a).current_bytes, 0);
    CHECK_EQ(tag_stats_of(ctx, b).current_bytes, 0);
    CHECK_EQ(tag_stats_of(ctx, a).peak_bytes, 112 + 208 + 400);
    CHECK_EQ(tag_stats_of(ctx, b).peak_bytes, 304 + 512);
    fa_frame_end(frame);
    context_close(ctx);
}

// ---- Marks that are not good ----

// Refused, reported, and nothing changed.
static void check_stale(fa_context *ctx, fa_arena *arena, const void *first, fa_mark mark) {
    report_log log;
    log_attach(ctx, &log);
    arena_snapshot shot = snapshot_take(arena, first);
    CHECK_EQ(fa_arena_rewind(arena, mark), FA_ERR_STALE);
    refused_as(5, FA_ERR_STALE, mark.offset, fa_arena_used(arena));
    log_single(&log, 5);
    snapshot_check(&shot, arena, 0);
    snapshot_free(&shot);
    CHECK_EQ(fa_report_set(ctx, NULL, NULL), FA_OK);
}

static void a_zero_mark_is_stale(void) {
    arena_case self = case_open(ON_RANGE);
    check_stale(self.context, self.arena, NULL, (fa_mark){0});
    char *first = fa_arena_alloc(self.arena, 100);
    memset(first, 1, 100);
    check_stale(self.context, self.arena, first, (fa_mark){0});
    case_close(&self);
}

static void a_mark_from_before_a_reset_is_stale(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        fa_mark at_start = fa_arena_mark(self.arena);
        char *first = fa_arena_alloc(self.arena, 100);
        fa_mark mark = fa_arena_mark(self.arena);
        fa_arena_reset(self.arena);
        check_stale(self.context, self.arena, first, at_start); // Of the earlier fill, though at 0.
        char *again = fa_arena_alloc(self.arena, 500);
        CHECK_EQ(again, first);
        memset(again, 2, 500);
        check_stale(self.context, self.arena, first, mark);
        check_stale(self.context, self.arena, first, at_start);
        case_close(&self);
    }
}

static void a_mark_of_another_arena_is_stale(void) {
    fa_context *ctx = context_open(NULL);
    fa_context *other_ctx = context_open(NULL);
    fa_arena *arenas[4];
    fa_mark marks[4];
    char *first[4];
    fa_arena *frame = fa_frame_begin(ctx);
    arenas[0] = arena_open(ctx, (fa_arena_desc){0});
    arenas[1] = arena_open(ctx, (fa_arena_desc){.chunk_size = 4096});
    arenas[2] = arena_open(other_ctx, (fa_arena_desc){0});
    arenas[3] = frame;
    for (size_t i = 0; i < 4; i++) {
        first[i] = fa_arena_alloc(arenas[i], 64);
        memset(first[i], 3, 64);
        marks[i] = fa_arena_mark(arenas[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < 4; k++) {
            if (i != k) {
                check_stale(i == 2 ? other_ctx : ctx, arenas[i], first[i], marks[k]);
            }
        }
    }
    // Nor is one of an arena that is gone, whose record the next one has.
    fa_arena_destroy(arenas[0]);
    arenas[0] = arena_open(ctx, (fa_arena_desc){0});
    first[0] = fa_arena_alloc(arenas[0], 64);
    memset(first[0], 3, 64);
    check_stale(ctx, arenas[0], first[0], marks[0]);
    fa_arena_destroy(arenas[0]);
    fa_arena_destroy(arenas[1]);
    fa_arena_destroy(arenas[2]);
    fa_frame_end(frame);
    context_close(other_ctx);
    context_close(ctx);
}

static void a_mark_beyond_the_present_position_is_stale(void) {
    arena_case self = case_open(ON_RANGE);
    fa_mark low = fa_arena_mark(self.arena);
    char *first = fa_arena_alloc(self.arena, 16);
    memset(first, 4, 16);
    fa_mark high = fa_arena_mark(self.arena);
    CHECK_EQ(fa_arena_rewind(self.arena, low), FA_OK);
    check_stale(self.context, self.arena, first, high);
    fa_arena_alloc(self.arena, 16);
    fa_mark forged = fa_arena_mark(self.arena);
    forged.offset += 16;
    check_stale(self.context, self.arena, first, forged);
    case_close(&self);
}

// What a rewind undid does not become good again because the arena has grown past it.
static void a_mark_that_was_undone_is_stale_after_the_arena_has_grown_again(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        char *first = fa_arena_alloc(self.arena, 48);
        fa_mark low = fa_arena_mark(self.arena);
        fa_arena_alloc(self.arena, 64);
        fa_mark undone = fa_arena_mark(self.arena);
        CHECK_EQ(fa_arena_rewind(self.arena, low), FA_OK);
        char *more = fa_arena_alloc(self.arena, 640);
        memset(first, 5, 48);
        memset(more, 5, 640);
        check_stale(self.context, self.arena, first, undone);
        // Nor after later rewinds that went less far back.
        for (int i = 0; i < 6; i++) {
            fa_mark later = fa_arena_mark(self.arena);
            fa_arena_alloc(self.arena, 16);
            CHECK_EQ(fa_arena_rewind(self.arena, later), FA_OK);
            memset(fa_arena_alloc(self.arena, 16), 5, 16);
            check_stale(self.context, self.arena, first, undone);
        }
        CHECK_EQ(fa_arena_rewind(self.arena, low), FA_OK);
        case_close(&self);
    }
}

// However many rewinds lie between, a mark that was undone never takes the cursor out of the
// arena's memory.
static void a_mark_that_was_undone_long_ago_does_no_harm(void) {
    arena_case self = case_open(ON_CHUNKS);
    unsigned char *first = fa_arena_alloc(self.arena, 48);
    memset(first, 6, 48);
    fa_mark low = fa_arena_mark(self.arena);
    fa_arena_alloc(self.arena, 64);
    fa_mark undone = fa_arena_mark(self.arena);
    CHECK_EQ(fa_arena_rewind(self.arena, low), FA_OK);
    unsigned char *aside = fa_arena_alloc(self.arena, 5000);
    memset(aside, 7, 5000);
    for (int i = 0; i < 100; i++) {
        fa_arena_alloc(self.arena, 16);
        fa_mark later = fa_arena_mark(self.arena);
        fa_arena_alloc(self.arena, 16);
        CHECK_EQ(fa_arena_rewind(self.arena, later), FA_OK);
    }
    if (fa_arena_rewind(self.arena, undone) != FA_OK) {
        failed_as(5, FA_ERR_STALE);
        CHECK(is_filled(aside, 5000, 7));
    }
    CHECK_GE(fa_arena_used(self.arena), 48);
    CHECK_GE((uintptr_t)self.arena->cursor, (uintptr_t)first + 48);
    CHECK_LE((uintptr_t)self.arena->cursor, (uintptr_t)first + 4096);
    CHECK(is_filled(first, 48, 6));
    CHECK_EQ(fa_arena_rewind(self.arena, low), FA_OK);
    CHECK_EQ(fa_arena_used(self.arena), 48);
    case_close(&self);
}

static void a_mark_of_a_frame_ends_with_it(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *frame = fa_frame_begin(ctx);
    fa_mark start = fa_arena_mark(frame);
    fa_arena_alloc(frame, 100);
    fa_mark mark = fa_arena_mark(frame);
    fa_frame_end(frame);
    CHECK_EQ(fa_arena_rewind(frame, mark), FA_ERR_NO_FRAME);
    failed_as(1, FA_ERR_NO_FRAME);
    fa_arena *next = fa_frame_begin(ctx);
    CHECK_EQ(next, frame);
    char *first = fa_arena_alloc(next, 500);
    memset(first, 8, 500);
    check_stale(ctx, next, first, mark);
    check_stale(ctx, next, first, start);
    fa_frame_end(next);
    context_close(ctx);
}

static void a_frame_in_flight_is_not_rewound(void) {
    fa_context *ctx = context_open(&(fa_config){.frames_in_flight = 2});
    fa_arena *frame = fa_frame_begin(ctx);
    fa_mark mark = fa_arena_mark(frame);
    unsigned char *ptr = fa_arena_alloc(frame, 100);
    memset(ptr, 9, 100);
    fa_frame_end(frame);
    CHECK_EQ(fa_arena_rewind(frame, mark), FA_ERR_NO_FRAME);
    CHECK_EQ(fa_arena_used(frame), 112);
    CHECK(is_filled(ptr, 100, 9));
    context_close(ctx);
}

// ---- Reset ----

static void reset_undoes_everything_and_keeps_the_memory(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        char *first = fa_arena_alloc(self.arena, 2000);
        size_t committed = arena_stats_of(self.arena).committed_bytes;
        CHECK_NOT_NULL(fa_arena_alloc(self.arena, 1000));
        fa_arena_reset(self.arena);
        fa_arena_stats_result stats = arena_stats_of(self.arena);
        CHECK_EQ(stats.used_bytes, 0);
        CHECK_EQ(stats.peak_bytes, 2000 + 1008);
        CHECK_EQ(stats.blocks, 0);
        CHECK_EQ(stats.waste_bytes, 0);
        CHECK_GE(stats.committed_bytes, committed);
        CHECK_EQ(stats_of(self.context).frame_bytes, 0);
        CHECK_EQ(fa_arena_alloc(self.arena, 2000), (void *)first);
        case_close(&self);
    }
}

TEST_SUITE(arena_mark, TEST(a_rewind_goes_back_to_the_mark), TEST(marks_nest_and_may_be_skipped),
           TEST(a_mark_may_be_rewound_to_many_times), TEST(a_mark_below_a_rewind_stays_good),
           TEST(a_rewind_over_chunks_restores_the_chunk_and_its_waste),
           TEST(a_rewind_undoes_tag_switches), TEST(a_zero_mark_is_stale),
           TEST(a_mark_from_before_a_reset_is_stale), TEST(a_mark_of_another_arena_is_stale),
           TEST(a_mark_beyond_the_present_position_is_stale),
           TEST(a_mark_that_was_undone_is_stale_after_the_arena_has_grown_again),
           TEST(a_mark_that_was_undone_long_ago_does_no_harm), TEST(a_mark_of_a_frame_ends_with_it),
           TEST(a_frame_in_flight_is_not_rewound),
           TEST(reset_undoes_everything_and_keeps_the_memory));

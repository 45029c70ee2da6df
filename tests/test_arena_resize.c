// Resizing: the last block in place, any other by moving, and what a refusal leaves alone.
#include "arena_fixture.h"

#include <stdio.h>

static unsigned char *filled(fa_arena *arena, size_t size, unsigned char with) {
    unsigned char *ptr = fa_arena_alloc(arena, size);
    REQUIRE_NOT_NULL(ptr);
    memset(ptr, with, size);
    return ptr;
}

// ---- In place ----

static void the_last_block_grows_in_place(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        filled(self.arena, 100, 1);
        unsigned char *ptr = filled(self.arena, 100, 0xB2);
        size_t size = 100;
        for (size_t more = 101; more < 3000; more += 61) {
            CHECK_EQ(fa_arena_resize(self.arena, ptr, size, more), ptr);
            CHECK_EQ(fa_arena_used(self.arena), 112 + rounded(more));
            CHECK(is_filled(ptr, size, 0xB2));
            memset(ptr, 0xB2, more);
            size = more;
        }
        CHECK_EQ(fa_arena_alloc(self.arena, 16), ptr + rounded(size));
        case_close(&self);
    }
}

static void the_last_block_shrinks_and_gives_the_rest_back(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        unsigned char *ptr = filled(self.arena, 2000, 0xC3);
        CHECK_EQ(fa_arena_resize(self.arena, ptr, 2000, 33), ptr);
        CHECK_EQ(fa_arena_used(self.arena), 48);
        CHECK(is_filled(ptr, 33, 0xC3));
        CHECK_EQ(arena_stats_of(self.arena).peak_bytes, 2000);
        CHECK_EQ(fa_arena_alloc(self.arena, 16), ptr + 48);
        case_close(&self);
    }
}

static void sizes_of_one_rounding_change_nothing(void) {
    arena_case self = case_open(ON_RANGE);
    unsigned char *ptr = filled(self.arena, 20, 7);
    CHECK_EQ(fa_arena_resize(self.arena, ptr, 20, 32), ptr);
    CHECK_EQ(fa_arena_used(self.arena), 32);
    CHECK_EQ(fa_arena_resize(self.arena, ptr, 32, 17), ptr);
    CHECK_EQ(fa_arena_used(self.arena), 32);
    CHECK_EQ(fa_arena_resize(self.arena, ptr, 17, 16), ptr);
    CHECK_EQ(fa_arena_used(self.arena), 16);
    CHECK(is_filled(ptr, 16, 7));
    case_close(&self);
}

// From one page to megabytes: memory is committed behind the block, which never moves.
static void growth_over_commits_stays_in_place(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){.reserve = 16 * MIB});
    unsigned char *ptr = filled(arena, 1, 0x44);
    for (size_t size = 1; size < 16 * MIB; size *= 2) {
        CHECK_EQ(fa_arena_resize(arena, ptr, size, 2 * size), ptr);
        CHECK(is_filled(ptr, size, 0x44));
        memset(ptr + size, 0x44, size);
    }
    CHECK_EQ(fa_arena_used(arena), 16 * MIB);
    CHECK_EQ(arena_stats_of(arena).blocks, 0);
    CHECK_EQ(arena_stats_of(arena).committed_bytes, 16 * MIB);
    fa_arena_destroy(arena);
    context_close(ctx);
}

static void growth_to_the_last_byte_of_the_memory_is_in_place(void) {
    fa_context *ctx = context_open(NULL);
    _Alignas(16) static unsigned char memory[1024];
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){.memory = memory, .memory_size = 1024});
    unsigned char *ptr = filled(arena, 100, 9);
    CHECK_NULL(fa_arena_resize(arena, ptr, 100, 1025));
    CHECK_EQ(fa_arena_resize(arena, ptr, 100, 1024), ptr);
    CHECK_EQ(fa_arena_used(arena), 1024);
    CHECK(is_filled(ptr, 100, 9));
    fa_arena_destroy(arena);
    context_close(ctx);
}

static void shrinking_uncharges_the_tag(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "a");
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    void *ptr = fa_arena_alloc(frame, 1000);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK); // Nothing was allocated since: it is still the last block.
    ptr = fa_arena_resize(frame, ptr, 1000, 100);
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 112);
    ptr = fa_arena_resize(frame, ptr, 100, 200);
    // Growth belongs to whoever grows it.
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 112);
    CHECK_EQ(tag_stats_of(ctx, FA_TAG_ROOT).current_bytes, 208);
    fa_frame_end(frame);
    context_close(ctx);
}

// ---- By moving ----

static void any_other_block_moves_to_grow(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        unsigned char *ptr = filled(self.arena, 200, 0xD4);
        unsigned char *last = filled(self.arena, 100, 0xE5);
        unsigned char *moved = fa_arena_resize(self.arena, ptr, 200, 300);
        CHECK_EQ(moved, last + 112);
        CHECK(is_filled(moved, 200, 0xD4));
        CHECK(is_filled(ptr, 200, 0xD4)); // It is still there: an arena frees nothing one by one.
        CHECK(is_filled(last, 100, 0xE5));
        CHECK_EQ(fa_arena_used(self.arena), 208 + 112 + 304);
        case_close(&self);
    }
}

static void any_other_block_shrinks_where_it_is_and_wins_nothing(void) {
    arena_case self = case_open(ON_RANGE);
    unsigned char *ptr = filled(self.arena, 200, 1);
    filled(self.arena, 100, 2);
    CHECK_EQ(fa_arena_resize(self.arena, ptr, 200, 10), ptr);
    CHECK_EQ(fa_arena_used(self.arena), 208 + 112);
    CHECK(is_filled(ptr, 10, 1));
    case_close(&self);
}

static void a_block_at_the_end_of_its_chunk_moves_to_the_next(void) {
    arena_case self = case_open(ON_CHUNKS);
    filled(self.arena, 3792, 1);
    unsigned char *ptr = filled(self.arena, 296, 0x6A); // To the last byte of the chunk.
    unsigned char *moved = fa_arena_resize(self.arena, ptr, 296, 400);
    CHECK_NE(moved, ptr);
    CHECK(is_filled(moved, 296, 0x6A));
    CHECK(is_filled(ptr, 296, 0x6A));
    CHECK_EQ(arena_stats_of(self.arena).blocks, 1);
    CHECK_EQ(arena_stats_of(self.arena).waste_bytes, 0);
    memset(moved, 0x6A, 400);
    CHECK_EQ(fa_arena_resize(self.arena, moved, 400, 800), moved); // There it is the last one.
    CHECK(is_filled(moved, 400, 0x6A));
    case_close(&self);
}

static void a_moved_block_keeps_the_alignment_that_is_asked_for(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        for (size_t align = 1; align <= 65536; align *= 2) {
            fa_arena_alloc(self.arena, 16);
            unsigned char *ptr = fa_arena_resize_aligned(self.arena, NULL, 0, 100, align);
            REQUIRE_NOT_NULL(ptr);
            CHECK_EQ((uintptr_t)ptr & (align - 1), 0);
            memset(ptr, 0x3C, 100);
            fa_arena_alloc(self.arena, 16);
            unsigned char *moved = fa_arena_resize_aligned(self.arena, ptr, 100, 500, align);
            REQUIRE_NOT_NULL(moved);
            CHECK_NE(moved, ptr);
            CHECK_EQ((uintptr_t)moved & (align - 1), 0);
            CHECK(is_filled(moved, 100, 0x3C));
            fa_arena_reset(self.arena);
        }
        case_close(&self);
    }
}

static void null_allocates(void) {
    arena_case self = case_open(ON_RANGE);
    unsigned char *ptr = fa_arena_resize(self.arena, NULL, 12345, 100);
    REQUIRE_NOT_NULL(ptr);
    CHECK_EQ(fa_arena_used(self.arena), 112);
    CHECK_NULL(fa_arena_resize(self.arena, NULL, 0, 0));
    refused_as(12, FA_ERR_INVALID, 0, 0);
    case_close(&self);
}

// A block older than one that stands aside is not the last, though it ends at the cursor.
static void a_block_below_one_that_stands_aside_is_not_the_last(void) {
    arena_case self = case_open(ON_CHUNKS);
    unsigned char *ptr = filled(self.arena, 1000, 1);
    unsigned char *aside = fa_arena_alloc_aligned(self.arena, 16, 8192);
    memset(aside, 2, 16);
    REQUIRE_EQ(arena_stats_of(self.arena).blocks, 1);
    CHECK_EQ(self.arena->cursor, (char *)ptr + 1008);
    size_t used = fa_arena_used(self.arena);
    fa_mark after = fa_arena_mark(self.arena);
    CHECK_EQ(fa_arena_resize(self.arena, ptr, 1000, 16), ptr);
    CHECK_EQ(fa_arena_used(self.arena), used);
    CHECK_EQ(fa_arena_rewind(self.arena, after), FA_OK);
    // The block aside is older than this mark, and outlives a rewind to it.
    fa_mark mark = fa_arena_mark(self.arena);
    filled(self.arena, 100, 3);
    CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_OK);
    CHECK_EQ(arena_stats_of(self.arena).blocks, 1);
    CHECK(is_filled(aside, 16, 2));
    // What came after it is the last block again, and grows in place.
    unsigned char *last = filled(self.arena, 100, 4);
    CHECK_EQ(fa_arena_resize(self.arena, last, 100, 500), last);
    CHECK_EQ(fa_arena_resize(self.arena, last, 500, 50), last);
    CHECK_EQ(fa_arena_used(self.arena), used + 64);
    case_close(&self);
}

static void a_block_that_stands_aside_moves_to_grow(void) {
    arena_case self = case_open(ON_CHUNKS);
    unsigned char *ptr = filled(self.arena, 5000, 0x5D);
    REQUIRE_EQ(arena_stats_of(self.arena).blocks, 1);
    unsigned char *moved = fa_arena_resize(self.arena, ptr, 5000, 9000);
    REQUIRE_NOT_NULL(moved);
    CHECK_NE(moved, ptr);
    CHECK(is_filled(moved, 5000, 0x5D));
    CHECK_EQ(arena_stats_of(self.arena).blocks, 2);
    CHECK_EQ(fa_arena_used(self.arena), rounded(5000) + rounded(9000));
    case_close(&self);
}

// ---- Marks ----

static void growth_past_a_mark_is_cut_off_by_a_rewind_to_it(void) {
    arena_case self = case_open(ON_RANGE);
    unsigned char *ptr = filled(self.arena, 100, 0x21);
    fa_mark mark = fa_arena_mark(self.arena);
    CHECK_EQ(fa_arena_resize(self.arena, ptr, 100, 5000), ptr);
    memset(ptr, 0x21, 5000);
    CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_OK);
    CHECK_EQ(fa_arena_used(self.arena), 112);
    CHECK(is_filled(ptr, 112, 0x21));
    CHECK_EQ(fa_arena_alloc(self.arena, 16), ptr + 112);
    case_close(&self);
}

static void a_mark_beyond_what_a_shrunk_block_left_is_stale_for_good(void) {
    arena_case self = case_open(ON_RANGE);
    fa_mark low = fa_arena_mark(self.arena);
    unsigned char *ptr = filled(self.arena, 64, 1);
    fa_mark mark = fa_arena_mark(self.arena);
    CHECK_EQ(fa_arena_resize(self.arena, ptr, 64, 32), ptr);
    fa_mark at = fa_arena_mark(self.arena);
    CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_ERR_STALE);
    failed_as(5, FA_ERR_STALE);
    unsigned char *next = filled(self.arena, 100, 2);
    CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_ERR_STALE);
    failed_as(5, FA_ERR_STALE);
    CHECK(is_filled(next, 100, 2));
    CHECK_EQ(fa_arena_rewind(self.arena, at), FA_OK);
    CHECK_EQ(fa_arena_used(self.arena), 32);
    CHECK_EQ(fa_arena_rewind(self.arena, low), FA_OK);
    CHECK_EQ(fa_arena_used(self.arena), 0);
    case_close(&self);
}

// Marks in a block that became the current one stay good when its first allocation shrinks below
// them.
static void marks_after_a_shrunk_first_block_of_a_chunk_are_good(void) {
    arena_case self = case_open(ON_CHUNKS);
    filled(self.arena, 3900, 1);
    unsigned char *ptr = filled(self.arena, 1000, 2); // The first of the second chunk.
    CHECK_EQ(arena_stats_of(self.arena).blocks, 1);
    CHECK_EQ(fa_arena_resize(self.arena, ptr, 1000, 100), ptr);
    fa_mark mark = fa_arena_mark(self.arena);
    filled(self.arena, 64, 3);
    CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_OK);
    CHECK_EQ(fa_arena_used(self.arena), rounded(3900) + 112);
    CHECK(is_filled(ptr, 100, 2));
    case_close(&self);
}

// ---- Refusals ----

static void a_refused_growth_leaves_the_block_and_the_arena(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open_desc(backing, (fa_arena_desc){.byte_limit = 2000});
        unsigned char *other = filled(self.arena, 512, 0x10);
        unsigned char *last = filled(self.arena, 512, 0x20);
        arena_snapshot shot = snapshot_take(self.arena, other);
        const struct {
            unsigned char *ptr;
            size_t new_size;
            size_t align;
            int code;
            fa_result result;
            size_t limit;
        } cases[] = {{last, 1489, 16, 3, FA_ERR_LIMIT, 2000},
                     {other, 1489, 16, 3, FA_ERR_LIMIT, 2000},
                     {last, SIZE_MAX, 16, 13, FA_ERR_OVERFLOW, SIZE_MAX / 2},
                     {other, SIZE_MAX - 15, 16, 13, FA_ERR_OVERFLOW, SIZE_MAX / 2},
                     {last, SIZE_MAX / 2 + 1, 16, 13, FA_ERR_OVERFLOW, SIZE_MAX / 2},
                     {last, SIZE_MAX / 2, 16, 3, FA_ERR_LIMIT, 2000},
                     {last, 0, 16, 12, FA_ERR_INVALID, 0},
                     {other, 0, 16, 12, FA_ERR_INVALID, 0},
                     {last, 600, 24, 18, FA_ERR_INVALID, FA_ALIGNMENT_MAX},
                     {last, 100, 0, 18, FA_ERR_INVALID, FA_ALIGNMENT_MAX},
                     {other, 600, 2 * MIB, 18, FA_ERR_INVALID, FA_ALIGNMENT_MAX}};
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            check_note("%s, case %zu", backing_name(backing), i);
            CHECK_NULL(fa_arena_resize_aligned(self.arena, cases[i].ptr, 512, cases[i].new_size,
                                               cases[i].align));
            refused_as(cases[i].code, cases[i].result, cases[i].new_size, cases[i].limit);
            snapshot_check(&shot, self.arena, i + 1);
        }
        snapshot_free(&shot);
        case_close(&self);
    }
}

static void a_budget_refuses_growth_in_place(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "a");
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = 1024}), FA_OK);
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){.tag = tag});
    unsigned char *ptr = filled(arena, 512, 0x77);
    CHECK_NULL(fa_arena_resize(arena, ptr, 512, 1025));
    refused_as(302, FA_ERR_BUDGET, 1025, 1024);
    CHECK(is_filled(ptr, 512, 0x77));
    CHECK_EQ(fa_arena_used(arena), 512);
    CHECK_EQ(fa_arena_resize(arena, ptr, 512, 1024), ptr);
    CHECK_EQ(fa_arena_used(arena), 1024);
    fa_arena_destroy(arena);
    context_close(ctx);
}

typedef struct intruder {
    fa_arena *arena;
    unsigned char *block;
} intruder;

static void allocate_in_between(const fa_budget_event *event, void *user) {
    intruder *self = user;
    if (!event->is_hard && self->block == NULL) {
        self->block = fa_arena_alloc(self->arena, 64);
        memset(self->block, 0x99, 64);
    }
}

static void a_block_moves_when_a_budgets_callback_allocates_behind_it(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "a");
    intruder self = {0};
    CHECK_EQ(
        fa_budget_set(ctx, tag,
                      &(fa_budget){.soft = 1024, .callback = allocate_in_between, .user = &self}),
        FA_OK);
    self.arena = arena_open(ctx, (fa_arena_desc){.tag = tag});
    unsigned char *ptr = filled(self.arena, 1000, 0x66);
    unsigned char *moved = fa_arena_resize(self.arena, ptr, 1000, 1100);
    REQUIRE(moved != NULL && self.block != NULL);
    CHECK_EQ(self.block, ptr + 1008);
    CHECK_EQ(moved, self.block + 64);
    CHECK(is_filled(moved, 1000, 0x66));
    memset(moved, 0x66, 1100);
    CHECK(is_filled(self.block, 64, 0x99));
    CHECK_EQ(fa_arena_used(self.arena), 1008 + 64 + 1104);
    fa_arena_destroy(self.arena);
    context_close(ctx);
}

static void resizing_in_a_frame_that_is_over_is_refused(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *frame = fa_frame_begin(ctx);
    unsigned char *ptr = filled(frame, 100, 1);
    fa_frame_end(frame);
    CHECK_NULL(fa_arena_resize(frame, ptr, 100, 50));
    failed_as(1, FA_ERR_NO_FRAME);
    CHECK_NULL(fa_arena_resize(frame, ptr, 100, 200));
    failed_as(1, FA_ERR_NO_FRAME);
    context_close(ctx);
}

typedef struct seen_growth {
    size_t count;
    fa_watch_event last;
} seen_growth;

static void note_growth(const fa_watch_event *event, void *user) {
    seen_growth *seen = user;
    seen->count += 1;
    seen->last = *event;
}

static void a_watched_growth_is_seen_as_the_block_and_its_new_size(void) {
    arena_case self = case_open(ON_RANGE);
    seen_growth seen = {0};
    CHECK_EQ(fa_watch_set(self.context, note_growth, &seen), FA_OK);
    CHECK_EQ(fa_context_checks_set(self.context, FA_CHECK_WATCH), FA_OK);
    unsigned char *ptr = filled(self.arena, 100, 1);
    CHECK_EQ(seen.count, 1);
    CHECK_EQ(fa_arena_resize(self.arena, ptr, 100, 300), ptr);
    CHECK_EQ(seen.count, 2);
    CHECK_EQ(seen.last.ptr, ptr);
    CHECK_EQ(seen.last.size, 300);
    CHECK_EQ(fa_arena_resize(self.arena, ptr, 300, 50), ptr);
    CHECK_EQ(seen.count, 2);
    case_close(&self);
}

TEST_SUITE(arena_resize, TEST(the_last_block_grows_in_place),
           TEST(the_last_block_shrinks_and_gives_the_rest_back),
           TEST(sizes_of_one_rounding_change_nothing), TEST(growth_over_commits_stays_in_place),
           TEST(growth_to_the_last_byte_of_the_memory_is_in_place),
           TEST(shrinking_uncharges_the_tag), TEST(any_other_block_moves_to_grow),
           TEST(any_other_block_shrinks_where_it_is_and_wins_nothing),
           TEST(a_block_at_the_end_of_its_chunk_moves_to_the_next),
           TEST(a_moved_block_keeps_the_alignment_that_is_asked_for), TEST(null_allocates),
           TEST(a_block_below_one_that_stands_aside_is_not_the_last),
           TEST(a_block_that_stands_aside_moves_to_grow),
           TEST(growth_past_a_mark_is_cut_off_by_a_rewind_to_it),
           TEST(a_mark_beyond_what_a_shrunk_block_left_is_stale_for_good),
           TEST(marks_after_a_shrunk_first_block_of_a_chunk_are_good),
           TEST(a_refused_growth_leaves_the_block_and_the_arena),
           TEST(a_budget_refuses_growth_in_place),
           TEST(a_block_moves_when_a_budgets_callback_allocates_behind_it),
           TEST(resizing_in_a_frame_that_is_over_is_refused),
           TEST(a_watched_growth_is_seen_as_the_block_and_its_new_size));

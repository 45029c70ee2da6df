// What gives memory back: marks and rewinds, reset, trim.
#include "model.h"

enum { REWINDS_KNOWN = 8 };

void model_mark_one(model_world *world, model_arena *arena) {
    fa_mark real = fa_arena_mark(arena->real);
    EXPECT_EQ(world, real.offset, arena->used);
    EXPECT_PTR(world, arena->real->cursor, arena->cursor);
    if (arena->mark_count == MODEL_MARKS) {
        arena->mark_count = 0;
    }
    if (arena->is_open) {
        arena->marks[arena->mark_count++] = (model_mark){.real = real, .offset = arena->used};
    }
}

// Rewinding what is over is refused whatever the mark.
static void rewind_closed(model_world *world, model_arena *arena, fa_mark mark) {
    EXPECT_EQ(world, fa_arena_rewind(arena->real, mark), FA_ERR_NO_FRAME);
    world->reports_expected += 1;
    model_check_reports(world);
    EXPECT_EQ(world, world->last_report, 1);
}

static void rewind_refused(model_world *world, model_arena *arena, fa_mark mark) {
    fa_arena before = *arena->real;
    EXPECT_EQ(world, fa_arena_rewind(arena->real, mark), FA_ERR_STALE);
    world->reports_expected += 1;
    model_check_reports(world);
    EXPECT_EQ(world, world->last_report, 5);
    EXPECT_PTR(world, arena->real->cursor, before.cursor);
    EXPECT_PTR(world, arena->real->limit, before.limit);
    EXPECT_EQ(world, fa_arena_used(arena->real), arena->used);
}

void model_rewind(model_world *world, model_arena *arena) {
    if (arena->mark_count == 0) {
        return;
    }
    model_mark mark = arena->marks[check_rng_below(&world->rng, arena->mark_count)];
    if (!arena->is_open) {
        rewind_closed(world, arena, mark.real);
        return;
    }
    model_undo_before(world, arena, mark.offset);
    EXPECT_EQ(world, fa_arena_rewind(arena->real, mark.real), FA_OK);
    model_undo_after(world, arena, mark.offset);
    EXPECT_PTR(world, arena->real->cursor, arena->cursor);
    EXPECT_EQ(world, fa_arena_used(arena->real), arena->used);
    model_check_reports(world);
}

// A mark of a position that was undone. The library remembers a few rewinds of each fill; behind
// many of them such a mark may be taken for good, and must then be followed.
static void rewind_gone(model_world *world, model_arena *arena, fa_mark mark) {
    if (!arena->is_open) {
        rewind_closed(world, arena, mark);
        return;
    }
    if (arena->rewinds <= REWINDS_KNOWN || mark.offset > arena->used) {
        rewind_refused(world, arena, mark);
        return;
    }
    model_undo_before(world, arena, mark.offset);
    if (fa_arena_rewind(arena->real, mark) == FA_OK) {
        model_undo_after(world, arena, mark.offset);
    } else {
        world->reports_expected += 1;
    }
    arena->undoing = SIZE_MAX;
    model_check_reports(world);
    EXPECT_PTR(world, arena->real->cursor, arena->cursor);
    EXPECT_EQ(world, fa_arena_used(arena->real), arena->used);
}

void model_rewind_stale(model_world *world, model_arena *arena) {
    fa_mark mark = {0};
    model_arena *other = model_any_arena(world);
    switch (check_rng_below(&world->rng, 4)) {
    case 0:
        break;
    case 1:
        if (other == NULL || other == arena) {
            return;
        }
        mark = fa_arena_mark(other->real);
        break;
    default: {
        size_t count = arena->gone_mark_count < MODEL_GONE ? arena->gone_mark_count : MODEL_GONE;
        if (count == 0) {
            return;
        }
        rewind_gone(world, arena, arena->gone_marks[check_rng_below(&world->rng, count)]);
        return;
    }
    }
    if (arena->is_open) {
        rewind_refused(world, arena, mark);
    } else {
        rewind_closed(world, arena, mark);
    }
}

void model_reset(model_world *world, model_arena *arena) {
    if (arena->kind != MODEL_IS_OWN) {
        fa_arena_reset(arena->real);
        world->reports_expected += 1;
        model_check_reports(world);
        EXPECT_EQ(world, world->last_report, 10);
        EXPECT_EQ(world, fa_arena_used(arena->real), arena->used);
        return;
    }
    model_undo_before(world, arena, 0);
    fa_arena_reset(arena->real);
    model_undo_after(world, arena, 0);
    model_all_marks_gone(arena);
    EXPECT_PTR(world, arena->real->cursor, arena->cursor);
    EXPECT_EQ(world, fa_arena_used(arena->real), 0);
    model_check_reports(world);
}

void model_trim(model_world *world, model_arena *arena) {
    size_t keep = check_rng_size(&world->rng, (size_t)1 << 20);
    fa_arena_stats_result before;
    fa_arena_stats_result after;
    if (check_rng_chance(&world->rng, 30)) {
        EXPECT_EQ(world, fa_context_trim(world->context, keep), FA_OK);
        return;
    }
    EXPECT_EQ(world, fa_arena_stats(arena->real, &before), FA_OK);
    EXPECT_EQ(world, fa_arena_trim(arena->real, keep), FA_OK);
    EXPECT_EQ(world, fa_arena_stats(arena->real, &after), FA_OK);
    EXPECT(world, after.committed_bytes <= before.committed_bytes);
    EXPECT(world, after.committed_bytes >= keep || after.committed_bytes == before.committed_bytes);
    EXPECT_EQ(world, after.reserved_bytes, before.reserved_bytes);
    EXPECT_EQ(world, after.used_bytes, arena->used);
    model_check_blocks(world, arena, 0);
}

// Frames, scratch scopes, tags, budgets, and arenas that come and go.
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

model_arena *model_any_arena(model_world *world) {
    size_t choice = check_rng_below(&world->rng, 20);
    model_arena *arena = world->frame;
    if (choice < 5) {
        arena = &world->own[check_rng_below(&world->rng, MODEL_OWN)];
    } else if (choice < 9) {
        arena = &world->scratch[check_rng_below(&world->rng, MODEL_SCRATCH)];
    } else if (choice == 9) {
        arena = &world->slots[check_rng_below(&world->rng, world->setup.frames_in_flight)];
    }
    return arena != NULL && arena->real != NULL ? arena : NULL;
}

static void expect_report(model_world *world, int code) {
    world->reports_expected += 1;
    model_check_reports(world);
    EXPECT_EQ(world, world->last_report, code);
}

// ---- Frames ----

static void close_scope(model_world *world, model_arena *arena, size_t keep);

// On chunks, an empty arena may get another first chunk when a frame's memory is taken back.
static void follow_first_chunk(model_world *world, model_arena *arena) {
    if (world->setup.cannot_commit && arena->real != NULL && arena->used == 0) {
        model_arena_starts(arena);
    }
}

static void follow_first_chunks(model_world *world) {
    for (size_t i = 0; i < MODEL_SLOTS; i++) {
        follow_first_chunk(world, &world->slots[i]);
    }
    for (size_t i = 0; i < MODEL_SCRATCH; i++) {
        follow_first_chunk(world, &world->scratch[i]);
    }
}

// The library has taken a slot's memory back.
static void slot_taken_back(model_world *world, model_arena *slot) {
    model_undo_after(world, slot, 0);
    model_all_marks_gone(slot);
    slot->is_held = false;
    slot->fence = 0;
}

static void frame_opened(model_world *world, model_arena *slot, fa_arena *frame) {
    EXPECT(world, slot->real == NULL || slot->real == frame);
    slot->real = frame;
    slot->is_open = true;
    size_t limit = world->thread_budget.frame_bytes;
    slot->byte_limit = limit == 0 ? SIZE_MAX : limit;
    model_arena_starts(slot);
    world->frame = slot;
    world->frame_index += 1;
    slot->index = world->frame_index;
    EXPECT_EQ(world, fa_frame_index(frame), world->frame_index);
    EXPECT_PTR(world, fa_frame_current(world->context), frame);
    for (size_t i = 0; i < MODEL_SCRATCH; i++) {
        for (size_t k = 0; k < world->scratch[i].scopes.count; k++) {
            world->scratch[i].scopes.items[k].in_frame = false;
        }
    }
}

void model_frame_begin(model_world *world) {
    if (world->frame != NULL) {
        EXPECT(world, fa_frame_begin(world->context) == NULL);
        EXPECT_EQ(world, fa_last_error()->result, FA_ERR_FRAME_OPEN);
        expect_report(world, 4);
        return;
    }
    model_arena *slot = &world->slots[world->frame_index % world->setup.frames_in_flight];
    bool waits = slot->is_held && slot->fence != 0;
    world->wait_result = check_rng_chance(&world->rng, 20) ? FA_ERR_TIMEOUT : FA_OK;
    world->waits_expected += waits ? 1 : 0;
    bool succeeds = !waits || world->wait_result == FA_OK;
    if (slot->is_held) {
        model_check_blocks(world, slot, 0); // Still as it was when its frame ended.
        slot->undoing = succeeds ? 0 : SIZE_MAX;
    }
    fa_last_error_clear();
    fa_arena *frame = fa_frame_begin(world->context);
    EXPECT_EQ(world, world->waits_seen, world->waits_expected);
    if (!EXPECT_EQ(world, frame != NULL, succeeds)) {
        return;
    }
    if (!succeeds) {
        EXPECT_EQ(world, fa_last_error()->result, FA_ERR_TIMEOUT);
        expect_report(world, 16);
        model_check_blocks(world, slot, 0);
        return;
    }
    if (slot->is_held) {
        slot_taken_back(world, slot);
    }
    model_check_reports(world);
    frame_opened(world, slot, frame);
    follow_first_chunks(world);
}

// Scopes opened in the frame and still open: how many there are, and on each arena how many stay.
static size_t scopes_in_frame(const model_world *world, size_t *keep) {
    size_t count = 0;
    for (size_t i = 0; i < MODEL_SCRATCH; i++) {
        const model_arena *arena = &world->scratch[i];
        keep[i] = arena->scopes.count;
        while (keep[i] != 0 && arena->scopes.items[keep[i] - 1].in_frame) {
            keep[i] -= 1;
            count += 1;
        }
    }
    return count;
}

void model_frame_end(model_world *world) {
    model_arena *slot = world->frame;
    if (slot == NULL) {
        model_frame_misuse(world);
        return;
    }
    size_t left_open = scopes_in_frame(world, world->scopes_kept);
    for (size_t i = 0; i < MODEL_SCRATCH; i++) {
        model_arena *arena = &world->scratch[i];
        if (arena->scopes.count > world->scopes_kept[i]) {
            model_undo_before(world, arena, arena->scopes.items[world->scopes_kept[i]].offset);
        }
    }
    bool at_once = world->setup.frames_in_flight == 1 && slot->fence == 0;
    if (at_once) {
        model_undo_before(world, slot, 0);
    }
    world->left_open_seen = 0;
    fa_frame_end(slot->real);
    slot->is_open = false;
    world->frame = NULL;
    for (size_t i = 0; i < MODEL_TAGS; i++) {
        world->frame_use[i].now = 0;
    }
    model_scopes_closed(world, MODEL_SCRATCH);
    if (left_open != 0) {
        EXPECT_EQ(world, world->left_open_seen, left_open);
        world->reports_expected += 1;
    }
    model_check_reports(world);
    if (at_once) {
        slot_taken_back(world, slot);
    } else {
        slot->is_held = true;
        EXPECT_EQ(world, fa_arena_used(slot->real), slot->used);
    }
    EXPECT(world, fa_frame_current(world->context) == NULL);
    world->changes += 1;
    follow_first_chunks(world);
}

// Ends something that is no open frame of this thread.
void model_frame_misuse(model_world *world) {
    fa_arena *what = NULL;
    model_arena *arena = model_any_arena(world);
    if (arena != NULL && !(arena->kind == MODEL_IS_FRAME && arena->is_open)) {
        what = arena->real;
    }
    fa_last_error_clear();
    fa_frame_end(what);
    EXPECT_EQ(world, fa_last_error()->code, 6);
    EXPECT_EQ(world, fa_last_error()->result, FA_ERR_NO_FRAME);
    if (what != NULL) { // Without an arena no context is known to report to.
        expect_report(world, 6);
    }
    EXPECT_PTR(world, fa_frame_current(world->context),
               world->frame == NULL ? NULL : world->frame->real);
}

void model_fence(model_world *world) {
    model_arena *slot = &world->slots[check_rng_below(&world->rng, world->setup.frames_in_flight)];
    if (slot->real == NULL) {
        return;
    }
    uint64_t value = check_rng_below(&world->rng, 3);
    bool is_fine = slot->is_open || slot->is_held;
    EXPECT_EQ(world, fa_frame_fence(slot->real, value), is_fine ? FA_OK : FA_ERR_NO_FRAME);
    if (is_fine) {
        slot->fence = value;
    } else {
        expect_report(world, 1);
    }
}

// ---- Scratch scopes ----

void model_scratch_begin(model_world *world) {
    fa_arena *conflicts[4] = {0};
    size_t count = 0;
    bool is_taken[MODEL_SCRATCH] = {false, false};
    for (size_t i = 0; i < MODEL_SCRATCH; i++) {
        if (world->scratch[i].real != NULL && check_rng_chance(&world->rng, 30)) {
            conflicts[count++] = world->scratch[i].real;
            is_taken[i] = true;
        }
    }
    if (world->frame != NULL && check_rng_chance(&world->rng, 30)) {
        conflicts[count++] = world->frame->real;
    }
    size_t which = is_taken[0] ? 1 : 0;
    fa_last_error_clear();
    fa_scratch real = fa_scratch_begin(world->context, conflicts, count);
    if (is_taken[which]) {
        EXPECT(world, real.arena == NULL);
        EXPECT_EQ(world, fa_last_error()->result, FA_ERR_INVALID);
        expect_report(world, 11);
        fa_scratch_end(real); // Ignored.
        model_check_reports(world);
        return;
    }
    model_arena *arena = &world->scratch[which];
    if (!EXPECT(world, real.arena != NULL && (arena->real == NULL || arena->real == real.arena))) {
        return;
    }
    arena->real = real.arena;
    if (arena->used == 0) {
        model_arena_starts(arena);
    }
    arena->is_open = true;
    arena->tag = world->current_tag;
    model_push_scope(arena, &(model_scope){real, arena->used, arena->tag, world->frame != NULL});
    world->changes += 1;
}

// The library has closed scopes of an arena: `keep` of them stay.
static void close_scope(model_world *world, model_arena *arena, size_t keep) {
    if (arena->scopes.count <= keep) {
        return;
    }
    size_t offset = arena->scopes.items[keep].offset;
    for (size_t i = keep; i < arena->scopes.count; i++) {
        arena->gone_scopes[arena->gone_scope_count % MODEL_GONE] = arena->scopes.items[i].real;
        arena->gone_scope_count += 1;
    }
    arena->scopes.count = keep;
    model_undo_after(world, arena, offset);
    arena->is_open = keep != 0;
    if (keep != 0) {
        arena->tag = arena->scopes.items[keep - 1].tag;
    } else {
        model_all_marks_gone(arena);
        follow_first_chunk(world, arena);
    }
    EXPECT_PTR(world, arena->real->cursor, arena->cursor);
    EXPECT_EQ(world, fa_arena_used(arena->real), arena->used);
}

void model_scopes_closed(model_world *world, size_t count) {
    for (size_t i = 0; i < count; i++) {
        close_scope(world, &world->scratch[i], world->scopes_kept[i]);
        world->scopes_kept[i] = SIZE_MAX;
    }
}

void model_scratch_end(model_world *world) {
    model_arena *arena = &world->scratch[check_rng_below(&world->rng, MODEL_SCRATCH)];
    size_t count = arena->scopes.count;
    if (count == 0) {
        return;
    }
    // Mostly the innermost; an outer one closes those inside it.
    size_t index =
        check_rng_chance(&world->rng, 85) ? count - 1 : check_rng_below(&world->rng, count);
    model_undo_before(world, arena, arena->scopes.items[index].offset);
    fa_scratch_end(arena->scopes.items[index].real);
    close_scope(world, arena, index);
    model_check_reports(world);
}

void model_scratch_end_again(model_world *world) {
    model_arena *arena = &world->scratch[check_rng_below(&world->rng, MODEL_SCRATCH)];
    size_t count = arena->gone_scope_count < MODEL_GONE ? arena->gone_scope_count : MODEL_GONE;
    if (count == 0) {
        return;
    }
    fa_last_error_clear();
    fa_scratch_end(arena->gone_scopes[check_rng_below(&world->rng, count)]);
    EXPECT_EQ(world, fa_last_error()->result, FA_ERR_STALE);
    expect_report(world, 7);
    EXPECT_PTR(world, arena->real->cursor, arena->cursor);
    EXPECT_EQ(world, fa_arena_used(arena->real), arena->used);
}

// ---- Tags ----

void model_tag_push(model_world *world) {
    uint32_t tag = (uint32_t)check_rng_below(&world->rng, MODEL_TAGS);
    if (check_rng_chance(&world->rng, 1)) {
        EXPECT_EQ(world, fa_tag_push(world->context, (fa_tag){60000}), FA_ERR_INVALID);
        expect_report(world, 802);
        return;
    }
    // One place is left for the tag-bound allocators.
    if (world->tag_depth == MODEL_TAG_DEPTH - 1) {
        EXPECT_EQ(world, fa_tag_push(world->context, world->tags[tag]), FA_OK);
        EXPECT_EQ(world, fa_tag_push(world->context, world->tags[tag]), FA_ERR_LIMIT);
        expect_report(world, 803);
        EXPECT_EQ(world, fa_tag_pop(world->context), FA_OK);
        return;
    }
    EXPECT_EQ(world, fa_tag_push(world->context, world->tags[tag]), FA_OK);
    world->tag_stack[world->tag_depth++] = world->current_tag;
    world->current_tag = tag;
    EXPECT_EQ(world, fa_tag_current(world->context).id, world->tags[tag].id);
}

void model_tag_pop(model_world *world) {
    if (world->tag_depth == 0) {
        EXPECT_EQ(world, fa_tag_pop(world->context), FA_ERR_INVALID);
        expect_report(world, 803);
        return;
    }
    EXPECT_EQ(world, fa_tag_pop(world->context), FA_OK);
    world->current_tag = world->tag_stack[--world->tag_depth];
    EXPECT_EQ(world, fa_tag_current(world->context).id, world->tags[world->current_tag].id);
}

// ---- Budgets ----

void model_budget_set(model_world *world) {
    uint32_t tag = (uint32_t)check_rng_below(&world->rng, MODEL_TAGS);
    fa_budget budget = {0};
    if (world->setup.has_budgets && check_rng_chance(&world->rng, tag == 0 ? 30 : 70)) {
        // Often just above what is in use, sometimes below it.
        size_t used = world->use[tag];
        size_t near_bytes = check_rng_size(&world->rng, (size_t)256 << 10);
        budget.hard = check_rng_chance(&world->rng, 10) ? used / 2 : used + near_bytes;
        budget.soft =
            check_rng_chance(&world->rng, 40) ? check_rng_size(&world->rng, budget.hard) : 0;
        budget.policy = check_rng_chance(&world->rng, 15) ? FA_BUDGET_WARN : FA_BUDGET_FAIL;
        budget.callback = check_rng_chance(&world->rng, 80) ? model_budget_event : NULL;
        budget.user = world;
    }
    EXPECT_EQ(world, fa_budget_set(world->context, world->tags[tag], &budget), FA_OK);
    world->budgets[tag] = budget;
    world->soft_told[tag] = false;
    world->soft_armed[tag] =
        budget.soft != 0 && budget.callback != NULL && world->use[tag] <= budget.soft;
    world->changes += 1;
}

void model_thread_budget_set(model_world *world) {
    fa_thread_budget budget = {0};
    if (world->setup.has_budgets && check_rng_chance(&world->rng, 50)) {
        budget.frame_bytes = check_rng_size(&world->rng, (size_t)512 << 10);
        budget.callback = check_rng_chance(&world->rng, 50) ? model_budget_event : NULL;
        budget.user = world;
    }
    EXPECT_EQ(world, fa_budget_set_thread(world->context, &budget), FA_OK);
    world->thread_budget = budget;
    if (world->frame != NULL) {
        world->frame->byte_limit = budget.frame_bytes == 0 ? SIZE_MAX : budget.frame_bytes;
    }
    world->changes += 1;
}

// ---- Arenas that come and go ----

static fa_arena_desc random_desc(model_world *world, model_arena *arena) {
    fa_arena_desc desc = {.name = arena->name, .tag = world->tags[arena->tag]};
    switch (check_rng_below(&world->rng, 4)) {
    case 0:
        desc.chunk_size = (size_t)4096 << check_rng_below(&world->rng, 5);
        break;
    case 1:
        desc.memory_size = check_rng_between(&world->rng, 1, 100000);
        arena->memory = malloc(desc.memory_size);
        REQUIRE_NOT_NULL(arena->memory);
        desc.memory = arena->memory;
        break;
    case 2:
        desc.reserve = check_rng_between(&world->rng, 1, (size_t)1 << 20);
        desc.initial = check_rng_below(&world->rng, desc.reserve);
        break;
    default:
        desc.reserve = (size_t)16 << 20;
        break;
    }
    if (check_rng_chance(&world->rng, 30)) {
        desc.byte_limit = check_rng_between(&world->rng, 1, 200000);
    }
    return desc;
}

void model_own_create(model_world *world) {
    size_t index = check_rng_below(&world->rng, MODEL_OWN);
    model_arena *arena = &world->own[index];
    if (arena->real != NULL) {
        return;
    }
    arena->kind = MODEL_IS_OWN;
    arena->tag = (uint32_t)check_rng_below(&world->rng, MODEL_TAGS);
    snprintf(arena->name, sizeof(arena->name), "own %u", (unsigned)index);
    fa_arena_desc desc = random_desc(world, arena);
    if (!EXPECT_EQ(world, fa_arena_create(world->context, &desc, &arena->real), FA_OK)) {
        return;
    }
    arena->is_open = true;
    arena->is_fixed = desc.memory != NULL;
    arena->byte_limit = desc.byte_limit == 0 ? SIZE_MAX : desc.byte_limit;
    model_arena_starts(arena);
    world->changes += 1;
}

void model_own_destroy(model_world *world, model_arena *arena) {
    if (arena->kind != MODEL_IS_OWN) {
        fa_arena_destroy(arena->real);
        expect_report(world, 10);
        EXPECT_EQ(world, fa_arena_used(arena->real), arena->used);
        return;
    }
    model_undo_before(world, arena, 0);
    fa_arena_destroy(arena->real);
    model_undo_after(world, arena, 0);
    model_check_reports(world);
    if (!world->failed) {
        world->ended[arena->tag].now += 1;
        world->ended[arena->tag].most += arena->peak;
        model_arena_free(arena);
    }
}

void model_checks_set(model_world *world) {
    bool watched = check_rng_chance(&world->rng, 30);
    EXPECT_EQ(world, fa_context_checks_set(world->context, watched ? FA_CHECK_WATCH : 0), FA_OK);
    world->is_watched = watched;
}

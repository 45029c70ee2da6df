// The arrays of the model: what is in use, by whom, and what each limit leaves. Nothing here calls
// the library.
#include "model.h"

#include <stdlib.h>
#include <string.h>

bool model_expect(model_world *world, const char *file, int line, const char *what, uint64_t is,
                  uint64_t want) {
    if (is == want || world->failed) {
        return is == want;
    }
    world->failed = true; // What follows would only be confusion.
    return check_fail(
        file, line,
        "%s is %llu, not %llu, at step %llu: %s\n"
        "    (world seed %llu, %u frames in flight%s%s%s)",
        what, (unsigned long long)is, (unsigned long long)want, (unsigned long long)world->step,
        world->doing, (unsigned long long)world->setup.seed,
        (unsigned)world->setup.frames_in_flight, world->setup.cannot_commit ? ", on chunks" : "",
        world->setup.is_narrow ? ", narrow" : "", world->setup.has_budgets ? ", budgets" : "");
}

// Inside a callback the report of what goes on around it may have come already.
void model_check_reports(model_world *world) {
    if (world->nesting == 0) {
        EXPECT_EQ(world, world->reports_seen, world->reports_expected);
    }
}

size_t model_rounded(size_t size) {
    return (size + (FA_ALIGNMENT - 1)) & ~(FA_ALIGNMENT - 1);
}

uint32_t model_tag_of(const model_world *world, const model_arena *arena) {
    // What is closed belongs to nobody: the refusal is the current tag's.
    bool is_current = arena->kind == MODEL_IS_FRAME || !arena->is_open;
    return is_current && arena->kind != MODEL_IS_OWN ? world->current_tag : arena->tag;
}

// ---- Predicting ----

static uint32_t parent_of(const model_world *world, uint32_t tag) {
    return tag == 0 ? MODEL_TAGS : world->parents[tag];
}

size_t model_remaining(const model_world *world, uint32_t tag) {
    size_t remaining = SIZE_MAX;
    for (uint32_t node = tag; node < MODEL_TAGS; node = parent_of(world, node)) {
        const fa_budget *budget = &world->budgets[node];
        if (budget->hard == 0 || budget->policy != FA_BUDGET_FAIL) {
            continue;
        }
        size_t used = world->use[node];
        size_t left = budget->hard > used ? budget->hard - used : 0;
        remaining = left < remaining ? left : remaining;
    }
    return remaining;
}

// The first line on the way up that `bytes` more would pass; 0: none.
static size_t refusing_line(const model_world *world, uint32_t tag, size_t bytes) {
    for (uint32_t node = tag; node < MODEL_TAGS; node = parent_of(world, node)) {
        const fa_budget *budget = &world->budgets[node];
        size_t used = world->use[node];
        if (budget->hard == 0 || budget->policy != FA_BUDGET_FAIL) {
            continue;
        }
        if (used > budget->hard || bytes > budget->hard - used) {
            return budget->hard;
        }
    }
    return 0;
}

static model_verdict denied(fa_result result, int code, size_t limit) {
    return (model_verdict){.result = result, .code = code, .limit = limit};
}

static model_verdict predict_limits(const model_world *world, const model_arena *arena,
                                    uint32_t tag, size_t bytes, size_t align) {
    size_t pad = (size_t)(0 - arena->cursor) & (align - 1);
    bool is_here = pad <= arena->room && bytes <= arena->room - pad;
    size_t need = is_here ? pad + bytes : bytes;
    size_t limit = arena->byte_limit;
    if (arena->used > limit || need > limit - arena->used) {
        bool is_frame = arena->kind == MODEL_IS_FRAME;
        return denied(is_frame ? FA_ERR_BUDGET : FA_ERR_LIMIT, is_frame ? 303 : 3, limit);
    }
    if (!is_here && arena->is_fixed) {
        return denied(FA_ERR_OUT_OF_MEMORY, 3, arena->reserved);
    }
    size_t line = refusing_line(world, tag, need);
    if (line != 0) {
        return denied(FA_ERR_BUDGET, 302, line);
    }
    if (bytes > SIZE_MAX / 4) {
        return denied(FA_ERR_OUT_OF_MEMORY, 305, 0); // No machine has that.
    }
    return (model_verdict){.result = FA_OK, .pad = is_here ? pad : 0, .is_here = is_here};
}

model_verdict model_predict(const model_world *world, const model_arena *arena, uint32_t tag,
                            size_t size, size_t align) {
    if (size == 0) {
        return denied(FA_ERR_INVALID, 12, 0);
    }
    if (align == 0 || (align & (align - 1)) != 0 || align > FA_ALIGNMENT_MAX) {
        return denied(FA_ERR_INVALID, 18, FA_ALIGNMENT_MAX);
    }
    if (size > SIZE_MAX / 2) {
        return denied(FA_ERR_OVERFLOW, 13, SIZE_MAX / 2);
    }
    if (!arena->is_open) {
        return denied(FA_ERR_NO_FRAME, 1, 0);
    }
    return predict_limits(world, arena, tag, model_rounded(size), align);
}

// ---- Bytes in use ----

static void raise(model_peak *peak, size_t bytes) {
    peak->now += bytes;
    peak->most = peak->now > peak->most ? peak->now : peak->most;
}

// The peaks of a tag that are kept apart: in all frames together, in the open frame, in each
// scratch arena.
static void note_peaks(model_world *world, const model_arena *arena, uint32_t tag, size_t bytes) {
    if (arena->kind == MODEL_IS_FRAME) {
        raise(&world->held[MODEL_HELD_BY_FRAMES][tag], bytes);
    } else if (arena->kind == MODEL_IS_SCRATCH) {
        bool is_first = arena == world->scratch;
        raise(&world->held[is_first ? MODEL_HELD_BY_SCRATCH : MODEL_HELD_BY_OTHER][tag], bytes);
    }
    if (arena == world->frame) {
        raise(&world->frame_use[tag], bytes);
    }
}

static void charge(model_world *world, uint32_t tag, size_t bytes) {
    for (uint32_t node = tag; node < MODEL_TAGS; node = parent_of(world, node)) {
        world->use[node] += bytes;
        if (world->use[node] > world->use_peak[node]) {
            world->use_peak[node] = world->use[node];
        }
    }
    world->use_all += bytes;
}

static void uncharge(model_world *world, uint32_t tag, size_t bytes) {
    for (uint32_t node = tag; node < MODEL_TAGS; node = parent_of(world, node)) {
        world->use[node] -= bytes;
    }
    world->use_all -= bytes;
}

// Room for one more item.
static void *grown(void *items, size_t *room, size_t count, size_t size) {
    if (count < *room) {
        return items;
    }
    *room = *room == 0 ? 16 : 2 * *room;
    void *more = realloc(items, *room * size);
    REQUIRE_NOT_NULL(more);
    return more;
}
#define GROW(stack)                                                                                \
    ((stack).items = grown((stack).items, &(stack).room, (stack).count, sizeof(*(stack).items)))

void model_push_block(model_arena *arena, const model_block *block) {
    GROW(arena->blocks);
    arena->blocks.items[arena->blocks.count++] = *block;
}

void model_push_cleanup(model_arena *arena, model_cleanup *cleanup) {
    GROW(arena->cleanups);
    arena->cleanups.items[arena->cleanups.count++] = cleanup;
}

void model_push_scope(model_arena *arena, const model_scope *scope) {
    GROW(arena->scopes);
    arena->scopes.items[arena->scopes.count++] = *scope;
}

void model_take(model_world *world, model_arena *arena, uint32_t tag, size_t bytes) {
    charge(world, tag, bytes);
    note_peaks(world, arena, tag, bytes);
    arena->used += bytes;
    if (arena->used > arena->peak) {
        arena->peak = arena->used;
    }
    size_t count = arena->extents.count;
    if (count != 0 && arena->extents.items[count - 1].tag == tag) {
        arena->extents.items[count - 1].bytes += bytes;
        return;
    }
    GROW(arena->extents);
    arena->extents.items[arena->extents.count++] = (model_extent){bytes, tag};
}

static void give_back(model_world *world, model_arena *arena, size_t bytes) {
    arena->used -= bytes;
    while (bytes != 0) {
        model_extent *top = &arena->extents.items[arena->extents.count - 1];
        size_t part = bytes < top->bytes ? bytes : top->bytes;
        uncharge(world, top->tag, part);
        note_peaks(world, arena, top->tag, 0 - part); // Wraps, and so does the sum.
        top->bytes -= part;
        bytes -= part;
        if (top->bytes == 0) {
            arena->extents.count -= 1;
        }
    }
}

void model_marks_gone(model_arena *arena, size_t offset) {
    size_t kept = 0;
    for (size_t i = 0; i < arena->mark_count; i++) {
        const model_mark *mark = &arena->marks[i];
        if (mark->offset > offset) {
            arena->gone_marks[arena->gone_mark_count % MODEL_GONE] = mark->real;
            arena->gone_mark_count += 1;
        } else {
            arena->marks[kept++] = *mark;
        }
    }
    arena->mark_count = kept;
}

void model_all_marks_gone(model_arena *arena) {
    for (size_t i = 0; i < arena->mark_count; i++) {
        arena->gone_marks[arena->gone_mark_count % MODEL_GONE] = arena->marks[i].real;
        arena->gone_mark_count += 1;
    }
    arena->mark_count = 0;
    arena->rewinds = 0;
}

// A refused allocation is counted, whatever the reason. `arena` is NULL when no frame was open.
void model_refused(model_world *world, model_arena *arena, uint32_t tag) {
    if (arena != NULL) {
        arena->refusals += 1;
    }
    world->refusals += 1;
    for (uint32_t node = tag; node < MODEL_TAGS; node = parent_of(world, node)) {
        world->tag_refusals[node] += 1;
    }
    world->denied += 1;
}

// ---- Contents ----

void model_fill(model_world *world, model_block *block) {
    block->fill = (unsigned char)check_rng_next(&world->rng);
    memset(block->ptr, block->fill, block->size);
}

bool model_block_intact(const model_block *block) {
    return block->is_private || (block->ptr[0] == block->fill &&
                                 memcmp(block->ptr, block->ptr + 1, block->size - 1) == 0);
}

void model_check_blocks(model_world *world, const model_arena *arena, size_t from) {
    for (size_t i = arena->blocks.count; i > 0 && !world->failed; i--) {
        const model_block *block = &arena->blocks.items[i - 1];
        if (block->start + block->bytes <= from) {
            break;
        }
        EXPECT(world, model_block_intact(block));
    }
}

// ---- Undoing ----

// A scope begins where the arena stood when it was opened, or at the lowest it fell to since.
static void lower_scopes(model_arena *arena) {
    for (size_t i = arena->scopes.count; i > 0; i--) {
        model_scope *scope = &arena->scopes.items[i - 1];
        scope->offset = scope->offset < arena->used ? scope->offset : arena->used;
    }
}

void model_undo_before(model_world *world, model_arena *arena, size_t offset) {
    model_check_blocks(world, arena, offset);
    arena->undoing = offset;
}

// Blocks that begin beyond `offset` are gone; one that grew past it is cut.
static void cut_blocks(model_arena *arena, size_t offset) {
    while (arena->blocks.count != 0) {
        model_block *top = &arena->blocks.items[arena->blocks.count - 1];
        if (top->start < offset) {
            if (top->start + top->bytes > offset) {
                top->bytes = offset - top->start;
                top->size = top->size < top->bytes ? top->size : top->bytes;
            }
            break;
        }
        arena->blocks.count -= 1;
    }
}

void model_undo_after(model_world *world, model_arena *arena, size_t offset) {
    size_t left = arena->cleanups.count;
    EXPECT(world, left == 0 || arena->cleanups.items[left - 1]->offset < offset);
    if (world->failed) {
        return;
    }
    cut_blocks(arena, offset);
    size_t back = arena->used - offset;
    while (arena->pieces.count != 0 &&
           arena->pieces.items[arena->pieces.count - 1].opened_at >= offset) {
        const model_piece *piece = &arena->pieces.items[--arena->pieces.count];
        arena->cursor = piece->cursor;
        arena->room = piece->room;
        arena->waste = piece->waste;
        back = piece->opened_at - offset;
    }
    arena->cursor -= back;
    arena->room += back;
    give_back(world, arena, arena->used - offset);
    arena->rewinds += 1;
    model_marks_gone(arena, offset);
    lower_scopes(arena);
    arena->undoing = SIZE_MAX;
    world->changes += 1;
}

void model_shrink(model_world *world, model_arena *arena, size_t bytes) {
    arena->cursor -= bytes;
    arena->room += bytes;
    give_back(world, arena, bytes);
    arena->rewinds += 1;
    model_marks_gone(arena, arena->used);
    lower_scopes(arena);
    world->changes += 1;
}

void model_push_piece(model_arena *arena, const model_piece *piece) {
    GROW(arena->pieces);
    arena->pieces.items[arena->pieces.count++] = *piece;
}

void model_arena_starts(model_arena *arena) {
    fa_arena_stats_result stats;
    CHECK_EQ(fa_arena_stats(arena->real, &stats), FA_OK);
    CHECK_EQ(stats.used_bytes, 0);
    CHECK_EQ(stats.blocks, 0);
    arena->reserved = stats.reserved_bytes;
    arena->cursor = (uintptr_t)arena->real->cursor;
    arena->room = stats.reserved_bytes;
    arena->undoing = SIZE_MAX;
}

void model_arena_free(model_arena *arena) {
    for (size_t i = 0; i < arena->cleanups.count; i++) {
        free(arena->cleanups.items[i]);
    }
    free(arena->blocks.items);
    free(arena->extents.items);
    free(arena->pieces.items);
    free(arena->cleanups.items);
    free(arena->scopes.items);
    free(arena->memory);
    *arena = (model_arena){0};
}

// Allocating, resizing and cleanups: each call is predicted, made, and compared.
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 4096 };

static size_t pad_of(const model_world *world, size_t align) {
    size_t step = align > FA_ALIGNMENT ? align : FA_ALIGNMENT;
    return (world->block_header + (step - 1)) & ~(step - 1);
}

// ---- After a request was granted ----

// A request went into a further block: finds out how large that is and whether the cursor is in it.
static void note_piece(model_world *world, model_arena *arena, uintptr_t ptr, size_t bytes,
                       size_t align) {
    fa_arena_stats_result stats;
    EXPECT_EQ(world, fa_arena_stats(arena->real, &stats), FA_OK);
    size_t known = arena->reserved;
    for (size_t i = 0; i < arena->pieces.count; i++) {
        known += arena->pieces.items[i].bytes;
    }
    model_piece piece = {.opened_at = arena->used,
                         .cursor = arena->cursor,
                         .room = arena->room,
                         .waste = arena->waste,
                         .bytes = stats.reserved_bytes - known};
    uintptr_t base = ptr - pad_of(world, align);
    piece.is_aside = (uintptr_t)arena->real->cursor == arena->cursor;
    EXPECT_EQ(world, stats.blocks, arena->pieces.count + 1);
    EXPECT(world, pad_of(world, align) + bytes <= piece.bytes);
    if (!piece.is_aside) {
        arena->cursor = ptr + bytes;
        arena->room = base + piece.bytes - arena->cursor;
    }
    arena->waste = stats.waste_bytes;
    model_push_piece(arena, &piece);
}

// No block in use anywhere overlaps this one.
static void check_apart(model_world *world, const model_arena *arena, const model_block *block) {
    for (size_t i = 0; i < arena->blocks.count; i++) {
        const model_block *other = &arena->blocks.items[i];
        uintptr_t a = (uintptr_t)block->ptr;
        uintptr_t b = (uintptr_t)other->ptr;
        EXPECT(world, a + block->bytes <= b || b + other->bytes <= a);
    }
}

static void check_apart_from_all(model_world *world, const model_block *block) {
    for (size_t i = 0; i < MODEL_SLOTS; i++) {
        check_apart(world, &world->slots[i], block);
    }
    for (size_t i = 0; i < MODEL_SCRATCH; i++) {
        check_apart(world, &world->scratch[i], block);
    }
    for (size_t i = 0; i < MODEL_OWN; i++) {
        check_apart(world, &world->own[i], block);
    }
}

// Whoever has come above a soft line since it was set has been told so.
// (Inside a callback the telling may still be going on.)
static void check_soft_lines(model_world *world, uint32_t tag) {
    if (world->nesting != 0) {
        return;
    }
    for (uint32_t node = tag;; node = world->parents[node]) {
        const fa_budget *budget = &world->budgets[node];
        if (world->soft_armed[node] && world->use[node] > budget->soft) {
            EXPECT(world, world->soft_told[node]);
        }
        if (node == 0) {
            return;
        }
    }
}

static void granted(model_world *world, model_arena *arena, uint32_t tag, model_block *block,
                    const model_verdict *verdict) {
    uintptr_t ptr = (uintptr_t)block->ptr;
    EXPECT_EQ(world, ptr & (block->align - 1), 0);
    EXPECT_EQ(world, ptr & (FA_ALIGNMENT - 1), 0);
    block->bytes = model_rounded(block->size);
    if (verdict->is_here) {
        EXPECT_EQ(world, ptr, arena->cursor + verdict->pad);
        arena->cursor += verdict->pad + block->bytes;
        arena->room -= verdict->pad + block->bytes;
    } else {
        note_piece(world, arena, ptr, block->bytes, block->align);
    }
    block->start = arena->used + verdict->pad;
    if (check_rng_chance(&world->rng, 3)) {
        check_apart_from_all(world, block);
    }
    model_take(world, arena, tag, verdict->pad + block->bytes);
    EXPECT_PTR(world, arena->real->cursor, arena->cursor);
    EXPECT(world, arena->real->limit >= arena->real->cursor);
    EXPECT(world, (size_t)(arena->real->limit - arena->real->cursor) <= arena->room);
    EXPECT_EQ(world, fa_arena_used(arena->real), arena->used);
    if (!block->is_private && !world->failed) {
        model_fill(world, block);
    }
    model_push_block(arena, block);
    check_soft_lines(world, tag);
    world->changes += 1;
    world->granted += 1;
    if (world->is_watched) {
        world->watched_expected += 1;
        EXPECT_EQ(world, world->watched_seen, world->watched_expected);
    }
}

// ---- After a request was refused ----

static void refused(model_world *world, model_arena *arena, uint32_t tag, size_t size,
                    const model_verdict *verdict, bool quiet) {
    const fa_error *error = fa_last_error();
    EXPECT_EQ(world, error->result, verdict->result);
    EXPECT_EQ(world, error->code, verdict->code);
    EXPECT_EQ(world, error->bytes, size);
    EXPECT_EQ(world, error->limit, verdict->limit);
    EXPECT_EQ(world, error->tag.id, world->tags[tag].id);
    EXPECT_EQ(world, error->frame, world->frame == NULL ? 0 : world->frame_index);
    if (arena != NULL) {
        EXPECT(world, strcmp(error->where, arena->name) == 0);
        EXPECT_PTR(world, arena->real->cursor, arena->cursor);
        EXPECT_EQ(world, fa_arena_used(arena->real), arena->used);
    }
    model_refused(world, arena, tag);
    if (!quiet) {
        world->reports_expected += 1;
        EXPECT_EQ(world, world->last_report, verdict->code);
    }
    model_check_reports(world);
}

// ---- The calls ----

static char text_source[TEXT_MAX];

static char *text_call(model_world *world, model_arena *arena, model_call call, size_t size) {
    memset(text_source, 'a' + (int)(size % 26), size - 1);
    text_source[size - 1] = '\0';
    char *text = call == MODEL_STRDUP ? fa_arena_strdup(arena->real, text_source)
                                      : fa_arena_printf(arena->real, "%s", text_source);
    if (text != NULL) {
        EXPECT(world, memcmp(text, text_source, size) == 0);
    }
    return text;
}

static void *calloc_call(model_world *world, model_arena *arena, size_t size, size_t align) {
    bool in_words = size % 8 == 0 && check_rng_chance(&world->rng, 50);
    size_t each = in_words ? 8 : 1;
    unsigned char *zeroes = fa_arena_calloc(arena->real, size / each, each, align);
    if (zeroes != NULL) {
        EXPECT(world, zeroes[0] == 0 && memcmp(zeroes, zeroes + 1, size - 1) == 0);
    }
    return zeroes;
}

static void *make_call(model_world *world, model_arena *arena, model_call call, size_t size,
                       size_t align, uint32_t tag) {
    fa_tagged tagged = fa_tagged_make(world->context, world->tags[tag]);
    switch (call) {
    case MODEL_ALLOC_ALIGNED:
        return fa_arena_alloc_aligned(arena->real, size, align);
    case MODEL_TRY_ALLOC:
        return fa_arena_try_alloc(arena->real, size);
    case MODEL_CALLOC:
        return calloc_call(world, arena, size, align);
    case MODEL_ALLOC_ARRAY:
        return fa_arena_alloc_array(arena->real, 1, size, align);
    case MODEL_STRDUP:
    case MODEL_PRINTF:
        return text_call(world, arena, call, size);
    case MODEL_TAGGED:
        return fa_tagged_alloc(tagged, size);
    case MODEL_TAGGED_ALIGNED:
        return fa_tagged_alloc_aligned(tagged, size, align);
    case MODEL_RESIZE_NULL:
        return fa_arena_resize_aligned(arena->real, NULL, 0, size, align);
    default:
        return fa_arena_alloc(arena->real, size);
    }
}

static bool takes_align(model_call call) {
    return call == MODEL_ALLOC_ALIGNED || call == MODEL_CALLOC || call == MODEL_ALLOC_ARRAY ||
           call == MODEL_TAGGED_ALIGNED || call == MODEL_RESIZE_NULL;
}

// Judges a finished call. What was refused is judged by how things stood before it; what was
// granted by how they stood after the callbacks that ran meanwhile.
static bool judge(model_world *world, model_arena *arena, uint32_t tag, model_block *block,
                  model_verdict verdict, uint64_t changes, bool quiet) {
    bool is_past_limits = verdict.result == FA_OK || verdict.result == FA_ERR_OUT_OF_MEMORY;
    if (is_past_limits && world->changes != changes) {
        verdict = model_predict(world, arena, tag, block->size, block->align);
    }
    if (!EXPECT_EQ(world, block->ptr == NULL ? fa_last_error()->result : FA_OK, verdict.result) ||
        !EXPECT_EQ(world, block->ptr != NULL, verdict.result == FA_OK)) {
        return false;
    }
    if (block->ptr == NULL) {
        refused(world, arena, tag, block->size, &verdict, quiet);
        return false;
    }
    granted(world, arena, tag, block, &verdict);
    model_check_reports(world);
    return !world->failed;
}

// A tag-bound allocator outside a frame: refused without an arena.
static void tagged_outside(model_world *world, size_t size, uint32_t tag) {
    void *ptr = fa_tagged_alloc(fa_tagged_make(world->context, world->tags[tag]), size);
    EXPECT(world, ptr == NULL);
    model_verdict verdict = {.result = FA_ERR_NO_FRAME, .code = 1};
    refused(world, NULL, tag, size, &verdict, false);
}

void model_allocate(model_world *world, model_arena *arena, model_call call, size_t size,
                    size_t align, uint32_t tag) {
    bool is_tagged = call == MODEL_TAGGED || call == MODEL_TAGGED_ALIGNED;
    bool is_text = call == MODEL_STRDUP || call == MODEL_PRINTF;
    if (is_tagged && world->frame == NULL) {
        tagged_outside(world, size == 0 ? 1 : size % (SIZE_MAX / 2), tag);
        return;
    }
    if (is_text && (size == 0 || size > TEXT_MAX)) {
        call = MODEL_ALLOC;
    }
    arena = is_tagged ? world->frame : arena;
    uint32_t outer_tag = world->current_tag;
    world->current_tag = is_tagged ? tag : outer_tag;
    uint32_t charged = model_tag_of(world, arena);
    model_block block = {.size = size, .align = takes_align(call) ? align : FA_ALIGNMENT};
    model_verdict verdict = model_predict(world, arena, charged, size, block.align);
    uint64_t changes = world->changes;
    fa_last_error_clear();
    block.ptr = make_call(world, arena, call, size, block.align, tag);
    judge(world, arena, charged, &block, verdict, changes, call == MODEL_TRY_ALLOC);
    world->current_tag = outer_tag;
}

static size_t random_size(model_world *world) {
    size_t kind = check_rng_below(&world->rng, 1000);
    if (kind < 900) {
        return check_rng_between(&world->rng, 1, 600);
    }
    if (kind < 980) {
        return check_rng_between(&world->rng, 1, 20000);
    }
    if (kind < 994) {
        return check_rng_between(&world->rng, 1, 400000);
    }
    if (kind < 996) {
        return 0;
    }
    size_t less = check_rng_below(&world->rng, 40);
    // Where pointers have 32 bits, half of the address space may be had.
    bool may_be_had = sizeof(size_t) < 8;
    return kind < 998 || may_be_had ? SIZE_MAX - less : SIZE_MAX / 2 - less + 20;
}

static size_t random_align(model_world *world) {
    size_t kind = check_rng_below(&world->rng, 1000);
    if (kind < 985) {
        return (size_t)1 << check_rng_below(&world->rng, 8);
    }
    if (kind < 995) {
        return (size_t)1 << check_rng_below(&world->rng, 21);
    }
    static const size_t bad[] = {0, 3, 24, (size_t)2 << 20, SIZE_MAX, SIZE_MAX / 2 + 1};
    return bad[check_rng_below(&world->rng, sizeof(bad) / sizeof(bad[0]))];
}

void model_allocate_any(model_world *world, model_arena *arena) {
    static const model_call calls[] = {
        MODEL_ALLOC,         MODEL_ALLOC,  MODEL_ALLOC,         MODEL_ALLOC,  MODEL_TRY_ALLOC,
        MODEL_ALLOC_ALIGNED, MODEL_CALLOC, MODEL_ALLOC_ARRAY,   MODEL_STRDUP, MODEL_PRINTF,
        MODEL_RESIZE_NULL,   MODEL_TAGGED, MODEL_TAGGED_ALIGNED};
    model_call call = calls[check_rng_below(&world->rng, sizeof(calls) / sizeof(calls[0]))];
    model_allocate(world, arena, call, random_size(world), random_align(world),
                   (uint32_t)check_rng_below(&world->rng, MODEL_TAGS));
}

// ---- Cleanups ----

static void run_cleanup(void *arg) {
    model_cleanup *cleanup = arg;
    model_world *world = cleanup->world;
    model_arena *arena = cleanup->arena;
    // The end of a frame closes the scopes of one scratch arena, then of the other, then empties
    // the frame.
    if (arena->kind == MODEL_IS_FRAME) {
        model_scopes_closed(world, MODEL_SCRATCH);
    } else if (arena == &world->scratch[1]) {
        model_scopes_closed(world, 1);
    }
    size_t count = arena->cleanups.count;
    if (world->failed || !EXPECT(world, count != 0) ||
        !EXPECT_EQ(world, arena->cleanups.items[count - 1]->id, cleanup->id) ||
        !EXPECT(world, arena->undoing != SIZE_MAX && cleanup->offset >= arena->undoing)) {
        return;
    }
    arena->cleanups.count -= 1;
    world->nesting += 1;
    if (cleanup->action == MODEL_ALLOCATES) {
        model_allocate(world, arena, MODEL_ALLOC, check_rng_between(&world->rng, 1, 300), 0, 0);
    } else if (cleanup->action == MODEL_DEFERS) {
        model_defer(world, arena, MODEL_ONLY_RUN);
    }
    world->nesting -= 1;
    free(cleanup);
}

void model_defer(model_world *world, model_arena *arena, model_action action) {
    model_cleanup *cleanup = calloc(1, sizeof(*cleanup));
    REQUIRE_NOT_NULL(cleanup);
    uint32_t tag = model_tag_of(world, arena);
    model_block block = {.size = 4 * sizeof(void *), .align = FA_ALIGNMENT, .is_private = true};
    model_verdict verdict = model_predict(world, arena, tag, block.size, block.align);
    uint64_t changes = world->changes;
    fa_last_error_clear();
    world->cleanups_made += 1;
    *cleanup = (model_cleanup){world, arena, 0, world->cleanups_made, action};
    fa_result result = fa_arena_defer(arena->real, run_cleanup, cleanup);
    if (world->failed) {
        return;
    }
    if (result != FA_OK) {
        EXPECT_EQ(world, result, fa_last_error()->result);
    } else { // The record lies where the cursor has just passed, or in a new block.
        block.ptr = (unsigned char *)arena->real->cursor - model_rounded(block.size);
    }
    if (result != FA_OK) {
        free(cleanup);
    }
    if (!judge(world, arena, tag, &block, verdict, changes, false)) {
        return;
    }
    cleanup->offset = arena->blocks.items[arena->blocks.count - 1].start;
    model_push_cleanup(arena, cleanup);
}

// ---- Resizing ----

static bool is_last(const model_arena *arena, size_t index) {
    const model_block *block = &arena->blocks.items[index];
    if (index + 1 != arena->blocks.count ||
        (uintptr_t)block->ptr + model_rounded(block->size) != arena->cursor) {
        return false;
    }
    size_t count = arena->pieces.count;
    const model_piece *top = count == 0 ? NULL : &arena->pieces.items[count - 1];
    return top == NULL || !top->is_aside || top->opened_at < block->start;
}

static void resized_in_place(model_world *world, model_arena *arena, size_t index, uint32_t tag,
                             size_t new_size) {
    model_block *block = &arena->blocks.items[index];
    EXPECT(world, model_block_intact(block));
    size_t more = model_rounded(new_size) - model_rounded(block->size);
    arena->cursor += more;
    arena->room -= more;
    model_take(world, arena, tag, more);
    block->size = new_size;
    block->bytes += more;
    model_fill(world, block);
    check_soft_lines(world, tag);
    world->changes += 1;
    world->granted += 1;
    world->watched_expected += world->is_watched ? 1 : 0;
}

static void shrunk(model_world *world, model_arena *arena, size_t index, size_t new_size) {
    model_block *block = &arena->blocks.items[index];
    size_t less = model_rounded(block->size) - model_rounded(new_size);
    bool was_last = is_last(arena, index);
    size_t old_size = block->size;
    block->size = new_size < old_size ? new_size : old_size;
    EXPECT(world, model_block_intact(block));
    block->size = new_size; // A few bytes more may be inside the rounding.
    model_fill(world, block);
    if (was_last && less != 0) {
        block->bytes -= less;
        model_shrink(world, arena, less);
    }
}

// The block is somewhere else now, its contents too; the old one stays as it was.
static void moved(model_world *world, model_arena *arena, size_t index, uint32_t tag,
                  model_block *block, const model_verdict *verdict) {
    const model_block *old = &arena->blocks.items[index];
    model_block seen = *old;
    EXPECT(world, model_block_intact(old));
    seen.ptr = block->ptr;
    EXPECT(world, model_block_intact(&seen));
    granted(world, arena, tag, block, verdict);
}

static void resize_to(model_world *world, model_arena *arena, size_t index, size_t new_size) {
    model_block old = arena->blocks.items[index];
    uint32_t tag = model_tag_of(world, arena);
    bool grows = new_size <= SIZE_MAX / 2 && model_rounded(new_size) > model_rounded(old.size);
    size_t more = grows ? model_rounded(new_size) - model_rounded(old.size) : 0;
    bool in_place = grows && is_last(arena, index) && more <= arena->room;
    model_verdict verdict = model_predict(world, arena, tag, new_size, old.align);
    if (in_place && arena->is_open) {
        verdict = model_predict(world, arena, tag, more, FA_ALIGNMENT);
    } else if (!grows && arena->is_open && new_size != 0 && new_size <= SIZE_MAX / 2) {
        verdict = (model_verdict){.result = FA_OK};
    }
    bool plain = old.align <= FA_ALIGNMENT && check_rng_chance(&world->rng, 50);
    fa_last_error_clear();
    unsigned char *ptr =
        plain ? fa_arena_resize(arena->real, old.ptr, old.size, new_size)
              : fa_arena_resize_aligned(arena->real, old.ptr, old.size, new_size, old.align);
    if (!EXPECT_EQ(world, ptr != NULL, verdict.result == FA_OK)) {
        return;
    }
    if (ptr == NULL) {
        EXPECT(world, model_block_intact(&old));
        refused(world, arena, tag, new_size, &verdict, false);
        return;
    }
    if (grows && !in_place) {
        model_block block = {.ptr = ptr, .size = new_size, .align = old.align};
        moved(world, arena, index, tag, &block, &verdict);
        return;
    }
    EXPECT_PTR(world, ptr, old.ptr);
    if (grows) {
        resized_in_place(world, arena, index, tag, new_size);
    } else {
        shrunk(world, arena, index, new_size);
    }
    EXPECT_PTR(world, arena->real->cursor, arena->cursor);
    EXPECT_EQ(world, fa_arena_used(arena->real), arena->used);
}

void model_resize(model_world *world, model_arena *arena) {
    size_t count = arena->blocks.count;
    if (count == 0) {
        return;
    }
    size_t index =
        check_rng_chance(&world->rng, 75) ? count - 1 : check_rng_below(&world->rng, count);
    if (arena->blocks.items[index].is_private) {
        return;
    }
    size_t size = arena->blocks.items[index].size;
    size_t new_size = check_rng_chance(&world->rng, 50) ? check_rng_between(&world->rng, 1, size)
                                                        : size + check_rng_size(&world->rng, 8192);
    if (check_rng_chance(&world->rng, 1)) {
        new_size = random_size(world);
    }
    world->nesting +=
        1; // A callback that allocates in between is the business of test_arena_resize.c.
    resize_to(world, arena, index, new_size);
    world->nesting -= 1;
}

// ---- Budgets that tell ----

static void act(model_world *world) {
    model_arena *arena = model_any_arena(world);
    switch (check_rng_below(&world->rng, 4)) {
    case 0:
        model_budget_set(world);
        break;
    case 1:
        if (arena != NULL && arena->kind == MODEL_IS_OWN) {
            model_reset(world, arena);
        }
        break;
    default:
        if (arena != NULL) {
            model_allocate(world, arena, MODEL_ALLOC, check_rng_between(&world->rng, 1, 3000), 0,
                           0);
        }
        break;
    }
}

void model_budget_event(const fa_budget_event *event, void *user) {
    model_world *world = user;
    uint32_t tag = 0;
    while (tag < MODEL_TAGS && world->tags[tag].id != event->tag.id) {
        tag += 1;
    }
    if (world->failed || event->is_thread || !EXPECT(world, tag < MODEL_TAGS)) {
        return;
    }
    const fa_budget *budget = &world->budgets[tag];
    EXPECT_EQ(world, event->limit, event->is_hard ? budget->hard : budget->soft);
    EXPECT(world, event->limit != 0);
    if (event->is_hard && budget->policy == FA_BUDGET_FAIL) {
        return; // It is refused, whatever is done now.
    }
    EXPECT(world, event->charged <= SIZE_MAX / 2);
    world->soft_told[tag] = world->soft_told[tag] || !event->is_hard;
    if (world->nesting == 0 && check_rng_chance(&world->rng, 30)) {
        world->nesting += 1;
        act(world);
        world->nesting -= 1;
    }
}

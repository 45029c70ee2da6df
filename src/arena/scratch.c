// Scratch scopes: two arenas per thread, with a stack of open scopes each.
//
//   arena 0:  | outer scope ....... | inner scope ....... | free
//   scopes:     {epoch, offset, account before}, {...}
//
// Every scope has an epoch of its arena that no other scope ever had, and its value carries it:
// that is how a scope that has ended already is told from one that has not. `kept` scopes were open
// before the present frame; the frame's end closes the others.
#include "frames.h"

#include <string.h>

static fa_result scratch_make(fa__thread *thread, fa__scratch_arena *scratch,
                              fa__account *account) {
    fa_context *ctx = thread->context;
    bool can_commit = fa__pages_can_commit(ctx->pages);
    fa_result result = fa__arena_setup_memory(
        &scratch->arena,
        &(fa__arena_setup){.context = ctx,
                           .thread = thread,
                           .kind = FA__ARENA_SCRATCH,
                           .backing = can_commit ? FA__BACKING_RANGE : FA__BACKING_CHUNKS,
                           .name = "scratch",
                           .reserve = ctx->config.scratch_reserve,
                           .chunk_size = ctx->config.chunk_size,
                           .account = account,
                           .runs = scratch->runs,
                           .run_count = FA__RUNS_MIN});
    if (result != FA_OK) {
        return result;
    }
    scratch->scopes = scratch->few;
    scratch->capacity = FA__SCOPES_FIRST;
    scratch->arena.meter.is_closed = true;
    scratch->is_made = true;
    return FA_OK;
}

static bool is_conflict(const fa_arena *arena, fa_arena *const *conflicts, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (conflicts[i] == arena) {
            return true;
        }
    }
    return false;
}

// Makes room for one more scope.
static fa_result reserve_scope(fa__scratch_arena *scratch) {
    fa__meter *meter = &scratch->arena.meter;
    if (scratch->depth == scratch->capacity) {
        fa__denial denial = FA__DENIED_BY_BACKEND;
        size_t bytes = scratch->capacity * sizeof *scratch->scopes;
        fa__scope *scopes = fa__meta_alloc(meter->context->pages, 2 * bytes, &denial);
        if (scopes == NULL) {
            return denial == FA__DENIED_BY_LIMIT ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY;
        }
        memcpy(scopes, scratch->scopes, bytes); // The old stack stays behind: half of the new one.
        scratch->scopes = scopes;
        scratch->capacity *= 2;
    }
    return fa__meter_reserve_runs(meter);
}

static FA_COLD fa_scratch refuse(fa_context *ctx, fa_result result) {
    if (result == FA_ERR_INVALID) {
        fa__fail(&(fa__failure){.context = ctx,
                                .code = FA__CODE_SCRATCH_CONFLICT,
                                .result = result,
                                .where = "fa_scratch_begin"});
    } else {
        fa__tag_fail(ctx, FA_TAG_ROOT, result);
    }
    return (fa_scratch){0};
}

// The first scope of a frame: those open now outlive it.
static void begin_frame_scopes(fa__frames *frames, uint64_t frame) {
    frames->scratch_frame = frame;
    for (size_t i = 0; i < FA__SCRATCH_COUNT; i++) {
        frames->scratch[i].kept = frames->scratch[i].depth;
    }
}

static inline fa_scratch scratch_open(fa__thread *thread, fa__scratch_arena *scratch,
                                      fa__account *account) {
    fa__frames *frames = thread->frames;
    fa__arena *arena = &scratch->arena;
    fa__meter *meter = &arena->meter;
    if (fa__thread_has_frame(thread)) {
        uint64_t frame = fa__load(&thread->frame_index);
        thread->is_untidy = true;
        if (frames->scratch_frame != frame) {
            begin_frame_scopes(frames, frame);
        }
    }
    arena->epoch += 1;
    fa__scope *scope = &scratch->scopes[scratch->depth];
    scope->epoch = arena->epoch;
    scope->offset = fa__meter_used(meter);
    scope->account = meter->run->account;
    scratch->depth += 1;
    frames->scratch_depth += 1;
    meter->is_closed = false;
    fa__meter_switch(meter, account);
    return (fa_scratch){.arena = &meter->arena,
                        .mark = {.offset = scope->offset, .epoch = scope->epoch},
                        .depth = scratch->depth};
}

static FA_COLD fa_result prepare(fa__thread *thread, fa__holder holder, fa__scratch_arena *scratch,
                                 fa__account **account) {
    fa_result result = FA_OK;
    fa_tag tag = {thread->frame->run->account->tag->id};
    *account = fa__account_get(thread, holder, tag, &result);
    if (*account == NULL) {
        return fa__tag_fail(thread->context, tag, result);
    }
    return scratch->is_made ? FA_OK : scratch_make(thread, scratch, *account);
}

fa_scratch fa_scratch_begin(fa_context *ctx, fa_arena *const *conflicts, size_t n) {
    fa__thread *thread = fa__thread_get(ctx);
    if (FA_UNLIKELY(thread == NULL) ||
        (FA_UNLIKELY(thread->frames == NULL) && fa__frames_make(thread) != FA_OK)) {
        return (fa_scratch){0};
    }
    if (FA_UNLIKELY(fa__load(&thread->epoch) != fa__load(&ctx->epoch))) {
        fa__leases_return(ctx);
    }
    fa__frames *frames = thread->frames;
    size_t which = 0;
    if (is_conflict(&frames->scratch[0].arena.meter.arena, conflicts, n)) {
        which = 1;
        if (FA_UNLIKELY(is_conflict(&frames->scratch[1].arena.meter.arena, conflicts, n))) {
            return refuse(ctx, FA_ERR_INVALID);
        }
    }
    fa__scratch_arena *scratch = &frames->scratch[which];
    fa__holder holder = (fa__holder)(FA__HOLDER_SCRATCH + which);
    fa__account *account = fa__account_at(thread, holder, thread->frame->run->account->tag->id);
    if (FA_UNLIKELY(account == NULL || account->tag == NULL || !scratch->is_made)) {
        if (prepare(thread, holder, scratch, &account) != FA_OK) {
            return (fa_scratch){0};
        }
    }
    if (FA_UNLIKELY(scratch->depth == scratch->capacity ||
                    scratch->arena.meter.run > scratch->arena.meter.run_guard)) {
        fa_result result = reserve_scope(scratch);
        if (result != FA_OK) {
            return refuse(ctx, result);
        }
    }
    return scratch_open(thread, scratch, account);
}

// Closes the only scope of an arena when there is nothing to it but bytes of one tag. False when
// there is more.
static inline bool close_only(fa__thread *thread, fa__scratch_arena *scratch) {
    fa__arena *arena = &scratch->arena;
    fa__meter *meter = &arena->meter;
    const fa__account *account = meter->run->account;
    size_t used = (size_t)(meter->arena.cursor - arena->base);
    if (FA_UNLIKELY(scratch->depth != 1 || arena->cleanups != NULL || arena->blocks != NULL ||
                    meter->run != meter->run_base || account->keep == 0 ||
                    account->room > account->keep || used > arena->high ||
                    meter->stop == meter->arena.cursor)) {
        return false;
    }
    fa__frames *frames = thread->frames;
    size_t live = used + thread->held_bytes + fa__meter_used(thread->frame);
    if (FA_UNLIKELY(frames->scratch_depth != 1 || live > fa__load(&thread->own_peak_bytes))) {
        fa__frames_note_peak(thread);
    }
    fa__meter_unbook_only(meter);
    thread->undone_bytes += used;
    frames->scratch_depth -= 1;
    scratch->depth = 0;
    scratch->kept = 0;
    meter->is_closed = true;
    meter->arena.cursor = arena->base;
    meter->arena.limit = arena->base;
    meter->booked = arena->base;
    fa__arena_next_fill(arena);
    return true;
}

// Closes scopes until `depth` are left.
static FA__NOINLINE void scratch_close(fa__thread *thread, fa__scratch_arena *scratch,
                                       uint32_t depth) {
    fa__frames *frames = thread->frames;
    fa__arena *arena = &scratch->arena;
    fa__meter *meter = &arena->meter;
    const fa__scope *scope = &scratch->scopes[depth];
    fa__arena_run_cleanups(arena, scope->offset); // While the scope is still there for them.
    frames->scratch_depth -= scratch->depth - depth;
    scratch->depth = depth;
    scratch->kept = scratch->kept < depth ? scratch->kept : depth;
    frames->scratch_depth += 1; // What is undone counts towards the thread's peak.
    fa__arena_undo(arena, scope->offset);
    frames->scratch_depth -= 1;
    fa__arena_note_rewind(arena, scope->offset);
    if (depth != 0) {
        fa__meter_switch(meter, scope->account);
        return;
    }
    fa__account *account = meter->run->account;
    if (FA_UNLIKELY(account->room > account->keep)) {
        fa__lease_return(account, account->keep);
    }
    meter->is_closed = true;
    meter->arena.limit = meter->arena.cursor;
    fa__arena_next_fill(arena);
}

void fa_scratch_end(fa_scratch scope) {
    if (scope.arena == NULL) {
        return;
    }
    fa__arena *arena = fa__arena_of(scope.arena);
    fa__thread *thread = arena->meter.thread;
    if (FA_UNLIKELY(arena->kind != FA__ARENA_SCRATCH ||
                    fa__thread_get(arena->meter.context) != thread)) {
        fa__arena_fail(arena, FA__CODE_WRONG_THREAD, FA_ERR_WRONG_THREAD, 0, 0, false);
        return;
    }
    fa__scratch_arena *scratch = (fa__scratch_arena *)(void *)arena;
    if (FA_UNLIKELY(scope.depth == 0 || scope.depth > scratch->depth ||
                    scratch->scopes[scope.depth - 1].epoch != scope.mark.epoch)) {
        fa__arena_fail(arena, FA__CODE_SCRATCH_ORDER, FA_ERR_STALE, 0, 0, false);
        return;
    }
    if (!close_only(thread, scratch)) {
        scratch_close(thread, scratch, scope.depth - 1);
    }
}

void fa__scratch_lower(fa__arena *arena, size_t offset) {
    fa__scratch_arena *scratch = (fa__scratch_arena *)(void *)arena;
    for (uint32_t i = scratch->depth; i > 0 && scratch->scopes[i - 1].offset > offset; i--) {
        scratch->scopes[i - 1].offset = offset;
    }
}

uint32_t fa__scratch_close_since_begin(fa__thread *thread) {
    fa__frames *frames = thread->frames;
    uint32_t before = frames->scratch_depth;
    if (frames->scratch_frame != fa__load(&thread->frame_index)) {
        return 0;
    }
    for (size_t i = 0; i < FA__SCRATCH_COUNT; i++) {
        fa__scratch_arena *scratch = &frames->scratch[i];
        if (scratch->depth > scratch->kept) {
            scratch_close(thread, scratch, scratch->kept);
        }
    }
    return before - frames->scratch_depth;
}

void fa__scratch_close_all(fa__thread *thread) {
    fa__frames *frames = thread->frames;
    for (size_t i = 0; i < FA__SCRATCH_COUNT; i++) {
        if (frames->scratch[i].depth != 0) {
            scratch_close(thread, &frames->scratch[i], 0);
        }
    }
    frames->scratch_frame = 0;
}

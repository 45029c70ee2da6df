// The slow half of allocation, and everything else an arena does.
//
// The inline path compares with `limit` and nothing else. When it refuses, arena_alloc_slow() finds
// out which of the things folded into the limit it was, in this order:
//
//   bad request -> closed (no frame) -> byte limit -> budget (take a lease) -> memory
//
// Each step either makes room or fails with everything as it was; then the block is handed out and
// the limit set anew. While allocations are watched the limit stays at the cursor, and every one
// passes here.
#include "blocks.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static size_t round_up(size_t size) {
    return (size + (FA_ALIGNMENT - 1)) & ~(FA_ALIGNMENT - 1);
}

static size_t pad_to(const char *ptr, size_t align) {
    return (size_t)(0 - (uintptr_t)ptr) & (align - 1);
}

static bool is_alignment(size_t align) {
    return align != 0 && (align & (align - 1)) == 0 && align <= FA_ALIGNMENT_MAX;
}

// Failing -----------------------------------------------------------------------------------------

// Whose account a request concerns: a frame that is over has none, so it is the thread's current
// one.
static fa__account *concerned(const fa__arena *arena) {
    const fa__meter *meter = &arena->meter;
    bool is_over = meter->thread != NULL && fa__meter_is_closed(meter);
    return is_over ? meter->thread->frame->run->account : meter->run->account;
}

fa_result fa__arena_fail(fa__arena *arena, fa__code code, fa_result result, size_t bytes,
                         size_t limit, bool quiet) {
    const fa__meter *meter = &arena->meter;
    return fa__fail(&(fa__failure){.context = meter->context,
                                   .code = code,
                                   .result = result,
                                   .bytes = bytes,
                                   .limit = limit,
                                   .tag = {concerned(arena)->tag->id},
                                   .where = arena->name,
                                   .quiet = quiet});
}

// Counts and tells of a refused allocation.
static void *refuse(fa__arena *arena, fa__code code, fa_result result, size_t bytes, size_t limit,
                    bool quiet) {
    const fa__meter *meter = &arena->meter;
    arena->refusals += 1;
    if (meter->thread != NULL) {
        fa__refusal_count(meter->thread, concerned(arena));
    } else {
        fa__shared_add(&meter->run->account->tag->own_refusals, 1);
        fa__shared_add(&meter->context->own_refusals, 1);
    }
    fa__arena_fail(arena, code, result, bytes, limit, quiet);
    return NULL;
}

typedef struct request {
    size_t size;  // As asked for.
    size_t bytes; // Rounded; when the last block is to grow, by how much.
    size_t align;
    void *grows; // The last block, when it is to grow in place.
    bool quiet;
} request;

static void *refuse_memory(fa__arena *arena, const request *asked, fa__denial denial) {
    if (denial == FA__DENIED_BY_LIMIT) {
        size_t limit = arena->meter.context->config.memory_limit;
        return refuse(arena, FA__CODE_MEMORY_LIMIT, FA_ERR_LIMIT, asked->size, limit, asked->quiet);
    }
    return refuse(arena, FA__CODE_OS_REFUSED, FA_ERR_OUT_OF_MEMORY, asked->size, 0, asked->quiet);
}

static void *refuse_byte_limit(fa__arena *arena, const request *asked) {
    const fa__meter *meter = &arena->meter;
    if (arena->kind != FA__ARENA_FRAME) {
        return refuse(arena, FA__CODE_EXHAUSTED, FA_ERR_LIMIT, asked->size, meter->byte_limit,
                      asked->quiet);
    }
    const fa_thread_budget *budget = &meter->thread->budget;
    if (budget->callback != NULL) {
        const fa__tag *tag = meter->run->account->tag;
        fa_budget_event event = {.context = meter->context,
                                 .tag = {tag->id},
                                 .tag_path = tag->path,
                                 .requested = asked->size,
                                 .charged = fa__meter_used(meter),
                                 .limit = meter->byte_limit,
                                 .is_hard = true,
                                 .is_thread = true};
        budget->callback(&event, budget->user);
    }
    return refuse(arena, FA__CODE_THREAD_BUDGET, FA_ERR_BUDGET, asked->size, meter->byte_limit,
                  asked->quiet);
}

static void *refuse_budget(fa__arena *arena, const request *asked, fa__tag *refused_by) {
    fa__budget_tell_hard(arena->meter.context, refused_by, asked->size);
    return refuse(arena, FA__CODE_TAG_BUDGET, FA_ERR_BUDGET, asked->size,
                  fa__load(&refused_by->hard), asked->quiet);
}

// Allocating --------------------------------------------------------------------------------------

// Where a request would go.
typedef enum place { PLACE_HERE, PLACE_COMMIT, PLACE_BLOCK, PLACE_NOWHERE } place;

typedef struct plan {
    place place;
    size_t pad;  // Bytes skipped to align.
    size_t need; // Bytes that will be in use more.
} plan;

static plan make_plan(const fa__arena *arena, const request *asked) {
    const fa__meter *meter = &arena->meter;
    size_t pad = pad_to(meter->arena.cursor, asked->align);
    size_t need = pad + asked->bytes; // Both are far from overflowing: bytes <= SIZE_MAX / 2.
    size_t room = (size_t)(meter->end - meter->arena.cursor);
    if (need <= room) {
        return (plan){PLACE_HERE, pad, need};
    }
    size_t uncommitted = arena->reserved - arena->committed;
    if (arena->backing == FA__BACKING_RANGE && arena->current == NULL &&
        need <= room + uncommitted) {
        return (plan){PLACE_COMMIT, pad, need};
    }
    if (arena->backing == FA__BACKING_MEMORY) {
        return (plan){PLACE_NOWHERE, 0, asked->bytes};
    }
    return (plan){PLACE_BLOCK, 0, asked->bytes};
}

// Leases what a plan needs. Before a line is crossed, what this thread has leased and not used is
// called back.
static fa_result lease(fa__arena *arena, size_t need, size_t requested, fa__tag **refused_by) {
    fa__meter *meter = &arena->meter;
    fa__account *account = meter->run->account;
    if (need <= account->room) {
        return FA_OK;
    }
    if (fa__lease_is_tight(account, need - account->room)) {
        fa__leases_return(meter->context);
    }
    size_t room = account->room;
    size_t want = (size_t)(meter->end - meter->arena.cursor);
    want = want > room ? want - room : 0;
    return fa__lease_take(meter->context, account, &(fa__lease_wish){need - room, want, requested},
                          refused_by);
}

// Where no budget is near, leases all the memory there is, so that the next refusal comes at its
// end. What is leased now is there to stay, so the peaks count it.
static void lease_the_rest(fa__meter *meter) {
    fa__account *account = meter->run->account;
    if (fa__load(&account->tag->nearest_line) != SIZE_MAX) {
        fa__lease_note_peak(account);
        if (meter->thread != NULL) {
            meter->thread->is_untidy = true; // What is not used goes back at the frame's end.
        }
        return;
    }
    size_t room = (size_t)(meter->end - meter->arena.cursor);
    size_t leased = account->room;
    fa__tag *refused_by = NULL;
    if (room > leased) {
        (void)fa__lease_take(meter->context, account, &(fa__lease_wish){0, room - leased, 0},
                             &refused_by);
    }
    fa__lease_note_peak(account);
}

static void watch(fa__arena *arena, const request *asked, void *ptr) {
    fa__meter *meter = &arena->meter;
    fa_context *ctx = meter->context;
    if (meter->thread != NULL) {
        meter->thread->is_untidy = true; // The next frame must be watched from its base on.
        fa__own_add(&meter->run->account->allocations, 1);
        fa__own_add(&meter->thread->allocations, 1);
    } else {
        fa__shared_add(&meter->run->account->tag->own_allocations, 1);
        fa__shared_add(&ctx->own_allocations, 1);
    }
    fa__os_mutex_lock(&ctx->lock);
    fa_watch_fn fn = ctx->watch;
    void *user = ctx->watch_user;
    fa__os_mutex_unlock(&ctx->lock);
    if (fn != NULL) {
        bool is_frame = arena->kind == FA__ARENA_FRAME;
        fa_watch_event event = {.context = ctx,
                                .arena = arena->name,
                                .tag = {meter->run->account->tag->id},
                                .frame = is_frame ? fa__load(&meter->thread->frame_index) : 0,
                                .ptr = ptr,
                                .size = asked->size,
                                .align = asked->align};
        fn(&event, user);
    }
}

// `room` is what the account had before it leased for this.
static void *hand_out(fa__arena *arena, const request *asked, const plan *how, size_t room) {
    fa__meter *meter = &arena->meter;
    fa__denial denial = FA__DENIED_BY_BACKEND;
    char *ptr = NULL;
    if (how->place == PLACE_BLOCK) {
        ptr = fa__arena_open_block(arena, asked->bytes, asked->align, &denial);
    } else {
        size_t here = (size_t)(meter->end - meter->arena.cursor);
        if (how->place == PLACE_HERE || fa__arena_commit(arena, how->need - here, &denial)) {
            ptr = meter->arena.cursor + how->pad;
            meter->arena.cursor = ptr + asked->bytes;
        }
    }
    if (ptr == NULL) {
        fa__lease_return(meter->run->account, room);
        fa__meter_refresh(meter);
        return refuse_memory(arena, asked, denial);
    }
    fa__meter_settle(meter);
    lease_the_rest(meter);
    fa__meter_refresh(meter);
    if (arena->kind == FA__ARENA_OWN) {
        fa__arena_publish(arena);
    }
    if ((fa__load(&meter->context->checks) & FA_CHECK_WATCH) != 0) {
        watch(arena, asked, asked->grows != NULL ? asked->grows : ptr);
    }
    return ptr;
}

// Serves a request that the limit refused, or says why not.
static void *serve(fa__arena *arena, const request *asked) {
    fa__meter *meter = &arena->meter;
    fa__meter_settle(meter);
    size_t used = fa__meter_used(meter);
    plan how = make_plan(arena, asked);
    if (asked->grows != NULL && how.place != PLACE_HERE && how.place != PLACE_COMMIT) {
        return NULL; // It must move.
    }
    if (how.need > meter->byte_limit || used > meter->byte_limit - how.need) {
        return refuse_byte_limit(arena, asked);
    }
    if (how.place == PLACE_NOWHERE) {
        return refuse(arena, FA__CODE_EXHAUSTED, FA_ERR_OUT_OF_MEMORY, asked->size, arena->reserved,
                      asked->quiet);
    }
    fa__tag *refused_by = NULL;
    size_t room = meter->run->account->room;
    if (lease(arena, how.need, asked->size, &refused_by) != FA_OK) {
        fa__meter_refresh(meter);
        return refuse_budget(arena, asked, refused_by);
    }
    // A budget's callback or the report function may have used the arena, or what was leased.
    bool is_as_planned = fa__meter_used(meter) == used && meter->run->account->room >= how.need;
    if (!is_as_planned) {
        return asked->grows != NULL ? NULL : serve(arena, asked);
    }
    return hand_out(arena, asked, &how, room);
}

static void *arena_alloc_slow(fa__arena *arena, size_t size, size_t align, bool quiet) {
    if (size == 0) {
        return refuse(arena, FA__CODE_BAD_SIZE, FA_ERR_INVALID, 0, 0, quiet);
    }
    if (!is_alignment(align)) {
        return refuse(arena, FA__CODE_BAD_ALIGNMENT, FA_ERR_INVALID, size, FA_ALIGNMENT_MAX, quiet);
    }
    if (size > SIZE_MAX / 2) {
        return refuse(arena, FA__CODE_SIZE_OVERFLOW, FA_ERR_OVERFLOW, size, SIZE_MAX / 2, quiet);
    }
    if (fa__meter_is_closed(&arena->meter)) {
        return refuse(arena, FA__CODE_NO_FRAME, FA_ERR_NO_FRAME, size, 0, quiet);
    }
    return serve(arena,
                 &(request){.size = size, .bytes = round_up(size), .align = align, .quiet = quiet});
}

FA_COLD void *fa_arena_alloc_slow(fa_arena *arena, size_t size) {
    return arena_alloc_slow(fa__arena_of(arena), size, FA_ALIGNMENT, false);
}

FA_COLD void *fa_arena_alloc_aligned_slow(fa_arena *arena, size_t size, size_t align) {
    return arena_alloc_slow(fa__arena_of(arena), size, align, false);
}

FA_COLD void *fa_arena_try_alloc_slow(fa_arena *arena, size_t size) {
    return arena_alloc_slow(fa__arena_of(arena), size, FA_ALIGNMENT, true);
}

void *fa_arena_alloc_array(fa_arena *arena, size_t count, size_t size, size_t align) {
    if (size != 0 && count > SIZE_MAX / size) {
        return refuse(fa__arena_of(arena), FA__CODE_SIZE_OVERFLOW, FA_ERR_OVERFLOW, count,
                      SIZE_MAX / size, false);
    }
    return fa_arena_alloc_aligned(arena, count * size, align);
}

void *fa_arena_calloc(fa_arena *arena, size_t count, size_t size, size_t align) {
    void *ptr = fa_arena_alloc_array(arena, count, size, align);
    return ptr == NULL ? NULL : memset(ptr, 0, count * size);
}

static void note_rewind(fa__arena *arena, size_t offset) {
    fa__arena_note_rewind(arena, offset);
    if (arena->kind == FA__ARENA_SCRATCH) {
        fa__scratch_lower(arena, offset);
    }
}

// Resizing ----------------------------------------------------------------------------------------

// Moves the cursor back inside the last block. Marks beyond it become stale.
static void shrink_last(fa__arena *arena, char *cursor) {
    fa__meter *meter = &arena->meter;
    fa__meter_settle(meter);
    size_t used = fa__meter_used(meter);
    size_t offset = used - (size_t)(meter->arena.cursor - cursor);
    fa__arena_note_undo_peak(arena, used);
    fa__meter_unwind(meter, offset);
    meter->arena.cursor = cursor;
    fa__meter_moved(meter);
    note_rewind(arena, offset);
}

// Makes the last block longer by `more` bytes where it stands. False when it must move, or when
// *is_refused.
static bool grow_last(fa__arena *arena, void *ptr, size_t more, size_t new_size, bool *is_refused) {
    fa_arena *head = &arena->meter.arena;
    if (more <= (size_t)(head->limit - head->cursor)) {
        head->cursor += more;
        return true;
    }
    uint64_t refusals = arena->refusals;
    request asked = {.size = new_size, .bytes = more, .align = 1, .grows = ptr};
    bool has_grown = serve(arena, &asked) != NULL;
    *is_refused = arena->refusals != refusals;
    return has_grown;
}

void *fa_arena_resize_aligned(fa_arena *arena, void *ptr, size_t old_size, size_t new_size,
                              size_t align) {
    fa__arena *self = fa__arena_of(arena);
    if (ptr == NULL) {
        return fa_arena_alloc_aligned(arena, new_size, align);
    }
    if (new_size == 0 || new_size > SIZE_MAX / 2 || !is_alignment(align) ||
        fa__meter_is_closed(&self->meter)) {
        return arena_alloc_slow(self, new_size, align, false); // Says why not.
    }
    size_t old_bytes = round_up(old_size);
    size_t new_bytes = round_up(new_size);
    // A block that stands aside is newer than what was before the cursor when it was opened.
    bool is_newest = self->blocks == self->current || (char *)ptr >= self->blocks->cursor;
    bool is_last = is_newest && (char *)ptr + old_bytes == arena->cursor;
    if (new_bytes <= old_bytes) {
        if (is_last && new_bytes < old_bytes) {
            shrink_last(self, (char *)ptr + new_bytes);
        }
        return ptr;
    }
    bool is_refused = false;
    if (is_last && grow_last(self, ptr, new_bytes - old_bytes, new_size, &is_refused)) {
        return ptr;
    }
    if (is_refused) {
        return NULL;
    }
    void *moved = fa_arena_alloc_aligned(arena, new_size, align);
    return moved == NULL ? NULL : memcpy(moved, ptr, old_size);
}

void *fa_arena_resize(fa_arena *arena, void *ptr, size_t old_size, size_t new_size) {
    return fa_arena_resize_aligned(arena, ptr, old_size, new_size, FA_ALIGNMENT);
}

// Text --------------------------------------------------------------------------------------------

char *fa_arena_strdup(fa_arena *arena, const char *text) {
    if (text == NULL) {
        fa__fail_argument(fa__arena_of(arena)->meter.context, "text");
        return NULL;
    }
    size_t size = strlen(text) + 1;
    char *copy = fa_arena_alloc(arena, size);
    return copy == NULL ? NULL : memcpy(copy, text, size);
}

char *fa_arena_vprintf(fa_arena *arena, const char *format, va_list args) {
    fa_context *ctx = fa__arena_of(arena)->meter.context;
    if (format == NULL) {
        fa__fail_argument(ctx, "format");
        return NULL;
    }
    // What is free before the limit is written to first: usually the text fits, and then it is
    // there already.
    char *there = arena->cursor;
    size_t room = (size_t)(arena->limit - there);
    room = room > INT_MAX ? INT_MAX : room;
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(room == 0 ? NULL : there, room, format, args);
    char *text = NULL;
    if (length < 0) {
        fa__fail_argument(ctx, "format");
    } else {
        text = fa_arena_alloc(arena, (size_t)length + 1);
    }
    if (text != NULL && (text != there || (size_t)length >= room)) {
        (void)vsnprintf(text, (size_t)length + 1, format, again);
    }
    va_end(again);
    return text;
}

char *fa_arena_printf(fa_arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = fa_arena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

// Positions and cleanups --------------------------------------------------------------------------

fa_mark fa_arena_mark(fa_arena *arena) {
    const fa__arena *self = fa__arena_of(arena);
    return (fa_mark){.offset = fa__meter_used(&self->meter), .epoch = self->epoch};
}

// True when a position lies inside what was allocated in one piece: no mark is ever taken there.
static bool is_inside(const fa__arena *arena, size_t offset) {
    const fa__block *block = arena->blocks;
    while (block != NULL && block->opened_at >= offset) {
        block = block->below;
    }
    const fa__cleanup *cleanup = arena->cleanups;
    while (cleanup != NULL && cleanup->offset >= offset) {
        cleanup = cleanup->below;
    }
    return (block != NULL && offset < block->closed_at) ||
           (cleanup != NULL && offset < cleanup->offset + round_up(sizeof *cleanup));
}

static bool is_stale(const fa__arena *arena, fa_mark mark) {
    if (mark.epoch < arena->fill_epoch || mark.epoch > arena->epoch ||
        mark.offset > fa__meter_used(&arena->meter)) {
        return true;
    }
    // The lowest rewind since the mark was taken is the oldest one noted since: their offsets rise.
    for (uint32_t i = 0; i < arena->rewind_count; i++) {
        if (arena->rewinds[i].epoch > mark.epoch) {
            if (arena->rewinds[i].offset < mark.offset) {
                return true;
            }
            break;
        }
    }
    return (arena->blocks != NULL || arena->cleanups != NULL) && is_inside(arena, mark.offset);
}

fa_result fa_arena_rewind(fa_arena *arena, fa_mark mark) {
    fa__arena *self = fa__arena_of(arena);
    if (FA_UNLIKELY(fa__meter_is_closed(&self->meter))) {
        return fa__arena_fail(self, FA__CODE_NO_FRAME, FA_ERR_NO_FRAME, 0, 0, false);
    }
    if (FA_UNLIKELY(is_stale(self, mark))) {
        return fa__arena_fail(self, FA__CODE_STALE_MARK, FA_ERR_STALE, mark.offset,
                              fa__meter_used(&self->meter), false);
    }
    fa__arena_undo(self, mark.offset);
    note_rewind(self, mark.offset);
    return FA_OK;
}

void fa_arena_reset(fa_arena *arena) {
    fa__arena *self = fa__arena_of(arena);
    if (self->kind != FA__ARENA_OWN) {
        fa__arena_fail(self, FA__CODE_WRONG_ARENA, FA_ERR_INVALID, 0, 0, false);
        return;
    }
    fa__arena_undo(self, 0);
    fa__arena_next_fill(self);
    fa__lease_return(&self->own, self->own.keep);
    fa__meter_refresh(&self->meter);
    fa__arena_publish(self);
}

fa_result fa_arena_defer(fa_arena *arena, void (*fn)(void *), void *arg) {
    fa__arena *self = fa__arena_of(arena);
    if (fn == NULL) {
        return fa__fail_argument(self->meter.context, "fn");
    }
    fa__cleanup *cleanup = fa_arena_alloc(arena, sizeof *cleanup);
    if (cleanup == NULL) {
        return fa_last_error()->result;
    }
    size_t offset = fa__meter_used(&self->meter) - round_up(sizeof *cleanup);
    *cleanup = (fa__cleanup){.below = self->cleanups, .fn = fn, .arg = arg, .offset = offset};
    self->cleanups = cleanup;
    if (self->meter.thread != NULL) {
        self->meter.thread->is_untidy = true;
    }
    return FA_OK;
}

fa_result fa_arena_trim(fa_arena *arena, size_t keep) {
    fa__arena *self = fa__arena_of(arena);
    fa__arena_trim(self, keep);
    if (self->backing == FA__BACKING_CHUNKS) {
        fa__pages_trim(self->meter.context->pages);
    }
    return FA_OK;
}

size_t fa_arena_used(const fa_arena *arena) {
    return fa__meter_used((const fa__meter *)(const void *)arena);
}

fa_result fa_arena_stats(fa_arena *arena, fa_arena_stats_result *out) {
    fa__arena *self = fa__arena_of(arena);
    if (out == NULL) {
        return fa__fail_argument(self->meter.context, "out");
    }
    size_t used = fa__meter_used(&self->meter);
    fa__arena_note_peak(self, used);
    *out = (fa_arena_stats_result){.used_bytes = used,
                                   .peak_bytes = self->peak,
                                   .committed_bytes = self->committed,
                                   .reserved_bytes = self->reserved,
                                   .waste_bytes = self->waste,
                                   .refusals = self->refusals,
                                   .name = self->name};
    for (const fa__block *block = self->blocks; block != NULL; block = block->below) {
        out->blocks += 1;
        out->committed_bytes += block->chunk.size;
        out->reserved_bytes += block->chunk.size;
    }
    for (const fa__cleanup *cleanup = self->cleanups; cleanup != NULL; cleanup = cleanup->below) {
        out->cleanups += 1;
    }
    return FA_OK;
}

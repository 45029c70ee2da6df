// Frames: a ring of arenas per thread.
//
//   frames_in_flight = 3:    slot 0        slot 1        slot 2
//                            frame k-2     frame k-1     frame k       k+1 takes slot 0 back
//                            held          held          open
//
// fa_frame_end() closes the slot: its limit falls to the cursor, so that every further allocation
// asks and is refused. The memory is taken back when the frame ends (one in flight, no fence) or
// when the slot comes round again. Taking back runs the cleanups, unbooks the runs, and moves the
// cursor to the base; nothing is freed one by one, and no page is touched. Every `decay_frames`
// frames the slot gives back what it has not needed for two such windows.
#include "frames.h"

#include <string.h>

static const fa__tier frames_tier;

// Making ------------------------------------------------------------------------------------------

// Fills of a slot per decay window. Memory outlasts the window after the one that needed it last,
// so a window is half of decay_frames, and of the frames only one in frames_in_flight fills this
// slot.
static uint32_t window(const fa_config *config) {
    uint32_t fills = config->decay_frames / 2 / config->frames_in_flight;
    return fills == 0 ? 1 : fills;
}

static fa_result slot_make(fa__thread *thread, fa__slot *slot) {
    fa_context *ctx = thread->context;
    const fa_config *config = &ctx->config;
    bool can_commit = fa__pages_can_commit(ctx->pages);
    size_t chunk =
        config->frame_initial > config->chunk_size ? config->frame_initial : config->chunk_size;
    slot->window_left = window(config);
    return fa__arena_setup_memory(
        &slot->arena,
        &(fa__arena_setup){.context = ctx,
                           .thread = thread,
                           .kind = FA__ARENA_FRAME,
                           .backing = can_commit ? FA__BACKING_RANGE : FA__BACKING_CHUNKS,
                           .name = "frame",
                           .reserve = config->frame_reserve,
                           .initial = can_commit ? config->frame_initial : 0,
                           .chunk_size = chunk,
                           .account = fa__account_at(thread, FA__HOLDER_FRAME, 0),
                           .runs = slot->runs,
                           .run_count = FA__RUNS_MIN});
}

fa_result fa__frames_make(fa__thread *thread) {
    fa_context *ctx = thread->context;
    uint32_t count = ctx->config.frames_in_flight;
    fa__frames *frames = thread->frames;
    if (frames != NULL && frames->next != NULL) {
        return FA_OK;
    }
    fa__tier_register(ctx, FA__TIER_FRAMES, &frames_tier);
    if (frames == NULL) {
        fa__denial denial = FA__DENIED_BY_BACKEND;
        frames = fa__meta_alloc(ctx->pages, sizeof *frames + count * sizeof(fa__slot), &denial);
        if (frames == NULL) {
            return fa__tag_fail(ctx, FA_TAG_ROOT,
                                denial == FA__DENIED_BY_LIMIT ? FA_ERR_LIMIT
                                                              : FA_ERR_OUT_OF_MEMORY);
        }
        thread->frames = frames; // Kept on failure below: the next try takes it up.
    }
    for (uint32_t i = 0; i < count; i++) {
        fa__slot *slot = &frames->slots[i];
        fa_result result = slot_make(thread, slot);
        if (result != FA_OK) {
            while (i > 0) {
                i -= 1;
                fa__arena_release_memory(&frames->slots[i].arena);
            }
            memset(frames->slots, 0, count * sizeof(fa__slot));
            return result;
        }
        slot->next = &frames->slots[(i + 1) % count];
        slot->keeps = count > 1;
    }
    frames->next = &frames->slots[0];
    (void)fa__settle(ctx); // Takes up the thread's budget.
    return FA_OK;
}

// Figures -----------------------------------------------------------------------------------------

static FA_COLD void raise_peaks(fa__thread *thread, size_t live) {
    if (live > fa__load(&thread->own_peak_bytes)) {
        fa__store(&thread->own_peak_bytes, live);
    }
    if (live > fa__load(&thread->peak_bytes)) {
        fa__store(&thread->peak_bytes, live);
    }
}

static size_t scratch_bytes(const fa__frames *frames) {
    size_t bytes = 0;
    for (size_t i = 0; frames->scratch_depth != 0 && i < FA__SCRATCH_COUNT; i++) {
        bytes += fa__meter_used(&frames->scratch[i].arena.meter);
    }
    return bytes;
}

void fa__frames_note_peak(fa__thread *thread) {
    size_t live = thread->held_bytes + fa__meter_used(thread->frame);
    live += scratch_bytes(thread->frames);
    if (FA_UNLIKELY(live > fa__load(&thread->own_peak_bytes))) {
        raise_peaks(thread, live);
    }
}

static size_t open_bytes(const fa__thread *thread) {
    const fa__frames *frames = thread->frames;
    return frames == NULL ? 0 : fa__meter_used(thread->frame) + scratch_bytes(frames);
}

// Taking memory back ------------------------------------------------------------------------------

// What happens to the bytes of a frame's runs.
typedef enum unbooking {
    UNBOOK_END,  // The frame has ended, its memory stays in use.
    UNBOOK_HELD, // The memory of an ended frame is taken back.
    UNBOOK_ALL   // Both at once.
} unbooking;

static void unbook_run(fa__stretch *run, unbooking what) {
    fa__account *account = run->account;
    if (what == UNBOOK_END) {
        fa__own_add(&account->held, run->bytes);
        fa__account_show(account);
        return;
    }
    if (what == UNBOOK_HELD) {
        fa__own_sub(&account->held, run->bytes);
    }
    account->room += run->bytes;
    run->bytes = 0;
    fa__lease_return(account, account->keep);
    fa__account_show(account);
}

// Unbooks all runs from the top down to `last`.
static void unbook_runs(fa__meter *meter, const fa__stretch *last, unbooking what) {
    for (fa__stretch *run = meter->run; run >= meter->run_base; run--) {
        fa__account_note_peaks(run->account);
    }
    for (fa__stretch *run = meter->run; run >= last; run--) {
        unbook_run(run, what);
    }
    meter->run = what == UNBOOK_END ? meter->run : meter->run_base;
}

// The arenas that decay with a slot: its own, and with the first slot the scratch arenas too.
static size_t decaying(fa__slot *slot, fa__arena *arenas[1 + FA__SCRATCH_COUNT]) {
    const fa__thread *thread = slot->arena.meter.thread;
    fa__frames *frames = thread->frames;
    size_t count = 0;
    arenas[count++] = &slot->arena;
    for (size_t i = 0; slot == frames->slots && i < FA__SCRATCH_COUNT; i++) {
        if (frames->scratch[i].is_made && frames->scratch[i].depth == 0) {
            arenas[count++] = &frames->scratch[i].arena;
        }
    }
    return count;
}

#define QUIET_WINDOWS 8u // Windows between two quiet steps of the other layers.

// Lets the other layers know that some windows have passed, once for all slots: rarely, as what
// they do then takes longer than a frame's end.
static void tell_quiet(const fa__slot *slot) {
    fa__thread *thread = slot->arena.meter.thread;
    fa__frames *frames = thread->frames;
    fa_context *ctx = thread->context;
    if (fa__load(&ctx->wants_quiet) == 0 || slot != frames->slots || frames->is_ending) {
        return;
    }
    frames->windows += 1;
    if (frames->windows % QUIET_WINDOWS != 0) {
        return;
    }
    for (size_t i = 0; i < FA__TIER_COUNT; i++) {
        const fa__tier *tier = fa__load_acquire(&ctx->tiers[i]);
        if (tier != NULL && tier->quiet != NULL) {
            tier->quiet(ctx, thread);
        }
    }
}

// At the end of a window: decides what is to be given back. Then gives it back in as many steps as
// the window has fills, one at each end of a frame.
static FA_COLD void end_window(fa__slot *slot) {
    fa__arena *arenas[1 + FA__SCRATCH_COUNT];
    size_t count = decaying(slot, arenas);
    uint32_t fills = window(&slot->arena.meter.context->config);
    bool has_excess = slot->steps_left != 0;
    bool is_window = slot->steps_left == 0;
    for (size_t i = 0; slot->steps_left == 0 && i < count; i++) {
        has_excess = fa__arena_end_window(arenas[i]) || has_excess;
    }
    if (has_excess && slot->steps_left == 0) {
        slot->steps_left = fills;
    }
    for (size_t i = 0; has_excess && i < count; i++) {
        fa__arena_trim_step(arenas[i], slot->steps_left);
    }
    slot->steps_left -= has_excess ? 1 : 0;
    slot->window_left = slot->steps_left != 0 ? 1 : fills;
    if (is_window) {
        tell_quiet(slot);
    }
}

// Empties the slot after its runs are unbooked and its blocks dropped.
static inline void slot_empty(fa__slot *slot) {
    fa__arena *arena = &slot->arena;
    fa__meter *meter = &arena->meter;
    char *base = arena->base;
    meter->arena.cursor = base;
    meter->arena.limit = base;
    meter->booked = base;
    arena->epoch += 1;
    slot->window_left -= 1;
    if (FA_UNLIKELY(slot->window_left == 0)) {
        end_window(slot);
    }
}

// Takes a held slot's memory back. False when the fence could not be waited for; nothing has
// changed then.
static FA_COLD bool slot_take_back(fa__thread *thread, fa__slot *slot, bool is_teardown) {
    fa_context *ctx = thread->context;
    if (slot->fence != 0) {
        fa_result result = ctx->config.frame_wait(ctx->config.frame_wait_user, slot->fence);
        if (result != FA_OK && !is_teardown) {
            fa__arena_fail(&slot->arena, FA__CODE_FENCE_WAIT, result, 0, 0, false);
            return false;
        }
    }
    size_t used = fa__meter_used(&slot->arena.meter);
    fa__arena_run_cleanups(&slot->arena, 0);
    unbook_runs(&slot->arena.meter, slot->arena.meter.run_base, UNBOOK_HELD);
    fa__arena_drop(&slot->arena, 0);
    fa__meter_moved(&slot->arena.meter);
    thread->held_bytes -= used;
    slot->is_held = false;
    slot->fence = 0;
    slot->keeps = slot->next != slot;
    slot_empty(slot);
    return true;
}

// Begin and end -----------------------------------------------------------------------------------

static inline fa_arena *slot_open(fa__thread *thread, fa__slot *slot) {
    fa__meter *meter = &slot->arena.meter;
    uint64_t index = fa__load(&thread->frame_index) + 1;
    fa__store(&thread->frame_index, index);
    thread->ready = NULL;
    thread->frame = meter;
    meter->run->account = thread->idle_runs[1].account;
    slot->arena.fill_epoch = slot->arena.epoch;
    fa__meter_arm(meter);
    return &meter->arena;
}

static FA_COLD fa_arena *begin_slow(fa_context *ctx) {
    fa__thread *thread = fa__thread_get(ctx);
    if (thread == NULL) {
        return NULL;
    }
    if (fa__thread_has_frame(thread)) {
        fa__arena_fail((fa__arena *)(void *)thread->frame, FA__CODE_FRAME_TWICE, FA_ERR_FRAME_OPEN,
                       0, 0, false);
        return NULL;
    }
    if (fa__frames_make(thread) != FA_OK) {
        return NULL;
    }
    if (fa__load(&thread->epoch) != fa__load(&ctx->epoch)) {
        fa__leases_return(ctx);
    }
    const fa__frames *frames = thread->frames;
    fa__slot *slot = frames->next;
    if (slot->is_held && !slot_take_back(thread, slot, false)) {
        return NULL;
    }
    thread->is_untidy = slot->keeps;
    thread->frame_refusals = fa__load(&thread->refusals);
    if (thread->times != NULL) {
        thread->is_untidy = true;
        thread->frame_started_ns = fa__os_clock_ns();
    }
    slot->index = fa__load(&thread->frame_index) + 1;
    return slot_open(thread, slot);
}

fa_arena *fa_frame_begin(fa_context *ctx) {
    if (FA_UNLIKELY(!fa__thread_is_last(ctx))) {
        return begin_slow(ctx);
    }
    fa__thread *thread = fa__thread_caches[0].thread;
    fa__slot *slot = thread->ready;
    if (FA_UNLIKELY(slot == NULL || fa__load(&thread->epoch) != fa__load(&ctx->epoch))) {
        return begin_slow(ctx);
    }
    return slot_open(thread, slot);
}

static FA_COLD void end_refused(fa_arena *frame) {
    if (frame == NULL) {
        fa__fail(&(fa__failure){.code = FA__CODE_END_WITHOUT_BEGIN, .result = FA_ERR_NO_FRAME});
        return;
    }
    fa__arena *arena = fa__arena_of(frame);
    fa__thread *thread = arena->meter.thread;
    bool is_other = arena->kind == FA__ARENA_FRAME && thread->frame == &arena->meter;
    fa__arena_fail(arena, is_other ? FA__CODE_WRONG_THREAD : FA__CODE_END_WITHOUT_BEGIN,
                   is_other ? FA_ERR_WRONG_THREAD : FA_ERR_NO_FRAME, 0, 0, false);
}

static void write_history(fa__thread *thread, size_t used) {
    uint64_t index = fa__load(&thread->frame_index);
    uint64_t refusals = fa__load(&thread->refusals);
    uint64_t refused = refusals - thread->frame_refusals;
    refused = refused < FA__PAST_REFUSALS_MAX ? refused : FA__PAST_REFUSALS_MAX;
    thread->history[index & thread->history_mask] = used | refused << FA__PAST_BYTES_BITS;
    if (thread->times != NULL) {
        thread->times[index & thread->history_mask] = fa__os_clock_ns() - thread->frame_started_ns;
    }
    thread->frame_refusals = refusals;
}

// The end of a frame that is anything but plain: cleanups, blocks, refusals, scratch scopes, memory
// that outlives it.
static FA_COLD void close_slow(fa__thread *thread, fa__slot *slot) {
    fa__arena *arena = &slot->arena;
    fa__meter *meter = &arena->meter;
    fa__frames *frames = thread->frames;
    uint32_t open_scopes = fa__scratch_close_since_begin(thread);
    if (open_scopes != 0) {
        fa__arena_fail(arena, FA__CODE_SCRATCH_ORDER, FA_ERR_BUSY, 0, open_scopes, false);
    }
    if (!slot->keeps) {
        fa__arena_run_cleanups(arena, 0);
    }
    fa__meter_settle(meter);
    size_t used = fa__meter_used(meter);
    fa__arena_note_peak(arena, used);
    fa__frames_note_peak(thread);
    fa__own_add(&thread->total_bytes, used);
    write_history(thread, used);
    thread->is_untidy = false;
    thread->idle_runs[1].account =
        meter->run->account; // From here on tags switch on the idle meter.
    thread->frame = &thread->idle;
    unbook_runs(meter, meter->run_base, slot->keeps ? UNBOOK_END : UNBOOK_ALL);
    frames->next = slot->next;
    if (slot->keeps) {
        meter->arena.limit = meter->arena.cursor;
        thread->held_bytes += used;
        slot->is_held = true;
        return;
    }
    fa__arena_drop(arena, 0);
    fa__meter_moved(meter);
    slot_empty(slot);
    thread->ready = thread->times == NULL ? slot : NULL;
}

// Ends a frame of which only the first run is left, with no call on the way. `current` is the
// account of its top run.
static inline void close_plain(fa__thread *thread, fa__slot *slot, fa__account *current) {
    fa__arena *arena = &slot->arena;
    fa__meter *meter = &arena->meter;
    size_t used = (size_t)(meter->arena.cursor - arena->base);
    fa__meter_unbook_only(meter);
    fa__own_add(&thread->total_bytes, used);
    thread->history[fa__load(&thread->frame_index) & thread->history_mask] = used;
    thread->idle_runs[1].account = current;
    thread->frame = &thread->idle;
    thread->ready = slot;
    slot_empty(slot);
}

// The end of a frame with several runs.
static FA__NOINLINE void close_runs(fa__thread *thread, fa__slot *slot) {
    fa__meter *meter = &slot->arena.meter;
    fa__account *current = meter->run->account;
    fa__meter_settle(meter);
    unbook_runs(meter, meter->run_base + 1, UNBOOK_ALL);
    fa__account *first = meter->run_base->account;
    close_plain(thread, slot, current);
    fa__lease_return(first, first->keep);
}

// Everything but the common case: another context was used in between, another thread calls, no
// frame is open.
static FA_COLD void end_other(fa_arena *frame) {
    fa__thread *thread = frame == NULL ? NULL : fa__arena_of(frame)->meter.thread;
    if (thread == NULL || &thread->frame->arena != frame ||
        fa__thread_get(thread->context) != thread) {
        end_refused(frame);
        return;
    }
    close_slow(thread, (fa__slot *)(void *)frame);
}

void fa_frame_end(fa_arena *frame) {
    fa__slot *slot = (fa__slot *)(void *)frame;
    if (FA_UNLIKELY(frame == NULL)) {
        end_other(frame);
        return;
    }
    fa__meter *meter = &slot->arena.meter;
    fa__thread *thread = meter->thread;
    if (FA_UNLIKELY(fa__thread_caches[0].thread != thread || thread->frame != meter)) {
        end_other(frame);
        return;
    }
    fa__account *account = meter->run->account;
    if (FA_UNLIKELY(thread->is_untidy ||
                    (size_t)(frame->cursor - slot->arena.base) > slot->arena.high)) {
        close_slow(thread, slot);
        return;
    }
    if (FA_UNLIKELY(meter->run != meter->run_base)) {
        close_runs(thread, slot);
        return;
    }
    close_plain(thread, slot, account);
}

fa_arena *fa_frame_current(fa_context *ctx) {
    fa__thread *thread = fa__thread_get(ctx);
    return thread == NULL || !fa__thread_has_frame(thread) ? NULL : &thread->frame->arena;
}

// Queries and fences ------------------------------------------------------------------------------

// The slot of a frame; NULL for any other arena.
static fa__slot *slot_of(const fa_arena *frame) {
    const fa__arena *arena = (const fa__arena *)(const void *)frame;
    if (frame == NULL || arena->kind != FA__ARENA_FRAME) {
        return NULL;
    }
    return (fa__slot *)(uintptr_t)arena;
}

// A slot that is the only one has the thread's last frame.
static uint64_t slot_index(const fa__slot *slot) {
    bool is_only = slot->next == slot;
    return is_only ? fa__load(&slot->arena.meter.thread->frame_index) : slot->index;
}

uint64_t fa_frame_index(const fa_arena *frame) {
    const fa__slot *slot = slot_of(frame);
    return slot == NULL ? 0 : slot_index(slot);
}

uint64_t fa_context_frame_index(fa_context *ctx) {
    fa__os_mutex_lock(&ctx->lock);
    uint64_t furthest = ctx->gone_index;
    for (const fa__thread *thread = ctx->threads; thread != NULL; thread = thread->next) {
        uint64_t index = fa__load(&thread->frame_index);
        furthest = index > furthest ? index : furthest;
    }
    fa__os_mutex_unlock(&ctx->lock);
    return furthest;
}

fa_result fa_frame_fence(fa_arena *frame, uint64_t value) {
    fa__slot *slot = slot_of(frame);
    if (slot == NULL) {
        return fa__fail_argument(NULL, "frame");
    }
    fa__thread *thread = slot->arena.meter.thread;
    if (thread->context->config.frame_wait == NULL) {
        return fa__arena_fail(&slot->arena, FA__CODE_BAD_ARGUMENT, FA_ERR_UNSUPPORTED, 0, 0, false);
    }
    bool is_open = thread->frame == &slot->arena.meter;
    if (!is_open && !slot->is_held) {
        return fa__arena_fail(&slot->arena, FA__CODE_NO_FRAME, FA_ERR_NO_FRAME, 0, 0, false);
    }
    slot->fence = value;
    slot->keeps = slot->is_held || value != 0 || slot->next != slot;
    thread->is_untidy = thread->is_untidy || slot->keeps;
    return FA_OK;
}

fa_result fa_frame_stats(fa_arena *frame, fa_frame_stats_result *out) {
    fa__slot *slot = slot_of(frame);
    if (slot == NULL || out == NULL) {
        return fa__fail_argument(NULL, slot == NULL ? "frame" : "out");
    }
    fa_arena_stats_result stats;
    fa_result result = fa_arena_stats(frame, &stats);
    const fa__meter *meter = &slot->arena.meter;
    *out = (fa_frame_stats_result){.index = slot_index(slot),
                                   .used_bytes = stats.used_bytes,
                                   .peak_bytes = stats.peak_bytes,
                                   .committed_bytes = stats.committed_bytes,
                                   .reserved_bytes = stats.reserved_bytes,
                                   .waste_bytes = stats.waste_bytes,
                                   .blocks = stats.blocks,
                                   .fence = slot->fence,
                                   .is_open = meter->thread->frame == meter};
    return result;
}

// The layer's entry in the context ----------------------------------------------------------------

// Ends what is open, on behalf of a thread that goes away. Returns whether a frame was open.
static bool end_all(fa__thread *thread, fa__frames *frames) {
    bool was_open = fa__thread_has_frame(thread);
    frames->is_ending = true;
    if (was_open) {
        fa__arena *open = (fa__arena *)(void *)thread->frame;
        fa__fail(&(fa__failure){.context = thread->context,
                                .code = FA__CODE_LEFT_OPEN,
                                .result = FA_ERR_BUSY,
                                .bytes = fa__meter_used(&open->meter),
                                .where = thread->name});
    }
    fa__scratch_close_all(thread);
    if (was_open) {
        close_slow(thread, (fa__slot *)(void *)thread->frame);
    }
    uint32_t count = thread->context->config.frames_in_flight;
    for (uint32_t i = 0; frames->next != NULL && i < count; i++) {
        if (frames->slots[i].is_held) {
            (void)slot_take_back(thread, &frames->slots[i], true);
        }
    }
    frames->is_ending = false;
    return was_open;
}

static void for_arenas(fa__thread *thread, void (*fn)(fa__arena *, size_t), size_t value) {
    fa__frames *frames = thread->frames;
    uint32_t count = thread->context->config.frames_in_flight;
    for (uint32_t i = 0; frames->next != NULL && i < count; i++) {
        fn(&frames->slots[i].arena, value);
    }
    for (size_t i = 0; i < FA__SCRATCH_COUNT; i++) {
        if (frames->scratch[i].is_made) {
            fn(&frames->scratch[i].arena, value);
        }
    }
}

static void trim_one(fa__arena *arena, size_t keep) {
    fa__arena_trim(arena, keep);
}

static void settle_one(fa__arena *arena, size_t unused) {
    (void)unused;
    fa__meter_refresh(&arena->meter);
}

static void release_one(fa__arena *arena, size_t unused) {
    (void)unused;
    fa__arena_release_memory(arena);
}

static void trim(fa__thread *thread, size_t keep) {
    if (thread->frames != NULL) {
        for_arenas(thread, trim_one, keep);
    }
}

static void settle(fa_context *ctx, fa__thread *thread) {
    fa__frames *frames = thread == NULL ? NULL : thread->frames;
    if (frames == NULL) {
        return;
    }
    size_t limit = thread->budget.frame_bytes;
    uint32_t count = ctx->config.frames_in_flight;
    for (uint32_t i = 0; frames->next != NULL && i < count; i++) {
        frames->slots[i].arena.meter.byte_limit = limit == 0 ? SIZE_MAX : limit;
    }
    for_arenas(thread, settle_one, 0);
    fa__frames_note_peak(thread);
}

static void detach(fa__thread *thread) {
    if (thread->frames != NULL) {
        fa__frames *frames = thread->frames;
        (void)end_all(thread, frames);
        for (uint32_t i = 0; i < thread->context->config.frames_in_flight; i++) {
            frames->slots[i].arena.meter.byte_limit =
                SIZE_MAX; // The next thread has a budget of its own.
        }
        for_arenas(thread, settle_one, 0);
        for_arenas(thread, trim_one, thread->context->config.frame_initial);
    }
}

static size_t destroy(fa_context *ctx) {
    size_t live = 0;
    for (fa__thread *thread = ctx->threads; thread != NULL; thread = thread->next) {
        if (thread->frames != NULL) {
            live += end_all(thread, thread->frames) ? 1 : 0;
            for_arenas(thread, release_one, 0);
        }
    }
    return live;
}

static const fa__tier frames_tier = {.thread_detach = detach,
                                     .thread_trim = trim,
                                     .settle = settle,
                                     .open_bytes = open_bytes,
                                     .context_destroy = destroy};

// What an arena is made of, inside the library. arena.c explains the picture.
#pragma once

#include "../core/meter.h"

#include <framealloc/arena.h>

typedef enum fa__arena_kind {
    FA__ARENA_OWN,    // Made by fa_arena_create().
    FA__ARENA_FRAME,  // A slot of a thread's frames.
    FA__ARENA_SCRATCH // One of a thread's two scratch arenas.
} fa__arena_kind;

typedef enum fa__backing {
    FA__BACKING_RANGE,  // Reserved address space, committed as it fills.
    FA__BACKING_CHUNKS, // Chunks of the page source.
    FA__BACKING_MEMORY  // The caller's memory.
} fa__backing;

typedef struct fa__block fa__block;
typedef struct fa__cleanup fa__cleanup;

// A rewind that marks must be held against: those taken before `epoch` that lie beyond `offset` are
// stale.
typedef struct fa__rewind {
    uint64_t epoch;
    size_t offset;
} fa__rewind;

#define FA__REWINDS 8u

typedef struct fa__arena {
    fa__meter meter; // First: a pointer to one is a pointer to the other.
    char *base;      // First block.
    size_t reserved; // Bytes of the first block, committed or not.
    size_t committed;
    fa__chunk first;       // The first block when the backing is chunks.
    fa__block *blocks;     // Further blocks, newest first.
    fa__block *current;    // The one the cursor is in; NULL: the first block.
    fa__cleanup *cleanups; // Newest first.
    uint64_t epoch;        // Raised by every reset and rewind; the upper bits are the arena's own.
    uint64_t fill_epoch;   // Value at the start of this fill: older marks are stale.
    fa__rewind rewinds[FA__REWINDS]; // The latest, offsets and epochs rising.
    uint32_t rewind_count;
    size_t peak;
    size_t high;      // The most of the first block used since the decay window began.
    size_t high_last; // The same in the window before.
    size_t trim_to;   // What is committed beyond this is being given back.
    size_t waste;
    size_t chunk_size;
    size_t initial; // Never trimmed below this.
    uint64_t refusals;
    fa__arena_kind kind;
    fa__backing backing;
    char name[FA__NAME_BYTES];

    // Only for FA__ARENA_OWN.
    fa__account own;
    fa__stretch own_runs[2];
    size_t published; // Bytes of it in the tag's and the context's totals.
    fa__u64 owner;    // Thread id.
    struct fa__arena *next;
    struct fa__arena *prev;
} fa__arena;

struct fa__block {
    fa__block *below;
    fa__block *current; // To be restored.
    char *cursor;       // To be restored.
    size_t opened_at;   // Bytes in use when it was opened.
    size_t closed_at;   // The same after what stands aside in it: no mark lies between.
    size_t waste;       // Bytes left behind in the block before it.
    fa__chunk chunk;
};

struct fa__cleanup {
    fa__cleanup *below;
    void (*fn)(void *);
    void *arg;
    size_t offset; // Bytes in use when it was registered.
};

static inline fa__arena *fa__arena_of(fa_arena *arena) {
    return (fa__arena *)(void *)arena;
}

// How to set an arena up; `reserve` for ranges, `chunk_size` for chunks, `memory` for the caller's.
typedef struct fa__arena_setup {
    fa_context *context;
    fa__thread *thread; // NULL for FA__ARENA_OWN.
    fa__arena_kind kind;
    fa__backing backing;
    const char *name;
    size_t reserve;
    size_t initial;
    size_t chunk_size;
    void *memory;
    size_t memory_size;
    fa__account *account; // Charged first.
    fa__stretch *runs;    // Log of `run_count` entries.
    size_t run_count;
} fa__arena_setup;

// Sets up a zeroed arena. Fails with FA_ERR_OUT_OF_MEMORY or FA_ERR_LIMIT, reported, holding
// nothing.
fa_result fa__arena_setup_memory(fa__arena *arena, const fa__arena_setup *setup);

// Gives all its memory back. Cleanups have run, nothing is in use.
void fa__arena_release_memory(fa__arena *arena);

// Runs the cleanups from `offset` on, last first.
void fa__arena_run_cleanups(fa__arena *arena, size_t offset);

// Gives blocks opened at or after `offset` back and moves the cursor there. No booking, no
// cleanups.
void fa__arena_drop(fa__arena *arena, size_t offset);

// Starts a new fill: all marks become stale.
static inline void fa__arena_next_fill(fa__arena *arena) {
    arena->epoch += 1;
    arena->fill_epoch = arena->epoch;
}

// Notes that everything beyond `offset` was undone. A rewind makes those to higher offsets before
// it meaningless. When there is no room, an old one is forgotten: a stale mark may then pass for
// good, a good one never for stale.
static inline void fa__arena_note_rewind(fa__arena *arena, size_t offset) {
    uint32_t count = arena->rewind_count;
    if (count > 0 && arena->rewinds[count - 1].epoch <= arena->fill_epoch) {
        count = 0; // All of an earlier fill.
    }
    while (count > 0 && arena->rewinds[count - 1].offset >= offset) {
        count -= 1;
    }
    count = count < FA__REWINDS ? count : FA__REWINDS - 1;
    arena->epoch += 1;
    arena->rewinds[count] = (fa__rewind){arena->epoch, offset};
    arena->rewind_count = count + 1;
}

// Notes how much is in use, before it falls.
static inline void fa__arena_note_peak(fa__arena *arena, size_t used) {
    if (used > arena->peak) {
        arena->peak = used;
    }
    if (used > arena->high) {
        arena->high = used;
    }
}

// frame.c: notes what the thread has in use in frames and scratch arenas, before it falls.
void fa__frames_note_peak(fa__thread *thread);

// Brings the totals of the tag and the context up to date with an arena of its own.
void fa__arena_publish(fa__arena *arena);

// Notes the peaks of an arena, and of its thread if they may be new, before a part of it is undone.
static inline void fa__arena_note_undo_peak(fa__arena *arena, size_t used) {
    fa__thread *thread = arena->meter.thread;
    if (thread != NULL &&
        (used > arena->high || arena->kind != FA__ARENA_FRAME || thread->is_untidy)) {
        fa__frames_note_peak(thread);
    }
    if (thread == NULL && used > arena->published) {
        fa__arena_publish(arena);
    }
    fa__arena_note_peak(arena, used);
}

// scratch.c: the position of a scratch arena fell to `offset`, maybe below where open scopes began:
// they begin there now.
void fa__scratch_lower(fa__arena *arena, size_t offset);

// fa__arena_undo() when there is more to undo than bytes of the top run.
FA_COLD void fa__arena_undo_slow(fa__arena *arena, size_t offset);

// Runs the cleanups from `offset` on and gives back the blocks; the cursor ends at `offset`, the
// limit is set anew.
static inline void fa__arena_undo(fa__arena *arena, size_t offset) {
    fa__meter *meter = &arena->meter;
    fa__stretch *run = meter->run;
    fa__meter_settle(meter);
    size_t used = fa__meter_used(meter);
    size_t bytes = used - offset;
    bool has_more = (arena->cleanups != NULL && arena->cleanups->offset >= offset) ||
                    (arena->blocks != NULL && arena->blocks->opened_at >= offset);
    bool is_watched =
        meter->stop == meter->arena.cursor; // Or full: then `stop` may be in the way, too.
    if (FA_UNLIKELY(has_more || is_watched || bytes > run->bytes)) {
        fa__arena_undo_slow(arena, offset);
        return;
    }
    fa__arena_note_undo_peak(arena, used);
    fa__account_note_peaks(run->account);
    run->bytes -= bytes;
    run->account->room += bytes;
    fa__account_give_back(run->account);
    if (meter->thread != NULL) {
        meter->thread->undone_bytes += bytes;
    }
    meter->arena.cursor -= bytes;
    meter->booked = meter->arena.cursor;
    fa__meter_arm(meter);
}

// Ends a decay window: finds out whether there is much that neither this window nor the one before
// needed. True when it should be given back, in the steps that follow. Only when nothing is in use.
bool fa__arena_end_window(fa__arena *arena);

// Gives back so much of it that `steps_left` such steps give back all. Giving back a spike at once
// would be one itself.
void fa__arena_trim_step(fa__arena *arena, uint32_t steps_left);

// Gives committed memory beyond `keep` bytes back; what is in use stays.
void fa__arena_trim(fa__arena *arena, size_t keep);

// Makes bytes usable behind the cursor of a range. False after setting *denial.
bool fa__arena_commit(fa__arena *arena, size_t bytes, fa__denial *denial);

// Opens a further block that starts with `bytes` at a multiple of `align`, and returns them; NULL
// after setting *denial. Small ones become the current block, large ones stand aside so that the
// current one goes on filling.
char *fa__arena_open_block(fa__arena *arena, size_t bytes, size_t align, fa__denial *denial);

// True when a further block for `bytes` at `align` would become the current one.
bool fa__arena_block_is_current(const fa__arena *arena, size_t bytes, size_t align);

// Tells of a failed operation on an arena, and returns `result`.
fa_result fa__arena_fail(fa__arena *arena, fa__code code, fa_result result, size_t bytes,
                         size_t limit, bool quiet);

// The layer's entry in the context for arenas of their own.
extern const fa__tier fa__arena_tier;

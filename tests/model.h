// A naive model of one context used by one thread, kept beside the real one and compared with it at
// every step.
//
//   library                      model
//   cursor, limit, runs, leases  arrays: blocks, extents (bytes and tag), pieces, cleanups, marks
//
// The model knows what an allocation takes (sizes rounded to 16, padding included), whom it is
// charged to, and what every limit leaves; so it knows beforehand whether a request is granted, and
// with which code it is refused. It does not know how a limit is enforced. Only where a request
// goes that does not fit the block the cursor is in is taken from what happened: the library may
// choose.
#pragma once

#include <framealloc/framealloc.h>

#include "harness/check.h"

enum {
    MODEL_TAGS = 9, // The root included.
    MODEL_OWN = 6,
    MODEL_SLOTS = 8,
    MODEL_SCRATCH = 2,
    MODEL_MARKS = 24,
    MODEL_GONE = 16,
    MODEL_TAG_DEPTH = FA_TAG_DEPTH_MAX
};

typedef struct model_world model_world;
typedef struct model_arena model_arena;

typedef enum model_kind { MODEL_IS_OWN, MODEL_IS_FRAME, MODEL_IS_SCRATCH } model_kind;

typedef struct model_block {
    unsigned char *ptr;
    size_t size;  // As asked for.
    size_t bytes; // Rounded.
    size_t start; // Bytes in use before its first byte.
    size_t align;
    unsigned char fill;
    bool is_private; // The record of a cleanup: the library writes into it.
} model_block;

// Bytes in use are a stack of these, whichever block they are in.
typedef struct model_extent {
    size_t bytes;
    uint32_t tag;
} model_extent;

// A further block of memory, and where the cursor was before.
typedef struct model_piece {
    size_t opened_at;
    uintptr_t cursor;
    size_t room;
    size_t waste;
    size_t bytes;  // Of address space.
    bool is_aside; // The cursor did not move into it.
} model_piece;

typedef enum model_action { MODEL_ONLY_RUN, MODEL_ALLOCATES, MODEL_DEFERS } model_action;

typedef struct model_cleanup {
    model_world *world;
    model_arena *arena;
    size_t offset;
    uint64_t id;
    model_action action;
} model_cleanup;

typedef struct model_mark {
    fa_mark real;
    size_t offset;
} model_mark;

typedef struct model_scope {
    fa_scratch real;
    size_t offset; // Where it begins.
    uint32_t tag;
    bool in_frame; // Opened while the present frame was open.
} model_scope;

#define MODEL_STACK(type)                                                                          \
    struct {                                                                                       \
        type *items;                                                                               \
        size_t count;                                                                              \
        size_t room;                                                                               \
    }

struct model_arena {
    fa_arena *real;
    model_kind kind;
    char name[32];
    bool is_open;      // Allocations may be granted.
    bool is_fixed;     // The caller's memory: no further blocks.
    void *memory;      // The caller's memory.
    size_t byte_limit; // SIZE_MAX: none.
    uint32_t tag;      // Of an arena of its own, or of the innermost scope.
    size_t used;
    size_t peak;
    size_t waste;
    size_t reserved; // Bytes of the first block.
    uint64_t refusals;
    uintptr_t cursor;
    size_t room; // Bytes behind the cursor in its block, committed or not.
    size_t undoing;
    MODEL_STACK(model_block) blocks;
    MODEL_STACK(model_extent) extents;
    MODEL_STACK(model_piece) pieces;
    MODEL_STACK(model_cleanup *) cleanups;
    MODEL_STACK(model_scope) scopes;
    model_mark marks[MODEL_MARKS];
    size_t mark_count;
    fa_mark gone_marks[MODEL_GONE]; // Of positions that were undone.
    size_t gone_mark_count;
    size_t rewinds; // In this fill.
    fa_scratch gone_scopes[MODEL_GONE];
    size_t gone_scope_count;
    uint64_t index; // Of the frame.
    uint64_t fence;
    bool is_held;
};

typedef struct model_peak {
    size_t now;
    size_t most;
} model_peak;

// Who keeps peaks of a tag, beside arenas of their own.
enum { MODEL_HELD_BY_FRAMES, MODEL_HELD_BY_SCRATCH, MODEL_HELD_BY_OTHER, MODEL_HOLDERS };

// How to make a world.
typedef struct model_setup {
    uint64_t seed;
    uint32_t frames_in_flight;
    bool
        cannot_commit; // The backend hands out memory usable at once, so everything sits on chunks.
    bool is_narrow;    // Small reservations: requests often need further blocks.
    bool has_budgets;
} model_setup;

struct model_world {
    model_setup setup;
    check_rng rng;
    uint64_t step;
    const char *doing;
    bool failed;
    bool is_closing;
    // While a frame ends: scopes that stay open on each scratch arena whose others are being
    // closed. SIZE_MAX: none.
    size_t scopes_kept[MODEL_SCRATCH];
    int nesting; // Above 0 callbacks only look on.
    fa_context *context;
    fa_backend backend;
    size_t block_header; // Bytes at the start of a further block.

    fa_tag tags[MODEL_TAGS];
    uint32_t parents[MODEL_TAGS];
    size_t use[MODEL_TAGS]; // Descendants included.
    size_t use_peak[MODEL_TAGS];
    model_peak held[MODEL_HOLDERS][MODEL_TAGS]; // Without descendants.
    model_peak frame_use[MODEL_TAGS];           // The same in the open frame.
    model_peak ended[MODEL_TAGS]; // Arenas that were destroyed: how many, and their peaks added up.
    uint64_t tag_refusals[MODEL_TAGS]; // Descendants included.
    fa_budget budgets[MODEL_TAGS];
    bool soft_told[MODEL_TAGS]; // Since the budget was set.
    bool soft_armed
        [MODEL_TAGS]; // When it was set, less was in use: the callback has to be told of more.
    fa_thread_budget thread_budget;
    uint32_t tag_stack[MODEL_TAG_DEPTH];
    size_t tag_depth;
    uint32_t current_tag;

    model_arena slots[MODEL_SLOTS];
    model_arena scratch[MODEL_SCRATCH];
    model_arena own[MODEL_OWN];
    model_arena *frame; // The open one.
    uint64_t frame_index;
    size_t use_all;
    uint64_t refusals;
    uint64_t changes; // Raised by everything that may change a prediction.

    fa_result wait_result;
    uint64_t waits_seen;
    uint64_t waits_expected;
    uint64_t reports_seen;
    uint64_t reports_expected;
    int last_report;
    size_t left_open_seen; // Scratch scopes that the last FA007 spoke of.
    bool is_watched;
    uint64_t watched_seen;
    uint64_t watched_expected;
    void *watched_ptr;
    uint64_t cleanups_made;
    uint64_t granted;
    uint64_t denied;
};

// What will happen to a request.
typedef struct model_verdict {
    fa_result result;
    int code;
    size_t limit;
    size_t pad;
    bool is_here; // It fits the block the cursor is in.
} model_verdict;

// ---- model_state.c: the arrays ----

bool model_expect(model_world *world, const char *file, int line, const char *what, uint64_t is,
                  uint64_t want);
#define EXPECT_EQ(world, is, want)                                                                 \
    model_expect((world), __FILE__, __LINE__, #is, (uint64_t)(is), (uint64_t)(want))
#define EXPECT(world, condition)                                                                   \
    model_expect((world), __FILE__, __LINE__, #condition, (condition) ? 1 : 0, 1)
#define EXPECT_PTR(world, is, want)                                                                \
    model_expect((world), __FILE__, __LINE__, #is, (uint64_t)(uintptr_t)(is),                      \
                 (uint64_t)(uintptr_t)(want))

void model_check_reports(model_world *world);
size_t model_rounded(size_t size);
uint32_t model_tag_of(const model_world *world, const model_arena *arena);
model_verdict model_predict(const model_world *world, const model_arena *arena, uint32_t tag,
                            size_t size, size_t align);
// Bytes that can still be charged to a tag: SIZE_MAX where no budget refuses.
size_t model_remaining(const model_world *world, uint32_t tag);

void model_take(model_world *world, model_arena *arena, uint32_t tag, size_t bytes);
void model_push_block(model_arena *arena, const model_block *block);
// Takes back everything beyond `offset`, as it was before the library is asked, then after it was.
void model_undo_before(model_world *world, model_arena *arena, size_t offset);
void model_undo_after(model_world *world, model_arena *arena, size_t offset);
// The last block gave `bytes` back.
void model_shrink(model_world *world, model_arena *arena, size_t bytes);
void model_marks_gone(model_arena *arena, size_t offset);
void model_all_marks_gone(model_arena *arena);
void model_push_piece(model_arena *arena, const model_piece *piece);
void model_refused(model_world *world, model_arena *arena, uint32_t tag);
void model_push_cleanup(model_arena *arena, model_cleanup *cleanup);
void model_push_scope(model_arena *arena, const model_scope *scope);
void model_fill(model_world *world, model_block *block);
bool model_block_intact(const model_block *block);
void model_check_blocks(model_world *world, const model_arena *arena, size_t from);
// Where an arena stands when it is empty.
void model_arena_starts(model_arena *arena);
void model_arena_free(model_arena *arena);

// ---- model_memory.c: allocating, resizing, cleanups ----

typedef enum model_call {
    MODEL_ALLOC,
    MODEL_ALLOC_ALIGNED,
    MODEL_TRY_ALLOC,
    MODEL_CALLOC,
    MODEL_ALLOC_ARRAY,
    MODEL_STRDUP,
    MODEL_PRINTF,
    MODEL_DEFER,
    MODEL_TAGGED,
    MODEL_TAGGED_ALIGNED,
    MODEL_RESIZE_NULL,
    MODEL_CALLS
} model_call;

// Makes one allocation of `size` bytes and compares. `tag` is for the tagged calls.
void model_allocate(model_world *world, model_arena *arena, model_call call, size_t size,
                    size_t align, uint32_t tag);
void model_allocate_any(model_world *world, model_arena *arena);
void model_defer(model_world *world, model_arena *arena, model_action action);
void model_resize(model_world *world, model_arena *arena);
// A budget's soft line, or a hard one that only warns, was passed: the callback uses the library.
void model_budget_event(const fa_budget_event *event, void *user);

// ---- model_reset.c: what gives memory back ----

void model_mark_one(model_world *world, model_arena *arena);
void model_rewind(model_world *world, model_arena *arena);
void model_rewind_stale(model_world *world, model_arena *arena);
void model_reset(model_world *world, model_arena *arena);
void model_trim(model_world *world, model_arena *arena);

// ---- model_scopes.c: frames, scratch scopes, tags, budgets, arenas that come and go ----

void model_frame_begin(model_world *world);
void model_frame_end(model_world *world);
void model_frame_misuse(model_world *world);
void model_fence(model_world *world);
// Follows the library, which has closed the scopes of the first `count` scratch arenas that the
// frame's end closes.
void model_scopes_closed(model_world *world, size_t count);
void model_scratch_begin(model_world *world);
void model_scratch_end(model_world *world);
void model_scratch_end_again(model_world *world);
void model_tag_push(model_world *world);
void model_tag_pop(model_world *world);
void model_budget_set(model_world *world);
void model_thread_budget_set(model_world *world);
void model_own_create(model_world *world);
void model_own_destroy(model_world *world, model_arena *arena);
void model_checks_set(model_world *world);
// Any arena that allocations may be tried on, open or not; NULL when there is none.
model_arena *model_any_arena(model_world *world);

// ---- model_world.c: making, comparing everything, ending ----

void model_open(model_world *world, const model_setup *setup);
void model_compare(model_world *world);
void model_step(model_world *world);
void model_close(model_world *world);

// A thread's frames and scratch arenas, inside the library. frame.c explains the picture.
#pragma once

#include "blocks.h"

#include <framealloc/frame.h>

typedef struct fa__slot fa__slot;

struct fa__slot {
    fa__arena arena; // First.
    fa__slot *next;  // The ring of frames in flight.
    uint64_t index;  // Of its last frame, when there are several slots.
    uint64_t fence;
    bool keeps;   // More than one frame is in flight, or a fence is set: memory outlives the frame.
    bool is_held; // The frame has ended, its memory is still valid.
    uint32_t window_left; // Fills until the decay window, or a step of giving back, ends.
    uint32_t steps_left;  // Steps of giving back to come.
    fa__stretch runs[FA__RUNS_MIN];
};

// A scratch scope that is open.
typedef struct fa__scope {
    uint64_t epoch;       // Of the arena when it was opened: no other scope ever had it.
    size_t offset;        // Bytes in use then.
    fa__account *account; // Whom the arena was charged to before.
} fa__scope;

#define FA__SCOPES_FIRST 32u

typedef struct fa__scratch_arena {
    fa__arena arena;   // First.
    fa__scope *scopes; // Open ones, outermost first; the first few are in `few`.
    uint32_t depth;    // How many.
    uint32_t capacity; // How many there is room for.
    uint32_t kept;     // How many of them were open when `scratch_frame` opened its first.
    bool is_made;
    fa__scope few[FA__SCOPES_FIRST];
    fa__stretch runs[FA__RUNS_MIN];
} fa__scratch_arena;

#define FA__SCRATCH_COUNT 2u

typedef struct fa__frames {
    fa__slot *next;         // Slot of the next frame; NULL until the slots are made.
    bool is_ending;         // The thread's frames are being taken down.
    uint32_t windows;       // Decay windows that have passed.
    uint32_t scratch_depth; // Scopes open on both arenas together.
    uint64_t scratch_frame; // The last frame in which a scope was opened.
    fa__scratch_arena scratch[FA__SCRATCH_COUNT];
    fa__slot slots[]; // fa_config.frames_in_flight of them.
} fa__frames;

// Makes the thread's frames if it has none yet. Fails reported, with nothing changed.
fa_result fa__frames_make(fa__thread *thread);

// Closes scopes that were opened since the frame began and not ended: returns how many. No report.
uint32_t fa__scratch_close_since_begin(fa__thread *thread);

// Closes all scopes.
void fa__scratch_close_all(fa__thread *thread);

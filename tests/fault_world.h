// The workload of the fault tests: everything the library does, call by call.
//
// Each call goes through an attempt, which knows what a refused call owes its caller: a NULL or a
// negative result, the same reason in fa_last_error() and in one report, statistics and contents
// as they were, and success when the call is made again with memory there.
#pragma once

#include "fault_backend.h"

#include <framealloc/framealloc.h>

#define WORLD_TAGS_MAX 4096
#define WORLD_ARENAS_MAX 256
#define WORLD_PIECES_MAX 4096
#define WORLD_LOG_MAX 16384

// How one run of the workload goes.
typedef struct world_plan {
    uint32_t frames_in_flight;
    uint32_t history_frames; // Only moves where in a block of bookkeeping everything lies.
    size_t memory_limit;     // 0: none; otherwise the only reason to refuse.
    size_t tags;             // Registered by the run, at most WORLD_TAGS_MAX.
    size_t arenas;           // On chunks, alive together, at most WORLD_ARENAS_MAX.
    bool retries;            // A refused call is made again with nothing refused.
    bool is_shared;          // Other threads use the context at the same time.
    unsigned looks;   // Percent of the calls around which all statistics are read and compared.
    uint64_t look_at; // One more such call, by its number, from 0.
    uint64_t *log;    // Gets the calls of the backend before each call, WORLD_LOG_MAX; or NULL.
} world_plan;

// Memory the workload holds, and the byte it is filled with.
typedef struct world_piece {
    unsigned char *ptr;
    size_t size;
    size_t group;
    unsigned char fill;
} world_piece;

typedef struct world_item {
    size_t number;
    unsigned char rest[632];
} world_item;

typedef FA_VEC(world_item) world_vec;
typedef FA_MAP(uint32_t, world_item) world_map;

// One thread's share of the workload.
typedef struct world {
    const world_plan *plan;
    const char *label; // For failures.
    fault_backend *faults;
    fa_context *ctx;
    check_rng rng;
    bool is_attached;
    fa_arena *frame;
    uint64_t frames; // Begun.
    size_t depth;    // Tags pushed.
    fa_tag tags[WORLD_TAGS_MAX];
    fa_arena *own[3]; // One on each backing.
    fa_arena *many[WORLD_ARENAS_MAX];
    fa_scratch scratch[2];
    world_piece pieces[WORLD_PIECES_MAX];
    size_t piece_count;
    unsigned char *resized; // In own[0].
    size_t resized_size;
    fa_mark mark;
    size_t marked_pieces;
    world_vec vec;
    world_map map;
    fa_string string;
    unsigned deferred;
    unsigned undone;
    unsigned phases;
    size_t asked;     // Bytes the present call asks for; 0: not to be compared.
    fa_tag asked_tag; // And for whom.
    uint64_t failures;
} world;

// ---- One call: fault_world.c ----

typedef fa_result (*world_step)(world *w, size_t i);

// Makes the call `step(w, i)`, and checks what it owes its caller when it is refused.
void world_attempt(world *w, const char *what, world_step step, size_t i);

// The result of a call that returns a pointer.
fa_result world_result_of(const void *ptr);

// Fills memory, and remembers it as one of a group.
void world_add_piece(world *w, void *ptr, size_t size, size_t group);

// Forgets the pieces of a group from the one numbered `first` on.
void world_drop_pieces(world *w, size_t group, size_t first);

// Checks that the contents are as the workload left them.
void world_check_pieces(const world *w);
void world_check_containers(const world *w);

// Checks that what the context says it holds is what the backend has given.
void world_check_balance(const world *w);

// The report function of a run's context.
void world_hear(const fa_report *report, void *user);

// ---- All calls: fault_play.c ----

// Makes the context of a run; `w->ctx` stays NULL when it is refused.
void world_create(world *w, const world_plan *plan, fault_backend *faults, const char *label);

// Does everything once. Calls may be refused; what depends on them is then left out.
void world_play(world *w);

// A thread's life in a context that others use too: frames, scratch, arenas of its own. `world_of`
// is a world that world_join() has made.
void world_thread(void *world_of);

// A share of a context for another thread.
void world_join(world *w, const world *host, const char *label, uint64_t seed);

// Everything that takes bookkeeping memory, after the frame has taken what memory_limit allows. The
// kind numbered `first` begins.
void world_play_full(world *w, size_t first);

// Ends what is open, destroys everything, and checks that nothing was live.
void world_end(world *w);

// Registers the plan's tags and uses each: accounts and tables grow by the hundred.
void world_use_all_tags(world *w);

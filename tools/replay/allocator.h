/// @file allocator.h
/// What a replay needs of an allocator. Each allocator_<name>.c defines one, allocator_foreign.c
/// those that are a malloc of some library.
///
/// A replay must cost the same around every allocator, and a call through a pointer costs about as
/// much as the allocation it would hide. So the timed loop is written once, in loop.h, and compiled
/// into each allocator's file with that allocator's functions inlined. The functions for one block
/// at a time are for verify.h, which is not timed.
#pragma once

#include "plan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Where an object is while it lives. The replay's own table, one per slot of the plan.
typedef struct replay_slot {
    unsigned char *ptr; ///< Its memory.
    uint32_t size;      ///< Its bytes.
    uint32_t block;     ///< Which block of the trace it is: decides the pattern written to it.
} replay_slot;

/// What an allocator keeps during a replay. The two pointers are its own.
typedef struct replay_session {
    const plan *plan;
    void *state;
    void *extra;
} replay_session;

/// How a replay ended.
typedef enum replay_status {
    REPLAY_DONE,    ///< All steps were executed.
    REPLAY_REFUSED, ///< The allocator returned NULL at `op`.
    REPLAY_DAMAGED, ///< A block freed or moved at `op` did not hold what was written to it.
    REPLAY_NO_FRAME ///< The allocator could not begin a frame before `op`.
} replay_status;

/// How and where a replay ended.
typedef struct replay_end {
    replay_status status;
    uint32_t op; ///< The step; op_count when all were executed.
} replay_end;

/// Figures an allocator has about itself, in bytes.
typedef struct replay_account {
    bool is_known;            ///< False: it has none.
    uint64_t peak_bytes;      ///< The most it had in use.
    uint64_t committed_bytes; ///< What it holds at the end.
} replay_account;

/// An allocator.
typedef struct allocator {
    const char *name;    ///< What --allocator calls it.
    const char *summary; ///< What it is, in a line.
    bool is_reference;   ///< It shows what the replay itself costs: its memory says nothing.
    bool aligns_less;    ///< Blocks below 16 bytes begin at a multiple of the largest power of two
                         ///< in their size, as C allows; otherwise at one of 16.

    /// Loads its library into this process, for good; what that costs is not measured. False with
    /// the reason in `error` when it cannot be had. NULL: there is nothing to load.
    bool (*load)(char *error, size_t error_size);
    /// The version of what was loaded; "" when it is not known.
    const char *(*version)(void);
    /// Prepares a replay of session->plan. False with the reason in `error`.
    bool (*open)(replay_session *session, char *error, size_t error_size);
    /// Ends it. False with the reason in `error` when something was left behind.
    bool (*close)(replay_session *session, char *error, size_t error_size);
    /// Its own figures. May be NULL.
    void (*account)(replay_session *session, replay_account *out);

    /// Replays the whole plan and stores clock_ns() at the start in stamps[0] and after section k
    /// in stamps[k + 1].
    replay_end (*run_timed)(replay_session *session, replay_slot *slots, uint64_t *stamps);
    /// Replays the whole plan without reading a clock; each part is a region of syscall_count.h.
    replay_end (*run_counted)(replay_session *session, replay_slot *slots);

    /// One step at a time. `frame` is what frame_begin returned.
    void *(*frame_begin)(replay_session *session);
    void (*frame_end)(replay_session *session, void *frame);
    void *(*alloc)(replay_session *session, void *frame, const plan_op *op);
    void *(*resize)(replay_session *session, void *frame, const plan_op *op, void *ptr,
                    size_t old_size);
    void (*free)(replay_session *session, void *frame, const plan_op *op, void *ptr);
} allocator;

extern const allocator allocator_glibc;
extern const allocator allocator_framealloc;
extern const allocator allocator_mimalloc;
extern const allocator allocator_jemalloc;
extern const allocator allocator_tcmalloc;
extern const allocator allocator_none;

/// All of them, in the order they are shown, those that are not installed included; NULL beyond the
/// last.
const allocator *allocator_at(size_t index);

/// The one of this name, or NULL. "malloc" is another name for glibc.
const allocator *allocator_find(const char *name, size_t length);

/// Whether it can be used here. Found out in a child process, once.
bool allocator_is_here(const allocator *a);

/// The names of those that can be used here, separated by ", ".
void allocator_names(char *text, size_t size);

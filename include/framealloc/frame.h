/// @file frame.h
/// Arenas with the two shortest lifetimes: a frame, and a scratch scope inside a function.
///
///     fa_arena *frame = fa_frame_begin(ctx);
///     contact *contacts = fa_arena_array_uninit(frame, contact, 800);
///     fa_frame_end(frame);          // all contacts are gone, nothing is freed one by one
///
/// Each thread has frames of its own; at most one is open per thread and context. With
/// `fa_config.frames_in_flight` = N the memory of frame k stays valid until the thread begins frame
/// k+N (N = 1: until k ends), and its cleanups run then; with N above 1 they find their frame
/// closed and cannot allocate from it.
#pragma once

#include "arena.h"

FA_BEGIN_DECLS

/// What fa_frame_stats() fills.
typedef struct fa_frame_stats_result {
    uint64_t index;         ///< Index of the frame.
    size_t used_bytes;      ///< In use now.
    size_t peak_bytes;      ///< The most in use at once by any frame in this slot.
    size_t committed_bytes; ///< Memory held by the slot.
    size_t reserved_bytes;  ///< Address space held by the slot.
    size_t waste_bytes;     ///< Ends of blocks left behind.
    size_t blocks;  ///< Blocks beyond the reservation: above 0, raise fa_config.frame_reserve.
    uint64_t fence; ///< Fence value set on it; 0: none.
    bool is_open;   ///< Between begin and end.
} fa_frame_stats_result;

/// Opens the calling thread's next frame and returns its arena; the thread attaches on first use.
/// NULL when a frame is already open (FA004), when the frame whose memory comes round is still
/// fenced and `frame_wait` failed, or when the first frame of a thread finds no memory. Nothing has
/// changed then. Valid until fa_frame_end(); its memory as the file comment says. No lock, no
/// system call once warm.
FA_API fa_arena *fa_frame_begin(fa_context *ctx);

/// Ends `frame`. One that is not open (FA006) or is another thread's (FA205) is refused and
/// reported; of NULL only fa_last_error() tells, because no context is known. Scratch scopes that
/// were opened in the frame and are still open are closed and reported (FA007).
FA_API void fa_frame_end(fa_arena *frame);

/// The calling thread's open frame, or NULL. Never an error. About ten instructions.
FA_API fa_arena *fa_frame_current(fa_context *ctx);

/// Index of a frame among its thread's frames: 1, 2, 3 ... It stays readable until the slot's next
/// frame begins. 0 for an arena that is not a frame.
FA_API uint64_t fa_frame_index(const fa_arena *frame);

/// Index of the furthest frame that any thread of the context has begun; 0 before the first. Takes
/// a lock.
FA_API uint64_t fa_context_frame_index(fa_context *ctx);

/// Keeps the memory of `frame` from being used again until `fa_config.frame_wait` has returned
/// FA_OK for `value`. Call it before fa_frame_end(), or, with more than one frame in flight, any
/// time before the frame's memory comes round again. A later value replaces an earlier one; 0
/// removes it. FA_ERR_UNSUPPORTED without a frame_wait, FA_ERR_NO_FRAME when the memory was given
/// up already. Owner thread.
FA_API fa_result fa_frame_fence(fa_arena *frame, uint64_t value);

/// Fills `out` for a frame of the calling thread, open or in flight. FA_ERR_INVALID when it is no
/// frame.
FA_API fa_result fa_frame_stats(fa_arena *frame, fa_frame_stats_result *out);

/// A scratch scope: memory until the function returns. A value, closed by fa_scratch_end().
typedef struct fa_scratch {
    fa_arena *arena; ///< Allocate here. NULL when fa_scratch_begin() failed.
    fa_mark mark;    ///< Private: where the arena stood, and which scope this is.
    uint32_t depth;  ///< Private: scopes open on the arena, this one included.
} fa_scratch;

/// Opens a scratch scope on one of the thread's two scratch arenas, never one of the `n` in
/// `conflicts`: pass the arenas the caller returns results in, so that they are not undone with the
/// temporaries. `.arena` is NULL when both conflict (FA011) or there is no memory. Everything in
/// the scope is charged to the thread's current tag at the time it opens. Scopes on one arena nest.
/// No lock once warm.
FA_API fa_scratch fa_scratch_begin(fa_context *ctx, fa_arena *const *conflicts, size_t n);

/// Undoes everything allocated in the scope and in those opened on the same arena since. Ending a
/// scope a second time, or after one that contained it, is refused and reported (FA007). A scope
/// whose begin failed is ignored.
FA_API void fa_scratch_end(fa_scratch scratch);

FA_END_DECLS

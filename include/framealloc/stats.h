/// @file stats.h
/// Where the memory is: by tier, by tag, by thread, by frame. Always on, because it is taken from
/// cursor differences and costs nothing per allocation.
///
/// The calling thread's own figures are exact at every moment. Of another thread's arenas they are
/// those of its last boundary: the end of a frame, a rewind, an allocation that had to ask. Of its
/// objects and blocks they are exact whenever it is not inside a call. When all threads stand at
/// such a point, the sum over tags is the total, and for arenas the sum over threads.
///
/// Pools and the heap take their bytes in leases of 16 KiB, so their part in a peak is an upper
/// bound: the most that was leased. That is above the most in use by what waited in the caches of
/// threads, and by no more than 32 KiB for each thread, tag, and of pool and heap. A peak is never
/// above a hard budget that refuses.
///
/// Heap blocks are counted one by one, when they are allocated and when they are freed; objects of
/// pools are counted only while FA_CHECK_BLOCKS is on.
#pragma once

#include "base.h"
#include "budget.h"

FA_BEGIN_DECLS

/// Figures of a context.
typedef struct fa_stats {
    size_t frame_bytes; ///< In use in arenas: frames, scratch scopes, and arenas you made.
    size_t pool_bytes;  ///< In use in pools.
    size_t heap_bytes;  ///< In use in the heap.
    size_t total_bytes; ///< The three together.
    size_t peak_bytes;  ///< The most in use: exact for one thread's frames and
        ///< scratch; else an upper bound.
    size_t committed_bytes; ///< Taken from the backend now, bookkeeping included.
    uint64_t allocations;   ///< Counted one by one: heap, pools with FA_CHECK_BLOCKS, and
        ///< arenas while they are watched.
    uint64_t frees;        ///< Frees counted one by one: heap, pools with FA_CHECK_BLOCKS.
    uint64_t refusals;     ///< Allocations refused, whatever the reason.
    size_t reserved_bytes; ///< Address space held.
    size_t overhead_bytes; ///< Of the committed bytes, those for the library's own bookkeeping.
    uint32_t threads;      ///< Threads attached.
    uint32_t arenas;       ///< Arenas made by fa_arena_create() and not destroyed.
} fa_stats;

/// Figures of a tag, its descendants included.
typedef struct fa_tag_stats_result {
    size_t current_bytes;    ///< In use.
    size_t peak_bytes;       ///< The most in use: the sum of the peaks of each thread's frames and
                             ///< scratch arenas, of arenas you made (as they last grew), of pools
                             ///< and heap together, and of all descendants. For arenas exact where
                             ///< only one of them has used the tag; else an upper bound, though
                             ///< never above a hard budget that refuses.
    size_t frame_bytes;      ///< In use in frames now open.
    size_t frame_peak_bytes; ///< The most one frame used, added up over threads and descendants.
    uint64_t allocations;    ///< As in fa_stats.
    uint64_t refusals;       ///< Allocations refused while this tag was to be charged.
    size_t budget;           ///< Its own hard budget in bytes; 0: none.
} fa_tag_stats_result;

/// Figures of a thread.
typedef struct fa_thread_stats_result {
    char name[32]; ///< As attached, or "thread N".
    uint32_t id;   ///< 1, 2, 3 ... in order of attaching. Used again after
        ///< the thread's exit.
    uint64_t frame_index;    ///< Index of its last frame begun.
    size_t frame_bytes;      ///< In use in its frames and scratch arenas.
    size_t frame_peak_bytes; ///< The most in use there.
    size_t pool_bytes;       ///< Taken from pools by it less what it gave back, whoever had
                             ///< taken that; 0 when it gave back more. What waits in caches
                             ///< counts as taken.
    size_t heap_bytes;       ///< The same of the heap.
    uint64_t total_bytes;    ///< Bytes in use at the end of each of its finished frames, added up.
    uint64_t allocations;    ///< As in fa_stats.
    uint64_t refusals;       ///< Allocations refused to it.
    size_t frame_budget;     ///< Its budget for one frame; 0: none.
    uint32_t tag_depth;      ///< Tags pushed.
} fa_thread_stats_result;

/// What one finished frame was.
typedef struct fa_frame_record {
    uint64_t index;    ///< Its index.
    size_t bytes;      ///< In use when it ended.
    uint64_t refusals; ///< Allocations refused to the thread during it, at most 65535.
    uint64_t time_ns;  ///< From begin to end; 0 unless fa_config.frame_times.
} fa_frame_record;

/// Fills `out` for the whole context. Takes a lock, O(threads + arenas). Any thread.
FA_API fa_result fa_stats_get(fa_context *ctx, fa_stats *out);

/// Fills `out` for a tag and its descendants. FA_ERR_INVALID (FA802) for an unknown tag. Takes a
/// lock, O(tags * threads + arenas). Any thread.
FA_API fa_result fa_tag_stats(fa_context *ctx, fa_tag tag, fa_tag_stats_result *out);

/// Fills `out` for the thread of this name; NULL means the calling thread. FA_ERR_NOT_FOUND. Takes
/// a lock.
FA_API fa_result fa_thread_stats(fa_context *ctx, const char *name, fa_thread_stats_result *out);

/// Fills up to `max` entries, one per attached thread, and returns how many threads there are.
/// Takes a lock.
FA_API size_t fa_thread_stats_all(fa_context *ctx, fa_thread_stats_result *out, size_t max);

/// Copies the calling thread's last finished frames, oldest first, at most `max` and at most
/// fa_config.history_frames; returns how many. No lock.
FA_API size_t fa_history(fa_context *ctx, fa_frame_record *out, size_t max);

FA_END_DECLS

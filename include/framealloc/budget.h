/// @file budget.h
/// Limits that hold: per tag, per thread, and for the whole context.
///
///     fa_budget limits = {.soft = 3 << 20, .hard = 4 << 20, .callback = warn_me};
///     fa_budget_set(ctx, physics, &limits);
///
/// A budget limits the bytes in use by a tag and all its descendants, in all threads together. It
/// costs nothing per allocation: threads take leases from it, and a lease is part of the arena's
/// limit. A thread may therefore be refused early, by what the other threads hold leased and have
/// not used. That margin is small: for each of them less than one 16th of the budget while its
/// frame is open, and one 64th when it has ended; what it holds for pools and the heap is part of
/// that and stays below the 64th at all times. An arena made by fa_arena_create() counts like one
/// more thread. One thread alone is never refused early.
#pragma once

#include "base.h"

FA_BEGIN_DECLS

/// What happens at the hard limit.
typedef enum fa_budget_policy {
    FA_BUDGET_FAIL = 0, ///< The allocation is refused: FA_ERR_BUDGET, FA302.
    FA_BUDGET_WARN = 1  ///< It is allowed and reported once per crossing.
} fa_budget_policy;

/// A budget line was reached.
typedef struct fa_budget_event {
    fa_context *context;  ///< Where.
    fa_tag tag;           ///< Whose budget; the current tag for a thread budget.
    const char *tag_path; ///< Its path.
    size_t requested;     ///< Bytes of the allocation that reached it.
    size_t charged;       ///< Bytes charged to the budget before it, unused leases
        ///< of other threads included.
    size_t limit;   ///< The line: soft or hard, in bytes.
    bool is_hard;   ///< The hard line; otherwise the soft one.
    bool is_thread; ///< A thread budget; otherwise a tag's.
} fa_budget_event;

/// Called on the thread that allocates, with no lock held, before the allocation is granted or
/// refused. It may use the library, the arena included. Called when a soft line, or a hard one that
/// only warns, is crossed, and again only after the charge has fallen back to it; at a hard line
/// that refuses, for every refusal.
typedef void (*fa_budget_fn)(const fa_budget_event *event, void *user);

/// A tag's budget. Zero in `soft` or `hard` means no such line.
typedef struct fa_budget {
    size_t soft;             ///< Bytes above which FA304 is reported and the callback called.
    size_t hard;             ///< Bytes that are never passed (policy FA_BUDGET_FAIL).
    fa_budget_policy policy; ///< At the hard line. Default FA_BUDGET_FAIL.
    fa_budget_fn callback;   ///< Told at either line. May be NULL.
    void *user;              ///< Passed to the callback.
} fa_budget;

/// The calling thread's budget.
typedef struct fa_thread_budget {
    size_t frame_bytes; ///< Most bytes one frame of this thread may use; FA303 beyond. 0: no limit.
    size_t pool_bytes;  ///< Most bytes this thread may take from pools, less what it gave back
                        ///< (whoever had taken that); FA303 beyond. 0: no limit.
    fa_budget_fn callback; ///< Told when it refuses. May be NULL.
    void *user;            ///< Passed to the callback.
} fa_thread_budget;

/// Sets, changes, or (NULL) removes the budget of a tag; FA_TAG_ROOT is the whole context. What is
/// in use stays in use: below that, a new hard limit refuses until enough has been freed. Other
/// threads keep the leases they hold until their next frame boundary, for pools and the heap also
/// until they next need a lease or have freed much: there it is at most 32 KiB for each tag, and of
/// pool and heap. FA_ERR_INVALID for an unknown tag (FA802), or soft above hard. Takes a lock. Any
/// thread.
FA_API fa_result fa_budget_set(fa_context *ctx, fa_tag tag, const fa_budget *budget);

/// The budget of a tag as it was set; all zero when there is none.
FA_API fa_result fa_budget_get(fa_context *ctx, fa_tag tag, fa_budget *out);

/// Sets or (NULL) removes the calling thread's budget. It holds from the next allocation on.
FA_API fa_result fa_budget_set_thread(fa_context *ctx, const fa_thread_budget *budget);

/// The calling thread's budget as it was set; all zero when there is none.
FA_API fa_result fa_budget_get_thread(fa_context *ctx, fa_thread_budget *out);

/// Bytes the calling thread could still charge to `tag` before a hard budget of it or of a parent
/// refuses: SIZE_MAX when none has one, 0 for an unknown tag. Other threads' unused leases count as
/// spent.
FA_API size_t fa_budget_remaining(fa_context *ctx, fa_tag tag);

FA_END_DECLS

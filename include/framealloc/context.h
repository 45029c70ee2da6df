/// @file context.h
/// The object that owns everything, and its configuration.
///
///     fa_context *ctx = NULL;
///     if (fa_context_create(NULL, &ctx) < 0) { ... fa_last_error()->text ... }
///     fa_context_destroy(ctx);
///
/// A context may be used from every thread. Each thread gets its own frame and scratch arenas in it
/// on first use, and gives them back when it exits or when the context is destroyed, whichever
/// comes first. Contexts share nothing with each other.
#pragma once

#include "backend.h"
#include "base.h"

FA_BEGIN_DECLS

/// Which reports abort the program; see diagnostics.h.
typedef enum fa_strict {
    FA_STRICT_DEFAULT = 0, ///< FA_STRICT_OFF unless the environment says otherwise.
    FA_STRICT_OFF,         ///< None: failures are returned and reported.
    FA_STRICT_WARNING,     ///< Warnings and errors abort.
    FA_STRICT_ERROR        ///< Errors abort.
} fa_strict;

/// Flags for fa_config.checks.
typedef enum fa_check {
    /// Every arena allocation takes the slow path: it is counted, and seen by fa_watch_set()'s
    /// function.
    FA_CHECK_WATCH = 1,
    /// Pools and the heap check every free at once, keep guard bytes behind every block, fill
    /// blocks that are new or free with a pattern, and record call sites. Everything is counted one
    /// by one.
    FA_CHECK_BLOCKS = 2,
    /// Pools and the heap record which call allocated a block, for the reports of what is live at
    /// the end.
    FA_CHECK_SITES = 4
} fa_check;

/// Waits until the device or thread that uses a frame's memory has passed `fence`. Returns FA_OK
/// when it has; anything else makes fa_frame_begin() fail with that result. Called on the thread
/// that begins the frame, with no lock held; it must not use that thread's frames.
typedef fa_result (*fa_frame_wait_fn)(void *user, uint64_t fence);

/// How to make a context. Zero or NULL in any field means its default.
typedef struct fa_config {
    size_t frame_reserve; ///< Bytes of address space per frame in flight and thread, at most 1 TiB.
                          ///< Default 1 GiB (64 MiB where pointers are 32-bit).
    size_t frame_initial; ///< Bytes committed when a thread begins its first frame. Default 64 KiB.
    uint32_t frames_in_flight; ///< 1 to 8. Default 1.
    size_t memory_limit;     ///< Bytes the context may hold committed, bookkeeping included; FA301
                             ///< beyond. At least 256 KiB. Default 0: no limit.
    uint32_t history_frames; ///< Frames whose figures each thread keeps, 1 to 65536. Default 300.
    const fa_backend *backend;   ///< Where pages come from; copied. Default fa_backend_os().
    fa_frame_wait_fn frame_wait; ///< Waits for a frame's fence. Default none: fences are refused.
    void *frame_wait_user;       ///< Passed to frame_wait.
    uint32_t checks;             ///< fa_check flags. Default none.
    fa_strict strict;            ///< Which reports abort. FRAMEALLOC_STRICT overrides it.
    size_t scratch_reserve; ///< Bytes of address space per scratch arena. Default 256 MiB (16 MiB).
    size_t chunk_size;      ///< Bytes per chunk where the backend cannot commit. A power of two,
                            ///< 4 KiB to 1 MiB. Default 64 KiB.
    uint32_t decay_frames;  ///< Frames after which memory that no recent frame
        ///< needed is given back: it is gone at the latest after
        ///< twice as many. 1 to 65536. Default 64.
    bool frame_times; ///< Read the clock at begin and end for fa_history(). Default no.
    bool prefault;    ///< Touch pages when they are committed, not when first used. Default no.
    bool huge_pages;  ///< Advise large pages for frame memory. Default no.
} fa_config;

/// Makes a context. NULL as `config` means all defaults. On failure `*out` is NULL: FA_ERR_INVALID
/// names the field in fa_last_error()->where; FA_ERR_OUT_OF_MEMORY and FA_ERR_LIMIT when memory is
/// refused. Any thread.
FA_API FA_NODISCARD fa_result fa_context_create(const fa_config *config, fa_context **out);

/// Ends a context and gives all its memory back, frames, arenas and thread states of every thread
/// included. What was still live is reported first (FA008, FA009) and makes it return FA_ERR_BUSY;
/// everything is freed all the same. No other thread may be inside a call on the context. NULL is
/// FA_OK. Any thread.
FA_API fa_result fa_context_destroy(fa_context *ctx);

/// All defaults written out.
FA_API fa_config fa_config_default(void);

/// Small: for tools, tests and small devices. 16 MiB of address space a frame, 4 KiB at first, 16
/// frames of history, 16 frames until decay.
FA_API fa_config fa_config_minimal(void);

/// For a frame rate that must not stutter: 4 MiB committed and touched at first, large pages, slow
/// decay.
FA_API fa_config fa_config_high_performance(void);

/// For development: frame times, every fa_check, and errors abort.
FA_API fa_config fa_config_debug(void);

/// The values in force: defaults filled in, sizes rounded to pages. Valid as long as the context.
/// Any thread.
FA_API const fa_config *fa_context_config(const fa_context *ctx);

/// Attaches the calling thread and names it for reports and statistics. Optional: any other call
/// attaches it as "thread N". A thread that is attached already is renamed. `name` is copied, at
/// most 31 bytes; NULL leaves the default. FA_ERR_OUT_OF_MEMORY or FA_ERR_LIMIT when there is no
/// memory for its state.
FA_API fa_result fa_thread_attach(fa_context *ctx, const char *name);

/// Takes the calling thread's state down as its exit would: an open frame is ended and reported
/// (FA009), its memory goes back to the context for the next thread. FA_ERR_NOT_FOUND when it is
/// not attached.
FA_API fa_result fa_thread_detach(fa_context *ctx);

/// Gives memory that nobody uses back to the operating system: what frames and scratch arenas of
/// the calling thread hold beyond `keep` bytes each, and free chunks. Other threads' memory is
/// theirs to trim. What pools, the heap and tables of handles hold unused goes back first, whoever
/// freed it, but for what other threads keep in their caches. Takes locks.
FA_API fa_result fa_context_trim(fa_context *ctx, size_t keep);

/// As fa_context_trim(), for at most about `max_ns` nanoseconds: the clock is read between steps
/// that take a few microseconds each. FA_ERR_TIMEOUT when time ran out before everything was looked
/// through; the next call goes on.
FA_API fa_result fa_context_trim_for(fa_context *ctx, size_t keep, uint64_t max_ns);

/// Turns fa_check flags on and off at run time. The calling thread sees it at once, others at their
/// next frame begin or scratch scope. Off means no cost at all. FA_CHECK_BLOCKS and FA_CHECK_SITES
/// decide how blocks are laid out: FA_ERR_BUSY, nothing having changed, when one of them is to be
/// turned on or off after the first pool was made or the first heap block allocated.
FA_API fa_result fa_context_checks_set(fa_context *ctx, uint32_t checks);

FA_END_DECLS

/// @file stream.h
/// Memory of assets that come and go while the program runs, under a budget of its own.
///
///     fa_stream *textures = NULL;
///     fa_stream_create(ctx, &(fa_stream_desc){.name = "textures", .budget_bytes = 256 << 20},
///                      &textures);
///     fa_asset asset;
///     fa_stream_reserve(textures, &(fa_asset_desc){.size = bytes, .priority = 9}, &asset);
///     void *to = fa_stream_load_begin(textures, asset);     // on a loader thread
///     ... read the file to `to`, fa_stream_load_advance() now and then ...
///     fa_stream_load_finish(textures, asset);
///     const void *pixels = fa_stream_access(textures, asset); // in each frame that uses it
///
/// An asset's states, and what takes it from one to the next:
///
///     RESERVED --load_begin--> LOADING --load_finish--> READY --evicted, fa_stream_free--> gone
///        ^                        |
///        +------ load_fail -------+--fa_stream_free--> FREEING --load_finish, load_fail--> gone
///
/// Its bytes count against the stream's budget from the reservation on; its memory is taken from
/// the context's heap when loading begins, and charged to its tag there. What counts against the
/// stream's budget are the sizes asked for; what counts against the tag's are the blocks.
///
/// When a reservation does not fit, assets are evicted: those of the lowest priority first; among
/// them, those last accessed in the earliest frame; among them, those reserved first. Only assets
/// that are READY, not pinned, and of a priority not above that of the request may go. A request
/// that cannot be met evicts nothing. To find out, may_evict() is asked about one asset after the
/// other until enough of them may go; only then they go, and evicted() is told of each.
///
/// Frames: fa_stream_frame() says which frame it is. Without it, it is the furthest frame that any
/// thread using the stream had begun in the context when it used it.
///
/// All functions may be called from every thread, except fa_stream_destroy(). Callbacks are called
/// with no lock held, on the thread whose call needs the room, and may use the stream, other than
/// destroying it. While assets wait for the answers of may_evict(), no other call can evict them:
/// another thread's request at that moment may be refused although a later one would be met.
#pragma once

#include "base.h"

FA_BEGIN_DECLS

/// Assets under one budget.
typedef struct fa_stream fa_stream;

/// An asset of a stream. A value: copy it freely. Zero-initialised it refers to nothing. It becomes
/// stale when the asset is freed or evicted, and never comes to mean another asset: a place that
/// has used up its generations (2^32 - 1) is retired (FA407). It belongs to its stream; the same
/// value may mean something else in another stream.
typedef struct fa_asset {
    uint32_t index;      ///< Private: its place in the stream.
    uint32_t generation; ///< Private: how often the place has been used; 0: refers to nothing.
} fa_asset;

/// What an asset is doing.
typedef enum fa_asset_state {
    FA_ASSET_GONE = 0, ///< The handle is stale, or refers to nothing.
    FA_ASSET_RESERVED, ///< Counts against the budget, has no memory yet.
    FA_ASSET_LOADING,  ///< Has memory, and somebody fills it. Never evicted.
    FA_ASSET_READY,    ///< Loaded. May be evicted unless it is pinned.
    FA_ASSET_FREEING   ///< Freed while loading: goes when the loader finishes or fails.
} fa_asset_state;

/// An asset that is to be evicted, or has been. Valid only while the callback runs.
typedef struct fa_stream_eviction {
    fa_stream *stream;   ///< The stream.
    fa_asset asset;      ///< The asset. In evicted() it is stale already.
    void *ptr;           ///< Its memory: in evicted() readable until the callback returns; in
                         ///< may_evict() only as long as no other thread frees the asset.
    size_t size;         ///< Its size in bytes.
    fa_tag tag;          ///< Whom it is charged to.
    uint8_t priority;    ///< Its priority.
    uint64_t last_frame; ///< The frame it was last accessed in.
    void *user;          ///< fa_asset_desc.user.
} fa_stream_eviction;

/// May the asset be evicted? It is a question only: nothing has happened yet, and nothing happens
/// when the answer is false, or when others refuse and the request cannot be met. An asset is asked
/// about at most once for each request, unless it was pinned or changed since.
typedef bool (*fa_stream_may_evict_fn)(const fa_stream_eviction *eviction, void *user);

/// The asset is evicted: its handle is stale, its memory goes when this returns.
typedef void (*fa_stream_evicted_fn)(const fa_stream_eviction *eviction, void *user);

/// How to make a stream. Zero-initialised means defaults; NULL may be passed instead.
typedef struct fa_stream_desc {
    const char *name;    ///< For reports; copied, at most 31 bytes. Default "stream".
    fa_tag tag;          ///< Whom assets are charged to that name no tag. Default the root.
    size_t budget_bytes; ///< Bytes that all assets together may have. Default 0: no limit.
    uint32_t max_assets; ///< Assets that may exist at once; FA409 beyond. Default 0: no limit of
                         ///< its own (67,108,800).
    fa_stream_may_evict_fn may_evict; ///< Asked before anything goes. Default: everything may go.
    fa_stream_evicted_fn evicted;     ///< Told of what goes. Default: nobody.
    void *user;                       ///< Passed to both.
} fa_stream_desc;

/// What to reserve.
typedef struct fa_asset_desc {
    size_t size;      ///< Bytes. Must be set: 0 is refused (FA012).
    size_t align;     ///< A power of two, at most FA_ALIGNMENT_MAX. Default 16.
    fa_tag tag;       ///< Whom its memory is charged to. Default (the root) the stream's tag.
    uint8_t priority; ///< 0, the default, goes first; 255 last.
    void *user;       ///< Passed to the callbacks. Default NULL.
} fa_asset_desc;

/// What fa_stream_get() fills.
typedef struct fa_asset_info {
    fa_asset_state state; ///< What it is doing.
    uint8_t priority;     ///< Its priority.
    uint32_t pins;        ///< How often it is pinned.
    fa_tag tag;           ///< Whom it is charged to.
    size_t size;          ///< Its size in bytes.
    size_t align;         ///< Its alignment in bytes.
    size_t loaded;        ///< Bytes loaded so far; `size` once it is READY.
    uint64_t last_frame;  ///< The frame it was last accessed in, or became READY in.
    void *user;           ///< fa_asset_desc.user.
} fa_asset_info;

/// What fa_stream_stats() fills. Bytes are the sizes asked for.
typedef struct fa_stream_stats_result {
    char name[32];            ///< Its name.
    size_t budget_bytes;      ///< The budget; 0: none.
    size_t used_bytes;        ///< Counted against it now: all assets, and what is being evicted.
    size_t peak_bytes;        ///< The most of it.
    size_t reserved_bytes;    ///< Of assets that are RESERVED.
    size_t loading_bytes;     ///< Of assets that are LOADING or FREEING.
    size_t ready_bytes;       ///< Of assets that are READY.
    uint32_t reserved_assets; ///< How many are RESERVED.
    uint32_t loading_assets;  ///< How many are LOADING or FREEING.
    uint32_t ready_assets;    ///< How many are READY.
    uint32_t retired_places;  ///< Places that have used up their generations.
    uint64_t evictions;       ///< Assets evicted.
    uint64_t evicted_bytes;   ///< Bytes evicted.
    uint64_t refusals;        ///< Reservations and smaller budgets refused (FA402, FA409).
} fa_stream_stats_result;

/// Makes a stream. On failure `*out` is NULL: FA_ERR_INVALID for an unknown tag (FA802),
/// FA_ERR_OUT_OF_MEMORY or FA_ERR_LIMIT when there is no memory for its records. The context must
/// outlive it; fa_context_destroy() reports streams that are left (FA406) and frees them. Takes a
/// lock. Any thread.
FA_API FA_NODISCARD fa_result fa_stream_create(fa_context *ctx, const fa_stream_desc *desc,
                                               fa_stream **out);

/// Frees all assets and ends the stream. Assets that are left are reported first (FA406, one report
/// for all) and make it return FA_ERR_BUSY; they are freed all the same, without asking or telling
/// anybody. NULL is FA_OK. No other thread may use the stream, or load into its memory, any more.
/// Its records are used again by the next stream of the context.
FA_API fa_result fa_stream_destroy(fa_stream *stream);

/// Reserves room for an asset under the budget, evicting others when it must. `*out` is the asset,
/// RESERVED; zero on failure, and then nothing has been evicted. FA_ERR_BUDGET (FA402) when the
/// budget cannot be kept; FA_ERR_LIMIT beyond max_assets (FA409); FA_ERR_INVALID for a bad size,
/// alignment or tag; FA_ERR_OVERFLOW above 2^48 - 1 bytes; FA_ERR_OUT_OF_MEMORY or FA_ERR_LIMIT
/// when there is no memory for records. A lock and a few dozen instructions when it fits; else
/// O(log assets) for each asset that goes and each that was accessed or pinned since it was last
/// looked at, and the callbacks. A refusal that the sizes and priorities alone show costs at most
/// 256 additions and asks nobody.
FA_API FA_NODISCARD fa_result fa_stream_reserve(fa_stream *stream, const fa_asset_desc *desc,
                                                fa_asset *out);

/// Begins to load a RESERVED asset: returns its memory, `size` uninitialised bytes from the heap,
/// and makes it LOADING. NULL when memory is refused (by its tag's budget, by memory_limit, by the
/// system: fa_last_error() says which), and then it is RESERVED as before; FA_ERR_STALE for a
/// stale handle, FA_ERR_BUSY (FA017) when it is not RESERVED. The memory stays where it is until
/// the asset goes. Several threads may fill it; one of them finishes.
FA_API void *fa_stream_load_begin(fa_stream *stream, fa_asset asset);

/// Notes that `bytes` more bytes are loaded. Lock-free: a compare-and-swap. FA_ERR_INVALID (FA017)
/// when it is not LOADING or has less than that left to load: nothing has changed then.
/// FA_ERR_STALE without a report when it was freed meanwhile: the loader may stop, and must still
/// call fa_stream_load_finish() or fa_stream_load_fail().
FA_API fa_result fa_stream_load_advance(fa_stream *stream, fa_asset asset, size_t bytes);

/// Loading has succeeded: the asset is READY, and everything written to it before is seen by those
/// who access it. It counts as accessed in the present frame. FA_ERR_INVALID (FA017) when it is not
/// LOADING. FA_ERR_STALE without a report when it was freed while loading: it is gone now. Takes
/// the lock; O(1).
FA_API fa_result fa_stream_load_finish(fa_stream *stream, fa_asset asset);

/// Loading has failed: the memory goes back to the heap, the asset is RESERVED again, and may be
/// loaded anew or freed. Otherwise as fa_stream_load_finish().
FA_API fa_result fa_stream_load_fail(fa_stream *stream, fa_asset asset);

/// The memory of a READY asset, which counts as accessed in the present frame. NULL without a
/// report when it is not READY (FA_ERR_BUSY) or the handle is stale (FA_ERR_STALE). Valid until the
/// asset is freed or evicted: where other threads reserve, or you do before you are done with it,
/// pin the asset first. Lock-free, about thirty instructions.
FA_API void *fa_stream_access(fa_stream *stream, fa_asset asset);

/// Keeps an asset from being evicted or freed until it is unpinned as often as it was pinned. It
/// may be pinned in any state but FREEING, so also before it is loaded. FA_ERR_STALE without a
/// report when it is gone, FA_ERR_LIMIT (FA409) after 2^24 - 1 pins. Lock-free: one
/// compare-and-swap.
FA_API fa_result fa_stream_pin(fa_stream *stream, fa_asset asset);

/// Undoes one fa_stream_pin(). FA_ERR_INVALID (FA017) when it is not pinned. Lock-free; but the
/// last unpin of an asset that a request came across meanwhile takes the lock.
FA_API fa_result fa_stream_unpin(fa_stream *stream, fa_asset asset);

/// Frees an asset. One that is LOADING becomes FREEING, and goes when its loader finishes or fails.
/// FA_ERR_BUSY (FA408) when it is pinned. A second free is FA_ERR_STALE, reported as FA403 while
/// the asset is FREEING and as FA401 later, but not reported where the asset may have been
/// evicted. Takes the lock; O(log assets).
FA_API fa_result fa_stream_free(fa_stream *stream, fa_asset asset);

/// The state of an asset; FA_ASSET_GONE for a stale handle. Never an error. Lock-free.
FA_API fa_asset_state fa_stream_state(fa_stream *stream, fa_asset asset);

/// Bytes of an asset that are loaded: `size` once it is READY, 0 when it is gone. Never an error.
/// Lock-free.
FA_API size_t fa_stream_loaded(fa_stream *stream, fa_asset asset);

/// Fills `out`. FA_ERR_STALE without a report for a stale handle. Takes the lock.
FA_API fa_result fa_stream_get(fa_stream *stream, fa_asset asset, fa_asset_info *out);

/// Changes the priority of an asset. FA_ERR_STALE for a stale handle. Takes the lock; O(log
/// assets).
FA_API fa_result fa_stream_set_priority(fa_stream *stream, fa_asset asset, uint8_t priority);

/// Says which frame it is from here on, for all threads. It should not go back: an asset keeps the
/// furthest frame it was accessed in. 0 returns to the frames of the context. Lock-free.
FA_API void fa_stream_frame(fa_stream *stream, uint64_t frame);

/// Changes the budget; 0: no limit. A smaller one evicts, whatever the priorities. FA_ERR_BUDGET
/// (FA402) when not enough may go: then nothing has gone, and the old budget stays. What is in use
/// is within the new budget when this returns.
FA_API fa_result fa_stream_set_budget(fa_stream *stream, size_t budget_bytes);

/// Evicts until at most `keep` bytes are in use, or nothing else may go. Returns the bytes that
/// went. For the end of a level, or when memory is short elsewhere.
FA_API size_t fa_stream_trim(fa_stream *stream, size_t keep);

/// Fills `out`. Takes the lock.
FA_API fa_result fa_stream_stats(fa_stream *stream, fa_stream_stats_result *out);

FA_END_DECLS

/// @file heap.h
/// Blocks of any size that are freed one by one, from any thread.
///
///     mesh *m = fa_heap_alloc(ctx, size);
///     m = fa_heap_realloc(ctx, m, 2 * size);
///     fa_heap_free(ctx, m);
///
/// For what fits neither an arena (memory that dies together) nor a pool (objects of one type):
/// assets, strings that live on, memory of other libraries. Every block is charged to the tag that
/// was current when it was allocated, with the bytes it really takes, so budgets hold and the
/// figures add up; it keeps that tag when it is resized.
///
/// Sizes up to 64 KiB come from slabs in classes at most 12.5 % apart, larger ones are multiples of
/// 4 KiB, above 32 MiB each in address space of its own where it can grow in place.
#pragma once

#include "allocator.h"
#include "base.h"

FA_BEGIN_DECLS

/// Figures of the heap.
typedef struct fa_heap_stats_result {
    size_t live_blocks;     ///< Blocks handed out and not freed.
    size_t live_bytes;      ///< What they are charged with.
    size_t small_blocks;    ///< Of live_blocks: those in slabs.
    size_t small_bytes;     ///< What those are charged with.
    size_t large_blocks;    ///< Of live_blocks: those above 64 KiB.
    size_t large_bytes;     ///< What those are charged with.
    size_t committed_bytes; ///< Memory held by slabs and large blocks.
    size_t idle_bytes;      ///< Of the committed bytes, those in no block.
    size_t cached_blocks;   ///< Free slots of slabs that lie in threads' caches.
} fa_heap_stats_result;

/// A live block, as fa_heap_each() shows it.
typedef struct fa_heap_block {
    void *ptr;        ///< Where.
    size_t size;      ///< Bytes that may be used: fa_heap_usable_size().
    size_t charged;   ///< Bytes its tag is charged with.
    fa_tag tag;       ///< Whom it is charged to.
    const void *site; ///< Return address of the call that allocated it, or resized it by moving it;
                      ///< NULL unless FA_CHECK_SITES or FA_CHECK_BLOCKS is on.
} fa_heap_block;

/// Sees a live block; false ends the walk. It must not use the heap.
typedef bool (*fa_heap_visit_fn)(const fa_heap_block *block, void *user);

/// `size` uninitialised bytes, 16-aligned; a size of 0 gets a smallest block of its own. NULL when
/// refused, with nothing changed: FA_ERR_BUDGET (FA302), FA_ERR_LIMIT (FA301), FA_ERR_OUT_OF_MEMORY
/// (FA305), FA_ERR_OVERFLOW (FA013). Valid until freed, by any thread. Up to 64 KiB: no lock and no
/// atomic operation but when the thread's cache of that class is empty.
/// Larger, up to 16 MiB, likewise while one of the runs that the thread keeps is long enough: of
/// what it freed it keeps up to 8 runs and 16 MiB, but at most a 32nd of the memory limit.
FA_API FA_MALLOC FA_ALLOC_SIZE(2) void *fa_heap_alloc(fa_context *ctx, size_t size);

/// Like fa_heap_alloc(), at a multiple of `align`: a power of two up to FA_ALIGNMENT_MAX;
/// FA_ERR_INVALID (FA018) for anything else. Alignments up to 64 waste little more than others;
/// above 64, blocks up to 64 KiB are rounded up to a power of two.
FA_API FA_MALLOC FA_ALLOC_SIZE(2) void *fa_heap_alloc_aligned(fa_context *ctx, size_t size,
                                                              size_t align);

/// `count * size` zeroed bytes, 16-aligned. NULL with FA_ERR_OVERFLOW (FA013) when the product does
/// not fit, otherwise as fa_heap_alloc().
FA_API FA_MALLOC FA_ALLOC_SIZE2(2, 3) void *fa_heap_calloc(fa_context *ctx, size_t count,
                                                           size_t size);

/// Makes a block `size` bytes long and returns it, moved if need be; its first bytes are as they
/// were, up to the smaller of the sizes. It keeps its tag, and at least the alignment it was
/// allocated with. `ptr` NULL allocates. A size of 0 keeps a smallest block. NULL when refused, the
/// old block being untouched and valid. In place while the size fits the class and is more than
/// half of it, and for large blocks as long as the addresses behind them are free; blocks above
/// 32 MiB that must move are moved by the operating system where it can, without copying. Any
/// thread.
FA_API void *fa_heap_realloc(fa_context *ctx, void *ptr, size_t size);

/// Gives a block back. Any thread, whichever allocated it, also after that one is gone. Never fails
/// and needs no memory. NULL does nothing. What is no block is refused and reported, and nothing
/// else happens: FA404 for a pointer from elsewhere or into the middle of a block, FA403 for a
/// block that is free already (as long as its memory still belongs to blocks of that size). With
/// FA_CHECK_BLOCKS a block that was overrun is reported (FA405) and freed.
FA_API void fa_heap_free(fa_context *ctx, void *ptr);

/// Like fa_heap_free(), for callers that know the size: one that the block cannot have is reported
/// (FA404); the block is freed all the same. With FA_CHECK_BLOCKS the size must be exactly what was
/// asked for.
FA_API void fa_heap_free_sized(fa_context *ctx, void *ptr, size_t size);

/// Bytes of the block that may be used: at least what was asked for, exactly that with
/// FA_CHECK_BLOCKS. 0 for NULL, and for what is no live block (FA404, FA403). O(1). Any thread.
FA_API size_t fa_heap_usable_size(const fa_context *ctx, const void *ptr);

/// True when `ptr` is the start of a live block of this context's heap. Reports nothing. O(1).
FA_API bool fa_heap_owns(const fa_context *ctx, const void *ptr);

/// The tag that a live block is charged to; the root for what is none (FA404, FA403). O(1).
FA_API fa_tag fa_heap_tag(const fa_context *ctx, const void *ptr);

/// Fills `out`. Takes locks. Exact when no other thread is inside.
FA_API fa_result fa_heap_stats(fa_context *ctx, fa_heap_stats_result *out);

/// Shows every live block to `visit`: small ones by class and address, then large ones. No other
/// thread may use the heap meanwhile. O(slots).
FA_API fa_result fa_heap_each(fa_context *ctx, fa_heap_visit_fn visit, void *user);

/// With FA_CHECK_BLOCKS: looks at the guard bytes of every live block and reports those that were
/// overwritten (FA405, once each). Returns how many. 0 without. No other thread may use the heap
/// meanwhile.
FA_API size_t fa_heap_check(fa_context *ctx);

FA_END_DECLS

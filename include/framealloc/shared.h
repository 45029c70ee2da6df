/// @file shared.h
/// Blocks of the heap with several owners: the last one to let go destroys them.
///
///     mesh *m = fa_shared_alloc(ctx, sizeof(mesh), &(fa_shared_desc){.destruct = mesh_close});
///     mesh *also = fa_shared_retain(m);             // two owners
///     fa_weak watcher = fa_shared_weak(m);          // does not own it
///     fa_shared_release(also);
///     fa_shared_release(m);                         // mesh_close runs here
///     m = fa_weak_lock(watcher);                    // NULL: it is gone
///     fa_weak_release(watcher);
///
/// Any thread may retain, release, lock: counts are atomic. What an owner wrote before it released
/// is seen by the destructor. The data itself is not protected from owners that write to it at the
/// same time.
///
/// A block is charged to the tag that is current when it is allocated, 64 bytes of bookkeeping
/// included. Data of up to FA_SHARED_INLINE bytes lies behind its bookkeeping in one block of the
/// heap, which stays until the last weak reference is gone, too; larger data has a block of its
/// own, which goes back at once when the last owner releases it.
///
/// The context must outlive the blocks and the weak references. fa_context_destroy() reports those
/// that are left, as blocks of the heap (FA406); their destructors do not run.
#pragma once

#include "base.h"

/// The largest data that lies in one block with its bookkeeping.
#define FA_SHARED_INLINE ((size_t)512)

/// The most owners, and the most weak references, of a block.
#define FA_SHARED_MAX ((uint32_t)1 << 31)

FA_BEGIN_DECLS

/// How to make a shared block. Zero-initialised means defaults; NULL may be passed instead.
typedef struct fa_shared_desc {
    size_t align; ///< Of the data: a power of two up to FA_ALIGNMENT_MAX. Default 16.
    /// Called once, by the thread that lets go of the last owner's reference, with no lock held.
    /// The data is still there, but nobody can get hold of it any more: retaining it again is
    /// refused. May be NULL.
    void (*destruct)(void *data, void *user);
    void *user; ///< Passed to destruct.
    bool zero;  ///< The data is zeroed. Default no.
} fa_shared_desc;

/// A reference that does not own: it finds out whether the block is still there. A value, but each
/// copy made by fa_shared_weak() or fa_weak_retain() is released once. Zero-initialised it refers
/// to nothing.
typedef struct fa_weak {
    void *block; ///< Private.
} fa_weak;

/// A block of `size` bytes with one owner: the caller. NULL when refused, as fa_heap_alloc() and
/// fa_heap_alloc_aligned() are; a size of 0 is allowed. Valid until released by all owners. One
/// block of the heap, two above FA_SHARED_INLINE bytes.
FA_API FA_MALLOC FA_ALLOC_SIZE(2) void *fa_shared_alloc(fa_context *ctx, size_t size,
                                                        const fa_shared_desc *desc);

/// One more owner. Returns `data`, or NULL with nothing changed: FA_ERR_LIMIT (FA409) when there
/// are FA_SHARED_MAX, FA_ERR_STALE (FA401) when the last owner has released it, FA_ERR_INVALID
/// (FA404) for what is no shared block. NULL gives NULL. One atomic operation. The caller must be
/// an owner, or know one.
FA_API void *fa_shared_retain(void *data);

/// One owner less. The last one runs the destructor and gives the memory back. NULL does nothing.
/// Releasing once too often is the end of the block for an owner that still uses it; after the last
/// one, it is reported as FA403 and ignored for certain while a weak reference holds the memory,
/// otherwise until the heap uses it again. What is no shared block is reported as FA404, as far as
/// the 16 bytes before it can be read.
FA_API void fa_shared_release(void *data);

/// Owners at this moment. 0 for NULL. A number to look at: it may have changed when it is returned,
/// unless it is 1 and the caller is that one.
FA_API uint32_t fa_shared_count(const void *data);

/// A weak reference to a block, for an owner. {NULL} when refused, as fa_shared_retain() is.
FA_API fa_weak fa_shared_weak(void *data);

/// One more weak reference to what `weak` refers to, whether it is still there or not. {NULL} with
/// FA_ERR_LIMIT (FA409) when there are FA_SHARED_MAX.
FA_API fa_weak fa_weak_retain(fa_weak weak);

/// The data, with the caller as one more owner; or NULL, silently, when the last owner has released
/// it or `weak` refers to nothing. NULL and FA409 when there are FA_SHARED_MAX owners. Of a lock
/// and the last release at the same time, one comes first: either the lock finds the data, and the
/// release is not the last one, or it finds nothing.
FA_API void *fa_weak_lock(fa_weak weak);

/// Whether the last owner has released what `weak` refers to; it stays so. True for {NULL}.
FA_API bool fa_weak_is_gone(fa_weak weak);

/// Gives a weak reference back. {NULL} does nothing.
FA_API void fa_weak_release(fa_weak weak);

FA_END_DECLS

/// A zeroed T with one owner, or NULL: fa_shared_new(ctx, T).
#define fa_shared_new(ctx, T) ((T *)fa_shared_calloc((ctx), sizeof(T), FA_ALIGNOF(T)))

FA_BEGIN_DECLS

/// Zeroed data of a size and alignment, without a destructor. Otherwise as fa_shared_alloc().
FA_API FA_MALLOC FA_ALLOC_SIZE(2) void *fa_shared_calloc(fa_context *ctx, size_t size,
                                                         size_t align);

FA_END_DECLS

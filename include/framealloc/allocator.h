/// @file allocator.h
/// One interface in front of every kind of memory: what integrations and containers of other
/// libraries are given.
///
///     fa_allocator allocator = fa_heap_allocator(ctx, audio);
///     void *block = allocator.alloc(allocator.self, 1000, 16);
///     allocator.free(allocator.self, block, 1000);
///
/// A value: copy it freely. It is valid as long as what it allocates from.
#pragma once

#include "base.h"

FA_BEGIN_DECLS

/// Where memory comes from. None of the functions is ever NULL. `align` is a power of two up to
/// FA_ALIGNMENT_MAX; 0 means 16. Sizes told on the way back are hints: checked where that is cheap,
/// never trusted.
typedef struct fa_allocator {
    /// `size` uninitialised bytes, or NULL: fa_last_error() says why.
    void *(*alloc)(void *self, size_t size, size_t align);
    /// Makes the block `new_size` bytes long, moving it if need be: its first bytes are as they
    /// were, up to the smaller of the sizes. `ptr` NULL allocates. NULL when refused: the old block
    /// is then untouched. `old_size`: what was asked for (an arena needs it; otherwise a hint, 0:
    /// unknown).
    void *(*resize)(void *self, void *ptr, size_t old_size, size_t new_size, size_t align);
    /// Gives a block back. NULL does nothing. `size`: what was asked for; 0: unknown. An arena's
    /// blocks go with the arena: there it does nothing.
    void (*free)(void *self, void *ptr, size_t size);
    /// Bytes of the block that may be used, at least those asked for; 0 where that is not known
    /// (arenas).
    size_t (*usable_size)(void *self, const void *ptr);
    void *self; ///< Passed to every function.
} fa_allocator;

/// The heap of a context (heap.h), everything charged to `tag`, whatever tag is current. Any thread
/// may use it, and free with it what another thread or fa_heap_alloc() allocated. For an unknown
/// tag (FA802), or when there is no memory for it, one whose `self` is NULL and that refuses
/// everything. Takes a lock the first time it is asked for a tag.
FA_API fa_allocator fa_heap_allocator(fa_context *ctx, fa_tag tag);

/// An arena: its owner thread's, blocks charged to the arena's current tag as always. A block that
/// is the arena's last grows and shrinks in place.
FA_API fa_allocator fa_arena_allocator(fa_arena *arena);

FA_END_DECLS

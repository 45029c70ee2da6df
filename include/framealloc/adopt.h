/// @file adopt.h
/// Blocks of the heap that die with an arena.
///
///     texture *t = fa_heap_alloc(ctx, size);
///     if (fa_arena_adopt(level, t) < 0) { fa_heap_free(ctx, t); ... }
///     fa_arena_destroy(level);                      // t is freed
///
/// For what is too large or grows too often to lie in the arena itself, or what another library
/// allocated through fa_heap_allocator(), and yet belongs to what the arena is for.
#pragma once

#include "arena.h"
#include "base.h"

FA_BEGIN_DECLS

/// Hands a block of the heap of the arena's context over to the arena: it is freed when what is
/// allocated from here on is undone, by rewind, reset, destroy or the frame's end; in order with
/// the functions of fa_arena_defer(). It stays charged to the tag it was allocated under. It must
/// be neither freed nor resized by hand any more: call fa_arena_disown() before. On failure the
/// block stays the caller's, and nothing has changed: FA_ERR_INVALID (FA404) for what is no live
/// block of the context's heap, NULL included; FA_ERR_BUSY (FA017) when an arena has adopted it
/// already; or as fa_arena_alloc() fails. Costs 64 bytes of the arena, and a lock. Owner thread of
/// the arena.
FA_API FA_NODISCARD fa_result fa_arena_adopt(fa_arena *arena, void *heap_block);

/// Takes a block back from the arena that adopted it: it is the caller's again. FA_ERR_NOT_FOUND
/// when this arena has not adopted it, or has freed it already; that is not reported. O(1), a lock.
/// Owner thread of the arena.
FA_API fa_result fa_arena_disown(fa_arena *arena, void *heap_block);

FA_END_DECLS

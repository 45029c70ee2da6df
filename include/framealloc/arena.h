/// @file arena.h
/// Memory that dies together: a cursor moves through a range, and everything goes at once.
///
///     fa_arena *level = NULL;
///     fa_arena_create(ctx, &(fa_arena_desc){.name = "level"}, &level);
///     enemy *boss = fa_arena_new(level, enemy);
///     fa_arena_destroy(level);                      // all of it is gone
///
/// Frames and scratch scopes (frame.h) hand out arenas too, so every function and container works
/// on them.
///
/// Three backings, chosen by the descriptor:
///   reserved address space  the default: one range that never moves and is committed as it fills;
///   chunks                  `chunk_size` set: blocks of the page source, for many small arenas;
///   the caller's memory     `memory` set: that and no more.
/// A request that fits none of the first two backings' blocks gets a block of its own, undone with
/// the rest.
///
/// An arena belongs to one thread at a time: the thread that created it, or the last one to
/// fa_arena_claim() it. Frames and scratch arenas never change thread.
#pragma once

#include "base.h"

/// Sizes up to this many bytes may be added to an arena's cursor before they are compared.
#define FA_SMALL ((size_t)4096)

FA_BEGIN_DECLS

/// How to make an arena. Zero-initialised means defaults; NULL may be passed instead.
typedef struct fa_arena_desc {
    const char *name; ///< For reports; copied, at most 31 bytes. Default "arena".
    fa_tag tag;       ///< Whom everything in it is charged to. Default the root.
    size_t reserve;   ///< Bytes of address space, at least. Default 256 MiB
        ///< (16 MiB where pointers are 32-bit).
    size_t initial;    ///< Bytes committed at creation. Default 0: the first allocation commits.
    size_t byte_limit; ///< Bytes that may be in use at once, FA003 beyond.
        ///< Default 0: no limit of its own.
    size_t chunk_size; ///< Bytes per chunk: not 0 selects the chunk backing.
        ///< A power of two, 4 KiB to 1 MiB.
    void *memory;       ///< The caller's memory: not NULL selects it. It must outlive the arena.
    size_t memory_size; ///< Bytes of `memory`; at most 16 bytes at each end are lost to alignment.
} fa_arena_desc;

/// A position in an arena, taken by fa_arena_mark(). A value: copy it freely. Zero-initialised it
/// is stale.
typedef struct fa_mark {
    size_t offset;  ///< Bytes in use when it was taken.
    uint64_t epoch; ///< Which arena and which fill of it the mark belongs to.
} fa_mark;

/// What fa_arena_stats() fills.
typedef struct fa_arena_stats_result {
    size_t used_bytes;      ///< In use now, rounding and alignment included.
    size_t peak_bytes;      ///< The most ever in use at once.
    size_t committed_bytes; ///< Memory held for it, in use or not.
    size_t reserved_bytes;  ///< Address space held for it.
    size_t waste_bytes;     ///< Ends of blocks left behind because the next request did not fit.
    size_t blocks;          ///< Blocks beyond the first: each is a request that did not fit.
    size_t cleanups;        ///< Functions registered by fa_arena_defer() that have not run.
    uint64_t refusals;      ///< Allocations it refused since it was made.
    const char *name;       ///< Valid until the arena is destroyed.
} fa_arena_stats_result;

/// Makes an arena. On success `*out` is it; on failure `*out` is NULL and fa_last_error() names the
/// field. FA_ERR_INVALID for a bad field, FA_ERR_OUT_OF_MEMORY or FA_ERR_LIMIT when memory is
/// refused. Reserved: up to three system calls. Chunks and caller's memory: none once the context
/// is warm (chunks of a backend that cannot commit: one reservation each). The context must outlive
/// it; fa_context_destroy() reports arenas that are left (FA008) and frees them.
FA_API FA_NODISCARD fa_result fa_arena_create(fa_context *ctx, const fa_arena_desc *desc,
                                              fa_arena **out);

/// Runs the cleanups, last first, and gives everything back. NULL is allowed. Frames and scratch
/// arenas are refused (FA010): end them instead.
FA_API void fa_arena_destroy(fa_arena *arena);

/// Makes the calling thread the owner of an arena made by fa_arena_create(). The caller sees to it
/// that the former owner has stopped using it (a queue, a join). O(1). FA_ERR_INVALID (FA010) for
/// frames and scratch.
FA_API fa_result fa_arena_claim(fa_arena *arena);

/// The out-of-line half of fa_arena_alloc(): finds out why the limit refused, and grows or says why
/// not.
FA_API FA_COLD void *fa_arena_alloc_slow(fa_arena *arena, size_t size);

/// The out-of-line half of fa_arena_alloc_aligned().
FA_API FA_COLD void *fa_arena_alloc_aligned_slow(fa_arena *arena, size_t size, size_t align);

/// The out-of-line half of fa_arena_try_alloc().
FA_API FA_COLD void *fa_arena_try_alloc_slow(fa_arena *arena, size_t size);

/// Allocates `size` uninitialised bytes, 16-aligned. One compare and one add; no lock, and no
/// system call once the arena has grown to its working size. Returns NULL when a limit refuses or
/// the size is 0 (see fa_last_error()); the arena is then unchanged and stays usable. Valid until
/// the arena is reset, rewound past this point, ended or destroyed. Owner thread. The size is
/// rounded, never the cursor. Sizes are compared, never pointers, so nothing overflows: 0 and a
/// size that wraps round both become SIZE_MAX in `rounded - 1` and take the slow path. Only a small
/// constant is added to the cursor first, which saves two instructions: no arena lies that close to
/// the end of the address space.
FA_MALLOC FA_ALLOC_SIZE(2) static inline void *fa_arena_alloc(fa_arena *arena, size_t size) {
    size_t rounded = (size + (FA_ALIGNMENT - 1)) & ~(FA_ALIGNMENT - 1);
    char *ptr = arena->cursor;
    if (FA_IS_CONSTANT(rounded) && rounded - 1 < FA_SMALL) {
        if (FA_UNLIKELY((uintptr_t)ptr + rounded > (uintptr_t)arena->limit)) {
            return fa_arena_alloc_slow(arena, size);
        }
    } else if (FA_UNLIKELY(rounded - 1 >= (size_t)(arena->limit - ptr))) {
        return fa_arena_alloc_slow(arena, size);
    }
    arena->cursor = ptr + rounded;
    return ptr;
}

/// Like fa_arena_alloc(), at a multiple of `align`: a power of two from 1 to FA_ALIGNMENT_MAX.
/// Anything else returns NULL with FA_ERR_INVALID. The bytes skipped to align count as used.
FA_MALLOC FA_ALLOC_SIZE(2) static inline void *fa_arena_alloc_aligned(fa_arena *arena, size_t size,
                                                                      size_t align) {
    if (align - 1 < FA_ALIGNMENT && (align & (align - 1)) == 0) {
        return fa_arena_alloc(arena, size);
    }
    size_t rounded = (size + (FA_ALIGNMENT - 1)) & ~(FA_ALIGNMENT - 1);
    size_t room = (size_t)(arena->limit - arena->cursor);
    size_t pad = (size_t)(0 - (uintptr_t)arena->cursor) & (align - 1);
    if (FA_UNLIKELY((align & (align - 1)) != 0 || align > FA_ALIGNMENT_MAX || pad >= room ||
                    rounded - 1 >= room - pad)) {
        return fa_arena_alloc_aligned_slow(arena, size, align);
    }
    char *ptr = arena->cursor + pad;
    arena->cursor = ptr + rounded;
    return ptr;
}

/// Like fa_arena_alloc(), for callers that expect a refusal: no recovery, no report to the
/// callback. The refusal is still counted and fa_last_error() still says why.
FA_MALLOC FA_ALLOC_SIZE(2) static inline void *fa_arena_try_alloc(fa_arena *arena, size_t size) {
    size_t rounded = (size + (FA_ALIGNMENT - 1)) & ~(FA_ALIGNMENT - 1);
    char *ptr = arena->cursor;
    if (FA_IS_CONSTANT(rounded) && rounded - 1 < FA_SMALL) {
        if (FA_UNLIKELY((uintptr_t)ptr + rounded > (uintptr_t)arena->limit)) {
            return fa_arena_try_alloc_slow(arena, size);
        }
    } else if (FA_UNLIKELY(rounded - 1 >= (size_t)(arena->limit - ptr))) {
        return fa_arena_try_alloc_slow(arena, size);
    }
    arena->cursor = ptr + rounded;
    return ptr;
}

/// Allocates `count * size` zeroed bytes at a multiple of `align`. NULL with FA_ERR_OVERFLOW when
/// the product does not fit, FA_ERR_INVALID when it is 0. Costs the allocation and one memset.
FA_API FA_MALLOC FA_ALLOC_SIZE2(2, 3) void *fa_arena_calloc(fa_arena *arena, size_t count,
                                                            size_t size, size_t align);

/// Allocates `count * size` uninitialised bytes at a multiple of `align`, checked like
/// fa_arena_calloc().
FA_API FA_MALLOC FA_ALLOC_SIZE2(2, 3) void *fa_arena_alloc_array(fa_arena *arena, size_t count,
                                                                 size_t size, size_t align);

/// Makes a block of `old_size` bytes one of `new_size`. The arena's last block grows and shrinks in
/// place; any other shrinks in place (nothing is won) and grows by a new block and a copy. `ptr`
/// NULL allocates. Returns the block, 16-aligned, its first min(old, new) bytes as they were; or
/// NULL, with the old block untouched, when memory is refused or `new_size` is 0. `old_size` is
/// what was asked for, not rounded. Growing in place past a mark taken since is possible: rewinding
/// to that mark cuts the growth off again.
FA_API void *fa_arena_resize(fa_arena *arena, void *ptr, size_t old_size, size_t new_size);

/// Like fa_arena_resize(), for a block aligned to `align`: it keeps that alignment when it moves.
FA_API void *fa_arena_resize_aligned(fa_arena *arena, void *ptr, size_t old_size, size_t new_size,
                                     size_t align);

/// One zeroed `T`, aligned for it, or NULL.
#define fa_arena_new(arena, T) ((T *)fa_arena_calloc((arena), 1, sizeof(T), FA_ALIGNOF(T)))

/// A zeroed `T[count]`, or NULL. One bump for the whole array; the product is checked.
#define fa_arena_array(arena, T, count)                                                            \
    ((T *)fa_arena_calloc((arena), (count), sizeof(T), FA_ALIGNOF(T)))

/// An uninitialised `T[count]`, or NULL. The batch: one bump for the whole array, the product is
/// checked.
#define fa_arena_array_uninit(arena, T, count)                                                     \
    ((T *)fa_arena_alloc_array((arena), (count), sizeof(T), FA_ALIGNOF(T)))

/// A copy of `text`, terminated, or NULL. `text` must not be NULL (FA_ERR_INVALID).
FA_API FA_MALLOC char *fa_arena_strdup(fa_arena *arena, const char *text);

/// Formats like printf into a string of exactly the needed size, or NULL. Formats twice when the
/// text does not fit into what is free before the limit.
FA_API FA_MALLOC char *fa_arena_printf(fa_arena *arena, const char *format, ...) FA_PRINTF(2, 3);

/// Like fa_arena_printf() with a va_list. Owner thread only.
FA_API FA_MALLOC char *fa_arena_vprintf(fa_arena *arena, const char *format, va_list args)
    FA_PRINTF(2, 0);

/// Takes the present position. Cannot fail, allocates nothing, costs a few loads.
FA_API fa_mark fa_arena_mark(fa_arena *arena);

/// Undoes every allocation made since `mark`; runs the cleanups registered since, last first. A
/// mark from an earlier fill, from another arena, or from beyond the present position changes
/// nothing and returns FA_ERR_STALE (FA005). O(cleanups + blocks + tag switches undone).
FA_API fa_result fa_arena_rewind(fa_arena *arena, fa_mark mark);

/// Undoes everything, runs all cleanups, keeps the memory for the next fill. All marks become
/// stale. Frames and scratch arenas are refused (FA010): their scopes reset them.
FA_API void fa_arena_reset(fa_arena *arena);

/// Registers `fn(arg)` to run when what is allocated from here on is undone: by rewind, reset,
/// destroy or the frame's end; last registered, first run, once. It may use the arena. Costs 32
/// bytes of the arena. FA_ERR_INVALID when `fn` is NULL; otherwise fails as fa_arena_alloc() does.
FA_API FA_NODISCARD fa_result fa_arena_defer(fa_arena *arena, void (*fn)(void *), void *arg);

/// Gives memory that is not in use back to the context, keeping at least `keep` bytes committed
/// (what is in use is always kept). FA_OK also when there was nothing to give. A system call when
/// something is given.
FA_API fa_result fa_arena_trim(fa_arena *arena, size_t keep);

/// Bytes in use now. O(1), a load and a subtraction. Owner thread.
FA_API size_t fa_arena_used(const fa_arena *arena);

/// Fills `out`. O(blocks). Owner thread.
FA_API fa_result fa_arena_stats(fa_arena *arena, fa_arena_stats_result *out);

FA_END_DECLS

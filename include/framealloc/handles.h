/// @file handles.h
/// Blocks of any size that may be moved: held by a handle, so that gaps can be closed.
///
///     fa_table *assets = NULL;
///     if (fa_table_create(ctx, &(fa_table_desc){.name = "assets"}, &assets) < 0) { ... }
///     fa_block mesh = fa_block_alloc(assets, bytes, 64);
///     float *vertices = fa_block_resolve(assets, mesh); // Good until the table next moves blocks.
///     fa_defragment_result done;
///     fa_table_defragment(assets, 64 << 10, &done);     // A step each frame.
///     fa_table_destroy(assets);
///
/// A block moves only inside fa_table_defragment() and fa_block_resize(), and never while it is
/// pinned. Resolve again after those two, or pin while a pointer must stay: for a device, or for
/// another thread.
///
/// A table belongs to one thread at a time: it may be handed over (a queue, a join), but two
/// threads must not be inside calls on it at once. With fa_table_desc.shared every call takes the
/// table's lock and may come from any thread; a resolved pointer is then good only while the block
/// is pinned, because another thread may move it: fa_block_pin() returns the pointer too.
///
/// A handle of a block that was freed is recognised for ever, also after its table is gone: in
/// every other table of the same context it resolves to NULL. What describes the blocks lies apart
/// from them, so writing past a block's end cannot corrupt the table. While FA_CHECK_BLOCKS is on
/// when a table is made, 16 bytes behind each block are guarded and checked when it is freed or
/// resized (FA405), and freed blocks are overwritten.
#pragma once

#include "base.h"

/// The most blocks a table can number at once.
#define FA_BLOCK_MAX ((uint32_t)1 << 24)

/// The most tables of a context that can be alive at once.
#define FA_TABLE_MAX 255u

/// The most pins of one block.
#define FA_BLOCK_PINS_MAX (((uint32_t)1 << 20) - 1)

FA_BEGIN_DECLS

/// A block behind a handle: a value, copy it freely. Zero-initialised it is FA_BLOCK_NONE. 24 bits
/// of place, 8 of table, 32 of generation. A place whose generations are used up is never used
/// again (FA407), so a handle never comes to mean another block.
typedef struct fa_block {
    uint64_t value; ///< Private; 0: none.
} fa_block;

/// No block.
#ifdef __cplusplus
#define FA_BLOCK_NONE (fa_block{0})
#else
#define FA_BLOCK_NONE ((fa_block){0})
#endif

/// One place of a table, 16 bytes, so that looking a handle up touches one cache line. Private.
typedef struct fa_block_entry {
    union {
        void *ptr;     ///< Private: where the block is now; NULL: free.
        uint64_t room; ///< Private: 8 bytes everywhere.
    };
    uint64_t value; ///< Private: the one handle that is good for it; of a free place, none is.
} fa_block_entry;

/// A table. Its fields are for fa_block_resolve(): read it through fa_table_stats().
typedef struct fa_table {
    const fa_block_entry *entries; ///< Private.
    uint32_t mask;                 ///< Private: how many of them there are, less 1.
} fa_table;

/// How to make a table. Zero-initialised means defaults; NULL may be passed instead.
typedef struct fa_table_desc {
    const char *name;    ///< For reports; copied, at most 31 bytes. Default "table".
    fa_tag tag;          ///< Whom the blocks are charged to. Default the root.
    size_t reserve;      ///< Bytes of address space for blocks, at most 64 GiB. Default 16 GiB
                         ///< (64 MiB where pointers are 32-bit), or half of it, and so on down to
                         ///< 1 MiB, where there is not so much. Not used with a backend that cannot
                         ///< commit: the table then grows by chunks of at least 1 MiB.
    uint32_t max_blocks; ///< Blocks at once, at most FA_BLOCK_MAX; FA409 beyond. Default one for
                         ///< every 64 bytes of `reserve`, or FA_BLOCK_MAX.
    /// Called after a block has moved from `from` to `to`, by fa_table_defragment() or
    /// fa_block_resize(): its contents are at `to`, `from` must not be read. May call functions of
    /// the table; of a shared one it must not, since its lock is held. May be NULL.
    void (*moved)(void *user, fa_block block, void *from, void *to);
    void *user;  ///< Passed to `moved`.
    bool shared; ///< Calls may come from any thread, several at once. Default no.
} fa_table_desc;

/// What fa_table_defragment() did.
typedef struct fa_defragment_result {
    size_t moved_bytes;          ///< Moved by this call.
    size_t moved_blocks;         ///< Blocks moved.
    size_t returned_bytes;       ///< Memory that this call gave back, bookkeeping included.
    double fragmentation_before; ///< As in fa_table_stats_result, when the call began.
    double fragmentation_after;  ///< And when it ended.
    bool is_done;                ///< Nothing more can be won until blocks are freed or unpinned.
} fa_defragment_result;

/// What fa_table_stats() fills. Sizes of blocks are rounded up to 16 bytes.
typedef struct fa_table_stats_result {
    size_t live_bytes;      ///< In blocks.
    size_t live_blocks;     ///< Blocks.
    size_t pinned_blocks;   ///< Of those, pinned at least once.
    size_t used_span_bytes; ///< From the first byte to the end of the last block; on chunks: in
                            ///< all chunks.
    size_t free_bytes;      ///< Of the span, in gaps between blocks.
    size_t largest_free;    ///< The largest gap.
    size_t committed_bytes; ///< Memory held, bookkeeping included.
    size_t overhead_bytes;  ///< Of the committed bytes, those for bookkeeping.
    size_t reserved_bytes;  ///< Address space held.
    uint32_t retired;       ///< Places whose generations are used up.
    double fragmentation;   ///< The part of the span that lies in gaps, gaps that were given back
                            ///< not counted: 0 when packed, near 1 when nearly empty.
    const char *name;       ///< Valid until the table is destroyed.
} fa_table_stats_result;

/// Makes a table. On failure `*out` is NULL: FA_ERR_INVALID (FA014 names the field, FA802 for the
/// tag), FA_ERR_LIMIT (FA301; FA409 with FA_TABLE_MAX tables), FA_ERR_OUT_OF_MEMORY (FA305). One
/// reservation and a few commits. The context must outlive it; fa_context_destroy() reports tables
/// that are left (FA406) and frees them. Any thread.
FA_API FA_NODISCARD fa_result fa_table_create(fa_context *ctx, const fa_table_desc *desc,
                                              fa_table **out);

/// Ends a table and gives its memory back. Blocks still live, pinned or not, are reported (FA406,
/// with their number and bytes) and make it return FA_ERR_BUSY; they are gone all the same. NULL is
/// FA_OK. No other thread may be inside a call on the table.
FA_API fa_result fa_table_destroy(fa_table *table);

/// Allocates `size` uninitialised bytes at a multiple of `align` (a power of two up to
/// FA_ALIGNMENT_MAX; at least 16 is given). FA_BLOCK_NONE when refused, with everything as it was:
/// FA012 size 0, FA018 alignment, FA302 budget, FA301 memory limit, FA305 no memory, FA003 the
/// reservation is full, FA409 too many blocks. O(1); no system call once the table has grown to
/// its working size.
FA_API fa_block fa_block_alloc(fa_table *table, size_t size, size_t align);

/// Frees a block. FA_BLOCK_NONE is FA_OK. FA_ERR_STALE (FA401) when it is gone already or of
/// another table, FA_ERR_BUSY (FA408) while it is pinned: nothing has changed then. O(1), no system
/// call.
FA_API fa_result fa_block_free(fa_table *table, fa_block block);

/// The out-of-line half of fa_block_resolve(): shared tables, and what is to be said of a stale
/// handle. Declared pure so that a loop of look-ups keeps the table's fields in registers.
FA_API FA_COLD FA_PURE void *fa_block_resolve_slow(const fa_table *table, fa_block block);

/// Where a block is now, or NULL when it is gone: then fa_last_error() says FA_ERR_STALE, and
/// nothing is reported, as asking is what handles are for. Two loads and one compare: the place in
/// the handle is masked into the table, and the entry there is good for one whole handle only. The
/// pointer is good until the block is resized or freed, or the table defragmented; of a shared
/// table, only while it is pinned.
static inline void *fa_block_resolve(const fa_table *table, fa_block block) {
    const fa_block_entry *entry = &table->entries[(uint32_t)block.value & table->mask];
    if (FA_LIKELY(entry->value == block.value)) {
        return entry->ptr;
    }
    return fa_block_resolve_slow(table, block);
}

/// Keeps a block where it is until fa_block_unpin() was called as often, and returns where that is.
/// NULL when it is gone (FA401) or pinned FA_BLOCK_PINS_MAX times (FA409). O(1).
FA_API void *fa_block_pin(fa_table *table, fa_block block);

/// Takes one pin away. FA_ERR_STALE (FA401), or FA_ERR_INVALID (FA017) when there is none. O(1).
FA_API fa_result fa_block_unpin(fa_table *table, fa_block block);

/// The size that was asked for; 0 when the block is gone, with fa_last_error() set and no report.
/// O(1).
FA_API size_t fa_block_size(fa_table *table, fa_block block);

/// Changes a block's size. In place when it shrinks, or when enough is free behind it; else it
/// moves, with its contents and alignment, its handle staying good. FA_ERR_BUSY (FA408) when it
/// would have to move and is pinned; FA_ERR_STALE (FA401); otherwise fails as fa_block_alloc()
/// does. Nothing has changed then. O(1), and the copy.
FA_API fa_result fa_block_resize(fa_table *table, fa_block block, size_t new_size);

/// One step of closing gaps. Moves at most `max_bytes` of memory (one block that is larger only
/// when it would be the only one of the step; so 0 moves one block a step), and looks at no more
/// blocks than in proportion. Calling it until `is_done` comes to an end and moves no byte twice:
/// on a half-empty table half a byte for each one that comes back.
///
/// Gaps are closed from the start of the table on, with blocks from its far end, so every step
/// makes it shorter, and the memory above the last block is given back at once. Gaps of 64 KiB and
/// more, which pinned blocks leave, and bookkeeping that is no longer needed are given back by the
/// step that finishes. Up to a 64th of the table stays in gaps that are too small to be worth
/// moving much. Pinned blocks stay, and the space around them is used. Alignments are kept. `out`
/// may be NULL.
///
/// FA_OK, or FA_ERR_LIMIT (FA301) or FA_ERR_OUT_OF_MEMORY (FA305) when a gap had been given back
/// and its memory was refused: `out` says what was done up to there.
FA_API fa_result fa_table_defragment(fa_table *table, size_t max_bytes, fa_defragment_result *out);

/// Gives memory that no block lies on back, in pieces of 64 KiB, without moving anything. FA_OK
/// also when there was nothing to give. O(large gaps), a system call for each. fa_context_trim()
/// does not look into tables: they may belong to other threads.
FA_API fa_result fa_table_trim(fa_table *table);

/// Fills `out`. O(1), but for `largest_free`: O(gaps of about that size).
FA_API fa_result fa_table_stats(fa_table *table, fa_table_stats_result *out);

FA_END_DECLS

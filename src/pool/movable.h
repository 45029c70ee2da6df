// Tables of movable blocks, from the inside: handles.c, handles_memory.c, handles_place.c,
// handles_compact.c.
//
//   handle   value = generation << 32 | table number << 24 | index
//   entries  [index] {ptr, value}        what fa_block_resolve() reads
//   slots    [index] record; of a free place the next one in the queue
//   records  [record] {place, size, neighbours, pins, index}: dense, those of live blocks only
//   memory   | wall | block | gap | block | block | gap | block |  not used yet  ........ |
//
// Places are counted in granules of 16 bytes. Every record owns the gap behind it; gaps are found
// by size through bins, so blocks and gaps need no memory of their own and nothing a user can
// overrun lies beside a record. A freed record's place is taken by the last one, so that what
// describes 100 blocks is small again after 100,000. Entries stay for ever: they hold the
// generations.
//
// Where the backend can commit, all of it lies in one reservation and blocks grow into the space
// behind the last one. Otherwise every array is a chunk of its own, and blocks lie in segments,
// which are chunks too: they are numbered one behind the other, and a wall (a record that is no
// block, cannot move, and has no size unless a segment before it was given back) stands before each
// and behind the last.
#pragma once

#include "../core/core.h"
#include <framealloc/handles.h>

#define FA__GRAIN_SHIFT 4u
#define FA__GRAIN ((size_t)1 << FA__GRAIN_SHIFT)
#define FA__NOWHERE UINT32_MAX
#define FA__GAP_BINS 464u // 16 sizes between powers of two: see handles_place.c.
#define FA__BLOCK_INDEX_BITS 24u
#define FA__PIECE_SHIFT 16u // What is committed and given back of the space for blocks: 64 KiB.
#define FA__PIECE ((size_t)1 << FA__PIECE_SHIFT)
#define FA__PIECE_GRAINS (1u << (FA__PIECE_SHIFT - FA__GRAIN_SHIFT))

typedef struct fa__block_record {
    uint32_t prev; // In order of place; FA__NOWHERE at the ends.
    uint32_t next;
    uint32_t offset;   // Granules from the start.
    uint32_t grains;   // Length in granules.
    uint32_t index;    // Of the entry. Of a wall: the segment behind it, or FA__NOWHERE.
    uint32_t bin_prev; // In the bin of the gap behind it.
    uint32_t bin_next;
    unsigned pins : 20;
    unsigned align : 5; // As a power of two.
    unsigned slack : 4; // Bytes of the last granule that were not asked for.
    unsigned is_wall : 1;
} fa__block_record;

_Static_assert(sizeof(fa__block_record) == 32, "two records a cache line");
_Static_assert(sizeof(fa_block_entry) == 16, "a power of two of them fills a page");

// An array that grows: where it stands, in a reservation, or from chunk to chunk.
typedef struct fa__growing {
    char *base;
    size_t room;      // Bytes reserved for it; 0: it is a chunk.
    size_t committed; // Bytes that may be used.
    fa__chunk chunk;
} fa__growing;

typedef struct fa__segment {
    fa__chunk chunk;
    uint32_t offset;
    uint32_t grains;
    uint32_t wall; // The record before it.
} fa__segment;

typedef enum fa__refusal {
    FA__REFUSED_NOT,
    FA__REFUSED_BY_LIMIT,   // memory_limit.
    FA__REFUSED_BY_BACKEND, // No memory.
    FA__REFUSED_BY_RANGE,   // The reservation is full.
    FA__REFUSED_BY_COUNT    // max_blocks.
} fa__refusal;

typedef struct fa__block_table {
    fa_table table; // First, so that a pointer to one is a pointer to the other.
    fa_context *context;
    fa__pages *pages;
    fa__tag *tag;
    bool is_shared;
    bool is_checked; // FA_CHECK_BLOCKS was on: a guarded granule lies behind each block.
    fa__mutex lock;  // Of a shared table: after nothing, before the page source's.
    void (*moved)(void *user, fa_block block, void *from, void *to);
    void *user;

    // The space for blocks.
    char *range; // Of the whole reservation; NULL: on chunks.
    size_t range_bytes;
    uint64_t grains_max; // Granules there are.
    size_t data_committed;
    uint32_t top_piece; // Above every committed piece.
    uint32_t last;      // The record with the highest place.
    uint64_t live_grains;
    uint64_t gap_grains;    // In gaps, all of which are in bins.
    uint64_t mapped_grains; // Of all segments.
    uint32_t live_blocks;
    uint32_t pinned_blocks;
    uint32_t segment_count;
    uint32_t record_count;

    // Places for handles.
    uint32_t number; // 1 to FA_TABLE_MAX, in every handle.
    uint32_t max_blocks;
    uint32_t index_count; // Indices handed out at some time.
    uint32_t entry_count; // Entries there is room for: 0 or a power of two.
    uint32_t queue_first; // Free ones, the longest free first.
    uint32_t queue_last;
    uint32_t queue_count;
    uint32_t retired;
    uint32_t first_generation; // Of an index used for the first time.
    uint32_t top_generation;   // The highest handed out.

    // Compaction.
    bool is_compacting;   // A pass has begun and not ended.
    bool is_dirty;        // Something may be won that was not there when the last pass began.
    uint32_t cursor;      // The record whose gap in front is next; FA__NOWHERE: the pass is over.
    uint32_t high;        // No block above can fill a gap.
    uint64_t left_grains; // In gaps that this pass has left.

    fa__growing entries;
    fa__growing slots;
    fa__growing records;
    fa__growing pieces; // One bit for each 64 KiB of the range that is committed.
    fa__growing segments;

    uint64_t bin_bits[(FA__GAP_BINS + 63) / 64];
    uint32_t bins[FA__GAP_BINS];

    struct fa__block_table *next; // Of the context's, or of records kept for reuse.
    struct fa__block_table *prev;
    char name[FA__NAME_BYTES];
} fa__block_table;

// Typed access ------------------------------------------------------------------------------------

static inline fa_block_entry *fa__entry(const fa__block_table *table, uint32_t index) {
    return (fa_block_entry *)(void *)table->entries.base + index;
}

static inline uint32_t *fa__slot(const fa__block_table *table, uint32_t index) {
    return (uint32_t *)(void *)table->slots.base + index;
}

static inline fa__block_record *fa__record(const fa__block_table *table, uint32_t record) {
    return (fa__block_record *)(void *)table->records.base + record;
}

static inline fa__segment *fa__segment_at(const fa__block_table *table, uint32_t segment) {
    return (fa__segment *)(void *)table->segments.base + segment;
}

static inline bool fa__has_range(const fa__block_table *table) {
    return table->range != NULL;
}

// The first granule behind a record.
static inline uint32_t fa__record_end(const fa__block_table *table, uint32_t record) {
    const fa__block_record *self = fa__record(table, record);
    return self->offset + self->grains;
}

// Granules of the gap behind a record; 0 behind the last one.
static inline uint32_t fa__gap_behind(const fa__block_table *table, uint32_t record) {
    const fa__block_record *self = fa__record(table, record);
    if (self->next == FA__NOWHERE) {
        return 0;
    }
    return fa__record(table, self->next)->offset - (self->offset + self->grains);
}

// Granules from the start to the end of the last block; on chunks, in all of them.
static inline uint64_t fa__span_grains(const fa__block_table *table) {
    return fa__has_range(table) ? fa__record_end(table, table->last) : table->mapped_grains;
}

// handles_memory.c --------------------------------------------------------------------------------

// Gets the address space and the first wall. False: `denial` says why, and nothing is held.
// `reserve` 0: the default, and less where there is not so much.
bool fa__place_open(fa__block_table *table, size_t reserve, uint32_t max_blocks,
                    fa__denial *denial);
void fa__place_close(fa__block_table *table);

// Makes sure of `bytes` usable bytes. False with nothing changed.
bool fa__growing_reach(fa__block_table *table, fa__growing *array, size_t bytes,
                       fa__denial *denial);
// Whether memory it commits reads as zero: then it need not be touched before it is used.
bool fa__growing_is_zeroed(const fa__block_table *table);
// Gives back what is committed beyond `bytes`, in a reservation.
void fa__growing_shrink(fa__block_table *table, fa__growing *array, size_t bytes);

// Commits the memory of a spot.
fa__refusal fa__place_commit(fa__block_table *table, uint32_t offset, uint32_t grains);

// On chunks: a further segment of at least so many bytes. There is room for the record of its wall.
fa__refusal fa__place_add_segment(fa__block_table *table, size_t bytes);

// Gives committed pieces above the last block back, or (chunks) segments that are empty.
void fa__place_trim_end(fa__block_table *table);
// Gives everything back that no block lies on, and bookkeeping that is not needed.
void fa__place_trim(fa__block_table *table);

// Bytes held for bookkeeping.
size_t fa__place_overhead(const fa__block_table *table);

// handles_place.c ---------------------------------------------------------------------------------

// Where a block may go: behind `owner`, `offset` granules from the start.
typedef struct fa__spot {
    uint32_t owner;
    uint32_t offset;
    char *ptr;
} fa__spot;

// Finds memory for a block, and commits it. Nothing is taken yet.
fa__refusal fa__place_find(fa__block_table *table, uint32_t grains, unsigned align, fa__spot *out);

// The first place behind `owner` that is aligned; granules of the pad in `pad`.
fa__spot fa__place_behind(fa__block_table *table, uint32_t owner, unsigned align, uint32_t *pad);

// Makes sure that two more records fit: the block's and a wall's.
fa__refusal fa__place_reserve_records(fa__block_table *table);

// Adds a block at a spot; there is room for its record, which is returned.
uint32_t fa__place_add(fa__block_table *table, const fa__spot *spot, uint32_t grains);
// Takes a block away. Another block's record may get its number.
void fa__place_remove(fa__block_table *table, uint32_t record);
// Moves a record to a spot that was found while it stood where it stands, with a new length.
void fa__place_shift(fa__block_table *table, uint32_t record, const fa__spot *spot,
                     uint32_t grains);
// Changes the length of a block where it stands. FA__REFUSED_BY_RANGE: too little is free behind.
fa__refusal fa__place_resize(fa__block_table *table, uint32_t record, uint32_t grains);

// Puts a wall behind a segment that was just obtained: `before` is the one in front of it.
void fa__place_add_wall(fa__block_table *table, uint32_t before, uint32_t segment);
// Takes away the wall behind an empty segment: `before`, the one in front, covers both.
void fa__place_drop_wall(fa__block_table *table, uint32_t before);

// The bin of gaps of so many granules.
uint32_t fa__gap_bin(uint32_t grains);

// Checks every invariant. For tests. True when all hold.
bool fa__place_check(const fa__block_table *table);

// handles_compact.c -------------------------------------------------------------------------------

// Moves until `max_bytes`. `out` has its two counts of moves set.
fa__refusal fa__compact_step(fa__block_table *table, size_t max_bytes, fa_defragment_result *out);

// The share of the span that lies in gaps.
double fa__compact_fragmentation(const fa__block_table *table);

// handles.c ---------------------------------------------------------------------------------------

// Stands for the entries of shared and of empty tables: no handle has generation 0.
extern const fa_block_entry fa__no_entry;

fa_result fa__table_fail(const fa__block_table *table, fa__code code, fa_result result,
                         size_t bytes, size_t limit);
fa_result fa__table_fail_refused(const fa__block_table *table, fa__refusal refusal, size_t bytes);

// Handles are looked up in what the caller may not change.
static inline fa__block_table *fa__table_of(const fa_table *table) {
    return (fa__block_table *)(uintptr_t)table;
}

static inline void fa__table_enter(fa__block_table *table) {
    if (table->is_shared) {
        fa__os_mutex_lock(&table->lock);
    }
}

static inline void fa__table_leave(fa__block_table *table) {
    if (table->is_shared) {
        fa__os_mutex_unlock(&table->lock);
    }
}

// handles_block.c ---------------------------------------------------------------------------------

// Takes bytes off the table's tag.
void fa__table_uncharge(const fa__block_table *table, size_t bytes);

// Gives a live block's handle another generation and returns it, so that tests need not use up
// billions.
fa_block fa__table_age(fa_table *table, fa_block block, uint32_t generation);

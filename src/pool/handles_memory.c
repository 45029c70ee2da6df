// Memory of a table of movable blocks: its reservation, or its chunks.
//
//   | blocks ....................... | guard | entries | slots | records | pieces |
//   ^ range                                  each committed from its start, as far as it is used
//
// Blocks are committed in pieces of 64 KiB, with one bit for each, because large gaps are given
// back. Everything else is committed from its start.
#include "movable.h"

#include <string.h>

#if SIZE_MAX > 0xFFFFFFFFu
#define DEFAULT_RESERVE ((size_t)16 << 30)
#else
#define DEFAULT_RESERVE ((size_t)64 << 20)
#endif
#define LEAST_RESERVE ((size_t)1 << 20)
#define BYTES_A_BLOCK 64u // Blocks by default: one for each so many bytes of the reservation.
#define GRAINS_LIMIT ((uint64_t)UINT32_MAX + 1 - FA__PIECE_GRAINS) // The last end is a number too.
#define SEGMENT_BYTES ((size_t)1 << 20)
#define AHEAD_PIECES 16u // Committed ahead of use at most, and
#define AHEAD_SHARE 16u  // at most this part of what is committed.

static size_t round_up(size_t size, size_t step) {
    return (size + (step - 1)) & ~(step - 1);
}

static fa__refusal refusal_of(fa__denial denial) {
    return denial == FA__DENIED_BY_LIMIT ? FA__REFUSED_BY_LIMIT : FA__REFUSED_BY_BACKEND;
}

static bool can_decommit(const fa__block_table *table) {
    return fa__has_range(table) && table->pages->backend.decommit != NULL;
}

// Arrays ------------------------------------------------------------------------------------------

// By moving it to a larger chunk.
static bool reach_by_chunk(fa__block_table *table, fa__growing *array, size_t bytes,
                           fa__denial *denial) {
    size_t wanted = bytes > 2 * array->committed ? bytes : 2 * array->committed;
    fa__chunk chunk;
    if (!fa__chunk_acquire(table->pages, wanted, FA__GRAIN, &chunk, denial)) {
        return false;
    }
    if (array->committed != 0) {
        memcpy(chunk.ptr, array->base, array->committed);
        fa__chunk_release(table->pages, array->chunk);
    }
    array->chunk = chunk;
    array->base = chunk.ptr;
    array->committed = chunk.size;
    return true;
}

bool fa__growing_reach(fa__block_table *table, fa__growing *array, size_t bytes,
                       fa__denial *denial) {
    if (bytes <= array->committed) {
        return true;
    }
    if (array->room == 0) {
        return reach_by_chunk(table, array, bytes, denial);
    }
    size_t page = table->pages->backend.page_size;
    size_t least = round_up(bytes, page);
    size_t wanted = 2 * array->committed;
    if (array->committed >= FA__PIECE) {
        wanted = round_up(array->committed + array->committed / 8, FA__PIECE);
    }
    wanted = wanted < array->room ? wanted : array->room;
    wanted = wanted > least ? wanted : least;
    char *end = array->base + array->committed;
    if (!fa__pages_commit(table->pages, end, wanted - array->committed, denial)) {
        wanted = least;
        if (!fa__pages_commit(table->pages, end, wanted - array->committed, denial)) {
            return false;
        }
    }
    array->committed = wanted;
    return true;
}

bool fa__growing_is_zeroed(const fa__block_table *table) {
    return fa__has_range(table) && table->pages->backend.commit == fa_backend_os()->commit;
}

void fa__growing_shrink(fa__block_table *table, fa__growing *array, size_t bytes) {
    size_t keep = round_up(bytes, table->pages->backend.page_size);
    if (array->room == 0 || keep >= array->committed || !can_decommit(table)) {
        return;
    }
    fa__pages_decommit(table->pages, array->base + keep, array->committed - keep);
    array->committed = keep;
}

static void array_release(fa__block_table *table, fa__growing *array) {
    if (array->room == 0 && array->committed != 0) {
        fa__chunk_release(table->pages, array->chunk);
    }
    *array = (fa__growing){0};
}

static size_t arrays_committed(const fa__block_table *table) {
    return table->entries.committed + table->slots.committed + table->records.committed +
           table->pieces.committed + table->segments.committed;
}

size_t fa__place_overhead(const fa__block_table *table) {
    return arrays_committed(table);
}

// Opening and closing -----------------------------------------------------------------------------

static uint32_t power_above(uint32_t count) {
    uint32_t power = 1;
    while (power < count) {
        power *= 2;
    }
    return power;
}

// Bytes of each array in the reservation, one after the other.
typedef struct layout {
    size_t data;
    size_t entries;
    size_t slots;
    size_t records;
    size_t pieces;
    size_t total; // SIZE_MAX: too much for this machine's addresses.
} layout;

static layout layout_of(size_t reserve, uint32_t max_blocks) {
    layout plan = {.data = round_up(reserve, FA__PIECE)};
    uint64_t entries = (uint64_t)power_above(max_blocks) * sizeof(fa_block_entry);
    uint64_t records = (uint64_t)max_blocks * sizeof(fa__block_record) + FA__PIECE;
    uint64_t total = (uint64_t)plan.data + FA__PIECE + entries + records +
                     (uint64_t)max_blocks * sizeof(uint32_t) + 6 * (uint64_t)FA__PIECE;
    total += plan.data / FA__PIECE / 8;
    if (total > SIZE_MAX / 2) {
        plan.total = SIZE_MAX;
        return plan;
    }
    plan.entries = round_up((size_t)entries, FA__PIECE);
    plan.slots = round_up(max_blocks * sizeof(uint32_t), FA__PIECE);
    plan.records = round_up((size_t)records, FA__PIECE);
    plan.pieces = round_up(plan.data / FA__PIECE / 8 + sizeof(uint64_t), FA__PIECE);
    plan.total = plan.data + FA__PIECE + plan.entries + plan.slots + plan.records + plan.pieces;
    return plan;
}

static uint32_t default_blocks(size_t reserve) {
    size_t count = round_up(reserve, FA__PIECE) / BYTES_A_BLOCK;
    return count < FA_BLOCK_MAX ? (uint32_t)count : FA_BLOCK_MAX;
}

static char *cut(char **from, fa__growing *array, size_t bytes) {
    *array = (fa__growing){.base = *from, .room = bytes};
    *from += bytes;
    return *from;
}

static bool open_range(fa__block_table *table, size_t reserve, uint32_t max_blocks) {
    size_t bytes = reserve == 0 ? DEFAULT_RESERVE : reserve;
    layout plan;
    char *range = NULL;
    for (;;) {
        table->max_blocks = max_blocks == 0 ? default_blocks(bytes) : max_blocks;
        plan = layout_of(bytes, table->max_blocks);
        if (plan.total != SIZE_MAX) {
            range = fa__pages_reserve(table->pages, plan.total, FA__PIECE);
        }
        bool may_be_less = reserve == 0 && bytes > LEAST_RESERVE;
        if (range != NULL || !may_be_less) {
            break;
        }
        bytes /= 2;
    }
    if (range == NULL) {
        return false;
    }
    table->range = range;
    table->range_bytes = plan.total;
    uint64_t grains = plan.data >> FA__GRAIN_SHIFT;
    table->grains_max = grains < GRAINS_LIMIT ? grains : GRAINS_LIMIT;
    char *at = range + plan.data + FA__PIECE;
    cut(&at, &table->entries, plan.entries);
    cut(&at, &table->slots, plan.slots);
    cut(&at, &table->records, plan.records);
    cut(&at, &table->pieces, plan.pieces);
    return true;
}

bool fa__place_open(fa__block_table *table, size_t reserve, uint32_t max_blocks,
                    fa__denial *denial) {
    table->grains_max = UINT32_MAX;
    table->max_blocks = max_blocks == 0 ? FA_BLOCK_MAX : max_blocks;
    if (fa__pages_can_commit(table->pages) && !open_range(table, reserve, max_blocks)) {
        *denial = FA__DENIED_BY_BACKEND;
        return false;
    }
    if (!fa__growing_reach(table, &table->records, 2 * sizeof(fa__block_record), denial)) {
        fa__place_close(table);
        return false;
    }
    memset(table->bins, 0xFF, sizeof table->bins);
    table->last = 0;
    table->record_count = 1;
    *fa__record(table, 0) = (fa__block_record){.prev = FA__NOWHERE,
                                               .next = FA__NOWHERE,
                                               .index = FA__NOWHERE,
                                               .bin_prev = FA__NOWHERE,
                                               .bin_next = FA__NOWHERE,
                                               .is_wall = 1};
    return true;
}

void fa__place_close(fa__block_table *table) {
    if (fa__has_range(table)) {
        size_t committed = table->data_committed + arrays_committed(table);
        fa__pages_release(table->pages, table->range, table->range_bytes, committed);
        table->range = NULL;
        return;
    }
    for (uint32_t i = 0; i < table->segment_count; i++) {
        fa__chunk_release(table->pages, fa__segment_at(table, i)->chunk);
    }
    table->segment_count = 0;
    array_release(table, &table->entries);
    array_release(table, &table->slots);
    array_release(table, &table->records);
    array_release(table, &table->segments);
}

// Pieces of the range -----------------------------------------------------------------------------

static uint64_t *piece_word(const fa__block_table *table, uint32_t piece) {
    return (uint64_t *)(void *)table->pieces.base + piece / 64;
}

static bool piece_is_committed(const fa__block_table *table, uint32_t piece) {
    return piece < table->top_piece && (*piece_word(table, piece) >> (piece % 64) & 1) != 0;
}

// The array of bits covers `count` pieces. New bits are 0, also where memory comes with rubbish.
static bool pieces_reach(fa__block_table *table, uint32_t count, fa__denial *denial) {
    size_t before = table->pieces.committed;
    size_t bytes = ((size_t)count + 63) / 64 * sizeof(uint64_t);
    if (bytes <= before) {
        return true;
    }
    if (!fa__growing_reach(table, &table->pieces, bytes, denial)) {
        return false;
    }
    memset(table->pieces.base + before, 0, table->pieces.committed - before);
    return true;
}

static bool commit_pieces(fa__block_table *table, uint32_t first, uint32_t end,
                          fa__denial *denial) {
    size_t bytes = (size_t)(end - first) << FA__PIECE_SHIFT;
    char *ptr = table->range + ((size_t)first << FA__PIECE_SHIFT);
    if (!pieces_reach(table, end, denial) || !fa__pages_commit(table->pages, ptr, bytes, denial)) {
        return false;
    }
    for (uint32_t piece = first; piece < end; piece++) {
        *piece_word(table, piece) |= (uint64_t)1 << (piece % 64);
    }
    table->top_piece = end > table->top_piece ? end : table->top_piece;
    table->data_committed += bytes;
    return true;
}

// Pieces behind `end` worth committing in the same call: the table is growing.
static uint32_t pieces_ahead(const fa__block_table *table, uint32_t end) {
    uint64_t all = table->grains_max / FA__PIECE_GRAINS;
    size_t ahead = (table->data_committed >> FA__PIECE_SHIFT) / AHEAD_SHARE;
    ahead = ahead < AHEAD_PIECES ? ahead : AHEAD_PIECES;
    return end + ahead < all ? (uint32_t)(end + ahead) : (uint32_t)all;
}

// What has been committed stays committed when the rest is refused: it is found again.
static FA_COLD fa__refusal commit_missing(fa__block_table *table, uint32_t first, uint32_t end) {
    fa__denial denial = FA__DENIED_BY_BACKEND;
    while (first < end) {
        if (piece_is_committed(table, first)) {
            first += 1;
            continue;
        }
        uint32_t stop = first + 1;
        while (stop < end && !piece_is_committed(table, stop)) {
            stop += 1;
        }
        uint32_t further = stop >= table->top_piece ? pieces_ahead(table, stop) : stop;
        if ((further == stop || !commit_pieces(table, first, further, &denial)) &&
            !commit_pieces(table, first, stop, &denial)) {
            return refusal_of(denial);
        }
        first = stop;
    }
    return FA__REFUSED_NOT;
}

fa__refusal fa__place_commit(fa__block_table *table, uint32_t offset, uint32_t grains) {
    if (!fa__has_range(table)) {
        return FA__REFUSED_NOT;
    }
    uint32_t first = offset / FA__PIECE_GRAINS;
    uint32_t last = (uint32_t)(((uint64_t)offset + grains - 1) / FA__PIECE_GRAINS);
    for (uint32_t piece = first; piece <= last; piece++) {
        if (FA_UNLIKELY(!piece_is_committed(table, piece))) {
            return commit_missing(table, piece, last + 1);
        }
    }
    return FA__REFUSED_NOT;
}

static void decommit_pieces(fa__block_table *table, uint32_t first, uint32_t end) {
    while (first < end) {
        if (!piece_is_committed(table, first)) {
            first += 1;
            continue;
        }
        uint32_t stop = first;
        for (; stop < end && piece_is_committed(table, stop); stop++) {
            *piece_word(table, stop) &= ~((uint64_t)1 << (stop % 64));
        }
        size_t bytes = (size_t)(stop - first) << FA__PIECE_SHIFT;
        fa__pages_decommit(table->pages, table->range + ((size_t)first << FA__PIECE_SHIFT), bytes);
        table->data_committed -= bytes;
        first = stop;
    }
}

// Segments ----------------------------------------------------------------------------------------

// The wall before `grains` numbers that nobody uses; the last wall when they must be new ones.
static uint32_t wall_with_room(const fa__block_table *table, uint32_t grains) {
    for (uint32_t i = 0; i < table->segment_count; i++) {
        uint32_t wall = fa__segment_at(table, i)->wall;
        if (fa__record(table, wall)->grains >= grains) {
            return wall;
        }
    }
    return table->last;
}

fa__refusal fa__place_add_segment(fa__block_table *table, size_t bytes) {
    fa__denial denial = FA__DENIED_BY_BACKEND;
    size_t count = (size_t)table->segment_count + 1;
    if (!fa__growing_reach(table, &table->segments, count * sizeof(fa__segment), &denial)) {
        return refusal_of(denial);
    }
    size_t wanted = round_up(bytes, FA__PIECE);
    wanted = wanted > SEGMENT_BYTES ? wanted : SEGMENT_BYTES;
    uint32_t grains = (uint32_t)(wanted >> FA__GRAIN_SHIFT);
    uint32_t wall = wall_with_room(table, grains);
    const fa__block_record *before = fa__record(table, wall);
    bool is_last = wall == table->last;
    uint32_t start = before->offset + before->grains - (is_last ? 0 : grains);
    if (is_last && start > UINT32_MAX - 1 - grains) {
        return FA__REFUSED_BY_RANGE;
    }
    fa__chunk chunk;
    if (!fa__chunk_acquire(table->pages, wanted, FA__PIECE, &chunk, &denial)) {
        return refusal_of(denial);
    }
    uint32_t segment = table->segment_count;
    *fa__segment_at(table, segment) = (fa__segment){chunk, start, grains, wall};
    table->segment_count += 1;
    table->mapped_grains += grains;
    fa__place_add_wall(table, wall, segment);
    return FA__REFUSED_NOT;
}

// Gives a segment back that lies between two walls.
static void segment_release(fa__block_table *table, uint32_t segment) {
    fa__segment gone = *fa__segment_at(table, segment);
    fa__place_drop_wall(table, gone.wall);
    table->mapped_grains -= gone.grains;
    table->segment_count -= 1;
    if (segment != table->segment_count) {
        *fa__segment_at(table, segment) = *fa__segment_at(table, table->segment_count);
        fa__record(table, fa__segment_at(table, segment)->wall)->index = segment;
    }
    fa__chunk_release(table->pages, gone.chunk);
}

static void trim_segments(fa__block_table *table) {
    for (uint32_t i = table->segment_count; i > 0; i--) {
        const fa__segment *segment = fa__segment_at(table, i - 1);
        if (fa__gap_behind(table, segment->wall) == segment->grains) {
            segment_release(table, i - 1);
        }
    }
}

// Giving back -------------------------------------------------------------------------------------

void fa__place_trim_end(fa__block_table *table) {
    if (!fa__has_range(table)) {
        trim_segments(table);
        return;
    }
    if (!can_decommit(table)) {
        return;
    }
    uint32_t end = fa__record_end(table, table->last);
    uint32_t keep = (uint32_t)(((uint64_t)end + FA__PIECE_GRAINS - 1) / FA__PIECE_GRAINS);
    if (keep < table->top_piece) {
        decommit_pieces(table, keep, table->top_piece);
        table->top_piece = keep;
    }
}

static void trim_gap(fa__block_table *table, uint32_t owner) {
    uint64_t start = fa__record_end(table, owner);
    uint64_t end = start + fa__gap_behind(table, owner);
    uint32_t first = (uint32_t)((start + FA__PIECE_GRAINS - 1) / FA__PIECE_GRAINS);
    decommit_pieces(table, first, (uint32_t)(end / FA__PIECE_GRAINS));
}

void fa__place_trim(fa__block_table *table) {
    fa__place_trim_end(table);
    if (can_decommit(table)) {
        for (uint32_t bin = fa__gap_bin(FA__PIECE_GRAINS); bin < FA__GAP_BINS; bin++) {
            uint32_t owner = table->bins[bin];
            for (; owner != FA__NOWHERE; owner = fa__record(table, owner)->bin_next) {
                trim_gap(table, owner);
            }
        }
    }
    fa__growing_shrink(table, &table->records, table->record_count * sizeof(fa__block_record));
}

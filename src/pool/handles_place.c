// Where blocks lie: records in order of place, and the gaps between them by size.
//
//   bins    gaps of 1 ... 15 granules have a bin each; above, 16 bins between powers of two
//   search  a few gaps of the block's own bin, which may fit; then the first gap of the next larger
//           bin that has any, which fits for certain; then the space behind the last block
//
// Invariants: offset + grains of a record <= offset of the next one; every gap but the space behind
//             the last record is in the bin of its size; records 0 ... record_count - 1 are all in
//             the list; a live entry and its record refer to each other.
#include "movable.h"

#define LOOKS 4u // Gaps of the block's own bin that are looked at.

// Bins --------------------------------------------------------------------------------------------

static unsigned log2_of(uint32_t value) {
#if defined(__GNUC__)
    return 31u - (unsigned)__builtin_clz(value);
#else
    unsigned log = 0;
    while (value >>= 1) {
        log += 1;
    }
    return log;
#endif
}

static unsigned first_bit(uint64_t bits) {
#if defined(__GNUC__)
    return (unsigned)__builtin_ctzll(bits);
#else
    unsigned bit = 0;
    for (; (bits & 1) == 0; bits >>= 1) {
        bit += 1;
    }
    return bit;
#endif
}

uint32_t fa__gap_bin(uint32_t grains) {
    if (grains < 16) {
        return grains;
    }
    unsigned log = log2_of(grains);
    return (log - 3) * 16 + (grains >> (log - 4) & 15);
}

// The first bin all of whose gaps have at least so many granules; FA__GAP_BINS: there is none.
static uint32_t bin_that_fits(uint32_t grains) {
    if (grains < 16) {
        return grains;
    }
    uint32_t step = ((uint32_t)1 << (log2_of(grains) - 4)) - 1;
    return grains <= UINT32_MAX - step ? fa__gap_bin(grains + step) : FA__GAP_BINS;
}

// The first bin from `bin` on that has a gap; FA__GAP_BINS: none has.
static uint32_t bin_in_use(const fa__block_table *table, uint32_t bin) {
    if (bin >= FA__GAP_BINS) {
        return FA__GAP_BINS;
    }
    size_t word = bin / 64;
    uint64_t bits = table->bin_bits[word] & (UINT64_MAX << (bin % 64));
    while (bits == 0) {
        word += 1;
        if (word == (FA__GAP_BINS + 63) / 64) {
            return FA__GAP_BINS;
        }
        bits = table->bin_bits[word];
    }
    return (uint32_t)(word * 64) + first_bit(bits);
}

// Enters the gap behind a record, if there is one.
static void gap_add(fa__block_table *table, uint32_t owner) {
    uint32_t grains = fa__gap_behind(table, owner);
    if (grains == 0) {
        return;
    }
    uint32_t bin = fa__gap_bin(grains);
    fa__block_record *record = fa__record(table, owner);
    record->bin_prev = FA__NOWHERE;
    record->bin_next = table->bins[bin];
    if (record->bin_next != FA__NOWHERE) {
        fa__record(table, record->bin_next)->bin_prev = owner;
    }
    table->bins[bin] = owner;
    table->bin_bits[bin / 64] |= (uint64_t)1 << (bin % 64);
    table->gap_grains += grains;
}

static void gap_take(fa__block_table *table, uint32_t owner) {
    uint32_t grains = fa__gap_behind(table, owner);
    if (grains == 0) {
        return;
    }
    const fa__block_record *record = fa__record(table, owner);
    if (record->bin_next != FA__NOWHERE) {
        fa__record(table, record->bin_next)->bin_prev = record->bin_prev;
    }
    table->gap_grains -= grains;
    if (record->bin_prev != FA__NOWHERE) {
        fa__record(table, record->bin_prev)->bin_next = record->bin_next;
        return;
    }
    uint32_t bin = fa__gap_bin(grains);
    table->bins[bin] = record->bin_next;
    if (record->bin_next == FA__NOWHERE) {
        table->bin_bits[bin / 64] &= ~((uint64_t)1 << (bin % 64));
    }
}

// Records -----------------------------------------------------------------------------------------

fa__refusal fa__place_reserve_records(fa__block_table *table) {
    fa__denial denial = FA__DENIED_BY_BACKEND;
    size_t bytes = ((size_t)table->record_count + 2) * sizeof(fa__block_record);
    if (fa__growing_reach(table, &table->records, bytes, &denial)) {
        return FA__REFUSED_NOT;
    }
    return denial == FA__DENIED_BY_LIMIT ? FA__REFUSED_BY_LIMIT : FA__REFUSED_BY_BACKEND;
}

static void link_behind(fa__block_table *table, uint32_t record, uint32_t owner) {
    fa__block_record *self = fa__record(table, record);
    fa__block_record *before = fa__record(table, owner);
    self->prev = owner;
    self->next = before->next;
    before->next = record;
    if (self->next != FA__NOWHERE) {
        fa__record(table, self->next)->prev = record;
    } else {
        table->last = record;
    }
}

// The first wall is never taken out, so there is one before.
static void unlink_record(fa__block_table *table, uint32_t record) {
    const fa__block_record *self = fa__record(table, record);
    fa__record(table, self->prev)->next = self->next;
    if (self->next != FA__NOWHERE) {
        fa__record(table, self->next)->prev = self->prev;
    } else {
        table->last = self->prev;
    }
}

// Everything that refers to record `from` refers to `to`, which gets its contents.
static void record_renumber(fa__block_table *table, uint32_t from, uint32_t to) {
    fa__block_record *self = fa__record(table, to);
    *self = *fa__record(table, from);
    if (self->prev != FA__NOWHERE) {
        fa__record(table, self->prev)->next = to;
    }
    if (self->next != FA__NOWHERE) {
        fa__record(table, self->next)->prev = to;
    } else {
        table->last = to;
    }
    if (fa__gap_behind(table, to) != 0) {
        if (self->bin_next != FA__NOWHERE) {
            fa__record(table, self->bin_next)->bin_prev = to;
        }
        if (self->bin_prev != FA__NOWHERE) {
            fa__record(table, self->bin_prev)->bin_next = to;
        } else {
            table->bins[fa__gap_bin(fa__gap_behind(table, to))] = to;
        }
    }
    if (!self->is_wall) {
        *fa__slot(table, self->index) = to;
    } else if (self->index != FA__NOWHERE) {
        fa__segment_at(table, self->index)->wall = to;
    }
    table->cursor = table->cursor == from ? to : table->cursor;
    table->high = table->high == from ? to : table->high;
}

// Takes a record that nothing refers to out of the array: the last one takes its place.
static void record_drop(fa__block_table *table, uint32_t record) {
    table->record_count -= 1;
    if (record != table->record_count) {
        record_renumber(table, table->record_count, record);
    }
}

// The two places of a compaction go past a record that will not be where it is.
static void cursors_leave(fa__block_table *table, uint32_t record) {
    const fa__block_record *self = fa__record(table, record);
    if (table->cursor == record) {
        table->cursor = self->next;
    }
    if (table->high == record) {
        table->high = self->prev;
    }
}

// Takes a record out of list and bins; the gaps around it become one.
static void record_detach(fa__block_table *table, uint32_t record) {
    uint32_t owner = fa__record(table, record)->prev;
    cursors_leave(table, record);
    gap_take(table, owner);
    gap_take(table, record);
    unlink_record(table, record);
    gap_add(table, owner);
}

static void record_attach(fa__block_table *table, uint32_t record, uint32_t owner) {
    gap_take(table, owner);
    link_behind(table, record, owner);
    gap_add(table, owner);
    gap_add(table, record);
    if (table->last == record) {
        table->high = record;
    }
}

// Finding -----------------------------------------------------------------------------------------

// The address of the granule at `offset`, which lies in the same segment as the end of `owner`.
static char *address_behind(const fa__block_table *table, uint32_t owner, uint32_t offset) {
    if (fa__has_range(table)) {
        return table->range + ((size_t)offset << FA__GRAIN_SHIFT);
    }
    const fa__block_record *record = fa__record(table, owner);
    if (!record->is_wall) {
        char *ptr = fa__entry(table, record->index)->ptr;
        return ptr + ((size_t)(offset - record->offset) << FA__GRAIN_SHIFT);
    }
    const fa__segment *segment = fa__segment_at(table, record->index);
    return segment->chunk.ptr + ((size_t)(offset - segment->offset) << FA__GRAIN_SHIFT);
}

fa__spot fa__place_behind(fa__block_table *table, uint32_t owner, unsigned align, uint32_t *pad) {
    uint32_t start = fa__record_end(table, owner);
    char *ptr = address_behind(table, owner, start);
    size_t bytes = (size_t)(0 - (uintptr_t)ptr) & (((size_t)1 << align) - 1);
    *pad = (uint32_t)(bytes >> FA__GRAIN_SHIFT);
    return (fa__spot){owner, start + *pad, ptr + bytes};
}

// The first spot behind `owner`, if its gap has room for it.
static bool gap_fits(fa__block_table *table, uint32_t owner, uint32_t grains, unsigned align,
                     fa__spot *out) {
    uint32_t gap = fa__gap_behind(table, owner);
    uint32_t pad = 0;
    if (gap < grains) {
        return false;
    }
    *out = fa__place_behind(table, owner, align, &pad);
    return pad <= gap - grains;
}

// Looks at a few gaps of one bin.
static bool bin_fits(fa__block_table *table, uint32_t bin, uint32_t grains, unsigned align,
                     fa__spot *out) {
    uint32_t owner = table->bins[bin];
    for (unsigned looks = LOOKS; owner != FA__NOWHERE && looks > 0; looks--) {
        if (gap_fits(table, owner, grains, align, out)) {
            return true;
        }
        owner = fa__record(table, owner)->bin_next;
    }
    return false;
}

// Granules that a gap must have so that the block fits wherever it begins.
static uint32_t grains_with_pad(uint32_t grains, unsigned align) {
    uint64_t pad = align <= FA__GRAIN_SHIFT ? 0 : ((uint64_t)1 << (align - FA__GRAIN_SHIFT)) - 1;
    return grains + pad < UINT32_MAX ? (uint32_t)(grains + pad) : UINT32_MAX;
}

static bool find_gap(fa__block_table *table, uint32_t grains, unsigned align, fa__spot *out) {
    if (table->gap_grains < grains) {
        return false;
    }
    uint32_t own = fa__gap_bin(grains);
    if (bin_fits(table, own, grains, align, out)) {
        return true;
    }
    uint32_t certain = bin_that_fits(grains_with_pad(grains, align));
    uint32_t bin = bin_in_use(table, certain > own ? certain : own + 1);
    return bin < FA__GAP_BINS && gap_fits(table, table->bins[bin], grains, align, out);
}

// Behind the last block of a range.
static fa__refusal find_at_end(fa__block_table *table, uint32_t grains, unsigned align,
                               fa__spot *out) {
    uint32_t pad = 0;
    *out = fa__place_behind(table, table->last, align, &pad);
    uint64_t start = (uint64_t)fa__record_end(table, table->last) + pad;
    return start + grains <= table->grains_max ? FA__REFUSED_NOT : FA__REFUSED_BY_RANGE;
}

fa__refusal fa__place_find(fa__block_table *table, uint32_t grains, unsigned align, fa__spot *out) {
    if (!find_gap(table, grains, align, out)) {
        fa__refusal refusal = FA__REFUSED_NOT;
        if (fa__has_range(table)) {
            refusal = find_at_end(table, grains, align, out);
        } else {
            size_t pad = align > FA__PIECE_SHIFT ? (size_t)1 << align : 0;
            size_t bytes = (size_t)grains << FA__GRAIN_SHIFT;
            refusal = fa__place_add_segment(table, bytes + pad);
            if (refusal == FA__REFUSED_NOT && !find_gap(table, grains, align, out)) {
                refusal = FA__REFUSED_BY_RANGE;
            }
        }
        if (refusal != FA__REFUSED_NOT) {
            return refusal;
        }
    }
    return fa__place_commit(table, out->offset, grains);
}

// Changing ----------------------------------------------------------------------------------------

uint32_t fa__place_add(fa__block_table *table, const fa__spot *spot, uint32_t grains) {
    uint32_t record = table->record_count;
    table->record_count += 1;
    *fa__record(table, record) = (fa__block_record){.offset = spot->offset, .grains = grains};
    record_attach(table, record, spot->owner);
    table->live_grains += grains;
    table->live_blocks += 1;
    return record;
}

void fa__place_remove(fa__block_table *table, uint32_t record) {
    table->live_grains -= fa__record(table, record)->grains;
    table->live_blocks -= 1;
    table->is_dirty = true;
    record_detach(table, record);
    record_drop(table, record);
}

void fa__place_shift(fa__block_table *table, uint32_t record, const fa__spot *spot,
                     uint32_t grains) {
    fa__block_record *self = fa__record(table, record);
    uint32_t owner = spot->owner == record ? self->prev : spot->owner;
    record_detach(table, record);
    table->live_grains += (uint64_t)grains - self->grains; // Wraps for less; so does the sum.
    self->offset = spot->offset;
    self->grains = grains;
    record_attach(table, record, owner);
}

fa__refusal fa__place_resize(fa__block_table *table, uint32_t record, uint32_t grains) {
    fa__block_record *self = fa__record(table, record);
    if (grains > self->grains) {
        uint64_t room = fa__gap_behind(table, record);
        if (self->next == FA__NOWHERE) {
            room = table->grains_max - fa__record_end(table, record);
        }
        if (grains - self->grains > room) {
            return FA__REFUSED_BY_RANGE;
        }
        fa__refusal refusal = fa__place_commit(table, self->offset, grains);
        if (refusal != FA__REFUSED_NOT) {
            return refusal;
        }
    }
    table->is_dirty = table->is_dirty || grains < self->grains;
    gap_take(table, record);
    table->live_grains += (uint64_t)grains - self->grains;
    self->grains = grains;
    gap_add(table, record);
    return FA__REFUSED_NOT;
}

// Walls -------------------------------------------------------------------------------------------

void fa__place_add_wall(fa__block_table *table, uint32_t before, uint32_t segment) {
    const fa__segment *added = fa__segment_at(table, segment);
    fa__block_record *self = fa__record(table, before);
    uint32_t wall = table->record_count;
    table->record_count += 1;
    *fa__record(table, wall) = (fa__block_record){
        .offset = added->offset + added->grains, .index = self->index, .is_wall = 1};
    if (self->index != FA__NOWHERE) {
        fa__segment_at(table, self->index)->wall = wall;
    }
    gap_take(table, before); // Of the segment that stood behind it.
    self->index = segment;
    self->grains = added->offset - self->offset;
    link_behind(table, wall, before);
    gap_add(table, before);
    gap_add(table, wall);
}

void fa__place_drop_wall(fa__block_table *table, uint32_t before) {
    fa__block_record *self = fa__record(table, before);
    uint32_t wall = self->next;
    const fa__block_record *gone = fa__record(table, wall);
    cursors_leave(table, wall);
    gap_take(table, before);
    gap_take(table, wall);
    if (gone->next != FA__NOWHERE) {
        self->grains = gone->offset + gone->grains - self->offset;
    }
    self->index = gone->index;
    if (gone->index != FA__NOWHERE) {
        fa__segment_at(table, gone->index)->wall = before;
    }
    unlink_record(table, wall);
    gap_add(table, before);
    record_drop(table, wall);
}

// Checking ----------------------------------------------------------------------------------------

static bool check_record(const fa__block_table *table, uint32_t record) {
    const fa__block_record *self = fa__record(table, record);
    if (self->is_wall) {
        return self->index == FA__NOWHERE || fa__segment_at(table, self->index)->wall == record;
    }
    const fa_block_entry *entry = fa__entry(table, self->index);
    return self->index < table->index_count && *fa__slot(table, self->index) == record &&
           entry->ptr != NULL && (entry->value & (FA_BLOCK_MAX - 1)) == self->index &&
           entry->ptr == address_behind(table, self->prev, self->offset) &&
           ((uintptr_t)entry->ptr & (((uintptr_t)1 << self->align) - 1)) == 0;
}

// Granules in bins; UINT64_MAX when something is wrong with them.
static uint64_t check_bins(const fa__block_table *table) {
    uint64_t grains = 0;
    for (uint32_t bin = 0; bin < FA__GAP_BINS; bin++) {
        uint32_t before = FA__NOWHERE;
        uint32_t owner = table->bins[bin];
        bool is_marked = (table->bin_bits[bin / 64] >> (bin % 64) & 1) != 0;
        if (is_marked != (owner != FA__NOWHERE)) {
            return UINT64_MAX;
        }
        for (; owner != FA__NOWHERE; owner = fa__record(table, owner)->bin_next) {
            uint32_t gap = fa__gap_behind(table, owner);
            bool is_right =
                gap != 0 && fa__gap_bin(gap) == bin && fa__record(table, owner)->bin_prev == before;
            if (!is_right) {
                return UINT64_MAX;
            }
            grains += gap;
            before = owner;
        }
    }
    return grains;
}

bool fa__place_check(const fa__block_table *table) {
    uint64_t live = 0;
    uint64_t gaps = 0;
    uint32_t count = 0;
    uint32_t pinned = 0;
    uint32_t before = FA__NOWHERE;
    for (uint32_t record = 0; record != FA__NOWHERE; record = fa__record(table, record)->next) {
        const fa__block_record *self = fa__record(table, record);
        bool is_behind = before == FA__NOWHERE || self->offset >= fa__record_end(table, before);
        if (count > table->record_count || self->prev != before || !is_behind ||
            !check_record(table, record)) {
            return false;
        }
        live += self->is_wall ? 0 : self->grains;
        gaps += fa__gap_behind(table, record);
        pinned += self->pins != 0 ? 1 : 0;
        count += 1;
        before = record;
    }
    bool has_cursors = !table->is_compacting ||
                       ((table->cursor == FA__NOWHERE || table->cursor < table->record_count) &&
                        (table->high == FA__NOWHERE || table->high < table->record_count));
    uint32_t walls = table->segment_count + 1;
    return before == table->last && count == table->record_count && live == table->live_grains &&
           gaps == table->gap_grains && gaps == check_bins(table) &&
           pinned == table->pinned_blocks && has_cursors && count == table->live_blocks + walls;
}

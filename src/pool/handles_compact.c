// Closing gaps, a bounded step at a time.
//
//     |aa|   |b|  |ccc|      |P|  |ddd|  |e|  |ff|        P is pinned
//        ^ cursor                             ^ high
//
// The cursor walks up. A gap in front of it gets the largest block of the far end that fits, found
// by a few looks down from `high`; so the table becomes shorter from the first move on. When none
// fits, the block at the cursor is pushed against the one before it, and its gap joins the next. A
// small gap is left where that would move much for little: at most a 64th of what the cursor has
// passed. A block that was moved lies behind the cursor, so a pass moves no byte twice.
//
// Between steps everything lives in the table: blocks may be allocated, freed, resized and pinned;
// handles_place.c keeps the cursor and `high` valid.
#include "movable.h"

#include <string.h>

#define LEFT_SHARE 64u
#define CANDIDATES 16u   // Blocks of the far end looked at for a gap.
#define ROOMY 4u         // A gap so many times as large takes the very last block.
#define BYTES_A_LOOK 16u // A look counts as much as moving so many bytes,
#define LOOKS_MIN 256u   // but so many are free.

typedef struct compact_step {
    size_t max_bytes;
    size_t looks_left;
    fa_defragment_result *out;
    fa__refusal refusal;
} compact_step;

double fa__compact_fragmentation(const fa__block_table *table) {
    uint64_t held = fa__span_grains(table);
    uint64_t committed = table->data_committed >> FA__GRAIN_SHIFT;
    if (fa__has_range(table) && committed < held) {
        held = committed; // Large gaps were given back.
    }
    return held == 0 ? 0.0 : 1.0 - (double)table->live_grains / (double)held;
}

static size_t bytes_of(uint32_t grains) {
    return (size_t)grains << FA__GRAIN_SHIFT;
}

static bool can_move(const fa__block_record *record) {
    return record->pins == 0 && record->is_wall == 0;
}

// Whether the step has bytes left for a block. The first one may be larger than all of it.
static bool step_allows(const compact_step *step, uint32_t grains) {
    size_t moved = step->out->moved_bytes;
    return moved == 0 || (moved <= step->max_bytes && bytes_of(grains) <= step->max_bytes - moved);
}

// Moves a block to a spot. The spot may overlap the place where it is. `moved` is called last: it
// may change everything.
static void move_block(fa__block_table *table, compact_step *step, uint32_t record,
                       const fa__spot *spot) {
    uint32_t grains = fa__record(table, record)->grains;
    fa_block_entry *entry = fa__entry(table, fa__record(table, record)->index);
    void *from = entry->ptr;
    memmove(spot->ptr, from, bytes_of(grains));
    fa__place_shift(table, record, spot, grains);
    entry->ptr = spot->ptr;
    step->out->moved_bytes += bytes_of(grains);
    step->out->moved_blocks += 1;
    if (table->moved != NULL) {
        table->moved(table->user, (fa_block){entry->value}, from, spot->ptr);
    }
}

// Commits the spot and moves. False ends the step.
static bool move_to(fa__block_table *table, compact_step *step, uint32_t record,
                    const fa__spot *spot) {
    uint32_t grains = fa__record(table, record)->grains;
    if (!step_allows(step, grains)) {
        return false;
    }
    step->refusal = fa__place_commit(table, spot->offset, grains);
    if (step->refusal != FA__REFUSED_NOT) {
        return false;
    }
    move_block(table, step, record, spot);
    return true;
}

static void take_look(compact_step *step) {
    step->looks_left -= step->looks_left > 0 ? 1 : 0;
}

// The largest of the highest blocks that fits into the gap behind `owner`; FA__NOWHERE: none does.
// Blocks that cannot move are passed for good.
static uint32_t best_for_gap(fa__block_table *table, compact_step *step, uint32_t owner) {
    uint32_t gap = fa__gap_behind(table, owner);
    uint32_t end = fa__record(table, fa__record(table, owner)->next)->offset;
    uint32_t best = FA__NOWHERE;
    uint32_t best_grains = 0;
    uint32_t record = table->high;
    for (unsigned i = 0; i < CANDIDATES && record != FA__NOWHERE; i++) {
        const fa__block_record *self = fa__record(table, record);
        if (self->offset <= end) {
            break; // The two ends have met.
        }
        uint32_t pad = 0;
        (void)fa__place_behind(table, owner, self->align, &pad);
        bool fits = self->grains <= gap && pad <= gap - self->grains;
        take_look(step);
        if (!can_move(self)) {
            table->high = record == table->high ? self->prev : table->high;
        } else if (fits && record == table->high && gap / ROOMY >= self->grains) {
            return record; // The table becomes shorter, and there is room for tight fits later.
        } else if (fits && self->grains > best_grains) {
            best = record;
            best_grains = self->grains;
        }
        record = self->prev;
    }
    return best;
}

// True when a gap in front of a block may stay: little is lost, or much would be moved.
static bool may_leave(const fa__block_table *table, const fa__block_record *block, uint32_t won) {
    uint64_t passed = (uint64_t)block->offset + block->grains;
    return table->left_grains + won <= passed / LEFT_SHARE;
}

// Deals with the gap in front of the cursor, and goes on when it is closed. False ends the step.
static bool compact_next(fa__block_table *table, compact_step *step) {
    uint32_t record = table->cursor;
    take_look(step);
    if (record == FA__NOWHERE) {
        table->is_compacting = false;
        return true;
    }
    const fa__block_record *self = fa__record(table, record);
    uint32_t owner = self->prev;
    uint32_t pad = 0;
    if (fa__gap_behind(table, owner) == 0) {
        table->cursor = self->next;
        return true;
    }
    uint32_t best = best_for_gap(table, step, owner);
    if (best != FA__NOWHERE) {
        const fa__spot spot = fa__place_behind(table, owner, fa__record(table, best)->align, &pad);
        return move_to(table, step, best, &spot);
    }
    if (can_move(self)) {
        const fa__spot spot = fa__place_behind(table, owner, self->align, &pad);
        uint32_t won = self->offset - spot.offset;
        if (won != 0 && !may_leave(table, self, won)) {
            return move_to(table, step, record, &spot); // And then there is no gap.
        }
        table->left_grains += won;
    }
    table->cursor = self->next;
    return true;
}

fa__refusal fa__compact_step(fa__block_table *table, size_t max_bytes, fa_defragment_result *out) {
    compact_step step = {
        .max_bytes = max_bytes, .looks_left = max_bytes / BYTES_A_LOOK + LOOKS_MIN, .out = out};
    if (!table->is_compacting && table->is_dirty) {
        table->is_dirty = false;
        table->is_compacting = true;
        table->left_grains = 0;
        table->cursor = fa__record(table, 0)->next;
        table->high = table->last;
    }
    bool has_run = table->is_compacting;
    while (table->is_compacting && step.looks_left > 0 && compact_next(table, &step)) {
    }
    if (has_run && !table->is_compacting) {
        fa__place_trim(table);
    } else {
        fa__place_trim_end(table);
    }
    out->is_done = !table->is_compacting && !table->is_dirty;
    return step.refusal;
}

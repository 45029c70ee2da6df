// Blocks of a table: allocated, freed, resolved, pinned, resized.
//
// Every call looks the handle up, then asks whoever must agree (budget, memory), and changes things
// last. A shared table's lock is held in between, never while something is charged or reported:
// both may call functions of the program, which may use the table.
#include "movable.h"

#include "../core/objects.h"

#include <string.h>

// Places that wait before one is used again, so that generations last and stale handles are found.
#define QUEUE_LEAST 64u
// What lies behind blocks and in freed ones while FA_CHECK_BLOCKS is on.
#define GUARD_BYTE 0xFBu
#define FREED_BYTE 0xDD

static size_t bytes_of(uint64_t grains) {
    return (size_t)grains << FA__GRAIN_SHIFT;
}

// Failures ----------------------------------------------------------------------------------------

static fa_result fail_stale(const fa__block_table *table) {
    return fa__table_fail(table, FA__CODE_STALE_HANDLE, FA_ERR_STALE, 0, 0);
}

static void fail_stale_quietly(const fa__block_table *table) {
    fa__fail(&(fa__failure){.context = table->context,
                            .code = FA__CODE_STALE_HANDLE,
                            .result = FA_ERR_STALE,
                            .tag = {table->tag->id},
                            .where = table->name,
                            .quiet = true});
}

static fa_result fail_pinned(const fa__block_table *table, const void *ptr) {
    return fa__fail(&(fa__failure){.context = table->context,
                                   .code = FA__CODE_PINNED,
                                   .result = FA_ERR_BUSY,
                                   .tag = {table->tag->id},
                                   .where = table->name,
                                   .ptr = ptr});
}

// A place whose generations were used up by this free.
static void tell_retired(const fa__block_table *table) {
    fa__table_fail(table, FA__CODE_SLOT_RETIRED, FA_OK, 0, 0);
}

// Places for handles ------------------------------------------------------------------------------

// The entry of a block that is there, NULL of one that is not.
static fa_block_entry *find(const fa__block_table *table, fa_block block) {
    uint32_t index = (uint32_t)block.value & (FA_BLOCK_MAX - 1);
    if (index >= table->index_count) {
        return NULL;
    }
    fa_block_entry *entry = fa__entry(table, index);
    return entry->value == block.value && entry->ptr != NULL ? entry : NULL;
}

static uint32_t record_of(const fa__block_table *table, fa_block block) {
    return *fa__slot(table, (uint32_t)block.value & (FA_BLOCK_MAX - 1));
}

// Makes room for twice as many entries. Those that are not used yet are good for no handle, also
// where memory comes with what an older table left in it.
static bool grow_entries(fa__block_table *table, fa__denial *denial) {
    size_t before = table->entry_count;
    size_t page = table->pages->backend.page_size;
    size_t count = before == 0 ? page / sizeof(fa_block_entry) : 2 * before;
    if (!fa__growing_reach(table, &table->entries, count * sizeof(fa_block_entry), denial)) {
        return false;
    }
    fa_block_entry *entries = fa__entry(table, 0);
    if (!fa__growing_is_zeroed(table)) {
        memset(&entries[before], 0, (count - before) * sizeof *entries);
    }
    table->entry_count = (uint32_t)count;
    if (!table->is_shared) {
        table->table = (fa_table){entries, (uint32_t)(count - 1)};
    }
    return true;
}

// Makes sure that there is a place for one more handle.
static fa__refusal reserve_index(fa__block_table *table) {
    bool is_full = table->index_count >= table->max_blocks;
    if (table->queue_count > (is_full ? 0 : QUEUE_LEAST)) {
        return FA__REFUSED_NOT;
    }
    if (is_full) {
        return FA__REFUSED_BY_COUNT;
    }
    fa__denial denial = FA__DENIED_BY_BACKEND;
    size_t slots = ((size_t)table->index_count + 1) * sizeof(uint32_t);
    if (fa__growing_reach(table, &table->slots, slots, &denial) &&
        (table->index_count < table->entry_count || grow_entries(table, &denial))) {
        return FA__REFUSED_NOT;
    }
    if (table->queue_count > 0) {
        return FA__REFUSED_NOT; // Sooner than it should be, but better than none.
    }
    return denial == FA__DENIED_BY_LIMIT ? FA__REFUSED_BY_LIMIT : FA__REFUSED_BY_BACKEND;
}

// Takes a place for a handle; there is one.
static uint32_t take_index(fa__block_table *table) {
    bool is_full = table->index_count >= table->max_blocks;
    size_t slots = table->slots.committed / sizeof(uint32_t);
    bool has_new =
        !is_full && table->index_count < table->entry_count && table->index_count < slots;
    if (table->queue_count > (has_new ? QUEUE_LEAST : 0)) {
        uint32_t index = table->queue_first;
        table->queue_first = *fa__slot(table, index);
        table->queue_count -= 1;
        return index;
    }
    uint32_t index = table->index_count;
    table->index_count += 1;
    *fa__entry(table, index) =
        (fa_block_entry){.ptr = NULL, .value = (uint64_t)table->first_generation << 32 | index};
    return index;
}

// Gives a place back with its next generation. True when it had no more: it is retired.
static bool give_index(fa__block_table *table, uint32_t index) {
    fa_block_entry *entry = fa__entry(table, index);
    entry->ptr = NULL;
    if (entry->value >> 32 == UINT32_MAX) {
        entry->value = fa__no_entry.value;
        table->retired += 1;
        return true;
    }
    entry->value = ((entry->value >> 32) + 1) << 32 | index;
    if (table->queue_count == 0) {
        table->queue_first = index;
    } else {
        *fa__slot(table, table->queue_last) = index;
    }
    table->queue_last = index;
    table->queue_count += 1;
    return false;
}

fa_block fa__table_age(fa_table *table, fa_block block, uint32_t generation) {
    fa__block_table *self = fa__table_of(table);
    fa_block_entry *entry = find(self, block);
    entry->value = (uint64_t)generation << 32 | (uint32_t)entry->value;
    self->top_generation = generation > self->top_generation ? generation : self->top_generation;
    return (fa_block){entry->value};
}

// Blocks ------------------------------------------------------------------------------------------

typedef struct request {
    size_t size;
    uint32_t grains;
    unsigned align; // As a power of two; at least that of a granule.
} request;

// Bytes behind each block that nobody may write to, while FA_CHECK_BLOCKS is on.
static size_t guard_of(const fa__block_table *table) {
    return table->is_checked ? FA__GRAIN : 0;
}

// Checks size and alignment. FA_OK fills `out`.
static fa_result check_request(const fa__block_table *table, size_t size, size_t align,
                               request *out) {
    if (size == 0) {
        return fa__table_fail(table, FA__CODE_BAD_SIZE, FA_ERR_INVALID, 0, 0);
    }
    if (align == 0 || (align & (align - 1)) != 0 || align > FA_ALIGNMENT_MAX) {
        return fa__table_fail(table, FA__CODE_BAD_ALIGNMENT, FA_ERR_INVALID, size,
                              FA_ALIGNMENT_MAX);
    }
    if (size > SIZE_MAX / 4 || (size - 1) >> FA__GRAIN_SHIFT >= table->grains_max) {
        return fa__table_fail_refused(table, FA__REFUSED_BY_RANGE, size);
    }
    unsigned power = FA__GRAIN_SHIFT;
    while ((size_t)1 << power < align) {
        power += 1;
    }
    size_t grains = (size + guard_of(table) + FA__GRAIN - 1) >> FA__GRAIN_SHIFT;
    *out = (request){size, (uint32_t)grains, power};
    return FA_OK;
}

static size_t size_of(const fa__block_table *table, const fa__block_record *record) {
    return bytes_of(record->grains) - guard_of(table) - record->slack;
}

static void set_size(const fa__block_table *table, fa__block_record *record, size_t size) {
    record->slack = (unsigned)(bytes_of(record->grains) - size) & (FA__GRAIN - 1);
    if (table->is_checked) {
        char *end = (char *)fa__entry(table, record->index)->ptr + size;
        memset(end, GUARD_BYTE, bytes_of(record->grains) - size);
    }
}

// Whether nobody has written behind a block.
static bool is_intact(const fa__block_table *table, const fa__block_record *record) {
    size_t size = size_of(table, record);
    const unsigned char *ptr = fa__entry(table, record->index)->ptr;
    for (size_t at = size; table->is_checked && at < bytes_of(record->grains); at++) {
        if (ptr[at] != GUARD_BYTE) {
            return false;
        }
    }
    return true;
}

static void tell_overrun(const fa__block_table *table, const void *ptr) {
    fa__fail(&(fa__failure){.context = table->context,
                            .code = FA__CODE_CORRUPTION,
                            .result = FA_OK,
                            .tag = {table->tag->id},
                            .where = table->name,
                            .ptr = ptr});
}

// Finds room for everything, then takes it. The bytes are charged.
static fa__refusal block_make(fa__block_table *table, const request *asked, fa_block *out) {
    fa__refusal refusal = reserve_index(table);
    if (refusal == FA__REFUSED_NOT) {
        refusal = fa__place_reserve_records(table);
    }
    fa__spot spot;
    if (refusal == FA__REFUSED_NOT) {
        refusal = fa__place_find(table, asked->grains, asked->align, &spot);
    }
    if (refusal != FA__REFUSED_NOT) {
        return refusal;
    }
    uint32_t index = take_index(table);
    fa_block_entry *entry = fa__entry(table, index);
    uint32_t number = fa__place_add(table, &spot, asked->grains);
    fa__block_record *record = fa__record(table, number);
    record->index = index;
    record->align = asked->align & 31u;
    *fa__slot(table, index) = number;
    entry->ptr = spot.ptr;
    set_size(table, record, asked->size);
    entry->value |= (uint64_t)table->number << FA__BLOCK_INDEX_BITS;
    uint32_t generation = (uint32_t)(entry->value >> 32);
    table->top_generation = generation > table->top_generation ? generation : table->top_generation;
    *out = (fa_block){entry->value};
    return FA__REFUSED_NOT;
}

// Charges the table's tag through the calling thread. False after a report.
static bool charge(const fa__block_table *table, size_t bytes) {
    fa__thread *thread = fa__thread_get(table->context);
    fa__account *account =
        thread == NULL ? NULL : fa__object_of(thread, FA__HOLDER_HEAP, table->tag->id);
    return account != NULL && fa__object_charge(thread, account, bytes, table->name);
}

void fa__table_uncharge(const fa__block_table *table, size_t bytes) {
    fa__thread *thread = fa__thread_get(table->context);
    fa__account *account =
        thread == NULL ? NULL : fa__object_of(thread, FA__HOLDER_HEAP, table->tag->id);
    if (account == NULL) {
        fa__object_uncharge_orphan(table->context, FA__HOLDER_HEAP, table->tag->id, bytes);
        return;
    }
    fa__object_uncharge(account, bytes);
}

// Counts calls that succeeded; the calling thread has charged before.
static void count(const fa__block_table *table, bool is_alloc) {
    fa__thread *thread = fa__thread_find(table->context);
    if (thread != NULL && is_alloc) {
        fa__object_count_alloc(fa__object_of(thread, FA__HOLDER_HEAP, table->tag->id));
    } else if (thread != NULL) {
        fa__object_count_free(thread);
    }
}

// Counts a refusal by memory; those by budgets are counted where they are refused.
static fa_result refuse(const fa__block_table *table, fa__refusal refusal, size_t bytes) {
    fa__thread *thread = fa__thread_find(table->context);
    fa__refusal_count(thread, fa__object_of(thread, FA__HOLDER_HEAP, table->tag->id));
    return fa__table_fail_refused(table, refusal, bytes);
}

fa_block fa_block_alloc(fa_table *table, size_t size, size_t align) {
    fa__block_table *self = fa__table_of(table);
    request asked = {0};
    if (check_request(self, size, align, &asked) != FA_OK ||
        !charge(self, bytes_of(asked.grains))) {
        return FA_BLOCK_NONE;
    }
    fa_block block = FA_BLOCK_NONE;
    fa__table_enter(self);
    fa__refusal refusal = block_make(self, &asked, &block);
    fa__table_leave(self);
    if (refusal != FA__REFUSED_NOT) {
        fa__table_uncharge(self, bytes_of(asked.grains));
        refuse(self, refusal, size);
        return FA_BLOCK_NONE;
    }
    count(self, true);
    return block;
}

fa_result fa_block_free(fa_table *table, fa_block block) {
    if (block.value == 0) {
        return FA_OK;
    }
    fa__block_table *self = fa__table_of(table);
    fa__table_enter(self);
    const fa_block_entry *entry = find(self, block);
    if (entry == NULL) {
        fa__table_leave(self);
        return fail_stale(self);
    }
    uint32_t number = record_of(self, block);
    fa__block_record *record = fa__record(self, number);
    if (record->pins != 0) {
        const void *ptr = entry->ptr;
        fa__table_leave(self);
        return fail_pinned(self, ptr);
    }
    size_t bytes = bytes_of(record->grains);
    uint32_t index = record->index;
    void *ptr = entry->ptr;
    bool was_intact = is_intact(self, record);
    if (self->is_checked) {
        memset(ptr, FREED_BYTE, bytes);
    }
    fa__place_remove(self, number);
    bool is_retired = give_index(self, index);
    fa__table_leave(self);
    fa__table_uncharge(self, bytes);
    count(self, false);
    if (!was_intact) {
        tell_overrun(self, ptr);
    }
    if (is_retired) {
        tell_retired(self);
    }
    return FA_OK;
}

FA_COLD void *fa_block_resolve_slow(const fa_table *table, fa_block block) {
    fa__block_table *self = fa__table_of(table);
    if (block.value == 0) {
        fail_stale_quietly(self);
        return NULL;
    }
    void *ptr = NULL;
    if (self->is_shared) {
        fa__table_enter(self);
        const fa_block_entry *entry = find(self, block);
        ptr = entry == NULL ? NULL : entry->ptr;
        fa__table_leave(self);
    }
    if (ptr == NULL) {
        fail_stale_quietly(self);
    }
    return ptr;
}

void *fa_block_pin(fa_table *table, fa_block block) {
    fa__block_table *self = fa__table_of(table);
    fa__table_enter(self);
    const fa_block_entry *entry = find(self, block);
    fa__block_record *record = entry == NULL ? NULL : fa__record(self, record_of(self, block));
    bool is_full = record != NULL && record->pins == FA_BLOCK_PINS_MAX;
    void *ptr = NULL;
    if (record != NULL && !is_full) {
        ptr = entry->ptr;
        self->pinned_blocks += record->pins == 0 ? 1 : 0;
        record->pins = (record->pins + 1) & FA_BLOCK_PINS_MAX;
    }
    fa__table_leave(self);
    if (is_full) {
        fa__table_fail(self, FA__CODE_TOO_MANY, FA_ERR_LIMIT, 0, FA_BLOCK_PINS_MAX);
    } else if (ptr == NULL) {
        fail_stale(self);
    }
    return ptr;
}

fa_result fa_block_unpin(fa_table *table, fa_block block) {
    fa__block_table *self = fa__table_of(table);
    fa__table_enter(self);
    bool is_there = find(self, block) != NULL;
    fa__block_record *record = is_there ? fa__record(self, record_of(self, block)) : NULL;
    bool is_pinned = is_there && record->pins != 0;
    if (is_pinned) {
        record->pins = (record->pins - 1) & FA_BLOCK_PINS_MAX;
        self->pinned_blocks -= record->pins == 0 ? 1 : 0;
        self->is_dirty = self->is_dirty || record->pins == 0;
    }
    fa__table_leave(self);
    if (!is_there) {
        return fail_stale(self);
    }
    return is_pinned ? FA_OK : fa__fail_argument(self->context, "fa_block_unpin: no pin");
}

size_t fa_block_size(fa_table *table, fa_block block) {
    fa__block_table *self = fa__table_of(table);
    size_t size = 0;
    fa__table_enter(self);
    if (find(self, block) != NULL) {
        const fa__block_record *record = fa__record(self, record_of(self, block));
        size = size_of(self, record);
    }
    fa__table_leave(self);
    if (size == 0) {
        fail_stale_quietly(self);
    }
    return size;
}

// Resizing ----------------------------------------------------------------------------------------

// Gives a block another length, where it is or elsewhere. The bytes are charged.
static fa__refusal block_resize(fa__block_table *table, uint32_t number, const request *asked) {
    fa__block_record *record = fa__record(table, number);
    fa__refusal refusal = fa__place_resize(table, number, asked->grains);
    if (refusal == FA__REFUSED_NOT) {
        set_size(table, record, asked->size);
        return refusal;
    }
    if (record->pins != 0) {
        return refusal;
    }
    // On chunks a segment may be added, which takes a record for its wall.
    refusal = fa__place_reserve_records(table);
    fa__spot spot;
    record = fa__record(table, number); // They may stand elsewhere now.
    if (refusal == FA__REFUSED_NOT) {
        refusal = fa__place_find(table, asked->grains, record->align, &spot);
    }
    if (refusal != FA__REFUSED_NOT) {
        return refusal;
    }
    fa_block_entry *entry = fa__entry(table, record->index);
    memcpy(spot.ptr, entry->ptr, size_of(table, record));
    fa__place_shift(table, number, &spot, asked->grains);
    entry->ptr = spot.ptr;
    set_size(table, record, asked->size);
    table->is_dirty = true;
    return FA__REFUSED_NOT;
}

// One try. `is_same` false: another thread, or a budget's callback, has changed the block since its
// length was `before`.
static fa_result try_resize(fa__block_table *table, fa_block block, const request *asked,
                            uint32_t before, bool *is_same) {
    size_t more = asked->grains > before ? bytes_of(asked->grains - before) : 0;
    if (more != 0 && !charge(table, more)) {
        return fa_last_error()->result;
    }
    fa__refusal refusal = FA__REFUSED_NOT;
    bool is_pinned = false;
    bool was_intact = true;
    fa__table_enter(table);
    const fa_block_entry *entry = find(table, block);
    void *from = entry == NULL ? NULL : entry->ptr;
    *is_same = entry != NULL && fa__record(table, record_of(table, block))->grains == before;
    if (*is_same) {
        uint32_t number = record_of(table, block);
        is_pinned = fa__record(table, number)->pins != 0;
        was_intact = is_intact(table, fa__record(table, number));
        refusal = block_resize(table, number, asked);
        void *to = fa__entry(table, (uint32_t)block.value & (FA_BLOCK_MAX - 1))->ptr;
        if (to != from && table->moved != NULL) {
            table->moved(table->user, block, from, to);
        }
    }
    fa__table_leave(table);
    if (!*is_same || refusal != FA__REFUSED_NOT) {
        fa__table_uncharge(table, more);
    } else if (asked->grains < before) {
        fa__table_uncharge(table, bytes_of(before - asked->grains));
    }
    if (!*is_same) {
        return FA_OK;
    }
    if (!was_intact) {
        tell_overrun(table, from);
    }
    if (refusal == FA__REFUSED_BY_RANGE && is_pinned) {
        return fail_pinned(table, from);
    }
    return refusal == FA__REFUSED_NOT ? FA_OK : refuse(table, refusal, asked->size);
}

fa_result fa_block_resize(fa_table *table, fa_block block, size_t new_size) {
    fa__block_table *self = fa__table_of(table);
    request asked = {0};
    fa_result result = check_request(self, new_size, 1, &asked);
    if (result != FA_OK) {
        return result;
    }
    for (;;) {
        fa__table_enter(self);
        bool is_there = find(self, block) != NULL;
        uint32_t grains = is_there ? fa__record(self, record_of(self, block))->grains : 0;
        fa__table_leave(self);
        if (!is_there) {
            return fail_stale(self);
        }
        bool is_same = true;
        result = try_resize(self, block, &asked, grains, &is_same);
        if (is_same) {
            return result;
        }
    }
}

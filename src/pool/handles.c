// Tables of movable blocks: made, ended, measured, compacted. movable.h has the picture.
//
// A context numbers its tables, and the number is part of every handle. Generations of a number's
// next table begin above all that were ever handed out under it: so no handle of a table that is
// gone comes to mean a block of a new one.
#include "movable.h"

#include "../core/objects.h"

#include <string.h>

#define RESERVE_MAX ((uint64_t)64 << 30)
// A number with fewer generations left is not used again.
#define GENERATIONS_LEAST (1u << 16)

// What a context keeps about its tables.
typedef struct registry {
    fa__block_table *tables;
    fa__block_table *spare;            // Records of those that are gone.
    uint32_t floors[FA_TABLE_MAX + 1]; // By number: the highest generation ever handed out.
    bool is_taken[FA_TABLE_MAX + 1];
} registry;

const fa_block_entry fa__no_entry = {.ptr = NULL, .value = 1};

static size_t bytes_of(uint64_t grains) {
    return (size_t)grains << FA__GRAIN_SHIFT;
}

// Failures ----------------------------------------------------------------------------------------

fa_result fa__table_fail(const fa__block_table *table, fa__code code, fa_result result,
                         size_t bytes, size_t limit) {
    return fa__fail(&(fa__failure){.context = table->context,
                                   .code = code,
                                   .result = result,
                                   .bytes = bytes,
                                   .limit = limit,
                                   .tag = {table->tag->id},
                                   .where = table->name});
}

fa_result fa__table_fail_refused(const fa__block_table *table, fa__refusal refusal, size_t bytes) {
    switch (refusal) {
    case FA__REFUSED_BY_LIMIT:
        return fa__table_fail(table, FA__CODE_MEMORY_LIMIT, FA_ERR_LIMIT, bytes,
                              table->context->config.memory_limit);
    case FA__REFUSED_BY_RANGE:
        return fa__table_fail(table, FA__CODE_EXHAUSTED, FA_ERR_OUT_OF_MEMORY, bytes,
                              bytes_of(table->grains_max));
    case FA__REFUSED_BY_COUNT:
        return fa__table_fail(table, FA__CODE_TOO_MANY, FA_ERR_LIMIT, bytes, table->max_blocks);
    default:
        return fa__table_fail(table, FA__CODE_OS_REFUSED, FA_ERR_OUT_OF_MEMORY, bytes, 0);
    }
}

// The registry ------------------------------------------------------------------------------------

// The free number with the most generations left; 0: there is none.
static uint32_t best_number(const registry *all) {
    uint32_t best = 0;
    for (uint32_t i = 1; i <= FA_TABLE_MAX; i++) {
        bool is_usable = !all->is_taken[i] && all->floors[i] < UINT32_MAX - GENERATIONS_LEAST;
        if (is_usable && (best == 0 || all->floors[i] < all->floors[best])) {
            best = i;
        }
    }
    return best;
}

// A zeroed record, kept ones first.
static fa__block_table *take_record(fa_context *ctx, registry *all, fa__denial *denial) {
    fa__block_table *table = all->spare;
    if (table == NULL) {
        return fa__meta_alloc(ctx->pages, sizeof *table, denial);
    }
    all->spare = table->next;
    return memset(table, 0, sizeof *table);
}

// A record with a number, in the list. NULL: `refusal` says why.
static fa__block_table *enlist(fa_context *ctx, fa__refusal *refusal) {
    fa__denial denial = FA__DENIED_BY_BACKEND;
    fa__block_table *table = NULL;
    fa__os_mutex_lock(&ctx->lock);
    registry *all = ctx->block_tables;
    if (all == NULL) {
        all = fa__meta_alloc(ctx->pages, sizeof *all, &denial);
        ctx->block_tables = all;
    }
    uint32_t number = all == NULL ? 0 : best_number(all);
    if (number != 0) {
        table = take_record(ctx, all, &denial);
    }
    if (table != NULL) {
        all->is_taken[number] = true;
        table->number = number;
        table->first_generation = all->floors[number] + 1;
        table->top_generation = all->floors[number];
        table->next = all->tables;
        if (table->next != NULL) {
            table->next->prev = table;
        }
        all->tables = table;
    }
    fa__os_mutex_unlock(&ctx->lock);
    bool is_limit = denial == FA__DENIED_BY_LIMIT;
    *refusal = is_limit ? FA__REFUSED_BY_LIMIT : FA__REFUSED_BY_BACKEND;
    *refusal = all != NULL && number == 0 ? FA__REFUSED_BY_COUNT : *refusal;
    return table;
}

static void delist(fa__block_table *table) {
    fa_context *ctx = table->context;
    fa__os_mutex_lock(&ctx->lock);
    registry *all = ctx->block_tables;
    if (table->prev != NULL) {
        table->prev->next = table->next;
    } else {
        all->tables = table->next;
    }
    if (table->next != NULL) {
        table->next->prev = table->prev;
    }
    all->floors[table->number] = table->top_generation;
    all->is_taken[table->number] = false;
    table->next = all->spare;
    all->spare = table;
    fa__os_mutex_unlock(&ctx->lock);
}

// Making and ending -------------------------------------------------------------------------------

static const char *bad_field(fa_context *ctx, const fa_table_desc *desc) {
    if (fa__tag_get(ctx, desc->tag) == NULL) {
        return "tag";
    }
    const uint64_t reserve = desc->reserve;
    if (reserve > RESERVE_MAX || reserve > SIZE_MAX / 4) {
        return "reserve";
    }
    return desc->max_blocks > FA_BLOCK_MAX ? "max_blocks" : NULL;
}

static fa_result fail_create(fa_context *ctx, fa__refusal refusal, const fa_table_desc *desc) {
    fa__failure failure = {.context = ctx,
                           .code = FA__CODE_OS_REFUSED,
                           .result = FA_ERR_OUT_OF_MEMORY,
                           .bytes = desc->reserve,
                           .tag = desc->tag,
                           .where = "fa_table_create"};
    if (refusal == FA__REFUSED_BY_LIMIT) {
        failure.code = FA__CODE_MEMORY_LIMIT;
        failure.result = FA_ERR_LIMIT;
        failure.limit = ctx->config.memory_limit;
    } else if (refusal == FA__REFUSED_BY_COUNT) {
        failure.code = FA__CODE_TOO_MANY;
        failure.result = FA_ERR_LIMIT;
        failure.limit = FA_TABLE_MAX;
    }
    return fa__fail(&failure);
}

static void copy_name(char *to, const char *from) {
    size_t length = strlen(from);
    length = length < FA__NAME_BYTES - 1 ? length : FA__NAME_BYTES - 1;
    memcpy(to, from, length);
    to[length] = '\0';
}

static size_t destroy_all(fa_context *ctx);

static const fa__tier block_tier = {.context_destroy = destroy_all};

fa_result fa_table_create(fa_context *ctx, const fa_table_desc *desc, fa_table **out) {
    if (out == NULL) {
        return fa__fail_argument(ctx, "out");
    }
    *out = NULL;
    const fa_table_desc wanted = desc == NULL ? (fa_table_desc){0} : *desc;
    const char *field = bad_field(ctx, &wanted);
    if (field != NULL) {
        return fa__fail(&(fa__failure){
            .context = ctx, .code = FA__CODE_BAD_CONFIG, .result = FA_ERR_INVALID, .where = field});
    }
    fa__tier_register(ctx, FA__TIER_BLOCKS, &block_tier);
    fa__refusal refusal = FA__REFUSED_NOT;
    fa__block_table *table = enlist(ctx, &refusal);
    if (table == NULL) {
        return fail_create(ctx, refusal, &wanted);
    }
    table->context = ctx;
    table->pages = ctx->pages;
    table->tag = fa__tag_get(ctx, wanted.tag);
    table->moved = wanted.moved;
    table->user = wanted.user;
    table->is_shared = wanted.shared;
    table->is_checked = (fa__load(&ctx->checks) & FA_CHECK_BLOCKS) != 0;
    table->table.entries = &fa__no_entry;
    table->cursor = FA__NOWHERE;
    copy_name(table->name, wanted.name == NULL ? "table" : wanted.name);
    fa__denial denial = FA__DENIED_BY_BACKEND;
    if (table->is_shared && !fa__os_mutex_init(&table->lock)) {
        delist(table);
        return fail_create(ctx, FA__REFUSED_BY_BACKEND, &wanted);
    }
    if (!fa__place_open(table, wanted.reserve, wanted.max_blocks, &denial)) {
        if (table->is_shared) {
            fa__os_mutex_destroy(&table->lock);
        }
        delist(table);
        bool is_limit = denial == FA__DENIED_BY_LIMIT;
        return fail_create(ctx, is_limit ? FA__REFUSED_BY_LIMIT : FA__REFUSED_BY_BACKEND, &wanted);
    }
    *out = &table->table;
    return FA_OK;
}

// Reports what is live. Returns FA_ERR_BUSY when something is.
static fa_result tell_live(const fa__block_table *table) {
    if (table->live_blocks == 0) {
        return FA_OK;
    }
    return fa__fail(&(fa__failure){.context = table->context,
                                   .code = FA__CODE_LIVE_AT_END,
                                   .result = FA_ERR_BUSY,
                                   .bytes = bytes_of(table->live_grains),
                                   .tag = {table->tag->id},
                                   .where = table->name,
                                   .count = table->live_blocks});
}

// Everything but the accounts.
static void table_end(fa__block_table *table) {
    fa__place_close(table);
    table->table = (fa_table){&fa__no_entry, 0}; // Who resolves after the end gets NULL.
    table->index_count = 0;
    if (table->is_shared) {
        fa__os_mutex_destroy(&table->lock);
        table->is_shared = false;
    }
}

fa_result fa_table_destroy(fa_table *table) {
    if (table == NULL) {
        return FA_OK;
    }
    fa__block_table *self = fa__table_of(table);
    fa_result result = tell_live(self);
    fa__table_uncharge(self, bytes_of(self->live_grains));
    table_end(self);
    delist(self);
    return result;
}

static size_t destroy_all(fa_context *ctx) {
    registry *all = ctx->block_tables;
    size_t live = 0;
    for (fa__block_table *table = all == NULL ? NULL : all->tables; table != NULL;
         table = table->next) {
        fa__fail(&(fa__failure){.context = ctx,
                                .code = FA__CODE_LIVE_AT_END,
                                .result = FA_ERR_BUSY,
                                .bytes = bytes_of(table->live_grains),
                                .tag = {table->tag->id},
                                .where = table->name,
                                .count = table->live_blocks});
        table_end(table);
        live += 1;
    }
    ctx->block_tables = NULL;
    return live;
}

// Measuring and compacting ------------------------------------------------------------------------

static size_t committed_bytes(const fa__block_table *table) {
    size_t data = table->data_committed;
    if (!fa__has_range(table)) {
        data = bytes_of(table->mapped_grains);
    }
    return data + fa__place_overhead(table);
}

static size_t reserved_bytes(const fa__block_table *table) {
    return fa__has_range(table) ? table->range_bytes : committed_bytes(table);
}

static size_t largest_gap(const fa__block_table *table) {
    for (uint32_t bin = FA__GAP_BINS; bin > 0; bin--) {
        uint32_t owner = table->bins[bin - 1];
        uint32_t largest = 0;
        for (; owner != FA__NOWHERE; owner = fa__record(table, owner)->bin_next) {
            uint32_t gap = fa__gap_behind(table, owner);
            largest = gap > largest ? gap : largest;
        }
        if (largest != 0) {
            return bytes_of(largest);
        }
    }
    return 0;
}

fa_result fa_table_stats(fa_table *table, fa_table_stats_result *out) {
    fa__block_table *self = fa__table_of(table);
    if (out == NULL) {
        return fa__fail_argument(self->context, "out");
    }
    fa__table_enter(self);
    *out = (fa_table_stats_result){.live_bytes = bytes_of(self->live_grains),
                                   .live_blocks = self->live_blocks,
                                   .pinned_blocks = self->pinned_blocks,
                                   .used_span_bytes = bytes_of(fa__span_grains(self)),
                                   .free_bytes = bytes_of(self->gap_grains),
                                   .largest_free = largest_gap(self),
                                   .committed_bytes = committed_bytes(self),
                                   .overhead_bytes = fa__place_overhead(self),
                                   .reserved_bytes = reserved_bytes(self),
                                   .retired = self->retired,
                                   .fragmentation = fa__compact_fragmentation(self),
                                   .name = self->name};
    fa__table_leave(self);
    return FA_OK;
}

fa_result fa_table_defragment(fa_table *table, size_t max_bytes, fa_defragment_result *out) {
    fa__block_table *self = fa__table_of(table);
    fa_defragment_result done = {0};
    fa__table_enter(self);
    done.fragmentation_before = fa__compact_fragmentation(self);
    size_t before = committed_bytes(self);
    fa__refusal refusal = fa__compact_step(self, max_bytes, &done);
    size_t after = committed_bytes(self);
    done.returned_bytes = before > after ? before - after : 0;
    done.fragmentation_after = fa__compact_fragmentation(self);
    fa__table_leave(self);
    if (out != NULL) {
        *out = done;
    }
    return refusal == FA__REFUSED_NOT ? FA_OK : fa__table_fail_refused(self, refusal, 0);
}

fa_result fa_table_trim(fa_table *table) {
    fa__block_table *self = fa__table_of(table);
    fa__table_enter(self);
    fa__place_trim(self);
    fa__table_leave(self);
    return FA_OK;
}

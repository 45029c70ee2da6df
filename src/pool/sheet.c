// Columns that grow together: see sheet.h.
//
// Invariants: capacity elements have memory in every column; a column's committed bytes are whole
// pages; what is charged is what the owner charged, uncharged when the sheet ends.
#include "sheet.h"

#include "../core/objects.h"

#include <stdio.h>
#include <string.h>

#define FIRST_STEPS ((size_t)1 << 20) // Up to here a column doubles, beyond it grows by half.

static size_t round_to(size_t size, size_t step) {
    return (size + (step - 1)) & ~(step - 1);
}

// Failing -----------------------------------------------------------------------------------------

static fa_result fail(fa__sheet *sheet, fa__code code, fa_result result, size_t bytes, size_t limit,
                      const char *where) {
    return fa__fail(&(fa__failure){.context = sheet->context,
                                   .code = code,
                                   .result = result,
                                   .bytes = bytes,
                                   .limit = limit,
                                   .tag = sheet->tag,
                                   .where = where});
}

fa_result fa__sheet_refuse(fa__sheet *sheet, fa__code code, fa_result result, size_t bytes,
                           size_t limit) {
    fa__thread *thread = fa__thread_find(sheet->context);
    fa__account *account =
        thread == NULL ? NULL : fa__object_of(thread, FA__HOLDER_POOL, sheet->tag.id);
    if (account != NULL) {
        fa__refusal_count(thread, account);
    }
    return fail(sheet, code, result, bytes, limit, sheet->name);
}

fa_result fa__sheet_refuse_memory(fa__sheet *sheet, size_t bytes, fa__denial denial) {
    if (denial == FA__DENIED_BY_LIMIT) {
        return fa__sheet_refuse(sheet, FA__CODE_MEMORY_LIMIT, FA_ERR_LIMIT, bytes,
                                sheet->context->config.memory_limit);
    }
    return fa__sheet_refuse(sheet, FA__CODE_OS_REFUSED, FA_ERR_OUT_OF_MEMORY, bytes, 0);
}

fa_result fa__sheet_fail(fa__sheet *sheet, fa__code code, fa_result result, const char *where) {
    return fail(sheet, code, result, 0, 0, where);
}

// Charging ----------------------------------------------------------------------------------------

bool fa__sheet_charge(fa__sheet *sheet, size_t bytes) {
    fa__thread *thread = fa__thread_get(sheet->context);
    fa__account *account =
        thread == NULL ? NULL : fa__object_of(thread, FA__HOLDER_POOL, sheet->tag.id);
    if (account == NULL || !fa__object_charge(thread, account, bytes, sheet->name)) {
        return false;
    }
    sheet->charged += bytes;
    return true;
}

void fa__sheet_uncharge(fa__sheet *sheet, size_t bytes) {
    sheet->charged -= bytes;
    fa__thread *thread = fa__thread_get(sheet->context);
    fa__account *account =
        thread == NULL ? NULL : fa__object_of(thread, FA__HOLDER_POOL, sheet->tag.id);
    if (account == NULL) {
        fa__object_uncharge_orphan(sheet->context, FA__HOLDER_POOL, sheet->tag.id, bytes);
    } else {
        fa__object_uncharge(account, bytes);
    }
}

// Columns -----------------------------------------------------------------------------------------

// Commits more of a column that lies in the range.
static bool commit_more(fa__sheet *sheet, fa__column *column, size_t bytes, fa__denial *denial) {
    fa__pages *pages = sheet->context->pages;
    size_t least = round_to(bytes, pages->backend.page_size) - column->committed;
    size_t step = column->committed < FIRST_STEPS ? column->committed : column->committed / 2;
    size_t left = column->reserved - column->committed;
    step = round_to(step > least ? step : least, pages->backend.page_size);
    step = step < left ? step : left;
    char *from = column->ptr + column->committed;
    if (!fa__pages_commit(pages, from, step, denial)) {
        step = least;
        if (!fa__pages_commit(pages, from, step, denial)) {
            return false;
        }
    }
    column->committed += step;
    return true;
}

// Moves a column to a larger chunk.
static bool move_to_chunk(fa__sheet *sheet, fa__column *column, size_t bytes, size_t used,
                          fa__denial *denial) {
    fa__pages *pages = sheet->context->pages;
    size_t twice = 2 * column->committed;
    fa__chunk chunk;
    if (!fa__chunk_acquire(pages, twice > bytes ? twice : bytes, 1, &chunk, denial) &&
        !fa__chunk_acquire(pages, bytes, 1, &chunk, denial)) {
        return false;
    }
    if (column->ptr != NULL) {
        memcpy(chunk.ptr, column->ptr, used);
        fa__chunk_release(pages, column->chunk);
    }
    column->chunk = chunk;
    column->ptr = chunk.ptr;
    column->committed = chunk.size;
    return true;
}

// Elements that the memory of every column holds.
static uint32_t capacity_of(const fa__sheet *sheet) {
    size_t capacity = sheet->max;
    for (uint32_t i = 0; i < sheet->column_count; i++) {
        size_t room = sheet->columns[i].committed / sheet->columns[i].stride;
        capacity = room < capacity ? room : capacity;
    }
    return (uint32_t)capacity;
}

bool fa__sheet_fit(fa__sheet *sheet, uint32_t need, uint32_t used, fa__denial *denial) {
    bool worked = true;
    for (uint32_t i = 0; worked && i < sheet->column_count; i++) {
        fa__column *column = &sheet->columns[i];
        size_t bytes = need * column->stride;
        if (bytes <= column->committed) {
            continue;
        }
        worked = sheet->range != NULL
                     ? commit_more(sheet, column, bytes, denial)
                     : move_to_chunk(sheet, column, bytes, used * column->stride, denial);
    }
    sheet->capacity = capacity_of(sheet);
    return worked;
}

size_t fa__sheet_trim(fa__sheet *sheet, uint32_t used) {
    fa__pages *pages = sheet->context->pages;
    size_t given = 0;
    for (uint32_t i = 0; i < sheet->column_count; i++) {
        fa__column *column = &sheet->columns[i];
        size_t keep = round_to(used * column->stride, pages->backend.page_size);
        if (sheet->range != NULL && pages->backend.decommit != NULL && keep < column->committed) {
            fa__pages_decommit(pages, column->ptr + keep, column->committed - keep);
            given += column->committed - keep;
            column->committed = keep;
        }
    }
    sheet->capacity = capacity_of(sheet);
    return given;
}

static bool reserve_range(fa__sheet *sheet, fa__denial *denial) {
    fa__pages *pages = sheet->context->pages;
    if (sheet->column_count == 0 || !fa__pages_can_commit(pages)) {
        return true; // Chunks, as they are needed.
    }
    size_t page = pages->backend.page_size;
    for (uint32_t i = 0; i < sheet->column_count; i++) {
        sheet->columns[i].reserved = round_to(sheet->max * sheet->columns[i].stride, page);
        sheet->reserved += sheet->columns[i].reserved;
    }
    sheet->range = fa__pages_reserve(pages, sheet->reserved, page);
    if (sheet->range == NULL) {
        *denial = FA__DENIED_BY_BACKEND;
        return false;
    }
    char *ptr = sheet->range;
    for (uint32_t i = 0; i < sheet->column_count; i++) {
        sheet->columns[i].ptr = ptr;
        ptr += sheet->columns[i].reserved;
    }
    return true;
}

static void release_columns(fa__sheet *sheet) {
    fa__pages *pages = sheet->context->pages;
    size_t committed = 0;
    for (uint32_t i = 0; i < sheet->column_count; i++) {
        fa__column *column = &sheet->columns[i];
        committed += column->committed;
        if (sheet->range == NULL && column->ptr != NULL) {
            fa__chunk_release(pages, column->chunk);
        }
    }
    if (sheet->range != NULL) {
        fa__pages_release(pages, sheet->range, sheet->reserved, committed);
    }
}

// Records -----------------------------------------------------------------------------------------

static void settle_nothing(fa_context *ctx, fa__thread *thread) {
    (void)ctx;
    (void)thread;
}

static size_t report_and_free_all(fa_context *ctx) {
    size_t live = 0;
    fa__sheet *next = NULL;
    for (fa__sheet *sheet = ctx->tables; sheet != NULL; sheet = next) {
        next = sheet->next;
        fail(sheet, FA__CODE_LIVE_AT_END, FA_ERR_BUSY, sheet->charged, 0, sheet->name);
        if (sheet->end != NULL) {
            sheet->end(sheet->self);
        }
        release_columns(sheet);
        live += 1;
    }
    ctx->tables = NULL;
    return live;
}

static const fa__tier sheet_tier = {.settle = settle_nothing,
                                    .context_destroy = report_and_free_all};

static void link_sheet(fa__sheet *sheet) {
    fa_context *ctx = sheet->context;
    fa__os_mutex_lock(&ctx->lock);
    fa__sheet *head = ctx->tables;
    sheet->next = head;
    sheet->prev = NULL;
    if (head != NULL) {
        head->prev = sheet;
    }
    ctx->tables = sheet;
    fa__os_mutex_unlock(&ctx->lock);
}

static void unlink_sheet(fa__sheet *sheet) {
    fa_context *ctx = sheet->context;
    fa__os_mutex_lock(&ctx->lock);
    if (sheet->prev != NULL) {
        sheet->prev->next = sheet->next;
    } else {
        ctx->tables = sheet->next;
    }
    if (sheet->next != NULL) {
        sheet->next->prev = sheet->prev;
    }
    fa__os_mutex_unlock(&ctx->lock);
}

// A free record begins with a pointer to the next one.
static void give_record(fa_context *ctx, void *record) {
    fa__os_mutex_lock(&ctx->lock);
    memcpy(record, &ctx->free_tables, sizeof ctx->free_tables);
    ctx->free_tables = record;
    fa__os_mutex_unlock(&ctx->lock);
}

static void *take_record(fa_context *ctx, fa__denial *denial) {
    fa__os_mutex_lock(&ctx->lock);
    void *record = ctx->free_tables;
    if (record != NULL) {
        memcpy(&ctx->free_tables, record, sizeof ctx->free_tables);
    }
    fa__os_mutex_unlock(&ctx->lock);
    return record != NULL ? memset(record, 0, FA__RECORD_BYTES)
                          : fa__meta_alloc(ctx->pages, FA__RECORD_BYTES, denial);
}

static fa_result fail_create(fa_context *ctx, const fa__sheet_desc *desc, fa__denial denial) {
    bool is_limit = denial == FA__DENIED_BY_LIMIT;
    return fa__fail(&(fa__failure){.context = ctx,
                                   .code = is_limit ? FA__CODE_MEMORY_LIMIT : FA__CODE_OS_REFUSED,
                                   .result = is_limit ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY,
                                   .limit = is_limit ? ctx->config.memory_limit : 0,
                                   .tag = desc->tag,
                                   .where = desc->name});
}

void *fa__sheet_create(fa_context *ctx, const fa__sheet_desc *desc, fa_result *result) {
    fa__tier_register(ctx, FA__TIER_TABLES, &sheet_tier);
    fa__denial denial = FA__DENIED_BY_BACKEND;
    char *record = take_record(ctx, &denial);
    if (record == NULL) {
        *result = fail_create(ctx, desc, denial);
        return NULL;
    }
    fa__sheet *sheet = (fa__sheet *)(void *)(record + desc->sheet_at);
    sheet->context = ctx;
    sheet->self = record;
    sheet->end = desc->end;
    sheet->tag = desc->tag;
    sheet->max = desc->max;
    sheet->column_count = desc->column_count;
    for (uint32_t i = 0; i < desc->column_count; i++) {
        sheet->columns[i].stride = desc->strides[i];
    }
    snprintf(sheet->name, sizeof sheet->name, "%s", desc->name);
    if (!reserve_range(sheet, &denial)) {
        give_record(ctx, record);
        *result = fail_create(ctx, desc, denial);
        return NULL;
    }
    link_sheet(sheet);
    return record;
}

void fa__sheet_destroy(fa__sheet *sheet) {
    unlink_sheet(sheet);
    if (sheet->charged != 0) {
        fa__sheet_uncharge(sheet, sheet->charged);
    }
    if (sheet->end != NULL) {
        sheet->end(sheet->self);
    }
    release_columns(sheet);
    give_record(sheet->context, sheet->self);
}

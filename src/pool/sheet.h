// What arrays of components and sources of entities stand on: up to two columns that grow together,
// a record in the context's list, and bytes charged to a tag.
//
//   range   | column 0: in use ... | committed ... |  ... | column 1: in use . | committed |  ... |
//           ^ 64-aligned                                  ^ 64-aligned
//
// One reservation holds both columns, each with room for `max` elements; each is committed from its
// left, so elements never move. Where the backend cannot commit, each column is a chunk that is
// replaced by a larger one, and elements move.
//
// The record of a sheet that is gone is kept for the next one.
#pragma once

#include "../core/core.h"

#define FA__COLUMNS_MAX 2u

typedef struct fa__column {
    char *ptr;        // NULL as long as there was nothing in it.
    size_t stride;    // Bytes an element.
    size_t committed; // Bytes.
    size_t reserved;  // Bytes; 0 where the column is a chunk.
    fa__chunk chunk;
} fa__column;

typedef struct fa__sheet fa__sheet;
struct fa__sheet {
    fa_context *context;
    void *self;              // The record that it is part of.
    void (*end)(void *self); // Gives back what is not in columns; NULL: nothing.
    fa__sheet *next;         // In the context's list, or the list of free records.
    fa__sheet *prev;
    fa_tag tag;
    uint32_t column_count;
    fa__column columns[FA__COLUMNS_MAX];
    char *range; // NULL: none.
    size_t reserved;
    uint32_t max;      // Elements there may be.
    uint32_t capacity; // Elements there is memory for in every column.
    size_t charged;    // Bytes.
    char name[FA__NAME_BYTES];
};

typedef struct fa__sheet_desc {
    const char *name;
    fa_tag tag;
    uint32_t column_count;
    size_t strides[FA__COLUMNS_MAX];
    uint32_t max;
    size_t sheet_at; // Where the sheet lies in its record.
    void (*end)(void *self);
} fa__sheet_desc;

// Bytes of every record: the largest of those that are made from it.
#define FA__RECORD_BYTES ((size_t)512)

// A zeroed record with its sheet set up and listed. NULL after a reported failure; *result then.
void *fa__sheet_create(fa_context *ctx, const fa__sheet_desc *desc, fa_result *result);
// Gives everything back and uncharges what is charged.
void fa__sheet_destroy(fa__sheet *sheet);

// Makes room for `need` elements (at most max), `used` of which there are. False when refused, with
// all elements where they were; *denial says by whom.
bool fa__sheet_fit(fa__sheet *sheet, uint32_t need, uint32_t used, fa__denial *denial);
// Gives back memory beyond `used` elements. Returns bytes.
size_t fa__sheet_trim(fa__sheet *sheet, uint32_t used);

// Charges bytes to the sheet's tag, in the account of the calling thread. False after a reported
// refusal. May call back into the program.
bool fa__sheet_charge(fa__sheet *sheet, size_t bytes);
void fa__sheet_uncharge(fa__sheet *sheet, size_t bytes);

// Reports a refusal by a limit or for want of memory, counts it, and returns its result.
fa_result fa__sheet_refuse(fa__sheet *sheet, fa__code code, fa_result result, size_t bytes,
                           size_t limit);
fa_result fa__sheet_refuse_memory(fa__sheet *sheet, size_t bytes, fa__denial denial);
// Reports a wrong argument, or one that is out of date.
fa_result fa__sheet_fail(fa__sheet *sheet, fa__code code, fa_result result, const char *where);

/// @file id_table.h
/// From the block numbers a trace uses (any 64-bit number but 0) to dense indices 0, 1, 2 ...
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Open addressing, at most half full. Zero-initialised it is empty.
typedef struct id_table {
    struct id_entry *entries; ///< Private.
    size_t capacity;          ///< Private: 0 or a power of two.
    size_t count;             ///< How many numbers it knows.
} id_table;

/// "There is no such number."
#define ID_UNKNOWN UINT32_MAX

/// The index of `id`, or ID_UNKNOWN. `id` must not be 0.
uint32_t id_table_find(const id_table *table, uint64_t id);

/// Adds `id`, which must not be 0 nor be there already, as `index`. False when there is no memory;
/// the table is then as it was.
bool id_table_add(id_table *table, uint64_t id, uint32_t index);

/// Frees everything and leaves an empty table.
void id_table_clear(id_table *table);

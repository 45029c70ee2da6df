/// @file id_table.h
/// From the block numbers a trace uses (any 64-bit numbers) to dense indices 0, 1, 2 ...
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Open addressing, at most half full. It keeps indices only, and looks the numbers themselves up
/// in the array its functions are given: ids[index] is the number of that index. Zero-initialised
/// it is empty.
typedef struct id_table {
    uint32_t *places; ///< Private: index + 1, or 0 where nothing is.
    size_t capacity;  ///< Private: 0 or a power of two.
    uint64_t seed;    ///< Private: makes places unpredictable.
    size_t count;     ///< How many numbers it knows.
} id_table;

/// "There is no such number."
#define ID_UNKNOWN UINT32_MAX

/// The index of `id`, or ID_UNKNOWN.
uint32_t id_table_find(const id_table *table, const uint64_t *ids, uint64_t id);

/// Adds the number ids[table->count], which must not be there already, with the next index. False
/// when there is no memory; the table is then as it was.
bool id_table_add(id_table *table, const uint64_t *ids);

/// Frees everything and leaves an empty table.
void id_table_clear(id_table *table);

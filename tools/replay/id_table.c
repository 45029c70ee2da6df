// A hash table with linear probing. Numbers are never removed: a trace uses each once, and a second
// use must be found.

#include "id_table.h"

#include "../common/clock.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 1024 };

// The seed differs from run to run, so that a file cannot be made to fill one place after the
// other.
static size_t place_of(const id_table *table, uint64_t id) {
    uint64_t mixed = (id ^ table->seed) * UINT64_C(0xFF51AFD7ED558CCD);
    mixed = ((mixed ^ mixed >> 32) + table->seed) * UINT64_C(0xC4CEB9FE1A85EC53);
    return (size_t)(mixed >> 24) & (table->capacity - 1);
}

uint32_t id_table_find(const id_table *table, const uint64_t *ids, uint64_t id) {
    if (table->capacity == 0) {
        return ID_UNKNOWN;
    }
    size_t place = place_of(table, id);
    while (table->places[place] != 0) {
        uint32_t index = table->places[place] - 1;
        if (ids[index] == id) {
            return index;
        }
        place = (place + 1) & (table->capacity - 1);
    }
    return ID_UNKNOWN;
}

static void put(const id_table *table, uint64_t id, uint32_t index) {
    size_t place = place_of(table, id);
    while (table->places[place] != 0) {
        place = (place + 1) & (table->capacity - 1);
    }
    table->places[place] = index + 1;
}

static bool table_grow(id_table *table, const uint64_t *ids) {
    id_table grown = *table;
    grown.capacity = table->capacity == 0 ? FIRST_CAPACITY : table->capacity * 2;
    grown.places = calloc(grown.capacity, sizeof *grown.places);
    if (grown.places == NULL) {
        return false;
    }
    grown.seed = clock_ns() ^ (uint64_t)(uintptr_t)grown.places;
    for (uint32_t i = 0; i < table->count; i++) {
        put(&grown, ids[i], i);
    }
    free(table->places);
    *table = grown;
    return true;
}

bool id_table_add(id_table *table, const uint64_t *ids) {
    if (table->count * 2 >= table->capacity && !table_grow(table, ids)) {
        return false;
    }
    put(table, ids[table->count], (uint32_t)table->count);
    table->count++;
    return true;
}

void id_table_clear(id_table *table) {
    free(table->places);
    *table = (id_table){0};
}

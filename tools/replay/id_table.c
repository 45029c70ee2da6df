// A hash table with linear probing. An entry whose id is 0 is free. Numbers are never removed: a
// trace uses each once, and a second use must be found.

#include "id_table.h"

#include <stdlib.h>

typedef struct id_entry {
    uint64_t id;
    uint32_t index;
} id_entry;

enum { FIRST_CAPACITY = 1024 };

// Neighbouring numbers must not land in neighbouring places for good: an attacker who picks numbers
// can still slow the table down, but its size is bounded by the limit on events.
static size_t place_of(uint64_t id, size_t capacity) {
    uint64_t mixed = (id ^ id >> 32) * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(mixed >> 20) & (capacity - 1);
}

uint32_t id_table_find(const id_table *table, uint64_t id) {
    if (table->capacity == 0) {
        return ID_UNKNOWN;
    }
    size_t place = place_of(id, table->capacity);
    while (table->entries[place].id != 0) {
        if (table->entries[place].id == id) {
            return table->entries[place].index;
        }
        place = (place + 1) & (table->capacity - 1);
    }
    return ID_UNKNOWN;
}

static void place_entry(id_entry *entries, size_t capacity, id_entry entry) {
    size_t place = place_of(entry.id, capacity);
    while (entries[place].id != 0) {
        place = (place + 1) & (capacity - 1);
    }
    entries[place] = entry;
}

static bool table_grow(id_table *table) {
    size_t capacity = table->capacity == 0 ? FIRST_CAPACITY : table->capacity * 2;
    id_entry *entries = calloc(capacity, sizeof *entries);
    if (entries == NULL) {
        return false;
    }
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->entries[i].id != 0) {
            place_entry(entries, capacity, table->entries[i]);
        }
    }
    free(table->entries);
    table->entries = entries;
    table->capacity = capacity;
    return true;
}

bool id_table_add(id_table *table, uint64_t id, uint32_t index) {
    if (table->count * 2 >= table->capacity && !table_grow(table)) {
        return false;
    }
    place_entry(table->entries, table->capacity, (id_entry){id, index});
    table->count++;
    return true;
}

void id_table_clear(id_table *table) {
    free(table->entries);
    *table = (id_table){0};
}

// The list of allocators a replay can use.

#include "allocator.h"

#include <string.h>

static const allocator *const all[] = {&allocator_malloc, &allocator_framealloc, &allocator_none};

const allocator *allocator_at(size_t index) {
    return index < sizeof all / sizeof all[0] ? all[index] : NULL;
}

const allocator *allocator_find(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strlen(all[i]->name) == length && memcmp(all[i]->name, name, length) == 0) {
            return all[i];
        }
    }
    return NULL;
}

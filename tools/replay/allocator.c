// The list of allocators a replay can use.

#include "allocator.h"

#include "../common/foreign_malloc.h"

#include <stdio.h>
#include <string.h>

static const allocator *const all[] = {&allocator_glibc,    &allocator_framealloc,
                                       &allocator_mimalloc, &allocator_jemalloc,
                                       &allocator_tcmalloc, &allocator_none};

enum { COUNT = sizeof all / sizeof all[0] };

const allocator *allocator_at(size_t index) {
    return index < COUNT ? all[index] : NULL;
}

const allocator *allocator_find(const char *name, size_t length) {
    if (length == strlen("malloc") && memcmp(name, "malloc", length) == 0) {
        return &allocator_glibc;
    }
    for (size_t i = 0; i < COUNT; i++) {
        if (strlen(all[i]->name) == length && memcmp(all[i]->name, name, length) == 0) {
            return all[i];
        }
    }
    return NULL;
}

bool allocator_is_here(const allocator *a) {
    enum { UNKNOWN, HERE, ABSENT };
    static unsigned char known[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        if (all[i] != a || a->load == NULL) {
            continue;
        }
        if (known[i] == UNKNOWN) {
            known[i] = foreign_malloc_is_here(a->name) ? HERE : ABSENT;
        }
        return known[i] == HERE;
    }
    return true;
}

void allocator_names(char *text, size_t size) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < COUNT && used < size; i++) {
        if (allocator_is_here(all[i])) {
            int more =
                snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", all[i]->name);
            used += more > 0 ? (size_t)more : 0;
        }
    }
}

// The rare half of the hand-written arena: getting its memory, and having none left.
#include "floor.h"

#include <stdlib.h>
#include <string.h>

void *floor_refuse(floor_arena *arena, size_t size) {
    (void)arena;
    (void)size;
    return NULL;
}

bool floor_open(floor_arena *arena, size_t size) {
    arena->base = (char *)aligned_alloc(4096, size);
    if (arena->base == NULL) {
        return false;
    }
    memset(arena->base, 0, size);
    arena->cursor = arena->base;
    arena->limit = arena->base + size;
    return true;
}

void floor_close(floor_arena *arena) {
    free(arena->base);
}

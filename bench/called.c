// The calls themselves, in an object file of their own so that no compiler inlines them.
#include "called.h"

void *called_alloc(fa_arena *arena, size_t size) {
    return fa_arena_alloc(arena, size);
}

void *called_alloc_aligned(fa_arena *arena, size_t size, size_t align) {
    return fa_arena_alloc_aligned(arena, size, align);
}

// framealloc as a program sees it that cannot inline: through a function call, as from another
// language.
#pragma once

#include <framealloc/arena.h>

void *called_alloc(fa_arena *arena, size_t size);
void *called_alloc_aligned(fa_arena *arena, size_t size, size_t align);

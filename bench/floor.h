// What a careful programmer writes by hand for one program: a bump pointer with a check, and
// nothing else. No growth, no budgets, no statistics, no report of what went wrong.
#pragma once

#include "bench.h"

typedef struct floor_arena {
    char *cursor;
    char *limit;
    char *base;
} floor_arena;

// What happens when the memory is used up. Out of line and cold, as in any such arena.
__attribute__((cold, noinline)) void *floor_refuse(floor_arena *arena, size_t size);

// Reserves and touches `size` bytes; false when there are none.
bool floor_open(floor_arena *arena, size_t size);
void floor_close(floor_arena *arena);

// Compares pointers: a size near SIZE_MAX that the caller did not check wraps round.
BENCH_INLINE void *floor_alloc(floor_arena *arena, size_t size) {
    char *ptr = arena->cursor;
    char *next = ptr + ((size + 15) & ~(size_t)15);
    if (__builtin_expect(next > arena->limit, 0)) {
        return floor_refuse(arena, size);
    }
    arena->cursor = next;
    return ptr;
}

// Compares sizes: nothing wraps round except the rounding itself, which the second half of the test
// catches.
BENCH_INLINE void *floor_alloc_safe(floor_arena *arena, size_t size) {
    char *ptr = arena->cursor;
    size_t rounded = (size + 15) & ~(size_t)15;
    if (__builtin_expect(rounded > (size_t)(arena->limit - ptr) || rounded < size, 0)) {
        return floor_refuse(arena, size);
    }
    arena->cursor = ptr + rounded;
    return ptr;
}

BENCH_INLINE void *floor_alloc_aligned(floor_arena *arena, size_t size, size_t align) {
    uintptr_t start = ((uintptr_t)arena->cursor + align - 1) & ~(uintptr_t)(align - 1);
    char *ptr = arena->cursor + (start - (uintptr_t)arena->cursor);
    char *next = ptr + ((size + 15) & ~(size_t)15);
    if (__builtin_expect(next > arena->limit, 0)) {
        return floor_refuse(arena, size);
    }
    arena->cursor = next;
    return ptr;
}

// The other least that a pool can do: free slots as 32-bit numbers on a stack apart from the
// objects, inline, one thread, nothing counted. It never reads a free object.
#include "objects.h"

#include <stdlib.h>

enum { SLOTS = 10000 + 64, SLOT_BYTES = 64 };

typedef struct block_source {
    uint32_t count; // Of free slots.
    uint32_t *free;
    char *memory;
} block_source;

BENCH_INLINE void *block_alloc(block_source *source, size_t size) {
    (void)size;
    uint32_t count = source->count;
    if (count == 0) {
        return NULL;
    }
    source->count = --count;
    return source->memory + (size_t)source->free[count] * SLOT_BYTES;
}

BENCH_INLINE void block_free(block_source *source, void *ptr) {
    size_t offset = (size_t)((char *)ptr - source->memory);
    source->free[source->count++] = (uint32_t)(offset / SLOT_BYTES);
}

#include "blocks.inc"

static void rival_close(void *any) {
    block_source *source = (block_source *)any;
    free(source->memory);
    free(source->free);
    free(source);
}

static void *rival_open(void) {
    block_source *source = (block_source *)calloc(1, sizeof(*source));
    if (source == NULL) {
        return NULL;
    }
    source->memory = (char *)aligned_alloc(64, (size_t)SLOTS * SLOT_BYTES);
    source->free = (uint32_t *)malloc(SLOTS * sizeof(*source->free));
    if (source->memory == NULL || source->free == NULL) {
        rival_close(source);
        return NULL;
    }
    for (size_t i = SLOTS; i > 0; --i) {
        block_free(source, source->memory + (i - 1) * SLOT_BYTES);
    }
    return source;
}

const blocks_rival blocks_rival_stack = {
    .id = "stack",
    .label = "hand-written stack of numbers",
    .open = rival_open,
    .close = rival_close,
    .loops = loops,
};

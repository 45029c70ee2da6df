// The least that a pool can do: free slots linked through the objects themselves, inline, one
// thread, nothing counted. After frees in random order each pop waits for the memory it reads.
#include "objects.h"

#include <stdlib.h>

enum { SLOTS = 10000 + 64, SLOT_BYTES = 64 };

typedef struct block_source {
    void *free;
    char *memory;
} block_source;

BENCH_INLINE void *block_alloc(block_source *source, size_t size) {
    (void)size;
    void *slot = source->free;
    if (slot == NULL) {
        return NULL;
    }
    source->free = *(void **)slot;
    return slot;
}

BENCH_INLINE void block_free(block_source *source, void *ptr) {
    *(void **)ptr = source->free;
    source->free = ptr;
}

#include "blocks.inc"

static void rival_close(void *any) {
    block_source *source = (block_source *)any;
    free(source->memory);
    free(source);
}

static void *rival_open(void) {
    block_source *source = (block_source *)calloc(1, sizeof(*source));
    if (source == NULL) {
        return NULL;
    }
    source->memory = (char *)aligned_alloc(64, (size_t)SLOTS * SLOT_BYTES);
    if (source->memory == NULL) {
        rival_close(source);
        return NULL;
    }
    for (size_t i = SLOTS; i > 0; --i) {
        block_free(source, source->memory + (i - 1) * SLOT_BYTES);
    }
    return source;
}

const blocks_rival blocks_rival_list = {
    .id = "list",
    .label = "hand-written list through the objects",
    .open = rival_open,
    .close = rival_close,
    .loops = loops,
};

// mimalloc's fastest path: a heap of its own, so that it needs not look up the thread's, and the
// function for small sizes. It is in a shared library, so both are calls.
#include "objects.h"

#include <common/foreign_malloc.h>
#include <stdlib.h>

typedef void *(*heap_new_fn)(void);
typedef void *(*heap_alloc_fn)(void *heap, size_t size);
typedef void (*heap_delete_fn)(void *heap);
typedef void (*heap_free_fn)(void *ptr);

typedef struct block_source {
    void *heap;
    heap_alloc_fn alloc;
    heap_free_fn free;
    heap_delete_fn delete;
} block_source;

BENCH_INLINE void *block_alloc(block_source *source, size_t size) {
    return source->alloc(source->heap, size);
}

BENCH_INLINE void block_free(block_source *source, void *ptr) {
    source->free(ptr);
}

#include "blocks.inc"

static void rival_close(void *any) {
    block_source *source = (block_source *)any;
    source->delete (source->heap);
    free(source);
}

static void *rival_open(void) {
    foreign_malloc mimalloc;
    char error[200];
    if (!foreign_malloc_open("mimalloc", &mimalloc, error, sizeof(error))) {
        return NULL;
    }
    block_source *source = (block_source *)calloc(1, sizeof(*source));
    if (source == NULL) {
        return NULL;
    }
    heap_new_fn heap_new = (heap_new_fn)foreign_malloc_function(&mimalloc, "mi_heap_new");
    source->alloc = (heap_alloc_fn)foreign_malloc_function(&mimalloc, "mi_heap_malloc_small");
    source->free = (heap_free_fn)foreign_malloc_function(&mimalloc, "mi_free");
    source->delete = (heap_delete_fn)foreign_malloc_function(&mimalloc, "mi_heap_delete");
    bool is_whole =
        heap_new != NULL && source->alloc != NULL && source->free != NULL && source->delete != NULL;
    source->heap = is_whole ? heap_new() : NULL;
    if (source->heap == NULL) {
        free(source);
        return NULL;
    }
    return source;
}

const blocks_rival blocks_rival_mimalloc_heap = {
    .id = "mimalloc-heap",
    .label = "mimalloc, its own heap",
    .open = rival_open,
    .close = rival_close,
    .loops = loops,
};

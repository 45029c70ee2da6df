// The heap: a call per allocation and per free, as malloc is. Every block is charged to the tag
// that is current, which has a budget.
#include "objects.h"
#include "sources.h"

#include <framealloc/heap.h>

typedef fa_context block_source;

BENCH_INLINE void *block_alloc(block_source *source, size_t size) {
    return fa_heap_alloc(source, size);
}

BENCH_INLINE void block_free(block_source *source, void *ptr) {
    fa_heap_free(source, ptr);
}

#include "blocks.inc"

static void *rival_open(void) {
    return source_context_open();
}

static void rival_close(void *source) {
    source_context_close((fa_context *)source);
}

const blocks_rival blocks_rival_heap = {
    .id = "heap",
    .label = "framealloc heap",
    .has_sizes = true,
    .open = rival_open,
    .close = rival_close,
    .loops = loops,
};

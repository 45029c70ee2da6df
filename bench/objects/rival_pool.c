// A pool as a C program sees it: inlined, every object charged to the pool's tag, which has a
// budget.
#include "objects.h"
#include "sources.h"

#include <framealloc/pool.h>

typedef fa_pool block_source;

BENCH_INLINE void *block_alloc(block_source *source, size_t size) {
    (void)size;
    return fa_pool_alloc(source);
}

BENCH_INLINE void block_free(block_source *source, void *ptr) {
    fa_pool_free(source, ptr);
}

#include "blocks.inc"

static void *rival_open(void) {
    return source_pool_open(&(fa_pool_desc){.name = "objects", .size = 64});
}

const blocks_rival blocks_rival_pool = {
    .id = "pool",
    .label = "framealloc pool",
    .open = rival_open,
    .close = source_pool_close,
    .loops = loops,
};

// A pool as a program sees it that cannot inline: two functions of another object file.
#include "called_pool.h"
#include "objects.h"
#include "sources.h"

typedef fa_pool block_source;

BENCH_INLINE void *block_alloc(block_source *source, size_t size) {
    (void)size;
    return called_pool_alloc(source);
}

BENCH_INLINE void block_free(block_source *source, void *ptr) {
    called_pool_free(source, ptr);
}

#include "blocks.inc"

static void *rival_open(void) {
    return source_pool_open(&(fa_pool_desc){.name = "called", .size = 64});
}

const blocks_rival blocks_rival_pool_called = {
    .id = "pool-called",
    .label = "framealloc pool, not inlined",
    .open = rival_open,
    .close = source_pool_close,
    .loops = loops,
};

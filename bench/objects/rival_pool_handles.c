// The same with a handle taken of every object, by one more call.
#include "objects.h"
#include "sources.h"

#include <framealloc/pool.h>

typedef fa_pool block_source;
#define BLOCK_ALIGN 8

BENCH_INLINE void *block_alloc(block_source *source, size_t size) {
    (void)size;
    void *object = fa_pool_alloc(source);
    BENCH_BARRIER(fa_pool_handle(source, object).value);
    return object;
}

BENCH_INLINE void block_free(block_source *source, void *ptr) {
    fa_pool_free(source, ptr);
}

#include "blocks.inc"

static void *rival_open(void) {
    return source_pool_open(&(fa_pool_desc){
        .name = "handles", .size = 64, .align = 8, .handles = true, .object_tags = true});
}

const blocks_rival blocks_rival_pool_handles = {
    .id = "pool-handles",
    .label = "framealloc pool, tags + handles taken",
    .open = rival_open,
    .close = source_pool_close,
    .loops = loops,
};

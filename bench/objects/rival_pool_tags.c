// A pool whose objects have generations, and are charged to the tag that is current when they are
// allocated, which has a budget. They are aligned to 8 bytes, as most structures are, so that the
// generation takes no more than 8 beside each.
#include "objects.h"
#include "sources.h"

#include <framealloc/pool.h>

typedef fa_pool block_source;
#define BLOCK_ALIGN 8

BENCH_INLINE void *block_alloc(block_source *source, size_t size) {
    (void)size;
    return fa_pool_alloc(source);
}

BENCH_INLINE void block_free(block_source *source, void *ptr) {
    fa_pool_free(source, ptr);
}

#include "blocks.inc"

static void *rival_open(void) {
    return source_pool_open(&(fa_pool_desc){
        .name = "tagged", .size = 64, .align = 8, .handles = true, .object_tags = true});
}

const blocks_rival blocks_rival_pool_tags = {
    .id = "pool-tags",
    .label = "framealloc pool, generations + tags",
    .open = rival_open,
    .close = source_pool_close,
    .loops = loops,
};

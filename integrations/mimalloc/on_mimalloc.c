// A whole context on mimalloc: frames, an arena, a pool, the heap, and nothing left at the end.
#include "framealloc_mimalloc.h"

#include <framealloc/framealloc.h>
#include <framealloc/heap.h>
#include <framealloc/pool.h>

#include <stdio.h>
#include <string.h>

// Blocks of many sizes, filled and looked at again.
static bool use_arena(fa_arena *arena) {
    unsigned char *blocks[200] = {NULL};
    for (size_t i = 0; i < 200; i++) {
        blocks[i] = fa_arena_alloc_aligned(arena, i * i + 1, i % 2 == 0 ? 16 : 4096);
        if (blocks[i] == NULL) {
            return false;
        }
        memset(blocks[i], (int)i, i * i + 1);
    }
    for (size_t i = 0; i < 200; i++) {
        if (blocks[i][0] != i || blocks[i][i * i] != i) {
            return false;
        }
    }
    return true;
}

static bool use_pool(fa_context *ctx) {
    fa_pool *pool = NULL;
    void *objects[1000] = {NULL};
    if (fa_pool_create(ctx, &(fa_pool_desc){.size = 40}, &pool) < 0) {
        return false;
    }
    bool ok = fa_pool_alloc_batch(pool, objects, 1000) == 1000;
    for (size_t i = 0; i < 1000 && ok; i++) {
        memset(objects[i], (int)i, 40);
    }
    fa_pool_free_batch(pool, objects, 1000);
    return fa_pool_destroy(pool) == FA_OK && ok;
}

// Grows a block from 100 bytes to 3 MB.
static bool use_heap(fa_context *ctx) {
    unsigned char *block = NULL;
    bool ok = true;
    for (size_t size = 100; size < 3000000 && ok; size *= 3) {
        unsigned char *grown = fa_heap_realloc(ctx, block, size);
        ok = grown != NULL && (block == NULL || grown[size / 3 - 1] == 7);
        if (grown != NULL) {
            block = grown;
            block[size - 1] = 7;
        }
    }
    fa_heap_free(ctx, block);
    return ok;
}

int main(void) {
    fa_context *ctx = NULL;
    if (fa_context_create(&(fa_config){.backend = fa_backend_mimalloc()}, &ctx) < 0) {
        fprintf(stderr, "%s\n", fa_last_error()->text);
        return 1;
    }
    bool ok = true;
    for (int i = 0; i < 10; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        ok = frame != NULL && use_arena(frame) && ok;
        fa_frame_end(frame);
    }
    fa_arena *level = NULL;
    ok = fa_arena_create(ctx, &(fa_arena_desc){.name = "level"}, &level) == FA_OK && ok;
    ok = level != NULL && use_arena(level) && ok;
    ok = use_pool(ctx) && use_heap(ctx) && ok;
    fa_stats stats;
    ok = fa_stats_get(ctx, &stats) == FA_OK && ok;
    printf("mimalloc %d: %zu KiB held, %zu KiB of them in use\n", mi_version(),
           stats.committed_bytes / 1024, stats.total_bytes / 1024);
    fa_arena_destroy(level);
    return fa_context_destroy(ctx) == FA_OK && ok ? 0 : 1;
}

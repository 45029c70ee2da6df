// The mallocs that are installed, called as malloc and free: mimalloc, jemalloc, tcmalloc and the C
// library's. All of them through pointers, the C library's too.
#include "objects.h"

#include <common/foreign_malloc.h>
#include <stdlib.h>

typedef foreign_malloc block_source;

BENCH_INLINE void *block_alloc(block_source *source, size_t size) {
    return source->alloc(size);
}

BENCH_INLINE void block_free(block_source *source, void *ptr) {
    source->free(ptr);
}

#include "blocks.inc"

static void *rival_open(const char *name) {
    foreign_malloc *source = (foreign_malloc *)calloc(1, sizeof(*source));
    char error[200];
    if (source == NULL || !foreign_malloc_open(name, source, error, sizeof(error))) {
        free(source);
        return NULL;
    }
    return source;
}

static void rival_close(void *source) {
    free(source);
}

#define RIVAL(name)                                                                                \
    static void *open_##name(void) {                                                               \
        return rival_open(#name);                                                                  \
    }                                                                                              \
    const blocks_rival blocks_rival_##name = {                                                     \
        .id = #name,                                                                               \
        .label = #name,                                                                            \
        .has_sizes = true,                                                                         \
        .open = open_##name,                                                                       \
        .close = rival_close,                                                                      \
        .loops = loops,                                                                            \
    };
RIVAL(mimalloc)
RIVAL(jemalloc)
RIVAL(tcmalloc)
RIVAL(glibc)

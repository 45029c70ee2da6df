// Ending a pool of a million objects, each with a handle, against freeing a whole heap of mimalloc.
#include "measures.h"
#include "sources.h"

#include <common/foreign_malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OBJECTS = 1000000, OBJECT_BYTES = 64, KEPT = 1000 };

// Nanoseconds per object; below zero: failed. The pool is made and dropped once before, so that its
// memory is there.
static double pool_drop(fa_context *context) {
    fa_pool *pool = NULL;
    fa_pool_desc desc = {.name = "drop", .size = OBJECT_BYTES, .align = 8, .handles = true};
    static fa_handle kept[KEPT];
    if (fa_pool_create(context, &desc, &pool) < 0) {
        return -1;
    }
    for (size_t i = 0; i < OBJECTS; ++i) {
        void *object = fa_pool_alloc(pool);
        if (object == NULL) {
            return -1;
        }
        memset(object, 1, OBJECT_BYTES);
        kept[i % KEPT] = fa_pool_handle(pool, object);
    }
    uint64_t start = bench_clock_ns();
    fa_pool_destroy(pool); // Says that objects were live: they were.
    double spent = (double)(bench_clock_ns() - start) / OBJECTS;
    // The next pool may lie where this one was: its old handles mean nothing there.
    if (fa_pool_create(context, &desc, &pool) < 0 || fa_pool_alloc(pool) == NULL) {
        return -1;
    }
    for (size_t i = 0; i < KEPT; ++i) {
        if (fa_pool_resolve(pool, kept[i]) != NULL) {
            fprintf(stderr, "fa_bench_objects: drop: a handle outlived its pool\n");
            return -1;
        }
    }
    fa_pool_trim(pool, 0);
    fa_pool_destroy(pool);
    return spent;
}

static double mimalloc_drop(void) {
    foreign_malloc mimalloc;
    char error[200];
    if (!foreign_malloc_open("mimalloc", &mimalloc, error, sizeof(error))) {
        return -1;
    }
    void *(*make)(void) = (void *(*)(void))foreign_malloc_function(&mimalloc, "mi_heap_new");
    void *(*alloc)(void *, size_t) =
        (void *(*)(void *, size_t))foreign_malloc_function(&mimalloc, "mi_heap_malloc_small");
    void (*destroy)(void *) =
        (void (*)(void *))foreign_malloc_function(&mimalloc, "mi_heap_destroy");
    void *heap = make != NULL && alloc != NULL && destroy != NULL ? make() : NULL;
    if (heap == NULL) {
        return -1;
    }
    for (size_t i = 0; i < OBJECTS; ++i) {
        void *object = alloc(heap, OBJECT_BYTES);
        if (object == NULL) {
            return -1;
        }
        memset(object, 1, OBJECT_BYTES);
    }
    uint64_t start = bench_clock_ns();
    destroy(heap);
    return (double)(bench_clock_ns() - start) / OBJECTS;
}

// The second time: then the memory is there.
bool drop_figure(const char *rival, double *values, const object_options *options) {
    (void)options;
    bool is_ours = strcmp(rival, "pool") == 0;
    fa_context *context = is_ours ? source_context_open() : NULL;
    if (is_ours && context == NULL) {
        return false;
    }
    for (int i = 0; i < 2; ++i) {
        values[0] = is_ours ? pool_drop(context) : mimalloc_drop();
    }
    if (is_ours) {
        source_context_close(context);
    }
    return values[0] >= 0;
}

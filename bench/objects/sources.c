#include "sources.h"

#include <framealloc/heap.h>

#include "called_pool.h"

#include <common/foreign_malloc.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOLS_MAX = 16 };

// ---- Contexts and pools ------------------------------------------------------------------------

static void complain(const char *what) {
    fprintf(stderr, "fa_bench_objects: %s: %s\n", what, fa_last_error()->text);
}

fa_tag source_context_tag(fa_context *context) {
    return fa_tag_register(context, "bench");
}

fa_context *source_context_open(void) {
    fa_context *context = NULL;
    fa_config config = {.memory_limit = (size_t)8 << 30};
    if (fa_context_create(&config, &context) < 0) {
        complain("fa_context_create");
        return NULL;
    }
    fa_tag tag = source_context_tag(context);
    fa_budget budget = {.soft = (size_t)6 << 30, .hard = (size_t)7 << 30};
    if (fa_budget_set(context, tag, &budget) < 0 || fa_tag_push(context, tag) < 0) {
        complain("budgets");
        fa_context_destroy(context);
        return NULL;
    }
    return context;
}

void source_context_close(fa_context *context) {
    fa_tag_pop(context);
    if (fa_context_destroy(context) < 0) {
        complain("fa_context_destroy");
    }
}

// Whose context is whose.
static struct {
    fa_pool *pool;
    fa_context *context;
} pools[POOLS_MAX];

static fa_context **pool_context(const fa_pool *pool) {
    for (size_t i = 0; i < POOLS_MAX; ++i) {
        if (pools[i].pool == pool) {
            return &pools[i].context;
        }
    }
    return NULL;
}

fa_pool *source_pool_open(const fa_pool_desc *desc) {
    for (size_t i = 0; i < POOLS_MAX; ++i) {
        if (pools[i].pool != NULL) {
            continue;
        }
        pools[i].context = source_context_open();
        if (pools[i].context == NULL) {
            return NULL;
        }
        fa_pool_desc charged = *desc;
        charged.tag = source_context_tag(pools[i].context);
        if (fa_pool_create(pools[i].context, &charged, &pools[i].pool) < 0) {
            complain("fa_pool_create");
            source_context_close(pools[i].context);
            return NULL;
        }
        return pools[i].pool;
    }
    return NULL;
}

void source_pool_close(void *any) {
    fa_pool *pool = (fa_pool *)any;
    for (size_t i = 0; i < POOLS_MAX; ++i) {
        if (pools[i].pool == pool) {
            if (fa_pool_destroy(pool) < 0) {
                complain("fa_pool_destroy");
            }
            source_context_close(pools[i].context);
            pools[i].pool = NULL;
            return;
        }
    }
}

// ---- framealloc as a table ---------------------------------------------------------------------

static void context_frame(fa_context *context) {
    fa_arena *frame = fa_frame_begin(context);
    if (frame != NULL) {
        fa_frame_end(frame);
    }
}

static void *pool_alloc(void *self, size_t size) {
    (void)size;
    return called_pool_alloc((fa_pool *)self);
}

static void pool_free(void *self, void *ptr) {
    called_pool_free((fa_pool *)self, ptr);
}

static void pool_frame(void *self) {
    context_frame(*pool_context((fa_pool *)self));
}

static void pool_trim(void *self) {
    fa_context_trim(*pool_context((fa_pool *)self), 0);
}

static void *heap_alloc(void *self, size_t size) {
    return fa_heap_alloc((fa_context *)self, size);
}

static void heap_free(void *self, void *ptr) {
    fa_heap_free((fa_context *)self, ptr);
}

static void *heap_resize(void *self, void *ptr, size_t size) {
    return fa_heap_realloc((fa_context *)self, ptr, size);
}

static void heap_frame(void *self) {
    context_frame((fa_context *)self);
}

static void heap_trim(void *self) {
    fa_context_trim((fa_context *)self, 0);
}

static void heap_close(void *self) {
    source_context_close((fa_context *)self);
}

// ---- The others --------------------------------------------------------------------------------

typedef struct foreign_source {
    foreign_malloc malloc; // First.
    foreign_function trim;
} foreign_source;

static void *foreign_alloc(void *self, size_t size) {
    return ((foreign_malloc *)self)->alloc(size);
}

static void foreign_free(void *self, void *ptr) {
    ((foreign_malloc *)self)->free(ptr);
}

static void *foreign_resize(void *self, void *ptr, size_t size) {
    return ((foreign_malloc *)self)->resize(ptr, size);
}

static void foreign_frame(void *self) {
    (void)self;
}

// Each has its own way.
static void foreign_trim(void *self) {
    foreign_source *source = (foreign_source *)self;
    const char *name = source->malloc.name;
    if (strcmp(name, "glibc") == 0) {
        malloc_trim(0);
    } else if (source->trim == NULL) {
        return;
    } else if (strcmp(name, "mimalloc") == 0) {
        ((void (*)(bool))source->trim)(true);
    } else if (strcmp(name, "jemalloc") == 0) {
        typedef int (*control_fn)(const char *, void *, size_t *, void *, size_t);
        ((control_fn)source->trim)("arena.4096.purge", NULL, NULL, NULL, 0);
    } else {
        source->trim();
    }
}

static void foreign_close(void *self) {
    free(self);
}

static const struct {
    const char *rival;
    const char *trim; // The function that does it.
} foreign_trims[] = {
    {"glibc", "malloc_trim"},
    {"mimalloc", "mi_collect"},
    {"jemalloc", "mallctl"},
    {"tcmalloc", "MallocExtension_ReleaseFreeMemory"},
};

static bool foreign_open(const char *rival, object_source *out) {
    foreign_source *source = (foreign_source *)calloc(1, sizeof(*source));
    char error[200];
    if (source == NULL || !foreign_malloc_open(rival, &source->malloc, error, sizeof(error))) {
        free(source);
        return false;
    }
    for (size_t i = 0; i < sizeof(foreign_trims) / sizeof(foreign_trims[0]); ++i) {
        if (strcmp(foreign_trims[i].rival, rival) == 0) {
            source->trim = foreign_malloc_function(&source->malloc, foreign_trims[i].trim);
        }
    }
    *out = (object_source){source,        foreign_alloc, foreign_free, foreign_resize,
                           foreign_frame, foreign_trim,  foreign_close};
    return true;
}

bool source_open(const char *rival, object_source *out) {
    if (strcmp(rival, "pool") == 0) {
        void *pool = source_pool_open(&(fa_pool_desc){.name = "objects", .size = 64});
        *out = (object_source){pool,       pool_alloc, pool_free,        NULL,
                               pool_frame, pool_trim,  source_pool_close};
        return pool != NULL;
    }
    if (strcmp(rival, "heap") == 0) {
        void *context = source_context_open();
        *out = (object_source){context,    heap_alloc, heap_free, heap_resize,
                               heap_frame, heap_trim,  heap_close};
        return context != NULL;
    }
    return foreign_open(rival, out);
}

bool source_is_here(const char *rival) {
    return strcmp(rival, "pool") == 0 || strcmp(rival, "heap") == 0 ||
           foreign_malloc_is_here(rival);
}

// Allocators as tables of functions, for the measures where a call more does not matter, and the
// contexts and pools that the measures of framealloc run on.
#pragma once

#include <framealloc/framealloc.h>
#include <framealloc/pool.h>
#include <stdbool.h>

// A context as a program has it: a tag with a soft and a hard budget is current, and there is a
// memory limit. None of them is ever reached. NULL on failure, which is said.
fa_context *source_context_open(void);
void source_context_close(fa_context *context);
// Its tag that has a budget.
fa_tag source_context_tag(fa_context *context);

// A pool in a context of its own, charged to its tag. For at most 16 pools at a time.
fa_pool *source_pool_open(const fa_pool_desc *desc);
void source_pool_close(void *pool);

typedef struct object_source {
    void *self;
    void *(*alloc)(void *self, size_t size);
    void (*free)(void *self, void *ptr);
    void *(*resize)(void *self, void *ptr, size_t size);
    void (*frame)(void *self); // A frame has ended, as a game would say: not everybody is told.
    void (*trim)(void *self);  // Gives back to the system what is unused.
    void (*close)(void *self);
} object_source;

// "pool" (64-byte objects), "heap", "glibc", "mimalloc", "jemalloc" or "tcmalloc". False when it is
// not installed here.
bool source_open(const char *rival, object_source *out);
// Whether source_open() would succeed; asks without loading anything into this process.
bool source_is_here(const char *rival);

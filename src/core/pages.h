// The page source: every byte a context holds comes through here, so that memory_limit holds and
// every failure of the backend has one place to surface. See pages.c for the picture.
#pragma once

#include "../os/atomic.h"
#include "../os/os.h"
#include <framealloc/backend.h>

#define FA__GRANULE                                                                                \
    ((size_t)64 << 10) // Commit steps of the page source, and the least of an arena.
#define FA__CHUNK_MIN ((size_t)4 << 10) // Smallest chunk.
#define FA__CHUNK_MAX                                                                              \
    ((size_t)1 << 20) // Largest chunk cut from a region; larger ones are dedicated.
#define FA__REGION_BYTES ((size_t)2 << 20) // What chunks are cut from.

typedef struct fa__region fa__region;

// Why the last request of a page source was refused.
typedef enum fa__denial { FA__DENIED_BY_LIMIT, FA__DENIED_BY_BACKEND } fa__denial;

// A piece of committed memory.
typedef struct fa__chunk {
    char *ptr;
    size_t size;
    fa__region *region; // NULL: a reservation of its own.
} fa__chunk;

typedef struct fa__meta_block fa__meta_block;

typedef struct fa__pages {
    fa_backend backend;
    size_t limit;         // Bytes that may be committed; SIZE_MAX: no limit.
    fa__size committed;   // Bytes committed now.
    fa__size reserved;    // Bytes of address space held now.
    fa__size overhead;    // Of committed: bookkeeping.
    fa__mutex lock;       // Guards what follows.
    fa__region *regions;  // All regions.
    fa__region *spare;    // Records of released regions, for reuse.
    size_t empty_regions; // Regions with nothing allocated in them.
    fa__meta_block *meta; // Bookkeeping memory, newest block first.
    char *meta_cursor;
    char *meta_end;
} fa__pages;

// Address space and commits on their own: what reserved arenas are made of. `denial` may be NULL.
char *fa__pages_reserve(fa__pages *pages, size_t size, size_t align);
bool fa__pages_commit(fa__pages *pages, char *ptr, size_t size, fa__denial *denial);
void fa__pages_decommit(fa__pages *pages, char *ptr, size_t size);
void fa__pages_release(fa__pages *pages, char *ptr, size_t size, size_t committed);

// Makes a whole reservation longer that is committed from end to end; its pages may move. NULL,
// with nothing changed, when the backend cannot or a limit refuses.
char *fa__pages_resize(fa__pages *pages, char *ptr, size_t old_size, size_t new_size);

// True when ranges can be reserved first and committed later.
static inline bool fa__pages_can_commit(const fa__pages *pages) {
    return pages->backend.commit != NULL;
}

// A committed chunk of at least `size` bytes, at a multiple of `align` at most FA__CHUNK_MAX. Takes
// the lock.
bool fa__chunk_acquire(fa__pages *pages, size_t size, size_t align, fa__chunk *out,
                       fa__denial *denial);
void fa__chunk_release(fa__pages *pages, fa__chunk chunk);

// Gives free chunks back to the backend. Takes the lock.
void fa__pages_trim(fa__pages *pages);

// Zeroed bookkeeping memory, 64-aligned, that lives until the page source ends. NULL when refused.
// Takes the lock.
void *fa__meta_alloc(fa__pages *pages, size_t size, fa__denial *denial);

// Makes a page source inside the first block it takes from the backend, with `extra` bytes of
// zeroed memory for its owner before it, 64-aligned. NULL when refused. End it with
// fa__pages_destroy().
fa__pages *fa__pages_create(const fa_backend *backend, size_t limit, size_t extra, void **owner,
                            fa__denial *denial);
void fa__pages_destroy(fa__pages *pages);

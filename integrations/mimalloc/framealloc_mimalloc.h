/// @file framealloc_mimalloc.h
/// A backend whose memory comes from mimalloc: link it with the program, and give
/// fa_backend_mimalloc() to a context. Needs mimalloc 2.0 or newer.
///
///     fa_context_create(&(fa_config){.backend = fa_backend_mimalloc()}, &ctx);
#pragma once

#include <framealloc/backend.h>

#include <mimalloc.h>

FA_BEGIN_DECLS

static inline void *fa_mimalloc_reserve(void *self, size_t size, size_t align) {
    (void)self;
    return mi_malloc_aligned(size, align);
}

static inline void fa_mimalloc_release(void *self, void *ptr, size_t size) {
    (void)self;
    (void)size;
    mi_free(ptr);
}

/// Pages as aligned blocks of mimalloc. There is no commit: memory is in use from reserve() to
/// release(), arenas sit on chunks, and what is released stays with mimalloc until it gives it
/// back. Pages are 4 KiB. A constant, valid for the life of the program. Any thread.
static inline const fa_backend *fa_backend_mimalloc(void) {
#ifdef __cplusplus
    static const fa_backend backend = []() {
        fa_backend made = {};
        made.reserve = fa_mimalloc_reserve;
        made.release = fa_mimalloc_release;
        made.page_size = 4096;
        return made;
    }();
#else
    static const fa_backend backend = {
        .reserve = fa_mimalloc_reserve,
        .release = fa_mimalloc_release,
        .page_size = 4096,
    };
#endif
    return &backend;
}

FA_END_DECLS

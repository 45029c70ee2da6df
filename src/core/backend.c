// The backends that come with the library: the pages of the operating system, which a context uses
// when it is given none, and those of malloc().
//
// Thin adapters to the public table of functions, without state: `self` is not used.
#ifndef _WIN32
#define _POSIX_C_SOURCE 200809L
#endif

#include <framealloc/backend.h>

#include "../os/os.h"

#include <stdlib.h>
#ifdef _WIN32
#include <malloc.h>
#endif

static void *os_reserve(void *self, size_t size, size_t align) {
    (void)self;
    return fa__os_reserve(size, align);
}

static bool os_commit(void *self, void *ptr, size_t size) {
    (void)self;
    return fa__os_commit(ptr, size);
}

static void os_decommit(void *self, void *ptr, size_t size) {
    (void)self;
    fa__os_decommit(ptr, size);
}

static void os_release(void *self, void *ptr, size_t size) {
    (void)self;
    fa__os_release(ptr, size);
}

static void os_advise_huge(void *self, void *ptr, size_t size) {
    (void)self;
    fa__os_advise_huge(ptr, size);
}

#if defined(__linux__)
static void *os_resize(void *self, void *ptr, size_t old_size, size_t new_size) {
    (void)self;
    return fa__os_resize(ptr, old_size, new_size);
}
#define OS_RESIZE os_resize
#else
#define OS_RESIZE NULL // fa__os_resize() would never work.
#endif

// One constant per page size that fa_backend allows: nothing to initialise, so no race at start-up.
#define OS_BACKEND(bytes)                                                                          \
    {                                                                                              \
        .reserve = os_reserve, .commit = os_commit, .decommit = os_decommit,                       \
        .release = os_release, .advise_huge = os_advise_huge, .resize = OS_RESIZE,                 \
        .page_size = (size_t)(bytes),                                                              \
    }

static const fa_backend os_backends[] = {
    OS_BACKEND(4096), OS_BACKEND(8192), OS_BACKEND(16384), OS_BACKEND(32768), OS_BACKEND(65536),
};

const fa_backend *fa_backend_os(void) {
    const size_t page_size = fa__os_page_size();
    const size_t last = sizeof(os_backends) / sizeof(os_backends[0]) - 1;
    size_t index = 0;
    while (index < last && os_backends[index].page_size < page_size) {
        index++;
    }
    return &os_backends[index];
}

// ---- malloc ------------------------------------------------------------------------------------

static void *malloc_reserve(void *self, size_t size, size_t align) {
    (void)self;
#ifdef _WIN32
    return _aligned_malloc(size, align);
#else
    void *ptr = NULL;
    return posix_memalign(&ptr, align, size) == 0 ? ptr : NULL;
#endif
}

static void malloc_release(void *self, void *ptr, size_t size) {
    (void)self;
    (void)size;
#ifdef _WIN32
    _aligned_free(ptr);
#else
    free(ptr);
#endif
}

static const fa_backend malloc_backend = {
    .reserve = malloc_reserve,
    .release = malloc_release,
    .page_size = 4096,
};

const fa_backend *fa_backend_malloc(void) {
    return &malloc_backend;
}

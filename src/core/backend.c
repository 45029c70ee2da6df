// The backend that a context uses when it is given none: the pages of the operating system.
//
// Thin adapters from the public table of functions to os.h, without state: `self` is not used.
#include <framealloc/backend.h>

#include "../os/os.h"

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

// One constant per page size that fa_backend allows: nothing to initialise, so no race at start-up.
#define OS_BACKEND(bytes)                                                                          \
    {                                                                                              \
        .reserve = os_reserve, .commit = os_commit, .decommit = os_decommit,                       \
        .release = os_release, .advise_huge = os_advise_huge, .page_size = (size_t)(bytes),        \
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

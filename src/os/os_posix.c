// The operating system contract (os.h) on POSIX systems: Linux with glibc or musl, macOS, the BSDs.
//
// The states of a page, and the calls between them:
//
//            mmap(PROT_NONE)             mprotect(READ|WRITE)
//   nothing -----------------> reserved ---------------------> committed
//      ^                          |  ^                             |
//      |          munmap          |  |   mprotect(NONE), discard   |
//      +--------------------------+  +-----------------------------+
//
// Invariants:
// - A reservation is one stretch of mappings without a hole, from fa__os_reserve() to
//   fa__os_release(). Nothing in between unmaps, so no other mapping can land inside it.
// - A page that is not committed holds no memory, so a commit finds it zeroed.
// - A failing call leaves memory as it was, or in a state that later calls meet without harm.
#if !defined(_WIN32)

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // -std=c17 hides MAP_ANONYMOUS and madvise() otherwise.
#endif

#include "os.h"

#include "atomic.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if !defined(MAP_ANONYMOUS) && defined(MAP_ANON)
#define MAP_ANONYMOUS MAP_ANON
#endif
#if !defined(MAP_NORESERVE)
#define MAP_NORESERVE 0 // FreeBSD: there inaccessible memory is never charged.
#endif

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(fa__mutex), "fa__mutex.storage is too small");
_Static_assert(_Alignof(pthread_mutex_t) <= _Alignof(fa__mutex), "fa__mutex.storage is misaligned");

static pthread_mutex_t global_mutex = PTHREAD_MUTEX_INITIALIZER;

static fa__u64 threads_numbered;

static pthread_once_t exit_key_once = PTHREAD_ONCE_INIT;
static pthread_key_t exit_key;
static bool exit_key_made;                    // Written once, under exit_key_once.
static _Atomic(void (*)(void)) exit_function; // The same value is stored by every caller.

size_t fa__os_page_size(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

static unsigned char *map_inaccessible(size_t size) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *ptr = mmap(NULL, size, PROT_NONE, flags, -1, 0);
    return ptr == MAP_FAILED ? NULL : (unsigned char *)ptr;
}

// Cuts [ptr, ptr + size) out of the mapping [base, base + total). False when the system refuses to
// split it; everything is unmapped then.
static bool trim_mapping(unsigned char *base, size_t total, unsigned char *ptr, size_t size) {
    const size_t head = (size_t)(ptr - base);
    const size_t tail = total - head - size;
    if (head > 0 && munmap(base, head) != 0) {
        (void)munmap(base, total);
        return false;
    }
    if (tail > 0 && munmap(ptr + size, tail) != 0) {
        (void)munmap(ptr, size + tail);
        return false;
    }
    return true;
}

void *fa__os_reserve(size_t size, size_t align) {
    const size_t page = fa__os_page_size();
    if (size == 0) {
        return NULL;
    }
    if (align <= page) {
        return map_inaccessible(size);
    }
    // A mapping starts at some page, so a multiple of `align` is at most align - page bytes away.
    if (size > SIZE_MAX - (align - page)) {
        return NULL;
    }
    const size_t total = size + (align - page);
    unsigned char *base = map_inaccessible(total);
    if (base == NULL) {
        return NULL;
    }
    const size_t past = (size_t)((uintptr_t)base & (align - 1));
    unsigned char *ptr = past == 0 ? base : base + (align - past);
    return trim_mapping(base, total, ptr, size) ? ptr : NULL;
}

bool fa__os_commit(void *ptr, size_t size) {
    // When the system refuses half-way through a range of several mappings, the first of them stay
    // accessible. They hold no memory and read as zero, so a later commit finds what it expects.
    return mprotect(ptr, size, PROT_READ | PROT_WRITE) == 0;
}

// Drops the memory behind inaccessible pages, so that they are zero when next seen.
static bool discard_pages(void *ptr, size_t size) {
#if defined(__linux__)
    // One mmap(MAP_FIXED) over the range would protect and discard at once, but before version 6.12
    // Linux may fail it after it has removed the old mapping. The hole can be given to anybody's
    // next mmap(), and our next commit would change the protection of their memory. It also forgets
    // the huge-page advice.
    if (madvise(ptr, size, MADV_DONTNEED) == 0) {
        return true;
    }
#if defined(MADV_DONTNEED_LOCKED)
    return madvise(ptr, size, MADV_DONTNEED_LOCKED) == 0; // The process called mlockall().
#else
    return false;
#endif
#else
    // Elsewhere MADV_DONTNEED may keep the contents: a fresh mapping on top is sure to lose them.
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    return mmap(ptr, size, PROT_NONE, flags, -1, 0) != MAP_FAILED;
#endif
}

void fa__os_decommit(void *ptr, size_t size) {
    // Protection first: a stray write of another thread then faults, instead of landing between the
    // two steps and being found in memory that the next commit promises to be zero. When the system
    // refuses (no mapping slot left) the pages are dropped all the same and only stay accessible.
    (void)mprotect(ptr, size, PROT_NONE);
    if (discard_pages(ptr, size)) {
        return;
    }
    // Memory locked by mlockall() on an older system cannot be taken away. It must still be zero
    // when next seen.
    if (mprotect(ptr, size, PROT_READ | PROT_WRITE) == 0) {
        memset(ptr, 0, size);
        (void)mprotect(ptr, size, PROT_NONE);
    }
}

void fa__os_release(void *ptr, size_t size) {
    if (munmap(ptr, size) != 0) {
        // No mapping slot left for the split. The addresses are lost; the memory is not.
        fa__os_decommit(ptr, size);
    }
}

void *fa__os_resize(void *ptr, size_t old_size, size_t new_size) {
#if defined(__linux__)
    // Fails for a range of several mappings, of which nothing is moved then.
    void *moved = mremap(ptr, old_size, new_size, MREMAP_MAYMOVE);
    return moved == MAP_FAILED ? NULL : moved;
#else
    (void)ptr;
    (void)old_size;
    (void)new_size;
    return NULL;
#endif
}

void fa__os_advise_huge(void *ptr, size_t size) {
#if defined(MADV_HUGEPAGE)
    (void)madvise(ptr, size, MADV_HUGEPAGE);
#else
    (void)ptr;
    (void)size;
#endif
}

uint64_t fa__os_clock_ns(void) {
    struct timespec now = {0};
    // Cannot fail: the clock is known and the pointer valid.
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t fa__os_thread_id(void) {
    // Counted, so that the number of a thread that is gone never comes back; pthread_self() may.
    static FA__THREAD_LOCAL uint64_t own_id;
    if (own_id == 0) {
        own_id = fa__shared_add(&threads_numbered, 1) + 1;
    }
    return own_id;
}

static void thread_exits(void *value) {
    (void)value;
    void (*fn)(void) = fa__load_acquire(&exit_function);
    fn();
}

static void make_exit_key(void) {
    exit_key_made = pthread_key_create(&exit_key, thread_exits) == 0;
}

bool fa__os_at_thread_exit(void (*fn)(void)) {
    if (pthread_once(&exit_key_once, make_exit_key) != 0 || !exit_key_made) {
        return false;
    }
    fa__store_release(&exit_function, fn);
    // The system clears the value before it calls thread_exits(), and looks for values afterwards:
    // one set from inside `fn` has it called again, PTHREAD_DESTRUCTOR_ITERATIONS (4) at most.
    return pthread_setspecific(exit_key, &exit_key) == 0;
}

void fa__os_yield(void) {
    (void)sched_yield();
}

static pthread_mutex_t *posix_mutex(fa__mutex *mutex) {
    return (pthread_mutex_t *)(void *)mutex->storage;
}

bool fa__os_mutex_init(fa__mutex *mutex) {
    return pthread_mutex_init(posix_mutex(mutex), NULL) == 0;
}

void fa__os_mutex_destroy(fa__mutex *mutex) {
    (void)pthread_mutex_destroy(posix_mutex(mutex));
}

void fa__os_mutex_lock(fa__mutex *mutex) {
    (void)pthread_mutex_lock(posix_mutex(mutex));
}

void fa__os_mutex_unlock(fa__mutex *mutex) {
    (void)pthread_mutex_unlock(posix_mutex(mutex));
}

void fa__os_global_lock(void) {
    (void)pthread_mutex_lock(&global_mutex);
}

void fa__os_global_unlock(void) {
    (void)pthread_mutex_unlock(&global_mutex);
}

#else

#include "os.h" // Nothing to define here, but a translation unit must not be empty.

#endif

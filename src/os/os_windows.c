// The operating system contract (os.h) on Windows, 7 and later.
//
// Memory has the same states as on POSIX: VirtualAlloc() reserves and commits, VirtualFree()
// decommits and releases. A reservation is always exactly one VirtualAlloc(MEM_RESERVE), because
// only a whole one can be released.
//
// Thread exit is learnt from the loader's list of thread callbacks (section .CRT$XL*), not from a
// fiber-local slot: FlsAlloc() calls back when a fiber is deleted, on whatever thread deletes it,
// and programs that run jobs on fibers do that in the middle of a thread's life. We have two
// entries in the list, because destructors of others run between them: the early one finds the
// compiler's thread-local storage intact, the late one hears of threads that used the library again
// in between. Neither does anything when the process exits.
#if defined(_WIN32)

#include "os.h"

#include "atomic.h"

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>

// How often an exit function that keeps asking is called again: as often as POSIX promises.
#define EXIT_ROUNDS 4

// How often an aligned reservation is tried again after another thread took the place found for it.
#define RESERVE_ATTEMPTS 16

_Static_assert(sizeof(SRWLOCK) <= sizeof(fa__mutex), "fa__mutex.storage is too small");
_Static_assert(_Alignof(SRWLOCK) <= _Alignof(fa__mutex), "fa__mutex.storage is misaligned");

static SRWLOCK global_lock = SRWLOCK_INIT;

static INIT_ONCE exit_slot_once = INIT_ONCE_STATIC_INIT;
static _Atomic(DWORD) exit_slot = TLS_OUT_OF_INDEXES; // Not null for a thread that asked.
static _Atomic(void (*)(void)) exit_function;         // The same value is stored by every caller.

size_t fa__os_page_size(void) {
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return (size_t)info.dwPageSize;
}

static unsigned char *reserve_at(void *place, size_t size) {
    return VirtualAlloc(place, size, MEM_RESERVE, PAGE_NOACCESS);
}

void *fa__os_reserve(size_t size, size_t align) {
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    const size_t granularity = (size_t)info.dwAllocationGranularity;
    if (size == 0) {
        return NULL;
    }
    if (align <= granularity) {
        return reserve_at(NULL, size);
    }
    if (size > SIZE_MAX - (align - granularity)) {
        return NULL;
    }
    // A reservation cannot be trimmed. So find a place by reserving too much, give it back, and
    // reserve the aligned part of it. Another thread may be quicker in between, hence the loop.
    for (int attempt = 0; attempt < RESERVE_ATTEMPTS; attempt++) {
        unsigned char *base = reserve_at(NULL, size + (align - granularity));
        if (base == NULL) {
            return NULL;
        }
        const size_t past = (size_t)((uintptr_t)base & (align - 1));
        unsigned char *place = past == 0 ? base : base + (align - past);
        VirtualFree(base, 0, MEM_RELEASE);
        unsigned char *ptr = reserve_at(place, size);
        if (ptr != NULL) {
            return ptr;
        }
    }
    return NULL;
}

bool fa__os_commit(void *ptr, size_t size) {
    return VirtualAlloc(ptr, size, MEM_COMMIT, PAGE_READWRITE) != NULL;
}

void fa__os_decommit(void *ptr, size_t size) {
    if (VirtualFree(ptr, size, MEM_DECOMMIT)) {
        return;
    }
    // The system had no memory left to split its own records. The pages stay, so they must be
    // zeroed by hand, as far as they are committed.
    MEMORY_BASIC_INFORMATION region;
    unsigned char *at = ptr;
    unsigned char *end = at + size;
    while (at < end && VirtualQuery(at, &region, sizeof(region)) != 0) {
        const size_t left = (size_t)(end - at);
        const size_t length = region.RegionSize < left ? region.RegionSize : left;
        if (region.State == MEM_COMMIT) {
            ZeroMemory(at, length);
        }
        at += length;
    }
}

void fa__os_release(void *ptr, size_t size) {
    (void)size; // Windows knows it, and insists on being told 0.
    VirtualFree(ptr, 0, MEM_RELEASE);
}

void *fa__os_resize(void *ptr, size_t old_size, size_t new_size) {
    (void)ptr;
    (void)old_size;
    (void)new_size;
    return NULL; // Reserved addresses cannot be moved here.
}

void fa__os_advise_huge(void *ptr, size_t size) {
    // Large pages must be asked for when reserving, and need a privilege that few programs have.
    (void)ptr;
    (void)size;
}

uint64_t fa__os_clock_ns(void) {
    LARGE_INTEGER ticks;
    LARGE_INTEGER frequency;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&frequency);
    const uint64_t count = (uint64_t)ticks.QuadPart;
    const uint64_t per_second = (uint64_t)frequency.QuadPart;
    // Whole seconds and the rest apart: count * 1e9 overflows after half an hour at 10 MHz.
    const uint64_t rest_ns = count % per_second * UINT64_C(1000000000) / per_second;
    return count / per_second * UINT64_C(1000000000) + rest_ns;
}

uint64_t fa__os_thread_id(void) {
    return (uint64_t)GetCurrentThreadId();
}

static void run_exit_function(void) {
    const DWORD slot = fa__load_acquire(&exit_slot);
    if (slot == TLS_OUT_OF_INDEXES) {
        return;
    }
    for (int round = 0; round < EXIT_ROUNDS && TlsGetValue(slot) != NULL; round++) {
        TlsSetValue(slot, NULL); // First, so that `fn` can ask again.
        void (*fn)(void) = fa__load_acquire(&exit_function);
        fn();
    }
}

static void NTAPI thread_notice(PVOID module, DWORD reason, PVOID reserved) {
    (void)module;
    (void)reserved;
    if (reason == DLL_THREAD_DETACH) {
        run_exit_function();
    }
}

// The loader calls these in the order of their section names. The C runtime's own are XLC to XLF:
// destructors of thread-local objects, and the storage behind _Thread_local where it is emulated.
#if defined(_MSC_VER)
#pragma section(".CRT$XLB", long, read)
#pragma section(".CRT$XLY", long, read)
#if defined(_M_IX86)
#pragma comment(linker, "/INCLUDE:__tls_used")
#pragma comment(linker, "/INCLUDE:_fa__os_thread_notice_early")
#pragma comment(linker, "/INCLUDE:_fa__os_thread_notice_late")
#else
#pragma comment(linker, "/INCLUDE:_tls_used")
#pragma comment(linker, "/INCLUDE:fa__os_thread_notice_early")
#pragma comment(linker, "/INCLUDE:fa__os_thread_notice_late")
#endif
extern const PIMAGE_TLS_CALLBACK fa__os_thread_notice_early;
extern const PIMAGE_TLS_CALLBACK fa__os_thread_notice_late;
__declspec(allocate(".CRT$XLB")) const PIMAGE_TLS_CALLBACK fa__os_thread_notice_early =
    thread_notice;
__declspec(allocate(".CRT$XLY")) const PIMAGE_TLS_CALLBACK fa__os_thread_notice_late =
    thread_notice;
#else
__attribute__((section(".CRT$XLB"), used)) static const PIMAGE_TLS_CALLBACK notice_early =
    thread_notice;
__attribute__((section(".CRT$XLY"), used)) static const PIMAGE_TLS_CALLBACK notice_late =
    thread_notice;
#endif

static BOOL CALLBACK make_exit_slot(PINIT_ONCE once, PVOID parameter, PVOID *context) {
    (void)once;
    (void)parameter;
    (void)context;
    const DWORD slot = TlsAlloc();
    fa__store_release(&exit_slot, slot);
    return slot != TLS_OUT_OF_INDEXES;
}

bool fa__os_at_thread_exit(void (*fn)(void)) {
    if (!InitOnceExecuteOnce(&exit_slot_once, make_exit_slot, NULL, NULL)) {
        return false;
    }
    fa__store_release(&exit_function, fn);
    return TlsSetValue(fa__load_acquire(&exit_slot), &exit_function) != 0;
}

static SRWLOCK *windows_lock(fa__mutex *mutex) {
    return (SRWLOCK *)(void *)mutex->storage;
}

void fa__os_yield(void) {
    (void)SwitchToThread();
}

bool fa__os_mutex_init(fa__mutex *mutex) {
    InitializeSRWLock(windows_lock(mutex));
    return true;
}

void fa__os_mutex_destroy(fa__mutex *mutex) {
    (void)mutex; // Holds nothing.
}

void fa__os_mutex_lock(fa__mutex *mutex) {
    AcquireSRWLockExclusive(windows_lock(mutex));
}

void fa__os_mutex_unlock(fa__mutex *mutex) {
    ReleaseSRWLockExclusive(windows_lock(mutex));
}

void fa__os_global_lock(void) {
    AcquireSRWLockExclusive(&global_lock);
}

void fa__os_global_unlock(void) {
    ReleaseSRWLockExclusive(&global_lock);
}

#else

#include "os.h" // Nothing to define here, but a translation unit must not be empty.

#endif

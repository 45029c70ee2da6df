// The one place that knows compiler atomics and thread-local storage.
//
// Counters that one thread writes and others read are loaded and stored relaxed: on every target
// that is a plain move, and ThreadSanitizer sees that it is meant.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The initial-exec model costs one load; the default model of a shared library costs a call
// (NUMBERS: 2.7 ns).
#if defined(__GNUC__) && !defined(_WIN32)
#define FA__THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))
#else
#define FA__THREAD_LOCAL _Thread_local
#endif

typedef _Atomic(size_t) fa__size;
typedef _Atomic(uint64_t) fa__u64;
typedef _Atomic(uint32_t) fa__u32;

#define fa__load(ptr) atomic_load_explicit((ptr), memory_order_relaxed)
#define fa__store(ptr, value) atomic_store_explicit((ptr), (value), memory_order_relaxed)
#define fa__load_acquire(ptr) atomic_load_explicit((ptr), memory_order_acquire)
#define fa__store_release(ptr, value) atomic_store_explicit((ptr), (value), memory_order_release)

// Adds to a counter that only the calling thread writes: a load, an add, a store, nothing locked.
#define fa__own_add(ptr, value) fa__store((ptr), fa__load(ptr) + (value))
#define fa__own_sub(ptr, value) fa__store((ptr), fa__load(ptr) - (value))

// Adds to or subtracts from a counter that many threads write. Returns the value before.
#define fa__shared_add(ptr, value) atomic_fetch_add_explicit((ptr), (value), memory_order_relaxed)
#define fa__shared_sub(ptr, value) atomic_fetch_sub_explicit((ptr), (value), memory_order_relaxed)
#define fa__shared_swap(ptr, expected, value)                                                      \
    atomic_compare_exchange_weak_explicit((ptr), (expected), (value), memory_order_relaxed,        \
                                          memory_order_relaxed)

// Replaces `expected` by `value`, in one try that fails only when something else is there.
static inline bool fa__swap_once(fa__u32 *target, uint32_t expected, uint32_t value) {
    return atomic_compare_exchange_strong_explicit(target, &expected, value, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

// For loops, on a word that says who may touch what: what was written before it is seen by whoever
// finds the new value.
#define fa__swap(ptr, expected, value)                                                             \
    atomic_compare_exchange_weak_explicit((ptr), (expected), (value), memory_order_acq_rel,        \
                                          memory_order_acquire)

// Raises a maximum that many threads write.
static inline void fa__raise(fa__size *maximum, size_t value) {
    size_t present = fa__load(maximum);
    while (value > present && !fa__shared_swap(maximum, &present, value)) {
    }
}

/// @file base.h
/// What every other header stands on: results, errors, tags as values, and the attributes of the
/// compilers.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FA_VERSION_MAJOR 0
#define FA_VERSION_MINOR 1
#define FA_VERSION_PATCH 0
#define FA_VERSION_STRING "0.1.0"

#ifdef __cplusplus
#define FA_BEGIN_DECLS extern "C" {
#define FA_END_DECLS }
#else
#define FA_BEGIN_DECLS
#define FA_END_DECLS
#endif

#if defined(_WIN32) && defined(FA_SHARED) && defined(FA_BUILD)
#define FA_API __declspec(dllexport)
#elif defined(_WIN32) && defined(FA_SHARED)
#define FA_API __declspec(dllimport)
#elif defined(__GNUC__) && !defined(_WIN32)
#define FA_API __attribute__((visibility("default")))
#else
#define FA_API
#endif

#if defined(__GNUC__)
#define FA_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define FA_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define FA_IS_CONSTANT(value) __builtin_constant_p(value)
#define FA_COLD __attribute__((cold, noinline))
#define FA_MALLOC __attribute__((malloc))
#define FA_ALLOC_SIZE(argument) __attribute__((alloc_size(argument)))
#define FA_ALLOC_SIZE2(first, second) __attribute__((alloc_size(first, second)))
#define FA_NODISCARD __attribute__((warn_unused_result))
#define FA_PURE __attribute__((pure))
#if defined(__MINGW32__) && !defined(__clang__)
// Plain `printf` means Microsoft's there, which does not know %zu; the library has the C one.
#define FA_PRINTF(text, first) __attribute__((format(gnu_printf, text, first)))
#else
#define FA_PRINTF(text, first) __attribute__((format(printf, text, first)))
#endif
#else
#define FA_LIKELY(condition) (condition)
#define FA_UNLIKELY(condition) (condition)
#define FA_IS_CONSTANT(value) 0
#define FA_COLD
#define FA_MALLOC
#define FA_ALLOC_SIZE(argument)
#define FA_ALLOC_SIZE2(first, second)
#define FA_NODISCARD
#define FA_PURE
#define FA_PRINTF(text, first)
#endif

// Private: plain moves that another thread may see, and the address that stands for the calling
// thread (it differs between threads that are alive). Where there is none, what needs it is called
// instead of inlined.
#if defined(__GNUC__)
#define FA_LOAD_RELAXED(ptr) __atomic_load_n((ptr), __ATOMIC_RELAXED)
#define FA_STORE_RELAXED(ptr, value) __atomic_store_n((ptr), (value), __ATOMIC_RELAXED)
#else
#define FA_LOAD_RELAXED(ptr) (*(ptr))
#define FA_STORE_RELAXED(ptr, value) ((void)(*(ptr) = (value)))
#endif
#if defined(__GNUC__) && defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#define FA_HAS_THREAD_POINTER 1
static inline const void *fa_thread_pointer(void) {
    const void *pointer;
#if defined(__x86_64__)
    __asm__("mov %%fs:0, %0" : "=r"(pointer));
#else
    __asm__("mrs %0, tpidr_el0" : "=r"(pointer));
#endif
    return pointer;
}
// Whether it is the calling thread's.
static inline bool fa_is_thread_pointer(const void *pointer) {
#if defined(__x86_64__)
    bool is_own;
    __asm__("cmp %%fs:0, %1" : "=@ccz"(is_own) : "r"(pointer));
    return is_own;
#else
    return pointer == fa_thread_pointer();
#endif
}
#endif

#ifdef __cplusplus
#define FA_ALIGNOF(type) alignof(type)
#else
#define FA_ALIGNOF(type) _Alignof(type)
#endif

/// Every arena allocation starts on a multiple of this many bytes, and sizes are rounded up to it.
#define FA_ALIGNMENT ((size_t)16)

/// The largest alignment that may be asked for: 1 MiB.
#define FA_ALIGNMENT_MAX ((size_t)1 << 20)

FA_BEGIN_DECLS

/// Every result once: X(name, value, message). Errors are negative, so `if (result < 0)` finds all
/// of them.
#define FA_RESULT_MAP(X)                                                                           \
    X(FA_OK, 0, "it worked")                                                                       \
    X(FA_ERR_INVALID, -1, "an argument is not allowed here")                                       \
    X(FA_ERR_OUT_OF_MEMORY, -2, "there is no memory left")                                         \
    X(FA_ERR_BUDGET, -3, "a budget refused")                                                       \
    X(FA_ERR_LIMIT, -4, "a fixed limit refused")                                                   \
    X(FA_ERR_NO_FRAME, -5, "no frame is open")                                                     \
    X(FA_ERR_FRAME_OPEN, -6, "a frame is already open")                                            \
    X(FA_ERR_STALE, -7, "the thing referred to is gone")                                           \
    X(FA_ERR_WRONG_THREAD, -8, "only the owning thread may do this")                               \
    X(FA_ERR_OVERFLOW, -9, "the size does not fit into size_t")                                    \
    X(FA_ERR_BUSY, -10, "somebody still uses it")                                                  \
    X(FA_ERR_NOT_FOUND, -11, "there is no such thing")                                             \
    X(FA_ERR_TIMEOUT, -12, "it took longer than allowed")                                          \
    X(FA_ERR_IO, -13, "reading or writing failed")                                                 \
    X(FA_ERR_FORMAT, -14, "the data is not in the expected format")                                \
    X(FA_ERR_UNSUPPORTED, -15, "this is not possible here")

/// What a call says about its success. FA_OK is 0, everything else is negative.
typedef enum fa_result {
#define FA_RESULT_ENUM(name, value, message) name = (value),
    FA_RESULT_MAP(FA_RESULT_ENUM)
#undef FA_RESULT_ENUM
} fa_result;

/// A context owns all memory and all accounts; see context.h.
typedef struct fa_context fa_context;

/// Memory that dies together; see arena.h. Its fields are for the inline functions there: read them
/// through fa_arena_stats().
typedef struct fa_arena {
    char *cursor; ///< Private: the next free byte, a multiple of 16.
    char *limit;  ///< Private: up to here without asking; the cursor when every call must ask.
} fa_arena;

/// A tag says whom memory belongs to ("ai/pathfinding"); see tag.h. A value of one context: copy it
/// freely. Zero-initialised it is FA_TAG_ROOT: memory nobody claimed.
typedef struct fa_tag {
    uint32_t id; ///< Its place in the context's tag table; 0 is the root.
} fa_tag;

/// The root of the tag tree: everything untagged is charged to it, and every other tag rolls up
/// into it.
#ifdef __cplusplus
#define FA_TAG_ROOT (fa_tag{0})
#else
#define FA_TAG_ROOT ((fa_tag){0})
#endif

/// Why the last failing call of this thread failed. Filled without allocating.
typedef struct fa_error {
    fa_result result; ///< What the call returned, or would have returned had it not returned NULL.
    int code;     ///< The FA code (3 for FA003, see diagnostics.h); 0 when the failure has none.
    size_t bytes; ///< Bytes asked for; 0 when no size was involved.
    size_t limit; ///< The limit that refused, in bytes (or a count, where the
        ///< text says so); 0: none.
    fa_tag tag;           ///< The tag that was to be charged.
    uint64_t frame;       ///< Index of the thread's open frame; 0 when none was open.
    const char *tag_path; ///< Path of `tag`, at most 95 bytes of it; "" for the root.
    const char *thread;   ///< Name of the thread, at most 31 bytes of it.
    const char *where; ///< Name of the arena, or of the field or argument that was refused, or "".
    const char *text;  ///< All of the above as one English sentence.
} fa_error;

/// The name of a result: "FA_ERR_BUDGET". "FA_RESULT_UNKNOWN" for a number that is no result.
/// A constant string. Any thread, O(number of results).
FA_API const char *fa_result_name(fa_result result);

/// What a result means, as a short English phrase. A constant string. Any thread.
FA_API const char *fa_result_message(fa_result result);

/// The last failure of the calling thread in any context; never NULL, `result` is FA_OK before the
/// first one. A success does not clear it. The pointer and its strings are valid until the thread's
/// next failing call. Costs nothing until it is called: the text is written here. Any thread; each
/// sees its own.
FA_API const fa_error *fa_last_error(void);

/// Forgets the calling thread's last failure, so that the next look finds only a later one.
FA_API void fa_last_error_clear(void);

/// The version the library was built as, such as "0.1.0": compare with FA_VERSION_STRING. A
/// constant string.
FA_API const char *fa_version(void);

FA_END_DECLS

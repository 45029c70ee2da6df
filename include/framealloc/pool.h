/// @file pool.h
/// Objects of one type, allocated and freed one at a time, from any thread.
///
///     fa_pool *contacts = NULL;
///     if (fa_pool_create(ctx, &FA_POOL_OF(contact), &contacts) < 0) { ... }
///     contact *c = fa_pool_alloc(contacts);
///     fa_pool_free(contacts, c);
///     fa_pool_destroy(contacts);
///
/// Each thread keeps a small stack of free slots: allocating pops an address, freeing pushes one,
/// and neither touches the object, takes a lock, or uses an atomic operation. Stacks are filled and
/// emptied half at a time. The thread that uses a pool first gets its stack inlined into its code
/// (fa_pool_alloc() is then 9 instructions); all others call a function. Free slots live in 64 KiB
/// slabs found by address; slots come back in address order, so neighbours in memory are allocated
/// one after the other.
///
/// Nothing stored for a pool lies between its objects, except what you ask for: handles, object
/// tags and a max_count put 8 bytes before each, in the cache line of its first byte unless that
/// starts one.
#pragma once

#include "base.h"

FA_BEGIN_DECLS

/// How to make a pool. Zero or NULL in any field means its default.
typedef struct fa_pool_desc {
    const char *name; ///< For reports; copied, at most 31 bytes. Default "pool".
    fa_tag tag;       ///< Whom the objects are charged to. Default the root. See object_tags.
    size_t size;      ///< Bytes an object; at most 16 MiB. Required.
    size_t align;     ///< Of every object: a power of two, at most 64 KiB. Default: 16, or less for
                      ///< sizes that are no multiple of 16 (see FA_POOL_OF).
    size_t max_count; ///< Objects that may be live at once, in all threads together: never one
                      ///< more, and never refused before. FA409 beyond. Costs an atomic operation
                      ///< per call. Default 0: no limit.
    /// Called once for every new object, some time before it is first handed out: an object that is
    /// freed and handed out again keeps its state. Called in small groups, ahead of need, with a
    /// lock of the pool held: must not use the pool. May be NULL.
    void (*construct)(void *object, void *user);
    /// Called by fa_pool_free(), on the freeing thread: prepares the object for its next use. May
    /// be NULL.
    void (*reset)(void *object, void *user);
    /// Called once for every constructed object, live or free, before its memory goes: by
    /// fa_pool_destroy() and when unused memory is given back. As `construct`. May be NULL.
    void (*destruct)(void *object, void *user);
    void *user;       ///< Passed to the three.
    bool zero;        ///< Objects are zeroed whenever they are handed out. Default no.
    bool handles;     ///< Objects have generations, so that fa_pool_handle() works. Default no.
    bool object_tags; ///< Each object is charged to the tag that is current when it is allocated
                      ///< (fa_tag_push()), instead of `tag`. Default no.
} fa_pool_desc;

/// A pool's free slots as the inline functions see them. Private.
typedef struct fa_slot_cache {
    void **top;       ///< Private: above the slot that is handed out next.
    void **end;       ///< Private: full here.
    const void *home; ///< Private: the thread that may use it without asking; NULL: none.
} fa_slot_cache;

/// A pool. Its fields are for the inline functions here: read it through fa_pool_stats().
typedef struct fa_pool {
    fa_slot_cache cache;    ///< Private.
    void *rest[5];          ///< Private.
    char *base;             ///< Private: handles count steps of 8 bytes from here,
    uint64_t span;          ///< Private: up to so many.
    const uint32_t *owners; ///< Private: which pool each 64 KiB belong to,
    uint32_t number;        ///< Private: and what they say of this one.
} fa_pool;

/// An object of a pool by place and generation: stays a value that can be checked after the object
/// is gone. Zero-initialised it refers to nothing. Copy it freely; 64 bits: 28 of generation, 36 of
/// place. A slot that has used up its generations (2^27 lives) is never handed out
/// again, so a handle never comes to mean another object.
typedef struct fa_handle {
    uint64_t value; ///< Private.
} fa_handle;

/// Private: the part of a handle that says where its object lies.
#define FA_HANDLE_PLACE (((uint64_t)1 << 36) - 1)

/// Figures of a pool.
typedef struct fa_pool_stats_result {
    char name[32];     ///< Its name.
    size_t live;       ///< Objects handed out and not freed.
    size_t peak;       ///< The most of them: exact with max_count; else an upper bound, by what
                       ///< threads' stacks held, 128 a thread at most.
    size_t capacity;   ///< Objects there is memory for.
    size_t slot_bytes; ///< What an object costs: its size, what was asked for beside it, and
                       ///< padding. What tags are charged.
    size_t live_bytes; ///< live * slot_bytes.
    size_t committed_bytes; ///< Memory held.
    size_t cached;          ///< Free objects in threads' stacks. Of the capacity.
    size_t retired;         ///< Slots whose generations are used up.
    size_t max_count;       ///< As created; 0: none.
} fa_pool_stats_result;

/// A pool descriptor for objects of type T: an expression of type fa_pool_desc, to take the address
/// of in C; further fields may follow: FA_POOL_OF(T, .name = "contacts", .handles = true). In C++
/// fill a descriptor by hand.
#define FA_POOL_OF(...) FA_POOL_OF_(__VA_ARGS__, .size = sizeof(FA_POOL_TYPE_(__VA_ARGS__, )))
#define FA_POOL_OF_(T, ...) ((fa_pool_desc){.align = FA_ALIGNOF(T), __VA_ARGS__})
#define FA_POOL_TYPE_(T, ...) T

/// Makes a pool. Nothing is allocated for objects yet. On failure `*out` is NULL: FA_ERR_INVALID
/// names the field in fa_last_error()->where (FA014; FA018 for an alignment, FA802 for a tag);
/// FA_ERR_OUT_OF_MEMORY or FA_ERR_LIMIT when memory is refused. Any thread.
FA_API FA_NODISCARD fa_result fa_pool_create(fa_context *ctx, const fa_pool_desc *desc,
                                             fa_pool **out);

/// Ends a pool and gives its memory back, at a cost per slab, not per object (unless there is a
/// destructor). Objects still live are reported (FA406, with their number) and make it return
/// FA_ERR_BUSY; they are gone all the same, and their handles resolve to nothing. No other thread
/// may be inside a call on the pool. NULL is FA_OK.
FA_API fa_result fa_pool_destroy(fa_pool *pool);

/// The out-of-line halves of fa_pool_alloc() and fa_pool_free(), for all cases. Same contract.
FA_API FA_MALLOC void *fa_pool_alloc_call(fa_pool *pool);
FA_API void fa_pool_free_call(fa_pool *pool, void *object);

/// One object, uninitialised unless `zero` or `construct` says otherwise; the pool's until freed.
/// NULL when refused: FA_ERR_BUDGET (FA302, FA303), FA_ERR_LIMIT (FA409 for max_count, FA301),
/// FA_ERR_OUT_OF_MEMORY (FA305); nothing has changed then. Any thread.
static inline void *fa_pool_alloc(fa_pool *pool) {
#ifdef FA_HAS_THREAD_POINTER
    if (FA_LIKELY(fa_is_thread_pointer(FA_LOAD_RELAXED(&pool->cache.home)))) {
        void **top = pool->cache.top;
        void *object = top[-1];
        if (FA_LIKELY(object != NULL)) {
            FA_STORE_RELAXED(&pool->cache.top, top - 1);
            return object;
        }
    }
#endif
    return fa_pool_alloc_call(pool);
}

/// Gives an object back. Any thread, whichever allocated it; also after that one is gone. NULL does
/// nothing. A pointer that is no object of the pool is reported as FA404, one that is free already
/// as FA403, and nothing else happens: at once for pools with handles and while FA_CHECK_BLOCKS is
/// on, otherwise when the slot leaves the thread's stack (freeing the same object twice in a row is
/// found at once).
static inline void fa_pool_free(fa_pool *pool, void *object) {
#ifdef FA_HAS_THREAD_POINTER
    if (FA_LIKELY(object != NULL && fa_is_thread_pointer(FA_LOAD_RELAXED(&pool->cache.home)))) {
        void **top = pool->cache.top;
        if (FA_LIKELY(top != pool->cache.end && top[-1] != object)) {
            *top = object;
            FA_STORE_RELAXED(&pool->cache.top, top + 1);
            return;
        }
    }
#endif
    fa_pool_free_call(pool, object);
}

/// Up to `count` objects at once, into `out`; returns how many. Fewer only when the next one was
/// refused (fa_last_error()). One lock for many objects. Any thread.
FA_API size_t fa_pool_alloc_batch(fa_pool *pool, void **out, size_t count);

/// Frees `count` objects. NULL entries are skipped. Any thread.
FA_API void fa_pool_free_batch(fa_pool *pool, void **objects, size_t count);

/// The out-of-line half of fa_pool_handle().
FA_API fa_handle fa_pool_handle_call(fa_pool *pool, const void *object);

/// A handle to a live object. Zero (FA404 reported) for a pointer that is no live object of the
/// pool, as far as that shows (FA_CHECK_BLOCKS sees all), or when the pool has no handles (FA014).
/// Any thread.
static inline fa_handle fa_pool_handle(fa_pool *pool, const void *object) {
    uint64_t place = (uint64_t)((uintptr_t)object - 8 - (uintptr_t)pool->base) / 8;
    if (FA_LIKELY(place < FA_LOAD_RELAXED(&pool->span)) &&
        FA_LIKELY(FA_LOAD_RELAXED(&pool->owners[place >> 13]) == pool->number)) {
        const uint32_t *generation = (const uint32_t *)((uintptr_t)object - 4);
        uint64_t present = FA_LOAD_RELAXED(generation);
        if (FA_LIKELY(present % 2 != 0)) {
            fa_handle handle = {present << 36 | place};
            return handle;
        }
    }
    return fa_pool_handle_call(pool, object);
}

/// The out-of-line half of fa_pool_resolve().
FA_API void *fa_pool_resolve_call(const fa_pool *pool, fa_handle handle);

/// The object of a handle; NULL when it was freed, or the pool it came from was destroyed, or the
/// handle is zero. Never reports. Valid as long as the object lives. Any thread, but memory must
/// not be given back (fa_pool_trim(), fa_context_trim()) by another at the same moment.
static inline void *fa_pool_resolve(const fa_pool *pool, fa_handle handle) {
    uint64_t place = handle.value & FA_HANDLE_PLACE;
    if (FA_UNLIKELY(place >= FA_LOAD_RELAXED(&pool->span))) {
        return fa_pool_resolve_call(pool, handle);
    }
    // A slab that was given back is not to be looked at.
    if (FA_UNLIKELY(FA_LOAD_RELAXED(&pool->owners[place >> 13]) != pool->number)) {
        return NULL;
    }
    char *object = pool->base + place * 8 + 8; // The place is that of the 8 bytes before it.
    const uint32_t *generation = (const uint32_t *)(const void *)(object - 4);
    return FA_LIKELY(FA_LOAD_RELAXED(generation) == handle.value >> 36) ? object : NULL;
}

/// Frees the object of a handle: FA_ERR_STALE (FA401 reported) when it is gone already. Any thread;
/// of several that free one handle at the same time, one succeeds.
FA_API fa_result fa_pool_free_handle(fa_pool *pool, fa_handle handle);

/// Makes sure that `count` objects in all can be live without asking the operating system: memory
/// is committed and touched, objects are constructed. It stays reserved until the pool is
/// destroyed, and is not charged to tags before it is used. FA_ERR_LIMIT above max_count (FA409) or
/// memory_limit (FA301), FA_ERR_OUT_OF_MEMORY. Any thread.
FA_API fa_result fa_pool_reserve(fa_pool *pool, size_t count);

/// Gives back what is unused: the calling thread's stack, free slots kept together for all threads,
/// and slabs with nothing live in them, but for `keep` free objects and what was reserved; and with
/// them what pools and the heap have freed before and the context still holds. Returns the bytes
/// given back. What nobody has used for a while goes without being asked for, at the end of frames.
/// Takes a lock. Any thread.
FA_API size_t fa_pool_trim(fa_pool *pool, size_t keep);

/// Calls `visit` for every live object, slab by slab in address order, until it returns false. No
/// other thread may use the pool meanwhile. `visit` may free the object it is given and no other,
/// and may allocate nothing from the pool. Returns how many were visited. O(capacity).
FA_API size_t fa_pool_each(fa_pool *pool, bool (*visit)(void *object, void *user), void *user);

/// The tag an object is charged to; the root for a pointer that is no object of the pool.
FA_API fa_tag fa_pool_tag(fa_pool *pool, const void *object);

/// Fills `out`. Exact when no other thread is inside a call on the pool. Takes a lock. Any thread.
FA_API fa_result fa_pool_stats(fa_pool *pool, fa_pool_stats_result *out);

/// The pool's next object as a T *: fa_pool_new(contacts, contact).
#define fa_pool_new(pool, T) ((T *)fa_pool_alloc(pool))

FA_END_DECLS

/// @file vec.h
/// Arrays that grow, on any arena.
///
///     typedef FA_VEC(contact) contact_vec;
///     contact_vec contacts = {0};                               // empty, and valid
///     fa_vec_push(frame, &contacts, {.body = 7, .depth = 0.1f});
///     for (size_t i = 0; i < contacts.count; i++) { solve(&contacts.data[i]); }
///
/// `data`, `count` and `capacity` may be read freely; an index that may be wrong goes through
/// fa_vec_at(). A vector is never freed: its memory goes with the arena. It must not be used after
/// that, so forget it (or set it to {0}) when the arena is reset or rewound past the growth it last
/// had.
///
/// Growth is in place when the vector's block is the arena's last, and costs nothing but the new
/// bytes. Otherwise the elements move to a block twice as large, and the old one stays behind in
/// the arena until it is reset: pointers to elements are then out of date, though still readable.
/// fa_vec_reserve() avoids both.
///
/// Every operation that can fail returns a fa_result and, on failure, leaves the vector as it was:
/// what the arena reported when it refused, FA_ERR_OVERFLOW (FA013) for a count that no memory
/// holds, FA_ERR_INVALID (FA015) for an index that does not exist. Elements are copied as bytes.
/// The owner of the arena is the only thread that may change a vector. Every argument of a macro is
/// evaluated once.
#pragma once

#include "arena.h"
#include "span.h"

#include <string.h>

/// A vector type of `T`. Name it with a typedef, because every use of the macro is a new type. `T
/// *` must mean "pointer to T": name array and function pointer types first. Alignment above 16 is
/// honoured. Count and capacity are no neighbours: gcc loads neighbours as one, which waits for the
/// store that the push before made to one of them.
#define FA_VEC(T)                                                                                  \
    struct {                                                                                       \
        size_t capacity; /* Elements it can hold without growing. */                               \
        T *data;         /* The first element; NULL as long as there was none. */                  \
        size_t count;    /* Elements. */                                                           \
    }

FA_BEGIN_DECLS

/// Private to the macros below: what all vectors look like, whatever their elements.
typedef struct FA_MAY_ALIAS fa_vec_raw {
    size_t capacity;
    void *data;
    size_t count;
} fa_vec_raw;

/// Private to the inline functions below: they hand over a copy of the vector and store it back, so
/// that the address of the caller's vector goes nowhere. Always inlined, this lets the compiler
/// keep a local vector in registers while a loop pushes to it: a push is then a compare, a store
/// and an add.
#if defined(__GNUC__)
#define FA_VEC_INLINE static inline __attribute__((always_inline))
#else
#define FA_VEC_INLINE static inline
#endif

/// Makes room for `more` elements beyond `count`, at least doubling. The count stays.
FA_API FA_COLD fa_result fa_vec_raw_grow(fa_arena *arena, fa_vec_raw *vec, size_t more, size_t size,
                                         size_t align);

/// Makes the capacity at least `capacity`, exactly when it grows.
FA_API fa_result fa_vec_raw_reserve(fa_arena *arena, fa_vec_raw *vec, size_t capacity, size_t size,
                                    size_t align);

/// Sets the count; new elements are zeroed.
FA_API fa_result fa_vec_raw_resize(fa_arena *arena, fa_vec_raw *vec, size_t count, size_t size,
                                   size_t align);

/// Appends `count` items, which may lie in the vector.
FA_API fa_result fa_vec_raw_extend(fa_arena *arena, fa_vec_raw *vec, const void *items,
                                   size_t count, size_t size, size_t align);

/// Inserts one item, which must not lie in the vector.
FA_API fa_result fa_vec_raw_insert(fa_arena *arena, fa_vec_raw *vec, size_t index, const void *item,
                                   size_t size, size_t align);

/// Removes an element and moves the later ones down.
FA_API fa_result fa_vec_raw_remove(fa_vec_raw *vec, size_t index, size_t size);

/// Removes an element and puts the last one into its place.
FA_API fa_result fa_vec_raw_remove_swap(fa_vec_raw *vec, size_t index, size_t size);

/// Private to fa_vec_at() and fa_vec_last(): records FA015 in fa_last_error() and returns NULL.
FA_API FA_COLD void *fa_vec_bad_index(size_t index, size_t count);

/// Private: the copy.
FA_VEC_INLINE fa_vec_raw fa_vec_load(const void *vec) {
    const fa_vec_raw *raw = (const fa_vec_raw *)vec;
    fa_vec_raw copy;
    copy.data = raw->data;
    copy.count = raw->count;
    copy.capacity = raw->capacity;
    return copy;
}

/// Private: stores the copy back.
FA_VEC_INLINE void fa_vec_store(void *vec, const fa_vec_raw *copy) {
    fa_vec_raw *raw = (fa_vec_raw *)vec;
    raw->data = copy->data;
    raw->count = copy->count;
    raw->capacity = copy->capacity;
}

/// Private to fa_vec_reserve().
FA_VEC_INLINE fa_result fa_vec_reserve_raw(fa_arena *arena, void *vec, size_t capacity, size_t size,
                                           size_t align) {
    fa_vec_raw copy = fa_vec_load(vec);
    fa_result result = fa_vec_raw_reserve(arena, &copy, capacity, size, align);
    fa_vec_store(vec, &copy);
    return result;
}

/// Private to fa_vec_resize().
FA_VEC_INLINE fa_result fa_vec_resize_raw(fa_arena *arena, void *vec, size_t count, size_t size,
                                          size_t align) {
    fa_vec_raw copy = fa_vec_load(vec);
    fa_result result = fa_vec_raw_resize(arena, &copy, count, size, align);
    fa_vec_store(vec, &copy);
    return result;
}

/// Private to fa_vec_push(): growing, out of the way.
FA_VEC_INLINE fa_result fa_vec_grow_raw(fa_arena *arena, void *vec, size_t size, size_t align) {
    fa_vec_raw copy = fa_vec_load(vec);
    fa_result result = fa_vec_raw_grow(arena, &copy, 1, size, align);
    fa_vec_store(vec, &copy);
    return result;
}

/// Private to fa_vec_push(). `item` must not lie in the vector.
FA_VEC_INLINE fa_result fa_vec_push_raw(fa_arena *arena, void *vec, const void *item, size_t size,
                                        size_t align) {
    fa_vec_raw *raw = (fa_vec_raw *)vec;
    if (FA_UNLIKELY(raw->count == raw->capacity)) {
        fa_result result = fa_vec_grow_raw(arena, vec, size, align);
        if (result < 0) {
            return result;
        }
    }
    size_t count = raw->count;
    memcpy((char *)raw->data + count * size, item, size);
    raw->count = count + 1;
    return FA_OK;
}

/// Private to fa_vec_extend().
FA_VEC_INLINE fa_result fa_vec_extend_raw(fa_arena *arena, void *vec, const void *items,
                                          size_t count, size_t size, size_t align) {
    fa_vec_raw copy = fa_vec_load(vec);
    fa_result result = fa_vec_raw_extend(arena, &copy, items, count, size, align);
    fa_vec_store(vec, &copy);
    return result;
}

/// Private to fa_vec_insert().
FA_VEC_INLINE fa_result fa_vec_insert_raw(fa_arena *arena, void *vec, size_t index,
                                          const void *item, size_t size, size_t align) {
    fa_vec_raw copy = fa_vec_load(vec);
    fa_result result = fa_vec_raw_insert(arena, &copy, index, item, size, align);
    fa_vec_store(vec, &copy);
    return result;
}

/// Private to fa_vec_remove().
FA_VEC_INLINE fa_result fa_vec_remove_raw(void *vec, size_t index, size_t size) {
    fa_vec_raw copy = fa_vec_load(vec);
    fa_result result = fa_vec_raw_remove(&copy, index, size);
    fa_vec_store(vec, &copy);
    return result;
}

/// Private to fa_vec_remove_swap().
FA_VEC_INLINE fa_result fa_vec_remove_swap_raw(void *vec, size_t index, size_t size) {
    fa_vec_raw copy = fa_vec_load(vec);
    fa_result result = fa_vec_raw_remove_swap(&copy, index, size);
    fa_vec_store(vec, &copy);
    return result;
}

/// Private to fa_vec_pop().
FA_VEC_INLINE bool fa_vec_pop_raw(void *vec, void *out, size_t size) {
    fa_vec_raw *raw = (fa_vec_raw *)vec;
    if (raw->count == 0) {
        return false;
    }
    raw->count--;
    if (out != NULL) {
        memcpy(out, (char *)raw->data + raw->count * size, size);
    }
    return true;
}

/// Private to fa_vec_at().
FA_VEC_INLINE void *fa_vec_at_raw(const void *vec, size_t index, size_t size) {
    const fa_vec_raw *raw = (const fa_vec_raw *)vec;
    if (FA_UNLIKELY(index >= raw->count)) {
        return fa_vec_bad_index(index, raw->count);
    }
    return (char *)raw->data + index * size;
}

/// Private to fa_vec_last().
FA_VEC_INLINE void *fa_vec_last_raw(const void *vec, size_t size) {
    const fa_vec_raw *raw = (const fa_vec_raw *)vec;
    if (FA_UNLIKELY(raw->count == 0)) {
        return fa_vec_bad_index(0, 0);
    }
    return (char *)raw->data + (raw->count - 1) * size;
}

/// Private to fa_vec_clear().
FA_VEC_INLINE void fa_vec_clear_raw(void *vec) {
    ((fa_vec_raw *)vec)->count = 0;
}

FA_END_DECLS

/// Private: the type of the elements of the vector at `vec`, and what the functions need to know of
/// it. A struct without `count` and `capacity` (a span, a string) does not compile.
#define FA_VEC_TYPE(vec) __typeof__((vec)->data[0])
#define FA_VEC_CHECK(vec) (0 * sizeof(__typeof__((vec)->count + (vec)->capacity)))
#define FA_VEC_SIZE(vec) (sizeof(FA_VEC_TYPE(vec)) + FA_VEC_CHECK(vec))
#define FA_VEC_SIZE_ALIGN(vec) FA_VEC_SIZE(vec), FA_ALIGNOF(FA_VEC_TYPE(vec))

/// Appends one element: fa_vec_push(arena, &v, value). The value may be an initialiser in braces,
/// and may come from the vector itself. A compare, a store and an add while the capacity lasts.
#define fa_vec_push(arena, vec, ...)                                                               \
    fa_vec_push_raw((arena), (vec), FA_ITEM(FA_VEC_TYPE(vec), __VA_ARGS__), FA_VEC_SIZE_ALIGN(vec))

/// Appends `count` elements from `items`, which may point into the vector. O(count), one growth at
/// most.
#define fa_vec_extend(arena, vec, items, count)                                                    \
    fa_vec_extend_raw((arena), (vec), 1 ? (items) : (vec)->data, (count), FA_VEC_SIZE_ALIGN(vec))

/// Inserts one element before `index`, or at the end when `index` is the count:
/// fa_vec_insert(arena, &v, index, value). The later elements move up. The value may come from the
/// vector itself. O(count - index).
#define fa_vec_insert(arena, vec, index, ...)                                                      \
    fa_vec_insert_raw((arena), (vec), (index), FA_ITEM(FA_VEC_TYPE(vec), __VA_ARGS__),             \
                      FA_VEC_SIZE_ALIGN(vec))

/// Makes room for `capacity` elements altogether, exactly; less than there is changes nothing.
#define fa_vec_reserve(arena, vec, capacity)                                                       \
    fa_vec_reserve_raw((arena), (vec), (capacity), FA_VEC_SIZE_ALIGN(vec))

/// Sets the count. New elements are zeroed; elements beyond are dropped. The capacity never
/// shrinks.
#define fa_vec_resize(arena, vec, count)                                                           \
    fa_vec_resize_raw((arena), (vec), (count), FA_VEC_SIZE_ALIGN(vec))

/// Removes the last element and copies it to `out`, a pointer to an element or NULL. False when the
/// vector is empty, which is no error; `out` is then untouched.
#define fa_vec_pop(vec, out) fa_vec_pop_raw((vec), 1 ? (out) : (vec)->data, FA_VEC_SIZE(vec))

/// Removes the element at `index`; the later ones move down. FA_ERR_INVALID (FA015) when there is
/// none. O(count - index).
#define fa_vec_remove(vec, index) fa_vec_remove_raw((vec), (index), FA_VEC_SIZE(vec))

/// Removes the element at `index`; the last one takes its place. FA_ERR_INVALID (FA015) when there
/// is none. O(1).
#define fa_vec_remove_swap(vec, index) fa_vec_remove_swap_raw((vec), (index), FA_VEC_SIZE(vec))

/// Forgets the elements and keeps the capacity.
#define fa_vec_clear(vec) fa_vec_clear_raw((vec))

/// The element at `index`, as a pointer; NULL with FA015 when there is none. One compare.
#define fa_vec_at(vec, index)                                                                      \
    ((__typeof__(&(vec)->data[0]))fa_vec_at_raw((vec), (index), FA_VEC_SIZE(vec)))

/// The last element, as a pointer; NULL with FA015 when the vector is empty.
#define fa_vec_last(vec) ((__typeof__(&(vec)->data[0]))fa_vec_last_raw((vec), FA_VEC_SIZE(vec)))

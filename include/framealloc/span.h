/// @file span.h
/// A view of somebody else's elements that knows where they end.
///
///     typedef FA_SPAN(float) float_span;
///     float_span heights = fa_span_make(float_span, samples, 1024);
///     float_span tile = fa_span_sub(heights, 256, 64);          // no copy
///     float *third = fa_span_at(tile, 2);                       // NULL when there is none
///     for (size_t i = 0; i < tile.count; i++) { sum += tile.data[i]; }
///
/// A span owns nothing: it is valid as long as the elements are, and a vector that grows may leave
/// it behind. Spans are values: copy them, pass them, return them. `data` and `count` may be read
/// and set freely; zero-initialised a span is empty. FA_SPAN(const T) cannot be written through.
#pragma once

#include "base.h"

/// A span type over `T`. Name it with a typedef, because every use of the macro is a new type. `T
/// *` must mean "pointer to T": name array and function pointer types first.
#define FA_SPAN(T)                                                                                 \
    struct {                                                                                       \
        T *data;      /* The first element; may be NULL when there is none. */                     \
        size_t count; /* Elements. */                                                              \
    }

/// Private to the typed macros: lets a function look at structs that differ only in what `data`
/// points to, without breaking the compiler's rules on aliasing.
#if defined(__GNUC__)
#define FA_MAY_ALIAS __attribute__((may_alias))
#else
#define FA_MAY_ALIAS
#endif

FA_BEGIN_DECLS

/// Private to the macros below: what all spans look like, whatever they view.
typedef struct FA_MAY_ALIAS fa_span_raw {
    void *data;
    size_t count;
} fa_span_raw;

/// Private to fa_span_at(): records FA015 in fa_last_error() and returns NULL.
FA_API FA_COLD void *fa_span_bad_index(size_t index, size_t count);

/// Private to fa_span_sub() and fa_span_first(): writes the part of `span` to `out`, returns `out`.
FA_API void *fa_span_sub_raw(fa_span_raw *out, const void *span, size_t first, size_t count,
                             size_t size);

/// Private to fa_span_last().
FA_API void *fa_span_last_raw(fa_span_raw *out, const void *span, size_t count, size_t size);

/// Private to fa_span_of_vec(): copies `data` and `count` to `out` and returns `out`.
static inline void *fa_span_copy_raw(fa_span_raw *out, const void *elements) {
    *out = *(const fa_span_raw *)elements;
    return out;
}

/// Private to fa_span_at().
static inline void *fa_span_at_raw(const void *span, size_t index, size_t size) {
    const fa_span_raw *raw = (const fa_span_raw *)span;
    if (FA_UNLIKELY(index >= raw->count)) {
        return fa_span_bad_index(index, raw->count);
    }
    return (char *)raw->data + index * size;
}

FA_END_DECLS

#ifndef __cplusplus

/// Private to the typed macros: the address of a `T` with the given value, valid in the enclosing
/// block.
#define FA_ITEM(T, ...) ((T[1]){__VA_ARGS__})

/// A span of type `S` over `count` elements from `data` on, both of them taken at their word.
#define fa_span_make(S, data, count) ((S){(data), (count)})

/// A span of type `S` over a whole array. A pointer instead of an array does not compile.
#define fa_span_of_array(S, array)                                                                 \
    ((S){(array), sizeof(array) / sizeof((array)[0]) + 0 * sizeof(FA_SPAN_ARRAY_CHECK(array))})

/// Private to fa_span_of_array(): a type that does not exist when `array` is a pointer.
#if defined(__GNUC__)
#define FA_SPAN_ARRAY_CHECK(array)                                                                 \
    char[__builtin_types_compatible_p(__typeof__(array), __typeof__(&(array)[0])) ? -1 : 1]
#else
#define FA_SPAN_ARRAY_CHECK(array) char
#endif

/// A span of type `S` over the present elements of the vector at `vec`. Growing the vector may
/// leave it behind.
#define fa_span_of_vec(S, vec)                                                                     \
    (*(S *)fa_span_copy_raw(&(fa_span_raw){.count = FA_SPAN_VEC_CHECK(S, vec)}, &(vec)->data))

/// Private to fa_span_of_vec(): 0, and a diagnostic when the element types differ.
#define FA_SPAN_VEC_CHECK(S, vec) (0 * sizeof(__typeof__((S){(vec)->data, (vec)->count})))

/// The element at `index`, as a pointer; NULL with FA015 when there is none. One compare.
#define fa_span_at(span, index)                                                                    \
    ((__typeof__(&(span).data[0]))fa_span_at_raw(FA_ITEM(__typeof__(span), (span)), (index),       \
                                                 sizeof((span).data[0])))

/// The `count` elements from index `first` on, as a span of the same type; nothing is copied. A
/// range that is not wholly inside is refused: the result is empty with `data` NULL, and
/// fa_last_error() names the range (FA015).
#define fa_span_sub(span, first, count)                                                            \
    (*(__typeof__(span) *)fa_span_sub_raw(&(fa_span_raw){0}, FA_ITEM(__typeof__(span), (span)),    \
                                          (first), (count), sizeof((span).data[0])))

/// The first `count` elements; refused like fa_span_sub() when there are fewer.
#define fa_span_first(span, count) fa_span_sub(span, 0, count)

/// The last `count` elements; refused like fa_span_sub() when there are fewer.
#define fa_span_last(span, count)                                                                  \
    (*(__typeof__(span) *)fa_span_last_raw(&(fa_span_raw){0}, FA_ITEM(__typeof__(span), (span)),   \
                                           (count), sizeof((span).data[0])))

#else // The same in C++.

/// Private to the typed macros: a copy of a value that lives as long as the expression it stands
/// in.
template <typename T> struct fa_item {
    static_assert(__is_trivially_copyable(T), "elements are copied as bytes, never destroyed");
    T value;
    const void *address() const {
        return &value;
    }
};

template <typename T> inline fa_item<T> fa_item_make(const T &value) {
    return {value};
}

#define FA_ITEM(T, ...) fa_item_make<T>(__VA_ARGS__).address()

#define fa_span_make(S, data, count) (S{(data), (count)})

template <typename S, typename T, size_t N> inline S fa_span_of_array_cpp(T (&array)[N]) {
    return S{array, N};
}
#define fa_span_of_array(S, array) fa_span_of_array_cpp<S>(array)

template <typename S, typename V> inline S fa_span_of_vec_cpp(const V *vec) {
    return S{vec->data, vec->count};
}
#define fa_span_of_vec(S, vec) fa_span_of_vec_cpp<S>(vec)

template <typename S>
inline auto fa_span_at(const S &span, size_t index) -> decltype(&span.data[0]) {
    return static_cast<decltype(&span.data[0])>(fa_span_at_raw(&span, index, sizeof(span.data[0])));
}

template <typename S> inline S fa_span_sub(S span, size_t first, size_t count) {
    fa_span_raw out;
    fa_span_sub_raw(&out, &span, first, count, sizeof(span.data[0]));
    span.data = static_cast<decltype(span.data)>(out.data);
    span.count = out.count;
    return span;
}

template <typename S> inline S fa_span_first(S span, size_t count) {
    return fa_span_sub(span, 0, count);
}

template <typename S> inline S fa_span_last(S span, size_t count) {
    fa_span_raw out;
    fa_span_last_raw(&out, &span, count, sizeof(span.data[0]));
    span.data = static_cast<decltype(span.data)>(out.data);
    span.count = out.count;
    return span;
}

#endif

// Spans: a pointer and a count, side by side in every span type. The macros pass a span as the
// address of a copy, and take the result from a fa_span_raw of their own, so that each argument is
// evaluated once.
//
//   span   | data | count |          sub(span, first, count):
//              |                       data + first * size, count
//              v                       first <= span.count and count <= span.count - first
//            | 0 | 1 | 2 | ...
//
// Nothing here multiplies unchecked: first <= span.count, and the whole span is in memory already.
#include <framealloc/span.h>

#include "container.h"

#include <inttypes.h>
#include <stdio.h>

void *fa_span_bad_index(size_t index, size_t count) {
    fa__container_no_index("fa_span_at", index, count);
    return NULL;
}

static void span_bad_range(size_t first, size_t count, size_t limit) {
    size_t end = count > SIZE_MAX - first ? SIZE_MAX : first + count;
    char where[64];
    snprintf(where, sizeof(where), "span [%" PRIu64 ", %" PRIu64 ")", (uint64_t)first,
             (uint64_t)end);
    fa__container_no_index(where, end, limit);
}

void *fa_span_sub_raw(fa_span_raw *out, const void *span, size_t first, size_t count, size_t size) {
    fa_span_raw whole = *(const fa_span_raw *)span;
    if (first > whole.count || count > whole.count - first) {
        span_bad_range(first, count, whole.count);
        *out = (fa_span_raw){0};
        return out;
    }
    // An empty span may have no data to add an offset to.
    out->data = first == 0 ? whole.data : (char *)whole.data + first * size;
    out->count = count;
    return out;
}

void *fa_span_last_raw(fa_span_raw *out, const void *span, size_t count, size_t size) {
    size_t whole = ((const fa_span_raw *)span)->count;
    if (count > whole) {
        span_bad_range(0, count, whole);
        *out = (fa_span_raw){0};
        return out;
    }
    return fa_span_sub_raw(out, span, whole - count, count, size);
}

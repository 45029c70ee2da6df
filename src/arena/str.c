// Strings: one block of an arena, taken in doublings.
//
//   | t | e | x | t | 0 | free .......... | + | + |
//   ^ data            ^ length             ^ capacity
//
// Invariants: data is NULL exactly when there is no block, with length and capacity 0; otherwise
// the block is capacity + STRING_ENDS bytes long, which is what the arena is told when it grows,
// length <= capacity, and data[length] is 0. Bytes behind the terminator mean nothing. Two bytes
// are kept beyond the capacity: for the terminator, and for a second one while printf formats
// behind the first.
#include <framealloc/str.h>

#include "container.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// Bytes of the block that are not capacity.
#define STRING_ENDS 2u

// The largest capacity: no block is larger than half the address space, so doubling cannot wrap
// round.
#define STRING_MAX (SIZE_MAX / 2 - STRING_ENDS)

// The first capacity: a block of 32 bytes.
#define STRING_FIRST (32u - STRING_ENDS)

// ---- Views ----

fa_str fa_str_from(const char *text) {
    return fa_str_make(text, text != NULL ? strlen(text) : 0);
}

int fa_str_compare(fa_str left, fa_str right) {
    size_t common = left.length < right.length ? left.length : right.length;
    int order = common > 0 ? memcmp(left.data, right.data, common) : 0;
    if (order != 0) {
        return order;
    }
    return (left.length > right.length) - (left.length < right.length);
}

bool fa_str_equals(fa_str left, fa_str right) {
    return left.length == right.length &&
           (left.length == 0 || memcmp(left.data, right.data, left.length) == 0);
}

bool fa_str_starts_with(fa_str str, fa_str prefix) {
    return prefix.length <= str.length &&
           fa_str_equals(fa_str_make(str.data, prefix.length), prefix);
}

bool fa_str_ends_with(fa_str str, fa_str suffix) {
    if (suffix.length == 0 || suffix.length > str.length) {
        return suffix.length == 0;
    }
    return memcmp(str.data + (str.length - suffix.length), suffix.data, suffix.length) == 0;
}

size_t fa_str_find(fa_str str, fa_str needle, size_t from) {
    if (from > str.length || needle.length > str.length - from) {
        return FA_STR_NOT_FOUND;
    }
    if (needle.length == 0) {
        return from;
    }
    size_t last = str.length - needle.length;
    while (from <= last) {
        const char *first = (const char *)memchr(str.data + from, needle.data[0], last - from + 1);
        if (first == NULL) {
            return FA_STR_NOT_FOUND;
        }
        if (memcmp(first, needle.data, needle.length) == 0) {
            return (size_t)(first - str.data);
        }
        from = (size_t)(first - str.data) + 1;
    }
    return FA_STR_NOT_FOUND;
}

fa_str fa_str_sub(fa_str str, size_t first, size_t length) {
    if (first > str.length || length > str.length - first) {
        size_t end = length > SIZE_MAX - first ? SIZE_MAX : first + length;
        char where[64];
        snprintf(where, sizeof(where), "str [%" PRIu64 ", %" PRIu64 ")", (uint64_t)first,
                 (uint64_t)end);
        fa__container_no_index(where, end, str.length);
        return (fa_str){0};
    }
    return fa_str_make(first == 0 ? str.data : str.data + first, length);
}

char *fa_str_dup(fa_arena *arena, fa_str str) {
    if (str.length > STRING_MAX) {
        fa__container_too_large("string", str.length, STRING_MAX);
        return NULL;
    }
    char *copy = (char *)fa_arena_alloc(arena, str.length + 1);
    if (copy == NULL) {
        return NULL;
    }
    if (str.length > 0) {
        memcpy(copy, str.data, str.length);
    }
    copy[str.length] = '\0';
    return copy;
}

// ---- Growing ----

static size_t string_block(const fa_string *string) {
    return string->data != NULL ? string->capacity + STRING_ENDS : 0;
}

// Makes the capacity `capacity`, which is more than it is.
static fa_result string_set_capacity(fa_arena *arena, fa_string *string, size_t capacity) {
    char *data =
        (char *)fa_arena_resize(arena, string->data, string_block(string), capacity + STRING_ENDS);
    if (data == NULL) {
        return fa__container_refused();
    }
    data[string->length] = '\0';
    string->data = data;
    string->capacity = capacity;
    return FA_OK;
}

// Makes room for `more` bytes beyond the length, at least doubling the block.
static fa_result string_grow(fa_arena *arena, fa_string *string, size_t more) {
    if (more > STRING_MAX - string->length) {
        size_t asked = more > SIZE_MAX - string->length ? SIZE_MAX : string->length + more;
        return fa__container_too_large("string", asked, STRING_MAX);
    }
    size_t needed = string->length + more;
    if (needed <= string->capacity) {
        return FA_OK;
    }
    size_t capacity = STRING_FIRST;
    if (string->data != NULL && string->capacity <= (STRING_MAX - STRING_ENDS) / 2) {
        capacity = string->capacity * 2 + STRING_ENDS;
    }
    return string_set_capacity(arena, string, capacity > needed ? capacity : needed);
}

fa_result fa_string_reserve(fa_arena *arena, fa_string *string, size_t capacity) {
    if (capacity <= string->capacity) {
        return FA_OK;
    }
    if (capacity > STRING_MAX) {
        return fa__container_too_large("string", capacity, STRING_MAX);
    }
    return string_set_capacity(arena, string, capacity);
}

// ---- Appending ----

fa_result fa_string_append_bytes(fa_arena *arena, fa_string *string, const void *bytes,
                                 size_t length) {
    if (bytes == NULL && length > 0) {
        return fa__fail_argument(NULL, "bytes");
    }
    if (length == 0) {
        return FA_OK;
    }
    fa_result result = string_grow(arena, string, length);
    if (result < 0) {
        return result;
    }
    // Bytes of the string itself are still where they were: growing leaves the old block readable.
    memmove(string->data + string->length, bytes, length);
    string->length += length;
    string->data[string->length] = '\0';
    return FA_OK;
}

fa_result fa_string_append(fa_arena *arena, fa_string *string, const char *text) {
    if (text == NULL) {
        return fa__fail_argument(NULL, "text");
    }
    return fa_string_append_bytes(arena, string, text, strlen(text));
}

fa_result fa_string_append_str(fa_arena *arena, fa_string *string, fa_str str) {
    return fa_string_append_bytes(arena, string, str.data, str.length);
}

fa_result fa_string_append_char(fa_arena *arena, fa_string *string, char byte) {
    return fa_string_append_bytes(arena, string, &byte, 1);
}

// Formats behind the terminator, so that the string stays whole while the arguments are read: they
// may point into it. Returns what vsnprintf does; a text of up to capacity - length bytes is then
// all there.
static int string_format_behind(fa_string *string, const char *format, va_list args) {
    va_list copy;
    va_copy(copy, args);
    size_t used = string->length + 1;
    size_t block = string_block(string);
    char *behind = block > 0 ? string->data + used : NULL;
    int length = vsnprintf(behind, block > 0 ? block - used : 0, format, copy);
    va_end(copy);
    return length;
}

fa_result fa_string_append_vprintf(fa_arena *arena, fa_string *string, const char *format,
                                   va_list args) {
    if (format == NULL) {
        return fa__fail_argument(NULL, "format");
    }
    int length = string_format_behind(string, format, args);
    if (length < 0) {
        return fa__fail_argument(NULL, "format");
    }
    if (length == 0) {
        return FA_OK;
    }
    if ((size_t)length > string->capacity - string->length) {
        fa_result result = string_grow(arena, string, (size_t)length);
        if (result < 0) {
            return result;
        }
        string_format_behind(string, format, args);
    }
    char *end = string->data + string->length;
    memmove(end, end + 1, (size_t)length + 1);
    string->length += (size_t)length;
    return FA_OK;
}

fa_result fa_string_append_printf(fa_arena *arena, fa_string *string, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fa_result result = fa_string_append_vprintf(arena, string, format, args);
    va_end(args);
    return result;
}

// ---- The rest ----

bool fa_string_equals(const fa_string *string, const char *text) {
    return text != NULL && fa_str_equals(fa_string_view(string), fa_str_from(text));
}

fa_result fa_string_truncate(fa_string *string, size_t length) {
    if (length > string->length) {
        return fa__container_no_index("fa_string_truncate", length, string->length);
    }
    if (string->data != NULL) {
        string->data[length] = '\0';
        string->length = length;
    }
    return FA_OK;
}

void fa_string_clear(fa_string *string) {
    fa_string_truncate(string, 0);
}

/// @file str.h
/// Text that grows, on any arena, and views of text.
///
///     fa_string line = {0};                                     // empty, and valid
///     fa_string_append(frame, &line, "score ");
///     fa_string_append_printf(frame, &line, "%d of %d", 3, 5);
///     puts(fa_string_cstr(&line));
///     if (fa_str_starts_with(fa_string_view(&line), FA_STR("score"))) { ... }
///
/// A fa_string is bytes with a length, always followed by a terminator that the length does not
/// count; bytes may be 0. It is never freed: its memory goes with the arena, and the string must
/// not be used after that. It grows in place when it is the arena's last block, otherwise by moving
/// to a block twice as large; pointers and views into it are then out of date. What is appended may
/// be part of the string itself.
///
/// Operations that can fail return a fa_result and, on failure, leave the string as it was: what
/// the arena reported when it refused, FA_ERR_OVERFLOW (FA013) for a length that no memory holds,
/// FA_ERR_INVALID for a NULL text or (FA015) a position that does not exist. Only the arena's owner
/// may change a string.
#pragma once

#include "arena.h"

FA_BEGIN_DECLS

/// A view of somebody else's text: not terminated, valid as long as the text. A value; {0} is
/// empty.
typedef struct fa_str {
    const char *data; ///< The first byte; may be NULL when there is none.
    size_t length;    ///< Bytes.
} fa_str;

/// What fa_str_find() returns when there is no such text.
#define FA_STR_NOT_FOUND SIZE_MAX

/// A view of a string literal, its length known at compile time.
#ifdef __cplusplus
#define FA_STR(literal) (fa_str{"" literal, sizeof(literal) - 1})
#else
#define FA_STR(literal) ((fa_str){"" literal, sizeof(literal) - 1})
#endif

/// A view of `length` bytes from `data` on, taken at their word.
static inline fa_str fa_str_make(const char *data, size_t length) {
    fa_str str;
    str.data = data;
    str.length = length;
    return str;
}

/// A view of a terminated text; NULL gives the empty view. O(length).
FA_API fa_str fa_str_from(const char *text);

/// Less than 0, 0 or more than 0, as `left` sorts before, with or after `right` by bytes.
/// O(length).
FA_API int fa_str_compare(fa_str left, fa_str right);

/// Whether both are the same bytes. O(length).
FA_API bool fa_str_equals(fa_str left, fa_str right);

/// Whether `str` begins with `prefix`. Everything begins with the empty view.
FA_API bool fa_str_starts_with(fa_str str, fa_str prefix);

/// Whether `str` ends with `suffix`. Everything ends with the empty view.
FA_API bool fa_str_ends_with(fa_str str, fa_str suffix);

/// Index of the first `needle` that begins at `from` or later, or FA_STR_NOT_FOUND. The empty
/// needle is found at `from` when that is not beyond the end. Usually O(length), at worst O(length
/// * needle.length).
FA_API size_t fa_str_find(fa_str str, fa_str needle, size_t from);

/// The `length` bytes from index `first` on; nothing is copied. A range that is not wholly inside
/// is refused: the result is empty with `data` NULL, and fa_last_error() names the range (FA015).
FA_API fa_str fa_str_sub(fa_str str, size_t first, size_t length);

/// A terminated copy in `arena`, or NULL when the arena refuses.
FA_API char *fa_str_dup(fa_arena *arena, fa_str str);

/// A text that grows. Read the fields freely; `data` may be written up to `length`.
typedef struct fa_string {
    char *data;      ///< The bytes and a terminator; NULL as long as nothing was ever put in.
    size_t length;   ///< Bytes, the terminator not counted.
    size_t capacity; ///< Bytes it can hold without growing, the terminator not counted.
} fa_string;

/// The text, terminated; "" for a string that never held any. Valid until the string changes.
static inline const char *fa_string_cstr(const fa_string *string) {
    return string->data != NULL ? string->data : "";
}

/// The text as a view. Valid until the string changes.
static inline fa_str fa_string_view(const fa_string *string) {
    return fa_str_make(string->data, string->length);
}

/// Whether the string is exactly this terminated text; NULL equals nothing.
FA_API bool fa_string_equals(const fa_string *string, const char *text);

/// Makes room for `capacity` bytes altogether, not counting the terminator; less than there is
/// changes nothing.
FA_API fa_result fa_string_reserve(fa_arena *arena, fa_string *string, size_t capacity);

/// Appends a terminated text. O(length of the text).
FA_API fa_result fa_string_append(fa_arena *arena, fa_string *string, const char *text);

/// Appends a view: a literal by FA_STR(), another string by fa_string_view().
FA_API fa_result fa_string_append_str(fa_arena *arena, fa_string *string, fa_str str);

/// Appends `length` bytes from `bytes` on. NULL is allowed when `length` is 0.
FA_API fa_result fa_string_append_bytes(fa_arena *arena, fa_string *string, const void *bytes,
                                        size_t length);

/// Appends one byte.
FA_API fa_result fa_string_append_char(fa_arena *arena, fa_string *string, char byte);

/// Appends what printf would print. The arguments may be texts of the string itself. Formats twice
/// when the text does not fit into the capacity. FA_ERR_INVALID when the C library cannot format
/// it.
FA_API fa_result fa_string_append_printf(fa_arena *arena, fa_string *string, const char *format,
                                         ...) FA_PRINTF(3, 4);

/// Like fa_string_append_printf() with a va_list.
FA_API fa_result fa_string_append_vprintf(fa_arena *arena, fa_string *string, const char *format,
                                          va_list args) FA_PRINTF(3, 0);

/// Cuts the string to `length` bytes. FA_ERR_INVALID (FA015) when it is shorter. The capacity
/// stays.
FA_API fa_result fa_string_truncate(fa_string *string, size_t length);

/// Empties the string and keeps its capacity.
FA_API void fa_string_clear(fa_string *string);

FA_END_DECLS

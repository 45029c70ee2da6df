// How vec, map, str and span say no. No context is known to a container, so what it refuses itself
// reaches fa_last_error() only; what its arena refused has been reported by the arena.
#pragma once

#include "../core/fail.h"

// The result to pass on after an arena has returned NULL.
static inline fa_result fa__container_refused(void) {
    fa_result result = fa_last_error()->result;
    return result < 0 ? result : FA_ERR_OUT_OF_MEMORY;
}

// FA015: `index` (or the end of a range) is beyond `count`.
static inline fa_result fa__container_no_index(const char *where, size_t index, size_t count) {
    return fa__fail(&(fa__failure){.code = FA__CODE_BAD_INDEX,
                                   .result = FA_ERR_INVALID,
                                   .bytes = index,
                                   .limit = count,
                                   .where = where});
}

// FA013: `count` elements are more than the `limit` that memory could ever hold.
static inline fa_result fa__container_too_large(const char *where, size_t count, size_t limit) {
    return fa__fail(&(fa__failure){.code = FA__CODE_SIZE_OVERFLOW,
                                   .result = FA_ERR_OVERFLOW,
                                   .bytes = count,
                                   .limit = limit,
                                   .where = where});
}

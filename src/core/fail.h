// How a failure is told: to the thread's fa_last_error(), to the context's report function, to
// strict mode.
#pragma once

#include "codes.h"
#include <framealloc/base.h>

typedef struct fa__failure {
    fa_context *context; // NULL: no context is known; the failure reaches fa_last_error() only.
    fa__code code;
    fa_result result;
    size_t bytes;
    size_t limit;
    fa_tag tag;
    const char *where; // Copied.
    const void *ptr;   // The block concerned; NULL: none.
    const void *site;  // Where it was allocated; NULL: not known.
    uint64_t count;    // Blocks that the report speaks of; 0: one or none.
    bool quiet;        // No report and no strict abort: only fa_last_error().
} fa__failure;

// Records and reports. Returns failure->result, so that callers can return it. Must be called with
// no lock held and every structure consistent, because the report function may use the library.
fa_result fa__fail(const fa__failure *failure);

// The same for failures that know little: a bad argument, named by `where`.
fa_result fa__fail_argument(fa_context *ctx, const char *where);

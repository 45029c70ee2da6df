/// @file plan_text.h
/// Plans made from the text of a trace, for the suites of the replay.
#pragma once

#include "harness/check.h"

#include "replay/plan.h"

#include <stdlib.h>
#include <string.h>

/// The beginning of every text: the version, and call site 0.
#define HEAD "framealloc-trace 1\ns 0 ?\n"

/// Every frame.
static const frame_range everything = {.all = true};

/// Plans `text`; the caller frees what is returned. NULL when the range is refused.
static inline void *make_plan(const char *text, frame_range range, plan *p, char *error,
                              size_t size) {
    source *src = source_open_memory(text, strlen(text));
    REQUIRE_NOT_NULL(src);
    trace t;
    trace_error problem;
    bool ok = trace_read(src, NULL, NULL, NULL, &t, &problem);
    source_close(src);
    if (!ok) {
        FAIL("line %llu: %s", (unsigned long long)problem.line, problem.text);
    }
    REQUIRE(ok);
    size_t bytes = 0;
    void *block = plan_build(&t, range, &bytes, error, size);
    trace_clear(&t);
    if (block != NULL) {
        *p = plan_view(block);
    }
    return block;
}

/// The same, for ranges that are there.
static inline void *plan_of(const char *text, frame_range range, plan *p) {
    char error[200] = "";
    void *block = make_plan(text, range, p, error, sizeof error);
    REQUIRE_NOT_NULL(block);
    return block;
}

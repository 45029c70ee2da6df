// What the tests of contexts, threads, frames, tags, budgets, phases and figures share: opening and
// closing a context, and remembering what it reports.
#pragma once

#include <framealloc/framealloc.h>

#include "harness/check.h"

#include <stdatomic.h>
#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

// Whether a sanitizer keeps memory of its own, so that resident memory and page faults say nothing.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

static inline fa_context *context_open(const fa_config *config) {
    fa_context *ctx = NULL;
    REQUIRE_EQ(fa_context_create(config, &ctx), FA_OK);
    REQUIRE_NOT_NULL(ctx);
    fa_last_error_clear();
    return ctx;
}

static inline void context_close(fa_context *ctx) {
    CHECK_EQ(fa_context_destroy(ctx), FA_OK);
}

// Bytes that a request of `size` takes in an arena.
static inline size_t rounded(size_t size) {
    return (size + (FA_ALIGNMENT - 1)) & ~(FA_ALIGNMENT - 1);
}

// Bytes that a registered cleanup takes in an arena: four words.
#define CLEANUP_BYTES (4 * sizeof(void *))

// The last call of this thread failed as this code and result. Forgets it.
static inline bool failed_as(int code, fa_result result) {
    const fa_error *error = fa_last_error();
    bool as_expected = CHECK_EQ(error->code, code);
    as_expected = CHECK_EQ(error->result, result) && as_expected;
    fa_last_error_clear();
    return as_expected;
}

// Nothing has failed on this thread since the last look.
static inline bool nothing_failed(void) {
    return CHECK_EQ(fa_last_error()->result, FA_OK);
}

static inline fa_stats stats_of(fa_context *ctx) {
    fa_stats stats;
    memset(&stats, 0xEE, sizeof(stats));
    CHECK_EQ(fa_stats_get(ctx, &stats), FA_OK);
    return stats;
}

static inline fa_tag_stats_result tag_stats_of(fa_context *ctx, fa_tag tag) {
    fa_tag_stats_result stats;
    memset(&stats, 0xEE, sizeof(stats));
    CHECK_EQ(fa_tag_stats(ctx, tag, &stats), FA_OK);
    return stats;
}

static inline fa_thread_stats_result thread_stats_of(fa_context *ctx, const char *name) {
    fa_thread_stats_result stats;
    memset(&stats, 0xEE, sizeof(stats));
    CHECK_EQ(fa_thread_stats(ctx, name, &stats), FA_OK);
    return stats;
}

// ---- Reports ----

typedef struct seen_report {
    int code;
    fa_result result;
    size_t bytes;
    size_t limit;
    fa_tag tag;
    uint64_t frame;
    char tag_path[96];
    char thread[32];
    char where[32];
} seen_report;

enum { REPORTS_KEPT = 64 };

// Filled by any thread; read after they were joined.
typedef struct report_log {
    atomic_size_t count; // Also of those that are not kept.
    seen_report seen[REPORTS_KEPT];
} report_log;

static inline void text_copy(char *to, size_t size, const char *from) {
    size_t length = strlen(from);
    length = length < size ? length : size - 1;
    memcpy(to, from, length);
    to[length] = '\0';
}

static inline void log_report(const fa_report *report, void *user) {
    report_log *log = (report_log *)user;
    size_t index = atomic_fetch_add(&log->count, 1);
    if (index >= REPORTS_KEPT) {
        return;
    }
    seen_report *seen = &log->seen[index];
    seen->code = report->info->code;
    seen->result = report->result;
    seen->bytes = report->bytes;
    seen->limit = report->limit;
    seen->tag = report->tag;
    seen->frame = report->frame;
    text_copy(seen->tag_path, sizeof(seen->tag_path), report->tag_path);
    text_copy(seen->thread, sizeof(seen->thread), report->thread);
    text_copy(seen->where, sizeof(seen->where), report->where);
}

static inline void log_attach(fa_context *ctx, report_log *log) {
    memset(log, 0, sizeof(*log));
    CHECK_EQ(fa_report_set(ctx, log_report, log), FA_OK);
}

// How many of the reports kept have this code.
static inline size_t log_count(report_log *log, int code) {
    size_t total = atomic_load(&log->count);
    size_t kept = total < REPORTS_KEPT ? total : REPORTS_KEPT;
    size_t count = 0;
    for (size_t i = 0; i < kept; i++) {
        count += log->seen[i].code == code ? 1 : 0;
    }
    return count;
}

// Exactly one thing was reported since log_attach() or the last log_single(), and this was it.
static inline const seen_report *log_single(report_log *log, int code) {
    REQUIRE_EQ(atomic_load(&log->count), 1);
    CHECK_EQ(log->seen[0].code, code);
    atomic_store(&log->count, 0);
    return &log->seen[0];
}

static inline bool log_empty(report_log *log) {
    return CHECK_EQ(atomic_load(&log->count), 0);
}

// ---- Budgets ----

// What a budget's callback was told, the last event in full.
typedef struct told_budget {
    size_t count;
    fa_budget_event last;
} told_budget;

static inline void note_budget(const fa_budget_event *event, void *user) {
    told_budget *told = (told_budget *)user;
    told->count += 1;
    told->last = *event;
}

// Allocates blocks of `size` until one is refused; returns how many were granted. A limit that does
// not hold is noticed at 64 MiB.
static inline size_t fill_up(fa_arena *arena, size_t size) {
    size_t count = 0;
    while (count * size < 64 * MIB && fa_arena_try_alloc(arena, size) != NULL) {
        count += 1;
    }
    return count;
}

/// @file diagnostics.h
/// Every problem the library can name, and how it tells you.
///
/// The library never prints and never allocates to report. A problem goes to fa_last_error() of the
/// thread, and to the context's report function if you set one. With strict mode on, reports of the
/// chosen severities abort after the report function has run: set it by fa_config.strict, or from
/// outside by the environment variable
/// FRAMEALLOC_STRICT=off|warning|error, which is read when a context is created and wins.
#pragma once

#include "base.h"

FA_BEGIN_DECLS

/// How bad a problem is.
typedef enum fa_severity {
    FA_SEVERITY_NOTE = 0,    ///< Worth knowing.
    FA_SEVERITY_WARNING = 1, ///< Works now, will not always.
    FA_SEVERITY_ERROR = 2    ///< Something was refused or is wrong.
} fa_severity;

/// One entry of the table of problems.
typedef struct fa_code_info {
    int code;             ///< 3 for FA003.
    const char *name;     ///< "FA003".
    fa_severity severity; ///< How bad.
    const char *message;  ///< What happened, in a phrase.
    const char *cause;    ///< How it comes about.
    const char *remedy;   ///< What to do.
} fa_code_info;

/// One problem that happened. Valid only while the report function runs.
typedef struct fa_report {
    const fa_code_info *info; ///< Which problem.
    fa_result result;         ///< What the call returns because of it.
    fa_context *context;      ///< Where.
    size_t bytes;             ///< Bytes asked for, or concerned; 0: none.
    size_t limit;             ///< The limit that refused; 0: none.
    fa_tag tag;               ///< Whom it concerns.
    const char *tag_path;     ///< Path of `tag`.
    const char *thread;       ///< Name of the thread it happened on.
    uint64_t frame;           ///< Index of that thread's open frame; 0: none.
    const char *where;        ///< Name of the arena, pool, field or argument, or "".
    const void *ptr;          ///< The block concerned; NULL: none, or several. Not to be followed:
                              ///< it may be no block at all.
    const void *site;         ///< Return address of the call that allocated it; NULL: not known
                              ///< (see FA_CHECK_SITES).
    uint64_t count;           ///< How many blocks the report speaks of, `bytes` being their sum;
                              ///< 0: of one, or of none.
} fa_report;

/// Receives reports. Called on the thread with the problem, with no lock held; several threads may
/// call it at once. It may use the library; problems it causes itself reach only fa_last_error().
typedef void (*fa_report_fn)(const fa_report *report, void *user);

/// Sets the context's report function; NULL sets none. Takes effect at once for all threads.
FA_API fa_result fa_report_set(fa_context *ctx, fa_report_fn fn, void *user);

/// Writes a report as one line, without the line end, into `buffer` and terminates it. Returns the
/// length it would have, as snprintf does. Allocates nothing. Any thread.
FA_API size_t fa_report_format(const fa_report *report, char *buffer, size_t size);

/// The table entry of a code number; NULL when there is none. Any thread.
FA_API const fa_code_info *fa_code_get(int code);

/// The table entry of a name such as "FA003" (case does not matter); NULL when there is none.
FA_API const fa_code_info *fa_code_find(const char *name);

/// The entries in order of their number: index 0 to fa_code_count() - 1; NULL beyond.
FA_API const fa_code_info *fa_code_at(size_t index);

/// How many codes there are.
FA_API size_t fa_code_count(void);

/// "note", "warning" or "error".
FA_API const char *fa_severity_name(fa_severity severity);

/// One arena allocation, seen while FA_CHECK_WATCH is on. Valid only while the watch function runs.
typedef struct fa_watch_event {
    fa_context *context; ///< Where.
    const char *arena;   ///< Name of the arena.
    fa_tag tag;          ///< Whom it is charged to.
    uint64_t frame;      ///< Index of the frame; 0 outside frames.
    void *ptr;           ///< The block.
    size_t size;         ///< Bytes asked for.
    size_t align;        ///< Alignment asked for.
} fa_watch_event;

/// Sees allocations. Called on the allocating thread, with no lock held; it must not use the arena.
typedef void (*fa_watch_fn)(const fa_watch_event *event, void *user);

/// Sets the function that sees every arena allocation while FA_CHECK_WATCH is on; NULL sets none.
/// Turning the check on and off is fa_context_checks_set().
FA_API fa_result fa_watch_set(fa_context *ctx, fa_watch_fn fn, void *user);

FA_END_DECLS

// Telling of a failure: recorded for the thread, counted, reported, and in strict mode fatal.
// Nothing is allocated; the sentence is written only when somebody asks for it.
#include "meter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct last_error {
    fa_error error;
    bool is_written; // error.text is up to date.
    bool in_report;  // A report function is running on this thread.
    char tag_path[FA__PATH_BYTES];
    char thread[FA__NAME_BYTES];
    char where[FA__NAME_BYTES];
    const void *ptr;
    const void *site;
    uint64_t count;
    char text[400];
} last_error;

static FA__THREAD_LOCAL last_error last;

static void copy(char *to, size_t size, const char *from) {
    snprintf(to, size, "%s", from == NULL ? "" : from);
}

// Collects what is known about a failure beyond what the caller said.
static fa_report describe(const fa__failure *failure) {
    fa_context *ctx = failure->context;
    fa_report report = {.info = fa_code_get((int)failure->code),
                        .result = failure->result,
                        .context = ctx,
                        .bytes = failure->bytes,
                        .limit = failure->limit,
                        .tag = failure->tag,
                        .tag_path = "",
                        .thread = "",
                        .where = failure->where == NULL ? "" : failure->where,
                        .ptr = failure->ptr,
                        .site = failure->site,
                        .count = failure->count};
    const fa__thread *thread = ctx == NULL ? NULL : fa__thread_find(ctx);
    if (thread != NULL) {
        report.thread = thread->name;
        report.frame = fa__thread_has_frame(thread) ? fa__load(&thread->frame_index) : 0;
    }
    const char *path = ctx == NULL ? NULL : fa_tag_path(ctx, failure->tag);
    report.tag_path = path == NULL ? "" : path;
    return report;
}

static void record(const fa_report *report, int code) {
    copy(last.tag_path, sizeof last.tag_path, report->tag_path);
    copy(last.thread, sizeof last.thread, report->thread);
    copy(last.where, sizeof last.where, report->where);
    last.ptr = report->ptr;
    last.site = report->site;
    last.count = report->count;
    last.is_written = false;
    last.error = (fa_error){.result = report->result,
                            .code = code,
                            .bytes = report->bytes,
                            .limit = report->limit,
                            .tag = report->tag,
                            .frame = report->frame,
                            .tag_path = last.tag_path,
                            .thread = last.thread,
                            .where = last.where,
                            .text = ""};
}

static bool is_fatal(const fa_context *ctx, const fa_report *report) {
    if (report->info == NULL) {
        return false;
    }
    if (ctx->config.strict == FA_STRICT_ERROR) {
        return report->info->severity == FA_SEVERITY_ERROR;
    }
    return ctx->config.strict == FA_STRICT_WARNING && report->info->severity >= FA_SEVERITY_WARNING;
}

fa_result fa__fail(const fa__failure *failure) {
    fa_context *ctx = failure->context;
    fa_report report = describe(failure);
    if (failure->result != FA_OK) {
        record(&report, (int)failure->code);
    }
    if (ctx == NULL || failure->quiet || last.in_report) {
        return failure->result;
    }
    fa__os_mutex_lock(&ctx->lock);
    fa_report_fn fn = ctx->report;
    void *user = ctx->report_user;
    fa__os_mutex_unlock(&ctx->lock);
    if (fn != NULL && report.info != NULL) {
        last.in_report = true;
        fn(&report, user);
        last.in_report = false;
        if (failure->result != FA_OK) {
            record(&report,
                   (int)failure->code); // The function may have failed at something itself.
        }
    }
    if (is_fatal(ctx, &report)) {
        abort();
    }
    return failure->result;
}

fa_result fa__fail_argument(fa_context *ctx, const char *where) {
    return fa__fail(&(fa__failure){
        .context = ctx, .code = FA__CODE_BAD_ARGUMENT, .result = FA_ERR_INVALID, .where = where});
}

const fa_error *fa_last_error(void) {
    if (!last.is_written) {
        fa_error *error = &last.error;
        fa_report report = {.info = fa_code_get(error->code),
                            .result = error->result,
                            .bytes = error->bytes,
                            .limit = error->limit,
                            .tag = error->tag,
                            .tag_path = last.tag_path,
                            .thread = last.thread,
                            .frame = error->frame,
                            .where = last.where,
                            .ptr = last.ptr,
                            .site = last.site,
                            .count = last.count};
        if (report.info != NULL) {
            fa_report_format(&report, last.text, sizeof last.text);
        } else {
            copy(last.text, sizeof last.text, fa_result_message(error->result));
        }
        error->tag_path = last.tag_path;
        error->thread = last.thread;
        error->where = last.where;
        error->text = last.text;
        last.is_written = true;
    }
    return &last.error;
}

void fa_last_error_clear(void) {
    record(&(fa_report){.result = FA_OK, .tag_path = "", .thread = "", .where = ""}, 0);
}

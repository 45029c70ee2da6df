// Phases: a stack of open ones per thread, and records by name.
//
// Bytes come from how much the thread had allocated when the phase began and when it ended; what
// was undone in between still counts, because undoing adds to a total that never falls. When a
// thread goes away its records are added to the context's and its counts emptied, so a thread that
// takes its state over starts from nothing.
#include "meter.h"

#include <framealloc/phase.h>

#include <stdio.h>
#include <string.h>

#define BUCKETS 512u // Twice FA_PHASE_MAX, a power of two.

typedef struct record {
    char name[FA__NAME_BYTES];
    fa__u64 count; // Read by others.
    fa__u64 total_bytes;
    fa__u64 total_time_ns;
    fa__u64 max_bytes;
    fa__u64 max_time_ns;
    uint64_t frame; // The frame that the next three are of.
    uint64_t frame_count;
    size_t frame_bytes;
    uint64_t frame_time_ns;
} record;

typedef struct open_phase {
    record *record;
    uint64_t allocated; // By the thread, when the phase began.
    uint64_t started_ns;
} open_phase;

struct fa__phases {
    uint32_t depth;
    fa__u32 count;
    open_phase open[FA_PHASE_DEPTH_MAX];
    uint16_t buckets[BUCKETS]; // Index of a record plus one; 0: empty.
    record records[FA_PHASE_MAX];
};

// The record of a name; NULL when there is none and none may be added.
static record *find(fa__phases *phases, const char *name, bool add) {
    uint32_t bucket = fa__hash(name, strlen(name)) % BUCKETS;
    for (; phases->buckets[bucket] != 0; bucket = (bucket + 1) % BUCKETS) {
        record *found = &phases->records[phases->buckets[bucket] - 1];
        if (strcmp(found->name, name) == 0) {
            return found;
        }
    }
    uint32_t count = fa__load(&phases->count);
    if (!add || count == FA_PHASE_MAX) {
        return NULL;
    }
    record *added = &phases->records[count];
    snprintf(added->name, sizeof added->name, "%s", name);
    phases->buckets[bucket] = (uint16_t)(count + 1);
    fa__store_release(&phases->count, count + 1);
    return added;
}

// Bytes of frame and scratch memory that the thread has allocated since it attached.
static uint64_t allocated(const fa__thread *thread) {
    uint64_t bytes = fa__load(&thread->total_bytes) + thread->undone_bytes;
    const fa__tier *tier = fa__load_acquire(&thread->context->tiers[FA__TIER_FRAMES]);
    return tier == NULL ? bytes : bytes + tier->open_bytes(thread);
}

static fa_result fail_limit(fa_context *ctx, size_t limit) {
    return fa__fail(&(fa__failure){.context = ctx,
                                   .code = FA__CODE_PHASE_UNBALANCED,
                                   .result = FA_ERR_LIMIT,
                                   .limit = limit,
                                   .where = "fa_phase_begin"});
}

fa_result fa_phase_begin(fa_context *ctx, const char *name) {
    if (name == NULL || name[0] == '\0' || strlen(name) >= FA__NAME_BYTES) {
        return fa__fail_argument(ctx, "name");
    }
    fa__thread *thread = fa__thread_get(ctx);
    if (thread == NULL) {
        return fa_last_error()->result;
    }
    fa__phases *phases = fa__load(&thread->phases);
    if (phases == NULL) {
        fa__denial denial = FA__DENIED_BY_BACKEND;
        phases = fa__meta_alloc(ctx->pages, sizeof *phases, &denial);
        if (phases == NULL) {
            bool is_limit = denial == FA__DENIED_BY_LIMIT;
            return fa__tag_fail(ctx, FA_TAG_ROOT, is_limit ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY);
        }
        fa__store_release(&thread->phases, phases);
    }
    if (phases->depth == FA_PHASE_DEPTH_MAX) {
        return fail_limit(ctx, FA_PHASE_DEPTH_MAX);
    }
    record *entry = find(phases, name, true);
    if (entry == NULL) {
        return fail_limit(ctx, FA_PHASE_MAX);
    }
    phases->open[phases->depth] = (open_phase){
        .record = entry, .allocated = allocated(thread), .started_ns = fa__os_clock_ns()};
    phases->depth += 1;
    return FA_OK;
}

static void fill(record *entry, fa_phase_stats *out) {
    out->name = entry->name;
    out->count += fa__load(&entry->count);
    out->total_bytes += fa__load(&entry->total_bytes);
    out->total_time_ns += fa__load(&entry->total_time_ns);
    uint64_t max_bytes = fa__load(&entry->max_bytes);
    uint64_t max_time = fa__load(&entry->max_time_ns);
    out->max_bytes = max_bytes > out->max_bytes ? (size_t)max_bytes : out->max_bytes;
    out->max_time_ns = max_time > out->max_time_ns ? max_time : out->max_time_ns;
}

static void fill_frame(const record *entry, uint64_t frame, fa_phase_stats *out) {
    if (entry->frame == frame) {
        out->frame_bytes = entry->frame_bytes;
        out->frame_time_ns = entry->frame_time_ns;
        out->frame_count = entry->frame_count;
    }
}

static void add_run(record *entry, uint64_t frame, uint64_t bytes, uint64_t time_ns) {
    if (entry->frame != frame) {
        entry->frame = frame;
        entry->frame_count = 0;
        entry->frame_bytes = 0;
        entry->frame_time_ns = 0;
    }
    entry->frame_count += 1;
    entry->frame_bytes += (size_t)bytes;
    entry->frame_time_ns += time_ns;
    fa__own_add(&entry->count, 1);
    fa__own_add(&entry->total_bytes, bytes);
    fa__own_add(&entry->total_time_ns, time_ns);
    if (bytes > fa__load(&entry->max_bytes)) {
        fa__store(&entry->max_bytes, bytes);
    }
    if (time_ns > fa__load(&entry->max_time_ns)) {
        fa__store(&entry->max_time_ns, time_ns);
    }
}

fa_result fa_phase_end(fa_context *ctx, fa_phase_stats *out) {
    fa__thread *thread = fa__thread_get(ctx);
    fa__phases *phases = thread == NULL ? NULL : fa__load(&thread->phases);
    if (out != NULL) {
        *out = (fa_phase_stats){0};
    }
    if (phases == NULL || phases->depth == 0) {
        return fa__fail(&(fa__failure){.context = ctx,
                                       .code = FA__CODE_PHASE_UNBALANCED,
                                       .result = FA_ERR_INVALID,
                                       .where = "fa_phase_end"});
    }
    phases->depth -= 1;
    const open_phase *ended = &phases->open[phases->depth];
    uint64_t bytes = allocated(thread) - ended->allocated;
    uint64_t time_ns = fa__os_clock_ns() - ended->started_ns;
    add_run(ended->record, fa__load(&thread->frame_index), bytes, time_ns);
    if (out != NULL) {
        fill(ended->record, out);
        fill_frame(ended->record, fa__load(&thread->frame_index), out);
        out->bytes = (size_t)bytes;
        out->time_ns = time_ns;
    }
    return FA_OK;
}

// Adds the records of that name in one set. Others may be writing to it: its names are complete up
// to `count`.
static bool add_from(fa__phases *phases, const char *name, fa_phase_stats *out) {
    uint32_t count = phases == NULL ? 0 : fa__load_acquire(&phases->count);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(phases->records[i].name, name) == 0 &&
            fa__load(&phases->records[i].count) != 0) {
            fill(&phases->records[i], out);
            return true;
        }
    }
    return false;
}

fa_result fa_phase_stats_get(fa_context *ctx, const char *name, bool all_threads,
                             fa_phase_stats *out) {
    if (name == NULL || out == NULL) {
        return fa__fail_argument(ctx, name == NULL ? "name" : "out");
    }
    *out = (fa_phase_stats){0};
    fa__thread *self = fa__thread_find(ctx);
    bool is_found = false;
    if (!all_threads) {
        fa__phases *phases = self == NULL ? NULL : fa__load_acquire(&self->phases);
        record *entry = phases == NULL ? NULL : find(phases, name, false);
        if (entry != NULL && fa__load(&entry->count) != 0) {
            fill(entry, out);
            fill_frame(entry, fa__load(&self->frame_index), out);
            is_found = true;
        }
        return is_found ? FA_OK : FA_ERR_NOT_FOUND;
    }
    fa__os_mutex_lock(&ctx->lock);
    is_found = add_from(ctx->gone_phases, name, out);
    for (fa__thread *thread = ctx->threads; thread != NULL; thread = thread->next) {
        is_found = add_from(fa__load_acquire(&thread->phases), name, out) || is_found;
    }
    fa__os_mutex_unlock(&ctx->lock);
    return is_found ? FA_OK : FA_ERR_NOT_FOUND;
}

void fa__phases_retire_locked(fa__thread *thread) {
    fa_context *ctx = thread->context;
    fa__phases *phases = fa__load(&thread->phases);
    if (phases == NULL) {
        return;
    }
    fa__phases *gone = ctx->gone_phases;
    if (gone == NULL) { // The first to go leaves its own.
        phases->depth = 0;
        ctx->gone_phases = phases;
        fa__store(&thread->phases, NULL);
        return;
    }
    for (uint32_t i = 0; i < fa__load(&phases->count); i++) {
        record *from = &phases->records[i];
        record *to = find(gone, from->name, true);
        if (to == NULL) {
            continue; // More names than fit: the last ones are not kept.
        }
        fa__own_add(&to->count, fa__load(&from->count));
        fa__own_add(&to->total_bytes, fa__load(&from->total_bytes));
        fa__own_add(&to->total_time_ns, fa__load(&from->total_time_ns));
        if (fa__load(&from->max_bytes) > fa__load(&to->max_bytes)) {
            fa__store(&to->max_bytes, fa__load(&from->max_bytes));
        }
        if (fa__load(&from->max_time_ns) > fa__load(&to->max_time_ns)) {
            fa__store(&to->max_time_ns, fa__load(&from->max_time_ns));
        }
    }
    // The names stay: they were handed out.
    phases->depth = 0;
    for (uint32_t i = 0; i < fa__load(&phases->count); i++) {
        record *entry = &phases->records[i];
        fa__store(&entry->count, 0);
        fa__store(&entry->total_bytes, 0);
        fa__store(&entry->total_time_ns, 0);
        fa__store(&entry->max_bytes, 0);
        fa__store(&entry->max_time_ns, 0);
        entry->frame = 0;
    }
}

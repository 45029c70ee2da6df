// The same figures as one JSON object. docs/replay.md describes every field; a change of meaning
// needs a new version.
//
// cJSON returns NULL when there is no memory and accepts NULL everywhere, so building is written
// straight through and `complete` remembers whether everything was there.

#include "report.h"

#include <framealloc/base.h>

#include <cjson/cJSON.h>
#include <string.h>

static const char *const part_names[PART_COUNT] = {"load", "warmup", "steady", "tail"};

static bool complete;

static void add(cJSON *object, const char *name, cJSON *item) {
    if (item == NULL || !cJSON_AddItemToObject(object, name, item)) {
        complete = false;
        cJSON_Delete(item);
    }
}

static void add_number(cJSON *object, const char *name, double value) {
    add(object, name, cJSON_CreateNumber(value));
}

static void add_text(cJSON *object, const char *name, const char *text) {
    add(object, name, text != NULL ? cJSON_CreateString(text) : cJSON_CreateNull());
}

static cJSON *time_json(const time_figures *time) {
    cJSON *object = cJSON_CreateObject();
    add_number(object, "min", (double)time->min_ns);
    add_number(object, "median", (double)time->median_ns);
    return object;
}

static cJSON *trace_json(const report *r) {
    const plan *p = r->plan;
    cJSON *object = cJSON_CreateObject();
    add_text(object, "file", r->path);
    add_number(object, "frames_recorded", p->frames_recorded);
    add_number(object, "first_frame", p->first_frame);
    add_number(object, "last_frame", p->last_frame);
    bool has_steady = p->steady_frame <= p->last_frame;
    add(object, "steady_frame",
        has_steady ? cJSON_CreateNumber(p->steady_frame) : cJSON_CreateNull());
    add_number(object, "threads", p->threads);
    add_number(object, "sites", p->sites);
    add_number(object, "frame_objects", p->frame_objects);
    add_number(object, "scoped_objects", p->scoped_objects);
    add_number(object, "pooled_objects", p->pooled_objects);
    add_number(object, "heap_objects", p->heap_objects);
    cJSON *pools = cJSON_CreateArray();
    for (uint32_t i = 0; i < p->pool_count; i++) {
        cJSON *bytes = cJSON_CreateNumber(p->pool_bytes[i]);
        if (!cJSON_AddItemToArray(pools, bytes)) {
            complete = false;
            cJSON_Delete(bytes);
        }
    }
    add(object, "pool_bytes", pools);
    add_number(object, "peak_bytes", (double)p->peak_bytes);
    add_number(object, "final_bytes", (double)p->final_bytes);
    cJSON *operations = cJSON_CreateObject();
    add_number(operations, "total", p->op_count);
    for (int part = 0; part < PART_COUNT; part++) {
        add_number(operations, part_names[part], plan_part_ops(p, (plan_part)part));
    }
    add(object, "operations", operations);
    return object;
}

static cJSON *rates_json(const report *r, const allocator_figures *figures) {
    cJSON *object = cJSON_CreateObject();
    add_number(object, "total", report_rate(r, figures, PART_COUNT));
    for (int part = 0; part < PART_COUNT; part++) {
        add_number(object, part_names[part], report_rate(r, figures, (plan_part)part));
    }
    return object;
}

static cJSON *times_json(const allocator_figures *figures) {
    cJSON *object = cJSON_CreateObject();
    add(object, "total", time_json(&figures->total));
    for (int part = 0; part < PART_COUNT; part++) {
        add(object, part_names[part], time_json(&figures->part[part]));
    }
    return object;
}

static cJSON *frame_json(const frame_figures *frame) {
    cJSON *object = cJSON_CreateObject();
    add_number(object, "median", (double)frame->median_ns);
    add_number(object, "p99", (double)frame->p99_ns);
    add_number(object, "max", (double)frame->max_ns);
    return object;
}

// Frame times of the parts that have frames, null for the others. `worst` may be NULL.
static cJSON *frames_json(const report *r, const frame_figures *frame, const uint64_t *worst) {
    cJSON *object = cJSON_CreateObject();
    for (int part = PART_WARMUP; part <= PART_STEADY; part++) {
        cJSON *item = cJSON_CreateNull();
        if (measure_has_frames(r->plan, (plan_part)part)) {
            cJSON_Delete(item);
            item = frame_json(&frame[part]);
            if (worst != NULL) {
                add_number(item, "worst", (double)worst[part]);
            }
        }
        add(object, part_names[part], item);
    }
    return object;
}

static cJSON *pair_json(bool is_known, const char *first_name, uint64_t first,
                        const char *second_name, uint64_t second) {
    if (!is_known) {
        return cJSON_CreateNull();
    }
    cJSON *object = cJSON_CreateObject();
    add_number(object, first_name, (double)first);
    add_number(object, second_name, (double)second);
    return object;
}

// System calls of a part: their number, and each kind by name.
static cJSON *calls_json(const syscall_region *region) {
    cJSON *object = cJSON_CreateObject();
    cJSON *kinds = cJSON_CreateObject();
    add_number(object, "total", (double)region->calls);
    for (unsigned number = 0; number < SYSCALL_NUMBERS; number++) {
        if (region->by_number[number] > 0) {
            char unknown[24];
            snprintf(unknown, sizeof unknown, "%u", number);
            const char *name = syscall_name(number);
            add_number(kinds, name != NULL ? name : unknown, region->by_number[number]);
        }
    }
    add(object, "by_name", kinds);
    return object;
}

static cJSON *all_calls_json(const syscall_count *counts) {
    if (!counts->counted) {
        return cJSON_CreateNull();
    }
    cJSON *object = cJSON_CreateObject();
    for (int part = 0; part < PART_COUNT; part++) {
        add(object, part_names[part], calls_json(&counts->regions[part]));
    }
    return object;
}

static cJSON *all_faults_json(const syscall_count *counts) {
    cJSON *object = cJSON_CreateObject();
    for (int part = 0; part < PART_COUNT; part++) {
        const syscall_region *region = &counts->regions[part];
        add(object, part_names[part],
            pair_json(true, "minor", region->minor_faults, "major", region->major_faults));
    }
    return object;
}

static cJSON *run_json(const report *r, const run_figures *run) {
    cJSON *object = cJSON_CreateObject();
    cJSON *times = cJSON_CreateObject();
    add_number(times, "total", (double)run->total_ns);
    for (int part = 0; part < PART_COUNT; part++) {
        add_number(times, part_names[part], (double)run->part_ns[part]);
    }
    add(object, "time_ns", times);
    add(object, "frame_ns", frames_json(r, run->frame, NULL));
    add(object, "resident_bytes",
        pair_json(run->memory_known, "peak", run->peak_bytes, "final", run->final_bytes));
    return object;
}

static cJSON *allocator_json(const report *r, const allocator_figures *figures) {
    cJSON *object = cJSON_CreateObject();
    add_text(object, "name", figures->allocator->name);
    add_text(object, "version", figures->version[0] != '\0' ? figures->version : NULL);
    add_text(object, "summary", figures->allocator->summary);
    add(object, "is_reference", cJSON_CreateBool(figures->allocator->is_reference));
    add(object, "ok", cJSON_CreateBool(figures->ok));
    add_text(object, "error", figures->ok ? NULL : figures->error);
    if (!figures->ok) {
        return object;
    }
    add(object, "operations_per_second", rates_json(r, figures));
    add(object, "time_ns", times_json(figures));
    add(object, "frame_ns", frames_json(r, figures->frame, figures->worst_ns));
    add(object, "resident_bytes",
        pair_json(figures->memory_known, "peak", figures->peak_bytes, "final",
                  figures->final_bytes));
    add(object, "own_bytes",
        pair_json(figures->account.is_known, "peak", figures->account.peak_bytes, "committed",
                  figures->account.committed_bytes));
    add(object, "system_calls", all_calls_json(&figures->counts));
    add_text(object, "system_calls_reason",
             figures->counts.counted ? NULL : figures->counts.reason);
    add(object, "page_faults", all_faults_json(&figures->counts));
    cJSON *runs = cJSON_CreateArray();
    for (uint32_t i = 0; i < figures->run_count; i++) {
        cJSON *run = run_json(r, &figures->runs[i]);
        if (!cJSON_AddItemToArray(runs, run)) {
            complete = false;
            cJSON_Delete(run);
        }
    }
    add(object, "runs", runs);
    return object;
}

static cJSON *report_object(const report *r) {
    cJSON *root = cJSON_CreateObject();
    add_text(root, "format", REPORT_JSON_FORMAT);
    add_number(root, "version", REPORT_JSON_VERSION);
    add_text(root, "framealloc", fa_version());
    add(root, "ok", cJSON_CreateBool(r->result->ok));
    add(root, "trace", trace_json(r));
    add_number(root, "repeat", r->repeat);
    add_number(root, "clock_ns", (double)r->result->clock_ns);
    add_number(root, "load_trace_ns", (double)r->load_ns);
    cJSON *allocators = cJSON_CreateArray();
    for (uint32_t i = 0; i < r->result->count; i++) {
        cJSON *item = allocator_json(r, &r->result->figures[i]);
        if (!cJSON_AddItemToArray(allocators, item)) {
            complete = false;
            cJSON_Delete(item);
        }
    }
    add(root, "allocators", allocators);
    return root;
}

bool report_json(const report *r, FILE *out) {
    complete = true;
    cJSON *root = report_object(r);
    char *text = complete ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    if (text == NULL) {
        return false;
    }
    bool ok = fprintf(out, "%s\n", text) > 0 && fflush(out) == 0;
    cJSON_free(text);
    return ok;
}

// Every pass runs in a forked child:
//
//   parent: plan (shared, read-only)    child: slot table (touched), the allocator, the loop
//           shared_pass <-------------         status, memory figures, a clock reading per section
//
// The child makes all of its own memory resident before the replay begins, so that what is resident
// more at the end is what the replay added. The parent follows a pass by the clock readings that
// appear in shared memory, so that the progress bar costs the timed loop nothing.

#define _GNU_SOURCE 1

#include "measure.h"

#include "../common/child.h"
#include "../common/clock.h"
#include "../common/memory_usage.h"
#include "verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { CLOCK_SAMPLES = 1001 };

// What a child tells its parent. The clock readings follow it in the same memory.
typedef struct shared_pass {
    uint64_t sections_done; // By the verified pass.
    replay_end end;
    bool memory_known;
    memory_usage before;
    memory_usage after;
    replay_account account;
    char version[32];
    char error[256];
    uint64_t stamps[]; // section_count + 1
} shared_pass;

typedef struct pass {
    const allocator *allocator;
    const plan *plan;
    shared_pass *shared;
    bool is_timed;
    progress *bar;
    const char *label;
    uint64_t passes_done;
    uint64_t passes_total;
    uint32_t seen; // Sections the parent knows to be finished.
} pass;

static size_t shared_size(const plan *p) {
    return sizeof(shared_pass) + ((size_t)p->section_count + 1) * sizeof(uint64_t);
}

// Reads one byte of every page of the plan, so that it is resident.
static void touch_plan(const plan *p) {
    const volatile unsigned char *bytes = (const volatile unsigned char *)p->ops;
    size_t size = (size_t)p->op_count * sizeof *p->ops;
    unsigned sum = 0;
    for (size_t at = 0; at < size; at += 4096) {
        sum += bytes[at];
    }
    const volatile uint32_t *ends = p->section_end;
    for (uint32_t i = 0; i < p->section_count; i += 1024) {
        sum += ends[i];
    }
    (void)sum;
}

static replay_slot *slots_make(uint32_t count) {
    size_t size = ((size_t)count + 1) * sizeof(replay_slot);
    void *slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (slots == MAP_FAILED) {
        return NULL;
    }
    memset(slots, 0, size);
    return slots;
}

// Loads the allocator's library, if it has one.
static bool allocator_load(const allocator *a, shared_pass *shared) {
    if (a->load != NULL && !a->load(shared->error, sizeof shared->error)) {
        return false;
    }
    snprintf(shared->version, sizeof shared->version, "%s", a->version());
    return true;
}

// In the child: a timed or counted pass.
static int replay_main(void *arg) {
    pass *work = arg;
    shared_pass *shared = work->shared;
    replay_session session = {.plan = work->plan};
    replay_slot *slots = slots_make(work->plan->slot_count);
    if (slots == NULL) {
        snprintf(shared->error, sizeof shared->error, "there is not enough memory");
        return 1;
    }
    touch_plan(work->plan);
    if (!allocator_load(work->allocator, shared)) {
        return 1;
    }
    shared->memory_known = memory_usage_get(&shared->before);
    if (!work->allocator->open(&session, shared->error, sizeof shared->error)) {
        return 1;
    }
    shared->end = work->is_timed ? work->allocator->run_timed(&session, slots, shared->stamps)
                                 : work->allocator->run_counted(&session, slots);
    shared->memory_known = memory_usage_get(&shared->after) && shared->memory_known;
    if (work->allocator->account != NULL) {
        work->allocator->account(&session, &shared->account);
    }
    return shared->end.status == REPLAY_DONE ? 0 : 1;
}

// In the child: the verified pass.
static int verify_main(void *arg) {
    pass *work = arg;
    shared_pass *shared = work->shared;
    return verify_allocator(work->allocator, work->plan, &shared->sections_done, shared->error,
                            sizeof shared->error)
               ? 0
               : 1;
}

static void pass_tick(void *user) {
    pass *work = user;
    uint32_t sections = work->plan->section_count;
    const volatile uint64_t *stamps = work->shared->stamps;
    if (work->is_timed) {
        while (work->seen < sections && stamps[work->seen + 1] != 0) {
            work->seen++;
        }
    } else {
        work->seen = (uint32_t) * (const volatile uint64_t *)&work->shared->sections_done;
    }
    progress_show(work->bar, work->label, work->passes_done * sections + work->seen,
                  work->passes_total * sections);
}

// Says why the replay of a child stopped.
static void describe_failure(const pass *work, char *error, size_t error_size) {
    const plan *p = work->plan;
    replay_end end = work->shared->end;
    uint32_t op = end.op < p->op_count ? end.op : p->op_count - 1;
    unsigned frame = (unsigned)plan_frame_of(p, op);
    unsigned long long id = (unsigned long long)p->ids[p->ops[op].block];
    if (end.status == REPLAY_REFUSED) {
        snprintf(error, error_size, "frame %u: %s returned NULL for block %llu of %lu bytes", frame,
                 work->allocator->name, id, (unsigned long)p->ops[op].size);
    } else if (end.status == REPLAY_DAMAGED) {
        snprintf(error, error_size, "frame %u: a block was overwritten: seen at block %llu", frame,
                 id);
    } else {
        snprintf(error, error_size, "frame %u: %s could not begin a frame", frame,
                 work->allocator->name);
    }
}

// Turns how a child ended into ok or an error.
static bool judge(const pass *work, bool started, int exit_code, int signal_number,
                  allocator_figures *figures, const char *name) {
    char why[256];
    if (started && exit_code == 0) {
        return true;
    }
    if (!started) {
        snprintf(why, sizeof why, "no child process could be made");
    } else if (signal_number != 0) {
        snprintf(why, sizeof why, "it was ended by signal %d", signal_number);
    } else if (work->shared->error[0] != '\0') {
        snprintf(why, sizeof why, "%s", work->shared->error);
    } else if (work->shared->end.status != REPLAY_DONE) {
        describe_failure(work, why, sizeof why);
    } else {
        snprintf(why, sizeof why, "it ended with exit code %d", exit_code);
    }
    snprintf(figures->error, sizeof figures->error, "%s pass: %s", name, why);
    figures->ok = false;
    return false;
}

static void run_in_child(pass *work, int (*fn)(void *), allocator_figures *figures,
                         const char *name) {
    memset(work->shared, 0, shared_size(work->plan));
    work->seen = 0;
    child_end end = child_run(fn, work, work->bar->is_shown ? pass_tick : NULL, work);
    judge(work, end.started, end.exit_code, end.signal, figures, name);
}

static void run_counted(pass *work, allocator_figures *figures) {
    memset(work->shared, 0, shared_size(work->plan));
    work->seen = 0;
    pass_tick(work);
    syscall_count_run(replay_main, work, &figures->counts);
    judge(work, figures->counts.started, figures->counts.exit_code, figures->counts.signal, figures,
          "counted");
}

static int compare_u64(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

uint64_t percentile(uint64_t *values, size_t count, unsigned percent) {
    if (count == 0) {
        return 0;
    }
    qsort(values, count, sizeof *values, compare_u64);
    size_t rank = (count * percent + 99) / 100;
    return values[rank > 0 ? rank - 1 : 0];
}

// A section that is a frame: not what was live before, and not what follows the last one.
static bool is_frame(const plan *p, uint32_t section) {
    return section > 0 && section + 1 < p->section_count;
}

bool measure_has_frames(const plan *p, plan_part part) {
    for (uint32_t section = 0; section < p->section_count; section++) {
        if (is_frame(p, section) && plan_part_of(p, section) == part) {
            return true;
        }
    }
    return false;
}

// Makes the figures of each part from one time per section.
static void frames_of(const plan *p, const uint64_t *times, uint64_t *scratch,
                      frame_figures *frame) {
    for (int part = 0; part < PART_COUNT; part++) {
        size_t count = 0;
        for (uint32_t section = 0; section < p->section_count; section++) {
            if (is_frame(p, section) && plan_part_of(p, section) == (plan_part)part) {
                scratch[count++] = times[section];
            }
        }
        frame[part] = (frame_figures){.median_ns = percentile(scratch, count, 50),
                                      .p99_ns = percentile(scratch, count, 99),
                                      .max_ns = percentile(scratch, count, 100)};
    }
}

static uint64_t difference(uint64_t more, uint64_t less) {
    return more > less ? more - less : 0;
}

// Takes the figures of a timed pass. `times` and `scratch` have room for one value per section.
static void collect_run(const pass *work, allocator_figures *figures, uint64_t *times,
                        uint64_t *scratch) {
    const plan *p = work->plan;
    const shared_pass *shared = work->shared;
    run_figures *run = &figures->runs[figures->run_count];
    for (uint32_t section = 0; section < p->section_count; section++) {
        times[section] = shared->stamps[section + 1] - shared->stamps[section];
        run->part_ns[plan_part_of(p, section)] += times[section];
        run->total_ns += times[section];
        bool is_best = figures->run_count == 0 || times[section] < figures->section_min_ns[section];
        if (is_best) {
            figures->section_min_ns[section] = times[section];
        }
    }
    frames_of(p, times, scratch, run->frame);
    run->memory_known = shared->memory_known && !figures->allocator->is_reference;
    run->peak_bytes = difference(shared->after.peak_bytes, shared->before.resident_bytes);
    run->final_bytes = difference(shared->after.resident_bytes, shared->before.resident_bytes);
    run->account = shared->account;
    snprintf(figures->version, sizeof figures->version, "%s", shared->version);
    figures->run_count++;
}

static time_figures time_over_runs(const allocator_figures *figures, int part, uint64_t *scratch) {
    for (uint32_t i = 0; i < figures->run_count; i++) {
        const run_figures *run = &figures->runs[i];
        scratch[i] = part < PART_COUNT ? run->part_ns[part] : run->total_ns;
    }
    uint64_t median = percentile(scratch, figures->run_count, 50);
    return (time_figures){.min_ns = scratch[0], .median_ns = median};
}

// Makes the figures over all runs. `scratch` has room for every section and every run.
static void summarize(const plan *p, allocator_figures *figures, uint64_t *scratch) {
    if (!figures->ok || figures->run_count == 0) {
        return;
    }
    for (int part = 0; part < PART_COUNT; part++) {
        figures->part[part] = time_over_runs(figures, part, scratch);
    }
    figures->total = time_over_runs(figures, PART_COUNT, scratch);
    frames_of(p, figures->section_min_ns, scratch, figures->frame);
    figures->memory_known = true;
    for (uint32_t i = 0; i < figures->run_count; i++) {
        const run_figures *run = &figures->runs[i];
        figures->memory_known = figures->memory_known && run->memory_known;
        for (int part = 0; part < PART_COUNT; part++) {
            uint64_t slowest = run->frame[part].max_ns;
            figures->worst_ns[part] =
                slowest > figures->worst_ns[part] ? slowest : figures->worst_ns[part];
        }
        figures->account = run->account;
    }
    for (uint32_t i = 0; i < figures->run_count; i++) {
        scratch[i] = figures->runs[i].peak_bytes;
    }
    figures->peak_bytes = percentile(scratch, figures->run_count, 50);
    for (uint32_t i = 0; i < figures->run_count; i++) {
        scratch[i] = figures->runs[i].final_bytes;
    }
    figures->final_bytes = percentile(scratch, figures->run_count, 50);
}

// The usual cost of two clock readings in a row.
static uint64_t measure_clock(void) {
    uint64_t samples[CLOCK_SAMPLES];
    uint64_t last = clock_ns();
    for (int i = 0; i < CLOCK_SAMPLES; i++) {
        uint64_t now = clock_ns();
        samples[i] = now - last;
        last = now;
    }
    return percentile(samples, CLOCK_SAMPLES, 50);
}

static bool figures_init(allocator_figures *figures, const allocator *a, const plan *p,
                         uint32_t repeat) {
    *figures = (allocator_figures){.allocator = a, .ok = true};
    figures->runs = calloc(repeat, sizeof *figures->runs);
    figures->section_min_ns = calloc(p->section_count, sizeof *figures->section_min_ns);
    return figures->runs != NULL && figures->section_min_ns != NULL;
}

static void run_passes(const measure_request *request, measure_result *out, pass *work,
                       uint64_t *times, uint64_t *scratch) {
    char label[64];
    work->label = label;
    work->passes_total = (uint64_t)request->allocator_count * (request->repeat + 2);
    for (uint32_t i = 0; i < out->count; i++) {
        allocator_figures *figures = &out->figures[i];
        work->allocator = figures->allocator;
        work->is_timed = false;
        snprintf(label, sizeof label, "%s: verifying", figures->allocator->name);
        run_in_child(work, verify_main, figures, "verified");
        work->passes_done++;
        snprintf(label, sizeof label, "%s: counting system calls", figures->allocator->name);
        if (figures->ok) {
            run_counted(work, figures);
        }
        work->passes_done++;
    }
    work->is_timed = true;
    for (uint32_t repeat = 0; repeat < request->repeat; repeat++) {
        for (uint32_t i = 0; i < out->count; i++) {
            uint32_t at = repeat % 2 == 0 ? i : out->count - 1 - i;
            allocator_figures *figures = &out->figures[at];
            work->allocator = figures->allocator;
            snprintf(label, sizeof label, "%s: run %u of %u", figures->allocator->name,
                     (unsigned)repeat + 1, (unsigned)request->repeat);
            if (figures->ok) {
                run_in_child(work, replay_main, figures, "timed");
            }
            if (figures->ok) {
                collect_run(work, figures, times, scratch);
            }
            work->passes_done++;
        }
    }
}

bool measure_run(const measure_request *request, measure_result *out) {
    const plan *p = request->plan;
    *out = (measure_result){.count = request->allocator_count, .clock_ns = measure_clock()};
    size_t scratch_count = (size_t)p->section_count + request->repeat;
    uint64_t *scratch = calloc(scratch_count, sizeof *scratch);
    uint64_t *times = calloc(p->section_count, sizeof *times);
    shared_pass *shared = child_shared_alloc(shared_size(p));
    bool ok = scratch != NULL && times != NULL && shared != NULL;
    for (uint32_t i = 0; i < out->count; i++) {
        ok = figures_init(&out->figures[i], request->allocators[i], p, request->repeat) && ok;
    }
    if (ok) {
        pass work = {.plan = p, .shared = shared, .bar = request->bar};
        run_passes(request, out, &work, times, scratch);
        out->ok = true;
    }
    for (uint32_t i = 0; ok && i < out->count; i++) {
        summarize(p, &out->figures[i], scratch);
        out->ok = out->ok && out->figures[i].ok;
    }
    child_shared_free(shared, shared_size(p));
    free(scratch);
    free(times);
    return ok;
}

void measure_clear(measure_result *result) {
    for (uint32_t i = 0; i < result->count; i++) {
        free(result->figures[i].runs);
        free(result->figures[i].section_min_ns);
    }
    *result = (measure_result){0};
}

// The table. Each row is a label, a unit, and which figure of an allocator it shows:
//
//                                   glibc  framealloc   ratio        none
//   frame, median                  312 ns      140 ns    0.45       40 ns
//
// The ratio of an allocator stands behind its column and compares with glibc's. Allocators that
// failed have no column. When not all columns fit, the rest follow in further tables, each with
// glibc's in front.

#include "report.h"

#include "report_cells.h"

#include <math.h>

enum { LABEL_WIDTH = 30, CELL_WIDTH = 12, RATIO_WIDTH = 8, TABLE_WIDTH = 100 };

// Those that stand side by side.
typedef struct table {
    const report *report;
    const allocator_figures *base; // What the others are compared with, or NULL.
    const allocator_figures *columns[MEASURE_ALLOCATORS_MAX];
    uint32_t count;
} table;

// What a row shows, of the part it names; PART_COUNT is the whole replay.
typedef enum figure {
    FIGURE_TIME,   // Of the fastest run.
    FIGURE_MIDDLE, // Of the middle run.
    FIGURE_RATE,
    FIGURE_FRAME_MEDIAN,
    FIGURE_FRAME_P99,
    FIGURE_FRAME_MAX,
    FIGURE_CALLS,
    FIGURE_FAULTS,
    FIGURE_PEAK,
    FIGURE_FINAL
} figure;

typedef struct row {
    const char *label;
    cell_unit unit;
    figure what;
    plan_part part;
} row;

static const row load_rows[] = {
    {"time, fastest run", UNIT_TIME, FIGURE_TIME, PART_LOAD},
    {"time, middle run", UNIT_TIME, FIGURE_MIDDLE, PART_LOAD},
    {"operations per second", UNIT_RATE, FIGURE_RATE, PART_LOAD},
    {"system calls", UNIT_COUNT, FIGURE_CALLS, PART_LOAD},
    {"page faults", UNIT_COUNT, FIGURE_FAULTS, PART_LOAD},
};

static const row warmup_rows[] = {
    {"frame, median", UNIT_TIME, FIGURE_FRAME_MEDIAN, PART_WARMUP},
    {"frame, maximum", UNIT_TIME, FIGURE_FRAME_MAX, PART_WARMUP},
    {"system calls", UNIT_COUNT, FIGURE_CALLS, PART_WARMUP},
    {"page faults", UNIT_COUNT, FIGURE_FAULTS, PART_WARMUP},
};

static const row steady_rows[] = {
    {"time, fastest run", UNIT_TIME, FIGURE_TIME, PART_STEADY},
    {"time, middle run", UNIT_TIME, FIGURE_MIDDLE, PART_STEADY},
    {"operations per second", UNIT_RATE, FIGURE_RATE, PART_STEADY},
    {"frame, median", UNIT_TIME, FIGURE_FRAME_MEDIAN, PART_STEADY},
    {"frame, 99th percentile", UNIT_TIME, FIGURE_FRAME_P99, PART_STEADY},
    {"frame, maximum", UNIT_TIME, FIGURE_FRAME_MAX, PART_STEADY},
    {"system calls", UNIT_COUNT, FIGURE_CALLS, PART_STEADY},
    {"page faults", UNIT_COUNT, FIGURE_FAULTS, PART_STEADY},
};

static const row total_rows[] = {
    {"time, fastest run", UNIT_TIME, FIGURE_TIME, PART_COUNT},
    {"operations per second", UNIT_RATE, FIGURE_RATE, PART_COUNT},
    {"resident memory, peak", UNIT_BYTES, FIGURE_PEAK, PART_COUNT},
    {"resident memory, at the end", UNIT_BYTES, FIGURE_FINAL, PART_COUNT},
};

static const time_figures *time_of(const allocator_figures *figures, plan_part part) {
    return part == PART_COUNT ? &figures->total : &figures->part[part];
}

double report_rate(const report *r, const allocator_figures *figures, plan_part part) {
    uint32_t ops = part == PART_COUNT ? r->plan->op_count : plan_part_ops(r->plan, part);
    uint64_t ns = time_of(figures, part)->min_ns;
    return ops == 0 || ns == 0 ? 0.0 : (double)ops * 1e9 / (double)ns;
}

static double known(bool is_known, uint64_t number) {
    return is_known ? (double)number : (double)NAN;
}

// The figure of a row for one allocator; NAN where there is none.
static double pick(const report *r, const row *line, const allocator_figures *figures) {
    const syscall_region *region = &figures->counts.regions[line->part % SYSCALL_REGIONS];
    const frame_figures *frame = &figures->frame[line->part % PART_COUNT];
    double rate = 0.0;
    switch (line->what) {
    case FIGURE_TIME:
        return (double)time_of(figures, line->part)->min_ns;
    case FIGURE_MIDDLE:
        return (double)time_of(figures, line->part)->median_ns;
    case FIGURE_RATE:
        rate = report_rate(r, figures, line->part);
        return rate > 0.0 ? rate : (double)NAN;
    case FIGURE_FRAME_MEDIAN:
        return (double)frame->median_ns;
    case FIGURE_FRAME_P99:
        return (double)frame->p99_ns;
    case FIGURE_FRAME_MAX:
        return (double)frame->max_ns;
    case FIGURE_CALLS:
        return known(figures->counts.counted, region->calls);
    case FIGURE_FAULTS:
        return (double)(region->minor_faults + region->major_faults);
    case FIGURE_PEAK:
        return known(figures->memory_known, figures->peak_bytes);
    case FIGURE_FINAL:
        return known(figures->memory_known, figures->final_bytes);
    }
    return (double)NAN;
}

// What the others are compared with: the C library's malloc, where it was run.
static const allocator_figures *base_of(const report *r) {
    for (uint32_t i = 0; i < r->result->count; i++) {
        const allocator_figures *figures = &r->result->figures[i];
        if (figures->ok && figures->allocator == &allocator_glibc) {
            return figures;
        }
    }
    return NULL;
}

static bool has_ratio(const allocator_figures *base, const allocator_figures *figures) {
    return base != NULL && figures != base && !figures->allocator->is_reference;
}

static void print_head(const table *t, FILE *out) {
    fprintf(out, "%-*s", LABEL_WIDTH, "");
    for (uint32_t i = 0; i < t->count; i++) {
        fprintf(out, "%*s", CELL_WIDTH, t->columns[i]->allocator->name);
        if (has_ratio(t->base, t->columns[i])) {
            fprintf(out, "%*s", RATIO_WIDTH, "ratio");
        }
    }
    fprintf(out, "\n");
}

static void print_row(const table *t, const row *line, FILE *out) {
    char cell[CELL_BYTES];
    fprintf(out, "  %-*s", LABEL_WIDTH - 2, line->label);
    for (uint32_t i = 0; i < t->count; i++) {
        double value = pick(t->report, line, t->columns[i]);
        format_cell(cell, sizeof cell, line->unit, value);
        fprintf(out, "%*s", CELL_WIDTH, cell);
        if (has_ratio(t->base, t->columns[i])) {
            format_ratio(cell, sizeof cell, pick(t->report, line, t->base), value);
            fprintf(out, "%*s", RATIO_WIDTH, cell);
        }
    }
    fprintf(out, "\n");
}

static void print_rows(const table *t, const row *rows, size_t count, FILE *out) {
    for (size_t i = 0; i < count; i++) {
        print_row(t, &rows[i], out);
    }
}

static const char *counted(char *buffer, size_t size, uint64_t number) {
    format_count(buffer, size, (double)number);
    return buffer;
}

void report_heading(const report *r, FILE *out) {
    const plan *p = r->plan;
    char a[CELL_BYTES];
    char b[CELL_BYTES];
    char c[CELL_BYTES];
    fprintf(out, "%s\n\n", r->path);
    fprintf(out, "  frames       %u to %u of %u recorded\n", (unsigned)p->first_frame,
            (unsigned)p->last_frame, (unsigned)p->frames_recorded);
    fprintf(out, "  operations   %s by %u thread%s, folded onto one\n",
            counted(a, sizeof a, p->op_count), (unsigned)p->threads, p->threads == 1 ? "" : "s");
    uint64_t objects =
        (uint64_t)p->frame_objects + p->scoped_objects + p->pooled_objects + p->heap_objects;
    fprintf(out, "  objects      %s: %s in frames, %s in scratch scopes,\n",
            counted(a, sizeof a, objects), counted(b, sizeof b, p->frame_objects),
            counted(c, sizeof c, p->scoped_objects));
    fprintf(out, "               %s in %u pool%s by size, %s in the heap\n",
            counted(a, sizeof a, p->pooled_objects), (unsigned)p->pool_count,
            p->pool_count == 1 ? "" : "s", counted(b, sizeof b, p->heap_objects));
    format_bytes(a, sizeof a, (double)p->peak_bytes);
    format_bytes(b, sizeof b, (double)p->final_bytes);
    fprintf(out, "  asked for    %s at most at once, %s at the end\n", a, b);
    fprintf(out,
            "  runs         %u of each, taking turns; before them one in which every byte and"
            " address is checked\n\n",
            (unsigned)r->repeat);
}

static void print_load(const table *t, FILE *out) {
    const report *r = t->report;
    char ops[CELL_BYTES];
    counted(ops, sizeof ops, plan_part_ops(r->plan, PART_LOAD));
    if (r->plan->first_frame == 0) {
        fprintf(out, "load: frame 0, %s operations\n", ops);
    } else {
        fprintf(out, "load: %s blocks that live when frame %u begins\n", ops,
                (unsigned)r->plan->first_frame);
    }
    print_rows(t, load_rows, sizeof load_rows / sizeof load_rows[0], out);
}

static void print_warmup(const table *t, FILE *out) {
    const report *r = t->report;
    const plan *p = r->plan;
    char ops[CELL_BYTES];
    if (!measure_has_frames(p, PART_WARMUP)) {
        return;
    }
    uint32_t first = p->first_frame == 0 ? 1 : p->first_frame;
    counted(ops, sizeof ops, plan_part_ops(p, PART_WARMUP));
    fprintf(out, "warm-up: frames %u to %u, %s operations\n", (unsigned)first,
            (unsigned)p->steady_frame - 1, ops);
    print_rows(t, warmup_rows, sizeof warmup_rows / sizeof warmup_rows[0], out);
}

static void print_steady(const table *t, FILE *out) {
    const report *r = t->report;
    const plan *p = r->plan;
    char ops[CELL_BYTES];
    if (p->steady_frame > p->last_frame) {
        fprintf(out, "steady: none, a single frame is all load or warm-up\n");
        return;
    }
    counted(ops, sizeof ops, plan_part_ops(p, PART_STEADY));
    fprintf(out, "steady: frames %u to %u, %s operations\n", (unsigned)p->steady_frame,
            (unsigned)p->last_frame, ops);
    print_rows(t, steady_rows, sizeof steady_rows / sizeof steady_rows[0], out);
}

static void print_notes(const report *r, FILE *out) {
    bool has_reference = false;
    bool has_ratios = false;
    for (uint32_t i = 0; i < r->result->count; i++) {
        const allocator_figures *figures = &r->result->figures[i];
        has_reference = has_reference || (figures->ok && figures->allocator->is_reference);
        has_ratios = has_ratios || (figures->ok && has_ratio(base_of(r), figures));
    }
    fprintf(out,
            "\nA frame's time is its fastest of all runs and contains one reading of the clock"
            " (%u ns).\n",
            (unsigned)r->result->clock_ns);
    fprintf(out, "Resident memory is what the replay added to its process.\n");
    if (has_ratios) {
        fprintf(out, "ratio: to glibc.\n");
    }
    if (has_reference) {
        fprintf(out, "none: no allocator, every block has a place fixed beforehand: what the replay"
                     " itself costs.\n");
    }
}

static void print_uncounted(const report *r, FILE *out) {
    const char *reason = "";
    for (uint32_t i = 0; i < r->result->count; i++) {
        const allocator_figures *figures = &r->result->figures[i];
        if (figures->ok && !figures->counts.counted) {
            reason = figures->counts.reason;
        }
    }
    if (reason[0] != '\0') {
        fprintf(out, "System calls were not counted: %s.\n", reason);
    }
}

void report_failures(const report *r, FILE *out) {
    print_uncounted(r, out);
    for (uint32_t i = 0; i < r->result->count; i++) {
        const allocator_figures *figures = &r->result->figures[i];
        if (!figures->ok) {
            fprintf(out, "\nFAILED %s: %s\n", figures->allocator->name, figures->error);
        }
    }
}

static int width_of(const table *t, const allocator_figures *figures) {
    return CELL_WIDTH + (has_ratio(t->base, figures) ? RATIO_WIDTH : 0);
}

// Takes as many allocators as fit side by side, from number `first` on; returns the number of the
// next one.
static uint32_t fill_table(table *t, uint32_t first) {
    const measure_result *result = t->report->result;
    int width = LABEL_WIDTH;
    t->count = 0;
    for (uint32_t i = 0; i < first; i++) {
        if (t->base == &result->figures[i]) {
            t->columns[t->count++] = t->base;
            width += width_of(t, t->base);
        }
    }
    for (uint32_t i = first; i < result->count; i++) {
        const allocator_figures *figures = &result->figures[i];
        if (!figures->ok) {
            continue;
        }
        width += width_of(t, figures);
        if (width > TABLE_WIDTH) {
            return i;
        }
        t->columns[t->count++] = figures;
    }
    return result->count;
}

static void print_table(const table *t, FILE *out) {
    print_head(t, out);
    print_load(t, out);
    print_warmup(t, out);
    print_steady(t, out);
    fprintf(out, "whole replay\n");
    print_rows(t, total_rows, sizeof total_rows / sizeof total_rows[0], out);
}

void report_text(const report *r, FILE *out) {
    bool has_figures = false;
    table t = {.report = r, .base = base_of(r)};
    report_heading(r, out);
    for (uint32_t next = 0; next < r->result->count;) {
        uint32_t first = next;
        next = fill_table(&t, first);
        bool repeats_base = first > 0 && t.count > 0 && t.columns[0] == t.base;
        bool has_column = t.count > (repeats_base ? 1 : 0);
        if (has_column) {
            fprintf(out, "%s", has_figures ? "\n" : "");
            print_table(&t, out);
        }
        has_figures = has_figures || has_column;
    }
    if (has_figures) {
        print_notes(r, out);
    }
    report_failures(r, out);
}

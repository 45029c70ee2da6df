// The table. Each row is a label, a unit, and which figure of an allocator it shows:
//
//                                  malloc  framealloc   ratio        none
//   frame, median                  312 ns      140 ns    0.45       40 ns
//
// The ratio of an allocator stands behind its column and compares with malloc's. Allocators that
// failed have no column.

#include "report.h"

#include <math.h>

enum { LABEL_WIDTH = 30, CELL_WIDTH = 12, RATIO_WIDTH = 8, CELL_BYTES = 40 };

typedef enum cell_unit { UNIT_TIME, UNIT_RATE, UNIT_BYTES, UNIT_COUNT } cell_unit;

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

// "1234567" as "1,234,567".
static void format_count(char *buffer, size_t size, double value) {
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%.0f", value);
    size_t used = 0;
    for (int i = 0; i < length && used + 2 < size; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            buffer[used++] = ',';
        }
        buffer[used++] = digits[i];
    }
    buffer[used] = '\0';
}

// Three digits that count: 1.23, 12.3, 123.
static void format_scaled(char *buffer, size_t size, double value, const char *suffix) {
    int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(buffer, size, "%.*f %s", decimals, value, suffix);
}

static void format_time(char *buffer, size_t size, double ns) {
    if (ns < 999.5) {
        snprintf(buffer, size, "%.0f ns", ns);
    } else if (ns < 999.5e3) {
        format_scaled(buffer, size, ns / 1e3, "us");
    } else if (ns < 999.5e6) {
        format_scaled(buffer, size, ns / 1e6, "ms");
    } else {
        format_scaled(buffer, size, ns / 1e9, "s");
    }
}

static void format_bytes(char *buffer, size_t size, double bytes) {
    if (bytes < 1024.0) {
        snprintf(buffer, size, "%.0f B", bytes);
    } else if (bytes < 1024.0 * 1024.0) {
        format_scaled(buffer, size, bytes / 1024.0, "KiB");
    } else if (bytes < 1024.0 * 1024.0 * 1024.0) {
        format_scaled(buffer, size, bytes / (1024.0 * 1024.0), "MiB");
    } else {
        format_scaled(buffer, size, bytes / (1024.0 * 1024.0 * 1024.0), "GiB");
    }
}

static void format_cell(char *buffer, size_t size, cell_unit unit, double value) {
    if (isnan(value)) {
        snprintf(buffer, size, "-");
        return;
    }
    switch (unit) {
    case UNIT_TIME:
        format_time(buffer, size, value);
        break;
    case UNIT_RATE:
        format_scaled(buffer, size, value / 1e6, "M/s");
        break;
    case UNIT_BYTES:
        format_bytes(buffer, size, value);
        break;
    case UNIT_COUNT:
        format_count(buffer, size, value);
        break;
    }
}

// What the others are compared with: malloc, where it was run.
static const allocator_figures *base_of(const report *r) {
    for (uint32_t i = 0; i < r->result->count; i++) {
        const allocator_figures *figures = &r->result->figures[i];
        if (figures->ok && figures->allocator == &allocator_malloc) {
            return figures;
        }
    }
    return NULL;
}

static bool has_ratio(const allocator_figures *base, const allocator_figures *figures) {
    return base != NULL && figures != base && !figures->allocator->is_reference;
}

static void format_ratio(char *buffer, size_t size, double base, double value) {
    if (isnan(base) || isnan(value) || (base <= 0.0 && value > 0.0)) {
        snprintf(buffer, size, "-");
    } else if (base <= 0.0) {
        snprintf(buffer, size, "1.00");
    } else {
        snprintf(buffer, size, "%.*f", value / base < 99.995 ? 2 : 0, value / base);
    }
}

static void print_head(const report *r, FILE *out) {
    const allocator_figures *base = base_of(r);
    fprintf(out, "%-*s", LABEL_WIDTH, "");
    for (uint32_t i = 0; i < r->result->count; i++) {
        const allocator_figures *figures = &r->result->figures[i];
        if (!figures->ok) {
            continue;
        }
        fprintf(out, "%*s", CELL_WIDTH, figures->allocator->name);
        if (has_ratio(base, figures)) {
            fprintf(out, "%*s", RATIO_WIDTH, "ratio");
        }
    }
    fprintf(out, "\n");
}

static void print_row(const report *r, const row *line, FILE *out) {
    const allocator_figures *base = base_of(r);
    char cell[CELL_BYTES];
    fprintf(out, "  %-*s", LABEL_WIDTH - 2, line->label);
    for (uint32_t i = 0; i < r->result->count; i++) {
        const allocator_figures *figures = &r->result->figures[i];
        if (!figures->ok) {
            continue;
        }
        double value = pick(r, line, figures);
        format_cell(cell, sizeof cell, line->unit, value);
        fprintf(out, "%*s", CELL_WIDTH, cell);
        if (has_ratio(base, figures)) {
            format_ratio(cell, sizeof cell, pick(r, line, base), value);
            fprintf(out, "%*s", RATIO_WIDTH, cell);
        }
    }
    fprintf(out, "\n");
}

static void print_rows(const report *r, const row *rows, size_t count, FILE *out) {
    for (size_t i = 0; i < count; i++) {
        print_row(r, &rows[i], out);
    }
}

static const char *counted(char *buffer, size_t size, uint64_t number) {
    format_count(buffer, size, (double)number);
    return buffer;
}

static void print_trace(const report *r, FILE *out) {
    const plan *p = r->plan;
    char a[CELL_BYTES];
    char b[CELL_BYTES];
    char c[CELL_BYTES];
    char d[CELL_BYTES];
    fprintf(out, "%s\n\n", r->path);
    fprintf(out, "  frames       %u to %u of %u recorded\n", (unsigned)p->first_frame,
            (unsigned)p->last_frame, (unsigned)p->frames_recorded);
    fprintf(out, "  operations   %s by %u thread%s, folded onto one\n",
            counted(a, sizeof a, p->op_count), (unsigned)p->threads, p->threads == 1 ? "" : "s");
    uint32_t passing = p->frame_objects + p->scoped_objects;
    fprintf(out,
            "  objects      %s: %s living on, %s freed in the frame that made them\n"
            "               (of those %s large ones in stack order: scratch scopes)\n",
            counted(a, sizeof a, (uint64_t)passing + p->lasting_objects),
            counted(b, sizeof b, p->lasting_objects), counted(c, sizeof c, passing),
            counted(d, sizeof d, p->scoped_objects));
    format_bytes(a, sizeof a, (double)p->peak_bytes);
    format_bytes(b, sizeof b, (double)p->final_bytes);
    fprintf(out, "  asked for    %s at most at once, %s at the end\n", a, b);
    fprintf(out,
            "  runs         %u of each, taking turns; before them one in which every byte and"
            " address is checked\n\n",
            (unsigned)r->repeat);
}

static void print_load(const report *r, FILE *out) {
    char ops[CELL_BYTES];
    counted(ops, sizeof ops, plan_part_ops(r->plan, PART_LOAD));
    if (r->plan->first_frame == 0) {
        fprintf(out, "load: frame 0, %s operations\n", ops);
    } else {
        fprintf(out, "load: %s blocks that live when frame %u begins\n", ops,
                (unsigned)r->plan->first_frame);
    }
    print_rows(r, load_rows, sizeof load_rows / sizeof load_rows[0], out);
}

static void print_warmup(const report *r, FILE *out) {
    const plan *p = r->plan;
    char ops[CELL_BYTES];
    if (!measure_has_frames(p, PART_WARMUP)) {
        return;
    }
    uint32_t first = p->first_frame == 0 ? 1 : p->first_frame;
    counted(ops, sizeof ops, plan_part_ops(p, PART_WARMUP));
    fprintf(out, "warm-up: frames %u to %u, %s operations\n", (unsigned)first,
            (unsigned)p->steady_frame - 1, ops);
    print_rows(r, warmup_rows, sizeof warmup_rows / sizeof warmup_rows[0], out);
}

static void print_steady(const report *r, FILE *out) {
    const plan *p = r->plan;
    char ops[CELL_BYTES];
    if (p->steady_frame > p->last_frame) {
        fprintf(out, "steady: none, a single frame is all load or warm-up\n");
        return;
    }
    counted(ops, sizeof ops, plan_part_ops(p, PART_STEADY));
    fprintf(out, "steady: frames %u to %u, %s operations\n", (unsigned)p->steady_frame,
            (unsigned)p->last_frame, ops);
    print_rows(r, steady_rows, sizeof steady_rows / sizeof steady_rows[0], out);
}

static void print_notes(const report *r, FILE *out) {
    bool has_reference = false;
    bool has_ratios = false;
    const char *reason = "";
    for (uint32_t i = 0; i < r->result->count; i++) {
        const allocator_figures *figures = &r->result->figures[i];
        has_reference = has_reference || (figures->ok && figures->allocator->is_reference);
        has_ratios = has_ratios || (figures->ok && has_ratio(base_of(r), figures));
        if (figures->ok && !figures->counts.counted) {
            reason = figures->counts.reason;
        }
    }
    fprintf(out,
            "\nA frame's time is its fastest of all runs and contains one reading of the clock"
            " (%u ns).\n",
            (unsigned)r->result->clock_ns);
    fprintf(out, "Resident memory is what the replay added to its process.\n");
    if (has_ratios) {
        fprintf(out, "ratio: to malloc.\n");
    }
    if (has_reference) {
        fprintf(out, "none: no allocator, every block has a place fixed beforehand: what the replay"
                     " itself costs.\n");
    }
    if (reason[0] != '\0') {
        fprintf(out, "System calls were not counted: %s.\n", reason);
    }
}

static void print_failures(const report *r, FILE *out) {
    for (uint32_t i = 0; i < r->result->count; i++) {
        const allocator_figures *figures = &r->result->figures[i];
        if (!figures->ok) {
            fprintf(out, "\nFAILED %s: %s\n", figures->allocator->name, figures->error);
        }
    }
}

void report_text(const report *r, FILE *out) {
    bool has_figures = false;
    for (uint32_t i = 0; i < r->result->count; i++) {
        has_figures = has_figures || r->result->figures[i].ok;
    }
    print_trace(r, out);
    if (has_figures) {
        print_head(r, out);
        print_load(r, out);
        print_warmup(r, out);
        print_steady(r, out);
        fprintf(out, "whole replay\n");
        print_rows(r, total_rows, sizeof total_rows / sizeof total_rows[0], out);
        print_notes(r, out);
    }
    print_failures(r, out);
}

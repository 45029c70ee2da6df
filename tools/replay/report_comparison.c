// One line for each allocator:
//
//                           whole replay      steady frame        peak memory   system    page
//                           time   ratio    median   ratio    resident   ratio    calls  faults
//   framealloc 0.1.0     28.4 ms    1.00    214 ns    1.00    24.1 MiB    1.00      157   7,014
//   glibc 2.36           35.9 ms    1.27    671 ns    3.14    25.6 MiB    1.06      110   8,983
//
// A ratio is the middle of the ratios of single rounds, in which all allocators ran one after the
// other, so a machine that becomes slower on the way does not disturb it.

#include "report.h"

#include "report_cells.h"

#include <math.h>
#include <stdlib.h>

enum { NAME_WIDTH = 20, RATIO_WIDTH = 8, COUNT_WIDTH = 10 };

typedef enum figure { FIGURE_TOTAL, FIGURE_FRAME, FIGURE_PEAK, FIGURE_COUNT } figure;

typedef struct column {
    cell_unit unit;
    int width;
} column;

static const column columns[FIGURE_COUNT] = {{UNIT_TIME, 11}, {UNIT_TIME, 10}, {UNIT_BYTES, 11}};

// What a row is compared with: framealloc, where it was run.
static const allocator_figures *base_of(const report *r) {
    for (uint32_t i = 0; i < r->result->count; i++) {
        const allocator_figures *figures = &r->result->figures[i];
        if (figures->ok && figures->allocator == &allocator_framealloc) {
            return figures;
        }
    }
    return NULL;
}

// The figure of a single run; NAN where there is none.
static double pick(const report *r, const run_figures *run, figure what) {
    switch (what) {
    case FIGURE_TOTAL:
        return (double)run->total_ns;
    case FIGURE_FRAME:
        return measure_has_frames(r->plan, PART_STEADY) ? (double)run->frame[PART_STEADY].median_ns
                                                        : (double)NAN;
    case FIGURE_PEAK:
        return run->memory_known ? (double)run->peak_bytes : (double)NAN;
    case FIGURE_COUNT:
        break;
    }
    return (double)NAN;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

// The middle of `values`, which are all numbers or all NAN.
static double middle(double *values, uint32_t count) {
    if (count == 0 || isnan(values[0])) {
        return (double)NAN;
    }
    qsort(values, count, sizeof *values, compare_doubles);
    return values[(count - 1) / 2];
}

// The middle of a figure over all runs, or with `base` of its ratios to that of the same round.
static double over_runs(const report *r, const allocator_figures *figures,
                        const allocator_figures *base, figure what) {
    double values[MEASURE_REPEAT_MAX];
    uint32_t count = figures->run_count;
    if (base != NULL && base->run_count < count) {
        count = base->run_count;
    }
    for (uint32_t i = 0; i < count; i++) {
        values[i] = pick(r, &figures->runs[i], what);
        if (base != NULL) {
            values[i] /= pick(r, &base->runs[i], what);
        }
    }
    return middle(values, count);
}

static void print_counts(const allocator_figures *figures, FILE *out) {
    char cell[CELL_BYTES];
    double calls = figures->counts.counted ? 0.0 : (double)NAN;
    double faults = 0.0;
    for (int part = 0; part < PART_COUNT; part++) {
        const syscall_region *region = &figures->counts.regions[part];
        calls += (double)region->calls;
        faults += (double)(region->minor_faults + region->major_faults);
    }
    format_cell(cell, sizeof cell, UNIT_COUNT, calls);
    fprintf(out, "%*s", COUNT_WIDTH, cell);
    format_cell(cell, sizeof cell, UNIT_COUNT, faults);
    fprintf(out, "%*s\n", COUNT_WIDTH, cell);
}

static void print_row(const report *r, const allocator_figures *figures, FILE *out) {
    char name[CELL_BYTES];
    char cell[CELL_BYTES];
    const allocator_figures *base = base_of(r);
    snprintf(name, sizeof name, "%s %s", figures->allocator->name, figures->version);
    fprintf(out, "%-*.*s", NAME_WIDTH, NAME_WIDTH, name);
    for (int what = 0; what < FIGURE_COUNT; what++) {
        double value = over_runs(r, figures, NULL, (figure)what);
        format_cell(cell, sizeof cell, columns[what].unit, value);
        fprintf(out, "%*s", columns[what].width, cell);
        bool has_ratio = base != NULL && !figures->allocator->is_reference;
        double ratio = has_ratio ? over_runs(r, figures, base, (figure)what) : (double)NAN;
        format_ratio(cell, sizeof cell, 1.0, ratio);
        fprintf(out, "%*s", RATIO_WIDTH, cell);
    }
    print_counts(figures, out);
}

static void print_head(FILE *out) {
    fprintf(out, "%*s%*s%*s%*s%*s%*s\n", NAME_WIDTH, "", columns[0].width + RATIO_WIDTH,
            "whole replay", columns[1].width + RATIO_WIDTH, "steady frame",
            columns[2].width + RATIO_WIDTH, "peak memory", COUNT_WIDTH, "system", COUNT_WIDTH,
            "page");
    fprintf(out, "%*s%*s%*s%*s%*s%*s%*s%*s%*s\n", NAME_WIDTH, "", columns[0].width, "time",
            RATIO_WIDTH, "ratio", columns[1].width, "median", RATIO_WIDTH, "ratio",
            columns[2].width, "resident", RATIO_WIDTH, "ratio", COUNT_WIDTH, "calls", COUNT_WIDTH,
            "faults");
}

void report_comparison(const report *r, FILE *out) {
    const allocator_figures *base = base_of(r);
    report_heading(r, out);
    print_head(out);
    if (base != NULL) {
        print_row(r, base, out);
    }
    for (uint32_t i = 0; i < r->result->count; i++) {
        const allocator_figures *figures = &r->result->figures[i];
        if (figures->ok && figures != base) {
            print_row(r, figures, out);
        }
    }
    fprintf(
        out,
        "\nEvery time contains what the replay itself costs (none: no allocator, every block has"
        " a place\nfixed beforehand). A frame's time contains one reading of the clock (%u ns).\n",
        (unsigned)r->result->clock_ns);
    if (base != NULL) {
        fprintf(out,
                "ratio: to framealloc, the middle of the rounds in which all of them ran one after"
                " the other.\n");
    }
    report_failures(r, out);
}

/// @file report.h
/// The outcome of a replay, for people and for programs.
#pragma once

#include "measure.h"

#include <stdio.h>

/// The version of the JSON form; docs/replay.md describes it.
#define REPORT_JSON_FORMAT "framealloc-replay"
#define REPORT_JSON_VERSION 2

/// What there is to report.
typedef struct report {
    const char *path;             ///< The trace file, as it was named.
    const plan *plan;             ///< What was replayed.
    const measure_result *result; ///< What came out.
    uint32_t repeat;              ///< Timed runs of each allocator.
    uint64_t load_ns;             ///< How long reading the trace took.
} report;

/// Writes a table at most 100 columns wide. Failed allocators are named below it.
void report_text(const report *r, FILE *out);

/// Writes a table with one line for each allocator, beside framealloc, at most 100 columns wide.
void report_comparison(const report *r, FILE *out);

/// What was replayed: the lines above every table.
void report_heading(const report *r, FILE *out);

/// What could not be measured, and a line for each allocator that failed: those below every table.
void report_failures(const report *r, FILE *out);

/// Writes one JSON object and a line end. False without memory or when writing failed.
bool report_json(const report *r, FILE *out);

/// Steps per second, from the fastest run of a part, or of everything with PART_COUNT; 0 when the
/// part is empty.
double report_rate(const report *r, const allocator_figures *figures, plan_part part);

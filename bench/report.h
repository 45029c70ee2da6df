// What people and programs read of the results.
#pragma once

#include "bench.h"

#include <stdio.h>

void report_machine(FILE *out, const bench_machine *machine, const bench_rival *const *rivals,
                    size_t rival_count);
void report_workload(FILE *out, const bench_workload *workload, const bench_result *results,
                     size_t rival_count, size_t repeats);
// One line per workload: framealloc against the floor and the other libraries.
void report_summary_begin(FILE *out);
void report_summary(FILE *out, const bench_workload *workload, const bench_result *results,
                    size_t rival_count);

// The CSV file: see docs/benchmarks.md.
void csv_begin(FILE *out, const bench_machine *machine, const bench_rival *const *rivals,
               size_t rival_count);
void csv_workload(FILE *out, const bench_workload *workload, const bench_result *results,
                  size_t rival_count, size_t repeats);

// Tables for people and for programs.
#pragma once

#include "objects.h"

#include <stdio.h>

// The middle one of a rival's samples, and the least.
double table_median(const object_table *table, size_t rival);
double table_least(const object_table *table, size_t rival);
// The median of the ratios of two rivals' samples of the same repeat. Below zero: one is missing.
double table_ratio(const object_table *table, const char *rival, const char *base);

void table_print(FILE *out, const object_table *table);
// The CSV file: docs/benchmarks.md.
void table_csv_begin(FILE *out, const bench_machine *machine);
void table_csv(FILE *out, const object_table *table);

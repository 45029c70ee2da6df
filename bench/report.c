// The tables and the CSV file. Columns are described in docs/benchmarks.md.
#include "report.h"

#include <string.h>

// Digits grouped by three: 96,000.
static const char *grouped(size_t value, char *buffer, size_t size) {
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%zu", value);
    size_t out = 0;
    for (int i = 0; i < length && out + 2 < size; ++i) {
        if (i > 0 && (length - i) % 3 == 0) {
            buffer[out++] = ',';
        }
        buffer[out++] = digits[i];
    }
    buffer[out] = '\0';
    return buffer;
}

// Three digits that count, whatever the size.
static void print_ns(FILE *out, int width, double value) {
    int digits = value < 10 ? 3 : value < 100 ? 2 : 1;
    fprintf(out, "%*.*f", width, digits, value);
}

// 0 means that there is nothing to compare with.
static void print_ratio(FILE *out, int width, double value) {
    if (value <= 0) {
        fprintf(out, "%*s", width, "-");
        return;
    }
    fprintf(out, "%*.*f", width, value < 0.1 ? 4 : value < 100 ? 2 : 1, value);
}

// "0.1.0, glibc 2.36, APR 1.7.2": of every rival that has a version.
static void versions_print(FILE *out, const bench_rival *const *rivals, size_t rival_count) {
    const char *separator = "";
    for (size_t i = 0; i < rival_count; ++i) {
        char version[64];
        if (rivals[i]->version != NULL) {
            rivals[i]->version(version, sizeof(version));
            fprintf(out, "%s%s", separator, version);
            separator = ", ";
        }
    }
}

void report_machine(FILE *out, const bench_machine *machine, const bench_rival *const *rivals,
                    size_t rival_count) {
    fprintf(out, "machine    %s, %ld cores%s\n", machine->cpu, machine->cores,
            machine->is_virtual ? ", virtual" : "");
    fprintf(out, "system     %s\n", machine->kernel);
    fprintf(out, "compiler   %s, %s\n", machine->compiler, machine->flags);
    fprintf(out, "libraries  ");
    versions_print(out, rivals, rival_count);
    fprintf(out, "\nclock      %.1f ns per reading\n", machine->clock_ns);
}

void report_workload(FILE *out, const bench_workload *workload, const bench_result *results,
                     size_t rival_count, size_t repeats) {
    char count[32];
    char bytes[32];
    fprintf(out, "\n%s   [%s]\n", workload->title, workload->id);
    fprintf(out, "  %s operations and %s B per frame, %zu repeats, times per operation\n",
            grouped(workload->count, count, sizeof(count)),
            grouped(workload->bytes, bytes, sizeof(bytes)), repeats);
    fprintf(out, "  %-34s %9s %9s %9s %9s %9s\n", "", "minimum", "median", "x floor", "x floor",
            "x malloc");
    fprintf(out, "  %-34s %9s %9s %9s %9s %9s\n", "rival", "ns", "ns", "paired", "minima",
            "paired");
    for (size_t i = 0; i < rival_count; ++i) {
        if (!results[i].offered) {
            continue;
        }
        fprintf(out, "  %-34s ", results[i].rival->label);
        print_ns(out, 9, results[i].min_ns);
        print_ns(out, 10, results[i].median_ns);
        print_ratio(out, 10, results[i].floor_ratio);
        print_ratio(out, 10, results[i].floor_ratio_of_min);
        print_ratio(out, 10, results[i].malloc_ratio);
        fputc('\n', out);
    }
    fflush(out);
}

// The result of the rival called `id`, or NULL when it does not offer the workload.
static const bench_result *result_of(const bench_result *results, size_t count, const char *id) {
    for (size_t i = 0; i < count; ++i) {
        if (results[i].offered && strcmp(results[i].rival->id, id) == 0) {
            return &results[i];
        }
    }
    return NULL;
}

void report_summary_begin(FILE *out) {
    fprintf(out, "\nsummary: framealloc with tag, budgets and limit\n");
    fprintf(out, "  %-50s %9s %9s %9s %9s %9s %9s\n", "", "median", "x floor", "obstack", "APR",
            "pmr", "malloc");
    fprintf(out, "  %-50s %9s %9s %39s\n", "workload", "ns", "paired",
            "each: times as long as framealloc     ");
}

void report_summary(FILE *out, const bench_workload *workload, const bench_result *results,
                    size_t rival_count) {
    static const char *const others[] = {"obstack", "apr", "pmr", "malloc"};
    const bench_result *ours = result_of(results, rival_count, "framealloc");
    if (ours == NULL) {
        return;
    }
    fprintf(out, "  %-50s ", workload->title);
    print_ns(out, 9, ours->median_ns);
    print_ratio(out, 10, ours->floor_ratio);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); ++i) {
        const bench_result *other = result_of(results, rival_count, others[i]);
        print_ratio(out, 10, other != NULL ? other->median_ns / ours->median_ns : 0);
    }
    fputc('\n', out);
}

void csv_begin(FILE *out, const bench_machine *machine, const bench_rival *const *rivals,
               size_t rival_count) {
    fprintf(out, "# fa_bench csv 1\n");
    fprintf(out, "# cpu: %s%s\n# cores: %ld\n# kernel: %s\n", machine->cpu,
            machine->is_virtual ? ", virtual" : "", machine->cores, machine->kernel);
    fprintf(out, "# compiler: %s\n# flags: %s\n# libraries: ", machine->compiler, machine->flags);
    versions_print(out, rivals, rival_count);
    fprintf(out, "\n# clock: %.1f ns per reading\n", machine->clock_ns);
    fprintf(out, "workload,rival,operations,bytes,repeats,min_ns,median_ns,floor_ratio,"
                 "floor_ratio_of_min,malloc_ratio\n");
}

static void csv_ratio(FILE *out, double value) {
    if (value > 0) {
        fprintf(out, ",%.4f", value);
    } else {
        fprintf(out, ",");
    }
}

void csv_workload(FILE *out, const bench_workload *workload, const bench_result *results,
                  size_t rival_count, size_t repeats) {
    for (size_t i = 0; i < rival_count; ++i) {
        const bench_result *result = &results[i];
        if (!result->offered) {
            continue;
        }
        fprintf(out, "%s,%s,%zu,%zu,%zu,%.4f,%.4f", workload->id, result->rival->id,
                workload->count, workload->bytes, repeats, result->min_ns, result->median_ns);
        csv_ratio(out, result->floor_ratio);
        csv_ratio(out, result->floor_ratio_of_min);
        csv_ratio(out, result->malloc_ratio);
        fputc('\n', out);
    }
    fflush(out);
}

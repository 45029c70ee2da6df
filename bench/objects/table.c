// What is computed from samples, and how it is written.
#include "table.h"

#include <string.h>

// What each table is compared with, where it takes part: the first is written by hand.
static const char *const bases[] = {"list", "mimalloc-heap", "mimalloc", "glibc"};
static const char *const title_of_base[] = {"x hand-written", "x mimalloc heap", "x mimalloc",
                                            "x glibc"};
enum { BASES = sizeof(bases) / sizeof(bases[0]) };

// The hand-written rival of look-ups has another name.
static const char *base_of(const object_table *table, size_t base) {
    bool is_lookup = base == 0 && object_table_find(table, "written") != TABLE_RIVALS;
    return is_lookup ? "written" : bases[base];
}

size_t object_table_rival(object_table *table, const char *rival) {
    if (table->rivals == TABLE_RIVALS) {
        return TABLE_RIVALS;
    }
    table->rival[table->rivals] = rival;
    return table->rivals++;
}

size_t object_table_find(const object_table *table, const char *rival) {
    for (size_t i = 0; i < table->rivals; ++i) {
        if (strcmp(table->rival[i], rival) == 0) {
            return i;
        }
    }
    return TABLE_RIVALS;
}

double table_median(const object_table *table, size_t rival) {
    static double room[TABLE_SAMPLES];
    memcpy(room, table->samples[rival], table->repeats * sizeof(room[0]));
    return median_of(room, table->repeats);
}

double table_least(const object_table *table, size_t rival) {
    return min_of(table->samples[rival], table->repeats);
}

double table_ratio(const object_table *table, const char *rival, const char *base) {
    static double room[TABLE_SAMPLES];
    size_t left = object_table_find(table, rival);
    size_t right = object_table_find(table, base);
    if (table->repeats == 0 || left == TABLE_RIVALS || right == TABLE_RIVALS) {
        return -1;
    }
    return median_ratio(table->samples[left], table->samples[right], table->repeats, room);
}

static void print_number(FILE *out, int width, double value) {
    double size = value < 0 ? -value : value;
    fprintf(out, "%*.*f", width, size < 10 ? 3 : size < 100 ? 2 : 1, value);
}

// Comparing with what is zero means nothing.
static void print_ratio(FILE *out, int width, double value) {
    if (value >= 0 && value < 1e6) {
        fprintf(out, "%*.2f", width, value);
    } else {
        fprintf(out, "%*s", width, "-");
    }
}

void table_print(FILE *out, const object_table *table) {
    fprintf(out, "\n%s   [%s]\n", table->title, table->id);
    fprintf(out, "  %zu repeats, %s\n", table->repeats, table->unit);
    fprintf(out, "  %-16s %10s %10s", "rival", "minimum", "median");
    bool has[BASES];
    for (size_t base = 0; base < BASES; ++base) {
        has[base] = object_table_find(table, base_of(table, base)) != TABLE_RIVALS;
        if (has[base]) {
            fprintf(out, "  %15s", title_of_base[base]);
        }
    }
    fputc('\n', out);
    for (size_t i = 0; i < table->rivals && table->repeats > 0; ++i) {
        fprintf(out, "  %-16s ", table->rival[i]);
        print_number(out, 10, table_least(table, i));
        print_number(out, 11, table_median(table, i));
        for (size_t base = 0; base < BASES; ++base) {
            if (has[base]) {
                print_ratio(out, 17, table_ratio(table, table->rival[i], base_of(table, base)));
            }
        }
        fputc('\n', out);
    }
    fflush(out);
}

void table_csv_begin(FILE *out, const bench_machine *machine) {
    fprintf(out, "# fa_bench_objects csv 1\n");
    fprintf(out, "# cpu: %s%s\n# cores: %ld\n# kernel: %s\n", machine->cpu,
            machine->is_virtual ? ", virtual" : "", machine->cores, machine->kernel);
    fprintf(out, "# compiler: %s\n# flags: %s\n# libc: %s\n", machine->compiler, machine->flags,
            machine->libc);
    fprintf(out, "measure,rival,unit,repeats,min,median,written_ratio,mimalloc_heap_ratio,"
                 "mimalloc_ratio,glibc_ratio\n");
}

void table_csv(FILE *out, const object_table *table) {
    for (size_t i = 0; i < table->rivals && table->repeats > 0; ++i) {
        fprintf(out, "%s,%s,%s,%zu,%.4f,%.4f", table->id, table->rival[i], table->unit,
                table->repeats, table_least(table, i), table_median(table, i));
        for (size_t base = 0; base < BASES; ++base) {
            double ratio = table_ratio(table, table->rival[i], base_of(table, base));
            if (ratio >= 0 && ratio < 1e6) {
                fprintf(out, ",%.4f", ratio);
            } else {
                fputc(',', out);
            }
        }
        fputc('\n', out);
    }
    fflush(out);
}

// fa_bench_objects: pools, handles and the heap beside hand-written pools and the mallocs that are
// installed.
#include "criteria.h"
#include "table.h"

#include <common/child.h>
#include <common/foreign_malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sources.h"

enum { TABLES_MAX = 64 };

typedef struct arguments {
    const char *only; // NULL: everything.
    const char *csv;  // NULL: none.
    const char *csv_dir;
    bool is_criteria; // Only the criteria are printed.
    bool is_list;
    object_options options;
} arguments;

static const char usage_text[] =
    "usage: fa_bench_objects [options]\n"
    "Measures framealloc's pools, handles and heap beside hand-written ones and other mallocs.\n"
    "\n"
    "  --only NAME     only measures whose name contains NAME\n"
    "  --quick         a fraction of the repeats: for trying out\n"
    "  --criteria      only what must be reached, a line each, after two minutes\n"
    "  --soak N        frames of the soak test (default 1000000)\n"
    "  --csv FILE      write the results to FILE as well\n"
    "  --csv-dir DIR   the same, into a file of DIR named after the machine and the compiler\n"
    "  --list          print the names of the measures and stop\n"
    "  --help          print this and stop\n";

// ---- Arguments ---------------------------------------------------------------------------------

static bool text_option(int argc, char **argv, int *i, const char *name, const char **out) {
    if (strcmp(argv[*i], name) != 0 || *i + 1 >= argc) {
        return false;
    }
    *out = argv[++*i];
    return true;
}

static bool arguments_read(int argc, char **argv, arguments *out) {
    const char *soak = NULL;
    *out = (arguments){.options = {.seconds = 4.0, .repeats = 9, .items = 10000000}};
    for (int i = 1; i < argc; ++i) {
        if (text_option(argc, argv, &i, "--only", &out->only) ||
            text_option(argc, argv, &i, "--csv", &out->csv) ||
            text_option(argc, argv, &i, "--csv-dir", &out->csv_dir) ||
            text_option(argc, argv, &i, "--soak", &soak)) {
            continue;
        }
        if (strcmp(argv[i], "--quick") == 0) {
            out->options = (object_options){.seconds = 0.3, .repeats = 3, .items = 1000000};
        } else if (strcmp(argv[i], "--criteria") == 0) {
            out->is_criteria = true;
            out->options = (object_options){.seconds = 2.0, .repeats = 5, .items = 10000000};
        } else if (strcmp(argv[i], "--list") == 0) {
            out->is_list = true;
        } else if (strcmp(argv[i], "--help") == 0) {
            fputs(usage_text, stdout);
            exit(0);
        } else {
            fprintf(stderr, "fa_bench_objects: '%s' is not understood or lacks its value\n\n%s",
                    argv[i], usage_text);
            return false;
        }
    }
    out->options.soak = 1000000;
    if (soak != NULL) {
        out->options.soak = (size_t)strtoull(soak, NULL, 10);
        out->options.is_verbose = true;
    }
    if (out->options.soak < 1000) {
        fprintf(stderr, "fa_bench_objects: --soak needs a number, 1000 at least\n");
        return false;
    }
    return true;
}

static bool is_selected(const arguments *args, const object_measure *what) {
    for (size_t i = 0; i < MEASURE_TABLES && what->metrics[i].id != NULL; ++i) {
        if (args->only == NULL || strstr(what->metrics[i].id, args->only) != NULL) {
            return true;
        }
    }
    return false;
}

// ---- Measuring ---------------------------------------------------------------------------------

// What a child needs and what it found out; in memory that both processes see.
typedef struct job {
    const object_measure *what;
    const object_options *options;
    const char *rival;
    object_table *tables; // Of a contest.
    double values[MEASURE_TABLES];
    bool is_right;
} job;

static int job_run(void *arg) {
    job *self = (job *)arg;
    self->is_right = self->what->contest != NULL
                         ? self->what->contest(self->tables, self->options)
                         : self->what->figure(self->rival, self->values, self->options);
    return 0;
}

static bool job_finish(job *self) {
    self->is_right = false;
    child_end end = child_run(job_run, self, NULL, NULL);
    if (end.started && end.signal == 0 && self->is_right) {
        return true;
    }
    fprintf(stderr, "fa_bench_objects: %s%s%s failed", self->what->metrics[0].id,
            self->rival != NULL ? ", " : "", self->rival != NULL ? self->rival : "");
    fprintf(stderr, end.signal != 0 ? ": signal %d\n" : "\n", end.signal);
    return false;
}

// Each rival in a child of its own, in turn.
static bool figures_take(job *self, object_table *tables, size_t metrics) {
    const object_measure *what = self->what;
    const char *rivals[TABLE_RIVALS];
    size_t count = 0;
    for (size_t i = 0; i < TABLE_RIVALS && what->figure_rivals[i] != NULL; ++i) {
        const char *name = what->figure_rivals[i];
        bool is_own_heap = strcmp(name, "mimalloc-heap") == 0;
        if (strcmp(name, "blocks") != 0 && !source_is_here(is_own_heap ? "mimalloc" : name)) {
            continue;
        }
        rivals[count++] = name;
        for (size_t metric = 0; metric < metrics; ++metric) {
            object_table_rival(&tables[metric], name);
        }
    }
    bool all_finished = true;
    size_t repeats = what->is_long ? 1 : self->options->repeats;
    for (size_t repeat = 0; repeat < repeats; ++repeat) {
        for (size_t turn = 0; turn < count; ++turn) {
            size_t i = (turn + repeat) % count;
            self->rival = rivals[i];
            bool finished = job_finish(self);
            all_finished = all_finished && finished;
            for (size_t metric = 0; metric < metrics; ++metric) {
                tables[metric].samples[i][repeat] = finished ? self->values[metric] : (double)NAN;
            }
        }
    }
    for (size_t metric = 0; metric < metrics; ++metric) {
        tables[metric].repeats = repeats;
    }
    return all_finished;
}

// Fills one table per metric and returns how many.
static size_t measure_take(job *self, object_table *tables, bool *is_right) {
    size_t metrics = 0;
    while (metrics < MEASURE_TABLES && self->what->metrics[metrics].id != NULL) {
        const object_metric *metric = &self->what->metrics[metrics];
        tables[metrics++] =
            (object_table){.id = metric->id, .title = metric->title, .unit = metric->unit};
    }
    self->tables = tables;
    self->rival = NULL;
    bool taken =
        self->what->contest != NULL ? job_finish(self) : figures_take(self, tables, metrics);
    *is_right = *is_right && taken;
    return metrics;
}

// ---- Output ------------------------------------------------------------------------------------

static FILE *csv_open(const arguments *args, const bench_machine *machine) {
    char path[512];
    if (args->csv != NULL) {
        snprintf(path, sizeof(path), "%s", args->csv);
    } else {
        char name[160];
        bench_machine_file(machine, name, sizeof(name));
        snprintf(path, sizeof(path), "%s/objects-%s", args->csv_dir, name);
    }
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        fprintf(stderr, "fa_bench_objects: cannot write %s\n", path);
        return NULL;
    }
    fprintf(stderr, "results go to %s\n", path);
    table_csv_begin(file, machine);
    return file;
}

static void machine_print(const bench_machine *machine) {
    printf("machine    %s, %ld cores%s\n", machine->cpu, machine->cores,
           machine->is_virtual ? ", virtual" : "");
    printf("system     %s, %s\n", machine->kernel, machine->libc);
    printf("compiler   %s, %s\n", machine->compiler, machine->flags);
    printf("rivals    ");
    for (size_t i = 0; foreign_malloc_name(i) != NULL; ++i) {
        bool is_here = foreign_malloc_is_here(foreign_malloc_name(i));
        printf(" %s%s", foreign_malloc_name(i), is_here ? "" : " (not installed)");
    }
    printf("\n");
    fflush(stdout);
}

// Only on a terminal, and on the error output.
static void progress_show(const char *name) {
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%-40s\r%s", "", name);
        fflush(stderr);
    }
}

static int run_all(const arguments *args, FILE *csv) {
    size_t bytes = TABLES_MAX * sizeof(object_table);
    object_table *tables = (object_table *)child_shared_alloc(bytes);
    job *shared = (job *)child_shared_alloc(sizeof(*shared));
    const object_table *done[TABLES_MAX];
    if (tables == NULL || shared == NULL) {
        fprintf(stderr, "fa_bench_objects: no memory\n");
        return 1;
    }
    size_t count = 0;
    bool is_right = true;
    for (size_t i = 0; i < object_measure_count && count + MEASURE_TABLES <= TABLES_MAX; ++i) {
        if (!is_selected(args, &object_measures[i])) {
            continue;
        }
        progress_show(object_measures[i].metrics[0].id);
        *shared = (job){.what = &object_measures[i], .options = &args->options};
        size_t taken = measure_take(shared, &tables[count], &is_right);
        progress_show("");
        for (; taken > 0; --taken, ++count) {
            done[count] = &tables[count];
            if (!args->is_criteria) {
                table_print(stdout, done[count]);
            }
            if (csv != NULL) {
                table_csv(csv, done[count]);
            }
        }
    }
    criteria_print(stdout, done, count);
    child_shared_free(shared, sizeof(*shared));
    child_shared_free(tables, bytes);
    return is_right ? 0 : 1;
}

static void measures_list(void) {
    for (size_t i = 0; i < object_measure_count; ++i) {
        const object_metric *metrics = object_measures[i].metrics;
        for (size_t metric = 0; metric < MEASURE_TABLES && metrics[metric].id != NULL; ++metric) {
            printf("%-16s %-10s %s\n", metrics[metric].id, metrics[metric].unit,
                   metrics[metric].title);
        }
    }
}

int main(int argc, char **argv) {
    foreign_malloc_make_room(argv);
    arguments args;
    if (!arguments_read(argc, argv, &args)) {
        return 2;
    }
    if (args.is_list) {
        measures_list();
        return 0;
    }
    bench_machine machine;
    bench_machine_read(&machine);
    machine_print(&machine);
    FILE *csv = NULL;
    if (args.csv != NULL || args.csv_dir != NULL) {
        csv = csv_open(&args, &machine);
        if (csv == NULL) {
            return 1;
        }
    }
    int status = run_all(&args, csv);
    if (csv != NULL && fclose(csv) != 0) {
        fprintf(stderr, "fa_bench_objects: writing the results failed\n");
        return 1;
    }
    return status;
}

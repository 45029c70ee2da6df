// fa_bench: framealloc beside a hand-written arena, malloc and other arena libraries, in one
// process.
#include "report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const bench_rival *const rivals[] = {
    &bench_rival_floor,   &bench_rival_safe,   &bench_rival_framealloc,  &bench_rival_plain,
    &bench_rival_called,  &bench_rival_malloc, &bench_rival_malloc_pair,
#ifdef BENCH_HAVE_OBSTACK
    &bench_rival_obstack,
#endif
#ifdef BENCH_HAVE_APR
    &bench_rival_apr,
#endif
#ifdef BENCH_HAVE_PMR
    &bench_rival_pmr,     &bench_rival_std,
#endif
};
enum { RIVAL_COUNT = sizeof(rivals) / sizeof(rivals[0]) };

typedef struct arguments {
    const char *only;    // NULL: all workloads.
    const char *csv;     // NULL: no file.
    const char *csv_dir; // NULL: none; else a file named after the machine in this folder.
    bool quick;
    bool list;
} arguments;

static const char usage_text[] =
    "usage: fa_bench [options]\n"
    "Measures framealloc beside a hand-written arena, malloc and other arena libraries.\n"
    "\n"
    "  --only NAME     only workloads whose name contains NAME\n"
    "  --quick         a sixth of the repeats\n"
    "  --csv FILE      write the results to FILE as well\n"
    "  --csv-dir DIR   the same, into a file of DIR named after the machine and the compiler\n"
    "  --list          print the names of the workloads and stop\n"
    "  --help          print this and stop\n";

// Takes an option with a value: `*i` moves on to the value.
static bool text_option(int argc, char **argv, int *i, const char *name, const char **out) {
    if (strcmp(argv[*i], name) != 0 || *i + 1 >= argc) {
        return false;
    }
    *out = argv[++*i];
    return true;
}

// False when an argument is not understood.
static bool arguments_read(int argc, char **argv, arguments *out) {
    for (int i = 1; i < argc; ++i) {
        if (text_option(argc, argv, &i, "--only", &out->only) ||
            text_option(argc, argv, &i, "--csv", &out->csv) ||
            text_option(argc, argv, &i, "--csv-dir", &out->csv_dir)) {
            continue;
        }
        if (strcmp(argv[i], "--quick") == 0) {
            out->quick = true;
        } else if (strcmp(argv[i], "--list") == 0) {
            out->list = true;
        } else if (strcmp(argv[i], "--help") == 0) {
            fputs(usage_text, stdout);
            exit(0);
        } else {
            fprintf(stderr, "fa_bench: '%s' is not understood or lacks its value\n\n%s", argv[i],
                    usage_text);
            return false;
        }
    }
    return true;
}

static bool is_selected(const arguments *args, size_t workload) {
    return args->only == NULL || strstr(bench_workloads[workload].id, args->only) != NULL;
}

// Sets all rivals up at the start, so that the order of the workloads does not decide whose memory
// lies where.
static bool rivals_open(void **states) {
    for (size_t i = 0; i < RIVAL_COUNT; ++i) {
        states[i] = rivals[i]->open();
        if (states[i] == NULL) {
            fprintf(stderr, "fa_bench: %s could not be set up\n", rivals[i]->id);
            return false;
        }
    }
    return true;
}

static FILE *csv_open(const arguments *args, const bench_machine *machine) {
    char path[512];
    if (args->csv != NULL) {
        snprintf(path, sizeof(path), "%s", args->csv);
    } else {
        char name[160];
        bench_machine_file(machine, name, sizeof(name));
        snprintf(path, sizeof(path), "%s/%s", args->csv_dir, name);
    }
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        fprintf(stderr, "fa_bench: cannot write %s\n", path);
    } else {
        fprintf(stderr, "results go to %s\n", path);
    }
    return file;
}

// Only on a terminal, and on the error output: the tables can be redirected.
static void progress_show(size_t done, size_t total, const char *name) {
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r[%2zu/%2zu] %-20s", done, total, name);
        fflush(stderr);
    }
}

static void progress_clear(void) {
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%-40s\r", "");
        fflush(stderr);
    }
}

// Runs what is selected. Returns the exit status.
static int run_all(const arguments *args, const bench_machine *machine, void *const *states,
                   FILE *csv) {
    static bench_result results[WORKLOAD_COUNT][RIVAL_COUNT];
    bench_options options = {.seconds = args->quick ? 0.3 : 2.0};
    size_t total = 0;
    for (size_t i = 0; i < WORKLOAD_COUNT; ++i) {
        total += is_selected(args, i);
    }
    report_machine(stdout, machine, rivals, RIVAL_COUNT);
    if (csv != NULL) {
        csv_begin(csv, machine, rivals, RIVAL_COUNT);
    }
    size_t done = 0;
    for (size_t i = 0; i < WORKLOAD_COUNT; ++i) {
        if (!is_selected(args, i)) {
            continue;
        }
        progress_show(++done, total, bench_workloads[i].id);
        size_t repeats =
            bench_measure((bench_workload_id)i, rivals, states, RIVAL_COUNT, &options, results[i]);
        progress_clear();
        if (repeats == 0) {
            return 1;
        }
        report_workload(stdout, &bench_workloads[i], results[i], RIVAL_COUNT, repeats);
        if (csv != NULL) {
            csv_workload(csv, &bench_workloads[i], results[i], RIVAL_COUNT, repeats);
        }
    }
    report_summary_begin(stdout);
    for (size_t i = 0; i < WORKLOAD_COUNT; ++i) {
        if (is_selected(args, i)) {
            report_summary(stdout, &bench_workloads[i], results[i], RIVAL_COUNT);
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    arguments args = {0};
    if (!arguments_read(argc, argv, &args)) {
        return 2;
    }
    bench_variable_init();
    if (args.list) {
        for (size_t i = 0; i < WORKLOAD_COUNT; ++i) {
            printf("%-18s %s\n", bench_workloads[i].id, bench_workloads[i].title);
        }
        return 0;
    }
    static void *states[RIVAL_COUNT];
    if (!rivals_open(states)) {
        return 1;
    }
    bench_machine machine;
    bench_machine_read(&machine);
    FILE *csv = NULL;
    if (args.csv != NULL || args.csv_dir != NULL) {
        csv = csv_open(&args, &machine);
        if (csv == NULL) {
            return 1;
        }
    }
    int status = run_all(&args, &machine, states, csv);
    for (size_t i = 0; i < RIVAL_COUNT; ++i) {
        rivals[i]->close(states[i]);
    }
    if (csv != NULL && fclose(csv) != 0) {
        fprintf(stderr, "fa_bench: writing the results failed\n");
        return 1;
    }
    return status;
}

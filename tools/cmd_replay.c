// framealloc replay FILE: reads the command line, loads the plan, measures, reports.

#define _GNU_SOURCE 1

#include "commands.h"

#include "replay/load.h"
#include "replay/measure.h"
#include "replay/report.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_REPEAT = 5 };

typedef struct options {
    const char *path;
    frame_range range;
    uint32_t repeat;
    bool is_json;
    bool is_comparison;
    const allocator *allocators[MEASURE_ALLOCATORS_MAX];
    uint32_t allocator_count;
} options;

static void print_usage(FILE *out) {
    fprintf(out,
            "usage: framealloc replay FILE [OPTIONS]\n\n"
            "Replays the allocation trace FILE frame by frame and shows what each allocator"
            " costs.\n\n"
            "  --frames A-B       only frames A to B, counted from 0\n"
            "  --repeat N         N timed runs of each allocator (default %d)\n"
            "  --compare          every allocator that is here, a line each, beside framealloc\n"
            "  --allocator NAMES  these, separated by commas (default glibc,framealloc,none):\n",
            DEFAULT_REPEAT);
    for (size_t i = 0; allocator_at(i) != NULL; i++) {
        fprintf(out, "                       %-12s %s%s\n", allocator_at(i)->name,
                allocator_at(i)->summary,
                allocator_is_here(allocator_at(i)) ? "" : " (not installed here)");
    }
    fprintf(out, "  --json             one JSON object instead of the table (docs/replay.md)\n\n"
                 "exit status: 0 done, 1 a replay failed or did not verify, 2 the command line or"
                 " FILE cannot be used\n");
}

__attribute__((format(printf, 1, 2))) static bool complain(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "framealloc replay: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    return false;
}

// Takes a decimal number off the front of `*text`.
static bool take_number(const char **text, uint32_t *value) {
    char *end = NULL;
    if (**text < '0' || **text > '9') {
        return false;
    }
    errno = 0;
    unsigned long long number = strtoull(*text, &end, 10);
    if (errno != 0 || number >= UINT32_MAX) {
        return false;
    }
    *value = (uint32_t)number;
    *text = end;
    return true;
}

// "3-7", or "3" for one frame.
static bool parse_frames(const char *text, frame_range *range) {
    const char *at = text;
    range->all = false;
    bool ok = take_number(&at, &range->first);
    range->last = range->first;
    if (ok && *at == '-') {
        at++;
        ok = take_number(&at, &range->last);
    }
    if (!ok || *at != '\0' || range->first > range->last) {
        return complain("--frames takes two frame numbers such as 10-99, not '%s'", text);
    }
    return true;
}

static bool parse_repeat(const char *text, uint32_t *repeat) {
    const char *at = text;
    if (!take_number(&at, repeat) || *at != '\0' || *repeat < 1 || *repeat > MEASURE_REPEAT_MAX) {
        return complain("--repeat takes a number from 1 to %d, not '%s'", MEASURE_REPEAT_MAX, text);
    }
    return true;
}

static bool add_allocator(options *o, const allocator *a) {
    for (uint32_t i = 0; i < o->allocator_count; i++) {
        if (o->allocators[i] == a) {
            return true;
        }
    }
    o->allocators[o->allocator_count++] = a;
    return true;
}

static bool parse_allocators(const char *text, options *o) {
    while (true) {
        size_t length = strcspn(text, ",");
        const allocator *a = allocator_find(text, length);
        if (a == NULL || !allocator_is_here(a)) {
            char names[128];
            allocator_names(names, sizeof names);
            return complain("%s '%.*s'; there are %s",
                            a == NULL ? "there is no allocator" : "not installed here:",
                            (int)(length < 64 ? length : 64), text, names);
        }
        add_allocator(o, a);
        if (text[length] == '\0') {
            return true;
        }
        text += length + 1;
    }
}

typedef enum parse_status { PARSE_OK, PARSE_HELP, PARSE_BAD } parse_status;

static parse_status parse_option(int letter, const char *name, options *o) {
    switch (letter) {
    case 'f':
        return parse_frames(optarg, &o->range) ? PARSE_OK : PARSE_BAD;
    case 'r':
        return parse_repeat(optarg, &o->repeat) ? PARSE_OK : PARSE_BAD;
    case 'a':
        return parse_allocators(optarg, o) ? PARSE_OK : PARSE_BAD;
    case 'c':
        o->is_comparison = true;
        return PARSE_OK;
    case 'j':
        o->is_json = true;
        return PARSE_OK;
    case 'h':
        return PARSE_HELP;
    case ':':
        complain("the option '%s' needs a value", name);
        return PARSE_BAD;
    default:
        complain("unknown option '%s'", name);
        return PARSE_BAD;
    }
}

// Without --allocator.
static void choose_allocators(options *o) {
    for (size_t i = 0; allocator_at(i) != NULL; i++) {
        const allocator *a = allocator_at(i);
        bool is_usual = a == &allocator_glibc || a == &allocator_framealloc || a == &allocator_none;
        if (is_usual || (o->is_comparison && allocator_is_here(a))) {
            add_allocator(o, a);
        }
    }
}

static parse_status parse_options(int argc, char **argv, options *o) {
    static const struct option names[] = {
        {"frames", required_argument, NULL, 'f'},
        {"repeat", required_argument, NULL, 'r'},
        {"allocator", required_argument, NULL, 'a'},
        {"compare", no_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    *o = (options){.range = {.all = true}, .repeat = DEFAULT_REPEAT};
    optind = 1;
    opterr = 0;
    int letter = 0;
    while ((letter = getopt_long(argc, argv, ":h", names, NULL)) != -1) {
        parse_status status = parse_option(letter, argv[optind - 1], o);
        if (status != PARSE_OK) {
            return status;
        }
    }
    if (optind + 1 != argc) {
        complain(optind == argc ? "which FILE? See framealloc replay --help"
                                : "one FILE at a time; see framealloc replay --help");
        return PARSE_BAD;
    }
    o->path = argv[optind];
    if (o->allocator_count == 0) {
        choose_allocators(o);
    }
    return PARSE_OK;
}

// What this machine can hold, with some left for everything else.
static uint64_t memory_to_use(void) {
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes / 4 * 3 : 0;
}

static bool fits_memory(const options *o, const plan *p, uint64_t limit) {
    uint64_t needed = p->peak_bytes + p->peak_frame_bytes;
    if (limit == 0 || needed <= limit) {
        return true;
    }
    return complain("%s: a frame needs %llu bytes of memory, more than the %llu this machine can"
                    " spare",
                    o->path, (unsigned long long)needed, (unsigned long long)limit);
}

static exit_status replay(const options *o, const plan *p, progress *bar, uint64_t load_ns) {
    measure_request request = {
        .plan = p, .allocator_count = o->allocator_count, .repeat = o->repeat, .bar = bar};
    memcpy(request.allocators, o->allocators, sizeof request.allocators);
    measure_result result;
    bool is_measured = measure_run(&request, &result);
    progress_clear(bar);
    bool ok = is_measured && result.ok;
    if (!is_measured) {
        complain("there is not enough memory");
    } else {
        report r = {o->path, p, &result, o->repeat, load_ns};
        if (!o->is_json && o->is_comparison) {
            report_comparison(&r, stdout);
        } else if (!o->is_json) {
            report_text(&r, stdout);
        } else if (!report_json(&r, stdout)) {
            ok = complain("the result could not be written");
        }
    }
    measure_clear(&result);
    return ok ? EXIT_OK : EXIT_FAILED;
}

exit_status command_replay(int argc, char **argv) {
    options o;
    parse_status parsed = parse_options(argc, argv, &o);
    if (parsed != PARSE_OK) {
        if (parsed == PARSE_HELP) {
            print_usage(stdout);
        }
        return parsed == PARSE_HELP ? EXIT_OK : EXIT_USAGE;
    }
    progress bar = progress_make();
    char error[600];
    loaded_plan loaded;
    uint64_t memory = memory_to_use();
    bool ok = plan_load(o.path, &(trace_limits){.live_bytes = memory}, o.range, &bar, &loaded,
                        error, sizeof error);
    progress_clear(&bar);
    if (!ok) {
        complain("%s", error);
        return EXIT_USAGE;
    }
    exit_status status = EXIT_USAGE;
    if (fits_memory(&o, &loaded.plan, memory)) {
        status = replay(&o, &loaded.plan, &bar, loaded.load_ns);
    }
    plan_unload(&loaded);
    return status;
}

// What a replay prints: the table for people and the JSON object for programs, which is a promise
// (docs/replay.md).
#include "harness/check.h"

#if defined(FA_HAVE_REPLAY)

#include "replay/report.h"

#include <framealloc/base.h>

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECTIONS = 15, TEXT_BYTES = 16384 };

// A trace of 13 frames of 3 operations, 10 of them before the steady part, as if it had been
// planned.
static plan make_plan(void) {
    static uint32_t section_end[SECTIONS];
    for (uint32_t i = 0; i < SECTIONS; i++) {
        section_end[i] = i == SECTIONS - 1 ? 3 * (i - 1) : 3 * i;
    }
    return (plan){.section_end = section_end,
                  .section_count = SECTIONS,
                  .op_count = 39,
                  .first_frame = 0,
                  .last_frame = 12,
                  .steady_frame = 10,
                  .frames_recorded = 13,
                  .sites = 7,
                  .threads = 2,
                  .frame_objects = 1234567,
                  .scoped_objects = 3,
                  .pooled_objects = 4,
                  .heap_objects = 5,
                  .pool_count = 2,
                  .pool_bytes = {32, 512},
                  .peak_bytes = 3 * 1024 * 1024,
                  .final_bytes = 1536};
}

static void fill_figures(allocator_figures *figures, const allocator *a, run_figures *run,
                         uint64_t scale) {
    *figures = (allocator_figures){.allocator = a, .ok = true, .run_count = 1, .runs = run};
    *run = (run_figures){.total_ns = 39000 * scale, .memory_known = true, .peak_bytes = 4096};
    run->part_ns[PART_STEADY] = 9000 * scale;
    figures->total = (time_figures){39000 * scale, 39500 * scale};
    figures->part[PART_LOAD] = (time_figures){3000 * scale, 3100 * scale};
    figures->part[PART_STEADY] = (time_figures){9000 * scale, 9500 * scale};
    figures->frame[PART_STEADY] =
        (frame_figures){300 * scale, 1234567 * scale, UINT64_C(2000000000) * scale};
    figures->frame[PART_WARMUP] = (frame_figures){1 * scale, 2 * scale, 3 * scale};
    run->frame[PART_STEADY] = (frame_figures){7, 8, 9};
    figures->worst_ns[PART_STEADY] = UINT64_C(3000000000) * scale;
    figures->memory_known = !a->is_reference;
    figures->peak_bytes = 5 * 1024 * 1024 * scale;
    figures->final_bytes = 512;
    figures->counts.counted = true;
    figures->counts.regions[PART_STEADY].calls = 4 * (scale - 1);
    figures->counts.regions[PART_STEADY].by_number[SYSCALL_NUMBERS - 1] =
        (uint32_t)(4 * (scale - 1));
    figures->counts.regions[PART_LOAD].calls = 1000;
    figures->counts.regions[PART_LOAD].minor_faults = 41;
    figures->counts.regions[PART_LOAD].major_faults = 1;
}

typedef struct sample {
    plan plan;
    measure_result result;
    run_figures runs[3];
    report report;
} sample;

static sample *make_sample(void) {
    static sample s;
    memset(&s, 0, sizeof s);
    s.plan = make_plan();
    s.result.count = 3;
    s.result.clock_ns = 20;
    s.result.ok = true;
    fill_figures(&s.result.figures[0], &allocator_glibc, &s.runs[0], 2);
    fill_figures(&s.result.figures[1], &allocator_framealloc, &s.runs[1], 1);
    fill_figures(&s.result.figures[2], &allocator_none, &s.runs[2], 1);
    snprintf(s.result.figures[1].version, 32, "1.2.3");
    s.result.figures[1].account = (replay_account){true, 100, 200};
    s.report = (report){"some/file.fatrace", &s.plan, &s.result, 5, 777};
    return &s;
}

static const char *read_back(FILE *file) {
    static char text[TEXT_BYTES];
    rewind(file);
    size_t used = fread(text, 1, sizeof text - 1, file);
    text[used] = '\0';
    fclose(file);
    return text;
}

static const char *text_of(const report *r) {
    FILE *file = tmpfile();
    REQUIRE_NOT_NULL(file);
    report_text(r, file);
    return read_back(file);
}

static void check_width(const char *text) {
    size_t column = 0;
    for (const char *p = text; *p != '\0'; p++) {
        column = *p == '\n' ? 0 : column + 1;
        CHECK_LE(column, 100);
    }
}

static void the_table_is_aligned_and_has_units(void) {
    const char *text = text_of(&make_sample()->report);
    CHECK_STR_HAS(text, "objects      1,234,579: 1,234,567 in frames, 3 in scratch scopes,\n"
                        "               4 in 2 pools by size, 5 in the heap\n");
    CHECK_STR_HAS(text, "asked for    3.00 MiB at most at once, 1.50 KiB at the end");
    CHECK_STR_HAS(text, "                                     glibc  framealloc   ratio"
                        "        none\n");
    CHECK_STR_HAS(text, "load: frame 0, 3 operations\n");
    CHECK_STR_HAS(text, "warm-up: frames 1 to 9, 27 operations\n");
    CHECK_STR_HAS(text, "steady: frames 10 to 12, 9 operations\n");
    CHECK_STR_HAS(text, "  frame, median                     600 ns      300 ns    0.50"
                        "      300 ns\n");
    CHECK_STR_HAS(text, "  frame, 99th percentile           2.47 ms     1.23 ms    0.50");
    CHECK_STR_HAS(text, "  frame, maximum                    4.00 s      2.00 s    0.50");
    CHECK_STR_HAS(text, "  resident memory, peak           10.0 MiB    5.00 MiB    0.50"
                        "           -\n");
    CHECK_STR_HAS(text, "  system calls                           4           0    0.00"
                        "           0\n");
    CHECK_STR_HAS(text, "  system calls                       1,000       1,000    1.00");
    CHECK_STR_HAS(text, "contains one reading of the clock (20 ns)");
    check_width(text);
}

// Six do not stand side by side: the second table repeats what is compared with.
static void many_allocators_take_several_tables(void) {
    sample *s = make_sample();
    static run_figures runs[3];
    fill_figures(&s->result.figures[3], &allocator_mimalloc, &runs[0], 3);
    fill_figures(&s->result.figures[4], &allocator_jemalloc, &runs[1], 4);
    fill_figures(&s->result.figures[5], &allocator_tcmalloc, &runs[2], 5);
    s->result.count = 6;
    const char *text = text_of(&s->report);
    check_width(text);
    CHECK_STR_HAS(text, "       glibc  framealloc   ratio        none    mimalloc   ratio\n");
    CHECK_STR_HAS(text, "\n                                     glibc    jemalloc   ratio"
                        "    tcmalloc   ratio\n");
    CHECK_STR_HAS(text, "  frame, median                     600 ns     1.20 us    2.00"
                        "     1.50 us    2.50\n");
    s->result.figures[4].ok = false;
    s->result.figures[5].ok = false;
    text = text_of(&s->report);
    CHECK_NULL(strstr(text, "jemalloc   ratio"));
    const char *head = strstr(text, "       glibc  framealloc");
    REQUIRE_NOT_NULL(head);
    CHECK_NULL(strstr(head + 1, "       glibc"));
}

// Three rounds, the second of them on a machine that was ten times slower.
static void a_comparison_has_a_line_for_each_beside_framealloc(void) {
    sample *s = make_sample();
    static run_figures runs[3][3];
    memset(runs, 0, sizeof runs);
    static const uint64_t speed[3] = {1, 10, 1};
    static const uint64_t scale[3] = {3, 1, 1};
    for (int i = 0; i < 3; i++) {
        allocator_figures *figures = &s->result.figures[i];
        figures->runs = runs[i];
        figures->run_count = 3;
        for (int round = 0; round < 3; round++) {
            run_figures *run = &runs[i][round];
            run->total_ns = (1000 + (uint64_t)round) * speed[round] * scale[i];
            run->frame[PART_STEADY].median_ns = 200 * speed[round] * scale[i];
            run->memory_known = i < 2;
            run->peak_bytes = (20 << 20) / scale[i];
        }
    }
    FILE *file = tmpfile();
    REQUIRE_NOT_NULL(file);
    report_comparison(&s->report, file);
    const char *text = read_back(file);
    check_width(text);
    CHECK_STR_HAS(text,
                  "                           whole replay      steady frame        peak memory"
                  "    system      page\n");
    CHECK_STR_HAS(text,
                  "\nframealloc 1.2.3        1.00 us    1.00    200 ns    1.00   20.0 MiB    1.00"
                  "     1,000        42\n"
                  "glibc                   3.01 us    3.00    600 ns    3.00   6.67 MiB    0.33"
                  "     1,004        42\n"
                  "none                    1.00 us       -    200 ns       -          -       -"
                  "     1,000        42\n");
    CHECK_STR_HAS(text, "contains one reading of the clock (20 ns)");
    CHECK_STR_HAS(text, "ratio: to framealloc");
    s->result.figures[1].ok = false;
    snprintf(s->result.figures[1].error, 64, "timed pass: it broke");
    file = tmpfile();
    REQUIRE_NOT_NULL(file);
    report_comparison(&s->report, file);
    text = read_back(file);
    CHECK_STR_HAS(text,
                  "\nglibc                   3.01 us       -    600 ns       -   6.67 MiB       -");
    CHECK_STR_HAS(text, "FAILED framealloc: timed pass: it broke\n");
    CHECK_NULL(strstr(text, "ratio: "));
}

static void what_is_not_known_is_a_dash(void) {
    sample *s = make_sample();
    for (int i = 0; i < 3; i++) {
        s->result.figures[i].counts.counted = false;
        s->result.figures[i].memory_known = false;
        snprintf(s->result.figures[i].counts.reason, 96, "no tracing here");
    }
    const char *text = text_of(&s->report);
    CHECK_STR_HAS(text, "  system calls                           -           -       -"
                        "           -\n");
    CHECK_STR_HAS(text, "  resident memory, peak                  -           -       -");
    CHECK_STR_HAS(text, "System calls were not counted: no tracing here.");
    FILE *file = tmpfile();
    REQUIRE_NOT_NULL(file);
    report_comparison(&s->report, file);
    text = read_back(file);
    CHECK_STR_HAS(text, "System calls were not counted: no tracing here.");
}

static void a_failed_allocator_has_no_column_but_a_line(void) {
    sample *s = make_sample();
    s->result.figures[1].ok = false;
    s->result.ok = false;
    snprintf(s->result.figures[1].error, 64, "timed pass: it broke");
    const char *text = text_of(&s->report);
    CHECK_STR_HAS(text, "                                     glibc        none\n");
    CHECK_STR_HAS(text, "FAILED framealloc: timed pass: it broke\n");
}

static void a_single_frame_has_no_steady_part(void) {
    sample *s = make_sample();
    s->plan.section_count = 3;
    s->plan.last_frame = 0;
    s->plan.steady_frame = 1;
    s->plan.op_count = 3;
    const char *text = text_of(&s->report);
    CHECK_STR_HAS(text, "steady: none");
    CHECK_NULL(strstr(text, "frame, median"));
}

// ---- JSON ----

static cJSON *json_of(const report *r) {
    FILE *file = tmpfile();
    REQUIRE_NOT_NULL(file);
    CHECK(report_json(r, file));
    cJSON *root = cJSON_Parse(read_back(file));
    REQUIRE_NOT_NULL(root);
    return root;
}

// Follows a path such as "trace.operations.load" or "allocators.1.name".
static const cJSON *at(const cJSON *root, const char *path) {
    char name[64];
    while (root != NULL && *path != '\0') {
        size_t length = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)length, path);
        bool is_index = name[0] >= '0' && name[0] <= '9' && cJSON_IsArray(root);
        root = is_index ? cJSON_GetArrayItem(root, atoi(name))
                        : cJSON_GetObjectItemCaseSensitive(root, name);
        path += length;
        path += *path == '.' ? 1 : 0;
    }
    return root;
}

static void check_number(const cJSON *root, const char *path, double number) {
    check_note("%s", path);
    const cJSON *item = at(root, path);
    if (CHECK(item != NULL && cJSON_IsNumber(item))) {
        CHECK_EQ(item->valuedouble, number);
    }
}

static void check_text(const cJSON *root, const char *path, const char *text) {
    check_note("%s", path);
    const cJSON *item = at(root, path);
    if (CHECK(item != NULL && cJSON_IsString(item))) {
        CHECK_STR_EQ(item->valuestring, text);
    }
}

static void check_null_at(const cJSON *root, const char *path) {
    check_note("%s", path);
    const cJSON *item = at(root, path);
    CHECK(item != NULL && cJSON_IsNull(item));
}

static void every_figure_is_in_the_json(void) {
    cJSON *root = json_of(&make_sample()->report);
    check_text(root, "format", "framealloc-replay");
    check_number(root, "version", 2);
    check_text(root, "framealloc", fa_version());
    CHECK(cJSON_IsTrue(at(root, "ok")));
    check_text(root, "trace.file", "some/file.fatrace");
    check_number(root, "trace.frames_recorded", 13);
    check_number(root, "trace.first_frame", 0);
    check_number(root, "trace.last_frame", 12);
    check_number(root, "trace.steady_frame", 10);
    check_number(root, "trace.threads", 2);
    check_number(root, "trace.sites", 7);
    check_number(root, "trace.frame_objects", 1234567);
    check_number(root, "trace.scoped_objects", 3);
    check_number(root, "trace.pooled_objects", 4);
    check_number(root, "trace.heap_objects", 5);
    check_number(root, "trace.pool_bytes.0", 32);
    check_number(root, "trace.pool_bytes.1", 512);
    check_number(root, "trace.peak_bytes", 3 * 1024 * 1024);
    check_number(root, "trace.final_bytes", 1536);
    check_number(root, "trace.operations.total", 39);
    check_number(root, "trace.operations.load", 3);
    check_number(root, "trace.operations.warmup", 27);
    check_number(root, "trace.operations.steady", 9);
    check_number(root, "trace.operations.tail", 0);
    check_number(root, "repeat", 5);
    check_number(root, "clock_ns", 20);
    check_number(root, "load_trace_ns", 777);
    cJSON_Delete(root);
}

static void every_allocator_s_figures_are_in_the_json(void) {
    cJSON *root = json_of(&make_sample()->report);
    check_text(root, "allocators.0.name", "glibc");
    check_text(root, "allocators.1.version", "1.2.3");
    check_null_at(root, "allocators.0.version");
    CHECK(cJSON_IsFalse(at(root, "allocators.0.is_reference")));
    CHECK(cJSON_IsTrue(at(root, "allocators.2.is_reference")));
    CHECK(cJSON_IsTrue(at(root, "allocators.0.ok")));
    check_null_at(root, "allocators.0.error");
    check_number(root, "allocators.1.operations_per_second.total", 1e6);
    check_number(root, "allocators.0.operations_per_second.steady", 5e5);
    check_number(root, "allocators.0.operations_per_second.tail", 0);
    check_number(root, "allocators.0.time_ns.total.min", 78000);
    check_number(root, "allocators.0.time_ns.load.median", 6200);
    check_number(root, "allocators.1.frame_ns.steady.median", 300);
    check_number(root, "allocators.1.frame_ns.steady.p99", 1234567);
    check_number(root, "allocators.1.frame_ns.steady.max", 2e9);
    check_number(root, "allocators.1.frame_ns.steady.worst", 3e9);
    check_number(root, "allocators.1.frame_ns.warmup.p99", 2);
    check_number(root, "allocators.1.runs.0.frame_ns.steady.p99", 8);
    check_number(root, "allocators.0.resident_bytes.peak", 10 * 1024 * 1024);
    check_number(root, "allocators.0.resident_bytes.final", 512);
    check_null_at(root, "allocators.2.resident_bytes");
    check_null_at(root, "allocators.0.own_bytes");
    check_number(root, "allocators.1.own_bytes.peak", 100);
    check_number(root, "allocators.1.own_bytes.committed", 200);
    check_number(root, "allocators.0.system_calls.steady.total", 4);
    check_number(root, "allocators.0.system_calls.steady.by_name.511", 4);
    check_null_at(root, "allocators.0.system_calls_reason");
    check_number(root, "allocators.0.page_faults.load.minor", 41);
    check_number(root, "allocators.0.page_faults.load.major", 1);
    check_number(root, "allocators.0.runs.0.time_ns.total", 78000);
    check_number(root, "allocators.0.runs.0.time_ns.steady", 18000);
    check_number(root, "allocators.0.runs.0.resident_bytes.peak", 4096);
    cJSON_Delete(root);
}

static void failures_and_gaps_are_null_in_the_json(void) {
    sample *s = make_sample();
    s->plan.section_count = 3;
    s->plan.last_frame = 0;
    s->plan.steady_frame = 1;
    s->result.ok = false;
    s->result.figures[1].ok = false;
    snprintf(s->result.figures[1].error, 64, "say \"why\"\n");
    s->result.figures[0].counts.counted = false;
    snprintf(s->result.figures[0].counts.reason, 64, "because");
    cJSON *root = json_of(&s->report);
    CHECK(cJSON_IsFalse(at(root, "ok")));
    check_null_at(root, "trace.steady_frame");
    check_null_at(root, "allocators.0.frame_ns.steady");
    check_null_at(root, "allocators.0.frame_ns.warmup");
    check_null_at(root, "allocators.0.system_calls");
    check_text(root, "allocators.0.system_calls_reason", "because");
    CHECK(cJSON_IsFalse(at(root, "allocators.1.ok")));
    check_text(root, "allocators.1.error", "say \"why\"\n");
    CHECK(at(root, "allocators.1.time_ns") == NULL);
    cJSON_Delete(root);
}

TEST_SUITE(report, TEST(the_table_is_aligned_and_has_units), TEST(what_is_not_known_is_a_dash),
           TEST(many_allocators_take_several_tables),
           TEST(a_comparison_has_a_line_for_each_beside_framealloc),
           TEST(a_failed_allocator_has_no_column_but_a_line),
           TEST(a_single_frame_has_no_steady_part), TEST(every_figure_is_in_the_json),
           TEST(every_allocator_s_figures_are_in_the_json),
           TEST(failures_and_gaps_are_null_in_the_json));

#else

static void needs_the_program(void) {
    SKIP("the program framealloc is not built here");
}

TEST_SUITE(report, TEST(needs_the_program));

#endif

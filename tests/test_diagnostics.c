// The table of codes, the line a report becomes, and the names of results.
//
// docs/codes.md is made from the table: run this suite with FA_UPDATE_DOCS=1 to write it again.
#include "harness/check.h"

#include <framealloc/diagnostics.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct expected_code {
    int code;
    fa_severity severity;
} expected_code;

#define NUMBER_OF(array) (sizeof(array) / sizeof((array)[0]))

// A number is never given a second meaning: a code that goes missing or changes its severity is
// noticed here.
static const expected_code expected_codes[] = {
    {1, FA_SEVERITY_ERROR},     {2, FA_SEVERITY_ERROR},     {3, FA_SEVERITY_ERROR},
    {4, FA_SEVERITY_ERROR},     {5, FA_SEVERITY_ERROR},     {6, FA_SEVERITY_ERROR},
    {7, FA_SEVERITY_ERROR},     {8, FA_SEVERITY_WARNING},   {9, FA_SEVERITY_WARNING},
    {10, FA_SEVERITY_ERROR},    {11, FA_SEVERITY_ERROR},    {12, FA_SEVERITY_ERROR},
    {13, FA_SEVERITY_ERROR},    {14, FA_SEVERITY_ERROR},    {15, FA_SEVERITY_ERROR},
    {16, FA_SEVERITY_ERROR},    {17, FA_SEVERITY_ERROR},    {18, FA_SEVERITY_ERROR},
    {201, FA_SEVERITY_ERROR},   {202, FA_SEVERITY_WARNING}, {203, FA_SEVERITY_ERROR},
    {204, FA_SEVERITY_ERROR},   {205, FA_SEVERITY_ERROR},   {301, FA_SEVERITY_ERROR},
    {302, FA_SEVERITY_ERROR},   {303, FA_SEVERITY_ERROR},   {304, FA_SEVERITY_WARNING},
    {305, FA_SEVERITY_ERROR},   {306, FA_SEVERITY_WARNING}, {401, FA_SEVERITY_ERROR},
    {402, FA_SEVERITY_ERROR},   {403, FA_SEVERITY_ERROR},   {404, FA_SEVERITY_ERROR},
    {405, FA_SEVERITY_ERROR},   {406, FA_SEVERITY_WARNING}, {407, FA_SEVERITY_NOTE},
    {408, FA_SEVERITY_ERROR},   {409, FA_SEVERITY_ERROR},   {501, FA_SEVERITY_WARNING},
    {502, FA_SEVERITY_WARNING}, {510, FA_SEVERITY_WARNING}, {520, FA_SEVERITY_WARNING},
    {530, FA_SEVERITY_WARNING}, {601, FA_SEVERITY_WARNING}, {602, FA_SEVERITY_WARNING},
    {603, FA_SEVERITY_ERROR},   {606, FA_SEVERITY_ERROR},   {607, FA_SEVERITY_WARNING},
    {801, FA_SEVERITY_WARNING}, {802, FA_SEVERITY_ERROR},   {803, FA_SEVERITY_ERROR},
    {804, FA_SEVERITY_ERROR},   {805, FA_SEVERITY_ERROR},   {901, FA_SEVERITY_ERROR},
};

static void table_has_the_promised_codes_in_order(void) {
    REQUIRE_EQ(fa_code_count(), NUMBER_OF(expected_codes));
    for (size_t i = 0; i < NUMBER_OF(expected_codes); i++) {
        const fa_code_info *info = fa_code_at(i);
        REQUIRE_NOT_NULL(info);
        char name[16];
        snprintf(name, sizeof(name), "FA%03d", info->code);
        CHECK_EQ(info->code, expected_codes[i].code);
        CHECK_EQ(info->severity, expected_codes[i].severity);
        CHECK_STR_EQ(info->name, name);
    }
}

// One or more whole sentences, written to be read.
static void check_sentences(const char *text) {
    const size_t length = strlen(text);
    REQUIRE_GT(length, 20);
    CHECK((text[0] >= 'A' && text[0] <= 'Z') || strncmp(text, "fa_", 3) == 0);
    CHECK_EQ(text[length - 1], '.');
    CHECK_NULL(strstr(text, "  "));
}

static void every_code_is_explained(void) {
    for (size_t i = 0; i < fa_code_count(); i++) {
        const fa_code_info *info = fa_code_at(i);
        check_note("%s", info->name);
        REQUIRE_GT(strlen(info->message), 5);
        CHECK_LT(strlen(info->message), 60);
        CHECK(info->message[0] >= 'a' && info->message[0] <= 'z');
        CHECK_NE(info->message[strlen(info->message) - 1], '.');
        check_sentences(info->cause);
        check_sentences(info->remedy);
        for (size_t other = 0; other < i; other++) {
            CHECK(strcmp(info->message, fa_code_at(other)->message) != 0);
            CHECK(strcmp(info->cause, fa_code_at(other)->cause) != 0);
            CHECK(strcmp(info->remedy, fa_code_at(other)->remedy) != 0);
        }
    }
}

static void a_code_is_found_by_its_number(void) {
    size_t found = 0;
    for (int code = -5; code <= 1005; code++) {
        const fa_code_info *info = fa_code_get(code);
        if (info != NULL) {
            CHECK_EQ(info->code, code);
            CHECK_EQ(info, fa_code_at(found));
            found++;
        }
    }
    CHECK_EQ(found, fa_code_count());
    CHECK_NULL(fa_code_get(0));
    CHECK_NULL(fa_code_get(INT_MIN));
    CHECK_NULL(fa_code_get(INT_MAX));
}

static void a_code_is_found_by_its_name_in_either_case(void) {
    for (size_t i = 0; i < fa_code_count(); i++) {
        const fa_code_info *info = fa_code_at(i);
        char lower[16];
        snprintf(lower, sizeof(lower), "fa%s", info->name + 2);
        CHECK_EQ(fa_code_find(info->name), info);
        CHECK_EQ(fa_code_find(lower), info);
    }
    CHECK_EQ(fa_code_find("Fa003"), fa_code_get(3));
    CHECK_EQ(fa_code_find("fA003"), fa_code_get(3));
}

static void a_name_that_is_no_code_is_not_found(void) {
    static const char *const names[] = {"",      "F",      "FA",     "FA0",    "FA00",   "FA3",
                                        "FA03",  "FA0003", "FA0030", "FA003 ", " FA003", "XA003",
                                        "FX003", "FA00x",  "FA0x3",  "FAx03",  "FA-03",  "FA+03",
                                        "FA000", "FA999",  "003",    "3",      "FA01/",  "FA00:"};
    CHECK_NULL(fa_code_find(NULL));
    for (size_t i = 0; i < NUMBER_OF(names); i++) {
        check_note("\"%s\"", names[i]);
        CHECK_NULL(fa_code_find(names[i]));
    }
}

static void there_is_no_entry_beyond_the_last(void) {
    CHECK_NOT_NULL(fa_code_at(fa_code_count() - 1));
    CHECK_NULL(fa_code_at(fa_code_count()));
    CHECK_NULL(fa_code_at(SIZE_MAX));
}

static void severities_have_names(void) {
    CHECK_STR_EQ(fa_severity_name(FA_SEVERITY_NOTE), "note");
    CHECK_STR_EQ(fa_severity_name(FA_SEVERITY_WARNING), "warning");
    CHECK_STR_EQ(fa_severity_name(FA_SEVERITY_ERROR), "error");
}

// ---- Reports as lines --------------------------------------------------------------------------

static fa_report full_report(void) {
    return (fa_report){.info = fa_code_get(302),
                       .result = FA_ERR_BUDGET,
                       .bytes = 4096,
                       .limit = 1048576,
                       .tag = {7},
                       .tag_path = "ai/pathfinding",
                       .thread = "main",
                       .frame = 12,
                       .where = "frame"};
}

static void check_line(const fa_report *report, const char *expected) {
    char line[512];
    memset(line, '#', sizeof(line));
    const size_t length = fa_report_format(report, line, sizeof(line));
    CHECK_STR_EQ(line, expected);
    CHECK_EQ(length, strlen(expected));
}

static void a_full_report_says_everything(void) {
    const fa_report report = full_report();
    check_line(&report,
               "FA302 error: tag budget reached: 4096 bytes asked for by \"ai/pathfinding\" "
               "on thread \"main\", frame 12, arena \"frame\": limit 1048576 bytes");
}

static void a_report_leaves_out_what_it_does_not_know(void) {
    fa_report report = full_report();
    report.limit = 0;
    check_line(&report,
               "FA302 error: tag budget reached: 4096 bytes asked for by \"ai/pathfinding\" "
               "on thread \"main\", frame 12, arena \"frame\"");
    report.where = "";
    check_line(&report,
               "FA302 error: tag budget reached: 4096 bytes asked for by \"ai/pathfinding\" "
               "on thread \"main\", frame 12");
    report.frame = 0;
    check_line(&report,
               "FA302 error: tag budget reached: 4096 bytes asked for by \"ai/pathfinding\" "
               "on thread \"main\"");
    report.bytes = 0;
    check_line(&report,
               "FA302 error: tag budget reached: tag \"ai/pathfinding\" on thread \"main\"");
    report.tag = FA_TAG_ROOT;
    report.tag_path = "";
    check_line(&report, "FA302 error: tag budget reached: on thread \"main\"");
    report.thread = NULL;
    check_line(&report, "FA302 error: tag budget reached");
    report.frame = 12;
    check_line(&report, "FA302 error: tag budget reached: frame 12");
    report.frame = 0;
    report.where = "level";
    check_line(&report, "FA302 error: tag budget reached: arena \"level\"");
    report.where = NULL;
    report.tag_path = NULL;
    report.limit = 64;
    check_line(&report, "FA302 error: tag budget reached: limit 64 bytes");
    report.bytes = 128;
    check_line(&report, "FA302 error: tag budget reached: 128 bytes asked for: limit 64 bytes");
}

static void a_tag_without_a_path_is_told_by_its_number(void) {
    const fa_report report = {.info = fa_code_get(802), .tag = {77}, .thread = "main"};
    check_line(&report, "FA802 error: unknown tag: tag number 77 on thread \"main\"");
    const fa_report path_only = {.info = fa_code_get(802), .tag_path = "ai", .thread = "main"};
    check_line(&path_only, "FA802 error: unknown tag: tag \"ai\" on thread \"main\"");
}

static void figures_are_called_what_they_are(void) {
    fa_report report = {
        .info = fa_code_get(14), .bytes = 9, .limit = 8, .where = "frames_in_flight"};
    check_line(&report, "FA014 error: field of a configuration is not allowed: "
                        "value 9, field \"frames_in_flight\": limit 8");
    report = (fa_report){.info = fa_code_get(17), .where = "out"};
    check_line(&report, "FA017 error: argument is not allowed: argument \"out\"");
    report = (fa_report){.info = fa_code_get(15), .thread = "main", .where = "fa_span_at"};
    check_line(&report, "FA015 error: index outside the container: "
                        "index 0 on thread \"main\", in fa_span_at: length 0");
    report = (fa_report){.info = fa_code_get(8), .bytes = 640, .thread = "main", .where = "level"};
    check_line(&report, "FA008 warning: arena alive when its context was destroyed: "
                        "640 bytes in use on thread \"main\", arena \"level\"");
    report = (fa_report){.info = fa_code_get(9), .bytes = 64, .thread = "main", .where = "worker"};
    check_line(&report, "FA009 warning: frame left open: "
                        "64 bytes in use on thread \"main\", of thread \"worker\"");
    report = (fa_report){.info = fa_code_get(5), .bytes = 96, .limit = 64, .where = "level"};
    check_line(&report, "FA005 error: stale mark: offset 96, arena \"level\": used 64 bytes");
    report = (fa_report){.info = fa_code_get(7), .limit = 2, .thread = "main"};
    check_line(&report, "FA007 error: scratch scope ended out of order: "
                        "on thread \"main\": 2 scopes open");
    report = (fa_report){.info = fa_code_get(13), .bytes = 1000, .limit = 999};
    check_line(&report, "FA013 error: size does not fit into size_t: 1000 asked for: limit 999");
    report =
        (fa_report){.info = fa_code_get(301), .bytes = 64, .limit = 32, .where = "thread state"};
    check_line(&report, "FA301 error: memory limit reached: "
                        "64 bytes asked for, for \"thread state\": limit 32 bytes");
    report = (fa_report){.info = fa_code_get(305), .bytes = 64, .thread = "main", .where = "level"};
    check_line(&report, "FA305 error: operating system refused memory: "
                        "64 bytes asked for on thread \"main\", for \"level\"");
    report = (fa_report){.info = fa_code_get(802), .tag = {77}, .limit = 5, .thread = "main"};
    check_line(&report, "FA802 error: unknown tag: tag number 77 on thread \"main\": 5 tags known");
    report = (fa_report){.info = fa_code_get(803), .thread = "main", .where = "fa_tag_pop"};
    check_line(&report, "FA803 error: tags pushed and popped out of balance: "
                        "on thread \"main\", in fa_tag_pop");
    report = (fa_report){.info = fa_code_get(805), .where = "a//b"};
    check_line(&report, "FA805 error: tag cannot be registered: path \"a//b\"");
}

static void blocks_are_told_with_their_number_place_and_call_site(void) {
    fa_report report = {.info = fa_code_get(406),
                        .bytes = 4096,
                        .tag_path = "ai",
                        .thread = "main",
                        .where = "heap",
                        .site = (const void *)(uintptr_t)0xABC0,
                        .count = 12};
    check_line(&report, "FA406 warning: still live when its owner ended: 4096 bytes by \"ai\" "
                        "on thread \"main\", in \"heap\", 12 blocks, allocated by 0xabc0");
    report = (fa_report){.info = fa_code_get(403),
                         .bytes = 64,
                         .thread = "main",
                         .where = "contacts",
                         .ptr = (const void *)(uintptr_t)0x7f00};
    check_line(&report, "FA403 error: block freed twice: 64 bytes on thread \"main\", "
                        "in \"contacts\", at 0x7f00");
    report = (fa_report){.info = fa_code_get(407), .count = 1};
    check_line(&report, "FA407 note: slot retired: 1 block");
    report = (fa_report){.info = fa_code_get(404), .ptr = (const void *)UINTPTR_MAX};
    char expected[128];
    snprintf(expected, sizeof(expected), "FA404 error: pointer does not belong here: at 0x%llx",
             (unsigned long long)UINTPTR_MAX);
    check_line(&report, expected);
    report = (fa_report){.info = fa_code_get(409), .limit = 100, .where = "contacts"};
    check_line(&report, "FA409 error: too many: in \"contacts\": limit 100");
    report = (fa_report){.info = fa_code_get(408), .site = (const void *)(uintptr_t)16};
    check_line(&report, "FA408 error: block is pinned: allocated by 0x10");
}

static void the_largest_numbers_fit(void) {
    const fa_report report = {
        .info = fa_code_get(3), .bytes = SIZE_MAX, .limit = SIZE_MAX, .frame = UINT64_MAX};
    char expected[256];
    snprintf(expected, sizeof(expected),
             "FA003 error: arena exhausted: %llu bytes asked for, frame 18446744073709551615: "
             "limit %llu bytes",
             (unsigned long long)SIZE_MAX, (unsigned long long)SIZE_MAX);
    check_line(&report, expected);
}

static void a_report_without_a_code_tells_the_result(void) {
    const fa_report report = {.result = FA_ERR_NOT_FOUND, .thread = "main"};
    check_line(&report, "FA_ERR_NOT_FOUND: there is no such thing: on thread \"main\"");
}

static void a_short_buffer_gets_the_beginning_and_the_full_length(void) {
    const fa_report report = full_report();
    char whole[512];
    const size_t length = fa_report_format(&report, whole, sizeof(whole));
    REQUIRE_LT(length, sizeof(whole));
    for (size_t size = 0; size <= length + 2; size++) {
        char part[512];
        memset(part, '#', sizeof(part));
        CHECK_EQ(fa_report_format(&report, part, size), length);
        CHECK_EQ(part[size], '#');
        if (size > 0) {
            const size_t kept = size - 1 < length ? size - 1 : length;
            CHECK_MEM_EQ(part, whole, kept);
            CHECK_EQ(part[kept], '\0');
        }
    }
}

static void formatting_nothing_is_harmless(void) {
    char line[8] = "before";
    CHECK_EQ(fa_report_format(NULL, line, sizeof(line)), 0);
    CHECK_STR_EQ(line, "");
    const fa_report report = full_report();
    const size_t length = fa_report_format(&report, NULL, 0);
    CHECK_GT(length, 100);
    CHECK_EQ(fa_report_format(&report, NULL, 100), length);
    CHECK_EQ(fa_report_format(NULL, NULL, 0), 0);
}

// ---- Results -----------------------------------------------------------------------------------

static void every_result_has_its_name_and_a_message(void) {
#define CHECK_RESULT(name, value, message)                                                         \
    CHECK_STR_EQ(fa_result_name(name), #name);                                                     \
    CHECK_STR_EQ(fa_result_name((fa_result)(value)), #name);                                       \
    CHECK_STR_EQ(fa_result_message(name), message);                                                \
    CHECK_GT(strlen(message), 5);                                                                  \
    CHECK((name) == FA_OK || (name) < 0);
    FA_RESULT_MAP(CHECK_RESULT)
#undef CHECK_RESULT
    CHECK_EQ(FA_OK, 0);
}

static void a_number_that_is_no_result_has_a_name_too(void) {
    static const int numbers[] = {1, -16, -1000, 1000};
    for (size_t i = 0; i < NUMBER_OF(numbers); i++) {
        CHECK_STR_EQ(fa_result_name((fa_result)numbers[i]), "FA_RESULT_UNKNOWN");
        CHECK_GT(strlen(fa_result_message((fa_result)numbers[i])), 5);
    }
}

static void the_version_is_that_of_the_headers(void) {
    char version[32];
    snprintf(version, sizeof(version), "%d.%d.%d", FA_VERSION_MAJOR, FA_VERSION_MINOR,
             FA_VERSION_PATCH);
    CHECK_STR_EQ(fa_version(), FA_VERSION_STRING);
    CHECK_STR_EQ(fa_version(), version);
}

// ---- docs/codes.md -----------------------------------------------------------------------------

#define PAGE_BYTES ((size_t)128 << 10)

static void add(char *page, const char *text) {
    REQUIRE_LT(strlen(page) + strlen(text), PAGE_BYTES);
    strcat(page, text);
}

// Adds `first` and `text` as a paragraph, with lines of at most 100 characters.
static void add_paragraph(char *page, const char *first, const char *text) {
    add(page, first);
    size_t column = strlen(first);
    for (const char *word = text; *word != '\0';) {
        char piece[128];
        const size_t length = strcspn(word, " ");
        REQUIRE_LT(length, sizeof(piece));
        snprintf(piece, sizeof(piece), "%.*s", (int)length, word);
        const bool fits = column + 1 + length <= 100;
        add(page, fits ? " " : "\n");
        add(page, piece);
        column = fits ? column + 1 + length : length;
        word += length;
        word += strspn(word, " ");
    }
    add(page, "\n\n");
}

static void add_code(char *page, const fa_code_info *info) {
    add(page, "## ");
    add(page, info->name);
    add(page, ": ");
    add(page, info->message);
    add(page, "\n\n");
    add_paragraph(page, "Severity:", fa_severity_name(info->severity));
    add_paragraph(page, "**How it comes about.**", info->cause);
    add_paragraph(page, "**What to do.**", info->remedy);
}

static char *write_page(void) {
    char *page = calloc(PAGE_BYTES, 1);
    REQUIRE_NOT_NULL(page);
    add(page, "# Codes\n\n");
    add_paragraph(page, "Every problem that the library and its tools can report.",
                  "`framealloc explain FA003` prints one of these entries; in a program, "
                  "fa_code_find() returns it. Codes of parts that are still to come have their "
                  "number already.");
    add_paragraph(page, "This page is made from src/core/codes.def.",
                  "A test compares the two; running the test program's suite `diagnostics` with "
                  "FA_UPDATE_DOCS=1 writes the page again.");
    for (size_t i = 0; i < fa_code_count(); i++) {
        add_code(page, fa_code_at(i));
    }
    page[strlen(page) - 1] = '\0'; // One line end is enough at the end of the file.
    return page;
}

// The path of docs/codes.md, found from the path of this file.
static void docs_path(char *path, size_t size) {
    const char *end = strstr(__FILE__, "tests/test_diagnostics.c");
    REQUIRE_NOT_NULL(end);
    snprintf(path, size, "%.*sdocs/codes.md", (int)(end - __FILE__), __FILE__);
}

static void codes_md_says_what_the_table_says(void) {
    FILE *source = fopen(__FILE__, "rb");
    if (source == NULL) {
        SKIP("the sources are not here");
    }
    fclose(source);
    char path[1024];
    docs_path(path, sizeof(path));
    char *page = write_page();
    if (getenv("FA_UPDATE_DOCS") != NULL) {
        FILE *out = fopen(path, "wb");
        REQUIRE_NOT_NULL(out);
        CHECK_EQ(fwrite(page, 1, strlen(page), out), strlen(page));
        CHECK_EQ(fclose(out), 0);
    }
    char *file = calloc(PAGE_BYTES, 1);
    REQUIRE_NOT_NULL(file);
    FILE *in = fopen(path, "rb");
    REQUIRE_NOT_NULL(in);
    const size_t size = fread(file, 1, PAGE_BYTES - 1, in);
    fclose(in);
    check_note("docs/codes.md is not what the table says; write it again with FA_UPDATE_DOCS=1");
    CHECK_EQ(size, strlen(page));
    CHECK_MEM_EQ(file, page, size < strlen(page) ? size : strlen(page));
    free(file);
    free(page);
}

TEST_SUITE(diagnostics, TEST(table_has_the_promised_codes_in_order), TEST(every_code_is_explained),
           TEST(a_code_is_found_by_its_number), TEST(a_code_is_found_by_its_name_in_either_case),
           TEST(a_name_that_is_no_code_is_not_found), TEST(there_is_no_entry_beyond_the_last),
           TEST(severities_have_names), TEST(a_full_report_says_everything),
           TEST(a_report_leaves_out_what_it_does_not_know),
           TEST(a_tag_without_a_path_is_told_by_its_number), TEST(figures_are_called_what_they_are),
           TEST(blocks_are_told_with_their_number_place_and_call_site),
           TEST(the_largest_numbers_fit), TEST(a_report_without_a_code_tells_the_result),
           TEST(a_short_buffer_gets_the_beginning_and_the_full_length),
           TEST(formatting_nothing_is_harmless), TEST(every_result_has_its_name_and_a_message),
           TEST(a_number_that_is_no_result_has_a_name_too),
           TEST(the_version_is_that_of_the_headers), TEST(codes_md_says_what_the_table_says));

// Reading traces: what a good one means, and that every bad one is refused with the line and the
// reason.
#include "harness/check.h"

#if defined(FA_HAVE_REPLAY)

#include "replay/plan.h"
#include "replay/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define HEAD "framealloc-trace 1\n"
#define SITE "s 0 ?\n"

// Every kind of line once: block 1 dies in its frame, 2 grows into 3 and lives on, 9 is never
// freed.
static const char good_text[] = HEAD "s 0 libc+0x3556f\n"
                                     "a 1 37 0 0 0\n"
                                     "a 2 100 64 0 0\n"
                                     "f 1 0\n"
                                     "F\n"
                                     "s 7 a name with blanks\n"
                                     "r 3 2 300 7 1\n"
                                     "r 9 0 0 7 3\n"
                                     "F\n"
                                     "f 3 0\n";

static bool read_bytes(const void *data, size_t size, const trace_limits *limits, trace *out,
                       trace_error *error) {
    source *src = source_open_memory(data, size);
    REQUIRE_NOT_NULL(src);
    bool ok = trace_read(src, limits, NULL, NULL, out, error);
    source_close(src);
    return ok;
}

// Checks that `data` is refused at `line` with `text` as part of the reason.
static void check_refused(const void *data, size_t size, const trace_limits *limits, uint64_t line,
                          const char *text) {
    trace t;
    trace_error error;
    bool ok = read_bytes(data, size, limits, &t, &error);
    CHECK(!ok);
    CHECK_EQ(error.line, line);
    CHECK_STR_HAS(error.text, text);
    CHECK_NULL(t.events);
    trace_clear(&t);
}

static unsigned char *compress(const void *data, size_t size, size_t *compressed_size) {
    size_t bound = ZSTD_compressBound(size);
    unsigned char *compressed = calloc(1, bound);
    REQUIRE_NOT_NULL(compressed);
    *compressed_size = ZSTD_compress(compressed, bound, data, size, 1);
    REQUIRE(!ZSTD_isError(*compressed_size));
    return compressed;
}

static void check_good(const trace *t) {
    REQUIRE_EQ(t->event_count, 6);
    REQUIRE_EQ(t->frame_count, 2);
    REQUIRE_EQ(t->block_count, 4);
    CHECK_EQ(t->frame_end[0], 3);
    CHECK_EQ(t->frame_end[1], 5);
    CHECK_EQ(t->site_count, 2);
    CHECK_EQ(t->thread_count, 4);
    CHECK_EQ(t->line_count, 11);
    CHECK_EQ(t->text_bytes, strlen(good_text));
    CHECK_EQ(t->ids[0], 1);
    CHECK_EQ(t->ids[3], 9);
    CHECK_EQ(t->events[0].kind, TRACE_ALLOC);
    CHECK_EQ(t->events[0].size, 37);
    CHECK_EQ(t->events[0].align_log2, 0);
    CHECK_EQ(t->events[1].align_log2, 6);
    CHECK_EQ(t->events[2].kind, TRACE_FREE);
    CHECK_EQ(t->events[2].block, 0);
    CHECK_EQ(t->events[3].kind, TRACE_RESIZE);
    CHECK_EQ(t->events[3].old_block, 1);
    CHECK_EQ(t->events[3].block, 2);
    CHECK_EQ(t->events[3].size, 300);
    CHECK_EQ(t->events[3].thread, 1);
    CHECK_EQ(t->events[4].kind, TRACE_ALLOC);
    CHECK_EQ(t->events[4].size, 0);
    CHECK_EQ(t->events[5].block, 2);
}

static void reads_every_kind_of_line(void) {
    trace t;
    trace_error error;
    REQUIRE(read_bytes(good_text, strlen(good_text), NULL, &t, &error));
    check_good(&t);
    trace_clear(&t);
}

static void reads_compressed_text_like_plain_text(void) {
    size_t size = 0;
    unsigned char *compressed = compress(good_text, strlen(good_text), &size);
    trace t;
    trace_error error;
    bool ok = read_bytes(compressed, size, NULL, &t, &error);
    free(compressed);
    REQUIRE(ok);
    check_good(&t);
    trace_clear(&t);
}

// Two compressed files one after the other are one file.
static void reads_several_compressed_pieces(void) {
    size_t half = strlen(good_text) / 2;
    size_t first_size = 0;
    size_t second_size = 0;
    unsigned char *first = compress(good_text, half, &first_size);
    unsigned char *second = compress(good_text + half, strlen(good_text) - half, &second_size);
    unsigned char both[1024];
    REQUIRE_LE(first_size + second_size, sizeof both);
    memcpy(both, first, first_size);
    memcpy(both + first_size, second, second_size);
    free(first);
    free(second);
    trace t;
    trace_error error;
    REQUIRE(read_bytes(both, first_size + second_size, NULL, &t, &error));
    check_good(&t);
    trace_clear(&t);
}

// A trace of many lines crosses every buffer; block numbers need not be in order nor small.
static void reads_long_traces_with_any_block_numbers(void) {
    enum { BLOCKS = 30000 };
    size_t capacity = (size_t)BLOCKS * 64;
    char *text = calloc(1, capacity);
    REQUIRE_NOT_NULL(text);
    size_t used = (size_t)snprintf(text, capacity, HEAD SITE);
    for (uint64_t i = 1; i <= BLOCKS; i++) {
        used += (size_t)snprintf(text + used, capacity - used, "a %llu %llu 0 0 0\n",
                                 (unsigned long long)(i * UINT64_C(0x9E3779B97F4A7C15)),
                                 (unsigned long long)i);
    }
    for (uint64_t i = 1; i <= BLOCKS; i++) {
        used += (size_t)snprintf(text + used, capacity - used, "f %llu 0\n",
                                 (unsigned long long)(i * UINT64_C(0x9E3779B97F4A7C15)));
    }
    used += (size_t)snprintf(text + used, capacity - used, "F\n");
    trace t;
    trace_error error;
    bool ok = read_bytes(text, used, NULL, &t, &error);
    free(text);
    REQUIRE(ok);
    CHECK_EQ(t.event_count, 2 * BLOCKS);
    CHECK_EQ(t.events[BLOCKS - 1].size, BLOCKS);
    CHECK_EQ(t.events[BLOCKS].block, 0);
    trace_clear(&t);
}

typedef struct bad_text {
    uint64_t line;
    const char *reason;
    const char *text;
} bad_text;

static const bad_text bad_texts[] = {
    {1, "the file is empty", ""},
    {1, "this is no framealloc trace", "hello\n"},
    {1, "this is no framealloc trace", "\n" HEAD},
    {1, "this is no framealloc trace", "framealloc-trace \n"},
    {1, "this is no framealloc trace", "framealloc"},
    {1, "version '2' of the trace format is unknown", "framealloc-trace 2\nF\n"},
    {1, "version '1 ' of the trace format is unknown", "framealloc-trace 1 \nF\n"},
    {1, "version '1\\x0d'", "framealloc-trace 1\r\nF\r\n"},
    {1, "ends in the middle", "framealloc-trace 1"},
    {1, "the trace holds no allocation", HEAD},
    {2, "the trace holds no allocation", HEAD "F\n"},
    {3, "no frame ever ends", HEAD SITE "a 1 5 0 0 0\n"},
    {4, "ends in the middle of this line", HEAD SITE "a 1 5 0 0 0\nF"},
    {4, "ends in the middle of this line", HEAD SITE "a 1 5 0 0 0\nf 1"},
    {2, "the line is empty", HEAD "\nF\n"},
    {2, "'x' is no event", HEAD "x 1 2\n"},
    {2, "'A' is no event", HEAD "A 1 5 0 0 0\n"},
    {2, "' F' is no event", HEAD " F\n"},
    {2, "'\\x80\\xff' is no event", HEAD "\x80\xff 1\n"},
    {2, "'ab' is not an event", HEAD "ab 1 5 0 0 0\n"},
    {2, "something after the last field: 'x'", HEAD "Fx\n"},
    {2, "something after the last field: '\\x0d'", HEAD "F\r\n"},
    {2, "the field ID is missing", HEAD "a\n"},
    {2, "the field ID is empty", HEAD "a \n"},
    {2, "the field ID is empty", HEAD "a  1 5 0 0 0\n"},
    {2, "the field SIZE is missing", HEAD "a 1\n"},
    {3, "the field ALIGN is missing", HEAD SITE "a 1 5\n"},
    {3, "the field SITE is missing", HEAD SITE "a 1 5 0\n"},
    {3, "the field THREAD is missing", HEAD SITE "a 1 5 0 0\n"},
    {3, "the field THREAD is empty", HEAD SITE "a 1 5 0 0 \n"},
    {3, "something after the last field: ' 7'", HEAD SITE "a 1 5 0 0 0 7\n"},
    {3, "something after the last field: ' '", HEAD SITE "a 1 5 0 0 0 \n"},
    {3, "the field SIZE is not a number: '5x'", HEAD SITE "a 1 5x 0 0 0\n"},
    {3, "the field SIZE is not a number: '-5'", HEAD SITE "a 1 -5 0 0 0\n"},
    {3, "the field SIZE is not a number: '+5'", HEAD SITE "a 1 +5 0 0 0\n"},
    {3, "the field SIZE is not a number: '0x10'", HEAD SITE "a 1 0x10 0 0 0\n"},
    {3, "the field SIZE is not a number: '\\x095'", HEAD SITE "a 1 \t5 0 0 0\n"},
    {3, "the field SIZE is too large: 4294967296, at most 4294967295",
     HEAD SITE "a 1 4294967296 0 0 0\n"},
    {3, "the field SIZE is too large: 18446744073709551616",
     HEAD SITE "a 1 18446744073709551616 0 0 0\n"},
    {3, "the field SIZE is too large: 999999999999999999999999...",
     HEAD SITE "a 1 99999999999999999999999999999999 0 0 0\n"},
    {3, "the field ID is too large", HEAD SITE "a 18446744073709551616 5 0 0 0\n"},
    {3, "the field ID is 0", HEAD SITE "a 0 5 0 0 0\n"},
    {3, "the field ALIGN is not a power of two: 24", HEAD SITE "a 1 5 24 0 0\n"},
    {3, "the field ALIGN is too large: 2097152, at most 1048576", HEAD SITE "a 1 5 2097152 0 0\n"},
    {3, "the field THREAD is too large", HEAD SITE "a 1 5 0 0 65536\n"},
    {3, "call site 1 has no name yet", HEAD SITE "a 1 5 0 1 0\n"},
    {2, "the field SITE is too large", HEAD "s 1048576 x\n"},
    {2, "the field NAME is missing", HEAD "s 0\n"},
    {2, "the field NAME is empty", HEAD "s 0 \n"},
    {3, "call site 0 is named twice", HEAD SITE "s 0 again\n"},
    {4, "block 1 is used twice: it was allocated on line 3",
     HEAD SITE "a 1 5 0 0 0\na 1 6 0 0 0\n"},
    {5, "block 1 is used twice", HEAD SITE "a 1 5 0 0 0\nf 1 0\na 1 6 0 0 0\n"},
    {4, "block 1 is used twice", HEAD SITE "a 1 5 0 0 0\nr 1 1 9 0 0\n"},
    {3, "block 7 is freed but was never allocated", HEAD SITE "f 7 0\n"},
    {3, "the field ID is 0", HEAD SITE "f 0 0\n"},
    {5, "block 1 is freed a second time: it was gone since line 4",
     HEAD SITE "a 1 5 0 0 0\nf 1 0\nf 1 0\n"},
    {5, "block 1 is freed a second time", HEAD SITE "a 1 5 0 0 0\nr 2 1 9 0 0\nf 1 0\n"},
    {3, "block 4 is reallocated but was never allocated", HEAD SITE "r 5 4 10 0 0\n"},
    {5, "block 1 is reallocated a second time: it was gone since line 4",
     HEAD SITE "a 1 5 0 0 0\nf 1 0\nr 2 1 9 0 0\n"},
    {3, "the field OLD is missing", HEAD SITE "r 5\n"},
    {3, "the field SIZE is too large", HEAD SITE "r 5 0 4294967296 0 0\n"},
    {3, "call site 3 has no name yet", HEAD SITE "r 5 0 10 3 0\n"},
};

static void refuses_bad_text_with_line_and_reason(void) {
    for (size_t i = 0; i < sizeof bad_texts / sizeof bad_texts[0]; i++) {
        const bad_text *bad = &bad_texts[i];
        check_note("case %u: %s", (unsigned)i, bad->text);
        check_refused(bad->text, strlen(bad->text), NULL, bad->line, bad->reason);
        if (bad->text[0] != '\0') {
            size_t size = 0;
            unsigned char *compressed = compress(bad->text, strlen(bad->text), &size);
            check_refused(compressed, size, NULL, bad->line, bad->reason);
            free(compressed);
        }
    }
    check_note("%s", "");
}

static void refuses_nul_bytes(void) {
    static const char first[] = "framealloc-trace 1\0\n";
    static const char inner[] = HEAD SITE "a 1 5 0\0 0 0\nF\n";
    static const char name[] = HEAD "s 0 na\0me\nF\n";
    check_refused(first, sizeof first - 1, NULL, 1, "version '1\\x00' of the trace format");
    check_refused(inner, sizeof inner - 1, NULL, 3, "the line contains a NUL byte");
    check_refused(name, sizeof name - 1, NULL, 2, "the line contains a NUL byte");
}

// With and without a line end, and longer than any buffer.
static void refuses_lines_that_are_too_long(void) {
    static const size_t lengths[] = {4093, 5000, 70000, 300000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char *text = calloc(1, lengths[i] + 64);
        REQUIRE_NOT_NULL(text);
        size_t used = (size_t)sprintf(text, HEAD "s 0 ");
        memset(text + used, 'n', lengths[i]);
        used += lengths[i];
        check_note("%lu bytes", (unsigned long)lengths[i]);
        if (i > 0) {
            check_refused(text, used, NULL, 2, "the line is longer than 4096 bytes");
        }
        text[used++] = '\n';
        check_refused(text, used, NULL, 2, "the line is longer than 4096 bytes");
        memset(text, 'n', used - 1);
        check_refused(text, used, NULL, 1, "this is no framealloc trace");
        free(text);
    }
}

static void accepts_the_longest_line(void) {
    static char text[8192];
    size_t used = (size_t)sprintf(text, HEAD "s 0 ");
    memset(text + used, 'n', 4092);
    used += 4092;
    used += (size_t)sprintf(text + used, "\na 1 5 0 0 0\nF\n");
    trace t;
    trace_error error;
    CHECK(read_bytes(text, used, NULL, &t, &error));
    trace_clear(&t);
}

// However a compressed file is cut, it is refused, and never as anything else than cut or damaged.
static void refuses_compressed_text_that_was_cut_off(void) {
    size_t size = 0;
    unsigned char *compressed = compress(good_text, strlen(good_text), &size);
    for (size_t length = 4; length < size; length++) {
        check_note("%lu of %lu bytes", (unsigned long)length, (unsigned long)size);
        unsigned char *part = calloc(1, length);
        REQUIRE_NOT_NULL(part);
        memcpy(part, compressed, length);
        check_refused(part, length, NULL, 1, "the compressed data ends too early");
        free(part);
    }
    free(compressed);
}

// The line is the one that was being read when the data ended.
static void names_the_line_where_compressed_text_ends(void) {
    size_t capacity = 200000 * 14;
    char *text = calloc(1, capacity);
    REQUIRE_NOT_NULL(text);
    size_t used = (size_t)sprintf(text, HEAD SITE);
    for (int i = 1; i <= 200000; i++) {
        used += (size_t)snprintf(text + used, capacity - used, "f %d 0\n", i);
    }
    memcpy(text + strlen(HEAD SITE), "a 1 8 0 0 0\n", 12);
    size_t size = 0;
    unsigned char *compressed = compress(text, used, &size);
    trace t;
    trace_error error;
    CHECK(!read_bytes(compressed, size / 4, NULL, &t, &error));
    CHECK_GT(error.line, 1);
    free(compressed);
    free(text);
}

static void refuses_what_follows_compressed_text(void) {
    size_t size = 0;
    unsigned char *compressed = compress(good_text, strlen(good_text), &size);
    unsigned char longer[1024];
    REQUIRE_LE(size + 8, sizeof longer);
    memcpy(longer, compressed, size);
    memcpy(longer + size, "garbage!", 8);
    check_refused(longer, size + 8, NULL, 12, "the compressed data is damaged");
    free(compressed);
}

// A frame that asks for a window of 256 MiB: the memory is not given.
static void refuses_a_window_that_is_too_large(void) {
    static const unsigned char frame[] = {0x28, 0xB5, 0x2F, 0xFD, 0x00,
                                          0x90, 0x09, 0x00, 0x00, 'x'};
    check_refused(frame, sizeof frame, NULL, 1, "the compressed data is damaged");
}

// 256 MiB of text from a few kilobytes, as one endless line and as frames without end.
static void refuses_what_expands_without_bound(void) {
    size_t piece = (size_t)1 << 20;
    size_t size = 0;
    char *text = calloc(1, piece);
    REQUIRE_NOT_NULL(text);
    for (size_t i = 0; i < piece; i += 2) {
        memcpy(text + i, "F\n", 2);
    }
    unsigned char *head = compress(HEAD, strlen(HEAD), &size);
    size_t frames_size = 0;
    unsigned char *frames = compress(text, piece, &frames_size);
    size_t pieces = 256;
    unsigned char *bomb = calloc(1, size + pieces * frames_size);
    REQUIRE_NOT_NULL(bomb);
    memcpy(bomb, head, size);
    for (size_t i = 0; i < pieces; i++) {
        memcpy(bomb + size + i * frames_size, frames, frames_size);
    }
    size_t bomb_size = size + pieces * frames_size;
    check_refused(bomb, bomb_size, NULL, (1 << 25) + 2, "more than 33554432 events");
    check_refused(bomb, bomb_size, &(trace_limits){.events = 1000}, 1002, "more than 1000 events");
    // Refused when the next piece of the text comes in, so the line depends on the buffer.
    trace t;
    trace_error error;
    CHECK(!read_bytes(bomb, bomb_size, &(trace_limits){.text_bytes = 70000}, &t, &error));
    CHECK_STR_HAS(error.text, "more than 70000 bytes of text");
    CHECK_LT(error.line, 70000);
    free(frames);
    memset(text, 'n', piece);
    frames = compress(text, piece, &frames_size);
    REQUIRE_LE(frames_size, bomb_size / pieces * 4);
    memcpy(bomb + size, frames, frames_size);
    check_refused(bomb, size + frames_size, NULL, 2, "the line is longer than 4096 bytes");
    free(frames);
    free(head);
    free(bomb);
    free(text);
}

static void holds_to_the_limits_on_bytes(void) {
    static const char text[] = HEAD SITE "a 1 600 0 0 0\na 2 400 0 0 0\nf 1 0\na 3 601 0 0 0\nF\n";
    trace t;
    trace_error error;
    CHECK(read_bytes(text, strlen(text), &(trace_limits){.live_bytes = 1001}, &t, &error));
    trace_clear(&t);
    check_refused(text, strlen(text), &(trace_limits){.live_bytes = 1000}, 6,
                  "1001 bytes are live here, more than the 1000");
    check_refused(text, strlen(text), &(trace_limits){.block_bytes = 600}, 6,
                  "the field SIZE is too large: 601, at most 600");
}

static void says_why_a_file_cannot_be_opened(void) {
    char error[128] = "";
    CHECK_NULL(source_open_file("no-such-folder/no-such-file", error, sizeof error));
    CHECK_STR_HAS(error, "cannot be opened: ");
    CHECK_NULL(source_open_file("/", error, sizeof error));
    CHECK_STR_HAS(error, "is a directory");
}

// ---- Damage at random ----

// Changes, removes, doubles or inserts a few bytes; returns the new size.
static size_t mutate(check_rng *rng, unsigned char *bytes, size_t size, size_t capacity) {
    static const char likely[] = "0123456789 \nafrFs\r-";
    size_t changes = check_rng_between(rng, 1, 4);
    for (size_t i = 0; i < changes && size > 1; i++) {
        size_t at = (size_t)check_rng_below(rng, size);
        size_t count = check_rng_between(rng, 1, 24);
        count = count > size - at ? size - at : count;
        switch (check_rng_below(rng, 5)) {
        case 0:
            bytes[at] = (unsigned char)check_rng_below(rng, 256);
            break;
        case 1:
            bytes[at] = (unsigned char)likely[check_rng_below(rng, sizeof likely - 1)];
            break;
        case 2:
            memmove(bytes + at, bytes + at + count, size - at - count);
            size -= count;
            break;
        case 3:
            if (size + count <= capacity) {
                memmove(bytes + at + count, bytes + at, size - at);
                size += count;
            }
            break;
        default:
            size = at + 1;
            break;
        }
    }
    return size;
}

// Whatever could be read can also be planned, and replayed without a finding when it is small.
static void use_trace(const trace *t, check_rng *rng) {
    char error[256];
    size_t size = 0;
    uint32_t frames = (uint32_t)t->frame_count;
    uint32_t first = (uint32_t)check_rng_below(rng, frames);
    frame_range range = {.all = check_rng_chance(rng, 50),
                         .first = first,
                         .last = (uint32_t)check_rng_between(rng, first, frames - 1)};
    void *block = plan_build(t, range, &size, error, sizeof error);
    if (!CHECK_NOT_NULL(block)) {
        return;
    }
    plan p = plan_view(block);
    CHECK_LE(p.op_count, t->event_count);
    if (p.peak_bytes + p.peak_frame_bytes < ((size_t)1 << 20)) {
        bool ok = verify_allocator(&allocator_glibc, &p, NULL, error, sizeof error);
        if (!CHECK(ok)) {
            FAIL("%s", error);
        }
    }
    free(block);
}

static void try_bytes(const unsigned char *bytes, size_t size, check_rng *rng, size_t *accepted) {
    // A block of exactly this size, so that a read beyond its end is found.
    unsigned char *exact = calloc(1, size);
    REQUIRE_NOT_NULL(exact);
    memcpy(exact, bytes, size);
    trace t;
    trace_error error;
    trace_limits limits = {.events = 100000, .text_bytes = 1 << 24};
    if (read_bytes(exact, size, &limits, &t, &error)) {
        ++*accepted;
        use_trace(&t, rng);
    } else {
        CHECK_GE(error.line, 1);
        CHECK_NE(error.text[0], '\0');
        CHECK_NULL(t.events);
    }
    trace_clear(&t);
    free(exact);
}

// A trace of some frames, larger than its parts.
static size_t small_trace(char *text, size_t capacity) {
    size_t used = (size_t)snprintf(text, capacity, HEAD "s 0 libc+0x1\ns 1 ?\n");
    for (unsigned i = 1; i < 40; i++) {
        used += (size_t)snprintf(text + used, capacity - used, "a %u %u %u %u 0\n", i * 10, i * 7,
                                 i % 5 == 0 ? 64u : 0u, i % 2);
        used += (size_t)snprintf(text + used, capacity - used, "r %u %u %u 0 1\n", i * 10 + 1,
                                 i * 10, i * 9);
        if (i % 3 != 0) {
            used += (size_t)snprintf(text + used, capacity - used, "f %u 0\n", i * 10 + 1);
        }
        if (i % 4 == 0) {
            used += (size_t)snprintf(text + used, capacity - used, "F\n");
        }
    }
    return used;
}

static void mutated_text_is_refused_or_replayed(void) {
    static char text[4096];
    static unsigned char bytes[8192];
    size_t size = small_trace(text, sizeof text);
    size_t steps = check_scale(20000);
    size_t accepted = 0;
    check_rng rng = check_rng_make(check_seed());
    for (size_t step = 0; step < steps; step++) {
        check_note("step %lu", (unsigned long)step);
        memcpy(bytes, text, size);
        try_bytes(bytes, mutate(&rng, bytes, size, sizeof bytes), &rng, &accepted);
    }
    // Some damage goes unnoticed, such as another size: otherwise nothing beyond the reader was
    // tried.
    CHECK_GT(accepted, steps / 100);
    CHECK_LT(accepted, steps);
}

static void mutated_compressed_text_is_refused_or_replayed(void) {
    static char text[4096];
    static unsigned char bytes[8192];
    size_t compressed_size = 0;
    unsigned char *compressed = compress(text, small_trace(text, sizeof text), &compressed_size);
    size_t steps = check_scale(20000);
    size_t accepted = 0;
    check_rng rng = check_rng_make(check_seed());
    REQUIRE_LE(compressed_size, sizeof bytes);
    for (size_t step = 0; step < steps; step++) {
        check_note("step %lu", (unsigned long)step);
        memcpy(bytes, compressed, compressed_size);
        try_bytes(bytes, mutate(&rng, bytes, compressed_size, sizeof bytes), &rng, &accepted);
    }
    CHECK_LT(accepted, steps);
    free(compressed);
}

TEST_SUITE(trace, TEST(reads_every_kind_of_line), TEST(reads_compressed_text_like_plain_text),
           TEST(reads_several_compressed_pieces), TEST(reads_long_traces_with_any_block_numbers),
           TEST(refuses_bad_text_with_line_and_reason), TEST(refuses_nul_bytes),
           TEST(refuses_lines_that_are_too_long), TEST(accepts_the_longest_line),
           TEST(refuses_compressed_text_that_was_cut_off),
           TEST(names_the_line_where_compressed_text_ends),
           TEST(refuses_what_follows_compressed_text), TEST(refuses_a_window_that_is_too_large),
           TEST(refuses_what_expands_without_bound), TEST(holds_to_the_limits_on_bytes),
           TEST(says_why_a_file_cannot_be_opened), TEST(mutated_text_is_refused_or_replayed),
           TEST(mutated_compressed_text_is_refused_or_replayed));

#else

static void needs_the_program(void) {
    SKIP("the program framealloc is not built here");
}

TEST_SUITE(trace, TEST(needs_the_program));

#endif

// The table of problems, and how one of them is written as a line.
//
// Everything here is constant data and copying: no allocation, no lock, no locale. It is safe at
// any time on any thread.
#include <framealloc/diagnostics.h>

#include "codes.h"

// Three digits, leading zeros included, from a number without them.
#define DIGITS(number)                                                                             \
    { 'F', 'A', '0' + (number) / 100, '0' + (number) / 10 % 10, '0' + (number) % 10, '\0' }

typedef char code_name[6];

static const code_name names[] = {
#define CODE(symbol, number, severity, message, cause, remedy) DIGITS(number),
#include "codes.def"
#undef CODE
};

#define CODE_COUNT (sizeof(names) / sizeof(names[0]))

// Positions of the codes in the table, so that an entry can point at its name.
enum {
#define CODE(symbol, number, severity, message, cause, remedy) POSITION_##symbol,
#include "codes.def"
#undef CODE
};

static const fa_code_info table[CODE_COUNT] = {
#define CODE(symbol, number, severity, message, cause, remedy)                                     \
    {(number), names[POSITION_##symbol], FA_SEVERITY_##severity, message, cause, remedy},
#include "codes.def"
#undef CODE
};

size_t fa_code_count(void) {
    return CODE_COUNT;
}

const fa_code_info *fa_code_at(size_t index) {
    return index < CODE_COUNT ? &table[index] : NULL;
}

const fa_code_info *fa_code_get(int code) {
    size_t low = 0;
    size_t high = CODE_COUNT;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (table[middle].code == code) {
            return &table[middle];
        }
        if (table[middle].code < code) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

const fa_code_info *fa_code_find(const char *name) {
    // The next character is looked at only when the one before was right: a short name ends it.
    if (name == NULL || (name[0] != 'F' && name[0] != 'f') || (name[1] != 'A' && name[1] != 'a')) {
        return NULL;
    }
    int code = 0;
    for (size_t i = 2; i < sizeof(code_name) - 1; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return NULL;
        }
        code = code * 10 + (name[i] - '0');
    }
    return name[sizeof(code_name) - 1] == '\0' ? fa_code_get(code) : NULL;
}

const char *fa_severity_name(fa_severity severity) {
    switch (severity) {
    case FA_SEVERITY_NOTE:
        return "note";
    case FA_SEVERITY_WARNING:
        return "warning";
    case FA_SEVERITY_ERROR:
        return "error";
    }
    return "unknown";
}

// A line being written: as much of it as fits, and how long all of it is.
typedef struct line {
    char *buffer;
    size_t size;
    size_t length;
} line;

static void put(line *out, const char *text) {
    for (const char *from = text; *from != '\0'; from++) {
        if (out->length + 1 < out->size) {
            out->buffer[out->length] = *from;
        }
        out->length++;
    }
}

static void put_number(line *out, uint64_t number) {
    char digits[21]; // 20 of them make UINT64_MAX.
    size_t first = sizeof(digits) - 1;
    digits[first] = '\0';
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    put(out, digits + first);
}

static void put_address(line *out, const void *ptr) {
    uintptr_t address = (uintptr_t)ptr;
    char digits[2 * sizeof(address) + 1];
    size_t first = sizeof(digits) - 1;
    digits[first] = '\0';
    do {
        digits[--first] = "0123456789abcdef"[address % 16];
        address /= 16;
    } while (address != 0);
    put(out, "0x");
    put(out, digits + first);
}

// What a code's figures are: the text on both sides of each.
typedef struct wording {
    int code;
    const char *amount[2];
    const char *limit[2];
    const char *where[2];
    bool shows_zero; // An amount and a limit of 0 are figures too, not "none".
} wording;

// Most codes are about bytes in an arena.
static const wording usual_wording = {
    0, {"", " bytes asked for"}, {"limit ", " bytes"}, {"arena \"", "\""}, false};

// clang-format off
static const wording other_wordings[] = {
    {FA__CODE_STALE_MARK, {"offset ", ""}, {"used ", " bytes"}, {"arena \"", "\""}, false},
    {FA__CODE_SCRATCH_ORDER, {"", " bytes"}, {"", " scopes open"}, {"arena \"", "\""}, false},
    {FA__CODE_ARENA_OUTLIVES, {"", " bytes in use"}, {"limit ", ""}, {"arena \"", "\""}, false},
    {FA__CODE_LEFT_OPEN, {"", " bytes in use"}, {"limit ", ""}, {"of thread \"", "\""}, false},
    {FA__CODE_SIZE_OVERFLOW, {"", " asked for"}, {"limit ", ""}, {"arena \"", "\""}, false},
    {FA__CODE_BAD_CONFIG, {"value ", ""}, {"limit ", ""}, {"field \"", "\""}, false},
    {FA__CODE_BAD_INDEX, {"index ", ""}, {"length ", ""}, {"in ", ""}, true},
    {FA__CODE_BAD_ARGUMENT, {"value ", ""}, {"limit ", ""}, {"argument \"", "\""}, false},
    {FA__CODE_MEMORY_LIMIT, {"", " bytes asked for"}, {"limit ", " bytes"}, {"for \"", "\""},
     false},
    {FA__CODE_OS_REFUSED, {"", " bytes asked for"}, {"limit ", " bytes"}, {"for \"", "\""},
     false},
    {FA__CODE_STALE_HANDLE, {"", " bytes"}, {"limit ", " bytes"}, {"in \"", "\""}, false},
    {FA__CODE_STREAM_BUDGET, {"", " bytes asked for"}, {"limit ", " bytes"}, {"for \"", "\""},
     false},
    {FA__CODE_DOUBLE_FREE, {"", " bytes"}, {"limit ", " bytes"}, {"in \"", "\""}, false},
    {FA__CODE_FOREIGN_POINTER, {"", " bytes"}, {"limit ", " bytes"}, {"in \"", "\""}, false},
    {FA__CODE_CORRUPTION, {"", " bytes"}, {"limit ", " bytes"}, {"in \"", "\""}, false},
    {FA__CODE_LIVE_AT_END, {"", " bytes"}, {"limit ", " bytes"}, {"in \"", "\""}, false},
    {FA__CODE_SLOT_RETIRED, {"", " bytes"}, {"limit ", " uses"}, {"in \"", "\""}, false},
    {FA__CODE_PINNED, {"", " bytes"}, {"limit ", " bytes"}, {"in \"", "\""}, false},
    {FA__CODE_TOO_MANY, {"", " bytes asked for"}, {"limit ", ""}, {"in \"", "\""}, false},
    {FA__CODE_UNKNOWN_TAG, {"", " bytes asked for"}, {"", " tags known"}, {"in ", ""}, false},
    {FA__CODE_TAG_UNBALANCED, {"value ", ""}, {"limit ", ""}, {"in ", ""}, false},
    {FA__CODE_PHASE_UNBALANCED, {"value ", ""}, {"limit ", ""}, {"in ", ""}, false},
    {FA__CODE_BAD_TAG_PATH, {"value ", ""}, {"limit ", " tags"}, {"path \"", "\""}, false},
};
// clang-format on

static const wording *wording_of(const fa_code_info *info) {
    const size_t count = sizeof(other_wordings) / sizeof(other_wordings[0]);
    for (size_t i = 0; info != NULL && i < count; i++) {
        if (other_wordings[i].code == info->code) {
            return &other_wordings[i];
        }
    }
    return &usual_wording;
}

static void put_between(line *out, const char *const sides[2], const char *text) {
    put(out, sides[0]);
    put(out, text);
    put(out, sides[1]);
}

static void put_number_between(line *out, const char *const sides[2], uint64_t number) {
    put(out, sides[0]);
    put_number(out, number);
    put(out, sides[1]);
}

static bool has_text(const char *text) {
    return text != NULL && text[0] != '\0';
}

static void put_headline(line *out, const fa_report *report) {
    const fa_code_info *info = report->info;
    if (info == NULL) {
        put(out, fa_result_name(report->result));
        put(out, ": ");
        put(out, fa_result_message(report->result));
        return;
    }
    put(out, info->name);
    put(out, " ");
    put(out, fa_severity_name(info->severity));
    put(out, ": ");
    put(out, info->message);
}

// How much, and for whom. True when it wrote something.
static bool put_request(line *out, const fa_report *report, const wording *words) {
    static const char *const quotes[2] = {"\"", "\""};
    const bool has_amount = report->bytes != 0 || words->shows_zero;
    const bool has_path = has_text(report->tag_path);
    if (has_amount) {
        put(out, ": ");
        put_number_between(out, words->amount, report->bytes);
    }
    if (has_path || report->tag.id != 0) {
        put(out, has_amount ? " by " : ": tag ");
        if (has_path) {
            put_between(out, quotes, report->tag_path);
        } else {
            put(out, "number "); // A tag that the context does not have.
            put_number(out, report->tag.id);
        }
    }
    return has_amount || has_path || report->tag.id != 0;
}

// On which thread, in which frame and arena. True when anything is before what follows.
static bool put_place(line *out, const fa_report *report, const wording *words, bool is_first) {
    static const char *const thread[2] = {"on thread \"", "\""};
    static const char *const frame[2] = {"frame ", ""};
    const char *before = is_first ? ": " : ", ";
    if (has_text(report->thread)) {
        put(out, is_first ? ": " : " ");
        put_between(out, thread, report->thread);
        before = ", ";
    }
    if (report->frame != 0) {
        put(out, before);
        put_number_between(out, frame, report->frame);
        before = ", ";
    }
    if (has_text(report->where)) {
        put(out, before);
        put_between(out, words->where, report->where);
        before = ", ";
    }
    return before[0] == ',';
}

// Which block, or how many, and where they come from.
static void put_block(line *out, const fa_report *report, bool is_first) {
    static const char *const one[2] = {"", " block"};
    static const char *const several[2] = {"", " blocks"};
    const char *before = is_first ? ": " : ", ";
    if (report->count != 0) {
        put(out, before);
        put_number_between(out, report->count == 1 ? one : several, report->count);
        before = ", ";
    }
    if (report->ptr != NULL) {
        put(out, before);
        put(out, "at ");
        put_address(out, report->ptr);
        before = ", ";
    }
    if (report->site != NULL) {
        put(out, before);
        put(out, "allocated by ");
        put_address(out, report->site);
    }
}

size_t fa_report_format(const fa_report *report, char *buffer, size_t size) {
    line out = {buffer, buffer == NULL ? 0 : size, 0};
    if (report != NULL) {
        const wording *words = wording_of(report->info);
        put_headline(&out, report);
        const bool has_request = put_request(&out, report, words);
        const bool has_place = put_place(&out, report, words, !has_request);
        put_block(&out, report, !has_request && !has_place);
        if (report->limit != 0 || words->shows_zero) {
            put(&out, ": ");
            put_number_between(&out, words->limit, report->limit);
        }
    }
    if (out.size > 0) {
        out.buffer[out.length < out.size ? out.length : out.size - 1] = '\0';
    }
    return out.length;
}

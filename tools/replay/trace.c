// Reads a trace line by line:
//
//   source --> buffer[64 KiB], cut into lines --> one function per kind of line
//                                             --> events, frame ends, block numbers
//
// Invariants while reading: ids, born_line and gone_line have one entry per block; gone_line is 0
// exactly for live blocks; live_bytes is the sum of their sizes. Whatever a file says, a line is
// looked at only between its first byte and its end, and nothing is counted that the limits do not
// allow.

#include "trace.h"

#include "id_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUFFER_BYTES = 64 * 1024,
    LINE_BYTES_MAX = 4096,
    SITES_MAX = 1 << 20,
    THREADS_MAX = 1 << 16,
    ALIGN_MAX = 1 << 20,
    PROGRESS_LINES = 16 * 1024
};

#define EVENTS_MAX (UINT64_C(1) << 25)

static const char first_line[] = "framealloc-trace 1";

typedef struct block_life {
    uint32_t born_line;
    uint32_t gone_line;
    uint32_t size;
} block_life;

typedef struct reader {
    source *src;
    trace *out;
    trace_error *error;
    trace_limits limits;
    trace_progress_fn progress;
    void *user;
    uint64_t line;
    const char *at;  // Next byte of the line being read.
    const char *end; // Its end; never a line end itself.
    id_table table;
    block_life *lives;
    size_t life_capacity;
    uint64_t live_bytes;
    uint64_t counted;     // Events and frame ends.
    unsigned char *sites; // One bit for each site number that has a name.
    char *buffer;
} reader;

// Says what is wrong with the line being read. Always false, so that a caller can return it.
__attribute__((format(printf, 2, 3))) static bool fail(reader *r, const char *format, ...) {
    r->error->line = r->line;
    va_list args;
    va_start(args, format);
    vsnprintf(r->error->text, sizeof r->error->text, format, args);
    va_end(args);
    return false;
}

static bool fail_memory(reader *r) {
    return fail(r, "there is not enough memory for this trace");
}

// A piece of the line as printable text, at most 24 bytes of it, for messages.
typedef struct quoted {
    char text[104];
} quoted;

static quoted quote(const char *begin, const char *end) {
    enum { SHOWN = 24 };
    quoted q = {{0}};
    size_t length = (size_t)(end - begin);
    size_t used = 0;
    for (size_t i = 0; i < length && i < SHOWN; i++) {
        unsigned char byte = (unsigned char)begin[i];
        bool plain = byte >= 0x20 && byte < 0x7F && byte != '\\';
        used +=
            (size_t)snprintf(q.text + used, sizeof q.text - used, plain ? "%c" : "\\x%02x", byte);
    }
    if (length > SHOWN) {
        snprintf(q.text + used, sizeof q.text - used, "...");
    }
    return q;
}

// Grows an array so that it has room for one more element. False when there is no memory.
static bool make_room(void **data, size_t *capacity, size_t count, size_t element_size) {
    if (count < *capacity) {
        return true;
    }
    size_t wanted = *capacity == 0 ? 1024 : *capacity * 2;
    void *grown = realloc(*data, wanted * element_size);
    if (grown == NULL) {
        return false;
    }
    *data = grown;
    *capacity = wanted;
    return true;
}

static const char *field_end(const reader *r) {
    const char *blank = memchr(r->at, ' ', (size_t)(r->end - r->at));
    return blank != NULL ? blank : r->end;
}

// Steps over the one blank before the field `name`.
static bool take_blank(reader *r, const char *name) {
    if (r->at == r->end) {
        return fail(r, "the field %s is missing", name);
    }
    if (*r->at != ' ') {
        return fail(r, "'%s' is not an event: the letter must be followed by one blank",
                    quote(r->at - 1, field_end(r)).text);
    }
    r->at++;
    return true;
}

// Takes a decimal number between 0 and `max`.
static bool take_number(reader *r, const char *name, uint64_t max, uint64_t *value) {
    if (!take_blank(r, name)) {
        return false;
    }
    const char *end = field_end(r);
    if (r->at == end) {
        return fail(r, "the field %s is empty", name);
    }
    uint64_t number = 0;
    bool too_large = false;
    for (const char *p = r->at; p < end; p++) {
        unsigned digit = (unsigned)(unsigned char)*p - '0';
        if (digit > 9) {
            return fail(r, "the field %s is not a number: '%s'", name, quote(r->at, end).text);
        }
        too_large = too_large || number > (UINT64_MAX - digit) / 10;
        number = number * 10 + digit;
    }
    if (too_large || number > max) {
        return fail(r, "the field %s is too large: %s, at most %llu is possible", name,
                    quote(r->at, end).text, (unsigned long long)max);
    }
    r->at = end;
    *value = number;
    return true;
}

static bool take_end(reader *r) {
    if (r->at != r->end) {
        return fail(r, "there is something after the last field: '%s'", quote(r->at, r->end).text);
    }
    return true;
}

static bool take_id(reader *r, const char *name, uint64_t *id) {
    if (!take_number(r, name, UINT64_MAX, id)) {
        return false;
    }
    return *id != 0 || fail(r, "the field %s is 0, which is no block", name);
}

static bool take_align(reader *r, uint8_t *log2) {
    uint64_t align = 0;
    if (!take_number(r, "ALIGN", ALIGN_MAX, &align)) {
        return false;
    }
    if ((align & (align - 1)) != 0) {
        return fail(r, "the field ALIGN is not a power of two: %llu", (unsigned long long)align);
    }
    *log2 = 0;
    while (align > 1) {
        align >>= 1;
        ++*log2;
    }
    return true;
}

static bool take_site(reader *r) {
    uint64_t site = 0;
    if (!take_number(r, "SITE", SITES_MAX - 1, &site)) {
        return false;
    }
    if ((r->sites[site / 8] >> (site % 8) & 1) == 0) {
        return fail(r, "call site %llu has no name yet: a line 's %llu NAME' must come first",
                    (unsigned long long)site, (unsigned long long)site);
    }
    return true;
}

static bool take_thread(reader *r, uint16_t *thread) {
    uint64_t number = 0;
    if (!take_number(r, "THREAD", THREADS_MAX - 1, &number) || !take_end(r)) {
        return false;
    }
    *thread = (uint16_t)number;
    if (number >= r->out->thread_count) {
        r->out->thread_count = (uint32_t)number + 1;
    }
    return true;
}

static bool count_one(reader *r) {
    if (r->counted >= r->limits.events) {
        return fail(r, "the trace has more than %llu events", (unsigned long long)r->limits.events);
    }
    r->counted++;
    return true;
}

static bool add_event(reader *r, trace_event event) {
    trace *t = r->out;
    void *events = t->events;
    if (!count_one(r)) {
        return false;
    }
    if (!make_room(&events, &t->event_capacity, t->event_count, sizeof event)) {
        return fail_memory(r);
    }
    t->events = events;
    t->events[t->event_count++] = event;
    return true;
}

// Adds the block `id`, born on this line. Its dense index goes to `*block`.
static bool add_block(reader *r, uint64_t id, uint64_t size, uint32_t *block) {
    trace *t = r->out;
    uint32_t known = id_table_find(&r->table, t->ids, id);
    if (known != ID_UNKNOWN) {
        return fail(r, "block %llu is used twice: it was allocated on line %u",
                    (unsigned long long)id, (unsigned)r->lives[known].born_line);
    }
    void *ids = t->ids;
    bool has_room = make_room(&ids, &t->block_capacity, t->block_count, sizeof *t->ids);
    t->ids = ids;
    void *lives = r->lives;
    has_room = has_room && make_room(&lives, &r->life_capacity, t->block_count, sizeof *r->lives);
    r->lives = lives;
    if (!has_room) {
        return fail_memory(r);
    }
    t->ids[t->block_count] = id;
    if (!id_table_add(&r->table, t->ids)) {
        return fail_memory(r);
    }
    r->live_bytes += size;
    if (r->limits.live_bytes != 0 && r->live_bytes > r->limits.live_bytes) {
        return fail(r, "%llu bytes are live here, more than the %llu this machine can hold",
                    (unsigned long long)r->live_bytes, (unsigned long long)r->limits.live_bytes);
    }
    *block = (uint32_t)t->block_count++;
    r->lives[*block] = (block_life){(uint32_t)r->line, 0, (uint32_t)size};
    return true;
}

// Ends the block `id` on this line. Its dense index goes to `*block`.
static bool end_block(reader *r, uint64_t id, const char *verb, uint32_t *block) {
    *block = id_table_find(&r->table, r->out->ids, id);
    if (*block == ID_UNKNOWN) {
        return fail(r, "block %llu is %s but was never allocated", (unsigned long long)id, verb);
    }
    block_life *life = &r->lives[*block];
    if (life->gone_line != 0) {
        return fail(r, "block %llu is %s a second time: it was gone since line %u",
                    (unsigned long long)id, verb, (unsigned)life->gone_line);
    }
    life->gone_line = (uint32_t)r->line;
    r->live_bytes -= life->size;
    return true;
}

// a ID SIZE ALIGN SITE THREAD
static bool read_alloc(reader *r) {
    uint64_t id = 0;
    uint64_t size = 0;
    trace_event event = {.kind = TRACE_ALLOC, .old_block = TRACE_NO_BLOCK};
    if (!take_id(r, "ID", &id) || !take_number(r, "SIZE", r->limits.block_bytes, &size) ||
        !take_align(r, &event.align_log2) || !take_site(r) || !take_thread(r, &event.thread) ||
        !add_block(r, id, size, &event.block)) {
        return false;
    }
    event.size = (uint32_t)size;
    return add_event(r, event);
}

// r ID OLD SIZE SITE THREAD
static bool read_resize(reader *r) {
    uint64_t id = 0;
    uint64_t old = 0;
    uint64_t size = 0;
    trace_event event = {.kind = TRACE_ALLOC, .old_block = TRACE_NO_BLOCK};
    if (!take_id(r, "ID", &id) || !take_number(r, "OLD", UINT64_MAX, &old) ||
        !take_number(r, "SIZE", r->limits.block_bytes, &size) || !take_site(r) ||
        !take_thread(r, &event.thread)) {
        return false;
    }
    if (old != 0) {
        event.kind = TRACE_RESIZE;
        if (!end_block(r, old, "reallocated", &event.old_block)) {
            return false;
        }
    }
    event.size = (uint32_t)size;
    return add_block(r, id, size, &event.block) && add_event(r, event);
}

// f ID THREAD
static bool read_free(reader *r) {
    uint64_t id = 0;
    trace_event event = {.kind = TRACE_FREE, .old_block = TRACE_NO_BLOCK};
    return take_id(r, "ID", &id) && take_thread(r, &event.thread) &&
           end_block(r, id, "freed", &event.block) && add_event(r, event);
}

// F
static bool read_frame_end(reader *r) {
    trace *t = r->out;
    void *ends = t->frame_end;
    if (!take_end(r) || !count_one(r)) {
        return false;
    }
    if (!make_room(&ends, &t->frame_capacity, t->frame_count, sizeof *t->frame_end)) {
        return fail_memory(r);
    }
    t->frame_end = ends;
    t->frame_end[t->frame_count++] = (uint32_t)t->event_count;
    return true;
}

// s SITE NAME
static bool read_site(reader *r) {
    uint64_t site = 0;
    if (!take_number(r, "SITE", SITES_MAX - 1, &site) || !take_blank(r, "NAME")) {
        return false;
    }
    if (r->at == r->end) {
        return fail(r, "the field NAME is empty");
    }
    unsigned char bit = (unsigned char)(1u << (site % 8));
    if ((r->sites[site / 8] & bit) != 0) {
        return fail(r, "call site %llu is named twice", (unsigned long long)site);
    }
    r->sites[site / 8] |= bit;
    r->out->site_count++;
    return true;
}

static bool read_first_line(reader *r) {
    size_t length = (size_t)(r->end - r->at);
    size_t name_length = strlen(first_line) - 1;
    if (length == strlen(first_line) && memcmp(r->at, first_line, length) == 0) {
        return true;
    }
    if (length > name_length && memcmp(r->at, first_line, name_length) == 0) {
        return fail(r, "version '%s' of the trace format is unknown, this program reads version 1",
                    quote(r->at + name_length, r->end).text);
    }
    return fail(r, "this is no framealloc trace: the first line must be '%s'", first_line);
}

static bool read_line(reader *r, const char *begin, const char *end) {
    r->at = begin;
    r->end = end;
    r->line++;
    if (r->line == 1) {
        return read_first_line(r);
    }
    if (end - begin > LINE_BYTES_MAX) {
        return fail(r, "the line is longer than %d bytes", LINE_BYTES_MAX);
    }
    if (begin == end) {
        return fail(r, "the line is empty");
    }
    if (memchr(begin, '\0', (size_t)(end - begin)) != NULL) {
        return fail(r, "the line contains a NUL byte");
    }
    r->at++;
    switch (*begin) {
    case 'a':
        return read_alloc(r);
    case 'r':
        return read_resize(r);
    case 'f':
        return read_free(r);
    case 'F':
        return read_frame_end(r);
    case 's':
        return read_site(r);
    default:
        return fail(r, "'%s' is no event: a line starts with a, r, f, F or s",
                    quote(begin, field_end(r)).text);
    }
}

// Reads all whole lines of the buffer; returns where the unfinished rest begins, or NULL after a
// failure.
static const char *read_lines(reader *r, const char *begin, const char *end) {
    while (begin < end) {
        const char *line_end = memchr(begin, '\n', (size_t)(end - begin));
        if (line_end == NULL) {
            break;
        }
        if (!read_line(r, begin, line_end)) {
            return NULL;
        }
        begin = line_end + 1;
        if (r->progress != NULL && r->line % PROGRESS_LINES == 0) {
            r->progress(r->src, r->user);
        }
    }
    return begin;
}

// What can only be said at the end of the text. `rest` bytes follow the last line end.
static bool read_end(reader *r, size_t rest) {
    if (r->line == 0 && rest == 0) {
        r->line++;
        return fail(r, "the file is empty");
    }
    if (r->line == 0 && !read_line(r, r->buffer, r->buffer + rest)) {
        return false;
    }
    if (rest != 0) {
        r->line += r->line == 1 ? 0 : 1;
        return fail(r, "the file ends in the middle of this line: it was cut off");
    }
    if (r->out->event_count == 0) {
        return fail(r, "the trace holds no allocation");
    }
    if (r->out->frame_count == 0) {
        return fail(r, "no frame ever ends: there is no line 'F'");
    }
    r->out->line_count = r->line;
    return true;
}

// Pulls text through the buffer until it ends or something is wrong.
static bool read_text(reader *r) {
    size_t kept = 0;
    for (;;) {
        size_t count = 0;
        source_status status = source_read(r->src, r->buffer + kept, BUFFER_BYTES - kept, &count);
        if (status == SOURCE_END) {
            return read_end(r, kept);
        }
        if (status == SOURCE_FAILED) {
            r->line++;
            return fail(r, "%s", source_error(r->src));
        }
        r->out->text_bytes += count;
        if (r->out->text_bytes > r->limits.text_bytes) {
            r->line++;
            return fail(r, "the trace has more than %llu bytes of text",
                        (unsigned long long)r->limits.text_bytes);
        }
        const char *end = r->buffer + kept + count;
        const char *rest = read_lines(r, r->buffer, end);
        if (rest == NULL) {
            return false;
        }
        kept = (size_t)(end - rest);
        if (kept > LINE_BYTES_MAX) {
            return read_line(r, rest, end);
        }
        memmove(r->buffer, rest, kept);
    }
}

static uint64_t limit_or(uint64_t asked, uint64_t most) {
    return asked == 0 || asked > most ? most : asked;
}

static trace_limits resolve(const trace_limits *asked) {
    trace_limits limits = asked != NULL ? *asked : (trace_limits){0};
    limits.text_bytes = limit_or(limits.text_bytes, UINT32_MAX);
    limits.events = limit_or(limits.events, EVENTS_MAX);
    limits.block_bytes = limit_or(limits.block_bytes, UINT32_MAX);
    return limits;
}

bool trace_read(source *src, const trace_limits *limits, trace_progress_fn progress, void *user,
                trace *out, trace_error *error) {
    *out = (trace){0};
    *error = (trace_error){0};
    reader r = {.src = src, .out = out, .error = error, .progress = progress, .user = user};
    r.limits = resolve(limits);
    r.sites = calloc(SITES_MAX / 8, 1);
    r.buffer = malloc(BUFFER_BYTES);
    bool ok = r.sites != NULL && r.buffer != NULL ? read_text(&r) : fail_memory(&r);
    id_table_clear(&r.table);
    free(r.lives);
    free(r.sites);
    free(r.buffer);
    if (!ok) {
        trace_clear(out);
    }
    return ok;
}

void trace_clear(trace *t) {
    free(t->events);
    free(t->frame_end);
    free(t->ids);
    *t = (trace){0};
}

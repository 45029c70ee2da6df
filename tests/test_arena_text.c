// Text on arenas: strdup, printf, vprintf, wherever the text begins and ends.
#include "arena_fixture.h"

#include <stdio.h>

static void strdup_copies_with_the_terminator(void) {
    arena_case self = case_open(ON_RANGE);
    char text[] = "a level";
    char *copy = fa_arena_strdup(self.arena, text);
    CHECK_STR_EQ(copy, "a level");
    memset(text, 'x', sizeof(text) - 1);
    CHECK_STR_EQ(copy, "a level");
    CHECK_EQ(fa_arena_used(self.arena), 16);
    CHECK_STR_EQ(fa_arena_strdup(self.arena, ""), "");
    CHECK_EQ(fa_arena_used(self.arena), 32);
    CHECK_STR_EQ(fa_arena_strdup(self.arena, "exactly 15 long"), "exactly 15 long");
    CHECK_EQ(fa_arena_used(self.arena), 48);
    CHECK_STR_EQ(fa_arena_strdup(self.arena, "and 16 bytes now"), "and 16 bytes now");
    CHECK_EQ(fa_arena_used(self.arena), 80);
    nothing_failed();
    case_close(&self);
}

static void null_is_refused_as_text_and_as_format(void) {
    arena_case self = case_open(ON_RANGE);
    fa_arena_alloc(self.arena, 16);
    // Hidden from the compiler, which knows that a format is never NULL.
    const char *volatile nothing = NULL;
    CHECK_NULL(fa_arena_strdup(self.arena, nothing));
    CHECK_STR_EQ(fa_last_error()->where, "text");
    failed_as(17, FA_ERR_INVALID);
    char *(*volatile print)(fa_arena *, const char *, ...) = fa_arena_printf;
    CHECK_NULL(print(self.arena, nothing));
    CHECK_STR_EQ(fa_last_error()->where, "format");
    failed_as(17, FA_ERR_INVALID);
    CHECK_EQ(fa_arena_used(self.arena), 16);
    case_close(&self);
}

static void printf_takes_exactly_what_the_text_needs(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        // The first finds no memory committed; the second fits what is free.
        for (size_t i = 1; i <= 3; i++) {
            CHECK_STR_EQ(fa_arena_printf(self.arena, "%s %d of %zu%%", "part", -7, i),
                         i == 1   ? "part -7 of 1%"
                         : i == 2 ? "part -7 of 2%"
                                  : "part -7 of 3%");
            CHECK_EQ(fa_arena_used(self.arena), 16 * i);
        }
        CHECK_STR_EQ(fa_arena_printf(self.arena, "%s", ""), "");
        CHECK_EQ(fa_arena_used(self.arena), 64);
        nothing_failed();
        case_close(&self);
    }
}

static char *print_list(fa_arena *arena, const char *format, ...) FA_PRINTF(2, 3);
static char *print_list(fa_arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = fa_arena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

static void vprintf_formats_a_list_also_when_it_must_do_so_twice(void) {
    arena_case self = case_open(ON_RANGE);
    CHECK_STR_EQ(print_list(self.arena, "%d %s %.1f", 1, "two", 3.0), "1 two 3.0");
    CHECK_STR_EQ(print_list(self.arena, "%c%c%c%ld", 'a', 'b', 'c', 123456789L), "abc123456789");
    case_close(&self);
}

// Every length against every amount of room before the end of the memory.
static void a_text_fits_or_is_refused_to_the_byte(void) {
    fa_context *ctx = context_open(NULL);
    _Alignas(16) static char memory[512];
    char want[80];
    for (size_t room = 0; room <= 64; room += 16) {
        for (size_t length = 0; length < 72; length++) {
            memset(memory, 0x7E, sizeof(memory));
            fa_arena *arena =
                arena_open(ctx, (fa_arena_desc){.memory = memory, .memory_size = 256});
            check_note("room %zu, length %zu", room, length);
            CHECK_NOT_NULL(fa_arena_alloc(arena, 256 - room));
            memset(want, 'z', length);
            want[length] = '\0';
            char *text = fa_arena_printf(arena, "%s", want);
            if (length + 1 <= room) {
                CHECK_STR_EQ(text, want);
                CHECK_EQ(text, memory + 256 - room);
                CHECK_EQ(fa_arena_used(arena), 256 - room + rounded(length + 1));
            } else {
                CHECK_NULL(text);
                refused_as(3, FA_ERR_OUT_OF_MEMORY, length + 1, 256);
                CHECK_EQ(fa_arena_used(arena), 256 - room);
            }
            CHECK(is_filled(memory, 256 - room, 0x7E) && is_filled(memory + 256, 256, 0x7E));
            fa_arena_destroy(arena);
        }
    }
    context_close(ctx);
}

static void a_text_that_does_not_fit_its_chunk_goes_to_the_next(void) {
    for (size_t room = 0; room <= 64; room += 16) {
        for (size_t length = 10; length < 90; length += 7) {
            arena_case self = case_open(ON_CHUNKS);
            char *first = fa_arena_alloc(self.arena, BACKING_CHUNK - room);
            memset(first, 0x11, BACKING_CHUNK - room);
            char *text = fa_arena_printf(self.arena, "%0*d", (int)length, 5);
            REQUIRE_NOT_NULL(text);
            check_note("room %zu, length %zu", room, length);
            CHECK_EQ(strlen(text), length);
            CHECK(is_filled(text, length - 1, '0') && text[length - 1] == '5');
            CHECK_EQ(arena_stats_of(self.arena).blocks, length + 1 <= room ? 0 : 1);
            CHECK(is_filled(first, BACKING_CHUNK - room, 0x11));
            case_close(&self);
        }
    }
}

static void a_huge_text_grows_the_arena(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        const int length = 3 * 1000 * 1000;
        fa_arena_strdup(self.arena, "before");
        char *text = fa_arena_printf(self.arena, "%*s!", length, "|");
        REQUIRE_NOT_NULL(text);
        CHECK_EQ(strlen(text), (size_t)length + 1);
        CHECK_STR_EQ(text + length - 1, "|!");
        CHECK(is_filled(text, (size_t)length - 1, ' '));
        CHECK_EQ(fa_arena_used(self.arena), 16 + rounded((size_t)length + 2));
        case_close(&self);
    }
}

static void a_text_beyond_a_limit_is_refused(void) {
    arena_case self = case_open_desc(ON_RANGE, (fa_arena_desc){.byte_limit = 64});
    char *first = fa_arena_strdup(self.arena, "first");
    CHECK_NULL(fa_arena_printf(self.arena, "%048d", 0));
    refused_as(3, FA_ERR_LIMIT, 49, 64);
    CHECK_NULL(fa_arena_strdup(self.arena, "0123456789012345678901234567890123456789012345678"));
    refused_as(3, FA_ERR_LIMIT, 50, 64);
    CHECK_EQ(fa_arena_used(self.arena), 16);
    CHECK_STR_EQ(first, "first");
    CHECK_EQ(strlen(fa_arena_printf(self.arena, "%047d", 0)), 47);
    CHECK_EQ(fa_arena_used(self.arena), 64);
    case_close(&self);
}

// The text is written to what is free before it is allocated: its arguments may lie right before
// it.
static void arguments_may_lie_in_the_same_arena(void) {
    arena_case self = case_open(ON_RANGE);
    char *text = fa_arena_strdup(self.arena, "x");
    for (int i = 0; i < 10; i++) {
        text = fa_arena_printf(self.arena, "%s%s", text, text);
    }
    CHECK_EQ(strlen(text), 1024);
    CHECK(is_filled(text, 1024, 'x'));
    case_close(&self);
}

typedef struct seen_text {
    size_t count;
    size_t size;
    const void *ptr;
} seen_text;

static void note_text(const fa_watch_event *event, void *user) {
    seen_text *seen = user;
    seen->count += 1;
    seen->size = event->size;
    seen->ptr = event->ptr;
}

static void a_watched_text_is_right_and_seen_once(void) {
    arena_case self = case_open(ON_RANGE);
    seen_text seen = {0};
    CHECK_EQ(fa_watch_set(self.context, note_text, &seen), FA_OK);
    CHECK_EQ(fa_context_checks_set(self.context, FA_CHECK_WATCH), FA_OK);
    for (size_t i = 1; i <= 3; i++) {
        char *text = fa_arena_printf(self.arena, "watched %zu", i);
        CHECK_STR_EQ(text, i == 1 ? "watched 1" : i == 2 ? "watched 2" : "watched 3");
        CHECK_EQ(seen.count, i);
        CHECK_EQ(seen.size, 10);
        CHECK_EQ(seen.ptr, text);
    }
    CHECK_STR_EQ(fa_arena_strdup(self.arena, "copied"), "copied");
    CHECK_EQ(seen.count, 4);
    CHECK_EQ(seen.size, 7);
    case_close(&self);
}

static void text_in_a_frame_that_is_over_is_refused(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_STR_EQ(fa_arena_printf(frame, "frame %d", 1), "frame 1");
    fa_frame_end(frame);
    CHECK_NULL(fa_arena_printf(frame, "frame %d", 2));
    failed_as(1, FA_ERR_NO_FRAME);
    CHECK_NULL(fa_arena_strdup(frame, "over"));
    failed_as(1, FA_ERR_NO_FRAME);
    context_close(ctx);
}

TEST_SUITE(arena_text, TEST(strdup_copies_with_the_terminator),
           TEST(null_is_refused_as_text_and_as_format),
           TEST(printf_takes_exactly_what_the_text_needs),
           TEST(vprintf_formats_a_list_also_when_it_must_do_so_twice),
           TEST(a_text_fits_or_is_refused_to_the_byte),
           TEST(a_text_that_does_not_fit_its_chunk_goes_to_the_next),
           TEST(a_huge_text_grows_the_arena), TEST(a_text_beyond_a_limit_is_refused),
           TEST(arguments_may_lie_in_the_same_arena), TEST(a_watched_text_is_right_and_seen_once),
           TEST(text_in_a_frame_that_is_over_is_refused));

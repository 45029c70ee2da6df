// Strings and views of text: appending, growth, refusals, and random operations against a plain
// array.
#include <framealloc/str.h>

#include "container_fixture.h"

#include <stdio.h>
#include <string.h>

static bool is(const fa_string *string, const char *text) {
    bool same = CHECK_STR_EQ(fa_string_cstr(string), text);
    same = CHECK_EQ(string->length, strlen(text)) && same;
    return CHECK_LE(string->length, string->capacity) && same;
}

// A string that is as long as its capacity.
static fa_string full_string(fa_arena *arena) {
    fa_string string = {0};
    CHECK_EQ(fa_string_append(arena, &string, "0"), FA_OK);
    while (string.length < string.capacity) {
        fa_string_append_char(arena, &string, (char)('0' + string.length % 10));
    }
    return string;
}

// ---- Views ----

static void views_compare_by_bytes_and_length(void) {
    CHECK_EQ(fa_str_compare(FA_STR("abc"), FA_STR("abc")), 0);
    CHECK_LT(fa_str_compare(FA_STR("abc"), FA_STR("abd")), 0);
    CHECK_GT(fa_str_compare(FA_STR("b"), FA_STR("abd")), 0);
    CHECK_LT(fa_str_compare(FA_STR("ab"), FA_STR("abc")), 0);
    CHECK_GT(fa_str_compare(FA_STR("abc"), FA_STR("")), 0);
    CHECK_GT(fa_str_compare(FA_STR("\xFF"), FA_STR("a")), 0);
    CHECK_EQ(fa_str_compare((fa_str){0}, FA_STR("")), 0);
    CHECK(fa_str_equals(FA_STR("a\0b"), fa_str_make("a\0bc", 3)));
    CHECK(!fa_str_equals(FA_STR("a\0b"), FA_STR("a\0c")));
    CHECK(!fa_str_equals(FA_STR("ab"), FA_STR("abc")));
    CHECK(fa_str_equals((fa_str){0}, FA_STR("")));
    CHECK(fa_str_equals(fa_str_from("text"), FA_STR("text")));
    CHECK(fa_str_equals(fa_str_from(NULL), FA_STR("")));
}

static void starts_and_ends_are_found(void) {
    fa_str path = FA_STR("maps/level.map");
    CHECK(fa_str_starts_with(path, FA_STR("maps/")));
    CHECK(fa_str_starts_with(path, FA_STR("")));
    CHECK(fa_str_starts_with(path, path));
    CHECK(!fa_str_starts_with(path, FA_STR("map/")));
    CHECK(!fa_str_starts_with(fa_str_make(path.data, 4), path));
    CHECK(fa_str_ends_with(path, FA_STR(".map")));
    CHECK(fa_str_ends_with(path, path));
    CHECK(fa_str_ends_with((fa_str){0}, (fa_str){0}));
    CHECK(!fa_str_ends_with(path, FA_STR(".mat")));
    CHECK(!fa_str_ends_with(fa_str_make(path.data + 11, 3), FA_STR(".map")));
}

static void find_returns_the_first_from_a_position_on(void) {
    fa_str text = FA_STR("abracadabra");
    CHECK_EQ(fa_str_find(text, FA_STR("abra"), 0), 0);
    CHECK_EQ(fa_str_find(text, FA_STR("abra"), 1), 7);
    CHECK_EQ(fa_str_find(text, FA_STR("abra"), 8), FA_STR_NOT_FOUND);
    CHECK_EQ(fa_str_find(text, FA_STR("cad"), 0), 4);
    CHECK_EQ(fa_str_find(text, FA_STR("cab"), 0), FA_STR_NOT_FOUND);
    CHECK_EQ(fa_str_find(text, FA_STR(""), 11), 11);
    CHECK_EQ(fa_str_find(text, FA_STR(""), 12), FA_STR_NOT_FOUND);
    CHECK_EQ(fa_str_find(text, FA_STR("a"), SIZE_MAX), FA_STR_NOT_FOUND);
    CHECK_EQ(fa_str_find((fa_str){0}, FA_STR("a"), 0), FA_STR_NOT_FOUND);
    CHECK_EQ(fa_str_find((fa_str){0}, (fa_str){0}, 0), 0);
    CHECK_EQ(fa_str_find(FA_STR("aab"), FA_STR("ab"), 0), 1);
}

static size_t slow_find(const char *text, size_t length, const char *needle, size_t size,
                        size_t from) {
    for (size_t i = from; i + size <= length; i++) {
        if (memcmp(text + i, needle, size) == 0) {
            return i;
        }
    }
    return FA_STR_NOT_FOUND;
}

static void find_agrees_with_trying_every_position(void) {
    check_rng rng = check_rng_make(check_seed());
    for (size_t round = check_scale(200000); round > 0; round--) {
        char text[24];
        char needle[4];
        for (size_t i = 0; i < sizeof(text); i++) {
            text[i] = (char)('a' + check_rng_below(&rng, 2));
        }
        for (size_t i = 0; i < sizeof(needle); i++) {
            needle[i] = (char)('a' + check_rng_below(&rng, 2));
        }
        size_t length = check_rng_between(&rng, 0, sizeof(text));
        size_t size = check_rng_between(&rng, 1, sizeof(needle));
        size_t from = check_rng_between(&rng, 0, sizeof(text));
        size_t found = fa_str_find(fa_str_make(text, length), fa_str_make(needle, size), from);
        if (!CHECK_EQ(found, slow_find(text, length, needle, size, from))) {
            break;
        }
    }
}

static void sub_views_share_the_bytes_and_are_checked(void) {
    fa_last_error_clear();
    fa_str text = FA_STR("hello");
    CHECK(fa_str_equals(fa_str_sub(text, 1, 3), FA_STR("ell")));
    CHECK_EQ(fa_str_sub(text, 1, 3).data, text.data + 1);
    CHECK_EQ(fa_str_sub(text, 5, 0).length, 0);
    CHECK_EQ(fa_str_sub((fa_str){0}, 0, 0).length, 0);
    nothing_failed();
    fa_str bad = fa_str_sub(text, 3, 3);
    CHECK_NULL(bad.data);
    CHECK_EQ(bad.length, 0);
    CHECK_STR_HAS(fa_last_error()->text, "str [3, 6)");
    failed_with(15, FA_ERR_INVALID, 6, 5);
    CHECK_NULL(fa_str_sub(text, 6, 0).data);
    failed_with(15, FA_ERR_INVALID, 6, 5);
    CHECK_NULL(fa_str_sub(text, SIZE_MAX, 2).data);
    failed_with(15, FA_ERR_INVALID, SIZE_MAX, 5);
    CHECK_NULL(fa_str_sub(text, 2, SIZE_MAX).data);
    failed_with(15, FA_ERR_INVALID, SIZE_MAX, 5);
}

static void dup_makes_a_terminated_copy(void) {
    fixture fix = fixture_open();
    void *used_before = fa_arena_alloc(fix.arena, 64);
    REQUIRE_NOT_NULL(used_before);
    memset(used_before, '#', 64);
    fa_arena_reset(fix.arena);
    char *copy = fa_str_dup(fix.arena, fa_str_make("hello world", 5));
    CHECK_STR_EQ(copy, "hello");
    CHECK_STR_EQ(fa_str_dup(fix.arena, (fa_str){0}), "");
    nothing_failed();
    CHECK_NULL(fa_str_dup(fix.arena, fa_str_make("x", SIZE_MAX)));
    CHECK_EQ(fa_last_error()->code, 13);
    CHECK_EQ((int)fa_last_error()->result, FA_ERR_OVERFLOW);
    fixture_close(&fix);
}

// ---- Appending ----

static void zero_initialised_is_an_empty_text(void) {
    fixture fix = fixture_open();
    fa_string string = {0};
    is(&string, "");
    CHECK(fa_string_equals(&string, ""));
    CHECK(!fa_string_equals(&string, "a"));
    CHECK(!fa_string_equals(&string, NULL));
    CHECK_EQ(fa_string_view(&string).length, 0);
    fa_string_clear(&string);
    CHECK_EQ(fa_string_truncate(&string, 0), FA_OK);
    CHECK_EQ(fa_string_append(fix.arena, &string, ""), FA_OK);
    CHECK_EQ(fa_string_append_printf(fix.arena, &string, "%s", ""), FA_OK);
    CHECK_EQ(fa_string_append_bytes(fix.arena, &string, NULL, 0), FA_OK);
    CHECK_EQ(fa_string_append_str(fix.arena, &string, (fa_str){0}), FA_OK);
    is(&string, "");
    nothing_failed();
    fixture_close(&fix);
}

static void everything_appends_at_the_end(void) {
    fixture fix = fixture_open();
    fa_string string = {0};
    fa_string other = {0};
    CHECK_EQ(fa_string_append(fix.arena, &other, " other"), FA_OK);
    CHECK_EQ(fa_string_append(fix.arena, &string, "text"), FA_OK);
    CHECK_EQ(fa_string_append_char(fix.arena, &string, ','), FA_OK);
    CHECK_EQ(fa_string_append_str(fix.arena, &string, FA_STR(" view,")), FA_OK);
    CHECK_EQ(fa_string_append_printf(fix.arena, &string, " %d %s", 12, "formatted,"), FA_OK);
    CHECK_EQ(fa_string_append_str(fix.arena, &string, fa_string_view(&other)), FA_OK);
    is(&string, "text, view, 12 formatted, other");
    CHECK(fa_string_equals(&string, "text, view, 12 formatted, other"));
    CHECK_EQ(fa_string_append_bytes(fix.arena, &string, "\0b", 2), FA_OK);
    CHECK_EQ(string.length, 33);
    CHECK_EQ(string.data[31], 0);
    CHECK_EQ(string.data[32], 'b');
    CHECK_EQ(string.data[33], 0);
    fixture_close(&fix);
}

static void a_string_is_terminated_after_every_step(void) {
    fixture fix = fixture_open();
    fa_string string = {0};
    for (size_t i = 0; i < 300; i++) {
        fa_string_append_char(fix.arena, &string, (char)('a' + i % 26));
        if (string.capacity > string.length) {
            // Whatever was behind the terminator must not show.
            memset(string.data + string.length + 1, '#', string.capacity - string.length);
        }
        CHECK_EQ(string.data[string.length], 0);
        CHECK_EQ(strlen(string.data), i + 1);
    }
    CHECK_EQ(fa_string_truncate(&string, 5), FA_OK);
    is(&string, "abcde");
    fa_string_clear(&string);
    is(&string, "");
    CHECK_GE(string.capacity, 300);
    fixture_close(&fix);
}

static void printf_appends_texts_of_any_length(void) {
    fixture fix = fixture_open();
    static char want[3000];
    for (int width = 1; width < 2500; width = width * 5 / 4 + 1) {
        fa_string string = {0};
        CHECK_EQ(fa_string_append(fix.arena, &string, "["), FA_OK);
        CHECK_EQ(fa_string_append_printf(fix.arena, &string, "%*d]", width, 7), FA_OK);
        snprintf(want, sizeof(want), "[%*d]", width, 7);
        is(&string, want);
    }
    fixture_close(&fix);
}

static void reserved_capacity_is_enough_for_that_many_bytes(void) {
    fixture fix = fixture_open();
    for (size_t capacity = 1; capacity < 100; capacity++) {
        fa_string string = {0};
        CHECK_EQ(fa_string_reserve(fix.arena, &string, capacity), FA_OK);
        CHECK_EQ(string.capacity, capacity);
        CHECK_STR_EQ(string.data, "");
        size_t used = fa_arena_used(fix.arena);
        CHECK_EQ(fa_string_append_printf(fix.arena, &string, "%*s", (int)capacity, "."), FA_OK);
        CHECK_EQ(string.length, capacity);
        CHECK_EQ(fa_arena_used(fix.arena), used);
        CHECK_EQ(fa_string_reserve(fix.arena, &string, capacity - 1), FA_OK);
        CHECK_EQ(string.capacity, capacity);
    }
    fixture_close(&fix);
}

static void growth_at_the_end_of_the_arena_is_in_place(void) {
    fixture fix = fixture_open();
    size_t before = fa_arena_used(fix.arena);
    fa_string string = {0};
    fa_string_append_char(fix.arena, &string, 'x');
    const char *first = string.data;
    for (size_t i = 0; i < 2000; i++) {
        fa_string_append(fix.arena, &string, "abc");
    }
    CHECK_EQ(string.data, first);
    CHECK_EQ(fa_arena_used(fix.arena) - before, string.capacity + 2);
    CHECK_LE(string.capacity, 2 * 6001 + 32);
    fixture_close(&fix);
}

static void growth_before_another_block_moves_and_doubles(void) {
    fixture fix = fixture_open();
    fa_string string = full_string(fix.arena);
    CHECK_EQ(string.capacity, 30);
    CHECK_NOT_NULL(fa_arena_alloc(fix.arena, 1));
    const char *old = string.data;
    CHECK_EQ(fa_string_append_char(fix.arena, &string, '!'), FA_OK);
    CHECK_NE(string.data, old);
    CHECK_EQ(string.capacity, 62);
    is(&string, "012345678901234567890123456789!");
    fixture_close(&fix);
}

static void own_text_may_be_appended(void) {
    fixture fix = fixture_open();
    for (int in_place = 0; in_place < 2; in_place++) {
        for (int way = 0; way < 4; way++) {
            fa_string string = full_string(fix.arena);
            if (in_place == 0) {
                CHECK_NOT_NULL(fa_arena_alloc(fix.arena, 1));
            }
            char want[200];
            const char *text = string.data;
            snprintf(want, sizeof(want), "%s%s", text, way == 2 ? text + 7 : text);
            fa_result result = FA_OK;
            switch (way) {
            case 0:
                result = fa_string_append(fix.arena, &string, text);
                break;
            case 1:
                result = fa_string_append_str(fix.arena, &string, fa_string_view(&string));
                break;
            case 2:
                result = fa_string_append(fix.arena, &string, text + 7);
                break;
            default:
                result = fa_string_append_printf(fix.arena, &string, "%s", text);
            }
            CHECK_EQ(result, FA_OK);
            is(&string, want);
        }
    }
    fixture_close(&fix);
}

static void own_text_may_be_formatted_without_growth(void) {
    fixture fix = fixture_open();
    fa_string string = {0};
    CHECK_EQ(fa_string_reserve(fix.arena, &string, 200), FA_OK);
    CHECK_EQ(fa_string_append(fix.arena, &string, "abc"), FA_OK);
    CHECK_EQ(fa_string_append_printf(fix.arena, &string, "<%s|%s>", string.data, string.data + 1),
             FA_OK);
    is(&string, "abc<abc|bc>");
    fixture_close(&fix);
}

static void truncate_refuses_to_lengthen(void) {
    fixture fix = fixture_open();
    fa_string string = {0};
    CHECK_EQ(fa_string_append(fix.arena, &string, "four"), FA_OK);
    CHECK_EQ(fa_string_truncate(&string, 5), FA_ERR_INVALID);
    failed_with(15, FA_ERR_INVALID, 5, 4);
    is(&string, "four");
    CHECK_EQ(fa_string_truncate(&string, 4), FA_OK);
    is(&string, "four");
    fixture_close(&fix);
}

// ---- Refusals ----

static fa_result append_formatted(fa_arena *arena, fa_string *string, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fa_result result = fa_string_append_vprintf(arena, string, format, args);
    va_end(args);
    return result;
}

static void null_texts_are_refused(void) {
    fixture fix = fixture_open();
    fa_string string = {0};
    CHECK_EQ(fa_string_append(fix.arena, &string, NULL), FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "text");
    CHECK_EQ(fa_string_append_bytes(fix.arena, &string, NULL, 3), FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "bytes");
    CHECK_EQ(append_formatted(fix.arena, &string, NULL), FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "format");
    is(&string, "");
    fixture_close(&fix);
}

static void lengths_that_overflow_are_refused(void) {
    fixture fix = fixture_open();
    fa_string string = {0};
    CHECK_EQ(fa_string_append(fix.arena, &string, "four"), FA_OK);
    const fa_string before = string;
    const size_t used = fa_arena_used(fix.arena);
    const size_t max = SIZE_MAX / 2 - 2;
    const size_t lengths[] = {max + 1, SIZE_MAX - 5, SIZE_MAX - 4, SIZE_MAX - 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        CHECK_EQ(fa_string_reserve(fix.arena, &string, lengths[i]), FA_ERR_OVERFLOW);
        failed_with(13, FA_ERR_OVERFLOW, lengths[i], max);
        CHECK_EQ(fa_string_append_bytes(fix.arena, &string, "x", lengths[i]), FA_ERR_OVERFLOW);
        size_t asked = lengths[i] > SIZE_MAX - 4 ? SIZE_MAX : lengths[i] + 4;
        failed_with(13, FA_ERR_OVERFLOW, asked, max);
    }
    CHECK_LT((int)fa_string_reserve(fix.arena, &string, max), 0);
    CHECK_MEM_EQ(&string, &before, sizeof(string));
    is(&string, "four");
    CHECK_EQ(fa_arena_used(fix.arena), used);
    fixture_close(&fix);
}

static fa_result growing_step(fa_arena *arena, fa_string *string, unsigned step) {
    switch (step % 5) {
    case 0:
        return fa_string_append(arena, string, "some text");
    case 1:
        return fa_string_append_printf(arena, string, "%07u", step);
    case 2:
        return fa_string_append_char(arena, string, 'c');
    case 3:
        return fa_string_append_str(arena, string, fa_string_view(string));
    default:
        return fa_string_reserve(arena, string, string->capacity + 1);
    }
}

static void fill_until_refused(void *memory, size_t size, bool in_place, unsigned first) {
    fixture fix = fixture_open_memory(memory, size);
    fa_string string = {0};
    unsigned refusals = 0;
    for (unsigned step = first; refusals < 10; step++) {
        if (!in_place && step % 3 == 0) {
            fa_arena_alloc(fix.arena, 1);
        }
        char copy[2048];
        REQUIRE_LT(string.length, sizeof(copy));
        memcpy(copy, fa_string_cstr(&string), string.length + 1);
        const fa_string before = string;
        const size_t used = fa_arena_used(fix.arena);
        fa_result result = growing_step(fix.arena, &string, step);
        if (result == FA_OK) {
            continue;
        }
        refusals++;
        CHECK_EQ(fa_last_error()->code, 3);
        CHECK_EQ((int)fa_last_error()->result, (int)result);
        CHECK_MEM_EQ(&string, &before, sizeof(string));
        CHECK_EQ(fa_arena_used(fix.arena), used);
        is(&string, copy);
    }
    CHECK_NULL(fa_str_dup(fix.arena, fa_str_make("x", size)));
    fixture_close(&fix);
}

static void a_refused_growth_changes_nothing(void) {
    static _Alignas(16) unsigned char memory[1024];
    for (size_t size = 16; size <= sizeof(memory); size += 16) {
        for (unsigned first = 0; first < 5; first++) {
            check_note("%zu bytes, from step %u", size, first);
            fill_until_refused(memory, size, true, first);
            fill_until_refused(memory, size, false, first);
        }
    }
}

// ---- Random operations against a plain array ----

#define MODEL_MAX 4096

typedef struct model {
    char bytes[MODEL_MAX];
    size_t length;
} model;

static void model_append(model *plain, const char *bytes, size_t length) {
    memmove(plain->bytes + plain->length, bytes, length);
    plain->length += length;
}

static void random_append(check_rng *rng, fa_arena *arena, fa_string *string, model *plain) {
    char text[64];
    size_t length = check_rng_below(rng, sizeof(text));
    for (size_t i = 0; i < length; i++) {
        text[i] = (char)check_rng_between(rng, 1, 127);
    }
    text[length] = '\0';
    size_t from = check_rng_between(rng, 0, plain->length);
    size_t own = check_rng_between(rng, 0, plain->length - from);
    switch (check_rng_below(rng, 6)) {
    case 0:
        CHECK_EQ(fa_string_append(arena, string, text), FA_OK);
        model_append(plain, text, length);
        break;
    case 1:
        CHECK_EQ(fa_string_append_char(arena, string, text[0]), FA_OK);
        model_append(plain, text, 1);
        break;
    case 2:
        CHECK_EQ(fa_string_append_printf(arena, string, "%s", text), FA_OK);
        model_append(plain, text, length);
        break;
    case 3: {
        fa_str part = fa_str_sub(fa_string_view(string), from, own);
        CHECK_EQ(fa_string_append_str(arena, string, part), FA_OK);
        model_append(plain, plain->bytes + from, own);
        break;
    }
    case 4:
        CHECK_EQ(fa_string_reserve(arena, string, check_rng_below(rng, MODEL_MAX)), FA_OK);
        break;
    default:
        CHECK_EQ(fa_string_append_bytes(arena, string, text, length + 1), FA_OK);
        model_append(plain, text, length + 1);
    }
}

static bool agrees(const fa_string *string, const model *plain) {
    return CHECK_EQ(string->length, plain->length) && CHECK_LE(string->length, string->capacity) &&
           CHECK_EQ(fa_string_cstr(string)[plain->length], 0) &&
           CHECK_MEM_EQ(fa_string_cstr(string), plain->bytes, plain->length);
}

static void random_operations_agree_with_a_plain_array(void) {
    fixture fix = fixture_open();
    check_rng rng = check_rng_make(check_seed());
    static model plain;
    plain.length = 0;
    fa_string string = {0};
    size_t steps = check_scale(1500000);
    for (size_t step = 0; step < steps; step++) {
        check_note("step %zu", step);
        if (plain.length < MODEL_MAX / 4 && check_rng_chance(&rng, 80)) {
            random_append(&rng, fix.arena, &string, &plain);
        } else {
            plain.length = check_rng_between(&rng, 0, plain.length);
            CHECK_EQ(fa_string_truncate(&string, plain.length), FA_OK);
        }
        if (check_rng_chance(&rng, 10)) {
            fa_arena_alloc(fix.arena, 1);
        }
        if (!agrees(&string, &plain)) {
            break;
        }
        if (check_rng_below(&rng, 200) == 0) {
            fa_arena_reset(fix.arena);
            string = (fa_string){0};
            plain.length = 0;
        }
    }
    fixture_close(&fix);
}

TEST_SUITE(str, TEST(views_compare_by_bytes_and_length), TEST(starts_and_ends_are_found),
           TEST(find_returns_the_first_from_a_position_on),
           TEST(find_agrees_with_trying_every_position),
           TEST(sub_views_share_the_bytes_and_are_checked), TEST(dup_makes_a_terminated_copy),
           TEST(zero_initialised_is_an_empty_text), TEST(everything_appends_at_the_end),
           TEST(a_string_is_terminated_after_every_step), TEST(printf_appends_texts_of_any_length),
           TEST(reserved_capacity_is_enough_for_that_many_bytes),
           TEST(growth_at_the_end_of_the_arena_is_in_place),
           TEST(growth_before_another_block_moves_and_doubles), TEST(own_text_may_be_appended),
           TEST(own_text_may_be_formatted_without_growth), TEST(truncate_refuses_to_lengthen),
           TEST(null_texts_are_refused), TEST(lengths_that_overflow_are_refused),
           TEST(a_refused_growth_changes_nothing),
           TEST(random_operations_agree_with_a_plain_array));

// The containers as C++ sees them: the same calls, compiled as C++17, where macros become templates
// or build their arguments differently.
#include <framealloc/map.h>
#include <framealloc/span.h>
#include <framealloc/str.h>
#include <framealloc/vec.h>

#include "container_fixture.h"

namespace {

struct point {
    float x;
    float y;
};

struct alignas(64) wide {
    unsigned char bytes[64];
};

typedef FA_VEC(int) int_vec;
typedef FA_VEC(point) point_vec;
typedef FA_SPAN(int) int_span;
typedef FA_SPAN(const int) const_int_span;
typedef FA_MAP(uint32_t, point) point_map;
typedef FA_MAP(const char *, int) text_map;

unsigned calls;

template <typename T> T counted(T value) {
    calls++;
    return value;
}

bool called(unsigned want) {
    unsigned were = calls;
    calls = 0;
    return CHECK_EQ(were, want);
}

void vectors_grow_and_shrink(void) {
    fixture fix = fixture_open();
    int_vec vec = {};
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ((int)fa_vec_push(fix.arena, &vec, i), FA_OK);
    }
    CHECK_EQ(vec.count, 1000u);
    CHECK_EQ(*fa_vec_at(&vec, 999), 999);
    CHECK_EQ(*fa_vec_last(&vec), 999);
    const int_vec *view = &vec;
    CHECK_EQ(*fa_vec_at(view, 1), 1);
    int out = 0;
    CHECK(fa_vec_pop(&vec, &out));
    CHECK_EQ(out, 999);
    CHECK(fa_vec_pop(&vec, nullptr));
    CHECK_EQ((int)fa_vec_remove(&vec, 0), FA_OK);
    CHECK_EQ((int)fa_vec_remove_swap(&vec, 0), FA_OK);
    CHECK_EQ(vec.data[0], 997);
    CHECK_EQ((int)fa_vec_insert(fix.arena, &vec, 0, 5), FA_OK);
    CHECK_EQ(vec.data[0], 5);
    CHECK_EQ((int)fa_vec_extend(fix.arena, &vec, vec.data, 2), FA_OK);
    CHECK_EQ(*fa_vec_last(&vec), 997);
    CHECK_EQ((int)fa_vec_resize(fix.arena, &vec, 3), FA_OK);
    CHECK_EQ((int)fa_vec_reserve(fix.arena, &vec, 5000), FA_OK);
    CHECK_EQ(vec.capacity, 5000u);
    CHECK_EQ((int)fa_vec_reserve(fix.arena, &vec, SIZE_MAX), FA_ERR_OVERFLOW);
    CHECK_NULL(fa_vec_at(&vec, 3));
    CHECK_EQ(fa_last_error()->code, 15);
    fa_vec_clear(&vec);
    CHECK_EQ(vec.count, 0u);
    fixture_close(&fix);
}

void values_may_be_braced_converted_and_their_own(void) {
    fixture fix = fixture_open();
    point_vec points = {};
    CHECK_EQ((int)fa_vec_push(fix.arena, &points, {1.0F, 2.0F}), FA_OK);
    CHECK_EQ((int)fa_vec_push(fix.arena, &points, point{3.0F, 4.0F}), FA_OK);
    CHECK_EQ((int)fa_vec_insert(fix.arena, &points, 0, {5.0F, 6.0F}), FA_OK);
    while (points.count < points.capacity) {
        CHECK_EQ((int)fa_vec_push(fix.arena, &points, points.data[0]), FA_OK);
    }
    CHECK_NOT_NULL(fa_arena_alloc(fix.arena, 1));
    CHECK_EQ((int)fa_vec_push(fix.arena, &points, points.data[1]), FA_OK);
    CHECK_EQ(fa_vec_last(&points)->y, 2.0F);
    CHECK_EQ(points.data[0].x, 5.0F);
    typedef FA_VEC(double) double_vec;
    double_vec numbers = {};
    CHECK_EQ((int)fa_vec_push(fix.arena, &numbers, 3), FA_OK);
    CHECK_EQ(numbers.data[0], 3.0);
    typedef FA_VEC(const char *) name_vec;
    name_vec names = {};
    CHECK_EQ((int)fa_vec_push(fix.arena, &names, "a name"), FA_OK);
    CHECK_EQ((int)fa_vec_push(fix.arena, &names, nullptr), FA_OK);
    CHECK_STR_EQ(names.data[0], "a name");
    CHECK_NULL(names.data[1]);
    fixture_close(&fix);
}

void over_aligned_elements_stay_aligned(void) {
    fixture fix = fixture_open();
    typedef FA_VEC(wide) wide_vec;
    wide_vec vec = {};
    for (unsigned i = 0; i < 50; i++) {
        CHECK_NOT_NULL(fa_arena_alloc(fix.arena, 16));
        CHECK_EQ((int)fa_vec_push(fix.arena, &vec, wide{}), FA_OK);
        CHECK_EQ(reinterpret_cast<uintptr_t>(vec.data) % 64, 0u);
    }
    fixture_close(&fix);
}

void spans_view_without_copying(void) {
    fixture fix = fixture_open();
    int numbers[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    int_span span = fa_span_of_array(int_span, numbers);
    const_int_span view = fa_span_make(const_int_span, numbers, 10u);
    CHECK_EQ(fa_span_at(span, 3), &numbers[3]);
    CHECK_EQ(fa_span_at(view, 9), &numbers[9]);
    CHECK_EQ(fa_span_sub(span, 2, 3).data, &numbers[2]);
    CHECK_EQ(fa_span_first(view, 4).count, 4u);
    CHECK_EQ(fa_span_last(fa_span_first(span, 8), 5).data, &numbers[3]);
    CHECK_NULL(fa_span_at(span, 10));
    CHECK_EQ(fa_last_error()->code, 15);
    CHECK_NULL(fa_span_sub(span, 8, 3).data);
    CHECK_STR_HAS(fa_last_error()->text, "span [8, 11)");
    CHECK_NULL(fa_span_last(view, 11).data);
    int_vec vec = {};
    CHECK_EQ((int)fa_vec_extend(fix.arena, &vec, numbers, 10), FA_OK);
    CHECK_EQ(fa_span_of_vec(const_int_span, &vec).data, vec.data);
    fixture_close(&fix);
}

void maps_find_by_number_and_by_text(void) {
    fixture fix = fixture_open();
    point_map points = {};
    for (uint32_t i = 0; i < 500; i++) {
        CHECK_EQ((int)fa_map_put(fix.arena, &points, i, {float(i), 0.0F}), FA_OK);
    }
    CHECK_EQ(fa_map_get(&points, 77)->x, 77.0F);
    CHECK(fa_map_contains(&points, 499));
    CHECK(fa_map_remove(&points, 499));
    CHECK(!fa_map_contains(&points, 499));
    CHECK_EQ(points.entries[498].key, 498u);
    text_map counts = {};
    char word[] = "be";
    CHECK_EQ((int)fa_map_put(fix.arena, &counts, "be", 1), FA_OK);
    (*fa_map_get_or_insert(fix.arena, &counts, word))++;
    CHECK_EQ(counts.count, 1u);
    CHECK_EQ(*fa_map_get(&counts, "be"), 2);
    typedef FA_MAP(fa_str, int) str_map;
    str_map strs = {};
    CHECK_EQ((int)fa_map_put(fix.arena, &strs, FA_STR("key"), 1), FA_OK);
    CHECK(fa_map_contains(&strs, fa_str_make("keys", 3)));
    CHECK_EQ((int)fa_map_reserve(fix.arena, &strs, 100), FA_OK);
    CHECK_GE(strs.capacity, 100u);
    fa_map_clear(&strs);
    CHECK(!fa_map_contains(&strs, FA_STR("key")));
    fixture_close(&fix);
}

void strings_append(void) {
    fixture fix = fixture_open();
    fa_string string = {};
    CHECK_EQ((int)fa_string_append(fix.arena, &string, "a"), FA_OK);
    CHECK_EQ((int)fa_string_append_str(fix.arena, &string, FA_STR("b")), FA_OK);
    CHECK_EQ((int)fa_string_append_printf(fix.arena, &string, "%d", 12), FA_OK);
    CHECK_STR_EQ(fa_string_cstr(&string), "ab12");
    CHECK(fa_str_starts_with(fa_string_view(&string), FA_STR("ab")));
    fixture_close(&fix);
}

void arguments_are_evaluated_once(void) {
    fixture fix = fixture_open();
    int_vec vec = {};
    text_map map = {};
    int_span span = {};
    calls = 0;
    fa_vec_push(counted(fix.arena), counted(&vec), counted(1));
    called(3);
    fa_vec_insert(counted(fix.arena), counted(&vec), counted(size_t(0)), counted(1));
    called(4);
    fa_vec_extend(counted(fix.arena), counted(&vec), counted(vec.data), counted(size_t(1)));
    called(4);
    fa_vec_resize(counted(fix.arena), counted(&vec), counted(size_t(9)));
    called(3);
    CHECK_NOT_NULL(fa_vec_at(counted(&vec), counted(size_t(1))));
    called(2);
    CHECK_NOT_NULL(fa_vec_last(counted(&vec)));
    called(1);
    fa_vec_remove(counted(&vec), counted(size_t(1)));
    called(2);
    fa_vec_pop(counted(&vec), counted(vec.data));
    called(2);
    fa_map_put(counted(fix.arena), counted(&map), counted("key"), counted(1));
    called(4);
    CHECK_NOT_NULL(fa_map_get(counted(&map), counted("key")));
    called(2);
    CHECK_NOT_NULL(fa_map_get_or_insert(counted(fix.arena), counted(&map), counted("key")));
    called(3);
    CHECK(fa_map_remove(counted(&map), counted("key")));
    called(2);
    span = fa_span_of_vec(int_span, counted(&vec));
    called(1);
    CHECK_EQ(fa_span_sub(counted(span), counted(size_t(1)), counted(size_t(2))).count, 2u);
    called(3);
    CHECK_NOT_NULL(fa_span_at(counted(span), counted(size_t(1))));
    called(2);
    fixture_close(&fix);
}

} // namespace

TEST_SUITE(containers_cpp, TEST(vectors_grow_and_shrink),
           TEST(values_may_be_braced_converted_and_their_own),
           TEST(over_aligned_elements_stay_aligned), TEST(spans_view_without_copying),
           TEST(maps_find_by_number_and_by_text), TEST(strings_append),
           TEST(arguments_are_evaluated_once));

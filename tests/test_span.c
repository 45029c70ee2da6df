// Spans: checked access, sub-views without copying, and every way a range can be wrong.
#include <framealloc/span.h>
#include <framealloc/vec.h>

#include "container_fixture.h"

#include <string.h>

typedef FA_SPAN(int) int_span;
typedef FA_SPAN(const int) const_int_span;
typedef FA_VEC(int) int_vec;

static int numbers[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

static int_span all_numbers(void) {
    return fa_span_of_array(int_span, numbers);
}

// The result of a refused view: empty, nowhere, with this range in the text.
static void is_refused(int_span span, const char *range, size_t end, size_t limit) {
    CHECK_NULL(span.data);
    CHECK_EQ(span.count, 0);
    CHECK_STR_HAS(fa_last_error()->text, range);
    CHECK_STR_EQ(fa_last_error()->where, range);
    failed_with(15, FA_ERR_INVALID, end, limit);
}

static void zero_initialised_is_an_empty_span(void) {
    fa_last_error_clear();
    int_span span = {0};
    int_span part = fa_span_sub(span, 0, 0);
    CHECK_NULL(part.data);
    CHECK_EQ(part.count, 0);
    CHECK_EQ(fa_span_first(span, 0).count, 0);
    CHECK_EQ(fa_span_last(span, 0).count, 0);
    nothing_failed();
    CHECK_NULL(fa_span_at(span, 0));
    failed_with(15, FA_ERR_INVALID, 0, 0);
}

static void at_points_at_elements(void) {
    fa_last_error_clear();
    int_span span = all_numbers();
    const_int_span view = fa_span_make(const_int_span, numbers, 10);
    const int_span fixed = span;
    for (size_t i = 0; i < 10; i++) {
        CHECK_EQ(fa_span_at(span, i), &numbers[i]);
        CHECK_EQ(fa_span_at(view, i), &numbers[i]);
        CHECK_EQ(fa_span_at(fixed, i), &numbers[i]);
    }
    *fa_span_at(span, 4) = 44;
    CHECK_EQ(numbers[4], 44);
    numbers[4] = 4;
    nothing_failed();
}

static void at_refuses_an_index_beyond_the_end(void) {
    int_span span = all_numbers();
    CHECK_NULL(fa_span_at(span, 10));
    CHECK_STR_HAS(fa_last_error()->text, "FA015");
    failed_with(15, FA_ERR_INVALID, 10, 10);
    CHECK_NULL(fa_span_at(span, SIZE_MAX));
    failed_with(15, FA_ERR_INVALID, SIZE_MAX, 10);
}

static void sub_views_share_the_elements(void) {
    fa_last_error_clear();
    int_span span = all_numbers();
    int_span part = fa_span_sub(span, 3, 4);
    CHECK_EQ(part.data, &numbers[3]);
    CHECK_EQ(part.count, 4);
    CHECK_EQ(fa_span_first(span, 2).data, &numbers[0]);
    CHECK_EQ(fa_span_first(span, 2).count, 2);
    CHECK_EQ(fa_span_last(span, 2).data, &numbers[8]);
    CHECK_EQ(fa_span_last(span, 2).count, 2);
    const int_span fixed = span;
    CHECK_EQ(fa_span_sub(fixed, 1, 1).data, &numbers[1]);
    CHECK_EQ(fa_span_last(fixed, 1).data, &numbers[9]);
    // Of a view of a view, without names for the steps.
    const int *found = fa_span_at(fa_span_sub(fa_span_last(fa_span_first(span, 8), 5), 1, 2), 1);
    CHECK_EQ(found, &numbers[5]);
    nothing_failed();
}

static void a_view_may_be_empty_and_may_be_all(void) {
    fa_last_error_clear();
    int_span span = all_numbers();
    CHECK_EQ(fa_span_sub(span, 0, 10).count, 10);
    CHECK_EQ(fa_span_sub(span, 10, 0).data, &numbers[0] + 10);
    CHECK_EQ(fa_span_sub(span, 5, 0).data, &numbers[5]);
    CHECK_EQ(fa_span_first(span, 10).count, 10);
    CHECK_EQ(fa_span_last(span, 10).data, &numbers[0]);
    CHECK_EQ(fa_span_last(span, 0).count, 0);
    nothing_failed();
}

static void ranges_beyond_the_end_are_refused_and_named(void) {
    int_span span = all_numbers();
    is_refused(fa_span_sub(span, 8, 3), "span [8, 11)", 11, 10);
    is_refused(fa_span_sub(span, 11, 0), "span [11, 11)", 11, 10);
    is_refused(fa_span_sub(span, 0, 11), "span [0, 11)", 11, 10);
    is_refused(fa_span_first(span, 12), "span [0, 12)", 12, 10);
    is_refused(fa_span_last(span, 12), "span [0, 12)", 12, 10);
}

static void ranges_that_wrap_round_are_refused(void) {
    int_span span = all_numbers();
    const size_t pairs[][2] = {{SIZE_MAX, 1},     {SIZE_MAX, SIZE_MAX}, {1, SIZE_MAX},
                               {SIZE_MAX - 4, 9}, {SIZE_MAX / 4, 1},    {5, SIZE_MAX - 4}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        int_span part = fa_span_sub(span, pairs[i][0], pairs[i][1]);
        CHECK_NULL(part.data);
        CHECK_EQ(part.count, 0);
        size_t end = pairs[i][1] > SIZE_MAX - pairs[i][0] ? SIZE_MAX : pairs[i][0] + pairs[i][1];
        failed_with(15, FA_ERR_INVALID, end, 10);
    }
    CHECK_NULL(fa_span_last(span, SIZE_MAX).data);
    failed_with(15, FA_ERR_INVALID, SIZE_MAX, 10);
}

static void every_small_range_is_judged_rightly(void) {
    for (size_t size = 0; size <= 6; size++) {
        int_span span = fa_span_make(int_span, numbers, size);
        for (size_t first = 0; first <= 8; first++) {
            for (size_t count = 0; count <= 8; count++) {
                int_span part = fa_span_sub(span, first, count);
                bool is_inside = first + count <= size;
                CHECK_EQ(part.data, is_inside ? &numbers[first] : NULL);
                CHECK_EQ(part.count, is_inside ? count : 0);
            }
        }
    }
    fa_last_error_clear();
}

static void spans_are_made_from_arrays_and_vectors(void) {
    fixture fix = fixture_open();
    static const int constants[] = {5, 6, 7};
    const_int_span three = fa_span_of_array(const_int_span, constants);
    CHECK_EQ(three.data, constants);
    CHECK_EQ(three.count, 3);
    int_vec vec = {0};
    int_span none = fa_span_of_vec(int_span, &vec);
    CHECK_NULL(none.data);
    CHECK_EQ(none.count, 0);
    CHECK_EQ(fa_vec_extend(fix.arena, &vec, numbers, 10), FA_OK);
    const int_vec *fixed = &vec;
    CHECK_EQ(fa_span_of_vec(int_span, &vec).data, vec.data);
    CHECK_EQ(fa_span_of_vec(const_int_span, fixed).count, 10);
    CHECK_EQ(*fa_span_at(fa_span_sub(fa_span_of_vec(int_span, &vec), 4, 3), 2), 6);
    fixture_close(&fix);
}

static void elements_of_any_size_are_found(void) {
    typedef struct odd {
        char bytes[7];
    } odd;
    odd items[5];
    memset(items, 0, sizeof(items));
    FA_SPAN(odd) span = {items, 5};
    CHECK_EQ(fa_span_at(span, 3), &items[3]);
    CHECK_EQ(fa_span_sub(span, 2, 2).data, &items[2]);
    CHECK_EQ(fa_span_last(span, 1).data, &items[4]);
}

static unsigned calls;

static int_span next_span(void) {
    calls++;
    return all_numbers();
}

static size_t next_two(void) {
    calls += 100;
    return 2;
}

static bool called(unsigned want) {
    unsigned were = calls;
    calls = 0;
    return CHECK_EQ(were, want);
}

static void macros_evaluate_each_argument_once(void) {
    calls = 0;
    CHECK_EQ(fa_span_at(next_span(), next_two()), &numbers[2]);
    called(101);
    CHECK_EQ(fa_span_sub(next_span(), next_two(), next_two()).count, 2);
    called(201);
    CHECK_EQ(fa_span_first(next_span(), next_two()).count, 2);
    called(101);
    CHECK_EQ(fa_span_last(next_span(), next_two()).count, 2);
    called(101);
    CHECK_EQ(fa_span_make(int_span, next_span().data, next_two()).count, 2);
    called(101);
    int_vec vecs[2] = {{.data = numbers, .count = 3, .capacity = 3},
                       {.data = numbers, .count = 4, .capacity = 4}};
    int_vec *vec = vecs;
    CHECK_EQ(fa_span_of_vec(int_span, vec++).count, 3);
    CHECK_EQ(vec, &vecs[1]);
    int_span spans[2] = {all_numbers(), all_numbers()};
    int_span *span = spans;
    size_t index = 5;
    CHECK_EQ(fa_span_at(*span++, index++), &numbers[5]);
    CHECK_EQ(span, &spans[1]);
    CHECK_EQ(index, 6);
}

TEST_SUITE(span, TEST(zero_initialised_is_an_empty_span), TEST(at_points_at_elements),
           TEST(at_refuses_an_index_beyond_the_end), TEST(sub_views_share_the_elements),
           TEST(a_view_may_be_empty_and_may_be_all),
           TEST(ranges_beyond_the_end_are_refused_and_named),
           TEST(ranges_that_wrap_round_are_refused), TEST(every_small_range_is_judged_rightly),
           TEST(spans_are_made_from_arrays_and_vectors), TEST(elements_of_any_size_are_found),
           TEST(macros_evaluate_each_argument_once));

// Vectors: every operation, growth in place and by moving, refusals, and random operations against
// a plain array.
#include <framealloc/vec.h>

#include "container_fixture.h"

#include <string.h>

typedef FA_VEC(int) int_vec;

typedef struct point {
    float x;
    float y;
    float z;
} point;
typedef FA_VEC(point) point_vec;

typedef struct wide {
    _Alignas(64) unsigned char bytes[64];
} wide;
typedef FA_VEC(wide) wide_vec;

// Fills a vector with 0, 1, 2, ... count - 1.
static int_vec counting(fa_arena *arena, int count) {
    int_vec vec = {0};
    for (int i = 0; i < count; i++) {
        CHECK_EQ(fa_vec_push(arena, &vec, i), FA_OK);
    }
    return vec;
}

static bool holds(const int_vec *vec, const int *items, size_t count) {
    return CHECK_EQ(vec->count, count) && CHECK_MEM_EQ(vec->data, items, count * sizeof(int));
}
#define HOLDS(vec, ...)                                                                            \
    holds((vec), (const int[]){__VA_ARGS__}, sizeof((int[]){__VA_ARGS__}) / sizeof(int))

// ---- Reading ----

static void zero_initialised_is_an_empty_vector(void) {
    int_vec vec = {0};
    int out = 7;
    CHECK(!fa_vec_pop(&vec, &out));
    CHECK_EQ(out, 7);
    fa_vec_clear(&vec);
    nothing_failed();
    CHECK_NULL(fa_vec_at(&vec, 0));
    failed_with(15, FA_ERR_INVALID, 0, 0);
    CHECK_NULL(fa_vec_last(&vec));
    failed_with(15, FA_ERR_INVALID, 0, 0);
    CHECK_EQ(fa_vec_remove(&vec, 0), FA_ERR_INVALID);
    failed_with(15, FA_ERR_INVALID, 0, 0);
    CHECK_EQ(vec.count, 0);
    CHECK_NULL(vec.data);
}

static void at_and_last_point_at_elements(void) {
    fixture fix = fixture_open();
    int_vec vec = counting(fix.arena, 40);
    const int_vec *view = &vec;
    for (size_t i = 0; i < 40; i++) {
        CHECK_EQ(fa_vec_at(&vec, i), &vec.data[i]);
        CHECK_EQ(fa_vec_at(view, i), &vec.data[i]);
    }
    CHECK_EQ(fa_vec_last(&vec), &vec.data[39]);
    *fa_vec_at(&vec, 3) = 99;
    CHECK_EQ(vec.data[3], 99);
    nothing_failed();
    fixture_close(&fix);
}

static void at_refuses_an_index_beyond_the_count_not_the_capacity(void) {
    fixture fix = fixture_open();
    int_vec vec = counting(fix.arena, 3);
    CHECK_GT(vec.capacity, 3);
    CHECK_NULL(fa_vec_at(&vec, 3));
    failed_with(15, FA_ERR_INVALID, 3, 3);
    CHECK_NULL(fa_vec_at(&vec, SIZE_MAX));
    failed_with(15, FA_ERR_INVALID, SIZE_MAX, 3);
    fixture_close(&fix);
}

// ---- Growing ----

static void push_keeps_every_element_in_order(void) {
    fixture fix = fixture_open();
    int_vec vec = counting(fix.arena, 10000);
    REQUIRE_EQ(vec.count, 10000);
    CHECK_GE(vec.capacity, vec.count);
    for (int i = 0; i < 10000 && CHECK_EQ(vec.data[i], i); i++) {
    }
    fixture_close(&fix);
}

static void push_takes_values_initialisers_and_conversions(void) {
    fixture fix = fixture_open();
    point_vec points = {0};
    point p = {1.0F, 2.0F, 3.0F};
    CHECK_EQ(fa_vec_push(fix.arena, &points, p), FA_OK);
    CHECK_EQ(fa_vec_push(fix.arena, &points, {4.0F, 5.0F, 6.0F}), FA_OK);
    CHECK_EQ(fa_vec_push(fix.arena, &points, {.z = 7.0F}), FA_OK);
    CHECK_EQ(fa_vec_push(fix.arena, &points, (point){8.0F, 9.0F, 10.0F}), FA_OK);
    const point want[] = {{1, 2, 3}, {4, 5, 6}, {0, 0, 7}, {8, 9, 10}};
    CHECK_MEM_EQ(points.data, want, sizeof(want));
    FA_VEC(double) numbers = {0};
    CHECK_EQ(fa_vec_push(fix.arena, &numbers, 3), FA_OK);
    CHECK_EQ(numbers.data[0], 3.0);
    FA_VEC(const char *) names = {0};
    CHECK_EQ(fa_vec_push(fix.arena, &names, "a name"), FA_OK);
    CHECK_STR_EQ(names.data[0], "a name");
    fixture_close(&fix);
}

static void growth_at_the_end_of_the_arena_is_in_place(void) {
    fixture fix = fixture_open();
    size_t before = fa_arena_used(fix.arena);
    int_vec vec = {0};
    CHECK_EQ(fa_vec_push(fix.arena, &vec, 0), FA_OK);
    const int *first = vec.data;
    for (int i = 1; i < 5000; i++) {
        fa_vec_push(fix.arena, &vec, i);
    }
    CHECK_EQ(vec.data, first);
    CHECK_EQ(fa_arena_used(fix.arena) - before, vec.capacity * sizeof(int));
    fixture_close(&fix);
}

static void growth_before_another_block_moves_and_doubles(void) {
    fixture fix = fixture_open();
    int_vec vec = counting(fix.arena, 16);
    CHECK_EQ(vec.capacity, 16);
    CHECK_NOT_NULL(fa_arena_alloc(fix.arena, 1));
    const int *old = vec.data;
    size_t before = fa_arena_used(fix.arena);
    CHECK_EQ(fa_vec_push(fix.arena, &vec, 16), FA_OK);
    CHECK_NE(vec.data, old);
    CHECK_EQ(vec.capacity, 32);
    CHECK_EQ(fa_arena_used(fix.arena) - before, 32 * sizeof(int));
    for (int i = 0; i < 17; i++) {
        CHECK_EQ(vec.data[i], i);
    }
    // The old block stays readable, as the header says.
    CHECK_EQ(old[15], 15);
    fixture_close(&fix);
}

static void first_capacity_suits_the_element(void) {
    fixture fix = fixture_open();
    FA_VEC(char) bytes = {0};
    FA_VEC(point) points = {0};
    typedef struct page {
        char bytes[4096];
    } page;
    FA_VEC(page) pages = {0};
    fa_vec_push(fix.arena, &bytes, 'a');
    fa_vec_push(fix.arena, &points, {1.0F, 2.0F, 3.0F});
    CHECK_EQ(fa_vec_resize(fix.arena, &pages, 1), FA_OK);
    CHECK_EQ(bytes.capacity, 64);
    CHECK_EQ(points.capacity, 5);
    CHECK_EQ(pages.capacity, 4);
    fixture_close(&fix);
}

static void reserve_is_exact_and_never_shrinks(void) {
    fixture fix = fixture_open();
    int_vec vec = counting(fix.arena, 3);
    const int *first = vec.data;
    CHECK_EQ(fa_vec_reserve(fix.arena, &vec, 1000), FA_OK);
    CHECK_EQ(vec.capacity, 1000);
    CHECK_EQ(vec.data, first);
    CHECK_EQ(fa_vec_reserve(fix.arena, &vec, 10), FA_OK);
    CHECK_EQ(vec.capacity, 1000);
    size_t before = fa_arena_used(fix.arena);
    const int *data = vec.data;
    CHECK_NOT_NULL(fa_arena_alloc(fix.arena, 16));
    for (int i = 3; i < 1000; i++) {
        fa_vec_push(fix.arena, &vec, i);
    }
    CHECK_EQ(fa_arena_used(fix.arena) - before, 16);
    CHECK_EQ(vec.data, data);
    CHECK_EQ(vec.data[999], 999);
    fixture_close(&fix);
}

static void room_is_used_to_the_last_element(void) {
    fixture fix = fixture_open();
    int_vec vec = {0};
    CHECK_EQ(fa_vec_reserve(fix.arena, &vec, 10), FA_OK);
    const int four[4] = {1, 2, 3, 4};
    CHECK_EQ(fa_vec_extend(fix.arena, &vec, four, 4), FA_OK);
    CHECK_EQ(fa_vec_resize(fix.arena, &vec, 8), FA_OK);
    CHECK_EQ(fa_vec_insert(fix.arena, &vec, 0, 0), FA_OK);
    CHECK_EQ(fa_vec_push(fix.arena, &vec, 9), FA_OK);
    CHECK_EQ(vec.count, 10);
    CHECK_EQ(vec.capacity, 10);
    fa_vec_clear(&vec);
    CHECK_EQ(fa_vec_resize(fix.arena, &vec, 10), FA_OK);
    CHECK_EQ(vec.capacity, 10);
    fixture_close(&fix);
}

static void resize_zeroes_new_elements_and_those_used_before(void) {
    fixture fix = fixture_open();
    int_vec vec = counting(fix.arena, 10);
    CHECK_EQ(fa_vec_resize(fix.arena, &vec, 4), FA_OK);
    HOLDS(&vec, 0, 1, 2, 3);
    CHECK_EQ(vec.capacity, 16);
    CHECK_EQ(fa_vec_resize(fix.arena, &vec, 8), FA_OK);
    HOLDS(&vec, 0, 1, 2, 3, 0, 0, 0, 0);
    CHECK_EQ(fa_vec_resize(fix.arena, &vec, 100), FA_OK);
    CHECK_EQ(vec.count, 100);
    for (size_t i = 4; i < 100; i++) {
        CHECK_EQ(vec.data[i], 0);
    }
    CHECK_EQ(fa_vec_resize(fix.arena, &vec, 0), FA_OK);
    CHECK_EQ(vec.count, 0);
    fixture_close(&fix);
}

static void extend_appends_a_whole_array(void) {
    fixture fix = fixture_open();
    int_vec vec = counting(fix.arena, 2);
    const int more[] = {7, 8, 9};
    CHECK_EQ(fa_vec_extend(fix.arena, &vec, more, 3), FA_OK);
    HOLDS(&vec, 0, 1, 7, 8, 9);
    CHECK_EQ(fa_vec_extend(fix.arena, &vec, (const int *)NULL, 0), FA_OK);
    CHECK_EQ(fa_vec_extend(fix.arena, &vec, NULL, 0), FA_OK);
    CHECK_EQ(vec.count, 5);
    int many[100] = {0};
    CHECK_EQ(fa_vec_extend(fix.arena, &vec, many, 100), FA_OK);
    CHECK_EQ(vec.count, 105);
    CHECK_EQ(vec.capacity, 105);
    fixture_close(&fix);
}

// ---- Values out of the vector itself ----

static void pushing_an_own_element_survives_growth(void) {
    fixture fix = fixture_open();
    for (int in_place = 0; in_place < 2; in_place++) {
        int_vec vec = counting(fix.arena, 16);
        REQUIRE_EQ(vec.count, vec.capacity);
        if (in_place == 0) {
            CHECK_NOT_NULL(fa_arena_alloc(fix.arena, 16));
        }
        CHECK_EQ(fa_vec_push(fix.arena, &vec, vec.data[9]), FA_OK);
        CHECK_EQ(*fa_vec_last(&vec), 9);
    }
    fixture_close(&fix);
}

static void inserting_an_own_element_survives_growth_and_shifting(void) {
    fixture fix = fixture_open();
    for (int in_place = 0; in_place < 2; in_place++) {
        int_vec vec = counting(fix.arena, 16);
        if (in_place == 0) {
            CHECK_NOT_NULL(fa_arena_alloc(fix.arena, 16));
        }
        CHECK_EQ(fa_vec_insert(fix.arena, &vec, 2, vec.data[9]), FA_OK);
        CHECK_EQ(fa_vec_insert(fix.arena, &vec, 0, vec.data[17 - 1]), FA_OK);
        HOLDS(&vec, 15, 0, 1, 9, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    }
    fixture_close(&fix);
}

static void extending_by_own_elements_survives_growth(void) {
    fixture fix = fixture_open();
    for (int in_place = 0; in_place < 2; in_place++) {
        int_vec vec = counting(fix.arena, 16);
        if (in_place == 0) {
            CHECK_NOT_NULL(fa_arena_alloc(fix.arena, 16));
        }
        CHECK_EQ(fa_vec_extend(fix.arena, &vec, vec.data, 16), FA_OK);
        CHECK_EQ(fa_vec_extend(fix.arena, &vec, &vec.data[14], 4), FA_OK);
        HOLDS(&vec, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7, 8,
              9, 10, 11, 12, 13, 14, 15, 14, 15, 0, 1);
    }
    fixture_close(&fix);
}

static void items_of_an_abandoned_block_can_still_be_appended(void) {
    fixture fix = fixture_open();
    int_vec vec = counting(fix.arena, 16);
    CHECK_NOT_NULL(fa_arena_alloc(fix.arena, 16));
    const int *old = vec.data;
    CHECK_EQ(fa_vec_push(fix.arena, &vec, 16), FA_OK);
    REQUIRE_NE(vec.data, old);
    CHECK_EQ(fa_vec_extend(fix.arena, &vec, old + 4, 2), FA_OK);
    CHECK_EQ(vec.data[17], 4);
    CHECK_EQ(vec.data[18], 5);
    fixture_close(&fix);
}

// ---- Inserting and removing ----

static void insert_moves_the_later_elements_up(void) {
    fixture fix = fixture_open();
    int_vec vec = {0};
    CHECK_EQ(fa_vec_insert(fix.arena, &vec, 0, 10), FA_OK);
    CHECK_EQ(fa_vec_insert(fix.arena, &vec, 0, 20), FA_OK);
    CHECK_EQ(fa_vec_insert(fix.arena, &vec, 2, 30), FA_OK);
    CHECK_EQ(fa_vec_insert(fix.arena, &vec, 1, 40), FA_OK);
    HOLDS(&vec, 20, 40, 10, 30);
    CHECK_EQ(fa_vec_insert(fix.arena, &vec, 5, 50), FA_ERR_INVALID);
    failed_with(15, FA_ERR_INVALID, 5, 4);
    HOLDS(&vec, 20, 40, 10, 30);
    fixture_close(&fix);
}

static void remove_keeps_the_order(void) {
    fixture fix = fixture_open();
    int_vec vec = counting(fix.arena, 5);
    CHECK_EQ(fa_vec_remove(&vec, 1), FA_OK);
    HOLDS(&vec, 0, 2, 3, 4);
    CHECK_EQ(fa_vec_remove(&vec, 3), FA_OK);
    CHECK_EQ(fa_vec_remove(&vec, 0), FA_OK);
    HOLDS(&vec, 2, 3);
    CHECK_EQ(fa_vec_remove(&vec, 2), FA_ERR_INVALID);
    failed_with(15, FA_ERR_INVALID, 2, 2);
    HOLDS(&vec, 2, 3);
    fixture_close(&fix);
}

static void remove_swap_puts_the_last_element_into_the_gap(void) {
    fixture fix = fixture_open();
    int_vec vec = counting(fix.arena, 5);
    CHECK_EQ(fa_vec_remove_swap(&vec, 1), FA_OK);
    HOLDS(&vec, 0, 4, 2, 3);
    CHECK_EQ(fa_vec_remove_swap(&vec, 3), FA_OK);
    HOLDS(&vec, 0, 4, 2);
    CHECK_EQ(fa_vec_remove_swap(&vec, 3), FA_ERR_INVALID);
    failed_with(15, FA_ERR_INVALID, 3, 3);
    HOLDS(&vec, 0, 4, 2);
    fixture_close(&fix);
}

static void pop_returns_elements_last_first(void) {
    fixture fix = fixture_open();
    int_vec vec = counting(fix.arena, 3);
    int out = -1;
    CHECK(fa_vec_pop(&vec, &out));
    CHECK_EQ(out, 2);
    CHECK(fa_vec_pop(&vec, NULL));
    CHECK(fa_vec_pop(&vec, &out));
    CHECK_EQ(out, 0);
    CHECK(!fa_vec_pop(&vec, &out));
    CHECK_EQ(out, 0);
    nothing_failed();
    fixture_close(&fix);
}

static void clear_keeps_the_capacity(void) {
    fixture fix = fixture_open();
    int_vec vec = counting(fix.arena, 100);
    const int *data = vec.data;
    size_t capacity = vec.capacity;
    fa_vec_clear(&vec);
    CHECK_EQ(vec.count, 0);
    CHECK_EQ(vec.capacity, capacity);
    fa_vec_push(fix.arena, &vec, 1);
    CHECK_EQ(vec.data, data);
    fixture_close(&fix);
}

static void over_aligned_elements_stay_aligned(void) {
    fixture fix = fixture_open();
    wide_vec vec = {0};
    for (unsigned i = 0; i < 300; i++) {
        if (i % 7 == 0) {
            CHECK_NOT_NULL(fa_arena_alloc(fix.arena, 16));
        }
        wide item;
        memset(&item, (int)i & 0xFF, sizeof(item));
        CHECK_EQ(fa_vec_push(fix.arena, &vec, item), FA_OK);
        CHECK_EQ((uintptr_t)vec.data % 64, 0);
    }
    for (unsigned i = 0; i < 300; i++) {
        CHECK_EQ(vec.data[i].bytes[63], i & 0xFF);
    }
    fixture_close(&fix);
}

// ---- Refusals ----

static void counts_that_overflow_are_refused(void) {
    fixture fix = fixture_open();
    int_vec vec = counting(fix.arena, 3);
    const int_vec before = vec;
    const size_t used = fa_arena_used(fix.arena);
    const size_t max = SIZE_MAX / 2 / sizeof(int);
    const size_t counts[] = {max + 1, SIZE_MAX / sizeof(int), SIZE_MAX / sizeof(int) + 2,
                             SIZE_MAX - 2, SIZE_MAX};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        check_note("count %zu", counts[i]);
        CHECK_EQ(fa_vec_reserve(fix.arena, &vec, counts[i]), FA_ERR_OVERFLOW);
        failed_with(13, FA_ERR_OVERFLOW, counts[i], max);
        CHECK_EQ(fa_vec_resize(fix.arena, &vec, counts[i]), FA_ERR_OVERFLOW);
        failed_with(13, FA_ERR_OVERFLOW, counts[i], max);
        CHECK_EQ(fa_vec_extend(fix.arena, &vec, vec.data, counts[i]), FA_ERR_OVERFLOW);
        size_t asked = counts[i] > SIZE_MAX - 3 ? SIZE_MAX : counts[i] + 3;
        failed_with(13, FA_ERR_OVERFLOW, asked, max);
    }
    check_note("%s", "");
    // These fit into size_t and into no arena: the arena refuses.
    CHECK_LT((int)fa_vec_reserve(fix.arena, &vec, max), 0);
    CHECK_LT((int)fa_vec_resize(fix.arena, &vec, max), 0);
    CHECK_MEM_EQ(&vec, &before, sizeof(vec));
    HOLDS(&vec, 0, 1, 2);
    CHECK_EQ(fa_arena_used(fix.arena), used);
    fixture_close(&fix);
}

// One operation that needs room, by number.
static fa_result growing_step(fa_arena *arena, int_vec *vec, unsigned step) {
    const int more[5] = {1, 2, 3, 4, 5};
    switch (step % 4) {
    case 0:
        return fa_vec_push(arena, vec, (int)step);
    case 1:
        return fa_vec_extend(arena, vec, more, 5);
    case 2:
        return fa_vec_insert(arena, vec, vec->count / 2, (int)step);
    default:
        return fa_vec_reserve(arena, vec, vec->capacity + 1);
    }
}

// A vector in `size` bytes, moved or grown in place, until it is refused `refusals` times.
static void fill_until_refused(void *memory, size_t size, bool in_place, unsigned first) {
    fixture fix = fixture_open_memory(memory, size);
    int_vec vec = {0};
    unsigned refusals = 0;
    for (unsigned step = first; refusals < 8; step++) {
        if (!in_place && step % 3 == 0) {
            fa_arena_alloc(fix.arena, 1);
        }
        int copy[1024];
        REQUIRE_LE(vec.count, 1024);
        if (vec.count > 0) {
            memcpy(copy, vec.data, vec.count * sizeof(int));
        }
        const int_vec before = vec;
        const size_t used = fa_arena_used(fix.arena);
        fa_result result = growing_step(fix.arena, &vec, step);
        if (result == FA_OK) {
            continue;
        }
        refusals++;
        CHECK_EQ(fa_last_error()->code, 3);
        CHECK_EQ((int)fa_last_error()->result, (int)result);
        CHECK_MEM_EQ(&vec, &before, sizeof(vec));
        CHECK_EQ(fa_arena_used(fix.arena), used);
        if (vec.count > 0) {
            CHECK_MEM_EQ(vec.data, copy, vec.count * sizeof(int));
        }
    }
    fixture_close(&fix);
}

static void a_refused_growth_changes_nothing(void) {
    static _Alignas(16) unsigned char memory[1024];
    for (size_t size = 16; size <= sizeof(memory); size += 16) {
        for (unsigned first = 0; first < 4; first++) {
            check_note("%zu bytes, from step %u", size, first);
            fill_until_refused(memory, size, true, first);
            fill_until_refused(memory, size, false, first);
        }
    }
}

// ---- Macros ----

static fa_arena *given_arena;
static int_vec given_vec;
static unsigned calls;

static fa_arena *next_arena(void) {
    calls++;
    return given_arena;
}

static int_vec *next_vec(void) {
    calls += 100;
    return &given_vec;
}

static int next_int(void) {
    calls += 10000;
    return 1;
}

static bool called(unsigned want) {
    unsigned were = calls;
    calls = 0;
    return CHECK_EQ(were, want);
}

static void macros_evaluate_each_argument_once(void) {
    fixture fix = fixture_open();
    given_arena = fix.arena;
    given_vec = (int_vec){0};
    calls = 0;
    int items[2] = {5, 6};
    int *item = items;
    fa_vec_push(next_arena(), next_vec(), next_int());
    called(10101);
    fa_vec_reserve(next_arena(), next_vec(), (size_t)next_int());
    called(10101);
    fa_vec_resize(next_arena(), next_vec(), (size_t)next_int());
    called(10101);
    fa_vec_insert(next_arena(), next_vec(), (size_t)next_int(), next_int());
    called(20101);
    fa_vec_extend(next_arena(), next_vec(), item++, (size_t)next_int());
    called(10101);
    CHECK_EQ(item, &items[1]);
    CHECK_NOT_NULL(fa_vec_at(next_vec(), (size_t)next_int()));
    called(10100);
    CHECK_NOT_NULL(fa_vec_last(next_vec()));
    called(100);
    CHECK_EQ(fa_vec_remove(next_vec(), (size_t)next_int()), FA_OK);
    called(10100);
    CHECK_EQ(fa_vec_remove_swap(next_vec(), (size_t)next_int()), FA_OK);
    called(10100);
    CHECK(fa_vec_pop(next_vec(), item--));
    called(100);
    CHECK_EQ(item, &items[0]);
    fa_vec_clear(next_vec());
    called(100);
    int_vec two[2] = {{0}, {0}};
    int_vec *vec = two;
    fa_vec_push(fix.arena, vec++, 1);
    CHECK_EQ(vec, &two[1]);
    CHECK_NOT_NULL(fa_vec_at(--vec, 0));
    fixture_close(&fix);
}

// ---- Random operations against a plain array ----

#define MODEL_MAX 700

typedef struct model {
    uint64_t items[MODEL_MAX];
    size_t count;
} model;

typedef FA_VEC(uint64_t) u64_vec;

static void model_insert(model *plain, size_t index, uint64_t item) {
    for (size_t i = plain->count; i > index; i--) {
        plain->items[i] = plain->items[i - 1];
    }
    plain->items[index] = item;
    plain->count++;
}

static void model_remove(model *plain, size_t index) {
    for (size_t i = index + 1; i < plain->count; i++) {
        plain->items[i - 1] = plain->items[i];
    }
    plain->count--;
}

static void random_growth(check_rng *rng, fa_arena *arena, u64_vec *vec, model *plain) {
    uint64_t item = check_rng_next(rng);
    size_t index = check_rng_between(rng, 0, plain->count);
    switch (check_rng_below(rng, 6)) {
    case 0:
        CHECK_EQ(fa_vec_insert(arena, vec, index, item), FA_OK);
        model_insert(plain, index, item);
        break;
    case 1: {
        size_t count = check_rng_between(rng, 0, plain->count - index);
        const uint64_t *items = count > 0 ? vec->data + index : NULL;
        CHECK_EQ(fa_vec_extend(arena, vec, items, count), FA_OK);
        for (size_t i = 0; i < count; i++) {
            plain->items[plain->count++] = plain->items[index + i];
        }
        break;
    }
    case 2: {
        size_t count = check_rng_between(rng, 0, 2 * plain->count + 1);
        CHECK_EQ(fa_vec_resize(arena, vec, count), FA_OK);
        for (size_t i = plain->count; i < count; i++) {
            plain->items[i] = 0;
        }
        plain->count = count;
        break;
    }
    case 3:
        CHECK_EQ(fa_vec_reserve(arena, vec, check_rng_below(rng, 2 * MODEL_MAX)), FA_OK);
        break;
    default:
        CHECK_EQ(fa_vec_push(arena, vec, item), FA_OK);
        model_insert(plain, plain->count, item);
    }
}

static void random_removal(check_rng *rng, u64_vec *vec, model *plain) {
    size_t index = check_rng_between(rng, 0, plain->count);
    bool is_there = index < plain->count;
    uint64_t out = 0;
    switch (check_rng_below(rng, 3)) {
    case 0:
        CHECK_EQ(fa_vec_remove(vec, index), is_there ? FA_OK : FA_ERR_INVALID);
        if (is_there) {
            model_remove(plain, index);
        }
        break;
    case 1:
        CHECK_EQ(fa_vec_remove_swap(vec, index), is_there ? FA_OK : FA_ERR_INVALID);
        if (is_there) {
            plain->items[index] = plain->items[--plain->count];
        }
        break;
    default:
        CHECK_EQ(fa_vec_pop(vec, &out), plain->count > 0);
        if (plain->count > 0) {
            CHECK_EQ(out, plain->items[--plain->count]);
        }
    }
}

static bool agrees(const u64_vec *vec, const model *plain) {
    return CHECK_EQ(vec->count, plain->count) && CHECK_LE(vec->count, vec->capacity) &&
           (plain->count == 0 ||
            CHECK_MEM_EQ(vec->data, plain->items, plain->count * sizeof(uint64_t)));
}

static void random_operations_agree_with_a_plain_array(void) {
    fixture fix = fixture_open();
    check_rng rng = check_rng_make(check_seed());
    static model plain;
    plain.count = 0;
    u64_vec vec = {0};
    size_t steps = check_scale(2000000);
    for (size_t step = 0; step < steps; step++) {
        check_note("step %zu", step);
        if (plain.count < MODEL_MAX / 4 && check_rng_chance(&rng, 60)) {
            random_growth(&rng, fix.arena, &vec, &plain);
        } else {
            random_removal(&rng, &vec, &plain);
        }
        if (check_rng_chance(&rng, 10)) {
            fa_arena_alloc(fix.arena, 1);
        }
        if (!agrees(&vec, &plain)) {
            break;
        }
        if (check_rng_below(&rng, 500) == 0) {
            fa_arena_reset(fix.arena);
            vec = (u64_vec){0};
            plain.count = 0;
        }
    }
    fixture_close(&fix);
}

TEST_SUITE(vec, TEST(zero_initialised_is_an_empty_vector), TEST(at_and_last_point_at_elements),
           TEST(at_refuses_an_index_beyond_the_count_not_the_capacity),
           TEST(push_keeps_every_element_in_order),
           TEST(push_takes_values_initialisers_and_conversions),
           TEST(growth_at_the_end_of_the_arena_is_in_place),
           TEST(growth_before_another_block_moves_and_doubles),
           TEST(first_capacity_suits_the_element), TEST(reserve_is_exact_and_never_shrinks),
           TEST(room_is_used_to_the_last_element),
           TEST(resize_zeroes_new_elements_and_those_used_before),
           TEST(extend_appends_a_whole_array), TEST(pushing_an_own_element_survives_growth),
           TEST(inserting_an_own_element_survives_growth_and_shifting),
           TEST(extending_by_own_elements_survives_growth),
           TEST(items_of_an_abandoned_block_can_still_be_appended),
           TEST(insert_moves_the_later_elements_up), TEST(remove_keeps_the_order),
           TEST(remove_swap_puts_the_last_element_into_the_gap),
           TEST(pop_returns_elements_last_first), TEST(clear_keeps_the_capacity),
           TEST(over_aligned_elements_stay_aligned), TEST(counts_that_overflow_are_refused),
           TEST(a_refused_growth_changes_nothing), TEST(macros_evaluate_each_argument_once),
           TEST(random_operations_agree_with_a_plain_array));

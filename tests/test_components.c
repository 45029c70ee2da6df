// Entities, arrays of components, views and bundles.
#include <framealloc/components.h>

#include "core_fixture.h"
#include "fault_backend.h"

#include <stdlib.h>

typedef struct position {
    float x;
    float y;
    float z;
} position;

typedef struct body {
    _Alignas(64) unsigned char bytes[192];
} body;

typedef FA_COMPONENTS(position) positions;
typedef FA_COMPONENTS(uint64_t) numbers;
typedef FA_COMPONENTS(body) bodies;

static fa_context *ctx;

static void open_context(void) {
    ctx = context_open(NULL);
}

static fa_components *make(size_t size, uint32_t max_count) {
    fa_components *set = NULL;
    const fa_components_desc desc = {.name = "set", .size = size, .max_count = max_count};
    REQUIRE_EQ(fa_components_create(ctx, &desc, &set), FA_OK);
    return set;
}

static fa_entity entity_at(uint32_t index) {
    return (fa_entity){index, 1};
}

static bool same(fa_entity a, fa_entity b) {
    return a.index == b.index && a.generation == b.generation;
}

// ---- Entities ----

static void entities_are_told_apart_by_generation(void) {
    open_context();
    fa_entities *all = NULL;
    REQUIRE_EQ(fa_entities_create(ctx, NULL, &all), FA_OK);
    fa_entity first = fa_entity_create(all);
    fa_entity second = fa_entity_create(all);
    CHECK_NE(first.index, second.index);
    CHECK(fa_entity_is_alive(all, first) && fa_entity_is_alive(all, second));
    CHECK_EQ(fa_entity_destroy(all, first), FA_OK);
    CHECK(!fa_entity_is_alive(all, first));
    CHECK_EQ(fa_entities_count(all), 1);
    fa_entity again = fa_entity_create(all);
    CHECK_EQ(again.index, first.index);
    CHECK_GT(again.generation, first.generation);
    CHECK(fa_entity_is_alive(all, again) && !fa_entity_is_alive(all, first));
    CHECK_EQ(fa_entity_destroy(all, first), FA_ERR_STALE);
    CHECK(failed_as(401, FA_ERR_STALE));
    CHECK(fa_entity_is_alive(all, again));
    CHECK(!fa_entity_is_alive(all, (fa_entity){0, 0}));
    CHECK(!fa_entity_is_alive(all, (fa_entity){7, 1}));
    CHECK(!fa_entity_is_alive(all, (fa_entity){UINT32_MAX, UINT32_MAX}));
    // The generation that a free index stands at is nobody's.
    CHECK_EQ(fa_entity_destroy(all, again), FA_OK);
    CHECK(!fa_entity_is_alive(all, (fa_entity){again.index, again.generation + 1}));
    fa_entities_destroy(all);
    context_close(ctx);
}

static void an_index_without_generations_is_retired(void) {
    open_context();
    report_log log;
    log_attach(ctx, &log);
    fa_entities *all = NULL;
    const fa_entities_desc desc = {.name = "few", .max_count = 2, .max_generation = 6};
    REQUIRE_EQ(fa_entities_create(ctx, &desc, &all), FA_OK);
    for (uint32_t life = 0; life < 3; life++) {
        fa_entity entity = fa_entity_create(all);
        CHECK_EQ(entity.index, 0);
        CHECK_LE(entity.generation, 6);
        CHECK_EQ(log_count(&log, 407), 0);
        CHECK_EQ(fa_entity_destroy(all, entity), FA_OK);
        CHECK(!fa_entity_is_alive(all, entity));
    }
    CHECK_EQ(fa_entities_retired(all), 1);
    CHECK_EQ(log_count(&log, 407), 1);
    for (uint32_t life = 0; life < 3; life++) {
        fa_entity entity = fa_entity_create(all);
        CHECK_EQ(entity.index, 1);
        CHECK_EQ(fa_entity_destroy(all, entity), FA_OK);
    }
    fa_last_error_clear();
    CHECK_EQ(fa_entity_create(all).generation, 0); // Both indexes are used up.
    CHECK(failed_as(409, FA_ERR_LIMIT));
    fa_entities_destroy(all);
    context_close(ctx);
}

static bool destroy_odd(fa_entity entity, void *user) {
    if (entity.index % 2 == 1) {
        CHECK_EQ(fa_entity_destroy(user, entity), FA_OK);
    }
    return entity.index < 90;
}

static void every_living_entity_is_visited(void) {
    open_context();
    fa_entities *all = NULL;
    REQUIRE_EQ(fa_entities_create(ctx, NULL, &all), FA_OK);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ(fa_entity_create(all).index, i);
    }
    fa_entities_each(all, destroy_odd, all);
    CHECK_EQ(fa_entities_count(all), 100 - 45);
    fa_entities_destroy(all);
    context_close(ctx);
}

// ---- One array ----

static void elements_are_found_by_entity(void) {
    open_context();
    positions set = {NULL};
    REQUIRE_EQ(fa_component_open(ctx, &set, NULL), FA_OK);
    CHECK_NULL(fa_component_get(&set, entity_at(0)));
    CHECK_NULL(fa_component_data(&set));
    for (uint32_t i = 0; i < 1000; i++) {
        position *p = fa_component_add(&set, entity_at(i * 3));
        REQUIRE_NOT_NULL(p);
        CHECK(p->x == 0 && p->y == 0 && p->z == 0);
        p->x = (float)i;
    }
    CHECK_EQ(fa_component_count(&set), 1000);
    CHECK_EQ((uintptr_t)fa_component_data(&set) % FA_COMPONENTS_ALIGNMENT, 0);
    for (uint32_t i = 0; i < 1000; i++) {
        CHECK_EQ(fa_component_get(&set, entity_at(i * 3))->x, (float)i);
        CHECK_NULL(fa_component_get(&set, entity_at(i * 3 + 1)));
        CHECK_NULL(fa_component_get(&set, ((fa_entity){i * 3, 2})));
        CHECK_EQ(fa_component_data(&set)[i].x, (float)i); // Side by side, as inserted.
        CHECK(same(fa_components_entities(set.set)[i], entity_at(i * 3)));
    }
    CHECK_NULL(fa_component_get(&set, ((fa_entity){0, 0})));
    CHECK_NULL(fa_component_get(&set, ((fa_entity){UINT32_MAX, UINT32_MAX})));
    fa_components_destroy(set.set);
    context_close(ctx);
}

static void removal_puts_the_last_into_the_gap(void) {
    open_context();
    numbers set = {NULL};
    REQUIRE_EQ(fa_component_open(ctx, &set, NULL), FA_OK);
    for (uint32_t i = 0; i < 5; i++) {
        *fa_component_add(&set, entity_at(i)) = i;
    }
    CHECK(fa_components_remove(set.set, entity_at(1)));
    CHECK_EQ(fa_component_data(&set)[1], 4);
    CHECK(same(fa_components_entities(set.set)[1], entity_at(4)));
    CHECK_EQ(*fa_component_get(&set, entity_at(4)), 4);
    CHECK(!fa_components_remove(set.set, entity_at(1)));
    CHECK(!fa_components_remove(set.set, (fa_entity){4, 2}));
    CHECK(nothing_failed());
    CHECK(fa_components_remove(set.set, entity_at(3))); // Which is the last one.
    CHECK_EQ(fa_component_count(&set), 3);
    // What comes into a place that was used is zeroed.
    CHECK_EQ(*fa_component_add(&set, entity_at(9)), 0);
    fa_components_destroy(set.set);
    context_close(ctx);
}

static void wrong_entities_are_refused(void) {
    open_context();
    fa_components *set = make(4, 0);
    fa_entity second = {5, 3};
    CHECK_NULL(fa_components_insert(set, (fa_entity){5, 0}));
    CHECK(failed_as(17, FA_ERR_INVALID));
    CHECK_NULL(fa_components_insert(set, (fa_entity){FA_ENTITY_INDEX_MAX + 1, 1}));
    CHECK(failed_as(17, FA_ERR_INVALID));
    unsigned *item = fa_components_insert(set, second);
    REQUIRE_NOT_NULL(item);
    *item = 42;
    CHECK_NULL(fa_components_insert(set, second));
    CHECK(failed_as(17, FA_ERR_BUSY));
    CHECK_NULL(fa_components_insert(set, (fa_entity){5, 1}));
    CHECK(failed_as(401, FA_ERR_STALE));
    CHECK_EQ(*item, 42);
    CHECK_EQ(fa_components_count(set), 1);
    // A later life of the index takes the place of what was left behind.
    unsigned *later = fa_components_insert(set, (fa_entity){5, 5});
    REQUIRE_NOT_NULL(later);
    CHECK_EQ(*later, 0);
    CHECK_EQ(fa_components_count(set), 1);
    CHECK(!fa_components_has(set, second));
    CHECK_EQ(stats_of(ctx).pool_bytes, 4);
    fa_components_destroy(set);
    context_close(ctx);
}

static void elements_never_move_when_others_come(void) {
    open_context();
    fa_components *set = make(48, 200000);
    char *first = fa_components_insert(set, entity_at(0));
    REQUIRE_NOT_NULL(first);
    for (uint32_t i = 1; i < 200000; i++) {
        REQUIRE_NOT_NULL(fa_components_insert(set, entity_at(i)));
    }
    CHECK_EQ(fa_components_get(set, entity_at(0)), first);
    CHECK_EQ(fa_components_get(set, entity_at(199999)), first + (size_t)199999 * 48);
    CHECK_NULL(fa_components_insert(set, entity_at(200000)));
    CHECK(failed_as(409, FA_ERR_LIMIT));
    CHECK_EQ(fa_components_count(set), 200000);
    fa_components_destroy(set);
    context_close(ctx);
}

static void alignment_is_kept(void) {
    open_context();
    bodies set = {NULL};
    REQUIRE_EQ(fa_component_open(ctx, &set, NULL), FA_OK);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ((uintptr_t)fa_component_add(&set, entity_at(i)) % 64, 0);
    }
    fa_components_destroy(set.set);
    fa_components *odd = NULL;
    const fa_components_desc desc = {.size = 100, .align = 4096};
    REQUIRE_EQ(fa_components_create(ctx, &desc, &odd), FA_OK);
    char *before = NULL;
    for (uint32_t i = 0; i < 10; i++) {
        char *item = fa_components_insert(odd, entity_at(i));
        CHECK_EQ((uintptr_t)item % 4096, 0);
        CHECK(i == 0 || item - before == 4096);
        before = item;
    }
    fa_components_destroy(odd);
    context_close(ctx);
}

static void bad_descriptors_are_named(void) {
    open_context();
    static const struct {
        fa_components_desc desc;
        const char *field;
    } cases[] = {
        {{.size = 0}, "size"},
        {{.size = ((size_t)1 << 20) + 1}, "size"},
        {{.size = 4, .align = 3}, "align"},
        {{.size = 4, .align = 8192}, "align"},
        {{.size = 4, .max_count = FA_ENTITY_INDEX_MAX + 1}, "max_count"},
    };
    fa_components *set = (fa_components *)&ctx;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK_EQ(fa_components_create(ctx, &cases[i].desc, &set), FA_ERR_INVALID);
        CHECK_NULL(set);
        CHECK_STR_EQ(fa_last_error()->where, cases[i].field);
        CHECK(failed_as(14, FA_ERR_INVALID));
    }
    const fa_components_desc tagged = {.size = 4, .tag = {12345}};
    CHECK_EQ(fa_components_create(ctx, &tagged, &set), FA_ERR_INVALID);
    CHECK(failed_as(802, FA_ERR_INVALID));
    CHECK_EQ(fa_components_create(ctx, &tagged, NULL), FA_ERR_INVALID);
    fa_entities *all = NULL;
    const fa_entities_desc many = {.max_count = FA_ENTITY_INDEX_MAX + 1};
    CHECK_EQ(fa_entities_create(ctx, &many, &all), FA_ERR_INVALID);
    CHECK_EQ(fa_entities_create(ctx, &(fa_entities_desc){.tag = {9}}, &all), FA_ERR_INVALID);
    CHECK_EQ(fa_entities_create(ctx, NULL, NULL), FA_ERR_INVALID);
    fa_components_destroy(NULL);
    fa_entities_destroy(NULL);
    fa_bundle_destroy(NULL);
    context_close(ctx);
}

static void one_large_index_costs_little(void) {
    open_context();
    fa_components *set = make(4, 0);
    REQUIRE_NOT_NULL(fa_components_insert(set, entity_at(1))); // The thread's state is made.
    REQUIRE_NOT_NULL(fa_components_insert(set, entity_at(2)));
    size_t before = stats_of(ctx).committed_bytes;
    REQUIRE_NOT_NULL(fa_components_insert(set, entity_at(FA_ENTITY_INDEX_MAX)));
    CHECK(fa_components_has(set, entity_at(FA_ENTITY_INDEX_MAX)));
    CHECK(!fa_components_has(set, entity_at(0)));
    CHECK(fa_components_has(set, entity_at(1)) && fa_components_has(set, entity_at(2)));
    CHECK_LT(stats_of(ctx).committed_bytes - before, MIB);
    REQUIRE_NOT_NULL(fa_components_insert(set, entity_at(0)));
    CHECK(fa_components_has(set, entity_at(0)));
    fa_components_destroy(set);
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    CHECK_LE(stats_of(ctx).committed_bytes, before);
    context_close(ctx);
}

static void elements_are_charged_to_the_tag(void) {
    open_context();
    fa_tag tag = fa_tag_register(ctx, "game/positions");
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = 1000}), FA_OK);
    fa_components *set = NULL;
    const fa_components_desc desc = {.size = 100, .align = 4, .tag = tag};
    REQUIRE_EQ(fa_components_create(ctx, &desc, &set), FA_OK);
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 0);
    for (uint32_t i = 0; i < 10; i++) {
        REQUIRE_NOT_NULL(fa_components_insert(set, entity_at(i)));
        CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 100 * (i + 1));
    }
    CHECK_EQ(stats_of(ctx).pool_bytes, 1000);
    CHECK_NULL(fa_components_insert(set, entity_at(10)));
    CHECK(failed_as(302, FA_ERR_BUDGET));
    CHECK(!fa_components_has(set, entity_at(10)));
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 1000);
    CHECK(fa_components_remove(set, entity_at(3)));
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 900);
    CHECK_NOT_NULL(fa_components_insert(set, entity_at(10)));
    fa_components_clear(set);
    CHECK_EQ(fa_components_count(set), 0);
    CHECK(!fa_components_has(set, entity_at(10)));
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 0);
    CHECK_NOT_NULL(fa_components_insert(set, entity_at(10)));
    fa_components_destroy(set);
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 0);
    context_close(ctx);
}

static void reserve_and_trim(void) {
    open_context();
    fa_components *set = make(64, 100000);
    CHECK_EQ(fa_components_reserve(set, 100001), FA_ERR_LIMIT);
    CHECK(failed_as(409, FA_ERR_LIMIT));
    CHECK_EQ(fa_components_reserve(set, 100000), FA_OK);
    REQUIRE_NOT_NULL(fa_components_insert(set, entity_at(0)));
    size_t reserved = stats_of(ctx).committed_bytes;
    for (uint32_t i = 1; i < 100000; i++) {
        REQUIRE_NOT_NULL(fa_components_insert(set, entity_at(i)));
    }
    CHECK_EQ(stats_of(ctx).committed_bytes, reserved);
    for (uint32_t i = 1000; i < 100000; i++) {
        CHECK(fa_components_remove(set, entity_at(i)));
    }
    CHECK_GT(fa_components_trim(set), 90000 * (size_t)64);
    CHECK_LT(stats_of(ctx).committed_bytes, reserved - 90000 * (size_t)64);
    for (uint32_t i = 0; i < 1000; i++) {
        CHECK(fa_components_has(set, entity_at(i)));
    }
    CHECK(!fa_components_has(set, entity_at(99999)));
    CHECK_NOT_NULL(fa_components_insert(set, entity_at(99999)));
    fa_components_clear(set);
    fa_components_trim(set);
    CHECK_NOT_NULL(fa_components_insert(set, entity_at(5)));
    fa_components_destroy(set);
    context_close(ctx);
}

// With a backend that notices what is released twice, or never.
static void pages_of_the_index_are_given_back_once(void) {
    fault_backend blocks;
    fault_backend_make(&blocks, FAULT_BLOCKS);
    ctx = context_open(&(fa_config){.backend = &blocks.backend});
    fa_components *set = make(8, 0);
    for (uint32_t i = 0; i < 6; i++) {
        REQUIRE_NOT_NULL(fa_components_insert(set, entity_at(i * 5000)));
    }
    CHECK(fa_components_remove(set, entity_at(0)));
    CHECK(fa_components_remove(set, entity_at(15000)));
    CHECK_EQ(fa_components_trim(set), 2 * (size_t)FA_COMPONENTS_PAGE * 4);
    CHECK_EQ(fa_components_trim(set), 0);
    for (uint32_t i = 0; i < 6; i++) {
        CHECK_EQ(fa_components_has(set, entity_at(i * 5000)), i != 0 && i != 3);
    }
    CHECK_NOT_NULL(fa_components_insert(set, entity_at(0)));
    fa_components_destroy(set);
    context_close(ctx);
    fault_backend_end(&blocks);
}

static void a_memory_limit_can_be_used_to_its_last_pages(void) {
    ctx = context_open(&(fa_config){.memory_limit = 2 * MIB});
    fa_components *set = make(1024, 0);
    uint32_t count = 0;
    while (count < 4096 && fa_components_insert(set, entity_at(count)) != NULL) {
        count += 1;
    }
    CHECK(failed_as(301, FA_ERR_LIMIT));
    CHECK_LE(stats_of(ctx).committed_bytes, 2 * MIB);
    CHECK_GT(stats_of(ctx).committed_bytes, 2 * MIB - 4 * fa_backend_os()->page_size);
    CHECK_EQ(fa_components_count(set), count);
    CHECK_EQ(stats_of(ctx).pool_bytes, count * KIB);
    CHECK(fa_components_remove(set, entity_at(0)));
    CHECK_NOT_NULL(fa_components_insert(set, entity_at(0)));
    fa_components_destroy(set);
    context_close(ctx);
}

static void what_is_left_is_reported(void) {
    open_context();
    report_log log;
    log_attach(ctx, &log);
    fa_components *set = make(8, 0);
    REQUIRE_NOT_NULL(fa_components_insert(set, entity_at(70000)));
    fa_entities *all = NULL;
    REQUIRE_EQ(fa_entities_create(ctx, NULL, &all), FA_OK);
    CHECK_EQ(fa_context_destroy(ctx), FA_ERR_BUSY);
    CHECK_EQ(log_count(&log, 406), 2);
    CHECK_STR_EQ(log.seen[1].where, "set");
    CHECK_EQ(log.seen[1].bytes, 8);
}

// ---- Views ----

enum { MANY = 300 };

static void a_view_finds_what_arrays_share(void) {
    open_context();
    numbers twos = {NULL};
    numbers threes = {NULL};
    positions fives = {NULL};
    REQUIRE_EQ(fa_component_open(ctx, &twos, NULL), FA_OK);
    REQUIRE_EQ(fa_component_open(ctx, &threes, NULL), FA_OK);
    REQUIRE_EQ(fa_component_open(ctx, &fives, NULL), FA_OK);
    for (uint32_t i = 0; i < MANY; i++) {
        if (i % 2 == 0) {
            *fa_component_add(&twos, entity_at(i)) = i;
        }
        if (i % 3 == 0) {
            *fa_component_add(&threes, entity_at(i)) = i;
        }
        if (i % 5 == 0) {
            fa_component_add(&fives, entity_at(i))->y = (float)i;
        }
    }
    size_t seen = 0;
    fa_view view = fa_view_of(twos.set, threes.set, fives.set);
    CHECK_EQ(view.smallest, 2);
    while (fa_view_next(&view)) {
        CHECK_EQ(view.entity.index % 30, 0);
        const uint64_t *two = view.items[0];
        const uint64_t *three = view.items[1];
        const position *five = view.items[2];
        CHECK(*two == view.entity.index && *three == *two && five->y == (float)*two);
        seen += 1;
    }
    CHECK_EQ(seen, MANY / 30);
    CHECK_NULL(view.items[0]);
    CHECK(!fa_view_next(&view));
    fa_view none = fa_view_make(NULL, 2);
    CHECK(failed_as(17, FA_ERR_INVALID));
    CHECK(!fa_view_next(&none));
    const fa_components *nine[9] = {NULL};
    none = fa_view_make(nine, 9);
    CHECK(failed_as(17, FA_ERR_INVALID));
    none = fa_view_make(nine, 1);
    CHECK(failed_as(17, FA_ERR_INVALID));
    CHECK(!fa_view_next(&none));
    fa_components_destroy(twos.set);
    fa_components_destroy(threes.set);
    fa_components_destroy(fives.set);
    context_close(ctx);
}

// Removing the present entity, from any of the arrays, leaves every other to be visited once.
static void the_present_entity_may_be_removed(void) {
    open_context();
    check_rng rng = check_rng_make(check_seed());
    for (size_t round = 0; round < 50; round++) {
        fa_components *sets[2] = {make(8, 0), make(16, 0)};
        fa_bundle *bundle = NULL;
        if (round % 2 == 1) {
            REQUIRE_EQ(fa_bundle_create(sets, 2, &bundle), FA_OK);
        }
        bool in_both[MANY] = {false};
        unsigned visits[MANY] = {0};
        for (uint32_t i = 0; i < MANY; i++) {
            bool first = check_rng_chance(&rng, 70);
            bool second = check_rng_chance(&rng, 80);
            in_both[i] = first && second;
            CHECK(!first || fa_components_insert(sets[0], entity_at(i)) != NULL);
            CHECK(!second || fa_components_insert(sets[1], entity_at(i)) != NULL);
        }
        fa_view view = fa_view_of(sets[0], sets[1]);
        while (fa_view_next(&view)) {
            visits[view.entity.index] += 1;
            if (check_rng_chance(&rng, 50)) {
                CHECK(fa_components_remove(sets[check_rng_below(&rng, 2)], view.entity));
            }
        }
        for (uint32_t i = 0; i < MANY; i++) {
            CHECK_EQ(visits[i], in_both[i] ? 1 : 0);
        }
        fa_components_destroy(sets[0]);
        fa_components_destroy(sets[1]);
        fa_bundle_destroy(bundle);
    }
    context_close(ctx);
}

static void a_view_survives_a_clear(void) {
    open_context();
    fa_components *set = make(4, 0);
    for (uint32_t i = 0; i < 10; i++) {
        CHECK_NOT_NULL(fa_components_insert(set, entity_at(i)));
    }
    fa_view view = fa_view_of(set);
    CHECK(fa_view_next(&view));
    CHECK_NOT_NULL(fa_components_insert(set, entity_at(77))); // Not visited.
    CHECK(fa_view_next(&view) && view.entity.index == 8);
    fa_components_clear(set);
    CHECK(!fa_view_next(&view));
    fa_components_destroy(set);
    context_close(ctx);
}

// ---- Bundles ----

static void a_bundle_keeps_columns_in_step(void) {
    open_context();
    numbers left = {NULL};
    positions right = {NULL};
    REQUIRE_EQ(fa_component_open(ctx, &left, NULL), FA_OK);
    REQUIRE_EQ(fa_component_open(ctx, &right, NULL), FA_OK);
    for (uint32_t i = 0; i < 10; i++) { // Before and after it is made.
        *fa_component_add(&left, entity_at(i)) = i;
    }
    fa_component_add(&right, entity_at(7))->x = 7;
    fa_component_add(&right, entity_at(50))->x = 50;
    fa_component_add(&right, entity_at(2))->x = 2;
    fa_bundle *bundle = NULL;
    fa_components *arrays[2] = {left.set, right.set};
    REQUIRE_EQ(fa_bundle_create(arrays, 2, &bundle), FA_OK);
    CHECK_EQ(fa_bundle_count(bundle), 2);
    fa_component_add(&right, entity_at(5))->x = 5;
    CHECK_EQ(fa_bundle_count(bundle), 3);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(same(fa_components_entities(left.set)[i], fa_components_entities(right.set)[i]));
        CHECK_EQ((float)fa_component_data(&left)[i], fa_component_data(&right)[i].x);
    }
    CHECK(fa_components_remove(left.set, entity_at(7)));
    CHECK_EQ(fa_bundle_count(bundle), 2);
    CHECK_EQ(fa_component_get(&right, entity_at(7))->x, 7.0F);
    // A later generation in one array only is not in the bundle.
    CHECK_NOT_NULL(fa_component_add(&left, ((fa_entity){2, 3})));
    CHECK_EQ(fa_bundle_count(bundle), 1);
    CHECK_NOT_NULL(fa_component_add(&right, ((fa_entity){2, 3})));
    CHECK_EQ(fa_bundle_count(bundle), 2);
    fa_components_clear(left.set);
    CHECK_EQ(fa_bundle_count(bundle), 0);
    *fa_component_add(&left, entity_at(50)) = 50;
    CHECK_EQ(fa_bundle_count(bundle), 1);
    fa_components_destroy(left.set);
    CHECK_EQ(fa_bundle_count(bundle), 0);
    CHECK_NOT_NULL(fa_component_add(&right, entity_at(1)));
    fa_bundle_destroy(bundle);
    fa_components_destroy(right.set);
    context_close(ctx);
}

static void wrong_bundles_are_refused(void) {
    open_context();
    fa_context *other = context_open(NULL);
    fa_components *a = make(4, 0);
    fa_components *b = make(4, 0);
    fa_components *c = NULL;
    REQUIRE_EQ(fa_components_create(other, &(fa_components_desc){.size = 4}, &c), FA_OK);
    fa_bundle *bundle = NULL;
    fa_components *twice[2] = {a, a};
    fa_components *foreign[2] = {a, c};
    fa_components *missing[2] = {a, NULL};
    fa_components *good[2] = {a, b};
    CHECK_EQ(fa_bundle_create(twice, 2, &bundle), FA_ERR_INVALID);
    CHECK_EQ(fa_bundle_create(foreign, 2, &bundle), FA_ERR_INVALID);
    CHECK_EQ(fa_bundle_create(missing, 2, &bundle), FA_ERR_INVALID);
    CHECK_EQ(fa_bundle_create(good, 1, &bundle), FA_ERR_INVALID);
    CHECK_EQ(fa_bundle_create(good, 9, &bundle), FA_ERR_INVALID);
    CHECK_EQ(fa_bundle_create(NULL, 2, &bundle), FA_ERR_INVALID);
    CHECK_EQ(fa_bundle_create(good, 2, NULL), FA_ERR_INVALID);
    CHECK_NULL(bundle);
    CHECK(failed_as(17, FA_ERR_INVALID));
    REQUIRE_EQ(fa_bundle_create(good, 2, &bundle), FA_OK);
    fa_bundle *second = NULL;
    CHECK_EQ(fa_bundle_create(good, 2, &second), FA_ERR_BUSY);
    CHECK(failed_as(17, FA_ERR_BUSY));
    fa_bundle_destroy(bundle);
    REQUIRE_EQ(fa_bundle_create(good, 2, &second), FA_OK);
    fa_bundle_destroy(second);
    fa_components_destroy(a);
    fa_components_destroy(b);
    fa_components_destroy(c);
    context_close(other);
    context_close(ctx);
}

// ---- Refusals of the backend ----

// A small program; returns calls that failed. Whatever happens, what was put in is there.
static size_t play(fault_backend *faults) {
    size_t failures = 0;
    numbers sets[2] = {{NULL}, {NULL}};
    fa_entities *all = NULL;
    fa_bundle *bundle = NULL;
    failures += fa_entities_create(ctx, NULL, &all) == FA_OK ? 0 : 1;
    for (size_t s = 0; s < 2; s++) {
        failures += fa_component_open(ctx, &sets[s], NULL) == FA_OK ? 0 : 1;
    }
    fa_components *arrays[2] = {sets[0].set, sets[1].set};
    if (sets[0].set != NULL && sets[1].set != NULL) {
        failures += fa_bundle_create(arrays, 2, &bundle) == FA_OK ? 0 : 1;
    }
    for (uint32_t i = 0; i < 3000 && all != NULL; i++) {
        fa_entity entity = fa_entity_create(all);
        failures += entity.generation == 0 ? 1 : 0;
        for (size_t s = 0; s < 2 && entity.generation != 0; s++) {
            uint32_t before = sets[s].set == NULL ? 0 : fa_component_count(&sets[s]);
            uint64_t *item = sets[s].set == NULL ? NULL : fa_component_add(&sets[s], entity);
            if (item == NULL && sets[s].set != NULL) {
                failures += 1;
                CHECK_EQ(fa_component_count(&sets[s]), before);
            } else if (item != NULL) {
                *item = entity.index;
            }
        }
    }
    size_t bytes = 0;
    for (size_t s = 0; s < 2; s++) {
        if (sets[s].set == NULL) {
            continue;
        }
        bytes += fa_component_count(&sets[s]) * sizeof(uint64_t);
        for (uint32_t i = 0; i < fa_component_count(&sets[s]); i++) {
            fa_entity entity = fa_components_entities(sets[s].set)[i];
            CHECK_EQ(*fa_component_get(&sets[s], entity), entity.index);
        }
    }
    fa_stats stats = stats_of(ctx);
    CHECK_EQ(stats.pool_bytes, bytes + (all == NULL ? 0 : 8 * (size_t)all->made));
    CHECK_EQ(stats.committed_bytes, faults->committed_bytes);
    CHECK_EQ(stats.reserved_bytes, faults->reserved_bytes);
    fa_bundle_destroy(bundle);
    fa_components_destroy(sets[0].set);
    fa_components_destroy(sets[1].set);
    fa_entities_destroy(all);
    CHECK_EQ(stats_of(ctx).pool_bytes, 0);
    return failures;
}

static void survive_refusals(fault_source source) {
    uint64_t refusals = 1;
    for (uint64_t at = 1; refusals != 0; at++) {
        fault_backend faults;
        fault_backend_make(&faults, source);
        faults.has_rubbish = true;
        REQUIRE_EQ(fa_context_create(&(fa_config){.backend = &faults.backend}, &ctx), FA_OK);
        fault_backend_set(&faults, at % 2 == 0 ? FAULT_NTH : FAULT_FROM, faults.calls + at / 2, 0,
                          0);
        size_t failures = play(&faults);
        refusals = faults.refusals;
        CHECK(refusals != 0 || failures == 0);
        fault_backend_set(&faults, FAULT_NONE, 0, 0, 0);
        CHECK_EQ(play(&faults), 0);
        CHECK_EQ(fa_context_destroy(ctx), FA_OK);
        fault_backend_end(&faults);
    }
}

static void every_refusal_is_survived(void) {
    survive_refusals(FAULT_PAGES);
}

static void every_refusal_without_commit_is_survived(void) {
    survive_refusals(FAULT_BLOCKS);
}

TEST_SUITE(components, TEST(entities_are_told_apart_by_generation),
           TEST(an_index_without_generations_is_retired), TEST(every_living_entity_is_visited),
           TEST(elements_are_found_by_entity), TEST(removal_puts_the_last_into_the_gap),
           TEST(wrong_entities_are_refused), TEST(elements_never_move_when_others_come),
           TEST(alignment_is_kept), TEST(bad_descriptors_are_named),
           TEST(one_large_index_costs_little), TEST(elements_are_charged_to_the_tag),
           TEST(reserve_and_trim), TEST(pages_of_the_index_are_given_back_once),
           TEST(a_memory_limit_can_be_used_to_its_last_pages), TEST(what_is_left_is_reported),
           TEST(a_view_finds_what_arrays_share), TEST(the_present_entity_may_be_removed),
           TEST(a_view_survives_a_clear), TEST(a_bundle_keeps_columns_in_step),
           TEST(wrong_bundles_are_refused), TEST(every_refusal_is_survived),
           TEST(every_refusal_without_commit_is_survived));

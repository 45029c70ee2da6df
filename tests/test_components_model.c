// Random worlds of entities and components against a model that keeps everything in plain arrays.
//
// Every element carries its entity's index and a stamp, so that one that was moved wrongly, or
// belongs to somebody else, is noticed.
#include <framealloc/components.h>

#include "core_fixture.h"
#include "fault_backend.h"

enum { SETS = 4, INDEXES = 5000, MIX = 3 };

typedef struct expected {
    uint32_t generation; // 0: has none.
    uint32_t stamp;
} expected;

typedef struct model {
    fa_context *ctx;
    fa_entities *entities;
    uint32_t generations[INDEXES]; // As last created; 0: never.
    bool alive[INDEXES];
    fa_components *sets[SETS];
    size_t strides[SETS];
    expected has[SETS][INDEXES];
    uint32_t counts[SETS];
    fa_bundle *bundle; // Of the first MIX - 1 or MIX sets, or NULL.
    size_t bundled;
    fa_tag tags[SETS];
    uint32_t next_stamp;
    check_rng rng;
} model;

static const size_t sizes[SETS] = {8, 24, 320, 64};
static model world;

static void stamp(model *m, size_t set, fa_entity entity, void *item) {
    uint32_t *words = item;
    for (size_t i = 0; i < m->strides[set] / 4; i++) {
        CHECK_EQ(words[i], 0); // Zeroed, whatever was there before.
    }
    m->next_stamp += 1;
    words[0] = entity.index;
    words[m->strides[set] / 4 - 1] = m->next_stamp;
    m->counts[set] += m->has[set][entity.index].generation == 0 ? 1 : 0;
    m->has[set][entity.index] = (expected){entity.generation, m->next_stamp};
}

static bool is_right(model *m, size_t set, fa_entity entity, const void *item) {
    const uint32_t *words = item;
    return CHECK_EQ(words[0], entity.index) &&
           CHECK_EQ(words[m->strides[set] / 4 - 1], m->has[set][entity.index].stamp);
}

static fa_entity some_entity(model *m) {
    uint32_t index = (uint32_t)check_rng_below(&m->rng, INDEXES);
    return (fa_entity){index, m->generations[index]};
}

static void create_entity(model *m) {
    fa_entity entity = fa_entity_create(m->entities);
    if (entity.generation == 0) {
        CHECK(failed_as(409, FA_ERR_LIMIT));
        CHECK_EQ(fa_entities_count(m->entities), INDEXES);
        return;
    }
    REQUIRE_LT(entity.index, INDEXES);
    CHECK(!m->alive[entity.index]);
    CHECK_GT(entity.generation, m->generations[entity.index]);
    m->generations[entity.index] = entity.generation;
    m->alive[entity.index] = true;
}

static void remove_one(model *m, size_t set, fa_entity entity) {
    bool has = entity.generation != 0 && m->has[set][entity.index].generation == entity.generation;
    CHECK_EQ(fa_components_remove(m->sets[set], entity), has);
    if (has) {
        m->has[set][entity.index].generation = 0;
        m->counts[set] -= 1;
    }
}

// Ends an entity; now and then its components stay behind.
static void destroy_entity(model *m) {
    fa_entity entity = some_entity(m);
    if (!m->alive[entity.index]) {
        CHECK_EQ(fa_entity_destroy(m->entities, entity), FA_ERR_STALE);
        return;
    }
    for (size_t set = 0; set < SETS && check_rng_chance(&m->rng, 90); set++) {
        remove_one(m, set, entity);
    }
    CHECK_EQ(fa_entity_destroy(m->entities, entity), FA_OK);
    m->alive[entity.index] = false;
}

static void add_one(model *m) {
    size_t set = check_rng_below(&m->rng, SETS);
    fa_entity entity = some_entity(m);
    if (entity.generation == 0) {
        return;
    }
    uint32_t present = m->has[set][entity.index].generation;
    void *item = fa_components_insert(m->sets[set], entity);
    if (present == entity.generation) {
        CHECK_NULL(item);
        CHECK(failed_as(17, FA_ERR_BUSY));
    } else if (CHECK_NOT_NULL(item)) {
        stamp(m, set, entity, item);
    }
}

static void look_up(model *m) {
    size_t set = check_rng_below(&m->rng, SETS);
    fa_entity entity = some_entity(m);
    expected *want = &m->has[set][entity.index];
    bool has = entity.generation != 0 && want->generation == entity.generation;
    void *item = fa_components_get(m->sets[set], entity);
    CHECK_EQ(item != NULL, has);
    CHECK(!has || is_right(m, set, entity, item));
    CHECK_NULL(fa_components_get(m->sets[set], (fa_entity){entity.index, entity.generation + 1}));
}

// Goes over some of the arrays and removes what it comes by, now and then.
static void walk(model *m) {
    static uint8_t visits[INDEXES];
    static bool wanted[INDEXES];
    const fa_components *arrays[SETS];
    size_t first = check_rng_below(&m->rng, SETS);
    size_t count = check_rng_between(&m->rng, 1, SETS - first);
    for (size_t i = 0; i < count; i++) {
        arrays[i] = m->sets[first + i];
    }
    for (size_t index = 0; index < INDEXES; index++) {
        visits[index] = 0;
        wanted[index] = true;
        for (size_t set = first; set < first + count; set++) {
            uint32_t generation = m->has[set][index].generation;
            wanted[index] =
                wanted[index] && generation != 0 && generation == m->has[first][index].generation;
        }
    }
    unsigned percent = (unsigned)check_rng_below(&m->rng, 30);
    fa_view view = fa_view_make(arrays, count);
    while (fa_view_next(&view)) {
        visits[view.entity.index] += 1;
        for (size_t i = 0; i < count; i++) {
            CHECK(is_right(m, first + i, view.entity, view.items[i]));
        }
        if (check_rng_chance(&m->rng, percent)) {
            remove_one(m, first + check_rng_below(&m->rng, count), view.entity);
        }
    }
    for (size_t index = 0; index < INDEXES; index++) {
        CHECK_EQ(visits[index], wanted[index] ? 1 : 0);
    }
}

static void change_bundle(model *m) {
    if (m->bundle != NULL) {
        fa_bundle_destroy(m->bundle);
        m->bundle = NULL;
        return;
    }
    m->bundled = check_rng_between(&m->rng, 2, MIX);
    CHECK_EQ(fa_bundle_create(m->sets, m->bundled, &m->bundle), FA_OK);
}

static void check_bundle(model *m) {
    if (m->bundle == NULL) {
        return;
    }
    uint32_t together = 0;
    for (size_t index = 0; index < INDEXES; index++) {
        uint32_t generation = m->has[0][index].generation;
        bool all = generation != 0;
        for (size_t set = 1; set < m->bundled; set++) {
            all = all && m->has[set][index].generation == generation;
        }
        together += all ? 1 : 0;
    }
    REQUIRE_EQ(fa_bundle_count(m->bundle), together);
    for (uint32_t i = 0; i < together; i++) {
        fa_entity entity = fa_components_entities(m->sets[0])[i];
        for (size_t set = 1; set < m->bundled; set++) {
            CHECK_EQ(fa_components_entities(m->sets[set])[i].index, entity.index);
        }
    }
}

// Everything is where it should be, and charged.
static void check_all(model *m) {
    uint32_t alive = 0;
    size_t bytes = 0;
    for (uint32_t index = 0; index < INDEXES; index++) {
        alive += m->alive[index] ? 1 : 0;
        CHECK_EQ(fa_entity_is_alive(m->entities, (fa_entity){index, m->generations[index]}),
                 m->alive[index]);
    }
    CHECK_EQ(fa_entities_count(m->entities), alive);
    for (size_t set = 0; set < SETS; set++) {
        const fa_components *array = m->sets[set];
        CHECK_EQ(fa_components_count(array), m->counts[set]);
        for (uint32_t i = 0; i < fa_components_count(array); i++) {
            fa_entity entity = fa_components_entities(array)[i];
            REQUIRE_LT(entity.index, INDEXES);
            CHECK_EQ(m->has[set][entity.index].generation, entity.generation);
            char *item = (char *)fa_components_data(array) + i * m->strides[set];
            CHECK_EQ(fa_components_get(array, entity), item);
            CHECK(is_right(m, set, entity, item));
        }
        size_t live = m->counts[set] * m->strides[set];
        CHECK_EQ(tag_stats_of(m->ctx, m->tags[set]).current_bytes, live);
        bytes += live;
    }
    CHECK_EQ(stats_of(m->ctx).pool_bytes, bytes + (size_t)8 * m->entities->made);
    check_bundle(m);
}

static void clear_one(model *m) {
    size_t set = check_rng_below(&m->rng, SETS);
    fa_components_clear(m->sets[set]);
    memset(m->has[set], 0, sizeof(m->has[set]));
    m->counts[set] = 0;
}

static void step(model *m) {
    size_t what = check_rng_below(&m->rng, 10000);
    if (what < 1500) {
        create_entity(m);
    } else if (what < 2300) {
        destroy_entity(m);
    } else if (what < 6300) {
        add_one(m);
    } else if (what < 7500) {
        remove_one(m, check_rng_below(&m->rng, SETS), some_entity(m));
    } else if (what < 9970) {
        look_up(m);
    } else if (what < 9985) {
        walk(m);
    } else if (what < 9990) {
        change_bundle(m);
    } else if (what < 9996) {
        fa_components_trim(m->sets[check_rng_below(&m->rng, SETS)]);
    } else if (what < 9998) {
        clear_one(m);
    } else {
        check_all(m);
    }
}

static void world_open(model *m, const fa_config *config) {
    memset(m, 0, sizeof(*m));
    m->rng = check_rng_make(check_seed());
    m->ctx = context_open(config);
    const fa_entities_desc desc = {.max_count = INDEXES};
    REQUIRE_EQ(fa_entities_create(m->ctx, &desc, &m->entities), FA_OK);
    for (size_t set = 0; set < SETS; set++) {
        char path[32] = "component/0";
        path[10] = (char)('0' + set);
        m->tags[set] = fa_tag_register(m->ctx, path);
        const fa_components_desc array = {.size = sizes[set], .tag = m->tags[set]};
        REQUIRE_EQ(fa_components_create(m->ctx, &array, &m->sets[set]), FA_OK);
        m->strides[set] = sizes[set];
    }
}

static void world_close(model *m) {
    for (size_t set = 0; set < SETS; set++) {
        fa_components_destroy(m->sets[set]);
    }
    fa_bundle_destroy(m->bundle);
    fa_entities_destroy(m->entities);
    CHECK_EQ(stats_of(m->ctx).pool_bytes, 0);
    context_close(m->ctx);
}

static void a_random_world_is_as_the_model_says(void) {
    world_open(&world, NULL);
    size_t steps = check_scale(400000);
    for (size_t i = 0; i < steps; i++) {
        check_note("step %zu", i);
        step(&world);
    }
    check_all(&world);
    world_close(&world);
}

// Where arrays move when they grow.
static void a_random_world_without_commit(void) {
    static fault_backend blocks;
    fault_backend_make(&blocks, FAULT_BLOCKS);
    blocks.has_rubbish = true;
    world_open(&world, &(fa_config){.backend = &blocks.backend});
    size_t steps = check_scale(100000);
    for (size_t i = 0; i < steps; i++) {
        check_note("step %zu", i);
        step(&world);
    }
    check_all(&world);
    world_close(&world);
    fault_backend_end(&blocks);
}

// What a refused call leaves is what was there before it.
static void a_random_world_with_refusals(void) {
    static fault_backend faults;
    fault_backend_make(&faults, FAULT_PAGES);
    faults.has_rubbish = true;
    model *m = &world;
    world_open(m, &(fa_config){.backend = &faults.backend});
    fault_backend_set(&faults, FAULT_RANDOM, 0, 60, check_seed());
    size_t refused = 0;
    for (size_t i = 0; i < check_scale(100000); i++) {
        check_note("step %zu", i);
        size_t set = check_rng_below(&m->rng, SETS);
        fa_entity entity = {(uint32_t)check_rng_below(&m->rng, INDEXES), 1};
        m->generations[entity.index] = 1;
        uint32_t present = m->has[set][entity.index].generation;
        if (check_rng_chance(&m->rng, 60)) {
            void *item = fa_components_insert(m->sets[set], entity);
            if (item != NULL) {
                stamp(m, set, entity, item);
            } else if (present == 0) {
                CHECK_EQ(fa_last_error()->code, 305);
                refused += 1;
            }
        } else {
            remove_one(m, set, entity);
        }
        if (check_rng_chance(&m->rng, 1)) {
            fa_components_trim(m->sets[set]);
            look_up(m);
        }
        CHECK_EQ(fa_components_count(m->sets[set]), m->counts[set]);
    }
    fault_backend_set(&faults, FAULT_NONE, 0, 0, 0);
    CHECK_GT(refused, 0);
    check_all(m);
    world_close(m);
    fault_backend_end(&faults);
}

TEST_SUITE(components_model, TEST(a_random_world_is_as_the_model_says),
           TEST(a_random_world_without_commit), TEST(a_random_world_with_refusals));

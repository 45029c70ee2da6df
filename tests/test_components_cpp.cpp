// Components as C++ sees them.
#include <framealloc/components.h>

#include "container_fixture.h"

namespace {

struct position {
    float x;
    float y;
};

struct alignas(64) wide {
    float lanes[16];
};

typedef FA_COMPONENTS(position) positions;
typedef FA_COMPONENTS(wide) wides;

fa_entity entity_at(uint32_t index) {
    return fa_entity{index, 1};
}

void typed_arrays_hold_their_type(void) {
    fixture fix = fixture_open();
    positions places = {};
    wides lanes = {};
    fa_components_desc desc = {};
    desc.name = "positions";
    REQUIRE_EQ((int)fa_component_open(fix.context, &places, &desc), (int)FA_OK);
    REQUIRE_EQ((int)fa_component_open(fix.context, &lanes, nullptr), (int)FA_OK);
    for (uint32_t i = 0; i < 100; i++) {
        position *place = fa_component_add(&places, entity_at(i));
        REQUIRE_NOT_NULL(place);
        place->x = (float)i;
        if (i % 2 == 0) {
            wide *lane = fa_component_add(&lanes, entity_at(i));
            REQUIRE_NOT_NULL(lane);
            CHECK_EQ((uintptr_t)lane % 64, 0u);
        }
    }
    CHECK_EQ(fa_component_count(&places), 100u);
    CHECK_EQ(fa_component_get(&places, entity_at(7))->x, 7.0F);
    CHECK_EQ(fa_component_data(&places)[9].x, 9.0F);
    CHECK_NULL(fa_component_get(&lanes, entity_at(7)));
    size_t seen = 0;
    fa_view view = fa_view_of(places.set, lanes.set);
    while (fa_view_next(&view)) {
        seen += 1;
        CHECK(fa_components_remove(places.set, view.entity));
    }
    CHECK_EQ(seen, 50u);
    CHECK_EQ(fa_component_count(&places), 50u);
    fa_components_destroy(places.set);
    fa_components_destroy(lanes.set);
    fixture_close(&fix);
}

void entities_come_and_go(void) {
    fixture fix = fixture_open();
    fa_entities *entities = nullptr;
    REQUIRE_EQ((int)fa_entities_create(fix.context, nullptr, &entities), (int)FA_OK);
    fa_entity entity = fa_entity_create(entities);
    CHECK(fa_entity_is_alive(entities, entity));
    CHECK_EQ((int)fa_entity_destroy(entities, entity), (int)FA_OK);
    CHECK(!fa_entity_is_alive(entities, entity));
    fa_entities_destroy(entities);
    fixture_close(&fix);
}

} // namespace

TEST_SUITE(components_cpp, TEST(typed_arrays_hold_their_type), TEST(entities_come_and_go));

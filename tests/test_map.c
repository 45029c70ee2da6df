// Maps: every kind of key, order, growth, collisions, refusals, and random operations against a
// list of pairs.
#include <framealloc/map.h>

#include "container_fixture.h"

#include <stdio.h>
#include <string.h>

typedef FA_MAP(uint32_t, int) number_map;
typedef FA_MAP(const char *, int) text_map;

static number_map squares(fa_arena *arena, uint32_t count) {
    number_map map = {0};
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ(fa_map_put(arena, &map, i, (int)(i * i)), FA_OK);
    }
    return map;
}

// ---- Finding ----

static void zero_initialised_is_an_empty_map(void) {
    fa_last_error_clear();
    number_map map = {0};
    CHECK_NULL(fa_map_get(&map, 1));
    CHECK(!fa_map_contains(&map, 1));
    CHECK(!fa_map_remove(&map, 1));
    fa_map_clear(&map);
    CHECK_EQ(map.count, 0);
    CHECK_NULL(map.entries);
    nothing_failed();
}

static void put_then_get_finds_every_value(void) {
    fixture fix = fixture_open();
    number_map map = squares(fix.arena, 10000);
    const number_map *view = &map;
    CHECK_EQ(map.count, 10000);
    for (uint32_t i = 0; i < 10000; i++) {
        const int *value = fa_map_get(view, i);
        if (!CHECK_NOT_NULL(value) || !CHECK_EQ(*value, (int)(i * i))) {
            break;
        }
    }
    CHECK_NULL(fa_map_get(&map, 10000));
    CHECK(fa_map_contains(&map, 9999));
    CHECK(!fa_map_contains(&map, 10001));
    nothing_failed();
    fixture_close(&fix);
}

static void put_replaces_the_value_of_a_key_in_its_place(void) {
    fixture fix = fixture_open();
    number_map map = squares(fix.arena, 5);
    CHECK_EQ(fa_map_put(fix.arena, &map, 2, 77), FA_OK);
    CHECK_EQ(map.count, 5);
    CHECK_EQ(map.entries[2].key, 2);
    CHECK_EQ(map.entries[2].value, 77);
    fixture_close(&fix);
}

static void get_or_insert_makes_a_zeroed_value_once(void) {
    fixture fix = fixture_open();
    const char *const words[] = {"to", "be", "or", "not", "to", "be"};
    text_map counts = {0};
    for (size_t i = 0; i < 6; i++) {
        int *count = fa_map_get_or_insert(fix.arena, &counts, words[i]);
        REQUIRE_NOT_NULL(count);
        (*count)++;
    }
    CHECK_EQ(counts.count, 4);
    CHECK_EQ(*fa_map_get(&counts, "to"), 2);
    CHECK_EQ(*fa_map_get(&counts, "be"), 2);
    CHECK_EQ(*fa_map_get(&counts, "not"), 1);
    // Memory that was used before is zeroed as well.
    CHECK(fa_map_remove(&counts, "not"));
    CHECK_EQ(*fa_map_get_or_insert(fix.arena, &counts, "new"), 0);
    fixture_close(&fix);
}

static void a_value_of_the_map_itself_may_be_put(void) {
    fixture fix = fixture_open();
    number_map map = squares(fix.arena, 6);
    REQUIRE_EQ(map.count, map.capacity);
    CHECK_NOT_NULL(fa_arena_alloc(fix.arena, 1));
    CHECK_EQ(fa_map_put(fix.arena, &map, 100, *fa_map_get(&map, 5)), FA_OK);
    CHECK_EQ(*fa_map_get(&map, 100), 25);
    CHECK_EQ(fa_map_put(fix.arena, &map, map.entries[1].key + 1000, map.entries[3].value), FA_OK);
    CHECK_EQ(*fa_map_get(&map, 1001), 9);
    fixture_close(&fix);
}

// ---- Order ----

static void entries_stand_in_the_order_of_insertion(void) {
    fixture fix = fixture_open();
    number_map map = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        CHECK_EQ(fa_map_put(fix.arena, &map, i * 2654435761U, (int)i), FA_OK);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        CHECK_EQ(map.entries[i].key, i * 2654435761U);
        CHECK_EQ(map.entries[i].value, (int)i);
    }
    fixture_close(&fix);
}

static void remove_puts_the_last_entry_into_the_gap(void) {
    fixture fix = fixture_open();
    number_map map = squares(fix.arena, 5);
    CHECK(fa_map_remove(&map, 1));
    CHECK(!fa_map_remove(&map, 1));
    const uint32_t keys[] = {0, 4, 2, 3};
    CHECK_EQ(map.count, 4);
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQ(map.entries[i].key, keys[i]);
        CHECK_EQ(*fa_map_get(&map, keys[i]), (int)(keys[i] * keys[i]));
    }
    CHECK(fa_map_remove(&map, 3));
    CHECK_EQ(map.count, 3);
    CHECK_EQ(map.entries[1].key, 4);
    CHECK_NULL(fa_map_get(&map, 3));
    nothing_failed();
    fixture_close(&fix);
}

static void removing_backwards_while_iterating_visits_every_entry(void) {
    fixture fix = fixture_open();
    number_map map = squares(fix.arena, 300);
    uint32_t sum = 0;
    for (size_t i = map.count; i-- > 0;) {
        sum += map.entries[i].key;
        if (map.entries[i].key % 3 != 0) {
            CHECK(fa_map_remove(&map, map.entries[i].key));
        }
    }
    CHECK_EQ(sum, 299 * 300 / 2);
    CHECK_EQ(map.count, 100);
    for (uint32_t i = 0; i < 300; i++) {
        CHECK_EQ(fa_map_contains(&map, i), i % 3 == 0);
    }
    fixture_close(&fix);
}

static void clear_keeps_the_capacity_and_forgets_the_keys(void) {
    fixture fix = fixture_open();
    number_map map = squares(fix.arena, 100);
    size_t capacity = map.capacity;
    size_t used = fa_arena_used(fix.arena);
    fa_map_clear(&map);
    CHECK_EQ(map.count, 0);
    CHECK_EQ(map.capacity, capacity);
    CHECK(!fa_map_contains(&map, 7));
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ(fa_map_put(fix.arena, &map, i + 50, 1), FA_OK);
    }
    CHECK_EQ(map.count, 100);
    CHECK(!fa_map_contains(&map, 49));
    CHECK_EQ(fa_arena_used(fix.arena), used);
    fixture_close(&fix);
}

// ---- Keys ----

static void texts_compare_by_content_not_by_address(void) {
    fixture fix = fixture_open();
    text_map map = {0};
    char name[] = "player";
    CHECK_EQ(fa_map_put(fix.arena, &map, "player", 1), FA_OK);
    CHECK_EQ(*fa_map_get(&map, name), 1);
    CHECK_EQ(fa_map_put(fix.arena, &map, name, 2), FA_OK);
    CHECK_EQ(map.count, 1);
    CHECK_NE(map.entries[0].key, name);
    CHECK_NULL(fa_map_get(&map, "playe"));
    CHECK_NULL(fa_map_get(&map, ""));
    CHECK_EQ(fa_map_put(fix.arena, &map, "", 3), FA_OK);
    CHECK_EQ(*fa_map_get(&map, ""), 3);
    FA_MAP(char *, int) writable = {0};
    CHECK_EQ(fa_map_put(fix.arena, &writable, name, 4), FA_OK);
    char same[] = "player";
    CHECK_EQ(*fa_map_get(&writable, same), 4);
    fixture_close(&fix);
}

static void str_keys_compare_by_content(void) {
    fixture fix = fixture_open();
    FA_MAP(fa_str, int) map = {0};
    const char *line = "key=key";
    CHECK_EQ(fa_map_put(fix.arena, &map, fa_str_make(line, 3), 1), FA_OK);
    CHECK_EQ(*fa_map_get(&map, fa_str_make(line + 4, 3)), 1);
    CHECK_NULL(fa_map_get(&map, fa_str_make(line, 4)));
    CHECK_EQ(fa_map_put(fix.arena, &map, ((fa_str){0}), 2), FA_OK);
    CHECK_EQ(*fa_map_get(&map, FA_STR("")), 2);
    fixture_close(&fix);
}

static void addresses_compare_by_address(void) {
    fixture fix = fixture_open();
    FA_MAP(const void *, int) map = {0};
    char same[2][4] = {"abc", "abc"};
    CHECK_EQ(fa_map_put(fix.arena, &map, same[0], 1), FA_OK);
    CHECK_EQ(*fa_map_get(&map, same[0]), 1);
    CHECK_NULL(fa_map_get(&map, same[1]));
    CHECK_EQ(fa_map_put(fix.arena, &map, NULL, 2), FA_OK);
    CHECK_EQ(*fa_map_get(&map, NULL), 2);
    fixture_close(&fix);
}

static void struct_keys_and_values_of_any_size_work(void) {
    fixture fix = fixture_open();
    typedef struct cell {
        int32_t x;
        int32_t y;
        int32_t z;
    } cell;
    typedef struct room {
        char name[33];
    } room;
    FA_MAP(cell, room) map = {0};
    for (int32_t i = 0; i < 500; i++) {
        room value = {{0}};
        snprintf(value.name, sizeof(value.name), "room %d", (int)i);
        CHECK_EQ(fa_map_put(fix.arena, &map, ((cell){i, -i, i * i}), value), FA_OK);
    }
    CHECK_EQ(fa_map_put(fix.arena, &map, ((cell){1, 2, 3}), {"braces"}), FA_OK);
    CHECK_STR_EQ(fa_map_get(&map, ((cell){21, -21, 441}))->name, "room 21");
    CHECK_STR_EQ(fa_map_get(&map, ((cell){1, 2, 3}))->name, "braces");
    CHECK_NULL(fa_map_get(&map, ((cell){21, 21, 441})));
    FA_MAP(uint8_t, uint8_t) small = {0};
    for (unsigned i = 0; i < 256; i++) {
        CHECK_EQ(fa_map_put(fix.arena, &small, (uint8_t)i, (uint8_t)(255 - i)), FA_OK);
    }
    CHECK_EQ(small.count, 256);
    CHECK_EQ(*fa_map_get(&small, 17), 238);
    for (size_t count = 1; count < 40; count++) {
        FA_MAP(uint8_t, uint8_t) odd = {0};
        CHECK_EQ(fa_map_reserve(fix.arena, &odd, count), FA_OK);
        CHECK_EQ((uintptr_t)odd.slots % _Alignof(fa_map_slot), 0);
    }
    fixture_close(&fix);
}

static void over_aligned_entries_stay_aligned(void) {
    fixture fix = fixture_open();
    typedef struct wide {
        _Alignas(128) unsigned char bytes[128];
    } wide;
    FA_MAP(uint64_t, wide) map = {0};
    for (unsigned i = 0; i < 100; i++) {
        if (i % 5 == 0) {
            CHECK_NOT_NULL(fa_arena_alloc(fix.arena, 16));
        }
        wide *value = fa_map_get_or_insert(fix.arena, &map, i);
        REQUIRE_NOT_NULL(value);
        CHECK_EQ((uintptr_t)value % 128, 0);
        value->bytes[127] = (unsigned char)i;
    }
    for (unsigned i = 0; i < 100; i++) {
        CHECK_EQ(fa_map_get(&map, i)->bytes[127], i);
    }
    fixture_close(&fix);
}

static uint64_t hash_of_nothing(const void *key, void *user) {
    (void)key;
    (*(unsigned *)user)++;
    return 42;
}

static bool equal_ignoring_the_last_digit(const void *left, const void *right, void *user) {
    (void)user;
    return *(const uint32_t *)left / 10 == *(const uint32_t *)right / 10;
}

static void own_hash_and_comparison_are_used(void) {
    fixture fix = fixture_open();
    unsigned hashed = 0;
    const fa_map_desc desc = {hash_of_nothing, equal_ignoring_the_last_digit, &hashed};
    number_map map = {.desc = &desc};
    CHECK_EQ(fa_map_put(fix.arena, &map, 10, 1), FA_OK);
    CHECK_EQ(fa_map_put(fix.arena, &map, 19, 2), FA_OK);
    CHECK_EQ(fa_map_put(fix.arena, &map, 20, 3), FA_OK);
    CHECK_EQ(map.count, 2);
    CHECK_EQ(map.entries[0].key, 10);
    CHECK_EQ(*fa_map_get(&map, 11), 2);
    CHECK_GT(hashed, 3);
    fixture_close(&fix);
}

static void keys_that_all_collide_are_kept_apart(void) {
    fixture fix = fixture_open();
    unsigned hashed = 0;
    const fa_map_desc desc = {hash_of_nothing, NULL, &hashed};
    number_map map = {.desc = &desc};
    for (uint32_t i = 0; i < 200; i++) {
        CHECK_EQ(fa_map_put(fix.arena, &map, i, (int)i), FA_OK);
    }
    for (uint32_t i = 0; i < 200; i += 2) {
        CHECK(fa_map_remove(&map, i));
    }
    CHECK_EQ(map.count, 100);
    for (uint32_t i = 0; i < 200; i++) {
        CHECK_EQ(fa_map_contains(&map, i), i % 2 == 1);
    }
    fixture_close(&fix);
}

static void the_hash_spreads_regular_keys(void) {
    // Keys as programs have them: counting, in steps, in high bits. As good as random means that
    // 4096 keys leave about 1507 of 4096 places empty (a share of 1/e), for any 12 bits of the
    // hash.
    static const unsigned shifts[] = {0, 1, 8, 16, 20, 32, 52};
    static const unsigned places[] = {0, 20, 52};
    for (size_t i = 0; i < 7; i++) {
        for (size_t j = 0; j < 3; j++) {
            for (size_t size = 8; size <= 24; size += 8) {
                static bool taken[4096];
                memset(taken, 0, sizeof(taken));
                size_t empty = 4096;
                for (uint64_t key = 0; key < 4096; key++) {
                    uint64_t words[3] = {key << shifts[i], 0, 0};
                    uint64_t place = fa_map_hash_bytes(words, size) >> places[j] & 4095;
                    empty -= taken[place] ? 0 : 1;
                    taken[place] = true;
                }
                check_note("shift %u, bits from %u, %zu bytes", shifts[i], places[j], size);
                CHECK_GT(empty, 1300);
                CHECK_LT(empty, 1700);
            }
        }
    }
}

static uint64_t hash_as_it_is(const void *key, void *user) {
    (void)user;
    return *(const uint64_t *)key;
}

// How far the entry worst off stands from its home.
static size_t longest_search(const fa_map *map) {
    size_t longest = 0;
    for (size_t place = 0; place <= map->slot_mask; place++) {
        size_t distance = (place - map->slots[place].hash) & map->slot_mask;
        if (map->slots[place].number != 0 && distance > longest) {
            longest = distance;
        }
    }
    return longest;
}

static void regular_keys_stand_near_their_home(void) {
    fixture fix = fixture_open();
    const fa_map_desc plain = {hash_as_it_is, NULL, NULL};
    for (unsigned shift = 0; shift < 52; shift += 4) {
        FA_MAP(uint64_t, int) wide = {0};
        FA_MAP(uint64_t, int) own = {.desc = &plain};
        FA_MAP(uint32_t, int) narrow = {0};
        for (uint64_t i = 0; i < 3000; i++) {
            fa_map_put(fix.arena, &wide, i << shift, 1);
            fa_map_put(fix.arena, &own, i << shift, 1);
            fa_map_put(fix.arena, &narrow, (uint32_t)(i << shift % 20), 1);
        }
        check_note("shift %u", shift);
        CHECK_EQ(wide.count, 3000);
        CHECK_LT(longest_search((const fa_map *)(const void *)&wide), 40);
        CHECK_LT(longest_search((const fa_map *)(const void *)&own), 40);
        CHECK_LT(longest_search((const fa_map *)(const void *)&narrow), 40);
    }
    fixture_close(&fix);
}

static void every_byte_of_a_key_matters_to_the_hash(void) {
    unsigned char bytes[67] = {0};
    for (size_t length = 1; length < sizeof(bytes); length++) {
        uint64_t plain = fa_map_hash_bytes(bytes, length);
        CHECK_NE(plain, fa_map_hash_bytes(bytes, length - 1));
        for (size_t i = 0; i < length; i++) {
            bytes[i] = 1;
            CHECK_NE(fa_map_hash_bytes(bytes, length), plain);
            bytes[i] = 0;
        }
    }
}

// ---- Growing ----

static void growth_at_the_end_of_the_arena_is_in_place(void) {
    fixture fix = fixture_open();
    size_t before = fa_arena_used(fix.arena);
    number_map map = squares(fix.arena, 1);
    const void *first = map.entries;
    for (uint32_t i = 1; i < 3000; i++) {
        fa_map_put(fix.arena, &map, i, (int)(i * i));
    }
    CHECK_EQ((const void *)map.entries, first);
    size_t block = map.capacity * sizeof(map.entries[0]) + (map.slot_mask + 1) * 8;
    CHECK_EQ(fa_arena_used(fix.arena) - before, block);
    CHECK_EQ(map.capacity, 3072);
    for (uint32_t i = 0; i < 3000; i++) {
        CHECK_EQ(*fa_map_get(&map, i), (int)(i * i));
    }
    fixture_close(&fix);
}

static void growth_before_another_block_moves(void) {
    fixture fix = fixture_open();
    number_map map = squares(fix.arena, 6);
    REQUIRE_EQ(map.capacity, 6);
    CHECK_NOT_NULL(fa_arena_alloc(fix.arena, 1));
    const void *old = map.entries;
    CHECK_EQ(fa_map_put(fix.arena, &map, 6, 36), FA_OK);
    CHECK_NE((const void *)map.entries, old);
    CHECK_EQ(map.capacity, 12);
    for (uint32_t i = 0; i < 7; i++) {
        CHECK_EQ(*fa_map_get(&map, i), (int)(i * i));
    }
    fixture_close(&fix);
}

static void reserve_makes_room_once(void) {
    fixture fix = fixture_open();
    for (size_t count = 1; count < 200; count += 7) {
        number_map map = {0};
        CHECK_EQ(fa_map_put(fix.arena, &map, 5000, 1), FA_OK);
        CHECK_EQ(fa_map_reserve(fix.arena, &map, count + 1), FA_OK);
        CHECK_GE(map.capacity, count + 1);
        size_t used = fa_arena_used(fix.arena);
        for (uint32_t i = 0; i < count; i++) {
            CHECK_EQ(fa_map_put(fix.arena, &map, i, 1), FA_OK);
        }
        CHECK_EQ(fa_arena_used(fix.arena), used);
        CHECK_EQ(fa_map_reserve(fix.arena, &map, 1), FA_OK);
        CHECK_EQ(fa_arena_used(fix.arena), used);
        // And it goes on growing from there.
        for (uint32_t i = 0; i < 3 * count; i++) {
            CHECK_EQ(fa_map_put(fix.arena, &map, i, 2), FA_OK);
        }
        CHECK_EQ(map.count, 3 * count + 1);
        CHECK_EQ(*fa_map_get(&map, 5000), 1);
        fa_arena_alloc(fix.arena, 1);
    }
    fixture_close(&fix);
}

static void three_quarters_of_the_index_at_most_are_taken(void) {
    fixture fix = fixture_open();
    number_map map = {0};
    for (uint32_t i = 0; i < 2000; i++) {
        CHECK_EQ(fa_map_put(fix.arena, &map, i, 0), FA_OK);
        CHECK_LE(map.count * 4, (map.slot_mask + 1) * 3);
    }
    fixture_close(&fix);
}

// ---- Refusals ----

static void null_texts_are_refused_as_keys(void) {
    fixture fix = fixture_open();
    text_map map = {0};
    CHECK_EQ(fa_map_put(fix.arena, &map, "a", 1), FA_OK);
    CHECK_EQ(fa_map_put(fix.arena, &map, NULL, 1), FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "key");
    CHECK_NULL(fa_map_get_or_insert(fix.arena, &map, NULL));
    CHECK_NULL(fa_map_get(&map, NULL));
    CHECK(!fa_map_remove(&map, NULL));
    CHECK_EQ(map.count, 1);
    fixture_close(&fix);
}

static void counts_that_overflow_are_refused(void) {
    fixture fix = fixture_open();
    number_map map = squares(fix.arena, 3);
    const number_map before = map;
    const size_t used = fa_arena_used(fix.arena);
    const size_t counts[] = {FA_MAP_COUNT_MAX + 1, SIZE_MAX / 2, SIZE_MAX / 4 * 3 + 3, SIZE_MAX};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        CHECK_EQ(fa_map_reserve(fix.arena, &map, counts[i]), FA_ERR_OVERFLOW);
        failed_with(13, FA_ERR_OVERFLOW, counts[i], FA_MAP_COUNT_MAX);
    }
    // This one fits into size_t where pointers have 64 bits, and into no arena.
    CHECK_LT((int)fa_map_reserve(fix.arena, &map, FA_MAP_COUNT_MAX), 0);
    // Entries so large that two of them wrap round where pointers have 32 bits.
    fa_map raw = {0};
    const fa_map_type type = {4, UINT32_C(1) << 31, 16, FA_MAP_KEY_BYTES};
    CHECK_LT((int)fa_map_reserve_raw(fix.arena, &raw, type, 2), 0);
    CHECK_LT((int)fa_map_reserve_raw(fix.arena, &raw, type, FA_MAP_COUNT_MAX), 0);
    CHECK_NULL(raw.entries);
    CHECK_MEM_EQ(&map, &before, sizeof(map));
    CHECK_EQ(*fa_map_get(&map, 2), 4);
    CHECK_EQ(fa_arena_used(fix.arena), used);
    fixture_close(&fix);
}

static void fill_until_refused(void *memory, size_t size, bool in_place) {
    fixture fix = fixture_open_memory(memory, size);
    number_map map = {0};
    unsigned refusals = 0;
    for (uint32_t step = 0; refusals < 4; step++) {
        if (!in_place && step % 3 == 0) {
            fa_arena_alloc(fix.arena, 1);
        }
        const number_map before = map;
        const size_t used = fa_arena_used(fix.arena);
        fa_result result = step % 8 == 7 ? fa_map_reserve(fix.arena, &map, map.capacity + 1)
                                         : fa_map_put(fix.arena, &map, step, (int)step);
        if (result == FA_OK) {
            continue;
        }
        refusals++;
        CHECK_EQ(fa_last_error()->code, 3);
        CHECK_EQ((int)fa_last_error()->result, (int)result);
        CHECK_MEM_EQ(&map, &before, sizeof(map));
        CHECK_EQ(fa_arena_used(fix.arena), used);
        for (size_t i = 0; i < map.count; i++) {
            CHECK_EQ(fa_map_get(&map, map.entries[i].key), &map.entries[i].value);
            CHECK_EQ(map.entries[i].value, (int)map.entries[i].key);
        }
        if (map.count == map.capacity) {
            CHECK_NULL(fa_map_get_or_insert(fix.arena, &map, 1000000));
        }
    }
    fixture_close(&fix);
}

static void a_refused_growth_changes_nothing(void) {
    static _Alignas(16) unsigned char memory[4096];
    for (size_t size = 16; size <= sizeof(memory); size += 16) {
        check_note("%zu bytes", size);
        fill_until_refused(memory, size, true);
        fill_until_refused(memory, size, false);
    }
}

// ---- Macros ----

static fa_arena *given_arena;
static number_map given_map;
static unsigned calls;

static fa_arena *next_arena(void) {
    calls++;
    return given_arena;
}

static number_map *next_map(void) {
    calls += 100;
    return &given_map;
}

static uint32_t next_key(void) {
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
    given_map = (number_map){0};
    calls = 0;
    int value = 5;
    CHECK_EQ(fa_map_put(next_arena(), next_map(), next_key(), value++), FA_OK);
    called(10101);
    CHECK_EQ(value, 6);
    CHECK_EQ(*fa_map_get(next_map(), next_key()), 5);
    called(10100);
    CHECK(fa_map_contains(next_map(), next_key()));
    called(10100);
    CHECK_NOT_NULL(fa_map_get_or_insert(next_arena(), next_map(), next_key()));
    called(10101);
    CHECK(fa_map_remove(next_map(), next_key()));
    called(10100);
    CHECK_EQ(fa_map_reserve(next_arena(), next_map(), next_key()), FA_OK);
    called(10101);
    fa_map_clear(next_map());
    called(100);
    number_map two[2] = {{0}, {0}};
    number_map *map = two;
    uint32_t key = 3;
    CHECK_EQ(fa_map_put(fix.arena, map++, key++, 1), FA_OK);
    CHECK_EQ(map, &two[1]);
    CHECK_EQ(key, 4);
    CHECK_NOT_NULL(fa_map_get(--map, --key));
    fixture_close(&fix);
}

// ---- Random operations against a list of pairs ----

#define MODEL_MAX 512

typedef struct model {
    uint64_t keys[MODEL_MAX];
    uint64_t values[MODEL_MAX];
    size_t count;
} model;

typedef FA_MAP(uint64_t, uint64_t) u64_map;

static size_t model_find(const model *plain, uint64_t key) {
    size_t i = 0;
    while (i < plain->count && plain->keys[i] != key) {
        i++;
    }
    return i;
}

static void model_put(model *plain, uint64_t key, uint64_t value) {
    size_t i = model_find(plain, key);
    plain->keys[i] = key;
    plain->values[i] = value;
    plain->count += i == plain->count ? 1 : 0;
}

static bool model_remove(model *plain, uint64_t key) {
    size_t i = model_find(plain, key);
    if (i == plain->count) {
        return false;
    }
    plain->count--;
    plain->keys[i] = plain->keys[plain->count];
    plain->values[i] = plain->values[plain->count];
    return true;
}

static bool agrees_on(const u64_map *map, const model *plain, uint64_t key) {
    size_t i = model_find(plain, key);
    const uint64_t *value = fa_map_get(map, key);
    if (i == plain->count) {
        return CHECK_NULL(value);
    }
    return CHECK_EQ(value, &map->entries[i].value) && CHECK_EQ(*value, plain->values[i]);
}

static bool agrees_wholly(const u64_map *map, const model *plain) {
    bool same = CHECK_EQ(map->count, plain->count);
    for (size_t i = 0; i < plain->count && same; i++) {
        same = CHECK_EQ(map->entries[i].key, plain->keys[i]) &&
               CHECK_EQ(fa_map_get(map, plain->keys[i]), &map->entries[i].value) &&
               CHECK_EQ(map->entries[i].value, plain->values[i]);
    }
    return same;
}

static void random_step(check_rng *rng, fa_arena *arena, u64_map *map, model *plain,
                        uint64_t keys) {
    uint64_t key = check_rng_below(rng, keys);
    uint64_t value = check_rng_next(rng);
    uint64_t *found = NULL;
    switch (check_rng_below(rng, 8)) {
    case 0:
        found = fa_map_get_or_insert(arena, map, key);
        if (CHECK_NOT_NULL(found)) {
            size_t i = model_find(plain, key);
            CHECK_EQ(*found, i < plain->count ? plain->values[i] : 0);
            *found = value;
            model_put(plain, key, value);
        }
        break;
    case 1:
    case 2:
    case 3:
        CHECK_EQ(fa_map_put(arena, map, key, value), FA_OK);
        model_put(plain, key, value);
        break;
    case 4:
        CHECK_EQ(fa_map_contains(map, key), model_find(plain, key) < plain->count);
        break;
    default:
        CHECK_EQ(fa_map_remove(map, key), model_remove(plain, key));
    }
    agrees_on(map, plain, key);
    if (check_rng_below(rng, 2000) == 0) {
        CHECK_EQ(fa_map_reserve(arena, map, check_rng_below(rng, 2 * MODEL_MAX)), FA_OK);
    }
    if (check_rng_below(rng, 2000) == 0) {
        fa_map_clear(map);
        plain->count = 0;
    }
}

static void run_random(const fa_map_desc *desc, size_t steps) {
    fixture fix = fixture_open();
    check_rng rng = check_rng_make(check_seed());
    static model plain;
    plain.count = 0;
    u64_map map = {.desc = desc};
    uint64_t keys = 30;
    for (size_t step = 0; step < steps; step++) {
        check_note("step %zu of those with %s hash", step, desc == NULL ? "the" : "a bad");
        random_step(&rng, fix.arena, &map, &plain, keys);
        if (check_rng_chance(&rng, 5)) {
            fa_arena_alloc(fix.arena, 1);
        }
        if (step % 64 == 0 && !agrees_wholly(&map, &plain)) {
            break;
        }
        if (check_rng_below(&rng, 3000) == 0) {
            fa_arena_reset(fix.arena);
            map = (u64_map){.desc = desc};
            plain.count = 0;
            keys = check_rng_between(&rng, 1, MODEL_MAX);
        }
    }
    agrees_wholly(&map, &plain);
    fixture_close(&fix);
}

static uint64_t hash_into_four(const void *key, void *user) {
    (void)user;
    return *(const uint64_t *)key & 3;
}

static void random_operations_agree_with_a_list_of_pairs(void) {
    run_random(NULL, check_scale(1500000));
}

static void random_operations_with_a_bad_hash_agree_as_well(void) {
    const fa_map_desc desc = {hash_into_four, NULL, NULL};
    run_random(&desc, check_scale(500000));
}

TEST_SUITE(map, TEST(zero_initialised_is_an_empty_map), TEST(put_then_get_finds_every_value),
           TEST(put_replaces_the_value_of_a_key_in_its_place),
           TEST(get_or_insert_makes_a_zeroed_value_once),
           TEST(a_value_of_the_map_itself_may_be_put),
           TEST(entries_stand_in_the_order_of_insertion),
           TEST(remove_puts_the_last_entry_into_the_gap),
           TEST(removing_backwards_while_iterating_visits_every_entry),
           TEST(clear_keeps_the_capacity_and_forgets_the_keys),
           TEST(texts_compare_by_content_not_by_address), TEST(str_keys_compare_by_content),
           TEST(addresses_compare_by_address), TEST(struct_keys_and_values_of_any_size_work),
           TEST(over_aligned_entries_stay_aligned), TEST(own_hash_and_comparison_are_used),
           TEST(keys_that_all_collide_are_kept_apart), TEST(the_hash_spreads_regular_keys),
           TEST(regular_keys_stand_near_their_home), TEST(every_byte_of_a_key_matters_to_the_hash),
           TEST(growth_at_the_end_of_the_arena_is_in_place),
           TEST(growth_before_another_block_moves), TEST(reserve_makes_room_once),
           TEST(three_quarters_of_the_index_at_most_are_taken),
           TEST(null_texts_are_refused_as_keys), TEST(counts_that_overflow_are_refused),
           TEST(a_refused_growth_changes_nothing), TEST(macros_evaluate_each_argument_once),
           TEST(random_operations_agree_with_a_list_of_pairs),
           TEST(random_operations_with_a_bad_hash_agree_as_well));

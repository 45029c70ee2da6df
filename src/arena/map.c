// Maps: entries side by side in the order of insertion, and behind them in the same block an index
// that is searched by hash.
//
//   | entry 0 | 1 | ... | count - 1 | free ....... | slot | slot | slot | ............ |
//   ^ entries                                      ^ entries + capacity * entry_size, aligned
//
// A slot holds 32 bits of a key's hash and the number of its entry, counted from 1; number 0 is
// free. An entry's home is the slot that its hash names; it stands there or in one of the slots
// behind, wrapping round, and never behind an entry that is nearer to its own home (Robin Hood). So
// a search ends early, at the first slot that is free or nearer to its home than the key searched
// for would be, and a removal moves the followers one slot back instead of leaving a mark behind.
// At most three slots in four are taken.
//
// Why not a table of groups with control bytes: iteration here must be dense and in a defined
// order, so entries stand apart from the index anyway; a slot of 8 bytes already tells a mismatch
// without touching the entry, and needs no vector instructions.
//
// One block for both lets a map that is the arena's last block grow in place. The index is rebuilt
// from the keys then: that costs one hash per entry and saves 4 bytes an entry for keeping the
// hashes elsewhere.
#include <framealloc/map.h>

#include "container.h"

// Slots of the smallest index, and of the largest: the home is taken from 32 bits of hash.
#define MAP_SLOTS_MIN ((size_t)8)
#define MAP_SLOTS_MAX ((size_t)1 << 31)

// Keeps what only some keys need, and what it saves and restores, out of the way of the others.
#if defined(__GNUC__)
#define MAP_APART __attribute__((noinline))
#define MAP_HERE inline __attribute__((always_inline))
#else
#define MAP_APART
#define MAP_HERE inline
#endif

// What map_find_slot() returns when the key is not there.
#define MAP_NOWHERE SIZE_MAX

// ---- Hashing ----

// Odd numbers with about as many ones as zeros, from the digits of the square roots of 2, 3, 5 and
// 7.
#define MAP_SALT_A UINT64_C(0x6A09E667F3BCC909)
#define MAP_SALT_B UINT64_C(0xBB67AE8584CAA73B)
#define MAP_SALT_C UINT64_C(0x3C6EF372FE94F82B)
#define MAP_SALT_D UINT64_C(0xA54FF53A5F1D36F1)

// Both halves of the product, folded: every bit of both numbers reaches every bit of the result's
// middle.
static inline uint64_t map_mix(uint64_t left, uint64_t right) {
#if defined(__SIZEOF_INT128__)
    __extension__ unsigned __int128 product = (unsigned __int128)left * right;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
    uint64_t left_low = (uint32_t)left;
    uint64_t left_high = left >> 32;
    uint64_t right_low = (uint32_t)right;
    uint64_t right_high = right >> 32;
    uint64_t low = left_low * right_low;
    uint64_t middle = left_high * right_low + (low >> 32);
    uint64_t other = left_low * right_high + (uint32_t)middle;
    uint64_t high = left_high * right_high + (middle >> 32) + (other >> 32);
    return high ^ ((other << 32) | (uint32_t)low);
#endif
}

static inline uint64_t map_load64(const unsigned char *bytes) {
    uint64_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

static inline uint64_t map_load32(const unsigned char *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

// Up to 16 bytes as two numbers; the two halves overlap where there are fewer.
static uint64_t map_hash_tail(const unsigned char *bytes, size_t length, uint64_t state) {
    uint64_t low = 0;
    uint64_t high = 0;
    if (length >= 8) {
        low = map_load64(bytes);
        high = map_load64(bytes + length - 8);
    } else if (length >= 4) {
        low = map_load32(bytes);
        high = map_load32(bytes + length - 4);
    } else if (length > 0) {
        low = ((uint64_t)bytes[0] << 16) | ((uint64_t)bytes[length / 2] << 8) | bytes[length - 1];
    }
    return map_mix(low ^ MAP_SALT_B, high ^ state);
}

uint64_t fa_map_hash_bytes(const void *bytes, size_t length) {
    const unsigned char *next = (const unsigned char *)bytes;
    uint64_t state = MAP_SALT_A ^ length;
    size_t left = length;
    while (left > 16) {
        state = map_mix(map_load64(next) ^ MAP_SALT_C, map_load64(next + 8) ^ state);
        next += 16;
        left -= 16;
    }
    return map_mix(map_hash_tail(next, left, state), MAP_SALT_D);
}

static inline uint32_t map_hash_word(uint64_t word) {
    return (uint32_t)map_mix(word ^ MAP_SALT_A, MAP_SALT_B);
}

static uint64_t map_hash_default(fa_map_type type, const void *key) {
    if (type.key == FA_MAP_KEY_TEXT) {
        const char *text = *(const char *const *)key;
        return fa_map_hash_bytes(text, strlen(text));
    }
    if (type.key == FA_MAP_KEY_STR) {
        const fa_str *str = (const fa_str *)key;
        return fa_map_hash_bytes(str->data, str->length);
    }
    return fa_map_hash_bytes(key, type.key_size);
}

// Most keys are ids: numbers of 4 or 8 bytes, compared as such, are searched without a call.
static inline bool map_key_is_word(const fa_map *map, fa_map_type type, size_t size) {
    return type.key_size == size && type.key == FA_MAP_KEY_BYTES && map->desc == NULL;
}

static inline uint64_t map_load_word(const void *key, size_t size) {
    const unsigned char *bytes = (const unsigned char *)key;
    return size == 8 ? map_load64(bytes) : map_load32(bytes);
}

static uint32_t map_hash_other(const fa_map *map, fa_map_type type, const void *key) {
    const fa_map_desc *desc = map->desc;
    if (desc == NULL || desc->hash == NULL) {
        return (uint32_t)map_hash_default(type, key);
    }
    // The caller's numbers may be as plain as 1, 2, 3.
    return map_hash_word(desc->hash(key, desc->user));
}

static uint32_t map_hash(const fa_map *map, fa_map_type type, const void *key) {
    if (map_key_is_word(map, type, 8) || map_key_is_word(map, type, 4)) {
        return map_hash_word(map_load_word(key, type.key_size));
    }
    return map_hash_other(map, type, key);
}

// ---- Comparing ----

static bool map_equal_default(fa_map_type type, const void *left, const void *right) {
    if (type.key == FA_MAP_KEY_TEXT) {
        return strcmp(*(const char *const *)left, *(const char *const *)right) == 0;
    }
    if (type.key == FA_MAP_KEY_STR) {
        return fa_str_equals(*(const fa_str *)left, *(const fa_str *)right);
    }
    return memcmp(left, right, type.key_size) == 0;
}

static bool map_equal(const fa_map *map, fa_map_type type, const void *left, const void *right) {
    const fa_map_desc *desc = map->desc;
    if (desc == NULL || desc->equal == NULL) {
        return map_equal_default(type, left, right);
    }
    return desc->equal(left, right, desc->user);
}

// Whether the key can be hashed at all. Only a caller's own function may know what a NULL text
// means.
static bool map_key_is_valid(const fa_map *map, fa_map_type type, const void *key) {
    if (type.key != FA_MAP_KEY_TEXT) {
        return true;
    }
    bool is_own = map->desc != NULL && map->desc->hash != NULL && map->desc->equal != NULL;
    return is_own || *(const char *const *)key != NULL;
}

// ---- The index ----

static inline char *map_entry(const fa_map *map, fa_map_type type, size_t index) {
    return (char *)map->entries + index * type.entry_size;
}

// How far the entry in a slot stands from its home.
static inline size_t map_distance(const fa_map *map, size_t place) {
    return (place - map->slots[place].hash) & map->slot_mask;
}

// Whether the search for a key that has come `distance` slots from its home ends here without it.
static inline bool map_ends_at(const fa_map *map, size_t place, size_t distance) {
    return map->slots[place].number == 0 || map_distance(map, place) < distance;
}

// The search for a key of `size` bytes, 4 or 8: a constant, so that each has a loop of its own.
static inline size_t map_search_word(const fa_map *map, fa_map_type type, const void *key,
                                     size_t size, uint32_t *hash) {
    uint64_t word = map_load_word(key, size);
    *hash = map_hash_word(word);
    size_t place = *hash & map->slot_mask;
    for (size_t distance = 0; !map_ends_at(map, place, distance); distance++) {
        fa_map_slot slot = map->slots[place];
        if (slot.hash == *hash &&
            map_load_word(map_entry(map, type, slot.number - 1), size) == word) {
            return place;
        }
        place = (place + 1) & map->slot_mask;
    }
    return MAP_NOWHERE;
}

static MAP_APART size_t map_search_other(const fa_map *map, fa_map_type type, const void *key,
                                         uint32_t *hash) {
    if (!map_key_is_valid(map, type, key)) {
        return MAP_NOWHERE;
    }
    *hash = map_hash_other(map, type, key);
    size_t place = *hash & map->slot_mask;
    for (size_t distance = 0; !map_ends_at(map, place, distance); distance++) {
        fa_map_slot slot = map->slots[place];
        if (slot.hash == *hash &&
            map_equal(map, type, map_entry(map, type, slot.number - 1), key)) {
            return place;
        }
        place = (place + 1) & map->slot_mask;
    }
    return MAP_NOWHERE;
}

// The slot of a key, or MAP_NOWHERE, and the key's hash. The map is not empty; there is a free
// slot, so every search ends.
static MAP_HERE size_t map_find_slot(const fa_map *map, fa_map_type type, const void *key,
                                     uint32_t *hash) {
    if (map_key_is_word(map, type, 8)) {
        return map_search_word(map, type, key, 8, hash);
    }
    if (map_key_is_word(map, type, 4)) {
        return map_search_word(map, type, key, 4, hash);
    }
    return map_search_other(map, type, key, hash);
}

// Puts an entry into the index that is not in it; there is a free slot.
static void map_index_entry(fa_map *map, uint32_t hash, size_t index) {
    fa_map_slot moving = {.hash = hash, .number = (uint32_t)index + 1};
    size_t place = hash & map->slot_mask;
    size_t distance = 0;
    while (map->slots[place].number != 0) {
        size_t other = map_distance(map, place);
        if (other < distance) {
            fa_map_slot resident = map->slots[place];
            map->slots[place] = moving;
            moving = resident;
            distance = other;
        }
        place = (place + 1) & map->slot_mask;
        distance++;
    }
    map->slots[place] = moving;
}

// Frees a slot: its followers move back until one stands at its home.
static void map_free_slot(fa_map *map, size_t place) {
    size_t next = (place + 1) & map->slot_mask;
    while (map->slots[next].number != 0 && map_distance(map, next) > 0) {
        map->slots[place] = map->slots[next];
        place = next;
        next = (next + 1) & map->slot_mask;
    }
    map->slots[place].number = 0;
}

// ---- Growing ----

// The smallest index for `count` entries, at most FA_MAP_COUNT_MAX: a power of two.
static size_t map_slots_for(size_t count) {
    size_t slots = MAP_SLOTS_MIN;
    while (slots / 4 * 3 < count) {
        slots *= 2;
    }
    return slots;
}

// Where the slots begin, and where they end; false when the block would be larger than half the
// address space.
static bool map_layout(size_t capacity, size_t slots, fa_map_type type, size_t *start,
                       size_t *end) {
    size_t max = SIZE_MAX / 2 - sizeof(fa_map_slot);
    if (slots > max / sizeof(fa_map_slot)) {
        return false;
    }
    size_t slot_bytes = slots * sizeof(fa_map_slot);
    if (capacity > (max - slot_bytes) / type.entry_size) {
        return false;
    }
    size_t entry_bytes = capacity * type.entry_size;
    *start = (entry_bytes + sizeof(fa_map_slot) - 1) & ~(sizeof(fa_map_slot) - 1);
    *end = *start + slot_bytes;
    return true;
}

// Makes the block hold `capacity` entries and `slots` slots, more than it does.
static fa_result map_set_capacity(fa_arena *arena, fa_map *map, fa_map_type type, size_t capacity,
                                  size_t slots) {
    size_t start = 0;
    size_t end = 0;
    if (slots > MAP_SLOTS_MAX || !map_layout(capacity, slots, type, &start, &end)) {
        return fa__container_too_large("map", capacity, FA_MAP_COUNT_MAX);
    }
    size_t old_start = 0;
    size_t old_end = 0;
    if (map->entries != NULL) {
        map_layout(map->capacity, map->slot_mask + 1, type, &old_start, &old_end);
    }
    size_t align = type.align > sizeof(fa_map_slot) ? type.align : sizeof(fa_map_slot);
    char *block = (char *)fa_arena_resize_aligned(arena, map->entries, old_end, end, align);
    if (block == NULL) {
        return fa__container_refused();
    }
    map->entries = block;
    map->capacity = capacity;
    map->slots = (fa_map_slot *)(void *)(block + start);
    map->slot_mask = slots - 1;
    memset(map->slots, 0, slots * sizeof(fa_map_slot));
    for (size_t i = 0; i < map->count; i++) {
        map_index_entry(map, map_hash(map, type, map_entry(map, type, i)), i);
    }
    return FA_OK;
}

fa_result fa_map_reserve_raw(fa_arena *arena, void *map, fa_map_type type, size_t count) {
    fa_map *raw = (fa_map *)map;
    if (count <= raw->capacity) {
        return FA_OK;
    }
    if (count > FA_MAP_COUNT_MAX) {
        return fa__container_too_large("map", count, FA_MAP_COUNT_MAX);
    }
    return map_set_capacity(arena, raw, type, count, map_slots_for(count));
}

// ---- Entries ----

void *fa_map_find(const void *map, fa_map_type type, const void *key) {
    const fa_map *raw = (const fa_map *)map;
    if (raw->count == 0) {
        return NULL;
    }
    uint32_t hash = 0;
    size_t place = map_find_slot(raw, type, key, &hash);
    return place != MAP_NOWHERE ? map_entry(raw, type, raw->slots[place].number - 1) : NULL;
}

fa_result fa_map_add(fa_arena *arena, void *map, fa_map_type type, const void *key, void **entry) {
    fa_map *raw = (fa_map *)map;
    *entry = NULL;
    if (!map_key_is_valid(raw, type, key)) {
        return fa__fail_argument(NULL, "key");
    }
    uint32_t hash = 0;
    size_t place = MAP_NOWHERE;
    if (raw->count > 0) {
        place = map_find_slot(raw, type, key, &hash);
    } else {
        hash = map_hash(raw, type, key);
    }
    if (place != MAP_NOWHERE) {
        *entry = map_entry(raw, type, raw->slots[place].number - 1);
        return FA_OK;
    }
    if (raw->count == raw->capacity) {
        // An index that fa_map_reserve() left room in is filled before it is doubled.
        size_t slots = map_slots_for(raw->count + 1);
        fa_result result = map_set_capacity(arena, raw, type, slots / 4 * 3, slots);
        if (result < 0) {
            return result;
        }
    }
    *entry = map_entry(raw, type, raw->count);
    memset(*entry, 0, type.entry_size);
    memcpy(*entry, key, type.key_size);
    map_index_entry(raw, hash, raw->count);
    raw->count++;
    return FA_OK;
}

bool fa_map_drop(void *map, fa_map_type type, const void *key) {
    fa_map *raw = (fa_map *)map;
    if (raw->count == 0) {
        return false;
    }
    uint32_t hash = 0;
    size_t place = map_find_slot(raw, type, key, &hash);
    if (place == MAP_NOWHERE) {
        return false;
    }
    size_t index = raw->slots[place].number - 1;
    map_free_slot(raw, place);
    raw->count--;
    if (index != raw->count) {
        char *last = map_entry(raw, type, raw->count);
        // The last entry is in the index somewhere from its home on: the search ends.
        place = map_hash(raw, type, last) & raw->slot_mask;
        while (raw->slots[place].number != (uint32_t)raw->count + 1) {
            place = (place + 1) & raw->slot_mask;
        }
        raw->slots[place].number = (uint32_t)index + 1;
        memcpy(map_entry(raw, type, index), last, type.entry_size);
    }
    return true;
}

void fa_map_clear_raw(void *map) {
    fa_map *raw = (fa_map *)map;
    if (raw->count > 0) {
        memset(raw->slots, 0, (raw->slot_mask + 1) * sizeof(fa_map_slot));
    }
    raw->count = 0;
}

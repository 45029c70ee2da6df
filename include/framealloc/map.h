/// @file map.h
/// Hash tables from any key to any value, on any arena, iterated like an array.
///
///     typedef FA_MAP(const char *, int) word_counts;
///     word_counts counts = {0};                                 // empty, and valid
///     fa_map_put(frame, &counts, "player", 1);
///     int *found = fa_map_get(&counts, "player");               // NULL when absent
///     for (size_t i = 0; i < counts.count; i++) {
///         printf("%s %d\n", counts.entries[i].key, counts.entries[i].value);
///     }
///
/// The entries stand side by side in `entries[0 .. count - 1]`, in the order of their first
/// insertion; a removal puts the last entry into the gap. That order depends on nothing but the
/// operations: it is the same in every run and on every machine. Values may be changed in place,
/// keys must not be.
///
/// How keys compare is decided by their type. `const char *` and `char *` compare as terminated
/// texts, fa_str as the text it views; the map keeps the pointers, so the text must live as long as
/// the entry. Every other type compares by its bytes: a struct key must have its padding zeroed,
/// and 0.0 and -0.0 differ. To compare otherwise, set `desc` before the first insertion. For an
/// address as the key use `void *`.
///
/// A map is never freed: its memory goes with the arena, and it must not be used after that. It
/// grows in place when its block is the arena's last; otherwise it moves to a block twice as large
/// and leaves the old one behind. Pointers to entries and values hold until the next insertion,
/// removal or fa_map_reserve().
///
/// Operations that can fail return a fa_result and, on failure, leave the map as it was: what the
/// arena reported when it refused, FA_ERR_OVERFLOW (FA013) for a count that no memory holds,
/// FA_ERR_INVALID for a NULL text as a key. The owner of the arena is the only thread that may
/// change a map. Every argument of a macro is evaluated once; keys and values are copied as bytes.
#pragma once

#include "arena.h"
#include "span.h"
#include "str.h"

#include <string.h>

FA_BEGIN_DECLS

/// How keys are hashed and compared, when their type does not say it well. Must outlive the map.
typedef struct fa_map_desc {
    /// Equal keys must give equal numbers; the numbers need not be well mixed. Default: by the
    /// key's type.
    uint64_t (*hash)(const void *key, void *user);
    /// Whether two keys are the same. It must not touch the map. Default: by the key's type.
    bool (*equal)(const void *left, const void *right, void *user);
    void *user; ///< Passed to both. Default NULL.
} fa_map_desc;

/// Most entries of a map.
#define FA_MAP_COUNT_MAX ((size_t)3 << 29)

/// Private: a place in the index.
typedef struct fa_map_slot {
    uint32_t hash;
    uint32_t number; // Of an entry, from 1; 0: free.
} fa_map_slot;

/// A map type from `K` to `V`. Name it with a typedef, because every use of the macro is a new
/// type. `K *` and `V *` must mean "pointer to": name array and function pointer types first.
#define FA_MAP(K, V)                                                                               \
    struct {                                                                                       \
        struct {                                                                                   \
            K key;                                                                                 \
            V value;                                                                               \
        } * entries;             /* In order; NULL as long as there was none. */                   \
        size_t count;            /* Entries. */                                                    \
        size_t capacity;         /* Entries it can hold without growing. */                        \
        fa_map_slot *slots;      /* Private: the index, behind the entries. */                     \
        size_t slot_mask;        /* Private: slots - 1. */                                         \
        const fa_map_desc *desc; /* How keys compare; NULL: by their type. */                      \
    }

/// What all maps look like, whatever they hold: a map whose types are known only at run time.
/// Entries are structs of a key and a value, as fa_map_type describes them.
typedef struct FA_MAY_ALIAS fa_map {
    void *entries;           ///< In order; NULL as long as there was none.
    size_t count;            ///< Entries.
    size_t capacity;         ///< Entries it can hold without growing.
    fa_map_slot *slots;      ///< Private.
    size_t slot_mask;        ///< Private.
    const fa_map_desc *desc; ///< How keys compare; NULL: by their kind.
} fa_map;

/// How keys compare when `desc` does not say it.
typedef enum fa_map_key {
    FA_MAP_KEY_BYTES = 0, ///< By their bytes.
    FA_MAP_KEY_TEXT,      ///< `const char *`: as terminated texts.
    FA_MAP_KEY_STR        ///< fa_str: as the texts they view.
} fa_map_key;

/// The entries of a map: the same in every call for one map.
typedef struct fa_map_type {
    uint32_t key_size;   ///< Bytes of the key, which stands first.
    uint32_t entry_size; ///< Bytes of an entry, a multiple of the alignment.
    uint32_t align;      ///< Alignment of an entry.
    fa_map_key key;      ///< How keys compare.
} fa_map_type;

/// The entry with this key, or NULL. `map` points to a fa_map or any FA_MAP(). O(1) on average.
FA_API void *fa_map_find(const void *map, fa_map_type type, const void *key);

/// Finds or makes the entry with this key and writes it to `*entry`; a new one is zeroed but for
/// its key. On failure `*entry` is NULL. O(1) on average, the hash of every key once when the map
/// grows.
FA_API fa_result fa_map_add(fa_arena *arena, void *map, fa_map_type type, const void *key,
                            void **entry);

/// Removes the entry with this key; false when there is none. O(1) on average.
FA_API bool fa_map_drop(void *map, fa_map_type type, const void *key);

/// Makes room for `count` entries altogether; less than there is changes nothing.
FA_API fa_result fa_map_reserve_raw(fa_arena *arena, void *map, fa_map_type type, size_t count);

/// Private to fa_map_clear().
FA_API void fa_map_clear_raw(void *map);

/// A good hash of `length` bytes, for a fa_map_desc. The same in every run of one program, but not
/// on every machine: do not store it.
FA_API uint64_t fa_map_hash_bytes(const void *bytes, size_t length);

/// Private to fa_map_put().
static inline fa_result fa_map_put_raw(fa_arena *arena, void *map, fa_map_type type,
                                       const void *key, const void *value, size_t offset,
                                       size_t size) {
    void *entry = NULL;
    fa_result result = fa_map_add(arena, map, type, key, &entry);
    if (result < 0) {
        return result;
    }
    memcpy((char *)entry + offset, value, size);
    return FA_OK;
}

/// Private to fa_map_get().
static inline void *fa_map_get_raw(const void *map, fa_map_type type, const void *key,
                                   size_t offset) {
    void *entry = fa_map_find(map, type, key);
    return entry != NULL ? (char *)entry + offset : NULL;
}

/// Private to fa_map_get_or_insert().
static inline void *fa_map_get_or_insert_raw(fa_arena *arena, void *map, fa_map_type type,
                                             const void *key, size_t offset) {
    void *entry = NULL;
    fa_result result = fa_map_add(arena, map, type, key, &entry);
    return result == FA_OK ? (char *)entry + offset : NULL;
}

FA_END_DECLS

/// Private: the types in the map at `map`, and what the functions need to know of them.
#define FA_MAP_ENTRY(map) __typeof__((map)->entries[0])
#define FA_MAP_KEY(map) __typeof__((map)->entries->key)
#define FA_MAP_VALUE(map) __typeof__((map)->entries->value)
#define FA_MAP_OFFSET(map) offsetof(FA_MAP_ENTRY(map), value)

#ifndef __cplusplus
#define FA_MAP_TYPE(map)                                                                           \
    ((fa_map_type){sizeof(FA_MAP_KEY(map)), sizeof(FA_MAP_ENTRY(map)),                             \
                   FA_ALIGNOF(FA_MAP_ENTRY(map)), FA_MAP_KEY_KIND(FA_MAP_KEY(map))})
// clang-format off
#define FA_MAP_KEY_KIND(K)                                                                         \
    _Generic((K *)0,                                                                               \
        const char **: FA_MAP_KEY_TEXT, char **: FA_MAP_KEY_TEXT,                                  \
        fa_str *: FA_MAP_KEY_STR, default: FA_MAP_KEY_BYTES)
// clang-format on
#else
template <typename K> struct fa_map_key_kind { static const fa_map_key value = FA_MAP_KEY_BYTES; };
template <> struct fa_map_key_kind<const char *> {
    static const fa_map_key value = FA_MAP_KEY_TEXT;
};
template <> struct fa_map_key_kind<char *> { static const fa_map_key value = FA_MAP_KEY_TEXT; };
template <> struct fa_map_key_kind<fa_str> { static const fa_map_key value = FA_MAP_KEY_STR; };
#define FA_MAP_TYPE(map)                                                                           \
    (fa_map_type{sizeof(FA_MAP_KEY(map)), sizeof(FA_MAP_ENTRY(map)),                               \
                 FA_ALIGNOF(FA_MAP_ENTRY(map)), fa_map_key_kind<FA_MAP_KEY(map)>::value})
#endif

/// Sets the value of a key: fa_map_put(arena, &map, key, value). A key that is there keeps its
/// place and its first bytes (of a text: the first pointer). The value may be an initialiser in
/// braces.
#define fa_map_put(arena, map, key, ...)                                                           \
    fa_map_put_raw((arena), (map), FA_MAP_TYPE(map), FA_ITEM(FA_MAP_KEY(map), (key)),              \
                   FA_ITEM(FA_MAP_VALUE(map), __VA_ARGS__), FA_MAP_OFFSET(map),                    \
                   sizeof(FA_MAP_VALUE(map)))

/// The value of a key, as a pointer; NULL when there is none, which is no error.
#define fa_map_get(map, key)                                                                       \
    ((FA_MAP_VALUE(map) *)fa_map_get_raw((map), FA_MAP_TYPE(map), FA_ITEM(FA_MAP_KEY(map), (key)), \
                                         FA_MAP_OFFSET(map)))

/// The value of a key, as a pointer; a key that is not there is put in with a zeroed value:
/// (*fa_map_get_or_insert(arena, &counts, word))++. NULL when the arena refuses.
#define fa_map_get_or_insert(arena, map, key)                                                      \
    ((FA_MAP_VALUE(map) *)fa_map_get_or_insert_raw(                                                \
        (arena), (map), FA_MAP_TYPE(map), FA_ITEM(FA_MAP_KEY(map), (key)), FA_MAP_OFFSET(map)))

/// Whether the key is there.
#define fa_map_contains(map, key)                                                                  \
    (fa_map_find((map), FA_MAP_TYPE(map), FA_ITEM(FA_MAP_KEY(map), (key))) != NULL)

/// Removes a key; the last entry takes its place. False when it is not there, which is no error. To
/// remove while iterating, go from the last entry to the first.
#define fa_map_remove(map, key)                                                                    \
    fa_map_drop((map), FA_MAP_TYPE(map), FA_ITEM(FA_MAP_KEY(map), (key)))

/// Makes room for `count` entries altogether; less than there is changes nothing.
#define fa_map_reserve(arena, map, count)                                                          \
    fa_map_reserve_raw((arena), (map), FA_MAP_TYPE(map), (count))

/// Removes all entries and keeps the capacity. O(capacity).
#define fa_map_clear(map) fa_map_clear_raw((map))

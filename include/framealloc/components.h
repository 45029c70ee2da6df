/// @file components.h
/// Data of entities, kept as dense arrays: one array for each kind of component, in which an
/// entity's component is found by its index and generation.
///
///     typedef FA_COMPONENTS(velocity) velocities;
///     velocities moving = {0};
///     if (fa_component_open(ctx, &moving, NULL) < 0) { ... }
///     velocity *v = fa_component_add(&moving, entity);      // zeroed
///     v = fa_component_get(&moving, entity);                // NULL when it has none, or is stale
///     fa_components_remove(moving.set, entity);
///     for (uint32_t i = 0; i < fa_component_count(&moving); i++) {
///         use(&fa_component_data(&moving)[i]);
///     }
///     fa_components_destroy(moving.set);
///
/// Elements lie side by side from a 64-byte boundary on, in no particular order; who they belong to
/// lies in a second array, in the same order. Removal puts the last element into the gap.
///
/// What a pointer to an element survives: any insertion (arrays grow where they stand, in reserved
/// address space; only where a backend cannot commit do they move when they grow); not the removal
/// of any element of the same array, nor what moves elements of a bundle.
///
/// Iterating while removing: go from the last element to the first, by hand or with a fa_view, and
/// the present element may be removed; every other one is visited exactly once.
///
/// Arrays are not locked. Any number of threads may read at the same time; who changes an array
/// must be alone with it (and with the other arrays of its bundle).
#pragma once

#include "base.h"
#include "entity.h"

/// Most arrays in a view or a bundle.
#define FA_VIEW_MAX 8

/// Every array starts at a multiple of this many bytes.
#define FA_COMPONENTS_ALIGNMENT ((size_t)64)

FA_BEGIN_DECLS

/// How to make an array. Zero or NULL in any field means its default.
typedef struct fa_components_desc {
    const char *name; ///< For reports; copied, at most 31 bytes. Default "components".
    fa_tag tag;       ///< Whom the elements are charged to. Default the root.
    size_t size;  ///< Bytes an element; the distance of two is this rounded up to `align`, which
                  ///< for a C type changes nothing. Required; at most 1 MiB.
    size_t align; ///< Of every element: a power of two, at most 4 KiB. Default: the largest
                  ///< power of two that divides `size`, at most 64.
    uint32_t max_count; ///< Elements there may be, FA409 beyond. Default: as many as 256 MiB of
                        ///< address space hold (16 MiB where pointers are 32-bit), at most 2^24.
} fa_components_desc;

/// Components of one kind. Its fields are for the inline functions: read them through those.
typedef struct fa_components {
    char *data;             ///< Private: the elements.
    fa_entity *entities;    ///< Private: whose they are.
    uint32_t *const *pages; ///< Private: from an entity's index to the place of its element.
    uint32_t page_count;    ///< Private.
    uint32_t count;         ///< Private: elements.
    size_t stride;          ///< Private: bytes from element to element.
} fa_components;

/// Private: entities on one page of the index.
#define FA_COMPONENTS_PAGE_BITS 12
#define FA_COMPONENTS_PAGE ((uint32_t)1 << FA_COMPONENTS_PAGE_BITS)

/// A descriptor for elements of type T, to take the address of; further fields may follow:
/// &FA_COMPONENTS_OF(velocity, .name = "velocity"). In C++ use fa_component_open(), which fills the
/// size in.
#define FA_COMPONENTS_OF(...) FA_COMPONENTS_OF_(__VA_ARGS__, .max_count = 0)
#define FA_COMPONENTS_OF_(T, ...)                                                                  \
    ((fa_components_desc){.size = sizeof(T), .align = FA_ALIGNOF(T), __VA_ARGS__})

/// Makes an empty array. On failure `*out` is NULL: FA_ERR_INVALID names the field in
/// fa_last_error()->where (FA014; FA802 for the tag); FA_ERR_OUT_OF_MEMORY or FA_ERR_LIMIT when
/// memory is refused. Reserves address space, commits nothing. Any thread.
FA_API FA_NODISCARD fa_result fa_components_create(fa_context *ctx, const fa_components_desc *desc,
                                                   fa_components **out);

/// Gives everything back, whatever is in it. NULL is allowed. A bundle that it belongs to is
/// emptied. fa_context_destroy() reports arrays that are left (FA406) and frees them.
FA_API void fa_components_destroy(fa_components *components);

/// Adds an entity's element, zeroed, at the end of the array. NULL, with everything as it was, when
/// the entity is none or its index above FA_ENTITY_INDEX_MAX (FA_ERR_INVALID, FA017), when it has
/// one (FA_ERR_BUSY, FA017), when the array has an element of a later generation of the same index
/// (FA_ERR_STALE, FA401), and when a limit refuses: FA_ERR_LIMIT (FA409, FA301), FA_ERR_BUDGET,
/// FA_ERR_OUT_OF_MEMORY. An element that an earlier generation of the index left behind is removed
/// first. O(1); a system call when memory is committed, twice as much each time.
FA_API void *fa_components_insert(fa_components *components, fa_entity entity);

/// Removes an entity's element; the last one takes its place. False when it has none, which is no
/// error. O(1), no system call.
FA_API bool fa_components_remove(fa_components *components, fa_entity entity);

/// Removes all elements; the memory is kept. O(elements).
FA_API void fa_components_clear(fa_components *components);

/// Makes room for `count` elements altogether, so that inserting them cannot fail for want of
/// memory, but for the index: that of entities below `count` is made too. FA_ERR_LIMIT,
/// FA_ERR_OUT_OF_MEMORY.
FA_API fa_result fa_components_reserve(fa_components *components, uint32_t count);

/// Gives memory beyond the present elements back. Returns the bytes given back. O(elements).
FA_API size_t fa_components_trim(fa_components *components);

/// An entity's element, or NULL when it has none here, or is stale, or is none at all. Two loads
/// and three compares before the element. Valid until an element of the array is removed.
static inline void *fa_components_get(const fa_components *components, fa_entity entity) {
    uint32_t page = entity.index >> FA_COMPONENTS_PAGE_BITS;
    if (FA_UNLIKELY(page >= components->page_count)) {
        return NULL;
    }
    uint32_t at = components->pages[page][entity.index & (FA_COMPONENTS_PAGE - 1)];
    if (FA_UNLIKELY(at >= components->count || components->entities[at].index != entity.index ||
                    components->entities[at].generation != entity.generation)) {
        return NULL;
    }
    return components->data + at * components->stride;
}

/// Whether the entity has an element here.
static inline bool fa_components_has(const fa_components *components, fa_entity entity) {
    return fa_components_get(components, entity) != NULL;
}

/// Elements in the array.
static inline uint32_t fa_components_count(const fa_components *components) {
    return components->count;
}

/// The first element; NULL before there was any. A multiple of FA_COMPONENTS_ALIGNMENT.
static inline void *fa_components_data(const fa_components *components) {
    return components->data;
}

/// Whose the elements are: element i is that of entity i. Valid as fa_components_data() is.
static inline const fa_entity *fa_components_entities(const fa_components *components) {
    return components->entities;
}

// Views -------------------------------------------------------------------------------------------

/// Goes over the entities that have an element in each of several arrays:
///
///     fa_view view = fa_view_of(positions.set, velocities.set);
///     while (fa_view_next(&view)) {
///         position *p = view.items[0];
///         const velocity *v = view.items[1];
///     }
///
/// It walks the smallest array from its end to its beginning and looks the entity up in the others.
/// The present entity may be removed from any of them; every other one is visited exactly once.
/// Removing others is allowed too, but an entity may then be visited twice. What is inserted
/// meanwhile is not visited; nothing may be inserted into arrays of a bundle. A value: it holds
/// nothing and need not be ended.
typedef struct fa_view {
    fa_entity entity;                         ///< The present entity.
    void *items[FA_VIEW_MAX];                 ///< Its elements, in the order of the arrays.
    const fa_components *arrays[FA_VIEW_MAX]; ///< Private.
    uint32_t array_count;                     ///< Private.
    uint32_t smallest;                        ///< Private: which array is walked.
    uint32_t at;                              ///< Private: elements of it that are left.
} fa_view;

/// A view of 1 to FA_VIEW_MAX arrays, before its first entity. Other counts, and NULL among the
/// arrays, give a view of nothing, and FA017. O(arrays).
FA_API fa_view fa_view_make(const fa_components *const *arrays, size_t count);

/// Goes to the next entity; false at the end, with all items NULL.
FA_API bool fa_view_next(fa_view *view);

// Bundles -----------------------------------------------------------------------------------------

/// Arrays kept in the same order: the entities that have an element in each of them stand first, at
/// the same place in all. So columns can be walked side by side, without any look-up:
///
///     uint32_t both = fa_bundle_count(bundle);
///     for (uint32_t i = 0; i < both; i++) { p[i].x += v[i].x; }
///
/// Inserting and removing in these arrays moves up to one more element in each of them. An array is
/// in one bundle at most. Iterating while removing works as without: from the last to the first.
typedef struct fa_bundle {
    fa_components *arrays[FA_VIEW_MAX]; ///< Private.
    uint32_t array_count;               ///< Private; 0 after one of them was destroyed.
    uint32_t count;                     ///< Private: entities that have them all.
} fa_bundle;

/// Bundles 2 to FA_VIEW_MAX arrays of one context, and puts them in order. On failure `*out` is
/// NULL: FA_ERR_INVALID (FA017) for a count, NULL, the same array twice, or another context's;
/// FA_ERR_BUSY (FA017) for an array that is in a bundle; FA_ERR_OUT_OF_MEMORY or FA_ERR_LIMIT.
/// O(elements of the smallest).
FA_API FA_NODISCARD fa_result fa_bundle_create(fa_components *const *arrays, size_t count,
                                               fa_bundle **out);

/// Ends the bundle; the arrays stay as they are. NULL is allowed. A bundle one of whose arrays was
/// destroyed is empty, and must be destroyed all the same.
FA_API void fa_bundle_destroy(fa_bundle *bundle);

/// Entities that have an element in every array of the bundle: the first so many of each.
static inline uint32_t fa_bundle_count(const fa_bundle *bundle) {
    return bundle->count;
}

// Typed -------------------------------------------------------------------------------------------

/// Private to fa_component_open().
FA_API FA_NODISCARD fa_result fa_components_create_sized(fa_context *ctx,
                                                         const fa_components_desc *desc,
                                                         size_t size, size_t align,
                                                         fa_components **out);

FA_END_DECLS

/// A type for the components of type T: `set` is what the functions above take. Name it with a
/// typedef, because every use of the macro is a new type. Elements are moved and dropped as bytes;
/// in C++ T must be complete and trivially copyable.
#define FA_COMPONENTS(T)                                                                           \
    union {                                                                                        \
        FA_COMPONENTS_CHECK(T)                                                                     \
        fa_components *set; /* The array. */                                                       \
        T *type;            /* Never read: only its type is of interest. */                        \
    }
#ifdef __cplusplus
#define FA_COMPONENTS_CHECK(T)                                                                     \
    static_assert(__is_trivially_copyable(T), "components are moved as bytes");
#else
#define FA_COMPONENTS_CHECK(T)
#endif

/// Private: T * for the typed array at `typed`.
#define FA_COMPONENT_PTR(typed) __typeof__((typed)->type)

/// fa_components_create() for a typed array: fa_component_open(ctx, &velocities, &desc). Size and
/// alignment are T's; the descriptor gives the rest and may be NULL.
#define fa_component_open(ctx, typed, desc)                                                        \
    fa_components_create_sized((ctx), (desc), sizeof(*(typed)->type),                              \
                               FA_ALIGNOF(__typeof__(*(typed)->type)), &(typed)->set)

/// fa_components_insert() for a typed array; a T *.
#define fa_component_add(typed, entity)                                                            \
    ((FA_COMPONENT_PTR(typed))fa_components_insert((typed)->set, (entity)))

/// fa_components_get() for a typed array; a T *.
#define fa_component_get(typed, entity)                                                            \
    ((FA_COMPONENT_PTR(typed))fa_components_get((typed)->set, (entity)))

/// The elements of a typed array; a T *.
#define fa_component_data(typed) ((FA_COMPONENT_PTR(typed))fa_components_data((typed)->set))

/// How many elements a typed array has.
#define fa_component_count(typed) fa_components_count((typed)->set)

/// A view of the arrays that are its arguments: fa_view_of(positions.set, velocities.set).
#ifndef __cplusplus
#define fa_view_of(...)                                                                            \
    fa_view_make((const fa_components *const[]){__VA_ARGS__},                                      \
                 sizeof((const fa_components *const[]){__VA_ARGS__}) / sizeof(fa_components *))
#else
template <typename... Arrays> inline fa_view fa_view_of(const Arrays *...arrays) {
    const fa_components *const list[] = {arrays...};
    return fa_view_make(list, sizeof...(arrays));
}
#endif

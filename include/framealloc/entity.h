/// @file entity.h
/// Numbers for things that come and go: an index that is used again, and a generation that is not.
///
///     fa_entities *entities = NULL;
///     if (fa_entities_create(ctx, NULL, &entities) < 0) { ... }
///     fa_entity player = fa_entity_create(entities);
///     fa_entity_destroy(entities, player);
///     fa_entity_is_alive(entities, player);         // false, also when the index lives again
///
/// Components (components.h) are stored by entity. They take entities from anywhere: from here, or
/// from a program's own numbering.
///
/// Entities belong to one thread at a time; several may ask fa_entity_is_alive() while none changes
/// them.
#pragma once

#include "base.h"

/// The largest index of an entity: 2^28 - 1.
#define FA_ENTITY_INDEX_MAX (((uint32_t)1 << 28) - 1)

FA_BEGIN_DECLS

/// A thing by index and generation. A value: copy and compare it freely. Zero-initialised it is no
/// entity: generation 0 is never alive.
typedef struct fa_entity {
    uint32_t index;      ///< Small, and used again: good for arrays.
    uint32_t generation; ///< Which life of the index; grows from life to life.
} fa_entity;

/// How to make a source of entities. Zero-initialised means defaults; NULL may be passed instead.
typedef struct fa_entities_desc {
    const char *name;        ///< For reports; copied, at most 31 bytes. Default "entities".
    fa_tag tag;              ///< Whom the bookkeeping, 8 bytes an index, is charged to.
    uint32_t max_count;      ///< Indexes there may be, FA409 beyond; 8 bytes of address space each.
                             ///< Default 2^24; 2^20 where pointers are 32-bit.
    uint32_t max_generation; ///< No generation is larger: for programs that store entities in fewer
                             ///< bits. Default 2^32 - 1.
} fa_entities_desc;

/// A source of entities. Its fields are for the inline functions: read `count` through
/// fa_entities_count().
typedef struct fa_entities {
    uint32_t *generations; ///< Private: of each index; odd while it is alive.
    uint32_t made;         ///< Private: indexes that were ever alive.
    uint32_t count;        ///< Private: alive now.
    uint32_t retired;      ///< Private: indexes that will not live again.
} fa_entities;

/// Makes a source of entities. On failure `*out` is NULL: FA_ERR_INVALID names the field (FA014,
/// FA802 for the tag); FA_ERR_OUT_OF_MEMORY or FA_ERR_LIMIT when memory is refused.
FA_API FA_NODISCARD fa_result fa_entities_create(fa_context *ctx, const fa_entities_desc *desc,
                                                 fa_entities **out);

/// Gives its memory back. NULL is allowed. The entities it made stay numbers, and components stay
/// where they are. fa_context_destroy() reports what was not destroyed (FA406).
FA_API void fa_entities_destroy(fa_entities *entities);

/// A new entity: the index freed last, or the next one. Its generation is one that this index never
/// had; an index whose generations are used up (after 2^31 lives) is retired and never comes back.
/// {0, 0} when refused: FA_ERR_LIMIT (FA409, FA301), FA_ERR_BUDGET, FA_ERR_OUT_OF_MEMORY. O(1).
FA_API fa_entity fa_entity_create(fa_entities *entities);

/// Ends an entity. FA_ERR_STALE (FA401) when it is not alive; nothing has changed then. Remove its
/// components first, or let them go when an entity of the same index gets some: see
/// fa_components_insert(). O(1).
FA_API fa_result fa_entity_destroy(fa_entities *entities, fa_entity entity);

/// Whether the entity is alive. Two compares.
static inline bool fa_entity_is_alive(const fa_entities *entities, fa_entity entity) {
    return entity.index < entities->made && (entity.generation & 1) != 0 &&
           entities->generations[entity.index] == entity.generation;
}

/// Entities alive.
static inline uint32_t fa_entities_count(const fa_entities *entities) {
    return entities->count;
}

/// Indexes whose generations are used up. They count against max_count.
static inline uint32_t fa_entities_retired(const fa_entities *entities) {
    return entities->retired;
}

/// Calls `visit` for every entity that is alive, in order of index, until it returns false. It may
/// destroy entities, also other ones; those it creates may be visited or not. O(indexes).
FA_API void fa_entities_each(fa_entities *entities, bool (*visit)(fa_entity entity, void *user),
                             void *user);

FA_END_DECLS

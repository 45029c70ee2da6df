// Entities: a generation for each index, and a list of the indexes that are free.
//
//   generation   1  4  3  2  7        odd: alive
//   next         -  3  -  end -       of a free index: the next free one, plus 1
//                   ^ free_head - 1
//
// The index freed last is used first: its place in every array is still in the processor's cache.
// When a generation reaches the last odd one, ending that life makes the index 0 in the list of
// generations and puts it nowhere: it is retired.
#include <framealloc/entity.h>

#include "sheet.h"

#include <string.h>

#if SIZE_MAX > 0xFFFFFFFFu
#define DEFAULT_COUNT ((uint32_t)1 << 24)
#else
#define DEFAULT_COUNT ((uint32_t)1 << 20)
#endif

typedef struct entities {
    fa_entities head; // First, so that a pointer to one is a pointer to the other.
    fa__sheet sheet;  // Columns: generations, next.
    uint32_t free_head;
    uint32_t last_generation; // Odd.
} entities;

_Static_assert(sizeof(entities) <= FA__RECORD_BYTES, "a record holds a source of entities");

static entities *entities_of(fa_entities *head) {
    return (entities *)(void *)head;
}

static uint32_t *next_of(entities *self, uint32_t index) {
    return (uint32_t *)(void *)self->sheet.columns[1].ptr + index;
}

fa_result fa_entities_create(fa_context *ctx, const fa_entities_desc *desc, fa_entities **out) {
    if (out == NULL) {
        return fa__fail_argument(ctx, "out");
    }
    *out = NULL;
    const fa_entities_desc wanted = desc == NULL ? (fa_entities_desc){0} : *desc;
    if (fa__tag_get(ctx, wanted.tag) == NULL) {
        return fa__tag_fail(ctx, wanted.tag, FA_ERR_INVALID);
    }
    if (wanted.max_count > FA_ENTITY_INDEX_MAX) {
        return fa__fail(&(fa__failure){.context = ctx,
                                       .code = FA__CODE_BAD_CONFIG,
                                       .result = FA_ERR_INVALID,
                                       .where = "max_count"});
    }
    fa_result result = FA_OK;
    entities *self = fa__sheet_create(
        ctx,
        &(fa__sheet_desc){.name = wanted.name == NULL ? "entities" : wanted.name,
                          .tag = wanted.tag,
                          .column_count = 2,
                          .strides = {sizeof(uint32_t), sizeof(uint32_t)},
                          .max = wanted.max_count == 0 ? DEFAULT_COUNT : wanted.max_count,
                          .sheet_at = offsetof(entities, sheet)},
        &result);
    if (self == NULL) {
        return result;
    }
    uint32_t last = wanted.max_generation == 0 ? UINT32_MAX : wanted.max_generation;
    self->last_generation = (last & 1) != 0 ? last : last - 1;
    *out = &self->head;
    return FA_OK;
}

void fa_entities_destroy(fa_entities *head) {
    if (head != NULL) {
        fa__sheet_destroy(&entities_of(head)->sheet);
    }
}

// Makes one more index, dead. False when refused.
static bool make_index(entities *self) {
    fa_entities *head = &self->head;
    fa__sheet *sheet = &self->sheet;
    const size_t bytes = 2 * sizeof(uint32_t);
    if (!fa__sheet_charge(sheet, bytes)) {
        return false;
    }
    // Read after charging, which may have called back into the program.
    uint32_t index = head->made;
    if (index == sheet->max) {
        fa__sheet_uncharge(sheet, bytes);
        fa__sheet_refuse(sheet, FA__CODE_TOO_MANY, FA_ERR_LIMIT, bytes, sheet->max);
        return false;
    }
    fa__denial denial = FA__DENIED_BY_BACKEND;
    bool fits = index < sheet->capacity || fa__sheet_fit(sheet, index + 1, index, &denial);
    head->generations = (uint32_t *)(void *)sheet->columns[0].ptr;
    if (!fits) {
        fa__sheet_uncharge(sheet, bytes);
        fa__sheet_refuse_memory(sheet, bytes, denial);
        return false;
    }
    head->generations[index] = 0;
    *next_of(self, index) = self->free_head;
    self->free_head = index + 1;
    head->made = index + 1;
    return true;
}

fa_entity fa_entity_create(fa_entities *head) {
    entities *self = entities_of(head);
    if (self->free_head == 0 && !make_index(self)) {
        return (fa_entity){0, 0};
    }
    uint32_t index = self->free_head - 1;
    self->free_head = *next_of(self, index);
    head->generations[index] += 1;
    head->count += 1;
    return (fa_entity){index, head->generations[index]};
}

fa_result fa_entity_destroy(fa_entities *head, fa_entity entity) {
    entities *self = entities_of(head);
    if (!fa_entity_is_alive(head, entity)) {
        return fa__sheet_fail(&self->sheet, FA__CODE_STALE_HANDLE, FA_ERR_STALE, self->sheet.name);
    }
    head->count -= 1;
    if (entity.generation == self->last_generation) {
        head->generations[entity.index] = 0;
        head->retired += 1;
        return fa__sheet_fail(&self->sheet, FA__CODE_SLOT_RETIRED, FA_OK, self->sheet.name);
    }
    head->generations[entity.index] += 1;
    *next_of(self, entity.index) = self->free_head;
    self->free_head = entity.index + 1;
    return FA_OK;
}

void fa_entities_each(fa_entities *head, bool (*visit)(fa_entity entity, void *user), void *user) {
    for (uint32_t index = 0; index < head->made; index++) {
        uint32_t generation = head->generations[index];
        if ((generation & 1) != 0 && !visit((fa_entity){index, generation}, user)) {
            return;
        }
    }
}

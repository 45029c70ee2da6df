// Arrays of components: sparse sets. The picture is in arrays.h.
//
// Invariants: count <= capacity of the sheet; the entry of each element's entity in the index says
// where the element is; no two elements are of one index; what is charged is count * stride.
#include "arrays.h"

#include <string.h>

#if SIZE_MAX > 0xFFFFFFFFu
#define DEFAULT_RESERVE ((size_t)256 << 20)
#else
#define DEFAULT_RESERVE ((size_t)16 << 20)
#endif
#define DEFAULT_COUNT_MAX ((size_t)1 << 24)
#define SIZE_LIMIT ((size_t)1 << 20)
#define ALIGN_LIMIT ((size_t)4 << 10)
#define ALIGN_DEFAULT_MAX ((size_t)64)

enum { DATA = 0, ENTITIES = 1 };

_Static_assert(sizeof(fa__components) <= FA__RECORD_BYTES, "a record holds an array");

// Elements ----------------------------------------------------------------------------------------

static char *element(const fa_components *head, uint32_t at) {
    return head->data + at * head->stride;
}

// The columns may have moved.
static void refresh(fa__components *self) {
    self->head.data = self->sheet.columns[DATA].ptr;
    self->head.entities = (fa_entity *)(void *)self->sheet.columns[ENTITIES].ptr;
}

// Makes room for `count` elements and for the entry of an index.
static bool fit(fa__components *self, uint32_t count, uint32_t index, fa__denial *denial) {
    fa__sheet *sheet = &self->sheet;
    if (count > sheet->capacity) {
        bool worked = fa__sheet_fit(sheet, count, self->head.count, denial);
        refresh(self);
        if (!worked) {
            return false;
        }
    }
    return fa__entry_make(self, index, denial);
}

// Puts an entity's element where another generation's was.
static void *replace(fa__components *self, uint32_t at, fa_entity entity) {
    fa_components *head = &self->head;
    fa__bundle_leave(self, at);
    at = fa__place_of(head, entity.index);
    head->entities[at] = entity;
    memset(element(head, at), 0, head->stride);
    fa__bundle_enter(self, entity);
    return fa_components_get(head, entity);
}

// Appends an element that has been charged.
static void *append(fa__components *self, fa_entity entity) {
    fa_components *head = &self->head;
    fa__sheet *sheet = &self->sheet;
    fa__denial denial = FA__DENIED_BY_BACKEND;
    if (head->count == sheet->max) {
        fa__sheet_uncharge(sheet, head->stride);
        fa__sheet_refuse(sheet, FA__CODE_TOO_MANY, FA_ERR_LIMIT, head->stride, sheet->max);
        return NULL;
    }
    if (!fit(self, head->count + 1, entity.index, &denial)) {
        fa__sheet_uncharge(sheet, head->stride);
        fa__sheet_refuse_memory(sheet, head->stride, denial);
        return NULL;
    }
    uint32_t at = head->count;
    *fa__entry_of(self, entity.index) = at;
    head->entities[at] = entity;
    head->count = at + 1;
    memset(element(head, at), 0, head->stride);
    fa__bundle_enter(self, entity);
    return fa_components_get(head, entity);
}

void *fa_components_insert(fa_components *head, fa_entity entity) {
    fa__components *self = fa__components_of(head);
    if (entity.generation == 0 || entity.index > FA_ENTITY_INDEX_MAX) {
        fa__sheet_fail(&self->sheet, FA__CODE_BAD_ARGUMENT, FA_ERR_INVALID, "entity");
        return NULL;
    }
    uint32_t at = fa__place_of(head, entity.index);
    if (at == FA__NOWHERE) {
        if (!fa__sheet_charge(&self->sheet, head->stride)) {
            return NULL;
        }
        at = fa__place_of(head, entity.index); // Charging may have called back into the program.
        if (at == FA__NOWHERE) {
            return append(self, entity);
        }
        fa__sheet_uncharge(&self->sheet, head->stride);
    }
    uint32_t present = head->entities[at].generation;
    if (present < entity.generation) {
        return replace(self, at, entity);
    }
    bool is_same = present == entity.generation;
    fa__sheet_fail(&self->sheet, is_same ? FA__CODE_BAD_ARGUMENT : FA__CODE_STALE_HANDLE,
                   is_same ? FA_ERR_BUSY : FA_ERR_STALE, is_same ? "entity" : self->sheet.name);
    return NULL;
}

bool fa_components_remove(fa_components *head, fa_entity entity) {
    fa__components *self = fa__components_of(head);
    if (!fa_components_has(head, entity)) {
        return false;
    }
    fa__bundle_leave(self, fa__place_of(head, entity.index));
    uint32_t at = fa__place_of(head, entity.index);
    uint32_t last = head->count - 1;
    if (at != last) {
        memcpy(element(head, at), element(head, last), head->stride);
        head->entities[at] = head->entities[last];
        *fa__entry_of(self, head->entities[at].index) = at;
    }
    head->count = last;
    fa__sheet_uncharge(&self->sheet, head->stride);
    return true;
}

void fa_components_clear(fa_components *head) {
    fa__components *self = fa__components_of(head);
    if (self->bundle != NULL) {
        self->bundle->count = 0;
    }
    size_t bytes = head->count * head->stride;
    head->count = 0;
    if (bytes != 0) {
        fa__sheet_uncharge(&self->sheet, bytes);
    }
}

fa_result fa_components_reserve(fa_components *head, uint32_t count) {
    fa__components *self = fa__components_of(head);
    fa__sheet *sheet = &self->sheet;
    size_t bytes = count * head->stride;
    if (count > sheet->max) {
        return fa__sheet_refuse(sheet, FA__CODE_TOO_MANY, FA_ERR_LIMIT, bytes, sheet->max);
    }
    fa__denial denial = FA__DENIED_BY_BACKEND;
    for (uint32_t index = 0; index < count; index += FA_COMPONENTS_PAGE) {
        if (!fit(self, count, index, &denial)) {
            return fa__sheet_refuse_memory(sheet, bytes, denial);
        }
    }
    return FA_OK;
}

size_t fa_components_trim(fa_components *head) {
    fa__components *self = fa__components_of(head);
    return fa__sheet_trim(&self->sheet, head->count) + fa__index_trim(self);
}

// Making and ending -------------------------------------------------------------------------------

// Fills the defaults in.
static fa_components_desc resolve(const fa_components_desc *desc) {
    fa_components_desc wanted = desc == NULL ? (fa_components_desc){0} : *desc;
    wanted.name = wanted.name == NULL ? "components" : wanted.name;
    if (wanted.align == 0) {
        size_t largest = wanted.size & (0 - wanted.size);
        wanted.align = largest < ALIGN_DEFAULT_MAX ? largest : ALIGN_DEFAULT_MAX;
    }
    return wanted;
}

// Bytes from element to element; 0 when they cannot be told.
static size_t stride_of(const fa_components_desc *desc) {
    return (desc->size + (desc->align - 1)) & ~(desc->align - 1);
}

static const char *bad_field(const fa_components_desc *desc) {
    if (desc->size == 0 || desc->size > SIZE_LIMIT) {
        return "size";
    }
    if ((desc->align & (desc->align - 1)) != 0 || desc->align > ALIGN_LIMIT) {
        return "align";
    }
    if (desc->max_count > FA_ENTITY_INDEX_MAX || desc->max_count > SIZE_MAX / 4 / stride_of(desc)) {
        return "max_count";
    }
    return NULL;
}

fa_result fa_components_create(fa_context *ctx, const fa_components_desc *desc,
                               fa_components **out) {
    if (out == NULL) {
        return fa__fail_argument(ctx, "out");
    }
    *out = NULL;
    fa_components_desc wanted = resolve(desc);
    const char *field = bad_field(&wanted);
    if (field != NULL) {
        return fa__fail(&(fa__failure){
            .context = ctx, .code = FA__CODE_BAD_CONFIG, .result = FA_ERR_INVALID, .where = field});
    }
    if (fa__tag_get(ctx, wanted.tag) == NULL) {
        return fa__tag_fail(ctx, wanted.tag, FA_ERR_INVALID);
    }
    size_t stride = stride_of(&wanted);
    size_t most = DEFAULT_RESERVE / stride;
    most = most < DEFAULT_COUNT_MAX ? most : DEFAULT_COUNT_MAX;
    fa_result result = FA_OK;
    fa__components *self = fa__sheet_create(
        ctx,
        &(fa__sheet_desc){.name = wanted.name,
                          .tag = wanted.tag,
                          .column_count = 2,
                          .strides = {[DATA] = stride, [ENTITIES] = sizeof(fa_entity)},
                          .max = wanted.max_count == 0 ? (uint32_t)most : wanted.max_count,
                          .sheet_at = offsetof(fa__components, sheet),
                          .end = fa__index_release},
        &result);
    if (self == NULL) {
        return result;
    }
    self->head.stride = stride;
    *out = &self->head;
    return FA_OK;
}

fa_result fa_components_create_sized(fa_context *ctx, const fa_components_desc *desc, size_t size,
                                     size_t align, fa_components **out) {
    fa_components_desc sized = desc == NULL ? (fa_components_desc){0} : *desc;
    sized.size = size;
    sized.align = align;
    return fa_components_create(ctx, &sized, out);
}

void fa_components_destroy(fa_components *head) {
    if (head == NULL) {
        return;
    }
    fa__components *self = fa__components_of(head);
    if (self->bundle != NULL) {
        fa__bundle_dissolve(self->bundle);
    }
    fa__sheet_destroy(&self->sheet);
}

// Bundles: arrays that begin with the entities they all have, in the same order.
//
//   count = 2    | A B | x y |      | A B | z |
//
// An entity enters by changing places with the first that is not in the bundle, and leaves by
// changing places with the last that is, in every array.
#include "arrays.h"

#include <string.h>

typedef struct bundle_record {
    fa_bundle head;  // First, so that a pointer to one is a pointer to the other.
    fa__sheet sheet; // Without columns.
} bundle_record;

_Static_assert(sizeof(bundle_record) <= FA__RECORD_BYTES, "a record holds a bundle");

static char *element(const fa_components *head, uint32_t at) {
    return head->data + at * head->stride;
}

static void swap_bytes(char *left, char *right, size_t size) {
    char kept[256];
    for (size_t done = 0; done < size; done += sizeof kept) {
        size_t part = size - done < sizeof kept ? size - done : sizeof kept;
        memcpy(kept, left + done, part);
        memcpy(left + done, right + done, part);
        memcpy(right + done, kept, part);
    }
}

static void swap_elements(fa__components *self, uint32_t left, uint32_t right) {
    fa_components *head = &self->head;
    if (left == right) {
        return;
    }
    swap_bytes(element(head, left), element(head, right), head->stride);
    fa_entity kept = head->entities[left];
    head->entities[left] = head->entities[right];
    head->entities[right] = kept;
    *fa__entry_of(self, head->entities[left].index) = left;
    *fa__entry_of(self, head->entities[right].index) = right;
}

void fa__bundle_enter(fa__components *self, fa_entity entity) {
    fa_bundle *bundle = self->bundle;
    if (bundle == NULL) {
        return;
    }
    for (uint32_t i = 0; i < bundle->array_count; i++) {
        if (!fa_components_has(bundle->arrays[i], entity)) {
            return;
        }
    }
    for (uint32_t i = 0; i < bundle->array_count; i++) {
        uint32_t at = fa__place_of(bundle->arrays[i], entity.index);
        swap_elements(fa__components_of(bundle->arrays[i]), at, bundle->count);
    }
    bundle->count += 1;
}

void fa__bundle_leave(fa__components *self, uint32_t at) {
    fa_bundle *bundle = self->bundle;
    if (bundle == NULL || at >= bundle->count) {
        return;
    }
    bundle->count -= 1;
    for (uint32_t i = 0; i < bundle->array_count; i++) {
        swap_elements(fa__components_of(bundle->arrays[i]), at, bundle->count);
    }
}

// Making and ending -------------------------------------------------------------------------------

void fa__bundle_dissolve(fa_bundle *bundle) {
    for (uint32_t i = 0; i < bundle->array_count; i++) {
        fa__components_of(bundle->arrays[i])->bundle = NULL;
    }
    bundle->array_count = 0;
    bundle->count = 0;
}

// FA_OK when the arrays can be bundled.
static fa_result check_arrays(fa_components *const *arrays, size_t count) {
    if (arrays == NULL || count < 2 || count > FA_VIEW_MAX) {
        return FA_ERR_INVALID;
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t other = 0; other < i; other++) {
            if (arrays[i] == arrays[other]) {
                return FA_ERR_INVALID;
            }
        }
        if (arrays[i] == NULL || fa__components_of(arrays[i])->sheet.context !=
                                     fa__components_of(arrays[0])->sheet.context) {
            return FA_ERR_INVALID;
        }
        if (fa__components_of(arrays[i])->bundle != NULL) {
            return FA_ERR_BUSY;
        }
    }
    return FA_OK;
}

static void gather(fa_bundle *bundle) {
    fa_components *smallest = bundle->arrays[0];
    for (uint32_t i = 1; i < bundle->array_count; i++) {
        smallest = bundle->arrays[i]->count < smallest->count ? bundle->arrays[i] : smallest;
    }
    // What enters changes places with one that was looked at already.
    for (uint32_t i = 0; i < smallest->count; i++) {
        fa__bundle_enter(fa__components_of(smallest), smallest->entities[i]);
    }
}

fa_result fa_bundle_create(fa_components *const *arrays, size_t count, fa_bundle **out) {
    if (out == NULL) {
        return fa__fail_argument(NULL, "out");
    }
    *out = NULL;
    fa_result result = check_arrays(arrays, count);
    bool has_context = arrays != NULL && count != 0 && arrays[0] != NULL;
    fa_context *ctx = has_context ? fa__components_of(arrays[0])->sheet.context : NULL;
    if (result != FA_OK) {
        return fa__fail(&(fa__failure){
            .context = ctx, .code = FA__CODE_BAD_ARGUMENT, .result = result, .where = "arrays"});
    }
    bundle_record *self = fa__sheet_create(
        ctx, &(fa__sheet_desc){.name = "bundle", .sheet_at = offsetof(bundle_record, sheet)},
        &result);
    if (self == NULL) {
        return result;
    }
    fa_bundle *head = &self->head;
    for (size_t i = 0; i < count; i++) {
        head->arrays[i] = arrays[i];
        fa__components_of(arrays[i])->bundle = head;
    }
    head->array_count = (uint32_t)count;
    gather(head);
    *out = head;
    return FA_OK;
}

void fa_bundle_destroy(fa_bundle *head) {
    if (head != NULL) {
        fa__bundle_dissolve(head);
        fa__sheet_destroy(&((bundle_record *)(void *)head)->sheet);
    }
}

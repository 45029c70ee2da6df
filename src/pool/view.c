// Views: the entities that several arrays have in common.
//
//   smallest   | a b c d e |        walked from its end: `at` elements are left
//                    ^ at = 3
//
// Elements behind `at` have been visited, and removal only ever moves the last element, which is
// one of them. So removing the present element leaves those that are left as they are.
#include <framealloc/components.h>

#include "../core/fail.h"

fa_view fa_view_make(const fa_components *const *arrays, size_t count) {
    fa_view view = {.array_count = 0};
    if (arrays == NULL || count == 0 || count > FA_VIEW_MAX) {
        fa__fail_argument(NULL, "arrays");
        return view;
    }
    uint32_t smallest = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (arrays[i] == NULL) {
            fa__fail_argument(NULL, "arrays");
            return view;
        }
        view.arrays[i] = arrays[i];
        smallest = arrays[i]->count < arrays[smallest]->count ? i : smallest;
    }
    view.array_count = (uint32_t)count;
    view.smallest = smallest;
    view.at = arrays[smallest]->count;
    return view;
}

// Finds the elements of an entity; false when an array has none.
static bool look_up(fa_view *view, fa_entity entity) {
    for (uint32_t i = 0; i < view->array_count; i++) {
        view->items[i] = fa_components_get(view->arrays[i], entity);
        if (view->items[i] == NULL) {
            return false;
        }
    }
    return true;
}

bool fa_view_next(fa_view *view) {
    const fa_components *smallest = view->arrays[view->smallest];
    while (view->at > 0) {
        view->at = view->at < smallest->count ? view->at : smallest->count;
        if (view->at == 0) {
            break;
        }
        view->at -= 1;
        view->entity = smallest->entities[view->at];
        if (look_up(view, view->entity)) {
            return true;
        }
    }
    for (uint32_t i = 0; i < FA_VIEW_MAX; i++) {
        view->items[i] = NULL;
    }
    view->entity = (fa_entity){0, 0};
    return false;
}

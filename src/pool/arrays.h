// What the files about arrays of components share: the record of an array, and its index.
//
//   entity {7, 3}     pages[7 >> 12] --> | . . . . . . . 2 . . |    the index: one entry an entity
//                                                        |
//                                        0     1     2 <-+ count
//   entities          | {4,1} {9,1} {7,3} |  room  |
//   data              |   a     b     c   |  room  |
//
// What the index says is believed only when entities[] agrees, so entries of removed elements need
// not be cleared. Pages of the index that nobody needed yet are one shared page of zeros.
#pragma once

#include "sheet.h"
#include <framealloc/components.h>

#define FA__NOWHERE UINT32_MAX

typedef struct fa__components {
    fa_components head; // First, so that a pointer to one is a pointer to the other.
    fa__sheet sheet;    // Columns: data, entities.
    fa__chunk directory;
    fa__chunk page_list; // Pages of the index that have memory of their own.
    uint32_t list_count;
    uint32_t list_room;
    fa_bundle *bundle; // NULL: in none.
} fa__components;

static inline fa__components *fa__components_of(fa_components *head) {
    return (fa__components *)(void *)head;
}

// index.c -----------------------------------------------------------------------------------------

// Where the element of an index is, of whatever generation; FA__NOWHERE when there is none.
static inline uint32_t fa__place_of(const fa_components *head, uint32_t index) {
    uint32_t page = index >> FA_COMPONENTS_PAGE_BITS;
    if (page >= head->page_count) {
        return FA__NOWHERE;
    }
    uint32_t at = head->pages[page][index & (FA_COMPONENTS_PAGE - 1)];
    return at < head->count && head->entities[at].index == index ? at : FA__NOWHERE;
}

// The entry of an index for which fa__entry_make() has worked.
static inline uint32_t *fa__entry_of(fa__components *self, uint32_t index) {
    uint32_t *page = self->head.pages[index >> FA_COMPONENTS_PAGE_BITS];
    return &page[index & (FA_COMPONENTS_PAGE - 1)];
}

// Makes sure that the entry of an index can be written. False when refused.
bool fa__entry_make(fa__components *self, uint32_t index, fa__denial *denial);

// Gives back pages of the index that no element needs. Returns bytes.
size_t fa__index_trim(fa__components *self);

// Gives all of the index back; for fa__sheet_desc.end.
void fa__index_release(void *record);

// bundle.c ----------------------------------------------------------------------------------------

// Lets an entity into the bundle of an array, if there is one and the entity is in all arrays of it
// by now.
void fa__bundle_enter(fa__components *self, fa_entity entity);

// Takes the entity at a place out of the bundle of an array, if it is in it.
void fa__bundle_leave(fa__components *self, uint32_t at);

// The bundle's arrays belong to none from here on.
void fa__bundle_dissolve(fa_bundle *bundle);

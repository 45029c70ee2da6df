// The index of an array: a directory of pages, one entry of a page for each entity.
//
//   directory   | page 0 | zeros | zeros | page 3 | zeros |        zeros: one page shared by all
//   page list   | page 3 | page 0 |                                those with memory of their own
#include "arrays.h"

#include <string.h>

#define PAGE_BYTES (FA_COMPONENTS_PAGE * sizeof(uint32_t))
#define DIRECTORY_MIN 16u // Pages the first directory has room for.

typedef struct index_page {
    fa__chunk chunk;
    uint32_t number;
} index_page;

// Never written to.
static uint32_t empty_page[FA_COMPONENTS_PAGE];

static uint32_t **directory_of(fa__components *self) {
    return (uint32_t **)(void *)self->directory.ptr;
}

static bool grow_directory(fa__components *self, uint32_t pages_needed, fa__denial *denial) {
    fa_components *head = &self->head;
    fa__pages *pages = self->sheet.context->pages;
    uint32_t room = head->page_count == 0 ? DIRECTORY_MIN : 2 * head->page_count;
    room = room > pages_needed ? room : pages_needed;
    fa__chunk chunk;
    if (!fa__chunk_acquire(pages, room * sizeof(uint32_t *), 1, &chunk, denial)) {
        return false;
    }
    uint32_t **to = (uint32_t **)(void *)chunk.ptr;
    room = (uint32_t)(chunk.size / sizeof *to);
    for (uint32_t i = 0; i < room; i++) {
        to[i] = i < head->page_count ? head->pages[i] : empty_page;
    }
    if (head->page_count != 0) {
        fa__chunk_release(pages, self->directory);
    }
    self->directory = chunk;
    head->pages = to;
    head->page_count = room;
    return true;
}

static bool grow_page_list(fa__components *self, fa__denial *denial) {
    fa__pages *pages = self->sheet.context->pages;
    fa__chunk chunk;
    size_t bytes = 2 * self->list_room * sizeof(index_page);
    if (!fa__chunk_acquire(pages, bytes == 0 ? sizeof(index_page) : bytes, 1, &chunk, denial)) {
        return false;
    }
    if (self->list_room != 0) {
        memcpy(chunk.ptr, self->page_list.ptr, self->list_count * sizeof(index_page));
        fa__chunk_release(pages, self->page_list);
    }
    self->page_list = chunk;
    self->list_room = (uint32_t)(chunk.size / sizeof(index_page));
    return true;
}

static index_page *page_list_of(fa__components *self) {
    return (index_page *)(void *)self->page_list.ptr;
}

bool fa__entry_make(fa__components *self, uint32_t index, fa__denial *denial) {
    uint32_t number = index >> FA_COMPONENTS_PAGE_BITS;
    if (number >= self->head.page_count && !grow_directory(self, number + 1, denial)) {
        return false;
    }
    if (directory_of(self)[number] != empty_page) {
        return true;
    }
    if (self->list_count == self->list_room && !grow_page_list(self, denial)) {
        return false;
    }
    fa__chunk chunk;
    if (!fa__chunk_acquire(self->sheet.context->pages, PAGE_BYTES, 1, &chunk, denial)) {
        return false;
    }
    page_list_of(self)[self->list_count] = (index_page){chunk, number};
    self->list_count += 1;
    directory_of(self)[number] = memset(chunk.ptr, 0, PAGE_BYTES);
    return true;
}

void fa__index_release(void *record) {
    fa__components *self = record;
    fa__pages *pages = self->sheet.context->pages;
    for (uint32_t i = 0; i < self->list_count; i++) {
        fa__chunk_release(pages, page_list_of(self)[i].chunk);
    }
    if (self->list_room != 0) {
        fa__chunk_release(pages, self->page_list);
    }
    if (self->head.page_count != 0) {
        fa__chunk_release(pages, self->directory);
    }
}

static bool page_is_used(const fa_components *head, const index_page *page) {
    uint32_t first = page->number << FA_COMPONENTS_PAGE_BITS;
    for (uint32_t i = 0; i < FA_COMPONENTS_PAGE; i++) {
        if (fa__place_of(head, first + i) != FA__NOWHERE) {
            return true;
        }
    }
    return false;
}

size_t fa__index_trim(fa__components *self) {
    size_t given = 0;
    for (uint32_t i = self->list_count; i > 0; i--) {
        index_page *page = &page_list_of(self)[i - 1];
        if (page_is_used(&self->head, page)) {
            continue;
        }
        directory_of(self)[page->number] = empty_page;
        fa__chunk_release(self->sheet.context->pages, page->chunk);
        self->list_count -= 1;
        *page = page_list_of(self)[self->list_count];
        given += PAGE_BYTES;
    }
    return given;
}

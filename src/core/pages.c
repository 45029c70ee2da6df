// The page source of a context.
//
//   backend ──┬── ranges       reserve first, commit later: reserved arenas
//             ├── regions      2 MiB each, cut into chunks of 4 KiB to 1 MiB (a buddy system)
//             ├── dedicated    a chunk above 1 MiB is a reservation of its own
//             └── bookkeeping  blocks of 64 KiB, bump-allocated, never freed one by one
//
// A region is committed granule by granule (64 KiB) as chunks need it, and stays committed when
// they are freed, so that a group that comes and goes costs no system call. One empty region is
// kept; further ones go back at once. Every commit passes charge_commit(), the only place that
// knows memory_limit.
//
// Where the backend cannot commit, regions are not used: each chunk is a reservation of its own.
#include "pages.h"

#include <stdint.h>
#include <string.h>

#define META_BYTES ((size_t)64 << 10)
#define UNITS_PER_REGION (FA__REGION_BYTES / FA__CHUNK_MIN)
#define UNITS_PER_GRANULE (FA__GRANULE / FA__CHUNK_MIN)
#define ORDERS 10u         // 4 KiB << 0 ... 4 KiB << 9
#define GRANULE_ORDER 4u   // 4 KiB << 4 = 64 KiB
#define ORDER_NOT_HEAD 255 // This unit does not start a chunk.

_Static_assert(FA__CHUNK_MIN << (ORDERS - 1) == FA__REGION_BYTES, "the last order is a region");
_Static_assert(FA__REGION_BYTES / FA__GRANULE <= 32, "the granules of a region fit a 32-bit mask");

typedef struct unit {
    struct unit *next; // In the list of free chunks of its order.
    struct unit *prev;
    fa__region *region;
    uint16_t index;
    uint8_t order;
    bool is_free;
} unit;

struct fa__region {
    fa__region *next;
    char *base;
    uint32_t committed; // One bit a granule.
    unit units[UNITS_PER_REGION];
};

struct fa__meta_block {
    fa__meta_block *next;
    size_t size;
};

// The page source and the heads of its free lists; the heads are of no interest to anybody else.
typedef struct pages_with_lists {
    fa__pages pages;
    unit *free_units[ORDERS];
} pages_with_lists;

static unit **free_list(fa__pages *pages, unsigned order) {
    return &((pages_with_lists *)pages)->free_units[order];
}

static void deny(fa__denial *denial, fa__denial why) {
    if (denial != NULL) {
        *denial = why;
    }
}

static bool charge_commit(fa__pages *pages, size_t size) {
    size_t committed = fa__load(&pages->committed);
    do {
        if (size > pages->limit || committed > pages->limit - size) {
            return false;
        }
    } while (!fa__shared_swap(&pages->committed, &committed, committed + size));
    return true;
}

char *fa__pages_reserve(fa__pages *pages, size_t size, size_t align) {
    char *ptr = pages->backend.reserve(pages->backend.self, size, align);
    if (ptr != NULL) {
        fa__shared_add(&pages->reserved, size);
    }
    return ptr;
}

bool fa__pages_commit(fa__pages *pages, char *ptr, size_t size, fa__denial *denial) {
    if (!charge_commit(pages, size)) {
        deny(denial, FA__DENIED_BY_LIMIT);
        return false;
    }
    if (pages->backend.commit != NULL && !pages->backend.commit(pages->backend.self, ptr, size)) {
        fa__shared_sub(&pages->committed, size);
        deny(denial, FA__DENIED_BY_BACKEND);
        return false;
    }
    return true;
}

void fa__pages_decommit(fa__pages *pages, char *ptr, size_t size) {
    if (pages->backend.decommit != NULL && size != 0) {
        pages->backend.decommit(pages->backend.self, ptr, size);
        fa__shared_sub(&pages->committed, size);
    }
}

void fa__pages_release(fa__pages *pages, char *ptr, size_t size, size_t committed) {
    pages->backend.release(pages->backend.self, ptr, size);
    fa__shared_sub(&pages->reserved, size);
    fa__shared_sub(&pages->committed, committed);
}

char *fa__pages_resize(fa__pages *pages, char *ptr, size_t old_size, size_t new_size) {
    size_t more = new_size - old_size;
    if (pages->backend.resize == NULL || !charge_commit(pages, more)) {
        return NULL;
    }
    char *moved = pages->backend.resize(pages->backend.self, ptr, old_size, new_size);
    if (moved == NULL) {
        fa__shared_sub(&pages->committed, more);
        return NULL;
    }
    fa__shared_add(&pages->reserved, more);
    return moved;
}

// Reserves and commits in one: NULL and nothing held when either is refused.
static char *obtain(fa__pages *pages, size_t size, size_t align, fa__denial *denial) {
    bool at_once = pages->backend.commit == NULL; // Then reserving is what takes the memory.
    if (at_once && !fa__pages_commit(pages, NULL, size, denial)) {
        return NULL;
    }
    char *ptr = fa__pages_reserve(pages, size, align);
    if (ptr == NULL) {
        deny(denial, FA__DENIED_BY_BACKEND);
        fa__shared_sub(&pages->committed, at_once ? size : 0);
        return NULL;
    }
    if (!at_once && !fa__pages_commit(pages, ptr, size, denial)) {
        fa__pages_release(pages, ptr, size, 0);
        return NULL;
    }
    return ptr;
}

static size_t round_up(size_t size, size_t step) {
    return (size + (step - 1)) & ~(step - 1);
}

// Chunks ------------------------------------------------------------------------------------------

static void list_push(fa__pages *pages, unit *head, unsigned order) {
    unit **list = free_list(pages, order);
    head->order = (uint8_t)order;
    head->is_free = true;
    head->prev = NULL;
    head->next = *list;
    if (*list != NULL) {
        (*list)->prev = head;
    }
    *list = head;
}

static void list_remove(fa__pages *pages, unit *head) {
    if (head->prev != NULL) {
        head->prev->next = head->next;
    } else {
        *free_list(pages, head->order) = head->next;
    }
    if (head->next != NULL) {
        head->next->prev = head->prev;
    }
    head->is_free = false;
}

static void *meta_alloc_locked(fa__pages *pages, size_t size, fa__denial *denial);

static bool region_add(fa__pages *pages, fa__denial *denial) {
    fa__region *region = pages->spare;
    if (region != NULL) {
        pages->spare = region->next;
    } else {
        region = meta_alloc_locked(pages, sizeof *region, denial);
        if (region == NULL) {
            return false;
        }
    }
    region->base = fa__pages_reserve(pages, FA__REGION_BYTES, FA__CHUNK_MAX);
    if (region->base == NULL) {
        region->next = pages->spare;
        pages->spare = region;
        deny(denial, FA__DENIED_BY_BACKEND);
        return false;
    }
    region->committed = 0;
    for (size_t i = 0; i < UNITS_PER_REGION; i++) {
        region->units[i] = (unit){.region = region, .index = (uint16_t)i, .order = ORDER_NOT_HEAD};
    }
    region->next = pages->regions;
    pages->regions = region;
    pages->empty_regions += 1;
    list_push(pages, &region->units[0], ORDERS - 1);
    return true;
}

static size_t region_committed(const fa__region *region) {
    size_t granules = 0;
    for (uint32_t mask = region->committed; mask != 0; mask &= mask - 1) {
        granules += 1;
    }
    return granules * FA__GRANULE;
}

static void region_release(fa__pages *pages, fa__region *region) {
    list_remove(pages, &region->units[0]);
    fa__pages_release(pages, region->base, FA__REGION_BYTES, region_committed(region));
    fa__region **link = &pages->regions;
    while (*link != region) {
        link = &(*link)->next;
    }
    *link = region->next;
    region->next = pages->spare;
    pages->spare = region;
    pages->empty_regions -= 1;
}

// Commits the granules that a chunk touches and that are not committed yet.
static bool region_commit(fa__pages *pages, fa__region *region, size_t offset, size_t size,
                          fa__denial *denial) {
    size_t last = (offset + size - 1) / FA__GRANULE;
    for (size_t i = offset / FA__GRANULE; i <= last; i++) {
        uint32_t bit = (uint32_t)1 << i;
        if ((region->committed & bit) != 0) {
            continue;
        }
        if (!fa__pages_commit(pages, region->base + i * FA__GRANULE, FA__GRANULE, denial)) {
            return false; // Granules committed so far stay for the next try.
        }
        region->committed |= bit;
    }
    return true;
}

// Takes a free chunk of an order, halving a larger one when there is none. NULL when all regions
// are full.
static unit *unit_take(fa__pages *pages, unsigned order) {
    unsigned from = order;
    while (from < ORDERS && *free_list(pages, from) == NULL) {
        from += 1;
    }
    if (from == ORDERS) {
        return NULL;
    }
    unit *head = *free_list(pages, from);
    list_remove(pages, head);
    if (from == ORDERS - 1) {
        pages->empty_regions -= 1;
    }
    while (from > order) {
        from -= 1;
        list_push(pages, head + ((size_t)1 << from), from);
    }
    head->order = (uint8_t)order;
    return head;
}

// Gives a chunk back and joins it with its free neighbours.
static void unit_give(fa__pages *pages, unit *head) {
    fa__region *region = head->region;
    unsigned order = head->order;
    size_t index = head->index;
    while (order < ORDERS - 1) {
        unit *buddy = &region->units[index ^ ((size_t)1 << order)];
        if (!buddy->is_free || buddy->order != order) {
            break;
        }
        list_remove(pages, buddy);
        buddy->order = ORDER_NOT_HEAD;
        region->units[index].order = ORDER_NOT_HEAD;
        index &= ~((size_t)1 << order);
        order += 1;
    }
    list_push(pages, &region->units[index], order);
    if (order == ORDERS - 1) {
        pages->empty_regions += 1;
        if (pages->empty_regions > 1) {
            region_release(pages, region);
        }
    }
}

static bool chunk_from_region(fa__pages *pages, size_t size, fa__chunk *out, fa__denial *denial) {
    unsigned order = 0;
    while ((FA__CHUNK_MIN << order) < size) {
        order += 1;
    }
    unit *head = unit_take(pages, order);
    if (head == NULL) {
        if (!region_add(pages, denial)) {
            return false;
        }
        head = unit_take(pages, order);
    }
    fa__region *region = head->region;
    size_t offset = head->index * FA__CHUNK_MIN;
    size_t bytes = FA__CHUNK_MIN << order;
    if (!region_commit(pages, region, offset, bytes, denial)) {
        unit_give(pages, head);
        return false;
    }
    *out = (fa__chunk){.ptr = region->base + offset, .size = bytes, .region = region};
    return true;
}

bool fa__chunk_acquire(fa__pages *pages, size_t size, size_t align, fa__chunk *out,
                       fa__denial *denial) {
    if (size > SIZE_MAX - FA__GRANULE) {
        deny(denial, FA__DENIED_BY_BACKEND);
        return false;
    }
    size_t needed = size > align ? size : align; // A chunk lies at a multiple of its size.
    if (needed > FA__CHUNK_MAX || !fa__pages_can_commit(pages)) {
        size_t page = pages->backend.page_size;
        size_t bytes = round_up(size, page);
        char *ptr = obtain(pages, bytes, align > page ? align : page, denial);
        *out = (fa__chunk){.ptr = ptr, .size = bytes, .region = NULL};
        return ptr != NULL;
    }
    fa__os_mutex_lock(&pages->lock);
    bool worked = chunk_from_region(pages, needed, out, denial);
    fa__os_mutex_unlock(&pages->lock);
    return worked;
}

void fa__chunk_release(fa__pages *pages, fa__chunk chunk) {
    if (chunk.region == NULL) {
        fa__pages_release(pages, chunk.ptr, chunk.size, chunk.size);
        return;
    }
    fa__os_mutex_lock(&pages->lock);
    size_t index = (size_t)(chunk.ptr - chunk.region->base) / FA__CHUNK_MIN;
    unit_give(pages, &chunk.region->units[index]);
    fa__os_mutex_unlock(&pages->lock);
}

// Decommits the granules inside free chunks of a region. Smaller free chunks never fill a granule:
// they would have been joined.
static void region_trim(fa__pages *pages, fa__region *region) {
    for (size_t i = 0; i < UNITS_PER_REGION; i += UNITS_PER_GRANULE) {
        const unit *head = &region->units[i];
        if (!head->is_free || head->order < GRANULE_ORDER) {
            continue;
        }
        size_t first = i / UNITS_PER_GRANULE;
        size_t count = (size_t)1 << (head->order - GRANULE_ORDER);
        for (size_t granule = first; granule < first + count; granule++) {
            uint32_t bit = (uint32_t)1 << granule;
            if ((region->committed & bit) != 0 && pages->backend.decommit != NULL) {
                fa__pages_decommit(pages, region->base + granule * FA__GRANULE, FA__GRANULE);
                region->committed &= ~bit;
            }
        }
    }
}

void fa__pages_trim(fa__pages *pages) {
    fa__os_mutex_lock(&pages->lock);
    fa__region *next = NULL;
    for (fa__region *region = pages->regions; region != NULL; region = next) {
        next = region->next;
        if (region->units[0].is_free && region->units[0].order == ORDERS - 1) {
            region_release(pages, region);
        } else {
            region_trim(pages, region);
        }
    }
    fa__os_mutex_unlock(&pages->lock);
}

// Bookkeeping -------------------------------------------------------------------------------------

static bool meta_grow(fa__pages *pages, size_t size, fa__denial *denial) {
    size_t bytes = round_up(size + 64, META_BYTES);
    size_t page = pages->backend.page_size;
    char *ptr = obtain(pages, bytes, page, denial);
    if (ptr == NULL) {
        return false;
    }
    fa__shared_add(&pages->overhead, bytes);
    fa__meta_block *block = (fa__meta_block *)(void *)ptr;
    *block = (fa__meta_block){.next = pages->meta, .size = bytes};
    pages->meta = block;
    pages->meta_cursor = ptr + 64;
    pages->meta_end = ptr + bytes;
    return true;
}

static void *meta_alloc_locked(fa__pages *pages, size_t size, fa__denial *denial) {
    size_t bytes = round_up(size, 64);
    if (bytes > (size_t)(pages->meta_end - pages->meta_cursor) &&
        !meta_grow(pages, bytes, denial)) {
        return NULL;
    }
    void *ptr = pages->meta_cursor;
    pages->meta_cursor += bytes;
    return memset(ptr, 0, bytes); // A backend of the caller's need not hand out zeroes.
}

void *fa__meta_alloc(fa__pages *pages, size_t size, fa__denial *denial) {
    if (size > SIZE_MAX / 2) {
        deny(denial, FA__DENIED_BY_BACKEND);
        return NULL;
    }
    fa__os_mutex_lock(&pages->lock);
    void *ptr = meta_alloc_locked(pages, size, denial);
    fa__os_mutex_unlock(&pages->lock);
    return ptr;
}

fa__pages *fa__pages_create(const fa_backend *backend, size_t limit, size_t extra, void **owner,
                            fa__denial *denial) {
    // The page source lives in the memory it hands out, so it starts on the stack and moves in.
    pages_with_lists first = {.pages = {.backend = *backend, .limit = limit}};
    if (!meta_grow(&first.pages, extra + sizeof first, denial)) {
        return NULL;
    }
    *owner = meta_alloc_locked(&first.pages, extra, denial);
    pages_with_lists *home = meta_alloc_locked(&first.pages, sizeof first, denial);
    home->pages.backend = *backend;
    home->pages.limit = limit;
    fa__store(&home->pages.committed, fa__load(&first.pages.committed));
    fa__store(&home->pages.reserved, fa__load(&first.pages.reserved));
    fa__store(&home->pages.overhead, fa__load(&first.pages.overhead));
    home->pages.meta = first.pages.meta;
    home->pages.meta_cursor = first.pages.meta_cursor;
    home->pages.meta_end = first.pages.meta_end;
    if (!fa__os_mutex_init(&home->pages.lock)) {
        first.pages.backend.release(backend->self, home->pages.meta, home->pages.meta->size);
        deny(denial, FA__DENIED_BY_BACKEND);
        return NULL;
    }
    return &home->pages;
}

void fa__pages_destroy(fa__pages *pages) {
    fa_backend backend = pages->backend;
    for (fa__region *region = pages->regions; region != NULL; region = region->next) {
        backend.release(backend.self, region->base, FA__REGION_BYTES);
    }
    fa__os_mutex_destroy(&pages->lock);
    fa__meta_block *next = NULL;
    for (fa__meta_block *block = pages->meta; block != NULL; block = next) {
        next = block->next; // The page source itself lies in the last one.
        backend.release(backend.self, block, block->size);
    }
}

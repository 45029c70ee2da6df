// Blocks above 64 KiB.
//
//   to 32 MiB   a run of units: its fa__large is the run's body; freed runs stay with the thread
//               (spare.c), then committed in the space for a while
//   beyond      | committed: the block ........ | reserved: room to grow |
//               a reservation of its own, with a record in bookkeeping memory; found by a hash of
//               its address. When the room is used up, the backend may move the pages.
//
// The lock guards the lists and sums. What a record says of its block belongs to whoever may use
// the block, so it is read without. Runs of the space's main section are in no list, and counted by
// the threads that take and give them.
#include "heap.h"

#include <string.h>

static size_t units_for(size_t bytes) {
    return (bytes + FA__UNIT - 1) >> FA__UNIT_SHIFT;
}

// Lists -------------------------------------------------------------------------------------------

static fa__large **bucket_of(fa__heap *heap, const void *ptr) {
    uintptr_t page = (uintptr_t)ptr >> 12;
    return &heap->buckets[(page ^ page >> 6 ^ page >> 13) % FA__HUGE_BUCKETS];
}

static void bucket_add(fa__heap *heap, fa__large *large) {
    fa__large **bucket = bucket_of(heap, large->ptr);
    large->next_of_bucket = *bucket;
    *bucket = large;
}

static void bucket_remove(fa__heap *heap, fa__large *large) {
    fa__large **link = bucket_of(heap, large->ptr);
    while (*link != large) {
        link = &(*link)->next_of_bucket;
    }
    *link = large->next_of_bucket;
}

static size_t held_by(const fa__large *large) {
    return large->reserved != 0 ? large->committed : units_for(large->bytes) * FA__UNIT;
}

static void enlist(fa__heap *heap, fa__large *large) {
    fa__os_mutex_lock(&heap->large_lock);
    large->prev = NULL;
    large->next = heap->large;
    if (large->next != NULL) {
        large->next->prev = large;
    }
    heap->large = large;
    large->is_listed = true;
    if (large->reserved != 0) {
        bucket_add(heap, large);
    }
    heap->large_blocks += 1;
    heap->large_bytes += large->bytes;
    heap->large_committed += held_by(large);
    fa__os_mutex_unlock(&heap->large_lock);
}

static void delist(fa__heap *heap, fa__large *large) {
    fa__os_mutex_lock(&heap->large_lock);
    if (large->prev != NULL) {
        large->prev->next = large->next;
    } else {
        heap->large = large->next;
    }
    if (large->next != NULL) {
        large->next->prev = large->prev;
    }
    if (large->reserved != 0) {
        bucket_remove(heap, large);
    }
    heap->large_blocks -= 1;
    heap->large_bytes -= large->bytes;
    heap->large_committed -= held_by(large);
    fa__os_mutex_unlock(&heap->large_lock);
}

fa__large *fa__huge_find(fa__heap *heap, const void *ptr) {
    fa__os_mutex_lock(&heap->large_lock);
    fa__large *large = *bucket_of(heap, ptr);
    while (large != NULL && large->ptr != (const char *)ptr) {
        large = large->next_of_bucket;
    }
    fa__os_mutex_unlock(&heap->large_lock);
    return large;
}

// Reservations ------------------------------------------------------------------------------------

static fa__large *record_get(fa__heap *heap, fa__denial *denial) {
    fa__os_mutex_lock(&heap->large_lock);
    fa__large *record = heap->free_records;
    if (record != NULL) {
        heap->free_records = record->next_of_bucket;
    }
    fa__os_mutex_unlock(&heap->large_lock);
    return record != NULL ? record : fa__meta_alloc(heap->context->pages, sizeof *record, denial);
}

static void record_put(fa__heap *heap, fa__large *record) {
    fa__os_mutex_lock(&heap->large_lock);
    record->next_of_bucket = heap->free_records;
    heap->free_records = record;
    fa__os_mutex_unlock(&heap->large_lock);
}

// Address space for a block that may grow by half; or exactly for it.
static char *reserve_with_room(fa__pages *pages, size_t bytes, size_t align, size_t *reserved) {
    size_t page = pages->backend.page_size;
    *reserved = bytes + bytes / 2 / page * page;
    char *ptr = fa__pages_reserve(pages, *reserved, align);
    if (ptr == NULL) {
        *reserved = bytes;
        ptr = fa__pages_reserve(pages, bytes, align);
    }
    return ptr;
}

static bool huge_map(fa__pages *pages, const fa__plan *plan, fa__large *out, fa__denial *denial) {
    size_t page = pages->backend.page_size;
    size_t align = plan->align > page ? plan->align : page;
    size_t bytes = plan->bytes;
    bool can_commit = fa__pages_can_commit(pages);
    size_t reserved = bytes;
    if (!can_commit && !fa__pages_commit(pages, NULL, bytes, denial)) { // Reserving takes it.
        return false;
    }
    char *ptr = can_commit ? reserve_with_room(pages, bytes, align, &reserved)
                           : fa__pages_reserve(pages, bytes, align);
    if (ptr == NULL) {
        fa__shared_sub(&pages->committed, can_commit ? 0 : bytes);
        *denial = FA__DENIED_BY_BACKEND;
        return false;
    }
    if (can_commit && !fa__pages_commit(pages, ptr, bytes, denial)) {
        fa__pages_release(pages, ptr, reserved, 0);
        return false;
    }
    out->ptr = ptr;
    out->reserved = reserved;
    out->committed = bytes;
    return true;
}

static fa__large *huge_take(fa__heap *heap, const fa__plan *plan, fa__denial *denial) {
    fa__large *large = record_get(heap, denial);
    if (large == NULL) {
        return NULL;
    }
    *large = (fa__large){0};
    if (!huge_map(heap->context->pages, plan, large, denial)) {
        record_put(heap, large);
        return NULL;
    }
    return large;
}

// Taking and giving -------------------------------------------------------------------------------

static bool is_in_main(const fa__heap *heap, const void *ptr) {
    return (size_t)((const char *)ptr - heap->space->base) < fa__load(&heap->space->top);
}

// Adds to the figures of blocks that are in no list. `mine` may be NULL. What is to be taken off is
// passed as 0 - n.
static void count(fa__heap *heap, fa__heap_thread *mine, size_t blocks, size_t bytes, size_t held) {
    if (mine != NULL) {
        fa__own_add(&mine->spares.blocks, blocks);
        fa__own_add(&mine->spares.bytes, bytes);
        fa__own_add(&mine->spares.held, held);
        return;
    }
    fa__os_mutex_lock(&heap->large_lock);
    heap->large_blocks += blocks;
    heap->large_bytes += bytes;
    heap->large_committed += held;
    fa__os_mutex_unlock(&heap->large_lock);
}

// A run for a block, from the thread's spares or the space. `mine` may be NULL.
static fa__run *run_take(fa__heap *heap, fa__heap_thread *mine, const fa__plan *plan,
                         fa__denial *denial) {
    size_t units = units_for(plan->bytes);
    bool may_reuse = mine != NULL && plan->align <= FA__UNIT;
    fa__run *run = may_reuse ? fa__spare_take(mine, units) : NULL;
    if (run == NULL) {
        run = fa__run_acquire(heap->space, units, plan->align, FA__RUN_LARGE, heap, denial);
        if (run != NULL && mine != NULL && is_in_main(heap, run->ptr)) {
            fa__own_add(&mine->spares.held, units * FA__UNIT);
        }
    }
    return run;
}

char *fa__large_take(const fa__asker *asker, const fa__plan *plan, fa__denial *denial) {
    fa__heap *heap = asker->heap;
    fa__heap_thread *mine = heap->is_careful ? NULL : fa__heap_thread_get(heap, asker->thread);
    fa__large *large = NULL;
    if (plan->bytes <= FA__RUN_MAX) {
        fa__run *run = run_take(heap, mine, plan, denial);
        if (run != NULL) {
            large = (fa__large *)(void *)run->body;
            *large = (fa__large){.ptr = run->ptr};
        }
    } else {
        large = huge_take(heap, plan, denial);
    }
    if (large == NULL) {
        return NULL;
    }
    large->bytes = plan->bytes;
    large->size = plan->size;
    large->site = heap->is_careful ? asker->site : NULL;
    large->align = (uint32_t)plan->align;
    large->tag = (uint16_t)asker->account->tag->id;
    if (mine != NULL && large->reserved == 0 && is_in_main(heap, large->ptr)) {
        count(heap, mine, 1, large->bytes, 0);
    } else {
        enlist(heap, large);
    }
    return large->ptr;
}

// Gives a run of the main section to the thread's spares, or back to the space.
static void run_give(fa__heap *heap, fa__thread *thread, fa__run *run, fa__large *large) {
    fa__heap_thread *mine = thread == NULL ? NULL : fa__heap_thread_get(heap, thread);
    size_t held = run->units * FA__UNIT;
    large->tag = FA__WORD_FREE;
    if (mine != NULL && run->units <= mine->spares.most) {
        count(heap, mine, 0 - (size_t)1, 0 - large->bytes, 0);
        fa__spare_give(mine, run);
        return;
    }
    count(heap, mine, 0 - (size_t)1, 0 - large->bytes, 0 - held);
    fa__run_release(heap->space, run);
}

void fa__large_give(fa__heap *heap, fa__thread *thread, fa__large *large) {
    if (!large->is_listed) {
        run_give(heap, thread, fa__run_find(heap->space, large->ptr), large);
        return;
    }
    delist(heap, large);
    if (large->reserved == 0) {
        fa__run_release(heap->space, fa__run_find(heap->space, large->ptr));
        return;
    }
    fa__pages_release(heap->context->pages, large->ptr, large->reserved, large->committed);
    record_put(heap, large);
}

bool fa__large_is_zero(const fa__heap *heap, const fa__plan *plan) {
    return plan->class_number == FA__CLASS_LARGE && plan->bytes > FA__RUN_MAX &&
           !heap->has_guards && heap->context->pages->backend.commit == fa_backend_os()->commit;
}

// Resizing ----------------------------------------------------------------------------------------

static bool run_resize(fa__heap *heap, fa__heap_thread *mine, const fa__large *large,
                       size_t bytes) {
    fa__run *run = fa__run_find(heap->space, large->ptr);
    size_t before = run->units;
    size_t units = units_for(bytes);
    fa__denial denial = FA__DENIED_BY_BACKEND;
    if (bytes > FA__RUN_MAX) {
        return false;
    }
    if (units == before || (units > before && mine != NULL && fa__spare_extend(mine, run, units))) {
        return true;
    }
    if (!fa__run_resize(heap->space, run, units, &denial)) {
        return false;
    }
    if (!large->is_listed) {
        count(heap, mine, 0, 0, (units - before) * FA__UNIT);
    }
    return true;
}

// All of the reservation is used: has the backend move its pages to where there is more.
static bool huge_move(fa__heap *heap, fa__large *large, size_t bytes) {
    fa__pages *pages = heap->context->pages;
    size_t rest = large->reserved - large->committed;
    char *end = large->ptr + large->committed;
    if (pages->backend.resize == NULL || large->align > pages->backend.page_size) {
        return false;
    }
    if (rest != 0 && !fa__pages_commit(pages, end, rest, NULL)) {
        return false;
    }
    // From here until it is in its new bucket nobody may find it: its old addresses may become
    // another block's.
    fa__os_mutex_lock(&heap->large_lock);
    bucket_remove(heap, large);
    fa__os_mutex_unlock(&heap->large_lock);
    char *ptr = fa__pages_resize(pages, large->ptr, large->reserved, bytes);
    if (ptr != NULL) {
        large->ptr = ptr;
        large->reserved = bytes;
        large->committed = bytes;
    } else if (rest != 0) {
        fa__pages_decommit(pages, end, rest);
    }
    fa__os_mutex_lock(&heap->large_lock);
    bucket_add(heap, large);
    fa__os_mutex_unlock(&heap->large_lock);
    return ptr != NULL;
}

static bool huge_resize(fa__heap *heap, fa__large *large, size_t bytes) {
    fa__pages *pages = heap->context->pages;
    if (bytes % pages->backend.page_size != 0) {
        return false;
    }
    if (bytes < large->committed) {
        if (bytes <= large->committed / 2 && bytes <= FA__RUN_MAX) {
            return false; // Where smaller blocks live it takes no reservation.
        }
        if (pages->backend.decommit != NULL) {
            fa__pages_decommit(pages, large->ptr + bytes, large->committed - bytes);
            large->committed = bytes;
        }
        return true;
    }
    if (bytes == large->committed) {
        return true;
    }
    if (bytes > large->reserved) {
        return huge_move(heap, large, bytes);
    }
    size_t more = bytes - large->committed;
    if (!fa__pages_commit(pages, large->ptr + large->committed, more, NULL)) {
        return false;
    }
    large->committed = bytes;
    return true;
}

bool fa__large_resize(const fa__asker *asker, fa__large *large, size_t bytes, size_t size) {
    fa__heap *heap = asker->heap;
    fa__heap_thread *mine = heap->is_careful ? NULL : fa__heap_thread_get(heap, asker->thread);
    size_t bytes_before = large->bytes;
    size_t held_before = held_by(large);
    bool worked = large->reserved != 0 ? huge_resize(heap, large, bytes)
                                       : run_resize(heap, mine, large, bytes);
    if (!worked) {
        return false;
    }
    large->bytes = bytes;
    large->size = size;
    if (!large->is_listed) {
        count(heap, mine, 0, bytes - bytes_before, 0);
        return true;
    }
    fa__os_mutex_lock(&heap->large_lock);
    heap->large_bytes += bytes - bytes_before;
    heap->large_committed += held_by(large) - held_before;
    fa__os_mutex_unlock(&heap->large_lock);
    return true;
}

// Looking at all ----------------------------------------------------------------------------------

static bool visit_large(fa__heap *heap, fa__large *large, fa__block_fn visit, void *user) {
    const fa__block block = {
        .large = large, .ptr = large->ptr, .bytes = large->bytes, .site = large->site};
    return visit(user, heap, &block);
}

// Spares have gone back before: every unit is in a block's run, in another's, or free.
bool fa__large_each(fa__heap *heap, fa__block_fn visit, void *user) {
    fa__run *runs = heap->space->runs;
    size_t top = fa__load(&heap->space->top) >> FA__UNIT_SHIFT;
    for (size_t i = 0; i < top; i += runs[i].units != 0 ? runs[i].units : 1) {
        fa__large *large = (fa__large *)(void *)runs[i].body;
        bool is_block = runs[i].kind == FA__RUN_LARGE && !large->is_listed;
        if (is_block && !visit_large(heap, large, visit, user)) {
            return false;
        }
    }
    bool goes_on = true;
    fa__os_mutex_lock(&heap->large_lock);
    for (fa__large *large = heap->large; large != NULL && goes_on; large = large->next) {
        goes_on = visit_large(heap, large, visit, user);
    }
    fa__os_mutex_unlock(&heap->large_lock);
    return goes_on;
}

void fa__large_end(fa__heap *heap) {
    for (fa__large *large = heap->large; large != NULL; large = large->next) {
        if (large->reserved != 0) {
            fa__pages_release(heap->context->pages, large->ptr, large->reserved, large->committed);
        }
    }
    heap->large = NULL;
}

// Blocks up to 64 KiB: classes of slots, and each thread's caches of them.
//
//   a thread's cache of a class   | ptr ptr ptr ...       | &word &word &word ...       |
//                                   pool/slab.h's array     words_from further on
//
// The second half is kept in step with the first by this file alone: what it says of an entry is
// looked up when the entry comes from the depot, and known when it comes from a free.
//
// Invariant: a cache's slots are charged to entry->account (fa__heap_cache); none is when that is
// NULL. So a slot that comes is charged and one that goes is uncharged, unless it changes place
// with a block of the same tag.
//
// Lock order: heap->lock, then a class's, then units_lock.
#include "heap.h"

#include <string.h>

#define UNITS_STEP ((size_t)16 << 10) // Bytes of records.

// clang-format off
const uint8_t fa__class_of_small[FA__BY_SIZE] = {
    0, 0, 1, 2, 3, 4, 5, 6, 7,                                       // to 128
    8, 9, 10, 11, 12, 13, 14, 15,                                    // to 256
    16, 16, 17, 17, 18, 18, 19, 19, 20, 20, 21, 21, 22, 22, 23, 23,  // to 512
    24, 24, 24, 24, 25, 25, 25, 25, 26, 26, 26, 26, 27, 27, 27, 27,  // to 1024
    28, 28, 28, 28, 29, 29, 29, 29, 30, 30, 30, 30, 31, 31, 31, 31};
// clang-format on

#define AHEAD_ROOM ((size_t)32 << 20) // Under a budget's line, for slots to be charged ahead.

#define UNUSED_SLOTS 512u // Of a cache that was not used, given back in one quiet step.

// The array of a cache that is empty and full: what a thread has until it opens one.
static void *nothing[2];

// Units -------------------------------------------------------------------------------------------

// Makes sure that the records below `count` may be read.
static bool units_grow(fa__heap *heap, size_t count) {
    if (count <= fa__load(&heap->unit_count)) {
        return true;
    }
    fa__pages *pages = heap->context->pages;
    size_t page = pages->backend.page_size;
    size_t step = (page > UNITS_STEP ? page : UNITS_STEP) / sizeof(fa__heap_unit);
    fa__os_mutex_lock(&heap->units_lock);
    size_t present = fa__load(&heap->unit_count);
    bool worked = count <= heap->unit_room;
    if (worked && count > present) {
        size_t wanted = (count + step - 1) / step * step;
        size_t bytes = (wanted - present) * sizeof(fa__heap_unit);
        char *from = (char *)(heap->units + present);
        worked = fa__pages_commit(pages, from, bytes, NULL);
        if (worked) {
            memset(from, 0, bytes); // A backend of the caller's need not hand out zeroes.
            fa__shared_add(&pages->overhead, bytes);
            fa__store_release(&heap->unit_count, wanted);
        }
    }
    fa__os_mutex_unlock(&heap->units_lock);
    return worked;
}

// Told of a new slab, under its class's lock.
static void slab_acquired(void *self, fa__run *run) {
    fa__heap_class *home = self;
    fa__heap *heap = home->heap;
    size_t first = (size_t)(run->ptr - heap->space->base) >> FA__UNIT_SHIFT;
    if (first >= heap->unit_room || !units_grow(heap, first + run->units)) {
        return; // Its blocks are found the slow way.
    }
    const fa__slab *slab = fa__slab_of(run);
    for (uint32_t i = 0; i < run->units; i++) {
        heap->units[first + i] =
            (fa__heap_unit){.side = slab->side,
                            .start = (uint32_t)(uintptr_t)(run->ptr + slab->first),
                            .reciprocal = UINT64_MAX / home->bytes + 1,
                            .capacity = slab->capacity,
                            .bytes = home->bytes,
                            .cache = home->number * (uint32_t)sizeof(fa__heap_cache)};
    }
}

// Told before a slab goes, under its class's lock.
static void slab_released(void *self, fa__run *run) {
    const fa__heap_class *home = self;
    fa__heap *heap = home->heap;
    size_t first = (size_t)(run->ptr - heap->space->base) >> FA__UNIT_SHIFT;
    if (first < fa__load(&heap->unit_count)) {
        memset(&heap->units[first], 0, run->units * sizeof heap->units[0]);
    }
}

static void slot_prepared(void *self, char *slot, fa__run *run) {
    const fa__heap_class *home = self;
    (void)run;
    fa__guard_bury(slot, home->bytes);
}

// Classes -----------------------------------------------------------------------------------------

static fa__heap_class *class_make_locked(fa__heap *heap, uint32_t number, fa__denial *denial) {
    fa__heap_class *home = fa__meta_alloc(heap->context->pages, sizeof *home, denial);
    if (home == NULL) {
        return NULL;
    }
    home->heap = heap;
    home->number = number;
    home->bytes = (uint32_t)fa__class_bytes(number);
    const fa__slots_desc desc = {.name = "heap",
                                 .stride = home->bytes,
                                 .align = fa__class_align(number),
                                 .side = heap->is_careful ? 8 : 2,
                                 .prepare = heap->has_guards ? slot_prepared : NULL,
                                 .acquired = heap->is_careful ? NULL : slab_acquired,
                                 .released = heap->is_careful ? NULL : slab_released,
                                 .self = home};
    return fa__slots_init(&home->slots, heap->context, &desc, denial) == FA_OK ? home : NULL;
}

fa__heap_class *fa__class_get(fa__heap *heap, uint32_t number, fa__denial *denial) {
    fa__heap_class *home = fa__load_acquire(&heap->classes[number]);
    if (FA_LIKELY(home != NULL)) {
        return home;
    }
    fa__os_mutex_lock(&heap->lock);
    home = fa__load(&heap->classes[number]);
    if (home == NULL) {
        home = class_make_locked(heap, number, denial);
        if (home != NULL) {
            fa__store_release(&heap->classes[number], home);
        }
    }
    fa__os_mutex_unlock(&heap->lock);
    return home;
}

fa__heap_class *fa__class_of_run(fa__heap *heap, const fa__run *run) {
    if (run->kind != FA__RUN_SLAB) {
        return NULL;
    }
    const fa__slots *slots = run->owner;
    size_t stride = slots->desc.stride; // A pool's may be anything.
    if (stride < 16 || stride > FA__SMALL_MAX) {
        return NULL;
    }
    fa__heap_class *home = fa__load_acquire(&heap->classes[fa__class_of(stride)]);
    if (home != NULL && &home->slots == slots) {
        return home;
    }
    for (uint32_t i = FA__STEP_CLASSES; i < FA__CLASSES; i++) {
        home = fa__load_acquire(&heap->classes[i]);
        if (home != NULL && &home->slots == slots) {
            return home;
        }
    }
    return NULL;
}

// Caches ------------------------------------------------------------------------------------------

void fa__small_open(fa__heap_thread *mine) {
    for (uint32_t i = 0; i < FA__CLASSES; i++) {
        fa__heap_cache *entry = &mine->caches[i];
        *entry = (fa__heap_cache){.tag = FA__NO_TAG, .bytes = (uint32_t)fa__class_bytes(i)};
        fa__store(&entry->shown_tag, FA__NO_TAG);
        entry->cache.bottom = &nothing[1];
        entry->cache.open.top = &nothing[1];
        entry->cache.open.end = &nothing[1];
    }
    for (size_t i = 0; i < FA__BY_SIZE; i++) {
        mine->by_size[i] = &mine->caches[fa__class_of_small[i]];
    }
}

// A NULL, a cache's entries, and the places of their words.
static void **array_make(const fa__heap_class *home, size_t room) {
    size_t bytes = (1 + 2 * room) * sizeof(void *);
    return fa__meta_alloc(home->heap->context->pages, bytes, NULL);
}

// The thread's cache of a class; NULL when there is no memory for one.
static fa__heap_cache *cache_get(fa__heap_class *home, fa__thread *thread) {
    fa__heap_thread *mine = thread == NULL ? NULL : fa__heap_thread_get(home->heap, thread);
    if (mine == NULL) {
        return NULL;
    }
    fa__heap_cache *entry = &mine->caches[home->number];
    if (entry->home == NULL) {
        void **array = array_make(home, home->slots.cache_slots);
        if (array == NULL) {
            return NULL;
        }
        entry->cache.bottom = array + 1;
        entry->words_from = home->slots.cache_slots * sizeof *array;
        fa__cache_init(&entry->cache, &home->slots, thread, home->slots.cache_slots);
        entry->home = home;
    }
    return entry;
}

static size_t count_of(const fa__heap_cache *entry) {
    return fa__cache_count(&entry->cache);
}

// Whether a budget's line is so near to a tag that what lies charged in caches might be missed.
static bool is_near_line(const fa__account *account) {
    if (fa__load(&account->tag->nearest_line) == SIZE_MAX) {
        return false;
    }
    for (fa__tag *tag = account->tag; tag != NULL; tag = tag->parent) {
        size_t charged = fa__load(&tag->charged);
        size_t soft = fa__load(&tag->soft);
        size_t hard = fa__load(&tag->hard);
        bool is_near_soft = charged < soft && soft - charged < AHEAD_ROOM; // Once it is passed it
                                                                           // is of no interest.
        if (is_near_soft || charged >= hard || hard - charged < AHEAD_ROOM) {
            return true;
        }
    }
    return false;
}

static void tally(fa__heap_cache *entry) {
    if (entry->taken != 0) {
        fa__own_add(&entry->account->allocations, entry->taken);
        entry->taken = 0;
    }
}

// Says whom a cache is charged to from here on: its slots must be charged so. NULL: nobody.
static void adopt(fa__heap_cache *entry, fa__account *account) {
    tally(entry);
    entry->misses = 0;
    bool is_ahead = account != NULL && !is_near_line(account);
    entry->account = is_ahead ? account : NULL;
    entry->tag = is_ahead ? account->tag->id : FA__NO_TAG;
    entry->payer =
        is_ahead ? fa__account_at(entry->cache.thread, FA__HOLDER_FRAME, entry->tag) : NULL;
    fa__store_release(&entry->shown_tag, entry->tag); // The array is there.
}

// Takes slots that have left the cache off its tag.
static void uncharge_slots(fa__heap_cache *entry, size_t count) {
    if (entry->account != NULL && count != 0) {
        fa__object_uncharge(entry->account, count * entry->bytes);
    }
}

// Charges a cache with slots in it to another tag, which no budget concerns.
static void retag(fa__heap_cache *entry, fa__account *account) {
    size_t bytes = count_of(entry) * entry->bytes;
    if (fa__object_charge(entry->cache.thread, account, bytes, "heap")) {
        uncharge_slots(entry, count_of(entry));
        adopt(entry, account);
        if (entry->account == NULL) { // A line was set this moment.
            fa__object_uncharge(account, bytes);
        }
    }
}

static void flush(fa__heap_cache *entry) {
    if (count_of(entry) != 0) {
        uncharge_slots(entry, fa__cache_flush(&entry->cache));
    }
}

// Doubles the room of a full cache, so that many blocks that come and go need no depot. The old
// array stays behind in the bookkeeping memory: all of them together are no more than the last.
static bool grow(fa__heap_cache *entry) {
    fa__heap_class *home = entry->home;
    fa__heap_thread *mine = entry->cache.thread->heap;
    size_t room = 2 * entry->cache.room;
    size_t added = entry->cache.room * entry->bytes;
    if (entry->account == NULL || is_near_line(entry->account) ||
        room * entry->bytes > FA__GROWN_CLASS || mine->grown + added > FA__GROWN_ALL) {
        return false;
    }
    void **array = array_make(home, room);
    if (array == NULL) {
        return false;
    }
    void **bottom = array + 1;
    size_t held = count_of(entry);
    memcpy(bottom, entry->cache.bottom, held * sizeof *bottom);
    memcpy(bottom + room, fa__word_of(entry, entry->cache.bottom), held * sizeof *bottom);
    // Others read bottom and top for statistics, under one of these.
    fa__os_mutex_lock(&home->heap->lock);
    fa__os_mutex_lock(&home->slots.lock);
    entry->cache.bottom = bottom;
    entry->cache.room = room;
    FA_STORE_RELAXED(&entry->cache.open.top, bottom + held);
    fa__os_mutex_unlock(&home->slots.lock);
    fa__os_mutex_unlock(&home->heap->lock);
    entry->words_from = room * sizeof *bottom;
    entry->seen = NULL;
    mine->grown += added;
    fa__cache_limit(&entry->cache, SIZE_MAX);
    return true;
}

// Makes room in a full cache.
static void spill(fa__heap_cache *entry) {
    if (entry->account != NULL && is_near_line(entry->account)) { // It has one now.
        flush(entry);
        adopt(entry, NULL);
        return;
    }
    size_t gone = fa__cache_spill(&entry->cache);
    if (!fa__cache_spills_newest(&entry->cache)) {
        void **words = fa__word_of(entry, entry->cache.bottom);
        memmove(words, words + gone, count_of(entry) * sizeof *words);
    }
    tally(entry);
    uncharge_slots(entry, gone);
}

static void *word_place(const fa__heap *heap, const void *slot) {
    fa__run *run = fa__run_find(heap->space, slot);
    const fa__slab *slab = fa__slab_of(run);
    return slab->side + (size_t)fa__slab_index(run, slab, slot) * (heap->is_careful ? 8 : 2);
}

// Notes where the words of a cache's slots lie.
static void note_words(const fa__heap_thread *mine, fa__heap_cache *entry, size_t count) {
    void **slots = entry->cache.bottom;
    const fa__heap_unit *units = mine->units;
    size_t unit_count = mine->unit_count;
    for (size_t i = 0; i < count; i++) {
        size_t number = (size_t)((char *)slots[i] - mine->base) >> FA__UNIT_SHIFT;
        bool is_slot = true; // It is.
        bool is_known = number < unit_count && units[number].side != NULL;
        *fa__word_of(entry, &slots[i]) = FA_LIKELY(is_known)
                                             ? fa__unit_word(&units[number], slots[i], &is_slot)
                                             : word_place(mine->heap, slots[i]);
    }
}

// Fetches slots into an empty cache, charged to `asker` where that can be done ahead. False when
// there is no memory.
static bool fill(fa__heap_cache *entry, const fa__asker *asker, fa__denial *denial) {
    size_t want = entry->home->slots.cache_slots / 2;
    adopt(entry, asker->account);
    if (entry->account != NULL &&
        !fa__object_charge(asker->thread, entry->account, want * entry->bytes, "heap")) {
        adopt(entry, NULL); // A line was set this moment.
    }
    size_t count = fa__cache_refill(&entry->cache, want, denial);
    uncharge_slots(entry, want - count);
    // Asked for again, because a new slab may have made more records readable.
    note_words(fa__heap_thread_get(asker->heap, asker->thread), entry, count);
    return count != 0;
}

// Taking ------------------------------------------------------------------------------------------

// Takes the last slot. Its block is charged already.
static char *pop(fa__heap_cache *entry, void **place) {
    fa__cache *cache = &entry->cache;
    size_t at = count_of(entry) - 1;
    FA_STORE_RELAXED(&cache->open.top, cache->bottom + at);
    *place = *fa__word_of(entry, &cache->bottom[at]);
    void *slot = cache->bottom[at];
    uncharge_slots(entry, 1);
    return slot;
}

static char *take(const fa__asker *asker, fa__heap_class *home, void **place, fa__denial *denial) {
    fa__heap *heap = asker->heap;
    fa__heap_cache *entry = heap->is_careful ? NULL : cache_get(home, asker->thread);
    if (entry != NULL) {
        if (count_of(entry) == 0) {
            return fill(entry, asker, denial) ? pop(entry, place) : NULL;
        }
        entry->misses += entry->account != asker->account ? 1 : 0;
        if (entry->misses > FA__MISSES_MAX && !is_near_line(asker->account)) {
            retag(entry, asker->account);
        }
        return pop(entry, place);
    }
    void *slot = NULL;
    if (fa__slots_take(&home->slots, &slot, 1, denial) != 1) {
        return NULL;
    }
    *place = word_place(heap, slot);
    return slot;
}

char *fa__small_take(const fa__asker *asker, const fa__plan *plan, fa__denial *denial) {
    fa__heap *heap = asker->heap;
    fa__heap_class *home = fa__class_get(heap, plan->class_number, denial);
    void *place = NULL;
    char *slot = home == NULL ? NULL : take(asker, home, &place, denial);
    if (slot == NULL) {
        return NULL;
    }
    uint32_t word = asker->account->tag->id | plan->flags;
    if (heap->is_careful) {
        *(uint64_t *)place = (uint64_t)(uintptr_t)asker->site << 16 | word;
    } else {
        *(uint16_t *)place = (uint16_t)word;
    }
    if (heap->has_guards && !fa__guard_is_buried(slot, home->bytes)) {
        fa__heap_report(heap, FA__CODE_CORRUPTION, slot, home->bytes, "freed block");
    }
    return slot;
}

// Giving ------------------------------------------------------------------------------------------

// Charges one more slot to the cache's tag. Where a budget concerns that tag, only what is leased.
static bool charge_slot(const fa__heap_cache *entry) {
    fa__account *account = entry->account;
    if (account == NULL) {
        return true;
    }
    bool has_room = fa__load(&account->object_room) >= entry->bytes;
    return (has_room || !is_near_line(account)) &&
           fa__object_charge(entry->cache.thread, account, entry->bytes, "heap");
}

static void push(fa__heap *heap, fa__heap_cache *entry, const fa__block *block, bool is_charged) {
    fa__thread *thread = entry->cache.thread;
    uint32_t tag = fa__block_tag(block);
    if (entry->cache.open.top == entry->cache.open.end && !grow(entry)) {
        spill(entry);
    }
    if (count_of(entry) == 0 && entry->tag != tag) {
        adopt(entry, fa__object_of(thread, FA__HOLDER_HEAP, tag));
    }
    if (entry->tag != tag || !is_charged) {
        if (is_charged) {
            fa__heap_uncharge(heap, thread, tag, block->bytes);
        }
        if (!charge_slot(entry)) {
            flush(entry);
            adopt(entry, NULL);
        }
    }
    size_t at = count_of(entry);
    entry->cache.bottom[at] = block->ptr;
    *fa__word_of(entry, &entry->cache.bottom[at]) = block->side;
    FA_STORE_RELAXED(&entry->cache.open.top, entry->cache.bottom + at + 1);
}

void fa__small_give(fa__heap *heap, fa__thread *thread, const fa__block *block, bool is_charged) {
    if (heap->is_careful) {
        *(uint64_t *)block->side |= FA__WORD_FREE;
    } else {
        *(uint16_t *)block->side = FA__WORD_FREE;
    }
    if (heap->has_guards) {
        fa__guard_bury(block->ptr, block->bytes);
    }
    fa__heap_cache *entry = heap->is_careful ? NULL : cache_get(block->home, thread);
    if (entry != NULL) {
        push(heap, entry, block, is_charged);
        return;
    }
    if (is_charged) {
        fa__heap_uncharge(heap, thread, fa__block_tag(block), block->bytes);
    }
    void *slot = block->ptr;
    (void)fa__slots_give(&block->home->slots, &slot, 1);
}

// Upkeep ------------------------------------------------------------------------------------------

void fa__small_flush(fa__heap_thread *mine, fa__flush which) {
    for (uint32_t i = 0; i < FA__CLASSES; i++) {
        fa__heap_cache *entry = &mine->caches[i];
        if (entry->home == NULL) {
            continue;
        }
        bool is_near = entry->account != NULL && is_near_line(entry->account);
        bool is_unused = which == FA__FLUSH_UNUSED && entry->seen == entry->cache.open.top;
        if (which == FA__FLUSH_ALL || is_near || (is_unused && count_of(entry) <= UNUSED_SLOTS)) {
            flush(entry);
        }
        for (size_t gone = count_of(entry);
             is_unused && gone - count_of(entry) < UNUSED_SLOTS && count_of(entry) != 0;) {
            spill(entry);
        }
        if (is_near) {
            adopt(entry, NULL);
        }
        if (which == FA__FLUSH_UNUSED) {
            entry->seen = entry->cache.open.top;
        }
    }
}

void fa__small_tally(fa__heap_thread *mine) {
    for (uint32_t i = 0; i < FA__CLASSES; i++) {
        tally(&mine->caches[i]);
    }
    fa__own_add(&mine->thread->frees, mine->freed);
    mine->freed = 0;
}

size_t fa__small_idle(fa__heap *heap, uint32_t tag) {
    size_t bytes = 0;
    fa__os_mutex_lock(&heap->lock);
    for (fa__heap_thread *mine = heap->threads; mine != NULL; mine = mine->next) {
        for (uint32_t i = 0; i < FA__CLASSES; i++) {
            fa__heap_cache *entry = &mine->caches[i];
            uint32_t shown = fa__load_acquire(&entry->shown_tag);
            if (shown != FA__NO_TAG && (tag == UINT32_MAX || tag == shown)) {
                void **top = FA_LOAD_RELAXED(&entry->cache.open.top);
                bytes += (size_t)(top - entry->cache.bottom) * entry->bytes;
            }
        }
    }
    fa__os_mutex_unlock(&heap->lock);
    return bytes;
}

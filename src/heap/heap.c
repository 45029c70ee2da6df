// The public calls, and the heap's making.
//
// The fast paths of fa_heap_alloc() and fa_heap_free() know one case only: this context's heap was
// the last that the thread used, the class's cache has a slot (or room for one), and its slots are
// charged to the tag concerned. Whatever else is the matter, they have changed nothing yet and call
// the slow path, which handles every case.
#include "heap.h"

#include <string.h>

#define UNIT_ROOM (sizeof(void *) == 8 ? (size_t)1 << 22 : (size_t)1 << 16) // 256 GiB; 4 GiB.

static FA__THREAD_LOCAL fa__heap_last last;

// Making ------------------------------------------------------------------------------------------

// Address space for the records of all units; none where it cannot be committed bit by bit.
static void units_reserve(fa__heap *heap) {
    fa__pages *pages = heap->context->pages;
    size_t page = pages->backend.page_size;
    if (heap->is_careful || !fa__pages_can_commit(pages)) {
        return;
    }
    for (size_t room = UNIT_ROOM; room >= UNIT_ROOM / 64; room /= 2) {
        size_t bytes = room * sizeof(fa__heap_unit);
        heap->units = (fa__heap_unit *)(void *)fa__pages_reserve(pages, bytes, page);
        if (heap->units != NULL) {
            heap->unit_room = room;
            return;
        }
    }
}

static bool locks_make(fa__heap *heap) {
    if (!fa__os_mutex_init(&heap->lock)) {
        return false;
    }
    if (!fa__os_mutex_init(&heap->units_lock)) {
        fa__os_mutex_destroy(&heap->lock);
        return false;
    }
    if (!fa__os_mutex_init(&heap->large_lock)) {
        fa__os_mutex_destroy(&heap->units_lock);
        fa__os_mutex_destroy(&heap->lock);
        return false;
    }
    return true;
}

// Under the context's lock.
static fa__heap *heap_make_locked(fa_context *ctx, fa__space *space, fa__denial *denial) {
    fa__heap *heap = fa__meta_alloc(ctx->pages, sizeof *heap, denial);
    if (heap == NULL || !locks_make(heap)) {
        return NULL;
    }
    uint32_t checks = fa__load(&ctx->checks);
    heap->context = ctx;
    heap->space = space;
    heap->has_guards = (checks & FA_CHECK_BLOCKS) != 0;
    heap->is_careful = (checks & (FA_CHECK_BLOCKS | FA_CHECK_SITES)) != 0;
    units_reserve(heap);
    fa__tier_register(ctx, FA__TIER_HEAP, &fa__heap_tier);
    fa__store_release(&ctx->heap, heap);
    return heap;
}

static FA_COLD fa__heap *heap_make(fa_context *ctx) {
    fa__denial denial = FA__DENIED_BY_BACKEND;
    fa__space *space = fa__space_get(ctx, &denial);
    fa__heap *heap = NULL;
    if (space != NULL) {
        fa__os_mutex_lock(&ctx->lock);
        heap = fa__load(&ctx->heap);
        if (heap == NULL) {
            heap = heap_make_locked(ctx, space, &denial);
        }
        fa__os_mutex_unlock(&ctx->lock);
    }
    if (heap == NULL) {
        bool is_limit = denial == FA__DENIED_BY_LIMIT;
        fa__fail(&(fa__failure){.context = ctx,
                                .code = is_limit ? FA__CODE_MEMORY_LIMIT : FA__CODE_OS_REFUSED,
                                .result = is_limit ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY,
                                .bytes = sizeof *heap,
                                .limit = is_limit ? ctx->config.memory_limit : 0,
                                .where = "heap"});
    }
    return heap;
}

fa__heap *fa__heap_get(fa_context *ctx) {
    fa__heap *heap = fa__load_acquire(&ctx->heap);
    return FA_LIKELY(heap != NULL) ? heap : heap_make(ctx);
}

static fa__heap *heap_of(const fa_context *ctx) {
    return fa__load_acquire(&ctx->heap);
}

fa__heap_thread *fa__heap_thread_get(fa__heap *heap, fa__thread *thread) {
    fa__heap_thread *mine = thread->heap;
    if (mine == NULL) {
        mine = fa__meta_alloc(heap->context->pages, sizeof *mine, NULL);
        if (mine == NULL) {
            return NULL;
        }
        mine->thread = thread;
        mine->heap = heap;
        mine->base = heap->space->base;
        fa__small_open(mine);
        fa__spares_open(mine);
        fa__os_mutex_lock(&heap->lock);
        mine->next = heap->threads;
        heap->threads = mine;
        fa__os_mutex_unlock(&heap->lock);
        thread->heap = mine;
    }
    mine->units = heap->units;
    mine->unit_count = fa__load_acquire(&heap->unit_count);
    if (fa__thread_is_last(heap->context)) { // Then `thread` is the calling thread's.
        last = (fa__heap_last){heap->context->serial, mine};
    }
    return mine;
}

void fa__heap_forget(const fa_context *ctx) {
    if (last.serial == ctx->serial) {
        last = (fa__heap_last){0};
    }
}

// Allocating --------------------------------------------------------------------------------------

// Everything that an allocation needs to know; false after a reported failure.
static bool asker_make(fa_context *ctx, const void *site, fa__asker *out) {
    fa__thread *thread = fa__thread_get(ctx);
    if (thread == NULL) {
        return false;
    }
    fa__heap *heap = fa__heap_get(ctx);
    fa__account *account = heap == NULL ? NULL : fa__object_current(thread, FA__HOLDER_HEAP);
    if (account == NULL) {
        fa__own_add(&thread->refusals, 1);
        return false;
    }
    *out = (fa__asker){heap, thread, account, site};
    return true;
}

static void *fail_overflow(const fa__asker *asker, size_t size) {
    fa__refusal_count(asker->thread, asker->account);
    fa__fail(&(fa__failure){.context = asker->heap->context,
                            .code = FA__CODE_SIZE_OVERFLOW,
                            .result = FA_ERR_OVERFLOW,
                            .bytes = size,
                            .tag = {asker->account->tag->id},
                            .where = "heap"});
    return NULL;
}

static FA_COLD void *alloc_slow(fa_context *ctx, size_t size, size_t align, const void *site) {
    fa__asker asker;
    fa__plan plan;
    if (!asker_make(ctx, site, &asker)) {
        return NULL;
    }
    if (!fa__plan_make(asker.heap, size, align, &plan)) {
        return fail_overflow(&asker, size);
    }
    return fa__block_new(&asker, &plan);
}

// Takes a slot from the thread's cache; NULL, with nothing changed, when that is not so simple.
static inline void *alloc_fast(const fa__heap_thread *mine, fa__heap_cache *entry) {
    void **top = entry->cache.open.top;
    void *ptr = top[-1];
    if (FA_UNLIKELY(mine->thread->frame->run->account != entry->payer || ptr == NULL)) {
        return NULL;
    }
    FA_STORE_RELAXED(&entry->cache.open.top, top - 1);
    *(uint16_t *)*fa__word_of(entry, top - 1) = (uint16_t)entry->tag;
    entry->taken += 1;
    return ptr;
}

// The same where the cache's slots are not charged to the current tag.
static FA__NOINLINE void *alloc_charging(const fa__heap_thread *mine, fa__heap_cache *entry) {
    const fa__thread *thread = mine->thread;
    uint32_t tag = thread->frame->run->account->tag->id;
    void **top = entry->cache.open.top;
    void *ptr = top[-1];
    if (ptr == NULL || tag >= thread->object_known || entry->misses >= FA__MISSES_MAX) {
        return NULL;
    }
    fa__account *account = thread->object_table[1][tag];
    size_t room = fa__load(&account->object_room);
    if (room < entry->bytes) {
        return NULL;
    }
    fa__store(&account->object_room, room - entry->bytes);
    fa__object_count_alloc(account);
    FA_STORE_RELAXED(&entry->cache.open.top, top - 1);
    *(uint16_t *)*fa__word_of(entry, top - 1) = (uint16_t)tag;
    if (entry->account != NULL) {
        entry->misses += 1;
        fa__object_uncharge(entry->account, entry->bytes);
    }
    return ptr;
}

// Sizes above 1 KiB.
static FA__NOINLINE void *alloc_medium(fa_context *ctx, size_t size, const void *site) {
    void *ptr = NULL;
    if (FA_UNLIKELY(last.serial == ctx->serial && size > FA__SMALL_MAX)) {
        ptr = fa__large_reuse(last.mine, size);
    } else if (FA_LIKELY(last.serial == ctx->serial)) {
        fa__heap_cache *entry = &last.mine->caches[fa__class_of(size)];
        ptr = alloc_fast(last.mine, entry);
        if (FA_UNLIKELY(ptr == NULL)) {
            ptr = alloc_charging(last.mine, entry);
        }
    }
    return FA_LIKELY(ptr != NULL) ? ptr : alloc_slow(ctx, size, FA_ALIGNMENT, site);
}

void *fa_heap_alloc(fa_context *ctx, size_t size) {
    if (FA_UNLIKELY(last.serial != ctx->serial || size > 1024)) {
        return alloc_medium(ctx, size, FA__CALL_SITE());
    }
    void *ptr = alloc_fast(last.mine, last.mine->by_size[(size + 15) >> 4]);
    return FA_LIKELY(ptr != NULL) ? ptr : alloc_medium(ctx, size, FA__CALL_SITE());
}

// True for a power of two that is not too large; tells otherwise.
static bool is_alignment(fa_context *ctx, size_t size, size_t align) {
    if (align != 0 && (align & (align - 1)) == 0 && align <= FA_ALIGNMENT_MAX) {
        return true;
    }
    fa__fail(&(fa__failure){.context = ctx,
                            .code = FA__CODE_BAD_ALIGNMENT,
                            .result = FA_ERR_INVALID,
                            .bytes = size,
                            .limit = FA_ALIGNMENT_MAX,
                            .where = "align"});
    return false;
}

void *fa_heap_alloc_aligned(fa_context *ctx, size_t size, size_t align) {
    if (!is_alignment(ctx, size, align)) {
        return NULL;
    }
    return alloc_slow(ctx, size, align < FA_ALIGNMENT ? FA_ALIGNMENT : align, FA__CALL_SITE());
}

void *fa_heap_calloc(fa_context *ctx, size_t count, size_t size) {
    fa__asker asker;
    fa__plan plan;
    if (!asker_make(ctx, FA__CALL_SITE(), &asker)) {
        return NULL;
    }
    bool fits = size == 0 || count <= SIZE_MAX / size;
    if (!fits || !fa__plan_make(asker.heap, count * size, FA_ALIGNMENT, &plan)) {
        return fail_overflow(&asker, fits ? count * size : SIZE_MAX);
    }
    void *ptr = fa__block_new(&asker, &plan);
    if (ptr != NULL && !fa__large_is_zero(asker.heap, &plan)) {
        memset(ptr, 0, count * size);
    }
    return ptr;
}

// Freeing -----------------------------------------------------------------------------------------

// Finds a live block, or reports what is wrong with the pointer.
static bool find_or_tell(fa__heap *heap, fa_context *ctx, const void *ptr, const char *where,
                         fa__block *out) {
    int code = heap == NULL ? FA__CODE_FOREIGN_POINTER : fa__block_find(heap, ptr, out);
    if (code != 0) {
        fa__fail(&(fa__failure){.context = ctx,
                                .code = (fa__code)code,
                                .result = FA_ERR_INVALID,
                                .bytes = code == FA__CODE_DOUBLE_FREE ? out->bytes : 0,
                                .ptr = ptr,
                                .where = where});
    }
    return code == 0;
}

// Reports a block that was overrun.
static void verify(fa__heap *heap, const fa__block *block) {
    size_t size = 0;
    if (heap->has_guards && !fa__guard_read(block, &size)) {
        fa__heap_report(heap, FA__CODE_CORRUPTION, block->ptr, size, "heap block");
    }
}

static FA_COLD void free_slow(fa_context *ctx, void *ptr) {
    fa__block block;
    if (ptr == NULL) {
        return;
    }
    fa__heap *heap = heap_of(ctx);
    if (!find_or_tell(heap, ctx, ptr, "fa_heap_free", &block)) {
        return;
    }
    verify(heap, &block);
    fa__block_end(heap, fa__thread_get(ctx), &block);
}

// Has a block of one tag charged to another, the cache's, so that it can join it. False, with
// nothing changed, when that is not so simple: for aligned blocks and free slots, and when there is
// no room.
static bool recharge(const fa__heap_thread *mine, fa__heap_cache *entry, uint32_t tag) {
    const fa__thread *thread = mine->thread;
    if (tag >= thread->object_known) {
        return false;
    }
    if (entry->account != NULL) {
        size_t room = fa__load(&entry->account->object_room);
        if (room < entry->bytes) {
            return false;
        }
        fa__store(&entry->account->object_room, room - entry->bytes);
    }
    fa__object_uncharge(thread->object_table[1][tag], entry->bytes);
    return true;
}

// True when the block was freed; false, with nothing changed, when that is not so simple.
static inline bool free_fast(fa__heap_thread *mine, void *ptr, bool may_recharge) {
    size_t number = ((uintptr_t)ptr - (uintptr_t)mine->base) >> FA__UNIT_SHIFT;
    if (FA_UNLIKELY(number >= mine->unit_count)) { // NULL too.
        return false;
    }
    const fa__heap_unit *unit = &mine->units[number];
    bool is_slot = false;
    uint16_t *word = fa__unit_word(unit, ptr, &is_slot);
    if (FA_UNLIKELY(!is_slot)) {
        return false;
    }
    fa__heap_cache *entry = (fa__heap_cache *)(void *)((char *)mine->caches + unit->cache);
    void **top = entry->cache.open.top;
    if (FA_UNLIKELY(top == entry->cache.open.end)) {
        return false;
    }
    if (FA_UNLIKELY(*word != entry->tag) && (!may_recharge || !recharge(mine, entry, *word))) {
        return false;
    }
    *word = FA__WORD_FREE;
    top[0] = ptr;
    *fa__word_of(entry, top) = word;
    FA_STORE_RELAXED(&entry->cache.open.top, top + 1);
    mine->freed += 1;
    return true;
}

static FA__NOINLINE void free_charging(fa_context *ctx, void *ptr) {
    if (last.serial != ctx->serial || !free_fast(last.mine, ptr, true)) {
        free_slow(ctx, ptr);
    }
}

// A pointer into no slab may be a large block.
static FA__NOINLINE void free_other(fa_context *ctx, void *ptr) {
    if (FA_LIKELY(last.serial == ctx->serial)) {
        fa__heap_thread *mine = last.mine;
        size_t number = ((uintptr_t)ptr - (uintptr_t)mine->base) >> FA__UNIT_SHIFT;
        bool is_in_slab = number < mine->unit_count && mine->units[number].side != NULL;
        if (!is_in_slab && fa__large_recycle(mine, ptr)) {
            return;
        }
    }
    free_charging(ctx, ptr);
}

void fa_heap_free(fa_context *ctx, void *ptr) {
    if (FA_UNLIKELY(last.serial != ctx->serial || !free_fast(last.mine, ptr, false))) {
        free_other(ctx, ptr);
    }
}

void fa_heap_free_sized(fa_context *ctx, void *ptr, size_t size) {
    fa__block block;
    if (ptr == NULL) {
        return;
    }
    fa__heap *heap = heap_of(ctx);
    if (!find_or_tell(heap, ctx, ptr, "fa_heap_free_sized", &block)) {
        return;
    }
    size_t usable = fa__block_usable(heap, &block);
    verify(heap, &block);
    if (heap->has_guards ? size != usable : size > usable) {
        fa__heap_report(heap, FA__CODE_FOREIGN_POINTER, ptr, size, "size");
    }
    fa__block_end(heap, fa__thread_get(ctx), &block);
}

// Resizing ----------------------------------------------------------------------------------------

void *fa_heap_realloc(fa_context *ctx, void *ptr, size_t size) {
    fa__asker asker;
    fa__block block;
    if (ptr == NULL) {
        return alloc_slow(ctx, size, FA_ALIGNMENT, FA__CALL_SITE());
    }
    fa__heap *heap = heap_of(ctx);
    if (!find_or_tell(heap, ctx, ptr, "fa_heap_realloc", &block) ||
        !asker_make(ctx, FA__CALL_SITE(), &asker)) {
        return NULL;
    }
    asker.account = fa__object_of(asker.thread, FA__HOLDER_HEAP, fa__block_tag(&block));
    if (asker.account == NULL) {
        fa__own_add(&asker.thread->refusals, 1);
        return NULL;
    }
    return fa__block_resize(&asker, &block, size, fa__block_align(&block));
}

// Asking ------------------------------------------------------------------------------------------

// The context as its own reports need it: they change nothing that a const pointer promises.
static fa_context *unconst(const fa_context *ctx) {
    return (fa_context *)(uintptr_t)ctx;
}

size_t fa_heap_usable_size(const fa_context *ctx, const void *ptr) {
    fa__block block;
    if (ptr == NULL) {
        return 0;
    }
    fa__heap *heap = heap_of(ctx);
    bool is_found = find_or_tell(heap, unconst(ctx), ptr, "fa_heap_usable_size", &block);
    return is_found ? fa__block_usable(heap, &block) : 0;
}

bool fa_heap_owns(const fa_context *ctx, const void *ptr) {
    fa__block block;
    fa__heap *heap = heap_of(ctx);
    return heap != NULL && ptr != NULL && fa__block_find(heap, ptr, &block) == 0;
}

fa_tag fa_heap_tag(const fa_context *ctx, const void *ptr) {
    fa__block block;
    fa__heap *heap = heap_of(ctx);
    if (!find_or_tell(heap, unconst(ctx), ptr, "fa_heap_tag", &block)) {
        return FA_TAG_ROOT;
    }
    return (fa_tag){fa__block_tag(&block)};
}

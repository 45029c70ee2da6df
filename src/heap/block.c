// Blocks of any size: planning, finding, charging, resizing.
//
// Order matters: memory is charged before it is taken and uncharged before it is given back, so
// that a refusal leaves everything as it was and nobody ever sees a block that is not paid for.
// Charging may call callbacks and report functions, which may use the heap: nothing is half done
// then, no lock is held, and what was looked up in a cache before is looked up again.
#include "heap.h"

#include <string.h>

static size_t round_up(size_t size, size_t step) {
    return (size + (step - 1)) & ~(step - 1);
}

static size_t smaller(size_t left, size_t right) {
    return left < right ? left : right;
}

// Planning ----------------------------------------------------------------------------------------

static uint32_t aligned_class(size_t size) {
    uint32_t number = FA__STEP_CLASSES;
    while (fa__class_bytes(number) < size) {
        number += 1;
    }
    return number;
}

bool fa__plan_make(const fa__heap *heap, size_t size, size_t align, fa__plan *plan) {
    if (size > SIZE_MAX / 2 - 2 * FA_ALIGNMENT_MAX) {
        return false;
    }
    size_t need = (size == 0 ? 1 : size) + (heap->has_guards ? FA__GUARD_BYTES : 0);
    *plan = (fa__plan){.class_number = FA__CLASS_LARGE, .align = align, .size = size};
    if (align <= FA__LINE_ALIGN && need <= FA__SMALL_MAX) {
        plan->flags = align > FA_ALIGNMENT ? FA__WORD_ALIGNED : 0;
        plan->class_number = fa__class_of(need);
        while (fa__class_align(plan->class_number) < align) {
            plan->class_number += 1;
        }
    } else if (align > FA__LINE_ALIGN && need <= FA__SMALL_MAX && align <= FA__SMALL_MAX) {
        plan->class_number = aligned_class(need > align ? need : align);
    }
    bool is_large = plan->class_number == FA__CLASS_LARGE;
    size_t page = heap->context->pages->backend.page_size;
    size_t step = need > FA__RUN_MAX && page > FA__LARGE_STEP ? page : FA__LARGE_STEP;
    plan->bytes = is_large ? round_up(need, step) : fa__class_bytes(plan->class_number);
    return true;
}

// Finding -----------------------------------------------------------------------------------------

static int find_small(fa__heap *heap, fa__heap_class *home, fa__run *run, const void *ptr,
                      fa__block *out) {
    fa__slab *slab = fa__slab_of(run);
    uint32_t index = fa__slab_index(run, slab, ptr);
    if (index == UINT32_MAX) {
        return FA__CODE_FOREIGN_POINTER;
    }
    char *slot = run->ptr + slab->first + (size_t)index * home->bytes;
    void *side = slab->side + (size_t)index * (heap->is_careful ? 8 : 2);
    *out = (fa__block){.home = home,
                       .side = side,
                       .word = fa__word_read(heap, side),
                       .ptr = slot,
                       .bytes = home->bytes};
    if (heap->is_careful) {
        out->site = (const void *)(uintptr_t)(*(const uint64_t *)side >> 16);
    }
    return out->word == FA__WORD_FREE ? FA__CODE_DOUBLE_FREE : 0;
}

int fa__block_find(fa__heap *heap, const void *ptr, fa__block *out) {
    *out = (fa__block){0};
    fa__run *run = fa__run_find(heap->space, ptr);
    if (run != NULL && run->kind == FA__RUN_SLAB) {
        fa__heap_class *home = fa__class_of_run(heap, run);
        return home == NULL ? FA__CODE_FOREIGN_POINTER : find_small(heap, home, run, ptr, out);
    }
    fa__large *large = NULL;
    if (run != NULL && run->kind == FA__RUN_LARGE && run->owner == heap) {
        large = run->ptr == (const char *)ptr ? (fa__large *)(void *)run->body : NULL;
    } else if (run == NULL) {
        large = fa__huge_find(heap, ptr);
    }
    if (large == NULL) {
        return FA__CODE_FOREIGN_POINTER;
    }
    *out =
        (fa__block){.large = large, .ptr = large->ptr, .bytes = large->bytes, .site = large->site};
    return large->tag == FA__WORD_FREE ? FA__CODE_DOUBLE_FREE : 0;
}

size_t fa__block_align(const fa__block *block) {
    if (block->large != NULL) {
        return block->large->align;
    }
    bool is_kept = block->home->number >= FA__STEP_CLASSES || (block->word & FA__WORD_ALIGNED) != 0;
    return is_kept ? fa__class_align(block->home->number) : FA_ALIGNMENT;
}

size_t fa__block_usable(const fa__heap *heap, const fa__block *block) {
    if (!heap->has_guards) {
        return block->bytes;
    }
    if (block->large != NULL) {
        return block->large->size;
    }
    size_t size = 0;
    (void)fa__guard_read(block, &size);
    return size;
}

// Telling -----------------------------------------------------------------------------------------

void fa__heap_report(fa__heap *heap, int code, const void *ptr, size_t bytes, const char *where) {
    fa__block block;
    bool is_known = fa__block_find(heap, ptr, &block) == 0;
    fa__fail(&(fa__failure){.context = heap->context,
                            .code = (fa__code)code,
                            .result = FA_ERR_INVALID,
                            .bytes = bytes,
                            .tag = {is_known ? fa__block_tag(&block) : 0},
                            .ptr = ptr,
                            .site = is_known ? block.site : NULL,
                            .where = where});
}

void fa__heap_refuse(const fa__asker *asker, size_t size, fa__denial denial) {
    fa_context *ctx = asker->heap->context;
    bool is_limit = denial == FA__DENIED_BY_LIMIT;
    fa__refusal_count(asker->thread, asker->account);
    fa__fail(&(fa__failure){.context = ctx,
                            .code = is_limit ? FA__CODE_MEMORY_LIMIT : FA__CODE_OS_REFUSED,
                            .result = is_limit ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY,
                            .bytes = size,
                            .limit = is_limit ? ctx->config.memory_limit : 0,
                            .tag = {asker->account->tag->id},
                            .where = "heap"});
}

// New and gone ------------------------------------------------------------------------------------

static char *obtain(const fa__asker *asker, const fa__plan *plan, fa__denial *denial) {
    return plan->class_number == FA__CLASS_LARGE ? fa__large_take(asker, plan, denial)
                                                 : fa__small_take(asker, plan, denial);
}

// What the thread keeps for large blocks may be what is missing.
char *fa__block_obtain(const fa__asker *asker, const fa__plan *plan, fa__denial *denial) {
    char *ptr = obtain(asker, plan, denial);
    fa__heap_thread *mine = asker->thread->heap;
    if (ptr == NULL && mine != NULL && fa__spares_release(mine)) {
        ptr = obtain(asker, plan, denial);
    }
    return ptr;
}

void fa__block_return(fa__heap *heap, fa__thread *thread, const fa__block *block) {
    if (block->large != NULL) {
        fa__large_give(heap, thread, block->large);
    } else {
        fa__small_give(heap, thread, block, false);
    }
}

// Sets the bytes behind a new block, and fills it.
static void guard_new(fa__heap *heap, void *ptr, size_t size) {
    fa__block block;
    if (heap->has_guards && fa__block_find(heap, ptr, &block) == 0) {
        fa__guard_set(heap, &block, 0, size);
    }
}

void *fa__block_new(const fa__asker *asker, const fa__plan *plan) {
    fa__account *account = asker->account;
    bool is_charged = plan->class_number == FA__CLASS_LARGE
                          ? fa__large_charge(asker, plan->bytes)
                          : fa__object_charge(asker->thread, account, plan->bytes, "heap");
    if (!is_charged) {
        return NULL;
    }
    fa__denial denial = FA__DENIED_BY_BACKEND;
    char *ptr = fa__block_obtain(asker, plan, &denial);
    if (ptr == NULL) {
        fa__object_uncharge(account, plan->bytes);
        fa__heap_refuse(asker, plan->size, denial);
        return NULL;
    }
    fa__object_count_alloc(account);
    guard_new(asker->heap, ptr, plan->size);
    return ptr;
}

void fa__heap_uncharge(fa__heap *heap, fa__thread *thread, uint32_t tag, size_t bytes) {
    fa__account *account = thread == NULL ? NULL : fa__object_of(thread, FA__HOLDER_HEAP, tag);
    if (account != NULL) {
        fa__object_uncharge(account, bytes);
    } else {
        fa__object_uncharge_orphan(heap->context, FA__HOLDER_HEAP, tag, bytes);
    }
}

void fa__block_end(fa__heap *heap, fa__thread *thread, const fa__block *block) {
    if (thread != NULL) {
        fa__object_count_free(thread);
    } else {
        fa__shared_add(&heap->context->own_frees, 1);
    }
    if (block->large == NULL) {
        fa__small_give(heap, thread, block, true);
        return;
    }
    fa__large_uncharge(heap, thread, fa__block_tag(block), block->bytes);
    fa__large_give(heap, thread, block->large);
}

// Resizing ----------------------------------------------------------------------------------------

// Charges or gives back the difference between what a block is and what it becomes.
static bool recharge(const fa__asker *asker, size_t from, size_t to) {
    if (to > from) {
        return fa__large_charge(asker, to - from);
    }
    fa__object_uncharge(asker->account, from - to);
    return true;
}

// A slot keeps its block as long as it fits and fills more than half of it.
static bool fits_slot(const fa__block *block, const fa__plan *plan, size_t need) {
    if (block->home->number >= FA__STEP_CLASSES) {
        return need <= block->bytes; // A smaller slot might be aligned to less.
    }
    return need <= block->bytes &&
           (need > block->bytes / 2 || plan->class_number == block->home->number);
}

static bool resize_in_place(const fa__asker *asker, const fa__block *block, const fa__plan *plan) {
    fa__heap *heap = asker->heap;
    size_t need = (plan->size == 0 ? 1 : plan->size) + (heap->has_guards ? FA__GUARD_BYTES : 0);
    if (((uintptr_t)block->ptr & (plan->align - 1)) != 0) {
        return false;
    }
    if (block->large == NULL) {
        return fits_slot(block, plan, need);
    }
    size_t before = block->bytes;
    size_t bytes = plan->bytes;
    if (plan->class_number != FA__CLASS_LARGE) {
        if (need <= before / 2) {
            return false;
        }
        bytes = round_up(need, FA__LARGE_STEP);
    }
    if (bytes > before && !recharge(asker, before, bytes)) {
        return false;
    }
    if (!fa__large_resize(asker, block->large, bytes, plan->size)) {
        (void)recharge(asker, bytes > before ? bytes : before, before);
        return false;
    }
    if (bytes < before) {
        (void)recharge(asker, before, bytes);
    }
    return true;
}

static void *resize_by_moving(const fa__asker *asker, const fa__block *block,
                              const fa__plan *plan) {
    size_t before = block->bytes;
    size_t kept = smaller(fa__block_usable(asker->heap, block), plan->size);
    if (plan->bytes > before && !recharge(asker, before, plan->bytes)) {
        return NULL;
    }
    fa__denial denial = FA__DENIED_BY_BACKEND;
    char *ptr = fa__block_obtain(asker, plan, &denial);
    if (ptr == NULL) {
        (void)recharge(asker, plan->bytes > before ? plan->bytes : before, before);
        fa__heap_refuse(asker, plan->size, denial);
        return NULL;
    }
    guard_new(asker->heap, ptr, plan->size);
    memcpy(ptr, block->ptr, kept);
    fa__block_return(asker->heap, asker->thread, block);
    if (plan->bytes < before) {
        (void)recharge(asker, before, plan->bytes);
    }
    return ptr;
}

void *fa__block_resize(const fa__asker *asker, fa__block *block, size_t size, size_t align) {
    fa__heap *heap = asker->heap;
    size_t known = 0;
    if (heap->has_guards && !fa__guard_read(block, &known)) {
        fa__heap_report(heap, FA__CODE_CORRUPTION, block->ptr, known, "heap block");
    }
    fa__plan plan;
    if (!fa__plan_make(heap, size, align, &plan)) {
        fa__refusal_count(asker->thread, asker->account);
        fa__fail(&(fa__failure){.context = heap->context,
                                .code = FA__CODE_SIZE_OVERFLOW,
                                .result = FA_ERR_OVERFLOW,
                                .bytes = size,
                                .where = "heap"});
        return NULL;
    }
    size_t before = fa__block_usable(heap, block);
    if (!resize_in_place(asker, block, &plan)) {
        return resize_by_moving(asker, block, &plan);
    }
    if (block->large != NULL) {
        block->ptr = block->large->ptr;
        block->bytes = block->large->bytes;
    }
    if (heap->has_guards) {
        fa__guard_set(heap, block, smaller(before, size), size);
    }
    return block->ptr;
}

// Freed runs that a thread keeps for its next large blocks, and bytes that stay charged for them.
//
//   spares   | run ............ |   | run .. |   | run ..... |      at most FA__SPARE_RUNS
//   take     | block ... | spare    cut from the front of the shortest that is long enough
//   give     spares that are neighbours of what comes are joined with it
//
// So a pair of any two sizes takes no lock. Only the thread itself looks at its spares. To the
// space they are in use: their units are FA__RUN_LARGE. A unit's way back to its head is written
// when the unit becomes part of a block, and not when it becomes part of a spare; `aim` and
// `marked` say what need not be written again, which for a pair is nothing. Where a block began
// that was freed, its record says so as long as no other block is made of that unit.
//
// Bytes of blocks of one tag stay charged when they are freed, up to the length of the spares, and
// pay for the next blocks of that tag: `credit`. There is none for a tag that a budget concerns.
#include "heap.h"

static size_t units_for(size_t bytes) {
    return (bytes + FA__UNIT - 1) >> FA__UNIT_SHIFT;
}

void fa__spares_open(fa__heap_thread *mine) {
    size_t limit = mine->heap->context->pages->limit;
    size_t most =
        limit / FA__SPARE_SHARE < FA__SPARE_BYTES ? limit / FA__SPARE_SHARE : FA__SPARE_BYTES;
    mine->spares.most = mine->heap->is_careful ? 0 : (uint32_t)(most >> FA__UNIT_SHIFT);
    fa__store(&mine->spares.tag, FA__NO_TAG);
}

// Runs --------------------------------------------------------------------------------------------

// Makes the head of a run of a stretch of units that belong to runs.
static inline void head_write(const fa__heap *heap, fa__run *run, uint32_t units) {
    const fa__space *space = heap->space;
    run->ptr = space->base + ((size_t)(run - space->runs) << FA__UNIT_SHIFT);
    run->owner = (void *)(uintptr_t)heap;
    run->units = units;
    run->to_head = 0;
}

static void drop(fa__spares *own, fa__spare *spare) {
    own->count -= 1;
    *spare = own->list[own->count];
}

// Gives the last `units` of a spare back to the space.
static void cut(fa__heap_thread *mine, fa__spare *spare, uint32_t units) {
    fa__spares *own = &mine->spares;
    fa__run *run = spare->run + (spare->units - units);
    spare->units -= units;
    spare->marked = spare->marked < spare->units ? spare->marked : spare->units;
    own->units -= units;
    if (spare->units == 0) {
        drop(own, spare);
    }
    head_write(mine->heap, run, units);
    fa__own_sub(&own->held, (size_t)units << FA__UNIT_SHIFT);
    fa__run_release(mine->heap->space, run);
}

static fa__spare *longest(fa__spares *own) {
    fa__spare *found = &own->list[0];
    for (uint32_t i = 1; i < own->count; i++) {
        found = own->list[i].units > found->units ? &own->list[i] : found;
    }
    return found;
}

// Gives back so much that not every free has to.
static FA__NOINLINE void shed(fa__heap_thread *mine) {
    fa__spares *own = &mine->spares;
    uint32_t kept = own->most - own->most / 4;
    while (own->units > kept) {
        fa__spare *spare = longest(own);
        uint32_t excess = own->units - kept;
        cut(mine, spare, excess < spare->units ? excess : spare->units);
    }
}

// Writes the way back to `head` into units [from, to) behind it.
static FA__NOINLINE void mark(fa__run *head, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) {
        head[i].to_head = i;
    }
}

// Takes units off the front of a spare.
static inline void shorten(fa__spares *own, fa__spare *spare, uint32_t units) {
    own->units -= units;
    if (spare->units == units) {
        drop(own, spare);
        return;
    }
    spare->run += units;
    spare->units -= units;
    spare->marked = spare->marked > units ? spare->marked - units : 0;
    spare->is_used = true;
}

static inline fa__run *spare_take(fa__heap_thread *mine, size_t units) {
    fa__spares *own = &mine->spares;
    fa__spare *best = NULL;
    for (fa__spare *spare = own->list; spare != own->list + own->count; spare++) {
        if (spare->units >= units && (best == NULL || spare->units < best->units)) {
            best = spare;
        }
    }
    if (best == NULL) {
        return NULL;
    }
    fa__run *run = best->run;
    if (FA_LIKELY(best->aim == run && best->marked >= units)) {
        run->units = (uint32_t)units; // The rest is as it was when it was given.
    } else {
        mark(run, best->aim == run ? best->marked : 0, (uint32_t)units);
        head_write(mine->heap, run, (uint32_t)units);
    }
    shorten(own, best, (uint32_t)units);
    return run;
}

fa__run *fa__spare_take(fa__heap_thread *mine, size_t units) {
    return spare_take(mine, units);
}

// Keeps a run that none lies behind.
static FA__NOINLINE void append(fa__heap_thread *mine, fa__run *run, fa__spare *before) {
    fa__spares *own = &mine->spares;
    if (before != NULL) {
        before->units += run->units;
        before->is_used = true;
        return;
    }
    if (own->count == FA__SPARE_RUNS) {
        fa__spare *spare = longest(own);
        cut(mine, spare, spare->units);
    }
    own->list[own->count] = (fa__spare){run, run, run->units, run->units, true};
    own->count += 1;
}

// Keeps a run whose record says that it is free.
static inline void spare_give(fa__heap_thread *mine, fa__run *run) {
    fa__spares *own = &mine->spares;
    uint32_t units = run->units;
    fa__spare *before = NULL;
    fa__spare *behind = NULL;
    for (fa__spare *spare = own->list; spare != own->list + own->count; spare++) {
        before = spare->run + spare->units == run ? spare : before;
        behind = spare->run == run + units ? spare : behind;
    }
    own->units += units;
    if (FA_UNLIKELY(behind == NULL)) {
        append(mine, run, before);
    } else if (before != NULL) {
        before->units += units + behind->units;
        before->is_used = true;
        drop(own, behind);
    } else {
        behind->marked = units + (behind->aim == run ? behind->marked : 0);
        behind->aim = run;
        behind->run = run;
        behind->units += units;
        behind->is_used = true;
    }
    if (FA_UNLIKELY(own->units > own->most)) {
        shed(mine);
    }
}

void fa__spare_give(fa__heap_thread *mine, fa__run *run) {
    spare_give(mine, run);
}

bool fa__spare_extend(fa__heap_thread *mine, fa__run *run, size_t units) {
    fa__spares *own = &mine->spares;
    uint32_t more = (uint32_t)units - run->units;
    for (fa__spare *spare = own->list; spare != own->list + own->count; spare++) {
        if (spare->run != run + run->units) {
            continue;
        }
        if (spare->units < more) { // The space may have what is missing.
            cut(mine, spare, spare->units);
            return false;
        }
        uint32_t marked = spare->aim == run ? spare->marked : 0;
        if (marked < more) {
            mark(run, run->units + marked, (uint32_t)units);
        }
        shorten(own, spare, more);
        run->units = (uint32_t)units;
        return true;
    }
    return false;
}

bool fa__spares_release(fa__heap_thread *mine) {
    fa__spares *own = &mine->spares;
    bool has_any = own->count != 0;
    while (own->count != 0) {
        cut(mine, &own->list[0], own->list[0].units);
    }
    return has_any;
}

// Credit ------------------------------------------------------------------------------------------

static void credit_end(fa__spares *own) {
    size_t credit = fa__load(&own->credit);
    fa__account *account = own->account;
    fa__store(&own->credit, 0);
    fa__store(&own->tag, FA__NO_TAG);
    own->account = NULL;
    own->payer = NULL;
    if (credit != 0) {
        fa__object_uncharge(account, credit);
    }
}

static bool has_line(const fa__account *account) {
    return fa__load(&account->tag->nearest_line) != SIZE_MAX;
}

bool fa__large_charge(const fa__asker *asker, size_t bytes) {
    fa__account *account = asker->account;
    fa__heap_thread *mine = asker->thread->heap;
    size_t paid = 0;
    if (mine != NULL && mine->spares.account == account) {
        size_t credit = fa__load(&mine->spares.credit);
        paid = credit < bytes ? credit : bytes;
        fa__store(&mine->spares.credit, credit - paid);
    } else if (mine != NULL && mine->spares.account != NULL) {
        credit_end(&mine->spares);
    }
    if (paid == bytes || fa__object_charge(asker->thread, account, bytes - paid, "heap")) {
        return true;
    }
    fa__object_uncharge(account, paid);
    return false;
}

void fa__large_uncharge(fa__heap *heap, fa__thread *thread, uint32_t tag, size_t bytes) {
    fa__heap_thread *mine = thread == NULL ? NULL : thread->heap;
    fa__account *account = mine == NULL ? NULL : fa__object_of(thread, FA__HOLDER_HEAP, tag);
    if (account == NULL || has_line(account)) {
        fa__heap_uncharge(heap, thread, tag, bytes);
        return;
    }
    fa__spares *own = &mine->spares;
    size_t credit = fa__load(&own->credit);
    if (own->account != account && credit == 0) {
        own->account = account;
        own->payer = fa__account_at(thread, FA__HOLDER_FRAME, tag);
        fa__store(&own->tag, tag);
    }
    if (own->account != account || credit + bytes > (size_t)own->most << FA__UNIT_SHIFT) {
        fa__object_uncharge(account, bytes);
        return;
    }
    fa__store(&own->credit, credit + bytes);
}

// Blocks without a lock ---------------------------------------------------------------------------

void *fa__large_reuse(fa__heap_thread *mine, size_t size) {
    fa__spares *own = &mine->spares;
    size_t bytes = (size + (FA__LARGE_STEP - 1)) & ~(FA__LARGE_STEP - 1);
    size_t credit = fa__load(&own->credit);
    if (size > FA__RUN_MAX || credit < bytes || mine->thread->frame->run->account != own->payer) {
        return NULL;
    }
    fa__run *run = spare_take(mine, units_for(bytes));
    if (run == NULL) {
        return NULL;
    }
    fa__store(&own->credit, credit - bytes);
    fa__object_count_alloc(own->account);
    fa__own_add(&own->blocks, 1);
    fa__own_add(&own->bytes, bytes);
    fa__large *large = (fa__large *)(void *)run->body; // Its size is for guards only.
    large->ptr = run->ptr;
    large->bytes = bytes;
    large->reserved = 0;
    large->site = NULL;
    large->align = FA_ALIGNMENT;
    large->tag = (uint16_t)fa__load(&own->tag);
    large->is_listed = false;
    return run->ptr;
}

bool fa__large_recycle(fa__heap_thread *mine, void *ptr) {
    const fa__space *space = mine->heap->space;
    fa__spares *own = &mine->spares;
    size_t offset = (size_t)((char *)ptr - mine->base);
    if (offset >= fa__load(&space->top)) {
        return false;
    }
    fa__run *run = &space->runs[offset >> FA__UNIT_SHIFT];
    if (run->kind != FA__RUN_LARGE || run->to_head != 0 || run->ptr != (char *)ptr) {
        return false;
    }
    fa__large *large = (fa__large *)(void *)run->body;
    size_t credit = fa__load(&own->credit) + large->bytes;
    if (large->tag != fa__load(&own->tag) || large->is_listed || has_line(own->account) ||
        credit > (size_t)own->most << FA__UNIT_SHIFT) {
        return false;
    }
    fa__store(&own->credit, credit);
    fa__own_sub(&own->blocks, 1);
    fa__own_sub(&own->bytes, large->bytes);
    large->tag = FA__WORD_FREE;
    mine->freed += 1;
    spare_give(mine, run);
    return true;
}

// Upkeep ------------------------------------------------------------------------------------------

void fa__spares_flush(fa__heap_thread *mine, fa__flush which) {
    fa__spares *own = &mine->spares;
    if (own->account != NULL && (which != FA__FLUSH_LINES || has_line(own->account))) {
        credit_end(own);
    }
    if (which == FA__FLUSH_ALL) {
        (void)fa__spares_release(mine);
    }
    if (which != FA__FLUSH_UNUSED) {
        return;
    }
    for (uint32_t i = own->count; i > 0; i--) { // The last takes the place of one that goes.
        fa__spare *spare = &own->list[i - 1];
        if (spare->is_used) {
            spare->is_used = false;
        } else {
            cut(mine, spare, spare->units);
        }
    }
}

size_t fa__spares_idle(fa__heap *heap, uint32_t tag) {
    size_t bytes = 0;
    fa__os_mutex_lock(&heap->lock);
    for (fa__heap_thread *mine = heap->threads; mine != NULL; mine = mine->next) {
        if (tag == UINT32_MAX || tag == fa__load(&mine->spares.tag)) {
            bytes += fa__load(&mine->spares.credit);
        }
    }
    fa__os_mutex_unlock(&heap->lock);
    return bytes;
}

void fa__spares_measure(fa__heap *heap, size_t *blocks, size_t *bytes, size_t *held) {
    fa__os_mutex_lock(&heap->lock);
    for (fa__heap_thread *mine = heap->threads; mine != NULL; mine = mine->next) {
        *blocks += fa__load(&mine->spares.blocks);
        *bytes += fa__load(&mine->spares.bytes);
        *held += fa__load(&mine->spares.held);
    }
    fa__os_mutex_unlock(&heap->lock);
}

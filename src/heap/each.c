// Looking at all blocks, upkeep, and the end: what the context calls through fa__heap_tier.
//
// Blocks that are live when the context ends are reported by tag and call site, each pair once.
// There may be any number of pairs and no memory to be had, so they are found in rounds: each round
// walks all blocks and keeps the PAIRS_MAX least pairs above those told already.
#include "heap.h"

#include <string.h>

#define PAIRS_MAX 128u
#define QUIET_SLOTS 512u // Slots per class that one quiet step may move.

// Walking -----------------------------------------------------------------------------------------

typedef struct walk {
    fa__heap *heap;
    fa__block_fn visit;
    void *user;
    bool goes_on;
} walk;

static bool visit_slot(void *user, char *slot, fa__run *run) {
    walk *w = user;
    fa__block block;
    (void)run;
    if (fa__block_find(w->heap, slot, &block) == 0) {
        w->goes_on = w->visit(w->user, w->heap, &block);
    }
    return w->goes_on;
}

void fa__heap_each(fa__heap *heap, fa__block_fn visit, void *user) {
    walk w = {heap, visit, user, true};
    // What lies in caches is charged, so it is taken out here and not by fa__slots_each().
    for (fa__heap_thread *mine = heap->threads; mine != NULL; mine = mine->next) {
        fa__small_flush(mine, FA__FLUSH_ALL);
        fa__spares_flush(mine, FA__FLUSH_ALL);
    }
    for (uint32_t i = 0; i < FA__CLASSES && w.goes_on; i++) {
        fa__heap_class *home = fa__load_acquire(&heap->classes[i]);
        if (home != NULL) {
            fa__slots_each(&home->slots, visit_slot, &w);
        }
    }
    if (w.goes_on) {
        (void)fa__large_each(heap, visit, user);
    }
}

typedef struct shown {
    fa_heap_visit_fn visit;
    void *user;
} shown;

static bool show(void *user, fa__heap *heap, const fa__block *block) {
    const shown *to = user;
    const fa_heap_block seen = {.ptr = block->ptr,
                                .size = fa__block_usable(heap, block),
                                .charged = block->bytes,
                                .tag = {fa__block_tag(block)},
                                .site = block->site};
    return to->visit(&seen, to->user);
}

fa_result fa_heap_each(fa_context *ctx, fa_heap_visit_fn visit, void *user) {
    if (visit == NULL) {
        return fa__fail_argument(ctx, "visit");
    }
    fa__heap *heap = fa__load_acquire(&ctx->heap);
    shown to = {visit, user};
    if (heap != NULL) {
        fa__heap_each(heap, show, &to);
    }
    return FA_OK;
}

fa_result fa_heap_stats(fa_context *ctx, fa_heap_stats_result *out) {
    if (out == NULL) {
        return fa__fail_argument(ctx, "out");
    }
    *out = (fa_heap_stats_result){0};
    fa__heap *heap = fa__load_acquire(&ctx->heap);
    if (heap == NULL) {
        return FA_OK;
    }
    for (uint32_t i = 0; i < FA__CLASSES; i++) {
        fa__heap_class *home = fa__load_acquire(&heap->classes[i]);
        if (home != NULL) {
            size_t live = fa__slots_live(&home->slots);
            out->small_blocks += live;
            out->small_bytes += live * home->bytes;
            out->cached_blocks += fa__slots_cached(&home->slots);
            out->committed_bytes += fa__slots_committed(&home->slots);
        }
    }
    fa__os_mutex_lock(&heap->large_lock);
    out->large_blocks = heap->large_blocks;
    out->large_bytes = heap->large_bytes;
    out->committed_bytes += heap->large_committed;
    fa__os_mutex_unlock(&heap->large_lock);
    fa__spares_measure(heap, &out->large_blocks, &out->large_bytes, &out->committed_bytes);
    out->live_blocks = out->small_blocks + out->large_blocks;
    out->live_bytes = out->small_bytes + out->large_bytes;
    out->idle_bytes = out->committed_bytes - out->live_bytes;
    return FA_OK;
}

// Upkeep ------------------------------------------------------------------------------------------

static void detach(fa__thread *thread) {
    if (thread->heap != NULL) {
        fa__heap_forget(thread->context);
        fa__small_flush(thread->heap, FA__FLUSH_ALL);
        fa__spares_flush(thread->heap, FA__FLUSH_ALL);
        fa__small_tally(thread->heap);
    }
}

static void trim_thread(fa__thread *thread, size_t keep) {
    (void)keep;
    if (thread->heap != NULL) {
        fa__small_flush(thread->heap, FA__FLUSH_ALL);
        fa__spares_flush(thread->heap, FA__FLUSH_ALL);
    }
}

static void settle(fa_context *ctx, fa__thread *thread) {
    (void)ctx;
    if (thread != NULL && thread->heap != NULL) {
        fa__small_tally(thread->heap);
    }
}

static void return_leases(fa_context *ctx) {
    const fa__thread *thread = fa__thread_find(ctx);
    if (thread != NULL && thread->heap != NULL) {
        fa__small_flush(thread->heap, FA__FLUSH_LINES);
        fa__spares_flush(thread->heap, FA__FLUSH_LINES);
    }
}

static size_t idle_bytes(fa_context *ctx, uint32_t tag) {
    fa__heap *heap = fa__load_acquire(&ctx->heap);
    return heap == NULL ? 0 : fa__small_idle(heap, tag) + fa__spares_idle(heap, tag);
}

static void quiet(fa_context *ctx, fa__thread *thread) {
    fa__heap *heap = fa__load_acquire(&ctx->heap);
    if (heap == NULL) {
        return;
    }
    if (thread != NULL && thread->heap != NULL) {
        fa__small_flush(thread->heap, FA__FLUSH_UNUSED);
        fa__spares_flush(thread->heap, FA__FLUSH_UNUSED);
    }
    for (uint32_t i = 0; i < FA__CLASSES; i++) {
        fa__heap_class *home = fa__load_acquire(&heap->classes[i]);
        if (home != NULL) {
            fa__slots_tick(&home->slots, QUIET_SLOTS);
        }
    }
}

static bool trim(fa_context *ctx, fa__thread *thread, uint64_t until_ns) {
    fa__heap *heap = fa__load_acquire(&ctx->heap);
    if (heap == NULL) {
        return true;
    }
    if (thread != NULL && thread->heap != NULL) {
        fa__small_flush(thread->heap, FA__FLUSH_ALL);
        fa__spares_flush(thread->heap, FA__FLUSH_ALL);
    }
    for (uint32_t i = 0; i < FA__CLASSES; i++) {
        fa__heap_class *home = fa__load_acquire(&heap->classes[i]);
        if (home == NULL) {
            continue;
        }
        if (until_ns != UINT64_MAX && fa__os_clock_ns() >= until_ns) {
            return false;
        }
        (void)fa__slots_trim(&home->slots, 0);
    }
    size_t returned = 0;
    return fa__space_trim(heap->space, until_ns, &returned);
}

// The end -----------------------------------------------------------------------------------------

typedef struct pair {
    uint32_t tag;
    const void *site;
    uint64_t count;
    size_t bytes;
    const void *ptr; // One of them.
} pair;

typedef struct leaks {
    size_t live;
    bool has_last; // Pairs up to `last` have been told.
    pair last;
    size_t count;
    pair pairs[PAIRS_MAX]; // In order.
} leaks;

static int order(const pair *left, const pair *right) {
    if (left->tag != right->tag) {
        return left->tag < right->tag ? -1 : 1;
    }
    uintptr_t a = (uintptr_t)left->site;
    uintptr_t b = (uintptr_t)right->site;
    return a == b ? 0 : a < b ? -1 : 1;
}

// The place of the first pair that is not before `wanted`.
static size_t place_of(const leaks *all, const pair *wanted) {
    size_t low = 0;
    size_t high = all->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (order(&all->pairs[middle], wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool note_leak(void *user, fa__heap *heap, const fa__block *block) {
    leaks *all = user;
    const pair seen = {fa__block_tag(block), block->site, 1, fa__block_usable(heap, block),
                       block->ptr};
    all->live += 1;
    if (all->has_last && order(&seen, &all->last) <= 0) {
        return true;
    }
    size_t at = place_of(all, &seen);
    if (at < all->count && order(&all->pairs[at], &seen) == 0) {
        all->pairs[at].count += 1;
        all->pairs[at].bytes += seen.bytes;
        return true;
    }
    if (at == PAIRS_MAX) {
        return true; // A later round's.
    }
    size_t kept = all->count < PAIRS_MAX ? all->count : PAIRS_MAX - 1;
    memmove(&all->pairs[at + 1], &all->pairs[at], (kept - at) * sizeof all->pairs[0]);
    all->pairs[at] = seen;
    all->count = kept + 1;
    return true;
}

// Reports every pair once; returns how many blocks there are.
static size_t report_leaks(fa__heap *heap) {
    leaks all = {.has_last = false};
    do {
        all.live = 0;
        all.count = 0;
        fa__heap_each(heap, note_leak, &all);
        for (size_t i = 0; i < all.count; i++) {
            const pair *told = &all.pairs[i];
            fa__fail(&(fa__failure){.context = heap->context,
                                    .code = FA__CODE_LIVE_AT_END,
                                    .result = FA_ERR_BUSY,
                                    .bytes = told->bytes,
                                    .tag = {told->tag},
                                    .ptr = told->count == 1 ? told->ptr : NULL,
                                    .site = told->site,
                                    .count = told->count,
                                    .where = "heap"});
        }
        if (all.count != 0) {
            all.last = all.pairs[all.count - 1];
            all.has_last = true;
        }
    } while (all.count == PAIRS_MAX);
    return all.live;
}

static size_t destroy(fa_context *ctx) {
    fa__heap *heap = fa__load_acquire(&ctx->heap);
    size_t live = report_leaks(heap);
    for (uint32_t i = 0; i < FA__CLASSES; i++) {
        fa__heap_class *home = fa__load_acquire(&heap->classes[i]);
        if (home != NULL) {
            home->slots.desc.released = NULL; // The records of all units go as a whole.
            fa__slots_destroy(&home->slots);
        }
    }
    fa__large_end(heap);
    if (heap->units != NULL) {
        fa__pages_release(ctx->pages, (char *)heap->units, heap->unit_room * sizeof *heap->units,
                          fa__load(&heap->unit_count) * sizeof *heap->units);
    }
    fa__os_mutex_destroy(&heap->large_lock);
    fa__os_mutex_destroy(&heap->units_lock);
    fa__os_mutex_destroy(&heap->lock);
    return live;
}

const fa__tier fa__heap_tier = {.thread_detach = detach,
                                .thread_trim = trim_thread,
                                .settle = settle,
                                .return_leases = return_leases,
                                .idle_bytes = idle_bytes,
                                .context_destroy = destroy,
                                .quiet = quiet,
                                .trim = trim};

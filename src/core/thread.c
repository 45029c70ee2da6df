// The state of each (context, thread) pair.
//
//   thread-local cache ──serial matches──> fa__thread ──> frame meter, accounts by tag
//        miss: look through context->threads for this thread's id; none: attach
//
// A state is made on first use and belongs to the context. When its thread exits, or detaches, it
// is emptied and kept for the next thread that comes, with its address space, so that threads that
// come and go cost nothing new.
//
// Exit and destruction may come in either order: both take the global lock, which guards the list
// of living contexts. A thread that exits looks only at contexts in that list; a context that is
// destroyed leaves the list first. Cached pointers are keyed by a serial that is never used twice,
// so a stale one is never followed.
#include "meter.h"

#include <stdio.h>
#include <string.h>

fa__thread fa__nobody;

#define NOBODY                                                                                     \
    { 0, &fa__nobody }
FA__THREAD_LOCAL fa__thread_cache fa__thread_caches[FA__CACHED_CONTEXTS] = {NOBODY, NOBODY, NOBODY,
                                                                            NOBODY};

static fa_context *living; // Guarded by the global lock.
static fa__u64 next_serial = 1;

static fa__thread *find_locked(const fa_context *ctx, uint64_t owner) {
    for (fa__thread *thread = ctx->threads; thread != NULL; thread = thread->next) {
        if (thread->owner == owner) {
            return thread;
        }
    }
    return NULL;
}

// Puts a state first among the cached ones.
static fa__thread *cache(const fa_context *ctx, fa__thread *thread) {
    size_t from = 1;
    while (from < FA__CACHED_CONTEXTS - 1 && fa__thread_caches[from].serial != ctx->serial) {
        from += 1;
    }
    memmove(&fa__thread_caches[1], &fa__thread_caches[0], from * sizeof fa__thread_caches[0]);
    fa__thread_caches[0] = (fa__thread_cache){ctx->serial, thread};
    return thread;
}

static fa__thread *find_cached(const fa_context *ctx) {
    for (size_t i = 0; i < FA__CACHED_CONTEXTS; i++) {
        if (fa__thread_caches[i].serial == ctx->serial) {
            return i == 0 ? fa__thread_caches[0].thread : cache(ctx, fa__thread_caches[i].thread);
        }
    }
    return NULL;
}

void fa__thread_forget(const fa_context *ctx) {
    for (size_t i = 0; i < FA__CACHED_CONTEXTS; i++) {
        if (fa__thread_caches[i].serial == ctx->serial) {
            fa__thread_caches[i] = (fa__thread_cache)NOBODY;
        }
    }
}

fa__thread *fa__thread_find(fa_context *ctx) {
    fa__thread *thread = find_cached(ctx);
    if (thread != NULL) {
        return thread;
    }
    fa__os_mutex_lock(&ctx->lock);
    thread = find_locked(ctx, fa__os_thread_id());
    fa__os_mutex_unlock(&ctx->lock);
    return thread == NULL ? NULL : cache(ctx, thread);
}

// A living context in which the calling thread has a state, pinned so that it outlives what
// follows; NULL: none left.
static fa_context *pin_next(uint64_t self, fa__thread **thread) {
    fa__os_global_lock();
    fa_context *ctx = living;
    for (; ctx != NULL; ctx = ctx->next) {
        fa__os_mutex_lock(&ctx->lock);
        *thread = find_locked(ctx, self);
        fa__os_mutex_unlock(&ctx->lock);
        if (*thread != NULL) {
            ctx->pins += 1;
            break;
        }
    }
    fa__os_global_unlock();
    return ctx;
}

// Runs at thread exit. Contexts are taken one at a time, because retiring may call the report
// function, which may do anything, such as making or ending other contexts.
static void on_thread_exit(void) {
    uint64_t self = fa__os_thread_id();
    fa__thread *thread = NULL;
    for (fa_context *ctx = pin_next(self, &thread); ctx != NULL; ctx = pin_next(self, &thread)) {
        fa__thread_retire(thread);
        // Another library's exit function may use the context after this: it must attach anew.
        fa__thread_forget(ctx);
        fa__os_global_lock();
        ctx->pins -= 1;
        fa__os_global_unlock();
    }
}

static void reset_idle(fa__thread *thread) {
    // An address that is aligned and not NULL, with nothing to allocate at it.
    char *nowhere = (char *)thread;
    thread->idle = (fa__meter){.arena = {nowhere, nowhere},
                               .booked = nowhere,
                               .stop = nowhere,
                               .origin = (uintptr_t)nowhere,
                               .end = nowhere,
                               .byte_limit = SIZE_MAX,
                               .is_closed = true,
                               .context = thread->context,
                               .thread = thread};
    memset(thread->idle_runs, 0, sizeof thread->idle_runs);
    fa__meter_set_runs(&thread->idle, thread->idle_runs, FA__RUNS_MIN,
                       fa__account_at(thread, FA__HOLDER_FRAME, 0));
    thread->frame = &thread->idle;
}

// Makes a new state, in one piece so that a failure takes nothing. NULL when there is no memory for
// it.
static fa__thread *thread_create(fa_context *ctx, fa__denial *denial) {
    typedef struct first_piece {
        fa__thread thread;
        _Alignas(64) fa__account accounts[FA__TAG_CHUNK];
        fa__past history[];
    } first_piece;
    size_t ring = 1;
    while (ring < ctx->config.history_frames) {
        ring *= 2;
    }
    size_t times = ctx->config.frame_times ? ring * sizeof(uint64_t) : 0;
    first_piece *piece =
        fa__meta_alloc(ctx->pages, sizeof *piece + ring * sizeof(fa__past) + times, denial);
    if (piece == NULL) {
        return NULL;
    }
    fa__thread *thread = &piece->thread;
    thread->context = ctx;
    thread->history = piece->history;
    thread->history_mask = ring - 1;
    thread->times = times == 0 ? NULL : (uint64_t *)(void *)(piece->history + ring);
    fa__store_release(&thread->accounts[FA__HOLDER_FRAME][0], piece->accounts);
    piece->accounts[0].tag = fa__tag_get(ctx, FA_TAG_ROOT);
    return thread;
}

static void thread_start_locked(fa_context *ctx, fa__thread *thread, uint64_t owner) {
    if (thread->id == 0) {
        ctx->next_thread += 1;
        thread->id = ctx->next_thread;
        thread->next = ctx->threads;
        ctx->threads = thread;
    }
    thread->owner = owner;
    fa__store(&thread->epoch, fa__load(&ctx->epoch));
    snprintf(thread->name, sizeof thread->name, "thread %u", (unsigned)thread->id);
    reset_idle(thread);
}

static fa_result attach(fa_context *ctx, fa__thread **out) {
    uint64_t self = fa__os_thread_id();
    fa__denial denial = FA__DENIED_BY_BACKEND;
    fa__os_mutex_lock(&ctx->lock);
    fa__thread *thread = find_locked(ctx, self);
    if (thread == NULL) {
        thread = find_locked(ctx, 0);
        if (thread == NULL) {
            thread = thread_create(ctx, &denial);
        }
        if (thread != NULL && fa__os_at_thread_exit(on_thread_exit)) {
            thread_start_locked(ctx, thread, self);
        } else {
            thread = NULL;
        }
    }
    fa__os_mutex_unlock(&ctx->lock);
    *out = thread;
    if (thread == NULL) {
        bool is_limit = denial == FA__DENIED_BY_LIMIT;
        return fa__fail(
            &(fa__failure){.context = ctx,
                           .code = is_limit ? FA__CODE_MEMORY_LIMIT : FA__CODE_OS_REFUSED,
                           .result = is_limit ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY,
                           .bytes = sizeof *thread,
                           .limit = is_limit ? ctx->config.memory_limit : 0,
                           .where = "thread state"});
    }
    return FA_OK;
}

FA_COLD fa__thread *fa__thread_attach_slow(fa_context *ctx) {
    fa__thread *thread = find_cached(ctx);
    if (thread == NULL && attach(ctx, &thread) == FA_OK) {
        cache(ctx, thread);
    }
    return thread;
}

fa_result fa_thread_attach(fa_context *ctx, const char *name) {
    fa__thread *thread = fa__thread_get(ctx);
    if (thread == NULL) {
        return fa_last_error()->result;
    }
    if (name != NULL) {
        fa__os_mutex_lock(&ctx->lock);
        snprintf(thread->name, sizeof thread->name, "%s", name);
        fa__os_mutex_unlock(&ctx->lock);
    }
    return FA_OK;
}

fa_result fa_thread_detach(fa_context *ctx) {
    fa__thread *thread = fa__thread_find(ctx);
    if (thread == NULL) {
        return FA_ERR_NOT_FOUND;
    }
    fa__thread_retire(thread);
    fa__thread_forget(ctx);
    return FA_OK;
}

// Gives the unused leases of every account back, down to what `keep` says of it.
static void return_leases(fa__thread *thread) {
    uint32_t count = fa_tag_count(thread->context);
    for (uint32_t i = 0; i < count * FA__HOLDER_COUNT; i++) {
        fa__holder holder = (fa__holder)(i % FA__HOLDER_COUNT);
        fa__account *account = fa__account_at(thread, holder, i / FA__HOLDER_COUNT);
        if (account != NULL && account->tag != NULL) {
            fa__lease_return(account, 0);
            fa__lease_update_keep(account);
        }
    }
}

fa__thread *fa__settle(fa_context *ctx) {
    fa__thread *thread = fa__thread_find(ctx);
    for (size_t i = 0; i < FA__TIER_COUNT; i++) {
        const fa__tier *tier = fa__load_acquire(&ctx->tiers[i]);
        if (tier != NULL && tier->settle != NULL) {
            tier->settle(ctx, thread);
        }
    }
    if (thread != NULL) {
        fa__accounts_publish(thread);
        fa__store(&thread->published_depth, (uint32_t)thread->depth);
    }
    return thread;
}

void fa__leases_return(fa_context *ctx) {
    fa__thread *thread = fa__settle(ctx);
    if (thread != NULL) {
        fa__store(&thread->epoch, fa__load(&ctx->epoch));
        return_leases(thread);
        thread->is_untidy = true; // An open frame may hold more than it may keep.
    }
    for (size_t i = 0; i < FA__TIER_COUNT; i++) {
        const fa__tier *tier = fa__load_acquire(&ctx->tiers[i]);
        if (tier != NULL && tier->return_leases != NULL) {
            tier->return_leases(ctx);
        }
    }
    (void)fa__settle(ctx); // Rearms: what was armed with a lease that is gone now asks again.
}

void fa__thread_retire(fa__thread *thread) {
    fa_context *ctx = thread->context;
    for (size_t i = FA__TIER_COUNT; i > 0; i--) {
        const fa__tier *tier = fa__load_acquire(&ctx->tiers[i - 1]);
        if (tier != NULL && tier->thread_detach != NULL) {
            tier->thread_detach(thread);
        }
    }
    thread->depth = 0;
    fa__store(&thread->published_depth, 0);
    return_leases(thread);
    reset_idle(thread);
    fa__os_mutex_lock(&ctx->lock);
    if (fa__load(&thread->frame_index) > ctx->gone_index) {
        ctx->gone_index = fa__load(&thread->frame_index);
    }
    fa__store(&thread->frame_index, 0);
    thread->frame_refusals = 0;
    thread->undone_bytes = 0;
    thread->budget = (fa_thread_budget){0};
    fa__phases_retire_locked(thread);
    fa__objects_retire_locked(thread);
    fa__store(&thread->own_peak_bytes, 0);
    fa__shared_add(&ctx->own_allocations, fa__load(&thread->allocations));
    fa__shared_add(&ctx->own_refusals, fa__load(&thread->refusals));
    fa__shared_add(&ctx->own_frees, fa__load(&thread->frees));
    fa__store(&thread->allocations, 0);
    fa__store(&thread->frees, 0);
    fa__store(&thread->refusals, 0);
    fa__store(&thread->total_bytes, 0);
    fa__store(&thread->frame_budget, 0);
    thread->owner = 0;
    fa__os_mutex_unlock(&ctx->lock);
}

// The list of living contexts ---------------------------------------------------------------------

void fa__context_enlist(fa_context *ctx) {
    ctx->serial = fa__shared_add(&next_serial, 1);
    fa__os_global_lock();
    ctx->next = living;
    living = ctx;
    fa__os_global_unlock();
}

void fa__context_delist(fa_context *ctx) {
    fa__os_global_lock();
    fa_context **link = &living;
    while (*link != ctx) {
        link = &(*link)->next;
    }
    *link = ctx->next;
    while (ctx->pins != 0) { // Threads are exiting in it.
        fa__os_global_unlock();
        fa__os_yield();
        fa__os_global_lock();
    }
    fa__os_global_unlock();
}

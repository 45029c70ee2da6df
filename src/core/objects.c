// Accounts of what is freed one by one. objects.h explains the picture; this is its slow half.
//
//   granted   +16K ......... lease ......... +16K            -16K ... given back ... -16K
//   room      |####|###|##|#|################|###|   |##|####|########|################|
//             charged one by one                     uncharged, maybe what others charged
//
// Invariants: room >= 0 and room <= keep outside of the functions here;
//             over all threads, sum of (granted - room) + the tag's object_bytes = bytes in use;
//             over all threads, sum of granted + the tag's object_bytes = charged for objects.
#include "objects.h"

// Making ------------------------------------------------------------------------------------------

// As fa__account_get(), ready to be uncharged.
static fa__account *account_make(fa__thread *thread, fa__holder holder, fa_tag tag,
                                 fa_result *result) {
    fa__account *account = fa__account_at(thread, holder, tag.id);
    if (account != NULL && account->tag != NULL) {
        return account;
    }
    account = fa__account_get(thread, holder, tag, result);
    if (account != NULL) {
        fa__lease_update_keep(account);
    }
    return account;
}

// Fills both tables for every tag that fits them. False when there is no memory for all of it.
static bool learn_tags(fa__thread *thread) {
    fa_result result = FA_OK;
    uint32_t count = fa_tag_count(thread->context);
    for (; thread->object_known < count && thread->object_known < FA__TABLE_TAGS;
         thread->object_known++) {
        fa_tag tag = {thread->object_known};
        fa__account *pool = account_make(thread, FA__HOLDER_POOL, tag, &result);
        fa__account *heap = account_make(thread, FA__HOLDER_HEAP, tag, &result);
        if (pool == NULL || heap == NULL) {
            return false;
        }
        thread->object_table[0][tag.id] = pool;
        thread->object_table[1][tag.id] = heap;
    }
    return true;
}

fa__account *fa__object_account(fa__thread *thread, fa__holder holder, fa_tag tag) {
    if (tag.id >= fa_tag_count(thread->context)) {
        fa__tag_fail(thread->context, tag, FA_ERR_INVALID);
        return NULL;
    }
    if (tag.id < FA__TABLE_TAGS) {
        (void)learn_tags(thread); // If there is no memory for all, it may do for this one.
    }
    fa_result result = FA_OK;
    fa__account *account = account_make(thread, holder, tag, &result);
    if (account == NULL) {
        fa__tag_fail(thread->context, tag, result);
    }
    return account;
}

fa__account *fa__object_current_slow(fa__thread *thread, fa__holder holder) {
    return fa__object_account(thread, holder, (fa_tag){thread->frame->run->account->tag->id});
}

// Charging ----------------------------------------------------------------------------------------

typedef struct charge {
    fa__thread *thread;
    fa__account *account;
    size_t need;   // Bytes the account must have room for.
    size_t useful; // Bytes it would use at once; at least `need`.
    size_t size;   // As asked for, to be told.
    const char *where;
} charge;

static bool refuse(const charge *asked, fa__code code, size_t limit) {
    fa__refusal_count(asked->thread, asked->account);
    fa__fail(&(fa__failure){.context = asked->thread->context,
                            .code = code,
                            .result = FA_ERR_BUDGET,
                            .bytes = asked->size,
                            .limit = limit,
                            .tag = {asked->account->tag->id},
                            .where = asked->where});
    return false;
}

static bool refuse_thread(const charge *asked) {
    const fa__thread *thread = asked->thread;
    const fa_thread_budget budget = thread->budget;
    size_t charged = thread->object_granted[0];
    if (budget.callback != NULL) {
        const fa__tag *tag = asked->account->tag;
        fa_budget_event event = {.context = thread->context,
                                 .tag = {tag->id},
                                 .tag_path = tag->path,
                                 .requested = asked->size,
                                 .charged = charged <= SIZE_MAX / 2 ? charged : 0,
                                 .limit = budget.pool_bytes,
                                 .is_hard = true,
                                 .is_thread = true};
        budget.callback(&event, budget.user);
    }
    return refuse(asked, FA__CODE_THREAD_BUDGET, budget.pool_bytes);
}

// What the thread's own budget leaves for leases of its pools.
static size_t thread_allowance(const fa__thread *thread, const fa__account *account) {
    size_t limit = thread->budget.pool_bytes;
    if (limit == 0 || account->sum != &thread->object_granted[0]) {
        return SIZE_MAX;
    }
    size_t granted = *account->sum;
    if (granted > SIZE_MAX / 2) { // Below zero: it has freed more than it took.
        size_t below = 0 - granted;
        return limit < SIZE_MAX - below ? limit + below : SIZE_MAX;
    }
    return granted < limit ? limit - granted : 0;
}

static size_t missing(const fa__account *account, size_t bytes) {
    size_t room = fa__load(&account->object_room);
    return room < bytes ? bytes - room : 0;
}

// Leases once. False after a reported refusal. When it returns true there may be too little room
// all the same: callbacks may have used it.
static bool lease(const charge *asked) {
    fa__thread *thread = asked->thread;
    fa__account *account = asked->account;
    fa_context *ctx = thread->context;
    size_t allowed = thread_allowance(thread, account);
    size_t need = missing(account, asked->need);
    if (need > allowed || fa__lease_is_tight(account, need)) {
        fa__leases_return(ctx);
        need = missing(account, asked->need);
        allowed = thread_allowance(thread, account);
    }
    if (need > allowed) {
        return refuse_thread(asked);
    }
    size_t want = missing(account, asked->useful);
    want = want < FA__OBJECT_LEASE ? FA__OBJECT_LEASE : want;
    want = want < allowed ? want : allowed;
    fa__tag *refused_by = NULL;
    const fa__lease_wish wish = {need, want, asked->size};
    if (need != 0 && fa__lease_take(ctx, account, &wish, &refused_by) != FA_OK) {
        fa__budget_tell_hard(ctx, refused_by, asked->size);
        return refuse(asked, FA__CODE_TAG_BUDGET, fa__load(&refused_by->hard));
    }
    fa__lease_note_peak(account);
    return true;
}

// Makes room for `need` bytes at least. False after a reported refusal.
static bool make_room(const charge *asked) {
    fa__thread *thread = asked->thread;
    fa_context *ctx = thread->context;
    if (fa__load(&thread->epoch) != fa__load(&ctx->epoch)) {
        fa__leases_return(ctx); // Lines have changed.
    }
    while (missing(asked->account, asked->need) != 0) {
        if (!lease(asked)) {
            return false;
        }
    }
    return true;
}

FA_COLD bool fa__object_charge_slow(fa__thread *thread, fa__account *account, size_t bytes,
                                    const char *where) {
    const charge asked = {thread, account, bytes, bytes, bytes, where};
    if (!make_room(&asked)) {
        return false;
    }
    fa__own_sub(&account->object_room, bytes);
    return true;
}

// Where no line is near, one lease for all of it. If that fails, less may do.
static void lease_all(const charge *asked) {
    fa__account *account = asked->account;
    size_t need = missing(account, asked->useful);
    bool has_line = fa__load(&account->tag->nearest_line) != SIZE_MAX;
    if (need == 0 || has_line || thread_allowance(asked->thread, account) != SIZE_MAX) {
        return;
    }
    size_t want = need < FA__OBJECT_LEASE ? FA__OBJECT_LEASE : need;
    fa__tag *refused_by = NULL;
    const fa__lease_wish wish = {need, want, asked->size};
    (void)fa__lease_take(asked->thread->context, account, &wish, &refused_by);
    fa__lease_note_peak(account);
}

size_t fa__object_charge_some(fa__thread *thread, fa__account *account, size_t size, size_t count,
                              const char *where) {
    size_t useful = count <= SIZE_MAX / size ? count * size : SIZE_MAX;
    if (fa__load(&account->object_room) < useful) {
        const charge asked = {thread, account, size, useful, size, where};
        lease_all(&asked);
        if (!make_room(&asked)) {
            return 0;
        }
    }
    size_t fits = fa__load(&account->object_room) / size;
    size_t charged = fits < count ? fits : count;
    fa__own_sub(&account->object_room, charged * size);
    return charged;
}

FA_COLD void fa__object_uncharge_slow(fa__account *account) {
    fa__lease_update_keep(account);
    size_t keep = account->keep;
    if (fa__load(&account->object_room) > keep) {
        fa__lease_return(account, keep / 2); // So that the next free does not come here again.
    }
}

void fa__object_uncharge_orphan(fa_context *ctx, fa__holder holder, uint32_t tag, size_t bytes) {
    fa__tag *shared = fa__tag_get(ctx, (fa_tag){tag});
    fa__os_mutex_lock(&ctx->lock);
    fa__shared_sub(&shared->object_bytes[holder == FA__HOLDER_HEAP], bytes);
    fa__os_mutex_unlock(&ctx->lock);
    fa__lease_uncharge_objects(shared, bytes);
}

// Retiring ----------------------------------------------------------------------------------------

void fa__objects_retire_locked(fa__thread *thread) {
    fa_context *ctx = thread->context;
    uint32_t count = fa_tag_count(ctx);
    for (uint32_t i = 0; i < 2 * count; i++) {
        fa__holder holder = i % 2 == 0 ? FA__HOLDER_POOL : FA__HOLDER_HEAP;
        fa__account *account = fa__account_at(thread, holder, i / 2);
        if (account == NULL || account->tag == NULL) {
            continue;
        }
        fa__shared_add(&account->tag->object_bytes[i % 2], fa__load(&account->object_granted));
        fa__shared_add(&account->tag->own_allocations, fa__load(&account->allocations));
        fa__shared_add(&ctx->own_allocations, fa__load(&account->allocations));
        fa__store(&account->object_granted, 0);
        fa__store(&account->allocations, 0);
    }
    thread->object_granted[0] = 0;
    thread->object_granted[1] = 0;
}

// Leases: how limits shared by threads stay out of the hot path.
//
//      root      charged ............................ | hard
//       +- ai    charged ............ | soft | hard
//           +- ai/path   charged ....
//                          = granted[thread 1] + granted[thread 2] + ...   granted = in use + room
//
// A holder (an fa__account) leases bytes from its tag before it uses them, and the lease is charged
// to the tag and to every parent. So the bytes in use never exceed what is charged, and what is
// charged never exceeds a hard line: each charge is one compare-and-swap that refuses to pass it.
// Leases shrink as a line comes near: together, the tags below it share a 16th of what is left, and
// between frames a thread keeps a 64th of the line. That bounds how early a thread can be refused;
// budget.h states the margin. Under a soft line a lease ends exactly at the line, so that the
// allocation that needs more is the one that reports it. Before one thread crosses a line its own
// unused leases are called back (arena.c), so one thread alone is never refused early.
//
// Objects have no frame at whose end leases go back, so what an account for them may keep unused
// bounds its leases at all times.
#include "objects.h"

// Of what is left under a line, and of the line. A thread has that many accounts per tag.
#define LEASE_SHARE (16u * FA__HOLDER_COUNT)
#define KEEP_SHARE (64u * FA__HOLDER_COUNT)

typedef enum charge_result { CHARGE_DONE, CHARGE_REFUSED } charge_result;

static size_t smaller(size_t left, size_t right) {
    return left < right ? left : right;
}

// What a lease of at least `need` may be under the lines of one tag.
static size_t tag_allowance(fa__tag *tag, size_t need, size_t want, size_t share) {
    if (fa__load(&tag->nearest_line) == SIZE_MAX) {
        return want;
    }
    size_t charged = fa__load(&tag->charged);
    size_t hard = fa__load(&tag->hard);
    size_t soft = fa__load(&tag->soft);
    size_t allowed = want;
    if (hard != SIZE_MAX) {
        size_t left = hard > charged ? hard - charged : 0;
        allowed = smaller(allowed, left / share / fa__load(&tag->members));
    }
    if (soft != SIZE_MAX && soft > charged) {
        allowed = smaller(allowed, soft - charged);
    }
    return allowed > need ? allowed : need;
}

void fa__lease_update_keep(fa__account *account) {
    size_t keep = account->sum == NULL ? SIZE_MAX : 2 * FA__OBJECT_LEASE;
    for (fa__tag *node = account->tag; node != NULL; node = node->parent) {
        size_t line = smaller(fa__load(&node->soft), fa__load(&node->hard));
        if (line != SIZE_MAX) {
            keep = smaller(keep, line / KEEP_SHARE / fa__load(&node->members));
        }
        if (fa__load(&node->charged) > fa__load(&node->hard)) {
            keep = 0;
        }
    }
    account->keep = keep;
}

bool fa__lease_is_tight(const fa__account *account, size_t need) {
    if (fa__load(&account->tag->nearest_line) == SIZE_MAX) {
        return false;
    }
    for (fa__tag *node = account->tag; node != NULL; node = node->parent) {
        size_t charged = fa__load(&node->charged);
        size_t soft = fa__load(&node->soft);
        size_t hard = fa__load(&node->hard);
        bool crosses_soft = soft != SIZE_MAX && charged <= soft && need > soft - charged;
        bool crosses_hard = hard != SIZE_MAX && (charged > hard || need > hard - charged);
        if (crosses_soft || crosses_hard) {
            return true;
        }
    }
    return false;
}

static charge_result tag_charge(fa__tag *tag, size_t bytes) {
    size_t charged = fa__load(&tag->charged);
    do {
        size_t hard = fa__load(&tag->hard);
        bool refuses = fa__load(&tag->policy) == FA_BUDGET_FAIL;
        if (charged > SIZE_MAX - bytes || (refuses && charged + bytes > hard)) {
            return CHARGE_REFUSED;
        }
    } while (!fa__shared_swap(&tag->charged, &charged, charged + bytes));
    return CHARGE_DONE;
}

static void tag_uncharge(fa__tag *tag, size_t bytes) {
    size_t charged = fa__shared_sub(&tag->charged, bytes) - bytes;
    if (fa__load(&tag->soft_crossed) != 0 && charged <= fa__load(&tag->soft)) {
        fa__store(&tag->soft_crossed, 0);
    }
    if (fa__load(&tag->hard_crossed) != 0 && charged <= fa__load(&tag->hard)) {
        fa__store(&tag->hard_crossed, 0);
    }
}

// Charges a tag and all its parents, or none of them.
static fa__tag *charge_chain(fa__tag *tag, size_t bytes) {
    for (fa__tag *node = tag; node != NULL; node = node->parent) {
        if (tag_charge(node, bytes) == CHARGE_REFUSED) {
            for (fa__tag *undo = tag; undo != node; undo = undo->parent) {
                tag_uncharge(undo, bytes);
            }
            return node;
        }
    }
    return NULL;
}

static void tell(fa_context *ctx, fa__tag *tag, size_t requested, size_t charged, bool is_hard) {
    fa__os_mutex_lock(&ctx->lock);
    fa_budget budget = tag->budget;
    fa__os_mutex_unlock(&ctx->lock);
    if (budget.callback == NULL) {
        return;
    }
    fa_budget_event event = {.context = ctx,
                             .tag = {tag->id},
                             .tag_path = tag->path,
                             .requested = requested,
                             .charged = charged,
                             .limit = is_hard ? budget.hard : budget.soft,
                             .is_hard = is_hard};
    budget.callback(&event, budget.user);
}

// Reports the lines that the last charge crossed, each once per crossing.
static void report_crossings(fa_context *ctx, fa__tag *tag, size_t requested, size_t leased) {
    for (fa__tag *node = tag; node != NULL; node = node->parent) {
        size_t charged = fa__load(&node->charged);
        size_t before = charged > leased ? charged - leased : 0; // A callback may have freed some.
        size_t soft = fa__load(&node->soft);
        uint32_t not_yet = 0;
        if (charged > soft && atomic_compare_exchange_strong(&node->soft_crossed, &not_yet, 1)) {
            tell(ctx, node, requested, before, false);
            fa__fail(&(fa__failure){.context = ctx,
                                    .code = FA__CODE_SOFT_BUDGET,
                                    .result = FA_OK,
                                    .bytes = requested,
                                    .limit = soft,
                                    .tag = {node->id}});
        }
        size_t hard = fa__load(&node->hard);
        not_yet = 0;
        if (charged > hard && fa__load(&node->policy) == FA_BUDGET_WARN &&
            atomic_compare_exchange_strong(&node->hard_crossed, &not_yet, 1)) {
            tell(ctx, node, requested, before, true);
            fa__fail(&(fa__failure){.context = ctx,
                                    .code = FA__CODE_BUDGET_PASSED,
                                    .result = FA_OK,
                                    .bytes = requested,
                                    .limit = hard,
                                    .tag = {node->id}});
        }
    }
}

fa_result fa__lease_take(fa_context *ctx, fa__account *account, const fa__lease_wish *wish,
                         fa__tag **refused_by) {
    size_t need = wish->need;
    size_t bytes = wish->want > need ? wish->want : need;
    size_t share = account->sum == NULL ? LEASE_SHARE : KEEP_SHARE;
    fa__lease_update_keep(account);
    for (fa__tag *node = account->tag; node != NULL; node = node->parent) {
        bytes = tag_allowance(node, need, bytes, share);
    }
    fa__tag *refused = charge_chain(account->tag, bytes);
    if (refused != NULL && bytes > need) { // Others were faster; what is needed may still fit.
        bytes = need;
        refused = charge_chain(account->tag, bytes);
    }
    if (refused != NULL) {
        *refused_by = refused;
        return FA_ERR_BUDGET;
    }
    fa__own_add(&account->object_granted, bytes);
    fa__own_add(&account->object_room, bytes);
    if (account->sum == NULL) {
        fa__account_publish(account);
    } else {
        *account->sum += bytes;
        for (fa__tag *node = account->tag; node != NULL; node = node->parent) {
            fa__raise(&node->object_peak, fa__shared_add(&node->object_charged, bytes) + bytes);
        }
    }
    if (fa__load(&account->tag->nearest_line) != SIZE_MAX) {
        report_crossings(ctx, account->tag, wish->requested, bytes);
    }
    return FA_OK;
}

void fa__lease_note_peak(const fa__account *account) {
    for (fa__tag *node = account->tag; node != NULL; node = node->parent) {
        fa__raise(&node->charged_peak, fa__load(&node->charged));
    }
}

void fa__lease_return(fa__account *account, size_t keep) {
    size_t room = fa__load(&account->object_room);
    if (room <= keep) {
        return;
    }
    size_t bytes = room - keep;
    fa__own_sub(&account->object_granted, bytes);
    fa__store(&account->object_room, keep);
    if (account->sum != NULL) {
        *account->sum -= bytes;
        fa__lease_uncharge_objects(account->tag, bytes);
        return;
    }
    for (fa__tag *node = account->tag; node != NULL; node = node->parent) {
        tag_uncharge(node, bytes);
    }
}

void fa__lease_uncharge_objects(fa__tag *tag, size_t bytes) {
    for (fa__tag *node = tag; node != NULL; node = node->parent) {
        fa__shared_sub(&node->object_charged, bytes);
        tag_uncharge(node, bytes);
    }
}

void fa__budget_tell_hard(fa_context *ctx, fa__tag *tag, size_t requested) {
    tell(ctx, tag, requested, fa__load(&tag->charged), true);
}

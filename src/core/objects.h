// Charging objects and blocks to tags one by one: what pools and the heap are accounted with.
//
// An arena's bytes come from cursor differences; an object is charged when it is taken and
// uncharged when it is freed, possibly by another thread and under another current tag. Each thread
// has one fa__account per tag and holder (FA__HOLDER_POOL, FA__HOLDER_HEAP), so both are an add to
// memory that only this thread writes:
//
//   charge     room -= size, when there is room; else take a lease
//   uncharge   room += size; when more is unused than `keep`, give some back to the tag
//
// Bytes in use by an account are granted - room, as a signed number: a thread that frees what
// others allocated goes below zero, and the sum over all threads is exact at every moment when no
// thread is inside a call: others read both. A lease is taken in steps of FA__OBJECT_LEASE, and at
// most twice that stays unused, so what is charged to the tags is never further from what is in use
// than that per thread, tag and holder; under a near budget line leases shrink as in lease.c.
//
// A line that is set later finds leases of other threads: those lie unused until their next slow
// path here, or the next time their frames begin. It is never more than 2 * FA__OBJECT_LEASE per
// thread, tag and holder.
#pragma once

#include "core.h"

#define FA__OBJECT_LEASE ((size_t)16 << 10)

// The account of a thread for a tag that it may never have used: made on first use. NULL after a
// reported failure (unknown tag, no memory).
fa__account *fa__object_account(fa__thread *thread, fa__holder holder, fa_tag tag);

// Out of line: finds a lease or refuses and reports, exactly as an arena does (recalls this
// thread's own unused leases first; tells callbacks). Charges on success. Callbacks, the report
// function and the tiers' return_leases() may use this account and the caller's caches meanwhile:
// call it with no lock held and nothing half done.
FA_COLD bool fa__object_charge_slow(fa__thread *thread, fa__account *account, size_t bytes,
                                    const char *where);
// Out of line: gives unused leases back.
FA_COLD void fa__object_uncharge_slow(fa__account *account);

// Charges, or refuses with everything as it was; the refusal is reported with `where` as its place.
static inline bool fa__object_charge(fa__thread *thread, fa__account *account, size_t bytes,
                                     const char *where) {
    size_t room = fa__load(&account->object_room);
    if (FA_UNLIKELY(room < bytes)) {
        return fa__object_charge_slow(thread, account, bytes, where);
    }
    fa__store(&account->object_room, room - bytes);
    return true;
}

// Charges as many of `count` objects of `size` bytes as one lease covers (at least one; all of them
// where no budget line is near), and returns how many; 0 after a reported refusal.
size_t fa__object_charge_some(fa__thread *thread, fa__account *account, size_t size, size_t count,
                              const char *where);

static inline void fa__object_uncharge(fa__account *account, size_t bytes) {
    size_t room = fa__load(&account->object_room) + bytes;
    fa__store(&account->object_room, room);
    if (FA_UNLIKELY(room > account->keep)) {
        fa__object_uncharge_slow(account);
    }
}

// Counts an allocation or a free where they are counted one by one: each is one add. The tag's, the
// thread's and the context's figures are made of these.
static inline void fa__object_count_alloc(fa__account *account) {
    fa__own_add(&account->allocations, 1);
}
static inline void fa__object_count_free(fa__thread *thread) {
    fa__own_add(&thread->frees, 1);
}

// The account of the current tag. The slow one makes the accounts of all tags that fit the table on
// first use, and finds those beyond it. NULL after a reported failure: no memory for the account.
fa__account *fa__object_current_slow(fa__thread *thread, fa__holder holder);
static inline fa__account *fa__object_current(fa__thread *thread, fa__holder holder) {
    uint32_t tag = thread->frame->run->account->tag->id;
    if (FA_LIKELY(tag < thread->object_known)) {
        return thread->object_table[holder == FA__HOLDER_HEAP][tag];
    }
    return fa__object_current_slow(thread, holder);
}

// The account to uncharge for a tag read from a slot. The tag exists. NULL only when there is no
// memory for the account: then the caller uncharges with fa__object_uncharge_orphan().
static inline fa__account *fa__object_of(fa__thread *thread, fa__holder holder, uint32_t tag) {
    if (FA_LIKELY(tag < thread->object_known)) {
        return thread->object_table[holder == FA__HOLDER_HEAP][tag];
    }
    return fa__object_account(thread, holder, (fa_tag){tag});
}

// Uncharges where the calling thread has no state and can get none: goes to the shared tag under
// the context's lock. A free never fails.
void fa__object_uncharge_orphan(fa_context *ctx, fa__holder holder, uint32_t tag, size_t bytes);

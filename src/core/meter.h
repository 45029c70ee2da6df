// Charging an arena's memory to tags without counting allocations.
//
//   bytes in use  0 ........ run 0: root ........|.... run 1: ai ....|.... run 2: root ....|
//                                                                           ^ booked       ^ cursor
//
// The log of runs says who was current over which stretch, and how long each is. What lies between
// `booked` and the cursor is not in it yet and belongs to the top run. Booking happens when the tag
// changes and when a scope opens or closes (DESIGN rule 2): the bytes are added to the run and
// taken from the room of its account. The limit of the arena is the nearest of `stop` and that room
// (rule 1).
//
// Invariants: the runs' bytes add up to the bytes in use, less what is not booked;
//             cursor <= limit <= stop <= end; room <= granted in every account.
#pragma once

#include "core.h"

static inline size_t fa__meter_used(const fa__meter *meter) {
    return (uintptr_t)meter->arena.cursor - meter->origin;
}

// Books what was allocated since the last boundary.
static inline void fa__meter_settle(fa__meter *meter) {
    size_t bytes = (size_t)(meter->arena.cursor - meter->booked);
    meter->booked = meter->arena.cursor;
    meter->run->bytes += bytes;
    meter->run->account->room -= bytes;
}

// True when nothing may be allocated: the frame has ended, the last scope was closed.
static inline bool fa__meter_is_closed(const fa__meter *meter) {
    return meter->is_closed || (meter->is_frame && meter->thread->frame != meter);
}

// Lets an open meter hand out what `stop` and the top account's room allow. Everything must be
// booked.
static inline void fa__meter_arm(fa__meter *meter) {
    char *stop = meter->stop;
    size_t lease = meter->run->account->room;
    if (FA_UNLIKELY(lease < (size_t)(stop - meter->arena.cursor))) {
        stop = meter->arena.cursor + lease;
    }
    meter->arena.limit = stop;
}

// Makes `account` the one to be charged from here on. The log must have room for one more entry.
static inline void fa__meter_switch(fa__meter *meter, fa__account *account) {
    char *cursor = meter->arena.cursor;
    char *stop = meter->stop;
    fa__stretch *run = meter->run;
    size_t bytes = (size_t)(cursor - meter->booked);
    meter->booked = cursor;
    run->account->room -= bytes;
    run->bytes += bytes;
    if (FA_LIKELY(run->bytes != 0)) {
        run += 1;
    } else if (run[-1].account == account) {
        run -= 1; // An empty scope leaves no trace.
    }
    run->account = account;
    meter->run = run;
    size_t room = (size_t)(stop - cursor);
    size_t lease = account->room;
    meter->arena.limit = cursor + (lease < room ? lease : room);
}

// Starts an empty log of `count` zeroed entries, charged to `account`.
void fa__meter_set_runs(fa__meter *meter, fa__stretch *runs, size_t count, fa__account *account);

// Makes sure that the log stands below its guard. FA_ERR_OUT_OF_MEMORY or FA_ERR_LIMIT, nothing
// having changed.
fa_result fa__meter_reserve_runs(fa__meter *meter);

// Recomputes `stop` from the block's end, the byte limit, and whether allocations are watched; then
// the limit, which is the cursor when the meter is closed. Call after any of them changed.
void fa__meter_refresh(fa__meter *meter);

// Takes back all bytes of a meter whose log is a single run. Booked bytes go back to the account;
// the rest never came off it. The caller moves the cursor.
static inline void fa__meter_unbook_only(fa__meter *meter) {
    fa__stretch *run = meter->run_base;
    fa__account *account = run->account;
    size_t booked = run->bytes;
    size_t bytes = booked + (size_t)(meter->arena.cursor - meter->booked);
    account->room += booked;
    run->bytes = 0;
    size_t left = account->granted - account->room;
    fa__store(&account->bytes, left);
    if (FA_UNLIKELY(left + bytes > fa__load(&account->peak))) {
        fa__store(&account->peak, left + bytes);
    }
}

// Takes back what is booked beyond `used` bytes, from the top. The caller moves the cursor (and
// origin) itself, then calls fa__meter_moved(). The account current before stays current.
void fa__meter_unwind(fa__meter *meter, size_t used);

// The cursor has been put somewhere else: nothing is unbooked there.
static inline void fa__meter_moved(fa__meter *meter) {
    meter->booked = meter->arena.cursor;
    fa__meter_refresh(meter);
}

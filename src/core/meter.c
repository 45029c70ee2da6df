// The rare half of meter.h: limits that changed, memory that is undone, a log that is full.
#include "meter.h"

#include <string.h>

void fa__meter_refresh(fa__meter *meter) {
    fa__meter_settle(meter);
    char *cursor = meter->arena.cursor;
    size_t room = (size_t)(meter->end - cursor);
    size_t used = fa__meter_used(meter);
    size_t left = used < meter->byte_limit ? meter->byte_limit - used : 0;
    if (left < room) {
        room = left;
    }
    if ((fa__load(&meter->context->checks) & FA_CHECK_WATCH) != 0) {
        room = 0;
    }
    meter->stop = cursor + room;
    if (fa__meter_is_closed(meter)) {
        meter->arena.limit = cursor;
    } else {
        fa__meter_arm(meter);
    }
}

// Takes bytes off the top run.
static void shorten(fa__stretch *run, size_t bytes) {
    fa__account_note_peaks(run->account);
    run->bytes -= bytes;
    run->account->room += bytes;
    fa__account_give_back(run->account);
}

void fa__meter_unwind(fa__meter *meter, size_t used) {
    fa__meter_settle(meter);
    size_t bytes = fa__meter_used(meter) - used;
    if (meter->thread != NULL) {
        meter->thread->undone_bytes += bytes;
    }
    fa__account *current = meter->run->account;
    while (bytes > meter->run->bytes) {
        bytes -= meter->run->bytes;
        shorten(meter->run, meter->run->bytes);
        meter->run -= 1;
    }
    shorten(meter->run, bytes);
    if (meter->run->account == current) {
        return;
    }
    // At least one entry was popped, so there is room for one.
    if (meter->run->bytes != 0) {
        meter->run += 1;
    } else if (meter->run[-1].account == current) {
        meter->run -= 1;
    }
    meter->run->account = current;
}

void fa__meter_set_runs(fa__meter *meter, fa__stretch *runs, size_t count, fa__account *account) {
    runs[1].account = account;
    meter->run_base = runs + 1;
    meter->run = meter->run_base;
    meter->run_guard = count < FA__RUNS_MIN ? runs : runs + (count - FA__RUNS_SPARE);
}

fa_result fa__meter_reserve_runs(fa__meter *meter) {
    if (meter->run <= meter->run_guard) {
        return FA_OK;
    }
    // The old log stays behind in the bookkeeping memory: each is half the next, so all of them
    // together are no more than the last.
    size_t used = (size_t)(meter->run - meter->run_base) + 2;
    size_t capacity = 2 * (used + FA__RUNS_SPARE);
    fa__denial denial = FA__DENIED_BY_BACKEND;
    fa__stretch *runs = fa__meta_alloc(meter->context->pages, capacity * sizeof *runs, &denial);
    if (runs == NULL) {
        return denial == FA__DENIED_BY_LIMIT ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY;
    }
    memcpy(runs, meter->run_base - 1, used * sizeof *runs);
    meter->run_base = runs + 1;
    meter->run = runs + (used - 1);
    meter->run_guard = runs + (capacity - FA__RUNS_SPARE);
    return FA_OK;
}

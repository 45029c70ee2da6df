/// @file check_state.h
/// What the files of the harness share with each other; tests include only check.h.
#pragma once

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(_MSC_VER) && !defined(__clang__)
#define CHECK_THREAD_LOCAL __declspec(thread)
#else
#define CHECK_THREAD_LOCAL _Thread_local
#endif

typedef struct check_run_state {
    const char *suite;
    const char *test;
    atomic_ulong checks;  ///< Made by the running test so far.
    atomic_uint failures; ///< Of them, those that did not hold.
    bool skipped;
    char skip_reason[160];
    bool verbose;
    uint64_t seed;
    double scale;
} check_run_state;

extern check_run_state check_state;

void check_note_clear(void);

// A page source for tests: it refuses on purpose, and keeps a map of everything it handed out.
//
//     calls of reserve and commit   1  2  3  4  5  6  7 ...
//     FAULT_NTH, at = 4                      x
//     FAULT_FROM, at = 4                     x  x  x  x ...
//     FAULT_RANDOM, percent = 30       x        x     x
//
// Anything that does not fit the map fails the test: a release of what was not reserved (or twice),
// a commit or decommit outside a reservation, a commit of what is committed, a decommit of what is
// not. Memory may be handed out full of rubbish, because a backend need not hand out zeroes.
#pragma once

#include <framealloc/backend.h>

#include "harness/check.h"

#include <stdatomic.h>

typedef enum fault_mode { FAULT_NONE, FAULT_NTH, FAULT_FROM, FAULT_RANDOM } fault_mode;

// What the pages are made of.
typedef enum fault_source {
    FAULT_PAGES, // fa_backend_os().
    FAULT_BLOCKS // malloc(): usable when reserved; no commit, no decommit.
} fault_source;

typedef struct fault_range {
    char *base;
    size_t size;
    void *origin;             // Of malloc(), or NULL.
    unsigned char *committed; // One a page.
    size_t high;              // Pages from here on have never been committed.
} fault_range;

typedef struct fault_backend {
    fa_backend backend; // Give a pointer to this to a context.
    fault_source source;
    bool has_rubbish;    // What is handed out is not zeroed.
    size_t reserve_most; // Bytes: there is no room for a larger reservation; 0: for any.
    atomic_flag lock;    // Guards what follows.
    fault_mode mode;
    uint64_t at;      // For FAULT_NTH and FAULT_FROM: counted from 1.
    unsigned percent; // For FAULT_RANDOM.
    check_rng rng;
    uint64_t calls; // Of reserve and commit.
    uint64_t decommits;
    uint64_t refusals;
    uint64_t attempts; // For the user of the backend: its own calls, where one thread makes them.
    size_t reserved_bytes;
    size_t committed_bytes;
    size_t committed_peak;
    fault_range *ranges;
    size_t range_count;
    size_t range_room;
} fault_backend;

// A source that refuses nothing yet.
void fault_backend_make(fault_backend *faults, fault_source source);

// Checks that everything was given back, and frees the map.
void fault_backend_end(fault_backend *faults);

// Sets what is refused from here on. `at` counts from the first call of all.
void fault_backend_set(fault_backend *faults, fault_mode mode, uint64_t at, unsigned percent,
                       uint64_t seed);

// Whether an address lies in a present reservation. Not while other threads use the backend.
bool fault_backend_holds(fault_backend *faults, const void *ptr);

// Changes only the mode, and returns the one before: to refuse nothing for a while.
fault_mode fault_backend_switch(fault_backend *faults, fault_mode mode);

// Calls that were refused on purpose on the calling thread, by any source.
uint64_t fault_refusals_here(void);

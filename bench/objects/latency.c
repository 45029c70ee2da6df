// Every operation for itself: a million of them, allocations and frees, each timed by the
// processor's cycle counter.
//
// An interrupt costs more than any allocation, and a million operations always meet some. So the
// same operations run several times, and of every thousand of them the run counts in which the
// slowest was least: what is slow by itself is slow in all of them.
#include "measures.h"
#include "sources.h"

#include <common/foreign_malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__) || defined(__i386__)
#include <x86intrin.h>
#endif

enum { OPERATIONS = 1000000, WINDOW = 1000, RUNS = 15, LIVE = 20000, PERCENTILES = 5 };

typedef struct latency_state {
    object_source source;
    void *heap; // Of mimalloc.
    void *(*heap_alloc)(void *heap, size_t size);
    void *live[LIVE];
    uint32_t best[OPERATIONS]; // Cycles.
} latency_state;

static const double shares[PERCENTILES] = {0.5, 0.99, 0.999, 0.9999, 1.0};

#if defined(__x86_64__) || defined(__i386__)
// The earlier instructions are done when the counter is read, the later ones not begun.
BENCH_INLINE uint64_t cycles_now(void) {
    _mm_lfence();
    uint64_t now = __rdtsc();
    _mm_lfence();
    return now;
}
#else
BENCH_INLINE uint64_t cycles_now(void) {
    return bench_clock_ns();
}
#endif

// What reading the counter twice takes.
static uint64_t cycles_cost(void) {
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 100000; ++i) {
        uint64_t start = cycles_now();
        uint64_t spent = cycles_now() - start;
        best = spent < best ? spent : best;
    }
    return best;
}

static double cycles_per_ns(void) {
    uint64_t start_ns = bench_clock_ns();
    uint64_t start = cycles_now();
    while (bench_clock_ns() - start_ns < 20000000) {
    }
    return (double)(cycles_now() - start) / (double)(bench_clock_ns() - start_ns);
}

// One operation: a random place is emptied if it holds an object, and filled if not. What is live
// swings between none and all: long stretches fill, long stretches empty.
static uint32_t operation_time(latency_state *state, uint64_t *random, size_t at, uint64_t cost) {
    object_source *source = &state->source;
    bool fills = at / (2 * (size_t)LIVE) % 2 == 0;
    size_t place = (size_t)(random_next(random) % LIVE);
    if ((state->live[place] != NULL) == fills && random_next(random) % 4 != 0) {
        for (size_t i = 0; i < 8 && (state->live[place] != NULL) == fills; ++i) {
            place = (place + 1) % LIVE;
        }
    }
    void *ptr = state->live[place];
    uint64_t start = 0;
    uint64_t spent = 0;
    if (ptr != NULL) {
        start = cycles_now();
        source->free(source->self, ptr);
        spent = cycles_now() - start;
        ptr = NULL;
    } else {
        start = cycles_now();
        ptr = source->alloc(source->self, 64);
        spent = cycles_now() - start;
        memset(ptr, 1, 64);
    }
    state->live[place] = ptr;
    return (uint32_t)(spent > cost ? spent - cost : 0);
}

static void live_empty(latency_state *state) {
    for (size_t i = 0; i < LIVE; ++i) {
        if (state->live[i] != NULL) {
            state->source.free(state->source.self, state->live[i]);
            state->live[i] = NULL;
        }
    }
}

// One run; of every window the better of this and the earlier ones is kept.
static void run_once(latency_state *state, uint64_t cost, bool is_first) {
    uint64_t random = 0x9e3779b97f4a7c15u;
    uint32_t window[WINDOW];
    for (size_t begin = 0; begin < OPERATIONS; begin += WINDOW) {
        uint32_t slowest = 0;
        uint32_t kept = 0;
        for (size_t i = 0; i < WINDOW; ++i) {
            window[i] = operation_time(state, &random, begin + i, cost);
            slowest = window[i] > slowest ? window[i] : slowest;
            kept = state->best[begin + i] > kept ? state->best[begin + i] : kept;
        }
        if (is_first || slowest < kept) {
            memcpy(&state->best[begin], window, sizeof(window));
        }
    }
    live_empty(state);
}

static int compare_cycles(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

// ---- The rivals --------------------------------------------------------------------------------

static void *mimalloc_heap_alloc(void *self, size_t size) {
    latency_state *state = (latency_state *)self;
    return state->heap_alloc(state->heap, size);
}

static void (*mimalloc_free)(void *ptr);

static void mimalloc_heap_free(void *self, void *ptr) {
    (void)self;
    mimalloc_free(ptr);
}

static bool mimalloc_heap_open(latency_state *state) {
    foreign_malloc mimalloc;
    char error[200];
    if (!foreign_malloc_open("mimalloc", &mimalloc, error, sizeof(error))) {
        return false;
    }
    void *(*make)(void) = (void *(*)(void))foreign_malloc_function(&mimalloc, "mi_heap_new");
    state->heap_alloc =
        (void *(*)(void *, size_t))foreign_malloc_function(&mimalloc, "mi_heap_malloc_small");
    mimalloc_free = (void (*)(void *))foreign_malloc_function(&mimalloc, "mi_free");
    state->heap = make != NULL ? make() : NULL;
    state->source =
        (object_source){.self = state, .alloc = mimalloc_heap_alloc, .free = mimalloc_heap_free};
    return state->heap != NULL && state->heap_alloc != NULL && mimalloc_free != NULL;
}

static bool rival_open(latency_state *state, const char *rival) {
    if (strcmp(rival, "mimalloc-heap") == 0) {
        return mimalloc_heap_open(state);
    }
    return source_is_here(rival) && source_open(rival, &state->source);
}

bool latency_contest(object_table *tables, const object_options *options) {
    static const char *const rivals[] = {"pool",     "heap",     "mimalloc-heap", "mimalloc",
                                         "jemalloc", "tcmalloc", "glibc"};
    enum { COUNT = sizeof(rivals) / sizeof(rivals[0]) };
    latency_state *states[COUNT];
    size_t count = 0;
    for (size_t i = 0; i < COUNT; ++i) {
        states[count] = (latency_state *)calloc(1, sizeof(latency_state));
        if (states[count] == NULL || !rival_open(states[count], rivals[i])) {
            free(states[count]);
            continue;
        }
        ++count;
        for (size_t metric = 0; metric < PERCENTILES; ++metric) {
            object_table_rival(&tables[metric], rivals[i]);
        }
    }
    (void)options;
    uint64_t cost = cycles_cost();
    double speed = cycles_per_ns();
    for (int run = 0; run <= RUNS; ++run) {
        for (size_t i = 0; i < count; ++i) {
            run_once(states[i], cost, run <= 1); // The first only warms up.
        }
    }
    for (size_t i = 0; i < count; ++i) {
        qsort(states[i]->best, OPERATIONS, sizeof(uint32_t), compare_cycles);
        for (size_t metric = 0; metric < PERCENTILES; ++metric) {
            size_t at = (size_t)(shares[metric] * OPERATIONS);
            at = at < OPERATIONS ? at : OPERATIONS - 1;
            tables[metric].samples[i][0] = states[i]->best[at] / speed;
            tables[metric].repeats = 1;
        }
    }
    return true;
}

// Threads that come and go, and very many frames: memory must not grow with either.
#include "measures.h"
#include "sources.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- 500 threads -------------------------------------------------------------------------------

enum { THREADS = 500, AT_ONCE = 10, THREAD_BLOCKS = 1000, FREERS = 4 };

typedef struct crowd {
    object_source source;
    void *blocks[THREADS][THREAD_BLOCKS];
    atomic_size_t next;
    atomic_bool failed;
} crowd;

// Allocates for others, and exits.
static void *visitor(void *arg) {
    crowd *all = (crowd *)arg;
    void **blocks = all->blocks[atomic_fetch_add(&all->next, 1)];
    uint64_t random = 88172645463325252u + (uint64_t)(blocks - all->blocks[0]);
    for (size_t i = 0; i < THREAD_BLOCKS; ++i) {
        size_t size = 16 + (size_t)(random_next(&random) % 497);
        void *kept = all->source.alloc(all->source.self, size);
        void *gone = all->source.alloc(all->source.self, 64);
        if (kept == NULL || gone == NULL) {
            atomic_store(&all->failed, true);
            return NULL;
        }
        memset(kept, 1, size);
        all->source.free(all->source.self, gone);
        blocks[i] = kept;
    }
    return NULL;
}

// Frees what the visitors left: every FREERS-th of each.
static void *freer(void *arg) {
    crowd *all = (crowd *)arg;
    size_t first = atomic_fetch_add(&all->next, 1);
    for (size_t thread = 0; thread < THREADS; ++thread) {
        for (size_t i = first; i < THREAD_BLOCKS; i += FREERS) {
            all->source.free(all->source.self, all->blocks[thread][i]);
        }
    }
    return NULL;
}

static bool threads_run(void *(*run)(void *), crowd *all, size_t count) {
    pthread_t threads[AT_ONCE];
    for (size_t i = 0; i < count; ++i) {
        if (pthread_create(&threads[i], NULL, run, all) != 0) {
            return false;
        }
    }
    for (size_t i = 0; i < count; ++i) {
        pthread_join(threads[i], NULL);
    }
    return true;
}

// All of them come and go, and what they left is freed and given back.
static bool wave_passes(crowd *all, double *peak) {
    atomic_store(&all->next, 0);
    for (size_t come = 0; come < THREADS; come += AT_ONCE) {
        if (!threads_run(visitor, all, AT_ONCE)) {
            return false;
        }
    }
    *peak = resident_now();
    atomic_store(&all->next, 0);
    bool freed = threads_run(freer, all, FREERS);
    all->source.trim(all->source.self);
    return freed;
}

bool crowd_figure(const char *rival, double *values, const object_options *options) {
    static crowd all;
    (void)options;
    memset(&all, 1, sizeof(all));
    memset(&all, 0, sizeof(all));
    if (!source_open(rival, &all.source)) {
        return false;
    }
    // The base line has seen a few threads, and one block of each kind.
    if (!threads_run(visitor, &all, AT_ONCE)) {
        return false;
    }
    for (size_t thread = 0; thread < AT_ONCE; ++thread) {
        for (size_t i = 0; i < THREAD_BLOCKS; ++i) {
            all.source.free(all.source.self, all.blocks[thread][i]);
        }
    }
    all.source.trim(all.source.self);
    double start = resident_now();
    double peak = 0;
    if (!wave_passes(&all, &peak)) {
        return false;
    }
    double left = resident_now();
    values[0] = (left - start) / (peak - start) * 100;
    if (!wave_passes(&all, &peak)) {
        return false;
    }
    values[1] = (resident_now() - left) / (1 << 20);
    values[2] = (peak - start) / (1 << 20);
    return !atomic_load(&all.failed);
}

// ---- Frames without end ------------------------------------------------------------------------

enum { SOAK_BLOCKS = 20000, SOAK_STEPS = 16, CYCLES = 20 };

// Sizes move from 16 to 1 KiB and back in the course of a cycle, a window of 256 bytes at a time.
static size_t soak_size(size_t frame, size_t cycle, uint64_t random) {
    size_t half = cycle / 2;
    size_t at = frame % cycle;
    size_t low = (at < half ? at : cycle - at) * 768 / half;
    return 16 + low + (size_t)(random >> 40) % 256;
}

static void soak_frame(const object_source *source, void **blocks, size_t frame, size_t cycle,
                       uint64_t *random) {
    for (size_t i = 0; i < SOAK_STEPS; ++i) {
        uint64_t number = random_next(random);
        void **block = &blocks[(uint32_t)number % SOAK_BLOCKS];
        if (*block != NULL) {
            source->free(source->self, *block);
        }
        *block = source->alloc(source->self, soak_size(frame, cycle, number));
        if (*block == NULL) {
            abort();
        }
        memset(*block, 1, 8);
    }
    source->frame(source->self);
}

// Memory is looked at where a cycle ends: there all of them have the same sizes live. The figure is
// the most in the last quarter over the most in the second.
bool soak_figure(const char *rival, double *values, const object_options *options) {
    static void *blocks[SOAK_BLOCKS];
    object_source source;
    memset(blocks, 1, sizeof(blocks));
    memset(blocks, 0, sizeof(blocks));
    double start = resident_now();
    if (!source_open(rival, &source)) {
        return false;
    }
    size_t cycle = options->soak / CYCLES;
    double early = 0;
    double late = 0;
    uint64_t random = 88172645463325252u;
    for (size_t i = 0; i < CYCLES; ++i) {
        for (size_t frame = 0; frame < cycle; ++frame) {
            soak_frame(&source, blocks, frame, cycle, &random);
        }
        double now = (resident_now() - start) / (1 << 20);
        if (options->is_verbose) {
            printf("  %-10s after %10zu frames: %7.2f MiB resident\n", rival, (i + 1) * cycle, now);
            fflush(stdout);
        }
        early = i >= CYCLES / 4 && i < CYCLES / 2 && now > early ? now : early;
        late = i >= CYCLES * 3 / 4 && now > late ? now : late;
    }
    values[0] = late / early;
    values[1] = late;
    return true;
}

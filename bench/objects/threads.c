// Several threads: each works for itself and ends, its blocks going on to its successor (larson);
// one allocates and another frees (ring); two allocate and a third only frees.
#include "measures.h"
#include "sources.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- Larson ------------------------------------------------------------------------------------

enum { CHAINS = 2, CHAIN_BLOCKS = 5000, CHAIN_THREADS = 20, THREAD_STEPS = 100000 };
enum { SMALLEST = 8, LARGEST = 1000 };

// A chain of threads, one at a time: each works on the blocks of the one before.
typedef struct chain {
    const object_source *source;
    void *blocks[CHAIN_BLOCKS];
    uint64_t random;
    int threads_left;
    atomic_bool is_done;
    bool failed;
} chain;

static void *chain_block(const chain *self, uint64_t random) {
    size_t size = SMALLEST + (size_t)(random >> 32) % (LARGEST - SMALLEST + 1);
    char *ptr = (char *)self->source->alloc(self->source->self, size);
    if (ptr != NULL) {
        ptr[0] = (char)size;
        ptr[size - 1] = (char)size;
    }
    return ptr;
}

static bool thread_start(void *(*run)(void *), void *arg) {
    pthread_t thread;
    return pthread_create(&thread, NULL, run, arg) == 0 && pthread_detach(thread) == 0;
}

static void *chain_thread(void *arg) {
    chain *self = (chain *)arg;
    const object_source *source = self->source;
    uint64_t random = self->random;
    bool failed = false;
    for (size_t i = 0; i < THREAD_STEPS; ++i) {
        uint64_t number = random_next(&random);
        void **block = &self->blocks[(uint32_t)number % CHAIN_BLOCKS];
        source->free(source->self, *block);
        *block = chain_block(self, number);
        failed = failed || *block == NULL;
    }
    self->random = random;
    self->failed = self->failed || failed;
    if (--self->threads_left == 0 || !thread_start(chain_thread, self)) {
        self->failed = self->failed || self->threads_left != 0;
        atomic_store(&self->is_done, true);
    }
    return NULL;
}

bool larson_figure(const char *rival, double *values, const object_options *options) {
    static chain chains[CHAINS];
    object_source source;
    (void)options;
    if (!source_open(rival, &source)) {
        return false;
    }
    for (size_t i = 0; i < CHAINS; ++i) {
        chains[i].source = &source;
        chains[i].random = 88172645463325252u + i;
        chains[i].threads_left = CHAIN_THREADS;
        for (size_t block = 0; block < CHAIN_BLOCKS; ++block) {
            chains[i].blocks[block] = chain_block(&chains[i], random_next(&chains[i].random));
        }
    }
    uint64_t start = bench_clock_ns();
    for (size_t i = 0; i < CHAINS; ++i) {
        if (!thread_start(chain_thread, &chains[i])) {
            return false;
        }
    }
    bool failed = false;
    for (size_t i = 0; i < CHAINS; ++i) {
        while (!atomic_load(&chains[i].is_done)) {
            sched_yield();
        }
        failed = failed || chains[i].failed;
    }
    double seconds = (double)(bench_clock_ns() - start) / 1e9;
    values[0] = (double)CHAINS * CHAIN_THREADS * THREAD_STEPS / seconds / 1e6;
    return !failed;
}

// ---- A ring ------------------------------------------------------------------------------------

enum { RING_SLOTS = 4096, RING_BATCH = 32, WINDOW = 200000, SAMPLES = 50 };

// One thread puts in, one takes out; both tell the other only now and then how far they are.
typedef struct ring {
    _Alignas(128) atomic_size_t head; // Taken out up to here.
    _Alignas(128) atomic_size_t tail; // Put in up to here.
    _Alignas(128) void *slots[RING_SLOTS];
    size_t items;
    const object_source *source;
    atomic_bool failed;
} ring;

static void wait_turn(unsigned *tries) {
    if (++*tries % 256 == 0) {
        sched_yield();
    } else {
        __asm__ volatile("" : : : "memory");
    }
}

static void *ring_producer(void *arg) {
    ring *self = (ring *)arg;
    const object_source *source = self->source;
    size_t limit = RING_SLOTS;
    for (size_t i = 0; i < self->items; ++i) {
        unsigned tries = 0;
        while (i == limit) {
            size_t head = atomic_load_explicit(&self->head, memory_order_acquire);
            limit = head + RING_SLOTS;
            wait_turn(&tries);
        }
        uint64_t *ptr = (uint64_t *)source->alloc(source->self, 64);
        if (ptr == NULL) {
            atomic_store(&self->failed, true);
            abort();
        }
        *ptr = i;
        self->slots[i % RING_SLOTS] = ptr;
        if ((i + 1) % RING_BATCH == 0 || i + 1 == self->items) {
            atomic_store_explicit(&self->tail, i + 1, memory_order_release);
        }
    }
    return NULL;
}

// The next item; `taken` of them were taken before. Every so many is looked at: it must hold its
// number. To read all of them would mostly measure how the memory moves from core to core.
static void *ring_take(ring *self, size_t taken) {
    unsigned tries = 0;
    while (atomic_load_explicit(&self->tail, memory_order_acquire) == taken) {
        wait_turn(&tries);
    }
    uint64_t *ptr = (uint64_t *)self->slots[taken % RING_SLOTS];
    if ((taken + 1) % RING_BATCH == 0) {
        if (*ptr != taken) {
            atomic_store(&self->failed, true);
        }
        atomic_store_explicit(&self->head, taken + 1, memory_order_release);
    }
    return ptr;
}

// Takes resident memory at times, after a fifth of the items.
typedef struct sampler {
    size_t every;
    size_t next;
    double first;
    double most;
} sampler;

static sampler sampler_make(size_t items) {
    return (sampler){.every = items / SAMPLES, .next = items / 5};
}

static void sampler_look(sampler *self, size_t done) {
    if (done < self->next) {
        return;
    }
    double now = resident_now();
    self->first = self->first == 0 ? now : self->first;
    self->most = now > self->most ? now : self->most;
    self->next += self->every;
}

bool ring_figure(const char *rival, double *values, const object_options *options) {
    static ring one;
    object_source source;
    if (!source_open(rival, &source)) {
        return false;
    }
    one.items = options->items;
    one.source = &source;
    sampler resident = sampler_make(one.items);
    uint64_t start = bench_clock_ns();
    pthread_t producer;
    if (pthread_create(&producer, NULL, ring_producer, &one) != 0) {
        return false;
    }
    for (size_t i = 0; i < one.items; ++i) {
        source.free(source.self, ring_take(&one, i));
        sampler_look(&resident, i);
    }
    pthread_join(producer, NULL);
    values[0] = (double)(bench_clock_ns() - start) / (double)one.items;
    values[1] = (resident.most - resident.first) / (1 << 20);
    return !atomic_load(&one.failed);
}

// A window of objects stays live: each that comes takes the place of a random one, which is freed.
bool freeing_figure(const char *rival, double *values, const object_options *options) {
    static ring rings[2];
    static void *window[WINDOW];
    object_source source;
    double before = resident_now();
    if (!source_open(rival, &source)) {
        return false;
    }
    memset(window, 0, sizeof(window));
    pthread_t producers[2];
    sampler resident = sampler_make(options->items);
    size_t each = options->items / 2;
    for (size_t i = 0; i < 2; ++i) {
        rings[i].items = each;
        rings[i].source = &source;
        if (pthread_create(&producers[i], NULL, ring_producer, &rings[i]) != 0) {
            return false;
        }
    }
    uint64_t random = 88172645463325252u;
    for (size_t i = 0; i < 2 * each; ++i) {
        // By batches, in turn.
        size_t from = i / RING_BATCH % 2;
        size_t taken = i / (2 * RING_BATCH) * RING_BATCH + i % RING_BATCH;
        if (taken >= each) {
            break;
        }
        void **place = &window[random_next(&random) % WINDOW];
        if (*place != NULL) {
            source.free(source.self, *place);
        }
        *place = ring_take(&rings[from], taken);
        sampler_look(&resident, i);
    }
    for (size_t i = 0; i < 2; ++i) {
        pthread_join(producers[i], NULL);
    }
    double used = (double)sizeof(window) + (double)sizeof(rings);
    values[0] = (resident.most - before - used) / (64.0 * WINDOW);
    return !atomic_load(&rings[0].failed) && !atomic_load(&rings[1].failed);
}

// The heap against a model: random operations of all kinds, alone and from four threads that hand
// blocks to each other; every call of the backend refused in turn; threads that come and go.
//
// After every schedule the sum over tags is the sum over live blocks is what the model says.
#include "core_fixture.h"
#include "fault_backend.h"

#include <framealloc/heap.h>
#include <stdlib.h>

enum { TAGS = 6, SLOTS = 300, THREADS = 4, RING = 64 };

typedef struct block {
    unsigned char *ptr;
    size_t size;
    size_t align;
    fa_tag tag;
    unsigned char value;
} block;

typedef struct world {
    fa_context *ctx;
    check_rng rng;
    fa_tag tags[TAGS];
    size_t size_max;
    block blocks[SLOTS];
} world;

static void fill(block *b) {
    if (b->size != 0) {
        memset(b->ptr, b->value, b->size);
    }
}

static bool holds(const block *b, size_t size) {
    for (size_t at = 0; at < size; at += at < 64 || at + 65 > size ? 1 : 53) {
        if (b->ptr[at] != b->value) {
            return CHECK_EQ(at, SIZE_MAX);
        }
    }
    return true;
}

static void make_block(world *w, block *b) {
    static const size_t aligns[] = {16, 16, 16, 16, 32, 64, 128, 4096, 65536, 1048576};
    size_t size = check_rng_size(&w->rng, w->size_max);
    fa_tag tag = w->tags[check_rng_below(&w->rng, TAGS)];
    size_t align = aligns[check_rng_below(&w->rng, sizeof(aligns) / sizeof(aligns[0]))];
    CHECK_EQ(fa_tag_push(w->ctx, tag), FA_OK);
    unsigned kind = (unsigned)check_rng_below(&w->rng, 4);
    unsigned char *ptr = kind == 0   ? fa_heap_calloc(w->ctx, 1, size)
                         : kind == 1 ? fa_heap_alloc_aligned(w->ctx, size, align)
                         : kind == 2 ? fa_heap_realloc(w->ctx, NULL, size)
                                     : fa_heap_alloc(w->ctx, size);
    CHECK_EQ(fa_tag_pop(w->ctx), FA_OK);
    if (ptr == NULL) {
        return;
    }
    *b = (block){ptr, size, kind == 1 ? align : 16, tag, (unsigned char)check_rng_next(&w->rng)};
    CHECK_EQ((uintptr_t)ptr % b->align, 0);
    CHECK_GE(fa_heap_usable_size(w->ctx, ptr), size);
    if (kind == 0) {
        b->value = 0;
        CHECK(holds(b, size));
    }
    fill(b);
}

static void resize_block(world *w, block *b) {
    size_t size = check_rng_chance(&w->rng, 50) ? check_rng_size(&w->rng, w->size_max)
                                                : b->size + check_rng_below(&w->rng, 2000);
    unsigned char *ptr = fa_heap_realloc(w->ctx, b->ptr, size);
    if (ptr == NULL) {
        CHECK(holds(b, b->size));
        return;
    }
    b->ptr = ptr;
    CHECK(holds(b, size < b->size ? size : b->size));
    CHECK_EQ((uintptr_t)ptr % b->align, 0);
    b->size = size;
    fill(b);
}

static void end_block(world *w, block *b) {
    CHECK(holds(b, b->size));
    CHECK_EQ(fa_heap_tag(w->ctx, b->ptr).id, b->tag.id);
    if (check_rng_chance(&w->rng, 30)) {
        fa_heap_free_sized(w->ctx, b->ptr, b->size);
    } else {
        fa_heap_free(w->ctx, b->ptr);
    }
    b->ptr = NULL;
}

static void step(world *w) {
    block *b = &w->blocks[check_rng_below(&w->rng, SLOTS)];
    if (b->ptr == NULL) {
        make_block(w, b);
    } else if (check_rng_chance(&w->rng, 40)) {
        resize_block(w, b);
    } else {
        end_block(w, b);
    }
}

// ---- Agreement ---------------------------------------------------------------------------------

typedef struct sums {
    size_t blocks;
    size_t bytes;
    size_t by_tag[TAGS];
    const world *w;
} sums;

static bool add_block(const fa_heap_block *seen, void *user) {
    sums *all = user;
    all->blocks += 1;
    all->bytes += seen->charged;
    for (size_t i = 0; i < TAGS; i++) {
        all->by_tag[i] += seen->tag.id == all->w->tags[i].id ? seen->charged : 0;
    }
    return true;
}

// No other thread is inside.
static void check_agreement(world *w, size_t live) {
    sums all = {.w = w};
    fa_heap_stats_result stats;
    CHECK_EQ(fa_heap_stats(w->ctx, &stats), FA_OK);
    CHECK_EQ(stats.live_blocks, live);
    CHECK_EQ(stats_of(w->ctx).heap_bytes, stats.live_bytes);
    for (int again = 0; again < 2; again++) { // The walk changes nothing.
        all = (sums){.w = w};
        CHECK_EQ(fa_heap_each(w->ctx, add_block, &all), FA_OK);
        CHECK_EQ(all.blocks, live);
        CHECK_EQ(all.bytes, stats.live_bytes);
        CHECK_EQ(stats_of(w->ctx).heap_bytes, all.bytes);
        for (size_t i = 0; i < TAGS; i++) {
            CHECK_EQ(tag_stats_of(w->ctx, w->tags[i]).current_bytes, all.by_tag[i]);
        }
        CHECK_EQ(tag_stats_of(w->ctx, FA_TAG_ROOT).current_bytes, all.bytes);
    }
    CHECK_EQ(fa_heap_check(w->ctx), 0);
}

static size_t count_live(const world *w) {
    size_t live = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        live += w->blocks[i].ptr != NULL ? 1 : 0;
    }
    return live;
}

static void world_open(world *w, const fa_config *config, size_t size_max) {
    static const char *const names[TAGS] = {"a", "b", "c", "d", "e", "f"};
    memset(w, 0, sizeof(*w));
    w->rng = check_rng_make(check_seed());
    w->size_max = size_max;
    w->ctx = context_open(config);
    for (size_t i = 0; i < TAGS; i++) {
        w->tags[i] = fa_tag_register(w->ctx, names[i]);
    }
}

static void world_empty(world *w) {
    for (size_t i = 0; i < SLOTS; i++) {
        if (w->blocks[i].ptr != NULL) {
            end_block(w, &w->blocks[i]);
        }
    }
}

static void set_budget(world *w, size_t index, size_t hard) {
    CHECK_EQ(fa_budget_set(w->ctx, w->tags[index], hard == 0 ? NULL : &(fa_budget){.hard = hard}),
             FA_OK);
}

static void play_alone(const fa_config *config, size_t steps, size_t size_max) {
    static world w;
    world_open(&w, config, size_max);
    for (size_t i = 0; i < steps; i++) {
        check_note("step %zu", i);
        step(&w);
        if (i % 1000 == 500) {
            set_budget(&w, i / 1000 % TAGS, i % 2000 < 1000 ? 200000 : 0);
        }
        if (i % 997 == 0) {
            check_agreement(&w, count_live(&w));
        }
        if (i % 3001 == 0) {
            CHECK_EQ(fa_context_trim(w.ctx, 0), FA_OK);
        }
    }
    check_agreement(&w, count_live(&w));
    world_empty(&w);
    check_agreement(&w, 0);
    context_close(w.ctx);
}

static void random_operations_agree(void) {
    play_alone(NULL, check_scale(60000), 300000);
}

static void random_operations_on_huge_blocks_agree(void) {
    play_alone(NULL, check_scale(600), 50 * MIB);
}

static void random_operations_agree_while_checked(void) {
    play_alone(&(fa_config){.checks = FA_CHECK_BLOCKS}, check_scale(15000), 100000);
}

static void random_operations_agree_while_sites_are_noted(void) {
    play_alone(&(fa_config){.checks = FA_CHECK_SITES}, check_scale(15000), 100000);
}

static void random_operations_agree_on_other_backends(void) {
    for (int kind = 0; kind < 4; kind++) {
        fault_backend faults;
        fault_backend_make(&faults, kind == 1 ? FAULT_BLOCKS : FAULT_PAGES);
        faults.has_rubbish = true;
        faults.reserve_most = kind == 2 ? 64 * MIB : kind == 3 ? MIB : 0;
        play_alone(&(fa_config){.backend = &faults.backend}, check_scale(10000), 200000);
        fault_backend_end(&faults);
    }
}

// ---- Refusals ----------------------------------------------------------------------------------

static void every_call_of_the_backend_fails_in_turn(void) {
    static world w;
    uint64_t at = 1;
    bool was_reached = true;
    for (; was_reached && at < check_scale(400); at++) {
        fault_backend faults;
        fault_backend_make(&faults, FAULT_PAGES);
        faults.has_rubbish = true;
        world_open(&w, &(fa_config){.backend = &faults.backend}, 600000);
        w.rng = check_rng_make(at);
        uint64_t first = faults.calls;
        fault_backend_set(&faults, at % 3 == 0 ? FAULT_FROM : FAULT_NTH, first + at, 0, 0);
        for (size_t i = 0; i < 1500; i++) {
            step(&w);
        }
        was_reached = faults.refusals != 0;
        check_note("call %u", (unsigned)at);
        fault_backend_switch(&faults, FAULT_NONE);
        check_agreement(&w, count_live(&w));
        world_empty(&w);
        check_agreement(&w, 0);
        context_close(w.ctx);
        fault_backend_end(&faults);
    }
    CHECK_GT(at, 2);
}

static void random_refusals_lose_nothing(void) {
    static world w;
    for (unsigned percent = 5; percent <= 95; percent += 30) {
        fault_backend faults;
        fault_backend_make(&faults, percent == 35 ? FAULT_BLOCKS : FAULT_PAGES);
        world_open(&w, &(fa_config){.backend = &faults.backend}, 3 * MIB);
        fault_backend_set(&faults, FAULT_RANDOM, 0, percent, check_seed());
        for (size_t i = 0; i < check_scale(10000); i++) {
            step(&w);
        }
        check_agreement(&w, count_live(&w));
        world_empty(&w);
        check_agreement(&w, 0);
        context_close(w.ctx);
        fault_backend_end(&faults);
    }
}

// ---- Threads -----------------------------------------------------------------------------------

typedef struct shared_ring {
    atomic_flag lock;
    size_t count;
    block blocks[RING];
} shared_ring;

typedef struct crew_member {
    world w;
    shared_ring *ring;
    check_barrier *barrier;
    size_t steps;
} crew_member;

static void ring_enter(shared_ring *ring) {
    while (atomic_flag_test_and_set_explicit(&ring->lock, memory_order_acquire)) {
        check_thread_yield();
    }
}

static void ring_leave(shared_ring *ring) {
    atomic_flag_clear_explicit(&ring->lock, memory_order_release);
}

// Gives a block of one's own to the others and takes one of theirs.
static void hand_over(crew_member *m) {
    block *mine = &m->w.blocks[check_rng_below(&m->w.rng, SLOTS)];
    ring_enter(m->ring);
    if (mine->ptr != NULL && m->ring->count < RING) {
        m->ring->blocks[m->ring->count++] = *mine;
        mine->ptr = NULL;
    } else if (mine->ptr == NULL && m->ring->count != 0) {
        *mine = m->ring->blocks[--m->ring->count];
    }
    ring_leave(m->ring);
}

static void crew_work(void *arg) {
    crew_member *m = arg;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < m->steps; i++) {
            step(&m->w);
            hand_over(m);
        }
        check_barrier_wait(m->barrier); // The main thread looks.
        check_barrier_wait(m->barrier);
    }
}

static void play_together(const fa_config *config) {
    static crew_member crew[THREADS];
    static shared_ring ring;
    world_open(&crew[0].w, config, 100000);
    set_budget(&crew[0].w, 1, 500000);
    ring = (shared_ring){.lock = ATOMIC_FLAG_INIT};
    check_barrier *barrier = check_barrier_create(THREADS + 1);
    check_thread *threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        crew[i].w = crew[0].w;
        crew[i].w.rng = check_rng_make(check_seed() + i);
        crew[i].ring = &ring;
        crew[i].barrier = barrier;
        crew[i].steps = check_scale(6000);
    }
    for (size_t i = 0; i < THREADS; i++) {
        threads[i] = check_thread_start(crew_work, &crew[i]);
    }
    for (int round = 0; round < 3; round++) {
        check_barrier_wait(barrier);
        size_t live = ring.count;
        for (size_t i = 0; i < THREADS; i++) {
            live += count_live(&crew[i].w);
        }
        check_agreement(&crew[0].w, live);
        check_barrier_wait(barrier);
    }
    for (size_t i = 0; i < THREADS; i++) {
        check_thread_join(threads[i]);
        world_empty(&crew[i].w);
    }
    while (ring.count != 0) {
        end_block(&crew[0].w, &ring.blocks[--ring.count]);
    }
    check_agreement(&crew[0].w, 0);
    check_barrier_destroy(barrier);
    context_close(crew[0].w.ctx);
}

static void four_threads_agree(void) {
    play_together(NULL);
}

static void four_threads_agree_while_checked(void) {
    play_together(&(fa_config){.checks = FA_CHECK_BLOCKS});
}

// ---- Threads that come and go ------------------------------------------------------------------

enum { VISITORS = 250, EACH = 40 };

typedef struct visitor {
    fa_context *ctx;
    void *blocks[EACH];
} visitor;

static void visit(void *arg) {
    visitor *v = arg;
    for (size_t i = 0; i < EACH; i++) {
        void *gone = fa_heap_alloc(v->ctx, 100 + i * 10);
        v->blocks[i] = fa_heap_alloc(v->ctx, 64 + i * 100);
        REQUIRE_NOT_NULL(v->blocks[i]);
        memset(v->blocks[i], 1, 64);
        fa_heap_free(v->ctx, gone);
    }
}

static void blocks_outlive_their_threads(void) {
    static visitor visitors[VISITORS];
    fa_context *ctx = context_open(NULL);
    fa_heap_free(ctx, fa_heap_alloc(ctx, 10));
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    size_t base = stats_of(ctx).committed_bytes - stats_of(ctx).overhead_bytes;
    for (size_t i = 0; i < VISITORS; i++) {
        visitors[i].ctx = ctx;
        check_thread_join(check_thread_start(visit, &visitors[i]));
    }
    CHECK_EQ(stats_of(ctx).allocations, 2 * VISITORS * EACH + 1);
    for (size_t i = 0; i < VISITORS; i++) {
        for (size_t k = 0; k < EACH; k++) {
            fa_heap_free(ctx, visitors[i].blocks[k]);
        }
    }
    CHECK_EQ(stats_of(ctx).heap_bytes, 0);
    CHECK_EQ(stats_of(ctx).frees, 2 * VISITORS * EACH + 1);
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    CHECK_LE(stats_of(ctx).committed_bytes - stats_of(ctx).overhead_bytes, base + 2 * 65536);
    context_close(ctx);
}

TEST_SUITE(heap_model, TEST(random_operations_agree), TEST(random_operations_on_huge_blocks_agree),
           TEST(random_operations_agree_while_checked),
           TEST(random_operations_agree_while_sites_are_noted),
           TEST(random_operations_agree_on_other_backends),
           TEST(every_call_of_the_backend_fails_in_turn), TEST(random_refusals_lose_nothing),
           TEST(four_threads_agree), TEST(four_threads_agree_while_checked),
           TEST(blocks_outlive_their_threads));

// Object accounts of many threads: what one thread charges another uncharges, threads come and go,
// budgets are set meanwhile. Whenever nobody is inside a call, every figure equals a model's.
#include "objects_fixture.h"

#include <stdio.h>

enum { THREADS = 6, TAGS = 12, STOCK = 3000 };

// ---- A model ----

typedef struct block {
    fa__holder holder;
    uint32_t tag;
    size_t bytes;
} block;

typedef struct world {
    fa_context *context;
    fa_tag tags[TAGS]; // The root first.
    check_barrier *barrier;
    size_t steps;
    atomic_flag lock; // Guards what follows.
    block stock[STOCK];
    size_t count;
    // The model: bytes of each tag alone, and what was counted.
    atomic_size_t bytes[2][TAGS];
    atomic_size_t allocations[TAGS];
    atomic_size_t frees;
    atomic_size_t refusals;
    size_t rounds;
} world;

typedef struct worker {
    world *world;
    unsigned number;
    size_t round;
} worker;

static bool stock_swap(world *w, check_rng *rng, block *item, bool is_put) {
    while (atomic_flag_test_and_set(&w->lock)) {
        check_thread_yield();
    }
    bool done = is_put ? w->count < STOCK : w->count > 0;
    if (done && is_put) {
        w->stock[w->count] = *item;
        w->count += 1;
    } else if (done) {
        size_t index = check_rng_below(rng, w->count);
        *item = w->stock[index];
        w->count -= 1;
        w->stock[index] = w->stock[w->count];
    }
    atomic_flag_clear(&w->lock);
    return done;
}

static void give_back(world *w, const block *item) {
    fa_context *ctx = w->context;
    fa__thread *thread = self_in(ctx);
    if (item->bytes % 97 == 0) { // As if there were no memory for this thread's account.
        fa__object_uncharge_orphan(ctx, item->holder, w->tags[item->tag].id, item->bytes);
    } else {
        fa__account *account = fa__object_of(thread, item->holder, w->tags[item->tag].id);
        REQUIRE_NOT_NULL(account);
        fa__object_uncharge(account, item->bytes);
    }
    fa__object_count_free(thread);
    atomic_fetch_add(&w->frees, 1);
    atomic_fetch_sub(&w->bytes[item->holder == HEAP][item->tag], item->bytes);
}

static void add_to_model(world *w, const block *item) {
    atomic_fetch_add(&w->bytes[item->holder == HEAP][item->tag], item->bytes);
    atomic_fetch_add(&w->allocations[item->tag], 1);
}

// Charges the current tag, or a named one.
static void take_one(world *w, check_rng *rng) {
    fa__thread *thread = self_in(w->context);
    block item = {check_rng_chance(rng, 50) ? POOL : HEAP, (uint32_t)check_rng_below(rng, TAGS),
                  check_rng_size(rng, check_rng_chance(rng, 2) ? 200000 : 2000) + 1};
    bool is_current = check_rng_chance(rng, 50);
    if (is_current) {
        CHECK_EQ(fa_tag_push(w->context, w->tags[item.tag]), FA_OK);
    }
    fa__account *account = is_current ? fa__object_current(thread, item.holder)
                                      : fa__object_of(thread, item.holder, w->tags[item.tag].id);
    REQUIRE_NOT_NULL(account);
    if (is_current) {
        CHECK_EQ(fa_tag_pop(w->context), FA_OK);
    }
    if (!fa__object_charge(thread, account, item.bytes, "model")) {
        atomic_fetch_add(&w->refusals, 1);
        return;
    }
    fa__object_count_alloc(account);
    add_to_model(w, &item);
    if (!stock_swap(w, rng, &item, true)) {
        give_back(w, &item);
    }
}

// Several of one size; they go to the stock one by one.
static void take_some(world *w, check_rng *rng) {
    fa__thread *thread = self_in(w->context);
    block item = {POOL, (uint32_t)check_rng_below(rng, TAGS), 16 * check_rng_between(rng, 1, 20)};
    fa__account *account = fa__object_of(thread, item.holder, w->tags[item.tag].id);
    REQUIRE_NOT_NULL(account);
    size_t want = check_rng_between(rng, 1, 50);
    size_t got = fa__object_charge_some(thread, account, item.bytes, want, "model");
    CHECK_LE(got, want);
    if (got == 0) {
        atomic_fetch_add(&w->refusals, 1);
    }
    for (size_t i = 0; i < got; i++) {
        fa__object_count_alloc(account);
        add_to_model(w, &item);
        if (!stock_swap(w, rng, &item, true)) {
            give_back(w, &item);
        }
    }
}

static void change_budget(world *w, check_rng *rng) {
    fa_tag tag = w->tags[check_rng_below(rng, TAGS)];
    fa_budget budget = {.hard = check_rng_between(rng, 1, 400000)};
    bool removes = check_rng_chance(rng, 60);
    CHECK_EQ(fa_budget_set(w->context, tag, removes ? NULL : &budget), FA_OK);
}

// What is not exact while others work, but must never be nonsense.
static void look(world *w, check_rng *rng) {
    const size_t most = (size_t)STOCK * 210000;
    fa_tag tag = w->tags[check_rng_below(rng, TAGS)];
    CHECK_LE(stats_of(w->context).total_bytes, most);
    CHECK_LE(tag_stats_of(w->context, tag).current_bytes, most);
    CHECK_LE(thread_stats_of(w->context, NULL).pool_bytes, most);
    (void)fa_budget_remaining(w->context, tag);
}

static void work(void *arg) {
    const worker *self = (const worker *)arg;
    world *w = self->world;
    check_rng rng = check_rng_make(check_seed() + self->number + 100 * self->round);
    unsigned taking = self->number % 3 == 0 ? 90 : (self->number % 3 == 1 ? 50 : 20);
    CHECK_EQ(fa_thread_attach(w->context, NULL), FA_OK);
    for (size_t i = 0; i < w->steps; i++) {
        block item;
        size_t what = check_rng_below(&rng, 2000);
        if (what == 0) {
            change_budget(w, &rng);
        } else if (what == 1) {
            CHECK_EQ(fa_thread_detach(w->context), FA_OK);
            CHECK_EQ(fa_thread_attach(w->context, NULL), FA_OK);
        } else if (what < 6) {
            look(w, &rng);
        } else if (what < 50) {
            take_some(w, &rng);
        } else if (check_rng_chance(&rng, taking)) {
            take_one(w, &rng);
        } else if (stock_swap(w, &rng, &item, false)) {
            give_back(w, &item);
        }
    }
    check_barrier_wait(w->barrier);
    check_barrier_wait(w->barrier); // The test has looked.
}

static bool is_under(world *w, fa_tag tag, fa_tag ancestor) {
    while (tag.id != ancestor.id && tag.id != 0) {
        tag = fa_tag_parent(w->context, tag);
    }
    return tag.id == ancestor.id;
}

// Everything equals the model. Nobody is inside a call.
static void check_world(world *w) {
    fa_stats stats = stats_of(w->context);
    size_t total[2] = {0, 0};
    size_t allocations = 0;
    for (size_t t = 0; t < TAGS; t++) {
        size_t bytes = 0;
        size_t counted = 0;
        for (size_t i = 0; i < TAGS; i++) {
            if (is_under(w, w->tags[i], w->tags[t])) {
                bytes += atomic_load(&w->bytes[0][i]) + atomic_load(&w->bytes[1][i]);
                counted += atomic_load(&w->allocations[i]);
            }
        }
        fa_tag_stats_result got = tag_stats_of(w->context, w->tags[t]);
        check_note("tag %zu", t);
        CHECK_EQ(got.current_bytes, bytes);
        CHECK_EQ(got.allocations, counted);
        CHECK_GE(got.peak_bytes, bytes);
        CHECK_GE(charged_to(w->context, w->tags[t]), bytes);
        total[0] += atomic_load(&w->bytes[0][t]);
        total[1] += atomic_load(&w->bytes[1][t]);
        allocations += atomic_load(&w->allocations[t]);
    }
    CHECK_EQ(stats.pool_bytes, total[0]);
    CHECK_EQ(stats.heap_bytes, total[1]);
    CHECK_EQ(stats.total_bytes, total[0] + total[1]);
    CHECK_EQ(stats.allocations, allocations);
    CHECK_EQ(stats.frees, atomic_load(&w->frees));
    CHECK_EQ(stats.refusals, atomic_load(&w->refusals));
    check_note("%s", "");
}

// When all other threads are gone and nothing is leased, what is charged is what is in use.
static void check_nothing_leased(world *w) {
    (void)fa_budget_remaining(w->context, FA_TAG_ROOT);
    fa_stats stats = stats_of(w->context);
    CHECK_EQ(charged_to(w->context, FA_TAG_ROOT), stats.total_bytes);
    const fa__tag *root = fa__tag_get(w->context, FA_TAG_ROOT);
    CHECK_EQ(fa__load(&root->object_charged), stats.total_bytes);
}

static void world_open(world *w) {
    memset(w, 0, sizeof(*w));
    atomic_flag_clear(&w->lock);
    w->context = context_open(NULL);
    for (unsigned i = 1; i < TAGS; i++) {
        char path[64];
        snprintf(path, sizeof(path), i % 3 == 0 ? "a/b/c%u" : (i % 3 == 1 ? "a/d%u" : "e%u"), i);
        w->tags[i] = fa_tag_register(w->context, path);
    }
    w->barrier = check_barrier_create(THREADS + 1);
    CHECK_EQ(fa_thread_attach(w->context, "main"), FA_OK);
}

static void world_close(world *w) {
    check_rng rng = check_rng_make(1);
    block item;
    while (stock_swap(w, &rng, &item, false)) {
        give_back(w, &item);
    }
    check_world(w);
    CHECK_EQ(stats_of(w->context).total_bytes, 0);
    check_nothing_leased(w);
    check_barrier_destroy(w->barrier);
    context_close(w->context);
}

static void every_figure_equals_the_model_whatever_threads_do(void) {
    static world w;
    world_open(&w);
    for (size_t round = 0; round < 8; round++) {
        worker all[THREADS];
        check_thread *threads[THREADS];
        w.steps = check_scale(20000);
        for (unsigned i = 0; i < THREADS; i++) {
            all[i] = (worker){&w, i, round};
            threads[i] = check_thread_start(work, &all[i]);
        }
        check_barrier_wait(w.barrier);
        check_world(&w); // They are attached, and hold leases.
        check_barrier_wait(w.barrier);
        for (unsigned i = 0; i < THREADS; i++) {
            check_thread_join(threads[i]);
        }
        check_world(&w);
        check_nothing_leased(&w);
    }
    CHECK_GT(atomic_load(&w.refusals), 0);
    world_close(&w);
}

// ---- One charges, another uncharges ----

enum { RING = 256 };

typedef struct pipe {
    fa_context *context;
    fa_tag tag;
    fa__holder holder;
    size_t items;
    atomic_size_t sent;
    atomic_size_t received;
    atomic_size_t charged_peak; // The most that was charged to the tag, as far as seen.
} pipe;

static void produce(pipe *p) {
    for (size_t i = 0; i < p->items; i++) {
        while (i - atomic_load(&p->received) >= RING) {
            check_thread_yield();
        }
        REQUIRE(charge(p->context, p->holder, p->tag, 64));
        atomic_store(&p->sent, i + 1);
        size_t charged = charged_to(p->context, p->tag);
        if (charged > atomic_load(&p->charged_peak)) {
            atomic_store(&p->charged_peak, charged);
        }
    }
}

static void consume(pipe *p) {
    for (size_t i = 0; i < p->items; i++) {
        while (i >= atomic_load(&p->sent)) {
            check_thread_yield();
        }
        uncharge(p->context, p->holder, p->tag, 64);
        atomic_store(&p->received, i + 1);
    }
}

static void run_side(void *arg) {
    // The first half of the threads sends, the other receives.
    static atomic_size_t turn;
    pipe *p = (pipe *)arg;
    if (atomic_fetch_add(&turn, 1) % 2 == 0) {
        produce(p);
    } else {
        consume(p);
    }
}

static void what_is_charged_stays_bounded_when_one_takes_and_another_gives(void) {
    for (int i = 0; i < 2; i++) {
        pipe p = {.context = context_open(NULL), .holder = i == 0 ? POOL : HEAP};
        p.tag = fa_tag_register(p.context, "tag");
        p.items = check_scale(400000);
        check_threads_run(2, run_side, &p, 0);
        const size_t most = (size_t)RING * 64 + 64;
        CHECK_EQ(current_of(p.context, p.tag), 0);
        CHECK_EQ(charged_to(p.context, p.tag), 0);
        // Each of the two accounts holds at most two leases unused.
        CHECK_LE(atomic_load(&p.charged_peak), most + 4 * LEASE);
        CHECK_LE(tag_stats_of(p.context, p.tag).peak_bytes, most + 4 * LEASE);
        CHECK_LE(stats_of(p.context).peak_bytes, most + 4 * LEASE);
        context_close(p.context);
    }
}

// ---- Others' figures ----

typedef struct pause_point {
    fa_context *context;
    check_barrier *barrier;
} pause_point;

static void charge_and_wait(void *arg) {
    const pause_point *self = (const pause_point *)arg;
    CHECK_EQ(fa_thread_attach(self->context, "other"), FA_OK);
    CHECK(charge(self->context, POOL, FA_TAG_ROOT, 48)); // No boundary after this.
    CHECK(charge(self->context, POOL, FA_TAG_ROOT, 16));
    CHECK(charge(self->context, HEAP, FA_TAG_ROOT, 100));
    check_barrier_wait(self->barrier);
    check_barrier_wait(self->barrier);
}

static void figures_of_other_threads_are_exact_without_a_boundary(void) {
    pause_point point = {context_open(NULL), check_barrier_create(2)};
    check_thread *thread = check_thread_start(charge_and_wait, &point);
    check_barrier_wait(point.barrier);
    CHECK_EQ(stats_of(point.context).pool_bytes, 64);
    CHECK_EQ(stats_of(point.context).heap_bytes, 100);
    CHECK_EQ(current_of(point.context, FA_TAG_ROOT), 164);
    CHECK_EQ(thread_stats_of(point.context, "other").pool_bytes, 64);
    CHECK_EQ(thread_stats_of(point.context, "other").heap_bytes, 100);
    uncharge(point.context, POOL, FA_TAG_ROOT, 64); // Here it goes below zero.
    CHECK_EQ(stats_of(point.context).pool_bytes, 0);
    CHECK_EQ(stats_of(point.context).total_bytes, 100);
    check_barrier_wait(point.barrier);
    check_thread_join(thread);
    CHECK_EQ(stats_of(point.context).total_bytes, 100);
    check_barrier_destroy(point.barrier);
    context_close(point.context);
}

TEST_SUITE(objects_shared, TEST(every_figure_equals_the_model_whatever_threads_do),
           TEST(what_is_charged_stays_bounded_when_one_takes_and_another_gives),
           TEST(figures_of_other_threads_are_exact_without_a_boundary));

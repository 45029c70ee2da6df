// Budgets on what is freed one by one: exact for one thread, within the documented margin for many,
// never passed by any. What is in use is counted a second time, by the tests.
#include "objects_fixture.h"

#include <stdio.h>

static report_log reports;

static void set_hard(fa_context *ctx, fa_tag tag, size_t hard) {
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = hard}), FA_OK);
}

// ---- One thread ----

static void a_hard_budget_is_exact(void) {
    const size_t budgets[] = {1, 64, 1000, 4096, 99999, MIB + 16, 5 * MIB + 5};
    const size_t sizes[] = {64, 1, 48, 1000, 70000};
    for (size_t b = 0; b < sizeof(budgets) / sizeof(budgets[0]); b++) {
        fa_context *ctx = context_open(NULL);
        fa_tag parent = fa_tag_register(ctx, "a");
        fa_tag child = fa_tag_register(ctx, "a/b");
        set_hard(ctx, parent, budgets[b]);
        for (size_t s = 0; s < 5; s++) {
            check_note("budget %zu, objects of %zu", budgets[b], sizes[s]);
            fa__holder holder = s % 2 == 0 ? POOL : HEAP;
            size_t count = charge_up(ctx, holder, child, sizes[s]);
            CHECK_EQ(count, budgets[b] / sizes[s]);
            size_t left = budgets[b] - current_of(ctx, child);
            CHECK_EQ(charge_up(ctx, HEAP, parent, 1), left); // To the last byte.
            CHECK_EQ(fa_budget_remaining(ctx, child), 0);
            CHECK_LE(tag_stats_of(ctx, parent).peak_bytes, budgets[b]);
            if (count > 0) { // What one account has given back, another can have.
                uncharge(ctx, holder, child, sizes[s]);
                CHECK_EQ(charge_up(ctx, HEAP, parent, 1), sizes[s]);
                uncharge(ctx, HEAP, parent, sizes[s]);
                CHECK(charge(ctx, holder, child, sizes[s]));
            }
            uncharge(ctx, HEAP, parent, left);
            for (size_t i = 0; i < count; i++) {
                uncharge(ctx, holder, child, sizes[s]);
            }
            CHECK_EQ(fa_budget_remaining(ctx, child), budgets[b]);
        }
        context_close(ctx);
    }
}

static void a_refusal_is_reported_and_changes_nothing(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_tag parent = fa_tag_register(ctx, "ai");
    fa_tag child = fa_tag_register(ctx, "ai/paths");
    told_budget told = {0};
    fa_budget budget = {.hard = 1600, .callback = note_budget, .user = &told};
    CHECK_EQ(fa_budget_set(ctx, parent, &budget), FA_OK);
    CHECK(charge(ctx, POOL, child, 1000));
    for (size_t i = 1; i <= 3; i++) {
        CHECK(!charge(ctx, HEAP, child, 777));
        CHECK_EQ(told.count, i);
        CHECK(told.last.is_hard && !told.last.is_thread);
        CHECK_EQ(told.last.tag.id, parent.id);
        CHECK_EQ(told.last.requested, 777);
        CHECK_EQ(told.last.charged, 1000);
        const seen_report *seen = log_single(&reports, 302);
        CHECK_EQ(seen->bytes, 777);
        CHECK_EQ(seen->limit, 1600);
        CHECK_EQ(seen->tag.id, child.id);
        CHECK_STR_EQ(seen->where, "here");
        failed_as(302, FA_ERR_BUDGET);
        CHECK_EQ(tag_stats_of(ctx, child).refusals, i);
        CHECK_EQ(tag_stats_of(ctx, parent).refusals, i);
        CHECK_EQ(stats_of(ctx).refusals, i);
        CHECK_EQ(thread_stats_of(ctx, NULL).refusals, i);
        CHECK_EQ(current_of(ctx, parent), 1000);
        CHECK_EQ(charged_to(ctx, parent), 1000);
    }
    CHECK(charge(ctx, HEAP, child, 600)); // What fits is granted.
    CHECK(charge(ctx, HEAP, FA_TAG_ROOT, 5000));
    context_close(ctx);
}

static void arenas_pools_and_heap_of_a_thread_share_exactly(void) {
    check_rng rng = check_rng_make(check_seed());
    for (int round = 0; round < 20; round++) {
        fa_context *ctx = context_open(NULL);
        const fa_tag tags[] = {fa_tag_register(ctx, "group"), fa_tag_register(ctx, "group/a"),
                               fa_tag_register(ctx, "group/b")};
        size_t budget = check_rng_between(&rng, 20000, 3000000);
        set_hard(ctx, tags[0], budget);
        CHECK_EQ(fa_tag_push(ctx, tags[1]), FA_OK);
        fa_arena *frame = fa_frame_begin(ctx);
        size_t used = 0;
        bool granted = true;
        while (granted) {
            size_t bytes = rounded(check_rng_size(&rng, 20000) + 1);
            fa_tag tag = tags[check_rng_below(&rng, 3)];
            size_t which = check_rng_below(&rng, 3);
            check_note("budget %zu, used %zu, asking for %zu", budget, used, bytes);
            granted = which == 0 ? fa_arena_try_alloc(frame, bytes) != NULL
                                 : charge(ctx, which == 1 ? POOL : HEAP, tag, bytes);
            CHECK_EQ(granted, used + bytes <= budget); // Never early, never late.
            used += granted ? bytes : 0;
        }
        CHECK_LE(tag_stats_of(ctx, tags[0]).peak_bytes, budget);
        CHECK_EQ(current_of(ctx, tags[0]), used);
        fa_frame_end(frame);
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        context_close(ctx);
    }
}

static void soft_lines_and_lines_that_warn_are_told_once(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_tag tag = fa_tag_register(ctx, "tag");
    told_budget told = {0};
    fa_budget budget = {10000, 20000, FA_BUDGET_WARN, note_budget, &told};
    CHECK_EQ(fa_budget_set(ctx, tag, &budget), FA_OK);
    for (int round = 0; round < 3; round++) {
        for (size_t used = 0; used < 30000; used += 100) {
            CHECK(charge(ctx, POOL, tag, 100));
            size_t expected = (used >= 10000 ? 1u : 0u) + (used >= 20000 ? 1u : 0u);
            CHECK_EQ(told.count, expected);
            CHECK_EQ(log_count(&reports, 304), used >= 10000 ? 1 : 0);
            CHECK_EQ(log_count(&reports, 306), used >= 20000 ? 1 : 0);
        }
        for (size_t i = 0; i < 300; i++) {
            uncharge(ctx, POOL, tag, 100);
        }
        told.count = 0;
        atomic_store(&reports.count, 0);
    }
    CHECK_EQ(stats_of(ctx).refusals, 0);
    context_close(ctx);
}

static void shed(const fa_budget_event *event, void *user) {
    size_t *cache = (size_t *)user;
    uncharge(event->context, HEAP, event->tag, *cache);
    *cache = 0;
}

static void a_callback_may_free_and_charge(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    size_t cache = 6000;
    fa_budget budget = {.soft = 9000, .hard = 10000, .callback = shed, .user = &cache};
    CHECK(charge(ctx, HEAP, tag, cache));
    CHECK_EQ(fa_budget_set(ctx, tag, &budget), FA_OK);
    CHECK_EQ(charge_up(ctx, POOL, tag, 100), 100); // The cache was given up at the soft line.
    CHECK_EQ(cache, 0);
    CHECK_EQ(current_of(ctx, tag), 10000);
    context_close(ctx);
}

// Uses up what was leased for the charge that is under way.
static void use_the_lease(const fa_budget_event *event, void *user) {
    size_t *used = (size_t *)user;
    const fa__account *account = fa__object_of(self_in(event->context), POOL, event->tag.id);
    *used = fa__load(&account->object_room);
    CHECK_GT(*used, 0);
    CHECK(charge(event->context, POOL, event->tag, *used));
}

static void a_callback_may_use_what_was_leased_for_the_charge(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    size_t used = 0;
    fa_budget budget = {.soft = 1000, .callback = use_the_lease, .user = &used};
    CHECK_EQ(fa_budget_set(ctx, tag, &budget), FA_OK);
    CHECK(charge(ctx, POOL, tag, 900));
    CHECK(charge(ctx, POOL, tag, 200));
    CHECK_EQ(current_of(ctx, tag), 1100 + used);
    CHECK_GE(charged_to(ctx, tag), 1100 + used);
    uncharge(ctx, POOL, tag, 1100 + used);
    CHECK_EQ(current_of(ctx, tag), 0);
    context_close(ctx);
}

static void a_budget_can_be_set_changed_and_removed_at_any_time(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    CHECK(charge(ctx, POOL, tag, 1600)); // Before there is a budget: a lease is left.
    set_hard(ctx, tag, 3200);
    CHECK_EQ(charge_up(ctx, POOL, tag, 16), 100);
    set_hard(ctx, tag, 4800); // Raised.
    CHECK_EQ(charge_up(ctx, HEAP, tag, 16), 100);
    set_hard(ctx, tag, 1000); // Lowered below what is in use.
    CHECK_EQ(current_of(ctx, tag), 4800);
    for (size_t used = 4800; used > 1000; used -= 16) {
        CHECK_EQ(charge_up(ctx, POOL, tag, 1), 0);
        uncharge(ctx, used > 3200 ? HEAP : POOL, tag, 16);
    }
    CHECK_EQ(current_of(ctx, tag), 992);
    CHECK_EQ(charge_up(ctx, HEAP, tag, 1), 8);
    CHECK_EQ(fa_budget_set(ctx, tag, NULL), FA_OK); // Removed.
    CHECK(charge(ctx, HEAP, tag, 10 * MIB));
    context_close(ctx);
}

static void a_thread_budget_limits_its_pools(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_tag tags[] = {fa_tag_register(ctx, "a"), fa_tag_register(ctx, "b")};
    told_budget told = {0};
    CHECK(charge(ctx, POOL, tags[0], 1000)); // Before there is a budget: a lease is left.
    fa_thread_budget budget = {.pool_bytes = 50000, .callback = note_budget, .user = &told};
    CHECK_EQ(fa_budget_set_thread(ctx, &budget), FA_OK);
    CHECK_EQ(charge_up(ctx, POOL, tags[1], 100), 490);
    CHECK_EQ(told.count, 1);
    CHECK(told.last.is_thread && told.last.is_hard);
    CHECK_EQ(told.last.charged, 50000);
    CHECK_EQ(told.last.limit, 50000);
    CHECK_EQ(told.last.tag.id, tags[1].id);
    const seen_report *seen = log_single(&reports, 303);
    CHECK_EQ(seen->bytes, 100);
    CHECK_EQ(seen->limit, 50000);
    failed_as(303, FA_ERR_BUDGET);
    CHECK(!charge(ctx, POOL, tags[0], 1));
    CHECK(charge(ctx, HEAP, tags[0], MIB)); // Not a pool.
    uncharge(ctx, POOL, tags[1], 100);
    CHECK(charge(ctx, POOL, tags[0], 99)); // The tags share it.
    CHECK(charge(ctx, POOL, tags[0], 1));
    CHECK(!charge(ctx, POOL, tags[0], 1));
    fa__thread *thread = self_in(ctx);
    uncharge(ctx, POOL, tags[0], 730);
    fa__account *account = fa__object_of(thread, POOL, tags[0].id);
    CHECK_EQ(fa__object_charge_some(thread, account, 100, 50, "here"), 7); // As many as may be.
    CHECK_EQ(fa_budget_set_thread(ctx, &(fa_thread_budget){.pool_bytes = 10}), FA_OK);
    CHECK(!charge(ctx, POOL, tags[0], 1));
    CHECK_EQ(fa_budget_set_thread(ctx, NULL), FA_OK);
    CHECK(charge(ctx, POOL, tags[0], 100000));
    context_close(ctx);
}

typedef struct guest {
    fa_context *context;
    size_t gives; // First, of what others took.
    size_t takes; // May take then.
} guest;

static void visit(void *arg) {
    const guest *who = (const guest *)arg;
    fa_context *ctx = who->context;
    CHECK_EQ(fa_budget_set_thread(ctx, &(fa_thread_budget){.pool_bytes = 1000}), FA_OK);
    uncharge(ctx, POOL, FA_TAG_ROOT, who->gives);
    CHECK_EQ(charge_up(ctx, POOL, FA_TAG_ROOT, 10) * 10, who->takes);
    CHECK_EQ(thread_stats_of(ctx, NULL).pool_bytes, 1000);
}

static void what_a_thread_gives_back_for_others_counts_for_its_budget(void) {
    fa_context *ctx = context_open(NULL);
    CHECK(charge(ctx, POOL, FA_TAG_ROOT, 205000));
    // The second and third have the state of the first, but not its figures.
    guest guests[] = {{ctx, 5000, 6000}, {ctx, 200000, 201000}, {ctx, 0, 1000}};
    for (size_t i = 0; i < 3; i++) {
        check_threads_run(1, visit, &guests[i], 0);
        CHECK_EQ(stats_of(ctx).pool_bytes, 205000 + 1000 * (i + 1));
    }
    context_close(ctx);
}

// ---- Many threads ----

enum { THREADS = 8, STOCK = 4000 };

// Blocks that are charged and lie about for any thread to uncharge.
typedef struct block {
    fa__holder holder;
    fa_tag tag;
    size_t bytes;
} block;

typedef struct market {
    fa_context *context;
    fa_tag tag; // The one with the budget.
    fa_tag children[6];
    size_t budget;
    size_t steps; // Per thread.
    atomic_flag lock;
    block stock[STOCK];
    size_t count;
    atomic_size_t held;
    atomic_size_t held_peak;
    atomic_size_t granted;
    atomic_size_t refused;
} market;

typedef struct trader {
    market *market;
    unsigned number;
} trader;

static bool stock_swap(market *m, check_rng *rng, block *item, bool is_put) {
    while (atomic_flag_test_and_set(&m->lock)) {
        check_thread_yield();
    }
    bool done = is_put ? m->count < STOCK : m->count > 0;
    if (done && is_put) {
        m->stock[m->count] = *item;
        m->count += 1;
    } else if (done) {
        size_t index = check_rng_below(rng, m->count);
        *item = m->stock[index];
        m->count -= 1;
        m->stock[index] = m->stock[m->count];
    }
    atomic_flag_clear(&m->lock);
    return done;
}

static void give_back(market *m, const block *item) {
    atomic_fetch_sub(&m->held, item->bytes); // Before, so that it is never above what is charged.
    uncharge(m->context, item->holder, item->tag, item->bytes);
}

static void take_one(market *m, check_rng *rng) {
    block item = {check_rng_chance(rng, 50) ? POOL : HEAP, m->children[check_rng_below(rng, 6)],
                  check_rng_size(rng, 3000) + 1};
    if (!charge(m->context, item.holder, item.tag, item.bytes)) {
        atomic_fetch_add(&m->refused, 1);
        CHECK_EQ(fa_last_error()->code, 302);
        return;
    }
    atomic_fetch_add(&m->granted, 1);
    size_t held = atomic_fetch_add(&m->held, item.bytes) + item.bytes;
    size_t peak = atomic_load(&m->held_peak);
    while (held > peak && !atomic_compare_exchange_weak(&m->held_peak, &peak, held)) {
    }
    if (held > m->budget) {
        FAIL("%zu bytes are held, the budget is %zu", held, m->budget);
    }
    if (!stock_swap(m, rng, &item, true)) {
        give_back(m, &item);
    }
}

static void trade(void *arg) {
    const trader *self = (const trader *)arg;
    market *m = self->market;
    check_rng rng = check_rng_make(check_seed() + self->number);
    // Some mostly take, some mostly give.
    unsigned taking = self->number % 3 == 0 ? 95 : (self->number % 3 == 1 ? 50 : 30);
    CHECK_EQ(fa_thread_attach(m->context, NULL), FA_OK);
    for (size_t i = 0; i < m->steps; i++) {
        block item;
        if (check_rng_chance(&rng, taking)) {
            take_one(m, &rng);
        } else if (stock_swap(m, &rng, &item, false)) {
            give_back(m, &item);
        }
        if (check_rng_below(&rng, 5000) == 0) {
            CHECK_EQ(fa_thread_detach(m->context), FA_OK); // Its state may go to another thread.
            CHECK_EQ(fa_thread_attach(m->context, NULL), FA_OK);
        }
    }
}

static void run_market(size_t budget, size_t steps, bool use_children) {
    static market m;
    static trader traders[THREADS];
    memset(&m, 0, sizeof(m));
    atomic_flag_clear(&m.lock);
    m.context = context_open(NULL);
    m.budget = budget;
    m.steps = check_scale(steps) / THREADS;
    m.tag = fa_tag_register(m.context, "shared");
    for (unsigned i = 0; i < 6; i++) {
        char path[32];
        snprintf(path, sizeof(path), "shared/part%u", i);
        m.children[i] = use_children ? fa_tag_register(m.context, path) : m.tag;
    }
    set_hard(m.context, m.tag, budget);
    for (unsigned i = 0; i < THREADS; i++) {
        traders[i] = (trader){&m, i};
    }
    check_threads_run(THREADS, trade, traders, sizeof(traders[0]));
    fa_tag_stats_result stats = tag_stats_of(m.context, m.tag);
    check_note("budget %zu, peak %zu held %zu, %zu granted, %zu refused", budget, stats.peak_bytes,
               atomic_load(&m.held_peak), atomic_load(&m.granted), atomic_load(&m.refused));
    CHECK_LE(stats.peak_bytes, budget);
    CHECK_GE(stats.peak_bytes, atomic_load(&m.held_peak));
    CHECK_EQ(stats.current_bytes, atomic_load(&m.held));
    CHECK_EQ(stats.refusals, atomic_load(&m.refused));
    CHECK_EQ(charged_to(m.context, m.tag), atomic_load(&m.held)); // Nothing stays leased.
    // The budget was worked against, not just never reached.
    CHECK_GT(atomic_load(&m.refused), atomic_load(&m.granted) / 1000);
    CHECK_GT(atomic_load(&m.granted), atomic_load(&m.refused) / 10);
    check_rng rng = check_rng_make(1);
    block item;
    while (stock_swap(&m, &rng, &item, false)) {
        give_back(&m, &item);
    }
    CHECK_EQ(current_of(m.context, m.tag), 0);
    CHECK_EQ(fa_budget_remaining(m.context, m.tag), budget);
    context_close(m.context);
}

static void eight_threads_never_pass_a_shared_budget(void) {
    run_market(150001, 800000, false);
    run_market(20000, 200000, false);
}

static void eight_threads_never_pass_their_tags_common_parent_s_budget(void) {
    run_market(250000, 500000, true);
}

// ---- How early a refusal may come ----

typedef struct holder_thread {
    fa_context *context;
    check_barrier *barrier;
    const fa_tag *tags;
    size_t tag_count;
    bool gives_back; // What is unused is what was given back; otherwise of a first lease.
    size_t used;
} holder_thread;

// Leaves as much as possible leased and not used.
static void hold_little(void *arg) {
    holder_thread *self = (holder_thread *)arg;
    fa_context *ctx = self->context;
    check_barrier_wait(self->barrier);
    for (size_t i = 0; i < 2 * self->tag_count; i++) {
        fa__holder holder = i % 2 == 0 ? POOL : HEAP;
        fa_tag tag = self->tags[i / 2];
        size_t count = self->gives_back ? 500 : 1;
        for (size_t k = 0; k < count; k++) {
            CHECK(charge(ctx, holder, tag, 16));
        }
        for (; count > 1; count--) {
            uncharge(ctx, holder, tag, 16);
        }
        self->used += 16;
    }
    check_barrier_wait(self->barrier);
    check_barrier_wait(self->barrier);
}

static void check_margin(size_t budget, size_t others, size_t tag_count, bool gives_back) {
    fa_context *ctx = context_open(NULL);
    fa_tag tags[40];
    for (unsigned i = 0; i < tag_count; i++) {
        char path[32];
        snprintf(path, sizeof(path), "shared/part%u", i);
        tags[i] = fa_tag_register(ctx, path);
    }
    fa_tag shared = fa_tag_parent(ctx, tags[0]);
    set_hard(ctx, shared, budget);
    holder_thread all[THREADS];
    check_thread *threads[THREADS];
    check_barrier *barrier = check_barrier_create(others + 1);
    for (size_t i = 0; i < others; i++) {
        all[i] = (holder_thread){ctx, barrier, tags, tag_count, gives_back, 0};
        threads[i] = check_thread_start(hold_little, &all[i]);
    }
    check_barrier_wait(barrier);
    check_barrier_wait(barrier);
    size_t in_use = 0;
    for (size_t i = 0; i < others; i++) {
        in_use += all[i].used;
    }
    CHECK_EQ(current_of(ctx, shared), in_use);
    size_t remaining = fa_budget_remaining(ctx, shared);
    size_t got = charge_up(ctx, HEAP, shared, 16) * 16;
    check_note("budget %zu, %zu other threads use %zu in %zu tags: got %zu", budget, others, in_use,
               tag_count, got);
    CHECK_EQ(got, remaining / 16 * 16); // What it said before.
    CHECK_LE(in_use + got, budget);
    CHECK_GE(in_use + got + others * (budget / 64) + 15, budget);
    check_barrier_wait(barrier);
    for (size_t i = 0; i < others; i++) {
        check_thread_join(threads[i]);
    }
    CHECK_EQ(got + charge_up(ctx, HEAP, shared, 16) * 16, (budget - in_use) / 16 * 16);
    check_barrier_destroy(barrier);
    context_close(ctx);
}

static void a_refusal_is_early_by_less_than_the_margin(void) {
    const size_t budgets[] = {300001, MIB, 16 * MIB};
    for (size_t i = 0; i < 6; i++) {
        size_t budget = budgets[i / 2];
        check_margin(budget, 1, 1, i % 2 == 0);
        check_margin(budget, 1, 10, i % 2 == 0);
        check_margin(budget, 7, 1, i % 2 == 0);
        check_margin(budget, 7, 10, i % 2 == 0);
        check_margin(16 * MIB, 1 + i, 40, i % 2 == 0);
    }
}

// ---- A budget that is set while others hold leases ----

static void use_before_and_after(void *arg) {
    holder_thread *self = (holder_thread *)arg;
    fa_context *ctx = self->context;
    CHECK(charge(ctx, POOL, self->tags[0], 100));
    CHECK(charge(ctx, HEAP, self->tags[1], 100));
    check_barrier_wait(self->barrier);
    check_barrier_wait(self->barrier); // The budget is set.
    for (; self->used < LEASE / 16 + 10; self->used++) {
        CHECK(charge(ctx, POOL, self->tags[0], 16)); // Has to ask at last.
    }
    check_barrier_wait(self->barrier);
    check_barrier_wait(self->barrier); // The test has looked.
    self->used += charge_up(ctx, POOL, self->tags[0], 16);
    CHECK_EQ(fa_last_error()->code, 302);
    check_barrier_wait(self->barrier);
    check_barrier_wait(self->barrier);
}

static void a_new_budget_holds_for_others_from_their_next_lease_on(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tags[] = {fa_tag_register(ctx, "tag"), fa_tag_register(ctx, "tag/other")};
    check_barrier *barrier = check_barrier_create(2);
    holder_thread other = {ctx, barrier, tags, 2, false, 0};
    check_thread *thread = check_thread_start(use_before_and_after, &other);
    check_barrier_wait(barrier);
    set_hard(ctx, tags[0], 100000);
    // What is leased and not used is spent, but not more than the header says.
    CHECK_GE(fa_budget_remaining(ctx, tags[0]), 100000 - 200 - 2 * 2 * LEASE);
    check_barrier_wait(barrier);
    check_barrier_wait(barrier);
    // The thread had to ask, saw the line, and called back what it had in both accounts.
    CHECK_EQ(charged_to(ctx, tags[1]), 100);
    CHECK_GE(charged_to(ctx, tags[0]), other.used * 16 + 200);
    CHECK_LE(charged_to(ctx, tags[0]), other.used * 16 + 200 + 100000 / 64);
    check_barrier_wait(barrier);
    check_barrier_wait(barrier);
    CHECK_EQ(other.used, (100000 - 200) / 16);
    check_barrier_wait(barrier);
    check_thread_join(thread);
    check_barrier_destroy(barrier);
    context_close(ctx);
}

static void set_a_line(void *arg) {
    const holder_thread *self = (const holder_thread *)arg;
    set_hard(self->context, self->tags[0], 64000);
}

static void frees_give_back_under_a_line_that_another_thread_has_set(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    for (size_t i = 0; i < 1000; i++) {
        CHECK(charge(ctx, HEAP, tag, 100));
    }
    holder_thread other = {ctx, NULL, &tag, 1, false, 0};
    check_threads_run(1, set_a_line, &other, 0);
    for (size_t i = 0; i < 1000; i++) {
        uncharge(ctx, HEAP, tag, 100);
    }
    CHECK_LE(charged_to(ctx, tag), 64000 / 64); // The rest can be had by other threads.
    context_close(ctx);
}

TEST_SUITE(objects_budget, TEST(a_hard_budget_is_exact),
           TEST(a_refusal_is_reported_and_changes_nothing),
           TEST(arenas_pools_and_heap_of_a_thread_share_exactly),
           TEST(soft_lines_and_lines_that_warn_are_told_once), TEST(a_callback_may_free_and_charge),
           TEST(a_callback_may_use_what_was_leased_for_the_charge),
           TEST(a_budget_can_be_set_changed_and_removed_at_any_time),
           TEST(a_thread_budget_limits_its_pools),
           TEST(what_a_thread_gives_back_for_others_counts_for_its_budget),
           TEST(eight_threads_never_pass_a_shared_budget),
           TEST(eight_threads_never_pass_their_tags_common_parent_s_budget),
           TEST(a_refusal_is_early_by_less_than_the_margin),
           TEST(a_new_budget_holds_for_others_from_their_next_lease_on),
           TEST(frees_give_back_under_a_line_that_another_thread_has_set));

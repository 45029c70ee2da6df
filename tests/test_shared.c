// Shared blocks: owners, weak references, and the race for the last of them.
#include "../src/heap/sharing.h"
#include <framealloc/heap.h>

#include "core_fixture.h"
#include "fault_backend.h"

static fa_context *ctx;

static const fa_config *config; // Of the contexts; NULL: defaults.

static void open_context(void) {
    ctx = context_open(config);
}

static size_t heap_blocks(void) {
    fa_heap_stats_result stats;
    REQUIRE_EQ(fa_heap_stats(ctx, &stats), FA_OK);
    return stats.live_blocks;
}

typedef struct ended {
    unsigned count;
    void *data;
    unsigned char first;
    void *again;     // What retaining it then gives.
    uint32_t owners; // As seen then.
} ended;

static void note_end(void *data, void *user) {
    ended *told = user;
    told->count += 1;
    told->data = data;
    told->first = *(unsigned char *)data;
    told->owners = fa_shared_count(data);
    told->again = fa_shared_retain(data);
}

static void the_last_owner_destroys_it(void) {
    open_context();
    static const size_t data_sizes[] = {1, 16, 500, FA_SHARED_INLINE, FA_SHARED_INLINE + 1, 100000};
    for (size_t i = 0; i < sizeof(data_sizes) / sizeof(data_sizes[0]); i++) {
        ended told = {0};
        const fa_shared_desc desc = {.destruct = note_end, .user = &told};
        unsigned char *data = fa_shared_alloc(ctx, data_sizes[i], &desc);
        REQUIRE_NOT_NULL(data);
        CHECK_EQ((uintptr_t)data % 16, 0);
        memset(data, 7, data_sizes[i]);
        CHECK_EQ(fa_shared_count(data), 1);
        CHECK_EQ(fa_shared_retain(data), data);
        CHECK_EQ(fa_shared_retain(data), data);
        CHECK_EQ(fa_shared_count(data), 3);
        fa_shared_release(data);
        fa_shared_release(data);
        CHECK_EQ(told.count, 0);
        CHECK_EQ(data[data_sizes[i] - 1], 7);
        CHECK(nothing_failed());
        fa_shared_release(data);
        CHECK_EQ(told.count, 1);
        CHECK_EQ(told.data, data);
        CHECK_EQ(told.first, 7);
        CHECK_EQ(told.owners, 0);
        CHECK_NULL(told.again); // It cannot be brought back.
        CHECK(failed_as(401, FA_ERR_STALE));
        CHECK_EQ(heap_blocks(), 0);
    }
    context_close(ctx);
}

static void a_weak_reference_sees_the_end(void) {
    open_context();
    static const size_t data_sizes[] = {64, 50000};
    for (size_t i = 0; i < 2; i++) {
        ended told = {0};
        const fa_shared_desc desc = {.destruct = note_end, .user = &told};
        unsigned char *data = fa_shared_alloc(ctx, data_sizes[i], &desc);
        REQUIRE_NOT_NULL(data);
        data[0] = 9;
        fa_weak weak = fa_shared_weak(data);
        fa_weak other = fa_weak_retain(weak);
        CHECK(!fa_weak_is_gone(weak));
        CHECK_EQ(fa_weak_lock(weak), data);
        CHECK_EQ(fa_shared_count(data), 2);
        fa_shared_release(data);
        CHECK_EQ(told.count, 0);
        size_t before = heap_blocks();
        fa_shared_release(data);
        CHECK_EQ(told.count, 1);
        // Large data is given back at once, what is small with the last weak reference.
        CHECK_EQ(heap_blocks(), before - i);
        fa_last_error_clear();
        CHECK(fa_weak_is_gone(weak));
        CHECK_NULL(fa_weak_lock(weak));
        CHECK_NULL(fa_weak_lock(other));
        CHECK(nothing_failed());
        CHECK_EQ(told.count, 1);
        fa_weak_release(weak);
        CHECK_NULL(fa_weak_lock(other));
        CHECK_EQ(heap_blocks(), 1);
        fa_weak_release(other);
        CHECK_EQ(heap_blocks(), 0);
    }
    context_close(ctx);
}

static void nothing_is_nobody(void) {
    open_context();
    fa_shared_release(NULL);
    CHECK_NULL(fa_shared_retain(NULL));
    CHECK_EQ(fa_shared_count(NULL), 0);
    CHECK_NULL(fa_shared_weak(NULL).block);
    CHECK_NULL(fa_weak_retain((fa_weak){NULL}).block);
    CHECK_NULL(fa_weak_lock((fa_weak){NULL}));
    CHECK(fa_weak_is_gone((fa_weak){NULL}));
    fa_weak_release((fa_weak){NULL});
    CHECK(nothing_failed());
    context_close(ctx);
}

static void alignments_and_zeroes(void) {
    open_context();
    for (size_t align = 1; align <= FA_ALIGNMENT_MAX; align *= 2) {
        for (size_t size = 1; size <= 5000; size = size * 3 + 1) {
            const fa_shared_desc desc = {.align = align, .zero = true};
            unsigned char *data = fa_shared_alloc(ctx, size, &desc);
            REQUIRE_NOT_NULL(data);
            CHECK_EQ((uintptr_t)data % align, 0);
            for (size_t i = 0; i < size; i++) {
                REQUIRE_EQ(data[i], 0);
                data[i] = 0xEE;
            }
            CHECK_EQ(fa_shared_count(data), 1);
            fa_shared_release(data);
        }
    }
    volatile size_t huge = SIZE_MAX - 8; // The compiler would warn.
    double *number = fa_shared_new(ctx, double);
    REQUIRE_NOT_NULL(number);
    CHECK_EQ(*number, 0.0);
    fa_shared_release(number);
    CHECK_NULL(fa_shared_alloc(ctx, 8, &(fa_shared_desc){.align = 24}));
    CHECK(failed_as(18, FA_ERR_INVALID));
    CHECK_NULL(fa_shared_alloc(ctx, 8, &(fa_shared_desc){.align = 2 * FA_ALIGNMENT_MAX}));
    CHECK(failed_as(18, FA_ERR_INVALID));
    CHECK_NULL(fa_shared_alloc(ctx, huge, NULL));
    CHECK(failed_as(13, FA_ERR_OVERFLOW));
    void *empty = fa_shared_alloc(ctx, 0, NULL);
    CHECK_NOT_NULL(empty);
    fa_shared_release(empty);
    CHECK_EQ(heap_blocks(), 0);
    context_close(ctx);
}

static void releasing_once_too_often_is_reported(void) {
    open_context();
    report_log log;
    log_attach(ctx, &log);
    ended told = {0};
    unsigned char *data =
        fa_shared_alloc(ctx, 100, &(fa_shared_desc){.destruct = note_end, .user = &told});
    REQUIRE_NOT_NULL(data);
    fa_weak weak = fa_shared_weak(data);
    fa_shared_release(data);
    fa_last_error_clear();
    fa_shared_release(data);
    CHECK(failed_as(403, FA_ERR_INVALID));
    CHECK_NULL(fa_shared_retain(data));
    CHECK(failed_as(401, FA_ERR_STALE));
    CHECK_NULL(fa_shared_weak(data).block);
    CHECK(failed_as(401, FA_ERR_STALE));
    CHECK_EQ(told.count, 1);
    fa_weak_release(weak);
    CHECK_EQ(heap_blocks(), 0);
    context_close(ctx);
}

static void what_is_not_shared_is_refused(void) {
    open_context();
    static _Alignas(16) unsigned char bytes[64];
    fa_shared_release(bytes + 32);
    CHECK(failed_as(404, FA_ERR_INVALID));
    CHECK_NULL(fa_shared_retain(bytes + 32));
    CHECK(failed_as(404, FA_ERR_INVALID));
    CHECK_NULL(fa_shared_weak(bytes + 17).block);
    CHECK(failed_as(404, FA_ERR_INVALID));
    context_close(ctx);
}

// Counts are moved to their ends by hand: reaching them takes minutes.
static void full_counts_are_refused(void) {
    open_context();
    unsigned *data = fa_shared_new(ctx, unsigned);
    REQUIRE_NOT_NULL(data);
    fa_weak weak = fa_shared_weak(data);
    fa__shared *shared = fa__shared_tail_of(data)->shared;
    fa__store(&shared->owners, FA_SHARED_MAX - 1);
    CHECK_NOT_NULL(fa_shared_retain(data));
    CHECK_NULL(fa_shared_retain(data));
    CHECK(failed_as(409, FA_ERR_LIMIT));
    CHECK_NULL(fa_weak_lock(weak));
    CHECK(failed_as(409, FA_ERR_LIMIT));
    CHECK_EQ(fa_shared_count(data), FA_SHARED_MAX);
    fa__store(&shared->owners, 1);
    fa__store(&shared->weaks, FA_SHARED_MAX);
    CHECK_NULL(fa_shared_weak(data).block);
    CHECK(failed_as(409, FA_ERR_LIMIT));
    CHECK_NULL(fa_weak_retain(weak).block);
    CHECK(failed_as(409, FA_ERR_LIMIT));
    fa__store(&shared->weaks, 2);
    fa_shared_release(data);
    fa_weak_release(weak);
    CHECK_EQ(heap_blocks(), 0);
    context_close(ctx);
}

static void it_is_charged_to_the_tag(void) {
    open_context();
    fa_tag tag = fa_tag_register(ctx, "meshes");
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = 100000}), FA_OK);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    void *small = fa_shared_alloc(ctx, 100, NULL);
    void *large = fa_shared_alloc(ctx, 60000, NULL);
    REQUIRE_NOT_NULL(small);
    REQUIRE_NOT_NULL(large);
    CHECK_GE(tag_stats_of(ctx, tag).current_bytes, 60100);
    size_t before = tag_stats_of(ctx, tag).current_bytes;
    CHECK_NULL(fa_shared_alloc(ctx, 60000, NULL)); // Its data is refused, its bookkeeping is not.
    CHECK(failed_as(302, FA_ERR_BUDGET));
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, before);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    fa_shared_release(small);
    fa_shared_release(large);
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 0);
    context_close(ctx);
}

static size_t play(void) {
    size_t failures = 0;
    void *blocks[40] = {NULL};
    fa_weak weaks[40] = {{NULL}};
    for (size_t i = 0; i < 40; i++) {
        blocks[i] = fa_shared_alloc(ctx, i % 3 == 0 ? 40000 : 100 * i, NULL);
        failures += blocks[i] == NULL ? 1 : 0;
        weaks[i] = fa_shared_weak(blocks[i]);
    }
    for (size_t i = 0; i < 40; i++) {
        fa_shared_release(blocks[i]);
        CHECK_NULL(fa_weak_lock(weaks[i]));
        fa_weak_release(weaks[i]);
    }
    CHECK_EQ(heap_blocks(), 0);
    return failures;
}

static void every_refusal_is_survived(void) {
    uint64_t refusals = 1;
    for (uint64_t at = 1; refusals != 0; at++) {
        fault_backend faults;
        fault_backend_make(&faults, FAULT_PAGES);
        REQUIRE_EQ(fa_context_create(&(fa_config){.backend = &faults.backend}, &ctx), FA_OK);
        fault_backend_set(&faults, at % 2 == 0 ? FAULT_NTH : FAULT_FROM, faults.calls + at / 2, 0,
                          0);
        size_t failures = play();
        refusals = faults.refusals;
        CHECK(refusals != 0 || failures == 0);
        fault_backend_set(&faults, FAULT_NONE, 0, 0, 0);
        CHECK_EQ(play(), 0);
        CHECK_EQ(fa_context_destroy(ctx), FA_OK);
        fault_backend_end(&faults);
    }
}

// ---- Threads ----

enum { THREADS = 4, SLOTS = 16 };

typedef struct payload {
    atomic_uint alive; // 1 until it was destroyed.
    unsigned number;
    unsigned plain; // Written by each owner in turn, without an atomic.
} payload;

static atomic_size_t destroyed;

static void end_payload(void *data, void *user) {
    payload *p = data;
    CHECK_EQ(atomic_exchange(&p->alive, 0), 1);
    p->plain += 1; // After everything that owners did before they let go.
    (void)user;
    atomic_fetch_add(&destroyed, 1);
}

static payload *make_payload(unsigned number) {
    const fa_shared_desc desc = {.destruct = end_payload, .zero = true};
    payload *p = fa_shared_alloc(ctx, number % 3 == 0 ? 2000 : sizeof(payload), &desc);
    REQUIRE_NOT_NULL(p);
    atomic_store(&p->alive, 1);
    p->number = number;
    return p;
}

// One owner lets go while others lock a weak reference of their own.
typedef struct race {
    check_barrier *barrier;
    size_t rounds;
    payload *block;
    fa_weak weaks[THREADS];
    atomic_size_t locked;
} race;

typedef struct racer {
    race *shared;
    size_t index;
} racer;

static void race_run(void *arg) {
    racer *self = arg;
    race *r = self->shared;
    for (size_t i = 0; i < r->rounds; i++) {
        if (self->index == 0) {
            r->block = make_payload((unsigned)i);
            for (size_t t = 0; t < THREADS; t++) {
                r->weaks[t] = fa_shared_weak(r->block);
            }
        }
        check_barrier_wait(r->barrier);
        if (self->index == 0) {
            r->block->plain += 1;
            fa_shared_release(r->block);
        } else {
            payload *p = fa_weak_lock(r->weaks[self->index]);
            if (p != NULL) {
                CHECK_EQ(atomic_load(&p->alive), 1);
                CHECK_EQ(p->number, i);
                atomic_fetch_add(&r->locked, 1);
                fa_shared_release(p);
            }
        }
        fa_weak_release(r->weaks[self->index]);
        check_barrier_wait(r->barrier);
        if (self->index == 0) {
            CHECK_EQ(atomic_load(&destroyed), i + 1); // Once, whoever was last.
        }
    }
}

static void a_lock_and_the_last_release_race(void) {
    open_context();
    atomic_store(&destroyed, 0);
    static race r;
    r = (race){.barrier = check_barrier_create(THREADS), .rounds = check_scale(20000)};
    racer racers[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        racers[i] = (racer){&r, i};
    }
    check_threads_run(THREADS, race_run, racers, sizeof(racers[0]));
    check_barrier_destroy(r.barrier);
    CHECK_EQ(atomic_load(&destroyed), r.rounds);
    CHECK_EQ(heap_blocks(), 0);
    context_close(ctx);
}

// Slots that hold an owner each: threads take and replace what is in them at random.
static _Atomic(payload *) slots[SLOTS];
static atomic_size_t made;

static void churn_run(void *arg) {
    check_rng rng = check_rng_make(check_seed() + *(const size_t *)arg);
    fa_weak weak = {NULL};
    payload *mine = NULL;
    for (size_t i = 0; i < check_scale(50000); i++) {
        size_t slot = check_rng_below(&rng, SLOTS);
        size_t what = check_rng_below(&rng, 8);
        if (what == 0) {
            fa_shared_release(mine);
            mine = make_payload((unsigned)i);
            atomic_fetch_add(&made, 1);
        } else if (what == 1) { // What is put in and taken out is one owner each.
            mine = atomic_exchange(&slots[slot], mine);
        } else if (what == 2 && mine != NULL) {
            payload *out = atomic_exchange(&slots[slot], fa_shared_retain(mine));
            fa_shared_release(out);
        } else if (what == 3 && mine != NULL) {
            fa_weak_release(weak);
            weak = fa_shared_weak(mine);
        } else if (what == 4) {
            payload *p = fa_weak_lock(weak);
            CHECK(p == NULL || atomic_load(&p->alive) == 1);
            fa_shared_release(p);
        } else if (mine != NULL) {
            CHECK_EQ(atomic_load(&mine->alive), 1);
        }
    }
    fa_shared_release(mine);
    fa_weak_release(weak);
}

static void owners_come_and_go_on_all_threads(void) {
    open_context();
    atomic_store(&destroyed, 0);
    atomic_store(&made, 0);
    size_t numbers[THREADS] = {0, 1, 2, 3};
    check_threads_run(THREADS, churn_run, numbers, sizeof(numbers[0]));
    for (size_t i = 0; i < SLOTS; i++) {
        fa_shared_release(atomic_exchange(&slots[i], NULL));
    }
    CHECK_EQ(atomic_load(&destroyed), atomic_load(&made));
    CHECK_EQ(heap_blocks(), 0);
    context_close(ctx);
}

static void all_the_same_while_blocks_are_checked(void) {
    static const fa_config checked = {.checks = FA_CHECK_BLOCKS};
    config = &checked;
    the_last_owner_destroys_it();
    a_weak_reference_sees_the_end();
    alignments_and_zeroes();
    releasing_once_too_often_is_reported();
    full_counts_are_refused();
    owners_come_and_go_on_all_threads();
    config = NULL;
}

TEST_SUITE(shared, TEST(the_last_owner_destroys_it), TEST(a_weak_reference_sees_the_end),
           TEST(nothing_is_nobody), TEST(alignments_and_zeroes),
           TEST(releasing_once_too_often_is_reported), TEST(what_is_not_shared_is_refused),
           TEST(full_counts_are_refused), TEST(it_is_charged_to_the_tag),
           TEST(every_refusal_is_survived), TEST(a_lock_and_the_last_release_race),
           TEST(owners_come_and_go_on_all_threads), TEST(all_the_same_while_blocks_are_checked));

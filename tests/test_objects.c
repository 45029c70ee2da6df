// Accounts of what is freed one by one: charging, statistics and budgets as one thread sees them,
// and what a thread leaves behind. Threads at the same time: test_objects_shared.c.
#include "fault_backend.h"
#include "objects_fixture.h"

#include <stdio.h>

static report_log reports;

// ---- Figures ----

static void figures_follow_every_charge(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag parent = fa_tag_register(ctx, "ai");
    fa_tag child = fa_tag_register(ctx, "ai/paths");
    fa_tag other = fa_tag_register(ctx, "other");
    CHECK(charge(ctx, POOL, child, 64));
    CHECK(charge(ctx, HEAP, child, 1000));
    CHECK(charge(ctx, HEAP, parent, 7));
    CHECK(charge(ctx, POOL, other, 100000)); // More than a lease.
    fa_stats stats = stats_of(ctx);
    CHECK_EQ(stats.pool_bytes, 100064);
    CHECK_EQ(stats.heap_bytes, 1007);
    CHECK_EQ(stats.frame_bytes, 0);
    CHECK_EQ(stats.total_bytes, 101071);
    CHECK_EQ(current_of(ctx, child), 1064);
    CHECK_EQ(current_of(ctx, parent), 1071);
    CHECK_EQ(current_of(ctx, other), 100000);
    CHECK_EQ(current_of(ctx, FA_TAG_ROOT), 101071);
    CHECK_EQ(thread_stats_of(ctx, NULL).pool_bytes, 100064);
    CHECK_EQ(thread_stats_of(ctx, NULL).heap_bytes, 1007);
    CHECK_EQ(thread_stats_of(ctx, NULL).frame_bytes, 0);
    uncharge(ctx, POOL, child, 64);
    uncharge(ctx, HEAP, child, 1000);
    CHECK_EQ(current_of(ctx, parent), 7);
    uncharge(ctx, POOL, other, 100000);
    uncharge(ctx, HEAP, parent, 7);
    stats = stats_of(ctx);
    CHECK_EQ(stats.total_bytes, 0);
    CHECK_EQ(stats.pool_bytes, 0);
    CHECK_EQ(stats.heap_bytes, 0);
    CHECK_EQ(stats.refusals, 0);
    CHECK(nothing_failed());
    context_close(ctx);
}

static void arenas_and_objects_add_up(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 160));
    CHECK(charge(ctx, POOL, tag, 64));
    CHECK(charge(ctx, HEAP, tag, 100));
    CHECK_EQ(current_of(ctx, tag), 324);
    CHECK_EQ(tag_stats_of(ctx, tag).frame_bytes, 160);
    CHECK_EQ(stats_of(ctx).total_bytes, 324);
    CHECK_EQ(stats_of(ctx).frame_bytes, 160);
    CHECK_EQ(thread_stats_of(ctx, NULL).frame_bytes, 160);
    fa_frame_end(frame);
    CHECK_EQ(current_of(ctx, tag), 164); // Objects outlive the frame.
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    context_close(ctx);
}

static void the_current_tag_is_charged(void) {
    fa_context *ctx = context_open(NULL);
    fa__thread *thread = self_in(ctx);
    fa_tag tag = fa_tag_register(ctx, "tag");
    // The root, before anything was pushed or charged.
    CHECK_EQ(fa__object_current(thread, POOL), fa__object_of(thread, POOL, 0));
    CHECK_EQ(fa__object_current(thread, HEAP), fa__object_of(thread, HEAP, 0));
    CHECK_NE(fa__object_current(thread, HEAP), fa__object_current(thread, POOL));
    CHECK(fa__object_charge(thread, fa__object_current(thread, HEAP), 10, "here"));
    fa_arena *frame = NULL;
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
        CHECK_EQ(fa__object_current(thread, POOL), fa__object_of(thread, POOL, tag.id));
        CHECK(fa__object_charge(thread, fa__object_current(thread, POOL), 20, "here"));
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        CHECK_EQ(fa__object_current(thread, POOL), fa__object_of(thread, POOL, 0));
        frame = frame == NULL ? fa_frame_begin(ctx) : frame; // The second time in a frame.
    }
    fa_frame_end(frame);
    CHECK_EQ(current_of(ctx, tag), 40);
    CHECK_EQ(current_of(ctx, FA_TAG_ROOT), 50);
    // A tag that is new after the tables were made.
    fa_tag later = fa_tag_register(ctx, "later");
    CHECK_EQ(fa_tag_push(ctx, later), FA_OK);
    CHECK(fa__object_charge(thread, fa__object_current(thread, HEAP), 30, "here"));
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    CHECK_EQ(current_of(ctx, later), 30);
    context_close(ctx);
}

static void tags_beyond_the_table_are_charged_too(void) {
    fa_context *ctx = context_open(NULL);
    fa__thread *thread = self_in(ctx);
    const uint32_t count = FA__TABLE_TAGS + 70;
    for (uint32_t i = 1; i < count; i++) {
        char path[32];
        snprintf(path, sizeof(path), "tag%u", (unsigned)i);
        REQUIRE_EQ(fa_tag_register(ctx, path).id, i);
    }
    size_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ(fa_tag_push(ctx, (fa_tag){i}), FA_OK);
        fa__account *account = fa__object_current(thread, HEAP);
        REQUIRE_NOT_NULL(account);
        CHECK_EQ(account, fa__object_of(thread, HEAP, i));
        CHECK(fa__object_charge(thread, account, 1 + i, "here"));
        CHECK(charge(ctx, POOL, (fa_tag){i}, 1));
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        total += 2 + i;
    }
    CHECK_EQ(thread->object_known, FA__TABLE_TAGS);
    CHECK_EQ(stats_of(ctx).total_bytes, total);
    for (uint32_t i = 1; i < count; i++) {
        CHECK_EQ(current_of(ctx, (fa_tag){i}), 2 + i);
        uncharge(ctx, HEAP, (fa_tag){i}, 1 + i);
        uncharge(ctx, POOL, (fa_tag){i}, 1);
    }
    CHECK_EQ(stats_of(ctx).total_bytes, 2);
    context_close(ctx);
}

static void an_unknown_tag_is_reported(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    CHECK_NULL(fa__object_account(self_in(ctx), POOL, (fa_tag){77}));
    CHECK_EQ(log_single(&reports, 802)->tag.id, 77);
    failed_as(802, FA_ERR_INVALID);
    CHECK_EQ(stats_of(ctx).total_bytes, 0);
    context_close(ctx);
}

static void allocations_and_frees_are_counted_once(void) {
    fa_context *ctx = context_open(NULL);
    fa__thread *thread = self_in(ctx);
    fa_tag tag = fa_tag_register(ctx, "a/b");
    for (int i = 0; i < 5; i++) {
        fa__object_count_alloc(fa__object_of(thread, HEAP, tag.id));
    }
    fa__object_count_alloc(fa__object_of(thread, POOL, 0));
    fa__object_count_free(thread);
    fa__object_count_free(thread);
    for (int i = 0; i < 3; i++) { // Also when the thread is gone, and when its state is used again.
        CHECK_EQ(stats_of(ctx).allocations, 6);
        CHECK_EQ(stats_of(ctx).frees, 2);
        CHECK_EQ(tag_stats_of(ctx, tag).allocations, 5);
        CHECK_EQ(tag_stats_of(ctx, fa_tag_parent(ctx, tag)).allocations, 5);
        CHECK_EQ(tag_stats_of(ctx, FA_TAG_ROOT).allocations, 6);
        if (i == 0) {
            CHECK_EQ(thread_stats_of(ctx, NULL).allocations, 6);
            CHECK_EQ(fa_thread_detach(ctx), FA_OK);
        } else {
            CHECK_EQ(fa_thread_attach(ctx, NULL), FA_OK);
            CHECK_EQ(thread_stats_of(ctx, NULL).allocations, 0);
        }
    }
    context_close(ctx);
}

static void peaks_are_an_upper_bound_within_a_lease(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag parent = fa_tag_register(ctx, "a");
    fa_tag child = fa_tag_register(ctx, "a/b");
    check_rng rng = check_rng_make(check_seed());
    size_t live = 0;
    size_t peak = 0;
    for (int i = 0; i < 20000; i++) {
        size_t bytes = 16 * check_rng_between(&rng, 1, 100);
        bool grows = check_rng_chance(&rng, i % 4000 < 2000 ? 60 : 40);
        if (!grows && live >= bytes) {
            uncharge(ctx, POOL, child, bytes);
            live -= bytes;
        } else {
            CHECK(charge(ctx, POOL, child, bytes));
            live += bytes;
        }
        peak = live > peak ? live : peak;
    }
    const fa_tag tags[] = {child, parent, FA_TAG_ROOT};
    for (size_t i = 0; i < 3; i++) {
        CHECK_GE(tag_stats_of(ctx, tags[i]).peak_bytes, peak);
        CHECK_LE(tag_stats_of(ctx, tags[i]).peak_bytes, peak + 2 * LEASE);
    }
    CHECK_GE(stats_of(ctx).peak_bytes, peak);
    CHECK_LE(stats_of(ctx).peak_bytes, peak + 2 * LEASE);
    CHECK_EQ(current_of(ctx, child), live);
    context_close(ctx);
}

// ---- Leases ----

static void what_is_leased_and_not_used_is_bounded(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    check_rng rng = check_rng_make(check_seed());
    size_t live = 0;
    for (int i = 0; i < 50000; i++) {
        size_t bytes = 1 + check_rng_size(&rng, i % 10 == 0 ? 100000 : 500);
        if (check_rng_chance(&rng, 50) && live >= bytes) {
            uncharge(ctx, HEAP, tag, bytes);
            live -= bytes;
        } else {
            CHECK(charge(ctx, HEAP, tag, bytes));
            live += bytes;
        }
        if (!CHECK_GE(charged_to(ctx, tag), live) ||
            !CHECK_LE(charged_to(ctx, tag), live + 2 * LEASE)) {
            break;
        }
    }
    CHECK_EQ(charged_to(ctx, FA_TAG_ROOT), charged_to(ctx, tag));
    (void)fa_budget_remaining(ctx, tag); // Calls back what is not used.
    CHECK_EQ(charged_to(ctx, tag), live);
    context_close(ctx);
}

// How often what is charged to the tag changes while `count` pairs are charged and uncharged.
static size_t lease_changes(fa_context *ctx, fa_tag tag, size_t bytes, size_t count) {
    size_t changes = 0;
    size_t before = charged_to(ctx, tag);
    for (size_t i = 0; i < count; i++) {
        CHECK(charge(ctx, POOL, tag, bytes));
        changes += charged_to(ctx, tag) != before ? 1 : 0;
        before = charged_to(ctx, tag);
        uncharge(ctx, POOL, tag, bytes);
        changes += charged_to(ctx, tag) != before ? 1 : 0;
        before = charged_to(ctx, tag);
    }
    return changes;
}

static void pairs_and_runs_seldom_ask_the_tag(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    for (int level = 0; level < 600; level++) { // Wherever in a lease the pairs are.
        CHECK_LE(lease_changes(ctx, tag, 64, 10), 1);
        CHECK(charge(ctx, POOL, tag, 80));
    }
    size_t changes = 0;
    for (int level = 0; level < 600; level++) {
        size_t before = charged_to(ctx, tag);
        uncharge(ctx, POOL, tag, 80);
        changes += charged_to(ctx, tag) != before ? 1 : 0;
    }
    CHECK_LE(changes, 600 * 80 / LEASE + 1); // A run of frees gives back a lease at a time.
    context_close(ctx);
}

static void several_are_charged_at_once(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa__thread *thread = self_in(ctx);
    fa_tag tag = fa_tag_register(ctx, "tag");
    fa__account *account = fa__object_of(thread, POOL, tag.id);
    const size_t counts[] = {1, 64, 1000, 33, 7};
    size_t live = 0;
    for (size_t i = 0; i < 5; i++) {
        CHECK_EQ(fa__object_charge_some(thread, account, 100, counts[i], "here"), counts[i]);
        live += 100 * counts[i];
        CHECK_EQ(current_of(ctx, tag), live);
    }
    uncharge(ctx, POOL, tag, live);
    // Under a line: fewer at a time, all of them in the end, and only the last refusal is told.
    const size_t hard = 100 * KIB + 50;
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = hard}), FA_OK);
    size_t count = 0;
    size_t calls = 0;
    for (;;) {
        log_empty(&reports);
        size_t got = fa__object_charge_some(thread, account, 100, 500, "some");
        if (got == 0) {
            break;
        }
        CHECK_LE(got, 500);
        count += got;
        calls += 1;
    }
    CHECK_EQ(count, hard / 100);
    CHECK_GT(calls, 5);
    CHECK_EQ(current_of(ctx, tag), hard / 100 * 100);
    const seen_report *seen = log_single(&reports, 302);
    CHECK_EQ(seen->bytes, 100);
    CHECK_EQ(seen->limit, hard);
    CHECK_STR_EQ(seen->where, "some");
    uncharge(ctx, POOL, tag, count * 100);
    context_close(ctx);
}

static void huge_requests_are_refused_cleanly(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    CHECK(charge(ctx, HEAP, tag, 100));
    CHECK(!charge(ctx, HEAP, tag, SIZE_MAX));
    failed_as(302, FA_ERR_BUDGET);
    CHECK_EQ(current_of(ctx, tag), 100);
    fa__thread *thread = self_in(ctx);
    fa__account *account = fa__object_of(thread, HEAP, tag.id);
    size_t some = fa__object_charge_some(thread, account, 1000, SIZE_MAX, "here");
    CHECK_GE(some, 1);
    CHECK_EQ(current_of(ctx, tag), 100 + 1000 * some);
    context_close(ctx);
}

// ---- What a thread leaves behind ----

typedef struct guest {
    fa_context *context;
    fa_tag tag;
    size_t take;
    size_t give;
    size_t pool_at_start;
    size_t heap_at_start;
    uint32_t id;
} guest;

static void visit(void *arg) {
    guest *who = (guest *)arg;
    CHECK_EQ(fa_thread_attach(who->context, NULL), FA_OK);
    fa_thread_stats_result stats = thread_stats_of(who->context, NULL);
    who->pool_at_start = stats.pool_bytes;
    who->heap_at_start = stats.heap_bytes;
    who->id = stats.id;
    if (who->take != 0) {
        CHECK(charge(who->context, POOL, who->tag, who->take));
        CHECK(charge(who->context, HEAP, who->tag, 1 + who->take));
    }
    if (who->give != 0) {
        uncharge(who->context, POOL, who->tag, who->give);
        uncharge(who->context, HEAP, who->tag, who->give);
    }
}

static guest send(fa_context *ctx, fa_tag tag, size_t take, size_t give) {
    guest who = {.context = ctx, .tag = tag, .take = take, .give = give};
    check_threads_run(1, visit, &who, sizeof(who));
    return who;
}

static void what_a_thread_took_outlives_it(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "a/b");
    CHECK_EQ(fa_thread_attach(ctx, "main"), FA_OK);
    uint32_t id = send(ctx, tag, 5000, 0).id;
    CHECK_EQ(stats_of(ctx).pool_bytes, 5000);
    CHECK_EQ(stats_of(ctx).heap_bytes, 5001);
    CHECK_EQ(current_of(ctx, tag), 10001);
    CHECK_EQ(charged_to(ctx, tag), 10001); // Nothing stays leased.
    CHECK_EQ(thread_stats_of(ctx, NULL).pool_bytes, 0);
    // The next thread has the same state and starts from nothing.
    guest second = send(ctx, tag, 300, 5000);
    CHECK_EQ(second.id, id);
    CHECK_EQ(second.pool_at_start, 0);
    CHECK_EQ(second.heap_at_start, 0);
    CHECK_EQ(stats_of(ctx).pool_bytes, 300);
    CHECK_EQ(stats_of(ctx).heap_bytes, 302);
    // One that only frees.
    guest third = send(ctx, tag, 0, 300);
    CHECK_EQ(third.pool_at_start, 0);
    CHECK_EQ(stats_of(ctx).pool_bytes, 0);
    CHECK_EQ(stats_of(ctx).heap_bytes, 2);
    CHECK_EQ(charged_to(ctx, tag), 2);
    uncharge(ctx, HEAP, tag, 2);
    CHECK_EQ(stats_of(ctx).total_bytes, 0);
    CHECK_EQ(fa_budget_remaining(ctx, tag), SIZE_MAX);
    CHECK_EQ(charged_to(ctx, tag), 0);
    CHECK_EQ(thread_stats_of(ctx, NULL).heap_bytes, 0); // Below zero shows as nothing.
    context_close(ctx);
}

static void a_free_without_a_thread_state_is_taken_off_the_tag(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "a/b");
    CHECK(charge(ctx, POOL, tag, 700));
    CHECK(charge(ctx, HEAP, tag, 900));
    CHECK_EQ(fa_thread_detach(ctx), FA_OK);
    fa__object_uncharge_orphan(ctx, POOL, tag.id, 600);
    fa__object_uncharge_orphan(ctx, HEAP, tag.id, 500);
    CHECK_EQ(stats_of(ctx).pool_bytes, 100);
    CHECK_EQ(stats_of(ctx).heap_bytes, 400);
    CHECK_EQ(current_of(ctx, tag), 500);
    CHECK_EQ(charged_to(ctx, tag), 500);
    CHECK_EQ(charged_to(ctx, FA_TAG_ROOT), 500);
    context_close(ctx);
}

// ---- Memory for accounts that is refused ----

static void refused_memory_for_accounts_changes_nothing(void) {
    for (int is_limit = 0; is_limit < 2; is_limit++) {
        fault_backend faults;
        fault_backend_make(&faults, FAULT_PAGES);
        fa_config config = {.backend = &faults.backend, .memory_limit = is_limit ? 256 * KIB : 0};
        fa_context *ctx = context_open(&config);
        log_attach(ctx, &reports);
        fa__thread *thread = self_in(ctx);
        uint32_t count = 1;
        for (; count < 2000; count++) {
            char path[32];
            snprintf(path, sizeof(path), "tag%u", (unsigned)count);
            if (is_limit && count >= 450) {
                break;
            }
            REQUIRE_EQ(fa_tag_register(ctx, path).id, count);
        }
        if (!is_limit) {
            fault_backend_set(&faults, FAULT_FROM, 1, 0, 0);
        }
        size_t live = 0;
        size_t refused = 0;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t tag = i * 67 % count; // In and out of the table.
            fa__account *account = fa__object_of(thread, i % 2 == 0 ? POOL : HEAP, tag);
            if (account == NULL) {
                failed_as(is_limit ? 301 : 305, is_limit ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY);
                CHECK_EQ(fa_tag_push(ctx, (fa_tag){0}), FA_OK); // The thread works on.
                CHECK_EQ(fa_tag_pop(ctx), FA_OK);
                refused += 1;
            } else if (CHECK(fa__object_charge(thread, account, 10, "here"))) {
                live += 10;
            }
        }
        // (Where pointers are short, all accounts may fit what was committed for the tags.)
        CHECK(refused > 0 || (is_limit && sizeof(void *) == 4));
        CHECK_EQ(atomic_load(&reports.count), refused);
        CHECK_EQ(stats_of(ctx).total_bytes, live);
        fault_backend_set(&faults, FAULT_NONE, 0, 0, 0);
        if (!is_limit) { // Now that there is memory, all of them can be charged.
            for (uint32_t i = 0; i < count; i++) {
                CHECK(charge(ctx, HEAP, (fa_tag){i}, 10));
            }
            CHECK_EQ(stats_of(ctx).total_bytes, live + 10 * count);
        }
        context_close(ctx);
        fault_backend_end(&faults);
    }
}

TEST_SUITE(objects, TEST(figures_follow_every_charge), TEST(arenas_and_objects_add_up),
           TEST(the_current_tag_is_charged), TEST(tags_beyond_the_table_are_charged_too),
           TEST(an_unknown_tag_is_reported), TEST(allocations_and_frees_are_counted_once),
           TEST(peaks_are_an_upper_bound_within_a_lease),
           TEST(what_is_leased_and_not_used_is_bounded), TEST(pairs_and_runs_seldom_ask_the_tag),
           TEST(several_are_charged_at_once), TEST(huge_requests_are_refused_cleanly),
           TEST(what_a_thread_took_outlives_it),
           TEST(a_free_without_a_thread_state_is_taken_off_the_tag),
           TEST(refused_memory_for_accounts_changes_nothing));

// Budgets in one thread: exact to the allocation. Threads that share a budget:
// test_budget_shared.c.
#include "core_fixture.h"

#include <stdio.h>

static report_log reports;

static void set_hard(fa_context *ctx, fa_tag tag, size_t hard) {
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = hard}), FA_OK);
}

// ---- Hard lines ----

static void a_hard_budget_is_exact(void) {
    const size_t budgets[] = {16, 1000, 1008, 4096, 100000, 99999, MIB + 16, 5 * MIB + 5};
    const size_t sizes[] = {16, 1, 48, 1000, 5000};
    for (size_t b = 0; b < sizeof(budgets) / sizeof(budgets[0]); b++) {
        fa_context *ctx = context_open(NULL);
        fa_tag tag = fa_tag_register(ctx, "tag");
        set_hard(ctx, tag, budgets[b]);
        CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
        for (size_t s = 0; s < 5; s++) {
            check_note("budget %zu, blocks of %zu", budgets[b], sizes[s]);
            fa_arena *frame = fa_frame_begin(ctx);
            CHECK_EQ(fill_up(frame, sizes[s]), budgets[b] / rounded(sizes[s]));
            // What is left can be used to the last 16 bytes.
            size_t left = budgets[b] - tag_stats_of(ctx, tag).current_bytes;
            CHECK_EQ(fill_up(frame, 16), left / 16);
            CHECK_LE(tag_stats_of(ctx, tag).peak_bytes, budgets[b]);
            fa_frame_end(frame);
        }
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        context_close(ctx);
    }
}

static void a_refusal_says_what_was_asked_and_who_refused(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_tag parent = fa_tag_register(ctx, "ai");
    fa_tag child = fa_tag_register(ctx, "ai/paths");
    set_hard(ctx, parent, 1600);
    CHECK_EQ(fa_tag_push(ctx, child), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 1000));
    size_t used = fa_arena_used(frame);
    CHECK_NULL(fa_arena_alloc(frame, 777));
    CHECK_EQ(fa_arena_used(frame), used); // Nothing has changed.
    const fa_error *error = fa_last_error();
    CHECK_EQ(error->bytes, 777);
    CHECK_EQ(error->limit, 1600);
    CHECK_EQ(error->tag.id, child.id);
    CHECK_STR_EQ(error->tag_path, "ai/paths");
    CHECK_EQ(error->frame, 1);
    failed_as(302, FA_ERR_BUDGET);
    const seen_report *seen = log_single(&reports, 302);
    CHECK_EQ(seen->bytes, 777);
    CHECK_EQ(seen->limit, 1600);
    CHECK_EQ(seen->tag.id, child.id);
    CHECK_NULL(fa_arena_try_alloc(frame, 777)); // No report, but counted.
    log_empty(&reports);
    failed_as(302, FA_ERR_BUDGET);
    CHECK_EQ(tag_stats_of(ctx, child).refusals, 2);
    CHECK_EQ(tag_stats_of(ctx, parent).refusals, 2); // Descendants included.
    CHECK_EQ(tag_stats_of(ctx, child).budget, 0);
    CHECK_EQ(tag_stats_of(ctx, parent).budget, 1600);
    CHECK_EQ(stats_of(ctx).refusals, 2);
    CHECK_EQ(thread_stats_of(ctx, NULL).refusals, 2);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 592)); // What fits is granted.
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 5000)); // Other tags are free.
    fa_frame_end(frame);
    context_close(ctx);
}

static void every_parent_s_budget_counts(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag a = fa_tag_register(ctx, "a");
    fa_tag ab = fa_tag_register(ctx, "a/b");
    fa_tag abc = fa_tag_register(ctx, "a/b/c");
    fa_tag ad = fa_tag_register(ctx, "a/d");
    set_hard(ctx, FA_TAG_ROOT, 16000);
    set_hard(ctx, a, 8000);
    set_hard(ctx, ab, 4000);
    set_hard(ctx, abc, 2000);
    const fa_tag tags[] = {abc, ab, ad, a, FA_TAG_ROOT};
    const size_t room[] = {2000, 2000, 4000, 0, 8000}; // One after the other, in this order.
    for (int round = 0; round < 3; round++) {
        fa_arena *frame = fa_frame_begin(ctx);
        for (size_t i = 0; i < 5; i++) {
            CHECK_EQ(fa_budget_remaining(ctx, tags[i]), room[i]);
            CHECK_EQ(fa_tag_push(ctx, tags[i]), FA_OK);
            CHECK_EQ(fill_up(frame, 16), room[i] / 16);
            CHECK_EQ(fa_last_error()->tag.id, tags[i].id);
            failed_as(302, FA_ERR_BUDGET);
            CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        }
        fa_frame_end(frame);
    }
    context_close(ctx);
}

static void what_a_parent_refuses_is_charged_to_nobody(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag parent = fa_tag_register(ctx, "a");
    fa_tag middle = fa_tag_register(ctx, "a/b");
    fa_tag child = fa_tag_register(ctx, "a/b/c");
    set_hard(ctx, parent, 1600);
    set_hard(ctx, middle, 3200);
    set_hard(ctx, child, 4800);
    CHECK_EQ(fa_tag_push(ctx, child), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    for (int i = 0; i < 10; i++) {
        CHECK_NULL(fa_arena_alloc(frame, 1616));
    }
    CHECK_EQ(fa_budget_remaining(ctx, child), 1600);
    CHECK_EQ(fa_budget_set(ctx, parent, NULL), FA_OK);
    CHECK_EQ(fa_budget_remaining(ctx, child), 3200);
    CHECK_EQ(fa_budget_set(ctx, middle, NULL), FA_OK);
    CHECK_EQ(fa_budget_remaining(ctx, child), 4800);
    CHECK_EQ(fill_up(frame, 16), 300);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    fa_frame_end(frame);
    context_close(ctx);
}

// All arenas a thread may have, under one budget.
typedef struct arena_set {
    fa_context *context;
    fa_tag group;
    fa_tag tags[4]; // Below the group.
    fa_arena *arenas[5];
    size_t count;
    fa_scratch outer;
    fa_scratch inner;
} arena_set;

static void set_open(arena_set *set, size_t budget, bool is_attached) {
    memset(set, 0, sizeof(*set));
    set->context = context_open(NULL);
    set->group = fa_tag_register(set->context, "group");
    for (unsigned i = 0; i < 4; i++) {
        char path[16];
        snprintf(path, sizeof(path), "group/%u", i);
        set->tags[i] = fa_tag_register(set->context, path);
    }
    set_hard(set->context, set->group, budget);
    for (size_t i = 0; i < 2; i++) {
        fa_arena_desc desc = {.tag = set->tags[i], .chunk_size = i == 0 ? 0 : 16 * KIB};
        REQUIRE_EQ(fa_arena_create(set->context, &desc, &set->arenas[i]), FA_OK);
    }
    set->count = 2;
    if (is_attached) {
        CHECK_EQ(fa_tag_push(set->context, set->tags[2]), FA_OK);
        set->arenas[2] = fa_frame_begin(set->context);
        set->outer = fa_scratch_begin(set->context, NULL, 0);
        CHECK_EQ(fa_tag_push(set->context, set->tags[3]), FA_OK);
        set->inner = fa_scratch_begin(set->context, &set->outer.arena, 1);
        set->arenas[3] = set->outer.arena;
        set->arenas[4] = set->inner.arena;
        set->count = 5;
    }
}

static void set_close(arena_set *set) {
    fa_scratch_end(set->inner); // Ignored when there is none.
    fa_scratch_end(set->outer);
    if (set->arenas[2] != NULL) {
        fa_frame_end(set->arenas[2]);
    }
    fa_arena_destroy(set->arenas[0]);
    fa_arena_destroy(set->arenas[1]);
}

static void frames_scratch_and_own_arenas_of_a_thread_share_exactly(void) {
    check_rng rng = check_rng_make(check_seed());
    for (int round = 0; round < 20; round++) {
        arena_set set;
        size_t budget = check_rng_between(&rng, 20000, 3000000);
        set_open(&set, budget, round % 2 == 0);
        size_t used = 0;
        for (;;) {
            fa_arena *arena = set.arenas[check_rng_below(&rng, set.count)];
            size_t size = check_rng_size(&rng, 20000) + 1;
            check_note("budget %zu, used %zu, asking for %zu", budget, used, size);
            if (check_rng_chance(&rng, 10)) {
                CHECK_EQ(fa_budget_remaining(set.context, set.tags[0]), budget - used);
            }
            bool granted = fa_arena_try_alloc(arena, size) != NULL;
            CHECK_EQ(granted, used + rounded(size) <= budget); // Never early, never late.
            if (!granted) {
                CHECK_EQ(fa_last_error()->code, 302);
                break;
            }
            used += rounded(size);
        }
        size_t last = 0;
        for (size_t i = 0; i < set.count; i++) {
            last += fill_up(set.arenas[i], 16);
        }
        CHECK_EQ(last, (budget - used) / 16);
        CHECK_LE(tag_stats_of(set.context, set.group).peak_bytes, budget);
        set_close(&set);
        CHECK_EQ(fa_budget_remaining(set.context, set.group), budget);
        context_close(set.context);
    }
}

static void what_a_frame_used_is_free_again_after_it(void) {
    for (uint32_t in_flight = 1; in_flight <= 4; in_flight += 3) {
        fa_config config = {.frames_in_flight = in_flight};
        fa_context *ctx = context_open(&config);
        fa_tag tag = fa_tag_register(ctx, "tag");
        size_t budget = 160000;
        set_hard(ctx, tag, budget);
        CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
        for (size_t i = 0; i < 40; i++) {
            fa_arena *frame = fa_frame_begin(ctx);
            // With several in flight the earlier ones still hold what they used.
            size_t held = in_flight == 1 ? 0 : (i < 3 ? i : 3) * 16000;
            CHECK_EQ(fa_budget_remaining(ctx, tag), budget - held);
            size_t want = in_flight == 1 ? budget : 16000;
            for (size_t k = 0; k < want / 1600; k++) {
                CHECK_NOT_NULL(fa_arena_alloc(frame, 1600));
            }
            fa_frame_end(frame);
        }
        CHECK_EQ(tag_stats_of(ctx, tag).refusals, 0);
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        context_close(ctx);
    }
}

static void rewinding_and_ending_scopes_frees_budget(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    set_hard(ctx, tag, 16000);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    for (int i = 0; i < 20; i++) {
        fa_mark mark = fa_arena_mark(frame);
        CHECK_EQ(fill_up(frame, 160), 100);
        CHECK_EQ(fa_budget_remaining(ctx, tag), 0);
        CHECK_EQ(fa_arena_rewind(frame, mark), FA_OK);
        CHECK_EQ(fa_budget_remaining(ctx, tag), 16000);
        fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
        CHECK_EQ(fill_up(scratch.arena, 160), 100);
        fa_scratch_end(scratch);
        fa_arena *own = NULL;
        REQUIRE_EQ(fa_arena_create(ctx, &(fa_arena_desc){.tag = tag}, &own), FA_OK);
        CHECK_EQ(fill_up(own, 160), 100);
        fa_arena_reset(own);
        CHECK_EQ(fill_up(own, 160), 100);
        fa_arena_destroy(own);
    }
    fa_frame_end(frame);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    context_close(ctx);
}

// ---- Changing ----

static void a_budget_can_be_changed_and_removed_at_any_time(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 1600)); // Before there is a budget: leases are large.
    CHECK_EQ(fa_budget_remaining(ctx, tag), SIZE_MAX);
    set_hard(ctx, tag, 3200);
    CHECK_EQ(fa_budget_remaining(ctx, tag), 1600);
    CHECK_EQ(fill_up(frame, 16), 100);
    set_hard(ctx, tag, 4800); // Raised.
    CHECK_EQ(fill_up(frame, 16), 100);
    set_hard(ctx, tag, 1000); // Lowered below what is in use.
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 4800);
    CHECK_EQ(fa_budget_remaining(ctx, tag), 0);
    CHECK_NULL(fa_arena_alloc(frame, 16));
    failed_as(302, FA_ERR_BUDGET);
    CHECK_EQ(fa_budget_set(ctx, tag, NULL), FA_OK); // Removed.
    CHECK_EQ(fa_budget_remaining(ctx, tag), SIZE_MAX);
    CHECK_EQ(tag_stats_of(ctx, tag).budget, 0);
    CHECK_NOT_NULL(fa_arena_alloc(frame, MIB));
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){0}), FA_OK); // Zero lines: none.
    CHECK_NOT_NULL(fa_arena_alloc(frame, MIB));
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    fa_frame_end(frame);
    context_close(ctx);
}

static void below_what_is_in_use_a_budget_refuses_until_enough_is_freed(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    fa_mark marks[10];
    for (size_t i = 0; i < 10; i++) {
        marks[i] = fa_arena_mark(frame);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 1600));
    }
    set_hard(ctx, tag, 4000);
    for (size_t i = 9; i >= 3; i--) {
        CHECK_NULL(fa_arena_alloc(frame, 16));
        CHECK_EQ(fa_budget_remaining(ctx, tag), 0);
        CHECK_EQ(fa_arena_rewind(frame, marks[i]), FA_OK);
    }
    CHECK_NULL(fa_arena_alloc(frame, 16)); // 4800 in use.
    CHECK_EQ(fa_arena_rewind(frame, marks[2]), FA_OK);
    CHECK_EQ(fa_budget_remaining(ctx, tag), 800);
    CHECK_EQ(fill_up(frame, 16), 50);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    fa_frame_end(frame);
    context_close(ctx);
}

static void what_was_set_can_be_read(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    fa_budget got = {.hard = 1};
    CHECK_EQ(fa_budget_get(ctx, tag, &got), FA_OK);
    CHECK(got.soft == 0 && got.hard == 0 && got.callback == NULL);
    fa_budget want = {1000, 2000, FA_BUDGET_WARN, note_budget, &got};
    CHECK_EQ(fa_budget_set(ctx, tag, &want), FA_OK);
    CHECK_EQ(fa_budget_get(ctx, tag, &got), FA_OK);
    CHECK_EQ(got.soft, 1000);
    CHECK_EQ(got.hard, 2000);
    CHECK_EQ(got.policy, FA_BUDGET_WARN);
    CHECK(got.callback == note_budget);
    CHECK_EQ(got.user, &got);
    CHECK_EQ(fa_budget_set(ctx, tag, NULL), FA_OK);
    CHECK_EQ(fa_budget_get(ctx, tag, &got), FA_OK);
    CHECK(got.soft == 0 && got.hard == 0 && got.policy == FA_BUDGET_FAIL && got.callback == NULL);
    fa_thread_budget thread = {.frame_bytes = 1};
    CHECK_EQ(fa_budget_get_thread(ctx, &thread), FA_OK);
    CHECK(thread.frame_bytes == 0 && thread.pool_bytes == 0 && thread.callback == NULL);
    CHECK_EQ(fa_budget_set_thread(ctx, &(fa_thread_budget){5000, 6000, note_budget, &got}), FA_OK);
    CHECK_EQ(fa_budget_get_thread(ctx, &thread), FA_OK);
    CHECK(thread.frame_bytes == 5000 && thread.pool_bytes == 6000 && thread.user == &got);
    CHECK_EQ(thread_stats_of(ctx, NULL).frame_budget, 5000);
    CHECK_EQ(fa_budget_get(ctx, tag, NULL), FA_ERR_INVALID);
    CHECK_EQ(fa_budget_get_thread(ctx, NULL), FA_ERR_INVALID);
    context_close(ctx);
}

static void bad_budgets_are_refused_and_change_nothing(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    set_hard(ctx, tag, 1600);
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.soft = 2001, .hard = 2000}), FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "soft");
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = 9, .policy = (fa_budget_policy)2}),
             FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "policy");
    CHECK_EQ(fa_budget_set(ctx, (fa_tag){77}, &(fa_budget){.hard = 9}), FA_ERR_INVALID);
    failed_as(802, FA_ERR_INVALID);
    CHECK_EQ(fa_budget_remaining(ctx, tag), 1600);
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.soft = 2000, .hard = 2000}), FA_OK);
    context_close(ctx);
}

// ---- Soft lines ----

static void a_soft_line_is_told_once_exactly_when_it_is_crossed(void) {
    const size_t lines[] = {160, 1000, 1024, 64000, 300000};
    for (size_t l = 0; l < 5; l++) {
        fa_context *ctx = context_open(NULL);
        log_attach(ctx, &reports);
        fa_tag tag = fa_tag_register(ctx, "tag");
        told_budget told = {0};
        fa_budget budget = {.soft = lines[l], .callback = note_budget, .user = &told};
        CHECK_EQ(fa_budget_set(ctx, tag, &budget), FA_OK);
        CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
        for (size_t round = 1; round <= 3; round++) {
            check_note("line %zu, frame %u", lines[l], (unsigned)round);
            told.count = 0;
            fa_arena *frame = fa_frame_begin(ctx);
            size_t used = 0;
            while (used <= 2 * lines[l]) {
                CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
                used += 16;
                REQUIRE_EQ(told.count, used > lines[l] ? 1 : 0);
                REQUIRE_EQ(atomic_load(&reports.count), used > lines[l] ? 1 : 0);
            }
            CHECK_EQ(told.last.context, ctx);
            CHECK_EQ(told.last.tag.id, tag.id);
            CHECK_STR_EQ(told.last.tag_path, "tag");
            CHECK_EQ(told.last.requested, 16);
            CHECK_EQ(told.last.charged, lines[l] / 16 * 16);
            CHECK_EQ(told.last.limit, lines[l]);
            CHECK(!told.last.is_hard && !told.last.is_thread);
            const seen_report *seen = log_single(&reports, 304);
            CHECK_EQ(seen->result, FA_OK);
            CHECK_EQ(seen->bytes, 16);
            CHECK_EQ(seen->limit, lines[l]);
            CHECK_STR_EQ(seen->tag_path, "tag");
            fa_frame_end(frame); // It falls below the line, and the next frame crosses it again.
        }
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        nothing_failed();
        context_close(ctx);
    }
}

static void a_parent_s_soft_line_is_exact_over_all_its_children_and_arenas(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag parent = fa_tag_register(ctx, "p");
    fa_tag tags[8];
    for (unsigned i = 0; i < 8; i++) {
        char path[16];
        snprintf(path, sizeof(path), "p/%u", i);
        tags[i] = fa_tag_register(ctx, path);
    }
    told_budget told = {0};
    fa_budget budget = {.soft = 64000, .callback = note_budget, .user = &told};
    CHECK_EQ(fa_budget_set(ctx, parent, &budget), FA_OK);
    fa_arena *own = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, &(fa_arena_desc){.tag = tags[0]}, &own), FA_OK);
    check_rng rng = check_rng_make(check_seed());
    for (int round = 0; round < 5; round++) {
        fa_arena *frame = fa_frame_begin(ctx);
        size_t used = 0;
        told.count = 0;
        while (used < 100000) {
            fa_tag tag = tags[check_rng_below(&rng, 8)];
            size_t size = check_rng_between(&rng, 1, 2000);
            CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
            fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
            CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 16)); // Counts, too.
            REQUIRE_EQ(told.count, used + 16 > 64000 ? 1 : told.count);
            fa_scratch_end(scratch);
            CHECK_NOT_NULL(fa_arena_alloc(check_rng_chance(&rng, 30) ? own : frame, size));
            CHECK_EQ(fa_tag_pop(ctx), FA_OK);
            used += rounded(size);
            check_note("%zu in use", used);
            REQUIRE_EQ(told.count, used > 64000 ? 1 : 0);
        }
        fa_arena_reset(own);
        fa_frame_end(frame);
    }
    fa_arena_destroy(own);
    context_close(ctx);
}

static void each_line_on_the_way_up_is_told_by_itself(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag parent = fa_tag_register(ctx, "p");
    fa_tag child = fa_tag_register(ctx, "p/c");
    told_budget of_root = {0};
    told_budget of_parent = {0};
    told_budget of_child = {0};
    fa_budget budget = {.soft = 3000, .callback = note_budget, .user = &of_root};
    CHECK_EQ(fa_budget_set(ctx, FA_TAG_ROOT, &budget), FA_OK);
    budget = (fa_budget){.soft = 2000, .callback = note_budget, .user = &of_parent};
    CHECK_EQ(fa_budget_set(ctx, parent, &budget), FA_OK);
    budget = (fa_budget){.soft = 1000, .callback = note_budget, .user = &of_child};
    CHECK_EQ(fa_budget_set(ctx, child, &budget), FA_OK);
    CHECK_EQ(fa_tag_push(ctx, child), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    for (size_t used = 16; used <= 4000; used += 16) {
        CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
        REQUIRE_EQ(of_child.count, used > 1000 ? 1 : 0);
        REQUIRE_EQ(of_parent.count, used > 2000 ? 1 : 0);
        REQUIRE_EQ(of_root.count, used > 3000 ? 1 : 0);
    }
    CHECK_STR_EQ(of_root.last.tag_path, "");
    CHECK_STR_EQ(of_parent.last.tag_path, "p");
    fa_frame_end(frame);
    // One allocation may cross them all.
    frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 5000));
    CHECK(of_child.count == 2 && of_parent.count == 2 && of_root.count == 2);
    CHECK_EQ(of_root.last.requested, 5000);
    CHECK_EQ(of_root.last.charged, 0);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    fa_frame_end(frame);
    context_close(ctx);
}

static void a_warning_budget_lets_everything_pass_and_tells_once(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_tag tag = fa_tag_register(ctx, "tag");
    told_budget told = {0};
    fa_budget budget = {
        .hard = 3200, .policy = FA_BUDGET_WARN, .callback = note_budget, .user = &told};
    CHECK_EQ(fa_budget_set(ctx, tag, &budget), FA_OK);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    for (size_t round = 1; round <= 3; round++) {
        fa_arena *frame = fa_frame_begin(ctx);
        for (size_t used = 16; used <= 6400; used += 16) {
            CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
            REQUIRE_EQ(told.count, round - (used > 3200 ? 0 : 1));
        }
        CHECK(told.last.is_hard);
        CHECK_EQ(told.last.limit, 3200);
        const seen_report *seen = log_single(&reports, 306);
        CHECK_EQ(seen->result, FA_OK);
        CHECK_EQ(seen->limit, 3200);
        CHECK_EQ(fa_budget_remaining(ctx, tag), SIZE_MAX); // It refuses nothing.
        fa_frame_end(frame);
    }
    CHECK_EQ(stats_of(ctx).refusals, 0);
    nothing_failed();
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    context_close(ctx);
}

static void a_refusing_line_tells_its_callback_every_time(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag parent = fa_tag_register(ctx, "p");
    fa_tag child = fa_tag_register(ctx, "p/c");
    told_budget told = {0};
    fa_budget budget = {.hard = 1600, .callback = note_budget, .user = &told};
    CHECK_EQ(fa_budget_set(ctx, parent, &budget), FA_OK);
    CHECK_EQ(fa_tag_push(ctx, child), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 1600));
    CHECK_EQ(told.count, 0);
    for (size_t i = 1; i <= 3; i++) {
        CHECK_NULL(fa_arena_alloc(frame, 100));
        CHECK_EQ(told.count, i);
    }
    CHECK_EQ(told.last.tag.id, parent.id);
    CHECK_EQ(told.last.requested, 100);
    CHECK_EQ(told.last.charged, 1600);
    CHECK_EQ(told.last.limit, 1600);
    CHECK(told.last.is_hard && !told.last.is_thread);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    fa_frame_end(frame);
    context_close(ctx);
}

// A callback that uses the library, the same arena included, and raises the budget.
typedef struct greedy {
    fa_context *context;
    fa_arena *frame;
    void *taken;
    size_t calls;
} greedy;

static void take_more(const fa_budget_event *event, void *user) {
    greedy *self = (greedy *)user;
    self->calls += 1;
    if (self->calls == 1) {
        self->taken = fa_arena_alloc(self->frame, 320);
        CHECK_NOT_NULL(self->taken);
        memset(self->taken, 0x66, 320);
        CHECK_GT(stats_of(self->context).frame_bytes, 0);
        CHECK_EQ(event->limit, 1600);
        fa_scratch scratch = fa_scratch_begin(self->context, NULL, 0);
        CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 100));
        fa_scratch_end(scratch);
    }
}

static void a_callback_may_use_the_arena_that_called_it(void) {
    fa_context *ctx = context_open(NULL);
    greedy self = {.context = ctx};
    fa_tag tag = fa_tag_register(ctx, "tag");
    fa_budget budget = {.soft = 1600, .callback = take_more, .user = &self};
    CHECK_EQ(fa_budget_set(ctx, tag, &budget), FA_OK);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    self.frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(self.frame, 1600));
    unsigned char *block = fa_arena_alloc(self.frame, 160);
    REQUIRE_NOT_NULL(block);
    CHECK_EQ(self.calls, 1);
    memset(block, 0x77, 160);
    CHECK_EQ(*(const unsigned char *)self.taken, 0x66);
    CHECK_EQ(((const unsigned char *)self.taken)[319], 0x66);
    CHECK_EQ(fa_arena_used(self.frame), 1600 + 320 + 160);
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 1600 + 320 + 160);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    fa_frame_end(self.frame);
    context_close(ctx);
}

// ---- Thread budgets ----

static void a_thread_budget_limits_each_frame_exactly(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    told_budget told = {0};
    fa_tag tag = fa_tag_register(ctx, "tag");
    fa_thread_budget budget = {.frame_bytes = 3200, .callback = note_budget, .user = &told};
    CHECK_EQ(fa_budget_set_thread(ctx, &budget), FA_OK);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    for (size_t round = 1; round <= 5; round++) {
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_EQ(fill_up(frame, 16), 200);
        CHECK_EQ(fa_last_error()->limit, 3200);
        failed_as(303, FA_ERR_BUDGET);
        CHECK_NULL(fa_arena_alloc(frame, 50));
        const seen_report *seen = log_single(&reports, 303);
        CHECK_EQ(seen->bytes, 50);
        CHECK_EQ(seen->limit, 3200);
        CHECK_EQ(seen->tag.id, tag.id);
        CHECK_EQ(told.count, 2 * round); // Told when it refuses, also a try.
        CHECK(told.last.is_hard && told.last.is_thread);
        CHECK_EQ(told.last.requested, 50);
        CHECK_EQ(told.last.charged, 3200);
        CHECK_EQ(told.last.limit, 3200);
        CHECK_EQ(told.last.tag.id, tag.id);
        fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0); // Frames only.
        CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 10000));
        fa_scratch_end(scratch);
        fa_frame_end(frame);
    }
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    context_close(ctx);
}

static void a_thread_budget_holds_from_the_next_allocation_on(void) {
    fa_config config = {.frames_in_flight = 2};
    fa_context *ctx = context_open(&config);
    for (int round = 0; round < 4; round++) {
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 1600));
        CHECK_EQ(fa_budget_set_thread(ctx, &(fa_thread_budget){.frame_bytes = 1600}), FA_OK);
        CHECK_NULL(fa_arena_alloc(frame, 16));
        failed_as(303, FA_ERR_BUDGET);
        CHECK_EQ(fa_budget_set_thread(ctx, &(fa_thread_budget){.frame_bytes = 3200}), FA_OK);
        CHECK_EQ(fill_up(frame, 16), 100);
        CHECK_EQ(fa_budget_set_thread(ctx, &(fa_thread_budget){.frame_bytes = 100}), FA_OK);
        CHECK_NULL(fa_arena_alloc(frame, 16));
        CHECK_EQ(fa_budget_set_thread(ctx, NULL), FA_OK);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 100000));
        fa_frame_end(frame);
    }
    CHECK_EQ(thread_stats_of(ctx, NULL).frame_budget, 0);
    context_close(ctx);
}

typedef struct other_thread {
    fa_context *context;
    size_t granted;
} other_thread;

static void fill_a_frame(void *arg) {
    other_thread *self = (other_thread *)arg;
    fa_arena *frame = fa_frame_begin(self->context);
    for (size_t i = 0; i < 1000 && fa_arena_alloc(frame, 16) != NULL; i++) {
        self->granted += 1;
    }
    fa_frame_end(frame);
}

static void a_thread_budget_is_the_thread_s_own(void) {
    other_thread other = {.context = context_open(NULL)};
    CHECK_EQ(fa_budget_set_thread(other.context, &(fa_thread_budget){.frame_bytes = 160}), FA_OK);
    check_thread_join(check_thread_start(fill_a_frame, &other));
    CHECK_EQ(other.granted, 1000);
    fa_arena *frame = fa_frame_begin(other.context);
    CHECK_EQ(fill_up(frame, 16), 10);
    fa_frame_end(frame);
    context_close(other.context);
}

static void the_nearest_of_tag_and_thread_budget_refuses(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    set_hard(ctx, tag, 1600);
    CHECK_EQ(fa_budget_set_thread(ctx, &(fa_thread_budget){.frame_bytes = 2400}), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    CHECK_EQ(fill_up(frame, 16), 100);
    failed_as(302, FA_ERR_BUDGET);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    CHECK_EQ(fill_up(frame, 16), 50);
    failed_as(303, FA_ERR_BUDGET);
    fa_frame_end(frame);
    context_close(ctx);
}

TEST_SUITE(budget, TEST(a_hard_budget_is_exact),
           TEST(a_refusal_says_what_was_asked_and_who_refused), TEST(every_parent_s_budget_counts),
           TEST(what_a_parent_refuses_is_charged_to_nobody),
           TEST(frames_scratch_and_own_arenas_of_a_thread_share_exactly),
           TEST(what_a_frame_used_is_free_again_after_it),
           TEST(rewinding_and_ending_scopes_frees_budget),
           TEST(a_budget_can_be_changed_and_removed_at_any_time),
           TEST(below_what_is_in_use_a_budget_refuses_until_enough_is_freed),
           TEST(what_was_set_can_be_read), TEST(bad_budgets_are_refused_and_change_nothing),
           TEST(a_soft_line_is_told_once_exactly_when_it_is_crossed),
           TEST(a_parent_s_soft_line_is_exact_over_all_its_children_and_arenas),
           TEST(each_line_on_the_way_up_is_told_by_itself),
           TEST(a_warning_budget_lets_everything_pass_and_tells_once),
           TEST(a_refusing_line_tells_its_callback_every_time),
           TEST(a_callback_may_use_the_arena_that_called_it),
           TEST(a_thread_budget_limits_each_frame_exactly),
           TEST(a_thread_budget_holds_from_the_next_allocation_on),
           TEST(a_thread_budget_is_the_thread_s_own),
           TEST(the_nearest_of_tag_and_thread_budget_refuses));

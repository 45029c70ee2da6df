// What the core does with the layers above it: who is called when, in which order, and that a layer
// may leave out what it has no use for.
#include "objects_fixture.h"

#include <framealloc/context.h>

// What the layer of this test was asked. Reset by hear().
typedef struct heard {
    size_t quiet;
    size_t trim;
    size_t detach;
    size_t destroy;
    char order[16];   // 't': trim of the upper layer, 'l' of the lower one, 'k': the arenas' trim.
    size_t idle[2];   // Of the root, of tag 1.
    size_t heap_idle; // Of tag 1.
    uint64_t until;
    bool has_more;
    size_t live; // What context_destroy() returns.
} heard;

static heard hears;

static void hear(void) {
    memset(&hears, 0, sizeof(hears));
}

static void note(char what) {
    size_t length = strlen(hears.order);
    if (length + 1 < sizeof(hears.order)) {
        hears.order[length] = what;
    }
}

static void on_quiet(fa_context *ctx, fa__thread *thread) {
    CHECK_EQ(thread->context, ctx);
    CHECK(!fa__thread_has_frame(thread));
    (void)stats_of(ctx); // No lock is held, everything is in order.
    hears.quiet += 1;
}

static bool on_trim(fa_context *ctx, fa__thread *thread, uint64_t until_ns) {
    CHECK(thread == NULL || thread->context == ctx);
    note('t');
    hears.trim += 1;
    hears.until = until_ns;
    return !hears.has_more;
}

static bool on_trim_below(fa_context *ctx, fa__thread *thread, uint64_t until_ns) {
    (void)thread;
    (void)until_ns;
    (void)stats_of(ctx);
    note('l');
    return true;
}

static void on_thread_trim_below(fa__thread *thread, size_t keep) {
    (void)thread;
    CHECK_EQ(keep, 123);
    note('k');
}

static void on_detach(fa__thread *thread) {
    CHECK_NOT_NULL(thread);
    hears.detach += 1;
}

static size_t on_destroy(fa_context *ctx) {
    CHECK_NOT_NULL(ctx);
    hears.destroy += 1;
    return hears.live;
}

static size_t idle(fa_context *ctx, uint32_t tag) {
    CHECK_NOT_NULL(ctx);
    return tag == UINT32_MAX ? hears.idle[0] + hears.idle[1] : (tag < 2 ? hears.idle[tag] : 0);
}

static size_t idle_in_heap(fa_context *ctx, uint32_t tag) {
    CHECK_NOT_NULL(ctx);
    return tag == UINT32_MAX || tag == 1 ? hears.heap_idle : 0;
}

static const fa__tier upper = {.thread_detach = on_detach,
                               .context_destroy = on_destroy,
                               .idle_bytes = idle,
                               .quiet = on_quiet,
                               .trim = on_trim};
static const fa__tier lower = {.trim = on_trim_below, .thread_trim = on_thread_trim_below};
static const fa__tier heap = {.idle_bytes = idle_in_heap};
static const fa__tier empty;

static void a_layer_may_leave_everything_out(void) {
    fa_context *ctx = context_open(&(fa_config){.decay_frames = 2});
    fa__tier_register(ctx, FA__TIER_POOLS, &empty);
    fa__tier_register(ctx, FA__TIER_HEAP, &empty);
    fa__tier_register(ctx, FA__TIER_LIFETIME, &empty);
    for (int i = 0; i < 10; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 100));
        fa_frame_end(frame);
    }
    CHECK_EQ(stats_of(ctx).total_bytes, 0);
    CHECK_EQ(current_of(ctx, FA_TAG_ROOT), 0);
    CHECK_EQ(fa_budget_remaining(ctx, FA_TAG_ROOT), SIZE_MAX);
    CHECK_EQ(fa_context_checks_set(ctx, FA_CHECK_WATCH), FA_OK);
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
    CHECK_EQ(fa_context_trim_for(ctx, 0, UINT64_MAX), FA_OK);
    CHECK_EQ(fa_thread_detach(ctx), FA_OK);
    context_close(ctx);
}

static void run_frames(fa_context *ctx, size_t count) {
    for (size_t i = 0; i < count; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        REQUIRE_NOT_NULL(frame);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 100));
        fa_frame_end(frame);
    }
}

static void quiet_is_told_every_eighth_window(void) {
    for (uint32_t in_flight = 1; in_flight <= 4; in_flight *= 2) {
        hear();
        fa_context *ctx =
            context_open(&(fa_config){.decay_frames = 64, .frames_in_flight = in_flight});
        fa__tier_register(ctx, FA__TIER_POOLS, &upper);
        check_note("%u in flight", (unsigned)in_flight);
        run_frames(ctx, 32 * 8 - 1);
        CHECK_EQ(hears.quiet, 0);
        run_frames(ctx, 32 * 8 * 9 + 1 + in_flight); // With several, memory is taken back later.
        CHECK_EQ(hears.quiet, 10);
        // Giving a spike back takes steps: they are no windows.
        fa_arena *frame = fa_frame_begin(ctx);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 32 * MIB));
        fa_frame_end(frame);
        run_frames(ctx, 32 * 8 * 12);
        CHECK_LE(hears.quiet, 10 + 13);
        CHECK_GE(hears.quiet, 10 + 9);
        // Not while the thread's frames, or the context, are taken down.
        size_t before = hears.quiet;
        for (int i = 0; i < 200; i++) {
            run_frames(ctx, in_flight - 1);
            CHECK_NOT_NULL(fa_frame_begin(ctx));
            size_t until_now = hears.quiet;
            CHECK_EQ(fa_thread_detach(ctx), FA_OK); // Ends the frame.
            CHECK_EQ(hears.quiet, until_now);
        }
        CHECK_GE(hears.quiet, before);
        CHECK_EQ(hears.detach, 200);
        for (int i = 0; i < 40; i++) {
            CHECK_NOT_NULL(fa_frame_begin(ctx));
            before = hears.quiet;
            CHECK_EQ(fa_thread_detach(ctx), FA_OK);
            CHECK_EQ(hears.quiet, before);
        }
        CHECK_EQ(hears.destroy, 0);
        context_close(ctx);
        CHECK_EQ(hears.destroy, 1);
        CHECK_EQ(hears.quiet, before);
    }
}

static void trimming_starts_with_the_highest_layer(void) {
    hear();
    fa_context *ctx = context_open(NULL);
    fa__tier_register(ctx, FA__TIER_POOLS, &lower);
    fa__tier_register(ctx, FA__TIER_HEAP, &upper);
    CHECK_EQ(fa_context_trim(ctx, 123), FA_OK); // A thread without a state has no arenas to trim.
    CHECK_STR_EQ(hears.order, "tl");
    CHECK_EQ(hears.until, UINT64_MAX);
    hear();
    CHECK_EQ(fa_thread_attach(ctx, NULL), FA_OK);
    CHECK_EQ(fa_context_trim(ctx, 123), FA_OK);
    CHECK_STR_EQ(hears.order, "tlk");
    hear();
    uint64_t now = fa__os_clock_ns();
    CHECK_EQ(fa_context_trim_for(ctx, 123, 3600000000000u), FA_OK); // An hour will do.
    CHECK_STR_EQ(hears.order, "tlk");
    CHECK_GE(hears.until, now + 3600000000000u);
    CHECK_LT(hears.until, now + 7200000000000u);
    hear();
    CHECK_EQ(fa_context_trim_for(ctx, 123, UINT64_MAX - 1), FA_OK); // No wrapping round.
    CHECK_EQ(hears.until, UINT64_MAX);
    context_close(ctx);
}

static void trimming_ends_when_time_runs_out(void) {
    hear();
    fa_context *ctx = context_open(NULL);
    fa__tier_register(ctx, FA__TIER_POOLS, &lower);
    fa__tier_register(ctx, FA__TIER_HEAP, &upper);
    CHECK_EQ(fa_context_trim_for(ctx, 123, 0), FA_ERR_TIMEOUT);
    CHECK_STR_EQ(hears.order, ""); // There was no time for anything.
    hears.has_more = true;
    CHECK_EQ(fa_context_trim_for(ctx, 123, 3600000000000u), FA_ERR_TIMEOUT);
    CHECK_STR_EQ(hears.order, "t");
    hears.has_more = false;
    CHECK_EQ(fa_context_trim_for(ctx, 123, 3600000000000u), FA_OK); // The next call goes on.
    CHECK_STR_EQ(hears.order, "ttl");
    context_close(ctx);
}

static void what_waits_in_caches_is_not_in_use(void) {
    hear();
    fa_context *ctx = context_open(NULL);
    fa__tier_register(ctx, FA__TIER_POOLS, &upper);
    fa__tier_register(ctx, FA__TIER_HEAP, &heap);
    fa_tag parent = fa_tag_register(ctx, "a");
    fa_tag child = fa_tag_register(ctx, "a/b");
    CHECK_EQ(parent.id, 1);
    CHECK(charge(ctx, POOL, FA_TAG_ROOT, 1000));
    CHECK(charge(ctx, POOL, parent, 500));
    CHECK(charge(ctx, POOL, child, 50));
    CHECK(charge(ctx, HEAP, parent, 7));
    hears.idle[0] = 100;
    hears.idle[1] = 20;
    CHECK_EQ(stats_of(ctx).pool_bytes, 1430);
    CHECK_EQ(stats_of(ctx).heap_bytes, 7);
    CHECK_EQ(stats_of(ctx).total_bytes, 1437);
    CHECK_EQ(current_of(ctx, FA_TAG_ROOT), 1437);
    CHECK_EQ(current_of(ctx, parent), 537);
    CHECK_EQ(current_of(ctx, child), 50);
    hears.heap_idle = 3;
    CHECK_EQ(stats_of(ctx).pool_bytes, 1430);
    CHECK_EQ(stats_of(ctx).heap_bytes, 4);
    CHECK_EQ(current_of(ctx, FA_TAG_ROOT), 1434);
    CHECK_EQ(current_of(ctx, parent), 534);
    CHECK_EQ(current_of(ctx, child), 50);
    // A cache was filled between the two looks: never below nothing.
    hears.idle[1] = 5000;
    CHECK_EQ(stats_of(ctx).pool_bytes, 0);
    CHECK_EQ(current_of(ctx, parent), 4);
    hears.heap_idle = 8;
    CHECK_EQ(stats_of(ctx).total_bytes, 0);
    CHECK_EQ(current_of(ctx, parent), 0);
    context_close(ctx);
}

static void checks_that_decide_a_layout_cannot_change_once_there_is_one(void) {
    const uint32_t layout = FA_CHECK_BLOCKS | FA_CHECK_SITES;
    for (int i = 0; i < 2; i++) {
        fa_context *ctx = context_open(NULL);
        CHECK_EQ(fa_context_checks_set(ctx, layout), FA_OK);
        CHECK_EQ(fa_context_checks_set(ctx, FA_CHECK_SITES), FA_OK);
        int something = 0;
        fa__store_release(i == 0 ? &ctx->pools : &ctx->heap, (void *)&something);
        CHECK_EQ(fa_context_checks_set(ctx, 0), FA_ERR_BUSY);
        failed_as(17, FA_ERR_BUSY);
        CHECK_EQ(fa_context_checks_set(ctx, layout), FA_ERR_BUSY);
        CHECK_EQ(fa__load(&ctx->checks), FA_CHECK_SITES);
        CHECK_EQ(fa_context_checks_set(ctx, FA_CHECK_SITES | FA_CHECK_WATCH), FA_OK);
        CHECK_EQ(fa__load(&ctx->checks), FA_CHECK_SITES | FA_CHECK_WATCH);
        fa__store_release(i == 0 ? &ctx->pools : &ctx->heap, NULL);
        context_close(ctx);
    }
}

static void what_a_layer_finds_live_makes_the_end_busy(void) {
    hear();
    fa_context *ctx = context_open(NULL);
    fa__tier_register(ctx, FA__TIER_LIFETIME, &upper);
    hears.live = 3;
    CHECK_EQ(fa_context_destroy(ctx), FA_ERR_BUSY);
    CHECK_EQ(hears.destroy, 1);
}

typedef struct seen_block {
    const void *ptr;
    const void *site;
    uint64_t count;
} seen_block;

static void note_block(const fa_report *report, void *user) {
    *(seen_block *)user = (seen_block){report->ptr, report->site, report->count};
}

static void reports_and_the_last_error_name_the_block(void) {
    fa_context *ctx = context_open(NULL);
    seen_block seen = {NULL, NULL, 0};
    CHECK_EQ(fa_report_set(ctx, note_block, &seen), FA_OK);
    const fa__failure failure = {.context = ctx,
                                 .code = FA__CODE_DOUBLE_FREE,
                                 .result = FA_ERR_INVALID,
                                 .bytes = 64,
                                 .where = "contacts",
                                 .ptr = (const void *)(uintptr_t)0x7f00,
                                 .site = (const void *)(uintptr_t)0x1230,
                                 .count = 2};
    CHECK_EQ(fa__fail(&failure), FA_ERR_INVALID);
    CHECK_EQ((uintptr_t)seen.ptr, 0x7f00);
    CHECK_EQ((uintptr_t)seen.site, 0x1230);
    CHECK_EQ(seen.count, 2);
    CHECK_STR_EQ(fa_last_error()->text,
                 "FA403 error: block freed twice: 64 bytes, in \"contacts\", 2 blocks, "
                 "at 0x7f00, allocated by 0x1230");
    failed_as(403, FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->text, "it worked"); // Nothing is left of it.
    context_close(ctx);
}

TEST_SUITE(tiers, TEST(a_layer_may_leave_everything_out), TEST(quiet_is_told_every_eighth_window),
           TEST(trimming_starts_with_the_highest_layer), TEST(trimming_ends_when_time_runs_out),
           TEST(what_waits_in_caches_is_not_in_use),
           TEST(checks_that_decide_a_layout_cannot_change_once_there_is_one),
           TEST(what_a_layer_finds_live_makes_the_end_busy),
           TEST(reports_and_the_last_error_name_the_block));

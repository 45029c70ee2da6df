// Streams: what each function promises, one rule at a time.
#include "stream_fixture.h"

// ---- Loading ----

static void an_asset_goes_through_its_states(void) {
    fa_context *ctx = context_open(NULL);
    fa_stream *stream = stream_with(ctx, 1000, NULL);
    int owner = 0;
    fa_asset_desc desc = {.size = 600, .align = 256, .priority = 9, .user = &owner};
    fa_asset asset;
    REQUIRE_EQ(fa_stream_reserve(stream, &desc, &asset), FA_OK);
    CHECK_EQ(fa_stream_state(stream, asset), FA_ASSET_RESERVED);
    CHECK_NULL(fa_stream_access(stream, asset));
    CHECK_EQ(fa_last_error()->result, FA_ERR_BUSY);

    unsigned char *to = (unsigned char *)fa_stream_load_begin(stream, asset);
    REQUIRE_NOT_NULL(to);
    CHECK_EQ((uintptr_t)to % 256, 0);
    memset(to, 0x5A, 600);
    CHECK_EQ(fa_stream_state(stream, asset), FA_ASSET_LOADING);
    CHECK_NULL(fa_stream_access(stream, asset));
    CHECK_EQ(fa_stream_loaded(stream, asset), 0);
    CHECK_EQ(fa_stream_load_advance(stream, asset, 200), FA_OK);
    CHECK_EQ(fa_stream_load_advance(stream, asset, 300), FA_OK);
    CHECK_EQ(fa_stream_loaded(stream, asset), 500);

    CHECK_EQ(fa_stream_load_finish(stream, asset), FA_OK);
    CHECK_EQ(fa_stream_state(stream, asset), FA_ASSET_READY);
    CHECK_EQ(fa_stream_access(stream, asset), to);
    CHECK_EQ(to[0], 0x5A);
    CHECK_EQ(to[599], 0x5A);
    fa_asset_info info = asset_info_of(stream, asset);
    CHECK_EQ(info.state, FA_ASSET_READY);
    CHECK_EQ(info.size, 600);
    CHECK_EQ(info.loaded, 600);
    CHECK_EQ(info.align, 256);
    CHECK_EQ(info.priority, 9);
    CHECK_EQ(info.pins, 0);
    CHECK_EQ(info.user, (void *)&owner);

    CHECK_EQ(fa_stream_free(stream, asset), FA_OK);
    CHECK_EQ(fa_stream_state(stream, asset), FA_ASSET_GONE);
    CHECK_EQ(fa_stream_loaded(stream, asset), 0);
    stream_close(stream);
    context_close(ctx);
}

static void a_reservation_counts_at_once_and_takes_no_memory(void) {
    fa_context *ctx = context_open(NULL);
    fa_stream *stream = stream_with(ctx, 100000, NULL);
    size_t before = stats_of(ctx).heap_bytes;
    fa_asset asset = asset_reserve(stream, 70000, 0);
    CHECK_EQ(stream_stats_of(stream).used_bytes, 70000);
    CHECK_EQ(stats_of(ctx).heap_bytes, before);
    asset_refuse(stream, 30001, 255);
    REQUIRE_NOT_NULL(fa_stream_load_begin(stream, asset));
    CHECK_GE(stats_of(ctx).heap_bytes, before + 70000);
    CHECK_EQ(stream_stats_of(stream).used_bytes, 70000);
    CHECK_EQ(fa_stream_load_fail(stream, asset), FA_OK);
    CHECK_EQ(stats_of(ctx).heap_bytes, before);
    CHECK_EQ(fa_stream_free(stream, asset), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

static void memory_is_charged_to_the_asset_s_tag_or_the_stream_s(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag textures = fa_tag_register(ctx, "textures");
    fa_tag sky = fa_tag_register(ctx, "sky");
    fa_stream *stream = stream_open(ctx, &(fa_stream_desc){.tag = textures});
    fa_asset plain = asset_ready(stream, 70000, 0);
    fa_asset special;
    REQUIRE_EQ(fa_stream_reserve(stream, &(fa_asset_desc){.size = 80000, .tag = sky}, &special),
               FA_OK);
    asset_load(stream, special, 80000);
    CHECK_EQ(asset_info_of(stream, plain).tag.id, textures.id);
    CHECK_EQ(asset_info_of(stream, special).tag.id, sky.id);
    CHECK_GE(tag_stats_of(ctx, textures).current_bytes, 70000);
    CHECK_LT(tag_stats_of(ctx, textures).current_bytes, 80000);
    CHECK_GE(tag_stats_of(ctx, sky).current_bytes, 80000);
    CHECK_EQ(fa_stream_free(stream, plain), FA_OK);
    CHECK_EQ(fa_stream_free(stream, special), FA_OK);
    CHECK_EQ(tag_stats_of(ctx, textures).current_bytes, 0);
    CHECK_EQ(tag_stats_of(ctx, sky).current_bytes, 0);
    stream_close(stream);
    context_close(ctx);
}

static void a_failed_load_may_be_begun_again(void) {
    fa_context *ctx = context_open(NULL);
    fa_stream *stream = stream_with(ctx, 1000, NULL);
    fa_asset asset = asset_reserve(stream, 1000, 0);
    for (int round = 0; round < 3; round++) {
        REQUIRE_NOT_NULL(fa_stream_load_begin(stream, asset));
        CHECK_EQ(fa_stream_load_advance(stream, asset, 999), FA_OK);
        CHECK_EQ(fa_stream_load_fail(stream, asset), FA_OK);
        CHECK_EQ(fa_stream_state(stream, asset), FA_ASSET_RESERVED);
        CHECK_EQ(fa_stream_loaded(stream, asset), 0);
        CHECK_EQ(stream_stats_of(stream).used_bytes, 1000);
    }
    asset_load(stream, asset, 1000);
    CHECK_EQ(fa_stream_loaded(stream, asset), 1000);
    CHECK_EQ(fa_stream_free(stream, asset), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

static void a_refused_begin_leaves_the_asset_reserved(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    fa_stream *stream = stream_open(ctx, &(fa_stream_desc){.tag = tag});
    fa_asset asset = asset_reserve(stream, 200000, 0);
    CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = 100000}), FA_OK);
    CHECK_NULL(fa_stream_load_begin(stream, asset));
    failed_as(302, FA_ERR_BUDGET);
    CHECK_EQ(fa_stream_state(stream, asset), FA_ASSET_RESERVED);
    CHECK_EQ(stream_stats_of(stream).reserved_bytes, 200000);
    CHECK_EQ(stream_stats_of(stream).loading_bytes, 0);
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 0);
    CHECK_EQ(fa_budget_set(ctx, tag, NULL), FA_OK);
    asset_load(stream, asset, 200000);
    CHECK_EQ(fa_stream_free(stream, asset), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

typedef struct freeing_callback {
    fa_stream *stream;
    fa_asset asset;
    size_t calls;
} freeing_callback;

static void free_asset_on_budget(const fa_budget_event *event, void *user) {
    (void)event;
    freeing_callback *self = (freeing_callback *)user;
    self->calls += 1;
    CHECK_EQ(fa_stream_load_finish(self->stream, self->asset), FA_ERR_INVALID); // No memory yet.
    CHECK_EQ(fa_stream_free(self->stream, self->asset), FA_OK);
    CHECK_EQ(fa_stream_state(self->stream, self->asset), FA_ASSET_FREEING);
}

static void an_asset_freed_while_its_memory_is_refused_is_gone(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    fa_stream *stream = stream_open(ctx, &(fa_stream_desc){.tag = tag});
    freeing_callback self = {.stream = stream, .asset = asset_reserve(stream, 200000, 0)};
    fa_budget budget = {.hard = 100000, .callback = free_asset_on_budget, .user = &self};
    CHECK_EQ(fa_budget_set(ctx, tag, &budget), FA_OK);
    CHECK_NULL(fa_stream_load_begin(stream, self.asset));
    CHECK_EQ(self.calls, 1);
    CHECK(is_gone(stream, self.asset));
    stream_close(stream);
    context_close(ctx);
}

static void an_asset_freed_while_loading_goes_when_its_loader_is_done(void) {
    fa_context *ctx = context_open(NULL);
    report_log reports;
    log_attach(ctx, &reports);
    fa_stream *stream = stream_with(ctx, 1000, NULL);
    for (int round = 0; round < 2; round++) {
        fa_asset asset = asset_reserve(stream, 1000, 0);
        unsigned char *to = (unsigned char *)fa_stream_load_begin(stream, asset);
        REQUIRE_NOT_NULL(to);
        CHECK_EQ(fa_stream_free(stream, asset), FA_OK);
        CHECK_EQ(fa_stream_state(stream, asset), FA_ASSET_FREEING);
        memset(to, 1, 1000); // The loader does not know yet.
        CHECK_EQ(fa_stream_load_advance(stream, asset, 10), FA_ERR_STALE);
        CHECK_NULL(fa_stream_access(stream, asset));
        CHECK_EQ(fa_stream_pin(stream, asset), FA_ERR_STALE);
        CHECK_EQ(stream_stats_of(stream).used_bytes, 1000);
        CHECK_EQ(stream_stats_of(stream).loading_assets, 1);
        CHECK_EQ(round == 0 ? fa_stream_load_finish(stream, asset)
                            : fa_stream_load_fail(stream, asset),
                 FA_ERR_STALE);
        CHECK(is_gone(stream, asset));
        CHECK_EQ(stream_stats_of(stream).used_bytes, 0);
        CHECK_EQ(stream_stats_of(stream).loading_assets, 0);
    }
    log_empty(&reports);
    stream_close(stream);
    context_close(ctx);
}

// ---- Pins ----

static void a_pinned_asset_is_neither_evicted_nor_freed(void) {
    fa_context *ctx = context_open(NULL);
    report_log reports;
    log_attach(ctx, &reports);
    fa_stream *stream = stream_with(ctx, 100, NULL);
    fa_asset asset = asset_reserve(stream, 100, 0);
    CHECK_EQ(fa_stream_pin(stream, asset), FA_OK); // Before it is loaded.
    asset_load(stream, asset, 100);
    CHECK_EQ(fa_stream_pin(stream, asset), FA_OK);
    CHECK_EQ(asset_info_of(stream, asset).pins, 2);
    for (int pins = 2; pins > 0; pins--) {
        asset_refuse(stream, 10, 255);
        log_single(&reports, 402);
        CHECK_EQ(fa_stream_free(stream, asset), FA_ERR_BUSY);
        log_single(&reports, 408);
        CHECK(is_ready(stream, asset));
        CHECK_EQ(fa_stream_unpin(stream, asset), FA_OK);
    }
    CHECK_EQ(fa_stream_unpin(stream, asset), FA_ERR_INVALID);
    log_single(&reports, 17);
    fa_asset next = asset_reserve(stream, 10, 0); // Came back although it was passed over.
    CHECK(is_gone(stream, asset));
    CHECK_EQ(fa_stream_free(stream, next), FA_OK);
    log_empty(&reports);
    stream_close(stream);
    context_close(ctx);
}

static void a_pinned_asset_that_is_loading_is_not_freed(void) {
    fa_context *ctx = context_open(NULL);
    fa_stream *stream = stream_with(ctx, 100, NULL);
    fa_asset asset = asset_reserve(stream, 100, 0);
    CHECK_EQ(fa_stream_pin(stream, asset), FA_OK);
    CHECK_EQ(fa_stream_free(stream, asset), FA_ERR_BUSY);
    REQUIRE_NOT_NULL(fa_stream_load_begin(stream, asset));
    CHECK_EQ(fa_stream_free(stream, asset), FA_ERR_BUSY);
    CHECK_EQ(fa_stream_state(stream, asset), FA_ASSET_LOADING);
    CHECK_EQ(fa_stream_load_fail(stream, asset), FA_OK);
    CHECK_EQ(asset_info_of(stream, asset).pins, 1);
    CHECK_EQ(fa_stream_unpin(stream, asset), FA_OK);
    CHECK_EQ(fa_stream_free(stream, asset), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

// ---- Limits ----

static void assets_are_limited_in_number(void) {
    fa_context *ctx = context_open(NULL);
    report_log reports;
    log_attach(ctx, &reports);
    fa_stream *stream = stream_open(ctx, &(fa_stream_desc){.name = "few", .max_assets = 3});
    fa_asset assets[3];
    for (int i = 0; i < 3; i++) {
        assets[i] = asset_ready(stream, 10, 0);
    }
    fa_asset more;
    CHECK_EQ(fa_stream_reserve(stream, &(fa_asset_desc){.size = 20}, &more), FA_ERR_LIMIT);
    const seen_report *seen = log_single(&reports, 409);
    CHECK_EQ(seen->limit, 3);
    CHECK_STR_EQ(seen->where, "few");
    CHECK_EQ(stream_stats_of(stream).refusals, 1);
    for (int i = 0; i < 3; i++) {
        CHECK(is_ready(stream, assets[i])); // Nothing is evicted for that.
        CHECK_EQ(fa_stream_free(stream, assets[i]), FA_OK);
    }
    CHECK_EQ(fa_stream_free(stream, asset_reserve(stream, 20, 0)), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

static void many_assets_keep_apart(void) {
    enum { COUNT = 3000 };
    static fa_asset assets[COUNT];
    fa_context *ctx = context_open(NULL);
    fa_stream *stream = stream_with(ctx, 0, NULL);
    for (size_t i = 0; i < COUNT; i++) {
        fa_asset_desc desc = {.size = i + 1, .user = &assets[i]};
        REQUIRE_EQ(fa_stream_reserve(stream, &desc, &assets[i]), FA_OK);
    }
    for (size_t i = 0; i < COUNT; i++) {
        fa_asset_info info = asset_info_of(stream, assets[i]);
        CHECK_EQ(info.size, i + 1);
        CHECK_EQ(info.user, (void *)&assets[i]);
    }
    CHECK_EQ(stream_stats_of(stream).reserved_assets, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK_EQ(fa_stream_free(stream, assets[i]), FA_OK);
    }
    stream_close(stream);
    context_close(ctx);
}

static void a_stream_without_a_budget_refuses_nothing(void) {
    fa_context *ctx = context_open(NULL);
    fa_stream *stream = stream_open(ctx, NULL);
    CHECK_STR_EQ(stream_stats_of(stream).name, "stream");
    CHECK_EQ(stream_stats_of(stream).budget_bytes, 0);
    fa_asset first = asset_reserve(stream, SIZE_MAX / 4 < UINT32_MAX ? SIZE_MAX / 4 : 1 << 30, 0);
    fa_asset second = asset_ready(stream, 100, 0);
    CHECK_EQ(fa_stream_free(stream, first), FA_OK);
    CHECK_EQ(fa_stream_free(stream, second), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

// ---- Ends ----

static void a_stream_that_ends_with_assets_is_reported(void) {
    fa_context *ctx = context_open(NULL);
    report_log reports;
    log_attach(ctx, &reports);
    size_t before = stats_of(ctx).heap_bytes;
    fa_tag tag = fa_tag_register(ctx, "tag");
    fa_stream *stream = stream_open(ctx, &(fa_stream_desc){.name = "left", .tag = tag});
    fa_asset ready = asset_ready(stream, 10, 0);
    CHECK_EQ(fa_stream_pin(stream, ready), FA_OK);
    REQUIRE_NOT_NULL(fa_stream_load_begin(stream, asset_reserve(stream, 20, 0)));
    asset_reserve(stream, 30, 0);
    CHECK_EQ(fa_stream_destroy(stream), FA_ERR_BUSY);
    const seen_report *seen = log_single(&reports, 406);
    CHECK_EQ(seen->bytes, 60);
    CHECK_EQ(seen->tag.id, tag.id);
    CHECK_STR_EQ(seen->where, "left");
    CHECK_EQ(stats_of(ctx).heap_bytes, before);
    CHECK_EQ(fa_stream_destroy(NULL), FA_OK);
    stream = stream_with(ctx, 100, NULL); // With the records of the one before.
    CHECK(is_gone(stream, ready));
    for (int i = 0; i < 20; i++) {
        asset_ready(stream, 50, 0);
    }
    CHECK_EQ(fa_stream_trim(stream, 0), 100);
    stream_close(stream);
    log_empty(&reports);
    context_close(ctx);
}

static void a_context_that_ends_with_streams_reports_each(void) {
    fa_context *ctx = context_open(NULL);
    report_log reports;
    log_attach(ctx, &reports);
    fa_stream *stream = stream_open(ctx, &(fa_stream_desc){.name = "one"});
    asset_ready(stream, 100000, 0);
    asset_reserve(stream, 5, 0);
    stream_open(ctx, &(fa_stream_desc){.name = "two"});
    CHECK_EQ(fa_stream_destroy(stream_open(ctx, NULL)), FA_OK);
    CHECK_EQ(fa_context_destroy(ctx), FA_ERR_BUSY);
    CHECK_EQ(atomic_load(&reports.count), 2);
    CHECK_EQ(log_count(&reports, 406), 2);
    CHECK_STR_EQ(reports.seen[0].where, "two");
    CHECK_STR_EQ(reports.seen[1].where, "one");
    CHECK_EQ(reports.seen[1].bytes, 100005);
}

static void a_later_stream_does_not_know_handles_of_one_before(void) {
    fa_context *ctx = context_open(NULL);
    fa_stream *stream = stream_with(ctx, 60, NULL);
    fa_asset old[3];
    for (int i = 0; i < 3; i++) {
        old[i] = asset_ready(stream, 30, 0);
    }
    CHECK_EQ(stream_stats_of(stream).evictions, 1);
    CHECK_EQ(fa_stream_destroy(stream), FA_ERR_BUSY);
    fa_stream *next = stream_with(ctx, 50, NULL);
    fa_asset present[4];
    for (int i = 0; i < 4; i++) {
        present[i] = asset_ready(next, 10, 0);
    }
    for (int i = 0; i < 3; i++) {
        CHECK(is_gone(next, old[i]));
        CHECK_NULL(fa_stream_access(next, old[i]));
    }
    CHECK_EQ(stream_stats_of(next).ready_assets, 4);
    CHECK_EQ(stream_stats_of(next).evictions, 0);
    CHECK_EQ(stream_stats_of(next).peak_bytes, 40);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(fa_stream_free(next, present[i]), FA_OK);
    }
    stream_close(next);
    context_close(ctx);
}

TEST_SUITE(stream, TEST(an_asset_goes_through_its_states),
           TEST(a_reservation_counts_at_once_and_takes_no_memory),
           TEST(memory_is_charged_to_the_asset_s_tag_or_the_stream_s),
           TEST(a_failed_load_may_be_begun_again), TEST(a_refused_begin_leaves_the_asset_reserved),
           TEST(an_asset_freed_while_its_memory_is_refused_is_gone),
           TEST(an_asset_freed_while_loading_goes_when_its_loader_is_done),
           TEST(a_pinned_asset_is_neither_evicted_nor_freed),
           TEST(a_pinned_asset_that_is_loading_is_not_freed), TEST(assets_are_limited_in_number),
           TEST(many_assets_keep_apart), TEST(a_stream_without_a_budget_refuses_nothing),
           TEST(a_stream_that_ends_with_assets_is_reported),
           TEST(a_context_that_ends_with_streams_reports_each),
           TEST(a_later_stream_does_not_know_handles_of_one_before));

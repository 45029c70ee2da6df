// Streams used wrongly: refused, told, and nothing changed.
#include "../src/lifetime/assets.h"
#include "stream_fixture.h"

static void descriptions_that_make_no_sense_are_refused(void) {
    fa_context *ctx = context_open(NULL);
    report_log reports;
    log_attach(ctx, &reports);
    fa_stream *stream = NULL;
    CHECK_EQ(fa_stream_create(ctx, &(fa_stream_desc){.tag = {1234}}, &stream), FA_ERR_INVALID);
    log_single(&reports, 802);
    CHECK_NULL(stream);
    CHECK_EQ(fa_stream_create(ctx, NULL, NULL), FA_ERR_INVALID);
    log_single(&reports, 17);

    stream = stream_with(ctx, 0, NULL);
    static const struct {
        fa_asset_desc desc;
        fa_result result;
        int code;
    } cases[] = {
        {{.size = 0}, FA_ERR_INVALID, 12},
        {{.size = 10, .align = 3}, FA_ERR_INVALID, 18},
        {{.size = 10, .align = 2 * FA_ALIGNMENT_MAX}, FA_ERR_INVALID, 18},
        {{.size = 10, .tag = {1234}}, FA_ERR_INVALID, 802},
#if SIZE_MAX > 0xFFFFFFFFu
        {{.size = (size_t)1 << 48}, FA_ERR_OVERFLOW, 13},
        {{.size = SIZE_MAX}, FA_ERR_OVERFLOW, 13},
#endif
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_note("case %zu", i);
        fa_asset asset = {7, 7};
        CHECK_EQ(fa_stream_reserve(stream, &cases[i].desc, &asset), cases[i].result);
        CHECK_EQ(asset.generation, 0);
        log_single(&reports, cases[i].code);
    }
    fa_asset asset;
    CHECK_EQ(fa_stream_reserve(stream, NULL, &asset), FA_ERR_INVALID); // No size.
    log_single(&reports, 12);
    CHECK_EQ(fa_stream_reserve(stream, &(fa_asset_desc){.size = 1}, NULL), FA_ERR_INVALID);
    log_single(&reports, 17);
    CHECK_EQ(fa_stream_stats(stream, NULL), FA_ERR_INVALID);
    log_single(&reports, 17);
    CHECK_EQ(fa_stream_get(stream, asset, NULL), FA_ERR_INVALID);
    log_single(&reports, 17);
    stream_close(stream);
    context_close(ctx);
}

// Sizes whose sums would wrap are compared, not added.
static void huge_sizes_do_not_wrap(void) {
    fa_context *ctx = context_open(NULL);
    fa_stream *stream = stream_with(ctx, 1000, NULL);
    size_t huge = (size_t)(FA__ASSET_SIZE_MAX < SIZE_MAX ? FA__ASSET_SIZE_MAX : SIZE_MAX);
    fa_asset small = asset_reserve(stream, 1000, 0);
    asset_refuse(stream, huge, 255);
    CHECK_EQ(fa_stream_free(stream, small), FA_OK);
    asset_refuse(stream, huge, 255);
    CHECK_EQ(fa_stream_set_budget(stream, 0), FA_OK);
    fa_asset first = asset_reserve(stream, huge, 0);
    CHECK_NULL(fa_stream_load_begin(stream, first)); // There is no such memory.
    CHECK_EQ(fa_stream_state(stream, first), FA_ASSET_RESERVED);
    CHECK_EQ(fa_stream_free(stream, first), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

// Every function on a handle that refers to nothing. Those that look things up tell nobody.
static void use_stale(fa_stream *stream, report_log *reports, fa_asset asset, bool is_reported) {
    fa_stream_stats_result before = stream_stats_of(stream);
    fa_asset_info info;
    CHECK_EQ(fa_stream_state(stream, asset), FA_ASSET_GONE);
    CHECK_EQ(fa_stream_loaded(stream, asset), 0);
    CHECK_NULL(fa_stream_access(stream, asset));
    failed_as(401, FA_ERR_STALE);
    CHECK_EQ(fa_stream_pin(stream, asset), FA_ERR_STALE);
    failed_as(401, FA_ERR_STALE);
    CHECK_EQ(fa_stream_get(stream, asset, &info), FA_ERR_STALE);
    failed_as(401, FA_ERR_STALE);
    CHECK_EQ(info.state, FA_ASSET_GONE);
    log_empty(reports);

    CHECK_NULL(fa_stream_load_begin(stream, asset));
    failed_as(401, FA_ERR_STALE);
    CHECK_EQ(fa_stream_load_advance(stream, asset, 0), FA_ERR_STALE);
    failed_as(401, FA_ERR_STALE);
    CHECK_EQ(fa_stream_load_finish(stream, asset), FA_ERR_STALE);
    failed_as(401, FA_ERR_STALE);
    CHECK_EQ(fa_stream_load_fail(stream, asset), FA_ERR_STALE);
    failed_as(401, FA_ERR_STALE);
    CHECK_EQ(fa_stream_unpin(stream, asset), FA_ERR_STALE);
    failed_as(401, FA_ERR_STALE);
    CHECK_EQ(fa_stream_set_priority(stream, asset, 1), FA_ERR_STALE);
    failed_as(401, FA_ERR_STALE);
    CHECK_EQ(fa_stream_free(stream, asset), FA_ERR_STALE);
    failed_as(401, FA_ERR_STALE);
    CHECK_EQ(atomic_load(&reports->count), is_reported ? 7 : 0);
    CHECK_EQ(log_count(reports, 401), is_reported ? 7 : 0);
    atomic_store(&reports->count, 0);
    fa_stream_stats_result after = stream_stats_of(stream);
    CHECK_MEM_EQ(&after, &before, sizeof(after));
}

static void stale_handles_are_found_by_every_function(void) {
    fa_context *ctx = context_open(NULL);
    report_log reports;
    log_attach(ctx, &reports);
    fa_stream *stream = stream_with(ctx, 100, NULL);
    fa_asset freed = asset_ready(stream, 100, 0);
    CHECK_EQ(fa_stream_free(stream, freed), FA_OK);
    use_stale(stream, &reports, freed, true);
    fa_asset evicted = asset_ready(stream, 100, 0); // In the same place.
    use_stale(stream, &reports, freed, true);
    fa_asset present = asset_ready(stream, 100, 0);
    CHECK(is_gone(stream, evicted));
    // Its user could not know: no report.
    use_stale(stream, &reports, evicted, false);
    use_stale(stream, &reports, (fa_asset){0, 0}, true);
    use_stale(stream, &reports, (fa_asset){present.index, present.generation + 1}, true);
    use_stale(stream, &reports, (fa_asset){present.index + 20, 1}, true);
    use_stale(stream, &reports, (fa_asset){FA__ASSETS_MAX - 1, 1}, true);
    use_stale(stream, &reports, (fa_asset){FA__ASSETS_MAX, 1}, true);
    use_stale(stream, &reports, (fa_asset){UINT32_MAX, UINT32_MAX}, true);
    CHECK(is_ready(stream, present));
    CHECK_EQ(fa_stream_free(stream, present), FA_OK);
    use_stale(stream, &reports, present, true);
    fa_asset others[] = {asset_reserve(stream, 1, 0), asset_reserve(stream, 1, 0)};
    CHECK(others[0].index == evicted.index || others[1].index == evicted.index);
    CHECK_EQ(fa_stream_free(stream, others[0]), FA_OK);
    CHECK_EQ(fa_stream_free(stream, others[1]), FA_OK);
    use_stale(stream, &reports, evicted, false); // How it ended is not known any more.
    stream_close(stream);
    context_close(ctx);
}

// ---- Steps out of order ----

static void refused_as(report_log *reports, int code, fa_result got, fa_result expected) {
    CHECK_EQ(got, expected);
    failed_as(code, expected);
    log_single(reports, code);
}

static void steps_out_of_order_are_refused(void) {
    fa_context *ctx = context_open(NULL);
    report_log reports;
    log_attach(ctx, &reports);
    fa_stream *stream = stream_with(ctx, 100, NULL);
    fa_asset asset = asset_reserve(stream, 100, 0);
    refused_as(&reports, 17, fa_stream_load_finish(stream, asset), FA_ERR_INVALID);
    refused_as(&reports, 17, fa_stream_load_fail(stream, asset), FA_ERR_INVALID);
    refused_as(&reports, 17, fa_stream_load_advance(stream, asset, 1), FA_ERR_INVALID);
    refused_as(&reports, 17, fa_stream_unpin(stream, asset), FA_ERR_INVALID);
    CHECK_EQ(fa_stream_state(stream, asset), FA_ASSET_RESERVED);

    REQUIRE_NOT_NULL(fa_stream_load_begin(stream, asset));
    CHECK_NULL(fa_stream_load_begin(stream, asset));
    refused_as(&reports, 17, fa_last_error()->result, FA_ERR_BUSY);
    CHECK_EQ(fa_stream_load_advance(stream, asset, 60), FA_OK);
    refused_as(&reports, 17, fa_stream_load_advance(stream, asset, 41), FA_ERR_INVALID);
    refused_as(&reports, 17, fa_stream_load_advance(stream, asset, SIZE_MAX), FA_ERR_INVALID);
    refused_as(&reports, 17, fa_stream_load_advance(stream, asset, SIZE_MAX - 59), FA_ERR_INVALID);
    CHECK_EQ(fa_stream_loaded(stream, asset), 60);
    CHECK_EQ(fa_stream_load_advance(stream, asset, 40), FA_OK);
    refused_as(&reports, 17, fa_stream_load_advance(stream, asset, 1), FA_ERR_INVALID);

    CHECK_EQ(fa_stream_load_finish(stream, asset), FA_OK);
    refused_as(&reports, 17, fa_stream_load_finish(stream, asset), FA_ERR_INVALID);
    refused_as(&reports, 17, fa_stream_load_fail(stream, asset), FA_ERR_INVALID);
    refused_as(&reports, 17, fa_stream_load_advance(stream, asset, 0), FA_ERR_INVALID);
    CHECK_NULL(fa_stream_load_begin(stream, asset));
    refused_as(&reports, 17, fa_last_error()->result, FA_ERR_BUSY);
    CHECK(is_ready(stream, asset));
    CHECK_EQ(fa_stream_free(stream, asset), FA_OK);
    refused_as(&reports, 401, fa_stream_free(stream, asset), FA_ERR_STALE);

    asset = asset_reserve(stream, 100, 0);
    REQUIRE_NOT_NULL(fa_stream_load_begin(stream, asset));
    CHECK_EQ(fa_stream_free(stream, asset), FA_OK);
    refused_as(&reports, 403, fa_stream_free(stream, asset), FA_ERR_STALE);
    CHECK_NULL(fa_stream_load_begin(stream, asset));
    refused_as(&reports, 17, fa_last_error()->result, FA_ERR_BUSY);
    CHECK_EQ(fa_stream_load_finish(stream, asset), FA_ERR_STALE);
    stream_close(stream);
    context_close(ctx);
}

static void a_stream_that_has_ended_is_known(void) {
    fa_context *ctx = context_open(NULL);
    report_log reports;
    log_attach(ctx, &reports);
    fa_stream *stream = stream_with(ctx, 100, NULL);
    stream_close(stream);
    fa_asset asset;
    CHECK_EQ(fa_stream_reserve(stream, &(fa_asset_desc){.size = 1}, &asset), FA_ERR_STALE);
    log_single(&reports, 401);
    CHECK_EQ(fa_stream_destroy(stream), FA_ERR_STALE);
    log_single(&reports, 403);
    context_close(ctx);
}

// ---- Counters that are used up ----

static void pins_do_not_wrap(void) {
    fa_context *ctx = context_open(NULL);
    report_log reports;
    log_attach(ctx, &reports);
    fa_stream *stream = stream_with(ctx, 100, NULL);
    fa_asset asset = asset_ready(stream, 100, 0);
    fa__asset *record = &fa__load(&stream->chunks[0])[asset.index];
    fa__shared_add(&record->word, FA__WORD_PINS - FA__WORD_PIN);
    CHECK_EQ(fa_stream_pin(stream, asset), FA_OK);
    CHECK_EQ(asset_info_of(stream, asset).pins, 16777215);
    refused_as(&reports, 409, fa_stream_pin(stream, asset), FA_ERR_LIMIT);
    CHECK_EQ(asset_info_of(stream, asset).pins, 16777215);
    CHECK(is_ready(stream, asset));
    CHECK_EQ(fa_stream_unpin(stream, asset), FA_OK);
    fa__shared_sub(&record->word, FA__WORD_PINS - FA__WORD_PIN);
    CHECK_EQ(fa_stream_free(stream, asset), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

// Puts the place that is used next before its last generation.
static void age_next_place(fa_stream *stream) {
    fa_asset asset = asset_reserve(stream, 1, 0);
    fa__asset *record = &fa__load(&stream->chunks[0])[asset.index];
    CHECK_EQ(fa_stream_free(stream, asset), FA_OK);
    fa__store(&record->word, (uint64_t)UINT32_MAX << FA__WORD_GENERATION_SHIFT);
}

static void a_place_without_generations_left_is_retired(void) {
    fa_context *ctx = context_open(NULL);
    report_log reports;
    fa_stream *stream = stream_with(ctx, 100, NULL);
    for (int way = 0; way < 3; way++) { // Freed, evicted, freed while loading.
        age_next_place(stream);
        log_attach(ctx, &reports);
        fa_asset last = way == 2 ? asset_reserve(stream, 100, 0) : asset_ready(stream, 100, 0);
        CHECK_EQ(last.generation, UINT32_MAX);
        fa_asset next = {0};
        if (way == 0) {
            CHECK_EQ(fa_stream_free(stream, last), FA_OK);
        } else if (way == 1) {
            next = asset_ready(stream, 100, 0);
        } else {
            REQUIRE_NOT_NULL(fa_stream_load_begin(stream, last));
            CHECK_EQ(fa_stream_free(stream, last), FA_OK);
            CHECK_EQ(fa_stream_load_finish(stream, last), FA_ERR_STALE);
        }
        log_single(&reports, 407);
        CHECK_EQ(stream_stats_of(stream).retired_places, way + 1);
        CHECK(is_gone(stream, last));
        if (way != 1) {
            next = asset_ready(stream, 100, 0);
        }
        CHECK_NE(next.index, last.index);
        CHECK_EQ(next.generation, 1);
        use_stale(stream, &reports, last, way != 1);
        CHECK_EQ(fa_stream_free(stream, next), FA_OK);
        if (way == 1) {
            fa__load(&stream->chunks[0])[next.index].was_evicted = false;
        }
    }
    stream_close(stream);
    context_close(ctx);
}

TEST_SUITE(stream_misuse, TEST(descriptions_that_make_no_sense_are_refused),
           TEST(huge_sizes_do_not_wrap), TEST(stale_handles_are_found_by_every_function),
           TEST(steps_out_of_order_are_refused), TEST(a_stream_that_has_ended_is_known),
           TEST(pins_do_not_wrap), TEST(a_place_without_generations_left_is_retired));

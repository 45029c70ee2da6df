// Streams: what is evicted, in which order, who is asked, and what a request that cannot be met
// leaves alone.
#include "stream_fixture.h"

// ---- Order ----

static void the_lowest_priority_goes_first(void) {
    fa_context *ctx = context_open(NULL);
    eviction_log log;
    fa_stream *stream = stream_with(ctx, 300, &log);
    fa_asset high = asset_ready(stream, 100, 9);
    fa_asset low = asset_ready(stream, 100, 2);
    fa_asset middle = asset_ready(stream, 100, 5);
    for (uint64_t frame = 1; frame < 4; frame++) {
        fa_stream_frame(stream, frame); // However recently it was used.
        CHECK_NOT_NULL(fa_stream_access(stream, low));
    }
    fa_asset first = asset_reserve(stream, 100, 255);
    CHECK(is_gone(stream, low));
    fa_asset second = asset_reserve(stream, 100, 255);
    CHECK(is_gone(stream, middle));
    CHECK(is_ready(stream, high));
    CHECK_EQ(log.told_count, 2);
    CHECK_EQ(fa_stream_free(stream, first), FA_OK);
    CHECK_EQ(fa_stream_free(stream, second), FA_OK);
    CHECK_EQ(fa_stream_free(stream, high), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

static void then_the_least_recently_used_frame_then_the_oldest(void) {
    fa_context *ctx = context_open(NULL);
    eviction_log log;
    fa_stream *stream = stream_with(ctx, 500, &log);
    fa_asset assets[5];
    fa_stream_frame(stream, 1);
    for (int i = 0; i < 5; i++) {
        assets[i] = asset_reserve(stream, 100, 3);
    }
    for (int i = 5; i > 0; i--) {
        asset_load(stream, assets[i - 1], 100); // The order of loading does not matter.
    }
    fa_stream_frame(stream, 2);
    CHECK_NOT_NULL(fa_stream_access(stream, assets[1]));
    fa_stream_frame(stream, 4);
    CHECK_NOT_NULL(fa_stream_access(stream, assets[0]));
    fa_stream_frame(stream, 3); // An asset keeps the furthest frame.
    CHECK_NOT_NULL(fa_stream_access(stream, assets[0]));
    CHECK_NOT_NULL(fa_stream_access(stream, assets[3]));
    CHECK_EQ(asset_info_of(stream, assets[0]).last_frame, 4);
    CHECK_EQ(asset_info_of(stream, assets[3]).last_frame, 3);
    fa_asset big = asset_reserve(stream, 500, 3);
    static const int order[] = {2, 4, 1, 3, 0};
    REQUIRE_EQ(log.told_count, 5);
    for (int i = 0; i < 5; i++) {
        CHECK(same_asset(log.told[i].asset, assets[order[i]]));
        CHECK(same_asset(log.asked[i], assets[order[i]]));
    }
    CHECK_EQ(fa_stream_free(stream, big), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

static void frames_of_the_context_count_where_none_is_said(void) {
    fa_context *ctx = context_open(NULL);
    fa_stream *stream = stream_with(ctx, 300, NULL);
    fa_asset assets[3];
    for (int i = 0; i < 3; i++) {
        fa_frame_end(fa_frame_begin(ctx));
        assets[i] = asset_ready(stream, 100, 0);
        CHECK_EQ(asset_info_of(stream, assets[i]).last_frame, i + 1);
    }
    fa_frame_end(fa_frame_begin(ctx));
    CHECK_NOT_NULL(fa_stream_access(stream, assets[0]));
    CHECK_EQ(asset_info_of(stream, assets[0]).last_frame, 4);
    fa_stream_frame(stream, 1000);
    CHECK_NOT_NULL(fa_stream_access(stream, assets[2]));
    CHECK_EQ(asset_info_of(stream, assets[2]).last_frame, 1000);
    fa_stream_frame(stream, 0);
    CHECK_NOT_NULL(fa_stream_access(stream, assets[1]));
    CHECK_EQ(asset_info_of(stream, assets[1]).last_frame, 4);
    fa_asset next = asset_reserve(stream, 100, 0); // 0 and 1: both frame 4; 0 is older.
    CHECK(is_gone(stream, assets[0]));
    CHECK_EQ(fa_stream_free(stream, next), FA_OK);
    CHECK_EQ(fa_stream_trim(stream, 0), 200);
    stream_close(stream);
    context_close(ctx);
}

static void load_on_a_thread_without_frames(void *arg) {
    fa_stream *stream = (fa_stream *)arg;
    fa_asset asset = asset_ready(stream, 100, 0);
    CHECK_EQ(asset_info_of(stream, asset).last_frame, 5);
    CHECK_EQ(fa_stream_free(stream, asset), FA_OK);
}

static void a_thread_without_frames_goes_by_those_of_others(void) {
    fa_context *ctx = context_open(NULL);
    fa_stream *stream = stream_with(ctx, 300, NULL);
    fa_asset asset = asset_ready(stream, 100, 0);
    CHECK_EQ(asset_info_of(stream, asset).last_frame, 0);
    for (int i = 0; i < 5; i++) {
        fa_frame_end(fa_frame_begin(ctx));
    }
    CHECK_NOT_NULL(fa_stream_access(stream, asset));
    check_thread_join(check_thread_start(load_on_a_thread_without_frames, stream));
    CHECK_EQ(fa_stream_free(stream, asset), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

static void changing_a_priority_changes_the_order(void) {
    fa_context *ctx = context_open(NULL);
    fa_stream *stream = stream_with(ctx, 300, NULL);
    fa_asset a = asset_ready(stream, 100, 1);
    fa_asset b = asset_ready(stream, 100, 2);
    fa_asset c = asset_reserve(stream, 100, 3);
    CHECK_EQ(fa_stream_set_priority(stream, a, 7), FA_OK);
    CHECK_EQ(fa_stream_set_priority(stream, c, 0), FA_OK); // Also before it is loaded.
    CHECK_EQ(asset_info_of(stream, a).priority, 7);
    asset_load(stream, c, 100);
    fa_asset first = asset_reserve(stream, 100, 6);
    CHECK(is_gone(stream, c));
    fa_asset second = asset_reserve(stream, 100, 6);
    CHECK(is_gone(stream, b));
    asset_refuse(stream, 100, 6);
    CHECK(is_ready(stream, a));
    CHECK_EQ(fa_stream_set_priority(stream, a, 6), FA_OK);
    fa_asset third = asset_reserve(stream, 100, 6);
    CHECK(is_gone(stream, a));
    CHECK_EQ(fa_stream_free(stream, first), FA_OK);
    CHECK_EQ(fa_stream_free(stream, second), FA_OK);
    CHECK_EQ(fa_stream_free(stream, third), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

// ---- What stays ----

static void only_ready_unpinned_assets_of_no_higher_priority_go(void) {
    fa_context *ctx = context_open(NULL);
    eviction_log log;
    fa_stream *stream = stream_with(ctx, 500, &log);
    fa_asset reserved = asset_reserve(stream, 100, 0);
    fa_asset loading = asset_reserve(stream, 100, 0);
    REQUIRE_NOT_NULL(fa_stream_load_begin(stream, loading));
    fa_asset pinned = asset_ready(stream, 100, 0);
    CHECK_EQ(fa_stream_pin(stream, pinned), FA_OK);
    fa_asset higher = asset_ready(stream, 100, 6);
    fa_asset equal = asset_ready(stream, 100, 5);
    fa_asset next = asset_reserve(stream, 100, 5);
    CHECK(is_gone(stream, equal));
    asset_refuse(stream, 1, 5);
    CHECK(is_ready(stream, pinned));
    CHECK(is_ready(stream, higher));
    CHECK_EQ(fa_stream_state(stream, reserved), FA_ASSET_RESERVED);
    CHECK_EQ(fa_stream_state(stream, loading), FA_ASSET_LOADING);
    CHECK_EQ(log.asked_count, 1);
    CHECK_EQ(log.told_count, 1);
    CHECK_EQ(fa_stream_load_fail(stream, loading), FA_OK);
    CHECK_EQ(fa_stream_unpin(stream, pinned), FA_OK);
    fa_asset all[] = {reserved, loading, pinned, higher, next};
    for (size_t i = 0; i < 5; i++) {
        CHECK_EQ(fa_stream_free(stream, all[i]), FA_OK);
    }
    stream_close(stream);
    context_close(ctx);
}

static void a_higher_priority_does_not_stand_in_for_what_is_pinned(void) {
    fa_context *ctx = context_open(NULL);
    fa_stream *stream = stream_with(ctx, 200, NULL);
    fa_asset pinned = asset_ready(stream, 100, 0);
    fa_asset higher = asset_ready(stream, 100, 6);
    CHECK_EQ(fa_stream_pin(stream, pinned), FA_OK);
    asset_refuse(stream, 100, 5);
    CHECK(is_ready(stream, higher));
    CHECK_EQ(fa_stream_unpin(stream, pinned), FA_OK);
    CHECK_EQ(fa_stream_trim(stream, 0), 200);
    stream_close(stream);
    context_close(ctx);
}

static void no_more_go_than_are_needed(void) {
    fa_context *ctx = context_open(NULL);
    fa_stream *stream = stream_with(ctx, 1000, NULL);
    fa_asset assets[10];
    for (int i = 0; i < 10; i++) {
        assets[i] = asset_ready(stream, 100, 0);
    }
    fa_asset next = asset_reserve(stream, 250, 0);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(is_gone(stream, assets[i]), i < 3);
    }
    fa_stream_stats_result stats = stream_stats_of(stream);
    CHECK_EQ(stats.evictions, 3);
    CHECK_EQ(stats.evicted_bytes, 300);
    CHECK_EQ(stats.used_bytes, 950);
    CHECK_EQ(stats.peak_bytes, 1000);
    CHECK_EQ(stats.ready_assets, 7);
    CHECK_EQ(stats.ready_bytes, 700);
    CHECK_EQ(stats.reserved_assets, 1);
    CHECK_EQ(stats.reserved_bytes, 250);
    fa_asset exact = asset_reserve(stream, 50, 0); // Fits without evicting, to the byte.
    CHECK_EQ(stream_stats_of(stream).evictions, 3);
    CHECK_EQ(fa_stream_free(stream, next), FA_OK);
    CHECK_EQ(fa_stream_free(stream, exact), FA_OK);
    CHECK_EQ(fa_stream_trim(stream, 0), 700);
    CHECK_EQ(fa_stream_free(stream, asset_reserve(stream, 10, 0)), FA_OK);
    CHECK_EQ(stream_stats_of(stream).peak_bytes, 1000);
    stream_close(stream);
    context_close(ctx);
}

static void a_request_that_cannot_be_met_evicts_nothing_and_asks_nobody(void) {
    fa_context *ctx = context_open(NULL);
    report_log reports;
    log_attach(ctx, &reports);
    fa_tag tag = fa_tag_register(ctx, "maps");
    eviction_log log = {0};
    fa_stream_desc desc = {.name = "world",
                           .tag = tag,
                           .budget_bytes = 300,
                           .may_evict = log_may_evict,
                           .evicted = log_evicted,
                           .user = &log};
    fa_stream *stream = stream_open(ctx, &desc);
    fa_asset assets[3];
    for (int i = 0; i < 3; i++) {
        assets[i] = asset_ready(stream, 100, (uint8_t)i);
    }
    asset_refuse(stream, 201, 1);
    const seen_report *seen = log_single(&reports, 402);
    CHECK_EQ(seen->result, FA_ERR_BUDGET);
    CHECK_EQ(seen->bytes, 201);
    CHECK_EQ(seen->limit, 300);
    CHECK_EQ(seen->tag.id, tag.id);
    CHECK_STR_EQ(seen->where, "world");
    asset_refuse(stream, 301, 255);
    log_single(&reports, 402);
    CHECK_EQ(log.asked_count, 0);
    CHECK_EQ(log.told_count, 0);
    CHECK_EQ(stream_stats_of(stream).refusals, 2);
    CHECK_EQ(stream_stats_of(stream).used_bytes, 300);
    for (int i = 0; i < 3; i++) {
        CHECK(is_ready(stream, assets[i]));
        CHECK_EQ(fa_stream_free(stream, assets[i]), FA_OK);
    }
    stream_close(stream);
    context_close(ctx);
}

// ---- Callbacks ----

static void a_refusal_goes_on_to_the_next(void) {
    fa_context *ctx = context_open(NULL);
    eviction_log log;
    fa_stream *stream = stream_with(ctx, 400, &log);
    fa_asset assets[4];
    for (int i = 0; i < 4; i++) {
        assets[i] = asset_ready(stream, 100, 0);
    }
    log.stubborn[0] = assets[0];
    log.stubborn[1] = assets[2];
    log.stubborn_count = 2;
    fa_asset next = asset_reserve(stream, 200, 0);
    CHECK(is_ready(stream, assets[0]));
    CHECK(is_gone(stream, assets[1]));
    CHECK(is_ready(stream, assets[2]));
    CHECK(is_gone(stream, assets[3]));
    CHECK_EQ(log.asked_count, 4);
    REQUIRE_EQ(log.told_count, 2);
    CHECK(same_asset(log.told[0].asset, assets[1]));
    CHECK(same_asset(log.told[1].asset, assets[3]));
    CHECK_EQ(fa_stream_free(stream, next), FA_OK);
    log.stubborn_count = 0;
    CHECK_EQ(fa_stream_trim(stream, 0), 200); // Those that refused are candidates again.
    stream_close(stream);
    context_close(ctx);
}

static void when_too_many_refuse_nothing_goes(void) {
    fa_context *ctx = context_open(NULL);
    eviction_log log;
    fa_stream *stream = stream_with(ctx, 400, &log);
    fa_asset assets[4];
    for (int i = 0; i < 4; i++) {
        assets[i] = asset_ready(stream, 100, 0);
    }
    log.stubborn[0] = assets[3];
    log.stubborn_count = 1;
    asset_refuse(stream, 400, 0);
    CHECK_EQ(log.asked_count, 4); // Each once.
    CHECK_EQ(log.told_count, 0);
    fa_asset next = asset_reserve(stream, 300, 0); // Those that agreed can be asked again.
    CHECK_EQ(log.told_count, 3);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(is_gone(stream, assets[i]), i < 3);
    }
    CHECK_EQ(fa_stream_free(stream, next), FA_OK);
    CHECK_EQ(fa_stream_free(stream, assets[3]), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

static void what_goes_is_told_while_its_memory_is_there(void) {
    fa_context *ctx = context_open(NULL);
    eviction_log log;
    fa_stream *stream = stream_with(ctx, 70000, &log);
    fa_tag tag = fa_tag_register(ctx, "tag");
    int owner = 0;
    fa_asset_desc desc = {.size = 70000, .tag = tag, .priority = 4, .user = &owner};
    fa_asset asset;
    REQUIRE_EQ(fa_stream_reserve(stream, &desc, &asset), FA_OK);
    fa_stream_frame(stream, 77);
    unsigned char *to = (unsigned char *)fa_stream_load_begin(stream, asset);
    REQUIRE_NOT_NULL(to);
    memset(to, 0xA7, 70000);
    CHECK_EQ(fa_stream_load_finish(stream, asset), FA_OK);
    fa_asset next = asset_reserve(stream, 1, 4);
    REQUIRE_EQ(log.told_count, 1);
    const fa_stream_eviction *told = &log.told[0];
    CHECK_EQ(told->stream, stream);
    CHECK(same_asset(told->asset, asset));
    CHECK_EQ(told->ptr, (void *)to);
    CHECK_EQ(told->size, 70000);
    CHECK_EQ(told->tag.id, tag.id);
    CHECK_EQ(told->priority, 4);
    CHECK_EQ(told->last_frame, 77);
    CHECK_EQ(told->user, (void *)&owner);
    CHECK_EQ(log.first_byte, 0xA7);
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 0); // And then it went.
    CHECK_EQ(fa_stream_free(stream, next), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

// A callback that does something to the stream on its first call.
typedef enum meddle {
    MEDDLE_PIN,
    MEDDLE_FREE,
    MEDDLE_FREE_ANOTHER,
    MEDDLE_RAISE,
    MEDDLE_RESERVE,
    MEDDLE_ACCESS,
    MEDDLE_COUNT
} meddle;

typedef struct meddler {
    fa_stream *stream;
    meddle what;
    fa_asset another;
    fa_asset made;
    size_t asked;
    size_t told;
} meddler;

static bool meddle_may_evict(const fa_stream_eviction *eviction, void *user) {
    meddler *self = (meddler *)user;
    self->asked += 1;
    if (self->asked != 1) {
        return true;
    }
    fa_stream *stream = self->stream;
    switch (self->what) {
    case MEDDLE_PIN:
        CHECK_EQ(fa_stream_pin(stream, eviction->asset), FA_OK);
        break;
    case MEDDLE_FREE:
        CHECK_EQ(fa_stream_free(stream, eviction->asset), FA_OK);
        break;
    case MEDDLE_FREE_ANOTHER: // One that agreed to nothing yet, but is claimed.
        CHECK_EQ(fa_stream_free(stream, self->another), FA_OK);
        break;
    case MEDDLE_RAISE:
        CHECK_EQ(fa_stream_set_priority(stream, eviction->asset, 200), FA_OK);
        break;
    case MEDDLE_RESERVE: // Nothing that is claimed already can go for it.
        CHECK_EQ(fa_stream_reserve(stream, &(fa_asset_desc){.size = 300}, &self->made),
                 FA_ERR_BUDGET);
        break;
    default:
        CHECK_NOT_NULL(fa_stream_access(stream, eviction->asset));
        break;
    }
    return true;
}

static void meddle_evicted(const fa_stream_eviction *eviction, void *user) {
    meddler *self = (meddler *)user;
    self->told += 1;
    CHECK_NULL(fa_stream_access(self->stream, eviction->asset));
    CHECK_EQ(fa_stream_free(self->stream, eviction->asset), FA_ERR_STALE);
}

static void callbacks_may_use_the_stream(void) {
    // Assets of 100 in a budget of 400; the request needs two of them to go.
    static const bool gone[MEDDLE_COUNT][4] = {
        [MEDDLE_PIN] = {false, true, true, false},
        [MEDDLE_FREE] = {true, true, false, false},
        [MEDDLE_FREE_ANOTHER] = {true, true, false, false},
        [MEDDLE_RAISE] = {false, true, true, false},
        [MEDDLE_RESERVE] = {true, true, false, false},
        [MEDDLE_ACCESS] = {true, true, false, false},
    };
    fa_context *ctx = context_open(NULL);
    for (meddle what = MEDDLE_PIN; what < MEDDLE_COUNT; what++) {
        check_note("case %d", (int)what);
        meddler self = {.what = what};
        fa_stream_desc desc = {.budget_bytes = 400,
                               .may_evict = meddle_may_evict,
                               .evicted = meddle_evicted,
                               .user = &self};
        self.stream = stream_open(ctx, &desc);
        fa_asset assets[4];
        for (int i = 0; i < 4; i++) {
            assets[i] = asset_ready(self.stream, 100, 10);
        }
        self.another = assets[1];
        fa_asset next = asset_reserve(self.stream, 200, 10);
        for (int i = 0; i < 4; i++) {
            CHECK_EQ(is_gone(self.stream, assets[i]), gone[what][i]);
        }
        bool freed_one = what == MEDDLE_FREE || what == MEDDLE_FREE_ANOTHER;
        CHECK_EQ(self.told, freed_one ? 1 : 2);
        CHECK_EQ(stream_stats_of(self.stream).used_bytes, 400);
        CHECK_EQ(fa_stream_free(self.stream, next), FA_OK);
        if (what == MEDDLE_PIN) {
            CHECK_EQ(fa_stream_unpin(self.stream, assets[0]), FA_OK);
        }
        CHECK_EQ(fa_stream_trim(self.stream, 0), 200);
        stream_close(self.stream);
    }
    context_close(ctx);
}

static void room_that_callbacks_make_spares_those_that_agreed(void) {
    fa_context *ctx = context_open(NULL);
    meddler self = {.what = MEDDLE_FREE_ANOTHER};
    fa_stream_desc desc = {.budget_bytes = 400,
                           .may_evict = meddle_may_evict,
                           .evicted = meddle_evicted,
                           .user = &self};
    self.stream = stream_open(ctx, &desc);
    fa_asset first = asset_ready(self.stream, 100, 0);
    self.another = asset_ready(self.stream, 300, 0);
    fa_asset next = asset_reserve(self.stream, 100, 0);
    CHECK(is_gone(self.stream, self.another));
    CHECK(is_ready(self.stream, first)); // It agreed, and was not needed any more.
    CHECK_EQ(self.told, 0);
    CHECK_EQ(fa_stream_free(self.stream, next), FA_OK);
    CHECK_EQ(fa_stream_free(self.stream, first), FA_OK);
    stream_close(self.stream);
    context_close(ctx);
}

static void an_asset_pinned_after_it_agreed_stays_and_so_do_all(void) {
    fa_context *ctx = context_open(NULL);
    meddler self = {.what = MEDDLE_PIN};
    fa_stream_desc desc = {.budget_bytes = 200,
                           .may_evict = meddle_may_evict,
                           .evicted = meddle_evicted,
                           .user = &self};
    self.stream = stream_open(ctx, &desc);
    fa_asset first = asset_ready(self.stream, 100, 0);
    fa_asset second = asset_ready(self.stream, 100, 0);
    asset_refuse(self.stream, 200, 0);
    CHECK_EQ(self.asked, 2);
    CHECK_EQ(self.told, 0);
    CHECK_NOT_NULL(fa_stream_access(self.stream, first));
    CHECK_NOT_NULL(fa_stream_access(self.stream, second));
    CHECK_EQ(fa_stream_unpin(self.stream, first), FA_OK);
    CHECK_EQ(fa_stream_trim(self.stream, 0), 200);
    stream_close(self.stream);
    context_close(ctx);
}

// ---- Budgets ----

static void a_smaller_budget_evicts(void) {
    fa_context *ctx = context_open(NULL);
    report_log reports;
    log_attach(ctx, &reports);
    eviction_log log;
    fa_stream *stream = stream_with(ctx, 1000, &log);
    fa_asset assets[10];
    for (int i = 0; i < 10; i++) {
        assets[i] = asset_ready(stream, 100, i == 4 ? 0 : 255);
    }
    CHECK_EQ(fa_stream_set_budget(stream, 750), FA_OK);
    CHECK_EQ(stream_stats_of(stream).budget_bytes, 750);
    CHECK_EQ(stream_stats_of(stream).used_bytes, 700);
    CHECK(is_gone(stream, assets[4]));
    CHECK(is_gone(stream, assets[0]));
    CHECK(is_gone(stream, assets[1]));
    CHECK_EQ(fa_stream_pin(stream, assets[9]), FA_OK);
    log.stubborn[0] = assets[8];
    log.stubborn_count = 1;
    CHECK_EQ(fa_stream_set_budget(stream, 199), FA_ERR_BUDGET);
    const seen_report *seen = log_single(&reports, 402);
    CHECK_EQ(seen->bytes, 700);
    CHECK_EQ(seen->limit, 199);
    CHECK_EQ(stream_stats_of(stream).budget_bytes, 750);
    CHECK_EQ(stream_stats_of(stream).used_bytes, 700);
    CHECK_EQ(log.told_count, 3);
    CHECK_EQ(fa_stream_set_budget(stream, 200), FA_OK);
    CHECK_EQ(stream_stats_of(stream).used_bytes, 200);
    asset_refuse(stream, 1, 254);
    CHECK_EQ(fa_stream_set_budget(stream, 0), FA_OK);
    CHECK_EQ(stream_stats_of(stream).budget_bytes, 0);
    fa_asset more = asset_reserve(stream, 100000, 0);
    CHECK_EQ(fa_stream_unpin(stream, assets[9]), FA_OK);
    CHECK_EQ(fa_stream_free(stream, more), FA_OK);
    CHECK_EQ(fa_stream_free(stream, assets[8]), FA_OK);
    CHECK_EQ(fa_stream_free(stream, assets[9]), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

static void trimming_evicts_what_may_go(void) {
    fa_context *ctx = context_open(NULL);
    eviction_log log;
    fa_stream *stream = stream_with(ctx, 1000, &log);
    fa_asset assets[5];
    for (int i = 0; i < 5; i++) {
        assets[i] = asset_ready(stream, 100, (uint8_t)(i * 50));
    }
    CHECK_EQ(fa_stream_trim(stream, 500), 0);
    CHECK_EQ(log.asked_count, 0);
    CHECK_EQ(fa_stream_trim(stream, 401), 100);
    CHECK(is_gone(stream, assets[0]));
    CHECK_EQ(fa_stream_pin(stream, assets[1]), FA_OK);
    log.stubborn[0] = assets[3];
    log.stubborn_count = 1;
    CHECK_EQ(fa_stream_trim(stream, 0), 200); // As much as may go.
    CHECK(is_ready(stream, assets[1]));
    CHECK(is_gone(stream, assets[2]));
    CHECK(is_ready(stream, assets[3]));
    CHECK(is_gone(stream, assets[4]));
    CHECK_EQ(stream_stats_of(stream).refusals, 0);
    CHECK_EQ(fa_stream_unpin(stream, assets[1]), FA_OK);
    CHECK_EQ(fa_stream_free(stream, assets[1]), FA_OK);
    CHECK_EQ(fa_stream_free(stream, assets[3]), FA_OK);
    stream_close(stream);
    context_close(ctx);
}

TEST_SUITE(stream_evict, TEST(the_lowest_priority_goes_first),
           TEST(then_the_least_recently_used_frame_then_the_oldest),
           TEST(frames_of_the_context_count_where_none_is_said),
           TEST(a_thread_without_frames_goes_by_those_of_others),
           TEST(changing_a_priority_changes_the_order),
           TEST(only_ready_unpinned_assets_of_no_higher_priority_go),
           TEST(a_higher_priority_does_not_stand_in_for_what_is_pinned),
           TEST(no_more_go_than_are_needed),
           TEST(a_request_that_cannot_be_met_evicts_nothing_and_asks_nobody),
           TEST(a_refusal_goes_on_to_the_next), TEST(when_too_many_refuse_nothing_goes),
           TEST(what_goes_is_told_while_its_memory_is_there), TEST(callbacks_may_use_the_stream),
           TEST(room_that_callbacks_make_spares_those_that_agreed),
           TEST(an_asset_pinned_after_it_agreed_stays_and_so_do_all), TEST(a_smaller_budget_evicts),
           TEST(trimming_evicts_what_may_go));

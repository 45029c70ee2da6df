// FA_TAG_SCOPE as C++ sees it: a guard that leaves on every way out, an exception included.
#include <framealloc/framealloc.h>

#include "harness/check.h"

#include <stdexcept>

namespace {

fa_context *open_context() {
    fa_context *ctx = nullptr;
    REQUIRE_EQ((int)fa_context_create(nullptr, &ctx), FA_OK);
    return ctx;
}

bool current_is(fa_context *ctx, fa_tag tag) {
    return CHECK_EQ(fa_tag_current(ctx).id, tag.id);
}

enum class way_out { end, by_return, by_break, by_goto, by_exception };

int leave_scope(fa_context *ctx, fa_tag tag, way_out way) {
    for (int i = 0; i < 1; i++) {
        FA_TAG_SCOPE(ctx, tag);
        current_is(ctx, tag);
        switch (way) {
        case way_out::end:
            break;
        case way_out::by_return:
            return 1;
        case way_out::by_break:
            goto leave_loop;
        case way_out::by_goto:
            goto out;
        case way_out::by_exception:
            throw std::runtime_error("leaving");
        }
    }
leave_loop:
    current_is(ctx, FA_TAG_ROOT);
out:
    current_is(ctx, FA_TAG_ROOT);
    return 0;
}

void a_scope_pops_on_every_way_out() {
    fa_context *ctx = open_context();
    fa_tag tag = fa_tag_register(ctx, "tag");
    const way_out ways[] = {way_out::end, way_out::by_return, way_out::by_break, way_out::by_goto,
                            way_out::by_exception};
    for (way_out way : ways) {
        bool thrown = false;
        try {
            (void)leave_scope(ctx, tag, way);
        } catch (const std::runtime_error &) {
            thrown = true;
        }
        CHECK_EQ(thrown, way == way_out::by_exception);
        current_is(ctx, FA_TAG_ROOT);
    }
    CHECK_EQ((int)fa_context_destroy(ctx), FA_OK);
}

void throw_through(fa_context *ctx, const fa_tag *tags, size_t depth) {
    if (depth == 0) {
        throw std::runtime_error("from deep inside");
    }
    FA_TAG_SCOPE(ctx, tags[depth % 3]);
    throw_through(ctx, tags, depth - 1);
}

void an_exception_unwinds_many_scopes_and_their_bytes_stay_right() {
    fa_context *ctx = open_context();
    const fa_tag tags[] = {fa_tag_register(ctx, "a"), fa_tag_register(ctx, "b"),
                           fa_tag_register(ctx, "a/c")};
    fa_arena *frame = fa_frame_begin(ctx);
    {
        FA_TAG_SCOPE(ctx, tags[1]);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 160));
        try {
            throw_through(ctx, tags, 40);
        } catch (const std::runtime_error &) {
            current_is(ctx, tags[1]);
        }
        CHECK_NOT_NULL(fa_arena_alloc(frame, 32));
    }
    current_is(ctx, FA_TAG_ROOT);
    fa_tag_stats_result stats = {};
    CHECK_EQ((int)fa_tag_stats(ctx, tags[1], &stats), FA_OK);
    CHECK_EQ(stats.current_bytes, 192u);
    fa_frame_end(frame);
    CHECK_EQ((int)fa_context_destroy(ctx), FA_OK);
}

void two_scopes_fit_into_one_block() {
    fa_context *ctx = open_context();
    fa_tag outer = fa_tag_register(ctx, "outer");
    fa_tag inner = fa_tag_register(ctx, "inner");
    {
        FA_TAG_SCOPE(ctx, outer);
        FA_TAG_SCOPE(ctx, inner);
        current_is(ctx, inner);
    }
    current_is(ctx, FA_TAG_ROOT);
    {
        fa_tag_scope by_name(ctx, outer);
        current_is(ctx, outer);
    }
    current_is(ctx, FA_TAG_ROOT);
    CHECK_EQ((int)fa_context_destroy(ctx), FA_OK);
}

void a_scope_whose_push_failed_pops_nothing() {
    fa_context *ctx = open_context();
    fa_tag tag = fa_tag_register(ctx, "tag");
    CHECK_EQ((int)fa_tag_push(ctx, tag), FA_OK);
    {
        const fa_tag unknown = {999};
        FA_TAG_SCOPE(ctx, unknown);
        CHECK_EQ(fa_last_error()->code, 802);
        current_is(ctx, tag);
    }
    current_is(ctx, tag);
    CHECK_EQ((int)fa_tag_pop(ctx), FA_OK);
    CHECK_EQ((int)fa_context_destroy(ctx), FA_OK);
}

} // namespace

TEST_SUITE(tag_cpp, TEST(a_scope_pops_on_every_way_out),
           TEST(an_exception_unwinds_many_scopes_and_their_bytes_stay_right),
           TEST(two_scopes_fit_into_one_block), TEST(a_scope_whose_push_failed_pops_nothing));

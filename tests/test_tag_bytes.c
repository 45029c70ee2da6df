// Bytes by tag: what is charged to whom, to the byte, whatever is switched, rewound, resized or
// undone in between.
#include "core_fixture.h"

#include <stdio.h>

static size_t bytes_of(fa_context *ctx, fa_tag tag) {
    return tag_stats_of(ctx, tag).current_bytes;
}

// ---- Roll-up ----

static void bytes_roll_up_to_all_parents(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag ai = fa_tag_register(ctx, "ai");
    fa_tag paths = fa_tag_register(ctx, "ai/paths");
    fa_tag astar = fa_tag_register(ctx, "ai/paths/astar");
    fa_tag senses = fa_tag_register(ctx, "ai/senses");
    fa_tag ui = fa_tag_register(ctx, "ui");
    const fa_tag tags[] = {FA_TAG_ROOT, ai, paths, astar, senses, ui};
    fa_arena *frame = fa_frame_begin(ctx);
    for (size_t i = 0; i < 6; i++) {
        CHECK_EQ(fa_tag_push(ctx, tags[i]), FA_OK);
        CHECK_NOT_NULL(fa_arena_alloc(frame, (size_t)16 << i));
    }
    CHECK_EQ(bytes_of(ctx, ui), 512);
    CHECK_EQ(bytes_of(ctx, senses), 256);
    CHECK_EQ(bytes_of(ctx, astar), 128);
    CHECK_EQ(bytes_of(ctx, paths), 64 + 128);
    CHECK_EQ(bytes_of(ctx, ai), 32 + 64 + 128 + 256);
    CHECK_EQ(bytes_of(ctx, FA_TAG_ROOT), 16 + 32 + 64 + 128 + 256 + 512);
    CHECK_EQ(tag_stats_of(ctx, ai).frame_bytes, 32 + 64 + 128 + 256);
    CHECK_EQ(stats_of(ctx).frame_bytes, 1008);
    for (size_t i = 0; i < 6; i++) {
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    }
    fa_frame_end(frame);
    for (size_t i = 0; i < 6; i++) {
        CHECK_EQ(bytes_of(ctx, tags[i]), 0);
        CHECK_EQ(tag_stats_of(ctx, tags[i]).frame_bytes, 0);
    }
    CHECK_EQ(tag_stats_of(ctx, astar).peak_bytes, 128);
    CHECK_EQ(tag_stats_of(ctx, astar).frame_peak_bytes, 128);
    context_close(ctx);
}

static void scratch_and_own_arenas_are_charged_too(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag system = fa_tag_register(ctx, "system");
    fa_tag part = fa_tag_register(ctx, "system/part");
    CHECK_EQ(fa_tag_push(ctx, part), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 100));
    fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
    CHECK_EQ(fa_tag_push(ctx, FA_TAG_ROOT), FA_OK); // A scope keeps the tag it was opened with.
    CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 1000));
    CHECK_EQ(bytes_of(ctx, part), 112 + 1008);
    CHECK_EQ(tag_stats_of(ctx, part).frame_bytes, 112); // In frames.
    fa_arena *own = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, &(fa_arena_desc){.tag = system}, &own), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(own, 5000));
    CHECK_EQ(bytes_of(ctx, part), 112 + 1008);
    CHECK_EQ(bytes_of(ctx, system), 112 + 1008 + 5008);
    CHECK_EQ(bytes_of(ctx, FA_TAG_ROOT), 112 + 1008 + 5008);
    CHECK_EQ(stats_of(ctx).frame_bytes, 112 + 1008 + 5008);
    fa_scratch_end(scratch);
    CHECK_EQ(bytes_of(ctx, system), 112 + 5008);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    fa_frame_end(frame);
    CHECK_EQ(bytes_of(ctx, system), 5008);
    fa_arena_reset(own);
    CHECK_EQ(bytes_of(ctx, system), 0);
    CHECK_NOT_NULL(fa_arena_alloc(own, 16));
    CHECK_EQ(bytes_of(ctx, system), 16);
    fa_arena_destroy(own);
    CHECK_EQ(bytes_of(ctx, FA_TAG_ROOT), 0);
    context_close(ctx);
}

static void nested_scratch_scopes_have_tags_of_their_own(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tags[3] = {fa_tag_register(ctx, "a"), fa_tag_register(ctx, "b"),
                      fa_tag_register(ctx, "c")};
    fa_scratch scopes[3];
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(fa_tag_push(ctx, tags[i]), FA_OK);
        scopes[i] = fa_scratch_begin(ctx, NULL, 0);
        CHECK_NOT_NULL(fa_arena_alloc(scopes[i].arena, 160));
    }
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(bytes_of(ctx, tags[i]), 160);
    }
    fa_scratch_end(scopes[2]);
    CHECK_NOT_NULL(fa_arena_alloc(scopes[1].arena, 32)); // Of the scope that is innermost now.
    CHECK_EQ(bytes_of(ctx, tags[2]), 0);
    CHECK_EQ(bytes_of(ctx, tags[1]), 192);
    fa_scratch_end(scopes[0]); // With all inside.
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(bytes_of(ctx, tags[i]), 0);
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    }
    context_close(ctx);
}

static void tagged_allocators_charge_their_tag_and_no_other(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag current = fa_tag_register(ctx, "current");
    fa_tagged tagged[3];
    for (unsigned i = 0; i < 3; i++) {
        char path[16];
        snprintf(path, sizeof(path), "bound/%u", i);
        tagged[i] = fa_tagged_make(ctx, fa_tag_register(ctx, path));
        CHECK_EQ(tagged[i].context, ctx);
    }
    CHECK_EQ(fa_tag_push(ctx, current), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    size_t want[3] = {0};
    for (size_t i = 0; i < 300; i++) {
        CHECK_NOT_NULL(fa_tagged_alloc(tagged[i % 3], i + 1));
        want[i % 3] += rounded(i + 1);
        CHECK_EQ(fa_tag_current(ctx).id, current.id);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
    }
    size_t aligned_before = fa_arena_used(frame);
    void *aligned = fa_tagged_alloc_aligned(tagged[0], 10, 4096);
    REQUIRE_NOT_NULL(aligned);
    CHECK_EQ((uintptr_t)aligned % 4096, 0);
    want[0] += fa_arena_used(frame) - aligned_before; // What is skipped counts.
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(bytes_of(ctx, tagged[i].tag), want[i]);
    }
    CHECK_EQ(bytes_of(ctx, current), 300 * 16);
    CHECK_NULL(fa_tagged_alloc_aligned(tagged[0], 10, 3));
    failed_as(18, FA_ERR_INVALID);
    CHECK_NULL(fa_tagged_alloc(tagged[0], 0));
    failed_as(12, FA_ERR_INVALID);
    CHECK_EQ(fa_tag_current(ctx).id, current.id);
    CHECK_EQ(thread_stats_of(ctx, NULL).tag_depth, 1);
    CHECK_EQ(tag_stats_of(ctx, tagged[0].tag).refusals, 2);
    CHECK_EQ(tag_stats_of(ctx, current).refusals, 0);
    fa_frame_end(frame);
    CHECK_NULL(fa_tagged_alloc(tagged[1], 16));
    CHECK_EQ(fa_last_error()->tag.id, tagged[1].tag.id);
    failed_as(1, FA_ERR_NO_FRAME);
    context_close(ctx);
}

// ---- Many tags ----

enum { MANY_TAGS = 4000 };

static void thousands_of_tags_are_charged_exactly(void) {
    static size_t want[MANY_TAGS];
    static fa_tag tags[MANY_TAGS];
    fa_context *ctx = context_open(NULL);
    memset(want, 0, sizeof(want));
    for (unsigned i = 0; i < MANY_TAGS; i++) {
        char path[32];
        snprintf(path, sizeof(path), "g%u/t%u", i % 10, i);
        tags[i] = fa_tag_register(ctx, path);
    }
    check_rng rng = check_rng_make(check_seed());
    for (int round = 0; round < 2; round++) {
        fa_arena *frame = fa_frame_begin(ctx);
        for (size_t step = 0; step < 20000; step++) {
            size_t which = check_rng_below(&rng, MANY_TAGS);
            size_t size = check_rng_between(&rng, 1, 100);
            CHECK_EQ(fa_tag_push(ctx, tags[which]), FA_OK);
            CHECK_NOT_NULL(fa_arena_alloc(frame, size));
            CHECK_EQ(fa_tag_pop(ctx), FA_OK);
            want[which] += rounded(size);
        }
        size_t groups[10] = {0};
        for (size_t i = 0; i < MANY_TAGS; i++) {
            groups[i % 10] += want[i];
            if (i % 331 == 0) {
                CHECK_EQ(bytes_of(ctx, tags[i]), want[i]);
            }
        }
        for (unsigned i = 0; i < 10; i++) {
            CHECK_EQ(bytes_of(ctx, fa_tag_parent(ctx, tags[i])), groups[i]);
        }
        CHECK_EQ(bytes_of(ctx, FA_TAG_ROOT), fa_arena_used(frame));
        fa_frame_end(frame);
        memset(want, 0, sizeof(want));
        CHECK_EQ(bytes_of(ctx, FA_TAG_ROOT), 0);
    }
    context_close(ctx);
}

static void a_hundred_thousand_switches_in_a_frame_are_charged_exactly(void) {
    for (uint32_t in_flight = 1; in_flight <= 2; in_flight++) {
        fa_config config = {.frames_in_flight = in_flight};
        fa_context *ctx = context_open(&config);
        fa_tag tags[4] = {fa_tag_register(ctx, "a"), fa_tag_register(ctx, "b"),
                          fa_tag_register(ctx, "a/c"), FA_TAG_ROOT};
        size_t overhead = 0;
        for (int round = 0; round < 6; round++) {
            fa_arena *frame = fa_frame_begin(ctx);
            size_t want[4] = {0};
            for (size_t i = 0; i < 100000; i++) {
                size_t which = (i * 7 + i / 3) % 4;
                CHECK_EQ(fa_tag_push(ctx, tags[which]), FA_OK);
                CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
                want[which] += 16;
                CHECK_EQ(fa_tag_pop(ctx), FA_OK);
            }
            CHECK_EQ(tag_stats_of(ctx, tags[0]).frame_bytes, want[0] + want[2]);
            CHECK_EQ(tag_stats_of(ctx, tags[1]).frame_bytes, want[1]);
            CHECK_EQ(tag_stats_of(ctx, tags[2]).frame_bytes, want[2]);
            CHECK_EQ(tag_stats_of(ctx, FA_TAG_ROOT).frame_bytes, 1600000);
            size_t held = in_flight == 2 && round != 0 ? 1600000 : 0; // The frame before.
            CHECK_EQ(bytes_of(ctx, FA_TAG_ROOT), 1600000 + held);
            fa_frame_end(frame);
            if (round == 2) {
                overhead = stats_of(ctx).overhead_bytes;
            }
        }
        CHECK_EQ(stats_of(ctx).overhead_bytes, overhead); // The log is kept, not made again.
        context_close(ctx);
    }
}

static void empty_scopes_leave_no_trace(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tags[4] = {fa_tag_register(ctx, "a"), fa_tag_register(ctx, "b"),
                      fa_tag_register(ctx, "c"), fa_tag_register(ctx, "d")};
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
    CHECK_EQ(fa_tag_push(ctx, tags[0]), FA_OK);
    size_t overhead = stats_of(ctx).overhead_bytes;
    for (size_t i = 0; i < 100000; i++) {
        CHECK_EQ(fa_tag_push(ctx, tags[1 + i % 3]), FA_OK);
        CHECK_EQ(fa_tag_push(ctx, tags[1 + (i + 1) % 3]), FA_OK);
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 16)); // All of it is one stretch.
    }
    CHECK_EQ(stats_of(ctx).overhead_bytes, overhead);
    CHECK_EQ(bytes_of(ctx, tags[0]), 100000 * 16);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    fa_frame_end(frame);
    context_close(ctx);
}

// ---- Against a naive model ----

enum { TAGS = 12, BYTES_MAX = 60000, MARKS = 6 };

// Owner of each 16 bytes of the frame, in order of allocating.
typedef struct model {
    uint8_t owner[BYTES_MAX / 16 + 1];
    size_t count;
    size_t stack[FA_TAG_DEPTH_MAX];
    size_t depth;
    size_t current;
    fa_mark marks[MARKS];
    size_t mark_at[MARKS];
    size_t mark_count;
    void *last; // The last block, to be resized.
    size_t last_size;
    size_t peak[TAGS];
} model;

static model the_model;

static void model_take(model *m, size_t bytes) {
    for (size_t i = 0; i < rounded(bytes) / 16; i++) {
        m->owner[m->count++] = (uint8_t)m->current;
    }
}

static void model_count(const model *m, size_t *bytes) {
    memset(bytes, 0, TAGS * sizeof(*bytes));
    for (size_t i = 0; i < m->count; i++) {
        bytes[m->owner[i]] += 16;
    }
}

static void model_note_peaks(model *m) {
    size_t bytes[TAGS];
    model_count(m, bytes);
    for (size_t i = 0; i < TAGS; i++) {
        m->peak[i] = bytes[i] > m->peak[i] ? bytes[i] : m->peak[i];
    }
}

static bool agrees(fa_context *ctx, const fa_arena *frame, const model *m, const fa_tag *tags) {
    size_t bytes[TAGS];
    model_count(m, bytes);
    bool same = CHECK_EQ(fa_arena_used(frame), m->count * 16);
    same = CHECK_EQ(bytes_of(ctx, FA_TAG_ROOT), m->count * 16) && same;
    same = CHECK_EQ(thread_stats_of(ctx, NULL).frame_bytes, m->count * 16) && same;
    for (size_t i = 1; i < TAGS; i++) { // None is the parent of another.
        fa_tag_stats_result stats = tag_stats_of(ctx, tags[i]);
        same = CHECK_EQ(stats.current_bytes, bytes[i]) && same;
        same = CHECK_EQ(stats.frame_bytes, bytes[i]) && same;
        same = CHECK_EQ(stats.peak_bytes, m->peak[i]) && same;
    }
    return same;
}

static void model_rewind(model *m, fa_arena *frame, check_rng *rng) {
    if (m->mark_count == 0) {
        return;
    }
    size_t which = check_rng_below(rng, m->mark_count);
    model_note_peaks(m);
    CHECK_EQ(fa_arena_rewind(frame, m->marks[which]), FA_OK);
    m->count = m->mark_at[which];
    m->mark_count = which + 1;
    m->last = NULL;
}

static void model_resize(model *m, fa_arena *frame, check_rng *rng) {
    if (m->last == NULL) {
        return;
    }
    size_t size = check_rng_between(rng, 1, 600);
    model_note_peaks(m);
    CHECK_EQ(fa_arena_resize(frame, m->last, m->last_size, size), m->last);
    size_t old_count = rounded(m->last_size) / 16;
    size_t new_count = rounded(size) / 16;
    if (new_count > old_count) {
        model_take(m, (new_count - old_count) * 16);
    } else {
        m->count -= old_count - new_count;
    }
    m->last_size = size;
}

static void model_step(model *m, fa_context *ctx, fa_arena *frame, const fa_tag *tags,
                       check_rng *rng) {
    size_t what = check_rng_below(rng, 100);
    if (what < 30 && m->depth < FA_TAG_DEPTH_MAX) {
        m->stack[m->depth++] = m->current;
        m->current = check_rng_below(rng, TAGS);
        CHECK_EQ(fa_tag_push(ctx, tags[m->current]), FA_OK);
    } else if (what < 58 && m->depth > 0) {
        m->current = m->stack[--m->depth];
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    } else if (what < 84) {
        m->last_size = check_rng_between(rng, 1, 300);
        m->last = fa_arena_alloc(frame, m->last_size);
        CHECK_NOT_NULL(m->last);
        model_take(m, m->last_size);
    } else if (what < 90 && m->mark_count < MARKS) {
        m->marks[m->mark_count] = fa_arena_mark(frame);
        m->mark_at[m->mark_count++] = m->count;
        m->last = NULL; // Resizing it would reach below the mark.
    } else if (what < 95) {
        model_rewind(m, frame, rng);
    } else {
        model_resize(m, frame, rng);
    }
}

static void random_switches_rewinds_and_resizes_agree_with_a_model(void) {
    fa_config configs[] = {{.frames_in_flight = 1},
                           {.frames_in_flight = 1, .checks = FA_CHECK_WATCH},
                           {.frame_reserve = 64 * KIB, .frame_initial = 4 * KIB}};
    check_rng rng = check_rng_make(check_seed());
    for (size_t c = 0; c < 3; c++) {
        fa_context *ctx = context_open(&configs[c]);
        fa_tag tags[TAGS] = {FA_TAG_ROOT};
        for (unsigned i = 1; i < TAGS; i++) {
            char path[16];
            snprintf(path, sizeof(path), "tag%u", i);
            tags[i] = fa_tag_register(ctx, path);
        }
        memset(&the_model, 0, sizeof(the_model));
        for (size_t f = 0; f < check_scale(100); f++) {
            fa_arena *frame = fa_frame_begin(ctx);
            the_model.count = 0;
            the_model.mark_count = 0;
            the_model.last = NULL;
            for (size_t step = 0; the_model.count * 16 < BYTES_MAX - 1000 && step < 2000; step++) {
                check_note("configuration %u, frame %u, step %u", (unsigned)c, (unsigned)f,
                           (unsigned)step);
                model_step(&the_model, ctx, frame, tags, &rng);
                if (check_rng_chance(&rng, 2)) {
                    model_note_peaks(&the_model);
                    REQUIRE(agrees(ctx, frame, &the_model, tags));
                }
            }
            model_note_peaks(&the_model);
            fa_frame_end(frame);
            the_model.count = 0;
            CHECK_EQ(fa_tag_current(ctx).id, tags[the_model.current].id);
            CHECK_EQ(bytes_of(ctx, FA_TAG_ROOT), 0);
        }
        for (size_t i = 1; i < TAGS; i++) {
            CHECK_EQ(tag_stats_of(ctx, tags[i]).peak_bytes, the_model.peak[i]);
        }
        context_close(ctx);
    }
}

TEST_SUITE(tag_bytes, TEST(bytes_roll_up_to_all_parents),
           TEST(scratch_and_own_arenas_are_charged_too),
           TEST(nested_scratch_scopes_have_tags_of_their_own),
           TEST(tagged_allocators_charge_their_tag_and_no_other),
           TEST(thousands_of_tags_are_charged_exactly),
           TEST(a_hundred_thousand_switches_in_a_frame_are_charged_exactly),
           TEST(empty_scopes_leave_no_trace),
           TEST(random_switches_rewinds_and_resizes_agree_with_a_model));

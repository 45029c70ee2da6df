// Tags: the tree of names, the current tag of each thread, and what is refused. How bytes are
// charged to them: test_tag_bytes.c.
#include "core_fixture.h"
#include "fault_backend.h"

#include <stdio.h>

static report_log reports;

// ---- The tree ----

static void a_path_makes_all_its_parents(void) {
    fa_context *ctx = context_open(NULL);
    CHECK_EQ(fa_tag_count(ctx), 1);
    fa_tag leaf = fa_tag_register(ctx, "ai/pathfinding/astar");
    CHECK_EQ(fa_tag_count(ctx), 4);
    CHECK_STR_EQ(fa_tag_path(ctx, leaf), "ai/pathfinding/astar");
    fa_tag middle = fa_tag_parent(ctx, leaf);
    CHECK_STR_EQ(fa_tag_path(ctx, middle), "ai/pathfinding");
    fa_tag top = fa_tag_parent(ctx, middle);
    CHECK_STR_EQ(fa_tag_path(ctx, top), "ai");
    CHECK_EQ(fa_tag_parent(ctx, top).id, FA_TAG_ROOT.id);
    CHECK_EQ(fa_tag_parent(ctx, FA_TAG_ROOT).id, FA_TAG_ROOT.id);
    CHECK_STR_EQ(fa_tag_path(ctx, FA_TAG_ROOT), "");
    for (uint32_t id = 0; id < 4; id++) { // Ids run from 0 to count - 1.
        CHECK_NOT_NULL(fa_tag_path(ctx, (fa_tag){id}));
    }
    nothing_failed();
    context_close(ctx);
}

static void the_same_path_is_the_same_tag(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag ai = fa_tag_register(ctx, "ai");
    fa_tag paths = fa_tag_register(ctx, "ai/paths");
    CHECK_NE(ai.id, paths.id);
    char again[16] = "ai/paths";
    CHECK_EQ(fa_tag_register(ctx, again).id, paths.id);
    memset(again, 0, sizeof(again)); // It was copied.
    CHECK_EQ(fa_tag_register(ctx, "ai").id, ai.id);
    CHECK_EQ(fa_tag_count(ctx), 3);
    CHECK_EQ(fa_tag_parent(ctx, paths).id, ai.id);
    // Names that begin alike are different tags.
    fa_tag similar = fa_tag_register(ctx, "a");
    CHECK(similar.id != ai.id && similar.id != paths.id);
    CHECK_NE(fa_tag_register(ctx, "ai/path").id, paths.id);
    CHECK_NE(fa_tag_register(ctx, "AI").id, ai.id);
    CHECK_NE(fa_tag_register(ctx, "paths").id, paths.id);
    context_close(ctx);
}

static void find_finds_only_what_is_registered(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag made = fa_tag_register(ctx, "render/shadows");
    fa_tag found = {77};
    CHECK_EQ(fa_tag_find(ctx, "render/shadows", &found), FA_OK);
    CHECK_EQ(found.id, made.id);
    CHECK_EQ(fa_tag_find(ctx, "render", &found), FA_OK);
    CHECK_EQ(found.id, fa_tag_parent(ctx, made).id);
    const char *const unknown[] = {"shadows", "render/", "render/shadow", "render/shadows/x",
                                   "rend"};
    for (size_t i = 0; i < 5; i++) {
        found.id = 77;
        CHECK_EQ(fa_tag_find(ctx, unknown[i], &found), FA_ERR_NOT_FOUND);
        CHECK_EQ(found.id, 0);
    }
    CHECK_EQ(fa_tag_count(ctx), 3);
    CHECK_EQ(fa_tag_find(ctx, NULL, &found), FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "path");
    CHECK_EQ(fa_tag_find(ctx, "render", NULL), FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "out");
    context_close(ctx);
}

static void bad_paths_are_refused(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    char longest[97];
    memset(longest, 'p', 96);
    longest[96] = '\0';
    const char *const bad[] = {NULL, "", "/", "/ai", "ai/", "ai//paths", "//", longest};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        check_note("path %u", (unsigned)i);
        CHECK_EQ(fa_tag_register(ctx, bad[i]).id, FA_TAG_ROOT.id);
        failed_as(805, FA_ERR_INVALID);
        CHECK_EQ(log_single(&reports, 805)->result, FA_ERR_INVALID);
        CHECK_EQ(fa_tag_count(ctx), 1);
    }
    longest[95] = '\0'; // 95 bytes are allowed.
    fa_tag tag = fa_tag_register(ctx, longest);
    CHECK_NE(tag.id, 0);
    CHECK_STR_EQ(fa_tag_path(ctx, tag), longest);
    context_close(ctx);
}

static void ids_that_are_no_tag_are_refused(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_tag last = fa_tag_register(ctx, "last");
    const fa_tag unknown[] = {{last.id + 1}, {64}, {FA_TAG_MAX}, {UINT32_MAX}};
    fa_arena *frame = fa_frame_begin(ctx);
    for (size_t i = 0; i < 4; i++) {
        fa_tag tag = unknown[i];
        check_note("tag %u", (unsigned)tag.id);
        CHECK_NULL(fa_tag_path(ctx, tag));
        CHECK_EQ(fa_tag_parent(ctx, tag).id, 0);
        log_empty(&reports);
        CHECK_EQ(fa_tag_push(ctx, tag), FA_ERR_INVALID);
        failed_as(802, FA_ERR_INVALID);
        (void)log_single(&reports, 802);
        CHECK_EQ(thread_stats_of(ctx, NULL).tag_depth, 0);
        CHECK_NULL(fa_tagged_alloc(fa_tagged_make(ctx, tag), 16));
        failed_as(802, FA_ERR_INVALID);
        (void)log_single(&reports, 802);
        fa_tag_stats_result stats;
        CHECK_EQ(fa_tag_stats(ctx, tag, &stats), FA_ERR_INVALID);
        failed_as(802, FA_ERR_INVALID);
        (void)log_single(&reports, 802);
        CHECK_EQ(fa_budget_set(ctx, tag, &(fa_budget){.hard = 1000}), FA_ERR_INVALID);
        failed_as(802, FA_ERR_INVALID);
        (void)log_single(&reports, 802);
        fa_budget budget = {.hard = 1};
        CHECK_EQ(fa_budget_get(ctx, tag, &budget), FA_ERR_INVALID);
        CHECK_EQ(budget.hard, 0);
        (void)log_single(&reports, 802);
        CHECK_EQ(fa_budget_remaining(ctx, tag), 0);
        (void)log_single(&reports, 802);
    }
    CHECK_EQ(fa_arena_used(frame), 0);
    fa_frame_end(frame);
    context_close(ctx);
}

static void there_are_at_most_tag_max(void) {
    fa_context *ctx = context_open(NULL);
    char path[32];
    size_t count = FA_TAG_MAX - 2;
    for (size_t i = 1; i < count; i++) {
        snprintf(path, sizeof(path), "t%u", (unsigned)i);
        REQUIRE_EQ(fa_tag_register(ctx, path).id, i);
    }
    CHECK_EQ(fa_tag_count(ctx), count);
    CHECK_NE(fa_tag_register(ctx, "one/more").id, 0);
    CHECK_EQ(fa_tag_count(ctx), FA_TAG_MAX);
    CHECK_EQ(fa_tag_register(ctx, "too/many").id, 0);
    CHECK_EQ(fa_last_error()->limit, FA_TAG_MAX);
    failed_as(805, FA_ERR_LIMIT);
    CHECK_EQ(fa_tag_count(ctx), FA_TAG_MAX);
    CHECK_EQ(fa_tag_register(ctx, "t4711").id, 4711);
    fa_arena *frame = fa_frame_begin(ctx);
    for (uint32_t id = 0; id < FA_TAG_MAX; id += 97) {
        CHECK_EQ(fa_tag_push(ctx, (fa_tag){id}), FA_OK);
        CHECK_NOT_NULL(fa_arena_alloc(frame, 16 + 16 * (id % 7)));
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    }
    for (uint32_t id = 97; id < FA_TAG_MAX - 2; id += 97 * 20) {
        CHECK_EQ(tag_stats_of(ctx, (fa_tag){id}).current_bytes, 16 + 16 * (id % 7));
    }
    CHECK_EQ(tag_stats_of(ctx, FA_TAG_ROOT).current_bytes, fa_arena_used(frame));
    fa_frame_end(frame);
    context_close(ctx);
}

static void a_tag_that_finds_no_memory_is_not_made(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_config config = {.backend = &pages.backend};
    fa_context *ctx = context_open(&config);
    fault_backend_set(&pages, FAULT_FROM, 1, 0, 0);
    char path[32];
    unsigned made = 0;
    do {
        made += 1;
        snprintf(path, sizeof(path), "t%u", made);
    } while (made < 5000 && fa_tag_register(ctx, path).id != 0);
    CHECK_LT(made, 5000);
    failed_as(305, FA_ERR_OUT_OF_MEMORY);
    CHECK_EQ(fa_tag_count(ctx), made); // The root and all but the last.
    fault_backend_set(&pages, FAULT_NONE, 0, 0, 0);
    CHECK_EQ(fa_tag_register(ctx, path).id, made);
    CHECK_EQ(fa_tag_register(ctx, "t1").id, 1);
    context_close(ctx);
    fault_backend_end(&pages);
}

typedef struct registrar {
    fa_context *context;
    uint32_t first;
    uint32_t found[200];
} registrar;

static void register_many(void *arg) {
    registrar *self = (registrar *)arg;
    char path[32];
    for (unsigned i = 0; i < 200; i++) {
        unsigned which = (i + self->first) % 200;
        snprintf(path, sizeof(path), "g%u/t%u", which % 7, which);
        self->found[which] = fa_tag_register(self->context, path).id;
        CHECK_STR_EQ(fa_tag_path(self->context, (fa_tag){self->found[which]}), path);
        if (fa_tag_push(self->context, (fa_tag){self->found[which]}) == FA_OK) {
            CHECK_EQ(fa_tag_pop(self->context), FA_OK);
        }
    }
}

static void threads_that_register_at_once_get_the_same_tags(void) {
    static registrar all[8];
    fa_context *ctx = context_open(NULL);
    for (uint32_t i = 0; i < 8; i++) {
        all[i] = (registrar){.context = ctx, .first = i * 25};
    }
    check_threads_run(8, register_many, all, sizeof(all[0]));
    CHECK_EQ(fa_tag_count(ctx), 1 + 7 + 200);
    for (size_t i = 1; i < 8; i++) {
        CHECK_MEM_EQ(all[i].found, all[0].found, sizeof(all[0].found));
    }
    context_close(ctx);
}

// ---- The current tag ----

static void pushed_tags_nest(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tags[3] = {fa_tag_register(ctx, "a"), fa_tag_register(ctx, "b"),
                      fa_tag_register(ctx, "a/c")};
    CHECK_EQ(fa_tag_current(ctx).id, 0);
    const size_t order[] = {0, 2, 2, 1, 0};
    for (size_t i = 0; i < 5; i++) {
        CHECK_EQ(fa_tag_push(ctx, tags[order[i]]), FA_OK);
        CHECK_EQ(fa_tag_current(ctx).id, tags[order[i]].id);
        CHECK_EQ(thread_stats_of(ctx, NULL).tag_depth, i + 1);
    }
    CHECK_EQ(fa_tag_push(ctx, FA_TAG_ROOT), FA_OK); // The root may be pushed as well.
    CHECK_EQ(fa_tag_current(ctx).id, 0);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    for (size_t i = 5; i > 0; i--) {
        CHECK_EQ(fa_tag_current(ctx).id, tags[order[i - 1]].id);
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    }
    CHECK_EQ(fa_tag_current(ctx).id, 0);
    nothing_failed();
    context_close(ctx);
}

static void the_current_tag_outlives_frames(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag outer = fa_tag_register(ctx, "outer");
    fa_tag inner = fa_tag_register(ctx, "inner");
    CHECK_EQ(fa_tag_push(ctx, outer), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_EQ(fa_tag_current(ctx).id, outer.id);
    CHECK_EQ(fa_tag_push(ctx, inner), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 160));
    fa_frame_end(frame);
    CHECK_EQ(fa_tag_current(ctx).id, inner.id);
    frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 320));
    CHECK_EQ(tag_stats_of(ctx, inner).current_bytes, 320);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
    CHECK_EQ(tag_stats_of(ctx, outer).current_bytes, 16);
    fa_frame_end(frame);
    CHECK_EQ(fa_tag_current(ctx).id, outer.id);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    CHECK_EQ(fa_tag_current(ctx).id, 0);
    context_close(ctx);
}

static void a_pop_without_a_push_is_refused(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_tag tag = fa_tag_register(ctx, "tag");
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(fa_tag_pop(ctx), FA_ERR_INVALID);
        failed_as(803, FA_ERR_INVALID);
        CHECK_EQ(log_single(&reports, 803)->result, FA_ERR_INVALID);
        CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        CHECK_EQ(fa_tag_current(ctx).id, 0);
    }
    context_close(ctx);
}

static void at_most_depth_max_tags_are_pushed(void) {
    fa_context *ctx = context_open(NULL);
    log_attach(ctx, &reports);
    fa_tag tags[2] = {fa_tag_register(ctx, "even"), fa_tag_register(ctx, "odd")};
    for (int in_frame = 0; in_frame < 2; in_frame++) {
        fa_arena *frame = in_frame ? fa_frame_begin(ctx) : NULL;
        for (size_t i = 0; i < FA_TAG_DEPTH_MAX; i++) {
            CHECK_EQ(fa_tag_push(ctx, tags[i % 2]), FA_OK);
            if (frame != NULL) {
                CHECK_NOT_NULL(fa_arena_alloc(frame, 16));
            }
        }
        CHECK_EQ(fa_tag_push(ctx, tags[0]), FA_ERR_LIMIT);
        CHECK_EQ(fa_last_error()->limit, FA_TAG_DEPTH_MAX);
        failed_as(803, FA_ERR_LIMIT);
        (void)log_single(&reports, 803);
        CHECK_EQ(fa_tag_current(ctx).id, tags[1].id); // Nothing has changed.
        CHECK_EQ(thread_stats_of(ctx, NULL).tag_depth, FA_TAG_DEPTH_MAX);
        for (size_t i = FA_TAG_DEPTH_MAX; i > 0; i--) {
            CHECK_EQ(fa_tag_current(ctx).id, tags[(i - 1) % 2].id);
            CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        }
        CHECK_EQ(fa_tag_pop(ctx), FA_ERR_INVALID);
        (void)log_single(&reports, 803);
        if (frame != NULL) {
            CHECK_EQ(tag_stats_of(ctx, tags[0]).current_bytes, 16 * FA_TAG_DEPTH_MAX / 2);
            fa_frame_end(frame);
        }
    }
    context_close(ctx);
}

static void a_push_that_finds_no_memory_changes_nothing(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_config config = {.backend = &pages.backend};
    fa_context *ctx = context_open(&config);
    fa_arena *frame = fa_frame_begin(ctx);
    char path[32];
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(path, sizeof(path), "t%u", i);
        (void)fa_tag_register(ctx, path);
    }
    fault_backend_set(&pages, FAULT_FROM, 1, 0, 0);
    fa_tag tag = {2999};
    while (tag.id > 0 && fa_tag_push(ctx, tag) == FA_OK) { // What memory there is lasts a while.
        CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        tag.id -= 1;
    }
    failed_as(305, FA_ERR_OUT_OF_MEMORY);
    CHECK_EQ(fa_tag_current(ctx).id, 0);
    CHECK_EQ(thread_stats_of(ctx, NULL).tag_depth, 0);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 160));
    CHECK_EQ(tag_stats_of(ctx, FA_TAG_ROOT).current_bytes, 160);
    fault_backend_set(&pages, FAULT_NONE, 0, 0, 0);
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    CHECK_EQ(fa_tag_current(ctx).id, tag.id);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    fa_frame_end(frame);
    context_close(ctx);
    fault_backend_end(&pages);
}

typedef struct other_thread {
    fa_context *context;
    fa_tag tag;
} other_thread;

static void push_elsewhere(void *arg) {
    const other_thread *self = (const other_thread *)arg;
    CHECK_EQ(fa_tag_current(self->context).id, 0);
    CHECK_EQ(fa_tag_push(self->context, self->tag), FA_OK);
}

static void each_thread_has_its_own_current_tag(void) {
    other_thread other = {.context = context_open(NULL)};
    fa_tag mine = fa_tag_register(other.context, "mine");
    other.tag = fa_tag_register(other.context, "theirs");
    CHECK_EQ(fa_tag_push(other.context, mine), FA_OK);
    check_thread_join(check_thread_start(push_elsewhere, &other));
    CHECK_EQ(fa_tag_current(other.context).id, mine.id);
    CHECK_EQ(fa_tag_pop(other.context), FA_OK);
    context_close(other.context);
}

// ---- FA_TAG_SCOPE ----

#if defined(FA_TAG_SCOPE)

typedef enum way_out { BY_END, BY_RETURN, BY_BREAK, BY_CONTINUE, BY_GOTO } way_out;

static int leave_scope(fa_context *ctx, fa_tag tag, way_out way) {
    for (int i = 0; i < 1; i++) {
        FA_TAG_SCOPE(ctx, tag);
        CHECK_EQ(fa_tag_current(ctx).id, tag.id);
        if (way == BY_RETURN) {
            return 1;
        }
        if (way == BY_BREAK) {
            break;
        }
        if (way == BY_CONTINUE) {
            continue;
        }
        if (way == BY_GOTO) {
            goto out;
        }
    }
    CHECK_EQ(fa_tag_current(ctx).id, 0);
out:
    CHECK_EQ(fa_tag_current(ctx).id, 0);
    return 0;
}

static void a_scope_pops_on_every_way_out(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    const way_out ways[] = {BY_END, BY_RETURN, BY_BREAK, BY_CONTINUE, BY_GOTO};
    for (size_t i = 0; i < 5; i++) {
        check_note("way %u", (unsigned)i);
        (void)leave_scope(ctx, tag, ways[i]);
        CHECK_EQ(fa_tag_current(ctx).id, 0);
        CHECK_EQ(thread_stats_of(ctx, NULL).tag_depth, 0);
    }
    nothing_failed();
    context_close(ctx);
}

static void scopes_nest_also_in_one_block(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag outer = fa_tag_register(ctx, "outer");
    fa_tag inner = fa_tag_register(ctx, "inner");
    {
        FA_TAG_SCOPE(ctx, outer);
        CHECK_EQ(fa_tag_current(ctx).id, outer.id);
        FA_TAG_SCOPE(ctx, inner);
        CHECK_EQ(fa_tag_current(ctx).id, inner.id);
        CHECK_EQ(thread_stats_of(ctx, NULL).tag_depth, 2);
    }
    CHECK_EQ(fa_tag_current(ctx).id, 0);
    CHECK_EQ(thread_stats_of(ctx, NULL).tag_depth, 0);
    context_close(ctx);
}

static void a_scope_whose_push_failed_pops_nothing(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "tag");
    CHECK_EQ(fa_tag_push(ctx, tag), FA_OK);
    {
        FA_TAG_SCOPE(ctx, ((fa_tag){999}));
        failed_as(802, FA_ERR_INVALID);
        CHECK_EQ(fa_tag_current(ctx).id, tag.id);
    }
    CHECK_EQ(fa_tag_current(ctx).id, tag.id);
    nothing_failed();
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    context_close(ctx);
}

#else

static void a_scope_pops_on_every_way_out(void) {
    SKIP("FA_TAG_SCOPE needs the cleanup attribute");
}

static void scopes_nest_also_in_one_block(void) {
    SKIP("FA_TAG_SCOPE needs the cleanup attribute");
}

static void a_scope_whose_push_failed_pops_nothing(void) {
    SKIP("FA_TAG_SCOPE needs the cleanup attribute");
}

#endif

TEST_SUITE(tag, TEST(a_path_makes_all_its_parents), TEST(the_same_path_is_the_same_tag),
           TEST(find_finds_only_what_is_registered), TEST(bad_paths_are_refused),
           TEST(ids_that_are_no_tag_are_refused), TEST(there_are_at_most_tag_max),
           TEST(a_tag_that_finds_no_memory_is_not_made),
           TEST(threads_that_register_at_once_get_the_same_tags), TEST(pushed_tags_nest),
           TEST(the_current_tag_outlives_frames), TEST(a_pop_without_a_push_is_refused),
           TEST(at_most_depth_max_tags_are_pushed),
           TEST(a_push_that_finds_no_memory_changes_nothing),
           TEST(each_thread_has_its_own_current_tag), TEST(a_scope_pops_on_every_way_out),
           TEST(scopes_nest_also_in_one_block), TEST(a_scope_whose_push_failed_pops_nothing));

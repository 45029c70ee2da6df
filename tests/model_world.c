// Making a world, choosing its steps, comparing every figure, and ending it.
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- What the library tells ----

static void on_report(const fa_report *report, void *user) {
    model_world *world = user;
    int code = report->info->code;
    if (code != 304 && code != 306) { // Soft lines: the callback sees to those.
        world->reports_seen += 1;
        world->last_report = code;
        world->left_open_seen = code == 7 ? report->limit : world->left_open_seen;
    }
}

static void on_watch(const fa_watch_event *event, void *user) {
    model_world *world = user;
    world->watched_seen += 1;
    world->watched_ptr = event->ptr;
    EXPECT(world, world->is_watched);
}

static fa_result on_wait(void *user, uint64_t fence) {
    model_world *world = user;
    world->waits_seen += 1;
    const model_arena *slot = &world->slots[world->frame_index % world->setup.frames_in_flight];
    EXPECT(world, world->is_closing || fence == slot->fence);
    return world->wait_result;
}

// ---- Making ----

// Pages that can be used at once.
static void *reserve_committed(void *self, size_t size, size_t align) {
    const fa_backend *os = fa_backend_os();
    (void)self;
    char *ptr = os->reserve(os->self, size, align);
    if (ptr != NULL && !os->commit(os->self, ptr, size)) {
        os->release(os->self, ptr, size);
        return NULL;
    }
    return ptr;
}

static void release_committed(void *self, void *ptr, size_t size) {
    (void)self;
    fa_backend_os()->release(fa_backend_os()->self, ptr, size);
}

enum { MEASURED_BYTES = 4096 + 16 };

// Bytes that the library keeps at the start of a further block: seen where the second chunk of an
// arena begins.
static size_t measure_header(fa_context *ctx) {
    fa_arena *arena = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, &(fa_arena_desc){.chunk_size = 4096}, &arena), FA_OK);
    CHECK_NOT_NULL(fa_arena_alloc(arena, 4096));
    uintptr_t second = (uintptr_t)fa_arena_alloc(arena, 16);
    CHECK_EQ(fa_arena_used(arena), MEASURED_BYTES);
    fa_arena_destroy(arena);
    return second % 4096;
}

static void register_tags(model_world *world) {
    static const struct {
        const char *path;
        uint32_t parent;
    } tags[MODEL_TAGS] = {{"", 0},    {"a", 0}, {"a/b", 1}, {"a/b/c", 2}, {"a/b/d", 2},
                          {"a/e", 1}, {"f", 0}, {"f/g", 6}, {"h", 0}};
    for (uint32_t i = 1; i < MODEL_TAGS; i++) {
        world->tags[i] = fa_tag_register(world->context, tags[i].path);
        world->parents[i] = tags[i].parent;
        CHECK_NE(world->tags[i].id, 0);
    }
}

void model_open(model_world *world, const model_setup *setup) {
    *world = (model_world){.setup = *setup, .rng = check_rng_make(setup->seed), .doing = "open"};
    fa_config config = fa_config_default();
    config.frames_in_flight = setup->frames_in_flight;
    config.frame_wait = on_wait;
    config.frame_wait_user = world;
    config.decay_frames = 8;
    config.frame_reserve = (size_t)(setup->is_narrow ? 128 : 65536) << 10;
    config.scratch_reserve = (size_t)(setup->is_narrow ? 64 : 65536) << 10;
    config.frame_initial = 4096;
    config.chunk_size = (size_t)(setup->is_narrow ? 4 : 64) << 10;
    world->backend = *fa_backend_os();
    if (setup->cannot_commit) {
        world->backend.reserve = reserve_committed;
        world->backend.release = release_committed;
        world->backend.commit = NULL;
        world->backend.decommit = NULL;
    }
    config.backend = &world->backend;
    REQUIRE_EQ(fa_context_create(&config, &world->context), FA_OK);
    CHECK_EQ(fa_report_set(world->context, on_report, world), FA_OK);
    CHECK_EQ(fa_watch_set(world->context, on_watch, world), FA_OK);
    register_tags(world);
    world->block_header = measure_header(world->context);
    world->ended[0] = (model_peak){1, MEASURED_BYTES};
    world->use_peak[0] = MEASURED_BYTES;
    for (size_t i = 0; i < MODEL_SLOTS; i++) {
        world->slots[i].kind = MODEL_IS_FRAME;
        snprintf(world->slots[i].name, sizeof(world->slots[i].name), "frame");
    }
    for (size_t i = 0; i < MODEL_SCRATCH; i++) {
        world->scopes_kept[i] = SIZE_MAX;
        world->scratch[i].kind = MODEL_IS_SCRATCH;
        world->scratch[i].byte_limit = SIZE_MAX;
        snprintf(world->scratch[i].name, sizeof(world->scratch[i].name), "scratch");
    }
    fa_last_error_clear();
}

// ---- Comparing ----

static void compare_arena(model_world *world, const model_arena *arena) {
    if (arena->real == NULL) {
        return;
    }
    fa_arena_stats_result stats;
    EXPECT_EQ(world, fa_arena_stats(arena->real, &stats), FA_OK);
    EXPECT_EQ(world, stats.used_bytes, arena->used);
    EXPECT_EQ(world, stats.peak_bytes, arena->peak);
    EXPECT_EQ(world, stats.waste_bytes, arena->waste);
    EXPECT_EQ(world, stats.blocks, arena->pieces.count);
    EXPECT_EQ(world, stats.cleanups, arena->cleanups.count);
    EXPECT_EQ(world, stats.refusals, arena->refusals);
    EXPECT(world, strcmp(stats.name, arena->name) == 0);
    EXPECT(world, stats.committed_bytes <= stats.reserved_bytes);
    EXPECT_PTR(world, arena->real->cursor, arena->cursor);
    model_check_blocks(world, arena, 0);
    if (arena->kind == MODEL_IS_FRAME) {
        fa_frame_stats_result frame;
        EXPECT_EQ(world, fa_frame_stats(arena->real, &frame), FA_OK);
        EXPECT_EQ(world, frame.index, arena->index);
        EXPECT_EQ(world, frame.used_bytes, arena->used);
        EXPECT_EQ(world, frame.peak_bytes, arena->peak);
        EXPECT_EQ(world, frame.fence, arena->fence);
        EXPECT_EQ(world, frame.is_open, arena == world->frame);
    }
}

// The sum of all peaks of one tag, and of how many holders.
static model_peak peaks_of(const model_world *world, uint32_t tag) {
    model_peak sum = world->ended[tag];
    for (size_t i = 0; i < MODEL_HOLDERS; i++) {
        sum.now += world->held[i][tag].most == 0 ? 0 : 1;
        sum.most += world->held[i][tag].most;
    }
    for (size_t i = 0; i < MODEL_OWN; i++) {
        if (world->own[i].real != NULL && world->own[i].tag == tag) {
            sum.now += 1;
            sum.most += world->own[i].peak;
        }
    }
    return sum;
}

// Arenas there have been of one tag.
static size_t own_count(const model_world *world, uint32_t tag) {
    size_t count = world->ended[tag].now;
    for (size_t i = 0; i < MODEL_OWN; i++) {
        count += world->own[i].real != NULL && world->own[i].tag == tag ? 1 : 0;
    }
    return count;
}

// The peaks of a tag are added up over its holders and descendants: exact for one, otherwise an
// upper bound.
static void compare_peaks(model_world *world, uint32_t tag, const fa_tag_stats_result *stats) {
    model_peak sum = {0, 0};
    model_peak frame = {0, 0};
    bool has_several = false; // Arenas of one tag: their peak is taken as they last grew.
    for (uint32_t i = 0; i < MODEL_TAGS; i++) {
        uint32_t node = i;
        while (node != tag && node != 0) {
            node = world->parents[node];
        }
        if (node == tag) {
            model_peak part = peaks_of(world, i);
            sum.now += part.now;
            sum.most += part.most;
            has_several = has_several || own_count(world, i) > 1;
            frame.now += world->frame_use[i].now;
            frame.most += world->frame_use[i].most;
        }
    }
    EXPECT(world, has_several || stats->peak_bytes >= world->use_peak[tag]);
    EXPECT(world, stats->peak_bytes <= sum.most);
    EXPECT(world, sum.now != 1 || stats->peak_bytes == sum.most);
    EXPECT_EQ(world, stats->frame_bytes, frame.now);
    EXPECT_EQ(world, stats->frame_peak_bytes, frame.most);
}

static void compare_tags(model_world *world) {
    for (uint32_t i = 0; i < MODEL_TAGS; i++) {
        fa_tag_stats_result stats;
        EXPECT_EQ(world, fa_tag_stats(world->context, world->tags[i], &stats), FA_OK);
        EXPECT_EQ(world, stats.current_bytes, world->use[i]);
        EXPECT_EQ(world, stats.refusals, world->tag_refusals[i]);
        EXPECT_EQ(world, stats.budget, world->budgets[i].hard);
        compare_peaks(world, i, &stats);
        EXPECT_EQ(world, fa_budget_remaining(world->context, world->tags[i]),
                  model_remaining(world, i));
    }
}

static void compare_thread(model_world *world) {
    size_t used = 0;
    size_t arenas = 0;
    for (size_t i = 0; i < MODEL_SLOTS; i++) {
        used += world->slots[i].used;
    }
    for (size_t i = 0; i < MODEL_SCRATCH; i++) {
        used += world->scratch[i].used;
    }
    for (size_t i = 0; i < MODEL_OWN; i++) {
        arenas += world->own[i].real == NULL ? 0 : 1;
    }
    fa_thread_stats_result thread;
    EXPECT_EQ(world, fa_thread_stats(world->context, NULL, &thread), FA_OK);
    EXPECT_EQ(world, thread.frame_bytes, used);
    EXPECT_EQ(world, thread.frame_index, world->frame_index);
    EXPECT_EQ(world, thread.tag_depth, world->tag_depth);
    EXPECT_EQ(world, thread.frame_budget, world->thread_budget.frame_bytes);
    fa_stats stats;
    EXPECT_EQ(world, fa_stats_get(world->context, &stats), FA_OK);
    EXPECT_EQ(world, stats.frame_bytes, world->use_all);
    EXPECT_EQ(world, stats.total_bytes, world->use_all);
    EXPECT_EQ(world, stats.refusals, world->refusals);
    EXPECT_EQ(world, stats.arenas, arenas);
    EXPECT(world, stats.committed_bytes <= stats.reserved_bytes);
}

// Every figure of the library against the model's, and the contents of every block.
void model_compare(model_world *world) {
    for (size_t i = 0; i < world->setup.frames_in_flight; i++) {
        compare_arena(world, &world->slots[i]);
    }
    for (size_t i = 0; i < MODEL_SCRATCH; i++) {
        compare_arena(world, &world->scratch[i]);
    }
    for (size_t i = 0; i < MODEL_OWN; i++) {
        compare_arena(world, &world->own[i]);
    }
    compare_tags(world);
    compare_thread(world);
}

// ---- Steps ----

// Keeps what is in use small, so that there are many fills rather than a large one.
static bool empty_what_is_large(model_world *world) {
    const size_t much = (size_t)2 << 20;
    if (world->frame != NULL && (world->frame->used > much || world->frame->blocks.count > 400)) {
        world->doing = "end of a large frame";
        model_frame_end(world);
        return true;
    }
    for (size_t i = 0; i < MODEL_OWN; i++) {
        model_arena *own = &world->own[i];
        if (own->real != NULL && (own->used > much || own->blocks.count > 400)) {
            world->doing = "reset of a large arena";
            model_reset(world, own);
            return true;
        }
    }
    for (size_t i = 0; i < MODEL_SCRATCH; i++) {
        if (world->scratch[i].used > much || world->scratch[i].scopes.count > 40) {
            world->doing = "end of a large scratch scope";
            model_scratch_end(world);
            return true;
        }
    }
    return false;
}

static void step_scopes(model_world *world, size_t choice) {
    static const struct {
        size_t weight;
        const char *doing;
        void (*run)(model_world *world);
    } steps[] = {{10, "frame begin", model_frame_begin},
                 {8, "frame end", model_frame_end},
                 {1, "end of what is no open frame", model_frame_misuse},
                 {3, "fence", model_fence},
                 {22, "scratch begin", model_scratch_begin},
                 {19, "scratch end", model_scratch_end},
                 {2, "scratch end again", model_scratch_end_again},
                 {15, "tag push", model_tag_push},
                 {15, "tag pop", model_tag_pop},
                 {8, "budget set", model_budget_set},
                 {2, "thread budget set", model_thread_budget_set},
                 {4, "arena create", model_own_create},
                 {1, "checks set", model_checks_set}};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (choice < steps[i].weight) {
            world->doing = steps[i].doing;
            steps[i].run(world);
            return;
        }
        choice -= steps[i].weight;
    }
}

static void step_defer(model_world *world, model_arena *arena) {
    model_defer(world, arena, (model_action)check_rng_below(&world->rng, 3));
}

static void step_arena(model_world *world, model_arena *arena, size_t choice) {
    static const struct {
        size_t weight;
        const char *doing;
        void (*run)(model_world *world, model_arena *arena);
    } steps[] = {{140, "allocate", model_allocate_any},
                 {26, "resize", model_resize},
                 {12, "mark", model_mark_one},
                 {8, "rewind", model_rewind},
                 {2, "stale rewind", model_rewind_stale},
                 {8, "defer", step_defer},
                 {1, "reset", model_reset},
                 {1, "trim", model_trim},
                 {2, "destroy", model_own_destroy}};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (choice < steps[i].weight) {
            world->doing = steps[i].doing;
            steps[i].run(world, arena);
            return;
        }
        choice -= steps[i].weight;
    }
}

void model_step(model_world *world) {
    world->step += 1;
    if (empty_what_is_large(world)) {
        return;
    }
    size_t choice = check_rng_below(&world->rng, 310);
    if (choice < 110) {
        step_scopes(world, choice);
    } else {
        model_arena *arena = model_any_arena(world);
        if (arena != NULL) {
            step_arena(world, arena, choice - 110);
        }
    }
    EXPECT_EQ(world, fa_tag_current(world->context).id, world->tags[world->current_tag].id);
}

// ---- Ending ----

// Everything that is still open is ended by the library, which says so; every cleanup runs.
void model_close(model_world *world) {
    bool is_live = world->frame != NULL;
    world->doing = "destroying the context";
    world->nesting = 1;
    world->is_closing = true;
    for (size_t i = 0; i < MODEL_OWN; i++) {
        is_live = is_live || world->own[i].real != NULL;
    }
    model_arena *all[MODEL_SLOTS + MODEL_SCRATCH + MODEL_OWN];
    size_t count = 0;
    for (size_t i = 0; i < MODEL_SLOTS; i++) {
        all[count++] = &world->slots[i];
    }
    for (size_t i = 0; i < MODEL_SCRATCH; i++) {
        all[count++] = &world->scratch[i];
    }
    for (size_t i = 0; i < MODEL_OWN; i++) {
        all[count++] = &world->own[i];
    }
    for (size_t i = 0; i < count; i++) {
        all[i]->undoing = 0;
        for (size_t k = 0; k < all[i]->cleanups.count; k++) {
            all[i]->cleanups.items[k]->action = MODEL_ONLY_RUN;
        }
    }
    world->wait_result = FA_OK;
    fa_result result = fa_context_destroy(world->context);
    EXPECT_EQ(world, result, is_live ? FA_ERR_BUSY : FA_OK);
    for (size_t i = 0; i < count; i++) {
        EXPECT_EQ(world, all[i]->cleanups.count, 0);
        model_arena_free(all[i]);
    }
}

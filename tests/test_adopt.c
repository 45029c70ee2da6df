// Blocks of the heap that die with an arena.
#include <framealloc/adopt.h>
#include <framealloc/heap.h>

#include "core_fixture.h"
#include "fault_backend.h"

static fa_context *ctx;

static const fa_config *config; // Of the contexts; NULL: defaults.

static fa_arena *open_arena(void) {
    ctx = context_open(config);
    fa_arena *arena = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, NULL, &arena), FA_OK);
    return arena;
}

static void *new_block(size_t size) {
    unsigned char *block = fa_heap_alloc(ctx, size);
    REQUIRE_NOT_NULL(block);
    memset(block, 5, size);
    return block;
}

static size_t heap_blocks(void) {
    fa_heap_stats_result stats;
    REQUIRE_EQ(fa_heap_stats(ctx, &stats), FA_OK);
    return stats.live_blocks;
}

static void an_adopted_block_dies_with_the_arena(void) {
    fa_arena *arena = open_arena();
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 1; i <= 200; i++) { // More than the first table has room for.
            CHECK_EQ(fa_arena_adopt(arena, new_block(i * (i % 20 == 0 ? 1000 : 10))), FA_OK);
        }
        CHECK_EQ(heap_blocks(), 200);
        if (round == 0) {
            fa_arena_reset(arena);
            CHECK_EQ(heap_blocks(), 0);
        } else if (round == 1) {
            fa_mark mark = fa_arena_mark(arena);
            CHECK_EQ(fa_arena_adopt(arena, new_block(64)), FA_OK);
            CHECK_EQ(heap_blocks(), 201);
            CHECK_EQ(fa_arena_rewind(arena, mark), FA_OK);
            CHECK_EQ(heap_blocks(), 200);
            fa_arena_reset(arena);
        }
    }
    fa_arena_destroy(arena);
    CHECK_EQ(heap_blocks(), 0);
    CHECK(nothing_failed());
    context_close(ctx);
}

static void a_frame_adopts_too(void) {
    fa_arena *arena = open_arena();
    for (size_t i = 0; i < 10; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        REQUIRE_NOT_NULL(frame);
        CHECK_EQ(fa_arena_adopt(frame, new_block(100)), FA_OK);
        fa_scratch scratch = fa_scratch_begin(ctx, &frame, 1);
        CHECK_EQ(fa_arena_adopt(scratch.arena, new_block(100)), FA_OK);
        CHECK_EQ(heap_blocks(), 2);
        fa_scratch_end(scratch);
        CHECK_EQ(heap_blocks(), 1);
        fa_frame_end(frame);
        CHECK_EQ(heap_blocks(), 0);
    }
    fa_arena_destroy(arena);
    context_close(ctx);
}

static void what_is_no_block_is_refused(void) {
    fa_arena *arena = open_arena();
    fa_context *other = context_open(NULL);
    void *foreign = fa_heap_alloc(other, 100);
    char *block = new_block(100);
    size_t used = fa_arena_used(arena);
    int local = 0;
    void *const wrong[] = {NULL, &local, block + 16, foreign, fa_arena_alloc(arena, 16)};
    used += 16;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK_EQ(fa_arena_adopt(arena, wrong[i]), FA_ERR_INVALID);
        CHECK(failed_as(404, FA_ERR_INVALID));
        CHECK_EQ(fa_arena_used(arena), used);
    }
    fa_heap_free(ctx, block);
    CHECK_EQ(fa_arena_adopt(arena, block), FA_ERR_INVALID);
    CHECK(failed_as(404, FA_ERR_INVALID));
    fa_heap_free(other, foreign);
    fa_arena_destroy(arena);
    context_close(other);
    context_close(ctx);
}

static void a_block_is_adopted_once(void) {
    fa_arena *arena = open_arena();
    fa_arena *second = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, NULL, &second), FA_OK);
    void *block = new_block(48);
    CHECK_EQ(fa_arena_adopt(arena, block), FA_OK);
    size_t used = fa_arena_used(arena);
    CHECK_EQ(fa_arena_adopt(arena, block), FA_ERR_BUSY);
    CHECK(failed_as(17, FA_ERR_BUSY));
    CHECK_EQ(fa_arena_used(arena), used);
    CHECK_EQ(fa_arena_adopt(second, block), FA_ERR_BUSY);
    CHECK(failed_as(17, FA_ERR_BUSY));
    CHECK_EQ(fa_arena_disown(second, block), FA_ERR_NOT_FOUND);
    CHECK(nothing_failed());
    CHECK_EQ(fa_arena_disown(arena, block), FA_OK);
    CHECK_EQ(fa_arena_disown(arena, block), FA_ERR_NOT_FOUND);
    CHECK_EQ(fa_arena_adopt(second, block), FA_OK);
    fa_arena_destroy(arena);
    CHECK_EQ(heap_blocks(), 1); // It is the second arena's.
    CHECK_EQ(((unsigned char *)block)[47], 5);
    fa_arena_destroy(second);
    CHECK_EQ(heap_blocks(), 0);
    CHECK(nothing_failed());
    context_close(ctx);
}

static void a_disowned_block_is_the_callers_again(void) {
    fa_arena *arena = open_arena();
    CHECK_EQ(fa_arena_disown(arena, NULL), FA_ERR_NOT_FOUND);
    CHECK_EQ(fa_arena_disown(arena, arena), FA_ERR_NOT_FOUND);
    void *blocks[300];
    for (size_t i = 0; i < 300; i++) {
        blocks[i] = new_block(32 + i);
        CHECK_EQ(fa_arena_adopt(arena, blocks[i]), FA_OK);
    }
    for (size_t i = 0; i < 300; i += 3) {
        CHECK_EQ(fa_arena_disown(arena, blocks[i]), FA_OK);
    }
    fa_arena_reset(arena);
    CHECK_EQ(heap_blocks(), 100);
    for (size_t i = 0; i < 300; i += 3) {
        CHECK_EQ(((unsigned char *)blocks[i])[31 + i], 5);
        fa_heap_free(ctx, blocks[i]);
    }
    CHECK(nothing_failed());
    fa_arena_destroy(arena);
    context_close(ctx);
}

typedef struct order {
    fa_arena *arena;
    void *block;
    bool was_there;
} order;

static void look_at_block(void *arg) {
    order *o = arg;
    o->was_there = fa_heap_owns(ctx, o->block) && *(unsigned char *)o->block == 5;
}

static void cleanups_and_blocks_go_in_reverse_order(void) {
    fa_arena *arena = open_arena();
    order before = {arena, new_block(10), true};
    order after = {arena, before.block, false};
    CHECK_EQ(fa_arena_defer(arena, look_at_block, &before), FA_OK);
    CHECK_EQ(fa_arena_adopt(arena, before.block), FA_OK);
    CHECK_EQ(fa_arena_defer(arena, look_at_block, &after), FA_OK);
    fa_arena_destroy(arena);
    CHECK(after.was_there);   // Registered later, run before the block goes.
    CHECK(!before.was_there); // Registered earlier, run after it.
    context_close(ctx);
}

// An arena that is left behind still has its blocks when its cleanups run.
static void a_context_that_ends_keeps_the_order(void) {
    fa_arena *arena = open_arena();
    report_log log;
    log_attach(ctx, &log);
    order after = {arena, new_block(10), false};
    CHECK_EQ(fa_arena_adopt(arena, after.block), FA_OK);
    CHECK_EQ(fa_arena_defer(arena, look_at_block, &after), FA_OK);
    fa_arena *frame = fa_frame_begin(ctx);
    REQUIRE_NOT_NULL(frame);
    CHECK_EQ(fa_arena_adopt(frame, new_block(1000)), FA_OK);
    CHECK_EQ(fa_context_destroy(ctx), FA_ERR_BUSY);
    CHECK(after.was_there);
    CHECK_EQ(log_count(&log, 8), 1);
    CHECK_EQ(log_count(&log, 9), 1);
    CHECK_EQ(log_count(&log, 406), 0); // No block is left.
    CHECK_EQ(log_count(&log, 404), 0);
    CHECK_EQ(atomic_load(&log.count), 2);
}

static void leave_a_frame_open(void *arg) {
    (void)arg;
    fa_arena *frame = fa_frame_begin(ctx);
    REQUIRE_NOT_NULL(frame);
    CHECK_EQ(fa_arena_adopt(frame, new_block(1000)), FA_OK);
}

static void a_thread_that_exits_frees_its_frames_blocks(void) {
    fa_arena *arena = open_arena();
    report_log log;
    log_attach(ctx, &log);
    for (size_t i = 0; i < 5; i++) {
        check_thread_join(check_thread_start(leave_a_frame_open, NULL));
        CHECK_EQ(heap_blocks(), 0);
    }
    CHECK_EQ(log_count(&log, 9), 5);
    fa_arena_destroy(arena);
    context_close(ctx);
}

// Threads adopt into arenas of their own, and the table is common to all.
static void adopt_and_undo(void *arg) {
    check_rng rng = check_rng_make(check_seed() + *(const size_t *)arg);
    fa_arena *arena = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, &(fa_arena_desc){.chunk_size = 4096}, &arena), FA_OK);
    for (size_t i = 0; i < check_scale(2000); i++) {
        size_t count = check_rng_between(&rng, 1, 40);
        void *last = NULL;
        for (size_t k = 0; k < count; k++) {
            last = new_block(check_rng_between(&rng, 1, 500));
            CHECK_EQ(fa_arena_adopt(arena, last), FA_OK);
        }
        if (check_rng_chance(&rng, 50)) {
            CHECK_EQ(fa_arena_disown(arena, last), FA_OK);
            fa_heap_free(ctx, last);
        }
        if (check_rng_chance(&rng, 30)) {
            fa_arena_reset(arena);
        }
    }
    fa_arena_destroy(arena);
}

static void threads_adopt_at_the_same_time(void) {
    fa_arena *arena = open_arena();
    size_t numbers[4] = {0, 1, 2, 3};
    check_threads_run(4, adopt_and_undo, numbers, sizeof(numbers[0]));
    CHECK_EQ(heap_blocks(), 0);
    CHECK(nothing_failed());
    fa_arena_destroy(arena);
    context_close(ctx);
}

// ---- Refusals ----

static size_t play(void) {
    size_t failures = 0;
    fa_arena *arena = NULL;
    if (fa_arena_create(ctx, &(fa_arena_desc){.chunk_size = 4096}, &arena) != FA_OK) {
        return 1;
    }
    for (size_t i = 0; i < 500; i++) {
        void *block = fa_heap_alloc(ctx, 40 + i);
        if (block == NULL) {
            failures += 1;
            continue;
        }
        size_t used = fa_arena_used(arena);
        if (fa_arena_adopt(arena, block) != FA_OK) {
            failures += 1;
            CHECK_EQ(fa_arena_used(arena), used);
            CHECK(fa_heap_owns(ctx, block)); // It is still the caller's.
            CHECK_EQ(fa_arena_disown(arena, block), FA_ERR_NOT_FOUND);
            fa_heap_free(ctx, block);
        }
    }
    fa_arena_destroy(arena);
    CHECK_EQ(heap_blocks(), 0);
    CHECK_EQ(stats_of(ctx).frame_bytes, 0);
    return failures;
}

static void every_refusal_is_survived(void) {
    uint64_t refusals = 1;
    for (uint64_t at = 1; refusals != 0; at++) {
        fault_backend faults;
        fault_backend_make(&faults, FAULT_PAGES);
        REQUIRE_EQ(fa_context_create(&(fa_config){.backend = &faults.backend}, &ctx), FA_OK);
        fault_backend_set(&faults, at % 2 == 0 ? FAULT_NTH : FAULT_FROM, faults.calls + at / 2, 0,
                          0);
        size_t failures = play();
        refusals = faults.refusals;
        CHECK(refusals != 0 || failures == 0);
        fault_backend_set(&faults, FAULT_NONE, 0, 0, 0);
        CHECK_EQ(play(), 0);
        CHECK_EQ(fa_context_destroy(ctx), FA_OK);
        fault_backend_end(&faults);
    }
}

static void an_arena_that_is_full_adopts_nothing(void) {
    ctx = context_open(NULL);
    static _Alignas(16) char memory[256];
    for (size_t size = 16; size <= sizeof(memory); size += 16) {
        fa_arena *arena = NULL;
        const fa_arena_desc desc = {.memory = memory, .memory_size = size};
        REQUIRE_EQ(fa_arena_create(ctx, &desc, &arena), FA_OK);
        void *block = new_block(100);
        fa_result result = fa_arena_adopt(arena, block);
        // A cleanup of four words, and a record of as many.
        CHECK_EQ(result, size >= 8 * sizeof(void *) ? FA_OK : FA_ERR_OUT_OF_MEMORY);
        if (result != FA_OK) {
            CHECK_EQ(fa_arena_used(arena), 0);
            fa_heap_free(ctx, block);
        }
        fa_arena_destroy(arena);
        CHECK_EQ(heap_blocks(), 0);
    }
    context_close(ctx);
}

static void all_the_same_while_blocks_are_checked(void) {
    static const fa_config checked = {.checks = FA_CHECK_BLOCKS};
    config = &checked;
    an_adopted_block_dies_with_the_arena();
    what_is_no_block_is_refused();
    a_block_is_adopted_once();
    a_disowned_block_is_the_callers_again();
    cleanups_and_blocks_go_in_reverse_order();
    a_context_that_ends_keeps_the_order();
    threads_adopt_at_the_same_time();
    config = NULL;
}

TEST_SUITE(adopt, TEST(an_adopted_block_dies_with_the_arena), TEST(a_frame_adopts_too),
           TEST(what_is_no_block_is_refused), TEST(a_block_is_adopted_once),
           TEST(a_disowned_block_is_the_callers_again),
           TEST(cleanups_and_blocks_go_in_reverse_order), TEST(a_context_that_ends_keeps_the_order),
           TEST(a_thread_that_exits_frees_its_frames_blocks), TEST(threads_adopt_at_the_same_time),
           TEST(every_refusal_is_survived), TEST(an_arena_that_is_full_adopts_nothing),
           TEST(all_the_same_while_blocks_are_checked));

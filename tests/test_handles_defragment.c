// Closing gaps: how much memory comes back, how much is moved for it, and what must not move.
#include "fault_backend.h"
#include "handles_fixture.h"

#if defined(FA_HAVE_COMMON)
#include <common/memory_usage.h>
#endif

enum { MANY = 100000 };

typedef struct held {
    fa_block block;
    uint32_t size;
    void *pinned_at; // NULL: not pinned.
} held;

// Blocks of many sizes; `seed` of block i is i.
typedef struct crowd {
    fa_context *ctx;
    fa_table *table;
    check_rng rng;
    size_t count;
    held *blocks;
    size_t live_bytes;
} crowd;

static size_t align_of(uint32_t i) {
    return (size_t)1 << i % 8;
}

static void crowd_fill(crowd *c, size_t count, size_t low, size_t high) {
    c->rng = check_rng_make(check_seed());
    c->count = count;
    c->live_bytes = 0;
    c->blocks = malloc(count * sizeof(*c->blocks));
    REQUIRE_NOT_NULL(c->blocks);
    for (uint32_t i = 0; i < count; i++) {
        size_t size = check_rng_between(&c->rng, low, high);
        c->blocks[i] = (held){block_make(c->table, size, align_of(i), i), (uint32_t)size, NULL};
        c->live_bytes += rounded(size);
    }
}

static void crowd_free_at_random(crowd *c, unsigned percent) {
    for (uint32_t i = 0; i < c->count; i++) {
        if (check_rng_chance(&c->rng, percent)) {
            REQUIRE_EQ(fa_block_free(c->table, c->blocks[i].block), FA_OK);
            c->live_bytes -= rounded(c->blocks[i].size);
            c->blocks[i].size = 0;
        }
    }
}

// At least one, however few there are.
static size_t crowd_pin(crowd *c, unsigned per_thousand) {
    size_t pinned = 0;
    for (uint32_t i = 0; i < c->count && per_thousand != 0; i++) {
        bool is_chosen = check_rng_below(&c->rng, 1000) < per_thousand;
        bool is_last_hope = pinned == 0 && i + c->count / 10 >= c->count;
        if (c->blocks[i].size != 0 && (is_chosen || is_last_hope)) {
            c->blocks[i].pinned_at = fa_block_pin(c->table, c->blocks[i].block);
            pinned += 1;
        }
    }
    return pinned;
}

// Every handle is good, or stale for ever; contents and alignments are kept; the pinned are where
// they were.
static void crowd_check(crowd *c) {
    size_t wrong = 0;
    table_is_sound(c->table);
    for (uint32_t i = 0; i < c->count; i++) {
        const held *block = &c->blocks[i];
        void *ptr = fa_block_resolve(c->table, block->block);
        if (block->size == 0) {
            wrong += ptr != NULL ? 1 : 0;
            continue;
        }
        bool is_right = ptr != NULL && content_is(ptr, block->size, i) &&
                        (uintptr_t)ptr % align_of(i) == 0 &&
                        (block->pinned_at == NULL || block->pinned_at == ptr);
        wrong += is_right ? 0 : 1;
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(table_stats_of(c->table).live_bytes, c->live_bytes);
}

static void crowd_unpin(crowd *c) {
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->blocks[i].pinned_at != NULL) {
            CHECK_EQ(fa_block_unpin(c->table, c->blocks[i].block), FA_OK);
            c->blocks[i].pinned_at = NULL;
        }
    }
}

static void crowd_end(crowd *c) {
    crowd_unpin(c);
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->blocks[i].size != 0) {
            CHECK_EQ(fa_block_free(c->table, c->blocks[i].block), FA_OK);
        }
    }
    free(c->blocks);
    c->blocks = NULL;
}

static crowd crowd_open(const fa_config *config, fa_table_desc desc) {
    crowd c = {.ctx = context_open(config)};
    c.table = table_open(c.ctx, desc);
    return c;
}

static void crowd_close(crowd *c) {
    crowd_end(c);
    CHECK_EQ(fa_table_destroy(c->table), FA_OK);
    context_close(c->ctx);
}

// ---- How much comes back -----------------------------------------------------------------------

// Half of 100,000 mixed blocks are freed, some of the rest are pinned: at least 80 % of the waste
// comes back, in steps that move no more than they may.
// Where a table's address space is short, as many blocks do not fit.
static void need_addresses(void) {
    if (sizeof(void *) == 4) {
        SKIP("a table of that size needs 64-bit addresses");
    }
}

static void a_half_empty_table_gives_its_waste_back(void) {
    need_addresses();
    crowd c = crowd_open(NULL, (fa_table_desc){0});
    const size_t step_bytes = 64 * KIB;
    crowd_fill(&c, check_scale(MANY), 16, 4096);
    crowd_free_at_random(&c, 50);
    CHECK_GT(crowd_pin(&c, c.count == MANY ? 5 : 2), 0); // Each may keep a piece of 64 KiB.
    fa_table_stats_result before = table_stats_of(c.table);
    size_t waste = before.committed_bytes - before.live_bytes;
    compaction done = compact_all(c.table, step_bytes);
    fa_table_stats_result after = table_stats_of(c.table);
    check_note("waste %zu, returned %zu in %zu steps, moved %zu of %zu live, committed %zu, "
               "fragmentation %.3f -> %.3f",
               waste, done.returned_bytes, done.steps, done.moved_bytes, before.live_bytes,
               after.committed_bytes, before.fragmentation, after.fragmentation);
    CHECK_GE(done.returned_bytes, waste / 10 * 8);
    CHECK_EQ(before.committed_bytes - after.committed_bytes, done.returned_bytes);
    CHECK_LE(done.largest_step, step_bytes);
    CHECK_LE(done.moved_bytes, before.live_bytes);
    CHECK_GT(before.fragmentation, 0.4);
    CHECK_LT(after.fragmentation, 0.15);
    crowd_check(&c);
    crowd_unpin(&c);
    compact_all(c.table, step_bytes);
    after = table_stats_of(c.table);
    CHECK_LE(after.used_span_bytes, after.live_bytes / 100 * 104);
    crowd_check(&c);
    crowd_close(&c);
}

// After nine blocks of ten are gone, at random, at most 1.3 times what is live is held.
static void check_unload(size_t low, size_t high, bool with_bookkeeping) {
    crowd c = crowd_open(NULL, (fa_table_desc){0});
    crowd_fill(&c, check_scale(MANY), low, high);
    crowd_free_at_random(&c, 90);
    size_t overhead = table_stats_of(c.table).overhead_bytes;
    compaction done = compact_all(c.table, 256 * KIB);
    fa_table_stats_result after = table_stats_of(c.table);
    check_note("sizes %zu to %zu: live %zu, committed %zu, of it bookkeeping %zu, moved %zu", low,
               high, after.live_bytes, after.committed_bytes, after.overhead_bytes,
               done.moved_bytes);
    // The records of blocks that are gone: 32 bytes each.
    CHECK_LE(after.overhead_bytes, overhead - c.count * 32 / 10 * 8);
    size_t blocks = after.committed_bytes - after.overhead_bytes;
    CHECK_LE(blocks, after.live_bytes / 100 * 108 + 128 * KIB);
    if (with_bookkeeping) {
        CHECK_LE(after.committed_bytes, after.live_bytes / 10 * 13 + 256 * KIB);
    }
    CHECK_LE(after.used_span_bytes, after.live_bytes / 100 * 108);
    crowd_check(&c);
    crowd_close(&c);
}

static void an_unloaded_table_shrinks_to_what_is_live(void) {
    need_addresses();
    check_unload(16, 4096, true);
    check_unload(100, 20000, true);
    check_unload(200, 300, false); // The places of those that are gone weigh more here.
}

static void resident_memory_shrinks_as_well(void) {
    need_addresses();
#if defined(FA_HAVE_COMMON) && !IS_SANITIZED
    memory_usage base;
    memory_usage full;
    memory_usage after;
    if (!memory_usage_get(&base)) {
        SKIP("the system does not say");
    }
    crowd c = crowd_open(NULL, (fa_table_desc){0});
    crowd_fill(&c, MANY, 16, 4096);
    memory_usage_get(&full);
    crowd_free_at_random(&c, 90);
    compact_all(c.table, 256 * KIB);
    memory_usage_get(&after);
    CHECK_GT(full.resident_bytes, base.resident_bytes + 150 * MIB);
    // The test's own list is resident too; the kernel's figure is off by some hundred kilobytes.
    size_t list = c.count * sizeof(*c.blocks);
    CHECK_LE(after.resident_bytes, base.resident_bytes + c.live_bytes / 10 * 13 + list + 2 * MIB);
    crowd_close(&c);
#else
    SKIP("resident memory says nothing here");
#endif
}

// On chunks whole segments come back; more than half of the waste.
static void tables_on_chunks_give_segments_back(void) {
    fault_backend faults;
    fault_backend_make(&faults, FAULT_BLOCKS);
    crowd c = crowd_open(&(fa_config){.backend = &faults.backend}, (fa_table_desc){0});
    crowd_fill(&c, check_scale(MANY / 4), 16, 4096);
    crowd_free_at_random(&c, 75);
    crowd_pin(&c, c.count == MANY / 4 ? 2 : 0); // Each may keep a segment of 1 MiB.
    fa_table_stats_result before = table_stats_of(c.table);
    size_t waste = before.committed_bytes - before.overhead_bytes - before.live_bytes;
    compaction done = compact_all(c.table, 256 * KIB);
    CHECK_GE(done.returned_bytes + MIB, waste / 2);
    crowd_check(&c);
    crowd_unpin(&c);
    compact_all(c.table, 256 * KIB);
    fa_table_stats_result after = table_stats_of(c.table);
    CHECK_LE(after.used_span_bytes, after.live_bytes / 10 * 11 + MIB);
    crowd_check(&c);
    crowd_close(&c);
    fault_backend_end(&faults);
}

// ---- Steps -------------------------------------------------------------------------------------

static void a_step_moves_one_larger_block_only_alone(void) {
    crowd c = crowd_open(NULL, (fa_table_desc){0});
    crowd_fill(&c, 400, 100, 5000);
    crowd_free_at_random(&c, 50);
    fa_defragment_result step = {0};
    size_t alone = 0;
    for (size_t steps = 0; !step.is_done && steps < 100000; steps++) {
        REQUIRE_EQ(fa_table_defragment(c.table, 1000, &step), FA_OK);
        CHECK(step.moved_bytes <= 1000 || step.moved_blocks == 1);
        alone += step.moved_bytes > 1000 ? 1 : 0;
    }
    CHECK(step.is_done);
    CHECK_GT(alone, 10);
    crowd_check(&c);
    crowd_close(&c);
}

static void steps_of_no_bytes_come_to_an_end_too(void) {
    crowd c = crowd_open(NULL, (fa_table_desc){0});
    crowd_fill(&c, 300, 16, 300);
    crowd_free_at_random(&c, 60);
    compaction done = compact_all(c.table, 0);
    CHECK_LE(done.moved_blocks, done.steps);
    CHECK_LT(table_stats_of(c.table).fragmentation, 0.08);
    crowd_check(&c);
    crowd_close(&c);
}

// A step gives memory above the last block back, long before the pass is done.
static void early_steps_return_memory(void) {
    crowd c = crowd_open(NULL, (fa_table_desc){0});
    crowd_fill(&c, 4000, 16, 4096);
    crowd_free_at_random(&c, 80);
    fa_defragment_result step = {0};
    size_t returned = 0;
    for (size_t i = 0; i < 6; i++) {
        REQUIRE_EQ(fa_table_defragment(c.table, 128 * KIB, &step), FA_OK);
        returned += step.returned_bytes;
    }
    CHECK(!step.is_done);
    CHECK_GT(returned, MIB);
    crowd_check(&c);
    crowd_close(&c);
}

static void nothing_is_moved_when_there_is_nothing_to_win(void) {
    crowd c = crowd_open(NULL, (fa_table_desc){0});
    crowd_fill(&c, 1000, 16, 2000);
    fa_defragment_result step = {0};
    CHECK_EQ(fa_table_defragment(c.table, SIZE_MAX, &step), FA_OK);
    CHECK_EQ(step.moved_bytes, 0);
    CHECK(step.is_done);
    CHECK_EQ(fa_table_defragment(c.table, SIZE_MAX, NULL), FA_OK);
    crowd_free_at_random(&c, 50);
    CHECK_EQ(fa_table_defragment(c.table, SIZE_MAX, &step), FA_OK);
    CHECK(step.is_done);
    CHECK_GT(step.moved_bytes, 0);
    CHECK_GT(step.fragmentation_before, 0.3);
    CHECK_LT(step.fragmentation_after, 0.05);
    CHECK_EQ(fa_table_defragment(c.table, SIZE_MAX, &step), FA_OK);
    CHECK_EQ(step.moved_bytes, 0);
    CHECK_EQ(step.returned_bytes, 0);
    crowd_close(&c);
}

// Blocks come and go between the steps.
static void tables_in_use_are_compacted_too(void) {
    crowd c = crowd_open(NULL, (fa_table_desc){0});
    crowd_fill(&c, 5000, 16, 4096);
    crowd_free_at_random(&c, 60);
    fa_defragment_result step = {0};
    for (size_t i = 0; i < 2000; i++) {
        uint32_t at = (uint32_t)check_rng_below(&c.rng, c.count);
        held *block = &c.blocks[at];
        if (block->size != 0) {
            REQUIRE_EQ(fa_block_free(c.table, block->block), FA_OK);
            c.live_bytes -= rounded(block->size);
            block->size = 0;
        } else if (check_rng_chance(&c.rng, 40)) {
            block->size = (uint32_t)check_rng_between(&c.rng, 16, 4096);
            block->block = block_make(c.table, block->size, align_of(at), at);
            c.live_bytes += rounded(block->size);
        }
        REQUIRE_EQ(fa_table_defragment(c.table, 16 * KIB, &step), FA_OK);
    }
    fa_table_stats_result stats = table_stats_of(c.table);
    CHECK_LE(stats.committed_bytes, stats.live_bytes / 10 * 13 + MIB);
    crowd_check(&c);
    crowd_close(&c);
}

// ---- Pins --------------------------------------------------------------------------------------

static void the_space_around_pinned_blocks_is_used(void) {
    crowd c = crowd_open(NULL, (fa_table_desc){0});
    crowd_fill(&c, 10000, 200, 600);
    // Every 50th stays for certain, pinned, and the rest goes by chance.
    for (uint32_t i = 0; i < c.count; i += 50) {
        c.blocks[i].pinned_at = fa_block_pin(c.table, c.blocks[i].block);
    }
    for (uint32_t i = 0; i < c.count; i++) {
        if (c.blocks[i].pinned_at == NULL && check_rng_chance(&c.rng, 50)) {
            REQUIRE_EQ(fa_block_free(c.table, c.blocks[i].block), FA_OK);
            c.live_bytes -= rounded(c.blocks[i].size);
            c.blocks[i].size = 0;
        }
    }
    compact_all(c.table, 64 * KIB);
    crowd_check(&c);
    // Between the first pinned blocks there is hardly a gap, so the unpinned ones end about where
    // they would without pins.
    uintptr_t first = (uintptr_t)c.blocks[0].pinned_at;
    size_t beyond = 0;
    for (uint32_t i = 0; i < c.count; i++) {
        uintptr_t at = (uintptr_t)fa_block_resolve(c.table, c.blocks[i].block);
        bool is_movable = c.blocks[i].size != 0 && c.blocks[i].pinned_at == NULL;
        beyond += is_movable && at - first > c.live_bytes / 100 * 110 ? 1 : 0;
    }
    CHECK_EQ(beyond, 0);
    crowd_close(&c);
}

static void pieces_between_pinned_blocks_come_back(void) {
    fa_context *ctx = context_open(NULL);
    fa_table *table = table_open(ctx, (fa_table_desc){0});
    fa_block low = block_make(table, 1000, 16, 1);
    fa_block gap = block_make(table, MIB, 16, 2);
    fa_block high = block_make(table, 1000, 16, 3);
    void *low_at = fa_block_pin(table, low);
    void *high_at = fa_block_pin(table, high);
    CHECK_EQ(fa_block_free(table, gap), FA_OK);
    fa_defragment_result done;
    CHECK_EQ(fa_table_defragment(table, SIZE_MAX, &done), FA_OK);
    CHECK(done.is_done);
    CHECK_GE(done.returned_bytes, MIB - 2 * 64 * KIB);
    CHECK_EQ(done.moved_blocks, 0);
    CHECK(content_is(low_at, 1000, 1) && content_is(high_at, 1000, 3));
    // And can be used again.
    fa_block again = block_make(table, MIB - 16, 16, 4);
    CHECK_LT((uintptr_t)fa_block_resolve(table, again), (uintptr_t)high_at);
    CHECK(content_is(fa_block_resolve(table, again), MIB - 16, 4));
    CHECK_EQ(fa_block_unpin(table, low), FA_OK);
    CHECK_EQ(fa_block_unpin(table, high), FA_OK);
    CHECK_EQ(fa_block_free(table, low), FA_OK);
    CHECK_EQ(fa_block_free(table, again), FA_OK);
    CHECK_EQ(fa_table_defragment(table, SIZE_MAX, &done), FA_OK);
    CHECK_EQ(table_stats_of(table).used_span_bytes, 1008);
    CHECK(content_is(fa_block_resolve(table, high), 1000, 3));
    CHECK_EQ(fa_block_free(table, high), FA_OK);
    CHECK_EQ(fa_table_destroy(table), FA_OK);
    context_close(ctx);
}

static void trim_moves_nothing_and_gives_free_pieces_back(void) {
    fa_context *ctx = context_open(NULL);
    fa_table *table = table_open(ctx, (fa_table_desc){0});
    fa_block low = block_make(table, 1000, 16, 1);
    fa_block gap = block_make(table, 4 * MIB, 16, 2);
    fa_block high = block_make(table, 1000, 16, 3);
    fa_block top = block_make(table, 4 * MIB, 16, 4);
    const void *high_at = fa_block_resolve(table, high);
    CHECK_EQ(fa_block_free(table, gap), FA_OK);
    CHECK_EQ(fa_block_free(table, top), FA_OK);
    size_t before = table_stats_of(table).committed_bytes;
    CHECK_EQ(fa_table_trim(table), FA_OK);
    size_t after = table_stats_of(table).committed_bytes;
    CHECK_GE(before - after, 8 * MIB - 256 * KIB);
    CHECK_LE(after, 256 * KIB);
    CHECK_EQ(fa_block_resolve(table, high), high_at);
    CHECK_EQ(stats_of(ctx).committed_bytes, after + stats_of(ctx).overhead_bytes);
    CHECK_EQ(fa_block_free(table, low), FA_OK);
    CHECK_EQ(fa_block_free(table, high), FA_OK);
    CHECK_EQ(fa_table_destroy(table), FA_OK);
    context_close(ctx);
}

// ---- The callback ------------------------------------------------------------------------------

typedef struct watcher {
    fa_table *table;
    held *blocks;
    size_t moves;
    size_t wrong;
    bool frees; // Frees another block at each move.
    size_t freed;
} watcher;

static void watch_move(void *user, fa_block block, void *from, void *to) {
    watcher *w = (watcher *)user;
    w->moves += 1;
    w->wrong += from == to || fa_block_resolve(w->table, block) != to ? 1 : 0;
    for (; w->frees && w->freed < 2000; w->freed++) {
        held *other = &w->blocks[w->freed];
        if (other->size != 0 && other->block.value != block.value) {
            w->wrong += fa_block_free(w->table, other->block) != FA_OK ? 1 : 0;
            other->size = 0;
            w->freed += 1;
            return;
        }
    }
}

static void check_callback(bool frees) {
    watcher w = {.frees = frees};
    crowd c = crowd_open(NULL, (fa_table_desc){.moved = watch_move, .user = &w});
    w.table = c.table;
    crowd_fill(&c, 2000, 16, 3000);
    crowd_free_at_random(&c, 50);
    w.blocks = c.blocks;
    compaction done = compact_all(c.table, 32 * KIB);
    CHECK_GT(w.moves, 100);
    CHECK_EQ(w.moves, done.moved_blocks);
    CHECK_EQ(w.wrong, 0);
    c.live_bytes = 0;
    for (uint32_t i = 0; i < c.count; i++) {
        c.live_bytes += rounded(c.blocks[i].size);
    }
    crowd_check(&c);
    crowd_close(&c);
}

static void moves_are_told(void) {
    check_callback(false);
}

static void a_callback_may_free_other_blocks(void) {
    check_callback(true);
}

// ---- Refusals ----------------------------------------------------------------------------------

// A gap whose memory was given back is to be filled, and memory is refused: the step says so, and
// nothing is lost.
static void a_refused_gap_ends_the_step(void) {
    fault_backend faults;
    fault_backend_make(&faults, FAULT_PAGES);
    crowd c = crowd_open(&(fa_config){.backend = &faults.backend}, (fa_table_desc){0});
    crowd_fill(&c, 2000, 1000, 4096);
    for (uint32_t i = 0; i < 1500; i++) {
        REQUIRE_EQ(fa_block_free(c.table, c.blocks[i].block), FA_OK);
        c.live_bytes -= rounded(c.blocks[i].size);
        c.blocks[i].size = 0;
    }
    CHECK_EQ(fa_table_trim(c.table), FA_OK);
    fa_last_error_clear();
    fault_backend_set(&faults, FAULT_FROM, 0, 0, 0);
    fa_defragment_result step;
    CHECK_EQ(fa_table_defragment(c.table, MIB, &step), FA_ERR_OUT_OF_MEMORY);
    failed_as(305, FA_ERR_OUT_OF_MEMORY);
    CHECK(!step.is_done);
    crowd_check(&c);
    fault_backend_set(&faults, FAULT_NONE, 0, 0, 0);
    compact_all(c.table, MIB);
    CHECK_LE(table_stats_of(c.table).used_span_bytes, c.live_bytes / 100 * 104);
    crowd_check(&c);
    crowd_close(&c);
    fault_backend_end(&faults);
}

TEST_SUITE(handles_defragment, TEST(a_half_empty_table_gives_its_waste_back),
           TEST(an_unloaded_table_shrinks_to_what_is_live), TEST(resident_memory_shrinks_as_well),
           TEST(tables_on_chunks_give_segments_back),
           TEST(a_step_moves_one_larger_block_only_alone),
           TEST(steps_of_no_bytes_come_to_an_end_too), TEST(early_steps_return_memory),
           TEST(nothing_is_moved_when_there_is_nothing_to_win),
           TEST(tables_in_use_are_compacted_too), TEST(the_space_around_pinned_blocks_is_used),
           TEST(pieces_between_pinned_blocks_come_back),
           TEST(trim_moves_nothing_and_gives_free_pieces_back), TEST(moves_are_told),
           TEST(a_callback_may_free_other_blocks), TEST(a_refused_gap_ends_the_step));

// Tables of movable blocks against a naive model: random operations of every kind, the contents of
// every block checked, also where every call of the backend is refused in turn.
#include "fault_backend.h"
#include "handles_fixture.h"

enum { BLOCKS_MAX = 600, COMPARE_EVERY = 256 };

typedef struct model_block {
    fa_block block;
    size_t size;
    size_t align;
    uint32_t seed;
    uint32_t pins;
    void *pinned_at;
} model_block;

typedef struct model {
    fa_context *ctx;
    fa_table *table;
    fa_tag tag;
    check_rng rng;
    model_block blocks[BLOCKS_MAX];
    size_t count;
    size_t most; // Blocks at once.
    size_t live_bytes;
    size_t pinned;
    fa_block gone[64]; // Handles that must stay stale.
    size_t gone_count;
    uint32_t next_seed;
    size_t size_max;
    bool may_fail; // The backend refuses now and then.
    uint64_t allocations;
    uint64_t refused;
} model;

static size_t model_cost(size_t size) {
    return rounded(size);
}

static void model_check_block(model *m, const model_block *block) {
    void *ptr = fa_block_resolve(m->table, block->block);
    CHECK_NOT_NULL(ptr);
    CHECK_EQ((uintptr_t)ptr % block->align, 0);
    CHECK_EQ(fa_block_size(m->table, block->block), block->size);
    CHECK(content_is(ptr, block->size, block->seed));
    if (block->pins != 0) {
        CHECK_EQ(ptr, block->pinned_at);
    }
}

static void model_compare(model *m) {
    table_is_sound(m->table);
    for (size_t i = 0; i < m->count; i++) {
        model_check_block(m, &m->blocks[i]);
    }
    for (size_t i = 0; i < m->gone_count; i++) {
        CHECK_NULL(fa_block_resolve(m->table, m->gone[i]));
    }
    fa_table_stats_result stats = table_stats_of(m->table);
    CHECK_EQ(stats.live_bytes, m->live_bytes);
    CHECK_EQ(stats.live_blocks, m->count);
    CHECK_EQ(stats.pinned_blocks, m->pinned);
    CHECK_EQ(tag_stats_of(m->ctx, m->tag).current_bytes, m->live_bytes);
    CHECK_EQ(stats_of(m->ctx).heap_bytes, m->live_bytes);
}

static void model_alloc(model *m) {
    if (m->count == m->most) {
        return;
    }
    model_block *block = &m->blocks[m->count];
    size_t size = 1 + check_rng_size(&m->rng, m->size_max);
    size_t align = (size_t)1 << check_rng_below(&m->rng, check_rng_chance(&m->rng, 5) ? 18 : 8);
    fa_block made = fa_block_alloc(m->table, size, align);
    if (made.value == 0) {
        CHECK(m->may_fail);
        m->refused += 1;
        return;
    }
    m->next_seed += 1;
    m->allocations += 1;
    *block = (model_block){made, size, align, m->next_seed, 0, NULL};
    content_write(fa_block_resolve(m->table, made), size, block->seed);
    m->count += 1;
    m->live_bytes += model_cost(size);
}

static void model_free(model *m) {
    if (m->count == 0) {
        return;
    }
    size_t at = check_rng_below(&m->rng, m->count);
    model_block *block = &m->blocks[at];
    model_check_block(m, block);
    if (block->pins != 0) {
        CHECK_EQ(fa_block_free(m->table, block->block), FA_ERR_BUSY);
        return;
    }
    CHECK_EQ(fa_block_free(m->table, block->block), FA_OK);
    m->gone[m->gone_count < 64 ? m->gone_count++ : check_rng_below(&m->rng, 64)] = block->block;
    m->live_bytes -= model_cost(block->size);
    m->count -= 1;
    *block = m->blocks[m->count];
}

static void model_resize(model *m) {
    if (m->count == 0) {
        return;
    }
    model_block *block = &m->blocks[check_rng_below(&m->rng, m->count)];
    size_t size = 1 + check_rng_size(&m->rng, m->size_max);
    fa_result result = fa_block_resize(m->table, block->block, size);
    if (result == FA_OK) {
        size_t kept = size < block->size ? size : block->size;
        void *ptr = fa_block_resolve(m->table, block->block);
        CHECK(content_is(ptr, kept, block->seed));
        content_write(ptr, size, block->seed);
        m->live_bytes += model_cost(size) - model_cost(block->size);
        block->size = size;
    } else if (result != FA_ERR_BUSY || block->pins == 0) {
        CHECK(m->may_fail);
        m->refused += 1;
    }
    model_check_block(m, block);
}

static void model_pin(model *m) {
    if (m->count == 0) {
        return;
    }
    model_block *block = &m->blocks[check_rng_below(&m->rng, m->count)];
    if (block->pins != 0 && check_rng_chance(&m->rng, 70)) {
        CHECK_EQ(fa_block_unpin(m->table, block->block), FA_OK);
        block->pins -= 1;
        m->pinned -= block->pins == 0 ? 1 : 0;
        return;
    }
    void *ptr = fa_block_pin(m->table, block->block);
    CHECK_NOT_NULL(ptr);
    CHECK(block->pins == 0 || ptr == block->pinned_at);
    block->pinned_at = ptr;
    m->pinned += block->pins == 0 ? 1 : 0;
    block->pins += 1;
}

static void model_defragment(model *m) {
    fa_defragment_result done;
    size_t max_bytes = check_rng_size(&m->rng, 200000);
    fa_result result = fa_table_defragment(m->table, max_bytes, &done);
    CHECK(result == FA_OK || m->may_fail);
    CHECK(done.moved_bytes <= max_bytes || done.moved_blocks == 1);
}

static void model_step(model *m) {
    size_t kind = check_rng_below(&m->rng, 100);
    // Tides, so that tables fill and empty.
    size_t tide = m->next_seed / 500 % 2 == 0 ? 45 : 28;
    if (kind < tide) {
        model_alloc(m);
    } else if (kind < 75) {
        model_free(m);
        m->next_seed += m->next_seed / 500 % 2 == 0 ? 0 : 1;
    } else if (kind < 85) {
        model_resize(m);
    } else if (kind < 92) {
        model_pin(m);
    } else if (kind < 99) {
        model_defragment(m);
    } else {
        CHECK_EQ(fa_table_trim(m->table), FA_OK);
    }
}

static bool model_open(model *m, const fa_config *config, fa_table_desc desc, uint64_t seed) {
    memset(m, 0, sizeof(*m));
    m->rng = check_rng_make(seed);
    if (fa_context_create(config, &m->ctx) != FA_OK) {
        return false;
    }
    m->tag = fa_tag_register(m->ctx, "level/assets");
    desc.tag = m->tag;
    m->size_max = 20000;
    m->most = BLOCKS_MAX;
    return fa_table_create(m->ctx, &desc, &m->table) == FA_OK;
}

static void model_close(model *m) {
    for (size_t i = 0; i < m->count; i++) {
        for (; m->blocks[i].pins > 0; m->blocks[i].pins--) {
            CHECK_EQ(fa_block_unpin(m->table, m->blocks[i].block), FA_OK);
        }
        CHECK_EQ(fa_block_free(m->table, m->blocks[i].block), FA_OK);
    }
    if (m->table != NULL) {
        fa_table_stats_result stats = table_stats_of(m->table);
        CHECK_EQ(stats.live_bytes, 0);
        CHECK_EQ(stats.free_bytes, stats.used_span_bytes);
        CHECK_EQ(tag_stats_of(m->ctx, m->tag).current_bytes, 0);
        CHECK_EQ(fa_table_destroy(m->table), FA_OK);
    }
    if (m->ctx != NULL) {
        context_close(m->ctx);
    }
}

static model the_model;

static void run_model(fault_source source, fa_table_desc desc, size_t steps, unsigned percent) {
    fault_backend faults;
    uint64_t seed = check_seed() + (uint64_t)source * 31 + percent;
    fault_backend_make(&faults, source);
    faults.has_rubbish = true;
    model *m = &the_model;
    REQUIRE(model_open(m, &(fa_config){.backend = &faults.backend}, desc, seed));
    m->may_fail = percent != 0;
    fault_backend_set(&faults, percent != 0 ? FAULT_RANDOM : FAULT_NONE, 0, percent, seed);
    for (size_t step = 0; step < steps; step++) {
        check_note("source %d, step %zu", (int)source, step);
        model_step(m);
        if (step % 8 == 0) {
            table_is_sound(m->table);
        }
        if (step % COMPARE_EVERY == 0) {
            fault_mode mode = fault_backend_switch(&faults, FAULT_NONE);
            model_compare(m);
            fault_backend_switch(&faults, mode);
        }
    }
    CHECK_GT(m->allocations, steps / 10);
    // Chunks come so seldom that chance may refuse none of them.
    CHECK(m->refused == 0 ? percent == 0 || source == FAULT_BLOCKS : percent != 0);
    fault_backend_set(&faults, FAULT_NONE, 0, 0, 0);
    model_compare(m);
    model_close(m);
    fault_backend_end(&faults);
}

static void tables_do_what_the_model_does(void) {
    run_model(FAULT_PAGES, (fa_table_desc){0}, check_scale(200000), 0);
}

static void tables_on_chunks_do_what_the_model_does(void) {
    run_model(FAULT_BLOCKS, (fa_table_desc){0}, check_scale(200000), 0);
}

static void shared_tables_do_what_the_model_does(void) {
    run_model(FAULT_PAGES, (fa_table_desc){.shared = true}, check_scale(60000), 0);
}

static void refusals_by_chance_change_nothing(void) {
    run_model(FAULT_PAGES, (fa_table_desc){0}, check_scale(100000), 30);
}

static void refusals_by_chance_on_chunks_change_nothing(void) {
    run_model(FAULT_BLOCKS, (fa_table_desc){0}, check_scale(100000), 30);
}

// With so few blocks, what is freed is often what the compaction is about to look at.
static void small_tables_do_what_the_model_does(void) {
    model *m = &the_model;
    REQUIRE(model_open(m, NULL, (fa_table_desc){0}, check_seed()));
    m->most = 7;
    m->size_max = 100;
    size_t steps = check_scale(100000);
    for (size_t step = 0; step < steps; step++) {
        check_note("step %zu", step);
        model_step(m);
        fa_defragment_result done;
        CHECK_EQ(fa_table_defragment(m->table, 0, &done), FA_OK);
        CHECK_LE(done.moved_blocks, 1);
        if (!table_is_sound(m->table)) {
            break;
        }
    }
    model_compare(m);
    model_close(m);
}

// One run in which call `at` of the backend is refused. Returns the number of calls.
static uint64_t run_with_refusal(fault_source source, fault_mode mode, uint64_t at) {
    fault_backend faults;
    fault_backend_make(&faults, source);
    faults.has_rubbish = true;
    fault_backend_set(&faults, mode, at, 0, 0);
    model *m = &the_model;
    bool is_open = model_open(m, &(fa_config){.backend = &faults.backend}, (fa_table_desc){0}, 77);
    m->may_fail = true;
    m->size_max = 60000;
    for (size_t step = 0; is_open && step < 1500; step++) {
        model_step(m);
    }
    uint64_t calls = faults.calls;
    fault_backend_set(&faults, FAULT_NONE, 0, 0, 0);
    if (is_open) {
        model_compare(m);
        CHECK_GT(m->refused + 1000, at == 0 ? 0 : m->refused);
    }
    model_close(m);
    fault_backend_end(&faults);
    return calls;
}

static void refuse_each(fault_source source, fault_mode mode) {
    uint64_t calls = run_with_refusal(source, FAULT_NONE, 0);
    CHECK_GT(calls, 8);
    uint64_t stride = 10 / check_scale(10);
    for (uint64_t at = 1; at <= calls; at += stride) {
        check_note("source %d, mode %d, call %llu of %llu refused", (int)source, (int)mode,
                   (unsigned long long)at, (unsigned long long)calls);
        run_with_refusal(source, mode, at);
    }
}

static void every_refusal_of_the_backend_is_survived(void) {
    refuse_each(FAULT_PAGES, FAULT_NTH);
    refuse_each(FAULT_BLOCKS, FAULT_NTH);
}

static void a_backend_that_refuses_from_some_point_on_is_survived(void) {
    refuse_each(FAULT_PAGES, FAULT_FROM);
    refuse_each(FAULT_BLOCKS, FAULT_FROM);
}

TEST_SUITE(handles_model, TEST(tables_do_what_the_model_does),
           TEST(small_tables_do_what_the_model_does), TEST(tables_on_chunks_do_what_the_model_does),
           TEST(shared_tables_do_what_the_model_does), TEST(refusals_by_chance_change_nothing),
           TEST(refusals_by_chance_on_chunks_change_nothing),
           TEST(every_refusal_of_the_backend_is_survived),
           TEST(a_backend_that_refuses_from_some_point_on_is_survived));

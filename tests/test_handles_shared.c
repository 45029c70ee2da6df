// Shared tables: several threads allocate, free, pin and resolve while another closes gaps. And
// what a table may cost while it is steady: no system call.
#include "handles_fixture.h"

#if defined(FA_HAVE_COMMON) && defined(__linux__) && !IS_SANITIZED
#include <common/syscall_count.h>
#define CAN_COUNT 1
#else
#define CAN_COUNT 0
#endif

enum { WORKERS = 4, HELD = 64 };

typedef struct party {
    fa_context *ctx;
    fa_table *table;
    size_t steps;
    atomic_uint next_worker;
    atomic_size_t live_bytes;
    atomic_size_t wrong;
} party;

typedef struct own_block {
    fa_block block;
    size_t size;
    uint32_t seed;
} own_block;

static void complain(party *p, bool held) {
    if (!held) {
        atomic_fetch_add(&p->wrong, 1);
    }
}

static void replace(party *p, own_block *own, check_rng *rng, uint32_t seed) {
    if (own->size != 0) {
        complain(p, fa_block_free(p->table, own->block) == FA_OK);
        atomic_fetch_sub(&p->live_bytes, rounded(own->size));
    }
    own->size = 1 + check_rng_size(rng, 6000);
    own->seed = seed;
    own->block = fa_block_alloc(p->table, own->size, 32);
    complain(p, own->block.value != 0);
    void *ptr = fa_block_pin(p->table, own->block);
    complain(p, ptr != NULL);
    content_write(ptr, own->size, seed);
    complain(p, fa_block_unpin(p->table, own->block) == FA_OK);
    atomic_fetch_add(&p->live_bytes, rounded(own->size));
}

static void look(party *p, const own_block *own) {
    void *ptr = fa_block_pin(p->table, own->block);
    complain(p, content_is(ptr, own->size, own->seed));
    complain(p, fa_block_resolve(p->table, own->block) == ptr);
    complain(p, fa_block_unpin(p->table, own->block) == FA_OK);
}

static void resize(party *p, own_block *own, check_rng *rng) {
    size_t size = 1 + check_rng_size(rng, 6000);
    complain(p, fa_block_resize(p->table, own->block, size) == FA_OK);
    void *ptr = fa_block_pin(p->table, own->block);
    complain(p, content_is(ptr, size < own->size ? size : own->size, own->seed));
    content_write(ptr, size, own->seed);
    complain(p, fa_block_unpin(p->table, own->block) == FA_OK);
    atomic_fetch_add(&p->live_bytes, rounded(size) - rounded(own->size));
    own->size = size;
}

static void work(void *arg) {
    party *p = (party *)arg;
    unsigned worker = atomic_fetch_add(&p->next_worker, 1);
    check_rng rng = check_rng_make(check_seed() + worker);
    own_block own[HELD] = {{FA_BLOCK_NONE, 0, 0}};
    for (size_t step = 0; step < p->steps; step++) {
        own_block *block = &own[check_rng_below(&rng, HELD)];
        uint32_t seed = (uint32_t)(step * WORKERS + worker);
        size_t kind = check_rng_below(&rng, 10);
        if (block->size == 0 || kind < 4) {
            replace(p, block, &rng, seed);
        } else if (kind < 6) {
            look(p, block);
        } else if (kind < 8) {
            resize(p, block, &rng);
        } else if (kind == 8) {
            fa_defragment_result done;
            complain(p, fa_table_defragment(p->table, 8000, &done) == FA_OK);
        } else {
            fa_table_stats_result stats;
            complain(p, fa_table_stats(p->table, &stats) == FA_OK);
        }
    }
    for (size_t i = 0; i < HELD; i++) {
        if (own[i].size != 0 && i % 2 == worker % 2) {
            complain(p, fa_block_free(p->table, own[i].block) == FA_OK);
            atomic_fetch_sub(&p->live_bytes, rounded(own[i].size));
        }
    }
}

static void threads_share_a_table(void) {
    party p = {.ctx = context_open(NULL), .steps = check_scale(100000)};
    p.table = table_open(p.ctx, (fa_table_desc){.shared = true});
    check_threads_run(WORKERS, work, &p, 0);
    CHECK_EQ(atomic_load(&p.wrong), 0);
    table_is_sound(p.table);
    fa_table_stats_result stats = table_stats_of(p.table);
    CHECK_EQ(stats.live_bytes, atomic_load(&p.live_bytes));
    CHECK_EQ(stats_of(p.ctx).heap_bytes, stats.live_bytes);
    CHECK_GT(stats.live_blocks, 0);
    // What they left is charged until the table goes.
    CHECK_EQ(fa_table_destroy(p.table), FA_ERR_BUSY);
    CHECK_EQ(stats_of(p.ctx).heap_bytes, 0);
    context_close(p.ctx);
}

// ---- Hand-over ---------------------------------------------------------------------------------

static void fill_here(void *arg) {
    party *p = (party *)arg;
    for (uint32_t i = 0; i < 1000; i++) {
        block_make(p->table, 100, 16, i);
    }
}

// A table that is not shared may be handed to another thread; what the first one allocated is
// charged once and uncharged once.
static void a_table_can_be_handed_over(void) {
    party p = {.ctx = context_open(NULL)};
    p.table = table_open(p.ctx, (fa_table_desc){0});
    check_thread_join(check_thread_start(fill_here, &p));
    CHECK_EQ(stats_of(p.ctx).heap_bytes, 1000 * rounded(100));
    fill_here(&p);
    CHECK_EQ(stats_of(p.ctx).heap_bytes, 2000 * rounded(100));
    CHECK_EQ(fa_table_destroy(p.table), FA_ERR_BUSY);
    CHECK_EQ(stats_of(p.ctx).heap_bytes, 0);
    context_close(p.ctx);
}

// ---- System calls ------------------------------------------------------------------------------

#if CAN_COUNT

static bool churn(fa_table *table, check_rng *rng, fa_block *blocks, size_t count, size_t steps) {
    for (size_t step = 0; step < steps; step++) {
        fa_block *block = &blocks[check_rng_below(rng, count)];
        if (fa_block_free(table, *block) != FA_OK) {
            return false;
        }
        *block = fa_block_alloc(table, 1 + check_rng_below(rng, 3000), 16);
        if (fa_block_resolve(table, *block) == NULL) {
            return false;
        }
        if (step % 16 == 0 && fa_block_resize(table, *block, 1000) != FA_OK) {
            return false;
        }
    }
    return true;
}

static int steady(void *arg) {
    (void)arg;
    static fa_block blocks[2000];
    fa_context *ctx = NULL;
    fa_table *table = NULL;
    check_rng rng = check_rng_make(7);
    if (fa_context_create(NULL, &ctx) < 0 || fa_table_create(ctx, NULL, &table) < 0 ||
        !churn(table, &rng, blocks, 2000, 200000)) {
        return 1;
    }
    // Ahead of what this table may still need.
    fa_block ahead = fa_block_alloc(table, MIB, 16);
    if (fa_block_free(table, ahead) != FA_OK) {
        return 1;
    }
    syscall_count_begin(0);
    bool worked = churn(table, &rng, blocks, 2000, 200000);
    syscall_count_end(0);
    return worked ? 0 : 2;
}

static void a_steady_table_makes_no_system_call(void) {
    static syscall_count counts;
    bool ok = syscall_count_run(steady, NULL, &counts);
    REQUIRE(counts.started);
    if (!counts.counted) {
        SKIP(counts.reason);
    }
    CHECK(ok);
    CHECK_EQ(counts.exit_code, 0);
    CHECK_EQ(counts.regions[0].calls, 0);
}

#else

static void a_steady_table_makes_no_system_call(void) {
    SKIP("system calls are counted on Linux, without sanitizers");
}

#endif

TEST_SUITE(handles_shared, TEST(threads_share_a_table), TEST(a_table_can_be_handed_over),
           TEST(a_steady_table_makes_no_system_call));

// Tables of movable blocks: allocating, resolving, pinning, resizing, what they are charged, and
// what happens to handles that are no longer good.
#include "fault_backend.h"
#include "handles_fixture.h"

typedef struct scene {
    fa_context *ctx;
    fa_table *table;
    report_log log;
} scene;

static void scene_open(scene *s, fa_table_desc desc) {
    s->ctx = context_open(NULL);
    log_attach(s->ctx, &s->log);
    s->table = table_open(s->ctx, desc);
}

static void scene_close(scene *s) {
    log_empty(&s->log);
    CHECK_EQ(fa_table_destroy(s->table), FA_OK);
    context_close(s->ctx);
}

// ---- Blocks ------------------------------------------------------------------------------------

static void blocks_have_size_alignment_and_contents(void) {
    scene s;
    scene_open(&s, (fa_table_desc){0});
    static const size_t sizes[] = {1, 15, 16, 17, 100, 4096, 70000, 3000000};
    fa_block blocks[8];
    for (uint32_t i = 0; i < 8; i++) {
        size_t align = (size_t)1 << (i * 20 / 7); // 1 to 1 MiB.
        blocks[i] = block_make(s.table, sizes[i], align, i);
        uintptr_t at = (uintptr_t)fa_block_resolve(s.table, blocks[i]);
        CHECK_EQ(at % align, 0);
        CHECK_EQ(at % 16, 0);
        CHECK_EQ(fa_block_size(s.table, blocks[i]), sizes[i]);
    }
    for (uint32_t i = 0; i < 8; i++) {
        CHECK(content_is(fa_block_resolve(s.table, blocks[i]), sizes[i], i));
        CHECK_EQ(fa_block_free(s.table, blocks[i]), FA_OK);
    }
    table_is_sound(s.table);
    CHECK_EQ(table_stats_of(s.table).live_blocks, 0);
    scene_close(&s);
}

static void figures_say_what_is_there(void) {
    scene s;
    scene_open(&s, (fa_table_desc){.name = "assets", .reserve = 8 * MIB});
    fa_table_stats_result stats = table_stats_of(s.table);
    CHECK_EQ(stats.live_bytes, 0);
    CHECK_EQ(stats.used_span_bytes, 0);
    CHECK(stats.fragmentation == 0.0);
    CHECK_STR_EQ(stats.name, "assets");
    CHECK_GE(stats.reserved_bytes, 8 * MIB);
    fa_block a = block_make(s.table, 100, 16, 1);
    fa_block b = block_make(s.table, 1000, 16, 2);
    fa_block c = block_make(s.table, 112, 16, 3);
    CHECK_EQ(fa_block_free(s.table, b), FA_OK);
    stats = table_stats_of(s.table);
    CHECK_EQ(stats.live_bytes, 224);
    CHECK_EQ(stats.live_blocks, 2);
    CHECK_EQ(stats.used_span_bytes, 112 + 1008 + 112);
    CHECK_EQ(stats.free_bytes, 1008);
    CHECK_EQ(stats.largest_free, 1008);
    CHECK(stats.fragmentation > 0.80 && stats.fragmentation < 0.83);
    CHECK_GE(stats.committed_bytes, stats.used_span_bytes + stats.overhead_bytes);
    CHECK_EQ(fa_table_stats(s.table, NULL), FA_ERR_INVALID);
    failed_as(17, FA_ERR_INVALID);
    log_single(&s.log, 17);
    CHECK_EQ(fa_block_free(s.table, a), FA_OK);
    CHECK_EQ(fa_block_free(s.table, c), FA_OK);
    scene_close(&s);
}

static void freed_space_is_used_again(void) {
    scene s;
    scene_open(&s, (fa_table_desc){0});
    fa_block blocks[100];
    for (uint32_t i = 0; i < 100; i++) {
        blocks[i] = block_make(s.table, 1000, 16, i);
    }
    size_t span = table_stats_of(s.table).used_span_bytes / 100 * 110;
    for (uint32_t round = 0; round < 50; round++) {
        for (uint32_t i = round % 3; i < 100; i += 3) {
            CHECK_EQ(fa_block_free(s.table, blocks[i]), FA_OK);
            blocks[i] = block_make(s.table, 900 + round, 16, i);
        }
        CHECK_LE(table_stats_of(s.table).used_span_bytes, span);
    }
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ(fa_block_free(s.table, blocks[i]), FA_OK);
    }
    CHECK_EQ(table_stats_of(s.table).used_span_bytes, 0);
    scene_close(&s);
}

static void resizing_keeps_contents_alignment_and_handle(void) {
    scene s;
    scene_open(&s, (fa_table_desc){0});
    fa_block a = block_make(s.table, 100, 256, 1);
    fa_block b = block_make(s.table, 100, 16, 2);
    const void *at = fa_block_resolve(s.table, a);
    CHECK_EQ(fa_block_resize(s.table, a, 50), FA_OK); // Shrinks in place.
    CHECK_EQ(fa_block_resolve(s.table, a), at);
    CHECK_EQ(fa_block_size(s.table, a), 50);
    CHECK_EQ(fa_block_resize(s.table, a, 112), FA_OK); // Into the gap it left.
    CHECK_EQ(fa_block_resolve(s.table, a), at);
    CHECK_EQ(fa_block_resize(s.table, a, 5000), FA_OK); // Elsewhere.
    CHECK_NE(fa_block_resolve(s.table, a), at);
    CHECK_EQ((uintptr_t)fa_block_resolve(s.table, a) % 256, 0);
    CHECK(content_is(fa_block_resolve(s.table, a), 50, 1));
    CHECK(content_is(fa_block_resolve(s.table, b), 100, 2));
    at = fa_block_resolve(s.table, a);
    CHECK_EQ(fa_block_resize(s.table, a, 500000), FA_OK); // The last one grows in place.
    CHECK_EQ(fa_block_resolve(s.table, a), at);
    CHECK_EQ(table_stats_of(s.table).live_bytes, 500000 + 112);
    table_is_sound(s.table);
    CHECK_EQ(fa_block_free(s.table, a), FA_OK);
    CHECK_EQ(fa_block_free(s.table, b), FA_OK);
    scene_close(&s);
}

static void a_full_table_refuses(void) {
    scene s;
    scene_open(&s, (fa_table_desc){.reserve = MIB, .max_blocks = 10});
    CHECK_EQ(fa_block_alloc(s.table, 2 * MIB, 16).value, 0);
    failed_as(3, FA_ERR_OUT_OF_MEMORY);
    CHECK_EQ(log_single(&s.log, 3)->bytes, 2 * MIB);
    fa_block big = block_make(s.table, MIB - 100, 16, 1);
    CHECK_EQ(fa_block_alloc(s.table, 100, 16).value, 0);
    failed_as(3, FA_ERR_OUT_OF_MEMORY);
    log_single(&s.log, 3);
    CHECK_EQ(fa_block_resize(s.table, big, MIB + 16), FA_ERR_OUT_OF_MEMORY);
    log_single(&s.log, 3);
    CHECK_EQ(fa_block_size(s.table, big), MIB - 100);
    CHECK_EQ(fa_block_free(s.table, big), FA_OK);
    fa_block blocks[10];
    for (uint32_t i = 0; i < 10; i++) {
        blocks[i] = block_make(s.table, 64, 16, i);
    }
    CHECK_EQ(fa_block_alloc(s.table, 64, 16).value, 0);
    failed_as(409, FA_ERR_LIMIT);
    CHECK_EQ(log_single(&s.log, 409)->limit, 10);
    CHECK_EQ(tag_stats_of(s.ctx, FA_TAG_ROOT).current_bytes, 640);
    CHECK_EQ(fa_block_free(s.table, blocks[3]), FA_OK);
    blocks[3] = block_make(s.table, 64, 16, 3); // One that was free only now.
    for (uint32_t i = 0; i < 10; i++) {
        CHECK(content_is(fa_block_resolve(s.table, blocks[i]), 64, i));
        CHECK_EQ(fa_block_free(s.table, blocks[i]), FA_OK);
    }
    scene_close(&s);
}

static void bad_arguments_are_named(void) {
    scene s;
    scene_open(&s, (fa_table_desc){0});
    CHECK_EQ(fa_block_alloc(s.table, 0, 16).value, 0);
    log_single(&s.log, 12);
    CHECK_EQ(fa_block_alloc(s.table, 10, 0).value, 0);
    log_single(&s.log, 18);
    CHECK_EQ(fa_block_alloc(s.table, 10, 24).value, 0);
    log_single(&s.log, 18);
    CHECK_EQ(fa_block_alloc(s.table, 10, 2 * MIB).value, 0);
    log_single(&s.log, 18);
    CHECK_EQ(fa_block_alloc(s.table, SIZE_MAX, 16).value, 0);
    log_single(&s.log, 3);
    fa_table *other = NULL;
    CHECK_EQ(fa_table_create(s.ctx, NULL, NULL), FA_ERR_INVALID);
    log_single(&s.log, 17);
    CHECK_EQ(fa_table_create(s.ctx, &(fa_table_desc){.tag = {999}}, &other), FA_ERR_INVALID);
    CHECK_STR_EQ(log_single(&s.log, 14)->where, "tag");
    CHECK_EQ(fa_table_create(s.ctx, &(fa_table_desc){.reserve = SIZE_MAX}, &other), FA_ERR_INVALID);
    CHECK_STR_EQ(log_single(&s.log, 14)->where, "reserve");
    CHECK_EQ(fa_table_create(s.ctx, &(fa_table_desc){.max_blocks = FA_BLOCK_MAX + 1}, &other),
             FA_ERR_INVALID);
    CHECK_STR_EQ(log_single(&s.log, 14)->where, "max_blocks");
    CHECK_NULL(other);
    CHECK_EQ(fa_table_destroy(NULL), FA_OK);
    CHECK_EQ(fa_block_free(s.table, FA_BLOCK_NONE), FA_OK);
    scene_close(&s);
}

// ---- Handles that are not good -----------------------------------------------------------------

static void check_stale(scene *s, fa_block block) {
    fa_last_error_clear();
    CHECK_NULL(fa_block_resolve(s->table, block));
    failed_as(401, FA_ERR_STALE);
    CHECK_EQ(fa_block_size(s->table, block), 0);
    failed_as(401, FA_ERR_STALE);
    log_empty(&s->log); // Asking is no mistake.
    CHECK_EQ(fa_block_free(s->table, block), FA_ERR_STALE);
    log_single(&s->log, 401);
    CHECK_NULL(fa_block_pin(s->table, block));
    log_single(&s->log, 401);
    CHECK_EQ(fa_block_unpin(s->table, block), FA_ERR_STALE);
    log_single(&s->log, 401);
    CHECK_EQ(fa_block_resize(s->table, block, 10), FA_ERR_STALE);
    log_single(&s->log, 401);
    fa_last_error_clear();
}

static void stale_handles_are_found(void) {
    scene s;
    scene_open(&s, (fa_table_desc){0});
    fa_block gone[300];
    for (uint32_t i = 0; i < 300; i++) { // Places are used again meanwhile.
        gone[i] = block_make(s.table, 64, 16, i);
        CHECK_EQ(fa_block_free(s.table, gone[i]), FA_OK);
    }
    fa_block live = block_make(s.table, 64, 16, 1);
    for (uint32_t i = 0; i < 300; i++) {
        CHECK_NE(gone[i].value, live.value);
        check_stale(&s, gone[i]);
    }
    check_stale(&s, (fa_block){live.value ^ (uint64_t)1 << 40});
    check_stale(&s, (fa_block){UINT64_MAX});
    check_stale(&s, (fa_block){live.value + 1}); // A place that was never used, or is free.
    CHECK(content_is(fa_block_resolve(s.table, live), 64, 1));
    fa_last_error_clear();
    CHECK_NULL(fa_block_resolve(s.table, FA_BLOCK_NONE));
    failed_as(401, FA_ERR_STALE);
    CHECK_EQ(fa_block_free(s.table, live), FA_OK);
    scene_close(&s);
}

static void shared_tables_find_stale_handles_too(void) {
    scene s;
    scene_open(&s, (fa_table_desc){.shared = true});
    fa_block live = fa_block_alloc(s.table, 64, 16);
    fa_block gone = fa_block_alloc(s.table, 64, 16);
    CHECK_NOT_NULL(fa_block_resolve(s.table, live));
    CHECK_EQ(fa_block_free(s.table, gone), FA_OK);
    check_stale(&s, gone);
    CHECK_NULL(fa_block_resolve(s.table, FA_BLOCK_NONE));
    CHECK_EQ(fa_block_free(s.table, live), FA_OK);
    scene_close(&s);
}

// Handles of a table that is gone stay stale in every table that takes its place, whatever memory
// the backend hands out again.
static void handles_outlive_their_table_as_stale(fault_source source) {
    fault_backend faults;
    fault_backend_make(&faults, source);
    scene s;
    s.ctx = context_open(&(fa_config){.backend = &faults.backend});
    log_attach(s.ctx, &s.log);
    fa_block old[600];
    size_t count = 0;
    for (uint32_t round = 0; round < 600; round++) { // More often than there are numbers.
        s.table = table_open(s.ctx, (fa_table_desc){.reserve = MIB});
        old[count] = block_make(s.table, 100, 16, 1); // Entries are there from now on.
        for (size_t i = 0; i < count; i++) {
            CHECK_NULL(fa_block_resolve(s.table, old[i]));
        }
        CHECK_EQ(fa_block_free(s.table, old[count]), FA_OK);
        count += 1;
        CHECK_EQ(fa_table_destroy(s.table), FA_OK);
        CHECK_NULL(fa_block_resolve(s.table, old[count - 1])); // It is still found out.
    }
    s.table = table_open(s.ctx, (fa_table_desc){0});
    for (size_t i = 0; i < count; i += 50) {
        check_stale(&s, old[i]);
    }
    scene_close(&s);
    fault_backend_end(&faults);
}

static void handles_of_a_table_that_is_gone_stay_stale(void) {
    handles_outlive_their_table_as_stale(FAULT_PAGES);
    handles_outlive_their_table_as_stale(FAULT_BLOCKS);
}

// A backend without commit that hands the memory it got back out again, as it is.
enum { KEPT_MAX = 64 };

typedef struct keeper {
    void *kept[KEPT_MAX];
    size_t sizes[KEPT_MAX];
} keeper;

static void *keeper_reserve(void *self, size_t size, size_t align) {
    keeper *k = (keeper *)self;
    for (size_t i = 0; i < KEPT_MAX; i++) {
        void *ptr = k->kept[i];
        if (ptr != NULL && k->sizes[i] == size && (uintptr_t)ptr % align == 0) {
            k->kept[i] = NULL;
            return ptr;
        }
    }
    return fa_backend_malloc()->reserve(fa_backend_malloc()->self, size, align);
}

static void keeper_release(void *self, void *ptr, size_t size) {
    keeper *k = (keeper *)self;
    for (size_t i = 0; i < KEPT_MAX; i++) {
        if (k->kept[i] == NULL) {
            k->kept[i] = ptr;
            k->sizes[i] = size;
            return;
        }
    }
    fa_backend_malloc()->release(fa_backend_malloc()->self, ptr, size);
}

static void old_entries_in_new_memory_are_not_believed(void) {
    static keeper k;
    memset(&k, 0, sizeof(k));
    const fa_backend backend = {
        .reserve = keeper_reserve, .release = keeper_release, .page_size = 4096, .self = &k};
    fa_context *ctx = context_open(&(fa_config){.backend = &backend});
    fa_block old[100];
    fa_table *table = table_open(ctx, (fa_table_desc){0});
    for (uint32_t i = 0; i < 100; i++) {
        old[i] = block_make(table, 100, 16, i);
    }
    CHECK_EQ(fa_table_destroy(table), FA_ERR_BUSY);
    // In one of these tables the entries lie where those of the first one lay.
    for (uint32_t round = 0; round < 6; round++) {
        table = table_open(ctx, (fa_table_desc){0});
        fa_block live = block_make(table, 100, 16, 1);
        for (uint32_t i = 0; i < 100; i++) {
            CHECK_NULL(fa_block_resolve(table, old[i]));
        }
        CHECK_EQ(fa_block_free(table, live), FA_OK);
        CHECK_EQ(fa_table_destroy(table), FA_OK);
    }
    context_close(ctx);
    for (size_t i = 0; i < KEPT_MAX; i++) {
        if (k.kept[i] != NULL) {
            fa_backend_malloc()->release(fa_backend_malloc()->self, k.kept[i], k.sizes[i]);
        }
    }
}

static void handles_of_another_table_are_found(void) {
    scene s;
    scene_open(&s, (fa_table_desc){0});
    fa_table *other = table_open(s.ctx, (fa_table_desc){0});
    fa_block here = block_make(s.table, 64, 16, 1);
    fa_block there = block_make(other, 64, 16, 2);
    CHECK_NULL(fa_block_resolve(other, here));
    check_stale(&s, there);
    CHECK_EQ(fa_block_free(s.table, here), FA_OK);
    CHECK_EQ(fa_block_free(other, there), FA_OK);
    CHECK_EQ(fa_table_destroy(other), FA_OK);
    scene_close(&s);
}

static void a_place_without_generations_is_retired(void) {
    scene s;
    scene_open(&s, (fa_table_desc){.max_blocks = 2});
    fa_block block = block_make(s.table, 64, 16, 1);
    fa_block old = block;
    block = fa__table_age(s.table, block, UINT32_MAX);
    CHECK_NULL(fa_block_resolve(s.table, old));
    CHECK(content_is(fa_block_resolve(s.table, block), 64, 1));
    CHECK_EQ(fa_block_free(s.table, block), FA_OK);
    CHECK_EQ(log_single(&s.log, 407)->result, FA_OK);
    CHECK_EQ(table_stats_of(s.table).retired, 1);
    check_stale(&s, block);
    // One place is left, and it serves.
    for (uint32_t i = 0; i < 100; i++) {
        fa_block next = block_make(s.table, 64, 16, i);
        CHECK_NE((uint32_t)next.value, (uint32_t)block.value);
        CHECK_EQ(fa_block_alloc(s.table, 64, 16).value, 0);
        log_single(&s.log, 409);
        CHECK_EQ(fa_block_free(s.table, next), FA_OK);
    }
    // The last but one generation is followed by the last.
    block = fa__table_age(s.table, block_make(s.table, 64, 16, 1), UINT32_MAX - 1);
    CHECK_EQ(fa_block_free(s.table, block), FA_OK);
    log_empty(&s.log);
    fa_block last = block_make(s.table, 64, 16, 2);
    CHECK_EQ(last.value, block.value + ((uint64_t)1 << 32));
    check_stale(&s, block);
    CHECK_EQ(fa_block_free(s.table, last), FA_OK);
    log_single(&s.log, 407);
    CHECK_EQ(fa_block_alloc(s.table, 64, 16).value, 0);
    log_single(&s.log, 409);
    scene_close(&s);
}

// A number whose generations are used up gives way to others, and at last tables are refused.
static void used_up_numbers_are_not_used_again(void) {
    fa_context *ctx = context_open(NULL);
    uint64_t seen[FA_TABLE_MAX + 1] = {0};
    size_t made = 0;
    for (; made <= FA_TABLE_MAX; made++) {
        fa_table *table = NULL;
        if (fa_table_create(ctx, &(fa_table_desc){.reserve = MIB}, &table) != FA_OK) {
            break;
        }
        fa_block block = fa_block_alloc(table, 16, 16);
        block = fa__table_age(table, block, UINT32_MAX - 3);
        for (size_t i = 0; i < made; i++) {
            CHECK_NE(seen[i], block.value);
        }
        seen[made] = block.value;
        CHECK_EQ(fa_block_free(table, block), FA_OK);
        CHECK_EQ(fa_table_destroy(table), FA_OK);
    }
    CHECK_EQ(made, FA_TABLE_MAX);
    failed_as(409, FA_ERR_LIMIT);
    context_close(ctx);
}

static void so_many_tables_and_no_more(void) {
    fa_context *ctx = context_open(NULL);
    fa_table *tables[FA_TABLE_MAX];
    for (size_t i = 0; i < FA_TABLE_MAX; i++) {
        tables[i] = table_open(ctx, (fa_table_desc){.reserve = MIB});
    }
    fa_table *more = NULL;
    CHECK_EQ(fa_table_create(ctx, NULL, &more), FA_ERR_LIMIT);
    CHECK_EQ(fa_last_error()->limit, FA_TABLE_MAX);
    failed_as(409, FA_ERR_LIMIT);
    CHECK_EQ(fa_table_destroy(tables[100]), FA_OK);
    tables[100] = table_open(ctx, (fa_table_desc){.reserve = MIB});
    for (size_t i = 0; i < FA_TABLE_MAX; i++) {
        CHECK_EQ(fa_table_destroy(tables[i]), FA_OK);
    }
    context_close(ctx);
}

// ---- Pins --------------------------------------------------------------------------------------

static void pinned_blocks_stay_until_the_last_unpin(void) {
    scene s;
    scene_open(&s, (fa_table_desc){0});
    fa_block low = block_make(s.table, 1000, 16, 1);
    fa_block block = block_make(s.table, 1000, 16, 2);
    fa_block high = block_make(s.table, 1000, 16, 3);
    void *at = fa_block_pin(s.table, block);
    CHECK_EQ(fa_block_pin(s.table, block), at);
    CHECK_EQ(fa_block_resize(s.table, block, 5000), FA_ERR_BUSY); // It would have to move.
    log_single(&s.log, 408);
    CHECK_EQ(fa_block_free(s.table, low), FA_OK);
    for (unsigned pins = 2; pins > 0; pins--) {
        CHECK_EQ(fa_block_free(s.table, block), FA_ERR_BUSY);
        log_single(&s.log, 408);
        CHECK_EQ(fa_table_defragment(s.table, SIZE_MAX, NULL), FA_OK);
        CHECK_EQ(fa_block_resolve(s.table, block), at);
        CHECK_EQ(table_stats_of(s.table).pinned_blocks, 1);
        CHECK_EQ(fa_block_unpin(s.table, block), FA_OK);
    }
    CHECK_EQ(fa_block_unpin(s.table, block), FA_ERR_INVALID);
    log_single(&s.log, 17);
    CHECK_EQ(fa_table_defragment(s.table, SIZE_MAX, NULL), FA_OK);
    CHECK_EQ(table_stats_of(s.table).fragmentation == 0.0, true);
    CHECK(content_is(fa_block_resolve(s.table, block), 1000, 2));
    CHECK(content_is(fa_block_resolve(s.table, high), 1000, 3));
    CHECK_EQ(fa_block_free(s.table, block), FA_OK);
    CHECK_EQ(fa_block_free(s.table, high), FA_OK);
    scene_close(&s);
}

static void a_pinned_block_may_grow_where_it_is(void) {
    scene s;
    scene_open(&s, (fa_table_desc){0});
    fa_block block = block_make(s.table, 100, 16, 1);
    const void *at = fa_block_pin(s.table, block);
    CHECK_EQ(fa_block_resize(s.table, block, 300000), FA_OK);
    CHECK_EQ(fa_block_resize(s.table, block, 10), FA_OK);
    CHECK_EQ(fa_block_resolve(s.table, block), at);
    CHECK_EQ(fa_block_unpin(s.table, block), FA_OK);
    CHECK_EQ(fa_block_free(s.table, block), FA_OK);
    scene_close(&s);
}

static void pins_are_counted_to_their_limit(void) {
    scene s;
    scene_open(&s, (fa_table_desc){0});
    fa_block block = block_make(s.table, 100, 16, 1);
    for (uint32_t i = 0; i < FA_BLOCK_PINS_MAX; i++) {
        if (fa_block_pin(s.table, block) == NULL) {
            FAIL("pin %u was refused", (unsigned)i);
            break;
        }
    }
    CHECK_NULL(fa_block_pin(s.table, block));
    CHECK_EQ(log_single(&s.log, 409)->limit, FA_BLOCK_PINS_MAX);
    for (uint32_t i = 0; i < FA_BLOCK_PINS_MAX; i++) {
        (void)fa_block_unpin(s.table, block);
    }
    CHECK_EQ(fa_block_free(s.table, block), FA_OK);
    scene_close(&s);
}

// ---- Overruns ----------------------------------------------------------------------------------

// The guard is found overwritten, and neither the table nor the next block's handle is harmed.
static void overruns_are_reported_while_blocks_are_checked(void) {
    scene s;
    s.ctx = context_open(&(fa_config){.checks = FA_CHECK_BLOCKS});
    log_attach(s.ctx, &s.log);
    s.table = table_open(s.ctx, (fa_table_desc){.name = "checked"});
    for (size_t size = 90; size < 100; size++) {
        fa_block a = block_make(s.table, size, 16, 1);
        fa_block b = block_make(s.table, 100, 16, 2);
        CHECK_EQ(fa_block_size(s.table, a), size);
        CHECK_EQ(fa_table_defragment(s.table, SIZE_MAX, NULL), FA_OK);
        CHECK_EQ(fa_block_resize(s.table, a, 300), FA_OK);
        CHECK_EQ(fa_block_resize(s.table, a, size), FA_OK);
        log_empty(&s.log);
        unsigned char *end = (unsigned char *)fa_block_resolve(s.table, a) + size;
        *end = 1;
        CHECK_EQ(fa_block_resize(s.table, a, size - 1), FA_OK);
        CHECK_STR_EQ(log_single(&s.log, 405)->where, "checked");
        end[14] = 1;
        CHECK_EQ(fa_block_free(s.table, a), FA_OK);
        log_single(&s.log, 405);
        table_is_sound(s.table);
        CHECK(content_is(fa_block_resolve(s.table, b), 100, 2));
        const unsigned char *ptr = fa_block_resolve(s.table, b);
        CHECK_EQ(fa_block_free(s.table, b), FA_OK);
        CHECK_EQ(ptr[0], 0xDD);
        log_empty(&s.log);
    }
    CHECK_EQ(stats_of(s.ctx).heap_bytes, 0);
    scene_close(&s);
}

// ---- Whom it is charged ------------------------------------------------------------------------

static void blocks_are_charged_to_the_tables_tag(void) {
    scene s;
    scene_open(&s, (fa_table_desc){0});
    fa_tag tag = fa_tag_register(s.ctx, "level/meshes");
    fa_table *table = table_open(s.ctx, (fa_table_desc){.tag = tag});
    fa_block a = block_make(table, 1000, 16, 1);
    fa_block b = block_make(s.table, 500, 16, 1);
    CHECK_EQ(tag_stats_of(s.ctx, tag).current_bytes, 1008);
    CHECK_EQ(tag_stats_of(s.ctx, FA_TAG_ROOT).current_bytes, 1008 + 512);
    CHECK_EQ(stats_of(s.ctx).heap_bytes, 1008 + 512);
    CHECK_EQ(fa_block_resize(table, a, 3000), FA_OK);
    CHECK_EQ(tag_stats_of(s.ctx, tag).current_bytes, 3008);
    CHECK_EQ(fa_block_resize(table, a, 16), FA_OK);
    CHECK_EQ(tag_stats_of(s.ctx, tag).current_bytes, 16);
    CHECK_EQ(fa_table_defragment(table, SIZE_MAX, NULL), FA_OK);
    CHECK_EQ(tag_stats_of(s.ctx, tag).current_bytes, 16);
    CHECK_EQ(fa_block_free(table, a), FA_OK);
    CHECK_EQ(tag_stats_of(s.ctx, tag).current_bytes, 0);
    CHECK_EQ(tag_stats_of(s.ctx, tag).allocations, 1);
    CHECK_EQ(fa_block_free(s.table, b), FA_OK);
    CHECK_EQ(stats_of(s.ctx).heap_bytes, 0);
    CHECK_EQ(fa_table_destroy(table), FA_OK);
    scene_close(&s);
}

static void budgets_refuse_and_nothing_changes(void) {
    scene s;
    scene_open(&s, (fa_table_desc){0});
    fa_tag tag = fa_tag_register(s.ctx, "level");
    fa_table *table = table_open(s.ctx, (fa_table_desc){.tag = tag, .name = "level"});
    CHECK_EQ(fa_budget_set(s.ctx, tag, &(fa_budget){.hard = 100000}), FA_OK);
    fa_block a = block_make(table, 60000, 16, 1);
    CHECK_EQ(fa_block_alloc(table, 40001, 16).value, 0);
    failed_as(302, FA_ERR_BUDGET);
    CHECK_STR_EQ(log_single(&s.log, 302)->where, "level");
    CHECK_EQ(fa_block_resize(table, a, 100001), FA_ERR_BUDGET);
    log_single(&s.log, 302);
    CHECK(content_is(fa_block_resolve(table, a), 60000, 1));
    CHECK_EQ(tag_stats_of(s.ctx, tag).current_bytes, 60000);
    CHECK_EQ(fa_block_resize(table, a, 100000), FA_OK);
    CHECK_EQ(tag_stats_of(s.ctx, tag).current_bytes, 100000);
    CHECK_EQ(tag_stats_of(s.ctx, tag).refusals, 2);
    CHECK_EQ(fa_block_free(table, a), FA_OK);
    CHECK_EQ(fa_table_destroy(table), FA_OK);
    scene_close(&s);
}

typedef struct meddler {
    fa_table *table;
    fa_block block;
    size_t told;
} meddler;

static void free_when_told(const fa_budget_event *event, void *user) {
    meddler *m = (meddler *)user;
    (void)event;
    m->told += 1;
    if (m->told == 1) {
        CHECK_EQ(fa_block_free(m->table, m->block), FA_OK);
    }
}

// A budget's callback may free the very block that is being resized.
static void a_block_may_go_while_it_is_charged(void) {
    scene s;
    scene_open(&s, (fa_table_desc){0});
    fa_tag tag = fa_tag_register(s.ctx, "level");
    fa_table *table = table_open(s.ctx, (fa_table_desc){.tag = tag});
    meddler m = {.table = table, .block = block_make(table, 1000, 16, 1)};
    fa_budget budget = {.soft = 100000, .callback = free_when_told, .user = &m};
    CHECK_EQ(fa_budget_set(s.ctx, tag, &budget), FA_OK);
    CHECK_EQ(fa_block_resize(table, m.block, 200000), FA_ERR_STALE);
    CHECK_GE(m.told, 1); // And again for the second try.
    CHECK_EQ(log_count(&s.log, 401), 1);
    log_attach(s.ctx, &s.log);
    CHECK_EQ(tag_stats_of(s.ctx, tag).current_bytes, 0);
    table_is_sound(table);
    CHECK_EQ(fa_table_destroy(table), FA_OK);
    scene_close(&s);
}

static void the_memory_limit_holds(void) {
    scene s;
    s.ctx = context_open(&(fa_config){.memory_limit = 4 * MIB});
    log_attach(s.ctx, &s.log);
    s.table = table_open(s.ctx, (fa_table_desc){0});
    fa_block blocks[100];
    size_t count = 0;
    for (; count < 100; count++) {
        blocks[count] = fa_block_alloc(s.table, 100000, 16);
        if (blocks[count].value == 0) {
            break;
        }
        CHECK_LE(stats_of(s.ctx).committed_bytes, 4 * MIB);
    }
    failed_as(301, FA_ERR_LIMIT);
    CHECK_EQ(log_single(&s.log, 301)->limit, 4 * MIB);
    CHECK_GE(count, 35); // Nearly all of it is blocks.
    CHECK_EQ(stats_of(s.ctx).heap_bytes, count * 100000);
    CHECK_EQ(stats_of(s.ctx).refusals, 1);
    while (count > 0) {
        count -= 1;
        CHECK_EQ(fa_block_free(s.table, blocks[count]), FA_OK);
    }
    scene_close(&s);
}

// ---- Ends --------------------------------------------------------------------------------------

static void what_is_live_at_the_end_is_reported(void) {
    scene s;
    scene_open(&s, (fa_table_desc){.name = "left"});
    fa_block block = block_make(s.table, 1000, 16, 1);
    block_make(s.table, 100, 16, 1);
    CHECK_NOT_NULL(fa_block_pin(s.table, block));
    CHECK_EQ(fa_table_destroy(s.table), FA_ERR_BUSY);
    const seen_report *seen = log_single(&s.log, 406);
    CHECK_EQ(seen->bytes, 1008 + 112);
    CHECK_STR_EQ(seen->where, "left");
    CHECK_EQ(stats_of(s.ctx).heap_bytes, 0);
    s.table = table_open(s.ctx, (fa_table_desc){.name = "forgotten", .shared = true});
    fa_block_alloc(s.table, 10, 16);
    CHECK_EQ(fa_context_destroy(s.ctx), FA_ERR_BUSY);
    CHECK_STR_EQ(log_single(&s.log, 406)->where, "forgotten");
}

// A descriptor that asks for more than there is: an explicit reservation is refused, the default
// becomes smaller.
static void a_small_address_space_gets_a_smaller_table(void) {
    fault_backend faults;
    fault_backend_make(&faults, FAULT_PAGES);
    fa_context *ctx = context_open(&(fa_config){.backend = &faults.backend});
    fault_backend_set(&faults, FAULT_NTH, faults.calls + 1, 0, 0);
    fa_table *table = NULL;
    CHECK_EQ(fa_table_create(ctx, &(fa_table_desc){.reserve = MIB}, &table), FA_ERR_OUT_OF_MEMORY);
    failed_as(305, FA_ERR_OUT_OF_MEMORY);
    fault_backend_set(&faults, FAULT_NTH, faults.calls + 1, 0, 0);
    CHECK_EQ(fa_table_create(ctx, NULL, &table), FA_OK);
    size_t reserved = table_stats_of(table).reserved_bytes;
    fa_table *usual = table_open(ctx, (fa_table_desc){0});
    CHECK_LT(reserved, table_stats_of(usual).reserved_bytes * 3 / 4);
    CHECK_EQ(fa_table_destroy(table), FA_OK);
    CHECK_EQ(fa_table_destroy(usual), FA_OK);
    context_close(ctx);
    fault_backend_end(&faults);
}

TEST_SUITE(handles, TEST(blocks_have_size_alignment_and_contents), TEST(figures_say_what_is_there),
           TEST(freed_space_is_used_again), TEST(resizing_keeps_contents_alignment_and_handle),
           TEST(a_full_table_refuses), TEST(bad_arguments_are_named), TEST(stale_handles_are_found),
           TEST(shared_tables_find_stale_handles_too),
           TEST(handles_of_a_table_that_is_gone_stay_stale),
           TEST(old_entries_in_new_memory_are_not_believed),
           TEST(handles_of_another_table_are_found), TEST(a_place_without_generations_is_retired),
           TEST(used_up_numbers_are_not_used_again), TEST(so_many_tables_and_no_more),
           TEST(pinned_blocks_stay_until_the_last_unpin), TEST(a_pinned_block_may_grow_where_it_is),
           TEST(pins_are_counted_to_their_limit),
           TEST(overruns_are_reported_while_blocks_are_checked),
           TEST(blocks_are_charged_to_the_tables_tag), TEST(budgets_refuse_and_nothing_changes),
           TEST(a_block_may_go_while_it_is_charged), TEST(the_memory_limit_holds),
           TEST(what_is_live_at_the_end_is_reported),
           TEST(a_small_address_space_gets_a_smaller_table));

// A context takes every page from its backend and gives every page back, whatever the backend
// can do. What happens when it refuses is told by test_faults.c.
#include "core_fixture.h"
#include "fault_backend.h"

#include <framealloc/heap.h>
#include <framealloc/pool.h>

#include <stdio.h>

static fault_backend pages;

// ---- Work that touches everything ----

static void count_call(void *arg) {
    *(size_t *)arg += 1;
}

// Refusals are allowed: blocks may be NULL, and what was there must stay whole.
static void use_arena(fa_arena *arena, size_t block) {
    unsigned char *blocks[24] = {NULL};
    for (size_t i = 0; i < 24; i++) {
        blocks[i] = fa_arena_alloc(arena, block + i);
        if (blocks[i] != NULL) {
            memset(blocks[i], (int)(i + 1), block + i);
        }
    }
    for (size_t i = 0; i < 24; i++) {
        if (blocks[i] != NULL) {
            CHECK_EQ(blocks[i][0], i + 1);
            CHECK_EQ(blocks[i][block + i - 1], i + 1);
        }
    }
    const unsigned char *zeroed = fa_arena_calloc(arena, 300, 7, 64);
    for (size_t i = 0; zeroed != NULL && i < 2100; i++) {
        if (zeroed[i] != 0) {
            FAIL("calloc handed out a byte of %u", zeroed[i]);
            break;
        }
    }
}

static void use_frame(fa_context *ctx, size_t block) {
    static size_t cleanups;
    fa_arena *frame = fa_frame_begin(ctx);
    if (frame == NULL) {
        return;
    }
    use_arena(frame, block);
    (void)!fa_arena_defer(frame, count_call, &cleanups);
    fa_scratch scratch = fa_scratch_begin(ctx, &frame, 1);
    if (scratch.arena != NULL) {
        fa_scratch other = fa_scratch_begin(ctx, &scratch.arena, 1);
        use_arena(scratch.arena, block);
        if (other.arena != NULL) {
            use_arena(other.arena, 100);
        }
        fa_scratch_end(other);
        fa_scratch_end(scratch);
    }
    fa_frame_end(frame);
}

static void use_tags(fa_context *ctx) {
    fa_arena *frame = fa_frame_begin(ctx);
    for (unsigned i = 0; i < 150; i++) {
        char path[32];
        snprintf(path, sizeof(path), "group%u/tag%u", i % 5, i);
        fa_tag tag = fa_tag_register(ctx, path);
        if (fa_tag_push(ctx, tag) == FA_OK) {
            if (frame != NULL) {
                (void)fa_arena_alloc(frame, 100);
            }
            CHECK_EQ(fa_tag_pop(ctx), FA_OK);
        }
    }
    if (frame != NULL) {
        fa_frame_end(frame);
    }
    if (fa_phase_begin(ctx, "phase") == FA_OK) {
        CHECK_EQ(fa_phase_end(ctx, NULL), FA_OK);
    }
}

static void use_own_arena(fa_context *ctx, const fa_arena_desc *desc, size_t block) {
    fa_arena *arena = NULL;
    if (fa_arena_create(ctx, desc, &arena) == FA_OK) {
        use_arena(arena, block);
        fa_arena_reset(arena);
        use_arena(arena, 100);
        CHECK_EQ(fa_arena_trim(arena, 0), FA_OK);
        fa_arena_destroy(arena);
    }
}

static void use_pool(fa_context *ctx) {
    enum { COUNT = 3000 };
    static void *objects[COUNT];
    fa_pool *pool = NULL;
    fa_pool_desc desc = {.size = 48, .handles = true};
    if (!CHECK_EQ(fa_pool_create(ctx, &desc, &pool), FA_OK)) {
        return;
    }
    for (size_t i = 0; i < COUNT; i++) {
        objects[i] = fa_pool_alloc(pool);
        REQUIRE_NOT_NULL(objects[i]);
        memset(objects[i], (int)i, 48);
    }
    fa_handle handle = fa_pool_handle(pool, objects[7]);
    for (size_t i = 0; i < COUNT; i++) {
        const unsigned char *object = (const unsigned char *)objects[i];
        CHECK(object[0] == (unsigned char)i && object[47] == (unsigned char)i);
        fa_pool_free(pool, objects[i]);
    }
    CHECK_NULL(fa_pool_resolve(pool, handle));
    CHECK_EQ(fa_pool_destroy(pool), FA_OK);
}

// Blocks from small to several MiB, grown in turn, freed in another order.
static void use_heap(fa_context *ctx) {
    enum { COUNT = 60 };
    unsigned char *blocks[COUNT];
    size_t size = 1;
    for (size_t i = 0; i < COUNT; i++) {
        size_t align = i % 4 == 0 ? 256 : 16;
        blocks[i] = fa_heap_alloc_aligned(ctx, size, align);
        REQUIRE_NOT_NULL(blocks[i]);
        CHECK_EQ((uintptr_t)blocks[i] % align, 0);
        memset(blocks[i], (int)i, size);
        blocks[i] = fa_heap_realloc(ctx, blocks[i], 2 * size);
        REQUIRE_NOT_NULL(blocks[i]);
        CHECK(blocks[i][0] == i && blocks[i][size - 1] == i);
        blocks[i][2 * size - 1] = (unsigned char)i;
        size += size / 4 + 1;
    }
    fa_heap_stats_result stats;
    CHECK_EQ(fa_heap_stats(ctx, &stats), FA_OK);
    CHECK_EQ(stats.live_blocks, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        unsigned char *block = blocks[i * 7 % COUNT];
        CHECK_EQ(block[0], i * 7 % COUNT);
        fa_heap_free(ctx, block);
    }
}

static void run_thread(void *arg) {
    fa_context *ctx = (fa_context *)arg;
    use_frame(ctx, 3000);
    use_frame(ctx, 50);
    use_heap(ctx);
}

static void use_everything(fa_context *ctx) {
    static char memory[10000];
    use_frame(ctx, 100);
    use_frame(ctx, 20000);
    use_frame(ctx, 400000); // Above the reservation: blocks of their own.
    use_tags(ctx);
    use_own_arena(ctx, NULL, 50000);
    use_own_arena(ctx, &(fa_arena_desc){.chunk_size = 16 * KIB}, 3000);
    use_own_arena(ctx, &(fa_arena_desc){.chunk_size = 4 * KIB}, 100000);
    use_own_arena(ctx, &(fa_arena_desc){.memory = memory, .memory_size = sizeof(memory)}, 300);
    use_pool(ctx);
    use_heap(ctx);
    if (check_thread_supported()) {
        check_thread_join(check_thread_start(run_thread, ctx));
    }
    for (unsigned i = 0; i < 20; i++) {
        use_frame(ctx, 10);
    }
    CHECK_EQ(fa_context_trim(ctx, 0), FA_OK);
}

static fa_config small_config(void) {
    return (fa_config){.backend = &pages.backend,
                       .frame_reserve = 4 * MIB,
                       .scratch_reserve = 4 * MIB,
                       .frames_in_flight = 2,
                       .decay_frames = 4};
}

static void check_everything_works(void) {
    fa_config config = small_config();
    fa_context *ctx = context_open(&config);
    use_everything(ctx);
    nothing_failed();
    fa_stats stats = stats_of(ctx);
    CHECK_EQ(stats.committed_bytes, pages.committed_bytes);
    CHECK_EQ(stats.reserved_bytes, pages.reserved_bytes);
    CHECK_GT(stats.overhead_bytes, 0);
    CHECK_LT(stats.overhead_bytes, stats.committed_bytes);
    context_close(ctx);
    fault_backend_end(&pages);
}

// ---- Tests ----

static void every_page_comes_from_the_backend_and_goes_back(void) {
    fault_backend_make(&pages, FAULT_PAGES);
    check_everything_works();
    CHECK_GT(pages.calls, 30);
}

static void a_backend_without_commit_works_on_chunks(void) {
    fault_backend_make(&pages, FAULT_BLOCKS);
    check_everything_works();
}

static void a_backend_without_decommit_or_advice_works(void) {
    fault_backend_make(&pages, FAULT_PAGES);
    pages.backend.decommit = NULL;
    pages.backend.advise_huge = NULL;
    check_everything_works();
}

static void a_backend_may_have_larger_pages(void) {
    const size_t sizes[] = {16 * KIB, 64 * KIB};
    for (size_t i = 0; i < 2; i++) {
        fault_backend_make(&pages, FAULT_PAGES);
        pages.backend.page_size = sizes[i];
        if (sizes[i] >= fa_backend_os()->page_size) {
            check_everything_works();
        }
        fault_backend_make(&pages, FAULT_BLOCKS);
        pages.backend.page_size = sizes[i];
        check_everything_works();
    }
}

static void the_backend_is_copied(void) {
    fault_backend_make(&pages, FAULT_PAGES);
    fa_backend backend = pages.backend;
    fa_config config = small_config();
    config.backend = &backend;
    fa_context *ctx = context_open(&config);
    memset(&backend, 0, sizeof(backend));
    memset(&config, 0xEE, sizeof(config));
    CHECK_NE(fa_context_config(ctx)->backend, &backend);
    CHECK_EQ(fa_context_config(ctx)->backend->self, &pages);
    CHECK_EQ(fa_context_config(ctx)->frame_reserve, 4 * MIB);
    use_everything(ctx);
    context_close(ctx);
    fault_backend_end(&pages);
}

static void the_system_s_backend_is_one_constant(void) {
    const fa_backend *backend = fa_backend_os();
    REQUIRE_NOT_NULL(backend);
    CHECK_EQ(backend, fa_backend_os());
    CHECK(backend->reserve != NULL && backend->commit != NULL && backend->decommit != NULL);
    CHECK(backend->release != NULL && backend->advise_huge != NULL);
    size_t page = backend->page_size;
    CHECK(page >= 4 * KIB && page <= 64 * KIB && (page & (page - 1)) == 0);
    for (size_t align = page; align <= 4 * MIB; align *= 4) {
        unsigned char *ptr = backend->reserve(backend->self, 4 * page, align);
        REQUIRE_NOT_NULL(ptr);
        CHECK_EQ((uintptr_t)ptr % align, 0);
        CHECK(backend->commit(backend->self, ptr + page, 2 * page));
        ptr[page] = 1;
        ptr[3 * page - 1] = 2;
        backend->decommit(backend->self, ptr + page, page);
        CHECK(backend->commit(backend->self, ptr + page, page));
        CHECK_EQ(ptr[3 * page - 1], 2);
        backend->advise_huge(backend->self, ptr, 4 * page);
        backend->release(backend->self, ptr, 4 * page);
    }
}

// fa_backend_malloc(), with its calls counted.
typedef struct counted_malloc {
    atomic_size_t reserved_bytes;
    atomic_size_t calls;
} counted_malloc;

static void *counted_reserve(void *self, size_t size, size_t align) {
    counted_malloc *counted = (counted_malloc *)self;
    const fa_backend *backend = fa_backend_malloc();
    void *ptr = backend->reserve(backend->self, size, align);
    CHECK_EQ((uintptr_t)ptr % align, 0);
    atomic_fetch_add(&counted->reserved_bytes, ptr != NULL ? size : 0);
    atomic_fetch_add(&counted->calls, 1);
    return ptr;
}

static void counted_release(void *self, void *ptr, size_t size) {
    counted_malloc *counted = (counted_malloc *)self;
    const fa_backend *backend = fa_backend_malloc();
    atomic_fetch_sub(&counted->reserved_bytes, size);
    backend->release(backend->self, ptr, size);
}

static void a_context_lives_on_malloc(void) {
    counted_malloc counted = {0};
    fa_backend backend = *fa_backend_malloc();
    backend.reserve = counted_reserve;
    backend.release = counted_release;
    backend.self = &counted;
    fa_config config = small_config();
    config.backend = &backend;
    fa_context *ctx = context_open(&config);
    use_everything(ctx);
    nothing_failed();
    CHECK_EQ(stats_of(ctx).committed_bytes, atomic_load(&counted.reserved_bytes));
    CHECK_GT(atomic_load(&counted.calls), 10);
    context_close(ctx);
    CHECK_EQ(atomic_load(&counted.reserved_bytes), 0);

    config.backend = fa_backend_malloc();
    ctx = context_open(&config);
    use_everything(ctx);
    nothing_failed();
    context_close(ctx);
}

static void the_backend_of_malloc_is_one_constant(void) {
    const fa_backend *backend = fa_backend_malloc();
    REQUIRE_NOT_NULL(backend);
    CHECK_EQ(backend, fa_backend_malloc());
    CHECK(backend->reserve != NULL && backend->release != NULL);
    CHECK(backend->commit == NULL && backend->decommit == NULL);
    CHECK_EQ(backend->page_size, 4 * KIB);
    for (size_t align = 4 * KIB; align <= 4 * MIB; align *= 4) {
        unsigned char *ptr = backend->reserve(backend->self, 12 * KIB, align);
        REQUIRE_NOT_NULL(ptr);
        CHECK_EQ((uintptr_t)ptr % align, 0);
        memset(ptr, 1, 12 * KIB);
        backend->release(backend->self, ptr, 12 * KIB);
    }
}

static void check_not_made(fault_source source, uint64_t refused_call) {
    fault_backend_make(&pages, source);
    fault_backend_set(&pages, FAULT_NTH, refused_call, 0, 0);
    fa_config config = small_config();
    fa_context *ctx = (fa_context *)(uintptr_t)16;
    CHECK_EQ(fa_context_create(&config, &ctx), FA_ERR_OUT_OF_MEMORY);
    CHECK_NULL(ctx);
    failed_as(305, FA_ERR_OUT_OF_MEMORY);
    fault_backend_end(&pages);
}

static void a_context_that_gets_no_page_is_not_made(void) {
    check_not_made(FAULT_PAGES, 1);
    check_not_made(FAULT_PAGES, 2);
    check_not_made(FAULT_BLOCKS, 1);
}

TEST_SUITE(backend, TEST(every_page_comes_from_the_backend_and_goes_back),
           TEST(a_backend_without_commit_works_on_chunks),
           TEST(a_backend_without_decommit_or_advice_works), TEST(a_backend_may_have_larger_pages),
           TEST(the_backend_is_copied), TEST(the_system_s_backend_is_one_constant),
           TEST(a_context_lives_on_malloc), TEST(the_backend_of_malloc_is_one_constant),
           TEST(a_context_that_gets_no_page_is_not_made));

// The memory under an arena: further blocks, waste, peaks, committing, trimming.
#include "arena_fixture.h"
#include "fault_backend.h"

// ---- Requests that do not fit ----

static void a_request_above_the_reservation_gets_a_block_of_its_own(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){.reserve = 65536});
    char *first = fa_arena_alloc(arena, 100);
    size_t committed = arena_stats_of(arena).committed_bytes;
    unsigned char *large = fa_arena_alloc(arena, 3 * MIB);
    REQUIRE_NOT_NULL(large);
    memset(large, 0x31, 3 * MIB);
    fa_arena_stats_result stats = arena_stats_of(arena);
    CHECK_EQ(stats.blocks, 1);
    CHECK_EQ(stats.used_bytes, 112 + 3 * MIB);
    CHECK_GE(stats.committed_bytes, committed + 3 * MIB);
    CHECK_LT(stats.committed_bytes, committed + 3 * MIB + 65536);
    // Small ones go on filling the reservation.
    CHECK_EQ(fa_arena_alloc(arena, 100), first + 112);
    CHECK_EQ(arena_stats_of(arena).blocks, 1);
    CHECK(is_filled(large, 3 * MIB, 0x31));
    CHECK_EQ(stats_of(ctx).frame_bytes, 2 * 112 + 3 * MIB);
    fa_arena_destroy(arena);
    context_close(ctx);
}

static void a_block_of_its_own_goes_back_with_the_rest(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_context *ctx = context_open(&(fa_config){.backend = &pages.backend});
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){.reserve = 65536, .initial = 65536});
    fa_arena_alloc(arena, 100);
    fa_mark mark = fa_arena_mark(arena);
    size_t reserved = pages.reserved_bytes;
    size_t committed = pages.committed_bytes;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            CHECK_NOT_NULL(fa_arena_alloc(arena, 2 * MIB));
        }
        CHECK_EQ(arena_stats_of(arena).blocks, 3);
        CHECK_GE(pages.committed_bytes, committed + 6 * MIB);
        if (round == 0) {
            CHECK_EQ(fa_arena_rewind(arena, mark), FA_OK);
        } else {
            fa_arena_reset(arena);
        }
        CHECK_EQ(arena_stats_of(arena).blocks, 0);
        CHECK_EQ(pages.reserved_bytes, reserved);
        CHECK_EQ(pages.committed_bytes, committed);
        CHECK_EQ(stats_of(ctx).reserved_bytes, reserved);
        CHECK_EQ(stats_of(ctx).committed_bytes, committed);
    }
    fa_arena_destroy(arena);
    context_close(ctx);
    fault_backend_end(&pages);
}

static void a_frame_gives_its_large_block_back_when_it_ends(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_context *ctx = context_open(&(fa_config){.backend = &pages.backend, .frame_reserve = 65536});
    fa_frame_end(fa_frame_begin(ctx));
    size_t reserved = pages.reserved_bytes;
    fa_arena *frame = fa_frame_begin(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(frame, 5 * MIB));
    fa_frame_stats_result stats;
    CHECK_EQ(fa_frame_stats(frame, &stats), FA_OK);
    CHECK_EQ(stats.blocks, 1);
    CHECK_GE(pages.reserved_bytes, reserved + 5 * MIB);
    fa_frame_end(frame);
    CHECK_EQ(pages.reserved_bytes, reserved);
    context_close(ctx);
    fault_backend_end(&pages);
}

static void a_full_reservation_is_continued_in_further_blocks(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){.reserve = 65536});
    size_t sum = 0;
    for (int i = 0; i < 4000; i++) {
        size_t size = 100 + 7 * (size_t)(i % 100);
        unsigned char *ptr = fa_arena_alloc(arena, size);
        REQUIRE_NOT_NULL(ptr);
        memset(ptr, i, size);
        sum += rounded(size);
        CHECK_EQ(fa_arena_used(arena), sum);
    }
    fa_arena_stats_result stats = arena_stats_of(arena);
    CHECK_GE(stats.blocks, 1);
    CHECK_LE(stats.blocks, 4); // Not one for each.
    CHECK_LE(stats.waste_bytes, 800 * (stats.blocks + 1));
    fa_arena_destroy(arena);
    context_close(ctx);
}

// The smallest chunks with every size up to twice their own: nothing overlaps, nothing is lost.
static void chunks_hold_every_size(void) {
    arena_case self = case_open(ON_CHUNKS);
    enum { COUNT = 512 };
    unsigned char *blocks[COUNT];
    size_t sum = 0;
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = 1 + i * 16;
        blocks[i] = fa_arena_alloc(self.arena, size);
        REQUIRE_NOT_NULL(blocks[i]);
        memset(blocks[i], (int)(i % 251), size);
        sum += rounded(size);
    }
    CHECK_EQ(fa_arena_used(self.arena), sum);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(is_filled(blocks[i], 1 + i * 16, (unsigned char)(i % 251)));
    }
    case_close(&self);
}

// ---- Figures ----

static void waste_is_what_was_left_behind(void) {
    arena_case self = case_open(ON_CHUNKS);
    fa_arena_alloc(self.arena, 4000);
    CHECK_EQ(arena_stats_of(self.arena).waste_bytes, 0); // Not left yet.
    fa_mark mark = fa_arena_mark(self.arena);
    char *ptr = fa_arena_alloc(self.arena, 512);
    CHECK_EQ(arena_stats_of(self.arena).waste_bytes, 96);
    size_t header = (uintptr_t)ptr % BACKING_CHUNK; // A chunk lies at a multiple of its size.
    CHECK_GT(header, 0);
    CHECK_LE(header, 128);
    fa_arena_alloc(self.arena, 512);
    CHECK_EQ(arena_stats_of(self.arena).waste_bytes, 96);
    // Aside: what its block has more than was asked for.
    size_t before = arena_stats_of(self.arena).committed_bytes;
    fa_arena_alloc(self.arena, 10000);
    size_t block = arena_stats_of(self.arena).committed_bytes - before;
    CHECK_EQ(arena_stats_of(self.arena).waste_bytes, 96 + block - header - 10000);
    CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_OK);
    CHECK_EQ(arena_stats_of(self.arena).waste_bytes, 0);
    case_close(&self);
}

static void the_peak_is_the_most_ever_in_use(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        fa_mark mark = fa_arena_mark(self.arena);
        for (int i = 0; i < 10; i++) {
            fa_arena_alloc(self.arena, 1000);
        }
        CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_OK);
        fa_arena_alloc(self.arena, 160);
        CHECK_EQ(arena_stats_of(self.arena).peak_bytes, 10080);
        CHECK_EQ(arena_stats_of(self.arena).used_bytes, 160);
        fa_arena_alloc(self.arena, 20000);
        fa_arena_reset(self.arena);
        CHECK_EQ(arena_stats_of(self.arena).peak_bytes, 20160);
        fa_arena_alloc(self.arena, 16);
        void *last = fa_arena_alloc(self.arena, 30000);
        last = fa_arena_resize(self.arena, last, 30000, 16);
        CHECK_EQ(arena_stats_of(self.arena).peak_bytes, 30016);
        case_close(&self);
    }
}

// Of its tag, too, though the bytes were never seen by a slow path.
static void the_peak_of_a_tag_counts_what_was_rewound(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        fa_tag tag = {1}; // The first that a context registers.
        arena_case self = {0};
        self.context = context_open(NULL);
        CHECK_EQ(fa_tag_register(self.context, "a").id, tag.id);
        self.arena =
            arena_open(self.context, (fa_arena_desc){.tag = tag, .reserve = MIB, .initial = MIB});
        fa_arena_alloc(self.arena, 16);
        fa_mark mark = fa_arena_mark(self.arena);
        void *last = NULL;
        for (int i = 0; i < 10; i++) {
            last = fa_arena_alloc(self.arena, 1008);
        }
        if (backing == ON_RANGE) {
            CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_OK);
        } else if (backing == ON_CHUNKS) {
            CHECK_EQ(fa_arena_resize(self.arena, last, 1008, 16), last);
        } else {
            fa_arena_reset(self.arena);
        }
        CHECK_EQ(tag_stats_of(self.context, tag).peak_bytes, 16 + 10080);
        CHECK_EQ(stats_of(self.context).peak_bytes, 16 + 10080);
        fa_arena_destroy(self.arena);
        context_close(self.context);
    }
}

static void stats_want_somewhere_to_go(void) {
    arena_case self = case_open(ON_RANGE);
    CHECK_EQ(fa_arena_stats(self.arena, NULL), FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "out");
    failed_as(17, FA_ERR_INVALID);
    case_close(&self);
}

// ---- Committing ----

static void a_growing_arena_commits_in_growing_steps(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_context *ctx = context_open(&(fa_config){.backend = &pages.backend});
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){0});
    uint64_t calls = pages.calls;
    while (fa_arena_used(arena) < 16 * MIB) {
        CHECK_NOT_NULL(fa_arena_alloc(arena, 1000));
        size_t committed = arena_stats_of(arena).committed_bytes;
        CHECK_LE(committed, fa_arena_used(arena) + fa_arena_used(arena) / 2 + 131072);
    }
    CHECK_LE(pages.calls - calls, 32);
    // The next fill asks for nothing.
    calls = pages.calls;
    fa_arena_reset(arena);
    while (fa_arena_used(arena) < 16 * MIB) {
        CHECK_NOT_NULL(fa_arena_alloc(arena, 1000));
    }
    CHECK_EQ(pages.calls, calls);
    fa_arena_destroy(arena);
    context_close(ctx);
    fault_backend_end(&pages);
}

// ---- Trimming ----

static void trim_gives_back_what_is_beyond_what_is_kept_and_used(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_context *ctx = context_open(&(fa_config){.backend = &pages.backend});
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){.reserve = 8 * MIB});
    size_t page = pages.backend.page_size;
    unsigned char *kept = fa_arena_alloc(arena, 300000);
    memset(kept, 0x4E, 300000);
    fa_mark mark = fa_arena_mark(arena);
    memset(fa_arena_alloc(arena, 4 * MIB), 1, 4 * MIB);
    CHECK_EQ(fa_arena_rewind(arena, mark), FA_OK);
    size_t rest = pages.committed_bytes - arena_stats_of(arena).committed_bytes;

    const size_t keeps[] = {2 * MIB, 1000001, 300000, 1, 0};
    for (size_t i = 0; i < sizeof(keeps) / sizeof(keeps[0]); i++) {
        check_note("keep %zu", keeps[i]);
        CHECK_EQ(fa_arena_trim(arena, keeps[i]), FA_OK);
        size_t wanted = keeps[i] > 300000 ? keeps[i] : 300000;
        size_t committed = arena_stats_of(arena).committed_bytes;
        CHECK_GE(committed, wanted);
        CHECK_LT(committed, wanted + page);
        CHECK_EQ(pages.committed_bytes, rest + committed);
        CHECK_EQ(stats_of(ctx).committed_bytes, pages.committed_bytes);
        CHECK_EQ(arena_stats_of(arena).reserved_bytes, 8 * MIB);
        CHECK_EQ(fa_arena_used(arena), 300000);
        CHECK(is_filled(kept, 300000, 0x4E));
    }
    // What was given back comes back when it is needed.
    unsigned char *again = fa_arena_alloc(arena, 4 * MIB);
    CHECK_EQ(again, kept + 300000);
    memset(again, 2, 4 * MIB);
    CHECK(is_filled(kept, 300000, 0x4E));
    fa_arena_destroy(arena);
    context_close(ctx);
    fault_backend_end(&pages);
}

static void trim_is_content_with_nothing_to_give(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        CHECK_EQ(fa_arena_trim(self.arena, 0), FA_OK);
        unsigned char *ptr = fa_arena_alloc(self.arena, 20000);
        memset(ptr, 0x5F, 20000);
        fa_arena_stats_result before = arena_stats_of(self.arena);
        CHECK_EQ(fa_arena_trim(self.arena, SIZE_MAX), FA_OK);
        CHECK_EQ(arena_stats_of(self.arena).committed_bytes, before.committed_bytes);
        CHECK_EQ(fa_arena_trim(self.arena, 0), FA_OK);
        CHECK_EQ(fa_arena_used(self.arena), 20000);
        CHECK(is_filled(ptr, 20000, 0x5F));
        unsigned char *next = fa_arena_alloc(self.arena, 20000);
        memset(next, 0x60, 20000);
        CHECK(is_filled(ptr, 20000, 0x5F));
        nothing_failed();
        case_close(&self);
    }
}

static void trim_of_a_chunk_arena_gives_free_chunks_back(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_context *ctx = context_open(&(fa_config){.backend = &pages.backend});
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){.chunk_size = 65536});
    unsigned char *kept = fa_arena_alloc(arena, 1000);
    memset(kept, 0x66, 1000);
    fa_mark mark = fa_arena_mark(arena);
    for (int i = 0; i < 200; i++) {
        CHECK_NOT_NULL(fa_arena_alloc(arena, 16000));
    }
    CHECK_EQ(fa_arena_rewind(arena, mark), FA_OK);
    size_t committed = pages.committed_bytes;
    CHECK_EQ(fa_arena_trim(arena, 0), FA_OK);
    CHECK_LT(pages.committed_bytes + 1 * MIB, committed);
    CHECK(is_filled(kept, 1000, 0x66));
    for (int i = 0; i < 200; i++) {
        void *ptr = fa_arena_alloc(arena, 16000);
        REQUIRE_NOT_NULL(ptr);
        memset(ptr, 1, 16000);
    }
    CHECK(is_filled(kept, 1000, 0x66));
    fa_arena_destroy(arena);
    context_close(ctx);
    fault_backend_end(&pages);
}

static void trim_while_watched_or_limited_keeps_the_limit(void) {
    arena_case self = case_open_desc(ON_RANGE, (fa_arena_desc){.byte_limit = 100000});
    fa_arena_alloc(self.arena, 90000);
    fa_arena_reset(self.arena);
    fa_arena_alloc(self.arena, 16);
    CHECK_EQ(fa_arena_trim(self.arena, 0), FA_OK);
    CHECK_NULL(fa_arena_alloc(self.arena, 99985));
    refused_as(3, FA_ERR_LIMIT, 99985, 100000);
    CHECK_NOT_NULL(fa_arena_alloc(self.arena, 99984));
    CHECK_EQ(fa_arena_used(self.arena), 100000);
    case_close(&self);
}

TEST_SUITE(arena_memory, TEST(a_request_above_the_reservation_gets_a_block_of_its_own),
           TEST(a_block_of_its_own_goes_back_with_the_rest),
           TEST(a_frame_gives_its_large_block_back_when_it_ends),
           TEST(a_full_reservation_is_continued_in_further_blocks), TEST(chunks_hold_every_size),
           TEST(waste_is_what_was_left_behind), TEST(the_peak_is_the_most_ever_in_use),
           TEST(the_peak_of_a_tag_counts_what_was_rewound), TEST(stats_want_somewhere_to_go),
           TEST(a_growing_arena_commits_in_growing_steps),
           TEST(trim_gives_back_what_is_beyond_what_is_kept_and_used),
           TEST(trim_is_content_with_nothing_to_give),
           TEST(trim_of_a_chunk_arena_gives_free_chunks_back),
           TEST(trim_while_watched_or_limited_keeps_the_limit));

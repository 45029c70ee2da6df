// The one interface in front of heap, arena and pool.
#include "core_fixture.h"

#include <framealloc/allocator.h>
#include <framealloc/heap.h>

// What any allocator must do, whatever is behind it.
static void check_allocator(fa_allocator allocator, size_t size, size_t align) {
    check_note("size %zu at %zu", size, align);
    unsigned char *ptr = allocator.alloc(allocator.self, size, align);
    REQUIRE_NOT_NULL(ptr);
    CHECK_EQ((uintptr_t)ptr % (align == 0 ? 16 : align), 0);
    memset(ptr, 0x3C, size);
    size_t usable = allocator.usable_size(allocator.self, ptr);
    CHECK(usable == 0 || usable >= size);
    unsigned char *longer = allocator.resize(allocator.self, ptr, size, 3 * size + 100, align);
    REQUIRE_NOT_NULL(longer);
    CHECK_EQ((uintptr_t)longer % (align == 0 ? 16 : align), 0);
    for (size_t i = 0; i < size; i++) {
        REQUIRE_EQ(longer[i], 0x3C);
    }
    memset(longer, 0x3C, 3 * size + 100);
    unsigned char *shorter =
        allocator.resize(allocator.self, longer, 3 * size + 100, size / 2 + 1, align);
    REQUIRE_NOT_NULL(shorter);
    for (size_t i = 0; i < size / 2 + 1; i++) {
        REQUIRE_EQ(shorter[i], 0x3C);
    }
    allocator.free(allocator.self, shorter, size / 2 + 1);
    void *made = allocator.resize(allocator.self, NULL, 0, 50, align);
    CHECK_NOT_NULL(made);
    allocator.free(allocator.self, made, 0);
    allocator.free(allocator.self, NULL, 0);
    CHECK(nothing_failed());
}

static void check_sizes(fa_allocator allocator, size_t largest, size_t align_max) {
    for (size_t size = 1; size <= largest; size = size * 3 + 7) {
        check_allocator(allocator, size, 0);
        for (size_t align = 1; align <= align_max; align *= 4) {
            check_allocator(allocator, size, align);
        }
    }
}

static void the_heap_behind_it(void) {
    fa_context *ctx = context_open(NULL);
    check_sizes(fa_heap_allocator(ctx, FA_TAG_ROOT), 200000, FA_ALIGNMENT_MAX);
    CHECK_EQ(stats_of(ctx).heap_bytes, 0);
    context_close(ctx);
}

static void an_arena_behind_it(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *arena = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, NULL, &arena), FA_OK);
    check_sizes(fa_arena_allocator(arena), 200000, 4096);
    fa_allocator allocator = fa_arena_allocator(arena);
    size_t used = fa_arena_used(arena);
    char *last = allocator.alloc(allocator.self, 100, 16);
    CHECK_EQ(allocator.resize(allocator.self, last, 100, 1000, 16), last); // Grows in place.
    allocator.free(allocator.self, last, 1000);
    CHECK_GT(fa_arena_used(arena), used);
    CHECK_EQ(allocator.usable_size(allocator.self, last), 0);
    fa_arena_destroy(arena);
    context_close(ctx);
}

static void its_tag_is_charged_whatever_is_current(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag own = fa_tag_register(ctx, "library");
    fa_tag other = fa_tag_register(ctx, "game");
    fa_allocator allocator = fa_heap_allocator(ctx, own);
    CHECK_EQ(fa_heap_allocator(ctx, own).self, allocator.self);
    CHECK_EQ(fa_tag_push(ctx, other), FA_OK);
    void *ptr = allocator.alloc(allocator.self, 100, 16);
    CHECK_EQ(fa_heap_tag(ctx, ptr).id, own.id);
    ptr = allocator.resize(allocator.self, ptr, 100, 100000, 16);
    CHECK_EQ(fa_heap_tag(ctx, ptr).id, own.id);
    CHECK_EQ(tag_stats_of(ctx, own).current_bytes, fa_heap_usable_size(ctx, ptr));
    CHECK_EQ(tag_stats_of(ctx, other).current_bytes, 0);
    allocator.free(allocator.self, ptr, 0);
    ptr = fa_heap_alloc(ctx, 10); // What the heap hands out it takes back.
    CHECK_EQ(fa_heap_tag(ctx, ptr).id, other.id);
    allocator.free(allocator.self, ptr, 10);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    CHECK_EQ(stats_of(ctx).heap_bytes, 0);
    context_close(ctx);
}

static void resizing_may_ask_for_more_alignment(void) {
    fa_context *ctx = context_open(NULL);
    fa_allocator allocator = fa_heap_allocator(ctx, FA_TAG_ROOT);
    for (size_t align = 16; align <= 4096; align *= 2) {
        char *ptrs[8];
        for (size_t i = 0; i < 8; i++) {
            ptrs[i] = allocator.alloc(allocator.self, 48, 16);
            memset(ptrs[i], (int)i, 48);
            ptrs[i] = allocator.resize(allocator.self, ptrs[i], 48, 48, align);
            REQUIRE_NOT_NULL(ptrs[i]);
            CHECK_EQ((uintptr_t)ptrs[i] % align, 0);
            CHECK_EQ(ptrs[i][47], i);
        }
        for (size_t i = 0; i < 8; i++) {
            allocator.free(allocator.self, ptrs[i], 48);
        }
    }
    context_close(ctx);
}

static void wrong_requests_are_refused(void) {
    fa_context *ctx = context_open(NULL);
    fa_allocator allocator = fa_heap_allocator(ctx, FA_TAG_ROOT);
    volatile size_t huge = SIZE_MAX;
    CHECK_NULL(allocator.alloc(allocator.self, 100, 3));
    CHECK(failed_as(18, FA_ERR_INVALID));
    CHECK_NULL(allocator.alloc(allocator.self, 100, 2 * FA_ALIGNMENT_MAX));
    CHECK(failed_as(18, FA_ERR_INVALID));
    CHECK_NULL(allocator.alloc(allocator.self, huge, 16));
    CHECK(failed_as(13, FA_ERR_OVERFLOW));
    void *ptr = allocator.alloc(allocator.self, 100, 16);
    CHECK_NULL(allocator.resize(allocator.self, ptr, 100, 100, 3));
    CHECK(failed_as(18, FA_ERR_INVALID));
    allocator.free(allocator.self, ptr, 1000); // Told, and freed.
    CHECK(failed_as(404, FA_ERR_INVALID));
    CHECK_EQ(stats_of(ctx).heap_bytes, 0);
    context_close(ctx);
}

static void an_unknown_tag_gives_one_that_refuses(void) {
    fa_context *ctx = context_open(NULL);
    fa_allocator none = fa_heap_allocator(ctx, (fa_tag){77});
    CHECK(failed_as(802, FA_ERR_INVALID));
    CHECK_NULL(none.self);
    CHECK_NULL(none.alloc(none.self, 10, 16));
    CHECK_NULL(none.resize(none.self, NULL, 0, 10, 16));
    none.free(none.self, NULL, 0);
    CHECK_EQ(none.usable_size(none.self, NULL), 0);
    context_close(ctx);
}

TEST_SUITE(allocator, TEST(the_heap_behind_it), TEST(an_arena_behind_it),
           TEST(its_tag_is_charged_whatever_is_current), TEST(resizing_may_ask_for_more_alignment),
           TEST(wrong_requests_are_refused), TEST(an_unknown_tag_gives_one_that_refuses));

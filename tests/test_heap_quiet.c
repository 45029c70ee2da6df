// After warm-up the heap makes no system call and takes no page fault.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define NOT_COUNTED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define NOT_COUNTED 1
#endif

#include "harness/check.h"

#if defined(__linux__) && !defined(NOT_COUNTED) && defined(FA_HAVE_COMMON)

#include <common/syscall_count.h>
#include <framealloc/framealloc.h>
#include <string.h>

enum { SLOTS = 4000 };

typedef struct load {
    size_t size_min;
    size_t size_max;
    size_t steps;
    int warm; // Passes before the counted ones.
    bool has_tags;
    bool detaches; // After each pass: what a thread keeps decides where its next blocks lie.
} load;

// The same sequence of requests over and over: what one pass needs, the next has.
static bool pass(fa_context *ctx, const load *what, const fa_tag *tags) {
    static char *blocks[SLOTS];
    check_rng rng = check_rng_make(7);
    for (size_t i = 0; i < what->steps; i++) {
        size_t at = check_rng_below(&rng, SLOTS);
        size_t size = what->size_min + check_rng_size(&rng, what->size_max);
        if (what->has_tags && fa_tag_push(ctx, tags[i % 4]) != FA_OK) {
            return false;
        }
        if (blocks[at] == NULL || i % 5 == 0) {
            char *ptr = fa_heap_realloc(ctx, blocks[at], size);
            if (ptr == NULL) {
                return false;
            }
            blocks[at] = memset(ptr, 1, size);
        } else {
            fa_heap_free(ctx, blocks[at]);
            blocks[at] = NULL;
        }
        if (what->has_tags && fa_tag_pop(ctx) != FA_OK) {
            return false;
        }
    }
    for (size_t i = 0; i < SLOTS; i++) {
        fa_heap_free(ctx, blocks[i]);
        blocks[i] = NULL;
    }
    return !what->detaches || fa_thread_detach(ctx) == FA_OK;
}

static int play(void *arg) {
    const load *what = arg;
    fa_context *ctx = NULL;
    if (fa_context_create(NULL, &ctx) != FA_OK) {
        return 1;
    }
    fa_tag tags[4] = {fa_tag_register(ctx, "a"), fa_tag_register(ctx, "b"),
                      fa_tag_register(ctx, "c"), fa_tag_register(ctx, "d")};
    bool worked = true;
    for (int i = 0; i < what->warm; i++) {
        worked = worked && pass(ctx, what, tags);
    }
    syscall_count_begin(0);
    for (int i = 0; i < 4; i++) {
        worked = worked && pass(ctx, what, tags);
    }
    syscall_count_end(0);
    return worked && fa_context_destroy(ctx) == FA_OK ? 0 : 2;
}

static void check_quiet(load what) {
    static syscall_count counts;
    syscall_count_run(play, &what, &counts);
    REQUIRE(counts.started);
    CHECK_EQ(counts.exit_code, 0);
    CHECK_EQ(counts.regions[0].minor_faults, 0);
    if (!counts.counted) {
        SKIP(counts.reason);
    }
    CHECK_EQ(counts.regions[0].calls, 0);
}

static void small_blocks_are_quiet(void) {
    check_quiet((load){.size_max = 3000, .steps = 100000, .warm = 4});
}

static void small_blocks_of_changing_tags_are_quiet(void) {
    check_quiet((load){.size_max = 3000, .steps = 100000, .warm = 4, .has_tags = true});
}

static void large_blocks_are_quiet(void) {
    check_quiet(
        (load){.size_min = 70000, .size_max = 500000, .steps = 20000, .warm = 4, .detaches = true});
}

TEST_SUITE(heap_quiet, TEST(small_blocks_are_quiet), TEST(small_blocks_of_changing_tags_are_quiet),
           TEST(large_blocks_are_quiet));

#else

static void the_heap_is_quiet(void) {
    SKIP("system calls are counted on Linux only, without sanitizers");
}

TEST_SUITE(heap_quiet, TEST(the_heap_is_quiet));

#endif

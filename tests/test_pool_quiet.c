// After fa_pool_reserve(), or after warm-up, pools, handles and the heap make no system call and
// touch no page for the first time.
//
// As in test_quiet.c: the work runs in a child process that is traced. Controls show that what is
// not reserved, or was given back, is seen to fault.
#define _GNU_SOURCE 1 // For what only Linux has.

#include "harness/check.h"

#include <framealloc/framealloc.h>
#include <framealloc/heap.h>
#include <framealloc/pool.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#endif

#if defined(__linux__) && !defined(IS_SANITIZED)

#include <common/syscall_count.h>
#include <link.h>
#include <string.h>

enum {
    OBJECTS = 20000,
    OBJECT_BYTES = 64,
    BLOCKS = 5000,
    ROUNDS = 6,
    WARM_ROUNDS = 12,
    STEPS = 40000
};

// How a function of the child ended, as its exit status.
enum { ENDED_WELL = 0, SETUP_FAILED = 1, WORK_FAILED = 2, END_FAILED = 3 };

typedef struct quiet_pool {
    fa_pool_desc desc;
    bool is_reserved; // Otherwise it is warmed up by the same work.
    bool is_trimmed;  // After that: the control.
    bool has_batches;
} quiet_pool;

typedef struct quiet_heap {
    bool is_mixed;   // Blocks of several pages too, and large ones.
    bool is_trimmed; // After the warm-up: the control.
} quiet_heap;

typedef struct world {
    fa_context *context;
    fa_pool *pool;
    fa_tag tag;
    void *objects[OBJECTS];
    size_t sizes[BLOCKS];
    uint64_t random;
} world;

static world w;

static uint32_t next_random(void) {
    w.random = w.random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(w.random >> 33);
}

static bool world_setup(const fa_config *config) {
    memset(&w, 1, sizeof(w)); // Its pages must not be new later.
    memset(&w, 0, sizeof(w));
    w.random = 7;
    if (fa_context_create(config, &w.context) < 0) {
        return false;
    }
    w.tag = fa_tag_register(w.context, "game/objects");
    fa_budget budget = {.soft = (size_t)60 << 20, .hard = (size_t)64 << 20};
    return fa_budget_set(w.context, w.tag, &budget) == FA_OK &&
           fa_tag_push(w.context, w.tag) == FA_OK;
}

static bool frame_passes(void) {
    fa_arena *frame = fa_frame_begin(w.context);
    bool worked = frame != NULL && fa_arena_alloc(frame, 100) != NULL;
    fa_frame_end(frame);
    return worked;
}

// ---- Pools -------------------------------------------------------------------------------------

static void shuffle_objects(void) {
    for (uint32_t i = OBJECTS; i > 1; i--) {
        uint32_t other = next_random() % i;
        void *kept = w.objects[i - 1];
        w.objects[i - 1] = w.objects[other];
        w.objects[other] = kept;
    }
}

static bool take_all(const quiet_pool *what) {
    size_t from = 0;
    if (what->has_batches) {
        from = fa_pool_alloc_batch(w.pool, w.objects, OBJECTS / 2);
    }
    for (size_t i = from; i < OBJECTS; i++) {
        w.objects[i] = fa_pool_alloc(w.pool);
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        if (w.objects[i] == NULL) {
            return false;
        }
        memset(w.objects[i], 1, OBJECT_BYTES);
    }
    return true;
}

static bool use_handles(void) {
    for (size_t i = 0; i < OBJECTS; i += 7) {
        fa_handle handle = fa_pool_handle(w.pool, w.objects[i]);
        if (fa_pool_resolve(w.pool, handle) != w.objects[i]) {
            return false;
        }
    }
    return true;
}

static void give_all(const quiet_pool *what) {
    size_t from = 0;
    shuffle_objects();
    if (what->has_batches) {
        from = OBJECTS / 2;
        fa_pool_free_batch(w.pool, w.objects, from);
    }
    for (size_t i = from; i < OBJECTS; i++) {
        fa_pool_free(w.pool, w.objects[i]);
    }
}

// All of them are live once a round; then some come and go; and frames end now and then.
static bool pool_round(const quiet_pool *what) {
    if (!take_all(what) || (what->desc.handles && !use_handles())) {
        return false;
    }
    for (size_t i = 0; i < STEPS; i++) {
        void **object = &w.objects[next_random() % OBJECTS];
        fa_pool_free(w.pool, *object);
        *object = fa_pool_alloc(w.pool);
        if (*object == NULL) {
            return false;
        }
        if (i % 100 == 0 && !frame_passes()) {
            return false;
        }
    }
    give_all(what);
    return true;
}

// The data of one loaded object: every page of it is written to, but for what the loader has made
// read-only.
static int touch_data(struct dl_phdr_info *object, size_t size, void *unused) {
    (void)size;
    (void)unused;
    uintptr_t fixed = 0;
    uintptr_t fixed_end = 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type == PT_GNU_RELRO) {
            fixed = object->dlpi_addr + part->p_vaddr;
            fixed_end = (fixed + part->p_memsz) & ~(uintptr_t)4095;
        }
    }
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || (part->p_flags & PF_W) == 0) {
            continue;
        }
        uintptr_t start = object->dlpi_addr + part->p_vaddr;
        for (uintptr_t at = start; at < start + part->p_memsz;
             at = (at & ~(uintptr_t)4095) + 4096) {
            if (at < fixed || at >= fixed_end) {
                volatile char *byte = (volatile char *)at;
                *byte = *byte;
            }
        }
    }
    return 0;
}

// The program's own stack and data are not to fault: neither when a call goes deeper than any
// before it, nor at the first write to a page that the process still shares with its parent.
static __attribute__((noinline)) void touch_own_pages(void) {
    volatile char deep[64 * 1024];
    for (size_t i = 0; i < sizeof(deep); i += 1024) {
        deep[i] = 0;
    }
    dl_iterate_phdr(touch_data, NULL);
}

static int pool_work(void *arg) {
    const quiet_pool *what = arg;
    if (!world_setup(NULL) || fa_pool_create(w.context, &what->desc, &w.pool) < 0 ||
        !frame_passes()) {
        return SETUP_FAILED;
    }
    // A thread's first object and frame make what the thread keeps.
    void *first = fa_pool_alloc(w.pool);
    fa_pool_free(w.pool, first);
    bool ready = what->is_reserved ? fa_pool_reserve(w.pool, OBJECTS) == FA_OK
                                   : pool_round(what) && pool_round(what);
    if (!ready) {
        return SETUP_FAILED;
    }
    for (int i = 0; what->is_reserved && i < 1000; i++) { // Reserved memory stays.
        if (!frame_passes()) {
            return SETUP_FAILED;
        }
    }
    if (what->is_trimmed) {
        fa_context_trim(w.context, 0);
    }
    bool worked = true;
    touch_own_pages();
    syscall_count_begin(0);
    for (int i = 0; i < ROUNDS && worked; i++) {
        worked = pool_round(what);
    }
    syscall_count_end(0);
    if (!worked) {
        return WORK_FAILED;
    }
    fa_tag_pop(w.context);
    return fa_pool_destroy(w.pool) == FA_OK && fa_context_destroy(w.context) == FA_OK ? ENDED_WELL
                                                                                      : END_FAILED;
}

// ---- The heap ----------------------------------------------------------------------------------

// Mostly small, some of several pages, now and then a large one.
static size_t random_size(const quiet_heap *what) {
    uint32_t kind = next_random() % 1000;
    if (kind < 900 || !what->is_mixed) {
        return 1 + next_random() % 1024;
    }
    return kind < 995 ? 1 + next_random() % 20000 : 1 + next_random() % 200000;
}

static bool replace_block(const quiet_heap *what, size_t at) {
    fa_heap_free(w.context, w.objects[at]);
    w.sizes[at] = random_size(what);
    w.objects[at] = fa_heap_alloc(w.context, w.sizes[at]);
    if (w.objects[at] == NULL) {
        return false;
    }
    memset(w.objects[at], 1, w.sizes[at]);
    return true;
}

static bool grow_block(size_t at) {
    size_t size = w.sizes[at] + next_random() % 100;
    void *grown = fa_heap_realloc(w.context, w.objects[at], size);
    if (grown == NULL) {
        return false;
    }
    w.objects[at] = grown;
    w.sizes[at] = size;
    memset(grown, 1, size);
    return true;
}

// The same sizes live and die in every round, in the same order, and all are freed at its end. A
// round has 20 frames: what is needed once in a round is not given back meanwhile.
static bool heap_round(const quiet_heap *what) {
    w.random = 7;
    for (size_t i = 0; i < STEPS; i++) {
        size_t at = next_random() % BLOCKS;
        bool worked =
            i % 10 == 0 && w.objects[at] != NULL ? grow_block(at) : replace_block(what, at);
        if (!worked || (i % 2000 == 0 && !frame_passes())) {
            return false;
        }
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        fa_heap_free(w.context, w.objects[i]);
        w.objects[i] = NULL;
    }
    return true;
}

static int heap_work(void *arg) {
    const quiet_heap *what = arg;
    if (!world_setup(NULL)) {
        return SETUP_FAILED;
    }
    bool worked = true;
    for (int i = 0; i < WARM_ROUNDS && worked; i++) {
        worked = heap_round(what);
    }
    if (what->is_trimmed) {
        fa_context_trim(w.context, 0);
    }
    touch_own_pages();
    syscall_count_begin(0);
    for (int i = 0; i < ROUNDS && worked; i++) {
        worked = heap_round(what);
    }
    syscall_count_end(0);
    if (!worked) {
        return WORK_FAILED;
    }
    fa_tag_pop(w.context);
    return fa_context_destroy(w.context) == FA_OK ? ENDED_WELL : END_FAILED;
}

// ---- Counting ----------------------------------------------------------------------------------

static void count_work(int (*work)(void *), void *arg, syscall_count *out) {
    syscall_count_run(work, arg, out);
    REQUIRE(out->started);
    REQUIRE_EQ(out->signal, 0);
    REQUIRE_EQ(out->exit_code, ENDED_WELL);
    REQUIRE_EQ(out->regions[0].entered, 1);
}

static void check_quiet(int (*work)(void *), void *arg, uint64_t faults) {
    static syscall_count counts;
    count_work(work, arg, &counts);
    CHECK_LE(counts.regions[0].minor_faults, faults);
    CHECK_EQ(counts.regions[0].major_faults, 0);
    if (!counts.counted) {
        SKIP(counts.reason);
    }
    char calls[200];
    syscall_describe(&counts.regions[0], calls, sizeof(calls));
    CHECK_STR_EQ(calls, "none");
    CHECK_EQ(counts.regions[0].calls, 0);
}

// ---- Tests -------------------------------------------------------------------------------------

static void reserved_pool_is_quiet(void) {
    quiet_pool what = {.desc = {.size = OBJECT_BYTES}, .is_reserved = true};
    check_quiet(pool_work, &what, 0);
}

static void reserved_pool_with_everything_is_quiet(void) {
    quiet_pool what = {.desc = {.size = OBJECT_BYTES,
                                .handles = true,
                                .object_tags = true,
                                .zero = true,
                                .max_count = OBJECTS},
                       .is_reserved = true,
                       .has_batches = true};
    check_quiet(pool_work, &what, 0);
}

static void warm_pool_is_quiet(void) {
    quiet_pool what = {.desc = {.size = OBJECT_BYTES, .handles = true}, .has_batches = true};
    check_quiet(pool_work, &what, 0);
}

static void warm_heap_is_quiet(void) {
    quiet_heap what = {.is_mixed = false};
    check_quiet(heap_work, &what, 0);
}

// A block of several pages may come to lie where nothing has been yet, even if there is as much
// elsewhere: a few pages in a quarter of a million operations.
static void warm_heap_of_all_sizes_is_quiet(void) {
    quiet_heap what = {.is_mixed = true};
    check_quiet(heap_work, &what, 16);
}

// ---- Controls ----------------------------------------------------------------------------------

static void control_trimmed_pool_is_seen_to_fault(void) {
    static syscall_count counts;
    quiet_pool what = {.desc = {.size = OBJECT_BYTES}, .is_trimmed = true};
    count_work(pool_work, &what, &counts);
    CHECK_GT(counts.regions[0].minor_faults, 0);
}

static void control_trimmed_heap_is_seen_to_fault(void) {
    static syscall_count counts;
    quiet_heap what = {.is_trimmed = true};
    count_work(heap_work, &what, &counts);
    CHECK_GT(counts.regions[0].minor_faults, 0);
}

TEST_SUITE(pool_quiet, TEST(reserved_pool_is_quiet), TEST(reserved_pool_with_everything_is_quiet),
           TEST(warm_pool_is_quiet), TEST(warm_heap_is_quiet),
           TEST(warm_heap_of_all_sizes_is_quiet), TEST(control_trimmed_pool_is_seen_to_fault),
           TEST(control_trimmed_heap_is_seen_to_fault));

#else

static void pools_are_quiet(void) {
    SKIP("system calls are counted on Linux only, without sanitizers");
}

TEST_SUITE(pool_quiet, TEST(pools_are_quiet));

#endif

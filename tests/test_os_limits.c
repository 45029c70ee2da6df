// The contract of src/os/os.h when the system refuses: under resource limits and without a mapping
// left. Linux lets a test arrange both; the refusals run in child processes.
#if !defined(_WIN32) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE // mincore() in strict C.
#endif

#include "harness/check.h"

#include "../src/os/os.h"

#if defined(__linux__)

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#if defined(__SANITIZE_THREAD__)
#define HAS_THREAD_SANITIZER 1
#elif defined(__has_feature)
#define HAS_THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define HAS_THREAD_SANITIZER 0
#endif

#define MIB ((size_t)1 << 20)

static unsigned char *reserve_pages(size_t pages) {
    unsigned char *ptr = fa__os_reserve(pages * fa__os_page_size(), fa__os_page_size());
    REQUIRE_NOT_NULL(ptr);
    return ptr;
}

static bool is_filled_with(const unsigned char *ptr, size_t size, unsigned char value) {
    for (size_t i = 0; i < size; i++) {
        if (ptr[i] != value) {
            return false;
        }
    }
    return true;
}

static size_t resident_pages(unsigned char *ptr, size_t pages) {
    static unsigned char resident[8192];
    REQUIRE_LE(pages, sizeof(resident));
    REQUIRE_EQ(mincore(ptr, pages * fa__os_page_size(), resident), 0);
    size_t count = 0;
    for (size_t i = 0; i < pages; i++) {
        count += resident[i] & 1;
    }
    return count;
}

static bool is_mapped(unsigned char *ptr) {
    unsigned char resident;
    return mincore(ptr, fa__os_page_size(), &resident) == 0;
}

static size_t address_space_bytes(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL) {
        SKIP("no /proc here");
    }
    size_t pages = 0;
    const int fields = fscanf(file, "%zu", &pages);
    fclose(file);
    REQUIRE_EQ(fields, 1);
    return pages * fa__os_page_size();
}

// ---- Resource limits ---------------------------------------------------------------------------

static void limit_data(rlim_t bytes) {
    struct rlimit limit;
    REQUIRE_EQ(getrlimit(RLIMIT_DATA, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    REQUIRE_EQ(setrlimit(RLIMIT_DATA, &limit), 0);
}

static void limit_address_space(rlim_t bytes) {
    struct rlimit limit;
    REQUIRE_EQ(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &limit), 0);
}

// In a child: a commit that the system refuses, and one after the limit is gone.
static void commit_under_a_limit(void *unused) {
    (void)unused;
    const size_t page = fa__os_page_size();
    const size_t pages = 4096;
    unsigned char *ptr = reserve_pages(pages);
    REQUIRE(fa__os_commit(ptr, page));
    memset(ptr, 0x42, page);
    limit_data((rlim_t)page); // Not 0: Linux takes that for "no limit".
    CHECK(!fa__os_commit(ptr + page, (pages - 1) * page));
    CHECK(!fa__os_commit(ptr, pages * page));
    CHECK(is_filled_with(ptr, page, 0x42));
    CHECK_EQ(resident_pages(ptr, pages), 1);
    limit_data(RLIM_INFINITY);
    REQUIRE(fa__os_commit(ptr + page, (pages - 1) * page));
    CHECK(is_filled_with(ptr, page, 0x42));
    CHECK(is_filled_with(ptr + page, (pages - 1) * page, 0));
    fa__os_release(ptr, pages * page);
}

static void reserve_under_a_limit(void *unused) {
    (void)unused;
    const size_t page = fa__os_page_size();
    const size_t before = address_space_bytes();
    limit_address_space((rlim_t)(before + 16 * MIB));
    CHECK_NULL(fa__os_reserve(32 * MIB, page));
    CHECK_NULL(fa__os_reserve(page, 64 * MIB)); // The surplus does not fit.
    CHECK_LE(address_space_bytes(), before + MIB);
    limit_address_space(RLIM_INFINITY);
    CHECK_NOT_NULL(fa__os_reserve(32 * MIB, page));
}

static void check_child_succeeds(void (*run)(void *arg)) {
    static check_child child;
    check_child_run(run, NULL, &child);
    if (!CHECK(child.exited && child.status == 0)) {
        FAIL("the child wrote: %s", child.text);
    }
}

static void a_refused_commit_changes_nothing(void) {
    check_child_succeeds(commit_under_a_limit);
}

static void a_refused_reservation_leaves_nothing_behind(void) {
    check_child_succeeds(reserve_under_a_limit);
}

// ---- A process that has used up its mappings ---------------------------------------------------

static size_t mappings_max(void) {
    FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
    size_t count = 0;
    if (file != NULL) {
        if (fscanf(file, "%zu", &count) != 1) {
            count = 0;
        }
        fclose(file);
    }
    return count;
}

// Commits every second page of a new reservation until the system has no mapping left. The first
// page that was refused goes to `refused`.
static void use_up_mappings(unsigned char **refused) {
    const size_t page = fa__os_page_size();
    const size_t pages = 2 * mappings_max();
    unsigned char *ptr = reserve_pages(pages);
    size_t at = 1;
    while (at < pages && fa__os_commit(ptr + at * page, page)) {
        at += 2;
    }
    REQUIRE_LT(at, pages);
    *refused = ptr + at * page;
}

static void decommit_without_mappings(void *unused) {
    (void)unused;
    const size_t page = fa__os_page_size();
    unsigned char *block = reserve_pages(3);
    REQUIRE(fa__os_commit(block, 3 * page));
    memset(block, 0x99, 3 * page);
    unsigned char *refused;
    use_up_mappings(&refused);
    CHECK(!fa__os_commit(refused, page));
    fa__os_decommit(block + page, page); // Would need two more mappings.
    CHECK_EQ(resident_pages(block, 3), 2);
    REQUIRE(fa__os_commit(block + page, page));
    CHECK(is_filled_with(block + page, page, 0));
    CHECK(is_filled_with(block, page, 0x99));
    CHECK(is_filled_with(block + 2 * page, page, 0x99));
}

// Three reservations of `size` bytes without a gap between them, the highest first.
static void reserve_neighbours(unsigned char *parts[3], size_t size) {
    size_t in_a_row = 0;
    for (int i = 0; i < 256 && in_a_row < 3; i++) {
        unsigned char *ptr = fa__os_reserve(size, fa__os_page_size());
        REQUIRE_NOT_NULL(ptr);
        in_a_row = in_a_row > 0 && ptr + size == parts[in_a_row - 1] ? in_a_row + 1 : 1;
        parts[in_a_row - 1] = ptr;
    }
    REQUIRE_EQ(in_a_row, 3);
}

static void release_without_mappings(void *unused) {
    (void)unused;
    const size_t size = 4 * fa__os_page_size();
    unsigned char *parts[3];
    reserve_neighbours(parts, size);
    for (size_t i = 0; i < 3; i++) { // The system keeps them as one mapping now.
        REQUIRE(fa__os_commit(parts[i], size));
        memset(parts[i], 1, size);
    }
    unsigned char *refused;
    use_up_mappings(&refused);
    fa__os_release(parts[1], size); // Would split it.
    CHECK_EQ(is_mapped(parts[1]) ? resident_pages(parts[1], 4) : 0, 0);
    CHECK_EQ(resident_pages(parts[0], 4), 4);
    CHECK_EQ(resident_pages(parts[2], 4), 4);
}

// An aligned reservation takes too much at first, here 1 MiB, and cuts off what it does not need.
// It finds a hole of just that size. On one side is a neighbour that the system makes one mapping
// with it, so that cutting off that end would split a mapping.
static void reserve_between_neighbours(bool merges_below) {
    const size_t page = fa__os_page_size();
    unsigned char *parts[3];
    reserve_neighbours(parts, MIB);
    unsigned char *other_side = merges_below ? parts[0] : parts[2] + MIB - page;
    REQUIRE(fa__os_commit(other_side, page));
    unsigned char *refused;
    use_up_mappings(&refused);
    fa__os_release(parts[1], MIB);
    const size_t before = address_space_bytes();
    for (int i = 0; i < 8; i++) {
        unsigned char *ptr = fa__os_reserve(page, MIB);
        CHECK_EQ((uintptr_t)ptr % MIB, 0); // NULL, or as promised.
    }
    CHECK_LT(address_space_bytes(), before + MIB / 2);
}

static void reserve_above_a_neighbour(void *unused) {
    (void)unused;
    reserve_between_neighbours(true);
}

static void reserve_below_a_neighbour(void *unused) {
    (void)unused;
    reserve_between_neighbours(false);
}

static void without_mappings(void (*run)(void *arg)) {
    if (HAS_THREAD_SANITIZER) {
        SKIP("the thread sanitizer needs mappings of its own");
    }
    const size_t count = mappings_max();
    if (count == 0 || count > 300000) {
        SKIP("the number of mappings is not limited enough here");
    }
    check_child_succeeds(run);
}

static void decommit_needs_no_mapping_to_drop_memory(void) {
    without_mappings(decommit_without_mappings);
}

static void release_needs_no_mapping_to_drop_memory(void) {
    without_mappings(release_without_mappings);
}

static void reserve_loses_nothing_without_mappings(void) {
    without_mappings(reserve_above_a_neighbour);
    without_mappings(reserve_below_a_neighbour);
}

TEST_SUITE(os_limits, TEST(a_refused_commit_changes_nothing),
           TEST(a_refused_reservation_leaves_nothing_behind),
           TEST(decommit_needs_no_mapping_to_drop_memory),
           TEST(release_needs_no_mapping_to_drop_memory),
           TEST(reserve_loses_nothing_without_mappings));

#else

static void refusals_are_harmless(void) {
    SKIP("refusals can be arranged on Linux only");
}

TEST_SUITE(os_limits, TEST(refusals_are_harmless));

#endif

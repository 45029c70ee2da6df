// The contract of src/os/os.h about memory, line by line, and the backend that stands on it.
#if !defined(_WIN32) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE // mincore() and mlock() in strict C.
#endif

#include "harness/check.h"

#include "../src/os/os.h"
#include <framealloc/backend.h>

#include <stdio.h>
#include <string.h>

#if defined(__linux__)
#include <sys/mman.h>
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

// ---- Pages -------------------------------------------------------------------------------------

static void page_size_is_a_constant_power_of_two(void) {
    const size_t page = fa__os_page_size();
    CHECK_GE(page, 4096);
    CHECK_EQ(page & (page - 1), 0);
    CHECK_EQ(fa__os_page_size(), page);
}

static void a_reservation_starts_at_its_alignment(void) {
    const size_t page = fa__os_page_size();
    for (size_t align = page; align <= 256 * MIB && align <= SIZE_MAX / 8; align *= 2) {
        for (size_t pages = 1; pages <= 81; pages *= 9) {
            check_note("%zu pages at a multiple of %zu", pages, align);
            unsigned char *ptr = fa__os_reserve(pages * page, align);
            REQUIRE_NOT_NULL(ptr);
            CHECK_EQ((uintptr_t)ptr % align, 0);
            REQUIRE(fa__os_commit(ptr, pages * page));
            memset(ptr, 0x5a, pages * page); // All of it is there.
            fa__os_release(ptr, pages * page);
        }
    }
}

static void reservations_do_not_overlap(void) {
    enum { COUNT = 64 };
    const size_t size = 4 * fa__os_page_size();
    unsigned char *ptrs[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        ptrs[i] = fa__os_reserve(size, i % 2 == 0 ? fa__os_page_size() : MIB);
        REQUIRE_NOT_NULL(ptrs[i]);
        REQUIRE(fa__os_commit(ptrs[i], size));
        memset(ptrs[i], (int)i, size);
    }
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(is_filled_with(ptrs[i], size, (unsigned char)i));
        fa__os_release(ptrs[i], size);
    }
}

static void committed_memory_is_zeroed_and_writable(void) {
    const size_t size = 16 * fa__os_page_size();
    unsigned char *ptr = reserve_pages(16);
    REQUIRE(fa__os_commit(ptr, size));
    CHECK(is_filled_with(ptr, size, 0));
    memset(ptr, 0xa5, size);
    CHECK(is_filled_with(ptr, size, 0xa5));
    fa__os_release(ptr, size);
}

static void committing_again_keeps_what_is_there(void) {
    const size_t page = fa__os_page_size();
    unsigned char *ptr = reserve_pages(4);
    REQUIRE(fa__os_commit(ptr, 2 * page));
    memset(ptr, 0x11, 2 * page);
    REQUIRE(fa__os_commit(ptr, 4 * page));
    CHECK(is_filled_with(ptr, 2 * page, 0x11));
    CHECK(is_filled_with(ptr + 2 * page, 2 * page, 0));
    fa__os_release(ptr, 4 * page);
}

static void decommitted_memory_reads_zero_after_the_next_commit(void) {
    const size_t page = fa__os_page_size();
    unsigned char *ptr = reserve_pages(8);
    REQUIRE(fa__os_commit(ptr, 8 * page));
    for (unsigned char round = 1; round <= 3; round++) {
        memset(ptr, round, 8 * page);
        fa__os_decommit(ptr + 2 * page, 3 * page);
        CHECK(is_filled_with(ptr, 2 * page, round));
        CHECK(is_filled_with(ptr + 5 * page, 3 * page, round));
        REQUIRE(fa__os_commit(ptr + 2 * page, 3 * page));
        CHECK(is_filled_with(ptr + 2 * page, 3 * page, 0));
    }
    fa__os_release(ptr, 8 * page);
}

static void decommitting_uncommitted_pages_is_harmless(void) {
    const size_t page = fa__os_page_size();
    unsigned char *ptr = reserve_pages(4);
    fa__os_decommit(ptr, 4 * page);
    REQUIRE(fa__os_commit(ptr, page));
    fa__os_decommit(ptr, 4 * page);
    REQUIRE(fa__os_commit(ptr, 4 * page));
    CHECK(is_filled_with(ptr, 4 * page, 0));
    fa__os_release(ptr, 4 * page);
}

static void huge_page_advice_changes_no_contents(void) {
    const size_t size = 4 * MIB;
    unsigned char *ptr = fa__os_reserve(size, 2 * MIB);
    REQUIRE_NOT_NULL(ptr);
    fa__os_advise_huge(ptr, size);
    REQUIRE(fa__os_commit(ptr, size));
    CHECK(is_filled_with(ptr, size, 0));
    memset(ptr, 0x77, size);
    fa__os_advise_huge(ptr, size);
    CHECK(is_filled_with(ptr, size, 0x77));
    fa__os_decommit(ptr, size);
    REQUIRE(fa__os_commit(ptr, size));
    CHECK(is_filled_with(ptr, size, 0));
    fa__os_release(ptr, size);
}

static void sizes_that_cannot_be_are_refused(void) {
    const size_t page = fa__os_page_size();
    const size_t largest = SIZE_MAX & ~(page - 1);
    for (size_t align = page; align <= 16 * MIB; align *= 16) {
        CHECK_NULL(fa__os_reserve(largest, align));
        CHECK_NULL(fa__os_reserve(largest - align + page, align)); // Plus the alignment: SIZE_MAX.
        CHECK_NULL(fa__os_reserve(largest - align, align));
        CHECK_NULL(fa__os_reserve(SIZE_MAX - SIZE_MAX / 4, align));
        CHECK_NULL(fa__os_reserve(0, align));
    }
    const size_t half = SIZE_MAX / 2 + 1;
    void *ptr = fa__os_reserve(page, half); // There are two such places, and one of them is NULL.
    CHECK_EQ((uintptr_t)ptr % half, 0);
    if (ptr != NULL) {
        fa__os_release(ptr, page);
    }
}

// ---- Faults, in a child process ----------------------------------------------------------------

// What a child does to one byte.
static void read_byte(void *ptr) {
    volatile unsigned char *byte = ptr;
    (void)*byte;
}

static void write_byte(void *ptr) {
    volatile unsigned char *byte = ptr;
    *byte = 1;
}

static bool faults(void (*touch)(void *ptr), void *ptr) {
    static check_child child;
    check_child_run(touch, ptr, &child);
    return check_child_died(&child);
}

static void access_faults_unless_committed(void) {
    const size_t page = fa__os_page_size();
    unsigned char *ptr = reserve_pages(3);
    CHECK(faults(read_byte, ptr));
    CHECK(faults(write_byte, ptr + 3 * page - 1));
    REQUIRE(fa__os_commit(ptr + page, page));
    CHECK(!faults(read_byte, ptr + page));
    CHECK(!faults(write_byte, ptr + 2 * page - 1));
    CHECK(faults(read_byte, ptr + page - 1));
    CHECK(faults(write_byte, ptr + 2 * page));
    fa__os_decommit(ptr + page, page);
    CHECK(faults(read_byte, ptr + page));
    CHECK(faults(write_byte, ptr + page));
    fa__os_release(ptr, 3 * page);
}

// ---- What memory is really taken ---------------------------------------------------------------

#if defined(__linux__)

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

static void memory_is_taken_when_touched_and_gone_when_decommitted(void) {
    const size_t page = fa__os_page_size();
    unsigned char *ptr = reserve_pages(1024);
    CHECK_EQ(resident_pages(ptr, 1024), 0);
    REQUIRE(fa__os_commit(ptr, 1024 * page));
    CHECK_EQ(resident_pages(ptr, 1024), 0);
    memset(ptr, 1, 1024 * page);
    CHECK_EQ(resident_pages(ptr, 1024), 1024);
    fa__os_decommit(ptr + 256 * page, 512 * page);
    CHECK_EQ(resident_pages(ptr, 1024), 512);
    fa__os_decommit(ptr, 1024 * page);
    CHECK_EQ(resident_pages(ptr, 1024), 0);
    fa__os_release(ptr, 1024 * page);
}

static void a_released_reservation_leaves_no_address_behind(void) {
    const size_t page = fa__os_page_size();
    unsigned char *ptr = reserve_pages(64);
    REQUIRE(fa__os_commit(ptr + 16 * page, 8 * page)); // Several mappings now.
    for (size_t i = 0; i < 64; i++) {
        CHECK(is_mapped(ptr + i * page));
    }
    fa__os_release(ptr, 64 * page);
    size_t left = 0;
    for (size_t i = 0; i < 64; i++) {
        left += is_mapped(ptr + i * page);
    }
    CHECK_EQ(left, 0);
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

static void alignment_keeps_no_address_space(void) {
    enum { COUNT = 16 };
    const size_t page = fa__os_page_size();
    unsigned char *ptrs[COUNT];
    const size_t before = address_space_bytes();
    for (size_t i = 0; i < COUNT; i++) {
        ptrs[i] = fa__os_reserve(page, 64 * MIB);
        REQUIRE_NOT_NULL(ptrs[i]);
    }
    CHECK_LT(address_space_bytes(), before + 8 * MIB);
    for (size_t i = 0; i < COUNT; i++) {
        fa__os_release(ptrs[i], page);
    }
}

static void much_address_space_costs_no_memory(void) {
    const size_t page = fa__os_page_size();
    const size_t size = MIB << (sizeof(void *) < 8 ? 9 : 18);
    unsigned char *ptr = fa__os_reserve(size, page);
    REQUIRE_NOT_NULL(ptr);
    unsigned char *middle = ptr + size / 2;
    REQUIRE(fa__os_commit(middle, page));
    middle[0] = 1;
    CHECK_EQ(resident_pages(ptr, 8192), 0);
    CHECK_EQ(resident_pages(middle, 8192), 1);
    fa__os_release(ptr, size);
}

// Memory locked by the program cannot be dropped in the usual way.
static void decommit_empties_locked_memory(void) {
    const size_t page = fa__os_page_size();
    unsigned char *ptr = reserve_pages(4);
    REQUIRE(fa__os_commit(ptr, 4 * page));
    memset(ptr, 0xee, 4 * page);
    if (mlock(ptr, 4 * page) != 0) {
        fa__os_release(ptr, 4 * page);
        SKIP("memory cannot be locked here");
    }
    fa__os_decommit(ptr, 4 * page);
    CHECK(faults(read_byte, ptr));
    REQUIRE(fa__os_commit(ptr, 4 * page));
    CHECK(is_filled_with(ptr, 4 * page, 0));
    fa__os_release(ptr, 4 * page);
}

#define LINUX_TESTS                                                                                \
    TEST(memory_is_taken_when_touched_and_gone_when_decommitted),                                  \
        TEST(a_released_reservation_leaves_no_address_behind),                                     \
        TEST(alignment_keeps_no_address_space), TEST(much_address_space_costs_no_memory),          \
        TEST(decommit_empties_locked_memory),

#else
#define LINUX_TESTS
#endif

// ---- The backend -------------------------------------------------------------------------------

static void the_backend_hands_out_the_systems_pages(void) {
    const fa_backend *backend = fa_backend_os();
    REQUIRE_NOT_NULL(backend);
    CHECK_EQ(fa_backend_os(), backend);
    CHECK_EQ(backend->page_size, fa__os_page_size());
    const size_t size = 8 * backend->page_size;
    unsigned char *ptr = backend->reserve(backend->self, size, MIB);
    REQUIRE_NOT_NULL(ptr);
    CHECK_EQ((uintptr_t)ptr % MIB, 0);
    CHECK(!check_child_supported() || faults(write_byte, ptr));
    backend->advise_huge(backend->self, ptr, size);
    REQUIRE(backend->commit(backend->self, ptr, size));
    CHECK(is_filled_with(ptr, size, 0));
    memset(ptr, 0x33, size);
    backend->decommit(backend->self, ptr, size);
    CHECK(!check_child_supported() || faults(read_byte, ptr));
    REQUIRE(backend->commit(backend->self, ptr, size));
    CHECK(is_filled_with(ptr, size, 0));
    backend->release(backend->self, ptr, size);
#if defined(__linux__)
    CHECK(!is_mapped(ptr));
#endif
    CHECK_NULL(backend->reserve(backend->self, SIZE_MAX - MIB + 1, MIB));
}

TEST_SUITE(os, TEST(page_size_is_a_constant_power_of_two),
           TEST(a_reservation_starts_at_its_alignment), TEST(reservations_do_not_overlap),
           TEST(committed_memory_is_zeroed_and_writable),
           TEST(committing_again_keeps_what_is_there),
           TEST(decommitted_memory_reads_zero_after_the_next_commit),
           TEST(decommitting_uncommitted_pages_is_harmless),
           TEST(huge_page_advice_changes_no_contents), TEST(sizes_that_cannot_be_are_refused),
           TEST(access_faults_unless_committed),
           LINUX_TESTS TEST(the_backend_hands_out_the_systems_pages));

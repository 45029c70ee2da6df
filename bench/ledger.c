// Checks that what is timed really happens: every block of a frame is remembered, filled with a
// pattern of its own, and compared at the end of the frame. Two blocks that overlap spoil each
// other's pattern.
#include "bench.h"

#include <stdio.h>

enum { ENTRIES_MAX = 16384 };

typedef struct ledger_entry {
    unsigned char *ptr;
    size_t size;
} ledger_entry;

static ledger_entry entries[ENTRIES_MAX];
static size_t entry_count;
static size_t total_bytes;
static size_t total_blocks;
static size_t faults;

// Each of 256 blocks in a row has another pattern.
static unsigned char pattern_of(size_t index) {
    return (unsigned char)(index * 167 + 13);
}

void bench_ledger_fault(const char *what) {
    if (faults == 0) {
        fprintf(stderr, "fa_bench: check failed: %s\n", what);
    }
    ++faults;
}

void bench_ledger_add(void *ptr, size_t size, size_t align) {
    if (ptr == NULL || (uintptr_t)ptr % align != 0 || entry_count == ENTRIES_MAX) {
        bench_ledger_fault(ptr == NULL ? "an allocation returned NULL" : "a block is misaligned");
        return;
    }
    unsigned char *bytes = (unsigned char *)ptr;
    for (size_t i = 0; i < size; ++i) {
        bytes[i] = pattern_of(entry_count);
    }
    entries[entry_count++] = (ledger_entry){.ptr = bytes, .size = size};
    total_bytes += size;
    ++total_blocks;
}

void bench_ledger_check(void) {
    for (size_t entry = 0; entry < entry_count; ++entry) {
        for (size_t i = 0; i < entries[entry].size; ++i) {
            if (entries[entry].ptr[i] != pattern_of(entry)) {
                bench_ledger_fault("a block was written over while it was in use");
                break;
            }
        }
    }
    bench_ledger_forget();
}

void bench_ledger_forget(void) {
    entry_count = 0;
}

size_t bench_ledger_clear(size_t *bytes, size_t *blocks) {
    size_t found = faults;
    *bytes = total_bytes;
    *blocks = total_blocks;
    entry_count = 0;
    total_bytes = 0;
    total_blocks = 0;
    faults = 0;
    return found;
}

// The map is an array of ranges, each with a byte per page. A spin lock guards it, because several
// threads may call a backend at once.
#include "fault_backend.h"

#include <stdlib.h>
#include <string.h>

#define RUBBISH 0xA5

static _Thread_local uint64_t refusals_here;

uint64_t fault_refusals_here(void) {
    return refusals_here;
}

static void enter(fault_backend *faults) {
    while (atomic_flag_test_and_set_explicit(&faults->lock, memory_order_acquire)) {
        check_thread_yield();
    }
}

static void leave(fault_backend *faults) {
    atomic_flag_clear_explicit(&faults->lock, memory_order_release);
}

static void *need(void *memory) {
    if (memory == NULL) {
        abort(); // The test itself is out of memory.
    }
    return memory;
}

// ---- Refusing ----------------------------------------------------------------------------------

// Counts a call, and says whether it is to be refused. Under the lock.
static bool is_refused(fault_backend *faults) {
    faults->calls += 1;
    bool refuse = false;
    if (faults->mode == FAULT_NTH) {
        refuse = faults->calls == faults->at;
    } else if (faults->mode == FAULT_FROM) {
        refuse = faults->calls >= faults->at;
    } else if (faults->mode == FAULT_RANDOM) {
        refuse = check_rng_chance(&faults->rng, faults->percent);
    }
    if (refuse) {
        faults->refusals += 1;
        refusals_here += 1;
    }
    return refuse;
}

void fault_backend_set(fault_backend *faults, fault_mode mode, uint64_t at, unsigned percent,
                       uint64_t seed) {
    enter(faults);
    faults->mode = mode;
    faults->at = at;
    faults->percent = percent;
    faults->rng = check_rng_make(seed);
    leave(faults);
}

fault_mode fault_backend_switch(fault_backend *faults, fault_mode mode) {
    enter(faults);
    fault_mode before = faults->mode;
    faults->mode = mode;
    leave(faults);
    return before;
}

// ---- The map -----------------------------------------------------------------------------------

// The range that holds [ptr, ptr + size), or NULL.
static fault_range *find(fault_backend *faults, const char *ptr, size_t size) {
    for (size_t i = 0; i < faults->range_count; i++) {
        fault_range *range = &faults->ranges[i];
        uintptr_t offset = (uintptr_t)ptr - (uintptr_t)range->base;
        if (offset < range->size && size <= range->size - offset) {
            return range;
        }
    }
    return NULL;
}

bool fault_backend_holds(fault_backend *faults, const void *ptr) {
    return find(faults, ptr, 1) != NULL;
}

static void note_committed(fault_backend *faults, size_t size) {
    faults->committed_bytes += size;
    if (faults->committed_bytes > faults->committed_peak) {
        faults->committed_peak = faults->committed_bytes;
    }
}

static void add(fault_backend *faults, char *base, size_t size, void *origin) {
    if (faults->range_count == faults->range_room) {
        faults->range_room = faults->range_room == 0 ? 64 : 2 * faults->range_room;
        faults->ranges =
            need(realloc(faults->ranges, faults->range_room * sizeof(*faults->ranges)));
    }
    size_t pages = size / faults->backend.page_size;
    fault_range range = {base, size, origin, need(calloc(pages, 1)), 0};
    if (origin != NULL) {
        memset(range.committed, 1, pages);
        range.high = pages;
        note_committed(faults, size);
    }
    faults->ranges[faults->range_count] = range;
    faults->range_count += 1;
    faults->reserved_bytes += size;
}

static bool is_whole_pages(const fault_backend *faults, const void *ptr, size_t size) {
    size_t page = faults->backend.page_size;
    return size != 0 && size % page == 0 && (uintptr_t)ptr % page == 0;
}

// Marks the pages of a stretch; complains when one of them is marked so already.
static bool mark(fault_backend *faults, char *ptr, size_t size, unsigned char value) {
    const char *what = value == 1 ? "commit" : "decommit";
    fault_range *range = find(faults, ptr, size);
    if (range == NULL || !is_whole_pages(faults, ptr, size)) {
        FAIL("%s of %zu bytes at %p outside a reservation", what, size, (void *)ptr);
        return false;
    }
    size_t page = faults->backend.page_size;
    size_t first = (size_t)(ptr - range->base) / page;
    for (size_t i = first; i < first + size / page; i++) {
        if (range->committed[i] == value) {
            FAIL("%s of page %zu for a second time", what, i);
            return false;
        }
        range->committed[i] = value;
    }
    range->high = first + size / page > range->high ? first + size / page : range->high;
    return true;
}

// ---- The functions of the backend --------------------------------------------------------------

static char *obtain(const fault_backend *faults, size_t size, size_t align, void **origin) {
    const fa_backend *os = fa_backend_os();
    if (faults->source == FAULT_PAGES) {
        *origin = NULL;
        return os->reserve(os->self, size, align);
    }
    char *block = need(malloc(size + align));
    *origin = block;
    char *base = block + ((0 - (uintptr_t)block) & (align - 1));
    return faults->has_rubbish ? memset(base, RUBBISH, size) : base;
}

static void *faults_reserve(void *self, size_t size, size_t align) {
    fault_backend *faults = self;
    enter(faults);
    char *base = NULL;
    if (!is_whole_pages(faults, NULL, size) || align < faults->backend.page_size ||
        (align & (align - 1)) != 0) {
        FAIL("reserve of %zu bytes at a multiple of %zu", size, align);
    } else if (!is_refused(faults) && (faults->reserve_most == 0 || size <= faults->reserve_most)) {
        void *origin = NULL;
        base = obtain(faults, size, align, &origin);
        if (base != NULL) {
            add(faults, base, size, origin);
        }
    }
    leave(faults);
    return base;
}

static bool faults_commit(void *self, void *ptr, size_t size) {
    fault_backend *faults = self;
    const fa_backend *os = fa_backend_os();
    enter(faults);
    bool worked =
        !is_refused(faults) && mark(faults, ptr, size, 1) && os->commit(os->self, ptr, size);
    if (worked) {
        if (faults->has_rubbish) {
            memset(ptr, RUBBISH, size);
        }
        note_committed(faults, size);
    }
    leave(faults);
    return worked;
}

static void faults_decommit(void *self, void *ptr, size_t size) {
    fault_backend *faults = self;
    const fa_backend *os = fa_backend_os();
    enter(faults);
    faults->decommits += 1;
    if (mark(faults, ptr, size, 0)) {
        os->decommit(os->self, ptr, size);
        faults->committed_bytes -= size;
    }
    leave(faults);
}

static void faults_release(void *self, void *ptr, size_t size) {
    fault_backend *faults = self;
    const fa_backend *os = fa_backend_os();
    enter(faults);
    fault_range *range = find(faults, ptr, size);
    if (range == NULL || range->base != (char *)ptr || range->size != size) {
        FAIL("release of %zu bytes at %p, which is no reservation", size, ptr);
    } else {
        for (size_t i = 0; i < range->high; i++) {
            faults->committed_bytes -= range->committed[i] != 0 ? faults->backend.page_size : 0;
        }
        faults->reserved_bytes -= size;
        if (range->origin != NULL) {
            free(range->origin);
        } else {
            os->release(os->self, ptr, size);
        }
        free(range->committed);
        faults->range_count -= 1;
        *range = faults->ranges[faults->range_count];
    }
    leave(faults);
}

void fault_backend_make(fault_backend *faults, fault_source source) {
    *faults = (fault_backend){.source = source, .lock = ATOMIC_FLAG_INIT};
    faults->backend = (fa_backend){.reserve = faults_reserve,
                                   .release = faults_release,
                                   .page_size = fa_backend_os()->page_size,
                                   .self = faults};
    if (source == FAULT_PAGES) {
        faults->backend.commit = faults_commit;
        faults->backend.decommit = faults_decommit;
    }
}

void fault_backend_end(fault_backend *faults) {
    CHECK_EQ(faults->range_count, 0);
    CHECK_EQ(faults->reserved_bytes, 0);
    CHECK_EQ(faults->committed_bytes, 0);
    free(faults->ranges);
    faults->ranges = NULL;
}

// The page source from the inside: chunks against a naive model, what is given back and when,
// bookkeeping memory, and the limit under threads.
#include "fault_backend.h"

#include "../src/core/pages.h"

#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

#define LIVE_MAX 160
#define GRANULES_MAX 4096

typedef struct live_chunk {
    fa__chunk chunk;
    unsigned char fill;
} live_chunk;

// What a page source must have, worked out without its lists.
typedef struct model {
    fault_backend faults;
    fa__pages *pages;
    live_chunk live[LIVE_MAX];
    size_t count;
    uintptr_t granules[GRANULES_MAX]; // Touched by a chunk of a region since the region was made.
    size_t granule_count;
    bool has_strays; // Granules of chunks that were refused half-way may be committed as well.
} model;

static model the_model;

static void open_with(fault_source source, size_t limit, size_t page_size) {
    memset(&the_model, 0, sizeof(the_model));
    fault_backend_make(&the_model.faults, source);
    the_model.faults.has_rubbish = true;
    if (page_size != 0) {
        the_model.faults.backend.page_size = page_size;
    }
    void *owner = NULL;
    the_model.pages = fa__pages_create(&the_model.faults.backend, limit, 100, &owner, NULL);
    REQUIRE_NOT_NULL(the_model.pages);
    REQUIRE_NOT_NULL(owner);
}

static void close_all(void) {
    while (the_model.count > 0) {
        the_model.count -= 1;
        fa__chunk_release(the_model.pages, the_model.live[the_model.count].chunk);
    }
    fa__pages_destroy(the_model.pages);
    fault_backend_end(&the_model.faults);
}

static size_t overhead_of(model *m) {
    return fa__load(&m->pages->overhead);
}

// ---- The model ---------------------------------------------------------------------------------

static bool has_granule(const model *m, uintptr_t number) {
    for (size_t i = 0; i < m->granule_count; i++) {
        if (m->granules[i] == number) {
            return true;
        }
    }
    return false;
}

static void touch_granules(model *m, const fa__chunk *chunk) {
    uintptr_t last = ((uintptr_t)chunk->ptr + chunk->size - 1) / FA__GRANULE;
    for (uintptr_t number = (uintptr_t)chunk->ptr / FA__GRANULE; number <= last; number++) {
        if (!has_granule(m, number)) {
            REQUIRE_LT(m->granule_count, GRANULES_MAX);
            m->granules[m->granule_count] = number;
            m->granule_count += 1;
        }
    }
}

// Forgets granules of regions that have been given back.
static void forget_granules(model *m) {
    size_t kept = 0;
    for (size_t i = 0; i < m->granule_count; i++) {
        void *ptr = (void *)(m->granules[i] * FA__GRANULE); // NOLINT: an address by its number.
        if (fault_backend_holds(&m->faults, ptr)) {
            m->granules[kept] = m->granules[i];
            kept += 1;
        }
    }
    m->granule_count = kept;
}

// After a trim only granules that a live chunk touches are left.
static void expect_trimmed(model *m) {
    m->granule_count = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (m->live[i].chunk.region != NULL) {
            touch_granules(m, &m->live[i].chunk);
        }
    }
}

static void check_figures(model *m) {
    size_t dedicated = 0;
    for (size_t i = 0; i < m->count; i++) {
        dedicated += m->live[i].chunk.region == NULL ? m->live[i].chunk.size : 0;
    }
    size_t committed = fa__load(&m->pages->committed);
    size_t reserved = fa__load(&m->pages->reserved);
    size_t expected = overhead_of(m) + dedicated + m->granule_count * FA__GRANULE;
    CHECK_EQ(committed, m->faults.committed_bytes);
    CHECK_EQ(reserved, m->faults.reserved_bytes);
    CHECK_GE(committed, expected);
    CHECK(committed == expected || m->has_strays);
    CHECK_LE(m->pages->empty_regions, 1);
}

// Regions with a chunk in them, seen by their addresses.
static size_t regions_in_use(const model *m) {
    const fa__region *regions[LIVE_MAX];
    size_t count = 0;
    for (size_t i = 0; i < m->count; i++) {
        const fa__region *region = m->live[i].chunk.region;
        size_t at = 0;
        while (at < count && regions[at] != region) {
            at += 1;
        }
        if (region != NULL && at == count) {
            regions[count] = region;
            count += 1;
        }
    }
    return count;
}

// Address space: bookkeeping, large chunks, and no more than one region that nobody uses.
static void check_reserved(model *m, size_t spare_regions) {
    size_t expected = overhead_of(m) + regions_in_use(m) * FA__REGION_BYTES;
    for (size_t i = 0; i < m->count; i++) {
        expected += m->live[i].chunk.region == NULL ? m->live[i].chunk.size : 0;
    }
    CHECK_GE(m->faults.reserved_bytes, expected);
    CHECK_LE(m->faults.reserved_bytes, expected + spare_regions * FA__REGION_BYTES);
}

static size_t step_of(size_t size) {
    return size <= 4 * KIB ? 1 : size / 97;
}

static void fill(const live_chunk *live) {
    for (size_t at = 0; at < live->chunk.size; at += step_of(live->chunk.size)) {
        live->chunk.ptr[at] = (char)live->fill;
    }
    live->chunk.ptr[live->chunk.size - 1] = (char)live->fill;
}

static void check_filled(const live_chunk *live) {
    bool intact = (unsigned char)live->chunk.ptr[live->chunk.size - 1] == live->fill;
    for (size_t at = 0; at < live->chunk.size; at += step_of(live->chunk.size)) {
        intact = intact && (unsigned char)live->chunk.ptr[at] == live->fill;
    }
    CHECK(intact);
}

static void check_no_overlap(const model *m, const fa__chunk *chunk) {
    for (size_t i = 0; i < m->count; i++) {
        const fa__chunk *other = &m->live[i].chunk;
        bool apart =
            chunk->ptr + chunk->size <= other->ptr || other->ptr + other->size <= chunk->ptr;
        CHECK(apart);
    }
}

static size_t next_power(size_t size) {
    size_t power = FA__CHUNK_MIN;
    while (power < size) {
        power *= 2;
    }
    return power;
}

// Acquires a chunk, checks what it promises, and puts it into the model. False when refused.
static bool acquire(model *m, size_t size, size_t align, unsigned char value) {
    fa__chunk chunk = {0};
    fa__denial denial = FA__DENIED_BY_BACKEND;
    uint64_t refusals = fault_refusals_here();
    if (!fa__chunk_acquire(m->pages, size, align, &chunk, &denial)) {
        bool by_limit = fault_refusals_here() == refusals;
        CHECK_EQ((int)denial, by_limit ? FA__DENIED_BY_LIMIT : FA__DENIED_BY_BACKEND);
        CHECK(!by_limit || m->pages->limit != SIZE_MAX);
        m->has_strays = true;
        return false;
    }
    size_t least = size > align ? size : align;
    bool is_cut = fa__pages_can_commit(m->pages) && least <= FA__CHUNK_MAX;
    CHECK_EQ(chunk.region != NULL, is_cut);
    CHECK_EQ((uintptr_t)chunk.ptr % align, 0);
    if (is_cut) {
        CHECK_EQ(chunk.size, next_power(least));
        CHECK_EQ((uintptr_t)chunk.ptr % (chunk.size < FA__CHUNK_MAX ? chunk.size : FA__CHUNK_MAX),
                 0);
    } else {
        CHECK_GE(chunk.size, size);
        CHECK_LT(chunk.size - size, m->pages->backend.page_size);
    }
    check_no_overlap(m, &chunk);
    REQUIRE_LT(m->count, LIVE_MAX);
    m->live[m->count] = (live_chunk){chunk, value};
    fill(&m->live[m->count]);
    m->count += 1;
    if (chunk.region != NULL) {
        touch_granules(m, &chunk);
    }
    return true;
}

static void release(model *m, size_t index) {
    check_filled(&m->live[index]);
    fa__chunk_release(m->pages, m->live[index].chunk);
    m->count -= 1;
    m->live[index] = m->live[m->count];
    forget_granules(m);
}

static void trim(model *m) {
    fa__pages_trim(m->pages);
    expect_trimmed(m);
    m->has_strays = false;
    check_figures(m);
    check_reserved(m, 0);
}

// ---- Random operations -------------------------------------------------------------------------

// From 4 KiB to 4 MiB, small ones far more often.
static size_t random_size(check_rng *rng) {
    size_t size = (4 * KIB << check_rng_below(rng, 1 + check_rng_below(rng, 11)));
    if (check_rng_chance(rng, 30)) {
        size -= check_rng_below(rng, size / 2);
    }
    return size;
}

static size_t random_align(check_rng *rng) {
    return check_rng_chance(rng, 70) ? 1 : (size_t)1 << check_rng_below(rng, 21);
}

static void step(model *m, check_rng *rng, size_t target) {
    if (check_rng_below(rng, 200) == 0) {
        trim(m);
    }
    if (m->count < LIVE_MAX && check_rng_below(rng, 2 * target + 1) > m->count) {
        unsigned char value = (unsigned char)check_rng_below(rng, 256);
        (void)acquire(m, random_size(rng), random_align(rng), value);
    } else if (m->count > 0) {
        release(m, check_rng_below(rng, m->count));
    }
    check_figures(m);
    check_reserved(m, 1);
}

static void run_random(fault_source source, size_t limit, size_t page_size, unsigned refused) {
    open_with(source, limit, page_size);
    check_rng rng = check_rng_make(check_seed());
    fault_backend_set(&the_model.faults, FAULT_RANDOM, 0, refused, check_seed());
    size_t target = LIVE_MAX / 2;
    size_t steps = check_scale(8000);
    for (size_t i = 0; i < steps; i++) {
        check_note("step %zu", i);
        if (i % 500 == 0) { // From few chunks to many and back.
            target = check_rng_below(&rng, LIVE_MAX / 2);
        }
        step(&the_model, &rng, target);
    }
    for (size_t i = 0; i < the_model.count; i++) {
        check_filled(&the_model.live[i]);
    }
    if (limit != SIZE_MAX) {
        CHECK_LE(the_model.faults.committed_peak, limit);
    }
    while (the_model.count > 0) {
        release(&the_model, the_model.count - 1);
    }
    trim(&the_model);
    CHECK_EQ(the_model.faults.reserved_bytes, overhead_of(&the_model));
    close_all();
}

static void chunks_agree_with_a_naive_model(void) {
    run_random(FAULT_PAGES, SIZE_MAX, 0, 0);
}

static void chunks_agree_with_the_model_when_calls_are_refused(void) {
    run_random(FAULT_PAGES, SIZE_MAX, 0, 10);
}

static void chunks_agree_with_the_model_under_a_limit(void) {
    run_random(FAULT_PAGES, 20 * MIB, 0, 5);
}

static void chunks_agree_with_the_model_on_large_pages(void) {
    run_random(FAULT_PAGES, SIZE_MAX, 64 * KIB, 3);
}

static void chunks_without_commit_are_reservations_of_their_own(void) {
    run_random(FAULT_BLOCKS, SIZE_MAX, 0, 0);
    run_random(FAULT_BLOCKS, 30 * MIB, 0, 5);
}

// ---- Giving back -------------------------------------------------------------------------------

// Fills `regions` regions with chunks of 256 KiB, and empties them.
static void fill_and_empty(model *m, size_t regions) {
    for (size_t i = 0; i < regions * 8; i++) {
        REQUIRE(acquire(m, 256 * KIB, 1, 1));
    }
    CHECK_EQ(regions_in_use(m), regions);
    while (m->count > 0) {
        release(m, 0);
    }
}

static void one_empty_region_is_kept(void) {
    open_with(FAULT_PAGES, SIZE_MAX, 0);
    model *m = &the_model;
    fill_and_empty(m, 5);
    CHECK_EQ(m->pages->empty_regions, 1);
    CHECK_EQ(m->faults.reserved_bytes, overhead_of(m) + FA__REGION_BYTES);
    CHECK_EQ(m->faults.committed_bytes, overhead_of(m) + FA__REGION_BYTES);
    trim(m);
    CHECK_EQ(m->pages->empty_regions, 0);
    CHECK_EQ(m->faults.reserved_bytes, overhead_of(m));
    close_all();
}

static void a_group_that_comes_and_goes_makes_no_call(void) {
    open_with(FAULT_PAGES, SIZE_MAX, 0);
    model *m = &the_model;
    for (size_t round = 0; round < 20; round++) {
        uint64_t calls = m->faults.calls;
        for (size_t i = 0; i < 64; i++) {
            REQUIRE(acquire(m, 16 * KIB, 1, 2));
        }
        CHECK_EQ(m->faults.calls == calls, round > 0);
        while (m->count > 0) {
            release(m, m->count - 1);
        }
    }
    close_all();
}

// Records of regions that were given back are used again: bookkeeping does not grow.
static void regions_that_come_and_go_leave_nothing_behind(void) {
    open_with(FAULT_PAGES, SIZE_MAX, 0);
    fill_and_empty(&the_model, 6);
    size_t overhead = overhead_of(&the_model);
    for (size_t round = 0; round < 20; round++) {
        fill_and_empty(&the_model, 6);
        fa__pages_trim(the_model.pages);
        forget_granules(&the_model);
    }
    CHECK_EQ(overhead_of(&the_model), overhead);
    close_all();
}

static void a_region_that_is_refused_leaves_nothing_behind(void) {
    open_with(FAULT_PAGES, SIZE_MAX, 0);
    model *m = &the_model;
    REQUIRE(acquire(m, MIB, 1, 1));
    REQUIRE(acquire(m, MIB, 1, 2)); // The region is full.
    size_t overhead = 0;
    for (size_t i = 0; i < 200; i++) {
        // Each call that a new region may take is refused in turn, with bookkeeping for it or not.
        fault_backend_set(&m->faults, FAULT_NTH, m->faults.calls + 1 + i % 5, 0, 0);
        if (acquire(m, MIB, 1, 3)) {
            release(m, m->count - 1);
        }
        fault_backend_set(&m->faults, FAULT_NONE, 0, 0, 0);
        fa__pages_trim(m->pages);
        overhead = i == 4 ? overhead_of(m) : overhead;
    }
    CHECK_EQ(overhead_of(m), overhead);
    close_all();
}

static void trim_gives_back_between_chunks_in_use(void) {
    open_with(FAULT_PAGES, SIZE_MAX, 0);
    model *m = &the_model;
    for (size_t i = 0; i < 32; i++) {
        REQUIRE(acquire(m, 64 * KIB, 1, (unsigned char)i));
    }
    size_t before = m->faults.committed_bytes;
    for (size_t i = 0; i < 16; i++) {
        release(m, i); // The last one takes its place: every other one stays.
    }
    CHECK_EQ(m->faults.committed_bytes, before);
    trim(m);
    CHECK_EQ(m->faults.committed_bytes, before - 16 * FA__GRANULE);
    for (size_t i = 0; i < m->count; i++) {
        check_filled(&m->live[i]);
    }
    REQUIRE(acquire(m, 64 * KIB, 1, 99)); // Committed anew.
    CHECK_EQ(m->faults.committed_bytes, before - 15 * FA__GRANULE);
    close_all();
}

static void a_small_chunk_commits_one_granule(void) {
    open_with(FAULT_PAGES, SIZE_MAX, 0);
    size_t first = 0;
    for (size_t i = 0; i < 17; i++) {
        REQUIRE(acquire(&the_model, 1, 1, 3));
        size_t used = the_model.faults.committed_bytes - overhead_of(&the_model);
        first = i == 0 ? used : first;
        CHECK_EQ(used, i < 16 ? first : 2 * first);
    }
    CHECK_EQ(first, FA__GRANULE);
    close_all();
}

// ---- Bookkeeping memory ------------------------------------------------------------------------

static bool is_zero(const unsigned char *ptr, size_t size) {
    return ptr[0] == 0 && (size == 1 || memcmp(ptr, ptr + 1, size - 1) == 0);
}

static void bookkeeping_memory_is_zeroed_aligned_and_apart(void) {
    static const fault_source sources[] = {FAULT_PAGES, FAULT_BLOCKS};
    for (size_t which = 0; which < 2; which++) {
        open_with(sources[which], SIZE_MAX, 0);
        check_rng rng = check_rng_make(check_seed());
        unsigned char *pieces[200];
        size_t sizes[200];
        size_t total = 0;
        for (size_t i = 0; i < 200; i++) {
            sizes[i] = 1 + check_rng_size(&rng, 300 * KIB);
            pieces[i] = fa__meta_alloc(the_model.pages, sizes[i], NULL);
            REQUIRE_NOT_NULL(pieces[i]);
            CHECK_EQ((uintptr_t)pieces[i] % 64, 0);
            CHECK(is_zero(pieces[i], sizes[i]));
            memset(pieces[i], (int)(i + 1), sizes[i]);
            total += sizes[i];
            check_figures(&the_model);
        }
        for (size_t i = 0; i < 200; i++) {
            CHECK_EQ(pieces[i][0], i + 1);
            CHECK(memcmp(pieces[i], pieces[i] + 1, sizes[i] - 1) == 0);
        }
        CHECK_GE(overhead_of(&the_model), total);
        CHECK_EQ(overhead_of(&the_model), the_model.faults.committed_bytes);
        close_all();
    }
}

static void refused_bookkeeping_memory_changes_nothing(void) {
    open_with(FAULT_PAGES, SIZE_MAX, 0);
    fault_backend_set(&the_model.faults, FAULT_FROM, 1, 0, 0);
    size_t granted = 0;
    fa__denial denial = FA__DENIED_BY_LIMIT;
    while (fa__meta_alloc(the_model.pages, 1000, &denial) != NULL) {
        granted += 1; // What is left of the present block.
    }
    CHECK_LT(granted, 70);
    CHECK_EQ((int)denial, FA__DENIED_BY_BACKEND);
    check_figures(&the_model);
    CHECK_NOT_NULL(fa__meta_alloc(the_model.pages, 64, NULL)); // Smaller ones may still fit.
    fault_backend_set(&the_model.faults, FAULT_NTH, the_model.faults.calls + 2, 0, 0);
    CHECK_NULL(fa__meta_alloc(the_model.pages, 1000, NULL)); // The commit is refused.
    check_figures(&the_model);
    CHECK_NOT_NULL(fa__meta_alloc(the_model.pages, 1000, NULL));
    check_figures(&the_model);
    close_all();
}

static void sizes_that_no_memory_has_are_refused(void) {
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 4095, SIZE_MAX - (64 << 10) + 1,
                                   SIZE_MAX - (1 << 20)};
    open_with(FAULT_PAGES, SIZE_MAX, 0);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        fa__chunk chunk;
        fa__denial denial = FA__DENIED_BY_LIMIT;
        CHECK(!fa__chunk_acquire(the_model.pages, sizes[i], 1, &chunk, &denial));
        CHECK_EQ((int)denial, FA__DENIED_BY_BACKEND);
        denial = FA__DENIED_BY_LIMIT;
        CHECK_NULL(fa__meta_alloc(the_model.pages, sizes[i], &denial));
        CHECK_EQ((int)denial, FA__DENIED_BY_BACKEND);
        check_figures(&the_model);
    }
    close_all();
}

// ---- Making and ending -------------------------------------------------------------------------

static void making_one_fails_without_a_trace(void) {
    static const fault_source sources[] = {FAULT_PAGES, FAULT_BLOCKS};
    for (uint64_t at = 1; at <= 2; at++) {
        fault_backend faults;
        fault_backend_make(&faults, sources[at - 1]);
        fault_backend_set(&faults, FAULT_NTH, sources[at - 1] == FAULT_PAGES ? 2 : 1, 0, 0);
        void *owner = NULL;
        fa__denial denial = FA__DENIED_BY_LIMIT;
        CHECK_NULL(fa__pages_create(&faults.backend, SIZE_MAX, 100, &owner, &denial));
        CHECK_EQ((int)denial, FA__DENIED_BY_BACKEND);
        CHECK_EQ(faults.range_count, 0);
        CHECK_NULL(fa__pages_create(&faults.backend, 4 * KIB, 100, &owner, &denial));
        CHECK_EQ((int)denial, FA__DENIED_BY_LIMIT);
        CHECK_EQ(faults.committed_peak, 0);
        fault_backend_end(&faults);
    }
}

static void the_owner_gets_zeroed_memory(void) {
    for (size_t extra = 1; extra <= 200 * KIB; extra = extra * 3 + 1) {
        fault_backend faults;
        fault_backend_make(&faults, FAULT_PAGES);
        faults.has_rubbish = true;
        void *owner = NULL;
        fa__pages *pages = fa__pages_create(&faults.backend, SIZE_MAX, extra, &owner, NULL);
        REQUIRE_NOT_NULL(pages);
        CHECK_EQ((uintptr_t)owner % 64, 0);
        CHECK(is_zero(owner, extra));
        memset(owner, 0xFF, extra);
        CHECK_EQ(fa__load(&pages->committed), faults.committed_bytes);
        CHECK_EQ(fa__load(&pages->overhead), faults.committed_bytes);
        CHECK_NOT_NULL(fa__meta_alloc(pages, 10 * KIB, NULL));
        fa__pages_destroy(pages);
        fault_backend_end(&faults);
    }
}

static void ending_gives_regions_with_live_chunks_back(void) {
    open_with(FAULT_PAGES, SIZE_MAX, 0);
    for (size_t i = 0; i < 100; i++) {
        REQUIRE(acquire(&the_model, 64 * KIB, 1, 5));
    }
    the_model.count = 0; // Nobody releases them.
    close_all();
}

// ---- The limit ---------------------------------------------------------------------------------

static void the_limit_is_reached_to_the_byte(void) {
    static const fault_source sources[] = {FAULT_PAGES, FAULT_BLOCKS};
    const size_t page = fa_backend_os()->page_size;
    for (size_t which = 0; which < 2; which++) {
        const size_t limit = 8 * MIB;
        open_with(sources[which], limit, 0);
        model *m = &the_model;
        REQUIRE(acquire(m, 3 * MIB, 1, 1)); // Larger ones are not cut from regions.
        size_t left = limit - m->faults.committed_bytes;
        CHECK(!acquire(m, left + 1, 1, 2));
        CHECK_EQ(m->faults.committed_bytes, limit - left);
        REQUIRE(acquire(m, left, 1, 2));
        CHECK_EQ(m->faults.committed_bytes, limit);
        CHECK(!acquire(m, page, 1, 3));
        release(m, 0);
        CHECK(acquire(m, 3 * MIB, 1, 4));
        CHECK_EQ(m->faults.committed_peak, limit);
        close_all();
    }
}

enum { THREADS = 8, LIMIT = 12 << 20 };

static void use_chunks(void *arg) {
    check_rng rng = check_rng_make(check_seed() + *(const size_t *)arg);
    fa__chunk chunks[24];
    size_t count = 0;
    for (size_t i = 0; i < check_scale(8000); i++) {
        if (check_rng_chance(&rng, 60) && count < 24) {
            fa__denial denial = FA__DENIED_BY_BACKEND;
            if (fa__chunk_acquire(the_model.pages, random_size(&rng), 1, &chunks[count], &denial)) {
                memset(chunks[count].ptr, (int)count, 64);
                count += 1;
            } else {
                CHECK_EQ((int)denial, FA__DENIED_BY_LIMIT);
            }
        } else if (count > 0) {
            count -= 1;
            CHECK_EQ(chunks[count].ptr[63], count);
            fa__chunk_release(the_model.pages, chunks[count]);
        }
        if (check_rng_below(&rng, 1000) == 0) {
            fa__pages_trim(the_model.pages);
        }
        CHECK_LE(fa__load(&the_model.pages->committed), LIMIT);
    }
    while (count > 0) {
        count -= 1;
        fa__chunk_release(the_model.pages, chunks[count]);
    }
}

static void threads_never_pass_the_limit(void) {
    static const fault_source sources[] = {FAULT_PAGES, FAULT_BLOCKS};
    for (size_t which = 0; which < 2; which++) {
        open_with(sources[which], LIMIT, 0);
        size_t numbers[THREADS];
        for (size_t i = 0; i < THREADS; i++) {
            numbers[i] = i;
        }
        check_threads_run(THREADS, use_chunks, numbers, sizeof(numbers[0]));
        CHECK_LE(the_model.faults.committed_peak, LIMIT);
        CHECK_GT(the_model.faults.committed_peak, LIMIT / 2);
        fa__pages_trim(the_model.pages);
        check_figures(&the_model);
        CHECK_EQ(the_model.faults.reserved_bytes, overhead_of(&the_model));
        close_all();
    }
}

// A backend that does nothing, so that threads meet in the counting all the time.
typedef struct hasty {
    fa__pages *pages;
    fa__size present; // Bytes committed by the backend's own count.
} hasty;

static void *reserve_static(void *self, size_t size, size_t align) {
    (void)self;
    // An object may not ask for this alignment on every system: a part of a larger one does.
    static unsigned char memory[5 * 65536];
    size_t skipped = (size_t)(-(uintptr_t)memory & 65535);
    return size <= 4 * 65536 && align <= 65536 ? memory + skipped : NULL;
}

static bool count_commit(void *self, void *ptr, size_t size) {
    hasty *counts = self;
    (void)ptr;
    size_t before = fa__shared_add(&counts->present, size);
    return CHECK_LE(before + size, 256 * KIB);
}

static void count_decommit(void *self, void *ptr, size_t size) {
    hasty *counts = self;
    (void)ptr;
    fa__shared_sub(&counts->present, size);
}

static void release_nothing(void *self, void *ptr, size_t size) {
    (void)self;
    (void)ptr;
    (void)size;
}

static void commit_and_decommit(void *arg) {
    hasty *counts = arg;
    char *nowhere = NULL;
    for (size_t i = 0; i < check_scale(1000000); i++) {
        if (fa__pages_commit(counts->pages, nowhere, 64 * KIB, NULL)) {
            fa__pages_decommit(counts->pages, nowhere, 64 * KIB);
        }
    }
}

static void bytes_counted_by_many_threads_add_up(void) {
    hasty counts = {NULL, 0};
    const fa_backend backend = {.reserve = reserve_static,
                                .commit = count_commit,
                                .decommit = count_decommit,
                                .release = release_nothing,
                                .page_size = 4096,
                                .self = &counts};
    void *owner = NULL;
    counts.pages = fa__pages_create(&backend, 256 * KIB, 100, &owner, NULL);
    REQUIRE_NOT_NULL(counts.pages);
    size_t before = fa__load(&counts.pages->committed);
    CHECK_EQ(fa__load(&counts.present), before);
    for (size_t round = 0; round < 4; round++) {
        check_threads_run(4, commit_and_decommit, &counts, 0);
    }
    CHECK_EQ(fa__load(&counts.pages->committed), before);
    CHECK_EQ(fa__load(&counts.present), before);
    fa__pages_destroy(counts.pages);
}

TEST_SUITE(pages, TEST(chunks_agree_with_a_naive_model),
           TEST(chunks_agree_with_the_model_when_calls_are_refused),
           TEST(chunks_agree_with_the_model_under_a_limit),
           TEST(chunks_agree_with_the_model_on_large_pages),
           TEST(chunks_without_commit_are_reservations_of_their_own),
           TEST(one_empty_region_is_kept), TEST(a_group_that_comes_and_goes_makes_no_call),
           TEST(regions_that_come_and_go_leave_nothing_behind),
           TEST(trim_gives_back_between_chunks_in_use), TEST(a_small_chunk_commits_one_granule),
           TEST(bookkeeping_memory_is_zeroed_aligned_and_apart),
           TEST(refused_bookkeeping_memory_changes_nothing),
           TEST(sizes_that_no_memory_has_are_refused), TEST(making_one_fails_without_a_trace),
           TEST(the_owner_gets_zeroed_memory), TEST(ending_gives_regions_with_live_chunks_back),
           TEST(the_limit_is_reached_to_the_byte), TEST(threads_never_pass_the_limit),
           TEST(bytes_counted_by_many_threads_add_up),
           TEST(a_region_that_is_refused_leaves_nothing_behind));

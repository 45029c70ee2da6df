// Arenas: the three backings, every field of the descriptor, allocating, alignment, whose they are,
// their end.
#include "arena_fixture.h"
#include "fault_backend.h"

#include <stdio.h>

// ---- The descriptor ----

static void null_means_a_reserved_range_that_holds_nothing_yet(void) {
    fa_context *ctx = context_open(NULL);
    fa_arena *arena = NULL;
    REQUIRE_EQ(fa_arena_create(ctx, NULL, &arena), FA_OK);
    fa_arena_stats_result stats = arena_stats_of(arena);
    CHECK_STR_EQ(stats.name, "arena");
    CHECK_EQ(stats.reserved_bytes, (sizeof(void *) == 4 ? 16 : 256) * MIB);
    CHECK_EQ(stats.used_bytes, 0);
    CHECK_EQ(stats.peak_bytes, 0);
    CHECK_EQ(stats.committed_bytes, 0);
    CHECK_EQ(stats.waste_bytes, 0);
    CHECK_EQ(stats.blocks, 0);
    CHECK_EQ(stats.cleanups, 0);
    CHECK_EQ(stats.refusals, 0);
    CHECK_EQ(fa_arena_used(arena), 0);
    CHECK_EQ(stats_of(ctx).arenas, 1);
    nothing_failed();
    fa_arena_destroy(arena);
    context_close(ctx);
}

static void the_name_is_copied_and_cut_at_31_bytes(void) {
    fa_context *ctx = context_open(NULL);
    char name[] = "0123456789012345678901234567890123456789";
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){.name = name});
    memset(name, 'x', sizeof(name) - 1);
    CHECK_STR_EQ(arena_stats_of(arena).name, "0123456789012345678901234567890");
    CHECK_NULL(fa_arena_alloc(arena, 0));
    CHECK_STR_EQ(fa_last_error()->where, "0123456789012345678901234567890");
    fa_arena_destroy(arena);
    context_close(ctx);
}

static void the_tag_is_charged_for_everything_in_the_arena(void) {
    fa_context *ctx = context_open(NULL);
    fa_tag tag = fa_tag_register(ctx, "level/enemies");
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){.tag = tag});
    for (int i = 0; i < 100; i++) {
        fa_arena_alloc(arena, 100);
    }
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 100 * 112);
    CHECK_EQ(tag_stats_of(ctx, fa_tag_parent(ctx, tag)).current_bytes, 100 * 112);
    CHECK_EQ(stats_of(ctx).frame_bytes, 100 * 112);
    // Whatever tag is current where it is used.
    CHECK_EQ(fa_tag_push(ctx, fa_tag_register(ctx, "other")), FA_OK);
    fa_arena_alloc(arena, 16);
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 100 * 112 + 16);
    CHECK_EQ(tag_stats_of(ctx, fa_tag_current(ctx)).current_bytes, 0);
    CHECK_EQ(fa_tag_pop(ctx), FA_OK);
    fa_arena_destroy(arena);
    CHECK_EQ(tag_stats_of(ctx, tag).current_bytes, 0);
    context_close(ctx);
}

static void reserve_holds_that_much_in_one_piece(void) {
    fa_context *ctx = context_open(NULL);
    const size_t wanted[] = {1, 4096, 65536, 65537, 1000000};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        fa_arena *arena = arena_open(ctx, (fa_arena_desc){.reserve = wanted[i]});
        check_note("reserve %zu", wanted[i]);
        size_t reserved = arena_stats_of(arena).reserved_bytes;
        CHECK_GE(reserved, wanted[i]);
        CHECK_LT(reserved, wanted[i] + 65536);
        char *first = fa_arena_alloc(arena, 16);
        for (size_t used = 16; used < reserved; used += 16) {
            if (!CHECK_EQ(fa_arena_alloc(arena, 16), first + used)) {
                break;
            }
        }
        CHECK_EQ(arena_stats_of(arena).blocks, 0);
        fa_arena_destroy(arena);
    }
    context_close(ctx);
}

static void initial_is_committed_at_creation(void) {
    fa_context *ctx = context_open(NULL);
    size_t before = stats_of(ctx).committed_bytes;
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){.initial = 300000});
    fa_arena_stats_result stats = arena_stats_of(arena);
    CHECK_GE(stats.committed_bytes, 300000);
    CHECK_LT(stats.committed_bytes, 300000 + 65536);
    CHECK_EQ(stats_of(ctx).committed_bytes - before, stats.committed_bytes);
    CHECK_NOT_NULL(fa_arena_alloc(arena, 300000));
    CHECK_EQ(arena_stats_of(arena).committed_bytes, stats.committed_bytes);
    fa_arena_destroy(arena);
    // All of the reservation is allowed.
    arena = arena_open(ctx, (fa_arena_desc){.reserve = MIB, .initial = MIB});
    CHECK_EQ(arena_stats_of(arena).committed_bytes, MIB);
    fa_arena_destroy(arena);
    context_close(ctx);
}

static void chunk_size_selects_chunks_of_that_size(void) {
    fa_context *ctx = context_open(NULL);
    for (size_t chunk = 4096; chunk <= MIB; chunk *= 2) {
        fa_arena *arena = arena_open(ctx, (fa_arena_desc){.chunk_size = chunk});
        check_note("chunk_size %zu", chunk);
        CHECK_EQ(arena_stats_of(arena).reserved_bytes, chunk);
        CHECK_EQ(arena_stats_of(arena).committed_bytes, chunk);
        CHECK_NOT_NULL(fa_arena_alloc(arena, chunk)); // The first holds nothing but what is asked.
        CHECK_EQ(arena_stats_of(arena).blocks, 0);
        CHECK_NOT_NULL(fa_arena_alloc(arena, 16));
        CHECK_EQ(arena_stats_of(arena).blocks, 1);
        CHECK_EQ(arena_stats_of(arena).committed_bytes, 2 * chunk);
        CHECK_EQ(arena_stats_of(arena).reserved_bytes, 2 * chunk);
        fa_arena_destroy(arena);
    }
    context_close(ctx);
}

// Each size at each misalignment: nothing is written outside, at most 16 bytes at each end are
// lost.
static void the_callers_memory_is_used_and_nothing_beside_it(void) {
    fa_context *ctx = context_open(NULL);
    unsigned char *all = malloc(1024);
    REQUIRE_NOT_NULL(all);
    for (size_t at = 100; at < 132; at++) {
        for (size_t size = 1; size <= 500; size += 33) {
            memset(all, 0xC3, 1024);
            fa_arena *arena =
                arena_open(ctx, (fa_arena_desc){.memory = all + at, .memory_size = size});
            check_note("%zu bytes at %p", size, (void *)(all + at));
            size_t granted = 0;
            for (unsigned char *ptr = fa_arena_try_alloc(arena, 16); ptr != NULL;
                 ptr = fa_arena_try_alloc(arena, 16)) {
                CHECK(ptr >= all + at && ptr + 16 <= all + at + size);
                memset(ptr, 0x11, 16);
                granted += 16;
            }
            CHECK_GT(granted + 32, size);
            fa_arena_stats_result stats = arena_stats_of(arena);
            CHECK_EQ(stats.reserved_bytes, granted);
            CHECK_EQ(stats.committed_bytes, granted);
            CHECK_EQ(stats.used_bytes, granted);
            CHECK_EQ(stats.blocks, 0);
            CHECK(is_filled(all, at, 0xC3) && is_filled(all + at + size, 1024 - at - size, 0xC3));
            fa_arena_destroy(arena);
        }
    }
    free(all);
    context_close(ctx);
}

static void the_callers_memory_costs_the_context_none(void) {
    fa_context *ctx = context_open(NULL);
    static char memory[65536];
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){.memory = memory, .memory_size = 65536});
    fa_stats before = stats_of(ctx);
    CHECK_NOT_NULL(fa_arena_alloc(arena, 60000));
    fa_stats after = stats_of(ctx);
    CHECK_EQ(after.committed_bytes, before.committed_bytes);
    CHECK_EQ(after.reserved_bytes, before.reserved_bytes);
    CHECK_EQ(after.frame_bytes - before.frame_bytes, rounded(60000));
    fa_arena_destroy(arena);
    context_close(ctx);
}

static void a_bad_field_is_refused_and_named(void) {
    fa_context *ctx = context_open(NULL);
    static char memory[64];
    const struct {
        fa_arena_desc desc;
        const char *field;
    } cases[] = {{{.tag = {1}}, "tag"},
                 {{.reserve = SIZE_MAX}, "reserve"},
                 {{.reserve = SIZE_MAX / 4 + 1}, "reserve"},
                 {{.reserve = 65536, .initial = 65537}, "initial"},
                 {{.initial = SIZE_MAX}, "initial"},
                 {{.chunk_size = 1}, "chunk_size"},
                 {{.chunk_size = 2048}, "chunk_size"},
                 {{.chunk_size = 5000}, "chunk_size"},
                 {{.chunk_size = 4096 + 16}, "chunk_size"},
                 {{.chunk_size = 2 * MIB}, "chunk_size"},
                 {{.chunk_size = SIZE_MAX}, "chunk_size"},
                 {{.memory = memory}, "memory_size"},
                 {{.memory_size = 64}, "memory_size"},
                 {{.memory = memory, .memory_size = 64, .chunk_size = 4096}, "memory"},
                 {{.memory = memory, .memory_size = 64, .reserve = 65536}, "memory"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_note("case %zu", i);
        fa_arena *arena = (fa_arena *)(void *)memory;
        CHECK_EQ(fa_arena_create(ctx, &cases[i].desc, &arena), FA_ERR_INVALID);
        CHECK_NULL(arena);
        CHECK_STR_EQ(fa_last_error()->where, cases[i].field);
        failed_as(14, FA_ERR_INVALID);
    }
    CHECK_EQ(fa_arena_create(ctx, NULL, NULL), FA_ERR_INVALID);
    CHECK_STR_EQ(fa_last_error()->where, "out");
    failed_as(17, FA_ERR_INVALID);
    CHECK_EQ(stats_of(ctx).arenas, 0);
    context_close(ctx);
}

static void creation_that_gets_no_memory_holds_nothing(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_context *ctx = context_open(&(fa_config){.backend = &pages.backend});
    fa_arena_destroy(arena_open(ctx, (fa_arena_desc){.chunk_size = MIB})); // A region is there now.
    fa_stats before = stats_of(ctx);
    for (size_t call = 1; call <= 2; call++) { // The reservation, then the commit.
        fa_arena *arena = NULL;
        fault_backend_set(&pages, FAULT_FROM, pages.calls + call, 0, 0);
        CHECK_EQ(fa_arena_create(ctx, &(fa_arena_desc){.initial = 1}, &arena),
                 FA_ERR_OUT_OF_MEMORY);
        fault_backend_switch(&pages, FAULT_NONE);
        CHECK_NULL(arena);
        failed_as(305, FA_ERR_OUT_OF_MEMORY);
    }
    fa_stats after = stats_of(ctx);
    CHECK_EQ(after.reserved_bytes, before.reserved_bytes);
    CHECK_EQ(after.committed_bytes, before.committed_bytes);
    CHECK_EQ(after.arenas, 0);
    context_close(ctx);
    fault_backend_end(&pages);
}

// ---- Allocating ----

static void blocks_lie_next_to_each_other_and_sizes_are_rounded_to_16(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        char *first = fa_arena_alloc(self.arena, 1);
        REQUIRE_NOT_NULL(first);
        char *next = first + 16;
        for (size_t size = 1; size <= 80; size++) {
            char *ptr = size % 2 == 0 ? fa_arena_alloc(self.arena, size)
                                      : fa_arena_try_alloc(self.arena, size);
            CHECK_EQ(ptr, next);
            next += rounded(size);
            CHECK_EQ(fa_arena_used(self.arena), (size_t)(next - first));
        }
        CHECK_EQ((uintptr_t)first % FA_ALIGNMENT, 0);
        nothing_failed();
        case_close(&self);
    }
}

// Constants up to 4096 have a fast path of their own: it must stop at the same byte.
static void constant_sizes_stop_where_others_do(void) {
    fa_context *ctx = context_open(NULL);
    _Alignas(16) static char memory[4096];
    fa_arena *arena = arena_open(ctx, (fa_arena_desc){.memory = memory, .memory_size = 4096});
    CHECK_EQ(fa_arena_alloc(arena, 4096), (void *)memory);
    CHECK_NULL(fa_arena_alloc(arena, 1));
    CHECK_NULL(fa_arena_try_alloc(arena, 16));
    CHECK_NULL(fa_arena_alloc_aligned(arena, 16, 16));
    fa_arena_reset(arena);
    CHECK_NULL(fa_arena_alloc(arena, 4097));
    CHECK_NULL(fa_arena_try_alloc(arena, 4112));
    CHECK_EQ(fa_arena_try_alloc(arena, 4081), (void *)memory);
    CHECK_NULL(fa_arena_alloc(arena, 16));
    CHECK_EQ(fa_arena_used(arena), 4096);
    CHECK_EQ(arena_stats_of(arena).refusals, 6);
    fa_arena_destroy(arena);
    context_close(ctx);
}

typedef struct filled_block {
    unsigned char *ptr;
    size_t size;
} filled_block;

// Every alignment from 1 to 1 MiB, after something that spoils it, on every backing.
static void every_alignment_is_honoured_on_every_backing(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        for (size_t align = 1; align <= FA_ALIGNMENT_MAX; align *= 2) {
            filled_block blocks[12];
            check_note("%s, align %zu", backing_name(backing), align);
            for (size_t i = 0; i < 12; i++) {
                size_t size = i % 3 == 0 ? 16 : 1 + 97 * i;
                size_t spoil = i % 4 == 0 ? 0 : 16;
                if (spoil != 0) {
                    fa_arena_alloc(self.arena, spoil);
                }
                unsigned char *ptr = i % 3 == 2 && i != 11
                                         ? fa_arena_calloc(self.arena, 1, size, align)
                                         : fa_arena_alloc_aligned(self.arena, size, align);
                if (backing == ON_MEMORY && ptr == NULL) { // 4 MiB hold few of the largest.
                    CHECK_GE(align * 4, (size_t)BACKING_MEMORY / 4);
                    failed_as(3, FA_ERR_OUT_OF_MEMORY);
                    ptr = NULL;
                    size = 0;
                } else {
                    REQUIRE_NOT_NULL(ptr);
                    CHECK_EQ((uintptr_t)ptr & (align - 1), 0);
                    CHECK_EQ((uintptr_t)ptr % FA_ALIGNMENT, 0);
                    memset(ptr, (int)i + 1, size);
                }
                blocks[i] = (filled_block){ptr, size};
            }
            for (size_t i = 0; i < 12; i++) {
                CHECK(is_filled(blocks[i].ptr, blocks[i].size, (unsigned char)(i + 1)));
            }
            fa_arena_reset(self.arena);
        }
        case_close(&self);
    }
}

static void bytes_skipped_to_align_count_as_used(void) {
    arena_case self = case_open(ON_RANGE);
    char *first = fa_arena_alloc(self.arena, 16);
    char *aligned = fa_arena_alloc_aligned(self.arena, 100, 256);
    CHECK_EQ((size_t)(aligned - first), 256); // The range starts at a page.
    CHECK_EQ(fa_arena_used(self.arena), 256 + 112);
    CHECK_EQ(fa_arena_alloc_aligned(self.arena, 16, 16), (void *)(aligned + 112));
    case_close(&self);
}

static void an_alignment_that_does_not_fit_a_chunk_stays_inside_its_block(void) {
    fa_context *ctx = context_open(NULL);
    for (size_t align = 1024; align <= 8192; align *= 2) {
        fa_arena *arena = arena_open(ctx, (fa_arena_desc){.chunk_size = 4096});
        fa_arena *other = arena_open(ctx, (fa_arena_desc){.chunk_size = 4096});
        check_note("align %zu", align);
        unsigned char *near_by = fa_arena_alloc(other, 4096);
        memset(near_by, 0x77, 4096);
        fa_arena_alloc(arena, 16);
        for (int i = 0; i < 5; i++) {
            unsigned char *ptr = fa_arena_alloc_aligned(arena, 1000, align);
            REQUIRE_NOT_NULL(ptr);
            memset(ptr, 0x22, 1000);
            CHECK_LE((size_t)(arena->limit - arena->cursor), 4096);
        }
        CHECK(is_filled(near_by, 4096, 0x77));
        fa_arena_destroy(arena);
        fa_arena_destroy(other);
    }
    context_close(ctx);
}

// ---- Typed ----

typedef struct wide {
    _Alignas(64) unsigned char bytes[192];
} wide;

static void new_and_array_are_zeroed_and_aligned_for_the_type(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        unsigned char *dirty = fa_arena_alloc(self.arena, 4000);
        memset(dirty, 0xFF, 4000);
        fa_arena_reset(self.arena);
        fa_arena_alloc(self.arena, 16);
        wide *one = fa_arena_new(self.arena, wide);
        double *numbers = fa_arena_array(self.arena, double, 100);
        wide *many = fa_arena_array(self.arena, wide, 5);
        REQUIRE(one != NULL && numbers != NULL && many != NULL);
        CHECK_EQ((uintptr_t)one % 64, 0);
        CHECK_EQ((uintptr_t)many % 64, 0);
        CHECK(is_filled(one, sizeof(*one), 0));
        CHECK(is_filled(numbers, 100 * sizeof(double), 0));
        CHECK(is_filled(many, 5 * sizeof(wide), 0));
        case_close(&self);
    }
}

static void calloc_zeroes_memory_that_was_used_before(void) {
    for (arena_backing backing = 0; backing < BACKINGS; backing++) {
        arena_case self = case_open(backing);
        fa_mark mark = fa_arena_mark(self.arena);
        for (int round = 0; round < 3; round++) {
            unsigned char *ptr = fa_arena_calloc(self.arena, 61, 17, 32);
            REQUIRE_NOT_NULL(ptr);
            CHECK(is_filled(ptr, 61 * 17, 0));
            memset(ptr, 0xAA, 61 * 17);
            CHECK_EQ(fa_arena_rewind(self.arena, mark), FA_OK);
        }
        case_close(&self);
    }
}

static void an_uninitialised_array_is_one_bump_and_no_write(void) {
    arena_case self = case_open(ON_MEMORY);
    unsigned char *dirty = fa_arena_alloc(self.arena, 8000);
    memset(dirty, 0xAB, 8000);
    fa_arena_reset(self.arena);
    uint32_t *numbers = fa_arena_array_uninit(self.arena, uint32_t, 1001);
    CHECK_EQ((void *)numbers, (void *)dirty);
    CHECK_EQ(fa_arena_used(self.arena), rounded(1001 * 4));
    CHECK(is_filled(numbers, 1001 * 4, 0xAB));
    wide *many = fa_arena_array_uninit(self.arena, wide, 3);
    CHECK_EQ((uintptr_t)many % 64, 0);
    case_close(&self);
}

// ---- Whose it is, and its end ----

static void try_alloc_is_refused_without_a_report(void) {
    arena_case self = case_open_desc(ON_RANGE, (fa_arena_desc){.byte_limit = 64});
    report_log log;
    log_attach(self.context, &log);
    CHECK_NULL(fa_arena_try_alloc(self.arena, 65));
    refused_as(3, FA_ERR_LIMIT, 65, 64);
    log_empty(&log);
    CHECK_EQ(arena_stats_of(self.arena).refusals, 1);
    CHECK_NULL(fa_arena_alloc(self.arena, 65));
    const seen_report *report = log_single(&log, 3);
    CHECK_EQ(report->bytes, 65);
    CHECK_EQ(report->limit, 64);
    CHECK_STR_EQ(report->where, "arena");
    CHECK_EQ(arena_stats_of(self.arena).refusals, 2);
    CHECK_EQ(stats_of(self.context).refusals, 2);
    case_close(&self);
}

typedef struct claim_case {
    fa_context *context;
    fa_arena *arena;
    fa_tag tag;
} claim_case;

static void use_claimed(void *arg) {
    claim_case *self = arg;
    CHECK_EQ(fa_arena_claim(self->arena), FA_OK);
    for (int i = 0; i < 50; i++) {
        fa_arena_alloc(self->arena, 32);
    }
    // Its figures are exact for the thread that owns it.
    CHECK_EQ(tag_stats_of(self->context, self->tag).current_bytes, 16 + 50 * 32);
    // What it has leased and not used is not in its owner's way.
    fa_arena *second = arena_open(self->context, (fa_arena_desc){.tag = self->tag});
    size_t rest = 65536 - 16 - 50 * 32;
    CHECK_EQ(fa_budget_remaining(self->context, self->tag), rest);
    CHECK_NOT_NULL(fa_arena_alloc(second, rest));
    CHECK_NULL(fa_arena_alloc(self->arena, 16));
    fa_arena_destroy(second);
}

static void claiming_makes_the_calling_thread_the_owner(void) {
    claim_case self = {.context = context_open(NULL)};
    self.tag = fa_tag_register(self.context, "claimed");
    CHECK_EQ(fa_budget_set(self.context, self.tag, &(fa_budget){.hard = 65536}), FA_OK);
    self.arena = arena_open(self.context, (fa_arena_desc){.tag = self.tag});
    fa_arena_alloc(self.arena, 16);
    check_thread_join(check_thread_start(use_claimed, &self));
    CHECK_EQ(fa_arena_claim(self.arena), FA_OK);
    CHECK_EQ(fa_arena_used(self.arena), 16 + 50 * 32);
    fa_arena_destroy(self.arena);
    context_close(self.context);
}

static void frames_and_scratch_are_not_destroyed_reset_or_claimed(void) {
    fa_context *ctx = context_open(NULL);
    report_log log;
    fa_arena *frame = fa_frame_begin(ctx);
    fa_scratch scratch = fa_scratch_begin(ctx, NULL, 0);
    fa_arena *arenas[] = {frame, scratch.arena};
    log_attach(ctx, &log);
    for (size_t i = 0; i < 2; i++) {
        unsigned char *ptr = fa_arena_alloc(arenas[i], 100);
        memset(ptr, 0x5A, 100);
        fa_arena_destroy(arenas[i]);
        failed_as(10, FA_ERR_INVALID);
        log_single(&log, 10);
        fa_arena_reset(arenas[i]);
        failed_as(10, FA_ERR_INVALID);
        log_single(&log, 10);
        CHECK_EQ(fa_arena_claim(arenas[i]), FA_ERR_INVALID);
        failed_as(10, FA_ERR_INVALID);
        log_single(&log, 10);
        CHECK_EQ(fa_arena_used(arenas[i]), 112);
        CHECK(is_filled(ptr, 100, 0x5A));
    }
    fa_scratch_end(scratch);
    fa_frame_end(frame);
    log_empty(&log);
    context_close(ctx);
}

static void destroy_gives_everything_back(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_context *ctx = context_open(&(fa_config){.backend = &pages.backend});
    fa_arena_destroy(arena_open(ctx, (fa_arena_desc){.chunk_size = 4096}));
    fa_stats before = stats_of(ctx);
    for (int round = 0; round < 3; round++) {
        fa_arena *range = arena_open(ctx, (fa_arena_desc){.reserve = MIB});
        CHECK_NOT_NULL(fa_arena_alloc(range, 500000));
        CHECK_NOT_NULL(fa_arena_alloc(range, 5 * MIB)); // Stands aside.
        CHECK_GE(stats_of(ctx).committed_bytes, before.committed_bytes + 500000 + 5 * MIB);
        fa_arena_destroy(range);
        fa_stats after = stats_of(ctx);
        CHECK_EQ(after.reserved_bytes, before.reserved_bytes);
        CHECK_EQ(after.committed_bytes, before.committed_bytes);
        CHECK_EQ(after.frame_bytes, 0);
        CHECK_EQ(after.arenas, 0);
    }
    fa_arena_destroy(NULL);
    nothing_failed();
    context_close(ctx);
    fault_backend_end(&pages);
}

static void chunk_arenas_come_and_go_without_a_call_to_the_backend(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_context *ctx = context_open(&(fa_config){.backend = &pages.backend});
    static char memory[256];
    uint64_t calls = 0;
    for (int round = 0; round < 100; round++) {
        fa_arena *chunks = arena_open(ctx, (fa_arena_desc){.chunk_size = 4096});
        fa_arena *own = arena_open(ctx, (fa_arena_desc){.memory = memory, .memory_size = 256});
        for (int i = 0; i < 40; i++) {
            CHECK_NOT_NULL(fa_arena_alloc(chunks, 1000));
        }
        CHECK_NOT_NULL(fa_arena_alloc(own, 16));
        fa_arena_destroy(chunks);
        fa_arena_destroy(own);
        calls = round == 0 ? pages.calls : calls;
        CHECK_EQ(pages.calls, calls);
    }
    context_close(ctx);
    fault_backend_end(&pages);
}

static void count_run(void *arg) {
    *(int *)arg += 1;
}

static void an_arena_left_to_the_context_is_reported_and_freed(void) {
    fault_backend pages;
    fault_backend_make(&pages, FAULT_PAGES);
    fa_context *ctx = context_open(&(fa_config){.backend = &pages.backend});
    report_log log;
    int ran = 0;
    log_attach(ctx, &log);
    for (int i = 0; i < 3; i++) {
        fa_arena *arena =
            arena_open(ctx, (fa_arena_desc){.name = "left", .chunk_size = i == 1 ? 4096 : 0});
        CHECK_NOT_NULL(fa_arena_alloc(arena, 10000));
        CHECK_EQ(fa_arena_defer(arena, count_run, &ran), FA_OK);
    }
    CHECK_EQ(fa_context_destroy(ctx), FA_ERR_BUSY);
    CHECK_EQ(ran, 3);
    CHECK_EQ(log_count(&log, 8), 3);
    CHECK_EQ(atomic_load(&log.count), 3);
    CHECK_STR_EQ(log.seen[0].where, "left");
    CHECK_EQ(log.seen[0].bytes, rounded(10000) + rounded(4 * sizeof(void *)));
    fault_backend_end(&pages);
}

TEST_SUITE(arena, TEST(null_means_a_reserved_range_that_holds_nothing_yet),
           TEST(the_name_is_copied_and_cut_at_31_bytes),
           TEST(the_tag_is_charged_for_everything_in_the_arena),
           TEST(reserve_holds_that_much_in_one_piece), TEST(initial_is_committed_at_creation),
           TEST(chunk_size_selects_chunks_of_that_size),
           TEST(the_callers_memory_is_used_and_nothing_beside_it),
           TEST(the_callers_memory_costs_the_context_none), TEST(a_bad_field_is_refused_and_named),
           TEST(creation_that_gets_no_memory_holds_nothing),
           TEST(blocks_lie_next_to_each_other_and_sizes_are_rounded_to_16),
           TEST(constant_sizes_stop_where_others_do),
           TEST(every_alignment_is_honoured_on_every_backing),
           TEST(bytes_skipped_to_align_count_as_used),
           TEST(an_alignment_that_does_not_fit_a_chunk_stays_inside_its_block),
           TEST(new_and_array_are_zeroed_and_aligned_for_the_type),
           TEST(calloc_zeroes_memory_that_was_used_before),
           TEST(an_uninitialised_array_is_one_bump_and_no_write),
           TEST(try_alloc_is_refused_without_a_report),
           TEST(claiming_makes_the_calling_thread_the_owner),
           TEST(frames_and_scratch_are_not_destroyed_reset_or_claimed),
           TEST(destroy_gives_everything_back),
           TEST(chunk_arenas_come_and_go_without_a_call_to_the_backend),
           TEST(an_arena_left_to_the_context_is_reported_and_freed));

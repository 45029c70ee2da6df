// The calls of the workload. A call that is refused leaves out what depends on it; where refused
// calls are made again, nothing is left out.
#include "fault_world.h"

#include <stdio.h>
#include <string.h>

#define KIB ((size_t)1 << 10)
#define FRAME_RESERVE (256 * KIB)
#define CONTAINER_ITEMS 120

// Groups of pieces. Frames in flight have the lowest numbers, each arena of the crowd its own.
enum { GROUP_SCRATCH = 8, GROUP_OWN = 10, GROUP_MANY = 16 };

enum { OWN_RANGE, OWN_CHUNKS, OWN_MEMORY };

// ---- Context, tags, phases ---------------------------------------------------------------------

static fa_result create(world *w, size_t i) {
    (void)i;
    fa_config config = {.frame_reserve = FRAME_RESERVE,
                        .scratch_reserve = FRAME_RESERVE,
                        .frames_in_flight = w->plan->frames_in_flight,
                        .history_frames = w->plan->history_frames,
                        .memory_limit = w->plan->memory_limit,
                        .decay_frames = 3,
                        .chunk_size = 16 * KIB,
                        .backend = &w->faults->backend};
    fa_result result = fa_context_create(&config, &w->ctx);
    CHECK_EQ(result == FA_OK, w->ctx != NULL);
    return result;
}

static fa_result attach(world *w, size_t i) {
    (void)i;
    fa_result result = fa_thread_attach(w->ctx, "worker");
    w->is_attached = result == FA_OK;
    return result;
}

static fa_result register_tag(world *w, size_t i) {
    char path[64];
    // Tags come in chunks of 64. After the third, a parent and its child may lie in two of them.
    snprintf(path, sizeof(path), i == 0 ? "budgeted" : i == 1 ? "single" : "system %zu/part", i);
    w->tags[i] = fa_tag_register(w->ctx, path);
    if (w->tags[i].id == 0) {
        return world_result_of(NULL);
    }
    CHECK_STR_EQ(fa_tag_path(w->ctx, w->tags[i]), path);
    return FA_OK;
}

static fa_result push_tag(world *w, size_t i) {
    fa_result result = fa_tag_push(w->ctx, w->tags[i]);
    if (result == FA_OK) {
        w->depth += 1;
        CHECK_EQ(fa_tag_current(w->ctx).id, w->tags[i].id);
    }
    return result;
}

static void pop_tags(world *w) {
    for (; w->depth != 0; w->depth--) {
        CHECK_EQ((int)fa_tag_pop(w->ctx), FA_OK);
    }
}

static fa_result begin_phase(world *w, size_t i) {
    fa_result result = fa_phase_begin(w->ctx, i == 0 ? "outer" : "inner");
    w->phases += result == FA_OK ? 1 : 0;
    return result;
}

// ---- Frames ------------------------------------------------------------------------------------

static size_t frame_group(const world *w, uint64_t frame) {
    return (size_t)(frame % w->plan->frames_in_flight);
}

static fa_result begin_frame(world *w, size_t i) {
    (void)i;
    fa_arena *frame = fa_frame_begin(w->ctx);
    if (frame != NULL) {
        w->is_attached = true;
        w->frames += 1;
        w->frame = frame;
        world_drop_pieces(w, frame_group(w, w->frames), 0);
        world_check_pieces(w); // Those of the other frames in flight are still good.
        CHECK_EQ(fa_frame_index(frame), w->frames);
        CHECK_EQ(fa_frame_current(w->ctx), frame);
    }
    return world_result_of(frame);
}

static void end_frame(world *w) {
    if (w->frame == NULL) {
        return;
    }
    for (; w->phases != 0; w->phases--) {
        CHECK_EQ((int)fa_phase_end(w->ctx, NULL), FA_OK);
    }
    world_check_pieces(w);
    world_check_containers(w);
    memset(&w->vec, 0, sizeof(w->vec));
    memset(&w->map, 0, sizeof(w->map));
    memset(&w->string, 0, sizeof(w->string));
    if (w->plan->frames_in_flight == 1) {
        world_drop_pieces(w, frame_group(w, w->frames), 0);
    }
    fa_frame_end(w->frame);
    w->frame = NULL;
    CHECK_NULL(fa_frame_current(w->ctx));
    world_check_pieces(w);
    world_check_balance(w);
}

static void ask(world *w, size_t size) {
    w->asked = size;
    w->asked_tag = fa_tag_current(w->ctx);
}

// From small to larger than a frame's reservation, with small ones in between to fill gaps.
static const struct {
    size_t size;
    size_t align;
} requests[] = {{24, 16},        {5000, 16},     {70000, 16},      {64, 4096}, {100, 16},
                {120000, 16},    {10, 65536},    {200000, 16},     {48, 16},   {300000, 16},
                {1300000, 4096}, {100, 1 << 20}, {30000, 1 << 13}, {16, 16}};

#define REQUEST_COUNT (sizeof(requests) / sizeof(requests[0]))

static fa_result alloc_in_frame(world *w, size_t i) {
    ask(w, requests[i].size);
    void *ptr = fa_arena_alloc_aligned(w->frame, requests[i].size, requests[i].align);
    if (ptr != NULL) {
        CHECK_EQ((uintptr_t)ptr % requests[i].align, 0);
        world_add_piece(w, ptr, requests[i].size, frame_group(w, w->frames));
    }
    return world_result_of(ptr);
}

static fa_result alloc_tagged(world *w, size_t i) {
    size_t size = 40 + 1000 * i;
    void *ptr = fa_tagged_alloc(fa_tagged_make(w->ctx, w->tags[i]), size);
    if (ptr != NULL) {
        world_add_piece(w, ptr, size, frame_group(w, w->frames));
    }
    return world_result_of(ptr);
}

static void count_undone(void *arg) {
    world *w = arg;
    w->undone += 1;
}

static fa_result defer_in_frame(world *w, size_t i) {
    (void)i;
    fa_result result = fa_arena_defer(w->frame, count_undone, w);
    w->deferred += result == FA_OK ? 1 : 0;
    return result;
}

static fa_result push_item(world *w, size_t i) {
    return fa_vec_push(w->frame, &w->vec, {.number = i * 3});
}

static fa_result put_entry(world *w, size_t i) {
    return fa_map_put(w->frame, &w->map, (uint32_t)i, {.number = i * 7});
}

static fa_result append_text(world *w, size_t i) {
    return fa_string_append_printf(w->frame, &w->string, "%0600u,", (unsigned)i);
}

static fa_result print_text(world *w, size_t i) {
    char *text = fa_arena_printf(w->frame, "%0*d", 20 + (int)(i * 9000), 7);
    if (text != NULL) {
        CHECK_EQ(strlen(text), 20 + i * 9000);
        CHECK_EQ(text[19 + i * 9000], '7');
    }
    return world_result_of(text);
}

static fa_result begin_scratch(world *w, size_t i) {
    fa_arena *conflicts[2] = {w->frame, w->scratch[0].arena};
    fa_scratch scratch = fa_scratch_begin(w->ctx, conflicts, i == 0 ? 1 : 2);
    w->scratch[i] = scratch;
    w->is_attached = w->is_attached || scratch.arena != NULL;
    return world_result_of(scratch.arena);
}

static fa_result alloc_in_scratch(world *w, size_t i) {
    size_t size = (i / 2 + 1) * 50000;
    ask(w, size);
    void *ptr = fa_arena_alloc(w->scratch[i % 2].arena, size);
    if (ptr != NULL) {
        world_add_piece(w, ptr, size, GROUP_SCRATCH + i % 2);
    }
    return world_result_of(ptr);
}

static void play_scratch(world *w) {
    for (size_t i = 0; i < 2; i++) {
        world_attempt(w, "scratch begin", begin_scratch, i);
    }
    for (size_t i = 0; i < 10; i++) {
        if (w->scratch[i % 2].arena != NULL) {
            world_attempt(w, "scratch alloc", alloc_in_scratch, i);
        }
    }
    for (size_t i = 2; i > 0; i--) {
        world_drop_pieces(w, GROUP_SCRATCH + i - 1, 0);
        fa_scratch_end(w->scratch[i - 1]);
        w->scratch[i - 1] = (fa_scratch){0};
    }
    world_check_pieces(w);
}

// Tags pushed and popped around allocations, until the log of runs has grown.
static void play_tags(world *w) {
    for (size_t i = 0; i < 150 && w->frame != NULL; i++) {
        size_t tag = i % w->plan->tags;
        if (w->tags[tag].id != 0) {
            world_attempt(w, "tag push", push_tag, tag);
            world_attempt(w, "small alloc", alloc_in_frame, 0);
            pop_tags(w);
        }
    }
}

static void play_containers(world *w) {
    // One that was refused an item gets no further ones, so that its content stays known.
    for (size_t i = 0; i < CONTAINER_ITEMS; i++) {
        if (w->vec.count == i) {
            world_attempt(w, "vec push", push_item, i);
        }
        if (w->map.count == i) {
            world_attempt(w, "map put", put_entry, i);
        }
        world_attempt(w, "string append", append_text, i);
    }
    for (size_t i = w->vec.count; i < 2 * (size_t)CONTAINER_ITEMS; i++) {
        if (w->vec.count == i) {
            world_attempt(w, "vec push", push_item, i);
        }
    }
}

static void play_frame(world *w, size_t round) {
    world_attempt(w, "frame begin", begin_frame, 0);
    if (w->frame == NULL) {
        return;
    }
    world_attempt(w, "phase begin", begin_phase, 0);
    if (w->tags[round].id != 0) {
        world_attempt(w, "tag push", push_tag, round);
    }
    for (size_t i = 0; i < REQUEST_COUNT; i++) {
        world_attempt(w, "frame alloc", alloc_in_frame, i);
        world_attempt(w, "defer", defer_in_frame, i);
    }
    world_attempt(w, "phase begin", begin_phase, 1);
    if (w->tags[1].id != 0) {
        world_attempt(w, "tagged alloc", alloc_tagged, 1);
    }
    for (size_t i = 0; i < 4; i++) {
        world_attempt(w, "printf", print_text, i);
    }
    play_scratch(w);
    if (round == 1) {
        play_containers(w);
        pop_tags(w);
        play_tags(w);
    }
    pop_tags(w);
    end_frame(w);
}

// ---- Arenas of their own -----------------------------------------------------------------------

static fa_result create_own(world *w, size_t i) {
    static _Thread_local _Alignas(16) unsigned char memory[4096];
    fa_arena_desc desc = {.name = "own", .tag = w->tags[0]};
    if (i == OWN_RANGE) {
        desc.reserve = FRAME_RESERVE;
        desc.initial = 5000;
    } else if (i == OWN_CHUNKS) {
        desc.chunk_size = 8 * KIB;
    } else {
        desc.memory = memory;
        desc.memory_size = sizeof(memory);
    }
    fa_result result = fa_arena_create(w->ctx, &desc, &w->own[i]);
    CHECK_EQ(result == FA_OK, w->own[i] != NULL);
    return result;
}

static void *own_alloc(world *w, size_t which, size_t size) {
    w->asked = size;
    w->asked_tag = w->tags[0];
    void *ptr = fa_arena_alloc(w->own[which], size);
    if (ptr != NULL) {
        world_add_piece(w, ptr, size, GROUP_OWN + which);
    }
    return ptr;
}

static fa_result alloc_in_range(world *w, size_t i) {
    return world_result_of(own_alloc(w, OWN_RANGE, (i + 1) * 15000));
}

static fa_result alloc_in_chunks(world *w, size_t i) {
    return world_result_of(own_alloc(w, OWN_CHUNKS, (i % 5 + 1) * 700 + (i == 7 ? 1500000 : 0)));
}

static fa_result alloc_in_memory(world *w, size_t i) {
    return world_result_of(own_alloc(w, OWN_MEMORY, 50 + i));
}

static bool is_filled_with(const unsigned char *ptr, size_t size, unsigned char value) {
    return size == 0 || (ptr[0] == value && memcmp(ptr, ptr + 1, size - 1) == 0);
}

// Grows a block, in place while it is the last one.
static fa_result resize_block(world *w, size_t i) {
    size_t size = (i + 1) * 9000;
    w->asked = size;
    w->asked_tag = w->tags[0];
    unsigned char *ptr = fa_arena_resize(w->own[OWN_RANGE], w->resized, w->resized_size, size);
    if (ptr == NULL) {
        CHECK(is_filled_with(w->resized, w->resized_size, 77));
        return world_result_of(ptr);
    }
    CHECK(is_filled_with(ptr, w->resized_size, 77));
    memset(ptr, 77, size);
    w->resized = ptr;
    w->resized_size = size;
    return FA_OK;
}

static void play_range(world *w) {
    world_attempt(w, "range create", create_own, OWN_RANGE);
    if (w->own[OWN_RANGE] == NULL) {
        return;
    }
    world_attempt(w, "range alloc", alloc_in_range, 0);
    fa_mark mark = fa_arena_mark(w->own[OWN_RANGE]);
    size_t before = fa_arena_used(w->own[OWN_RANGE]);
    size_t pieces = w->piece_count;
    for (size_t i = 0; i < 9; i++) {
        world_attempt(w, "range alloc", alloc_in_range, i);
    }
    CHECK_EQ((int)fa_arena_rewind(w->own[OWN_RANGE], mark), FA_OK);
    CHECK_EQ(fa_arena_used(w->own[OWN_RANGE]), before);
    world_drop_pieces(w, GROUP_OWN + OWN_RANGE, pieces);
    w->resized = NULL;
    w->resized_size = 0;
    for (size_t i = 0; i < 24; i++) {
        world_attempt(w, "resize", resize_block, i);
        if (i % 10 == 9) {
            world_attempt(w, "range alloc", alloc_in_range, 0); // The next one has to move.
        }
    }
    world_drop_pieces(w, GROUP_OWN + OWN_RANGE, 0);
    fa_arena_reset(w->own[OWN_RANGE]);
    CHECK_EQ(fa_arena_used(w->own[OWN_RANGE]), 0);
    CHECK_EQ((int)fa_arena_trim(w->own[OWN_RANGE], 0), FA_OK);
    world_check_balance(w);
    world_attempt(w, "range alloc", alloc_in_range, 5);
}

static void play_chunks_and_memory(world *w) {
    world_attempt(w, "chunks create", create_own, OWN_CHUNKS);
    world_attempt(w, "memory create", create_own, OWN_MEMORY);
    for (size_t i = 0; i < 24; i++) {
        if (w->own[OWN_CHUNKS] != NULL) {
            world_attempt(w, "chunks alloc", alloc_in_chunks, i);
        }
        if (w->own[OWN_MEMORY] != NULL) {
            world_attempt(w, "memory alloc", alloc_in_memory, i);
        }
    }
}

static fa_result create_one_of_many(world *w, size_t i) {
    size_t chunk = (size_t)4 * KIB << (i % 7 == 0 ? 4 : i % 2);
    return fa_arena_create(w->ctx, &(fa_arena_desc){.name = "many", .chunk_size = chunk},
                           &w->many[i]);
}

// Takes a record and nothing else.
static fa_result create_on_memory(world *w, size_t i) {
    static unsigned char memory[64];
    return fa_arena_create(
        w->ctx, &(fa_arena_desc){.memory = memory, .memory_size = sizeof(memory)}, &w->many[i]);
}

static fa_result alloc_in_one_of_many(world *w, size_t i) {
    size_t size = 900 + i;
    w->asked = size;
    void *ptr = fa_arena_alloc(w->many[i], size);
    if (ptr != NULL) {
        world_add_piece(w, ptr, size, GROUP_MANY + i);
    }
    return world_result_of(ptr);
}

static void destroy_one_of_many(world *w, size_t i) {
    world_drop_pieces(w, GROUP_MANY + i, 0);
    fa_arena_destroy(w->many[i]);
    w->many[i] = NULL;
}

static void play_many(world *w) {
    for (size_t i = 0; i < w->plan->arenas; i++) {
        world_attempt(w, "create one of many", create_one_of_many, i);
        if (w->many[i] != NULL && i % 3 == 0) {
            world_attempt(w, "alloc in one of many", alloc_in_one_of_many, i);
        }
    }
    // Every other one goes and comes again, so that chunks are joined, cut and used anew.
    for (size_t i = 0; i < w->plan->arenas; i += 2) {
        destroy_one_of_many(w, i);
    }
    world_check_pieces(w);
    for (size_t i = 0; i < w->plan->arenas; i += 4) {
        world_attempt(w, "create one of many", create_one_of_many, i);
        if (w->many[i] != NULL) {
            world_attempt(w, "alloc in one of many", alloc_in_one_of_many, i);
        }
    }
}

// ---- The whole ---------------------------------------------------------------------------------

static void init(world *w, const world_plan *plan, fault_backend *faults, const char *label,
                 uint64_t seed) {
    memset(w, 0, sizeof(*w));
    w->plan = plan;
    w->label = label;
    w->faults = faults;
    w->rng = check_rng_make(seed);
}

void world_create(world *w, const world_plan *plan, fault_backend *faults, const char *label) {
    init(w, plan, faults, label, check_seed());
    world_attempt(w, "context create", create, 0);
    if (w->ctx != NULL) {
        CHECK_EQ((int)fa_report_set(w->ctx, world_hear, NULL), FA_OK);
    }
}

void world_join(world *w, const world *host, const char *label, uint64_t seed) {
    init(w, host->plan, host->faults, label, seed);
    w->ctx = host->ctx;
    memcpy(w->tags, host->tags, sizeof(w->tags));
}

static void destroy_arenas(world *w) {
    for (size_t i = 0; i < 3; i++) {
        world_drop_pieces(w, GROUP_OWN + i, 0);
        fa_arena_destroy(w->own[i]);
        w->own[i] = NULL;
    }
    for (size_t i = 0; i < w->plan->arenas; i++) {
        destroy_one_of_many(w, i);
    }
}

// Frames that need little after one that needed much: what the spike took is given back.
static void play_decay(world *w) {
    for (size_t i = 0; i < 8; i++) {
        world_attempt(w, "frame begin", begin_frame, 0);
        if (w->frame != NULL) {
            world_attempt(w, "frame alloc", alloc_in_frame, 0);
            end_frame(w);
        }
    }
}

static void play_thread(world *w) {
    static world other;
    if (!check_thread_supported()) {
        return;
    }
    world_join(&other, w, w->label, w->failures);
    check_thread_join(check_thread_start(world_thread, &other));
    w->failures += other.failures;
    CHECK_EQ(other.undone, other.deferred);
    world_check_pieces(w);
    world_check_balance(w);
}

void world_play(world *w) {
    if (w->ctx == NULL) {
        return;
    }
    world_attempt(w, "attach", attach, 0);
    for (size_t i = 0; i < w->plan->tags; i++) {
        world_attempt(w, "tag register", register_tag, i);
    }
    const fa_budget budget = {.soft = 8 * KIB, .hard = (size_t)1 << 30};
    if (w->tags[0].id != 0) {
        CHECK_EQ((int)fa_budget_set(w->ctx, w->tags[0], &budget), FA_OK);
    }
    for (size_t round = 0; round < 3; round++) {
        uint32_t checks = round == 2 ? FA_CHECK_WATCH : 0;
        CHECK_EQ((int)fa_context_checks_set(w->ctx, checks), FA_OK);
        play_frame(w, round);
    }
    play_decay(w);
    CHECK_EQ((int)fa_context_trim(w->ctx, 0), FA_OK);
    world_check_balance(w);
    world_check_pieces(w);
    play_range(w);
    play_chunks_and_memory(w);
    play_many(w);
    play_thread(w);
    destroy_arenas(w);
    CHECK_EQ((int)fa_context_trim(w->ctx, 0), FA_OK);
    world_check_balance(w);
    play_frame(w, 0);
}

void world_thread(void *world_of) {
    world *w = world_of;
    world_attempt(w, "attach", attach, 0);
    play_frame(w, 0);
    play_range(w);
    world_drop_pieces(w, GROUP_OWN, 0);
    fa_arena_destroy(w->own[OWN_RANGE]);
    w->own[OWN_RANGE] = NULL;
    CHECK_EQ((int)fa_context_trim(w->ctx, 0), FA_OK);
}

void world_use_all_tags(world *w) {
    if (w->ctx == NULL) {
        return;
    }
    world_attempt(w, "attach", attach, 0);
    for (size_t i = 0; i < w->plan->tags; i++) {
        world_attempt(w, "tag register", register_tag, i);
    }
    world_attempt(w, "frame begin", begin_frame, 0);
    for (size_t i = 0; i < w->plan->tags && w->frame != NULL; i++) {
        if (w->tags[i].id != 0) {
            world_attempt(w, "tag push", push_tag, i);
            world_attempt(w, "scratch begin", begin_scratch, 0);
            fa_scratch_end(w->scratch[0]);
            w->scratch[0] = (fa_scratch){0};
            pop_tags(w);
        }
    }
    end_frame(w);
}

// More phases than a record has room for are refused for that reason, so each thread begins one.
static void begin_one_phase(void *world_of) {
    world *w = world_of;
    world_attempt(w, "attach", attach, 0);
    if (w->is_attached) {
        world_attempt(w, "phase begin", begin_phase, 0);
    }
    for (; w->phases != 0; w->phases--) {
        CHECK_EQ((int)fa_phase_end(w->ctx, NULL), FA_OK);
    }
}

static void play_phases(world *w) {
    static world others[3];
    world_attempt(w, "phase begin", begin_phase, 0);
    for (size_t i = 0; i < 3 && check_thread_supported(); i++) {
        world_join(&others[i], w, w->label, w->failures + i);
        check_thread_join(check_thread_start(begin_one_phase, &others[i]));
        w->failures += others[i].failures;
    }
}

static void play_register(world *w) {
    for (size_t i = 0; i < w->plan->tags; i++) {
        world_attempt(w, "tag register", register_tag, i);
    }
}

static void play_create(world *w) {
    for (size_t i = 0; i < w->plan->arenas; i++) {
        if (w->many[i] == NULL) {
            world_attempt(w, "create by memory", create_on_memory, i);
        }
    }
}

void world_play_full(world *w, size_t first) {
    void (*const kinds[])(world * w) = {play_phases, play_register, play_create, play_tags,
                                        play_scratch};
    enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };
    if (w->ctx == NULL) {
        return;
    }
    w->tags[0] = fa_tag_register(w->ctx, "budgeted");
    world_attempt(w, "frame begin", begin_frame, 0);
    while (w->frame != NULL && fa_arena_try_alloc(w->frame, 1008) != NULL) {
    }
    for (size_t i = 0; i < KINDS && w->frame != NULL; i++) {
        kinds[(first + i) % KINDS](w);
    }
    end_frame(w);
}

void world_end(world *w) {
    if (w->ctx == NULL) {
        return;
    }
    destroy_arenas(w);
    CHECK_EQ((int)fa_context_destroy(w->ctx), FA_OK);
    CHECK_EQ(w->undone, w->deferred);
    w->ctx = NULL;
}

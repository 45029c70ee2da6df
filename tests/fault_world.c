// A piece is memory that the workload holds; pieces live and die in groups, as arenas do. Large
// ones are filled and looked at in places only, as what is looked for is overlap and lost pages.
#include "fault_world.h"

#include <stdio.h>
#include <string.h>

// What the report function has heard since the present call began, on this thread.
typedef struct heard {
    unsigned failures; // Reports of something refused.
    fa_report last;    // The last of them, its texts below.
    char tag_path[96];
    char thread[32];
    char where[32];
} heard;

static _Thread_local heard told;

void world_hear(const fa_report *report, void *user) {
    (void)user;
    if (report->result == FA_OK) {
        return; // A line was passed: nothing was refused.
    }
    told.failures += 1;
    told.last = *report;
    snprintf(told.tag_path, sizeof(told.tag_path), "%s", report->tag_path);
    snprintf(told.thread, sizeof(told.thread), "%s", report->thread);
    snprintf(told.where, sizeof(told.where), "%s", report->where);
}

// ---- Pieces ------------------------------------------------------------------------------------

static size_t piece_step(size_t size) {
    return size <= 256 ? 1 : size / 15;
}

void world_add_piece(world *w, void *ptr, size_t size, size_t group) {
    REQUIRE_LT(w->piece_count, WORLD_PIECES_MAX);
    unsigned char fill = (unsigned char)(1 + w->piece_count % 250);
    world_piece piece = {ptr, size, group, fill};
    for (size_t at = 0; at < size; at += piece_step(size)) {
        piece.ptr[at] = fill;
    }
    piece.ptr[size - 1] = fill;
    w->pieces[w->piece_count] = piece;
    w->piece_count += 1;
}

void world_check_pieces(const world *w) {
    for (size_t i = 0; i < w->piece_count; i++) {
        const world_piece *piece = &w->pieces[i];
        bool intact = piece->ptr[piece->size - 1] == piece->fill;
        for (size_t at = 0; at < piece->size; at += piece_step(piece->size)) {
            intact = intact && piece->ptr[at] == piece->fill;
        }
        if (!intact) {
            FAIL("piece %zu of %zu bytes in group %zu has changed", i, piece->size, piece->group);
            return;
        }
    }
}

// Forgets the pieces of a group from the one numbered `first` on.
void world_drop_pieces(world *w, size_t group, size_t first) {
    size_t kept = first;
    for (size_t i = first; i < w->piece_count; i++) {
        if (w->pieces[i].group != group) {
            w->pieces[kept] = w->pieces[i];
            kept += 1;
        }
    }
    w->piece_count = kept;
}

void world_check_containers(const world *w) {
    for (size_t i = 0; i < w->vec.count; i++) {
        if (!CHECK_EQ(w->vec.data[i].number, i * 3)) {
            return;
        }
    }
    for (size_t i = 0; i < w->map.count; i++) {
        const world_item *value = fa_map_get(&w->map, (uint32_t)i);
        if (!CHECK_NOT_NULL(value) || !CHECK_EQ(value->number, i * 7)) {
            return;
        }
    }
    const char *text = fa_string_cstr(&w->string);
    CHECK_EQ(strlen(text), w->string.length);
    CHECK_EQ(strspn(text, "0123456789,"), w->string.length);
}

// ---- Statistics --------------------------------------------------------------------------------

#define FIGURE_ARENAS 4

typedef struct figures {
    bool are_read;
    fa_stats stats;
    fa_thread_stats_result thread;
    fa_tag_stats_result tags[3];
    fa_arena_stats_result arenas[FIGURE_ARENAS];
    size_t remaining;
    uint32_t tag_count;
    fa_tag current;
    fa_arena *frame;
    uint64_t furthest;
    fa_frame_record records[2];
    size_t history;
} figures;

static fa_arena *figure_arena(const world *w, size_t i) {
    return i < 3 ? w->own[i] : w->frame;
}

static void read_figures(const world *w, figures *out) {
    memset(out, 0, sizeof(*out));
    if (w->ctx == NULL) {
        return;
    }
    out->are_read = true;
    if (!w->plan->is_shared) {
        CHECK_EQ(fa_stats_get(w->ctx, &out->stats), FA_OK);
        for (uint32_t i = 0; i < 3 && i < fa_tag_count(w->ctx); i++) {
            CHECK_EQ(fa_tag_stats(w->ctx, (fa_tag){i}, &out->tags[i]), FA_OK);
        }
        out->remaining = fa_budget_remaining(w->ctx, FA_TAG_ROOT);
        out->furthest = fa_context_frame_index(w->ctx);
        out->tag_count = fa_tag_count(w->ctx);
    }
    if (w->is_attached) {
        CHECK_EQ(fa_thread_stats(w->ctx, NULL, &out->thread), FA_OK);
        out->current = fa_tag_current(w->ctx);
        out->frame = fa_frame_current(w->ctx);
        out->history = fa_history(w->ctx, out->records, 2);
    }
    for (size_t i = 0; i < FIGURE_ARENAS; i++) {
        if (figure_arena(w, i) != NULL) {
            CHECK_EQ(fa_arena_stats(figure_arena(w, i), &out->arenas[i]), FA_OK);
        }
    }
}

// Committed, reserved and overhead bytes may have grown: bookkeeping that was won is kept.
#define SAME(field) CHECK_EQ(now.field, before->field)

static void compare_figures(const world *w, const figures *before) {
    figures now;
    read_figures(w, &now);
    SAME(stats.frame_bytes);
    SAME(stats.total_bytes);
    SAME(stats.peak_bytes);
    SAME(stats.allocations);
    SAME(stats.frees);
    SAME(stats.threads);
    SAME(stats.arenas);
    SAME(remaining);
    SAME(furthest);
    SAME(tag_count);
    SAME(current.id);
    SAME(frame);
    SAME(history);
    SAME(records[0].bytes);
    SAME(records[1].index);
    SAME(thread.frame_index);
    SAME(thread.frame_bytes);
    SAME(thread.frame_peak_bytes);
    SAME(thread.total_bytes);
    SAME(thread.allocations);
    SAME(thread.tag_depth);
    for (size_t i = 0; i < 3; i++) {
        SAME(tags[i].current_bytes);
        SAME(tags[i].peak_bytes);
        SAME(tags[i].frame_bytes);
        SAME(tags[i].frame_peak_bytes);
        SAME(tags[i].allocations);
    }
    for (size_t i = 0; i < FIGURE_ARENAS; i++) {
        SAME(arenas[i].used_bytes);
        SAME(arenas[i].peak_bytes);
        SAME(arenas[i].blocks);
        SAME(arenas[i].waste_bytes);
        SAME(arenas[i].cleanups);
    }
    // An allocation is refused once. Refusals of calls that are none do not count.
    CHECK_LE(now.stats.refusals, before->stats.refusals + 1);
    if (w->asked != 0 && !w->plan->is_shared) {
        CHECK_EQ(now.stats.refusals, before->stats.refusals + 1);
    }
}

// What the context says it holds is what the backend has given.
void world_check_balance(const world *w) {
    fa_stats stats;
    if (w->ctx == NULL || w->plan->is_shared) {
        return;
    }
    CHECK_EQ(fa_stats_get(w->ctx, &stats), FA_OK);
    CHECK_EQ(stats.committed_bytes, w->faults->committed_bytes);
    CHECK_EQ(stats.reserved_bytes, w->faults->reserved_bytes);
    CHECK_LE(stats.overhead_bytes, stats.committed_bytes);
    if (w->plan->memory_limit != 0) {
        CHECK_LE(w->faults->committed_peak, w->plan->memory_limit);
    }
}

// ---- Attempts ----------------------------------------------------------------------------------

// Whether statistics are read around the next call. Reading them settles them, so not around each.
static bool is_looked_at(world *w) {
    const world_plan *plan = w->plan;
    if (plan->is_shared) {
        return check_rng_chance(&w->rng, plan->looks);
    }
    fault_backend *faults = w->faults;
    uint64_t number = faults->attempts;
    faults->attempts += 1;
    if (plan->log != NULL) {
        REQUIRE_LT(number, WORLD_LOG_MAX);
        plan->log[number] = faults->calls;
    }
    return number == plan->look_at || check_rng_chance(&w->rng, plan->looks);
}

static void check_reason(const world *w, fa_result result, uint64_t refusals) {
    const fa_error *error = fa_last_error();
    size_t limit = w->plan->memory_limit;
    CHECK_EQ((int)result, limit != 0 ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY);
    CHECK_EQ((int)error->result, (int)result);
    CHECK_EQ(error->code, limit != 0 ? 301 : 305);
    CHECK_EQ(error->limit, limit);
    CHECK_STR_HAS(error->text, limit != 0 ? "FA301 error: " : "FA305 error: ");
    if (limit == 0) {
        CHECK_GT(fault_refusals_here(), refusals);
    }
    if (w->asked != 0) {
        CHECK_EQ(error->bytes, w->asked);
        CHECK_EQ(error->tag.id, w->asked_tag.id);
        CHECK_STR_EQ(error->tag_path, fa_tag_path(w->ctx, w->asked_tag));
    }
    // With no context there is nobody to report to.
    if (!CHECK_EQ(told.failures, w->ctx == NULL ? 0 : 1) || w->ctx == NULL) {
        return;
    }
    CHECK_EQ(told.last.info->code, error->code);
    CHECK_EQ((int)told.last.result, (int)error->result);
    CHECK_EQ(told.last.context, w->ctx);
    CHECK_EQ(told.last.bytes, error->bytes);
    CHECK_EQ(told.last.limit, error->limit);
    CHECK_EQ(told.last.tag.id, error->tag.id);
    CHECK_EQ(told.last.frame, error->frame);
    CHECK_STR_EQ(told.tag_path, error->tag_path);
    CHECK_STR_EQ(told.thread, error->thread);
    CHECK_STR_EQ(told.where, error->where);
}

static fa_result make_call(world *w, world_step step, size_t i) {
    told = (heard){0};
    w->asked = 0;
    w->asked_tag = FA_TAG_ROOT;
    fa_last_error_clear();
    return step(w, i);
}

void world_attempt(world *w, const char *what, world_step step, size_t i) {
    check_note("%s: %s %zu", w->label, what, i);
    figures before;
    bool looks = is_looked_at(w);
    if (looks) {
        read_figures(w, &before);
    }
    uint64_t refusals = fault_refusals_here();
    fa_result result = make_call(w, step, i);
    if (result == FA_OK) {
        CHECK_EQ(told.failures, 0);
        CHECK_EQ((int)fa_last_error()->result, FA_OK);
        return;
    }
    w->failures += 1;
    check_reason(w, result, refusals);
    if (looks && before.are_read) {
        compare_figures(w, &before);
    }
    world_check_pieces(w);
    world_check_containers(w);
    world_check_balance(w);
    if (w->plan->retries) {
        fault_mode mode = fault_backend_switch(w->faults, FAULT_NONE);
        CHECK_EQ((int)make_call(w, step, i), FA_OK);
        fault_backend_switch(w->faults, mode);
    }
}

// The result of a call that returns a pointer.
fa_result world_result_of(const void *ptr) {
    if (ptr != NULL) {
        return FA_OK;
    }
    fa_result result = fa_last_error()->result;
    return CHECK_LT((int)result, 0) ? result : FA_ERR_INVALID;
}

// Blocks freed in the frame that made them from framealloc's frames: they are not freed, their
// memory goes with the frame. Large ones freed in stack order each from a scratch scope of its own.
// Blocks that live on from malloc.
//
//   session->state: the context        session->extra: the open scopes, the newest last

#define _GNU_SOURCE 1

#include "malloc_tier.h"

#include <framealloc/framealloc.h>

#include <stdio.h>

typedef struct open_scopes {
    uint32_t depth;
    fa_scratch scopes[];
} open_scopes;

static inline void *tier_frame_begin(replay_session *session) {
    return fa_frame_begin(session->state);
}

static inline void tier_frame_end(replay_session *session, void *frame) {
    (void)session;
    fa_frame_end(frame);
}

static inline void *tier_alloc_frame(replay_session *session, void *frame, const plan_op *op) {
    (void)session;
    return fa_arena_alloc(frame, op->size);
}

static inline void *tier_alloc_frame_aligned(replay_session *session, void *frame,
                                             const plan_op *op) {
    (void)session;
    return fa_arena_alloc_aligned(frame, op->size, (size_t)1 << op->align_log2);
}

static inline void *tier_resize_frame(replay_session *session, void *frame, const plan_op *op,
                                      void *ptr, size_t old_size) {
    (void)session;
    return fa_arena_resize(frame, ptr, old_size, op->size);
}

static inline void tier_free_frame(replay_session *session, void *frame, const plan_op *op,
                                   void *ptr) {
    (void)session;
    (void)frame;
    (void)op;
    (void)ptr;
}

// Opens a scope; NULL when there is none to be had.
static inline fa_arena *scope_open(replay_session *session) {
    open_scopes *open = session->extra;
    fa_scratch scope = fa_scratch_begin(session->state, NULL, 0);
    if (scope.arena != NULL) {
        open->scopes[open->depth++] = scope;
    }
    return scope.arena;
}

static inline void *tier_alloc_scoped(replay_session *session, void *frame, const plan_op *op) {
    (void)frame;
    fa_arena *scope = scope_open(session);
    return scope != NULL ? fa_arena_alloc(scope, op->size) : NULL;
}

static inline void *tier_alloc_scoped_aligned(replay_session *session, void *frame,
                                              const plan_op *op) {
    (void)frame;
    fa_arena *scope = scope_open(session);
    size_t align = (size_t)1 << op->align_log2;
    return scope != NULL ? fa_arena_alloc_aligned(scope, op->size, align) : NULL;
}

// The plan ends scopes in stack order only, so the newest one is the block's.
static inline void tier_free_scoped(replay_session *session, void *frame, const plan_op *op,
                                    void *ptr) {
    (void)frame;
    (void)op;
    (void)ptr;
    open_scopes *open = session->extra;
    fa_scratch_end(open->scopes[--open->depth]);
}

#include "loop.h"

static bool framealloc_open(replay_session *session, char *error, size_t error_size) {
    fa_context *ctx = NULL;
    if (fa_context_create(NULL, &ctx) != FA_OK) {
        snprintf(error, error_size, "no context could be made: %s", fa_last_error()->text);
        return false;
    }
    size_t size = sizeof(open_scopes) + session->plan->scope_depth * sizeof(fa_scratch);
    session->state = ctx;
    session->extra = calloc(1, size);
    if (session->extra == NULL) {
        snprintf(error, error_size, "there is not enough memory");
        fa_context_destroy(ctx);
        return false;
    }
    return true;
}

static bool framealloc_close(replay_session *session, char *error, size_t error_size) {
    fa_result result = fa_context_destroy(session->state);
    free(session->extra);
    if (result != FA_OK) {
        snprintf(error, error_size, "the context reports at its end: %s",
                 fa_result_message(result));
    }
    return result == FA_OK;
}

static void framealloc_account(replay_session *session, replay_account *out) {
    fa_stats stats;
    if (fa_stats_get(session->state, &stats) == FA_OK) {
        *out = (replay_account){true, stats.peak_bytes, stats.committed_bytes};
    }
}

const allocator allocator_framealloc = {
    .name = "framealloc",
    .summary = "framealloc's frames and scratch scopes, malloc for blocks that live on",
    .open = framealloc_open,
    .close = framealloc_close,
    .account = framealloc_account,
    .run_timed = loop_timed,
    .run_counted = loop_counted,
    .frame_begin = tier_frame_begin,
    .frame_end = tier_frame_end,
    .alloc = loop_alloc,
    .resize = loop_resize,
    .free = loop_free,
};

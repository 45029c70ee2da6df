// Every block from the tier that its intent names (objects.h): frame objects from the frame, they
// are not freed, their memory goes with it; scoped ones each from a scratch scope of its own;
// pooled ones from a typed pool for each size; everything else from the heap.
//
//   session->state: the context        session->extra: the pools, and the open scopes, the newest
//                                                      last

#define _GNU_SOURCE 1

#include "allocator.h"

#include <framealloc/framealloc.h>
#include <framealloc/heap.h>
#include <framealloc/pool.h>

#include <stdio.h>
#include <stdlib.h>

typedef struct tiers {
    fa_pool *pools[OBJECT_POOLS];
    uint32_t depth;
    fa_scratch scopes[];
} tiers;

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
    tiers *open = session->extra;
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
    tiers *open = session->extra;
    fa_scratch_end(open->scopes[--open->depth]);
}

static inline void *tier_alloc_pooled(replay_session *session, void *frame, const plan_op *op) {
    (void)frame;
    const tiers *t = session->extra;
    return fa_pool_alloc(t->pools[op->pool]);
}

static inline void tier_free_pooled(replay_session *session, void *frame, const plan_op *op,
                                    void *ptr) {
    (void)frame;
    const tiers *t = session->extra;
    fa_pool_free(t->pools[op->pool], ptr);
}

static inline void *tier_alloc_heap(replay_session *session, void *frame, const plan_op *op) {
    (void)frame;
    return fa_heap_alloc(session->state, op->size);
}

static inline void *tier_alloc_heap_aligned(replay_session *session, void *frame,
                                            const plan_op *op) {
    (void)frame;
    return fa_heap_alloc_aligned(session->state, op->size, (size_t)1 << op->align_log2);
}

static inline void *tier_resize_heap(replay_session *session, void *frame, const plan_op *op,
                                     void *ptr, size_t old_size) {
    (void)frame;
    (void)old_size;
    return fa_heap_realloc(session->state, ptr, op->size);
}

static inline void tier_free_heap(replay_session *session, void *frame, const plan_op *op,
                                  void *ptr) {
    (void)frame;
    (void)op;
    fa_heap_free(session->state, ptr);
}

#include "loop.h"

static bool make_pools(replay_session *session) {
    tiers *t = session->extra;
    for (uint32_t i = 0; i < session->plan->pool_count; i++) {
        char name[32];
        snprintf(name, sizeof name, "%u bytes", (unsigned)session->plan->pool_bytes[i]);
        fa_pool_desc desc = {.name = name, .size = session->plan->pool_bytes[i]};
        if (fa_pool_create(session->state, &desc, &t->pools[i]) != FA_OK) {
            return false;
        }
    }
    return true;
}

static bool framealloc_open(replay_session *session, char *error, size_t error_size) {
    fa_context *ctx = NULL;
    if (fa_context_create(NULL, &ctx) != FA_OK) {
        snprintf(error, error_size, "no context could be made: %s", fa_last_error()->text);
        return false;
    }
    size_t size = sizeof(tiers) + session->plan->scope_depth * sizeof(fa_scratch);
    session->state = ctx;
    session->extra = calloc(1, size);
    if (session->extra == NULL) {
        snprintf(error, error_size, "there is not enough memory");
    } else if (make_pools(session)) {
        return true;
    } else {
        snprintf(error, error_size, "no pool could be made: %s", fa_last_error()->text);
    }
    free(session->extra);
    fa_context_destroy(ctx);
    return false;
}

// What is live at the end is a mistake of the replay, and reported by pools and context.
static bool framealloc_close(replay_session *session, char *error, size_t error_size) {
    tiers *t = session->extra;
    fa_result result = FA_OK;
    for (uint32_t i = 0; i < session->plan->pool_count; i++) {
        fa_result ended = fa_pool_destroy(t->pools[i]);
        result = result == FA_OK ? ended : result;
    }
    fa_result ended = fa_context_destroy(session->state);
    result = result == FA_OK ? ended : result;
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
    .summary = "framealloc: frames, scratch scopes, pools by size, the heap",
    .version = fa_version,
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

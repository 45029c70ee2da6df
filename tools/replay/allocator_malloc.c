// Every block from the C library's malloc, as the recorded programs did it. It knows no frames.

#define _GNU_SOURCE 1

#include "malloc_tier.h"

static inline void *tier_frame_begin(replay_session *session) {
    return session;
}

static inline void tier_frame_end(replay_session *session, void *frame) {
    (void)session;
    (void)frame;
}

static inline void *tier_alloc_frame(replay_session *session, void *frame, const plan_op *op) {
    return tier_alloc_lasting(session, frame, op);
}

static inline void *tier_alloc_frame_aligned(replay_session *session, void *frame,
                                             const plan_op *op) {
    return tier_alloc_lasting_aligned(session, frame, op);
}

static inline void *tier_resize_frame(replay_session *session, void *frame, const plan_op *op,
                                      void *ptr, size_t old_size) {
    return tier_resize_lasting(session, frame, op, ptr, old_size);
}

static inline void tier_free_frame(replay_session *session, void *frame, const plan_op *op,
                                   void *ptr) {
    tier_free_lasting(session, frame, op, ptr);
}

static inline void *tier_alloc_scoped(replay_session *session, void *frame, const plan_op *op) {
    return tier_alloc_lasting(session, frame, op);
}

static inline void *tier_alloc_scoped_aligned(replay_session *session, void *frame,
                                              const plan_op *op) {
    return tier_alloc_lasting_aligned(session, frame, op);
}

static inline void tier_free_scoped(replay_session *session, void *frame, const plan_op *op,
                                    void *ptr) {
    tier_free_lasting(session, frame, op, ptr);
}

#include "loop.h"

static bool malloc_open(replay_session *session, char *error, size_t error_size) {
    (void)session;
    (void)error;
    (void)error_size;
    return true;
}

const allocator allocator_malloc = {
    .name = "malloc",
    .summary = "the C library's malloc for every block",
    .open = malloc_open,
    .close = malloc_open,
    .run_timed = loop_timed,
    .run_counted = loop_counted,
    .frame_begin = tier_frame_begin,
    .frame_end = tier_frame_end,
    .alloc = loop_alloc,
    .resize = loop_resize,
    .free = loop_free,
};

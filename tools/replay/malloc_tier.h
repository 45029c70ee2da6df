/// @file malloc_tier.h
/// Blocks that live on, from the C library: shared by the allocators that have nothing of their own
/// for them yet. Part of loop.h's contract: see there.
#pragma once

#include "allocator.h"

#include <stdlib.h>

static inline void *tier_alloc_lasting(replay_session *session, void *frame, const plan_op *op) {
    (void)session;
    (void)frame;
    return malloc(op->size);
}

static inline void *tier_alloc_lasting_aligned(replay_session *session, void *frame,
                                               const plan_op *op) {
    (void)session;
    (void)frame;
    void *ptr = NULL;
    return posix_memalign(&ptr, (size_t)1 << op->align_log2, op->size) == 0 ? ptr : NULL;
}

static inline void *tier_resize_lasting(replay_session *session, void *frame, const plan_op *op,
                                        void *ptr, size_t old_size) {
    (void)session;
    (void)frame;
    (void)old_size;
    return realloc(ptr, op->size);
}

static inline void tier_free_lasting(replay_session *session, void *frame, const plan_op *op,
                                     void *ptr) {
    (void)session;
    (void)frame;
    (void)op;
    free(ptr);
}

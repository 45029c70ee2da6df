// No allocator: every slot of the plan has a place of its own, fixed before the replay starts,
// large enough for all the blocks that are ever in it, and already resident. What this costs is
// what the replay itself costs: reading the plan, writing to the blocks, checking them, the clock.
//
//   state: | slot 0 ......| slot 1 ...| slot 2 ...............|
//   extra: the offset of each slot, then the size of it all

#define _GNU_SOURCE 1

#include "allocator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static inline void *place_of(const replay_session *session, const plan_op *op) {
    const uint64_t *offsets = session->extra;
    return (unsigned char *)session->state + offsets[op->slot];
}

static inline void *tier_frame_begin(replay_session *session) {
    return session;
}

static inline void tier_frame_end(replay_session *session, void *frame) {
    (void)session;
    (void)frame;
}

static inline void *tier_alloc_frame(replay_session *session, void *frame, const plan_op *op) {
    (void)frame;
    return place_of(session, op);
}

static inline void *tier_alloc_frame_aligned(replay_session *session, void *frame,
                                             const plan_op *op) {
    (void)frame;
    return place_of(session, op);
}

static inline void *tier_alloc_pooled(replay_session *session, void *frame, const plan_op *op) {
    (void)frame;
    return place_of(session, op);
}

static inline void *tier_alloc_heap(replay_session *session, void *frame, const plan_op *op) {
    (void)frame;
    return place_of(session, op);
}

static inline void *tier_alloc_heap_aligned(replay_session *session, void *frame,
                                            const plan_op *op) {
    (void)frame;
    return place_of(session, op);
}

static inline void *tier_resize_frame(replay_session *session, void *frame, const plan_op *op,
                                      void *ptr, size_t old_size) {
    (void)session;
    (void)frame;
    (void)op;
    (void)old_size;
    return ptr;
}

static inline void *tier_resize_heap(replay_session *session, void *frame, const plan_op *op,
                                     void *ptr, size_t old_size) {
    return tier_resize_frame(session, frame, op, ptr, old_size);
}

static inline void tier_free_frame(replay_session *session, void *frame, const plan_op *op,
                                   void *ptr) {
    (void)session;
    (void)frame;
    (void)op;
    (void)ptr;
}

static inline void tier_free_pooled(replay_session *session, void *frame, const plan_op *op,
                                    void *ptr) {
    tier_free_frame(session, frame, op, ptr);
}

static inline void tier_free_heap(replay_session *session, void *frame, const plan_op *op,
                                  void *ptr) {
    tier_free_frame(session, frame, op, ptr);
}

static inline void *tier_alloc_scoped(replay_session *session, void *frame, const plan_op *op) {
    return tier_alloc_heap(session, frame, op);
}

static inline void *tier_alloc_scoped_aligned(replay_session *session, void *frame,
                                              const plan_op *op) {
    return tier_alloc_heap_aligned(session, frame, op);
}

static inline void tier_free_scoped(replay_session *session, void *frame, const plan_op *op,
                                    void *ptr) {
    tier_free_heap(session, frame, op, ptr);
}

#include "loop.h"

// Gives each slot its offset; returns the bytes all of them need.
static uint64_t place_slots(const plan *p, uint64_t *offsets) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < p->slot_count; i++) {
        uint64_t align = UINT64_C(1) << p->slot_align[i];
        total = (total + align - 1) & ~(align - 1);
        offsets[i] = total;
        total += p->slot_bytes[i];
    }
    return total;
}

// Larger places are not made resident beforehand: what a hostile trace asks for in turn adds up.
#define RESIDENT_BYTES_MAX (UINT64_C(1) << 30)

// Alignments above a page hold because the places begin at a multiple of the largest one.
enum { PLACES_ALIGN = 1 << 20 };

static bool none_open(replay_session *session, char *error, size_t error_size) {
    const plan *p = session->plan;
    uint64_t *offsets = malloc(((size_t)p->slot_count + 1) * sizeof *offsets);
    if (offsets == NULL) {
        snprintf(error, error_size, "there is not enough memory");
        return false;
    }
    uint64_t total = place_slots(p, offsets) + PLACES_ALIGN;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *range = mmap(NULL, (size_t)total, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (range == MAP_FAILED) {
        snprintf(error, error_size, "there is not enough address space");
        free(offsets);
        return false;
    }
    if (total <= RESIDENT_BYTES_MAX) {
        memset(range, 0, (size_t)total);
    }
    offsets[p->slot_count] = total;
    session->state = range;
    session->extra = offsets;
    size_t shift = (size_t)(0 - (uintptr_t)range) & (PLACES_ALIGN - 1);
    for (uint32_t i = 0; i < p->slot_count; i++) {
        offsets[i] += shift;
    }
    return true;
}

static bool none_close(replay_session *session, char *error, size_t error_size) {
    (void)error;
    (void)error_size;
    const uint64_t *offsets = session->extra;
    munmap(session->state, (size_t)offsets[session->plan->slot_count]);
    free(session->extra);
    return true;
}

static const char *no_version(void) {
    return "";
}

const allocator allocator_none = {
    .name = "none",
    .summary = "no allocator: every block has a place fixed beforehand",
    .is_reference = true,
    .version = no_version,
    .open = none_open,
    .close = none_close,
    .run_timed = loop_timed,
    .run_counted = loop_counted,
    .frame_begin = tier_frame_begin,
    .frame_end = tier_frame_end,
    .alloc = loop_alloc,
    .resize = loop_resize,
    .free = loop_free,
};

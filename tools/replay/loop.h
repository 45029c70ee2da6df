/// @file loop.h
/// The replay loop, compiled into the file of each allocator. Before including it, that file
/// defines, all static:
///
///     void *tier_frame_begin(replay_session *)
///     void tier_frame_end(replay_session *, void *frame)
///     void *tier_alloc_frame(replay_session *, void *frame, const plan_op *)
///     void *tier_alloc_frame_aligned(replay_session *, void *frame, const plan_op *)
///     void *tier_resize_frame(replay_session *, void *frame, const plan_op *, void *, size_t old)
///     void tier_free_frame(replay_session *, void *frame, const plan_op *, void *)
///
/// and the same with _heap; without a resize, with _scoped; without a resize and alignment, with
/// _pooled. objects.h says what each is for.
/// Blocks begin at a multiple of 16, those of the _aligned ones at one of 1 << op->align_log2.
/// Afterwards that file puts the loop_ functions into its `allocator`.
///
/// Every block is written to: its first and last byte and, in larger ones, one byte per 4 KiB, so
/// that its pages are really there. The bytes are made from the block's number and checked before
/// the block is freed or moved.
#pragma once

#include "../common/clock.h"
#include "../common/syscall_count.h"
#include "allocator.h"

enum { LOOP_PAGE_BYTES = 4096 };

static inline unsigned char loop_pattern(uint32_t block) {
    return (unsigned char)((block * UINT32_C(0x9E3779B1)) >> 24);
}

// Takes a block from the allocator into its slot and writes to it.
static inline replay_status loop_fill(replay_slot *slot, void *memory, const plan_op *op) {
    unsigned char *ptr = memory;
    if (ptr == NULL) {
        return REPLAY_REFUSED;
    }
    unsigned char pattern = loop_pattern(op->block);
    size_t size = op->size;
    ptr[0] = pattern;
    ptr[size - 1] = pattern;
    for (size_t at = LOOP_PAGE_BYTES; at < size; at += LOOP_PAGE_BYTES) {
        ptr[at] = pattern;
    }
    *slot = (replay_slot){ptr, op->size, op->block};
    return REPLAY_DONE;
}

static inline bool loop_is_intact(const replay_slot *slot) {
    unsigned char pattern = loop_pattern(slot->block);
    return slot->ptr[0] == pattern && slot->ptr[slot->size - 1] == pattern;
}

// The same for a block that was resized: its first byte must still be that of the old one.
static inline replay_status loop_refill(replay_slot *slot, void *memory, const plan_op *op) {
    if (memory != NULL && *(unsigned char *)memory != loop_pattern(slot->block)) {
        return REPLAY_DAMAGED;
    }
    return loop_fill(slot, memory, op);
}

// A step that makes an object. Also used by itself, for verifying: see loop_alloc().
static inline void *loop_make(replay_session *session, void *frame, const plan_op *op) {
    switch ((plan_kind)op->kind) {
    case PLAN_ALLOC_FRAME:
        return tier_alloc_frame(session, frame, op);
    case PLAN_ALLOC_FRAME_ALIGNED:
        return tier_alloc_frame_aligned(session, frame, op);
    case PLAN_ALLOC_SCOPED:
        return tier_alloc_scoped(session, frame, op);
    case PLAN_ALLOC_SCOPED_ALIGNED:
        return tier_alloc_scoped_aligned(session, frame, op);
    case PLAN_ALLOC_POOLED:
        return tier_alloc_pooled(session, frame, op);
    case PLAN_ALLOC_HEAP:
        return tier_alloc_heap(session, frame, op);
    case PLAN_ALLOC_HEAP_ALIGNED:
        return tier_alloc_heap_aligned(session, frame, op);
    case PLAN_RESIZE_FRAME:
    case PLAN_RESIZE_HEAP:
    case PLAN_FREE_FRAME:
    case PLAN_FREE_SCOPED:
    case PLAN_FREE_POOLED:
    case PLAN_FREE_HEAP:
        break;
    }
    return NULL;
}

static inline void loop_drop(replay_session *session, void *frame, const plan_op *op, void *ptr) {
    if (op->kind == PLAN_FREE_FRAME) {
        tier_free_frame(session, frame, op, ptr);
    } else if (op->kind == PLAN_FREE_SCOPED) {
        tier_free_scoped(session, frame, op, ptr);
    } else if (op->kind == PLAN_FREE_POOLED) {
        tier_free_pooled(session, frame, op, ptr);
    } else {
        tier_free_heap(session, frame, op, ptr);
    }
}

static inline void *loop_change(replay_session *session, void *frame, const plan_op *op, void *ptr,
                                size_t old_size) {
    if (op->kind == PLAN_RESIZE_FRAME) {
        return tier_resize_frame(session, frame, op, ptr, old_size);
    }
    return tier_resize_heap(session, frame, op, ptr, old_size);
}

static inline replay_status loop_step(replay_session *session, void *frame, replay_slot *slot,
                                      const plan_op *op) {
    if (op->kind < PLAN_RESIZE_FRAME) {
        return loop_fill(slot, loop_make(session, frame, op), op);
    }
    if (!loop_is_intact(slot)) {
        return REPLAY_DAMAGED;
    }
    if (op->kind >= PLAN_FREE_FRAME) {
        loop_drop(session, frame, op, slot->ptr);
        return REPLAY_DONE;
    }
    return loop_refill(slot, loop_change(session, frame, op, slot->ptr, slot->size), op);
}

// Executes steps from `op` up to `end`; returns the step that failed, or `end`.
static inline const plan_op *loop_section(replay_session *session, replay_slot *slots,
                                          const plan_op *op, const plan_op *end,
                                          replay_status *status) {
    void *const frame = tier_frame_begin(session);
    if (frame == NULL) {
        *status = REPLAY_NO_FRAME;
        return op;
    }
    for (; op < end; op++) {
        replay_status done = loop_step(session, frame, &slots[op->slot], op);
        if (done != REPLAY_DONE) {
            *status = done;
            return op;
        }
    }
    tier_frame_end(session, frame);
    return end;
}

static replay_end loop_timed(replay_session *session, replay_slot *slots, uint64_t *stamps) {
    const plan *p = session->plan;
    const plan_op *op = p->ops;
    replay_status status = REPLAY_DONE;
    stamps[0] = clock_ns();
    for (uint32_t section = 0; section < p->section_count && status == REPLAY_DONE; section++) {
        op = loop_section(session, slots, op, p->ops + p->section_end[section], &status);
        stamps[section + 1] = clock_ns();
    }
    return (replay_end){status, (uint32_t)(op - p->ops)};
}

static replay_end loop_counted(replay_session *session, replay_slot *slots) {
    const plan *p = session->plan;
    const plan_op *op = p->ops;
    replay_status status = REPLAY_DONE;
    uint32_t section = 0;
    while (section < p->section_count && status == REPLAY_DONE) {
        plan_part part = plan_part_of(p, section);
        syscall_count_begin(part);
        do {
            op = loop_section(session, slots, op, p->ops + p->section_end[section], &status);
            section++;
        } while (section < p->section_count && status == REPLAY_DONE &&
                 plan_part_of(p, section) == part);
        syscall_count_end(part);
    }
    return (replay_end){status, (uint32_t)(op - p->ops)};
}

// The steps one at a time, for an allocator's table of functions.

static void *loop_alloc(replay_session *session, void *frame, const plan_op *op) {
    return loop_make(session, frame, op);
}

static void *loop_resize(replay_session *session, void *frame, const plan_op *op, void *ptr,
                         size_t old_size) {
    return loop_change(session, frame, op, ptr, old_size);
}

static void loop_free(replay_session *session, void *frame, const plan_op *op, void *ptr) {
    loop_drop(session, frame, op, ptr);
}

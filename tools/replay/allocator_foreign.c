// Every block from malloc: the C library's, and those of other libraries where they are installed.
//
// All of them are called in the same way, through pointers, as a program calls any function of a
// shared library. One process replays with one of them: the passes each have a process of their
// own.

#define _GNU_SOURCE 1

#include "allocator.h"

#include "../common/foreign_malloc.h"

static foreign_malloc library;

static inline void *tier_frame_begin(replay_session *session) {
    return session; // Anything but NULL.
}

static inline void tier_frame_end(replay_session *session, void *frame) {
    (void)session;
    (void)frame;
}

static inline void *tier_alloc_heap(replay_session *session, void *frame, const plan_op *op) {
    (void)session;
    (void)frame;
    return library.alloc(op->size);
}

static inline void *tier_alloc_heap_aligned(replay_session *session, void *frame,
                                            const plan_op *op) {
    (void)session;
    (void)frame;
    return library.alloc_aligned((size_t)1 << op->align_log2, op->size);
}

static inline void *tier_resize_heap(replay_session *session, void *frame, const plan_op *op,
                                     void *ptr, size_t old_size) {
    (void)session;
    (void)frame;
    (void)old_size;
    return library.resize(ptr, op->size);
}

static inline void tier_free_heap(replay_session *session, void *frame, const plan_op *op,
                                  void *ptr) {
    (void)session;
    (void)frame;
    (void)op;
    library.free(ptr);
}

static inline void *tier_alloc_frame(replay_session *session, void *frame, const plan_op *op) {
    return tier_alloc_heap(session, frame, op);
}

static inline void *tier_alloc_frame_aligned(replay_session *session, void *frame,
                                             const plan_op *op) {
    return tier_alloc_heap_aligned(session, frame, op);
}

static inline void *tier_resize_frame(replay_session *session, void *frame, const plan_op *op,
                                      void *ptr, size_t old_size) {
    return tier_resize_heap(session, frame, op, ptr, old_size);
}

static inline void tier_free_frame(replay_session *session, void *frame, const plan_op *op,
                                   void *ptr) {
    tier_free_heap(session, frame, op, ptr);
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

static inline void *tier_alloc_pooled(replay_session *session, void *frame, const plan_op *op) {
    return tier_alloc_heap(session, frame, op);
}

static inline void tier_free_pooled(replay_session *session, void *frame, const plan_op *op,
                                    void *ptr) {
    tier_free_heap(session, frame, op, ptr);
}

#include "loop.h"

static bool load_glibc(char *error, size_t error_size) {
    return foreign_malloc_open("glibc", &library, error, error_size);
}

static bool load_mimalloc(char *error, size_t error_size) {
    return foreign_malloc_open("mimalloc", &library, error, error_size);
}

static bool load_jemalloc(char *error, size_t error_size) {
    return foreign_malloc_open("jemalloc", &library, error, error_size);
}

static bool load_tcmalloc(char *error, size_t error_size) {
    return foreign_malloc_open("tcmalloc", &library, error, error_size);
}

static const char *version(void) {
    return library.version;
}

static bool nothing_to_do(replay_session *session, char *error, size_t error_size) {
    (void)session;
    (void)error;
    (void)error_size;
    return true;
}

#define FOREIGN(text, about, loader)                                                               \
    {                                                                                              \
        .name = (text), .summary = (about), .aligns_less = true, .load = (loader),                 \
        .version = version, .open = nothing_to_do, .close = nothing_to_do,                         \
        .run_timed = loop_timed, .run_counted = loop_counted, .frame_begin = tier_frame_begin,     \
        .frame_end = tier_frame_end, .alloc = loop_alloc, .resize = loop_resize,                   \
        .free = loop_free,                                                                         \
    }

const allocator allocator_glibc =
    FOREIGN("glibc", "the C library's malloc for every block", load_glibc);
const allocator allocator_mimalloc = FOREIGN("mimalloc", "mimalloc for every block", load_mimalloc);
const allocator allocator_jemalloc = FOREIGN("jemalloc", "jemalloc for every block", load_jemalloc);
const allocator allocator_tcmalloc =
    FOREIGN("tcmalloc", "tcmalloc (gperftools) for every block", load_tcmalloc);

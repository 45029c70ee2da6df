/// @file tag.h
/// Whom memory belongs to: a tree of names, and a current one per thread.
///
///     fa_tag physics = fa_tag_register(ctx, "physics/contacts");
///     fa_tag_push(ctx, physics);
///     ... frame and scratch memory is charged to physics/contacts, physics and the root ...
///     fa_tag_pop(ctx);
///
/// Allocating under a tag costs nothing: bytes are taken from how far the cursor moved when the tag
/// changes. Peak figures, budgets and roll-up to the parents follow from that (stats.h, budget.h).
#pragma once

#include "base.h"

FA_BEGIN_DECLS

/// Most tags per context, and most tags pushed at once per thread.
#define FA_TAG_MAX 16384
#define FA_TAG_DEPTH_MAX 64

/// The tag with this path, made with all its parents when it is new. Parts are separated by '/',
/// none is empty, a path is at most 95 bytes. Same path, same tag. Tags live as long as the
/// context. On failure FA_TAG_ROOT, and fa_last_error() says why: FA_ERR_INVALID (path),
/// FA_ERR_LIMIT (FA_TAG_MAX), FA_ERR_OUT_OF_MEMORY. Takes a lock: register at start-up. Any thread.
FA_API fa_tag fa_tag_register(fa_context *ctx, const char *path);

/// The tag with this path if it is registered; FA_ERR_NOT_FOUND otherwise. Takes a lock. Any
/// thread.
FA_API fa_result fa_tag_find(fa_context *ctx, const char *path, fa_tag *out);

/// The path of a tag: "" for the root, NULL when the context has no such tag. Valid as long as the
/// context.
FA_API const char *fa_tag_path(fa_context *ctx, fa_tag tag);

/// The parent of a tag; the root's parent is the root.
FA_API fa_tag fa_tag_parent(fa_context *ctx, fa_tag tag);

/// How many tags there are, the root included: ids run from 0 to count - 1. Any thread.
FA_API uint32_t fa_tag_count(fa_context *ctx);

/// Makes `tag` the calling thread's current one until the matching pop. FA_ERR_INVALID (FA802) for
/// a tag the context does not have, FA_ERR_LIMIT when FA_TAG_DEPTH_MAX are pushed,
/// FA_ERR_OUT_OF_MEMORY; nothing has changed then. At most 40 instructions, no lock, no atomic
/// read-modify-write.
FA_API fa_result fa_tag_push(fa_context *ctx, fa_tag tag);

/// Goes back to the tag before the last push. FA_ERR_INVALID (FA803) when nothing is pushed.
FA_API fa_result fa_tag_pop(fa_context *ctx);

/// The calling thread's current tag; the root when none is pushed.
FA_API fa_tag fa_tag_current(fa_context *ctx);

/// An allocator bound to a tag: frame memory for one system, without touching the current tag. A
/// value.
typedef struct fa_tagged {
    fa_context *context; ///< Where from.
    fa_tag tag;          ///< Whom it is charged to.
} fa_tagged;

/// Binds an allocator to a tag. Cannot fail: a bad tag shows when it allocates.
FA_API fa_tagged fa_tagged_make(fa_context *ctx, fa_tag tag);

/// Allocates from the calling thread's open frame, charged to the allocator's tag. Fails like
/// fa_arena_alloc(), FA001 when no frame is open, FA802 for a bad tag. Costs two tag switches; for
/// many allocations in a row push the tag instead.
FA_API FA_MALLOC void *fa_tagged_alloc(fa_tagged tagged, size_t size);

/// Like fa_tagged_alloc(), at a multiple of `align`.
FA_API FA_MALLOC void *fa_tagged_alloc_aligned(fa_tagged tagged, size_t size, size_t align);

/// Private to FA_TAG_SCOPE(): the context whose tag is to be popped, NULL when the push failed.
typedef struct fa_tag_guard {
    fa_context *context;
} fa_tag_guard;

/// Private to FA_TAG_SCOPE(): pushes.
FA_API fa_tag_guard fa_tag_guard_open(fa_context *ctx, fa_tag tag);

/// Private to FA_TAG_SCOPE(): pops what fa_tag_guard_open() pushed.
FA_API void fa_tag_guard_close(fa_tag_guard *guard);

FA_END_DECLS

#define FA_TAG_JOIN_AGAIN(left, right) left##right
#define FA_TAG_JOIN(left, right) FA_TAG_JOIN_AGAIN(left, right)

/// Makes `tag` current until the enclosing block is left, on whichever way out (return, break,
/// goto, and in C++ an exception). A statement: FA_TAG_SCOPE(ctx, tag); Needs C++ or the cleanup
/// attribute of gcc and clang.
#ifdef __cplusplus
/// The C++ guard behind FA_TAG_SCOPE().
class fa_tag_scope {
  public:
    fa_tag_scope(fa_context *ctx, fa_tag tag) : guard_(fa_tag_guard_open(ctx, tag)) {
    }
    ~fa_tag_scope() {
        fa_tag_guard_close(&guard_);
    }
    fa_tag_scope(const fa_tag_scope &) = delete;
    fa_tag_scope &operator=(const fa_tag_scope &) = delete;

  private:
    fa_tag_guard guard_;
};
#define FA_TAG_SCOPE(ctx, tag) fa_tag_scope FA_TAG_JOIN(fa_tag_scope_, __LINE__)((ctx), (tag))
#elif defined(__GNUC__)
#define FA_TAG_SCOPE(ctx, tag)                                                                     \
    __attribute__((cleanup(fa_tag_guard_close), unused)) fa_tag_guard FA_TAG_JOIN(                 \
        fa_tag_scope_, __LINE__) = fa_tag_guard_open((ctx), (tag))
#endif

// Shared blocks: two counts, and who sees them reach zero. The layout is in sharing.h.
//
//   owners   1 - retain -> 2 - release -> 1 - release -> 0        the data goes: destructor, memory
//   weaks    1 -------------- weak -----> 2 -----------> 1 -> 0   the bookkeeping goes
//
// Whoever takes `owners` from 1 to 0 is alone with the data: a lock or retain only ever raises a
// count that it saw above 0. Counts are changed by compare-and-swap, so that neither ever wraps:
// one too many is refused, one too few is reported.
#include "sharing.h"

#include "../core/core.h"
#include <framealloc/heap.h>

#include <string.h>

#define HEAD_BYTES ((sizeof(fa__shared) + sizeof(fa__shared_tail) + 15) & ~(size_t)15)
#define INLINE_ALIGN ((size_t)64) // Data of a larger alignment has a block of its own.

_Static_assert(HEAD_BYTES <= 80, "as shared.h says");
_Static_assert(sizeof(fa__shared_tail) <= 16, "data of any alignment has room for it");

typedef enum change { CHANGED, WAS_ZERO, WAS_FULL } change;

// One more, if there is one at all.
static change raise_count(fa__u32 *count) {
    uint32_t present = fa__load(count);
    do {
        if (present == 0) {
            return WAS_ZERO;
        }
        if (present >= FA_SHARED_MAX) {
            return WAS_FULL;
        }
    } while (!atomic_compare_exchange_weak_explicit(count, &present, present + 1,
                                                    memory_order_acquire, memory_order_relaxed));
    return CHANGED;
}

// One less. What was done before is seen by whoever takes the last one. Returns what is left;
// UINT32_MAX when there was none to take.
static uint32_t lower_count(fa__u32 *count) {
    uint32_t present = fa__load(count);
    do {
        if (present == 0) {
            return UINT32_MAX;
        }
    } while (!atomic_compare_exchange_weak_explicit(count, &present, present - 1,
                                                    memory_order_acq_rel, memory_order_relaxed));
    return present - 1;
}

static void fail(fa_context *ctx, fa__code code, fa_result result, const void *data) {
    fa__fail(&(fa__failure){.context = ctx,
                            .code = code,
                            .result = result,
                            .limit = code == FA__CODE_TOO_MANY ? FA_SHARED_MAX : 0,
                            .where = "shared",
                            .ptr = data});
}

// The bookkeeping of data, or NULL after a report: FA403 or FA401 for data that is gone, FA404 for
// what is none.
static fa__shared *find(const void *data, fa__code if_gone) {
    uintptr_t address = (uintptr_t)data;
    if ((address & (FA_ALIGNMENT - 1)) == 0) {
        fa__shared_tail *tail = fa__shared_tail_of(data);
        uint64_t mark = fa__load(&tail->mark);
        if (FA_LIKELY(mark == FA__SHARED_LIVE)) {
            return tail->shared;
        }
        if (mark == FA__SHARED_GONE) {
            bool is_release = if_gone == FA__CODE_DOUBLE_FREE;
            fail(NULL, if_gone, is_release ? FA_ERR_INVALID : FA_ERR_STALE, data);
            return NULL;
        }
    }
    fail(NULL, FA__CODE_FOREIGN_POINTER, FA_ERR_INVALID, data);
    return NULL;
}

// Allocating --------------------------------------------------------------------------------------

// Bookkeeping and data in one block.
static fa__shared *alloc_small(fa_context *ctx, size_t size, size_t align) {
    size_t offset = (HEAD_BYTES + (align - 1)) & ~(align - 1);
    char *block = align > FA_ALIGNMENT ? fa_heap_alloc_aligned(ctx, offset + size, align)
                                       : fa_heap_alloc(ctx, offset + size);
    if (block == NULL) {
        return NULL;
    }
    fa__shared *shared = (fa__shared *)(void *)block;
    *shared = (fa__shared){.context = ctx, .data = block + offset};
    return shared;
}

static fa__shared *alloc_large(fa_context *ctx, size_t size, size_t align) {
    size_t offset = align > sizeof(fa__shared_tail) ? align : sizeof(fa__shared_tail);
    if (size > SIZE_MAX / 2) {
        fa__fail(&(fa__failure){.context = ctx,
                                .code = FA__CODE_SIZE_OVERFLOW,
                                .result = FA_ERR_OVERFLOW,
                                .bytes = size,
                                .limit = SIZE_MAX / 2,
                                .where = "shared"});
        return NULL;
    }
    fa__shared *shared = fa_heap_alloc(ctx, sizeof *shared);
    if (shared == NULL) {
        return NULL;
    }
    char *block = fa_heap_alloc_aligned(ctx, offset + size, align);
    if (block == NULL) {
        fa_heap_free(ctx, shared);
        return NULL;
    }
    *shared = (fa__shared){.context = ctx, .data = block + offset, .own_block = block};
    return shared;
}

void *fa_shared_alloc(fa_context *ctx, size_t size, const fa_shared_desc *desc) {
    const fa_shared_desc wanted = desc == NULL ? (fa_shared_desc){0} : *desc;
    size_t align = wanted.align < FA_ALIGNMENT ? FA_ALIGNMENT : wanted.align;
    if ((wanted.align & (wanted.align - 1)) != 0 || align > FA_ALIGNMENT_MAX) {
        fa__fail(&(fa__failure){.context = ctx,
                                .code = FA__CODE_BAD_ALIGNMENT,
                                .result = FA_ERR_INVALID,
                                .bytes = size,
                                .limit = FA_ALIGNMENT_MAX,
                                .where = "shared"});
        return NULL;
    }
    bool is_small = size <= FA_SHARED_INLINE && align <= INLINE_ALIGN;
    fa__shared *shared = is_small ? alloc_small(ctx, size, align) : alloc_large(ctx, size, align);
    if (shared == NULL) {
        return NULL;
    }
    shared->destruct = wanted.destruct;
    shared->user = wanted.user;
    fa__store(&shared->owners, 1);
    fa__store(&shared->weaks, 1);
    fa__shared_tail *tail = fa__shared_tail_of(shared->data);
    tail->shared = shared;
    fa__store(&tail->mark, FA__SHARED_LIVE);
    return wanted.zero ? memset(shared->data, 0, size) : shared->data;
}

void *fa_shared_calloc(fa_context *ctx, size_t size, size_t align) {
    return fa_shared_alloc(ctx, size, &(fa_shared_desc){.align = align, .zero = true});
}

// Owners ------------------------------------------------------------------------------------------

void *fa_shared_retain(void *data) {
    fa__shared *shared = data == NULL ? NULL : find(data, FA__CODE_STALE_HANDLE);
    if (shared == NULL) {
        return NULL;
    }
    change done = raise_count(&shared->owners);
    if (done == CHANGED) {
        return data;
    }
    bool is_full = done == WAS_FULL;
    fail(shared->context, is_full ? FA__CODE_TOO_MANY : FA__CODE_STALE_HANDLE,
         is_full ? FA_ERR_LIMIT : FA_ERR_STALE, data);
    return NULL;
}

static void drop_weak(fa__shared *shared) {
    uint32_t left = lower_count(&shared->weaks);
    if (left == 0) {
        fa_heap_free(shared->context, shared);
    } else if (left == UINT32_MAX) {
        fail(shared->context, FA__CODE_DOUBLE_FREE, FA_ERR_INVALID, shared->data);
    }
}

// The last owner is gone: nobody else looks at the data from here on.
static void end_data(fa__shared *shared) {
    void *data = shared->data;
    if (shared->destruct != NULL) {
        shared->destruct(data, shared->user);
    }
    fa__store(&fa__shared_tail_of(data)->mark, FA__SHARED_GONE);
    if (shared->own_block != NULL) {
        fa_heap_free(shared->context, shared->own_block);
    }
    drop_weak(shared);
}

void fa_shared_release(void *data) {
    fa__shared *shared = data == NULL ? NULL : find(data, FA__CODE_DOUBLE_FREE);
    if (shared == NULL) {
        return;
    }
    uint32_t left = lower_count(&shared->owners);
    if (left == 0) {
        end_data(shared);
    } else if (left == UINT32_MAX) {
        fail(shared->context, FA__CODE_DOUBLE_FREE, FA_ERR_INVALID, data);
    }
}

uint32_t fa_shared_count(const void *data) {
    fa__shared *shared = data == NULL ? NULL : find(data, FA__CODE_STALE_HANDLE);
    return shared == NULL ? 0 : fa__load(&shared->owners);
}

// Weak references ---------------------------------------------------------------------------------

static fa_weak add_weak(fa__shared *shared) {
    change done = raise_count(&shared->weaks);
    if (done == CHANGED) {
        return (fa_weak){shared};
    }
    bool is_full = done == WAS_FULL;
    fail(shared->context, is_full ? FA__CODE_TOO_MANY : FA__CODE_STALE_HANDLE,
         is_full ? FA_ERR_LIMIT : FA_ERR_STALE, shared->data);
    return (fa_weak){NULL};
}

fa_weak fa_shared_weak(void *data) {
    fa__shared *shared = data == NULL ? NULL : find(data, FA__CODE_STALE_HANDLE);
    return shared == NULL ? (fa_weak){NULL} : add_weak(shared);
}

fa_weak fa_weak_retain(fa_weak weak) {
    return weak.block == NULL ? weak : add_weak(weak.block);
}

void *fa_weak_lock(fa_weak weak) {
    fa__shared *shared = weak.block;
    if (shared == NULL) {
        return NULL;
    }
    change done = raise_count(&shared->owners);
    if (done == WAS_FULL) {
        fail(shared->context, FA__CODE_TOO_MANY, FA_ERR_LIMIT, shared->data);
    }
    return done == CHANGED ? shared->data : NULL;
}

bool fa_weak_is_gone(fa_weak weak) {
    const fa__shared *shared = weak.block;
    return shared == NULL || fa__load_acquire(&shared->owners) == 0;
}

void fa_weak_release(fa_weak weak) {
    if (weak.block != NULL) {
        drop_weak((fa__shared *)weak.block);
    }
}

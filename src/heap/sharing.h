// The bookkeeping of a shared block, for shared.c and its tests.
//
//   small    | fa__shared ......... | tail | data ......... |        one block of the heap
//   large    | fa__shared |       | pad | tail | data ............. |        two blocks
//                  ^----------------------- tail.shared
//
// The 16 bytes before the data say where its bookkeeping is. All owners together hold one weak
// reference, so the bookkeeping goes with the last weak reference.
#pragma once

#include "../os/atomic.h"
#include <framealloc/shared.h>

typedef struct fa__shared {
    fa_context *context;
    void *data;
    void (*destruct)(void *data, void *user);
    void *user;
    void *own_block; // Of large data; NULL when it lies behind this.
    fa__u32 owners;
    fa__u32 weaks; // And one more while there are owners.
} fa__shared;

#define FA__SHARED_LIVE UINT64_C(0xFA5AAED0B10C0001)
#define FA__SHARED_GONE UINT64_C(0xFA5AAED0B10C0002)

typedef struct fa__shared_tail {
    fa__shared *shared;
    fa__u64 mark; // FA__SHARED_LIVE from the first owner to the last.
} fa__shared_tail;

static inline fa__shared_tail *fa__shared_tail_of(const void *data) {
    return (fa__shared_tail *)((uintptr_t)data - sizeof(fa__shared_tail));
}

// What FA_CHECK_BLOCKS adds to a block.
//
//   small   | the block | GUARD ........ | size, ~size |      at least 16 bytes behind the block,
//           ^ ptr                        ^ end - 8     ^ end  up to the end of its slot
//   large   | the block | GUARD ...................... |      the size lies in its record
//
// New memory is filled with FRESH, a freed slot with GONE, which must still be there when it is
// handed out again. What a program overwrites here it overwrites for nobody but itself: a size that
// does not match its complement is not believed.
#include "heap.h"

#include <string.h>

#define GUARD 0xFD
#define FRESH 0xCD
#define GONE 0xDD
#define TAIL (2 * sizeof(uint32_t))

static bool is_filled(const char *from, const char *to, unsigned char value) {
    for (const unsigned char *at = (const unsigned char *)from; at < (const unsigned char *)to;
         at++) {
        if (*at != value) {
            return false;
        }
    }
    return true;
}

void fa__guard_set(const fa__heap *heap, const fa__block *block, size_t from, size_t size) {
    (void)heap;
    char *end = block->ptr + block->bytes;
    memset(block->ptr + from, FRESH, size - from);
    memset(block->ptr + size, GUARD, block->bytes - size);
    if (block->large == NULL) {
        uint32_t tail[2] = {(uint32_t)size, ~(uint32_t)size};
        memcpy(end - TAIL, tail, TAIL);
    }
}

bool fa__guard_read(const fa__block *block, size_t *size) {
    const char *end = block->ptr + block->bytes;
    if (block->large != NULL) {
        *size = block->large->size;
        return is_filled(block->ptr + *size, end, GUARD);
    }
    uint32_t tail[2];
    memcpy(tail, end - TAIL, TAIL);
    if (tail[0] != ~tail[1] || tail[0] > block->bytes - FA__GUARD_BYTES) {
        *size = block->bytes - FA__GUARD_BYTES;
        return false;
    }
    *size = tail[0];
    return is_filled(block->ptr + tail[0], end - TAIL, GUARD);
}

void fa__guard_bury(char *slot, size_t bytes) {
    memset(slot, GONE, bytes);
}

bool fa__guard_is_buried(const char *slot, size_t bytes) {
    return is_filled(slot, slot + bytes, GONE);
}

// Looks at every live block -----------------------------------------------------------------------

#define FOUND_MAX 64u

typedef struct findings {
    size_t passed; // Overwritten blocks to skip: those reported already.
    size_t seen;
    size_t count;
    void *found[FOUND_MAX];
} findings;

static bool look(void *user, fa__heap *heap, const fa__block *block) {
    findings *all = user;
    size_t size = 0;
    (void)heap;
    if (fa__guard_read(block, &size)) {
        return true;
    }
    all->seen += 1;
    if (all->seen > all->passed && all->count < FOUND_MAX) {
        all->found[all->count] = block->ptr;
        all->count += 1;
    }
    return true;
}

size_t fa_heap_check(fa_context *ctx) {
    fa__heap *heap = fa__load_acquire(&ctx->heap);
    if (heap == NULL || !heap->has_guards) {
        return 0;
    }
    // The walk holds locks of the heap that a report function may need: so it tells afterwards, a
    // list at a time.
    findings all = {0};
    do {
        all.seen = 0;
        all.count = 0;
        fa__heap_each(heap, look, &all);
        for (size_t i = 0; i < all.count; i++) {
            fa__block block;
            size_t size = 0;
            if (fa__block_find(heap, all.found[i], &block) == 0) {
                (void)fa__guard_read(&block, &size);
            }
            fa__heap_report(heap, FA__CODE_CORRUPTION, all.found[i], size, "heap block");
        }
        all.passed += all.count;
    } while (all.count == FOUND_MAX);
    return all.passed;
}

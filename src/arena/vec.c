// Vectors: one block of an arena, taken in doublings.
//
//   | element 0 | 1 | ... | count - 1 | free .......... |
//   ^ data                             ^ count           ^ capacity
//
// Invariants: count <= capacity; data is NULL exactly when capacity is 0; the block is capacity *
// size bytes long, which is what the arena is told when it grows, and at most VEC_BYTES_MAX, so
// that count * size cannot overflow anywhere below. Nothing is written before the last thing that
// can fail has succeeded.
#include <framealloc/vec.h>

#include "container.h"

// No block is larger than half the address space, so doubling one cannot wrap round.
#define VEC_BYTES_MAX (SIZE_MAX / 2)

// Bytes of the first block: a cache line, or four elements when they are larger than 16 bytes.
#define VEC_FIRST_BYTES 64u
#define VEC_FIRST_COUNT 4u

static size_t vec_first_capacity(size_t size) {
    if (size > VEC_BYTES_MAX / VEC_FIRST_COUNT) {
        return 1;
    }
    return size * VEC_FIRST_COUNT > VEC_FIRST_BYTES ? VEC_FIRST_COUNT : VEC_FIRST_BYTES / size;
}

// Makes the capacity `capacity`, which is more than it is.
static fa_result vec_set_capacity(fa_arena *arena, fa_vec_raw *vec, size_t capacity, size_t size,
                                  size_t align) {
    void *data =
        fa_arena_resize_aligned(arena, vec->data, vec->capacity * size, capacity * size, align);
    if (data == NULL) {
        return fa__container_refused();
    }
    vec->data = data;
    vec->capacity = capacity;
    return FA_OK;
}

fa_result fa_vec_raw_grow(fa_arena *arena, fa_vec_raw *vec, size_t more, size_t size,
                          size_t align) {
    if (size == 0) {
        return fa__fail_argument(NULL, "element size");
    }
    size_t max = VEC_BYTES_MAX / size;
    if (more > max - vec->count) {
        size_t asked = more > SIZE_MAX - vec->count ? SIZE_MAX : vec->count + more;
        return fa__container_too_large("vector", asked, max);
    }
    size_t needed = vec->count + more;
    if (needed <= vec->capacity) {
        return FA_OK;
    }
    size_t capacity = vec->capacity == 0 ? vec_first_capacity(size) : vec->capacity;
    capacity = vec->capacity == 0 || capacity > max / 2 ? capacity : capacity * 2;
    return vec_set_capacity(arena, vec, capacity > needed ? capacity : needed, size, align);
}

fa_result fa_vec_raw_reserve(fa_arena *arena, fa_vec_raw *vec, size_t capacity, size_t size,
                             size_t align) {
    if (capacity <= vec->capacity) {
        return FA_OK;
    }
    if (size == 0) {
        return fa__fail_argument(NULL, "element size");
    }
    if (capacity > VEC_BYTES_MAX / size) {
        return fa__container_too_large("vector", capacity, VEC_BYTES_MAX / size);
    }
    return vec_set_capacity(arena, vec, capacity, size, align);
}

fa_result fa_vec_raw_resize(fa_arena *arena, fa_vec_raw *vec, size_t count, size_t size,
                            size_t align) {
    if (count > vec->count) {
        fa_result result = fa_vec_raw_grow(arena, vec, count - vec->count, size, align);
        if (result < 0) {
            return result;
        }
        memset((char *)vec->data + vec->count * size, 0, (count - vec->count) * size);
    }
    vec->count = count;
    return FA_OK;
}

fa_result fa_vec_raw_insert(fa_arena *arena, fa_vec_raw *vec, size_t index, const void *item,
                            size_t size, size_t align) {
    if (index > vec->count) {
        return fa__container_no_index("fa_vec_insert", index, vec->count);
    }
    fa_result result = fa_vec_raw_grow(arena, vec, 1, size, align);
    if (result < 0) {
        return result;
    }
    char *place = (char *)vec->data + index * size;
    memmove(place + size, place, (vec->count - index) * size);
    memcpy(place, item, size);
    vec->count++;
    return FA_OK;
}

fa_result fa_vec_raw_extend(fa_arena *arena, fa_vec_raw *vec, const void *items, size_t count,
                            size_t size, size_t align) {
    if (count == 0) {
        return FA_OK;
    }
    fa_result result = fa_vec_raw_grow(arena, vec, count, size, align);
    if (result < 0) {
        return result;
    }
    // Items of the vector itself are still where they were: growing leaves the old block readable.
    memmove((char *)vec->data + vec->count * size, items, count * size);
    vec->count += count;
    return FA_OK;
}

fa_result fa_vec_raw_remove(fa_vec_raw *vec, size_t index, size_t size) {
    if (index >= vec->count) {
        return fa__container_no_index("fa_vec_remove", index, vec->count);
    }
    char *place = (char *)vec->data + index * size;
    vec->count--;
    memmove(place, place + size, (vec->count - index) * size);
    return FA_OK;
}

fa_result fa_vec_raw_remove_swap(fa_vec_raw *vec, size_t index, size_t size) {
    if (index >= vec->count) {
        return fa__container_no_index("fa_vec_remove_swap", index, vec->count);
    }
    vec->count--;
    if (index != vec->count) {
        memcpy((char *)vec->data + index * size, (char *)vec->data + vec->count * size, size);
    }
    return FA_OK;
}

void *fa_vec_bad_index(size_t index, size_t count) {
    fa__container_no_index("fa_vec_at", index, count);
    return NULL;
}

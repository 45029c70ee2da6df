// std::pmr::monotonic_buffer_resource on a buffer that holds every workload, released at the end of
// a frame.
#include "bench.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory_resource>
#include <new>
#include <unordered_map>
#include <vector>

namespace {

struct rival_state {
    char *buffer;
    std::pmr::monotonic_buffer_resource resource;

    explicit rival_state(char *memory)
        : buffer(memory), resource(memory, BENCH_ROOM, std::pmr::null_memory_resource()) {
    }
};

typedef std::pmr::monotonic_buffer_resource rival_arena;

BENCH_INLINE rival_arena *rival_begin(rival_state *state) {
    return &state->resource;
}

BENCH_INLINE void *rival_alloc(rival_arena *arena, size_t size) {
    return arena->allocate(size, 16);
}

#define RIVAL_HAS_ALIGNED
BENCH_INLINE void *rival_alloc_aligned(rival_arena *arena, size_t size, size_t align) {
    return arena->allocate(size, align);
}

BENCH_INLINE void *rival_array(rival_arena *arena, size_t count, size_t size) {
    return arena->allocate(count * size, 16);
}

BENCH_INLINE void rival_keep(rival_arena *, size_t, void *) {
}

BENCH_INLINE uint64_t rival_end(rival_state *, rival_arena *arena, size_t) {
    arena->release();
    return 0;
}

uint64_t scope_vector(void *state, size_t frames, unsigned) {
    rival_state *mine = static_cast<rival_state *>(state);
    for (size_t frame = 0; frame < frames; ++frame) {
        std::pmr::vector<uint32_t> vector(&mine->resource);
        for (uint32_t i = 0; i < 128; ++i) {
            vector.push_back(i);
            BENCH_BARRIER(&vector);
        }
        if (vector.size() != 128 || vector[127] != 127) {
            bench_ledger_fault("vector of pmr");
        }
        mine->resource.release();
    }
    return 0;
}

void map_frame(rival_state *state) {
    std::pmr::unordered_map<uint64_t, uint64_t> map(&state->resource);
    for (uint64_t i = 1; i <= 1000; ++i) {
        map[i * 7919] = i;
        BENCH_BARRIER(&map);
    }
    if (map.size() != 1000) {
        bench_ledger_fault("map of pmr");
    }
}

uint64_t scope_map(void *state, size_t frames, unsigned) {
    rival_state *mine = static_cast<rival_state *>(state);
    for (size_t frame = 0; frame < frames; ++frame) {
        map_frame(mine);
        mine->resource.release();
    }
    return 0;
}

#define scope_tag_1 NULL
#define scope_tag_10 NULL
#define scope_scratch NULL
#define scope_mark NULL
#include "workloads.inc"

void *state_open() {
    char *buffer = static_cast<char *>(std::aligned_alloc(4096, BENCH_ROOM));
    if (buffer == nullptr) {
        return nullptr;
    }
    std::memset(buffer, 0, BENCH_ROOM);
    return new (std::nothrow) rival_state(buffer);
}

void state_close(void *state) {
    rival_state *mine = static_cast<rival_state *>(state);
    char *buffer = mine->buffer;
    delete mine;
    std::free(buffer);
}

size_t state_version(char *buffer, size_t size) {
    return static_cast<size_t>(std::snprintf(buffer, size, "libstdc++ %d", _GLIBCXX_RELEASE));
}

} // namespace

const bench_rival bench_rival_pmr = {
    "pmr", "std::pmr::monotonic", state_open, state_close, rival_runs, state_version,
};

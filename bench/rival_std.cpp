// The standard containers on malloc: what a program uses when it has no arena.
#include "bench.h"

#include <unordered_map>
#include <vector>

namespace {

struct rival_state {
    size_t unused;
};

typedef rival_state rival_arena;

uint64_t scope_vector(void *, size_t frames, unsigned) {
    for (size_t frame = 0; frame < frames; ++frame) {
        std::vector<uint32_t> vector;
        for (uint32_t i = 0; i < 128; ++i) {
            vector.push_back(i);
            BENCH_BARRIER(&vector);
        }
        if (vector.size() != 128 || vector[127] != 127) {
            bench_ledger_fault("vector of std");
        }
    }
    return 0;
}

uint64_t scope_map(void *, size_t frames, unsigned) {
    for (size_t frame = 0; frame < frames; ++frame) {
        std::unordered_map<uint64_t, uint64_t> map;
        for (uint64_t i = 1; i <= 1000; ++i) {
            map[i * 7919] = i;
            BENCH_BARRIER(&map);
        }
        if (map.size() != 1000) {
            bench_ledger_fault("map of std");
        }
    }
    return 0;
}

#define scope_frame NULL
#define scope_tag_1 NULL
#define scope_tag_10 NULL
#define scope_scratch NULL
#define scope_mark NULL
#define RIVAL_ONLY_CONTAINERS
#include "workloads.inc"

rival_state the_state;

void *state_open() {
    return &the_state;
}

void state_close(void *) {
}

} // namespace

const bench_rival bench_rival_std = {
    "std", "std:: containers on malloc", state_open, state_close, rival_runs, nullptr,
};

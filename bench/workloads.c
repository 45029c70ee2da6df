// The table of workloads, and the sizes of the one whose sizes are known only at run time.
#include "bench.h"

size_t bench_variable_sizes[BENCH_VARIABLE_COUNT];

bench_workload bench_workloads[WORKLOAD_COUNT] = {
#define BENCH_FIXED(id, title, count, size, align, touch) {#id, title, count, (count) * (size)},
#define BENCH_BATCH(id, title, count, size, touch) {#id, title, count, (count) * (size)},
#define BENCH_MIXED(id, title, count, bytes, body, touch) {#id, title, count, bytes},
#define BENCH_SCOPE(id, title, count, bytes, feature) {#id, title, count, bytes},
#include "workloads.def"
};

// Sizes from 16 to 256 bytes from a fixed sequence, so that every run and every machine has the
// same.
void bench_variable_init(void) {
    uint64_t state = 0x9e3779b97f4a7c15u;
    size_t bytes = 0;
    for (size_t i = 0; i < BENCH_VARIABLE_COUNT; ++i) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        bench_variable_sizes[i] = 16 + (size_t)(state >> 33) % 241;
        bytes += bench_variable_sizes[i];
    }
    bench_workloads[WORKLOAD_variable].bytes = bytes;
    bench_workloads[WORKLOAD_variable_first].bytes = bytes;
}

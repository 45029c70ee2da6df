// What the parts of the benchmark share: workloads, rivals, one measured result.
//
// A workload is one frame of memory use. A rival is one way to serve it. Every rival compiles the
// same bodies (workloads.inc) around its own inline functions, so that all of them run the same
// loops.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Makes the compiler believe that `ptr` is used and all memory is read and written, at the cost of
// no instruction.
#define BENCH_BARRIER(ptr) __asm__ volatile("" : : "r"(ptr) : "memory")
#define BENCH_INLINE static inline __attribute__((always_inline))

// Memory that each rival has ready before anything is measured: more than the largest frame needs.
#define BENCH_ROOM ((size_t)4 << 20)

// Sizes of the "variable" workload: unknown to the compiler, the same for everybody.
#define BENCH_VARIABLE_COUNT 1000
#define BENCH_VARIABLE_BYTES 0 // Known only at run time: bench_variable_bytes().
extern size_t bench_variable_sizes[BENCH_VARIABLE_COUNT];
void bench_variable_init(void);

typedef enum bench_touch {
    TOUCH_NONE,  // The block is not written.
    TOUCH_FIRST, // Its first 8 bytes are.
    TOUCH_ALL,   // All of it is.
    TOUCH_CHECK  // All of it is, and it is checked at the end of the frame: never timed.
} bench_touch;

typedef enum bench_workload_id {
#define BENCH_FIXED(id, title, count, size, align, touch) WORKLOAD_##id,
#define BENCH_BATCH(id, title, count, size, touch) WORKLOAD_##id,
#define BENCH_MIXED(id, title, count, bytes, body, touch) WORKLOAD_##id,
#define BENCH_SCOPE(id, title, count, bytes, feature) WORKLOAD_##id,
#include "workloads.def"
    WORKLOAD_COUNT
} bench_workload_id;

typedef struct bench_workload {
    const char *id;    // "alloc16": for --only and the CSV file.
    const char *title; // For people.
    size_t count;      // Operations per frame; times are divided by it.
    size_t bytes;      // Bytes asked for per frame.
} bench_workload;

extern bench_workload bench_workloads[WORKLOAD_COUNT];

// A loop of a few instructions has two speeds on many processors, a quarter or more apart. Which
// one it gets is decided when it is entered, by how its first instruction falls into the groups in
// which the processor takes instructions up, and so by how many came before it. So each workload
// exists in this many variants, with 0, 1, 2 ... instructions that do nothing before its loop. See
// measure.c.
#define BENCH_ENTRIES 6u

// Runs a number of frames on a rival's state, through the loop variant `entry`. Returns the bytes
// that the rival says were in use at the ends of the frames, summed; 0 when it cannot say.
typedef uint64_t (*bench_run_fn)(void *state, size_t frames, unsigned entry);

typedef struct bench_run {
    bench_run_fn run;   // What is timed; NULL where the rival does not have this.
    bench_run_fn check; // The same with every block filled and checked.
} bench_run;

typedef struct bench_rival {
    const char *id;      // "framealloc": for the CSV file.
    const char *label;   // For people.
    void *(*open)(void); // Everything set up and every page touched; NULL on failure.
    void (*close)(void *state);
    const bench_run *runs; // WORKLOAD_COUNT of them.
    size_t (*version)(char *buffer,
                      size_t size); // Library version as text; NULL when it has none of its own.
} bench_rival;

extern const bench_rival bench_rival_floor;
extern const bench_rival bench_rival_safe;
extern const bench_rival bench_rival_framealloc;
extern const bench_rival bench_rival_plain;
extern const bench_rival bench_rival_called;
extern const bench_rival bench_rival_malloc;
extern const bench_rival bench_rival_malloc_pair;
extern const bench_rival bench_rival_obstack;
extern const bench_rival bench_rival_apr;
extern const bench_rival bench_rival_pmr;
extern const bench_rival bench_rival_std;

// ---- Checking that the timed thing happens -----------------------------------------------------

// Writes a pattern of its own over the block and remembers it. A NULL or misaligned block is a
// fault.
void bench_ledger_add(void *ptr, size_t size, size_t align);
// Compares every remembered block with its pattern; overlapping blocks spoil each other's.
void bench_ledger_check(void);
// Forgets the remembered blocks without looking at them: they were freed already.
void bench_ledger_forget(void);
// Counts a fault found elsewhere: `what` was not as it should be.
void bench_ledger_fault(const char *what);
// Empties the ledger; returns how many faults there were since the last time, and the bytes and
// blocks added.
size_t bench_ledger_clear(size_t *bytes, size_t *blocks);

// ---- Measuring ---------------------------------------------------------------------------------

typedef struct bench_result {
    const bench_rival *rival;
    bool offered;  // The rest is meaningful only then.
    double min_ns; // Nanoseconds per operation.
    double median_ns;
    double floor_ratio;        // Median of the ratios to the floor in the same repeat; 0: no floor.
    double floor_ratio_of_min; // Ratio of the minima.
    double malloc_ratio;       // The same against malloc; 0: malloc has no such thing.
} bench_result;

typedef struct bench_options {
    double seconds; // Time for one workload, all rivals together.
} bench_options;

// Measures one workload on every rival that offers it, interleaved; fills one result per rival and
// returns the number of repeats, 0 when a check failed (said on the error output).
size_t bench_measure(bench_workload_id workload, const bench_rival *const *rivals,
                     void *const *states, size_t rival_count, const bench_options *options,
                     bench_result *results);

uint64_t bench_clock_ns(void);
// Nanoseconds of one reading of the clock.
double bench_clock_cost_ns(void);

// ---- Machine and output ------------------------------------------------------------------------

typedef struct bench_machine {
    char cpu[96];
    char kernel[96];
    char compiler[64];
    char flags[160];
    char libc[64];
    long cores;
    double clock_ns;
    bool is_virtual;
} bench_machine;

void bench_machine_read(bench_machine *out);
// "amd-epyc-2-cores-gcc-12.csv": where this machine's results belong.
void bench_machine_file(const bench_machine *machine, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif

// The bounds, in the order of the requirements.
#include "criteria.h"
#include "table.h"

#include <string.h>

typedef struct criterion {
    int number;
    const char *what;
    const char *table;
    const char *rival;
    const char *base; // NULL: the median itself; else the median of the paired ratios to this one.
    double bound;
    bool is_least; // The bound is the least that it may be; otherwise the most.
} criterion;

static const criterion criteria[] = {
    {1, "pool pair inline / mimalloc's own heap", "pair8", "pool", "mimalloc-heap", 0.75, false},
    {1, "pool in order / mimalloc's own heap", "order", "pool", "mimalloc-heap", 0.8, false},
    {1, "pool at random / mimalloc's own heap", "random", "pool", "mimalloc-heap", 0.6, false},
    {1, "pool with generations + tags, pair", "pair8", "pool-tags", "mimalloc-heap", 1.0, false},
    {1, "the same, a handle taken of each", "pair8", "pool-handles", "mimalloc-heap", 1.0, false},
    {1, "pool with generations + tags, random", "random", "pool-tags", "mimalloc-heap", 0.85,
     false},
    {1, "the same, a handle taken of each", "random", "pool-handles", "mimalloc-heap", 0.85, false},
    {1, "pool pair not inlined / mimalloc's heap", "pair8", "pool-called", "mimalloc-heap", 0.9,
     false},
    {1, "pool in order, not inlined", "order", "pool-called", "mimalloc-heap", 0.9, false},
    {1, "pool at random, not inlined", "random", "pool-called", "mimalloc-heap", 0.9, false},
    {2, "look-up of 10,000 / hand-written", "lookup", "pool", "written", 1.3, false},
    {2, "look-up of 1,000,000 / hand-written", "lookup_many", "pool", "written", 1.3, false},
    {2, "movable block, of 10,000", "lookup", "blocks", "written", 1.3, false},
    {2, "movable block, of 1,000,000", "lookup_many", "blocks", "written", 1.3, false},
    {3, "heap pair / mimalloc", "pair8", "heap", "mimalloc", 1.05, false},
    {3, "heap in order / mimalloc", "order", "heap", "mimalloc", 1.05, false},
    {3, "heap at random / mimalloc", "random", "heap", "mimalloc", 1.05, false},
    {3, "heap churn of 8 sizes / mimalloc", "churn", "heap", "mimalloc", 1.05, false},
    {3, "larson, 2 threads / mimalloc", "larson", "heap", "mimalloc", 1.2, true},
    {3, "large blocks, pair / glibc", "large_pair", "heap", "glibc", 1.2, false},
    {3, "large blocks, 32 live / glibc", "large_live", "heap", "glibc", 1.2, false},
    {3, "growth to 16 MiB / mimalloc", "growth", "heap", "mimalloc", 0.6, false},
    {4, "ring, pool / mimalloc", "ring", "pool", "mimalloc", 0.5, false},
    {4, "ring, heap / mimalloc", "ring", "heap", "mimalloc", 0.5, false},
    {4, "ring, pool / glibc", "ring", "pool", "glibc", 0.25, false},
    {4, "ring, heap / glibc", "ring", "heap", "glibc", 0.25, false},
    {4, "ring, pool: MiB grown after warm-up", "ring_growth", "pool", NULL, 1.0, false},
    {4, "ring, heap: MiB grown after warm-up", "ring_growth", "heap", NULL, 1.0, false},
    {4, "a third thread frees, pool: over live", "freeing", "pool", NULL, 1.3, false},
    {4, "a third thread frees, heap: over live", "freeing", "heap", NULL, 1.3, false},
    {5, "SuperTux, total time / mimalloc", "replay_total", "framealloc", "mimalloc", 1.0, false},
    {5, "SuperTux, peak memory / mimalloc", "replay_peak", "framealloc", "mimalloc", 1.1, false},
    {5, "SuperTux, steady frame / glibc", "replay_frame", "framealloc", "glibc", 0.5, false},
    {6, "99.99 % of operations, pool / mimalloc", "latency_99.99", "pool", "mimalloc-heap", 1.0,
     false},
    {6, "worst operation, pool / mimalloc's heap", "latency_max", "pool", "mimalloc-heap", 1.0,
     false},
    {6, "99.99 % of operations, heap / mimalloc", "latency_99.99", "heap", "mimalloc", 1.0, false},
    {6, "worst operation, heap / mimalloc", "latency_max", "heap", "mimalloc", 1.0, false},
    {7, "pool of 1,000,000 dropped, ns each", "drop", "pool", NULL, 0.5, false},
    {8, "resident over live after churn", "churned", "heap", NULL, 1.15, false},
    {8, "the same, other sizes loaded", "reloaded", "heap", NULL, 1.5, false},
    {8, "the same, 90 % freed, handles", "unloaded", "blocks", NULL, 1.3, false},
    {8, "the same, blocks of 64 B to 16 KiB", "unloaded_assets", "blocks", NULL, 1.3, false},
    {8, "500 threads: per cent of the peak left", "crowd", "heap", NULL, 5.0, false},
    {8, "500 more: MiB grown", "crowd_again", "heap", NULL, 0.5, false},
    {8, "soak: memory late / early", "soak", "heap", NULL, 1.02, false},
};

static const object_table *table_find(const object_table *const *tables, size_t count,
                                      const char *id) {
    for (size_t i = 0; i < count; ++i) {
        if (strcmp(tables[i]->id, id) == 0 && tables[i]->repeats > 0) {
            return tables[i];
        }
    }
    return NULL;
}

// False when it was not measured.
static bool criterion_value(const criterion *what, const object_table *table, double *out) {
    if (table == NULL) {
        return false;
    }
    if (what->base != NULL) {
        *out = table_ratio(table, what->rival, what->base);
        return *out >= 0;
    }
    size_t rival = object_table_find(table, what->rival);
    if (rival == TABLE_RIVALS) {
        return false;
    }
    *out = table_median(table, rival);
    return true;
}

size_t criteria_print(FILE *out, const object_table *const *tables, size_t count) {
    size_t missed = 0;
    fprintf(out, "\n%-54s %8s %14s\n", "", "value", "bound");
    for (size_t i = 0; i < sizeof(criteria) / sizeof(criteria[0]); ++i) {
        const criterion *what = &criteria[i];
        double value = 0;
        fprintf(out, "criterion %d: %-41s ", what->number, what->what);
        if (!criterion_value(what, table_find(tables, count, what->table), &value)) {
            fprintf(out, "%8s\n", "not measured");
            continue;
        }
        bool holds = what->is_least ? value >= what->bound : value <= what->bound;
        missed += !holds;
        fprintf(out, "%8.3f %9s %4.2f   %s\n", value, what->is_least ? "at least" : "at most",
                what->bound, holds ? "holds" : "misses");
    }
    fprintf(out, "instructions (criteria 1 and 6): bench/instructions.sh\n");
    return missed;
}

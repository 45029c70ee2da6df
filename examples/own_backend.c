// A backend of one's own: a machine without virtual memory hands the program one block of memory,
// and everything the library uses must come out of it, never more, and be counted.
//
// The block is cut into units of 64 KiB. A reservation is a row of units, found first-fit in a
// table of bytes. There is no commit: what is reserved can be used at once, and the library then
// builds arenas from chunks. Any thread may call a backend, so a lock guards the table.
#include <framealloc/framealloc.h>
#include <framealloc/heap.h>
#include <framealloc/pool.h>

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define UNIT ((size_t)64 * 1024)

enum { UNITS = 256 }; // 16 MiB in all.

typedef struct console_memory {
    _Alignas(64 * 1024) unsigned char bytes[UNITS * 64 * 1024];
    unsigned char is_used[UNITS];
    atomic_flag lock;
    size_t used; // Units.
    size_t peak;
    size_t refusals;
} console_memory;

static console_memory memory = {.lock = ATOMIC_FLAG_INIT};

static void enter(console_memory *m) {
    while (atomic_flag_test_and_set_explicit(&m->lock, memory_order_acquire)) {
    }
}

static void leave(console_memory *m) {
    atomic_flag_clear_explicit(&m->lock, memory_order_release);
}

// The first of `count` free units in a row whose address fits, or UNITS.
static size_t find_row(const console_memory *m, size_t count, size_t align) {
    size_t free_units = 0;
    for (size_t i = 0; i < UNITS; i++) {
        bool starts = free_units > 0 || ((uintptr_t)&m->bytes[i * UNIT] & (align - 1)) == 0;
        free_units = starts && m->is_used[i] == 0 ? free_units + 1 : 0;
        if (free_units == count) {
            return i + 1 - count;
        }
    }
    return UNITS;
}

static void *console_reserve(void *self, size_t size, size_t align) {
    console_memory *m = self;
    size_t count = size / UNIT + (size % UNIT != 0 ? 1 : 0);
    void *ptr = NULL;
    enter(m);
    size_t first = find_row(m, count, align);
    if (first < UNITS) {
        memset(&m->is_used[first], 1, count);
        m->used += count;
        m->peak = m->used > m->peak ? m->used : m->peak;
        ptr = &m->bytes[first * UNIT];
    } else {
        m->refusals++;
    }
    leave(m);
    return ptr;
}

static void console_release(void *self, void *ptr, size_t size) {
    console_memory *m = self;
    size_t first = (size_t)((unsigned char *)ptr - m->bytes) / UNIT;
    size_t count = size / UNIT + (size % UNIT != 0 ? 1 : 0);
    enter(m);
    memset(&m->is_used[first], 0, count);
    m->used -= count;
    leave(m);
}

// A level that takes ever larger pieces until the machine has no more.
static size_t fill_level(fa_context *ctx) {
    fa_arena *level = NULL;
    size_t total = 0;
    if (fa_arena_create(ctx, &(fa_arena_desc){.name = "level"}, &level) < 0) {
        return 0;
    }
    while (fa_arena_try_alloc(level, 100000) != NULL) {
        total += 100000;
    }
    fa_arena_destroy(level); // Gives everything back: the program goes on.
    return total;
}

// Objects and blocks that are freed one by one come out of the same memory.
static bool use_objects(fa_context *ctx) {
    fa_pool *pool = NULL;
    if (fa_pool_create(ctx, &(fa_pool_desc){.name = "shots", .size = 64}, &pool) < 0) {
        return false;
    }
    void *shot = fa_pool_alloc(pool);
    void *picture = fa_heap_alloc(ctx, 500000);
    bool ok = shot != NULL && picture != NULL;
    fa_heap_free(ctx, picture);
    fa_pool_free(pool, shot);
    return fa_pool_destroy(pool) == FA_OK && ok;
}

int main(void) {
    const fa_backend backend = {
        .reserve = console_reserve,
        .release = console_release,
        .page_size = 4096,
        .self = &memory,
    };
    fa_context *ctx = NULL;
    if (fa_context_create(&(fa_config){.backend = &backend}, &ctx) < 0) {
        fprintf(stderr, "%s\n", fa_last_error()->text);
        return 1;
    }
    bool ok = true;
    for (int i = 0; i < 100; i++) {
        fa_arena *frame = fa_frame_begin(ctx);
        int *numbers = fa_arena_array(frame, int, 1000);
        ok = ok && numbers != NULL && numbers[999] == 0;
        fa_frame_end(frame);
    }
    size_t before = memory.peak;
    ok = use_objects(ctx) && ok;
    size_t level = fill_level(ctx);
    printf("frames: %zu KiB of %zu KiB\n", before * UNIT / 1024, UNITS * UNIT / 1024);
    printf("a level of %zu KB filled the rest, and was refused %zu times\n", level / 1000,
           memory.refusals);
    ok = ok && level > 8000000 && memory.refusals > 0 && fa_frame_begin(ctx) != NULL;
    fa_frame_end(fa_frame_current(ctx));
    ok = fa_context_destroy(ctx) == FA_OK && ok;
    printf("after the end: %zu KiB\n", memory.used * UNIT / 1024);
    return ok && memory.used == 0 ? 0 : 1;
}

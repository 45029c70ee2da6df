// The memory under an arena: growing it, undoing it, giving it back.
//
// A range (the default):
//
//   | in use ............ | free, committed ... | reserved, not committed ... |
//   ^ base                ^ cursor              ^ end                         ^ base + reserved
//
// Further blocks, when a request does not fit (and for every chunk after the first when the backing
// is chunks):
//
//   first block <-- current block (with the cursor) <-- aside <-- aside   (newest last)
//
// A block remembers how many bytes were in use when it was opened, and the cursor; undoing it
// restores both. So the order of undoing is the order of offsets, whichever block an allocation
// landed in. Bytes in use are always cursor - origin; an aside block counts by moving the origin
// back.
#include "blocks.h"

#include <string.h>

#define OVERFLOW_CHUNK FA__CHUNK_MAX    // Size of further blocks of a range.
#define ASIDE_SHARE 4                   // A request above a quarter of a chunk stands aside.
#define SLACK ((size_t)256 << 10)       // Not worth giving back.
#define TRIM_STEP_MIN ((size_t)1 << 20) // Given back at a time, at least.

static size_t round_to(size_t size, size_t step) {
    return (size + (step - 1)) & ~(step - 1);
}

static char *block_end(const fa__arena *arena, fa__block *block) {
    return block == NULL ? arena->base + arena->committed : (char *)block + block->chunk.size;
}

// Touches pages so that the first frame that uses them takes no fault.
static void prefault(const fa__arena *arena, char *from, size_t bytes) {
    const fa_config *config = &arena->meter.context->config;
    if (!config->prefault || arena->kind == FA__ARENA_OWN) {
        return;
    }
    size_t page = config->backend->page_size;
    for (size_t i = 0; i < bytes; i += page) {
        *(volatile char *)(from + i) = 0;
    }
}

bool fa__arena_commit(fa__arena *arena, size_t bytes, fa__denial *denial) {
    fa__pages *pages = arena->meter.context->pages;
    size_t page = pages->backend.page_size;
    size_t left = arena->reserved - arena->committed;
    size_t least = round_to(bytes, page);
    size_t step =
        round_to(bytes > arena->committed / 2 ? bytes : arena->committed / 2, FA__GRANULE);
    step = step < left ? step : left;
    if (arena->committed == 0 && bytes == arena->initial) {
        step = least; // As the configuration says.
    }
    char *from = arena->base + arena->committed;
    if (!fa__pages_commit(pages, from, step, denial)) {
        step = least;
        if (!fa__pages_commit(pages, from, step, denial)) {
            return false;
        }
    }
    prefault(arena, from, step);
    arena->committed += step;
    arena->meter.end = arena->base + arena->committed;
    return true;
}

bool fa__arena_block_is_current(const fa__arena *arena, size_t bytes, size_t align) {
    size_t most = arena->chunk_size / ASIDE_SHARE;
    return align <= most && bytes <= most;
}

char *fa__arena_open_block(fa__arena *arena, size_t bytes, size_t align, fa__denial *denial) {
    fa__meter *meter = &arena->meter;
    bool is_current = fa__arena_block_is_current(arena, bytes, align);
    size_t start = round_to(sizeof(fa__block), align > FA_ALIGNMENT ? align : FA_ALIGNMENT);
    size_t size = is_current ? arena->chunk_size : start + bytes;
    fa__chunk chunk;
    if (!fa__chunk_acquire(meter->context->pages, size, align > FA__CHUNK_MIN ? align : 1, &chunk,
                           denial)) {
        return NULL;
    }
    size_t used = fa__meter_used(meter); // All of it booked: the caller has settled.
    fa__block *block = (fa__block *)(void *)chunk.ptr;
    *block = (fa__block){.below = arena->blocks,
                         .current = arena->current,
                         .cursor = meter->arena.cursor,
                         .opened_at = used,
                         .closed_at = is_current ? used : used + bytes,
                         .chunk = chunk};
    arena->blocks = block;
    if (meter->thread != NULL) {
        meter->thread->is_untidy = true;
    }
    char *ptr = chunk.ptr + start;
    if (is_current) {
        block->waste = (size_t)(meter->end - meter->arena.cursor);
        arena->waste += block->waste;
        arena->current = block;
        meter->arena.cursor = ptr + bytes;
        meter->origin = (uintptr_t)meter->arena.cursor - (used + bytes);
        meter->end = block_end(arena, block);
        meter->booked = ptr;
    } else {
        meter->run->bytes += bytes; // The cursor does not move, so this is booked here.
        meter->run->account->room -= bytes;
        block->waste = chunk.size - start - bytes;
        arena->waste += block->waste;
        meter->origin -= bytes;
    }
    return ptr;
}

void fa__arena_drop(fa__arena *arena, size_t offset) {
    fa__meter *meter = &arena->meter;
    while (arena->blocks != NULL && arena->blocks->opened_at >= offset) {
        fa__block *block = arena->blocks;
        arena->blocks = block->below;
        arena->current = block->current;
        arena->waste -= block->waste;
        meter->arena.cursor = block->cursor;
        meter->origin = (uintptr_t)block->cursor - block->opened_at;
        fa__chunk_release(meter->context->pages, block->chunk);
    }
    meter->arena.cursor -= fa__meter_used(meter) - offset;
    meter->end = block_end(arena, arena->current);
}

void fa__arena_run_cleanups(fa__arena *arena, size_t offset) {
    while (arena->cleanups != NULL && arena->cleanups->offset >= offset) {
        fa__cleanup *cleanup = arena->cleanups;
        arena->cleanups = cleanup->below; // First, so that it runs once whatever it does.
        cleanup->fn(cleanup->arg);
    }
}

void fa__arena_undo_slow(fa__arena *arena, size_t offset) {
    fa__arena_run_cleanups(arena, offset);
    fa__meter_settle(&arena->meter);
    size_t used = fa__meter_used(&arena->meter);
    offset = offset < used ? offset : used; // A cleanup may have gone back further itself.
    fa__arena_note_undo_peak(arena, used);
    fa__meter_unwind(&arena->meter, offset);
    fa__arena_drop(arena, offset);
    fa__meter_moved(&arena->meter);
}

// Giving back -------------------------------------------------------------------------------------

void fa__arena_trim(fa__arena *arena, size_t keep) {
    fa__pages *pages = arena->meter.context->pages;
    if (arena->backing != FA__BACKING_RANGE || arena->blocks != NULL ||
        pages->backend.decommit == NULL) {
        return;
    }
    size_t used = (size_t)(arena->meter.arena.cursor - arena->base);
    if (keep >= arena->committed) {
        return; // Before rounding, which could wrap.
    }
    keep = round_to(keep > used ? keep : used, pages->backend.page_size);
    if (keep >= arena->committed) {
        return;
    }
    fa__pages_decommit(pages, arena->base + keep, arena->committed - keep);
    arena->committed = keep;
    arena->meter.end = arena->base + keep;
    fa__meter_refresh(&arena->meter);
}

// Puts another first chunk under an empty arena, so that what did not fit last time does next time.
// Keeps the old one when there is no memory.
static void replace_first_chunk(fa__arena *arena, size_t size) {
    fa__pages *pages = arena->meter.context->pages;
    fa__chunk chunk;
    if (!fa__chunk_acquire(pages, size, 1, &chunk, NULL)) {
        return;
    }
    fa__chunk_release(pages, arena->first);
    arena->first = chunk;
    arena->base = chunk.ptr;
    arena->reserved = chunk.size;
    arena->committed = chunk.size;
    arena->meter.arena.cursor = chunk.ptr;
    arena->meter.origin = (uintptr_t)chunk.ptr;
    arena->meter.end = chunk.ptr + chunk.size;
    prefault(arena, chunk.ptr, chunk.size);
    fa__meter_moved(&arena->meter);
}

bool fa__arena_end_window(fa__arena *arena) {
    size_t high = arena->high > arena->high_last ? arena->high : arena->high_last;
    arena->high_last = arena->high;
    arena->high = 0;
    arena->trim_to = SIZE_MAX;
    if (arena->kind != FA__ARENA_OWN && arena->backing == FA__BACKING_CHUNKS) {
        size_t wanted = round_to(high > arena->chunk_size ? high : arena->chunk_size, FA__GRANULE);
        if (wanted > arena->committed || wanted < arena->committed / 4) {
            replace_first_chunk(arena, wanted);
        }
        return false;
    }
    size_t keep = round_to(high > arena->initial ? high : arena->initial, FA__GRANULE);
    // A little more than needed is kept rather than paid for again and again.
    if (arena->committed > keep && arena->committed - keep > SLACK + keep / 8) {
        arena->trim_to = keep;
    }
    return arena->trim_to != SIZE_MAX;
}

void fa__arena_trim_step(fa__arena *arena, uint32_t steps_left) {
    if (arena->committed <= arena->trim_to) {
        return;
    }
    if (arena->high > arena->trim_to) { // It is needed again.
        arena->trim_to = SIZE_MAX;
        return;
    }
    size_t excess = arena->committed - arena->trim_to;
    size_t step = round_to(excess / steps_left, FA__GRANULE);
    step = step > TRIM_STEP_MIN ? step : TRIM_STEP_MIN;
    fa__arena_trim(arena, step < excess ? arena->committed - step : arena->trim_to);
}

// Setting up --------------------------------------------------------------------------------------

static void fail_setup(const fa__arena_setup *setup, fa__denial denial, size_t bytes,
                       fa_result *result) {
    bool is_limit = denial == FA__DENIED_BY_LIMIT;
    *result = is_limit ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY;
    fa__fail(&(fa__failure){.context = setup->context,
                            .code = is_limit ? FA__CODE_MEMORY_LIMIT : FA__CODE_OS_REFUSED,
                            .result = *result,
                            .bytes = bytes,
                            .limit = is_limit ? setup->context->config.memory_limit : 0,
                            .tag = {setup->account->tag->id},
                            .where = setup->name});
}

static fa_result setup_range(fa__arena *arena, const fa__arena_setup *setup) {
    fa__pages *pages = setup->context->pages;
    fa_result result = FA_OK;
    arena->base = fa__pages_reserve(pages, setup->reserve, pages->backend.page_size);
    if (arena->base == NULL) {
        fail_setup(setup, FA__DENIED_BY_BACKEND, setup->reserve, &result);
        return result;
    }
    arena->reserved = setup->reserve;
    if (setup->context->config.huge_pages && arena->kind != FA__ARENA_OWN &&
        pages->backend.advise_huge != NULL) {
        pages->backend.advise_huge(pages->backend.self, arena->base, arena->reserved);
    }
    fa__denial denial = FA__DENIED_BY_BACKEND;
    if (setup->initial != 0 && !fa__arena_commit(arena, setup->initial, &denial)) {
        fa__pages_release(pages, arena->base, arena->reserved, 0);
        fail_setup(setup, denial, setup->initial, &result);
    }
    return result;
}

static fa_result setup_chunks(fa__arena *arena, const fa__arena_setup *setup) {
    fa__denial denial = FA__DENIED_BY_BACKEND;
    fa_result result = FA_OK;
    if (!fa__chunk_acquire(setup->context->pages, setup->chunk_size, 1, &arena->first, &denial)) {
        fail_setup(setup, denial, setup->chunk_size, &result);
        return result;
    }
    arena->base = arena->first.ptr;
    arena->reserved = arena->first.size;
    arena->committed = arena->first.size;
    return FA_OK;
}

static void setup_memory(fa__arena *arena, const fa__arena_setup *setup) {
    uintptr_t start = (uintptr_t)setup->memory;
    size_t skipped = (size_t)(0 - start) & (FA_ALIGNMENT - 1);
    arena->base = (char *)setup->memory + skipped;
    arena->reserved = setup->memory_size < skipped ? 0 : setup->memory_size - skipped;
    arena->reserved &= ~(FA_ALIGNMENT - 1);
    arena->committed = arena->reserved;
}

// By hand, because formatting it would cost more than all the rest of making a small arena.
static void copy_name(char name[FA__NAME_BYTES], const char *from) {
    size_t length = 0;
    while (length < FA__NAME_BYTES - 1 && from[length] != '\0') {
        name[length] = from[length];
        length += 1;
    }
    name[length] = '\0';
}

fa_result fa__arena_setup_memory(fa__arena *arena, const fa__arena_setup *setup) {
    static fa__u64 next_serial = 1;
    fa__meter *meter = &arena->meter;
    arena->kind = setup->kind;
    arena->backing = setup->backing;
    arena->initial = setup->initial;
    arena->chunk_size = setup->backing == FA__BACKING_CHUNKS ? setup->chunk_size : OVERFLOW_CHUNK;
    copy_name(arena->name, setup->name);
    meter->context = setup->context;
    meter->thread = setup->thread;
    meter->is_frame = setup->kind == FA__ARENA_FRAME;
    meter->byte_limit = SIZE_MAX;
    fa__meter_set_runs(meter, setup->runs, setup->run_count, setup->account);
    fa_result result = FA_OK;
    if (setup->backing == FA__BACKING_RANGE) {
        result = setup_range(arena, setup);
    } else if (setup->backing == FA__BACKING_CHUNKS) {
        result = setup_chunks(arena, setup);
    } else {
        setup_memory(arena, setup);
    }
    if (result != FA_OK) {
        return result;
    }
    meter->arena.cursor = arena->base;
    meter->origin = (uintptr_t)arena->base;
    meter->end = arena->base + arena->committed;
    // Each arena has 2^40 epochs of its own, so that no mark of one is good for another.
    arena->epoch = fa__shared_add(&next_serial, 1) << 40;
    fa__arena_next_fill(arena);
    fa__meter_moved(meter);
    return FA_OK;
}

void fa__arena_release_memory(fa__arena *arena) {
    fa__pages *pages = arena->meter.context->pages;
    if (arena->backing == FA__BACKING_RANGE) {
        fa__pages_release(pages, arena->base, arena->reserved, arena->committed);
    } else if (arena->backing == FA__BACKING_CHUNKS) {
        fa__chunk_release(pages, arena->first);
    }
}

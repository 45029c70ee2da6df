// Adoption: blocks of the heap that an arena frees.
//
//   arena     ... | adoption {block} | cleanup ──> adoption_end | ...
//                    ^
//   context   buckets[hash of block] ──> adoption ──> adoption        any arena's
//
// The record lies in the arena, so it goes with it; the cleanup behind it takes it out of the
// context's table and frees the block. The table is there to find a block that is adopted already,
// which would be freed twice, and the record of one that is to be disowned. Its memory is the
// context's bookkeeping; a table that is outgrown stays behind, half the size of the next. When
// there is no memory for a larger one, its lists get longer.
#include <framealloc/adopt.h>

#include "../core/meter.h"
#include <framealloc/heap.h>

#define BUCKETS_FIRST ((size_t)64)

typedef struct adoption {
    struct adoption *next; // In its bucket.
    fa_context *context;
    fa_arena *arena;
    void *block; // NULL: disowned.
} adoption;

// Guarded by the context's lock.
typedef struct adoptions {
    size_t count;
    size_t room; // Buckets: a power of two.
    adoption **buckets;
} adoptions;

static size_t bucket_of(const void *block, size_t room) {
    uint64_t bits = (uint64_t)(uintptr_t)block * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(bits >> 32) & (room - 1);
}

// Where the record of a block hangs, or the end of the list where it would.
static adoption **find_locked(adoptions *table, const void *block) {
    adoption **link = &table->buckets[bucket_of(block, table->room)];
    while (*link != NULL && (*link)->block != block) {
        link = &(*link)->next;
    }
    return link;
}

// Doubles the buckets. False when there is no memory.
static bool grow_locked(fa_context *ctx, adoptions *table, fa__denial *denial) {
    size_t room = table->room == 0 ? BUCKETS_FIRST : 2 * table->room;
    adoption **buckets = fa__meta_alloc(ctx->pages, room * sizeof *buckets, denial);
    if (buckets == NULL) {
        return false;
    }
    for (size_t i = 0; i < table->room; i++) {
        adoption *next = NULL;
        for (adoption *each = table->buckets[i]; each != NULL; each = next) {
            next = each->next;
            adoption **head = &buckets[bucket_of(each->block, room)];
            each->next = *head;
            *head = each;
        }
    }
    table->buckets = buckets;
    table->room = room;
    return true;
}

// The context's table with room for one more; NULL when there is no memory for it.
static adoptions *table_locked(fa_context *ctx, fa__denial *denial) {
    adoptions *table = ctx->adoptions;
    if (table == NULL) {
        table = fa__meta_alloc(ctx->pages, sizeof *table, denial);
        if (table == NULL) {
            return NULL;
        }
        ctx->adoptions = table;
    }
    if (table->count >= table->room && !grow_locked(ctx, table, denial) && table->room == 0) {
        return NULL;
    }
    return table;
}

// Puts a record into the table. FA_OK; FA_ERR_BUSY when the block is there already; or what refused
// the memory.
static fa_result enter(fa_context *ctx, adoption *self) {
    fa__denial denial = FA__DENIED_BY_BACKEND;
    fa_result result = FA_OK;
    fa__os_mutex_lock(&ctx->lock);
    adoptions *table = table_locked(ctx, &denial);
    if (table == NULL) {
        result = denial == FA__DENIED_BY_LIMIT ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY;
    } else {
        adoption **link = find_locked(table, self->block);
        if (*link != NULL) {
            result = FA_ERR_BUSY;
        } else {
            *link = self;
            table->count += 1;
        }
    }
    fa__os_mutex_unlock(&ctx->lock);
    return result;
}

// Takes the record of a block out, if it is the arena's. Returns it, or NULL.
static adoption *leave(fa_context *ctx, const fa_arena *arena, const void *block) {
    fa__os_mutex_lock(&ctx->lock);
    adoptions *table = ctx->adoptions;
    adoption **link = table == NULL ? NULL : find_locked(table, block);
    adoption *found = link == NULL ? NULL : *link;
    if (found != NULL && found->arena == arena) {
        *link = found->next;
        table->count -= 1;
    } else {
        found = NULL;
    }
    fa__os_mutex_unlock(&ctx->lock);
    return found;
}

// The arena's cleanup.
static void adoption_end(void *arg) {
    adoption *self = arg;
    if (self->block != NULL) {
        (void)leave(self->context, self->arena, self->block);
        fa_heap_free(self->context, self->block);
    }
}

static fa_result fail(fa_context *ctx, fa__code code, fa_result result, const void *block) {
    bool is_limit = code == FA__CODE_MEMORY_LIMIT;
    return fa__fail(&(fa__failure){.context = ctx,
                                   .code = code,
                                   .result = result,
                                   .bytes = is_limit ? sizeof(adoption *) : 0,
                                   .limit = is_limit ? ctx->config.memory_limit : 0,
                                   .where = "heap_block",
                                   .ptr = block});
}

static fa_result fail_enter(fa_context *ctx, fa_result result, const void *block) {
    if (result == FA_ERR_BUSY) {
        return fail(ctx, FA__CODE_BAD_ARGUMENT, result, block);
    }
    bool is_limit = result == FA_ERR_LIMIT;
    return fail(ctx, is_limit ? FA__CODE_MEMORY_LIMIT : FA__CODE_OS_REFUSED, result, block);
}

fa_result fa_arena_adopt(fa_arena *arena, void *heap_block) {
    fa_context *ctx = ((const fa__meter *)(const void *)arena)->context;
    if (!fa_heap_owns(ctx, heap_block)) {
        return fail(ctx, FA__CODE_FOREIGN_POINTER, FA_ERR_INVALID, heap_block);
    }
    fa_mark before = fa_arena_mark(arena);
    adoption *self = fa_arena_alloc(arena, sizeof *self);
    if (self == NULL) {
        return fa_last_error()->result;
    }
    *self = (adoption){.context = ctx, .arena = arena, .block = heap_block};
    fa_result result = fa_arena_defer(arena, adoption_end, self);
    if (result == FA_OK) {
        result = enter(ctx, self);
        if (result == FA_OK) {
            return FA_OK;
        }
        self->block = NULL; // The cleanup has nothing to do.
        (void)fa_arena_rewind(arena, before);
        return fail_enter(ctx, result, heap_block);
    }
    (void)fa_arena_rewind(arena, before);
    return result;
}

fa_result fa_arena_disown(fa_arena *arena, void *heap_block) {
    fa_context *ctx = ((const fa__meter *)(const void *)arena)->context;
    adoption *self = heap_block == NULL ? NULL : leave(ctx, arena, heap_block);
    if (self == NULL) {
        return FA_ERR_NOT_FOUND;
    }
    self->block = NULL;
    return FA_OK;
}

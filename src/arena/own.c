// Arenas made by fa_arena_create(): their list in the context, their totals, their end.
//
// Each holds its account and a log of one run itself, because its tag never changes. Its bytes
// enter the totals of tag and context when they are published: at every slow path, reset, and when
// its owner asks for statistics.
#include "blocks.h"

#include <string.h>

#if SIZE_MAX > 0xFFFFFFFFu
#define DEFAULT_RESERVE ((size_t)256 << 20)
#else
#define DEFAULT_RESERVE ((size_t)16 << 20)
#endif

#define RESERVE_MAX (SIZE_MAX / 4)

void fa__arena_publish(fa__arena *arena) {
    fa_context *ctx = arena->meter.context;
    fa__tag *tag = arena->own.tag;
    fa__account_publish(&arena->own);
    size_t bytes = fa__load(&arena->own.bytes);
    size_t change = bytes - arena->published; // Wraps for less; so do the sums.
    if (change == 0) {
        return;
    }
    arena->published = bytes;
    fa__raise(&tag->own_peak, fa__shared_add(&tag->own_live, change) + change);
    fa__raise(&ctx->own_peak, fa__shared_add(&ctx->own_live, change) + change);
}

// The list ----------------------------------------------------------------------------------------

static void unlink_arena(fa__arena *arena) {
    fa_context *ctx = arena->meter.context;
    fa__os_mutex_lock(&ctx->lock);
    if (arena->prev != NULL) {
        arena->prev->next = arena->next;
    } else {
        ctx->arenas = arena->next;
    }
    if (arena->next != NULL) {
        arena->next->prev = arena->prev;
    }
    fa__own_sub(&ctx->arena_count, 1);
    arena->next = ctx->free_arenas;
    ctx->free_arenas = arena;
    fa__os_mutex_unlock(&ctx->lock);
}

// A zeroed record, from those of destroyed arenas if there is one, in the list. It is nobody's
// until its owner is set, so that nobody looks at it. NULL when there is no memory for it.
static fa__arena *link_record(fa_context *ctx, fa__denial *denial) {
    fa__os_mutex_lock(&ctx->lock);
    fa__arena *arena = ctx->free_arenas;
    if (arena != NULL) {
        ctx->free_arenas = arena->next;
        memset(arena, 0, sizeof *arena);
    } else {
        arena = fa__meta_alloc(ctx->pages, sizeof *arena, denial);
    }
    if (arena != NULL) {
        fa__arena *head = ctx->arenas;
        arena->meter.context = ctx;
        arena->next = head;
        if (head != NULL) {
            head->prev = arena;
        }
        ctx->arenas = arena;
        fa__own_add(&ctx->arena_count, 1);
    }
    fa__os_mutex_unlock(&ctx->lock);
    return arena;
}

// Does something to each arena the thread owns.
static void for_owned(fa_context *ctx, void (*fn)(fa__arena *arena)) {
    if (fa__load(&ctx->arena_count) == 0) {
        return;
    }
    uint64_t self = fa__os_thread_id();
    fa__os_mutex_lock(&ctx->lock);
    for (fa__arena *arena = ctx->arenas; arena != NULL; arena = arena->next) {
        if (fa__load(&arena->owner) == self) {
            fn(arena);
        }
    }
    fa__os_mutex_unlock(&ctx->lock);
}

static void settle_one(fa__arena *arena) {
    fa__meter_refresh(&arena->meter);
    fa__arena_publish(arena);
}

static void return_lease_of_one(fa__arena *arena) {
    fa__meter_settle(&arena->meter);
    fa__lease_return(&arena->own, 0);
    fa__lease_update_keep(&arena->own);
    fa__meter_refresh(&arena->meter);
}

static void settle_owned(fa_context *ctx, fa__thread *thread) {
    (void)thread;
    for_owned(ctx, settle_one);
}

static void return_leases_owned(fa_context *ctx) {
    for_owned(ctx, return_lease_of_one);
}

// Making and ending -------------------------------------------------------------------------------

// The name of the first field that is not allowed; NULL when all are.
static const char *bad_field(fa_context *ctx, const fa_arena_desc *desc) {
    if (fa__tag_get(ctx, desc->tag) == NULL) {
        return "tag";
    }
    if (desc->reserve > RESERVE_MAX) {
        return "reserve";
    }
    if (desc->initial > (desc->reserve == 0 ? DEFAULT_RESERVE : desc->reserve)) {
        return "initial";
    }
    size_t chunk = desc->chunk_size;
    if (chunk != 0 &&
        ((chunk & (chunk - 1)) != 0 || chunk < FA__CHUNK_MIN || chunk > FA__CHUNK_MAX)) {
        return "chunk_size";
    }
    if (desc->memory != NULL && (desc->chunk_size != 0 || desc->reserve != 0)) {
        return "memory"; // Two backings at once.
    }
    if ((desc->memory == NULL) != (desc->memory_size == 0)) {
        return "memory_size";
    }
    if ((uintptr_t)desc->memory + FA_SMALL > UINTPTR_MAX - desc->memory_size) {
        return "memory_size"; // Ends where fa_arena_alloc() relies on no arena ending.
    }
    return NULL;
}

// Fills the defaults in: the one place that knows them.
static fa__arena_setup resolve(fa_context *ctx, const fa_arena_desc *desc) {
    fa__arena_setup setup = {.context = ctx,
                             .kind = FA__ARENA_OWN,
                             .backing = FA__BACKING_RANGE,
                             .name = desc->name == NULL ? "arena" : desc->name,
                             .memory = desc->memory,
                             .memory_size = desc->memory_size,
                             .run_count = 2};
    size_t page = ctx->config.backend->page_size;
    if (desc->memory != NULL) {
        setup.backing = FA__BACKING_MEMORY;
    } else if (desc->chunk_size != 0 || !fa__pages_can_commit(ctx->pages)) {
        setup.backing = FA__BACKING_CHUNKS;
        setup.chunk_size = desc->chunk_size == 0 ? ctx->config.chunk_size : desc->chunk_size;
    } else {
        size_t reserve = desc->reserve == 0 ? DEFAULT_RESERVE : desc->reserve;
        setup.reserve = (reserve + (FA__GRANULE - 1)) & ~(FA__GRANULE - 1);
        setup.initial = (desc->initial + (page - 1)) & ~(page - 1);
    }
    return setup;
}

static fa_result fail_record(fa_context *ctx, fa__denial denial) {
    bool is_limit = denial == FA__DENIED_BY_LIMIT;
    return fa__fail(&(fa__failure){.context = ctx,
                                   .code = is_limit ? FA__CODE_MEMORY_LIMIT : FA__CODE_OS_REFUSED,
                                   .result = is_limit ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY,
                                   .bytes = sizeof(fa__arena),
                                   .limit = is_limit ? ctx->config.memory_limit : 0,
                                   .where = "arena"});
}

fa_result fa_arena_create(fa_context *ctx, const fa_arena_desc *desc, fa_arena **out) {
    if (out == NULL) {
        return fa__fail_argument(ctx, "out");
    }
    *out = NULL;
    const fa_arena_desc wanted = desc == NULL ? (fa_arena_desc){0} : *desc;
    const char *field = bad_field(ctx, &wanted);
    if (field != NULL) {
        return fa__fail(&(fa__failure){
            .context = ctx, .code = FA__CODE_BAD_CONFIG, .result = FA_ERR_INVALID, .where = field});
    }
    fa__tier_register(ctx, FA__TIER_ARENAS, &fa__arena_tier);
    fa__denial denial = FA__DENIED_BY_BACKEND;
    fa__arena *arena = link_record(ctx, &denial);
    if (arena == NULL) {
        return fail_record(ctx, denial);
    }
    arena->own.tag = fa__tag_get(ctx, wanted.tag);
    fa__arena_setup setup = resolve(ctx, &wanted);
    setup.account = &arena->own;
    setup.runs = arena->own_runs;
    fa_result result = fa__arena_setup_memory(arena, &setup);
    if (result != FA_OK) {
        unlink_arena(arena);
        return result;
    }
    if (wanted.byte_limit != 0) {
        arena->meter.byte_limit = wanted.byte_limit;
        fa__meter_refresh(&arena->meter);
    }
    fa__store(&arena->owner, fa__os_thread_id());
    *out = &arena->meter.arena;
    return FA_OK;
}

// Everything but taking it off the list.
static void arena_end(fa__arena *arena) {
    fa__arena_undo(arena, 0);
    fa__lease_return(&arena->own, 0);
    fa__arena_publish(arena);
    fa__arena_release_memory(arena);
}

void fa_arena_destroy(fa_arena *arena) {
    if (arena == NULL) {
        return;
    }
    fa__arena *self = fa__arena_of(arena);
    if (self->kind != FA__ARENA_OWN) {
        fa__arena_fail(self, FA__CODE_WRONG_ARENA, FA_ERR_INVALID, 0, 0, false);
        return;
    }
    arena_end(self);
    unlink_arena(self);
}

fa_result fa_arena_claim(fa_arena *arena) {
    fa__arena *self = fa__arena_of(arena);
    if (self->kind != FA__ARENA_OWN) {
        return fa__arena_fail(self, FA__CODE_WRONG_ARENA, FA_ERR_INVALID, 0, 0, false);
    }
    fa__store(&self->owner, fa__os_thread_id());
    return FA_OK;
}

static size_t report_and_free_all(fa_context *ctx) {
    size_t live = 0;
    fa__arena *next = NULL;
    for (fa__arena *arena = ctx->arenas; arena != NULL; arena = next) {
        next = arena->next;
        fa__arena_fail(arena, FA__CODE_ARENA_OUTLIVES, FA_ERR_BUSY, fa__meter_used(&arena->meter),
                       0, false);
        arena_end(arena);
        live += 1;
    }
    ctx->arenas = NULL;
    return live;
}

const fa__tier fa__arena_tier = {.settle = settle_owned,
                                 .return_leases = return_leases_owned,
                                 .context_destroy = report_and_free_all};

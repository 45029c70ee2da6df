// The heap and arenas behind the one interface of allocator.h.
//
// An fa_allocator is a value with one pointer of state. For an arena that is the arena. For the
// heap it is a record that says which context and tag: one per tag, in chunks that are made on
// first use, never move, and live as long as the context.
#include "heap.h"
#include <framealloc/arena.h>

// The heap ----------------------------------------------------------------------------------------

static fa_result fail_memory(fa_context *ctx, fa_tag tag, fa__denial denial) {
    bool is_limit = denial == FA__DENIED_BY_LIMIT;
    return fa__tag_fail(ctx, tag, is_limit ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY);
}

static fa__heap_client *client_get(fa_context *ctx, fa_tag tag) {
    fa__heap *heap = fa__heap_get(ctx);
    if (heap == NULL) {
        return NULL;
    }
    if (tag.id >= fa_tag_count(ctx)) {
        fa__tag_fail(ctx, tag, FA_ERR_INVALID);
        return NULL;
    }
    fa__heap_client *_Atomic *place = &heap->clients[tag.id / FA__CLIENT_CHUNK];
    fa__heap_client *chunk = fa__load_acquire(place);
    if (chunk == NULL) {
        fa__denial denial = FA__DENIED_BY_BACKEND;
        fa__os_mutex_lock(&heap->lock);
        chunk = fa__load(place);
        if (chunk == NULL) {
            chunk = fa__meta_alloc(ctx->pages, FA__CLIENT_CHUNK * sizeof *chunk, &denial);
        }
        uint32_t first = tag.id / FA__CLIENT_CHUNK * FA__CLIENT_CHUNK;
        for (uint32_t i = 0; chunk != NULL && i < FA__CLIENT_CHUNK; i++) {
            chunk[i] = (fa__heap_client){ctx, first + i};
        }
        fa__store_release(place, chunk);
        fa__os_mutex_unlock(&heap->lock);
        if (chunk == NULL) {
            fail_memory(ctx, tag, denial);
            return NULL;
        }
    }
    return &chunk[tag.id % FA__CLIENT_CHUNK];
}

// Who asks; false after a reported failure.
static bool asker_make(const fa__heap_client *client, const void *site, fa__asker *out) {
    if (client == NULL) {
        fa__fail_argument(NULL, "allocator");
        return false;
    }
    fa__thread *thread = fa__thread_get(client->context);
    if (thread == NULL) {
        return false;
    }
    fa__account *account = fa__object_of(thread, FA__HOLDER_HEAP, client->tag);
    if (account == NULL) {
        fa__own_add(&thread->refusals, 1);
        return false;
    }
    *out = (fa__asker){fa__load_acquire(&client->context->heap), thread, account, site};
    return true;
}

static bool is_alignment(fa_context *ctx, size_t align) {
    if (align != 0 && (align & (align - 1)) == 0 && align <= FA_ALIGNMENT_MAX) {
        return true;
    }
    fa__fail(&(fa__failure){.context = ctx,
                            .code = FA__CODE_BAD_ALIGNMENT,
                            .result = FA_ERR_INVALID,
                            .bytes = align,
                            .limit = FA_ALIGNMENT_MAX,
                            .where = "align"});
    return false;
}

static void *alloc_from(const fa__asker *asker, size_t size, size_t align) {
    fa__plan plan;
    if (!is_alignment(asker->heap->context, align)) {
        return NULL;
    }
    if (!fa__plan_make(asker->heap, size, align < FA_ALIGNMENT ? FA_ALIGNMENT : align, &plan)) {
        fa__refusal_count(asker->thread, asker->account);
        fa__fail(&(fa__failure){.context = asker->heap->context,
                                .code = FA__CODE_SIZE_OVERFLOW,
                                .result = FA_ERR_OVERFLOW,
                                .bytes = size,
                                .where = "heap"});
        return NULL;
    }
    return fa__block_new(asker, &plan);
}

static void *heap_alloc(void *self, size_t size, size_t align) {
    fa__asker asker;
    if (!asker_make(self, FA__CALL_SITE(), &asker)) {
        return NULL;
    }
    return alloc_from(&asker, size, align == 0 ? FA_ALIGNMENT : align);
}

static void *heap_resize(void *self, void *ptr, size_t old_size, size_t new_size, size_t align) {
    fa__asker asker;
    (void)old_size;
    if (!asker_make(self, FA__CALL_SITE(), &asker)) {
        return NULL;
    }
    size_t wanted = align == 0 ? FA_ALIGNMENT : align;
    fa_context *ctx = asker.heap->context;
    fa__block block;
    if (ptr == NULL) {
        return alloc_from(&asker, new_size, wanted);
    }
    if (!is_alignment(ctx, wanted)) {
        return NULL;
    }
    if (fa__block_find(asker.heap, ptr, &block) != 0) {
        return fa_heap_realloc(ctx, ptr, new_size); // Which tells what is wrong with it.
    }
    asker.account = fa__object_of(asker.thread, FA__HOLDER_HEAP, fa__block_tag(&block));
    if (asker.account == NULL) {
        fa__own_add(&asker.thread->refusals, 1);
        return NULL;
    }
    size_t present = fa__block_align(&block);
    return fa__block_resize(&asker, &block, new_size, wanted > present ? wanted : present);
}

static void heap_free(void *self, void *ptr, size_t size) {
    const fa__heap_client *client = self;
    if (client == NULL || ptr == NULL) {
        return;
    }
    if (size == 0) {
        fa_heap_free(client->context, ptr);
    } else {
        fa_heap_free_sized(client->context, ptr, size);
    }
}

static size_t heap_usable_size(void *self, const void *ptr) {
    const fa__heap_client *client = self;
    return client == NULL ? 0 : fa_heap_usable_size(client->context, ptr);
}

fa_allocator fa_heap_allocator(fa_context *ctx, fa_tag tag) {
    return (fa_allocator){.alloc = heap_alloc,
                          .resize = heap_resize,
                          .free = heap_free,
                          .usable_size = heap_usable_size,
                          .self = client_get(ctx, tag)};
}

// Arenas ------------------------------------------------------------------------------------------

static void *arena_alloc(void *self, size_t size, size_t align) {
    return fa_arena_alloc_aligned(self, size == 0 ? 1 : size, align == 0 ? FA_ALIGNMENT : align);
}

static void *arena_resize(void *self, void *ptr, size_t old_size, size_t new_size, size_t align) {
    return fa_arena_resize_aligned(self, ptr, old_size == 0 ? 1 : old_size,
                                   new_size == 0 ? 1 : new_size, align == 0 ? FA_ALIGNMENT : align);
}

static void arena_free(void *self, void *ptr, size_t size) {
    (void)self;
    (void)ptr;
    (void)size;
}

static size_t arena_usable_size(void *self, const void *ptr) {
    (void)self;
    (void)ptr;
    return 0;
}

fa_allocator fa_arena_allocator(fa_arena *arena) {
    return (fa_allocator){.alloc = arena_alloc,
                          .resize = arena_resize,
                          .free = arena_free,
                          .usable_size = arena_usable_size,
                          .self = arena};
}

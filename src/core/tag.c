// The tag tree and the current tag of each thread.
//
// Tags are kept in chunks of 64 that never move; a tag is published by raising tag_count after it
// is complete, so readers need no lock. Each thread has an account per tag it has used, in chunks
// of the same shape.
#include "meter.h"

#include <string.h>

fa__tag *fa__tag_get(fa_context *ctx, fa_tag tag) {
    if (tag.id >= fa__load_acquire(&ctx->tag_count)) {
        return NULL;
    }
    return &ctx->tags[tag.id / FA__TAG_CHUNK][tag.id % FA__TAG_CHUNK];
}

fa_result fa__tag_fail(fa_context *ctx, fa_tag tag, fa_result result) {
    fa__failure failure = {.context = ctx, .result = result, .tag = tag};
    if (result == FA_ERR_INVALID) {
        failure.code = FA__CODE_UNKNOWN_TAG;
        failure.limit = fa_tag_count(ctx);
    } else if (result == FA_ERR_OUT_OF_MEMORY) {
        failure.code = FA__CODE_OS_REFUSED;
    } else if (result == FA_ERR_LIMIT) {
        failure.code = FA__CODE_MEMORY_LIMIT;
        failure.limit = ctx->config.memory_limit;
    }
    return fa__fail(&failure);
}

static fa__tag *find_locked(fa_context *ctx, const char *path, size_t length) {
    fa__tag *tag = ctx->buckets[fa__hash(path, length) % FA__BUCKETS];
    for (; tag != NULL; tag = tag->next_of_hash) {
        if (strncmp(tag->path, path, length) == 0 && tag->path[length] == '\0') {
            return tag;
        }
    }
    return NULL;
}

// Makes sure that there is memory for `count` more tags; there are places for them.
static fa_result reserve_locked(fa_context *ctx, uint32_t count) {
    uint32_t present = fa__load(&ctx->tag_count);
    for (uint32_t i = present / FA__TAG_CHUNK; i * FA__TAG_CHUNK < present + count; i++) {
        fa__tag **chunk = &ctx->tags[i];
        fa__denial denial = FA__DENIED_BY_BACKEND;
        if (*chunk == NULL) {
            *chunk = fa__meta_alloc(ctx->pages, FA__TAG_CHUNK * sizeof **chunk, &denial);
        }
        if (*chunk == NULL) {
            return denial == FA__DENIED_BY_LIMIT ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY;
        }
    }
    return FA_OK;
}

// Adds a tag; there is room for it.
static fa__tag *add_locked(fa_context *ctx, fa__tag *parent, const char *path, size_t length) {
    uint32_t id = fa__load(&ctx->tag_count);
    fa__tag *tag = &ctx->tags[id / FA__TAG_CHUNK][id % FA__TAG_CHUNK];
    tag->id = id;
    tag->parent = parent;
    fa__store(&tag->soft, SIZE_MAX);
    fa__store(&tag->hard, SIZE_MAX);
    fa__store(&tag->nearest_line, parent == NULL ? SIZE_MAX : fa__load(&parent->nearest_line));
    for (fa__tag *node = tag; node != NULL; node = node->parent) {
        fa__own_add(&node->members, 1);
    }
    memcpy(tag->path, path, length);
    tag->path[length] = '\0';
    fa__tag **bucket = &ctx->buckets[fa__hash(path, length) % FA__BUCKETS];
    tag->next_of_hash = *bucket;
    *bucket = tag;
    fa__store_release(&ctx->tag_count, id + 1);
    return tag;
}

bool fa__tag_create_root(fa_context *ctx) {
    if (reserve_locked(ctx, 1) != FA_OK) {
        return false;
    }
    (void)add_locked(ctx, NULL, "", 0);
    return true;
}

static bool is_path(const char *path) {
    if (path == NULL || path[0] == '\0' || path[0] == '/') {
        return false;
    }
    size_t length = strlen(path);
    return length < FA__PATH_BYTES && path[length - 1] != '/' && strstr(path, "//") == NULL;
}

// How many tags a path would add: itself and the parents that are not there.
static uint32_t count_missing_locked(fa_context *ctx, const char *path) {
    uint32_t count = 0;
    for (const char *end = path;; end++) {
        end += strcspn(end, "/");
        count += find_locked(ctx, path, (size_t)(end - path)) == NULL ? 1 : 0;
        if (*end == '\0') {
            return count;
        }
    }
}

// Adds a tag and those of its parents that are missing; there is room for all of them.
static fa__tag *add_path_locked(fa_context *ctx, const char *path) {
    fa__tag *tag = find_locked(ctx, "", 0);
    for (const char *end = path;; end++) {
        end += strcspn(end, "/");
        fa__tag *child = find_locked(ctx, path, (size_t)(end - path));
        tag = child != NULL ? child : add_locked(ctx, tag, path, (size_t)(end - path));
        if (*end == '\0') {
            return tag;
        }
    }
}

fa_tag fa_tag_register(fa_context *ctx, const char *path) {
    if (!is_path(path)) {
        fa__fail(&(fa__failure){.context = ctx,
                                .code = FA__CODE_BAD_TAG_PATH,
                                .result = FA_ERR_INVALID,
                                .where = path == NULL ? "NULL" : path});
        return FA_TAG_ROOT;
    }
    fa__os_mutex_lock(&ctx->lock);
    fa__tag *tag = find_locked(ctx, path, strlen(path));
    uint32_t missing = tag != NULL ? 0 : count_missing_locked(ctx, path);
    bool is_full = missing > FA_TAG_MAX - fa__load(&ctx->tag_count);
    fa_result result = is_full ? FA_ERR_LIMIT : reserve_locked(ctx, missing);
    if (tag == NULL && result == FA_OK) {
        tag = add_path_locked(ctx, path);
    }
    fa__os_mutex_unlock(&ctx->lock);
    if (tag == NULL) {
        fa__failure failure = {
            .context = ctx, .code = FA__CODE_OS_REFUSED, .result = result, .where = path};
        if (result == FA_ERR_LIMIT) {
            failure.code = is_full ? FA__CODE_BAD_TAG_PATH : FA__CODE_MEMORY_LIMIT;
            failure.limit = is_full ? FA_TAG_MAX : ctx->config.memory_limit;
        }
        fa__fail(&failure);
        return FA_TAG_ROOT;
    }
    return (fa_tag){tag->id};
}

fa_result fa_tag_find(fa_context *ctx, const char *path, fa_tag *out) {
    if (path == NULL || out == NULL) {
        return fa__fail_argument(ctx, path == NULL ? "path" : "out");
    }
    fa__os_mutex_lock(&ctx->lock);
    const fa__tag *tag = find_locked(ctx, path, strlen(path));
    fa__os_mutex_unlock(&ctx->lock);
    *out = tag == NULL ? FA_TAG_ROOT : (fa_tag){tag->id};
    return tag == NULL ? FA_ERR_NOT_FOUND : FA_OK;
}

const char *fa_tag_path(fa_context *ctx, fa_tag tag) {
    const fa__tag *shared = fa__tag_get(ctx, tag);
    return shared == NULL ? NULL : shared->path;
}

fa_tag fa_tag_parent(fa_context *ctx, fa_tag tag) {
    const fa__tag *shared = fa__tag_get(ctx, tag);
    if (shared == NULL || shared->parent == NULL) {
        return FA_TAG_ROOT;
    }
    return (fa_tag){shared->parent->id};
}

uint32_t fa_tag_count(fa_context *ctx) {
    return fa__load_acquire(&ctx->tag_count);
}

static void *meta(fa__thread *thread, size_t bytes, fa_result *result) {
    fa__denial denial = FA__DENIED_BY_BACKEND;
    void *ptr = fa__meta_alloc(thread->context->pages, bytes, &denial);
    if (ptr == NULL) {
        *result = denial == FA__DENIED_BY_LIMIT ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY;
    }
    return ptr;
}

fa__account *fa__account_get(fa__thread *thread, fa__holder holder, fa_tag tag, fa_result *result) {
    fa__tag *shared = fa__tag_get(thread->context, tag);
    if (shared == NULL) {
        *result = FA_ERR_INVALID;
        return NULL;
    }
    fa__account *account = fa__account_at(thread, holder, tag.id);
    if (account == NULL) {
        fa__account *chunk = meta(thread, FA__TAG_CHUNK * sizeof *chunk, result);
        if (chunk == NULL) {
            return NULL;
        }
        fa__store_release(&thread->accounts[holder][tag.id / FA__TAG_CHUNK], chunk);
        account = &chunk[tag.id % FA__TAG_CHUNK];
    }
    if (holder >= FA__ARENA_HOLDERS) {
        account->sum = &thread->object_granted[holder == FA__HOLDER_HEAP];
    }
    // Others take the tag from the account's position, never from here.
    account->tag = shared;
    return account;
}

// Gives the thread a frame account for every tag that fits its table, so that a push need only
// compare with `known`.
static fa_result learn_tags(fa__thread *thread) {
    fa_result result = FA_OK;
    uint32_t count = fa_tag_count(thread->context);
    for (; thread->known < count && thread->known < FA__TABLE_TAGS; thread->known++) {
        fa_tag tag = {thread->known};
        fa__account *account = fa__account_get(thread, FA__HOLDER_FRAME, tag, &result);
        if (account == NULL) {
            return result;
        }
        thread->table[tag.id] = account;
    }
    return FA_OK;
}

void fa__accounts_publish(fa__thread *thread) {
    uint32_t count = fa_tag_count(thread->context);
    for (uint32_t i = 0; i < count * FA__ARENA_HOLDERS; i++) {
        fa__holder holder = (fa__holder)(i % FA__ARENA_HOLDERS);
        fa__account *account = fa__account_at(thread, holder, i / FA__ARENA_HOLDERS);
        if (account != NULL && account->tag != NULL) {
            fa__account_publish(account);
        }
    }
}

// The current tag ---------------------------------------------------------------------------------

static inline void push(fa__thread *thread, fa__account *account) {
    fa__meter *meter = thread->frame;
    fa__account *outer = meter->run->account;
    size_t depth = thread->depth;
    fa__meter_switch(meter, account);
    thread->stack[depth] = outer;
    thread->depth = depth + 1;
}

static FA_COLD fa_result push_slow(fa_context *ctx, fa_tag tag) {
    fa__thread *thread = fa__thread_get(ctx);
    if (thread == NULL) {
        return fa_last_error()->result;
    }
    fa_result result = FA_OK;
    fa__account *account = fa__account_get(thread, FA__HOLDER_FRAME, tag, &result);
    if (account == NULL) {
        return fa__tag_fail(ctx, tag, result);
    }
    if (thread->depth == FA_TAG_DEPTH_MAX) {
        return fa__fail(&(fa__failure){.context = ctx,
                                       .code = FA__CODE_TAG_UNBALANCED,
                                       .result = FA_ERR_LIMIT,
                                       .limit = FA_TAG_DEPTH_MAX,
                                       .tag = tag,
                                       .where = "fa_tag_push"});
    }
    result = fa__meter_reserve_runs(thread->frame);
    if (result != FA_OK) {
        return fa__tag_fail(ctx, tag, result);
    }
    (void)learn_tags(thread); // If there is no memory for that, the next push comes here again.
    push(thread, account);
    return FA_OK;
}

fa_result fa_tag_push(fa_context *ctx, fa_tag tag) {
    if (FA_UNLIKELY(!fa__thread_is_last(ctx))) {
        return push_slow(ctx, tag);
    }
    fa__thread *thread = fa__thread_caches[0].thread;
    if (FA_UNLIKELY(tag.id >= thread->known)) {
        return push_slow(ctx, tag);
    }
    const fa__meter *meter = thread->frame;
    // Every pop may need a log entry, and a pop cannot fail: so a push finds room for this one's
    // and theirs.
    if (FA_UNLIKELY(thread->depth == FA_TAG_DEPTH_MAX || meter->run > meter->run_guard)) {
        return push_slow(ctx, tag);
    }
    push(thread, thread->table[tag.id]);
    return FA_OK;
}

static FA_COLD fa_result pop_slow(fa_context *ctx) {
    const fa__thread *thread = fa__thread_get(ctx);
    if (thread == NULL) {
        return fa_last_error()->result;
    }
    if (thread->depth != 0) {
        return fa_tag_pop(ctx);
    }
    return fa__fail(&(fa__failure){.context = ctx,
                                   .code = FA__CODE_TAG_UNBALANCED,
                                   .result = FA_ERR_INVALID,
                                   .where = "fa_tag_pop"});
}

fa_result fa_tag_pop(fa_context *ctx) {
    if (FA_UNLIKELY(!fa__thread_is_last(ctx))) {
        return pop_slow(ctx);
    }
    fa__thread *thread = fa__thread_caches[0].thread;
    size_t depth = thread->depth;
    if (FA_UNLIKELY(depth == 0)) {
        return pop_slow(ctx);
    }
    thread->depth = depth - 1;
    fa__meter_switch(thread->frame, thread->stack[depth - 1]);
    return FA_OK;
}

fa_tag fa_tag_current(fa_context *ctx) {
    const fa__thread *thread = fa__thread_get(ctx);
    return thread == NULL ? FA_TAG_ROOT : (fa_tag){thread->frame->run->account->tag->id};
}

fa_tag_guard fa_tag_guard_open(fa_context *ctx, fa_tag tag) {
    return (fa_tag_guard){fa_tag_push(ctx, tag) == FA_OK ? ctx : NULL};
}

void fa_tag_guard_close(fa_tag_guard *guard) {
    if (guard->context != NULL) {
        fa_tag_pop(guard->context);
        guard->context = NULL;
    }
}

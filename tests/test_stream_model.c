// Streams against a model that sorts all assets anew for every request.
#include "stream_fixture.h"

#include <stdio.h>
#include <stdlib.h>

enum { ASSETS_MAX = 200, STEPS = 20000 };

typedef struct model_asset {
    fa_asset handle;
    fa_asset_state state;
    size_t size;
    size_t loaded;
    uint64_t last_frame;
    uint64_t serial;
    uint32_t pins;
    uint8_t priority;
    bool is_stubborn;
    bool is_going; // The model says it is evicted in this call.
    bool was_told;
    unsigned char *ptr;
} model_asset;

typedef struct model {
    fa_stream *stream;
    check_rng rng;
    model_asset assets[ASSETS_MAX]; // Those with state FA_ASSET_GONE are free.
    fa_asset stale[ASSETS_MAX];     // Handles of those that went, in turn.
    size_t stale_count;
    size_t budget;
    uint64_t serial;
    uint64_t frame;
    uint64_t evictions;
    uint64_t refusals;
    const model_asset *last_told;
    bool has_callbacks;
} model;

static size_t model_used(const model *m) {
    size_t used = 0;
    for (size_t i = 0; i < ASSETS_MAX; i++) {
        used += m->assets[i].state == FA_ASSET_GONE ? 0 : m->assets[i].size;
    }
    return used;
}

static bool goes_before(const model_asset *a, const model_asset *b) {
    if (a->priority != b->priority) {
        return a->priority < b->priority;
    }
    return a->last_frame != b->last_frame ? a->last_frame < b->last_frame : a->serial < b->serial;
}

// The next asset that may go for a request of this priority; NULL when there is none.
static model_asset *model_victim(model *m, unsigned priority) {
    model_asset *first = NULL;
    for (size_t i = 0; i < ASSETS_MAX; i++) {
        model_asset *asset = &m->assets[i];
        bool may_go = asset->state == FA_ASSET_READY && asset->pins == 0 && !asset->is_going &&
                      asset->priority <= priority && (!m->has_callbacks || !asset->is_stubborn);
        if (may_go && (first == NULL || goes_before(asset, first))) {
            first = asset;
        }
    }
    return first;
}

// Marks what goes so that `size` more bytes fit into `limit`. False when not enough may go; all
// that may go stay marked then.
static bool model_evict(model *m, size_t size, size_t limit, unsigned priority) {
    size_t used = model_used(m);
    while (used > limit || size > limit - used) {
        model_asset *asset = model_victim(m, priority);
        if (asset == NULL) {
            return false;
        }
        asset->is_going = true;
        used -= asset->size;
    }
    return true;
}

static void model_drop(model *m, model_asset *asset) {
    m->stale[m->stale_count % ASSETS_MAX] = asset->handle;
    m->stale_count += 1;
    memset(asset, 0, sizeof(*asset));
}

// Ends a call that may have evicted: exactly what was marked must have gone when it succeeded.
static size_t model_settle(model *m, bool has_succeeded) {
    size_t bytes = 0;
    for (size_t i = 0; i < ASSETS_MAX; i++) {
        model_asset *asset = &m->assets[i];
        bool should_go = asset->is_going && has_succeeded;
        if (m->has_callbacks) {
            CHECK_EQ(asset->was_told, should_go);
        }
        asset->is_going = false;
        asset->was_told = false;
        if (should_go) {
            CHECK(is_gone(m->stream, asset->handle));
            bytes += asset->size;
            m->evictions += 1;
            model_drop(m, asset);
        }
    }
    m->last_told = NULL;
    return bytes;
}

static model_asset *model_find(model *m, fa_asset handle) {
    for (size_t i = 0; i < ASSETS_MAX; i++) {
        model_asset *asset = &m->assets[i];
        if (asset->state != FA_ASSET_GONE && same_asset(asset->handle, handle)) {
            return asset;
        }
    }
    return NULL;
}

static bool model_may_evict(const fa_stream_eviction *eviction, void *user) {
    model *m = (model *)user;
    const model_asset *asset = model_find(m, eviction->asset);
    if (!CHECK_NOT_NULL(asset)) {
        return false;
    }
    CHECK_EQ(eviction->size, asset->size);
    CHECK_EQ(eviction->priority, asset->priority);
    CHECK_EQ(eviction->last_frame, asset->last_frame);
    CHECK_EQ(eviction->ptr, (void *)asset->ptr);
    return !asset->is_stubborn;
}

static void model_evicted(const fa_stream_eviction *eviction, void *user) {
    model *m = (model *)user;
    model_asset *asset = model_find(m, eviction->asset);
    if (!CHECK_NOT_NULL(asset)) {
        return;
    }
    CHECK(!asset->was_told);
    asset->was_told = true;
    CHECK_EQ(asset->ptr[0], (unsigned char)asset->serial);
    CHECK_EQ(asset->ptr[asset->size - 1], (unsigned char)asset->serial);
    if (m->last_told != NULL) {
        CHECK(goes_before(m->last_told, asset));
    }
    m->last_told = asset;
}

// ---- Steps ----

static void step_reserve(model *m) {
    model_asset *free_one = NULL;
    for (size_t i = 0; i < ASSETS_MAX && free_one == NULL; i++) {
        free_one = m->assets[i].state == FA_ASSET_GONE ? &m->assets[i] : NULL;
    }
    if (free_one == NULL) {
        return;
    }
    size_t most = check_rng_chance(&m->rng, 5) ? 40000 : 3000;
    fa_asset_desc desc = {.size = check_rng_size(&m->rng, most) + 1,
                          .priority = (uint8_t)(check_rng_below(&m->rng, 4) * 85)};
    fa_asset handle;
    bool fits = model_evict(m, desc.size, m->budget, desc.priority);
    CHECK_EQ(fa_stream_reserve(m->stream, &desc, &handle), fits ? FA_OK : FA_ERR_BUDGET);
    model_settle(m, fits);
    if (!fits) {
        m->refusals += 1;
        return;
    }
    m->serial += 1;
    *free_one = (model_asset){.handle = handle,
                              .state = FA_ASSET_RESERVED,
                              .size = desc.size,
                              .serial = m->serial,
                              .priority = desc.priority,
                              .is_stubborn = check_rng_chance(&m->rng, 20)};
}

static void step_load(model *m, model_asset *asset) {
    if (asset->state == FA_ASSET_RESERVED) {
        asset->ptr = (unsigned char *)fa_stream_load_begin(m->stream, asset->handle);
        REQUIRE_NOT_NULL(asset->ptr);
        asset->state = FA_ASSET_LOADING;
        asset->loaded = 0;
        return;
    }
    bool is_wanted = asset->state == FA_ASSET_LOADING;
    bool succeeds = check_rng_chance(&m->rng, 85);
    size_t bytes = asset->size - asset->loaded;
    CHECK_EQ(fa_stream_load_advance(m->stream, asset->handle, bytes),
             is_wanted ? FA_OK : FA_ERR_STALE);
    memset(asset->ptr, (unsigned char)asset->serial, asset->size);
    CHECK_EQ(succeeds ? fa_stream_load_finish(m->stream, asset->handle)
                      : fa_stream_load_fail(m->stream, asset->handle),
             is_wanted ? FA_OK : FA_ERR_STALE);
    if (!is_wanted) {
        model_drop(m, asset);
    } else if (succeeds) {
        asset->state = FA_ASSET_READY;
        asset->loaded = asset->size;
        asset->last_frame = m->frame > asset->last_frame ? m->frame : asset->last_frame;
    } else {
        asset->state = FA_ASSET_RESERVED;
        asset->loaded = 0;
    }
}

static void step_access(model *m, model_asset *asset) {
    unsigned char *ptr = (unsigned char *)fa_stream_access(m->stream, asset->handle);
    if (asset->state != FA_ASSET_READY) {
        CHECK_NULL(ptr);
        return;
    }
    CHECK_EQ(ptr, asset->ptr);
    CHECK_EQ(ptr[asset->size / 2], (unsigned char)asset->serial);
    asset->last_frame = m->frame > asset->last_frame ? m->frame : asset->last_frame;
}

static void step_pin(model *m, model_asset *asset) {
    if (asset->pins > 0 && check_rng_chance(&m->rng, 60)) {
        CHECK_EQ(fa_stream_unpin(m->stream, asset->handle), FA_OK);
        asset->pins -= 1;
    } else if (asset->state == FA_ASSET_FREEING) {
        CHECK_EQ(fa_stream_pin(m->stream, asset->handle), FA_ERR_STALE);
    } else if (check_rng_chance(&m->rng, 50)) {
        CHECK_EQ(fa_stream_pin(m->stream, asset->handle), FA_OK);
        asset->pins += 1;
    }
}

static void step_free(model *m, model_asset *asset) {
    fa_result result = fa_stream_free(m->stream, asset->handle);
    if (asset->state == FA_ASSET_FREEING) {
        CHECK_EQ(result, FA_ERR_STALE);
    } else if (asset->pins > 0) {
        CHECK_EQ(result, FA_ERR_BUSY);
    } else if (asset->state == FA_ASSET_LOADING) {
        CHECK_EQ(result, FA_OK);
        asset->state = FA_ASSET_FREEING;
    } else {
        CHECK_EQ(result, FA_OK);
        model_drop(m, asset);
    }
}

static void step_budget(model *m) {
    size_t budget = check_rng_between(&m->rng, 5000, 80000);
    if (check_rng_chance(&m->rng, 30)) {
        model_evict(m, 0, budget, 255);
        size_t trimmed = fa_stream_trim(m->stream, budget);
        CHECK_EQ(trimmed, model_settle(m, true));
        return;
    }
    bool fits = model_evict(m, 0, budget, 255);
    CHECK_EQ(fa_stream_set_budget(m->stream, budget), fits ? FA_OK : FA_ERR_BUDGET);
    model_settle(m, fits);
    m->budget = fits ? budget : m->budget;
    m->refusals += fits ? 0 : 1;
}

static void step_asset(model *m) {
    model_asset *asset = &m->assets[check_rng_below(&m->rng, ASSETS_MAX)];
    if (asset->state == FA_ASSET_GONE) {
        return;
    }
    size_t kind = check_rng_below(&m->rng, 100);
    bool is_loadable = asset->state != FA_ASSET_READY;
    if (kind < 45 && is_loadable) {
        step_load(m, asset);
    } else if (kind < 75) {
        step_access(m, asset);
    } else if (kind < 88) {
        step_pin(m, asset);
    } else if (kind < 93) {
        asset->priority = (uint8_t)check_rng_below(&m->rng, 256);
        CHECK_EQ(fa_stream_set_priority(m->stream, asset->handle, asset->priority), FA_OK);
    } else if (kind < 96) {
        asset->is_stubborn = !asset->is_stubborn;
    } else {
        step_free(m, asset);
    }
}

static void check_same(model *m) {
    size_t bytes[FA_ASSET_FREEING + 1] = {0};
    uint32_t counts[FA_ASSET_FREEING + 1] = {0};
    for (size_t i = 0; i < ASSETS_MAX; i++) {
        const model_asset *asset = &m->assets[i];
        bytes[asset->state] += asset->size;
        counts[asset->state] += 1;
        if (asset->state == FA_ASSET_GONE) {
            continue;
        }
        fa_asset_info info = asset_info_of(m->stream, asset->handle);
        CHECK_EQ(info.state, asset->state);
        CHECK_EQ(info.size, asset->size);
        CHECK_EQ(info.loaded, asset->loaded);
        CHECK_EQ(info.pins, asset->pins);
        CHECK_EQ(info.priority, asset->priority);
        CHECK_EQ(info.last_frame, asset->last_frame);
    }
    for (size_t i = 0; i < ASSETS_MAX && i < m->stale_count; i++) {
        CHECK(is_gone(m->stream, m->stale[i]));
    }
    fa_stream_stats_result stats = stream_stats_of(m->stream);
    CHECK_EQ(stats.budget_bytes, m->budget);
    CHECK_EQ(stats.used_bytes, model_used(m));
    CHECK_LE(stats.used_bytes, stats.budget_bytes);
    CHECK_EQ(stats.reserved_bytes, bytes[FA_ASSET_RESERVED]);
    CHECK_EQ(stats.loading_bytes, bytes[FA_ASSET_LOADING] + bytes[FA_ASSET_FREEING]);
    CHECK_EQ(stats.ready_bytes, bytes[FA_ASSET_READY]);
    CHECK_EQ(stats.reserved_assets, counts[FA_ASSET_RESERVED]);
    CHECK_EQ(stats.loading_assets, counts[FA_ASSET_LOADING] + counts[FA_ASSET_FREEING]);
    CHECK_EQ(stats.ready_assets, counts[FA_ASSET_READY]);
    CHECK_EQ(stats.evictions, m->evictions);
    CHECK_EQ(stats.refusals, m->refusals);
}

static void drain(model *m) {
    for (size_t i = 0; i < ASSETS_MAX; i++) {
        model_asset *asset = &m->assets[i];
        for (; asset->pins > 0; asset->pins--) {
            CHECK_EQ(fa_stream_unpin(m->stream, asset->handle), FA_OK);
        }
        if (asset->state == FA_ASSET_LOADING || asset->state == FA_ASSET_FREEING) {
            fa_stream_load_fail(m->stream, asset->handle);
        }
        if (asset->state != FA_ASSET_GONE && asset->state != FA_ASSET_FREEING) {
            CHECK_EQ(fa_stream_free(m->stream, asset->handle), FA_OK);
        }
    }
}

static void play(bool has_callbacks) {
    static model the_model;
    model *m = &the_model;
    fa_context *ctx = context_open(NULL);
    memset(m, 0, sizeof(*m));
    m->rng = check_rng_make(check_seed() + (has_callbacks ? 1 : 0));
    m->budget = 40000;
    m->has_callbacks = has_callbacks;
    fa_stream_desc desc = {.budget_bytes = m->budget, .user = m};
    if (has_callbacks) {
        desc.may_evict = model_may_evict;
        desc.evicted = model_evicted;
    }
    m->stream = stream_open(ctx, &desc);
    size_t steps = check_scale(STEPS);
    for (size_t step = 0; step < steps; step++) {
        check_note("step %zu", step);
        if (check_rng_chance(&m->rng, 10)) {
            m->frame += check_rng_below(&m->rng, 3);
            fa_stream_frame(m->stream, m->frame);
        }
        size_t kind = check_rng_below(&m->rng, 1000);
        if (kind < 200) {
            step_reserve(m);
        } else if (kind < 995) {
            step_asset(m);
        } else {
            step_budget(m);
        }
        if (step % 16 == 0) {
            check_same(m);
        }
    }
    check_same(m);
    CHECK_GT(m->evictions, steps / 200);
    CHECK_GT(m->refusals, 0);
    drain(m);
    stream_close(m->stream);
    context_close(ctx);
}

static void eviction_is_as_the_model_says(void) {
    play(false);
}

static void refusals_of_callbacks_are_as_the_model_says(void) {
    play(true);
}

TEST_SUITE(stream_model, TEST(eviction_is_as_the_model_says),
           TEST(refusals_of_callbacks_are_as_the_model_says));

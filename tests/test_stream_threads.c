// Streams where loader threads and the game thread meet: every byte that is live is counted by the
// test too, and the sum is compared with the budget at every change.
#include "stream_fixture.h"

enum { LOADERS = 4, SLOTS = 16, RECORDS = 6000 };

#define BUDGET ((size_t)256 << 10)

typedef struct record {
    _Atomic(uint64_t) handle; // 0: not reserved yet.
    atomic_size_t counted;    // Of its bytes in `live`, those to be taken off when it goes.
    size_t size;
    unsigned char fill;
    bool is_doomed; // Somebody frees it while it loads.
} record;

typedef struct scene {
    fa_context *ctx;
    fa_stream *stream;
    atomic_size_t live; // Bytes that loaders have and nobody has given back yet.
    atomic_size_t live_peak;
    atomic_size_t finished; // Loaders.
    atomic_size_t freed_loading;
    atomic_size_t evicted;
    _Atomic(record *) slots[LOADERS][SLOTS]; // A loader fills its own row; all read all.
} scene;

typedef struct loader {
    scene *scene;
    size_t number;
    check_rng rng;
    record *records;
    size_t used_records;
} loader;

static uint64_t pack(fa_asset asset) {
    return (uint64_t)asset.generation << 32 | asset.index;
}

static fa_asset unpack(uint64_t bits) {
    return (fa_asset){(uint32_t)bits, (uint32_t)(bits >> 32)};
}

// Call after memory came, and before it goes: so the sum is never more than what is really there.
static void count_live(scene *self, size_t bytes) {
    size_t live = atomic_fetch_add(&self->live, bytes) + bytes;
    size_t peak = atomic_load(&self->live_peak);
    while (live > peak && !atomic_compare_exchange_weak(&self->live_peak, &peak, live)) {
    }
    if (live > BUDGET) {
        FAIL("%zu bytes are live, the budget is %zu", live, BUDGET);
    }
}

static void uncount(scene *self, record *one) {
    atomic_fetch_sub(&self->live, atomic_exchange(&one->counted, 0));
}

static bool may_evict(const fa_stream_eviction *eviction, void *user) {
    (void)user;
    if (eviction->asset.index % 3 == 0) {
        check_thread_yield(); // Others meddle now.
    }
    return eviction->asset.index % 7 != 0;
}

static void evicted(const fa_stream_eviction *eviction, void *user) {
    scene *self = (scene *)user;
    record *one = (record *)eviction->user;
    const unsigned char *bytes = (const unsigned char *)eviction->ptr;
    if (bytes[0] != one->fill || bytes[eviction->size - 1] != one->fill) {
        FAIL("an evicted asset has lost its contents");
    }
    atomic_fetch_add(&self->evicted, 1);
    uncount(self, one);
}

// Frees an asset that others may have pinned for a moment, or freed or evicted.
static fa_result free_at_last(fa_stream *stream, fa_asset asset) {
    fa_result result = fa_stream_free(stream, asset);
    while (result == FA_ERR_BUSY) {
        check_thread_yield();
        result = fa_stream_free(stream, asset);
    }
    CHECK(result == FA_OK || result == FA_ERR_STALE);
    return result;
}

// Somebody is to free it now; its loader does when nobody comes.
static void load_doomed(loader *self, record *one, fa_asset asset) {
    fa_stream *stream = self->scene->stream;
    for (int i = 0; i < 20 && fa_stream_state(stream, asset) == FA_ASSET_LOADING; i++) {
        check_thread_yield();
    }
    free_at_last(stream, asset);
    CHECK_EQ(fa_stream_state(stream, asset), FA_ASSET_FREEING);
    atomic_fetch_add(&self->scene->freed_loading, 1);
    uncount(self->scene, one);
    CHECK_EQ(check_rng_chance(&self->rng, 50) ? fa_stream_load_finish(stream, asset)
                                              : fa_stream_load_fail(stream, asset),
             FA_ERR_STALE);
    CHECK(is_gone(stream, asset));
}

static void load(loader *self, record *one, fa_asset asset) {
    fa_stream *stream = self->scene->stream;
    unsigned char *to = (unsigned char *)fa_stream_load_begin(stream, asset);
    if (!CHECK_NOT_NULL(to)) {
        return;
    }
    atomic_store(&one->counted, one->size);
    count_live(self->scene, one->size);
    memset(to, one->fill, one->size / 2);
    fa_result result = fa_stream_load_advance(stream, asset, one->size / 2);
    CHECK(result == FA_OK || (one->is_doomed && result == FA_ERR_STALE));
    if (one->is_doomed) {
        load_doomed(self, one, asset);
        return;
    }
    memset(to + one->size / 2, one->fill, one->size - one->size / 2);
    if (to[0] != one->fill || to[one->size - 1] != one->fill) {
        FAIL("somebody else writes to an asset that is loading");
    }
    if (check_rng_chance(&self->rng, 10)) {
        uncount(self->scene, one);
        CHECK_EQ(fa_stream_load_fail(stream, asset), FA_OK);
        CHECK_EQ(free_at_last(stream, asset), FA_OK);
        return;
    }
    CHECK_EQ(fa_stream_load_finish(stream, asset), FA_OK);
}

static void reserve_and_load(loader *self) {
    scene *shared = self->scene;
    if (self->used_records == RECORDS) {
        return;
    }
    record *one = &self->records[self->used_records];
    size_t slot = check_rng_below(&self->rng, SLOTS);
    one->size = check_rng_between(&self->rng, 2, 20000);
    one->fill = (unsigned char)check_rng_below(&self->rng, 256);
    one->is_doomed = check_rng_chance(&self->rng, 10);
    fa_asset_desc desc = {
        .size = one->size, .priority = (uint8_t)check_rng_below(&self->rng, 3), .user = one};
    fa_asset asset;
    if (fa_stream_reserve(shared->stream, &desc, &asset) != FA_OK) {
        CHECK_EQ(fa_last_error()->code, 402);
        return;
    }
    self->used_records += 1;
    atomic_store(&one->handle, pack(asset));
    atomic_store(&shared->slots[self->number][slot], one); // What was there may be left alone.
    load(self, one, asset);
}

// Looks at an asset of any loader, which may go at any moment unless it is pinned.
static void use_pinned(scene *self, record *one, fa_asset asset) {
    if (fa_stream_pin(self->stream, asset) != FA_OK) {
        CHECK_EQ(fa_last_error()->result, FA_ERR_STALE);
        return;
    }
    const unsigned char *bytes = (const unsigned char *)fa_stream_access(self->stream, asset);
    if (bytes != NULL && (bytes[0] != one->fill || bytes[one->size - 1] != one->fill)) {
        FAIL("a pinned asset has lost its contents");
    }
    fa_asset_info info;
    if (bytes != NULL && CHECK_EQ(fa_stream_get(self->stream, asset, &info), FA_OK)) {
        CHECK_EQ(info.state, FA_ASSET_READY);
        CHECK_EQ(info.size, one->size);
        CHECK_EQ(info.loaded, one->size);
    }
    CHECK_EQ(fa_stream_unpin(self->stream, asset), FA_OK);
}

static void free_one(scene *self, record *one, fa_asset asset) {
    fa_asset_state state = fa_stream_state(self->stream, asset);
    if (one->is_doomed && state == FA_ASSET_LOADING) {
        fa_stream_free(self->stream, asset); // Its loader takes it off the sum.
        return;
    }
    if (one->is_doomed || state != FA_ASSET_READY) {
        return;
    }
    uncount(self, one); // Whatever happens to it now, it goes.
    free_at_last(self->stream, asset);
}

// Does something with an asset of any loader.
static void use_any(scene *self, check_rng *rng) {
    size_t row = check_rng_below(rng, LOADERS);
    record *one = atomic_load(&self->slots[row][check_rng_below(rng, SLOTS)]);
    if (one == NULL) {
        return;
    }
    fa_asset asset = unpack(atomic_load(&one->handle));
    size_t kind = check_rng_below(rng, 100);
    if (kind < 60) {
        use_pinned(self, one, asset);
    } else if (kind < 75) {
        fa_stream_access(self->stream, asset);
    } else if (kind < 85) {
        fa_stream_set_priority(self->stream, asset, (uint8_t)check_rng_below(rng, 3));
    } else {
        free_one(self, one, asset);
    }
}

static void check_budget(scene *self) {
    fa_stream_stats_result stats = stream_stats_of(self->stream);
    CHECK_LE(stats.used_bytes, BUDGET);
    CHECK_LE(stats.reserved_bytes + stats.loading_bytes + stats.ready_bytes, stats.used_bytes);
    CHECK_LE(stats.peak_bytes, BUDGET);
}

static void run_loader(void *arg) {
    loader *self = (loader *)arg;
    for (size_t i = 0; i < check_scale(RECORDS); i++) {
        reserve_and_load(self);
        for (size_t uses = check_rng_below(&self->rng, 6); uses > 0; uses--) {
            use_any(self->scene, &self->rng);
        }
    }
    atomic_fetch_add(&self->scene->finished, 1);
}

static void run_game(void *arg) {
    scene *self = (scene *)arg;
    check_rng rng = check_rng_make(check_seed() + 77);
    for (uint64_t frame = 1; atomic_load(&self->finished) < LOADERS; frame++) {
        fa_stream_frame(self->stream, frame);
        for (int i = 0; i < 20; i++) {
            use_any(self, &rng);
        }
        if (check_rng_chance(&rng, 10)) {
            fa_stream_set_budget(self->stream, check_rng_between(&rng, BUDGET / 4, BUDGET));
        }
        if (check_rng_chance(&rng, 2)) {
            fa_stream_trim(self->stream, check_rng_below(&rng, BUDGET));
        }
        check_budget(self);
        check_thread_yield();
    }
}

typedef struct player {
    void (*run)(void *arg);
    void *arg;
} player;

static void run_player(void *arg) {
    player *self = (player *)arg;
    self->run(self->arg);
}

static void free_everything(scene *self, loader *loaders) {
    for (size_t i = 0; i < LOADERS; i++) {
        for (size_t at = 0; at < loaders[i].used_records; at++) {
            record *one = &loaders[i].records[at];
            uncount(self, one);
            fa_stream_free(self->stream, unpack(atomic_load(&one->handle)));
        }
    }
}

static void play(bool asks) {
    static record records[LOADERS][RECORDS];
    static scene shared;
    loader loaders[LOADERS];
    player players[LOADERS + 1];
    memset(records, 0, sizeof(records));
    memset(&shared, 0, sizeof(shared));
    shared.ctx = context_open(NULL);
    fa_stream_desc desc = {.budget_bytes = BUDGET,
                           .may_evict = asks ? may_evict : NULL,
                           .evicted = evicted,
                           .user = &shared};
    shared.stream = stream_open(shared.ctx, &desc);
    for (size_t i = 0; i < LOADERS; i++) {
        loaders[i] = (loader){.scene = &shared,
                              .number = i,
                              .rng = check_rng_make(check_seed() + i),
                              .records = records[i]};
        players[i] = (player){run_loader, &loaders[i]};
    }
    players[LOADERS] = (player){run_game, &shared};
    check_threads_run(LOADERS + 1, run_player, players, sizeof(players[0]));

    CHECK_GT(atomic_load(&shared.evicted), 0);
    CHECK_GT(atomic_load(&shared.freed_loading), 0);
    CHECK_GT(atomic_load(&shared.live_peak), BUDGET / 2);
    check_budget(&shared);
    free_everything(&shared, loaders);
    CHECK_EQ(atomic_load(&shared.live), 0);
    CHECK_EQ(stats_of(shared.ctx).heap_bytes, 0);
    stream_close(shared.stream);
    context_close(shared.ctx);
}

static void the_budget_is_never_exceeded(void) {
    play(false);
}

static void the_budget_is_never_exceeded_while_callbacks_are_asked(void) {
    play(true);
}

// ---- Progress ----

typedef struct progress {
    fa_stream *stream;
    fa_asset asset;
    size_t steps;
} progress;

static void make_progress(void *arg) {
    progress *self = (progress *)arg;
    for (size_t i = 0; i < self->steps; i++) {
        CHECK_EQ(fa_stream_load_advance(self->stream, self->asset, 3), FA_OK);
    }
}

static void progress_of_many_threads_adds_up(void) {
    fa_context *ctx = context_open(NULL);
    progress self = {.stream = stream_with(ctx, 0, NULL), .steps = check_scale(50000)};
    size_t size = LOADERS * 3 * self.steps;
    self.asset = asset_reserve(self.stream, size + 2, 0);
    REQUIRE_NOT_NULL(fa_stream_load_begin(self.stream, self.asset));
    check_threads_run(LOADERS, make_progress, &self, 0);
    CHECK_EQ(fa_stream_loaded(self.stream, self.asset), size);
    CHECK_EQ(fa_stream_load_advance(self.stream, self.asset, 3), FA_ERR_INVALID);
    CHECK_EQ(fa_stream_load_fail(self.stream, self.asset), FA_OK);
    CHECK_EQ(fa_stream_free(self.stream, self.asset), FA_OK);
    stream_close(self.stream);
    context_close(ctx);
}

TEST_SUITE(stream_threads, TEST(the_budget_is_never_exceeded),
           TEST(the_budget_is_never_exceeded_while_callbacks_are_asked),
           TEST(progress_of_many_threads_adds_up));

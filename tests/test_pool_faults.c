// Pools when memory is refused: every call of the backend in turn, every one from some point on, by
// chance, and by memory_limit. A refused call says why, changes nothing, and works when it is made
// again with memory there; a free never fails.
#include "../src/pool/pools.h"
#include "core_fixture.h"
#include "fault_backend.h"

#include <framealloc/frame.h>
#include <framealloc/pool.h>

enum { POOLS = 6, OBJECTS = 400, TAGS = 3 };

static void construct(void *object, void *user) {
    (void)user;
    *(uint64_t *)object = 0x5EED;
}

static const fa_pool_desc descs[POOLS] = {
    {.size = 48},
    {.size = 100, .handles = true},
    {.size = 1000, .object_tags = true},
    {.size = 3000, .max_count = 150},
    {.size = 24000, .handles = true, .object_tags = true, .construct = construct},
    {.size = 150000, .zero = true},
};

typedef struct thing {
    unsigned char *ptr;
    size_t pool;
    fa_tag tag;
    fa_handle handle;
    unsigned char value;
} thing;

typedef struct play {
    fa_context *ctx;
    fault_backend *faults; // NULL: memory_limit refuses.
    fa_pool *pools[POOLS];
    fa_tag tags[TAGS];
    thing things[OBJECTS];
    check_rng rng;
    bool retries;
    uint64_t refused;
} play;

static size_t model_bytes(const play *p) {
    size_t bytes = 0;
    for (size_t i = 0; i < OBJECTS; i++) {
        const thing *t = &p->things[i];
        bytes += t->ptr == NULL ? 0 : fa__pool_open(p->pools[t->pool])->stride;
    }
    return bytes;
}

static void check_agreement(const play *p) {
    size_t live[POOLS] = {0};
    size_t by_tag[TAGS] = {0};
    for (size_t i = 0; i < OBJECTS; i++) {
        const thing *t = &p->things[i];
        if (t->ptr != NULL) {
            live[t->pool] += 1;
            by_tag[t->tag.id - p->tags[0].id] += fa__pool_open(p->pools[t->pool])->stride;
        }
    }
    CHECK_EQ(stats_of(p->ctx).pool_bytes, model_bytes(p));
    for (size_t i = 0; i < TAGS; i++) {
        CHECK_EQ(tag_stats_of(p->ctx, p->tags[i]).current_bytes, by_tag[i]);
    }
    for (size_t i = 0; i < POOLS; i++) {
        if (p->pools[i] != NULL) {
            fa_pool_stats_result stats;
            CHECK_EQ(fa_pool_stats(p->pools[i], &stats), FA_OK);
            CHECK_EQ(stats.live, live[i]);
            CHECK(fa__slots_check(&fa__pool_open(p->pools[i])->slots));
        }
    }
}

// A call was refused: by whom it must have been. Returns whether it is to be made again.
static bool was_refused(play *p) {
    const fa_error *error = fa_last_error();
    p->refused += 1;
    CHECK(error->code == 305 || error->code == 301);
    CHECK_EQ(error->result, error->code == 301 ? FA_ERR_LIMIT : FA_ERR_OUT_OF_MEMORY);
    fa_last_error_clear();
    return p->retries;
}

static fault_mode pause_faults(play *p) {
    return p->faults == NULL ? FAULT_NONE : fault_backend_switch(p->faults, FAULT_NONE);
}

static void resume_faults(play *p, fault_mode mode) {
    if (p->faults != NULL) {
        (void)fault_backend_switch(p->faults, mode);
    }
}

static bool is_registered(const play *p, size_t tag) {
    return p->tags[tag].id != 0;
}

static void make_pools(play *p) {
    static const char *const names[TAGS] = {"a", "b", "c"};
    for (size_t i = 0; i < TAGS; i++) {
        fault_mode mode = pause_faults(p); // Tags are not what is tested here.
        p->tags[i] = fa_tag_register(p->ctx, names[i]);
        resume_faults(p, mode);
        CHECK(is_registered(p, i));
    }
    for (size_t i = 0; i < POOLS; i++) {
        fa_pool_desc desc = descs[i];
        desc.tag = p->tags[i % TAGS];
        if (fa_pool_create(p->ctx, &desc, &p->pools[i]) < 0) {
            CHECK_NULL(p->pools[i]);
            (void)was_refused(p);
            fault_mode mode = pause_faults(p);
            REQUIRE_EQ(fa_pool_create(p->ctx, &desc, &p->pools[i]), FA_OK);
            resume_faults(p, mode);
        }
    }
}

static void take(play *p, thing *t) {
    size_t pool = check_rng_below(&p->rng, 5 + check_rng_below(&p->rng, 2));
    size_t tag = check_rng_below(&p->rng, TAGS);
    fault_mode mode = pause_faults(p);
    CHECK_EQ(fa_tag_push(p->ctx, p->tags[tag]), FA_OK);
    resume_faults(p, mode);
    void *object = fa_pool_alloc(p->pools[pool]);
    if (object == NULL && fa_last_error()->code == 409) {
        fa_last_error_clear();
    } else if (object == NULL && was_refused(p)) {
        CHECK_EQ(stats_of(p->ctx).pool_bytes, model_bytes(p));
        mode = pause_faults(p);
        object = fa_pool_alloc(p->pools[pool]);
        CHECK_NOT_NULL(object);
        resume_faults(p, mode);
    }
    CHECK_EQ(fa_tag_pop(p->ctx), FA_OK);
    if (object == NULL) {
        return;
    }
    tag = descs[pool].object_tags ? tag : pool % TAGS;
    *t = (thing){object, pool, p->tags[tag], {0}, (unsigned char)check_rng_next(&p->rng)};
    if (descs[pool].construct != NULL) {
        CHECK_EQ(*(uint64_t *)object, 0x5EED);
    }
    size_t from = descs[pool].construct != NULL ? 8 : 0;
    memset(t->ptr + from, t->value, descs[pool].size - from);
    if (descs[pool].handles) {
        t->handle = fa_pool_handle(p->pools[pool], object);
        CHECK_NE(t->handle.value, 0);
    }
}

static void give(play *p, thing *t) {
    size_t last = descs[t->pool].size - 1;
    CHECK(t->ptr[8] == t->value && t->ptr[last] == t->value && t->ptr[last / 2] == t->value);
    CHECK_EQ(fa_pool_tag(p->pools[t->pool], t->ptr).id, t->tag.id);
    if (descs[t->pool].handles && check_rng_chance(&p->rng, 50)) {
        CHECK_EQ(fa_pool_free_handle(p->pools[t->pool], t->handle), FA_OK);
    } else {
        fa_pool_free(p->pools[t->pool], t->ptr);
    }
    CHECK_EQ(fa_last_error()->result, FA_OK); // Whatever is refused, a free does not fail.
    fa_last_error_clear();
    t->ptr = NULL;
}

static void rare(play *p) {
    size_t pool = check_rng_below(&p->rng, POOLS);
    switch (check_rng_below(&p->rng, 4)) {
    case 0:
        fa_pool_trim(p->pools[pool], 10);
        break;
    case 1:
        if (fa_pool_reserve(p->pools[pool], 60) < 0) {
            (void)was_refused(p);
        }
        break;
    case 2:
        CHECK_EQ(fa_thread_detach(p->ctx), FA_OK);
        if (fa_thread_attach(p->ctx, NULL) < 0) {
            (void)was_refused(p);
            fault_mode mode = pause_faults(p);
            CHECK_EQ(fa_thread_attach(p->ctx, NULL), FA_OK);
            resume_faults(p, mode);
        }
        break;
    default:
        CHECK_EQ(fa_context_trim(p->ctx, 0), FA_OK);
    }
}

static void work(play *p, size_t steps) {
    for (size_t i = 0; i < steps; i++) {
        thing *t = &p->things[check_rng_below(&p->rng, OBJECTS)];
        if (t->ptr == NULL) {
            take(p, t);
        } else if (check_rng_chance(&p->rng, 60)) {
            give(p, t);
        }
        if (i % 100 == 60) {
            rare(p);
        }
    }
}

static void end(play *p) {
    check_agreement(p);
    for (size_t i = 0; i < OBJECTS; i++) {
        if (p->things[i].ptr != NULL) {
            give(p, &p->things[i]);
        }
    }
    check_agreement(p);
    CHECK_EQ(stats_of(p->ctx).pool_bytes, 0);
    for (size_t i = 0; i < POOLS; i++) {
        fa_pool_trim(p->pools[i], 0);
        fa__slots *slots = &fa__pool_open(p->pools[i])->slots;
        CHECK_LE(fa__slots_committed(slots),
                 (slots->kept_slots + slots->capacity) / slots->capacity * slots->units * FA__UNIT);
        CHECK(slots->kept_slots != 0 || fa__slots_committed(slots) == 0);
        CHECK_EQ(fa_pool_destroy(p->pools[i]), FA_OK);
    }
    context_close(p->ctx);
}

// One run; returns how many calls of the backend were refused.
static uint64_t run(fa_config config, fault_backend *faults, fault_mode mode, uint64_t at,
                    bool retries) {
    static play p;
    memset(&p, 0, sizeof(p));
    p.faults = faults;
    p.retries = retries;
    p.rng = check_rng_make(at);
    config.backend = &faults->backend;
    p.ctx = context_open(&config);
    fault_backend_set(faults, mode, faults->calls + at, 30, check_seed() + at);
    make_pools(&p);
    work(&p, 1200);
    fault_backend_switch(faults, FAULT_NONE);
    check_agreement(&p);
    p.retries = false;
    p.refused = 0;
    work(&p, 300); // Everything is usable.
    CHECK_EQ(p.refused, 0);
    end(&p);
    return faults->refusals;
}

static void every_call_fails_in_turn(fault_source source, size_t reserve_most, uint32_t checks) {
    uint64_t stride = check_scale(10) >= 10 ? 1 : 7;
    uint64_t runs = 0;
    bool was_reached = true;
    for (uint64_t at = 1; was_reached && at < 600; at += stride, runs++) {
        check_note("call %u, source %d", (unsigned)at, (int)source);
        fault_backend faults;
        fault_backend_make(&faults, source);
        faults.has_rubbish = at % 2 == 0;
        faults.reserve_most = reserve_most;
        fault_mode mode = at % 3 == 0 ? FAULT_FROM : FAULT_NTH;
        was_reached = run((fa_config){.checks = checks}, &faults, mode, at, at % 2 == 0) != 0;
        fault_backend_end(&faults);
    }
    CHECK_GT(runs, 2);
}

static void every_call_of_the_backend_fails_in_turn(void) {
    every_call_fails_in_turn(FAULT_PAGES, 0, 0);
}

static void every_call_fails_in_turn_where_there_are_sections(void) {
    every_call_fails_in_turn(FAULT_PAGES, MIB, 0);
}

static void every_call_fails_in_turn_without_commit(void) {
    every_call_fails_in_turn(FAULT_BLOCKS, 0, 0);
}

static void every_call_fails_in_turn_while_checked(void) {
    every_call_fails_in_turn(FAULT_PAGES, 0, FA_CHECK_BLOCKS);
}

static void random_refusals_lose_nothing(void) {
    for (uint64_t at = 1; at <= check_scale(40); at++) {
        fault_backend faults;
        fault_backend_make(&faults, at % 4 == 0 ? FAULT_BLOCKS : FAULT_PAGES);
        faults.reserve_most = at % 4 == 1 ? MIB : 0;
        run((fa_config){0}, &faults, FAULT_RANDOM, at, at % 2 == 0);
        fault_backend_end(&faults);
    }
}

static void a_memory_limit_refuses_and_loses_nothing(void) {
    uint64_t refused = 0;
    for (uint64_t at = 0; at < check_scale(20); at++) {
        static play p;
        memset(&p, 0, sizeof(p));
        p.rng = check_rng_make(check_seed() + at);
        p.ctx = context_open(&(fa_config){.memory_limit = 2 * MIB});
        make_pools(&p);
        work(&p, 1500);
        refused += p.refused;
        CHECK_LE(stats_of(p.ctx).committed_bytes, 2 * MIB);
        end(&p);
    }
    CHECK_GT(refused, 0);
}

TEST_SUITE(pool_faults, TEST(every_call_of_the_backend_fails_in_turn),
           TEST(every_call_fails_in_turn_where_there_are_sections),
           TEST(every_call_fails_in_turn_without_commit),
           TEST(every_call_fails_in_turn_while_checked), TEST(random_refusals_lose_nothing),
           TEST(a_memory_limit_refuses_and_loses_nothing));

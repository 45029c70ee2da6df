// Pools against a model: random operations of all kinds over pools of all kinds, alone and from
// four threads that hand objects to each other and come and go.
//
// The model is a table of what was handed out: by which pool, for which tag, filled with what.
// After every schedule figures, tags, handles and contents are what it says, and slabs are sound.
#include "../src/pool/pools.h"
#include "core_fixture.h"
#include "fault_backend.h"

#include <framealloc/frame.h>
#include <framealloc/pool.h>

enum { TAGS = 4, ENTRIES = 900, STALE = 64, THREADS = 4, RING = 48, ROUNDS = 4, MAGIC = 0x5EED };

typedef struct kind {
    fa_pool_desc desc;
    size_t most; // Objects the model keeps live in it at once.
} kind;

static void construct(void *object, void *user) {
    (void)user;
    *(uint64_t *)object = MAGIC;
}

static void reset(void *object, void *user) {
    (void)user;
    CHECK_EQ(*(uint64_t *)object, MAGIC);
    memset((char *)object + 8, 0, 64);
}

static atomic_int destructed;

static void destruct(void *object, void *user) {
    (void)user;
    CHECK_EQ(*(uint64_t *)object, MAGIC);
    atomic_fetch_add(&destructed, 1);
}

static const kind kinds[] = {
    {{.size = 24, .name = "plain"}, 600},
    {{.size = 64, .name = "few", .max_count = 60}, 100},
    {{.size = 48, .name = "handles", .handles = true}, 600},
    {{.size = 40, .name = "tags", .object_tags = true}, 600},
    {{.size = 100, .align = 4, .name = "both", .handles = true, .object_tags = true}, 600},
    {{.size = 16, .name = "zero", .zero = true}, 600},
    {{.size = 72, .name = "made", .construct = construct, .reset = reset, .destruct = destruct},
     600},
    {{.size = 72, .name = "made once", .construct = construct, .handles = true}, 600},
    {{.size = 256, .align = 256, .name = "aligned", .handles = true, .max_count = 100}, 200},
    {{.size = 20000, .name = "large", .handles = true}, 60},
    {{.size = 300000, .name = "huge", .object_tags = true}, 6},
    {{.size = 40000, .align = 65536, .name = "units", .zero = true, .handles = true}, 6},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

typedef struct entry {
    unsigned char *ptr; // NULL: free.
    size_t pool;
    fa_handle handle;
    fa_tag tag;
    unsigned char value;
} entry;

typedef struct world {
    fa_context *ctx;
    check_rng rng;
    bool is_alone;
    fa_tag tags[TAGS];
    fa_pool *pools[KINDS];
    entry entries[ENTRIES];
    fa_handle stale[STALE];
    size_t stale_pool[STALE];
    size_t stale_count;
    size_t live[KINDS]; // Of these entries.
    size_t steps;
    struct shared_ring *ring;
} world;

static bool is_constructed(size_t pool) {
    return kinds[pool].desc.construct != NULL;
}

static bool has_handles(size_t pool) {
    return kinds[pool].desc.handles;
}

static void fill(const entry *e) {
    size_t from = is_constructed(e->pool) ? 8 : 0;
    memset(e->ptr + from, e->value, kinds[e->pool].desc.size - from);
}

static bool holds(const entry *e, unsigned char value) {
    size_t size = kinds[e->pool].desc.size;
    for (size_t at = is_constructed(e->pool) ? 8 : 0; at < size;
         at += at < 128 || at + 130 > size ? 1 : 127) {
        if (e->ptr[at] != value) {
            FAIL("byte %zu of an object of \"%s\" is %u, not %u", at, kinds[e->pool].desc.name,
                 e->ptr[at], value);
            return false;
        }
    }
    return true;
}

static fa_pool *make_pool(world *w, size_t pool) {
    fa_pool_desc desc = kinds[pool].desc;
    desc.tag = w->tags[pool % TAGS];
    fa_pool *made = NULL;
    REQUIRE_EQ(fa_pool_create(w->ctx, &desc, &made), FA_OK);
    return made;
}

// What came out of a pool, into the model.
static void accept_object(world *w, entry *e, size_t pool, void *object, fa_tag current) {
    const fa_pool_desc *desc = &kinds[pool].desc;
    fa_tag tag = desc->object_tags ? current : w->tags[pool % TAGS];
    *e = (entry){object, pool, {0}, tag, (unsigned char)check_rng_next(&w->rng)};
    CHECK_EQ((uintptr_t)object % (desc->align == 0 ? 8 : desc->align), 0);
    if (desc->zero) {
        CHECK(holds(e, 0));
    }
    if (is_constructed(pool)) {
        CHECK_EQ(*(uint64_t *)object, MAGIC);
    }
    fill(e);
    CHECK_EQ(fa_pool_tag(w->pools[pool], object).id, tag.id);
    if (has_handles(pool)) {
        e->handle = fa_pool_handle(w->pools[pool], object);
        CHECK_NE(e->handle.value, 0);
        CHECK_EQ(fa_pool_resolve(w->pools[pool], e->handle), object);
    }
    w->live[pool] += 1;
}

// Alone, a refusal has a reason that the model knows.
static void check_refusal(const world *w, size_t pool, bool is_full) {
    const fa_error *error = fa_last_error();
    if (error->code == 409) {
        CHECK_NE(kinds[pool].desc.max_count, 0);
        CHECK(is_full || !w->is_alone);
    } else if (error->code != 302 && error->code != 305) {
        FAIL("refused by \"%s\": %s", kinds[pool].desc.name, error->text);
    }
    fa_last_error_clear();
}

static entry *find_free(world *w) {
    size_t at = check_rng_below(&w->rng, ENTRIES);
    for (size_t i = 0; i < ENTRIES; i++) {
        entry *e = &w->entries[(at + i) % ENTRIES];
        if (e->ptr == NULL) {
            return e;
        }
    }
    return NULL;
}

static void allocate(world *w) {
    size_t pool = check_rng_below(&w->rng, KINDS);
    size_t count = check_rng_chance(&w->rng, 5) ? check_rng_below(&w->rng, 100) : 1;
    if (w->live[pool] + count > kinds[pool].most) {
        return;
    }
    fa_tag current = w->tags[check_rng_below(&w->rng, TAGS)];
    void *objects[100];
    CHECK_EQ(fa_tag_push(w->ctx, current), FA_OK);
    size_t got = 0;
    if (count == 1) {
        objects[0] = check_rng_chance(&w->rng, 80) ? fa_pool_alloc(w->pools[pool])
                                                   : fa_pool_alloc_call(w->pools[pool]);
        got = objects[0] == NULL ? 0 : 1;
    } else {
        got = fa_pool_alloc_batch(w->pools[pool], objects, count);
    }
    CHECK_EQ(fa_tag_pop(w->ctx), FA_OK);
    bool is_full = w->live[pool] + got == kinds[pool].desc.max_count;
    if (got < count) {
        check_refusal(w, pool, is_full);
    }
    for (size_t i = 0; i < got; i++) {
        entry *e = find_free(w);
        if (e == NULL) {
            fa_pool_free(w->pools[pool], objects[i]);
        } else {
            accept_object(w, e, pool, objects[i], current);
        }
    }
}

static void note_stale(world *w, const entry *e) {
    if (has_handles(e->pool)) {
        size_t at = w->stale_count < STALE ? w->stale_count : check_rng_below(&w->rng, STALE);
        w->stale_count += w->stale_count < STALE ? 1 : 0;
        w->stale[at] = e->handle;
        w->stale_pool[at] = e->pool;
    }
}

static void check_entry(const world *w, const entry *e) {
    CHECK(holds(e, e->value));
    CHECK_EQ(fa_pool_tag(w->pools[e->pool], e->ptr).id, e->tag.id);
    if (has_handles(e->pool)) {
        CHECK_EQ(fa_pool_resolve(w->pools[e->pool], e->handle), e->ptr);
        CHECK_EQ(fa_pool_resolve_call(w->pools[e->pool], e->handle), e->ptr);
        CHECK_EQ(fa_pool_handle(w->pools[e->pool], e->ptr).value, e->handle.value);
    }
}

static void release(world *w, entry *e) {
    check_entry(w, e);
    note_stale(w, e);
    if (has_handles(e->pool) && check_rng_chance(&w->rng, 40)) {
        CHECK_EQ(fa_pool_free_handle(w->pools[e->pool], e->handle), FA_OK);
    } else if (check_rng_chance(&w->rng, 20)) {
        void *objects[3] = {NULL, e->ptr, NULL};
        fa_pool_free_batch(w->pools[e->pool], objects, 3);
    } else {
        fa_pool_free(w->pools[e->pool], e->ptr);
    }
    w->live[e->pool] -= 1;
    e->ptr = NULL;
}

static void check_stale(world *w) {
    for (size_t i = 0; i < w->stale_count; i++) {
        fa_pool *pool = w->pools[w->stale_pool[i]];
        CHECK_NULL(fa_pool_resolve(pool, w->stale[i]));
        CHECK_NULL(fa_pool_resolve_call(pool, w->stale[i]));
    }
}

static void step(world *w) {
    entry *e = &w->entries[check_rng_below(&w->rng, ENTRIES)];
    if (e->ptr == NULL) {
        allocate(w);
    } else if (check_rng_chance(&w->rng, 20)) {
        check_entry(w, e);
    } else {
        release(w, e);
    }
}

// ---- Agreement ---------------------------------------------------------------------------------

static bool is_sound(fa_pool *pool) {
    return fa__slots_check(&fa__pool_open(pool)->slots);
}

// What the model says that a tag is charged.
static size_t bytes_of(world *worlds, size_t count, fa_tag tag, size_t *live) {
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < ENTRIES; k++) {
            const entry *e = &worlds[i].entries[k];
            if (e->ptr != NULL && (tag.id == 0 || e->tag.id == tag.id)) {
                bytes += fa__pool_open(worlds[0].pools[e->pool])->stride;
                live[e->pool] += 1;
            }
        }
    }
    return bytes;
}

typedef struct walk {
    const world *worlds;
    size_t count;
    size_t pool;
} walk;

static bool visit(void *object, void *user) {
    const walk *w = user;
    for (size_t i = 0; i < w->count; i++) {
        for (size_t k = 0; k < ENTRIES; k++) {
            const entry *e = &w->worlds[i].entries[k];
            if (e->ptr == object && e->pool == w->pool) {
                return true;
            }
        }
    }
    FAIL("fa_pool_each() visits what nobody has");
    return false;
}

// No other thread is inside.
static void check_agreement(world *worlds, size_t count, bool walks) {
    world *w = &worlds[0];
    size_t live[KINDS] = {0};
    CHECK_EQ(stats_of(w->ctx).pool_bytes, bytes_of(worlds, count, FA_TAG_ROOT, live));
    for (size_t i = 0; i < TAGS; i++) {
        size_t unused[KINDS] = {0};
        CHECK_EQ(tag_stats_of(w->ctx, w->tags[i]).current_bytes,
                 bytes_of(worlds, count, w->tags[i], unused));
    }
    for (size_t i = 0; i < KINDS; i++) {
        fa_pool_stats_result stats;
        CHECK_EQ(fa_pool_stats(w->pools[i], &stats), FA_OK);
        CHECK_EQ(stats.live, live[i]);
        CHECK_EQ(stats.live_bytes, live[i] * stats.slot_bytes);
        CHECK_GE(stats.capacity, live[i] + stats.cached);
        CHECK_GE(stats.peak, live[i]);
        CHECK_GE(stats.committed_bytes, stats.capacity * stats.slot_bytes);
        CHECK_EQ(stats.retired, 0);
        CHECK(is_sound(w->pools[i]));
        if (walks) {
            walk all = {worlds, count, i};
            CHECK_EQ(fa_pool_each(w->pools[i], visit, &all), live[i]);
            CHECK(is_sound(w->pools[i]));
        }
    }
    if (walks) {
        CHECK_EQ(stats_of(w->ctx).pool_bytes, bytes_of(worlds, count, FA_TAG_ROOT, live));
    }
    for (size_t i = 0; i < count; i++) {
        check_stale(&worlds[i]);
    }
}

static void world_open(world *w, const fa_config *config) {
    static const char *const names[TAGS] = {"a", "b", "c", "d"};
    memset(w, 0, sizeof(*w));
    w->rng = check_rng_make(check_seed());
    w->is_alone = true;
    w->ctx = context_open(config);
    for (size_t i = 0; i < TAGS; i++) {
        w->tags[i] = fa_tag_register(w->ctx, names[i]);
    }
    for (size_t i = 0; i < KINDS; i++) {
        w->pools[i] = make_pool(w, i);
    }
}

static void world_empty(world *w) {
    for (size_t i = 0; i < ENTRIES; i++) {
        if (w->entries[i].ptr != NULL) {
            release(w, &w->entries[i]);
        }
    }
}

static void world_close(world *w) {
    check_agreement(w, 1, true);
    CHECK_EQ(stats_of(w->ctx).pool_bytes, 0);
    for (size_t i = 0; i < KINDS; i++) {
        CHECK_EQ(fa_pool_destroy(w->pools[i]), FA_OK);
    }
    for (size_t i = 0; i < TAGS; i++) {
        CHECK_EQ(tag_stats_of(w->ctx, w->tags[i]).current_bytes, 0);
    }
    context_close(w->ctx);
}

// ---- Alone -------------------------------------------------------------------------------------

// Destroys a pool, live objects and all, and makes another like it.
static void replace_pool(world *w, size_t pool) {
    size_t live = w->live[pool];
    for (size_t i = 0; i < ENTRIES; i++) {
        entry *e = &w->entries[i];
        if (e->ptr != NULL && e->pool == pool) {
            note_stale(w, e);
            e->ptr = NULL;
        }
    }
    w->live[pool] = 0;
    CHECK_EQ(fa_pool_destroy(w->pools[pool]), live == 0 ? FA_OK : FA_ERR_BUSY);
    fa_last_error_clear();
    w->pools[pool] = make_pool(w, pool);
}

static void rare_step(world *w) {
    size_t pool = check_rng_below(&w->rng, KINDS);
    size_t tag = check_rng_below(&w->rng, TAGS);
    size_t count = 0;
    switch (check_rng_below(&w->rng, 7)) {
    case 0:
        replace_pool(w, pool);
        break;
    case 1:
        fa_pool_trim(w->pools[pool], check_rng_below(&w->rng, 200));
        break;
    case 2:
        CHECK_EQ(fa_context_trim(w->ctx, 0), FA_OK);
        break;
    case 3:
        CHECK_EQ(fa_budget_set(w->ctx, w->tags[tag], &(fa_budget){.hard = 400000}), FA_OK);
        break;
    case 4:
        CHECK_EQ(fa_budget_set(w->ctx, w->tags[tag], NULL), FA_OK);
        break;
    case 5:
        count = check_rng_below(&w->rng, kinds[pool].most);
        if (fa_pool_reserve(w->pools[pool], count) < 0) {
            check_refusal(w, pool, count > kinds[pool].desc.max_count);
        }
        break;
    default:
        for (int i = 0; i < 40; i++) { // Long enough for quiet periods.
            fa_frame_end(fa_frame_begin(w->ctx));
        }
    }
}

static void play_alone(const fa_config *config, size_t steps) {
    static world w;
    world_open(&w, config);
    for (size_t i = 0; i < steps; i++) {
        check_note("step %zu", i);
        step(&w);
        if (i % 50 == 49) {
            rare_step(&w);
        }
        CHECK(is_sound(w.pools[i % KINDS]));
        if (i % 211 == 0) {
            check_agreement(&w, 1, i % 844 == 0);
        }
    }
    check_agreement(&w, 1, true);
    world_empty(&w);
    world_close(&w);
}

static void random_operations_agree(void) {
    play_alone(&(fa_config){.decay_frames = 8}, check_scale(40000));
}

static void random_operations_agree_while_checked(void) {
    play_alone(&(fa_config){.checks = FA_CHECK_BLOCKS, .decay_frames = 8}, check_scale(15000));
}

static void random_operations_agree_on_other_backends(void) {
    for (int i = 0; i < 3; i++) {
        fault_backend faults;
        fault_backend_make(&faults, i == 0 ? FAULT_BLOCKS : FAULT_PAGES);
        faults.has_rubbish = true;
        faults.reserve_most = i == 1 ? MIB : i == 2 ? 64 * MIB : 0;
        play_alone(&(fa_config){.backend = &faults.backend, .decay_frames = 8}, check_scale(10000));
        fault_backend_end(&faults);
    }
}

// ---- Together ----------------------------------------------------------------------------------

typedef struct shared_ring {
    atomic_flag lock;
    size_t count;
    entry entries[RING];
} shared_ring;

// Gives an object of one's own to the others, or takes one of theirs.
static void hand_over(world *w) {
    entry *mine = &w->entries[check_rng_below(&w->rng, ENTRIES)];
    shared_ring *ring = w->ring;
    while (atomic_flag_test_and_set_explicit(&ring->lock, memory_order_acquire)) {
        check_thread_yield();
    }
    if (mine->ptr != NULL && ring->count < RING) {
        ring->entries[ring->count++] = *mine;
        w->live[mine->pool] -= 1;
        mine->ptr = NULL;
    } else if (mine->ptr == NULL && ring->count != 0) {
        *mine = ring->entries[--ring->count];
        w->live[mine->pool] += 1;
    }
    atomic_flag_clear_explicit(&ring->lock, memory_order_release);
}

static void crew_work(void *arg) {
    world *w = arg;
    for (size_t i = 0; i < w->steps; i++) {
        step(w);
        hand_over(w);
        if (i % 500 == 499) { // Leaves and comes back: its stacks go, another becomes the home.
            CHECK_EQ(fa_thread_detach(w->ctx), FA_OK);
        }
        if (i % 97 == 0) {
            fa_frame_end(fa_frame_begin(w->ctx));
        }
    }
}

static atomic_bool is_over;

// Reads all figures meanwhile.
static void look(void *arg) {
    world *w = arg;
    while (!atomic_load(&is_over)) {
        for (size_t i = 0; i < KINDS; i++) {
            fa_pool_stats_result stats;
            CHECK_EQ(fa_pool_stats(w->pools[i], &stats), FA_OK);
            CHECK(is_sound(w->pools[i]));
        }
        (void)stats_of(w->ctx);
        for (size_t i = 0; i < TAGS; i++) {
            (void)tag_stats_of(w->ctx, w->tags[i]);
        }
        check_thread_yield();
    }
}

static void play_together(const fa_config *config, size_t steps) {
    static world crew[THREADS + 1]; // The last is what lies in the ring.
    static shared_ring ring;
    world_open(&crew[0], config);
    ring = (shared_ring){.lock = ATOMIC_FLAG_INIT};
    CHECK_EQ(fa_budget_set(crew[0].ctx, crew[0].tags[2], &(fa_budget){.hard = 600000}), FA_OK);
    crew[0].is_alone = false;
    crew[0].ring = &ring;
    crew[0].steps = steps;
    for (size_t i = 1; i <= THREADS; i++) {
        crew[i] = crew[0];
        crew[i].rng = check_rng_make(check_seed() + i);
    }
    for (int round = 0; round < ROUNDS; round++) {
        check_thread *threads[THREADS]; // New ones every round.
        atomic_store(&is_over, false);
        check_thread *looker = check_thread_start(look, &crew[0]);
        for (size_t i = 0; i < THREADS; i++) {
            threads[i] = check_thread_start(crew_work, &crew[i]);
        }
        for (size_t i = 0; i < THREADS; i++) {
            check_thread_join(threads[i]);
        }
        atomic_store(&is_over, true);
        check_thread_join(looker);
        memset(crew[THREADS].entries, 0, sizeof(crew[THREADS].entries));
        memcpy(crew[THREADS].entries, ring.entries, ring.count * sizeof(entry));
        check_agreement(crew, THREADS + 1, round % 2 == 1);
        if (round == 1) {
            CHECK_EQ(fa_context_trim(crew[0].ctx, 0), FA_OK);
            check_agreement(crew, THREADS + 1, false);
        }
    }
    for (size_t i = 0; i < THREADS; i++) {
        world_empty(&crew[i]);
    }
    for (; ring.count != 0; ring.count--) {
        crew[0].live[ring.entries[ring.count - 1].pool] += 1;
        release(&crew[0], &ring.entries[ring.count - 1]);
    }
    world_close(&crew[0]);
}

static void four_threads_agree(void) {
    play_together(&(fa_config){.decay_frames = 4}, check_scale(8000));
}

static void four_threads_agree_while_checked(void) {
    play_together(&(fa_config){.checks = FA_CHECK_BLOCKS, .decay_frames = 4}, check_scale(3000));
}

static void constructed_objects_were_all_destructed(void) {
    CHECK_GT(atomic_load(&destructed), 0);
}

TEST_SUITE(pool_model, TEST(random_operations_agree), TEST(random_operations_agree_while_checked),
           TEST(random_operations_agree_on_other_backends), TEST(four_threads_agree),
           TEST(four_threads_agree_while_checked), TEST(constructed_objects_were_all_destructed));

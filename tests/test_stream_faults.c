// Streams when memory is refused: every single call of the backend in turn, in a life of streams
// that grows records, loads, evicts and ends. What is refused has changed nothing, and works when
// it is tried again.
#include "stream_fixture.h"

#include "fault_backend.h"

enum { ASSETS = 300 };

typedef struct life {
    fault_backend faults;
    fa_context *ctx;
    fa_stream *stream;
    fa_asset assets[ASSETS];
    size_t count;
    uint64_t failures;
    fa_tag tag; // Of the present asset.
    check_rng rng;
} life;

static life the_life;

typedef fa_result (*life_step)(life *self);

// Makes a call. When it is refused: for a reason, with nothing changed, and it succeeds with memory
// there.
static void attempt(life *self, life_step step) {
    fa_stream_stats_result before = {0};
    if (self->stream != NULL) {
        before = stream_stats_of(self->stream);
    }
    uint64_t refused = self->faults.refusals;
    fa_last_error_clear();
    fa_result result = step(self);
    if (result == FA_OK) {
        return;
    }
    self->failures += 1;
    CHECK_EQ(result, FA_ERR_OUT_OF_MEMORY);
    CHECK_EQ(fa_last_error()->result, FA_ERR_OUT_OF_MEMORY);
    CHECK_EQ(fa_last_error()->code, 305);
    CHECK_GT(self->faults.refusals, refused);
    if (self->stream != NULL) {
        fa_stream_stats_result after = stream_stats_of(self->stream);
        CHECK_MEM_EQ(&after, &before, sizeof(after));
    }
    fault_mode mode = fault_backend_switch(&self->faults, FAULT_NONE);
    CHECK_EQ(step(self), FA_OK);
    fault_backend_switch(&self->faults, mode);
}

static fa_result make_context(life *self) {
    return fa_context_create(&(fa_config){.backend = &self->faults.backend}, &self->ctx);
}

static fa_result make_tag(life *self) {
    fa_last_error_clear();
    self->tag = fa_tag_register(self->ctx, "assets/of/some/system");
    return fa_last_error()->result;
}

static fa_result make_stream(life *self) {
    fa_stream_desc desc = {.name = "faults", .budget_bytes = 600000};
    return fa_stream_create(self->ctx, &desc, &self->stream);
}

static fa_result reserve_next(life *self) {
    fa_asset_desc desc = {.size = 100 + self->count * 20, .tag = self->tag};
    return fa_stream_reserve(self->stream, &desc, &self->assets[self->count]);
}

static fa_result load_next(life *self) {
    fa_asset asset = self->assets[self->count];
    size_t size = 100 + self->count * 20;
    unsigned char *to = (unsigned char *)fa_stream_load_begin(self->stream, asset);
    if (to == NULL) {
        CHECK_EQ(fa_stream_state(self->stream, asset), FA_ASSET_RESERVED);
        return fa_last_error()->result;
    }
    memset(to, (int)(self->count & 0xFF), size);
    CHECK_EQ(fa_stream_load_finish(self->stream, asset), FA_OK);
    return FA_OK;
}

static void check_contents(life *self) {
    for (size_t i = 0; i < self->count; i++) {
        const unsigned char *bytes = fa_stream_access(self->stream, self->assets[i]);
        if (bytes != NULL) {
            CHECK_EQ(bytes[0], i & 0xFF);
            CHECK_EQ(bytes[100 + i * 20 - 1], i & 0xFF);
        }
    }
}

static void play_stream(life *self) {
    attempt(self, make_stream);
    for (self->count = 0; self->count < ASSETS; self->count++) {
        attempt(self, reserve_next);
        attempt(self, load_next);
        if (self->count % 40 == 0) {
            check_contents(self);
        }
    }
    check_contents(self);
    CHECK_GT(stream_stats_of(self->stream).evictions, 0);
    CHECK_EQ(fa_stream_set_budget(self->stream, 100000), FA_OK); // Needs no memory.
    fa_stream_trim(self->stream, 0);
    stream_close(self->stream);
    self->stream = NULL;
}

static uint64_t live_once(fault_source source, fault_mode mode, uint64_t at) {
    life *self = &the_life;
    memset(self, 0, sizeof(*self));
    check_note("source %d, mode %d at %llu", (int)source, (int)mode, (unsigned long long)at);
    fault_backend_make(&self->faults, source);
    self->faults.has_rubbish = at % 2 == 0;
    fault_backend_set(&self->faults, mode, at, 20, check_seed() + at);
    attempt(self, make_context);
    attempt(self, make_tag);
    play_stream(self);
    play_stream(self); // With the records of the one before.
    fault_backend_switch(&self->faults, FAULT_NONE);
    context_close(self->ctx);
    uint64_t calls = self->faults.calls;
    fault_backend_end(&self->faults);
    return calls;
}

static void refuse_in_turn(fault_source source) {
    uint64_t calls = live_once(source, FAULT_NONE, 0);
    CHECK_GT(calls, 5);
    uint64_t failures = 0;
    for (uint64_t at = 1; at <= calls; at++) {
        live_once(source, FAULT_NTH, at);
        failures += the_life.failures;
        live_once(source, FAULT_FROM, at);
        failures += the_life.failures != 0 ? 1 : 0;
    }
    CHECK_GE(failures, calls); // The heap may do without: it looks for idle memory first.
}

static void every_refusal_of_the_backend_is_survived(void) {
    refuse_in_turn(FAULT_PAGES);
}

static void every_refusal_of_a_backend_without_commit_is_survived(void) {
    refuse_in_turn(FAULT_BLOCKS);
}

static void refusals_by_chance_are_survived(void) {
    for (uint64_t at = 1; at <= check_scale(50); at++) {
        live_once(at % 2 == 0 ? FAULT_PAGES : FAULT_BLOCKS, FAULT_RANDOM, at);
    }
}

TEST_SUITE(stream_faults, TEST(every_refusal_of_the_backend_is_survived),
           TEST(every_refusal_of_a_backend_without_commit_is_survived),
           TEST(refusals_by_chance_are_survived));

// Whatever a misuse does to its frame or arena, it leaves the pointer here NULL when that is gone.
#include "misuse_stage.h"

#include <stdio.h>
#include <string.h>

#define MIB ((size_t)1 << 20)
#define BLOCK_BYTES 3000
#define BLOCK_BYTES_USED 3008

static fa_result wait_for_fence(void *user, uint64_t fence) {
    const stage *s = user;
    CHECK_GT(fence, 0);
    return s->wait;
}

void stage_open(stage *s, fa_strict strict, fa_report_fn report) {
    memset(s, 0, sizeof(*s));
    fault_backend_make(&s->faults, FAULT_PAGES);
    const fa_config config = {.frame_reserve = 4 * MIB,
                              .scratch_reserve = MIB,
                              .memory_limit = 8 * MIB,
                              .backend = &s->faults.backend,
                              .frame_wait = wait_for_fence,
                              .frame_wait_user = s,
                              .strict = strict};
    REQUIRE_EQ((int)fa_context_create(&config, &s->ctx), FA_OK);
    CHECK_EQ((int)fa_report_set(s->ctx, report, s), FA_OK);
    CHECK_EQ((int)fa_thread_attach(s->ctx, "main"), FA_OK);
    s->tag = fa_tag_register(s->ctx, "game");
    const fa_arena_desc desc = {.name = "level", .tag = s->tag, .byte_limit = 100000};
    REQUIRE_EQ((int)fa_arena_create(s->ctx, &desc, &s->arena), FA_OK);
    s->frame = fa_frame_begin(s->ctx);
    REQUIRE_NOT_NULL(s->frame);
    s->in_frame = fa_arena_alloc(s->frame, BLOCK_BYTES);
    s->in_arena = fa_arena_alloc(s->arena, BLOCK_BYTES);
    REQUIRE_NOT_NULL(s->in_frame);
    REQUIRE_NOT_NULL(s->in_arena);
    memset(s->in_frame, 11, BLOCK_BYTES);
    memset(s->in_arena, 22, BLOCK_BYTES);
    fa_last_error_clear();
}

void stage_close(stage *s) {
    fault_backend_set(&s->faults, FAULT_NONE, 0, 0, 0);
    s->wait = FA_OK;
    if (s->ctx != NULL) {
        fa_scratch_end(s->scratch);
        for (; s->pushed != 0; s->pushed--) {
            CHECK_EQ((int)fa_tag_pop(s->ctx), FA_OK);
        }
        if (s->frame != NULL) {
            fa_frame_end(s->frame);
        }
        fa_arena_destroy(s->arena);
        CHECK_EQ((int)fa_context_destroy(s->ctx), FA_OK);
    }
    fault_backend_end(&s->faults);
}

void stage_note(stage *s, fa_result result) {
    s->result = result;
    s->error = *fa_last_error();
    snprintf(s->text, sizeof(s->text), "%s", s->error.text);
}

void stage_note_null(stage *s, const void *ptr) {
    CHECK_NULL(ptr);
    stage_note(s, fa_last_error()->result);
}

static bool is_filled_with(const unsigned char *ptr, size_t size, unsigned char value) {
    return ptr[0] == value && memcmp(ptr, ptr + 1, size - 1) == 0;
}

void stage_check_sound(stage *s) {
    if (s->ctx == NULL) {
        return;
    }
    fault_backend_set(&s->faults, FAULT_NONE, 0, 0, 0);
    s->wait = FA_OK;
    if (s->frame != NULL) {
        CHECK_EQ(fa_frame_current(s->ctx), s->frame);
        CHECK(is_filled_with(s->in_frame, BLOCK_BYTES, 11));
        fa_frame_end(s->frame);
    }
    CHECK_NULL(fa_frame_current(s->ctx));
    s->frame = fa_frame_begin(s->ctx);
    REQUIRE_NOT_NULL(s->frame);
    s->in_frame = fa_arena_alloc(s->frame, BLOCK_BYTES);
    REQUIRE_NOT_NULL(s->in_frame);
    memset(s->in_frame, 33, BLOCK_BYTES);
    if (s->arena != NULL) {
        CHECK(is_filled_with(s->in_arena, BLOCK_BYTES, 22));
        CHECK_NOT_NULL(fa_arena_alloc(s->arena, 100));
        fa_arena_reset(s->arena);
        CHECK_EQ(fa_arena_used(s->arena), 0);
    }
    fa_scratch scratch = fa_scratch_begin(s->ctx, NULL, 0);
    REQUIRE_NOT_NULL(scratch.arena);
    CHECK_NOT_NULL(fa_arena_alloc(scratch.arena, 100));
    fa_scratch_end(scratch);
    CHECK(is_filled_with(s->in_frame, BLOCK_BYTES, 33));
    fa_stats stats;
    CHECK_EQ((int)fa_stats_get(s->ctx, &stats), FA_OK);
    CHECK_EQ(stats.frame_bytes, BLOCK_BYTES_USED);
    CHECK_EQ(stats.committed_bytes, s->faults.committed_bytes);
}

// Plans: what each block of a trace is for, in which part of the replay a frame is, and ranges of
// frames.
#include "harness/check.h"

#if defined(FA_HAVE_REPLAY)

#include "plan_text.h"

#include "replay/measure.h"
#include "replay/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- Steps and sections ----

static void check_step(const plan *p, uint32_t index, plan_kind kind, uint32_t slot,
                       uint32_t size) {
    check_note("step %u", (unsigned)index);
    CHECK_EQ(p->ops[index].kind, kind);
    CHECK_EQ(p->ops[index].slot, slot);
    CHECK_EQ(p->ops[index].size, size);
}

static void what_dies_in_its_frame_is_frame_memory(void) {
    plan p = {0};
    void *block = plan_of(HEAD "a 1 10 0 0 0\na 2 20 0 0 0\na 3 30 0 0 0\nf 1 0\nF\n"
                               "f 2 0\na 4 40 0 0 0\nf 4 0\nF\n",
                          everything, &p);
    REQUIRE_EQ(p.op_count, 7);
    REQUIRE_EQ(p.section_count, 4);
    check_step(&p, 0, PLAN_ALLOC_FRAME, 0, 10);
    check_step(&p, 1, PLAN_ALLOC_HEAP, 1, 20);
    check_step(&p, 2, PLAN_ALLOC_HEAP, 2, 30);
    check_step(&p, 3, PLAN_FREE_FRAME, 0, 0);
    check_step(&p, 4, PLAN_FREE_HEAP, 1, 0);
    check_step(&p, 5, PLAN_ALLOC_FRAME, 1, 40);
    check_step(&p, 6, PLAN_FREE_FRAME, 1, 0);
    CHECK_EQ(p.section_end[0], 0);
    CHECK_EQ(p.section_end[1], 4);
    CHECK_EQ(p.section_end[2], 7);
    CHECK_EQ(p.section_end[3], 7);
    CHECK_EQ(p.frame_objects, 2);
    CHECK_EQ(p.heap_objects, 2);
    CHECK_EQ(p.slot_count, 3);
    CHECK_EQ(p.peak_bytes, 70);
    CHECK_EQ(p.final_bytes, 30);
    CHECK_EQ(p.slot_bytes[1], 40);
    free(block);
}

// A block and what it is reallocated into are one object: the whole chain decides.
static void reallocations_share_one_intent(void) {
    plan p = {0};
    void *block = plan_of(HEAD "a 1 10 0 0 0\nr 2 1 20 0 0\nr 3 2 5 0 0\nf 3 0\n"
                               "r 4 0 7 0 0\nr 5 4 8 0 0\nF\n"
                               "r 6 5 9 0 0\nf 6 0\nF\n",
                          everything, &p);
    REQUIRE_EQ(p.op_count, 8);
    check_step(&p, 0, PLAN_ALLOC_FRAME, 0, 10);
    check_step(&p, 1, PLAN_RESIZE_FRAME, 0, 20);
    check_step(&p, 2, PLAN_RESIZE_FRAME, 0, 5);
    check_step(&p, 3, PLAN_FREE_FRAME, 0, 0);
    check_step(&p, 4, PLAN_ALLOC_HEAP, 0, 7);
    check_step(&p, 5, PLAN_RESIZE_HEAP, 0, 8);
    check_step(&p, 6, PLAN_RESIZE_HEAP, 0, 9);
    check_step(&p, 7, PLAN_FREE_HEAP, 0, 0);
    CHECK_EQ(p.frame_objects, 1);
    CHECK_EQ(p.heap_objects, 1);
    CHECK_EQ(p.peak_bytes, 20);
    CHECK_EQ(p.final_bytes, 0);
    free(block);
}

// ---- Pools and the heap ----

// Adds a line `count` times, with its block's number for %u.
static uint32_t add_lines(char *text, size_t size, const char *line, uint32_t first,
                          uint32_t count) {
    size_t used = strlen(text);
    for (uint32_t i = 0; i < count; i++) {
        // Every line is one of this file's.
        used += (size_t)snprintf(text + used, size - used, "%s %u ", line[0] == 'a' ? "a" : "f",
                                 (unsigned)(first + i));
        used += (size_t)snprintf(text + used, size - used, "%s\n", line + 2);
    }
    return first + count;
}

static void small_recurring_sizes_that_live_on_are_pooled(void) {
    enum { TEXT_BYTES = 16384 };
    static char text[TEXT_BYTES];
    snprintf(text, sizeof text, HEAD);
    uint32_t next = 1;
    next = add_lines(text, sizeof text, "a 17 0 0 0", next, OBJECT_POOLED_COUNT / 2);
    next = add_lines(text, sizeof text, "a 32 16 0 0", next, OBJECT_POOLED_COUNT / 2); // 32
    next = add_lines(text, sizeof text, "a 33 0 0 0", next, OBJECT_POOLED_COUNT - 1);  // too few
    uint32_t others = next;
    next = add_lines(text, sizeof text, "a 256 0 0 0", next, OBJECT_POOLED_COUNT); // 256
    next = add_lines(text, sizeof text, "a 257 0 0 0", next, OBJECT_POOLED_COUNT); // too large
    next = add_lines(text, sizeof text, "a 24 32 0 0", next, 2); // aligned: not in the pool of 32
    snprintf(text + strlen(text), sizeof text - strlen(text),
             "F\nr %u 1 20 0 0\nf %u 0\nf 2 0\nF\n", (unsigned)next, (unsigned)others);
    plan p = {0};
    void *block = plan_of(text, everything, &p);
    CHECK_EQ(p.pool_count, 1); // The first is resized later: one too few of 32.
    free(block);

    char *resize = strstr(text, "F\nr ");
    REQUIRE_NOT_NULL(resize);
    snprintf(resize, sizeof text - (size_t)(resize - text), "F\nf %u 0\nf 2 0\nF\n",
             (unsigned)others);
    block = plan_of(text, everything, &p);
    REQUIRE_EQ(p.pool_count, 2);
    CHECK_EQ(p.pool_bytes[0], 32);
    CHECK_EQ(p.pool_bytes[1], 256);
    CHECK_EQ(p.pooled_objects, 2 * OBJECT_POOLED_COUNT);
    CHECK_EQ(p.heap_objects, 2 * OBJECT_POOLED_COUNT - 1 + 2);
    check_step(&p, 0, PLAN_ALLOC_POOLED, 0, 17);
    CHECK_EQ(p.ops[0].pool, 0);
    check_step(&p, OBJECT_POOLED_COUNT, PLAN_ALLOC_HEAP, OBJECT_POOLED_COUNT, 33);
    check_step(&p, others - 1, PLAN_ALLOC_POOLED, others - 1, 256);
    CHECK_EQ(p.ops[others - 1].pool, 1);
    check_step(&p, p.op_count - 3, PLAN_ALLOC_HEAP_ALIGNED, p.op_count - 3, 24);
    check_step(&p, p.op_count - 2, PLAN_FREE_POOLED, others - 1, 0);
    CHECK_EQ(p.ops[p.op_count - 2].pool, 1);
    check_step(&p, p.op_count - 1, PLAN_FREE_POOLED, 1, 0);
    CHECK_EQ(p.ops[p.op_count - 1].pool, 0);
    free(block);
}

// 1000 bytes take 1008 of a frame's memory.
static void a_frame_s_memory_ends_and_the_rest_is_freed_one_by_one(void) {
    enum { TEXT_BYTES = 65536, FIT = OBJECT_FRAME_BYTES / 1008, COUNT = FIT + 5 };
    static char text[TEXT_BYTES];
    snprintf(text, sizeof text, HEAD);
    for (uint32_t frame = 0; frame < 2; frame++) {
        add_lines(text, sizeof text, "a 1000 0 0 0", 1 + frame * COUNT, COUNT);
        add_lines(text, sizeof text, "f 0", 1 + frame * COUNT, COUNT);
        strcat(text, "F\n");
    }
    plan p = {0};
    void *block = plan_of(text, everything, &p);
    CHECK_EQ(p.frame_objects, 2 * FIT);
    CHECK_EQ(p.heap_objects, 2 * 5);
    CHECK_LE(p.peak_frame_bytes, OBJECT_FRAME_BYTES);
    CHECK_EQ(p.ops[FIT - 1].kind, PLAN_ALLOC_FRAME);
    CHECK_EQ(p.ops[FIT].kind, PLAN_ALLOC_HEAP);
    CHECK_EQ(p.ops[COUNT].kind, PLAN_FREE_FRAME);
    CHECK_EQ(p.ops[2 * COUNT - 1].kind, PLAN_FREE_HEAP);
    CHECK_EQ(p.ops[2 * COUNT].kind, PLAN_ALLOC_FRAME);
    free(block);
}

static void zero_bytes_become_one_and_alignments_are_kept(void) {
    plan p = {0};
    void *block =
        plan_of(HEAD "a 1 0 0 0 0\na 2 8 64 0 0\na 3 8 16 0 0\nf 2 0\nF\n", everything, &p);
    REQUIRE_EQ(p.op_count, 4);
    check_step(&p, 0, PLAN_ALLOC_HEAP, 0, 1);
    check_step(&p, 1, PLAN_ALLOC_FRAME_ALIGNED, 1, 8);
    check_step(&p, 2, PLAN_ALLOC_HEAP, 2, 8);
    CHECK_EQ(p.ops[1].align_log2, 6);
    CHECK_EQ(p.slot_align[1], 6);
    CHECK_EQ(p.slot_align[2], 4);
    CHECK_EQ(p.peak_frame_bytes, 16 + 64);
    free(block);
}

// What follows the last frame's end is a section of its own, with frame memory of its own.
static void the_rest_after_the_last_frame_is_a_section(void) {
    plan p = {0};
    void *block = plan_of(HEAD "a 1 8 0 0 0\nF\nf 1 0\na 2 8 0 0 0\nf 2 0\n", everything, &p);
    REQUIRE_EQ(p.op_count, 4);
    CHECK_EQ(p.section_count, 3);
    CHECK_EQ(p.section_end[1], 1);
    CHECK_EQ(p.section_end[2], 4);
    check_step(&p, 1, PLAN_FREE_HEAP, 0, 0);
    check_step(&p, 2, PLAN_ALLOC_FRAME, 0, 8);
    CHECK_EQ(plan_part_of(&p, 2), PART_TAIL);
    CHECK_EQ(plan_part_ops(&p, PART_TAIL), 3);
    free(block);
}

// Frames 0 to 3: block 1 goes in frame 0, 2 grows and goes in frame 2, 3 stays, 4 is made in frame
// 1.
static const char four_frames[] = HEAD "a 1 10 0 0 0\na 2 20 0 0 0\na 3 30 128 0 0\nf 1 0\nF\n"
                                       "r 5 2 50 0 0\na 4 40 0 0 0\nF\n"
                                       "f 5 0\na 6 60 0 0 0\nf 6 0\nF\n"
                                       "f 4 0\nF\nf 3 0\n";

static void a_range_begins_with_what_is_live(void) {
    plan p = {0};
    void *block = plan_of(four_frames, (frame_range){.first = 2, .last = 2}, &p);
    REQUIRE_EQ(p.op_count, 6);
    REQUIRE_EQ(p.section_count, 3);
    check_step(&p, 0, PLAN_ALLOC_HEAP, 0, 50);
    check_step(&p, 1, PLAN_ALLOC_HEAP_ALIGNED, 1, 30);
    check_step(&p, 2, PLAN_ALLOC_HEAP, 2, 40);
    check_step(&p, 3, PLAN_FREE_HEAP, 0, 0);
    check_step(&p, 4, PLAN_ALLOC_FRAME, 0, 60);
    check_step(&p, 5, PLAN_FREE_FRAME, 0, 0);
    CHECK_EQ(p.ids[p.ops[0].block], 5);
    CHECK_EQ(p.ops[1].align_log2, 7);
    CHECK_EQ(p.section_end[0], 3);
    CHECK_EQ(p.section_end[1], 6);
    CHECK_EQ(p.section_end[2], 6);
    CHECK_EQ(p.final_bytes, 70);
    CHECK_EQ(plan_part_of(&p, 0), PART_LOAD);
    CHECK_EQ(plan_part_of(&p, 1), PART_WARMUP);
    free(block);
}

static void the_last_frames_of_a_range_include_the_rest(void) {
    plan p = {0};
    void *block = plan_of(four_frames, (frame_range){.first = 3, .last = 3}, &p);
    REQUIRE_EQ(p.op_count, 4);
    CHECK_EQ(p.section_end[0], 2);
    CHECK_EQ(p.section_end[1], 3);
    CHECK_EQ(p.section_end[2], 4);
    CHECK_EQ(p.final_bytes, 0);
    CHECK_EQ(plan_frame_of(&p, 2), 3);
    free(block);
}

static void a_range_that_is_not_there_is_refused(void) {
    plan p = {0};
    char error[200] = "";
    CHECK_NULL(
        make_plan(four_frames, (frame_range){.first = 2, .last = 4}, &p, error, sizeof error));
    CHECK_STR_HAS(error, "the trace has no frames 2-4: it has frames 0-3");
    CHECK_NULL(
        make_plan(four_frames, (frame_range){.first = 2, .last = 1}, &p, error, sizeof error));
}

static void the_second_half_of_the_frames_is_steady(void) {
    static const struct {
        unsigned frames;
        unsigned steady;
    } cases[] = {{1, 1}, {2, 1}, {3, 2}, {8, 4}, {19, 10}, {200, 100}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024] = HEAD "a 1 8 0 0 0\n";
        for (unsigned frame = 0; frame < cases[i].frames; frame++) {
            strcat(text, "F\n");
        }
        plan p = {0};
        void *block = plan_of(text, everything, &p);
        check_note("%u frames", cases[i].frames);
        CHECK_EQ(p.steady_frame, cases[i].steady);
        CHECK_EQ(plan_part_of(&p, 1), PART_LOAD);
        if (cases[i].frames > cases[i].steady) {
            CHECK_EQ(plan_part_of(&p, cases[i].steady + 1), PART_STEADY);
            CHECK_NE(plan_part_of(&p, cases[i].steady), PART_STEADY);
        }
        CHECK_EQ(plan_part_of(&p, cases[i].frames + 1), PART_TAIL);
        CHECK_EQ(measure_has_frames(&p, PART_STEADY), cases[i].frames > 1);
        CHECK_EQ(measure_has_frames(&p, PART_WARMUP), cases[i].frames > 2);
        free(block);
    }
}

// ---- Scopes ----

typedef struct scope_case {
    const char *name;
    const char *letters; // A letter makes a block of 4096 bytes, the same letter again frees it.
    const char *scoped;  // Those that get a scope.
} scope_case;

static const scope_case scope_cases[] = {
    {"one", "aa", "a"},
    {"nested", "abba", "ab"},
    {"one after the other", "aabbcc", "abc"},
    {"crossed: one of them goes", "abab", "a"},
    {"crossed twice: the cheaper side goes", "abcabc", "b"},
    {"crossed inside", "abcbca", "ab"},
    {"crossed below", "abbcac", "ab"},
};

static plan_kind kind_of(const plan *p, char letter) {
    for (uint32_t i = 0; i < p->op_count; i++) {
        if (p->ids[p->ops[i].block] == (uint64_t)(unsigned char)letter && p->ops[i].size > 0) {
            return (plan_kind)p->ops[i].kind;
        }
    }
    return PLAN_FREE_HEAP;
}

// Whether each scope that ends is the newest one, as the library demands.
static void check_stack_order(const plan *p) {
    uint32_t open[64];
    size_t depth = 0;
    for (uint32_t i = 0; i < p->op_count; i++) {
        if (p->ops[i].kind == PLAN_ALLOC_SCOPED) {
            open[depth++] = p->ops[i].slot;
            CHECK_LE(depth, p->scope_depth);
        } else if (p->ops[i].kind == PLAN_FREE_SCOPED) {
            REQUIRE_GT(depth, 0);
            CHECK_EQ(open[--depth], p->ops[i].slot);
        }
    }
    CHECK_EQ(depth, 0);
}

static void large_blocks_freed_in_stack_order_are_scoped(void) {
    for (size_t i = 0; i < sizeof scope_cases / sizeof scope_cases[0]; i++) {
        const scope_case *what = &scope_cases[i];
        char text[1024] = HEAD;
        for (const char *letter = what->letters; *letter != '\0'; letter++) {
            bool is_new = memchr(what->letters, *letter, (size_t)(letter - what->letters)) == NULL;
            snprintf(text + strlen(text), sizeof text - strlen(text),
                     is_new ? "a %d 4096 0 0 0\n" : "f %d 0\n", *letter);
        }
        strcat(text, "F\n");
        plan p = {0};
        void *block = plan_of(text, everything, &p);
        check_note("%s", what->name);
        for (const char *letter = what->letters; *letter != '\0'; letter++) {
            bool is_scoped = strchr(what->scoped, *letter) != NULL;
            CHECK_EQ(kind_of(&p, *letter), is_scoped ? PLAN_ALLOC_SCOPED : PLAN_ALLOC_FRAME);
        }
        CHECK_EQ(p.scoped_objects, strlen(what->scoped));
        check_stack_order(&p);
        free(block);
    }
}

// Block 1 is freed last and nests, behind twenty that had to give way to a larger one above them.
static void those_that_gave_way_do_not_hide_a_scope(void) {
    char text[2048] = HEAD "a 1 4096 0 0 0\n";
    for (int i = 2; i < 22; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "a %d 4096 0 0 0\n", i);
    }
    strcat(text, "a 22 65000 0 0 0\n");
    for (int i = 21; i > 1; i--) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "f %d 0\n", i);
    }
    strcat(text, "f 22 0\nf 1 0\nF\n");
    plan p = {0};
    void *block = plan_of(text, everything, &p);
    CHECK_EQ(p.scoped_objects, 2);
    CHECK_EQ(kind_of(&p, 1), PLAN_ALLOC_SCOPED);
    CHECK_EQ(kind_of(&p, 22), PLAN_ALLOC_SCOPED);
    free(block);
}

static void small_resized_and_lasting_blocks_get_no_scope(void) {
    plan p = {0};
    void *block = plan_of(HEAD "a 1 4095 0 0 0\nf 1 0\na 2 9000 0 0 0\nr 3 2 9001 0 0\nf 3 0\n"
                               "a 4 5000 0 0 0\na 5 5000 64 0 0\nf 5 0\nF\nf 4 0\n",
                          everything, &p);
    CHECK_EQ(p.ops[0].kind, PLAN_ALLOC_FRAME);
    CHECK_EQ(p.ops[2].kind, PLAN_ALLOC_FRAME);
    CHECK_EQ(p.ops[5].kind, PLAN_ALLOC_HEAP);
    CHECK_EQ(p.ops[6].kind, PLAN_ALLOC_SCOPED_ALIGNED);
    CHECK_EQ(p.ops[7].kind, PLAN_FREE_SCOPED);
    CHECK_EQ(p.scoped_objects, 1);
    CHECK_EQ(p.scope_depth, 1);
    free(block);
}

static void the_largest_temporaries_are_the_heap_s(void) {
    plan p = {0};
    void *block =
        plan_of(HEAD "a 1 65536 0 0 0\nf 1 0\na 2 65537 0 0 0\nf 2 0\nF\n", everything, &p);
    CHECK_EQ(p.ops[0].kind, PLAN_ALLOC_SCOPED);
    CHECK_EQ(p.ops[2].kind, PLAN_ALLOC_HEAP);
    CHECK_EQ(p.ops[3].kind, PLAN_FREE_HEAP);
    free(block);
}

// Blocks freed in any order, with every allocator: the scopes nest, and no byte is lost.
static void random_scopes_nest(void) {
    enum { BLOCKS = 20, TEXT_BYTES = 4096 };
    check_rng rng = check_rng_make(check_seed());
    size_t steps = check_scale(300);
    size_t scoped = 0;
    for (size_t step = 0; step < steps; step++) {
        static char text[TEXT_BYTES];
        unsigned live[BLOCKS];
        size_t count = 0;
        size_t used = (size_t)snprintf(text, sizeof text, HEAD);
        unsigned made = 0;
        while (made < BLOCKS || count > 0) {
            if (made < BLOCKS && (count == 0 || check_rng_chance(&rng, 50))) {
                live[count++] = ++made;
                used += (size_t)snprintf(text + used, sizeof text - used, "a %u %u 0 0 0\n", made,
                                         (unsigned)check_rng_between(&rng, 3000, 20000));
                continue;
            }
            // The newest more often than others.
            size_t at = check_rng_chance(&rng, 70) ? count - 1 : check_rng_below(&rng, count);
            used += (size_t)snprintf(text + used, sizeof text - used, "f %u 0\n", live[at]);
            memmove(&live[at], &live[at + 1], (count - at - 1) * sizeof live[0]);
            count--;
        }
        snprintf(text + used, sizeof text - used, "F\n");
        plan p = {0};
        char error[300] = "";
        void *block = plan_of(text, everything, &p);
        check_note("step %lu", (unsigned long)step);
        check_stack_order(&p);
        scoped += p.scoped_objects;
        if (!CHECK(verify_allocator(&allocator_framealloc, &p, NULL, error, sizeof error))) {
            FAIL("%s", error);
        }
        free(block);
    }
    CHECK_GT(scoped, steps);
}

TEST_SUITE(plan, TEST(what_dies_in_its_frame_is_frame_memory), TEST(reallocations_share_one_intent),
           TEST(small_recurring_sizes_that_live_on_are_pooled),
           TEST(a_frame_s_memory_ends_and_the_rest_is_freed_one_by_one),
           TEST(zero_bytes_become_one_and_alignments_are_kept),
           TEST(the_rest_after_the_last_frame_is_a_section), TEST(a_range_begins_with_what_is_live),
           TEST(the_last_frames_of_a_range_include_the_rest),
           TEST(a_range_that_is_not_there_is_refused),
           TEST(the_second_half_of_the_frames_is_steady),
           TEST(large_blocks_freed_in_stack_order_are_scoped),
           TEST(those_that_gave_way_do_not_hide_a_scope),
           TEST(small_resized_and_lasting_blocks_get_no_scope),
           TEST(the_largest_temporaries_are_the_heap_s), TEST(random_scopes_nest));

#else

static void needs_the_program(void) {
    SKIP("the program framealloc is not built here");
}

TEST_SUITE(plan, TEST(needs_the_program));

#endif

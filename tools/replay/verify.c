// The slow replay. Every block is filled whole with a pattern made from its number, and checked
// whole before it ends.
//
// Invariant: the interval set holds exactly the live slots, and slots[] describes them.

#include "verify.h"

#include "interval_set.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_ALIGN = 16 };

typedef struct checker {
    const allocator *a;
    const plan *p;
    replay_session session;
    replay_slot *slots;
    const plan_op **made; // By slot: the step that made its object; NULL: it is free.
    interval_set live;
    const plan_op *op; // The step being checked.
    char *error;
    size_t error_size;
} checker;

__attribute__((format(printf, 2, 3))) static bool fail(checker *c, const char *format, ...) {
    int used = 0;
    if (c->op != NULL) {
        used = snprintf(c->error, c->error_size,
                        "frame %u: ", (unsigned)plan_frame_of(c->p, (uint32_t)(c->op - c->p->ops)));
    }
    va_list args;
    va_start(args, format);
    if (used >= 0 && (size_t)used < c->error_size) {
        vsnprintf(c->error + used, c->error_size - (size_t)used, format, args);
    }
    va_end(args);
    return false;
}

static unsigned long long id_of(const checker *c, uint32_t block) {
    return (unsigned long long)c->p->ids[block];
}

// Each eight bytes differ from their neighbours and from those of other blocks.
static uint64_t pattern_word(uint32_t block, size_t index) {
    uint64_t mixed = ((uint64_t)block << 32 | (uint32_t)index) * UINT64_C(0x9E3779B97F4A7C15);
    return mixed ^ mixed >> 29;
}

static void fill(unsigned char *ptr, size_t size, uint32_t block) {
    for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
        uint64_t word = pattern_word(block, at / sizeof word);
        size_t count = size - at < sizeof word ? size - at : sizeof word;
        memcpy(ptr + at, &word, count);
    }
}

// The offset of the first byte that is not as filled, or `size`.
static size_t first_difference(const unsigned char *ptr, size_t size, uint32_t block) {
    for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
        uint64_t word = pattern_word(block, at / sizeof word);
        size_t count = size - at < sizeof word ? size - at : sizeof word;
        if (memcmp(ptr + at, &word, count) != 0) {
            const unsigned char *expected = (const unsigned char *)&word;
            while (ptr[at] == *expected) {
                at++;
                expected++;
            }
            return at;
        }
    }
    return size;
}

static bool check_content(checker *c, const replay_slot *slot, const unsigned char *ptr,
                          size_t size, const char *when) {
    size_t at = first_difference(ptr, size, slot->block);
    if (at < size) {
        return fail(c, "block %llu of %lu bytes was overwritten at byte %lu: seen %s",
                    id_of(c, slot->block), (unsigned long)slot->size, (unsigned long)at, when);
    }
    return true;
}

// Takes a block the allocator returned into its slot.
static bool take_block(checker *c, void *memory, size_t align) {
    const plan_op *op = c->op;
    uintptr_t address = (uintptr_t)memory;
    if (memory == NULL) {
        return fail(c, "%s returned NULL for block %llu of %lu bytes", c->a->name,
                    id_of(c, op->block), (unsigned long)op->size);
    }
    if ((address & (align - 1)) != 0) {
        return fail(c, "block %llu of %lu bytes is not at a multiple of %lu", id_of(c, op->block),
                    (unsigned long)op->size, (unsigned long)align);
    }
    uint32_t other = interval_set_add(&c->live, op->slot, address, op->size);
    if (other != INTERVAL_NONE) {
        return fail(c, "block %llu of %lu bytes overlaps the live block %llu of %lu bytes",
                    id_of(c, op->block), (unsigned long)op->size, id_of(c, c->slots[other].block),
                    (unsigned long)c->slots[other].size);
    }
    c->slots[op->slot] = (replay_slot){memory, op->size, op->block};
    return true;
}

// The alignment that a block of `size` bytes has without asking.
static size_t default_align(const checker *c, uint32_t size) {
    size_t align = DEFAULT_ALIGN;
    while (c->a->aligns_less && align > size) {
        align /= 2;
    }
    return align;
}

static bool check_alloc(checker *c, void *frame) {
    size_t align = (size_t)1 << c->op->align_log2;
    size_t least = default_align(c, c->op->size);
    align = align > least ? align : least;
    void *memory = c->a->alloc(&c->session, frame, c->op);
    if (!take_block(c, memory, align)) {
        return false;
    }
    c->made[c->op->slot] = c->op;
    fill(memory, c->op->size, c->op->block);
    return true;
}

static bool check_resize(checker *c, void *frame) {
    replay_slot old = c->slots[c->op->slot];
    if (!check_content(c, &old, old.ptr, old.size, "when it was resized")) {
        return false;
    }
    void *memory = c->a->resize(&c->session, frame, c->op, old.ptr, old.size);
    interval_set_remove(&c->live, c->op->slot);
    if (!take_block(c, memory, default_align(c, c->op->size))) {
        return false;
    }
    size_t kept = old.size < c->op->size ? old.size : c->op->size;
    if (!check_content(c, &old, memory, kept, "after it was resized")) {
        return false;
    }
    fill(memory, c->op->size, c->op->block);
    return true;
}

static bool check_free(checker *c, void *frame) {
    replay_slot *slot = &c->slots[c->op->slot];
    if (!check_content(c, slot, slot->ptr, slot->size, "when it was freed")) {
        return false;
    }
    interval_set_remove(&c->live, c->op->slot);
    c->made[c->op->slot] = NULL;
    c->a->free(&c->session, frame, c->op, slot->ptr);
    return true;
}

static bool check_op(checker *c, void *frame) {
    switch ((plan_kind)c->op->kind) {
    case PLAN_ALLOC_FRAME:
    case PLAN_ALLOC_FRAME_ALIGNED:
    case PLAN_ALLOC_SCOPED:
    case PLAN_ALLOC_SCOPED_ALIGNED:
    case PLAN_ALLOC_POOLED:
    case PLAN_ALLOC_HEAP:
    case PLAN_ALLOC_HEAP_ALIGNED:
        return check_alloc(c, frame);
    case PLAN_RESIZE_FRAME:
    case PLAN_RESIZE_HEAP:
        return check_resize(c, frame);
    case PLAN_FREE_FRAME:
    case PLAN_FREE_SCOPED:
    case PLAN_FREE_POOLED:
    case PLAN_FREE_HEAP:
        return check_free(c, frame);
    }
    return fail(c, "the plan holds an unknown step");
}

static bool check_section(checker *c, uint32_t section) {
    const plan *p = c->p;
    const plan_op *op = p->ops + (section == 0 ? 0 : p->section_end[section - 1]);
    const plan_op *end = p->ops + p->section_end[section];
    void *frame = c->a->frame_begin(&c->session);
    if (frame == NULL) {
        return fail(c, "%s could not begin a frame", c->a->name);
    }
    for (; op < end; op++) {
        c->op = op;
        if (!check_op(c, frame)) {
            return false;
        }
    }
    c->a->frame_end(&c->session, frame);
    return true;
}

// After the last section only blocks that live on are left: checks and frees them.
static bool check_rest(checker *c) {
    c->op = NULL;
    for (uint32_t i = 0; i < c->p->slot_count; i++) {
        const replay_slot *slot = &c->slots[i];
        const plan_op *made = c->made[i];
        if (made == NULL) {
            continue;
        }
        if (!check_content(c, slot, slot->ptr, slot->size, "at the end of the replay")) {
            return false;
        }
        bool is_pooled = made->kind == PLAN_ALLOC_POOLED;
        plan_op op = {.slot = i,
                      .kind = (uint8_t)(is_pooled ? PLAN_FREE_POOLED : PLAN_FREE_HEAP),
                      .pool = made->pool};
        c->a->free(&c->session, NULL, &op, slot->ptr);
    }
    return c->a->close(&c->session, c->error, c->error_size);
}

static bool check_all(checker *c, uint64_t *done) {
    for (uint32_t section = 0; section < c->p->section_count; section++) {
        if (!check_section(c, section)) {
            return false;
        }
        if (done != NULL) {
            *(volatile uint64_t *)done = section + 1;
        }
    }
    return check_rest(c);
}

bool verify_allocator(const allocator *a, const plan *p, uint64_t *done, char *error,
                      size_t error_size) {
    checker c = {.a = a, .p = p, .session = {.plan = p}, .error = error, .error_size = error_size};
    c.slots = calloc((size_t)p->slot_count + 1, sizeof *c.slots);
    c.made = calloc((size_t)p->slot_count + 1, sizeof *c.made);
    bool ok = c.slots != NULL && c.made != NULL && interval_set_init(&c.live, p->slot_count);
    if (!ok) {
        fail(&c, "there is not enough memory");
    }
    ok = ok && (a->load == NULL || a->load(error, error_size));
    ok = ok && a->open(&c.session, error, error_size) && check_all(&c, done);
    interval_set_clear(&c.live);
    free(c.slots);
    free(c.made);
    return ok;
}

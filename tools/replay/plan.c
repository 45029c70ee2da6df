// From events to steps:
//
//   objects.h   what each block is for
//   live        with a range that does not begin at frame 0: what is live at its beginning, as it
//               is then
//   steps       slots are handed out, the last one given up first, so that the slot table stays
//               small and warm
//
// The finished plan is one block of memory: a header with the counts, then the arrays, each at a
// multiple of 8.

#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_ALIGN_LOG2 = 4, ARENA_ROUNDING = 16 };

typedef struct plan_header {
    plan counts; // Its pointers are not used.
    uint64_t ops_at;
    uint64_t sections_at;
    uint64_t slot_bytes_at;
    uint64_t slot_align_at;
    uint64_t ids_at;
} plan_header;

typedef struct builder {
    const trace *t;
    object_list list;
    plan_op *ops;
    uint32_t op_count;
    uint32_t *section_end;
    uint64_t *slot_bytes;
    uint8_t *slot_align;
    uint32_t *free_slots;
    uint32_t free_count;
    plan p;
    uint64_t live_bytes;
    uint64_t frame_bytes;
    uint32_t scope_depth;
} builder;

static uint32_t slot_acquire(builder *b) {
    if (b->free_count > 0) {
        return b->free_slots[--b->free_count];
    }
    b->slot_align[b->p.slot_count] = DEFAULT_ALIGN_LOG2;
    return b->p.slot_count++;
}

static void note_live(builder *b, uint32_t slot, uint32_t size, uint8_t align_log2) {
    b->live_bytes += size;
    if (b->live_bytes > b->p.peak_bytes) {
        b->p.peak_bytes = b->live_bytes;
    }
    if (size > b->slot_bytes[slot]) {
        b->slot_bytes[slot] = size;
    }
    if (align_log2 > b->slot_align[slot]) {
        b->slot_align[slot] = align_log2;
    }
}

static void note_frame(builder *b, uint32_t size, uint8_t align_log2) {
    uint64_t align = UINT64_C(1) << align_log2;
    b->frame_bytes += ((uint64_t)size + ARENA_ROUNDING - 1) & ~(uint64_t)(ARENA_ROUNDING - 1);
    b->frame_bytes += align > ARENA_ROUNDING ? align : 0;
    if (b->frame_bytes > b->p.peak_frame_bytes) {
        b->p.peak_frame_bytes = b->frame_bytes;
    }
}

static void add_op(builder *b, plan_kind kind, const trace_object *o, const trace_event *event) {
    bool is_free = event->kind == TRACE_FREE;
    b->ops[b->op_count++] = (plan_op){.slot = o->slot,
                                      .size = is_free ? 0 : o->size,
                                      .block = event->block,
                                      .kind = (uint8_t)kind,
                                      .align_log2 = event->align_log2,
                                      .pool = o->pool};
}

// A block of 0 bytes becomes one of 1, so that there is something to write to and all allocators
// agree on it.
static uint32_t replayed_size(const trace_event *event) {
    return event->size == 0 ? 1 : event->size;
}

static void count_object(builder *b, const trace_object *o, const trace_event *event) {
    switch ((intent)o->intent) {
    case INTENT_FRAME:
        note_frame(b, o->size, event->align_log2);
        b->p.frame_objects++;
        break;
    case INTENT_SCOPED:
        b->scope_depth++;
        b->p.scope_depth = b->scope_depth > b->p.scope_depth ? b->scope_depth : b->p.scope_depth;
        b->p.scoped_objects++;
        break;
    case INTENT_POOLED:
        b->p.pooled_objects++;
        break;
    case INTENT_HEAP:
        b->p.heap_objects++;
        break;
    }
}

static void plan_alloc(builder *b, const trace_event *event) {
    static const plan_kind plain[] = {PLAN_ALLOC_FRAME, PLAN_ALLOC_SCOPED, PLAN_ALLOC_POOLED,
                                      PLAN_ALLOC_HEAP};
    // Nothing with an alignment of its own is pooled.
    static const plan_kind aligned[] = {PLAN_ALLOC_FRAME_ALIGNED, PLAN_ALLOC_SCOPED_ALIGNED,
                                        PLAN_ALLOC_HEAP_ALIGNED, PLAN_ALLOC_HEAP_ALIGNED};
    trace_object *o = object_of(&b->list, event);
    o->slot = slot_acquire(b);
    o->size = replayed_size(event);
    note_live(b, o->slot, o->size, event->align_log2);
    count_object(b, o, event);
    bool is_aligned = event->align_log2 > DEFAULT_ALIGN_LOG2;
    add_op(b, is_aligned ? aligned[o->intent] : plain[o->intent], o, event);
}

static void plan_resize(builder *b, const trace_event *event) {
    trace_object *o = object_of(&b->list, event);
    bool is_frame = o->intent == INTENT_FRAME;
    b->live_bytes -= o->size;
    o->size = replayed_size(event);
    note_live(b, o->slot, o->size, 0);
    if (is_frame) {
        note_frame(b, o->size, 0);
    }
    add_op(b, is_frame ? PLAN_RESIZE_FRAME : PLAN_RESIZE_HEAP, o, event);
}

static void plan_free(builder *b, const trace_event *event) {
    static const plan_kind kinds[] = {PLAN_FREE_FRAME, PLAN_FREE_SCOPED, PLAN_FREE_POOLED,
                                      PLAN_FREE_HEAP};
    trace_object *o = object_of(&b->list, event);
    b->live_bytes -= o->size;
    b->free_slots[b->free_count++] = o->slot;
    b->scope_depth -= o->intent == INTENT_SCOPED ? 1 : 0;
    add_op(b, kinds[o->intent], o, event);
}

static void plan_events(builder *b, size_t begin, size_t end) {
    b->frame_bytes = 0;
    for (size_t i = begin; i < end; i++) {
        const trace_event *event = &b->t->events[i];
        if (event->kind == TRACE_ALLOC) {
            plan_alloc(b, event);
        } else if (event->kind == TRACE_RESIZE) {
            plan_resize(b, event);
        } else {
            plan_free(b, event);
        }
    }
}

// Allocates what is live when the range begins, each object once, as what it was last before the
// range.
static void plan_live(builder *b, size_t begin) {
    for (uint32_t i = 0; i < b->list.count; i++) {
        b->list.objects[i].size = 0;
    }
    // Backwards, so that the last event of an object is met first; its size then marks it as met.
    for (size_t i = begin; i > 0; i--) {
        const trace_event *event = &b->t->events[i - 1];
        trace_object *o = object_of(&b->list, event);
        if (event->kind != TRACE_FREE && o->size == 0 && o->gone_frame >= b->p.first_frame) {
            o->size = replayed_size(event);
            o->align_log2 = event->align_log2;
            o->slot = event->block; // Which block it is, until its slot is known.
        }
    }
    for (uint32_t i = 0; i < b->list.count; i++) {
        const trace_object *o = &b->list.objects[i];
        if (o->size != 0) {
            plan_alloc(b, &(trace_event){.kind = TRACE_ALLOC,
                                         .block = o->slot,
                                         .size = o->size,
                                         .align_log2 = o->align_log2});
        }
    }
}

static void plan_sections(builder *b) {
    const trace *t = b->t;
    size_t begin = b->p.first_frame == 0 ? 0 : t->frame_end[b->p.first_frame - 1];
    plan_live(b, begin);
    b->section_end[b->p.section_count++] = b->op_count;
    for (uint32_t frame = b->p.first_frame; frame <= b->p.last_frame; frame++) {
        plan_events(b, begin, t->frame_end[frame]);
        begin = t->frame_end[frame];
        b->section_end[b->p.section_count++] = b->op_count;
    }
    if (b->p.last_frame + 1 == t->frame_count) {
        plan_events(b, begin, t->event_count);
    }
    b->section_end[b->p.section_count++] = b->op_count;
    b->p.op_count = b->op_count;
    b->p.final_bytes = b->live_bytes;
}

static bool builder_init(builder *b, const trace *t) {
    b->t = t;
    size_t blocks = t->block_count + 1; // Never 0.
    // Every step comes from an event, or from an object live at the beginning whose own event is
    // not replayed.
    size_t ops = t->event_count + 1;
    b->ops = malloc(ops * sizeof *b->ops);
    b->section_end = malloc((t->frame_count + 2) * sizeof *b->section_end);
    b->slot_bytes = calloc(blocks, sizeof *b->slot_bytes);
    b->slot_align = malloc(blocks);
    b->free_slots = malloc(blocks * sizeof *b->free_slots);
    return objects_find(t, &b->list) && b->ops != NULL && b->section_end != NULL &&
           b->slot_bytes != NULL && b->slot_align != NULL && b->free_slots != NULL;
}

static void builder_free(builder *b) {
    objects_clear(&b->list);
    free(b->ops);
    free(b->section_end);
    free(b->slot_bytes);
    free(b->slot_align);
    free(b->free_slots);
}

static uint64_t reserve_array(uint64_t *total, size_t count, size_t element_size) {
    uint64_t at = *total;
    *total += (count * element_size + 7) & ~(size_t)7;
    return at;
}

static void *plan_pack(const builder *b, size_t *size) {
    plan_header header = {.counts = b->p};
    uint64_t total = sizeof header;
    header.ops_at = reserve_array(&total, b->p.op_count, sizeof *b->ops);
    header.sections_at = reserve_array(&total, b->p.section_count, sizeof *b->section_end);
    header.slot_bytes_at = reserve_array(&total, b->p.slot_count, sizeof *b->slot_bytes);
    header.slot_align_at = reserve_array(&total, b->p.slot_count, sizeof *b->slot_align);
    header.ids_at = reserve_array(&total, b->p.block_count, sizeof *b->t->ids);
    char *block = calloc(1, (size_t)total);
    if (block == NULL) {
        return NULL;
    }
    memcpy(block, &header, sizeof header);
    memcpy(block + header.ops_at, b->ops, b->p.op_count * sizeof *b->ops);
    memcpy(block + header.sections_at, b->section_end, b->p.section_count * sizeof *b->section_end);
    memcpy(block + header.slot_bytes_at, b->slot_bytes, b->p.slot_count * sizeof *b->slot_bytes);
    memcpy(block + header.slot_align_at, b->slot_align, b->p.slot_count * sizeof *b->slot_align);
    memcpy(block + header.ids_at, b->t->ids, b->p.block_count * sizeof *b->t->ids);
    *size = (size_t)total;
    return block;
}

plan plan_view(const void *block) {
    const char *base = block;
    plan_header header;
    memcpy(&header, block, sizeof header);
    plan p = header.counts;
    p.ops = (const plan_op *)(const void *)(base + header.ops_at);
    p.section_end = (const uint32_t *)(const void *)(base + header.sections_at);
    p.slot_bytes = (const uint64_t *)(const void *)(base + header.slot_bytes_at);
    p.slot_align = (const uint8_t *)(base + header.slot_align_at);
    p.ids = (const uint64_t *)(const void *)(base + header.ids_at);
    return p;
}

static void plan_set_range(plan *p, const trace *t, frame_range range) {
    p->frames_recorded = (uint32_t)t->frame_count;
    p->block_count = (uint32_t)t->block_count;
    p->sites = t->site_count;
    p->threads = t->thread_count;
    p->first_frame = range.all ? 0 : range.first;
    p->last_frame = range.all ? p->frames_recorded - 1 : range.last;
    uint32_t frames = p->last_frame - p->first_frame + 1;
    p->steady_frame = p->first_frame + frames / 2 + frames % 2;
}

void *plan_build(const trace *t, frame_range range, size_t *size, char *error, size_t error_size) {
    if (!range.all && (range.first > range.last || range.last >= t->frame_count)) {
        snprintf(error, error_size, "the trace has no frames %lu-%lu: it has frames 0-%lu",
                 (unsigned long)range.first, (unsigned long)range.last,
                 (unsigned long)(t->frame_count - 1));
        return NULL;
    }
    builder b = {0};
    void *block = NULL;
    if (builder_init(&b, t)) {
        plan_set_range(&b.p, t, range);
        b.p.pool_count = b.list.pool_count;
        memcpy(b.p.pool_bytes, b.list.pool_bytes, sizeof b.p.pool_bytes);
        plan_sections(&b);
        block = plan_pack(&b, size);
    }
    builder_free(&b);
    if (block == NULL) {
        snprintf(error, error_size, "there is not enough memory for this trace");
    }
    return block;
}

plan_part plan_part_of(const plan *p, uint32_t section) {
    uint32_t frame = p->first_frame + section - 1;
    if (section == 0 || (frame == 0 && section == 1)) {
        return PART_LOAD;
    }
    if (section + 1 == p->section_count) {
        return PART_TAIL;
    }
    return frame < p->steady_frame ? PART_WARMUP : PART_STEADY;
}

uint32_t plan_part_ops(const plan *p, plan_part part) {
    uint32_t count = 0;
    uint32_t begin = 0;
    for (uint32_t section = 0; section < p->section_count; section++) {
        if (plan_part_of(p, section) == part) {
            count += p->section_end[section] - begin;
        }
        begin = p->section_end[section];
    }
    return count;
}

uint32_t plan_frame_of(const plan *p, uint32_t op) {
    uint32_t section = 0;
    while (section + 1 < p->section_count && p->section_end[section] <= op) {
        section++;
    }
    return section == 0 ? p->first_frame : p->first_frame + section - 1;
}

// Allocators bound to a tag: the tag is current for just the one allocation.
#include "../core/meter.h"

#include <framealloc/arena.h>

fa_tagged fa_tagged_make(fa_context *ctx, fa_tag tag) {
    return (fa_tagged){ctx, tag};
}

void *fa_tagged_alloc(fa_tagged tagged, size_t size) {
    return fa_tagged_alloc_aligned(tagged, size, FA_ALIGNMENT);
}

void *fa_tagged_alloc_aligned(fa_tagged tagged, size_t size, size_t align) {
    fa__thread *thread = fa__thread_get(tagged.context);
    if (thread == NULL || fa_tag_push(tagged.context, tagged.tag) != FA_OK) {
        return NULL;
    }
    void *ptr = NULL;
    if (fa__thread_has_frame(thread)) {
        ptr = fa_arena_alloc_aligned(&thread->frame->arena, size, align);
    } else {
        fa__refusal_count(thread, thread->frame->run->account);
        fa__fail(&(fa__failure){.context = tagged.context,
                                .code = FA__CODE_NO_FRAME,
                                .result = FA_ERR_NO_FRAME,
                                .bytes = size,
                                .tag = tagged.tag,
                                .where = "frame"});
    }
    fa_tag_pop(tagged.context);
    return ptr;
}

// What outlives frames and is not freed by the code that allocated it: the layer's place in a
// context.
#pragma once

#include "../core/core.h"
#include <framealloc/stream.h>

typedef struct fa__lifetime {
    // Guarded by context->lock.
    fa_stream *streams;      // Those that live.
    fa_stream *free_streams; // Records of those that were destroyed, for reuse.
} fa__lifetime;

// The layer's place, made on first use. NULL when there is no memory for it. Takes the context's
// lock.
fa__lifetime *fa__lifetime_get(fa_context *ctx, fa__denial *denial);

// stream.c: reports and frees the streams that are left; returns how many there were.
size_t fa__streams_end(fa_context *ctx, fa__lifetime *lifetime);

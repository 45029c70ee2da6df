// The tier of the lifetime layer: ends what is left when its context ends. It is the first tier to
// go, because what it holds is made of heap blocks and arenas.
#include "lifetime.h"

static size_t end_all(fa_context *ctx) {
    fa__lifetime *lifetime = ctx->lifetime;
    return lifetime == NULL ? 0 : fa__streams_end(ctx, lifetime);
}

static const fa__tier lifetime_tier = {.context_destroy = end_all};

fa__lifetime *fa__lifetime_get(fa_context *ctx, fa__denial *denial) {
    fa__os_mutex_lock(&ctx->lock);
    if (ctx->lifetime == NULL) {
        ctx->lifetime = fa__meta_alloc(ctx->pages, sizeof(fa__lifetime), denial);
        if (ctx->lifetime != NULL) {
            fa__tier_register(ctx, FA__TIER_LIFETIME, &lifetime_tier);
        }
    }
    fa__lifetime *lifetime = ctx->lifetime;
    fa__os_mutex_unlock(&ctx->lock);
    return lifetime;
}

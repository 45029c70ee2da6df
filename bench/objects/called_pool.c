// The calls themselves, in an object file of their own so that no compiler inlines them.
#include "called_pool.h"

void *called_pool_alloc(fa_pool *pool) {
    return fa_pool_alloc(pool);
}

void called_pool_free(fa_pool *pool, void *object) {
    fa_pool_free(pool, object);
}

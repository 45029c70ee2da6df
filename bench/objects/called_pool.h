// A pool through function calls, as from another language.
#pragma once

#include <framealloc/pool.h>

void *called_pool_alloc(fa_pool *pool);
void called_pool_free(fa_pool *pool, void *object);

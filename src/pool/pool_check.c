// What FA_CHECK_BLOCKS adds to a pool: a canary behind every object, and patterns in free memory.
//
// Objects with a constructor keep their state while they are free, so only others are filled.
#include "pools.h"

#include <string.h>

static bool is_filled_with(const unsigned char *memory, size_t size, unsigned char byte) {
    for (size_t i = 0; i < size; i++) {
        if (memory[i] != byte) {
            return false;
        }
    }
    return true;
}

static FA_COLD void report(fa__pool *pool, const char *object) {
    const void *site = NULL;
    memcpy(&site, object + pool->site_at, sizeof site);
    fa__fail(&(fa__failure){.context = pool->context,
                            .code = FA__CODE_CORRUPTION,
                            .result = FA_ERR_INVALID,
                            .bytes = pool->desc.size,
                            .tag = pool->desc.tag,
                            .ptr = object,
                            .site = site,
                            .where = pool->name});
}

static bool is_filled(const fa__pool *pool) {
    return pool->desc.construct == NULL;
}

void fa__pool_check_prepare(fa__pool *pool, char *slot) {
    memset(slot + pool->canary_at, FA__CANARY_BYTE, FA__CANARY_BYTES);
    if (is_filled(pool)) {
        memset(slot, FA__FREED_BYTE, pool->desc.size);
    }
}

// Whoever wrote to it after it was freed, its last owner is named.
void fa__pool_check_taken(fa__pool *pool, char *object, const void *site) {
    if (is_filled(pool)) {
        bool is_intact =
            is_filled_with((const unsigned char *)object, pool->desc.size, FA__FREED_BYTE);
        memset(object, FA__FRESH_BYTE, pool->desc.size);
        if (!is_intact) {
            report(pool, object);
        }
    }
    memcpy(object + pool->site_at, &site, sizeof site);
}

void fa__pool_check_given(fa__pool *pool, char *object) {
    unsigned char *canary = (unsigned char *)object + pool->canary_at;
    if (!is_filled_with(canary, FA__CANARY_BYTES, FA__CANARY_BYTE)) {
        report(pool, object);
        memset(canary, FA__CANARY_BYTE, FA__CANARY_BYTES);
    }
    if (is_filled(pool)) {
        memset(object, FA__FREED_BYTE, pool->desc.size);
    }
}

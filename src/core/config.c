// The defaults and the limits of a configuration: the only place that knows them.
#include "core.h"

#include <stdlib.h>
#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define MEMORY_LIMIT_MIN (256 * KIB)
#define COUNT_MAX 65536u

#if SIZE_MAX > 0xFFFFFFFFu
#define FRAME_RESERVE (1024 * MIB)
#define SCRATCH_RESERVE (256 * MIB)
#define RESERVE_MAX (1024 * 1024 * MIB)
#else
#define FRAME_RESERVE (64 * MIB)
#define SCRATCH_RESERVE (16 * MIB)
#define RESERVE_MAX (1024 * MIB)
#endif

fa_config fa_config_default(void) {
    return (fa_config){.frame_reserve = FRAME_RESERVE,
                       .frame_initial = 64 * KIB,
                       .frames_in_flight = 1,
                       .history_frames = 300,
                       .strict = FA_STRICT_DEFAULT,
                       .scratch_reserve = SCRATCH_RESERVE,
                       .chunk_size = 64 * KIB,
                       .decay_frames = 64};
}

fa_config fa_config_minimal(void) {
    fa_config config = fa_config_default();
    config.frame_reserve = 16 * MIB;
    config.scratch_reserve = 16 * MIB;
    config.frame_initial = 4 * KIB;
    config.history_frames = 16;
    config.decay_frames = 16;
    config.chunk_size = 4 * KIB;
    return config;
}

fa_config fa_config_high_performance(void) {
    fa_config config = fa_config_default();
    config.frame_initial = 4 * MIB;
    config.decay_frames = 600;
    config.prefault = true;
    config.huge_pages = true;
    return config;
}

fa_config fa_config_debug(void) {
    fa_config config = fa_config_default();
    config.checks = FA__CHECKS_ALL;
    config.strict = FA_STRICT_ERROR;
    config.frame_times = true;
    return config;
}

static bool is_power_of_two(size_t value) {
    return value != 0 && (value & (value - 1)) == 0;
}

static bool is_backend(const fa_backend *backend) {
    return backend->reserve != NULL && backend->release != NULL &&
           is_power_of_two(backend->page_size) && backend->page_size >= 4 * KIB &&
           backend->page_size <= 64 * KIB;
}

// The name of the first field that is not allowed; NULL when all are. Defaults are filled in
// already.
static const char *bad_field(const fa_config *config) {
    if (config->frame_reserve > RESERVE_MAX) {
        return "frame_reserve";
    }
    if (config->scratch_reserve > RESERVE_MAX) {
        return "scratch_reserve";
    }
    if (config->frame_initial > config->frame_reserve) {
        return "frame_initial";
    }
    if (config->frames_in_flight > 8) {
        return "frames_in_flight";
    }
    if (config->memory_limit != 0 && config->memory_limit < MEMORY_LIMIT_MIN) {
        return "memory_limit";
    }
    if (config->history_frames > COUNT_MAX) {
        return "history_frames";
    }
    if (config->decay_frames > COUNT_MAX) {
        return "decay_frames";
    }
    if (!is_power_of_two(config->chunk_size) || config->chunk_size < FA__CHUNK_MIN ||
        config->chunk_size > FA__CHUNK_MAX) {
        return "chunk_size";
    }
    if ((config->checks & ~FA__CHECKS_ALL) != 0) {
        return "checks";
    }
    if (config->strict < FA_STRICT_DEFAULT || config->strict > FA_STRICT_ERROR) {
        return "strict";
    }
    return is_backend(config->backend) ? NULL : "backend";
}

#define DEFAULT(config, field, value)                                                              \
    ((config)->field = (config)->field == 0 ? (value) : (config)->field)

// Sizes may be given to the byte; in force are whole steps.
static size_t round_to(size_t size, size_t step) {
    return (size + (step - 1)) & ~(step - 1);
}

fa_result fa__config_resolve(const fa_config *config, fa_config *out, const char **field) {
    fa_config defaults = fa_config_default();
    *out = config == NULL ? defaults : *config;
    DEFAULT(out, frame_reserve, defaults.frame_reserve);
    DEFAULT(out, scratch_reserve, defaults.scratch_reserve);
    if (out->frame_initial == 0) {
        size_t initial = defaults.frame_initial;
        out->frame_initial = initial < out->frame_reserve ? initial : out->frame_reserve;
    }
    DEFAULT(out, frames_in_flight, defaults.frames_in_flight);
    DEFAULT(out, history_frames, defaults.history_frames);
    DEFAULT(out, decay_frames, defaults.decay_frames);
    DEFAULT(out, chunk_size, defaults.chunk_size);
    if (out->backend == NULL) {
        out->backend = fa_backend_os();
    }
    *field = bad_field(out);
    if (*field != NULL) {
        return FA_ERR_INVALID;
    }
    size_t page = out->backend->page_size;
    out->frame_reserve = round_to(out->frame_reserve, FA__GRANULE);
    out->scratch_reserve = round_to(out->scratch_reserve, FA__GRANULE);
    out->frame_initial = round_to(out->frame_initial, page);
    if (out->chunk_size < page) {
        out->chunk_size = page;
    }
    const char *strict = getenv("FRAMEALLOC_STRICT");
    if (strict != NULL && strcmp(strict, "error") == 0) {
        out->strict = FA_STRICT_ERROR;
    } else if (strict != NULL && strcmp(strict, "warning") == 0) {
        out->strict = FA_STRICT_WARNING;
    } else if (strict != NULL && strcmp(strict, "off") == 0) {
        out->strict = FA_STRICT_OFF;
    } else if (out->strict == FA_STRICT_DEFAULT) {
        out->strict = FA_STRICT_OFF;
    }
    return FA_OK;
}

// A trace's bytes. Compressed input passes through one fixed buffer:
//
//   file or memory --> input[128 KiB] --> zstd (if the first bytes say so) --> the caller's buffer
//
// Invariants: input[input_used .. input_size) has not been looked at yet; frame_open is true
// exactly while zstd is inside a frame, so an end of input then means that the file was cut off.

#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

enum { INPUT_BYTES = 128 * 1024, WINDOW_LOG_MAX = 27, MAGIC_BYTES = 4 };

struct source {
    int fd; // -1 when reading from memory.
    const unsigned char *memory;
    size_t memory_size;
    uint64_t consumed;
    uint64_t total;
    ZSTD_DStream *zstd; // NULL for plain text.
    bool detected;
    bool frame_open;
    size_t input_used;
    size_t input_size;
    char error[160];
    unsigned char input[INPUT_BYTES];
};

static source *source_new(void) {
    source *src = malloc(sizeof *src);
    if (src == NULL) {
        return NULL;
    }
    memset(src, 0, offsetof(source, input));
    src->fd = -1;
    return src;
}

source *source_open_file(const char *path, char *error, size_t error_size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        snprintf(error, error_size, "cannot be opened: %s", strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    if (S_ISDIR(info.st_mode)) {
        snprintf(error, error_size, "is a directory");
        close(fd);
        return NULL;
    }
    source *src = source_new();
    if (src == NULL) {
        snprintf(error, error_size, "cannot be opened: out of memory");
        close(fd);
        return NULL;
    }
    src->fd = fd;
    src->total = S_ISREG(info.st_mode) && info.st_size > 0 ? (uint64_t)info.st_size : 0;
    return src;
}

source *source_open_memory(const void *data, size_t size) {
    source *src = source_new();
    if (src != NULL) {
        src->memory = data;
        src->memory_size = size;
        src->total = size;
    }
    return src;
}

void source_close(source *src) {
    if (src == NULL) {
        return;
    }
    ZSTD_freeDStream(src->zstd);
    if (src->fd >= 0) {
        close(src->fd);
    }
    free(src);
}

const char *source_error(const source *src) {
    return src->error;
}

uint64_t source_consumed(const source *src) {
    return src->consumed;
}

uint64_t source_size(const source *src) {
    return src->total;
}

// Reads from the file or memory; 0 at the end, -1 on failure.
static ssize_t raw_read(source *src, unsigned char *buffer, size_t capacity) {
    if (src->fd < 0) {
        size_t left = src->memory_size - (size_t)src->consumed;
        size_t count = left < capacity ? left : capacity;
        if (count > 0) {
            memcpy(buffer, src->memory + src->consumed, count);
        }
        src->consumed += count;
        return (ssize_t)count;
    }
    ssize_t count = 0;
    do {
        count = read(src->fd, buffer, capacity);
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
        snprintf(src->error, sizeof src->error, "cannot be read: %s", strerror(errno));
        return -1;
    }
    src->consumed += (uint64_t)count;
    return count;
}

static bool is_zstd(const unsigned char *bytes) {
    uint32_t magic = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                     (uint32_t)bytes[3] << 24;
    return magic == ZSTD_MAGICNUMBER ||
           (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

// Looks at the first bytes and sets up zstd when they ask for it. They stay in the input buffer.
static bool source_detect(source *src) {
    while (src->input_size < MAGIC_BYTES) {
        ssize_t count = raw_read(src, src->input + src->input_size, INPUT_BYTES - src->input_size);
        if (count < 0) {
            return false;
        }
        if (count == 0) {
            break;
        }
        src->input_size += (size_t)count;
    }
    src->detected = true;
    if (src->input_size < MAGIC_BYTES || !is_zstd(src->input)) {
        return true;
    }
    src->zstd = ZSTD_createDStream();
    if (src->zstd == NULL ||
        ZSTD_isError(ZSTD_DCtx_setParameter(src->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))) {
        snprintf(src->error, sizeof src->error, "cannot be decompressed: out of memory");
        return false;
    }
    return true;
}

// Fills the empty input buffer; 0 at the end, -1 on failure.
static ssize_t source_refill(source *src) {
    ssize_t count = raw_read(src, src->input, INPUT_BYTES);
    src->input_used = 0;
    src->input_size = count > 0 ? (size_t)count : 0;
    return count;
}

static source_status read_plain(source *src, char *buffer, size_t capacity, size_t *count) {
    if (src->input_used == src->input_size) {
        ssize_t got = source_refill(src);
        if (got <= 0) {
            return got == 0 ? SOURCE_END : SOURCE_FAILED;
        }
    }
    size_t left = src->input_size - src->input_used;
    *count = left < capacity ? left : capacity;
    memcpy(buffer, src->input + src->input_used, *count);
    src->input_used += *count;
    return SOURCE_DATA;
}

static source_status read_compressed(source *src, char *buffer, size_t capacity, size_t *count) {
    ZSTD_outBuffer out = {buffer, capacity, 0};
    bool at_end = false;
    while (out.pos == 0) {
        if (src->input_used == src->input_size && !at_end) {
            ssize_t got = source_refill(src);
            if (got < 0) {
                return SOURCE_FAILED;
            }
            at_end = got == 0;
        }
        if (at_end && !src->frame_open) {
            return SOURCE_END;
        }
        ZSTD_inBuffer in = {src->input, src->input_size, src->input_used};
        size_t hint = ZSTD_decompressStream(src->zstd, &out, &in);
        src->input_used = in.pos;
        if (ZSTD_isError(hint)) {
            snprintf(src->error, sizeof src->error, "the compressed data is damaged: %s",
                     ZSTD_getErrorName(hint));
            return SOURCE_FAILED;
        }
        src->frame_open = hint != 0;
        if (at_end && out.pos == 0 && src->frame_open) {
            snprintf(src->error, sizeof src->error, "the compressed data ends too early");
            return SOURCE_FAILED;
        }
    }
    *count = out.pos;
    return SOURCE_DATA;
}

source_status source_read(source *src, char *buffer, size_t capacity, size_t *count) {
    *count = 0;
    if (!src->detected && !source_detect(src)) {
        return SOURCE_FAILED;
    }
    if (src->zstd != NULL) {
        return read_compressed(src, buffer, capacity, count);
    }
    return read_plain(src, buffer, capacity, count);
}

/// @file source.h
/// The bytes of a trace, whether they lie in a file or in memory, compressed by zstd or plain.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct source source;

/// What source_read() says.
typedef enum source_status {
    SOURCE_DATA,  ///< Bytes were delivered.
    SOURCE_END,   ///< There are no more.
    SOURCE_FAILED ///< See source_error().
} source_status;

/// Opens a file. NULL on failure, with the reason in `error`.
source *source_open_file(const char *path, char *error, size_t error_size);

/// Reads from `size` bytes at `data`, which must outlive the source. NULL when there is no memory.
source *source_open_memory(const void *data, size_t size);

/// Delivers up to `capacity` bytes of text into `buffer` and their number in `*count`: above 0 with
/// SOURCE_DATA. Uses bounded memory however far the data expands: a zstd window above 128 MiB is
/// refused.
source_status source_read(source *src, char *buffer, size_t capacity, size_t *count);

/// Why source_read() failed. Valid until the source is closed.
const char *source_error(const source *src);

/// Bytes taken from the file or memory so far, before decompression: what a progress bar shows.
uint64_t source_consumed(const source *src);

/// Size of the file or memory in bytes; 0 when it is not known, as for a pipe.
uint64_t source_size(const source *src);

/// NULL is allowed.
void source_close(source *src);

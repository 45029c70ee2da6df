/// @file trace.h
/// Reads a recorded allocation trace and checks all of it. The format is described in
/// data/README.md.
#pragma once

#include "source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// "No block": the old block of an event that has none.
#define TRACE_NO_BLOCK UINT32_MAX

/// What happened.
typedef enum trace_kind {
    TRACE_ALLOC,  ///< A block came to be; reallocating nothing counts as this.
    TRACE_RESIZE, ///< A block became another one of a different size.
    TRACE_FREE    ///< A block ended.
} trace_kind;

/// One event, 16 bytes.
typedef struct trace_event {
    uint32_t block;     ///< Dense index of the block: the n-th one the trace mentions.
    uint32_t size;      ///< Bytes asked for; 0 for TRACE_FREE.
    uint32_t old_block; ///< TRACE_RESIZE: the block that ends.
    uint16_t thread;    ///< Who did it.
    uint8_t kind;       ///< A trace_kind.
    uint8_t align_log2; ///< Alignment asked for, as a power of two; 0: the default.
} trace_event;

/// A whole trace. Zero-initialised it is empty.
typedef struct trace {
    trace_event *events;   ///< In recorded order.
    size_t event_count;    ///< How many.
    size_t event_capacity; ///< Private.
    uint32_t *frame_end;   ///< Index of the event after the last one of each frame.
    size_t frame_count;    ///< How many frames; events after the last one's end belong to none.
    size_t frame_capacity; ///< Private.
    uint64_t *ids;         ///< The number the file gives each block, by dense index.
    size_t block_count;    ///< How many blocks.
    size_t block_capacity; ///< Private.
    uint32_t site_count;   ///< Call sites named.
    uint32_t thread_count; ///< Threads that occur.
    uint64_t line_count;   ///< Lines in the file.
    uint64_t text_bytes;   ///< Bytes of text, after decompression.
} trace;

/// What a trace may hold at most: a hostile file must not exhaust the machine. A field that is 0
/// has its default.
typedef struct trace_limits {
    uint64_t text_bytes;  ///< Bytes after decompression. Default and most: 4 GiB - 1.
    uint64_t events;      ///< Events and frame ends. Default and most: 33,554,432.
    uint64_t block_bytes; ///< Bytes of one block. Default and most: 4 GiB - 1.
    uint64_t live_bytes;  ///< Bytes of all live blocks together. Default: no limit.
} trace_limits;

/// Why a trace was refused.
typedef struct trace_error {
    uint64_t line;  ///< Where, from 1; 0 when it concerns the file as a whole.
    char text[224]; ///< What is wrong, as one English sentence without a full stop.
} trace_error;

/// Called now and then while a trace is read.
typedef void (*trace_progress_fn)(const source *src, void *user);

/// Reads all of `src` into `*out`. False when the trace is damaged or breaks a limit: `*out` is
/// empty then and `*error` says where and why. `limits` and `progress` may be NULL. Memory is
/// bounded by the limits.
bool trace_read(source *src, const trace_limits *limits, trace_progress_fn progress, void *user,
                trace *out, trace_error *error);

/// Frees everything and leaves an empty trace.
void trace_clear(trace *t);

/// @file memory_usage.h
/// How much memory this process holds.
#pragma once

#include <stdbool.h>
#include <stdint.h>

/// Resident memory of the calling process. The kernel keeps these figures per processor and adds
/// them up now and then, so they may be off by some hundred kilobytes.
typedef struct memory_usage {
    uint64_t resident_bytes; ///< Now.
    uint64_t peak_bytes;     ///< The most since the process was made.
} memory_usage;

/// Fills `out` without allocating. False, and zeros, where the system does not say (only Linux
/// does).
bool memory_usage_get(memory_usage *out);

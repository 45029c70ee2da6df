/// @file clock.h
/// The monotonic clock.
#pragma once

#include <stdint.h>

/// Nanoseconds since some moment in the past. On Linux this is read without entering the kernel.
uint64_t clock_ns(void);

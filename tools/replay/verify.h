/// @file verify.h
/// Replays a plan slowly and checks everything an allocator promises.
#pragma once

#include "allocator.h"

/// Replays `p` with `a`, in this process, and checks that
///   - no live block overlaps another, found by address;
///   - every block begins at a multiple of the alignment asked for, or of 16 (but see
///     allocator.aligns_less);
///   - every byte of a block is as it was written until the block ends, and survives a resize;
///   - the allocator closes cleanly after everything was freed.
/// False with a sentence in `error` at the first failure; memory the allocator still held is then
/// not returned. `*done` is set to the sections finished as it goes; NULL is allowed.
bool verify_allocator(const allocator *a, const plan *p, uint64_t *done, char *error,
                      size_t error_size);

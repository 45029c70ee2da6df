/// @file interval_set.h
/// The address ranges of live blocks, to find two that overlap. One range for each slot number.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// "No slot."
#define INTERVAL_NONE UINT32_MAX

/// A set of ranges that do not overlap. Zero-initialised it is unusable: see interval_set_init().
typedef struct interval_set {
    struct interval_node *nodes; ///< Private: one per slot.
    uint32_t root;               ///< Private.
    size_t count;                ///< Ranges in it.
} interval_set;

/// Makes an empty set for slots 0 to slot_count - 1. False without memory.
bool interval_set_init(interval_set *set, uint32_t slot_count);

/// Adds the range of `size` bytes, at least 1, at `begin` as `slot`, which must have none. Returns
/// INTERVAL_NONE, or, with the set unchanged, a slot whose range overlaps. O(log count).
uint32_t interval_set_add(interval_set *set, uint32_t slot, uintptr_t begin, size_t size);

/// Removes the range of `slot`, which must have one. O(log count).
void interval_set_remove(interval_set *set, uint32_t slot);

/// Frees everything.
void interval_set_clear(interval_set *set);

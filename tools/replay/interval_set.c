// A treap: a search tree by address that is also a heap by a priority made from the slot number,
// which keeps it shallow without rebalancing. The node of a slot lies at the slot's place, so
// nothing is allocated after the start.
//
//   all of left < node < all of right, by address      priority of node >= priority of its children

#include "interval_set.h"

#include <stdlib.h>

typedef struct interval_node {
    uintptr_t begin;
    uintptr_t last; // The last byte: its end could be 0.
    uint32_t left;
    uint32_t right;
} interval_node;

static uint32_t priority_of(uint32_t slot) {
    uint32_t mixed = (slot ^ slot >> 16) * UINT32_C(0x7FEB352D);
    mixed = (mixed ^ mixed >> 15) * UINT32_C(0x846CA68B);
    return mixed ^ mixed >> 16;
}

bool interval_set_init(interval_set *set, uint32_t slot_count) {
    *set = (interval_set){.root = INTERVAL_NONE};
    set->nodes = calloc((size_t)slot_count + 1, sizeof *set->nodes);
    return set->nodes != NULL;
}

void interval_set_clear(interval_set *set) {
    free(set->nodes);
    *set = (interval_set){.root = INTERVAL_NONE};
}

// Because the ranges in the set do not overlap, one that does with a new range is met on the way
// down to its place.
static uint32_t find_overlap(const interval_set *set, uintptr_t begin, uintptr_t last) {
    uint32_t at = set->root;
    while (at != INTERVAL_NONE) {
        const interval_node *node = &set->nodes[at];
        if (last < node->begin) {
            at = node->left;
        } else if (begin > node->last) {
            at = node->right;
        } else {
            return at;
        }
    }
    return INTERVAL_NONE;
}

// Cuts the tree `at` into what lies below `begin` and what lies above.
static void split(interval_set *set, uint32_t at, uintptr_t begin, uint32_t *below,
                  uint32_t *above) {
    while (at != INTERVAL_NONE) {
        interval_node *node = &set->nodes[at];
        if (node->begin < begin) {
            *below = at;
            below = &node->right;
            at = node->right;
        } else {
            *above = at;
            above = &node->left;
            at = node->left;
        }
    }
    *below = INTERVAL_NONE;
    *above = INTERVAL_NONE;
}

uint32_t interval_set_add(interval_set *set, uint32_t slot, uintptr_t begin, size_t size) {
    uintptr_t last = begin + (size - 1);
    uint32_t overlapping = find_overlap(set, begin, last);
    if (overlapping != INTERVAL_NONE) {
        return overlapping;
    }
    uint32_t *link = &set->root;
    while (*link != INTERVAL_NONE && priority_of(*link) >= priority_of(slot)) {
        interval_node *node = &set->nodes[*link];
        link = node->begin < begin ? &node->right : &node->left;
    }
    interval_node *added = &set->nodes[slot];
    added->begin = begin;
    added->last = last;
    split(set, *link, begin, &added->left, &added->right);
    *link = slot;
    set->count++;
    return INTERVAL_NONE;
}

void interval_set_remove(interval_set *set, uint32_t slot) {
    uint32_t *link = &set->root;
    const interval_node *removed = &set->nodes[slot];
    while (*link != slot) {
        interval_node *node = &set->nodes[*link];
        link = node->begin < removed->begin ? &node->right : &node->left;
    }
    uint32_t left = removed->left;
    uint32_t right = removed->right;
    while (left != INTERVAL_NONE && right != INTERVAL_NONE) {
        if (priority_of(left) >= priority_of(right)) {
            *link = left;
            link = &set->nodes[left].right;
            left = *link;
        } else {
            *link = right;
            link = &set->nodes[right].left;
            right = *link;
        }
    }
    *link = left != INTERVAL_NONE ? left : right;
    set->count--;
}

// The order of eviction: a pairing heap through the records, the first to go at its root.
//
//   root -- child -- sibling -- sibling        back: the sibling before, or the parent
//              child -- sibling
//
// Adding melds two trees, which is one compare; taking out melds the children in pairs, O(log n)
// amortised. No asset goes before its parent.
#include "assets.h"

static bool goes_before(const fa__asset *a, const fa__asset *b) {
    if (a->priority != b->priority) {
        return a->priority < b->priority;
    }
    if (a->listed_frame != b->listed_frame) {
        return a->listed_frame < b->listed_frame;
    }
    return a->serial < b->serial;
}

// Two trees become one. Either may be NULL.
static fa__asset *meld(fa__asset *a, fa__asset *b) {
    if (a == NULL || b == NULL) {
        return a == NULL ? b : a;
    }
    fa__asset *top = goes_before(b, a) ? b : a;
    fa__asset *below = top == a ? b : a;
    below->back = top;
    below->sibling = top->child;
    if (top->child != NULL) {
        top->child->back = below;
    }
    top->child = below;
    return top;
}

// Siblings become one tree: neighbours in pairs, then the pairs from the last to the first.
static fa__asset *meld_siblings(fa__asset *first) {
    fa__asset *pairs = NULL; // Linked by sibling, the last first.
    while (first != NULL) {
        fa__asset *a = first;
        fa__asset *b = a->sibling;
        first = b == NULL ? NULL : b->sibling;
        a->sibling = NULL;
        if (b != NULL) {
            b->sibling = NULL;
        }
        fa__asset *pair = meld(a, b);
        pair->sibling = pairs;
        pairs = pair;
    }
    fa__asset *tree = NULL;
    while (pairs != NULL) {
        fa__asset *pair = pairs;
        pairs = pair->sibling;
        pair->sibling = NULL;
        tree = meld(tree, pair);
    }
    if (tree != NULL) {
        tree->back = NULL;
    }
    return tree;
}

void fa__queue_add(fa_stream *stream, fa__asset *asset) {
    asset->listed_frame = fa__load(&asset->last_frame);
    asset->child = NULL;
    asset->sibling = NULL;
    asset->back = NULL;
    asset->is_queued = true;
    stream->queue = meld(stream->queue, asset);
    stream->queued[asset->priority] += fa__load(&asset->size);
}

void fa__queue_remove(fa_stream *stream, fa__asset *asset) {
    fa__asset *below = meld_siblings(asset->child);
    if (asset->back == NULL) {
        stream->queue = below;
    } else {
        if (asset->back->child == asset) {
            asset->back->child = asset->sibling;
        } else {
            asset->back->sibling = asset->sibling;
        }
        if (asset->sibling != NULL) {
            asset->sibling->back = asset->back;
        }
        stream->queue = meld(stream->queue, below);
    }
    asset->is_queued = false;
    stream->queued[asset->priority] -= fa__load(&asset->size);
}

// Marks a pinned asset as parked; false when it is not pinned.
static bool park(fa__asset *asset) {
    uint64_t word = fa__load(&asset->word);
    do {
        if ((word & FA__WORD_PINS) == 0) {
            return false;
        }
    } while (!fa__swap(&asset->word, &word, word | FA__WORD_PARKED));
    return true;
}

fa__asset *fa__queue_first(fa_stream *stream) {
    for (fa__asset *asset = stream->queue; asset != NULL; asset = stream->queue) {
        if (park(asset)) {
            fa__queue_remove(stream, asset);
        } else if (fa__load(&asset->last_frame) != asset->listed_frame) {
            fa__queue_remove(stream, asset);
            fa__queue_add(stream, asset);
        } else {
            return asset;
        }
    }
    return NULL;
}

void fa__queue_unpark(fa_stream *stream, fa__asset *asset, fa_asset handle) {
    uint64_t word = fa__load(&asset->word);
    do {
        bool is_same = fa__word_generation(word) == handle.generation;
        if (!is_same || (word & FA__WORD_PARKED) == 0 || (word & FA__WORD_PINS) != 0) {
            return; // Somebody else was first, or will be last.
        }
    } while (!fa__swap(&asset->word, &word, word & ~FA__WORD_PARKED));
    fa__queue_add(stream, asset);
}

// Lists of requests -------------------------------------------------------------------------------

void fa__list_add(fa__asset_list *list, fa__asset *asset) {
    asset->list = list;
    asset->next = NULL;
    asset->prev = list->last;
    if (list->last != NULL) {
        list->last->next = asset;
    } else {
        list->first = asset;
    }
    list->last = asset;
    list->bytes += fa__load(&asset->size);
}

void fa__list_remove(fa__asset *asset) {
    fa__asset_list *list = asset->list;
    if (asset->prev != NULL) {
        asset->prev->next = asset->next;
    } else {
        list->first = asset->next;
    }
    if (asset->next != NULL) {
        asset->next->prev = asset->prev;
    } else {
        list->last = asset->prev;
    }
    list->bytes -= fa__load(&asset->size);
    asset->list = NULL;
    asset->next = NULL;
    asset->prev = NULL;
}

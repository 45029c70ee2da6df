// The heap of a context.
//
//   size     1 .. 65536   a class     slots of slabs (pool/slab.h), handed out from a cache per
//                                     thread and class
//            .. 32 MiB    a run       whole units of the context's space (pool/space.h)
//            beyond       a reservation of its own: grows in place, moves without copying
//
// Beside every slot its slab keeps a word: the tag that the block in it is charged to, or
// FA__WORD_FREE. So a free knows whom to uncharge, and a second free of the same block is seen.
//
//   free   pointer -> unit number -> fa__heap_unit -> slot number -> word -> account
//                                          |
//                                          +-> class -> this thread's cache
//
// With FA_CHECK_BLOCKS or FA_CHECK_SITES the heap is careful: no caches and no units, so that every
// call takes the slow path; words are 64-bit and hold the call site above the tag.
#pragma once

#include "../core/objects.h"
#include "../pool/slab.h"
#include <framealloc/heap.h>

#define FA__SMALL_MAX ((size_t)64 << 10) // The largest class.
#define FA__RUN_MAX ((size_t)32 << 20)   // Larger blocks have a reservation of their own.
#define FA__LARGE_STEP ((size_t)4 << 10) // What large sizes are rounded to.
#define FA__STEP_CLASSES 80u             // 16, 32 ... 128, then eight per doubling.
#define FA__ALIGNED_CLASSES 10u          // 128, 256 ... 65536, each a multiple of its size.
#define FA__CLASSES (FA__STEP_CLASSES + FA__ALIGNED_CLASSES)
#define FA__CLASS_LARGE FA__CLASSES // Not a class.
#define FA__LINE_ALIGN ((size_t)64) // Up to here, classes in steps can be aligned.

#define FA__GROWN_CLASS ((size_t)1 << 20) // Bytes of slots that a cache may grow to hold,
#define FA__GROWN_ALL ((size_t)4 << 20)   // and all caches of a thread.

#define FA__MISSES_MAX 4u // Blocks of another tag before a cache is charged to that one.
#define FA__BY_SIZE 65u   // Sizes to 1024 find their class by a table.

#define FA__WORD_FREE 0xFFFFu
#define FA__NO_TAG 0xFFFEu // No word's tag.
#define FA__WORD_TAG 0x3FFFu
#define FA__WORD_ALIGNED 0x8000u // It was asked for at 32 or 64: stays so when it is resized.
_Static_assert(FA_TAG_MAX <= FA__WORD_TAG + 1, "a tag fits a word");

#define FA__GUARD_BYTES ((size_t)16) // Least room behind a block that is checked.
#define FA__HUGE_BUCKETS 64u
#define FA__CLIENT_CHUNK 64u

#define FA__SPARE_RUNS 8u                  // Freed runs a thread keeps,
#define FA__SPARE_BYTES ((size_t)16 << 20) // as many bytes of them,
#define FA__SPARE_SHARE 32u                // and this part of the memory limit.

typedef struct fa__heap fa__heap;

// A class: made on first use, stays with the heap.
typedef struct fa__heap_class {
    fa__slots slots;
    fa__heap *heap;
    uint32_t number;
    uint32_t bytes; // Of a slot: what a block is charged with.
} fa__heap_class;

// What a free needs to know of a unit; in every unit of a slab. Zeroed for all others.
typedef struct fa__heap_unit {
    _Alignas(32) unsigned char *side; // One word a slot.
    uint64_t reciprocal;              // Of the stride, in 64-bit fractions, rounded up.
    uint32_t start;                   // Low half of the address of the first slot.
    uint32_t capacity;
    uint32_t bytes; // Of a slot.
    uint32_t cache; // Offset of the class's entry in a thread's caches.
} fa__heap_unit;
_Static_assert(sizeof(fa__heap_unit) == 32, "whole numbers of them fill a page");

// A thread's free slots of one class. `words_from` bytes behind each entry of the cache's array
// lies the place of that slot's word, so that neither taking nor giving has to find it again. A
// cache that is full grows, up to a limit.
//
// The slots are charged to one tag ahead of need: taking one while that tag is current, and giving
// a block of that tag, are free of accounting. Where a budget's line is near, `tag` is FA__NO_TAG,
// the slots are charged to nobody, and every block is charged by itself.
typedef struct fa__heap_cache {
    fa__cache cache;          // Empty and full at once until it is opened.
    const fa__account *payer; // What is current when `tag` is; NULL: not known.
    uint64_t taken;           // Blocks not counted yet.
    uint32_t tag;
    uint32_t bytes; // Of a slot.
    size_t words_from;
    fa__account *account; // Of the tag; NULL: FA__NO_TAG.
    fa__heap_class *home; // NULL: not opened.
    void **seen;          // The cache's top when it was last looked at.
    uint32_t misses;      // Blocks of other tags taken since it was charged to this one.
    fa__u32 shown_tag;    // `tag` as others see it.
} fa__heap_cache;

// Where the place of a slot's word is kept, from the slot's entry.
static inline void **fa__word_of(const fa__heap_cache *entry, void **at) {
    return (void **)(void *)((char *)at + entry->words_from);
}

// Units that belong to no block and that one thread may make the next from: spare.c.
typedef struct fa__spare {
    fa__run *run; // The first.
    fa__run *aim; // The first `marked` of them say that this is their head.
    uint32_t units;
    uint32_t marked;
    bool is_used; // Since the last quiet step.
} fa__spare;

// A thread's spare units, the bytes that stay charged for them, and its part of the heap's figures:
// what it has added less what it has taken off, as signed numbers.
typedef struct fa__spares {
    fa__size credit;          // Charged to `account` and in no block.
    fa__account *account;     // NULL: there is no credit.
    const fa__account *payer; // What is current when its tag is.
    fa__u32 tag;              // FA__NO_TAG: none.
    uint32_t count;
    uint32_t units; // Of all in the list.
    uint32_t most;  // As many may be; 0: none.
    fa__size blocks;
    fa__size bytes;
    fa__size held; // Of runs of the space.
    fa__spare list[FA__SPARE_RUNS];
} fa__spares;

// What a thread keeps. Stays with the thread's state for the next thread.
typedef struct fa__heap_thread {
    fa__thread *thread;
    char *base; // The space's; the next two are the heap's as last seen.
    size_t unit_count;
    fa__heap_unit *units;
    uint64_t freed; // Blocks not counted yet.
    size_t grown;   // Bytes of slots that caches have grown by.
    fa__heap *heap;
    struct fa__heap_thread *next; // In heap->threads. Guarded by heap->lock.
    fa__spares spares;
    fa__heap_cache *by_size[FA__BY_SIZE]; // Of sizes in steps of 16.
    fa__heap_cache caches[FA__CLASSES];
} fa__heap_thread;

// The caches that the calling thread used last, and the serial of their context: one compare finds
// them. A serial is never used twice, so a stale entry is never followed.
typedef struct fa__heap_last {
    uint64_t serial;
    fa__heap_thread *mine;
} fa__heap_last;

// A block above 64 KiB: the body of its run, or a record of its own. Those in the space's main
// section are found by walking it; all others are in a list.
typedef struct fa__large {
    struct fa__large *next; // In the heap's list.
    struct fa__large *prev;
    struct fa__large *next_of_bucket; // Of reservations; in the list of free records.
    char *ptr;
    size_t bytes;     // Charged.
    size_t size;      // Asked for.
    size_t reserved;  // Of a reservation; 0: a run.
    size_t committed; // Of a reservation.
    const void *site;
    uint32_t align;
    uint16_t tag; // FA__WORD_FREE: its run is a thread's spare.
    bool is_listed;
} fa__large;

_Static_assert(sizeof(fa__large) <= FA__RUN_BODY, "a large block fits the body of a run");

// Whom an fa_allocator charges: one per tag, made on first use.
typedef struct fa__heap_client {
    fa_context *context;
    uint32_t tag;
} fa__heap_client;

struct fa__heap {
    fa_context *context;
    fa__space *space;
    fa__heap_unit *units; // Of the space's main section. NULL: there is no memory for it.
    fa__size unit_count;  // As many may be read.
    size_t unit_room;     // As many have been reserved.
    bool is_careful;
    bool has_guards; // FA_CHECK_BLOCKS.
    fa__mutex lock;  // Guards what follows. After the context's; before those of slots and space.
    _Atomic(fa__heap_class *) classes[FA__CLASSES];
    fa__heap_thread *threads; // All that ever were; a thread's state is used again.
    fa__mutex units_lock;     // Guards growing of `units`. After the locks of slots.
    fa__mutex large_lock;     // Guards what follows. Before no other lock.
    fa__large *large;
    fa__large *buckets[FA__HUGE_BUCKETS];
    fa__large *free_records;
    size_t large_blocks;
    size_t large_bytes;
    size_t large_committed;
    fa__heap_client *_Atomic clients[FA_TAG_MAX / FA__CLIENT_CHUNK]; // Changed under `lock`.
};

// Sizes -------------------------------------------------------------------------------------------

extern const uint8_t fa__class_of_small[FA__BY_SIZE];

// The class of sizes up to FA__SMALL_MAX. Above 128 the three bits behind the leading one of
// size - 1 say which eighth of the doubling it is in.
static inline uint32_t fa__class_of(size_t size) {
    if (FA_LIKELY(size <= 1024)) {
        return fa__class_of_small[(size + 15) >> 4];
    }
#if defined(__GNUC__)
    uint32_t bits = 31u - (uint32_t)__builtin_clz((uint32_t)(size - 1));
#else
    uint32_t bits = 10;
    while ((size - 1) >> (bits + 1) != 0) {
        bits += 1;
    }
#endif
    return 8 + (bits - 7) * 8 + ((uint32_t)((size - 1) >> (bits - 3)) & 7);
}

static inline size_t fa__class_bytes(uint32_t number) {
    if (number >= FA__STEP_CLASSES) {
        return (size_t)128 << (number - FA__STEP_CLASSES);
    }
    if (number < 8) {
        return (size_t)16 * (number + 1);
    }
    return (size_t)(9 + (number - 8) % 8) << (4 + (number - 8) / 8);
}

// What every slot of a class is a multiple of.
static inline size_t fa__class_align(uint32_t number) {
    size_t bytes = fa__class_bytes(number);
    size_t lowest = bytes & (0 - bytes);
    return number >= FA__STEP_CLASSES || lowest < FA__LINE_ALIGN ? lowest : FA__LINE_ALIGN;
}

// How a request is met.
typedef struct fa__plan {
    uint32_t class_number; // FA__CLASS_LARGE: a large block.
    uint16_t flags;        // FA__WORD_ALIGNED or none.
    size_t bytes;          // To be charged.
    size_t align;
    size_t size; // As asked for.
} fa__plan;

// False when the size does not fit into size_t with all that comes with it. `align` is valid.
bool fa__plan_make(const fa__heap *heap, size_t size, size_t align, fa__plan *plan);

// Blocks ------------------------------------------------------------------------------------------

// What a pointer turned out to be.
typedef struct fa__block {
    fa__heap_class *home; // Of a small block.
    void *side;           // Where its word lies.
    uint32_t word;        // Tag and flags.
    const void *site;
    fa__large *large; // Of a large one.
    char *ptr;
    size_t bytes; // Charged.
} fa__block;

// Finds the live block that starts at `ptr`. Otherwise the code that says what is wrong; 0: found.
int fa__block_find(fa__heap *heap, const void *ptr, fa__block *out);

static inline uint32_t fa__block_tag(const fa__block *block) {
    return block->large != NULL ? block->large->tag : block->word & FA__WORD_TAG;
}

// The alignment it has to keep.
size_t fa__block_align(const fa__block *block);
// Bytes its user may touch.
size_t fa__block_usable(const fa__heap *heap, const fa__block *block);

// Who asks, and who is charged.
typedef struct fa__asker {
    fa__heap *heap;
    fa__thread *thread;
    fa__account *account;
    const void *site;
} fa__asker;

// The heap of a context, made on first use; NULL after a reported failure.
fa__heap *fa__heap_get(fa_context *ctx);
fa__heap_thread *fa__heap_thread_get(fa__heap *heap, fa__thread *thread);
// The calling thread's caches are no longer its own.
void fa__heap_forget(const fa_context *ctx);

// A new block as planned, charged; NULL after a reported refusal, with everything as it was.
void *fa__block_new(const fa__asker *asker, const fa__plan *plan);
// Ends a live block. `thread` may be NULL: then its slot goes straight to its slab.
void fa__block_end(fa__heap *heap, fa__thread *thread, const fa__block *block);
// Resizes in place or by moving. Charged to the block's own tag.
void *fa__block_resize(const fa__asker *asker, fa__block *block, size_t size, size_t align);

// Memory for a plan, and back, with no accounting. NULL: refused, see `denial`.
char *fa__block_obtain(const fa__asker *asker, const fa__plan *plan, fa__denial *denial);
void fa__block_return(fa__heap *heap, fa__thread *thread, const fa__block *block);
// Takes bytes off a tag's account, wherever that can be done. `thread` may be NULL.
void fa__heap_uncharge(fa__heap *heap, fa__thread *thread, uint32_t tag, size_t bytes);

// Reports a refusal for want of memory and counts it.
void fa__heap_refuse(const fa__asker *asker, size_t size, fa__denial denial);
void fa__heap_report(fa__heap *heap, int code, const void *ptr, size_t bytes, const char *where);

// small.c -----------------------------------------------------------------------------------------

fa__heap_class *fa__class_get(fa__heap *heap, uint32_t number, fa__denial *denial);
// Takes a slot and writes its word.
char *fa__small_take(const fa__asker *asker, const fa__plan *plan, fa__denial *denial);
// Marks a slot as free and gives it to the thread's cache; `thread` may be NULL. `is_charged`: the
// block's bytes are to be taken off its tag; false: they have been.
void fa__small_give(fa__heap *heap, fa__thread *thread, const fa__block *block, bool is_charged);

typedef enum fa__flush {
    FA__FLUSH_ALL,
    FA__FLUSH_UNUSED, // Those not used since the last call.
    FA__FLUSH_LINES   // Those charged to tags that a budget concerns.
} fa__flush;

// Empties the thread's caches.
void fa__small_flush(fa__heap_thread *mine, fa__flush which);
// Counts what the thread has allocated and freed.
void fa__small_tally(fa__heap_thread *mine);
// Bytes in the caches of all threads that are charged to a tag; UINT32_MAX: to any.
size_t fa__small_idle(fa__heap *heap, uint32_t tag);
// An empty set of caches.
void fa__small_open(fa__heap_thread *mine);
// The class whose slots these are; NULL: no class of this heap.
fa__heap_class *fa__class_of_run(fa__heap *heap, const fa__run *run);

// The place of the word of the slot that starts at `ptr`, and whether one does in this unit. The
// product's fraction is below the reciprocal exactly when nothing remains.
static inline uint16_t *fa__unit_word(const fa__heap_unit *unit, const void *ptr, bool *is_slot) {
    uint32_t distance = (uint32_t)(uintptr_t)ptr - unit->start; // May be negative: a large number.
#if defined(__SIZEOF_INT128__)
    __extension__ unsigned __int128 product =
        (__extension__(unsigned __int128) distance) * unit->reciprocal;
    uint64_t index = (uint64_t)(product >> 64);
    *is_slot = (uint64_t)product < unit->reciprocal && index < unit->capacity;
#else
    uint32_t index = unit->bytes == 0 ? 0 : distance / unit->bytes;
    *is_slot = index < unit->capacity && distance % unit->bytes == 0;
#endif
    return (uint16_t *)((uintptr_t)unit->side + (uintptr_t)index * sizeof(uint16_t));
}

static inline uint32_t fa__word_read(const fa__heap *heap, const void *side) {
    if (heap->is_careful) {
        return (uint32_t)(*(const uint64_t *)side & 0xFFFF);
    }
    return *(const uint16_t *)side;
}

// large.c -----------------------------------------------------------------------------------------

char *fa__large_take(const fa__asker *asker, const fa__plan *plan, fa__denial *denial);
// `thread` may be NULL.
void fa__large_give(fa__heap *heap, fa__thread *thread, fa__large *large);
// The block above FA__RUN_MAX that starts at `ptr`.
fa__large *fa__huge_find(fa__heap *heap, const void *ptr);
// Makes it `bytes` long without copying; a reservation may move. Accounts are not touched. False:
// nothing has changed.
bool fa__large_resize(const fa__asker *asker, fa__large *large, size_t bytes, size_t size);
// Whether new memory for a large block is known to be zero.
bool fa__large_is_zero(const fa__heap *heap, const fa__plan *plan);
void fa__large_end(fa__heap *heap);
// Calls `visit` for every large block, by address where there is a main section. False: it did.
typedef bool (*fa__block_fn)(void *user, fa__heap *heap, const fa__block *block);
bool fa__large_each(fa__heap *heap, fa__block_fn visit, void *user);

// spare.c -----------------------------------------------------------------------------------------

void fa__spares_open(fa__heap_thread *mine);
// A new or a freed block without a lock; NULL or false, with nothing changed, when that is not so
// simple.
void *fa__large_reuse(fa__heap_thread *mine, size_t size);
bool fa__large_recycle(fa__heap_thread *mine, void *ptr);

// A run of spare units; NULL when no spare is so long. Its record is the caller's to write.
fa__run *fa__spare_take(fa__heap_thread *mine, size_t units);
// Keeps a run of the main section, of at most spares.most units, whose record says that it is free.
void fa__spare_give(fa__heap_thread *mine, fa__run *run);
// Makes a run longer by spare units behind it.
bool fa__spare_extend(fa__heap_thread *mine, fa__run *run, size_t units);
// Gives all spares back to the space. True when there were any.
bool fa__spares_release(fa__heap_thread *mine);
// The same, and gives credit back.
void fa__spares_flush(fa__heap_thread *mine, fa__flush which);

// Charges the asker's account, credit first; as fa__object_charge().
bool fa__large_charge(const fa__asker *asker, size_t bytes);
// Turns bytes into credit, or takes them off the tag. `thread` may be NULL.
void fa__large_uncharge(fa__heap *heap, fa__thread *thread, uint32_t tag, size_t bytes);

// Credit of all threads of a tag; UINT32_MAX: of any.
size_t fa__spares_idle(fa__heap *heap, uint32_t tag);
// Adds what all threads have counted.
void fa__spares_measure(fa__heap *heap, size_t *blocks, size_t *bytes, size_t *held);

// guard.c -----------------------------------------------------------------------------------------

// Fills a new block, or what was added to it, and sets the bytes behind it.
void fa__guard_set(const fa__heap *heap, const fa__block *block, size_t from, size_t size);
// The size asked for; false when something behind the block was overwritten (`size` is then all
// there is).
bool fa__guard_read(const fa__block *block, size_t *size);
// Fills a freed slot; later, checks that nobody wrote into it.
void fa__guard_bury(char *slot, size_t bytes);
bool fa__guard_is_buried(const char *slot, size_t bytes);

// each.c ------------------------------------------------------------------------------------------

// Calls `visit` for every live block. No other thread may be inside.
void fa__heap_each(fa__heap *heap, fa__block_fn visit, void *user);
extern const fa__tier fa__heap_tier;

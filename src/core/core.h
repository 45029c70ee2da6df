// The structures every layer shares. Who may touch what:
//
//   fa_context   any thread; fields are constant, atomic, or guarded by `lock` as marked
//   fa__thread   its own thread; atomics may be read by others under context->lock
//   fa__meter    the thread that owns the arena
//   fa__account  written by its one holder, read by anybody
//   fa__tag      charges by anybody, atomically; lines under context->lock
#pragma once

#include "../os/atomic.h"
#include "../os/os.h"
#include "fail.h"
#include "pages.h"
#include <framealloc/base.h>
#include <framealloc/budget.h>
#include <framealloc/context.h>
#include <framealloc/diagnostics.h>
#include <framealloc/stats.h>
#include <framealloc/tag.h>

// Keeps a rarer case out of its caller, so that the common one saves no registers.
#if defined(__GNUC__)
#define FA__NOINLINE __attribute__((noinline))
#else
#define FA__NOINLINE
#endif

// In a public function: where in the caller's code it will go on.
#if defined(__GNUC__)
#define FA__CALL_SITE() ((const void *)__builtin_return_address(0))
#else
#define FA__CALL_SITE() ((const void *)NULL)
#endif

#define FA__NAME_BYTES 32
#define FA__PATH_BYTES 96
#define FA__TAG_CHUNK 64u // Tags and accounts come in chunks of this many, so that they never move.
#define FA__TAG_CHUNKS (FA_TAG_MAX / FA__TAG_CHUNK)
#define FA__BUCKETS 256u
#define FA__TABLE_TAGS 256u // The first this many tags are found fastest.

typedef struct fa__thread fa__thread;
typedef struct fa__tag fa__tag;
typedef struct fa__phases fa__phases;

// The shared side of a tag: what all holders together have been granted.
struct fa__tag {
    fa__size charged;      // Bytes granted to holders of this tag and its descendants.
    fa__size charged_peak; // The most of it.
    fa__size own_live;     // In use by arenas made by fa_arena_create(), as published.
    fa__size own_peak;     // The most of it.
    fa__u64 own_refusals;  // Refused by those.
    fa__u64 own_allocations;
    fa__size object_charged;  // Of charged: granted to object accounts (objects.h).
    fa__size object_peak;     // The most of it.
    fa__size object_bytes[2]; // Pool, heap: in use by this tag alone and in no thread's account, as
        // a signed number: left behind by threads that are gone.
    fa__size soft; // Lines in bytes; SIZE_MAX: none.
    fa__size hard;
    fa__u32 policy;        // fa_budget_policy.
    fa__u32 soft_crossed;  // 1 from the crossing until the charge is back under the line.
    fa__u32 hard_crossed;  // The same for FA_BUDGET_WARN.
    fa__u32 members;       // This tag and those below it: they share what is leased.
    fa__size nearest_line; // The smallest line of this tag and its parents; SIZE_MAX: none has one.
    uint32_t id;
    fa__tag *parent;       // NULL for the root.
    fa_budget budget;      // As set. Guarded by context->lock.
    fa__tag *next_of_hash; // In the context's bucket. Guarded by context->lock.
    char path[FA__PATH_BYTES];
};

// What one holder uses of one tag. A holder is an arena made by fa_arena_create(), or one of the
// three arenas of a thread: so no two limits are ever derived from the same lease. Bytes in use are
// granted - room; others read them as fa__account_publish() or the end of a frame last left them.
// For pools and the heap they are a signed number (a thread may free what others allocated), and
// others read granted and room themselves: those are atomic there.
typedef struct fa__account {
    union { // Of what is granted, unused.
        size_t room;
        fa__size object_room;
    };
    union { // Leased from the tag.
        size_t granted;
        fa__size object_granted;
    };
    size_t keep;    // Of the room, what may be kept between frames; by objects, at any time.
    fa__size held;  // In use by frames that have ended, while more than one is in flight.
    fa__tag *tag;   // NULL until the account is first used.
    size_t *sum;    // Of object accounts: their thread's sum of granted; NULL: an arena's account.
    fa__size bytes; // Published: in use.
    fa__size peak;  // The most in use, brought up to date before it falls and when it is published.
    fa__size frame_peak; // The most less held; not kept with one frame in flight.
    fa__u64 allocations;
    fa__u64 refusals;
} fa__account;

// A stretch of an arena charged to one account.
typedef struct fa__stretch {
    fa__account *account;
    size_t bytes; // Booked so far.
} fa__stretch;

// An arena as the accounts see it: a cursor whose movement is charged to somebody. See meter.h.
typedef struct fa__meter {
    fa_arena arena; // First, so that a pointer to one is a pointer to the other.
    char *booked;   // The cursor when bytes were last booked.
    char *stop;     // Memory, byte limit, "closed" and "watched" end here; never below the cursor.
    fa__stretch *run;       // The present run: top of the log.
    fa__stretch *run_guard; // Above this, the log must grow before a tag is pushed.
    fa__stretch *run_base;  // First entry of the log. The one before it belongs to nobody.
    uintptr_t origin;       // Bytes in use = cursor - origin, over all blocks.
    char *end;              // End of the present block's committed memory.
    size_t byte_limit;      // Bytes that may be in use; SIZE_MAX: no such limit.
    bool is_frame;          // Open only while it is its thread's frame.
    bool is_closed;         // No scope is open: nothing may be allocated.
    fa_context *context;
    fa__thread *thread; // NULL for arenas made by fa_arena_create().
} fa__meter;

// Entries above run_guard: every pushed tag may need one when it is popped, and a pop cannot fail.
#define FA__RUNS_SPARE ((size_t)FA_TAG_DEPTH_MAX + 4)
// Entries a log must have at least, the one before its base included.
#define FA__RUNS_MIN (FA__RUNS_SPARE + 32)

// What a higher layer registers so that the core can reach it: called with no lock held unless said
// otherwise.
typedef struct fa__tier {
    // Takes down what the layer keeps for a thread. The thread may be gone already.
    void (*thread_detach)(fa__thread *thread);
    // Gives back unused memory beyond `keep` bytes an arena. On the thread itself.
    void (*thread_trim)(fa__thread *thread, size_t keep);
    // Books what the calling thread's arenas have used since the last boundary, and rearms them.
    // `thread` is its state, NULL if it has none. The accounts are published afterwards.
    void (*settle)(fa_context *ctx, fa__thread *thread);
    // Bytes the thread has in use in scopes that are open. On the thread itself.
    size_t (*open_bytes)(const fa__thread *thread);
    // Gives back the unused leases of arenas that have accounts of their own and that the calling
    // thread owns.
    void (*return_leases)(fa_context *ctx);
    // Reports and frees what is left of the layer in a context. Returns how many things were live.
    size_t (*context_destroy)(fa_context *context);
    // Bytes of `tag` alone (all tags: UINT32_MAX) that are charged to object accounts but lie
    // unused in caches: FA__TIER_HEAP speaks of the heap's, every other tier of pools'. Under no
    // lock.
    size_t (*idle_bytes)(fa_context *ctx, uint32_t tag);
    // A quiet period may have passed: gives a bounded part of what has long been unused back.
    // Called at the end of every eighth decay window, once for all frames in flight, with no lock
    // held, and not while a thread or the context is taken down.
    void (*quiet)(fa_context *ctx, fa__thread *thread);
    // Gives unused memory back until the clock passes `until_ns` (UINT64_MAX: no end); true when
    // nothing is left to give.
    bool (*trim)(fa_context *ctx, fa__thread *thread, uint64_t until_ns);
} fa__tier;

// What a thread holds accounts of its own for: its arenas, and what is freed one by one.
typedef enum fa__holder {
    FA__HOLDER_FRAME,
    FA__HOLDER_SCRATCH,
    FA__HOLDER_SCRATCH_OTHER,
    FA__HOLDER_POOL, // Objects of pools: objects.h.
    FA__HOLDER_HEAP, // Blocks of the heap: objects.h.
    FA__HOLDER_COUNT
} fa__holder;

#define FA__ARENA_HOLDERS FA__HOLDER_POOL // Those before are arenas.

// Taken down from the last to the first: arenas begin, because their cleanups may give blocks and
// objects back to all the others.
typedef enum fa__tier_index {
    FA__TIER_SPACE, // The first, so that it is trimmed and taken down after all that lives in it.
    FA__TIER_POOLS,
    FA__TIER_TABLES,
    FA__TIER_BLOCKS,
    FA__TIER_HEAP,
    FA__TIER_LIFETIME,
    FA__TIER_FRAMES,
    FA__TIER_ARENAS,
    FA__TIER_COUNT
} fa__tier_index;

// What is kept of a finished frame: 48 bits of bytes, 16 bits of refusals.
typedef uint64_t fa__past;

#define FA__PAST_BYTES_BITS 48
#define FA__PAST_REFUSALS_MAX 0xFFFFu

struct fa__thread {
    fa_context *context;
    fa__meter *frame; // The open frame's meter, or `idle`. Its top run's account is the
        // current tag's.
    size_t depth;                         // Tags pushed.
    uint32_t known;                       // Tags below this have an entry in `table`.
    fa__account *stack[FA_TAG_DEPTH_MAX]; // Accounts to go back to.
    void *frames;   // The arena layer's frames and scratch arenas; NULL until first used.
    void *ready;    // The slot that fa_frame_begin() may open without looking further; NULL: look.
    bool is_untidy; // The open frame has more to see to at its end than its bytes.
    fa__u64 epoch;  // The context's epoch this thread has acted on.
    fa__u64 frame_index; // Frames begun.
    fa__meter idle;      // Stands in for a frame when none is open.
    fa__stretch idle_runs[FA__RUNS_MIN];
    fa__account *table[FA__TABLE_TAGS]; // Frame accounts of the first tags.
    _Atomic(fa__account *) accounts[FA__HOLDER_COUNT][FA__TAG_CHUNKS];

    uint32_t object_known; // Tags below this have entries in both tables of `object_table`.
    fa__account *object_table[2][FA__TABLE_TAGS]; // Pool, heap.
    void *pools;                                  // The pool layer's caches; NULL until first used.
    void *heap;                                   // The heap's caches; NULL until first used.
    size_t object_granted[2]; // Pool, heap: granted to all accounts together, as a signed number.

    size_t held_bytes;            // Bytes of ended frames whose memory is still valid.
    uint64_t undone_bytes;        // Bytes undone by rewinds and ends of scratch scopes.
    _Atomic(fa__phases *) phases; // phase.c's records; NULL until first used.
    fa__past *history;            // Ring: frame k's entry is at k & history_mask.
    uint64_t *times;              // The same for nanoseconds; NULL unless frame times are taken.
    uint64_t history_mask;
    uint64_t frame_started_ns;
    uint64_t frame_refusals; // Refusals before the open frame.
    fa_thread_budget budget;

    // Read by others.
    fa__u64 total_bytes;     // Bytes in use at the end of each finished frame, added up.
    fa__size peak_bytes;     // The most in use over all tags, by any thread that had this state.
    fa__size own_peak_bytes; // The same by the present thread.
    fa__size frame_budget;
    fa__u64 allocations; // In arenas, while they are watched; others are counted by account.
    fa__u64 frees;       // Of blocks that are counted one by one.
    fa__u64 refusals;
    fa__u32 published_depth;

    // Guarded by context->lock.
    uint64_t owner; // Thread id; 0: free for the next thread.
    uint32_t id;
    char name[FA__NAME_BYTES];
    fa__thread *next; // In context->threads.
};

struct fa_context {
    uint64_t serial; // Never used twice: finds stale caches.
    fa__u64 epoch;   // Raised when threads must look: budgets or checks changed.
    fa__u32 checks;
    fa__u32 tag_count;
    fa_config config;
    fa__pages *pages;
    fa__mutex lock; // After the global lock, before the page source's.
    const fa__tier *_Atomic tiers[FA__TIER_COUNT];
    fa__u32 wants_quiet;   // Some tier has quiet().
    fa__thread *threads;   // All states, attached or free.
    uint32_t next_thread;  // Id of the next new state.
    void *arenas;          // The arena layer's list of arenas made by fa_arena_create().
    _Atomic(void *) space; // The slabs' address space: pool/space.h; NULL until first used.
    _Atomic(void *) pools; // The pool layer's list.
    _Atomic(void *) heap;  // The heap.
    void *lifetime;        // The lifetime layer's own. Guarded by lock.
    void *tables;          // Component arrays and entities, pool/sheet.h. Guarded by lock.
    void *free_tables;     // Their records, for reuse. Guarded by lock.
    void *block_tables;    // Tables of movable blocks, pool/handles.c. Guarded by lock.
    void *adoptions;       // lifetime/adopt.c's table. Guarded by lock.
    void *free_arenas;
    fa__u32 arena_count;
    fa__phases *gone_phases; // Phases of threads that are gone. Guarded by lock.
    uint64_t gone_index;     // Furthest frame of threads that are gone. Guarded by lock.
    fa__u64 own_allocations; // Counted and refused in arenas, and by threads, that are gone.
    fa__u64 own_frees;
    fa__u64 own_refusals;
    fa__size own_live; // Bytes in use in arenas made by fa_arena_create(), as of boundaries.
    fa__size own_peak; // The most of own_live.
    fa__tag *tags[FA__TAG_CHUNKS];
    fa__tag *buckets[FA__BUCKETS]; // Tags by the hash of their path. Guarded by lock.
    fa_report_fn report;
    void *report_user;
    fa_watch_fn watch;
    void *watch_user;
    fa_context *next; // In the list of living contexts. Guarded by the global lock.
    uint32_t pins;    // Threads that are exiting in it. Guarded by the global lock.
};

// thread.c ----------------------------------------------------------------------------------------

// True between fa_frame_begin() and fa_frame_end().
static inline bool fa__thread_has_frame(const fa__thread *thread) {
    return thread->frame != &thread->idle;
}

// Puts a context on the list of living ones and gives it its serial; takes it off again.
void fa__context_enlist(fa_context *ctx);
void fa__context_delist(fa_context *ctx);

// The thread states last found, the latest first. `serial` is the key: a dead context's never comes
// back, and a state is not looked at before its key was. Never NULL: an empty entry holds
// fa__nobody.
typedef struct fa__thread_cache {
    uint64_t serial;
    fa__thread *thread;
} fa__thread_cache;

#define FA__CACHED_CONTEXTS 4u
extern fa__thread fa__nobody;
extern FA__THREAD_LOCAL fa__thread_cache fa__thread_caches[FA__CACHED_CONTEXTS];

// The calling thread's state if it is attached, else NULL. Takes the lock on a cache miss.
fa__thread *fa__thread_find(fa_context *ctx);

// The calling thread's state, made on first use; NULL after a reported failure.
FA_COLD fa__thread *fa__thread_attach_slow(fa_context *ctx);

// True when the context is the last one the calling thread used: its state is then
// fa__thread_caches[0].thread.
static inline bool fa__thread_is_last(const fa_context *ctx) {
    return FA_LIKELY(fa__thread_caches[0].serial == ctx->serial);
}

static inline fa__thread *fa__thread_get(fa_context *ctx) {
    return fa__thread_is_last(ctx) ? fa__thread_caches[0].thread : fa__thread_attach_slow(ctx);
}

// Ends a state's use by its thread; the state stays with the context for the next thread.
void fa__thread_retire(fa__thread *thread);

// Counts an allocation that was refused to a thread.
static inline void fa__refusal_count(fa__thread *thread, fa__account *account) {
    fa__own_add(&account->refusals, 1);
    fa__own_add(&thread->refusals, 1);
    if (fa__thread_has_frame(thread)) {
        thread->is_untidy = true;
    } else {
        thread->frame_refusals += 1; // Not the next frame's.
    }
}

// Drops the calling thread's cached pointer to its state in a context.
void fa__thread_forget(const fa_context *ctx);

// Books and publishes everything the calling thread has used so far, in all its arenas. Returns its
// state if it has one.
fa__thread *fa__settle(fa_context *ctx);

// phase.c: adds a thread's phases to those of threads that are gone. Under context->lock.
void fa__phases_retire_locked(fa__thread *thread);

// objects.c: leaves what a thread's object accounts have in use, or have freed beyond that, to the
// shared tags, so that the next thread with this state starts from nothing. Everything unused has
// been given back. Under context->lock.
void fa__objects_retire_locked(fa__thread *thread);

// context.c ---------------------------------------------------------------------------------------

// All of fa_check, and those that the layout of pools and heap depends on.
#define FA__CHECKS_ALL ((uint32_t)(FA_CHECK_WATCH | FA_CHECK_BLOCKS | FA_CHECK_SITES))
#define FA__CHECKS_LAYOUT ((uint32_t)(FA_CHECK_BLOCKS | FA_CHECK_SITES))

// Makes a layer known to the context. Idempotent.
void fa__tier_register(fa_context *ctx, fa__tier_index index, const fa__tier *tier);

// Checks a configuration and fills defaults in; config.c. Names the bad field.
fa_result fa__config_resolve(const fa_config *config, fa_config *out, const char **field);

// FNV-1a.
static inline uint32_t fa__hash(const char *text, size_t length) {
    uint32_t value = 2166136261u;
    for (size_t i = 0; i < length; i++) {
        value = (value ^ (uint8_t)text[i]) * 16777619u;
    }
    return value;
}

// tag.c -------------------------------------------------------------------------------------------

// The shared side of a tag, NULL when the context has no such tag.
fa__tag *fa__tag_get(fa_context *ctx, fa_tag tag);

// The thread's account for a tag, made on first use; NULL after setting *result. No report.
fa__account *fa__account_get(fa__thread *thread, fa__holder holder, fa_tag tag, fa_result *result);

// Notes the peaks of an account, before its bytes fall.
static inline void fa__account_note_peaks(fa__account *account) {
    size_t bytes = account->granted - account->room;
    size_t frame_bytes = bytes - fa__load(&account->held);
    if (bytes > fa__load(&account->peak)) {
        fa__store(&account->peak, bytes);
    }
    if (frame_bytes > fa__load(&account->frame_peak)) {
        fa__store(&account->frame_peak, frame_bytes);
    }
}

// Lets others see what the account uses. At boundaries.
static inline void fa__account_show(fa__account *account) {
    fa__store(&account->bytes, account->granted - account->room);
}

// Both.
static inline void fa__account_publish(fa__account *account) {
    fa__account_note_peaks(account);
    fa__account_show(account);
}

// Publishes every account of the thread.
void fa__accounts_publish(fa__thread *thread);

// The account if its chunk exists. Any thread; but only the owner may look at account->tag, which
// is NULL until it has used the account.
static inline fa__account *fa__account_at(fa__thread *thread, fa__holder holder, uint32_t id) {
    fa__account *chunk = fa__load_acquire(&thread->accounts[holder][id / FA__TAG_CHUNK]);
    return chunk == NULL ? NULL : &chunk[id % FA__TAG_CHUNK];
}

// Fails for an unknown tag (FA802) or whatever `result` says.
fa_result fa__tag_fail(fa_context *ctx, fa_tag tag, fa_result result);

// Makes the root tag; false when there is no memory.
bool fa__tag_create_root(fa_context *ctx);

// lease.c -----------------------------------------------------------------------------------------

// Leases at least `need` bytes, if possible `want`, for an account. Returns FA_OK; or FA_ERR_BUDGET
// with the tag whose budget refused, nothing having changed. Calls soft-line callbacks: every
// structure must be consistent.
typedef struct fa__lease_wish {
    size_t need;      // At least.
    size_t want;      // If possible.
    size_t requested; // What the caller asked for, to be told.
} fa__lease_wish;

fa_result fa__lease_take(fa_context *ctx, fa__account *account, const fa__lease_wish *wish,
                         fa__tag **refused_by);

// Notes the most that was charged, once the memory behind a lease is there.
void fa__lease_note_peak(const fa__account *account);

// Gives back what an account holds beyond its bytes and `keep`.
void fa__lease_return(fa__account *account, size_t keep);

// Takes bytes of objects off a tag and its parents that belong to no thread's account.
void fa__lease_uncharge_objects(fa__tag *tag, size_t bytes);

// After bytes of an account fell: shows it, and gives room back at once while more is in use than a
// line allows.
static inline void fa__account_give_back(fa__account *account) {
    if (FA_UNLIKELY(account->keep == 0)) {
        fa__lease_return(account, 0);
    }
    fa__account_show(account);
}

// Recomputes how much of its lease an account may keep unused between frames: everything where no
// line is near.
void fa__lease_update_keep(fa__account *account);

// True when `need` more bytes would cross a line that has not been crossed: time to call back
// unused leases.
bool fa__lease_is_tight(const fa__account *account, size_t need);

// Gives back what the calling thread has leased and not used, in all its arenas, and rearms them.
void fa__leases_return(fa_context *ctx);

// Tells the callback of a refusing hard line. No lock held.
void fa__budget_tell_hard(fa_context *ctx, fa__tag *tag, size_t requested);

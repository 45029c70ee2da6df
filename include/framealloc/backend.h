/// @file backend.h
/// Where a context's pages come from: the operating system, or functions of yours.
///
/// A context takes all its memory, its own bookkeeping included, through one fa_backend. Yours may
/// count, limit, fail on purpose, or come from a console's or an engine's page allocator.
#pragma once

#include "base.h"

FA_BEGIN_DECLS

/// A source of pages. Every function may be called from any thread, several at once. Sizes and
/// addresses are multiples of `page_size`.
typedef struct fa_backend {
    /// Reserves `size` bytes of address space at a multiple of `align` (a power of two, at least a
    /// page). NULL when there is none. The contents need not be accessible until committed.
    void *(*reserve)(void *self, size_t size, size_t align);
    /// Makes part of a reservation readable and writable; false when memory is refused, with
    /// nothing changed. NULL as a member: reserve() hands out usable memory at once, and arenas sit
    /// on chunks instead of ranges.
    bool (*commit)(void *self, void *ptr, size_t size);
    /// Takes the memory behind committed pages away; they must be committed again before use. May
    /// be NULL.
    void (*decommit)(void *self, void *ptr, size_t size);
    /// Gives a whole reservation back, committed or not: `ptr` and `size` as reserve() had them.
    void (*release)(void *self, void *ptr, size_t size);
    /// Advises that the range will be used densely, so that large pages pay. A hint. May be NULL.
    void (*advise_huge)(void *self, void *ptr, size_t size);
    /// Makes a whole reservation of which every page is committed `new_size` bytes long, moving it
    /// to other addresses if need be, without copying: returns where it is now, every page
    /// committed, the old contents at its start, and its old addresses are gone. NULL when that is
    /// not possible, with nothing changed. NULL as a member: never; blocks are copied then.
    void *(*resize)(void *self, void *ptr, size_t old_size, size_t new_size);
    size_t page_size; ///< Bytes; a power of two from 4 KiB to 64 KiB.
    void *self;       ///< Passed to every function.
} fa_backend;

/// The operating system's pages: what a context uses when fa_config.backend is NULL. Use it to
/// build your own around it. A constant, valid for the life of the program. Any thread.
FA_API const fa_backend *fa_backend_os(void);

/// Pages from the C library's malloc(), aligned: for targets without virtual memory, for programs
/// that must have everything from malloc(), and for tools that watch it. It has no commit: memory
/// is in use from reserve() to release(), and arenas sit on chunks (fa_arena_desc.chunk_size).
/// Pages are 4 KiB. A constant, valid for the life of the program. Any thread.
FA_API const fa_backend *fa_backend_malloc(void);

FA_END_DECLS

/// @file foreign_malloc.h
/// The malloc of other libraries, several of them in one process.
///
/// The C library's is called glibc here and is always there. mimalloc, jemalloc and tcmalloc are
/// loaded while the program runs, where they are installed: their functions are then reached by
/// pointers, and the program's own malloc stays what it was.
#pragma once

#include <stdbool.h>
#include <stddef.h>

/// An allocator's functions. All of them work from any thread.
typedef struct foreign_malloc {
    const char *name; ///< As foreign_malloc_name() has it. A constant.
    char version[32]; ///< "2.0.9"; empty when it does not say.
    void *(*alloc)(size_t size);
    void *(*alloc_aligned)(size_t align, size_t size); ///< As memalign().
    void *(*resize)(void *ptr, size_t size);           ///< As realloc().
    void (*free)(void *ptr);
    size_t (*usable_size)(void *ptr);
    void *library; ///< Of dlopen(); NULL for glibc.
} foreign_malloc;

/// The names that foreign_malloc_open() knows, the C library's first: "glibc", "mimalloc",
/// "jemalloc", "tcmalloc". NULL beyond the last.
const char *foreign_malloc_name(size_t index);

/// Loads the allocator of this name, for the life of the process. False with a sentence in `error`
/// when it is not installed here or cannot be used.
bool foreign_malloc_open(const char *name, foreign_malloc *out, char *error, size_t error_size);

/// Whether it can be opened: found out in a child process, so that this one stays as it is.
bool foreign_malloc_is_here(const char *name);

/// Any other function of an open one's library, such as "mi_heap_new"; NULL when it has none. The
/// caller converts it, by foreign_function.
typedef void (*foreign_function)(void);
foreign_function foreign_malloc_function(const foreign_malloc *foreign, const char *name);

/// Call it first in main(). jemalloc keeps more memory per thread than glibc sets aside for
/// libraries that are loaded late. When jemalloc is installed and this is so, the program starts
/// itself again, once, with `argv` and room enough; otherwise nothing happens.
void foreign_malloc_make_room(char **argv);

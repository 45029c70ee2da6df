// Everything the library needs from an operating system. One implementation per system, each behind
// one whole-file #if: os_posix.c, os_windows.c.
//
// Pages: `ptr` and `size` are multiples of fa__os_page_size() unless said otherwise.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes per page, at least 4 KiB. Constant for the life of the process.
size_t fa__os_page_size(void);

// Reserves `size` bytes of address space at a multiple of `align` (a power of two, at least a
// page), not accessible and backed by nothing. NULL when there is none.
void *fa__os_reserve(size_t size, size_t align);

// Makes a part of a reservation readable and writable, zeroed unless it was committed already.
// False when memory is refused; nothing has changed then.
bool fa__os_commit(void *ptr, size_t size);

// Takes the memory behind a committed part away at once: it reads as zero after the next commit and
// faults before it.
void fa__os_decommit(void *ptr, size_t size);

// Gives a whole reservation back: exactly the `ptr` and `size` of one fa__os_reserve().
void fa__os_release(void *ptr, size_t size);

// Makes a whole reservation, committed from end to end, `new_size` bytes long, moving its pages to
// other addresses if need be. Returns where it is, committed from end to end, what was added being
// zeroed; NULL with nothing changed where the system cannot.
void *fa__os_resize(void *ptr, size_t old_size, size_t new_size);

// Advises that a part of a reservation will be used densely. A hint, no effect where unsupported.
void fa__os_advise_huge(void *ptr, size_t size);

// Nanoseconds of a clock that never goes back. No system call where the system allows.
uint64_t fa__os_clock_ns(void);

// A number no other living thread has; never 0.
uint64_t fa__os_thread_id(void);

// Has `fn` called on this thread when it exits, once. Ask again from inside `fn` or later, and it
// is called again (a destructor of another library may use us after us). One `fn` for the whole
// process. False when the system has no slot left. The process's exit calls nothing.
bool fa__os_at_thread_exit(void (*fn)(void));

// Lets another thread run.
void fa__os_yield(void);

// A lock for rare paths. Zero-initialised memory is not a valid lock: init first.
typedef struct fa__mutex {
    _Alignas(8) unsigned char storage[64];
} fa__mutex;

bool fa__os_mutex_init(fa__mutex *mutex);
void fa__os_mutex_destroy(fa__mutex *mutex);
void fa__os_mutex_lock(fa__mutex *mutex);
void fa__os_mutex_unlock(fa__mutex *mutex);

// The one lock of the process: guards the list of living contexts. Needs no init.
void fa__os_global_lock(void);
void fa__os_global_unlock(void);

// Threads for tests, over POSIX threads, Win32, or nothing (where a test that asks for one is
// skipped).
//
// A barrier counts arrivals under a lock; `round` tells one use from the next, so that a fast
// thread that comes again does not pass with the slow ones of the round before.
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif

#include "check.h"
#include "check_state.h"

#if defined(_WIN32)
#define THREADS_WIN32 1
#define THREADS_POSIX 0
#elif defined(__wasi__) || (defined(__EMSCRIPTEN__) && !defined(__EMSCRIPTEN_PTHREADS__))
#define THREADS_WIN32 0
#define THREADS_POSIX 0
#else
#define THREADS_WIN32 0
#define THREADS_POSIX 1
#endif

bool check_thread_supported(void) {
    return THREADS_WIN32 != 0 || THREADS_POSIX != 0;
}

#if THREADS_WIN32 || THREADS_POSIX

#if THREADS_WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <process.h>
typedef HANDLE native_thread;
typedef CRITICAL_SECTION native_lock;
typedef CONDITION_VARIABLE native_condition;
#define lock_init(lock) InitializeCriticalSection(lock)
#define lock_destroy(lock) DeleteCriticalSection(lock)
#define lock_enter(lock) EnterCriticalSection(lock)
#define lock_leave(lock) LeaveCriticalSection(lock)
#define condition_init(condition) InitializeConditionVariable(condition)
#define condition_destroy(condition) ((void)(condition))
#define condition_wait(condition, lock) SleepConditionVariableCS(condition, lock, INFINITE)
#define condition_wake_all(condition) WakeAllConditionVariable(condition)
#else
#include <pthread.h>
#include <sched.h>
typedef pthread_t native_thread;
typedef pthread_mutex_t native_lock;
typedef pthread_cond_t native_condition;
#define lock_init(lock) pthread_mutex_init(lock, NULL)
#define lock_destroy(lock) pthread_mutex_destroy(lock)
#define lock_enter(lock) pthread_mutex_lock(lock)
#define lock_leave(lock) pthread_mutex_unlock(lock)
#define condition_init(condition) pthread_cond_init(condition, NULL)
#define condition_destroy(condition) pthread_cond_destroy(condition)
#define condition_wait(condition, lock) pthread_cond_wait(condition, lock)
#define condition_wake_all(condition) pthread_cond_broadcast(condition)
#endif

struct check_thread {
    native_thread native;
    void (*run)(void *arg);
    void *arg;
    check_barrier *start; ///< Waited for before `run`, or NULL.
};

struct check_barrier {
    native_lock lock;
    native_condition everybody_came;
    size_t count;
    size_t waiting;
    uint64_t round;
};

static void *allocate(size_t size) {
    void *memory = calloc(1, size);
    if (memory == NULL) {
        FAIL("no memory for a thread of the test");
        check_leave();
    }
    return memory;
}

// ---- Barriers ----------------------------------------------------------------------------------

check_barrier *check_barrier_create(size_t count) {
    check_barrier *barrier = (check_barrier *)allocate(sizeof(*barrier));
    barrier->count = count;
    lock_init(&barrier->lock);
    condition_init(&barrier->everybody_came);
    return barrier;
}

void check_barrier_destroy(check_barrier *barrier) {
    condition_destroy(&barrier->everybody_came);
    lock_destroy(&barrier->lock);
    free(barrier);
}

void check_barrier_wait(check_barrier *barrier) {
    lock_enter(&barrier->lock);
    uint64_t round = barrier->round;
    barrier->waiting++;
    if (barrier->waiting == barrier->count) {
        barrier->waiting = 0;
        barrier->round++;
        condition_wake_all(&barrier->everybody_came);
    }
    while (barrier->round == round) {
        condition_wait(&barrier->everybody_came, &barrier->lock);
    }
    lock_leave(&barrier->lock);
}

// ---- Threads -----------------------------------------------------------------------------------

static void thread_body(check_thread *thread) {
    if (thread->start != NULL) {
        check_barrier_wait(thread->start);
    }
    check_run_guarded(thread->run, thread->arg);
}

#if THREADS_WIN32

static unsigned __stdcall thread_entry(void *arg) {
    thread_body((check_thread *)arg);
    return 0;
}

static bool native_start(check_thread *thread) {
    uintptr_t handle = _beginthreadex(NULL, 0, thread_entry, thread, 0, NULL);
    thread->native = (HANDLE)handle;
    return handle != 0;
}

static void native_join(check_thread *thread) {
    WaitForSingleObject(thread->native, INFINITE);
    CloseHandle(thread->native);
}

void check_thread_yield(void) {
    SwitchToThread();
}

#else

static void *thread_entry(void *arg) {
    thread_body((check_thread *)arg);
    return NULL;
}

static bool native_start(check_thread *thread) {
    return pthread_create(&thread->native, NULL, thread_entry, thread) == 0;
}

static void native_join(check_thread *thread) {
    pthread_join(thread->native, NULL);
}

void check_thread_yield(void) {
    sched_yield();
}

#endif

static check_thread *start_behind(void (*run)(void *arg), void *arg, check_barrier *start) {
    check_thread *thread = (check_thread *)allocate(sizeof(*thread));
    thread->run = run;
    thread->arg = arg;
    thread->start = start;
    if (!native_start(thread)) {
        // Threads that wait at the barrier for this one would wait for ever: nothing better than to
        // end here.
        FAIL("no thread could be started");
        if (start != NULL) {
            abort();
        }
        free(thread);
        check_leave();
    }
    return thread;
}

check_thread *check_thread_start(void (*run)(void *arg), void *arg) {
    return start_behind(run, arg, NULL);
}

void check_thread_join(check_thread *thread) {
    native_join(thread);
    free(thread);
}

void check_threads_run(size_t count, void (*run)(void *arg), void *args, size_t arg_size) {
    if (count == 0) {
        return;
    }
    check_thread **threads = (check_thread **)allocate(count * sizeof(*threads));
    check_barrier *start = check_barrier_create(count);
    for (size_t i = 0; i < count; i++) {
        void *arg = arg_size != 0 ? (char *)args + i * arg_size : args;
        threads[i] = start_behind(run, arg, start);
    }
    for (size_t i = 0; i < count; i++) {
        check_thread_join(threads[i]);
    }
    check_barrier_destroy(start);
    free(threads);
}

#else

static const char no_threads[] = "there are no threads on this platform";

check_thread *check_thread_start(void (*run)(void *arg), void *arg) {
    (void)run;
    (void)arg;
    check_skip(no_threads);
}

void check_thread_join(check_thread *thread) {
    (void)thread;
}

void check_threads_run(size_t count, void (*run)(void *arg), void *args, size_t arg_size) {
    (void)count;
    (void)run;
    (void)args;
    (void)arg_size;
    check_skip(no_threads);
}

check_barrier *check_barrier_create(size_t count) {
    (void)count;
    check_skip(no_threads);
}

void check_barrier_destroy(check_barrier *barrier) {
    (void)barrier;
}

void check_barrier_wait(check_barrier *barrier) {
    (void)barrier;
}

void check_thread_yield(void) {
}

#endif

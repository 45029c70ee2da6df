// fork, a function, _exit. Standard output is flushed before, so that nothing buffered is printed
// twice.

#include "child.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TICK_NS = 20 * 1000 * 1000 };

static int wait_for(pid_t pid, child_tick_fn tick, void *user) {
    int status = 0;
    for (;;) {
        pid_t got = waitpid(pid, &status, tick != NULL ? WNOHANG : 0);
        if (got == pid) {
            return status;
        }
        if (got < 0 && errno != EINTR) {
            return -1;
        }
        if (tick != NULL) {
            tick(user);
            nanosleep(&(struct timespec){0, TICK_NS}, NULL);
        }
    }
}

child_end child_run(int (*fn)(void *arg), void *arg, child_tick_fn tick, void *user) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        return (child_end){.started = false, .exit_code = -1};
    }
    if (pid == 0) {
        int code = fn(arg);
        fflush(NULL);
        _exit(code);
    }
    int status = wait_for(pid, tick, user);
    child_end end = {.started = true, .exit_code = -1};
    if (status != -1 && WIFEXITED(status)) {
        end.exit_code = WEXITSTATUS(status);
    } else if (status != -1 && WIFSIGNALED(status)) {
        end.signal = WTERMSIG(status);
    }
    return end;
}

void *child_shared_alloc(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    memset(memory, 0, size);
    return memory;
}

void child_shared_free(void *memory, size_t size) {
    if (memory != NULL) {
        munmap(memory, size);
    }
}

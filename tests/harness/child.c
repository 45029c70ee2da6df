// Child processes, for tests of misuse that ends a process: a fork that runs one function, its
// output read through a pipe. On other systems check_child_run() skips the test.
#if (defined(__unix__) || defined(__APPLE__)) && !defined(__EMSCRIPTEN__) && !defined(__wasi__)
#define _POSIX_C_SOURCE 200809L
#define HAVE_FORK 1
#else
#define HAVE_FORK 0
#endif

#include "check.h"
#include "check_state.h"

#include <string.h>

bool check_child_supported(void) {
    return HAVE_FORK != 0;
}

bool check_child_died(const check_child *child) {
    return child->signal != 0 || child->status != 0;
}

#if HAVE_FORK

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILD_SECONDS_MAX = 60 };

CHECK_NORETURN static void child_main(int output, void (*run)(void *arg), void *arg) {
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    close(output);
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    atomic_store(&check_state.failures, 0);
    check_run_guarded(run, arg);
    fflush(NULL);
    // Not exit(): what the parent registered to run at its end is not the child's business.
    _exit(atomic_load(&check_state.failures) != 0 ? 1 : 0);
}

static int seconds_left(time_t deadline) {
    time_t now = time(NULL);
    return now < deadline ? (int)(deadline - now) : 0;
}

/// Reads until the child closes its end; false when the time is over.
static bool child_read(int input, check_child *out) {
    time_t deadline = time(NULL) + CHILD_SECONDS_MAX;
    char rest[1024];
    for (;;) {
        struct pollfd wait_for = {.fd = input, .events = POLLIN};
        int left = seconds_left(deadline);
        if (left == 0 || poll(&wait_for, 1, left * 1000) == 0) {
            return false;
        }
        size_t space = sizeof(out->text) - 1 - out->text_bytes;
        ssize_t got = space > 0 ? read(input, out->text + out->text_bytes, space)
                                : read(input, rest, sizeof(rest));
        if (got == 0) {
            return true;
        }
        if (got > 0 && space > 0) {
            out->text_bytes += (size_t)got;
        }
    }
}

void check_child_run(void (*run)(void *arg), void *arg, check_child *out) {
    memset(out, 0, sizeof(*out));
    int ends[2];
    fflush(NULL);
    if (pipe(ends) != 0) {
        FAIL("no pipe for a child process");
        check_leave();
    }
    pid_t child = fork();
    if (child < 0) {
        close(ends[0]);
        close(ends[1]);
        FAIL("no child process");
        check_leave();
    }
    if (child == 0) {
        close(ends[0]);
        child_main(ends[1], run, arg);
    }
    close(ends[1]);
    out->timed_out = !child_read(ends[0], out);
    close(ends[0]);
    if (out->timed_out) {
        kill(child, SIGKILL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    out->exited = WIFEXITED(status);
    out->status = out->exited ? WEXITSTATUS(status) : 0;
    out->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

#else

void check_child_run(void (*run)(void *arg), void *arg, check_child *out) {
    (void)run;
    (void)arg;
    memset(out, 0, sizeof(*out));
    SKIP("there are no child processes on this platform");
}

#endif

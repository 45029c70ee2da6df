// A child process runs under ptrace and stops at every system call.
//
//   child:  getrusage, mark(begin), work, mark(end), getrusage
//   parent: counts the stops between the marks
//
// A mark is a prctl() with an option that no kernel knows: it fails, changes nothing, and cannot be
// mistaken. Each thread's stop says by itself whether a call is being entered
// (PTRACE_GET_SYSCALL_INFO), so nothing has to be toggled.
//
// The child's page faults go into memory shared with the parent, because the parent cannot know
// when to ask.

#define _GNU_SOURCE 1

#include "syscall_count.h"

#include "child.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

// One more region than is reported: a trial run of the marks goes there, so that their code is in
// memory.
enum { TRIAL_REGION = SYSCALL_REGIONS, ALL_REGIONS = SYSCALL_REGIONS + 1 };

typedef struct shared_state {
    bool is_traced;
    struct rusage before;
    struct {
        uint64_t entered;
        uint64_t minor_faults;
        uint64_t major_faults;
    } regions[ALL_REGIONS];
} shared_state;

// In a child that syscall_count_run() made: what it shares with its parent. NULL elsewhere.
static shared_state *marks;

static void mark(unsigned action, unsigned region);

void syscall_count_begin(unsigned region) {
    if (marks == NULL || region >= ALL_REGIONS) {
        return;
    }
    marks->regions[region].entered++;
    getrusage(RUSAGE_SELF, &marks->before);
    mark(1, region);
}

void syscall_count_end(unsigned region) {
    if (marks == NULL || region >= ALL_REGIONS) {
        return;
    }
    mark(0, region);
    struct rusage after;
    getrusage(RUSAGE_SELF, &after);
    marks->regions[region].minor_faults += (uint64_t)(after.ru_minflt - marks->before.ru_minflt);
    marks->regions[region].major_faults += (uint64_t)(after.ru_majflt - marks->before.ru_majflt);
}

static void try_marks(void) {
    for (int i = 0; i < 2; i++) {
        syscall_count_begin(TRIAL_REGION);
        syscall_count_end(TRIAL_REGION);
    }
}

#if defined(__linux__)

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

// Spells "faMK"; prctl options are small numbers.
#define MARK_OPTION 0x66614D4B

enum { NO_REGION = -1 };

static void mark(unsigned action, unsigned region) {
    if (marks->is_traced) {
        (void)prctl(MARK_OPTION, (unsigned long)action, (unsigned long)region, 0UL, 0UL);
    }
}

static void child_main(int (*fn)(void *arg), void *arg, shared_state *state) {
    // A process group of its own lets the parent wait for the child's threads and for nobody else.
    (void)setpgid(0, 0);
    state->is_traced = ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
    if (state->is_traced) {
        (void)raise(SIGSTOP);
    }
    marks = state;
    try_marks();
    int code = fn(arg);
    fflush(NULL);
    _exit(code);
}

typedef struct tracer {
    pid_t child;
    int region; // The one that is open, or NO_REGION.
    syscall_count *out;
} tracer;

static void note_call(tracer *t, uint64_t number, const uint64_t *args) {
    if (number == SYS_prctl && args[0] == MARK_OPTION) {
        t->region = args[1] == 1 ? (int)args[2] : NO_REGION;
        return;
    }
    if (t->region < 0 || t->region >= SYSCALL_REGIONS) {
        return;
    }
    syscall_region *region = &t->out->regions[t->region];
    region->calls++;
    region->by_number[number < SYSCALL_NUMBERS ? number : SYSCALL_NUMBERS - 1]++;
}

static void give_up(tracer *t, const char *what) {
    if (t->out->counted) {
        snprintf(t->out->reason, sizeof t->out->reason, "%s: %s", what, strerror(errno));
        t->out->counted = false;
    }
}

// One stop of one thread: looks at it and lets the thread go on.
static void handle_stop(tracer *t, pid_t thread, int status) {
    int signal_number = WSTOPSIG(status);
    if (signal_number == (SIGTRAP | 0x80)) {
        struct __ptrace_syscall_info info;
        if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, (void *)sizeof info, &info) <= 0) {
            give_up(t, "the kernel does not describe system calls");
        } else if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            note_call(t, info.entry.nr, (const uint64_t *)info.entry.args);
        }
        signal_number = 0;
    } else if (signal_number == SIGSTOP || status >> 16 != 0) {
        // The stop at the start of the child or of a new thread, or news about one.
        signal_number = 0;
    }
    (void)ptrace(PTRACE_SYSCALL, thread, NULL, (void *)(intptr_t)signal_number);
}

static void note_end(tracer *t, int status) {
    if (WIFEXITED(status)) {
        t->out->exit_code = WEXITSTATUS(status);
    } else if (WIFSIGNALED(status)) {
        t->out->signal = WTERMSIG(status);
    }
}

static bool wait_for_any(pid_t group, pid_t *who, int *status) {
    do {
        *who = waitpid(-group, status, __WALL);
    } while (*who < 0 && errno == EINTR);
    return *who > 0;
}

static void follow_child(tracer *t) {
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE;
    bool is_first_stop = true;
    pid_t who = 0;
    int status = 0;
    while (wait_for_any(t->child, &who, &status)) {
        if (!WIFSTOPPED(status)) {
            if (who == t->child) {
                note_end(t, status);
            }
            continue;
        }
        if (is_first_stop && ptrace(PTRACE_SETOPTIONS, who, NULL, (void *)options) != 0) {
            give_up(t, "tracing is refused");
        }
        is_first_stop = false;
        handle_stop(t, who, status);
    }
    if (is_first_stop) {
        errno = EPERM;
        give_up(t, "tracing is not permitted here");
    }
}

static bool run_child(int (*fn)(void *arg), void *arg, shared_state *state, syscall_count *out) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        return false;
    }
    if (pid == 0) {
        child_main(fn, arg, state);
    }
    (void)setpgid(pid, pid);
    out->counted = true;
    follow_child(&(tracer){.child = pid, .region = NO_REGION, .out = out});
    return true;
}

#else

static void mark(unsigned action, unsigned region) {
    (void)action;
    (void)region;
}

typedef struct child_work {
    int (*fn)(void *arg);
    void *arg;
    shared_state *state;
} child_work;

static int child_main(void *user) {
    child_work *work = user;
    marks = work->state;
    try_marks();
    return work->fn(work->arg);
}

static bool run_child(int (*fn)(void *arg), void *arg, shared_state *state, syscall_count *out) {
    child_work work = {fn, arg, state};
    child_end end = child_run(child_main, &work, NULL, NULL);
    out->exit_code = end.exit_code;
    out->signal = end.signal;
    snprintf(out->reason, sizeof out->reason, "counting is not supported on this system");
    return end.started;
}

#endif

bool syscall_count_run(int (*fn)(void *arg), void *arg, syscall_count *out) {
    *out = (syscall_count){.exit_code = -1};
    shared_state *state = child_shared_alloc(sizeof *state);
    if (state == NULL || !run_child(fn, arg, state, out)) {
        snprintf(out->reason, sizeof out->reason, "no child process could be made");
        child_shared_free(state, sizeof *state);
        return false;
    }
    out->started = true;
    for (int i = 0; i < SYSCALL_REGIONS; i++) {
        out->regions[i].entered = state->regions[i].entered;
        out->regions[i].minor_faults = state->regions[i].minor_faults;
        out->regions[i].major_faults = state->regions[i].major_faults;
        if (!out->counted) {
            out->regions[i].calls = 0;
            memset(out->regions[i].by_number, 0, sizeof out->regions[i].by_number);
        }
    }
    child_shared_free(state, sizeof *state);
    return out->counted && out->exit_code >= 0;
}

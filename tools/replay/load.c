// child: file --> trace --> plan --> anonymous file          parent: maps that file

#define _GNU_SOURCE 1

#include "load.h"

#include "../common/child.h"
#include "../common/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// What child and parent share while a file is read.
typedef struct load_state {
    volatile uint64_t consumed;
    volatile uint64_t total;
    uint64_t size;
    char error[512];
} load_state;

typedef struct load_work {
    const char *path;
    const trace_limits *limits;
    frame_range range;
    int fd;
    load_state *state;
    progress *bar;
} load_work;

static void note_progress(const source *src, void *user) {
    load_state *state = user;
    state->total = source_size(src);
    state->consumed = source_consumed(src);
}

static bool write_whole(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t count = write(fd, data, size);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return false;
        }
        data += count;
        size -= (size_t)count;
    }
    return true;
}

static int load_fail(load_work *work, uint64_t line, const char *text) {
    char *error = work->state->error;
    size_t size = sizeof work->state->error;
    if (line > 0) {
        snprintf(error, size, "%s:%llu: %s", work->path, (unsigned long long)line, text);
    } else {
        snprintf(error, size, "%s: %s", work->path, text);
    }
    return 1;
}

static int load_main(void *arg) {
    load_work *work = arg;
    char text[256];
    source *src = source_open_file(work->path, text, sizeof text);
    if (src == NULL) {
        return load_fail(work, 0, text);
    }
    trace t;
    trace_error error;
    bool ok = trace_read(src, work->limits, note_progress, work->state, &t, &error);
    source_close(src);
    if (!ok) {
        return load_fail(work, error.line, error.text);
    }
    size_t size = 0;
    void *block = plan_build(&t, work->range, &size, text, sizeof text);
    trace_clear(&t);
    if (block == NULL) {
        return load_fail(work, 0, text);
    }
    ok = write_whole(work->fd, block, size);
    free(block);
    if (!ok) {
        return load_fail(work, 0, "there is not enough memory for this trace");
    }
    work->state->size = size;
    return 0;
}

static void load_tick(void *user) {
    load_work *work = user;
    progress_show(work->bar, "reading the trace", work->state->consumed, work->state->total);
}

// A file without a name that lives in memory.
static int anonymous_file(void) {
#if defined(__linux__)
    int fd = memfd_create("framealloc-plan", MFD_CLOEXEC);
    if (fd >= 0) {
        return fd;
    }
#endif
    char path[] = "/tmp/framealloc-plan-XXXXXX";
    int file = mkstemp(path);
    if (file >= 0) {
        unlink(path);
    }
    return file;
}

static bool load_in_child(load_work *work, loaded_plan *out, char *error, size_t error_size) {
    child_end end = child_run(load_main, work, work->bar->is_shown ? load_tick : NULL, work);
    if (!end.started) {
        snprintf(error, error_size, "%s: no child process could be made", work->path);
        return false;
    }
    if (end.exit_code != 0) {
        if (work->state->error[0] != '\0') {
            snprintf(error, error_size, "%s", work->state->error);
        } else {
            snprintf(error, error_size, "%s: the reading process ended by signal %d", work->path,
                     end.signal);
        }
        return false;
    }
    out->size = (size_t)work->state->size;
    void *memory = mmap(NULL, out->size, PROT_READ, MAP_SHARED, work->fd, 0);
    if (memory == MAP_FAILED) {
        snprintf(error, error_size, "%s: the plan cannot be mapped: %s", work->path,
                 strerror(errno));
        return false;
    }
    out->memory = memory;
    out->plan = plan_view(memory);
    return true;
}

bool plan_load(const char *path, const trace_limits *limits, frame_range range, progress *bar,
               loaded_plan *out, char *error, size_t error_size) {
    *out = (loaded_plan){0};
    uint64_t began = clock_ns();
    load_work work = {.path = path, .limits = limits, .range = range, .bar = bar};
    work.fd = anonymous_file();
    work.state = child_shared_alloc(sizeof *work.state);
    bool ok = false;
    if (work.fd < 0 || work.state == NULL) {
        snprintf(error, error_size, "%s: there is not enough memory", path);
    } else {
        ok = load_in_child(&work, out, error, error_size);
    }
    child_shared_free(work.state, sizeof *work.state);
    if (work.fd >= 0) {
        close(work.fd);
    }
    out->load_ns = clock_ns() - began;
    return ok;
}

void plan_unload(loaded_plan *loaded) {
    if (loaded->memory != NULL) {
        munmap(loaded->memory, loaded->size);
    }
    *loaded = (loaded_plan){0};
}

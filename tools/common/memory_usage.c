// Linux tells it in /proc/self/status, in lines like "VmRSS:      1234 kB".

#include "memory_usage.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATUS_BYTES = 8192 };

static bool find_field(const char *text, const char *name, uint64_t *bytes) {
    const char *line = strstr(text, name);
    if (line == NULL) {
        return false;
    }
    *bytes = (uint64_t)strtoull(line + strlen(name), NULL, 10) * 1024;
    return true;
}

static size_t read_whole(int fd, char *buffer, size_t capacity) {
    size_t used = 0;
    while (used < capacity) {
        ssize_t count = read(fd, buffer + used, capacity - used);
        if (count <= 0) {
            break;
        }
        used += (size_t)count;
    }
    return used;
}

bool memory_usage_get(memory_usage *out) {
    *out = (memory_usage){0};
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    char text[STATUS_BYTES];
    size_t used = read_whole(fd, text, sizeof text - 1);
    close(fd);
    text[used] = '\0';
    return find_field(text, "\nVmRSS:", &out->resident_bytes) &&
           find_field(text, "\nVmHWM:", &out->peak_bytes);
}

// What the figures were taken on.
#include "bench.h"

#include <ctype.h>
#include <gnu/libc-version.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef BENCH_FLAGS
#define BENCH_FLAGS "flags unknown"
#endif

// The value behind the first "key : value" line with this key; false when there is none.
static bool cpuinfo_find(const char *key, char *buffer, size_t size) {
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (file == NULL) {
        return false;
    }
    char line[4096];
    bool found = false;
    while (!found && fgets(line, sizeof(line), file) != NULL) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) == 0 && colon != NULL) {
            char *value = colon + 1 + strspn(colon + 1, " ");
            value[strcspn(value, "\n")] = '\0';
            snprintf(buffer, size, "%s", value);
            found = true;
        }
    }
    fclose(file);
    return found;
}

// Family and model say which processor it is where the name does not, as in virtual machines.
void bench_machine_read(bench_machine *out) {
    *out = (bench_machine){.cores = sysconf(_SC_NPROCESSORS_ONLN)};
    if (!cpuinfo_find("model name", out->cpu, sizeof(out->cpu))) {
        snprintf(out->cpu, sizeof(out->cpu), "unknown CPU");
    }
    char family[16] = "";
    char model[16] = "";
    if (cpuinfo_find("cpu family", family, sizeof(family)) && strlen(out->cpu) < 60 &&
        cpuinfo_find("model\t", model, sizeof(model))) {
        size_t length = strlen(out->cpu);
        snprintf(out->cpu + length, sizeof(out->cpu) - length, " (family %s, model %s)", family,
                 model);
    }
    static char features[4096];
    out->is_virtual = cpuinfo_find("flags", features, sizeof(features)) &&
                      strstr(features, " hypervisor") != NULL;
    struct utsname name;
    if (uname(&name) == 0) {
        snprintf(out->kernel, sizeof(out->kernel), "%.20s %.60s", name.sysname, name.release);
    }
#ifdef __clang__
    snprintf(out->compiler, sizeof(out->compiler), "clang %d.%d.%d", __clang_major__,
             __clang_minor__, __clang_patchlevel__);
#else
    snprintf(out->compiler, sizeof(out->compiler), "gcc %d.%d.%d", __GNUC__, __GNUC_MINOR__,
             __GNUC_PATCHLEVEL__);
#endif
    snprintf(out->flags, sizeof(out->flags), "%s", BENCH_FLAGS);
    snprintf(out->libc, sizeof(out->libc), "glibc %s", gnu_get_libc_version());
    out->clock_ns = bench_clock_cost_ns();
}

// Letters and digits stay, in lower case; everything between them becomes one '-'.
static void append_plain(char *buffer, size_t size, const char *text) {
    size_t length = strlen(buffer);
    for (; *text != '\0' && length + 2 < size; ++text) {
        if (isalnum((unsigned char)*text)) {
            buffer[length++] = (char)tolower((unsigned char)*text);
        } else if (length > 0 && buffer[length - 1] != '-') {
            buffer[length++] = '-';
        }
    }
    while (length > 0 && buffer[length - 1] == '-') {
        --length;
    }
    buffer[length] = '\0';
}

// The full version of a compiler changes with every update; its major number decides what it
// generates.
void bench_machine_file(const bench_machine *machine, char *buffer, size_t size) {
    char tail[96];
    buffer[0] = '\0';
    append_plain(buffer, size, machine->cpu);
    char compiler[64];
    snprintf(compiler, sizeof(compiler), "%s", machine->compiler);
    compiler[strcspn(compiler, ".")] = '\0';
    snprintf(tail, sizeof(tail), "-%ld-cores-%s", machine->cores, compiler);
    append_plain(buffer, size, tail);
    size_t length = strlen(buffer);
    snprintf(buffer + length, size - length, ".csv");
}

// The load of a real game and its frames, from its trace: `framealloc replay`, which stands beside
// this program, does the measuring; here its JSON is read.
#include "measures.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRACE "data/supertux.fatrace.zst"
#define ALLOCATORS "framealloc,mimalloc,glibc"

// All that the program wrote; NULL when it failed. The caller frees it.
static char *output_read(const char *command) {
    FILE *pipe = popen(command, "r");
    size_t room = 1 << 20;
    size_t size = 0;
    char *text = pipe != NULL ? (char *)malloc(room) : NULL;
    while (text != NULL) {
        size_t count = fread(text + size, 1, room - size - 1, pipe);
        if (count == 0) {
            break;
        }
        size += count;
        if (size + 1 == room) {
            room *= 2;
            char *bigger = (char *)realloc(text, room);
            if (bigger == NULL) {
                free(text);
            }
            text = bigger;
        }
    }
    bool succeeded = pipe != NULL && pclose(pipe) == 0;
    if (text == NULL || !succeeded) {
        free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

static char *replay_json(size_t repeats) {
    char path[512];
    char command[1200];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (length <= 0) {
        return NULL;
    }
    path[length] = '\0';
    char *name = strrchr(path, '/');
    *name = '\0';
    snprintf(command, sizeof(command),
             "'%s/framealloc' replay " TRACE " --allocator " ALLOCATORS " --repeat %zu --json",
             path, repeats);
    return output_read(command);
}

// A number some levels down: "time_ns/total".
static double number_at(const cJSON *from, const char *path) {
    char name[32];
    while (from != NULL && *path != '\0') {
        size_t length = strcspn(path, "/");
        snprintf(name, sizeof(name), "%.*s", (int)length, path);
        from = cJSON_GetObjectItemCaseSensitive(from, name);
        path += length + (path[length] == '/');
    }
    return cJSON_IsNumber(from) ? from->valuedouble : -1;
}

static const char *rival_name(const char *name) {
    static const char *const names[] = {"framealloc", "mimalloc", "glibc"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); ++i) {
        if (strcmp(name, names[i]) == 0) {
            return names[i];
        }
    }
    return NULL;
}

static bool runs_take(object_table *tables, const cJSON *json) {
    static const struct {
        const char *path;
        double unit;
    } metrics[] = {
        {"time_ns/total", 1e6}, {"resident_bytes/peak", 1 << 20}, {"frame_ns/steady/median", 1e3}};
    const cJSON *allocator = NULL;
    cJSON_ArrayForEach(allocator, cJSON_GetObjectItemCaseSensitive(json, "allocators")) {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(allocator, "name");
        const char *rival = cJSON_IsString(name) ? rival_name(name->valuestring) : NULL;
        const cJSON *runs = cJSON_GetObjectItemCaseSensitive(allocator, "runs");
        for (size_t metric = 0; rival != NULL && metric < 3; ++metric) {
            size_t number = object_table_rival(&tables[metric], rival);
            size_t count = 0;
            const cJSON *run = NULL;
            cJSON_ArrayForEach(run, runs) {
                double value = number_at(run, metrics[metric].path);
                if (value < 0) {
                    return false;
                }
                tables[metric].samples[number][count++] = value / metrics[metric].unit;
            }
            tables[metric].repeats = count;
        }
    }
    return tables[0].rivals > 0;
}

bool replay_contest(object_table *tables, const object_options *options) {
    if (access(TRACE, R_OK) != 0) {
        fprintf(stderr, "fa_bench_objects: replay: run it where " TRACE " lies: left out\n");
        return true;
    }
    char *text = replay_json(options->repeats);
    cJSON *json = text != NULL ? cJSON_Parse(text) : NULL;
    bool is_right = json != NULL && runs_take(tables, json);
    if (!is_right) {
        fprintf(stderr, "fa_bench_objects: replay: `framealloc replay` failed, or is not built\n");
    }
    cJSON_Delete(json);
    free(text);
    return is_right;
}

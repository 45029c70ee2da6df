// The program `framealloc`: finds the subcommand and runs it.

#include "commands.h"

#include "common/foreign_malloc.h"

#include <framealloc/base.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef struct command {
    const char *name;
    const char *summary;
    command_fn run;
    bool loads_allocators;
} command;

static const command commands[] = {
    {"replay", "replay a game's allocations through framealloc and other allocators",
     command_replay, true},
    {"explain", "say what a code such as FA003 means and what to do", command_explain, false},
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static const command *find_command(const char *name) {
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static void print_help(FILE *out) {
    fprintf(out, "usage: framealloc COMMAND [ARGUMENTS]\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    }
    fprintf(out, "  %-10s %s\n", "help", "show this, or with a command's name its own help");
    fprintf(out, "  %-10s %s\n\n", "--version", "show the version");
    fprintf(out, "exit status: 0 done, 1 done and failed, 2 the command line or a file cannot be"
                 " used\n");
}

static exit_status run_help(int argc, char **argv) {
    if (argc < 2) {
        print_help(stdout);
        return EXIT_OK;
    }
    const command *asked = find_command(argv[1]);
    if (asked == NULL) {
        fprintf(stderr, "framealloc: there is no command '%s'\n", argv[1]);
        return EXIT_USAGE;
    }
    char help[] = "--help";
    char *arguments[] = {argv[1], help, NULL};
    return asked->run(2, arguments);
}

static exit_status run(int argc, char **argv) {
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0) {
        printf("framealloc %s\n", fa_version());
        return EXIT_OK;
    }
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        return run_help(argc - 1, argv + 1);
    }
    const command *asked = find_command(name);
    if (asked == NULL) {
        fprintf(stderr, "framealloc: there is no command '%s'; see framealloc help\n", name);
        return EXIT_USAGE;
    }
    if (asked->loads_allocators) {
        foreign_malloc_make_room(argv);
    }
    return asked->run(argc - 1, argv + 1);
}

int main(int argc, char **argv) {
    exit_status status = run(argc, argv);
    // A full disk or a closed pipe shows only here.
    if ((fflush(stdout) != 0 || ferror(stdout) != 0) && status == EXIT_OK) {
        fprintf(stderr, "framealloc: the output could not be written\n");
        return EXIT_FAILED;
    }
    return (int)status;
}

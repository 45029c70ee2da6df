// framealloc explain [CODE...]: the library's table of codes, one entry or all of them.

#include "commands.h"

#include <framealloc/diagnostics.h>

#include <stdio.h>
#include <string.h>

enum { TEXT_WIDTH = 80, INDENT = 10 };

static void print_usage(FILE *out) {
    fprintf(out, "usage: framealloc explain [CODE...]\n\n"
                 "Shows what each CODE, such as FA003, means: how bad it is, how it comes about and"
                 " what to do.\nWithout a CODE it lists all of them.\n");
}

// Prints a label and a text broken into lines at blanks.
static void print_wrapped(const char *label, const char *text) {
    size_t column = INDENT;
    printf("  %-*s", INDENT - 2, label);
    const char *word = text;
    while (*word != '\0') {
        size_t length = strcspn(word, " ");
        if (column + 1 + length > TEXT_WIDTH && column > INDENT) {
            printf("\n%*s", INDENT, "");
            column = INDENT;
        }
        column += (size_t)printf("%s%.*s", column > INDENT ? " " : "", (int)length, word);
        word += length;
        word += strspn(word, " ");
    }
    printf("\n");
}

static void print_code(const fa_code_info *info) {
    printf("%s  %s: %s\n\n", info->name, fa_severity_name(info->severity), info->message);
    print_wrapped("cause", info->cause);
    print_wrapped("remedy", info->remedy);
}

static void list_codes(void) {
    for (size_t i = 0; i < fa_code_count(); i++) {
        const fa_code_info *info = fa_code_at(i);
        printf("%-7s %-9s %s\n", info->name, fa_severity_name(info->severity), info->message);
    }
}

exit_status command_explain(int argc, char **argv) {
    if (argc == 1) {
        list_codes();
        return EXIT_OK;
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_usage(stdout);
            return EXIT_OK;
        }
        if (argv[i][0] == '-') {
            fprintf(stderr, "framealloc explain: unknown option '%s'\n", argv[i]);
            return EXIT_USAGE;
        }
        if (fa_code_find(argv[i]) == NULL) {
            fprintf(stderr,
                    "framealloc explain: there is no code '%s'; framealloc explain lists them\n",
                    argv[i]);
            return EXIT_USAGE;
        }
    }
    for (int i = 1; i < argc; i++) {
        if (i > 1) {
            printf("\n");
        }
        print_code(fa_code_find(argv[i]));
    }
    return EXIT_OK;
}

#!/bin/sh
# The library needs no build system: one compiler command, no warning, and a program links with the
# objects.
. "$(dirname "$0")/common.sh"

cat >"$WORK/hello.c" <<'END'
#include <framealloc/framealloc.h>
#include <stdio.h>

int main(void) {
    printf("%s %s\n", fa_version(), fa_result_name(FA_OK));
    return fa_result_name(FA_OK)[0] == 'F' ? 0 : 1;
}
END

for compiler in gcc clang; do
    mkdir "$WORK/$compiler"
    compile() {
        # shellcheck disable=SC2086 # Warnings are several words.
        (cd "$WORK/$compiler" &&
            "$compiler" -std=c17 -O2 $WARNINGS_C -Werror -I"$ROOT/include" -c "$ROOT"/src/*/*.c)
    }
    check "library with $compiler -c src/*/*.c" compile || continue
    check "program with its objects, $compiler" \
        "$compiler" -std=c17 -I"$ROOT/include" "$WORK/hello.c" "$WORK/$compiler"/*.o -pthread \
        -o "$WORK/hello" &&
        check "the program runs, $compiler" "$WORK/hello"
done

# DESIGN rule 7: no flag of the program's changes what it shares with the library.
cat >"$WORK/layout.c" <<'END'
#include <framealloc/framealloc.h>
#include <stdio.h>

int main(void) {
    fa_context *ctx = NULL;
    if (fa_context_create(NULL, &ctx) < 0) {
        return 1;
    }
    fa_arena *frame = fa_frame_begin(ctx);
    int *numbers = fa_arena_array(frame, int, 100);
    printf("%zu %zu %zu %zu %zu %zu %zu %d\n", sizeof(fa_arena), sizeof(fa_config),
           sizeof(fa_stats),
           sizeof(fa_mark), sizeof(fa_scratch), sizeof(fa_error), fa_arena_used(frame),
           numbers[99]);
    fa_frame_end(frame);
    return fa_context_destroy(ctx) == FA_OK ? 0 : 1;
}
END
for compiler in gcc clang; do
    build_and_run() {
        name=$1
        shift
        "$compiler" -std=c17 -I"$ROOT/include" "$@" "$WORK/layout.c" "$WORK/$compiler"/*.o \
            -pthread -o "$WORK/$name" && "$WORK/$name" >"$WORK/$name.txt"
    }
    check "a release program with the release library, $compiler" build_and_run release -O2 -DNDEBUG
    check "a debug program with the release library, $compiler" \
        build_and_run debug -O0 -g -DDEBUG -D_DEBUG -fsanitize=address,undefined
    check "both see the same layout, $compiler" diff "$WORK/release.txt" "$WORK/debug.txt"
done

finish

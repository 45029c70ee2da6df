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

finish

#!/bin/sh
# Every public header can be the first include of a file, alone, in C17 and in C++17, without a
# warning.
. "$(dirname "$0")/common.sh"

for header in "$ROOT"/include/framealloc/*.h; do
    name=$(basename "$header")
    # Twice: it must guard itself. The use of a type keeps the file from being empty.
    printf '#include <framealloc/%s>\n#include <framealloc/%s>\nextern int nothing;\n' \
        "$name" "$name" >"$WORK/alone.c"
    cp "$WORK/alone.c" "$WORK/alone.cpp"
    for compiler in gcc clang; do
        # shellcheck disable=SC2086 # Warnings are several words.
        check "$name as C17, $compiler" "$compiler" -std=c17 $WARNINGS_C -Werror -I"$ROOT/include" \
            -fsyntax-only "$WORK/alone.c"
        # shellcheck disable=SC2086
        check "$name as C++17, $compiler" "$compiler" -x c++ -std=c++17 $WARNINGS_CXX -Werror \
            -I"$ROOT/include" -fsyntax-only "$WORK/alone.cpp"
    done
done

finish

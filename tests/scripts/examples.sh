#!/bin/sh
# Every program in examples/ compiles without a warning, with both compilers and with the address
# sanitizer, and ends with status 0. So do those in integrations/<library>/ whose library is here,
# and their headers can be included alone, from C and from C++.
. "$(dirname "$0")/common.sh"

# runs NAME SOURCE COMPILER FLAGS... -- LIBRARIES...
runs() {
    name=$1
    source=$2
    shift 2
    # shellcheck disable=SC2086 # Warnings are several words.
    check "$name compiles, $1" "$@" -std=c17 $WARNINGS_C -Werror -I"$ROOT/include" "$source" \
        "$FA_BUILD/libframealloc.a" $libraries -pthread -lm -o "$WORK/program" || return
    check "$name runs, $1" "$WORK/program"
}

libraries=""
for source in "$ROOT"/examples/*.c; do
    name=$(basename "$source" .c)
    runs "$name" "$source" gcc -O2
    runs "$name" "$source" clang -O2
    runs "$name, sanitized" "$source" gcc -g -fsanitize=address,undefined
done

# A library's name, the header that shows it is there, and how to link it.
integration() {
    library=$1
    header=$2
    libraries=$3
    if ! printf '#include <%s>\nint main(void) { return 0; }\n' "$header" |
        gcc -x c - $libraries -o "$WORK/probe" >/dev/null 2>&1; then
        skip "$library" "it is not here"
        return
    fi
    for source in "$ROOT/integrations/$library"/*.h; do
        name=$(basename "$source")
        printf '#include "%s"\n#include "%s"\nextern int nothing;\n' "$source" "$source" \
            >"$WORK/alone.c"
        cp "$WORK/alone.c" "$WORK/alone.cpp"
        for compiler in gcc clang; do
            # shellcheck disable=SC2086
            check "$name as C17, $compiler" "$compiler" -std=c17 $WARNINGS_C -Werror \
                -I"$ROOT/include" -fsyntax-only "$WORK/alone.c"
            # shellcheck disable=SC2086
            check "$name as C++17, $compiler" "$compiler" -x c++ -std=c++17 $WARNINGS_CXX -Werror \
                -I"$ROOT/include" -fsyntax-only "$WORK/alone.cpp"
        done
    done
    for source in "$ROOT/integrations/$library"/*.c; do
        name=$(basename "$source" .c)
        runs "$name" "$source" gcc -O2
        runs "$name" "$source" clang -O2
    done
}

integration mimalloc mimalloc.h -lmimalloc

finish

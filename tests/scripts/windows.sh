#!/bin/sh
# The library, the tests and a program compile for Windows without a warning, for 64 and for 32
# bits, and link. (Nothing is run: there is no Windows here.)
. "$(dirname "$0")/common.sh"

cat >"$WORK/hello.c" <<'END'
#include <framealloc/framealloc.h>
#include <stdio.h>

int main(void) {
    printf("%s\n", fa_version());
    return 0;
}
END

for machine in x86_64 i686; do
    compiler=$machine-w64-mingw32-gcc
    if ! has "$compiler" || ! has "$machine-w64-mingw32-g++"; then
        skip "Windows, $machine" "$compiler and its C++ compiler are not here"
        continue
    fi
    objects=$WORK/$machine
    mkdir -p "$objects/library" "$objects/dll" "$objects/tests"
    # compile_into FOLDER FLAGS... FILES...
    compile_into() {
        folder=$1
        shift
        # shellcheck disable=SC2086 # Warnings are several words.
        (cd "$folder" && "$compiler" -std=c17 -O2 $WARNINGS_C -Werror -I"$ROOT/include" -c "$@")
    }
    check "library, $machine" compile_into "$objects/library" "$ROOT"/src/*/*.c &&
        check "program, $machine" "$compiler" -std=c17 -I"$ROOT/include" "$WORK/hello.c" \
            "$objects/library"/*.o -o "$WORK/hello.exe"
    check "library as a DLL, $machine" \
        compile_into "$objects/dll" -DFA_SHARED -DFA_BUILD "$ROOT"/src/*/*.c &&
        check "the DLL links, $machine" "$compiler" -shared "$objects/dll"/*.o \
            -o "$WORK/framealloc.dll" -Wl,--out-implib="$WORK/framealloc.dll.a" &&
        check "program with the DLL, $machine" "$compiler" -std=c17 -DFA_SHARED -I"$ROOT/include" \
            "$WORK/hello.c" "$WORK/framealloc.dll.a" -o "$WORK/hello_dll.exe"
    cxx_compiler=$machine-w64-mingw32-g++
    compile_cxx_tests() {
        for source in "$ROOT"/tests/*.cpp; do
            [ -e "$source" ] || continue
            # shellcheck disable=SC2086 # Warnings are several words.
            "$cxx_compiler" -std=c++17 -O2 $WARNINGS_CXX -Werror -I"$ROOT/include" -c "$source" \
                -o "$objects/tests/$(basename "$source" .cpp).o" || return 1
        done
    }
    link_tests() {
        "$cxx_compiler" "$objects/tests"/*.o "$objects/library"/*.o -o "$WORK/tests.exe"
    }
    check "tests, $machine" \
        compile_into "$objects/tests" "$ROOT"/tests/*.c "$ROOT"/tests/harness/*.c &&
        check "tests in C++, $machine" compile_cxx_tests &&
        check "tests link, $machine" link_tests
done

finish

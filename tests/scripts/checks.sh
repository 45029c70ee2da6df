#!/bin/sh
# The checks of `make check` find what they are for: each is run on a small tree with one thing
# wrong in it.
. "$(dirname "$0")/common.sh"

# A tree in which everything is right, made anew for every case.
fresh() {
    tree=$WORK/tree
    rm -rf "$tree"
    mkdir -p "$tree/include/framealloc" "$tree/tests" \
        "$tree/src/os" "$tree/src/core" "$tree/src/arena" "$tree/src/pool"
    printf '// Base.\n#pragma once\n#define FA_API __attribute__((visibility("default")))\n' \
        >"$tree/include/framealloc/base.h"
    printf '// Arena.\n#pragma once\n#include "base.h"\nFA_API int fa_arena_size(void);\n' \
        >"$tree/include/framealloc/arena.h"
    printf '// Tag.\n#pragma once\n#include "base.h"\nFA_API int fa_tag_count(void);\n' \
        >"$tree/include/framealloc/tag.h"
    printf '// OS.\nint fa__os_size(void);\n' >"$tree/src/os/os.h"
    printf '// OS.\n#include "os.h"\n\nint fa__os_size(void) {\n    return 1;\n}\n' \
        >"$tree/src/os/os.c"
    {
        printf '// Tag.\n#include "../os/os.h"\n#include <framealloc/tag.h>\n\n'
        printf 'int fa_tag_count(void) {\n    return fa__os_size();\n}\n'
    } >"$tree/src/core/tag.c"
    {
        printf '// Arena.\n#include "../os/os.h"\n#include <framealloc/arena.h>\n'
        printf '#include <framealloc/tag.h>\n\n'
        printf 'int fa_arena_size(void) {\n    return fa__os_size();\n}\n'
    } >"$tree/src/arena/arena.c"
    printf '// Pool.\n' >"$tree/src/pool/pool.h"
    printf 'SUITE(arena)\n' >"$tree/tests/suites.def"
    printf '// Arena.\n' >"$tree/tests/test_arena.c"
}

# A function of $1 lines, called $2.
long_function() {
    awk -v lines="$1" -v name="$2" 'BEGIN {
        printf "\nint %s(int a,\n        int b) {\n", name
        for (i = 4; i < lines; i++) { print "    a += b;" }
        print "    return a;\n}"
    }'
}

limits=$ROOT/scripts/limits.sh
layers=$ROOT/scripts/layers.sh
marks=$ROOT/scripts/marks.sh
symbols=$ROOT/scripts/symbols.sh

fresh
check "limits: a good tree passes" "$limits" "$tree"
check "layers: a good tree passes" "$layers" "$tree"
check "marks: a good tree passes" "$marks" "$tree"
check "symbols: a good tree passes" "$symbols" "$tree"

# ---- Limits --------------------------------------------------------------------------------------

fresh
awk 'BEGIN { print "// Long."; for (i = 2; i <= 801; i++) { print "" } }' >"$tree/src/core/long.c"
check_refuses "limits: 801 lines are too many" "src/core/long.c: 801 lines" "$limits" "$tree"
awk 'BEGIN { print "// Long."; for (i = 2; i <= 800; i++) { print "" } }' >"$tree/src/core/long.c"
check "limits: 800 lines are not" "$limits" "$tree"

fresh
awk 'BEGIN { printf "//"; for (i = 3; i <= 101; i++) { printf "x" } print "" }' \
    >"$tree/src/core/wide.c"
check_refuses "limits: 101 columns are too many" "src/core/wide.c:1: 101 columns" "$limits" "$tree"

fresh
long_function 101 too_long >>"$tree/src/core/tag.c"
check_refuses "limits: a function of 101 lines is too long" "too_long(): 101 lines, the limit is" \
    "$limits" "$tree"
fresh
for name in one two three four five; do
    long_function 61 "$name" >>"$tree/src/core/tag.c"
done
check "limits: five functions may be over 60 lines" "$limits" "$tree"
long_function 61 six >>"$tree/src/core/tag.c"
check_refuses "limits: six may not" "6 functions are over 60 lines" "$limits" "$tree"

# ---- Layers --------------------------------------------------------------------------------------

fresh
printf '#include "../core/core.h"\n' >>"$tree/src/os/os.c"
printf '// Core.\n' >"$tree/src/core/core.h"
check_refuses "layers: os must not include core" "src/os is not above src/core" "$layers" "$tree"
fresh
printf '#include "../pool/pool.h"\n' >>"$tree/src/arena/arena.c"
check_refuses "layers: arena must not include pool" "src/arena is not above src/pool" \
    "$layers" "$tree"
fresh
printf '#include <framealloc/arena.h>\n' >>"$tree/src/core/tag.c"
check_refuses "layers: core must not include arena.h" "src/core is below arena.h" "$layers" "$tree"
fresh
printf '// Span.\n#pragma once\n#include "arena.h"\n' >"$tree/include/framealloc/span.h"
printf '#include <framealloc/span.h>\n' >>"$tree/src/core/tag.c"
check_refuses "layers: nor a header that includes it" "src/core is below span.h" "$layers" "$tree"
fresh
printf '#include "arena.h"\n' >>"$tree/include/framealloc/tag.h"
check_refuses "layers: tag.h must not include arena.h" "tag.h is of a lower layer than arena.h" \
    "$layers" "$tree"
fresh
printf '#include <unistd.h>\n' >>"$tree/include/framealloc/arena.h"
check_refuses "layers: a public header includes no OS header" "<unistd.h>" "$layers" "$tree"
fresh
printf 'int fa__hidden(void);\n' >>"$tree/include/framealloc/arena.h"
check_refuses "layers: a public header names no internal symbol" "names an internal symbol" \
    "$layers" "$tree"
fresh
mkdir "$tree/src/misc"
printf '// Misc.\n' >"$tree/src/misc/misc.c"
check_refuses "layers: every folder of src is a layer" "src/misc is no layer" "$layers" "$tree"
fresh
printf '// Arena.\n' >"$tree/src/pool/arena.c"
check_refuses "layers: two files of one name are found" "has a arena.c too" "$layers" "$tree"
fresh
mkdir "$tree/tools"
printf '// Tool.\n#include "../src/os/os.h"\n' >"$tree/tools/main.c"
check_refuses "layers: programs use public headers only" "only the library and the tests include" \
    "$layers" "$tree"
fresh
printf '#include "../../tests/help.h"\n' >>"$tree/src/core/tag.c"
printf '// Help.\n' >"$tree/tests/help.h"
check_refuses "layers: the library includes nothing of the tests" \
    "the library includes tests/help.h" "$layers" "$tree"

# ---- Marks ---------------------------------------------------------------------------------------

for mark in TO''DO FIX''ME X''XX HA''CK; do
    fresh
    printf '// %s: later\n' "$mark" >>"$tree/src/core/tag.c"
    check_refuses "marks: $mark is found" "unfinished work" "$marks" "$tree"
done
fresh
printf '// see %s/notes\n' "$tree" >>"$tree/src/core/tag.c"
check_refuses "marks: a path of this machine is found" "a path of this machine" "$marks" "$tree"
fresh
printf '// Pool.\n' >"$tree/tests/test_pool.c"
check_refuses "marks: a suite nobody runs is found" "test_pool.c is not listed" "$marks" "$tree"

# ---- Symbols -------------------------------------------------------------------------------------

fresh
printf '\nint helper(void) {\n    return 1;\n}\n' >>"$tree/src/core/tag.c"
check_refuses "symbols: a global name without fa_ is found" "defines the global name helper" \
    "$symbols" "$tree"
fresh
printf 'FA_API int fa_tag_promised(void);\n' >>"$tree/include/framealloc/tag.h"
check_refuses "symbols: a function that is only declared is found" "fa_tag_promised" \
    "$symbols" "$tree"
fresh
printf '\n__attribute__((visibility("default"))) int fa__shown(void) {\n    return 1;\n}\n' \
    >>"$tree/src/core/tag.c"
check_refuses "symbols: an exported internal name is found" "exports fa__shown" "$symbols" "$tree"
fresh
printf '\nint fa_arena_size(void);\nint fa__tag_up(void) {\n    return fa_arena_size();\n}\n' \
    >>"$tree/src/core/tag.c"
check_refuses "symbols: a call to a higher layer without its header is found" \
    "uses fa_arena_size() of src/arena" "$symbols" "$tree"
fresh
printf '\n#include <stdio.h>\nvoid fa__tag_print(int n) {\n    printf("%%d\\n", n);\n}\n' \
    >>"$tree/src/core/tag.c"
check_refuses "symbols: printing is found" "uses printf" "$symbols" "$tree"

# ---- Format --------------------------------------------------------------------------------------

if has clang-format; then
    mkdir -p "$WORK/format"
    cp "$ROOT/.clang-format" "$WORK/format"
    printf 'int  main( void ){return 0;}\n' >"$WORK/format/bad.c"
    check_refuses "format: a badly laid out file is found" "bad.c" \
        "$ROOT/scripts/format.sh" --check "$WORK/format/bad.c"
    check "format: formatting mends it" "$ROOT/scripts/format.sh" "$WORK/format/bad.c"
    check "format: and then it passes" "$ROOT/scripts/format.sh" --check "$WORK/format/bad.c"
else
    skip "format" "clang-format is not here (make check installs it)"
fi

finish

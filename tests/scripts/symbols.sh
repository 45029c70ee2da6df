#!/bin/sh
# The compiled library shows only its own names, has all it declares, and keeps to its layers.
. "$(dirname "$0")/common.sh"

for compiler in gcc clang; do
    check "names in the library, $compiler" "$ROOT/scripts/symbols.sh" "$ROOT" "$compiler"
done

finish

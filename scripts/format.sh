#!/bin/sh
# Formats the C and C++ files: scripts/format.sh [--check | --wrap] [FILE...]
#
#   (nothing)  formats the files, all of the tree by default; comments stay as they are
#   --check    changes nothing; names the files that clang-format would change and fails if there
#              are any
#   --wrap     also breaks comments that are longer than a line
set -u
cd "$(dirname "$0")/.." || exit 1
mode=format
case ${1:-} in
--check) mode=check; shift ;;
--wrap) mode=wrap; shift ;;
esac
clang_format=clang-format-14
command -v "$clang_format" >/dev/null 2>&1 || clang_format=clang-format
if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046 # File names of this tree have no blanks.
    set -- $(scripts/sources.sh)
fi
case $mode in
check)
    version=$("$clang_format" --version | sed 's/.*version \([0-9]*\).*/\1/')
    bad=0
    for file in "$@"; do
        place=$("$clang_format" "$file" | cmp - "$file" 2>&1) && continue
        echo "format: $file is laid out differently from line ${place##* } on"
        bad=1
    done
    if [ "$bad" = 0 ]; then
        printf 'format: %d files as clang-format %s writes them\n' $# "$version"
        exit 0
    fi
    echo "format: scripts/format.sh mends it"
    [ "$version" = 14 ] || echo "format: the layout is that of clang-format 14, this is $version"
    exit 1
    ;;
wrap)
    style=$(sed -e 's/ReflowComments: false/ReflowComments: true/' .clang-format)
    "$clang_format" -i --style="$style" "$@"
    ;;
format) "$clang_format" -i "$@" ;;
esac

#!/bin/sh
# Prints the files of the tree, one a line: scripts/sources.sh [--root DIR] [--text] [SUFFIX...]
#
# Without a suffix: the C and C++ files. --text: every text file that people write. What is built,
# and what git itself keeps, is left out.
set -u
root=$(dirname "$0")/..
if [ "${1:-}" = --root ]; then
    root=$2
    shift 2
fi
cd "$root" || exit 1
case ${1:-} in
--text) suffixes='c|h|cc|cpp|hpp|inc|def|sh|cmake|in|txt|md|json|run|Makefile' ;;
'') suffixes='c|h|cc|cpp|hpp|inc' ;;
*) suffixes=$(printf '%s|' "$@" | sed 's/|$//') ;;
esac
find . \( -path ./build -o -path ./.git \) -prune -o -type f -print |
    sed 's|^\./||' | grep -E "(^|[./])($suffixes)\$" | sort

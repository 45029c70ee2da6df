#!/bin/sh
# Finds what must not be left in the tree: scripts/marks.sh [ROOT]
#
#   - marks of unfinished work
#   - paths of the machine the tree was written on
#   - tests that assert nothing
#   - suites and scripts of tests that nobody runs
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=${1:-$here/..}
cd "$root" || exit 1
status=0

# Lists the lines of all text files that match, and complains about them.
forbid() {
    what=$1
    shift
    # shellcheck disable=SC2046 # File names of this tree have no blanks.
    if grep -n "$@" -- $("$here/sources.sh" --root . --text) /dev/null; then
        echo "marks: $what"
        status=1
    fi
}

# Written so that this file does not match itself.
forbid "unfinished work" -w -E 'TO[D]O|FIX[M]E|X[X]X|HAC[K]'
top=$(pwd)
case $top in
/*/*) forbid "a path of this machine" -F -e "$top/" ;;
esac
[ -z "${HOME:-}" ] || [ "$HOME" = / ] || forbid "a path of this machine" -F -e "$HOME/"
forbid "a test that asserts nothing" -E '(CHECK|REQUIRE|assert)\(([1]|[t]rue)\)'

for suite in tests/test_*.c tests/test_*.cpp; do
    [ -e "$suite" ] || continue
    name=$(basename "$suite" | sed -e 's/^test_//' -e 's/\.[a-z]*$//')
    if ! grep -q "^SUITE($name)" tests/suites.def; then
        echo "marks: $suite is not listed in tests/suites.def"
        status=1
    fi
done
# A test function that TEST_SUITE() does not name would be an unused static function, which the
# compiler refuses.

[ "$status" = 0 ] && echo "marks: nothing unfinished, no path of this machine, no forgotten suite"
exit "$status"

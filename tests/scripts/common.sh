# Shared by the scripts in this folder: `. "$(dirname "$0")/common.sh"` first, `finish` last.
#
# A script tests by running programs. For each claim it prints one line that tests/run.sh counts:
#
#   ok NAME                 not ok NAME: REASON                 skip NAME: WHY
#
# Lines before a "not ok" that are indented by four blanks are its details. A script can be run by
# itself; its exit status is 0 when nothing failed.
#
#   ROOT       the repository            WORK       a folder outside of it, removed at the end
#   FA_BUILD   a build folder with bin/framealloc (build/release-gcc unless set)
#   JOBS       how many processes a build may use
# shellcheck shell=sh
set -u
LC_ALL=C
export LC_ALL
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
FA_BUILD=${FA_BUILD:-$ROOT/build/release-gcc}
JOBS=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
WORK=$(mktemp -d) || exit 1
failures=0
trap 'rm -rf "$WORK"' EXIT
trap 'exit 1' INT TERM

ok() {
    printf 'ok %s\n' "$1"
}

not_ok() {
    printf 'not ok %s: %s\n' "$1" "$2"
    failures=$((failures + 1))
}

skip() {
    printf 'skip %s: %s\n' "$1" "$2"
}

finish() {
    [ "$failures" = 0 ]
    exit
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# check NAME COMMAND...: ok when the command succeeds; its output is shown when it does not.
check() {
    check_name=$1
    shift
    if "$@" >"$WORK/check.log" 2>&1 </dev/null; then
        ok "$check_name"
    else
        check_status=$?
        sed 's/^/    /' "$WORK/check.log"
        not_ok "$check_name" "status $check_status of: $*"
        return 1
    fi
}

# check_refuses NAME TEXT COMMAND...: ok when the command fails and TEXT is part of what it prints.
check_refuses() {
    check_name=$1
    check_text=$2
    shift 2
    if "$@" >"$WORK/check.log" 2>&1 </dev/null; then
        sed 's/^/    /' "$WORK/check.log"
        not_ok "$check_name" "should have failed: $*"
        return 1
    fi
    if ! grep -qF -e "$check_text" "$WORK/check.log"; then
        sed 's/^/    /' "$WORK/check.log"
        not_ok "$check_name" "failed without saying: $check_text"
        return 1
    fi
    ok "$check_name"
}

# The warnings of the project, as words: for C, and for C++.
# shellcheck disable=SC2034 # The scripts use them.
WARNINGS_CXX=$(cat "$ROOT/cmake/warnings.txt")
# shellcheck disable=SC2034
WARNINGS_C="$WARNINGS_CXX $(cat "$ROOT/cmake/warnings_c.txt")"

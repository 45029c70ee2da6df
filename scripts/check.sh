#!/bin/sh
# All checks of the source text: what `make check` runs. Goes on after a failure, and fails at the
# end.
set -u
cd "$(dirname "$0")/.." || exit 1
failed=""

run() {
    name=$1
    shift
    if ! "$@"; then
        failed="$failed $name"
    fi
}

run format scripts/format.sh --check
run limits scripts/limits.sh
run layers scripts/layers.sh
run marks scripts/marks.sh
run symbols scripts/symbols.sh
scripts/comments.sh

if [ -n "$failed" ]; then
    echo "check: failed:$failed"
    exit 1
fi
echo "check: everything holds"

#!/bin/sh
# Reports how much of the code is comments: scripts/comments.sh [ROOT]. The aim is 15 to 25 percent
# of the lines. A report, no check: it always succeeds. Also says which source files do not open
# with a comment.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=${1:-$here/..}
cd "$root" || exit 1

# shellcheck disable=SC2046 # File names of this tree have no blanks.
awk '
    FNR == 1 {
        folder = FILENAME
        if (!sub(/\/.*/, "", folder)) { folder = "." }
        block = 0
        if ($0 !~ /^(\/\/|\/\*)/) { print "comments: " FILENAME " does not open with a comment" }
    }
    /^[ \t]*$/ { next }
    {
        lines[folder]++
        comment = block || /^[ \t]*(\/\/|\/\*)/
        if (comment) { comments[folder]++ } else if (/\/\//) { comments[folder] += 0.5 }
        if (/\/\*/ && !/\*\//) { block = 1 }
        if (/\*\//) { block = 0 }
    }
    END {
        for (folder in lines) {
            share = 100 * comments[folder] / lines[folder]
            row = sprintf("comments: %-9s %5d lines, %2.0f%% comments", folder, lines[folder],
                          share)
            print row | "sort"
        }
    }' $("$here/sources.sh" --root .) /dev/null
exit 0

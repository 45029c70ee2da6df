#!/bin/sh
# Checks the sizes that keep code readable: scripts/limits.sh [ROOT]
#
#   files       at most 800 lines
#   lines       at most 100 columns in code
#   functions   60 lines is the aim: those above are listed, at most 5 of them are allowed in the
#               whole tree, none over 100 lines
#
# A function is found by the layout that clang-format gives it: it starts in the first column, its
# opening brace ends a line, and its closing brace stands alone in the first column.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=${1:-$here/..}
cd "$root" || exit 1
status=0

# Prose, and tables in text files, may be wider.
"$here/sources.sh" --root . --text |
    awk '!/\.(md|json|txt)$/ || /CMakeLists\.txt$/' | {
    bad=0
    while read -r file; do
        awk -v file="$file" '
            length($0) > 100 {
                printf "%s:%d: %d columns, the limit is 100\n", file, FNR, length($0)
                bad = 1
            }
            END {
                if (FNR > 800) { printf "%s: %d lines, the limit is 800\n", file, FNR; bad = 1 }
                exit bad
            }' "$file" || bad=1
    done
    exit "$bad"
} || status=1

# shellcheck disable=SC2046 # File names of this tree have no blanks.
awk '
    function finish_function(size) {
        count++
        sizes[size]++
        if (size > longest) { longest = size; longest_name = where }
        if (size > 60) { over++; printf "%s: %d lines, the aim is 60\n", where, size }
        if (size > 100) { printf "%s: %d lines, the limit is 100\n", where, size; bad = 1 }
    }
    # The smallest size that this share of all functions does not pass.
    function percentile(share,    size, seen) {
        for (size = 0; size <= longest; size++) {
            seen += sizes[size]
            if (seen >= share * count) { return size }
        }
        return longest
    }
    FNR == 1 { inside = ""; start = 0 }
    inside != "" {
        if ($0 ~ /^}/) {
            if (inside == "function") { finish_function(FNR - start + 1) }
            inside = ""
            start = 0
        }
        next
    }
    /^(extern "C"|namespace)/ || /^#/ || /^\/\// { next }
    /^[A-Za-z_]/ { start = FNR; head = "" }
    start != 0 {
        head = head " " $0
        if ($0 ~ /\{$/) {
            text = head
            sub(/ *\{$/, "", text)
            is_function = text ~ /\)( const| noexcept)?$/ && text !~ /=/
            inside = is_function ? "function" : "other"
            name = text
            sub(/\(.*/, "", name)
            sub(/.*[ *&]/, "", name)
            where = FILENAME ":" start ": " name "()"
        } else if ($0 ~ /[;}]$/) {
            start = 0
        }
    }
    END {
        printf "functions: %d, half have at most %d lines, 90%% at most %d, the longest %d: %s\n",
               count, percentile(0.5), percentile(0.9), longest, longest_name
        if (over > 5) { printf "%d functions are over 60 lines, 5 are allowed\n", over; bad = 1 }
        exit bad
    }' $("$here/sources.sh" --root .) /dev/null || status=1
exit "$status"

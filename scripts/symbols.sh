#!/bin/sh
# Checks the names in the compiled library: scripts/symbols.sh [ROOT [COMPILER]]
#
#   - the shared library exports only fa_ names, and no fa__ name
#   - the static library defines only fa_ and fa__ names
#   - every function that a public header declares with FA_API exists
#   - no layer uses a function of a higher one, also not without its header
#   - the library neither prints nor exits
#
# It compiles the library in a temporary folder. Needs ELF, so it has nothing to say on macOS and
# Windows.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=${1:-$here/..}
compiler=${2:-cc}
cd "$root" || exit 1

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# One object for each source, named <layer>:<file>.o.
for source in src/*/*.c; do
    layer=$(basename "$(dirname "$source")")
    object=$work/$layer:$(basename "$source" .c).o
    "$compiler" -std=c17 -O2 -fPIC -fvisibility=hidden -Iinclude -c "$source" -o "$object" || exit 1
done
"$compiler" -shared -o "$work/library.so" "$work"/*.o -pthread || exit 1

nm -D --defined-only "$work/library.so" | awk 'NF > 1 { print "exported", $NF }' >"$work/facts"
for object in "$work"/*.o; do
    layer=$(basename "$object")
    nm -g "$object" | awk -v layer="${layer%%:*}" -v file="${layer#*:}" '
        $(NF - 1) == "U" || $(NF - 1) == "w" { print "used", $NF, layer, file; next }
        NF >= 2 { print "defined", $NF, layer, file }'
done >>"$work/facts"
cat include/framealloc/*.h | awk '
    /^[ \t]*#/ { next }
    /FA_API/ { declaration = ""; open = 1 }
    open {
        declaration = declaration " " $0
        if (match(declaration, /fa_[a-z0-9_]+\(/)) {
            print "declared", substr(declaration, RSTART, RLENGTH - 1)
            open = 0
        } else if ($0 ~ /;/) { open = 0 }
    }' >>"$work/facts"

awk -v compiler="$compiler" '
    BEGIN {
        rank["os"] = 1; rank["core"] = 2; rank["arena"] = 3; rank["pool"] = 3
        rank["heap"] = 4; rank["lifetime"] = 5; rank["observe"] = 6
        n = split("printf fprintf vprintf vfprintf puts putchar fputs fputc putc fwrite perror " \
                  "stdout stderr write exit _exit _Exit quick_exit __printf_chk __fprintf_chk",
                  list, " ")
        for (i = 1; i <= n; i++) { forbidden[list[i]] = 1 }
    }
    function complain(text) { print compiler ": " text; bad = 1 }
    $1 == "exported" {
        exports++
        exported[$2] = 1
        if ($2 !~ /^fa_[a-z0-9]/) { complain("the shared library exports " $2) }
    }
    $1 == "defined" {
        home[$2] = $3
        if ($2 !~ /^fa_/) { complain("src/" $3 "/" $4 " defines the global name " $2) }
    }
    $1 == "used" { k = ++uses; used[k] = $2; user[k] = $3; user_file[k] = $3 "/" $4 }
    $1 == "declared" { declared[$2] = 1 }
    END {
        for (name in declared) {
            if (!(name in exported)) {
                complain("a header declares " name "(), and the library does not export it")
            }
        }
        for (k = 1; k <= uses; k++) {
            where = "src/" user_file[k] " uses " used[k]
            if (used[k] in forbidden) { complain(where ": the library never prints or exits") }
            if (!(used[k] in home) || home[used[k]] == user[k]) { continue }
            if (rank[home[used[k]]] >= rank[user[k]]) {
                complain(where "() of src/" home[used[k]] ", which is not below it")
            }
        }
        if (!bad) {
            printf "symbols: %d exported, all fa_, none missing (%s)\n", exports, compiler
        }
        exit bad
    }' "$work/facts"

#!/bin/sh
# Counts the instructions of every fast path with callgrind, for each compiler.
#
#   bench/instructions.sh [--raw | --csv FILE] [COMPILER ...]     default: gcc and clang, if there
#
# --raw prints one line per figure, "compiler-version operation variant instructions", for scripts.
# --csv prints the table and writes the figures to FILE as well, see docs/benchmarks.md.
# The library and bench/count_ops.c are compiled with -O2 in a folder that is removed at the end.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
trap 'exit 1' INT TERM
raw=no
csv=
if [ "${1:-}" = --raw ]; then
    raw=yes
    shift
elif [ "${1:-}" = --csv ]; then
    csv=${2:?--csv needs a file}
    shift 2
fi

# Without valgrind there is nothing to count: an error for a script, a remark in `make bench`.
header='#include <valgrind/callgrind.h>'
if ! command -v valgrind >/dev/null || ! echo "$header" | "${1:-cc}" -E - >/dev/null 2>&1; then
    echo "instructions.sh: valgrind or its header callgrind.h is not installed: nothing counted" >&2
    [ $raw = no ]
    exit
fi
if [ $# -eq 0 ]; then
    for compiler in gcc clang; do
        if command -v $compiler >/dev/null; then
            set -- "$@" $compiler
        fi
    done
fi

# "gcc-12", "clang-14": counts belong to a compiler and its major version.
compiler_name() {
    major=$("$1" -dumpversion | cut -d. -f1)
    case $("$1" --version | head -n 1) in
        *clang*) echo "clang-$major" ;;
        *) echo "gcc-$major" ;;
    esac
}

# Compiles the library and the driver and runs it; leaves one callgrind dump per counted run in $2.
count() {
    mkdir "$2"
    "$1" -std=c17 -O2 -D_GNU_SOURCE -I"$root/include" -I"$root/bench" \
        "$root"/src/*/*.c "$root/bench/floor.c" "$root/bench/count_ops.c" \
        "$root/bench/count_objects.c" -o "$2/count_ops" -pthread
    if ! valgrind -q --tool=callgrind --callgrind-out-file="$2/dump" --error-exitcode=9 \
        "$2/count_ops" >"$2/log" 2>&1; then
        cat "$2/log" >&2
        return 1
    fi
}

# Dumps to "operation variant instructions": the difference of the two runs divided by the
# operations between them, less that of the baseline. Of an operation called *_worst there are many
# runs: the costliest of them, less the other operations in it at the price of the cheapest run.
per_operation() {
    folder=$1
    set --
    while [ -f "$folder/dump.$(($# + 1))" ]; do
        set -- "$@" "$folder/dump.$(($# + 1))"
    done
    awk '
        /^desc: Trigger: Client Request: / {
            sub(/^desc: Trigger: Client Request: /, "")
            split($0, part, " ")
        }
        /^(totals|summary): / && part[1] != "" {
            key = part[1] " " part[3]
            if (!(key in base)) { order[++keys] = key; base[key] = part[2] " " part[3] }
            runs[key]++
            count[key, runs[key]] = part[4]
            if (part[1] ~ /_worst$/) {
                if (!(key in least) || $2 < least[key]) least[key] = $2
                if ($2 > most[key]) most[key] = $2
            }
            cost[key, runs[key]] = $2
            part[1] = ""
        }
        END {
            for (i = 1; i <= keys; i++) {
                key = order[i]
                if (key ~ / warm$/) continue
                if (key in most) {
                    each[key] = most[key] - least[key] * (1 - 1 / count[key, 1])
                    continue
                }
                each[key] = (cost[key, 2] - cost[key, 1]) / (count[key, 2] - count[key, 1])
            }
            for (i = 1; i <= keys; i++) {
                key = order[i]
                if (key ~ / warm$/) continue
                less = base[key] in each ? each[base[key]] : 0
                printf "%s %.2f\n", key, each[key] - less
            }
        }' "$@"
}

for compiler in "$@"; do
    name=$(compiler_name "$compiler")
    count "$compiler" "$out/$name"
    per_operation "$out/$name" | sed "s/^/$name /"
done >"$out/raw"

if [ $raw = yes ]; then
    cat "$out/raw"
    exit 0
fi

if [ -n "$csv" ]; then
    {
        echo "# instructions csv 1"
        echo "compiler,operation,variant,instructions"
        tr ' ' ',' <"$out/raw"
    } >"$csv"
fi

awk '
    BEGIN {
        title["floor16"] = "hand-written bump, constant 16"
        title["const16"] = "fa_arena_alloc, constant 16"
        title["const64"] = "fa_arena_alloc, constant 64"
        title["variable"] = "fa_arena_alloc, size in a variable"
        title["aligned64"] = "fa_arena_alloc_aligned, 48 at 64"
        title["try16"] = "fa_arena_try_alloc, constant 16"
        title["array"] = "fa_arena_array_uninit, 8 of 8 B"
        title["tagged16"] = "fa_tagged_alloc, constant 16"
        title["current"] = "fa_frame_current"
        title["vec_push"] = "fa_vec_push, within the capacity"
        title["frame_empty"] = "fa_frame_begin + end, empty"
        title["frame_used"] = "fa_frame_begin + end, one block"
        title["tag_push"] = "fa_tag_push"
        title["tag_pop"] = "fa_tag_pop"
        title["scratch"] = "fa_scratch_begin + end"
        title["mark"] = "fa_arena_mark + rewind"
        title["group"] = "small arena, 10 blocks in it"
        title["pool_pair"] = "fa_pool_alloc + free"
        title["pool_alloc"] = "fa_pool_alloc"
        title["pool_free"] = "fa_pool_free"
        title["tagged_pair"] = "the same, generations and tags"
        title["handle_make"] = "fa_pool_handle"
        title["handle_resolve"] = "fa_pool_resolve"
        title["block_resolve"] = "fa_block_resolve"
        title["heap_pair"] = "fa_heap_alloc + free, 64 B"
        title["heap_alloc"] = "fa_heap_alloc, 64 B"
        title["heap_free"] = "fa_heap_free, 64 B"
        title["pool_alloc_worst"] = "fa_pool_alloc, the worst of 21,000"
        title["pool_free_worst"] = "fa_pool_free, the worst of 21,000"
        title["heap_alloc_worst"] = "fa_heap_alloc, the worst of 21,000"
        title["heap_free_worst"] = "fa_heap_free, the worst of 21,000"
    }
    {
        if (!($1 in seen)) { seen[$1] = 1; compiler[++compilers] = $1 }
        if (!($2 in known)) { known[$2] = 1; operation[++operations] = $2 }
        value[$1, $2, $3] = $4
    }
    END {
        printf "instructions per operation (callgrind, -O2), the loop taken off\n"
        printf "  %-36s", ""
        for (c = 1; c <= compilers; c++) printf " %18s", compiler[c]
        printf "\n  %-36s", "operation"
        for (c = 1; c <= compilers; c++) printf " %9s%9s", "plain", "budgets"
        printf "\n"
        for (o = 1; o <= operations; o++) {
            if (operation[o] == "loop") continue
            printf "  %-36s", title[operation[o]]
            for (c = 1; c <= compilers; c++)
                printf " %9.1f%9.1f", value[compiler[c], operation[o], "plain"],
                    value[compiler[c], operation[o], "budgets"]
            printf "\n"
        }
    }' "$out/raw"

#!/bin/sh
# Holds the instruction counts of the fast paths: each within 1 of tests/expected_instructions.txt
# for the compiler at hand, none above its cap, and the inline ones the same with and without
# budgets.
#
# A compiler of another major version has no recorded counts; its caps are checked all the same. To
# record: run bench/instructions.sh --raw, look at what changed, and put its lines into the file.
. "$(dirname "$0")/common.sh"

expected=$ROOT/tests/expected_instructions.txt
for compiler in gcc clang; do
    if ! has "$compiler" || ! has valgrind ||
        ! echo '#include <valgrind/callgrind.h>' | "$compiler" -E - >/dev/null 2>&1; then
        skip "instructions, $compiler" "needs $compiler, valgrind and its headers"
        continue
    fi
    if ! "$ROOT/bench/instructions.sh" --raw "$compiler" \
        >"$WORK/$compiler" 2>"$WORK/log"; then
        sed 's/^/    /' "$WORK/log"
        not_ok "instructions, $compiler" "bench/instructions.sh failed"
        continue
    fi
    awk '
        FILENAME == ARGV[1] && /^#/ { next }
        FILENAME == ARGV[1] && $1 == "cap" { cap[$2] = $3; next }
        FILENAME == ARGV[1] && $1 == "same" { same[$2] = 1; next }
        FILENAME == ARGV[1] && NF == 4 { recorded[$1, $2, $3] = $4; versions[$1] = 1; next }
        FILENAME == ARGV[1] { next }
        {
            name = $1 " " $2 " " $3
            seen[$2]++
            value[$2, $3] = $4
            compiler = $1
            wrong = ""
            if ($2 in cap && $4 > cap[$2]) {
                wrong = $4 " instructions, the cap is " cap[$2]
            } else if (($1, $2, $3) in recorded) {
                off = $4 - recorded[$1, $2, $3]
                if (off > 1 || off < -1)
                    wrong = $4 " instructions, recorded are " recorded[$1, $2, $3]
            } else if ($1 in versions) {
                wrong = $4 " instructions, but no count is recorded"
            }
            if (wrong != "") print "not ok " name ": " wrong
            else print "ok " name
        }
        END {
            for (operation in cap)
                if (seen[operation] != 2)
                    print "not ok " compiler " " operation ": it was not counted twice"
            for (operation in same) {
                plain = value[operation, "plain"]
                budgets = value[operation, "budgets"]
                name = compiler " " operation " costs the same with and without budgets"
                if (plain != budgets)
                    print "not ok " name ": " budgets " with, " plain " without"
                else
                    print "ok " name
            }
        }' "$expected" "$WORK/$compiler" >"$WORK/verdict"
    cat "$WORK/verdict"
    failures=$((failures + $(grep -c '^not ok ' "$WORK/verdict")))
    [ -s "$WORK/verdict" ] || not_ok "instructions, $compiler" "nothing was counted"
done

finish

#!/bin/sh
# Every C program in README.md and docs/*.md compiles without a warning and ends with status 0;
# where the next block is ```text, the program prints exactly that.
. "$(dirname "$0")/common.sh"

# Cuts the C blocks that have a main() out of a page into FOLDER/1.c, 2.c ..., and the text blocks
# right behind them into 1.txt ...
cut_programs() {
    awk -v folder="$2" '
        /^```c$/ { inside = "c"; code = ""; next }
        /^```text$/ { inside = program ? "text" : ""; code = ""; next }
        /^```/ && inside == "c" {
            program = code ~ /int main\(/
            if (program) { count++; printf "%s", code >(folder "/" count ".c") }
            inside = ""; next
        }
        /^```/ && inside == "text" {
            printf "%s", code >(folder "/" count ".txt"); program = 0; inside = ""; next
        }
        inside != "" { code = code $0 "\n" }
        inside == "" && /^#/ { program = 0 }' "$1"
}

programs=0
for page in "$ROOT"/README.md "$ROOT"/docs/*.md; do
    name=$(basename "$page" .md)
    mkdir -p "$WORK/$name"
    cut_programs "$page" "$WORK/$name"
    for source in "$WORK/$name"/*.c; do
        [ -f "$source" ] || continue
        programs=$((programs + 1))
        program=${source%.c}
        claim="$name, program $(basename "$program")"
        # shellcheck disable=SC2086 # Warnings are several words.
        check "$claim compiles" gcc -std=c17 -O2 $WARNINGS_C -Werror -I"$ROOT/include" "$source" \
            "$FA_BUILD/libframealloc.a" -pthread -lm -o "$program" || continue
        if [ -f "$program.txt" ]; then
            "$program" >"$program.out" 2>&1 </dev/null
            check "$claim prints what the page says" diff "$program.txt" "$program.out"
        else
            check "$claim runs" "$program"
        fi
    done
done

if [ "$programs" -ge 5 ]; then
    ok "the pages have $programs programs"
else
    not_ok "the pages have programs" "only $programs were found"
fi
finish

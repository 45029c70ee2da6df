#!/bin/sh
# The program framealloc as its users meet it: exit status, messages, output, on good files and on
# bad ones.
. "$(dirname "$0")/common.sh"

program=$FA_BUILD/bin/framealloc
if [ ! -x "$program" ]; then
    skip replay_cli "the program framealloc is not built"
    finish
fi

# ends NAME STATUS TEXT COMMAND...: the command ends with STATUS and TEXT is part of what it prints.
ends() {
    ends_name=$1
    ends_status=$2
    ends_text=$3
    shift 3
    "$@" >"$WORK/out" 2>&1 </dev/null
    ends_got=$?
    if [ "$ends_got" != "$ends_status" ]; then
        sed 's/^/    /' "$WORK/out"
        not_ok "$ends_name" "status $ends_got instead of $ends_status"
    elif ! grep -qF -e "$ends_text" "$WORK/out"; then
        sed 's/^/    /' "$WORK/out"
        not_ok "$ends_name" "does not say: $ends_text"
    else
        ok "$ends_name"
    fi
}

# prints TEXT...: each is part of what the last command printed.
prints() {
    for prints_text in "$@"; do
        if grep -qF -e "$prints_text" "$WORK/out"; then
            ok "it prints: $prints_text"
        else
            sed 's/^/    /' "$WORK/out"
            not_ok "it prints: $prints_text" "it does not"
        fi
    done
}

# ---- The program ----

version=$(sed -n 's/^#define FA_VERSION_STRING "\(.*\)"/\1/p' "$ROOT/include/framealloc/base.h")
ends "the version is the library's" 0 "framealloc $version" "$program" --version
ends "help lists the commands" 0 "replay" "$program" help
prints "explain" "exit status: 0 done, 1 done and failed, 2"
ends "a command has help of its own" 0 "--frames A-B" "$program" help replay
prints "--allocator NAMES" "--compare" "glibc" "framealloc" "mimalloc" "jemalloc" "tcmalloc" "none"
ends "no command is refused" 2 "usage: framealloc COMMAND" "$program"
ends "an unknown command is refused" 2 "there is no command 'reply'" "$program" reply
ends "output that cannot be written is a failure" 1 "could not be written" \
    sh -c "'$program' explain >/dev/full"

# ---- explain ----

ends "explain lists the codes" 0 "FA003" "$program" explain
ends "explain tells cause and remedy, in either case" 0 "FA003  error: " "$program" explain fa003
prints "cause" "remedy"
ends "explain takes several codes" 0 "FA302" "$program" explain FA003 FA302
ends "an unknown code is refused" 2 "there is no code 'FA999'" "$program" explain FA003 FA999
ends "an unknown option of explain is refused" 2 "unknown option '--all'" "$program" explain --all

# ---- replay of good files ----

for trace in "$ROOT"/data/*.fatrace.zst; do
    ends "$(basename "$trace") replays and verifies" 0 "frame, median" \
        "$program" replay "$trace" --repeat 1
    prints "   ratio" "frame, 99th percentile" "operations per second" "resident memory, peak" \
        "system calls"
done

cat >"$WORK/small" <<'END'
framealloc-trace 1
s 0 game+0x10
a 1 100 0 0 0
a 2 200 64 0 1
f 1 0
F
r 3 2 5000 0 0
a 4 8000 0 0 0
f 4 0
F
F
f 3 0
F
END
ends "plain text replays" 0 "frames       0 to 3 of 4 recorded" "$program" replay "$WORK/small"
prints "operations   7 by 2 threads" "objects      3: 1 in frames, 1 in scratch scopes," \
    "0 in 0 pools by size, 1 in the heap" "steady: frames 2 to 3, 1 operations"
if grep -q '\[' "$WORK/out"; then
    not_ok "no progress bar off a terminal" "there is one"
else
    ok "no progress bar off a terminal"
fi
ends "a range of frames" 0 "frames       1 to 2 of 4 recorded" \
    "$program" replay "$WORK/small" --frames 1-2
prints "load: 1 blocks that live when frame 1 begins"
ends "one frame" 0 "steady: none" "$program" replay --frames=3 "$WORK/small"
ends "one allocator" 0 "glibc" "$program" replay "$WORK/small" --allocator malloc
if grep -q ' ratio' "$WORK/out"; then
    not_ok "one allocator has no ratio" "there is one"
else
    ok "one allocator has no ratio"
fi
ends "allocators in the order asked for" 0 "  framealloc   ratio       glibc" \
    "$program" replay "$WORK/small" --allocator framealloc,malloc

# Those of other libraries, where they are installed.
"$program" replay --help >"$WORK/help"
here=""
for name in mimalloc jemalloc tcmalloc; do
    if grep -q "  $name .*(not installed here)" "$WORK/help"; then
        skip "$name" "it is not installed here"
        ends "$name that is not installed is refused" 2 "not installed here: '$name'; there are" \
            "$program" replay "$WORK/small" --allocator "$name"
        continue
    fi
    here="$here $name"
    ends "$name replays and verifies" 0 " $name" \
        "$program" replay "$ROOT/data/supertux.fatrace.zst" --repeat 1 --allocator "$name"
done
# What the linker of this machine knows is found.
for library in mimalloc.so.2 jemalloc.so.2 tcmalloc_minimal.so.4; do
    name=${library%%.*}
    name=${name%_minimal}
    if has ldconfig && ldconfig -p | grep -qF "lib$library"; then
        case $here in
        *" $name"*) ok "$name is found" ;;
        *) not_ok "$name is found" "lib$library is installed, but it is not offered" ;;
        esac
    fi
done

ends "a comparison" 0 "whole replay      steady frame        peak memory    system      page" \
    "$program" replay "$ROOT/data/supertux.fatrace.zst" --compare --repeat 3
for name in framealloc glibc $here none; do
    row=$(grep -E "^$name( [0-9.]+)? +[0-9.]+ [mu]?s " "$WORK/out" | awk '{ print NF }')
    if [ -n "$row" ]; then
        ok "the comparison has a line for $name"
    else
        not_ok "the comparison has a line for $name" "it has not"
    fi
done
if [ "$(awk 'length($0) > 100' "$WORK/out" | wc -l)" = 0 ]; then
    ok "the comparison fits 100 columns"
else
    not_ok "the comparison fits 100 columns" "it does not"
fi
ends "a comparison of two" 0 "ratio: to framealloc" \
    "$program" replay "$WORK/small" --compare --allocator framealloc,none
if grep -q '^glibc' "$WORK/out"; then
    not_ok "a comparison of two has only those" "glibc is there too"
else
    ok "a comparison of two has only those"
fi
ends "a pipe" 0 "frames       0 to 3" sh -c "cat '$WORK/small' | '$program' replay /dev/stdin"

ends "JSON" 0 '"framealloc-replay"' "$program" replay "$WORK/small" --json --repeat 2
if ! has python3; then
    skip "JSON parses" "python3 is not here"
elif python3 - "$WORK/out" <<'END'; then
import json, sys
result = json.load(open(sys.argv[1]))
names = [a["name"] for a in result["allocators"]]
assert result["version"] == 2 and result["ok"] is True
assert names == ["glibc", "framealloc", "none"], names
assert all(len(a["runs"]) == 2 and a["ok"] for a in result["allocators"])
END
    ok "JSON parses"
else
    not_ok "JSON parses" "it does not, or lacks something"
fi

if has script && script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
    ends "a progress bar on a terminal" 0 "[#" \
        script -qec "'$program' replay '$ROOT/data/supertux.fatrace.zst' --repeat 1" /dev/null
else
    skip "a progress bar on a terminal" "script(1) is not here"
fi

# ---- The command line ----

ends "no file" 2 "which FILE?" "$program" replay
ends "two files" 2 "one FILE at a time" "$program" replay "$WORK/small" "$WORK/small"
ends "an unknown option" 2 "unknown option '--fast'" "$program" replay "$WORK/small" --fast
ends "an option without its value" 2 "the option '--frames' needs a value" \
    "$program" replay "$WORK/small" --frames
ends "an unknown allocator" 2 "there is no allocator 'jemallox'; there are glibc, framealloc, " \
    "$program" replay "$WORK/small" --allocator malloc,jemallox
ends "an empty allocator" 2 "there is no allocator ''" \
    "$program" replay "$WORK/small" --allocator malloc,
for range in 2-1 x 1- -1 1-2-3 99999999999 ''; do
    ends "the range '$range'" 2 "--frames takes two frame numbers" \
        "$program" replay "$WORK/small" "--frames=$range"
done
ends "a range beyond the trace" 2 "the trace has no frames 2-4: it has frames 0-3" \
    "$program" replay "$WORK/small" --frames 2-4
for repeat in 0 -1 1001 x 1x ''; do
    ends "the repeat '$repeat'" 2 "--repeat takes a number from 1 to 1000" \
        "$program" replay "$WORK/small" "--repeat=$repeat"
done

# ---- Bad files ----

ends "a file that is not there" 2 "$WORK/none: cannot be opened" "$program" replay "$WORK/none"
ends "a folder" 2 "is a directory" "$program" replay "$WORK"
: >"$WORK/bad"
ends "an empty file" 2 "$WORK/bad:1: the file is empty" "$program" replay "$WORK/bad"
ends "another file" 2 "$program:1: this is no framealloc trace" "$program" replay "$program"
ends "endless zeros" 2 "/dev/zero:1: this is no framealloc trace" "$program" replay /dev/zero
sed 's/^f 1 0$/f 1 0\nf 1 0/' "$WORK/small" >"$WORK/bad"
ends "a double free" 2 "$WORK/bad:6: block 1 is freed a second time: it was gone since line 5" \
    "$program" replay "$WORK/bad"
sed 's/^f 3 0$/f 9 0/' "$WORK/small" >"$WORK/bad"
ends "an unknown block" 2 "$WORK/bad:12: block 9 is freed but was never allocated" \
    "$program" replay "$WORK/bad"
head -c 60 "$WORK/small" >"$WORK/bad"
ends "a text that was cut off" 2 "$WORK/bad:4: the file ends in the middle of this line" \
    "$program" replay "$WORK/bad"
head -c 200000 "$ROOT/data/doom.fatrace.zst" >"$WORK/bad"
ends "a compressed file that was cut off" 2 "the compressed data ends too early" \
    "$program" replay "$WORK/bad"
if grep -qE "$WORK/bad:[0-9]{4,}: " "$WORK/out"; then
    ok "it names the line where it was cut"
else
    not_ok "it names the line where it was cut" "$(cat "$WORK/out")"
fi
printf 'framealloc-trace 1\ns 0 ?\na 1 4294967295 0 0 0\na 2 4294967295 0 0 0\n' >"$WORK/bad"
i=3
while [ "$i" -lt 3000 ]; do
    echo "a $i 4294967295 0 0 0"
    i=$((i + 1))
done >>"$WORK/bad"
ends "more memory than there is" 2 "more than the" "$program" replay "$WORK/bad"

# A machine that has too little: only where the program starts at all under such a limit (not with a
# sanitizer).
printf 'framealloc-trace 1\ns 0 ?\na 1 900000000 0 0 0\nf 1 0\nF\n' >"$WORK/big"
if sh -c "ulimit -v 500000 && '$program' --version" >/dev/null 2>&1; then
    ends "an allocator that refuses is a failure" 1 "returned NULL for block 1 of 900000000 bytes" \
        sh -c "ulimit -v 500000 && '$program' replay '$WORK/big' --allocator malloc"
    prints "FAILED glibc: verified pass: frame 0: "
else
    skip "an allocator that refuses is a failure" "the program needs more address space here"
fi

finish

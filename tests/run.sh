#!/bin/sh
# Runs everything that can fail: tests/run.sh [--list] [STEP...]
#
# A step is unit:PRESET (builds a preset of CMakePresets.json and runs all suites in it),
# unit:32bit, or script:NAME (tests/scripts/NAME.sh). An argument chooses the steps whose name
# contains it; without one all run. Several steps run at once, LANES of them, and share JOBS
# processors. Each step prints one line when it ends; its output is shown in full only when
# something in it failed. The last line is
#
#     N passed, N failed            or: N passed, N failed, N skipped
#
# and the exit status is 0 only when nothing failed. FA_TEST_SEED and FA_TEST_SCALE work as for
# fa_tests; TESTS chooses suites or tests inside the unit steps.
set -u
cd "$(dirname "$0")/.." || exit 2
LC_ALL=C
JOBS=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
# A run of the suites keeps one processor busy, a build all it is given.
if [ -z "${LANES:-}" ]; then
    LANES=$((JOBS < 2 ? 1 : JOBS < 8 ? 2 : 4))
fi
JOBS=$((JOBS > LANES ? JOBS / LANES : 1))
FA_BUILD=$(pwd)/build/release-gcc
export LC_ALL JOBS FA_BUILD
# A leak, a race or undefined behaviour ends a run with a status other than 0, and shows where it
# was.
export ASAN_OPTIONS="detect_leaks=1:detect_stack_use_after_return=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}"
export TSAN_OPTIONS="second_deadlock_stack=1:${TSAN_OPTIONS:-}"
# One run of the suites takes this long at most; what hangs is a failure too.
SECONDS_MAX=${SECONDS_MAX:-900}

logs=$(pwd)/build/test-logs
run=$logs/run # What the lanes tell each other: claimed and finished steps, their counts.
rm -rf "$run"
mkdir -p "$run"

# ---- The steps -----------------------------------------------------------------------------------

# The order matters: what finds most mistakes soonest comes first, and scripts use
# build/release-gcc.
steps() {
    for preset in release-gcc release-clang debug-gcc asan-gcc asan-clang tsan-clang; do
        echo "unit:$preset"
    done
    echo "unit:32bit"
    for script in tests/scripts/*.sh; do
        name=$(basename "$script" .sh)
        [ "$name" = common ] || echo "script:$name"
    done
}

# chosen STEP PATTERN...
chosen() {
    step=$1
    shift
    [ $# -gt 0 ] || return 0
    for pattern in "$@"; do
        case $step in
        *"$pattern"*) return 0 ;;
        esac
    done
    return 1
}

# ---- Running one ---------------------------------------------------------------------------------

# The figures of the step: count PASSED FAILED SKIPPED.
count() {
    step_passed=$1
    step_failed=$2
    step_skipped=$3
}

# build_preset PRESET, or build_preset 32bit.
build_preset() {
    if [ "$1" = 32bit ]; then
        cmake -S . -B build/release-32bit -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=gcc \
            -DCMAKE_CXX_COMPILER=g++ -DCMAKE_C_FLAGS=-m32 -DCMAKE_CXX_FLAGS=-m32 \
            -DFRAMEALLOC_WERROR=ON -DFRAMEALLOC_BUILD_TOOLS=OFF \
            -DFRAMEALLOC_BUILD_BENCH=OFF &&
            cmake --build build/release-32bit -j "$JOBS"
    else
        # Everything must build with both compilers; under a sanitizer the tests are enough.
        case $1 in
        asan* | tsan*) target=fa_tests ;;
        *) target=all ;;
        esac
        cmake --preset "$1" && cmake --build --preset "$1" -j "$JOBS" --target "$target"
    fi
}

# The test whose name was the last to be printed.
running_test() {
    sed -n 's/^\([a-z0-9_]*\.[a-z0-9_]*\) \.\.\..*/\1/p' "$log" | tail -n 1
}

run_unit() {
    preset=$1
    folder=build/$preset
    if [ "$preset" = 32bit ]; then
        folder=build/release-32bit
        if ! printf '#include <new>\nint main() { return 0; }\n' |
            g++ -m32 -x c++ - -o "$logs/32bit" >/dev/null 2>&1; then
            why="g++ -m32 does not link here"
            count 0 0 1
            return
        fi
    fi
    if ! build_preset "$preset" >"$log" 2>&1; then
        why="it does not build"
        count 0 1 0
        return
    fi
    # The sanitizers of older compilers do not cope with the address randomisation of newer kernels.
    plain_layout=""
    case $preset in
    asan* | tsan*)
        machine=$(uname -m)
        if setarch "$machine" -R true 2>/dev/null; then
            plain_layout="setarch $machine -R"
        fi
        ;;
    esac
    # shellcheck disable=SC2086 # TESTS and the layout are several words.
    timeout "$SECONDS_MAX" $plain_layout "$folder/bin/fa_tests" --verbose ${TESTS:-} \
        >"$log" 2>&1 </dev/null
    status=$?
    # What the sanitizers find at the end comes after the result.
    result=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
    if [ -z "$result" ]; then
        why="it ended with status $status"
        [ "$status" != 124 ] || why="it was stopped after $SECONDS_MAX s"
        why="$why in: $(running_test)"
        count "$(grep -c ' ok [0-9.]* s$' "$log")" $(($(grep -c '^FAILED ' "$log") + 1)) 0
    else
        # shellcheck disable=SC2046 # Three numbers.
        count $(echo "$result" | awk '{ print $1, $3, (NF > 4 ? $5 : 0) }')
        if [ "$status" != 0 ] && [ "$step_failed" = 0 ]; then
            why="all tests passed, but the program ended with status $status"
            step_failed=1
        fi
    fi
}

run_script() {
    timeout "$SECONDS_MAX" sh "tests/scripts/$1.sh" >"$log" 2>&1 </dev/null
    status=$?
    count "$(grep -c '^ok ' "$log")" "$(grep -c '^not ok ' "$log")" "$(grep -c '^skip ' "$log")"
    # A script that ends early, or that says nothing at all, has not passed.
    [ $((step_passed + step_skipped)) != 0 ] || [ "$status" != 0 ] || status="0, without a result"
    if [ "$step_failed" = 0 ] && [ "$status" != 0 ]; then
        why="it ended with status $status"
        step_failed=1
    fi
}

show_failures() {
    echo "---- ${step#*:}: ${why:-what failed}"
    grep -v -E ' ok [0-9.]+ s$|^ok ' "$log" | sed 's/^/     /'
    echo "---- end of ${step#*:}; all of it is in build/test-logs"
}

# run_step STEP: runs it and prints what there is to say about it, but for the number in front.
run_step() {
    step=$1
    log=$logs/$(file_of "$step").log
    why=""
    start=$(date +%s)
    case $step in
    unit:*) run_unit "${step#unit:}" ;;
    script:*) run_script "${step#script:}" ;;
    esac
    printf '%-22s %5d passed, %d failed' "$step" "$step_passed" "$step_failed"
    [ "$step_skipped" = 0 ] || printf ', %d skipped' "$step_skipped"
    printf ' %6d s\n' $(($(date +%s) - start))
    if [ "$step_failed" != 0 ]; then
        show_failures
    elif [ -n "$why" ]; then
        echo "        skipped: $why"
    fi
    grep -E '^skip(ped)? |^[a-z0-9_.]+ \.\.\. skipped: ' "$log" 2>/dev/null | sed 's/^/        /'
    echo "$step_passed $step_failed $step_skipped" >"$run/$(file_of "$step").count"
}

file_of() {
    echo "$1" | tr ':' '-'
}

# The programs that scripts run are those of build/release-gcc.
wait_for_programs() {
    case $1$todo in
    script:*unit:release-gcc*)
        while [ ! -e "$run/unit-release-gcc.count" ]; do
            sleep 1
        done
        ;;
    esac
}

# Prints the result of a step in one piece, with how many are finished.
print_result() {
    while ! mkdir "$run/printing" 2>/dev/null; do
        sleep 1
    done
    echo "$1" >>"$run/printed"
    printf '[%2d/%d] ' "$(wc -l <"$run/printed")" "$total"
    cat "$1"
    rmdir "$run/printing"
}

# Takes one step after the other that no other lane has taken.
lane() {
    for step in $todo; do
        mkdir "$run/$(file_of "$step").claim" 2>/dev/null || continue
        wait_for_programs "$step"
        run_step "$step" >"$run/$(file_of "$step").out" 2>&1
        print_result "$run/$(file_of "$step").out"
    done
}

# ---- All of them ---------------------------------------------------------------------------------

if [ "${1:-}" = --list ]; then
    steps
    exit 0
fi
todo=""
total=0
for step in $(steps); do
    if chosen "$step" "$@"; then
        todo="$todo $step"
        total=$((total + 1))
    fi
done
if [ "$total" = 0 ]; then
    echo "no step has such a name; the steps are:" >&2
    steps >&2
    exit 2
fi
begin=$(date +%s)
lanes=""
trap 'kill $lanes 2>/dev/null; exit 1' INT TERM
for _ in $(seq "$LANES"); do
    lane &
    lanes="$lanes $!"
done
wait
printf '%d steps in %d s\n' "$total" $(($(date +%s) - begin))
# A step without figures has not run, and that is a failure as well.
cat "$run"/*.count 2>/dev/null | awk -v total="$total" '
    { passed += $1; failed += $2; skipped += $3 }
    END {
        if (NR != total) { failed += total - NR }
        printf "%d passed, %d failed", passed, failed
        if (skipped) { printf ", %d skipped", skipped }
        printf "\n"
        exit failed || !passed
    }'

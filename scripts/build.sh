#!/bin/sh
# Configures and builds a preset of CMakePresets.json: scripts/build.sh PRESET [TARGET...]. One line
# when all is well, the whole output when not.
set -u
cd "$(dirname "$0")/.." || exit 1
preset=$1
shift
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
mkdir -p build
log=build/$preset.log
build() {
    cmake --preset "$preset" || return 1
    if [ $# -gt 0 ]; then
        cmake --build --preset "$preset" -j "$jobs" --target "$@"
    else
        cmake --build --preset "$preset" -j "$jobs"
    fi
}
if build "$@" >"$log" 2>&1; then
    echo "build: build/$preset is up to date${*:+: $*}"
else
    cat "$log"
    echo "build: build/$preset failed"
    exit 1
fi

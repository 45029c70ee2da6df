#!/bin/sh
# Other people's projects find and use the library in every documented way, from C and from C++,
# outside of this tree: find_package, pkg-config, add_subdirectory, FetchContent, and files copied
# into a project.
. "$(dirname "$0")/common.sh"

mkdir "$WORK/program"
cat >"$WORK/program/main.c" <<'END'
#include <framealloc/framealloc.h>
#include <string.h>

int main(void) {
    return strcmp(fa_version(), FA_VERSION_STRING) == 0 ? 0 : 1;
}
END
cp "$WORK/program/main.c" "$WORK/program/main.cpp"

# ---- An installed library ------------------------------------------------------------------------

install_library() {
    cmake -S "$ROOT" -B "$WORK/build" -DCMAKE_BUILD_TYPE=Release -DFRAMEALLOC_BUILD_TESTS=OFF \
        -DFRAMEALLOC_BUILD_TOOLS=OFF -DFRAMEALLOC_BUILD_BENCH=OFF -DFRAMEALLOC_BUILD_EXAMPLES=OFF &&
        cmake --build "$WORK/build" -j "$JOBS" &&
        cmake --install "$WORK/build" --prefix "$WORK/first" &&
        DESTDIR="$WORK/stage" cmake --install "$WORK/build" --prefix /usr
}
check "install" install_library || finish
check "DESTDIR is put before the prefix" test -f "$WORK/stage/usr/include/framealloc/framealloc.h"
check "licenses are installed" test -f "$WORK/first/share/doc/framealloc/LICENSE-MIT"

names_no_folder() {
    ! grep -rlF -e "$WORK" -e "$ROOT" "$WORK/first" \
        --include='*.cmake' --include='*.pc' --include='*.h'
}
check "installed text names no folder of this machine" names_no_folder
mv "$WORK/first" "$WORK/prefix"

# ---- CMake ---------------------------------------------------------------------------------------

# cmake_project NAME FIND TARGET: a project that gets the library by the commands FIND and links
# TARGET.
cmake_project() {
    mkdir -p "$WORK/$1"
    cp "$WORK/program"/main.* "$WORK/$1"
    cat >"$WORK/$1/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.25)
project(consumer C CXX)
$2
add_executable(c_program main.c)
target_link_libraries(c_program PRIVATE $3)
add_executable(cxx_program main.cpp)
target_link_libraries(cxx_program PRIVATE $3)
END
}

# uses NAME ARGS...: configures, builds and runs both programs of a project.
uses() {
    name=$1
    shift
    configure_and_run() {
        cmake -S "$WORK/$name" -B "$WORK/$name/build" -DCMAKE_PREFIX_PATH="$WORK/prefix" "$@" &&
            cmake --build "$WORK/$name/build" -j "$JOBS" &&
            "$WORK/$name/build/c_program" && "$WORK/$name/build/cxx_program"
    }
    check "$name: C and C++ programs build and run" configure_and_run "$@"
}

cmake_project find_package "find_package(framealloc 0.1 REQUIRED)" framealloc::framealloc
uses find_package
cmake_project find_package_shared "find_package(framealloc REQUIRED COMPONENTS shared)" \
    framealloc::framealloc
uses find_package_shared
cmake_project find_package_static "find_package(framealloc REQUIRED COMPONENTS static)" \
    framealloc::static
uses find_package_static

links_shared() {
    readelf -d "$WORK/$1/build/c_program" | grep -q 'NEEDED.*libframealloc'
}
check "the component shared links the shared library" links_shared find_package_shared
if links_shared find_package; then
    not_ok "find_package links the static library by default" "it needs libframealloc.so"
else
    ok "find_package links the static library by default"
fi

cmake_project wrong_version "find_package(framealloc 99 REQUIRED)" framealloc::framealloc
check_refuses "a version that is not there is refused" "99" \
    cmake -S "$WORK/wrong_version" -B "$WORK/wrong_version/build" -DCMAKE_PREFIX_PATH="$WORK/prefix"
cmake_project wrong_component "find_package(framealloc REQUIRED COMPONENTS python)" \
    framealloc::framealloc
check_refuses "a component that is not there is refused" "python" \
    cmake -S "$WORK/wrong_component" -B "$WORK/wrong_component/build" \
    -DCMAKE_PREFIX_PATH="$WORK/prefix"

cmake_project add_subdirectory "add_subdirectory($ROOT framealloc)" framealloc::framealloc
uses add_subdirectory
cmake_project FetchContent "include(FetchContent)
FetchContent_Declare(framealloc SOURCE_DIR $ROOT)
FetchContent_MakeAvailable(framealloc)" framealloc::framealloc
uses FetchContent -DBUILD_SHARED_LIBS=ON

options_are_hidden() {
    ! grep -E 'FRAMEALLOC_(BUILD|WERROR)[A-Z_]*:BOOL' "$WORK/add_subdirectory/build/CMakeCache.txt"
}
check "inside another project there are no options about tests and tools" options_are_hidden
builds_only_library() {
    cmake --build "$WORK/add_subdirectory/build" --target help >"$WORK/targets" || return 1
    ! grep -E 'fa_tests|fa_bench|framealloc_program|framealloc_shared|example_' "$WORK/targets"
}
check "inside another project only the library is built" builds_only_library
installs_nothing() {
    DESTDIR="$WORK/parent_stage" cmake --install "$WORK/add_subdirectory/build" --prefix /usr ||
        return 1
    ! find "$WORK/parent_stage" -name '*framealloc*' 2>/dev/null | grep .
}
check "inside another project nothing of it is installed" installs_nothing

# ---- pkg-config ----------------------------------------------------------------------------------

if has pkg-config; then
    PKG_CONFIG_PATH=$WORK/prefix/lib/pkgconfig
    export PKG_CONFIG_PATH
    with_pkg_config() {
        compiler=$1
        source=$2
        shift 2
        # shellcheck disable=SC2046 # Flags are several words.
        "$compiler" "$WORK/program/$source" $(pkg-config --cflags --libs "$@" framealloc) \
            -o "$WORK/pkg_program" &&
            LD_LIBRARY_PATH="$WORK/prefix/lib" "$WORK/pkg_program"
    }
    check "pkg-config: a C program builds and runs" with_pkg_config cc main.c
    check "pkg-config: a C++ program builds and runs" with_pkg_config c++ main.cpp
    check "pkg-config --static: a C program builds and runs" with_pkg_config cc main.c --static
    check "pkg-config knows the version" pkg-config --atleast-version=0.1 framealloc
else
    skip "pkg-config" "it is not here"
fi

# ---- Copied files --------------------------------------------------------------------------------

copied_files() {
    mkdir "$WORK/copied" &&
        cp -r "$ROOT/include" "$ROOT/src" "$WORK/program"/main.* "$WORK/copied" &&
        cd "$WORK/copied" &&
        cc -std=c17 -Iinclude -c src/*/*.c &&
        cc -std=c17 -Iinclude main.c ./*.o -pthread -o c_program && ./c_program &&
        c++ -std=c++17 -Iinclude main.cpp ./*.o -pthread -o cxx_program && ./cxx_program
}
check "copied into a project: C and C++ programs build and run" copied_files

finish

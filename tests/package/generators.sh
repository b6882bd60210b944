#!/usr/bin/env bash
# The build with the oldest CMake and make, with the newest and ninja, with ninja for several
# configurations, and with a distribution's flags. What cargo has built for the tree that all tests
# share is taken over, so that these are builds of what CMake adds to it.
. "$(dirname "$0")/common.sh"

want_packages make:make
if ! build_library >"$work/build.log" 2>&1; then
    printf 'not ok build\n'
    tail -n 40 "$work/build.log"
    exit 1
fi
cmake=cmake

# tree GENERATOR OPTION...   Configured with $cmake, in $work/tree; a warning of CMake's is an
# error.
tree() {
    local generator=$1
    shift
    taken_over "$work/tree" &&
        "$cmake" -Werror=dev -Werror=deprecated -S "$root" -B "$work/tree" -G "$generator" "$@"
}
# consumer LANGUAGE FLAVOUR GENERATOR OPTION...   Against $work/prefix, with $cmake.
consumer() {
    local language=$1 flavour=$2 generator=$3
    shift 3
    rm -rf "$work/consumer" &&
        "$cmake" -Werror=dev -Werror=deprecated -S "$root/tests/package/consumers" \
        -B "$work/consumer" -G "$generator" -DHOW=package -DCONSUMER="$language" \
        -DFLAVOUR="$flavour" \
        -DCMAKE_PREFIX_PATH="$work/prefix" "$@" && "$cmake" --build "$work/consumer"
}
# Cargo is asked, and has nothing to do; nor has anything when it is built again.
built_once() {
    "$cmake" --build "$work/tree" -j "$jobs" >"$work/first" 2>&1 || { cat "$work/first"; return 1; }
    ! grep -F Compiling "$work/first" && "$cmake" --build "$work/tree" >"$work/again" 2>&1 &&
        ! grep -E 'Rust core|Linking|public symbols' "$work/again"
}
built() {
    rm -rf "$work/prefix" && tree "$1" -DCMAKE_BUILD_TYPE=Release && built_once &&
        "$cmake" --install "$work/tree" --prefix "$work/prefix" &&
        consumer C static "$1" && "$work/consumer/consumer" &&
        consumer CXX shared "$1" && "$work/consumer/consumer"
}

# One tree, two configurations, installed into one prefix; a program of each.
several() {
    local configuration
    rm -rf "$work/prefix" && tree 'Ninja Multi-Config' -DCMAKE_DEBUG_POSTFIX=d || return
    for configuration in Debug Release; do
        "$cmake" --build "$work/tree" --config $configuration &&
            "$cmake" --install "$work/tree" --config $configuration --prefix "$work/prefix" ||
            return
    done
    [ -e "$work/prefix/lib/libmonad_asyncd.a" ] && [ -e "$work/prefix/lib/libmonad_async.a" ] ||
        return
    consumer CXX shared 'Ninja Multi-Config' &&
        "$cmake" --build "$work/consumer" --config Release || return
    readelf -d "$work/consumer/Debug/consumer" | grep -qF 'libmonad_asyncd.so.' &&
        readelf -d "$work/consumer/Release/consumer" | grep -qF 'libmonad_async.so.' &&
        "$work/consumer/Debug/consumer" && "$work/consumer/Release/consumer"
}

# As a distribution sets them for all it builds: for the program, and when our shared library is
# linked. (What these do to our own C++, cmake.sh builds.)
distribution_flags() {
    local flags='-flto=auto -ffat-lto-objects -fcf-protection -fstack-clash-protection'
    flags+=' -D_FORTIFY_SOURCE=2'
    rm -rf "$work/prefix" && tree Ninja -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_SHARED_LINKER_FLAGS='-flto=auto -Wl,-z,relro -Wl,-z,now -Wl,--as-needed' &&
        built_once &&
        "$cmake" --install "$work/tree" --prefix "$work/prefix" &&
        readelf -d "$work/prefix/lib/libmonad_async.so" | grep -F BIND_NOW || return
    local language flavour
    for language in C CXX; do
        for flavour in static shared; do
            consumer $language $flavour Ninja -DCMAKE_BUILD_TYPE=Release \
                -DCMAKE_C_FLAGS="-O2 $flags" \
                -DCMAKE_CXX_FLAGS="-O2 $flags" \
                -DCMAKE_EXE_LINKER_FLAGS='-flto=auto -Wl,-z,now -pie' &&
                "$work/consumer/consumer" || return
        done
    done
}
# What checkers of packages look for in a library.
hardened() {
    local library=$build/release/libmonad_async.so
    # No stack that may be executed, no relocations in code, no directory to search libraries in.
    readelf -lW "$library" | grep -E 'GNU_STACK .* RW +0x' && ! readelf -d "$library" |
        grep -E 'TEXTREL|R(UN)?PATH' &&
        readelf -lW "$library" | grep -F GNU_RELRO
}

check 'ninja, several configurations' several
check "a distribution's flags, -flto among them" distribution_flags
check 'no executable stack, no relocated code, no RPATH' hardened
# with VERSION GENERATOR
with() {
    if python_tools "cmake-$1" "cmake==$1"; then
        cmake=$python/bin/cmake
        check "CMake $1, $2" built "$2"
    else
        skip_check "CMake $1, $2" 'it cannot be had'
    fi
}
with 3.22.6 'Unix Makefiles'
with 4.4.4 Ninja
[ -z "${MONAD_ASYNC_LONG:-}" ] || { with 3.22.6 Ninja && with 4.4.4 'Unix Makefiles' && several; }
exit $status

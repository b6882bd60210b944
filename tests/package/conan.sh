#!/usr/bin/env bash
# The recipe for Conan 2, as a user runs it, without any remote and without the network.
#
# MONAD_ASYNC_LONG=1: packages are created, the archive, the shared library and one for
# ThreadSanitizer, as they are shipped.
. "$(dirname "$0")/common.sh"

if ! python_tools conan conan==2.34.0; then
    skip_check 'Conan' 'no Conan to be had'
    exit 0
fi
export PATH=$python/bin:$PATH CONAN_HOME=$work/conan CARGO_NET_OFFLINE=true
# Where that is allowed, the network is not there at all.
off=(unshare -n)
[ "$(id -u)" = 0 ] || off=(unshare -rn)
"${off[@]}" true 2>/dev/null || off=()
build_type=Release

set_up() {
    conan profile detect && conan remote remove '*'
}
its_version() {
    conan inspect "$root" | grep -x "version: $(version)"
}
other_systems_are_refused() {
    ! conan install --requires "monad_async/$(version)" -s os=Windows -of "$work/other" >"$work/refused" 2>&1 &&
        grep -F 'needs Linux' "$work/refused"
}
# created SHARED   Built, packaged, and the two programs of its test package run.
created() {
    "${off[@]}" conan create "$root" -s build_type=$build_type -o "monad_async/*:shared=$1" \
        -c tools.cmake.cmake_layout:test_folder="$work/test" >"$work/created-$1" 2>&1 || {
        cat "$work/created-$1"
        return 1
    }
    [ "$(grep -cE '^[0-9]+ lines$' "$work/created-$1")" = 2 ]
}
both_sanitizers_are_refused() {
    ! conan create "$root" -o 'monad_async/*:asan=True' -o 'monad_async/*:tsan=True' \
        >"$work/refused" 2>&1 && grep -F 'a program has one of the sanitizers' "$work/refused"
}
# A library that is told of ThreadSanitizer, as the profile says that programs are built with it.
for_thread_sanitizer() {
    "${off[@]}" conan create "$root" -s build_type=$build_type -o 'monad_async/*:tsan=True' \
        -c 'tools.build:cflags=["-fsanitize=thread"]' -c 'tools.build:cxxflags=["-fsanitize=thread"]' \
        -c tools.cmake.cmake_layout:test_folder="$work/test-tsan" >"$work/created-tsan" 2>&1 || {
        cat "$work/created-tsan"
        return 1
    }
    [ "$(grep -cE '^[0-9]+ lines$' "$work/created-tsan")" = 2 ] &&
        ! grep -F 'WARNING: ThreadSanitizer' "$work/created-tsan"
}
# packaged WITH WITHOUT   What is in the newest package, and what is not.
packaged() {
    local dir
    dir=$(find "$CONAN_HOME/p/b" -path '*/p/conaninfo.txt' -printf '%T@ %h\n' | sort -n | tail -n 1)
    dir=${dir#* }
    [ -e "$dir/lib/$1" ] && [ ! -e "$dir/lib/$2" ] && [ -s "$dir/licenses/LICENSE" ] &&
        [ -s "$dir/licenses/THIRD_PARTY_LICENSES" ] && [ -s "$dir/share/doc/monad_async/monad_async.cdx.json" ] && [ -s "$dir/lib/pkgconfig/monad_async.pc" ] &&
        ! strings -a "$dir/lib/$1" | grep -F -e "$work" -e "$root" -e "$HOME/"
}
# A program by pkg-config's file, for which one library is all there is.
by_pkg_config() {
    local libraries flags
    libraries=$(dirname "$(find "$CONAN_HOME/p/b" -path '*/p/lib/libmonad_async.a')")
    flags=$(PKG_CONFIG_PATH=$libraries/pkgconfig pkg-config --cflags --libs monad_async) &&
        eval "gcc '$root/tests/package/consumers/consumer.c' -o '$work/by-pc' $flags" && "$work/by-pc"
}
source_is_as_it_was() {
    [ ! -e "$root/CMakeUserPresets.json" ] && [ ! -e "$root/packaging/conan/test_package/build" ] &&
        [ ! -e "$root/packaging/conan/test_package/CMakeUserPresets.json" ]
}

check 'Conan, without a remote' set_up
check 'the recipe has the version of config.h' its_version
check 'both sanitizers are refused' both_sanitizers_are_refused
if [ -n "${MONAD_ASYNC_LONG:-}" ]; then
    check 'the archive: created, and its test package runs' created False
    check 'the archive alone is packaged' packaged libmonad_async.a libmonad_async.so
    check 'a program by pkg-config' by_pkg_config
    check 'other systems are refused' other_systems_are_refused
    check 'the shared library: created, and its test package runs' created True
    check 'the shared library alone is packaged' packaged libmonad_async.so libmonad_async.a
    check 'for ThreadSanitizer: created, and its test package runs' for_thread_sanitizer
else
    skip_check 'packages created by the recipe' 'a minute more; MONAD_ASYNC_LONG=1'
fi
check 'nothing is left in the source' source_is_as_it_was
exit $status

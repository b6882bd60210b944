#!/usr/bin/env bash
# The port for vcpkg, as far as it can be tried without vcpkg: its manifest, and its portfile with
# functions in place of vcpkg's (vcpkg.cmake) that configure and install for real. What is built is
# taken from the build tree: nothing is compiled here but a program against what the port installed.
. "$(dirname "$0")/common.sh"

port=$root/packaging/vcpkg/monad-async
if [ -z "${MONAD_ASYNC_PREFIX:-}" ] && ! build_library >"$work/build.log" 2>&1; then
    printf 'not ok build\n'
    tail -n 40 "$work/build.log"
    exit 1
fi

manifest() {
    cat >"$work/manifest.cmake" <<'END'
file(READ "${MANIFEST}" text)
foreach(key name version description license supports)
  string(JSON ${key} GET "${text}" ${key})
endforeach()
string(JSON count LENGTH "${text}" dependencies)
if(NOT name MATCHES "^[a-z0-9]+(-[a-z0-9]+)*$" OR NOT version STREQUAL VERSION OR NOT count EQUAL 2)
  message(FATAL_ERROR "${name} ${version}, ${count} dependencies")
endif()
END
    cmake -DMANIFEST="$port/vcpkg.json" -DVERSION="$(version)" -P "$work/manifest.cmake"
}
another_version_is_seen() {
    ! (port=$work && sed 's/"version": "[^"]*"/"version": "9.9.9"/' \
        "$root/packaging/vcpkg/monad-async/vcpkg.json" >"$work/vcpkg.json" && manifest)
}
# installed LINKAGE [PORT]
installed() {
    cmake -DPORTFILE="${2:-$port}/portfile.cmake" -DLINKAGE="$1" -DBUILT="$build/release" \
        -DOUT="$work/$1" -P "$root/tests/package/vcpkg.cmake"
}
# What vcpkg's own checks after a build complain of.
layout() {
    local dir=$work/$1/packages with=$2 without=$3
    [ -e "$dir/lib/$with" ] && [ -e "$dir/debug/lib/$with" ] && [ -s "$dir/share/monad-async/copyright" ] &&
        [ -s "$dir/share/monad-async/usage" ] && [ -s "$dir/include/monad/async.h" ] &&
        [ -x "$dir/tools/monad-async/monad-async-trace" ] && [ -s "$dir/share/doc/monad_async/monad_async.cdx.json" ] &&
        grep -q 'Apache License' "$dir/share/monad-async/copyright" &&
        grep -q 'corosensei' "$dir/share/monad-async/copyright" || return
    # No library of the other kind, no programs, nothing twice, no empty directory.
    ! find "$dir" \( -name "$without*" ! -name '*gdb.py' \) -o -path '*/bin' -o -path '*/debug/include' \
        -o -path '*/debug/share' -o -path '*/lib/cmake' -o -type d -empty | grep .
}
consumer() {
    cmake -S "$root/tests/package/consumers" -B "$work/consumer-$1" -G Ninja -DHOW=package -DCONSUMER=CXX \
        -DFLAVOUR="$2" -DCMAKE_PREFIX_PATH="$work/$1/packages" -DCMAKE_BUILD_TYPE="$3" &&
        cmake --build "$work/consumer-$1" && "$work/consumer-$1/consumer"
}
# A portfile that names an option which the build does not have.
an_unknown_option_is_seen() {
    mkdir -p "$work/packaging/vcpkg/port" && ln -sfn "$root"/{CMakeLists.txt,LICENSE,cmake} "$work" &&
        sed 's/-DMONAD_ASYNC_REMAP_PATHS/-DMONAD_ASYNC_REMAP/; s|get_filename_component.*|set(SOURCE_PATH "'"$root"'")|' \
            "$port/portfile.cmake" >"$work/packaging/vcpkg/port/portfile.cmake" &&
        ! installed other "$work/packaging/vcpkg/port"
}

check 'the manifest' manifest
check 'another version would be seen' another_version_is_seen
check 'installed, static' installed static
check 'what is installed, static' layout static libmonad_async.a libmonad_async.so
check 'a program, static' consumer static static Release
check 'installed, dynamic' installed dynamic
check 'what is installed, dynamic' layout dynamic libmonad_async.so libmonad_async.a
check 'a program, dynamic' consumer dynamic shared Debug
check 'an option that is unknown would be seen' an_unknown_option_is_seen
exit $status

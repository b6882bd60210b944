#!/usr/bin/env bash
# What a project may ask of the build: directories, components, compiler flags, a cross compiler, a
# parent project with files and targets of the same names; and that what cannot work is refused when
# CMake configures, with the remedy.
. "$(dirname "$0")/common.sh"

want_packages clang:clang

# The tree that is configured anew for each directory; built once, as quickly as it goes.
tree=$work/tree
configure() {
    cmake -S "$root" -B "$tree" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=gcc \
        -DCMAKE_CXX_COMPILER=g++ "$@"
}
built() {
    unoptimised_tree && cargo_from "$build/unoptimised" "$tree" && configure &&
        cmake --build "$tree" -j "$jobs"
}

# consumer NAME PREFIX LINES [CMAKE OPTION...]   A project with these lines, built and run.
consumer() {
    local dir=$work/$1 prefix=$2 lines=$3
    shift 3
    mkdir -p "$dir" && cp "$root/tests/package/consumers/consumer.c" "$dir" || return
    cat >"$dir/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.22)
project(consumer LANGUAGES C)
$lines
add_executable(consumer consumer.c)
target_link_libraries(consumer PRIVATE monad::async_c)
END
    cmake -S "$dir" -B "$dir/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" \
        -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF "$@" &&
        cmake --build "$dir/build" && "$dir/build/consumer"
}
find='find_package(monad_async 0.1 CONFIG REQUIRED)'

# by_pkg_config PREFIX LIBDIR   A program by either module, where no directory is the usual one.
by_pkg_config() {
    local module flags
    for module in monad_async monad_async_static; do
        flags=$(PKG_CONFIG_PATH=$2/pkgconfig pkg-config --cflags --libs "$module") || return
        eval "gcc '$root/tests/package/consumers/consumer.c' -o '$work/by-pc' $flags" &&
            LD_LIBRARY_PATH=$2 "$work/by-pc" || return
    done
}

# installed NAME INCLUDEDIR LIBDIR   Relative to the prefix, or absolute.
installed() {
    local prefix=$work/prefix-$1 libdir=$3
    [[ $libdir = /* ]] || libdir=$prefix/$libdir
    configure -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_INCLUDEDIR="$2" \
        -DCMAKE_INSTALL_LIBDIR="$3" && cmake --build "$tree" -j "$jobs" &&
        cmake --install "$tree" &&
        consumer "installed-$1" "$prefix" "$find" -Dmonad_async_DIR="$libdir/cmake/monad_async" &&
        by_pkg_config "$prefix" "$libdir"
}

# flavour_of LIBRARY FIND_PACKAGE_ARGUMENT...   Which library such a find_package gives.
flavour_of() {
    local wanted=$1
    shift
    consumer "components" "$work/prefix-usual" "find_package(monad_async 0.1 CONFIG REQUIRED $*)
get_target_property(libraries monad::async_c INTERFACE_LINK_LIBRARIES)
if(NOT libraries STREQUAL \"monad::async_$wanted\")
  message(FATAL_ERROR \"monad::async_c is \${libraries}\")
endif()"
}

# answers ANSWER VERSION   Whether the package says yes (1) or no (0) to a request for that version.
answers() {
    consumer "version" "$work/prefix-usual" "find_package(monad_async $2 CONFIG QUIET)
if(NOT monad_async_FOUND EQUAL $1)
  message(FATAL_ERROR \"found: \${monad_async_FOUND}\")
endif()
$find"
}

# With this version of its own, what would the installed package be compatible with?
next_version() {
    local copy=$work/version-$1
    mkdir -p "$copy" && cp -r "$root"/{CMakeLists.txt,Cargo.toml,cmake,include} "$copy" || return
    local v
    IFS=. read -r -a v <<<"$1"
    sed -i "s/^version = .*/version = \"$1\"/" "$copy/Cargo.toml"
    sed -i -E "s/(VERSION_MAJOR) [0-9]+/\1 ${v[0]}/; s/(VERSION_MINOR) [0-9]+/\1 ${v[1]}/
        s/(VERSION_PATCH) [0-9]+/\1 ${v[2]}/" "$copy/include/monad/async/config.h"
    cat >"$copy/rule.cmake" <<'END'
set_property(GLOBAL PROPERTY x)
include(cmake/MonadAsyncVersion.cmake)
message("${MONAD_ASYNC_COMPATIBILITY} ${MONAD_ASYNC_COMPATIBLE_WITH}")
END
    sed -i 's/^set_property(DIRECTORY/# &/' "$copy/cmake/MonadAsyncVersion.cmake"
    [ "$(cd "$copy" && cmake -P rule.cmake 2>&1)" = "$2" ]
}

# A program finds the library by the rule of compatibility, not by the major version.
soname_is() {
    readelf -d "$work"/prefix-usual/lib/libmonad_async.so | grep -qF "[libmonad_async.so.$1]"
}

# with_flags NAME CC:CXX CXXFLAGS [CFLAGS]   A project with these flags for its own code adds the
# library's source, for its C API alone.
with_flags() {
    local pair=$2
    cargo_from "$tree" "$work/flags-$1/build/monad_async" || return
    consumer "flags-$1" '' "add_subdirectory(\"$root\" monad_async)" \
        -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER="${pair%:*}" \
        -DCMAKE_CXX_COMPILER="${pair#*:}" -DCMAKE_C_FLAGS="${4:-}" -DCMAKE_CXX_FLAGS="$3"
}

# refused PATTERN COMMAND...   Configuring fails, and says what the pattern says.
refused() {
    local pattern=$1
    shift
    if "$@" >"$work/refused" 2>&1; then
        echo 'it was not refused'
        return 1
    fi
    # CMake wraps its messages.
    tr -s '\n ' ' ' <"$work/refused" | grep -qE "$pattern" || { cat "$work/refused"; return 1; }
}
cross() {
    rm -rf "$work/cross"
    cmake -S "$root" -B "$work/cross" -G Ninja -DCMAKE_BUILD_TYPE=Debug \
        -DCMAKE_SYSTEM_NAME=Linux "$@"
}
# compilers_for MACHINE   As far as CMake can tell before anything is built.
compilers_for() {
    local c dir=$work/compilers-$1
    mkdir -p "$dir"
    for c in gcc g++; do
        cat >"$dir/$c" <<END
#!/bin/sh
[ "\$1" != -dumpmachine ] || { echo $1; exit; }
exec $c "\$@"
END
        chmod +x "$dir/$c"
    done
    to_machine=(-DCMAKE_SYSTEM_PROCESSOR="${1%%-*}" -DCMAKE_C_COMPILER="$dir/gcc"
        -DCMAKE_CXX_COMPILER="$dir/g++")
}
# Either it is known and used, or it is not installed here, and the remedy is said.
derives_the_triple() {
    compilers_for aarch64-linux-gnu
    if cross "${to_machine[@]}" >"$work/derived" 2>&1; then
        grep -q 'Rust target aarch64-unknown-linux-gnu' "$work/derived"
    else
        tr -s '\n ' ' ' <"$work/derived" | grep -q 'rustup target add aarch64-unknown-linux-gnu'
    fi
}
unknown_machine() {
    compilers_for riscv64-linux-gnu
    cross "${to_machine[@]}"
}
unknown_target() {
    compilers_for aarch64-linux-gnu
    cross "${to_machine[@]}" -DMONAD_ASYNC_RUST_TARGET=nonsense
}
old_cargo() {
    printf '#!/bin/sh\necho "cargo 1.63.0 (fd9c4297c 2022-07-01)"\n' >"$work/cargo"
    chmod +x "$work/cargo"
    cmake -S "$root" -B "$work/old" -G Ninja -DMONAD_ASYNC_CARGO="$work/cargo"
}
# A cargo that would do, and a compiler that would not.
old_rustc() {
    printf '#!/bin/sh\necho "rustc 1.63.0 (4b91a6ea7 2022-08-08)"\n' >"$work/rustc"
    chmod +x "$work/rustc"
    RUSTC=$work/rustc cmake -S "$root" -B "$work/old-rustc" -G Ninja
}

# A parent whose own modules and target have the names that a library might use, too. It must keep
# its own, and we ours.
parent() {
    local dir=$work/parent name
    mkdir -p "$dir/cmake" && cp "$root/tests/package/consumers/consumer.c" "$dir" || return
    for name in Cargo Debugger Docs Install Library Options Target Version; do
        echo "set_property(GLOBAL APPEND PROPERTY parents_own $name)" >"$dir/cmake/$name.cmake"
    done
    cat >"$dir/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.22)
project(parent LANGUAGES C)
list(APPEND CMAKE_MODULE_PATH "\${CMAKE_CURRENT_SOURCE_DIR}/cmake")
set(MONAD_ASYNC_INSTALL ON)
foreach(target docs doc test_flags object)
  add_custom_target(\${target})
endforeach()
add_subdirectory("$root" monad_async)
get_property(taken GLOBAL PROPERTY parents_own)
if(taken)
  message(FATAL_ERROR "monad_async took the parent's \${taken}")
endif()
include(Options)
get_property(taken GLOBAL PROPERTY parents_own)
if(NOT taken STREQUAL "Options")
  message(FATAL_ERROR "the parent's Options is not found: \${taken}")
endif()
get_property(targets DIRECTORY "$root" PROPERTY BUILDSYSTEM_TARGETS)
foreach(target \${targets})
  if(NOT target MATCHES "^monad_async")
    message(FATAL_ERROR "a target without a prefix: \${target}")
  endif()
endforeach()
END
    cmake -S "$dir" -B "$dir/build" -G Ninja
}

# examples_in PREFIX   Every example that a header quotes. Each is the file that tests/run builds,
# by the same CMakeLists.txt; so only some are built from there, one with headers of its own too.
examples_in() {
    local dir name file
    dir=$(find "$1" -type d -name examples) && [ -d "$dir" ] || return
    [ -e "$dir/../LICENSE" ] && [ -e "$dir/../CHANGELOG.md" ] || return
    for name in $(grep -rhoE '@(include|snippet) [a-z_]+\.[a-z]+' "$root/include" |
        cut -d ' ' -f 2); do
        [ -e "$dir/$name" ] || { echo "not installed: $name"; return 1; }
    done
    for file in "$root"/examples/*.{c,h,cpp,hpp} "$root/examples/CMakeLists.txt"; do
        cmp "$file" "$dir/${file##*/}" || return
    done
    cmake -S "$dir" -B "$work/examples" -G Ninja -DCMAKE_PREFIX_PATH="$1" &&
        cmake --build "$work/examples" -j "$jobs" --target hello_c hello_cpp cksum cksum_cpp
}

check 'built' built
[ $status = 0 ] || exit $status
check 'the usual directories' installed usual include lib
check 'headers elsewhere below the prefix' installed headers headers/of/mine lib
check 'absolute directories' installed absolute "$work/split/dev/include" "$work/split/out/lib"
check 'an absolute directory for libraries alone' installed libdir include "$work/split/lib"
check 'licence, changes and examples are installed' examples_in "$work/prefix-usual"

check 'component shared, another one optional' \
    flavour_of shared COMPONENTS shared OPTIONAL_COMPONENTS tools
check 'component shared, optional' flavour_of shared OPTIONAL_COMPONENTS shared
check 'an optional component that nobody knows' flavour_of static OPTIONAL_COMPONENTS tools
check 'both components' flavour_of static COMPONENTS shared static
check 'a component that nobody knows is refused' refused 'NOT FOUND' \
    flavour_of static COMPONENTS shared tools

check 'version 0.1 is found' answers 1 0.1
check 'version 0.2 is not found' answers 0 0.2
check 'version 0.0 is not found' answers 0 0.0
check 'version 1.0 is not found' answers 0 1.0
check 'the SONAME goes by the same rule' soname_is 0.1
check 'the rule before 1.0' next_version 0.2.7 '0.2 SameMinorVersion'
check 'the rule from 1.0 on' next_version 1.3.0 '1 SameMajorVersion'

# Each of these alone would be seen by the C++ that does not compile, or is not linked.
check 'a project with -fno-exceptions -flto=auto -std=c++14 -Werror -Wold-style-cast, gcc' \
    with_flags gcc gcc:g++ \
    '-fno-exceptions -flto=auto -std=c++14 -Werror -Wold-style-cast' '-flto=auto'
if have clang++; then
    check 'a project with -flto=thin, clang' with_flags lto clang:clang++ -flto=thin
else
    skip_check 'a project with -flto=thin, clang' 'no clang here'
fi

check 'a parent project with the same names' parent
check 'cross build: the Rust target is derived' derives_the_triple
check 'cross build: a machine that nobody knows' refused 'MONAD_ASYNC_RUST_TARGET' unknown_machine
check 'cross build: a Rust target that is not there' refused \
    'rustup target add nonsense' unknown_target
check 'rustc that is too old' refused 'needs Rust [0-9.]+ or newer.*rustc 1\.63\.0.*rustup update' \
    old_rustc
check 'Rust that is too old' refused 'needs Rust [0-9.]+ or newer.*cargo 1\.63\.0.*rustup update' \
    old_cargo
exit $status

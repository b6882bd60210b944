#!/usr/bin/env bash
# The library as outside projects use it: C and C++, each the project's only language, by the
# installed package (static and shared, with a prefix that was moved after the installation),
# pkg-config, FetchContent and add_subdirectory, with gcc and clang.
. "$(dirname "$0")/common.sh"

want_libcxx
moved_prefix
libdir=$(library_dir)
consumers=$root/tests/package/consumers

is_linked_to_shared() {
    readelf -d "$1" | grep -q 'NEEDED.*libmonad_async\.so'
}

# linked_as FLAVOUR PROGRAM
linked_as() {
    if [ "$1" = shared ]; then
        is_linked_to_shared "$2"
    else
        ! is_linked_to_shared "$2"
    fi
}

# cmake_consumer HOW LANGUAGE FLAVOUR CC:CXX [CMAKE OPTION...]
built_before=$build/unoptimised
cmake_consumer() {
    local how=$1 language=$2 flavour=$3 pair=$4 dir=$work/$1-$2-$3-${4%:*}
    # Those that build the library share a build tree, in which the project changes its language
    # and its flavour; the next one begins with what cargo has built in it.
    if [ "$how" != package ]; then
        dir=$work/$how-${pair%:*}
        local tree=$dir/monad_async
        [ "$how" != FetchContent ] || tree=$dir/_deps/monad_async-build
        cargo_from "$built_before" "$tree" || return
        built_before=$tree
    fi
    shift 4
    cmake -S "$consumers" -B "$dir" -G Ninja -DHOW="$how" -DCONSUMER="$language" \
        -DFLAVOUR="$flavour" -DSOURCE="$root" -DCMAKE_C_COMPILER="${pair%:*}" \
        -DCMAKE_CXX_COMPILER="${pair#*:}" -DCMAKE_PREFIX_PATH="$prefix" \
        -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF "$@" &&
        cmake --build "$dir" && linked_as "$flavour" "$dir/consumer" && "$dir/consumer"
}

# pkg_config_consumer LANGUAGE MODULE CC:CXX
pkg_config_consumer() {
    local language=$1 module=$2 pair=$3 compiler source flavour=shared
    local program=$work/pc-$1-$2-${3%:*}
    compiler=${pair%:*} source=consumer.c
    [ "$language" = CXX ] && compiler="${pair#*:} -std=c++17" source=consumer.cpp
    [ "$module" = monad_async_static ] && flavour=static
    local flags
    flags=$(PKG_CONFIG_PATH=$libdir/pkgconfig pkg-config --cflags --libs "$module") || return
    # pkg-config quotes the space in the prefix for a shell.
    eval "$compiler -Wall -Wextra -Wpedantic -Werror '$consumers/$source' -o '$program' $flags" &&
        linked_as $flavour "$program" && LD_LIBRARY_PATH=$libdir "$program"
}

# A program without any shared library, the C library included.
all_static() {
    local flags
    flags=$(PKG_CONFIG_PATH=$libdir/pkgconfig pkg-config --cflags --libs monad_async_static) ||
        return
    eval "g++ -std=c++17 -static '$consumers/consumer.cpp' -o '$work/all-static' $flags" &&
        ! readelf -d "$work/all-static" | grep -q NEEDED && "$work/all-static"
}

refuses_other_component() {
    ! cmake -S "$consumers" -B "$work/nonsense" -G Ninja -DHOW=package -DCONSUMER=C \
        -DFLAVOUR=nonsense -DCMAKE_PREFIX_PATH="$prefix"
}

refuses_other_version() {
    sed 's/monad_async 0\.1/monad_async 0.2/' "$consumers/CMakeLists.txt" >"$work/CMakeLists.txt"
    cp "$consumers"/consumer.* "$work"
    ! cmake -S "$work" -B "$work/version" -G Ninja -DHOW=package -DCONSUMER=C -DFLAVOUR=static \
        -DCMAKE_PREFIX_PATH="$prefix"
}

no_file_remembers_the_prefix() {
    # Debug information may name source directories; nothing else may name any.
    ! grep -rlF -e "$work/first" -e "$root" "$prefix" --include='*.cmake' --include='*.pc' \
        --include='*.h' --include='*.hpp'
}

# The version is written four times; one place must not be forgotten.
versions_agree() {
    local in_pc in_soname
    in_pc=$(PKG_CONFIG_PATH=$libdir/pkgconfig pkg-config --modversion monad_async)
    in_soname=$(readelf -d "$libdir/libmonad_async.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
    grep -q "^version = \"$in_pc\"" "$root/Cargo.toml" &&
        [ -e "$libdir/libmonad_async.so.$in_pc" ] && [ -e "$libdir/$in_soname" ] &&
        [[ $in_pc = "${in_soname#libmonad_async.so.}".* ]]
}

for pair in $(compilers); do
    compiler=${pair%:*}
    for language in C CXX; do
        for flavour in static shared; do
            check "$language, package, $flavour, $compiler" \
                cmake_consumer package $language $flavour "$pair"
        done
        for module in monad_async monad_async_static; do
            if have pkg-config; then
                check "$language, pkg-config $module, $compiler" \
                    pkg_config_consumer $language $module "$pair"
            else
                skip_check "$language, pkg-config $module, $compiler" 'no pkg-config here'
            fi
        done
    done
done
# Unoptimised, as that is quicker to build. Another compiler has some of the crates built again,
# another way to the source none.
check 'built unoptimised' unoptimised_tree
for pair in $(compilers); do
    for how in add_subdirectory FetchContent; do
        for language in C CXX; do
            for flavour in static shared; do
                check "$language, $how, $flavour, ${pair%:*}" \
                    cmake_consumer $how $language $flavour "$pair" -DCMAKE_BUILD_TYPE=Debug
            done
        done
    done
done
have clang || skip_check 'package, clang' 'no clang here'
# Two C++ libraries in one program, so the shared library only: what it needs of its own, it brings.
if have_libcxx; then
    check 'C++, package, shared, clang and libc++' cmake_consumer package CXX shared clang:clang++ \
        -DCMAKE_CXX_FLAGS=-stdlib=libc++
else
    skip_check 'C++, package, shared, clang and libc++' 'no clang or no libc++ here'
fi
check 'C++, all static' all_static
check 'package refuses an unknown component' refuses_other_component
check 'package refuses another minor version' refuses_other_version
check 'no file remembers the prefix' no_file_remembers_the_prefix
check 'versions agree' versions_agree
exit $status

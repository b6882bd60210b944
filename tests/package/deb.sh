#!/usr/bin/env bash
# The packages for Debian: made, liked by lintian, installed below a directory, built against and
# removed, with nothing left.
. "$(dirname "$0")/common.sh"

if ! have dpkg-deb || ! have dpkg; then
    skip_check 'Debian packages' 'no dpkg here'
    exit 0
fi
want_packages dpkg-shlibdeps:dpkg-dev lintian:lintian fakeroot:fakeroot
tree=$work/tree system=$work/system

make_packages() {
    build_library && taken_over "$tree" &&
        cmake -S "$root" -B "$tree" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
        -DCMAKE_INSTALL_PREFIX=/usr \
        -DCMAKE_INSTALL_LIBDIR="lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)" \
        -DMONAD_ASYNC_PACKAGES=ON &&
        cmake --build "$tree" -j "$jobs" &&
        (cd "$tree" && SOURCE_DATE_EPOCH=1700000000 cpack -G DEB) || return 1
    packages=("$tree"/*.deb "$tree"/*.ddeb)
    printf '%s\n' "${packages[@]##*/}"
    [ ${#packages[@]} = 4 ]
}

lintian_likes_them() {
    lintian --allow-root --fail-on error,warning "$tree"/*.deb
}

# The licences and the list of what is linked in go with the library. A program of an older series needs
# that library, too: nothing in its package may be in the next one's.
runtime_stands_alone() {
    local files package
    package=$(echo "$tree"/libmonad-async[0-9]*_*.deb)
    series=${package##*/libmonad-async} && series=${series%%_*}
    files=$(dpkg-deb --contents "$package" | awk '$1 !~ /^d/ { print $6 }') || return
    grep -x "./usr/share/doc/libmonad-async$series/THIRD_PARTY_LICENSES" <<<"$files" &&
        grep -x "./usr/share/doc/libmonad-async$series/monad_async.cdx.json" <<<"$files" &&
        ! grep -vF "$series" <<<"$files"
}

# What dpkg is told by: a system of its own, in which nothing is installed.
in_system() {
    fakeroot dpkg --root="$system" --force-not-root --force-script-chrootless --force-depends \
        --log=/dev/null "$@"
}
installed() {
    mkdir -p "$system"/var/lib/dpkg/{updates,info,triggers} && : >"$system/var/lib/dpkg/status" &&
        find "$system" | sort >"$work/before" &&
        in_system --install "$tree"/*.deb "$tree"/*.ddeb && in_system --audit &&
        [ "$(in_system --list | grep -c '^ii')" = 4 ]
}

# By find_package and by pkg-config, C++ and C, with the shared library that was installed.
built_against() {
    local libraries
    libraries=$(dirname "$(find "$system/usr/lib" -name 'libmonad_async.so')") || return 1
    export PKG_CONFIG_LIBDIR=$libraries/pkgconfig PKG_CONFIG_SYSROOT_DIR=$system
    cmake -S "$root/examples" -B "$work/examples" -G Ninja -DCMAKE_PREFIX_PATH="$system/usr" &&
        cmake --build "$work/examples" -j "$jobs" --target hello_cpp &&
        "$work/examples/hello_cpp" &&
        printf '#include <stdio.h>\n#include <monad/async/executor.h>\nint main(void) { puts("built"); return 0; }\n' \
            >"$work/small.c" &&
        # shellcheck disable=SC2046
        gcc "$work/small.c" $(pkg-config --cflags --libs monad_async) -o "$work/small" &&
        LD_LIBRARY_PATH=$libraries "$work/small"
}

# The stripped library names the file of debug information that the other package brings.
debug_information() {
    local library id
    library=$(find "$system/usr/lib" -name 'libmonad_async.so.*' -type f) &&
        id=$(readelf -n "$library" | sed -n 's/.*Build ID: //p') && [ -n "$id" ] &&
        readelf -S "$system/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug" | grep -F .debug_info &&
        ! readelf -S "$library" | grep -F .debug_info
}

removed() {
    local names
    names=$(in_system --list | sed -n 's/^ii *\([^ :]*\).*/\1/p') &&
        # shellcheck disable=SC2086
        in_system --purge $names && find "$system" | grep -v /var/lib/dpkg >"$work/after"
    diff <(grep -v /var/lib/dpkg "$work/before") "$work/after"
}

check 'Debian packages made' make_packages
if have lintian; then
    check 'lintian likes them' lintian_likes_them
else
    skip_check 'lintian likes them' 'no lintian here'
fi
check 'two series next to each other' runtime_stands_alone
if have fakeroot; then
    check 'installed' installed
    check 'built against' built_against
    check 'debug information' debug_information
    check 'removed, and nothing left' removed
else
    skip_check 'installed' 'no fakeroot here'
fi
exit $status

#!/usr/bin/env bash
# The rule of docs/versioning.md in every place that follows it: library, symbols, macros,
# pkg-config, CMake, changelog.
. "$(dirname "$0")/common.sh"

moved_prefix
libdir=$(library_dir)
part() {
    sed -nE "s/^#define MONAD_ASYNC_VERSION_$1 ([0-9]+).*/\1/p" "$root/include/monad/async/config.h"
}
major=$(part MAJOR) minor=$(part MINOR)
version=$major.$minor.$(part PATCH)
series=$major
[ "$major" != 0 ] || series=0.$minor

soname() {
    readelf -d "$libdir/libmonad_async.so" |
        grep -qF "Library soname: [libmonad_async.so.$series]" &&
        [ -e "$libdir/libmonad_async.so.$version" ]
}
# One node, and it is the series'.
nodes() {
    [ "$(nm -D --defined-only "$libdir/libmonad_async.so" | grep -oE 'MONAD_ASYNC_[0-9.]+' |
        sort -u)" = "MONAD_ASYNC_$series" ]
}
cargo_manifest() {
    grep -qx "version = \"$version\"" "$root/Cargo.toml"
}
pkg_config() {
    [ "$(PKG_CONFIG_PATH=$libdir/pkgconfig pkg-config --modversion monad_async)" = "$version" ]
}
cmake_package() {
    grep -qF "set(PACKAGE_VERSION \"$version\")" \
        "$libdir/cmake/monad_async/monad_async-config-version.cmake"
}
# Headings go down from what is not released yet to the first. While there is something that is not,
# the version has been stepped over the newest release, if there is one; otherwise it is that.
changelog() {
    local releases newest unreleased log=${1:-$root/CHANGELOG.md} version=${2:-$version}
    releases=$(sed -n 's/^## \([0-9][0-9.]*\)$/\1/p' "$log")
    newest=$(head -n 1 <<<"$releases")
    unreleased=$(sed -n '/^## Unreleased$/,/^## [0-9]/p' "$log" | grep -c '^- ')
    [ "$releases" = "$(sort -rV <<<"$releases")" ] &&
        [ "$(grep -m 1 '^## ' "$log")" = '## Unreleased' ] || return
    if [ "$unreleased" = 0 ]; then
        [ "$newest" = "$version" ]
    else
        [ -z "$newest" ] || { at_least "$version" "$newest" && [ "$newest" != "$version" ]; }
    fi
}
no_step_is_seen() {
    printf '## Unreleased\n\n- new\n\n## 0.2.0\n' >"$work/log"
    changelog "$work/log" 0.2.1 && ! changelog "$work/log" 0.2.0 || return
    printf '## Unreleased\n\n- new\n' >"$work/log"
    changelog "$work/log" 0.1.0 || return
    printf '## Unreleased\n\n## 0.2.0\n' >"$work/log"
    changelog "$work/log" 0.2.0 && ! changelog "$work/log" 0.2.1
}
# C++ of another layout must not link.
inline_namespace() {
    grep -rqE "inline namespace v$major\b" "$root/include"
}

check 'SONAME' soname
check 'symbol versions' nodes
check 'Cargo.toml' cargo_manifest
check 'pkg-config' pkg_config
check 'find_package' cmake_package
check 'changelog' changelog
check 'a version that was not stepped would be seen' no_step_is_seen
check 'inline namespace' inline_namespace
exit $status

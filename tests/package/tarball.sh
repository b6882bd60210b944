#!/usr/bin/env bash
# The source tarball: the same bits twice; with the network off, no home and the source not
# writable, all of it is there to be built; and what is built has the same bits in another
# directory.
#
# MONAD_ASYNC_LONG=1: built as it is shipped, in two directories, and every test and benchmark as well.
. "$(dirname "$0")/common.sh"

if ! git -C "$root" rev-parse HEAD >/dev/null 2>&1; then
    skip_check 'source tarball' 'no git, or not a repository'
    exit 0
fi
release=monad-async-$(version)
build_type=Debug
[ -z "${MONAD_ASYNC_LONG:-}" ] || build_type=Release

# From another directory, at another time, by a user with other habits.
made_twice() {
    mkdir "$work/first" "$work/second" && "$root/packaging/source-tarball" "$work/first" &&
        git clone --quiet --no-local "$root" "$work/clone" || return
    (umask 077 && cd "$work/clone" && sleep 1 && find . -name '*.rs' -exec touch {} + &&
        TZ=Asia/Tokyo LC_ALL=C.UTF-8 packaging/source-tarball "$work/second") &&
        cmp "$work/first/$release.tar.gz" "$work/second/$release.tar.gz" &&
        (cd "$work/first" && sha256sum --check "$release.tar.gz.sha256")
}
what_is_in_it() {
    tar -tzvf "$work/first/$release.tar.gz" >"$work/list" || return
    ! grep -vE "^[-d]r[-w]xr-xr-x 0/0 |^-rw-r--r-- 0/0 " "$work/list" &&
        ! grep -vE " $release/[^ ]*$" "$work/list" &&
        grep -qE " $release/vendor/corosensei-[^/]*/LICENSE-MIT$" "$work/list" &&
        ! grep -E " $release/((target|build|\.git|\.ci)/|rust-toolchain)" "$work/list" &&
        # A size that nobody minds: what is for Windows alone is left out.
        [ "$(stat -c %s "$work/first/$release.tar.gz")" -lt 15000000 ]
}
unpacked() {
    mkdir "$work/$1" && tar -xzf "$work/first/$release.tar.gz" -C "$work/$1"
}

# offline DIRECTORY COMMAND...   Without network and home, the unpacked source read-only, there.
off=(-n -m)
[ "$(id -u)" = 0 ] || off+=(-r)
offline() {
    local dir=$work/$1
    shift
    # shellcheck disable=SC2016
    unshare "${off[@]}" bash -c 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && cd "$1" &&
        ! { : >written; } 2>/dev/null && shift && exec "$@"' offline "$dir/$release" \
        env -u XDG_CACHE_HOME HOME=/nonexistent RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" \
        CARGO_HOME="$dir/cargo-home" CARGO_INCREMENTAL=0 "$@"
}
built() {
    offline "$1" cmake -S . -B "$work/$1/build" -G Ninja -DCMAKE_BUILD_TYPE=$build_type \
        -DMONAD_ASYNC_REMAP_PATHS=ON && offline "$1" cmake --build "$work/$1/build" -j "$jobs"
}
# What is installed is enough for a program; to install needs neither cargo nor the source's vendor.
installed() {
    offline a env PATH=/usr/bin:/bin cmake --install "$work/a/build" --prefix "$work/prefix" &&
        cmake -S "$root/tests/package/consumers" -B "$work/consumer" -G Ninja -DHOW=package \
        -DCONSUMER=C \
            -DFLAVOUR=shared -DCMAKE_PREFIX_PATH="$work/prefix" &&
        cmake --build "$work/consumer" && "$work/consumer/consumer"
}
# Of each platform, test and benchmark.
every_crate() {
    offline a cargo tree --locked --all-features -e all --target all >"$work/tree" &&
        offline a cargo tree --locked -e all --target all --manifest-path fuzz/Cargo.toml
}
every_program() {
    offline a cargo test --locked --no-run --benches --tests \
        --target-dir "$work/a/target" &&
        offline a cmake -S . -B "$work/a/build" -DMONAD_ASYNC_BUILD_TESTS=ON &&
        offline a cmake --build "$work/a/build" -j "$jobs"
}
# Nothing of this machine stands in for a crate that is missing.
a_missing_crate_is_seen() {
    mv "$work"/b/"$release"/vendor/libc-* "$work/" && rm -rf "$work/b/cargo-home" &&
        ! offline b cargo metadata --locked --format-version 1
}
same_bits() {
    local file
    for file in "libmonad_async.so.$(version)" libmonad_async.a monad_async.cdx.json \
        THIRD_PARTY_LICENSES; do
        cmp "$work/a/build/$file" "$work/elsewhere, and longer/build/$file" || return
    done
}
no_paths() {
    ! strings -a "$work/a/build/libmonad_async.so.$(version)" "$work/a/build/libmonad_async.a" |
        grep -F -e "$work" -e "$root" -e "$HOME/"
}

check 'made twice, the same bits' made_twice
[ $status = 0 ] || exit $status
check 'what is in it' what_is_in_it
check 'unpacked' unpacked a
if unshare "${off[@]}" true 2>/dev/null; then
    check 'built with the network off' built a
    check 'installed, without cargo' installed
    check 'every crate of it is there' every_crate
    [ -z "${MONAD_ASYNC_LONG:-}" ] || check 'every program of it is built' every_program
    if [ -n "${MONAD_ASYNC_LONG:-}" ]; then
        check 'unpacked elsewhere' unpacked 'elsewhere, and longer'
        check 'built elsewhere' built 'elsewhere, and longer'
        check 'the same bits elsewhere' same_bits
    else
        skip_check 'the same bits elsewhere' 'of what is shipped; MONAD_ASYNC_LONG=1'
    fi
    check 'no directory in what is built' no_paths
    check 'unpacked once more' unpacked b
    check 'a missing crate would be seen' a_missing_crate_is_seen
else
    skip_check 'built with the network off' 'no namespaces here (unshare)'
fi
exit $status

# What the scripts of this folder share; to be sourced by bash. Each script prints "ok NAME", "not
# ok NAME" or "skip NAME: WHY", a line each, and after a failure what the tools said; it writes to a
# temporary directory, $work, and to the build tree that tests/tools.sh names.
#
# MONAD_ASYNC_PREFIX: a prefix with the package already installed, to be tested instead.

set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../tools.sh"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
status=0
export LC_ALL=C

# check NAME COMMAND...   The command's output is shown if it fails.
check() {
    local name=$1
    shift
    if "$@" >"$work/output" 2>&1 </dev/null; then
        printf 'ok %s\n' "$name"
    else
        printf 'not ok %s\n' "$name"
        tail -n 40 "$work/output"
        status=1
    fi
}

skip_check() {
    printf 'skip %s: %s\n' "$1" "$2"
}

have() {
    command -v "$1" >/dev/null
}

# The compilers that are here, as C:C++.
compilers() {
    local pair
    for pair in gcc:g++ clang:clang++; do
        if have "${pair%:*}" && have "${pair#*:}"; then
            echo "$pair"
        fi
    done
}

# The version, as Cargo.toml has it.
version() {
    sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml"
}

# python_tools NAME PACKAGE...   Programs of these Python packages, in $python: kept below $build for
# the next time. False where they cannot be had.
python_tools() {
    python=$build/python/$1
    shift
    [ "$(cat "$python/made-of" 2>/dev/null)" != "$*" ] || return 0
    python3 -c 'import ensurepip' 2>/dev/null ||
        want_packages python3:python3 /no/ensurepip:python3-venv
    rm -rf "$python"
    python3 -m venv "$python" >"$work/python.log" 2>&1 &&
        "$python/bin/pip" install --quiet --disable-pip-version-check "$@" \
            >>"$work/python.log" 2>&1 && echo "$*" >"$python/made-of"
}

# taken_over DIRECTORY   A build tree in which cargo finds all done that it did for the tree of
# build_library. What it writes anew without removing it first must not be the other's.
taken_over() {
    rm -rf "$1" && mkdir "$1" && cp -al "$build/release/cargo" "$1/cargo" &&
        find "$1/cargo" -name 'libmonad_async*.a' -exec sh -c 'cp -p "$1" "$1.own" &&
            mv "$1.own" "$1"' _ {} \;
}

# cargo_from TREE DIRECTORY   Gives this build directory, which is not there yet, a copy of what cargo has
# built in TREE. What another compiler or feature has no part in, the crates that only build others among
# it, is not built again; cargo sees to that. Another script may be building TREE.
cargo_from() {
    [ ! -d "$1/cargo" ] || [ -d "$2/cargo" ] ||
        { mkdir -p "$2" && (flock -s 9 && cp -a "$1/cargo" "$2/cargo") 9>>"$1.lock" &&
            rm -rf "$2"/cargo/*/incremental; }
}

# unoptimised_tree   Makes $build/unoptimised, once: what builds the library unoptimised, as that is
# quicker, begins with what cargo built there (cargo_from). By the names that others give these
# compilers: cc is another one, for which it is built again.
unoptimised_tree() {
    mkdir -p "$build" && (flock 9 && cmake -S "$root" -B "$build/unoptimised" -G Ninja \
        -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ &&
        cmake --build "$build/unoptimised" -j "$jobs" 9>&-) 9>"$build/unoptimised.lock"
}

# Whether clang has its own C++ library besides the one it shares with gcc.
have_libcxx() {
    printf '#include <exception>\nint main() { throw 1; }\n' >"$work/libcxx.cpp"
    have clang++ && clang++ -stdlib=libc++ "$work/libcxx.cpp" -o "$work/libcxx" >"$work/libcxx.log" 2>&1
}

# In Debian both packages go with the default clang.
want_libcxx() {
    have_libcxx || want_packages clang++:clang /no/libc++:libc++-dev /no/libc++abi:libc++abi-dev
}

# Builds and installs into $prefix what is not there yet, then moves the prefix: no file may
# remember where it was.
moved_prefix() {
    if [ -n "${MONAD_ASYNC_PREFIX:-}" ]; then
        prefix=$MONAD_ASYNC_PREFIX
        return
    fi
    { build_library && cmake --install "$build/release" --prefix "$work/first"; } \
        >"$work/build.log" 2>&1 || {
        printf 'not ok build and install\n'
        tail -n 40 "$work/build.log"
        exit 1
    }
    mkdir -p "$work/moved to"
    mv "$work/first" "$work/moved to/prefix"
    prefix="$work/moved to/prefix"
}

library_dir() {
    dirname "$(find "$prefix" -name libmonad_async.a | head -n 1)"
}

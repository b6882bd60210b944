#!/usr/bin/env bash
# The library in plugins, which a program that knows nothing of it loads and unloads: how little
# static thread-local storage it takes, of which the C library reserves some 1.6 KiB for all of
# them; and that nothing points into a plugin that is gone.
. "$(dirname "$0")/common.sh"

moved_prefix
libdir=$(library_dir)
sources=$root/tests/package/plugins
most=64

# compile OUT SOURCE FLAG...
compile() {
    local out=$1 source=$2
    shift 2
    gcc -std=gnu11 -O1 -g -Wall -Wextra -Werror "-I$prefix/include" "$sources/$source" \
        -o "$out" "$@"
}
archive=("$libdir/libmonad_async.a" -lstdc++ -lpthread -lm -ldl)
all_built() {
    compile "$work/host" host.c -ldl -lpthread &&
        compile "$work/plugin.so" plugin.c -fPIC -shared "${archive[@]}" &&
        compile "$work/small-scratch.so" plugin.c -fPIC -shared -DSCRATCH=256 "${archive[@]}" &&
        compile "$work/large-scratch.so" plugin.c -fPIC -shared -DSCRATCH=4096 \
            "$libdir/libmonad_async.so" "-Wl,-rpath,$libdir" &&
        compile "$work/filler.so" filler.c -fPIC -shared
}

# Bytes of thread-local storage in a library.
tls_bytes() {
    printf '%d' "$(readelf -lW "$1" | awk '$1 == "TLS" { print $6 }')"
}
takes_little() {
    local bytes
    bytes=$(tls_bytes "$1")
    echo "$bytes bytes"
    [ "$bytes" -gt 0 ] && [ "$bytes" -le $most ]
}

copies() {
    local n
    for n in $(seq "$2"); do
        cp "$work/$1.so" "$work/$1-$n.so"
        echo "$work/$1-$n.so"
    done
}
# all_loaded PLUGIN...
all_loaded() {
    [ "$("$work/host" load "$@")" = $# ]
}
# Fillers until no more fit, and one less: the library finds 64 bytes, and less than 128.
fits_into_the_rest() {
    local fillers fit
    mapfile -t fillers < <(copies filler 100)
    fit=$("$work/host" load "${fillers[@]}" 2>"$work/full")
    grep -q 'static TLS block' "$work/full" || { echo "100 were loaded"; return 1; }
    [ "$fit" -gt 2 ] && all_loaded "${fillers[@]:0:fit - 1}" "$1"
}

check 'plugins and their host, built' all_built
[ $status = 0 ] || exit $status
check "the shared library's thread-local storage is small" takes_little "$libdir/libmonad_async.so"
check "the archive's thread-local storage is small, in a plugin" takes_little "$work/plugin.so"
mapfile -t many < <(copies plugin 10)
check 'ten plugins with an archive each' all_loaded "${many[@]}"
check 'a plugin with thread-locals of its own' all_loaded "$work/small-scratch.so"
check 'a plugin with large ones, and the shared library' all_loaded "$work/large-scratch.so"
check 'a plugin with the archive where 64 bytes are left' fits_into_the_rest "$work/plugin.so"
check 'the shared library where 64 bytes are left' fits_into_the_rest "$work/large-scratch.so"
check "an unloaded plugin leaves the host's handler" "$work/host" unload "$work/plugin.so"
check "an unloaded plugin leaves a later handler, too" "$work/host" later "$work/plugin.so"
exit $status

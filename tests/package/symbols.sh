#!/usr/bin/env bash
# What the libraries export: exactly symbols.golden, in the shared library and in the archive;
# nothing of Rust, cxx or std; and whatever a header declares. After a deliberate change:
#   tests/package/symbols.sh --record
. "$(dirname "$0")/common.sh"

golden=$root/tests/package/symbols.golden
moved_prefix
libdir=$(library_dir)

# Symbols with their version nodes left out; the node's own name is no symbol.
nm -D --defined-only --format=posix "$libdir/libmonad_async.so" | sed 's/@@*MONAD_ASYNC_[0-9.]*//' |
    awk '$2 != "A" { print $1, $2 }' | sort >"$work/shared"
nm -g --defined-only --format=posix "$libdir/libmonad_async.a" | awk 'NF == 4 { print $1, $2 }' |
    sort >"$work/static"

if [ "${1:-}" = --record ]; then
    cp "$work/shared" "$golden"
    exit
fi

same_as_golden() {
    diff "$golden" "$1"
}

# A literal search: no library of ours needs any of these names outside.
only_ours() {
    ! cut -d ' ' -f 1 "$work/shared" "$work/static" |
        grep -vE '^(monad_async_[a-z_]+|_ZNK?5monad5async.*)$'
}

# Declared in a header with MONAD_ASYNC_API, hence promised.
declared_is_exported() {
    local name missing=0
    for name in $(cat "$root"/include/monad/async/*.h | tr '\n' ' ' |
        grep -oE 'MONAD_ASYNC_API [^;]*' | grep -oE 'monad_async_[a-z_]+ *\(' | tr -d ' (' |
        sort -u); do
        grep -q "^$name T" "$golden" || { echo "not exported: $name"; missing=1; }
    done
    return $missing
}

exported_is_declared() {
    local name missing=0
    for name in $(grep -oE '^monad_async_[a-z_]+' "$golden"); do
        grep -q "$name(" "$root"/include/monad/async/*.h ||
            { echo "not declared: $name"; missing=1; }
    done
    return $missing
}

# Each symbol of the shared library carries the version node, so that a later one can change it.
versioned() {
    ! nm -D --defined-only "$libdir/libmonad_async.so" | grep -v ' A MONAD_ASYNC_' |
        grep -v '@@MONAD_ASYNC_[0-9]'
}

check 'shared library exports the golden list' same_as_golden "$work/shared"
check 'archive exports the golden list' same_as_golden "$work/static"
check 'nothing of Rust, cxx or std is exported' only_ours
check 'what headers declare is exported' declared_is_exported
check 'what is exported is declared' exported_is_declared
check 'symbols are versioned' versioned
exit $status

#!/usr/bin/env bash
# The binary interface against the last recorded one, with abidiff: what a program that was compiled
# with the recorded headers expects. Rust's debug information has no C types, so the interface is
# taken from the headers: every function that they declare gets an empty body, and the result is
# dumped. That the library has the same layouts is asserted where it is compiled; that it has the
# same functions, symbols.sh shows.
#
# After a deliberate change:  tests/package/abi.sh --record
. "$(dirname "$0")/common.sh"

architecture=$(uname -m)
recorded=$root/tests/package/$architecture.abi

# witness INCLUDE_DIRECTORY OUT   Preprocessed, so that the bodies stay; with line markers, so that
# types are known by the headers they come from.
witness() {
    printf '#include <monad/async.hpp>\n' >"$work/all.cpp"
    g++ -std=c++17 -E -I"$1" "$work/all.cpp" |
        sed -zE 's/(__attribute__ *\(\(visibility\("default"\)\)\)[^;{}]*);/\1 { __builtin_trap(); }/g' \
            >"$work/witness.ii" &&
        g++ -std=c++17 -g -fPIC -shared -fvisibility=hidden -w -o "$2" "$work/witness.ii"
}

# dump INCLUDE_DIRECTORY OUT
dump() {
    witness "$1" "$work/libwitness.so" &&
        abidw --exported-interfaces-only --no-corpus-path --no-comp-dir-path --no-show-locs \
            --no-elf-needed --out-file "$2" "$work/libwitness.so" &&
        # Where the headers lay is no part of the interface.
        sed -i -E "s/ path='[^']*'//g" "$2"
}

if ! have abidiff || ! have g++; then
    skip_check 'ABI as recorded' 'no abidiff here (abigail-tools)'
    exit 0
fi
if [ "${1:-}" = --record ]; then
    dump "$root/include" "$recorded"
    exit
fi
if [ ! -e "$recorded" ]; then
    skip_check 'ABI as recorded' "none is recorded for $architecture"
    exit 0
fi

# What the kernel's and the C++ library's headers define is theirs to change.
cat >"$work/suppressions" <<'END'
[suppress_type]
  name_regexp = ^(io_uring_|io_sqring_|io_cqring_|std::|__|_IO|timespec)
END
differs() {
    ! abidiff --suppressions "$work/suppressions" "$@"
}
as_recorded() {
    ! differs --no-added-syms "$recorded" "$work/now.abi"
}
# With what was added, too: it has to be recorded before it is shipped.
nothing_unrecorded() {
    ! differs "$recorded" "$work/now.abi"
}
every_function_is_in_it() {
    local name missing=0
    while read -r name _; do
        grep -q "elf-symbol name='$name'" "$work/now.abi" || { echo "no $name"; missing=1; }
    done <"$root/tests/package/symbols.golden"
    return $missing
}

# changed NAME SED_EXPRESSION FILE   A change that breaks programs must be seen.
changed() {
    rm -rf "$work/include" && cp -r "$root/include" "$work/include" &&
        sed -i -E "$1" "$work/include/monad/async/$2" &&
        ! diff -q "$root/include/monad/async/$2" "$work/include/monad/async/$2" &&
        dump "$work/include" "$work/changed.abi" && differs "$recorded" "$work/changed.abi"
}

dump "$root/include" "$work/now.abi"
check 'ABI as recorded' as_recorded
check 'ABI has nothing unrecorded' nothing_unrecorded
check 'ABI dump has every exported function' every_function_is_in_it
check 'an ABI change would be seen: a field' \
    changed 's/bool is_pending_launch;/bool added, is_pending_launch;/; /MONAD_ASYNC_ASSERT/d' task.h
check 'an ABI change would be seen: a parameter' \
    changed 's/monad_async_ticks_to_ns\(/monad_async_ticks_to_ns(int more, /' ticks.h
check 'an ABI change would be seen: what a task object holds' \
    changed 's/std::exception_ptr thrown;/int more; std::exception_ptr thrown;/' detail/task_state.hpp
exit $status

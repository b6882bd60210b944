#!/usr/bin/env bash
# The binary interface against the last recorded one, with abidiff: what a program that was compiled
# with the recorded headers expects. Rust's debug information has no C types, so the interface is
# taken from the headers: every function that they declare gets an empty body, and the result is
# dumped. That the library has the same layouts is asserted where it is compiled; that it has the
# same functions, symbols.sh shows.
#
# After a deliberate change:  tests/package/abi.sh --record
# When a version is released: tests/package/abi.sh --release
. "$(dirname "$0")/common.sh"

architecture=$(uname -m)
recorded=$root/tests/package/$architecture.abi
# VERSION.ARCHITECTURE.abi, and VERSION.deprecated: the names of what that release had marked.
released=$root/tests/package/released

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
# deprecated INCLUDE_DIRECTORY   The functions that are marked, by name.
deprecated() {
    cat "$1"/monad/async/*.h | tr '\n' ' ' | grep -oE 'MONAD_ASYNC_DEPRECATED\("[^;]*;' |
        grep -oE 'monad_async_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u
}
# record_release DIRECTORY
record_release() {
    local to=$1/$(version)
    [ ! -e "$to.$architecture.abi" ] || { echo "$(version) has been released"; return 1; }
    mkdir -p "$1" && deprecated "$root/include" >"$to.deprecated"
    dump "$root/include" "$to.$architecture.abi"
}
if [ "${1:-}" = --release ]; then
    record_release "$released"
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

# The number in a version that changes when a program has to be compiled anew.
series() {
    case $1 in
    0.*) echo "${1%.*}" ;;
    *) echo "${1%%.*}" ;;
    esac
}
functions_of() {
    grep -oE "<elf-symbol name='monad_async_[a-z0-9_]+'" "$1" | cut -d "'" -f 2 | sort -u
}
# may_follow WAS IS WAS_DUMP IS_DUMP DEPRECATED   The rule of docs/versioning.md: whether IS_DUMP
# may have the version IS, after WAS.
may_follow() {
    local was=$1 is=$2 gone
    at_least "$is" "$was" || { echo "$is is older than $was"; return 1; }
    if [ "$(series "$was")" != "$(series "$is")" ]; then
        gone=$(comm -23 <(functions_of "$3") <(functions_of "$4") | comm -23 - "$5")
        [ -z "$gone" ] || { echo "never deprecated: $gone"; return 1; }
    elif [ "${was%.*}" = "${is%.*}" ]; then
        ! differs "$3" "$4"
    else
        ! differs --no-added-syms "$3" "$4"
    fi
}
may_not_follow() {
    ! may_follow "$@"
}
newest_release() {
    find "$1" -name "*.$architecture.abi" -printf '%f\n' 2>/dev/null |
        sed "s/\.$architecture\.abi$//" | sort -V | tail -n 1
}
# What is kept is what was released, by the changelog: both none, or both the same.
release_in_changelog() {
    [ "$(sed -n 's/^## \([0-9].*\)/\1/p' "${1:-$root/CHANGELOG.md}" | head -n 1)" = "$newest" ]
}
a_release_that_is_not_kept_is_seen() {
    printf '## Unreleased\n\n## 7.0.0\n' >"$work/log"
    ! release_in_changelog "$work/log"
}
# may_be_next DIRECTORY   Whether the headers may have the present version, after the newest
# release.
may_be_next() {
    local was
    was=$(newest_release "$1")
    [ -z "$was" ] || may_follow "$was" "$(version)" "$1/$was.$architecture.abi" "$work/now.abi" \
        "$1/$was.deprecated"
}
# A release that is made up here, of a version before this one: what is in it may not be missed.
made_up_release() {
    local kept=$work/kept
    record_release "$kept" && [ "$(newest_release "$kept")" = "$(version)" ] &&
        may_be_next "$kept" &&
        ! record_release "$kept" || return
    cp "$work/added.abi" "$kept/$(version).$architecture.abi"
    ! may_be_next "$kept"
}

# other NAME SED_EXPRESSION FILE   The interface with a change, in $work/NAME.abi.
other() {
    rm -rf "$work/include" && cp -r "$root/include" "$work/include" &&
        sed -i -E "$2" "$work/include/monad/async/$3" &&
        ! diff -q "$root/include/monad/async/$3" "$work/include/monad/async/$3" &&
        dump "$work/include" "$work/$1.abi"
}

dump "$root/include" "$work/now.abi"
check 'ABI as recorded' as_recorded
check 'ABI has nothing unrecorded' nothing_unrecorded
check 'ABI dump has every exported function' every_function_is_in_it

newest=$(newest_release "$released")
check 'a release is kept if the changelog has one' release_in_changelog
check 'one that is not kept would be seen' a_release_that_is_not_kept_is_seen
check "the interface may be that of $(version), after ${newest:-no release}" may_be_next "$released"

# The same rule on changes that were made for it.
changed() {
    other field 's/bool is_pending_launch;/bool added, is_pending_launch;/; /MONAD_ASYNC_ASSERT/d' \
        task.h &&
        other parameter 's/monad_async_ticks_to_ns\(/monad_async_ticks_to_ns(int more, /' ticks.h &&
        other object 's/std::exception_ptr thrown;/int more; std::exception_ptr thrown;/' \
            detail/task_state.hpp &&
        other added 's/^MONAD_ASYNC_EXTERN_C_END/MONAD_ASYNC_API void monad_async_more(void);\n&/' \
        ticks.h &&
        other function 's/\bmonad_async_ticks_to_ns\(/monad_async_ticks_other(/' ticks.h
    : >"$work/none"
    echo monad_async_ticks_to_ns >"$work/marked"
}
# rule WHETHER WAS IS CHANGE [DEPRECATED]
rule() {
    "$1" "$2" "$3" "$work/now.abi" "$work/$4.abi" "$work/${5:-none}"
}
marked_ones() {
    mkdir -p "$work/marks/monad/async" && cat >"$work/marks/monad/async/some.h" <<'END'
MONAD_ASYNC_API MONAD_ASYNC_DEPRECATED("use other instead") int
monad_async_some(int a, int b);
MONAD_ASYNC_API int monad_async_other(int a);
END
    [ "$(deprecated "$work/marks")" = monad_async_some ]
}
check 'the interface, changed for what follows' changed
check 'a release that is made up is kept, and looked at' made_up_release
for change in field parameter object function; do
    check "a changed $change is seen in a patch" rule may_not_follow 0.2.0 0.2.1 $change
    check "a changed $change is seen in a minor version, too" rule may_not_follow 1.3.0 1.4.0 \
        $change
done
for change in field parameter object; do
    check "a changed $change may be the next series" rule may_follow 0.2.0 0.3.0 $change
done
check 'nothing is added in a patch' rule may_not_follow 1.3.0 1.3.1 added
check 'before 1.0, what is added is the next series' rule may_not_follow 0.2.0 0.2.1 added
check 'from 1.0 on, a minor version may add' rule may_follow 1.3.0 1.4.0 added
check 'the same in a patch' rule may_follow 0.2.0 0.2.1 now
check 'no older version' rule may_not_follow 0.2.1 0.2.0 now
check 'what was not deprecated is not removed' rule may_not_follow 1.3.0 2.0.0 function
check 'what was deprecated may be removed' rule may_follow 1.3.0 2.0.0 function marked
check 'what is marked is found' marked_ones
exit $status

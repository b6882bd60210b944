#!/usr/bin/env bash
# What a change builds again, counted and not timed: ninja is asked, with a header that is newer than
# what was built from it, and builds nothing.
. "$(dirname "$0")/common.sh"

tree=$build/release
if ! have ninja || ! [ -x "$tree/tests/cpp/cpp20_tests" ]; then
    skip_check 'what a change builds again' 'the C++ tests are not built'
    exit 0
fi

# asked FILE...   What ninja would do if these were changed, in $work/asked. They get their times back.
asked() {
    local file
    for file in "$@"; do
        touch -r "$file" "$work/time" && touch "$file" && ninja -C "$tree" -n >>"$work/asked"
        touch -r "$work/time" "$file"
    done
}
compiled() {
    : >"$work/asked"
    asked "$@" || return
    count=$(grep -cE 'Building C(XX)? object' "$work/asked")
}

up_to_date() {
    build_library && : >"$work/asked" && ninja -C "$tree" -n | grep 'no work to do'
}
# Nothing of it is Rust, also where the library's own C++ includes it.
headers_build_no_rust() {
    : >"$work/asked"
    asked "$root"/include/monad/async/{error.hpp,executor.h,task.h,detail/*.hpp} "$root"/cpp/* || return
    ! grep 'Building the Rust core' "$work/asked" && grep -q 'cpp/executor.cpp' "$work/asked"
}
rust_would_be_seen() {
    : >"$work/asked"
    asked "$root/src/lib.rs" && grep 'Building the Rust core' "$work/asked"
}
# In both language versions: the test, and the few programs that include all.
few_tests() {
    local header
    for header in mutex select task_local process writer; do
        compiled "$root/include/monad/async/$header.hpp" || return
        echo "measured: $header.hpp: $count compiled"
        [ "$count" -gt 0 ] && [ "$count" -le 16 ] || return
    done
    cat "$work/asked"
}
# Or a change of any header would build all.
tests_include_what_they_try() {
    ! grep -lE '#include <monad/async\.hp*>' "$root"/tests/{c,cpp}/*_test.cpp "$root"/tests/{c,cpp}/*.hpp |
        grep -v bad_calls_test.cpp # Which tries every call.
}

check 'built' up_to_date
check 'a header builds no Rust' headers_build_no_rust
check 'Rust would be seen' rust_would_be_seen
check 'a header builds the tests that include it' few_tests
check 'tests include what they try' tests_include_what_they_try
exit $status

#!/usr/bin/env bash
# What a change builds again, counted and not timed: ninja is asked, with a header that is newer
# than what was built from it, and builds nothing. What it took when it was last built is printed.
. "$(dirname "$0")/common.sh"

tree=$build/release
if ! have ninja || ! [ -x "$tree/tests/cpp/cpp20_tests" ]; then
    skip_check 'what a change builds again' 'the C++ tests are not built'
    exit 0
fi

# asked FILE...   What ninja would do if these were changed, in $work/asked. They get their times
# back.
asked() {
    one_at_a_time ask "$@"
}
ask() {
    local file
    for file in "$@"; do
        touch -r "$file" "$work/time" && touch "$file" && ninja -C "$tree" -n >>"$work/asked"
        touch -r "$work/time" "$file"
    done
}
# compiled HEADER   How many files would be compiled, in $count.
compiled() {
    : >"$work/asked"
    asked "$root/include/monad/async/$1" || return
    sed -n 's/.*Building C[X]*.* object //p' "$work/asked" >"$work/objects"
    count=$(wc -l <"$work/objects")
    echo "measured: $1: $count compiled, which took $(took) s" >>"$work/measured"
}
# By ninja's log, in which each object stands with its begin and end, in milliseconds.
took() {
    awk -v jobs="$jobs" 'NR == FNR { wanted[$1]; next }
        $4 in wanted { last[$4] = $2 - $1 }
        END { for (object in last) sum += last[object]; printf "%d", sum / 1000 / jobs }' \
        "$work/objects" "$tree/.ninja_log"
}

up_to_date() {
    build_library && ninja -C "$tree" -n | grep 'no work to do'
}
# Nothing of it is Rust, also where the library's own C++ includes it.
headers_build_no_rust() {
    : >"$work/asked"
    asked "$root"/include/monad/async/{error.hpp,executor.h,task.h,detail/*.hpp} "$root"/cpp/* ||
        return
    ! grep 'Building the Rust core' "$work/asked" && grep -q 'cpp/executor.cpp' "$work/asked"
}
rust_would_be_seen() {
    : >"$work/asked"
    asked "$root/src/lib.rs" && grep 'Building the Rust core' "$work/asked"
}
# In both language versions: the test, and the few programs that include all.
few_tests() {
    local header
    for header in mutex select task_local process writer reader metrics; do
        compiled "$header.hpp" || return
        [ "$count" -gt 0 ] && [ "$count" -le 24 ] || return
    done
    cat "$work/asked"
}
# What is read once for all tests holds nothing of the project's, or each header would build all of
# them. Of the tests of the C API a C++ header builds none.
a_header_of_all() {
    compiled executor.hpp || return
    ! grep -E 'cmake_pch|c_api_tests' "$work/objects" && grep cpp20_tests "$work/objects"
}
# Or a change of any header would build all.
tests_include_what_they_try() {
    ! grep -lE '#include <monad/async\.hp*>' "$root"/tests/{c,cpp}/*_test.cpp \
        "$root"/tests/{c,cpp}/*.hpp |
        grep -vE '(bad_calls|fired|tail|wal)_test.cpp' # Which try every call, and examples.
}

check 'built' up_to_date
check 'a header builds no Rust' headers_build_no_rust
check 'Rust would be seen' rust_would_be_seen
check 'a header builds the tests that include it' few_tests
check 'a header that all include' a_header_of_all
check 'tests include what they try' tests_include_what_they_try
cat "$work/measured"
exit $status

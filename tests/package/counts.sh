#!/usr/bin/env bash
# The count of tests/run: what fails, passes or is skipped is counted as that, once; and a machine
# without io_uring makes tests of the ring skipped, neither passed nor failed.
. "$(dirname "$0")/common.sh"

# counted HOW WANTED   A log on standard input.
counted() {
    local found
    cat >"$work/log"
    found=$("$1" "$work/log")
    [ "$found" = "$2" ] || { echo "$found instead of $2"; return 1; }
}

passed_failed_and_ignored() {
    counted of_cargo '4 1 2' <<'END'
test a ... ok
test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.25s
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.25s
END
}
skipped_by_themselves() {
    counted of_cargo '3 0 3' <<'END'
skipped: a: no io_uring here: with a colon
skipped: a: once more
skipped: module::b: another
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.25s
skipped: a: of the same name in another program
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.25s
END
}

# A step that is left out is said and counted, and what took its time is listed.
left_out_and_listed() {
    local left_out=(slow) times=() passed=0 failed=0 skipped=0 logs=$work/logs said
    said=$(counted_step 'very slow' of_check false
        counted_step 'quick' of_check true
        times=('9 11 long' '1 1 quick')
        show_times
        echo "$passed $failed $skipped")
    echo "$said"
    grep -q '^very slow .* skipped: --short' <<<"$said" && grep -q '^1 0 1$' <<<"$said" &&
        grep -q '^ *9  *11  long$' <<<"$said" && grep -q '^ *1  *1  all others$' <<<"$said"
}

built() {
    gcc -std=gnu11 -Wall -Wextra -Werror "$root/tests/support/without_io_uring.c" -o "$work/without"
}
ring_tests_skip() {
    local passed failed skipped
    (cd "$root" && "$work/without" cargo test --locked --test ring --test ring_wake) \
        >"$work/rings" 2>&1 || { cat "$work/rings"; return 1; }
    read -r passed failed skipped < <(of_cargo "$work/rings")
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ] && [ "$skipped" -gt 5 ]
}
# In a process of its own each, as ctest runs them.
c_tests_skip() {
    "$work/without" "$tests" --gtest_filter=Io.many_tasks_read_one_file >"$work/c" 2>&1
    local status=$?
    cat "$work/c"
    [ $status = 0 ] && grep -q '^\[  SKIPPED \]' "$work/c" && ! grep -q FAILED "$work/c"
}

check 'passed, failed and ignored' passed_failed_and_ignored
check 'skipped by themselves' skipped_by_themselves
check 'left out, and what took its time' left_out_and_listed
check 'no io_uring, made' built
if "$work/without" true 2>"$work/seccomp"; then
    check 'tests of the ring without io_uring' ring_tests_skip
    tests=$build/release/tests/c/c_api_tests
    if [ -x "$tests" ]; then
        check 'C tests without io_uring' c_tests_skip
    else
        skip_check 'C tests without io_uring' 'they are not built'
    fi
else
    skip_check 'tests without io_uring' "$(cat "$work/seccomp")"
fi
exit $status

#!/usr/bin/env bash
# Who tests the tests of exceptions? Bugs planted into a copy of the library, where it keeps each
# task's C++ exceptions apart: the tests must notice every one. All are in the one copy, each behind
# a number that the environment chooses. The project's own source knows nothing of it.
. "$(dirname "$0")/common.sh"
copy=$work/copy
planted=0 bugs=()

# plant BUG FILE RIGHT WRONG   RIGHT is a statement, with its semicolon, or an expression; it stands
# once in FILE.
plant() {
    local bug=$1 file=$copy/$2 right=$3 wrong=$4 text before after
    text=$(<"$file")
    before=${text%%"$right"*} after=${text#*"$right"}
    if [ "$before" = "$text" ] || [ "$after" != "${after%%"$right"*}" ]; then
        printf 'not ok %s\nnot once in %s: %s\nkeep the list of bugs up to date\n' "$bug" "$2" \
            "$right"
        status=1
        return
    fi
    planted=$((planted + 1))
    bugs[planted]=$bug
    local choice="if crate::planted($planted) { $wrong } else { $right }"
    [[ $right = *\; ]] || choice="($choice)"
    printf '%s%s%s\n' "$before" "$choice" "$after" >"$file"
}

build_copy() {
    cat >>"$copy/src/lib.rs" <<'END'
pub fn planted(n: u32) -> bool {
    static NUMBER: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *NUMBER.get_or_init(|| std::env::var("PLANTED").unwrap().parse().unwrap()) == n
}
END
    # The crates of others may be there, built with the same flags.
    cargo_from "$build/unoptimised" "$work" &&
        (cd "$copy" && cargo rustc --locked --lib --crate-type staticlib \
            --config profile.dev.opt-level=1 --target-dir "$work/cargo" -- -Awarnings) &&
        g++ -std=c++17 -O1 -I"$copy/include" "$root/tests/cpp/exception_test.cpp" \
            "$work/cargo/debug/libmonad_async.a" -lgtest -lgtest_main \
            -lpthread -lm -ldl \
            -o "$work/tests"
}

# A bug may keep a test from ending: seconds of processor time.
run_tests() {
    (ulimit -c 0 -t 100 && PLANTED=$1 "$work/tests" --gtest_brief=1)
}

noticed() {
    ! run_tests "$1"
}

mkdir "$copy"
cp -r "$root"/{Cargo.toml,Cargo.lock,build.rs,src,cpp,include,gdb,benches} "$copy"
run=src/executor/run.rs suspend=src/executor/suspend.rs state=src/sys/cxx_eh.rs
plant 'a task leaves its exceptions to the others when it suspends' $suspend \
    'self.exceptions.replace(Exceptions::NONE)' '*self.exceptions'
plant 'a task does not get its exceptions back when it resumes' $suspend \
    'self.exceptions.write(exceptions);' ''
plant 'no task takes its exceptions along' $suspend '(*self.exceptions).is_none()' 'true'
plant 'only exceptions that were caught count' $state \
    'self.caught.addr() | self.uncaught as usize == 0' 'self.caught.is_null()'
plant 'only exceptions that were not caught count' $state \
    'self.caught.addr() | self.uncaught as usize == 0' 'self.uncaught == 0'
plant "the tasks see the caller's exceptions" $run \
    'ex.exceptions.replace(Exceptions::NONE)' '*ex.exceptions'
plant 'the caller does not get its exceptions back' $run '*self.0.exceptions = self.1;' ''
plant 'a task leaves its exceptions to the others when it exits' $run 'self.forget_exceptions();' ''

check 'the copy, built' build_copy
check 'no bug, nothing noticed' run_tests 0
[ $status = 0 ] || exit $status
for n in $(seq $planted); do
    check "noticed: ${bugs[n]}" noticed "$n"
done
exit $status

#!/usr/bin/env bash
# check.sh CASE STATIC-PROGRAM SHARED-PROGRAM LIBRARY|BUILD-DIRECTORY
# Runs gdb on states.cpp and compares what its commands print. Writes to a temporary directory only.
set -u
case=$1 static=$2 shared=$3 library=$4
script=$(cd "$(dirname "$0")/../../../gdb" && pwd)/monad-async-gdb.py
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
out=$work/out

skip() {
    printf 'skipped: %s\n' "$*"
    exit 77
}
failed=0
within=() # What gdb is run by.
fail() {
    printf 'FAILED: %s\n' "$*"
    failed=1
}
command -v gdb >/dev/null || skip 'no gdb; apt-get install gdb'
gdb -nx -batch -ex 'python import gdb.unwinder' 2>&1 | grep -q . && skip 'this gdb has no Python'

commands=(-ex 'echo == list\n' -ex 'info monad-tasks'
    -ex 'echo == nested\n' -ex 'monad-task 1 bt'
    -ex 'echo == reading\n' -ex 'monad-task 8 bt'
    -ex 'echo == idle\n' -ex 'monad-task 2 bt'
    -ex 'echo == running\n' -ex 'monad-task 16 bt'
    -ex 'echo == frame\n' -ex 'monad-task 1 frame apply all -q -s p marker'
    -ex 'echo == registers\n' -ex 'monad-task 1 regs'
    -ex 'echo == thread\n' -ex 'bt'
    -ex 'echo == selection\n' -ex 'select-frame 2' -ex 'info monad-tasks' -ex 'monad-task 7 bt 1'
    -ex 'frame' -ex 'thread'
    -ex 'echo == operations\n' -ex 'info monad-operations' -ex 'echo == scopes\n' \
        -ex 'info monad-scopes'
    -ex 'echo == locks\n' -ex 'info monad-locks' -ex 'echo == pools\n' -ex 'info monad-pools')
# Task 5 is the next to resume there. Then main traps.
later=(-ex 'echo == later\n' -ex 'monad-task 5 set $pc_5 = $pc' -ex 'monad-task 5 set $sp_5 = $sp'
    -ex 'monad-task 5 set $rbx_5 = $rbx' -ex 'monad-task 5 set $rbp_5 = $rbp'
    -ex 'echo == resumed\n' -ex 'tbreak *$pc_5' -ex 'continue' -ex 'monad-task 5 bt 1'
    -ex 'p $sp == $sp_5' -ex 'p $rbx == $rbx_5' -ex 'p $rbp == $rbp_5'
    -ex 'continue'
    -ex 'echo == main\n' -ex 'frame' -ex 'monad-task 1 bt')
source=(-iex 'set auto-load no' -iex "source $script")

debug() {
    # Leaks are looked for by a tracer, and there is one already.
    ASAN_OPTIONS=detect_leaks=0 "${within[@]}" gdb -nx -batch -iex 'set debuginfod enabled off' \
        -iex 'set style enabled off' -iex 'set width 0' "$@" >"$out" 2>&1
    grep -q 'ptrace: Operation not permitted\|Could not trace' "$out" &&
        skip 'no process may be traced here'
}

# section NAME: what the command behind that heading printed.
section() {
    awk -v name="== $1" '/^== / { on = $0 == name; next } on' "$out"
}
# expect SECTION REGEX: a line of it matches.
expect() {
    section "$1" | grep -Eq -- "$2" || fail "$1: no line matches: $2"
}
refuse() {
    section "$1" | grep -E -- "$2" && fail "$1: a line matches: $2"
}

# expect_list SYMBOLS
expect_list() {
    local n=0 state code
    while IFS='|' read -r state code; do
        n=$((n + 1))
        [ "$1" = symbols ] || code=
        expect list "^ *$n  0x[0-9a-f]+ .*  ${state}(, thread [0-9]+)?; .*${code}.* \\(0x"
    done <<'END'
sleeping until [0-9.]+( \([0-9.]+ s from now\))?|trampoline
idle|code_never
idle, has exited|code_exited
pending launch|code_pending
ready|code_yielding
sleeping until [0-9.]+( \([0-9.]+ s from now\))?|code_sleeping
sleeping forever|code_forever
I/O: READ in flight|code_reading
joining task 6|code_joining
joining task 11 of another executor|code_joining_remote
sleeping forever|code_remote
I/O: READ in flight|code_late
I/O: READ.*|code_late
I/O: READ, waits for a submission entry|code_late
I/O: READ, waits for a submission entry|code_late
running|code_stopping
running|code_holding
queued in a pool|code_queued
parked|code_begun
joining task 21|code_locking
waiting for mutex 0x[0-9a-f]+, held by task 20|code_waiting
queued in a pool|code_queued
waiting for the children of a group|code_grouping
waiting for mutex 0x[0-9a-f]+, held by task 23|code_grouped
sleeping forever|code_keeping
waiting for mutex 0x[0-9a-f]+, held by task 25|code_bare
END
    # And one that the pool has made for a job.
    expect list '  idle; - \(0x0\)$' && expect list '^27 tasks$'
    expect list '^deadlock: task 20 -> task 21 -> task 20$'
    expect list '^deadlock: task 23 -> task 24 -> task 23$'
    # What is in flight, of whom: read by a task that waits for it, begun by one that does not.
    expect operations '^task 8: READ, which it waits for$'
    expect operations '^task 19: READ of 77 at 0x[0-9a-f]+, in flight$'
    expect operations '^task 14: READ of 77 at 0x[0-9a-f]+, waits for a submission entry$'
    expect operations '^6 operations$'
    expect scopes '^task 19: scope 0x[0-9a-f]+, no deadline, a shield$'
    expect scopes '^task 19: scope 0x[0-9a-f]+, until [0-9.]+( \([0-9.]+ s from now\))?$'
    expect scopes '^2 scopes$'
    expect locks '^mutex 0x[0-9a-f]+: held by task 20; waits$'
    expect locks '^    task 21$' && expect locks '^3 locks$'
    expect locks '^mutex 0x[0-9a-f]+: held by task 23; waits$' && expect locks '^    task 24$'
    expect locks '^mutex 0x[0-9a-f]+: held by task 25; waits$' && expect locks '^    task 26$'
    expect pools '^pool with the queue at 0x[0-9a-f]+: 2 wait for a worker$'
    [ "$(section pools | sed -n 2,3p | xargs)" = 'high: task 22 normal: task 18' ] ||
        fail 'pools: not in their order'
    # Priorities; three executors; ticks; used stack below that of the whole.
    expect list '^ *6  0x[0-9a-f]+  h/n ' && expect list '^ *8  0x[0-9a-f]+  n/h '
    [ "$(section list | awk '$4 ~ /^0x/ { print $4 }' | sort -u | wc -l)" = 3 ] ||
        fail 'list: not three executors'
    section list | awk '$1 == 1 { split($6, used, "/") } $1 == 1 && $5 > 0 && used[1] > 200 &&
        used[1] < 16384 { ok = 1 } END { exit !ok }' || fail 'list: ticks or stack of task 1'
}

# Beyond the base is the executor as it stood at some earlier time.
expect_stacks() {
    local nested
    nested=$(section nested | grep -oE '( |::)(innermost|middle|operator\(\)) \(' | tr -d ' ():' |
        xargs)
    # What calls the body is an operator(), too, where the compiler says so of what it has inlined.
    [ "${nested% operator}" = 'innermost middle middle middle middle operator' ] ||
        [ "$nested" = 'innermost middle middle middle middle operator' ] ||
        fail "nested: the functions are: $nested"
    expect nested '^#1 '
    expect reading ' (in |)\(anonymous namespace\)::code_reading '
    for stack in nested reading; do
        refuse $stack ' main \(|executor_run|signal handler called|corrupt|^#0 '
    done
    expect running '^It runs on thread 1:$'
    expect running ' \(anonymous namespace\)::code_stopping '
    expect idle '^It has no frames.$'
    expect frame ' = 4711$'
    expect registers '^rip '
    # The thread is where it was.
    expect thread '^#[01] .*(raise|pthread_kill)'
    expect thread ' \(anonymous namespace\)::code_stopping '
    [ "$(section selection | tail -n 3 | grep -Ec '^#2 |Current thread is 1 ')" = 2 ] ||
        fail 'selection: frame 2 of thread 1 is not selected any more'
}

# What was foretold of a task's registers is what it resumes with. (Elsewhere than on x86-64, and
# under AddressSanitizer, they are loaded a few instructions later.)
expect_later() {
    if [ "$(uname -m)" = x86_64 ] && ! grep -q __asan_init "$static"; then
        expect resumed '^Task 5 at 0x[0-9a-f]+, running.$'
        [ "$(section resumed | grep -Ec ' = (1|true)$')" = 3 ] || fail 'resumed: other registers'
    fi
    expect main '^#0 .* main '
    expect main '^#1 '
    expect main ' innermost \('
}

case $case in
live)
    debug "${source[@]}" -ex run "${commands[@]}" "${later[@]}" "$static"
    expect_list symbols
    expect_stacks
    expect_later
    ;;
core)
    cp "$static" "$work/program"
    (cd "$work" && ulimit -c unlimited && ASAN_OPTIONS=disable_coredump=0 ./program) >/dev/null 2>&1
    core=$(find "$work" -name 'core*' | head -n 1)
    [ -n "$core" ] || skip "no core here: $(cat /proc/sys/kernel/core_pattern)"
    debug "${source[@]}" "${commands[@]}" "$work/program" "$core"
    expect_list symbols
    expect_stacks
    ;;
stripped-program)
    strip -s -o "$work/program" "$static"
    debug "${source[@]}" -ex run "${commands[@]}" "$work/program"
    expect_list none
    [ "$(section nested | grep -c '^#')" -gt 6 ] || fail 'nested: too few frames'
    ;;
stripped-library)
    soname=$(readelf -d "$library" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
    strip -s -o "$work/$soname" "$library"
    debug "${source[@]}" -ex "set environment LD_LIBRARY_PATH $work" -ex run "${commands[@]}" \
        "$shared"
    expect_list symbols
    expect_stacks
    ;;
valgrind)
    # gdb behind a stub is told of the program's sections twice.
    command -v vgdb >/dev/null || skip 'no vgdb; apt-get install valgrind'
    grep -q '__[at]san_init' "$static" && skip 'valgrind runs no program with a sanitizer'
    valgrind -q --vgdb-error=0 --vgdb-prefix="$work/vgdb" "$static" >"$work/program" 2>&1 &
    program=$!
    debug "${source[@]}" -ex "target remote | vgdb --wait=60 --vgdb-prefix=$work/vgdb --pid=$program" \
        -ex continue -ex 'echo == list\n' -ex 'info monad-tasks' -ex 'echo == operations\n' \
        -ex 'info monad-operations' "$static"
    kill -KILL "$program"
    wait "$program" 2>/dev/null
    # 3.19 gives up at a file of clang's and lld's.
    grep -q 'Possibly corrupted debuginfo' "$work/program" &&
        skip 'this valgrind does not read what this compiler writes for debuggers'
    expect list '^27 tasks$'
    expect operations '^6 operations$'
    ;;
colours)
    # gdb's own backtrace, without the commands: from the function that stops to the base.
    debug -iex 'set auto-load no' -ex 'break innermost' -ex run \
        -ex 'python for i in range(512): gdb.execute("bt"); gdb.execute("continue")' "$static"
    [ "$(grep -Ec '^#1 .* stopping \(' "$out")" = 512 ] || fail 'not 512 backtraces'
    grep -Eq 'exited normally' "$out" || fail 'it did not end by itself'
    [ "$(grep -Ec '^#[0-9]+ .* monad_async::stack::(jump|routine)::base' "$out")" = 512 ] ||
        [ "$(uname -m)" != x86_64 ] || fail 'not every backtrace ends at the base'
    grep -E 'signal handler called|corrupt|previous frame|^#9 ' "$out" | head -n 3 | grep . &&
        fail 'a backtrace does not end where the stack does'
    ;;
installed)
    # Moved, stripped, and loaded without being asked for, but from a path the user trusts.
    cmake --install "$library" --prefix "$work/p" >/dev/null || fail 'installation'
    mv "$work/p" "$work/moved"
    where=$(dirname "$(find "$work/moved" -name libmonad_async.so)")
    strip -s "$where/libmonad_async.so"
    debug -iex "add-auto-load-safe-path $work/moved" -ex "set environment LD_LIBRARY_PATH $where" \
        -ex run "${commands[@]}" "$shared"
    expect_list symbols
    expect_stacks
    # To be sourced; and what a static program carries along.
    debug -iex 'set auto-load no' -iex "source $work/moved/share/monad_async/monad-async-gdb.py" \
        -ex run "${commands[@]}" "$static"
    expect_stacks
    debug -iex "add-auto-load-safe-path $(dirname "$static")" -ex run "${commands[@]}" "$static"
    expect_stacks
    ;;
usr)
    # As a distribution's package: nothing is set, and gdb has the commands. The machine's /usr
    # stays as it is: below a mount that only this gdb sees.
    DESTDIR=$work/package cmake --install "$library" --prefix /usr >/dev/null || fail 'installation'
    inside=(unshare --map-root-user --mount sh -c
        'mount -t overlay overlay -o "lowerdir=$1/usr:/usr" /usr && shift && exec "$@"' sh \
            "$work/package")
    "${inside[@]}" true 2>"$out" || skip "no overlay can be mounted here: $(tail -n 1 "$out")"
    within=("${inside[@]}")
    debug -ex "set environment LD_LIBRARY_PATH $(dirname "$(find "$work/package" -name libmonad_async.so |
        sed "s|^$work/package||")")" -ex run "${commands[@]}" "$shared"
    expect_list symbols
    expect_stacks
    ;;
esac
[ $failed = 0 ] || cat "$out"
exit $failed

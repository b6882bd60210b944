#!/usr/bin/env bash
# The example cp and cp -a: trees, holes, modes, times, links; killed at any moment; what cannot be
# copied. Takes the program's path; prints "ok NAME", "not ok NAME" or "skip NAME: WHY", a line
# each.
set -uo pipefail

. "$(dirname "$0")/example.sh"

# What a tree is, except for its contents.
listed() { (cd "$1" && find . -printf '%p %y %m %U %G %T@ %l\n' | sort); }
same_tree() { diff -r --no-dereference "$1" "$2" && diff <(listed "$1") <(listed "$2"); }

make_tree() {
    mkdir -p tree/{a,b/c,empty} && chmod 750 tree/a && chmod 1777 tree/empty
    local i
    for i in 0 1 4095 4096 4097 1048576 1048577 3000000; do
        head -c $i /dev/urandom >"tree/a/$i"
    done
    for i in {1..500}; do echo $i >"tree/b/c/small $i"; done
    chmod 4711 tree/a/4096 && chmod 400 tree/a/0 && chmod 640 tree/a/1
    ln -s ../a/4096 tree/b/link; ln -s /nowhere tree/dangling; ln -s loop tree/loop
    touch -d '2001-02-03 04:05:06.789' tree/a/4097 tree/empty tree/b
    touch -h -d '1999-01-01' tree/dangling
}

trees() { make_tree && "$program" tree copied && same_tree tree copied; }
again() { "$program" tree copied 2>err; [ -d copied/tree ] && same_tree tree copied/tree; }
into() {
    mkdir into && "$program" tree/a/4097 tree/b into && same_tree tree/b into/b &&
        cmp tree/a/4097 into/4097
}
over() { echo old >target && "$program" tree/a/4097 target && cmp tree/a/4097 target; }
verified() { "$program" --verify tree verified && same_tree tree verified; }

# The source changes behind the copy of its first byte: so what is read again is another.
differs() {
    local pid
    head -c 64M /dev/zero | tr '\0' a >moving || return 1
    while true; do
        "$program" --verify moving moved 2>err & pid=$!
        until kill -STOP $pid 2>/dev/null && [ "$(head -qc 1 .cp-* 2>/dev/null)" = a ] ||
            [ -e moved ]; do
            kill -CONT $pid && sleep 0.002
        done
        # Once it has its final name the second look may be over.
        [ -e moved ] || break
        kill -CONT $pid 2>/dev/null
        wait $pid && rm moved || return 1
    done
    printf b 1<>moving && kill -CONT $pid && ! wait $pid && grep -q 'moving: Input/output error' err
}
include() {
    [ -d /usr/include ] || return 0
    cp -a /usr/include expected && "$program" /usr/include include && same_tree expected include
}

holes() {
    truncate -s 64M sparse && printf x | dd of=sparse bs=1 seek=33000000 conv=notrunc status=none &&
        "$program" sparse filled && cmp sparse filled && [ "$(du -k filled | cut -f 1)" -le 1024 ]
}

# 256 MiB, or in the long form 1 GiB.
large() {
    local parts=16
    [ -z "${MONAD_ASYNC_LONG:-}" ] || parts=64
    head -c 16M /dev/urandom >part && for _ in $(seq $parts); do cat part; done >large &&
        "$program" --verify large large2 && cmp large large2 && rm large large2
}

# No file under its final name is other than its source. Some kills are in the middle of the work:
# from its begin on, spread over the time that the whole of it takes.
killed() {
    local round pid took hits=0
    mkdir half && took=$(date +%s%N) && "$program" tree half && took=$(($(date +%s%N) - took))
    for round in {1..20}; do
        rm -rf half && mkdir half
        "$program" tree half & pid=$!
        until [ -e half/tree ]; do kill -0 $pid || return 1; done
        sleep "$(printf '0.%09d' $((took * round / 40 % 1000000000)))"
        kill -9 $pid 2>/dev/null
        wait $pid 2>/dev/null
        [ $? != 137 ] || hits=$((hits + 1))
        # (diff says so, too, where something is missing, which it may be.)
        ! { diff -rq --no-dereference tree half/tree 2>&1 || true; } |
            grep -v '^Only in ' || return 1
    done
    echo "$hits of 20 kills were in the middle" && [ $hits -ge 3 ]
}

errors() {
    mkfifo fifo
    ! "$program" nothing x 2>err && grep -q 'nothing: No such file' err && [ ! -e x ] &&
        ! "$program" fifo y 2>err && grep -q fifo err && [ ! -e y ] &&
        ! "$program" tree/a/4096 nowhere/z 2>err && grep -q 'No such file' err &&
        ! "$program" 2>err && grep -q usage err && ! "$program" fifo fifo tree/a/4096 2>err
}

# A directory is not copied into itself, without an end, nor a file onto itself; a link is neither.
into_itself() {
    mkdir -p self/a && echo 1 >self/f && ln -s self link
    ! "$program" self self/a 2>err && grep -q 'self: Invalid argument' err && [ -z "$(ls -A self/a)" ] &&
        ! "$program" self self/new 2>err && [ ! -e self/new ] &&
        ! "$program" self/f self 2>err && ! "$program" self/f self/f 2>err && grep -q 1 self/f &&
        "$program" link self/a && [ "$(readlink self/a/link)" = self ] &&
        "$program" self self2 && diff -r --no-dereference self self2 && rm -r self2 &&
        (cd self && ! "$program" . new 2>err && grep -q Invalid err && [ ! -e new ] && rm err) &&
        ln -s f self/l && ! "$program" self/l self/f 2>err && grep -qx 1 self/f &&
        ! "$program" self/f self/l 2>err && [ "$(readlink self/l)" = f ]
}

# By another name of it: what was made is not copied once more.
mounted() {
    mkdir -p m/sub m2 && echo 1 >m/f && mount --bind m/sub m2 2>/dev/null || return 77
    ! "$program" m m2/x 2>err && grep -q 'Invalid argument' err && [ -e m2/x/f ] && [ ! -e m2/x/sub/x/f ]
    local r=$?
    umount m2
    return $r
}

# One that nothing can be said of keeps none of the others back.
loops() {
    mkdir looped && ln -s loop loop && echo 1 >one && "$program" loop one looped &&
        [ "$(readlink looped/loop)" = loop ] && grep -q 1 looped/one
}

# Deeper than a task's stack is.
deep() {
    local i
    mkdir deep && (cd deep && for i in {1..900}; do mkdir d && cd d || exit 1; done && echo x >f) &&
        "$program" deep deep2 && diff <(cd deep && find . | sort) <(cd deep2 && find . | sort)
}

no_room() {
    mkdir tiny && mount -t tmpfs -o size=1M none tiny 2>/dev/null || return 77
    ! "$program" tree/a/3000000 tiny 2>err && grep -q 'No space' err && [ -z "$(ls -A tiny)" ]
    local r=$?
    umount tiny
    return $r
}

few_descriptors() { (ulimit -n 40 && "$program" tree few) && same_tree tree few; }

check 'a tree' trees
check 'into a directory' again
check 'several into a directory' into
check 'over a file' over
check 'verified' verified
check 'a copy that differs is told' differs
check 'all of /usr/include' include
check 'holes' holes
check 'a large file' large
check 'killed' killed
check 'errors' errors
check 'into itself' into_itself
check 'a link to itself' loops
check 'a deep tree' deep
check 'few descriptors' few_descriptors
mounted >output 2>&1
case $? in
0) printf 'ok into itself by a mount\n' ;;
77) printf 'skip into itself by a mount: none may be made\n' ;;
*) printf 'not ok into itself by a mount\n'; status=1 ;;
esac
no_room >output 2>&1
case $? in
0) printf 'ok a disk that is full\n' ;;
77) printf 'skip a disk that is full: no tmpfs may be mounted\n' ;;
*) printf 'not ok a disk that is full\n'; status=1 ;;
esac
if command -v script >/dev/null; then
    # A terminal sees the bar.
    bar() {
        script -qec "$program tree shown" typescript </dev/null >/dev/null &&
            grep -q 'MB/s.*left' typescript
    }
    check 'progress on a terminal' bar
else
    printf 'skip progress on a terminal: no script(1)\n'
fi
exit $status

#!/usr/bin/env bash
# The example wal, killed 200 times in the middle of its work: nothing answered is lost, nothing
# torn is read. Takes the program's path, and how often; prints "ok NAME", "not ok NAME" or "skip
# NAME: WHY", a line each.
set -uo pipefail

. "$(dirname "$0")/example.sh"
kills=${2:-200}

# start DIRECTORY [DESCRIPTORS]   Starts the server, and waits until it answers.
start() {
    : >said
    (ulimit -n "${2:-1024}" && exec "$program" serve "$1") >said & server=$!
    until grep -q ready said; do kill -0 $server 2>/dev/null || return 1; sleep 0.002; done
}

killed() {
    mkdir store
    : >answered
    local i client before
    for ((i = 0; i < kills; ++i)); do
        start store || return 1
        "$program" check store answered || { echo "after kill $i"; return 1; }
        before=$(wc -l <answered)
        "$program" load store 20 >>answered & client=$!
        # In the middle of its work on a slow machine, too: each key was set, after two lines at most
        # that say what it was.
        until [ "$(wc -l <answered)" -ge $((before + 60)) ]; do
            kill -0 $server || return 1
            sleep 0.002
        done
        sleep "0.0$((RANDOM % 40 + 10))"
        kill -9 $server
        wait $server 2>/dev/null
        wait $client
    done
    start store && "$program" check store answered && kill $server && wait $server || return 1
    # It did something.
    [ "$(wc -l <answered)" -gt $((kills * 20)) ] && echo "$(wc -l <answered) sets"
}

# Any cut of the log is a store of what was whole.
torn() {
    local n size
    size=$(stat -c %s store/log)
    for n in 1 5 13 40 77; do
        rm -rf cut && mkdir cut && head -c $((size - n)) store/log >cut/log
        printf 'garbage' >>cut/log
        start cut || return 1
        kill $server && wait $server || return 1
        [ "$(stat -c %s cut/log)" -le $((size - n)) ] || return 1
    done
}

# A byte that is another one in the middle is no torn end: the log is refused, and stays as it is.
damaged() {
    local size at told
    size=$(stat -c %s store/log)
    for at in 30 $((size / 3)) $((size / 2)); do
        rm -rf bad && mkdir bad && cp store/log bad/log || return 1
        printf "\\$(printf %o $(($(od -An -tu1 -j "$at" -N1 bad/log) ^ 4)))" |
            dd of=bad/log bs=1 seek="$at" conv=notrunc status=none && cp bad/log before &&
            is_refused bad && cat err && cmp bad/log before || return 1
        told=$(sed -n 's/^wal: bad\/log: damaged at byte \([0-9]*\):.*/\1/p' err)
        [ -n "$told" ] && [ "$told" -le "$at" ] && [ "$told" -gt $((at - 1000)) ] || return 1
    done
}

# A full disk, or a user with no more of it: those sets are told so, and what was answered before
# stays. $1: what mounts it.
full() {
    mkdir -p tiny && "$1" tiny 2>/dev/null || return 77
    start tiny && "$program" load tiny 5 >answered_full
    local r=$?
    # It goes on: who asks again is told again.
    "$program" load tiny 5 >>answered_full || r=1
    "$program" check tiny answered_full && [ -s answered_full ] || r=1
    kill -9 $server; wait $server 2>/dev/null
    # Over its quota there is no new socket either.
    btrfs qgroup limit none tiny 2>/dev/null
    start tiny && "$program" check tiny answered_full || r=1
    kill $server; wait $server
    umount tiny
    return $r
}

small() {
    mount -t tmpfs -o size=256k none "$1"
}

limited() {
    truncate -s 128M image && mkfs.btrfs -q image >/dev/null && mount -o loop image "$1" || return 1
    btrfs quota enable "$1" && btrfs qgroup limit 512K "$1" && return
    umount "$1"
    return 1
}

# Out of descriptors it goes on.
few_descriptors() {
    local client
    mkdir few && start few 24 || return 1
    "$program" load few 30 >answered_few & client=$!
    until [ "$(wc -l <answered_few)" -ge 100 ]; do
        kill -0 $server || return 1
        sleep 0.002
    done
    kill $server && wait $server && wait $client
}

# Of a line without an end it keeps a MiB, and ends the connection. 77: no python3.
endless() {
    command -v python3 >/dev/null || return 77
    mkdir endless && start endless || return 1
    python3 - endless/socket <<'end' && kill $server && wait $server
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
try:
    for _ in range(256):
        s.sendall(b"x" * 65536)
    sys.exit("all was taken")
except OSError:
    pass
end
}

# What was answered is on the disk, and not only in the kernel's memory, where a kill leaves it: on a
# copy of the disk, whose file system writes nothing by itself for a while. And many sets share what
# brings them there. 77: no such disk.
on_the_disk() {
    local before loop r=0
    truncate -s 64M disk && mkfs.ext4 -q disk && mkdir -p there &&
        mount -o loop,commit=900 disk there 2>/dev/null || return 77
    loop=$(findmnt -no SOURCE there) && start there || r=1
    before=$(flushes "$loop")
    : >answered_there
    "$program" load there 20 >>answered_there & local client=$!
    until [ $r != 0 ] || [ "$(wc -l <answered_there)" -ge 2000 ]; do
        kill -0 $server && sleep 0.005 || r=1
    done
    kill -9 $server; wait $server $client 2>/dev/null
    before=$(($(flushes "$loop") - before))
    echo "$(wc -l <answered_there) answers, $before flushes"
    # Each set is told of twice: by its answer, and to who gets it.
    [ $((before * 4)) -lt "$(wc -l <answered_there)" ] && cp --sparse=always disk copied || r=1
    # Its ring may hold the log for a moment longer.
    until umount there 2>/dev/null; do sleep 0.01; done
    mount -o loop copied there && start there || return 1
    "$program" check there answered_there || r=1
    kill $server; wait $server
    umount there
    return $r
}
# Of a disk: the last but one of its numbers.
flushes() { awk '{ print $16 }' "/sys/class/block/${1#/dev/}/stat"; }

# Of two servers of a directory the second says so, and the first goes on. A directory whose socket
# would have another name is refused.
alone() {
    local deep
    deep=$(printf 'd%.0s' {1..150})
    mkdir one "$deep" && start one && "$program" check one /dev/null || return 1
    is_refused one && grep -q 'one: ' err &&
        "$program" check one /dev/null && kill $server && wait $server || return 1
    is_refused "$deep" && grep -q 'too long' err
}
# A server of that directory ends before it is ready.
is_refused() {
    "$program" serve "$1" >two 2>err &
    local second=$!
    until grep -q ready two || ! kill -0 $second 2>/dev/null; do sleep 0.01; done
    if grep -q ready two; then
        kill $second
        return 1
    fi
    ! wait $second
}

# As `check`, of one that may be skipped. $1: its name; $2: why it is skipped.
check_where() {
    local name=$1 why=$2
    shift 2
    "$@" >output 2>&1
    case $? in
    0) printf 'ok %s\n' "$name" ;;
    77) printf 'skip %s: %s\n' "$name" "$why" ;;
    *) printf 'not ok %s\n' "$name"; tail -n 20 output; status=1 ;;
    esac
}

check "killed $kills times" killed
check 'torn' torn
check 'damaged' damaged
check 'few descriptors' few_descriptors
check 'one server of a directory' alone
check_where 'a line without an end' 'no python3' endless
check_where 'a full disk' 'no tmpfs may be mounted' full small
check_where 'a quota' 'no Btrfs with a quota may be mounted' full limited
check_where 'what was answered is on the disk' 'no ext4 may be mounted' on_the_disk
exit $status

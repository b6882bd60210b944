#!/usr/bin/env bash
# An example echo server: as short as it is to be; out of descriptors it goes on, and answers when
# some are free; SIGTERM ends it with the answers that it owes, and also where a peer does not take
# them. In the long form, an idle connection is closed. Takes the program's path; prints "ok NAME" or "not ok NAME".
set -uo pipefail

sources=$(realpath -e "$(dirname "$0")/../../examples") || exit 1
. "$(dirname "$0")/example.sh"

short() {
    [ "$(wc -l <"$sources/echo_server.c")" -le 60 ] &&
        [ "$(wc -l <"$sources/echo_server.cpp")" -le 40 ]
}

# watch PID PAUSE   Kills a server that sleeps while it is waited for: then its connections end, and
# with them who waits for an answer. Such a one sleeps the same sleep at 300 looks in a row.
watch() {
    local now before='' same=0
    until [ "/proc/$1/exe" -ef "$program" ]; do kill -0 "$1" || return; sleep 0.005; done
    while [ "/proc/$1/exe" -ef "$program" ] && [ $same -lt 300 ]; do
        now=$(grep -hE '^State|ctxt_switches' "/proc/$1"/task/*/status)
        case $now in
        *State:?[RD]*) same=0 ;; # It runs, or is about to.
        "$before") same=$((same + 1)) ;;
        *) same=0 ;;
        esac
        before=$now
        sleep "$2"
    done
    [ $same -lt 300 ] || { echo 'the server sleeps, and answers nobody'; kill -KILL "$1"; }
} 2>/dev/null

# start DESCRIPTORS [idle|PAUSE]   Its process in `server`, its port in `port`; idle: it may sleep
# long; PAUSE: as `watch`.
start() {
    : >port
    (ulimit -n "$1" && exec "$program") >port &
    server=$!
    [ "${2:-}" = idle ] || watch $server "${2:-0.01}" &
    until grep -q port port; do kill -0 $server || return 1; sleep 0.005; done
    read -r _ port <port
}

outlives_a_shortage() {
    local fd answer fds=()
    start 16 || return 1
    # More than it can take: the rest waits in the listener's queue.
    for _ in {1..20}; do
        exec {fd}<>"/dev/tcp/127.0.0.1/$port" || return 1
        fds+=("$fd")
    done
    echo first >&"${fds[0]}" && read -r answer <&"${fds[0]}" && [ "$answer" = first ] || return 1
    for fd in "${fds[@]:0:15}"; do exec {fd}>&-; done
    echo last >&"${fds[19]}" && read -r answer <&"${fds[19]}" && [ "$answer" = last ] &&
        kill -TERM $server && wait $server
}

# It sends more than the buffers of a connection hold, and reads next to nothing: an answer is under
# way when the signal comes. All that comes back is what was sent, in its order.
owes_no_answer() {
    local fd n
    start 1000 || return 1
    head -c 8000000 /dev/urandom >sent
    exec {fd}<>"/dev/tcp/127.0.0.1/$port" || return 1
    cat sent >&"$fd" 2>/dev/null &
    head -c 4096 <&"$fd" >got && kill -TERM $server || return 1
    cat <&"$fd" >>got 2>/dev/null
    exec {fd}>&-
    n=$(stat -c %s got)
    wait $server && [ "$n" -ge 4096 ] && cmp -n "$n" sent got
}

# It takes none of its answers any more, and SIGTERM comes: the server ends with its time-out. One
# waited for such a peer for ever.
gives_up() {
    local fd writer now before='' same=0
    start 1000 0.3 || return 1
    exec {fd}<>"/dev/tcp/127.0.0.1/$port" || return 1
    cat /dev/zero >&"$fd" 2>/dev/null & writer=$!
    # Nothing moves any more.
    until [ $same -ge 30 ]; do
        now=$(grep -hE '^State:.S|ctxt_switches' /proc/$writer/status) || return 1
        if [ "$now" = "$before" ]; then same=$((same + 1)); else same=0; fi
        before=$now
        sleep 0.01
    done
    kill -TERM $server && wait $server || return 1
    exec {fd}>&-
    ! wait $writer
}

# Many at once, each answered before the end.
many() {
    local fd answer fds=()
    start 1000 || return 1
    for _ in {1..60}; do
        exec {fd}<>"/dev/tcp/127.0.0.1/$port" || return 1
        fds+=("$fd")
    done
    for fd in "${fds[@]}"; do echo "this is $fd" >&"$fd" || return 1; done
    for fd in "${fds[@]}"; do
        read -r answer <&"$fd" && [ "$answer" = "this is $fd" ] || return 1
    done
    kill -TERM $server && wait $server || return 1
    # All were closed by the server.
    for fd in "${fds[@]}"; do ! read -r answer <&"$fd" || return 1; done
}

idle() {
    local fd answer
    start 1000 idle || return 1
    exec {fd}<>"/dev/tcp/127.0.0.1/$port" || return 1
    echo here >&"$fd" && read -r answer <&"$fd" && [ "$answer" = here ] || return 1
    ! read -r answer <&"$fd" && kill -TERM $server && wait $server
}

check 'as short as they are to be' short
check 'a server without descriptors waits for some' outlives_a_shortage
check 'sixty connections' many
check 'SIGTERM in the middle of an answer' owes_no_answer
check 'SIGTERM, and a peer that takes no answer' gives_up
[ -z "${MONAD_ASYNC_LONG:-}" ] || check 'an idle connection is closed' idle
exit $status

#!/usr/bin/env bash
# An example echo server that runs out of descriptors: it goes on, answers when some are free, and
# ends at SIGTERM. Takes the program's path; prints "ok NAME" or "not ok NAME".
set -uo pipefail

. "$(dirname "$0")/example.sh"

outlives_a_shortage() {
    local server port fd answer fds=()
    : >port
    (ulimit -n 16 && exec "$program") >port &
    server=$!
    until grep -q port port; do kill -0 $server || return 1; sleep 0.005; done
    read -r _ port <port
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

check 'a server without descriptors waits for some' outlives_a_shortage
exit $status

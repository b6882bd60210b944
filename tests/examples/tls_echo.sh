#!/usr/bin/env bash
# The example tls_echo with openssl's own client and server, with 64 connections of 1 MiB at once,
# with certificates that are to be refused, and with peers that stall or are cut. Takes the
# program's path; prints "ok NAME", "not ok NAME" or "skip NAME: WHY", a line each.
set -uo pipefail

. "$(dirname "$0")/example.sh"

command -v openssl >/dev/null || { echo 'skip tls_echo: no openssl here (openssl)'; exit 0; }

pids=()
end_all() {
    local one
    for one in "${pids[@]}"; do kill -9 "$one" 2>/dev/null; done
    rm -rf "$scratch"
}
trap end_all EXIT

# certificate NAME SUBJECT   NAME.pem and NAME.key, of itself.
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$2" \
        -addext "subjectAltName=DNS:$2,IP:127.0.0.1" -keyout "$1.key" -out "$1.pem"
}

# serve [MS]   Our server: $server, $port, and what it says in `said`.
serve() {
    rm -f port
    "$program" serve right.pem right.key 0 "$@" >port 2>said & server=$!
    pids+=($server)
    until grep -qs port port; do kill -0 $server || return 1; sleep 0.01; done
    read -r _ port <port
}
stop() { kill -TERM $server && wait $server; }
# What it had to say of a connection that has ended, it has said when another one, which begins
# then, is answered.
says() {
    openssl_ask && turn 'others are served' && exec {to}>&- && wait $client && exec {from}<&- &&
        stop && grep "$1" said || { cat said; return 1; }
}

# openssl_serve NAME [ARGUMENT...]   openssl's server, which reverses lines: $peer and $port.
openssl_serve() {
    local name=$1
    shift
    rm -f accepts
    openssl s_server -accept 127.0.0.1:0 -cert "$name.pem" -key "$name.key" -rev "$@" \
        >accepts 2>&1 & peer=$!
    pids+=($peer)
    until grep -qs '^ACCEPT ' accepts; do kill -0 $peer || return 1; sleep 0.01; done
    port=$(sed -n 's/^ACCEPT .*:\([0-9]*\)$/\1/p' accepts)
}

# openssl_ask [ARGUMENT...]   openssl's client: its ends in $to and $from, $client, what it says of
# the connection in `of`.
openssl_ask() {
    rm -f in out
    mkfifo in out
    openssl s_client -connect "127.0.0.1:$port" -brief -CAfile right.pem -verify_return_error \
        -verify_hostname localhost -servername localhost "$@" <in >out 2>of & client=$!
    pids+=($client)
    exec {to}>in {from}<out
}
# turn LINE   Sent, and comes back.
turn() {
    local answer
    echo "$1" >&"$to" && read -r answer <&"$from" && [ "$answer" = "$1" ]
}

# What is said here stays said: the server complains of nothing.
echoes() {
    serve || return
    openssl_ask "$@" && turn first && turn 'and a second' || { cat of; return 1; }
    exec {to}>&-
    wait $client && exec {from}<&- && stop && [ ! -s said ]
}

# Keys of the peer's, and ours, in the middle.
renews() {
    serve && openssl_ask -tls1_3 -msg -msgfile messages && turn first || return
    for n in 1 2; do
        echo K >&"$to"
        until [ "$(grep -c KEYUPDATE of)" = $n ]; do kill -0 $client || return; sleep 0.01; done
        turn "behind $n" || return
    done
    exec {to}>&-
    wait $client && exec {from}<&- && stop && [ ! -s said ] &&
        [ "$(grep -c '^<<<.*KeyUpdate' messages)" = 2 ]
}

# What a client sends on its standard input comes back.
asks() {
    openssl_serve right -naccept 1 "$@" || return
    printf 'one\ntwo\n' | "$program" ask localhost "$port" right.pem >got 2>error
    wait $peer
    [ "$(cat got)" = "$(printf 'eno\nowt')" ] || { cat got error accepts; return 1; }
}

# refused SERVER AUTHORITIES NAME WHY
refused() {
    openssl_serve "$1" -naccept 1 || return
    ! echo secret | "$program" ask 127.0.0.1 "$port" "$2" "$3" >got 2>error && [ ! -s got ] &&
        grep -F "certificate refused: $4" error || { cat error; return 1; }
    wait $peer # It ends behind one connection.
    grep 'alert' accepts && ! grep terces accepts
}

many() {
    local i asking=()
    serve || return
    for i in {1..64}; do
        { echo "connection $i"; head -c 786300 /dev/urandom | base64; } | head -c 1048575 >sent.$i
        echo >>sent.$i
    done
    for i in {1..64}; do
        "$program" "${modes[i % ${#modes[@]}]}" localhost "$port" right.pem <sent.$i >got.$i &
        asking+=($!)
        pids+=($!)
    done
    for i in "${asking[@]}"; do wait "$i" || return; done
    for i in {1..64}; do
        [ "$(stat -c %s sent.$i)" = 1048576 ] &&
            [ "$(sha256sum <sent.$i)" = "$(sha256sum <got.$i)" ] || { echo "$i"; return 1; }
    done
    rm -f sent.* got.*
    stop && [ ! -s said ] || { cat said; return 1; }
}

# stalls BYTES   It says so much of a handshake, and nothing more.
stalls() {
    local fd
    serve 300 || return
    exec {fd}<>"/dev/tcp/127.0.0.1/$port" && printf "$1" >&"$fd" || return
    cat <&"$fd" >/dev/null # Until it is closed.
    exec {fd}>&-
    says 'Timer expired'
}
no_tls() {
    local fd
    serve || return
    exec {fd}<>"/dev/tcp/127.0.0.1/$port" && printf 'GET / HTTP/1.1\r\n\r\n' >&"$fd" || return
    cat <&"$fd" >/dev/null
    exec {fd}>&-
    says 'http request'
}

server_sees_a_cut() {
    serve && openssl_ask "$@" && turn first || return
    kill -9 $client
    wait $client
    exec {to}>&- {from}<&-
    says 'truncated: the peer ended'
}
client_sees_a_cut() {
    local asking answer in out
    openssl_serve right || return
    mkfifo to_client from_client || return
    "$program" ask localhost "$port" right.pem <to_client >from_client 2>error & asking=$!
    pids+=($asking)
    exec {in}>to_client {out}<from_client
    echo one >&"$in" && read -r answer <&"$out" && [ "$answer" = eno ] || return
    kill -9 $peer
    wait $peer
    wait $asking && return 1
    exec {in}>&- {out}<&-
    grep 'truncated: the peer ended' error
}

# Its connections are told, and know it from a cut.
ends() {
    local asking answer in out
    serve || return
    mkfifo to_ask from_ask || return
    "$program" ask localhost "$port" right.pem <to_ask >from_ask 2>error & asking=$!
    pids+=($asking)
    exec {in}>to_ask {out}<from_ask
    echo one >&"$in" && read -r answer <&"$out" && [ "$answer" = one ] && stop || return
    exec {in}>&-
    wait $asking && exec {out}<&- && [ ! -s error ] && [ ! -s said ]
}

check 'certificates' certificate right localhost
check 'another certificate' certificate other elsewhere.invalid
check "openssl's client, TLS 1.3" echoes -tls1_3
check "openssl's client, TLS 1.2" echoes -tls1_2
check 'new keys in the middle' renews
check "openssl's server, TLS 1.3" asks -tls1_3
check "openssl's server, TLS 1.2" asks -tls1_2
check 'a certificate of nobody' refused right other.pem localhost 'self-signed certificate'
check 'a certificate of another host' refused right right.pem elsewhere.invalid 'hostname mismatch'
check 'a certificate of another address' refused right right.pem 127.0.0.2 'IP address mismatch'
modes=(ask)
check '64 connections of 1 MiB at once' many
modes=(renew ask)
check '64 connections, with new keys in both directions' many
check 'a peer that says nothing is given up' stalls ''
check 'a peer that stalls in the handshake is given up' stalls '\x16\x03\x01\x02\x00\x01\x00'
check 'a peer that speaks no TLS' no_tls
check 'a client that is cut, TLS 1.3' server_sees_a_cut -tls1_3
check 'a client that is cut, TLS 1.2' server_sees_a_cut -tls1_2
check 'a server that is cut' client_sees_a_cut
check 'SIGTERM ends connections by close_notify' ends
exit $status

#!/usr/bin/env bash
# The example http_server with curl, with requests that are none, with 1,000 connections of wrk, and
# at its end. Takes the program's path; prints "ok NAME", "not ok NAME" or "skip NAME: WHY", a line
# each.
set -uo pipefail

. "$(dirname "$0")/example.sh"

command -v curl >/dev/null || { echo 'skip http_server: no curl here (curl)'; exit 0; }

mkdir -p www/sub www/empty 'www/a b'
echo hello >www/index.html
echo below >www/sub/index.html
echo odd >'www/a b/100%.txt'
head -c 300000 /dev/urandom >www/big
: >www/nothing
echo secret >secret
ln -s ../secret www/out && ln -s "$PWD/secret" www/out2 && ln -s sub/index.html www/in
mkfifo www/pipe && echo no >www/closed && chmod 000 www/closed

pid=
trap '[ -z "$pid" ] || kill -9 $pid 2>/dev/null; chmod -R u+rwx "$scratch"; rm -rf "$scratch"' EXIT

# start ARGUMENT...   Sets $pid and $url.
start() {
    rm -f log port said
    "$program" --port 0 --threads 2 --stats --log log "$@" www >port 2>said & pid=$!
    until grep -qs port port; do kill -0 $pid || return 1; sleep 0.01; done
    port=$(awk '{ print $2 }' port) url=http://127.0.0.1:$port
}
# Once it has opened all that it keeps open.
descriptors_at_rest() {
    http_status "$url/" >/dev/null
    until [ -s log ]; do sleep 0.01; done
    descriptors
}
stop() { kill -TERM $pid && wait $pid; }
descriptors() { find "/proc/$pid/fd" -mindepth 1 2>/dev/null | wc -l; }
# http_status ARGUMENT...   Of curl.
http_status() { rm -f body; curl -s -o body --path-as-is -w '%{http_code}' "$@"; }
is() { [ "$1" = "$2" ] || { echo "$1, and not $2"; return 1; }; }

files() {
    curl -s "$url/" | cmp - www/index.html && curl -s "$url/big?x=/../" | cmp - www/big &&
        curl -s "$url/sub/" | cmp - www/sub/index.html && curl -s "$url//sub/../sub/" |
        cmp - www/sub/index.html &&
        curl -s "$url/a%20b/100%25.txt" | cmp - 'www/a b/100%.txt' && curl -s "$url/in" |
        cmp - www/sub/index.html &&
        is "$(http_status "$url/nothing")" 200 && cmp body www/nothing &&
        is "$(curl -sI "$url/big" | tr -d '\r' | awk '/^Content-Length/ { print $2 }')" 300000 &&
        is "$(http_status -o body -w '%{redirect_url}' "$url/sub")" "$url/sub/" &&
        is "$(http_status "$url/sub")" 301 &&
        is "$(curl -si --path-as-is "$url//sub" | tr -d '\r' | sed -n 's/^Location: //p')" /sub/ && is "$(http_status "$url/empty/")" 404 &&
        is "$(http_status "$url/no")" 404
}

# A path cannot leave the directory, however it is written.
outside() {
    local path
    for path in /../secret /%2e%2e/secret /sub/../../secret /..%2fsecret \
        /sub/%2e%2e/%2e%2e/secret /out \
        /out2 /%2fsecret "/$PWD/secret" //..//secret; do
        case $(http_status "$url$path") in 403 | 404) ;; *) echo "$path"; return 1 ;; esac
        ! grep -q secret body || return 1
    done
    is "$(http_status "$url/pipe")" 403 && { [ "$(id -u)" = 0 ] ||
        is "$(http_status "$url/closed")" 403; }
}

ranges() {
    curl -s -r 0-0 "$url/big" | cmp - <(head -c 1 www/big) && curl -s -r 100-199 "$url/big" |
        cmp - <(tail -c +101 www/big | head -c 100) && curl -s -r -10 "$url/big" |
        cmp - <(tail -c 10 www/big) &&
        curl -s -r 299990- "$url/big" | cmp - <(tail -c 10 www/big) &&
        is "$(http_status -r 5-9 "$url/big")" 206 &&
        is "$(http_status -I -r 5-9 "$url/big")" 200 &&
        curl -s -r 0-999999999999999999999 "$url/big" | cmp - www/big &&
        is "$(http_status -r 300000- "$url/big")" 416 &&
        is "$(http_status -r -0 "$url/big")" 416 && is "$(http_status -r 9-5 "$url/big")" 200 &&
        is "$(http_status -r 1-2,4-5 "$url/big")" 200 &&
        is "$(http_status -H 'Range: lines=1-2' "$url/big")" 200
}

conditional() {
    local tag date
    tag=$(curl -sI "$url/big" | tr -d '\r' | sed -n 's/^ETag: //p')
    date=$(curl -sI "$url/big" | tr -d '\r' | sed -n 's/^Last-Modified: //p')
    is "$(http_status -H "If-None-Match: \"x\", W/$tag" "$url/big")" 304 && [ ! -s body ] &&
        is "$(http_status -H 'If-None-Match: *' "$url/big")" 304 &&
        is "$(http_status -H 'If-None-Match: "x"' "$url/big")" 200 &&
        is "$(http_status -H "If-Modified-Since: $date" "$url/big")" 304 &&
        is "$(http_status -H 'If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT' "$url/big")" 200 &&
        is "$(http_status -H 'If-Modified-Since: yesterday' "$url/big")" 200 &&
        is "$(http_status -H 'If-Modified-Since: Friday, 01-Jan-38 00:00:00 GMT' "$url/big")" 304 &&
        is "$(http_status -H 'If-Modified-Since: Fri Jan  1 00:00:00 2038' "$url/big")" 304 &&
        is "$(http_status -H 'If-Unmodified-Since: Thu Jan  1 00:00:00 1970' "$url/big")" 412 &&
        is "$(http_status -H 'If-Match: "x"' "$url/big")" 412 &&
        is "$(http_status -H "If-Match: $tag" "$url/big")" 200 &&
        is "$(http_status -H 'If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT' "$url/big")" \
        412 &&
        is "$(http_status -r 1-2 -H "If-Range: $tag" "$url/big")" 206 &&
        is "$(http_status -r 1-2 -H 'If-Range: "x"' "$url/big")" 200 &&
        # Lines of one name are one list; where there may be one value alone, they are none.
        is "$(http_status -H 'If-None-Match: "x"' -H "If-None-Match: $tag" "$url/big")" 304 &&
        is "$(http_status -H 'If-Match: "x"' -H "If-Match: $tag" "$url/big")" 200 &&
        is "$(http_status -H 'If-Match: "x"' -H 'If-Match: *' "$url/big")" 200 &&
        is "$(http_status -H "If-Modified-Since: $date" -H "If-Modified-Since: $date" \
            "$url/big")" 200 &&
        is "$(http_status -r 1-2 -H "If-Range: $tag" -H 'If-Range: "x"' "$url/big")" 200 &&
        is "$(http_status -H 'Range: bytes=1-2' -H 'Range: bytes=4-5' "$url/big")" 200
}

keeps_alive() {
    is "$(curl -s -o body -o body -w '%{num_connects} ' "$url/" "$url/big")" '1 0 ' &&
        is "$(curl -s -0 -o body -o body -w '%{num_connects} ' "$url/" "$url/")" '1 1 ' &&
        # Three at once, the last of which closes.
        is "$(raw 'GET / HTTP/1.1\r\nHost: a\r\n\r\nHEAD /big HTTP/1.1\r\nHost: a\r\n\r\nGET /sub/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' |
            grep -acE '^(HTTP/1.1 200|hello|below)')" 5
}

# raw REQUEST [MORE]   What comes back until the end; MORE is sent a little later.
raw() {
    exec 3<>"/dev/tcp/127.0.0.1/$port" && printf "$1" >&3 &&
        { [ -z "${2:-}" ] || { sleep 0.2 && printf "$2" >&3; }; } && cat <&3
    exec 3>&-
}

# statuses REQUEST   Of each answer that comes back.
statuses() { raw "$1" | sed -n 's/.*HTTP\/1.1 \([0-9]*\) .*/\1/p' | tr '\n' ' '; }

# Each but one is a 4xx or 505, or the end of the connection, and the server is as it was.
malformed() {
    local before n request long
    long=$(head -c 9000 /dev/zero | tr '\0' a)
    before=$(descriptors_at_rest)
    # Where the end of the first line comes by itself.
    raw 'GET / HTTP/1.1' '\nHost: a\n\n' 2>/dev/null | grep -qa '^HTTP/1.1 400' || return
    while IFS='#' read -r n request; do
        raw "$request" >said_back 2>/dev/null
        head -c 12 said_back | grep -qaE "^HTTP/1.1 $n" ||
            { echo "$request"; head -c 100 said_back; return 1; }
        is "$(grep -ac '^HTTP/1.1 ' said_back)" 1 || { echo "$request"; return 1; }
    done <<END
400#GET\r\n\r\n
400#\r\nGET / HTTP/1.1\r\n\r\n
200#\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n
200#GET http://h?a=/b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n
400#\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n
400#GET / HTTP/1.1\nHost: a\n\n
400#\nGET / HTTP/1.1\r\nHost: a\r\n\r\n
400#GET / HTTP/1.1\r\n\r\n
400#GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n
505#GET / HTTP/2.0\r\nHost: a\r\n\r\n
505#GET / HTTP/1.2\r\nHost: a\r\n\r\n
400#GET / HTTP/1.x\r\nHost: a\r\n\r\n
400#GET / HTTP/1.1 \r\nHost: a\r\n\r\n
400#GET / http/1.1\r\nHost: a\r\n\r\n
400#GET / FTP/1.1\r\nHost: a\r\n\r\n
400#GET / HTTP/1.1\r\nHost: a b\r\n\r\n
400#GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n
400#GET /#x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n
400#GET  HTTP/1.1\r\nHost: a\r\n\r\n
400#GET nopath HTTP/1.1\r\nHost: a\r\n\r\n
400#GET /%%zz HTTP/1.1\r\nHost: a\r\n\r\n
400#GET /%%4 HTTP/1.1\r\nHost: a\r\n\r\n
400#GET /%%00 HTTP/1.1\r\nHost: a\r\n\r\n
400#GET / HTTP/1.1\r\nHost : a\r\n\r\n
400#GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n
400#GET / HTTP/1.1\r\nHost: a\r\nX: a\001b\r\n\r\n
400#\026\003\001\002\001\r\n\r\n
400#G\000T / HTTP/1.1\r\nHost: a\r\n\r\n
413#GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello
413#GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n
400#GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n
4..#GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n
4..#GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab
405#POST / HTTP/1.1\r\nHost: a\r\n\r\n
405#BREW / HTTP/1.1\r\nHost: a\r\n\r\n
(414|431)#GET /$long HTTP/1.1\r\nHost: a\r\n\r\n
431#GET / HTTP/1.1\r\nHost: a\r\nX: $long\r\n\r\n
END
    is "$(http_status "$url/")" 200 || return 1
    # Closed by the server within its time for what still comes.
    until [ "$(descriptors)" -le "$before" ]; do sleep 0.05; done
}

# A listener a worker: each takes a part of the connections, and answers them itself. (That all of
# 60 come to one has a chance of 2 to the 59.)
each_worker_accepts() {
    local worker i
    start || return 1
    is "$(awk -v port=":$(printf %04X "$port")" '$4 == "0A" && index($2, port)' /proc/net/tcp |
        wc -l)" 2 || return 1
    for i in {1..60}; do
        is "$(http_status "$url/")" 200 || return 1
    done
    stop || return 1
    for worker in 1 2; do
        for i in ACCEPT SEND; do
            grep -qE "^monad_async_operations_total\{executor=\"pool worker $worker\",opcode=\"$i\"\} [1-9][0-9]*$" said &&
                [ "$(sed -n "s/.*worker $worker\",opcode=\"$i\"} //p" said)" -gt 2 ] ||
                { grep "$i" said; return 1; }
        done
    done
}

# Half a header, and silence: 408 (RFC 9110, 15.5.9), behind an answer too. Who has asked nothing, or
# nothing more, is only told of the end of the connection. One too many is refused.
limits() {
    start --idle 1000 || return 1
    local whole='GET / HTTP/1.1\r\nHost: a\r\n\r\n' half
    for half in 'GET / HTT' 'GET / HTTP/1.1\r\nHos' 'GET / HTTP/1.1\r\nHost: a\r\n'; do
        is "$(statuses "$half")" '408 ' && is "$(statuses "$whole$half")" '200 408 ' || return 1
    done
    raw "$half" | grep -qai '^connection: close' && [ -z "$(raw '')" ] && [ -z "$(raw '\r\n')" ] &&
        is "$(statuses "$whole")" '200 ' && stop && start --connections 3 || return 1
    exec 4<>"/dev/tcp/127.0.0.1/$port" 5<>"/dev/tcp/127.0.0.1/$port" 6<>"/dev/tcp/127.0.0.1/$port"
    until kill -USR1 $pid && grep -q 'open 3' said; do sleep 0.01; done
    local refused
    refused=$(raw 'GET / HTTP/1.1\r\nHost: a\r\n\r\n' 2>&1)
    exec 4>&- 5>&- 6>&-
    stop && ! grep -q HTTP <<<"$refused"
}

# SIGUSR1 tells; SIGTERM ends idle connections at once, and the answers that were begun are sent.
ends() {
    start || return 1
    head -c 30000000 /dev/urandom >www/large
    curl -s "$url/" >/dev/null && kill -USR1 $pid || return 1
    until grep -q 'open 0.* 2xx 1 ' said; do sleep 0.01; kill -USR1 $pid; done
    exec 4<>"/dev/tcp/127.0.0.1/$port" # Idle.
    rm -f got
    curl -s --limit-rate 60M "$url/large" -o got & local curl=$!
    until [ -s got ]; do sleep 0.005; done
    stop && wait $curl && cmp got www/large && grep -q '"GET /large" 200 30000000$' log &&
        grep -qE '^monad_async_operations_total\{executor="pool worker 1",opcode="[A-Z_]+"\} [1-9]' said &&
        grep -q '^monad_async_ready_seconds_count{executor="pool worker 2",priority="normal"} [1-9]' said
    local ok=$?
    exec 4>&-
    return $ok
}

# It ends with connections accepted whose tasks have not begun: none is counted as open.
ends_at_once() {
    local i fd fds=()
    start || return 1
    kill -STOP $pid
    for i in {1..800}; do
        exec {fd}<>"/dev/tcp/127.0.0.1/$port" && fds+=("$fd") || break
    done
    kill -TERM $pid && kill -CONT $pid && wait $pid
    local ok=$?
    for fd in "${fds[@]}"; do exec {fd}>&-; done
    [ $ok = 0 ] && grep '^connections ' said && grep -q ', open 0,' said
}

# Out of descriptors, with connections that wait to be accepted, it ends as ever; and what cannot be
# a log is said before there is a port.
ends_without_descriptors() (
    trap 'kill -9 $pid 2>/dev/null' EXIT
    local i fd fds=()
    ulimit -n 64
    start || return 1
    for i in {1..50}; do
        exec {fd}<>"/dev/tcp/127.0.0.1/$port" && fds+=("$fd") || break
    done
    until [ "$(descriptors)" -ge 64 ]; do kill -0 $pid && sleep 0.01 || return 1; done
    stop || return 1
    ! "$program" --port 0 --log www . >port 2>said && [ ! -s port ] && grep -q '^www: ' said
)

flood() {
    start || return 1
    local before said
    before=$(descriptors_at_rest)
    said=$(wrk -t 2 -c 1000 -d 2s "$url/index.html") || return 1
    echo "$said"
    ! grep -qE 'Socket errors|Non-2xx' <<<"$said" &&
        [ "$(awk '/requests in/ { print $1 }' <<<"$said")" -gt 1000 ] &&
        until [ "$(descriptors)" -le "$before" ]; do sleep 0.05; done && stop
}

check 'it starts' start
check 'files, directories, names' files
check 'no path leaves the directory' outside
check 'ranges' ranges
check 'conditional requests' conditional
check 'keep-alive and requests in a row' keeps_alive
check 'what is no request is a 4xx, and nothing leaks' malformed
check 'it ends' stop
check 'each worker accepts, by a listener of its own' each_worker_accepts
check 'limits of time and number' limits
check 'it tells, and ends with what was begun' ends
check 'it ends with what was not begun' ends_at_once
check 'it ends without descriptors' ends_without_descriptors
most=$(ulimit -Hn)
if command -v wrk >/dev/null && { [ "$most" = unlimited ] || [ "$most" -gt 3000 ]; }; then
    ulimit -Sn "$most" 2>/dev/null
    check '1,000 connections of wrk' flood
else
    echo 'skip 1,000 connections of wrk: no wrk here, or too few descriptors'
fi
exit $status

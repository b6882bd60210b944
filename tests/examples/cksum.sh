#!/usr/bin/env bash
# The example cksum and cksum(1), on what a file system can hold against a program. Takes the
# program's path; prints "ok NAME", "not ok NAME" or "skip NAME: WHY", a line each.
set -uo pipefail

program=$(realpath -e "${1:?the program}") || exit 1
scratch=$(mktemp -d) || exit 1
trap 'chmod -R u+rwx "$scratch" 2>/dev/null; rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
export LC_ALL=C
status=0

ok() { printf 'ok %s\n' "$1"; }
not_ok() { printf 'not ok %s\n' "$1"; status=1; }
# check NAME COMMAND...
check() {
    local name=$1
    shift
    if "$@"; then ok "$name"; else not_ok "$name"; fi
}

# run EXPECTED_STATUS ARGUMENT...   Output sorted in out, messages in err.
run() {
    local expected=$1 got=0
    shift
    "$program" "$@" >out.raw 2>err || got=$?
    sort out.raw >out
    [ $got = "$expected" ] || { echo "exit status $got, expected $expected"; cat err; return 1; }
}

# The lines of cksum(1) for the regular files below $1.
theirs() { find "$@" -type f -print0 | xargs -0 -r cksum | sort >expected; }
same() { cmp expected out; }
says() { grep -qF -- "$1" err || { echo "no '$1' in:"; cat err; return 1; }; }
silent() { [ ! -s err ] || { cat err; return 1; }; }

same_as_cksum() {
    theirs "$@"
    run 0 "$@" && silent && same
}

odd_names() {
    mkdir -p names/-dir names/$'new\nline.d'
    local name
    for name in 'a b' ' lead' 'trail ' $'new\nline' $'tab\t' 'back\slash' '-n' '--stats' '*' \
        "quo'te" \
        'dou"ble' $'bad\xff\xfeutf8' 'ümlaut' "$(printf '%0255d' 0)"; do
        printf '%s' "$name" >"names/$name"
        printf '%s' "$name" >"names/-dir/$name"
        printf '%s' "$name" >"names/"$'new\nline.d'"/$name"
    done
    same_as_cksum names
}

sizes() {
    mkdir sizes
    local n
    for n in 0 1 7 8 9 63 64 127 128 129 191 255 256 257 4095 4096 4097 65535 65536 65537 131071 \
        131072 131073 262144 1048579 4194304 4194305 9000001; do
        head -c "$n" /dev/urandom >"sizes/$n"
    done
    same_as_cksum sizes
}

# Its length takes five bytes, and its offset more than 32 bits.
more_than_4_GiB() {
    truncate -s $((4 * 1024 * 1024 * 1024 + 7)) huge || return 1
    same_as_cksum huge
}

thousands() {
    mkdir -p many/{0..19}/{a..e}
    local d i
    for d in many/*/*; do
        for i in {1..60}; do printf '%s' "$d$i" >"$d/$i"; done
    done
    same_as_cksum many && [ "$(wc -l <out)" = 6000 ]
}

small_before_large() {
    mkdir order
    local i
    for i in {1..8}; do head -c 8000000 /dev/zero >"order/large$i"; done
    for i in {1..200}; do echo $i >"order/small$i"; done
    run 0 order && [ "$(head -n 200 out.raw | grep -c small)" = 200 ]
}

several_arguments() {
    theirs names/-dir sizes names/-dir
    run 0 -- names/-dir sizes names/-dir && silent && same
}

named_files() {
    theirs sizes/1 sizes/4097 'names/a b'
    run 0 sizes/1 sizes/4097 'names/a b' && silent && same
}

vanished() {
    theirs sizes
    run 1 nosuch/file sizes '' 'no such' && same && says 'cksum: nosuch/file: No such file' &&
        says 'cksum: no such: No such file'
}

unreadable() {
    mkdir closed closed/d closed/open
    echo secret >closed/f; echo fine >closed/open/g; echo lost >closed/d/h
    chmod 000 closed/f closed/d
    chmod 755 . closed closed/open
    local as=()
    [ "$(id -u)" != 0 ] || as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
    local got=0
    cp "$program" ./cksum_program && chmod 755 cksum_program
    "${as[@]}" ./cksum_program closed >out 2>err || got=$?
    cksum closed/open/g >expected
    [ $got = 1 ] && same && says 'closed/f: Permission denied' && says 'closed/d: Permission denied'
}

links() {
    mkdir -p links/d
    echo x >links/d/f
    ln -s .. links/d/up; ln -s self links/self; ln -s nowhere links/dangling; ln -s d/f links/file
    ln -s d links/to_d
    same_as_cksum links && [ "$(wc -l <out)" = 1 ] || return 1
    # Named, a link is followed.
    cksum links/file >expected; run 0 links/file && same || return 1
    cksum links/to_d/f >expected; run 0 links/to_d && same || return 1
    run 1 links/dangling links/self && says links/dangling && says links/self
}

no_files() {
    mkdir special empty
    mkfifo special/fifo
    # A fifo that nobody writes to would hold up an open for ever.
    run 0 special empty && [ ! -s out ] && run 1 special/fifo /dev/null && says special/fifo &&
        says /dev/null
}

few_descriptors() {
    (
        ulimit -n 24 || exit 1
        theirs many
        run 0 many && silent && same
    )
}

little_memory() {
    (
        theirs many
        ulimit -v $((1024 * 1024)) || exit 1
        run 0 many && silent && same
    )
}

proc_files() {
    local f files=()
    for f in /proc/version /proc/filesystems /proc/self/limits /proc/cmdline \
        /sys/kernel/mm/transparent_hugepage/enabled; do
        [ -r $f ] && files+=("$f")
    done
    cksum "${files[@]}" | sort >expected
    run 0 "${files[@]}" && silent && same
}

changing() {
    mkdir changing
    cp -r sizes changing/
    echo >changing/grows; head -c 3000000 /dev/zero >changing/shrinks; echo >changing/goes
    (
        while [ ! -e stop ]; do
            head -c 100000 /dev/zero >>changing/grows; truncate -s $((RANDOM * 90)) changing/shrinks
            rm -f changing/goes; ln -s / changing/goes; rm -f changing/goes; mkfifo changing/goes
            rm -f changing/goes; echo x >changing/goes
        done
    ) &
    local changer=$! i wrong=0
    theirs changing/sizes
    for i in {1..30}; do
        # It may say of the one that comes and goes that it has gone, and of no other.
        "$program" changing >out.raw 2>err || ! grep -v changing/goes err || wrong=1
        grep -v -e changing/grows -e changing/shrinks -e changing/goes out.raw | sort >out
        same || wrong=1
    done
    touch stop
    wait $changer
    [ $wrong = 0 ]
}

write_error() {
    local got=0
    "$program" many >/dev/full 2>err || got=$?
    [ $got = 1 ] && says 'No space left on device'
}

stats() {
    theirs sizes
    run 0 --stats sizes && same && says 'MB/s' && says launching && says I/O && says sleeping &&
        says completing && says "$(wc -l <expected) files" && says ', priority ' && says median
}

usage() {
    run 1 --nonsense && says usage && [ ! -s out ] && run 0 --help && grep -q usage out
}

progress() {
    truncate -s 256M wide
    local arguments=() i
    for i in {1..150}; do arguments+=(wide); done
    "$program" "${arguments[@]:0:2}" >/dev/null 2>err
    check 'no progress elsewhere' silent
    if ! command -v script >/dev/null; then
        printf 'skip progress on a terminal: no script(1)\n'
        return
    fi
    script -qec "$program ${arguments[*]} 2>&1 >/dev/null" typescript </dev/null >/dev/null
    check 'progress on a terminal' grep -q 'MB/s.*in flight' typescript
}

check 'odd names' odd_names
check 'sizes' sizes
check 'more than 4 GiB' more_than_4_GiB
check 'thousands of files' thousands
check 'small before large' small_before_large
check 'several arguments, one twice' several_arguments
check 'files named' named_files
check 'vanished' vanished
check 'unreadable' unreadable
check 'links' links
check 'neither file nor directory' no_files
check 'few descriptors' few_descriptors
check 'little memory' little_memory
check 'files of /proc and /sys' proc_files
check 'files that change' changing
check 'write error' write_error
check 'stats' stats
check 'usage' usage
progress
exit $status

#!/usr/bin/env bash
# The example crawl and find, tr, sort and uniq: trees, words across blocks, what cannot be read,
# and how much memory it takes. Takes the program's path; prints "ok NAME", "not ok NAME" or
# "skip NAME: WHY", a line each.
set -uo pipefail

. "$(dirname "$0")/example.sh"

# The same by a shell. Two files are no word, though the one ends and the next begins with a letter.
counted() {
    find "$@" -type f -print0 | while IFS= read -r -d '' f; do cat "$f" && echo; done |
        tr A-Z a-z | tr -cs a-z '\n' | sed '/^$/d' | sort | uniq -c | awk '{ print $1, $2 }' |
        sort -k1,1nr -k2,2
}
same() {
    "$program" "$@" >ours && counted "${roots[@]}" >theirs && cmp ours theirs
}

make_tree() {
    mkdir -p tree/{a,b/c/d/e,empty} && local i
    for i in {1..300}; do
        echo "word number $i of Many, many WORDS: the-end $RANDOM x$i" >"tree/b/c/small $i"
    done
    # Words of all lengths across each border of a block.
    awk 'BEGIN { srand(1); for (i = 0; i < 200000; ++i) { n = 1 + int(rand() * 12); w = "";
        while (n--) w = w sprintf("%c", 97 + int(rand() * 3))
        printf "%s%s", w, i % 9 ? " " : "\n" } }' >tree/a/large
    head -c 262144 /dev/zero | tr '\0' q >tree/a/one_block
    head -c 700000 /dev/zero | tr '\0' z >tree/a/one_word
    printf 'no newline at the end of thi' >tree/a/open; printf 's' >tree/a/open2; : \
        >tree/empty/nothing
    head -c 300000 /dev/urandom >tree/a/binary
    ln -s ../a/large tree/b/link && ln -s . tree/loop && mkfifo tree/pipe
}

trees() {
    local n
    roots=(tree)
    for n in 1 2 8; do same --threads $n tree || return 1; done
    roots=(tree/b tree/a/large) && same tree/b tree/a/large && roots=(tree/empty) &&
        same tree/empty && [ ! -s ours ]
}

errors() {
    ! "$program" tree/b/c nowhere >ours 2>err && grep -q 'nowhere: No such file' err &&
        [ -s ours ] &&
        ! "$program" --x 2>err && grep -q usage err && ! "$program" tree >/dev/full 2>err ||
        return 1
    [ "$(id -u)" = 0 ] && return
    chmod 000 tree/a/open && ! "$program" tree >ours 2>err && grep -q 'open: Permission denied' err
}

progress() {
    "$program" --progress tree/b >/dev/null 2>said &&
        tr '\r' '\n' <said | grep -q '^300 files, 0 MiB'
}

# 300 MiB, of which some 100 MiB at most are in memory.
memory() {
    truncate -s 300M sparse && echo word >>sparse || return 1
    python3 - "$program" <<'END'
import resource, subprocess, sys
assert subprocess.run([sys.argv[1], "sparse"], capture_output=True, text=True).stdout == "1 word\n"
most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(most, "KiB")
sys.exit(most > 100 << 10)
END
}

check 'a tree to count' make_tree
check 'as find, tr, sort and uniq' trees
check 'what cannot be read, what is wrong' errors
check 'progress' progress
if command -v python3 >/dev/null; then
    check 'memory is bounded' memory
else
    echo 'skip memory is bounded: no python3 here'
fi
exit $status

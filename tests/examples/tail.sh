#!/usr/bin/env bash
# The example tail and tail(1), and following files that grow, are cut and are replaced. Takes the
# program's path; prints "ok NAME", "not ok NAME" or "skip NAME: WHY", a line each.
set -uo pipefail

. "$(dirname "$0")/example.sh"

make_files() {
    seq 1 100000 >numbers
    printf 'a\nb\nno end' >open_end
    printf '\n\n\n' >newlines
    : >empty
    head -c 300000 /dev/zero | tr '\0' x >one_line
}

same_lines() {
    local n f
    for n in 0 1 2 3 10 1000 99999 100000 200000; do
        for f in numbers open_end newlines empty one_line; do
            "$program" -n $n $f >ours && tail -n $n $f >theirs && cmp ours theirs || return 1
            cat $f | "$program" -n $n >ours && tail -n $n $f >theirs && cmp ours theirs || return 1
            "$program" -n $n <$f >ours && cmp ours theirs || return 1
        done
    done
}

several() {
    "$program" numbers open_end numbers >ours && tail numbers open_end numbers >theirs &&
        cmp ours theirs
}

errors() {
    ! "$program" nothing open_end >ours 2>err && grep -q 'nothing: No such file' err &&
        [ -s ours ] &&
        ! "$program" -x 2>err && grep -q usage err && ! "$program" numbers >/dev/full 2>err &&
        grep -q 'standard output: No space' err
}

# until_seen TEXT   Nothing but its end keeps the program from it.
until_seen() {
    until grep -q "$1" seen; do kill -0 $pid || return 1; sleep 0.005; done
}

followed() {
    echo first >log
    "$program" -f log >seen 2>said & pid=$!
    until_seen first && echo second >>log && until_seen second || return 1
    for i in {1..200}; do echo "line $i" >>log; done
    until_seen 'line 200' || return 1
    echo cut >log && until_seen cut || return 1
    mv log log.1 && echo new >log && until_seen new && echo newer >>log && until_seen newer ||
        return 1
    kill $pid && wait $pid || return 1
    { echo first; echo second; for i in {1..200}; do echo "line $i"; done; echo cut; echo new; \
        echo newer; } >expected
    cmp seen expected
}

# It is another's turn where one cannot be read any more; with none left it ends.
unreadable() {
    echo one >log && echo two >kept
    "$program" -f log kept >seen 2>said & pid=$!
    until_seen one && until_seen two || return 1
    rm log && mkdir log || return 1
    until grep -q 'log: Is a directory' said; do kill -0 $pid || return 1; sleep 0.005; done
    echo three >>kept && until_seen three && rm kept && mkdir kept && ! wait $pid &&
        [ "$(grep -c 'Is a directory' said)" = 2 ] && ! grep -q 'standard output' said
}

# More than there is memory for: it says so. It was the end of the process, by terminate().
no_memory() {
    head -c 400M /dev/zero 2>/dev/null |
        (ulimit -v 300000 && "$program" >/dev/null 2>err; echo $? >ended)
    [ "$(cat ended)" = 1 ] && grep -q 'Cannot allocate memory' err
}

make_files
check 'the same lines' same_lines
check 'several files' several
check 'errors' errors
check 'followed' followed
check 'a file that cannot be read any more' unreadable
check 'no memory' no_memory
exit $status

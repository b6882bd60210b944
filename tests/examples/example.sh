# Sourced by the tests of examples: a scratch directory that is gone at the end, and `check`. Takes
# what was given to them: the program's path comes first.

program=$(realpath -e "${1:?the program}") || exit 1
scratch=$(mktemp -d) || exit 1
trap 'chmod -R u+rwx "$scratch" 2>/dev/null; rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
export LC_ALL=C
status=0

# check NAME COMMAND...   Prints "ok NAME" or "not ok NAME", and what the command said at the end.
check() {
    local name=$1
    shift
    if "$@" >output 2>&1 </dev/null; then
        printf 'ok %s\n' "$name"
    else
        printf 'not ok %s\n' "$name"
        tail -n 20 output
        status=1
    fi
}

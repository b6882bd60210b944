#!/usr/bin/env bash
# The README quotes its examples from the files, verbatim, and the commands it names are there.
# Prints "ok NAME" or "not ok NAME", a line each.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
status=0
check() {
    local name=$1
    shift
    if "$@"; then printf 'ok %s\n' "$name"; else printf 'not ok %s\n' "$name"; status=1; fi
}

# The code between ```LANGUAGE and ```.
quoted() {
    awk -v open="\`\`\`$1" '$0 == "```" { inside = 0 } inside { print } $0 == open { inside = 1 }' \
        README.md
}

same_as() {
    diff <(quoted "$1") "$2"
}

commands_exist() {
    local command found=0
    for command in $(quoted sh); do
        case $command in
        */*) [ -x "$command" ] || { echo "no $command"; return 1; }; found=$((found + 1)) ;;
        esac
    done
    [ $found -ge 2 ]
}

# Each file or folder that the README links to.
links_lead_somewhere() {
    local link
    for link in $(grep -oE '\]\([^):#]+\)' README.md | tr -d '()]'); do
        [ -e "$link" ] || { echo "no $link"; return 1; }
    done
}

check 'C++ example is examples/hello.cpp' same_as cpp examples/hello.cpp
check 'C example is examples/hello.c' same_as c examples/hello.c
check 'commands exist' commands_exist
check 'links lead somewhere' links_lead_somewhere
exit $status

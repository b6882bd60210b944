#!/usr/bin/env bash
# The form of C and C++: exactly as one version of clang-format writes it; clang-tidy on the
# library's own C++, and the headers that it includes.
#
#   tests/package/style.sh --format [FILE...]   formats these, or all
. "$(dirname "$0")/common.sh"
cd "$root" || exit 1

want_packages clang-tidy:clang-tidy

sources() {
    git ls-files -- "$@" 2>/dev/null | grep -E '\.(c|cpp|h|hpp)$' ||
        find "$@" -regextype egrep -regex '.*\.(c|cpp|h|hpp)'
}
exact='cpp include examples tests benches'
# Versions differ in what they write.
have_formatter() {
    python_tools clang-format clang-format==18.1.8 && PATH=$python/bin:$PATH
}
if [ "${1:-}" = --format ]; then
    shift
    have_formatter || die 'clang-format 18.1.8 is needed, from PyPI'
    # shellcheck disable=SC2086
    [ $# -gt 0 ] || set -- $(sources $exact)
    clang-format -i --style=file "$@"
    exit
fi

formatted() {
    # shellcheck disable=SC2086
    sources $exact | xargs clang-format --dry-run --Werror --style=file
}
misformatted_is_seen() {
    mkdir -p "$work/bad" && cp .clang-format "$work/bad" &&
        echo 'int f( ){return 1;}' >"$work/bad/bad.cpp" &&
        ! clang-format --dry-run --Werror --style=file "$work/bad/bad.cpp"
}
if have_formatter; then
    check 'clang-format: all C and C++' formatted
    check 'clang-format: what is not formatted would be seen' misformatted_is_seen
else
    skip_check 'clang-format' 'clang-format 18.1.8 cannot be had'
fi

# Of scripts, older than the rule: text of other languages in quotes, most of it. To be lowered,
# never raised.
few_wide_lines() {
    local found
    found=$(git ls-files | xargs grep -lE '^#!.*(bash|sh)$' | xargs cat tests/tools.sh |
        grep -cE '^.{101}')
    echo "measured: $found lines of scripts of more than 100 columns"
    [ "$found" -le 58 ]
}
if git ls-files >/dev/null 2>&1; then
    check 'scripts: lines of at most 100 columns' few_wide_lines
else
    skip_check 'scripts: lines of at most 100 columns' 'no git here'
fi

# The commands are those of the build; what cxx generates must be there.
tidy_commands() {
    build_library && grep -q 'cpp/executor.cpp' "$build/release/compile_commands.json" &&
        grep -q 'bridge.rs.cc' "$build/release/compile_commands.json"
}
tidy() {
    printf '%s\n' "$@" | xargs -P "$jobs" -n 1 clang-tidy -p "$build/release" --quiet
}
tidy_sees() {
    echo 'namespace { int never() { return 1; } } int *bad(int *p);
        int *bad(int *p) { delete p; return p; }' >"$work/bad.cpp" &&
        ! clang-tidy --quiet --config-file=.clang-tidy "$work/bad.cpp" -- -std=c++17
}
check 'compile_commands.json names C++ and the glue' tidy_commands
if have clang-tidy; then
    check 'clang-tidy: cpp' tidy cpp/*.cpp
    check 'clang-tidy: a mistake would be seen' tidy_sees
else
    skip_check 'clang-tidy' 'no clang-tidy here'
fi
exit $status

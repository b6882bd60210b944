#!/usr/bin/env bash
# What is linked in that is not ours: its licences are installed, all of them and only allowed ones;
# the list for machines names the same crates; cargo-deny agrees.
. "$(dirname "$0")/common.sh"

moved_prefix
texts=$(find "$prefix" -name THIRD_PARTY_LICENSES)
sbom=$(find "$prefix" -name monad_async.cdx.json)
cd "$root" || exit 1
# As cargo knows it, not by the file that is tested.
linked() {
    cargo tree --locked -e normal,no-proc-macro --prefix none --format '{p}' |
        awk '$1 != "monad-async" { sub(/^v/, "", $2); print $1, $2 }' | sort -u
}
linked >"$work/linked"
table() {
    sed -n '3,/^$/p' "${1:-$texts}" | grep ': '
}

every_crate_has_a_text() {
    local crate
    [ -s "$work/linked" ] || return
    while read -r crate; do
        grep -qE "^(.*, )?${crate//./\\.}(, .*)?$" "$texts" || { echo "no text of $crate"; return 1; }
        table | grep -qF "$crate: " || { echo "no line of $crate"; return 1; }
    done <"$work/linked"
    # And Rust's own library.
    [ "$(table | wc -l)" = $(($(wc -l <"$work/linked") + 1)) ]
}
# An expression of ORs is allowed if one of its licences is: deny.toml says which.
only_allowed() {
    local line licence found
    while IFS= read -r line; do
        found=
        for licence in $(sed 's/^.*: //; s/ OR / /g; s/[()]//g' <<<"$line"); do
            grep '^allow = ' deny.toml | grep -qF "\"$licence\"" && found=1
        done
        [ -n "$found" ] || { echo "not allowed: $line"; return 1; }
    done < <(table "${1:-}")
}
another_licence_is_seen() {
    sed 's/^\(foldhash .*\): .*/\1: GPL-3.0-only/' "$texts" >"$work/texts"
    ! cmp -s "$texts" "$work/texts" && ! only_allowed "$work/texts"
}
# CMake reads JSON; nothing else is needed.
sbom_names_them() {
    cat >"$work/read.cmake" <<'END'
file(READ "${SBOM}" text)
string(JSON format GET "${text}" bomFormat)
string(JSON count LENGTH "${text}" components)
math(EXPR last "${count} - 1")
foreach(i RANGE ${last})
  string(JSON name GET "${text}" components ${i} name)
  string(JSON version GET "${text}" components ${i} version)
  string(JSON licence GET "${text}" components ${i} licenses 0 expression)
  if(NOT name STREQUAL "rust-std")
    string(JSON sum GET "${text}" components ${i} hashes 0 content)
    file(APPEND "${OUT}" "${name} ${version}\n")
  endif()
endforeach()
string(JSON edges LENGTH "${text}" dependencies 0 dependsOn)
if(NOT format STREQUAL "CycloneDX" OR NOT edges EQUAL count)
  message(FATAL_ERROR "${format}, ${edges} of ${count}")
endif()
END
    : >"$work/named"
    cmake -DSBOM="$sbom" -DOUT="$work/named" -P "$work/read.cmake" &&
        diff <(sort "$work/named") "$work/linked"
}
no_paths_in_them() {
    ! grep -nF -e "$root" -e "$HOME/.cargo" "$texts" "$sbom"
}

check 'every crate that is linked in has its text' every_crate_has_a_text
check 'only licences that are allowed' only_allowed
check 'a licence that is not allowed would be seen' another_licence_is_seen
check 'the list for machines names them' sbom_names_them
check 'no path of this machine' no_paths_in_them
if cargo deny --version >/dev/null 2>&1; then
    check 'cargo deny: licences, duplicates, sources' \
        cargo deny --offline check licenses bans sources
    # The advisories are a database of their own, which a machine without a network cannot have.
    if cargo deny fetch >/dev/null 2>&1; then
        check 'cargo deny: advisories' cargo deny check advisories
    else
        skip_check 'cargo deny: advisories' 'the database cannot be fetched'
    fi
else
    skip_check 'cargo deny' 'no cargo-deny; cargo install --locked cargo-deny'
fi
exit $status

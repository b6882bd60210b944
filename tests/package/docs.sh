#!/usr/bin/env bash
# The documentation: complete, since Doxygen's warnings are errors, and it warns of a parameter, a
# return value or a member that is not described, and of a snippet that is not there; links that
# lead somewhere; and code on its pages that compiles, runs and prints what stands below it. A
# browser shows the site without a complaint, if there is one here.
. "$(dirname "$0")/common.sh"

# ---- The site ----

site=$work/tree/docs/html
documented() {
    cmake -S "$root" -B "$work/tree" -G Ninja &&
        cmake --build "$work/tree" --target monad_async_docs
}
# Or a changed setting might make it say yes to anything.
undocumented_is_seen() {
    mkdir -p "$work/copy" &&
        cp -r "$root"/{CMakeLists.txt,Cargo.toml,cmake,cpp,docs,examples,gdb,include} \
        "$root"/{LICENSE,*.md} \
            "$work/copy" &&
        sed -i 's/^ *\*  @param ticks .*$/ */' "$work/copy/include/monad/async/ticks.h" &&
        cmake -S "$work/copy" -B "$work/copy/build" -G Ninja || return
    ! cmake --build "$work/copy/build" --target monad_async_docs
}
links() {
    (cd "$1" && awk -f "$root/tests/package/links.awk" *.html *.html)
}
dead_links_are_seen() {
    mkdir -p "$work/dead" && cp "$site"/*.html "$work/dead" &&
        sed -i 's/href="md_docs_tour.html"/href="md_docs_tuor.html"/' "$work/dead/index.html" ||
        return
    ! links "$work/dead" >"$work/dead.links" &&
        grep -F 'index.html: md_docs_tuor.html' "$work/dead.links"
}
# What a page of the repository links to, before the site's own links are made of it.
sources_of_links() {
    local page link wrong=0
    for page in "$root"/*.md "$root"/docs/*.md; do
        for link in $(grep -oE '\]\([^):# ]+(#[^)]*)?\)' "$page" |
            sed 's/^](//; s/[)#].*//' | grep -v '^http'); do
            [ -e "$(dirname "$page")/$link" ] || { echo "${page#"$root"/}: no $link"; wrong=1; }
        done
    done
    return $wrong
}
# The topics that a reader must find, from the main page's tree.
topics() {
    local page
    for page in tour lifetimes cancellation priorities errors buffers signals_and_fork debugging \
        tracing performance \
        coming_from; do
        grep -q "md_docs_$page.html" "$site/navtreedata.js" || { echo "no $page"; return 1; }
    done
}

check 'links in the pages of the repository' sources_of_links
if have doxygen; then
    check 'documentation is complete' documented
    check 'a parameter without a description would be seen' undocumented_is_seen
    check 'links of the site' links "$site"
    check 'a dead link would be seen' dead_links_are_seen
    check 'each topic has its page' topics
else
    skip_check 'documentation' 'no doxygen here'
fi

# ---- In a browser ----

# shown PAGE   Draws it, and says what its scripts complained of.
shown() {
    timeout 120 chromium \
        --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
        --enable-logging=stderr --user-data-dir="$work/browser" --window-size=1300,1000 \
        --virtual-time-budget=5000 --screenshot="$work/$1.png" "file://$site/$1.html" \
        >"$work/browser.log" 2>&1
    ! grep CONSOLE "$work/browser.log" &&
        # An empty page of this size has some 10 KB.
        [ "$(stat -c %s "$work/$1.png")" -gt 40000 ]
}
[ -z "${MONAD_ASYNC_LONG:-}" ] || want_packages chromium:chromium
if have chromium && [ -d "$site" ]; then
    for page in index md_docs_tour; do
        check "in a browser: $page" shown $page
    done
else
    skip_check 'in a browser' 'no chromium here; apt-get install chromium'
fi

# ---- The code ----

blocks=$work/blocks
mkdir -p "$blocks"
for page in "$root"/docs/*.md; do
    awk -v out="$blocks" -v page="$(basename "$page" .md)" \
        -f "$root/tests/package/docs_blocks.awk" "$page"
done

# Read once, instead of with each program.
cat >"$work/pages.hpp" <<'END'
#include <monad/async.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <unistd.h>
namespace ma = monad::async;
using namespace std::chrono_literals;
using namespace std::string_view_literals;
END
cat >"$work/pages.h" <<'END'
#include <monad/async.h>
#include <stdio.h>
#include <unistd.h>
void statements(monad_async_executor ex, monad_async_task task);
END
warnings='-Wall -Wextra -Werror'
# compiled BLOCK   A program becomes one; statements stand in a function.
compiled() {
    local block=$1 unit=$1 flags="$warnings -I$root/include"
    case $block in
    *.cpp)
        grep -q '#include' "$block" || {
            unit=$block.whole.cpp
            {
                echo 'void statements(ma::executor &ex);'
                echo 'void statements(ma::executor &ex) { (void)ex;'
                cat "$block"
                echo '}'
            } >"$unit"
        }
        flags="g++ -std=c++17 $flags -include $work/pages.hpp"
        ;;
    *)
        grep -q '#include' "$block" || {
            unit=$block.whole.c
            {
                printf '#include "%s"\n' "$work/pages.h"
                echo 'void statements(monad_async_executor ex, monad_async_task task)'
                echo '{ (void)task; (void)ex;'
                cat "$block"
                echo '}'
            } >"$unit"
        }
        flags="gcc -std=c11 $flags"
        ;;
    esac
    if grep -q 'int main' "$block"; then
        # shellcheck disable=SC2086
        $flags "$unit" "$build/release/libmonad_async.a" -lstdc++ \
            -lpthread -lm -ldl -o "$block.program"
    else
        # shellcheck disable=SC2086
        $flags -c "$unit" -o "$block.o"
    fi || { echo "^ $(basename "$block")"; return 1; }
}
# Every second block, from the first or the second on, and so on: as many at once as there are
# processors.
all_compiled() {
    local i j pids=() failed=0 all=("$blocks"/*.c "$blocks"/*.cpp)
    g++ -std=c++17 $warnings -I"$root/include" -x c++-header "$work/pages.hpp" \
        -o "$work/pages.hpp.gch" || return
    for ((j = 0; j < jobs; ++j)); do
        for ((i = j; i < ${#all[@]}; i += jobs)); do
            compiled "${all[i]}" || exit 1
        done &
        pids+=($!)
    done
    for i in "${pids[@]}"; do
        wait "$i" || failed=1
    done
    return $failed
}
all_run() {
    local program wanted count=0
    for program in "$blocks"/*.program; do
        wanted=${program%.*.program}.output
        (cd "$work" && "$program") >"$work/printed" ||
            { echo "$(basename "$program") failed"; return 1; }
        [ ! -e "$wanted" ] || diff "$work/printed" "$wanted" ||
            { echo "^ $(basename "$program")"; return 1; }
        count=$((count + 1))
    done
    echo "measured: $count programs"
    [ $count -ge 18 ]
}
# What no compiler sees: the headers quote examples, which are compiled, and hold no code of their
# own.
headers_quote() {
    ! grep -rnE '[@\\](code|verbatiminclude)' "$root/include"
}
steps() {
    [ "$(ls "$blocks"/tour.*.output | wc -l)" = 10 ]
}
check 'the tour has ten steps' steps
check 'headers quote examples' headers_quote
check 'the library, built' build_library
check 'code on the pages compiles' all_compiled
if [ -e /proc/sys/kernel/io_uring_disabled ] &&
    [ "$(cat /proc/sys/kernel/io_uring_disabled)" != 0 ]; then
    skip_check 'programs on the pages' 'no io_uring here'
else
    check 'programs on the pages print what they say' all_run
fi
exit $status

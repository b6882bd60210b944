#!/usr/bin/env bash
# What is installed where: by component, below DESTDIR, and in every directory that CMake lets a
# distribution choose. The build tree's libraries are installed; nothing is compiled.
. "$(dirname "$0")/common.sh"

if ! build_library >"$work/build.log" 2>&1; then
    printf 'not ok build\n'
    tail -n 40 "$work/build.log"
    exit 1
fi

# tree CMAKE_OPTION...   A build tree of its own, $work/tree, with what has been built already.
tree() {
    rm -rf "$work/tree" && cmake -S "$root" -B "$work/tree" -G Ninja -DCMAKE_BUILD_TYPE=Release "$@" &&
        cp -a "$build"/release/{libmonad_async.*,THIRD_PARTY_LICENSES,monad_async.cdx.json} "$work/tree"
}
# files DIRECTORY   What is in it, without its name.
files() {
    (cd "$1" && find . ! -type d | sort)
}

# ---- Components ----

components=(runtime development documentation examples)
each_component() {
    tree || return
    local component
    for component in "${components[@]}"; do
        cmake --install "$work/tree" --prefix "$work/part/$component" --component "$component" || return
    done
    cmake --install "$work/tree" --prefix "$work/whole"
}
# No file is in two, and none in none.
parts_are_the_whole() {
    for component in "${components[@]}"; do files "$work/part/$component"; done | sort >"$work/parts" &&
        diff "$work/parts" <(files "$work/whole")
}
runtime_has() {
    diff - <(files "$work/part/runtime") <<END
./lib/libmonad_async.so.${series}
./lib/libmonad_async.so.$(version)
./share/doc/monad_async/LICENSE
./share/doc/monad_async/THIRD_PARTY_LICENSES
./share/doc/monad_async/monad_async.cdx.json
END
}
development_has() {
    local dir=$work/part/development name
    for name in include/monad/async.h lib/libmonad_async.a lib/libmonad_async.so lib/pkgconfig/monad_async.pc \
        lib/cmake/monad_async/monad_async-config.cmake bin/monad-async-trace; do
        [ -e "$dir/$name" ] || [ -L "$dir/$name" ] || { echo "no $name"; return 1; }
    done
    # Text alone is for who reads.
    ! files "$dir" | grep '^\./share/doc'
}
documents_are_apart() {
    ! files "$work/part/documentation" | grep -v '^\./share/doc/' &&
        ! files "$work/part/examples" | grep -v '^\./share/doc/monad_async/examples/' &&
        [ -e "$work/part/examples/share/doc/monad_async/examples/hello.c" ]
}
# A page finds what it links to where it is installed, too.
links_of_documents() {
    local page link wrong=0
    for page in "$work"/whole/share/doc/monad_async/docs/*.md; do
        while read -r link; do
            [ -e "$(dirname "$page")/$link" ] || { echo "${page##*/}: no $link"; wrong=1; }
        done < <(sed '/^```/,/^```/d' "$page" | grep -oE '\]\([^):# ]+' | sed 's/^](//' |
            grep -v '^http')
    done
    return $wrong
}
# What a program that was linked needs is the runtime's, with what it was compiled against gone.
runs_with_the_runtime_alone() {
    local flags
    flags=$(PKG_CONFIG_PATH=$work/whole/lib/pkgconfig pkg-config --cflags --libs monad_async) &&
        eval "gcc '$root/tests/package/consumers/consumer.c' -o '$work/program' $flags" &&
        LD_LIBRARY_PATH=$work/part/runtime/lib "$work/program"
}

# ---- DESTDIR ----

# staged OPTION...   Everything lies below DESTDIR, at the same places as without; no file names it.
staged() {
    local options=("$@") dest=$work/dest
    tree -DCMAKE_INSTALL_PREFIX="$work/elsewhere" "$@" && rm -rf "$dest" "$work/elsewhere" "$work/absolute" &&
        DESTDIR=$dest cmake --install "$work/tree" && [ ! -e "$work/elsewhere" ] &&
        [ ! -e "$work/absolute" ] && ! grep -rlF "$dest" "$dest" && files "$dest" >"$work/below" &&
        cmake --install "$work/tree" &&
        diff "$work/below" <(cd / && find ".$work/elsewhere" ".$work/absolute" ! -type d 2>/dev/null | sort)
}

# ---- Every directory ----

# Each has a name of its own; what it is for is found there, and nothing else is made.
chosen_directories() {
    local at=$1 prefix=$work/chosen name
    rm -rf "$prefix" "$work/absolute"
    tree -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_BINDIR="${at}d-bin" \
        -DCMAKE_INSTALL_INCLUDEDIR="${at}d-include" -DCMAKE_INSTALL_LIBDIR="${at}d-lib/deep" \
        -DCMAKE_INSTALL_DATAROOTDIR="${at}d-share" -DCMAKE_INSTALL_DATADIR="${at}d-data" \
        -DCMAKE_INSTALL_DOCDIR="${at}d-doc" -DCMAKE_INSTALL_MANDIR="${at}d-man" &&
        cmake --install "$work/tree" || return
    [[ $at = /* ]] || at=$prefix/$at
    for name in d-bin/monad-async-trace d-include/monad/async.h "d-lib/deep/libmonad_async.so.$(version)" \
        d-lib/deep/cmake/monad_async/monad_async-config.cmake d-data/monad_async/tsan.supp d-doc/LICENSE \
        d-man/man1/monad-async-trace.1; do
        [ -e "$at$name" ] || { echo "no $name"; return 1; }
    done
    ! (cd "$at" && ls) | grep -vE '^d-(bin|include|lib|data|doc|man)$' || return
    # A program from there, by either way.
    cmake -S "$root/tests/package/consumers" -B "$work/chosen-consumer" -G Ninja -DHOW=package -DCONSUMER=C \
        -DFLAVOUR=shared -Dmonad_async_DIR="${at}d-lib/deep/cmake/monad_async" &&
        cmake --build "$work/chosen-consumer" && "$work/chosen-consumer/consumer" && rm -rf "$work/chosen-consumer"
}

# ---- One library alone ----

# only LIBRARY OTHER   What is not installed is not named either.
only() {
    tree -DMONAD_ASYNC_LIBRARIES="$1" && rm -rf "$work/only" &&
        cmake --install "$work/tree" --prefix "$work/only" && ! files "$work/only" | grep -E "$2" &&
        cmake -S "$root/tests/package/consumers" -B "$work/only-consumer-$1" -G Ninja -DHOW=package \
            -DCONSUMER=C -DFLAVOUR="$1" -DCMAKE_PREFIX_PATH="$work/only" &&
        cmake --build "$work/only-consumer-$1" && "$work/only-consumer-$1/consumer"
}
nonsense_is_refused() {
    ! tree -DMONAD_ASYNC_LIBRARIES=dynamic && ! tree -DMONAD_ASYNC_LIBRARIES=
}

series=$(readelf -d "$build/release/libmonad_async.so" | sed -n 's/.*\[libmonad_async\.so\.\(.*\)\]/\1/p')
check 'each component installed' each_component
check 'the components are the whole, and no file is in two' parts_are_the_whole
check 'component runtime' runtime_has
check 'component development' development_has
check 'components documentation and examples' documents_are_apart
check 'links between installed documents' links_of_documents
check 'the runtime is enough to run' runs_with_the_runtime_alone
check 'DESTDIR' staged
check 'DESTDIR, absolute directories' staged -DCMAKE_INSTALL_LIBDIR="$work/absolute/lib" \
    -DCMAKE_INSTALL_INCLUDEDIR="$work/absolute/include" -DCMAKE_INSTALL_DOCDIR="$work/absolute/doc"
check 'every directory, relative' chosen_directories ''
check 'every directory, relative and deep' chosen_directories some/where/
check 'every directory, absolute' chosen_directories "$work/absolute/"
check 'the archive alone' only static '\.so|shared'
check 'the shared library alone' only shared '\.a$|static'
check 'neither is refused' nonsense_is_refused
exit $status

#!/usr/bin/env bash
# The documentation of the public headers is complete: Doxygen's warnings are errors, and it warns
# of a parameter, a return value or a member that is not described, and of a snippet that is not
# there.
. "$(dirname "$0")/common.sh"

if ! have doxygen; then
    skip_check 'documentation' 'no doxygen here'
    exit 0
fi
documented() {
    cmake -S "$root" -B "$work/tree" -G Ninja && cmake --build "$work/tree" --target monad_async_docs
}
# Or a changed setting might make it say yes to anything.
undocumented_is_seen() {
    mkdir -p "$work/copy/examples" &&
        cp -r "$root"/{CMakeLists.txt,Cargo.toml,cmake,gdb,include,LICENSE,CHANGELOG.md} "$work/copy" &&
        cp "$root"/examples/* "$work/copy/examples" &&
        sed -i 's/^ *\*  @param ticks .*$/ */' "$work/copy/include/monad/async/ticks.h" &&
        cmake -S "$work/copy" -B "$work/copy/build" -G Ninja &&
        ! cmake --build "$work/copy/build" --target monad_async_docs
}
check 'documentation is complete' documented
check 'a parameter without a description would be seen' undocumented_is_seen
exit $status

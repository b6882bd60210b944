#!/usr/bin/env bash
# A program may link another static library that was written in Rust, with the same compiler and the
# same standard library as ours. Both bring some 150 symbols of the same names; ours keeps its own
# to itself.
. "$(dirname "$0")/common.sh"

if ! have rustc; then
    skip_check 'two Rust static libraries in one program' 'no rustc here'
    exit 0
fi
moved_prefix
libdir=$(library_dir)
cd "$work" || exit 1

cat >other.rs <<'END'
use std::collections::HashMap;

#[no_mangle]
pub extern "C" fn other_sum(n: u64) -> u64 {
    // Something of the allocator, of threads and of unwinding, so that all of that is linked.
    let map: HashMap<u64, String> = (0..n).map(|i| (i, i.to_string())).collect();
    std::thread::spawn(move || map.values().map(|v| v.len() as u64).sum()).join().unwrap()
}

#[no_mangle]
pub extern "C" fn other_panics() -> bool {
    std::panic::set_hook(Box::new(|_| ()));
    std::panic::catch_unwind(|| panic!("caught")).is_err()
}
END
cat >both.cpp <<'END'
#include <monad/async.hpp>

#include <chrono>
#include <cstdint>

extern "C" std::uint64_t other_sum(std::uint64_t n);
extern "C" bool other_panics();

int main()
{
    monad::async::executor ex;
    monad::async::task t;
    t.attach(ex, [] {
        monad::async::this_task::sleep_for(std::chrono::microseconds{1});
        return other_panics() ? other_sum(100) : 0;
    });
    ex.run_until_idle();
    return t.get() == 190 ? 0 : 1;
}
END

# both NAME LIBRARY...   In that order on the linker's command line.
both() {
    local name=$1
    shift
    g++ -std=c++17 -I"$prefix/include" both.cpp "$@" -lstdc++ -lpthread -lm -ldl -o "$name" &&
        "./$name"
}
other_is_built() {
    rustc -O --edition 2021 --crate-type staticlib -o libother.a other.rs
}
# Or the test would pass with a toolchain whose libraries never clash.
they_would_clash() {
    nm --defined-only -g libother.a 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u >theirs
    nm --defined-only -g "$archive" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u >ours
    [ "$(comm -12 theirs ours | wc -l)" -gt 0 ]
}

check 'another Rust static library is built' other_is_built
archive=$(find "$build" -path '*cargo/release/libmonad_async.a' 2>/dev/null | head -n 1)
if [ -n "$archive" ]; then
    check 'before they are localised, symbols would clash' they_would_clash
else
    skip_check 'before they are localised, symbols would clash' \
        'no archive of cargo below the build'
fi
check 'two Rust static libraries, ours first' both first "$libdir/libmonad_async.a" libother.a
check 'two Rust static libraries, ours last' both last libother.a "$libdir/libmonad_async.a"
check 'two Rust static libraries, whole archives' both whole \
    -Wl,--whole-archive "$libdir/libmonad_async.a" libother.a -Wl,--no-whole-archive
check 'a Rust static library and our shared one' both shared libother.a \
    "$libdir/libmonad_async.so" "-Wl,-rpath,$libdir"
exit $status

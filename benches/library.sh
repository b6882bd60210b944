# To be sourced by the benchmarks that are programs of C++: the library as shipped, built once for all of
# them. Sets $root and $library; build_library builds it.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
library=$root/build/benches/library/libmonad_async.a

build_library() {
    cmake -S "$root" -B "$root/build/benches/library" -G Ninja >/dev/null &&
        cmake --build "$root/build/benches/library" >/dev/null
}

#!/usr/bin/env bash
# The C++ tests, 10,000 tasks that throw, suspend and resume among them, under AddressSanitizer and
# UndefinedBehaviorSanitizer with the asan build, under valgrind, and under ThreadSanitizer with the
# library as it is and, C too, with the tsan build; and that each of these would see a mistake.
#
# In a few minutes gcc alone, and of the tests those of exceptions and of threads, under valgrind
# without the 10,000 and under ThreadSanitizer none; with MONAD_ASYNC_LONG=1 all of them, with clang
# too.
. "$(dirname "$0")/common.sh"
long=${MONAD_ASYNC_LONG:-}

# The library is built for it with each compiler: unoptimised, with its own assertions, as it is
# debugged; in the long form as the presets have it, but not linked for minutes.
from=$build/unoptimised library=(-DCMAKE_BUILD_TYPE=Debug)
if [ -n "$long" ]; then
    from=$build/release library=()
    export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
fi
export UBSAN_OPTIONS=print_stacktrace=1
mistakes=$root/tests/package/mistakes.cpp
tests=(exception threads)
[ -z "$long" ] || tests+=(destroy executor fork mixing task this_task time)
sources=()
for t in "${tests[@]}"; do
    sources+=("$root/tests/cpp/${t}_test.cpp")
done

# seen PATTERN COMMAND...   The command fails and its output has the pattern.
seen() {
    local pattern=$1
    shift
    if "$@" >"$work/seen" 2>&1; then
        echo 'it went unseen'
        return 1
    fi
    grep -q "$pattern" "$work/seen" || { cat "$work/seen"; return 1; }
}

# The compilers to try, those without the sanitizers' runtimes left out.
sanitizing_compilers() {
    local pair
    for pair in $(compilers); do
        if [ "$pair" = gcc:g++ ] || { [ -n "$long" ] && has_runtimes "${pair#*:}"; }; then
            echo "$pair"
        fi
    done
}

has_runtimes() {
    echo 'int main() {}' >"$work/runtime.cpp"
    "$1" -fsanitize=address,undefined "$work/runtime.cpp" -o "$work/runtime" &&
        "$1" -fsanitize=thread "$work/runtime.cpp" -o "$work/runtime"
} >"$work/runtimes" 2>&1

# tree_of PRESET TREE PAIR
tree_of() {
    local preset=$1
    shift
    [ -n "$long" ] || unoptimised_tree || return
    cargo_from "$from" "$1" &&
        cmake --preset "$preset" -S "$root" -B "$1" -G Ninja -DMONAD_ASYNC_BUILD_TESTS=OFF \
        "${library[@]}" \
        -DCMAKE_C_COMPILER="${2%:*}" -DCMAKE_CXX_COMPILER="${2#*:}" &&
        cmake --build "$1" && cmake --install "$1" --prefix "$1/prefix"
}

# An outside project; the sanitizers' runtimes come with the target.
asan_consumer() {
    local tree=$1 pair=$2
    cat >"$work/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.22)
project(sanitized LANGUAGES CXX)
find_package(monad_async 0.1 CONFIG REQUIRED COMPONENTS ${FLAVOUR})
find_package(GTest REQUIRED)
add_executable(tests ${SOURCES})
target_link_libraries(tests PRIVATE monad::async GTest::gtest_main)
add_executable(mistakes ${MISTAKES})
target_link_libraries(mistakes PRIVATE monad::async)
add_executable(leaks ${LEAKS})
target_compile_features(leaks PRIVATE cxx_std_20)
target_link_libraries(leaks PRIVATE monad::async)
add_executable(hello ${HELLO})
target_compile_features(hello PRIVATE cxx_std_20)
target_link_libraries(hello PRIVATE monad::async)
END
    local list flags='-fsanitize=address,undefined -fno-sanitize-recover=undefined -O1 -g1'
    list=$(IFS=';'; echo "${sources[*]}")
    cmake -S "$work" -B "$tree/consumer" -G Ninja -DCMAKE_CXX_COMPILER="${pair#*:}" \
        -DCMAKE_CXX_FLAGS="$flags" -DCMAKE_PREFIX_PATH="$tree/prefix" -DFLAVOUR="$3" \
        -DSOURCES="$list" -DMISTAKES="$mistakes" \
        -DLEAKS="$root/tests/package/leaks.cpp" -DHELLO="$root/examples/hello.cpp" &&
        cmake --build "$tree/consumer"
}

for pair in $(sanitizing_compilers); do
    compiler=${pair%:*} tree=$work/asan-${pair%:*}
    flavour=static
    [ "$compiler" = gcc ] || flavour=shared
    check "asan build, $compiler" tree_of asan "$tree" "$pair"
    check "consumer of the asan build, $compiler" asan_consumer "$tree" "$pair" $flavour
    check "asan+ubsan, C++ tests, $compiler, $flavour" "$tree/consumer/tests"
    check "asan+ubsan, hello, $compiler" "$tree/consumer/hello"
    check "asan sees an overflow on a task's stack, $compiler" \
        seen 'stack-buffer-overflow' "$tree/consumer/mistakes" overflow
    check "ubsan sees an overflow of an int in a task, $compiler" \
        seen 'signed integer overflow' "$tree/consumer/mistakes" integer
    for case in suspended running below exits exits_on_a_pool leak; do
        check "lsan, what a stack refers to: $case, $compiler" "$tree/consumer/leaks" $case
    done
    # A stack frame that is left stays poisoned, and costs a heap block a frame.
    [ -z "$long" ] || check "asan, use after return, C++ tests, $compiler" \
        env ASAN_OPTIONS=detect_stack_use_after_return=1 "$tree/consumer/tests"
done

# With the tsan build, of the first compiler: by pkg-config, as others would.
told() {
    local flags name
    flags=$(PKG_CONFIG_PATH=$(dirname "$(find "$1/prefix" -name monad_async_static.pc)") \
        pkg-config --cflags --libs --static monad_async_static) || return
    # shellcheck disable=SC2086
    for name in handed_on deep; do
        g++ -std=c++17 -g1 -O1 -fsanitize=thread "$root/tests/package/$name.cpp" $flags \
            -o "$1/$name" || return
    done
    # shellcheck disable=SC2086
    for name in operations channels groups locks; do
        gcc -std=c11 -g1 -O1 -fsanitize=thread "$root/examples/$name.c" $flags -o "$1/$name" ||
            return
    done
}
told_c() {
    local name
    for name in operations channels groups locks; do
        "$1/$name" || return
    done
}
check 'tsan build' tree_of tsan "$work/tsan-tree" gcc:g++
check 'consumers of the tsan build' told "$work/tsan-tree"
check 'tsan build: what is handed on is no race' "$work/tsan-tree/handed_on"
check 'tsan build: what is not, is' seen 'data race' "$work/tsan-tree/handed_on" unlocked
many=10000
[ -z "$long" ] || many=100000
check 'tsan build: C' told_c "$work/tsan-tree"
check "tsan build: $many suspended tasks" "$work/tsan-tree/deep" cpp $many
check "tsan build: $many tasks suspended in C" "$work/tsan-tree/deep" c $many

unset CARGO_PROFILE_RELEASE_LTO CARGO_PROFILE_RELEASE_CODEGEN_UNITS # As it is shipped.
moved_prefix
libdir=$(library_dir)

# compile COMPILER OUT FLAG... -- SOURCE...
compile() {
    local compiler=$1 out=$2 flags=()
    shift 2
    while [ "$1" != -- ]; do
        flags+=("$1")
        shift
    done
    shift
    "$compiler" -std=c++20 -g1 -O1 "${flags[@]}" "-I$prefix/include" "$@" \
        "$libdir/libmonad_async.a" \
        -lstdc++ -lpthread -lm -ldl -o "$out"
}
gtest=(-lgtest -lgtest_main)

if have valgrind; then
    memcheck=(valgrind -q --error-exitcode=9 --leak-check=full)
    # Forks are left out: memcheck walks all memory at each child's end.
    filter=-Fork* checked=("${sources[@]}")
    # A helper that waits for more work has what it was made with, "possibly lost" here.
    [ -n "$long" ] ||
        filter=Exception*-*ten_thousand*:*none_of_cpp* \
            checked=("$root/tests/cpp/exception_test.cpp")
    check 'valgrind, built' compile g++ "$work/memcheck" -- "${checked[@]}" "${gtest[@]}"
    check 'valgrind, C++ tests' "${memcheck[@]}" "$work/memcheck" --gtest_filter="$filter"
    check 'valgrind, hello, built' compile g++ "$work/hello" -- "$root/examples/hello.cpp"
    check 'valgrind, hello' "${memcheck[@]}" "$work/hello"
    check 'valgrind, received, built' \
        compile g++ "$work/received" -- "$root/tests/package/received.cpp"
    check 'valgrind takes what a ring brought as set' \
        "${memcheck[@]}" "$work/received" "$work/received.file"
    # Where a sleep in the ring kept valgrind's lock, this would never end.
    check 'valgrind, asleep, built' compile g++ "$work/asleep" -- "$root/tests/package/asleep.cpp"
    # The memory of a thread that is still there, a helper's, is possibly lost.
    check 'valgrind runs who wakes others' \
        "${memcheck[@]}" --errors-for-leak-kinds=definite "$work/asleep"
    check 'valgrind, mistakes, built' compile g++ "$work/mistakes" -- "$mistakes"
    check "valgrind sees an unset value on a task's stack" \
        seen 'uninitialised' "${memcheck[@]}" "$work/mistakes" unset
    check 'valgrind sees a leak' seen 'definitely lost' "${memcheck[@]}" "$work/mistakes" leak
else
    skip_check 'valgrind' 'no valgrind here'
fi

# What it sees and what not: docs/reliability.md.
export TSAN_OPTIONS="suppressions='$prefix/share/monad_async/tsan.supp'"
for pair in $(sanitizing_compilers); do
    compiler=${pair%:*}
    if [ -n "$long" ]; then
        check "tsan, built, $compiler" compile "${pair#*:}" "$work/tsan-$compiler" \
            -fsanitize=thread -- "${sources[@]}" "${gtest[@]}"
        check "tsan, C++ tests, $compiler" "$work/tsan-$compiler" --gtest_filter=-Fork*
    fi
    check "tsan, mistakes, built, $compiler" compile "${pair#*:}" "$work/tsan-mistakes-$compiler" \
        -fsanitize=thread -- "$mistakes"
    check "tsan sees a race between tasks of two threads, $compiler" \
        seen 'data race' "$work/tsan-mistakes-$compiler" race
    check "tsan, suspended tasks, built, $compiler" compile "${pair#*:}" \
        "$work/tsan-deep-$compiler" -fsanitize=thread -- "$root/tests/package/deep.cpp"
    # 7,000 fibers are gigabytes.
    check "tsan, suspended tasks, $compiler" "$work/tsan-deep-$compiler" cpp ${long:+10000}
done
if [ -z "$long" ]; then
    skip_check 'sanitizers, clang and the other C++ tests' 'some minutes more; MONAD_ASYNC_LONG=1'
elif ! have clang; then
    skip_check 'sanitizers, clang' 'no clang here'
elif ! has_runtimes clang++; then
    skip_check 'sanitizers, clang' \
        "no runtimes; apt-get install libclang-rt-$(clang -dumpversion | cut -d . -f 1)-dev"
fi
exit $status

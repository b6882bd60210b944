#!/usr/bin/env bash
# Every header in the oldest language version that it promises and in the newest, with every
# compiler that is here, without a warning; alone, and twice over. What a header lacks shows with
# whichever compiler reads it with the same standard library: so gcc does that in the oldest
# versions, clang in C's newest and, with its own library, in C++20. All others read all headers
# together, in both orders, and alone what has lines for newer versions. With MONAD_ASYNC_LONG=1
# every header alone in each, and in those versions between, too.
. "$(dirname "$0")/common.sh"

want_packages clang:clang /usr/include/liburing.h:liburing-dev
want_libcxx

c_standards='c11 c2x' cxx_standards='c++17 c++2b' libcxx_standards='c++20'
if [ -n "${MONAD_ASYNC_LONG:-}" ]; then
    c_standards+=' c17' cxx_standards+=' c++20' libcxx_standards=$cxx_standards
fi
warnings='-Wall -Wextra -Wpedantic -Werror -Wshadow -Wconversion -Wundef'
warnings+=' -Wsign-conversion -Wcast-qual -Wredundant-decls'
# Names that C keeps for itself, and casts of the old kind, show up only if asked for.
c_warnings='-Wstrict-prototypes -Wc++-compat'
cxx_warnings='-Wold-style-cast -Wnon-virtual-dtor -Wsuggest-override -Woverloaded-virtual'
cxx_warnings+=' -Wextra-semi -Wzero-as-null-pointer-constant'

# compiles COMPILER STANDARD LANGUAGE NAME HEADER...   A unit of this name that includes these.
# COMPILER may be followed by flags.
compiles() {
    local compiler=$1 standard=$2 language=$3 unit=$work/$4.$3 more=$cxx_warnings
    shift 4
    case $compiler in
    clang*) more+=' -Wextra-semi-stmt' ;;
    *) more+=' -Wuseless-cast -Wlogical-op -Wduplicated-branches' ;;
    esac
    [ "$language" = c ] && more=$c_warnings
    [[ $compiler = clang* ]] && more+=' -Wnull-dereference' # gcc's is the optimiser's.
    printf '#include <%s>\n' "$@" >"$unit"
    # -I, not -isystem: warnings inside the headers must show.
    # shellcheck disable=SC2086
    $compiler -std="$standard" $warnings $more -fsyntax-only -I"$root/include" -x "$language" \
        "$unit"
}

# all_together COMPILER STANDARD LANGUAGE HEADER...   In this order, and in the other one.
all_together() {
    local compiler=$1 standard=$2 language=$3 header
    local backwards=()
    shift 3
    for header in "$@"; do
        backwards=("$header" "${backwards[@]}")
    done
    compiles "$compiler" "$standard" "$language" together "$@" "${backwards[@]}" &&
        compiles "$compiler" "$standard" "$language" backwards "${backwards[@]}"
}

# newer_alone COMPILER STANDARD LANGUAGE HEADER...   All together, and alone those in which some
# lines are for some versions only.
newer_alone() {
    local newer
    all_together "$@" || return
    mapfile -t newer < <(grep -lE '__cpp_|__cplusplus *>' "${@:4}")
    echo "alone: ${newer[*]}"
    [ ${#newer[@]} -ge 4 ] && all_alone "${@:1:3}" "${newer[@]}"
}

# all_alone COMPILER STANDARD LANGUAGE HEADER...   As many at once as there are processors.
all_alone() {
    local compiler=$1 standard=$2 language=$3 jobs i j pids=() failed=0
    shift 3
    local headers=("$@")
    jobs=$(nproc)
    for ((j = 0; j < jobs; ++j)); do
        for ((i = j; i < ${#headers[@]}; i += jobs)); do
            compiles "$compiler" "$standard" "$language" "${headers[i]//\//_}" \
                "${headers[i]}" "${headers[i]}" || {
                echo "^ ${headers[i]}"
                exit 1
            }
        done &
        pids+=($!)
    done
    for i in "${pids[@]}"; do
        wait "$i" || failed=1
    done
    return $failed
}

cd "$root/include" || exit 1
mapfile -t c_headers < <(find monad -name '*.h' | sort)
mapfile -t cxx_headers < <(find monad -name '*.h' -o -name '*.hpp' | sort)
# how_read COMPILER STANDARD   As it stands above.
how_read() {
    case ${MONAD_ASYNC_LONG:+long}:$1:$2 in
    long:* | *:g*:c11 | *:g*:c++17 | *:clang*:c2x) echo all_alone ;;
    *:clang*:c++2b) have_libcxx && echo newer_alone || echo all_alone ;;
    *) have clang && echo all_together || echo all_alone ;;
    esac
}
for pair in $(compilers); do
    for standard in $c_standards; do
        check "headers as $standard, ${pair%:*}" \
            "$(how_read "${pair%:*}" "$standard")" "${pair%:*}" "$standard" c "${c_headers[@]}"
    done
    for standard in $cxx_standards; do
        check "headers as $standard, ${pair#*:}" \
            "$(how_read "${pair#*:}" "$standard")" "${pair#*:}" "$standard" c++ "${cxx_headers[@]}"
    done
done
have clang || skip_check 'headers, clang' 'no clang here'
# libc++ as a module is read once, and a header sees of it what it includes and no more. Where it
# does not compile as a module, it is read as text.
libcxx="clang++ -stdlib=libc++ -fmodules -fmodules-cache-path=$work/modules"
libcxx_alone() {
    compiles "$libcxx" "$1" c++ together "${cxx_headers[@]}" || libcxx='clang++ -stdlib=libc++'
    ! leaning_on_another "$1" && all_alone "$libcxx" "$1" c++ "${cxx_headers[@]}"
}
# On what the unit before has included, and this one has not.
leaning_on_another() {
    printf '#include <cstddef>\nstd::deque<int> *f();\n' >"$work/deque.hpp"
    compiles "$libcxx -I$work" "$1" c++ leaning deque.hpp
}
if have clang++ && have_libcxx; then
    for standard in $libcxx_standards; do
        check "headers as $standard, clang++ and libc++" libcxx_alone "$standard"
    done
else
    skip_check 'headers, clang++ and libc++' 'no clang or no libc++ here'
fi

# unit LANGUAGE COMPILER [FLAG...]   Compiles what stands on standard input.
unit() {
    local language=$1
    shift
    cat >"$work/unit.$language"
    "$@" -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I"$root/include" -x "$language" \
        "$work/unit.$language"
}
# complains PATTERN LANGUAGE COMPILER [FLAG...]   The compiler does not take it, and says PATTERN.
complains() {
    local pattern=$1
    shift
    ! unit "$@" >"$work/complaint" 2>&1 && grep -q "$pattern" "$work/complaint" ||
        { cat "$work/complaint"; return 1; }
}
# Each language version of each compiler, as unit's arguments.
languages() {
    local pair standard
    for pair in $(compilers); do
        for standard in $c_standards; do
            echo "c ${pair%:*} -std=$standard"
        done
        for standard in $cxx_standards; do
            echo "c++ ${pair#*:} -std=$standard"
        done
    done
}

dropped() {
    complains 'unused-result' "$@" <<'END'
#include <monad/async.h>
void f(monad_async_executor ex);
void f(monad_async_executor ex)
{
    monad_async_executor_wake(ex);
}
END
}
not_dropped() {
    unit "$@" <<'END'
#include <monad/async.h>
void f(monad_async_executor ex);
void f(monad_async_executor ex)
{
    (void)monad_async_executor_wake(ex);
}
END
}
attributes() {
    unit "$@" <<'END'
#include <monad/async.h>
size_t f(void);
size_t f(void)
{
    struct monad_async_executor_attr const ex = MONAD_ASYNC_EXECUTOR_ATTR_INIT;
    struct monad_async_task_attr task = MONAD_ASYNC_TASK_ATTR_INIT;
    task.stack_size = 16384;
    return task.stack_size + ex.flags;
}
END
}
# Each handle is a type of its own: in the wrong order they are told, whatever the flags.
swapped() {
    complains 'incompatible.*pointer type\|cannot convert\|no matching function' "$@" <<'END'
#include <monad/async.h>
int f(monad_async_executor ex, monad_async_task task);
int f(monad_async_executor ex, monad_async_task task)
{
    return monad_async_task_cancel(task, ex).error;
}
END
}
# A use warns, and says what to use; unless it is allowed.
uses_deprecated() {
    cat <<'END'
#include <monad/async/config.h>
MONAD_ASYNC_DEPRECATED("use g instead") void f(void);
void g(void);
void g(void)
{
    f();
}
END
}
deprecated() {
    uses_deprecated | complains 'use g instead' "$@" &&
        uses_deprecated | unit "$@" -DMONAD_ASYNC_ALLOW_DEPRECATED
}
while read -r language; do
    # shellcheck disable=SC2086
    check "what is deprecated warns, ${language#* }" deprecated $language
    # shellcheck disable=SC2086
    for what in dropped not_dropped attributes swapped; do
        check "results $what, ${language#* }" $what $language
    done
done < <(languages)

# As -fsanitize=safe-stack would go wrong at the first switch.
safe_stack() {
    echo '#include <monad/async.h>' |
        complains 'safe-stack: tasks would share one' c clang -std=c11 -fsanitize=safe-stack
}
if have clang; then
    check 'safe-stack is refused' safe_stack
else
    skip_check 'safe-stack is refused' 'no clang here'
fi

# It is the first thing that it says.
older_cxx() {
    echo '#include <monad/async.hpp>' | complains 'needs C++17' c++ "$1" -std=c++14 &&
        grep -m 1 'error' "$work/complaint" | grep -q 'needs C++17'
}
for pair in $(compilers); do
    check "C++14 is refused, ${pair#*:}" older_cxx "${pair#*:}"
done

# A liburing that is newer than the kernel's headers: its functions need what only its own copy has.
newer_liburing() {
    mkdir -p "$work/newer/liburing"
    sed 's/^#define LINUX_IO_URING_H/&\n#define IORING_NEWER 1/' \
        /usr/include/linux/io_uring.h >"$work/newer/liburing/io_uring.h"
    cat >"$work/newer/liburing.h" <<'END'
#include "liburing/io_uring.h"
static inline int io_uring_newer(void) { return IORING_NEWER; }
END
    grep -q IORING_NEWER "$work/newer/liburing/io_uring.h"
}
# both_orders LANGUAGE COMPILER [FLAG...]
both_orders() {
    local header=monad/async.h language=$1
    [ "$language" = c ] || header=monad/async.hpp
    printf '#include <liburing.h>\n#include <%s>\nint main(void) { return 0; }\n' $header |
        unit "$@" &&
        printf '#include <%s>\n#include <liburing.h>\nint main(void) { return 0; }\n' $header |
        unit "$@"
}
check 'a newer liburing, made' newer_liburing
for pair in $(compilers); do
    check "liburing, newer, either order, ${pair%:*}" \
        both_orders c "${pair%:*}" -std=gnu11 -isystem "$work/newer"
    check "liburing, newer, either order, ${pair#*:}" \
        both_orders c++ "${pair#*:}" -std=gnu++17 -isystem "$work/newer"
    if [ -e /usr/include/liburing.h ]; then
        check "liburing, either order, ${pair%:*}" both_orders c "${pair%:*}" -std=gnu11
        check "liburing, either order, ${pair#*:}" both_orders c++ "${pair#*:}" -std=gnu++17
    else
        skip_check "liburing, either order, ${pair%:*}" 'no liburing here'
    fi
done

# -Wc++-compat and friends above would not see a header that leans on what another includes first:
# alone means alone. This makes sure that the check itself can fail.
printf 'static inline int f(size_t n) { return (int)n; }\n' >"$work/bad.h"
not_compiled() {
    ! gcc -std=c11 -fsyntax-only -x c "$work/bad.h"
}
check 'a header that leans on another would be seen' not_compiled
exit $status

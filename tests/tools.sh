# What examples/run, tests/run and the test scripts share: the tools a fresh machine lacks, steps
# with a log each, the count, and the build that all of them use. To be sourced by bash; writes
# below $build only (default: build/ in the project).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${MONAD_ASYNC_BUILD_DIR:-$root/build}
logs=$build/logs
jobs=$(nproc 2>/dev/null || echo 2)
passed=0 failed=0 skipped=0
# Parts of names: where there are any, steps with another name are left out.
only=() taken=()
# Parts of names of steps that are left out, said, and counted as skipped.
left_out=()
# "SECONDS PROCESSOR_SECONDS NAME" of each step.
times=()
# Where steps run in lanes, at the same time: this one's name.
lane=

die() {
    printf '%s: %s\n' "$(basename "$(dirname "$0")")/$(basename "$0")" "$*" >&2
    exit 1
}

# ---- What must be installed ----

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "not root and no sudo; as root, run: $*"
    fi
}

# need_packages WHAT:PACKAGE...   WHAT is a command, or a file if it begins with a slash. Installs
# the packages of those that are not there.
need_packages() {
    local pair what missing=()
    for pair in "$@"; do
        what=${pair%%:*}
        case $what in
        /*) [ -e "$what" ] || missing+=("${pair#*:}") ;;
        *) command -v "$what" >/dev/null || missing+=("${pair#*:}") ;;
        esac
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        die "no apt-get here; please install what Debian calls: ${missing[*]}"
    mkdir -p "$logs"
    printf 'installing %s\n' "${missing[*]}"
    # One at a time, as scripts run at the same time.
    {
        flock 9 && as_root env DEBIAN_FRONTEND=noninteractive apt-get update &&
            as_root env DEBIAN_FRONTEND=noninteractive \
                apt-get install -y --no-install-recommends "${missing[@]}" 9>&-
    } >>"$logs/apt-get.log" 2>&1 </dev/null 9>"$logs/apt-get.lock" || {
        tail -n 15 "$logs/apt-get.log" >&2
        die "apt-get could not install ${missing[*]}"
    }
}

# As need_packages, for what a check is skipped without.
want_packages() {
    local said
    said=$( (need_packages "$@") 2>&1) || printf '%s\n' "$said"
}

# True if version $1 is at least version $2.
at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

need_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH=$HOME/.cargo/bin:$PATH
    fi
    # Where rust-toolchain.toml names one that is not installed, the default one will do, if it is
    # new enough.
    if command -v rustup >/dev/null && ! (cd "$root" &&
        RUSTUP_AUTO_INSTALL=0 rustc --version) >/dev/null 2>&1; then
        found=$(cd / && rustup show active-toolchain 2>/dev/null | cut -d ' ' -f 1)
        [ -z "$found" ] || export RUSTUP_TOOLCHAIN=$found
    fi
    # From $root: a toolchain file or override there is what the build will use.
    found=$(cd "$root" && rustc --version 2>/dev/null | cut -d ' ' -f 2)
    if [ -n "$found" ] && command -v cargo >/dev/null && at_least "$found" "$wanted"; then
        return
    fi
    if command -v rustup >/dev/null; then
        die "Rust $wanted or newer is needed, found ${found:-none}. To get it:
    rustup update stable && rustup default stable"
    fi
    die "Rust $wanted or newer is needed, found ${found:-none}; distributions are often behind.
To get it, with curl:
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y
and run this again."
}

need_build_tools() {
    need_rust
    need_packages cmake:cmake ninja:ninja-build g++:g++ gcc:gcc pkg-config:pkg-config \
        /usr/include/linux/io_uring.h:linux-libc-dev "$@"
}

# Gives cargo a home below $build that is empty, so that whatever this machine has fetched before
# cannot stand in for a step that is missing. How cargo reaches its registry is kept.
empty_cargo_home() {
    local before=${CARGO_HOME:-$HOME/.cargo} config
    export CARGO_HOME=$build/cargo-home
    rm -rf "$CARGO_HOME" && mkdir -p "$CARGO_HOME" || die "cannot empty $CARGO_HOME"
    for config in config.toml config; do
        [ ! -e "$before/$config" ] || cp "$before/$config" "$CARGO_HOME"
    done
}

# All that any step will need: of every target and configuration, loom's too.
fetch_crates() {
    cargo fetch --locked --manifest-path "$root/Cargo.toml" || return
    # libFuzzer: the fuzzing itself tells if it is not to be had.
    cargo fetch --locked --manifest-path "$root/fuzz/Cargo.toml" || true
}

# ---- Steps ----

# wanted NAME   Whether the step with this name is to run.
wanted() {
    local part
    for part in "${left_out[@]}"; do
        if [[ $1 = *"$part"* ]]; then
            printf '%-34s skipped: --short\n' "$1"
            count 0 0 1
            return 1
        fi
    done
    [ ${#only[@]} -gt 0 ] || return 0
    for part in "${only[@]}"; do
        if [[ ${1,,} = *"${part,,}"* ]]; then
            taken+=("$part")
            return 0
        fi
    done
    return 1
}

# Says which parts of names no step has.
check_taken() {
    local part
    for part in "${only[@]}"; do
        case " ${taken[*]} " in
        *" $part "*) ;;
        *) die "no step has \"$part\" in its name" ;;
        esac
    done
}

# What this shell's children have used of processors, in seconds: `processor_seconds VARIABLE`.
processor_seconds() {
    local user system file=$logs/times.$lane
    times >"$file"
    read -r user system < <(tail -n 1 "$file" | sed 's/[.,][0-9]*s//g')
    printf -v "$1" %d $((${user%m*} * 60 + 10#${user#*m} + ${system%m*} * 60 + 10#${system#*m}))
}

# step NAME COMMAND...   Runs COMMAND with its output in a log, says how it went on one line, and
# the end of the log where it failed. Returns what COMMAND returned; $log is the log's name.
step() {
    local name=$1 began=$SECONDS status=0 before=0 after=0
    shift
    mkdir -p "$logs"
    log=$logs/$(printf %s "$name" | tr -c 'A-Za-z0-9_.-' _).log
    printf '%-34s ' "$name"
    processor_seconds before
    "$@" >"$log" 2>&1 </dev/null || status=$?
    processor_seconds after
    times+=("$((SECONDS - began)) $((after - before)) $name")
    if [ $status = 0 ]; then
        printf 'ok      %4d s' $((SECONDS - began))
    else
        printf 'FAILED  %4d s' $((SECONDS - began))
    fi
    return $status
}

# What took longest, those first that did: nine tenths of the time.
show_times() {
    local sum=0 all=0 shown=0 used=0 seconds processors name
    while read -r seconds processors name; do
        sum=$((sum + seconds)) all=$((all + processors))
    done < <(printf '%s\n' "${times[@]}")
    printf 'seconds  of processors  step\n'
    while read -r seconds processors name; do
        [ $((shown * 10)) -lt $((sum * 9)) ] || break
        shown=$((shown + seconds)) used=$((used + processors))
        printf '%7d  %13d  %s\n' "$seconds" "$processors" "$name"
    done < <(printf '%s\n' "${times[@]}" | sort -rn)
    printf '%7d  %13d  %s\n' $((sum - shown)) $((all - used)) 'all others'
}

# What failed once more, at the end: who reads the last lines alone sees it.
show_failures() {
    cat "$logs/failed" 2>/dev/null
}

# ---- Lanes ----

# in_lane NAME COMMAND...   Runs COMMAND, whose steps come out with their lines whole, as those of
# another lane come between. To be run with &, and then joined.
in_lane() {
    lane=$1 passed=0 failed=0 skipped=0 taken=() times=()
    shift
    "$@"
    declare -p passed failed skipped taken times >"$logs/lane.$lane"
}

# join_lane NAME   Takes what the steps of a lane have come to. False where it did not reach its
# end.
join_lane() {
    local p=$passed f=$failed s=$skipped names=("${taken[@]}") before=("${times[@]}")
    # shellcheck disable=SC1090
    . <(sed 's/^declare \(-[-a-z]*\)/declare -g \1/' "$logs/lane.$1") || {
        count 0 1 0
        echo "FAILED: the lane $1 did not reach its end" >>"$logs/failed"
        return 1
    }
    passed=$((p + passed)) failed=$((f + failed)) skipped=$((s + skipped))
    taken=("${names[@]}" "${taken[@]}") times=("${before[@]}" "${times[@]}")
}

# Ends the line that `step` began, with what is to be said of it.
step_note() {
    printf '  %s\n' "$*"
}

show_log_tail() {
    printf -- '--- the end of %s\n' "${log#"$root"/}"
    # Without what went well: ctest and cargo say that of each test.
    grep -vE '^ *[0-9]+/[0-9]+ Test .* Passed |^ +Start +[0-9]+: |^test .* [.]{3} ok$' "$log" |
        tail -n "${1:-60}"
    printf -- '---\n'
}

count() {
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# counted_step NAME HOW COMMAND...   A step whose tests are counted: HOW reads its log and prints
# three numbers. A command that fails with no test of its own to blame counts as one failure.
counted_step() {
    if [ -z "$lane" ]; then
        counted_step_at_once "$@"
    else
        counted_step_at_once "$@" >"$logs/lane.$lane.said"
        cat "$logs/lane.$lane.said"
    fi
}
counted_step_at_once() {
    local name=$1 how=$2 status=0 p f s
    wanted "$name" || return 0
    shift 2
    step "$name" "$@" || status=$?
    read -r p f s < <("$how" "$log" $status)
    [ $status = 0 ] || [ "$f" -gt 0 ] || f=1
    [ "$p" -gt 0 ] || [ "$f" -gt 0 ] || [ "$s" -gt 0 ] || f=1
    count "$p" "$f" "$s"
    step_note "$p passed, $f failed, $s skipped"
    if [ "$f" -gt 0 ]; then
        grep -hE '^(not ok|test .* FAILED|error(\[|:)|.*\*\*\*(Failed|Exception|Timeout))' "$log" |
            head -n 20 >"$log.failed"
        cat "$log.failed"
        # In one piece: the other lane may do the same.
        printf '%s\n' "FAILED: $name" "$(sed 's/^/    /' "$log.failed")" >>"$logs/failed"
        # What a test of many in one process says may be far from the end.
        grep -hE -A 8 ': Failure$|panicked at' "$log" | head -n 60
        show_log_tail
    fi
    grep -hE '^skip(ped:)? |^test .* [.]{3} ignored' "$log" | sed 's/^/    /' || true
}

# A step that is one check: it holds or not.
of_check() { [ "$2" = 0 ] && echo 1 0 0 || echo 0 1 0; }

# cargo test prints one line of results for each program. A test that finds it cannot run here says
# "skipped: TEST: WHY" (tests/support/skip.rs) and passes, as the runner knows no other way: it is
# counted as what it is, once, however often it says so.
of_cargo() {
    awk '/^skipped: / { split($0, part, ": "); if (!(part[2] in said)) { said[part[2]]; ++s; --p } }
        /^test result:/ { split("", said); gsub(/;/, ""); for (i = 2; i <= NF; ++i) {
            if ($i == "passed") p += $(i - 1)
            if ($i == "failed") f += $(i - 1)
            if ($i == "ignored") s += $(i - 1) } }
        END { print p + 0, f + 0, s + 0 }' "$1"
}

# ctest's own summary, as it writes it for machines.
of_ctest() {
    local suite=$build/ctest.xml
    number() {
        tr '\n' ' ' <"$suite" 2>/dev/null |
            sed -n "s/.*<testsuite [^>]*[[:space:]]$1=\"\([0-9]*\)\".*/\1/p" | grep . || echo 0
    }
    local all fails skips
    all=$(number tests) fails=$(number failures) skips=$(($(number skipped) + $(number disabled)))
    echo $((all - fails - skips)) "$fails" "$skips"
}

# The project's own scripts say "ok NAME", "not ok NAME" or "skip NAME: WHY", a line each.
of_script() {
    awk '/^ok / { ++p } /^not ok / { ++f } /^skip / { ++s }
        END { print p + 0, f + 0, s + 0 }' "$1"
}

skip() {
    wanted "$1" || return 0
    printf '%-34s skipped: %s\n' "$1" "$2"
    count 0 0 1
}

# ---- The build that examples and tests share ----

# one_at_a_time COMMAND...   Of those that would be in each other's way in the tree of
# build_library.
one_at_a_time() {
    mkdir -p "$build" && (flock 9 && "$@" 9>&-) 9>"$build/release.lock"
}

# build_library [CMAKE OPTION...]
build_library() {
    one_at_a_time make_library "$@"
}
make_library() {
    cmake -S "$root" -B "$build/release" -G Ninja -DCMAKE_BUILD_TYPE=Release "$@" &&
        cmake --build "$build/release" -j "$jobs"
}

install_library() {
    cmake --install "$build/release" --prefix "$build/prefix"
}

# The examples know the library by what was installed, and by nothing else.
build_examples() {
    cmake -S "$root/examples" -B "$build/examples" -G Ninja -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_PREFIX_PATH="$build/prefix" -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF &&
        cmake --build "$build/examples" -j "$jobs"
}

# Those that want nothing, and end by themselves: 0 if what they did was right.
small_examples=(hello_c hello_cpp thread_pool workers exceptions scopes_c operations_c scopes_cpp
    locks_c local_c not_for_long_c channels_c groups_c groups_cpp pool_c pool_control_c waiting_c
    receive_by_view_c asio_loop uv_loop coroutines lines_cpp)

//! Compiles the C++ side: the glue that cxx generates from `src/bridge.rs`, and `cpp/*.cpp`. Cargo
//! bundles the objects into the one archive, so a program that links it needs only the C++ runtime.
//!
//! Every file is named: a watched directory would not tell ninja which file changed.

const BRIDGE: &str = "src/bridge.rs";
const SOURCES: &[&str] = &[
    "cpp/current.cpp",
    "cpp/cxa_globals.cpp",
    "cpp/die.cpp",
    "cpp/executor.cpp",
    "cpp/patience.cpp",
    "cpp/scope.cpp",
    "cpp/task.cpp",
];
const HEADERS: &[&str] = &[
    "cpp/patience.hpp",
    "cpp/thread_lists.hpp",
    "include/monad/async/config.h",
    "include/monad/async/detail/die.hpp",
    "include/monad/async/detail/executor_block.hpp",
    "include/monad/async/detail/task_state.hpp",
    "include/monad/async/detail/tsan.hpp",
    "include/monad/async/error.hpp",
    "include/monad/async/executor.h",
    "include/monad/async/remote.h",
    "include/monad/async/result.h",
    "include/monad/async/scope.h",
    "include/monad/async/task.h",
    "include/monad/async/ticks.h",
];

fn main() {
    for file in [BRIDGE, "build.rs"].iter().chain(SOURCES).chain(HEADERS) {
        println!("cargo:rerun-if-changed={file}");
    }
    cxx_build::bridge(BRIDGE)
        .files(SOURCES)
        .std("c++17")
        .include("include")
        .flag_if_supported("-Wall")
        .flag_if_supported("-Wextra")
        .flag_if_supported("-fvisibility=hidden")
        // cxx's generated glue is position independent already; ours goes into a shared library too.
        .pic(true)
        .compile("monad_async_cpp");
}

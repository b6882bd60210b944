//! Makes the C++ side: the glue that cxx generates from `src/bridge.rs`, and `cpp/*.cpp`. Cargo
//! bundles the objects into the one archive, so a program that links it needs only the C++ runtime.
//!
//! CMake compiles them itself (cmake/MonadAsyncCargo.cmake), so that a change of a C++ header
//! builds no Rust; it sets `MONAD_ASYNC_GLUE_ONLY`, and only the glue is generated.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

const BRIDGE: &str = "src/bridge.rs";

fn main() {
    for file in [BRIDGE, "build.rs"] {
        println!("cargo:rerun-if-changed={file}");
    }
    println!("cargo:rerun-if-env-changed=MONAD_ASYNC_GLUE_ONLY");
    let mut build = cxx_build::bridge(BRIDGE);
    if env::var_os("MONAD_ASYNC_GLUE_ONLY").is_some() {
        return;
    }
    // The folder itself: a file may be added.
    println!("cargo:rerun-if-changed=cpp");
    let sources = files_of("cpp");
    let mut included = BTreeSet::new();
    for file in sources.iter().cloned().chain([BRIDGE.into()]) {
        collect_includes(&file, &mut included);
    }
    for file in &included {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    build
        .files(sources)
        .std("c++17")
        .include("include")
        .flag_if_supported("-Wall")
        .flag_if_supported("-Wextra")
        .flag_if_supported("-fvisibility=hidden")
        // cxx's generated glue is position independent already; ours goes into a shared library too.
        .pic(true)
        .compile("monad_async_cpp");
}

/// The C++ sources of a folder, in the order of their names.
fn files_of(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder of the C++ sources");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry of it").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cpp"))
        .collect();
    files.sort();
    files
}

/// Adds the project's headers that `file` includes, directly or through others. Only these: a
/// change of another header would compile the crate, and link every test program, for nothing.
fn collect_includes(file: &Path, included: &mut BTreeSet<PathBuf>) {
    let text = fs::read_to_string(file).expect("a source or a header");
    for line in text.lines() {
        let line =
            line.trim_start().trim_start_matches("#include ").trim_start_matches("include!(");
        let Some(name) = line.strip_prefix('"').and_then(|rest| rest.split('"').next()) else {
            continue;
        };
        let sibling = file.with_file_name(name);
        let found =
            [sibling, Path::new("include").join(name)].into_iter().find(|path| path.is_file());
        if let Some(header) = found {
            // Without "..": one name a file.
            let header = header.canonicalize().expect("a header that is there");
            if included.insert(header.clone()) {
                collect_includes(&header, included);
            }
        }
    }
}

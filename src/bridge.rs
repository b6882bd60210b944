//! The one border to C++: what the RAII classes need beyond the C API. Thin: each function makes one
//! call into the floor below. Hot calls do not pass here; the C++ headers call the C API directly.

#[cxx::bridge(namespace = "monad::async_bridge")]
mod ffi {
    extern "Rust" {
        fn version() -> &'static str;
    }
}

/// The package's version, as in `MONAD_ASYNC_VERSION_*`.
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

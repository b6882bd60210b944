//! The C API, thin: check, one call into the floor below, map the result. Declared in
//! `include/monad/async/*.h`.

pub mod version;

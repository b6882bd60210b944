//! Threads of the library's own, for what must not run on an executor's.

pub mod blocking;
pub mod workers;

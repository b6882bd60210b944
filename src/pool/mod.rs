//! Threads of the library's own, for what must not run on an executor's.

pub mod blocking;
pub mod cpus;
pub(crate) mod helpers;
mod leaving;
pub mod resolve;
pub mod workers;

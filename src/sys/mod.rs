//! The only importer of io-uring and libc calls: what the executor asks of the operating system.

pub mod kernel;
pub mod memory;

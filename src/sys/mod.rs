//! The only importer of io-uring and libc calls: what the executor asks of the operating system.

pub mod alloc;
pub mod clock;
pub mod exceptions;
pub mod fork;
pub mod kernel;
pub mod mask;
pub mod memory;
pub mod overflow;
pub mod prefetch;
pub mod probe;
pub mod ring;
mod setup;
mod sleep;
pub mod text;
pub mod thread;
pub mod wake;

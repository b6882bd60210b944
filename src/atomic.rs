//! What orders memory between threads: the atomics and locks of the standard library, or loom's
//! atomics for its models. With the feature `tsan` those of the standard library, and
//! ThreadSanitizer, which sees no Rust, is told: what came before a release on one thread comes
//! before what follows an acquire of the same word on another. It takes that as given whatever
//! value was read, so it may miss a race that this hides, and reports none that is none.
//!
//! Not by this: what signal handlers touch, and what the kernel shares with us.

#[cfg(feature = "tsan")]
mod told;

#[cfg(not(any(loom, feature = "tsan")))]
pub use core::sync::atomic::*;
#[cfg(loom)]
pub use loom::sync::atomic::*;
#[cfg(not(feature = "tsan"))]
pub use std::sync::{Condvar, Mutex, MutexGuard};
#[cfg(feature = "tsan")]
pub use told::*;

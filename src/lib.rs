//! An io_uring executor for stackful tasks. The public API is the C one in `include/monad/async`,
//! and the C++ one built on it; what Rust sees here is for the project's own tests and benchmarks.
//!
//! Floors, lowest first; a file imports lower floors only (`tests/layers.rs` checks):
//!
//! ```text
//! L0  error  ticks  intrusive  phase  sys
//! L1  stack
//! L2  task
//! L3  sched  reactor
//! L4  executor
//! L5  io  debug
//! L6  handle
//! L7  capi  bridge
//! ```

#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod intrusive;
#[doc(hidden)]
pub mod phase;
#[doc(hidden)]
pub mod sys;
#[doc(hidden)]
pub mod ticks;

// The floors above L0 take no part in the models of what threads share.
#[cfg(not(loom))]
#[doc(hidden)]
pub mod capi;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod debug;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod executor;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod handle;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod io;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod reactor;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod sched;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod stack;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod task;
// Private: reached only through the C++ headers.
#[cfg(not(loom))]
mod bridge;

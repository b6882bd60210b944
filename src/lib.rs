//! An io_uring executor for stackful tasks. The public API is the C one in `include/monad/async`,
//! and the C++ one built on it; what Rust sees here is for the project's own tests and benchmarks.
//!
//! Floors, lowest first; a file imports lower floors only (`tests/rust/layers.rs` checks).
//! What each does is in `docs/architecture.md`:
//!
//! ```text
//! L0  error  ticks  trace  prefetch  atomic  intrusive
//! L1  sys
//! L2  uring  stack
//! L3  task
//! L4  sched  reactor
//! L5  executor
//! L6  io  sync  pool  debug  observe
//! L7  api
//! L8  capi  bridge
//! ```

// loom builds a part of the whole, and sees what only the rest uses.
#![cfg_attr(loom, allow(dead_code))]

pub mod atomic;
pub mod error;
pub mod intrusive;
pub mod prefetch;
pub mod task;

// loom builds what threads share, and nothing else: L0, and `state` of the task.
#[cfg(not(loom))]
pub mod api;
#[cfg(not(loom))]
pub mod capi;
#[cfg(not(loom))]
pub mod debug;
#[cfg(not(loom))]
pub mod executor;
#[cfg(not(loom))]
pub mod io;
#[cfg(not(loom))]
pub mod observe;
#[cfg(not(loom))]
pub mod pool;
#[cfg(not(loom))]
pub mod reactor;
#[cfg(not(loom))]
pub mod sched;
#[cfg(not(loom))]
pub mod stack;
#[cfg(not(loom))]
pub mod sync;
#[cfg(not(loom))]
pub mod sys;
#[cfg(not(loom))]
pub mod ticks;
#[cfg(not(loom))]
pub mod trace;
#[cfg(not(loom))]
pub mod uring;
// Private: reached only through the C++ headers.
#[cfg(not(loom))]
mod bridge;

//! The task: one pinned object with a stack of its own. `state`, `requests`, `permit`, `grant`,
//! `latch`, `joins` and `end` are what threads share of it and of its waits; loom builds those
//! alone.

#[cfg(not(loom))]
pub mod annex;
#[cfg(not(loom))]
pub mod create;
pub mod end;
pub mod grant;
#[cfg(not(loom))]
pub mod header;
pub mod joins;
pub mod latch;
#[cfg(not(loom))]
pub mod list;
#[cfg(not(loom))]
pub mod named;
pub mod permit;
pub mod queued;
pub mod requests;
#[cfg(not(loom))]
pub mod room;
#[cfg(not(loom))]
pub mod shared;
pub mod state;
#[cfg(not(loom))]
pub mod transition;
pub mod turns;
#[cfg(not(loom))]
pub mod warm;

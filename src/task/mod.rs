//! The task: one pinned object with a stack of its own. `state`, `requests` and `permit` are what
//! threads share of it; loom builds those alone.

#[cfg(not(loom))]
pub mod create;
#[cfg(not(loom))]
pub mod header;
#[cfg(not(loom))]
pub mod list;
pub mod permit;
pub mod requests;
pub mod state;
#[cfg(not(loom))]
pub mod transition;

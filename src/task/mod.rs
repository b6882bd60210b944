//! The task: one pinned object with a stack of its own.

pub mod header;
pub mod life;
pub mod list;

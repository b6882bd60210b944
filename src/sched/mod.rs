//! Who runs next, and who sleeps until when.

pub mod run_queue;
pub mod shares;
pub mod timers;

//! What is made of what the executor notes: the text of a trace, and of metrics.

pub mod json;
mod names;
pub mod prometheus;
pub mod waits;
pub mod watchdog;

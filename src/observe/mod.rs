//! What is made of what the executor notes: the text of a trace.

pub mod json;
mod names;

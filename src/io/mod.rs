//! What tasks may ask of the kernel, and how their I/O priority reaches it.

pub mod check;
pub mod priority;

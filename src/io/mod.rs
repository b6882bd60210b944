//! What tasks may ask of the kernel.

pub mod check;

//! The seam to the kernel: the trait that the executor is generic over, and the real kernel under it.
//! The only importer of io-uring.
//!
//! ```text
//! kernel    the trait, submission and completion entries
//! mask      what a test may have refused
//! setup     how a ring is made, rung by rung, and why there is none
//! features  what a new ring's kernel can do besides
//! ring      the queues, and io_uring_enter
//! wakeup    how another thread ends a sleep in the ring
//! sleeper   how a compute-only executor sleeps
//! real      the face of it all
//! ```

mod features;
pub mod kernel;
pub mod mask;
mod real;
mod ring;
mod setup;
mod sleeper;
mod wakeup;

pub use real::{CreateError, RealKernel, RingOptions, FIRST_RESERVED_USER_DATA};

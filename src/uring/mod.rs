//! The seam to the kernel: the trait that the executor is generic over, and the real kernel under
//! it. The only importer of io-uring.
//!
//! ```text
//! abi       the numbers of <linux/io_uring.h>
//! kernel    the trait, submission and completion entries
//! mask      what a test may have refused
//! options   what may be chosen about a ring
//! refusal   why there is none, and what to do
//! setup     how it is made, rung by rung
//! given_back  what a closed ring had, which the kernel frees late
//! features  what a new ring's kernel can do besides
//! fixed     its table of registered buffers
//! queues    the two queues, in memory shared with the kernel
//! mapping   that memory
//! chain     what is left of a chain that the kernel has taken in part
//! streams   sockets at the current position, for which older kernels want another
//! ring      io_uring_enter, and closing the ring
//! wakeup    how another thread ends a sleep in the ring
//! sleeper   how a compute-only executor sleeps
//! real      the face of it all
//! ```
//!
//! No two of these files import each other.

pub mod abi;
mod chain;
mod features;
mod fixed;
mod given_back;
pub mod kernel;
mod looking;
mod mapping;
pub mod mask;
mod options;
mod poll_fd;
pub mod queues;
mod real;
mod refusal;
mod ring;
mod setup;
mod sleeper;
mod streams;
mod wakeup;

pub use options::{CreateError, RingOptions};
pub use real::RealKernel;

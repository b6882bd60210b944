//! What tasks wait for of each other. Each object is its memory: an open latch and empty queues are
//! zeros, nothing is allocated, and nothing is left to be destroyed.
//!
//! ```text
//!   object   side (latch, or home), state, waiters ----> node ----> node
//!                                                         |          |      on the waiters' stacks
//!                                                        wait       wait    executor::grant
//! ```
//!
//! 1. All of an object is behind its [`Side`]: a latch that is held for some instructions, or, in
//!    the local form, the thread of one executor.
//! 2. Who takes a node out of the queue to serve it claims its wait. If that fails, the waiter was
//!    cancelled: the next is looked at.
//! 3. A hand-over is direct: what the waiter waited for is its own before it is woken. Who was
//!    woken never competes with who comes.
//! 4. Waits are woken after the latch is open again: the links of their nodes are free then, and a
//!    wake-up may be a system call.
//! 5. A waiter that was cancelled takes its node out, and serves whom it kept waiting.

pub mod awaited;
pub mod barrier;
mod buffer_core;
pub mod buffer_set;
pub mod channel;
pub mod condition;
pub mod event;
pub mod group;
pub mod mutex;
pub mod rw_lock;
pub mod select;
pub mod semaphore;
pub mod side;
mod spin;
mod transfer;
mod transfer_here;
pub mod wait_group;
pub mod waiters;
mod woken;

pub use side::{Local, Shared, Side};

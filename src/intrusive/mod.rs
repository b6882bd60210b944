//! The only list code of the project. L0: of the crate it imports the prefetch hint alone.
//!
//! The lists own no memory and allocate none: what is queued carries its own link, and the owner of
//! the object keeps it in place until it has left the list. Each kind works on pointers to the
//! embedded link; turning one back into its object is the owner's business.
//!
//! ```text
//! circular  one thread: as a fifo, in one word
//! link    the two words an object is queued by, in a Fifo or in an MpscQueue, in one at a time
//! fifo    one thread: push at the back, pop at the front, remove from the middle
//! timers  one thread: ordered by deadline, then by order of insertion
//! mpsc    any thread pushes, one takes; holds the handshake of its sleep too
//! marks   no list: a bit each; any thread adds and takes
//! window  no list: a row of entries, which several threads take in order
//! ```

#[cfg(not(loom))]
pub mod circular;
pub mod fifo;
pub mod link;
pub mod marks;
pub mod mpsc;
#[cfg(not(loom))]
mod timer_node;
#[cfg(not(loom))]
pub mod timer_queue;
pub mod window;

#[cfg(not(loom))]
pub use circular::Circular;
pub use fifo::{At, Batch, Ends, Fifo, Fifos, Own, WasEmpty};
pub use link::Link;
pub use marks::Marks;
pub use mpsc::{Chain, MpscQueue, Push, Reversal, Taken};
#[cfg(not(loom))]
pub use timer_node::TimerNode;
#[cfg(not(loom))]
pub use timer_queue::TimerQueue;
pub use window::Window;

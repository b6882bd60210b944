//! The two words by which an object is queued: in one [`Fifo`](super::Fifo) or in one
//! [`MpscQueue`](super::MpscQueue), never in two lists at a time.
//!
//! ```text
//!             +0 next                  +8 prev
//!            +------------------------+------------------------+
//! in a Fifo  | younger neighbour      | older neighbour        |   see fifo.rs for what is stale
//!            +------------------------+------------------------+
//! in an      | older entry            | the pusher's `kind`    |   an integer, no pointer
//! MpscQueue      +------------------------+------------------------+
//! elsewhere  | left over, meaningless                          |
//!            +-------------------------------------------------+
//! ```
//!
//! Who may touch it: in a `Fifo`, the thread that owns the list. For an `MpscQueue`, the pusher
//! until its compare-exchange succeeded, the consumer from its swap on. Elsewhere nobody needs to:
//! a push writes both words before anyone reads them.

#[cfg(not(loom))]
use core::cell::Cell;
use core::marker::PhantomPinned;
use core::ptr;
// Under loom a link's words are checked: an access not ordered after the last one is a failure.
#[cfg(loom)]
use loom::cell::Cell;

/// Embedded in what is queued.
#[repr(C)]
pub struct Link {
    pub(super) next: Cell<*mut Link>,
    pub(super) prev: Cell<*mut Link>,
    /// Neighbours write it: the compiler must not take it for its holder's alone.
    _pinned: PhantomPinned,
}

// The queue keeps three flags in the low bits of a pointer to a Link.
const _: () = assert!(core::mem::align_of::<Link>() >= 8);
#[cfg(not(loom))]
const _: () = assert!(core::mem::size_of::<Link>() == 16);

impl Link {
    /// In no list.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self {
            next: Cell::new(ptr::null_mut()),
            prev: Cell::new(ptr::null_mut()),
            _pinned: PhantomPinned,
        }
    }

    /// In no list.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self {
            next: Cell::new(ptr::null_mut()),
            prev: Cell::new(ptr::null_mut()),
            _pinned: PhantomPinned,
        }
    }
}

impl Link {
    /// The entry behind this one, in a `Fifo` this one is in; null in the last. Elsewhere:
    /// anything.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn peek_next(&self) -> *mut Link {
        self.next.get()
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

//! Memory of rings that were closed. The kernel gives it back some time after the close, on a
//! thread of its own: up to 60 ms were seen. As long it counts in RLIMIT_MEMLOCK, where the kernel
//! charges rings to that, and the next ring may find no room.

use crate::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sys::backoff::Backoff;
use crate::sys::clock::boot_ns;

/// How long after a close its memory may be missed.
const LATE_NS: u64 = 250_000_000;

/// When this process last closed a ring.
static CLOSED_NS: AtomicU64 = AtomicU64::new(0);

pub(super) fn note_close() {
    CLOSED_NS.store(boot_ns(), Relaxed);
}

/// Of one that was refused memory, and asks again while some may come. What it asks for is not
/// called from here: who makes an executor may have a small stack.
pub(super) struct Refused {
    backoff: Backoff,
    /// Of the last close before the first refusal: others may close rings all the time.
    until_ns: Option<u64>,
}

impl Refused {
    pub(super) const fn new() -> Self {
        Self { backoff: Backoff::new(), until_ns: None }
    }

    /// Waits a little, and returns whether a ring was closed so short a time ago that its memory
    /// may be what is missing.
    pub(super) fn waits(&mut self) -> bool {
        let until_ns = *self.until_ns.get_or_insert_with(|| match CLOSED_NS.load(Relaxed) {
            0 => 0,
            closed_ns => closed_ns + LATE_NS,
        });
        let may_come = boot_ns() < until_ns;
        if may_come {
            self.backoff.wait();
        }
        may_come
    }
}

//! Memory of rings that were closed. The kernel gives it back some time after the close, on a
//! thread of its own: up to 60 ms were seen. As long it counts in RLIMIT_MEMLOCK, where the kernel
//! charges rings to that, and the next ring may find no room.

use crate::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sys::backoff::Backoff;
use crate::sys::clock::boot_ns;

use super::options::CreateError;

/// How long after a close its memory may be missed.
const LATE_NS: u64 = 250_000_000;

/// When this process last closed a ring.
static CLOSED_NS: AtomicU64 = AtomicU64::new(0);

pub(super) fn note_close() {
    CLOSED_NS.store(boot_ns(), Relaxed);
}

/// Makes what needs memory, again while it fails for the lack of it and a ring was closed just
/// before.
pub(super) fn wait_for<T>(make: impl Fn() -> Result<T, CreateError>) -> Result<T, CreateError> {
    let mut backoff = Backoff::new();
    // Of the last close before the first refusal: others may close rings all the time.
    let mut until_ns = None;
    loop {
        let made = make();
        if !matches!(&made, Err(e) if e.errno.0 == libc::ENOMEM) {
            return made;
        }
        let until_ns = *until_ns.get_or_insert_with(|| match CLOSED_NS.load(Relaxed) {
            0 => 0,
            closed_ns => closed_ns + LATE_NS,
        });
        if boot_ns() >= until_ns {
            return made;
        }
        backoff.wait();
    }
}

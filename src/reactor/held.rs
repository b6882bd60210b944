//! Batches that are performed, and of which the executor is told later, with others.

use core::ptr::NonNull;

use super::batch::BATCHES;
use crate::intrusive::Link;

/// Nothing is held back when a write is begun that much later than the first one since something
/// was posted: that may be in the middle of a batch, which is held back for less than twice as long
/// then, and the time of one write.
const HELD_NS: u64 = 100_000;

/// Nor when the write before took that long: to wake the executor costs little then, and the
/// next one may take longer.
const SLOW_NS: u64 = 50_000;

/// Performed, and not posted yet: see `batch`, rule 5.
pub(super) struct Held<P> {
    links: [NonNull<Link>; BATCHES],
    count: usize,
    /// 0: not known yet.
    until_ns: u64,
    /// When the last write was begun.
    begun_ns: u64,
    post: P,
}

impl<P: Fn(&[NonNull<Link>])> Held<P> {
    pub(super) fn new(post: P) -> Self {
        let links = [NonNull::dangling(); BATCHES];
        Self { links, count: 0, until_ns: 0, begun_ns: 0, post }
    }

    /// Before a write is begun, at `now_ns`, which it returns.
    #[inline(always)]
    pub(super) fn look(&mut self, now_ns: u64) -> u64 {
        if self.until_ns == 0 {
            self.until_ns = now_ns.saturating_add(HELD_NS);
        }
        let is_slow = now_ns > self.begun_ns.saturating_add(SLOW_NS);
        if (now_ns > self.until_ns || is_slow) && self.count != 0 {
            self.post_all();
        }
        self.begun_ns = now_ns;
        now_ns
    }

    pub(super) fn add(&mut self, link: NonNull<Link>) {
        self.links[self.count] = link;
        self.count += 1;
    }

    pub(super) fn post_all(&mut self) {
        self.until_ns = 0;
        let count = core::mem::take(&mut self.count);
        (self.post)(&self.links[..count]);
    }
}

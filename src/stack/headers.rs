//! Whether an address is that of a header: asked of every completion before its task is touched, as
//! others may put completions into a ring (`IORING_OP_MSG_RING`, tags of resources). Touches a
//! table of its own and the registry of slabs.
//!
//! Headers of one slab lie side by side, so a range stands for many. The table has one range for
//! each 64 MiB of address space, by the low bits of its number; what finds no room in it is
//! found by a walk over the slabs. A miss costs time, never a wrong answer.
//!
//! 1. Ranges change under the pool's lock; they only grow. An empty place has `bytes` 0.
//! 2. A thread that has a task of a range sees the range (the task was created after it grew).

use core::ptr::NonNull;

use super::slab::{Slab, HEADER_ALIGN};
use super::walk::for_each;
use crate::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

const REGION_SHIFT: u32 = 26;
/// 512 GiB: what a million stacks of the default size take lies within it, so that a completion of
/// one of a million tasks is looked up as fast as of one.
const PLACES: usize = 8192;
const _: () = assert!(PLACES << REGION_SHIFT >= 1_000_000 * (160 << 10));

struct Range {
    start: AtomicUsize,
    bytes: AtomicUsize,
}

static RANGES: [Range; PLACES] =
    [const { Range { start: AtomicUsize::new(0), bytes: AtomicUsize::new(0) } }; PLACES];

#[inline(always)]
fn place(address: usize) -> &'static Range {
    &RANGES[(address >> REGION_SHIFT) % PLACES]
}

/// Adds a header of a carved slot. Under the pool's lock.
pub(super) fn add(header: NonNull<u8>, bytes: usize) {
    let address = header.as_ptr() as usize;
    let range = place(address);
    let before = range.bytes.load(Relaxed);
    match before {
        0 => range.start.store(address, Relaxed),
        _ if range.start.load(Relaxed) + before == address => {}
        _ => return, // Of another slab: found by a walk.
    }
    // Release: `start` first.
    range.bytes.store(before + bytes, Release);
}

/// Whether a header that was ever given to anybody is at `address`, or within one of its two other
/// lines' places: memory that may be read for ever (invariant 1 of `pool`).
#[inline(always)]
pub fn contains(address: usize) -> bool {
    covers(address) && address.is_multiple_of(HEADER_ALIGN)
}

/// As `contains`, of an address that is aligned as a header is; of any other, whether it is within
/// one.
#[inline(always)]
pub fn covers(address: usize) -> bool {
    let range = place(address);
    // Acquire: pairs with `add`.
    let bytes = range.bytes.load(Acquire);
    address.wrapping_sub(range.start.load(Relaxed)) < bytes || walk(address)
}

/// Headers that lie side by side.
#[derive(Clone, Copy)]
pub struct Near {
    start: usize,
    bytes: usize,
}

impl Near {
    /// Those around that address, if there are any.
    #[inline(always)]
    pub fn of(address: usize) -> Self {
        let range = place(address);
        // Acquire: as in `covers`.
        let bytes = range.bytes.load(Acquire);
        Self { start: range.start.load(Relaxed), bytes }
    }

    /// As [`covers`]; false, too, of any other headers.
    #[inline(always)]
    pub fn covers(self, address: usize) -> bool {
        address.wrapping_sub(self.start) < self.bytes
    }
}

#[cold]
#[inline(never)]
fn walk(address: usize) -> bool {
    let mut found = false;
    for_each(|slab| {
        // SAFETY: a published slab, and its header 0.
        let (s, first) = unsafe { (slab.as_ref(), Slab::header(slab, 0)) };
        let bytes = s.carved.load(Acquire) as usize * s.shape.header_bytes;
        found |= address.wrapping_sub(first.as_ptr() as usize) < bytes;
    });
    found
}

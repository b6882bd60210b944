//! Slots of which somebody wants something, and had no other place to say so: a bit each, in their
//! slab. Who looks for them reads a bit for each slot that there is, and not a header.

use core::ptr::NonNull;

use super::claims::Header;
use super::slab::{Slab, SLABS};
use crate::atomic::Ordering::Acquire;
use crate::intrusive::Marks;

/// One that is marked, or is to be.
#[derive(Clone, Copy)]
pub struct Place {
    slab: NonNull<Slab>,
    index: u32,
}

impl Place {
    pub fn of(header: &Header) -> Self {
        Self { slab: header.slab, index: header.index }
    }

    fn marks<'a>(self) -> Marks<'a> {
        // SAFETY: a published slab, which is never unmapped.
        unsafe { Slab::asked(self.slab) }
    }

    pub fn mark(self) {
        self.marks().add(self.index);
    }

    pub fn unmark(self) {
        self.marks().remove(self.index);
    }

    /// Of a carved slot.
    pub fn header(self) -> NonNull<u8> {
        // SAFETY: published; the index was that of a slot.
        unsafe { Slab::header(self.slab, self.index) }
    }
}

/// A walk over all that are marked, in steps. What is marked after it has begun it may pass by.
#[derive(Clone, Copy)]
pub struct Walk {
    slab: *const Slab,
    next: u32,
}

impl Walk {
    pub const OVER: Self = Self { slab: core::ptr::null(), next: 0 };

    pub fn new() -> Self {
        // Acquire: pairs with the Release in `create`.
        Self { slab: SLABS.load(Acquire), next: 0 }
    }

    pub fn is_over(&self) -> bool {
        self.slab.is_null()
    }

    /// The next, which counts as a word; `None`: it is over, or `words` were looked at.
    pub fn step(&mut self, words: &mut usize) -> Option<Place> {
        while let Some(slab) = NonNull::new(self.slab.cast_mut()).filter(|_| *words != 0) {
            // SAFETY: published slabs live as long as the process.
            let s = unsafe { slab.as_ref() };
            // Acquire: the headers of those below.
            let carved = s.carved.load(Acquire);
            let before = self.next;
            // SAFETY: as above.
            let (found, next) = unsafe { Slab::asked(slab) }.first(before, *words);
            *words = words.saturating_sub(next.div_ceil(64).saturating_sub(before / 64) as usize);
            self.next = next;
            match found.filter(|&index| index < carved) {
                Some(index) => return Some(Place { slab, index }),
                None if next >= carved || found.is_some() => {
                    *self = Self { slab: s.next, next: 0 };
                }
                None => {}
            }
        }
        None
    }
}

impl Default for Walk {
    fn default() -> Self {
        Self::new()
    }
}

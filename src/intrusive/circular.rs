//! A doubly linked list of one word, for one thread: a ring that is entered at its youngest entry.
//! Touches only links.
//!
//! ```text
//!  youngest ------------------------.
//!                                   v
//!    +------+ next  +------+ next  +------+ next
//!  .>|  a   |------>|  b   |------>|  c   |------.
//!  | |      |<------|      |<------|      |      |      prev of a is c
//!  | +------+  prev +------+  prev +------+      |
//!  `---------------------------------------------'
//! ```
//!
//! Half the size of a [`Fifo`](super::Fifo), for the price of a second line touched at a push. All
//! links are right at all times.

use super::link::Link;
use core::cell::Cell;
use core::ptr::{self, NonNull};

/// First in, first out; O(1) removal of any entry.
pub struct Circular {
    youngest: Cell<*mut Link>,
}

impl Circular {
    pub const fn new() -> Self {
        Self { youngest: Cell::new(ptr::null_mut()) }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.youngest.get().is_null()
    }

    /// The oldest entry, which stays.
    #[inline]
    pub fn front(&self) -> Option<NonNull<Link>> {
        let youngest = NonNull::new(self.youngest.get())?;
        // SAFETY: an entry, valid until it leaves (contract of `push_back`); what is behind it is
        // one, too.
        Some(unsafe { NonNull::new_unchecked(youngest.as_ref().next.get()) })
    }

    /// The entry behind `link`; None behind the youngest.
    ///
    /// # Safety
    /// `link` is in this list.
    #[inline]
    pub unsafe fn after(&self, link: NonNull<Link>) -> Option<NonNull<Link>> {
        if link.as_ptr() == self.youngest.get() {
            return None;
        }
        // SAFETY: an entry (contract above).
        NonNull::new(unsafe { link.as_ref() }.next.get())
    }

    /// True: it was empty.
    ///
    /// # Safety
    /// `link` is in no list; it stays in place, and only this thread and this list touch it, until
    /// it has left the list.
    #[inline]
    pub unsafe fn push_back(&self, link: NonNull<Link>) -> bool {
        let new = link.as_ptr();
        let youngest = self.youngest.replace(new);
        // SAFETY: the caller lends the link; entries are valid.
        unsafe {
            if youngest.is_null() {
                (*new).next.set(new);
                (*new).prev.set(new);
            } else {
                let oldest = (*youngest).next.get();
                (*new).next.set(oldest);
                (*new).prev.set(youngest);
                (*youngest).next.set(new);
                (*oldest).prev.set(new);
            }
        }
        youngest.is_null()
    }

    /// True: it is empty now.
    ///
    /// # Safety
    /// `link` is in this list.
    #[inline]
    pub unsafe fn remove(&self, link: NonNull<Link>) -> bool {
        let gone = link.as_ptr();
        // SAFETY: an entry (contract above), and so are its neighbours.
        unsafe {
            let (next, prev) = ((*gone).next.get(), (*gone).prev.get());
            if next == gone {
                self.youngest.set(ptr::null_mut());
                return true;
            }
            (*prev).next.set(next);
            (*next).prev.set(prev);
            if self.youngest.get() == gone {
                self.youngest.set(prev);
            }
        }
        false
    }

    /// As `remove`, with less to ask.
    ///
    /// # Safety
    /// `first` is the oldest entry.
    #[inline]
    pub unsafe fn take_front(&self, first: NonNull<Link>) {
        let (gone, youngest) = (first.as_ptr(), self.youngest.get());
        if gone == youngest {
            self.youngest.set(ptr::null_mut());
            return;
        }
        // SAFETY: an entry (contract above), and so are its neighbours.
        unsafe {
            let next = (*gone).next.get();
            (*youngest).next.set(next);
            (*next).prev.set(youngest);
        }
    }

    /// Takes the oldest entry.
    pub fn pop_front(&self) -> Option<NonNull<Link>> {
        let first = self.front()?;
        // SAFETY: it is in here, the oldest.
        unsafe { self.take_front(first) };
        Some(first)
    }
}

impl Default for Circular {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_deque() {
        let links: Vec<Link> = (0..16).map(|_| Link::new()).collect();
        let at = |i: usize| NonNull::from(&links[i]);
        let list = Circular::new();
        let mut model: std::collections::VecDeque<usize> = Default::default();
        let mut seed = 1u32;
        for _ in 0..100_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let i = (seed >> 16) as usize % links.len();
            match model.iter().position(|&x| x == i) {
                None => {
                    // SAFETY: in no list, says the model, and outlives it.
                    let was_empty = unsafe { list.push_back(at(i)) };
                    assert_eq!(was_empty, model.is_empty());
                    model.push_back(i);
                }
                Some(_) if seed >> 31 == 0 => {
                    assert_eq!(list.pop_front(), model.pop_front().map(at));
                }
                Some(k) => {
                    // SAFETY: in the list, says the model.
                    let is_empty = unsafe { list.remove(at(i)) };
                    model.remove(k);
                    assert_eq!(is_empty, model.is_empty());
                }
            }
            assert_eq!(list.is_empty(), model.is_empty());
            let mut next = list.front();
            for &k in &model {
                assert_eq!(next, Some(at(k)));
                // SAFETY: in the list, says the model.
                next = unsafe { list.after(at(k)) };
            }
            assert_eq!(next, None);
        }
    }
}

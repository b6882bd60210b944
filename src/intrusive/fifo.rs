//! A doubly linked queue for one thread. Touches only links.
//!
//! All methods take `&self`: tasks push from their own stacks while the loop that owns the queue is
//! further up on the executor's.
//!
//! The pop is the hottest code of the project, so the queue ends in null pointers and keeps two
//! words out of date on purpose: a pop is two loads, one test, one store, and does not touch the
//! entry behind the one it takes.
//!
//! ```text
//!  head ----.                                   .---- tail
//!           v                                   v
//!         +------+ next  +------+ next  +------+ next
//!         |  a   |------>|  b   |------>|  c   |------> null
//!         |      |<------|      |<------|      |
//!    ? <--+------+  prev +------+  prev +------+
//! ```
//!
//! 1. `head` is null exactly when the queue is empty.
//! 2. `tail` means something only while the queue is not empty.
//! 3. `prev` means something in every entry but the head.
//! 4. `next` is right in every entry; null in the last.

use super::link::Link;
use core::cell::Cell;
use core::ptr::{self, NonNull};

/// Whether a queue was empty before a push.
#[derive(Clone, Copy)]
pub struct WasEmpty(pub bool);

/// Where a queue's two words are.
pub trait Ends {
    fn head(&self) -> &Cell<*mut Link>;
    fn tail(&self) -> &Cell<*mut Link>;
}

/// Side by side.
pub struct Own {
    head: Cell<*mut Link>,
    tail: Cell<*mut Link>,
}

impl Ends for Own {
    #[inline(always)]
    fn head(&self) -> &Cell<*mut Link> {
        &self.head
    }
    #[inline(always)]
    fn tail(&self) -> &Cell<*mut Link> {
        &self.tail
    }
}

/// First in, first out; O(1) removal of any entry.
pub struct Fifo<E = Own>(E);

impl Fifo {
    pub const fn new() -> Self {
        Self::of(ptr::null_mut(), ptr::null_mut())
    }

    const fn of(head: *mut Link, tail: *mut Link) -> Self {
        Self(Own { head: Cell::new(head), tail: Cell::new(tail) })
    }
}

/// Several queues, one a level: all heads, then all tails. So a processor finds the word of a level
/// by one address, where pairs of words would be multiplied first.
#[repr(C)]
pub struct Fifos<const N: usize> {
    heads: [Cell<*mut Link>; N],
    tails: [Cell<*mut Link>; N],
}

/// Those of one level.
pub struct At<'a, const N: usize> {
    of: &'a Fifos<N>,
    level: usize,
}

impl<const N: usize> Ends for At<'_, N> {
    #[inline(always)]
    fn head(&self) -> &Cell<*mut Link> {
        // SAFETY: `Fifos::at` has looked.
        unsafe { self.of.heads.get_unchecked(self.level) }
    }
    #[inline(always)]
    fn tail(&self) -> &Cell<*mut Link> {
        // SAFETY: as above.
        unsafe { self.of.tails.get_unchecked(self.level) }
    }
}

impl<const N: usize> Fifos<N> {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            heads: [const { Cell::new(ptr::null_mut()) }; N],
            tails: [const { Cell::new(ptr::null_mut()) }; N],
        }
    }

    /// `last` stands as the front of the last one, which is never empty therefore, and which nobody
    /// is put into or taken out of: the rules at the top are not for that one.
    pub(crate) const fn ending_in(last: NonNull<Link>) -> Self {
        let mut this = Self::new();
        this.heads[N - 1] = Cell::new(last.as_ptr());
        this
    }

    #[inline(always)]
    pub fn at(&self, level: usize) -> Fifo<At<'_, N>> {
        assert!(level < N);
        Fifo(At { of: self, level })
    }

    /// # Safety
    /// There is such a level.
    #[inline(always)]
    pub unsafe fn at_unchecked(&self, level: usize) -> Fifo<At<'_, N>> {
        debug_assert!(level < N);
        Fifo(At { of: self, level })
    }

    /// All of them: by one jump.
    #[inline(always)]
    pub fn are_empty(&self) -> bool {
        self.heads.iter().fold(0, |all, head| all | head.get().addr()) == 0
    }

    /// From the highest level on.
    #[inline(always)]
    pub fn iter(&self) -> impl Iterator<Item = Fifo<At<'_, N>>> {
        (0..N).map(|level| Fifo(At { of: self, level }))
    }
}

impl<E: Ends> Fifo<E> {
    #[inline(always)]
    fn head(&self) -> &Cell<*mut Link> {
        self.0.head()
    }

    #[inline(always)]
    fn tail(&self) -> &Cell<*mut Link> {
        self.0.tail()
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.head().get().is_null()
    }

    /// The oldest entry, which stays.
    #[inline(always)]
    pub fn front(&self) -> Option<NonNull<Link>> {
        NonNull::new(self.head().get())
    }

    /// # Safety
    /// `link` is in no list; it stays in place, and only this thread and this list touch it, until
    /// it has left the list.
    #[inline(always)]
    pub unsafe fn push_back(&self, link: NonNull<Link>) -> WasEmpty {
        let new = link.as_ptr();
        let last = self.tail().get();
        // Asked before the stores below, which the compiler cannot tell from one to `head`.
        let was_empty = self.is_empty();
        // SAFETY: the caller lends the link (contract above).
        unsafe {
            (*new).next.set(ptr::null_mut());
            // Stale if the queue is empty: rule 3, it becomes the head.
            (*new).prev.set(last);
        }
        if was_empty {
            self.head().set(new);
        } else {
            // SAFETY: the queue is not empty, so by rule 2 `last` is an entry of it.
            unsafe { (*last).next.set(new) };
        }
        self.tail().set(new);
        WasEmpty(was_empty)
    }

    /// Takes the oldest entry.
    #[inline(always)]
    pub fn pop_front(&self) -> Option<NonNull<Link>> {
        let first = NonNull::new(self.head().get())?;
        // SAFETY: it is.
        unsafe { self.take_front(first) };
        Some(first)
    }

    /// Takes the oldest entry, which `first` is; the one behind it.
    ///
    /// # Safety
    /// It is.
    #[inline(always)]
    pub unsafe fn take_front(&self, first: NonNull<Link>) -> Option<NonNull<Link>> {
        debug_assert_eq!(self.head().get(), first.as_ptr());
        // SAFETY: `first` is an entry, valid until it leaves. Its successor's `prev` is left as it
        // is (rule 3), and so is `tail` when this was the last (rule 2).
        let next = unsafe { (*first.as_ptr()).next.get() };
        self.head().set(next);
        NonNull::new(next)
    }

    /// `link` comes in behind all, and the oldest entry, which `first` is, leaves: the queue is not
    /// empty before, nor between, nor after.
    ///
    /// # Safety
    /// As `push_back`, and `first` is.
    #[inline(always)]
    pub unsafe fn turn(&self, link: NonNull<Link>, first: NonNull<Link>) {
        debug_assert_eq!(self.head().get(), first.as_ptr());
        let (new, last) = (link.as_ptr(), self.tail().get());
        // SAFETY: the caller lends the link; `last` is an entry, `first` perhaps, whose `next` is
        // read behind the push therefore.
        unsafe {
            (*new).next.set(ptr::null_mut());
            (*new).prev.set(last);
            (*last).next.set(new);
            self.tail().set(new);
            self.head().set((*first.as_ptr()).next.get());
        }
    }

    /// Whether `is` holds of an entry; asked of each from the oldest on, until it does.
    pub(crate) fn any(&self, mut is: impl FnMut(NonNull<Link>) -> bool) -> bool {
        let mut at = self.front();
        while let Some(link) = at {
            if is(link) {
                return true;
            }
            // SAFETY: an entry; `is` takes none out. The last one's is null (rule 4).
            at = NonNull::new(unsafe { link.as_ref() }.next.get());
        }
        false
    }

    /// All entries, in a queue of their own; this one is empty afterwards.
    #[inline]
    pub(crate) fn take_all(&self) -> Fifo {
        Fifo::of(self.head().replace(ptr::null_mut()), self.tail().get())
    }

    /// Moves all entries of `other` behind those of this queue. O(1).
    pub fn append(&self, other: Fifo) {
        let Some(first) = other.front() else { return };
        if self.is_empty() {
            self.head().set(first.as_ptr());
        } else {
            let last = self.tail().get();
            // SAFETY: neither is empty, so by rule 2 `last` is an entry of this one, and `first` is
            // one of the other; its `prev` was stale (rule 3).
            unsafe {
                (*last).next.set(first.as_ptr());
                (*first.as_ptr()).prev.set(last);
            }
        }
        self.tail().set(other.tail().get());
    }

    /// As `append`, of a batch.
    #[inline(always)]
    pub fn append_batch(&self, batch: Batch) {
        // SAFETY: the batch's entries are lent until they have left the list they go to.
        unsafe { (*batch.last.as_ptr()).next.set(ptr::null_mut()) };
        self.append(Fifo::of(batch.first.as_ptr(), batch.last.as_ptr()));
    }

    /// Takes `link` out, wherever it is.
    ///
    /// # Safety
    /// `link` is in this queue.
    #[inline]
    pub unsafe fn remove(&self, link: NonNull<Link>) {
        let gone = link.as_ptr();
        // SAFETY: an entry of this queue (contract above).
        let next = unsafe { (*gone).next.get() };
        if self.head().get() == gone {
            self.head().set(next);
            return;
        }
        // SAFETY: not the head, so `prev` is right (rule 3) and an entry; `next` is null or an
        // entry (rule 4).
        unsafe {
            let prev = (*gone).prev.get();
            (*prev).next.set(next);
            if next.is_null() {
                self.tail().set(prev);
            } else {
                (*next).prev.set(prev);
            }
        }
    }
}

/// Entries on their way into a queue, one at least. Both ends are the holder's: where several are
/// pushed, each costs the stores to its link and to the one before.
#[derive(Clone, Copy)]
pub struct Batch {
    first: NonNull<Link>,
    last: NonNull<Link>,
}

impl Batch {
    /// The batch, or none, with `link` behind it.
    ///
    /// # Safety
    /// As `Fifo::push_back`: the list is this batch, then the one that it is appended to. What is
    /// appended, once, is the batch that was had last.
    #[inline(always)]
    pub unsafe fn with(batch: Option<Batch>, link: NonNull<Link>) -> Self {
        let Some(Batch { first, last }) = batch else {
            return Self { first: link, last: link };
        };
        // SAFETY: both are lent.
        unsafe {
            (*link.as_ptr()).prev.set(last.as_ptr());
            (*last.as_ptr()).next.set(link.as_ptr());
        }
        Self { first, last: link }
    }
}

impl Default for Fifo {
    fn default() -> Self {
        Self::new()
    }
}

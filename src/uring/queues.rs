//! The two queues that a ring shares with the kernel, as its memory has them: entries go in at the
//! one's tail, completions come out at the other's head. Makes no system call.
//!
//! ```text
//!                 head               tail      limit
//!  submissions     |  the kernel's    | ours     |      tail: ours alone, until `publish`
//!                  '- - taken next    '- pushed   '- where there is no room
//!
//!                 head               tail
//!  completions     |  to be taken     |                 head: ours alone, until the end of `drain`
//! ```
//!
//! What the kernel writes is looked at once a call of `io_uring_enter`, and not once an entry: it
//! takes entries in there alone, as no ring has a thread of the kernel's that polls for them
//! (SQPOLL). So a push is the entry's one line and a counter of ours.
//!
//! 1. `publish` comes before each call that submits, `taken` after each. Release: the kernel may
//!    read what the tail says is there.
//! 2. Indices wrap at 2^32; what they differ by is how many there are.
//! 3. An entry is written whole: what was in its place is an older one's.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::kernel::{Cqe, Sqe};

/// IORING_SQ_CQ_OVERFLOW, IORING_SQ_TASKRUN: completions that wait for an enter.
const WAITING: u32 = 1 << 1 | 1 << 2;

/// Where the words and the entries of a ring lie. How many entries there are is a power of two.
#[derive(Clone, Copy)]
pub struct Places {
    pub sq_head: NonNull<AtomicU32>,
    pub sq_tail: NonNull<AtomicU32>,
    pub sq_flags: NonNull<AtomicU32>,
    pub cq_head: NonNull<AtomicU32>,
    pub cq_tail: NonNull<AtomicU32>,
    pub sqes: NonNull<Sqe>,
    pub cqes: NonNull<Cqe>,
    pub sq_entries: u32,
    pub cq_entries: u32,
}

/// The view of who pushes and takes: one thread.
pub struct Queues {
    at: Places,
    sq_mask: u32,
    cq_mask: u32,
    /// Of the submissions.
    tail: Cell<u32>,
    limit: Cell<u32>,
    /// Of the completions.
    head: Cell<u32>,
}

impl Queues {
    /// # Safety
    /// It is as the fields say, as long as this lives; nobody but the kernel, and who has this,
    /// writes there, the kernel as it does for a ring without SQPOLL.
    pub unsafe fn new(at: Places) -> Self {
        // SAFETY: the caller's.
        let word = |at: NonNull<AtomicU32>| unsafe { at.as_ref() }.load(Relaxed);
        let this = Self {
            at,
            sq_mask: at.sq_entries - 1,
            cq_mask: at.cq_entries - 1,
            tail: Cell::new(word(at.sq_tail)),
            limit: Cell::new(0),
            head: Cell::new(word(at.cq_head)),
        };
        this.taken();
        this
    }

    /// Entries that may be pushed.
    #[inline(always)]
    pub fn space(&self) -> u32 {
        self.limit.get().wrapping_sub(self.tail.get())
    }

    /// Entries pushed, and not taken by the kernel.
    #[inline(always)]
    pub fn pending(&self) -> u32 {
        self.at.sq_entries - self.space()
    }

    /// False: there is no room, and nothing was done.
    ///
    /// # Safety
    /// All memory that the entry refers to stays valid until its last completion.
    #[inline(always)]
    pub unsafe fn try_push(&self, sqe: Sqe) -> bool {
        let tail = self.tail.get();
        if tail == self.limit.get() {
            return false;
        }
        // SAFETY: ours, as the kernel has not been told of it.
        unsafe { self.entry(tail).write(sqe) };
        self.tail.set(tail.wrapping_add(1));
        true
    }

    /// `try_push` would find room.
    #[inline(always)]
    pub fn has_room(&self) -> bool {
        self.tail.get() != self.limit.get()
    }

    /// As `try_push`, of an entry that is given word by word.
    ///
    /// # Safety
    /// As there, and there is room.
    #[inline(always)]
    pub unsafe fn push_words(&self, word: impl Fn(usize) -> u64) {
        let at = in_one(self.entry(self.tail.get())).cast::<u64>();
        for n in 0..8 {
            // SAFETY: as in `try_push`. Volatile: one by one, whatever the optimiser would rather.
            unsafe { at.add(n).write_volatile(word(n)) };
        }
        self.tail.set(self.tail.get().wrapping_add(1));
    }

    /// The entry with that index. While the kernel is not in `io_uring_enter` it is ours.
    #[inline(always)]
    pub fn entry(&self, index: u32) -> NonNull<Sqe> {
        // SAFETY: one of so many.
        unsafe { self.at.sqes.add((index & self.sq_mask) as usize) }
    }

    /// The index of the next entry that the kernel will take.
    pub fn first_pending(&self) -> u32 {
        self.limit.get().wrapping_sub(self.at.sq_entries)
    }

    /// The kernel may take what was pushed.
    #[inline(always)]
    pub fn publish(&self) {
        // SAFETY: promised to `new`.
        unsafe { self.at.sq_tail.as_ref() }.store(self.tail.get(), Release);
    }

    /// Sees what the kernel has taken.
    #[inline(always)]
    pub fn taken(&self) {
        // SAFETY: promised to `new`. Acquire: it has read the entries, which are ours again.
        let head = unsafe { self.at.sq_head.as_ref() }.load(Acquire);
        self.limit.set(head.wrapping_add(self.at.sq_entries));
    }

    /// Completions wait inside the kernel for an enter.
    #[inline(always)]
    pub fn needs_enter(&self) -> bool {
        // SAFETY: promised to `new`.
        unsafe { self.at.sq_flags.as_ref() }.load(Relaxed) & WAITING != 0
    }

    #[inline(always)]
    fn cq_tail(&self) -> u32 {
        // SAFETY: promised to `new`. Acquire: the kernel has written the completions.
        unsafe { self.at.cq_tail.as_ref() }.load(Acquire)
    }

    /// Completions that are there.
    #[inline(always)]
    pub fn visible(&self) -> u32 {
        self.cq_tail().wrapping_sub(self.head.get())
    }

    #[inline(always)]
    fn completion(&self, index: u32) -> Cqe {
        // SAFETY: one of so many; before the tail, so the kernel has written it, and leaves it.
        unsafe { self.at.cqes.add((index & self.cq_mask) as usize).read() }
    }

    /// The kernel may write over what was taken.
    #[inline(always)]
    fn give_back(&self, head: u32) {
        self.head.set(head);
        // SAFETY: promised to `new`. Release: it was read.
        unsafe { self.at.cq_head.as_ref() }.store(head, Release);
    }

    /// The oldest completion.
    pub fn take(&self) -> Option<Cqe> {
        let head = self.head.get();
        if self.visible() == 0 {
            return None;
        }
        let cqe = self.completion(head);
        self.give_back(head.wrapping_add(1));
        Some(cqe)
    }

    /// How many completions that index is behind the first that was not taken.
    pub fn behind(&self, index: u32) -> u32 {
        index.wrapping_sub(self.head.get())
    }

    /// The oldest `max` completions, or as many as there are: how many. `each` is told the index of
    /// each, and does not touch the queue: it may ask for what is `behind`, though a count of those
    /// that came before would be one more word to be kept for who hardly ever asks.
    #[inline(always)]
    pub fn drain(&self, max: usize, mut each: impl FnMut(u32, Cqe)) -> usize {
        let mut head = self.head.get();
        let count = self.visible().min(u32::try_from(max).unwrap_or(u32::MAX));
        let end = head.wrapping_add(count);
        while head != end {
            each(head, self.completion(head));
            head = head.wrapping_add(1);
        }
        self.give_back(end);
        count as usize
    }

    /// Shows the oldest completions that lie side by side, `max` at most, to `take`, which says how
    /// many of them, the oldest first, are taken: so many.
    #[inline(always)]
    pub fn take_run(&self, max: usize, take: impl FnOnce(&[Cqe]) -> usize) -> usize {
        let head = self.head.get();
        let first = head & self.cq_mask;
        let count = (self.visible() as usize).min(max).min((self.at.cq_entries - first) as usize);
        // SAFETY: as in `completion`.
        let run = unsafe {
            core::slice::from_raw_parts(self.at.cqes.add(first as usize).as_ptr(), count)
        };
        let taken = take(run);
        debug_assert!(taken <= count);
        self.give_back(head.wrapping_add(taken as u32));
        taken
    }
}

/// The address, in one register from here on, and what it is made of in none: who pushes has few.
#[inline(always)]
fn in_one(at: NonNull<Sqe>) -> NonNull<Sqe> {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    let at = {
        let mut at = at.as_ptr();
        // SAFETY: no instruction: the optimiser knows nothing of a pointer that comes from here,
        // nor that what it has read before is still so.
        unsafe {
            core::arch::asm!("/* {0} */", inout(reg) at, options(nostack, preserves_flags));
            NonNull::new_unchecked(at)
        }
    };
    at
}

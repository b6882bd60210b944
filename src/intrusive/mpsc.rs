//! What reaches an executor from other threads: an intrusive queue of many producers and one
//! consumer, and the handshake of the consumer's sleep, both in one atomic word. Touches only
//! links.
//!
//! ```text
//! head:  0                  the owner is awake, nothing is queued
//!        SLEEPING           it sleeps or is about to; who changes the word must wake it, on the
//!                           word itself or elsewhere, as `on_word` says
//!        NOTIFIED           it is asked to look around
//!        link               link -> older -> ... -> 0    newest first
//!        link | NOTIFIED
//!        CLOSED             takes no links
//!        CLOSED | NOTIFIED  a notification waits for `reopen`
//! ```
//!
//! Rules:
//!
//! 1. Every change of `head` is a read-modify-write. So each sees the one right before it, and a
//!    release by any of them reaches every later acquire: those in between continue its release
//!    sequence, whatever their ordering.
//! 2. A link's words are written by its pusher before the change that publishes it (release), and
//!    read by the owner after the change that takes it (acquire).
//! 3. The owner sleeps only after it changed 0 to SLEEPING: whatever came before that made the
//!    change fail. Whatever comes after sees SLEEPING, clears it, and by that owes the owner one
//!    wake-up. No fence is needed: it is one word, and rule 1 orders it.
//! 4. A notification always writes, also where NOTIFIED is set already: what its caller wrote
//!    before must be visible to the owner who takes it (rule 1).
//! 5. CLOSED is set and cleared by the owner alone. Nothing is queued under it.
//! 6. A foreign thread may use its owner's waker only while something keeps the owner alive: the
//!    caller of a public function vouches for it; a message of executors among themselves holds a
//!    pin from before its push until after the wake-up, and the owner, once closed, waits for the
//!    pins. (A push that found the word open before `close` has its pin seen; a later one is
//!    refused.) Who sleeps on the word itself is woken by its address alone, a name, for which
//!    nobody has to be alive.
//! 7. A queue may change owners while it is closed. Who is told to wake wakes the new one.

use super::link::Link;
use crate::atomic::{
    fence, AtomicBool, AtomicPtr, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
};
use crate::prefetch;
use core::ptr::{self, NonNull};

const SLEEPING: usize = 1;
/// The lower half of the word while the owner sleeps.
pub const ASLEEP: u32 = SLEEPING as u32;
const NOTIFIED: usize = 2;
const CLOSED: usize = 4;
const FLAGS: usize = SLEEPING | NOTIFIED | CLOSED;

fn flags(word: *mut Link) -> usize {
    word.addr() & FLAGS
}

fn pointer(word: *mut Link) -> *mut Link {
    word.map_addr(|a| a & !FLAGS)
}

fn flagged(link: *mut Link, flags: usize) -> *mut Link {
    link.map_addr(|a| a | flags)
}

/// What became of a push.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// Queued; the owner is awake, or somebody else wakes it.
    Queued,
    /// Queued; the owner sleeps, and the caller must wake it.
    MustWake,
    /// Refused; the link is the caller's still, and what the owner did before it closed is visible.
    Closed,
}

/// What [`MpscQueue::take`] found.
#[must_use]
pub struct Taken {
    pub notified: bool,
    pub entries: Reversal,
}

/// Entries taken out of a queue, being turned round: they come newest first, and are given oldest
/// first. In steps, as each is a line from another processor, and there may be any number.
#[must_use]
pub struct Reversal {
    done: *mut Link,
    rest: *mut Link,
}

/// Entries taken out of a queue, oldest first. Of one pusher's entries, in the order of its pushes.
#[must_use]
pub struct Chain {
    head: *mut Link,
}

/// Many push, one takes. In a cache line of what those need who wake the owner: the pushers' writes
/// would otherwise slow whatever the owner keeps next to it.
#[repr(C)]
pub struct MpscQueue {
    head: AtomicPtr<Link>,
    /// Foreign threads between the push of an internal message and the end of its wake-up. In the
    /// line of `head`: who touches one touches the other.
    pins: AtomicUsize,
    /// Where the owner sleeps, or slept last: on `head`, or elsewhere.
    on_word: AtomicBool,
}

/// Any thread.
impl MpscQueue {
    pub fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
            pins: AtomicUsize::new(0),
            on_word: AtomicBool::new(false),
        }
    }

    /// Fetches what a push writes, for who is about to push. Otherwise it would be fetched twice:
    /// to be read, then to be written.
    #[inline(always)]
    pub fn prefetch(&self) {
        prefetch::line_to_write(ptr::from_ref(self).addr());
    }

    /// Queues `link`; the owner gets it back together with `kind`. Lock-free.
    ///
    /// # Safety
    /// `link` is in no list. Unless the answer is [`Push::Closed`], it stays in place and belongs
    /// to the queue until the owner has it out of a [`Chain`]. Rule 6.
    pub unsafe fn push(&self, link: NonNull<Link>, kind: usize) -> Push {
        let new = link.as_ptr();
        // SAFETY: the link is the caller's until the compare-exchange below succeeds.
        let link = unsafe { link.as_ref() };
        link.prev.set(ptr::without_provenance_mut(kind));
        // Relaxed: only the bits are used here, what they point to is the owner's.
        let mut word = self.head.load(Relaxed);
        loop {
            if flags(word) & CLOSED != 0 {
                // What the owner did before it closed is visible: pairs with the release of
                // `close`.
                fence(Acquire);
                return Push::Closed; // Rule 5.
            }
            link.next.set(pointer(word));
            // Release: publishes the link's words and what the caller wrote before (rule 2), to the
            // acquire of `take` or `close`. Acquire: the waker, as the owner set it before `reopen`
            // (rule 7). The older links need none, they are the owner's.
            let next = flagged(new, flags(word) & NOTIFIED);
            match self.head.compare_exchange_weak(word, next, AcqRel, Relaxed) {
                Ok(_) if flags(word) & SLEEPING != 0 => return Push::MustWake, // Rule 3.
                Ok(_) => return Push::Queued,
                Err(now) => word = now,
            }
        }
    }

    /// Makes the owner look around, now or before it next sleeps. True: it sleeps, and the caller
    /// must wake it. Lock-free and async-signal-safe.
    #[must_use]
    pub fn notify(&self) -> bool {
        // Release: what the caller wrote before is visible to the owner that takes the notification
        // (rule 4), to the acquire of `take`. Acquire: the waker, as in `push`.
        let old = self.head.fetch_update(AcqRel, Relaxed, |word| {
            Some(word.map_addr(|a| (a | NOTIFIED) & !SLEEPING))
        });
        old.is_ok_and(|word| flags(word) & SLEEPING != 0) // Rule 3.
    }

    /// Ends the owner's sleep and leaves nothing to take: for a caller that tells it why by other
    /// memory. True: it sleeps, and the caller must wake it. False: it is awake, and was told
    /// nothing.
    #[must_use]
    pub fn rouse(&self) -> bool {
        // Release: what the caller wrote before, to the acquire of `end_sleep`. Acquire: the waker,
        // as in `push`, and where it sleeps.
        self.head.compare_exchange(asleep(), ptr::null_mut(), AcqRel, Relaxed).is_ok()
        // Rule 3.
    }

    /// Who must wake the owner: it sleeps on the word, whose `name` a futex has. (Where it has
    /// woken for another reason since, that may be its next sleep's; then it is woken once more.)
    pub fn is_on_word(&self) -> bool {
        // Relaxed: acquired by the change that says who must wake.
        self.on_word.load(Relaxed)
    }

    /// For the kernel, which reads the lower half of the word: `ASLEEP` while the owner sleeps.
    pub fn name(&self) -> usize {
        ptr::from_ref(&self.head).addr()
    }

    /// Holds the owner's destruction back (rule 6). A pin without a push is ordered by the caller,
    /// before the owner's look at the pins.
    pub fn pin(&self) {
        // Relaxed: the push that follows releases it, and the owner, who looks at the pins only
        // after it took what was pushed, acquires it there.
        self.pins.fetch_add(1, Relaxed);
    }

    /// As `pin`; false if the word is closed. The owner that a later look finds unchanged stays
    /// until `unpin`: its `close` either sees this pin, or was seen here (the fences order the
    /// one's write and look against the other's).
    pub fn pin_open(&self) -> bool {
        self.pin();
        fence(SeqCst);
        // Acquire: if it was reopened, what the new owner wrote before.
        flags(self.head.load(Acquire)) & CLOSED == 0
    }

    /// The caller touches neither queue nor waker from here on.
    pub fn unpin(&self) {
        // Release: what the caller did with the owner happens before the acquire in `pinned`, thus
        // before the owner is gone.
        self.pins.fetch_sub(1, Release);
    }

    /// A push would have to wake the owner.
    pub fn is_asleep(&self) -> bool {
        // Relaxed: as in `is_closed`.
        flags(self.head.load(Relaxed)) & SLEEPING != 0
    }

    pub fn is_closed(&self) -> bool {
        // Relaxed: a hint; a push decides for itself.
        flags(self.head.load(Relaxed)) & CLOSED != 0
    }
}

/// The owner alone. (From another thread these would break liveness, not memory.)
impl MpscQueue {
    /// Something to take. One plain load: the executor asks on every pass. Not while closed.
    #[inline(always)]
    pub fn has_any(&self) -> bool {
        // Relaxed: `take` acquires. 0 and SLEEPING are the words with nothing in them.
        self.head.load(Relaxed).addr() > SLEEPING
    }

    /// As `has_any`, of entries alone: a notification is none.
    pub fn has_entries(&self) -> bool {
        // Relaxed: as there.
        !pointer(self.head.load(Relaxed)).is_null()
    }

    /// Everything queued so far. Costs a locked instruction: ask `has_any` before.
    pub fn take(&self) -> Taken {
        // Acquire: pairs with every push and notification up to here (rules 1, 2, 4). No release:
        // the owner tells nobody anything by it.
        let word = self.head.swap(ptr::null_mut(), Acquire);
        debug_assert_eq!(flags(word) & (SLEEPING | CLOSED), 0);
        Taken { notified: flags(word) & NOTIFIED != 0, entries: Reversal::of(pointer(word)) }
    }

    /// Announces a sleep. False: there is something to take, stay awake. After true: sleep until
    /// the waker or anything else ends it, then `end_sleep`.
    #[must_use]
    pub fn try_sleep(&self) -> bool {
        self.announce_sleep(false)
    }

    /// As `try_sleep`, of a sleep on the word: until it is no longer `ASLEEP`.
    #[must_use]
    pub fn try_sleep_on_word(&self) -> bool {
        self.announce_sleep(true)
    }

    fn announce_sleep(&self, on_word: bool) -> bool {
        // Relaxed: released below. A waker of an earlier sleep that reads it only now ends this
        // one, for no reason: that sleep is over.
        self.on_word.store(on_word, Relaxed);
        // Release: where it sleeps, to who must wake it. Relaxed: what made it fail is acquired by
        // the `take` that follows; rule 3 needs only the one order of the changes of this word.
        self.head.compare_exchange(ptr::null_mut(), asleep(), Release, Relaxed).is_ok()
    }

    /// Awake again, for whatever reason. True: nobody asked for it.
    pub fn end_sleep(&self) -> bool {
        // Acquire: what who ended it by `rouse` wrote before. Nobody else sets it: where it is not
        // there it does not come. Relaxed: as in `try_sleep`.
        self.head.load(Acquire) == asleep()
            && self.head.compare_exchange(asleep(), ptr::null_mut(), Relaxed, Acquire).is_ok()
    }

    /// Refuses all further pushes, and gives what came before. A notification stays.
    pub fn close(&self) -> Chain {
        // Acquire: as in `take`. Release: for those who are refused. Relaxed: a failed attempt
        // reads nothing but the bits.
        let old = self.head.fetch_update(AcqRel, Relaxed, |word| {
            debug_assert_eq!(flags(word) & (SLEEPING | CLOSED), 0);
            Some(ptr::without_provenance_mut(CLOSED | flags(word)))
        });
        Reversal::of(pointer(old.unwrap_or(ptr::null_mut()))).finish()
    }

    /// Takes pushes again.
    pub fn reopen(&self) {
        // Release: what the owner wrote before, its waker, is visible to the thread that finds the
        // word open or asleep from here on (rule 7), to the acquire of `push` and `notify`. What
        // notifiers released stays released (rule 1).
        let _ = self.head.fetch_update(Release, Relaxed, |word| {
            debug_assert_eq!(pointer(word), ptr::null_mut());
            Some(word.map_addr(|a| a & !CLOSED))
        });
    }

    /// A foreign thread is still busy with this queue or its owner's waker (rule 6).
    pub fn pinned(&self) -> bool {
        // See `pin_open`.
        fence(SeqCst);
        // Acquire: pairs with the release of `unpin`.
        self.pins.load(Acquire) != 0
    }
}

fn asleep() -> *mut Link {
    ptr::without_provenance_mut(SLEEPING)
}

impl Default for MpscQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl Reversal {
    /// Of nothing.
    pub const NONE: Self = Self { done: ptr::null_mut(), rest: ptr::null_mut() };

    const fn of(newest: *mut Link) -> Self {
        Self { done: ptr::null_mut(), rest: newest }
    }

    /// Nothing is left to turn round, nor to give.
    pub fn is_empty(&self) -> bool {
        self.rest.is_null() && self.done.is_null()
    }

    /// Turns round `max` entries at most; all of them, once none is left. `meet` is called with
    /// each link and its `kind`, newest first, as soon as it is known: the time to fetch what
    /// surrounds it, while the next one's line is on its way. What it is called with is the
    /// owner's, but not out yet.
    #[inline(always)]
    pub fn step(&mut self, max: usize, meet: impl Fn(NonNull<Link>, usize)) -> Option<Chain> {
        for _ in 0..max {
            let Some(entry) = NonNull::new(self.rest) else { break };
            // SAFETY: taken out of the queue, so ours (rule 2), and in place until the caller of
            // `push` gets it back.
            let link = unsafe { entry.as_ref() };
            let older = link.next.replace(self.done);
            if !older.is_null() {
                // Its pusher wrote it on another processor, and we are about to write it too.
                prefetch::line_to_write(older.addr());
            }
            meet(entry, link.prev.get().addr());
            (self.done, self.rest) = (entry.as_ptr(), older);
        }
        if !self.rest.is_null() {
            return None;
        }
        Some(Chain { head: core::mem::replace(&mut self.done, ptr::null_mut()) })
    }

    /// All of it, however long it takes.
    pub fn finish(mut self) -> Chain {
        self.step(usize::MAX, |_, _| {}).unwrap_or(Chain::EMPTY)
    }
}

impl Chain {
    pub(crate) const EMPTY: Self = Self { head: ptr::null_mut() };

    pub fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    /// The oldest entry and the `kind` it was pushed with. The link is the caller's.
    #[inline]
    pub fn pop(&mut self) -> Option<(NonNull<Link>, usize)> {
        let first = NonNull::new(self.head)?;
        // SAFETY: as in `reversed`.
        let link = unsafe { first.as_ref() };
        self.head = link.next.get();
        Some((first, link.prev.get().addr()))
    }
}

impl Iterator for Chain {
    type Item = (NonNull<Link>, usize);
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.pop()
    }
}

//! `monad_async_channel`, and `monad_async_local_channel`: elements of one size, in the caller's
//! memory.
//!
//! 1. A receiver waits only while nothing is inside and no sender waits; a sender only while it is
//!    full. So an element is moved straight from one waiter to the other, or into and out of the
//!    ring.
//! 2. Elements are moved behind a side, by `relocate`, once for each move: they have one owner at
//!    a time. One that a sender was not relieved of stays with the sender.
//! 3. Closed: what is inside is still given; nobody waits.
//! 4. A shared channel with a capacity has two ends (`task::end`), behind a latch each. All of it
//!    is behind both, the senders' closed first. While nobody waits and it is open, who sends or
//!    receives closes the latch of its own end alone: so two threads do not take a line from each
//!    other for each element.
//! 5. Who would wait for another thread looks again for some microseconds first, if its executor
//!    has nothing else to run: that is less than a sleep and a wake-up. Where it was of no use, it
//!    is left out the next times. Where elements come without an end it looks later, as each look
//!    takes the line from who writes it.
//!    Where both threads are on one processor, to look would keep the other from running: there it
//!    yields once after a long turn, and sleeps otherwise (`task::turns`). It notes with whom it
//!    shares the processor before it sleeps, and touches nothing of the channel afterwards, which
//!    may be gone by then.
//! 6. One end alone also tells, behind its latch, that there is nothing to be had: then nobody
//!    waits, and the other end has not moved. The other's latch is left to the other thread.

use core::cell::Cell;
use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr;

use super::side::{close_latch, Side};
use super::spin::Spin;
use super::waiters::{Node, Waiters, Woken};
use crate::error::{Errno, Res};
use crate::executor::mailbox::Mailbox;
use crate::task::end::{self, End};
use crate::task::latch::Latch;
use crate::uring::kernel::Kernel;

/// Moves an element, and ends the one it was.
pub type Relocate = unsafe extern "C" fn(*mut c_void, *mut c_void, usize);

/// What senders write, what receivers write, and between them what is written seldom, are lines
/// apart from each other.
#[repr(C)]
pub struct Channel<S: Side> {
    /// The senders'; of a local channel, and of one without a capacity, everybody's.
    pub(super) side: S,
    pub(super) sending: End,
    pub(super) senders: Waiters,
    storage: Cell<*mut u8>,
    pub(super) capacity: Cell<usize>,
    pub(super) element_bytes: Cell<usize>,
    relocate: Cell<Option<Relocate>>,
    pub(super) receivers: Waiters,
    /// The receivers' (rule 4).
    pub(super) latch: Latch,
    /// Bits of [`is`].
    state: Cell<u8>,
    /// Of senders and of receivers (rule 5).
    pub(super) spins: [Spin; 2],
    _reserved: u8,
    pub(super) receiving: End,
}

/// What a hand-over from one who waits to another does not have to look at in a channel; none of
/// them, and it asks one question.
mod is {
    /// Nobody may send any more.
    pub const CLOSED: u8 = 1 << 0;
    /// There is a ring.
    pub const OF_ROOM: u8 = 1 << 1;
    /// `relocate` needs a call.
    pub const OF_CALLS: u8 = 1 << 2;
}

// As in channel.h.
const _: () = assert!(size_of::<Channel<super::Shared>>() == 192);
// As channel.hpp counts on: the two forms are alike except for `side`, their first word.
const _: () = {
    use super::{Local, Shared};
    assert!(offset_of!(Channel<Shared>, side) == 0 && offset_of!(Channel<Local>, side) == 0);
    assert!(offset_of!(Channel<Shared>, sending) == 8 && offset_of!(Channel<Local>, sending) == 8);
    assert!(size_of::<Channel<Local>>() == 192);
};

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    Send,
    Receive,
}
use Direction::{Receive, Send};

impl Direction {
    pub(super) fn other(self) -> Self {
        match self {
            Send => Receive,
            Receive => Send,
        }
    }
}

/// What became of an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    Done,
    Closed,
    WouldWait,
}

impl Attempt {
    pub(super) fn result(self) -> Res<()> {
        match self {
            Attempt::Done => Ok(()),
            Attempt::Closed => Err(EPIPE),
            Attempt::WouldWait => Err(Errno(libc::EAGAIN)),
        }
    }
}

pub const EPIPE: Errno = Errno(libc::EPIPE);

impl<S: Side> Channel<S> {
    /// Of a local one: the last of the receivers. Of the lines behind the first that is the one of
    /// which most is asked, wherever in a line a channel begins.
    pub(super) const FAR_AT: usize = match S::IS_LOCAL {
        true => offset_of!(Self, receivers) + size_of::<Waiters>() / 2,
        false => 0,
    };

    /// The memory was zeros. EINVAL: no room for so many.
    pub fn set_up(&self, storage: *mut u8, capacity: usize, element_bytes: usize) -> Res<()> {
        let bytes = capacity.checked_mul(element_bytes);
        if bytes.is_none_or(|n| n > isize::MAX as usize || (n != 0 && storage.is_null())) {
            return Err(Errno(libc::EINVAL));
        }
        self.storage.set(storage);
        // Of elements that are nothing as many may be inside as can be counted.
        self.capacity.set(capacity.min(isize::MAX as usize));
        self.element_bytes.set(element_bytes);
        self.set(is::OF_ROOM, capacity != 0);
        self.look_at_elements();
        Ok(())
    }

    pub fn element_bytes(&self) -> usize {
        self.element_bytes.get()
    }

    pub fn set_relocate(&self, relocate: Option<Relocate>) {
        self.relocate.set(relocate);
        self.look_at_elements();
    }

    fn look_at_elements(&self) {
        let is_a_word = self.element_bytes.get() == size_of::<usize>();
        self.set(is::OF_CALLS, !is_a_word || self.relocate.get().is_some());
    }

    fn set(&self, bit: u8, is_so: bool) {
        self.state.set(self.state.get() & !bit | if is_so { bit } else { 0 });
    }

    #[inline(always)]
    fn has(&self, bit: u8) -> bool {
        self.state.get() & bit != 0
    }

    /// It is open, without a ring, and of words.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        self.state.get() == 0
    }

    #[inline(always)]
    pub(super) fn is_closed(&self) -> bool {
        self.has(is::CLOSED)
    }

    /// Elements are moved without a call.
    #[inline(always)]
    pub(super) fn is_of_words(&self) -> bool {
        !self.has(is::OF_CALLS)
    }

    /// # Safety
    /// `from` is an element, `to` memory for one, by the caller's word for what it gave us.
    #[inline(always)]
    pub(super) unsafe fn relocate(&self, to: *mut u8, from: *mut u8) {
        let bytes = self.element_bytes.get();
        if self.is_of_words() {
            // SAFETY: the caller's; two different places.
            return unsafe { ptr::copy_nonoverlapping(from, to, size_of::<usize>()) };
        }
        match self.relocate.get() {
            // SAFETY: as above.
            None => unsafe { ptr::copy_nonoverlapping(from, to, bytes) },
            // SAFETY: the caller's.
            Some(relocate) => unsafe { relocate(to.cast(), from.cast(), bytes) },
        }
    }

    /// Rule 4.
    #[inline(always)]
    pub(super) fn has_two_ends(&self) -> bool {
        // Not by `state`, which who closes writes meanwhile.
        !S::IS_LOCAL && self.capacity.get() != 0
    }

    /// All of it is the caller's. `here`, EPERM: as `Side::close`.
    #[inline(always)]
    pub fn close_all(&self, here: Option<&'static Mailbox>) -> Res<()> {
        self.side.close(here)?;
        if self.has_two_ends() {
            close_latch(&self.latch).inspect_err(|_| self.side.open())?;
        }
        Ok(())
    }

    #[inline(always)]
    pub fn open_all(&self) {
        if self.has_two_ends() {
            let nobody_waits = self.senders.is_empty() && self.receivers.is_empty();
            let alone = nobody_waits && !self.is_closed();
            self.sending.set_alone(alone);
            self.receiving.set_alone(alone);
            self.latch.open();
        }
        self.side.open();
    }

    #[inline(always)]
    pub(super) fn end(&self, direction: Direction) -> &End {
        match direction {
            Send => &self.sending,
            Receive => &self.receiving,
        }
    }

    /// The place that is next at an end.
    #[inline(always)]
    pub(super) fn place(&self, end: &End) -> *mut u8 {
        let slot = end.slot(self.capacity.get());
        // SAFETY: within the storage.
        unsafe { self.storage.get().add(slot * self.element_bytes.get()) }
    }

    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        let capacity = self.capacity.get();
        capacity != 0 && self.sending.has_room(&self.receiving, capacity)
    }

    #[inline(always)]
    pub(super) fn has_some(&self) -> bool {
        self.receiving.has_some(&self.sending)
    }

    /// Behind the senders' latch, with room.
    ///
    /// # Safety
    /// `element` is one.
    #[inline(always)]
    pub(super) unsafe fn put(&self, element: *mut u8) {
        // SAFETY: the caller's; a free place, rule 2.
        unsafe { self.relocate(self.place(&self.sending), element) };
        self.sending.advance(self.capacity.get());
    }

    /// Behind the receivers' latch, with something inside.
    ///
    /// # Safety
    /// `element` is memory for one.
    #[inline(always)]
    pub(super) unsafe fn take(&self, element: *mut u8) {
        // SAFETY: the caller's; the oldest element, rule 2.
        unsafe { self.relocate(element, self.place(&self.receiving)) };
        self.receiving.advance(self.capacity.get());
    }

    /// Behind all sides.
    ///
    /// # Safety
    /// `element` is an element to be sent, or memory for one.
    #[inline(always)]
    pub unsafe fn attempt(
        &self,
        direction: Direction,
        element: *mut u8,
        woken: &mut Woken,
    ) -> Attempt {
        // SAFETY: the caller's.
        unsafe {
            match direction {
                Send => self.send_now(element, woken),
                Receive => self.receive_now(element, woken),
            }
        }
    }

    /// # Safety
    /// As `attempt`.
    #[inline(always)]
    unsafe fn send_now(&self, element: *mut u8, woken: &mut Woken) -> Attempt {
        if self.is_closed() {
            return Attempt::Closed;
        }
        if let Some(receiver) = self.receivers.claim() {
            // SAFETY: the caller's; a place that waits for an element, rule 2.
            unsafe { self.relocate(receiver.data.get() as *mut u8, element) };
            woken.add(receiver.wait());
            return Attempt::Done;
        }
        if !self.has_room() {
            return Attempt::WouldWait;
        }
        // SAFETY: the caller's.
        unsafe { self.put(element) };
        Attempt::Done
    }

    /// # Safety
    /// As `attempt`.
    #[inline(always)]
    unsafe fn receive_now(&self, element: *mut u8, woken: &mut Woken) -> Attempt {
        if !self.has_some() {
            let Some(sender) = self.senders.claim() else {
                return if self.is_closed() { Attempt::Closed } else { Attempt::WouldWait };
            };
            // SAFETY: the caller's; the element of a sender that waits.
            unsafe { self.relocate(element, sender.data.get() as *mut u8) };
            woken.add(sender.wait());
            return Attempt::Done;
        }
        // SAFETY: the caller's.
        unsafe { self.take(element) };
        if let Some(sender) = self.senders.claim() {
            // There is; but the end is to know it.
            let has_room = self.has_room();
            debug_assert!(has_room);
            // SAFETY: the element of a sender that waits; the place is free since now.
            unsafe { self.put(sender.data.get() as *mut u8) };
            woken.add(sender.wait());
        }
        Attempt::Done
    }

    /// # Safety
    /// Behind all sides; `node` stays until it was taken out.
    #[inline(always)]
    pub unsafe fn enqueue(&self, direction: Direction, node: &Node) {
        // SAFETY: the caller's.
        unsafe { self.waiters(direction).push(node) };
    }

    /// Behind all sides. Takes a node out, if it is still in there.
    pub fn dequeue(&self, direction: Direction, node: &Node) {
        self.waiters(direction).remove(node);
    }

    #[inline(always)]
    pub(super) fn waiters(&self, direction: Direction) -> &Waiters {
        match direction {
            Send => &self.senders,
            Receive => &self.receivers,
        }
    }

    /// Whether it was open.
    pub fn close<K: Kernel>(&self, here: Option<&'static Mailbox>) -> Res<bool> {
        let mut woken = Woken::none();
        self.close_all(here)?;
        let was_open = !self.is_closed();
        self.set(is::CLOSED, true);
        for waiters in [&self.receivers, &self.senders] {
            while let Some(node) = waiters.claim() {
                node.refuse(EPIPE);
                woken.add(node.wait());
            }
        }
        self.open_all();
        woken.wake::<K>();
        Ok(was_open)
    }

    /// How many elements are inside.
    pub fn count(&self, here: Option<&'static Mailbox>) -> Res<usize> {
        self.close_all(here)?;
        let count = end::count(&self.sending, &self.receiving, self.capacity.get());
        self.open_all();
        Ok(count)
    }
}

//! `monad_async_channel`, and `monad_async_local_channel`: elements of one size, in the caller's
//! memory.
//!
//! 1. A receiver waits only while nothing is inside and no sender waits; a sender only while it is
//!    full. So an element is moved straight from one waiter to the other, or into and out of the
//!    ring.
//! 2. Elements are moved under the side, by `relocate`, once for each move: they have one owner at
//!    a time. One that a sender was not relieved of stays with the sender.
//! 3. Closed: what is inside is still given; nobody waits.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;

use super::side::Side;
use super::waiters::{Node, Waiters, Woken};
use crate::error::{Errno, Res};
use crate::executor::grant::Caller;
use crate::executor::mailbox::Mailbox;
use crate::uring::kernel::Kernel;

/// Moves an element, and ends the one it was.
pub type Relocate = unsafe extern "C" fn(*mut c_void, *mut c_void, usize);

#[repr(C)]
pub struct Channel<S: Side> {
    pub(super) side: S,
    storage: Cell<*mut u8>,
    capacity: Cell<usize>,
    element_bytes: Cell<usize>,
    /// Of the oldest element.
    first: Cell<usize>,
    count: Cell<usize>,
    relocate: Cell<Option<Relocate>>,
    is_closed: Cell<bool>,
    senders: Waiters,
    receivers: Waiters,
    _reserved: [u64; 4],
}

// As in channel.h.
const _: () = assert!(size_of::<Channel<super::Shared>>() == 192);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Send,
    Receive,
}
use Direction::{Receive, Send};

/// What became of an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    Done,
    Closed,
    WouldWait,
}

impl Attempt {
    fn result(self) -> Res<()> {
        match self {
            Attempt::Done => Ok(()),
            Attempt::Closed => Err(EPIPE),
            Attempt::WouldWait => Err(Errno(libc::EAGAIN)),
        }
    }
}

pub const EPIPE: Errno = Errno(libc::EPIPE);

impl<S: Side> Channel<S> {
    /// The memory was zeros. EINVAL: no room for so many.
    pub fn set_up(&self, storage: *mut u8, capacity: usize, element_bytes: usize) -> Res<()> {
        let bytes = capacity.checked_mul(element_bytes);
        if bytes.is_none_or(|n| n > isize::MAX as usize || (n != 0 && storage.is_null())) {
            return Err(Errno(libc::EINVAL));
        }
        self.storage.set(storage);
        self.capacity.set(capacity);
        self.element_bytes.set(element_bytes);
        Ok(())
    }

    pub fn element_bytes(&self) -> usize {
        self.element_bytes.get()
    }

    pub fn set_relocate(&self, relocate: Option<Relocate>) {
        self.relocate.set(relocate);
    }

    /// # Safety
    /// `from` is an element, `to` memory for one, by the caller's word for what it gave us.
    unsafe fn relocate(&self, to: *mut u8, from: *mut u8) {
        let bytes = self.element_bytes.get();
        match self.relocate.get() {
            // SAFETY: the caller's; two different places.
            None => unsafe { ptr::copy_nonoverlapping(from, to, bytes) },
            // SAFETY: the caller's.
            Some(relocate) => unsafe { relocate(to.cast(), from.cast(), bytes) },
        }
    }

    /// The place of the `n`th element from the oldest; `n` is at most the capacity.
    fn place(&self, n: usize) -> *mut u8 {
        let (first, capacity) = (self.first.get(), self.capacity.get());
        // Without overflow, and without a division.
        let at = if n < capacity - first { first + n } else { n - (capacity - first) };
        // SAFETY: within the storage.
        unsafe { self.storage.get().add(at * self.element_bytes.get()) }
    }

    /// Under the side.
    ///
    /// # Safety
    /// `element` is an element to be sent, or memory for one.
    #[inline]
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
    unsafe fn send_now(&self, element: *mut u8, woken: &mut Woken) -> Attempt {
        if self.is_closed.get() {
            return Attempt::Closed;
        }
        let receiver = self.receivers.claim();
        let to = match receiver {
            Some(node) => node.data.get() as *mut u8,
            None if self.count.get() < self.capacity.get() => {
                let place = self.place(self.count.get());
                self.count.set(self.count.get() + 1);
                place
            }
            None => return Attempt::WouldWait,
        };
        // SAFETY: the caller's; a place that waits for an element, rule 2.
        unsafe { self.relocate(to, element) };
        if let Some(node) = receiver {
            woken.add(node.wait());
        }
        Attempt::Done
    }

    /// # Safety
    /// As `attempt`.
    unsafe fn receive_now(&self, element: *mut u8, woken: &mut Woken) -> Attempt {
        if self.count.get() == 0 {
            let Some(sender) = self.senders.claim() else {
                return if self.is_closed.get() { Attempt::Closed } else { Attempt::WouldWait };
            };
            // SAFETY: the caller's; the element of a sender that waits.
            unsafe { self.relocate(element, sender.data.get() as *mut u8) };
            woken.add(sender.wait());
            return Attempt::Done;
        }
        // SAFETY: the caller's; the oldest element.
        unsafe { self.relocate(element, self.place(0)) };
        let next = self.first.get() + 1;
        self.first.set(if next == self.capacity.get() { 0 } else { next });
        self.count.set(self.count.get() - 1);
        if let Some(sender) = self.senders.claim() {
            // SAFETY: the element of a sender that waits; the place behind the youngest, free since
            // now.
            unsafe { self.relocate(self.place(self.count.get()), sender.data.get() as *mut u8) };
            self.count.set(self.count.get() + 1);
            woken.add(sender.wait());
        }
        Attempt::Done
    }

    /// # Safety
    /// Under the side; `node` stays until it was taken out.
    pub unsafe fn enqueue(&self, direction: Direction, node: &Node) {
        // SAFETY: the caller's.
        unsafe { self.waiters(direction).push(node) };
    }

    /// Under the side. Takes a node out, if it is still in there.
    pub fn dequeue(&self, direction: Direction, node: &Node) {
        self.waiters(direction).remove(node);
    }

    fn waiters(&self, direction: Direction) -> &Waiters {
        match direction {
            Send => &self.senders,
            Receive => &self.receivers,
        }
    }

    /// SUSPENDS. EPIPE: closed.
    ///
    /// # Safety
    /// As `attempt`.
    pub unsafe fn transfer<K: Kernel>(
        &self,
        caller: &Caller<'_, K>,
        direction: Direction,
        element: *mut u8,
        until_ns: u64,
    ) -> Res<()> {
        caller.start()?;
        self.side.close(caller.mailbox())?;
        let mut woken = Woken::none();
        // SAFETY: the caller's.
        let attempt = unsafe { self.attempt(direction, element, &mut woken) };
        if attempt != Attempt::WouldWait {
            self.side.open();
            woken.wake::<K>();
            return attempt.result();
        }
        // SAFETY: the caller's.
        unsafe { self.transfer_slowly(caller, direction, element, until_ns) }
    }

    /// # Safety
    /// As `attempt`; the side is closed.
    #[inline(never)]
    unsafe fn transfer_slowly<K: Kernel>(
        &self,
        caller: &Caller<'_, K>,
        direction: Direction,
        element: *mut u8,
        until_ns: u64,
    ) -> Res<()> {
        let wait = caller.wait(S::IS_LOCAL);
        let node = Node::new(&wait, 0, element as usize);
        // SAFETY: taken out before this returns: by who claims it, or below.
        unsafe { self.enqueue(direction, &node) };
        self.side.open();
        let granted = caller.until_granted(&wait, until_ns);
        if granted.is_err() {
            self.side.close(caller.mailbox())?;
            self.dequeue(direction, &node);
            self.side.open();
        }
        granted.and_then(|()| if node.is_refused.get() { Err(EPIPE) } else { Ok(()) })
    }

    /// EAGAIN: it would have to wait.
    ///
    /// # Safety
    /// As `attempt`.
    pub unsafe fn try_transfer<K: Kernel>(
        &self,
        here: Option<&'static Mailbox>,
        direction: Direction,
        element: *mut u8,
    ) -> Res<()> {
        self.side.close(here)?;
        let mut woken = Woken::none();
        // SAFETY: the caller's.
        let attempt = unsafe { self.attempt(direction, element, &mut woken) };
        self.side.open();
        woken.wake::<K>();
        attempt.result()
    }

    /// Whether it was open.
    pub fn close<K: Kernel>(&self, here: Option<&'static Mailbox>) -> Res<bool> {
        let mut woken = Woken::none();
        self.side.close(here)?;
        let was_open = !self.is_closed.replace(true);
        for waiters in [&self.receivers, &self.senders] {
            while let Some(node) = waiters.claim() {
                node.is_refused.set(true);
                woken.add(node.wait());
            }
        }
        self.side.open();
        woken.wake::<K>();
        Ok(was_open)
    }

    /// How many elements are inside.
    pub fn count(&self, here: Option<&'static Mailbox>) -> Res<usize> {
        self.side.close(here)?;
        let count = self.count.get();
        self.side.open();
        Ok(count)
    }
}

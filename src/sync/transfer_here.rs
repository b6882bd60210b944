//! Sending to a channel with one side and receiving from it, by a task that nothing is in the way
//! of: a local one, or one without a capacity.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use super::channel::Direction::{self, Receive, Send};
use super::channel::{Channel, EPIPE};
use super::side::Side;
use super::waiters::{back_from_bare, First, ENDED_AT};
use crate::error::RawResult;
use crate::executor::bare::Bare;
use crate::executor::free::Free;
use crate::executor::Executor;
use crate::stack::switch::Over;
use crate::task::header::TaskRef;
use crate::uring::kernel::Kernel;

impl<S: Side> Channel<S> {
    /// As `transfer`, of one whose side is closed, by a task in a hurry: without a frame. What
    /// needs a call ends in it.
    ///
    /// # Safety
    /// As `attempt`.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) unsafe fn transfer_here<K: Kernel>(
        &self,
        free: Free<'_, K>,
        direction: Direction,
        element: *mut u8,
    ) -> RawResult {
        // SAFETY: the caller's.
        unsafe {
            if self.is_plain() {
                return self.meet::<K, true>(free, direction, element);
            }
            let (task, ex) = free.parts();
            match direction {
                Send => Self::send_otherwise(task, self, element, ex),
                Receive => Self::receive_otherwise(task, self, element, ex),
            }
        }
    }

    /// As `transfer_here`, to any channel.
    ///
    /// # Safety
    /// As `transfer_here`.
    #[inline(never)]
    unsafe extern "C" fn send_otherwise<K: Kernel>(
        task: TaskRef,
        this: &Self,
        element: *mut u8,
        ex: &Executor<K>,
    ) -> RawResult {
        if this.is_closed() {
            this.side.open();
            return RawResult::failure_by_call(EPIPE);
        }
        // SAFETY: the caller's.
        unsafe {
            if S::IS_LOCAL && this.receivers.is_empty() && this.has_room() {
                return this.move_inside(Send, element);
            }
            this.meet::<K, false>(Free::new(ex, task), Send, element)
        }
    }

    /// # Safety
    /// As `send_otherwise`.
    #[inline(never)]
    unsafe extern "C" fn receive_otherwise<K: Kernel>(
        task: TaskRef,
        this: &Self,
        element: *mut u8,
        ex: &Executor<K>,
    ) -> RawResult {
        // SAFETY: the caller's.
        unsafe {
            if S::IS_LOCAL && this.capacity.get() != 0 && this.has_some() {
                if !this.senders.is_empty() {
                    return Self::transfer_to_other(task, this, element, ex, Receive);
                }
                return this.move_inside(Receive, element);
            }
            match this.is_closed() {
                false => this.meet::<K, false>(Free::new(ex, task), Receive, element),
                true => {
                    this.side.open(); // Nobody waits: rule 3.
                    RawResult::failure_by_call(EPIPE)
                }
            }
        }
    }

    /// With who waits at the other end, or waits. `PLAIN`: the channel is.
    ///
    /// # Safety
    /// As `transfer_here`; it is open, and the ring of no use now.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn meet<K: Kernel, const PLAIN: bool>(
        &self,
        free: Free<'_, K>,
        direction: Direction,
        element: *mut u8,
    ) -> RawResult {
        let is_sent = direction == Send;
        let (task, ex) = free.parts();
        let other = if is_sent { &self.receivers } else { &self.senders };
        let first = if PLAIN || S::IS_LOCAL || self.is_of_words() {
            other.claim_here((!S::IS_LOCAL).then_some(free.home()), |_| true)
        } else if other.is_empty() {
            First::Nobody
        } else {
            First::Other // Nobody is woken behind the latch.
        };
        match first {
            First::Here(node, other) => {
                let at = node.data.get() as *mut u8;
                let (to, from) = if is_sent { (at, element) } else { (element, at) };
                // SAFETY: the caller's; the other's waits for an element, or is one (rule 2).
                unsafe {
                    if PLAIN {
                        ptr::copy_nonoverlapping(from, to, size_of::<usize>());
                    } else if S::IS_LOCAL && !self.is_of_words() {
                        return self.relocate_and_wake(to, from, ex, other);
                    } else {
                        self.relocate(to, from);
                    }
                }
                self.side.open();
                free.wake_last(other)
            }
            // SAFETY: the caller's.
            First::Other => unsafe { Self::transfer_to_other(task, self, element, ex, direction) },
            First::Nobody => {
                if let Some(bare) = free.bare::<false>() {
                    return self.wait_bare(bare, direction, element);
                }
                // SAFETY: the caller's.
                unsafe {
                    if is_sent {
                        Self::wait_to_send_stamped(task, self, element, ex)
                    } else {
                        Self::wait_to_receive_stamped(task, self, element, ex)
                    }
                }
            }
        }
    }

    /// Of a local one: into the ring, which has room, or out of it, which has something.
    ///
    /// # Safety
    /// As `attempt`.
    #[inline(always)]
    unsafe fn move_inside(&self, direction: Direction, element: *mut u8) -> RawResult {
        // SAFETY: the caller's.
        unsafe {
            match (direction, self.is_of_words()) {
                (Send, true) => self.put(element),
                (Receive, true) => self.take(element),
                _ => return self.relocate_inside(direction, element),
            }
        }
        RawResult::success_by_call()
    }

    /// # Safety
    /// As `move_inside`.
    #[inline(never)]
    unsafe extern "C" fn relocate_inside(
        &self,
        direction: Direction,
        element: *mut u8,
    ) -> RawResult {
        // SAFETY: the caller's.
        unsafe {
            match direction {
                Send => self.put(element),
                Receive => self.take(element),
            }
        }
        RawResult::success_by_call()
    }

    /// Of a local one.
    ///
    /// # Safety
    /// As `relocate`.
    #[inline(never)]
    unsafe extern "C" fn relocate_and_wake<K: Kernel>(
        &self,
        to: *mut u8,
        from: *mut u8,
        ex: &Executor<K>,
        task: TaskRef,
    ) -> RawResult {
        // First, as `relocate` may cancel the task, which must not find it waiting. It does not run
        // before this one suspends.
        ex.granted(task);
        // SAFETY: the caller's.
        unsafe { self.relocate(to, from) };
        RawResult::success_by_call()
    }

    /// As `wait_to_send`, with time tracking.
    ///
    /// # Safety
    /// As `attempt`.
    #[inline(never)]
    unsafe extern "C" fn wait_to_send_stamped<K: Kernel>(
        task: TaskRef,
        this: &Self,
        element: *mut u8,
        ex: &Executor<K>,
    ) -> RawResult {
        let free = Free::new(ex, task);
        match free.bare::<true>() {
            Some(bare) => this.wait_bare(bare, Send, element),
            // SAFETY: the caller's.
            None => unsafe { this.wait_to_send(free, element) },
        }
    }

    /// # Safety
    /// As `wait_to_send_stamped`.
    #[inline(never)]
    unsafe extern "C" fn wait_to_receive_stamped<K: Kernel>(
        task: TaskRef,
        this: &Self,
        element: *mut u8,
        ex: &Executor<K>,
    ) -> RawResult {
        let free = Free::new(ex, task);
        match free.bare::<true>() {
            Some(bare) => this.wait_bare(bare, Receive, element),
            // SAFETY: the caller's.
            None => unsafe { this.wait_to_receive(free, element) },
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn wait_bare<K: Kernel, const TRACK: bool>(
        &self,
        bare: Bare<'_, K, TRACK>,
        direction: Direction,
        element: *mut u8,
    ) -> RawResult {
        let (noted, at) = ((0, Some(element as usize)), ptr::from_ref(self).cast());
        let (local, open) = (S::IS_LOCAL, || self.side.open());
        let (senders, receivers) = (&self.senders, &self.receivers);
        match direction {
            Send => senders.wait_bare::<K, Sends<K, S>, TRACK>(local, bare, noted, at, open),
            Receive => {
                receivers.wait_bare::<K, Receives<K, S>, TRACK>(local, bare, noted, at, open)
            }
        }
    }
}

/// Who comes back from a wait at a channel without having sent or received.
struct Sends<K, S>(PhantomData<(K, S)>);
struct Receives<K, S>(PhantomData<(K, S)>);

impl<K: Kernel, S: Side> Over for Sends<K, S> {
    const SWITCH_AT: usize = TaskRef::SWITCH_AT;
    const OUTCOME_AT: usize = ENDED_AT;
    const OBJECT_AT: usize = TaskRef::OBJECT_AT;
    const FAR_AT: usize = Channel::<S>::FAR_AT;

    #[cold]
    extern "C" fn over(task: NonNull<u8>, channel: *const u8) -> RawResult {
        // SAFETY: called where such a wait ends.
        unsafe { not_transferred::<K, S>(task, channel, Send) }
    }
}

impl<K: Kernel, S: Side> Over for Receives<K, S> {
    const SWITCH_AT: usize = TaskRef::SWITCH_AT;
    const OUTCOME_AT: usize = ENDED_AT;
    const OBJECT_AT: usize = TaskRef::OBJECT_AT;
    const FAR_AT: usize = Channel::<S>::FAR_AT;

    #[cold]
    extern "C" fn over(task: NonNull<u8>, channel: *const u8) -> RawResult {
        // SAFETY: called where such a wait ends.
        unsafe { not_transferred::<K, S>(task, channel, Receive) }
    }
}

/// # Safety
/// Of a task that is back from `Waiters::wait_bare`, at this channel.
unsafe fn not_transferred<K: Kernel, S: Side>(
    task: NonNull<u8>,
    channel: *const u8,
    direction: Direction,
) -> RawResult {
    // SAFETY: the caller's.
    let (caller, node, e) = unsafe { back_from_bare::<K>(task) };
    // Then the channel may be gone.
    if node.is_refused() {
        return RawResult::failure(EPIPE);
    }
    // SAFETY: the channel is the waiter's to keep.
    unsafe { (*channel.cast::<Channel<S>>()).withdraw(caller, direction, node, e) }
}

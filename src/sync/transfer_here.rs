//! Sending to a local channel and receiving from it, by a task that nothing is in the way of.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use super::channel::Direction::{self, Receive, Send};
use super::channel::{Channel, EPIPE};
use super::side::Side;
use super::waiters::{back_from_bare, First};
use crate::error::RawResult;
use crate::executor::bare::Bare;
use crate::executor::free::Free;
use crate::executor::scope::NEVER_NS;
use crate::stack::switch::{Over, Switch};
use crate::task::header::TaskRef;
use crate::uring::kernel::Kernel;

impl<S: Side> Channel<S> {
    /// As `transfer`, of a local one that is closed, by a task in a hurry: without a frame. What
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
        let is_sent = direction == Send;
        if is_sent && self.is_closed.get() {
            return RawResult::failure_by_call(EPIPE);
        }
        if !is_sent && self.has_some() {
            // SAFETY: the caller's.
            return unsafe {
                if !self.senders.is_empty() {
                    return self.transfer_otherwise(free.caller(), direction, element, NEVER_NS);
                }
                self.move_inside(direction, element)
            };
        }
        let other = if is_sent { &self.receivers } else { &self.senders };
        match other.claim_here(|_| true) {
            First::Here(node, task) => {
                let at = node.data.get() as *mut u8;
                let (to, from) = if is_sent { (at, element) } else { (element, at) };
                // SAFETY: the caller's; the other's waits for an element, or is one (rule 2).
                unsafe {
                    if !self.is_of_words() {
                        return self.relocate_and_wake(to, from, free, task);
                    }
                    self.relocate(to, from);
                }
                free.wake_last(task)
            }
            // SAFETY: the caller's.
            First::Other => unsafe {
                self.transfer_otherwise(free.caller(), direction, element, NEVER_NS)
            },
            // SAFETY: the caller's.
            First::Nobody if is_sent && self.has_room() => unsafe {
                self.move_inside(direction, element)
            },
            First::Nobody if !is_sent && self.is_closed.get() => RawResult::failure_by_call(EPIPE),
            First::Nobody => {
                if let Some(bare) = free.bare::<false>() {
                    return self.wait_bare(bare, direction, element);
                }
                // SAFETY: the caller's.
                unsafe {
                    if is_sent {
                        self.wait_to_send_stamped(free, element)
                    } else {
                        self.wait_to_receive_stamped(free, element)
                    }
                }
            }
        }
    }

    /// Into the ring, which has room, or out of it, which has something.
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

    /// # Safety
    /// As `relocate`.
    #[inline(never)]
    unsafe extern "C" fn relocate_and_wake<K: Kernel>(
        &self,
        to: *mut u8,
        from: *mut u8,
        free: Free<'_, K>,
        task: TaskRef,
    ) -> RawResult {
        // First, as `relocate` may cancel the task, which must not find it waiting. It does not run
        // before this one suspends.
        free.wake(task);
        // SAFETY: the caller's.
        unsafe { self.relocate(to, from) };
        RawResult::success_by_call()
    }

    /// As `wait_to_send`, of a local one, with time tracking.
    ///
    /// # Safety
    /// As `attempt`.
    #[inline(never)]
    unsafe extern "C" fn wait_to_send_stamped<K: Kernel>(
        &self,
        free: Free<'_, K>,
        element: *mut u8,
    ) -> RawResult {
        match free.bare::<true>() {
            Some(bare) => self.wait_bare(bare, Send, element),
            // SAFETY: the caller's.
            None => unsafe { self.wait_to_send(free, element) },
        }
    }

    /// # Safety
    /// As `wait_to_send_stamped`.
    #[inline(never)]
    unsafe extern "C" fn wait_to_receive_stamped<K: Kernel>(
        &self,
        free: Free<'_, K>,
        element: *mut u8,
    ) -> RawResult {
        match free.bare::<true>() {
            Some(bare) => self.wait_bare(bare, Receive, element),
            // SAFETY: the caller's.
            None => unsafe { self.wait_to_receive(free, element) },
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn wait_bare<K: Kernel, const TRACK: bool>(
        &self,
        bare: Bare<'_, K, TRACK>,
        direction: Direction,
        element: *mut u8,
    ) -> RawResult {
        let (noted, at) = ((0, element as usize), ptr::from_ref(self).cast());
        match direction {
            Send => self.senders.wait_bare::<K, Sends<K>, TRACK>(bare, noted, at),
            Receive => self.receivers.wait_bare::<K, Receives<K>, TRACK>(bare, noted, at),
        }
    }
}

/// Who comes back from a wait at a local channel without having sent or received.
struct Sends<K>(PhantomData<K>);
struct Receives<K>(PhantomData<K>);

impl<K: Kernel> Over for Sends<K> {
    const OUTCOME_BELOW: usize = TaskRef::OUTCOME_BELOW;

    #[cold]
    extern "C" fn over(switch: NonNull<Switch>, channel: *const u8) -> RawResult {
        // SAFETY: called where such a wait ends.
        unsafe { not_transferred::<K>(switch, channel, Send) }
    }
}

impl<K: Kernel> Over for Receives<K> {
    const OUTCOME_BELOW: usize = TaskRef::OUTCOME_BELOW;

    #[cold]
    extern "C" fn over(switch: NonNull<Switch>, channel: *const u8) -> RawResult {
        // SAFETY: called where such a wait ends.
        unsafe { not_transferred::<K>(switch, channel, Receive) }
    }
}

/// # Safety
/// `switch` is that of a task that is back from `Waiters::wait_bare`, at this local channel.
unsafe fn not_transferred<K: Kernel>(
    switch: NonNull<Switch>,
    channel: *const u8,
    direction: Direction,
) -> RawResult {
    // SAFETY: the caller's.
    let (caller, node, e) = unsafe { back_from_bare::<K>(switch) };
    // Then the channel may be gone.
    if node.is_refused() {
        return RawResult::failure(EPIPE);
    }
    // SAFETY: the channel is the waiter's to keep.
    unsafe { (*channel.cast::<Channel<super::Local>>()).withdraw(caller, direction, node, e) }
}

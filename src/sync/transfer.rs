//! Sending to a channel and receiving from it: by the latch of one end, by all sides, or after a
//! wait. The rules are those of `channel`.

use super::channel::Direction::{self, Receive, Send};
use super::channel::{Attempt, Channel, EPIPE};
use super::side::{close_latch, Side};
use super::waiters::{Node, Woken};
use crate::error::{Errno, RawResult, Res};
use crate::executor::free::{Free, Waiter};
use crate::executor::grant::Caller;
use crate::executor::mailbox::Mailbox;
use crate::executor::scope::NEVER_NS;
use crate::executor::Executor;
use crate::prefetch;
use crate::sys::{affinity, thread};
use crate::task::end;
use crate::task::header::TaskRef;
use crate::task::turns::{Other, Turns, LONGEST_NS};
use crate::ticks;
use crate::uring::kernel::Kernel;

/// The processor is the other thread's for a turn. Whether `moved` has found something since.
fn yields(turns: &Turns, moved: impl Fn() -> usize) -> bool {
    let begun = ticks::now();
    std::thread::yield_now();
    let took_ns = ticks::to_ns(ticks::now().wrapping_sub(begun));
    let has_found = moved() != 0;
    turns.yielded(has_found && took_ns <= LONGEST_NS);
    has_found
}

impl<S: Side> Channel<S> {
    /// By the latch of one end (rule 4). None: not so, and nothing has happened.
    ///
    /// # Safety
    /// As `attempt`.
    #[inline(always)]
    unsafe fn attempt_at_end(&self, direction: Direction, element: *mut u8) -> Option<Attempt> {
        if S::IS_LOCAL || !self.end(direction).is_alone() {
            return None;
        }
        match direction {
            Send => {
                self.side.close(None).ok()?; // Else refused below.
                let attempt = self.sending.is_alone().then(|| {
                    if !self.has_room() {
                        return Attempt::WouldWait;
                    }
                    // SAFETY: the caller's.
                    unsafe { self.put(element) };
                    self.fetch_ahead(Send);
                    Attempt::Done
                });
                self.side.open();
                attempt
            }
            Receive => {
                close_latch(&self.latch).ok()?;
                let attempt = self.receiving.is_alone().then(|| {
                    if !self.has_some() {
                        return Attempt::WouldWait;
                    }
                    // SAFETY: the caller's.
                    unsafe { self.take(element) };
                    self.fetch_ahead(Receive);
                    Attempt::Done
                });
                self.latch.open();
                attempt
            }
        }
    }

    /// An element was moved at an end; the next close of the latch would wait for its line.
    #[inline(always)]
    fn fetch_ahead(&self, direction: Direction) {
        let (end, writes, capacity) = (self.end(direction), direction == Send, self.capacity.get());
        prefetch::ahead(self.place(end) as usize, self.element_bytes.get(), writes, || {
            let inside = end.known_inside(writes, capacity);
            if writes {
                capacity - inside
            } else {
                inside
            }
        });
    }

    /// By all sides. Where it would wait they stay closed.
    ///
    /// # Safety
    /// As `attempt`.
    #[inline(always)]
    unsafe fn attempt_closed<K: Kernel>(
        &self,
        here: Option<&'static Mailbox>,
        direction: Direction,
        element: *mut u8,
    ) -> Res<Attempt> {
        self.close_all(here)?;
        // SAFETY: the caller's.
        Ok(unsafe { self.attempt_behind::<K>(direction, element) })
    }

    /// As `attempt_closed`; the sides are closed.
    ///
    /// # Safety
    /// As `attempt`.
    #[inline(always)]
    unsafe fn attempt_behind<K: Kernel>(&self, direction: Direction, element: *mut u8) -> Attempt {
        let mut woken = Woken::none();
        // SAFETY: the caller's.
        let attempt = unsafe { self.attempt(direction, element, &mut woken) };
        if attempt != Attempt::WouldWait {
            self.open_all();
            woken.wake::<K>();
        }
        attempt
    }

    /// SUSPENDS. EPIPE: closed.
    ///
    /// # Safety
    /// As `attempt`.
    #[inline(always)]
    pub unsafe fn transfer<K: Kernel>(
        &self,
        caller: &Caller<'_, K>,
        direction: Direction,
        element: *mut u8,
        until_ns: u64,
    ) -> RawResult {
        if !self.has_two_ends() {
            let free = caller.free().filter(|_| until_ns == NEVER_NS);
            return match free.filter(|free| self.side.try_close(free.home())) {
                // SAFETY: the caller's.
                Some(free) => unsafe { self.transfer_here(free, direction, element) },
                // SAFETY: the caller's.
                None => unsafe {
                    let (identity, ex) = caller.parts();
                    Self::transfer_otherwise(identity, self, element, ex, direction, until_ns)
                },
            };
        }
        if let Err(e) = caller.start() {
            return RawResult::failure(e);
        }
        // SAFETY: the caller's.
        if unsafe { self.attempt_at_end(direction, element) } == Some(Attempt::Done) {
            return RawResult::success(0);
        }
        // SAFETY: the caller's.
        unsafe { self.transfer_late(*caller, direction, element, until_ns) }
    }

    /// As `transfer`, of one with one side: for any caller, at any time.
    ///
    /// # Safety
    /// As `attempt`.
    #[inline(never)]
    pub(super) unsafe extern "C" fn transfer_otherwise<K: Kernel>(
        identity: usize,
        this: &Self,
        element: *mut u8,
        ex: Option<&Executor<K>>,
        direction: Direction,
        until_ns: u64,
    ) -> RawResult {
        let caller = Caller::of_parts(identity, ex);
        match caller.start().and_then(|()| this.close_all(caller.mailbox())) {
            // SAFETY: the caller's.
            Ok(()) => unsafe { this.transfer_at_once(&caller, direction, element, until_ns) },
            Err(e) => RawResult::failure(e),
        }
    }

    /// As `transfer_here`, for any waiter.
    ///
    /// # Safety
    /// As `attempt`; the side is closed.
    #[inline(never)]
    pub(super) unsafe extern "C" fn transfer_to_other<K: Kernel>(
        task: TaskRef,
        this: &Self,
        element: *mut u8,
        ex: &Executor<K>,
        direction: Direction,
    ) -> RawResult {
        // SAFETY: the caller's.
        unsafe { this.transfer_at_once(&Caller::task(ex, task), direction, element, NEVER_NS) }
    }

    /// As `transfer`; the sides are closed.
    ///
    /// # Safety
    /// As `attempt`.
    #[inline(always)]
    unsafe fn transfer_at_once<K: Kernel>(
        &self,
        caller: &Caller<'_, K>,
        direction: Direction,
        element: *mut u8,
        until_ns: u64,
    ) -> RawResult {
        // SAFETY: the caller's.
        match unsafe { self.attempt_behind::<K>(direction, element) } {
            Attempt::Done => RawResult::success(0),
            Attempt::Closed => RawResult::failure(EPIPE),
            // SAFETY: the caller's.
            Attempt::WouldWait => unsafe {
                self.wait_for_other(caller, direction, element, until_ns)
            },
        }
    }

    /// # Safety
    /// As `attempt`; the sides are closed.
    #[inline(always)]
    unsafe fn wait_for_other<K: Kernel>(
        &self,
        caller: &Caller<'_, K>,
        direction: Direction,
        element: *mut u8,
        until_ns: u64,
    ) -> RawResult {
        // SAFETY: the caller's.
        unsafe {
            match (direction, caller.free().filter(|_| until_ns == NEVER_NS)) {
                (Send, Some(free)) => self.wait_to_send(free, element),
                (Receive, Some(free)) => self.wait_to_receive(free, element),
                _ => self.wait_otherwise(*caller, direction, element, until_ns),
            }
        }
    }

    /// As `transfer`, of two ends, where its own was not enough: rule 5. The other thread's latch
    /// is closed only once looking was of no use.
    ///
    /// # Safety
    /// As `attempt`.
    #[inline(never)]
    unsafe extern "C" fn transfer_late<K: Kernel>(
        &self,
        caller: Caller<'_, K>,
        direction: Direction,
        element: *mut u8,
        until_ns: u64,
    ) -> RawResult {
        let (end, spin) = (self.end(direction), &self.spins[direction as usize]);
        let capacity = self.capacity.get();
        let moved = || {
            let count = end::count(&self.sending, &self.receiving, capacity);
            if direction == Send {
                capacity.saturating_sub(count)
            } else {
                count
            }
        };
        if end.is_alone() && caller.has_nothing_else() {
            let has_come = match end.turns.other() {
                Other::Elsewhere => spin.is_due() && spin.until(moved),
                Other::Near => end.is_yield_due(capacity) && yields(&end.turns, moved),
                Other::Here => false,
            };
            // SAFETY: the caller's.
            let done = || unsafe { self.attempt_at_end(direction, element) };
            if has_come && done() == Some(Attempt::Done) {
                return RawResult::success(0);
            }
        }
        end.meet(self.end(direction.other()), affinity::here(), thread::own_number());
        // SAFETY: the caller's.
        match unsafe { self.attempt_closed::<K>(None, direction, element) } {
            // SAFETY: the caller's.
            Ok(Attempt::WouldWait) => unsafe {
                self.wait_for_other(&caller, direction, element, until_ns)
            },
            attempt => attempt.and_then(Attempt::result).map(|()| 0).into(),
        }
    }

    /// Of C's kind: a C function ends in it by a jump, so that of a task that suspends in here no
    /// return is left but the one to the user's function.
    ///
    /// # Safety
    /// As `attempt`; the sides are closed.
    #[inline(never)]
    pub(super) unsafe extern "C" fn wait_to_send<K: Kernel>(
        &self,
        free: Free<'_, K>,
        element: *mut u8,
    ) -> RawResult {
        self.wait_turn(&free, Send, element)
    }

    /// # Safety
    /// As `wait_to_send`.
    #[inline(never)]
    pub(super) unsafe extern "C" fn wait_to_receive<K: Kernel>(
        &self,
        free: Free<'_, K>,
        element: *mut u8,
    ) -> RawResult {
        self.wait_turn(&free, Receive, element)
    }

    /// # Safety
    /// As `wait_to_send`.
    #[cold]
    #[inline(never)]
    unsafe extern "C" fn wait_otherwise<K: Kernel>(
        &self,
        caller: Caller<'_, K>,
        direction: Direction,
        element: *mut u8,
        until_ns: u64,
    ) -> RawResult {
        self.wait_turn(&(caller, until_ns), direction, element)
    }

    #[inline(always)]
    fn wait_turn<K: Kernel>(
        &self,
        waiter: &impl Waiter<K>,
        direction: Direction,
        element: *mut u8,
    ) -> RawResult {
        let (waiters, noted) = (self.waiters(direction), (0, element as usize));
        let open = || self.open_all();
        waiters.wait_turn(S::IS_LOCAL, waiter, noted, open, |node, e| match e {
            _ if node.is_refused() => RawResult::failure(EPIPE),
            0 => RawResult::success(0),
            e => self.withdraw(waiter.caller(), direction, node, e),
        })
    }

    /// Out of those who wait; `e` is why.
    #[cold]
    #[inline(never)]
    pub(super) extern "C" fn withdraw<K: Kernel>(
        &self,
        caller: Caller<'_, K>,
        direction: Direction,
        node: &Node,
        e: i32,
    ) -> RawResult {
        if let Err(e) = self.close_all(caller.mailbox()) {
            return RawResult::failure(e);
        }
        self.dequeue(direction, node);
        self.open_all();
        RawResult::failure(Errno(-e))
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
        // SAFETY: the caller's.
        if let Some(attempt) = unsafe { self.attempt_at_end(direction, element) } {
            return attempt.result();
        }
        // SAFETY: the caller's.
        let attempt = unsafe { self.attempt_closed::<K>(here, direction, element) }?;
        if attempt == Attempt::WouldWait {
            self.open_all();
        }
        attempt.result()
    }
}

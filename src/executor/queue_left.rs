//! Waiting until few tasks of a queue are left, and until one task has left it.
//!
//! While a task is queued, its list of joiners holds the records of those who wait for it to leave.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::NonNull;

use super::grant::{Caller, Wait};
use super::queue::{Queue, State};
use super::queue_ends::queue_of;
use super::scope::NEVER_NS;
use crate::error::{Errno, Res};
use crate::intrusive::{Fifo, Link, TimerNode};
use crate::task::header::TaskRef;
use crate::task::state::Run;
use crate::uring::kernel::Kernel;

/// Of what so few are left that a wait is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// Tasks that have not begun.
    Queued = 0,
    /// Those, and the ones that have begun and not ended.
    Unfinished = 1,
    /// Workers.
    Workers = 2,
}

/// Who waits: on the waiter's stack.
#[repr(C)]
pub struct LeftWait {
    link: Link,
    /// On the same stack.
    wait: NonNull<Wait>,
    /// Which case of that.
    index: u32,
    /// Under the lock of the queue.
    is_listed: Cell<bool>,
    wake: unsafe fn(&Wait),
}

const _: () = assert!(offset_of!(LeftWait, link) == 0);

/// Who waits until few are left.
#[repr(C)]
struct CountWait {
    left: LeftWait,
    /// In the queue's `waits`, by `deadline`.
    node: TimerNode,
    /// Why it is over with more left; 0: it is not. Written under the lock, before it is woken.
    why: Cell<i32>,
}

const _: () = assert!(offset_of!(CountWait, left) == 0);

/// The order of those who wait until `at_most` are left: the first is the one that waits for most.
fn deadline(at_most: usize) -> u64 {
    u64::MAX - at_most as u64
}

impl CountWait {
    fn node(&self) -> NonNull<TimerNode> {
        // SAFETY: within the record.
        unsafe { NonNull::from(self).byte_add(offset_of!(Self, node)).cast() }
    }

    /// # Safety
    /// `node` is that of a record whose waiter waits.
    unsafe fn from_node<'a>(node: NonNull<TimerNode>) -> &'a Self {
        // SAFETY: the caller's; it was made of a pointer to the whole record.
        unsafe { node.byte_sub(offset_of!(Self, node)).cast().as_ref() }
    }
}

impl LeftWait {
    /// `wake` is `Wait::wake` of the waiter's kind of kernel.
    fn new(wait: &Wait, wake: unsafe fn(&Wait)) -> Self {
        let (is_listed, wait) = (Cell::new(false), NonNull::from(wait));
        Self { link: Link::new(), wait, index: 0, is_listed, wake }
    }

    fn claim(&self) -> bool {
        // SAFETY: a wait outlives what lists it.
        unsafe { self.wait.as_ref() }.claim_case(self.index)
    }
}

impl State {
    fn left(&self) -> [usize; 3] {
        [self.queued, self.queued + self.begun, self.workers]
    }

    /// Who waits, if somebody does, waits until so many are left, or fewer.
    pub(super) fn most_awaited(&self) -> usize {
        let of_tasks = self.waits[..Left::Workers as usize].iter();
        let first = of_tasks.filter_map(|waits| waits.next_deadline()).min();
        first.map_or(0, |first| (u64::MAX - first) as usize)
    }

    /// Those whose wait is over, claimed: to be woken with the lock open. O(those), and for waits
    /// that come in no order O(log waits) each.
    #[inline(always)]
    pub(super) fn satisfied(&mut self) -> Fifo {
        if self.waiting == 0 {
            return Fifo::new();
        }
        let left = self.left();
        let is_over = |what: usize| {
            let first = self.waits[what].next_deadline();
            first.is_some_and(|most| most <= deadline(left[what]))
        };
        if is_over(0) || is_over(1) || is_over(2) {
            return self.satisfied_of_some();
        }
        Fifo::new()
    }

    #[inline(never)]
    fn satisfied_of_some(&mut self) -> Fifo {
        let woken = Fifo::new();
        for (what, left) in self.left().into_iter().enumerate() {
            self.end_waits(what, deadline(left), 0, &woken);
        }
        woken
    }

    /// Those that come before `until`: claimed, and put into `woken`.
    fn end_waits(&mut self, what: usize, until: u64, why: i32, woken: &Fifo) {
        while let Some(node) = self.waits[what].pop_expired(until) {
            // SAFETY: only records of those who wait are in there.
            let wait = unsafe { CountWait::from_node(node) };
            wait.left.is_listed.set(false);
            self.waiting -= 1;
            if wait.left.claim() {
                wait.why.set(why);
                // SAFETY: in no list; it stays until it is woken.
                let _ = unsafe { woken.push_back(NonNull::from(&wait.left).cast()) };
            }
        }
    }

    /// The kernel has refused all workers for long to go on.
    fn is_refused(&self) -> bool {
        self.refused != 0 && self.refused == self.workers
    }

    /// Those who wait for tasks, as above, if no worker goes on.
    pub(super) fn given_up(&mut self) -> Fifo {
        let woken = Fifo::new();
        if self.is_refused() {
            for what in [Left::Queued, Left::Unfinished] {
                self.end_waits(what as usize, u64::MAX, self.why, &woken);
            }
        }
        woken
    }
}

/// Wakes those that were claimed.
pub(super) fn wake_all(woken: &Fifo) {
    while let Some(link) = woken.pop_front() {
        // SAFETY: claimed, so it stays until it is woken; the function is that of its kernel.
        unsafe {
            let wait = link.cast::<LeftWait>().as_ref();
            (wait.wake)(wait.wait.as_ref());
        }
    }
}

impl State {
    /// `task` leaves the queue. Adds those who wait for that, claimed, to `woken`.
    pub(super) fn leaves(&mut self, task: TaskRef, woken: &Fifo) {
        while let Some(link) = task.joiners.pop_front() {
            // SAFETY: only records of those who wait are in this list.
            let wait = unsafe { link.cast::<LeftWait>().as_ref() };
            wait.is_listed.set(false);
            self.waiting -= 1;
            if wait.claim() {
                // SAFETY: in no list; it stays until it is woken.
                let _ = unsafe { woken.push_back(link) };
            }
        }
    }
}

/// SUSPENDS, or blocks, until `task` is in no queue; the run that was in one. None: it is in none.
/// Ok(false), and errors, as `until_it_leaves`; ESRCH if it is not the run that is `meant`, which
/// has left one before: no run comes back.
pub(super) fn until_unqueued<K: Kernel>(
    caller: &Caller<'_, K>,
    task: TaskRef,
    meant: Option<Run>,
    until_ns: u64,
) -> Option<(Run, Res<bool>)> {
    let (run, queue) = queue_of(task)?;
    if meant.is_some_and(|meant| meant != run) {
        return Some((run, Err(Errno(libc::ESRCH))));
    }
    Some((run, queue.until_it_leaves(caller, task, run, until_ns)))
}

/// That a task leaves its queue, as one case of a wait for several things: see `join_case`.
pub struct LeaveCase {
    wait: LeftWait,
    queue: &'static Queue,
    task: TaskRef,
}

impl LeaveCase {
    /// Of a task that is queued; None: it is not any more.
    pub fn of<K: Kernel>(task: TaskRef, wait: &Wait, index: u32) -> Option<(Run, Self)> {
        let (run, queue) = queue_of(task)?;
        let mut wait = LeftWait::new(wait, |wait| wait.wake::<K>());
        wait.index = index;
        Some((run, Self { wait, queue, task }))
    }

    /// EPERM: the queue is another process's.
    pub fn check_process(&self) -> Res<()> {
        self.queue.check_process()
    }

    /// False: that run is not queued any more.
    ///
    /// # Safety
    /// It stays in place until it is woken, or `unlist` has returned.
    pub unsafe fn list(&self, run: Run) -> bool {
        // SAFETY: the caller's.
        unsafe { self.queue.list_leave(self.task, run, &self.wait) }
    }

    pub fn unlist(&self) {
        self.queue.unlist_leave(self.task, &self.wait);
    }
}

impl Queue {
    /// SUSPENDS, or blocks, until that run of `task` is not in here; false: it is at `until_ns` of
    /// the boot-time clock. Its errors are those of an interruption.
    pub(super) fn until_it_leaves<K: Kernel>(
        &self,
        caller: &Caller<'_, K>,
        task: TaskRef,
        run: Run,
        until_ns: u64,
    ) -> Res<bool> {
        self.check_process()?;
        caller.start()?;
        let granted = caller.wait(false);
        let wait = LeftWait::new(&granted, |wait| wait.wake::<K>());
        // SAFETY: in place until it was woken, or taken out below.
        if !unsafe { self.list_leave(task, run, &wait) } {
            return Ok(true);
        }
        let waited = caller.granted_until(&granted, until_ns);
        if waited != Ok(true) {
            self.unlist_leave(task, &wait);
        }
        waited
    }

    /// ANY THREAD. Lists a wait for that run of `task` to leave. False: it is not in here.
    ///
    /// # Safety
    /// `wait` stays until it is woken, or `unlist_leave` has returned.
    unsafe fn list_leave(&self, task: TaskRef, run: Run, wait: &LeftWait) -> bool {
        let listed = self.with_queued(task, run, |state| {
            state.waiting += 1;
            wait.is_listed.set(true);
            // SAFETY: the caller's; in no list.
            let _ = unsafe { task.joiners.push_back(NonNull::from(wait).cast()) };
        });
        listed.is_some()
    }

    /// ANY THREAD. Nobody wants to know any more.
    fn unlist_leave(&self, task: TaskRef, wait: &LeftWait) {
        let mut state = self.lock();
        if wait.is_listed.replace(false) {
            state.waiting -= 1;
            // SAFETY: in there, says `is_listed`: the task has not left.
            unsafe { task.joiners.remove(NonNull::from(wait).cast()) };
        }
    }

    /// The worker's thread. So many that it took have ended.
    #[inline(never)]
    pub fn ended(&self, count: usize) {
        let mut state = self.lock_row();
        state.begun -= count;
        let satisfied = state.satisfied();
        drop(state);
        wake_all(&satisfied);
    }

    /// ANY THREAD. How many have not begun, and how many of those that have are not over.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.lock_counted();
        (state.queued, state.begun)
    }

    /// SUSPENDS, or blocks, until so few are left. Its errors are those of an interruption.
    pub fn until_left<K: Kernel>(
        &self,
        caller: &Caller<'_, K>,
        at_most: usize,
        what: Left,
    ) -> Res<()> {
        caller.start()?;
        let granted = caller.wait(false);
        let left = LeftWait::new(&granted, |wait| wait.wake::<K>());
        let wait = CountWait { left, node: TimerNode::new(), why: Cell::new(0) };
        // SAFETY: in place until it was woken, or taken out below.
        if !unsafe { self.list_wait(&wait, at_most, what) }? {
            return Ok(());
        }
        let waited = caller.until_granted(&granted, NEVER_NS);
        if waited.is_err() {
            self.unlist_wait(&wait, what);
        }
        waited?;
        match wait.why.get() {
            0 => Ok(()),
            why => Err(Errno(why)),
        }
    }

    /// A worker's thread: the kernel has refused it for long to go on. Where it is so of all of
    /// them, who waits is told so.
    pub fn refused(&self, errno: Errno) {
        let mut state = self.lock();
        state.refused += 1;
        state.why = errno.0;
        let given_up = state.given_up();
        drop(state);
        wake_all(&given_up);
    }

    /// The same thread, which goes on, or leaves.
    pub fn not_refused(&self) {
        self.lock().refused -= 1;
    }

    /// ANY THREAD. Lists a wait. False: it is over already. Its errors are those of workers, all of
    /// which the kernel refuses.
    ///
    /// # Safety
    /// `wait` stays until it is woken, or `unlist_wait` has returned.
    unsafe fn list_wait(&self, wait: &CountWait, at_most: usize, what: Left) -> Res<bool> {
        let mut state = self.lock_counted();
        if state.left()[what as usize] <= at_most {
            return Ok(false);
        }
        if what != Left::Workers && state.is_refused() {
            return Err(Errno(state.why));
        }
        state.waiting += 1;
        wait.left.is_listed.set(true);
        wait.node.deadline_ns.set(deadline(at_most));
        // SAFETY: the caller's; in no list.
        unsafe { state.waits[what as usize].insert(wait.node()) };
        // What comes while this is as good as over is told of.
        self.stay_far(&mut state);
        Ok(true)
    }

    /// ANY THREAD. The wait was interrupted.
    fn unlist_wait(&self, wait: &CountWait, what: Left) {
        let mut state = self.lock();
        if wait.left.is_listed.replace(false) {
            state.waiting -= 1;
            // SAFETY: it is in there, says `is_listed`.
            unsafe { state.waits[what as usize].remove(wait.node()) };
        }
    }
}

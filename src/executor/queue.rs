//! Tasks and jobs that wait for one of several executors to begin them: the queue of a pool.
//!
//! ```text
//!   levels  0: task --> job --> task        high: begun first, whatever came first
//!           1:
//!           2: task --> task                low
//!   idle    mailbox --> mailbox             workers that sleep; the last to fall asleep is woken
//!                                           first
//!   waits   record --> record               who waits until so few are left
//! ```
//!
//! 1. All of it is behind one lock, held for some instructions: never over a wake-up, an allocation
//!    or a call of the user's. Queues are never freed, only recycled: who has read the address of
//!    one in a task may lock it, and finds out there whether the task is in it still.
//! 2. A task leaves the queue under the lock: attached to the executor of who takes it, or ended.
//!    So who finds it in the queue under the lock may take it out, and who does not find it
//!    there finds it attached, or its run over.
//! 3. A worker goes to sleep under the lock, with nothing in the queue. A task that is put in takes
//!    one sleeper out and wakes it, unless one is on its way; that one wakes the next when it has
//!    taken a task and there are more. So as many wake as there is work for, one at a time.
//! 4. `occupied` is a hint for those who have not locked: what it misses for a moment, they find
//!    under the lock before they sleep, or at the next task.
//! 5. While many wait, jobs that come are put elsewhere: see `intake`. What is in there is part of
//!    the queue for all but who takes what is next, who looks there if it is higher. And jobs are
//!    taken without the lock: see `queue_row`.

use core::cell::Cell;
use core::ffi::c_void;
use core::mem::{offset_of, MaybeUninit};
use core::ptr;

use super::hands::Hands;
use super::intake::Intake;
use super::jobs::{Levels, Next, Posted};
use super::mailbox::Mailbox;
use super::queue_left::wake_all;
use super::queue_owner::Fixed;
use super::queue_row::Front;
use super::rouse::Roused;
use crate::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU8, Ordering::Relaxed};
use crate::error::{Errno, Res};
use crate::intrusive::TimerQueue;
use crate::sys::futex;
use crate::sys::lock::{Guard, Lock};
use crate::task::header::{mark, TaskRef, Waits, PRIORITIES};
use crate::task::list::TaskList;
use crate::ticks;

/// From so many waiting tasks on fetching the next pays for itself.
const MANY: usize = 256;

/// From so many on, jobs that come may be put into the intake.
pub(super) const SOME: usize = 16;

/// What `Queue::level` gives when nothing waits.
pub const NO_LEVEL: u8 = PRIORITIES as u8;

/// A line of its own: workers read `occupied` before each task.
#[repr(C, align(128))]
pub struct Queue {
    /// Bit n: a task waits at level n.
    occupied: AtomicU8,
    /// As `occupied`, of what is in the intake. Written under its lock.
    pub(super) came: AtomicU8,
    tracks: AtomicBool,
    /// A hint, see `fetch`: the worker that would be woken; null: none sleeps.
    pub(super) resting: AtomicPtr<Mailbox>,
    state: Lock<State>,
    pub(super) fixed: Fixed,
    pub(super) intake: Intake,
    pub(super) front: Front,
}

/// In this order: what each task needs is in the lines of `TASK_BYTES`, which go from one processor
/// to the other.
#[repr(C)]
pub(super) struct State {
    /// In the levels.
    pub(super) queued: usize,
    /// The worker that fell asleep last.
    pub(super) idle: *const Mailbox,
    /// Begun, and not over. (Next to `queued` the two would change as one vector, whose load waits
    /// for the store of either.)
    pub(super) begun: usize,
    /// The worker that was woken and has not looked yet.
    pub(super) waking: *const Mailbox,
    /// How many were ever put in.
    pub(super) number: usize,
    /// In `waits`, and for tasks in here to leave.
    pub(super) waiting: u32,
    /// Takes no task any more.
    pub(super) closed: bool,
    /// Closed, and the workers leave when it is empty.
    pub(super) drains: bool,
    /// The intake is open.
    pub(super) parts: bool,
    /// Of what the window is on; `NO_LEVEL`: it is shut.
    pub(super) row: u8,
    pub(super) levels: Levels,
    /// Threads of workers; how many of them the kernel has refused for long to go on, and why the
    /// last of those.
    pub(super) workers: usize,
    pub(super) refused: usize,
    pub(super) why: i32,
    /// By what is counted.
    pub(super) waits: [TimerQueue; 3],
}

/// Of a queue, from its begin: for a task, and for a job.
pub(super) const TASK_BYTES: usize = 128;
pub(super) const JOB_BYTES: usize = 192;
const _: () = {
    let levels = offset_of!(Queue, state) + 8 + offset_of!(State, levels);
    assert!(levels + Levels::TASK_BYTES <= TASK_BYTES);
    assert!(levels + Levels::NORMAL_JOB_BYTES <= JOB_BYTES);
};

// SAFETY: what it points to is touched under the lock alone, and stays until it is out of it.
unsafe impl Send for State {}

/// A worker's place at the queue: on its thread's stack, where it stays until the worker has left.
/// What others touch to wake it is in its mailbox.
pub struct Seat {
    queue: &'static Queue,
    pub(super) mailbox: &'static Mailbox,
    pub(super) epoch: u64,
    /// It begins no task any more.
    pub(super) leaves: AtomicBool,
    /// What the kernel said to its last pass, 0 for no error: for who asks the pool.
    pub refused: AtomicI32,
    /// The worker's: whether the item before came from the queue.
    pub(super) fed_last: Cell<bool>,
    /// The worker's: it was woken, and has not looked under the lock.
    pub(super) was_woken: Cell<bool>,
    /// The worker's.
    pub hands: Hands,
}

// SAFETY: others touch `leaves` and `refused`, which are atomic.
unsafe impl Sync for Seat {}

/// A sleeper that was taken out and roused, to be woken with the lock open. Where that takes more
/// than the name of a word it is pinned until then, as it may wake for another reason and leave: a
/// worker takes the lock before it leaves (`Queue::leave`), and so sees a pin that was made under
/// it. No fence, and no look whether it is there still.
#[must_use]
pub(super) struct Woken(pub(super) Option<Roused>);

impl Woken {
    #[inline(always)]
    pub(super) fn wake(self) {
        match self.0 {
            None => {}
            Some(Roused::OnWord(name)) => futex::wake_low(name),
            Some(Roused::Elsewhere(roused)) => roused.wake(),
        }
    }
}

impl State {
    pub(super) fn level(&self) -> u8 {
        (u32::from(self.levels.occupied()) | 1 << NO_LEVEL).trailing_zeros() as u8
    }

    pub(super) fn push(&mut self, task: TaskRef) {
        let level = task.cpu_level();
        task.wait_in(Waits::Queue, level);
        self.number = self.number.wrapping_add(1);
        self.levels.push_task(task, level, self.number);
        self.queued += 1;
    }

    /// `task` is in here.
    pub(super) fn remove(&mut self, task: TaskRef) {
        self.levels.remove(task);
        task.waits.set(Waits::Nothing);
        self.queued -= 1;
    }

    /// The oldest of the highest level, if that is `lowest` or higher. A job as `Levels::pop`.
    #[inline(always)]
    pub(super) fn pop(
        &mut self,
        lowest: u8,
        posted: Option<&mut MaybeUninit<Posted>>,
    ) -> Option<Next> {
        let level = self.level();
        if level > lowest {
            return None;
        }
        let next = self.levels.pop(level, posted)?;
        if let Next::Task(task) = &next {
            task.waits.set(Waits::Nothing);
        }
        self.queued -= 1;
        Some(next)
    }

    /// Fetches the stack of the task that `pop` would give, where launches do not borrow one, and
    /// the header of the one after: see `Ready::prefetch`. Where few wait they are in the caches.
    #[inline(never)]
    fn prefetch(&self) {
        if let Some(next) = self.levels.front(self.level()) {
            next.prefetch_stack(false);
            if let Some(after) = TaskList::after(next) {
                after.prefetch_header();
            }
        }
    }
}

impl Queue {
    /// One of this process, which takes no task yet.
    pub const fn new() -> Self {
        Self {
            occupied: AtomicU8::new(0),
            came: AtomicU8::new(0),
            tracks: AtomicBool::new(false),
            resting: AtomicPtr::new(ptr::null_mut()),
            state: Lock::new(State {
                queued: 0,
                idle: ptr::null(),
                begun: 0,
                waking: ptr::null(),
                number: 0,
                waiting: 0,
                closed: true,
                drains: false,
                parts: false,
                row: NO_LEVEL,
                levels: Levels::new(),
                workers: 0,
                refused: 0,
                why: 0,
                waits: [const { TimerQueue::new() }; 3],
            }),
            fixed: Fixed::new(),
            intake: Intake::new(),
            front: Front::new(),
        }
    }

    /// # Safety
    /// `at` was read in a task: the address of a queue.
    pub(crate) unsafe fn from_ptr(at: *mut c_void) -> &'static Self {
        // SAFETY: the caller's; queues are never freed.
        unsafe { &*at.cast::<Self>() }
    }

    pub(super) fn stamp(&self) -> u64 {
        if self.tracks.load(Relaxed) {
            ticks::now()
        } else {
            0
        }
    }

    pub(super) fn address(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    #[inline(always)]
    pub(super) fn lock(&self) -> Guard<'_, State> {
        self.state.lock()
    }

    /// The levels have changed.
    pub(super) fn note(&self, state: &State) {
        let occupied = state.levels.occupied();
        // Relaxed: a hint (rule 4). Not written where it says so already: the line is everybody's.
        if self.occupied.load(Relaxed) != occupied {
            self.occupied.store(occupied, Relaxed);
        }
        self.note_resting(state);
    }

    /// A hint: the highest level at which a task waits, or `NO_LEVEL`.
    #[inline(always)]
    pub fn level(&self) -> u8 {
        let occupied = self.occupied.load(Relaxed) | self.came.load(Relaxed);
        (u32::from(occupied) | 1 << NO_LEVEL).trailing_zeros() as u8
    }

    /// Takes tasks from now on, of the calling process.
    pub fn open(&self, tracks: bool) {
        self.adopt();
        self.tracks.store(tracks, Relaxed);
        let mut state = self.lock();
        (state.closed, state.drains) = (false, false);
        debug_assert!(state.idle.is_null() && state.waking.is_null());
    }

    /// ANY THREAD. Takes no task any more: `ESHUTDOWN`. With `drains`, workers that find it empty
    /// leave.
    pub fn close(&self, drains: bool) {
        let mut state = self.lock_whole();
        state.closed = true;
        state.drains |= drains;
    }

    /// The worker's thread, done with its seat; or its maker, where there is no thread.
    pub fn remove_worker(&self) {
        let mut state = self.lock();
        state.workers -= 1;
        let satisfied = state.satisfied();
        satisfied.append(state.given_up());
        drop(state);
        wake_all(&satisfied);
    }

    /// ANY THREAD. Puts an idle task at the end of its level. `fill` is called once the task is
    /// claimed, and gives its first marks. EBUSY, EINVAL as an attach; ESHUTDOWN: closed.
    pub fn submit(&self, task: TaskRef, fill: impl FnOnce() -> u8) -> Res<()> {
        task.prefetch_to_write();
        self.fetch::<TASK_BYTES>();
        self.check_process()?;
        let before = self.claim(task, fill)?;
        let mut state = self.lock_whole();
        if state.closed {
            drop(state);
            refuse(task, before);
            return Err(Errno(libc::ESHUTDOWN));
        }
        self.put(&mut state, task);
        self.note(&state);
        let woken = state.wake_one_for(task.addr());
        drop(state);
        woken.wake();
        Ok(())
    }

    /// What the task was before.
    pub(super) fn claim(&self, task: TaskRef, fill: impl FnOnce() -> u8) -> Res<u8> {
        if task.head.user_code.get().is_none() {
            return Err(Errno(libc::EINVAL));
        }
        let before = task.state().claim().ok_or(Errno(libc::EBUSY))?;
        task.marks.set(fill() | mark::JOINED);
        task.set_pooled(true);
        task.launched(self.stamp());
        Ok(before)
    }

    pub(super) fn put(&self, state: &mut State, task: TaskRef) {
        task.state().queued(self.address());
        state.push(task);
    }

    /// The worker's thread. The oldest of the highest level, if that is `lowest` or higher; a task
    /// is attached to `executor`. So many that it took before have `ended`.
    #[inline(always)]
    pub(super) fn take(
        &self,
        seat: &Seat,
        lowest: u8,
        posted: Option<&mut MaybeUninit<Posted>>,
        ended: usize,
        executor: *mut c_void,
    ) -> Option<Next> {
        self.fetch_all();
        let mut state = self.lock_row();
        state.begun -= ended;
        self.take_locked(state, seat, lowest, posted, executor)
    }

    /// As `take`, of a worker that was woken for what waits, and has asked for what it needs.
    #[inline(always)]
    pub(super) fn take_woken(
        &self,
        seat: &Seat,
        posted: &mut MaybeUninit<Posted>,
        executor: *mut c_void,
    ) -> Option<Next> {
        self.take_locked(self.lock_row(), seat, NO_LEVEL, Some(posted), executor)
    }

    #[inline(always)]
    fn take_locked(
        &self,
        mut state: Guard<'_, State>,
        seat: &Seat,
        lowest: u8,
        posted: Option<&mut MaybeUninit<Posted>>,
        executor: *mut c_void,
    ) -> Option<Next> {
        state.looked(seat);
        self.take_in(&mut state);
        self.stay_far(&mut state);
        let next = if seat.is_leaving() { None } else { state.pop(lowest, posted) };
        if let Some(next) = &next {
            state.begun += 1;
            if state.queued > SOME {
                self.some_wait(&mut state);
            }
            if let Next::Task(task) = next {
                task.state().taken(executor, ptr::from_ref(seat.mailbox).cast_mut().cast());
            }
            self.note(&state);
        }
        let woken = if state.is_one_to_wake() { state.wake_another() } else { Woken(None) };
        if state.waiting == 0 {
            drop(state);
            woken.wake();
        } else {
            Self::tell(state, next.as_ref(), woken);
        }
        next
    }

    #[inline(always)]
    fn some_wait(&self, state: &mut State) {
        if state.queued > MANY && state.levels.has_tasks() {
            state.prefetch();
        }
        self.part(state);
        self.open_row(state);
    }

    /// Somebody waits for tasks to be few, or for one to leave.
    #[cold]
    #[inline(never)]
    fn tell(mut state: Guard<'_, State>, taken: Option<&Next>, woken: Woken) {
        let satisfied = state.satisfied();
        if let Some(Next::Task(task)) = taken {
            state.leaves(*task, &satisfied);
        }
        drop(state);
        woken.wake();
        wake_all(&satisfied);
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self::new()
    }
}

impl Seat {
    /// The worker's thread, for its executor's mailbox.
    pub fn new(queue: &'static Queue, mailbox: &'static Mailbox, hands: Hands) -> Self {
        Self {
            queue,
            mailbox,
            epoch: mailbox.epoch(),
            leaves: AtomicBool::new(false),
            refused: AtomicI32::new(0),
            fed_last: Cell::new(false),
            was_woken: Cell::new(false),
            hands,
        }
    }

    /// ANY THREAD that keeps the worker from leaving. Has it look at its queue.
    pub fn wake(&self) {
        let _ = self.mailbox.with_owner(self.epoch, || self.mailbox.ask_wake());
    }

    pub fn queue(&self) -> &'static Queue {
        self.queue
    }

    #[inline(always)]
    pub fn is_leaving(&self) -> bool {
        // Relaxed: who sets it wakes the worker afterwards.
        self.leaves.load(Relaxed)
    }

    /// As `Queue::level`, for this worker.
    #[inline(always)]
    pub fn level(&self) -> u8 {
        if self.is_leaving() {
            return NO_LEVEL;
        }
        self.queue.level()
    }
}

/// A task that was claimed, and not put in.
#[cold]
pub(super) fn refuse(task: TaskRef, before: u8) {
    task.set_pooled(false);
    task.marks.set(0);
    task.exited();
    task.state().give_up(before);
}

//! From an operation to the kernel: into the submission queue if it has room, else into the queue
//! of the task's I/O priority.

use super::operation::{bit, Op, State};
use super::{name, priority, Reactor, TAG_CANCEL, TAG_MASK};
use crate::error::{Errno, Res};
use crate::task::header::{TaskRef, Waits, NORMAL};
use crate::uring::kernel::{op, Kernel, Sqe, Wait};

/// How many entries one `submit` moves from the queues, so that a tiny submission queue with
/// thousands waiting cannot keep the executor from its ready tasks.
const BURST: usize = 64;

impl<K: Kernel> Reactor<K> {
    /// Begins `task`'s inline operation, if there is room; the task suspends right after. False:
    /// there is none, or others wait for it already, or it is to be a record.
    ///
    /// # Safety
    /// All that `sqe` refers to stays valid until the task is woken by `reap`.
    #[inline(always)]
    pub unsafe fn start(&self, task: TaskRef, sqe: Sqe) -> bool {
        debug_assert!(task.waits.get() == Waits::Nothing);
        task.op.set(task.op.get().wrapping_add(1));
        task.opcode.set(sqe.opcode());
        task.cqe_flags.set(0);
        self.users.add(sqe.fd(), task);
        let sqe = priority::with(sqe, task, name(task));
        // SAFETY: the caller's promise.
        let started = self.later.get() == 0 && unsafe { self.kernel.try_push(&sqe) };
        if started {
            task.waits.set(Waits::Completion);
        }
        started
    }

    /// `start` would begin an inline operation of `task`, which is to have the process' I/O
    /// priority, as it is.
    #[inline(always)]
    pub fn takes(&self, task: TaskRef) -> bool {
        // SAFETY: with nothing for later there is a ring.
        let has_room = || unsafe { self.kernel.has_room() };
        self.later.get() == 0 && has_room() && task.io_asked() == NORMAL
    }

    /// As `start`.
    ///
    /// # Safety
    /// As there; `takes` has said so, and nothing was begun since.
    #[inline(always)]
    pub unsafe fn start_at_once(&self, task: TaskRef, sqe: &Sqe) {
        debug_assert!(task.waits.get() == Waits::Nothing);
        task.op.set(task.op.get().wrapping_add(1));
        task.opcode.set(sqe.opcode());
        task.cqe_flags.set(0);
        self.users.add(sqe.fd(), task);
        // SAFETY: the caller's promise; there is room, in a ring.
        unsafe { self.kernel.push_words(sqe.0[0], name(task), |n| sqe.0[n]) };
        task.waits.set(Waits::Completion);
    }

    /// Begins a record, which its task has in flight from here on. Its entry is `sqe`, which was
    /// checked; there is a ring.
    ///
    /// # Safety
    /// All that `sqe` refers to stays valid until its last completion.
    #[inline(always)]
    pub unsafe fn begin(&self, record: &Op, sqe: Sqe) {
        match record.has(bit::INTERNAL) {
            true => self.users.add(sqe.fd(), record.task()), // Which waits for it.
            false => self.users.add_any(sqe.fd()),
        }
        // SAFETY: the caller's.
        match unsafe { self.begin_at_once(record, sqe, record.task()) } {
            true => record.is_in_kernel(),
            false => self.begin_later(record),
        }
    }

    /// As `begin`, of a record of `task` that notes nothing of it so far. False: there is no room,
    /// or others wait for it already, or there is no ring.
    ///
    /// # Safety
    /// As `begin`.
    #[inline(always)]
    pub unsafe fn begin_at_once(&self, record: &Op, sqe: Sqe, task: TaskRef) -> bool {
        self.later.get() == 0 && self.push_record(record, sqe, task)
    }

    /// As `begin_at_once`, of an entry whose first word is `head`, and was checked; the others are
    /// the record's, each of which is read once.
    ///
    /// # Safety
    /// As `begin`.
    #[inline(always)]
    pub unsafe fn begin_by_words(&self, record: &Op, head: u64, task: TaskRef) -> bool {
        if !self.takes(task) {
            return false;
        }
        self.users.add_any((head >> 32) as i32);
        // SAFETY: promised to `begin`; there is room, in a ring.
        unsafe { self.kernel.push_words(head, self.sealed(record), |n| record.word(n)) };
        true
    }

    #[inline(never)]
    fn begin_later(&self, record: &Op) {
        if self.queued.get() == 0 && self.push_record(record, record.entry(), record.task()) {
            record.is_in_kernel();
            return self.list(record);
        }
        self.enqueue(record);
        self.count_queued(1);
    }

    /// `sqe` is its entry. False if there is no room.
    #[inline(always)]
    fn push_record(&self, record: &Op, sqe: Sqe, task: TaskRef) -> bool {
        let sqe = priority::with(sqe, task, self.sealed(record));
        // SAFETY: promised to `begin`.
        unsafe { self.kernel.try_push(&sqe) }
    }

    fn enqueue(&self, record: &Op) {
        let level = priority::level(record.task());
        record.level.set(level);
        record.state.set(State::Queued);
        self.closings.waits(&record.sqe.get(), true);
        // SAFETY: in no queue, and it stays where it is while in flight.
        unsafe { self.entry_queues[level as usize].push_back(record.link()) };
    }

    /// The kernel did not perform it: to be begun again, after those that wait.
    pub(super) fn begin_again(&self, record: &Op) {
        record.retries.set(record.retries.get() + 1);
        self.enqueue(record);
        self.count_queued(1);
    }

    /// Moves a record that waits for an entry to the queue of its task's present I/O priority.
    pub fn requeue(&self, record: &Op) {
        if record.state.get() == State::Queued {
            self.leave_queue(record);
            self.enqueue(record);
        }
    }

    fn leave_queue(&self, record: &Op) {
        debug_assert!(record.state.get() == State::Queued);
        self.closings.waits(&record.sqe.get(), false);
        // SAFETY: its state says that it is in that queue.
        unsafe { self.entry_queues[record.level.get() as usize].remove(record.link()) };
    }

    /// Takes a record out of the queue it waits in for an entry: its operation never began.
    pub(super) fn unqueue(&self, record: &Op) {
        self.leave_queue(record);
        self.count_queued(-1);
    }

    /// Counts what goes to one of the queues of cancel requests, or leaves it.
    pub(super) fn count_queued(&self, by: isize) {
        self.queued.set(self.queued.get().wrapping_add_signed(by));
        self.later.set(self.later.get().wrapping_add_signed(by));
    }

    /// Hands the kernel what waits for it, cancel requests first, then by I/O priority; at most a
    /// burst. Refusals (EAGAIN, EBUSY, EINTR) leave the rest for the next call. Afterwards what has
    /// completed is visible to `reap`.
    pub fn submit(&self) -> Res<()> {
        let mut moved = 0;
        loop {
            let mut linked = 0;
            if !self.rows.is_empty() || self.queued.get() != 0 || self.providing.get() != 0 {
                let filled;
                (linked, filled) = self.fill_all();
                moved += filled;
            }
            let pending = self.kernel.sq_pending();
            if pending == 0 && moved == 0 && !self.kernel.needs_enter() {
                return Ok(()); // All of it went elsewhere.
            }
            let entered = match linked {
                0 | 1 => self.kernel.enter(Wait::No),
                n => self.kernel.enter_linked(n as u32),
            };
            match entered {
                Ok(()) => {}
                Err(Errno(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => return Ok(()),
                Err(e) => return Err(e),
            }
            let stuck = self.kernel.sq_pending() == pending;
            if (self.queued.get() == 0 && self.rows.is_empty()) || stuck || moved >= BURST {
                return Ok(());
            }
        }
    }

    /// What waits in rows and in queues: how many entries of rows are in the submission queue then,
    /// and how many of all. Out of line: most calls hand over what tasks have pushed, and nothing
    /// of what is called once for many tasks is in a near cache.
    #[inline(never)]
    fn fill_all(&self) -> (usize, usize) {
        let linked = self.fill_rows();
        (linked, linked + self.fill())
    }

    /// Moves queued entries into the submission queue while it has room.
    fn fill(&self) -> usize {
        let mut moved = self.fill_provided();
        while self.queued.get() != 0 && self.kernel.sq_space() != 0 {
            if !self.push_queued_cancel() {
                let Some(link) = self.entry_queues.iter().find_map(|q| q.pop_front()) else {
                    break;
                };
                // SAFETY: only links of records in flight are in these queues.
                let record = unsafe { Op::from_link(link) };
                self.closings.waits(&record.sqe.get(), false);
                let pushed = self.push_record(record, record.entry(), record.task());
                debug_assert!(pushed);
                record.is_in_kernel();
                self.list(record);
            }
            self.count_queued(-1);
            moved += 1;
        }
        moved
    }

    /// Asks the kernel to cancel what has that `user_data`; there is room.
    pub(super) fn push_cancel(&self, user_data: u64) {
        let mut sqe = Sqe::new(op::ASYNC_CANCEL, -1, 0, user_data, 0, 0);
        sqe.set_user_data(user_data & !TAG_MASK | TAG_CANCEL);
        self.cancels.set(self.cancels.get() + 1);
        // SAFETY: refers to no memory.
        unsafe { self.kernel.push(&sqe) };
    }
}

//! Operation records: what a task does with them, and what their completions do to it.

use core::ptr;

use super::grant::Wait;
use super::head::add;
use super::watch::by;
use super::Executor;
use crate::error::{Errno, RawResult, Res};
use crate::reactor::buffers::Buffers;
use crate::reactor::operation::{bit, Op, State, ENOENT};
use crate::reactor::rows::{home_of, is_marked};
use crate::reactor::validate::Completes;
use crate::reactor::{fixed, operation, validate};
use crate::sys::fd;
use crate::task::header::{mark, TaskRef, Waits};
use crate::trace::Kind;
use crate::uring::kernel::{op, Kernel, Sqe};

/// What of the entry has to be known at its end: noted, as the record's entry is the caller's.
pub(super) fn noted(sqe: &Sqe) -> u8 {
    match sqe.opcode() {
        op::CLOSE => bit::CLOSES,
        op::ACCEPT | op::OPENAT | op::OPENAT2 | op::SOCKET if sqe.file_index() != 0 => {
            bit::OPENS_DIRECT
        }
        op::ACCEPT | op::OPENAT | op::OPENAT2 | op::SOCKET | op::FIXED_FD_INSTALL => bit::OPENS,
        _ => 0,
    }
}

impl<K: Kernel> Executor<K> {
    /// As `begin_operation`, of an entry of which nothing has to be noted, and which the submission
    /// queue takes; nobody looks. False: nothing was done, and that is for `begin_operation`.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub unsafe fn begin_at_once(&self, task: TaskRef, record: &Op) -> bool {
        let head = record.word(0);
        let plain = validate::is_plain(head) && !record.is_in_flight.get();
        if !plain || self.watches(by::ITEMS) {
            return false;
        }
        // SAFETY: the caller's; it is idle, and was checked.
        if !unsafe { self.reactor.begin_by_words(record, head, task) } {
            return false;
        }
        // It completes in a call of the kernel at the earliest: there is time to note it.
        record.begun_at_once(task);
        record.closings.set(self.reactor.closings.count());
        add(&self.head.total_io_submitted, 1);
        true
    }

    /// EOPNOTSUPP: the kernel lacks the opcode, of which it says EINVAL, as of much else.
    pub fn known(&self, sqe: &Sqe) -> Res<()> {
        match validate::is_later(sqe.opcode()) && !self.reactor.kernel.knows(sqe.opcode()) {
            true => Err(Errno(libc::EOPNOTSUPP)),
            false => Ok(()),
        }
    }

    /// `task` runs now. EBUSY, EINVAL, ENOTSUP, EPERM: nothing has changed.
    ///
    /// # Safety
    /// `record` stays in place and the library's, and what its entry refers to valid, while in
    /// flight.
    pub unsafe fn begin_operation(&self, task: TaskRef, record: &Op) -> Res<()> {
        // SAFETY: the caller's.
        if unsafe { self.begin_at_once(task, record) } {
            return Ok(());
        }
        if record.is_in_flight.get() {
            return Err(Errno(libc::EBUSY));
        }
        if !self.reactor.kernel.has_ring() {
            return Err(Errno(libc::ENOTSUP));
        }
        // With its `user_data`, which names its row, and its executor.
        let sqe = record.sqe.get();
        let home = home_of(&sqe);
        if home != 0 && home != self.mailbox.home() {
            return Err(Errno(libc::EPERM));
        }
        if validate::is_plain_here(&sqe) {
            // SAFETY: the caller's.
            unsafe { self.begin(task, record, sqe, 0, None, 0) };
            return Ok(());
        }
        let on = if fixed::is_on_buffer(&sqe) { self.reactor.fixed_of(&sqe)? } else { None };
        let row = if is_marked(&sqe) { self.prepare_write(record, &sqe)? } else { None };
        let direct = matches!(noted(&sqe), bit::OPENS_DIRECT | bit::CLOSES);
        if direct && sqe.file_index() != 0 && !self.knows_direct() {
            let closes = noted(&sqe) == bit::CLOSES;
            return Err(Errno(if closes { libc::EBADF } else { libc::ENFILE }));
        }
        let (bits, buffers) = match validate::record(&sqe)? {
            Completes::Singly if row.is_some() => (bit::ORDERED, None),
            Completes::Singly => (noted(&sqe), None),
            Completes::SinglyIfKnown => {
                self.known(&sqe)?;
                (noted(&sqe), None)
            }
            Completes::Events => (bit::STREAM, None),
            Completes::Buffers(group) => {
                self.known(&sqe)?;
                let buffers = self.reactor.buffers_of(group).ok_or(Errno(libc::EINVAL))?;
                record.sqe.set(buffers.entry(record.sqe.get()));
                (bit::STREAM, Some(buffers))
            }
        };
        if let Some((fixed, number)) = on {
            record.sqe.set(fixed.entry(number, record.sqe.get()));
        }
        // SAFETY: the caller's.
        unsafe {
            self.begin(task, record, record.sqe.get(), bits, buffers, row.unwrap_or_default())
        };
        if bits == bit::OPENS_DIRECT {
            record.opens_at(self.mailbox.home());
        }
        match on {
            // Over at once, behind a write that has failed.
            Some(_) if record.state.get() == State::Done => {
                record.sqe.set(fixed::as_given(&record.sqe.get()));
            }
            Some((fixed, number)) => record.uses(fixed.users(number)),
            None => {}
        }
        Ok(())
    }

    /// # Safety
    /// As `begin_operation`; idle, its entry is `sqe`, which was checked, and there is a ring.
    #[inline(always)]
    pub(super) unsafe fn begin(
        &self,
        task: TaskRef,
        record: &Op,
        sqe: Sqe,
        bits: u8,
        buffers: Option<&Buffers>,
        row: u16,
    ) {
        record.begun(task, bits);
        record.closings.set(self.reactor.closings.count());
        if let Some(buffers) = buffers {
            record.receives_into(buffers);
        }
        add(&self.head.total_io_submitted, 1);
        if bits & bit::ORDERED != 0 {
            if self.watches(by::ITEMS) {
                self.watched_operation(record, Kind::Begin, false);
            }
            record.joins(row);
            return self.begin_ordered(record);
        }
        // SAFETY: the caller's.
        unsafe { self.reactor.begin(record, sqe) };
        // Last: the entry's words would be kept in memory across the call.
        if self.watches(by::ITEMS) {
            self.watched_operation(record, Kind::Begin, false);
        }
    }

    /// SUSPENDS. `task` runs now.
    pub fn wait_operation(&self, task: TaskRef, record: &Op) -> RawResult {
        if let Err(e) = record.may_be_awaited_by(task) {
            return RawResult::failure(e);
        }
        match self.await_record(task, Some(record)) {
            0 => {
                self.take(task, record);
                record.result.get()
            }
            e => RawResult::from_kernel(e),
        }
    }

    /// Takes what is pending of `record`, of `task`.
    #[inline(always)]
    pub(super) fn take(&self, task: TaskRef, record: &Op) {
        if !record.take_plain(task) {
            self.take_noted(record);
        }
    }

    /// The rest of `take`.
    #[inline(never)]
    fn take_noted(&self, record: &Op) {
        record.take();
        if record.has(bit::ORDERED) {
            self.reactor.row_goes_on(record);
        }
    }

    /// Takes a completion of `record` that is there.
    pub fn take_completion(&self, record: &Op) -> Option<RawResult> {
        if record.pending.get() == 0 {
            return None;
        }
        self.take(record.task(), record);
        Some(record.result.get())
    }

    /// The record whose completion is the next to be taken.
    #[inline(always)]
    fn first_completed<'a>(task: TaskRef) -> Res<&'a Op> {
        let link = task.completed.front().ok_or(ENOENT)?;
        // SAFETY: only records of the task that are in flight are in that list.
        Ok(unsafe { Op::from_link(link) })
    }

    /// What `wait_any` does most of the time, without a frame: a plain operation has ended. None,
    /// and nothing was done: that is for `wait_any`.
    #[inline(always)]
    pub fn take_any(&self, task: TaskRef) -> Option<&Op> {
        if task.has(mark::STOPS) {
            return None;
        }
        Self::first_completed(task).ok().filter(|record| record.take_first(task))
    }

    /// SUSPENDS. `task` runs now. The record whose completion was taken: none of a `RecvStream`.
    #[inline(always)]
    pub fn wait_any(&self, task: TaskRef) -> Res<&Op> {
        if !Self::has_others(task) {
            return Err(ENOENT);
        }
        match self.await_record(task, None) {
            0 => {
                let record = Self::first_completed(task)?;
                if record.is_of_a_stream() {
                    return self.wait_past_streams(task);
                }
                self.take(task, record);
                Ok(record)
            }
            e => Err(Errno(-e)),
        }
    }

    /// Whether `task` has an operation in flight that is no `RecvStream`'s.
    #[inline(always)]
    fn has_others(task: TaskRef) -> bool {
        let mut next = task.operations.front();
        while let Some(link) = next {
            // SAFETY: in that list of records in flight.
            unsafe {
                if !Op::from_of_task(link).is_of_a_stream() {
                    return true;
                }
                next = task.operations.after(link);
            }
        }
        false
    }

    /// The rest of `wait_any`, where a `RecvStream` has something to be taken.
    #[cold]
    #[inline(never)]
    fn wait_past_streams(&self, task: TaskRef) -> Res<&Op> {
        loop {
            let mut next = task.completed.front();
            while let Some(link) = next {
                // SAFETY: only records of the task that are in flight are in that list.
                let record = unsafe {
                    next = task.completed.after(link);
                    Op::from_link(link)
                };
                if !record.is_of_a_stream() {
                    self.take(task, record);
                    return Ok(record);
                }
            }
            self.suspend_for(task, None); // Until any has come, a stream's too.
            let stopped = match task.head.outcome.get() {
                0 if task.has(mark::STOPS) => self.stop(task),
                outcome => outcome,
            };
            if stopped != 0 {
                return Err(Errno(-stopped));
            }
        }
    }

    /// Until that record of the task, or any, has a completion to be taken: 0.
    #[inline(always)]
    pub(super) fn await_record(&self, task: TaskRef, record: Option<&Op>) -> i32 {
        if task.has(mark::STOPS) {
            let stopped = self.stop(task);
            if stopped != 0 {
                return stopped;
            }
        }
        let pending = match record {
            Some(record) => record.pending.get() != 0,
            None => !task.completed.is_empty(),
        };
        if pending {
            return 0;
        }
        self.suspend_for(task, record);
        task.head.outcome.get()
    }

    #[inline(never)]
    pub(super) fn suspend_for(&self, task: TaskRef, record: Option<&Op>) {
        task.peer.set(record.map_or(ptr::null(), |record| ptr::from_ref(record).cast()));
        task.waits.set(Waits::Operation);
        task.head.outcome.set(0);
        task.awaits();
        self.leave(task);
    }

    /// SUSPENDS. `task_io` where there is no room in the submission queue: a record on the task's
    /// stack.
    ///
    /// # Safety
    /// As `io`.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn io_queued(&self, task: TaskRef, sqe: &Sqe) -> i32 {
        let record = Op::internal(sqe);
        // SAFETY: in place until it is over, which is waited for below; the rest is the caller's.
        unsafe { self.begin(task, &record, *sqe, noted(sqe) | bit::INTERNAL, None, 0) };
        self.suspend_for(task, Some(&record));
        debug_assert!(record.state.get() == State::Done, "such a wait ends with its operation");
        record.take();
        task.head.outcome.set(record.outcome.get());
        task.cqe_flags.set(record.cqe_flags.get());
        record.outcome.get()
    }

    /// EPERM: not a task's of ours.
    pub fn cancel_operation(&self, record: &Op) -> Res<()> {
        if !record.is_in_flight.get() {
            return Err(ENOENT);
        }
        if !record.task().state().is_attached_to(self.address()) {
            return Err(Errno(libc::EPERM));
        }
        if self.reactor.cancel_record(record) {
            self.record_completed(record, true, self.stamp());
        }
        Ok(())
    }

    /// A record has a completion to be taken; `over`: its last.
    #[inline(always)]
    pub(super) fn record_completed(&self, record: &Op, over: bool, now: u64) {
        if self.is_awaited(record, over) {
            self.waiter_completed(record, now);
        }
    }

    /// As `record_completed`. True: its task waits for something, and `waiter_completed` is to be
    /// called, which may make that ready.
    #[inline(always)]
    pub(super) fn is_awaited(&self, record: &Op, over: bool) -> bool {
        if self.watches(by::TRACED) {
            self.watched_operation(record, Kind::Complete, over);
        }
        if over {
            add(&self.head.total_io_completed, 1);
        }
        // SAFETY: in flight, as its completion was not taken.
        let waits = unsafe { record.owner() }.waits.get();
        waits as u8 > Waits::Ready as u8
    }

    /// The task of `record` waits for it, or for something else.
    #[inline(never)]
    pub(super) fn waiter_completed(&self, record: &Op, now: u64) {
        let task = record.task();
        match task.waits.get() {
            Waits::Operation
                if task.peer.get().is_null() || ptr::eq(task.peer.get().cast(), record) =>
            {
                task.waits.set(Waits::Nothing);
                self.make_ready(task, now);
            }
            Waits::Grant => {
                let is_for_it = |wait: &&Wait| wait.claim_for(ptr::from_ref(record).cast());
                if Self::wait_of(task).filter(is_for_it).is_some() {
                    task.waits.set(Waits::Nothing);
                    self.make_ready(task, now);
                }
            }
            Waits::Closing => {
                self.discard(record);
                if task.operations.is_empty() {
                    task.waits.set(Waits::Nothing);
                    self.closed(task, now);
                }
            }
            _ => {}
        }
    }

    /// A cancel of a task that waits for a record. True: the wait is over, the task in no list.
    pub(super) fn cancel_record_wait(&self, task: TaskRef) -> bool {
        // SAFETY: null, or the record that the task waits for, which is in flight.
        match unsafe { task.peer.get().cast::<Op>().as_ref() } {
            Some(record) if record.has(bit::INTERNAL) => {
                if self.reactor.cancel_record(record) {
                    self.record_completed(record, true, self.stamp());
                }
                false
            }
            _ => {
                task.waits.set(Waits::Nothing);
                true
            }
        }
    }

    /// `task` has returned with operations in flight: cancels them. True: some have yet to end.
    #[cold]
    pub(super) fn close_operations(&self, task: TaskRef) -> bool {
        let mut next = task.operations.front();
        while let Some(link) = next {
            // SAFETY: in that list of records in flight.
            let record = unsafe {
                next = task.operations.after(link);
                operation::Op::from_of_task(link)
            };
            if self.reactor.cancel_record(record) {
                add(&self.head.total_io_completed, 1);
            }
            if record.pending.get() != 0 {
                self.discard(record);
            }
        }
        !task.operations.is_empty()
    }

    /// SUSPENDS until `record`, of `task`, which runs, is over; nobody takes what it brings.
    /// Whatever levels of the task have fired.
    pub fn end_operation(&self, task: TaskRef, record: &Op) -> Res<()> {
        self.cancel_operation(record)?;
        self.arm_all(task);
        while record.is_in_flight.get() {
            if record.pending.get() == 0 {
                self.suspend_for(task, Some(record));
            }
            self.discard(record);
        }
        Ok(())
    }

    /// Nobody takes what `record` has brought.
    fn discard(&self, record: &Op) {
        let opens = record.bits.get() & (bit::OPENS | bit::OPENS_DIRECT);
        let index = record.sqe.get().file_index();
        let discarded = record.discard();
        if record.has(bit::ORDERED) {
            self.reactor.row_goes_on(record);
        }
        if let Some(buffers) = discarded {
            // SAFETY: they stay while the executor does, unless nothing is held of them.
            self.buffer_freed(unsafe { buffers.as_ref() });
        }
        if record.is_in_flight.get() {
            return;
        }
        if opens != 0 {
            self.close_unclaimed(record.result.get(), opens == bit::OPENS_DIRECT, index);
        }
        let sqe = record.sqe.get();
        if record.result.get().error != 0 {
            return;
        }
        match sqe.opcode() {
            op::PIPE => {
                // SAFETY: what its entry refers to is there until its task goes on.
                let ends = unsafe { (sqe.addr() as *const [i32; 2]).read_unaligned() };
                ends.iter().for_each(|&end| self.close_end(end, index != 0));
            }
            // SAFETY: as above, and the kernel has written what has come.
            op::RECVMSG => unsafe { fd::close_received(sqe.addr() as *mut libc::msghdr) },
            _ => {}
        }
    }

    /// The I/O priority of `task` has changed.
    pub(super) fn requeue_operations(&self, task: TaskRef) {
        let mut next = task.operations.front();
        while let Some(link) = next {
            // SAFETY: as above.
            let record = unsafe {
                next = task.operations.after(link);
                Op::from_of_task(link)
            };
            self.reactor.requeue(record);
        }
    }
}

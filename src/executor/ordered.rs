//! Ordered writes: what a task does with its row. OWNER'S THREAD. How rows work: `reactor::rows`.

use core::cell::Cell;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::head::add;
use super::scope::{NEVER_NS, SHIELD};
use super::Executor;
use crate::error::{Errno, RawResult, Res};
use crate::intrusive::Link;
use crate::reactor::batch::{Batch, Worker};
use crate::reactor::operation::{bit, Op};
use crate::reactor::place::Place;
use crate::reactor::rows::{self, Broken, Row};
use crate::sys::file;
use crate::sys::patience::{Patience, LOOK_NS};
use crate::task::header::{mark, TaskRef};
use crate::uring::abi::sqe as flag;
use crate::uring::kernel::{op, Kernel, Sqe};

const EBADF: Errno = Errno(libc::EBADF);

/// Between two looks at a row that is on its way back.
const PAUSE_NS: u64 = 20_000;
const LONGEST_PAUSE_NS: u64 = 10_000_000;

/// An ordered file: its handle, and the number of its row.
#[derive(Clone, Copy)]
pub struct Ordered {
    pub fd: i32,
    pub direct: bool,
    pub row: u16,
}

/// How an executor waits for batches.
#[derive(Default)]
pub(super) struct Looks {
    patience: Cell<Patience>,
    /// Since when it waits; 0: one has come since.
    since_ns: Cell<u64>,
}

impl<K: Kernel> Executor<K> {
    /// EXPENSIVE. From here on writes to that handle may be ordered. `worker` performs rows of a
    /// regular file that is written to the kernel's memory, if that may block, and for no task of
    /// ours (see `reactor::batch`, rule 6). EINVAL: it is ordered, by another handle, and written.
    pub fn open_row(
        &self,
        fd: i32,
        direct: bool,
        worker: impl FnOnce() -> Res<Box<dyn Worker>>,
    ) -> Res<u16> {
        if self.closes.has(fd, direct) {
            return Err(EBADF); // What is begun by that row would be in the way of its close.
        }
        let row = self.reactor.rows.of(fd, direct).map(|row| Ordered { fd, direct, row });
        if row.is_some_and(|file| self.row(file).is_ok_and(|row| !row.is_idle())) {
            return Err(Errno(libc::EINVAL));
        }
        let merges = !direct && file::is_regular(fd);
        // SENDMSG_ZC: as new as the file systems that do not block, see there.
        let at_once = self.kernel().knows(op::SENDMSG_ZC) && file::writes_at_once(fd);
        let blocks = merges && file::is_buffered(fd) && !at_once;
        let blocks = blocks && !file::is_served_by_a_process(fd);
        let worker = if blocks { Some(worker()?) } else { None };
        let place = Place::new(!direct && file::is_unbuffered(fd));
        self.reactor.rows.open(fd, direct, merges, place, worker)
    }

    /// BATCH has arrived.
    ///
    /// # Safety
    /// `link` is that of a batch of ours.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn batch_is_back(&self, link: NonNull<Link>) {
        // SAFETY: the caller's.
        self.reactor.batch_is_back(unsafe { Batch::from_link(link) });
        self.batch_came();
        self.tell_of_rows(self.stamp());
    }

    /// Tells the tasks whose records are over by what became of their rows.
    #[inline(never)]
    pub(super) fn tell_of_rows(&self, now: u64) {
        while let Some(record) = self.reactor.pop_ended() {
            self.record_completed(record, true, now);
        }
    }

    /// Before a sleep, until `boot_ns` at most: whether there is something by now that would end
    /// it. While a helper performs batches that come soon after each other, the executor looks for
    /// the next one for a while: to be woken takes the helper as long as many writes.
    #[inline(always)]
    pub(super) fn has_looked(&self, boot_ns: u64) -> bool {
        self.reactor.rows.are_elsewhere() && self.may_sleep() && self.look_for_batch(boot_ns)
    }

    #[inline(never)]
    fn look_for_batch(&self, boot_ns: u64) -> bool {
        let (kernel, batches) = (&self.reactor.kernel, &self.batches);
        let since_ns = kernel.now_boot_ns();
        if batches.since_ns.get() == 0 {
            batches.since_ns.set(since_ns);
        }
        let mut patience = batches.patience.get();
        let looks = kernel.is_beside_others() && patience.looks();
        let (mut found, mut looked_ns) = (false, 0);
        while looks && looked_ns < LOOK_NS && looked_ns < boot_ns.saturating_sub(since_ns) {
            let mail = self.mailbox.inbox.has_any();
            found = mail || kernel.has_completions() || kernel.needs_enter();
            if found {
                break;
            }
            std::thread::yield_now(); // Who waits for this processor gets it.
            looked_ns = kernel.now_boot_ns().saturating_sub(since_ns);
        }
        if looks {
            patience.looked(found, looked_ns);
        }
        batches.patience.set(patience);
        found
    }

    /// A batch is back that the executor may have waited for.
    fn batch_came(&self) {
        let since_ns = self.batches.since_ns.replace(0);
        if since_ns != 0 {
            let mut patience = self.batches.patience.get();
            patience.came(self.reactor.kernel.now_boot_ns().saturating_sub(since_ns));
            self.batches.patience.set(patience);
        }
    }

    fn row(&self, file: Ordered) -> Res<&Row> {
        self.reactor.rows.get(file.row, file.fd, file.direct).ok_or(EBADF)
    }

    /// How the last row that was cut short has ended.
    pub fn row_error(&self, file: Ordered) -> Res<Broken> {
        self.row(file).map(Row::broken)
    }

    /// A record whose entry is a write of the library's: its row, if it names one. EBADF: there is
    /// none such.
    pub(super) fn prepare_write(&self, record: &Op, sqe: &Sqe) -> Res<Option<u16>> {
        if !matches!(sqe.opcode(), op::WRITE | op::WRITEV | op::WRITE_FIXED) {
            return Ok(None);
        }
        let row = rows::named_by(sqe);
        if let Some(row) = row {
            let direct = sqe.flags() & flag::FIXED_FILE != 0;
            self.row(Ordered { fd: sqe.fd(), direct, row })?;
        }
        record.sqe.set(sqe.raising_no_signal(self.reactor.kernel.knows_no_signal()));
        Ok(row)
    }

    /// SUSPENDS until the whole of a write is done, after those that were begun before it. With an
    /// error the value is what was written of it.
    ///
    /// # Safety
    /// What `sqe`, which was checked, refers to stays valid until the call returns.
    pub unsafe fn write_ordered(&self, task: TaskRef, file: Ordered, sqe: &Sqe) -> RawResult {
        if task.has(mark::STOPS) {
            let stopped = self.stop(task);
            if stopped != 0 {
                return RawResult { value: 0, error: -stopped, reserved: 0 };
            }
        }
        match self.row(file) {
            // SAFETY: the caller's.
            Ok(_) => unsafe { self.pass_through(task, file.row, sqe) },
            Err(e) => RawResult { value: 0, error: e.0, reserved: 0 },
        }
    }

    /// # Safety
    /// As `write_ordered`; there is such a row.
    unsafe fn pass_through(&self, task: TaskRef, row: u16, sqe: &Sqe) -> RawResult {
        let record = Op::internal(sqe);
        // SAFETY: in place until it is over, which is waited for below; the rest is the caller's.
        unsafe { self.begin(task, &record, *sqe, bit::ORDERED | bit::INTERNAL, None, row) };
        if record.pending.get() == 0 {
            self.suspend_for(task, Some(&record));
        }
        self.take(task, &record);
        record.result.get()
    }

    /// The rest of `begin`, for a record of a row.
    pub(super) fn begin_ordered(&self, record: &Op) {
        if self.reactor.begin_ordered(record) {
            add(&self.head.total_io_completed, 1);
        }
    }

    /// SUSPENDS, shielded. As `close_handle`. What the kernel has of the row is over before the
    /// descriptor is closed: it looks a file up when it comes to its entry.
    pub fn close_ordered(&self, task: TaskRef, file: Ordered) -> Res<()> {
        let row = self.row(file)?;
        let close = self.close_of(task, file.fd, file.direct);
        // SAFETY: in place until it is removed.
        unsafe { self.closes.add(&close) };
        let closed = self.end_row(task, file, row).and_then(|()| {
            let closed = self.close_alone(&close, true);
            self.reactor.rows.close(file.row);
            closed
        });
        self.closes.remove(&close);
        closed
    }

    /// SUSPENDS, shielded, until the kernel has nothing of it.
    fn end_row(&self, task: TaskRef, file: Ordered, row: &Row) -> Res<()> {
        let now = self.stamp();
        self.reactor.row_closes(row, |record| self.record_completed(record, true, now));
        if row.is_in_kernel() {
            let mut shield = MaybeUninit::uninit();
            // SAFETY: in place until it is left; the entries refer to no memory.
            unsafe {
                self.enter_scope(task, shield.as_mut_ptr(), NEVER_NS, SHIELD);
                let cancel = self.reactor.closing(file.fd, file.direct, |record| {
                    self.record_completed(record, true, now);
                });
                let by_one = cancel.is_none();
                self.cancel_on_handle(task, cancel);
                // What is linked begins once what is before it has ended, maybe where no request
                // finds it: so again and again. A regular file's writes end by themselves.
                let mut pause_ns = PAUSE_NS;
                while (by_one || !row.merges()) && row.is_in_kernel() {
                    if by_one {
                        self.reactor.cancel_row(row);
                    }
                    if self.sleep(task, pause_ns) != 0 {
                        break;
                    }
                    if !by_one && row.is_in_kernel() {
                        self.cancel_on_handle(task, cancel);
                    }
                    pause_ns = (pause_ns * 2).min(LONGEST_PAUSE_NS);
                }
                // Behind what is in the kernel.
                self.arm_all(task);
                while row.is_in_kernel() {
                    self.pass_through(task, file.row, &Sqe::new(op::NOP, -1, 0, 0, 0, 0));
                    // Refused at once, if the row has failed, and the one that has that error has
                    // not taken it.
                    if row.is_in_kernel() && self.sleep(task, PAUSE_NS) != 0 {
                        break;
                    }
                }
                self.leave_scope(task, shield.as_ptr())?;
            }
        }
        Ok(())
    }
}

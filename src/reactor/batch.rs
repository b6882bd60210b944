//! Ordered writes that a thread performs which may block: one after the other, by system calls, and
//! all of a row before the executor hears of it. Where a file system cannot write without blocking,
//! the kernel hands each linked write to a thread of its own and back, which costs several times
//! what the write does.
//!
//! 1. While a batch is out it is the thread's that performs it, with the records' memory: its row
//!    counts as one in the kernel, stays where it is, and nothing of it is looked at.
//! 2. It ends at the first write that is not done as a whole, as links do, and after a while: what
//!    is done is to be told of.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::NonNull;

use super::operation::Op;
use super::ordered::{part_of, rest, wanted};
use super::rows::{Row, LENGTH_MAX};
use super::Reactor;
use crate::error::Res;
use crate::intrusive::Link;
use crate::sys::{alloc, clock, file};
use crate::uring::kernel::{op, Kernel, Sqe};

/// No write is begun that much later than the first.
const LONGEST_NS: u64 = 1_000_000;

/// What a write ends with that was not begun.
const NOT_BEGUN: i32 = -libc::ECANCELED;

#[repr(C)]
pub struct Batch {
    /// On its way back: in the executor's inbox.
    link: Link,
    row: u16,
    fd: i32,
    count: Cell<u32>,
    writes: [Cell<Sqe>; LENGTH_MAX as usize],
    results: [Cell<i32>; LENGTH_MAX as usize],
    /// There was no thread for it.
    refused: Cell<bool>,
}

const _: () = assert!(offset_of!(Batch, link) == 0);

/// Who has batches performed.
pub trait Worker {
    /// Has `batch` performed on another thread, and its link posted to the executor then.
    /// EXPENSIVE: a lock, and a system call, or a new thread.
    ///
    /// # Safety
    /// It stays until it is back, and what its writes refer to.
    unsafe fn submit(&self, batch: NonNull<Batch>);
}

/// Where the rows of one file are performed.
pub struct Elsewhere {
    worker: Box<dyn Worker>,
    batch: Box<Batch>,
    /// There was no thread once: links have to do from then on.
    is_over: Cell<bool>,
}

impl Elsewhere {
    pub(super) fn new(worker: Box<dyn Worker>, row: u16, fd: i32) -> Res<Self> {
        Ok(Self { worker, batch: Batch::new(row, fd)?, is_over: Cell::new(false) })
    }
}

impl<K: Kernel> Reactor<K> {
    /// Has what waits performed elsewhere, behind what was taken off already, if that is better:
    /// not where that is most of it, and goes to the kernel as one write.
    pub(super) fn goes_elsewhere(&self, row: &Row) -> bool {
        let Some(to) = row.elsewhere.as_ref().filter(|to| !to.is_over.get()) else { return false };
        // SAFETY: records in flight are in a row's lists, by this link.
        let takes = |link| Batch::takes(unsafe { Op::from_link(link) });
        if row.merged.get() > LENGTH_MAX / 2 || !row.waiting.front().is_some_and(takes) {
            return false;
        }
        let taken = row.flying.take_all();
        let fits = taken.front().is_some_and(takes);
        to.batch.clear();
        while let Some(link) = taken.pop_front() {
            // SAFETY: as above; out of the other list, and in place while in flight.
            unsafe {
                to.batch.add(Op::from_link(link));
                let _ = row.flying.push_back(link);
            }
        }
        if !fits {
            return false;
        }
        while !to.batch.is_full() && row.waiting.front().is_some_and(takes) {
            let Some(record) = row.take_off() else { break };
            to.batch.add(record);
        }
        row.merged.set(1);
        row.in_kernel.set(to.batch.count.get());
        // SAFETY: in the row's box, which stays while it has something in the kernel; the records'
        // owners vouch for the rest.
        unsafe { to.worker.submit(NonNull::from(&*to.batch)) };
        true
    }

    /// A batch is back: what is over by that is to be had from `pop_ended`.
    pub fn batch_is_back(&self, batch: &Batch) {
        let row = self.rows.at(batch.row).expect("it stays while it has records");
        if batch.refused.get() {
            row.breaks.set(true);
            row.elsewhere.as_ref().inspect(|to| to.is_over.set(true));
        }
        let flying = row.flying.take_all();
        for n in 0..batch.count.get() as usize {
            let link = flying.pop_front().expect("as many as were taken off");
            // SAFETY: records in flight are in there, by this link.
            let record = unsafe {
                let _ = row.flying.push_back(link);
                Op::from_link(link)
            };
            let result = batch.results[n].get();
            if result == NOT_BEGUN {
                row.breaks.set(true); // By who came before, or for the time.
            }
            self.row_completed(record, result);
        }
    }
}

impl Batch {
    /// Never on the stack, of which a task may have no more than this takes.
    fn new(row: u16, fd: i32) -> Res<Box<Self>> {
        // SAFETY: zeros are a batch of nothing.
        let mut batch = unsafe { alloc::try_zeroed::<Self>() }?;
        (batch.row, batch.fd) = (row, fd);
        Ok(batch)
    }

    /// # Safety
    /// `link` is that of a batch that is back.
    pub unsafe fn from_link<'a>(link: NonNull<Link>) -> &'a Self {
        // SAFETY: the caller's; the first field.
        unsafe { link.cast().as_ref() }
    }

    pub fn link(&self) -> NonNull<Link> {
        NonNull::from(self).cast()
    }

    /// Whether it can do such a write. Of a vectored one that came short the kernel is given part
    /// by part.
    fn takes(record: &Op) -> bool {
        match record.sqe.get().opcode() {
            op::WRITE => true,
            op::WRITEV => record.progress.get() == 0,
            _ => false,
        }
    }

    fn clear(&self) {
        self.count.set(0);
        self.refused.set(false);
    }

    fn is_full(&self) -> bool {
        self.count.get() == LENGTH_MAX
    }

    /// There is room.
    fn add(&self, record: &Op) {
        let n = self.count.get();
        self.writes[n as usize].set(rest(&record.sqe.get(), record.progress.get()));
        self.results[n as usize].set(NOT_BEGUN);
        self.count.set(n + 1);
    }

    /// There is no thread for it.
    pub fn refuse(&self) {
        self.refused.set(true);
    }

    /// Blocks.
    ///
    /// # Safety
    /// It is out (rule 1), and this is its thread.
    pub unsafe fn perform(&self) {
        // SAFETY: what the writes refer to is in place while their records are in flight.
        self.perform_by(clock::boot_ns, |sqe| unsafe { write(self.fd, sqe) });
    }

    /// `write` performs one of them; `now_ns` is the time.
    pub fn perform_by(&self, now_ns: impl Fn() -> u64, write: impl Fn(&Sqe) -> i32) {
        let until_ns = now_ns().saturating_add(LONGEST_NS);
        for n in 0..self.count.get() {
            if n != 0 && now_ns() > until_ns {
                return;
            }
            let sqe = self.writes[n as usize].get();
            let written = write(&sqe);
            self.results[n as usize].set(written);
            if u64::try_from(written) != Ok(wanted(&sqe)) {
                return;
            }
        }
    }
}

/// # Safety
/// What it refers to is valid.
unsafe fn write(fd: i32, sqe: &Sqe) -> i32 {
    let part = part_of(sqe);
    let (at, count) = match sqe.opcode() {
        op::WRITEV => (sqe.addr() as *const libc::iovec, sqe.len()),
        _ => (&raw const part, 1),
    };
    // SAFETY: the caller's.
    match unsafe { file::transfer(fd, true, (at, count), sqe.off(), sqe.op_flags()) } {
        Ok(bytes) => bytes as i32,
        Err(e) => -e.0,
    }
}

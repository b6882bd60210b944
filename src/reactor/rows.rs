//! Ordered writes: those to one file go to the kernel in rows of linked entries, one row at a time,
//! in the order in which they were begun.
//!
//! ```text
//!             begin                 submit: one row                the kernel
//!   record ----------> waiting ---------------------> flying ---------------------> complete
//!                         ^                              |  short, or not performed
//!                         `------------------------------'  because the row broke
//! ```
//!
//! 1. A row is in the kernel as a whole or not at all: the next one is handed over when the last
//!    completion of this one is there. So nothing depends on the order of completions.
//! 2. A write that came short breaks its row, as the kernel has it. The rest of it, and then those
//!    behind it, are the next row. So does one that was cancelled alone; it is left out.
//! 3. An error breaks the row for all that are behind: they end with ECANCELED, and so does what is
//!    begun until the one that failed was taken by its task, which is then the first to know.
//! 4. Writes that go on where the one before ends are one entry, a vectored one, where the file is
//!    a regular one: links cost a switch between this thread and one of the kernel's for each write
//!    that may not be done at once. If the file has a thread that may block, that performs them
//!    all, one alone too, for which a thread of the kernel's would be woken: see `batch`.
//! 5. Links end at the border of what one call of the kernel submits. It takes all that is offered,
//!    unless it has no memory for a request: then the rest of the row is not performed, see
//!    `uring::chain`, and comes back. Kernels that stop at a bad entry get rows of one.

use core::cell::{Cell, RefCell};
use core::ptr::{self, NonNull};

pub use super::ordered::{home_of, is_marked, name, named_by, wanted};

use super::batch::{Elsewhere, Worker};
use super::closing::{handle, is_gone};
use super::operation::{bit, is_not_performed, Op, State, KEPT_FROM, RETRIES_MAX};
use super::ordered::rest;
use super::place::Place;
use super::row_of::RowOf;
use super::{priority, Reactor};
use crate::error::{Errno, Res};
use crate::intrusive::{Fifo, Link};
use crate::sys::{alloc, file};
use crate::uring::abi::sqe as flag;
use crate::uring::kernel::Kernel;

/// The longest row, so that what others wait for is not behind thousands.
pub(super) const LENGTH_MAX: u32 = 64;

/// Why a row has ended.
#[derive(Clone, Copy, Default)]
pub struct Broken {
    pub error: i32,
    /// Writes that were not done for it.
    pub canceled: u32,
    /// Where in the file it came to its end; -1: at its current position.
    pub offset: i64,
}

#[repr(C)]
pub struct Row {
    /// In the list of those that have something to hand over, and nothing in the kernel.
    link: Link,
    is_ready: Cell<bool>,
    handle: u64,
    /// See `Rows::of`.
    pub(super) identity: u64,
    pub(super) waiting: Fifo,
    pub(super) flying: Fifo,
    /// Entries in the kernel, or writes that are elsewhere; and how many records the first of them
    /// is of.
    pub(super) in_kernel: Cell<u32>,
    pub(super) merged: Cell<u32>,
    /// Of a merged entry. `None`: what is written has borders, as a message has.
    pub(super) parts: Option<Box<[Cell<libc::iovec>; LENGTH_MAX as usize]>>,
    pub(super) place: Place,
    /// Where a row is performed instead, if there is such a place.
    pub(super) elsewhere: Option<Elsewhere>,
    /// The row in the kernel has been broken: what is not performed is no fault of its own.
    pub(super) breaks: Cell<bool>,
    /// What was in the kernel was refused with writes that are not to blame: the first of them is a
    /// row of its own.
    apart: Cell<bool>,
    pub(super) is_closing: Cell<bool>,
    /// The write that has failed, until it is taken (rule 3).
    failed: Cell<*const Op>,
    /// It was taken before all of its row came back: what is flying is behind an error.
    is_behind: Cell<bool>,
    broken: Cell<Broken>,
}

/// Those of one executor.
#[derive(Default)]
pub struct Rows {
    // Boxes: they are in lists.
    #[allow(clippy::vec_box)]
    table: RefCell<Vec<Option<Box<Row>>>>,
    ready: Fifo,
    pub(super) row_of: RowOf,
    /// Batches that are out.
    pub(super) out: Cell<u32>,
    /// Records behind an error, to be told.
    pub(super) ended: Fifo,
}

impl Rows {
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Batches are out.
    pub fn are_elsewhere(&self) -> bool {
        self.out.get() != 0
    }

    /// EXPENSIVE. `merges`: two writes may be done as one. `place`: see there. `worker`: see
    /// `batch`. ENFILE: there are too many; ENOMEM.
    pub fn open(
        &self,
        fd: i32,
        direct: bool,
        merges: bool,
        place: Place,
        worker: Option<Box<dyn Worker>>,
    ) -> Res<u16> {
        // SAFETY: zeros are parts of nothing.
        let parts = merges.then(|| unsafe { alloc::try_zeroed() }).transpose()?;
        let mut row = alloc::try_box(Row {
            link: Link::new(),
            is_ready: Cell::new(false),
            handle: handle(fd, direct),
            identity: if direct { 0 } else { file::identity(fd) },
            waiting: Fifo::new(),
            flying: Fifo::new(),
            in_kernel: Cell::new(0),
            merged: Cell::new(1),
            parts,
            place,
            elsewhere: None,
            breaks: Cell::new(false),
            apart: Cell::new(false),
            is_closing: Cell::new(false),
            failed: Cell::new(ptr::null()),
            is_behind: Cell::new(false),
            broken: Cell::default(),
        })?;
        self.row_of.make_room(row.handle)?;
        let mut table = self.table.borrow_mut();
        // One that was closed behind our back leaves its number to the next of that descriptor. Not
        // one whose close is under way: that one closes it, and by its number.
        let unused = |old: &Row| old.is_idle() && !old.is_closing.get();
        let same = |old: &Row| old.handle == row.handle && unused(old);
        let mut free = table.iter().position(|old| old.as_ref().is_some_and(|old| same(old)));
        free = free.or_else(|| table.iter().position(Option::is_none));
        if free.is_none() && table.len().is_power_of_two() {
            for place in table.iter_mut() {
                let over = place.take_if(|old| unused(old) && is_gone(old.handle));
                over.iter().for_each(|row| self.end_turn(row));
            }
            free = table.iter().position(Option::is_none);
        }
        let index = free.unwrap_or(table.len());
        let number = u16::try_from(index).map_err(|_| Errno(libc::ENFILE))?;
        if free.is_none() {
            table.try_reserve(1).map_err(|_| Errno(libc::ENOMEM))?;
            table.push(None);
        }
        if let Some(worker) = worker {
            row.elsewhere = Some(Elsewhere::new(worker, number, fd)?);
        }
        self.row_of.set(row.handle, number);
        if let Some(old) = table[index].replace(row) {
            self.end_turn(&old);
        }
        Ok(number)
    }

    /// The row of that number, if it is that handle's.
    pub fn get(&self, number: u16, fd: i32, direct: bool) -> Option<&Row> {
        self.at(number).filter(|row| row.handle == handle(fd, direct) && !row.is_closing.get())
    }

    pub(super) fn at(&self, number: u16) -> Option<&Row> {
        let table = self.table.borrow();
        let row = ptr::from_ref(&**table.get(number as usize)?.as_ref()?);
        // SAFETY: in its box until `close`, which is for one that nobody refers to.
        Some(unsafe { &*row })
    }

    /// Idle.
    pub fn close(&self, number: u16) {
        if let Some(row) = self.at(number) {
            debug_assert!(row.is_idle());
            self.end_turn(row);
            self.table.borrow_mut()[number as usize] = None;
        }
    }

    /// A row that is to go: it may have its turn, though what it was to hand over was cancelled.
    fn end_turn(&self, row: &Row) {
        if row.is_ready.replace(false) {
            // SAFETY: it says that it is in there.
            unsafe { self.ready.remove(NonNull::from(row).cast()) };
        }
    }

    pub(super) fn make_ready(&self, row: &Row) {
        let may = !row.is_in_kernel() || row.goes_on_elsewhere();
        if may && !row.waiting.is_empty() && !row.is_ready.replace(true) {
            // SAFETY: it was not in there; in its box.
            let _ = unsafe { self.ready.push_back(NonNull::from(row).cast()) };
        }
    }
}

impl Row {
    pub fn is_idle(&self) -> bool {
        self.in_kernel.get() == 0 && self.waiting.is_empty()
    }

    pub fn is_in_kernel(&self) -> bool {
        self.in_kernel.get() != 0
    }

    /// Something of it is out that more may follow.
    pub(super) fn goes_on_elsewhere(&self) -> bool {
        !self.breaks.get() && self.elsewhere.as_ref().is_some_and(Elsewhere::takes_more)
    }

    pub fn broken(&self) -> Broken {
        self.broken.get()
    }

    /// The record that is to be handed over next.
    pub(super) fn take_off(&self) -> Option<&Op> {
        let link = self.waiting.pop_front()?;
        // SAFETY: records in flight are in there, by this link; out of it now.
        let record = unsafe {
            self.flying.push_back(link);
            Op::from_link(link)
        };
        record.state.set(State::Kernel);
        Some(record)
    }

    /// Nothing that waits may go with what was handed over last.
    fn ends_here(&self) -> bool {
        // SAFETY: records in flight are in there, by this link.
        let next = self.waiting.front().map(|link| unsafe { Op::from_link(link) });
        next.is_none_or(|next| self.place.is_of_next_row(&next.sqe.get()))
    }

    /// Whether an error that came for `record` is its own. It may be that of another part of its
    /// entry. And of a chain with an entry that is refused before any begins, none is performed:
    /// else what is linked ahead of it has completed before.
    fn is_to_blame(&self, record: &Op) -> bool {
        self.merged.get() == 1 && self.flying.front() == Some(record.link())
    }

    fn fails(&self, record: &Op, error: i32) {
        let at = record.sqe.get().off() as i64;
        let done = i64::from(record.progress.get());
        let offset = if at < 0 { -1 } else { at.saturating_add(done) };
        self.broken.set(Broken { error, canceled: 0, offset });
        self.failed.set(record);
    }

    fn one_more_canceled(&self) {
        let broken = self.broken.get();
        self.broken.set(Broken { canceled: broken.canceled + 1, ..broken });
    }
}

impl<K: Kernel> Reactor<K> {
    /// Begins a record in its row. True: it is over at once, and was not written.
    pub fn begin_ordered(&self, record: &Op) -> bool {
        let row = self.rows.at(record.row()).expect("looked up before it was begun");
        if !row.failed.get().is_null() {
            row.one_more_canceled();
            record.completed(-libc::ECANCELED, 0, true);
            return true;
        }
        record.state.set(State::Row);
        // SAFETY: in no list, and in place while in flight.
        let _ = unsafe { row.waiting.push_back(record.link()) };
        self.rows.make_ready(row);
        false
    }

    /// Hands rows over while there is room; how many entries.
    pub(super) fn fill_rows(&self) -> usize {
        let mut moved = 0;
        while self.kernel.sq_space() != 0 {
            let Some(link) = self.rows.ready.pop_front() else { break };
            // SAFETY: only rows are in there, by their first field, in their boxes.
            let row = unsafe { link.cast::<Row>().as_ref() };
            row.is_ready.set(false);
            moved += self.push_row(row);
        }
        moved
    }

    fn push_row(&self, row: &Row) -> usize {
        if row.is_in_kernel() {
            self.goes_on_elsewhere(row);
            return 0;
        }
        let apart = row.apart.replace(false);
        let longest = if self.kernel.submits_all() && !apart { LENGTH_MAX } else { 1 };
        let room = self.kernel.sq_space().min(longest);
        let mut n = 0;
        row.breaks.set(false);
        row.merged.set(1);
        if self.goes_elsewhere(row) {
            return 0;
        }
        while n < room {
            let Some(record) = row.take_off() else { break };
            n += 1;
            let (whole, done) = (record.sqe.get(), record.progress.get());
            let mut sqe = row.place.of(rest(&whole, done), n);
            let ioprio = priority::of(&sqe, priority::level(record.task()));
            // A part of a vectored one: the rest of it is to come before others.
            let is_part = wanted(&whole) > u64::from(done) + wanted(&sqe);
            let may_join = n == 1 && !is_part && !apart;
            if may_join && row.merge(&mut sqe, ioprio) {
                // SAFETY: promised to `begin`; the parts stay until the row is back.
                let pushed =
                    unsafe { self.kernel.try_push(&sqe.with(ioprio, self.sealed(record))) };
                debug_assert!(pushed);
                break;
            }
            let is_last = is_part || n == room || row.ends_here();
            if !is_last {
                sqe.0[0] |= u64::from(flag::IO_LINK) << 8;
            }
            // SAFETY: promised to `begin`.
            let pushed = unsafe { self.kernel.try_push(&sqe.with(ioprio, self.sealed(record))) };
            debug_assert!(pushed);
            if is_last {
                break;
            }
        }
        row.in_kernel.set(n);
        n as usize
    }

    /// An entry of a row has completed: what is over by that is put to `ended`.
    pub(super) fn row_completed(&self, record: &Op, res: i32) {
        let row = self.rows.at(record.row()).expect("it stays while it has records");
        row.in_kernel.set(row.in_kernel.get() - 1);
        if res < 0 && !is_not_performed(res) && !row.is_to_blame(record) {
            row.breaks.set(true);
            row.apart.set(true);
        } else if res < 0 {
            if let Some(outcome) = self.row_refused(row, record, res) {
                self.row_ends(row, record, outcome);
            }
        } else if res == 0 && wanted(&record.sqe.get()) != 0 {
            // A device that takes nothing, and has no error for it.
            row.breaks.set(true);
            row.fails(record, libc::EIO);
            self.row_ends(row, record, -libc::EIO);
        } else if row.merged.get() == 1 {
            self.row_wrote(row, record, res as u32);
        } else {
            let mut left = res as u32;
            for _ in 0..row.merged.get() {
                let Some(link) = row.flying.front() else { break };
                // SAFETY: records in flight are in there, by this link.
                match self.row_wrote(row, unsafe { Op::from_link(link) }, left) {
                    Some(more) => left = more,
                    None => break,
                }
            }
        }
        if row.in_kernel.get() == 0 {
            self.row_is_back(row);
        }
    }

    /// An entry of a row was not performed, as the kernel did not take all of it (rule 5).
    pub(super) fn row_cut(&self, record: &Op) {
        let row = self.rows.at(record.row()).expect("it stays while it has records");
        row.breaks.set(true);
        self.row_completed(record, -libc::ECANCELED);
    }

    /// So many bytes were written from the beginning of `record`; how many of those are of the next
    /// one. `None`: not all of this one.
    fn row_wrote(&self, row: &Row, record: &Op, bytes: u32) -> Option<u32> {
        let wanted = wanted(&record.sqe.get());
        let left = wanted - u64::from(record.progress.get());
        let done = left.min(bytes.into()) as u32;
        record.progress.set(record.progress.get() + done);
        let ended = record.has(bit::ASKED) || self.is_handle_closed(record);
        if u64::from(done) == left || (ended && done != 0) {
            self.row_ends(row, record, record.progress.get() as i32);
            return (u64::from(done) == left).then_some(bytes - done);
        }
        row.breaks.set(true);
        None
    }

    /// `None`: it is to be handed over once more.
    fn row_refused(&self, row: &Row, record: &Op, res: i32) -> Option<i32> {
        let broke_before = row.breaks.replace(true);
        if !is_not_performed(res) {
            row.fails(record, res.saturating_neg());
            return Some(res);
        }
        if record.has(bit::ASKED) || self.is_handle_closed(record) {
            return Some(record.withdrawn());
        }
        if broke_before {
            return None;
        }
        // For a reason of the kernel's.
        record.retries.set(record.retries.get() + 1);
        if record.retries.get() < RETRIES_MAX {
            return None;
        }
        row.fails(record, -KEPT_FROM);
        Some(KEPT_FROM)
    }

    /// `record`, which is flying, ends so.
    fn row_ends(&self, row: &Row, record: &Op, outcome: i32) {
        // Of a part of an entry too, which has no completion of its own.
        self.unqueue_record_cancel(record);
        // SAFETY: from `take_off` until here it is in that list.
        unsafe { row.flying.remove(record.link()) };
        self.is_to_be_told(record, outcome);
    }

    /// Nothing of it is in the kernel: what came back is first in the next row, or over. So is what
    /// was to be cancelled then, and was part of another's entry, of which the kernel knew.
    fn row_is_back(&self, row: &Row) {
        let back = Fifo::new();
        while let Some(link) = row.flying.pop_front() {
            // SAFETY: records in flight are in there, by this link; out of it now.
            unsafe {
                let record = Op::from_link(link);
                self.unqueue_record_cancel(record);
                if record.has(bit::ASKED) || self.is_handle_closed(record) {
                    self.is_to_be_told(record, record.withdrawn());
                    continue;
                }
                record.state.set(State::Row);
                back.push_back(link);
            }
        }
        let (is_behind, goes_on) = (row.is_behind.replace(false), row.failed.get().is_null());
        if !is_behind || !goes_on {
            back.append(row.waiting.take_all());
        }
        if !is_behind && goes_on {
            row.waiting.append(back);
            self.rows.make_ready(row);
            return;
        }
        self.rows.make_ready(row);
        while let Some(link) = back.pop_front() {
            row.one_more_canceled();
            // SAFETY: records in flight are in there, by this link; out of it now.
            let record = unsafe { Op::from_link(link) };
            self.is_to_be_told(record, record.withdrawn());
        }
    }

    /// The task has taken how `record` ended: if that has stopped its row, it goes on. What was
    /// begun so far is behind the error still, where some of the row is not back.
    pub fn row_goes_on(&self, record: &Op) {
        let Some(row) = self.rows.at(record.row()) else { return };
        if !ptr::eq(row.failed.get(), record) {
            return;
        }
        row.failed.set(ptr::null());
        row.is_behind.set(row.is_in_kernel());
        while row.is_in_kernel() && row.take_off().is_some() {}
    }
}

//! A kernel with two files: what is written to them is noted, in the order in which it is. Linked
//! entries begin one after the other; a write may come short, fail, or not be performed, which ends
//! the links behind it; entries that are not linked are performed in any order. It may take a part of
//! what it is offered, also the beginning of a row alone. What is read never comes, and a write may
//! wait, as one to a full pipe does: a cancel finds both. With it, a thread that performs batches of
//! writes, or has gone.

use crate::play::FDS;
use crate::support::rng::Rng;
use monad_async::error::Errno;
use monad_async::executor::mailbox::{kind, Mailbox};
use monad_async::intrusive::Link;
use monad_async::reactor::batch::{Batches, Worker};
use monad_async::uring::abi::{cancel, sqe as flag};
use monad_async::uring::kernel::{op, Cqe, Kernel, Sqe, Wait, Waker, CUT};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::rc::Rc;

/// One piece that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub fd: i32,
    /// Of the file that had this number then.
    pub opened: u32,
    pub at: u64,
    /// What it was, and how many bytes of it.
    pub byte: u8,
    pub bytes: u32,
}

/// What goes wrong: one in so many; 0: never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Temper {
    pub short: u32,
    pub fails: u32,
    pub not_performed: u32,
    pub takes_part: u32,
    pub has_no_thread: u32,
    pub refuses: u32,
    pub slow: u32,
    pub submits_all: bool,
    pub cancels_by_handle: bool,
    /// Writes that wait, until nothing else is to happen.
    pub waits: u32,
}

pub struct State {
    pub temper: Temper,
    pub entries: u32,
    pub rng: RefCell<Rng>,
    pub pieces: RefCell<Vec<Piece>>,
    /// How often the files were opened.
    pub opened: [Cell<u32>; 2],
    pub is_open: [Cell<bool>; 2],
    /// What cannot be written, and why: an entry with any of it is refused as a whole.
    pub bad: RefCell<Vec<(u8, i32)>>,
    /// Errors that were the kernel's own, of what was to be written alone.
    pub failed: RefCell<Vec<u8>>,
    /// A close of them is under way.
    pub is_closing: [Cell<bool>; 2],
    sq: RefCell<VecDeque<Sqe>>,
    rows: RefCell<Vec<Row>>,
    /// The first entries have begun, and wait.
    armed: RefCell<Vec<Row>>,
    batches: RefCell<Vec<Out>>,
    /// Batches that are performed, and not posted yet.
    late: RefCell<Vec<(NonNull<Link>, &'static Mailbox)>>,
    cq: RefCell<VecDeque<Cqe>>,
    clock_ns: Cell<u64>,
    /// Places of the table of registered buffers.
    pub table: RefCell<Vec<(u64, usize)>>,
    pub broken: RefCell<Option<String>>,
}

/// Entries that are linked; the first one has begun, and has the file that had its number then: how
/// often that was opened, if it was open.
struct Row {
    entries: VecDeque<Sqe>,
    file: Option<u32>,
    /// The first one does not go on by itself: a cancel finds it.
    waits: bool,
}

/// Batches that are out, of which file; and whose they are.
struct Out {
    batches: NonNull<Batches>,
    n: usize,
    home: &'static Mailbox,
}

/// Who has the batches of one file performed.
pub struct Helper {
    pub sim: Sim,
    pub n: usize,
    pub home: &'static Mailbox,
}

impl Worker for Helper {
    unsafe fn submit(&self, batches: NonNull<Batches>) {
        let (n, home) = (self.n, self.home);
        self.sim.0.batches.borrow_mut().push(Out { batches, n, home });
    }
}

#[derive(Clone)]
pub struct Sim(pub Rc<State>);

/// Of a disk that is full, a user with no more of it, and one that is broken.
pub const ERRNOS: [i32; 3] = [libc::ENOSPC, libc::EDQUOT, libc::EIO];

impl Sim {
    pub fn new(seed: u64, temper: Temper, entries: u32) -> Self {
        Self(Rc::new(State {
            temper,
            entries,
            rng: RefCell::new(Rng::new(seed, 1)),
            pieces: RefCell::default(),
            opened: [Cell::new(1), Cell::new(1)],
            is_open: [Cell::new(true), Cell::new(true)],
            bad: RefCell::default(),
            failed: RefCell::default(),
            is_closing: Default::default(),
            sq: RefCell::default(),
            rows: RefCell::default(),
            armed: RefCell::default(),
            batches: RefCell::default(),
            late: RefCell::default(),
            cq: RefCell::default(),
            clock_ns: Cell::new(1),
            table: RefCell::default(),
            broken: RefCell::default(),
        }))
    }

    pub fn breaks(&self, what: String) {
        self.0.broken.borrow_mut().get_or_insert(what);
    }

    pub fn is_idle(&self) -> bool {
        let none_out = self.0.batches.borrow().is_empty() && self.0.late.borrow().is_empty();
        self.has_nothing_to_perform() && self.0.armed.borrow().is_empty() && none_out
    }

    fn has_nothing_to_perform(&self) -> bool {
        self.0.sq.borrow().is_empty() && self.0.rows.borrow().is_empty()
    }

    fn one_in(&self, n: u32) -> bool {
        n != 0 && self.0.rng.borrow_mut().one_in(n)
    }

    fn post(&self, sqe: &Sqe, res: i32) {
        self.0.cq.borrow_mut().push_back(Cqe { user_data: sqe.user_data(), res, flags: 0 });
    }

    /// The rest of a row is not performed.
    fn sever(&self, row: VecDeque<Sqe>) {
        row.iter().for_each(|sqe| self.post(sqe, -libc::ECANCELED));
    }

    fn cancel(&self, sqe: &Sqe) {
        let by_file = (sqe.0[3] >> 32) as u32 & cancel::FD != 0;
        if by_file && !self.0.temper.cancels_by_handle {
            self.breaks("a cancel by the handle".into());
        }
        let mut found = 0;
        for rows in [&self.0.rows, &self.0.armed] {
            let mut at = 0;
            while at < rows.borrow().len() {
                let (head, waits) = {
                    let row = &rows.borrow()[at];
                    (row.entries[0], row.waits)
                };
                let meant = match by_file {
                    true => head.fd() == sqe.fd() && head.opcode() != op::CLOSE,
                    false => head.user_data() == sqe.addr(),
                };
                if meant && (waits || !self.one_in(3)) {
                    let mut row = rows.borrow_mut().remove(at);
                    row.entries.pop_front();
                    self.post(&head, -libc::ECANCELED);
                    self.sever(row.entries);
                    found += 1;
                } else {
                    at += 1;
                }
            }
        }
        self.post(sqe, if found == 0 { -libc::ENOENT } else { found });
    }

    /// A row of which it takes the beginning alone: what is left of it is not performed.
    fn take(&self, mut entries: Vec<Sqe>) {
        if entries.last().is_some_and(|sqe| sqe.flags() & flag::IO_LINK != 0) {
            entries.last_mut().expect("just seen").0[0] &= !(u64::from(flag::IO_LINK) << 8);
            for left in self.0.sq.borrow_mut().iter_mut() {
                let is_last = left.flags() & flag::IO_LINK == 0;
                let mut nop = Sqe::new(op::NOP, -1, 0, 0, 0, 0);
                nop.set_user_data(left.user_data() | CUT);
                *left = nop;
                if is_last {
                    break;
                }
            }
        }
        let mut row = VecDeque::new();
        for sqe in entries {
            row.push_back(sqe);
            if sqe.flags() & flag::IO_LINK == 0 {
                self.start(std::mem::take(&mut row));
            }
        }
        if !row.is_empty() {
            self.breaks("a row of links without an end".into());
        }
    }

    fn start(&self, entries: VecDeque<Sqe>) {
        let n = entries[0].fd() as usize % 2;
        let file = self.0.is_open[n].get().then(|| self.0.opened[n].get());
        let waits = match entries[0].opcode() {
            op::READ => true,
            // A regular file's end by themselves.
            op::WRITE if entries[0].fd() == FDS[0] => self.one_in(self.0.temper.waits),
            _ => false,
        };
        self.0.rows.borrow_mut().push(Row { entries, file, waits });
    }

    /// The next of a file's batches, as far as it comes.
    fn perform_batch(&self, out: Out) {
        // SAFETY: they are out, and stay until the last one is posted.
        let (link, leaves) = unsafe { out.batches.as_ref() }.step(|batch| {
            if self.one_in(self.0.temper.has_no_thread) {
                return batch.refuse();
            }
            let slow = u64::from(self.0.rng.borrow_mut().below(200_000));
            let now = || self.0.clock_ns.replace(self.0.clock_ns.get() + slow);
            batch.perform_by(now, |sqe| {
                let file = self.0.is_open[out.n].get().then(|| self.0.opened[out.n].get());
                self.write(sqe, file).0
            });
        });
        self.0.late.borrow_mut().push((link, out.home));
        if !leaves {
            self.0.batches.borrow_mut().push(out);
        }
    }

    /// Posts a batch that is performed, of any file and any thread.
    fn post_batch(&self) {
        let late = self.0.late.borrow().len() as u32;
        if late != 0 {
            let at = self.0.rng.borrow_mut().below(late) as usize;
            let (link, home) = self.0.late.borrow_mut().remove(at);
            // SAFETY: its executor waits for it. The last touch, if its thread has left.
            unsafe { home.post_pinned(link, kind::BATCH) };
        }
    }

    /// Performs one entry, of any row, or a batch; or posts one.
    fn perform(&self) {
        if self.one_in(2) {
            self.post_batch();
        }
        let rows = self.0.rows.borrow().len() as u32;
        if rows == 0 || self.one_in(3) {
            let out = self.0.batches.borrow_mut().pop();
            out.into_iter().for_each(|out| self.perform_batch(out));
            return;
        }
        let at = self.0.rng.borrow_mut().below(rows) as usize;
        let row = self.0.rows.borrow_mut().remove(at);
        if self.refuses_unprepared(&row.entries) {
        } else if row.waits && (row.file.is_some() || row.entries[0].opcode() == op::READ) {
            self.0.armed.borrow_mut().push(row);
        } else {
            self.perform_row(row);
        }
    }

    /// Nothing else is to happen: a write that waits goes on.
    fn goes_on(&self) {
        let is_write = |row: &Row| row.entries[0].opcode() != op::READ;
        let at = self.0.armed.borrow().iter().position(is_write);
        let Some(at) = at else { return };
        let row = self.0.armed.borrow_mut().remove(at);
        if self.0.is_closing[row.entries[0].fd() as usize % 2].get() {
            let how = if self.0.temper.cancels_by_handle { "by handle" } else { "one by one" };
            self.breaks(format!("a close that cancels {how} waits for a write"));
        }
        self.perform_row(row);
    }

    fn perform_row(&self, Row { entries: mut row, file, .. }: Row) {
        let sqe = row.pop_front().expect("no row is empty");
        let goes_on = match sqe.opcode() {
            op::ASYNC_CANCEL => {
                self.cancel(&sqe);
                true
            }
            op::CLOSE => {
                let n = sqe.fd() as usize % 2;
                let was = self.0.is_open[n].replace(false);
                self.post(&sqe, if was { 0 } else { -libc::EBADF });
                was
            }
            op::NOP => {
                self.post(&sqe, 0);
                true
            }
            op::WRITE | op::WRITEV | op::WRITE_FIXED | op::READ_FIXED => {
                let (res, goes_on) = self.write(&sqe, file);
                self.post(&sqe, res);
                goes_on
            }
            opcode => {
                self.breaks(format!("an entry of opcode {opcode}"));
                true
            }
        };
        if !goes_on {
            self.sever(row);
        } else if !row.is_empty() {
            self.start(row);
        }
    }

    fn bad_of(&self, bytes: &[u8]) -> Option<(u8, i32)> {
        self.0.bad.borrow().iter().find(|(byte, _)| bytes.contains(byte)).copied()
    }

    /// An entry of a row cannot be prepared: then none of it begins.
    fn refuses_unprepared(&self, row: &VecDeque<Sqe>) -> bool {
        let are_writes = row.iter().all(|sqe| matches!(sqe.opcode(), op::WRITE | op::WRITEV));
        if row.len() < 2 || !are_writes || !self.one_in(self.0.temper.fails) {
            return false;
        }
        let at = self.0.rng.borrow_mut().below(row.len() as u32) as usize;
        let bytes = bytes_of(&parts_of(&row[at]));
        let bad = self.bad_of(&bytes).unwrap_or((bytes[0], -ERRNOS[2]));
        self.0.bad.borrow_mut().push(bad);
        for (n, sqe) in row.iter().enumerate() {
            self.post(sqe, if n == at { bad.1 } else { -libc::ECANCELED });
        }
        true
    }

    /// What it comes to, and whether what is linked to it goes on.
    fn write(&self, sqe: &Sqe, file: Option<u32>) -> (i32, bool) {
        if matches!(sqe.opcode(), op::WRITE_FIXED | op::READ_FIXED) {
            let place = (sqe.0[5] & 0xffff) as usize;
            let (at, bytes) = self.0.table.borrow().get(place).copied().unwrap_or_default();
            let end = sqe.addr() + u64::from(sqe.len());
            if sqe.addr() < at || end > at + bytes as u64 {
                self.breaks("an operation on a buffer that is not registered".into());
            }
        }
        let Some(opened) = file else {
            return (-libc::EBADF, false);
        };
        if self.one_in(self.0.temper.not_performed) {
            let errno = self.0.rng.borrow_mut().pick(&[libc::EINTR, libc::ECANCELED, 512]);
            return (-errno, false);
        }
        let parts = parts_of(sqe);
        let wanted = parts.iter().map(|part| part.iov_len as u32).sum::<u32>();
        let bytes = bytes_of(&parts);
        if self.one_in(self.0.temper.fails) {
            let one = self.0.rng.borrow_mut().pick(&bytes);
            let res = self.0.rng.borrow_mut().pick(&[-ERRNOS[0], -ERRNOS[1], -ERRNOS[2], 0]);
            // As a device that takes nothing, and has no error for it.
            if res == 0 {
                self.0.failed.borrow_mut().push(bytes[0]);
                return (res, false);
            }
            self.0.bad.borrow_mut().push((one, res));
        }
        if let Some((byte, res)) = self.bad_of(&bytes) {
            if bytes.iter().all(|&other| other == byte) {
                self.0.failed.borrow_mut().push(byte);
            }
            return (res, false);
        }
        let short = wanted > 1 && self.one_in(self.0.temper.short);
        let done = if short { 1 + self.0.rng.borrow_mut().below(wanted - 1) } else { wanted };
        let (mut left, mut at) = (done, sqe.off());
        for part in parts {
            // SAFETY: as above.
            let data =
                unsafe { std::slice::from_raw_parts(part.iov_base.cast::<u8>(), part.iov_len) };
            let bytes = left.min(data.len() as u32);
            if bytes != 0 {
                if data.iter().any(|&byte| byte != data[0]) {
                    self.breaks("data of more than one write".into());
                }
                let piece = Piece { fd: sqe.fd(), opened, at, byte: data[0], bytes };
                self.0.pieces.borrow_mut().push(piece);
            }
            left -= bytes;
            if at != u64::MAX {
                at += u64::from(bytes);
            }
        }
        (done as i32, !short)
    }
}

impl Kernel for Sim {
    fn has_ring(&self) -> bool {
        true
    }
    fn sq_space(&self) -> u32 {
        self.0.entries - self.0.sq.borrow().len() as u32
    }
    fn sq_pending(&self) -> u32 {
        self.0.sq.borrow().len() as u32
    }
    unsafe fn push(&self, sqe: &Sqe) {
        assert_ne!(self.sq_space(), 0);
        self.0.sq.borrow_mut().push_back(*sqe);
    }
    fn pop(&self) -> Option<Cqe> {
        self.0.cq.borrow_mut().pop_front()
    }
    fn needs_enter(&self) -> bool {
        false
    }
    fn cancels_by_handle(&self) -> bool {
        self.0.temper.cancels_by_handle
    }
    fn submits_all(&self) -> bool {
        self.0.temper.submits_all
    }
    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        if self.one_in(self.0.temper.refuses) {
            return Err(Errno(libc::EAGAIN));
        }
        let mut n = self.0.sq.borrow().len();
        if self.one_in(self.0.temper.takes_part) {
            n = self.0.rng.borrow_mut().below(n as u32 + 1) as usize;
        }
        let taken = self.0.sq.borrow_mut().drain(..n).collect();
        self.take(taken);
        let mut times = self.0.rng.borrow_mut().below(6);
        if wait != Wait::No && self.0.cq.borrow().is_empty() {
            times = times.max(1);
            self.0.clock_ns.set(self.0.clock_ns.get() + 1000);
            let is_out = !self.0.batches.borrow().is_empty() || !self.0.late.borrow().is_empty();
            if self.has_nothing_to_perform() && !is_out {
                match wait {
                    Wait::Until { boot_ns } => {
                        self.0.clock_ns.set(self.0.clock_ns.get().max(boot_ns));
                    }
                    _ => self.goes_on(),
                }
            }
        }
        if self.one_in(self.0.temper.slow) {
            times = times.min(1);
        }
        for _ in 0..times {
            self.perform();
        }
        Ok(())
    }
    fn now_boot_ns(&self) -> u64 {
        self.0.clock_ns.set(self.0.clock_ns.get() + 10);
        self.0.clock_ns.get()
    }
    fn stamp(&self) -> u64 {
        self.0.clock_ns.get()
    }
    fn ns_since(&self, stamp: u64) -> u64 {
        self.stamp() - stamp
    }
    fn look_ticks() -> u64 {
        u64::MAX
    }
    fn make_fixed_table(&self, places: u32) -> Result<(), Errno> {
        self.0.table.borrow_mut().resize(places as usize, (0, 0));
        Ok(())
    }
    unsafe fn set_fixed(&self, place: u32, at: u64, bytes: usize) -> Result<(), Errno> {
        self.0.table.borrow_mut()[place as usize] = (at, bytes);
        Ok(())
    }
    fn waker(&self) -> Waker {
        Waker::of_eventfd(-1)
    }
}

/// What an entry is to write.
fn parts_of(sqe: &Sqe) -> Vec<libc::iovec> {
    let whole = libc::iovec { iov_base: sqe.addr() as *mut _, iov_len: sqe.len() as usize };
    match sqe.opcode() {
        // SAFETY: the executor answers for what its entries refer to.
        op::WRITEV => unsafe {
            std::slice::from_raw_parts(sqe.addr() as *const libc::iovec, sqe.len() as usize)
        }
        .to_vec(),
        _ => vec![whole],
    }
}

/// Of each part, what it is of.
fn bytes_of(parts: &[libc::iovec]) -> Vec<u8> {
    // SAFETY: as above; of no part's length is 0.
    parts.iter().map(|part| unsafe { part.iov_base.cast::<u8>().read() }).collect()
}

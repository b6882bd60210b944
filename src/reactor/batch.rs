//! Ordered writes that a thread performs which may block: one after the other, by system calls, and
//! all of a row before the executor hears of it. Where a file system cannot write without blocking,
//! the kernel hands each linked write to a thread of its own and back, which costs several times
//! what the write does.
//!
//! 1. While a batch is out it is the thread's that performs it, with the records' memory: its
//!    writes count as in the kernel, stay where they are, and nothing of them is looked at.
//! 2. It ends at the first write that is not done as a whole, as links do, and after a while: what
//!    is done is to be told of. Those that are out behind it end too, with nothing of them begun.
//! 3. A file has several, which go out one behind the other: while tasks are told of one, and begin
//!    more, the thread performs the next. It leaves when it finds none, and says so in `state`
//!    before its last touch, which is to post the last one.
//! 4. Whoever performs them, they are taken back in the order in which they went out.
//! 5. An executor that sleeps is woken once for several: to wake it takes the thread as long as
//!    several writes. So it is awake for a while first, and looks for what comes; where it sleeps,
//!    a batch that is performed is held back while more than `WRITES_MAX` writes are out behind it,
//!    and for a while: what is out lasts until the executor is awake, and sends more. Those that
//!    were held back are posted together: woken on the thread's own processor for the first of
//!    them, it would run at once, and sleep again before the next.
//! 6. No file is of a file system that this process may serve: a write might wait there for a task
//!    that waits for one before it, which is not told of that.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::{self, NonNull};

use super::held::Held;
use super::operation::Op;
use super::ordered::{goes_on, part_of, rest, vectored, wanted, Half};
use super::place::HERE;
use super::rows::Row;
use super::Reactor;
use crate::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use crate::error::Res;
use crate::intrusive::{Fifo, Link};
use crate::prefetch;
use crate::sys::reckoner::Reckoner;
use crate::sys::{alloc, file};
use crate::uring::abi::NO_SIGNAL;
use crate::uring::kernel::{op, Kernel, Sqe};

/// No write is begun that much later than the first.
const LONGEST_NS: u64 = 1_000_000;

/// What a write ends with that was not begun.
const NOT_BEGUN: i32 = -libc::ECANCELED;

/// Of a file; a power of two. Twice what 64 writers fill, so that more may follow what is out.
pub(super) const BATCHES: usize = 8;
const WRITES_MAX: usize = 16;
const TWO: usize = 2 * WRITES_MAX;

/// Of `Batches::state`: a thread performs, or is about to. Above it is how many have gone out.
const BUSY: u32 = 1;
const ONE: u32 = 2;

#[repr(C, align(64))]
pub struct Batch {
    /// On its way back: in the executor's inbox.
    link: Link,
    row: u16,
    count: Cell<u32>,
    /// There was no thread for it.
    refused: Cell<bool>,
    /// All of it was done.
    is_whole: Cell<bool>,
    /// It has arrived, and waits for those before it (rule 4).
    is_back: Cell<bool>,
    _line: [u8; 37],
    // --- line 1
    results: [Cell<i32>; WRITES_MAX],
    // --- line 2
    writes: [Cell<Half>; WRITES_MAX],
    // --- line 10
    /// Whose they are. Not the thread's.
    records: [Cell<*const Op>; WRITES_MAX],
}

const _: () = assert!(offset_of!(Batch, link) == 0 && offset_of!(Batch, results) == LINE);
const _: () = assert!(offset_of!(Batch, writes) == 2 * LINE);

const LINE: usize = 64;

/// Those of one file, used in turn.
pub struct Batches {
    all: [Batch; BATCHES],
    fd: i32,
    /// Of who is `BUSY`.
    clock: Reckoner,
    state: AtomicU32,
    /// How many are performed; of who is `BUSY`.
    performed: Cell<u32>,
    /// One was not performed as a whole. Of who is `BUSY`, and the executor's while none is out.
    broken: Cell<bool>,
}

/// Where batches that were performed go.
pub trait Home {
    /// In this order; who takes them in is woken when all are there, if it sleeps.
    fn post(&self, links: &[NonNull<Link>]);

    /// Whether who takes them in has to be woken for that. A hint.
    fn sleeps(&self) -> bool;
}

/// Who has batches performed.
pub trait Worker {
    /// Has `Batches::perform` called on another thread. EXPENSIVE: a lock, and a system call, or a
    /// new thread.
    ///
    /// # Safety
    /// They stay until the last one is posted, and what their writes refer to.
    unsafe fn submit(&self, batches: NonNull<Batches>);
}

/// Where the rows of one file are performed.
pub struct Elsewhere {
    worker: Box<dyn Worker>,
    batches: Box<Batches>,
    /// How many have gone out, and how many of them were taken back.
    gone: Cell<u32>,
    taken: Cell<u32>,
    /// There was no thread once: links have to do from then on.
    is_over: Cell<bool>,
}

impl Elsewhere {
    pub(super) fn new(worker: Box<dyn Worker>, row: u16, fd: i32) -> Res<Self> {
        // SAFETY: zeros are batches of nothing. Never on the stack, of which a task may have no
        // more than this takes.
        let mut batches = unsafe { alloc::try_zeroed::<Batches>() }?;
        batches.fd = fd;
        batches.clock = Reckoner::new();
        batches.all.iter_mut().for_each(|batch| batch.row = row);
        let (gone, taken) = (Cell::new(0), Cell::new(0));
        Ok(Self { worker, batches, gone, taken, is_over: Cell::new(false) })
    }

    fn out(&self) -> u32 {
        self.gone.get().wrapping_sub(self.taken.get())
    }

    /// Some are out, and there is room behind them.
    pub(super) fn takes_more(&self) -> bool {
        (1..BATCHES as u32).contains(&self.out()) && !self.is_over.get()
    }

    /// The next one to go out, emptied. There is one.
    fn next(&self) -> &Batch {
        let batch = &self.batches.all[self.gone.get() as usize % BATCHES];
        batch.count.set(0);
        batch.refused.set(false);
        batch.is_whole.set(false);
        batch.is_back.set(false);
        batch
    }

    /// Sends off what `next` gave.
    #[inline(never)]
    fn send(&self) {
        if self.out() == 0 {
            self.batches.broken.set(false);
        }
        self.gone.set(self.gone.get().wrapping_add(1));
        // Release what is in it; acquire what the thread that left has written.
        let before = self.batches.state.fetch_add(ONE, AcqRel);
        if before & BUSY == 0 {
            // Relaxed: there is nobody else, and the worker publishes it.
            self.batches.state.store(before.wrapping_add(ONE) | BUSY, Relaxed);
            // SAFETY: in a box, which stays while its row has something in the kernel; the records'
            // owners vouch for the rest.
            unsafe { self.worker.submit(NonNull::from(&*self.batches)) };
        }
    }
}

impl Batches {
    /// Blocks. Performs all that are out, and posts each.
    ///
    /// # Safety
    /// `this` is out (rule 1), and this is its thread. `home` is its executor's.
    pub unsafe fn perform(this: NonNull<Self>, home: &impl Home) {
        // SAFETY: the caller's; all that are performed are out. What the writes refer to is in
        // place while their records are in flight.
        unsafe {
            let fd = this.as_ref().fd;
            let now_ns = || this.as_ref().clock.now_or_later_boot_ns();
            Self::perform_by(this, now_ns, |sqe| write(fd, sqe), home);
        }
    }

    /// The same; `write` performs one, and `now_ns` is the time.
    ///
    /// # Safety
    /// As `perform`.
    pub unsafe fn perform_by(
        this: NonNull<Self>,
        now_ns: impl Fn() -> u64,
        write: impl Fn(&Sqe) -> i32,
        home: &impl Home,
    ) {
        let mut held = Held::new(|links: &[_]| home.post(links));
        loop {
            // SAFETY: the caller's; while one is out that was not posted, all stay.
            let all = unsafe { this.as_ref() };
            all.prefetch_next();
            let (link, leaves) = all.step(|batch| batch.perform_by(|| held.look(now_ns()), &write));
            held.add(link);
            // SAFETY: as above.
            if leaves || !home.sleeps() || unsafe { this.as_ref() }.has_few_left() {
                held.post_all(); // The last touch, if it leaves.
            }
            if leaves {
                return;
            }
        }
    }

    /// Of the writes that are out: an executor that is woken now comes with more in time. Of who is
    /// `BUSY`.
    fn has_few_left(&self) -> bool {
        // Acquire what has gone out.
        let gone = self.state.load(Acquire) & !BUSY;
        let (mut at, mut writes) = (self.performed.get(), 0);
        while at.wrapping_mul(ONE) != gone {
            writes += self.all[at as usize % BATCHES].count.get() as usize;
            at = at.wrapping_add(1);
        }
        writes <= WRITES_MAX
    }

    /// Of the one behind that which is to be performed, if it is out: it comes while that is.
    fn prefetch_next(&self) {
        let next = self.performed.get().wrapping_add(1);
        // Relaxed: a hint.
        if next.wrapping_mul(ONE) != self.state.load(Relaxed) & !BUSY {
            self.all[next as usize % BATCHES].prefetch(WRITES_MAX);
        }
    }

    /// There is no thread for them: posts all that are out.
    ///
    /// # Safety
    /// As `perform`.
    pub unsafe fn refuse(this: NonNull<Self>, home: &impl Home) {
        loop {
            // SAFETY: as in `perform`.
            let (link, leaves) = unsafe { this.as_ref() }.step(Batch::refuse);
            home.post(&[link]);
            if leaves {
                return;
            }
        }
    }

    /// Has the next one performed: its link, which is to be posted, and whether that is the last
    /// touch. Of who is `BUSY`.
    pub fn step(&self, performs: impl FnOnce(&Batch)) -> (NonNull<Link>, bool) {
        let n = self.performed.get();
        let batch = &self.all[n as usize % BATCHES];
        if !self.broken.get() {
            performs(batch);
            self.broken.set(!batch.is_whole.get());
        }
        let done = n.wrapping_add(1);
        self.performed.set(done);
        let all = done.wrapping_mul(ONE);
        // Acquire what has gone out since; release what we leave to who comes next.
        let left = self.state.compare_exchange(all | BUSY, all, AcqRel, Acquire);
        (NonNull::from(&batch.link), left.is_ok())
    }
}

impl<K: Kernel> Reactor<K> {
    /// Has what waits performed elsewhere, if there is such a place.
    pub(super) fn goes_elsewhere(&self, row: &Row) -> bool {
        let Some(to) = row.elsewhere.as_ref().filter(|to| !to.is_over.get()) else { return false };
        let fits = row.waiting.front().is_some_and(takes);
        if fits {
            self.send_elsewhere(row, to);
        }
        fits
    }

    /// Sends off what waits, behind what is out, unless that broke since the row had its turn: what
    /// is called when the error was taken is not behind it.
    pub(super) fn goes_on_elsewhere(&self, row: &Row) {
        if let Some(to) = row.elsewhere.as_ref().filter(|_| row.goes_on_elsewhere()) {
            self.send_elsewhere(row, to);
        }
    }

    fn send_elsewhere(&self, row: &Row, to: &Elsewhere) {
        let writes_max = if to.out() == 0 { share_of(&row.waiting) } else { WRITES_MAX };
        while to.out() != BATCHES as u32 && row.waiting.front().is_some_and(takes) {
            let batch = to.next();
            while batch.has_less_than(writes_max) && row.waiting.front().is_some_and(takes) {
                let Some(record) = row.take_off() else { break };
                batch.add(record);
            }
            row.in_kernel.set(row.in_kernel.get() + batch.count.get());
            self.rows.out.set(self.rows.out.get() + 1);
            to.send();
        }
    }

    /// A batch is back: what is over by that is to be had from `pop_ended`.
    pub fn batch_is_back(&self, batch: &Batch) {
        let row = self.rows.at(batch.row).expect("it stays while it has records");
        let to = row.elsewhere.as_ref().expect("it is where the batch was");
        batch.is_back.set(true);
        while to.out() != 0 {
            let batch = &to.batches.all[to.taken.get() as usize % BATCHES];
            if !batch.is_back.get() {
                break;
            }
            if batch.refused.get() {
                to.is_over.set(true);
            }
            to.taken.set(to.taken.get().wrapping_add(1));
            self.rows.out.set(self.rows.out.get() - 1);
            for n in 0..batch.count.get() as usize {
                let result = batch.results[n].get();
                if result == NOT_BEGUN {
                    row.breaks.set(true); // By who came before, or for the time.
                }
                // SAFETY: in flight until it has ended, and so in place.
                self.row_completed(unsafe { &*batch.records[n].get() }, result);
            }
        }
        self.rows.make_ready(row);
    }
}

/// How many of those that wait a batch takes, where nothing is out: half, if one or two are all, so
/// that tasks are told of the one while the other is performed.
fn share_of(waiting: &Fifo) -> usize {
    let mut n = 0;
    let is_more = waiting.any(|_| {
        n += 1;
        n > TWO
    });
    if is_more {
        return WRITES_MAX;
    }
    n.div_ceil(2)
}

/// Whether a batch can do the write of a record. Of a vectored one that came short the kernel is
/// given part by part.
fn takes(link: NonNull<Link>) -> bool {
    // SAFETY: records in flight are in a row's lists, by this link.
    let record = unsafe { Op::from_link(link) };
    match record.sqe.get().opcode() {
        op::WRITE => true,
        op::WRITEV => record.progress.get() == 0,
        _ => false,
    }
}

impl Batch {
    /// # Safety
    /// `link` is that of a batch that is back.
    pub unsafe fn from_link<'a>(link: NonNull<Link>) -> &'a Self {
        // SAFETY: the caller's; the first field.
        unsafe { link.cast().as_ref() }
    }

    fn has_less_than(&self, writes: usize) -> bool {
        (self.count.get() as usize) < writes
    }

    /// There is room.
    fn add(&self, record: &Op) {
        let n = self.count.get();
        let entry = rest(&record.sqe.get(), record.progress.get());
        self.writes[n as usize].set(Half::of(&entry));
        self.results[n as usize].set(NOT_BEGUN);
        self.records[n as usize].set(ptr::from_ref(record));
        self.count.set(n + 1);
    }

    /// There is no thread for it.
    pub fn refuse(&self) {
        self.refused.set(true);
    }

    /// Another processor has them: asked for together, they come together.
    #[inline(always)]
    fn prefetch(&self, writes: usize) {
        let at = ptr::from_ref(&self.writes).addr();
        (0..writes.div_ceil(2)).for_each(|n| prefetch::line(at + n * LINE));
        prefetch::line_to_write(ptr::from_ref(&self.results).addr());
    }

    #[inline(always)]
    fn entry(&self, n: usize) -> Sqe {
        self.writes[n].get().entry()
    }

    /// `write` performs one of them, or some that go on where the one before ends; `now_ns` is the
    /// time, asked for before each.
    pub fn perform_by(&self, mut now_ns: impl FnMut() -> u64, write: impl Fn(&Sqe) -> i32) {
        let count = self.count.get() as usize;
        self.prefetch(count);
        let until_ns = now_ns().saturating_add(LONGEST_NS);
        let mut n = 0;
        while n < count {
            if n != 0 && now_ns() > until_ns {
                return;
            }
            let sqe = self.entry(n);
            let bytes = wanted(&sqe);
            if n + 1 < count && goes_on(&sqe, bytes, &self.entry(n + 1)) {
                let Some(next) = self.perform_joined(n, &write) else { return };
                n = next;
                continue;
            }
            let written = write(&sqe);
            self.results[n].set(written);
            if u64::try_from(written) != Ok(bytes) {
                return;
            }
            n += 1;
        }
        self.is_whole.set(true);
    }

    /// Those that go on from `begin` on; the first of what is behind them. None: not all was done.
    #[inline(never)]
    fn perform_joined(&self, begin: usize, write: impl Fn(&Sqe) -> i32) -> Option<usize> {
        let count = self.count.get() as usize;
        let mut sqe = self.entry(begin);
        let mut bytes = wanted(&sqe);
        let parts = [const { Cell::new(NO_PART) }; WRITES_MAX];
        parts[0].set(part_of(&sqe));
        let mut n = begin + 1;
        while n < count && goes_on(&sqe, bytes, &self.entry(n)) {
            parts[n - begin].set(part_of(&self.entry(n)));
            bytes += wanted(&self.entry(n));
            n += 1;
        }
        vectored(&mut sqe, &parts, (n - begin) as u32);
        let mut written = write(&sqe);
        if written < 0 {
            // Nothing says for which of them: one alone is to blame for its own.
            n = begin + 1;
            bytes = wanted(&self.entry(begin));
            written = write(&self.entry(begin));
        }
        let Ok(mut left) = u64::try_from(written) else {
            self.results[begin].set(written);
            return None;
        };
        let is_whole = left == bytes;
        for n in begin..n {
            // The first one also with nothing: a device that takes nothing. And what writes
            // nothing, where all is written.
            if left == 0 && n != begin && !is_whole {
                break;
            }
            let of_it = left.min(wanted(&self.entry(n)));
            self.results[n].set(of_it as i32);
            left -= of_it;
        }
        is_whole.then_some(n)
    }
}

const NO_PART: libc::iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };

/// # Safety
/// What it refers to is valid.
unsafe fn write(fd: i32, sqe: &Sqe) -> i32 {
    let part = part_of(sqe);
    let (at, count) = match sqe.opcode() {
        op::WRITEV => (sqe.addr() as *const libc::iovec, sqe.len()),
        _ if sqe.op_flags() & !NO_SIGNAL == 0 && sqe.off() != HERE => {
            // SAFETY: the caller's.
            return match unsafe { file::write_at(fd, part, sqe.off()) } {
                Ok(bytes) => bytes as i32,
                Err(e) => -e.0,
            };
        }
        _ => (&raw const part, 1),
    };
    // SAFETY: the caller's.
    match unsafe { file::transfer(fd, true, (at, count), sqe.off(), sqe.op_flags()) } {
        Ok(bytes) => bytes as i32,
        Err(e) => -e.0,
    }
}

//! One program: what its tasks do, and what must hold of it.
//!
//! 1. What is written of one file is in the order of the calls, each write as a whole before the
//!    next, at the places that it was for.
//! 2. A result says what was written: all, or with an error as much as the value says.
//! 3. Behind an error nothing is written of what was called before the error was taken: ECANCELED.
//! 4. Nothing is written to what has the number of a file that was closed.
//! 5. What a write refers to is the caller's again once it is told of: it is overwritten at once.
//! 6. A registered buffer with an operation in flight is not given back.
//! 7. What is in flight on a file when it is closed ends soon, with ECANCELED; what is on another does not.

use crate::kernel::{Helper, Piece, Sim, Temper, ERRNOS};
use crate::support::rng::Rng;
use crate::support::*;
use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult, Res};
use monad_async::executor::grant::Caller;
use monad_async::io::call::Call;
use monad_async::io::file::File;
use monad_async::io::ordered::{are_flags, ORDERED};
use monad_async::reactor::batch::Worker;
use monad_async::reactor::operation::Op;
use monad_async::sync::buffer_set::Set;
use monad_async::task::header::TaskRef;
use monad_async::uring::kernel::{op, Kernel, Sqe};
use std::cell::{Cell, RefCell};
use std::mem::{zeroed, MaybeUninit};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Once;

pub struct Broken(pub String);

const TASKS: usize = 4;
const STEPS: u32 = 10;
/// The simulated kernel's files. The second number is that of a regular file, too, whose writes may
/// be one; it is not written to. Or of another one, whose rows a thread may perform.
pub const FDS: [i32; 2] = [1000, 1001];
const CACHED: i32 = 1003;
/// Never closed; its number is a multiple of 64 from that of a file that is.
const OTHER: i32 = FDS[0] + 64;
/// How long a task reads: all else has long been done by then; and what is not soon any more.
const READS_NS: u64 = 10_000_000;
const SOON_NS: u64 = 1_000_000;
const GONE: u8 = 0xee;

/// A write, as its task knows it.
#[derive(Clone, Copy, Debug)]
struct Written {
    byte: u8,
    fd: i32,
    opened: u32,
    at: u64,
    bytes: u32,
    /// In which order it was called, and told of.
    called: u32,
    told: u32,
    result: RawResult,
    is_ordered: bool,
    was_cancelled: bool,
    was_closed: bool,
    /// Its file was being closed already.
    was_late: bool,
}

struct World {
    ex: Handle<Sim>,
    sim: Sim,
    fds: [i32; 2],
    files: [Cell<File>; 2],
    /// When it was closed last.
    closed_ns: [Cell<u64>; 2],
    moment: Cell<u32>,
    next_byte: Cell<u8>,
    writes: RefCell<Vec<Written>>,
    rng: RefCell<Rng>,
    set: Cell<Option<NonNull<Set>>>,
}

impl World {
    fn below(&self, n: u32) -> u32 {
        self.rng.borrow_mut().below(n)
    }

    fn now(&self) -> u32 {
        self.moment.set(self.moment.get() + 1);
        self.moment.get()
    }

    fn call(&self, task: TaskRef, file: File) -> Call<'_, Sim> {
        Call { ex: self.ex.executor(), task, fd: file.fd, flags: file.flags }
    }

    /// What is to be written. To a file that is being closed nothing is, whatever tries.
    fn begin(&self, n: usize, is_ordered: bool) -> Option<(usize, Vec<u8>)> {
        let was_late = self.sim.0.is_closing[n].get();
        if was_late && (!is_ordered || self.below(2) == 0) || self.next_byte.get() == GONE - 1 {
            return None;
        }
        let byte = self.next_byte.get() + 1;
        self.next_byte.set(byte);
        let bytes = 1 + self.below(5);
        let at = match self.below(3) {
            0 => u64::MAX,
            1 => u64::from(byte) * 100,
            // Right behind the one before, if that was its place.
            _ => self.writes.borrow().last().map_or(7, |w| w.at.wrapping_add(w.bytes.into())),
        };
        let at = if at > u64::from(u32::MAX) { u64::MAX } else { at };
        let opened = self.sim.0.opened[n].get();
        let (fd, called) = (self.fds[n], self.now());
        self.writes.borrow_mut().push(Written {
            byte,
            fd,
            opened,
            at,
            bytes,
            called,
            told: 0,
            result: RawResult::default(),
            is_ordered,
            was_cancelled: false,
            was_closed: false,
            was_late,
        });
        Some((self.writes.borrow().len() - 1, vec![byte; bytes as usize]))
    }

    fn told(&self, index: usize, data: &mut [u8], result: RawResult) {
        data.fill(GONE);
        let told = self.now();
        let mut writes = self.writes.borrow_mut();
        let write = &mut writes[index];
        (write.told, write.result) = (told, result);
        let n = write.fd as usize % 2;
        write.was_closed =
            self.sim.0.is_closing[n].get() || self.sim.0.opened[n].get() != write.opened;
    }

    fn entry(&self, opcode: u8, file: File, data: &[u8], at: u64) -> Op {
        // SAFETY: zeros are an operation.
        let op: Op = unsafe { zeroed() };
        let (addr, bytes) = (data.as_ptr() as u64, data.len() as u32);
        let mut sqe = Sqe::new(opcode, file.fd, at, addr, bytes, 0);
        sqe.set_user_data(0x6f72_6465 << 32 | u64::from(file.flags & 0xffff));
        op.sqe.set(sqe);
        op
    }

    /// By operations, some of which are cancelled before they are waited for.
    fn by_operations(&self, task: TaskRef, n: usize) {
        let mut begun: Vec<(usize, Vec<u8>, Box<Op>)> = Vec::new();
        for _ in 0..1 + self.below(4) {
            let Some((index, mut data)) = self.begin(n, true) else { break };
            let at = self.writes.borrow()[index].at;
            let op = Box::new(self.entry(op::WRITE, self.files[n].get(), &data, at));
            // SAFETY: in its box until it is over, as the data in its own.
            match unsafe { Handle::<Sim>::begin_operation(task, &op) } {
                Ok(()) => begun.push((index, data, op)),
                Err(e) => self.told(index, &mut data, RawResult { value: 0, ..Err(e).into() }),
            }
            if self.below(3) == 0 {
                let _ = self.ex.executor().sleep(task, 0);
            }
        }
        for (index, _, op) in &begun {
            if self.below(6) == 0 {
                self.writes.borrow_mut()[*index].was_cancelled = true;
                let _ = Handle::<Sim>::cancel_operation(task, op);
            }
        }
        for (index, mut data, op) in begun {
            let result = Handle::<Sim>::wait_operation(task, &op);
            assert!(!op.is_in_flight.get());
            self.told(index, &mut data, result);
        }
    }

    fn by_call(&self, task: TaskRef, n: usize) {
        let Some((index, mut data)) = self.begin(n, true) else { return };
        let at = self.writes.borrow()[index].at as i64;
        let call = self.call(task, self.files[n].get());
        // SAFETY: in place until the call returns.
        let result = unsafe { call.write_in_order(data.as_ptr().cast(), data.len(), at) };
        let value = result.value.max(0); // -1: it did not begin.
        self.told(index, &mut data, RawResult { value, ..result });
    }

    /// Next to the row.
    fn unordered(&self, task: TaskRef, n: usize) {
        let Some((index, mut data)) = self.begin(n, false) else { return };
        let at = self.writes.borrow()[index].at as i64;
        let call = self.call(task, File { fd: self.fds[n], flags: 0 });
        // SAFETY: in place until the call returns.
        let result = match unsafe { call.write(data.as_ptr().cast(), data.len(), at) } {
            Ok(n) => RawResult::success(n as isize),
            Err(e) => RawResult { value: 0, ..RawResult::failure(e) },
        };
        self.told(index, &mut data, result);
    }

    /// Closes a file, and opens another of the same number.
    fn reopen(&self, task: TaskRef, n: usize) {
        if self.sim.0.is_closing[n].replace(true) {
            return;
        }
        let call = self.call(task, self.files[n].get());
        let closed = call.close_in_order();
        if closed != Ok(()) {
            self.sim.breaks(format!("a close: {closed:?}"));
        }
        if self.sim.0.is_open[n].get() {
            self.sim.breaks("a file is open that was closed".into());
        }
        self.sim.0.opened[n].set(self.sim.0.opened[n].get() + 1);
        self.closed_ns[n].set(self.sim.now_boot_ns());
        self.sim.0.is_open[n].set(true);
        self.files[n].set(ordered(self.ex, &self.sim, self.fds[n]));
        self.sim.0.is_closing[n].set(false);
    }

    /// A write of a registered buffer, by an operation, in the file's row.
    fn fixed(&self, task: TaskRef, n: usize) {
        let Some(set) = self.set.get() else { return };
        // SAFETY: unregistered when all tasks have exited.
        let set = unsafe { set.as_ref() };
        let ex = self.ex.executor();
        let claim = match set.claim(&Caller::task(ex, task), u64::MAX) {
            Ok(claim) => claim,
            Err(Errno(libc::ECANCELED | libc::ETIME)) => return,
            Err(e) => return self.sim.breaks(format!("a claim: {e}")),
        };
        if let Some((index, data)) = self.begin(n, true) {
            let at = self.writes.borrow()[index].at;
            // SAFETY: claimed, so ours; no more than it has.
            let buffer = unsafe {
                let to = set.memory().data(claim.number).as_ptr();
                std::slice::from_raw_parts_mut(to, data.len())
            };
            buffer.copy_from_slice(&data);
            let op = Box::new(self.entry(op::WRITE_FIXED, self.files[n].get(), buffer, at));
            // SAFETY: in place until it is over.
            if let Err(e) = unsafe { Handle::<Sim>::begin_operation(task, &op) } {
                self.told(index, buffer, RawResult { value: 0, ..Err(e).into() });
            }
            while op.is_in_flight.get() {
                if op.pending.get() == 0 && set.release::<Sim>(claim) != Err(Errno(libc::EBUSY)) {
                    self.sim.breaks("a buffer in use was given back".into());
                }
                let result = Handle::<Sim>::wait_operation(task, &op);
                self.told(index, buffer, result);
            }
        }
        if let Err(e) = set.release::<Sim>(claim) {
            self.sim.breaks(format!("a release: {e}"));
        }
        if !set.memory().is_claimed(claim.number) {
            let at = set.memory().data(claim.number).as_ptr();
            // SAFETY: mapped while the set is.
            let data = unsafe { std::slice::from_raw_parts(at, 1) };
            let op = self.entry(op::WRITE_FIXED, self.files[n].get(), data, 0);
            // SAFETY: it does not begin.
            let begun = unsafe { Handle::<Sim>::begin_operation(task, &op) };
            if begun != Err(Errno(libc::EINVAL)) {
                self.sim.breaks("an operation on a buffer that nobody has".into());
                let _ = Handle::<Sim>::wait_operation(task, &op);
            }
        }
    }

    /// What never comes: until the file is closed, or for a time.
    fn reads(&self, task: TaskRef, n: usize) {
        if self.sim.0.is_closing[n].get() {
            return;
        }
        let ex = self.ex.executor();
        let is_other = self.below(3) == 0;
        let fd = if is_other { OTHER } else { self.fds[n] };
        let opened = self.sim.0.opened[n].get();
        let mut room = [0_u8; 8];
        let mut scope = MaybeUninit::uninit();
        // SAFETY: in place until it is left; room of our own.
        let (read, left) = unsafe {
            ex.enter_scope(task, scope.as_mut_ptr(), READS_NS, 0);
            let read = self.call(task, File { fd, flags: 0 }).read(room.as_mut_ptr().cast(), 8, -1);
            (read, ex.leave_scope(task, scope.as_ptr()))
        };
        let closed_ns = self.sim.now_boot_ns() - self.closed_ns[n].get();
        let was_closed = opened != self.sim.0.opened[n].get();
        let is_open = !was_closed && !self.sim.0.is_closing[n].get();
        let ends = match read {
            Err(Errno(libc::ETIME)) => is_other || !was_closed || closed_ns < SOON_NS,
            Err(Errno(libc::ECANCELED)) => !is_open && !is_other,
            Err(Errno(libc::EAGAIN)) => self.sim.0.temper.not_performed != 0,
            _ => false,
        };
        if !ends || left.is_err() {
            let which = if is_other { "another file" } else { "a file" };
            let since = if is_open { "open" } else { "closed" };
            self.sim.breaks(format!("a read of {which}, which is {since}: {read:?}"));
        }
    }

    fn step(&self, task: TaskRef) {
        let n = self.below(2) as usize;
        match self.below(14) {
            0..=3 => self.by_call(task, n),
            4..=7 => self.by_operations(task, n),
            8 | 9 => self.fixed(task, n),
            10 => self.unordered(task, n),
            11 => self.reads(task, n),
            12 => {
                let _ = self.ex.executor().sleep(task, 0);
            }
            _ => self.reopen(task, n),
        }
    }
}

/// Sees to the files that the process has for those numbers: the first is no regular one.
fn open_regular() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // What has a row is looked for among the descriptors.
        // SAFETY: a string.
        let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY) };
        // SAFETY: our own.
        assert_eq!(unsafe { libc::dup2(fd, FDS[0]) }, FDS[0]);
        for (number, more) in [(FDS[1], libc::O_SYNC), (CACHED, 0)] {
            let flags = libc::O_TMPFILE | libc::O_WRONLY | more;
            // SAFETY: a string.
            let fd = unsafe { libc::open(c"/tmp".as_ptr(), flags, 0o600) };
            // SAFETY: our own.
            assert_eq!(unsafe { libc::dup2(fd, number) }, number);
        }
    });
}

fn ordered(ex: Handle<Sim>, sim: &Sim, fd: i32) -> File {
    let ex = ex.executor();
    let worker = || -> Res<Box<dyn Worker>> {
        assert_eq!(fd, CACHED, "nobody asks for one of another");
        Ok(Box::new(Helper { sim: sim.clone(), n: 1, home: ex.mailbox() }))
    };
    let row = ex.open_row(fd, false, worker).expect("there are not so many");
    let flags = ORDERED | u32::from(row);
    assert!(are_flags(flags));
    File { fd, flags }
}

/// How many writes there were.
pub fn play(seed: u64) -> Result<u64, Broken> {
    open_regular();
    let mut rng = Rng::new(seed, 0);
    let often = |rng: &mut Rng| rng.pick(&[0, 0, 3, 20]);
    let temper = Temper {
        short: often(&mut rng),
        fails: rng.pick(&[0, 0, 0, 10]),
        not_performed: often(&mut rng),
        takes_part: often(&mut rng),
        has_no_thread: rng.pick(&[0, 0, 10]),
        refuses: rng.pick(&[0, 0, 5]),
        slow: rng.pick(&[0, 2]),
        submits_all: rng.below(3) != 0,
        cancels_by_handle: rng.below(2) != 0,
        waits: rng.pick(&[0, 2, 5]),
    };
    let sim = Sim::new(seed, temper, rng.pick(&[2, 4, 16]));
    let fds = [FDS[0], rng.pick(&[FDS[1], CACHED])];
    let ex = Handle::new(sim.clone(), false).unwrap();
    let set = Set::register(ex.executor(), 2, 8).map_err(|e| Broken(format!("a set: {e}")))?;
    let world = Rc::new(World {
        ex,
        sim: sim.clone(),
        fds,
        files: fds.map(|fd| Cell::new(ordered(ex, &sim, fd))),
        closed_ns: Default::default(),
        moment: Cell::new(0),
        next_byte: Cell::new(0),
        writes: RefCell::default(),
        rng: RefCell::new(rng),
        set: Cell::new(Some(set)),
    });
    let tasks: Vec<TaskRef> = (0..TASKS)
        .map(|_| {
            let (task, world) = (new_large_task(), world.clone());
            set_body(task, move |task| {
                for _ in 0..STEPS {
                    world.step(task);
                }
                RawResult::success(0)
            });
            ex.attach(task).unwrap();
            task
        })
        .collect();
    let mut passes = 0;
    while ex.has_work() {
        let _ = ex.run(usize::MAX, None);
        passes += 1;
        if passes > 20_000 {
            // The tasks cannot go on, and are left where they are.
            return Err(Broken("a program that does not end".into()));
        }
        if let Some(text) = sim.0.broken.borrow_mut().take() {
            return Err(Broken(text));
        }
    }
    // SAFETY: nobody has it any more.
    unsafe { Set::unregister(set, Some(ex.executor())) }
        .map_err(|e| Broken(format!("a set is in use: {e}")))?;
    if sim.0.table.borrow().iter().any(|place| place.1 != 0) {
        return Err(Broken("a buffer is registered that is gone".into()));
    }
    destroy(ex, tasks);
    if !sim.is_idle() {
        return Err(Broken("something is left in the kernel".into()));
    }
    let writes = world.writes.borrow();
    let bad: Vec<u8> = sim.0.bad.borrow().iter().map(|(byte, _)| *byte).collect();
    let errors = [&sim.0.failed.borrow()[..], &bad];
    check(&writes, &sim.0.pieces.borrow(), errors, temper)?;
    Ok(writes.len() as u64)
}

fn check(
    writes: &[Written],
    pieces: &[Piece],
    [failed, bad]: [&[u8]; 2],
    temper: Temper,
) -> Result<(), Broken> {
    let of = |byte: u8| writes.iter().find(|w| w.byte == byte);
    let mut last: [(u32, u32); 2] = [(0, 0); 2];
    for piece in pieces {
        let Some(write) = of(piece.byte) else {
            return Err(Broken(format!("what nobody wrote, or nobody's memory: {piece:?}")));
        };
        if (write.fd, write.opened) != (piece.fd, piece.opened) {
            return Err(Broken(format!("in another file: {write:?} as {piece:?}")));
        }
        if write.was_late {
            return Err(Broken(format!("to a file that was being closed: {write:?}")));
        }
        if !write.is_ordered {
            continue;
        }
        let last = &mut last[piece.fd as usize % 2];
        if last.0 == piece.opened && write.called < last.1 {
            return Err(Broken(format!("not in the order of the calls: {write:?}")));
        }
        *last = (piece.opened, write.called);
    }
    for write in writes {
        let mine = || pieces.iter().filter(|piece| piece.byte == write.byte);
        let done = mine().map(|piece| piece.bytes).sum::<u32>();
        let wrong = |what: &str| Err(Broken(format!("{what}: {write:?}, {done} were written")));
        if write.told == 0 {
            return wrong("nobody was told of it");
        }
        let mut at = write.at;
        for piece in mine().filter(|_| write.at != u64::MAX) {
            if piece.at != at {
                return wrong("in another place");
            }
            at += u64::from(piece.bytes);
        }
        let RawResult { value, error, .. } = write.result;
        if value != done as isize {
            return wrong("not what was told");
        }
        let ended = write.was_cancelled || write.was_closed;
        if write.is_ordered && !ended && error == 0 && failed.contains(&write.byte) {
            return wrong("its error was kept from it");
        }
        // What came before, and was not taken when this one was called.
        let behind = writes.iter().any(|w| {
            let same = (w.fd, w.opened) == (write.fd, write.opened) && w.is_ordered;
            let before = same && write.is_ordered && w.called < write.called;
            let fails = !matches!(w.result.error, 0 | libc::ECANCELED);
            before && fails && w.told > write.called
        });
        match error {
            libc::EBADF if write.was_late => {}
            // One that is not ordered may come short, as `write` does.
            0 if done == write.bytes || ended || !write.is_ordered => {}
            0 => return wrong("half of it"),
            libc::ECANCELED if ended || behind => {}
            errno if ERRNOS.contains(&errno) && [failed, bad].concat().contains(&write.byte) => {}
            libc::EAGAIN if temper.not_performed != 0 => {}
            _ => return wrong("an error of nobody's"),
        }
        if behind && done != 0 && error == 0 && !failed.is_empty() {
            let first = writes.iter().filter(|w| w.is_ordered && failed.contains(&w.byte));
            let wrote_behind = first
                .filter(|w| (w.fd, w.opened) == (write.fd, write.opened))
                .any(|w| w.called < write.called && write.called < w.told);
            if wrote_behind {
                return wrong("written behind an error");
            }
        }
    }
    Ok(())
}

//! A descriptor's number may be another file's at once: an IORING_OP_CLOSE that is interrupted has
//! closed it, and is not begun again; and a call of several operations goes on with none of them
//! once its handle was closed. Against a kernel that answers as it is told.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult, Res};
use monad_async::executor::grant::Caller;
use monad_async::io::call::Call;
use monad_async::io::file::{File, Parts};
use monad_async::io::ordered::order;
use monad_async::io::socket::Address;
use monad_async::reactor::operation::{Op, RETRIES_MAX};
use monad_async::sync::buffer_set::Set;
use monad_async::sys::fd;
use monad_async::uring::abi::sqe as flag;
use monad_async::uring::kernel::{op, Cqe, Kernel, Sqe, Wait, Waker};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;
use support::child::alone;
use support::*;

#[derive(Default)]
struct Told {
    /// How operations end, one after the other.
    answers: Rc<RefCell<VecDeque<i32>>>,
    submitted: RefCell<Vec<u64>>,
    /// Of each close, whether a thread of the kernel's is to do it.
    closes: Rc<RefCell<Vec<bool>>>,
    /// What a direct socket says of SO_LINGER; how often one was asked.
    linger: Rc<Cell<(i32, i32)>>,
    asked: Rc<Cell<u32>>,
    lacks_install: bool,
    /// Of each socket that is closed past the ring, how many entries nobody has submitted then.
    past: Rc<RefCell<Vec<usize>>>,
    /// What is submitted completes in the next `enter`, not in its own.
    lags: Rc<Cell<bool>>,
    begun: RefCell<Vec<Cqe>>,
    completed: RefCell<VecDeque<Cqe>>,
    boot_ns: Cell<u64>,
}

impl Kernel for Told {
    fn has_ring(&self) -> bool {
        true
    }
    fn sq_space(&self) -> u32 {
        8
    }
    fn sq_pending(&self) -> u32 {
        self.submitted.borrow().len() as u32
    }
    unsafe fn push(&self, sqe: &Sqe) {
        self.submitted.borrow_mut().push(sqe.user_data());
        if sqe.opcode() == op::CLOSE {
            self.closes.borrow_mut().push(sqe.flags() & flag::ASYNC != 0);
        }
        if sqe.opcode() == op::URING_CMD {
            let (l_onoff, l_linger) = self.linger.get();
            assert_eq!(sqe.flags(), flag::FIXED_FILE);
            let set = sqe.0[6] as *mut libc::linger;
            // SAFETY: the call's own.
            unsafe { set.write(libc::linger { l_onoff, l_linger }) };
            self.asked.set(self.asked.get() + 1);
        }
    }
    fn pop(&self) -> Option<Cqe> {
        self.completed.borrow_mut().pop_front()
    }
    fn needs_enter(&self) -> bool {
        !self.begun.borrow().is_empty()
    }
    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        let (submitted, begun) = (self.submitted.take(), self.begun.take());
        let is_idle = submitted.is_empty() && begun.is_empty();
        self.completed.borrow_mut().extend(begun);
        if let (Wait::Until { boot_ns }, true) = (wait, is_idle) {
            self.boot_ns.set(boot_ns.saturating_add(1_000_000)); // It wakes late.
        }
        for user_data in submitted {
            let res = self.answers.borrow_mut().pop_front().expect("an operation too many");
            let cqe = Cqe { user_data, res, flags: 0 };
            match self.lags.get() {
                true => self.begun.borrow_mut().push(cqe),
                false => self.completed.borrow_mut().push_back(cqe),
            }
        }
        Ok(())
    }
    fn now_boot_ns(&self) -> u64 {
        self.boot_ns.get()
    }
    fn make_fixed_table(&self, _: u32) -> Result<(), Errno> {
        Err(Errno(libc::EOPNOTSUPP))
    }
    /// However long others keep this thread, nothing is submitted in between two tasks.
    fn look_ticks() -> u64 {
        u64::MAX
    }
    fn close_socket(&self, _: i32) -> Option<i32> {
        self.past.borrow_mut().push(self.submitted.borrow().len());
        Some(0)
    }
    fn knows(&self, opcode: u8) -> bool {
        opcode != op::FIXED_FD_INSTALL || !self.lacks_install
    }
    fn waker(&self) -> Waker {
        Waker::of_eventfd(-1)
    }
}

/// What a task gets whose operations end so, by `task_io` and by a record.
fn get(opcode: u8, answers: &[i32]) -> [i32; 2] {
    let kernel = Told::default();
    let left = kernel.answers.clone();
    let ex = Handle::new(kernel, true).unwrap();
    let task = new_task();
    let got = Rc::new(Cell::new([0; 2]));
    let (out, again) = (got.clone(), answers.to_vec());
    let told = left.clone();
    set_body(task, move |task| {
        let sqe = Sqe::new(opcode, 5, 0, 0, 0, 0);
        told.borrow_mut().extend(&again);
        // SAFETY: nobody performs it.
        let inline = unsafe { Handle::<Told>::io(task, &sqe) }.error;
        assert!(told.borrow().is_empty(), "begun too seldom");
        told.borrow_mut().extend(&again);
        // SAFETY: as a C program makes one: all zeroes.
        let record: Op = unsafe { std::mem::zeroed() };
        record.sqe.set(sqe);
        // SAFETY: as above; in place until it was waited for.
        unsafe { ex.executor().begin_operation(task, &record) }.unwrap();
        out.set([inline, ex.executor().wait_operation(task, &record).error]);
        RawResult::success(0)
    });
    ex.attach(task).unwrap();
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    assert!(left.borrow().is_empty(), "begun too seldom");
    destroy(ex, [task]);
    got.get()
}

#[test]
fn an_interrupted_close_is_not_begun_again() {
    for errno in [libc::EINTR, 512, 513, 514, 516] {
        assert_eq!(get(op::CLOSE, &[-errno]), [libc::EINPROGRESS; 2], "{errno}");
        assert_eq!(get(op::NOP, &[-errno, 0]), [0; 2], "{errno}");
    }
    assert_eq!(get(op::CLOSE, &[-libc::EBADF]), [libc::EBADF; 2]);
}

/// One that was cancelled, and by nobody, has done nothing.
#[test]
fn a_close_that_was_not_performed_is_begun_again() {
    assert_eq!(get(op::CLOSE, &[-libc::ECANCELED, -libc::ECANCELED, 0]), [0; 2]);
    assert_eq!(get(op::CLOSE, &[-libc::ECANCELED, -libc::EINTR]), [libc::EINPROGRESS; 2]);
}

/// From the fifth time on the task pauses before it asks again. A cancel that came when the pause was
/// over, and before the task went on, was for no wait: the operation was begun, and the cancel lost.
#[test]
fn a_cancel_at_the_end_of_a_pause_before_what_is_begun_again() {
    let kernel = Told::default();
    let left = kernel.answers.clone();
    left.borrow_mut().extend([-libc::ECANCELED; 5]);
    left.borrow_mut().push_back(0);
    let ex = Handle::new(kernel, true).unwrap();
    let (asks, cancels) = (new_task(), new_task());
    set_body(asks, |task| {
        // SAFETY: nobody performs it.
        unsafe { Handle::<Told>::io(task, &Sqe::new(op::NOP, 5, 0, 0, 0, 0)) }
    });
    let told = left.clone();
    set_body(cancels, move |task| {
        // Over at the same look at the clock as the pause, and first.
        assert_eq!(Handle::<Told>::sleep(task, 5_000).error, 0);
        assert_eq!(told.borrow().len(), 1, "it does not pause");
        ex.cancel(asks).unwrap();
        RawResult::success(0)
    });
    ex.attach(asks).unwrap();
    ex.attach(cancels).unwrap();
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    assert_eq!(cancels.head.result.get(), RawResult::success(0));
    assert_eq!(asks.head.result.get(), RawResult::failure(Errno(libc::ECANCELED)));
    assert_eq!(left.borrow().len(), 1, "begun again");
    destroy(ex, [asks, cancels]);
}

/// A number that no descriptor of this process has, so that only the kernel that is told knows of it.
const NO_FILE: i32 = 60_000;

/// What a call gives whose operations end so, if another task closes its handle then, while the call
/// has nothing in flight.
fn closed_after(
    answers: &[i32],
    call: impl Fn(&Call<'_, Told>) -> RawResult + 'static,
) -> (isize, i32) {
    closed_between(answers, &[], call)
}

/// The same, of one that goes on all the same, and whose operations end so then.
fn closed_between(
    answers: &[i32],
    then: &'static [i32],
    call: impl Fn(&Call<'_, Told>) -> RawResult + 'static,
) -> (isize, i32) {
    closed(NO_FILE, answers, then, call)
}

/// The same of that handle.
fn closed(
    fd: i32,
    answers: &[i32],
    then: &'static [i32],
    call: impl Fn(&Call<'_, Told>) -> RawResult + 'static,
) -> (isize, i32) {
    let kernel = Told::default();
    let left = kernel.answers.clone();
    left.borrow_mut().extend(answers);
    let ex = Handle::new(kernel, true).unwrap();
    let (caller, closer) = (new_large_task(), new_task());
    set_body(caller, move |task| call(&Call { ex: ex.executor(), task, fd, flags: 0 }));
    let told = left.clone();
    set_body(closer, move |task| {
        // The last has ended when there is no answer left; and its task is ready, behind this one.
        while !told.borrow().is_empty() {
            Handle::<Told>::sleep(task, 0);
        }
        told.borrow_mut().extend([-libc::ENOENT, 0]); // What the cancel finds, and the close.
        told.borrow_mut().extend(then);
        ex.executor().close_handle(task, fd, false).unwrap();
        RawResult::success(0)
    });
    ex.attach(caller).unwrap();
    ex.attach(closer).unwrap();
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    assert!(left.borrow().is_empty(), "not closed");
    let r = caller.head.result.get();
    destroy(ex, [caller, closer]);
    (r.value, r.error)
}

#[test]
fn a_call_does_not_go_on_by_the_number_of_a_closed_handle() {
    const BYTES: usize = 30;
    let room = Box::leak(Box::new([0_u8; BYTES])).as_mut_ptr();
    let of = |r: Res<usize>| r.map(|n| n as isize).into();
    let room = move || room.cast();
    type Calls = Box<dyn Fn(&Call<'_, Told>) -> RawResult>;
    let calls: [(&str, Calls); 4] = [
        // SAFETY: nobody performs it, and the room stays.
        ("recv_exact", Box::new(move |c| unsafe { c.recv_exact(room(), BYTES) })),
        // SAFETY: nobody performs it, and the room stays.
        ("send_all", Box::new(move |c| unsafe { c.send_all(room(), BYTES) })),
        // SAFETY: nobody performs it, and the room stays.
        ("read_all", Box::new(move |c| unsafe { c.read_all(room(), BYTES, 0) })),
        // SAFETY: nobody performs it, and the room stays.
        ("write_all", Box::new(move |c| unsafe { c.write_all(room(), BYTES, 0) })),
    ];
    for (name, call) in calls {
        assert_eq!(closed_after(&[10, 5], call), (15, libc::ECANCELED), "{name}");
    }
    let recv = move |c: &Call<'_, Told>| {
        // SAFETY: as above.
        of(unsafe { c.recv(room(), BYTES, 0) })
    };
    let would_wait = -libc::EAGAIN;
    let readable = i32::from(libc::POLLIN);
    for answers in [&[would_wait] as &[i32], &[would_wait, readable]] {
        assert_eq!(closed_after(answers, recv), (-1, libc::ECANCELED), "{answers:?}");
    }
    assert_eq!(closed_after(&[10], recv), (10, 0), "over before");
}

/// Reads into memory that stays: `read`, `readv`, or on a registered buffer.
type Read = fn(&Call<'_, Told>) -> Res<usize>;
const READS: [(&str, Read); 3] = [("read", read), ("readv", readv), ("fixed", read_fixed)];

fn room() -> &'static mut [u8; 30] {
    Box::leak(Box::new([0; 30]))
}

fn read(c: &Call<'_, Told>) -> Res<usize> {
    // SAFETY: it stays.
    unsafe { c.read(room().as_mut_ptr().cast(), 30, -1) }
}

fn readv(c: &Call<'_, Told>) -> Res<usize> {
    let part = libc::iovec { iov_base: room().as_mut_ptr().cast(), iov_len: 30 };
    // SAFETY: it stays, and the part until this returns.
    unsafe { c.readv(Parts { at: &part, count: 1 }, -1, 0) }
}

fn read_fixed(c: &Call<'_, Told>) -> Res<usize> {
    let at = Set::register(c.ex, 1, 30)?;
    // SAFETY: it is there until it is unregistered.
    let set = unsafe { at.as_ref() };
    let claim = set.claim(&Caller::task(c.ex, c.task), u64::MAX)?;
    let sqe = c.entry(op::READ_FIXED, -1_i64 as u64, 0, 0, 0);
    let (sqe, _) = set.entry(c.ex, claim, (0, 30), sqe)?;
    // SAFETY: refers to the buffer alone.
    let got = unsafe { c.transfer(sqe, false) };
    set.release::<Told>(claim)?;
    // SAFETY: nobody has it any more.
    unsafe { Set::unregister(at, Some(c.ex)) }?;
    got
}

const WOULD_WAIT: i32 = -libc::EAGAIN;

/// Before 6.1 a descriptor with O_NONBLOCK makes the kernel say that it would have waited: then a
/// read waits by a poll, and asks again.
#[test]
fn a_read_that_waited_by_a_poll_does_not_go_on_by_the_number_of_a_closed_handle() {
    let regular = std::fs::File::open("/proc/self/limits").unwrap();
    for (name, read) in READS {
        let of = move |c: &Call<'_, Told>| read(c).map(|n| n as isize).into();
        for answers in [&[WOULD_WAIT] as &[i32], &[WOULD_WAIT, libc::POLLIN.into()]] {
            assert_eq!(closed_after(answers, of), (-1, libc::ECANCELED), "{name}, {answers:?}");
        }
        let got = closed(regular.as_raw_fd(), &[WOULD_WAIT], &[], of);
        assert_eq!(got, (-1, libc::ECANCELED), "{name}");
    }
}

/// There the ring never reads a file of /proc, by such a descriptor, and poll says that it may be
/// read: `read` itself takes no notice of the flag, and no call asks for ever.
#[test]
fn a_file_that_the_ring_does_not_wait_for_is_read_by_a_helper() {
    for (name, read) in READS {
        let file = std::fs::File::open("/proc/self/limits").unwrap();
        let kernel = Told::default();
        let answers = kernel.answers.clone();
        answers.borrow_mut().extend([WOULD_WAIT, libc::POLLIN.into(), WOULD_WAIT]);
        let ex = Handle::new(kernel, true).unwrap();
        let task = new_large_task();
        let fd = file.as_raw_fd();
        set_body(task, move |task| {
            let got = read(&Call { ex: ex.executor(), task, fd, flags: 0 });
            got.map(|n| n as isize).into()
        });
        ex.attach(task).unwrap();
        while ex.has_work() {
            let _ = ex.run(usize::MAX, Some(0));
        }
        assert_eq!(task.head.result.get(), RawResult::success(30), "{name}");
        assert_eq!(answers.borrow().len(), 2, "{name}");
        destroy(ex, [task]);
    }
}

/// How often another ready task has run when a close returns that the kernel answers so: the cancel,
/// and the close.
fn turns_in_a_close(direct: bool, lags: bool, answers: [i32; 2]) -> u32 {
    turns_behind(0, direct, lags, answers)
}

/// The same, of a close that is submitted with so many operations of its task before it.
fn turns_behind(others: usize, direct: bool, lags: bool, answers: [i32; 2]) -> u32 {
    let kernel = Told { lags: Rc::new(Cell::new(lags)), ..Told::default() };
    kernel.answers.borrow_mut().extend(std::iter::repeat_n(0, others).chain(answers));
    let left = kernel.answers.clone();
    let ex = Handle::new(kernel, true).unwrap();
    let (closer, other) = (new_task(), new_task());
    let (turns, ended) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let (seen, over) = (turns.clone(), ended.clone());
    set_body(closer, move |task| {
        // SAFETY: zeros are an idle record.
        let records: Vec<Op> = (0..others).map(|_| unsafe { std::mem::zeroed() }).collect();
        for record in &records {
            record.sqe.set(Sqe::new(op::NOP, -1, 0, 0, 0, 0));
            // SAFETY: in place until they have ended, below; they refer to no memory.
            unsafe { ex.executor().begin_operation(task, record) }.unwrap();
        }
        let closed = ex.executor().close_handle(task, 5, direct);
        over.set(true);
        let turns = seen.get();
        for record in &records {
            let _ = ex.executor().end_operation(task, record);
        }
        // The turns of the other one, and the error.
        RawResult { value: turns, error: closed.map_or_else(|e| e.0, |()| 0), reserved: 0 }
    });
    set_body(other, move |task| {
        while !ended.get() {
            turns.set(turns.get() + 1);
            Handle::<Told>::sleep(task, 0);
        }
        RawResult::success(0)
    });
    ex.attach(closer).unwrap();
    ex.attach(other).unwrap();
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    assert!(left.borrow().is_empty());
    let r = closer.head.result.get();
    assert_eq!(r.error, -answers[1].min(0));
    destroy(ex, [closer, other]);
    r.value as u32
}

/// A destructor closes in the middle of what `shared_ptr` or a container does, and another task would
/// see that half done. So where nothing is in flight, and the kernel closes within the call that
/// submits, no other task runs.
#[test]
fn a_close_of_what_nobody_uses_does_not_suspend_where_the_kernel_closes_at_once() {
    for direct in [false, true] {
        // Older kernels say ENOENT where the cancel found nothing.
        for found_nothing in [0, -libc::ENOENT] {
            for closed in [0, -libc::EBADF, -libc::EIO] {
                assert_eq!(turns_in_a_close(direct, false, [found_nothing, closed]), 0);
                assert_ne!(turns_in_a_close(direct, true, [found_nothing, closed]), 0);
            }
        }
        // More than a look takes in completes before it.
        assert_eq!(turns_behind(1000, direct, false, [0, 0]), 0);
    }
}

type Part = Box<dyn Fn(&Call<'_, Told>) -> i32>;

const SOCKET: i32 = 5;

fn receives(c: &Call<'_, Told>) -> i32 {
    // SAFETY: nobody performs it.
    unsafe { c.ex.io(c.task, Sqe::new(op::RECV, SOCKET, 0, 0, 0, 0)) }
}

/// By a record, which goes on while its task does.
fn begins(c: &Call<'_, Told>) -> Box<Op> {
    // SAFETY: as a C program makes one: all zeroes; nobody performs it.
    let record: Box<Op> = unsafe { Box::new(std::mem::zeroed()) };
    record.sqe.set(Sqe::new(op::RECV, SOCKET, 0, 0, 0, 0));
    // SAFETY: in place until it was waited for.
    unsafe { c.ex.begin_operation(c.task, &record) }.unwrap();
    record
}

fn closes(c: &Call<'_, Told>) -> i32 {
    errno(c.ex.close_socket(c.task, SOCKET, false))
}

/// What is closed past the ring while so many entries wait there; and by entries.
fn closed_by(answers: &[i32], parts: Vec<Part>) -> (Vec<i32>, Vec<usize>, usize) {
    let kernel = told(answers);
    let (left, past, by_ring) =
        (kernel.answers.clone(), kernel.past.clone(), kernel.closes.clone());
    let got = run_bodies(kernel, parts);
    assert!(left.borrow().is_empty());
    (got, past.take(), by_ring.take().len())
}

/// Closes by 64 tasks are not 64 calls of the ring's, each with what happens to wait there.
#[test]
fn a_socket_that_nobody_else_uses_is_closed_past_the_ring() {
    let other = |c: &Call<'_, Told>| {
        // SAFETY: nobody performs it.
        unsafe { c.ex.io(c.task, Sqe::new(op::RECV, SOCKET + 1, 0, 0, 0, 0)) }
    };
    let uses = |c: &Call<'_, Told>| receives(c) + closes(c);
    assert_eq!(closed_by(&[8], vec![Box::new(uses)]), (vec![8], vec![0], 0));
    let got = closed_by(&[8], vec![Box::new(other), Box::new(closes)]);
    assert_eq!(got, (vec![8, 0], vec![1], 0), "the other one's waits on");
}

/// An operation of another task that the kernel has not got would be for what has the number next.
#[test]
fn a_socket_that_another_task_uses_is_closed_by_the_ring_behind_that() {
    let answers = [-libc::ECANCELED, 1, 0];
    let got = closed_by(&answers, vec![Box::new(receives), Box::new(closes)]);
    assert_eq!(got, (vec![-libc::ECANCELED, 0], vec![], 1));
    // Of two who use it, the last is not the one that counts.
    let last = |c: &Call<'_, Told>| receives(c) + closes(c);
    let got = closed_by(&[8, 8, 0, 0], vec![Box::new(receives), Box::new(last)]);
    assert_eq!(got, (vec![8, 8], vec![], 1));
    let all: Vec<Part> = vec![Box::new(receives), Box::new(receives), Box::new(closes)];
    let got = closed_by(&[-libc::ECANCELED, -libc::ECANCELED, 2, 0], all);
    assert_eq!(got, (vec![-libc::ECANCELED, -libc::ECANCELED, 0], vec![], 1));
}

/// Nor does it have to be another task.
#[test]
fn a_socket_with_a_record_in_flight_is_closed_by_the_ring() {
    let both = |c: &Call<'_, Told>| {
        let record = begins(c);
        let closed = closes(c);
        assert_eq!(c.ex.wait_operation(c.task, &record).error, libc::ECANCELED);
        closed
    };
    let got = closed_by(&[-libc::ECANCELED, 1, 0], vec![Box::new(both)]);
    assert_eq!(got, (vec![0], vec![], 1));
}

/// What an earlier one of that number was used for is over once that was closed.
#[test]
fn the_next_one_of_a_number_is_nobodys_so_far() {
    let twice = |c: &Call<'_, Told>| closes(c) + closes(c);
    let answers = [-libc::ECANCELED, 1, 0];
    let got = closed_by(&answers, vec![Box::new(receives), Box::new(twice)]);
    assert_eq!(got, (vec![-libc::ECANCELED, 0], vec![0], 1));
}

/// The entry that closes was noted as its task's: with another task's operations the next of that
/// number had two users, and so each one after it.
#[test]
fn the_next_one_of_a_number_that_was_closed_by_the_ring_is_nobodys_so_far() {
    let by_ring = |c: &Call<'_, Told>| errno(c.ex.close_handle(c.task, SOCKET, false));
    let uses = |c: &Call<'_, Told>| receives(c) + closes(c);
    let got = closed_by(&[0, 0, 8], vec![Box::new(by_ring), Box::new(uses)]);
    assert_eq!(got, (vec![0, 8], vec![0], 1));
}

/// Who was in a call on that handle gets out of it before the close goes on.
#[test]
fn a_close_of_what_somebody_uses_suspends() {
    for direct in [false, true] {
        assert_eq!(turns_in_a_close(direct, false, [1, 0]), 1);
        assert_ne!(turns_in_a_close(direct, true, [2, 0]), 0);
    }
}

/// It is asked again and again, within the call and then with pauses, until it is done.
#[test]
fn a_close_that_was_not_performed_at_once_is_begun_again_until_it_is() {
    let kernel = Told::default();
    let not_performed = std::iter::repeat_n(-libc::ECANCELED, RETRIES_MAX as usize + 7);
    kernel.answers.borrow_mut().extend([0].into_iter().chain(not_performed).chain([0]));
    let left = kernel.answers.clone();
    let ex = Handle::new(kernel, true).unwrap();
    let closer = new_task();
    set_body(closer, move |task| ex.executor().close_handle(task, 5, false).map(|()| 0).into());
    ex.attach(closer).unwrap();
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    assert!(left.borrow().is_empty());
    assert_eq!(closer.head.result.get(), RawResult::success(0));
    destroy(ex, [closer]);
}

/// Where an entry has something else in the place of a descriptor, a process's number for one, a
/// close of what has that number is none of its.
#[test]
fn what_is_no_descriptor_is_not_closed() {
    let io = |opcode| {
        move |c: &Call<'_, Told>| {
            // SAFETY: nobody performs it.
            unsafe { Handle::<Told>::io(c.task, &Sqe::new(opcode, c.fd, 0, 0, 0, 0)) }
        }
    };
    let interrupted = &[-libc::EINTR];
    assert_eq!(closed_after(interrupted, io(op::READ)), (-1, libc::ECANCELED));
    for opcode in [op::WAITID, op::SOCKET, op::TIMEOUT, op::FUTEX_WAIT] {
        assert_eq!(closed_between(interrupted, &[3], io(opcode)), (3, 0), "{opcode}");
    }
}

/// The close of a socket that lingers takes until all that was sent has arrived: in the call that submits
/// it no task went on meanwhile. A direct one is asked once some socket lingers, and is taken to linger by a
/// kernel that cannot be asked.
#[test]
fn what_lingers_is_closed_by_a_thread_of_the_kernels() {
    const DIRECT: i32 = 1000; // None of the plain ones.
                              // That some socket lingers is of the process.
    alone("what_lingers_is_closed_by_a_thread_of_the_kernels", || {
        for lacks_install in [false, true] {
            let (lingers, other) =
                (UnixDatagram::unbound().unwrap(), UnixDatagram::unbound().unwrap());
            let kernel = Told { lacks_install, ..Told::default() };
            let (answers, closes) = (kernel.answers.clone(), kernel.closes.clone());
            let (linger, asked) = (kernel.linger.clone(), kernel.asked.clone());
            let ex = Handle::new(kernel, true).unwrap();
            let task = new_task();
            set_body(task, move |task| {
                let (lingers, other) = (lingers.as_raw_fd(), other.as_raw_fd());
                // What a direct one answers, if it is asked.
                let close_as = |fd, says: &[i32]| {
                    // What the cancel finds, and the close.
                    answers.borrow_mut().extend(says.iter().chain(&[-libc::ENOENT, 0]));
                    ex.executor().close_handle(task, fd, fd == DIRECT).unwrap();
                    assert!(answers.borrow().is_empty());
                    closes.borrow_mut().pop().unwrap()
                };
                let close = |fd| close_as(fd, &[]);
                let direct = |says, l_onoff, l_linger| {
                    linger.set((l_onoff, l_linger));
                    close_as(DIRECT, &[says])
                };
                // It is no socket, or one that does not tell: a plain one is made of it.
                let untold = |says: Res<i32>| {
                    let plain = says.map_or_else(|e| -e.0, |fd| fd::duplicate(fd).unwrap());
                    let says = [-libc::EOPNOTSUPP, plain];
                    close_as(DIRECT, &says[..if lacks_install { 1 } else { 2 }])
                };
                let set = |l_onoff, l_linger| {
                    let value = libc::linger { l_onoff, l_linger };
                    let (at, length) = ((&raw const value).cast(), size_of_val(&value) as u32);
                    // SAFETY: of that size.
                    unsafe {
                        fd::option_set(lingers, libc::SOL_SOCKET, libc::SO_LINGER, at, length)
                            .unwrap();
                        fd::option_was_set(libc::SOL_SOCKET, libc::SO_LINGER, at, length);
                    }
                };
                if !fd::may_linger() {
                    assert!(!close(lingers) && !close(DIRECT));
                    set(1, 0); // At once, and what was sent is lost.
                    set(0, 5);
                    assert!(!close(lingers) && !close(DIRECT));
                }
                assert_eq!(asked.get(), 0);
                set(1, 5);
                assert!(close(lingers) && !close(other));
                assert!(
                    direct(8, 1, 5) && !direct(8, 0, 0) && !direct(8, 0, 5) && !direct(8, 1, 0)
                );
                assert_eq!(untold(Ok(other)), lacks_install);
                assert!(untold(Ok(lingers)) && untold(Err(Errno(libc::EMFILE))));
                assert_eq!(direct(-libc::EBADF, 0, 0), lacks_install, "nothing, or an old kernel");
                assert!(direct(-libc::EPERM, 0, 0), "it may not be asked");
                assert_eq!(asked.get(), 9);
                set(0, 5); // The kernel keeps the time.
                assert!(!close(lingers));
                set(1, 0);
                assert!(!close(lingers));
                RawResult::success(0)
            });
            ex.attach(task).unwrap();
            while ex.has_work() {
                ex.run(usize::MAX, None).unwrap();
            }
            assert_eq!(task.head.result.get(), RawResult::success(0));
            destroy(ex, [task]);
        }
    });
}

/// Two tasks close a direct descriptor, which is asked first: what has its place by the time that
/// the second has its answer may be another.
#[test]
fn of_two_closes_of_a_direct_one_that_is_asked_one_is_done() {
    alone("of_two_closes_of_a_direct_one_that_is_asked_one_is_done", || {
        let set = libc::linger { l_onoff: 1, l_linger: 5 };
        let (at, length) = ((&raw const set).cast(), size_of_val(&set) as u32);
        // SAFETY: of that size.
        unsafe { fd::option_was_set(libc::SOL_SOCKET, libc::SO_LINGER, at, length) };
        // It answers later: else the first close is over before the second begins.
        let kernel = Told { lags: Rc::new(Cell::new(true)), ..Told::default() };
        // Both are asked; then there is one cancel, and one close.
        kernel.answers.borrow_mut().extend([8, 8, -libc::ENOENT, 0]);
        let closes = kernel.closes.clone();
        let ex = Handle::new(kernel, true).unwrap();
        let tasks = [0, libc::EBADF].map(|expected| {
            let task = new_task();
            set_body(task, move |task| {
                let closed = ex.executor().close_handle(task, 3, true);
                assert_eq!(closed.map_or_else(|e| e.0, |()| 0), expected);
                RawResult::success(0)
            });
            ex.attach(task).unwrap();
            task
        });
        while ex.has_work() {
            ex.run(usize::MAX, None).unwrap();
        }
        assert_eq!(closes.take(), [false]);
        for task in tasks {
            assert_eq!(task.head.result.get(), RawResult::success(0));
        }
        destroy(ex, tasks);
    });
}

/// The buffer was claimed through another handle of the same memory, on another executor.
#[test]
fn a_set_is_not_unregistered_while_its_executor_uses_a_buffer_that_another_has_claimed() {
    let kernel = Told::default();
    let answers = kernel.answers.clone();
    let here = Handle::new(kernel, true).unwrap();
    let there = Handle::new(Told::default(), true).unwrap();
    let at = Set::register(here.executor(), 2, 30).unwrap();
    // SAFETY: there until it is unregistered.
    let set = unsafe { at.as_ref() };
    set.share().unwrap();
    let clone = set.clone_to(there.executor()).unwrap();
    let (claims, uses) = (new_task(), new_task());
    let claimed = Rc::new(Cell::new(None));
    let claim = claimed.clone();
    set_body(claims, move |task| {
        // SAFETY: there until it is unregistered.
        let set = unsafe { clone.as_ref() };
        claim.set(Some(set.claim(&Caller::task(there.executor(), task), u64::MAX).unwrap()));
        RawResult::success(0)
    });
    set_body(uses, move |task| {
        let ex = here.executor();
        // SAFETY: as above.
        let buffer = unsafe { at.as_ref() }.memory().data(0).as_ptr() as u64;
        // SAFETY: as a C program makes one: all zeroes.
        let record: Op = unsafe { std::mem::zeroed() };
        record.sqe.set(Sqe::new(op::READ_FIXED, 5, 0, buffer, 30, 0));
        answers.borrow_mut().push_back(30);
        // SAFETY: in place until it was waited for; nobody else unregisters it.
        unsafe {
            ex.begin_operation(task, &record).unwrap();
            assert_eq!(Set::unregister(at, Some(ex)), Err(Errno(libc::EBUSY)));
            assert_eq!(ex.wait_operation(task, &record), RawResult::success(30));
            Set::unregister(at, Some(ex))
                .map_or_else(RawResult::failure, |()| RawResult::success(0))
        }
    });
    for (ex, task) in [(there, claims), (here, uses)] {
        ex.attach(task).unwrap();
        while ex.has_work() {
            ex.run(usize::MAX, None).unwrap();
        }
        assert_eq!(task.head.result.get(), RawResult::success(0));
    }
    // SAFETY: there until it is unregistered, here.
    unsafe {
        clone.as_ref().release::<Told>(claimed.take().unwrap()).unwrap();
        Set::unregister(clone, Some(there.executor())).unwrap();
    }
    destroy(here, [uses]);
    destroy(there, [claims]);
}

/// Runs tasks with these bodies, one after the other attached, on an executor of this kernel.
fn run_bodies(kernel: Told, bodies: Vec<impl Fn(&Call<'_, Told>) -> i32 + 'static>) -> Vec<i32> {
    let ex = Handle::new(kernel, true).unwrap();
    let mut tasks = Vec::new();
    for body in bodies {
        let task = new_large_task();
        set_body(task, move |task| {
            let call = Call { ex: ex.executor(), task, fd: NO_FILE, flags: 0 };
            RawResult::success(body(&call) as isize)
        });
        ex.attach(task).unwrap();
        tasks.push(task);
    }
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    let got = tasks.iter().map(|task| task.head.result.get().value as i32).collect();
    destroy(ex, tasks);
    got
}

fn errno<T>(result: Res<T>) -> i32 {
    result.err().map_or(0, |e| e.0)
}

fn told(answers: &[i32]) -> Told {
    let kernel = Told::default();
    kernel.answers.borrow_mut().extend(answers);
    kernel
}

/// The second was performed behind the first one and what got its place next. Once the kernel has
/// said that the first is over, what is there is another, though its task has not gone on.
#[test]
fn a_second_close_of_a_direct_one_is_refused_until_the_first_is_over() {
    let close = |c: &Call<'_, Told>| errno(c.ex.close_handle(c.task, 3, true));
    let lagging = |answers: &[i32]| Told { lags: Rc::new(Cell::new(true)), ..told(answers) };
    let kernel = lagging(&[-libc::ENOENT, 0]); // What the cancel finds, and the close.
    let closes = kernel.closes.clone();
    assert_eq!(run_bodies(kernel, vec![close; 2]), [0, libc::EBADF]);
    assert_eq!(closes.take(), [false]);

    type Body = Box<dyn Fn(&Call<'_, Told>) -> i32>;
    // It is over with the close, and its task goes on before that one's.
    let waits = move |c: &Call<'_, Told>| {
        // SAFETY: nobody performs it.
        let res = unsafe { c.ex.io(c.task, Sqe::new(op::NOP, 5, 0, 0, 0, 0)) };
        assert_eq!(res, 0);
        close(c)
    };
    let kernel = lagging(&[0, -libc::ENOENT, 0, -libc::ENOENT, 0]);
    let closes = kernel.closes.clone();
    let both: Vec<Body> = vec![Box::new(waits), Box::new(close)];
    assert_eq!(run_bodies(kernel, both), [0, 0]);
    assert_eq!(closes.take(), [false; 2]);
}

/// The kernel says EINVAL of it, as of much else: it is not asked.
#[test]
fn what_the_kernel_lacks_is_told_of_where_it_is_begun() {
    let kernel = Told { lacks_install: true, ..Default::default() };
    let begins = |c: &Call<'_, Told>| {
        let sqe = Sqe::new(op::FIXED_FD_INSTALL, 5, 0, 0, 0, 0);
        // SAFETY: as a C program makes one: all zeroes; nobody performs it.
        unsafe {
            let record: Op = std::mem::zeroed();
            record.sqe.set(sqe);
            assert_eq!(errno(c.ex.begin_operation(c.task, &record)), libc::EOPNOTSUPP);
            Handle::<Told>::io(c.task, &sqe).error
        }
    };
    assert_eq!(run_bodies(kernel, vec![begins]), [libc::EOPNOTSUPP]);
}

/// The kernel lets go of one when another descriptor of the socket is closed.
#[test]
fn a_connect_that_is_under_way_is_waited_for() {
    let connects = |c: &Call<'_, Told>| {
        // SAFETY: plain numbers.
        let address: libc::sockaddr = unsafe { std::mem::zeroed() };
        let length = size_of_val(&address) as u32;
        // SAFETY: nobody performs it.
        errno(unsafe { c.connect(Address { at: &address, length }) })
    };
    let writable = i32::from(libc::POLLOUT);
    let kernel = told(&[-libc::EALREADY, writable, -libc::EALREADY, writable, 0]);
    let left = kernel.answers.clone();
    assert_eq!(run_bodies(kernel, vec![connects]), [0]);
    assert!(left.borrow().is_empty());
    let of = move |c: &Call<'_, Told>| RawResult::success(connects(c) as isize);
    assert_eq!(closed_after(&[-libc::EALREADY, writable], of), (libc::ECANCELED as isize, 0));
}

/// A call that has nothing for the kernel is ended by what ends any other.
#[test]
fn calls_of_nothing_in_a_cancelled_task() {
    let calls = |c: &Call<'_, Told>| {
        c.ex.cancel(c.task).unwrap();
        // SAFETY: of no bytes.
        unsafe { c.read_all(std::ptr::null_mut(), 0, 0) }.error
    };
    assert_eq!(run_bodies(told(&[]), vec![calls]), [libc::ECANCELED]);
}

/// What an earlier run has claimed is with others, who may release it: no deadlock.
#[test]
fn who_waits_for_what_an_earlier_run_has_claimed_is_not_stuck() {
    let ex = Handle::new(Told::default(), true).unwrap();
    let at = Set::register(ex.executor(), 1, 30).unwrap();
    let claims = new_task();
    let claimed = Rc::new(RefCell::new(VecDeque::new()));
    let out = claimed.clone();
    set_body(claims, move |task| {
        // SAFETY: there until it is unregistered.
        let set = unsafe { at.as_ref() };
        match set.claim(&Caller::task(ex.executor(), task), u64::MAX) {
            Ok(claim) => out.borrow_mut().push_back(claim),
            Err(e) => return RawResult::failure(e),
        }
        RawResult::success(0)
    });
    for is_again in [false, true] {
        ex.attach(claims).unwrap();
        let _ = ex.run(usize::MAX, Some(0));
        if is_again {
            assert_eq!(claims.head.result.get().error, 0);
            let claim = claimed.borrow_mut().pop_front().unwrap();
            // SAFETY: as above.
            unsafe { at.as_ref() }.release::<Told>(claim).unwrap();
        }
        while ex.has_work() {
            let _ = ex.run(usize::MAX, Some(0));
        }
        assert_eq!(claims.head.result.get(), RawResult::success(0));
    }
    let claim = claimed.borrow_mut().pop_front().unwrap();
    // SAFETY: as above; nobody has it any more.
    unsafe {
        at.as_ref().release::<Told>(claim).unwrap();
        Set::unregister(at, Some(ex.executor())).unwrap();
    }
    destroy(ex, [claims]);
}

/// A plain handle does not say that the file is ordered; its close ends the row all the same. And
/// while something is to be written there is one row of a file.
#[test]
fn a_close_by_an_older_handle_is_one_of_the_row() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let fd = file.as_raw_fd();
    let body = move |c: &Call<'_, Told>| {
        let plain = File { fd, flags: 0 };
        let ordered = order(c.ex, plain).unwrap();
        let of_file = Call { fd, flags: ordered.flags, ..*c };
        // SAFETY: as a C program makes one: all zeroes; in place until it was waited for.
        unsafe {
            let record: Op = std::mem::zeroed();
            let mut sqe = Sqe::new(op::WRITE, fd, 0, c"x".as_ptr() as u64, 1, 0);
            sqe.set_user_data(0x6f72_6465 << 32 | u64::from(ordered.flags & 0xffff));
            record.sqe.set(sqe);
            c.ex.begin_operation(c.task, &record).unwrap();
            assert_eq!(errno(order(c.ex, plain)), libc::EINVAL);
            assert_eq!(c.ex.wait_operation(c.task, &record), RawResult::success(1));
        }
        c.ex.close_handle(c.task, fd, false).unwrap();
        // SAFETY: a constant.
        unsafe { of_file.write_in_order(c"x".as_ptr().cast(), 1, -1) }.error
    };
    // The write, what the close's cancel finds, and the close.
    let kernel = told(&[1, -libc::ENOENT, 0]);
    let left = kernel.answers.clone();
    assert_eq!(run_bodies(kernel, vec![body]), [libc::EBADF]);
    assert!(left.borrow().is_empty());
}

/// A task connects a socket that another is connecting. One that blocks is told of success, too.
#[test]
fn of_two_connects_at_once_both_succeed() {
    let ex = executor(8);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: refers to no memory.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    // SAFETY: plain numbers.
    let mut to: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    to.sin_family = libc::AF_INET as u16;
    to.sin_port = listener.local_addr().unwrap().port().to_be();
    to.sin_addr.s_addr = u32::from(Ipv4Addr::LOCALHOST).to_be();
    let to: &'static libc::sockaddr_in = Box::leak(Box::new(to));
    let (at, length) = ((&raw const *to).cast(), size_of::<libc::sockaddr_in>() as u32);
    let connect = |flags| {
        // SAFETY: `to` is an address of that many bytes.
        unsafe {
            let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
            let fd = OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, kind | flags, 0));
            if flags != 0 {
                libc::connect(fd.as_raw_fd(), at, length);
            }
            fd
        }
    };
    // As many as may wait to be accepted.
    let others: Vec<OwnedFd> = (0..4).map(|_| connect(libc::SOCK_NONBLOCK)).collect();
    let ours = connect(0);
    let fd = ours.as_raw_fd();
    let tasks = [new_large_task(), new_large_task()];
    for task in tasks {
        set_body(task, move |task| {
            let call = Call { ex: ex.executor(), task, fd, flags: 0 };
            let to = Address { at: at.cast_mut().cast(), length };
            // SAFETY: leaked.
            unsafe { call.connect(to) }.map(|()| 0).into()
        });
        ex.attach(task).unwrap();
    }
    for _ in 0..10 {
        let _ = ex.run(usize::MAX, Some(0));
    }
    assert!(tasks.iter().all(|task| task.is_attached()), "nobody accepts");
    listener.set_nonblocking(true).unwrap();
    while listener.accept().is_ok() {}
    while ex.has_work() {
        let _ = ex.run(usize::MAX, None);
    }
    assert_eq!(tasks.map(|task| task.head.result.get().error), [0; 2]);
    drop((others, ours));
    destroy(ex, tasks);
}

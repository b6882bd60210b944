//! A scope is not late by what was waited for in it, where that was nothing that it could end; and
//! what came before its deadline counts, however late the executor is.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult};
use monad_async::reactor::operation::Op;
use monad_async::sys::clock::boot_ns;
use monad_async::uring::kernel::{op, Cqe, Kernel, Moment, Sqe, Wait, Waker};
use monad_async::uring::{RealKernel, RingOptions};
use std::cell::Cell;
use std::io::{pipe, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::thread;
use std::time::Duration;
use support::rings::{ring, MS};
use support::*;

/// A kernel that does not hear of cancels.
struct Deaf(RealKernel);

impl Kernel for Deaf {
    unsafe fn push(&self, sqe: &Sqe) {
        let mut nop = Sqe::new(op::NOP, -1, 0, 0, 0, 0);
        nop.set_user_data(sqe.user_data());
        let is_cancel = sqe.opcode() == op::ASYNC_CANCEL;
        // SAFETY: the caller's; a NOP refers to no memory.
        unsafe { self.0.push(if is_cancel { &nop } else { sqe }) }
    }

    fn has_ring(&self) -> bool {
        self.0.has_ring()
    }
    fn sq_space(&self) -> u32 {
        self.0.sq_space()
    }
    fn sq_pending(&self) -> u32 {
        self.0.sq_pending()
    }
    fn pop(&self) -> Option<Cqe> {
        self.0.pop()
    }
    fn needs_enter(&self) -> bool {
        self.0.needs_enter()
    }
    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        self.0.enter(wait)
    }
    fn now_boot_ns(&self) -> u64 {
        self.0.now_boot_ns()
    }
    fn boot_ns_at(&self, now: u64) -> u64 {
        self.0.boot_ns_at(now)
    }
    fn coarse_from_ns(&self) -> u64 {
        self.0.coarse_from_ns()
    }
    fn note_coarsely(&self, moment: &Moment) {
        self.0.note_coarsely(moment);
    }
    fn passed_coarsely_ns(&self, moment: &Moment, resumed: u64, now: u64) -> u64 {
        self.0.passed_coarsely_ns(moment, resumed, now)
    }
    fn waker(&self) -> Waker {
        self.0.waker()
    }
}

#[test]
fn a_scope_counts_from_when_it_was_entered_whatever_was_waited_for() {
    const LONG_MS: u64 = 600;
    let Some(real) = ring(RingOptions { entries: 8, ..Default::default() }) else { return };
    let ex = Handle::new(Deaf(real), true).unwrap();
    let (reader, mut writer) = pipe().unwrap();
    let fd = reader.as_raw_fd();
    let task = new_large_task();
    // SAFETY: zeros are an idle record.
    let record: &Op = Box::leak(Box::new(unsafe { std::mem::zeroed() }));
    let slept = Rc::new(Cell::new(None));
    let out = slept.clone();
    set_body(task, move |task| {
        let mut scope = MaybeUninit::uninit();
        record.sqe.set(Sqe::new(op::POLL_ADD, fd, 0, 0, 0, libc::POLLIN as u32));
        // SAFETY: in place until it is left; a record that stays.
        unsafe {
            Handle::<Deaf>::enter_scope(task, scope.as_mut_ptr(), 1000 * MS, 0).unwrap();
            ex.executor().begin_operation(task, record).unwrap();
            ex.executor().end_operation(task, record).unwrap();
            // As long as it is over the second in all: the scope ends it.
            out.set(Some(ex.executor().sleep(task, 700 * MS)));
            let has_fired = Handle::<Deaf>::leave_scope(task, scope.as_ptr()).unwrap();
            RawResult::success(isize::from(has_fired))
        }
    });
    let comes = thread::spawn(move || {
        thread::sleep(Duration::from_millis(LONG_MS));
        writer.write_all(b"x").unwrap();
    });
    ex.attach(task).unwrap();
    while ex.has_work() {
        let _ = ex.run(usize::MAX, None);
    }
    comes.join().unwrap();
    assert_eq!((slept.get(), task.head.result.get()), (Some(-libc::ETIME), RawResult::success(1)));
    destroy(ex, [task]);
}

/// Whether a read has what was written before the deadline of its scope, which the executor sees
/// after it: the other task computed then. `ahead`: so many operations were begun before, more
/// than have room, or than the kernel is handed at once. None: the machine was late, too.
fn reads_what_came_in_time(is_submitted: bool, ahead: usize) -> Option<isize> {
    const DEADLINE_MS: u64 = 100;
    let Some(real) = ring(RingOptions { entries: 8, ..Default::default() }) else { return Some(1) };
    let ex = Handle::new(real, true).unwrap();
    let (reader, mut writer) = pipe().unwrap();
    let fd = reader.as_raw_fd();
    let (reads, computes) = (new_large_task(), new_large_task());
    // As long as it is ready, the same `run` goes on: nothing is the kernel's yet.
    let third = new_large_task();
    set_body(third, |_| RawResult::success(0));
    let got = Rc::new(Cell::new(0));
    let deadline = Rc::new(Cell::new(0));
    let (out, ends) = (got.clone(), deadline.clone());
    set_body(reads, move |task| {
        let mut scope = MaybeUninit::uninit();
        let mut byte = 0u8;
        ends.set(boot_ns() + DEADLINE_MS * MS);
        // SAFETY: in place until it is left; as is the byte.
        unsafe {
            let ms = DEADLINE_MS * MS;
            Handle::<RealKernel>::enter_scope(task, scope.as_mut_ptr(), ms, 0).unwrap();
            let sqe = Sqe::new(op::READ, fd, u64::MAX, (&raw mut byte) as u64, 1, 0);
            out.set(ex.executor().io(task, sqe) as isize);
            let _ = Handle::<RealKernel>::leave_scope(task, scope.as_ptr()).unwrap();
        }
        RawResult::success(isize::from(byte))
    });
    let is_late = Rc::new(Cell::new(false));
    let late = is_late.clone();
    set_body(computes, move |task| {
        if is_submitted {
            ex.executor().sleep(task, MS);
        }
        writer.write_all(b"x").unwrap();
        late.set(boot_ns() >= deadline.get());
        while boot_ns() < deadline.get() + MS {}
        ex.executor().sleep(task, 0); // Late: the loop looks before it goes on.
        RawResult::success(0)
    });
    let first = new_large_task();
    set_body(first, move |task| {
        // SAFETY: zeroes are idle records, which stay until they are over; a NOP refers to nothing.
        unsafe {
            let records: Vec<Op> = (0..ahead).map(|_| std::mem::zeroed()).collect();
            for record in &records {
                record.sqe.set(Sqe::new(op::NOP, -1, 0, 0, 0, 0));
                Handle::<RealKernel>::begin_operation(task, record).unwrap();
            }
            for record in &records {
                assert_eq!(Handle::<RealKernel>::wait_operation(task, record).error, 0);
            }
        }
        RawResult::success(0)
    });
    ex.attach(first).unwrap();
    ex.attach(reads).unwrap();
    ex.attach(computes).unwrap();
    ex.attach(third).unwrap();
    while ex.has_work() {
        let _ = ex.executor().run_on(None);
    }
    destroy(ex, [first, reads, computes, third]);
    (!is_late.get()).then(|| got.get())
}

/// How many of so many reads have what was written before the deadlines of their scopes, which the
/// executor sees after them. None: the machine was late, too.
fn how_many_come_in_time(reads: usize) -> Option<usize> {
    const DEADLINE_MS: u64 = 100;
    let Some(real) = ring(RingOptions { entries: 64, ..Default::default() }) else {
        return Some(reads);
    };
    let ex = Handle::new(real, true).unwrap();
    let got = Rc::new(Cell::new(0));
    let first_deadline = Rc::new(Cell::new(u64::MAX));
    let last_deadline = Rc::new(Cell::new(0));
    let (mut tasks, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..reads {
        let (reader, writer) = pipe().unwrap();
        let fd = reader.as_raw_fd();
        ends.push((reader, writer));
        let task = new_large_task();
        let (out, first, last) = (got.clone(), first_deadline.clone(), last_deadline.clone());
        set_body(task, move |task| {
            let mut scope = MaybeUninit::uninit();
            let mut byte = 0u8;
            let ms = DEADLINE_MS * MS;
            first.set(first.get().min(boot_ns() + ms));
            // SAFETY: in place until it is left; as is the byte.
            unsafe {
                Handle::<RealKernel>::enter_scope(task, scope.as_mut_ptr(), ms, 0).unwrap();
                last.set(boot_ns() + ms);
                let sqe = Sqe::new(op::READ, fd, u64::MAX, (&raw mut byte) as u64, 1, 0);
                let has_come = ex.executor().io(task, sqe) == 1;
                out.set(out.get() + usize::from(has_come));
                let _ = Handle::<RealKernel>::leave_scope(task, scope.as_ptr()).unwrap();
            }
            RawResult::success(isize::from(byte))
        });
        ex.attach(task).unwrap();
        tasks.push(task);
    }
    let computes = new_large_task();
    let is_late = Rc::new(Cell::new(false));
    let (late, mut writers) = (is_late.clone(), ends);
    set_body(computes, move |task| {
        ex.executor().sleep(task, MS); // The kernel has all of them by then.
        for (_, writer) in &mut writers {
            writer.write_all(b"x").unwrap();
        }
        late.set(boot_ns() >= first_deadline.get());
        while boot_ns() < last_deadline.get() + MS {}
        RawResult::success(0)
    });
    ex.attach(computes).unwrap();
    tasks.push(computes);
    while ex.has_work() {
        let _ = ex.run(usize::MAX, None);
    }
    destroy(ex, tasks);
    (!is_late.get()).then(|| got.get())
}

/// With DEFER_TASKRUN the kernel hands over some 20 completions at a time, and the completion queue
/// has room for 128.
#[test]
fn as_many_count_as_came_in_time() {
    for reads in [20, 21, 64, 500] {
        let got = core::iter::repeat_with(|| how_many_come_in_time(reads)).flatten().next();
        assert_eq!(got, Some(reads));
    }
}

#[test]
fn what_came_before_the_deadline_counts_however_late_the_executor_is() {
    for (is_submitted, ahead) in [(true, 0), (false, 0), (false, 8), (false, 300)] {
        let got = || reads_what_came_in_time(is_submitted, ahead);
        let got = core::iter::repeat_with(got).flatten().next();
        assert_eq!(got, Some(1), "submitted before: {is_submitted}, ahead: {ahead}");
    }
}

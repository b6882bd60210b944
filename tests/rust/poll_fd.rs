//! A foreign loop's descriptor at the end of a run: what arrives between the run's last look and the
//! moment from which on it wakes the loop is found by the looks in between. On the real kernel, with
//! something to happen just then.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult};
use monad_async::uring::kernel::{op, Cqe, Kernel, Sqe, Wait, Waker};
use monad_async::uring::{mask, RealKernel, RingOptions};
use std::cell::RefCell;
use std::io::{pipe, Read, Write};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use support::rings::ring;
use support::*;

type Then = Rc<RefCell<Option<Box<dyn FnOnce()>>>>;

/// A kernel under which something happens as a run makes its descriptor unreadable.
struct Between {
    real: RealKernel,
    then: Then,
}

impl Kernel for Between {
    fn poll_take(&self) {
        if let Some(then) = self.then.take() {
            then();
        }
        self.real.poll_take();
    }

    fn has_ring(&self) -> bool {
        self.real.has_ring()
    }
    fn sq_space(&self) -> u32 {
        self.real.sq_space()
    }
    fn sq_pending(&self) -> u32 {
        self.real.sq_pending()
    }
    unsafe fn push(&self, sqe: &Sqe) {
        // SAFETY: the caller's.
        unsafe { self.real.push(sqe) }
    }
    fn pop(&self) -> Option<Cqe> {
        self.real.pop()
    }
    fn needs_enter(&self) -> bool {
        self.real.needs_enter()
    }
    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        self.real.enter(wait)
    }
    fn now_boot_ns(&self) -> u64 {
        self.real.now_boot_ns()
    }
    fn poll_fd(&self) -> Result<i32, Errno> {
        self.real.poll_fd()
    }
    fn poll_kick(&self) {
        self.real.poll_kick();
    }
    fn is_quiet(&self) -> bool {
        self.real.is_quiet()
    }
    fn poll_deadline(&self, boot_ns: Option<u64>) {
        self.real.poll_deadline(boot_ns);
    }
    fn waker(&self) -> Waker {
        self.real.waker()
    }
}

fn is_readable(fd: i32) -> bool {
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry of ours.
    unsafe { libc::poll(&mut entry, 1, 0) == 1 }
}

/// A loop that waits without an end, as often as something is to be done.
fn finish(ex: Handle<Between>, fd: i32) {
    while ex.has_work() {
        assert!(is_readable(fd), "nobody would call `run`");
        let _ = ex.run(usize::MAX, Some(0));
    }
    assert!(!is_readable(fd));
}

fn executor(entries: u32, mask: u32) -> Option<(Handle<Between>, Then)> {
    let then = Then::default();
    let real = ring(RingOptions { entries, mask, ..Default::default() })?;
    let kernel = Between { real, then: then.clone() };
    Some((Handle::new(kernel, true).unwrap(), then))
}

/// Another thread's task arrives while the executor is not asleep yet, to other threads: it wakes
/// nobody.
#[test]
fn mail_that_comes_before_the_executor_is_asleep_is_told() {
    for (entries, mask) in [(0, 0), (8, 0), (8, mask::ALL)] {
        let Some((ex, then)) = executor(entries, mask) else { return };
        let fd = ex.executor().poll_fd().unwrap();
        let (first, later) = (new_task(), new_task());
        for task in [first, later] {
            set_body(task, |_| RawResult::success(0));
        }
        let there = Shared((ex, later));
        *then.borrow_mut() = Some(Box::new(move || {
            let attach = move || {
                let (ex, later) = there.get();
                ex.attach(later).unwrap();
            };
            std::thread::spawn(attach).join().unwrap();
        }));
        ex.attach(first).unwrap();
        finish(ex, fd);
        assert!(then.borrow().is_none());
        destroy(ex, [first, later]);
    }
}

/// What completes is told through a descriptor that the run empties just then.
#[test]
fn what_completes_before_the_descriptor_is_emptied_is_told() {
    // Of the second kind, the descriptor of the ring tells by itself.
    for mask in [0, mask::ALL] {
        let Some((ex, then)) = executor(8, mask) else { return };
        let fd = ex.executor().poll_fd().unwrap();
        let (mut reader, mut writer) = pipe().unwrap();
        let task = new_task();
        let polled = reader.as_raw_fd();
        set_body(task, move |task| {
            let poll = Sqe::new(op::POLL_ADD, polled, 0, 0, 0, libc::POLLIN as u32);
            // SAFETY: refers to no memory.
            unsafe { Handle::<Between>::io(task, &poll) }
        });
        ex.attach(task).unwrap();
        let out = then.clone();
        // The run that begins the poll, which is the kernel's at its end.
        *then.borrow_mut() = Some(Box::new(move || {
            writer.write_all(b"x").unwrap();
            drop(out);
        }));
        finish(ex, fd);
        let events = task.head.result.get();
        assert_eq!(
            (events.error, events.value & isize::from(libc::POLLIN)),
            (0, libc::POLLIN.into())
        );
        reader.read_exact(&mut [0]).unwrap();
        destroy(ex, [task]);
    }
}

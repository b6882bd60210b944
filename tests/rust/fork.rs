//! What another thread is in the middle of when a thread forks: the child has its traces and not
//! it.

#[path = "../support/mod.rs"]
mod support;

use monad_async::error::Errno;
use monad_async::ticks;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use support::child::alone;
use support::*;

/// Runs `f` in a forked child; whether it returned true. A child that waits for ever is killed.
fn forked(f: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child leaves by `_exit`, and does nothing that another thread's locks could stop:
    // glibc frees those of its allocator.
    unsafe {
        match libc::fork() {
            0 => {
                libc::alarm(60);
                libc::_exit(i32::from(!f()))
            }
            child => {
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &mut status, 0), child);
                status == 0
            }
        }
    }
}

/// Runs `f` in a forked child of a process in which another thread has begun `other`.
fn forked_during(other: fn(), f: impl FnOnce() -> bool) -> bool {
    forked(|| {
        static BEGUN: AtomicBool = AtomicBool::new(false);
        thread::spawn(move || {
            BEGUN.store(true, Ordering::Release);
            other();
        });
        while !BEGUN.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        forked(f)
    })
}

/// The measurement takes up to 10 ms, and others used to wait for it.
#[test]
fn a_child_learns_the_frequency_while_its_parent_measures_it() {
    alone("a_child_learns_the_frequency_while_its_parent_measures_it", || {
        for round in 0..20 {
            let measures = || {
                ticks::per_second();
            };
            let learned = forked_during(measures, || {
                let hz = ticks::per_second();
                ticks::to_ns(hz).abs_diff(1_000_000_000) <= 1
            });
            assert!(learned, "round {round}");
        }
    });
}

/// Of a process that has none yet, the first.
fn executor_works() -> bool {
    let ex = executor(0);
    let ran = ex.run(usize::MAX, Some(0)) == Err(Errno(libc::ETIME));
    ran && ex.destroy().is_ok()
}

#[test]
fn a_child_owns_its_own_while_its_parent_creates_its_first() {
    alone("a_child_owns_its_own_while_its_parent_creates_its_first", || {
        for round in 0..200 {
            let owned = forked_during(
                || {
                    executor_works();
                },
                || {
                    // And its children find all as it should be, though all is watched twice.
                    executor_works() && forked(executor_works)
                },
            );
            assert!(owned, "round {round}");
        }
    });
}

/// "Wherever it is attached" was asked of the child's copy, which answered that it had been done.
#[test]
fn a_child_cancels_nothing_of_its_parents() {
    alone("a_child_cancels_nothing_of_its_parents", || {
        let ex = executor(0);
        let task = new_task();
        set_body(task, |t| monad_async::api::Handle::<Real>::sleep(t, 1_000_000));
        ex.attach(task).unwrap();
        let cancel = monad_async::api::Handle::<Real>::cancel_anywhere;
        assert!(forked(|| cancel(task) == Err(Errno(libc::EPERM))));
        while ex.has_work() {
            ex.run(usize::MAX, None).unwrap();
        }
        assert!(task.has_exited() && task.head.result.get().error == 0);
        assert_eq!(cancel(task), Err(Errno(libc::ENOENT)));
        destroy(ex, [task]);
    });
}

/// Who asks an executor that has gone holds its mailbox, for a moment, from being given away. In the
/// child that moment never ends.
#[test]
fn a_childs_executor_goes_while_its_parent_asks_one_that_has_gone() {
    alone("a_childs_executor_goes_while_its_parent_asks_one_that_has_gone", || {
        let ex = executor(0);
        let gone = Shared(ex.executor().reference().unwrap());
        ex.destroy().unwrap();
        static OVER: AtomicBool = AtomicBool::new(false);
        let asker = thread::spawn(move || {
            while !OVER.load(Ordering::Relaxed) {
                // SAFETY: held until the end.
                assert_eq!(unsafe { gone.get().as_ref() }.wake(), Err(Errno(libc::ESHUTDOWN)));
            }
        });
        for round in 0..200 {
            assert!(forked(executor_works), "round {round}");
        }
        OVER.store(true, Ordering::Relaxed);
        asker.join().unwrap();
    });
}

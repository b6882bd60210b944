//! A task that threads launch, cancel and join all at once, with no order among them but the
//! library's own: who comes in the middle of another's call finds the task before or after it.

#[path = "../support/mod.rs"]
mod support;

use core::mem::zeroed;
use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult};
use monad_async::executor::grant::Caller;
use monad_async::sync::condition::Condition;
use monad_async::sync::mutex::Mutex;
use monad_async::sync::Shared as AnyThread;
use monad_async::task::header::TaskRef;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::sync::Arc;
use std::thread;
use support::*;

const ROUNDS: u64 = if cfg!(debug_assertions) { 2_500 } else { 10_000 };

/// A result that shows whether its halves belong together.
fn whole(n: u64) -> RawResult {
    RawResult { value: n as isize, error: n as i32, reserved: 0 }
}

fn is_allowed(r: RawResult) -> bool {
    r == whole(r.value as u64) || matches!(r.error, libc::ECANCELED | libc::ESRCH | libc::EINVAL)
}

/// An executor on a thread of its own, with one task that joins `t`, and cancels it if it can, all
/// the time until `stop`.
fn joiner(
    t: Shared<TaskRef>,
    stop: Arc<AtomicBool>,
) -> (Shared<Handle<Real>>, thread::JoinHandle<u64>) {
    let (send, receive) = mpsc::channel();
    let thread = thread::spawn(move || {
        let t = t.get();
        let ex = executor(0);
        send.send(Shared(ex)).unwrap();
        let resident = new_task();
        let (joins, done) = (Arc::new(AtomicU64::new(0)), stop.clone());
        let count = joins.clone();
        set_body(resident, move |me| {
            while !done.load(Relaxed) {
                let r = Handle::<Real>::join(me, t);
                assert!(is_allowed(r), "{r:?}");
                if count.fetch_add(1, Relaxed) % 8 == 0 {
                    // ENOENT, while it is with the other.
                    let _ = ex.cancel(t);
                }
                // Awake all the time, it would leave the others no processor.
                Handle::<Real>::sleep(me, 5_000);
            }
            RawResult::success(0)
        });
        ex.attach(resident).unwrap();
        while ex.has_work() || !stop.load(Relaxed) {
            let _ = ex.run(usize::MAX, Some(1_000_000));
        }
        // What foreign threads sent last is dealt with by `destroy`; they are done when `stop` is
        // set.
        destroy(ex, [resident]);
        joins.load(Relaxed)
    });
    (receive.recv().unwrap(), thread)
}

/// A cancel from a third thread could reach the executor before the launch did, which was claimed
/// and not yet posted: it was taken out of a list it was not in. A join could see a task attached
/// and, by the mailbox of its last run, on the wrong executor. And it could read a result while
/// another executor wrote the next.
#[test]
fn launch_cancel_and_join_cross() {
    let t = new_task();
    let ran = Arc::new(AtomicU64::new(0));
    let count = ran.clone();
    set_body(t, move |me| {
        let n = count.fetch_add(1, Relaxed);
        if n.is_multiple_of(3) {
            Handle::<Real>::sleep(me, 0);
        }
        whole(n % 1000 + 200)
    });
    let stop = Arc::new(AtomicBool::new(false));
    let (a, thread_a) = joiner(Shared(t), stop.clone());
    let (b, thread_b) = joiner(Shared(t), stop.clone());
    let quiet = Arc::new(AtomicBool::new(false));
    let (until, task) = (quiet.clone(), Shared(t));
    let canceller = thread::spawn(move || {
        let (t, a, b) = (task.get(), a.get(), b.get());
        while !until.load(Relaxed) {
            // ENOENT wherever it is not attached at that moment.
            assert!([a, b]
                .iter()
                .all(|ex| matches!(ex.cancel(t), Ok(()) | Err(Errno(libc::ENOENT)))));
            thread::sleep(std::time::Duration::from_micros(1));
        }
    });
    let mut canceled = 0;
    for n in 0..ROUNDS {
        let ex = if n % 2 == 0 { a.get() } else { b.get() };
        ex.attach(t).unwrap();
        while !t.has_exited() {
            thread::yield_now();
        }
        let r = t.head.result.get();
        if r.error == libc::ECANCELED {
            canceled += 1;
        } else {
            assert_eq!(r, whole(r.value as u64));
        }
    }
    quiet.store(true, Relaxed);
    canceller.join().unwrap();
    stop.store(true, Relaxed);
    let joins = thread_a.join().unwrap() + thread_b.join().unwrap();
    assert_eq!(ran.load(Relaxed) + canceled, ROUNDS);
    println!("{ROUNDS} launches, {canceled} cancelled before they began, {joins} joins");
    destroy_task(t);
}

/// Who notifies without the mutex may do so after its waiter has come into the queue and before that
/// unlocks: then the mutex is the waiter's again at once, which goes on as if it had waited.
#[test]
fn a_notification_meets_its_waiter_before_it_unlocks() {
    const WAITS: u64 = if cfg!(debug_assertions) { 5_000 } else { 20_000 };
    // SAFETY: zeros are a mutex that is free, and a condition that nobody waits for.
    let objects: (Box<Mutex<AnyThread>>, Box<Condition<AnyThread>>) =
        unsafe { (Box::new(zeroed()), Box::new(zeroed())) };
    let (mutex, condition) = (Shared(&raw const *objects.0), Shared(&raw const *objects.1));
    let stop = Arc::new(AtomicBool::new(false));
    let until = stop.clone();
    let notifier = thread::spawn(move || {
        // SAFETY: they outlive the thread.
        let condition = unsafe { &*condition.get() };
        let mut notified = 0_u64;
        while !until.load(Relaxed) {
            condition.notify::<Real>(None, 1).unwrap();
            notified += 1;
            for _ in 0..notified % 64 {
                std::hint::spin_loop(); // The waiter wants the condition's latch as well.
            }
        }
    });
    let ex = executor(0);
    let (waiter, other) = (new_task(), new_task());
    let done = stop.clone();
    set_body(waiter, move |me| {
        // SAFETY: they outlive the task.
        let (mutex, condition) = unsafe { (&*mutex.get(), &*condition.get()) };
        let caller = Caller::<Real>::task(ex.executor(), me);
        for _ in 0..WAITS {
            assert_eq!(mutex.lock(&caller, u64::MAX).error, 0);
            condition.wait(&caller, mutex, u64::MAX).unwrap();
            assert_eq!(mutex.try_lock(&caller), Err(Errno(libc::EBUSY)));
            mutex.unlock(&caller).done().unwrap();
        }
        done.store(true, Relaxed);
        RawResult::success(0)
    });
    let done = stop.clone();
    set_body(other, move |me| {
        while !done.load(Relaxed) {
            Handle::<Real>::sleep(me, 0); // The executor does not fall asleep.
        }
        RawResult::success(0)
    });
    for t in [waiter, other] {
        ex.attach(t).unwrap();
    }
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    notifier.join().unwrap();
    destroy(ex, [waiter, other]);
}

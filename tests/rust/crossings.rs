//! The objects of `sync` between threads: tasks of several executors and threads without tasks use
//! the same few, with deadlines, scopes and cancels that cross every grant. What an object promises
//! is counted next to it; assertions of the core stand guard, as this is a debug build.

#[path = "../support/mod.rs"]
mod support;

use core::ffi::c_void;
use monad_async::api::{self, Handle};
use monad_async::error::{Errno, RawResult, Res};
use monad_async::executor::grant::Caller;
use monad_async::executor::scope::Scope;
use monad_async::pool::blocking;
use monad_async::pool::cpus::Cpus;
use monad_async::pool::workers::{self, How, Options};
use monad_async::sync::barrier::Barrier;
use monad_async::sync::channel::{Channel, Direction};
use monad_async::sync::condition::Condition;
use monad_async::sync::event::Event;
use monad_async::sync::mutex::{self, Mutex};
use monad_async::sync::rw_lock::{Access, RwLock};
use monad_async::sync::select::{kind, select, Case};
use monad_async::sync::semaphore::Semaphore;
use monad_async::sync::wait_group::WaitGroup;
use monad_async::sync::Shared as Any;
use monad_async::task::header::TaskRef;
use monad_async::uring::RingOptions;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use support::rng::Rng;
use support::*;

const EXECUTORS: usize = 3;
const TASKS: usize = 6;
const THREADS: usize = 2;
/// Of the pool; they are submitted again and again.
const POOLED: usize = 6;
const POOLED_STEPS: u64 = 10;
const WORKERS: u32 = 2;
const PERMITS: u64 = 3;
const PARTIES: u64 = 3;
const CAPACITY: usize = 3;
/// Of a task or thread.
const STEPS: u64 = 400;
/// The longest that anybody waits: more than a hand-over takes, so that most are granted.
const LONGEST_NS: u32 = 300_000;

/// As the initialisers of C make one: zeros, and a number in the second word.
fn object<T>(second: u64) -> Box<T> {
    let mut memory = Box::new(MaybeUninit::<T>::zeroed());
    // SAFETY: what C gives the library; the callers' T are such objects, of two words at least.
    unsafe {
        memory.as_mut_ptr().cast::<u64>().add(1).write(second);
        Box::from_raw(Box::into_raw(memory).cast())
    }
}

struct World {
    mutexes: [Box<Mutex<Any>>; 2],
    /// Of the first mutex.
    condition: Box<Condition<Any>>,
    semaphore: Box<Semaphore<Any>>,
    lock: Box<RwLock<Any>>,
    /// A rendezvous, and one with room.
    channels: [Box<Channel<Any>>; 2],
    event: Box<Event<Any>>,
    barrier: Box<Barrier<Any>>,
    group: Box<WaitGroup<Any>>,

    owners: [AtomicI64; 2],
    permits: AtomicI64,
    readers: AtomicI64,
    writers: AtomicI64,
    added: AtomicI64,
    /// Sums of what was sent, less what was received.
    inside: [AtomicU64; 2],
    next: AtomicU64,
    /// Of the executors, and behind them the pool's.
    tasks: Vec<TaskRef>,
    granted: AtomicU64,
    refused: AtomicU64,
    still_running: AtomicUsize,
}
// SAFETY: its objects are for every thread, and it outlives them.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

/// Nothing but an interruption or a time-out, which the caller of the test expects.
#[track_caller]
fn expected<T>(r: &Res<T>) {
    if let Err(Errno(e)) = r {
        assert!(matches!(*e, libc::ECANCELED | libc::ETIME), "{e}");
    }
}

impl World {
    #[track_caller]
    fn count<T>(&self, r: &Res<T>) -> bool {
        expected(r);
        let counter = if r.is_ok() { &self.granted } else { &self.refused };
        counter.fetch_add(1, SeqCst);
        r.is_ok()
    }

    /// Others have time to come in between.
    fn linger(&self, me: Option<TaskRef>, rng: &mut Rng) {
        match me {
            Some(me) if rng.one_in(2) => _ = Handle::<Real>::sleep(me, 0),
            _ => (0..rng.below(200)).for_each(|_| std::hint::spin_loop()),
        }
    }

    fn owned(&self, at: usize, me: Option<TaskRef>, rng: &mut Rng) {
        assert_eq!(self.owners[at].fetch_add(1, SeqCst), 0, "two have a mutex");
        self.linger(me, rng);
        assert_eq!(self.owners[at].fetch_sub(1, SeqCst), 1);
    }

    fn transfer(&self, caller: &Caller<'_, Real>, at: usize, until_ns: Option<u64>, sends: bool) {
        let (direction, mut element) = match sends {
            true => (Direction::Send, self.next.fetch_add(1, SeqCst)),
            false => (Direction::Receive, 0),
        };
        let (channel, to) = (&*self.channels[at], (&raw mut element).cast());
        if sends {
            self.inside[at].fetch_add(element, SeqCst);
        }
        // SAFETY: an element, or memory for one, until the call returns.
        let r = unsafe {
            match until_ns {
                Some(until_ns) => channel.transfer(caller, direction, to, until_ns).done(),
                None => channel.try_transfer::<Real>(caller.mailbox(), direction, to),
            }
        };
        let happened = r.is_ok();
        if r != Err(Errno(libc::EAGAIN)) {
            self.count(&r);
        }
        if happened != sends {
            self.inside[at].fetch_sub(element, SeqCst); // Received, or not sent after all.
        }
    }

    fn selects(&self, caller: &Caller<'_, Real>, timeout_ns: u64, me: TaskRef, rng: &mut Rng) {
        let (to, from) = if rng.one_in(2) { (0, 1) } else { (1, 0) };
        let (mut sent, mut got) = (self.next.fetch_add(1, SeqCst), 0_u64);
        self.inside[to].fetch_add(sent, SeqCst);
        let at = |n: usize| (&raw const *self.channels[n]).cast_mut().cast();
        let other = self.other(rng);
        let null = std::ptr::null_mut;
        let cases = [
            Case::new(kind::SEND, at(to), (&raw mut sent).cast(), 0),
            Case::new(kind::RECEIVE, at(from), (&raw mut got).cast(), 0),
            Case::new(kind::TIMEOUT, null(), null(), timeout_ns),
            Case::new(kind::JOIN, other.as_head().cast_mut().cast(), null(), 0),
        ];
        let joins = other != me && rng.one_in(2);
        // SAFETY: the objects are what their kinds say, and live as long.
        let won = unsafe { select(caller, if joins { &cases } else { &cases[..3] }) };
        let happened = self.count(&won);
        let won = if happened { won.unwrap() } else { 2 };
        assert!(won > 1 || cases[won].result().error == 0);
        if won != 0 {
            self.inside[to].fetch_sub(sent, SeqCst);
        }
        if won == 1 {
            self.inside[from].fetch_sub(got, SeqCst);
        }
    }

    fn other(&self, rng: &mut Rng) -> TaskRef {
        self.tasks[rng.below(self.tasks.len() as u32) as usize]
    }

    /// What a task and a thread without one both do.
    fn step(&self, caller: &Caller<'_, Real>, me: Option<TaskRef>, rng: &mut Rng) {
        let wait_ns = u64::from(rng.below(LONGEST_NS));
        let until_ns = caller.now_ns() + wait_ns;
        let here = caller.mailbox();
        let at = rng.below(2) as usize;
        match rng.below(16) {
            0 | 1 => {
                let mutex = &*self.mutexes[at];
                if self.count(&mutex.lock(caller, until_ns).done()) {
                    self.owned(at, me, rng);
                    mutex.unlock(caller).done().unwrap();
                }
            }
            2 | 3 => {
                let mutex = &*self.mutexes[0];
                if self.count(&mutex.lock(caller, until_ns).done()) {
                    self.owned(0, me, rng);
                    self.count(&self.condition.wait(caller, mutex, until_ns + wait_ns));
                    self.owned(0, me, rng); // Whatever it was, it has the mutex.
                    mutex.unlock(caller).done().unwrap();
                }
            }
            4 => self.condition.notify::<Real>(here, 1 + at * PARTIES as usize).unwrap(),
            5 => {
                let count = u64::from(1 + rng.below(PERMITS as u32));
                if self.count(&self.semaphore.acquire(caller, count, until_ns).done()) {
                    let held = self.permits.fetch_add(count as i64, SeqCst) + count as i64;
                    assert!(held <= PERMITS as i64, "{held} permits of {PERMITS}");
                    self.linger(me, rng);
                    self.permits.fetch_sub(count as i64, SeqCst);
                    assert_eq!(self.semaphore.release::<Real>(count).error, 0);
                }
            }
            6 | 7 => {
                let access = if rng.one_in(3) { Access::Write } else { Access::Read };
                if self.count(&self.lock.lock(caller, access, until_ns)) {
                    let (own, most) = match access {
                        Access::Write => (&self.writers, 1),
                        Access::Read => (&self.readers, i64::MAX),
                    };
                    assert!(own.fetch_add(1, SeqCst) < most, "two write");
                    let (reads, writes) = (self.readers.load(SeqCst), self.writers.load(SeqCst));
                    assert!(reads == 0 || writes == 0, "{reads} read while {writes} write");
                    self.linger(me, rng);
                    own.fetch_sub(1, SeqCst);
                    self.lock.unlock(caller, access).unwrap();
                }
            }
            8 | 9 => self.transfer(caller, at, Some(until_ns), true),
            10 | 11 => self.transfer(caller, at, Some(until_ns), false),
            12 => self.transfer(caller, at, None, rng.one_in(2)),
            13 => match rng.below(3) {
                0 => self.event.set::<Real>(here).unwrap(),
                1 => _ = self.event.reset(here).unwrap(),
                _ => _ = self.count(&self.event.wait(caller, until_ns)),
            },
            14 => _ = self.count(&self.barrier.wait(caller, until_ns)),
            _ => match rng.below(2) {
                0 => {
                    self.group.add(here, 1).unwrap();
                    self.added.fetch_add(1, SeqCst);
                    self.linger(me, rng);
                    self.added.fetch_sub(1, SeqCst);
                    self.group.done::<Real>(here, 1).unwrap();
                }
                _ => _ = self.count(&self.group.wait(caller, until_ns)),
            },
        }
    }

    /// What a task alone does.
    fn task_step(&self, me: TaskRef, rng: &mut Rng) {
        // SAFETY: it runs.
        let caller = unsafe { api::caller(me.as_head()) }.unwrap();
        let wait_ns = u64::from(rng.below(LONGEST_NS));
        match rng.below(12) {
            0 | 1 => self.selects(&caller, wait_ns, me, rng),
            2 => _ = Handle::<Real>::cancel_anywhere(self.other(rng)), // ENOENT: it has exited.
            3 => _ = Handle::<Real>::unpark(self.other(rng)),
            4 => {
                let mut scope = MaybeUninit::<Scope>::uninit();
                // SAFETY: in place until it is left, and the innermost one then.
                unsafe {
                    Handle::<Real>::enter_scope(me, scope.as_mut_ptr(), wait_ns, 0).unwrap();
                    match rng.below(3) {
                        0 => _ = Handle::<Real>::park(me),
                        1 => _ = Handle::<Real>::join(me, self.other(rng)),
                        _ => (0..3).for_each(|_| self.step(&caller, Some(me), rng)),
                    }
                    Handle::<Real>::leave_scope(me, scope.as_ptr()).unwrap();
                }
            }
            5 => {
                unsafe extern "C" fn doubled(n: *mut c_void) -> RawResult {
                    RawResult::success(n as isize * 2)
                }
                let n = rng.below(1000) as usize;
                // SAFETY: the function uses its argument as a number.
                let r = unsafe { blocking::run(&caller, doubled, n as *mut c_void) };
                assert!(r.error == libc::ECANCELED || r.value == n as isize * 2, "{r:?}");
            }
            _ => self.step(&caller, Some(me), rng),
        }
        if Handle::<Real>::cancel_requested(me) {
            Handle::<Real>::uncancel(me).unwrap();
        }
    }
}

fn cross(seed: u64) {
    let storage = Box::leak(Box::new([0_u64; CAPACITY]));
    let tasks = (0..EXECUTORS * TASKS + POOLED).map(|_| new_large_task()).collect::<Vec<_>>();
    let world = Arc::new(World {
        mutexes: [object(0), object(0)],
        condition: object(0),
        semaphore: object(PERMITS),
        lock: object(0),
        channels: [object(0), object(0)],
        event: object(0),
        barrier: object(PARTIES),
        group: object(0),
        owners: Default::default(),
        permits: Default::default(),
        readers: Default::default(),
        writers: Default::default(),
        added: Default::default(),
        inside: Default::default(),
        next: AtomicU64::new(1),
        granted: Default::default(),
        refused: Default::default(),
        still_running: AtomicUsize::new(EXECUTORS * TASKS),
        tasks,
    });
    world.mutexes[1].set_flags(mutex::CHECKED);
    for (at, capacity) in [(0, 0), (1, CAPACITY)] {
        let channel = &world.channels[at];
        channel.set_up(storage.as_mut_ptr().cast(), capacity, size_of::<u64>()).unwrap();
    }
    let ring = RingOptions { entries: 0, ..RingOptions::default() };
    let options = Options { ring, track: true, trace_bytes: 0, stack_bytes: 0 };
    let pool = workers::create(options, WORKERS, Cpus::of(&[]).unwrap()).unwrap();
    let runs = Arc::new(AtomicU64::new(0));
    for (i, &task) in world.tasks[EXECUTORS * TASKS..].iter().enumerate() {
        let (world, runs) = (world.clone(), runs.clone());
        let mut rng = Rng::new(seed, 2000 + i as u64);
        // Bodies of one task never run at a time, on whatever thread.
        set_body(task, move |me| {
            for _ in 0..POOLED_STEPS {
                world.task_step(me, &mut rng);
            }
            runs.fetch_add(1, SeqCst);
            RawResult::success(0)
        });
    }
    let mut threads = Vec::new();
    // Nobody joins one that was never attached.
    let attached = Arc::new(std::sync::Barrier::new(EXECUTORS + 1));
    for n in 0..EXECUTORS {
        let (world, attached) = (world.clone(), attached.clone());
        threads.push(thread::spawn(move || {
            // One of them sleeps without a ring.
            let ex = executor(if n == 0 { 0 } else { 8 });
            for (i, &task) in world.tasks[n * TASKS..][..TASKS].iter().enumerate() {
                let (world, mut rng) = (world.clone(), Rng::new(seed, (n * TASKS + i) as u64));
                task.head.cpu.set(rng.below(3) as u8);
                set_body(task, move |me| {
                    for _ in 0..STEPS {
                        world.task_step(me, &mut rng);
                    }
                    RawResult::success(0)
                });
                ex.attach(task).unwrap();
            }
            attached.wait();
            attached.wait();
            while ex.has_work() {
                ex.run(usize::MAX, None).unwrap();
            }
            world.still_running.fetch_sub(TASKS, SeqCst);
            // Others cancel and join until the last is over.
            while world.still_running.load(SeqCst) != 0 {
                let _ = ex.run(usize::MAX, Some(100_000));
            }
            ex.destroy().unwrap();
        }));
    }
    attached.wait();
    // At once, for the same reason.
    let pooled = world.tasks[EXECUTORS * TASKS..].iter().copied();
    assert_eq!(pool.queue.submit_many(pooled), (POOLED, Ok(())));
    attached.wait();
    for n in 0..THREADS {
        let (world, mut rng) = (world.clone(), Rng::new(seed, 1000 + n as u64));
        threads.push(thread::spawn(move || {
            let caller = Caller::thread().unwrap();
            for _ in 0..STEPS {
                world.step(&caller, None, &mut rng);
                let task = world.tasks[EXECUTORS * TASKS + rng.below(POOLED as u32) as usize];
                match rng.below(8) {
                    // EBUSY: it is not over.
                    0..4 => _ = pool.queue.submit(task, || 0),
                    4 => _ = Handle::<Real>::set_priorities(task, rng.below(3) as u8, 1),
                    5 => pool.resize(1 + rng.below(WORKERS)).unwrap(),
                    6 => _ = Handle::<Real>::cancel_anywhere(task),
                    _ => {}
                }
            }
        }));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    pool.quit(if seed.is_multiple_of(2) { How::Drain } else { How::Return });
    let caller = Caller::<Real>::thread().unwrap();
    // SAFETY: nobody uses it any more.
    unsafe { pool.end(&caller) }.unwrap();
    // What is still inside the channels is all that was sent and not received.
    loop {
        let mut got = 0_u64;
        let channel = &world.channels[1];
        let to = (&raw mut got).cast();
        // SAFETY: memory for an element.
        match unsafe { channel.try_transfer::<Real>(None, Direction::Receive, to) } {
            Ok(()) => world.inside[1].fetch_sub(got, SeqCst),
            Err(e) => break assert_eq!(e, Errno(libc::EAGAIN)),
        };
    }
    for at in 0..2 {
        assert_eq!(world.inside[at].load(SeqCst), 0, "an element is lost, or was given twice");
        world.mutexes[at].try_lock(&caller).expect("nobody has it");
        world.mutexes[at].unlock(&caller).done().unwrap();
    }
    world.semaphore.try_acquire(None, PERMITS).expect("all are back");
    world.lock.try_lock(&caller, Access::Write).expect("nobody has it");
    world.tasks.iter().for_each(|&task| destroy_task(task));
    println!(
        "seed {seed}: {} granted, {} timed out or cancelled; {} runs in the pool",
        world.granted.load(SeqCst),
        world.refused.load(SeqCst),
        runs.load(SeqCst)
    );
}

/// `MONAD_ASYNC_CROSSINGS=n`: so many seeds; `MONAD_ASYNC_SEED`: from that one on. A seed says what
/// each does, and not when.
#[test]
fn grants_deadlines_and_cancels_cross_between_threads() {
    let number = |name, default| {
        std::env::var(name).map_or(default, |text: String| text.parse().expect("a number"))
    };
    let first = number("MONAD_ASYNC_SEED", 1);
    for seed in first..first + number("MONAD_ASYNC_CROSSINGS", 3) {
        cross(seed);
    }
}

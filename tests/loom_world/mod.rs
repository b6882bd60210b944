//! Tasks and executors for the models: the words that threads share are the real ones, `task::state`
//! and `MpscQueue`. What is the owner's alone is restated, function by function under the names that it
//! has in src/executor (attach, remote, cancel), in cells that loom checks: an access that nothing
//! orders after the last one fails. The task that is attached does not suspend; a ready list is a
//! vector. What joins it is in `join`.

// Each model uses its part.
#![allow(dead_code)]

pub mod join;

use loom::cell::Cell;
use loom::sync::atomic::{AtomicPtr, AtomicU64, AtomicU8};
use loom::sync::Notify;
use loom::thread;
use monad_async::intrusive::{Chain, Link, MpscQueue, Push};
use monad_async::task::state::{self, TaskState};
use std::ffi::c_void;
use std::ptr::{null_mut, NonNull};
use std::sync::{Arc, Mutex};

/// What a message is.
pub mod kind {
    pub const LAUNCH: usize = 0;
    pub const CANCEL: usize = 1;
    pub const JOIN: usize = 2;
    pub const JOINED: usize = 3;
    pub const UNJOIN: usize = 4;
    pub const UNJOINED: usize = 5;
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Flags {
    Idle,
    PendingLaunch,
    Running,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum End {
    Ran,
    Canceled,
}

pub struct Task {
    run_state: AtomicU8,
    seq: AtomicU64,
    mailbox: AtomicPtr<c_void>,
    executor: AtomicPtr<c_void>,
    result: [AtomicU64; 2],
    link: Link,
    flags: Cell<Flags>,
    cancel: Cell<bool>,
    /// `waits` is Ready.
    ready: Cell<bool>,
    /// `record` is in `remote_joiners`.
    joined: Cell<bool>,
    /// What user_code wrote into memory of its own.
    pub wrote: Cell<u64>,
    /// For the models: how each run ended.
    ends: Mutex<Vec<(u64, End)>>,
}

pub struct Executor {
    inbox: MpscQueue,
    /// What the owner sleeps on.
    waker: Notify,
    /// False once the owner has freed what `waker` stands for.
    waker_valid: Cell<bool>,
    /// How many are ready: 0 or 1.
    ready: Mutex<usize>,
}

struct CancelMessage {
    link: Link,
    seq: Cell<u64>,
}

/// One task, three executors, one cancel message, one joiner.
pub struct World {
    pub task: Task,
    pub record: join::Record,
    executors: [Executor; 3],
    message: CancelMessage,
    /// Runs for which a cancel was told that it would take effect.
    promised: Mutex<Vec<u64>>,
}

// SAFETY: the checked cells and links are the point; loom fails the model if they are shared.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

pub const A: usize = 0;
pub const B: usize = 1;
pub const C: usize = 2;

/// The result of a run: another than the run before had, but the one before that had it too.
pub const fn result(seq: u64) -> [u64; 2] {
    [seq % 2 + 10, seq % 2 + 20]
}

impl Task {
    fn new() -> Self {
        Self {
            run_state: AtomicU8::new(state::FRESH),
            seq: AtomicU64::new(0),
            mailbox: AtomicPtr::new(null_mut()),
            executor: AtomicPtr::new(null_mut()),
            result: [AtomicU64::new(0), AtomicU64::new(0)],
            link: Link::new(),
            flags: Cell::new(Flags::Idle),
            cancel: Cell::new(false),
            ready: Cell::new(false),
            joined: Cell::new(false),
            wrote: Cell::new(0),
            ends: Mutex::default(),
        }
    }

    pub fn state(&self) -> TaskState<'_> {
        let Self { run_state, seq, mailbox, executor, result, .. } = self;
        TaskState { run_state, seq, mailbox, executor, result }
    }

    pub fn ends(&self) -> Vec<(u64, End)> {
        self.ends.lock().unwrap().clone()
    }
}

/// Owners and others.
impl World {
    pub fn new() -> Arc<Self> {
        let executor = || Executor {
            inbox: MpscQueue::new(),
            waker: Notify::new(),
            waker_valid: Cell::new(true),
            ready: Mutex::default(),
        };
        Arc::new(Self {
            task: Task::new(),
            record: join::Record::new(),
            executors: [executor(), executor(), executor()],
            message: CancelMessage { link: Link::new(), seq: Cell::new(0) },
            promised: Mutex::default(),
        })
    }

    pub fn address(&self, ex: usize) -> *mut c_void {
        (&raw const self.executors[ex]).cast_mut().cast()
    }

    fn inbox(&self, ex: usize) -> &MpscQueue {
        &self.executors[ex].inbox
    }

    /// False: closed. `link` outlives the inbox, and is in none.
    fn post(&self, ex: usize, link: &Link, kind: usize) -> bool {
        // SAFETY: the caller's.
        let push = unsafe { self.inbox(ex).push(NonNull::from(link), kind) };
        if push == Push::MustWake {
            assert!(self.executors[ex].waker_valid.get(), "no owner to wake");
            self.executors[ex].waker.notify();
        }
        push != Push::Closed
    }

    /// Each run ended once, in their order, and as every cancel that took effect was promised.
    pub fn check_ends(&self, runs: u64) -> Vec<(u64, End)> {
        let ends = self.task.ends();
        let order: Vec<u64> = ends.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(order, (1..=runs).collect::<Vec<_>>(), "not each run ended once");
        for seq in self.promised.lock().unwrap().iter() {
            assert!(ends.contains(&(*seq, End::Canceled)), "a cancel was lost: {ends:?}");
        }
        ends
    }

    fn prepare(&self, ex: usize) {
        let task = &self.task;
        task.state().begin(self.address(ex), self.address(ex));
        task.flags.set(Flags::PendingLaunch);
        task.cancel.set(false);
        task.state().attached();
    }

    /// The owner's way.
    pub fn attach(&self, ex: usize) -> bool {
        if self.task.state().is_taken() {
            return false;
        }
        self.prepare(ex);
        self.make_ready(ex);
        true
    }

    pub fn attach_remote(&self, ex: usize) -> bool {
        if !self.task.state().claim() {
            return false;
        }
        self.prepare(ex);
        assert!(self.post(ex, &self.task.link, kind::LAUNCH));
        true
    }

    /// Which run is to be cancelled.
    pub fn cancel_remote(&self, ex: usize) -> u64 {
        let seq = self.task.state().seq();
        self.message.seq.set(seq);
        assert!(self.post(ex, &self.message.link, kind::CANCEL));
        seq
    }
}

/// The owner of `ex`.
impl World {
    pub fn collect(&self, ex: usize) {
        if self.inbox(ex).has_any() {
            self.deal_with(ex, self.inbox(ex).take().entries.finish());
        }
    }

    fn deal_with(&self, ex: usize, chain: Chain) {
        for (_, what) in chain {
            match what {
                kind::LAUNCH => self.launched(ex),
                kind::CANCEL => self.cancel_asked(ex),
                kind::JOIN => self.join_asked(ex),
                kind::UNJOIN => self.unjoin_asked(),
                kind::JOINED | kind::UNJOINED => self.join_answered(),
                _ => panic!("no such message"),
            }
        }
    }

    /// Nothing to do: sleeps, unless something has come.
    pub fn sleep(&self, ex: usize) {
        if self.inbox(ex).try_sleep() {
            self.executors[ex].waker.wait();
            self.inbox(ex).end_sleep();
        }
    }

    /// No task is attached. Answers who was before the close, waits for who uses the waker.
    pub fn destroy(&self, ex: usize) {
        let late = self.inbox(ex).close();
        self.deal_with(ex, late);
        while self.inbox(ex).pinned() {
            thread::yield_now();
        }
        self.executors[ex].waker_valid.set(false);
    }

    fn launched(&self, ex: usize) {
        match self.task.cancel.get() {
            true => self.never_launch(),
            false => self.make_ready(ex),
        }
    }

    fn cancel_asked(&self, ex: usize) {
        if self.task.state().seq() == self.message.seq.get() {
            self.cancel(ex);
        }
    }

    /// False: ENOENT.
    pub fn cancel(&self, ex: usize) -> bool {
        let task = &self.task;
        if !task.state().is_attached_to(self.address(ex)) {
            return false;
        }
        self.promised.lock().unwrap().push(task.state().seq());
        assert_eq!(task.flags.get(), Flags::PendingLaunch);
        if !task.ready.get() {
            task.cancel.set(true); // It has yet to arrive.
        } else {
            task.ready.set(false);
            *self.executors[ex].ready.lock().unwrap() -= 1;
            self.never_launch();
        }
        true
    }

    fn make_ready(&self, ex: usize) {
        self.task.ready.set(true);
        *self.executors[ex].ready.lock().unwrap() += 1;
    }

    fn never_launch(&self) {
        self.task.state().set_result([0, 0]);
        self.finish(End::Canceled);
    }

    fn finish(&self, end: End) {
        self.task.flags.set(Flags::Idle);
        self.task.ends.lock().unwrap().push((self.task.state().seq(), end));
        if self.task.joined.get() {
            self.finish_joined();
        } else {
            self.task.state().exited();
        }
    }

    /// Runs what is ready. True if it was.
    pub fn run(&self, ex: usize) -> bool {
        let ready = std::mem::take(&mut *self.executors[ex].ready.lock().unwrap());
        if ready != 0 {
            let (task, seq) = (&self.task, self.task.state().seq());
            task.ready.set(false);
            task.flags.set(Flags::Running);
            task.wrote.set(seq);
            task.state().set_result(result(seq));
            self.finish(End::Ran);
        }
        ready != 0
    }
}

pub fn spawn<T: 'static>(
    world: &Arc<World>,
    f: impl FnOnce(&World) -> T + 'static,
) -> thread::JoinHandle<T> {
    let world = world.clone();
    thread::spawn(move || f(&world))
}

/// Threads are interrupted so many times at most; 0: as often as loom likes.
pub fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    let bound = (preemptions != 0).then_some(preemptions);
    builder.preemption_bound = builder.preemption_bound.or(bound);
    builder.check(model);
}

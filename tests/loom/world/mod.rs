//! Tasks and executors for the models: the words that threads share are the real ones,
//! `task::state`, `task::requests` and `MpscQueue`. What is the owner's alone is restated, function
//! by function under the names that it has in src/executor (attach, remote, cancel), in cells that
//! loom checks: an access that nothing orders after the last one fails. A task runs to its end, or
//! suspends until it is cancelled; a ready list is a vector. What joins a task is in `join`, and
//! parking in `park`.

// Each model uses its part.
#![allow(dead_code)]

pub mod channel;
pub mod grant;
pub mod join;
pub mod park;
pub mod queue;
pub mod ring;
mod words;

use loom::cell::Cell;
use loom::sync::atomic::{
    fence, AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, SeqCst},
};
use loom::sync::Notify;
use loom::thread;
use monad_async::intrusive::{Chain, Link, Marks, MpscQueue, Push};
use monad_async::task::requests::{look_at, Marked, Requests};
use monad_async::task::state::{Run, TaskState};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};
use words::Words;

/// What a message is.
pub mod kind {
    pub const LAUNCH: usize = 0;
    pub const JOIN: usize = 1;
    pub const JOINED: usize = 2;
    pub const UNJOIN: usize = 3;
    pub const UNJOINED: usize = 4;
    pub const UNPARK: usize = 5;
    pub const GRANT: usize = 6;
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Flags {
    Idle,
    PendingLaunch,
    Suspended,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum End {
    Ran,
    Canceled,
}

pub struct Task {
    words: Words,
    link: Link,
    flags: Cell<Flags>,
    asked: Cell<bool>,
    /// `waits` is Ready.
    ready: Cell<bool>,
    /// `record` is in `joiners`.
    joined: Cell<bool>,
    /// What user_code wrote into memory of its own.
    pub wrote: Cell<u64>,
    /// For the models: how each run ended.
    ends: Mutex<Vec<(Run, End)>>,
}

pub struct Executor {
    inbox: MpscQueue,
    requests: Requests,
    askers: AtomicUsize,
    /// What the owner sleeps on.
    waker: Notify,
    /// False once the owner has freed what `waker` stands for.
    waker_valid: Cell<bool>,
    /// Which tasks are ready.
    ready: Mutex<Vec<usize>>,
}

/// Tasks, three executors, one joiner.
pub struct World {
    tasks: Vec<Task>,
    pub record: join::Record,
    executors: [Executor; 3],
    /// Tasks that were marked, as there was no place for their names.
    marked: [AtomicU64; 1],
    /// Runs that somebody asked to cancel while they were attached.
    asked: Mutex<Vec<Run>>,
    /// What those who asked said before, without ordering of its own, and what the owner saw of it.
    said: [AtomicBool; 2],
    heard: Mutex<[bool; 2]>,
}

// SAFETY: the checked cells and links are the point; loom fails the model if they are shared.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

pub const A: usize = 0;
pub const B: usize = 1;
pub const C: usize = 2;

/// The result of a run: another than the run before had, but the one before that had it too.
pub const fn result(run: Run) -> [u64; 2] {
    [run % 2 + 10, run % 2 + 20]
}

impl Task {
    fn new() -> Self {
        Self {
            words: Words::fresh(),
            link: Link::new(),
            flags: Cell::new(Flags::Idle),
            asked: Cell::new(false),
            ready: Cell::new(false),
            joined: Cell::new(false),
            wrote: Cell::new(0),
            ends: Mutex::default(),
        }
    }

    pub fn state(&self) -> TaskState<'_> {
        self.words.state()
    }

    pub fn ends(&self) -> Vec<(Run, End)> {
        self.ends.lock().unwrap().clone()
    }
}

/// Owners and others.
impl World {
    pub fn new() -> Arc<Self> {
        Self::of_tasks(1)
    }

    pub fn of_tasks(count: usize) -> Arc<Self> {
        let executor = || Executor {
            inbox: MpscQueue::new(),
            requests: Requests::new(),
            askers: AtomicUsize::new(0),
            waker: Notify::new(),
            waker_valid: Cell::new(true),
            ready: Mutex::default(),
        };
        Arc::new(Self {
            tasks: (0..count).map(|_| Task::new()).collect(),
            record: join::Record::new(),
            executors: [executor(), executor(), executor()],
            marked: [AtomicU64::new(0)],
            asked: Mutex::default(),
            said: [AtomicBool::new(false), AtomicBool::new(false)],
            heard: Mutex::default(),
        })
    }

    /// The only task, or the first.
    pub fn task(&self) -> &Task {
        &self.tasks[0]
    }

    pub fn address(&self, ex: usize) -> *mut c_void {
        (&raw const self.executors[ex]).cast_mut().cast()
    }

    fn inbox(&self, ex: usize) -> &MpscQueue {
        &self.executors[ex].inbox
    }

    fn wake(&self, ex: usize) {
        assert!(self.executors[ex].waker_valid.get(), "no owner to wake");
        self.executors[ex].waker.notify();
    }

    /// False: closed. `link` outlives the inbox, and is in none.
    fn post(&self, ex: usize, link: &Link, kind: usize) -> bool {
        // SAFETY: the caller's.
        let push = unsafe { self.inbox(ex).push(NonNull::from(link), kind) };
        if push == Push::MustWake {
            self.wake(ex);
        }
        push != Push::Closed
    }

    fn notify(&self, ex: usize) {
        if self.inbox(ex).notify() {
            self.wake(ex);
        }
    }

    /// Each run of that task ended once, in their order, and only those were cancelled of which
    /// somebody asked it.
    pub fn check_ends_of(&self, t: usize, runs: u64) -> Vec<(Run, End)> {
        let ends = self.tasks[t].ends();
        let order: Vec<Run> = ends.iter().map(|(run, _)| *run).collect();
        assert_eq!(order, (1..=runs).collect::<Vec<_>>(), "not each run ended once");
        let asked = self.asked.lock().unwrap();
        for (run, end) in &ends {
            assert!(*end == End::Ran || asked.contains(run), "nobody asked it of run {run}");
        }
        ends
    }

    pub fn check_ends(&self, runs: u64) -> Vec<(Run, End)> {
        self.check_ends_of(0, runs)
    }

    fn prepare(&self, ex: usize, t: usize) {
        let task = &self.tasks[t];
        task.state().begin(self.address(ex), self.address(ex));
        task.asked.set(false);
        task.flags.set(Flags::PendingLaunch);
        task.state().attached();
    }

    /// The owner's way.
    pub fn attach_of(&self, ex: usize, t: usize) -> bool {
        if self.tasks[t].state().is_taken() {
            return false;
        }
        self.prepare(ex, t);
        self.make_ready(ex, t);
        true
    }

    pub fn attach(&self, ex: usize) -> bool {
        self.attach_of(ex, 0)
    }

    pub fn attach_remote(&self, ex: usize) -> bool {
        let Some(before) = self.task().state().claim() else { return false };
        self.prepare(ex, 0);
        if self.post(ex, &self.task().link, kind::LAUNCH) {
            return true;
        }
        self.task().flags.set(Flags::Idle);
        self.task().state().unclaim(before);
        false
    }

    /// Which run is to be cancelled.
    pub fn cancel_remote_of(&self, t: usize) -> Option<Run> {
        let task = &self.tasks[t];
        let (run, mailbox) = task.state().attached_run()?;
        let ex = (0..3).find(|&ex| self.address(ex) == mailbox).expect("a mailbox");
        self.asked.lock().unwrap().push(run);
        if task.state().ask_cancel(run) {
            self.tell(ex, t);
        }
        Some(run)
    }

    pub fn cancel_remote(&self) -> Option<Run> {
        self.cancel_remote_of(0)
    }

    /// As `cancel_remote`, and writes something before. Whether it told the executor.
    pub fn say_and_cancel<const I: usize>(&self) -> Option<bool> {
        self.said[I].store(true, Relaxed);
        let (run, _) = self.task().state().attached_run()?;
        self.asked.lock().unwrap().push(run);
        let must_tell = self.task().state().ask_cancel(run);
        if must_tell {
            self.tell(A, 0);
        }
        Some(must_tell)
    }

    /// The owner saw it when it cancelled.
    pub fn was_heard(&self, i: usize) -> bool {
        self.heard.lock().unwrap()[i]
    }

    fn tell(&self, ex: usize, t: usize) {
        self.inbox(ex).pin();
        self.executors[ex].requests.add(t + 1, || self.marks().add(t as u32));
        self.notify(ex);
        self.inbox(ex).unpin();
    }

    /// Something else has notified the owner already: its look may come before a request is
    /// complete.
    pub fn notify_before(&self, ex: usize) {
        self.notify(ex);
    }

    /// Somebody has a place already, for a task that is no more: the next finds none until it is
    /// taken.
    pub fn crowd(&self, ex: usize) {
        self.executors[ex].requests.add(0, || {});
        self.notify(ex);
    }

    /// The same without a place, so that its next look is one for marks.
    pub fn flood(&self, ex: usize) {
        self.crowd(ex);
        self.crowd(ex);
    }

    fn marks(&self) -> Marks<'_> {
        Marks::new(&self.marked)
    }
}

/// The owner of `ex`.
impl World {
    pub fn collect(&self, ex: usize) {
        if self.inbox(ex).has_any() {
            let taken = self.inbox(ex).take();
            if taken.notified {
                self.notified(ex);
            }
            self.deal_with(ex, taken.entries.finish());
        }
    }

    fn notified(&self, ex: usize) {
        let all = self.executors[ex].requests.take(|address| {
            if let Some(t) = address.checked_sub(1) {
                self.cancel_requested(ex, t);
            }
        });
        let mut from = 0;
        while let Some(t) = self.marks().first(from, 1).0.filter(|_| !all) {
            from = t + 1;
            let state = self.tasks[t as usize].state();
            match look_at(state, self.address(ex), || self.marks().remove(t)) {
                Marked::Cancel => self.cancel_heard(ex, t as usize),
                Marked::AskAgain(mailbox) => {
                    let other = (0..3).find(|&ex| self.address(ex) == mailbox);
                    self.tell(other.expect("a mailbox"), t as usize);
                }
                Marked::Nothing => {}
            }
        }
    }

    fn cancel_requested(&self, ex: usize, t: usize) {
        if self.tasks[t].state().take_cancel(self.address(ex)) {
            self.cancel_heard(ex, t);
        }
    }

    fn cancel_heard(&self, ex: usize, t: usize) {
        *self.heard.lock().unwrap() = [0, 1].map(|i| self.said[i].load(Relaxed));
        self.cancel_here(ex, t);
    }

    fn deal_with(&self, ex: usize, chain: Chain) {
        for (_, what) in chain {
            match what {
                kind::LAUNCH => self.launched(ex),
                kind::JOIN => self.join_asked(ex),
                kind::UNJOIN => self.unjoin_asked(ex),
                kind::JOINED | kind::UNJOINED => self.join_answered(),
                _ => panic!("no such message"),
            }
        }
    }

    /// `has_work`, with nothing attached, after which nobody runs it any more.
    pub fn rest(&self, ex: usize) {
        loop {
            self.collect(ex);
            self.await_askers(ex);
            if !self.inbox(ex).has_any() {
                return;
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

    fn await_askers(&self, ex: usize) {
        while !self.inbox(ex).has_entries() {
            fence(SeqCst);
            if self.executors[ex].askers.load(Acquire) == 0 {
                return;
            }
            thread::yield_now();
        }
    }

    fn launched(&self, ex: usize) {
        match self.task().asked.get() {
            true => self.never_launch(0),
            false => self.make_ready(ex, 0),
        }
    }

    /// False: ENOENT.
    pub fn cancel(&self, ex: usize) -> bool {
        let state = self.task().state();
        if !state.is_attached_to(self.address(ex)) {
            return false;
        }
        self.asked.lock().unwrap().push(state.run());
        self.cancel_here(ex, 0);
        true
    }

    fn cancel_here(&self, ex: usize, t: usize) {
        let task = &self.tasks[t];
        if task.asked.replace(true) {
            return;
        }
        match task.flags.get() {
            Flags::Suspended => self.never_launch(t),
            Flags::PendingLaunch if task.ready.get() => {
                task.ready.set(false);
                self.executors[ex].ready.lock().unwrap().retain(|&other| other != t);
                self.never_launch(t);
            }
            Flags::PendingLaunch => {} // It has yet to arrive.
            Flags::Idle => panic!("cancelled, and not attached"),
        }
    }

    fn make_ready(&self, ex: usize, t: usize) {
        self.tasks[t].ready.set(true);
        self.executors[ex].ready.lock().unwrap().push(t);
    }

    fn never_launch(&self, t: usize) {
        self.tasks[t].state().set_result([0, 0]);
        self.finish(t, End::Canceled);
    }

    fn finish(&self, t: usize, end: End) {
        let task = &self.tasks[t];
        task.flags.set(Flags::Idle);
        task.ends.lock().unwrap().push((task.state().run(), end));
        if task.joined.get() {
            self.finish_joined();
        } else {
            task.state().exited();
        }
    }

    fn pop_ready(&self, ex: usize) -> Option<&Task> {
        let task = &self.tasks[self.executors[ex].ready.lock().unwrap().pop()?];
        task.ready.set(false);
        Some(task)
    }

    /// Runs what is ready, one task, to its end. True if it was.
    pub fn run(&self, ex: usize) -> bool {
        let Some(task) = self.pop_ready(ex) else { return false };
        let run = task.state().run();
        task.wrote.set(run);
        task.state().set_result(result(run));
        self.finish(0, End::Ran);
        true
    }

    /// Runs what is ready until it suspends.
    pub fn suspend(&self, ex: usize) {
        while let Some(task) = self.pop_ready(ex) {
            task.flags.set(Flags::Suspended);
        }
    }

    /// Suspends tasks which others cancel, so many, and goes to sleep between.
    pub fn suspend_until_cancelled(&self, ex: usize, count: usize) {
        self.suspend(ex);
        let ended = || self.tasks.iter().map(|task| task.ends().len()).sum::<usize>();
        let all = ended() + count;
        loop {
            self.collect(ex);
            self.suspend(ex);
            if ended() == all {
                return;
            }
            self.sleep(ex);
        }
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

/// Two threads, `owner` the main one at first, then the other.
pub fn check_both_ways<T: 'static, U: 'static>(
    preemptions: usize,
    world: fn() -> Arc<World>,
    owner: fn(&World) -> T,
    others: &'static [fn(&World) -> U],
    after: fn(&World, T, Vec<U>),
) {
    check(preemptions, move || {
        let world = world();
        let others: Vec<_> = others.iter().map(|&f| spawn(&world, f)).collect();
        let mine = owner(&world);
        let theirs = others.into_iter().map(|t| t.join().unwrap()).collect();
        after(&world, mine, theirs);
    });
    check(preemptions, move || {
        let world = world();
        let owner = spawn(&world, owner);
        let rest: Vec<_> = others[1..].iter().rev().map(|&f| spawn(&world, f)).collect();
        let mut theirs = vec![others[0](&world)];
        theirs.extend(rest.into_iter().rev().map(|t| t.join().unwrap()));
        after(&world, owner.join().unwrap(), theirs);
    });
}

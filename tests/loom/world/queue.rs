//! A task in the queue of a pool: the words that threads share are the real ones, `task::state` and
//! `task::queued`. Restated, under the names that they have in src/executor (queue, queue_ends,
//! remote): what is done behind the queue's lock. The plain fields of the task are cells that loom
//! checks.

use loom::cell::Cell;
use loom::sync::Mutex;
use loom::thread;
use monad_async::task::queued::Place;
use monad_async::task::state::{Run, TaskState};
use std::ffi::c_void;
use std::sync::Arc;

use super::words::Words;

/// Who has a run, as a cancel finds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// In the queue, and it has ended there.
    Queued,
    /// Attached to the worker of that number.
    Attached(usize),
    /// Nobody.
    Idle,
}

pub struct World {
    words: Words,
    /// `head.flags`, ticks and the like: of who has the task.
    plain: Cell<Run>,
    /// The task is in `levels`.
    queue: Mutex<bool>,
    /// How each run ended, for the models alone.
    ends: std::sync::Mutex<Vec<(Run, bool)>>,
    workers: [u64; 2],
}

// SAFETY: loom checks the cells.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            words: Words::fresh(),
            plain: Cell::new(0),
            queue: Mutex::new(false),
            ends: std::sync::Mutex::default(),
            workers: [0; 2],
        })
    }

    /// With a run in the queue.
    pub fn queued() -> Arc<Self> {
        let world = Self::new();
        assert!(world.submit());
        world
    }

    pub fn state(&self) -> TaskState<'_> {
        self.words.state()
    }

    fn queue_address(&self) -> *mut c_void {
        (&raw const self.queue).cast_mut().cast()
    }

    fn worker_address(&self, worker: usize) -> *mut c_void {
        (&raw const self.workers[worker]).cast_mut().cast()
    }

    /// ANY THREAD.
    pub fn submit(&self) -> bool {
        if self.state().claim().is_none() {
            return false;
        }
        let next = self.state().run() + 1;
        self.plain.set(next);
        let mut in_queue = self.queue.lock().unwrap();
        self.state().queued(self.queue_address());
        *in_queue = true;
        true
    }

    /// ANY THREAD. To a queue that is closed.
    pub fn submit_in_vain(&self) {
        if let Some(before) = self.state().claim() {
            self.plain.set(9);
            self.plain.set(0);
            self.state().give_up(before);
        }
    }

    /// The worker's thread: takes the task, and runs it to its end. Which run it was.
    pub fn work(&self, worker: usize) -> Option<Run> {
        let mut in_queue = self.queue.lock().unwrap();
        if !std::mem::take(&mut *in_queue) {
            return None;
        }
        let address = self.worker_address(worker);
        self.state().taken(address, address);
        drop(in_queue);
        let run = self.state().run();
        assert!(self.state().is_attached_to(address));
        assert_eq!(self.plain.get(), run, "the plain fields are those of its submission");
        self.end(run, true);
        Some(run)
    }

    fn end(&self, run: Run, ran: bool) {
        self.plain.set(0);
        self.state().set_result([run, run]);
        self.ends.lock().unwrap().push((run, ran));
        self.state().exited();
    }

    /// ANY THREAD. As `api::cancel_anywhere`, of a worker's task no further than to whom it is told.
    pub fn cancel(&self) -> Found {
        loop {
            match self.state().place_of_run() {
                Place::Queue(run, at) => {
                    assert_eq!(at, self.queue_address(), "an address that is no queue's");
                    let mut in_queue = self.queue.lock().unwrap();
                    if self.state().queued_run() == Some((run, at)) {
                        assert!(std::mem::take(&mut *in_queue), "queued, and not in the queue");
                        self.end(run, false);
                        return Found::Queued;
                    }
                }
                Place::Leaving => thread::yield_now(),
                Place::Elsewhere => break,
            }
        }
        match self.state().attached_run() {
            Some((_, mailbox)) => Found::Attached(
                (0..2).find(|&w| self.worker_address(w) == mailbox).expect("a worker's mailbox"),
            ),
            None => Found::Idle,
        }
    }

    /// Each run ended once, in order; which of them ran.
    pub fn ends(&self) -> Vec<(Run, bool)> {
        let ends = self.ends.lock().unwrap().clone();
        let order: Vec<Run> = ends.iter().map(|(run, _)| *run).collect();
        assert_eq!(order, (1..=order.len() as u64).collect::<Vec<_>>(), "not each run ended once");
        ends
    }
}

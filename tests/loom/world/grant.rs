//! A wait for something that others give, as src/executor/grant.rs and src/sync have it: the word, the
//! latch and the inbox are the real ones. Two queues have one place each.

use super::kind;
use loom::cell::Cell;
use loom::sync::Notify;
use monad_async::intrusive::{Link, MpscQueue, Push};
use monad_async::task::grant::Grant;
use monad_async::task::latch::Latch;
use std::ptr::NonNull;
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was there before the wait.
    AtOnce,
    Granted,
    Canceled,
}

/// Something to give, behind its latch.
struct Queue {
    latch: Latch,
    /// What it has to give.
    has: Cell<u64>,
    /// The waiter's node stands in it.
    waits: Cell<bool>,
}

impl Queue {
    fn new(queued: bool) -> Self {
        Self { latch: Latch::new(), has: Cell::new(0), waits: Cell::new(queued) }
    }

    fn close(&self) {
        while !self.latch.try_close() {
            loom::thread::yield_now();
        }
    }
}

pub struct World {
    queues: [Queue; 2],
    /// On the waiter's stack in truth: gone when it goes on.
    link: Link,
    word: Grant,
    is_task: Cell<bool>,
    /// Where what is given goes; on the waiter's stack too.
    buffer: Cell<u64>,
    inbox: MpscQueue,
    waker: Notify,
    /// The futex of a thread.
    futex: Notify,
}

// SAFETY: the checked cells and links are the point; loom fails the model if they are shared.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

const GIFT: u64 = 7;

impl World {
    /// `queued`: the waiter stands in both queues.
    pub fn new(queued: bool) -> Arc<Self> {
        Arc::new(Self {
            queues: [Queue::new(queued), Queue::new(queued)],
            link: Link::new(),
            word: Grant::armed(),
            is_task: Cell::new(true),
            buffer: Cell::new(0),
            inbox: MpscQueue::new(),
            waker: Notify::new(),
            futex: Notify::new(),
        })
    }

    pub fn give(&self) {
        self.give_by(0);
    }

    pub fn give_other(&self) {
        self.give_by(1);
    }

    /// ANY THREAD. Gives to who waits, or keeps it for who comes.
    fn give_by(&self, queue: usize) {
        let queue = &self.queues[queue];
        queue.close();
        let claimed = queue.waits.take() && self.word.claim();
        let is_task = claimed && self.is_task.get();
        if claimed {
            self.buffer.set(GIFT);
        } else {
            queue.has.set(1);
        }
        queue.latch.open();
        if is_task {
            // SAFETY: claimed, so the waiter stays until the mail has come.
            match unsafe { self.inbox.push(NonNull::from(&self.link), kind::GRANT) } {
                Push::MustWake => self.waker.notify(),
                Push::Queued => {}
                Push::Closed => panic!("closed"),
            }
        } else if claimed {
            self.word.grant();
            self.futex.notify();
        }
    }

    /// ANY THREAD. Asks to cancel, by a notification.
    pub fn ask_cancel(&self) {
        if self.inbox.notify() {
            self.waker.notify();
        }
    }

    /// Takes what is there, or stands in the queues. True: taken.
    fn take_or_queue(&self, queues: &[Queue]) -> bool {
        queues.iter().for_each(Queue::close);
        let taken = queues.iter().any(|queue| queue.has.take() != 0);
        if !taken {
            queues.iter().for_each(|queue| queue.waits.set(true));
        }
        queues.iter().for_each(|queue| queue.latch.open());
        taken
    }

    fn withdraw(&self, queues: &[Queue]) {
        for queue in queues {
            queue.close();
            queue.waits.set(false);
            queue.latch.open();
        }
    }

    pub fn task_waits(&self, canceled: bool) -> Outcome {
        self.task_waits_in(&self.queues[..1], canceled)
    }

    /// It stands in both queues since before the others came.
    pub fn task_waits_twice(&self, canceled: bool) -> Outcome {
        self.until_granted(&self.queues, canceled)
    }

    fn task_waits_in(&self, queues: &[Queue], canceled: bool) -> Outcome {
        if self.take_or_queue(queues) {
            return Outcome::AtOnce;
        }
        self.until_granted(queues, canceled)
    }

    /// `canceled`: a cancel is asked from the start, and takes effect between.
    fn until_granted(&self, queues: &[Queue], canceled: bool) -> Outcome {
        let (mut cancels, mut outcome) = (canceled, None);
        while outcome.is_none() {
            if std::mem::take(&mut cancels) && self.word.cancel() {
                outcome = Some(Outcome::Canceled);
                break;
            }
            if !self.inbox.has_any() && self.inbox.try_sleep() {
                self.waker.wait();
                self.inbox.end_sleep();
            }
            if self.inbox.has_any() {
                let taken = self.inbox.take();
                cancels = taken.notified;
                for (link, what) in taken.entries.finish() {
                    assert_eq!((link, what), (NonNull::from(&self.link), kind::GRANT));
                    outcome = Some(Outcome::Granted);
                }
            }
        }
        self.goes_on(queues, outcome.expect("one of the two"))
    }

    /// `times_out`: its time is over from the start.
    pub fn thread_waits(&self, times_out: bool) -> Outcome {
        self.is_task.set(false);
        let queues = &self.queues[..1];
        if self.take_or_queue(queues) {
            return Outcome::AtOnce;
        }
        let mut outcome = Outcome::Granted;
        while self.word.pending().is_some() {
            if times_out && self.word.cancel() {
                outcome = Outcome::Canceled;
                break;
            }
            self.futex.wait();
        }
        self.goes_on(queues, outcome)
    }

    fn goes_on(&self, queues: &[Queue], outcome: Outcome) -> Outcome {
        // Out of a single queue it was taken by who granted: nothing else orders what was given.
        if outcome == Outcome::Canceled || queues.len() > 1 {
            self.withdraw(queues);
        }
        let given = if outcome == Outcome::Granted { GIFT } else { 0 };
        assert_eq!(self.buffer.get(), given);
        // The waiter goes on, and writes other things there.
        self.buffer.set(0);
        // SAFETY: in no list, if the protocol holds; this one is not looked at again.
        let _ = unsafe { MpscQueue::new().push(NonNull::from(&self.link), 0) };
        outcome
    }

    /// What the queue has kept.
    pub fn kept(&self) -> u64 {
        self.queues[0].has.get()
    }

    pub fn kept_by_other(&self) -> u64 {
        self.queues[1].has.get()
    }
}

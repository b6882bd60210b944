//! A task that parks, as src/executor/park.rs has it: the permit and the inbox are the real ones.
//! The task is the only one of its executor.

use super::kind;
use loom::cell::Cell;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use loom::sync::Notify;
use loom::thread;
use monad_async::intrusive::{Link, MpscQueue, Push};
use monad_async::task::permit::{self, Permit};
use std::ptr::NonNull;
use std::sync::Arc;

/// On the task's stack in truth: gone when the task goes on.
struct Record {
    link: Link,
    /// What an unpark reads of it: its task's executor.
    home: Cell<u64>,
}

pub struct Park {
    word: AtomicUsize,
    here: Cell<bool>,
    /// One for each park of the model.
    records: [Record; 2],
    inbox: MpscQueue,
    waker: Notify,
    /// What those who unpark wrote before.
    wrote: [Cell<u64>; 2],
    /// The same, to be looked at before it is known.
    seen: AtomicBool,
    /// A permit was left: `has_past` of a task's head.
    past: AtomicBool,
}

// SAFETY: the checked cells and links are the point; loom fails the model if they are shared.
unsafe impl Sync for Park {}
// SAFETY: as above.
unsafe impl Send for Park {}

const HOME: u64 = 7;

impl Park {
    pub fn new() -> Arc<Self> {
        let record = || Record { link: Link::new(), home: Cell::new(0) };
        Arc::new(Self {
            word: AtomicUsize::new(permit::NONE),
            here: Cell::new(false),
            records: [record(), record()],
            inbox: MpscQueue::new(),
            waker: Notify::new(),
            wrote: [Cell::new(0), Cell::new(0)],
            seen: AtomicBool::new(false),
            past: AtomicBool::new(false),
        })
    }

    fn permit(&self) -> Permit<'_> {
        Permit { word: &self.word, here: &self.here }
    }

    fn address(&self, i: usize) -> usize {
        (&raw const self.records[i]).addr()
    }

    /// ANY THREAD, which writes something first.
    pub fn unpark(&self, writer: usize) {
        self.wrote[writer].set(1);
        self.seen.store(true, Relaxed);
        let Some(at) = self.permit().unpark() else { return self.past.store(true, Relaxed) };
        let record = (0..2).find(|&i| self.address(i) == at).expect("a record");
        let record = &self.records[record];
        assert_eq!(record.home.get(), HOME, "a record that is not filled in, or gone");
        // SAFETY: taken out, so the caller's, and it stays until the mail has come.
        match unsafe { self.inbox.push(NonNull::from(&record.link), kind::UNPARK) } {
            Push::MustWake => self.waker.notify(),
            Push::Queued => {}
            Push::Closed => panic!("closed"),
        }
    }

    /// `TaskRef::forget_past`.
    pub fn forget(&self) {
        self.past.store(false, Relaxed);
        self.permit().forget();
    }

    pub fn has_past(&self) -> bool {
        self.past.load(Relaxed)
    }

    /// The executor's thread unparks the task, which is not parked.
    pub fn leave_here(&self) {
        self.permit().leave_here();
    }

    /// ANY THREAD. Asks to cancel, by a notification.
    pub fn ask_cancel(&self) {
        if self.inbox.notify() {
            self.waker.notify();
        }
    }

    /// The task parks; if `canceled`, a cancel is asked from the start, and takes effect between.
    /// False: cancelled.
    pub fn park(&self, i: usize, canceled: bool) -> bool {
        self.park_while(i, canceled, false)
    }

    /// As `park`; its executor's thread unparks it, once, before it looks at its mail.
    pub fn park_and_unpark(&self, i: usize) {
        assert!(self.park_while(i, false, true));
    }

    fn park_while(&self, i: usize, canceled: bool, mut unparks: bool) -> bool {
        if self.permit().take() {
            return true;
        }
        let record = &self.records[i];
        record.home.set(HOME);
        let mut waits = self.permit().arm(self.address(i));
        let mut cancels = canceled && waits;
        let mut unparked = true;
        while waits {
            if std::mem::take(&mut cancels) && self.permit().disarm(self.address(i)) {
                unparked = false;
                break;
            }
            if std::mem::take(&mut unparks) && self.permit().disarm(self.address(i)) {
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
                    assert_eq!((link, what), (NonNull::from(&record.link), kind::UNPARK));
                    waits = false;
                }
            }
        }
        if unparked {
            self.permit().take_any();
        }
        // The task goes on, and writes other things there.
        record.home.set(0);
        // SAFETY: in no list, if the protocol holds; this one is not looked at again.
        let _ = unsafe { MpscQueue::new().push(NonNull::from(&record.link), 0) };
        unparked
    }

    /// What that thread wrote before its unpark, of which the task knows.
    pub fn read(&self, writer: usize) -> u64 {
        self.wrote[writer].get()
    }

    /// Whether one has begun to unpark.
    pub fn sees(&self) -> bool {
        self.seen.load(Relaxed)
    }

    /// Whether there is no permit, or one is on its way.
    pub fn is_none(&self) -> bool {
        self.permit().is_none()
    }

    /// Consumes the permit that is there.
    pub fn take(&self) -> bool {
        self.permit().take()
    }
}

pub fn spawn<T: 'static>(
    park: &Arc<Park>,
    f: impl FnOnce(&Park) -> T + 'static,
) -> thread::JoinHandle<T> {
    let park = park.clone();
    thread::spawn(move || f(&park))
}

//! A channel of a capacity, as src/sync/channel.rs has it: latches and ends are the real ones, and the
//! word of a wait. At each end one thread waits at a time.

use loom::cell::Cell;
use loom::sync::Notify;
use monad_async::task::end::{count, End};
use monad_async::task::grant::Grant;
use monad_async::task::latch::Latch;
use std::sync::Arc;

const WAITS: usize = 5;

struct Place {
    word: Grant,
    /// What is sent, or was received.
    buffer: Cell<u64>,
}

/// An end, and who waits there.
struct Side {
    latch: Latch,
    end: End,
    waits: Cell<bool>,
    /// One a wait; on the waiters' stacks in truth.
    places: [Place; WAITS],
    /// How many waits are over.
    waited: Cell<usize>,
    futex: Notify,
}

impl Side {
    fn new() -> Self {
        Self {
            latch: Latch::new(),
            end: End::new(),
            waits: Cell::new(false),
            places: [(); WAITS].map(|()| Place { word: Grant::armed(), buffer: Cell::new(0) }),
            waited: Cell::new(0),
            futex: Notify::new(),
        }
    }

    fn close(&self) {
        while !self.latch.try_close() {
            loom::thread::yield_now();
        }
    }

    /// Who waits, if somebody does.
    fn claim(&self) -> Option<&Place> {
        if !self.waits.take() {
            return None;
        }
        let waited = self.waited.get();
        self.waited.set(waited + 1);
        let place = &self.places[waited];
        assert!(place.word.claim());
        Some(place)
    }

    fn wake(&self, place: &Place) {
        place.word.grant();
        self.futex.notify();
    }
}

pub struct World {
    senders: Side,
    receivers: Side,
    slots: Vec<Cell<u64>>,
}

// SAFETY: the checked cells are the point; loom fails the model if they are shared.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    pub fn new(capacity: usize) -> Arc<Self> {
        let world = Self {
            senders: Side::new(),
            receivers: Side::new(),
            slots: (0..capacity).map(|_| Cell::new(0)).collect(),
        };
        world.close_all();
        world.open_all();
        Arc::new(world)
    }

    fn capacity(&self) -> usize {
        self.slots.len()
    }

    fn close_all(&self) {
        self.senders.close();
        self.receivers.close();
    }

    fn open_all(&self) {
        let alone = !self.senders.waits.get() && !self.receivers.waits.get();
        self.senders.end.set_alone(alone);
        self.receivers.end.set_alone(alone);
        self.receivers.latch.open();
        self.senders.latch.open();
    }

    fn has_room(&self) -> bool {
        self.senders.end.has_room(&self.receivers.end, self.capacity())
    }

    fn has_some(&self) -> bool {
        self.receivers.end.has_some(&self.senders.end)
    }

    fn put(&self, element: u64) {
        let slot = &self.slots[self.senders.end.slot(self.capacity())];
        assert_eq!(slot.replace(element), 0, "an element is overwritten");
        self.senders.end.advance(self.capacity());
    }

    fn take(&self) -> u64 {
        let slot = &self.slots[self.receivers.end.slot(self.capacity())];
        let element = slot.replace(0);
        assert_ne!(element, 0, "an element that is not there");
        self.receivers.end.advance(self.capacity());
        element
    }

    /// By the latch of one end. None: not so.
    fn at_end<T>(&self, side: &Side, has: fn(&Self) -> bool, f: impl FnOnce() -> T) -> Option<T> {
        if !side.end.is_alone() {
            return None;
        }
        side.close();
        let done = (side.end.is_alone() && has(self)).then(f);
        side.latch.open();
        done
    }

    /// All sides are closed.
    fn wait(&self, side: &Side, element: u64) -> u64 {
        let place = &side.places[side.waited.get()];
        place.buffer.set(element);
        side.waits.set(true);
        self.open_all();
        while place.word.pending().is_some() {
            side.futex.wait();
        }
        place.buffer.get()
    }

    pub fn send(&self, element: u64) {
        if self.at_end(&self.senders, Self::has_room, || self.put(element)).is_some() {
            return;
        }
        self.close_all();
        if let Some(receiver) = self.receivers.claim() {
            receiver.buffer.set(element);
            self.open_all();
            self.receivers.wake(receiver);
        } else if self.has_room() {
            self.put(element);
            self.open_all();
        } else {
            self.wait(&self.senders, element);
        }
    }

    pub fn receive(&self) -> u64 {
        if let Some(element) = self.at_end(&self.receivers, Self::has_some, || self.take()) {
            return element;
        }
        self.close_all();
        if !self.has_some() {
            return self.wait(&self.receivers, 0);
        }
        let element = self.take();
        let sender = self.senders.claim();
        if let Some(sender) = sender {
            assert!(self.has_room());
            self.put(sender.buffer.get());
        }
        self.open_all();
        if let Some(sender) = sender {
            self.senders.wake(sender);
        }
        element
    }

    /// With all sides closed.
    pub fn count(&self) -> usize {
        self.close_all();
        let inside = count(&self.senders.end, &self.receivers.end, self.capacity());
        self.open_all();
        inside
    }
}

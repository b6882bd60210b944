//! The inbox under every interleaving that loom finds for a few threads, at the weakest memory
//! ordering the code asks for. Run it with a target directory of its own:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom_inbox
//! ```
//!
//! In all models the main thread is the owner, and its sleep may also end for no reason at all, as
//! a sleep in the kernel does. A lost wake-up is a deadlock, which loom reports. Links and payloads
//! are checked cells: an access that nothing orders after the last one fails.
//!
//! Seen red with each of these in the inbox: push never answers MustWake, keeps SLEEPING, drops
//! NOTIFIED, ignores CLOSED, publishes with Relaxed; take with Relaxed, or as a load and a store;
//! try_sleep and end_sleep as a load and a store; notify with Relaxed, skipped where NOTIFIED is
//! set, keeping SLEEPING, wiping the links; close with Relaxed, or as a load and a store; reopen as
//! a store; unpin or pinned with Relaxed; push or notify without the acquire, reopen with Relaxed.
//! And in the model of pins: pin after the push.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use loom::sync::Notify;
use loom::thread;
use monad_async::intrusive::{Chain, Link, MpscQueue, Push};
use std::ptr::NonNull;
use std::sync::Arc;

// Counters of the models themselves: invisible to loom, so that they order nothing and cost
// nothing.
use std::sync::atomic::{AtomicBool as NoStep, AtomicUsize, Ordering::SeqCst};

struct Node {
    link: Link,
    payload: UnsafeCell<usize>,
}

struct World {
    inbox: MpscQueue,
    nodes: [Node; 3],
    /// What the owner sleeps on; and what it sleeps on where that is the word.
    waker: Notify,
    word: Notify,
    /// False before the owner made, and after it freed, what `waker` stands for.
    waker_valid: UnsafeCell<bool>,
    /// What the notifiers say, without ordering of its own.
    said: [AtomicBool; 2],
    wakes: AtomicUsize,
    /// The owner sleeps on the word, too.
    naps: NoStep,
}

// SAFETY: links and payloads are handed over by the inbox; loom checks that they are.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new() -> Arc<Self> {
        let node = || Node { link: Link::new(), payload: UnsafeCell::new(0) };
        Arc::new(Self {
            inbox: MpscQueue::new(),
            nodes: [node(), node(), node()],
            waker: Notify::new(),
            word: Notify::new(),
            waker_valid: UnsafeCell::new(true),
            said: [AtomicBool::new(false), AtomicBool::new(false)],
            wakes: AtomicUsize::new(0),
            naps: NoStep::new(false),
        })
    }

    fn wake(&self) {
        // SAFETY: loom fails the model if the owner may write at the same time.
        assert!(self.waker_valid.with(|valid| unsafe { *valid }), "no owner to wake");
        self.wakes.fetch_add(1, SeqCst);
        // Asked only where it may be so: each question is a step that loom tries in all orders.
        if self.naps.load(SeqCst) && self.inbox.is_on_word() {
            self.word.notify();
        } else {
            self.waker.notify();
        }
    }

    /// A foreign thread queues node `i`.
    fn push(&self, i: usize) -> Push {
        // SAFETY: the node is the pusher's; loom checks it.
        self.nodes[i].payload.with_mut(|p| unsafe { *p = i + 100 });
        // SAFETY: each node is pushed once, and outlives the inbox.
        let push = unsafe { self.inbox.push(NonNull::from(&self.nodes[i].link), i) };
        if push == Push::MustWake {
            self.wake();
        }
        push
    }

    /// A foreign thread says something and asks the owner to look.
    fn say(&self, i: usize) {
        self.said[i].store(true, Relaxed);
        if self.inbox.notify() {
            self.wake();
        }
    }

    /// A foreign thread says something and has the owner see that, or look, if it is awake.
    fn rouse(&self, i: usize) {
        self.said[i].store(true, Relaxed);
        if self.inbox.rouse() || self.inbox.notify() {
            self.wake();
        }
    }

    /// The owner checks what it took.
    fn drain(&self, chain: Chain, got: &mut Vec<usize>) {
        for (link, i) in chain {
            assert_eq!(link, NonNull::from(&self.nodes[i].link));
            // SAFETY: the node is the owner's now; loom checks it.
            assert_eq!(self.nodes[i].payload.with(|p| unsafe { *p }), i + 100);
            got.push(i);
        }
    }

    /// The owner takes what is there, or else sleeps once. Counts the sleeps others ended. True if
    /// it was notified.
    fn pass(&self, got: &mut Vec<usize>, owed: &mut usize) -> bool {
        if self.inbox.has_any() {
            let taken = self.inbox.take();
            assert!(taken.notified || !taken.entries.is_empty(), "has_any, and nothing was there");
            self.drain(taken.entries.finish(), got);
            return taken.notified;
        } else if self.inbox.try_sleep() {
            self.waker.wait();
            if !self.inbox.end_sleep() {
                *owed += 1;
                assert!(self.inbox.has_any(), "woken for nothing");
            }
        } else {
            assert!(self.inbox.has_any(), "kept awake for nothing");
        }
        false
    }
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(model);
}

/// Nothing is lost, each pusher's entries keep their order, and every sleep that was interrupted is
/// ended by exactly one wake-up.
#[test]
fn pushers_and_a_sleeper() {
    check(|| {
        let world = World::new();
        let spawn = |mine: &'static [usize]| {
            let world = world.clone();
            thread::spawn(move || {
                for &i in mine {
                    assert_ne!(world.push(i), Push::Closed);
                }
            })
        };
        let pushers = [spawn(&[0, 1]), spawn(&[2])];
        let (mut got, mut owed) = (Vec::new(), 0);
        while got.len() < 3 {
            world.pass(&mut got, &mut owed);
        }
        for pusher in pushers {
            pusher.join().unwrap();
        }
        let at = |i| got.iter().position(|&x| x == i).expect("lost");
        assert!(at(0) < at(1), "out of order: {got:?}");
        at(2);
        assert!(!world.inbox.has_any());
        assert_eq!(world.wakes.load(SeqCst), owed);
    });
}

/// Two threads say something and notify, a third pushes: the owner may sleep only when it has seen
/// all of it, also if one notification finds the other's still there.
#[test]
fn notifications_and_a_sleeper() {
    check(|| {
        let world = World::new();
        let spawn = |i: usize| {
            let world = world.clone();
            thread::spawn(move || world.say(i))
        };
        let notifiers = [spawn(0), spawn(1)];
        let (mut got, mut owed) = (Vec::new(), 0);
        while !world.said.iter().all(|s| s.load(Relaxed)) {
            world.pass(&mut got, &mut owed);
        }
        for notifier in notifiers {
            notifier.join().unwrap();
        }
        assert_eq!(world.wakes.load(SeqCst), owed);
    });
}

/// A notification and a push that meet in the word: neither wipes the other out.
#[test]
fn notification_during_a_push() {
    check(|| {
        let world = World::new();
        let (a, b) = (world.clone(), world.clone());
        let pusher = thread::spawn(move || assert_ne!(a.push(0), Push::Closed));
        let notifier = thread::spawn(move || b.say(0));
        let (mut got, mut owed, mut notified) = (Vec::new(), 0, false);
        while got.is_empty() || !notified {
            notified |= world.pass(&mut got, &mut owed);
        }
        assert!(world.said[0].load(Relaxed));
        pusher.join().unwrap();
        notifier.join().unwrap();
        assert_eq!(got, [0]);
        assert_eq!(world.wakes.load(SeqCst), owed);
    });
}

/// Every push is either refused or found; a notification that meets the closed word is found after
/// `reopen`.
#[test]
fn close_and_reopen() {
    check(|| {
        let world = World::new();
        let (a, b) = (world.clone(), world.clone());
        let pusher = thread::spawn(move || a.push(0));
        let notifier = thread::spawn(move || b.say(0));
        let (mut got, mut owed) = (Vec::new(), 0);
        world.drain(world.inbox.close(), &mut got);
        assert!(world.inbox.is_closed());
        world.inbox.reopen();
        while !world.said[0].load(Relaxed) {
            world.pass(&mut got, &mut owed);
        }
        let push = pusher.join().unwrap();
        notifier.join().unwrap();
        if world.inbox.has_any() {
            world.drain(world.inbox.take().entries.finish(), &mut got);
        }
        assert_eq!(got.len(), usize::from(push != Push::Closed));
        assert_eq!(world.wakes.load(SeqCst), owed);
    });
}

/// The owner got the message it lived for, and dies. Who pushed it is not through with waking yet.
#[test]
fn pins_hold_the_waker() {
    check(|| {
        let world = World::new();
        let foreign = world.clone();
        let pusher = thread::spawn(move || {
            foreign.inbox.pin();
            assert_ne!(foreign.push(0), Push::Closed);
            foreign.inbox.unpin();
        });
        let (mut got, mut owed) = (Vec::new(), 0);
        while got.is_empty() {
            world.pass(&mut got, &mut owed);
        }
        while world.inbox.pinned() {
            thread::yield_now();
        }
        assert!(world.inbox.close().is_empty());
        // SAFETY: loom fails the model if the pusher may look at the same time.
        world.waker_valid.with_mut(|valid| unsafe { *valid = false });
        pusher.join().unwrap();
        assert_eq!(world.wakes.load(SeqCst), owed);
    });
}

/// An inbox gets its next owner: who finds that one asleep wakes it, and not the one before.
#[test]
fn a_new_owner_is_woken_by_its_own_waker() {
    check(|| {
        let world = World::new();
        assert!(world.inbox.close().is_empty());
        // SAFETY: nobody else is here yet.
        world.waker_valid.with_mut(|valid| unsafe { *valid = false });
        let (a, b) = (world.clone(), world.clone());
        let pusher = thread::spawn(move || {
            a.inbox.pin();
            let push = a.push(0);
            a.inbox.unpin();
            push
        });
        let notifier = thread::spawn(move || b.say(0));
        // SAFETY: loom fails the model if the others look at the same time.
        world.waker_valid.with_mut(|valid| unsafe { *valid = true });
        world.inbox.reopen();
        let (mut got, mut owed, mut notified) = (Vec::new(), 0, false);
        while !notified {
            notified |= world.pass(&mut got, &mut owed);
        }
        let push = pusher.join().unwrap();
        notifier.join().unwrap();
        if world.inbox.has_any() {
            world.drain(world.inbox.take().entries.finish(), &mut got);
        }
        assert_eq!(got.len(), usize::from(push != Push::Closed));
        assert_eq!(world.wakes.load(SeqCst), owed);
    });
}

/// Who is refused sees what the owner did before it closed: a join that finds the other executor
/// gone reads the result of the task that exited there.
#[test]
fn a_refusal_shows_what_came_before_the_close() {
    loom::model(|| {
        let world = World::new();
        let joiner = thread::spawn({
            let world = world.clone();
            move || {
                if world.push(0) == Push::Closed {
                    // SAFETY: loom fails the model if the owner's write is not before this.
                    assert_eq!(world.nodes[1].payload.with(|p| unsafe { *p }), 7);
                }
            }
        });
        // SAFETY: the owner's until it closes.
        world.nodes[1].payload.with_mut(|p| unsafe { *p = 7 });
        let mut got = Vec::new();
        world.drain(world.inbox.close(), &mut got);
        joiner.join().unwrap();
    });
}

/// Who is not refused any more sees what the next owner did before it took pushes again.
#[test]
fn who_finds_it_open_again_sees_what_came_before() {
    check(|| {
        let world = World::new();
        assert!(world.inbox.close().is_empty());
        let pusher = thread::spawn({
            let world = world.clone();
            move || {
                let push = world.push(0);
                if push != Push::Closed {
                    // SAFETY: loom fails the model if the owner's write is not before this.
                    assert_eq!(world.nodes[1].payload.with(|p| unsafe { *p }), 7);
                }
                push
            }
        });
        // SAFETY: the owner's until it takes pushes.
        world.nodes[1].payload.with_mut(|p| unsafe { *p = 7 });
        world.inbox.reopen();
        let push = pusher.join().unwrap();
        let mut got = Vec::new();
        world.drain(world.inbox.take().entries.finish(), &mut got);
        assert_eq!(got.len(), usize::from(push != Push::Closed));
    });
}

/// A reference to the executor of an epoch keeps it, or finds it gone, also when the inbox has its
/// next owner: who gets through to the owner finds the one that was meant.
#[test]
fn a_reference_keeps_the_owner_of_its_epoch() {
    for turned in [false, true] {
        check(move || {
            let world = World::new();
            let epoch = Arc::new(AtomicU64::new(1));
            // SAFETY: nobody else is here yet. The payload stands for what the owner owns.
            world.nodes[1].payload.with_mut(|p| unsafe { *p = 1 });
            let user = {
                let (world, epoch) = (world.clone(), epoch.clone());
                move || {
                    if world.inbox.pin_open() && epoch.load(Acquire) == 1 {
                        // SAFETY: loom fails the model if the owner leaves at the same time.
                        assert_eq!(world.nodes[1].payload.with(|p| unsafe { *p }), 1);
                    }
                    world.inbox.unpin();
                }
            };
            let owner = move || {
                let mut got = Vec::new();
                world.drain(world.inbox.close(), &mut got);
                while world.inbox.pinned() {
                    thread::yield_now();
                }
                // SAFETY: loom fails the model if the user looks at the same time.
                world.nodes[1].payload.with_mut(|p| unsafe { *p = 2 });
                epoch.fetch_add(1, Release);
                world.inbox.reopen();
            };
            if turned {
                let user = thread::spawn(user);
                owner();
                user.join().unwrap();
            } else {
                let owner = thread::spawn(owner);
                user();
                owner.join().unwrap();
            }
        });
    }
}

/// Who is roused has nothing to take, and sees what it was roused for; who is awake is notified. (What
/// it is for is a cell, as loom shows no old value of an atomic to who has seen that and has yielded.)
#[test]
fn who_is_roused_sees_why() {
    check(|| {
        let world = World::new();
        let other = world.clone();
        let rouser = thread::spawn(move || {
            // SAFETY: loom fails the model if the owner may look at the same time.
            other.nodes[0].payload.with_mut(|p| unsafe { *p = 7 });
            other.rouse(0);
        });
        let (mut roused, mut notified) = (0, 0);
        while roused + notified == 0 {
            if world.inbox.has_any() {
                notified += usize::from(world.inbox.take().notified);
            } else if world.inbox.try_sleep() {
                world.waker.wait();
                roused += usize::from(!world.inbox.end_sleep() && !world.inbox.has_any());
            }
        }
        // SAFETY: as above.
        assert_eq!(world.nodes[0].payload.with(|p| unsafe { *p }), 7);
        rouser.join().unwrap();
        assert!(world.wakes.load(SeqCst) >= roused, "roused, and not woken");
    });
}

/// The owner says before each sleep where it sleeps. Who ends one reads what was said for that, or
/// for a later one: that one is over then.
#[test]
fn who_wakes_finds_where_the_owner_sleeps() {
    check(|| {
        let world = World::new();
        world.naps.store(true, SeqCst);
        let (a, b) = (world.clone(), world.clone());
        let rouser = thread::spawn(move || a.rouse(0));
        let other = thread::spawn(move || b.say(1));
        let mut on_word = true;
        while !world.said.iter().all(|said| said.load(Relaxed)) {
            if world.inbox.has_any() {
                assert!(world.inbox.take().notified);
            } else if on_word && world.inbox.try_sleep_on_word() {
                world.word.wait();
                world.inbox.end_sleep();
            } else if !on_word && world.inbox.try_sleep() {
                world.waker.wait();
                world.inbox.end_sleep();
            }
            on_word = !on_word;
        }
        rouser.join().unwrap();
        other.join().unwrap();
    });
}

/// Who takes the owner out of a list pins it under the list's lock, with no look whether it is there
/// still: the owner, awake for another reason, takes the lock before it leaves, and waits.
#[test]
fn a_pin_under_a_lock_keeps_the_owner() {
    check(|| {
        let world = World::new();
        let listed = Arc::new(loom::sync::Mutex::new(true));
        let (foreign, list) = (world.clone(), listed.clone());
        let rouser = thread::spawn(move || {
            let mut listed = list.lock().unwrap();
            if std::mem::take(&mut *listed) {
                foreign.inbox.pin();
                drop(listed);
                // SAFETY: loom fails the model if the owner leaves at the same time.
                assert_eq!(foreign.nodes[1].payload.with(|p| unsafe { *p }), 0);
                foreign.rouse(0);
                foreign.inbox.unpin();
            }
        });
        if world.inbox.try_sleep() {
            world.waker.wait();
            world.inbox.end_sleep();
        }
        *listed.lock().unwrap() = false;
        assert!(world.inbox.close().is_empty());
        while world.inbox.pinned() {
            thread::yield_now();
        }
        // SAFETY: loom fails the model if the rouser may look at the same time.
        world.nodes[1].payload.with_mut(|p| unsafe { *p = 1 });
        world.waker_valid.with_mut(|valid| unsafe { *valid = false });
        rouser.join().unwrap();
    });
}

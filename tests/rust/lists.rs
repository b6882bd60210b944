//! The lists against the plainest model of each: random operations, from fixed seeds. Also under
//! Miri, with fewer of them:
//!
//! ```text
//! MIRIFLAGS=-Zmiri-strict-provenance cargo +nightly miri test --test lists
//! ```
#![cfg(not(loom))]

#[path = "../support/rng.rs"]
mod rng;

use monad_async::intrusive::{Batch, Fifo, Link, MpscQueue, Push, TimerNode, TimerQueue};
use rng::Rng;
use std::collections::{BTreeMap, VecDeque};
use std::ptr::NonNull;

const ROUNDS: usize = if cfg!(miri) { 2 } else { 50 };
const STEPS: usize = if cfg!(miri) { 300 } else { 20_000 };

fn ptr<T>(x: &T) -> NonNull<T> {
    NonNull::from(x)
}

#[test]
fn fifo_agrees_with_a_deque() {
    for seed in 0..ROUNDS as u64 {
        let mut rng = Rng::new(seed, 0);
        let links: Vec<Link> = (0..1 + rng.below(40)).map(|_| Link::new()).collect();
        let fifo = Fifo::new();
        let mut model: VecDeque<NonNull<Link>> = VecDeque::new();
        let mut idle: Vec<NonNull<Link>> = links.iter().map(ptr).collect();
        for _ in 0..STEPS {
            match rng.below(6) {
                5 if !idle.is_empty() => {
                    let mut batch = None;
                    for _ in 0..=rng.below(3.min(idle.len() as u32)) {
                        let link = idle.swap_remove(rng.below(idle.len() as u32) as usize);
                        // SAFETY: as below.
                        batch = Some(unsafe { Batch::with(batch, link) });
                        model.push_back(link);
                    }
                    fifo.append_batch(batch.unwrap());
                }
                0 | 1 if !idle.is_empty() => {
                    let link = idle.swap_remove(rng.below(idle.len() as u32) as usize);
                    // SAFETY: an idle link; `links` outlives the list.
                    unsafe { fifo.push_back(link) };
                    model.push_back(link);
                }
                2 | 3 => {
                    let popped = fifo.pop_front();
                    assert_eq!(popped, model.pop_front());
                    idle.extend(popped);
                }
                _ if !model.is_empty() => {
                    let link = model.remove(rng.below(model.len() as u32) as usize).unwrap();
                    // SAFETY: the model says it is queued.
                    unsafe { fifo.remove(link) };
                    idle.push(link);
                }
                _ => {}
            }
            assert_eq!(fifo.is_empty(), model.is_empty());
            assert_eq!(fifo.front(), model.front().copied());
        }
        while let Some(link) = model.pop_front() {
            assert_eq!(fifo.pop_front(), Some(link));
        }
        assert_eq!(fifo.pop_front(), None);
    }
}

#[test]
fn timers_agree_with_a_map() {
    for seed in 0..ROUNDS as u64 {
        let mut rng = Rng::new(seed, 0);
        let nodes: Vec<TimerNode> = (0..1 + rng.below(200)).map(|_| TimerNode::new()).collect();
        let timers = TimerQueue::new();
        // By deadline, then by order of insertion.
        let mut model: BTreeMap<(u64, u64), NonNull<TimerNode>> = BTreeMap::new();
        let mut idle: Vec<NonNull<TimerNode>> = nodes.iter().map(ptr).collect();
        let mut now = 0u64;
        // Few distinct deadlines make many ties, one duration makes monotonic inserts, a coarse mix
        // of durations makes both.
        let style = rng.below(4);
        for step in 0..STEPS as u64 {
            match rng.below(6) {
                0..=2 if !idle.is_empty() => {
                    let node = idle.swap_remove(rng.below(idle.len() as u32) as usize);
                    let deadline = match style {
                        0 => now + rng.below(4) as u64,
                        1 => now + 1000,
                        2 => now + [10, 10, 10, 100, 1000, 10_000, 5][rng.below(7) as usize],
                        _ if rng.below(50) == 0 => u64::MAX,
                        _ => now.saturating_add(rng.next() >> (20 + rng.below(44))),
                    };
                    // SAFETY: an idle node; `nodes` outlives the timers.
                    unsafe {
                        node.as_ref().deadline_ns.set(deadline);
                        timers.insert(node);
                    }
                    model.insert((deadline, step), node);
                }
                3 if !model.is_empty() => {
                    let key = *model.keys().nth(rng.below(model.len() as u32) as usize).unwrap();
                    let node = model.remove(&key).unwrap();
                    // SAFETY: the model says it is inserted.
                    unsafe { timers.remove(node) };
                    idle.push(node);
                }
                4 => {
                    now = match model.first_key_value() {
                        Some((key, _)) if rng.below(2) == 0 => key.0.min(1 << 62),
                        _ => now + rng.below(20) as u64,
                    };
                    loop {
                        let due = model.first_key_value().filter(|(key, _)| key.0 <= now);
                        let key = due.map(|(key, _)| *key);
                        let node = timers.pop_expired(now);
                        assert_eq!(node, key.and_then(|key| model.remove(&key)));
                        let Some(node) = node else { break };
                        idle.push(node);
                    }
                }
                _ => {}
            }
            assert_eq!(timers.is_empty(), model.is_empty());
            assert_eq!(timers.first(), model.values().next().copied());
            assert_eq!(timers.next_deadline(), model.keys().next().map(|key| key.0));
        }
    }
}

/// Equal deadlines in two lanes and in the tree: the order of insertion decides.
#[test]
fn timers_break_ties_across_places() {
    // Each list leaves deadline 5 in places of its own: what was later made a lane refuse it, what
    // is removed made it take it again.
    let plans: [&[u64]; 3] = [&[5, 9, 5], &[9, 8, 7, 6, 5, 5], &[9, 8, 7, 6, 5, 9]];
    for plan in plans {
        let nodes: Vec<TimerNode> = (0..plan.len() + 3).map(|_| TimerNode::new()).collect();
        let timers = TimerQueue::new();
        let insert = |node: &TimerNode, deadline_ns| {
            node.deadline_ns.set(deadline_ns);
            // SAFETY: inserted once, outlives the timers.
            unsafe { timers.insert(ptr(node)) };
        };
        for (node, &deadline_ns) in nodes.iter().zip(plan) {
            insert(node, deadline_ns);
        }
        // One lane empties and takes deadline 5 after the others got theirs.
        // SAFETY: inserted above.
        unsafe { timers.remove(ptr(&nodes[0])) };
        for node in &nodes[plan.len()..] {
            insert(node, 5);
        }
        let fives: Vec<_> = (1..nodes.len()).filter(|&i| *plan.get(i).unwrap_or(&5) == 5).collect();
        for i in fives {
            assert_eq!(timers.pop_expired(5), Some(ptr(&nodes[i])), "{plan:?}");
        }
        assert_eq!(timers.pop_expired(5), None);
    }
}

/// An owner finds its object around the link it gets back: the lists keep the whole pointer they
/// were given, which is what Miri checks here.
#[test]
fn pointers_keep_their_provenance() {
    #[repr(C)]
    struct Object {
        before: std::cell::Cell<u64>,
        link: Link,
        timer: TimerNode,
    }
    let objects: Vec<Object> = (0..20)
        .map(|i| Object { before: i.into(), link: Link::new(), timer: TimerNode::new() })
        .collect();
    let base = NonNull::from(&*objects).cast::<Object>();
    let object = |i: usize| {
        // SAFETY: within `objects`.
        unsafe { base.add(i) }
    };
    let link = |i: usize| {
        // SAFETY: within the object.
        unsafe { object(i).byte_add(std::mem::offset_of!(Object, link)) }.cast::<Link>()
    };
    let timer = |i: usize| {
        // SAFETY: within the object.
        unsafe { object(i).byte_add(std::mem::offset_of!(Object, timer)) }.cast::<TimerNode>()
    };
    let number = |field: NonNull<u8>, offset: usize| {
        // SAFETY: `field` is at `offset` in an object.
        unsafe { field.byte_sub(offset).cast::<Object>().as_ref() }.before.get()
    };
    let of_link = |l: NonNull<Link>| number(l.cast(), std::mem::offset_of!(Object, link));
    let of_timer = |t: NonNull<TimerNode>| number(t.cast(), std::mem::offset_of!(Object, timer));

    let (fifo, inbox, timers) = (Fifo::new(), MpscQueue::new(), TimerQueue::new());
    // SAFETY (all): in one list at a time; `objects` outlives the lists.
    for (i, object) in objects.iter().enumerate() {
        // SAFETY: as above.
        assert_eq!(unsafe { inbox.push(link(i), i) }, Push::Queued);
        // Descending: the fifth and on go to the tree.
        object.timer.deadline_ns.set(100 - i as u64);
        // SAFETY: as above.
        unsafe { timers.insert(timer(i)) };
    }
    for (l, kind) in inbox.take().entries.finish() {
        assert_eq!(of_link(l), kind as u64);
        // SAFETY: as above.
        unsafe { fifo.push_back(l) };
    }
    // SAFETY: queued.
    unsafe { fifo.remove(link(7)) };
    for i in (0..20).filter(|&i| i != 7) {
        assert_eq!(fifo.pop_front().map(of_link), Some(i));
    }
    for i in (0..20).rev() {
        assert_eq!(timers.first().map(of_timer), Some(i));
        assert_eq!(timers.pop_expired(u64::MAX).map(of_timer), Some(i));
    }
}

#[test]
fn inbox_gives_back_in_order() {
    let links: Vec<Link> = (0..10).map(|_| Link::new()).collect();
    let inbox = MpscQueue::new();
    assert!(!inbox.has_any());
    for (i, link) in links.iter().enumerate() {
        // SAFETY: in no list, outlives the inbox.
        assert_eq!(unsafe { inbox.push(ptr(link), i * 3) }, Push::Queued);
        assert!(inbox.has_any());
    }
    let taken = inbox.take();
    assert!(!taken.notified);
    let want: Vec<_> = links.iter().enumerate().map(|(i, link)| (ptr(link), i * 3)).collect();
    assert_eq!(taken.entries.finish().collect::<Vec<_>>(), want);
    assert!(!inbox.has_any());
}

#[test]
fn inbox_handshake() {
    let (a, b) = (Link::new(), Link::new());
    let inbox = MpscQueue::new();
    // A push while asleep wakes, once.
    assert!(inbox.try_sleep());
    assert!(!inbox.has_any());
    // SAFETY: in no list, outlives the inbox; so below.
    unsafe {
        assert_eq!(inbox.push(ptr(&a), 7), Push::MustWake);
        assert_eq!(inbox.push(ptr(&b), 8), Push::Queued);
    }
    assert!(!inbox.end_sleep());
    assert!(!inbox.try_sleep());
    // A notification next to what is queued.
    assert!(!inbox.notify());
    let Some(taken) = inbox.has_any().then(|| inbox.take()) else { panic!() };
    assert!(taken.notified);
    assert_eq!(taken.entries.finish().collect::<Vec<_>>(), [(ptr(&a), 7), (ptr(&b), 8)]);
    // Alone, it is sticky, and a push keeps it.
    assert!(!inbox.notify());
    assert!(!inbox.try_sleep());
    // SAFETY: as above.
    assert_eq!(unsafe { inbox.push(ptr(&a), 0) }, Push::Queued);
    let taken = inbox.take();
    assert!(taken.notified);
    let mut mail = taken.entries.finish();
    assert_eq!(mail.pop(), Some((ptr(&a), 0)));
    assert!(mail.is_empty());
    // While asleep, it wakes once.
    assert!(inbox.try_sleep());
    assert!(inbox.notify());
    assert!(!inbox.notify());
    assert!(!inbox.end_sleep());
    assert!(inbox.take().notified);
    // A sleep nobody ended.
    assert!(inbox.try_sleep());
    assert!(inbox.end_sleep());
    assert!(!inbox.has_any());
}

#[test]
fn inbox_closes_and_reopens() {
    let (a, b) = (Link::new(), Link::new());
    let inbox = MpscQueue::new();
    // SAFETY: in no list, outlives the inbox; so below.
    unsafe {
        assert_eq!(inbox.push(ptr(&a), 1), Push::Queued);
        assert_eq!(inbox.close().collect::<Vec<_>>(), [(ptr(&a), 1)]);
        assert!(inbox.is_closed());
        assert_eq!(inbox.push(ptr(&b), 2), Push::Closed);
        // Kept over the closure.
        assert!(!inbox.notify());
        assert_eq!(inbox.push(ptr(&b), 2), Push::Closed);
        inbox.reopen();
        assert!(!inbox.is_closed());
        assert!(!inbox.try_sleep());
        assert_eq!(inbox.push(ptr(&b), 2), Push::Queued);
    }
    let taken = inbox.take();
    assert!(taken.notified);
    assert_eq!(taken.entries.finish().collect::<Vec<_>>(), [(ptr(&b), 2)]);
    // One from before it as well.
    assert!(!inbox.notify());
    assert!(inbox.close().is_empty());
    inbox.reopen();
    assert!(inbox.take().notified);
    inbox.pin();
    assert!(inbox.pinned());
    inbox.unpin();
    assert!(!inbox.pinned());
}

#[test]
fn inbox_under_real_threads() {
    const PUSHERS: usize = 3;
    const EACH: usize = if cfg!(miri) { 20 } else { 50_000 };
    let links: Vec<Box<[Link]>> =
        (0..PUSHERS).map(|_| (0..EACH).map(|_| Link::new()).collect()).collect();
    let inbox = MpscQueue::new();
    let (wake, sleep) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        for (pusher, links) in links.iter().enumerate() {
            let links = SendPtr(NonNull::from(&**links).cast());
            let (inbox, wake) = (&inbox, wake.clone());
            scope.spawn(move || {
                let links = links;
                for i in 0..EACH {
                    // SAFETY: one of EACH links in a row, pushed once, outlives the inbox.
                    if unsafe { inbox.push(links.0.add(i), i * PUSHERS + pusher) } == Push::MustWake
                    {
                        wake.send(()).unwrap();
                    }
                }
            });
        }
        let (mut got, mut wakes) = ([0; PUSHERS], 0);
        while got.iter().sum::<usize>() < PUSHERS * EACH {
            if inbox.has_any() {
                for (link, kind) in inbox.take().entries.finish() {
                    let (pusher, i) = (kind % PUSHERS, kind / PUSHERS);
                    assert_eq!(i, got[pusher], "out of order");
                    assert_eq!(link, ptr(&links[pusher][i]));
                    got[pusher] += 1;
                }
            } else if inbox.try_sleep() {
                sleep.recv().unwrap(); // hangs if a wake-up is lost
                wakes += 1;
                assert!(!inbox.end_sleep());
                assert!(inbox.has_any());
            }
        }
        assert!(sleep.try_recv().is_err(), "a wake-up nobody was owed, after {wakes}");
    });
}

/// A pointer handed to another thread.
struct SendPtr(NonNull<Link>);
// SAFETY: each link is used by one pusher, then by the owner, as the inbox orders them.
unsafe impl Send for SendPtr {}

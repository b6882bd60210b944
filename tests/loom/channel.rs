//! A channel whose two ends are used at the same time, under every interleaving that loom finds for a
//! few threads, at the weakest memory ordering that src/task/end.rs and src/task/latch.rs ask for:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom_channel
//! ```
//!
//! Shared with the channel: the ends, the latches and the word of a wait. Restated in world: the
//! rest of src/sync/channel.rs. A wake-up that is lost is a deadlock, which loom finds.
#![cfg(loom)]

mod world;

use loom::thread;
use std::sync::Arc;
use world::channel::World;
use world::check;

fn sends(world: &Arc<World>, elements: &'static [u64]) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || elements.iter().for_each(|&element| world.send(element)))
}

/// One sends and one receives: all of it, in order, whichever has to wait.
fn in_order(capacity: usize, elements: &'static [u64], receiver_is_main: bool) {
    check(2, move || {
        let world = World::new(capacity);
        let receives = move |world: &World| {
            for &element in elements {
                assert_eq!(world.receive(), element);
            }
        };
        if receiver_is_main {
            let sender = sends(&world, elements);
            receives(&world);
            sender.join().unwrap();
        } else {
            let receiver = {
                let world = world.clone();
                thread::spawn(move || receives(&world))
            };
            elements.iter().for_each(|&element| world.send(element));
            receiver.join().unwrap();
        }
        assert_eq!(world.count(), 0);
    });
}

#[test]
fn an_element_crosses() {
    in_order(1, &[1], true);
    in_order(1, &[1], false);
}

#[test]
fn a_sender_is_kept_waiting() {
    in_order(1, &[1, 2, 3], true);
    in_order(1, &[1, 2, 3], false);
}

#[test]
fn positions_start_again() {
    in_order(2, &[1, 2, 3, 4, 5], true);
}

/// Both ends pass from thread to thread: each element comes once.
#[test]
fn two_that_send_and_receive() {
    check(2, || {
        let world = World::new(2);
        let both = |world: &World, element| {
            world.send(element);
            world.receive()
        };
        let other = {
            let world = world.clone();
            thread::spawn(move || both(&world, 1))
        };
        let mine = both(&world, 2);
        assert_eq!(mine + other.join().unwrap(), 3);
        assert_eq!(world.count(), 0);
    });
}

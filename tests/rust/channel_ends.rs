//! A channel whose two ends threads use at once, while a third closes it: what only one of them may
//! write the others must not read. Miri, which looks for races, sees whether they do:
//!
//! ```text
//! MIRIFLAGS=-Zmiri-many-seeds=0..8 cargo +nightly miri test --test channel_ends
//! ```
#![cfg(not(loom))]

use monad_async::executor::grant::Caller;
use monad_async::sync::channel::{Channel, Direction};
use monad_async::sync::side::Shared;
use monad_async::uring::RealKernel;
use std::mem::MaybeUninit;
use std::thread;

const EACH: usize = if cfg!(miri) { 20 } else { 10_000 };
const CAPACITY: usize = 4;
/// As a time to wait until.
const NOT_AT_ALL: u64 = 0;
/// A caller that is no task.
const A_THREAD: usize = 1;

struct Ends(Channel<Shared>);
// SAFETY: any thread may use a channel.
unsafe impl Sync for Ends {}

impl Ends {
    /// What was moved, until it is closed.
    fn use_one(&self, direction: Direction) -> usize {
        let caller = Caller::<RealKernel>::of_parts(A_THREAD, None);
        let mut moved = 0;
        for _ in 0..EACH {
            let mut element = 1_usize;
            let at = (&raw mut element).cast();
            // SAFETY: it stays, and is as large as one of the channel's.
            match unsafe { self.0.transfer(&caller, direction, at, NOT_AT_ALL) }.error {
                0 => moved += element,
                libc::EPIPE => break,
                _ => thread::yield_now(),
            }
        }
        moved
    }
}

#[test]
fn both_ends_are_used_while_it_is_closed() {
    let mut places = [0_usize; CAPACITY];
    // SAFETY: zeros are one that is not set up.
    let ends = Ends(unsafe { MaybeUninit::zeroed().assume_init() });
    ends.0.set_up(places.as_mut_ptr().cast(), CAPACITY, size_of::<usize>()).unwrap();
    let ends = &ends;
    let (sent, received) = thread::scope(|scope| {
        let [sent, received] = [Direction::Send, Direction::Receive]
            .map(|direction| scope.spawn(move || ends.use_one(direction)));
        thread::yield_now();
        assert!(ends.0.close::<RealKernel>(None).unwrap());
        (sent.join().unwrap(), received.join().unwrap())
    });
    assert!(received <= sent && sent <= received + CAPACITY, "{sent} sent, {received} received");
}

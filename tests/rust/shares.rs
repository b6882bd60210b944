//! Fairness on request: what a share guarantees among tasks that are always ready, next to strict
//! priority, with and without time tracking.

#[path = "../support/mod.rs"]
mod support;

use monad_async::error::{Errno, RawResult};
use monad_async::uring::RingOptions;
use std::cell::RefCell;
use std::rc::Rc;
use support::*;

const ITEMS: usize = 3000;

/// Tasks of each level that yield for ever: which level each item was of, by an executor with these
/// shares.
fn levels_of_items(share: [u32; 3], track: bool) -> Vec<usize> {
    let kernel = Real::new(&RingOptions { entries: 8, ..RingOptions::default() });
    let kernel = kernel.unwrap_or_else(|e| panic!("{}", e.text));
    let ex = monad_async::api::Handle::new(kernel, track).unwrap();
    ex.executor().set_shares(share).unwrap();
    let items = Rc::new(RefCell::new(Vec::new()));
    let tasks: Vec<_> = (0..6).map(|_| new_task()).collect();
    for (n, &task) in tasks.iter().enumerate() {
        let items = items.clone();
        task.head.cpu.set((n % 3) as u8);
        set_body(task, move |t| {
            while items.borrow().len() < ITEMS {
                items.borrow_mut().push(n % 3);
                assert_eq!(monad_async::api::Handle::<Real>::sleep(t, 0), RawResult::success(0));
            }
            RawResult::success(0)
        });
        ex.attach(task).unwrap();
    }
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    destroy(ex, tasks);
    let items = items.take();
    items[..ITEMS].to_vec()
}

#[test]
fn a_level_gets_its_share_and_the_rest_is_strict() {
    for track in [true, false] {
        for share in [[0, 4, 10], [2, 3, 6], [0, 0, 2], [0, 2, 2], [0, 0, 100]] {
            let items = levels_of_items(share, track);
            for (level, &every) in share.iter().enumerate().filter(|(_, &n)| n != 0) {
                let late = if share.contains(&0) { 0 } else { 2 };
                for (at, window) in items.windows(every as usize + late).enumerate() {
                    assert!(window.contains(&level), "{share:?}: level {level} not from {at} on");
                }
            }
            // What no share takes is the highest level's: it has some items of each round.
            // A level is served an item early where two have a share.
            let shares = share.iter().filter(|&&n| n != 0);
            let early = shares.clone().count() as f64 - 1.0;
            let most = shares.map(|&n| 1.0 / (f64::from(n) - early)).sum::<f64>();
            let highest = items.iter().filter(|&&level| level == 0).count() as f64;
            let of_all = highest / items.len() as f64;
            assert!(share[0] != 0 || of_all > 0.98 * (1.0 - most) - 0.01, "{share:?}: {of_all}");
        }
        let strict = levels_of_items([0; 3], track);
        assert!(strict.iter().all(|&level| level == 0));
    }
}

#[test]
fn shares_of_more_than_all_are_refused() {
    let ex = executor(8);
    assert_eq!(ex.executor().set_shares([2, 2, 3]), Err(Errno(libc::EINVAL)));
    ex.destroy().unwrap();
}

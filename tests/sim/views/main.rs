//! Receiving by view against a simulated kernel: random programs of several tasks that receive by
//! streams and by operations into buffers that they share, keep their views, hand them to each
//! other, and give them back late, with deadlines, cancels and closes in between.
//!
//! `VIEWS_SEED` plays one program; `VIEWS_COUNT` says how many.

mod kernel;
mod play;
#[path = "../../support/mod.rs"]
mod support;

use play::{play, Broken};
use support::rng::{number, replay, CpuLimit};

fn default_count() -> u64 {
    match (cfg!(debug_assertions), std::env::var_os("MONAD_ASYNC_LONG").is_some()) {
        (true, false) => 5_000,
        (false, false) => 25_000,
        (_, true) => 1_000_000,
    }
}

#[test]
fn each_byte_comes_once_and_each_buffer_back() {
    let mut limit = CpuLimit::new("VIEWS_CPU_S");
    let one = number("VIEWS_SEED");
    let count = number("VIEWS_COUNT").unwrap_or_else(default_count);
    let begun = std::time::Instant::now();
    let (mut views, mut deadlocks, mut lost) = (0, 0, [0; 2]);
    for seed in one.map_or(1..count + 1, |seed| seed..seed + 1) {
        limit.next();
        match play(seed) {
            Ok(played) => {
                views += played.views;
                deadlocks += played.deadlocks;
                lost = [lost[0] + played.lost[0], lost[1] + played.lost[1]];
            }
            Err(Broken(text)) => {
                panic!("{text}\n{}", replay(&format!("VIEWS_SEED={seed}"), "views_sim --"))
            }
        }
    }
    assert!(one.is_some() || views > count, "the programs receive next to nothing");
    assert!(one.is_some() || count < 1000 || deadlocks > 0, "nobody ever waits in vain");
    assert!(one.is_some() || count < 1000 || !lost.contains(&0), "no end is lost: {lost:?}");
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    println!("measured: {count} programs, {views} views, {lost:?} ends lost, {rate:.0} a second");
}

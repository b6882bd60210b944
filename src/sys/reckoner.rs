//! The boot-time clock, reckoned from the tick counter for some microseconds after it was read: a
//! read of the counter costs less than half of one of the clock.
//!
//! What is reckoned is never earlier than the clock, so that a deadline that counts from it is
//! never early; and at most 2 us later, or 17 us if an interrupt came between the reads of rule 1:
//!
//! 1. The counter is read before the clock, so it has counted no less since than the clock.
//! 2. A tick is taken to last an eighth longer than it does. The rate is right to a thousandth
//!    (`ticks`), and an adjustment of the clock makes it go a tenth faster at most (`adjtimex`).
//! 3. Only where the kernel's own clock source is this counter: where the processors' counters
//!    differ, it is not.
//! 4. For 15 us at most. A counter goes on while the system is suspended, or begins anew: either
//!    looks like more than that, and the clock is read.
//! 5. The counter may be read some nanoseconds ahead of its place in the program: `AHEAD_NS`.
//! 6. How much has passed since a moment is wanted for what is left of a time-out, which may be
//!    2 us more: of a moment that is no longer ago, nothing has.

use core::cell::Cell;

use super::{clock, host};
use crate::ticks;

/// A part of a second.
const FOR: u64 = 1 << 16;
/// The same, of rule 6.
const BRIEF: u64 = 1 << 19;
const AHEAD_NS: u64 = 64;

pub struct Reckoner {
    /// At the last read of the clock: the counter before it, and the clock and `AHEAD_NS`.
    ticks: Cell<u64>,
    boot_ns: Cell<u64>,
    /// Ticks for which it holds; 0: always read the clock, or the rate is not known yet.
    within: Cell<u64>,
    /// Ticks by rule 6; 0 as above.
    brief: Cell<u64>,
    /// Nanoseconds a tick by rule 2, times 2^32.
    ns_each: Cell<u64>,
    /// By rule 3.
    may: bool,
}

impl Reckoner {
    /// EXPENSIVE.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let [ticks, boot_ns, within, brief, ns_each] = [const { Cell::new(0) }; 5];
        Self { ticks, boot_ns, within, brief, ns_each, may: host::clock_is_counter() }
    }

    /// Rule 3.
    pub fn is_counter(&self) -> bool {
        self.may
    }

    /// Reads the clock.
    #[inline]
    pub fn now_boot_ns(&self) -> u64 {
        if self.within.get() == 0 && self.may {
            self.learn();
        }
        self.ticks.set(ticks::now());
        let now_ns = clock::boot_ns();
        self.boot_ns.set(now_ns + AHEAD_NS);
        now_ns
    }

    /// Not before the clock, and at most 17 us behind it.
    #[inline]
    pub fn now_or_later_boot_ns(&self) -> u64 {
        self.boot_ns_at(ticks::now())
    }

    /// The same, for who has just read the counter.
    #[inline]
    pub fn boot_ns_at(&self, now: u64) -> u64 {
        let passed = now.wrapping_sub(self.ticks.get());
        if passed >= self.within.get() {
            return self.now_boot_ns();
        }
        // A tick more, as the counter may have been about to count.
        self.boot_ns.get() + (((passed + 1) * self.ns_each.get()) >> 32)
    }

    /// A moment, for `since`: the counter, or the clock where rule 3 says so, as a thread that has
    /// gone to another processor would find the counter of that before this one's.
    #[inline(always)]
    pub fn stamp(&self) -> u64 {
        if self.may {
            ticks::now()
        } else {
            clock::boot_ns()
        }
    }

    /// The same, to `at`, as the last thing that the caller does.
    #[inline(always)]
    pub fn stamp_to(&self, at: &Cell<u64>) {
        if self.may {
            at.set(ticks::now());
        } else {
            boot_ns_to(at);
        }
    }

    /// How many nanoseconds have passed since a `stamp`, right to a thousandth, or none by rule 6;
    /// and `now_or_later_boot_ns`. Of a counter that has begun anew since, 0.
    #[inline(always)]
    pub fn since(&self, stamp: u64) -> (u64, u64) {
        self.since_at(stamp, if self.may { ticks::now() } else { 0 })
    }

    /// The same, for who has just read the counter.
    #[inline(always)]
    pub fn since_at(&self, stamp: u64, now: u64) -> (u64, u64) {
        if now.wrapping_sub(stamp) < self.brief.get() {
            return (0, self.boot_ns_at(now));
        }
        self.since_long_at(stamp, now)
    }

    #[cold]
    #[inline(never)]
    fn since_long_at(&self, stamp: u64, now: u64) -> (u64, u64) {
        if !self.may {
            let now_ns = self.now_boot_ns();
            return (now_ns.saturating_sub(stamp), now_ns);
        }
        (ticks::to_ns(now.saturating_sub(stamp)), self.boot_ns_at(now))
    }

    #[cold]
    fn learn(&self) {
        if let Some(hz) = ticks::known_per_second() {
            self.ns_each.set(((clock::NS_PER_S * 9 / 8) << 32) / hz);
            self.within.set(hz / FOR);
            self.brief.set(hz / BRIEF);
        }
    }
}

#[cold]
#[inline(never)]
fn boot_ns_to(at: &Cell<u64>) {
    at.set(clock::boot_ns());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reckoner() -> Reckoner {
        ticks::per_second();
        let it = Reckoner { may: true, ..Reckoner::new() };
        it.now_boot_ns();
        assert!(it.within.get() != 0);
        it
    }

    #[test]
    fn what_is_reckoned_is_not_early_and_not_late() {
        if !host::clock_is_counter() {
            return;
        }
        let it = reckoner();
        let mut reckoned = 0;
        for _ in 0..300_000 {
            let read_at = it.ticks.get();
            let before = clock::boot_ns();
            let now = it.now_or_later_boot_ns();
            let after = clock::boot_ns();
            assert!(now >= before, "{} ns early", before - now);
            assert!(now <= after + 17_300, "{} ns late", now - after);
            reckoned += u32::from(it.ticks.get() == read_at);
        }
        assert!(reckoned > 100_000, "{reckoned}");
    }

    /// As after a suspension: the counter has begun anew, or has gone on.
    #[test]
    fn a_counter_that_is_elsewhere_is_not_believed() {
        let it = reckoner();
        for moved in [1_u64 << 40, 1_u64.wrapping_neg() << 40] {
            it.ticks.set(it.ticks.get().wrapping_add(moved));
            it.boot_ns.set(5);
            let before = clock::boot_ns();
            assert!(it.now_or_later_boot_ns() >= before);
        }
    }

    /// Rule 6. No more than has passed, and of what is not a moment ago not much less.
    #[test]
    fn what_has_passed_is_that_and_no_more() {
        let it = Reckoner { may: true, ..reckoner() };
        let ticks_in = |ns: u64| (ns as u128 * ticks::per_second() as u128 / 1_000_000_000) as u64;
        let since = |ns| it.since_at(1 << 50, (1 << 50) + ticks_in(ns)).0;
        for ns in [0, 100, 1900] {
            assert_eq!(since(ns), 0);
        }
        for ns in [2000, 20_000, 1_000_000, 900_000_000] {
            assert!((ns - 2..=ns).contains(&since(ns)), "{} of {ns}", since(ns));
        }
    }

    /// On a processor whose counter is behind, or after a suspension: no deadline is over for that.
    #[test]
    fn a_moment_to_come_is_no_time_ago() {
        for may in [false, true] {
            let it = Reckoner { may, ..reckoner() };
            let (passed_ns, now_ns) = it.since(it.stamp() + (1 << 40));
            assert_eq!(passed_ns, 0);
            assert!(now_ns <= clock::boot_ns() + 17_300);
        }
    }

    /// The counter is not the clock's: another processor's may be anywhere.
    #[test]
    fn where_counters_differ_none_is_compared() {
        let it = Reckoner { may: false, ..reckoner() };
        let before = clock::boot_ns();
        let stamp = it.stamp();
        assert!((before..=clock::boot_ns()).contains(&stamp));
        let at = Cell::new(0);
        it.stamp_to(&at);
        assert!((stamp..=clock::boot_ns()).contains(&at.get()));
        let (passed_ns, now_ns) = it.since(stamp - 1_000_000);
        assert!(now_ns >= stamp && passed_ns == now_ns - (stamp - 1_000_000));
    }

    #[test]
    fn without_a_rate_the_clock_is_read() {
        let it = Reckoner { may: false, ..Reckoner::new() };
        for _ in 0..10 {
            let before = clock::boot_ns();
            let now = it.now_or_later_boot_ns();
            assert!((before..=clock::boot_ns()).contains(&now));
        }
    }
}

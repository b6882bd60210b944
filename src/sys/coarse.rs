//! Moments by the kernel's coarse clock, which is as late as its tick, but is read in a third of
//! the time of the tick counter: for those of which nothing is asked, mostly.
//!
//! Whoever notes one is a task, and what is asked later is how much time has passed since, by a
//! bound from below: a time-out that counts from now, less that, is never early.
//!
//! 1. A task that was resumed a moment ago has noted it since: nothing is taken off. What a
//!    time-out is late by is what the task has computed since the note, `SLACK` ticks of the
//!    kernel's at most.
//! 2. Of one that has computed for longer, what the coarse clock has counted since is taken off,
//!    except for `SLACK` ticks. So it is late by that and a tick at most.
//! 3. The clock may have been late when it was noted. A tick is late by itself; where the virtual
//!    processor that counts is taken away, by four ticks in ten seconds with builds running; and by
//!    five before Linux (5.18) has another one count. Hence eight.
//! 4. If it was later than that, as the whole machine stood still, no more is taken off than has
//!    passed since the task was resumed. So what was computed between that and the note is the most
//!    that a time-out can be early by.
//! 5. Both clocks may stand still while the system is suspended: less is taken off.
//! 6. Only where the counter is the clock (`reckoner`, rule 3), as a stamp of the resumption is
//!    compared with one of now. And only by the vDSO: the library makes no system call for a time.

use core::cell::Cell;

use super::{clock, vdso};
use crate::ticks;

/// A moment that was noted, by this clock or, in its first word, by another.
pub type Moment = [Cell<u64>; 2];

const _: () = assert!(size_of::<Moment>() == size_of::<libc::timespec>());
const _: () = assert!(align_of::<Moment>() == align_of::<libc::timespec>());

/// Ticks of the kernel's that are no matter.
const SLACK: u64 = 8;
/// For time-outs of as many and more, of which those are a thirtieth, and of a second at least.
const FROM: u64 = 250;
const FROM_NS: u64 = clock::NS_PER_S;

pub struct Coarse {
    read: vdso::ClockGettime,
    from_ns: u64,
    slack_ns: u64,
    /// In ticks of the counter; 0: not known yet.
    slack_ticks: Cell<u64>,
}

impl Coarse {
    /// `may`: rule 6.
    pub fn new(may: bool) -> Self {
        let tick_ns = clock::coarse_tick_ns();
        match vdso::clock_gettime() {
            Some(read) if may && tick_ns != 0 => Self::by(read, tick_ns),
            _ => Self { from_ns: u64::MAX, ..Self::by(none, 0) },
        }
    }

    fn by(read: vdso::ClockGettime, tick_ns: u64) -> Self {
        let from_ns = FROM_NS.max(tick_ns * FROM);
        Self { read, from_ns, slack_ns: tick_ns * SLACK, slack_ticks: Cell::new(0) }
    }

    /// The shortest time-out that it is good enough for; `u64::MAX`: it is not there.
    pub fn from_ns(&self) -> u64 {
        self.from_ns
    }

    #[inline(always)]
    pub fn note(&self, moment: &Moment) {
        let at = moment.as_ptr().cast_mut().cast();
        // SAFETY: as many bytes, for any content; the clock exists since Linux 2.6.32.
        unsafe { (self.read)(libc::CLOCK_MONOTONIC_COARSE, at) };
    }

    /// Nanoseconds that have passed since the `moment` noted by a task that was `resumed`, or
    /// some less; `now` and `resumed` by the counter.
    #[inline(always)]
    pub fn passed_ns(&self, moment: &Moment, resumed: u64, now: u64) -> u64 {
        // A counter that has begun anew is behind: rule 5.
        let computed = now.saturating_sub(resumed);
        if computed < self.slack_ticks.get() {
            return 0;
        }
        self.passed_long_ns(moment, computed)
    }

    #[cold]
    #[inline(never)]
    fn passed_long_ns(&self, moment: &Moment, computed: u64) -> u64 {
        let slack_ticks = ticks::per_second() as u128 * self.slack_ns as u128;
        self.slack_ticks.set((slack_ticks / clock::NS_PER_S as u128) as u64);
        let computed_ns = ticks::to_ns(computed);
        if computed_ns < self.slack_ns {
            return 0;
        }
        let now = Moment::default();
        self.note(&now);
        let counted_ns = ns(&now).saturating_sub(ns(moment));
        counted_ns.saturating_sub(self.slack_ns).min(computed_ns)
    }
}

fn ns([seconds, ns]: &Moment) -> u64 {
    seconds.get() * clock::NS_PER_S + ns.get()
}

/// Where there is no clock: it is never asked.
unsafe extern "C" fn none(_: libc::clockid_t, _: *mut libc::timespec) -> core::ffi::c_int {
    -libc::ENOSYS
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK_NS: u64 = 4_000_000;
    const SLACK_NS: u64 = TICK_NS * SLACK;

    thread_local! {
        static NOW_NS: Cell<u64> = const { Cell::new(0) };
    }

    unsafe extern "C" fn at_will(_: libc::clockid_t, to: *mut libc::timespec) -> core::ffi::c_int {
        let now_ns = NOW_NS.get();
        let (tv_sec, tv_nsec) = (now_ns / clock::NS_PER_S, now_ns % clock::NS_PER_S);
        // SAFETY: the caller's.
        unsafe { to.write(libc::timespec { tv_sec: tv_sec as _, tv_nsec: tv_nsec as _ }) };
        0
    }

    /// What is said to have passed since a note, of a task resumed `computed_ns` ago; the clock has
    /// counted so much since.
    fn passed_ns(counted_ns: u64, computed_ns: u64) -> u64 {
        let it = Coarse::by(at_will, TICK_NS);
        let moment = Moment::default();
        NOW_NS.set(7_999_999_999);
        it.note(&moment);
        NOW_NS.set(NOW_NS.get() + counted_ns);
        let ticks_in = |ns: u64| (ns as u128 * ticks::per_second() as u128 / 1_000_000_000) as u64;
        let resumed = 1 << 50;
        let now = resumed + ticks_in(computed_ns);
        let first = it.passed_ns(&moment, resumed, now);
        // From the second time on without the clock where it may be.
        assert_eq!(it.passed_ns(&moment, resumed, now), first);
        first
    }

    /// Rule 1, and rule 4: a moment ago is no time ago, whatever the clock counts.
    #[test]
    fn of_who_was_resumed_a_moment_ago_nothing_has_passed() {
        for counted_ns in [0, TICK_NS, 60 * clock::NS_PER_S] {
            for computed_ns in [0, 1000, SLACK_NS - 1000] {
                assert_eq!(passed_ns(counted_ns, computed_ns), 0);
            }
        }
    }

    /// Rules 2 and 3. The time since the note, and by how much the clock was late then and is now.
    #[test]
    fn no_more_is_said_than_has_passed_nor_much_less() {
        for since_ns in [0, 1, 30, 33, 40, 100, 900, 5000].map(|ms| ms * 1_000_000) {
            for late_then_ns in [0, TICK_NS, 4 * TICK_NS, SLACK_NS] {
                for late_now_ns in [0, TICK_NS] {
                    let counted_ns = (since_ns + late_then_ns).saturating_sub(late_now_ns);
                    let said_ns = passed_ns(counted_ns, since_ns + 20 * clock::NS_PER_S);
                    assert!(said_ns <= since_ns, "{said_ns} of {since_ns}");
                    assert!(said_ns + SLACK_NS + TICK_NS >= since_ns, "{said_ns} of {since_ns}");
                }
            }
        }
    }

    /// Rule 4.
    #[test]
    fn no_more_is_said_than_has_passed_since_the_resumption() {
        let computed_ns = 50_000_000;
        assert!(passed_ns(3600 * clock::NS_PER_S, computed_ns) <= computed_ns);
    }

    /// Rule 5.
    #[test]
    fn a_counter_that_has_begun_anew_says_nothing() {
        let it = Coarse::by(at_will, TICK_NS);
        let moment = Moment::default();
        NOW_NS.set(60 * clock::NS_PER_S);
        assert_eq!(it.passed_ns(&moment, 1 << 50, 5), 0);
    }

    #[test]
    fn for_what_it_is_good_enough() {
        let from_ns = |tick_ns| Coarse::by(at_will, tick_ns).from_ns();
        assert_eq!([1_000_000, 4_000_000].map(from_ns), [clock::NS_PER_S; 2]);
        assert_eq!(from_ns(10_000_000), 2_500_000_000);
        let none = Coarse::new(false).from_ns();
        assert_eq!(none, u64::MAX, "not where the counter is not the clock");
    }

    #[cfg(not(miri))]
    #[test]
    fn it_is_the_kernels_and_not_ahead() {
        let it = Coarse::new(true);
        if it.from_ns() == u64::MAX {
            return println!("skipped: coarse: no vDSO here");
        }
        let (before, after) = (Moment::default(), Moment::default());
        let mut exact = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        it.note(&before);
        for _ in 0..1000 {
            // SAFETY: fills in a timespec of our own.
            unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut exact) };
            it.note(&after);
            let exact_ns = exact.tv_sec as u64 * clock::NS_PER_S + exact.tv_nsec as u64;
            assert!(ns(&before) <= exact_ns && ns(&before) <= ns(&after));
        }
    }
}

//! What an executor counts for others to read: words of which the owner's thread is the only
//! writer, by a load and a store, and which any thread may load. Histograms are log-linear (the
//! layout of HdrHistogram): 16 buckets between a power of two and the next, so a value is told to
//! a sixteenth.

use core::mem::size_of;

use crate::atomic::{AtomicU64, Ordering::Relaxed};
use crate::task::header::PRIORITIES;

/// Buckets of an octave.
const LINEAR_BITS: u32 = 4;
const LINEAR: u64 = 1 << LINEAR_BITS;
/// Longer than this is the last bucket's: 2^47 ticks, some hours.
const BITS_MAX: u32 = 47;
pub const BUCKETS: usize = ((BITS_MAX - LINEAR_BITS) as u64 * LINEAR + 2 * LINEAR) as usize;
const OPCODES: usize = 64;

#[repr(transparent)]
pub struct Count(AtomicU64);

impl Count {
    #[inline(always)]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }
}

/// `monad_async_histogram`: metrics.h
#[repr(C)]
pub struct Histogram {
    pub sum_ticks: Count,
    pub max_ticks: Count,
    pub buckets: [Count; BUCKETS],
}

/// Which bucket counts a value.
#[inline(always)]
pub fn bucket(ticks: u64) -> usize {
    let ticks = ticks.min((1 << (BITS_MAX + 1)) - 1);
    if ticks < 2 * LINEAR {
        return ticks as usize;
    }
    let shift = ticks.ilog2() - LINEAR_BITS;
    (u64::from(shift) * LINEAR + (ticks >> shift)) as usize
}

/// The first value above a bucket.
pub fn bound(bucket: usize) -> u64 {
    let bucket = bucket as u64 + 1;
    if bucket <= 2 * LINEAR {
        return bucket;
    }
    let shift = bucket / LINEAR - 1;
    (bucket - shift * LINEAR) << shift
}

impl Histogram {
    #[inline(always)]
    pub fn record(&self, ticks: u64) {
        self.buckets[bucket(ticks)].add(1);
        self.sum_ticks.add(ticks);
        if ticks > self.max_ticks.0.load(Relaxed) {
            self.max_ticks.set(ticks);
        }
    }
}

/// `struct monad_async_metrics`: words throughout; metrics.h has the same in the same order.
#[repr(C)]
pub struct Meter {
    pub launches: Count,
    pub sleeps: Count,
    pub wakeups: Count,
    pub enters: Count,
    pub tasks_pending_launch: Count,
    pub tasks_running: Count,
    pub tasks_suspended: Count,
    pub ticks_in_run: Count,
    pub ticks_in_task_launch: Count,
    pub ticks_in_io_uring: Count,
    pub ticks_sleeping: Count,
    pub ticks_in_task_completion: Count,
    pub io_submitted: Count,
    pub io_completed: Count,
    pub stacks_in_use: Count,
    pub ticks_per_second: Count,
    pub operations: [Count; OPCODES],
    pub ready: [Histogram; PRIORITIES],
}

pub const WORDS: usize = size_of::<Meter>() / 8;

const _: () = assert!(BUCKETS == 720 && WORDS == 16 + 64 + 3 * 722);

impl Meter {
    /// Zeros are one.
    pub fn words(&self) -> &[AtomicU64; WORDS] {
        // SAFETY: `Count`s throughout, which are such words.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    pub fn operation(&self, opcode: u8) {
        self.operations[opcode as usize % OPCODES].add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_in_the_bucket_below_whose_bound_it_is() {
        let mut values: Vec<u64> = (0..2000).collect();
        values.extend(
            (0..48).flat_map(|bit| [-1i64, 0, 1].map(|d| ((1u64 << bit) as i64 + d) as u64)),
        );
        for value in values {
            let at = bucket(value);
            assert!(value < bound(at), "{value} in {at}");
            assert!(at == 0 || value >= bound(at - 1), "{value} in {at}");
            // To a sixteenth.
            let low = if at == 0 { 0 } else { bound(at - 1) };
            assert!((bound(at) - low - 1) * LINEAR <= value.max(LINEAR), "{value}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(bound(BUCKETS - 1), 1 << (BITS_MAX + 1));
    }
}

//! Two pieces of work, timed in turns. On a machine with other things to do a figure alone says
//! little; a ratio of two, taken a fraction of a millisecond apart, says something, and the median
//! of many of them a lot.

use std::time::Instant;

/// What one round of some work took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub wall_ns: f64,
    /// Of the calling thread, in user and kernel mode.
    pub cpu_ns: f64,
    pub ops: usize,
}

/// Work that can be done in rounds of some 100 us to a few ms.
pub trait Work {
    fn round(&mut self) -> Sample;
}

impl<F: FnMut() -> Sample> Work for F {
    fn round(&mut self) -> Sample {
        self()
    }
}

pub struct Meter {
    wall: Instant,
    cpu_ns: u64,
}

impl Meter {
    #[inline(always)]
    pub fn start() -> Self {
        let cpu_ns = thread_cpu_ns();
        Self { wall: Instant::now(), cpu_ns }
    }

    #[inline(always)]
    pub fn stop(self, ops: usize) -> Sample {
        let wall_ns = self.wall.elapsed().as_nanos() as f64;
        Sample { wall_ns, cpu_ns: (thread_cpu_ns() - self.cpu_ns) as f64, ops }
    }
}

pub fn thread_cpu_ns() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills in a timespec of our own.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// How long the calling thread has been ready to run while its processor ran something else.
/// 0 where the kernel does not count it.
pub fn waited_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Which of a sample's times counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    Wall,
    Cpu,
}

impl By {
    pub fn per_op(self, s: Sample) -> f64 {
        let ns = if self == By::Wall { s.wall_ns } else { s.cpu_ns };
        ns / s.ops as f64
    }
}

/// The value below which the fraction `q` of `v` lies.
pub fn quantile(v: &mut [f64], q: f64) -> f64 {
    if v.is_empty() {
        return f64::NAN;
    }
    let at = ((v.len() - 1) as f64 * q).round() as usize;
    *v.select_nth_unstable_by(at, f64::total_cmp).1
}

/// Per-round figures of two kinds of work, pair by pair.
#[derive(Default)]
pub struct Pairs {
    own: Vec<f64>,
    raw: Vec<f64>,
    ratio: Vec<f64>,
}

impl Pairs {
    pub fn is_empty(&self) -> bool {
        self.ratio.is_empty()
    }

    pub fn add(&mut self, own: f64, raw: f64) {
        self.own.push(own);
        self.raw.push(raw);
        self.ratio.push(own / raw);
    }

    pub fn outcome(&self) -> Outcome {
        let q = |v: &Vec<f64>, q| quantile(&mut v.clone(), q);
        Outcome {
            own_ns: q(&self.own, 0.5),
            raw_ns: q(&self.raw, 0.5),
            ratio: q(&self.ratio, 0.5),
            low: q(&self.ratio, 0.1),
            high: q(&self.ratio, 0.9),
        }
    }
}

/// Medians of all rounds; of the ratios also the 10th and 90th percentile.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub own_ns: f64,
    pub raw_ns: f64,
    pub ratio: f64,
    pub low: f64,
    pub high: f64,
}

/// What `ratio` is worth against `target`.
pub fn verdict(ratio: f64, target: Option<f64>) -> &'static str {
    match target {
        None => "no target",
        Some(t) if ratio <= t => "met",
        Some(_) => "missed",
    }
}

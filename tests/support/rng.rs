//! The source of all chance in a test. One number in, one program out, for ever.
#![allow(dead_code)] // Each test program uses its part.

/// splitmix64: small, fast, and any seed is as good as any other.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    /// Streams of one seed are independent: what one of them is asked does not shift the others.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self(seed ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03));
        rng.next();
        rng
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0..n
    pub fn below(&mut self, n: u32) -> u32 {
        (((self.next() >> 32) * u64::from(n)) >> 32) as u32
    }

    pub fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }
}

/// What a failure ends with: the command that plays its program alone, built as it was here.
pub fn replay(settings: &str, test: &str) -> String {
    let profile = if cfg!(debug_assertions) { "" } else { " --release" };
    format!("replay:\n  {settings} cargo test{profile} --test {test} --nocapture")
}

/// What the environment says of how many, or which, to play.
pub fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// A bug may keep a program from ending: so many seconds of the processor, if the environment says.
pub fn limit_cpu(name: &str) {
    if let Some(seconds) = number(name) {
        limit_cpu_s(seconds);
    }
}

/// What runs in circles without a moment in it ends by SIGXCPU.
pub fn limit_cpu_s(seconds: u64) {
    limit_cpu_to(seconds, seconds);
}

fn limit_cpu_to(now_s: u64, all_s: u64) {
    let limit = libc::rlimit { rlim_cur: now_s.min(all_s), rlim_max: all_s };
    // SAFETY: reads a struct of our own.
    unsafe { libc::setrlimit(libc::RLIMIT_CPU, &limit) };
}

/// As `limit_cpu`, and of these seconds a single program may have `ONE_S`: one that does not end is
/// noticed then, and not when the time of thousands is over.
pub struct CpuLimit {
    all_s: Option<u64>,
    until_s: u64,
}

impl CpuLimit {
    /// A program takes milliseconds.
    const ONE_S: u64 = 1;

    pub fn new(name: &str) -> Self {
        limit_cpu(name);
        Self { all_s: number(name), until_s: 0 }
    }

    /// The next program begins.
    pub fn next(&mut self) {
        let Some(all_s) = self.all_s else { return };
        // SAFETY: zeros are a usage, to which this process's is written.
        let used = unsafe {
            let mut used: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &mut used);
            used
        };
        // Of both, what is left of a second is not counted here.
        let until_s = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) as u64 + 2 + Self::ONE_S;
        if until_s != self.until_s {
            self.until_s = until_s;
            limit_cpu_to(until_s, all_s);
        }
    }
}

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

//! Whether who waits for another thread looks for a while before it sleeps.

/// How long a thread may look for what it waits for before it sleeps, and how soon that came the
/// last time, if it does: to be woken takes some tens of microseconds.
pub const LOOK_NS: u64 = 50_000;
const SOON_NS: u64 = 100_000;

/// After a look that took so long another thread has the processor, for milliseconds at a time: who
/// sleeps is woken sooner than who gives way comes to its turn.
const CROWDED_NS: u64 = 2 * LOOK_NS;
/// So often at most a thread sleeps at once before it looks again.
const SKIPS_MAX: u32 = 4095;

#[derive(Default, Clone, Copy)]
pub struct Patience {
    /// The last one came soon.
    soon: bool,
    /// Times that it will not look; and how many that were at first.
    skips: u32,
    skips_first: u32,
}

impl Patience {
    /// Whether to look this time.
    pub fn looks(&mut self) -> bool {
        let looks = self.soon && self.skips == 0;
        self.skips = self.skips.saturating_sub(1);
        looks
    }

    /// A look took so long. Not `pays`: it was in vain.
    pub fn looked(&mut self, pays: bool, ns: u64) {
        let pays = pays && ns < CROWDED_NS;
        self.skips_first = match pays {
            true => self.skips_first / 2,
            false => (self.skips_first * 2 + 1).min(SKIPS_MAX),
        };
        if !pays {
            self.skips = self.skips_first;
        }
    }

    /// What was waited for was there after so long.
    pub fn came(&mut self, ns: u64) {
        self.soon = ns < SOON_NS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where others want the processor, a helper that looks gives it away for milliseconds, job
    /// after job: 4 writers to a file took 118 us a write in one run, and 4 in the next.
    #[test]
    fn where_others_want_the_processor_a_helper_looks_seldom() {
        let mut patience = Patience::default();
        assert!(!patience.looks(), "no job has come yet");
        patience.came(SOON_NS - 1);
        assert!(patience.looks());
        patience.looked(true, LOOK_NS);
        assert!(patience.looks(), "the processor is its own");
        let mut looks = 0;
        for _ in 0..100_000 {
            if patience.looks() {
                patience.looked(true, CROWDED_NS);
                looks += 1;
            }
        }
        assert!(looks < 50, "{looks}");
        while !patience.looks() {}
        for _ in 0..12 {
            patience.looked(true, LOOK_NS);
        }
        patience.looked(true, CROWDED_NS);
        assert!(!patience.looks());
        assert!(patience.looks(), "what was long ago does not count");
        patience.came(SOON_NS);
        assert!(!patience.looks(), "the next job will be long in coming");
    }

    #[test]
    fn who_looked_in_vain_looks_seldom() {
        let mut patience = Patience::default();
        patience.came(0);
        for sleeps in [1, 3, 7] {
            assert!(patience.looks());
            patience.looked(false, LOOK_NS);
            for _ in 0..sleeps {
                assert!(!patience.looks(), "{sleeps}");
            }
        }
    }
}

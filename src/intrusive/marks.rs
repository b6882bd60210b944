//! A set of numbers, a bit each: any thread adds some, and others take them out.
//!
//! 1. Who adds a number sets its bit after what there is to be known of it (release).
//! 2. Who takes one out clears its bit before the look at that (acquire): what is said later sets
//!    it again.

use crate::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

pub const IN_WORD: u32 = u64::BITS;

/// Its words, wherever they lie.
#[derive(Clone, Copy)]
pub struct Marks<'a>(&'a [AtomicU64]);

impl<'a> Marks<'a> {
    pub fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    fn place(self, number: u32) -> (&'a AtomicU64, u64) {
        (&self.0[(number / IN_WORD) as usize], 1 << (number % IN_WORD))
    }

    pub fn add(self, number: u32) {
        let (word, bit) = self.place(number);
        word.fetch_or(bit, Release); // Rule 1.
    }

    pub fn remove(self, number: u32) {
        let (word, bit) = self.place(number);
        word.fetch_and(!bit, Acquire); // Rule 2.
    }

    /// The first that is in the set, from `from` on, in so many words at most; and where that many
    /// end.
    pub fn first(self, from: u32, words: usize) -> (Option<u32>, u32) {
        let mut at = from;
        for word in self.0.iter().skip((from / IN_WORD) as usize).take(words) {
            // Relaxed: who has to find a number here has acquired that it was added.
            let left = word.load(Relaxed) >> (at % IN_WORD);
            if left != 0 {
                let number = at + left.trailing_zeros();
                return (Some(number), number + 1);
            }
            at = (at / IN_WORD + 1) * IN_WORD;
        }
        (None, at)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_found_from_wherever() {
        let words = [const { AtomicU64::new(0) }; 4];
        let marks = Marks::new(&words);
        let some = [0, 63, 64, 200, 255];
        some.iter().for_each(|&n| marks.add(n));
        for from in 0..256 {
            let expected = some.iter().copied().find(|&n| n >= from);
            assert_eq!(marks.first(from, 4).0, expected);
        }
        assert_eq!(marks.first(65, 1), (None, 128));
        assert_eq!(marks.first(65, 2), (None, 192));
        some.iter().for_each(|&n| marks.remove(n));
        assert_eq!(marks.first(0, 4), (None, 256));
    }
}

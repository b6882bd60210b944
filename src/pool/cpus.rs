//! Which CPU each worker of a pool has: one of those that the pool was given, each in its turn.

use crate::error::{Errno, Res};

/// Behind the pool's lock.
pub struct Cpus(Vec<Cpu>);

struct Cpu {
    number: u32,
    /// Workers that begin tasks, or are being made, and have it.
    workers: usize,
}

/// Which of them a worker has, and its number. None: the pool was given none, and the kernel
/// chooses.
pub type Place = Option<(usize, u32)>;

impl Cpus {
    /// ENOMEM.
    pub fn of(numbers: &[u32]) -> Res<Self> {
        let mut cpus = Vec::new();
        cpus.try_reserve_exact(numbers.len()).map_err(|_| Errno(libc::ENOMEM))?;
        cpus.extend(numbers.iter().map(|&number| Cpu { number, workers: 0 }));
        Ok(Self(cpus))
    }

    /// For a worker more: of those that the fewest have, the first.
    pub fn take(&mut self) -> Place {
        let (at, cpu) = self.0.iter_mut().enumerate().min_by_key(|(_, cpu)| cpu.workers)?;
        cpu.workers += 1;
        Some((at, cpu.number))
    }

    /// Of a worker less.
    pub fn give_back(&mut self, place: Place) {
        if let Some((at, _)) = place {
            self.0[at].workers -= 1;
        }
    }

    /// Which of these workers is to leave: the last of those that share theirs with the most.
    pub fn too_many(&self, places: impl Iterator<Item = Place>) -> usize {
        let crowd = |place: Place| place.map_or(0, |(at, _)| self.0[at].workers);
        places.map(crowd).enumerate().max_by_key(|&(_, crowd)| crowd).map_or(0, |(n, _)| n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_is_one_that_the_fewest_have() {
        let mut cpus = Cpus::of(&[7, 5, 7]).unwrap();
        let taken: Vec<_> = (0..5).map(|_| cpus.take()).collect();
        assert_eq!(taken, [(0, 7), (1, 5), (2, 7), (0, 7), (1, 5)].map(Some));
        cpus.give_back(taken[1]);
        cpus.give_back(taken[4]);
        assert_eq!([cpus.take(), cpus.take()], [taken[1], taken[1]]);
        let mut none = Cpus::of(&[]).unwrap();
        assert_eq!(none.take(), None);
        none.give_back(None);
    }

    #[test]
    fn who_leaves_is_of_those_that_are_crowded() {
        let mut cpus = Cpus::of(&[0, 1]).unwrap();
        let [a, b, c] = [cpus.take(), cpus.take(), cpus.take()];
        assert_eq!(cpus.too_many([a, c, b].into_iter()), 1);
        cpus.give_back(c);
        assert_eq!(cpus.too_many([b, a].into_iter()), 1);
        let none = Cpus::of(&[]).unwrap();
        assert_eq!(none.too_many([None; 3].into_iter()), 2);
    }
}

//! Many tasks put into a queue by one call: in parts, so that no lock is held for as long as the
//! headers of all of them take to come into the cache, and workers begin while others come.

use core::mem::MaybeUninit;

use super::queue::{refuse, Queue};
use crate::error::{Errno, Res};
use crate::task::header::TaskRef;

/// So many by one lock.
const PART: usize = 32;

/// So many tasks ahead of the one that is claimed, their headers are asked for.
const AHEAD: usize = 4;

/// Tasks that were claimed, each with what it was before.
struct Part {
    len: usize,
    claimed: [MaybeUninit<(TaskRef, u8)>; PART],
}

impl Part {
    fn push(&mut self, task: TaskRef, before: u8) {
        self.claimed[self.len].write((task, before));
        self.len += 1;
    }

    fn iter(&self) -> impl Iterator<Item = (TaskRef, u8)> + '_ {
        // SAFETY: so many were written.
        self.claimed[..self.len].iter().map(|one| unsafe { one.assume_init() })
    }
}

impl Queue {
    /// ANY THREAD. As `submit`, all in order; how many were put in: those before the first that was
    /// refused, whose error comes with it.
    pub fn submit_many(
        &self,
        mut tasks: impl Iterator<Item = TaskRef> + Clone,
    ) -> (usize, Res<()>) {
        let mut put = 0;
        if let Err(e) = self.check_process() {
            return (0, Err(e));
        }
        let mut ahead = tasks.clone();
        ahead.by_ref().take(AHEAD).for_each(TaskRef::prefetch_to_write);
        loop {
            let mut part = Part { len: 0, claimed: [MaybeUninit::uninit(); PART] };
            let mut over = None;
            while part.len < PART && over.is_none() {
                let Some(task) = tasks.next() else {
                    over = Some(Ok(()));
                    break;
                };
                ahead.next().into_iter().for_each(TaskRef::prefetch_to_write);
                let claimed = self.claim(task, || 0);
                over = claimed.map(|before| part.push(task, before)).err().map(Err);
            }
            // A closed queue refuses a task that could not be put in either.
            if part.len == 0 && over == Some(Ok(())) {
                return (put, Ok(()));
            }
            let mut state = self.lock_whole();
            if state.closed {
                drop(state);
                part.iter().for_each(|(task, before)| refuse(task, before));
                return (put, Err(Errno(libc::ESHUTDOWN)));
            }
            part.iter().for_each(|(task, _)| self.put(&mut state, task));
            self.note(&state);
            let first = part.iter().next().map_or(0, |(task, _)| task.addr());
            let woken = state.wake_one_for(first);
            drop(state);
            woken.wake();
            put += part.len;
            if let Some(refused) = over {
                return (put, refused);
            }
        }
    }
}

//! Jobs in a row, in one chunk, which workers take without a lock, by a window: see
//! `intrusive::window`.
//!
//! Who reads one may find that it is another by then: so jobs are written and read by atomic words.

use core::cell::Cell;
use core::mem::{size_of, MaybeUninit};
use core::ptr::{self, NonNull};

// Not `crate::atomic`: they order nothing.
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use super::{clear, Chunk, Levels, Posted, AHEAD};
use crate::prefetch;

const WORDS: usize = size_of::<Posted>() / size_of::<*mut ()>();

/// Pointers, or what is no pointer: as such it keeps what it points to.
type Words = [AtomicPtr<()>; WORDS];

const _: () = assert!(size_of::<Words>() == size_of::<Posted>());

/// Where a job waits.
type Place = Cell<MaybeUninit<Posted>>;

/// Nobody else writes there. All of `job` was written.
#[inline(always)]
pub(super) fn write(place: &Place, job: &Posted) {
    // SAFETY: so many words, at the begin of a line; what is written there is read by atomics, or
    // behind the lock.
    let (to, from) = unsafe {
        (&*place.as_ptr().cast::<Words>(), &*ptr::from_ref(job).cast::<[*mut (); WORDS]>())
    };
    for (to, &word) in to.iter().zip(from) {
        to.store(word, Relaxed);
    }
}

/// The oldest jobs of a level, in one chunk.
pub struct Row {
    pub chunk: NonNull<Chunk>,
    pub next: u32,
    pub end: u32,
}

impl Chunk {
    /// ANY THREAD, as long as chunks are not freed. What lies at `at`, or lay there, or of both.
    #[inline(always)]
    pub fn peek(&self, at: u32, job: &mut MaybeUninit<Posted>) {
        let place = &self.jobs[at as usize];
        // Of the next ones every second is another worker's, most likely: which is not known.
        for ahead in [AHEAD, AHEAD + 1] {
            prefetch::line(ptr::from_ref(place).wrapping_add(ahead).addr());
        }
        // SAFETY: as in `write`. Chunks are zeros when they are made.
        let (from, to) = unsafe {
            (&*place.as_ptr().cast::<Words>(), &mut *job.as_mut_ptr().cast::<[_; WORDS]>())
        };
        for (to, from) in to.iter_mut().zip(from) {
            *to = from.load(Relaxed);
        }
    }
}

impl Levels {
    /// The oldest jobs of a level at which no task waits.
    pub fn row(&self, level: u8) -> Option<Row> {
        let jobs = self.jobs.get(level as usize)?;
        let chunk = NonNull::new(jobs.first.get())?;
        let is_last = jobs.first.get() == jobs.last.get();
        let end = if is_last { jobs.end.get() } else { jobs.first_end.get() };
        Some(Row { chunk, next: jobs.oldest.get(), end })
    }

    /// So many of a row were taken.
    pub fn leave_out(&self, level: u8, count: u32) {
        let jobs = &self.jobs[level as usize];
        if count != 0 {
            jobs.leave_out(count, &self.spare);
        }
        if jobs.is_empty() {
            clear(&self.with_jobs, level);
        }
    }

    /// The next that waits there.
    pub fn next_of_row(&self, level: u8) -> u32 {
        self.jobs[level as usize].oldest.get()
    }
}

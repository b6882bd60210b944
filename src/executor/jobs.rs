//! Jobs: a function and some bytes, by value, that wait in the queue of a pool for a worker to make
//! a task of them. So what waits takes a line each, and is in the caches of nobody.
//!
//! ```text
//!   Jobs --> Chunk [63 jobs] --> Chunk --> Chunk <-- what comes
//!   spare -> Chunk                                   what was emptied, for the next
//! ```
//!
//! All of it is behind the lock of the queue, or of its intake, which allocates nothing: who finds
//! no room brings a chunk.

use core::cell::Cell;
use core::ffi::c_void;
use core::mem::{offset_of, size_of, MaybeUninit};
use core::ptr::{self, NonNull};

use crate::error::RawResult;
use crate::error::Res;
use crate::prefetch;
use crate::sys::alloc;
use crate::task::header::{TaskHead, TaskRef, UserCode, PRIORITIES};
use crate::task::list::TaskList;

mod apart;
mod row;

pub use apart::Apart;
pub use row::Row;

/// `monad_async_exit`
pub type JobExit = unsafe extern "C" fn(*const TaskHead, RawResult);

/// `struct monad_async_pool_job`
#[repr(C)]
pub struct Job {
    pub code: Option<UserCode>,
    pub on_exit: Option<JobExit>,
    pub returned: Option<unsafe extern "C" fn(*mut c_void)>,
    pub reserved: u64,
}

/// How many bytes go with one.
pub const JOB_BYTES: usize = 48;

pub type Bytes = [MaybeUninit<u64>; JOB_BYTES / 8];

/// One that waits: a line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Posted {
    pub job: &'static Job,
    /// In which order it came, among tasks and jobs.
    pub number: usize,
    pub bytes: Bytes,
}

const _: () = assert!(size_of::<Posted>() == 64);

impl Posted {
    /// It was taken out, and no worker is to have it.
    pub fn give_back(mut self) {
        if let Some(returned) = self.job.returned {
            // SAFETY: the caller's function, with the bytes it wants.
            unsafe { returned(self.bytes.as_mut_ptr().cast()) };
        }
    }
}

const CHUNK_JOBS: usize = 63;

/// So many jobs ahead of who puts them in, or takes them, their lines are asked for.
const AHEAD: usize = 3;

#[repr(C, align(64))]
pub struct Chunk {
    next: Cell<*mut Chunk>,
    /// How many were put in, once there is a next one.
    len: Cell<u32>,
    jobs: [Cell<MaybeUninit<Posted>>; CHUNK_JOBS],
}

const _: () = assert!(size_of::<Chunk>() == 4096);
const _: () = assert!(offset_of!(Chunk, jobs) == size_of::<Posted>()); // See `newest_job`.

impl Chunk {
    pub fn new() -> Res<NonNull<Self>> {
        // SAFETY: zeros are one without a next, and with nothing in it.
        unsafe { alloc::try_zeroed::<Self>() }.map(|chunk| NonNull::from(Box::leak(chunk)))
    }

    /// # Safety
    /// Nobody has it.
    unsafe fn free(chunk: NonNull<Self>) {
        // SAFETY: leaked by `new`.
        drop(unsafe { Box::from_raw(chunk.as_ptr()) });
    }
}

/// Chunks that were taken out, to be freed with the lock open.
#[must_use]
pub struct Freed(*mut Chunk);

impl Freed {
    pub fn free(self) {
        let mut next = self.0;
        while let Some(chunk) = NonNull::new(next) {
            // SAFETY: taken out, so nobody else has it.
            unsafe {
                next = chunk.as_ref().next.get();
                Chunk::free(chunk);
            }
        }
    }
}

/// Empty chunks, kept until the queue's owner is done with it.
pub struct Spare(Cell<*mut Chunk>, Cell<*mut Chunk>);

impl Spare {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(Cell::new(ptr::null_mut()), Cell::new(ptr::null_mut()))
    }

    /// It is in no list.
    pub fn push(&self, chunk: NonNull<Chunk>) {
        // SAFETY: chunks live until somebody frees what he has taken out.
        unsafe { chunk.as_ref() }.next.set(self.0.get());
        if self.0.get().is_null() {
            self.1.set(chunk.as_ptr());
        }
        self.0.set(chunk.as_ptr());
    }

    fn is_empty(&self) -> bool {
        self.0.get().is_null()
    }

    /// Gets all of the other's.
    fn refill(&self, from: &Spare) {
        if from.is_empty() {
            return;
        }
        if self.is_empty() {
            self.1.set(from.1.get());
        }
        // SAFETY: as above; the last of a list that is not empty.
        unsafe { &*from.1.get() }.next.set(self.0.get());
        self.0.set(from.0.replace(ptr::null_mut()));
    }

    fn pop(&self) -> Option<NonNull<Chunk>> {
        let chunk = NonNull::new(self.0.get())?;
        // SAFETY: as above.
        self.0.set(unsafe { chunk.as_ref() }.next.replace(ptr::null_mut()));
        Some(chunk)
    }
}

/// In order. First what is written as one comes.
#[repr(C)]
struct Jobs {
    last: Cell<*mut Chunk>,
    /// The place behind the youngest in `last`. It is 0, as `oldest`, if there are none.
    end: Cell<u32>,
    /// As `end`, of `first`, while that is not the last one.
    first_end: Cell<u32>,
    first: Cell<*mut Chunk>,
    /// In `first`.
    oldest: Cell<u32>,
}

impl Jobs {
    const fn new() -> Self {
        Self {
            last: Cell::new(ptr::null_mut()),
            end: Cell::new(0),
            first_end: Cell::new(0),
            first: Cell::new(ptr::null_mut()),
            oldest: Cell::new(0),
        }
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.first.get() == self.last.get() && self.oldest.get() == self.end.get()
    }

    /// False: there is no chunk.
    fn push(&self, job: Posted, spare: &Spare) -> bool {
        if self.last.get().is_null() || self.end.get() as usize == CHUNK_JOBS {
            let Some(chunk) = spare.pop() else { return false };
            self.link(chunk.as_ptr());
            self.last.set(chunk.as_ptr());
            self.end.set(0);
        }
        // SAFETY: the chunks of a list live as long as they are in it.
        let place = &unsafe { &*self.last.get() }.jobs[self.end.get() as usize];
        // Who opens the lock waits for the line that was written under it.
        prefetch::line_to_write(ptr::from_ref(place).wrapping_add(AHEAD).addr());
        row::write(place, &job);
        self.end.set(self.end.get() + 1);
        true
    }

    /// Into the chunk that is the last nothing more is put: behind it comes this one.
    fn link(&self, chunk: *mut Chunk) {
        // SAFETY: as above.
        let Some(last) = (unsafe { self.last.get().as_ref() }) else {
            return self.first.set(chunk);
        };
        last.next.set(chunk);
        last.len.set(self.end.get());
        if self.first.get() == self.last.get() {
            self.first_end.set(self.end.get());
        }
    }

    /// Puts all of `later`, of which none was taken, behind what is in here.
    fn append(&self, later: &Jobs) {
        if self.is_empty() {
            self.first.swap(&later.first);
            self.last.swap(&later.last);
            self.end.swap(&later.end);
            self.first_end.swap(&later.first_end);
        } else if !later.is_empty() {
            self.link(later.first.get());
            self.last.set(later.last.replace(ptr::null_mut()));
            self.end.set(later.end.replace(0));
            later.first.set(ptr::null_mut());
        }
    }

    /// None is in here: the chunk that was kept.
    fn close(&self) -> Option<NonNull<Chunk>> {
        self.last.set(ptr::null_mut());
        self.oldest.set(0);
        self.end.set(0);
        NonNull::new(self.first.replace(ptr::null_mut()))
    }

    /// There is one.
    #[inline(always)]
    fn number(&self) -> usize {
        // SAFETY: as above; it was written.
        unsafe { (*self.first.get()).jobs[self.oldest.get() as usize].get().assume_init() }.number
    }

    fn pop(&self, spare: &Spare) -> Option<Posted> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: there is one, in a chunk.
        let first = unsafe { &*self.first.get() };
        let at = self.oldest.get();
        let place = &first.jobs[at as usize];
        prefetch::line(ptr::from_ref(place).wrapping_add(AHEAD).addr());
        // SAFETY: it was written.
        let job = unsafe { place.get().assume_init() };
        self.leave_out(1, spare);
        Some(job)
    }

    /// So many of the oldest, which are in one chunk, are taken.
    fn leave_out(&self, count: u32, spare: &Spare) {
        // SAFETY: there are so many, in a chunk.
        let first = unsafe { &*self.first.get() };
        let oldest = self.oldest.get() + count;
        self.oldest.set(oldest);
        if self.first.get() == self.last.get() {
            if self.end.get() == oldest {
                // The chunk stays: the next one that comes goes to its beginning.
                self.oldest.set(0);
                self.end.set(0);
            }
        } else if self.first_end.get() == oldest {
            let next = first.next.replace(ptr::null_mut());
            self.first.set(next);
            self.oldest.set(0);
            // SAFETY: as above; it is not the last.
            self.first_end.set(unsafe { &*next }.len.get());
            spare.push(NonNull::from(first));
        }
    }
}

/// What is to begin.
pub enum Next {
    Task(TaskRef),
    /// Of that level; it lies where `pop` was told to put it.
    Job(u8),
}

/// In which order a task came, while it waits: in place of the outcome of its last suspension, in a
/// line that its launch touches anyway.
fn number(task: TaskRef) -> usize {
    (task.cqe_flags.get() as usize) << 32 | task.head.outcome.get() as u32 as usize
}

#[inline(always)]
fn set_number(task: TaskRef, number: usize) {
    task.head.outcome.set(number as i32);
    task.cqe_flags.set((number >> 32) as u32);
}

/// What waits, at each priority. In this order: tasks touch nothing of the jobs.
#[repr(C)]
pub struct Levels {
    /// Bit n: tasks wait at level n, and jobs.
    with_tasks: Cell<u8>,
    with_jobs: Cell<u8>,
    tasks: [TaskList; PRIORITIES],
    jobs: [Jobs; PRIORITIES],
    pub spare: Spare,
}

#[inline(always)]
fn set(bits: &Cell<u8>, level: u8) {
    bits.set(bits.get() | 1 << level);
}

#[inline(always)]
fn clear(bits: &Cell<u8>, level: u8) {
    bits.set(bits.get() & !(1 << level));
}

impl Levels {
    /// At the end of the queue, which is empty: its memory.
    pub fn close(&self) -> Freed {
        for jobs in self.jobs.iter().filter(|jobs| jobs.is_empty()) {
            if let Some(chunk) = jobs.close() {
                self.spare.push(chunk);
            }
        }
        Freed(self.spare.0.replace(ptr::null_mut()))
    }

    /// Tasks wait, at some level.
    #[inline(always)]
    pub fn has_tasks(&self) -> bool {
        self.with_tasks.get() != 0
    }

    /// Puts what came apart behind the jobs that are in here. O(levels).
    pub fn append(&self, apart: &Apart) {
        for level in 0..PRIORITIES as u8 {
            if apart.levels.get() >> level & 1 != 0 {
                self.jobs[level as usize].append(apart.jobs(level));
                set(&self.with_jobs, level);
            }
        }
        apart.levels.set(0);
        self.lend(apart);
    }

    pub fn has_no_chunk(&self) -> bool {
        self.spare.is_empty() && self.jobs.iter().all(|jobs| jobs.last.get().is_null())
    }

    /// There are chunks for what comes apart.
    pub fn may_lend(&self) -> bool {
        !self.spare.is_empty()
    }

    /// What comes apart needs chunks, and what was emptied is in here.
    pub fn lend(&self, apart: &Apart) {
        apart.spare.refill(&self.spare);
    }

    /// Nothing comes apart any more: all chunks are in here again.
    pub fn take_back(&self, apart: &Apart) {
        for chunk in apart.jobs.iter().filter_map(Jobs::close) {
            self.spare.push(chunk);
        }
        self.spare.refill(&apart.spare);
    }

    /// From its begin: what a task needs, and a job that is not of low priority.
    pub const TASK_BYTES: usize = offset_of!(Self, jobs);
    pub const NORMAL_JOB_BYTES: usize = Self::TASK_BYTES + 2 * size_of::<Jobs>();

    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            with_tasks: Cell::new(0),
            with_jobs: Cell::new(0),
            tasks: [const { TaskList::new() }; PRIORITIES],
            jobs: [const { Jobs::new() }; PRIORITIES],
            spare: Spare::new(),
        }
    }

    /// Bit n: something waits at level n.
    #[inline(always)]
    pub fn occupied(&self) -> u8 {
        self.with_tasks.get() | self.with_jobs.get()
    }

    /// At the end; `number` is greater than any before.
    #[inline(always)]
    pub fn push_task(&self, task: TaskRef, level: u8, number: usize) {
        set_number(task, number);
        let _ = self.tasks[level as usize].push_back(task);
        set(&self.with_tasks, level);
    }

    /// As `push_task`. False: there is no room for it.
    pub fn push_job(&self, job: Posted, level: u8) -> bool {
        let pushed = self.jobs[level as usize].push(job, &self.spare);
        if pushed {
            set(&self.with_jobs, level);
        }
        pushed
    }

    /// Where the job lies that was pushed last.
    pub fn newest_job(&self, level: u8) -> usize {
        let jobs = &self.jobs[level as usize];
        jobs.last.get().addr() + size_of::<Posted>() * jobs.end.get() as usize
    }

    /// `task` is in here.
    pub fn remove(&self, task: TaskRef) {
        let level = task.level.get();
        let tasks = &self.tasks[level as usize];
        tasks.remove(task);
        if tasks.is_empty() {
            clear(&self.with_tasks, level);
        }
    }

    /// The oldest task of a level.
    #[inline(always)]
    pub fn front(&self, level: u8) -> Option<TaskRef> {
        self.tasks.get(level as usize)?.front()
    }

    /// The oldest of a level. A job is put into `posted`; with no place for it, None if it is one.
    #[inline(always)]
    pub fn pop(&self, level: u8, posted: Option<&mut MaybeUninit<Posted>>) -> Option<Next> {
        let tasks = self.tasks.get(level as usize)?;
        let has_jobs = self.with_jobs.get() >> level & 1 != 0;
        let is_task = tasks.front().is_some_and(|task| {
            // By their difference: the number may start again.
            let ahead = |job: usize| job.wrapping_sub(number(task)) as isize > 0;
            !has_jobs || ahead(self.jobs[level as usize].number())
        });
        if is_task {
            let task = tasks.pop_front();
            if tasks.is_empty() {
                clear(&self.with_tasks, level);
            }
            return task.map(Next::Task);
        }
        self.pop_job(level, posted?)
    }

    #[inline(never)]
    fn pop_job(&self, level: u8, posted: &mut MaybeUninit<Posted>) -> Option<Next> {
        let jobs = &self.jobs[level as usize];
        posted.write(jobs.pop(&self.spare)?);
        if jobs.is_empty() {
            clear(&self.with_jobs, level);
        }
        Some(Next::Job(level))
    }
}

//! The ring of a trace, in memory of the user's: what happened, newest over oldest. Touches its own
//! memory alone, so it may be read in a signal handler, by another thread while it is written, and
//! by another process that finds the memory in a file.
//!
//! ```text
//!   +0          Header
//!   +names_at   Entry [name_count]     names of tasks, by address; the newest stay
//!   +events_at  Event [capacity]       event i is at i % capacity
//! ```
//!
//! 1. One thread writes: the executor's. Words are stored one by one (relaxed); `head`, with
//!    release, counts events whose words are all there.
//! 2. A reader copies an event, then looks at `head` again: what the writer may have begun to
//!    overwrite by then is dropped. The fence in `push` keeps the words of an event behind the
//!    `head` that says that the one before is whole.

use core::mem::{offset_of, size_of};
use core::sync::atomic::{
    fence, AtomicPtr, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

const MAGIC: u64 = u64::from_le_bytes(*b"ma.trace");
const VERSION: u64 = 1;
pub const NAME_WORDS: usize = 4;
/// How many places are looked at for a name.
const PROBES: usize = 8;
/// Less than this holds no trace worth writing.
pub const BYTES_MIN: usize = 4096;

/// What an event tells. Times are ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A task ran: from, to; when it became ready; what it waits for now, and of what.
    Run = 1,
    /// A wait was over: from, to; by which task; the outcome; what it waited for, and in `what`
    /// whether in a run of the executor.
    Wake,
    /// A task was launched: when; by which task. `what`: 1 from another thread.
    Launch,
    /// An operation record was begun: when; the record; opcode and descriptor.
    Begin,
    /// It has a completion: when; the record; opcode, result.
    Complete,
    /// A task was asked to end: when; by which task.
    Cancel,
    /// A scope was entered (`what` 0) or left (1), or has fired (2): when; the scope; its time-out.
    Scope,
    /// What the executor did besides running tasks: from, to. `what`: [`span`].
    Span,
}

impl Kind {
    fn of(code: u8) -> Option<Self> {
        use Kind::*;
        [Run, Wake, Launch, Begin, Complete, Cancel, Scope, Span]
            .into_iter()
            .find(|&kind| kind as u8 == code)
    }
}

/// `what` of [`Kind::Span`].
pub mod span {
    pub const RUN: u8 = 0;
    pub const IO_URING: u8 = 1;
    pub const SLEEP: u8 = 2;
}

#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub kind: Kind,
    pub what: u8,
    /// The task's address; 0: none.
    pub task: u64,
    pub from: u64,
    pub to: u64,
    pub a: u64,
    pub b: u64,
    pub c: u64,
}

const EVENT_WORDS: usize = 6;
const EVENT_BYTES: usize = EVENT_WORDS * 8;
/// Addresses of tasks have so many bits.
const ADDRESS: u64 = (1 << 48) - 1;

#[repr(C)]
struct Header {
    magic: AtomicU64,
    version: AtomicU64,
    bytes: AtomicU64,
    names_at: AtomicU64,
    name_count: AtomicU64,
    events_at: AtomicU64,
    capacity: AtomicU64,
    /// Events so far.
    head: AtomicU64,
    executor: AtomicU64,
    name: [AtomicU64; NAME_WORDS],
    process: AtomicU64,
    thread: AtomicU64,
    ticks_per_second: AtomicU64,
    begun: AtomicU64,
    /// The task that runs, and since when: 0 while none does.
    running: AtomicU64,
    running_since: AtomicU64,
}

#[repr(C)]
struct Entry {
    task: AtomicU64,
    name: [AtomicU64; NAME_WORDS],
}

/// A trace in memory that was laid out.
#[derive(Clone, Copy)]
pub struct Ring(*const Header);

/// Whose trace it is.
pub struct Whose {
    pub executor: u64,
    pub process: u64,
    pub thread: u64,
    pub ticks_per_second: u64,
    pub now: u64,
}

/// Traces of this process, for who writes all.
static ALL: [AtomicPtr<()>; PLACES] = [const { AtomicPtr::new(core::ptr::null_mut()) }; PLACES];
const PLACES: usize = 256;

impl Ring {
    /// None: too little, or not aligned to 8.
    ///
    /// # Safety
    /// `memory` is `bytes` of memory that nobody else writes to while the ring is used.
    pub unsafe fn lay(memory: *mut u8, bytes: usize, whose: &Whose) -> Option<Self> {
        if bytes < BYTES_MIN || memory.is_null() || !memory.addr().is_multiple_of(8) {
            return None;
        }
        let name_count = (bytes / 32 / size_of::<Entry>()).next_power_of_two() / 2;
        let names_at = size_of::<Header>();
        let events_at = names_at + name_count * size_of::<Entry>();
        let capacity = (bytes - events_at) / EVENT_BYTES;
        // SAFETY: the caller's; the names end at `events_at`, within it. Zeros are a header.
        let header = unsafe {
            memory.write_bytes(0, events_at);
            &*memory.cast::<Header>()
        };
        for (word, value) in [
            (&header.version, VERSION),
            (&header.bytes, bytes as u64),
            (&header.names_at, names_at as u64),
            (&header.name_count, name_count as u64),
            (&header.events_at, events_at as u64),
            (&header.capacity, capacity as u64),
            (&header.executor, whose.executor),
            (&header.process, whose.process),
            (&header.thread, whose.thread),
            (&header.ticks_per_second, whose.ticks_per_second),
            (&header.begun, whose.now),
        ] {
            word.store(value, Relaxed);
        }
        header.magic.store(MAGIC, Release);
        Some(Self(header))
    }

    /// None: there is no trace, or it does not fit into `bytes`.
    ///
    /// # Safety
    /// `memory` is null, or `bytes` of memory, which stays while the ring is used.
    pub unsafe fn find(memory: *const u8, bytes: usize) -> Option<Self> {
        if memory.is_null() || bytes < BYTES_MIN || !memory.addr().is_multiple_of(8) {
            return None;
        }
        let ring = Self(memory.cast());
        let h = ring.header();
        let magic = h.magic.load(Acquire) == MAGIC && h.version.load(Relaxed) == VERSION;
        let [events_at, capacity, names_at, names] =
            [&h.events_at, &h.capacity, &h.names_at, &h.name_count].map(|word| word.load(Relaxed));
        let end =
            |at: u64, count: u64, each: usize| count.checked_mul(each as u64)?.checked_add(at);
        let names_end = end(names_at, names, size_of::<Entry>())?;
        let events_end = end(events_at, capacity, EVENT_BYTES)?;
        let fits = names_at >= size_of::<Header>() as u64
            && names_end <= events_at
            && events_end <= bytes as u64
            && capacity != 0
            && events_at.is_multiple_of(8)
            && names_at.is_multiple_of(8)
            && h.ticks_per_second.load(Relaxed) != 0;
        (magic && fits).then_some(ring)
    }

    fn header<'a>(self) -> &'a Header {
        // SAFETY: laid out, and there while the ring is used, says who made it; atomics throughout.
        unsafe { &*self.0 }
    }

    fn entries<'a>(self) -> &'a [Entry] {
        let h = self.header();
        let count = h.name_count.load(Relaxed) as usize;
        // SAFETY: `lay` put them there, or `find` saw that they are inside.
        unsafe {
            let at = self.0.byte_add(h.names_at.load(Relaxed) as usize).cast();
            core::slice::from_raw_parts(at, count)
        }
    }

    #[inline(always)]
    fn slot<'a>(self, index: u64) -> &'a [AtomicU64; EVENT_WORDS] {
        let at = self.header().events_at.load(Relaxed) as usize + index as usize * EVENT_BYTES;
        // SAFETY: as above; `index` is below the capacity.
        unsafe { &*self.0.byte_add(at).cast() }
    }

    /// Its writer's.
    pub fn begin(self) -> Writer {
        Writer { ring: self, head: 0, at: 0, capacity: self.header().capacity.load(Relaxed) }
    }

    pub fn set_name(self, name: [u64; NAME_WORDS]) {
        for (word, value) in self.header().name.iter().zip(name) {
            word.store(value, Relaxed);
        }
    }

    /// Remembers what a task is called; for good, unless too many have names.
    pub fn name_task(self, task: u64, name: [u64; NAME_WORDS]) {
        let entries = self.entries();
        if entries.is_empty() {
            return;
        }
        let first = (task >> 7) as usize;
        let place = |i: usize| &entries[(first + i) % entries.len()];
        let known = |i: &usize| [0, task].contains(&place(*i).task.load(Relaxed));
        let entry = place((0..PROBES).find(known).unwrap_or(0));
        if entry.task.load(Relaxed) != task {
            entry.task.store(0, Relaxed); // Not that one's for a moment, under another name.
            fence(Release);
        }
        for (word, value) in entry.name.iter().zip(name) {
            word.store(value, Relaxed);
        }
        entry.task.store(task, Release);
    }

    /// The writer sets it before a task runs, and after it.
    #[inline(always)]
    pub fn set_running(self, task: u64, since: u64) {
        let h = self.header();
        h.running_since.store(since, Relaxed);
        h.running.store(task, Relaxed);
    }

    // For readers.

    pub fn running(self) -> (u64, u64) {
        let h = self.header();
        (h.running.load(Relaxed), h.running_since.load(Relaxed))
    }

    pub fn name(self) -> [u64; NAME_WORDS] {
        core::array::from_fn(|i| self.header().name[i].load(Relaxed))
    }

    /// Process, thread, executor.
    pub fn whose(self) -> (u64, u64, u64) {
        let h = self.header();
        (h.process.load(Relaxed), h.thread.load(Relaxed), h.executor.load(Relaxed))
    }

    pub fn begun(self) -> u64 {
        self.header().begun.load(Relaxed)
    }

    pub fn ticks_per_second(self) -> u64 {
        self.header().ticks_per_second.load(Relaxed)
    }

    /// Calls `each` with the address and the name of each task that has one.
    pub fn for_each_name(self, mut each: impl FnMut(u64, [u64; NAME_WORDS])) {
        for entry in self.entries() {
            let task = entry.task.load(Acquire);
            if task != 0 {
                each(task, core::array::from_fn(|i| entry.name[i].load(Relaxed)));
            }
        }
    }

    /// Calls `each` with what is there, oldest first; how many were overwritten before.
    pub fn for_each(self, mut each: impl FnMut(Event)) -> u64 {
        let h = self.header();
        let (capacity, head) = (h.capacity.load(Relaxed), h.head.load(Acquire));
        let mut lost = 0;
        // The oldest place may be half of what comes next.
        let first = head.saturating_sub(capacity - 1);
        for i in first..head {
            let words = self.slot(i % capacity).each_ref().map(|word| word.load(Relaxed));
            fence(Acquire);
            if h.head.load(Relaxed).wrapping_sub(i) >= capacity {
                lost += 1; // Overwritten while it was read.
                continue;
            }
            let [from, to, named, a, b, c] = words;
            let Some(kind) = Kind::of((named >> 48) as u8) else { continue };
            let (task, what) = (named & ADDRESS, (named >> 56) as u8);
            each(Event { kind, what, task, from, to, a, b, c });
        }
        first.saturating_add(lost)
    }

    /// False: too many.
    pub fn publish(self) -> bool {
        let memory = self.0.cast_mut().cast();
        ALL.iter().any(|place| {
            place.compare_exchange(core::ptr::null_mut(), memory, AcqRel, Relaxed).is_ok()
        })
    }

    pub fn withdraw(self) {
        let memory = self.0.cast_mut().cast();
        for place in &ALL {
            let _ = place.compare_exchange(memory, core::ptr::null_mut(), AcqRel, Relaxed);
        }
    }

    pub fn all() -> impl Iterator<Item = Self> + Clone {
        ALL.iter()
            .map(|place| place.load(Acquire))
            .filter(|at| !at.is_null())
            .map(|at| Self(at.cast()))
    }
}

/// The writer's side.
pub struct Writer {
    pub ring: Ring,
    head: u64,
    /// `head` modulo the capacity.
    at: u64,
    capacity: u64,
}

impl Writer {
    #[inline(always)]
    pub fn push(&mut self, event: Event) {
        // Release: rule 2. No instruction on x86-64.
        fence(Release);
        let named = (event.task & ADDRESS) | (event.kind as u64) << 48 | (event.what as u64) << 56;
        let words = [event.from, event.to, named, event.a, event.b, event.c];
        for (word, value) in self.ring.slot(self.at).iter().zip(words) {
            word.store(value, Relaxed);
        }
        self.head += 1;
        self.at = if self.at + 1 == self.capacity { 0 } else { self.at + 1 };
        self.ring.header().head.store(self.head, Release);
    }
}

const _: () = assert!(offset_of!(Header, magic) == 0 && size_of::<Header>().is_multiple_of(8));

#[cfg(test)]
mod tests {
    use super::*;

    const WHOSE: Whose =
        Whose { executor: 1, process: 2, thread: 3, ticks_per_second: 1_000_000_000, now: 5 };

    fn event(n: u64) -> Event {
        Event { kind: Kind::Run, what: 7, task: 1 << 40, from: n, to: n, a: n, b: n, c: n }
    }

    fn read(ring: Ring) -> (Vec<u64>, u64) {
        let mut seen = Vec::new();
        let lost = ring.for_each(|event| {
            assert!([event.to, event.a, event.b, event.c] == [event.from; 4], "torn");
            assert_eq!((event.kind, event.what, event.task), (Kind::Run, 7, 1 << 40));
            seen.push(event.from);
        });
        (seen, lost)
    }

    #[test]
    fn the_newest_overwrite_the_oldest() {
        let mut memory = vec![0u64; BYTES_MIN / 8];
        // SAFETY: ours alone.
        let ring = unsafe { Ring::lay(memory.as_mut_ptr().cast(), BYTES_MIN, &WHOSE) }.unwrap();
        let mut writer = ring.begin();
        for n in 0..10 {
            writer.push(event(n));
        }
        assert_eq!(read(ring), ((0..10).collect(), 0));
        for n in 10..1000 {
            writer.push(event(n));
        }
        let (seen, lost) = read(ring);
        assert_eq!(seen, (lost..1000).collect::<Vec<_>>());
        assert!(seen.len() > 50);
        // SAFETY: as above.
        let found = unsafe { Ring::find(memory.as_ptr().cast(), BYTES_MIN) }.unwrap();
        assert_eq!(read(found).0, seen);
        // SAFETY: as above.
        assert!(unsafe { Ring::find(memory.as_ptr().cast(), BYTES_MIN - 8) }.is_none());
    }

    /// As a process leaves it that has written over its own memory.
    #[test]
    fn a_count_of_events_that_cannot_be_is_read_to_an_end() {
        let mut memory = vec![0u64; BYTES_MIN / 8];
        // SAFETY: ours alone.
        let ring = unsafe { Ring::lay(memory.as_mut_ptr().cast(), BYTES_MIN, &WHOSE) }.unwrap();
        let mut writer = ring.begin();
        (0..200).for_each(|n| writer.push(event(n)));
        for head in [u64::MAX, u64::MAX - 1, u64::MAX - 100, 1 << 63] {
            ring.header().head.store(head, Relaxed);
            assert!(read(ring).0.len() <= 200);
        }
    }

    #[test]
    fn a_name_stays() {
        let mut memory = vec![0u64; 8192];
        // SAFETY: ours alone.
        let ring = unsafe { Ring::lay(memory.as_mut_ptr().cast(), 65536, &WHOSE) }.unwrap();
        for task in 1..9 {
            ring.name_task(task << 7, [task; NAME_WORDS]);
        }
        ring.name_task(3 << 7, [33; NAME_WORDS]);
        let mut seen = Vec::new();
        ring.for_each_name(|task, name| seen.push((task >> 7, name[0])));
        seen.sort();
        assert_eq!(seen, (1..9).map(|t| (t, if t == 3 { 33 } else { t })).collect::<Vec<_>>());
    }
}

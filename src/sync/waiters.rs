//! The queue of those who wait: by CPU priority, then in order.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::{self, NonNull};

use crate::error::{Errno, RawResult};
use crate::executor::bare::{record_of, Bare, BITS_AT, NOTED_AT};
use crate::executor::free::Waiter;
use crate::executor::grant::{Caller, Wait};
use crate::executor::home::{self, Home};
use crate::executor::Executor;
use crate::intrusive::{At, Fifo, Fifos, Link, TimerNode};
use crate::stack::switch::Over;
use crate::task::header::{Task, TaskRef, Waits, NORMAL, PRIORITIES};
use crate::uring::kernel::Kernel;

pub use super::woken::Woken;

/// A place in one queue, on the waiter's stack. A wait for several things has several.
///
/// A task that waits for one thing alone, at an object of its executor's, has its node in its
/// header, in place of the timer that it does not need then. Who grants touches nothing but
/// headers, which lie side by side, and no page of a stack: among 64 pairs, a mutex handed over
/// takes 0.72 of what it takes with the node on the stack.
#[repr(C)]
pub struct Node {
    link: Link,
    /// Of one that is [`is::MADE_LATER`], the word that `bare::record_of` wants here.
    wait: Cell<*const Wait>,
    /// The level, and bits of [`is`]: one word, which one store sets up.
    state: Cell<u32>,
    /// For `Wait::index`.
    pub index: u32,
    /// What its object keeps with it.
    pub data: Cell<usize>,
}

mod is {
    use crate::executor::bare;
    use crate::intrusive::TimerNode;

    /// Of a timer that is in no queue, wherever the node is.
    pub const UNUSED: u32 = TimerNode::UNUSED as u32;
    /// In its last byte alone.
    pub const LEVEL_AT: u32 = 24;
    pub const LEVEL: u32 = 3 << LEVEL_AT;
    pub const QUEUED: u32 = 1 << 8;
    /// The wait was claimed before it came here.
    pub const CLAIMED: u32 = 1 << 9;
    /// Claimed, and not given what it waited for: that has come to its end.
    pub const REFUSED: u32 = 1 << 10;
    /// In the header of the task, whose `waits` says whether the wait is armed.
    pub const IN_HEADER: u32 = 1 << 11;
    /// With IN_HEADER: the wait is one of `bare::record_of`, and was not made yet.
    pub const MADE_LATER: u32 = bare::MADE_LATER;
    /// With IN_HEADER: and nobody asked for its record; so it waits.
    pub const BARE: u32 = QUEUED | IN_HEADER | MADE_LATER;

    const _: () = assert!(TimerNode::UNUSED_BITS >> LEVEL_AT == 0);
}

const _: () = {
    assert!(offset_of!(Node, link) == 0);
    assert!(size_of::<Node>() <= size_of::<TimerNode>());
    // (The low bytes of a word are its first on every processor there is a port for.)
    assert!(offset_of!(Node, state) == TimerNode::UNUSED_AT && cfg!(target_endian = "little"));
    assert!(offset_of!(Node, wait) == NOTED_AT && Node::STATE_AT == BITS_AT);
    assert!(offset_of!(Node, state) % 8 == 0 && offset_of!(Node, index) == Node::STATE_AT + 4);
};

impl Node {
    const STATE_AT: usize = offset_of!(Node, state);

    #[inline(always)]
    pub fn new(wait: &Wait, index: u32, data: usize) -> Self {
        Self {
            link: Link::new(),
            wait: Cell::new(wait),
            state: Cell::new(is::UNUSED | u32::from(wait.level()) << is::LEVEL_AT),
            index,
            data: Cell::new(data),
        }
    }

    /// # Safety
    /// `link` is that of a node whose waiter waits.
    pub unsafe fn from_link<'a>(link: NonNull<Link>) -> &'a Self {
        // SAFETY: the caller's; `link` is the first field, and was made of a pointer to the node.
        unsafe { link.cast().as_ref() }
    }

    fn link(&self) -> NonNull<Link> {
        NonNull::from(self).cast()
    }

    #[inline(always)]
    pub fn wait(&self) -> &Wait {
        if self.has(is::MADE_LATER) {
            return self.made_later();
        }
        // SAFETY: it is not.
        unsafe { self.made() }
    }

    /// As `wait`.
    ///
    /// # Safety
    /// Of one that is not `MADE_LATER`.
    #[inline(always)]
    unsafe fn made(&self) -> &Wait {
        // SAFETY: the caller's; a wait outlives its nodes, on the same stack.
        unsafe { &*self.wait.get() }
    }

    #[cold]
    #[inline(never)]
    fn made_later(&self) -> &Wait {
        let at = ptr::with_exposed_provenance_mut(ptr::from_ref(self).addr());
        // SAFETY: in a task's header, as the bit says, whose address everybody may know; the task
        // waits, or is about to take the node out.
        record_of(unsafe { TaskRef::from_timer(NonNull::new_unchecked(at)) })
    }

    #[inline(always)]
    pub fn level(&self) -> usize {
        ((self.state.get() & is::LEVEL) >> is::LEVEL_AT) as usize
    }

    #[inline(always)]
    fn has(&self, bit: u32) -> bool {
        self.state.get() & bit != 0
    }

    #[inline(always)]
    fn set(&self, bit: u32) {
        self.state.set(self.state.get() | bit);
    }

    /// Of a task that waits without a frame, at an object of its executor's, and whose record
    /// nobody has asked for, as who ends the wait otherwise does first. (Read as the byte that all
    /// of it is in: of the whole word the optimiser asks more.)
    #[inline(always)]
    fn is_bare(&self) -> bool {
        // SAFETY: within the word.
        let byte = unsafe { self.state.as_ptr().cast::<u8>().add(1).read() };
        byte == (is::BARE >> 8) as u8
    }

    /// Under the object's side.
    pub fn is_queued(&self) -> bool {
        self.has(is::QUEUED)
    }

    /// It was claimed already: who takes it out next need not.
    pub fn set_claimed(&self) {
        self.set(is::CLAIMED);
    }

    /// Claimed, and told that what it waited for has come to its end: `e`, for one that looks at
    /// nothing but its outcome.
    pub fn refuse(&self, e: Errno) {
        self.set(is::REFUSED);
        if let Some(task) = self.wait().task().filter(|_| self.has(is::IN_HEADER)) {
            task.head.outcome.set(-e.0);
            task.ended.set(-e.0);
        }
    }

    #[inline(always)]
    pub fn is_refused(&self) -> bool {
        self.has(is::REFUSED)
    }

    /// Out of the queue. True: the caller serves it.
    #[inline(always)]
    pub fn claim(&self) -> bool {
        let claimed = self.has(is::CLAIMED) || self.wait().claim();
        if claimed {
            self.wait().index.set(self.index);
        }
        claimed
    }
}

/// `Over::OUTCOME_AT` of such waits.
pub(super) const ENDED_AT: usize = offset_of!(Task, ended);

/// A task that is back from `Waiters::wait_bare`, with its node.
///
/// # Safety
/// It has waited so, and has not run since.
pub(super) unsafe fn back_from_bare<'a, K: Kernel>(
    task: NonNull<u8>,
) -> (Caller<'a, K>, &'a Node, i32) {
    // SAFETY: the caller's. Its executor runs it, so it is of this kind and lives; the node is
    // where `wait_bare` made it.
    unsafe {
        let task = TaskRef::new(task.cast());
        let ex = &*task.executor().cast::<Executor<K>>();
        (Caller::task(ex, task), task.timer_ptr().cast().as_ref(), task.ended.replace(0))
    }
}

/// The address behind `at`, not computed before here: of two addresses at a time each would want a
/// register, which is one more than a function has that saves none.
#[inline(always)]
fn behind(at: *const u8) -> *const u8 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let behind;
        // SAFETY: computes an address. In its place among what is stored, as it is not said to
        // leave memory alone.
        unsafe {
            core::arch::asm!(
                "lea {0}, [{1} + 1]",
                lateout(reg) behind,
                in(reg) at,
                options(nostack, preserves_flags),
            );
        }
        behind
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    at.wrapping_byte_add(1)
}

/// The branch that calls it is out of the way of the others, and is one: the optimiser would choose
/// between values, for which it takes more registers.
#[cold]
fn rarely() {}

/// What is read behind it is read there: the optimiser would read it before a branch for both ways
/// on, into a register, where the comparison of the one does without.
#[inline(always)]
fn read_again() {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: no instruction; it is not said to leave memory alone.
    unsafe {
        core::arch::asm!("", options(nostack, preserves_flags));
    }
}

/// What `Waiters::claim_here` found.
pub enum First<'a> {
    Nobody,
    /// Claimed, and out of the queue: the task is to be woken by `grant::wake_here`.
    Here(&'a Node, TaskRef),
    /// Nothing was done: it is one for `Waiters::claim`.
    Other,
}

/// All of it behind the object's side. Zeros are an empty one.
#[repr(C)]
pub struct Waiters {
    levels: Fifos<PRIORITIES>,
}

// As sync.h counts on.
const _: () = assert!(size_of::<Waiters>() == 48);

impl Waiters {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { levels: Fifos::new() }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.levels.are_empty()
    }

    /// # Safety
    /// In no queue; it stays until it has been taken out.
    #[inline(always)]
    pub unsafe fn push(&self, node: &Node) {
        // SAFETY: the caller's.
        unsafe { self.push_link(node.link()) };
    }

    /// # Safety
    /// As `push`; it is that of a node.
    #[inline(always)]
    unsafe fn push_link(&self, link: NonNull<Link>) {
        // SAFETY: the caller's.
        let node = unsafe { Node::from_link(link) };
        node.set(is::QUEUED);
        // SAFETY: the caller's.
        let _ = unsafe { self.levels.at(node.level()).push_back(link) };
    }

    /// Takes a node out, if it is still in here.
    pub fn remove(&self, node: &Node) -> bool {
        let queued = node.is_queued();
        if queued {
            node.state.set(node.state.get() & !is::QUEUED);
            // SAFETY: a node is in the queue of its object, says `is_queued`.
            unsafe { self.levels.at(node.level()).remove(node.link()) };
        }
        queued
    }

    /// The first, which stays. Those who were cancelled are left out, and taken out.
    #[inline]
    pub fn first(&self) -> Option<&Node> {
        for level in self.levels.iter() {
            while let Some(link) = level.front() {
                // SAFETY: a node leaves the queue before it ends.
                let node = unsafe { Node::from_link(link) };
                if node.has(is::CLAIMED) || node.wait().is_armed() {
                    return Some(node);
                }
                self.remove(node);
            }
        }
        None
    }

    /// Whether `task` waits in here. As many steps as there are waiters.
    pub fn has(&self, task: TaskRef) -> bool {
        // SAFETY: as above.
        let node = |link| unsafe { Node::from_link(link) };
        let is_its = |wait: &Wait| wait.task() == Some(task) && wait.is_armed();
        self.levels.iter().any(|level| level.any(|link| is_its(node(link).wait())))
    }

    /// Takes the first one out, whatever has become of its wait.
    #[inline(always)]
    pub fn pop(&self) -> Option<&Node> {
        let level = self.levels.iter().find(|level| !level.is_empty())?;
        // SAFETY: as above.
        let node = level.pop_front().map(|link| unsafe { Node::from_link(link) })?;
        node.state.set(node.state.get() & !is::QUEUED);
        Some(node)
    }

    /// Takes the first one out that can be claimed, and claims it (rule 2 of `sync`).
    #[inline(always)]
    pub fn claim(&self) -> Option<&Node> {
        loop {
            let node = self.pop()?;
            if node.claim() {
                return Some(node);
            }
        }
    }

    /// The first, and the queue of its level. Where it waits, if one does, is asked first: that is
    /// two questions for most of those who wait, and two where nobody does.
    #[inline(always)]
    fn front(&self) -> Option<(Fifo<At<'_, PRIORITIES>>, NonNull<Link>)> {
        let usual = self.levels.at(NORMAL as usize);
        if let Some(first) = usual.front() {
            if self.levels.at(0).is_empty() {
                return Some((usual, first));
            }
        } else {
            read_again();
            if self.levels.are_empty() {
                return None;
            }
        }
        rarely();
        read_again();
        self.levels.iter().find_map(|level| level.front().map(|first| (level, first)))
    }

    /// As `claim`, of one that is `wanted`, and whose wait this thread alone may end while the
    /// side is closed: without a call, and without an exchange. `here`: of an object that is not
    /// local, the home of the executor that runs here.
    #[inline(always)]
    pub fn claim_here(&self, here: Option<Home>, wanted: impl FnOnce(&Node) -> bool) -> First<'_> {
        let Some((level, first)) = self.front() else { return First::Nobody };
        // SAFETY: as above.
        let node = unsafe { Node::from_link(first) };
        if !wanted(node) {
            return First::Other;
        }
        let claimed = if here.is_none() && node.is_bare() {
            // SAFETY: as below.
            Some(unsafe { TaskRef::from_timer(first.cast()) })
        } else if node.has(is::IN_HEADER) {
            // SAFETY: that is where it is, and `first` was made of a pointer to the task.
            let task = unsafe { TaskRef::from_timer(first.cast()) };
            // It is attached there until its wait is over, and its `waits` is that thread's.
            let is_mine = here.is_none_or(|here| home::is_of(task, here));
            // Nobody asks the record any more, or the node, once the task is ready: it is in no
            // other queue.
            (is_mine && task.waits.get() == Waits::Grant).then_some(task)
        } else {
            // SAFETY: it is in no header. (A call to make it would need a frame.)
            let wait = unsafe { node.made() };
            let claimed = wait.claim_here();
            if claimed.is_some() {
                wait.index.set(node.index);
                node.state.set(node.state.get() & !is::QUEUED);
            }
            claimed
        };
        // Cancelled; or claimed before it came here.
        let Some(task) = claimed else { return First::Other };
        // SAFETY: it is the front.
        unsafe { level.take_front(first) };
        First::Here(node, task)
    }

    /// SUSPENDS until who claims the node has woken the waiter, or the wait ends otherwise: 0, or
    /// a negative errno, with which `over` is called while the node is in place. Behind the side,
    /// which `open` opens. `object` is noted; `data`: the node's.
    #[inline(always)]
    pub(super) fn wait_turn<K: Kernel>(
        &self,
        is_local: bool,
        waiter: &impl Waiter<K>,
        (object, data): (usize, usize),
        open: impl FnOnce(),
        over: impl FnOnce(&Node, i32) -> RawResult,
    ) -> RawResult {
        let wait = waiter.caller().wait_for(is_local, object);
        let here = Node::new(&wait, 0, data);
        let node = match waiter.header() {
            Some(task) if is_local => {
                here.set(is::IN_HEADER);
                let at = task.timer_ptr().cast::<Node>();
                // SAFETY: it is as large, and the task waits for no time until this returns. By a
                // pointer to the whole task, which `claim_here` makes of the link.
                unsafe {
                    at.write(here);
                    self.push_link(at.cast());
                    at.as_ref()
                }
            }
            _ => {
                // SAFETY: taken out before this returns: by who claims it, or by `over`.
                unsafe { self.push(&here) };
                &here
            }
        };
        open();
        over(node, waiter.until_granted(&wait))
    }

    /// As `wait_turn`, without a frame: 0, or what `W` says of `at`, which is the object. `data`:
    /// None: any.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn wait_bare<K: Kernel, W: Over, const TRACK: bool>(
        &self,
        is_local: bool,
        bare: Bare<'_, K, TRACK>,
        (object, data): (usize, Option<usize>),
        at: *const u8,
        open: impl FnOnce(),
    ) -> RawResult {
        let (task, level) = (bare.task(), bare.level());
        let node = task.timer_ptr().cast::<Node>();
        let mut state = is::UNUSED | is::QUEUED | is::IN_HEADER;
        let wait = if is_local {
            state |= is::MADE_LATER;
            bare.begin_later();
            // What is no mutex is odd.
            let noted = if object == 0 { behind(at) } else { at };
            noted.cast()
        } else {
            ptr::from_ref(bare.begin(object))
        };
        // SAFETY: as in `wait_turn`; the link is written by the push. The state and the index, 0,
        // are one word (asserted at `Node`); the level is a byte of it, which stays in its register
        // so.
        unsafe {
            if let Some(data) = data {
                (&raw mut (*node.as_ptr()).data).write(Cell::new(data));
            }
            (&raw mut (*node.as_ptr()).wait).write(Cell::new(wait));
            (&raw mut (*node.as_ptr()).state).cast::<u64>().write(u64::from(state));
            let level_at = is::LEVEL_AT as usize / 8;
            (&raw mut (*node.as_ptr()).state).cast::<u8>().add(level_at).write(level as u8);
            // `bare` has looked at the level.
            let _ = self.levels.at_unchecked(level).push_back(node.cast());
            let at = if is_local { ptr::null() } else { at };
            bare.wait::<W>(Waits::Grant, None, at, open)
        }
    }

    /// The level of the first, waiting or cancelled.
    pub fn level(&self) -> Option<usize> {
        self.levels.iter().position(|level| !level.is_empty())
    }
}

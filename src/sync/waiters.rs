//! The queue of those who wait: by CPU priority, then in order.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::NonNull;

use crate::executor::grant::Wait;
use crate::intrusive::{Fifo, Link};
use crate::task::header::{TaskRef, PRIORITIES};
use crate::uring::kernel::Kernel;

/// A place in one queue, on the waiter's stack. A wait for several things has several.
#[repr(C)]
pub struct Node {
    link: Link,
    wait: NonNull<Wait>,
    /// The level in its low byte, and bits of [`is`]: one word, which one store sets up.
    state: Cell<u32>,
    /// For `Wait::index`.
    pub index: u32,
    /// What its object keeps with it.
    pub data: Cell<usize>,
}

mod is {
    pub const LEVEL: u32 = 0xff;
    pub const QUEUED: u32 = 1 << 8;
    /// The wait was claimed before it came here.
    pub const CLAIMED: u32 = 1 << 9;
    /// Claimed, and not given what it waited for: that has come to its end.
    pub const REFUSED: u32 = 1 << 10;
}

const _: () = assert!(offset_of!(Node, link) == 0);

impl Node {
    #[inline(always)]
    pub fn new(wait: &Wait, index: u32, data: usize) -> Self {
        Self {
            link: Link::new(),
            wait: NonNull::from(wait),
            state: Cell::new(u32::from(wait.level())),
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
        // SAFETY: a wait outlives its nodes, on the same stack.
        unsafe { self.wait.as_ref() }
    }

    #[inline(always)]
    fn level(&self) -> usize {
        (self.state.get() & is::LEVEL) as usize
    }

    #[inline(always)]
    fn has(&self, bit: u32) -> bool {
        self.state.get() & bit != 0
    }

    #[inline(always)]
    fn set(&self, bit: u32) {
        self.state.set(self.state.get() | bit);
    }

    /// Under the object's side.
    pub fn is_queued(&self) -> bool {
        self.has(is::QUEUED)
    }

    /// It was claimed already: who takes it out next need not.
    pub fn set_claimed(&self) {
        self.set(is::CLAIMED);
    }

    /// Claimed, and told that what it waited for has come to its end.
    pub fn refuse(&self) {
        self.set(is::REFUSED);
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
    levels: [Fifo; PRIORITIES],
}

// As sync.h counts on.
const _: () = assert!(size_of::<Waiters>() == 48);

impl Waiters {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { levels: [Fifo::new(), Fifo::new(), Fifo::new()] }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.levels.iter().all(Fifo::is_empty)
    }

    /// # Safety
    /// In no queue; it stays until it has been taken out.
    #[inline(always)]
    pub unsafe fn push(&self, node: &Node) {
        node.set(is::QUEUED);
        // SAFETY: the caller's.
        let _ = unsafe { self.levels[node.level()].push_back(node.link()) };
    }

    /// Takes a node out, if it is still in here.
    pub fn remove(&self, node: &Node) -> bool {
        let queued = node.is_queued();
        if queued {
            node.state.set(node.state.get() & !is::QUEUED);
            // SAFETY: a node is in the queue of its object, says `is_queued`.
            unsafe { self.levels[node.level()].remove(node.link()) };
        }
        queued
    }

    /// The first, which stays. Those who were cancelled are left out, and taken out.
    #[inline]
    pub fn first(&self) -> Option<&Node> {
        for level in &self.levels {
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

    /// As `claim`, of one that no other thread may end, which needs no call.
    #[inline(always)]
    pub fn claim_here(&self) -> First<'_> {
        let Some(level) = self.levels.iter().find(|level| !level.is_empty()) else {
            return First::Nobody;
        };
        // SAFETY: as above; it is not empty.
        let node = unsafe { Node::from_link(level.front().unwrap_unchecked()) };
        let wait = node.wait();
        let Some(task) = wait.waits_here() else { return First::Other };
        // Cancelled; or claimed before it came here.
        if !wait.claim() {
            return First::Other;
        }
        level.pop_front();
        node.state.set(node.state.get() & !is::QUEUED);
        wait.index.set(node.index);
        First::Here(node, task)
    }

    /// The level of the first, waiting or cancelled.
    pub fn level(&self) -> Option<usize> {
        self.levels.iter().position(|level| !level.is_empty())
    }
}

/// Waits that were claimed, to be woken once the side is open. Most often it is one: that is in no
/// list.
pub struct Woken {
    first: Option<NonNull<Link>>,
    more: Fifo,
}

impl Woken {
    #[inline(always)]
    pub fn none() -> Self {
        Self { first: None, more: Fifo::new() }
    }

    #[inline(always)]
    pub fn add(&mut self, wait: &Wait) {
        if self.first.is_none() {
            self.first = Some(wait.link());
        } else {
            // SAFETY: claimed, and its link is free until it is woken.
            let _ = unsafe { self.more.push_back(wait.link()) };
        }
    }

    #[inline(always)]
    pub fn wake<K: Kernel>(self) {
        let Some(first) = self.first else { return };
        // SAFETY: claimed, and its waiter waits until it is woken.
        unsafe { Wait::from_link(first) }.wake::<K>();
        if !self.more.is_empty() {
            self.wake_more::<K>();
        }
    }

    #[inline(never)]
    fn wake_more<K: Kernel>(self) {
        while let Some(link) = self.more.pop_front() {
            // SAFETY: claimed, and out of this list.
            unsafe { Wait::from_link(link) }.wake::<K>();
        }
    }
}

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
    level: u8,
    is_queued: Cell<bool>,
    /// The wait was claimed before it came here.
    is_claimed: Cell<bool>,
    /// Claimed, and not given what it waited for: that has come to its end.
    pub is_refused: Cell<bool>,
    /// For `Wait::index`.
    pub index: u32,
    /// What its object keeps with it.
    pub data: Cell<usize>,
}

const _: () = assert!(offset_of!(Node, link) == 0);

impl Node {
    pub fn new(wait: &Wait, index: u32, data: usize) -> Self {
        Self {
            link: Link::new(),
            wait: NonNull::from(wait),
            level: wait.level(),
            is_queued: Cell::new(false),
            is_claimed: Cell::new(false),
            is_refused: Cell::new(false),
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

    pub fn wait(&self) -> &Wait {
        // SAFETY: a wait outlives its nodes, on the same stack.
        unsafe { self.wait.as_ref() }
    }

    /// Under the object's side.
    pub fn is_queued(&self) -> bool {
        self.is_queued.get()
    }

    /// It was claimed already: who takes it out next need not.
    pub fn set_claimed(&self) {
        self.is_claimed.set(true);
    }

    /// Out of the queue. True: the caller serves it.
    #[inline]
    pub fn claim(&self) -> bool {
        let claimed = self.is_claimed.get() || self.wait().claim();
        if claimed {
            self.wait().index.set(self.index);
        }
        claimed
    }
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
    #[inline]
    pub unsafe fn push(&self, node: &Node) {
        node.is_queued.set(true);
        // SAFETY: the caller's.
        let _ = unsafe { self.levels[node.level as usize].push_back(node.link()) };
    }

    /// Takes a node out, if it is still in here.
    pub fn remove(&self, node: &Node) -> bool {
        let queued = node.is_queued.replace(false);
        if queued {
            // SAFETY: a node is in the queue of its object, says `is_queued`.
            unsafe { self.levels[node.level as usize].remove(node.link()) };
        }
        queued
    }

    /// The first, which stays. Those who were cancelled are left out, and taken out.
    pub fn first(&self) -> Option<&Node> {
        for level in &self.levels {
            while let Some(link) = level.front() {
                // SAFETY: a node leaves the queue before it ends.
                let node = unsafe { Node::from_link(link) };
                if node.is_claimed.get() || node.wait().is_armed() {
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
    #[inline]
    pub fn pop(&self) -> Option<&Node> {
        let level = self.levels.iter().find(|level| !level.is_empty())?;
        // SAFETY: as above.
        let node = level.pop_front().map(|link| unsafe { Node::from_link(link) })?;
        node.is_queued.set(false);
        Some(node)
    }

    /// Takes the first one out that can be claimed, and claims it (rule 2 of `sync`).
    #[inline]
    pub fn claim(&self) -> Option<&Node> {
        loop {
            let node = self.pop()?;
            if node.claim() {
                return Some(node);
            }
        }
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

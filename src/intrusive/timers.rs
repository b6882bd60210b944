//! Sleepers by deadline, for one thread. Touches only its nodes.
//!
//! Order: earliest deadline first; among equal deadlines, first inserted first.

use core::cell::{Cell, UnsafeCell};
use core::ptr::NonNull;
use intrusive_collections::{intrusive_adapter, KeyAdapter, RBTree, RBTreeLink, UnsafeRef};

/// Embedded in what sleeps.
#[repr(C)]
pub struct TimerNode {
    /// On the owner's clock. Fixed while the node is inserted.
    pub deadline_ns: Cell<u64>,
    link: RBTreeLink,
}

impl TimerNode {
    pub const fn new() -> Self {
        Self { deadline_ns: Cell::new(0), link: RBTreeLink::new() }
    }

    pub fn is_inserted(&self) -> bool {
        self.link.is_linked()
    }
}

impl Default for TimerNode {
    fn default() -> Self {
        Self::new()
    }
}

intrusive_adapter!(Adapter = UnsafeRef<TimerNode>: TimerNode { link => RBTreeLink });

impl KeyAdapter<'_> for Adapter {
    type Key = u64;
    fn get_key(&self, node: &TimerNode) -> u64 {
        node.deadline_ns.get()
    }
}

/// Nodes in order of their deadlines.
pub struct Timers {
    tree: UnsafeCell<RBTree<Adapter>>,
    first: Cell<Option<NonNull<TimerNode>>>,
    last: Cell<Option<NonNull<TimerNode>>>,
}

impl Timers {
    pub const fn new() -> Self {
        Self {
            tree: UnsafeCell::new(RBTree::new(Adapter::NEW)),
            first: Cell::new(None),
            last: Cell::new(None),
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    /// The node with the earliest deadline.
    #[inline]
    pub fn first(&self) -> Option<NonNull<TimerNode>> {
        self.first.get()
    }

    #[inline]
    pub fn next_deadline(&self) -> Option<u64> {
        // SAFETY: an inserted node is valid.
        self.first.get().map(|n| unsafe { n.as_ref() }.deadline_ns.get())
    }

    /// # Safety
    /// `node` is in no `Timers`, its deadline is set; it stays in place and untouched until it has
    /// left.
    pub unsafe fn insert(&self, node: NonNull<TimerNode>) {
        // SAFETY: one thread, and no method calls out while it holds this.
        let tree = unsafe { &mut *self.tree.get() };
        // SAFETY: the caller's contract.
        let value = unsafe { UnsafeRef::from_raw(node.as_ptr()) };
        let deadline_ns = value.deadline_ns.get();
        let (Some(first), Some(last)) = (self.first.get(), self.last.get()) else {
            tree.insert(value);
            self.first.set(Some(node));
            self.last.set(Some(node));
            return;
        };
        // SAFETY: inserted nodes are valid, and in this tree.
        unsafe {
            if last.as_ref().deadline_ns.get() <= deadline_ns {
                tree.cursor_mut_from_ptr(last.as_ptr()).insert_after(value);
                self.last.set(Some(node));
            } else if deadline_ns < first.as_ref().deadline_ns.get() {
                tree.cursor_mut_from_ptr(first.as_ptr()).insert_before(value);
                self.first.set(Some(node));
            } else {
                tree.insert(value);
            }
        }
    }

    /// # Safety
    /// `node` is in this `Timers`.
    pub unsafe fn remove(&self, node: NonNull<TimerNode>) {
        // SAFETY: one thread, and no method calls out while it holds this.
        let tree = unsafe { &mut *self.tree.get() };
        if self.last.get() == Some(node) {
            // SAFETY: the caller's contract.
            self.last.set(unsafe { tree.cursor_from_ptr(node.as_ptr()) }.peek_prev().get_ptr());
        }
        // SAFETY: the caller's contract.
        let mut cursor = unsafe { tree.cursor_mut_from_ptr(node.as_ptr()) };
        cursor.remove();
        if self.first.get() == Some(node) {
            self.first.set(cursor.get_ptr());
        }
    }

    /// Takes the earliest node if its deadline is `now_ns` or before.
    #[inline]
    pub fn pop_expired(&self, now_ns: u64) -> Option<NonNull<TimerNode>> {
        let first = self.first.get()?;
        // SAFETY: an inserted node is valid, and in this tree.
        unsafe {
            if first.as_ref().deadline_ns.get() > now_ns {
                return None;
            }
            self.remove(first);
        }
        Some(first)
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self::new()
    }
}

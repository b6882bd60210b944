//! A sleeper's words, and how the tree of `timers.rs` finds its own among them. Touches only the
//! node.

use super::Link;
use core::cell::Cell;
use core::ptr::{self, NonNull};
use intrusive_collections::{
    rbtree::{Color, RBTreeOps},
    Adapter, KeyAdapter, LinkOps, PointerOps,
};

/// The place of a node: its lane's index, or one of these.
pub(super) const IN_TREE: u64 = 4;
pub(super) const NOWHERE: u64 = 7;

/// The word `mark`, from the low bits up: the place, the colour in the tree, what the node is part
/// of, the number of the insertion.
const PLACE: u64 = 7;
const BLACK: u64 = 8;
const KIND: u64 = 16;
pub(super) const ONE_INSERTION: u64 = 32;

/// Embedded in what sleeps. 40 bytes.
///
/// ```text
/// +0   link         in a lane: its neighbours; in the tree: left and right child
/// +16  parent       in the tree
/// +24  mark
/// +32  deadline_ns
/// ```
#[repr(C)]
pub struct TimerNode {
    link: Link,
    parent: Cell<*mut TimerNode>,
    pub(super) mark: Cell<u64>,
    /// On the owner's clock. Set before `insert`, fixed until the node has left.
    pub deadline_ns: Cell<u64>,
}

const _: () = assert!(core::mem::offset_of!(TimerNode, link) == 0);
const _: () = assert!(core::mem::size_of::<TimerNode>() == 40);

impl TimerNode {
    /// Memory of a node that is in no queue may hold something else, if the low bits of this word
    /// stay what they are: of a node that [`new`](Self::new) has made.
    pub(crate) const UNUSED_AT: usize = core::mem::offset_of!(TimerNode, mark);
    pub(crate) const UNUSED: u64 = NOWHERE;
    pub(crate) const UNUSED_BITS: u64 = PLACE | BLACK | KIND;

    pub const fn new() -> Self {
        Self {
            link: Link::new(),
            parent: Cell::new(ptr::null_mut()),
            mark: Cell::new(NOWHERE),
            deadline_ns: Cell::new(0),
        }
    }

    /// Makes a node that is part of something else than [`new`](Self::new)'s are, which is in no
    /// queue: of its memory the one word that is read before `insert`.
    ///
    /// # Safety
    /// `node` is memory for one.
    #[inline(always)]
    pub(crate) unsafe fn write_of_another_kind(node: *mut Self) {
        // SAFETY: the caller's.
        unsafe { (&raw mut (*node).mark).write(Cell::new(NOWHERE | KIND)) };
    }

    #[inline(always)]
    pub(crate) fn is_of_another_kind(&self) -> bool {
        self.mark.get() & KIND != 0
    }

    /// Changes the place, and the number if one is given.
    #[inline(always)]
    pub(super) fn put(&self, place_and_number: u64) {
        self.mark.set(self.mark.get() & KIND | place_and_number);
    }

    #[inline]
    pub(crate) fn is_inserted(&self) -> bool {
        self.place() != NOWHERE
    }

    /// In a lane: the address of the one behind it, or 0.
    #[inline(always)]
    pub(super) fn next(&self) -> usize {
        self.link.next.get().addr()
    }

    #[inline]
    pub(super) fn place(&self) -> u64 {
        self.mark.get() & PLACE
    }

    /// Orders nodes of different places. The numbers, in the high bits of `mark`, differ; the low
    /// bits never matter.
    #[inline]
    pub(super) fn key(&self) -> (u64, u64) {
        (self.deadline_ns.get(), self.mark.get())
    }
}

impl Default for TimerNode {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells the tree how to use a node. Value, link and owning pointer are one and the same address,
/// so all conversions are the identity.
pub(super) struct ByDeadline(Words);

impl ByDeadline {
    pub(super) const fn new() -> Self {
        Self(Words)
    }
}

type Node = NonNull<TimerNode>;

// SAFETY: the conversions are inverse to each other.
unsafe impl Adapter for ByDeadline {
    type LinkOps = Words;
    type PointerOps = Words;

    #[inline]
    unsafe fn get_value(&self, node: Node) -> *const TimerNode {
        node.as_ptr()
    }
    #[inline]
    unsafe fn get_link(&self, node: *const TimerNode) -> Node {
        // SAFETY: valid (contract of the trait), so not null.
        unsafe { Node::new_unchecked(node.cast_mut()) }
    }
    #[inline]
    fn link_ops(&self) -> &Words {
        &self.0
    }
    #[inline]
    fn link_ops_mut(&mut self) -> &mut Words {
        &mut self.0
    }
    #[inline]
    fn pointer_ops(&self) -> &Words {
        &self.0
    }
}

impl KeyAdapter<'_> for ByDeadline {
    type Key = u64;

    #[inline]
    fn get_key(&self, node: &TimerNode) -> u64 {
        node.deadline_ns.get()
    }
}

/// Where the tree's words are: see [`TimerNode`].
#[derive(Clone, Copy, Default)]
pub(super) struct Words;

// SAFETY: the conversions are inverse to each other.
unsafe impl PointerOps for Words {
    type Value = TimerNode;
    type Pointer = Node;

    #[inline]
    unsafe fn from_raw(&self, node: *const TimerNode) -> Node {
        // SAFETY: came out of `into_raw`, so not null.
        unsafe { Node::new_unchecked(node.cast_mut()) }
    }
    #[inline]
    fn into_raw(&self, node: Node) -> *const TimerNode {
        node.as_ptr()
    }
}

// SAFETY: nothing to acquire: a node's place says whether it is free, and `TimerQueue` minds it.
unsafe impl LinkOps for Words {
    type LinkPtr = Node;

    #[inline]
    unsafe fn acquire_link(&mut self, _: Node) -> bool {
        true
    }
    #[inline]
    unsafe fn release_link(&mut self, _: Node) {}
}

/// # Safety
/// `node` is in the tree, or on its way into it.
#[inline]
unsafe fn at<'a>(node: Node) -> &'a TimerNode {
    // SAFETY: inserted nodes are valid (contract of `TimerQueue::insert`).
    unsafe { node.as_ref() }
}

fn raw<T>(node: Option<Node>) -> *mut T {
    node.map_or(ptr::null_mut(), |node| node.as_ptr().cast())
}

// SAFETY: the four words are distinct, nothing else uses them while a node is in the tree, and no
// method panics. In each method: the tree hands in its own nodes.
unsafe impl RBTreeOps for Words {
    #[inline]
    unsafe fn left(&self, node: Node) -> Option<Node> {
        // SAFETY: see the impl.
        Node::new(unsafe { at(node) }.link.next.get().cast())
    }
    #[inline]
    unsafe fn right(&self, node: Node) -> Option<Node> {
        // SAFETY: see the impl.
        Node::new(unsafe { at(node) }.link.prev.get().cast())
    }
    #[inline]
    unsafe fn parent(&self, node: Node) -> Option<Node> {
        // SAFETY: see the impl.
        Node::new(unsafe { at(node) }.parent.get())
    }
    #[inline]
    unsafe fn color(&self, node: Node) -> Color {
        // SAFETY: see the impl.
        match unsafe { at(node) }.mark.get() & BLACK {
            0 => Color::Red,
            _ => Color::Black,
        }
    }
    #[inline]
    unsafe fn set_left(&mut self, node: Node, left: Option<Node>) {
        // SAFETY: see the impl.
        unsafe { at(node) }.link.next.set(raw(left));
    }
    #[inline]
    unsafe fn set_right(&mut self, node: Node, right: Option<Node>) {
        // SAFETY: see the impl.
        unsafe { at(node) }.link.prev.set(raw(right));
    }
    #[inline]
    unsafe fn set_parent(&mut self, node: Node, parent: Option<Node>) {
        // SAFETY: see the impl.
        unsafe { at(node) }.parent.set(raw(parent));
    }
    #[inline]
    unsafe fn set_color(&mut self, node: Node, color: Color) {
        // SAFETY: see the impl.
        let mark = unsafe { &at(node).mark };
        mark.set(match color {
            Color::Red => mark.get() & !BLACK,
            Color::Black => mark.get() | BLACK,
        });
    }
}

//! Sleepers by deadline, for one thread. Touches only its nodes.
//!
//! Order: earliest deadline first; among equal deadlines, first inserted first.
//!
//! Nearly all programs sleep for a handful of durations (a tick, a retry, a time-out): for each of
//! them deadlines are inserted in order, and a queue would do. So there are four queues, "lanes",
//! and a red-black tree for what fits in none:
//!
//! ```text
//!  lane 0   9.0 s - 9.1 s - 9.7 s            <- takes 9.8 s
//!  lane 1   1.3 s - 1.5 s                    <- takes 2.0 s
//!  lane 2   0.1 s - 0.1 s - 0.2 s - 0.2 s    <- takes 0.3 s
//!  lane 3   (empty)                          <- takes anything earlier
//!  tree     the rest
//!  first    the earliest of the five heads
//! ```
//!
//! 1. A lane is sorted, and takes no deadline before its `latest_ns`. A new node goes to the first
//!    lane that takes it, else to the tree.
//! 2. Every insertion has its number, which decides between equal deadlines in two places. Within a
//!    lane or the tree the place decides.
//! 3. No head but `first` is due before `others_ns`. So the next one in the lane of `first` is the
//!    earliest of all if it is due before that, without a look at the other heads.
//! 4. A node's deadline and words are not touched by others while it is inserted.
//!
//! Costs: a lane's operations are O(1), the tree's O(log n), always; no allocation. What four lanes
//! buy, in ns for one `pop_expired` and its `insert` (Xeon, 2.6 GHz; the tree alone had its first
//! and last node cached, and appended without a search):
//!
//! | durations | lanes and tree | tree alone |
//! |---|---|---|
//! | 100 nodes: 1 ms each | 5.2 | 16 |
//! | ... after one sleeper of an hour | 6.6 | 24 |
//! | ... 1, 10 and 30 ms mixed | 11 | 46 |
//! | ... random up to 2 ms | 45 | 58 |
//! | 10,000 nodes, 512 bytes apart: 1 ms each | 10 | 22 |
//! | ... after one sleeper of an hour | 14 | 63 |
//! | ... 1, 10 and 30 ms mixed | 17 | 89 |
//! | ... random up to 2 ms | 194 | 199 |
//! | ... in shuffled memory: 1 ms each | 35 | 25 |
//! | ... the same, 10 ns of other work between | 36 | 35 |
//!
//! (In shuffled memory the lane waits for the one line of its next head, which the work of the task
//! just woken hides; the tree has it already, for having touched three others.)

use super::timer_node::{ByDeadline, TimerNode, IN_TREE, NOWHERE, ONE_INSERTION};
use super::Fifo;
use crate::prefetch;
use core::cell::{Cell, UnsafeCell};
use core::ptr::NonNull;
use intrusive_collections::RBTree;

const LANES: usize = 4;
const _: () = assert!(LANES as u64 <= IN_TREE);

struct Lane {
    queue: Fifo,
    /// No node of the queue is due later than this. 0 while it is empty.
    latest_ns: Cell<u64>,
}

/// Nodes in order of their deadlines.
pub struct TimerQueue {
    first: Cell<Option<NonNull<TimerNode>>>,
    others_ns: Cell<u64>,
    inserted: Cell<u64>,
    lanes: [Lane; LANES],
    tree_first: Cell<Option<NonNull<TimerNode>>>,
    tree: UnsafeCell<RBTree<ByDeadline>>,
}

impl TimerQueue {
    pub const fn new() -> Self {
        Self {
            first: Cell::new(None),
            others_ns: Cell::new(u64::MAX),
            inserted: Cell::new(0),
            lanes: [const { Lane { queue: Fifo::new(), latest_ns: Cell::new(0) } }; LANES],
            tree_first: Cell::new(None),
            tree: UnsafeCell::new(RBTree::new(ByDeadline::new())),
        }
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    /// The node with the earliest deadline. O(1).
    #[inline(always)]
    pub fn first(&self) -> Option<NonNull<TimerNode>> {
        self.first.get()
    }

    /// O(1).
    #[inline(always)]
    pub fn next_deadline(&self) -> Option<u64> {
        // SAFETY: an inserted node is valid (contract of `insert`).
        self.first.get().map(|node| unsafe { node.as_ref() }.deadline_ns.get())
    }

    /// Adds `node`, whose deadline is set.
    ///
    /// # Safety
    /// `node` is in no `TimerQueue`; it stays in place, and its deadline as it is, until it has
    /// left.
    #[inline(always)]
    pub unsafe fn insert(&self, node: NonNull<TimerNode>) {
        // SAFETY: the caller lends it.
        let new = unsafe { node.as_ref() };
        debug_assert!(!new.is_inserted());
        let deadline_ns = new.deadline_ns.get();
        let number = self.inserted.get() + ONE_INSERTION;
        self.inserted.set(number);
        let is_head = match self.lanes.iter().position(|lane| lane.latest_ns.get() <= deadline_ns) {
            Some(i) => {
                new.put(number | i as u64);
                self.lanes[i].latest_ns.set(deadline_ns);
                // SAFETY: in no other list (contract above).
                unsafe { self.lanes[i].queue.push_back(node.cast()) }.0
            }
            None => {
                new.put(number | IN_TREE);
                self.insert_in_tree(node, deadline_ns);
                true // Perhaps.
            }
        };
        match self.next_deadline() {
            // Equal: the older one stays first.
            Some(first_ns) if deadline_ns >= first_ns => {
                if is_head {
                    self.others_ns.set(self.others_ns.get().min(deadline_ns));
                }
            }
            first_ns => {
                self.first.set(Some(node));
                self.others_ns.set(first_ns.unwrap_or(u64::MAX));
            }
        }
    }

    /// Takes `node` out.
    ///
    /// # Safety
    /// `node` is in this `TimerQueue`.
    #[inline]
    pub unsafe fn remove(&self, node: NonNull<TimerNode>) {
        // SAFETY: an inserted node is valid.
        let gone = unsafe { node.as_ref() };
        debug_assert!(gone.is_inserted());
        match self.lanes.get(gone.place() as usize) {
            Some(lane) => {
                // SAFETY: its place says that it is in this lane.
                unsafe { lane.queue.remove(node.cast()) };
                gone.put(NOWHERE);
                match lane.queue.front().map(NonNull::cast::<TimerNode>) {
                    None => lane.latest_ns.set(0),
                    Some(head) => {
                        // SAFETY: inserted nodes are valid.
                        let next = unsafe { head.as_ref() };
                        // The head's line is needed now, to find the earliest; the next one's soon.
                        prefetch::line(next.next());
                        // Rule 3: then it is of the lane of `first`.
                        if next.deadline_ns.get() < self.others_ns.get() {
                            return self.first.set(Some(head));
                        }
                    }
                }
            }
            None => {
                self.remove_from_tree(node);
                gone.put(NOWHERE);
            }
        }
        if self.first.get() == Some(node) {
            self.find_first();
        }
    }

    /// Takes the earliest node if its deadline is `now_ns` or before.
    #[inline]
    pub fn pop_expired(&self, now_ns: u64) -> Option<NonNull<TimerNode>> {
        let first = self.first.get()?;
        // SAFETY: `first` is inserted, so valid.
        if unsafe { first.as_ref().deadline_ns.get() > now_ns } {
            return None;
        }
        // SAFETY: as above.
        let gone = unsafe { first.as_ref() };
        let Some(lane) = self.lanes.get(gone.place() as usize) else {
            // SAFETY: as above.
            unsafe { self.remove(first) };
            return Some(first);
        };
        // SAFETY: the earliest of its lane is the lane's head.
        let head = unsafe { lane.queue.take_front(first.cast()) };
        gone.put(NOWHERE);
        let Some(head) = head.map(NonNull::cast::<TimerNode>) else {
            lane.latest_ns.set(0);
            self.find_first();
            return Some(first);
        };
        // SAFETY: an entry of the lane, so inserted.
        let next = unsafe { head.as_ref() };
        // This line is needed now, and soon the next one's.
        prefetch::line(next.next());
        if next.deadline_ns.get() < self.others_ns.get() {
            self.first.set(Some(head));
        } else {
            self.find_first();
        }
        Some(first)
    }

    /// Which of the heads is `first`, and how early is the next one?
    fn find_first(&self) {
        let mut earliest = self.tree_first.get();
        let mut others_ns = u64::MAX;
        for lane in &self.lanes {
            let Some(head) = lane.queue.front().map(NonNull::cast::<TimerNode>) else { continue };
            // SAFETY: heads are inserted, so valid.
            let (key, least) = unsafe { (head.as_ref().key(), earliest.map(|e| e.as_ref().key())) };
            let later_ns = match least {
                Some(least) if key > least => key.0,
                least => {
                    earliest = Some(head);
                    least.map_or(u64::MAX, |least| least.0)
                }
            };
            others_ns = others_ns.min(later_ns);
        }
        self.first.set(earliest);
        self.others_ns.set(others_ns);
    }

    #[inline(never)]
    fn insert_in_tree(&self, node: NonNull<TimerNode>, deadline_ns: u64) {
        // SAFETY: one thread, and nothing below calls out of this file.
        let tree = unsafe { &mut *self.tree.get() };
        // Goes behind its equals (rule 2).
        tree.insert(node);
        // SAFETY: inserted nodes are valid.
        let earlier = |first: NonNull<TimerNode>| unsafe { first.as_ref() }.deadline_ns.get();
        if self.tree_first.get().is_none_or(|first| deadline_ns < earlier(first)) {
            self.tree_first.set(Some(node));
        }
    }

    fn remove_from_tree(&self, node: NonNull<TimerNode>) {
        // SAFETY: one thread, and nothing below calls out of this file.
        let tree = unsafe { &mut *self.tree.get() };
        // SAFETY: its place says that it is in the tree.
        let mut cursor = unsafe { tree.cursor_mut_from_ptr(node.as_ptr()) };
        cursor.remove();
        if self.tree_first.get() == Some(node) {
            self.tree_first.set(cursor.get_ptr());
        }
    }
}

impl Default for TimerQueue {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One duration stays in its lane, whatever slept longer before, and whatever came and went:
    /// the tree's time is for deadlines without any order.
    #[test]
    fn steady_sleepers_stay_out_of_the_tree() {
        let nodes: Vec<TimerNode> = (0..20).map(|_| TimerNode::new()).collect();
        let timers = TimerQueue::new();
        let insert = |node: &TimerNode, deadline_ns| {
            node.deadline_ns.set(deadline_ns);
            // SAFETY: idle, and outlives the timers.
            unsafe { timers.insert(NonNull::from(node)) };
            node.place()
        };
        // Fill all lanes, late ones first, and let them run dry again.
        for (i, node) in nodes[..LANES].iter().enumerate() {
            assert_eq!(insert(node, 1000 - i as u64), i as u64);
        }
        assert_eq!(insert(&nodes[LANES], 1), IN_TREE);
        while timers.pop_expired(1000).is_some() {}
        // Three time-outs that sleep on, and one tick.
        for (node, deadline_ns) in nodes.iter().zip([900, 800, 700]) {
            assert_ne!(insert(node, deadline_ns), IN_TREE);
        }
        for now_ns in 0..100 {
            let node = &nodes[3 + now_ns as usize % 10];
            if node.is_inserted() {
                assert_eq!(timers.pop_expired(now_ns), Some(NonNull::from(node)));
            }
            assert_ne!(insert(node, now_ns + 10), IN_TREE);
        }
    }
}

//! The buffers of a `monad_async_buffer_set`: which are free, who has which, and whose are stuck.
//! The rules are numbered in `buffer_set`.

use core::cell::Cell;
use core::ptr::NonNull;

use super::buffer_set::Set;
use super::side::Shared;
use super::waiters::Waiters;
use crate::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::error::Res;
use crate::reactor::fixed::{self, Memory};
use crate::sys::alloc;
use crate::task::header::TaskRef;
use crate::task::state::Run;

/// Of `Place::holder`: whichever run.
const ANY: Run = 0;

/// No buffer.
pub const NONE: u32 = u32::MAX;

/// What becomes of one buffer.
pub struct Place {
    /// The next that is free, or of the bucket; and the one before there.
    pub next: Cell<u32>,
    pub before: Cell<u32>,
    /// Of who has it, if that is a task, and of which run: what an earlier one has claimed is with
    /// others. 0: it was given to the task, whenever that runs.
    pub holder: Cell<Option<(TaskRef, Run)>>,
    /// Its holder waits for one more.
    pub is_stuck: Cell<bool>,
}

pub struct Core {
    pub memory: Memory,
    /// Handles.
    pub refs: AtomicU32,
    pub is_shared: AtomicBool,
    pub latch: Shared,
    pub free: Cell<u32>,
    pub places: Box<[Place]>,
    pub buckets: Box<[Cell<u32>]>,
    pub stuck: Cell<u32>,
    pub waiters: Waiters,
    pub sets: Cell<Option<NonNull<Set>>>,
}

/// A claim: which buffer, and which time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    pub number: u32,
    pub turn: u16,
}

impl Core {
    pub fn new(count: u32, bytes: u32) -> Res<NonNull<Self>> {
        let memory = Memory::new(count, bytes)?;
        let place = |number: u32| Place {
            next: Cell::new(if number + 1 < count { number + 1 } else { NONE }),
            before: Cell::new(NONE),
            holder: Cell::new(None),
            is_stuck: Cell::new(false),
        };
        let core = alloc::try_box(Self {
            memory,
            refs: AtomicU32::new(0),
            is_shared: AtomicBool::new(false),
            latch: Shared::open_one(),
            free: Cell::new(0),
            places: fixed::boxed(count, place)?,
            buckets: fixed::boxed(count.next_power_of_two(), |_| Cell::new(NONE))?,
            stuck: Cell::new(0),
            waiters: Waiters::new(),
            sets: Cell::new(None),
        })?;
        Ok(NonNull::from(Box::leak(core)))
    }

    pub fn is_shared(&self) -> bool {
        // Relaxed: set before another thread can have a handle.
        self.is_shared.load(Ordering::Relaxed)
    }

    pub fn place(&self, number: u32) -> &Place {
        &self.places[number as usize]
    }

    fn bucket(&self, task: TaskRef) -> &Cell<u32> {
        // Headers are a slot apart: the high half of the product is what differs.
        let mixed = (task.addr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        &self.buckets[mixed as usize & (self.buckets.len() - 1)]
    }

    /// That run of a task has this one from now on; None: nobody that could wait.
    pub fn chain(&self, number: u32, holder: Option<(TaskRef, Run)>) {
        let place = self.place(number);
        place.holder.set(holder);
        let Some((task, _)) = holder else { return };
        let bucket = self.bucket(task);
        place.before.set(NONE);
        place.next.set(bucket.get());
        if bucket.get() != NONE {
            self.place(bucket.get()).before.set(number);
        }
        bucket.set(number);
    }

    pub fn unchain(&self, number: u32) {
        let place = self.place(number);
        let Some((task, _)) = place.holder.take() else { return };
        if place.is_stuck.replace(false) {
            self.stuck.set(self.stuck.get() - 1);
        }
        let (before, next) = (place.before.get(), place.next.get());
        match before {
            NONE => self.bucket(task).set(next),
            before => self.place(before).next.set(next),
        }
        if next != NONE {
            self.place(next).before.set(before);
        }
    }

    /// Whether what `task`, in the run that is under way, has is of use to nobody, as it waits
    /// (rule 2).
    pub fn set_stuck(&self, task: TaskRef, is_stuck: bool) {
        let holds = |(holder, run)| holder == task && (run == ANY || run == task.state().run());
        let mut number = self.bucket(task).get();
        while number != NONE {
            let place = self.place(number);
            if place.holder.get().is_some_and(holds) && place.is_stuck.replace(is_stuck) != is_stuck
            {
                self.stuck.set(self.stuck.get().wrapping_add_signed(if is_stuck { 1 } else { -1 }));
            }
            number = place.next.get();
        }
    }

    /// It is another task's from now on, stuck if that one waits. False, and it is whose it was:
    /// all would be stuck (rule 2).
    pub fn hand_over(&self, number: u32, task: Option<TaskRef>) -> bool {
        let place = self.place(number);
        let was_stuck = place.is_stuck.get();
        let is_stuck = task.is_some_and(|task| self.waiters.has(task));
        if is_stuck && self.stuck.get() + u32::from(!was_stuck) == self.memory.count {
            return false;
        }
        self.unchain(number);
        self.chain(number, task.map(|task| (task, ANY)));
        if is_stuck {
            place.is_stuck.set(true);
            self.stuck.set(self.stuck.get() + 1);
        }
        true
    }

    /// Marks it.
    pub fn claim(&self, number: u32, task: Option<TaskRef>) -> Claim {
        let turn = self.memory.claimed(number);
        self.chain(number, task.map(|task| (task, task.state().run())));
        Claim { number, turn }
    }

    pub fn take_free(&self) -> Option<u32> {
        let number = self.free.get();
        if number == NONE || self.waiters.first().is_some() {
            return None;
        }
        self.free.set(self.place(number).next.get());
        Some(number)
    }

    /// Of a claim that the caller has, anywhere; of another, behind the side.
    #[inline(always)]
    pub fn is_claimed(&self, claim: Claim) -> bool {
        self.memory.is_turn(claim.number, claim.turn)
    }
}

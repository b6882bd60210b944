//! Those who are to be woken.

use core::ptr::NonNull;

use crate::executor::grant::Wait;
use crate::intrusive::{Fifo, Link};
use crate::uring::kernel::Kernel;

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

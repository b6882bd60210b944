//! Reads and writes as the last thing that a call does: see `executor::bare_io`. What has failed is
//! looked at here, by the words that were kept of it.

use core::mem::offset_of;
use core::ptr::NonNull;

use super::call::{of_entry_failed, Call};
use crate::atomic::AtomicU32;
use crate::error::RawResult;
use crate::executor::Executor;
use crate::reactor::fixed;
use crate::stack::switch::Failed;
use crate::task::header::{Task, TaskHead, TaskRef};
use crate::uring::abi::sqe as flag;
use crate::uring::kernel::{op, Kernel, Sqe};

/// The head is a task's first field.
const EXECUTOR_AT: usize = offset_of!(TaskHead, current_executor);
const _: () = assert!(offset_of!(Task, head) == 0);

/// A read or a write: its words are the entry's first four, the offset last, as that is the order
/// of a call of C's. `COUNTED`: a read into a registered buffer, by a direct descriptor: that and
/// the length, the address, the offset, and where the buffer's count of operations in flight is.
struct Io<K, const COUNTED: bool>(K);

impl<K: Kernel, const COUNTED: bool> Failed for Io<K, COUNTED> {
    const SWITCH_AT: usize = TaskRef::SWITCH_AT;
    const OUTCOME_AT: usize = TaskRef::OUTCOME_AT;
    const EXECUTOR_AT: usize = EXECUTOR_AT;
    const CLOSINGS_AT: usize = Executor::<K>::CLOSINGS_AT;

    #[cold]
    extern "C" fn failed(
        task: NonNull<u8>,
        closings: u64,
        d: u64,
        c: u64,
        b: u64,
        a: u64,
    ) -> RawResult {
        // SAFETY: called where such a call ends, for its task, whose executor this is.
        unsafe {
            let task = TaskRef::new(task.cast());
            if !COUNTED {
                let [head, addr, len, off] = [a, b, c, d];
                let sqe = Sqe([head, off, addr, len, 0, 0, 0, 0]);
                return of_entry_failed::<K>(task, &sqe, closings);
            }
            let ([fd_and_len, addr, off], users) = ([a, b, c], &*users_at(d));
            let index = executor_of::<K>(task).buffer_index(users);
            let sqe = fixed_entry(fd_and_len, addr, off, index.into());
            let moved = of_entry_failed::<K>(task, &sqe, closings);
            fixed::unused(users);
            moved
        }
    }
}

/// # Safety
/// It runs.
unsafe fn executor_of<'a, K: Kernel>(task: TaskRef) -> &'a Executor<K> {
    // SAFETY: the caller's: so its executor lives.
    unsafe { &*task.executor().cast::<Executor<K>>() }
}

fn users_at(address: u64) -> *const AtomicU32 {
    core::ptr::with_exposed_provenance(address as usize)
}

/// The entry of a read into a registered buffer.
fn fixed_entry(fd_and_len: u64, addr: u64, off: u64, index: u64) -> Sqe {
    let len = u64::from(fd_and_len as u32);
    Sqe([fd_and_len - len + HEAD_FIXED, off, addr, len, 0, index, 0, 0])
}

/// `Call::reads_fixed_last`, of a task behind which none has its turn: see
/// `Executor::io_last_leave`.
///
/// # Safety
/// As that.
#[inline(never)]
unsafe extern "C" fn read_fixed_leave<K: Kernel>(
    task: TaskRef,
    fd_and_len: u64,
    addr: u64,
    off: u64,
    users: &AtomicU32,
    index: u64,
) -> RawResult {
    let at = core::ptr::from_ref(users).expose_provenance() as u64;
    let (sqe, words) = (fixed_entry(fd_and_len, addr, off, index), [fd_and_len, addr, off, at]);
    // SAFETY: the caller's, whose executor this is.
    unsafe {
        let ex = executor_of::<K>(task);
        let begins = || fixed::used(users);
        match ex.io_last_leave::<Io<K, true>, true>(task, sqe, words, begins) {
            Some(moved) => moved,
            None => read_fixed::<K>(task, fd_and_len, addr, off, users, index),
        }
    }
}

/// `Call::reads_fixed_last`, where anything is in its way: what needs a frame.
///
/// # Safety
/// As that.
#[inline(never)]
unsafe extern "C" fn read_fixed<K: Kernel>(
    task: TaskRef,
    fd_and_len: u64,
    addr: u64,
    off: u64,
    users: &AtomicU32,
    index: u64,
) -> RawResult {
    fixed::used(users);
    // SAFETY: the caller's, whose executor this is.
    let moved = unsafe {
        let ex = executor_of::<K>(task);
        let sqe = fixed_entry(fd_and_len, addr, off, index);
        Call::of_entry(ex, task, &sqe).transfer(sqe, false)
    };
    fixed::unused(users);
    moved.map(|n| n as isize).into()
}

/// Of the first word of an entry, what is below the descriptor.
const HEAD_FIXED: u64 = op::READ_FIXED as u64 | (flag::FIXED_FILE as u64) << 8;

impl<K: Kernel> Call<'_, K> {
    /// SUSPENDS, as the last thing that the caller does. `sqe` is an entry of this call, of whose
    /// words the first four alone are not 0. None: nothing was done; `transfer` is to make it.
    ///
    /// # Safety
    /// As `transfer`.
    #[inline(always)]
    pub unsafe fn moves_last(&self, sqe: Sqe) -> Option<RawResult> {
        let [head, off, addr, len, ..] = sqe.0;
        let words = [head, addr, len, off];
        // SAFETY: the caller's.
        unsafe { self.ex.io_last::<Io<K, false>, false>(self.task, sqe, words, || {}) }
    }

    /// As `moves_last`, of a task behind which none has its turn: see `Executor::io_last_leave`.
    ///
    /// # Safety
    /// As `transfer`.
    #[inline(always)]
    pub unsafe fn moves_last_leave(&self, sqe: Sqe) -> Option<RawResult> {
        let [head, off, addr, len, ..] = sqe.0;
        let words = [head, addr, len, off];
        // SAFETY: the caller's.
        unsafe { self.ex.io_last_leave::<Io<K, false>, false>(self.task, sqe, words, || {}) }
    }

    /// SUSPENDS, as the last thing that the caller does: a read by a direct descriptor into a
    /// registered buffer with that count of operations in flight.
    ///
    /// # Safety
    /// As `transfer`; made by the buffer's set, of a claim.
    #[inline(always)]
    pub unsafe fn reads_fixed_last(&self, sqe: Sqe, users: &AtomicU32) -> RawResult {
        let [head, off, addr, len, _, index, ..] = sqe.0;
        let fd_and_len = head - HEAD_FIXED + len;
        let at = core::ptr::from_ref(users).expose_provenance() as u64;
        let words = [fd_and_len, addr, off, at];
        // The buffer stays its claimer's while in use.
        let begins = || fixed::used(users);
        // SAFETY: the caller's.
        unsafe {
            match self.ex.io_last::<Io<K, true>, true>(self.task, sqe, words, begins) {
                Some(moved) => moved,
                None => read_fixed_leave::<K>(self.task, fd_and_len, addr, off, users, index),
            }
        }
    }
}

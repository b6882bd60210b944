//! The end of a worker's thread: it is counted out when the thread-local objects that its tasks
//! have made have ended, too, as who waits for the workers lets go of what those refer to.

use core::ffi::c_void;
use core::ptr;

use super::workers::Pool;
use crate::sys::thread_pointer::ThreadPointer;

/// Those of the languages end before what threads keep by keys, as this.
static LEAVES: ThreadPointer = ThreadPointer::lasting(ends);

/// In the address of a pool: what has other keys has been ended once.
const SECOND_ROUND: usize = 1;
const _: () = assert!(align_of::<Pool>() > SECOND_ROUND);

/// The worker's thread, which is about to return.
pub(super) fn count_out(pool: &'static Pool) {
    // SAFETY: `ends` takes it.
    if unsafe { LEAVES.set(ptr::from_ref(pool).cast_mut().cast()) }.is_err() {
        pool.queue.remove_worker(); // Without memory, or a key, as early as that.
    }
}

/// The calling thread is that of a worker of `pool` that ends, and is not counted out.
pub(super) fn is_leaving(pool: &Pool) -> bool {
    LEAVES.get().addr() & !SECOND_ROUND == ptr::from_ref(pool).addr()
}

/// # Safety
/// `at` is a pool, by `count_out`, or in the second round.
unsafe extern "C" fn ends(at: *mut c_void) {
    let again = at.map_addr(|address| address | SECOND_ROUND);
    // SAFETY: this takes it.
    if at != again && unsafe { LEAVES.set(again) }.is_ok() {
        return;
    }
    let pool = at.map_addr(|address| address & !SECOND_ROUND).cast::<Pool>();
    // SAFETY: the caller's; pools are never freed.
    let pool = unsafe { &*pool };
    // Another such object may have forked: the child has no workers, perhaps a latch that is held.
    if pool.queue.is_of_this_process() {
        pool.queue.remove_worker();
    }
}

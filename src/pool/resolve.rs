//! Names of hosts and services, by the C library's `getaddrinfo` on helpers of their own.
//!
//! A name service may not answer for half a minute, and nothing makes `getaddrinfo` return. So a
//! lookup lies on the heap, and nobody waits for it who was interrupted:
//!
//! 1. `waiter` is under the lock of the helpers. Null: nobody waits any more, and the helper frees
//!    the lookup and what it found.
//! 2. A helper that is done claims the wait under that lock; from then on the lookup is the
//!    waiter's, which frees it.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::{self, NonNull};
use std::ffi::{CStr, CString};

use super::helpers::{Job, Kind, NAMES};
use crate::error::{Errno, RawResult};
use crate::executor::grant::{Caller, Wait};
use crate::executor::scope::NEVER_NS;
use crate::sys::{alloc, names};
use crate::uring::kernel::Kernel;

#[repr(C)]
struct Lookup {
    job: Job,
    waiter: Cell<*const Wait>,
    host: Option<CString>,
    service: Option<CString>,
    hints: Option<names::Hints>,
    /// What was found, or why nothing was; written before the wait is claimed.
    found: Cell<Result<names::List, names::Failure>>,
    wake: unsafe fn(&Wait),
}

const _: () = assert!(offset_of!(Lookup, job) == 0);

static KIND: Kind = Kind { begins, runs, fails };

/// # Safety
/// `job` is that of a lookup in the queue.
unsafe fn begins(_: NonNull<Job>) -> bool {
    true // Who is interrupted takes it out of the queue.
}

/// # Safety
/// `job` is that of a lookup that has begun.
unsafe fn runs(job: NonNull<Job>) -> bool {
    // SAFETY: the caller's; it stays until `finish`.
    let lookup = unsafe { job.cast::<Lookup>().as_ref() };
    let (host, service) = (lookup.host.as_deref(), lookup.service.as_deref());
    let found = names::find(host, service, lookup.hints.as_ref());
    // SAFETY: the caller's.
    unsafe { finish(job.cast(), found) };
    true
}

/// # Safety
/// As `runs`.
unsafe fn fails(job: NonNull<Job>, e: Errno) {
    // SAFETY: the caller's.
    unsafe { finish(job.cast(), Err(names::Failure::of(e))) };
}

/// # Safety
/// The lookup has begun, and is not used afterwards.
unsafe fn finish(at: NonNull<Lookup>, found: Result<names::List, names::Failure>) {
    // SAFETY: the caller's.
    let lookup = unsafe { at.as_ref() };
    lookup.found.set(found);
    let wake = lookup.wake;
    let claimed = NAMES.locked(|| {
        // SAFETY: null, or the wait of who waits: rule 1.
        unsafe { lookup.waiter.get().as_ref() }.filter(|wait| wait.claim())
    });
    match claimed {
        // SAFETY: claimed, so it stays until it is woken; the function is that of its kernel.
        Some(wait) => unsafe { wake(wait) },
        // Rule 1. One that was cancelled, and has not said so yet, finds `waiter` under the lock.
        None => abandon(at),
    }
}

/// The helper, or the waiter, is done with a lookup that the other has let go of, or is about to.
fn abandon(at: NonNull<Lookup>) {
    let last = NAMES.locked(|| {
        // SAFETY: freed by the second of the two.
        let waiter = &unsafe { at.as_ref() }.waiter;
        waiter.replace(ptr::null()).is_null()
    });
    if last {
        // SAFETY: from a box, and nobody else's any more.
        drop(unsafe { Box::from_raw(at.as_ptr()) });
    }
}

/// SUSPENDS until the name service has answered. EXPENSIVE. The list, to be freed by
/// `freeaddrinfo`; a failure's value is an EAI_ number.
pub fn resolve<K: Kernel>(
    caller: &Caller<'_, K>,
    host: Option<&CStr>,
    service: Option<&CStr>,
    hints: Option<&names::Hints>,
) -> Result<names::List, RawResult> {
    caller.start().map_err(RawResult::failure)?;
    let wait = caller.wait(false);
    let copy = |text: Option<&CStr>| text.map(alloc::try_copy).transpose();
    let lookup = alloc::try_box(Lookup {
        job: Job::new(&KIND),
        waiter: Cell::new(&wait),
        host: copy(host).map_err(RawResult::failure)?,
        service: copy(service).map_err(RawResult::failure)?,
        hints: hints.copied(),
        found: Cell::new(Err(names::Failure::of(Errno(0)))),
        wake: |wait| wait.wake::<K>(),
    });
    let at = NonNull::from(Box::leak(lookup.map_err(RawResult::failure)?));
    let (level, job) = (wait.level(), at.cast());
    // SAFETY: on the heap until both are done with it.
    if let Err(e) = unsafe { NAMES.submit(job, level) } {
        // SAFETY: no helper has seen it, and none will.
        drop(unsafe { Box::from_raw(at.as_ptr()) });
        return Err(RawResult::failure(e));
    }
    let waited = caller.until_granted(&wait, NEVER_NS);
    if let Err(e) = waited {
        if NAMES.withdraw(job, level, |had_not_begun| had_not_begun) {
            // SAFETY: no helper has seen it, and none will.
            drop(unsafe { Box::from_raw(at.as_ptr()) });
        } else {
            abandon(at);
        }
        return Err(RawResult::failure(e));
    }
    // SAFETY: rule 2.
    let lookup = unsafe { Box::from_raw(at.as_ptr()) };
    let Lookup { found, .. } = *lookup;
    found.into_inner().map_err(names::Failure::result)
}

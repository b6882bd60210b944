//! select.h: check, one call into `sync`, map the result.

use core::slice;

use super::task::TaskPtr;
use crate::api;
use crate::error::{Errno, RawResult, Res};
use crate::sync::select::{select, Case, CASES_MAX};
use crate::uring::RealKernel;

/// # Safety
/// See select.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_select(
    task: TaskPtr,
    cases: *mut Case,
    count: usize,
) -> RawResult {
    let select = || -> Res<isize> {
        if cases.is_null() || count == 0 || count > CASES_MAX {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: the caller's handle and cases, whose objects are what they say.
        let won = unsafe {
            let caller = api::caller::<RealKernel>(task)?;
            select(&caller, slice::from_raw_parts(cases, count))?
        };
        Ok(won as isize)
    };
    select().into()
}

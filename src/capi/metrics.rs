//! metrics.h: check, one call into `api`, map the result.

use core::ffi::c_char;

use super::ExecutorPtr;
use crate::api::{observe, Handle};
use crate::error::{Errno, RawResult};
use crate::executor::meter::{self, Histogram, Meter, BUCKETS, WORDS};
use crate::ticks;

/// # Safety
/// See metrics.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_metrics_start(ex: ExecutorPtr) -> RawResult {
    // SAFETY: the caller's handle.
    unsafe { Handle::from_ptr(ex) }.and_then(Handle::start_metrics).map(|()| 0).into()
}

/// # Safety
/// See metrics.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_executor_metrics(
    ex: ExecutorPtr,
    out: *mut Meter,
) -> RawResult {
    if out.is_null() {
        return RawResult::failure(Errno(libc::EINVAL));
    }
    // SAFETY: the caller's handle.
    let words = unsafe { Handle::from_ptr(ex) }.and_then(Handle::metrics);
    words
        .map(|words| {
            // SAFETY: the caller's to write; so many words.
            unsafe { out.cast::<[u64; WORDS]>().write(words) };
            0
        })
        .into()
}

/// # Safety
/// See metrics.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_metrics_text(
    executors: *const ExecutorPtr,
    count: usize,
    buffer: *mut c_char,
    bytes: usize,
) -> RawResult {
    if executors.is_null() || (buffer.is_null() && bytes != 0) {
        return RawResult::failure(Errno(libc::EINVAL));
    }
    // SAFETY: the caller's array.
    let executors = unsafe { core::slice::from_raw_parts(executors, count) };
    let mut read = Vec::new();
    if read.try_reserve_exact(count).is_err() {
        return RawResult::failure(Errno(libc::ENOMEM));
    }
    for &ex in executors {
        // SAFETY: the caller's handle.
        match unsafe { Handle::from_ptr(ex) }.and_then(Handle::read_metrics) {
            Ok(metrics) => read.push(metrics),
            Err(e) => return RawResult::failure(e),
        }
    }
    let mut none = [];
    let room = match bytes {
        0 => &mut none[..],
        // SAFETY: the caller's buffer.
        _ => unsafe { core::slice::from_raw_parts_mut(buffer.cast::<u8>(), bytes) },
    };
    let length = observe::metrics_text(&read, room);
    if let Some(last) = room.len().checked_sub(1) {
        room[length.min(last)] = 0;
    }
    RawResult::success(length as isize)
}

#[no_mangle]
pub extern "C" fn monad_async_histogram_bound_ns(bucket: usize) -> u64 {
    ticks::to_ns(meter::bound(bucket.min(BUCKETS - 1)))
}

/// # Safety
/// See metrics.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_histogram_percentile_ns(
    histogram: *const Histogram,
    per_mille: u32,
) -> u64 {
    // SAFETY: null, or the caller's.
    let Some(histogram) = (unsafe { histogram.cast::<[u64; BUCKETS + 2]>().as_ref() }) else {
        return 0;
    };
    let (max, counts) = (histogram[1], &histogram[2..]);
    let total: u64 = counts.iter().sum();
    let wanted = (u128::from(total) * u128::from(per_mille.min(1000))).div_ceil(1000) as u64;
    let mut seen = 0;
    for (i, &count) in counts.iter().enumerate() {
        seen += count;
        if count != 0 && seen >= wanted {
            return ticks::to_ns((meter::bound(i) - 1).min(max));
        }
    }
    0
}

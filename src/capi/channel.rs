//! channel.h: check, one call into `sync`, map the result.

use core::ffi::c_void;

use super::sync::{both, of, running};
use super::task::TaskPtr;
use crate::error::{Errno, RawResult, Res};
use crate::executor::scope::NEVER_NS;
use crate::sync::channel::Direction::{self, Receive, Send};
use crate::sync::channel::{Channel, Relocate};
use crate::sync::{Local, Shared, Side};
use crate::uring::RealKernel;

/// `monad_async_channel`
pub(super) type SharedChannel = Channel<Shared>;

/// `monad_async_local_channel`
pub(super) type LocalChannel = Channel<Local>;

/// `monad_async_relocate`
type RelocateFn = Option<Relocate>;

const EINVAL: Errno = Errno(libc::EINVAL);

/// # Safety
/// `ch` is null, or memory for a channel that nobody uses.
unsafe fn init<S: Side>(
    ch: *mut Channel<S>,
    storage: *mut c_void,
    capacity: usize,
    element_size: usize,
) -> RawResult {
    if ch.is_null() {
        return RawResult::failure(EINVAL);
    }
    // SAFETY: the caller's; zeros are an empty one.
    let ch = unsafe {
        ch.write_bytes(0, 1);
        &*ch
    };
    ch.set_up(storage.cast(), capacity, element_size).map(|()| 0).into()
}

/// # Safety
/// The caller's handle, channel and element.
#[inline(always)]
unsafe fn transfer<S: Side>(
    task: TaskPtr,
    ch: *mut Channel<S>,
    direction: Direction,
    element: *mut c_void,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's.
    match unsafe { running(task, ch) } {
        // SAFETY: the caller's.
        Some((caller, ch)) if !element.is_null() => unsafe {
            ch.transfer(&caller, direction, element.cast(), boot_ns)
        },
        // SAFETY: the caller's.
        _ => unsafe { transfer_otherwise(task, ch, direction, element, boot_ns) },
    }
}

/// # Safety
/// As `transfer`.
#[cold]
#[inline(never)]
unsafe extern "C" fn transfer_otherwise<S: Side>(
    task: TaskPtr,
    ch: *mut Channel<S>,
    direction: Direction,
    element: *mut c_void,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's.
    let checked =
        unsafe { both(task, ch) }.and_then(|(caller, ch)| Ok((caller, ch, check(ch, element)?)));
    match checked {
        // SAFETY: the caller's.
        Ok((caller, ch, element)) => unsafe { ch.transfer(&caller, direction, element, boot_ns) },
        Err(e) => RawResult::failure(e),
    }
}

/// # Safety
/// As `transfer`.
#[inline(always)]
unsafe fn try_transfer<S: Side>(
    ch: *mut Channel<S>,
    direction: Direction,
    element: *mut c_void,
) -> RawResult {
    // SAFETY: the caller's.
    unsafe {
        of(ch, |here, ch| {
            let element = check(ch, element)?;
            ch.try_transfer::<RealKernel>(here, direction, element).map(|()| 0)
        })
    }
}

/// Null only where an element is nothing.
#[inline(always)]
pub(super) fn check<S: Side>(ch: &Channel<S>, element: *mut c_void) -> Res<*mut u8> {
    if element.is_null() && ch.element_bytes() != 0 {
        return Err(EINVAL);
    }
    Ok(element.cast())
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_channel_init(
    ch: *mut SharedChannel,
    storage: *mut c_void,
    capacity: usize,
    element_size: usize,
) -> RawResult {
    // SAFETY: null, or the caller's memory, which nobody uses.
    unsafe { init(ch, storage, capacity, element_size) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_channel_set_relocate(
    ch: *mut SharedChannel,
    relocate: RelocateFn,
) -> RawResult {
    // SAFETY: the caller's channel, which nobody uses yet.
    unsafe {
        of(ch, |_, ch| {
            ch.set_relocate(relocate);
            Ok(0)
        })
    }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_channel_send(
    task: TaskPtr,
    ch: *mut SharedChannel,
    element: *mut c_void,
) -> RawResult {
    // SAFETY: the caller's handle, channel and element.
    unsafe { transfer(task, ch, Send, element, NEVER_NS) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_channel_send_until(
    task: TaskPtr,
    ch: *mut SharedChannel,
    element: *mut c_void,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle, channel and element.
    unsafe { transfer(task, ch, Send, element, boot_ns) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_channel_recv(
    task: TaskPtr,
    ch: *mut SharedChannel,
    element: *mut c_void,
) -> RawResult {
    // SAFETY: the caller's handle and channel, and memory for an element.
    unsafe { transfer(task, ch, Receive, element, NEVER_NS) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_channel_recv_until(
    task: TaskPtr,
    ch: *mut SharedChannel,
    element: *mut c_void,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and channel, and memory for an element.
    unsafe { transfer(task, ch, Receive, element, boot_ns) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_channel_try_send(
    ch: *mut SharedChannel,
    element: *mut c_void,
) -> RawResult {
    // SAFETY: the caller's channel and element.
    unsafe { try_transfer(ch, Send, element) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_channel_try_recv(
    ch: *mut SharedChannel,
    element: *mut c_void,
) -> RawResult {
    // SAFETY: the caller's channel, and memory for an element.
    unsafe { try_transfer(ch, Receive, element) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_channel_close(ch: *mut SharedChannel) -> RawResult {
    // SAFETY: the caller's channel.
    unsafe { of(ch, |here, ch| ch.close::<RealKernel>(here).map(isize::from)) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_channel_count(ch: *mut SharedChannel) -> RawResult {
    // SAFETY: the caller's channel.
    unsafe { of(ch, |here, ch| ch.count(here).map(|n| n as isize)) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_channel_init(
    ch: *mut LocalChannel,
    storage: *mut c_void,
    capacity: usize,
    element_size: usize,
) -> RawResult {
    // SAFETY: null, or the caller's memory, which nobody uses.
    unsafe { init(ch, storage, capacity, element_size) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_channel_set_relocate(
    ch: *mut LocalChannel,
    relocate: RelocateFn,
) -> RawResult {
    // SAFETY: the caller's channel, which nobody uses yet.
    unsafe {
        of(ch, |_, ch| {
            ch.set_relocate(relocate);
            Ok(0)
        })
    }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_channel_send(
    task: TaskPtr,
    ch: *mut LocalChannel,
    element: *mut c_void,
) -> RawResult {
    // SAFETY: the caller's handle, channel and element.
    unsafe { transfer(task, ch, Send, element, NEVER_NS) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_channel_send_until(
    task: TaskPtr,
    ch: *mut LocalChannel,
    element: *mut c_void,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle, channel and element.
    unsafe { transfer(task, ch, Send, element, boot_ns) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_channel_recv(
    task: TaskPtr,
    ch: *mut LocalChannel,
    element: *mut c_void,
) -> RawResult {
    // SAFETY: the caller's handle and channel, and memory for an element.
    unsafe { transfer(task, ch, Receive, element, NEVER_NS) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_channel_recv_until(
    task: TaskPtr,
    ch: *mut LocalChannel,
    element: *mut c_void,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and channel, and memory for an element.
    unsafe { transfer(task, ch, Receive, element, boot_ns) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_channel_try_send(
    ch: *mut LocalChannel,
    element: *mut c_void,
) -> RawResult {
    // SAFETY: the caller's channel and element.
    unsafe { try_transfer(ch, Send, element) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_channel_try_recv(
    ch: *mut LocalChannel,
    element: *mut c_void,
) -> RawResult {
    // SAFETY: the caller's channel, and memory for an element.
    unsafe { try_transfer(ch, Receive, element) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_channel_close(ch: *mut LocalChannel) -> RawResult {
    // SAFETY: the caller's channel.
    unsafe { of(ch, |here, ch| ch.close::<RealKernel>(here).map(isize::from)) }
}

/// # Safety
/// See channel.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_channel_count(ch: *mut LocalChannel) -> RawResult {
    // SAFETY: the caller's channel.
    unsafe { of(ch, |here, ch| ch.count(here).map(|n| n as isize)) }
}

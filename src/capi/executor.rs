//! executor.h: check, one call into `handle`, map the result.

use core::ffi::{c_char, c_int, c_void, CStr};
use core::ptr;

use crate::api::Handle;
use crate::atomic::{AtomicBool, Ordering};
use crate::error::{Errno, RawResult, Res};
use crate::executor::options::{timespec_ns, NO_TIME_TRACKING};
use crate::sched::shares::Shares;
use crate::sys::memory::guard_kind;
use crate::sys::stack_overflow;
use crate::sys::text::{text, Text};
use crate::sys::thread_pointer::ThreadPointer;
use crate::ticks;
use crate::uring::{CreateError, RealKernel, RingOptions};

use super::ExecutorPtr;

const EINVAL: Errno = Errno(libc::EINVAL);

/// `struct io_uring_params`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IoUringParams {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    resv: [u32; 3],
    offsets: [u64; 10],
}

const _: () = assert!(size_of::<IoUringParams>() == 120);

/// `struct monad_async_executor_attr`
#[repr(C)]
pub struct ExecutorAttr {
    pub entries: u32,
    params: IoUringParams,
    flags: u32,
    max_kernel_workers: [u32; 2],
    direct_descriptors: u32,
    pub share: [u32; 3],
    reserved: [u32; 9],
}

/// What NULL stands for. All zeros, as `MONAD_ASYNC_EXECUTOR_ATTR_INIT`.
// SAFETY: plain integers.
static DEFAULT: ExecutorAttr = unsafe { core::mem::zeroed() };

// As in executor.h.
const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(ExecutorAttr, entries) == 0 && offset_of!(ExecutorAttr, params) == 8);
    assert!(offset_of!(ExecutorAttr, flags) == 128);
    assert!(offset_of!(ExecutorAttr, max_kernel_workers) == 132);
    assert!(offset_of!(ExecutorAttr, direct_descriptors) == 140);
    assert!(offset_of!(ExecutorAttr, share) == 144 && offset_of!(ExecutorAttr, reserved) == 156);
    assert!(size_of::<ExecutorAttr>() == 192);
};

/// The sentence of this thread's last create that failed: from malloc, or `UNSAID`.
static LAST_ERROR: ThreadPointer = ThreadPointer::new(free_sentence);

/// Stands for a sentence that there was no memory to keep.
const UNSAID: &CStr = c"no memory for the executor, nor for the sentence that would say why";

/// A thread's failure could not be noted at all: it has no sentence, and may ask for it.
static UNNOTED: AtomicBool = AtomicBool::new(false);

/// At the thread's exit.
///
/// # Safety
/// What `note` set, and nobody uses any more.
unsafe extern "C" fn free_sentence(sentence: *mut c_void) {
    if !ptr::eq(sentence.cast_const(), UNSAID.as_ptr().cast()) {
        // SAFETY: from strndup.
        unsafe { libc::free(sentence) };
    }
}

/// Keeps the sentence for `monad_async_last_create_error`, in place of the one before.
fn note(text: &str) {
    // SAFETY: so many bytes of text; strndup copies at most those.
    let mut sentence = unsafe { libc::strndup(text.as_ptr().cast(), text.len()) }.cast::<c_void>();
    if sentence.is_null() {
        sentence = UNSAID.as_ptr().cast_mut().cast();
    }
    let before = LAST_ERROR.get();
    // SAFETY: as `free_sentence` wants it.
    let unused = match unsafe { LAST_ERROR.set(sentence) } {
        Ok(()) => before,
        Err(_) => {
            UNNOTED.store(true, Ordering::Relaxed);
            sentence
        }
    };
    // SAFETY: set here earlier, or never; C knows that a create changes what is there.
    unsafe { free_sentence(unused) };
}

pub(super) fn invalid(text: &'static str) -> CreateError {
    CreateError { errno: EINVAL, text: text.into() }
}

/// What the attributes ask for; whether it tracks time.
pub(super) fn options(attr: &ExecutorAttr) -> Result<(RingOptions, bool), CreateError> {
    if attr.reserved != [0; 9] {
        return Err(invalid("reserved fields of the attributes are not 0: memset them first"));
    }
    if attr.flags & !NO_TIME_TRACKING != 0 {
        return Err(invalid("flags holds bits that this version does not know: clear them"));
    }
    let params = &attr.params;
    let ring = RingOptions {
        entries: attr.entries,
        flags: params.flags,
        cq_entries: params.cq_entries,
        wq_fd: params.wq_fd as i32,
        max_kernel_workers: attr.max_kernel_workers,
        direct_descriptors: attr.direct_descriptors,
        ..RingOptions::default()
    };
    Ok((ring, attr.flags & NO_TIME_TRACKING == 0))
}

fn create(attr: Option<&ExecutorAttr>) -> Result<Handle<RealKernel>, CreateError> {
    let attr = attr.unwrap_or(&DEFAULT);
    let (ring, track) = options(attr)?;
    ticks::anchor();
    stack_overflow::install().map_err(|refused| CreateError {
        errno: refused.errno(),
        text: refused.sentence().into(),
    })?;
    Shares::default().set(attr.share).map_err(|_| {
        invalid("the shares of the levels add up to more than one: make the numbers larger")
    })?;
    let ex = Handle::new(RealKernel::new(&ring)?, track).map_err(out_of_memory)?;
    ex.executor().set_shares(attr.share).map_err(out_of_memory)?;
    Ok(ex)
}

/// # Safety
/// See executor.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_executor_create(
    out: *mut ExecutorPtr,
    attr: *const ExecutorAttr,
) -> RawResult {
    if out.is_null() {
        return RawResult::failure(EINVAL);
    }
    // SAFETY: null, or the caller's valid attributes.
    match create(unsafe { attr.as_ref() }) {
        Ok(ex) => {
            // SAFETY: not null, and the caller's to write.
            unsafe { *out = ex.as_ptr() };
            RawResult::success(0)
        }
        Err(e) => refused(e),
    }
}

pub(super) fn refused(e: CreateError) -> RawResult {
    note(&e.text);
    RawResult::failure(e.errno)
}

/// What a create says where memory ends.
pub(crate) fn no_memory() -> RawResult {
    refused(out_of_memory(Errno(libc::ENOMEM)))
}

fn out_of_memory(errno: Errno) -> CreateError {
    CreateError { errno, text: "no memory for the executor".into() }
}

#[no_mangle]
pub extern "C" fn monad_async_last_create_error() -> *const c_char {
    let last = LAST_ERROR.get();
    if !last.is_null() {
        last.cast_const().cast()
    } else if UNNOTED.load(Ordering::Relaxed) {
        UNSAID.as_ptr()
    } else {
        c"".as_ptr()
    }
}

/// # Safety
/// See executor.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_executor_destroy(ex: ExecutorPtr) -> RawResult {
    // SAFETY: the caller's handle.
    let ex = unsafe { Handle::from_ptr(ex) };
    ex.and_then(Handle::destroy).map(|()| 0).into()
}

/// # Safety
/// See executor.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_executor_run(
    ex: ExecutorPtr,
    max_items: usize,
    timeout: *const libc::timespec,
) -> RawResult {
    // SAFETY: the caller's handle; null, or the caller's valid timespec.
    let (ex, timeout) = unsafe { (Handle::from_ptr(ex), timeout.as_ref()) };
    let run = || -> Res<isize> {
        let timeout_ns = timeout.map(timespec_ns).transpose()?;
        Ok(ex?.run(max_items, timeout_ns)? as isize)
    };
    run().into()
}

/// # Safety
/// See executor.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_executor_wake(ex: ExecutorPtr) -> RawResult {
    // SAFETY: the caller's handle.
    let ex = unsafe { Handle::from_ptr(ex) };
    ex.and_then(Handle::wake).map(|()| 0).into()
}

/// # Safety
/// See executor.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_executor_has_work(ex: ExecutorPtr) -> bool {
    // SAFETY: the caller's handle.
    unsafe { Handle::from_ptr(ex) }.is_ok_and(Handle::has_work)
}

/// # Safety
/// See executor.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_executor_config_string(ex: ExecutorPtr) -> *mut c_char {
    // SAFETY: the caller's handle.
    let ex = match unsafe { Handle::from_ptr(ex) } {
        Ok(ex) if ex.executor().is_mine() => ex,
        _ => return core::ptr::null_mut(),
    };
    let text: Text = text!(
        "monad_async {}; {}; stack guards: {}",
        env!("CARGO_PKG_VERSION"),
        ex.executor().kernel().config(),
        guard_kind().name()
    );
    // SAFETY: a C string's bytes; strndup copies at most as many.
    unsafe { libc::strndup(text.as_ptr().cast(), text.len()) }
}

/// # Safety
/// See executor.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_executor_ring_fd(ex: ExecutorPtr) -> c_int {
    // SAFETY: the caller's handle.
    match unsafe { Handle::from_ptr(ex) } {
        Ok(ex) if ex.executor().is_mine() => ex.executor().kernel().real_ring_fd(),
        _ => -1,
    }
}

/// # Safety
/// See executor.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_executor_poll_fd(ex: ExecutorPtr) -> RawResult {
    // SAFETY: the caller's handle.
    match unsafe { Handle::from_ptr(ex) } {
        Ok(ex) if !ex.executor().is_mine() => RawResult::failure(Errno(libc::EPERM)),
        Ok(ex) => match ex.executor().poll_fd() {
            Ok(fd) => RawResult::success(fd as isize),
            Err(e) => RawResult::failure(e),
        },
        Err(e) => RawResult::failure(e),
    }
}

/// # Safety
/// See executor.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_free(p: *mut c_void) {
    // SAFETY: null, or from this library's strndup.
    unsafe { libc::free(p) };
}

//! buffer_set.h: check, one call below, map the result.

use core::ffi::c_void;
use core::ptr::NonNull;

use super::border::{self, done, mine, of};
use super::file::call;
use super::task::TaskPtr;
use super::ExecutorPtr;
use crate::api::{self, Handle};
use crate::atomic::AtomicU32;
use crate::error::{Errno, RawResult, Res};
use crate::executor::scope::NEVER_NS;
use crate::executor::Executor;
use crate::io::call::Call;
use crate::io::file::File;
use crate::reactor::fixed;
use crate::sync::buffer_set::{Claim, Set};
use crate::uring::kernel::{op, Kernel, Sqe};
use crate::uring::RealKernel;

/// `monad_async_buffer_set`
type SetPtr = *mut Set;

/// `monad_async_buffer`: buffer_set.h
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Buffer {
    data: *mut c_void,
    length: usize,
    set: SetPtr,
    number: u32,
    index: u16,
    turn: u16,
}

const _: () = assert!(size_of::<Buffer>() == 32);

const EINVAL: Errno = Errno(libc::EINVAL);

/// # Safety
/// `set` is null or a set that was not unregistered.
unsafe fn set<'a>(set: SetPtr) -> Res<&'a Set> {
    // SAFETY: the caller's.
    unsafe { set.as_ref() }.ok_or(EINVAL)
}

/// The set's executor, whose thread this is: None after its end.
fn owner(set: &Set) -> Res<Option<&Executor<RealKernel>>> {
    // SAFETY: it is named while it lives.
    unsafe { border::owner(set.owner().cast_mut()) }
}

/// The claim that a buffer is, and its set.
///
/// # Safety
/// `buffer` is null, or valid, and its set null or one that was not unregistered.
#[inline(always)]
unsafe fn claim_of<'a>(buffer: *const Buffer) -> Res<(&'a Set, Claim)> {
    // SAFETY: the caller's.
    let buffer = unsafe { buffer.as_ref() }.ok_or(EINVAL)?;
    // SAFETY: as above.
    let set = unsafe { set(buffer.set) }?;
    Ok((set, Claim { number: buffer.number, turn: buffer.turn }))
}

/// The same, where the calling thread may use it.
///
/// # Safety
/// As `claim_of`.
unsafe fn claimed<'a>(buffer: *const Buffer) -> Res<(&'a Set, Claim)> {
    // SAFETY: the caller's.
    let (set, claim) = unsafe { claim_of(buffer) }?;
    if !set.is_shared() {
        owner(set)?;
    }
    Ok((set, claim))
}

/// Hands a claim out.
///
/// # Safety
/// `out` is the caller's to write; `at` the set.
unsafe fn give(at: SetPtr, claim: Res<Claim>, out: *mut Buffer) -> RawResult {
    claim
        .map(|claim| {
            // SAFETY: the caller's.
            unsafe {
                let set = &*at;
                out.write(Buffer {
                    data: set.memory().data(claim.number).as_ptr().cast(),
                    length: set.memory().bytes as usize,
                    set: at,
                    number: claim.number,
                    index: set.fixed().index(claim.number),
                    turn: claim.turn,
                });
            }
            0
        })
        .into()
}

/// # Safety
/// See buffer_set.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_buffers_register(
    ex: ExecutorPtr,
    out: *mut SetPtr,
    count: u32,
    bytes: u32,
) -> RawResult {
    // SAFETY: the caller's handle, and null or the caller's memory.
    unsafe { border::give(out, || Ok(Set::register(mine(ex)?, count, bytes)?.as_ptr())) }
}

/// # Safety
/// See buffer_set.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_buffers_share(at: SetPtr) -> RawResult {
    // SAFETY: the caller's set.
    let shared = unsafe { set(at) }.and_then(|set| owner(set).and_then(|_| set.share()));
    done(shared)
}

/// # Safety
/// See buffer_set.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_buffers_clone(
    ex: ExecutorPtr,
    out: *mut SetPtr,
    at: SetPtr,
) -> RawResult {
    // SAFETY: the caller's handle and set, and null or the caller's memory.
    unsafe { border::give(out, || Ok(set(at)?.clone_to(mine(ex)?)?.as_ptr())) }
}

/// # Safety
/// See buffer_set.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_buffers_unregister(at: SetPtr) -> RawResult {
    if at.is_null() {
        return RawResult::success(0);
    }
    // SAFETY: the caller's set.
    let gone = unsafe { set(at) }.and_then(owner).and_then(|ex| {
        // SAFETY: the caller gives it up; its executor, or none.
        unsafe { Set::unregister(NonNull::new_unchecked(at), ex) }
    });
    done(gone)
}

/// # Safety
/// See buffer_set.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_buffers_claim(
    task: TaskPtr,
    at: SetPtr,
    out: *mut Buffer,
) -> RawResult {
    // SAFETY: the caller's handles and memory.
    unsafe { claim_until(task, at, out, NEVER_NS) }
}

/// # Safety
/// See buffer_set.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_buffers_claim_until(
    task: TaskPtr,
    at: SetPtr,
    out: *mut Buffer,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handles and memory.
    unsafe { claim_until(task, at, out, boot_ns) }
}

/// # Safety
/// As `monad_async_buffers_claim`.
#[inline(always)]
unsafe fn claim_until(task: TaskPtr, at: SetPtr, out: *mut Buffer, boot_ns: u64) -> RawResult {
    if task.is_null() || out.is_null() {
        return RawResult::failure(EINVAL);
    }
    // SAFETY: the caller's handle and set.
    let claim = match unsafe { (api::caller::<RealKernel>(task), set(at)) } {
        (Ok(caller), Ok(set)) => set.claim(&caller, boot_ns),
        (Err(e), _) | (_, Err(e)) => Err(e),
    };
    // SAFETY: not null.
    unsafe { give(at, claim, out) }
}

/// # Safety
/// See buffer_set.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_buffers_try_claim(
    task: TaskPtr,
    at: SetPtr,
    out: *mut Buffer,
) -> RawResult {
    if out.is_null() {
        return RawResult::failure(EINVAL);
    }
    // SAFETY: the caller's handle and set.
    let claim = match unsafe { (api::task(task), set(at)) } {
        (Ok(task), Ok(set)) => {
            Handle::<RealKernel>::running(task).and_then(|ex| set.try_claim(ex.executor(), task))
        }
        (Err(e), _) | (_, Err(e)) => Err(e),
    };
    // SAFETY: not null.
    unsafe { give(at, claim, out) }
}

/// # Safety
/// See buffer_set.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_buffers_release(buffer: *mut Buffer) -> RawResult {
    // SAFETY: the caller's buffer.
    let released =
        unsafe { claimed(buffer) }.and_then(|(set, claim)| set.release::<RealKernel>(claim));
    if released.is_ok() {
        // SAFETY: not null, and the caller's.
        unsafe {
            (*buffer).data = core::ptr::null_mut();
            (*buffer).length = 0;
        }
    }
    done(released)
}

/// # Safety
/// See buffer_set.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_buffers_give(
    buffer: *const Buffer,
    task: TaskPtr,
) -> RawResult {
    // SAFETY: null, or the caller's handle.
    let task = unsafe { api::task(task) }.ok();
    // SAFETY: the caller's buffer.
    let given = unsafe { claimed(buffer) }.and_then(|(set, claim)| set.give(claim, task));
    done(given)
}

/// A read or a write of a part of a buffer.
///
/// # Safety
/// The caller's handle and buffer.
#[inline(always)]
unsafe fn transfer(
    opcode: u8,
    task: TaskPtr,
    file: File,
    buffer: *const Buffer,
    part: (usize, usize),
    offset: i64,
) -> Res<usize> {
    // SAFETY: the caller's handle.
    let c = unsafe { call(task, file) }?;
    if opcode == op::WRITE_FIXED && c.is_ordered() {
        return Err(Errno(libc::EOPNOTSUPP));
    }
    // SAFETY: the caller's buffer.
    let (set, claim) = unsafe { claim_of(buffer) }?;
    let mut sqe = c.entry(opcode, offset as u64, 0, 0, 0);
    if opcode == op::WRITE_FIXED {
        sqe = sqe.raising_no_signal(c.ex.kernel().knows_no_signal());
    }
    // SAFETY: just made.
    unsafe { moves(&c, set.entry(c.ex, claim, part, sqe)?) }
}

/// Moves what an entry says, of a buffer with that count of operations in flight.
///
/// # Safety
/// Made by its set, of a claim.
#[inline(always)]
unsafe fn moves(c: &Call<'_, RealKernel>, (sqe, users): (Sqe, &AtomicU32)) -> Res<usize> {
    // The buffer stays its claimer's while in use.
    fixed::used(users);
    // SAFETY: refers to the buffer alone, which the set keeps.
    let moved = unsafe { c.moves(sqe, false) };
    fixed::unused(users);
    moved
}

/// # Safety
/// See buffer_set.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_read_fixed(
    task: TaskPtr,
    file: File,
    buffer: *const Buffer,
    at: usize,
    bytes: usize,
    offset: i64,
) -> RawResult {
    // SAFETY: the caller's handle and buffer.
    unsafe {
        if let Some(c) = border::direct_call(task, file.fd, file.flags) {
            if let Ok((set, claim)) = claim_of(buffer) {
                let sqe = c.entry(op::READ_FIXED, offset as u64, 0, 0, 0);
                if let Some((sqe, users)) = set.read_entry(c.ex, claim, (at, bytes), sqe) {
                    return c.reads_fixed_last(sqe, users);
                }
            }
        }
        read_fixed(task, file, buffer, at, bytes, offset)
    }
}

/// `monad_async_file_read_fixed` of any handle; and what is wrong with a call of it.
///
/// # Safety
/// As that.
#[inline(never)]
unsafe extern "C" fn read_fixed(
    task: TaskPtr,
    file: File,
    buffer: *const Buffer,
    at: usize,
    bytes: usize,
    offset: i64,
) -> RawResult {
    // SAFETY: the caller's handle and buffer.
    of(unsafe { transfer(op::READ_FIXED, task, file, buffer, (at, bytes), offset) })
}

/// # Safety
/// See buffer_set.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_write_fixed(
    task: TaskPtr,
    file: File,
    buffer: *const Buffer,
    at: usize,
    bytes: usize,
    offset: i64,
) -> RawResult {
    // SAFETY: the caller's handle and buffer.
    of(unsafe { transfer(op::WRITE_FIXED, task, file, buffer, (at, bytes), offset) })
}

//! buffer.h: check, one call below, map the result.

use core::ffi::c_void;
use core::ptr::NonNull;

use super::border::{done, give, mine, owner};
use super::task::TaskPtr;
use super::ExecutorPtr;
use crate::api::{self, Handle};
use crate::error::{Errno, RawResult, Res};
use crate::executor::Executor;
use crate::io::call::is_elsewhere;
use crate::io::recv_stream::{RecvStream, NO_WAIT, PASSES, UNIX};
use crate::io::socket::{are_flags, Socket, DIRECT};
use crate::reactor::buffers::Buffers;
use crate::reactor::operation::Op;
use crate::sys::fd;
use crate::task::header::TaskRef;
use crate::uring::abi::{cqe, cqe_buffer};
use crate::uring::RealKernel;

/// `monad_async_buffer_ring`
type RingPtr = *mut Buffers;

/// `monad_async_view`: buffer.h
#[repr(C)]
pub struct View {
    data: *mut c_void,
    length: usize,
    ring: RingPtr,
}

const EINVAL: Errno = Errno(libc::EINVAL);
const EPERM: Errno = Errno(libc::EPERM);

/// A ring, and its executor, whose thread this is: None after its end.
///
/// # Safety
/// `ring` is null or a ring that was not destroyed.
unsafe fn ring<'a>(ring: RingPtr) -> Res<(Option<&'a Executor<RealKernel>>, &'a Buffers)> {
    // SAFETY: the caller's.
    let buffers = unsafe { ring.as_ref() }.ok_or(EINVAL)?;
    // SAFETY: it is named while it lives.
    let ex = unsafe { owner(buffers.owner().cast()) }?;
    Ok((ex, buffers))
}

/// # Safety
/// See buffer.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_buffer_ring_create(
    ex: ExecutorPtr,
    out: *mut RingPtr,
    count: u32,
    bytes: u32,
) -> RawResult {
    // SAFETY: the caller's handle, and null or the caller's memory.
    unsafe { give(out, || Ok(mine(ex)?.add_buffers(count, bytes)?.as_ptr())) }
}

/// # Safety
/// See buffer.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_buffer_ring_destroy(at: RingPtr) -> RawResult {
    if at.is_null() {
        return RawResult::success(0);
    }
    // SAFETY: the caller's ring.
    let gone = unsafe { ring(at) }.and_then(|(ex, buffers)| {
        let buffers = NonNull::from(buffers);
        // SAFETY: the caller gives it up; its executor's, or nobody's.
        unsafe { ex.map_or_else(|| Buffers::free(buffers), |ex| ex.remove_buffers(buffers)) }
    });
    done(gone)
}

/// # Safety
/// See buffer.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_buffer_ring_group(ring: RingPtr) -> u16 {
    // SAFETY: the caller's ring.
    unsafe { ring.as_ref() }.map_or(0, |buffers| buffers.group)
}

/// # Safety
/// See buffer.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_buffer_ring_view(
    at: RingPtr,
    op: *const Op,
    view: *mut View,
) -> RawResult {
    // SAFETY: the caller's ring and record.
    let seen = match unsafe { (ring(at), op.as_ref()) } {
        (Ok(_), None) => Err(EINVAL),
        (Ok(_), _) if view.is_null() => Err(EINVAL),
        (Ok((_, buffers)), Some(op)) => see(buffers, op),
        (Err(e), _) => Err(e),
    };
    seen.map(|(data, length)| {
        // SAFETY: not null, and the caller's to write.
        unsafe { *view = View { data: data.as_ptr().cast(), length, ring: at } };
        length as isize
    })
    .into()
}

fn see(buffers: &Buffers, op: &Op) -> Res<(NonNull<u8>, usize)> {
    let flags = op.cqe_flags.get();
    if flags & cqe::BUFFER == 0 {
        return Err(Errno(libc::ENODATA));
    }
    let number = (flags >> cqe_buffer::SHIFT) as u16;
    if !buffers.is_held(number) {
        return Err(EINVAL);
    }
    Ok((buffers.data(number), op.result.get().value.max(0) as usize))
}

/// # Safety
/// See buffer.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_view_release(view: *mut View) -> RawResult {
    // SAFETY: null, or the caller's.
    let Some(view) = (unsafe { view.as_mut() }) else { return RawResult::failure(EINVAL) };
    // SAFETY: the ring of a view.
    let released = unsafe { ring(view.ring) }.and_then(|(ex, buffers)| {
        if !buffers.release(view.data.cast(), ex.and_then(|ex| ex.current_task())) {
            return Err(EINVAL);
        }
        if let Some(ex) = ex {
            ex.buffer_freed(buffers);
        }
        Ok(0)
    });
    if released.is_ok() {
        view.data = core::ptr::null_mut();
        view.length = 0;
    }
    released.into()
}

/// # Safety
/// See buffer.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_recv_stream_begin(
    task: TaskPtr,
    stream: *mut RecvStream,
    socket: Socket,
    at: RingPtr,
    flags: u32,
) -> RawResult {
    // SAFETY: the caller's handle and stream.
    let (task, stream) = match unsafe { (api::task(task), stream.as_ref()) } {
        (Ok(task), Some(stream)) => (task, stream),
        _ => return RawResult::failure(EINVAL),
    };
    if flags & !(NO_WAIT | PASSES) != 0 || !are_flags(socket.flags) {
        return RawResult::failure(EINVAL);
    }
    if socket.fd < 0 {
        return RawResult::failure(Errno(libc::EBADF));
    }
    // SAFETY: the caller's ring.
    let begun = unsafe { ring(at) }.and_then(|(ex, buffers)| {
        let running = Handle::<RealKernel>::running(task)?;
        if !ex.is_some_and(|ex| core::ptr::eq(running.executor(), ex)) {
            return Err(EPERM);
        }
        if is_elsewhere(running.executor(), socket.flags) {
            return Err(EPERM);
        }
        // What comes would be cut to a buffer's bytes, and an empty message be taken for the end.
        if socket.flags & DIRECT == 0 && fd::is_of_messages(socket.fd)? {
            return Err(Errno(libc::EOPNOTSUPP));
        }
        let is_unix = socket.flags & DIRECT == 0 && fd::is_unix(socket.fd);
        let kind = if is_unix { UNIX } else { 0 };
        let (buffers, flags) = (NonNull::from(buffers), flags | socket.flags | kind);
        // SAFETY: the stream and the ring are the caller's to keep.
        unsafe { stream.begin(running.executor(), task, socket.fd, buffers, flags) }
    });
    done(begun)
}

/// Its task, which runs, and the executor.
fn of(stream: &RecvStream) -> Res<(Handle<RealKernel>, TaskRef)> {
    let task = stream.task().ok_or(EINVAL)?;
    Handle::running(task).map(|ex| (ex, task))
}

/// # Safety
/// See buffer.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_recv_stream_next(
    stream: *mut RecvStream,
    view: *mut View,
) -> RawResult {
    // SAFETY: null, or the caller's.
    let Some(stream) = (unsafe { stream.as_ref() }) else { return RawResult::failure(EINVAL) };
    if view.is_null() {
        return RawResult::failure(EINVAL);
    }
    let next = of(stream).and_then(|(ex, task)| stream.next(ex.executor(), task));
    next.map(|received| match received {
        Some(received) => {
            let (data, length) = (received.data.as_ptr().cast(), received.length);
            // SAFETY: not null, and the caller's to write.
            unsafe { *view = View { data, length, ring: stream.ring() } };
            length as isize
        }
        None => 0,
    })
    .into()
}

/// # Safety
/// See buffer.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_recv_stream_stop(stream: *mut RecvStream) -> RawResult {
    // SAFETY: null, or the caller's.
    let Some(stream) = (unsafe { stream.as_ref() }) else { return RawResult::failure(EINVAL) };
    done(of(stream).and_then(|(ex, _)| stream.stop(ex.executor())))
}

/// # Safety
/// See buffer.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_recv_stream_end(stream: *mut RecvStream) -> RawResult {
    // SAFETY: null, or the caller's.
    let Some(stream) = (unsafe { stream.as_ref() }) else { return RawResult::failure(EINVAL) };
    if stream.task().is_none() {
        return RawResult::success(0); // Never begun.
    }
    done(of(stream).and_then(|(ex, task)| stream.finish(ex.executor(), task)))
}

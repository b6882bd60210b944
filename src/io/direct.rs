//! Direct descriptors and others: a direct one is put into another executor's table, or gets a
//! plain descriptor next to it. What the kernel does for plain ones alone is done by one that is
//! made for the call.

use super::call::{home_bits, Call, DIRECT};
use crate::error::{Errno, Res};
use crate::executor::reference::Reference;
use crate::sys::fd;
use crate::uring::abi::{file, message, msg_ring};
use crate::uring::kernel::{op, Kernel, Sqe};

const EINVAL: Errno = Errno(libc::EINVAL);
const EOPNOTSUPP: Errno = Errno(libc::EOPNOTSUPP);

/// Closed at its end.
pub(super) struct Own(pub(super) i32);

impl Drop for Own {
    fn drop(&mut self) {
        fd::close(self.0);
    }
}

impl<K: Kernel> Call<'_, K> {
    /// A plain descriptor of the same open file, closed by an exec. Of a direct one: SUSPENDS,
    /// Linux 6.8; before it EOPNOTSUPP.
    pub fn to_plain(&self) -> Res<i32> {
        if let Some(fd) = self.plain() {
            return fd::duplicate(fd);
        }
        if !self.ex.kernel().knows(op::FIXED_FD_INSTALL) {
            return Err(EOPNOTSUPP);
        }
        // SAFETY: refers to no memory.
        unsafe { self.io(&self.entry(op::FIXED_FD_INSTALL, 0, 0, 0, 0)) }.map(|fd| fd as i32)
    }

    /// Calls `f` with a plain descriptor: the handle's own, or one that is made for this call. As
    /// `to_plain`.
    pub(super) fn with_plain<T>(&self, f: impl FnOnce(i32) -> Res<T>) -> Res<T> {
        match self.plain() {
            Some(fd) => f(fd),
            None => {
                let made = Own(self.to_plain()?);
                f(made.0)
            }
        }
    }

    /// SUSPENDS. Puts a direct descriptor into the table of another executor of the process; its
    /// index there, with the flags of a handle. Linux 6.0; before it EOPNOTSUPP. ENFILE: that has
    /// no place, or no table; ESHUTDOWN: that executor is gone.
    pub fn pass(&self, to: &Reference) -> Res<(i32, u32)> {
        if !self.is_direct() || to.is_of(self.ex) {
            return Err(EINVAL);
        }
        if !self.ex.kernel().knows(op::MSG_RING) {
            return Err(EOPNOTSUPP);
        }
        let flags = DIRECT | home_bits(to.home()?);
        // Of our own: the executor may go until then, and another file get the number.
        let ring = Own(to.ring_descriptor::<K>()?);
        let mut sqe = Sqe::new(op::MSG_RING, ring.0, 0, message::SEND_FD, 0, msg_ring::CQE_SKIP);
        sqe.0[5] = u64::from(file::INDEX_ALLOC) << 32;
        sqe.0[6] = self.fd as u64;
        // SAFETY: refers to no memory.
        match unsafe { self.io(&sqe) } {
            Ok(index) => Ok((index as i32, flags)),
            // Its thread has ended, or its ring is on its way out.
            Err(Errno(libc::EOWNERDEAD | libc::EBADFD)) => Err(Errno(libc::ESHUTDOWN)),
            // Before 6.0 it passes numbers alone.
            Err(EINVAL) => Err(EOPNOTSUPP),
            Err(e) => Err(e),
        }
    }
}

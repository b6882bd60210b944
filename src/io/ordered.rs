//! The calls on ordered files: writes, one after the other.

use core::cell::Cell;
use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::NonNull;

use super::call::{home, is_elsewhere, moved, nothing, Call, BYTES_MAX, DIRECT, HOME};
use super::file::{behind, File, Parts, UNBUFFERED};
use crate::error::{Errno, RawResult, Res};
use crate::executor::mailbox::{kind, Mailbox};
use crate::executor::ordered::Ordered;
use crate::executor::Executor;
use crate::intrusive::Link;
use crate::pool::helpers::{Job, Kind, ROWS};
use crate::reactor::batch::{Batches, Home, Worker};
use crate::reactor::rows::{self, Broken};
use crate::sys::{alloc, fd, file};
use crate::task::header::NORMAL;
use crate::uring::kernel::{op, Kernel, Sqe};

/// Of a file's flags: it is ordered, and the lower half is the number of its row.
pub const ORDERED: u32 = 1 << 30;
const ROW: u32 = 0xffff;

/// Has the rows of one file performed by helper threads.
#[repr(C)]
struct Helper {
    job: Job,
    batches: Cell<Option<NonNull<Batches>>>,
    home: &'static Mailbox,
}

const _: () = assert!(offset_of!(Helper, job) == 0);

/// The executor of the row.
struct Owner(&'static Mailbox);

impl Home for Owner {
    fn post(&self, links: &[NonNull<Link>]) {
        // SAFETY: the links are in no list. Their executor has the records' tasks attached.
        let posted = unsafe { self.0.post_all_pinned(links, kind::BATCH) };
        debug_assert!(posted, "its executor waits for it");
    }

    fn sleeps(&self) -> bool {
        self.0.inbox.is_asleep()
    }
}

static KIND: Kind = Kind { begins: |_| true, runs, fails };

/// # Safety
/// `job` is that of a helper whose batches are out.
unsafe fn with(job: NonNull<Job>, f: impl FnOnce(NonNull<Batches>, &Owner)) {
    // SAFETY: the row stays until the last batch is posted, and so does this.
    let helper = unsafe { job.cast::<Helper>().as_ref() };
    let home = helper.home;
    let batches = helper.batches.get().expect("there are some while they are out");
    f(batches, &Owner(home));
}

/// # Safety
/// As `with`.
unsafe fn runs(job: NonNull<Job>) -> bool {
    // SAFETY: the caller's; they are out, and this is their thread.
    unsafe { with(job, |batches, home| Batches::perform(batches, home)) };
    true
}

/// # Safety
/// As `with`.
unsafe fn fails(job: NonNull<Job>, _: Errno) {
    // SAFETY: the caller's.
    unsafe { with(job, |batches, home| Batches::refuse(batches, home)) };
}

impl Helper {
    fn new(home: &'static Mailbox) -> Self {
        Self { job: Job::new(&KIND), batches: Cell::new(None), home }
    }
}

impl Worker for Helper {
    unsafe fn submit(&self, batches: NonNull<Batches>) {
        self.batches.set(Some(batches));
        let job = NonNull::from(self).cast();
        // SAFETY: the caller's: it stays until the batches are back.
        unsafe {
            if let Err(e) = ROWS.submit(job, NORMAL) {
                fails(job, e);
            }
        }
    }
}

/// Flags that a file may have.
pub fn are_flags(flags: u32) -> bool {
    let row = if flags & ORDERED != 0 { ROW } else { 0 };
    let home = if flags & (DIRECT | ORDERED) != 0 { HOME } else { 0 };
    flags & !(DIRECT | ORDERED | UNBUFFERED | row | home) == 0
}

/// EXPENSIVE. The same file, ordered.
pub fn order<K: Kernel>(ex: &Executor<K>, file: File) -> Res<File> {
    if file.flags & ORDERED != 0 {
        return Err(Errno(libc::EINVAL));
    }
    if file.flags & DIRECT == 0 && !fd::is_open(file.fd) {
        return Err(Errno(libc::EBADF));
    }
    let worker = || Ok(alloc::try_box(Helper::new(ex.mailbox()))? as Box<dyn Worker>);
    let row = ex.open_row(file.fd, file.flags & DIRECT != 0, worker)?;
    // Of an adopted one nobody has asked so far.
    let unbuffered = file.flags & DIRECT == 0 && file::is_unbuffered(file.fd);
    let unbuffered = if unbuffered { UNBUFFERED } else { 0 };
    let own = ORDERED | home(ex) | u32::from(row);
    Ok(File { fd: file.fd, flags: file.flags & !HOME | unbuffered | own })
}

impl<K: Kernel> Call<'_, K> {
    #[inline(always)]
    pub fn is_ordered(&self) -> bool {
        self.flags & ORDERED != 0
    }

    /// EPERM: its row is another executor's.
    #[inline(always)]
    fn ordered(&self) -> Res<Ordered> {
        if is_elsewhere(self.ex, self.flags) {
            return Err(Errno(libc::EPERM));
        }
        Ok(Ordered { fd: self.fd, direct: self.is_direct(), row: self.flags as u16 })
    }

    /// # Safety
    /// As `Executor::write_ordered`.
    #[inline(always)]
    unsafe fn pass_through(&self, sqe: &Sqe) -> RawResult {
        match self.ordered() {
            // SAFETY: the caller's.
            Ok(file) => unsafe { self.ex.write_ordered(self.task, file, sqe) },
            Err(e) => nothing(e),
        }
    }

    /// SUSPENDS until all is written, after what was called before.
    ///
    /// # Safety
    /// `from` has `bytes`.
    pub unsafe fn write_in_order(&self, from: *const c_void, bytes: usize, at: i64) -> RawResult {
        let mut sqe = self.entry(op::WRITE, at as u64, from as u64, bytes.min(BYTES_MAX) as u32, 0);
        rows::name(&mut sqe, self.flags as u16);
        let sqe = sqe.raising_no_signal(self.ex.kernel().knows_no_signal());
        // SAFETY: the caller's.
        unsafe { self.pass_through(&sqe) }
    }

    /// The same for more than one write can be, with others between its parts.
    ///
    /// # Safety
    /// As `write_in_order`.
    pub unsafe fn write_all_in_order(
        &self,
        from: *const c_void,
        bytes: usize,
        offset: i64,
    ) -> RawResult {
        let (mut done, begun) = (0, self.begun());
        loop {
            let at = behind(offset, done);
            // SAFETY: the caller's.
            let r = unsafe { self.write_in_order(from.byte_add(done), bytes - done, at) };
            done += r.value as usize;
            if r.error != 0 || done == bytes || r.value == 0 {
                return RawResult { value: done as isize, ..r };
            }
            if let Err(e) = self.goes_on(begun) {
                return moved(done, Err(e));
            }
        }
    }

    /// The same, as `pwritev2`.
    ///
    /// # Safety
    /// The parts, and what they name, are valid.
    pub unsafe fn writev_in_order(&self, parts: Parts, at: i64, flags: i32) -> RawResult {
        let (from, count) = (parts.at as u64, parts.count);
        let mut sqe = self.entry(op::WRITEV, at as u64, from, count, flags as u32);
        rows::name(&mut sqe, self.flags as u16);
        let sqe = sqe.raising_no_signal(self.ex.kernel().knows_no_signal());
        // SAFETY: the caller's.
        unsafe { self.pass_through(&sqe) }
    }

    /// How the last row that was cut short has ended.
    pub fn row_error(&self) -> Res<Broken> {
        self.ex.row_error(self.ordered()?)
    }

    /// SUSPENDS, shielded.
    pub fn close_in_order(&self) -> Res<()> {
        self.ex.close_ordered(self.task, self.ordered()?)
    }
}

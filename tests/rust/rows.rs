//! Rows of ordered writes whose files are closed and opened behind the library's back, and writes
//! that are over before they have begun. What is freed is overwritten, so that who follows it
//! falls.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::capi::buffer_set::{
    monad_async_buffers_claim, monad_async_buffers_register, monad_async_buffers_release,
    monad_async_buffers_unregister, Buffer,
};
use monad_async::capi::file::{monad_async_file_close, monad_async_file_set_ordered};
use monad_async::capi::op::{
    monad_async_op_begin, monad_async_op_cancel, monad_async_op_wait, monad_async_op_wait_any,
};
use monad_async::error::{Errno, RawResult};
use monad_async::executor::mailbox::{self, kind, Mailbox};
use monad_async::executor::ordered::Ordered;
use monad_async::executor::Executor;
use monad_async::intrusive::Link;
use monad_async::io::file::File;
use monad_async::io::ordered::{order, ORDERED};
use monad_async::reactor::batch::{Batches, Home, Worker};
use monad_async::reactor::operation::Op;
use monad_async::reactor::rows::wanted;
use monad_async::sys::fd;
use monad_async::task::header::TaskRef;
use monad_async::uring::abi::sqe as flag;
use monad_async::uring::kernel::{op, Cqe, Kernel, Sqe, Wait, Waker};
use monad_async::uring::{mask, RingOptions};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::io::{Read, Write};
use std::mem::zeroed;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::ptr::{null_mut, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use support::child::alone;
use support::rings::ring;
use support::skip::skip;
use support::*;

struct Overwriting;

// SAFETY: passes on to the system's allocator; what is freed is the allocator's.
unsafe impl GlobalAlloc for Overwriting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { at.write_bytes(0xfe, layout.size()) };
        // Never used again, so that it stays so.
        if layout.size() < 256 || layout.size() > 4096 {
            // SAFETY: as above.
            unsafe { System.dealloc(at, layout) };
        }
    }
}

#[global_allocator]
static ALLOCATOR: Overwriting = Overwriting;

/// `monad_async_op_write`, and what `monad_async_op_write_fixed` is.
fn write(opcode: u8, file: File, at: u64, bytes: u32, offset: u64) -> Op {
    // SAFETY: zeros are an operation.
    let op: Op = unsafe { zeroed() };
    let mut sqe = Sqe::new(opcode, file.fd, offset, at, bytes, 0);
    sqe.set_user_data(0x6f72_6465 << 32 | u64::from(file.flags & 0xffff));
    op.sqe.set(sqe);
    op
}

fn in_task(body: fn(TaskRef, Handle<Real>) -> RawResult) {
    in_task_of(RingOptions { entries: 8, ..Default::default() }, body);
}

fn in_task_of(options: RingOptions, body: fn(TaskRef, Handle<Real>) -> RawResult) {
    let Some(kernel) = ring(options) else { return };
    let ex = Handle::new(kernel, true).unwrap();
    let task = new_large_task();
    set_body(task, move |task| body(task, ex));
    succeeds(ex, task);
}

fn set_ordered(task: TaskRef, fd: i32) -> File {
    let mut file = File { fd, flags: 0 };
    // SAFETY: the task that runs, and ours to write.
    let r = unsafe { monad_async_file_set_ordered(task.as_head(), &mut file) };
    assert_eq!(r, RawResult::success(0));
    file
}

/// A file is closed; and before its task goes on, another has its number, and is ordered.
#[test]
fn a_number_that_is_another_files_before_the_close_returns() {
    alone("a_number_that_is_another_files_before_the_close_returns", || {
        let Some(kernel) = ring(RingOptions { entries: 8, ..Default::default() }) else { return };
        let ex = Handle::new(kernel, true).unwrap();
        let (closer, opener) = (new_large_task(), new_large_task());
        // One that lingers is closed by a thread of the kernel's, so its close suspends.
        let (lingers, _peer) = UnixStream::pair().unwrap();
        let fd = lingers.into_raw_fd();
        let set = libc::linger { l_onoff: 1, l_linger: 1 };
        let (at, length) = ((&raw const set).cast(), size_of_val(&set) as u32);
        // SAFETY: of that size.
        unsafe {
            fd::option_set(fd, libc::SOL_SOCKET, libc::SO_LINGER, at, length).unwrap();
            fd::option_was_set(libc::SOL_SOCKET, libc::SO_LINGER, at, length);
        }
        let closed = Rc::new(Cell::new(false));
        let has_closed = closed.clone();
        set_body(closer, move |task| {
            let file = set_ordered(task, fd);
            // SAFETY: the task that runs.
            let r = unsafe { monad_async_file_close(task.as_head(), file) };
            has_closed.set(true);
            r
        });
        set_body(opener, move |task| {
            // SAFETY: refers to no memory.
            while unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1 {
                Handle::<Real>::sleep(task, 0);
            }
            assert_eq!(tempfile().into_raw_fd(), fd, "the lowest that is free");
            let file = set_ordered(task, fd);
            assert!(!closed.get(), "of a lower priority");
            while !closed.get() {
                Handle::<Real>::sleep(task, 100_000);
            }
            let op = write(op::WRITE, file, c"ab".as_ptr() as u64, 2, 0);
            let at = (&raw const op).cast_mut();
            // SAFETY: the task that runs, and an operation in place until it is over.
            unsafe {
                assert_eq!(monad_async_op_begin(task.as_head(), at).error, 0);
                assert_eq!(monad_async_op_wait(task.as_head(), at), RawResult::success(2));
                monad_async_file_close(task.as_head(), file)
            }
        });
        closer.head.cpu.set(2);
        opener.head.cpu.set(0);
        ex.attach(closer).unwrap();
        ex.run(usize::MAX, Some(0)).unwrap();
        ex.attach(opener).unwrap();
        while ex.has_work() {
            ex.run(usize::MAX, None).unwrap();
        }
        for task in [closer, opener] {
            assert_eq!(task.head.result.get(), RawResult::success(0));
        }
        destroy(ex, [closer, opener]);
    });
}

/// While a close waits for what the kernel has of the row, another by an older copy of the handle,
/// which does not say that the file is ordered, closed it: what got the number next was closed by
/// the first one.
#[test]
fn a_close_by_an_older_handle_while_the_row_is_being_closed() {
    alone("a_close_by_an_older_handle_while_the_row_is_being_closed", || {
        let Some(kernel) = ring(RingOptions { entries: 8, ..Default::default() }) else { return };
        let ex = Handle::new(kernel, true).unwrap();
        let (_reader, writer) = std::io::pipe().unwrap();
        let fd = writer.into_raw_fd();
        let [writes, closes, again] = [(); 3].map(|()| new_large_task());
        let file = Rc::new(Cell::new(File { fd, flags: 0 }));
        let made = file.clone();
        set_body(writes, move |task| {
            made.set(set_ordered(task, fd));
            let room = vec![b'x'; 1 << 20]; // More than a pipe holds.
            let op = write(op::WRITE, made.get(), room.as_ptr() as u64, room.len() as u32, !0);
            let at = (&raw const op).cast_mut();
            // SAFETY: the task that runs, and an operation in place until it is over.
            unsafe {
                assert_eq!(monad_async_op_begin(task.as_head(), at).error, 0);
                monad_async_op_wait(task.as_head(), at);
            }
            RawResult::success(0)
        });
        let is_closed = Rc::new(Cell::new(false));
        let has_closed = is_closed.clone();
        set_body(closes, move |task| {
            // SAFETY: the task that runs.
            let r = unsafe { monad_async_file_close(task.as_head(), file.get()) };
            has_closed.set(true);
            r
        });
        set_body(again, move |task| {
            assert!(!is_closed.get());
            let mut older = File { fd, flags: 0 };
            // SAFETY: the task that runs, and ours to write.
            let [close, order] = unsafe {
                let close = monad_async_file_close(task.as_head(), older);
                [close, monad_async_file_set_ordered(task.as_head(), &mut older)]
            };
            assert!(!is_closed.get(), "the first one has waited");
            assert_eq!([close, order].map(|r| r.error), [libc::EBADF; 2]);
            // SAFETY: refers to no memory.
            assert!(unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0, "the first one's to close");
            RawResult::success(0)
        });
        ex.attach(writes).unwrap();
        for _ in 0..3 {
            let _ = ex.run(usize::MAX, Some(0));
        }
        ex.attach(closes).unwrap();
        ex.attach(again).unwrap();
        while ex.has_work() {
            ex.run(usize::MAX, None).unwrap();
        }
        for task in [writes, closes, again] {
            assert_eq!(task.head.result.get(), RawResult::success(0));
        }
        // SAFETY: refers to no memory.
        assert_eq!(unsafe { libc::fcntl(fd, libc::F_GETFD) }, -1);
        destroy(ex, [writes, closes, again]);
    });
}

/// A row has its turn although its only write was cancelled: its file is closed by `close`, and
/// the number goes to another file, which is ordered too.
#[test]
fn a_row_that_has_its_turn_and_is_replaced() {
    alone("a_row_that_has_its_turn_and_is_replaced", || {
        in_task(|task, _| {
            let mut file = tempfile();
            for _ in 0..3 {
                let ordered = set_ordered(task, file.as_raw_fd());
                let op = write(op::WRITE, ordered, c"ab".as_ptr() as u64, 2, 0);
                let at = (&raw const op).cast_mut();
                // SAFETY: the task that runs, and an operation in place until it is over.
                unsafe {
                    assert_eq!(monad_async_op_begin(task.as_head(), at).error, 0);
                    assert_eq!(monad_async_op_cancel(task.as_head(), at).error, 0);
                    assert_eq!(monad_async_op_wait(task.as_head(), at).error, libc::ECANCELED);
                }
                let old = file.as_raw_fd();
                drop(file);
                file = tempfile();
                assert_eq!(file.as_raw_fd(), old, "the lowest that is free");
            }
            let ordered = set_ordered(task, file.as_raw_fd());
            let op = write(op::WRITE, ordered, c"cd".as_ptr() as u64, 2, 0);
            let at = (&raw const op).cast_mut();
            // SAFETY: as above.
            unsafe {
                assert_eq!(monad_async_op_begin(task.as_head(), at).error, 0);
                assert_eq!(monad_async_op_wait(task.as_head(), at), RawResult::success(2));
                assert_eq!(monad_async_file_close(task.as_head(), ordered).error, 0);
            }
            std::mem::forget(file);
            RawResult::success(0)
        })
    });
}

/// `file`, ordered; `worker` performs its batches. None: no batch of such a file goes to a helper.
fn row_of(inner: &Executor<Told>, file: &std::fs::File, worker: &Mine) -> Option<File> {
    let (worker, asked) = (worker.clone(), Cell::new(false));
    let opened = inner.open_row(file.as_raw_fd(), false, || {
        asked.set(true);
        Ok(Box::new(worker))
    });
    if !asked.get() {
        skip("the file system of the temporary directory writes without a helper");
        return None;
    }
    Some(File { fd: file.as_raw_fd(), flags: ORDERED | u32::from(opened.unwrap()) })
}

fn tempfile() -> std::fs::File {
    tempfile_of(0)
}

/// Each write to it waits for the disk: its rows are the ring's, and those of others a thread's.
fn tempfile_of_the_ring() -> std::fs::File {
    tempfile_of(libc::O_DSYNC)
}

fn tempfile_of(flags: i32) -> std::fs::File {
    static MADE: AtomicU32 = AtomicU32::new(0); // Tests run side by side.
    let which = MADE.fetch_add(1, Ordering::Relaxed);
    let name = format!("monad_async_rows_{}_{which}", std::process::id());
    let name = std::env::temp_dir().join(name);
    let mut options = std::fs::File::options();
    let opened = options.write(true).create(true).truncate(true).custom_flags(flags).open(&name);
    std::fs::remove_file(name).unwrap();
    opened.unwrap()
}

/// The kernel takes two entries of a row of eight, as if it had no memory for more requests, and
/// they wait for room in a pipe: what is left of the row does not begin before. It did, as a row
/// of its own, and came between the two. (A pipe of many pages: on Linux 5.19 and 6.2 a write that
/// a thread of the kernel's performs waits for an empty one, and here all are done before any is
/// read.)
#[test]
fn a_row_of_which_the_kernel_takes_the_beginning() {
    alone("a_row_of_which_the_kernel_takes_the_beginning", || {
        let mask = mask::TAKES_FEW;
        in_task_of(RingOptions { entries: 16, mask, ..Default::default() }, |task, ex| {
            let (mut reader, mut writer) = std::io::pipe().unwrap();
            // SAFETY: a descriptor of our own.
            let size = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) };
            let mut filler = vec![b'-'; size.max(1) as usize];
            writer.write_all(&filler).unwrap();
            let ordered = set_ordered(task, writer.as_raw_fd());
            let text = c"abcdefgh";
            let ops: Vec<Op> = (0..8)
                .map(|n| write(op::WRITE, ordered, text.as_ptr() as u64 + n, 1, u64::MAX))
                .collect();
            for op in &ops {
                // SAFETY: the task that runs, and operations in place until they are over.
                let r =
                    unsafe { monad_async_op_begin(task.as_head(), (&raw const *op).cast_mut()) };
                assert_eq!(r.error, 0);
            }
            for _ in 0..20 {
                assert_eq!(ex.executor().sleep(task, 0), 0);
            }
            reader.read_exact(&mut filler).unwrap();
            for op in &ops {
                // SAFETY: as above.
                let r = unsafe { monad_async_op_wait(task.as_head(), (&raw const *op).cast_mut()) };
                assert_eq!(r, RawResult::success(1));
            }
            let mut got = [0; 8];
            reader.read_exact(&mut got).unwrap();
            assert_eq!(got, *b"abcdefgh");
            // SAFETY: as above.
            assert_eq!(unsafe { monad_async_file_close(task.as_head(), ordered) }.error, 0);
            std::mem::forget(writer);
            RawResult::success(0)
        })
    });
}

/// Behind one that has failed a write is over at once, and its buffer in use by nobody.
#[test]
fn a_buffer_of_a_write_that_was_over_at_once() {
    alone("a_buffer_of_a_write_that_was_over_at_once", || {
        in_task(|task, ex| {
            let mut set = null_mut();
            // SAFETY: the executor of this thread, and ours to write.
            let r = unsafe { monad_async_buffers_register(ex.as_ptr().cast(), &mut set, 1, 4096) };
            assert_eq!(r.error, 0);
            // SAFETY: a buffer is numbers and pointers.
            let mut buffer: Buffer = unsafe { zeroed() };
            // SAFETY: the task that runs, and its memory.
            let r = unsafe { monad_async_buffers_claim(task.as_head(), set, &mut buffer) };
            assert_eq!(r.error, 0);
            // SAFETY: its first field is the address of the data.
            let data = unsafe { (&raw const buffer).cast::<u64>().read() };
            let file = std::fs::File::open("/dev/null").unwrap(); // To be read only.
            let ordered = set_ordered(task, file.as_raw_fd());
            let ops = [0, 1].map(|_| write(op::WRITE_FIXED, ordered, data, 8, 0));
            let [first, second] = ops.each_ref().map(|op| (&raw const *op).cast_mut());
            // SAFETY: as above; each in place until it is over.
            unsafe {
                assert_eq!(monad_async_op_begin(task.as_head(), first).error, 0);
                while (*first).pending.get() == 0 {
                    Handle::<Real>::sleep(task, 1000);
                }
                assert_eq!(monad_async_op_begin(task.as_head(), second).error, 0);
                let mut which = null_mut();
                for e in [libc::EBADF, libc::ECANCELED] {
                    assert_eq!(monad_async_op_wait_any(task.as_head(), &mut which).error, 0);
                    assert_eq!((*which).result.get().error, e);
                }
                assert_eq!(monad_async_buffers_release(&mut buffer).error, 0, "in use");
                assert_eq!(monad_async_buffers_unregister(set).error, 0);
            }
            RawResult::success(0)
        })
    });
}

/// A kernel that completes what the test says.
#[derive(Clone, Default)]
struct Told {
    taken: Rc<RefCell<VecDeque<Sqe>>>,
    completed: Rc<RefCell<VecDeque<Cqe>>>,
    is_full: Rc<Cell<bool>>,
    /// How often it was entered without a wait.
    entered: Rc<Cell<u32>>,
    /// Another thread.
    beside: Rc<RefCell<Option<Box<dyn Beside>>>>,
}

trait Beside {
    /// The executor sleeps.
    fn asleep(&mut self);
    /// The executor asks for the time.
    fn now_ns(&mut self) -> u64;
}

impl Told {
    /// The entry that it has, which it completes so.
    fn complete(&self, res: i32) -> Sqe {
        let mut taken = self.taken.borrow_mut();
        taken.retain(|sqe| sqe.opcode() != op::ASYNC_CANCEL);
        assert_eq!(taken.len(), 1);
        let sqe = taken.pop_front().unwrap();
        let cqe = Cqe { user_data: sqe.user_data(), res, flags: 0 };
        self.completed.borrow_mut().push_back(cqe);
        sqe
    }
}

impl Kernel for Told {
    fn has_ring(&self) -> bool {
        true
    }
    fn sq_space(&self) -> u32 {
        if self.is_full.get() {
            0
        } else {
            8
        }
    }
    fn sq_pending(&self) -> u32 {
        0
    }
    unsafe fn push(&self, sqe: &Sqe) {
        if sqe.opcode() == op::CLOSE {
            let cqe = Cqe { user_data: sqe.user_data(), res: 0, flags: 0 };
            return self.completed.borrow_mut().push_back(cqe);
        }
        if sqe.opcode() == op::ASYNC_CANCEL {
            let cqe = Cqe { user_data: sqe.user_data(), res: -libc::ENOENT, flags: 0 };
            self.completed.borrow_mut().push_back(cqe);
        }
        self.taken.borrow_mut().push_back(*sqe);
    }
    fn pop(&self) -> Option<Cqe> {
        self.completed.borrow_mut().pop_front()
    }
    fn needs_enter(&self) -> bool {
        false
    }
    fn has_completions(&self) -> bool {
        !self.completed.borrow().is_empty()
    }
    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        self.entered.set(self.entered.get() + u32::from(wait == Wait::No));
        if let Some(beside) = self.beside.borrow_mut().as_mut().filter(|_| wait != Wait::No) {
            beside.asleep();
        }
        Ok(())
    }
    fn is_beside_others(&self) -> bool {
        self.beside.borrow().is_some()
    }
    fn now_boot_ns(&self) -> u64 {
        self.beside.borrow_mut().as_mut().map_or(1, |beside| beside.now_ns())
    }
    fn waker(&self) -> Waker {
        Waker::of_eventfd(-1)
    }
}

/// Two writes, of 10 bytes each, that are one entry: what they came to. And a task that cancels the
/// second.
struct Merged {
    kernel: Told,
    ex: Handle<Told>,
    tasks: [TaskRef; 2],
    data: u64,
    results: Rc<RefCell<Vec<RawResult>>>,
}

impl Merged {
    fn new() -> Self {
        let kernel = Told::default();
        let ex = Handle::new(kernel.clone(), false).unwrap();
        let file = tempfile_of_the_ring();
        let file = order(ex.executor(), File { fd: file.as_raw_fd(), flags: 0 }).unwrap();
        let data = c"0123456789abcdefghij".as_ptr() as u64;
        let ops = Box::new([0, 10].map(|at| write(op::WRITE, file, data + at, 10, at)));
        let tasks = [new_task(), new_task()];
        let results = Rc::new(RefCell::new(Vec::new()));
        let (second, told) = (&raw const ops[1], results.clone());
        let mut ops = Some(ops);
        set_body(tasks[0], move |task| {
            let ops = ops.take().unwrap();
            for op in ops.iter() {
                // SAFETY: in place until it is over.
                unsafe { Handle::<Told>::begin_operation(task, op) }.unwrap();
            }
            for op in ops.iter() {
                told.borrow_mut().push(Handle::<Told>::wait_operation(task, op));
            }
            RawResult::success(0)
        });
        set_body(tasks[1], move |task| {
            // SAFETY: in flight.
            Handle::<Told>::cancel_operation(task, unsafe { &*second }).unwrap();
            RawResult::success(0)
        });
        let merged = Self { kernel, ex, tasks, data, results };
        merged.run(Some(0));
        merged
    }

    /// Launches a task, if one is named, and lets the executor do what there is.
    fn run(&self, task: Option<usize>) {
        task.into_iter().for_each(|i| self.ex.attach(self.tasks[i]).unwrap());
        for _ in 0..2 {
            let _ = self.ex.run(usize::MAX, Some(0));
        }
    }

    fn end(self, results: [RawResult; 2]) {
        self.run(None);
        assert!(!self.ex.has_work());
        assert_eq!(*self.results.borrow(), results);
        destroy(self.ex, self.tasks);
    }
}

/// The kernel has the entry when the second is cancelled: by its name nothing is found. The entry
/// comes short within the first, and what is left of it goes alone.
#[test]
fn a_cancel_of_a_write_that_is_part_of_an_entry() {
    let merged = Merged::new();
    merged.run(Some(1));
    let entry = merged.kernel.complete(4);
    assert_eq!((entry.opcode(), entry.len()), (op::WRITEV, 2));
    merged.run(None);
    let entry = merged.kernel.complete(6);
    let left = (entry.opcode(), entry.off(), entry.addr(), entry.len());
    let expected = (op::WRITE, 4, merged.data + 4, 6);
    assert_eq!(left, expected, "the second was not to be written any more");
    let canceled = RawResult { value: 0, ..RawResult::failure(Errno(libc::ECANCELED)) };
    merged.end([RawResult::success(10), canceled]);
}

/// Batches of a row that are out: the test is the thread that performs them.
#[derive(Clone, Default)]
struct Mine(Rc<Cell<Option<NonNull<Batches>>>>);

impl Worker for Mine {
    unsafe fn submit(&self, batches: NonNull<Batches>) {
        self.0.set(Some(batches));
    }
}

impl Mine {
    /// Performs the next batch, in which a write to `bad` fails. True: there is another.
    fn performs(&self, home: &'static Mailbox, bad: u64) -> bool {
        let batches = self.0.get().expect("they are out");
        let write = |sqe: &Sqe| if sqe.off() == bad { -libc::ENOSPC } else { sqe.len() as i32 };
        // SAFETY: out, so in place until the last one is posted; their executor waits for each.
        unsafe {
            let (link, leaves) = batches.as_ref().step(|batch| batch.perform_by(|| 0, write));
            assert!(home.post_pinned(link, kind::BATCH));
            !leaves
        }
    }
}

/// Runs the task, which performs by `Mine` what its executor would have waited for.
fn perform_beside(ex: Handle<Told>, task: TaskRef) {
    ex.attach(task).unwrap();
    for _ in 0..200 {
        let _ = ex.run(usize::MAX, Some(0));
    }
    assert_eq!(task.head.result.get(), RawResult::success(0));
    destroy(ex, [task]);
}

/// All batches of a file are out when one of them, and one that failed behind it, are back: by the
/// first, what waited had its turn. When the task has taken the error, what it writes then is behind
/// no error: it went out behind batches that were not performed, and was cancelled with them.
#[test]
fn what_is_called_when_an_error_was_taken_is_not_behind_it() {
    const BAD: u64 = 100;
    let ex = Handle::new(Told::default(), false).unwrap();
    let (mine, task) = (Mine::default(), new_large_task());
    set_body(task, move |task| {
        let (inner, home) = (ex.executor(), ex.executor().mailbox());
        let file = tempfile();
        let Some(file) = row_of(inner, &file, &mine) else { return RawResult::success(0) };
        let one = |at| write(op::WRITE, file, c"x".as_ptr() as u64, 1, at);
        // SAFETY: operations in place until they are over, which is waited for below.
        let begin = |op: &Op| unsafe { Handle::<Told>::begin_operation(task, op) }.unwrap();
        let submit = || assert_eq!(inner.sleep(task, 0), 0);
        // More batches than a file has.
        let before: Vec<Op> =
            [0, BAD].into_iter().chain((0..40).map(|n| 200 + 10 * n)).map(one).collect();
        for op in &before {
            begin(op);
            submit();
        }
        assert!(mine.performs(home, BAD) && mine.performs(home, BAD));
        assert_eq!(Handle::<Told>::wait_operation(task, &before[1]).error, libc::ENOSPC);
        let behind = one(1000);
        begin(&behind);
        submit();
        while mine.performs(home, BAD) {}
        for op in &before[2..] {
            assert_eq!(Handle::<Told>::wait_operation(task, op).error, libc::ECANCELED);
        }
        submit();
        assert!(!mine.performs(home, BAD));
        for op in [&behind, &before[0]] {
            assert_eq!(Handle::<Told>::wait_operation(task, op), RawResult::success(1));
        }
        RawResult::success(0)
    });
    perform_beside(ex, task);
}

/// Where the batches go that the test has performed at once.
struct Noted<'a> {
    home: &'static Mailbox,
    sleeps: bool,
    written: &'a Cell<usize>,
    /// How many were written when a batch was posted.
    posted: RefCell<Vec<usize>>,
}

impl Home for Noted<'_> {
    fn post(&self, links: &[NonNull<Link>]) {
        self.posted.borrow_mut().extend(links.iter().map(|_| self.written.get()));
        // SAFETY: of batches that are performed; their executor waits for them.
        assert!(unsafe { self.home.post_all_pinned(links, kind::BATCH) });
    }
    fn sleeps(&self) -> bool {
        self.sleeps
    }
}

/// Each batch that came back had its executor woken, if that slept: on one machine 7 us of the
/// helper's time, in which it writes seven times. Of four batches that are out the first two are
/// told of with the third, unless that takes long, or the executor is awake. What is less than two
/// goes out in halves: of one the executor heard when all was performed, and the helper waited for
/// it then. So does what one write is: by the ring it took some 30 us, as a thread of the kernel's
/// was woken for each.
#[test]
fn who_performs_batches_tells_of_them_together_while_enough_is_out() {
    /// The time before a write is begun, by how many are written.
    type Time = fn(usize) -> u64;
    const CASES: [(Time, &[usize]); 12] = [
        (|_| 1, &[48, 48, 48, 64]),
        (|n| 1 + 60_000 * n as u64, &[16, 32, 48, 64]),
        (|n| if n < 20 { 1 } else { 200_000 }, &[20, 48, 48, 64]),
        (|n| if n < 20 { 1 } else { 60_000 }, &[20, 48, 48, 64]), // One write that takes long.
        (|n| 1 + 6_000 * n as u64, &[17, 35, 48, 64]),            // All of them together do.
        (|_| 1, &[32, 32, 33]),
        (|_| 1, &[16, 32]),
        (|_| 1, &[10, 19]),
        (|_| 1, &[4, 8]),
        (|_| 1, &[4, 7]),
        (|_| 1, &[1, 2]),
        (|_| 1, &[1]),
    ];
    const AWAKE: (bool, Time, &[usize]) = (false, |_| 1, &[16, 32, 48, 64]);
    let ex = Handle::new(Told::default(), false).unwrap();
    let (mine, task) = (Mine::default(), new_large_task());
    set_body(task, move |task| {
        let (inner, home) = (ex.executor(), ex.executor().mailbox());
        let file = tempfile();
        let Some(file) = row_of(inner, &file, &mine) else { return RawResult::success(0) };
        let asleep = CASES.map(|(time, told)| (true, time, told));
        for (sleeps, time, told) in asleep.into_iter().chain([AWAKE]) {
            let ops: Vec<Op> = (0..*told.last().unwrap() as u64)
                .map(|n| write(op::WRITE, file, c"x".as_ptr() as u64, 1, 10 * n))
                .collect();
            for op in &ops {
                // SAFETY: in place until it is over, which is waited for below.
                unsafe { Handle::<Told>::begin_operation(task, op) }.unwrap();
            }
            assert_eq!(inner.sleep(task, 0), 0);
            let batches = mine.0.take().unwrap();
            let written = Cell::new(0);
            let noted = Noted { home, sleeps, written: &written, posted: RefCell::default() };
            let one = |sqe: &Sqe| {
                written.set(written.get() + 1);
                sqe.len() as i32
            };
            // SAFETY: out, so in place until the last one is posted.
            unsafe { Batches::perform_by(batches, || time(written.get()), one, &noted) };
            assert_eq!(*noted.posted.borrow(), told);
            for op in &ops {
                assert_eq!(Handle::<Told>::wait_operation(task, op), RawResult::success(1));
            }
        }
        RawResult::success(0)
    });
    perform_beside(ex, task);
}

/// Where executor and helper were on one processor, three batches that were posted together woke
/// the executor three times: it ran at once, took the one that was there, and slept again, 8 us of
/// the helper's time each. Who wakes it here is interrupted, by the pipe that has no reader.
#[test]
fn who_is_told_of_several_is_woken_when_all_are_there() {
    static HOME: AtomicPtr<Mailbox> = AtomicPtr::new(null_mut());
    static THERE: AtomicU32 = AtomicU32::new(0);
    extern "C" fn woken(_: i32) {
        // SAFETY: a mailbox lives for ever; the thread that owns it is interrupted in no call of its.
        let taken = unsafe { &*HOME.load(Ordering::Relaxed) }.inbox.take();
        THERE.fetch_add(taken.entries.finish().count() as u32, Ordering::Relaxed);
    }
    alone("who_is_told_of_several_is_woken_when_all_are_there", || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        // SAFETY: a handler of ours.
        unsafe { libc::signal(libc::SIGPIPE, woken as *const () as usize) };
        let home = mailbox::open(Waker::of_eventfd(writer.as_raw_fd())).unwrap();
        HOME.store(std::ptr::from_ref(home).cast_mut(), Ordering::Relaxed);
        let links = [const { Link::new() }; 3];
        let posted = links.each_ref().map(NonNull::from);
        assert!(home.inbox.try_sleep());
        // SAFETY: in no list, and in place until they are taken.
        assert!(unsafe { home.post_all_pinned(&posted, kind::BATCH) });
        assert_eq!(THERE.load(Ordering::Relaxed), 3);
        assert!(home.inbox.close().is_empty());
    });
}

/// The last of some writes that are done as one writes nothing: it was put off behind what came after.
#[test]
fn a_write_of_nothing_behind_another_is_done_with_it() {
    let kernel = Told::default();
    let ex = Handle::new(kernel.clone(), false).unwrap();
    let (mine, task) = (Mine::default(), new_large_task());
    set_body(task, move |task| {
        let (inner, home) = (ex.executor(), ex.executor().mailbox());
        let file = tempfile();
        let Some(file) = row_of(inner, &file, &mine) else { return RawResult::success(0) };
        // Two batches, the first of which is of what is done as one.
        let ops = [(10, 0), (0, 10), (1, 100)]
            .map(|(bytes, at)| write(op::WRITE, file, c"0123456789".as_ptr() as u64, bytes, at));
        for op in &ops {
            // SAFETY: in place until it is over, which is waited for below.
            unsafe { Handle::<Told>::begin_operation(task, op) }.unwrap();
        }
        assert_eq!(inner.sleep(task, 0), 0);
        let written = Cell::new(0);
        let noted = Noted { home, sleeps: false, written: &written, posted: RefCell::default() };
        let one = |sqe: &Sqe| {
            written.set(written.get() + 1);
            wanted(sqe) as i32
        };
        // SAFETY: out, so in place until the last one is posted.
        unsafe { Batches::perform_by(mine.0.take().unwrap(), || 1, one, &noted) };
        assert_eq!(written.get(), 2);
        for (op, bytes) in ops.iter().zip([10, 0, 1]) {
            assert_eq!(Handle::<Told>::wait_operation(task, op), RawResult::success(bytes));
        }
        RawResult::success(0)
    });
    perform_beside(ex, task);
    assert!(kernel.taken.borrow().is_empty());
}

/// What the executor does while batches are out, and when they are performed.
#[derive(Clone)]
struct Looked {
    mine: Mine,
    home: &'static Mailbox,
    now_ns: Rc<Cell<u64>>,
    /// How often it slept.
    sleeps: Rc<Cell<u32>>,
    /// How often it asked for the time since it began to wait.
    asked: Rc<Cell<u32>>,
    /// After so many of those, or in its sleep, the batches are performed.
    brings: Rc<Cell<u32>>,
    /// In so many sleeps before that nothing but time passes.
    naps: Rc<Cell<u32>>,
}

impl Looked {
    fn performs(&self) {
        while self.mine.performs(self.home, u64::MAX) {}
        self.mine.0.set(None);
    }
}

impl Beside for Looked {
    fn asleep(&mut self) {
        self.sleeps.set(self.sleeps.get() + 1);
        if self.naps.get() != 0 {
            self.naps.set(self.naps.get() - 1);
            self.now_ns.set(self.now_ns.get() + 1_000_000);
            return;
        }
        self.performs();
    }
    fn now_ns(&mut self) -> u64 {
        self.asked.set(self.asked.get() + 1);
        if self.asked.get() == self.brings.get() {
            self.performs();
        }
        self.now_ns.set(self.now_ns.get() + 10_000);
        self.now_ns.get()
    }
}

/// An executor that waits for batches, in rounds: when they come; how often it sleeps; and how often it
/// has asked for the time, where that is told. What comes in a sleep does so in the one after `naps`.
fn look(rounds: &'static [(u32, u32, Option<u32>)], naps: &'static [u32]) {
    let kernel = Told::default();
    let ex = Handle::new(kernel.clone(), false).unwrap();
    let (mine, task) = (Mine::default(), new_large_task());
    let looked = Looked {
        mine: mine.clone(),
        home: ex.executor().mailbox(),
        now_ns: Rc::default(),
        sleeps: Rc::default(),
        asked: Rc::default(),
        brings: Rc::default(),
        naps: Rc::default(),
    };
    *kernel.beside.borrow_mut() = Some(Box::new(looked.clone()));
    set_body(task, move |task| {
        let file = tempfile();
        let Some(file) = row_of(ex.executor(), &file, &mine) else { return RawResult::success(0) };
        for (n, &(brings, sleeps, asked)) in rounds.iter().enumerate() {
            looked.brings.set(brings);
            looked.sleeps.set(0);
            looked.asked.set(0);
            looked.naps.set(naps.get(n).copied().unwrap_or_default());
            let ops: Vec<Op> =
                (0..7).map(|n| write(op::WRITE, file, c"x".as_ptr() as u64, 1, 10 * n)).collect();
            for op in &ops {
                // SAFETY: in place until it is over, which is waited for below.
                unsafe { Handle::<Told>::begin_operation(task, op) }.unwrap();
            }
            for op in &ops {
                assert_eq!(Handle::<Told>::wait_operation(task, op), RawResult::success(1));
            }
            assert_eq!(looked.sleeps.get(), sleeps, "round {n}");
            assert!(asked.is_none_or(|n| n == looked.asked.get()), "{}", looked.asked.get());
            assert_eq!(kernel.entered.get(), 0, "the kernel had nothing to do with it");
        }
        RawResult::success(0)
    });
    succeeds(ex, task);
}

const NEVER: u32 = 100;

/// To wake it took the helper a fifth of its time. An executor to which batches come soon looks for
/// them before it sleeps, for 50 us; and where that was in vain, sleeps at once the next time. The
/// ring, of which nothing is wanted, is not entered for them.
#[test]
fn an_executor_looks_for_batches_that_come_soon() {
    look(
        &[
            (NEVER, 1, Some(2)),
            (3, 0, Some(4)),
            (2, 0, Some(3)),
            (NEVER, 1, Some(7)),
            (NEVER, 1, Some(2)),
            (3, 0, Some(4)),
        ],
        &[],
    );
}

/// It was woken for something else, slept again, and took what came soon after that for soon.
#[test]
fn what_comes_late_is_late_however_often_an_executor_looked_for_it() {
    look(&[(NEVER, 2, None), (3, 1, None), (3, 0, None)], &[1]);
}

/// What has the same index or number there was written to.
#[test]
fn an_operation_by_another_executors_handle_does_not_begin() {
    let kernel = Told::default();
    let here = Handle::new(kernel.clone(), false).unwrap();
    let there = Handle::new(Told::default(), false).unwrap();
    let (theirs, file) = (there.executor().mailbox().home(), tempfile());
    assert_ne!(theirs, here.executor().mailbox().home());
    let task = new_task();
    set_body(task, move |task| {
        let row = order(here.executor(), File { fd: file.as_raw_fd(), flags: 0 }).unwrap();
        // By a write of an ordered file, and by a read of a direct one.
        let ordered = write(op::WRITE, row, c"x".as_ptr() as u64, 1, 0);
        let mut sqe = ordered.sqe.get();
        sqe.set_user_data(sqe.user_data() & 0xffff_ffff_0001_ffff | u64::from(theirs) << 17);
        ordered.sqe.set(sqe);
        let direct = write(op::READ, File { fd: 0, flags: 0 }, c"x".as_ptr() as u64, 1, 0);
        let mut sqe = direct.sqe.get();
        sqe.0[0] |= u64::from(flag::FIXED_FILE) << 8;
        sqe.set_user_data(1 << 31 | u64::from(theirs) << 16);
        direct.sqe.set(sqe);
        for op in [&ordered, &direct] {
            // SAFETY: the kernel is ours, and follows no address.
            let begun = unsafe { Handle::<Told>::begin_operation(task, op) };
            assert_eq!(begun, Err(Errno(libc::EPERM)));
        }
        RawResult::success(0)
    });
    succeeds(here, task);
    assert!(kernel.taken.borrow().is_empty());
    destroy(there, []);
}

/// An ordered file whose object ends outside the executor's tasks is closed without a word to the
/// executor: it kept its row, and what is there for it, for good.
#[test]
fn rows_of_files_that_were_closed_elsewhere_are_used_again() {
    let ex = Handle::new(Told::default(), false).unwrap();
    // Numbers that no other test's files have meanwhile; an executor's limit is 1024 mostly.
    let number_from = |first: i32, file: &std::fs::File| {
        // SAFETY: refers to no memory.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, first) }
    };
    let order_some = |first: i32| {
        let files: Vec<i32> = (0..32).map(|_| number_from(first, &tempfile())).collect();
        let ordered = |&fd: &i32| order(ex.executor(), File { fd, flags: 0 }).unwrap().flags as u16;
        let rows: Vec<u16> = files.iter().map(ordered).collect();
        // SAFETY: ours.
        files.iter().for_each(|&fd| assert_eq!(unsafe { libc::close(fd) }, 0));
        rows
    };
    assert!(order_some(700).into_iter().eq(0..32));
    assert!(order_some(800).into_iter().eq(0..32));
    destroy(ex, []);
}

/// Also one whose row has its turn still: its only write was cancelled.
#[test]
fn rows_of_files_that_were_closed_are_used_again() {
    let kernel = Told::default();
    let ex = Handle::new(kernel, false).unwrap();
    let task = new_large_task();
    set_body(task, move |task| {
        for _ in 0..40 {
            let file =
                order(ex.executor(), File { fd: tempfile().into_raw_fd(), flags: 0 }).unwrap();
            assert_eq!(file.flags as u16, 0);
            let op = write(op::WRITE, file, c"ab".as_ptr() as u64, 2, 0);
            // SAFETY: in place until it is over, and the kernel follows no address.
            unsafe { Handle::<Told>::begin_operation(task, &op) }.unwrap();
            Handle::<Told>::cancel_operation(task, &op).unwrap();
            assert_eq!(Handle::<Told>::wait_operation(task, &op).error, libc::ECANCELED);
            let ordered = Ordered { fd: file.fd, direct: false, row: 0 };
            assert_eq!(ex.executor().close_ordered(task, ordered), Ok(()));
            // SAFETY: ours; the kernel has left it.
            assert_eq!(unsafe { libc::close(file.fd) }, 0);
        }
        RawResult::success(0)
    });
    succeeds(ex, task);
}

/// The request waits for room when the entry completes, and its operation is gone.
#[test]
fn a_cancel_that_waits_for_room_when_its_write_is_over() {
    let merged = Merged::new();
    merged.kernel.is_full.set(true);
    merged.run(Some(1));
    merged.kernel.complete(20);
    merged.run(None);
    merged.kernel.is_full.set(false);
    merged.run(None);
    assert!(merged.kernel.taken.borrow().is_empty(), "a cancel of what is over");
    merged.end([RawResult::success(10); 2]);
}

/// A task that returns with a write in flight, and `N` behind it that write, of the first of which
/// the run's end has somebody cancel. What the writes of those came to.
struct Behind<const N: usize> {
    kernel: Told,
    ex: Handle<Told>,
    first: TaskRef,
    tasks: [TaskRef; N],
    cancels: Box<(Handle<Told>, TaskRef)>,
    results: Rc<RefCell<Vec<(usize, RawResult)>>>,
}

impl<const N: usize> Behind<N> {
    fn new() -> Self {
        let kernel = Told::default();
        let ex = Handle::new(kernel.clone(), false).unwrap();
        let (first, tasks) = (new_task(), [0; N].map(|_| new_task()));
        let fd = std::fs::File::create("/dev/null").unwrap().into_raw_fd();
        let file = order(ex.executor(), File { fd, flags: 0 }).unwrap();
        let text = c"x".as_ptr() as u64;
        let op = Box::leak(Box::new(write(op::WRITE, file, text, 1, 0)));
        let op = &*op;
        set_body(first, move |task| {
            // SAFETY: in place for ever.
            unsafe { Handle::<Told>::begin_operation(task, op) }.unwrap();
            Handle::<Told>::sleep(task, 0)
        });
        let results = Rc::new(RefCell::new(Vec::new()));
        for (i, &task) in tasks.iter().enumerate() {
            let results = results.clone();
            set_body(task, move |task| {
                let mut sqe = Sqe::new(op::WRITE, fd, 0, text, 1, 0);
                sqe.set_user_data(op.sqe.get().user_data());
                let row = Ordered { fd, direct: false, row: file.flags as u16 };
                // SAFETY: a constant.
                let r = unsafe { ex.executor().write_ordered(task, row, &sqe) };
                results.borrow_mut().push((i, r));
                RawResult::success(0)
            });
        }
        let cancels = Box::new((ex, tasks[0]));
        Self { kernel, ex, first, tasks, cancels, results }
    }

    fn attach_first(&self) {
        let of = (&raw const *self.cancels).cast();
        // SAFETY: what it takes, in place until it was told.
        unsafe { self.ex.attach_hooked(self.first, cancels_other, of) }.unwrap();
    }

    fn attach_others(&self) {
        self.tasks.iter().for_each(|&task| self.ex.attach(task).unwrap());
    }

    fn run(&self) {
        for _ in 0..4 {
            let _ = self.ex.run(usize::MAX, Some(0));
        }
    }

    /// The kernel completes all that it has.
    fn complete(&self, res: i32) {
        for sqe in self.kernel.taken.take() {
            if sqe.opcode() != op::ASYNC_CANCEL {
                let cqe = Cqe { user_data: sqe.user_data(), res, flags: 0 };
                self.kernel.completed.borrow_mut().push_back(cqe);
            }
        }
    }

    fn end(self, results: [RawResult; N]) {
        self.run();
        assert!(!self.ex.has_work());
        let came: Vec<_> = results.into_iter().enumerate().collect();
        assert_eq!(*self.results.borrow(), came);
        destroy(self.ex, self.tasks.into_iter().chain([self.first]));
    }
}

unsafe extern "C" fn cancels_other(of: *const c_void, _: TaskRef, _: RawResult, _: u64) {
    // SAFETY: what the test has attached it with.
    let (ex, other) = unsafe { *of.cast::<(Handle<Told>, TaskRef)>() };
    ex.cancel(other).unwrap();
}

/// A write fails, and with it those that wait behind it are over; but their tasks have yet to be
/// told. Who is told before them cancels one: that was taken out of the row then, in whose list it
/// was no more.
#[test]
fn a_cancel_of_a_write_that_is_behind_an_error_and_not_told_of() {
    let behind = Behind::<3>::new();
    behind.attach_first();
    let _ = behind.ex.run(usize::MAX, Some(0)); // It has begun: the others are no part of its row.
    behind.attach_others();
    behind.run();
    behind.complete(-libc::ENOSPC);
    let canceled = RawResult { value: 0, ..RawResult::failure(Errno(libc::ECANCELED)) };
    behind.end([canceled; 3]);
}

/// The same of one that was written: a request for it waited for room when its record was gone.
#[test]
fn a_cancel_of_a_write_that_is_done_and_not_told_of() {
    let behind = Behind::<1>::new();
    behind.attach_first();
    behind.attach_others();
    behind.run();
    behind.kernel.is_full.set(true);
    behind.complete(1);
    let _ = behind.ex.run(usize::MAX, Some(0));
    behind.kernel.is_full.set(false);
    behind.run();
    assert!(behind.kernel.taken.borrow().is_empty(), "a cancel of what is over");
    behind.end([RawResult::success(1)]);
}

/// Eight letters, each over another, then what is in the file.
fn write_over_each_other(task: TaskRef, ordered: File) {
    let letters = c"abcdefgh";
    let ops: Vec<Op> = (0..8)
        .map(|i| write(op::WRITE, ordered, letters.as_ptr() as u64 + i, 1, i % 3 * 2))
        .collect();
    for op in &ops {
        // SAFETY: the task that runs, and operations in place until they are over.
        let r = unsafe { monad_async_op_begin(task.as_head(), core::ptr::from_ref(op).cast_mut()) };
        assert_eq!(r.error, 0);
    }
    for op in &ops {
        // SAFETY: as above.
        let r = unsafe { monad_async_op_wait(task.as_head(), core::ptr::from_ref(op).cast_mut()) };
        assert_eq!(r, RawResult::success(1));
    }
    let mut written = [0; 5];
    let path = format!("/proc/self/fd/{}\0", ordered.fd);
    // SAFETY: a string, and room for five.
    unsafe {
        let fd = libc::open(path.as_ptr().cast(), libc::O_RDONLY);
        assert_eq!(libc::read(fd, written.as_mut_ptr().cast(), 5), 5);
        libc::close(fd);
    }
    assert_eq!(&written, b"g\0h\0f");
}

/// Parts that the kernel refuses are not looked at, nor is the end of a write that has none.
#[test]
fn parts_that_are_none() {
    alone("parts_that_are_none", || {
        in_task(|task, _| {
            let file = tempfile();
            let ordered = set_ordered(task, file.as_raw_fd());
            let part = libc::iovec { iov_base: c"a".as_ptr().cast_mut().cast(), iov_len: 1 };
            let parts = (&raw const part) as u64;
            let huge = [libc::iovec { iov_base: null_mut(), iov_len: usize::MAX }; 2];
            for (opcode, at, count, offset, error) in [
                (op::WRITEV, parts, u32::MAX, 0, libc::EINVAL),
                (op::WRITEV, 0, 1, 0, libc::EFAULT),
                (op::WRITEV, huge.as_ptr() as u64, 2, 0, libc::EINVAL),
                (op::WRITE, c"a".as_ptr() as u64, 1, -5_i64 as u64, libc::EINVAL),
            ] {
                let ops = [0, 1].map(|_| write(opcode, ordered, at, count, offset));
                let at = ops.each_ref().map(|op| core::ptr::from_ref(op).cast_mut());
                // SAFETY: the task that runs, and operations in place until they are over.
                unsafe {
                    for at in at {
                        assert_eq!(monad_async_op_begin(task.as_head(), at).error, 0);
                    }
                    assert_eq!(monad_async_op_wait(task.as_head(), at[0]).error, error);
                    let r = monad_async_op_wait(task.as_head(), at[1]);
                    assert_eq!(r.error, libc::ECANCELED);
                }
            }
            // SAFETY: the task that runs.
            let r = unsafe { monad_async_file_close(task.as_head(), ordered) };
            std::mem::forget(file);
            r
        })
    });
}

/// Writes that do not go on where the one before ends are performed by a thread, in their order.
/// Where none can be made they are linked: each is done, once, in its turn.
#[test]
fn a_thread_for_a_row_and_none() {
    alone("a_thread_for_a_row_and_none", || {
        in_task(|task, _| {
            let limit = |soft| {
                // SAFETY: reads and writes a record of ours.
                unsafe {
                    let mut limit: libc::rlimit = zeroed();
                    assert_eq!(libc::getrlimit(libc::RLIMIT_AS, &mut limit), 0);
                    let before = limit.rlim_cur;
                    limit.rlim_cur = soft;
                    assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &limit), 0);
                    before
                }
            };
            for can in [false, true] {
                let file = tempfile();
                let ordered = set_ordered(task, file.as_raw_fd());
                let kept = if can { None } else { Some(limit(1)) };
                write_over_each_other(task, ordered);
                kept.map(limit);
                // From then on without a try.
                write_over_each_other(task, ordered);
                // Those of the kernel's are listed, too.
                let names = std::fs::read_dir("/proc/self/task").unwrap().filter(|thread| {
                    let name = thread.as_ref().unwrap().path().join("comm");
                    std::fs::read_to_string(name).is_ok_and(|name| name == "ordered\n")
                });
                // One; or two, if the first had not come to rest when the next batch went out.
                assert_eq!(names.count() != 0, can);
                // SAFETY: the task that runs.
                let r = unsafe { monad_async_file_close(task.as_head(), ordered) };
                assert_eq!(r.error, 0);
                std::mem::forget(file);
            }
            RawResult::success(0)
        })
    });
}

/// No memory of a program's.
const NOWHERE: u64 = !0xffff;

/// Two writes that go on where the one before ends are one call of the kernel's, which refuses all
/// of it for the second one alone, as it does one of `O_DIRECT` that lies at no border: the first
/// had the error, and was not written. Performed by a thread, and by the ring.
#[test]
fn a_write_that_the_kernel_refuses_costs_none_before_it() {
    alone("a_write_that_the_kernel_refuses_costs_none_before_it", || {
        in_task(|task, ex| {
            for (behind, file) in [
                (0, tempfile()),
                (2, tempfile()),
                (0, tempfile_of_the_ring()),
                (1, tempfile_of_the_ring()),
            ] {
                let ordered = set_ordered(task, file.as_raw_fd());
                let text = c"abcdefgh".as_ptr() as u64;
                let bad = write(op::WRITE, ordered, NOWHERE, 2, 4);
                let mut ops = vec![
                    write(op::WRITE, ordered, text, 2, 0),
                    write(op::WRITE, ordered, text + 2, 2, 2),
                    bad,
                ];
                ops.extend((0..behind).map(|n| write(op::WRITE, ordered, text, 1, 100 + 2 * n)));
                let at: Vec<_> = ops.iter().map(|op| core::ptr::from_ref(op).cast_mut()).collect();
                for &at in &at {
                    // SAFETY: the task that runs, and operations in place until they are over.
                    assert_eq!(unsafe { monad_async_op_begin(task.as_head(), at) }.error, 0);
                }
                for (n, &at) in at.iter().enumerate() {
                    // SAFETY: as above.
                    let r = unsafe { monad_async_op_wait(task.as_head(), at) };
                    let error = [0, 0, libc::EFAULT].get(n).copied().unwrap_or(libc::ECANCELED);
                    assert_eq!((n, r.error), (n, error), "{behind} behind");
                }
                assert_eq!(file.metadata().unwrap().len(), 4);
                let on = Ordered { fd: ordered.fd, direct: false, row: ordered.flags as u16 };
                let broken = ex.executor().row_error(on).unwrap();
                assert_eq!((broken.error, broken.offset), (libc::EFAULT, 4));
                assert_eq!(u64::from(broken.canceled), behind);
                // SAFETY: the task that runs.
                let r = unsafe { monad_async_file_close(task.as_head(), ordered) };
                assert_eq!(r.error, 0);
                std::mem::forget(file);
            }
            RawResult::success(0)
        })
    });
}

/// The kernel refuses a chain as a whole where it cannot prepare one of its entries: what was ahead
/// of that one was cancelled for it.
#[test]
fn a_write_that_is_refused_unprepared_costs_none_before_it() {
    alone("a_write_that_is_refused_unprepared_costs_none_before_it", || {
        in_task(|task, _| {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let ordered = set_ordered(task, writer.as_raw_fd());
            let text = c"abcdefgh".as_ptr() as u64;
            let places = [text, text + 2, NOWHERE, text];
            let ops = places.map(|from| write(op::WRITE, ordered, from, 2, u64::MAX));
            let at = ops.each_ref().map(|op| core::ptr::from_ref(op).cast_mut());
            for at in at {
                // SAFETY: the task that runs, and operations in place until they are over.
                assert_eq!(unsafe { monad_async_op_begin(task.as_head(), at) }.error, 0);
            }
            // SAFETY: as above.
            let errors = at.map(|at| unsafe { monad_async_op_wait(task.as_head(), at) }.error);
            assert_eq!(errors, [0, 0, libc::EFAULT, libc::ECANCELED]);
            // SAFETY: the task that runs.
            let r = unsafe { monad_async_file_close(task.as_head(), ordered) };
            std::mem::forget(writer);
            let mut got = Vec::new();
            reader.read_to_end(&mut got).unwrap();
            assert_eq!(got, b"abcd");
            r
        })
    });
}

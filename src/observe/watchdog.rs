//! A thread that looks at all executors of the process from time to time, and tells of a task that
//! has kept its executor for too long.
//!
//! 1. What it looks at is written anyway: the task that runs, and how many items there were. Both
//!    the same at two looks at one owner of a mailbox: the same run of the task.
//! 2. An executor stays while it is pinned by its mailbox, which lasts for one look, and for the
//!    signal by which a backtrace is asked for.
//! 3. The backtrace is taken by the thread that runs the task, in a handler of SIGURG, whose
//!    default is to be ignored. One request at a time, in `ASKED`; who is not asked passes the
//!    signal on.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::error::{Errno, Res};
use crate::executor::mailbox::{self, Mailbox};
use crate::executor::Executor;
use crate::sys::{clock, futex, helper, signal, thread, unwind};
use crate::task::annex::NAME_BYTES;
use crate::task::header::TaskRef;
use crate::uring::RealKernel;

/// Frames of a report.
pub const FRAMES_MAX: usize = 64;
/// How long a thread may take to answer the signal: it may have blocked it.
const ANSWER_NS: u64 = 1_000_000_000;

/// `struct monad_async_watchdog_report`: watchdog.h
#[repr(C)]
pub struct Report {
    pub executor: *const c_void,
    pub task: *const c_void,
    pub executor_name: [u8; NAME_BYTES + 1],
    pub task_name: [u8; NAME_BYTES + 1],
    pub ran_ns: u64,
    pub pcs: *const usize,
    pub count: usize,
}

const _: () = assert!(size_of::<Report>() == 112);

/// Called with a report, and what it was started with.
pub type Tell = unsafe extern "C" fn(*const Report, *mut c_void);

/// 0: none. Else odd: it goes; even: it is to end. Counts up: each one is another.
static STATE: AtomicU32 = AtomicU32::new(0);
/// `thread::forks` of the process that started it.
static FORKS: AtomicU32 = AtomicU32::new(0);
static ENDED: AtomicU32 = AtomicU32::new(1);

/// EXPENSIVE. EBUSY: there is one; EAGAIN: no more threads.
pub fn start(limit_ns: u64, tell: Tell, of: *mut c_void) -> Res<()> {
    struct Callback(Tell, *mut c_void);
    // SAFETY: the user's, who says that any thread may call it.
    unsafe impl Send for Callback {}

    if FORKS.swap(thread::forks(), Relaxed) != thread::forks() && ENDED.load(Relaxed) == 0 {
        ENDED.store(1, Relaxed); // The thread is the parent's.
    }
    if ENDED.compare_exchange(1, 0, AcqRel, Relaxed).is_err() {
        return Err(Errno(libc::EBUSY));
    }
    let callback = Callback(tell, of);
    unwind::frames(&mut |_| true); // What the unwinder loads and allocates the first time.
    let begun = signal::catch(libc::SIGURG, on_signal);
    let state = STATE.load(Relaxed).wrapping_add(1) | 1;
    STATE.store(state, Release);
    let begun = begun.and_then(|()| {
        helper::spawn(c"ma-watchdog", move || {
            let callback = callback;
            watch(limit_ns.max(1_000), state, callback.0, callback.1);
            ENDED.store(1, Release);
            futex::wake(ENDED.as_ptr() as usize);
        })
    });
    if begun.is_err() {
        ENDED.store(1, Release);
    }
    begun
}

/// Returns when the callback is called no more. ENOENT: there is none.
pub fn stop() -> Res<()> {
    if ENDED.load(Acquire) == 1 || FORKS.load(Relaxed) != thread::forks() {
        return Err(Errno(libc::ENOENT));
    }
    STATE.fetch_add(1, Release);
    futex::wake(STATE.as_ptr() as usize);
    while ENDED.load(Acquire) == 0 {
        futex::wait(&ENDED, 0, None);
    }
    Ok(())
}

/// What was seen of an executor.
struct Seen {
    mailbox: &'static Mailbox,
    epoch: u64,
    task: *const c_void,
    items: usize,
    since_ns: u64,
    told: bool,
}

fn watch(limit_ns: u64, state: u32, tell: Tell, of: *mut c_void) {
    let mut all: Vec<Seen> = Vec::new();
    while STATE.load(Acquire) == state {
        futex::wait(&STATE, state, Some((limit_ns / 4).max(1_000_000)));
        mailbox::for_each(|mailbox| {
            if all.iter().all(|seen| !ptr::eq(seen.mailbox, mailbox)) && all.try_reserve(1).is_ok()
            {
                let (task, since_ns) = (ptr::null(), clock::boot_ns());
                all.push(Seen { mailbox, epoch: 0, task, items: 0, since_ns, told: true });
            }
        });
        for seen in &mut all {
            let mailbox = seen.mailbox;
            if mailbox.is_of_this_process() {
                // Rule 2.
                let epoch = mailbox.epoch();
                mailbox.with_owner(epoch, || look(seen, epoch, limit_ns, tell, of));
            }
        }
    }
}

fn look(seen: &mut Seen, epoch: u64, limit_ns: u64, tell: Tell, of: *mut c_void) {
    // SAFETY: null, or the owner, which is pinned; every executor of the library's users is of this
    // type.
    let ex = unsafe { seen.mailbox.executor_made().cast::<Executor<RealKernel>>().as_ref() };
    let Some(ex) = ex else { return };
    let (task, items) = ex.glimpse();
    let now_ns = clock::boot_ns();
    if (task, items, epoch) != (seen.task, seen.items, seen.epoch) {
        (seen.task, seen.items, seen.epoch, seen.since_ns) = (task, items, epoch, now_ns);
        seen.told = false;
        return;
    }
    let ran_ns = now_ns - seen.since_ns;
    if task.is_null() || seen.told || ran_ns < limit_ns {
        return;
    }
    seen.told = true;
    let Some((pcs, task_name)) = ask(seen) else { return };
    let report = Report {
        executor: seen.mailbox.executor(),
        task,
        executor_name: text(ex.name().words()),
        task_name: text(task_name),
        ran_ns,
        pcs: pcs.as_ptr(),
        count: pcs.len(),
    };
    // SAFETY: the user's function, for its own pointer.
    unsafe { tell(&report, of) };
}

fn text(words: [u64; NAME_BYTES / 8]) -> [u8; NAME_BYTES + 1] {
    let mut text = [0; NAME_BYTES + 1];
    text[..NAME_BYTES].copy_from_slice(words.map(u64::to_ne_bytes).as_flattened());
    text
}

/// What the handler is asked, and answers. `STEP` says whose it is.
struct Question {
    mailbox: Option<&'static Mailbox>,
    task: *const c_void,
    items: usize,
    /// It has gone on meanwhile.
    gone: bool,
    name: [u64; NAME_BYTES / 8],
    pcs: [usize; FRAMES_MAX],
    count: usize,
}

struct Shared(UnsafeCell<Question>);
// SAFETY: `STEP` says whose it is.
unsafe impl Sync for Shared {}

static ASKED: Shared = Shared(UnsafeCell::new(Question {
    mailbox: None,
    task: ptr::null(),
    items: 0,
    gone: false,
    name: [0; NAME_BYTES / 8],
    pcs: [0; FRAMES_MAX],
    count: 0,
}));

mod step {
    /// The watchdog's.
    pub const IDLE: u32 = 0;
    /// Waits for the thread that is asked.
    pub const ASKED: u32 = 1;
    /// The handler's.
    pub const ANSWERING: u32 = 2;
}
static STEP: AtomicU32 = AtomicU32::new(step::IDLE);
static THREAD: AtomicU64 = AtomicU64::new(0);

/// None: the task has gone on. Without frames: its thread does not answer.
fn ask(seen: &Seen) -> Option<(&'static [usize], [u64; NAME_BYTES / 8])> {
    // SAFETY: IDLE, so ours.
    let asked = unsafe { &mut *ASKED.0.get() };
    asked.mailbox = Some(seen.mailbox);
    (asked.task, asked.items, asked.count, asked.gone) = (seen.task, seen.items, 0, false);
    asked.name = [0; NAME_BYTES / 8];
    let to = seen.mailbox.kernel_thread();
    THREAD.store(to, Relaxed);
    STEP.store(step::ASKED, Release);
    if signal::send(to, libc::SIGURG).is_ok() {
        let end_ns = clock::boot_ns() + ANSWER_NS;
        while STEP.load(Acquire) == step::ASKED && clock::boot_ns() < end_ns {
            futex::wait(&STEP, step::ASKED, Some(1_000_000));
        }
    }
    // No answer: taken back. One that has begun ends soon.
    if STEP.compare_exchange(step::ASKED, step::IDLE, AcqRel, Acquire).is_err() {
        while STEP.load(Acquire) != step::IDLE {
            futex::wait(&STEP, step::ANSWERING, Some(1_000_000));
        }
    }
    // SAFETY: IDLE, so ours again, until the next question.
    let asked: &'static Question = unsafe { &*ASKED.0.get() };
    (!asked.gone).then_some((&asked.pcs[..asked.count], asked.name))
}

/// In a handler. True: the signal was ours.
fn on_signal() -> bool {
    if THREAD.load(Relaxed) != thread::ids().1
        || STEP.compare_exchange(step::ASKED, step::ANSWERING, AcqRel, Relaxed).is_err()
    {
        return false;
    }
    // SAFETY: ANSWERING, so ours.
    let asked = unsafe { &mut *ASKED.0.get() };
    let executor = asked.mailbox.map_or(ptr::null_mut(), |mailbox| mailbox.executor());
    // SAFETY: the thread that asks has pinned the executor, which is this thread's.
    let ex = unsafe { &*executor.cast::<Executor<RealKernel>>() };
    asked.gone = ex.glimpse() != (asked.task, asked.items);
    if !asked.gone {
        // SAFETY: it runs on this thread, which the signal has stopped.
        let task = unsafe { TaskRef::from_head(asked.task.cast()) };
        asked.name = task.name().map_or([0; NAME_BYTES / 8], |name| name.words());
        let (low, high) = task.stack_bounds();
        let (pcs, count) = (&mut asked.pcs, &mut asked.count);
        unwind::frames(&mut |frame| {
            // Those of this handler, on whichever stack, come first.
            if (low..=high).contains(&frame.sp) || *count != 0 {
                match pcs.get_mut(*count) {
                    Some(pc) => *pc = frame.pc,
                    None => return false,
                }
                *count += 1;
            }
            true
        });
    }
    STEP.store(step::IDLE, Release);
    futex::wake(STEP.as_ptr() as usize);
    true
}

/// Says it on standard error.
///
/// # Safety
/// `report` is one.
pub unsafe extern "C" fn say(report: *const Report, _: *mut c_void) {
    // SAFETY: the caller's; so many addresses.
    let (report, pcs) = unsafe {
        let report = &*report;
        (report, core::slice::from_raw_parts(report.pcs, report.count))
    };
    let name = |bytes: &[u8]| {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    eprintln!(
        "monad_async: task {:#x} \"{}\" has kept executor {:#x} \"{}\" for {} ms:",
        report.task.addr(),
        name(&report.task_name),
        report.executor.addr(),
        name(&report.executor_name),
        report.ran_ns / 1_000_000
    );
    unwind::print(pcs);
}

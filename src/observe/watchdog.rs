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

use crate::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use crate::error::{Errno, Res};
use crate::executor::mailbox::{self, Mailbox};
use crate::executor::Executor;
use crate::sys::fork::Watch;
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

/// Called with a report.
pub type Tell = unsafe extern "C" fn(*const Report);

/// The watchdog of the process: a phase, and above it a number that each start counts up, so that a
/// thread knows whether it is meant still.
///
/// ```text
///          start           the thread's           stop               the thread's end
///   NONE ---------> BEGINS ------------> GOES ------------> ENDS ------------------------> NONE
/// ```
static WORD: AtomicU32 = AtomicU32::new(phase::NONE);
/// `thread::number` of its thread; 0: none.
static ITS_THREAD: AtomicU64 = AtomicU64::new(0);

mod phase {
    pub const NONE: u32 = 0;
    /// Is being started: not there yet.
    pub const BEGINS: u32 = 1;
    pub const GOES: u32 = 2;
    /// Was told to end.
    pub const ENDS: u32 = 3;
    pub const ALL: u32 = 3;
    /// What a start adds.
    pub const ONE: u32 = 4;
}

extern "C" fn at_fork() {}

/// The thread is the parent's, and so is what it asks.
extern "C" fn in_child() {
    WORD.store(WORD.load(Relaxed) & !phase::ALL, Relaxed);
    STEP.store(step::IDLE, Relaxed);
    ITS_THREAD.store(0, Relaxed);
}

/// EXPENSIVE. EBUSY: there is one; EAGAIN: no more threads.
pub fn start(limit_ns: u64, tell: Tell) -> Res<()> {
    let before = WORD.load(Relaxed);
    let begins = (before & !phase::ALL).wrapping_add(phase::ONE) | phase::BEGINS;
    if before & phase::ALL != phase::NONE
        || WORD.compare_exchange(before, begins, AcqRel, Relaxed).is_err()
    {
        return Err(Errno(libc::EBUSY));
    }
    static WATCH: Watch = Watch::new();
    WATCH.ensure(at_fork, at_fork, in_child);
    unwind::frames(&mut |_| true); // What the unwinder loads and allocates the first time.
    let goes = begins & !phase::ALL | phase::GOES;
    let begun = signal::catch(signal::BACKTRACE, on_signal).and_then(|()| {
        WORD.store(goes, Release);
        helper::spawn(c"ma-watchdog", move || {
            ITS_THREAD.store(thread::own_number(), Relaxed);
            watch(limit_ns.max(1_000), goes, tell);
            ITS_THREAD.store(0, Relaxed);
            ended(goes);
        })
    });
    if begun.is_err() {
        ended(goes);
    }
    begun
}

/// The one that `goes` said is no more. In the child of a fork, another one may be there by now.
fn ended(goes: u32) {
    let none = goes & !phase::ALL;
    for phase in [phase::GOES, phase::ENDS, phase::BEGINS] {
        let _ = WORD.compare_exchange(none | phase, none, AcqRel, Relaxed);
    }
    futex::wake_all(WORD.as_ptr() as usize);
}

/// Returns when the callback is called no more. ENOENT: there is none; EDEADLK: from the callback.
pub fn stop() -> Res<()> {
    let mut word = WORD.load(Acquire);
    // Also if another thread has told it to end by now, which waits for this callback to return.
    if ITS_THREAD.load(Relaxed) == thread::own_number() {
        return Err(Errno(libc::EDEADLK));
    }
    if word & phase::ALL == phase::GOES {
        let ends = word & !phase::ALL | phase::ENDS;
        word = match WORD.compare_exchange(word, ends, AcqRel, Acquire) {
            Ok(_) => ends,
            Err(now) => now, // Another thread was faster.
        };
        futex::wake_all(WORD.as_ptr() as usize);
    }
    if word & phase::ALL != phase::ENDS {
        return Err(Errno(libc::ENOENT));
    }
    while WORD.load(Acquire) == word {
        futex::wait(&WORD, word, None);
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

fn watch(limit_ns: u64, goes: u32, tell: Tell) {
    // Oldest first; those that came since the last look are in front of the list of all.
    let mut all: Vec<Seen> = Vec::new();
    while WORD.load(Acquire) == goes {
        futex::wait(&WORD, goes, Some((limit_ns / 4).max(1_000_000)));
        let (known, newest) = (all.len(), all.last().map(|seen| seen.mailbox));
        let mut is_new = true;
        mailbox::for_each(|mailbox| {
            is_new = is_new && !newest.is_some_and(|newest| ptr::eq(newest, mailbox));
            if is_new && all.try_reserve(1).is_ok() {
                let (task, since_ns) = (ptr::null(), clock::boot_ns());
                all.push(Seen { mailbox, epoch: 0, task, items: 0, since_ns, told: true });
            }
        });
        all[known..].reverse();
        for seen in &mut all {
            let mailbox = seen.mailbox;
            if mailbox.is_of_this_process() {
                // Rule 2.
                let epoch = mailbox.epoch();
                mailbox.with_owner(epoch, || look(seen, epoch, limit_ns, tell));
            }
        }
    }
}

fn look(seen: &mut Seen, epoch: u64, limit_ns: u64, tell: Tell) {
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
    // SAFETY: the user's function.
    unsafe { tell(&report) };
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
    /// It has gone on since.
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
    if signal::send(to, signal::BACKTRACE).is_ok() {
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
pub unsafe extern "C" fn say(report: *const Report) {
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

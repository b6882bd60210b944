//! The memory that jobs wait in: a pool that is used evenly allocates none, and has none when it is
//! destroyed.

#[path = "../support/mod.rs"]
mod support;

use monad_async::capi::pool::*;
use monad_async::error::RawResult;
use monad_async::executor::jobs::Job;
use monad_async::task::header::TaskHead;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use support::pool::*;

/// Of the size and the alignment of a chunk of jobs: how many there are, and how many there were.
static LIVE: AtomicUsize = AtomicUsize::new(0);
static MADE: AtomicUsize = AtomicUsize::new(0);
/// What the next one to be made meets: see `between`.
static MEETS: AtomicBool = AtomicBool::new(false);
static BETWEEN: Gate = Gate { begun: AtomicUsize::new(0), open: AtomicBool::new(false) };

/// They count what all make.
static ONE: Mutex<()> = Mutex::new(());

struct Counting;

fn is_chunk(layout: Layout) -> bool {
    layout.size() == 4096 && layout.align() == 64
}

// SAFETY: passes on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_chunk(layout) {
            LIVE.fetch_add(1, SeqCst);
            MADE.fetch_add(1, SeqCst);
            if MEETS.swap(false, SeqCst) {
                between();
            }
        }
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if is_chunk(layout) {
            LIVE.fetch_sub(1, SeqCst);
        }
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static NOTHING: Job = {
    unsafe extern "C" fn code(_: *const TaskHead) -> RawResult {
        RawResult::success(0)
    }
    Job { code: Some(code), on_exit: None, returned: None, reserved: 0 }
};

/// As many as a chunk takes.
const JOBS: usize = 63;

fn post(pool: PoolPtr, level: u8, job: &'static Job) {
    // SAFETY: alive, and no bytes.
    let r = unsafe { monad_async_pool_post(pool, level, job, ptr::null(), 0) };
    assert_eq!(r, RawResult::success(0));
}

/// So many chunks of jobs, of three levels, while the only worker is busy, so that all wait at once.
/// With `returns` they are handed back, and the pool quits.
fn burst(pool: PoolPtr, chunks: usize, returns: bool) -> usize {
    let (gate, held) = hold(pool, 1);
    for n in 0..chunks * JOBS {
        post(pool, n as u8 % 3, &NOTHING);
    }
    let at_most = LIVE.load(SeqCst);
    if returns {
        assert_eq!(quit(pool, RETURN) as usize, chunks * JOBS);
    }
    gate.open.store(true, SeqCst);
    if !returns {
        until(pool, 0, UNFINISHED);
    }
    for task in held {
        assert_eq!(wait(task).error, 0);
        support::destroy_task(task);
    }
    at_most
}

/// The process kept what had ever been needed: 640 MB after a burst of ten million.
#[test]
fn what_a_burst_took_is_given_back_with_the_pool() {
    const MANY: usize = 1500;
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for returns in [false, true] {
        let pool = pool(1);
        assert!(burst(pool, MANY, false) >= MANY);
        let made = MADE.load(SeqCst);
        burst(pool, MANY - 3, returns);
        assert_eq!(MADE.load(SeqCst), made, "so many have waited before");
        end(pool);
        assert_eq!(LIVE.load(SeqCst), 0, "the pool is gone");
    }
}

/// All jobs are of this level.
const LEVEL: u8 = 1;

static HELD: AtomicPtr<Gate> = AtomicPtr::new(ptr::null_mut());

/// The worker goes on, and comes to the job that it waits in.
fn between() {
    // SAFETY: set before, and never freed.
    unsafe { &*HELD.load(SeqCst) }.open.store(true, SeqCst);
    BETWEEN.wait_for(1);
}

static WAITS: Job = {
    unsafe extern "C" fn code(_: *const TaskHead) -> RawResult {
        BETWEEN.pass();
        RawResult::success(0)
    }
    Job { code: Some(code), on_exit: None, returned: None, reserved: 0 }
};

/// Who posts finds no room, and makes a chunk; until it comes back with that, a worker has emptied
/// some, and others may post where there is room. Its own was lost.
#[test]
fn a_chunk_that_is_needed_no_more_is_kept() {
    const CHUNKS: usize = 12;
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let pool = pool(1);
    let (gate, held) = hold(pool, 1);
    HELD.store(ptr::from_ref(gate).cast_mut(), SeqCst);
    for n in 0..CHUNKS * JOBS {
        post(pool, LEVEL, if n == 2 * JOBS { &WAITS } else { &NOTHING });
    }
    MEETS.store(true, SeqCst);
    post(pool, LEVEL, &NOTHING);
    assert!(!MEETS.load(SeqCst), "there was no room");
    BETWEEN.open.store(true, SeqCst);
    until(pool, 0, UNFINISHED);
    held.into_iter().for_each(|task| {
        assert_eq!(wait(task).error, 0);
        support::destroy_task(task);
    });
    end(pool);
    assert_eq!(LIVE.load(SeqCst), 0, "the pool is gone");
}

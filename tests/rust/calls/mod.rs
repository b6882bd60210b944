//! An interpreter of bytes as calls of the C API, legal and illegal, from outside tasks and from
//! within them, on one thread. Shared by a test with random bytes and by the fuzz target.
//!
//! What a call must answer follows from the public heads alone, and is checked for every call. The
//! only thing left out is what no API can survive: handles that were destroyed.
//!
//! Task bodies never panic, as that would end the process: they note what is wrong.

mod elsewhere;
mod rooms;

use monad_async::capi::{executor as cx, task as ct, ExecutorPtr};
use monad_async::error::RawResult;
use monad_async::task::header::{TaskHead, TaskRef};
use monad_async::uring::kernel::{op, Sqe};
use std::cell::{Cell, RefCell};
use std::ffi::{c_void, CStr};
use std::ptr::{null, null_mut};
use std::sync::atomic::Ordering;

const EXECUTORS: usize = 3;
const TASKS: usize = 6;
type TaskPtr = *const TaskHead;

struct World {
    bytes: Vec<u8>,
    at: Cell<usize>,
    executors: [Cell<ExecutorPtr>; EXECUTORS],
    tasks: [Cell<TaskPtr>; TASKS],
    /// Executor and task that make the call at hand; null outside.
    running: Cell<(ExecutorPtr, TaskPtr)>,
    pipe: [i32; 2],
    rooms: rooms::Rooms,
    elsewhere: elsewhere::Elsewhere,
    log: RefCell<Vec<String>>,
    wrong: Cell<bool>,
}

/// Plays `bytes`; the calls made, and what was wrong in the last line if anything was.
pub fn replay(bytes: &[u8]) -> Result<usize, String> {
    let mut pipe = [0; 2];
    // SAFETY: fills in two descriptors of our own.
    assert_eq!(unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    let world = World {
        bytes: bytes.to_vec(),
        at: Cell::new(0),
        executors: [const { Cell::new(null_mut()) }; EXECUTORS],
        tasks: [const { Cell::new(null()) }; TASKS],
        running: Cell::new((null_mut(), null())),
        pipe,
        rooms: rooms::Rooms::new(),
        elsewhere: Default::default(),
        log: RefCell::default(),
        wrong: Cell::new(false),
    };
    while world.at.get() < bytes.len() && !world.wrong.get() {
        world.step(null());
        world.counts_agree();
    }
    world.clean_up();
    // SAFETY: our own descriptors.
    let _ = pipe.map(|fd| unsafe { libc::close(fd) });
    let log = world.log.into_inner();
    if world.wrong.get() {
        return Err(log.join("\n"));
    }
    Ok(log.len())
}

/// `user_code` of all tasks: goes on with the bytes.
unsafe extern "C" fn body(task: TaskPtr) -> RawResult {
    // SAFETY: the executor passes the task that runs; its user_ptr is the world.
    let world = unsafe { &*(*task).user_ptr.get().cast::<World>() };
    for _ in 0..8 {
        if world.at.get() >= world.bytes.len() || world.wrong.get() || world.byte() % 8 == 0 {
            break;
        }
        world.step(task);
    }
    world.rooms.left(task);
    RawResult::success(7)
}

impl World {
    fn byte(&self) -> usize {
        let at = self.at.replace(self.at.get() + 1);
        self.bytes.get(at).map_or(0, |&b| b as usize)
    }

    fn said(&self, what: &str, r: RawResult, want: &[i32]) {
        self.log.borrow_mut().push(format!("{what} = {r:?}"));
        if !want.contains(&r.error) {
            self.log.borrow_mut().push(format!("{what}: one of {want:?} was due"));
            self.wrong.set(true);
        }
    }

    /// Where it is attached, by its public head.
    fn home(task: TaskPtr) -> *mut c_void {
        // SAFETY: null, or a task that was not destroyed.
        let task = unsafe { task.as_ref() };
        task.map_or(null_mut(), |t| t.current_executor.load(Ordering::Relaxed))
    }

    fn attached_to(&self, ex: ExecutorPtr) -> usize {
        self.tasks.iter().filter(|t| !ex.is_null() && Self::home(t.get()) == ex.cast()).count()
    }

    /// Each executor's counters are the number of tasks that say they are there.
    fn counts_agree(&self) {
        for ex in self.executors.iter().map(Cell::get).filter(|ex| !ex.is_null()) {
            // SAFETY: not destroyed.
            let head = unsafe { &(*ex).head };
            let counted = head.tasks_pending_launch.get()
                + head.tasks_running.get()
                + head.tasks_suspended.get();
            let attached = self.attached_to(ex);
            let least = attached - self.elsewhere.posted_to(ex);
            if !(least..=attached).contains(&counted) {
                self.log.borrow_mut().push(format!("{counted} counted, {attached} attached"));
                self.wrong.set(true);
            }
        }
    }

    /// One call, of `me`'s body or, null, from outside.
    fn step(&self, me: TaskPtr) {
        self.running.set((Self::home(me).cast(), me));
        let (what, a, b) = (self.byte() % 35, self.byte(), self.byte());
        let (ex, task) = (self.executors[a % EXECUTORS].get(), self.tasks[b % TASKS].get());
        // Mostly the caller's own task where only that makes sense.
        let this = if a % 8 == 7 || me.is_null() { task } else { me };
        let mine = !me.is_null() && this == me;
        let suspended = |good: &'static [i32]| match (this.is_null(), mine) {
            (true, _) => &[libc::EINVAL][..],
            (_, true) => good,
            _ => &[libc::EPERM][..],
        };
        let busy = !Self::home(task).is_null();
        // SAFETY (all of the unsafe blocks below): each pointer is null or a handle that was not
        // destroyed, and what else is passed outlives the call: this frame does.
        match what {
            0 => self.create_executor(a, b),
            1 | 2 => self.create_task(b, a),
            3..=5 if a % 8 == 6 && !task.is_null() && !busy => {
                // SAFETY: idle, so its head is ours.
                unsafe { (*task).user_code.set(if a & 64 == 0 { None } else { Some(body) }) };
            }
            3..=5 => {
                // SAFETY: as said above.
                let r = unsafe { ct::monad_async_task_attach(ex, task) };
                // SAFETY: as said above.
                let code = unsafe { task.as_ref() }.is_some_and(|t| t.user_code.get().is_some());
                let want = match (ex.is_null() || task.is_null(), busy, code) {
                    (true, ..) => libc::EINVAL,
                    (_, true, _) => libc::EBUSY,
                    (.., false) => libc::EINVAL,
                    _ => 0,
                };
                self.said("attach", r, &[want]);
                if r.error == 0 {
                    self.elsewhere.attached(task);
                }
            }
            6 | 7 => self.run(ex, b),
            8 => {
                let ns = [0, 1, 50_000, u64::MAX][b % 4];
                // SAFETY: as said above.
                let r = unsafe { ct::monad_async_task_suspend_for_duration(this, ns) };
                self.said("suspend", r, suspended(&[0, libc::ECANCELED, libc::ETIME]));
            }
            9 | 10 => {
                let (mut buffer, mut sqe) = ([0u8; 16], Sqe::zeroed());
                match b % 6 {
                    0 => sqe.0[0] |= (1 << 2) << 8, // IOSQE_IO_LINK
                    1 | 2 => {
                        let to = buffer.as_mut_ptr() as u64;
                        sqe = Sqe::new(op::READ, self.pipe[0], u64::MAX, to, 16, 0);
                    }
                    3 => {
                        sqe =
                            Sqe::new(op::WRITE, self.pipe[1], u64::MAX, b"x".as_ptr() as u64, 1, 0)
                    }
                    4 => sqe = Sqe::new(op::READ, -1, 0, 0, 1, 0),
                    _ => {}
                }
                // SAFETY: as said above.
                let r = unsafe { ct::monad_async_task_io(this, (&raw const sqe).cast()) };
                let of_kernel: &[i32] = match b % 6 {
                    0 => &[libc::EINVAL, libc::ENOTSUP],
                    4 => &[libc::EBADF, libc::ECANCELED, libc::ETIME, libc::ENOTSUP],
                    _ => &[0, libc::ECANCELED, libc::ETIME, libc::ENOTSUP],
                };
                self.said("io", r, suspended_or(this, mine, of_kernel));
            }
            11 => {
                // SAFETY: as said above.
                let r = unsafe { ct::monad_async_task_join(this, task) };
                let want: &[i32] = match (this.is_null() || task.is_null(), mine, this == task) {
                    (true, ..) => &[libc::EINVAL],
                    (_, false, _) => &[libc::EPERM],
                    (.., true) => &[libc::EDEADLK],
                    // ESRCH: it has exited and was launched again before the answer came. EDEADLK:
                    // it waits for this one.
                    _ => {
                        &[0, libc::ECANCELED, libc::ETIME, libc::EINVAL, libc::ESRCH, libc::EDEADLK]
                    }
                };
                self.said("join", r, want);
            }
            12 | 13 => {
                let home = Self::home(task);
                let there = if ex.is_null() { !home.is_null() } else { home == ex.cast() };
                // SAFETY: as said above.
                let r = unsafe { ct::monad_async_task_cancel(ex, task) };
                let want = match (task.is_null(), there) {
                    (true, _) => libc::EINVAL,
                    (_, true) => 0,
                    _ => libc::ENOENT,
                };
                self.said("cancel", r, &[want]);
                if r.error == 0 {
                    self.elsewhere.canceled(task);
                }
            }
            14 if a & 64 == 0 => {
                let (cpu, io) = ((a % 5) as u8, (b % 4) as u8);
                // SAFETY: as said above.
                let r = unsafe { ct::monad_async_task_set_priorities(task, cpu, io) };
                let bad = task.is_null() || cpu > 2 || io > 2;
                self.said("set_priorities", r, &[if bad { libc::EINVAL } else { 0 }]);
            }
            14 => {
                // SAFETY: as said above.
                let r = unsafe { ct::monad_async_task_destroy(task) };
                let want = match (task.is_null(), busy) {
                    (true, _) => libc::EINVAL,
                    (_, true) => libc::EBUSY,
                    _ => 0,
                };
                self.said("destroy task", r, &[want]);
                if r.error == 0 {
                    self.tasks[b % TASKS].set(null());
                }
            }
            16..29 => self.step_in_rooms(what - 16, a, b, me, this),
            29.. => self.step_elsewhere(what - 29, a, b),
            _ if b % 4 == 0 => self.destroy_executor(a),
            _ => {
                // SAFETY: as said above.
                let r = unsafe { cx::monad_async_executor_wake(ex) };
                self.said("wake", r, &[if ex.is_null() { libc::EINVAL } else { 0 }]);
            }
        }
    }

    fn create_executor(&self, a: usize, b: usize) {
        let place = &self.executors[a % EXECUTORS];
        if !place.get().is_null() {
            return;
        }
        let mut attr = [0u32; 48];
        attr[0] = [0, 1, 2, 8][b % 4];
        attr[32] = u32::from(b & 32 != 0) * 2; // flags: 1 is known, 2 is not
        let mut ex = null_mut();
        let valid = b & 64 == 0;
        let from = if valid { attr.as_ptr().cast() } else { null() };
        // SAFETY: 192 bytes of attributes, or null, which stands for zeros.
        let r = unsafe { cx::monad_async_executor_create(&mut ex, from) };
        let want = if !valid || attr[32] == 0 { 0 } else { libc::EINVAL };
        self.said("create executor", r, &[want]);
        if r.error == 0 {
            place.set(ex);
        } else {
            // SAFETY: static for this thread until its next create.
            let text = unsafe { CStr::from_ptr(cx::monad_async_last_create_error()) };
            self.wrong.set(self.wrong.get() || text.is_empty());
        }
    }

    fn create_task(&self, b: usize, a: usize) {
        let place = &self.tasks[b % TASKS];
        if !place.get().is_null() {
            return;
        }
        // Executors are made inside tasks too, which takes stack.
        let attr = [256 << 10, u64::from(a % 16 == 15), 0, 0, 0, 0, 0, 0];
        let mut task = null();
        // SAFETY: 64 bytes of attributes.
        let r = unsafe { ct::monad_async_task_create(&mut task, attr.as_ptr().cast()) };
        self.said("create task", r, &[if attr[1] == 0 { 0 } else { libc::EINVAL }]);
        // SAFETY: null, or just made.
        if let Some(head) = unsafe { task.as_ref() } {
            head.user_ptr.set((&raw const *self).cast_mut().cast());
            head.user_code.set(Some(body));
            place.set(task);
        }
    }

    fn run(&self, ex: ExecutorPtr, b: usize) {
        let inside = !self.running.get().1.is_null();
        let nsec = if b & 64 == 0 { 20_000 * i64::from(b & 1 != 0) } else { -1 };
        let timeout = libc::timespec { tv_sec: 0, tv_nsec: nsec };
        let most = [0, 1, 3, usize::MAX][b / 2 % 4];
        let posted = self.elsewhere.posted.take();
        // SAFETY: null or not destroyed; the timeout lives here.
        let r = unsafe { cx::monad_async_executor_run(ex, most, &timeout) };
        // What it was sent before has arrived.
        let looked = !inside && [0, libc::ETIME].contains(&r.error);
        let mut posted_now = self.elsewhere.posted.borrow_mut();
        for task in posted.into_iter().filter(|&t| !looked || Self::home(t) != ex.cast()) {
            posted_now.retain(|&other| other != task);
            posted_now.push(task);
        }
        drop(posted_now);
        let want: &[i32] = match (ex.is_null() || nsec < 0, inside) {
            (true, true) => &[libc::EINVAL, libc::EDEADLK],
            (true, false) => &[libc::EINVAL],
            (_, true) => &[libc::EDEADLK],
            _ => &[0, libc::ETIME],
        };
        self.said("run", r, want);
        if r.error == 0 && r.value as usize > most {
            self.said("run: more than max_items", r, &[-1]);
        }
    }

    fn destroy_executor(&self, a: usize) {
        let place = &self.executors[a % EXECUTORS];
        let ex = place.get();
        let busy = self.attached_to(ex) != 0;
        // Those that were cancelled before they began are over once it has looked at its mail.
        let mut tasks = self.tasks.iter().map(Cell::get);
        let may_be_over = tasks.all(|t| Self::home(t) != ex.cast() || self.elsewhere.is_asked(t));
        // SAFETY: null or not destroyed.
        let r = unsafe { cx::monad_async_executor_destroy(ex) };
        let want = match (ex.is_null(), ex == self.running.get().0, busy) {
            (true, ..) => libc::EINVAL,
            (_, true, _) => libc::EDEADLK,
            (.., true) => libc::EBUSY,
            _ => 0,
        };
        let or = if want == libc::EBUSY && may_be_over { 0 } else { want };
        self.said("destroy executor", r, &[want, or]);
        if r.error == 0 {
            place.set(null_mut());
            self.elsewhere.gone(ex);
        }
    }

    /// Whatever was done: cancelling ends every task, and then everything can be destroyed.
    fn clean_up(&self) {
        self.at.set(self.bytes.len());
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        for round in 0.. {
            let mut left = 0;
            for ex in self.executors.iter().map(Cell::get).filter(|ex| !ex.is_null()) {
                for task in self.tasks.iter().map(Cell::get) {
                    if Self::home(task) == ex.cast() {
                        left += 1;
                        // SAFETY: both are there.
                        unsafe { ct::monad_async_task_cancel(ex, task) };
                    }
                }
                // SAFETY: as above.
                unsafe { cx::monad_async_executor_run(ex, usize::MAX, &at_once) };
            }
            if left == 0 {
                break;
            }
            assert!(round < 100_000, "tasks do not end:\n{}", self.log.borrow().join("\n"));
        }
        for task in self.tasks.iter().map(Cell::get).filter(|t| !t.is_null()) {
            // SAFETY: not destroyed, and not used any more.
            let exited = unsafe { TaskRef::from_head(task) };
            let _ = exited.has_exited();
            // SAFETY: as above.
            self.said("last destroy", unsafe { ct::monad_async_task_destroy(task) }, &[0]);
        }
        for ex in self.executors.iter().map(Cell::get).filter(|ex| !ex.is_null()) {
            // SAFETY: as above.
            self.said("last destroy", unsafe { cx::monad_async_executor_destroy(ex) }, &[0]);
        }
        self.elsewhere.end();
    }
}

fn suspended_or(this: TaskPtr, mine: bool, good: &[i32]) -> &[i32] {
    match (this.is_null(), mine) {
        (true, _) => &[libc::EINVAL],
        (_, true) => good,
        _ => &[libc::EPERM],
    }
}

//! Whose turn it is. All threads of a program but one wait; who comes to a point where another may
//! go on passes the turn on, by chance. So what is between two such points is done as by one thread,
//! and a seed plays the same each time.

use super::model::Model;
use super::{Program, Step, WORKERS_MAX};
use crate::support::rng::{replay, Rng};
use crate::support::without_ring;
use monad_async::error::Errno;
use monad_async::pool::blocking;
use monad_async::sys::eventfd::EventFd;
use monad_async::uring::kernel::{Kernel, Wait, Waker};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard};

/// The thread outside; the workers are 1 and so on.
pub const OUTSIDE: usize = 0;
const ALL: usize = WORKERS_MAX + 1;
/// At helpers: seconds of processor time, as each look gives the processor away.
pub const LOOKS_MAX: u64 = 5_000_000;
/// Of a program.
const EVENTS_MAX: usize = 50_000;
/// Of those, in front of a failure.
const SHOWN: usize = 300;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Was never made, or has left; or the thread outside has nothing to do any more.
    Away,
    Able,
    Sleeps {
        until_ns: u64,
        is_woken: bool,
    },
}

/// What has happened, for who reads a failure.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code)] // Printed.
pub enum Event {
    Pass(usize),
    Item(usize, usize),
    Sleeps(usize),
    Wakes(usize),
    Refused(usize),
    Returned(usize),
    Left(usize),
    Step(usize, Step, i64),
    Ended(usize),
}

pub struct State {
    turn: usize,
    pub places: [Place; ALL],
    chance: Rng,
    pub program: Program,
    pub log: Vec<Event>,
    pub model: Model,
    pub is_over: bool,
    /// A helper is about to begin something, or to end it.
    pub is_unsettled: bool,
    /// How often each thing that is to be tried was, in all programs.
    pub seen: BTreeMap<&'static str, u64>,
}

static CLOCK_NS: AtomicU64 = AtomicU64::new(0);
static SEED: AtomicU64 = AtomicU64::new(0);
static TURNS: [Condvar; ALL] = [const { Condvar::new() }; ALL];
static EVENTFDS: LazyLock<[EventFd; ALL]> =
    LazyLock::new(|| std::array::from_fn(|_| EventFd::new().expect("an eventfd")));
static STATE: LazyLock<Mutex<State>> = LazyLock::new(|| {
    let program = Program::new(0);
    Mutex::new(State {
        turn: OUTSIDE,
        places: [Place::Away; ALL],
        chance: Rng::new(0, 0),
        model: Model::new(&program),
        program,
        log: Vec::new(),
        is_over: false,
        is_unsettled: false,
        seen: super::model::SEEN.iter().map(|&name| (name, 0)).collect(),
    })
});

pub fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(|e| e.into_inner())
}

pub fn now_ns() -> u64 {
    CLOCK_NS.load(SeqCst)
}

pub fn passes(ns: u64) {
    CLOCK_NS.fetch_add(ns, SeqCst);
}

/// What functions on helpers and who lets them go on share.
pub struct Gates {
    /// Began, in order.
    pub begun: Vec<usize>,
    pub open: Vec<usize>,
}

pub static GATES: Mutex<Gates> = Mutex::new(Gates { begun: Vec::new(), open: Vec::new() });
pub static OPENED: Condvar = Condvar::new();

/// No thread can go on, so the process ends.
pub fn end(text: &str, log: &str) -> ! {
    let again = replay(&format!("CREW_SEED={}", SEED.load(SeqCst)), "sync -- crew");
    let mut stderr = std::io::stderr(); // Past what the harness collects.
    let _ = writeln!(stderr, "panicked: the model of workers\n{text}\n{log}\n{again}");
    std::process::abort();
}

impl State {
    pub fn begin(&mut self, program: Program, seed: u64) {
        CLOCK_NS.store(0, SeqCst);
        EVENTFDS.iter().for_each(|fd| _ = fd.take());
        self.turn = OUTSIDE;
        self.places = [Place::Away; ALL];
        self.places[OUTSIDE] = Place::Able;
        self.chance = Rng::new(seed, 1);
        self.model = Model::new(&program);
        self.program = program;
        SEED.store(seed, SeqCst);
        self.log.clear();
        self.is_over = false;
        self.is_unsettled = false;
        GATES.lock().unwrap().begun.clear();
    }

    /// What the model says has not come.
    pub fn fail(&self, text: &str) -> ! {
        let mut log = String::new();
        for event in &self.log[self.log.len().saturating_sub(SHOWN)..] {
            log += &format!("  {event:?}\n");
        }
        end(text, &log)
    }

    pub fn check(&self, holds: bool, text: &str) {
        if !holds {
            self.fail(text);
        }
    }

    /// Something has happened: those who sleep and were woken by it are those that the model says.
    pub fn check_wakes(&mut self) {
        for w in 1..ALL {
            let due = std::mem::take(&mut self.model.workers[w].is_due);
            let Place::Sleeps { until_ns, is_woken: false } = self.places[w] else { continue };
            let is_woken = EVENTFDS[w].take() != 0;
            if is_woken != due {
                let text = if due { "was not woken" } else { "was woken for nothing" };
                self.fail(&format!("worker {w} {text}"));
            }
            self.places[w] = Place::Sleeps { until_ns, is_woken };
        }
        if let Some(text) = self.model.wrong.take() {
            self.fail(&text);
        }
    }

    /// Helpers have begun what they are to begin, and have told of what they have ended.
    pub fn settle(&mut self) {
        if !std::mem::take(&mut self.is_unsettled) {
            return;
        }
        let running = self.model.running.len() as u32;
        let mut looks: u64 = 0;
        loop {
            let begun = GATES.lock().unwrap().begun.len();
            self.check(begun <= self.model.calls_begun.len(), "a function began, and was not to");
            let all_begun = begun == self.model.calls_begun.len();
            if all_begun && blocking::helpers() == blocking::idle_helpers() + running {
                break;
            }
            looks += 1;
            self.check(looks < LOOKS_MAX, "a function does not begin, or its end is not told");
            std::thread::yield_now();
        }
        let same = GATES.lock().unwrap().begun == self.model.calls_begun;
        self.check(same, "functions began in another order");
    }

    /// Now and then others go on between two steps.
    pub fn passes_between(&mut self) -> bool {
        self.chance.one_in(4)
    }

    /// Now and then the kernel does not let a worker go on that wakes.
    fn refuses(&mut self) -> bool {
        self.program.refuses && self.chance.one_in(4)
    }

    fn pick(&mut self) -> usize {
        self.check(self.log.len() < EVENTS_MAX, "it goes on for ever");
        loop {
            let is_able = |i: &usize| match self.places[*i] {
                Place::Away => false,
                Place::Able => true,
                Place::Sleeps { until_ns, is_woken } => is_woken || until_ns <= now_ns(),
            };
            let able = (0..ALL).filter(is_able).count();
            if able != 0 {
                let n = self.chance.below(able as u32) as usize;
                return (0..ALL).filter(is_able).nth(n).unwrap_or(OUTSIDE);
            }
            let until = |place: &Place| match place {
                Place::Sleeps { until_ns, .. } if *until_ns != u64::MAX => Some(*until_ns),
                _ => None,
            };
            match self.places.iter().filter_map(until).min() {
                Some(until_ns) => CLOCK_NS.store(until_ns, SeqCst),
                None => return OUTSIDE, // Nothing comes: it knows what to do.
            }
        }
    }
}

/// `who` is at a point where others may go on; returns when it is its turn again.
pub fn pass(who: usize, place: Place) {
    let mut state = lock();
    state.places[who] = place;
    let next = state.pick();
    give(state, who, next);
}

pub fn give(mut state: MutexGuard<'static, State>, who: usize, next: usize) {
    state.turn = next;
    if next != who {
        TURNS[next].notify_one();
        if who != OUTSIDE && state.places[who] == Place::Away {
            return;
        }
        while state.turn != who {
            state = TURNS[who].wait(state).unwrap_or_else(|e| e.into_inner());
        }
    }
    state.places[who] = Place::Able;
}

/// Until it is made. False: it never is, as the program is over.
pub fn until_hired(who: usize) -> bool {
    let mut state = lock();
    while state.turn != who && !state.is_over {
        state = TURNS[who].wait(state).unwrap_or_else(|e| e.into_inner());
    }
    !state.is_over
}

/// Those that were never made go away.
pub fn is_over() {
    lock().is_over = true;
    TURNS.iter().for_each(Condvar::notify_all);
}

/// For a moment.
pub const REFUSED: Errno = Errno(libc::EACCES);

pub struct Sim(pub usize);

impl Kernel for Sim {
    without_ring!();
    fn enter(&self, wait: Wait) -> Result<(), Errno> {
        let until_ns = match wait {
            Wait::No => return Ok(()),
            Wait::Until { boot_ns } => boot_ns,
            Wait::Forever => u64::MAX,
        };
        let who = self.0;
        let mut state = lock();
        state.log.push(Event::Sleeps(who));
        state.settle();
        state.model.sleeps(who);
        state.check_wakes();
        drop(state);
        pass(who, Place::Sleeps { until_ns, is_woken: false });
        EVENTFDS[who].take();
        let mut state = lock();
        if state.refuses() {
            state.log.push(Event::Refused(who));
            state.model.is_refused(who);
            return Err(REFUSED);
        }
        state.log.push(Event::Wakes(who));
        state.model.wakes(who, now_ns());
        Ok(())
    }
    fn now_boot_ns(&self) -> u64 {
        now_ns()
    }
    fn stamp(&self) -> u64 {
        now_ns()
    }
    fn ns_since(&self, stamp: u64) -> u64 {
        now_ns() - stamp
    }
    fn look_ticks() -> u64 {
        1 // Any time is long.
    }
    fn waker(&self) -> Waker {
        EVENTFDS[self.0].waker()
    }
}

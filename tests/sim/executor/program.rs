//! What a program is: the tasks and their steps, what the driver does between passes, what
//! other threads do at that time, and how the simulated kernel is disposed. Any piece may be taken
//! out, so that a program that fails can be shrunk.

/// What an operation's end looks like to the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Full,
    /// So many bytes less than asked for.
    Short(u8),
    Errno(i32),
    /// Not before it is cancelled.
    Never,
}

/// What becomes of a cancel request that finds the operation in flight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OnCancel {
    /// -ECANCELED, and 0 for the request; `true`: the request is answered first.
    Wins(bool),
    /// A kernel worker is interrupted: -EINTR, or an errno of the kernel's own, and -EALREADY for
    /// the request.
    Interrupts(i32),
    /// -EALREADY, and the operation takes its course.
    Loses,
    /// The operation ended at that moment: its real result, and -ENOENT; `true`: answered first.
    Crosses(bool),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Nop,
    Read,
    Write,
    Poll,
    SendZc,
    /// A poll that goes on: so many completions come before the last.
    Stream(u8),
}

/// Operation records that each task has.
pub const OPS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Io {
    pub op: Op,
    pub len: u8,
    pub end: End,
    pub delay_ns: u32,
    pub on_cancel: OnCancel,
    /// It is begun so many times in vain, and ends with this errno, though nobody cancelled it.
    pub trouble: (u8, i32),
    /// With IOSQE_IO_DRAIN, which is refused.
    pub drain: bool,
}

/// One thing that a task does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    Yield,
    Sleep(u32),
    SleepForEver,
    /// Until a time on the clock, so far from now.
    SleepUntil(u32),
    Io(Io),
    Join(u8),
    Cancel(u8),
    Uncancel,
    Enter {
        timeout_ns: Option<u32>,
        shield: bool,
    },
    /// The innermost scope.
    Leave,
    /// The outermost, which is refused if another one is inside it.
    LeaveOutermost,
    /// The scope at this depth of a task of the same executor.
    Fire {
        task: u8,
        depth: u8,
    },
    Park,
    Unpark(u8),
    Begin(u8, Io),
    Wait(u8),
    WaitAny,
    /// Of a task of the same executor.
    OpCancel {
        task: u8,
        op: u8,
    },
    Attach {
        task: u8,
        ex: u8,
    },
    /// Of a task: to these levels.
    Priorities(u8, u8, u8),
    /// Its own, by writing the public field.
    WritePriority(u8),
    Wake(u8),
    HasWork,
    /// Of all tasks of its executor, itself too.
    CancelAll,
    /// A call that must be refused.
    Misuse(u8),
    /// Ends this life here, with this errno.
    Exit(i32),
}

/// One thing that the driver does between passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Drive {
    Run {
        ex: u8,
        max: u32,
        timeout_ns: Option<u32>,
    },
    Attach {
        task: u8,
        ex: u8,
    },
    Cancel {
        task: u8,
        ex: u8,
    },
    Unpark {
        task: u8,
        ex: u8,
    },
    Priorities(u8, u8, u8),
    HasWork(u8),
    CancelAll(u8),
    /// Destroys the executor, if nothing is attached; makes another where there is none.
    Turn(u8),
    /// Cancels all, runs until it is done, and destroys.
    Retire(u8),
    /// Destroys a task and makes another, most likely in the same place.
    Recreate(u8),
    Pass(u32),
}

/// One thing that another thread does, at any moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Foreign {
    Wake(u8),
    /// It takes that thread so many moments from claiming the task to posting it.
    Attach {
        task: u8,
        ex: u8,
        slow: u32,
    },
    /// On the executor it is attached to, or on the given one whatever.
    Cancel {
        task: u8,
        ex: Option<u8>,
    },
    Unpark(u8),
    /// Several threads at once, to one executor: launches, cancels, unparks, in any order.
    Storm(u8),
    /// The other executor's thread gets so many items done.
    Run {
        max: u32,
    },
    /// The other executor's thread destroys it, or makes another.
    Turn,
    /// The other executor's thread cancels all, runs until it is done, and destroys.
    Retire,
}

/// How the kernel is disposed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temper {
    pub sq_entries: u32,
    pub cq_entries: usize,
    /// Completions show up only on an enter (DEFER_TASKRUN).
    pub deferred: bool,
    /// One enter in so many is refused or interrupted; 0: none.
    pub faults: u32,
    /// -ENOMEM and -EBADR are among the faults.
    pub nomem: bool,
    /// An enter may take some of the entries only.
    pub partial: bool,
    /// One sleep in so many ends for no reason; 0: none.
    pub spurious: u32,
    /// A completion of nobody's comes with one in so many; 0: none.
    pub garbage: u32,
    /// How far the clock goes each time it is looked at, at most.
    pub step_ns: u32,
}

pub struct Program {
    pub seed: u64,
    pub executors: usize,
    pub ring: [bool; 2],
    pub track: bool,
    /// With `track`: the executor looks around after each item, for its time is up.
    pub looks: bool,
    pub tempers: [Temper; 2],
    /// cpu and io level of each task at the start.
    pub levels: Vec<(u8, u8)>,
    /// Of each task, of each of its lives, the range in `steps`.
    pub lives: Vec<Vec<(u32, u32)>>,
    pub steps: Vec<Option<Step>>,
    pub drive: Vec<Option<Drive>>,
    /// After so many more moments.
    pub foreign: Vec<Option<(u32, Foreign)>>,
}

impl Program {
    /// How many pieces `drop_piece` knows.
    pub fn pieces(&self) -> usize {
        self.steps.len() + self.drive.len() + self.foreign.len() + TEMPERS
    }

    /// Takes one piece out: a step, something the driver or another thread does, a fault.
    pub fn drop_piece(&mut self, n: usize) {
        let (s, d, f) = (self.steps.len(), self.drive.len(), self.foreign.len());
        if n < s {
            self.steps[n] = None;
        } else if n < s + d {
            self.drive[n - s] = None;
        } else if n < s + d + f {
            self.foreign[n - s - d] = None;
        } else {
            for t in &mut self.tempers {
                match n - s - d - f {
                    0 => t.faults = 0,
                    1 => t.nomem = false,
                    2 => t.partial = false,
                    3 => t.spurious = 0,
                    4 => t.cq_entries = 1000,
                    5 => t.sq_entries = 64,
                    6 => t.deferred = false,
                    7 => t.garbage = 0,
                    _ => t.step_ns = 0,
                }
            }
        }
    }

    /// For a reader.
    pub fn print(&self) {
        eprintln!("seed {}: {} executors, rings {:?}", self.seed, self.executors, self.ring);
        for t in &self.tempers[..self.executors] {
            eprintln!("  kernel {t:?}");
        }
        for (i, lives) in self.lives.iter().enumerate() {
            for (n, &(from, to)) in lives.iter().enumerate() {
                let steps: Vec<_> =
                    self.steps[from as usize..to as usize].iter().flatten().collect();
                eprintln!("  task {i} {:?} life {n}: {steps:?}", self.levels[i]);
            }
        }
        eprintln!("  driver: {:?}", self.drive.iter().flatten().collect::<Vec<_>>());
        eprintln!("  others: {:?}", self.foreign.iter().flatten().collect::<Vec<_>>());
    }
}

const TEMPERS: usize = 9;

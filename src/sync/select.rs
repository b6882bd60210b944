//! `monad_async_select`: waits for several things at once; one happens, and the others leave no
//! trace.
//!
//! 1. All channels of a call are closed, in the order of their addresses, while its cases are
//!    looked at and, if none can go on, queued: so what others do to them comes before all of it,
//!    or after all of it.
//! 2. One [`Wait`] stands in all queues. Who claims it has decided; who comes later finds it
//!    claimed, and serves the next.
//! 3. Every case is withdrawn before the call returns: its node taken out, its join unregistered.
//!    An operation that has not won stays as it is: in flight, or with its completion to be taken.
//! 4. A joined task that leaves the queue of a pool ends the wait, too: then all cases are
//!    withdrawn, and the call begins anew, with the deadline and the runs that it had.

use core::cell::Cell;
use core::mem::{offset_of, MaybeUninit};

use super::channel::{Attempt, Channel, Direction, EPIPE};
use super::side::{Local, Shared, Side};
use super::waiters::{Node, Woken};
use crate::error::{Errno, RawResult, Res};
use crate::executor::grant::{Caller, Wait};
use crate::executor::join_case::{Begun, JoinCase, Withdrawn};
use crate::executor::scope::NEVER_NS;
use crate::executor::Executor;
use crate::reactor::operation::Op;
use crate::task::header::TaskRef;
use crate::task::state::Run;
use crate::uring::kernel::Kernel;

/// So many cases at most: their order is on the stack.
pub const CASES_MAX: usize = 256;

/// `monad_async_select_kind`'s values.
pub mod kind {
    pub const SEND: u8 = 1;
    pub const RECEIVE: u8 = 2;
    pub const LOCAL_SEND: u8 = 3;
    pub const LOCAL_RECEIVE: u8 = 4;
    pub const JOIN: u8 = 5;
    pub const OPERATION: u8 = 6;
    pub const TIMEOUT: u8 = 7;
}

/// `monad_async_select_case`
#[repr(C)]
pub struct Case {
    kind: u8,
    priority: u8,
    _reserved: [u8; 6],
    object: *mut u8,
    element: *mut u8,
    timeout_ns: u64,
    result: Cell<RawResult>,
    /// Which run is joined; 0: not known yet.
    joined: Cell<Run>,
    place: Place,
}

/// While the call waits.
#[repr(C)]
union Place {
    node: core::mem::ManuallyDrop<MaybeUninit<Node>>,
    join: core::mem::ManuallyDrop<MaybeUninit<JoinCase>>,
    _room: [u64; 15],
}

// As in select.h.
const _: () = assert!(size_of::<Case>() == 176 && offset_of!(Case, joined) == 48);

enum What<'a> {
    Channel(&'a Channel<Shared>, Direction),
    Local(&'a Channel<Local>, Direction),
    Join(TaskRef),
    Operation(&'a Op),
    Timeout,
}

impl Case {
    /// As the functions of select.h make one.
    pub fn new(kind: u8, object: *mut u8, element: *mut u8, timeout_ns: u64) -> Self {
        Self {
            kind,
            priority: 0,
            _reserved: [0; 6],
            object,
            element,
            timeout_ns,
            result: Cell::new(RawResult::success(0)),
            joined: Cell::new(0),
            place: Place { _room: [0; 15] },
        }
    }

    pub fn with_priority(self, priority: u8) -> Self {
        Self { priority, ..self }
    }

    pub fn result(&self) -> RawResult {
        self.result.get()
    }

    /// # Safety
    /// `object` is what `kind` says, or null.
    unsafe fn what(&self) -> Res<What<'_>> {
        use Direction::{Receive, Send};
        if self.object.is_null() && self.kind != kind::TIMEOUT {
            return Err(Errno(libc::EINVAL));
        }
        let shared = || self.object.cast::<Channel<Shared>>();
        let local = || self.object.cast::<Channel<Local>>();
        // SAFETY: the caller's.
        Ok(unsafe {
            match self.kind {
                kind::SEND => What::Channel(&*shared(), Send),
                kind::RECEIVE => What::Channel(&*shared(), Receive),
                kind::LOCAL_SEND => What::Local(&*local(), Send),
                kind::LOCAL_RECEIVE => What::Local(&*local(), Receive),
                kind::JOIN => What::Join(TaskRef::from_head(self.object.cast())),
                kind::OPERATION => What::Operation(&*self.object.cast()),
                kind::TIMEOUT => What::Timeout,
                _ => return Err(Errno(libc::EINVAL)),
            }
        })
    }

    /// The node that was written by `queue`.
    fn node(&self) -> &Node {
        // SAFETY: only asked after `queue`.
        unsafe { self.place.node.assume_init_ref() }
    }
}

/// What a call keeps on its stack; the wait is first, for `watches`.
#[repr(C)]
struct Selecting<'a> {
    wait: Wait,
    cases: &'a [Case],
}

/// Whether the wait of a select is for the operation at `op`: its index.
///
/// # Safety
/// `wait` is that of a `Selecting`.
unsafe fn watches(wait: &Wait, op: *const ()) -> Option<u32> {
    // SAFETY: the caller's; the wait is the first field.
    let selecting = unsafe { &*core::ptr::from_ref(wait).cast::<Selecting<'_>>() };
    let is_it = |case: &Case| case.kind == kind::OPERATION && case.object.cast_const().cast() == op;
    selecting.cases.iter().position(is_it).map(|i| i as u32)
}

/// Indices of cases, in an order.
struct Order {
    indices: [u8; CASES_MAX],
    count: usize,
}

impl Order {
    /// Of those that `key` gives something for; equal ones in the order given. An insertion sort:
    /// there are a few cases as a rule.
    fn by<T: Ord>(cases: &[Case], key: impl Fn(&Case) -> Option<T>) -> Self {
        let mut order = Self { indices: [0; CASES_MAX], count: 0 };
        for (i, case) in cases.iter().enumerate() {
            let Some(own) = key(case) else { continue };
            let mut at = order.count;
            while at > 0 && key(&cases[order.indices[at - 1] as usize]).is_some_and(|k| k > own) {
                order.indices[at] = order.indices[at - 1];
                at -= 1;
            }
            order.indices[at] = i as u8;
            order.count += 1;
        }
        order
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.indices[..self.count].iter().map(|&i| i as usize)
    }
}

fn shared_address(case: &Case) -> Option<usize> {
    let is_shared = matches!(case.kind, kind::SEND | kind::RECEIVE);
    is_shared.then_some(case.object as usize)
}

fn is_of_one_executor(case: &Case) -> bool {
    matches!(case.kind, kind::LOCAL_SEND | kind::LOCAL_RECEIVE)
}

/// All channels of a call, behind their sides (rule 1).
struct Closed<'a> {
    cases: &'a [Case],
    order: Order,
    /// How many that are shared: the first ones of the order.
    count: usize,
}

impl<'a> Closed<'a> {
    fn close<K: Kernel>(cases: &'a [Case], caller: &Caller<'_, K>) -> Res<Self> {
        for case in cases {
            // SAFETY: what its kind says, by the caller's word.
            if let What::Local(channel, _) = unsafe { case.what() }? {
                channel.close_all(caller.mailbox())?;
            }
        }
        let mut this = Self { cases, order: Order::by(cases, shared_address), count: 0 };
        let mut count = 0;
        let closed = this.each_shared(|channel| {
            channel.close_all(None)?;
            count += 1;
            Ok(())
        });
        this.count = count;
        closed?;
        Ok(this)
    }

    fn each_shared(&self, mut f: impl FnMut(&Channel<Shared>) -> Res<()>) -> Res<()> {
        let mut before = 0;
        for i in self.order.iter() {
            let address = self.cases[i].object as usize;
            // SAFETY: as above.
            if let What::Channel(channel, _) = unsafe { self.cases[i].what() }? {
                if address != before {
                    f(channel)?;
                }
            }
            before = address;
        }
        Ok(())
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        let mut left = self.count;
        let _ = self.each_shared(|channel| {
            // In the child of a fork one may be the parent's, which stays as it is.
            left = left.checked_sub(1).ok_or(Errno(libc::EPERM))?;
            channel.open_all();
            Ok(())
        });
    }
}

/// SUSPENDS. The index of the case that happened; its result is in it.
///
/// # Safety
/// Each case's object is what its kind says, or null, and its element as
/// `Channel::attempt` wants it.
pub unsafe fn select<K: Kernel>(caller: &Caller<'_, K>, cases: &[Case]) -> Res<usize> {
    if cases.is_empty() || cases.len() > CASES_MAX {
        return Err(Errno(libc::EINVAL));
    }
    for case in cases {
        // SAFETY: the caller's.
        check(caller, case, unsafe { case.what() }?)?;
    }
    caller.start()?;
    cases.iter().for_each(|case| case.joined.set(0));
    let mut deadline = Deadline::of(cases);
    loop {
        // SAFETY: the caller's.
        if let Some(happened) = unsafe { look_and_wait(caller, cases, &mut deadline) }? {
            return Ok(happened);
        }
    }
}

/// None: rule 4.
///
/// # Safety
/// As `select`.
unsafe fn look_and_wait<K: Kernel>(
    caller: &Caller<'_, K>,
    cases: &[Case],
    deadline: &mut Deadline,
) -> Res<Option<usize>> {
    // A thread waits for nothing local; for time alone, as for what others do.
    let may_be = caller.executor().is_some() || cases.iter().any(is_of_one_executor);
    let is_shared = |case: &Case| shared_address(case).is_some() || is_queued(case);
    let is_local = may_be && !cases.iter().any(is_shared);
    let mut selecting = Selecting { wait: caller.wait(is_local), cases };
    if cases.iter().any(|case| case.kind == kind::OPERATION) {
        selecting.wait.watcher.set(Some(watches));
    }
    {
        let mut woken = Woken::none();
        let closed = Closed::close(cases, caller)?;
        for i in deadline.by_priority.iter() {
            // SAFETY: the caller's; the sides are closed.
            if let Some(result) = unsafe { attempt(caller, &cases[i], &mut woken) } {
                cases[i].result.set(result);
                drop(closed);
                woken.wake::<K>();
                return Ok(Some(i));
            }
        }
        for (i, case) in cases.iter().enumerate() {
            // SAFETY: the sides are closed; taken out by `withdraw`.
            unsafe { queue(case, &selecting.wait, i as u32) };
        }
    }
    // SAFETY: the caller's; withdrawn below.
    let waited = unsafe { wait(caller, &mut selecting, deadline) };
    let mut again = waited == Ok(None);
    for (i, case) in cases.iter().enumerate() {
        // SAFETY: queued above.
        again |= unsafe { withdraw(caller, case, waited == Ok(Some(i))) };
    }
    if again {
        caller.start()?;
        return Ok(None);
    }
    waited
}

/// In which order cases are looked at, and when the first time-out is.
struct Deadline {
    by_priority: Order,
    first: Option<usize>,
    /// None: not known yet, as nothing was waited for.
    until_ns: Option<u64>,
}

impl Deadline {
    fn of(cases: &[Case]) -> Self {
        let by_priority = Order::by(cases, |case| Some(case.priority));
        let time = |i: &usize| (cases[*i].kind == kind::TIMEOUT).then_some(cases[*i].timeout_ns);
        let first = by_priority.iter().filter(|i| time(i).is_some()).min_by_key(time);
        Self { by_priority, first, until_ns: None }
    }

    fn until_ns<K: Kernel>(&mut self, caller: &Caller<'_, K>, cases: &[Case]) -> u64 {
        *self.until_ns.get_or_insert_with(|| match self.first.map(|i| cases[i].timeout_ns) {
            None | Some(NEVER_NS) => NEVER_NS,
            Some(ns) => caller.now_ns().saturating_add(ns),
        })
    }
}

fn is_queued(case: &Case) -> bool {
    // SAFETY: what its kind says, by the caller's word.
    matches!(unsafe { case.what() }, Ok(What::Join(other)) if other.is_queued())
}

fn check<K: Kernel>(caller: &Caller<'_, K>, case: &Case, what: What<'_>) -> Res<()> {
    let is_null = |element_bytes: usize| case.element.is_null() && element_bytes != 0;
    match (what, caller.executor()) {
        (What::Channel(ch, _), _) if is_null(ch.element_bytes()) => Err(Errno(libc::EINVAL)),
        (What::Local(ch, _), _) if is_null(ch.element_bytes()) => Err(Errno(libc::EINVAL)),
        (What::Join(_) | What::Operation(_), None) => Err(Errno(libc::EINVAL)),
        (What::Join(other), Some((_, task))) if other == task => Err(Errno(libc::EDEADLK)),
        (What::Join(other), Some((ex, task))) => ex.settle_join_case(task, other),
        (What::Operation(op), Some((_, task))) => op.may_be_awaited_by(task),
        _ => Ok(()),
    }
}

/// Has the case happen, if it can at once.
///
/// # Safety
/// As `select`; the sides are closed.
unsafe fn attempt<K: Kernel>(
    caller: &Caller<'_, K>,
    case: &Case,
    woken: &mut Woken,
) -> Option<RawResult> {
    let of_channel = |attempt| match attempt {
        Attempt::Done => Some(RawResult::success(0)),
        Attempt::Closed => Some(RawResult::failure(EPIPE)),
        Attempt::WouldWait => None,
    };
    // SAFETY: the caller's.
    unsafe {
        match case.what().ok()? {
            What::Channel(ch, way) => of_channel(ch.attempt(way, case.element, woken)),
            What::Local(ch, way) => of_channel(ch.attempt(way, case.element, woken)),
            What::Join(other) => Executor::<K>::join_result(other, case.joined.get()),
            What::Operation(op) => caller.executor()?.0.take_completion(op),
            What::Timeout => (case.timeout_ns == 0).then_some(RawResult::success(0)),
        }
    }
}

/// # Safety
/// The sides are closed; `withdraw` comes before the case or the wait ends.
unsafe fn queue(case: &Case, wait: &Wait, index: u32) {
    let node = Node::new(wait, index, case.element as usize);
    // SAFETY: the place is the call's, and nobody's yet.
    let put = |node| unsafe {
        (&raw const case.place).cast_mut().cast::<Node>().write(node);
        case.node()
    };
    // SAFETY: the caller's.
    unsafe {
        match case.what() {
            Ok(What::Channel(channel, way)) => channel.enqueue(way, put(node)),
            Ok(What::Local(channel, way)) => channel.enqueue(way, put(node)),
            _ => {}
        }
    }
}

/// None: rule 4.
///
/// # Safety
/// As `select`; all channels are queued.
unsafe fn wait<K: Kernel>(
    caller: &Caller<'_, K>,
    selecting: &mut Selecting<'_>,
    deadline: &mut Deadline,
) -> Res<Option<usize>> {
    let (wait, cases) = (&selecting.wait, selecting.cases);
    let mut decided = None;
    for (i, case) in cases.iter().enumerate() {
        // SAFETY: the caller's.
        if let (Ok(What::Join(other)), Some((ex, _))) = (unsafe { case.what() }, caller.executor())
        {
            let place = (&raw const case.place).cast_mut().cast();
            // SAFETY: the place is the call's; ended by `withdraw`.
            match unsafe { ex.begin_join_case(other, &case.joined, wait, i as u32, place) } {
                Begun::Waits => {}
                Begun::Over(result) if decided.is_none() && wait.claim() => {
                    case.result.set(result);
                    decided = Some(Some(i));
                }
                Begun::Elsewhere if decided.is_none() && wait.claim() => decided = Some(None),
                Begun::Over(_) | Begun::Elsewhere => {}
            }
        }
    }
    if let Some(decided) = decided {
        return Ok(decided);
    }
    let until_ns = deadline.until_ns(caller, cases);
    match (caller.granted_until(wait, until_ns)?, deadline.first) {
        (true, _) => Ok(Some(wait.index.get() as usize)),
        (false, Some(i)) => {
            cases[i].result.set(RawResult::success(0));
            Ok(Some(i))
        }
        (false, None) => Err(Errno(libc::ETIME)), // There was no deadline.
    }
}

/// Takes the case back, or, if it won, its result. True: it has won by what is no result (rule 4).
///
/// # Safety
/// `case` was queued by this caller.
unsafe fn withdraw<K: Kernel>(caller: &Caller<'_, K>, case: &Case, won: bool) -> bool {
    // SAFETY: the caller's.
    let Ok(what) = (unsafe { case.what() }) else { return false };
    let mut result = RawResult::success(0);
    match what {
        What::Channel(channel, way) => {
            let _ = take_out(channel, caller, way, case.node());
        }
        What::Local(channel, way) => {
            let _ = take_out(channel, caller, way, case.node());
        }
        What::Join(_) => {
            let Some((ex, task)) = caller.executor() else { return false };
            // SAFETY: what `begin_join_case` wrote.
            result = match unsafe { ex.end_join_case(task, (&raw const case.place).cast()) } {
                Withdrawn::Over(result) => result,
                Withdrawn::Nothing => case.result.get(),
                Withdrawn::Left => return won,
            };
        }
        What::Operation(op) => {
            let completed = caller.executor().filter(|_| won);
            result = completed.and_then(|(ex, _)| ex.take_completion(op)).unwrap_or(result);
        }
        What::Timeout => {}
    }
    if won {
        let refused =
            matches!(what, What::Channel(..) | What::Local(..)) && case.node().is_refused();
        case.result.set(if refused { RawResult::failure(EPIPE) } else { result });
    }
    false
}

fn take_out<S: Side, K: Kernel>(
    channel: &Channel<S>,
    caller: &Caller<'_, K>,
    way: Direction,
    node: &Node,
) -> Res<()> {
    channel.close_all(caller.mailbox())?;
    channel.dequeue(way, node);
    channel.open_all();
    Ok(())
}

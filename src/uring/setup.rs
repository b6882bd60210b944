//! Making a ring: which flags the kernel takes, and what was dropped and why. Calls
//! `io_uring_setup` through the io-uring crate.
//!
//! The kernel answers EINVAL to a flag that it does not know without saying which. So everything is
//! asked for at once, which is the one call a current kernel needs; refused, every flag is tried
//! alone on a ring of one entry, and the ring is made with those that passed. No kernel version is
//! compared: distributions carry flags back.

use std::io;

use io_uring::{Builder, IoUring};

use super::abi::{self, setup};
use super::given_back::Refused;
use super::options::{CreateError, RingOptions};
use super::{mask, refusal};
use crate::error::Errno;
use crate::sys::text::{text, Text};

/// A flag that a ring may have here. Others are refused.
struct Flag {
    bit: u32,
    /// The first Linux with it.
    since: &'static str,
    /// Wanted of our own accord, and then known by this bit to tests; 0: only where asked for.
    mask: u32,
    /// The kernel demands these with it.
    demands: u32,
    /// And it is no use without these.
    needs: u32,
    set: fn(&mut Builder, &RingOptions),
}

impl Flag {
    const fn new(bit: u32, since: &'static str, set: fn(&mut Builder, &RingOptions)) -> Self {
        Self { bit, since, mask: 0, demands: 0, needs: 0, set }
    }

    const fn wanted(self, mask: u32) -> Self {
        Self { mask, ..self }
    }

    const fn with(self, demands: u32, needs: u32) -> Self {
        Self { demands, needs, ..self }
    }
}

macro_rules! set {
    ($b:ident, $o:ident, $call:expr) => {
        |$b: &mut Builder, $o: &RingOptions| {
            let _ = ($o, $call);
        }
    };
}

/// Every flag that may be set.
const FLAGS: [Flag; 9] = [
    Flag::new(setup::CQSIZE, "5.5", set!(b, o, b.setup_cqsize(o.cq_entries))),
    Flag::new(setup::CLAMP, "5.6", set!(b, o, b.setup_clamp())).wanted(mask::CLAMP),
    Flag::new(setup::ATTACH_WQ, "5.6", set!(b, o, b.setup_attach_wq(o.wq_fd))),
    Flag::new(setup::SUBMIT_ALL, "5.18", set!(b, o, b.setup_submit_all())).wanted(mask::SUBMIT_ALL),
    Flag::new(setup::COOP_TASKRUN, "5.19", set!(b, o, b.setup_coop_taskrun())),
    Flag::new(setup::TASKRUN_FLAG, "5.19", set!(b, o, b.setup_taskrun_flag()))
        .wanted(mask::TASKRUN_FLAG)
        .with(setup::COOP_TASKRUN, 0),
    Flag::new(setup::SINGLE_ISSUER, "6.0", set!(b, o, b.setup_single_issuer()))
        .wanted(mask::SINGLE_ISSUER),
    Flag::new(setup::DEFER_TASKRUN, "6.1", set!(b, o, b.setup_defer_taskrun()))
        .wanted(mask::DEFER_TASKRUN)
        .with(setup::SINGLE_ISSUER, setup::SINGLE_ISSUER | setup::TASKRUN_FLAG),
    Flag::new(setup::NO_SQARRAY, "6.6", set!(b, o, b.setup_no_sqarray())).wanted(mask::NO_SQARRAY),
];

fn wanted() -> impl Iterator<Item = &'static Flag> {
    const { &FLAGS }.iter().filter(|f| f.mask != 0)
}

/// What a user may ask for. Those we set anyway are not an error to ask for.
fn honoured() -> u32 {
    FLAGS.iter().map(|f| f.bit).sum()
}

/// What came out, for the config string.
pub(super) struct Made {
    pub(super) uring: IoUring,
    pub(super) flags: u32,
    /// Of something wanted: why it is not in use.
    pub(super) dropped: Text,
}

pub(super) fn names(flags: u32) -> Text {
    let mut names = Text::new();
    let mut rest = flags;
    for (name, bit) in setup::TABLE {
        let bit = *bit as u32;
        if flags & bit != 0 {
            names.item(" ", format_args!("{}", name.trim_start_matches("IORING_SETUP_")));
            rest &= !bit;
        }
    }
    if rest != 0 {
        names.item(" ", format_args!("{rest:#x}"));
    }
    names
}

pub(super) fn make(o: &RingOptions) -> Result<Made, CreateError> {
    check(o)?;
    let all = wanted().map(|f| f.mask).sum::<u32>() & !o.mask;
    let (mut supported, mut are_tried) = (all, false);
    let mut refused = Refused::new();
    // By one call: unoptimised, each has room of its own for what it returns, and who makes an
    // executor may have a small stack.
    let result = loop {
        let built = build(o.entries, flags_from(supported), o);
        match built.as_ref().err().and_then(io::Error::raw_os_error) {
            Some(libc::EINVAL) if !are_tried => {
                for f in wanted() {
                    if build(1, f.bit | f.demands, &RingOptions::default()).is_err() {
                        supported &= !f.mask;
                    }
                }
                are_tried = true;
            }
            Some(libc::ENOMEM) if refused.waits() => (supported, are_tried) = (all, false),
            _ => break built,
        }
    };
    let flags = flags_from(supported);
    match result {
        Ok(uring) => Ok(Made { uring, flags, dropped: dropped(supported, flags, o) }),
        Err(e) => Err(refusal::explain(Errno::from(e), o)),
    }
}

/// Setup flags from what is supported. Which combinations are sound, seen from `needs_enter`:
///
/// | flags | completions wait for | `needs_enter` learns of them by |
/// |---|---|---|
/// | DEFER_TASKRUN, TASKRUN_FLAG | an enter with GETEVENTS | the SQ ring's TASKRUN flag |
/// | COOP_TASKRUN, TASKRUN_FLAG | this thread's next system call | the same flag |
/// | neither | nothing: the kernel interrupts the thread | no need |
/// | DEFER or COOP without the flag | as above | nothing: so it is never set up |
fn flags_from(supported: u32) -> u32 {
    let all: u32 = wanted().filter(|f| supported & f.mask != 0).map(|f| f.bit).sum();
    let useless = wanted().filter(|f| all & f.needs != f.needs);
    let mut flags = useless.fold(all, |flags, f| flags & !f.bit);
    // The two are told of by the one flag, and do not go together.
    if flags & setup::TASKRUN_FLAG != 0 && flags & setup::DEFER_TASKRUN == 0 {
        flags |= setup::COOP_TASKRUN;
    }
    flags
}

fn dropped(supported: u32, flags: u32, o: &RingOptions) -> Text {
    let mut dropped = Text::new();
    for f in wanted() {
        let why: Text<96> = match () {
            () if o.mask & f.mask != 0 => "masked".into(),
            () if supported & f.mask == 0 => {
                text!("refused by the kernel: came with Linux {}", f.since)
            }
            () if flags & f.bit != 0 => continue,
            () => text!("needs {}", names(f.needs)),
        };
        dropped.item(", ", format_args!("{} ({why})", names(f.bit)));
    }
    dropped
}

/// With `flags`, and what the user chose besides.
fn build(entries: u32, flags: u32, o: &RingOptions) -> io::Result<IoUring> {
    let mut b = IoUring::builder();
    let flags = flags | o.flags & (setup::CQSIZE | setup::ATTACH_WQ);
    for f in FLAGS.iter().filter(|f| flags & f.bit != 0) {
        (f.set)(&mut b, o);
    }
    b.build(entries)
}

/// What is wrong whatever the kernel.
fn check(o: &RingOptions) -> Result<(), CreateError> {
    let unknown = o.flags & !honoured();
    if unknown != 0 {
        return Err(CreateError::invalid(text!(
            "the io_uring setup flags {} in io_uring_ring.params.flags are not supported by this \
             executor; clear them ({} may be set)",
            names(unknown),
            names(honoured())
        )));
    }
    if o.flags & setup::CQSIZE != 0 && rounded(o.cq_entries) < rounded(o.entries) {
        return Err(CreateError::invalid(text!(
            "io_uring_ring.params.cq_entries is {}, less than the {} submission entries asked for; \
             make it at least as large, or clear CQSIZE for twice as many",
            o.cq_entries, o.entries
        )));
    }
    Ok(())
}

/// What is wrong with wishes for a ring where there shall be none.
pub(super) fn check_without_ring(o: &RingOptions) -> Result<(), CreateError> {
    if o.max_kernel_workers == [0; 2] && o.direct_descriptors == 0 {
        return Ok(());
    }
    Err(CreateError::invalid(
        "max_kernel_workers and direct_descriptors are for executors with io_uring: set both to 0, \
         or entries to more than 0"
            .into(),
    ))
}

/// As the kernel does it, CLAMP included. 0 stays 0.
fn rounded(entries: u32) -> u32 {
    entries.min(abi::MAX_ENTRIES).next_power_of_two() * u32::from(entries != 0)
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::setup::*;
    use super::*;

    #[test]
    fn what_each_flag_stands_on() {
        let all: u32 = wanted().map(|f| f.mask).sum();
        let without = |bits: u32| flags_from(all & !bits);
        assert_eq!(without(0) & COOP_TASKRUN, 0);
        assert_ne!(without(0) & DEFER_TASKRUN, 0);
        for bits in [mask::DEFER_TASKRUN, mask::SINGLE_ISSUER] {
            assert_eq!(without(bits) & DEFER_TASKRUN, 0);
            assert_eq!(without(bits) & (COOP_TASKRUN | TASKRUN_FLAG), COOP_TASKRUN | TASKRUN_FLAG);
        }
        let no_flag = without(mask::TASKRUN_FLAG);
        assert_eq!(no_flag & (COOP_TASKRUN | TASKRUN_FLAG | DEFER_TASKRUN), 0);
        assert_ne!(no_flag & SINGLE_ISSUER, 0);
        assert_eq!(flags_from(0), 0);
    }

    #[test]
    fn flags_are_named() {
        assert_eq!(&*names(CQSIZE | DEFER_TASKRUN), "CQSIZE DEFER_TASKRUN");
        assert_eq!(&*names(1 | 1 << 25), "IOPOLL 0x2000000");
        assert_eq!(&*names(0), "");
    }
}

//! Making a ring: which flags the kernel takes, what was dropped and why, and errors that say what
//! to do about them. Calls `io_uring_setup` through the io-uring crate and reads `/proc`.
//!
//! The kernel answers EINVAL to a flag that it does not know without saying which. So everything is
//! asked for at once, which is the one call a current kernel needs; refused, every flag is tried
//! alone on a ring of one entry, and the ring is made with those that passed. No kernel version is
//! compared: distributions carry flags back.

use std::io;

use io_uring::IoUring;

use super::mask;
use super::real::{CreateError, RingOptions};
use crate::error::Errno;
use crate::sys::host;
use crate::sys::text::{text, Text};

// IORING_SETUP_*, as in <linux/io_uring.h>.
const CQSIZE: u32 = 1 << 3;
const CLAMP: u32 = 1 << 4;
const ATTACH_WQ: u32 = 1 << 5;
const SUBMIT_ALL: u32 = 1 << 7;
const COOP_TASKRUN: u32 = 1 << 8;
const TASKRUN_FLAG: u32 = 1 << 9;
const SINGLE_ISSUER: u32 = 1 << 12;
const DEFER_TASKRUN: u32 = 1 << 13;
const NO_SQARRAY: u32 = 1 << 16;

/// By bit number, for messages.
const FLAG_NAMES: [&str; 20] = [
    "IOPOLL",
    "SQPOLL",
    "SQ_AFF",
    "CQSIZE",
    "CLAMP",
    "ATTACH_WQ",
    "R_DISABLED",
    "SUBMIT_ALL",
    "COOP_TASKRUN",
    "TASKRUN_FLAG",
    "SQE128",
    "CQE32",
    "SINGLE_ISSUER",
    "DEFER_TASKRUN",
    "NO_MMAP",
    "REGISTERED_FD_ONLY",
    "NO_SQARRAY",
    "HYBRID_IOPOLL",
    "CQE_MIXED",
    "SQE_MIXED",
];

/// What we want of our own accord; each with the flags the kernel demands beside it.
const OPTIONAL: [(u32, u32, u32); 6] = [
    (mask::SINGLE_ISSUER, SINGLE_ISSUER, 0),
    (mask::TASKRUN_FLAG, TASKRUN_FLAG, COOP_TASKRUN),
    (mask::DEFER_TASKRUN, DEFER_TASKRUN, SINGLE_ISSUER),
    (mask::SUBMIT_ALL, SUBMIT_ALL, 0),
    (mask::NO_SQARRAY, NO_SQARRAY, 0),
    (mask::CLAMP, CLAMP, 0),
];

/// What a user may ask for. Those we set anyway are not an error to ask for.
const HONOURED: u32 = CQSIZE
    | CLAMP
    | ATTACH_WQ
    | SUBMIT_ALL
    | COOP_TASKRUN
    | TASKRUN_FLAG
    | SINGLE_ISSUER
    | DEFER_TASKRUN
    | NO_SQARRAY;

/// What came out, for the config string.
pub(super) struct Made {
    pub(super) uring: IoUring,
    pub(super) flags: u32,
    /// Of something wanted: why it is not in use.
    pub(super) dropped: Text,
}

pub(super) fn names(flags: u32) -> Text {
    let known = FLAG_NAMES.iter().enumerate().filter(|(bit, _)| flags & (1 << bit) != 0);
    let mut names = Text::new();
    for (_, name) in known {
        names.item(" ", format_args!("{name}"));
    }
    let rest = flags & !((1 << FLAG_NAMES.len()) - 1);
    if rest != 0 {
        names.item(" ", format_args!("{rest:#x}"));
    }
    names
}

pub(super) fn make(o: &RingOptions) -> Result<Made, CreateError> {
    check(o)?;
    let mut supported: u32 = OPTIONAL.iter().map(|f| f.0).sum();
    supported &= !o.mask;
    let mut result = build(o.entries, flags_from(supported), o);
    if matches!(&result, Err(e) if e.raw_os_error() == Some(libc::EINVAL)) {
        for (bit, flag, beside) in OPTIONAL {
            if build(1, flag | beside, &RingOptions::default()).is_err() {
                supported &= !bit;
            }
        }
        result = build(o.entries, flags_from(supported), o);
    }
    let flags = flags_from(supported);
    match result {
        Ok(uring) => Ok(Made { uring, flags, dropped: dropped(supported, flags, o) }),
        Err(e) => Err(explain(Errno::from(e), o)),
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
    let has = |bit| supported & bit != 0;
    let mut flags = 0;
    for (bit, flag, _) in OPTIONAL {
        if has(bit) {
            flags |= flag;
        }
    }
    if !has(mask::SINGLE_ISSUER) || !has(mask::TASKRUN_FLAG) {
        flags &= !DEFER_TASKRUN;
    }
    if has(mask::TASKRUN_FLAG) && flags & DEFER_TASKRUN == 0 {
        flags |= COOP_TASKRUN;
    }
    flags
}

fn dropped(supported: u32, flags: u32, o: &RingOptions) -> Text {
    let mut dropped = Text::new();
    for (bit, flag, _) in OPTIONAL {
        let why = match () {
            () if o.mask & bit != 0 => "masked",
            () if supported & bit == 0 => "refused by the kernel",
            () if flags & flag != 0 => continue,
            () => "needs SINGLE_ISSUER and TASKRUN_FLAG",
        };
        dropped.item(", ", format_args!("{} ({why})", names(flag)));
    }
    dropped
}

fn build(entries: u32, flags: u32, o: &RingOptions) -> io::Result<IoUring> {
    let mut b = IoUring::builder();
    type Setter = fn(&mut io_uring::Builder) -> &mut io_uring::Builder;
    let setters: [(u32, Setter); 7] = [
        (CLAMP, io_uring::Builder::setup_clamp),
        (SUBMIT_ALL, io_uring::Builder::setup_submit_all),
        (COOP_TASKRUN, io_uring::Builder::setup_coop_taskrun),
        (TASKRUN_FLAG, io_uring::Builder::setup_taskrun_flag),
        (SINGLE_ISSUER, io_uring::Builder::setup_single_issuer),
        (DEFER_TASKRUN, io_uring::Builder::setup_defer_taskrun),
        (NO_SQARRAY, io_uring::Builder::setup_no_sqarray),
    ];
    for (flag, set) in setters {
        if flags & flag != 0 {
            set(&mut b);
        }
    }
    if o.flags & CQSIZE != 0 {
        b.setup_cqsize(o.cq_entries);
    }
    if o.flags & ATTACH_WQ != 0 {
        b.setup_attach_wq(o.wq_fd);
    }
    b.build(entries)
}

/// What is wrong whatever the kernel.
fn check(o: &RingOptions) -> Result<(), CreateError> {
    let unknown = o.flags & !HONOURED;
    if unknown != 0 {
        return Err(invalid(text!(
            "the io_uring setup flags {} in io_uring_ring.params.flags are not supported by this \
             executor; clear them ({} may be set)",
            names(unknown),
            names(HONOURED)
        )));
    }
    if o.flags & CQSIZE != 0 && rounded(o.cq_entries) < rounded(o.entries) {
        return Err(invalid(text!(
            "io_uring_ring.params.cq_entries is {}, less than the {} submission entries asked for; \
             make it at least as large, or clear CQSIZE for twice as many",
            o.cq_entries, o.entries
        )));
    }
    Ok(())
}

/// As the kernel does it, CLAMP included. 0 stays 0.
fn rounded(entries: u32) -> u32 {
    entries.min(1 << 15).next_power_of_two() * u32::from(entries != 0)
}

fn invalid(text: Text) -> CreateError {
    CreateError { errno: Errno(libc::EINVAL), text }
}

/// One plain sentence with the remedy, for the errno of a system call that making a ring needs.
pub(super) fn explain(errno: Errno, o: &RingOptions) -> CreateError {
    let release = host::Release::running();
    let what: Text = match o.entries {
        0 => Text::from("the eventfd and the timerfd that a compute-only executor needs"),
        n => text!("an io_uring of {n} entries"),
    };
    let limit = |n: Option<u64>| -> Text { n.map_or("unlimited".into(), |n| text!("{n}")) };
    let (errno, text) = match errno.0 {
        libc::ENOSYS if o.entries != 0 => (libc::ENOSYS, no_such_call(&release)),
        libc::EPERM | libc::EACCES if o.entries != 0 => {
            (libc::EPERM, forbidden(errno, host::io_uring_disabled()))
        }
        libc::ENOMEM => (
            libc::ENOMEM,
            text!(
                "there is not enough memory for {what}; it is limited by RLIMIT_MEMLOCK ({} bytes; \
                 some kernels, and not for CAP_IPC_LOCK), by the memory cgroup and by RLIMIT_AS: \
                 raise the limit, or ask for fewer entries",
                limit(host::max_locked_bytes())
            ),
        ),
        libc::EMFILE => (
            libc::EMFILE,
            text!(
                "this process has as many open files as RLIMIT_NOFILE lets it have ({}): close \
                 some or raise the limit (ulimit -n)",
                limit(host::max_open_files())
            ),
        ),
        libc::ENFILE => (
            libc::ENFILE,
            "the system has as many open files as the sysctl fs.file-max lets it have: raise it"
                .into(),
        ),
        libc::ENXIO | libc::EBADF | libc::EINVAL if o.flags & ATTACH_WQ != 0 => (
            libc::EINVAL,
            text!(
                "the kernel refuses to attach to io_uring_ring.params.wq_fd ({}): it must be the \
                 descriptor of an open io_uring",
                o.wq_fd
            ),
        ),
        libc::EINVAL if o.entries != 0 => (
            libc::EINVAL,
            text!("the kernel ({release}) refuses {what}: ask for at most 32768 entries"),
        ),
        e => (e, text!("the kernel ({release}) or a security policy refuses {what}: {errno}")),
    };
    CreateError { errno: Errno(errno), text }
}

fn no_such_call(release: &host::Release) -> Text {
    // The sysctl is part of io_uring: where it is, the kernel has io_uring and something in front
    // of it answers.
    if host::io_uring_disabled().is_some() && host::seccomp_filtered() {
        return text!(
            "io_uring is hidden by a seccomp filter, which answers ENOSYS in place of the kernel \
             ({release}): allow io_uring_setup, io_uring_enter and io_uring_register in the \
             sandbox's or container's policy, or set entries = 0 for an executor without io_uring"
        );
    }
    if release.at_least(5, 11) {
        return text!(
            "the kernel ({release}) was built without CONFIG_IO_URING, or a sandbox hides it: use \
             a kernel that has it, or set entries = 0 for an executor without io_uring"
        );
    }
    too_old(release)
}

pub(super) fn too_old(release: &host::Release) -> Text {
    text!(
        "the kernel ({release}) is too old: its io_uring lacks waiting with a time limit, which \
         came with Linux 5.11; use a newer kernel, or set entries = 0 for an executor without \
         io_uring"
    )
}

fn forbidden(errno: Errno, disabled: Option<i64>) -> Text {
    const REMEDY: &str = "or set entries = 0 for an executor without io_uring";
    match disabled {
        Some(n) if n >= 2 => text!(
            "io_uring is switched off for every process by the sysctl kernel.io_uring_disabled = \
             {n}: have it set to 0 (sysctl kernel.io_uring_disabled=0), {REMEDY}"
        ),
        // With 1, those with CAP_SYS_ADMIN or in the group get past it: then somebody else refused.
        // There is no telling from here, so both are named.
        Some(1) => text!(
            "io_uring is kept from unprivileged processes by the sysctl kernel.io_uring_disabled = \
             1: have it set to 0, or join the group named by kernel.io_uring_group (now {}), \
             {REMEDY}",
            host::io_uring_group().unwrap_or(-1)
        ),
        _ => text!(
            "io_uring is forbidden by a seccomp filter or another security policy ({errno}), while \
             no sysctl forbids it: allow io_uring_setup, io_uring_enter and io_uring_register in \
             the sandbox's or container's policy, {REMEDY}"
        ),
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_sentence() {
        let o = RingOptions { entries: 8, ..Default::default() };
        let attach = RingOptions { flags: ATTACH_WQ, wq_fd: 7, ..o };
        let none = RingOptions::default();
        let mut texts = vec![
            forbidden(Errno(libc::EPERM), Some(2)),
            forbidden(Errno(libc::EPERM), Some(1)),
            forbidden(Errno(libc::EPERM), Some(0)),
            too_old(&host::Release::parse("5.10.1")),
            no_such_call(&host::Release::parse("6.1.0")),
            explain(Errno(libc::EINVAL), &attach).text,
            explain(Errno(libc::ENOMEM), &none).text,
            explain(Errno(libc::EPERM), &none).text,
        ];
        for e in [libc::ENOMEM, libc::EMFILE, libc::ENFILE, libc::EINVAL, libc::EIO] {
            let CreateError { errno, text } = explain(Errno(e), &o);
            assert_eq!(errno.0, e);
            texts.push(text);
        }
        assert_eq!(
            no_such_call(&host::Release::parse("4.19")),
            too_old(&host::Release::parse("4.19"))
        );
        for text in &texts {
            assert!(!text.contains(['\n', '.']) || !text.contains(". "), "one sentence: {text}");
        }
        texts.sort_by(|a, b| a.cmp(b));
        let n = texts.len();
        texts.dedup();
        assert_eq!(texts.len(), n);
        let eacces = explain(Errno(libc::EACCES), &o);
        assert_eq!(eacces.errno.0, libc::EPERM);
    }

    #[test]
    fn what_each_flag_stands_on() {
        let all: u32 = OPTIONAL.iter().map(|f| f.0).sum();
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

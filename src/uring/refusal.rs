//! Why there is no ring, or not the one asked for: one plain sentence a reason, with the remedy.
//! Reads `/proc`.

use super::abi::{setup, MAX_ENTRIES};
use super::options::{CreateError, RingOptions};
use crate::error::Errno;
use crate::sys::host;
use crate::sys::text::{text, Text};

/// One plain sentence with the remedy, for the errno of a system call that making a ring needs.
pub(super) fn explain(errno: Errno, o: &RingOptions) -> CreateError {
    let release = host::Release::running();
    let what: Text = match o.entries {
        0 => Text::from("the eventfd and the timerfd that a compute-only executor needs"),
        n => text!("an io_uring of {n} entries"),
    };
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
        libc::ENXIO | libc::EBADF | libc::EINVAL if o.flags & setup::ATTACH_WQ != 0 => (
            libc::EINVAL,
            text!(
                "the kernel refuses to attach to io_uring_ring.params.wq_fd ({}): it must be the \
                 descriptor of an open io_uring",
                o.wq_fd
            ),
        ),
        libc::EINVAL if o.entries != 0 => (
            libc::EINVAL,
            text!("the kernel ({release}) refuses {what}: ask for at most {MAX_ENTRIES} entries"),
        ),
        e => (e, text!("the kernel ({release}) or a security policy refuses {what}: {errno}")),
    };
    CreateError { errno: Errno(errno), text }
}

/// As `explain`, of what ends the sleep of a ring that there is.
pub(super) fn explain_eventfd(errno: Errno, o: &RingOptions) -> CreateError {
    if !matches!(errno.0, libc::EPERM | libc::EACCES | libc::ENOSYS) {
        return explain(errno, o);
    }
    let text = text!(
        "a seccomp filter or another security policy refuses the eventfd that wakes an executor \
         ({errno}): allow eventfd2"
    );
    CreateError { errno, text }
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

/// Why the limit on the kernel's workers could not be set.
pub(super) fn workers(errno: Errno, o: &RingOptions) -> CreateError {
    let [files, others] = o.max_kernel_workers;
    let release = host::Release::running();
    match errno.0 {
        libc::EINVAL => CreateError::invalid(text!(
            "the kernel ({release}) refuses max_kernel_workers = {files} and {others}: set fewer, \
             or 0 for its own limit"
        )),
        libc::EOPNOTSUPP => CreateError::lacking(text!(
            "the kernel ({release}) has no limit on its workers, which came with Linux 5.15: set \
             max_kernel_workers to 0 (it is {files} and {others})"
        )),
        _ => unregistered(errno, "max_kernel_workers"),
    }
}

/// Why there is no table of direct descriptors.
pub(super) fn descriptors(errno: Errno, o: &RingOptions) -> CreateError {
    let n = o.direct_descriptors;
    match errno.0 {
        libc::EINVAL => CreateError::lacking(text!(
            "the kernel ({}) has no empty table of direct descriptors, which came with Linux 5.19: \
             set direct_descriptors to 0 (it is {n})",
            host::Release::running()
        )),
        libc::EMFILE => CreateError {
            errno,
            text: text!(
                "direct_descriptors is {n}, more than RLIMIT_NOFILE ({}) or the kernel's 1048576 \
                 allow: ask for fewer or raise the limit (ulimit -n)",
                limit(host::max_open_files())
            ),
        },
        _ => unregistered(errno, "direct_descriptors"),
    }
}

fn unregistered(errno: Errno, field: &str) -> CreateError {
    match errno.0 {
        libc::EPERM | libc::EACCES | libc::ENOSYS => CreateError {
            errno: Errno(libc::EPERM),
            text: text!(
                "{field} needs io_uring_register, which a seccomp filter or another security \
                 policy forbids ({errno}): allow it, or set {field} to 0"
            ),
        },
        _ => CreateError {
            errno,
            text: text!("the kernel refuses {field} ({errno}): ask for less, or set it to 0"),
        },
    }
}

fn limit(n: Option<u64>) -> Text<24> {
    n.map_or("unlimited".into(), |n| text!("{n}"))
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_sentence() {
        let o = RingOptions { entries: 8, ..Default::default() };
        let attach = RingOptions { flags: setup::ATTACH_WQ, wq_fd: 7, ..o };
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
            explain_eventfd(Errno(libc::EPERM), &o).text,
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
}

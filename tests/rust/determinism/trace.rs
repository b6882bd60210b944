//! Counts the system calls of this program's own code, run again in a child that this thread
//! traces: nothing needs to be installed for it.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::skip::skip;

const CHILD: &str = "MONAD_ASYNC_TEST_TRACED";
/// A request that prctl does not know: EINVAL, and nothing happens.
const MARK: usize = 0x6d61_7263;

/// In the child: what follows is counted under this number.
pub fn begin(section: usize) {
    // SAFETY: an unknown request reads no memory.
    unsafe { libc::syscall(libc::SYS_prctl, MARK, section + 1, 0, 0, 0) };
}

/// In the child: the section is over.
pub fn end() {
    // SAFETY: as in `begin`.
    unsafe { libc::syscall(libc::SYS_prctl, MARK, 0, 0, 0, 0) };
}

/// By section, then by number of the system call.
pub type Counts = BTreeMap<usize, BTreeMap<i64, u64>>;

/// Runs `body` in a child, as part of `test`, which must be the caller's name. None there, and
/// where tracing is forbidden.
pub fn count(test: &str, body: fn()) -> Option<Counts> {
    if std::env::var_os(CHILD).is_some_and(|name| name == test) {
        body();
        return None;
    }
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, test);
    command.stdout(Stdio::null()); // Its harness would count a second time.
                                   // SAFETY: only a system call between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
    let child = match command.spawn() {
        Ok(child) => child,
        Err(e) => {
            skip(format_args!("tracing a child is forbidden here: {e}"));
            return None;
        }
    };
    Some(follow(child.id() as i32))
}

fn request(what: libc::c_uint, pid: i32, data: usize) {
    // SAFETY: these requests read and write no memory of ours.
    let rc = unsafe { libc::ptrace(what, pid, 0, data) };
    // ESRCH: killed by now, which the next wait tells.
    let e = std::io::Error::last_os_error();
    assert!(rc == 0 || e.raw_os_error() == Some(libc::ESRCH), "ptrace {what}: {e}");
}

/// Lets the child and its threads go from one system call to the next, until it has exited.
fn follow(child: i32) -> Counts {
    let mut counts = Counts::new();
    let mut sections = BTreeMap::new();
    let mut first = true;
    loop {
        let mut status = 0;
        // Of this thread's children only: other tests have theirs.
        // SAFETY: fills in an integer of our own.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) };
        assert!(pid > 0, "waitpid: {}", std::io::Error::last_os_error());
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            if pid != child {
                continue;
            }
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
            assert!(!counts.is_empty(), "the child marked nothing");
            return counts;
        }
        let mut deliver = 0;
        match libc::WSTOPSIG(status) {
            _ if first => {
                first = false;
                let options = libc::PTRACE_O_TRACESYSGOOD
                    | libc::PTRACE_O_EXITKILL
                    | libc::PTRACE_O_TRACECLONE;
                request(libc::PTRACE_SETOPTIONS, pid, options as usize);
            }
            s if s == libc::SIGTRAP | 0x80 => entered(pid, &mut counts, &mut sections),
            libc::SIGTRAP | libc::SIGSTOP => {} // A new thread.
            signal => deliver = signal,
        }
        request(libc::PTRACE_SYSCALL, pid, deliver as usize);
    }
}

/// One stop at a system call; its entry counts, its return does not.
fn entered(pid: i32, counts: &mut Counts, sections: &mut BTreeMap<i32, usize>) {
    // SAFETY: integers only.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let size = size_of_val(&info);
    let what = libc::PTRACE_GET_SYSCALL_INFO;
    // SAFETY: fills in at most `size` bytes of our own struct.
    let rc = unsafe { libc::ptrace(what, pid, size, &raw mut info) };
    assert!(rc > 0, "PTRACE_GET_SYSCALL_INFO (Linux 5.3): {}", std::io::Error::last_os_error());
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return;
    }
    // SAFETY: at an entry, this is the part that is filled in.
    let entry = unsafe { info.u.entry };
    if entry.nr as i64 == libc::SYS_prctl && entry.args[0] as usize == MARK {
        match entry.args[1] as usize {
            0 => sections.remove(&pid),
            n => {
                counts.entry(n - 1).or_default();
                sections.insert(pid, n - 1)
            }
        };
    } else if let Some(section) = sections.get(&pid) {
        *counts.entry(*section).or_default().entry(entry.nr as i64).or_default() += 1;
    }
}

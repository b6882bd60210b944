//! What numbers are called.

use crate::executor::watch::ended;
use crate::task::header::Waits;

/// IORING_OP_*, from 0. A test of gdb's compares its list with the kernel's header; a test below
/// compares this one with gdb's.
const OPCODES: &str = "NOP READV WRITEV FSYNC READ_FIXED WRITE_FIXED POLL_ADD POLL_REMOVE \
    SYNC_FILE_RANGE SENDMSG RECVMSG TIMEOUT TIMEOUT_REMOVE ACCEPT ASYNC_CANCEL LINK_TIMEOUT \
    CONNECT FALLOCATE OPENAT CLOSE FILES_UPDATE STATX READ WRITE FADVISE MADVISE SEND RECV \
    OPENAT2 EPOLL_CTL SPLICE PROVIDE_BUFFERS REMOVE_BUFFERS TEE SHUTDOWN RENAMEAT UNLINKAT \
    MKDIRAT SYMLINKAT LINKAT MSG_RING FSETXATTR SETXATTR FGETXATTR GETXATTR SOCKET URING_CMD \
    SEND_ZC SENDMSG_ZC READ_MULTISHOT WAITID FUTEX_WAIT FUTEX_WAKE FUTEX_WAITV \
    FIXED_FD_INSTALL FTRUNCATE BIND LISTEN RECV_ZC EPOLL_WAIT READV_FIXED WRITEV_FIXED PIPE";

pub fn opcode(number: u8) -> &'static str {
    OPCODES.split_ascii_whitespace().nth(number.into()).unwrap_or("operation")
}

/// What a task waits for, or how its run ended: [`ended`].
pub fn wait(code: u8) -> &'static str {
    const NOTHING: u8 = Waits::Nothing as u8;
    const READY: u8 = Waits::Ready as u8;
    const DEADLINE: u8 = Waits::Deadline as u8;
    const FOREVER: u8 = Waits::Forever as u8;
    const COMPLETION: u8 = Waits::Completion as u8;
    const CANCEL_QUEUED: u8 = Waits::CompletionCancelQueued as u8;
    const OPERATION: u8 = Waits::Operation as u8;
    const JOIN: u8 = Waits::Join as u8;
    const PARK: u8 = Waits::Park as u8;
    const GRANT: u8 = Waits::Grant as u8;
    const QUEUE: u8 = Waits::Queue as u8;
    const CLOSING: u8 = Waits::Closing as u8;
    match code {
        NOTHING | READY => "wait",
        DEADLINE => "sleep",
        FOREVER => "sleep for ever",
        COMPLETION | CANCEL_QUEUED => "I/O",
        OPERATION => "operation",
        JOIN => "join",
        PARK => "park",
        GRANT => "lock, channel or group",
        CLOSING => "closing",
        QUEUE => "queue",
        ended::YIELDED => "yield",
        ended::EXITED => "exit",
        _ => "?",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn opcodes_are_those_of_the_debugger() {
        let script = include_str!("../../gdb/monad-async-gdb.py");
        let list =
            script.split("OPCODES = \"\"\"").nth(1).and_then(|rest| rest.split("\"\"\"").next());
        let words =
            |text: &str| text.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(super::OPCODES), words(list.unwrap()));
    }
}

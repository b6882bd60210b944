//! The numbers of `<linux/io_uring.h>`, each of them here and nowhere else. `tests/rust/abi.rs`
//! compares them with the header, as far as that of the machine knows them.

/// A module of numbers whose names in the header have one prefix, and the table of them.
macro_rules! numbers {
    ($(#[$about:meta])* $module:ident: $type:ty, $prefix:literal;
     $($(#[$each:meta])* $name:ident = $value:expr,)*) => {
        $(#[$about])*
        pub mod $module {
            $($(#[$each])* pub const $name: $type = $value;)*
            /// By the header's names.
            pub const TABLE: &[(&str, u64)] =
                &[$((concat!($prefix, stringify!($name)), $name as u64)),*];
        }
    };
}

numbers! {
    /// `enum io_uring_op`.
    op: u8, "IORING_OP_";
    NOP = 0,
    READV = 1,
    WRITEV = 2,
    FSYNC = 3,
    READ_FIXED = 4,
    WRITE_FIXED = 5,
    POLL_ADD = 6,
    POLL_REMOVE = 7,
    SYNC_FILE_RANGE = 8,
    SENDMSG = 9,
    RECVMSG = 10,
    TIMEOUT = 11,
    TIMEOUT_REMOVE = 12,
    ACCEPT = 13,
    ASYNC_CANCEL = 14,
    LINK_TIMEOUT = 15,
    CONNECT = 16,
    FALLOCATE = 17,
    OPENAT = 18,
    CLOSE = 19,
    FILES_UPDATE = 20,
    STATX = 21,
    READ = 22,
    WRITE = 23,
    FADVISE = 24,
    MADVISE = 25,
    SEND = 26,
    RECV = 27,
    OPENAT2 = 28,
    EPOLL_CTL = 29,
    SPLICE = 30,
    PROVIDE_BUFFERS = 31,
    REMOVE_BUFFERS = 32,
    TEE = 33,
    SHUTDOWN = 34,
    RENAMEAT = 35,
    UNLINKAT = 36,
    MKDIRAT = 37,
    SYMLINKAT = 38,
    LINKAT = 39,
    MSG_RING = 40,
    FSETXATTR = 41,
    SETXATTR = 42,
    FGETXATTR = 43,
    GETXATTR = 44,
    SOCKET = 45,
    URING_CMD = 46,
    SEND_ZC = 47,
    SENDMSG_ZC = 48,
    READ_MULTISHOT = 49,
    WAITID = 50,
    FUTEX_WAIT = 51,
    FUTEX_WAKE = 52,
    FUTEX_WAITV = 53,
    FIXED_FD_INSTALL = 54,
    FTRUNCATE = 55,
    BIND = 56,
    LISTEN = 57,
    RECV_ZC = 58,
    EPOLL_WAIT = 59,
    READV_FIXED = 60,
    WRITEV_FIXED = 61,
    PIPE = 62,
}

/// The newest opcode that is known here.
pub const LAST_OP: u8 = op::PIPE;

numbers! {
    /// `io_uring_sqe::flags`.
    sqe: u8, "IOSQE_";
    FIXED_FILE = 1 << 0,
    IO_DRAIN = 1 << 1,
    IO_LINK = 1 << 2,
    IO_HARDLINK = 1 << 3,
    ASYNC = 1 << 4,
    BUFFER_SELECT = 1 << 5,
    CQE_SKIP_SUCCESS = 1 << 6,
}

numbers! {
    /// `io_uring_sqe::len` of a poll.
    poll: u32, "IORING_POLL_";
    ADD_MULTI = 1 << 0,
}

numbers! {
    /// `io_uring_sqe::timeout_flags`.
    timeout: u32, "IORING_TIMEOUT_";
    ABS = 1 << 0,
    BOOTTIME = 1 << 2,
    REALTIME = 1 << 3,
    MULTISHOT = 1 << 6,
}

numbers! {
    /// `io_uring_sqe::ioprio` of an accept.
    accept: u16, "IORING_ACCEPT_";
    MULTISHOT = 1 << 0,
    DONTWAIT = 1 << 1,
    POLL_FIRST = 1 << 2,
}

numbers! {
    /// `io_uring_sqe::ioprio` of sends and receives.
    send_recv: u16, "IORING_";
    RECVSEND_POLL_FIRST = 1 << 0,
    RECV_MULTISHOT = 1 << 1,
    RECVSEND_FIXED_BUF = 1 << 2,
    SEND_ZC_REPORT_USAGE = 1 << 3,
    RECVSEND_BUNDLE = 1 << 4,
}

numbers! {
    /// `io_uring_sqe::file_index` of what opens a direct descriptor.
    file: u32, "IORING_FILE_";
    /// The first that is free.
    INDEX_ALLOC = u32::MAX,
}

numbers! {
    /// `io_uring_sqe::addr` of a message to another ring.
    message: u64, "IORING_MSG_";
    SEND_FD = 1,
}

numbers! {
    /// `io_uring_sqe::msg_ring_flags`.
    msg_ring: u32, "IORING_MSG_RING_";
    /// That ring gets no completion.
    CQE_SKIP = 1 << 0,
}

numbers! {
    /// `io_uring_sqe::fsync_flags`.
    fsync: u32, "IORING_FSYNC_";
    DATASYNC = 1 << 0,
}

/// `io_uring_sqe::rw_flags` of a write that is not appended, though the file is (6.9):
/// RWF_NOAPPEND, newer than the libc crate's headers.
pub const NO_APPEND: u32 = 0x20;

/// `io_uring_sqe::rw_flags` of a write that raises no SIGPIPE (6.18): RWF_NOSIGNAL, which is of
/// another header.
pub const NO_SIGNAL: u32 = 0x100;

numbers! {
    /// `io_uring_sqe::uring_cmd_flags`.
    uring_cmd: u32, "IORING_URING_CMD_";
    FIXED = 1 << 0,
    MULTISHOT = 1 << 1,
}

numbers! {
    /// `io_uring_sqe::cmd_op` of a socket.
    uring_cmd_socket: u32, "SOCKET_URING_OP_";
    GETSOCKOPT = 2,
    SETSOCKOPT = 3,
}

numbers! {
    /// `io_uring_sqe::cancel_flags`.
    cancel: u32, "IORING_ASYNC_CANCEL_";
    ALL = 1 << 0,
    FD = 1 << 1,
    ANY = 1 << 2,
    FD_FIXED = 1 << 3,
    USERDATA = 1 << 4,
    OP = 1 << 5,
}

numbers! {
    /// `io_uring_cqe::flags`.
    cqe: u32, "IORING_CQE_F_";
    /// The upper half is the number of a provided buffer.
    BUFFER = 1 << 0,
    /// More completions of this operation will come: its buffers are still in use.
    MORE = 1 << 1,
    SOCK_NONEMPTY = 1 << 2,
    /// The notification that a zero-copy send's buffers are free again; carries no result.
    NOTIF = 1 << 3,
    BUF_MORE = 1 << 4,
}

numbers! {
    /// Where the number of the buffer stands in them.
    cqe_buffer: u32, "IORING_CQE_BUFFER_";
    SHIFT = 16,
}

numbers! {
    /// `io_uring_params::flags`.
    setup: u32, "IORING_SETUP_";
    IOPOLL = 1 << 0,
    SQPOLL = 1 << 1,
    SQ_AFF = 1 << 2,
    CQSIZE = 1 << 3,
    CLAMP = 1 << 4,
    ATTACH_WQ = 1 << 5,
    R_DISABLED = 1 << 6,
    SUBMIT_ALL = 1 << 7,
    COOP_TASKRUN = 1 << 8,
    TASKRUN_FLAG = 1 << 9,
    SQE128 = 1 << 10,
    CQE32 = 1 << 11,
    SINGLE_ISSUER = 1 << 12,
    DEFER_TASKRUN = 1 << 13,
    NO_MMAP = 1 << 14,
    REGISTERED_FD_ONLY = 1 << 15,
    NO_SQARRAY = 1 << 16,
    HYBRID_IOPOLL = 1 << 17,
    CQE_MIXED = 1 << 18,
    SQE_MIXED = 1 << 19,
}

numbers! {
    /// What `io_uring_register` is asked, as far as the io-uring crate does not say it.
    register: u32, "IORING_REGISTER_";
    IOWQ_MAX_WORKERS = 19,
    CLOCK = 29,
}

/// Entries of the largest ring: IORING_MAX_ENTRIES, which no header tells.
pub(crate) const MAX_ENTRIES: u32 = 32768;

/// Everything that the header may know.
pub fn tables() -> impl Iterator<Item = &'static (&'static str, u64)> {
    [
        op::TABLE,
        sqe::TABLE,
        poll::TABLE,
        timeout::TABLE,
        accept::TABLE,
        send_recv::TABLE,
        file::TABLE,
        message::TABLE,
        msg_ring::TABLE,
        fsync::TABLE,
        uring_cmd::TABLE,
        uring_cmd_socket::TABLE,
        cancel::TABLE,
        cqe::TABLE,
        cqe_buffer::TABLE,
        setup::TABLE,
        register::TABLE,
    ]
    .into_iter()
    .flatten()
}

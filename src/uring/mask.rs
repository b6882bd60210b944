//! Names of what the kernel may lack, as bits. TEST ONLY: [`RingOptions::mask`] pretends that the
//! running kernel refuses what its bits name, so that every rung of the setup ladder is tested on
//! the newest kernel.
//!
//! [`RingOptions::mask`]: super::RingOptions::mask

pub const SINGLE_ISSUER: u32 = 1 << 0;
pub const DEFER_TASKRUN: u32 = 1 << 1;
/// Also COOP_TASKRUN, its companion since the same release.
pub const TASKRUN_FLAG: u32 = 1 << 2;
pub const SUBMIT_ALL: u32 = 1 << 3;
pub const NO_SQARRAY: u32 = 1 << 4;
pub const CLAMP: u32 = 1 << 5;
pub(crate) const REGISTERED_RING: u32 = 1 << 6;
pub const BOOT_CLOCK: u32 = 1 << 7;
pub(crate) const MULTISHOT_POLL: u32 = 1 << 8;
pub(crate) const NO_IOWAIT: u32 = 1 << 9;
/// The operations on files that came after 5.11.
pub const FILE_OPCODES: u32 = 1 << 10;
/// Writes that raise no SIGPIPE.
pub const NO_SIGNAL: u32 = 1 << 11;
/// Tables of registered buffers (5.13).
pub const FIXED_TABLE: u32 = 1 << 12;
/// What another ring has registered, shared with it (6.13).
pub const CLONE_BUFFERS: u32 = 1 << 13;
/// Direct descriptors made plain ones (6.8).
pub const FD_INSTALL: u32 = 1 << 14;
/// Direct descriptors passed to other rings (6.0).
pub const FD_PASS: u32 = 1 << 15;
/// Operations of direct sockets that came later: bind, listen (6.11).
pub const SOCKET_OPCODES: u32 = 1 << 16;
/// Rings of buffers that the kernel chooses from (5.19).
pub const BUFFER_RING: u32 = 1 << 17;
/// Receives that complete as a stream (6.0).
pub const RECV_STREAM: u32 = 1 << 18;
/// Tables of direct descriptors (5.19).
pub const DIRECT_TABLE: u32 = 1 << 19;
/// Cancelling by a descriptor, a direct one too (6.0).
pub const CANCEL_HANDLE: u32 = 1 << 20;
/// Sockets at the current position, -1 (5.17): ESPIPE.
pub const STREAM_POSITION: u32 = 1 << 21;
/// Transfers in full, a part of which is told of when they are cancelled (6.1).
pub const WAIT_ALL: u32 = 1 << 22;
/// Messages with more than data (5.12): EINVAL. Opens that a cancel ends.
pub const CONTROL: u32 = 1 << 23;
/// Not a lack of the kernel's own, so not in `ALL`: it takes two entries at most of what it is
/// offered, as if it had no memory for more.
pub const TAKES_FEW: u32 = 1 << 24;

/// Every bit of the ring's that a kernel may lack. Bits from 25 on belong to other parts of `sys`.
pub const ALL: u32 = (1 << 24) - 1;

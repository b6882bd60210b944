//! Bugs that are planted in where a file's current position is, by call and in rows. The named test
//! of tests/rust/position.rs finds each.

use crate::list::{found_by as of, Mutant};

const CALLS: &str = "src/io/position.rs";
const PLACE: &str = "src/reactor/place.rs";
const STREAMS: &str = "src/uring/streams.rs";
const SYS: &str = "src/sys/file.rs";

const SHORT: &str = "behind_what_came_short";
const WHOLE: &str = "of_what_was_whole";
const APPENDED: &str = "of_what_is_appended";
const SOCKET: &str = "of_a_socket";
const DIRECT: &str = "with_o_direct";
const DIRECT_ROW: &str = "with_o_direct_in_a_row";

pub const POSITION: &[(Mutant, &str)] = &[
    of(
        CALLS,
        "what came short leaves the position where it was",
        "is_short && self.ex.kernel().leaves_position()",
        "false",
        SHORT,
    ),
    of(
        CALLS,
        "what was written whole came short",
        "is_write(sqe) && res > 0 && (res as u64) < wanted(sqe)",
        "is_write(sqe) && res > 0",
        WHOLE,
    ),
    of(
        CALLS,
        "a read past the kernel's memory leaves the position where it was",
        "is_write(&sqe) || self.flags & UNBUFFERED != 0",
        "is_write(&sqe)",
        DIRECT,
    ),
    of(
        CALLS,
        "a write past the kernel's memory leaves the position where it was",
        "self.moves_unbuffered(sqe, dont_wait, begun)",
        "if is_write(sqe) { None } else { self.moves_unbuffered(sqe, dont_wait, begun) }",
        DIRECT,
    ),
    of(
        CALLS,
        "behind what was read is the end of the file",
        "file::move_on(fd, bytes)",
        "file::move_behind(fd, bytes, None)",
        DIRECT,
    ),
    of(
        CALLS,
        "what has no position is neither read nor written",
        "return None",
        "return Some(Err(Errno(libc::ESPIPE)))",
        "with_o_direct_of_a_pipe",
    ),
    of(
        "src/uring/features.rs",
        "an older kernel is handed sockets at the current position",
        "ring.streams |= streams::PLACED",
        "()",
        SOCKET,
    ),
    of(
        "src/uring/features.rs",
        "where no socket can be made to ask it, the kernel is taken for a newer one",
        "return true;",
        "return false;",
        "of_a_socket_where_none_can_be_asked",
    ),
    of(
        STREAMS,
        "an older kernel is handed vectored writes of sockets at the current position",
        "matches!(sqe.opcode(),
            op::READ | op::WRITE | op::READV | op::WRITEV | op::READ_FIXED | op::WRITE_FIXED)",
        "matches!(sqe.opcode(),
            op::READ | op::WRITE | op::READV | op::READ_FIXED | op::WRITE_FIXED)",
        SOCKET,
    ),
    of(
        STREAMS,
        "an older kernel writes what is no socket's to the beginning",
        "is_here && fd::is_socket(sqe.fd())",
        "is_here",
        SOCKET,
    ),
    of(
        SYS,
        "what was appended, and came short, ends near where the position was",
        "moved(fd, 0, libc::SEEK_END)",
        "move_on(fd, bytes)",
        APPENDED,
    ),
    of(
        SYS,
        "what was appended is looked for behind the position",
        "appends || status.st_size >= at.saturating_add(bytes)",
        "status.st_size >= at.saturating_add(bytes)",
        APPENDED,
    ),
    of(
        PLACE,
        "a row that came short leaves the position where it was",
        "u64::from(bytes) < all && self.kernel.leaves_position()",
        "{ let _ = all; false }",
        SHORT,
    ),
    of(
        PLACE,
        "a row that was written whole came short",
        "u64::from(bytes) < all && self.kernel.leaves_position()",
        "{ let _ = all; self.kernel.leaves_position() }",
        WHOLE,
    ),
    of(
        PLACE,
        "what was written as one is taken for its first",
        "merged.iter().map(|part| part.get().iov_len as u64).sum()",
        "{ let _ = merged; wanted(&rest(&sqe, done)) }",
        "behind_what_came_short_as_one",
    ),
    of(
        PLACE,
        "a row begins where the last one ended, wherever the position is",
        "if n == 1 { self.next.set(-1); }",
        "let _ = n;",
        DIRECT_ROW,
    ),
    of(
        PLACE,
        "the writes of a row lie over each other",
        "self.next.set(at.saturating_add(wanted(&sqe)) as i64);",
        "",
        DIRECT_ROW,
    ),
    of(
        PLACE,
        "what is appended is in a row with what is not",
        "is_behind && appends(sqe) != self.appends.get()",
        "is_behind && false",
        "with_o_direct_appended_in_a_row",
    ),
    of(
        PLACE,
        "what has a place of its own goes to the position",
        "self.is_ours && sqe.off() == HERE",
        "self.is_ours",
        DIRECT_ROW,
    ),
    of(
        PLACE,
        "what has a place of its own moves the position",
        "res > 0 && record.sqe.get().off() == HERE",
        "res > 0",
        DIRECT_ROW,
    ),
    of(
        PLACE,
        "a row past the kernel's memory leaves the position where it was",
        "let _ = file::move_behind(sqe.fd(), bytes.into(), appends(&sqe));",
        "let _ = bytes;",
        DIRECT_ROW,
    ),
];

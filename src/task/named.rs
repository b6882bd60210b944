//! What a task is called in messages.

use core::fmt::{self, Write};

use super::annex::NAME_BYTES;
use super::header::TaskRef;

/// A task's address, and its name where it has one.
pub struct Named(pub TaskRef);

/// The same, as it was on the thread of the task's executor: for others to say.
#[derive(Clone, Copy)]
pub struct Kept {
    addr: usize,
    name: [u64; NAME_BYTES / 8],
}

impl Kept {
    pub fn of(task: TaskRef) -> Self {
        let name = task.name().map_or([0; NAME_BYTES / 8], |name| name.words());
        Self { addr: task.addr(), name }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Kept::of(self.0).fmt(f)
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {:#x}", self.addr)?;
        let bytes = self.name.map(u64::to_ne_bytes);
        let bytes = bytes.as_flattened();
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        if end == 0 {
            return Ok(());
        }
        f.write_str(" \"")?;
        for chunk in bytes[..end].utf8_chunks() {
            for c in chunk.valid().chars().filter(|c| !c.is_control()) {
                f.write_char(c)?;
            }
        }
        f.write_char('"')
    }
}

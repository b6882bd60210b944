//! What a task is called in messages.

use core::fmt::{self, Write};

use super::header::TaskRef;

/// A task's address, and its name where it has one.
pub struct Named(pub TaskRef);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {:#x}", self.0.addr())?;
        let Some(name) = self.0.name().filter(|name| !name.is_empty()) else { return Ok(()) };
        let bytes = name.words().map(u64::to_ne_bytes);
        let bytes = bytes.as_flattened();
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        f.write_str(" \"")?;
        for chunk in bytes[..end].utf8_chunks() {
            for c in chunk.valid().chars().filter(|c| !c.is_control()) {
                f.write_char(c)?;
            }
        }
        f.write_char('"')
    }
}

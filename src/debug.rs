//! What `monad-async-gdb.py` reads: a table of names and numbers in a section of its own, so that a
//! debugger finds the tasks also in a program without debug information and without symbols.
//! Touches nothing.
//!
//! ```text
//!  section "monad_async_debug"
//!   +0   magic        "monad_async.dbg" and a zero
//!   +16  version      changes when a name changes its meaning
//!   +20  count        of entries
//!   +24  slabs        address of the newest slab's address
//!   +32  entries      24 bytes of name, zeros behind; 8 bytes of value
//! ```

use core::ffi::c_void;
use core::hint::black_box;
use core::mem::{offset_of, size_of};

use crate::executor::bare::NOTED_AT;
use crate::executor::exit::ExitHook;
use crate::executor::grant::Wait;
use crate::executor::join::JoinRecord;
use crate::executor::scope::Scope;
use crate::executor::Executor;
use crate::intrusive::TimerNode;
use crate::reactor::operation::{bit, Op, State};
use crate::stack::layout::{SLABS_AT, SLAB_FIELDS};
use crate::stack::pool::Held;
use crate::sync::group::GROUP_TAG;
use crate::sync::mutex;
use crate::task::annex;
use crate::task::header::{mark, Task, TaskHead, Ticks, Waits};
use crate::task::state;
use crate::uring::RealKernel;

const VERSION: u32 = 5;
const NAME_BYTES: usize = 24;

#[derive(Clone, Copy)]
#[repr(C)]
struct Entry {
    name: [u8; NAME_BYTES],
    value: u64,
}

#[repr(C)]
struct Table {
    magic: [u8; 16],
    version: u32,
    count: u32,
    slabs: *const c_void,
    slab_entries: [Entry; SLAB_FIELDS.len()],
    task_entries: [Entry; TASK_FIELDS.len()],
    scope_entries: [Entry; Scope::FIELDS.len()],
}

// SAFETY: nothing writes it, and nothing but a debugger follows its addresses.
unsafe impl Sync for Table {}

const TASK_FIELDS: [(&str, usize); 56] = [
    ("task.size", size_of::<Task>()),
    ("task.cpu", offset_of!(TaskHead, cpu)),
    ("task.io", offset_of!(TaskHead, io)),
    ("task.user_code", offset_of!(TaskHead, user_code)),
    ("task.user_ptr", offset_of!(TaskHead, user_ptr)),
    ("task.flags", offset_of!(TaskHead, flags)),
    ("task.executor", offset_of!(TaskHead, current_executor)),
    ("task.ticks", offset_of!(TaskHead, ticks) + offset_of!(Ticks, total_executed)),
    ("task.waits", offset_of!(Task, waits)),
    ("task.marks", offset_of!(Task, marks)),
    ("task.state", offset_of!(Task, run_state)),
    ("task.opcode", offset_of!(Task, opcode)),
    ("task.switch", offset_of!(Task, switch)),
    ("task.deadline_ns", offset_of!(Task, timer) + offset_of!(TimerNode, deadline_ns)),
    ("task.peer", offset_of!(Task, peer)),
    ("task.noted", offset_of!(Task, timer) + NOTED_AT),
    ("task.stack_base", offset_of!(Task, stack) + Held::BASE_AT),
    ("task.annex", offset_of!(Task, annex)),
    ("record.other", JoinRecord::OTHER_AT),
    ("task.notes", offset_of!(Task, notes)),
    ("note.named", annex::note::NAMED as usize),
    ("annex.name", annex::NAME_AT),
    ("wait.object", Wait::OBJECT_AT),
    ("mutex.owner", mutex::OWNER_AT),
    ("op.state", offset_of!(Op, state)),
    ("op.queued", State::Queued as usize),
    ("mark.asked", mark::ASKED as usize),
    ("executor.owner", Executor::<RealKernel>::OWNER_AT),
    ("state.fresh", state::FRESH as usize),
    ("state.queued", state::QUEUED as usize),
    ("waits.deadline", Waits::Deadline as usize),
    ("waits.forever", Waits::Forever as usize),
    ("waits.completion", Waits::Completion as usize),
    ("waits.cancel_queued", Waits::CompletionCancelQueued as usize),
    ("waits.operation", Waits::Operation as usize),
    ("waits.join", Waits::Join as usize),
    ("waits.park", Waits::Park as usize),
    ("waits.grant", Waits::Grant as usize),
    ("waits.closing", Waits::Closing as usize),
    ("task.scope", offset_of!(Task, scope)),
    ("task.mailbox", offset_of!(Task, mailbox)),
    ("task.operations", offset_of!(Task, operations)),
    ("task.link", offset_of!(Task, link)),
    ("task.level", offset_of!(Task, level)),
    ("op.of_task", offset_of!(Op, of_task)),
    ("op.bits", offset_of!(Op, bits)),
    ("op.asked", (bit::ASKED | bit::CANCEL_QUEUED) as usize),
    ("op.stream", bit::STREAM as usize),
    ("op.pending", offset_of!(Op, pending)),
    ("op.done", State::Done as usize),
    ("op.row", State::Row as usize),
    ("mark.scoped", mark::SCOPED as usize),
    ("mark.hooked", mark::HOOKED as usize),
    ("hook.of", ExitHook::OF_AT),
    ("group.tag", GROUP_TAG),
    ("mark.operations", mark::OPERATIONS as usize),
];

const fn entries<const N: usize>(fields: [(&str, usize); N]) -> [Entry; N] {
    let mut out = [Entry { name: [0; NAME_BYTES], value: 0 }; N];
    let mut i = 0;
    while i < N {
        let (name, value) = (fields[i].0.as_bytes(), fields[i].1);
        assert!(name.len() < NAME_BYTES);
        let mut k = 0;
        while k < name.len() {
            out[i].name[k] = name[k];
            k += 1;
        }
        out[i].value = value as u64;
        i += 1;
    }
    out
}

#[used]
#[link_section = "monad_async_debug"]
static TABLE: Table = Table {
    magic: *b"monad_async.dbg\0",
    version: VERSION,
    count: (SLAB_FIELDS.len() + TASK_FIELDS.len() + Scope::FIELDS.len()) as u32,
    slabs: SLABS_AT,
    slab_entries: entries(SLAB_FIELDS),
    task_entries: entries(TASK_FIELDS),
    scope_entries: entries(Scope::FIELDS),
};

/// Called where tasks are made: a linker that collects what nobody refers to keeps the table then.
#[inline(always)]
pub fn keep() {
    black_box(&raw const TABLE);
}

// The commands themselves, where gdb looks for them in a program that links the archive. No memory
// of the process, and gone with the other debugging sections when the program is stripped.
#[cfg(not(miri))]
core::arch::global_asm!(
    ".pushsection .debug_gdb_scripts,\"MS\",%progbits,1",
    ".byte 4",
    ".ascii \"monad-async-gdb.py\\n\"",
    concat!(".incbin \"", env!("CARGO_MANIFEST_DIR"), "/gdb/monad-async-gdb.py\""),
    ".byte 0",
    ".popsection",
    options(raw)
);
/// Tells cargo that the file is part of the build.
const _: &[u8] = include_bytes!("../gdb/monad-async-gdb.py");

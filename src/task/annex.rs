//! What lies next to each header, for what few tasks need. Nobody touches it before it is needed.
//!
//! ```text
//!    0  | the exit hook: executor::exit      |
//!   48  | name: memory of its own            |  of the task, from its first name on
//!   56  | locals: the newest record          |  of the run that is under way
//! ```
//!
//! 1. The name changes while the task is idle, or on its executor's thread; it is read there, and
//!    by a debugger. `note::NAMED` says that there is one.
//! 2. Locals are the run's: added and removed by the running task, and what is left is destroyed on
//!    its stack when `user_code` has returned. `note::LOCALS` says that the list has a beginning.

use core::cell::Cell;
use core::ffi::{c_char, c_void};
use core::mem::{offset_of, size_of};
use core::ptr::{self, NonNull};

use super::header::TaskRef;
use crate::atomic::{AtomicU64, Ordering::Relaxed};
use crate::error::Res;
use crate::stack::slab::ANNEX_BYTES;
use crate::sys::alloc;

/// Bytes that the hook of an exit may take.
pub const HOOK_BYTES: usize = 48;

/// What [`TaskRef::notes`](super::header::Task) says of the annex.
pub mod note {
    pub const NAMED: u8 = 1 << 0;
    pub const LOCALS: u8 = 1 << 1;
    /// No matter of the annex: this run was queued in a pool, which counts it. With
    /// `mark::JOINED`, so that its exit is seen.
    pub const POOLED: u8 = 1 << 2;
    /// The rest is a trace's: see `executor::watch`.
    pub const ALL: u8 = NAMED | LOCALS | POOLED;
}

/// Bytes of a name that are kept. The last one may be the last of the text: no zero is needed.
pub const NAME_BYTES: usize = 32;

/// A name, in words of which each may be read while another thread writes it: torn at worst.
#[derive(Default)]
#[repr(transparent)]
pub struct Name([AtomicU64; NAME_BYTES / 8]);

impl Name {
    /// # Safety
    /// `text` is null, for none, or ends with a zero.
    pub unsafe fn set(&self, text: *const c_char) {
        let mut bytes = [0u8; NAME_BYTES];
        if !text.is_null() {
            for (i, byte) in bytes.iter_mut().enumerate() {
                // SAFETY: the caller's; not behind the zero.
                match unsafe { *text.add(i) } {
                    0 => break,
                    c => *byte = c.to_ne_bytes()[0],
                }
            }
        }
        self.set_bytes(whole(&bytes));
    }

    fn set_bytes(&self, bytes: &[u8]) {
        let mut padded = [0; NAME_BYTES];
        padded[..bytes.len()].copy_from_slice(bytes);
        for (word, chunk) in self.0.iter().zip(padded.chunks_exact(8)) {
            word.store(u64::from_ne_bytes(chunk.try_into().unwrap_or_default()), Relaxed);
        }
    }

    pub fn words(&self) -> [u64; NAME_BYTES / 8] {
        core::array::from_fn(|i| self.0[i].load(Relaxed))
    }

    pub fn is_empty(&self) -> bool {
        self.0[0].load(Relaxed) == 0
    }
}

/// Without the beginning of a character whose end was cut off.
fn whole(bytes: &[u8; NAME_BYTES]) -> &[u8] {
    if bytes[NAME_BYTES - 1] == 0 {
        return bytes;
    }
    let is_inside = |byte: &u8| byte & 0xc0 == 0x80;
    let first = bytes.iter().rposition(|byte| !is_inside(byte)).unwrap_or(0);
    let length = match bytes[first] {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    };
    match first + length <= NAME_BYTES {
        true => bytes,
        false => &bytes[..first],
    }
}

/// `monad_async_task_local`: task_local.h
#[repr(C)]
pub struct TaskLocal {
    next: Cell<*const TaskLocal>,
    key: Cell<*const c_void>,
    destroy: Cell<Option<unsafe extern "C" fn(*const TaskLocal)>>,
}

const _: () = assert!(size_of::<TaskLocal>() == 24 && offset_of!(TaskLocal, destroy) == 16);

impl TaskLocal {
    pub fn key(&self) -> *const c_void {
        self.key.get()
    }
}

#[repr(C)]
pub struct Annex {
    hook: [u8; HOOK_BYTES],
    name: Cell<*mut Name>,
    locals: Cell<*const TaskLocal>,
}

const _: () = assert!(size_of::<Annex>() == ANNEX_BYTES);

pub const NAME_AT: usize = offset_of!(Annex, name);

impl TaskRef {
    /// `ANNEX_BYTES` of its own; of a task that was not destroyed. What is in it, the notes and
    /// marks say.
    pub fn annex(self) -> NonNull<u8> {
        self.annex.get()
    }

    /// Not the hook, which may be uninitialised: no reference to the whole is made.
    fn annex_name<'a>(self) -> &'a Cell<*mut Name> {
        // SAFETY: within the annex, in which any word is a pointer.
        unsafe { self.annex().byte_add(NAME_AT).cast().as_ref() }
    }

    fn annex_locals<'a>(self) -> &'a Cell<*const TaskLocal> {
        // SAFETY: as above.
        unsafe { self.annex().byte_add(offset_of!(Annex, locals)).cast().as_ref() }
    }

    #[inline]
    pub fn set_pooled(self, on: bool) {
        let others = self.notes.get() & !note::POOLED;
        self.notes.set(if on { others | note::POOLED } else { others });
    }

    /// Lowest address of the stack that it runs on, or ran on last, or was created with; and the
    /// one above the highest. Any thread.
    pub fn stack_bounds(self) -> (usize, usize) {
        let base = self.switch.stack_base().unwrap_or(self.stack.base());
        (self.stack.look(|own| own.limit_of(base)).unwrap_or(base), base)
    }

    pub fn notes(self, notes: u8) -> bool {
        self.notes.get() & notes != 0
    }

    /// Rule 1. EXPENSIVE the first time. ENOMEM: it keeps the name it had.
    ///
    /// # Safety
    /// As [`Name::set`].
    pub unsafe fn set_name(self, text: *const c_char) -> Res<()> {
        let at = self.annex_name();
        if !self.notes(note::NAMED) {
            at.set(Box::into_raw(alloc::try_box(Name::default())?));
            self.notes.set(self.notes.get() | note::NAMED);
        }
        // SAFETY: ours, and there until `destroy`; the text is the caller's.
        unsafe { (*at.get()).set(text) };
        self.note_past();
        Ok(())
    }

    /// Rule 1.
    pub fn name<'a>(self) -> Option<&'a Name> {
        if !self.notes(note::NAMED) {
            return None;
        }
        // SAFETY: it stays until the task is destroyed.
        unsafe { self.annex_name().get().as_ref() }
    }

    /// The next run is for others than the last: what that has left, a name or a permit, is none of
    /// its. Idle.
    #[inline(always)]
    pub fn begin_anew(self) {
        // Relaxed: of an unpark that nothing orders before the end of that run none is asked for.
        if self.head.has_past.load(Relaxed) != 0 {
            self.forget_past();
        }
    }

    /// For `begin_anew`, after what it is to find.
    #[inline(always)]
    pub fn note_past(self) {
        self.head.has_past.store(1, Relaxed);
    }

    /// As `begin_anew`, where it has found something.
    #[cold]
    #[inline(never)]
    pub fn forget_past(self) {
        // First: who leaves a permit behind `forget` says so again.
        self.head.has_past.store(0, Relaxed);
        self.forget_name();
        self.permit().forget();
    }

    /// The task is being destroyed.
    pub(super) fn forget_name(self) {
        if self.notes(note::NAMED) {
            self.notes.set(self.notes.get() & !note::NAMED);
            // SAFETY: made by `set_name`, and taken once.
            drop(unsafe { Box::from_raw(self.annex_name().get()) });
        }
    }

    fn first_local(self) -> *const TaskLocal {
        if self.notes(note::LOCALS) {
            self.annex_locals().get()
        } else {
            ptr::null()
        }
    }

    /// Of the running task. Null: there is none.
    pub fn local(self, key: *const c_void) -> *const TaskLocal {
        let mut at = self.first_local();
        // SAFETY: records in the list stay in place until they are taken out.
        while let Some(local) = unsafe { at.as_ref() } {
            if local.key.get() == key {
                break;
            }
            at = local.next.get();
        }
        at
    }

    /// Of the running task, which has none of that key.
    pub fn add_local(self, local: &TaskLocal) {
        local.next.set(self.first_local());
        self.annex_locals().set(local);
        self.notes.set(self.notes.get() | note::LOCALS);
    }

    /// Of the running task. Null: there was none.
    pub fn remove_local(self, key: *const c_void) -> *const TaskLocal {
        if !self.notes(note::LOCALS) {
            return ptr::null();
        }
        let mut link = self.annex_locals();
        // SAFETY: as in `local`.
        while let Some(local) = unsafe { link.get().as_ref() } {
            if local.key.get() == key {
                link.set(local.next.get());
                return local;
            }
            link = &local.next;
        }
        ptr::null()
    }

    /// The run has returned, and is on its stack still: newest first, also those that their
    /// destructors add.
    #[cold]
    #[inline(never)]
    pub(super) fn end_locals(self) {
        loop {
            let first = self.annex_locals().get();
            // SAFETY: as in `local`. It may be gone when `destroy` returns.
            let Some(local) = (unsafe { first.as_ref() }) else { break };
            self.annex_locals().set(local.next.get());
            if let Some(destroy) = local.destroy.get() {
                // SAFETY: the user's function, for the record that it came with.
                unsafe { destroy(first) };
            }
        }
        self.notes.set(self.notes.get() & !note::LOCALS);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn kept(text: &[u8]) -> Vec<u8> {
        let name = Name::default();
        // SAFETY: ends with a zero.
        unsafe { name.set(text.as_ptr().cast()) };
        let bytes: Vec<u8> = name.words().iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.into_iter().take_while(|&byte| byte != 0).collect()
    }

    #[test]
    fn a_name_is_cut_between_characters() {
        assert_eq!(kept(b"reader\0"), b"reader");
        let after =
            |bytes: usize, last: &str| kept(format!("{}{last}\0", "x".repeat(bytes)).as_bytes());
        assert_eq!(after(33, ""), [b'x'; 32]);
        assert_eq!([30, 31].map(|n| after(n, "\u{e9}").len()), [32, 31]);
        assert_eq!([29, 30, 31].map(|n| after(n, "\u{20ac}").len()), [32, 30, 31]);
        assert_eq!([28, 29, 31].map(|n| after(n, "\u{1f600}").len()), [32, 29, 31]);
        assert_eq!(kept(b"\0"), b"");
    }
}

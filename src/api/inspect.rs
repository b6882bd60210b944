//! What may be asked of a task to look at it: its name, its locals, its stack.

use core::ffi::{c_char, c_void};

use super::{Handle, EINVAL, EPERM};
use crate::error::{Errno, Res};
use crate::stack::backtrace;
use crate::sys::{memory, unwind};
use crate::task::annex::{Name, TaskLocal};
use crate::task::header::{Flags, TaskRef, Waits};
use crate::uring::kernel::Kernel;

impl<K: Kernel> Handle<K> {
    /// The calling thread may change what belongs to the task: it is idle, or attached here.
    fn owns(task: TaskRef) -> Res<()> {
        if task.is_attached() && Self::of(task).is_none() {
            return Err(EPERM);
        }
        Ok(())
    }

    /// # Safety
    /// `text` is null or ends with a zero.
    pub unsafe fn set_task_name(task: TaskRef, text: *const c_char) -> Res<()> {
        Self::owns(task)?;
        // SAFETY: the caller's.
        unsafe { task.set_name(text)? };
        if let Some(this) = Self::of(task) {
            this.executor().named(task);
        }
        Ok(())
    }

    pub fn task_name<'a>(task: TaskRef) -> Option<&'a Name> {
        Self::owns(task).ok().and_then(|()| task.name())
    }

    /// # Safety
    /// As `set_task_name`.
    pub unsafe fn set_name(self, text: *const c_char) -> Res<()> {
        if !self.executor().is_mine() {
            return Err(EPERM);
        }
        // SAFETY: the caller's.
        unsafe { self.executor().set_name(text) };
        Ok(())
    }

    pub fn local(task: TaskRef, key: *const c_void) -> *const TaskLocal {
        match Self::running(task) {
            Ok(_) => task.local(key),
            Err(_) => core::ptr::null(),
        }
    }

    pub fn add_local(task: TaskRef, local: &TaskLocal) -> Res<()> {
        Self::running(task)?;
        if local.key().is_null() {
            return Err(EINVAL);
        }
        if !task.local(local.key()).is_null() {
            return Err(Errno(libc::EEXIST));
        }
        task.add_local(local);
        Ok(())
    }

    pub fn remove_local(task: TaskRef, key: *const c_void) -> *const TaskLocal {
        match Self::running(task) {
            Ok(_) => task.remove_local(key),
            Err(_) => core::ptr::null(),
        }
    }

    /// Where its frames go on, newest first; how many.
    pub fn backtrace(task: TaskRef, pcs: &mut [usize]) -> Res<usize> {
        if Self::running(task).is_ok() {
            return Ok(of_this_task(task, pcs));
        }
        Self::owns(task)?;
        match task.head.flags.get() {
            Flags::AWAITING if task.waits.get() == Waits::Closing => return Ok(0),
            Flags::AWAITING | Flags::COMPLETED => {}
            Flags::RUNNING => return Err(Errno(libc::EBUSY)),
            _ => return Ok(0),
        }
        // SAFETY: suspended, and only this thread could have it run.
        unsafe { backtrace::suspended(&task.switch, stack_bounds(task).1, pcs) }
    }
}

fn of_this_task(task: TaskRef, pcs: &mut [usize]) -> usize {
    let (mut count, (low, high)) = (0, stack_bounds(task));
    unwind::frames(&mut |frame| {
        if !(low..=high).contains(&frame.sp) {
            return false;
        }
        match pcs.get_mut(count) {
            Some(pc) => *pc = frame.pc,
            None => return false,
        }
        count += 1;
        true
    });
    count
}

/// Lowest address, and the one above the highest.
pub fn stack_bounds(task: TaskRef) -> (usize, usize) {
    task.stack_bounds()
}

/// Bytes from the stack's base to the lowest page in memory. EXPENSIVE.
pub fn stack_used(task: TaskRef) -> Res<usize> {
    let (low, high) = stack_bounds(task);
    let end = high.next_multiple_of(memory::page_bytes());
    Ok(memory::lowest_resident(low, end)?.map_or(0, |lowest| high.saturating_sub(lowest)))
}

//! What LeakSanitizer, a part of AddressSanitizer, must be told: where pointers may be that it does
//! not find by itself. It knows one stack of each thread, the one that it runs on. So it is told of
//! every task's stack, and of the thread's own, which is not that one while a task runs.

use core::cell::Cell;
use core::ffi::c_void;
use core::mem::MaybeUninit;

extern "C" {
    /// The sanitizer's interface. A program that links this build links AddressSanitizer.
    fn __lsan_register_root_region(begin: *const c_void, bytes: usize);
    fn __lsan_unregister_root_region(begin: *const c_void, bytes: usize);
}

/// A range of memory that is looked through as long as this lives.
#[derive(Debug)]
pub struct Root {
    begin: usize,
    bytes: usize,
}

impl Root {
    pub fn new(begin: usize, end: usize) -> Self {
        let bytes = end - begin;
        // SAFETY: notes the two numbers; what is not mapped is not looked at.
        unsafe { __lsan_register_root_region(begin as *const c_void, bytes) };
        Self { begin, bytes }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // SAFETY: registered by `new`, with the same numbers.
        unsafe { __lsan_unregister_root_region(self.begin as *const c_void, self.bytes) };
    }
}

/// The part of the thread's own stack in which the executor and its callers have their frames.
struct OwnStack {
    limit: usize,
    base: usize,
    root: Root,
}

struct Own(Cell<Option<OwnStack>>);

thread_local! {
    static OWN: Own = const { Own(Cell::new(None)) };
}

impl Drop for Own {
    /// The thread ends; or a task of it calls `exit`, which looks for leaks after this, on the
    /// task's stack.
    fn drop(&mut self) {
        let here = 0_u8;
        let is_own = |stack: &OwnStack| {
            (stack.limit..stack.base).contains(&core::ptr::from_ref(&here).addr())
        };
        if let Some(stack) = self.0.take().filter(|stack| !is_own(stack)) {
            core::mem::forget(stack);
        }
    }
}

/// Before the thread leaves the stack it is on, at `stack_pointer`, for a task's. A stack that is
/// not the thread's own is a task's, and known.
pub(crate) fn leave_own_stack(stack_pointer: usize) {
    let _ = OWN.try_with(|Own(own)| {
        let known = own.take();
        let (limit, base) = match &known {
            Some(stack) if stack.root.begin == stack_pointer => return own.set(known),
            Some(stack) => (stack.limit, stack.base),
            None => match bounds() {
                Some(bounds) => bounds,
                None => return,
            },
        };
        if (limit..base).contains(&stack_pointer) {
            own.set(Some(OwnStack { limit, base, root: Root::new(stack_pointer, base) }));
        } else {
            own.set(known);
        }
    });
}

/// EXPENSIVE. The bounds of the thread's own stack.
fn bounds() -> Option<(usize, usize)> {
    let mut attr = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut limit, mut bytes) = (core::ptr::null_mut(), 0);
    // SAFETY: the attributes are read after they were written, and destroyed.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attr.as_mut_ptr()) != 0 {
            return None;
        }
        let r = libc::pthread_attr_getstack(attr.as_ptr(), &mut limit, &mut bytes);
        libc::pthread_attr_destroy(attr.as_mut_ptr());
        (r == 0).then_some((limit as usize, limit as usize + bytes))
    }
}
